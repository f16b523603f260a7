"""How well a trained model does on a split of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoo import capability
from zoo.data.splits import Split
from zoo.errors import DataError
from zoo.metrics.classification import confusion_matrix, per_class_accuracy, summarize


@dataclass(frozen=True)
class Evaluation:
    """Predictions of a split and what they amount to.

    Attributes:
        metrics: accuracy, nll (nats), ece, and ``per_class``: accuracy by class name.
        log_proba: log p(y | x), ``(N, K)``, in the order of the split.
    """

    metrics: dict[str, Any]
    log_proba: Tensor


def evaluate(model: nn.Module, split: Split, batch_size: int = 1024) -> Evaluation:
    """Classify a split and summarise. Raises ``DataError`` where shape or number of classes do not fit the model."""
    spec = model.spec
    if tuple(split.images.shape[1:]) != spec.shape:
        raise DataError(f"the images are {_times(split.images.shape[1:])}, the model was made for {_times(spec.shape)}")
    if len(split) == 0:
        raise DataError("there is no image to evaluate on")
    if int(split.labels.max()) >= spec.num_classes:
        raise DataError(f"the data has more classes than the {spec.num_classes} of the model")
    chunks = split.images.split(batch_size)
    log_proba = torch.cat([capability.classify(model, chunk.float().div(255)) for chunk in chunks])
    metrics: dict[str, Any] = summarize(log_proba, split.labels)
    recall = per_class_accuracy(confusion_matrix(log_proba, split.labels)).tolist()
    metrics["per_class"] = {name: value for name, value in zip(spec.class_names, recall, strict=True) if value == value}
    return Evaluation(metrics, log_proba)


def _times(shape: Any) -> str:
    return "×".join(str(size) for size in shape)
