"""What a model needs to know about its data, and all that it needs to know."""

from __future__ import annotations

import itertools
import math
import operator
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from zoo.errors import DataError, ZooError, some

MOST = 2**20  # channels, and classes, which have a name each
TERMS, LETTERS = 2**20, 2**23  # of a vocabulary, and of all its terms together: a file that holds more is not read
LARGEST = 2**31 - 1  # entries of an example
MANY = 32  # statistics in a row that are the same, on average, from which on their number is told
VALUES = ("grey", "real", "mixed", "binary", "counts", "tokens")
END, UNKNOWN = "<end>", "<unknown>"  # of the symbols of a sequence, what stands behind a text, and for any other symbol


@dataclass(frozen=True)
class Column:
    """A column of a table, and the entries of an example that it becomes: one of a number; or one a category, of which
    that of the cell's category is 1 and the others are 0. All of them are NaN where the cell is missing.

    Attributes:
        name: what the user's file calls it.
        categories: what its cells may be, in the order of their entries; empty for numbers.
        location: what is subtracted from a number.
        scale: what it is divided by then; above 0.
        gaps_of: the column of which this one says whether its cell is ``"seen"`` or ``"missing"``, its two categories:
            no file has such a column. Empty for all others.
    """

    name: str
    categories: tuple[str, ...] = ()
    location: float = 0.0
    scale: float = 1.0
    gaps_of: str = ""

    @property
    def width(self) -> int:
        """How many entries it becomes."""
        return len(self.categories) or 1

    @property
    def entries(self) -> tuple[str, ...]:
        """Names of its entries: ``("age",)``, or ``("purpose=car", "purpose=house")``."""
        return tuple(f"{self.name}={category}" for category in self.categories) or (self.name,)

    @classmethod
    def made(cls, value: Any) -> Column:
        """From a name, or what :meth:`DataSpec.to_dict` makes of a column. Raises ``TypeError`` or ``ValueError``."""
        if isinstance(value, Column):
            return value
        values = dict(value) if isinstance(value, Mapping) else {"name": value}
        if set(values) - {field.name for field in fields(cls)}:
            raise TypeError(f"{value!r} is no column")
        column = cls(
            _text(values["name"]),
            tuple(_text(category) for category in values.get("categories", ())),
            float(values.get("location", 0.0)),
            float(values.get("scale", 1.0)),
            _text(values.get("gaps_of", "")),
        )
        if not (math.isfinite(column.location) and math.isfinite(column.scale) and column.scale > 0):
            raise ValueError("location must be finite, and scale finite and positive")
        if len(set(column.categories)) < len(column.categories):
            raise ValueError("categories must differ")
        return column

    def to_plain(self) -> str | dict[str, Any]:
        """Its name, where there is no more to say of it, or a dict that :meth:`made` takes."""
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        told = {key: value for key, value in plain.items() if value not in ([], "", *_NUMBER.get(key, ()))}
        return self.name if told.keys() == {"name"} else told


_NUMBER = {"location": (0.0,), "scale": (1.0,)}  # what goes without saying


@dataclass(frozen=True, repr=False)
class DataSpec:
    """Shape, classes and statistics of a data set. Plain data: it travels inside every checkpoint.

    >>> import zoo
    >>> zoo.DataSpec(shape=(3, 32, 32), num_classes=2, class_names=("cat", "dog"))
    DataSpec(image, 3×32×32 in [0, 1], 2 classes: cat, dog)

    Attributes:
        shape: ``(C, H, W)`` of an example: of a picture, whose pixels are float32 in ``[0, 1]``; ``(1, 1, F)`` of a row
            of F numbers; ``(1, 1, V)`` of the counts of V terms, which are not laid out: an example lists its terms,
            see :mod:`zoo.data.kinds.tokens`; ``(1, 1, T)`` of at most T tokens in a row.
        num_classes: number of labels, ``0 .. num_classes - 1``.
        class_names: one name a class, in label order; the labels themselves if left out.
        mean: over the training examples, per channel, or per entry of an example; 0 if left out. Of counts: the share
            of examples that have the term at all.
        std: as many as there are means; 1 if left out.
        settings: of the kind, by name: what must be known of the training examples to treat others alike, such as
            ``{"invert": "auto"}``. Strings, numbers, tuples of numbers, true or false.
        kind: what an example is, see :mod:`zoo.data.kinds`.
        values: what its entries are: ``"grey"`` levels, ``"real"`` numbers, ``"mixed"``: numbers and categories,
            ``"binary"``, ``"counts"`` or ``"tokens"``.
        missing: whether values may be missing, which are NaN.
        columns: what the entries along the last axis are, W of them in all; or none, where they have no names. A name
            alone is a column of numbers as they are.
        target: what the user's file calls the column of classes; empty where it has no name.
        vocabulary: what tokens or counts stand for, in order; empty for other values. Of tokens, ``END`` among them
            stands behind every text, and ``UNKNOWN`` for what is not among them.
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
    columns: tuple[Column, ...] = ()
    vocabulary: tuple[str, ...] = ()
    target: str = ""

    def __post_init__(self) -> None:
        for name, convert in _CONVERSIONS.items():
            try:
                object.__setattr__(self, name, convert(getattr(self, name)))
            except (TypeError, ValueError) as error:
                raise ZooError(f"{name} of a data spec cannot be {getattr(self, name)!r}") from error
        if len(self.vocabulary) > TERMS:
            raise ZooError(f"a vocabulary has at most {TERMS:,} terms")
        if sum(map(len, self.vocabulary)) > LETTERS:
            raise ZooError(f"the terms of a vocabulary have at most {LETTERS:,} letters together: fewer terms will do")
        if self.values == "counts" and self.vocabulary and self.shape != (1, 1, len(self.vocabulary)):
            raise ZooError(f"counts of {len(self.vocabulary):,} terms are of that shape, not {self.shape}")
        if self.values == "tokens":
            self._check_tokens()
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
        ):
            if len(value) != count:
                raise ZooError(f"{name} has {len(value)} entries where {count} are needed")
            object.__setattr__(self, name, value)
        width = sum(column.width for column in self.columns)
        if self.columns and width != self.shape[2]:
            raise ZooError(f"columns has {width} entries where {self.shape[2]} are needed")
        if any(column.categories for column in self.columns) != (self.values == "mixed"):
            raise ZooError(f"values are {self.values!r}: those of categories, and of them alone, are 'mixed'")
        if not all(math.isfinite(m) and math.isfinite(s) and s > 0 for m, s in zip(mean, std, strict=True)):
            raise ZooError(f"mean must be finite and std finite and positive, not {mean} and {std}")

    def __repr__(self) -> str:
        """In a line, however many classes, columns and terms there are."""
        of = {"columns": len(self.columns), "terms": len(self.vocabulary)}
        counts = [f"{count:,} {name}" for name, count in of.items() if count]
        classes = f"{self.num_classes:,} class{'' if self.num_classes == 1 else 'es'}: {some(self.class_names)}"
        return f"DataSpec({', '.join([self.kind, self.wanted, *counts, classes])})"

    def _check_tokens(self) -> None:
        if not self.vocabulary or len(set(self.vocabulary)) < len(self.vocabulary):
            raise ZooError("values are 'tokens': a vocabulary of different symbols is needed")
        context = self.settings.get("context") or 0
        if self.kind != "tokens":
            raise ZooError(f"values are 'tokens': they are of the kind tokens, not {self.kind!r}")
        if (
            not isinstance(context, int)
            or isinstance(context, bool)
            or self.shape[:-1] != (1, 1)
            or not 0 <= context < self.shape[2]
        ):
            raise ZooError(f"sequences (1, 1, T) have a context of 0 to T - 1, not {self.shape} one of {context!r}")

    @property
    def context(self) -> int:
        """How many tokens at the start of an example are there to be known, and are not counted in its likelihood; 0
        of other values. There are fewer, and -1 in their place, where a text begins."""
        return int(self.settings.get("context") or 0) if self.values == "tokens" else 0

    @property
    def is_running(self) -> bool:
        """Whether examples are windows of running text, and no texts that end."""
        return self.values == "tokens" and END not in self.vocabulary

    def token(self, symbol: str) -> int:
        """The number of a symbol, ``END`` say, in the vocabulary; -1 where it has none."""
        return self.vocabulary.index(symbol) if symbol in self.vocabulary else -1

    @property
    def statistics_shape(self) -> tuple[int, int, int]:
        """What ``mean`` and ``std`` have to be shaped like to fit an example: ``(C, 1, 1)``, or its own shape."""
        return self.shape if len(self.mean) == math.prod(self.shape) else (self.shape[0], 1, 1)

    @property
    def wanted(self) -> str:
        """What an example is, in words for an error message: ``1×28×28 in [0, 1]``."""
        if self.values == "counts":
            return f"texts, of {self.shape[2]:,} terms that it knows"
        if self.values == "tokens":
            return f"texts of up to {self.shape[2] - self.context:,} symbols"
        return _times(self.shape) + (" in [0, 1]" if self.values == "grey" else "")

    @property
    def numbers(self) -> tuple[int, ...]:
        """Which entries along the last axis are numbers, and no part of a category."""
        return tuple(places.start for column, places in self.blocks if not column.categories)

    @property
    def categories(self) -> tuple[slice, ...]:
        """Which entries along the last axis are those of a column of categories, a slice a column."""
        if self.values != "mixed":  # a vocabulary has half a million entries
            return ()
        return tuple(places for column, places in self.blocks if column.categories)

    @property
    def blocks(self) -> tuple[tuple[Column, slice], ...]:
        """Columns and where their entries are along the last axis; numbers without a name where it has no columns."""
        columns = self.columns or tuple(Column(f"x{number}") for number in range(1, self.shape[2] + 1))
        ends = itertools.accumulate(column.width for column in columns)
        return tuple((column, slice(end - column.width, end)) for column, end in zip(columns, ends, strict=True))

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
        # a text may have any number of terms
        listed = self.values in ("counts", "tokens") and tuple(shape[:2]) == (1, 1)
        if tuple(shape) != self.shape and not listed:
            what = "images" if self.kind == "image" else "examples"
            raise DataError(f"the {what} are {_times(shape)}, {whose} was made for {self.wanted}")

    def check_kind(self, kind: str, what: str) -> None:
        """Raise ``ZooError`` where ``what`` is asked, which is for one ``kind`` alone, and this is another."""
        if self.kind != kind:
            raise ZooError(f"{what}: that is for the kind {kind}, the model was made for the kind {self.kind}")

    def to_dict(self) -> dict[str, Any]:
        """As lists, strings and numbers, fit for a checkpoint or JSON. What pictures do not need is left out.

        A vocabulary is one string, a term a line, unless a term is a line's end. Its statistics, and others most of
        which are like the one before, as along a row of a recording, are told with how often they follow one another,
        ``[value, times]``.
        """
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in own.items()}
        runs = {key: [[value, len([*run])] for value, run in itertools.groupby(own[key])] for key in _STATISTICS}
        values |= {key: told for key, told in runs.items() if self.vocabulary or len(own[key]) > MANY * len(told)}
        if self.vocabulary:
            lines = "\n".join(self.vocabulary)
            values["vocabulary"] = lines if lines.count("\n") < len(self.vocabulary) else list(self.vocabulary)
        settings = {key: list(value) if isinstance(value, tuple) else value for key, value in self.settings.items()}
        values |= {"settings": settings, "columns": [column.to_plain() for column in self.columns]}
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


_STATISTICS = ("mean", "std")
_ALWAYS = ("shape", "num_classes", "class_names", "mean", "std")
_DEFAULTS: dict[str, Any] = {
    "settings": {}, "kind": "image", "values": "grey", "missing": False, "columns": [], "vocabulary": [],
    "target": "",
}  # fmt: skip


@dataclass(frozen=True)
class Likelihood:
    """What a model's ``log_prob`` is, so that numbers of different kinds are never ranked together.

    >>> import zoo
    >>> str(zoo.create("vae").density)
    'lower bound, binarised'

    Attributes:
        kind: ``"exact"``, ``"lower bound"``, or ``"estimate"``, which may be too large as well as too small.
        of: ``"binary"``: the probability of the pixels thresholded at ``threshold``; ``"binarised"``: that of binary
            pixels drawn with the grey value as probability, from a fixed seed; ``"discrete"``: that of 256 grey levels;
            ``"dequantised"``: the density of the grey values in [0, 1] as real numbers, 1/255 apart, to which uniform
            noise of that width is added before bits/dim are computed (Theis et al. 2016, A note on the evaluation of
            generative models, eq. 4–7); ``"continuous"``: the density of real values, or of grey ones in [0, 1], as
            they are, which amounts to no bits/dim; ``"mixed"``: the density of numbers times the probability of
            categories; ``"tokens"``: the probability of the tokens of a text, one after the other, given their number.
        threshold: grey value above which a binary pixel is on.
    """

    kind: str
    of: str
    threshold: float | None = None

    def __str__(self) -> str:
        return f"{self.kind}, {self.of}" + ("" if self.threshold is None else f" above {self.threshold:g}")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no string")
    return unicodedata.normalize("NFC", value)  # a name is one, however its accents are stored


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _numbers(values: Any) -> tuple[float, ...]:
    """Numbers, or ``[number, times]`` in their place."""
    runs = [value if isinstance(value, (list, tuple)) else (value, 1) for value in values]
    counts = [operator.index(times) for _, times in runs]
    if min(counts, default=1) < 1 or sum(counts) > max(TERMS, len(runs)):
        raise ValueError("there are too many, or fewer than none")
    return tuple(itertools.chain.from_iterable(itertools.repeat(float(value), times) for value, times in runs))


def _settings(values: Any) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise TypeError(f"{values!r} is no mapping of names to strings and numbers")
    found = {
        _text(name): _numbers(value) if isinstance(value, (list, tuple)) else value for name, value in values.items()
    }
    if not all(isinstance(value, (str, int, float, tuple)) for value in found.values()):
        raise TypeError(f"{values!r} is no mapping of names to strings and numbers")
    return found


def _times(shape: Sequence[int]) -> str:
    return "×".join(str(size) for size in shape)


# to plain data, whatever kind of number or sequence comes in; TypeError or ValueError for what is none
_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "shape": lambda sizes: tuple(operator.index(size) for size in sizes),
    "num_classes": operator.index,
    "class_names": lambda names: tuple(_text(name) for name in names),
    "mean": _numbers,
    "std": _numbers,
    "settings": _settings,
    "kind": _text,
    "values": _text,
    "missing": _yes_or_no,
    "columns": lambda columns: tuple(map(Column.made, columns)),
    "target": _text,
    "vocabulary": lambda terms: tuple(_text(term) for term in (terms.split("\n") if isinstance(terms, str) else terms)),
}
