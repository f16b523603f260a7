"""MNIST and Fashion-MNIST as their authors publish them: four IDX files, plain or gzipped, checked byte for byte.

The format: two zero bytes, a type code (8: uint8), the number of dimensions, each dimension as a big-endian int32,
then the values. See http://yann.lecun.com/exdb/mnist/ and https://github.com/zalandoresearch/fashion-mnist.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.client
import math
import os
import struct
import tempfile
import urllib.request
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo.errors import DataError

# sha256 of the decompressed bytes, in the order train images, train labels, test images, test labels
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
CHECKSUMS = {
    "mnist": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    "fashion_mnist": (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}
TORCHVISION_NAMES = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}
SYSTEM_DIRECTORIES = {"fashion_mnist": Path("/usr/share/datasets/fashion-mnist")}  # Debian: dataset-fashion-mnist
ELSEWHERE = (
    "Put the four IDX files there, or name the directory above it with ZOO_DATA, data.root=… or a script's root=…."
)
REMEDY = "Delete the damaged file to have it downloaded again."


def load(name: str, root: Path) -> list[Tensor]:
    """Train images, train labels, test images, test labels; uint8 ``(N, 28, 28)`` and ``(N,)``.

    Files that have not changed are read once a process: do not write to the tensors.

    Looks in ``root/<name>`` (spelt with ``_`` or ``-``), torchvision's ``root/<Name>/raw`` and the system's
    directory; what is nowhere complete is downloaded into ``root/<name>``.

    Raises:
        DataError: a file is missing and cannot be downloaded, or is truncated, corrupt or inconsistent.
    """
    candidates = [root / name, root / name.replace("_", "-"), root / TORCHVISION_NAMES[name] / "raw"]
    if name in SYSTEM_DIRECTORIES:
        candidates.append(SYSTEM_DIRECTORIES[name])
    for directory in candidates:
        paths = [find(directory, file) for file in FILES]
        if all(paths):
            return _read_once(name, [path for path in paths if path])
    return _read_once(name, download(name, candidates[0]))


def _read_once(name: str, paths: Sequence[Path]) -> list[Tensor]:
    return list(_read_unchanged(name, tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in paths)))


@functools.lru_cache(maxsize=2)
def _read_unchanged(name: str, files: tuple[tuple[Path, int, int], ...]) -> tuple[Tensor, ...]:
    return tuple(read_all([path for path, _, _ in files], CHECKSUMS[name]))


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


def download(name: str, directory: Path) -> list[Path]:
    """Fetch what is missing of the four from torchvision's mirrors, gzipped; a file appears whole or not at all.

    Raises:
        DataError: the directory cannot be written, or no mirror hands out the right file.
    """
    import torchvision.datasets  # slow to import, and needed only here

    mirrors = getattr(torchvision.datasets, TORCHVISION_NAMES[name]).mirrors
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{name} is not in {directory}, and the directory cannot be made: {error.strerror}\n{ELSEWHERE}"
        ) from error
    paths = []
    for file, checksum in zip(FILES, CHECKSUMS[name], strict=True):
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
            if hashlib.sha256(gzip.decompress(data)).hexdigest() == checksum:
                _write(path, data)
                return path
            problem = f"{url} has other content than was published"
        except (OSError, EOFError, zlib.error, http.client.HTTPException) as error:  # urllib's errors are OSErrors
            problem = getattr(error, "reason", None) or error
    raise DataError(f"{path.name} is not in {path.parent}, and the download failed: {problem}\n{ELSEWHERE}")


def _write(path: Path, data: bytes) -> None:
    """Write under another name and rename: processes that do it at once do not meet, and the last one wins."""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            os.chmod(temporary, 0o644)  # mkstemp's file is the owner's alone
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}\n{ELSEWHERE}") from error
