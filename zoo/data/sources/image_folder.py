"""A user's own pictures, one folder a class, decoded once into a cached uint8 memory map.

    root/<class>/*.png                     a fixed stratified part becomes the test split
    root/train/<class>/…, root/test/<class>/…      the split is the user's

Pictures may have any size, mode and orientation, see :mod:`zoo.data.kinds.image`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from zoo.data.kinds import image, list_files
from zoo.data.splits import Loaded, Split
from zoo.errors import ConfigError, DataError, ZooError, did_you_mean
from zoo.files import new_folder, user_path

KIND = "image"
CLASSES = None  # the folders say
OPTIONS: dict[str, Any] = {"path": None, "image_size": 28, "color": "auto", "invert": "auto", "frame": "picture"}
CHOICES = {"color": ("auto", "color", "grey"), **image.SETTINGS}
CACHE_VERSION = 2  # part of the cache's key: raise it when decoding changes


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
        DataError: no folder, no classes, an unreadable picture (named), splits with different classes, or a cache that
            cannot be written.
    """
    if not path:
        raise ConfigError(
            "data=image_folder needs a folder that holds one folder a class: data.path=… or a script's path=…"
        )
    path = user_path(path)
    if image_size < 1:
        raise ConfigError(f"data.image_size must be at least 1, not {image_size}")
    for option, value in (("color", color), ("invert", invert), ("frame", frame)):
        if value not in CHOICES[option]:
            raise ConfigError(f"data.{option}={value} is no choice: {did_you_mean(value, CHOICES[option], 'choices')}")
    if frame == "ink" and color == "color":
        raise ConfigError("data.frame=ink is for grey pictures: data.color=grey")
    color = "grey" if frame == "ink" else color
    settings = {"invert": invert, "frame": frame}
    splits, names = _layout(path)
    entries = [
        (split, label, file)
        for split, folder in splits.items()
        for label, name in enumerate(names)
        for file in list_files(folder / name, image.SUFFIXES)
    ]
    key = _key(path, entries, image_size, color, settings)
    cache = root / ".cache" / f"{path.resolve().name}-{key[:16]}"
    if not cache.is_dir():
        _decode(cache, [file for _, _, file in entries], image_size, color, settings)
    images, content = _read_cache(cache, len(entries))
    parts, start = {}, 0
    for split in splits:
        labels = torch.tensor([label for part, label, _ in entries if part == split])
        parts[split] = Split(images[start : start + len(labels)], labels)
        start += len(labels)
    listing = json.dumps([content, names, [(split, label) for split, label, _ in entries]])
    fingerprint = hashlib.sha256(listing.encode()).hexdigest()
    train, test = (parts["all"], None) if "all" in parts else (parts["train"], parts["test"])
    return Loaded(train, test, names, fingerprint, settings)


def _layout(path: Path) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The folder of each split, and the class names they share."""
    if not path.is_dir():
        raise DataError(f"{path} is no directory; it must hold one folder a class")
    splits = {split: path / split for split in ("train", "test") if _folders(path / split)}
    if len(splits) == 1:  # with val/ beside it, say: taken as classes, they would be learned without complaint
        raise DataError(f"{path} has {next(iter(splits))}/ alone; call the splits train/ and test/, or have none")
    splits = splits or {"all": path}
    classes = {split: _classes(folder) for split, folder in splits.items()}
    names = next(iter(classes.values()))
    for split, found in classes.items():
        if found != names:
            different = ", ".join(sorted(set(found) ^ set(names)))
            raise DataError(f"{path}/train and {path}/{split} have different classes: {different}")
    return splits, names


def _folders(path: Path) -> tuple[str, ...]:
    """The sorted names of the folders in ``path``, hidden ones left out; none if there is no such directory."""
    found = path.iterdir() if path.is_dir() else ()
    return tuple(sorted(entry.name for entry in found if entry.is_dir() and not entry.name.startswith(".")))


def _classes(folder: Path) -> tuple[str, ...]:
    names = _folders(folder)
    if len(names) < 2:
        raise DataError(f"{folder} holds {len(names)} class folders; it must hold one folder a class, at least two")
    for name in names:
        if not list_files(folder / name, image.SUFFIXES):
            raise DataError(f"{folder / name} holds no image ({', '.join(image.SUFFIXES)})")
    return names


def _key(path: Path, entries: Sequence[tuple[str, int, Path]], *options: Any) -> str:
    digest = hashlib.sha256(json.dumps([CACHE_VERSION, *options]).encode())
    for split, label, file in entries:
        status = file.stat()
        digest.update(f"{split}/{label}/{file.relative_to(path)}:{status.st_size}:{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _decode(cache: Path, files: Sequence[Path], image_size: int, color: str, settings: dict[str, str]) -> None:
    """Fill ``cache``, which appears whole, whoever else is filling it too."""
    content = hashlib.sha256()
    with writable(cache), new_folder(cache, shared=True) as temporary:
        size, channels = (image_size, image_size), 1 if color == "grey" else 3
        if color == "auto" and not any(_has_color(pixels) for pixels in _read_all(files, size, True, {})):
            channels = 1
        images = open_memmap(temporary / "images.npy", "w+", np.uint8, (len(files), channels, *size))
        for index, pixels in enumerate(_read_all(files, size, channels == 3, settings)):
            images[index] = pixels
            content.update(pixels.tobytes())
        images.flush()
        meta = {"version": CACHE_VERSION, "shape": images.shape, "sha256": content.hexdigest()}
        (temporary / "meta.json").write_text(json.dumps(meta), "utf-8")


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


def _read_cache(cache: Path, count: int) -> tuple[Tensor, str]:
    """The images, mapped from disk, and the hash of their content."""
    try:
        meta = json.loads((cache / "meta.json").read_text("utf-8"))
        images = torch.from_numpy(np.load(cache / "images.npy", mmap_mode="c"))
        if list(images.shape) != meta["shape"] or len(images) != count:
            raise ValueError(f"shape {tuple(images.shape)}")
        return images, meta["sha256"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"the cache {cache} is damaged; delete it to have the pictures decoded again") from error


def _read_all(
    files: Sequence[Path], size: tuple[int, int], color: bool, settings: dict[str, str]
) -> Iterator[np.ndarray]:
    with ThreadPoolExecutor() as pool:  # Pillow decodes outside the interpreter's lock
        for start in range(0, len(files), 1024):
            part = files[start : start + 1024]
            yield from pool.map(lambda file: image.read_image(file, size, color, **settings), part)


def _has_color(pixels: np.ndarray) -> bool:
    return bool((pixels != pixels[:1]).any())
