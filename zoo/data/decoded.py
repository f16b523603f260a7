"""Files of a user's folder, one folder a class, decoded once into a cached memory map, whatever they hold.

    root/<class>/…                                  a fixed part of each class becomes the test split
    root/train/<class>/…, root/test/<class>/…       the splits are the user's; val/ may be one, too

See :mod:`zoo.data.folders` for which file is what. Where there is no test split, an example is drawn for it by its own
content, see :func:`set_apart`: a folder may grow without one that was trained on becoming one to test on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from zoo import plain
from zoo.data import folders
from zoo.data.splits import Loaded, Split
from zoo.errors import ConfigError, DataError, ZooError
from zoo.files import new_folder, user_path

CACHE_VERSION = 4  # part of the cache's key: raise it when decoding changes, or what is kept
TEST_SHARE = 0.2  # of a class, where the user has no test split
RECORD = np.dtype([("file", "<u8"), ("content", "<u8"), ("told", "<u4")])  # hashes, and what reading tells
Result = TypeVar("Result")


@dataclass(frozen=True)
class Examples:
    """What is in some files, as a source hands it over: the ``shape`` and the ``dtype`` of an example, and
    ``examples``, one after the other, each with a number that reading it tells."""

    shape: tuple[int, ...]
    dtype: type
    examples: Iterator[tuple[np.ndarray, int]]


def load(
    root: Path,
    path: Path,
    suffixes: Sequence[str],
    noun: str,
    options: Sequence[Any],
    decode: Callable[[Sequence[Path]], Examples],
    note: Callable[[np.ndarray], str],
) -> tuple[Loaded, np.ndarray]:
    """Decode a folder, or map the cache of an earlier decoding.

    Args:
        root: the cache goes below ``root/.cache``; hidden, so that it is no class where ``root`` is ``path``.
        path: the folder.
        suffixes: of the files that are examples.
        noun: what one is called.
        options: plain data that decoding depends on.
        decode: files to what is in them. Raises ``DataError``, which names it, for one that cannot be read.
        note: what the user is to know of the numbers that reading all examples has told; "" for nothing.

    Returns:
        The examples, mapped from disk, and the numbers of those to train on. The fingerprint is of the decoded content,
        or, of real numbers, of the files.

    Raises:
        DataError: a folder that is none or is not understood, see :func:`zoo.data.folders.layout`, a file that cannot
            be read (named), or a cache that cannot be written.
    """
    found = folders.layout(path, suffixes, root / ".cache", noun, alone=True)
    cache = root / ".cache" / f"{path.resolve().name[:40]}-{_key(path, found.files, options)[:16]}"
    if not cache.is_dir():
        _decode(cache, [file for _, _, file in found.files], decode, noun)
    values, records, content = _read_cache(cache, len(found.files), noun)
    parts, kept, start = {}, {}, 0
    for split in ("train", "val", "test"):
        labels = torch.tensor([label for part, label, _ in found.files if part == split], dtype=torch.int64)
        own = slice(start, start + len(labels))
        parts[split], kept[split], start = Split(values[own], labels), records[own], own.stop
    used = [(split, label) for split, label, _ in found.files]
    test, val = (parts[split] if split in found.splits else None for split in ("test", "val"))
    apart = None
    if test is None:
        apart = torch.from_numpy(set_apart(parts["train"].labels.numpy(), kept["train"]))
        for number in apart.nonzero()[:, 0].tolist():  # train comes first
            used[number] = ("test", used[number][1])
    # of real numbers, another machine may compute other last digits: the files tell what they are made of
    told = content if values.dtype == torch.uint8 else [records["file"].tolist(), *options]
    fingerprint = hashlib.sha256(json.dumps([told, found.class_names, used]).encode()).hexdigest()
    notes = [*found.notes, *_twice(kept, found.splits, noun)]
    notes += filter(None, [note(records["told"])])
    loaded = Loaded(parts["train"], test, found.class_names, fingerprint, val=val, notes=tuple(notes), apart=apart)
    return loaded, kept["train"]["told"]


def folder_of(path: str | Path | None, source: str) -> Path:
    """The folder that a source is told of. Raises ``ConfigError`` where it is told of none."""
    if path in (None, ""):
        raise ConfigError(
            f"data={source} needs a folder that holds one folder a class: data.path=… or a script's path=…"
        )
    return user_path(str(path))  # a folder may be called 2024


def set_apart(labels: np.ndarray, records: np.ndarray) -> np.ndarray:
    """Which examples make the test split where the user has none: bool ``(N,)``, a fifth of them or so.

    An example's file is hashed to a number from 0 to 1, and it is drawn if that is below a fifth: whatever others there
    are, and however they are to be read. So one that was trained on stays to be trained on when others are added.
    Those that hold the same go by the highest number among them, and are on one side. Where a class would have none to
    test on, its lowest one is drawn; where it would have none to train on, its highest one is not. So in a class that
    has grown, an example goes from train to test only if it was the only one of its class to train on.

    Args:
        labels: int64 ``(N,)``.
        records: of the examples.
    """
    _, group = np.unique(records["content"], return_inverse=True)
    number = np.zeros(group.max(initial=-1) + 1)
    np.maximum.at(number, group, records["file"] / 2.0**64)
    drawn = number < TEST_SHARE
    classes = [np.unique(group[labels == label]) for label in np.unique(labels)]
    for own in classes:
        if drawn[own].all():
            drawn[own[number[own].argmax()]] = False
    for own in classes:
        if len(own) > 1 and not drawn[own].any():
            drawn[own[number[own].argmin()]] = True
    if len(number) > 1 and not drawn.any():  # each class is a single example
        drawn[number.argmin()] = True
    return drawn[group]


def _twice(kept: Mapping[str, np.ndarray], splits: Mapping[str, str], noun: str) -> list[str]:
    """Notes on examples that are in two splits."""
    notes = []
    for first, second in combinations(splits, 2):
        twice = int(np.isin(kept[second]["content"], kept[first]["content"]).sum())
        if twice:
            notes.append(f"{twice:,} {noun}s of {splits[second]}/ are in {splits[first]}/ too")
    return notes


def _key(path: Path, entries: Sequence[tuple[str, int, Path]], options: Sequence[Any]) -> str:
    digest = hashlib.sha256(json.dumps([CACHE_VERSION, *options]).encode())
    for split, label, file in entries:
        status = file.stat()
        line = f"{split}/{label}/{file.relative_to(path)}:{status.st_size}:{status.st_mtime_ns}\n"
        digest.update(os.fsencode(line))  # a name need not be UTF-8
    return digest.hexdigest()


def _decode(cache: Path, files: Sequence[Path], decode: Callable[[Sequence[Path]], Examples], noun: str) -> None:
    """Fill ``cache``, which appears whole, whoever else is filling it too."""
    content = hashlib.sha256()
    with writable(cache, noun), new_folder(cache, shared=True) as temporary:
        found = decode(files)
        values = open_memmap(temporary / "images.npy", "w+", found.dtype, (len(files), *found.shape))
        records = np.zeros(len(files), RECORD)
        for index, (example, told) in enumerate(found.examples):
            values[index] = example
            content.update(example.tobytes())
            records[index] = (_number_of_file(files[index]), _number(hashlib.sha256(example.tobytes())), told)
        values.flush()
        np.save(temporary / "records.npy", records)
        meta = {"version": CACHE_VERSION, "shape": values.shape, "dtype": values.dtype.name,
                "sha256": content.hexdigest(), "records": hashlib.sha256(records.tobytes()).hexdigest()}  # fmt: skip
        (temporary / "meta.json").write_text(json.dumps(meta), "utf-8")


def _number_of_file(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return _number(hashlib.file_digest(file, "sha256"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _number(digest: Any) -> int:
    """From 0 to 2⁶⁴ - 1."""
    return int.from_bytes(digest.digest()[:8], "big")


@contextlib.contextmanager
def writable(cache: Path, noun: str) -> Iterator[None]:
    """What cannot be written is told with what it is for, and what would be right; other errors pass."""
    try:
        yield
    except DataError:  # of an example
        raise
    except ZooError as error:
        reason = getattr(error.__cause__, "strerror", None) or error
        raise DataError(
            f"{cache.parent} cannot be written, where decoded {noun}s are kept: {reason}\n"
            "Name another directory with ZOO_DATA, data.root=… or a script's root=…."
        ) from error


def _read_cache(cache: Path, count: int, noun: str) -> tuple[Tensor, np.ndarray, str]:
    """The examples, mapped from disk, their records, and the hash of their content, which is what was written."""
    try:
        meta = plain.read_json(cache / "meta.json", DataError)
        values, records = (_mapped(cache / name) for name in ("images.npy", "records.npy"))
        if (list(values.shape), values.dtype.name) != (meta["shape"], meta["dtype"]) or len(values) != count:
            raise ValueError(f"shape {values.shape}")
        if records.shape != (count,) or records.dtype != RECORD:
            raise ValueError("records")
        if (_digest(values), _digest(records)) != (meta["sha256"], meta["records"]):
            raise ValueError("checksum")
        return torch.from_numpy(values), records, meta["sha256"]
    except Exception as error:  # what is damaged may raise anything
        raise DataError(f"the cache {cache} is damaged; delete it to have the {noun}s decoded again") from error


def _mapped(path: Path) -> np.ndarray:
    """An array that is not copied, and may be written to in memory: there is none beyond the end of its file."""
    plain.check_file(path, DataError)
    return open_memmap(path, "c")


def _digest(values: np.ndarray) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(values), 1024):
        digest.update(values[start : start + 1024].tobytes())
    return digest.hexdigest()


def each(files: Sequence[Path], read: Callable[[Path], Result]) -> Iterator[Result]:
    """What ``read`` makes of files, in their order, by several threads: decoders work outside Python's lock."""
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(files), 1024):
            yield from pool.map(read, files[start : start + 1024])
