"""Naive Bayes: given the class, pixels are independent, p(x, y) = p(y) ∏_i p(x_i | y).

A pixel is a coin, thrown once the image has been thresholded (``bernoulli``, with Laplace's rule of succession), or a
Gaussian (``gaussian``). Both have closed-form maximum-likelihood estimates, so that EM converges in its first pass.
Where the classes of some images are hidden, EM begins with the estimates from the others and goes on: an image without
a label belongs to each class in the share p(y | x).

References: Maron (1961), Automatic indexing; Ng & Jordan (2001); Nigam, McCallum, Thrun & Mitchell (2000), Text
classification from labeled and unlabeled documents using EM. The estimates are scikit-learn's ``BernoulliNB`` and
``GaussianNB``.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.base.gaussian import LOG_2PI
from zoo.base.generative import Batches, Density
from zoo.registry import register
from zoo.spec import DataSpec, Likelihood

TINY = 1e-12  # the least variance of a pixel that never changes; scikit-learn divides by zero there


@register("naive_bayes")
class NaiveBayes(Density):
    """Generative classifier with independent pixels.

    Args:
        spec: shape and classes of the data.
        emission: ``"bernoulli"`` or ``"gaussian"``.
        threshold: grey value above which a pixel is on (Bernoulli).
        alpha: images of each class imagined with the pixel on, and as many with it off (Bernoulli), above 0.
        var_smoothing: share of the largest pixel variance that is added to all variances (Gaussian).
    """

    def __init__(
        self,
        spec: DataSpec,
        emission: str = "bernoulli",
        threshold: float = 0.5,
        alpha: float = 1.0,
        var_smoothing: float = 1e-9,
    ) -> None:
        super().__init__(spec, conditional=True)
        if emission not in ("bernoulli", "gaussian"):
            raise ValueError(f"emission is bernoulli or gaussian, not {emission!r}")
        if not 0 <= threshold < 1 or not alpha > 0 or not var_smoothing >= 0:
            raise ValueError("threshold must be in [0, 1), alpha above 0 and var_smoothing at least 0")
        self.binary = emission == "bernoulli"
        self.threshold, self.alpha, self.var_smoothing = threshold, alpha, var_smoothing
        self.density = Likelihood("exact", "binary", threshold) if self.binary else Likelihood("exact", "dequantised")
        size = (self.groups, math.prod(spec.shape))
        if self.binary:
            self.logits = nn.Parameter(torch.zeros(size))
        else:
            self.mean = nn.Parameter(torch.full(size, 0.5))
            self.log_variance = nn.Parameter(torch.zeros(size))

    def log_joint(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        if not self.binary:  # squares multiplied out would cancel where a variance is small
            return super().log_joint(x, observed)
        prior = cast(Tensor, self.log_prior)
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
        values = self._values(x)
        if self.binary:
            terms = -F.binary_cross_entropy_with_logits(self.logits[group].expand_as(values), values, reduction="none")
        else:
            log_variance = self.log_variance[group]
            distance = (values - self.mean[group]).square() * (-log_variance).exp()
            terms = -0.5 * (distance + log_variance + LOG_2PI)
        return terms.sum(1) if observed is None else torch.where(observed.flatten(1), terms, 0).sum(1)

    def _values(self, x: Tensor) -> Tensor:
        """What is modelled: the flat pixels ``(B, D)``, 0 or 1 where they are coins."""
        return (x.flatten(1) > self.threshold).to(x.dtype) if self.binary else x.flatten(1)

    # Training

    @torch.no_grad()
    def initialize(self, batches: Batches, generator: torch.Generator) -> None:
        """The prior. Coins are fair and Gaussians wide: the first pass of EM finds the optimum from anywhere.

        But for hidden classes: then all parameters are estimated from the images that have a label.
        """
        counts = torch.zeros(self.groups, dtype=torch.float64, device=self.initialized.device)
        images = 0
        for _, labels in batches:
            counts += torch.bincount(labels[labels >= 0], minlength=self.groups)
            images += len(labels)
        self.set_prior(counts)
        if counts.sum() < images:
            parts = [self.statistics(x[labels >= 0], labels[labels >= 0]) for x, labels in batches]
            self.maximize({key: torch.stack([part[key] for part in parts]).sum(0) for key in parts[0]})
        self.initialized.fill_(True)

    @torch.no_grad()
    def statistics(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        values = self._values(x).double()
        if not self.binary:
            values = values - self._centre()
        known = labels.clamp_min(0)
        shares, likelihood = F.one_hot(known, self.groups).double(), self.log_likelihood(x, known).double()
        hidden = labels < 0
        if bool(hidden.any()):
            posterior, evidence = self.responsibilities(x)
            shares = torch.where(hidden[:, None], posterior, shares)
            likelihood = torch.where(hidden, evidence, likelihood)
        return {
            "images": shares.sum(),
            "log_likelihood": likelihood.sum(),
            "counts": shares.sum(0),
            "sums": shares.T @ values,
            "squares": shares.T @ values.square(),
        }

    @torch.no_grad()
    def maximize(self, statistics: dict[str, Tensor]) -> None:
        counts, sums, squares = (statistics[key] for key in ("counts", "sums", "squares"))
        self.set_prior(counts)
        present = counts > 0  # a class without images keeps what it had
        if self.binary:
            on, off = sums + self.alpha, counts[:, None] - sums + self.alpha
            self.logits.copy_((on / off).log())
            return
        mean = sums / counts[:, None]
        variance = (squares / counts[:, None] - mean.square()).clamp_min(0)
        of_all = squares.sum(0) / counts.sum() - (sums.sum(0) / counts.sum()).square()
        variance = variance + max(self.var_smoothing * float(of_all.max()), TINY)
        self.mean[present] = (mean + self._centre()).to(self.mean.dtype)[present]
        self.log_variance[present] = variance.log().to(self.mean.dtype)[present]

    def _centre(self) -> Tensor:
        """Near the mean of the data, so that second moments about it lose no digits."""
        _, height, width = self.spec.shape
        centre = torch.tensor(self.spec.mean, dtype=torch.float64, device=self.mean.device)
        return centre.repeat_interleave(height * width)

    # Capabilities

    def _means(self) -> Tensor:
        return self.logits.sigmoid() if self.binary else self.mean

    def sample(self, n: int, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Images ``(n, C, H, W)``: 0 or 1 where pixels are coins, else clipped to [0, 1]."""
        return self._draw(self.draw_groups(n, labels, generator), generator).clamp(0, 1)

    def _draw(self, groups: Tensor, generator: torch.Generator | None) -> Tensor:
        mean = self._means()[groups]
        if self.binary:
            values = torch.bernoulli(mean, generator=generator)
        else:
            noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
            values = mean + (self.log_variance[groups] / 2).exp() * noise
        return values.unflatten(1, self.spec.shape)

    def impute(self, x: Tensor, observed: Tensor, n: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Exact conditional samples ``(n, B, C, H, W)``: the class by its posterior, hidden pixels given the class."""
        posterior = self.classify(x, observed).exp()
        groups = torch.multinomial(posterior, n, replacement=True, generator=generator).T.flatten()
        drawn = self._draw(groups, generator).clamp(0, 1).unflatten(0, (n, len(x)))
        return torch.where(observed, x, drawn)

    def conditional_mean(self, x: Tensor, observed: Tensor) -> Tensor:
        """E[x | seen pixels], ``(B, C, H, W)``, exact."""
        mean = self.classify(x, observed).exp() @ self._means()
        return torch.where(observed, x, mean.unflatten(1, self.spec.shape))

    def components(self) -> tuple[Tensor, Tensor]:
        """The mean image of each class, ``(K, 1, C, H, W)`` in [0, 1], and weight 1, ``(K, 1)``."""
        means = self._means().clamp(0, 1).unflatten(1, self.spec.shape)[:, None]
        return means, torch.ones(means.shape[:2], dtype=means.dtype, device=means.device)
