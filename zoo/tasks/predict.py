"""Which class a user's own pictures belong to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo import capability
from zoo.data.kinds.image import SUFFIXES, list_images, read_image
from zoo.errors import DataError
from zoo.models._model import Model
from zoo.spec import DataSpec


def find_images(names: Sequence[str]) -> list[Path]:
    """Files as named, folders searched for images. Raises ``DataError`` for what does not exist or holds none."""
    paths: list[Path] = []
    for name in names:
        path = Path(name).expanduser()
        found = list_images(path) if path.is_dir() else [path]
        if not found:
            raise DataError(f"{path} holds no image ({', '.join(SUFFIXES)})")
        if not path.exists():
            raise DataError(f"{path} does not exist")
        paths += found
    return paths


def read_images(paths: Sequence[Path], spec: DataSpec, invert: str | None = None) -> Tensor:
    """Pictures as a model knows them, uint8 ``(N, C, H, W)``; ``invert`` takes the place of the spec's if given.

    Raises ``DataError``, which names it, for a file that cannot be read as an image.
    """
    size, color = spec.shape[1:], spec.shape[0] == 3
    return torch.from_numpy(np.stack([read_image(path, size, color, invert or spec.invert) for path in paths]))


def predict(
    model: Model, paths: Sequence[Path], top: int = 3, invert: str | None = None, batch_size: int = 256
) -> list[dict[str, Any]]:
    """The most probable classes of each picture.

    Args:
        model: a classifier; its ``spec`` says size, channels and how training pictures were inverted.
        paths: image files of any size and mode.
        top: how many classes to name.
        invert: ``"auto"``, ``"always"`` or ``"never"``, in place of the spec's.
        batch_size: pictures at a time.

    Returns:
        A dict a picture: ``file``, and ``classes``: ``name`` and ``probability``, the most probable first.

    Raises:
        DataError: a file cannot be read as an image; it is named.
    """
    spec = model.spec
    results = []
    for start in range(0, len(paths), batch_size):
        part = paths[start : start + batch_size]
        probabilities = capability.classify(model, read_images(part, spec, invert).float().div(255)).exp()
        values, labels = probabilities.topk(min(top, spec.num_classes), dim=1)
        for path, row, chosen in zip(part, values.tolist(), labels.tolist(), strict=True):
            classes = [
                {"name": spec.class_names[label], "probability": round(value, 6)}
                for value, label in zip(row, chosen, strict=True)
            ]
            results.append({"file": str(path), "classes": classes})
    return results
