"""Texts as sequences of their characters, and running text as windows that overlap.

Texts that end, in no order, such as names or messages: the symbol ``END`` stands behind each and is part of its
probability. One of more characters than an example has places is cut, and has no end.

Running text, such as a book: each example is a window of T characters, of which the first ``context`` are the last ones
of the window before it, so that every character belongs to one window alone, and at least so many that stand before it
are known wherever there are as many.

Characters are those of Unicode's form NFC. A source of running text hands over code points, int32 ``(N, 1, 1, T)``, -1
where a text has not begun yet or is over, see :func:`running`; others hand over texts, see :mod:`zoo.data.texts`.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.base import memory
from zoo.data.splits import Loaded, Split
from zoo.errors import ConfigError, DataError, some
from zoo.spec import END, TERMS, UNKNOWN, Column, DataSpec

VALUES = "tokens"
NOTHING = -1
REPLACEMENT = "\ufffd"  # how an unknown character is written
LONGEST = 1 << 14  # characters of an example
LEAST = 100  # characters of a running text, which has to be parted in three


# From what a source hands over to what a model sees


def fit(
    raw: Tensor, columns: Sequence[Column], case: str, min_count: int, vocabulary: int, longest: int
) -> dict[str, Any]:
    """The characters of training examples, in the order of their code points, as a spec has them.

    Args:
        raw: numbers of texts, int32 ``(N, 1, 1, 1)``, or windows of running text, where there are no columns.
        columns: one, whose categories are these texts.
        case: ``"lower"``: letters are not told from capitals; ``"kept"``: they are.
        min_count: how many examples have to hold a character; others are unknown.
        vocabulary: how many characters there may be: the most frequent ones.
        longest: characters of a text at most, and its end; what follows is cut.

    Raises:
        ConfigError: an option that cannot be.
        DataError: no character is in so many examples.
    """
    bounds = {"vocabulary": (vocabulary, TERMS), "min_count": (min_count, len(raw)), "longest": (longest, LONGEST)}
    for option, (value, most) in bounds.items():
        if not 1 <= value <= most:
            raise ConfigError(f"data.{option} is from 1 to {most:,} here, not {value}")
    rows = _code_points(raw, columns, case)
    counts: dict[int, int] = {}
    for row in rows:
        for code in np.unique(row[row >= 0]).tolist():
            counts[code] = counts.get(code, 0) + 1
    found = sorted((-count, code) for code, count in counts.items() if count >= min_count)
    if not found:
        raise DataError(f"no character is in data.min_count={min_count} of the {len(raw):,} training examples")
    symbols = [chr(code) for code in sorted(code for _, code in found[:vocabulary])]
    length = min(max(map(len, rows)) + 1, longest) if columns else raw.shape[3]
    longer = sum(len(row) >= length for row in rows) if columns else 0
    cut = f"{longer:,} training texts have more than data.longest={longest} characters with their end, and are cut"
    return {
        "shape": (1, 1, length),
        "mean": (0.0,),
        "std": (1.0,),
        "values": VALUES,
        "vocabulary": (*symbols, UNKNOWN, *([END] if columns else [])),
        **({"notes": [cut]} if longer else {}),
    }


def _code_points(raw: Tensor, columns: Sequence[Column], case: str) -> Sequence[np.ndarray]:
    """The characters of each example, int32."""
    if not columns:
        windows = [*raw.flatten(1).numpy()]
        return [_lowered(window) for window in windows] if case == "lower" else windows
    every = columns[0].categories
    return [codes_of(every[which], case) for which in raw.flatten().tolist()]


def codes_of(text: str, case: str) -> np.ndarray:
    """The code points of a text, int32: of letters in lower case, where ``case`` says so."""
    text = unicodedata.normalize("NFC", text).replace("\r\n", "\n")
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.int32)
    return _lowered(codes) if case == "lower" else codes


def _lowered(window: np.ndarray) -> np.ndarray:
    """Code points of letters in lower case, but for the few that become several."""
    codes, places = np.unique(window, return_inverse=True)
    letters = [chr(code).lower() if code >= 0 else "" for code in codes.tolist()]
    return np.array(
        [ord(new) if len(new) == 1 else old for new, old in zip(letters, codes.tolist(), strict=True)], np.int32
    )[places]


def store(raw: Tensor, columns: Sequence[Column], spec: DataSpec) -> Tensor:
    """Numbers of symbols, int32 ``(N, 1, 1, T)``, -1 where there is none."""
    width = spec.shape[2] if columns else raw.shape[3]
    memory.require(4 * len(raw) * width, f"{len(raw):,} sequences of {width:,} characters,", "fewer will do")
    rows = _code_points(raw, columns, _case(spec))
    stored = np.full((len(raw), width), NOTHING, np.int32)
    lookup = _Lookup(spec)
    for place, row in enumerate(rows):
        numbers = lookup(row, end=bool(columns))[:width]
        stored[place, : len(numbers)] = numbers
    return torch.from_numpy(stored)[:, None, None]


def _case(spec: DataSpec) -> str:
    return str(spec.settings.get("case", "kept"))


class _Lookup:
    """The number of each code point in a spec's vocabulary."""

    def __init__(self, spec: DataSpec) -> None:
        pairs = sorted((ord(symbol), number) for number, symbol in enumerate(spec.vocabulary) if len(symbol) == 1)
        self.codes, self.numbers = np.array(pairs, np.int64).reshape(-1, 2).T
        self.unknown, self.end = spec.token(UNKNOWN), spec.token(END)

    def __call__(self, row: np.ndarray, end: bool = False) -> np.ndarray:
        """Numbers of code points, of which -1 stays -1; with the text's ``end`` behind them."""
        if len(self.codes):
            place = np.minimum(np.searchsorted(self.codes, row), len(self.codes) - 1)
            numbers = np.where(self.codes[place] == row, self.numbers[place], self.unknown)
        else:
            numbers = np.full(len(row), self.unknown, np.int32)
        numbers = np.where(row < 0, NOTHING, numbers)
        return np.append(numbers, self.end) if end and self.end >= 0 else numbers


# What users hand over


def of_texts(found: Sequence[str], spec: DataSpec) -> Tensor:
    """Texts as they are stored: with their end, or, of running text, with nothing before them.

    Raises ``DataError`` where one is running text of more characters than a window has.
    """
    if not spec.is_running:
        return store(torch.arange(len(found))[:, None, None, None], (Column("text", tuple(found)),), spec)
    most = spec.shape[2] - spec.context
    lookup = _Lookup(spec)
    rows = [lookup(codes_of(text, _case(spec))) for text in found]
    longest = max(map(len, rows), default=0)
    if longest > most:
        raise DataError(f"a text has {longest:,} characters, and the model was made for {most:,} at a time")
    stored = np.full((len(rows), spec.shape[2]), NOTHING, np.int32)
    for place, row in enumerate(rows):
        stored[place, spec.context : spec.context + len(row)] = row
    return torch.from_numpy(stored)[:, None, None]


def prompts(found: Sequence[str], spec: DataSpec) -> Tensor:
    """Beginnings of texts, to go on with: int64 ``(N, 1, 1, t)``, -1 behind those that are shorter.

    Raises ``DataError`` for a character that the model does not know, or more of them than it sees at a time.
    """
    lookup = _Lookup(spec)
    codes = [codes_of(text, _case(spec)) for text in found]
    rows = [lookup(each) for each in codes]
    for each, row in zip(codes, rows, strict=True):
        unknown = each[row == lookup.unknown].tolist()
        if unknown:
            letters = some([repr(chr(code)) for code in dict.fromkeys(unknown)])
            raise DataError(f"the model does not know {letters}: it knows {known_characters(spec)}")
        if len(row) > spec.shape[2]:
            raise DataError(
                f"a prompt of {len(row):,} characters is longer than the {spec.shape[2]:,} that the model sees at a "
                "time: its end alone will do"
            )
    width = max(map(len, rows), default=0)
    filled = [np.pad(row.astype(np.int64), (0, width - len(row)), constant_values=NOTHING) for row in rows]
    return torch.from_numpy(np.stack(filled) if filled else np.zeros((0, 0), np.int64))[:, None, None]


def known_characters(spec: DataSpec) -> str:
    """The characters of a vocabulary in a line, the invisible ones escaped."""
    symbols = [symbol for symbol in spec.vocabulary if len(symbol) == 1]
    line = "".join(symbol if symbol.isprintable() else repr(symbol)[1:-1] for symbol in symbols)
    return line if len(line) <= 100 else f"{line[:100]}… ({len(symbols):,} in all)"


def text_of(stored: Tensor, spec: DataSpec) -> list[str]:
    """What sequences ``(N, 1, 1, T)`` are, up to their end; an unknown character is "\N{REPLACEMENT CHARACTER}"."""
    written = [symbol if len(symbol) == 1 else REPLACEMENT for symbol in spec.vocabulary]
    end = spec.token(END)
    if end >= 0:
        written[end] = ""
    return ["".join(written[number] for number in row if number >= 0) for row in stored.flatten(1).tolist()]


# Running text


def running(
    text: str,
    length: int,
    context: int,
    test: float = 0.1,
    val: float = 0.05,
    test_start: int | None = None,
    notes: Sequence[str] = (),
) -> Loaded:
    """What a source of running text hands over: its beginning to validate on, its end to test on, what is between them
    to train on. It is parted there and not at random, since neighbours tell of each other.

    Args:
        text: all of it.
        length: T, characters of a window.
        context: of these, how many belong to the window before, below T.
        test: the share of the text that is its end, to test on.
        val: the share of the rest that is its beginning, to validate on; 0 for none.
        test_start: where the end begins, in the place of ``test``.
        notes: see :class:`zoo.data.splits.Loaded`.

    Raises:
        ConfigError: sizes that cannot be.
        DataError: too short a text.
    """
    if not 2 <= length <= LONGEST or not 0 <= context < length:
        raise ConfigError(
            f"data.length={length} is from 2 to {LONGEST:,}, and data.context={context} from 0 to data.length - 1"
        )
    if not 0 < test <= 1 or not 0 <= val < 1:
        raise ConfigError(
            f"data.test_share={test} is above 0 and at most 1, and data.val_share={val} from 0 to below 1"
        )
    codes = codes_of(text, "kept")
    if len(codes) < max(LEAST, length):
        raise DataError(
            f"the text has {len(codes):,} characters, too few to part it: at least {max(LEAST, length):,} are needed"
        )
    end = len(codes) - round(test * len(codes)) if test_start is None else test_start
    start = round(val * end)
    splits = {  # what is before the test text was trained on; nothing to train on is from the validation text
        "val": _windows(codes[:start], 0, length, context),
        "train": _windows(codes[start:end], 0, length, context),
        "test": _windows(codes[start:], end - start, length, context),
    }
    if (test < 1 and not len(splits["train"])) or not len(splits["test"]):
        raise DataError(
            "nothing is left to train on, or to test on: data.test_share and data.val_share leave too little"
        )
    fingerprint = hashlib.sha256(f"{length} {context} {start} {end}\n".encode() + codes.tobytes()).hexdigest()
    return Loaded(
        splits["train"], splits["test"], ("text",), fingerprint, val=splits["val"] if start else None,
        notes=tuple(notes), settings={"reads": "characters", "context": context},
    )  # fmt: skip


def _windows(codes: np.ndarray, start: int, length: int, context: int) -> Split:
    """The characters from ``start`` on, each in one window, behind those before it."""
    known = min(context, start)
    count = -(-(len(codes) - start) // (length - context))
    padded = np.full(max(length, context + count * (length - context)), NOTHING, np.int32)
    padded[context - known : context + len(codes) - start] = codes[start - known :]
    windows = torch.from_numpy(padded).unfold(0, length, length - context)
    return Split(windows[:count, None, None], torch.zeros(count, dtype=torch.int64))


def windows_of(text: str, spec: DataSpec) -> Tensor:
    """A running text as a model's examples, as they are stored: nothing is known before it."""
    codes = codes_of(text, "kept")
    split = _windows(codes, 0, spec.shape[2], spec.context)
    return store(split.images, (), spec)
