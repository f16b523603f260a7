"""A user's own pictures, one folder a class, decoded once into a cached uint8 memory map.

    root/<class>/*.png                     a fixed part of each class becomes the test split
    root/train/<class>/…, root/test/<class>/…, root/val/<class>/…      the splits are the user's

See :mod:`zoo.data.folders` for which file is what, and :mod:`zoo.data.kinds.image` for how a picture of any size, mode
and orientation is read. Where there is no test split, a picture is drawn for it by its own content, see
:func:`set_apart`: a folder may grow without a picture that was trained on becoming one to test on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from zoo import plain
from zoo.data import folders
from zoo.data.kinds import image
from zoo.data.splits import Loaded, Split
from zoo.errors import ConfigError, DataError, ZooError, did_you_mean
from zoo.files import new_folder, user_path

KIND = "image"
CLASSES = None  # the folders say
OPTIONS: dict[str, Any] = {"path": None, "image_size": 28, "color": "auto", "invert": "auto", "frame": "picture"}
CHOICES = {"color": ("auto", "color", "grey"), **image.SETTINGS}
CACHE_VERSION = 3  # part of the cache's key: raise it when decoding changes, or what is kept
TEST_SHARE = 0.2  # of a class, where the user has no test split
RECORD = np.dtype([("file", "<u8"), ("pixels", "<u8"), ("inverted", "?")])  # hashes, and what reading has done


def load(root: Path, path: str | Path | None, image_size: int, color: str, invert: str, frame: str) -> Loaded:
    """Decode a folder of images, or map the cache of an earlier decoding.

    Args:
        root: the cache goes below ``root/.cache``; hidden, so that it is no class where ``root`` is ``path``.
        path: the folder.
        image_size: height and width of the result.
        color: ``"color"``, ``"grey"``, or ``"auto"``: grey if no picture has a coloured pixel, or for ``frame="ink"``.
        invert: see :func:`zoo.data.kinds.image.prepare`.
        frame: likewise.

    Returns:
        The images, mapped from disk; the fingerprint is of the decoded content.

    Raises:
        ConfigError: an impossible option.
        DataError: a folder that is none or is not understood, see :func:`zoo.data.folders.layout`, a picture that
            cannot be read (named), or a cache that cannot be written.
    """
    if path in (None, ""):
        raise ConfigError(
            "data=image_folder needs a folder that holds one folder a class: data.path=… or a script's path=…"
        )
    path = user_path(str(path))  # a folder may be called 2024
    if image_size < 1:
        raise ConfigError(f"data.image_size must be at least 1, not {image_size}")
    for option, value in (("color", color), ("invert", invert), ("frame", frame)):
        if value not in CHOICES[option]:
            raise ConfigError(f"data.{option}={value} is no choice: {did_you_mean(value, CHOICES[option], 'choices')}")
    if frame == "ink" and color == "color":
        raise ConfigError("data.frame=ink is for grey pictures: data.color=grey")
    color = "grey" if frame == "ink" else color
    settings = {"invert": invert, "frame": frame}
    found = folders.layout(path, image.SUFFIXES, root / ".cache")
    key = _key(path, found.files, image_size, color, settings)
    cache = root / ".cache" / f"{path.resolve().name[:40]}-{key[:16]}"
    if not cache.is_dir():
        _decode(cache, [file for _, _, file in found.files], image_size, color, settings)
    images, records, content = _read_cache(cache, len(found.files))
    parts, kept, start = {}, {}, 0
    for split in ("train", "val", "test"):
        labels = torch.tensor([label for part, label, _ in found.files if part == split], dtype=torch.int64)
        own = slice(start, start + len(labels))
        parts[split], kept[split], start = Split(images[own], labels), records[own], own.stop
    used = [(split, label) for split, label, _ in found.files]
    test, val = (parts[split] if split in found.splits else None for split in ("test", "val"))
    apart = None
    if test is None:
        apart = torch.from_numpy(set_apart(parts["train"].labels.numpy(), kept["train"]))
        for number in apart.nonzero()[:, 0].tolist():  # train comes first
            used[number] = ("test", used[number][1])
    fingerprint = hashlib.sha256(json.dumps([content, found.class_names, used]).encode()).hexdigest()
    notes = (*found.notes, *_notes(kept, found.splits, invert))
    return Loaded(parts["train"], test, found.class_names, fingerprint, settings, val=val, notes=notes, apart=apart)


def set_apart(labels: np.ndarray, records: np.ndarray) -> np.ndarray:
    """Which pictures make the test split where the user has none: bool ``(N,)``, a fifth of them or so.

    A picture's file is hashed to a number from 0 to 1, and it is drawn if that is below a fifth: whatever other
    pictures there are, and however they are to be read. So one that was trained on stays to be trained on when others
    are added. Pictures that look the same go by the highest number among them, and are on one side. Where a class would
    have none to test on, its lowest one is drawn; where it would have none to train on, its highest one is not. So in a
    class that has grown, a picture goes from train to test only if it was the only one of its class to train on.

    Args:
        labels: int64 ``(N,)``.
        records: of the pictures.
    """
    _, group = np.unique(records["pixels"], return_inverse=True)
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
    if len(number) > 1 and not drawn.any():  # each class is a single picture
        drawn[number.argmin()] = True
    return drawn[group]


def _notes(kept: Mapping[str, np.ndarray], splits: Mapping[str, str], invert: str) -> list[str]:
    """What a user should know of the pictures: which are in two splits, and how many were inverted."""
    notes = []
    for first, second in combinations(splits, 2):
        twice = int(np.isin(kept[second]["pixels"], kept[first]["pixels"]).sum())
        if twice:
            notes.append(f"{twice:,} pictures of {splits[second]}/ are in {splits[first]}/ too")
    inverted = np.concatenate([records["inverted"] for records in kept.values()])
    if invert == "auto" and inverted.any():
        notes.append(f"{inverted.sum():,} of {len(inverted):,} pictures were inverted: they are dark on light")
    return notes


def _key(path: Path, entries: Sequence[tuple[str, int, Path]], *options: Any) -> str:
    digest = hashlib.sha256(json.dumps([CACHE_VERSION, *options]).encode())
    for split, label, file in entries:
        status = file.stat()
        line = f"{split}/{label}/{file.relative_to(path)}:{status.st_size}:{status.st_mtime_ns}\n"
        digest.update(os.fsencode(line))  # a name need not be UTF-8
    return digest.hexdigest()


def _decode(cache: Path, files: Sequence[Path], image_size: int, color: str, settings: dict[str, str]) -> None:
    """Fill ``cache``, which appears whole, whoever else is filling it too."""
    content = hashlib.sha256()
    with writable(cache), new_folder(cache, shared=True) as temporary:
        size, channels = (image_size, image_size), 1 if color == "grey" else 3
        if color == "auto" and not any(_has_color(pixels) for pixels, _ in _read_all(files, size, True, {})):
            channels = 1
        images = open_memmap(temporary / "images.npy", "w+", np.uint8, (len(files), channels, *size))
        records = np.zeros(len(files), RECORD)
        for index, (pixels, inverted) in enumerate(_read_all(files, size, channels == 3, settings)):
            images[index] = pixels
            content.update(pixels.tobytes())
            records[index] = (_number_of_file(files[index]), _number(hashlib.sha256(pixels.tobytes())), inverted)
        images.flush()
        np.save(temporary / "records.npy", records)
        meta = {"version": CACHE_VERSION, "shape": images.shape, "sha256": content.hexdigest(),
                "records": hashlib.sha256(records.tobytes()).hexdigest()}  # fmt: skip
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
def writable(cache: Path) -> Iterator[None]:
    """What cannot be written is told with what it is for, and what would be right; other errors pass."""
    try:
        yield
    except DataError:  # of a picture
        raise
    except ZooError as error:
        reason = getattr(error.__cause__, "strerror", None) or error
        raise DataError(
            f"{cache.parent} cannot be written, where decoded pictures are kept: {reason}\n"
            "Name another directory with ZOO_DATA, data.root=… or a script's root=…."
        ) from error


def _read_cache(cache: Path, count: int) -> tuple[Tensor, np.ndarray, str]:
    """The images, mapped from disk, their records, and the hash of their content, which is what was written."""
    try:
        meta = plain.read_json(cache / "meta.json", DataError)
        images, records = (_mapped(cache / name) for name in ("images.npy", "records.npy"))
        if list(images.shape) != meta["shape"] or len(images) != count or images.dtype != np.uint8:
            raise ValueError(f"shape {images.shape}")
        if records.shape != (count,) or records.dtype != RECORD:
            raise ValueError("records")
        if (_digest(images), _digest(records)) != (meta["sha256"], meta["records"]):
            raise ValueError("checksum")
        return torch.from_numpy(images), records, meta["sha256"]
    except Exception as error:  # what is damaged may raise anything
        raise DataError(f"the cache {cache} is damaged; delete it to have the pictures decoded again") from error


def _mapped(path: Path) -> np.ndarray:
    """An array that is not copied, and may be written to in memory: there is none beyond the end of its file."""
    plain.check_file(path, DataError)
    return open_memmap(path, "c")


def _digest(values: np.ndarray) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(values), 1024):
        digest.update(values[start : start + 1024].tobytes())
    return digest.hexdigest()


def _read_all(
    files: Sequence[Path], size: tuple[int, int], color: bool, settings: dict[str, str]
) -> Iterator[tuple[np.ndarray, bool]]:
    with ThreadPoolExecutor() as pool:  # Pillow decodes outside the interpreter's lock
        for start in range(0, len(files), 1024):
            part = files[start : start + 1024]
            yield from pool.map(lambda file: image.read_picture(file, size, color, **settings), part)


def _has_color(pixels: np.ndarray) -> bool:
    return bool((pixels != pixels[:1]).any())
