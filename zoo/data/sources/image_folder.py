"""A user's own pictures, one folder a class, decoded once into a cached uint8 memory map.

    root/<class>/*.png                     a fixed part of each class becomes the test split
    root/train/<class>/…, root/test/<class>/…, root/val/<class>/…      the splits are the user's

See :mod:`zoo.data.folders` for which file is what, :mod:`zoo.data.decoded` for the test split where there is none, and
:mod:`zoo.data.kinds.image` for how a picture of any size, mode and orientation is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data import decoded
from zoo.data.kinds import image
from zoo.data.splits import Loaded
from zoo.errors import ConfigError, did_you_mean

KIND = "image"
CLASSES = None  # the folders say
OPTIONS: dict[str, Any] = {"path": None, "image_size": 28, "color": "auto", "invert": "auto", "frame": "picture"}
CHOICES = {"color": ("auto", "color", "grey"), **image.SETTINGS}


def load(root: Path, path: str | Path | None, image_size: int, color: str, invert: str, frame: str) -> Loaded:
    """Decode a folder of images, or map the cache of an earlier decoding.

    Args:
        root: the cache goes below ``root/.cache``.
        path: the folder.
        image_size: height and width of the result.
        color: ``"color"``, ``"grey"``, or ``"auto"``: grey if no picture has a coloured pixel, or for ``frame="ink"``.
        invert: see :func:`zoo.data.kinds.image.prepare`.
        frame: likewise.

    Raises:
        ConfigError: an impossible option.
        DataError: see :func:`zoo.data.decoded.load`.
    """
    path = decoded.folder_of(path, "image_folder")
    if image_size < 1:
        raise ConfigError(f"data.image_size must be at least 1, not {image_size}")
    for option, value in (("color", color), ("invert", invert), ("frame", frame)):
        if value not in CHOICES[option]:
            raise ConfigError(f"data.{option}={value} is no choice: {did_you_mean(value, CHOICES[option], 'choices')}")
    if frame == "ink" and color == "color":
        raise ConfigError("data.frame=ink is for grey pictures: data.color=grey")
    color = "grey" if frame == "ink" else color
    settings, size = {"invert": invert, "frame": frame}, (image_size, image_size)

    def decode(files: Sequence[Path]) -> decoded.Examples:
        def pictures(colored: bool, **how: str) -> Any:
            return decoded.each(files, lambda file: image.read_picture(file, size, colored, **how))

        channels = 1 if color == "grey" else 3
        if color == "auto" and not any(_has_color(pixels) for pixels, _ in pictures(True)):
            channels = 1
        return decoded.Examples((channels, *size), np.uint8, pictures(channels == 3, **settings))

    def note(inverted: np.ndarray) -> str:
        if invert != "auto" or not inverted.any():
            return ""
        return f"{inverted.sum():,} of {len(inverted):,} pictures were inverted: they are dark on light"

    options = [image_size, color, settings]
    return replace(decoded.load(root, path, image.SUFFIXES, "picture", options, decode, note)[0], settings=settings)


def _has_color(pixels: np.ndarray) -> bool:
    return bool((pixels != pixels[:1]).any())
