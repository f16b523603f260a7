"""Texts: bytes to text, text to words, and texts with their labels to what sources hand over.

A word is a run of letters, digits and the marks on them, with apostrophes inside (``don't``, ``4u``); a number may have
points and commas inside (``1,000.50``); every other sign is a word for itself: punctuation, currencies, emoji. Chinese
characters, which are written without spaces, are words each; of other scripts without spaces, such as Thai, a run is
one. Case is kept. However accents and apostrophes are stored, the word is the same: texts are read in Unicode's form
NFC, with straight apostrophes.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch

from zoo import plain
from zoo.data.splits import Loaded, Split
from zoo.errors import DataError
from zoo.spec import Column

MOST_WORDS = 5000  # of a text: what follows is not read
MOST_LETTERS = 100  # of a word, likewise: what is longer is no language, and would go into every vocabulary
LARGEST = 1 << 26  # bytes of a file
IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
MODIFIERS = "\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f"  # of emoji: shades of skin, and the letters of flags
BYTE_ORDERS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


# From bytes to words


def decoded(content: bytes, where: object) -> tuple[str, bool]:
    """The text of a file, its lines ended as Unix does, and whether that was guessed: it is in UTF-8, or UTF-16 where
    it begins with a mark of that; if not, in Windows-1252, or Latin-1 where it holds bytes that are none of that
    either, which any bytes may be.

    Raises ``DataError`` for what is no text: a NUL character, with its line, or bytes that are none of UTF-16.
    """
    encoding = next((name for mark, name in BYTE_ORDERS.items() if content.startswith(mark)), "utf-8")
    guessed = False
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding == "utf-16":
            raise DataError(f"{where} is damaged: it begins as text in UTF-16 does, and is none") from error
        guessed = True
        try:
            text = content.decode("cp1252")
        except UnicodeDecodeError:
            text = content.decode("latin-1")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{where} is no text: line {line:,} holds a NUL character")
    return text.replace("\r\n", "\n"), guessed


def read(path: Path) -> tuple[str, bool]:
    """As :func:`decoded`, of a file. Raises ``DataError``, too, where it is too large, or cannot be read."""
    size = plain.check_file(path, DataError)
    if size > LARGEST:
        raise DataError(f"{path} is too large for a text: it holds {size:,} bytes, at most {LARGEST:,} are read")
    try:
        return decoded(path.read_bytes(), path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def guesses(count: int) -> str:
    """What a user should know of so many files whose encoding was guessed; nothing of none."""
    return f"files that are not in UTF-8 and are taken for Windows-1252: {count:,}" if count else ""


def words(text: str, most: int | None = None) -> list[str]:
    """The words of a text in their order, ``most`` of them at most."""
    composed = unicodedata.normalize("NFC", text).replace("\u2019", "'")
    return [match[0][:MOST_LETTERS] for match in itertools.islice(_pattern().finditer(composed), most)]


@functools.cache
def _pattern() -> re.Pattern[str]:
    """What a word looks like. What is taken is not given back: time is in proportion to a text's length, whatever the
    text, and memory is not needed."""
    marks, invisible = _range("M"), _range("Cc", "Cf")
    letter = rf"(?:[^\W_{IDEOGRAPHS}]|[{marks}])"
    sign = rf"[^\w\s{invisible}][{marks}{MODIFIERS}]*+"
    return re.compile(
        r"\d++(?:[.,]\d++)++"
        rf"|{letter}++(?:['\u200c\u200d]{letter}++){{,9}}+"
        rf"|[{IDEOGRAPHS}][{marks}]*+"
        "|[\U0001f1e6-\U0001f1ff]{2}"  # a flag
        rf"|{sign}(?:\u200d{sign})*+"  # emoji that are joined are one
        "|_"
    )


def _range(*categories: str) -> str:
    """All characters of Unicode's ``categories``, or what these begin with, as a class of a pattern lists them."""
    known = itertools.chain(range(0x20000), range(0xE0000, 0xE0200))  # between them there are ideographs alone
    found = [code for code in known if unicodedata.category(chr(code)).startswith(categories)]
    runs = itertools.groupby(enumerate(found), lambda pair: pair[1] - pair[0])
    ends = ((run[0][1], run[-1][1]) for run in (list(group) for _, group in runs))
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ends)


# From texts to what sources hand over


class Numbered(NamedTuple):
    """The first :data:`MOST_WORDS` words of some texts.

    Attributes:
        numbers: those of each text, int32, as numbers among all distinct words.
        words: these, sorted.
        longer: how many texts have more words.
    """

    numbers: list[np.ndarray]
    words: tuple[str, ...]
    longer: int


@functools.lru_cache(maxsize=2)
def numbered(texts: tuple[str, ...]) -> Numbered:
    """The words of texts, of the same texts once: do not write to what it gives."""
    known: dict[str, int] = {}
    numbers, longer = [], 0
    for text in texts:
        found = words(text, MOST_WORDS + 1)
        longer += len(found) > MOST_WORDS
        numbers.append(np.array([known.setdefault(word, len(known)) for word in found[:MOST_WORDS]], np.int32))
    ordered = tuple(sorted(known))
    rank = np.empty(len(known), np.int32)
    rank[[known[word] for word in ordered]] = np.arange(len(known))
    return Numbered([rank[row] for row in numbers], ordered, longer)


Labelled = tuple[Sequence[str], Sequence[int]]  # texts, and a label for each


def loaded(
    texts: Sequence[str],
    labels: Sequence[int],
    class_names: Sequence[str] = (),
    *,
    test: Labelled | None = None,
    val: Labelled | None = None,
    groups: Sequence[int] | None = None,
    column: str = "text",
    target: str = "",
    notes: Sequence[str] = (),
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Loaded:
    """What a source of texts hands over: of each text its number among those that the one column holds, int32
    ``(N, 1, 1, 1)``. Texts that repeat each other, word for word in whatever case, stay together.

    Args:
        texts: to train and to validate on.
        labels: of them.
        class_names: see :class:`zoo.data.splits.Loaded`, as for what has the name of one of its attributes.
        test: the official test split.
        val: the official validation split.
        groups: which of the texts belong together, in the place of those that repeat each other.
        column: what the user's file calls the column of texts.
        target: what it calls that of classes.
        notes: which others follow: how many texts are empty, or repeated.
        settings: of the kind.

    Raises:
        DataError: none of them holds a word.
    """
    parts = {name: part for name, part in (("train", (texts, labels)), ("val", val), ("test", test)) if part}
    every = tuple(text for own, _ in parts.values() for text in own)
    rows, splits, start = numbered(every), {}, 0
    if not rows.words:
        raise DataError(f"none of the {len(every):,} texts holds a word")
    for name, (own, theirs) in parts.items():
        which = torch.arange(start, start + len(own), dtype=torch.int32)
        splits[name] = Split(which[:, None, None, None], torch.tensor(list(theirs), dtype=torch.int64))
        start += len(own)
    content = {name: [list(own), list(theirs)] for name, (own, theirs) in parts.items()}
    fingerprint = hashlib.sha256(json.dumps([list(class_names), content]).encode()).hexdigest()
    same = _same(rows)
    repeated = np.bincount(same[: len(texts)])[same[: len(texts)]] > 1
    together = None if groups is None else torch.tensor(list(groups), dtype=torch.int64)
    if groups is None and repeated.any():
        together = torch.from_numpy(same[: len(texts)])
    return Loaded(
        splits["train"], splits.get("test"), tuple(class_names), fingerprint,
        columns=(Column(column, every),), val=splits.get("val"), target=target, groups=together,
        notes=(*notes, *_notes(rows, same, len(texts), groups)), settings=settings,
    )  # fmt: skip


def _same(rows: Numbered) -> np.ndarray:
    """Texts that are the same, word for word in whatever case, have a number, int64 ``(N,)``; each without a word has
    one of its own."""
    forms: dict[str, int] = {}
    lower = np.array([forms.setdefault(word.lower(), len(forms)) for word in rows.words], np.int32)
    seen: dict[object, int] = {}
    keys = (lower[row].tobytes() or place for place, row in enumerate(rows.numbers))
    return np.array([seen.setdefault(key, len(seen)) for key in keys], np.int64)


def _notes(rows: Numbered, same: np.ndarray, train: int, groups: Sequence[int] | None) -> list[str]:
    """Sentences on what is unusual among texts, of which the first ``train`` are to train on."""
    first = np.unique(same[:train], return_index=True)[1]
    repeats = train - len(first)
    notes = []
    if repeats and groups is None:
        notes.append(f"{repeats:,} texts repeat an earlier one, word for word: they stay with it on one side")
    elif repeats:
        belonging = np.array(groups)
        others = len(np.unique(np.stack([same[:train], belonging]), axis=1).T) - len(first)
        notes += [f"{others:,} texts repeat one of another group, word for word"] * bool(others)
    for count, what in (
        (int(np.isin(same[train:], same[:train]).sum()), "to test or to validate on repeat one to train on"),
        (sum(not len(row) for row in rows.numbers), "hold no word"),
    ):
        notes += [f"{count:,} texts {what}"] * bool(count)
    return notes
