"""Which class the examples in a user's own files belong to."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.base.model import Model
from zoo.data import kinds
from zoo.questions.classify import classify
from zoo.spec import DataSpec


@dataclass(frozen=True)
class Answers:
    """What a model says of the examples in files.

    Attributes:
        names: what to call each example: its file, and the line of a table.
        probabilities: p(y | x), ``(N, K)``.
        spec: the model's.
    """

    names: list[str]
    probabilities: Tensor
    spec: DataSpec

    def ranked(self, top: int = 3, first: int | None = None) -> list[dict[str, Any]]:
        """A dict an example, or one each of the ``first`` ones: ``file``, and ``classes``: ``name`` and
        ``probability``, the ``top`` most probable."""
        values, labels = self.probabilities[:first].topk(min(top, self.spec.num_classes), dim=1)
        return [
            {
                "file": file,
                "classes": [
                    {"name": self.spec.class_names[label], "probability": round(value, 6)}
                    for value, label in zip(row, chosen, strict=True)
                ],
            }
            for file, row, chosen in zip(self.names[:first], values.tolist(), labels.tolist(), strict=True)
        ]

    def csv_text(self) -> str:
        """A CSV file with a row an example, in their order: its ``file``, or the number of its ``row``, from 1 on, in a
        table, with the file before it where there are several; the most probable ``class``; and ``p(<class>)`` of each
        class."""
        text, names = io.StringIO(), self.spec.class_names
        head, places = self._places()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*head, "class", *(f"p({name})" for name in names)])
        best = self.probabilities.argmax(1).tolist()
        for place, label, row in zip(places, best, self.probabilities.tolist(), strict=True):
            writer.writerow([*place, names[label], *(f"{value:.9g}" for value in row)])
        return text.getvalue()

    def _places(self) -> tuple[list[str], list[list[Any]]]:
        if self.spec.kind != "table":
            return ["file"], [[name] for name in self.names]
        files = [name.rpartition(":")[0] for name in self.names]
        counts, places = Counter[str](), []
        for file in files:
            counts[file] += 1
            places.append([file, counts[file]])
        return (["file", "row"], places) if len(counts) > 1 else (["row"], [[row] for _, row in places])


def predict(model: Model, paths: Sequence[Path], batch_size: int = 256, **settings: Any) -> Answers:
    """The probabilities of the classes of each example.

    Args:
        model: a classifier; its ``spec`` says what examples it knows.
        paths: files of the model's kind of data, see :mod:`zoo.data.kinds`.
        batch_size: files at a time.
        **settings: of the kind, in place of the spec's, such as ``invert="never"`` of pictures.

    Raises:
        DataError: a file cannot be read; it is named.
    """
    kind, names, parts = kinds.find(model.spec.kind), [], []
    for start in range(0, len(paths), batch_size):
        found, examples = kind.read(paths[start : start + batch_size], model.spec, **settings)
        names += found
        parts.append(answers(model, found, examples).probabilities)
    return Answers(names, torch.cat(parts), model.spec)


def answers(model: Model, names: list[str], examples: Tensor) -> Answers:
    """As :func:`predict`, of examples as they are stored, and what to call them."""
    return Answers(names, classify(model, kinds.find(model.spec.kind).decode(examples)).exp(), model.spec)
