"""Which class the examples in a user's own files belong to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.base.model import Model
from zoo.data import kinds
from zoo.questions.classify import classify


def predict(
    model: Model, paths: Sequence[Path], top: int = 3, batch_size: int = 256, **settings: Any
) -> list[dict[str, Any]]:
    """The most probable classes of each example.

    Args:
        model: a classifier; its ``spec`` says what examples it knows.
        paths: files of the model's kind of data, see :mod:`zoo.data.kinds`.
        top: how many classes to name.
        batch_size: files at a time.
        **settings: of the kind, in place of the spec's, such as ``invert="never"`` of pictures.

    Returns:
        A dict an example: ``file``, and ``classes``: ``name`` and ``probability``, the most probable first.

    Raises:
        DataError: a file cannot be read; it is named.
    """
    spec = model.spec
    kind = kinds.find(spec.kind)
    results = []
    for start in range(0, len(paths), batch_size):
        names, examples = kind.read(paths[start : start + batch_size], spec, **settings)
        probabilities = classify(model, kind.decode(examples)).exp()
        values, labels = probabilities.topk(min(top, spec.num_classes), dim=1)
        for file, row, chosen in zip(names, values.tolist(), labels.tolist(), strict=True):
            classes = [
                {"name": spec.class_names[label], "probability": round(value, 6)}
                for value, label in zip(row, chosen, strict=True)
            ]
            results.append({"file": file, "classes": classes})
    return results
