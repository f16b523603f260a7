"""The covariances S_k of Gaussian components: their parameters, whitening, M-step, marginals and samples.

Components are counted by ``group`` and k, or by ``which`` = group · K + k, of any shape ``(...)``.
Parameters are unconstrained: logarithms of variances, Cholesky factors with the logarithm of their diagonal.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from zoo.base.gaussian import hidden_given_seen, solve_observed
from zoo.base.precision import precise
from zoo.base.principal import LARGE, leading

Normal = Callable[[int], Tensor]  # size -> standard normal draws (..., size)
Whiten = Callable[[Tensor], tuple[Tensor, Tensor]]
Sums = dict[str, Tensor]
Hidden = Callable[[Tensor], Sums]  # weights (K, B) -> what hidden entries add to the moments
Condition = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor, Hidden]]

AXIS_STEPS = 100  # of a power iteration
MATRICES = 1 << 23  # numbers of matrices that are worked on at a time


class Diagonal(nn.Module):
    """S_k = diag(s), or s I where ``spherical``."""

    def __init__(self, groups: int, components: int, size: int, spherical: bool = False) -> None:
        super().__init__()
        self.size = size
        self.spherical = spherical
        self.log_variance = nn.Parameter(torch.zeros(groups, components, 1 if spherical else size))

    def set_variance(self, group: int | slice, variance: Tensor) -> None:
        """Give all components of a group the variances ``(d,)``."""
        self.log_variance[group] = (variance.mean(0, keepdim=True) if self.spherical else variance).log()

    # EM

    def whitening(self, mean: Tensor, group: int) -> tuple[Whiten, Tensor]:
        """How to measure deviations from ``mean`` ``(K, d)``.

        Returns:
            A function of ``y`` ``(B, d)`` that gives the deviations in units of S_k, ``(K, B, d)``, and their
            Mahalanobis distances squared, ``(K, B)``; and log |S_k|, ``(K,)``.
        """
        log_variance = self.log_variance[group]
        scale = (-0.5 * log_variance).exp()[:, None]

        def whiten(y: Tensor) -> tuple[Tensor, Tensor]:
            white = (y - mean[:, None]) * scale
            return white, torch.linalg.vector_norm(white, dim=2).square()

        return whiten, log_variance.expand_as(mean).sum(1)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of a group's second moments."""
        components = self.log_variance.shape[1]
        return {"second": (components, self.size)}

    def moments(self, white: Tensor, chosen: Tensor, group: int) -> Sums:
        """Second moments of whitened deviations with weights ``chosen`` ``(K, B)``. Overwrites ``white``: that is what
        makes a pass quick, since it stays in the cache."""
        return {"second": (chosen[:, None] @ white.square_())[:, 0].double()}

    def conditioning(self, which: Tensor) -> Condition:
        """What to expect of deviations from the means of the components ``which`` ``(K,)`` of which some are hidden.

        Returns:
            A function of deviations ``(K, B, d)``, 0 where hidden, and which are seen, bool ``(B, d)``. It gives the
            expected ones in the units of :meth:`whitening`, ``(K, B, d)``; the Mahalanobis distances squared of what is
            seen, and log |S_oo|, both ``(K, B)``; and a function of weights ``(K, B)`` that gives what the conditional
            covariances of hidden entries add to :meth:`moments`.
        """
        log_variance = self._log_variance(which)
        scale = (-0.5 * log_variance).exp()[:, None]

        def condition(v: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor, Hidden]:
            white = v * scale

            def hidden(chosen: Tensor) -> Sums:
                return {"second": (chosen @ (~seen).to(chosen.dtype)).double()}  # the variance is 1 in its own units

            return white, white.square().sum(2), log_variance @ seen.to(v.dtype).T, hidden

        return condition

    def maximize(self, sums: Sums, group: int, alive: Tensor, floor: Tensor) -> Tensor:
        """Set the most likely S_k of the ``alive`` components, ``floor`` ``(K, d)`` added to their diagonals; their
        means' shift, ``(K, d)``."""
        weight = sums["counts"][:, None]
        first = sums["first"] / weight
        scale = (0.5 * self.log_variance[group].double()).exp()
        variance = (sums["second"] / weight - first.square()) * scale.square()
        if self.spherical:
            variance, floor = variance.mean(1, keepdim=True), floor.mean(1, keepdim=True)
        self._set(group, alive, variance.clamp_min(0) + floor)
        return first * scale

    def _set(self, group: int, alive: Tensor, variance: Tensor) -> None:
        self.log_variance[group, alive] = variance.log().to(self.log_variance.dtype)[alive]

    # Marginals and conditionals

    def _log_variance(self, which: Tensor) -> Tensor:
        return self.log_variance.flatten(0, 1)[which].expand(*which.shape, self.size)

    def _variance(self, which: Tensor) -> Tensor:
        return self._log_variance(which).exp()

    def dense(self, which: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """S_k as matrices, ``(..., d, d)``, made of parameters as they are, or in another ``dtype``."""
        return torch.diag_embed(self._variance(which).to(dtype))

    def solve(self, v: Tensor, observed: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """S_oo⁻¹ v_o, ``(..., d)`` with zeros at the hidden entries, and log |S_oo|, ``(...)``."""
        variance = self._variance(which)
        return torch.where(observed, v / variance, 0), torch.where(observed, variance.log(), 0).sum(-1)

    def times(self, u: Tensor, which: Tensor) -> Tensor:
        """S_k u, ``(..., d)``."""
        return self._variance(which) * u

    def main_axis(self, which: Tensor) -> Tensor:
        """The main axis of one S_k, ``(d,)``, a standard deviation long."""
        return _main_axis(self, which)

    def noise(self, which: Tensor, normal: Normal) -> Tensor:
        """Draws from N(0, S_k), ``(..., d)``."""
        return self._variance(which).sqrt() * normal(self.size)


class Dense(nn.Module):
    """S_k = L Lᵀ, one for all components of a group where ``tied``. The methods are those of :class:`Diagonal`."""

    def __init__(self, groups: int, components: int, size: int, tied: bool = False) -> None:
        super().__init__()
        self.size = size
        self.components = components
        self.tied = tied
        self.factor = nn.Parameter(torch.zeros(groups, 1 if tied else components, size, size))

    def set_variance(self, group: int | slice, variance: Tensor) -> None:
        self.factor[group] = torch.diag_embed(0.5 * variance.log())

    @staticmethod
    def _lower(raw: Tensor) -> Tensor:
        return raw.tril(-1) + torch.diag_embed(raw.diagonal(dim1=-2, dim2=-1).exp())

    # EM

    def whitening(self, mean: Tensor, group: int) -> tuple[Whiten, Tensor]:
        factor = self._lower(self.factor[group])
        eye = torch.eye(self.size, dtype=mean.dtype, device=mean.device).expand_as(factor)
        inverse = torch.linalg.solve_triangular(factor, eye, upper=False)
        offset = (inverse @ mean[..., None]).mT

        def whiten(y: Tensor) -> tuple[Tensor, Tensor]:
            white = y @ inverse.mT  # (1, B, d) where tied
            white = white - offset if self.tied else white.sub_(offset)
            return white, torch.linalg.vector_norm(white, dim=2).square()

        return whiten, 2 * self.factor[group].diagonal(dim1=1, dim2=2).sum(1)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"second": (self.size, self.size) if self.tied else (self.components, self.size, self.size)}

    def moments(self, white: Tensor, chosen: Tensor, group: int) -> Sums:
        white *= chosen.sqrt()[..., None]
        white = white.flatten(0, 1) if self.tied else white
        return {"second": (white.mT @ white).double()}

    def conditioning(self, which: Tensor) -> Condition:
        factor = precise(self._factor_of(which))
        inverse = torch.linalg.solve_triangular(factor, torch.eye(self.size).to(factor), upper=False)
        precision, whiten = (matrix.to(self.factor.dtype) for matrix in (inverse.mT @ inverse, inverse.mT))
        whole = 2 * factor.diagonal(dim1=1, dim2=2).log().sum(1)[:, None]

        def condition(v: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor, Hidden]:
            completed, log_det, covariance, pairs = hidden_given_seen(precision, v, seen)
            white = completed @ whiten

            def hidden(chosen: Tensor) -> Sums:
                side = self.size + covariance.shape[1]
                weighted = (covariance * chosen[:, None, None]).flatten(1)
                sums = covariance.new_zeros(len(which), side**2)
                for mine, values in zip(sums, weighted, strict=True):
                    mine.index_add_(0, pairs.flatten(), values)
                second = inverse @ sums.view(-1, side, side)[:, : self.size, : self.size].to(inverse) @ inverse.mT
                return {"second": (second.sum(0) if self.tied else second).double()}

            distance = torch.linalg.vector_norm(white, dim=2).square()
            return white, distance, log_det + whole.to(log_det.dtype), hidden

        return condition

    def maximize(self, sums: Sums, group: int, alive: Tensor, floor: Tensor) -> Tensor:
        if self.tied:
            floor = (sums["counts"] @ floor / sums["counts"].sum())[None]
            return self._maximize(sums, group, slice(None), torch.ones_like(alive[:1]), floor)
        shifts = []
        for part in torch.arange(self.components).split(max(1, MATRICES // self.size**2)):
            chosen = slice(int(part[0]), int(part[-1]) + 1)
            mine = {key: value[chosen] for key, value in sums.items() if value.dim()}
            shifts.append(self._maximize(mine, group, chosen, alive[chosen], floor[chosen]))
        return torch.cat(shifts)

    def _maximize(self, sums: Sums, group: int, which: slice, alive: Tensor, floor: Tensor) -> Tensor:
        """As :meth:`maximize`, of the factors ``which`` alone."""
        counts = sums["counts"]
        first = sums["first"] / counts[:, None]
        if self.tied:
            spread = ((sums["second"] - (counts[:, None] * first).T @ first) / counts.sum())[None]
        else:
            spread = sums["second"] / counts[:, None, None] - first[:, :, None] * first[:, None]
        factor = self._lower(self.factor[group, which]).double()
        covariance = factor @ spread @ factor.mT
        covariance = 0.5 * (covariance + covariance.mT)
        new, failed = torch.linalg.cholesky_ex(covariance + torch.diag_embed(floor))
        if failed.any():  # rounding has made moments of far outliers indefinite: the nearest that are not
            values, vectors = torch.linalg.eigh(covariance)
            least = torch.finfo(self.factor.dtype).eps * values.abs().amax(-1, keepdim=True) + floor
            new = torch.linalg.cholesky((vectors * values.clamp_min(0)[:, None]) @ vectors.mT + torch.diag_embed(least))
        raw = (new.tril(-1) + torch.diag_embed(new.diagonal(dim1=1, dim2=2).log())).to(self.factor.dtype)
        self.factor[group, which] = torch.where(alive[:, None, None], raw, self.factor[group, which])
        return (factor @ first[..., None])[..., 0]

    # Marginals and conditionals

    def _factor_of(self, which: Tensor) -> Tensor:
        return self._lower(self.factor.flatten(0, 1)[which // self.components if self.tied else which])

    def dense(self, which: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        factor = self._factor_of(which).to(dtype)
        return factor @ factor.mT

    def solve(self, v: Tensor, observed: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        return solve_observed(self.dense(which), observed, v)

    def times(self, u: Tensor, which: Tensor) -> Tensor:
        factor = self._factor_of(which)
        return (factor @ (factor.mT @ u[..., None]))[..., 0]

    def main_axis(self, which: Tensor) -> Tensor:
        return _main_axis(self, which)

    def noise(self, which: Tensor, normal: Normal) -> Tensor:
        return (self._factor_of(which) @ normal(self.size)[..., None])[..., 0]


class LowRank(Diagonal):
    """S_k = W Wᵀ + Ψ with W ``(d, q)`` and Ψ diagonal: factor analysis, y = m + W z + noise.

    Reference: Ghahramani & Hinton (1996), The EM algorithm for mixtures of factor analyzers.
    """

    def __init__(self, groups: int, components: int, size: int, rank: int) -> None:
        super().__init__(groups, components, size)
        self.rank = rank
        self.loadings = nn.Parameter(torch.zeros(groups, components, size, rank))

    def start(self, group: int, points: Tensor, weights: Tensor, floor: float) -> Tensor:
        """Set W and Ψ by the principal directions of ``points`` ``(n, d)`` under ``weights`` ``(n, K)``.

        Without it z has no posterior to learn from. Returns the weighted means, ``(K, d)``.
        """
        means = []
        rank = min(self.rank, self.size)
        for k, weight in enumerate(weights.T):
            weight = weight / weight.sum().clamp_min(1e-30)
            means.append(weight @ points)
            centred = (points - means[-1]) * weight.sqrt()[:, None]
            if self.size <= LARGE:
                values, vectors = torch.linalg.eigh((centred.T @ centred).double())
                noise = values[: self.size - rank].mean() if rank < self.size else values.new_zeros(())
                values, vectors = values[-rank:], vectors[:, -rank:]
            else:
                values, vectors, left = leading([centred].copy, len(centred), means[-1], rank)
                noise = left / max(self.size - rank, 1)
            loadings = vectors * (values - noise).clamp_min(0).sqrt()
            rest = centred.square().sum(0).double() - loadings.square().sum(1)
            self.loadings[group, k].zero_()[:, :rank] = loadings.to(points.dtype)
            self.log_variance[group, k] = (rest.clamp_min(0) + floor).log().to(points.dtype)
        return torch.stack(means)

    # EM

    def whitening(self, mean: Tensor, group: int) -> tuple[Whiten, Tensor]:
        """As :meth:`Diagonal.whitening`, but deviations come in units of y."""
        log_noise, precision = self.log_variance[group], self._precision(group)
        inverse = (-log_noise).exp()[..., None]

        def whiten(y: Tensor) -> tuple[Tensor, Tensor]:
            v = y - mean[:, None]
            latent, projected = self._latent(v, precision)
            return v, (v.square() @ inverse)[..., 0] - (projected * latent).sum(2)

        return whiten, log_noise.sum(1) + 2 * precision[1].diagonal(dim1=1, dim2=2).log().sum(1)

    def _precision(self, group: int) -> tuple[Tensor, Tensor]:
        """Ψ⁻¹ W, ``(K, d, q)``, and the Cholesky factor of the precision I + Wᵀ Ψ⁻¹ W of z given y, ``(K, q, q)``."""
        loadings = self.loadings[group]
        scaled = loadings * (-self.log_variance[group]).exp()[..., None]
        eye = torch.eye(self.rank, dtype=scaled.dtype, device=scaled.device)
        return scaled, torch.linalg.cholesky(loadings.mT @ scaled + eye)

    @staticmethod
    def _latent(v: Tensor, precision: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """E[z | v] and Wᵀ Ψ⁻¹ v of deviations v ``(K, B, d)``, both ``(K, B, q)``, from :meth:`_precision`."""
        scaled, cholesky = precision
        projected = v @ scaled
        return torch.cholesky_solve(projected.mT, cholesky).mT, projected

    def shapes(self) -> dict[str, tuple[int, ...]]:
        components, size, rank = self.loadings.shape[1:]
        latent = {"latent": (components, rank), "latent_second": (components, rank, rank)}
        return super().shapes() | latent | {"cross": (components, size, rank)}

    def moments(self, white: Tensor, chosen: Tensor, group: int) -> Sums:
        latent = self._latent(white, self._precision(group))[0]
        mine = latent * chosen[..., None]
        return {
            "latent": mine.sum(1).double(),
            "latent_second": (mine.mT @ latent).double(),
            "cross": (white.mT @ mine).double(),
            **super().moments(white, chosen, group),  # the last to see them
        }

    def conditioning(self, which: Tensor) -> Condition:
        """As :meth:`Diagonal.conditioning`, by the latent z given what is seen; deviations come in units of y."""
        loadings, log_noise = self._loadings(which), self._log_variance(which)
        precision = (-log_noise).exp()[:, None]
        products = (loadings[..., :, None] * loadings[..., None, :]).flatten(2)  # w_d w_dᵀ, (K, d, q²)
        eye = torch.eye(self.rank, dtype=loadings.dtype, device=loadings.device)

        def condition(v: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor, Hidden]:
            inverse, gaps = torch.where(seen, precision, 0), (~seen).to(v.dtype)  # Ψ_oo⁻¹, (K, B, d)
            cholesky = torch.linalg.cholesky((inverse @ products).unflatten(2, eye.shape) + eye)
            projected = (v * inverse) @ loadings
            latent = torch.cholesky_solve(projected[..., None], cholesky)[..., 0]
            distance = (v.square() * inverse).sum(2) - (projected * latent).sum(2)
            log_det = log_noise @ seen.to(v.dtype).T + 2 * cholesky.diagonal(dim1=2, dim2=3).log().sum(2)

            def hidden(chosen: Tensor) -> Sums:
                # z is less sure than where all is seen, which maximize takes it to be, and hidden entries go with it
                weighted = torch.cholesky_inverse(cholesky) * chosen[..., None, None]
                cross = (gaps.T @ weighted.flatten(2)).unflatten(2, eye.shape) @ loadings[..., None]
                sure = torch.linalg.inv(eye + loadings.mT @ (loadings * precision.mT))
                noise = log_noise.exp() * (chosen @ gaps)
                return {
                    "latent_second": (weighted.sum(1) - chosen.sum(1)[:, None, None] * sure).double(),
                    "cross": cross[..., 0].double(),
                    "second": ((cross[..., 0] * loadings).sum(2) + noise).double(),
                }

            return torch.where(seen, v, latent @ loadings.mT), distance, log_det, hidden

        return condition

    def maximize(self, sums: Sums, group: int, alive: Tensor, floor: Tensor) -> Tensor:
        """As :meth:`Diagonal.maximize`: the regression of y − m_k on (z, 1) gives W and the shift at once."""
        counts, rank = sums["counts"], self.rank
        loadings = self.loadings[group].double()
        scaled = loadings * (-self.log_variance[group].double()).exp()[..., None]
        eye = torch.eye(rank, dtype=torch.float64, device=counts.device)
        covariance = torch.linalg.inv(eye + loadings.mT @ scaled)  # of z given y
        moments = covariance.new_zeros(len(counts), rank + 1, rank + 1)
        moments[:, :rank, :rank] = sums["latent_second"] + counts[:, None, None] * covariance
        moments[:, :rank, rank] = moments[:, rank, :rank] = sums["latent"]
        moments[:, rank, rank] = counts
        cross = torch.cat([sums["cross"], sums["first"][..., None]], 2)
        weights = torch.linalg.solve(moments, cross, left=False)
        noise = (sums["second"] - (weights * cross).sum(2)) / counts[:, None]
        self._set(group, alive, noise.clamp_min(0) + floor)
        self.loadings[group, alive] = weights[alive, :, :rank].to(self.loadings.dtype)
        return weights[..., rank]

    # Marginals and conditionals

    def _loadings(self, which: Tensor) -> Tensor:
        return self.loadings.flatten(0, 1)[which]

    def dense(self, which: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        loadings = self._loadings(which).to(dtype)
        return super().dense(which, dtype) + loadings @ loadings.mT

    def solve(self, v: Tensor, observed: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`Diagonal.solve`, by Woodbury's identity."""
        solved, log_det = super().solve(v, observed, which)
        loadings = self._loadings(which)
        scaled = loadings * torch.where(observed, 1 / self._variance(which), 0)[..., None]
        cholesky = torch.linalg.cholesky(loadings.mT @ scaled + torch.eye(self.rank, dtype=v.dtype, device=v.device))
        inner = torch.cholesky_solve(loadings.mT @ solved[..., None], cholesky)
        log_det = log_det + 2 * cholesky.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return solved - (scaled @ inner)[..., 0], log_det

    def times(self, u: Tensor, which: Tensor) -> Tensor:
        loadings = self._loadings(which)
        return super().times(u, which) + (loadings @ (loadings.mT @ u[..., None]))[..., 0]

    def noise(self, which: Tensor, normal: Normal) -> Tensor:
        return super().noise(which, normal) + (self._loadings(which) @ normal(self.rank)[..., None])[..., 0]


Covariance = Diagonal | Dense | LowRank


def _main_axis(covariance: Covariance, which: Tensor) -> Tensor:
    if covariance.size <= LARGE:
        values, vectors = torch.linalg.eigh(covariance.dense(which).double())
        return vectors[:, -1] * values[-1].sqrt()
    axis = torch.ones(covariance.size).to(next(covariance.parameters()))
    for _ in range(AXIS_STEPS):  # power iteration: no matrix of that size is made
        axis = covariance.times(axis / torch.linalg.vector_norm(axis), which)
    return axis / torch.linalg.vector_norm(axis).sqrt()
