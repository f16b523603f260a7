"""Texts, read as bags of terms or, with ``reads=characters``, as sequences, see :mod:`zoo.data.characters`.

A term is a word, or up to ``ngrams`` words in a row, with a space between them. A model sees which terms a text has:
int64 ``(B, 1, 1, T)``, the number of each in the vocabulary, in their order: all words, then all pairs of words, and so
on. V, the size of the vocabulary, stands for a term that is not in it, and -1 for none at all: what is behind a text,
or hidden. T is as large as it has to be, and differs. Counts ``(V,)``, which is what a bag is, are made of that for a
batch where they are needed, and never of all texts at once.

The vocabulary is fitted to the training texts: the terms that ``min_count`` of them have, and of these the
``vocabulary`` most frequent ones, most frequent first. ``spec.mean`` is the share of the training texts that have each.

Sources hand over the number of each text, int32 ``(N, 1, 1, 1)``, among those that ``Loaded.columns`` holds, see
:mod:`zoo.data.texts`. Files are .txt in UTF-8, of a text a line, or one text each, as those of the training were; or
CSV or Parquet, which has a column of texts.
"""

from __future__ import annotations

import itertools
import sys
import textwrap
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from zoo.base import memory
from zoo.data import characters, frames, kinds, texts
from zoo.errors import ConfigError, DataError, did_you_mean
from zoo.files import write_text
from zoo.spec import END, TERMS, UNKNOWN, Column, DataSpec

VALUES = "counts"
MOST = 3  # words that make a term
SETTINGS = {
    "case": ("lower", "kept"),
    "ngrams": tuple(str(number) for number in range(1, MOST + 1)),
    "weighting": ("auto", "count", "presence", "tfidf"),  # of a term in a text, see zoo.base.bag
    "text": ("line", "file"),  # what is a text in files of them
    "column": ("",),  # that holds them in tables
    "reads": ("bag", "characters"),
    "context": ("",),  # of running text, see zoo.data.characters
}
OPTIONS: dict[str, Any] = {
    "case": "auto", "ngrams": 1, "min_count": 1, "vocabulary": 100_000, "weighting": "auto", "reads": "bag",
    "longest": 512,
}  # fmt: skip
NOUN = "text"
STRINGS = True
FORMAT = "csv"
TEXTS = (".txt", "")  # how names of files of texts end; in nothing, as those of "20 newsgroups" do
SUFFIXES = (*TEXTS, *frames.SUFFIXES)
COLUMN, LABEL = "text", "class"  # of a table, where a spec does not say
OTHER = "…"  # what stands for a word that the vocabulary does not have
NOTHING = -1
PICTURE, FONT = (64, 128), 10  # rows and columns, and the size of letters, of a text that is shown


# From what a source hands over to what a model sees


def fit(
    raw: Tensor,
    columns: Sequence[Column],
    unused: Collection[str] = (),
    like: DataSpec | None = None,
    case: str = "auto",
    ngrams: int = 1,
    min_count: int = 1,
    vocabulary: int = 100_000,
    weighting: str = "auto",
    reads: str = "bag",
    longest: int = 512,
) -> dict[str, Any]:
    """The vocabulary of training texts, and the share of them that has each of its terms; and ``notes`` on what is cut.

    Args:
        raw: numbers of texts, int32 ``(N, 1, 1, 1)``; or windows of running text, where there are no columns.
        columns: one, whose categories are these texts.
        unused: of no meaning.
        like: the spec that says it all.
        case: ``"lower"``: a word is the same in capitals; ``"kept"``: it is not; ``"auto"``: it is in bags alone.
        ngrams: how many words a term may have.
        min_count: how many texts have to hold a term.
        vocabulary: how many terms there may be.
        weighting: how classifiers see a term, see :mod:`zoo.base.bag`.
        reads: ``"bag"`` or ``"characters"``; of running text they are characters.
        longest: characters of a text at most, see :func:`zoo.data.characters.fit`.

    Raises:
        ConfigError: an option that cannot be.
        DataError: no term is in so many texts.
    """
    if like is not None:
        names = ("shape", "mean", "std", "values", "vocabulary", "settings")
        return {name: getattr(like, name) for name in names}
    named = {} if not columns or columns[0].name == COLUMN else {"column": columns[0].name}
    sequences = not columns or reads == "characters"
    case = ("kept" if sequences else "lower") if case == "auto" else case
    without = {"ngrams": ngrams, "weighting": weighting} if sequences else {"longest": longest}
    for option, value in without.items():
        if value != OPTIONS[option]:
            of = "bags of words, and these are sequences" if sequences else "data.reads=characters"
            raise ConfigError(f"data.{option}={value} is of {of}: leave it out")
    if sequences:
        of_characters = {"reads": "characters", "case": case}
        kinds.complete(SETTINGS, of_characters)
        fitted = characters.fit(raw, columns, case, min_count, vocabulary, longest)
        return fitted | {"settings": of_characters | named}
    bounds = {"ngrams": (ngrams, MOST), "vocabulary": (vocabulary, TERMS), "min_count": (min_count, len(raw))}
    for option, (value, most) in bounds.items():
        if not 1 <= value <= most:
            raise ConfigError(f"data.{option} is from 1 to {most:,} here, not {value}")
    settings = kinds.complete(SETTINGS, {"case": case, "ngrams": str(ngrams), "weighting": weighting, "reads": reads})
    found: list[tuple[int, str]] = []
    for row, _, number, terms in _grams(raw, columns, case, ngrams):
        counts = np.bincount(np.unique(row * len(terms) + number) % max(len(terms), 1), minlength=len(terms)).tolist()
        found += [(-count, term) for count, term in zip(counts, terms, strict=True) if count >= min_count]
    if not found:
        raise DataError(f"no term is in data.min_count={min_count} of the {len(raw):,} training texts")
    longer = texts.numbered(columns[0].categories).longer
    found.sort()  # by the letter where they are as frequent: no other text has a say in it
    kept = found[:vocabulary]
    return {
        "shape": (1, 1, len(kept)),
        "mean": tuple(-count / len(raw) for count, _ in kept),
        "std": (1.0,) * len(kept),
        "values": VALUES,
        "vocabulary": tuple(term for _, term in kept),
        "settings": {key: settings[key] for key in ("case", "ngrams", "weighting", "reads")} | named,
        **(
            {"notes": [f"{longer:,} texts have more than {texts.MOST_WORDS:,} words: the first are read"]}
            if longer
            else {}
        ),
    }


def _grams(
    raw: Tensor, columns: Sequence[Column], case: str, ngrams: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, Sequence[str]]]:
    """Terms of one word, of two, and so on: in which text and at which place in it each is, ``row`` and ``column``, and
    its ``number`` among the terms that there are of so many words, int64 ``(M,)`` each; and these."""
    numbered = texts.numbered(columns[0].categories)
    rows = [numbered.numbers[which] for which in raw.flatten().tolist()]
    lengths = np.array([len(row) for row in rows], int)
    row = np.arange(len(rows)).repeat(lengths)
    column = np.arange(len(row)) - (lengths.cumsum() - lengths).repeat(lengths)
    words: Sequence[str] = numbered.words
    place = np.arange(len(words))
    if case == "lower":
        lowered = [word.lower() for word in words]
        words = [*dict.fromkeys(lowered)]
        known = {word: number for number, word in enumerate(words)}
        place = np.array([known[word] for word in lowered], int)
    word = place[np.concatenate([*rows, np.zeros(0, np.int32)])]
    number, terms = word, words
    yield row, column, number, terms
    for last in range(1, ngrams):  # the word behind the term so far
        inside = row[:-last] == row[last:]
        pairs, longer = np.unique(number[:-last][inside] * len(words) + word[last:][inside], return_inverse=True)
        terms = [f"{terms[pair // len(words)]} {words[pair % len(words)]}" for pair in pairs.tolist()]
        number = np.zeros_like(word)
        number[:-last][inside] = longer
        yield row[:-last][inside], column[:-last][inside], longer, terms


def store(raw: Tensor, columns: Sequence[Column], spec: DataSpec) -> Tensor:
    """The numbers of the terms in the spec's vocabulary: of T words in a row, then T - 1 pairs of them, and so on."""
    if spec.values == characters.VALUES:
        return characters.store(raw, columns, spec)
    known, size = {term: number for number, term in enumerate(spec.vocabulary)}, spec.shape[2]
    settings = kinds.complete(SETTINGS, spec.settings)
    ngrams = int(settings["ngrams"])
    parts: list[np.ndarray] = []
    for row, column, number, terms in _grams(raw, columns, settings["case"], ngrams):
        if not parts:
            length = max(int(column.max(initial=0)) + 1, ngrams)
            memory.require(
                4 * len(raw) * length * ngrams, f"{len(raw):,} texts, the longest of {length:,} words,",
                "fewer texts, or a smaller data.ngrams, will do",
            )  # fmt: skip
        place = np.array([known.get(term, size) for term in terms], np.int32)
        part = np.full((len(raw), length - len(parts)), NOTHING, np.int32)
        part[row, column] = place[number]
        parts.append(part)
    return torch.from_numpy(np.concatenate(parts, 1))[:, None, None]


def places(width: int, spec: DataSpec) -> list[slice]:
    """Where along the last axis, of that width, terms of one word are, those of two, and so on, as :func:`store` has
    put them: at the place where the first of their words is among words."""
    if spec.values == characters.VALUES:
        return [slice(0, width)]
    ngrams = int(kinds.complete(SETTINGS, spec.settings)["ngrams"])
    length = (width + ngrams * (ngrams - 1) // 2) // ngrams
    ends = [*itertools.accumulate(range(length, length - ngrams, -1))]
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def decode(stored: Tensor) -> Tensor:
    return stored.long()


def encode(x: Tensor) -> Tensor:
    return x.int()


def statistics(stored: Tensor, spec: DataSpec) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The share of texts that have each term, ``(V,)``; and ones. Of sequences, what stands for neither."""
    if spec.values == characters.VALUES:
        return spec.mean, spec.std
    size = spec.shape[2]
    pairs = (torch.arange(len(stored))[:, None] * (size + 1) + stored.flatten(1).long())[stored.flatten(1) >= 0]
    counts = (pairs.unique() % (size + 1)).bincount(minlength=size + 1)[:size]
    return tuple((counts.double() / max(len(stored), 1)).tolist()), (1.0,) * size


def has_missing(stored: Tensor) -> bool:
    return False  # what is not there is behind the text, or before it, and leaves no gap


# What users hand over


def convert(values: Any, spec: DataSpec) -> Tensor:
    """Texts, a string or several; or whole numbers as a model sees them, ``(T,)``, ``(N, T)`` or ``(N, 1, 1, T)``.

    Raises ``DataError`` for other values, and numbers of no term.
    """
    if isinstance(values, str):
        values = [values]
    if not isinstance(values, Tensor):
        listed = list(values) if hasattr(values, "__iter__") else [values]
        if any(isinstance(value, str) for value in listed):
            wrong = next((value for value in listed if not isinstance(value, str)), None)
            if wrong is not None:
                raise DataError(f"{textwrap.shorten(repr(wrong), 40)} is no text among texts: strings are needed")
            x = decode(of_texts(listed, spec))
            if spec.token(END) >= 0 and bool(
                (x[:, 0, 0, -1:] >= 0).logical_and(x[:, 0, 0, -1:] != spec.token(END)).any()
            ):
                raise DataError(
                    f"a text is longer than the {spec.shape[2] - 1:,} characters that the model was made for"
                )
            return x
    try:
        x = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{type(values).__name__} holds no texts: strings are needed") from error
    if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool:
        raise DataError(f"texts are strings, or whole numbers of terms, not {str(x.dtype).removeprefix('torch.')}")
    if x.dim() not in (1, 2, 4) or x.shape[1:-1] not in ((), (1, 1)):
        raise DataError(f"numbers of terms are (T,), (N, T) or (N, 1, 1, T), not {tuple(x.shape)}")
    low, high = (int(bound) for bound in x.aminmax()) if x.numel() else (0, 0)
    if spec.values == characters.VALUES:
        size = len(spec.vocabulary)
        if low < NOTHING or high >= size:
            raise DataError(f"numbers from {low} to {high} are none of the {size:,} symbols: 0 is the first, -1 none")
    elif low < NOTHING or high > spec.shape[2]:
        raise DataError(
            f"numbers from {low} to {high} are none of the {spec.shape[2]:,} terms: 0 is the first one, "
            f"{spec.shape[2]} any unknown one, and -1 none"
        )
    return x.long().reshape(len(x) if x.dim() > 1 else 1, 1, 1, x.shape[-1])


def of_texts(found: Sequence[str], spec: DataSpec) -> Tensor:
    """Texts as they are stored."""
    if spec.values == characters.VALUES:
        return characters.of_texts(found, spec)
    return store(torch.arange(len(found))[:, None, None, None], (Column(COLUMN, tuple(found)),), spec)


def find_files(names: Sequence[str]) -> list[Path]:
    return kinds.named_files(names, SUFFIXES, "texts")


def read(paths: Sequence[Path], spec: DataSpec, **settings: Any) -> tuple[list[str], Tensor]:
    """Texts are called by their file, and the line where there are several to a file. Empty lines are none. Of running
    text they are windows of files, called by the first character that is new in each."""
    settings = kinds.complete(SETTINGS, spec.settings, settings)
    names: list[str] = []
    found: list[str] = []
    guessed = 0
    runs = spec.is_running
    windows: list[Tensor] = []
    for path in paths:
        if runs:
            text, is_guess = texts.read(path)
            if not text:
                raise DataError(f"{path} holds no text")
            guessed += is_guess
            windows.append(characters.windows_of(text, spec))
            names += [f"{path}:{place * (spec.shape[2] - spec.context):,}" for place in range(len(windows[-1]))]
            continue
        held, is_guess = _texts_in(path, settings["column"] or COLUMN, settings["text"] == "file")
        guessed += is_guess
        if not held:
            raise DataError(f"{path} holds no text")
        names += [f"{path}:{line}" if line else str(path) for line in held]
        found += held.values()
    if guessed:  # no mistake, but maybe other letters
        print(texts.guesses(guessed), file=sys.stderr)
    return names, kinds.joined(windows) if runs else of_texts(found, spec)


def _texts_in(path: Path, column: str, whole: bool) -> tuple[dict[int, str], bool]:
    """Texts in a file by their line; by 0, where the ``whole`` file is one; and whether its encoding was guessed."""
    if path.suffix.lower() in frames.SUFFIXES:
        frame = frames.read_frame(path)
        if column not in frame.columns:
            hint = did_you_mean(column, map(str, frame.columns), "its columns")
            raise DataError(f"{path} has no column {column!r}, of texts: {hint}")
        return {line: str(cell) for line, cell in frame[column].dropna().items()}, False
    text, guessed = texts.read(path)
    if whole:
        return {0: text}, guessed
    return {line: text for line, text in enumerate(text.split("\n"), 1) if text.strip()}, guessed


# What users get


def text_of(stored: Tensor, spec: DataSpec) -> list[str]:
    """Texts as a model sees them: their words, of which an unknown one is "…", or their characters."""
    if spec.values == characters.VALUES:
        return characters.text_of(stored, spec)
    shown, words = [*spec.vocabulary, OTHER], stored.flatten(1)[:, places(stored.shape[3], spec)[0]]
    return [" ".join(shown[number] for number in row if number >= 0) for row in words.tolist()]


def known_share(stored: Tensor, spec: DataSpec) -> Tensor:
    """The share of each text's terms, or characters, that the vocabulary has, float64 ``(N,)``; NaN where there are
    none."""
    terms, unknown, end = stored.flatten(1), spec.shape[2], -1
    if spec.values == characters.VALUES:
        unknown, end = spec.token(UNKNOWN), spec.token(END)
    there = (terms >= 0) & (terms != end)
    return (there & (terms != unknown)).sum(1).double() / there.sum(1)


def show(x: Tensor, spec: DataSpec) -> Tensor:
    """The beginning of each text, white on black."""
    pictures = []
    for text in text_of(x, spec):
        picture = Image.new("L", PICTURE[::-1])
        lines = textwrap.wrap(text, 2 * PICTURE[1] // FONT)[: PICTURE[0] // (FONT + 2)]
        ImageDraw.Draw(picture).multiline_text((1, 0), "\n".join(lines), 255, font_size=FONT, spacing=2)
        pictures.append(torch.from_numpy(np.array(picture)))
    return torch.stack(pictures)[:, None] / 255 if pictures else torch.zeros(0, 1, *PICTURE)


def csv_text(stored: Tensor, labels: Tensor | None, spec: DataSpec) -> str:
    """A CSV file: the texts, and the name of the class behind each, if there are any."""
    import pandas as pd  # slow to import

    frame = pd.DataFrame({spec.settings.get("column") or COLUMN: text_of(stored, spec)})
    if labels is not None:
        frame[spec.target or LABEL] = [spec.class_names[label] for label in labels.tolist()]
    return frame.to_csv(index=False, lineterminator="\n")


def write(stored: Tensor, labels: Tensor | None, spec: DataSpec, folder: Path) -> list[str]:
    """Write ``folder/texts.csv``, see :func:`csv_text`."""
    write_text(folder / "texts.csv", csv_text(stored, labels, spec))
    return ["texts.csv"]


def trial(n: int) -> tuple[Tensor, DataSpec]:
    """Texts of three to eight words of twelve, of which each class of two prefers half; pairs of words are terms."""
    return _trial(n, ngrams=2)


def trial_of_sequences(n: int) -> tuple[Tensor, DataSpec]:
    """As :func:`trial`: the same texts, as their characters."""
    return _trial(n, reads="characters")


def _trial(n: int, **options: Any) -> tuple[Tensor, DataSpec]:
    generator = torch.Generator().manual_seed(0)
    words = tuple(f"{vowel}{consonant}{vowel}" for vowel in "aou" for consonant in "blnt")
    lengths = torch.randint(3, 9, (n,), generator=generator)
    halves = torch.where(torch.rand(n, 8, generator=generator) < 0.8, torch.arange(n)[:, None] % 2, 0) * 6
    numbers = (halves + torch.randint(6, (n, 8), generator=generator)).int()
    made = (row[:length] for row, length in zip(numbers.tolist(), lengths.tolist(), strict=True))
    columns = (Column(COLUMN, tuple(" ".join(words[word] for word in row) for row in made)),)
    raw = torch.arange(n)[:, None, None, None]
    spec = DataSpec(
        num_classes=2,
        kind="tokens",
        **{key: value for key, value in fit(raw, columns, **options).items() if key != "notes"},
    )
    return store(raw, columns, spec), spec
