"""Data as MNIST's authors published theirs: four IDX files, plain or gzipped.

The format: two zero bytes, a type code (8: uint8), the number of dimensions, each dimension as a big-endian int32,
then the values. See http://yann.lecun.com/exdb/mnist/. How much is read, the header says: no more is decompressed. What
is checked of a published file, see :mod:`zoo.data.published`.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import math
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from zoo.data import published, sources
from zoo.data.published import REMEDY
from zoo.data.splits import Loaded, Split
from zoo.errors import DataError

# in the order in which their checksums are given
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
ROLES = ("train images", "train labels", "test images", "test labels")
SIZE = (28, 28)  # of a published picture
TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}  # by their codes
CHUNK = 2**20  # bytes read at a time: what a header promises takes no memory before it is there
DIMENSIONS = 8  # at most; no set needs more
SMALL, DENSEST = 2**24, 20  # bytes that are made in any case, and times the file's size; of MNIST's, it is 5 times


def load(
    places: Sequence[Path],
    checksums: tuple[str, ...],
    torchvision: str,
    title: str,
    counts: tuple[int, int] | None = None,
    **more: Any,
) -> Loaded:
    """Both official splits: uint8 images ``(N, 1, H, W)`` and int64 labels ``(N,)``.

    Files that have not changed are read once a process: do not write to the images.

    Args:
        places: directories, of which the first that has all four files is taken; what is nowhere complete is downloaded
            into the first one.
        checksums: of each of :data:`FILES`, sha256 or md5, see :mod:`zoo.data.published`.
        torchvision: what torchvision, which knows the mirrors, calls the data set.
        title: what its authors call it.
        counts: of train and test images, by which files are known whose checksum says nothing.
        **more: further attributes of what is returned.

    Raises:
        DataError: a file is missing and cannot be downloaded, or is truncated, corrupt, inconsistent or another set's.
    """
    packed = len(checksums[0]) == 32  # what can be checked goes first
    found = complete(places, FILES, packed) or download(places[0], checksums, torchvision)
    images, labels, test_images, test_labels = published.read_once(read_all, found, checksums, title, counts)
    notes = (
        () if all(_known(*pair) for pair in zip(found, checksums, strict=True)) else (unchecked(title, ".gz files"),)
    )
    return Loaded(
        Split(images[:, None], labels.long()), Split(test_images[:, None], test_labels.long()), notes=notes, **more
    )


def unchecked(title: str, of: str) -> str:
    """What a user should know of files whose checksum is not known."""
    return f"{title} is read decompressed: form, counts and classes were checked, but its checksums are of the {of}"


def _known(path: Path, checksum: str) -> bool:
    """Whether a checksum says something of a file."""
    return len(checksum) == 64 or path.suffix == ".gz"


def _spellings(directory: Path, file: str, packed: bool) -> list[Path]:
    """``file`` and ``file.gz``, those that are ``packed`` first or last; torchvision's older ``.idx3-ubyte`` too."""
    suffixes = (".gz", "") if packed else ("", ".gz")
    return [directory / f"{name}{suffix}" for name in (file, file.replace("-idx", ".idx")) for suffix in suffixes]


def find(directory: Path, file: str, packed: bool = False) -> Path | None:
    """The first spelling of ``file`` that is a file in ``directory``."""
    paths = _spellings(directory, file, packed)
    return next((path for path in paths if os.path.isfile(path)), None)  # unlike Path.is_file, False where unreadable


def complete(places: Sequence[Path], files: Sequence[str], packed: bool = False) -> list[Path] | None:
    """All of ``files`` in the first of the directories that has them.

    Raises ``DataError`` where none has, and something that is no file has such a name: it is not missing.
    """
    for directory in places:
        paths = [path for file in files if (path := find(directory, file, packed))]
        if len(paths) == len(files):
            return paths
    for directory in places:
        for file in files:
            published.first_file(*_spellings(directory, file, packed))
    return None


def read_all(
    paths: Sequence[Path], checksums: Sequence[str], title: str, counts: tuple[int, int] | None = None
) -> list[Tensor]:
    """The four files as tensors, checked for structure, agreement and content, in this order; but a file of another set
    is told as what it is."""
    parts = [read_idx(path) for path in paths]
    wrong: dict[Path, str] = {}
    for role, path, (_, digest), expected in zip(ROLES, paths, parts, checksums, strict=True):
        checked = published.md5(path) if len(expected) == 32 and path.suffix == ".gz" else digest
        if checked == expected:
            continue
        _check_no_other(path, digest, title, role)
        if _known(path, expected):
            why, what = "another set's, or corrupt", "the sha256 of its decompressed bytes"
            if len(expected) == 32:
                why, what = "another set's, corrupt, or compressed anew", "its md5"
            wrong[path] = f"{why} ({what} is {checked[:12]}…, not {expected[:12]}…)"
    for images, labels in ((0, 1), (2, 3)):
        check_agreement(paths[images], parts[images][0], paths[labels], parts[labels][0])
    for path, why in wrong.items():
        raise not_as_published(path, title, why)
    values = [part for part, _ in parts]
    if counts:
        check_form(paths, values, title, counts)
    return values


def _check_no_other(path: Path, digest: str, title: str, role: str) -> None:
    """Raise ``DataError`` for an intact file of a set whose checksums are known, or of another part of its own."""
    digests = {digest, published.md5(path)}
    for name in sources.every():
        source = sources.find(name)
        other = getattr(source, "TITLE", name)
        for other_role, checksum in zip(ROLES, getattr(source, "CHECKSUMS", ()), strict=False):
            if checksum in digests and (other, other_role) != (title, role):
                if other == title:
                    raise DataError(
                        f"{path} is intact, but it is {title}'s {other_role}, not its {role}\n"
                        "Give it its name back, or delete it to have the right one downloaded."
                    )
                raise DataError(
                    f"{path} is intact, but it is another set's ({other}'s {other_role}): "
                    f"{title}'s {role} belong there\n"
                    f"data={name} reads it from a folder {name} in data.root; without it, {title}'s is downloaded."
                )


def not_as_published(path: Path | str, title: str, why: str) -> DataError:
    """Of a file in which there is nothing wrong but its content."""
    folder = path.parent if isinstance(path, Path) else "…"
    return DataError(
        f"{path} is well-formed, but not {title}'s as published: {why}\n"
        f"Delete it to have {title}'s downloaded; data=idx data.path={folder} reads any other set."
    )


def check_agreement(
    images: Path | str, pictures: Tensor, labels: Path | str, numbers: Tensor, remedy: str = REMEDY
) -> None:
    """Raise ``DataError`` unless there are as many labels as images."""
    if len(pictures) != len(numbers):
        raise DataError(
            f"images and labels disagree: {images} holds {len(pictures)} images, "
            f"{Path(labels).name} {len(numbers)} labels\n{remedy}"
        )


def check_form(
    paths: Sequence[Path | str], values: Sequence[Tensor], title: str, counts: tuple[int, int], classes: int = 10
) -> None:
    """Raise ``DataError`` unless four files hold so many pictures of the published size, of exactly these classes."""
    for path, value, expected in zip(paths[::2], values[::2], counts, strict=True):
        shape = (expected, *SIZE)
        if tuple(value.shape) != shape:
            raise not_as_published(path, title, f"it holds {_times(value.shape)} values, not {_times(shape)}")
    for path, value in zip(paths[1::2], values[1::2], strict=True):
        found = value.unique().tolist() if value.dim() == 1 else []
        if found != list(range(classes)):
            raise not_as_published(path, title, f"it is not of the {classes} classes, each of which occurs")


def _times(shape: Sequence[int]) -> str:
    return " × ".join(f"{size:,}" for size in shape)


def read_idx(path: Path, whole: bool = False, remedy: str = REMEDY) -> tuple[Tensor, str]:
    """An IDX file of uint8 values, or ``whole`` numbers of any type as int64, and the sha256 of its decompressed bytes.

    ``remedy`` is what a user is told to do about a damaged file.

    Raises:
        DataError: the file cannot be read, is no IDX file, holds less or more than its header says, or would be
            decompressed to many times its size.
    """
    published.check_file(path)
    try:
        with path.open("rb") as file:
            return read_stream(file, path, whole, remedy, path.stat().st_size)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def read_stream(
    file: BinaryIO | Any, path: Path | str, whole: bool = False, remedy: str = REMEDY, size: int | None = None
) -> tuple[Tensor, str]:
    """As :func:`read_idx`, from an open file; ``path``, by which it is called, says whether it is gzipped.

    ``size``: its bytes, which bound what it is decompressed to; None where its content is known to be right.
    """
    try:
        if str(path).endswith(".gz"):
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _read(unpacked, path, whole, remedy, math.inf if size is None else max(SMALL, DENSEST * size))
        return _read(file, path, whole, remedy, math.inf)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is truncated or damaged: {error}\n{remedy}") from error


def _read(file: BinaryIO | Any, path: Path | str, whole: bool, remedy: str, most: float) -> tuple[Tensor, str]:
    """``most``: bytes of values that are read at all."""
    start = file.read(4)
    sizes = file.read(4 * start[3]) if len(start) == 4 and start[:2] == b"\0\0" and start[2] in TYPES else b""
    if not sizes or len(sizes) != 4 * start[3] or start[3] > DIMENSIONS:
        raise DataError(f"{path} is no IDX file\n{remedy}")
    kind = np.dtype(TYPES[start[2]])
    if kind != np.uint8 and not (whole and kind.kind in "iu"):
        needed = "whole numbers" if whole else "unsigned bytes"
        raise DataError(f"{path} is no IDX file of {needed}: it is one of {kind.name}\n{remedy}")
    shape = struct.unpack(f">{start[3]}I", sizes)
    promised, body = math.prod(shape) * kind.itemsize, bytearray()
    most = most * kind.itemsize / 8 if whole else most  # which become eight bytes each
    while len(body) <= min(promised, most) and (chunk := file.read(min(CHUNK, promised + 1 - len(body)))):
        body += chunk
    if len(body) > most:
        raise DataError(
            f"{path} is refused: its header promises {promised:,} bytes, more than {DENSEST} times what the file has\n"
            "Decompressed, it is read whatever its size."
        )
    if len(body) != promised:
        holds = "more" if len(body) > promised else f"{len(body)}"
        raise DataError(
            f"{path} is truncated or damaged: its header promises {promised} bytes, it holds {holds}\n{remedy}"
        )
    if not promised:
        raise DataError(f"{path} holds no value: its header says {_times(shape)}\n{remedy}")
    digest = hashlib.sha256(start + sizes)
    digest.update(body)
    values = np.frombuffer(body, kind).reshape(shape)
    return torch.from_numpy(values.astype(np.int64) if whole else values.view(np.uint8)), digest.hexdigest()


def idx_bytes(values: Tensor) -> bytes:
    """The content of the IDX file that :func:`read_idx` reads as ``values``, uint8 of 1 to 8 dimensions."""
    header = struct.pack(f">4B{values.dim()}I", 0, 0, 8, values.dim(), *values.shape)
    return header + values.cpu().contiguous().numpy().tobytes()


def download(directory: Path, checksums: Sequence[str], torchvision: str) -> list[Path]:
    """Fetch what is missing of the four from torchvision's mirrors, gzipped; a file appears whole or not at all.

    Raises:
        DataError: the directory cannot be written, or no mirror hands out the right file.
    """
    from torchvision import datasets  # slow to import, and needed only here

    mirrors = getattr(datasets, torchvision).mirrors
    paths = []
    for file, checksum in zip(FILES, checksums, strict=True):
        urls = [f"{mirror.rstrip('/')}/{file}.gz" for mirror in mirrors]
        found = find(directory, file, len(checksum) == 32)
        right = functools.partial(_right, checksum)
        paths.append(found or published.fetch(urls, directory / f"{file}.gz", right))
    return paths


def _right(checksum: str, data: bytes) -> bool:
    """Whether what was downloaded is what was published."""
    if len(checksum) == 32:
        return published.is_md5(checksum, data)
    try:
        return read_stream(io.BytesIO(data), "answer.gz", size=len(data))[1] == checksum
    except DataError:
        return False
