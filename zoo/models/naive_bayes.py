"""Naive Bayes: given the class, pixels are independent, p(x, y) = p(y) ∏_i p(x_i | y).

A pixel is a coin, thrown once the image has been thresholded (``bernoulli``, with Laplace's rule of succession), or a
Gaussian (``gaussian``); of a table, columns of numbers are Gaussian and those of categories categorical (``mixed``, see
:mod:`zoo.base.categories`); a text's terms are drawn one by one (``multinomial``), or each of the vocabulary is a coin
(``bernoulli``, see :mod:`zoo.base.terms`). All have closed-form estimates from what is seen, so that EM converges in
its first pass. Where the classes of some images are hidden, EM begins with the estimates from the others and goes on:
an image without a label belongs to each class in the share p(y | x).

The estimates are scikit-learn's ``BernoulliNB``, ``GaussianNB``, ``CategoricalNB`` and ``MultinomialNB``.

References: Maron (1961), Automatic indexing; Ng & Jordan (2001); Nigam, McCallum, Thrun & Mitchell (2000), Text
classification from labeled and unlabeled documents using EM.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.base.available import available_if
from zoo.base.categories import Categories
from zoo.base.gaussian import LOG_2PI
from zoo.base.generative import Batches, Density
from zoo.base.linear import by_column
from zoo.base.terms import VOCABULARIES, Multinomial, Vocabulary
from zoo.registry import register
from zoo.spec import DataSpec, Likelihood

EMISSIONS = {  # of values
    "grey": "bernoulli", "binary": "bernoulli", "real": "gaussian", "mixed": "mixed", "counts": "multinomial",
}  # fmt: skip
TINY = 1e-12  # the least variance of a pixel that never changes; scikit-learn divides by zero there


def _is_of_entries(model: NaiveBayes) -> bool:
    """Whether an example has places, of which some may be hidden, and no list of terms."""
    return model.terms is None


def _is_of_terms(model: NaiveBayes) -> bool:
    return model.terms is not None


def _draws_examples(model: NaiveBayes) -> bool:
    """Of terms alone that are words, and each of which is listed, a text can be made."""
    if model.terms is None:
        return True
    words = model.spec.settings.get("ngrams", "1") == "1"
    return words and isinstance(model.terms, Multinomial) and not model.terms.once


@register("naive_bayes")
class NaiveBayes(Density):
    """Generative classifier with independent pixels, or other values, of which some may be missing.

    Args:
        spec: shape and classes of the data.
        emission: ``"bernoulli"``, ``"gaussian"``, ``"mixed"`` or ``"multinomial"``; ``"auto"``: Bernoulli for grey and
            binary values, Gaussian for real ones, mixed where there are categories, multinomial for counts of terms.
        threshold: grey value above which a pixel is on (Bernoulli).
        alpha: images of each class imagined with the pixel on, and as many with it off (Bernoulli), or with each
            category (mixed); how often each term is (multinomial). Above 0.
        var_smoothing: share of the largest pixel variance that is added to all variances (Gaussian).
    """

    needs_classes = True
    learns_from_gaps = True
    partly_labelled = ("statistics", "losses")
    takes = ("grey", "real", "mixed", "binary", "counts")

    def __init__(
        self,
        spec: DataSpec,
        emission: str = "auto",
        threshold: float = 0.5,
        alpha: float = 1.0,
        var_smoothing: float = 1e-9,
    ) -> None:
        super().__init__(spec, conditional=True)
        if emission == "auto":
            emission = EMISSIONS[spec.values]
        if emission == "bernoulli" and spec.values in ("real", "mixed"):
            raise ValueError("emission=bernoulli is of values that are on or off: others need emission=auto")
        if emission == "gaussian" and spec.categories:
            raise ValueError("emission=gaussian is of numbers: columns of categories need emission=mixed")
        if emission == "mixed" and spec.values not in ("real", "mixed"):
            raise ValueError("emission=mixed is of a table's numbers and categories: others need emission=auto")
        if emission not in EMISSIONS.values():
            raise ValueError(f"emission is auto, bernoulli, gaussian, mixed or multinomial, not {emission!r}")
        if emission == "multinomial" and spec.values != "counts":
            raise ValueError("emission=multinomial is of counts of terms: others need emission=auto")
        if emission == "gaussian" and spec.values == "counts":
            raise ValueError("emission=gaussian is of numbers: counts of terms need emission=auto or bernoulli")
        if not 0 <= threshold < 1 or not alpha > 0 or not var_smoothing >= 0:
            raise ValueError("threshold must be in [0, 1), alpha above 0 and var_smoothing at least 0")
        self.terms = VOCABULARIES[emission](spec, self.groups) if spec.values == "counts" else None
        self.binary = emission == "bernoulli" and self.terms is None
        self.threshold, self.alpha, self.var_smoothing = threshold, alpha, var_smoothing
        of = "binary" if self.binary else {"grey": "dequantised", "mixed": "mixed"}.get(spec.values, "continuous")
        of = of if self.terms is None else self.terms.of
        self.density = Likelihood("exact", of, threshold if self.binary else None)
        self.categories = Categories(spec, self.groups) if spec.categories else None
        if self.terms is not None:
            return
        if self.binary:
            self.logits = nn.Parameter(torch.zeros(self.groups, math.prod(spec.shape)))
        else:
            mean, std = (self._of_numbers(values).repeat(self.groups, 1) for values in (spec.mean, spec.std))
            grey = spec.values == "grey"
            self.mean = nn.Parameter(torch.full_like(mean, 0.5) if grey else mean)
            self.log_variance = nn.Parameter(torch.zeros_like(mean) if grey else 2 * std.log())

    def log_joint(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        prior = cast(Tensor, self.log_prior)
        if self.terms is not None:
            return self.terms.log_prob(x) + prior
        if not self.binary:  # squares multiplied out would cancel where a variance is small
            return super().log_joint(x, observed)
        # Σ log p(x_d | y) = Σ x_d logit_d + Σ log(1 - p_d): two matrix products for all classes together
        values, off = self._values(x), F.logsigmoid(-self.logits)
        if observed is None:
            return values @ self.logits.T + (off.sum(1) + prior)
        seen = observed.flatten(1).to(values.dtype)
        return (values * seen) @ self.logits.T + seen @ off.T + prior

    def log_prob(self, x: Tensor, labels: Tensor | None = None, observed: Tensor | None = None) -> Tensor:
        # each image by the parameters of its class: nothing has to be sorted by class, and no device waited for
        return super().log_prob(x, None, observed) if labels is None else self.log_prob_of(x, labels, observed)

    def log_prob_of(self, x: Tensor, group: int | Tensor, observed: Tensor | None = None) -> Tensor:
        if self.terms is not None:
            return self.terms.log_prob(x)[torch.arange(len(x), device=x.device), group]
        return self._terms(x, group, observed).sum(1)

    def _terms(self, x: Tensor, group: int | Tensor, observed: Tensor | None) -> Tensor:
        """log p(x_d | y) of each entry, ``(B, D)``, 0 where it is hidden: numbers first, then those of categories."""
        values, categories = self._parts(self._values(x))
        if self.binary:
            terms = -F.binary_cross_entropy_with_logits(self.logits[group].expand_as(values), values, reduction="none")
        else:
            log_variance = self.log_variance[group]
            distance = (values - self.mean[group]).square() * (-log_variance).exp()
            terms = -0.5 * (distance + log_variance + LOG_2PI)
        if self.categories is not None:
            terms = torch.cat([terms, categories * self.categories.log_p()[group]], 1)
        if observed is None:
            return terms
        seen, known = self._parts(observed.flatten(1))
        return torch.where(seen if self.categories is None else torch.cat([seen, known], 1), terms, 0)

    def contributions(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """log p(x_j | y) of each column j of ``spec.blocks``, in nats, ``(B, K, columns)``, 0 where it is hidden; of
        texts, of each place, ``(B, K, T)``, 0 where it lists no known term."""
        if self.terms is not None:
            return self.terms.contributions(x)
        terms = torch.stack([self._terms(x, group, observed) for group in range(self.groups)], 1)
        if self.categories is not None:
            numbers = len(self.categories.numbers)
            terms = self.categories.joined(terms[..., :numbers], terms[..., numbers:])
        return by_column(terms, self.spec)

    def offsets(self) -> Tensor:
        """log p(y) in nats, ``(K,)``: what is added to the :meth:`contributions` of all columns; where terms are coins,
        with log p of a text that has none of them."""
        prior = cast(Tensor, self.log_prior)
        return prior if self.terms is None else prior + self.terms.offsets()

    @available_if(_is_of_terms)
    def coefficients(self) -> Tensor:
        """What each term says for each class where it is listed, in nats, ``(K, V)``: its log probability, or as a coin
        its log odds."""
        return cast(Vocabulary, self.terms).coefficients()

    def _values(self, x: Tensor) -> Tensor:
        """What is modelled: the flat pixels ``(B, D)``, 0 or 1 where they are coins."""
        return (x.flatten(1) > self.threshold).to(x.dtype) if self.binary else x.flatten(1)

    def _parts(self, flat: Tensor) -> tuple[Tensor, Any]:
        """The entries of flat examples that are no categories, and those that are, None without any."""
        return (flat, None) if self.categories is None else self.categories.parts(flat)

    def _of_numbers(self, statistics: Sequence[float], dtype: torch.dtype = torch.float32) -> Tensor:
        """Statistics of the data's description, one an entry that is no category, ``(D,)``."""
        values = torch.tensor(statistics, dtype=dtype).view(self.spec.statistics_shape).expand(self.spec.shape)
        return self._parts(values.reshape(1, -1))[0][0]

    # Training

    @torch.no_grad()
    def initialize(self, batches: Batches, generator: torch.Generator) -> None:
        """The prior. Coins are fair and Gaussians wide: the first pass of EM finds the optimum from anywhere.

        But for hidden classes, and terms, of which not all that is told by the first pass is a parameter: then all are
        estimated from the examples that have a label.
        """
        counts = torch.zeros(self.groups, dtype=torch.float64, device=self.initialized.device)
        images = 0
        for _, labels in batches:
            counts += torch.bincount(labels[labels >= 0], minlength=self.groups)
            images += len(labels)
        self.set_prior(counts)
        if counts.sum() < images or self.terms is not None:
            total: dict[str, Tensor] = {}
            for x, labels in batches:
                for key, value in self.statistics(x[labels >= 0], labels[labels >= 0]).items():
                    total[key] = total[key].add_(value) if key in total else value
            self.maximize(total)
        self.initialized.fill_(True)

    @torch.no_grad()
    def statistics(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        known = labels.clamp_min(0)
        shares, likelihood = F.one_hot(known, self.groups).double(), self.log_likelihood(x, known).double()
        hidden = labels < 0
        if bool(hidden.any()):
            posterior, evidence = self.responsibilities(x)
            shares = torch.where(hidden[:, None], posterior, shares)
            likelihood = torch.where(hidden, evidence, likelihood)
        found = {"images": shares.sum(), "log_likelihood": likelihood.sum(), "counts": shares.sum(0)}
        if self.terms is not None:
            return found | self.terms.statistics(x, shares)
        values, categories = self._parts(self._values(x).double())
        seen = None
        if not self.binary:
            values = values - self._centre()
        if self.spec.missing:
            seen = ~self._parts(x.flatten(1))[0].isnan()
            values = torch.where(seen, values, 0)
        return {
            **found,
            "sums": shares.T @ values,
            "squares": shares.T @ values.square(),
            **({} if seen is None else {"seen": shares.T @ seen.double()}),
            **({} if categories is None else {"categories": shares.T @ categories.nan_to_num(0)}),
        }

    @torch.no_grad()
    def maximize(self, statistics: dict[str, Tensor]) -> None:
        self.set_prior(statistics["counts"])
        if self.terms is not None:
            self.terms.maximize(statistics, self.alpha)
            return
        sums, squares = statistics["sums"], statistics["squares"]
        if self.categories is not None:
            self.categories.maximize(statistics["categories"], self.alpha)
        counts = statistics.get("seen", statistics["counts"][:, None])  # of each value, where some are missing
        if self.binary:
            on, off = sums + self.alpha, counts - sums + self.alpha
            self.logits.copy_((on / off).log())
            return
        if not sums.numel():  # categories alone
            return
        mean = sums / counts
        variance = (squares / counts - mean.square()).clamp_min(0)
        of_all = squares.sum(0) / counts.sum(0) - (sums.sum(0) / counts.sum(0)).square()
        if "seen" in statistics:  # a value that a class shows once has no spread there: it has that of all classes
            variance = torch.where(counts < 2, of_all.clamp_min(0), variance)
        variance = variance + max(self.var_smoothing * float(of_all.nan_to_num(0).max()), TINY)
        present = (counts > 0).expand_as(mean)  # a class without images keeps what it had
        self.mean.copy_(torch.where(present, (mean + self._centre()).to(self.mean.dtype), self.mean))
        self.log_variance.copy_(torch.where(present, variance.log().to(self.mean.dtype), self.log_variance))

    def _centre(self) -> Tensor:
        """Near the mean of the data, so that second moments about it lose no digits."""
        return self._of_numbers(self.spec.mean, torch.float64).to(self.mean.device)

    # Capabilities

    def _means(self) -> Tensor:
        """The mean example of each class, flat, ``(K, D)``; of categories their probabilities."""
        means = self.logits.sigmoid() if self.binary else self.mean
        return means if self.categories is None else self.categories.joined(means, self.categories.log_p().exp())

    @available_if(_draws_examples)
    def sample(self, n: int, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Examples ``(n, C, H, W)``: 0 or 1 where values are coins; grey ones clipped to [0, 1]; texts of known words,
        int64 ``(n, 1, 1, T)``."""
        groups = self.draw_groups(n, labels, generator)
        if isinstance(self.terms, Multinomial):
            return self.terms.draw(groups, generator)
        return self.possible(self._draw(groups, generator))

    def _draw(self, groups: Tensor, generator: torch.Generator | None) -> Tensor:
        if self.binary:
            return torch.bernoulli(self._means()[groups], generator=generator).unflatten(1, self.spec.shape)
        mean = self.mean[groups]
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
        values = mean + (self.log_variance[groups] / 2).exp() * noise
        if self.categories is not None:
            values = self.categories.joined(values, self.categories.draw(groups, generator))
        return values.unflatten(1, self.spec.shape)

    @available_if(_is_of_entries)
    def impute(self, x: Tensor, observed: Tensor, n: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Exact conditional samples ``(n, B, C, H, W)``: the class by its posterior, hidden entries given the class."""
        posterior = self.classify(x, observed).exp()
        groups = torch.multinomial(posterior, n, replacement=True, generator=generator).T.flatten()
        drawn = self.possible(self._draw(groups, generator)).unflatten(0, (n, len(x)))
        return torch.where(observed, x, drawn)

    @available_if(_is_of_entries)
    def conditional_mean(self, x: Tensor, observed: Tensor) -> Tensor:
        """E[x | seen pixels], ``(B, C, H, W)``, exact."""
        mean = self.classify(x, observed).exp() @ self._means()
        return torch.where(observed, x, mean.unflatten(1, self.spec.shape))

    @available_if(_is_of_entries)
    def components(self) -> tuple[Tensor, Tensor]:
        """The mean example of each class, ``(K, 1, C, H, W)``, and weight 1, ``(K, 1)``."""
        means = self.possible(self._means()).unflatten(1, self.spec.shape)[:, None]
        return means, torch.ones(means.shape[:2], dtype=means.dtype, device=means.device)
