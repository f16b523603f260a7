"""What all classifiers share: normalised pixels, features, a linear head, probabilities."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models._model import Model
from zoo.spec import DataSpec


class Normalize(nn.Module):
    """``(x - mean) / std`` per channel, or entry, with the statistics of the training examples, as one multiply-add."""

    scale: Tensor
    shift: Tensor

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        mean, std = torch.tensor(spec.mean), torch.tensor(spec.std)
        self.register_buffer("scale", (1 / std).view(1, *spec.statistics_shape))
        self.register_buffer("shift", (-mean / std).view(1, *spec.statistics_shape))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shift, x, self.scale)


class Classifier(Model):
    """Base of the discriminative models, p(y | x).

    A subclass sets ``self.head`` and defines :meth:`features`; the head maps features to logits.
    """

    head: nn.Module

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        self.spec = spec
        self.normalize = Normalize(spec)

    def features(self, x: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` in [0, 1] to the penultimate representation ``(B, D)``."""
        raise TypeError(f"{type(self).__name__} defines no features")

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` in [0, 1] to logits ``(B, K)``."""
        return self.head(self.features(x))

    def loss(self, logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """The training criterion, averaged over the batch: cross-entropy in nats."""
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)

    def log_proba(self, logits: Tensor) -> Tensor:
        """Logits ``(B, K)`` to log p(y | x) ``(B, K)``, in nats."""
        return logits.log_softmax(1)

    def predict_log_proba(self, x: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` to log p(y | x) ``(B, K)``, in nats."""
        return self.log_proba(self(x))
