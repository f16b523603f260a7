"""How well a trained model does on a split of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo import capability, checkpoint
from zoo.data.splits import Split, Splits, load_splits
from zoo.errors import ConfigError, DataError
from zoo.metrics.classification import confusion_matrix, per_class_accuracy, summarize
from zoo.models._model import Model


@dataclass(frozen=True)
class Evaluation:
    """Predictions of a split and what they amount to.

    Attributes:
        metrics: accuracy, nll (nats), ece, and ``per_class``: accuracy by class name.
        log_proba: log p(y | x), ``(N, K)``, in the order of the split.
    """

    metrics: dict[str, Any]
    log_proba: Tensor


def evaluate(model: Model, split: Split, batch_size: int = 1024) -> Evaluation:
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


def trained_on(path: str | Path, data: str | None = None, root: str | None = None, folder: str | None = None) -> Splits:
    """The splits a checkpoint was trained on, or those of another source with the same sizes and seeds.

    Args:
        path: what ``zoo.load`` takes.
        data: another source; ``folder`` is its path where that is ``image_folder``.
        root: where data lies, if not in the default place.

    Raises:
        ConfigError: the file does not say what it was trained on, and ``data`` is not given.
        DataError: see :func:`zoo.data.splits.load_splits`.
    """
    file = checkpoint.locate(path)
    stored = {} if file.is_dir() else checkpoint.read(file).get("ImageDataModule", {})
    options = {key: value for key, value in stored.items() if key != "fingerprint"}
    if data is not None and data != options.get("name"):
        model = checkpoint.load(path)
        options = {"name": data}
        if data == "image_folder":
            channels, size, _ = model.spec.shape
            options |= {"image_size": size, "color": "grey" if channels == 1 else "color", "invert": model.spec.invert}
    if "name" not in options:
        raise ConfigError(f"{path} does not say what it was trained on: give data=…")
    if folder is not None:
        options["path"] = folder
    return load_splits(**options, root=root)


def _times(shape: Any) -> str:
    return "×".join(str(size) for size in shape)
