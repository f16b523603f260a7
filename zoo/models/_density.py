"""What all models with a tractable density share: classes, priors, Bayes' rule, and how they are trained by EM."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from zoo.models._conditional import Generative
from zoo.spec import DataSpec, Density

Batches = Iterable[tuple[Tensor, Tensor]]


class DensityModel(Generative):
    """Base of the models of p(x, y) = p(y) p(x | y), or of p(x) alone, whose density can be computed.

    A subclass defines :meth:`log_prob_of` for one of its ``groups`` of parameters: one a class where ``per_class``, a
    single one for all images otherwise. It is then trained by gradient (``learner=likelihood``). With
    :meth:`initialize`, :meth:`statistics` and :meth:`maximize` it is trained by EM (``learner=em``).

    Args:
        spec: the data.
        per_class: a density for each class. Without it the model is no classifier.

    Attributes:
        density: what ``log_prob`` is.
        initialized: whether :meth:`initialize` has run, or has been loaded.
    """

    density: Density
    initialized: Tensor
    option = "per_class"

    def __init__(self, spec: DataSpec, per_class: bool) -> None:
        super().__init__(spec, per_class)
        self.register_buffer("initialized", torch.tensor(False))
        if not per_class:
            self.predict_log_proba = None  # type: ignore[assignment]

    # To be defined by the model

    def log_prob_of(self, x: Tensor, group: int, observed: Tensor | None = None) -> Tensor:
        """log p(x | group) in nats, ``(B,)``, of the pixels that ``observed`` marks, the others integrated out."""
        raise TypeError(f"{type(self).__name__} defines no density")

    def initialize(self, batches: Batches, generator: torch.Generator) -> None:
        """Find parameters to start from. ``batches`` can be iterated again and again; sets ``initialized``."""
        raise TypeError(f"{type(self).__name__} cannot be initialised")

    def statistics(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The E-step: expected sufficient statistics of a batch under the current parameters.

        They add up over batches and processes, and are float64 where the device has it. Among them are ``images``, the
        number of images, and ``log_likelihood``, the sum of their :meth:`log_likelihood`.
        """
        raise TypeError(f"{type(self).__name__} has no sufficient statistics")

    def maximize(self, statistics: dict[str, Tensor]) -> None:
        """The M-step: replace the parameters by those that are most likely given a pass's statistics."""
        raise TypeError(f"{type(self).__name__} has no M-step")

    # What follows

    def log_joint(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """log p(x, y) in nats for every class y, ``(B, K)``; log p(x), ``(B, 1)``, where there are no classes."""
        columns = torch.stack([self.log_prob_of(x, group, observed) for group in range(self.groups)], 1)
        return columns if self.log_prior is None else columns + self.log_prior.to(columns.dtype)

    def log_prob(self, x: Tensor, labels: Tensor | None = None, observed: Tensor | None = None) -> Tensor:
        """log p(x), or log p(x | labels), in nats, ``(B,)``, of the pixels that ``observed`` marks (all if left out).

        Raises ``ZooError`` where labels are given to a model without classes.
        """
        if labels is None:
            return self.log_joint(x, observed).logsumexp(1)
        self.require_classes()
        result = x.new_empty(len(x))
        for group, index in self.by_group(labels):
            part = None if observed is None else observed[index]
            result = result.index_put((index,), self.log_prob_of(x[index], group, part).to(result.dtype))
        return result

    def log_likelihood(self, x: Tensor, labels: Tensor) -> Tensor:
        """What training maximises, in nats, ``(B,)``: log p(x, y), or log p(x) where there are no classes."""
        if self.log_prior is None:
            return self.log_prob(x)
        return self.log_prob(x, labels) + self.log_prior[labels]

    def terms(self, x: Tensor, labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """The criterion of training by gradient, ``loss``, and ``log_likelihood``: means of a batch, in nats an image.

        ``epoch``, the number of epochs done so far, is for models whose criterion changes.
        """
        mean = self.log_likelihood(x, labels).mean()
        return {"loss": -mean, "log_likelihood": mean.detach()}

    def validate(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """What a validation pass looks at, a row an image: ``log_joint``, and in other models values to be averaged."""
        return {"log_joint": self.log_joint(x)}

    def predict_log_proba(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """log p(y | x) in nats, ``(B, K)``, by Bayes' rule, from the pixels that ``observed`` marks."""
        return self.log_joint(x, observed).log_softmax(1)

    def by_group(self, labels: Tensor) -> list[tuple[int, Tensor]]:
        """The groups that occur among ``labels`` and the indices of their images."""
        if self.groups == 1:
            return [(0, torch.arange(len(labels), device=labels.device))] if len(labels) else []
        pairs = [(group, (labels == group).nonzero()[:, 0]) for group in range(self.groups)]
        return [(group, index) for group, index in pairs if len(index)]
