"""Which class a user's own examples belong to, in files or in memory."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from zoo import notebook
from zoo.base.model import Model
from zoo.data import kinds
from zoo.errors import DataError
from zoo.questions.classify import classify
from zoo.spec import DataSpec
from zoo.terminal import printable

SHOWN = 20  # examples in what a notebook shows
TOP = 3  # classes of each


@dataclass(frozen=True, repr=False)
class Answers:
    """What a model says of examples. Printed, or shown by a notebook, it is a table of the first ones.

    Attributes:
        names: what to call each example: its file, and the line of a table, or of a text; "" where it is of no file.
        probabilities: p(y | x), ``(N, K)``.
        spec: the model's.
        texts: of texts, what the model sees of each.
        known: of texts, the share of their terms that the model knows, ``(N,)``; NaN where there is none at all.
    """

    names: list[str]
    probabilities: Tensor
    spec: DataSpec
    texts: list[str] = field(default_factory=list)
    known: Tensor | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def classes(self) -> list[str]:
        """The name of the most probable class of each example."""
        return [self.spec.class_names[label] for label in self.probabilities.argmax(1).tolist()]

    def __repr__(self) -> str:
        rows = self._rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, *self._more()])

    def _repr_html_(self) -> str:
        head, *rows = self._rows()
        return notebook.table(rows, head, self._more())

    def _rows(self) -> list[list[str]]:
        """A head, and the first examples: what they are called, their most probable classes, and how probable these
        are."""
        rows = [["example", "class", *([] if self.spec.num_classes < 2 else ["then"])]]
        for place, answer in enumerate(self.ranked(TOP, SHOWN)):
            words = [f"{printable(entry['name'])} {entry['probability']:.1%}" for entry in answer["classes"]]
            then = [", ".join(words[1:])] if words[1:] else []
            rows.append([printable(answer.get("file", place)), words[0], *then])
        return rows

    def _more(self) -> list[str]:
        return [f"… of {len(self):,}"] if len(self) > SHOWN else []

    def ranked(self, top: int = 3, first: int | None = None) -> list[dict[str, Any]]:
        """A dict an example, or one each of the ``first`` ones: ``file``, if any, and ``classes``: ``name`` and
        ``probability``, the ``top`` most probable. Of texts between them ``known``, see :attr:`known`; None for NaN."""
        values, labels = self.probabilities[:first].topk(min(top, self.spec.num_classes), dim=1)
        return [
            {
                **({"file": file} if file else {}),
                **({"known": known} if self.known is not None else {}),
                "classes": [
                    {"name": self.spec.class_names[label], "probability": round(value, 6)}
                    for value, label in zip(row, chosen, strict=True)
                ],
            }
            for file, known, row, chosen in zip(
                self.names[:first], self._known()[:first], values.tolist(), labels.tolist(), strict=True
            )
        ]

    def _known(self) -> list[float | None]:
        shares = [math.nan] * len(self.names) if self.known is None else self.known.tolist()
        return [None if math.isnan(share) else round(share, 6) for share in shares]

    def csv_text(self) -> str:
        """A CSV file with a row an example, in their order: its ``file``, or the number of its ``row``, from 1 on, in a
        table, with the file before it where there are several; of texts the share of their terms that are ``known``;
        the most probable ``class``; and ``p(<class>)`` of each class."""
        text, names = io.StringIO(), self.spec.class_names
        head, places = self._places()
        if self.known is not None:
            head, places = (
                [*head, "known"],
                [[*place, known] for place, known in zip(places, self._known(), strict=True)],
            )
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*head, "class", *(f"p({name})" for name in names)])
        best = self.probabilities.argmax(1).tolist()
        for place, label, row in zip(places, best, self.probabilities.tolist(), strict=True):
            writer.writerow([*place, names[label], *(f"{value:.9g}" for value in row)])
        return text.getvalue()

    def _places(self) -> tuple[list[str], list[list[Any]]]:
        if self.spec.kind != "table":
            return (["file"], [[name] for name in self.names]) if any(self.names) else ([], [[] for _ in self.names])
        files = [name.rpartition(":")[0] for name in self.names]
        counts, places = Counter[str](), []
        for file in files:
            counts[file] += 1
            places.append([file, counts[file]])
        return (["file", "row"], places) if len(counts) > 1 else (["row"], [[row] for _, row in places])


def predict(model: Model, examples: Any, batch_size: int = 256, **settings: Any) -> Answers:
    """The names and the probabilities of the classes of each example.

    >>> import zoo
    >>> model = zoo.load("cnn-mnist")
    >>> zoo.predict(model, zoo.sample(zoo.load("flow_matching-mnist"), 2, labels=7)).classes
    ['7', '7']

    Args:
        model: a classifier; its ``spec`` says what examples it knows.
        examples: files or folders of the model's kind of data, see :mod:`zoo.data.kinds`, one or a list; or examples
            as any question takes them: arrays, tensors ``(N, C, H, W)``, pictures of PIL, a DataFrame, texts. Of a
            model of texts a string is a text, and a file is a ``pathlib.Path``.
        batch_size: files at a time.
        **settings: of the kind, in place of the spec's, such as ``invert="never"`` of pictures in files.

    Raises:
        DataError: a file cannot be read; it is named. Or examples are none that the model knows.
        ZooError: the model does not classify.
    """
    kind, parts = kinds.find(model.spec.kind), []
    paths = kinds.files_in(examples, model.spec)
    if paths is None:
        if settings:
            raise DataError(f"{', '.join(settings)} are settings of how files are read, and there are none")
        stored = kind.encode(kind.convert(examples, model.spec)) if model.spec.kind == "tokens" else None
        x = examples if stored is None else kind.decode(stored)
        probabilities = classify(model, x).exp()
        return _told(model, [""] * len(probabilities), probabilities, stored)
    for start in range(0, len(paths), batch_size):
        found, examples = kind.read(paths[start : start + batch_size], model.spec, **settings)
        parts.append(answers(model, found, examples))
    known = [part.known for part in parts if part.known is not None]
    return Answers(
        [name for part in parts for name in part.names],
        torch.cat([part.probabilities for part in parts]),
        model.spec,
        [text for part in parts for text in part.texts],
        torch.cat(known) if known else None,
    )


def answers(model: Model, names: list[str], examples: Tensor) -> Answers:
    """As :func:`predict`, of examples as they are stored, and what to call them."""
    spec = model.spec
    probabilities = classify(model, kinds.find(spec.kind).decode(examples)).exp()
    return _told(model, names, probabilities, examples)


def _told(model: Model, names: list[str], probabilities: Tensor, stored: Tensor | None) -> Answers:
    """With what a model of texts sees of them, as they are ``stored``."""
    spec = model.spec
    if spec.kind != "tokens" or stored is None:
        return Answers(names, probabilities, spec)
    from zoo.data.kinds import tokens  # slow to import

    return Answers(names, probabilities, spec, tokens.text_of(stored, spec), tokens.known_share(stored, spec))
