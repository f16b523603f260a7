"""Gaussian mixture: p(x | y) = Σ_k π_k N(x; μ_k, Σ_k), one mixture a class, or one for all images.

``covariance`` says what Σ_k is: ``spherical`` s I, ``diag``, ``full``, ``tied`` (one full matrix for all components of
a mixture), or ``low_rank`` W Wᵀ + Ψ with diagonal Ψ: a mixture of factor analysers.

``pca=d`` models the d principal directions U of the training pixels and makes the others one spherical Gaussian:

    Σ_k = U S_k Uᵀ + s (I − U Uᵀ),   μ_k = c + U m_k,

with S_k of the form above and s the mean variance that the principal directions leave over. That is still a density of
all pixels, so likelihoods, marginals and conditionals are exact; classification is that of a mixture on the principal
components, since the left-over term is the same for all classes.

Where the classes of some images are hidden, such an image belongs to each component of each class in the share
p(y, k | x) (Nigam et al. 2000). EM then starts from the class of the nearest image that has a label.

Where values x_m are missing, EM learns from those x_o that are seen (Ghahramani & Jordan 1994): responsibilities are
by N(x_o; μ_o, Σ_oo), and moments those of E[x_m | x_o], with Σ_mm − Σ_mo Σ_oo⁻¹ Σ_om added to the second. The floor
counts in the share in which a value is seen, so that what never is keeps the variance that it had.

Columns of categories are independent of each other and of the numbers, given the component, see
:mod:`zoo.base.categories`.

The updates are those of scikit-learn's ``GaussianMixture``.

References: Dempster, Laird & Rubin (1977); Nigam, McCallum, Thrun & Mitchell (2000), Text classification from labeled
and unlabeled documents using EM; Ghahramani & Jordan (1994), Supervised learning from incomplete data via an EM
approach; Ghahramani & Hinton (1996), The EM algorithm for mixtures of factor analyzers; Tipping & Bishop (1999),
Mixtures of probabilistic principal component analyzers; Arthur & Vassilvitskii (2007), k-means++.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from zoo.base.categories import Categories
from zoo.base.covariance import Condition, Covariance, Dense, Diagonal, Hidden, LowRank
from zoo.base.gaussian import LOG_2PI
from zoo.base.generative import Batches, Density
from zoo.base.kmeans import kmeans, nearest
from zoo.base.precision import precise
from zoo.base.principal import LARGE, most_directions, principal_directions
from zoo.errors import ZooError
from zoo.registry import register
from zoo.spec import DataSpec, Likelihood

COVARIANCES: dict[str, Callable[[int, int, int, int], Covariance]] = {
    "spherical": lambda groups, components, size, _: Diagonal(groups, components, size, spherical=True),
    "diag": lambda groups, components, size, _: Diagonal(groups, components, size),
    "full": lambda groups, components, size, _: Dense(groups, components, size),
    "tied": lambda groups, components, size, _: Dense(groups, components, size, tied=True),
    "low_rank": LowRank,
}
STARTS = ("kmeans", "k-means++", "random")
START_ROWS = 1024  # images whose nearest labelled one is looked for at a time
START_IMAGES = 100_000  # how many images the start is found on, at most
START_VALUES = 1 << 28  # and how many values they have that are modelled in detail, 1 GB in float32
DIRECTIONS = 50  # principal ones of a picture that are modelled in detail, if nothing else is asked
BLOCK = 1 << 19  # numbers worked on at a time: what stays in a core's cache
LARGEST_BLOCK = 1 << 22  # where an image has so many that a few alone do not: numbers a component
MOST_WORK = 1 << 38  # multiplications of decomposing covariances of large pictures, a minute
GAPS = 1 << 22  # numbers of covariances of rows with gaps that are worked on at a time
ALIKE = 8  # images that see the same pixels, at least, for these to be worked on together
PAIRS = 1 << 25  # numbers in the largest table of pairs of directions: 256 MiB
LEAST = 1e-12  # of the variance of a pixel that never changes, in squared grey value
QUANTISATION = 1 / (12 * 255**2)  # variance of the grey values that round to one level: the least that is left over
FAINT = 1e-8  # the least share of a class in an image that counts: float32 resolves no smaller one beside 1
DEAD = 1e-3  # a component with less than this share of its fair share is put elsewhere


class _Rows(NamedTuple):
    """Examples as a mixture sees them: coordinates ``(B, d)``, 0 where hidden; which are seen, bool ``(B, d)``, or None
    if all are; and entries of categories ``(B, E)``, or None without any."""

    y: Tensor
    seen: Tensor | None
    categories: Tensor | None

    def at(self, index: Tensor | slice) -> _Rows:
        return _Rows(*(None if part is None else part[index] for part in self))  # type: ignore[arg-type]

    def split(self, size: int) -> list[_Rows]:
        if torch.compiler.is_exporting():  # of any number of rows
            return [self]
        return [self.at(slice(start, start + size)) for start in range(0, max(len(self.y), 1), size)]

    @classmethod
    def joined(cls, parts: Sequence[_Rows]) -> _Rows:
        return cls(*(None if of[0] is None else torch.cat(of) for of in zip(*parts, strict=True)))  # type: ignore[arg-type]

    def points(self) -> Tensor:
        """What the start is found by, ``(B, d + E)``: coordinates, and entries of categories beside them."""
        return self.y if self.categories is None else torch.cat([self.y, self.categories], 1)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Means of what is seen and variances about them, ``(d,)``; NaN where nothing is."""
        if self.seen is None:
            return self.y.mean(0), self.y.var(0, correction=0)
        count = self.seen.sum(0)
        mean = self.y.sum(0) / count
        return mean, torch.where(self.seen, self.y - mean, 0).square().sum(0) / count


@register("gmm")
class GMM(Density):
    """Gaussian mixture model.

    Args:
        spec: shape and classes of the data.
        num_components: Gaussians a mixture.
        covariance: ``"spherical"``, ``"diag"``, ``"full"``, ``"tied"`` or ``"low_rank"``.
        rank: columns of W (``low_rank``).
        pca: principal directions that are modelled in detail, at most the number of pixels; 0 models all pixels so.
            ``"auto"``: 50 of a picture, or all of a smaller one, and 0 of a table, whose columns are few. Missing
            values and categories need 0.
        per_class: a mixture for each class, a generative classifier; else one for all images.
        init: how the first responsibilities are found: ``"kmeans"``, ``"k-means++"`` (its seeds alone) or ``"random"``.
        restarts: k-means runs of which the one with the least squared distance is kept.
        floor: variance added in each direction, in squared grey value, or of a table in variances of a column
            (scikit-learn's ``reg_covar``).
        alpha: examples imagined of each category in each component (tables with categories), above 0.
    """

    encodes_gaps = True
    learns_from_gaps = True
    takes = ("grey", "real", "mixed")
    partly_labelled = ("statistics", "losses")
    centre: Tensor
    basis: Tensor
    residual: Tensor

    def __init__(
        self,
        spec: DataSpec,
        num_components: int = 8,
        covariance: str = "full",
        rank: int = 8,
        pca: int | str = "auto",
        per_class: bool = True,
        init: str = "kmeans",
        restarts: int = 1,
        floor: float = 1e-3,
        alpha: float = 1.0,
    ) -> None:
        super().__init__(spec, per_class)
        pixels = math.prod(spec.shape) - sum(places.stop - places.start for places in spec.categories)
        if covariance not in COVARIANCES or init not in STARTS:
            raise ValueError(f"covariance is one of {', '.join(COVARIANCES)} and init one of {', '.join(STARTS)}")
        if min(num_components, restarts, rank) < 1 or not floor >= 0 or not alpha > 0:
            raise ValueError("num_components, restarts and rank must be at least 1, floor at least 0, alpha above 0")
        if not pixels:
            raise ValueError("a mixture of Gaussians needs a column of numbers: model=naive_bayes does without")
        if pca == "auto":
            pca = 0 if spec.kind == "table" else min(DIRECTIONS, pixels)
        if isinstance(pca, bool) or not isinstance(pca, int):
            raise ValueError(f"pca is auto or a whole number, not {pca!r}")
        if not 0 <= pca <= pixels:
            raise ValueError(f"pca must be from 0 to the {pixels} numbers of an example, not {pca}")
        self.projected = 0 < pca < pixels
        if self.projected and (spec.missing or spec.categories):
            other = ", or data.align=stretch, which leaves none out" if spec.kind == "sound" else ""
            raise ValueError(
                f"principal directions (pca={pca}) are of numbers, all of them seen: where values are missing, or some "
                f"columns are of categories, it takes pca=0{other}"
            )
        self._check_work(pixels, covariance, num_components, pca)
        self.num_components, self.init, self.restarts = num_components, init, restarts
        self.floor, self.alpha = max(floor, LEAST), alpha
        of = {"grey": "dequantised", "real": "continuous", "mixed": "mixed"}[spec.values]
        self.density = Likelihood("exact", of)
        self.size = size = pca or pixels
        self.register_buffer("centre", torch.zeros(pixels))
        if self.projected:
            self.register_buffer("basis", torch.eye(pixels, size))
            self.register_buffer("residual", torch.ones(()))
        self.logits = nn.Parameter(torch.zeros(self.groups, num_components))
        self.mean = nn.Parameter(torch.zeros(self.groups, num_components, size))
        self.covariance = COVARIANCES[covariance](self.groups, num_components, size, rank)
        self.categories = Categories(spec, self.groups, num_components) if spec.categories else None

    def _check_work(self, pixels: int, covariance: str, components: int, pca: int) -> None:
        """Raise ``ValueError`` where there is more to be decomposed than can be within some minutes."""
        most, size = most_directions(pixels), pca or pixels
        if 0 < pca < pixels and pca > most:
            raise ValueError(
                f"of {pixels:,} pixels at most {most:,} principal directions can be found, not pca={pca:,}"
            )
        matrices = self.groups * {"full": components, "tied": 1}.get(covariance, 0)
        if size > LARGE and matrices * size**3 > MOST_WORK:
            raise ValueError(
                f"covariance={covariance} of {size:,} values is {matrices} {'matrix' if matrices == 1 else 'matrices'} "
                f"of {size**2:,} numbers, too large to be decomposed each epoch: model.pca=50 makes it fit, "
                "model.covariance=diag or low_rank, or a smaller data.image_size"
            )

    # Density

    def log_prob_of(self, x: Tensor, group: int, observed: Tensor | None = None) -> Tensor:
        if observed is not None:
            return self._log_components_observed(x, observed, [group]).logsumexp(1)
        rows, rest = self._rows_of(x)
        log_components = self._components_of(group)
        return torch.cat([log_components(part)[0].logsumexp(0) for part in rows.split(self._at_once)]) + rest

    def log_joint(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        if observed is None:
            return super().log_joint(x)
        components = self._log_components_observed(x, observed, range(self.groups))
        columns = components.unflatten(1, (self.groups, self.num_components)).logsumexp(2)
        return columns if self.log_prior is None else columns + self.log_prior.to(columns.dtype)

    def _rows_of(self, x: Tensor, observed: Tensor | None = None) -> tuple[_Rows, Tensor]:
        """Examples as coordinates, and the log density ``(B,)`` of what these leave over."""
        values, categories = self._parts(x)
        if observed is None:
            y, rest = self._project(values)
            return _Rows(y, None, categories), rest
        seen, known = self._parts(observed)
        y = torch.where(seen, values - self.centre, 0)
        if self.categories is not None:
            categories = torch.where(known, categories, 0)
        return _Rows(y, seen, categories), y.new_zeros(len(y))

    def _parts(self, x: Tensor) -> tuple[Tensor, Any]:
        """The numbers of examples, ``(B, D)``, and their entries of categories, ``(B, E)``, None without any."""
        flat = x.flatten(1)
        return (flat, None) if self.categories is None else self.categories.parts(flat)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates ``(B, d)`` of flat pixels, and the log density ``(B,)`` of what they leave over."""
        x = x - self.centre
        if not self.projected:
            return x, x.new_zeros(x.shape[0])
        y = x @ self.basis
        left = (x - y @ self.basis.T).square().sum(1)
        free = x.shape[1] - self.size
        return y, -0.5 * (left / self.residual + free * (LOG_2PI + self.residual.log()))

    @property
    def _at_once(self) -> int:
        """How many images to work on at a time."""
        fewest = max(1, min(64, LARGEST_BLOCK // self.size))
        return max(fewest, BLOCK // (self.num_components * self.size))

    def _components_of(self, group: int, gaps: bool = False) -> Callable[[_Rows], tuple[Tensor, Tensor, Hidden | None]]:
        """A function of rows, with or without ``gaps``, that gives log π_k p(y; k) of what is seen, ``(K, B)``, the
        expected deviations from the means, ``(K, B, d)``, and what hidden entries add to their moments, None without.
        """
        mean, weights = self.mean[group], self.logits[group].log_softmax(0)
        which = group * self.num_components + torch.arange(self.num_components, device=mean.device)
        whiten: Any = None  # both are named: a compiled step reads all that the function below might
        condition: Any = None
        constant = weights
        if gaps:
            condition = self.covariance.conditioning(which)
        else:
            whiten, log_det = self.covariance.whitening(mean, group)
            constant = weights - 0.5 * (log_det + self.size * LOG_2PI)
        log_p = None if self.categories is None else self.categories.log_p()[group]

        def log_components(rows: _Rows) -> tuple[Tensor, Tensor, Hidden | None]:
            hidden = None
            if rows.seen is None:
                white, distance = whiten(rows.y)
                result = constant[:, None] - 0.5 * distance
            else:
                v = torch.addcmul(rows.y, mean[:, None], rows.seen.to(mean.dtype), value=-1)  # y is 0 where hidden
                white, distance, log_det, hidden = condition(v, rows.seen)
                result = weights[:, None] - 0.5 * (distance + log_det + rows.seen.sum(1, dtype=v.dtype) * LOG_2PI)
            if self.categories is not None and rows.categories is not None:
                result = result + self.categories.log_prob(rows.categories, log_p).T
            return result, white, hidden

        return log_components

    # EM

    @torch.no_grad()
    def initialize(self, batches: Batches, generator: torch.Generator) -> None:
        """Principal directions; responsibilities, found on at most 100,000 images; then an M-step from those."""
        count = self._find_directions(batches)
        every, kept = -(-count // min(START_IMAGES, max(START_VALUES // self.size, 1))), []
        for x, labels in batches:
            some = torch.arange(len(labels), device=labels.device) % every == 0
            if bool((labels < 0).any()):  # labels are few: none is left out
                some |= labels >= 0
            kept.append((self._rows_of(*self.gaps(x[some]))[0], labels[some]))
        labels = torch.cat([part for _, part in kept])
        rows = _Rows.joined([part for part, _ in kept])
        points, known = rows.points(), labels >= 0
        if self.groups > 1 and not bool(known.all()):
            owners = torch.cat([nearest(part, points[known]) for part in points.split(START_ROWS)])
            labels = torch.where(known, labels, labels[known][owners])
        mean, variance = rows.moments()
        if rows.seen is not None:  # what is never seen is as the data's description has it
            usual = self._described(self.spec.std).square()
            mean, variance = mean.nan_to_num(0), torch.where(variance.isnan(), usual, variance)
        self.mean.copy_(mean)
        self.covariance.set_variance(slice(None), variance + self.floor)
        parts = []
        for group, index in self.by_group(labels):
            weights = self._first_responsibilities(points[index], generator)
            if isinstance(self.covariance, LowRank):
                self.mean[group] = self.covariance.start(group, rows.y[index], weights, self.floor)
            parts.append((group, self._statistics_of(rows.at(index), group, weights)))
        self.maximize(self._gather(parts))
        self.initialized.fill_(True)

    def _find_directions(self, batches: Batches) -> int:
        """Set the mean image, the principal directions and the variance they leave over; the number of images."""
        if self.spec.missing or self.categories is not None:
            return self._find_centre(batches)
        size = self.size if self.projected else 0
        mean, basis, left, count = principal_directions(batches, self.centre, size)
        self.centre.copy_(mean)
        if basis is not None and left is not None:
            self.basis.copy_(basis)
            self.residual.copy_(left.clamp_min(QUANTISATION))
        return count

    def _find_centre(self, batches: Batches) -> int:
        """Set the mean of the numbers, each over the examples that show it; the number of examples."""
        shape = (2, len(self.centre))
        sums, count = torch.zeros(shape, dtype=torch.float64, device=self.centre.device), 0
        usual = self._described(self.spec.mean)
        for x, _ in batches:
            deviation = self._parts(x)[0] - usual  # near the mean, so that it loses no digits
            sums += torch.stack([deviation.nan_to_num(0), (~deviation.isnan()).to(deviation.dtype)]).sum(1)
            count += len(x)
        if not count:
            raise ValueError("there is no example to start from")
        self.centre.copy_(usual + sums[0] / sums[1].clamp_min(1))
        return count

    def _described(self, statistics: Sequence[float]) -> Tensor:
        """Statistics of the data's description, one a number that is modelled, ``(D,)``."""
        values = torch.tensor(statistics, dtype=self.centre.dtype, device=self.centre.device)
        return self._parts(values.view(self.spec.statistics_shape).expand(self.spec.shape)[None])[0][0]

    def _first_responsibilities(self, points: Tensor, generator: torch.Generator) -> Tensor:
        if self.init == "random":
            shape = (len(points), self.num_components)
            weights = torch.rand(shape, generator=generator, dtype=points.dtype, device=points.device)
            return weights / weights.sum(1, keepdim=True)
        steps = 100 if self.init == "kmeans" else 0
        centres = kmeans(points, self.num_components, generator, steps, self.restarts)
        return nn.functional.one_hot(nearest(points, centres), self.num_components).to(points.dtype)

    @torch.no_grad()
    def statistics(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        rows, rest = self._rows_of(*self.gaps(x))
        parts = [(group, self._statistics_of(rows.at(index), group)) for group, index in self.by_group(labels)]
        hidden = (labels < 0).nonzero()[:, 0]
        if self.groups > 1 and len(hidden):
            parts += self._statistics_of_hidden(x[hidden], rows.at(hidden), rest[hidden])
        total = self._gather(parts)
        total["log_likelihood"] += rest.double().sum()
        if self.log_prior is not None:
            total["log_likelihood"] += self.log_prior[labels[labels >= 0]].double().sum()
        return total

    def _statistics_of_hidden(self, x: Tensor, rows: _Rows, rest: Tensor) -> list[tuple[int, dict[str, Tensor]]]:
        """Statistics of images without a label, and their coordinates, for each class that has a share in any."""
        shares, evidence = self.responsibilities(x)
        parts = []
        for group in range(self.groups):
            index = (shares[:, group] > FAINT).nonzero()[:, 0]
            if len(index):
                of_group = shares[index, group].to(rows.y.dtype)
                parts.append((group, self._statistics_of(rows.at(index), group, shares=of_group)))
                parts[-1][1]["log_likelihood"] = evidence.new_zeros(())
        if not parts:
            raise ZooError(
                "the likelihood of images without a label is not a number: a larger model.floor keeps it finite"
            )
        # what the pixels leave over beside the principal directions is added for all images alike
        parts[0][1]["log_likelihood"] = evidence.sum() - rest.double().sum()
        return parts

    def _gather(self, parts: list[tuple[int, dict[str, Tensor]]]) -> dict[str, Tensor]:
        """Statistics of the groups that occur in a batch as ones of all groups, ``(M, …)``."""
        K = self.num_components
        shapes = {"counts": (K,), "first": (K, self.size), **self.covariance.shapes()}
        if self.spec.missing:
            shapes["seen"] = (K, self.size)
        if self.categories is not None:
            shapes["categories"] = (K, len(self.categories.entries))
        zero = torch.zeros((), dtype=torch.float64, device=self.mean.device)
        total = {key: zero.new_zeros(self.groups, *shape) for key, shape in shapes.items()}
        for group, part in parts:
            for key, sums in total.items():
                sums[group] += part[key]
        likelihood = sum((part["log_likelihood"] for _, part in parts), zero.clone())
        return total | {"log_likelihood": likelihood, "images": total["counts"].sum()}

    def _statistics_of(
        self, rows: _Rows, group: int, weights: Tensor | None = None, shares: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Statistics of the images of one group; ``weights`` ``(B, K)`` take the place of the responsibilities, which
        ``shares`` ``(B,)`` of the group multiply.

        Moments are taken of deviations from the current means in units of the current covariance, where they have the
        size of one: they lose no digits.
        """
        sums: dict[str, Tensor] = {}
        log_components, at_once = self._components_of(group, rows.seen is not None), self._at_once
        if rows.seen is not None:  # those of which as many are hidden side by side
            order = rows.seen.sum(1).argsort(dim=0, stable=True)
            at_once = max(1, GAPS // (self.num_components * self.size**2))
            rows = rows.at(order)
            weights, shares = (None if part is None else part[order] for part in (weights, shares))
        for number, part in enumerate(rows.split(at_once)):
            index = slice(number * at_once, (number + 1) * at_once)
            log_joint, white, hidden = log_components(part)
            chosen = log_joint.softmax(0)
            likelihood = log_joint.amax(0) - chosen.amax(0).log()  # a quicker logsumexp
            if weights is not None:
                chosen = weights[index].T
            if shares is not None:
                chosen = chosen * shares[index]
            new = {
                "log_likelihood": likelihood.sum(dtype=torch.float64),
                "counts": chosen.sum(1, dtype=torch.float64),
                "first": (chosen[:, None] @ white)[:, 0].double(),
            }
            new |= self.covariance.moments(white, chosen, group)
            if part.categories is not None:
                new["categories"] = (chosen @ part.categories).double()
            if part.seen is not None and hidden is not None:
                new["seen"] = (chosen @ part.seen.to(chosen.dtype)).double()
                new |= {key: new[key] + value for key, value in hidden(chosen).items()}
            sums = {key: value + sums[key] if sums else value for key, value in new.items()}
        return sums

    @torch.no_grad()
    def maximize(self, statistics: dict[str, Tensor]) -> None:
        counts = statistics["counts"]
        self.set_prior(counts.sum(1))
        for group in range(self.groups):
            if counts[group].sum() > 0:  # a class without images keeps what it had
                self._maximize_group({key: value[group] for key, value in statistics.items() if value.dim()}, group)

    def _maximize_group(self, sums: dict[str, Tensor], group: int) -> None:
        counts = sums["counts"].clamp_min(1e-300)
        alive = counts > DEAD * counts.sum() / self.num_components
        self.logits[group] = counts.log()
        floor = torch.full_like(sums["first"], self.floor)
        if "seen" in sums:
            floor = torch.where(alive[:, None], floor * sums["seen"] / counts[:, None], floor)
        shift = self.covariance.maximize(sums | {"counts": counts}, group, alive, floor)
        self.mean[group, alive] += shift.to(self.mean.dtype)[alive]
        if self.categories is not None:
            self.categories.maximize(sums["categories"], self.alpha, group)
        for dead in (~alive).nonzero()[:, 0].tolist():
            self._split_heaviest(group, dead)

    def _split_heaviest(self, group: int, dead: int) -> None:
        """Put a component that explains nothing beside the heaviest one, a standard deviation along its main axis."""
        heaviest = int(self.logits[group].argmax())
        which = torch.tensor(group * self.num_components + heaviest, device=self.mean.device)
        step = self.covariance.main_axis(which).to(self.mean.dtype)
        self.logits[group, heaviest] -= math.log(2)
        for parameter in self.parameters():
            if parameter.shape[1] == self.num_components:  # all but the one factor of tied components
                parameter[group, dead] = parameter[group, heaviest]
        self.mean[group, dead] += step
        self.mean[group, heaviest] -= step

    # Marginals and conditionals

    def _mean_images(self, which: Tensor) -> Tensor:
        """μ_k as flat pixels, ``(..., D)``, of the components ``which`` ``(...)`` = group · K + k."""
        mean = self.mean.flatten(0, 1)[which]
        return self.centre + (mean @ self.basis.T if self.projected else mean)

    def _solve(self, v: Tensor, observed: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """Σ_oo⁻¹ v_o, ``(..., D)`` with zeros at hidden pixels, and log |Σ_oo|, ``(...)``."""
        if not self.projected:
            return self.covariance.solve(v, observed, which)
        v, basis, residual = (precise(values) for values in (torch.where(observed, v, 0), self.basis, self.residual))
        inner, solve, _, log_det = self._woodbury(observed, which)
        correction = (inner @ solve((v @ basis)[..., None]))[..., 0] @ basis.T
        return torch.where(observed, v - correction, 0) / residual, log_det

    def _distances(
        self, x: Tensor, observed: Tensor, which: Tensor, condition: Condition | None
    ) -> tuple[Tensor, Tensor]:
        """(x_o − μ_o)ᵀ Σ_oo⁻¹ (x_o − μ_o), ``(P, K, n)``, of flat images ``(P, n, D)`` from the components ``which``
        ``(K,)``, and log |Σ_oo|, ``(P, K, 1)``, where P times n images show the same pixels, ``observed`` ``(P, D)``.
        """
        if condition is not None and x.shape[1] == 1:
            v = torch.where(observed, x[:, 0] - self._mean_images(which)[:, None], 0)
            _, distances, log_det, _ = condition(v, observed)
            return distances.T[..., None], log_det.T[..., None]
        if not self.projected:
            seen = observed[:, None, None]
            v = torch.where(seen, x[:, None] - self._mean_images(which)[:, None], 0)
            solved, log_det = self._solve(v, seen, which[:, None])
            return (v * solved).sum(3), log_det
        # with μ = c + U m, all but |x − c|² is within the projection: no image is made for each component
        inner, solve, within, log_det = self._woodbury(observed[:, None], which)
        x, mean = precise(x), precise(self.mean.flatten(0, 1)[which])
        rest = torch.where(observed[:, None], x - precise(self.centre), 0)
        outer = (rest @ precise(self.basis))[:, None]
        inside = outer - (within @ mean[..., None]).mT  # U_oᵀ (x_o − μ_o), (P, K, n, d)
        square = rest.square().sum(2)[:, None] - (mean[:, None] * (outer + inside)).sum(3)  # |x_o − μ_o|²
        correction = (inner @ solve(inside.mT)).mT
        return (square - (inside * correction).sum(3)) / precise(self.residual), log_det[..., None]

    def _woodbury(self, observed: Tensor, which: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor], Tensor, Tensor]:
        """What Woodbury's identity needs of Σ_oo = s I + U_o (S − s I) U_oᵀ: S − s I, ``(..., d, d)``, the solver for
        s I + U_oᵀ U_o (S − s I), of columns, U_oᵀ U_o, and log |Σ_oo|, ``(...)``.

        All are in float64: s is so much less than S that float32 leaves errors of more than a nat.
        """
        seen, directions, s = precise(observed), precise(self.basis), precise(self.residual)
        eye = torch.eye(self.size, dtype=seen.dtype, device=seen.device)
        within = seen.new_zeros(())  # U_oᵀ U_o, of some pixels at a time
        at_once = max(1, PAIRS // self.size**2)
        for basis, part in zip(directions.split(at_once), seen.split(at_once, -1), strict=True):
            within = within + part @ (basis[:, :, None] * basis[:, None]).flatten(1)
        inner = self.covariance.dense(which, seen.dtype) - s * eye
        within = within.unflatten(-1, (self.size, self.size))
        if within.dim() > inner.dim():  # each mask with each component: a large product is quicker than many small ones
            product = (within[:, 0] @ inner.transpose(0, 1).flatten(1)).unflatten(2, inner.shape[::2]).transpose(1, 2)
        else:
            product = within @ inner
        factors, pivots = torch.linalg.lu_factor(s * eye + product)

        def solve(columns: Tensor) -> Tensor:
            return torch.linalg.lu_solve(factors, pivots, columns)

        log_det = factors.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1) + (seen.sum(-1) - self.size) * s.log()
        return inner, solve, within, log_det

    def _times(self, u: Tensor, which: Tensor) -> Tensor:
        """Σ_k u, ``(..., D)``."""
        if not self.projected:
            return self.covariance.times(u, which)
        inside = u @ self.basis
        return self.residual * u + (self.covariance.times(inside, which) - self.residual * inside) @ self.basis.T

    def _noise(self, which: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draws from N(0, Σ_k), ``(N, D)``."""

        def normal(size: int) -> Tensor:
            shape = (*which.shape, size)
            return torch.randn(shape, generator=generator, dtype=self.mean.dtype, device=self.mean.device)

        inside = self.covariance.noise(which, normal)
        if not self.projected:
            return inside
        around = self.residual.sqrt() * normal(len(self.centre))
        return inside @ self.basis.T + around - (around @ self.basis) @ self.basis.T

    def _few(self, components: int = 1) -> int:
        """How many images to work on at a time where each has a covariance of its own of so many components."""
        own = self.size * (self.size if self.projected or isinstance(self.covariance, Dense) else 8)
        return max(1, (1 << 22) // (components * (own + len(self.centre))))

    def _log_components_observed(self, x: Tensor, observed: Tensor, groups: Sequence[int]) -> Tensor:
        """log π_k N(x_o; μ_k, Σ_k), of the seen entries o of examples, times the probabilities of their categories, for
        all components of ``groups``, ``(B, …)``.

        What depends on the seen entries alone is found once for them all."""
        every = torch.arange(self.groups * self.num_components, device=x.device).view(self.groups, -1)
        which = every[list(groups)].flatten()
        (values, categories), (observed, known) = self._parts(x), self._parts(observed)
        # of each image alone, matrices of what it hides are quicker than those of what it shows
        quick = isinstance(self.covariance, Dense) and not self.projected
        condition = self.covariance.conditioning(which) if quick else None
        result = values.new_empty(len(x), len(which))
        for rows in self._alike(observed, self._few(len(which))):
            seen = observed[rows[:, 0]]
            distances, log_det = self._distances(values[rows], seen, which, condition)
            constant = log_det + seen.sum(1, dtype=log_det.dtype)[:, None, None] * LOG_2PI
            columns = (-0.5 * (distances + constant)).mT.flatten(0, 1).to(x.dtype)
            result = result.index_put((rows.flatten(),), columns)
        result = result + self.logits.log_softmax(1).flatten()[which]
        if self.categories is None:
            return result
        log_p = self.categories.log_p().flatten(0, 1)[which]
        return result + self.categories.log_prob(torch.where(known, categories, 0), log_p)

    def _alike(self, observed: Tensor, at_once: int) -> Iterator[Tensor]:
        """Indices ``(P, n)`` of images, ``at_once`` at most, all n of a row with the same seen pixels, which makes one
        matrix do for them: those of which there are many, and the others one by one, n = 1, by how many they see."""
        _, pattern, counts = observed.unique(dim=0, return_inverse=True, return_counts=True)
        many = counts >= ALIKE
        for index in many.nonzero()[:, 0]:
            for rows in (pattern == index).nonzero()[:, 0].split(at_once):
                yield rows[None]
        others = (~many[pattern]).nonzero()
        yield from others[observed[others[:, 0]].sum(1).argsort(dim=0, stable=True)].split(at_once)

    def _posterior(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """log p(y, k | x), ``(B, M · K)``, from the entries that ``observed`` marks (all if left out)."""
        if observed is not None:
            columns = self._log_components_observed(x, observed, range(self.groups))
        else:
            rows = self._rows_of(x)[0].split(self._at_once)
            of_group = (self._components_of(group) for group in range(self.groups))
            columns = torch.cat([torch.cat([of(part)[0].T for part in rows]) for of in of_group], 1)
        if self.log_prior is not None:
            columns = columns + self.log_prior.repeat_interleave(self.num_components)
        return columns.log_softmax(1)

    def _complete(self, x: Tensor, observed: Tensor, which: Tensor, generator: Any = None) -> Tensor:
        """E[x | x_o, component], ``(N, D)``, or with a ``generator`` a sample of it, by Matheron's rule:

        noise + Σ_·o Σ_oo⁻¹ (x_o − μ_o − noise_o) has the conditional distribution, if noise ~ N(0, Σ).
        """
        results = []
        for part, seen, chosen in zip(*(t.split(self._few()) for t in (x, observed, which)), strict=True):
            mean = self._mean_images(chosen)
            start = mean if generator is None else mean + self._noise(chosen, generator)
            solved, _ = self._solve(part - start, seen, chosen)
            results.append(torch.where(seen, part, start + self._times(solved.to(start.dtype), chosen)))
        return torch.cat(results)

    # Capabilities

    def _examples(self, numbers: Tensor, categories: Tensor | None) -> Tensor:
        """Examples ``(n, C, H, W)`` of their numbers and entries of categories, None without any."""
        if self.categories is not None and categories is not None:
            numbers = self.categories.joined(numbers, categories)
        return numbers.unflatten(1, self.spec.shape)

    def _draw_categories(self, which: Tensor, generator: torch.Generator | None) -> Tensor | None:
        return None if self.categories is None else self.categories.draw(which, generator)

    def _mean_examples(self) -> Tensor:
        """The mean example of each component, ``(M · K, C, H, W)``; of categories their probabilities."""
        which = torch.arange(self.groups * self.num_components, device=self.mean.device)
        probabilities = None if self.categories is None else self.categories.log_p().exp().flatten(0, 1)
        return self._examples(self._mean_images(which), probabilities)

    def sample(self, n: int, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Examples ``(n, C, H, W)``; grey values clipped to [0, 1]."""
        groups = self.draw_groups(n, labels, generator)
        weights = self.logits.softmax(1)[groups]
        parts = torch.multinomial(weights, 1, generator=generator)[:, 0] if n else groups
        which = groups * self.num_components + parts
        drawn = [self._mean_images(part) + self._noise(part, generator) for part in which.split(self._few())]
        return self.possible(self._examples(torch.cat(drawn), self._draw_categories(which, generator)))

    def impute(self, x: Tensor, observed: Tensor, n: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Exact conditional samples ``(n, B, C, H, W)``, of what is possible: a component, then what it hides."""
        posterior = self._posterior(x, observed).exp()
        which = torch.multinomial(posterior, n, replacement=True, generator=generator).T.flatten()
        generator = generator or torch.default_generator
        flat, seen = (self._parts(tensor)[0].repeat(n, 1) for tensor in (x, observed))
        drawn = self._examples(self._complete(flat, seen, which, generator), self._draw_categories(which, generator))
        return torch.where(observed, x, self.possible(drawn).unflatten(0, (n, len(x))))

    def conditional_mean(self, x: Tensor, observed: Tensor) -> Tensor:
        """E[x | seen entries], ``(B, C, H, W)``, exact but for components of a probability below 1e-6."""
        posterior = self._posterior(x, observed).exp()
        posterior = torch.where(posterior < 1e-6, 0, posterior)
        rows, which = posterior.nonzero(as_tuple=True)
        (values, _), (seen, _) = self._parts(x), self._parts(observed)
        means = self._complete(values[rows], seen[rows], which)
        weights = (posterior / posterior.sum(1, keepdim=True))[rows, which]
        total = torch.zeros_like(values).index_add(0, rows, means * weights[:, None])
        probabilities = None
        if self.categories is not None:
            probabilities = posterior @ self.categories.log_p().exp().flatten(0, 1) / posterior.sum(1, keepdim=True)
        return torch.where(observed, x, self._examples(total, probabilities))

    def encode(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """Responsibilities p(y, k | x), ``(B, M · K)``, from the entries that ``observed`` marks (all if left out)."""
        return self._posterior(x, observed).exp()

    def reconstruct(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """The mean examples weighted by the responsibilities, ``(B, C, H, W)``."""
        means = self._mean_examples().flatten(1)
        return self.possible(self.encode(x, observed) @ means).unflatten(1, self.spec.shape)

    def components(self) -> tuple[Tensor, Tensor]:
        """Mean examples ``(M, K, C, H, W)`` and mixture weights ``(M, K)``."""
        images = self.possible(self._mean_examples())
        return images.unflatten(0, (self.groups, self.num_components)), self.logits.softmax(1)
