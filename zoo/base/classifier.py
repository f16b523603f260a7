"""What all classifiers share: normalised values or weighted counts, features, a linear head, probabilities."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.base.bag import Bag
from zoo.base.model import Model
from zoo.base.sequence import until_last
from zoo.spec import DataSpec


class Normalize(nn.Module):
    """``(x - mean) / std`` with the statistics of the training data, as one multiply-add.

    Where the data has gaps, a missing value (NaN) becomes the mean before anything is computed from it, which is the
    frequency in the entry of a category.

    Attributes:
        variance: of all normalised values together: how many there are.
    """

    scale: Tensor
    shift: Tensor
    mean: Tensor

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        mean, std = (torch.tensor(values).view(1, *spec.statistics_shape) for values in (spec.mean, spec.std))
        self.variance = float(math.prod(spec.shape))
        self.register_buffer("scale", 1 / std)
        self.register_buffer("shift", -mean / std)
        self.missing = spec.missing
        if self.missing:
            self.register_buffer("mean", mean, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.missing:
            x = torch.where(x.isnan(), self.mean, x)
        return torch.addcmul(self.shift, x, self.scale)

    def affine(self, layer: nn.Module, x: Tensor) -> Tensor:
        """What ``layer`` makes of normalised, flat examples, ``(B, out)``."""
        return layer(self(x).flatten(1))


class Classifier(Model):
    """Base of the discriminative models, p(y | x).

    >>> import torch, zoo
    >>> model = zoo.create("mlp", zoo.DataSpec(shape=(1, 8, 8), num_classes=3))
    >>> isinstance(model, zoo.Classifier), model(torch.rand(2, 1, 8, 8)).shape
    (True, torch.Size([2, 3]))

    A subclass sets ``self.head`` and defines ``features(x)``, examples ``(B, C, H, W)`` to their penultimate
    representation ``(B, D)``, which the head maps to logits.

    One that takes counts maps them by ``self.normalize.affine(layer, x)``, which does not lay them out.

    Attributes:
        normalize: examples to what the model is about: normalised values, or weighted counts.
        weighting: of counts, where the data says ``auto``: see :mod:`zoo.base.bag`.
        margins: whether logits are margins, which a temperature makes log-probabilities of whenever it is trained.
        mirror: whether pictures are evaluated together with their mirror images, see :meth:`views`.
        asked_otherwise: whether these are others in eval mode than in training.
        temperature: what logits are divided by to become log-probabilities, a scalar: 1 but of a calibrated model.
    """

    head: nn.Module
    normalize: Normalize | Bag
    weighting = "tfidf"
    temperature: Tensor
    margins = False
    asked_otherwise = False
    fills_gaps = True
    learns_from_gaps = True
    takes: tuple[str, ...] = ("grey", "real", "mixed", "binary")

    def __init__(self, spec: DataSpec, mirror: bool = False) -> None:
        super().__init__()
        if mirror and spec.kind != "image":
            raise ValueError("mirror=true is of pictures, which have mirror images")
        self.spec = spec
        self.mirror = mirror
        self.normalize = Bag(spec, self.weighting) if spec.values == "counts" else Normalize(spec)
        self.register_buffer("temperature", torch.ones(()), persistent=self.margins)

    def _keep_temperature(self, kept: bool) -> None:
        """Whether the model's file has a temperature: that of a calibrated model does, and of no other, but for
        machines of margins."""
        (self._non_persistent_buffers_set.discard if kept else self._non_persistent_buffers_set.add)("temperature")

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        if not self.margins and "temperature" in self._buffers:
            kept = f"{prefix}temperature" in state_dict
            self._keep_temperature(kept)
            if not kept:
                self.temperature.fill_(1)
        super()._load_from_state_dict(state_dict, prefix, *others)

    def fill(self, x: Tensor, observed: Tensor, how: str | None = None) -> Tensor:
        """As of any model; but nothing is behind the end of a recording, which stays missing, as it was in training."""
        filled = super().fill(x, observed, how)
        if self.spec.kind != "sound" or not self.spec.missing:
            return filled
        within = until_last(observed.expand_as(x).flatten(1, 2).any(1))
        return torch.where(within[:, None, None], filled, math.nan)

    def forward(self, x: Tensor) -> Tensor:
        """Examples ``(B, C, H, W)`` to logits ``(B, K)``: in evaluation, the mean over an example's views."""
        if self.training:
            return self.logits(x)
        logits = [self.logits(view) for view in self.views(x)]
        return torch.stack(logits).mean(0) if len(logits) > 1 else logits[0]

    def logits(self, x: Tensor) -> Tensor:
        """One view of each example ``(B, C, H, W)`` to logits ``(B, K)``."""
        return self.head(self.features(x))

    def views(self, x: Tensor) -> list[Tensor]:
        """What evaluation asks of examples ``(B, C, H, W)``, each of the same shape: themselves, and with ``mirror``
        their left-right mirror images, too. That is for data whose classes survive the reflection, which is what
        flipped training images assume; predictions take twice as long."""
        return [x, x.flip(3)] if self.mirror else [x]

    def loss(self, logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """The training criterion, averaged over the batch: cross-entropy in nats."""
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)

    def log_proba(self, logits: Tensor) -> Tensor:
        """Logits ``(B, K)`` to log p(y | x) ``(B, K)``, in nats."""
        return (logits / self.temperature).log_softmax(1)

    def classify(self, x: Tensor) -> Tensor:
        """Examples ``(B, C, H, W)`` to log p(y | x) ``(B, K)``, in nats."""
        return self.log_proba(self(x))

    @torch.no_grad()
    def calibrate(self, logits: Tensor, labels: Tensor) -> None:
        """Set the temperature that minimises the negative log-likelihood of ``labels`` given ``logits``.

        The labels count as right with probability 1 - 1 / (N + 1) only, else as drawn from all classes (Platt 1999):
        without that, N labels that are all predicted right would ask for a temperature of zero. The objective is
        convex in 1 / T; bisection on the sign of its derivative finds the minimum.
        """
        logits = logits.double()
        doubt = 1 / (len(labels) + 1)
        target = (1 - doubt) * logits.gather(1, labels[:, None])[:, 0] + doubt * logits.mean(1)
        low, high = -6.0, 6.0  # log10 of the inverse temperature
        for _ in range(50 if logits.any() else 0):  # equal logits say nothing
            middle = (low + high) / 2
            expected = (F.softmax(logits * 10**middle, 1) * logits).sum(1)
            low, high = (low, middle) if (expected - target).mean() > 0 else (middle, high)
        self.temperature.fill_(10 ** (-(low + high) / 2))
        self._keep_temperature(True)
