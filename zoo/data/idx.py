"""Data as MNIST's authors published theirs: four IDX files, plain or gzipped, checked byte for byte.

The format: two zero bytes, a type code (8: uint8), the number of dimensions, each dimension as a big-endian int32,
then the values. See http://yann.lecun.com/exdb/mnist/.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.client
import math
import os
import struct
import urllib.request
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.data.splits import Loaded, Split
from zoo.errors import DataError, ZooError
from zoo.files import write_bytes

# in the order in which their checksums are given
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
ELSEWHERE = (
    "Put the four IDX files there, or name the directory above it with ZOO_DATA, data.root=… or a script's root=…."
)
REMEDY = "Delete the damaged file to have it downloaded again."


def load(places: Sequence[Path], checksums: tuple[str, ...], torchvision: str, **more: Any) -> Loaded:
    """Both official splits: uint8 images ``(N, 1, H, W)`` and int64 labels ``(N,)``.

    Files that have not changed are read once a process: do not write to the images.

    Args:
        places: directories, of which the first that has all four files is taken; what is nowhere complete is downloaded
            into the first one.
        checksums: sha256 of the decompressed bytes of each of :data:`FILES`.
        torchvision: what torchvision, which knows the mirrors, calls the data set.
        **more: further attributes of what is returned.

    Raises:
        DataError: a file is missing and cannot be downloaded, or is truncated, corrupt or inconsistent.
    """
    complete = ([find(directory, file) for file in FILES] for directory in places)
    found = next(([path for path in paths if path] for paths in complete if all(paths)), None)
    images, labels, test_images, test_labels = _read_once(
        found or download(places[0], checksums, torchvision), checksums
    )
    return Loaded(Split(images[:, None], labels.long()), Split(test_images[:, None], test_labels.long()), **more)


def _read_once(paths: Sequence[Path], checksums: tuple[str, ...]) -> tuple[Tensor, ...]:
    return _read_unchanged(tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in paths), checksums)


@functools.lru_cache(maxsize=2)
def _read_unchanged(files: tuple[tuple[Path, int, int], ...], checksums: tuple[str, ...]) -> tuple[Tensor, ...]:
    return tuple(read_all([path for path, _, _ in files], checksums))


def find(directory: Path, file: str) -> Path | None:
    """``file`` or ``file.gz`` in ``directory``; torchvision's older spelling ``.idx3-ubyte`` too."""
    for spelling in (file, file.replace("-idx", ".idx")):
        for path in (directory / spelling, directory / f"{spelling}.gz"):
            if os.path.isfile(path):  # unlike Path.is_file, False where the directory may not be read
                return path
    return None


def read_all(paths: Sequence[Path], checksums: Sequence[str]) -> list[Tensor]:
    """The four files as tensors, checked for structure, agreement and content, in this order."""
    parts = [read_idx(path) for path in paths]
    for images, labels in ((0, 1), (2, 3)):
        if len(parts[images][0]) != len(parts[labels][0]):
            raise DataError(
                f"images and labels disagree: {paths[images]} holds {len(parts[images][0])} images, "
                f"{paths[labels].name} {len(parts[labels][0])} labels\n{REMEDY}"
            )
    for path, (_, digest), expected in zip(paths, parts, checksums, strict=True):
        if digest != expected:
            found = f"the sha256 of its decompressed bytes is {digest[:12]}…, not {expected[:12]}…"
            raise DataError(f"{path} is corrupt: {found}\n{REMEDY}")
    return [values for values, _ in parts]


def read_idx(path: Path) -> tuple[Tensor, str]:
    """An IDX file of uint8 values, and the sha256 of its decompressed bytes.

    Raises:
        DataError: the file cannot be read, is no IDX file, or holds less or more than its header says.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    try:
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is truncated or damaged: {error}\n{REMEDY}") from error
    if len(data) < 8 or data[:3] != b"\0\0\x08" or not 0 < data[3] <= (len(data) - 4) // 4:
        raise DataError(f"{path} is no IDX file of unsigned bytes\n{REMEDY}")
    header = 4 + 4 * data[3]
    shape = struct.unpack(f">{data[3]}I", data[4:header])
    promised, body = math.prod(shape), len(data) - header
    if body != promised:
        raise DataError(
            f"{path} is truncated or damaged: its header promises {promised} bytes, it holds {body}\n{REMEDY}"
        )
    values = np.frombuffer(data, np.uint8, offset=header).reshape(shape)
    return torch.from_numpy(values.copy()), hashlib.sha256(data).hexdigest()


def idx_bytes(values: Tensor) -> bytes:
    """The content of the IDX file that :func:`read_idx` reads as ``values``, uint8 of 1 to 255 dimensions."""
    header = struct.pack(f">4B{values.dim()}I", 0, 0, 8, values.dim(), *values.shape)
    return header + values.cpu().contiguous().numpy().tobytes()


def download(directory: Path, checksums: Sequence[str], torchvision: str) -> list[Path]:
    """Fetch what is missing of the four from torchvision's mirrors, gzipped; a file appears whole or not at all.

    Raises:
        DataError: the directory cannot be written, or no mirror hands out the right file.
    """
    from torchvision import datasets  # slow to import, and needed only here

    mirrors = getattr(datasets, torchvision).mirrors
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{directory.name} is not in {directory}, and the directory cannot be made: {error.strerror}\n{ELSEWHERE}"
        ) from error
    paths = []
    for file, checksum in zip(FILES, checksums, strict=True):
        urls = [f"{mirror.rstrip('/')}/{file}.gz" for mirror in mirrors]
        paths.append(find(directory, file) or _fetch(urls, directory / f"{file}.gz", checksum))
    return paths


def _fetch(urls: Sequence[str], path: Path, checksum: str) -> Path:
    """The first URL that answers with the right content."""
    problem: object = "no mirror is known"
    for url in urls:
        try:
            with urllib.request.urlopen(url, timeout=30) as response:
                data = response.read()
            if hashlib.sha256(gzip.decompress(data)).hexdigest() != checksum:
                problem = f"{url} has other content than was published"
                continue
        except (OSError, EOFError, zlib.error, http.client.HTTPException) as error:  # urllib's errors are OSErrors
            problem = getattr(error, "reason", None) or error
            continue
        try:
            write_bytes(path, data)
        except ZooError as error:
            raise DataError(f"{error}\n{ELSEWHERE}") from error
        return path
    raise DataError(f"{path.name} is not in {path.parent}, and the download failed: {problem}\n{ELSEWHERE}")
