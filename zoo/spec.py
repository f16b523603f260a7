"""What a model needs to know about its data, and all that it needs to know."""

from __future__ import annotations

import math
import operator
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from zoo.errors import DataError, ZooError

MOST = 2**20  # channels, and classes, which have a name each
LARGEST = 2**31 - 1  # entries of an example
VALUES = ("grey", "real", "binary", "counts", "tokens")


@dataclass(frozen=True)
class DataSpec:
    """Shape, classes and statistics of a data set. Plain data: it travels inside every checkpoint.

    Attributes:
        shape: ``(C, H, W)`` of an example: of a picture, whose pixels are float32 in ``[0, 1]``; ``(1, 1, F)`` of a row
            of F numbers.
        num_classes: number of labels, ``0 .. num_classes - 1``.
        class_names: one name a class, in label order; the labels themselves if left out.
        mean: over the training examples, per channel, or per entry of an example; 0 if left out.
        std: as many as there are means; 1 if left out.
        settings: of the kind, by name: what must be known of the training examples to treat others alike, such as
            ``{"invert": "auto"}``. Strings, numbers, true or false.
        kind: what an example is, see :mod:`zoo.data.kinds`.
        values: what its entries are: ``"grey"`` levels, ``"real"`` numbers, ``"binary"``, ``"counts"`` or ``"tokens"``.
        missing: whether values may be missing, which are NaN.
        columns: names of the entries along the last axis, W of them or none.
        vocabulary: what tokens or counts stand for, in order; empty for other values.
    """

    shape: tuple[int, int, int] = (1, 28, 28)
    num_classes: int = 10
    class_names: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    kind: str = "image"
    values: str = "grey"
    missing: bool = False
    columns: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, convert in _CONVERSIONS.items():
            try:
                object.__setattr__(self, name, convert(getattr(self, name)))
            except (TypeError, ValueError) as error:
                raise ZooError(f"{name} of a data spec cannot be {getattr(self, name)!r}") from error
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ZooError(f"shape must be (channels, height, width), all at least 1, not {self.shape}")
        if self.num_classes < 1:
            raise ZooError(f"num_classes must be at least 1, not {self.num_classes}")
        if max(self.shape[0], self.num_classes) > MOST or math.prod(self.shape) > LARGEST:
            raise ZooError(
                f"shape {self.shape} and num_classes {self.num_classes} are too large: at most {MOST:,} channels and "
                f"classes, and {LARGEST:,} entries"
            )
        if self.values not in VALUES:
            raise ZooError(f"values must be {', '.join(VALUES[:-1])} or {VALUES[-1]}, not {self.values!r}")
        channels, entries = self.shape[0], math.prod(self.shape)
        names = self.class_names or tuple(str(label) for label in range(self.num_classes))
        mean = self.mean or (0.0,) * (len(self.std) or channels)
        std = self.std or (1.0,) * len(mean)
        moments = entries if len(mean) == entries else channels
        for name, value, count in (
            ("class_names", names, self.num_classes),
            ("mean", mean, moments),
            ("std", std, moments),
            ("columns", self.columns, self.shape[2] if self.columns else 0),
        ):
            if len(value) != count:
                raise ZooError(f"{name} has {len(value)} entries where {count} are needed")
            object.__setattr__(self, name, value)
        if not all(math.isfinite(m) and math.isfinite(s) and s > 0 for m, s in zip(mean, std, strict=True)):
            raise ZooError(f"mean must be finite and std finite and positive, not {mean} and {std}")

    @property
    def statistics_shape(self) -> tuple[int, int, int]:
        """What ``mean`` and ``std`` have to be shaped like to fit an example: ``(C, 1, 1)``, or its own shape."""
        return self.shape if len(self.mean) == math.prod(self.shape) else (self.shape[0], 1, 1)

    @property
    def wanted(self) -> str:
        """What an example is, in words for an error message: ``1×28×28 in [0, 1]``."""
        return _times(self.shape) + (" in [0, 1]" if self.values == "grey" else "")

    def class_numbers(self, names: Sequence[str]) -> list[int]:
        """The label of each of the ``names`` of other data's classes, whatever their Unicode form; -1 where none is."""
        known = {name: label for label, name in enumerate(self.class_names)}
        return [known.get(_text(name), -1) for name in names]

    def check_examples(self, shape: Sequence[int], kind: str | None = None, whose: str = "the model") -> None:
        """Raise ``DataError`` where examples of that shape and kind are others than this describes.

        ``whose``: what this is the spec of, in the error's words.
        """
        if kind not in (None, self.kind):
            raise DataError(f"the data is of the kind {kind}, {whose} was made for the kind {self.kind}")
        if tuple(shape) != self.shape:
            what = "images" if self.kind == "image" else "examples"
            raise DataError(f"the {what} are {_times(shape)}, {whose} was made for {self.wanted}")

    def check_kind(self, kind: str, what: str) -> None:
        """Raise ``ZooError`` where ``what`` is asked, which is for one ``kind`` alone, and this is another."""
        if self.kind != kind:
            raise ZooError(f"{what}: that is for the kind {kind}, the model was made for the kind {self.kind}")

    def to_dict(self) -> dict[str, Any]:
        """As lists, strings and numbers, fit for a checkpoint or JSON. What pictures do not need is left out."""
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {key: value for key, value in values.items() if key in _ALWAYS or value != _DEFAULTS[key]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DataSpec:
        """The inverse of :meth:`to_dict`. Raises ``ZooError`` on unknown keys or impossible values."""
        if "invert" in values and "settings" not in values:  # before there were kinds, it stood by itself
            values = {key: value for key, value in values.items() if key != "invert"} | {
                "settings": {"invert": values["invert"]}
            }
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ZooError(f"unknown entries in a data spec: {', '.join(sorted(map(str, unknown)))}")
        return cls(**values)


_ALWAYS = ("shape", "num_classes", "class_names", "mean", "std")
_DEFAULTS: dict[str, Any] = {
    "settings": {}, "kind": "image", "values": "grey", "missing": False, "columns": [], "vocabulary": [],
}  # fmt: skip


@dataclass(frozen=True)
class Likelihood:
    """What a model's ``log_prob`` is, so that numbers of different kinds are never ranked together.

    Attributes:
        kind: ``"exact"`` or ``"lower bound"``.
        of: ``"binary"``: the probability of the pixels thresholded at ``threshold``; ``"binarised"``: that of binary
            pixels drawn with the grey value as probability, from a fixed seed; ``"discrete"``: that of 256 grey levels;
            ``"dequantised"``: the density of the grey values in [0, 1] as real numbers, 1/255 apart, to which uniform
            noise of that width is added before bits/dim are computed (Theis et al. 2016, A note on the evaluation of
            generative models, eq. 4–7); ``"continuous"``: the density of real values, or of grey ones in [0, 1], as
            they are, which amounts to no bits/dim.
        threshold: grey value above which a binary pixel is on.
    """

    kind: str
    of: str
    threshold: float | None = None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no string")
    return unicodedata.normalize("NFC", value)  # a name is one, however its accents are stored


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _settings(values: Any) -> dict[str, Any]:
    if not isinstance(values, Mapping) or not all(isinstance(value, (str, int, float)) for value in values.values()):
        raise TypeError(f"{values!r} is no mapping of names to strings and numbers")
    return {_text(name): value for name, value in values.items()}


def _times(shape: Sequence[int]) -> str:
    return "×".join(str(size) for size in shape)


# to plain data, whatever kind of number or sequence comes in; TypeError or ValueError for what is none
_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "shape": lambda sizes: tuple(operator.index(size) for size in sizes),
    "num_classes": operator.index,
    "class_names": lambda names: tuple(_text(name) for name in names),
    "mean": lambda values: tuple(float(value) for value in values),
    "std": lambda values: tuple(float(value) for value in values),
    "settings": _settings,
    "kind": _text,
    "values": _text,
    "missing": _yes_or_no,
    "columns": lambda names: tuple(_text(name) for name in names),
    "vocabulary": lambda words: tuple(_text(word) for word in words),
}
