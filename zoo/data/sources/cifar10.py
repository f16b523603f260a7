"""CIFAR-10: 50,000 and 10,000 photographs of ten things, 32×32 pixels in colour.

Its binary version is read. The Python version, which torchvision downloads, is a pickle: reading one runs what it says.

See https://www.cs.toronto.edu/~kriz/cifar.html, and Krizhevsky 2009, Learning multiple layers of features from tiny
images.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from zoo.data import published
from zoo.data.splits import Loaded, Split
from zoo.errors import DataError

KIND = "image"
TITLE = "CIFAR-10"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
OPTIONS: dict[str, Any] = {}
URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
MD5 = "c32a1d4ab5d03f1284b67883e8d87530"  # of the archive, as its authors' page has it
ARCHIVE, FOLDER = "cifar-10-binary.tar.gz", "cifar-10-batches-bin"
FILES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")  # the last one is test
SHAPE = (3, 32, 32)
RECORDS = 10_000  # in a file: a byte for the class, then the bytes of the red, the green and the blue channel by rows


def load(root: Path) -> Loaded:
    """Both official splits, from the archive, which is the published file, or else from the six files out of it.

    Raises:
        DataError: the files are missing and cannot be downloaded, or are damaged, or others.
    """
    places = [root / "cifar10", root]
    archive = published.first_file(*(place / ARCHIVE for place in places))
    notes: tuple[str, ...] = ()
    folders = [root / "cifar10", *(place / FOLDER for place in places)]
    found = None if archive else _complete(folders)
    if found:
        images, labels = published.read_once(_read_files, found)
        notes = (
            f"{TITLE} is read decompressed: form, counts and classes were checked, but its checksum is of {ARCHIVE}",
        )
    else:
        archive = archive or _download(places)
        images, labels = published.read_once(_read_archive, [archive], MD5)
    count = RECORDS * (len(FILES) - 1)
    return Loaded(Split(images[:count], labels[:count]), Split(images[count:], labels[count:]), notes=notes)


def _complete(folders: Sequence[Path]) -> list[Path] | None:
    """The six files in the first of the folders that has all."""
    for folder in folders:
        paths = [path for file in FILES if (path := published.first_file(folder / file))]
        if len(paths) == len(FILES):
            return paths
    return None


def _download(places: Sequence[Path]) -> Path:
    try:
        return published.fetch([URL], places[0] / ARCHIVE, partial(published.is_md5, MD5), "170 MB")
    except DataError as error:
        pickles = [place / name for place in places for name in ("cifar-10-batches-py", "cifar-10-python.tar.gz")]
        found = next((path for path in pickles if path.exists()), None)
        if found is None:
            raise
        raise DataError(
            f"{error}\n{found} is the Python version, a pickle, which is not read: the binary version is at {URL}"
        ) from error


def _read_files(paths: Sequence[Path]) -> tuple[Tensor, Tensor]:
    batches = []
    for path in paths:
        try:
            with path.open("rb") as file:
                batches.append(_records(file, path, path.stat().st_size))
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return _pictures(batches, paths[0].parent)


def _read_archive(paths: Sequence[Path], md5: str) -> tuple[Tensor, Tensor]:
    """The six members by their names; nothing is written."""
    (archive,) = paths
    published.check_md5(archive, md5, TITLE)
    batches: dict[str, np.ndarray] = {}
    try:
        with tarfile.open(archive, "r:gz") as members:
            for member in members:
                file = member.name.removeprefix(f"{FOLDER}/")
                if file in FILES and member.isreg():
                    content = members.extractfile(member)
                    assert content is not None  # of a regular file
                    batches[file] = _records(content, f"{archive}/{member.name}", member.size)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{archive} is damaged: {error}\n{published.REMEDY}") from error
    for file in FILES:
        if file not in batches:
            raise DataError(f"{archive} is damaged: it has no {FOLDER}/{file}\n{published.REMEDY}")
    return _pictures([batches[file] for file in FILES], archive)


def _records(file: BinaryIO | Any, path: Path | str, size: int) -> np.ndarray:
    """uint8 ``(RECORDS, 1 + 3072)``."""
    length = 1 + int(np.prod(SHAPE))
    content = file.read(RECORDS * length) if size == RECORDS * length else b""
    if len(content) != RECORDS * length:
        raise DataError(
            f"{path} is no file of {TITLE}: it holds {size:,} bytes, not {RECORDS:,} records of {length:,}\n"
            f"{published.REMEDY}"
        )
    return np.frombuffer(content, np.uint8).reshape(RECORDS, length)


def _pictures(batches: Sequence[np.ndarray], where: Path) -> tuple[Tensor, Tensor]:
    """Images ``(N, 3, 32, 32)`` and labels of all files, once each class is known to be as frequent as published."""
    records = np.concatenate(batches)
    labels = torch.from_numpy(records[:, 0].astype(np.int64))
    count = RECORDS * (len(FILES) - 1)
    for part in (labels[:count], labels[count:]):
        counts = part.bincount(minlength=len(CLASSES)).tolist()
        if counts != [len(part) // len(CLASSES)] * len(CLASSES):
            raise DataError(
                f"{where} is not {TITLE}'s as published: its classes occur {counts} times, where each must occur "
                f"{len(part) // len(CLASSES):,} times\n{published.REMEDY}"
            )
    return torch.from_numpy(records[:, 1:].reshape(-1, *SHAPE)), labels
