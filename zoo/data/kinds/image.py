"""Pictures: uint8 grey levels or colours ``(N, C, H, W)``, which a model sees as float32 in [0, 1].

Picture files may have any size, mode and orientation. Each is turned upright as its EXIF tag says, laid on white where
it is transparent, padded to the target's aspect with the median of its border, and resized.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from zoo.data import kinds
from zoo.errors import DataError
from zoo.spec import DataSpec

VALUES = "grey"
SETTINGS = {"invert": ("auto", "always", "never")}  # how a picture file is treated, see read_image
FORMAT = "png"
_STILL = (  # a picture, not a film, a drawing or an array: where Pillow knows the format, as it may have been built
    ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".avif", ".jfif", ".jpe", ".pgm", ".ppm", ".pbm",
    ".pnm", ".pfm", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".tga", ".icb", ".vda", ".vst", ".apng", ".avifs",
    ".dib", ".pcx", ".sgi", ".rgb", ".rgba", ".bw", ".ras", ".qoi", ".ico", ".cur", ".icns", ".psd", ".dds", ".xbm",
    ".xpm", ".msp",
)  # fmt: skip
SUFFIXES = tuple(suffix for suffix in _STILL if suffix in Image.registered_extensions())


def decode(stored: Tensor) -> Tensor:
    return stored.div(255)


def encode(x: Tensor) -> Tensor:
    return x.float().clamp(0, 1).mul(255).round().byte()


def statistics(stored: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel's pixels in [0, 1]; exact, from counts of the 256 levels."""
    counts = torch.zeros(stored.shape[1], 256, dtype=torch.float64)
    for chunk in stored.split(8192):
        for channel in range(len(counts)):
            counts[channel] += chunk[:, channel].flatten().bincount(minlength=256)
    levels = torch.arange(256, dtype=torch.float64) / 255
    weights = counts / counts.sum(1, keepdim=True)
    mean = weights @ levels
    std = (weights @ levels.square() - mean.square()).clamp_min(0).sqrt().clamp_min(1 / 255)
    return tuple(mean.tolist()), tuple(std.tolist())


def has_missing(stored: Tensor) -> bool:
    """A pixel has one of 256 levels: there is none for "missing"."""
    return False


def show(x: Tensor, spec: DataSpec) -> Tensor:
    """As they are; of channels that are no colours the first one."""
    return x if x.shape[1] == 3 else x[:, :1]


def find_files(names: Sequence[str]) -> list[Path]:
    return kinds.named_files(names, SUFFIXES, "image")


def read(paths: Sequence[Path], spec: DataSpec, **settings: Any) -> tuple[list[str], Tensor]:
    """Pictures brought to the size and channels of the spec, one a file."""
    size, color = spec.shape[1:], spec.shape[0] == 3
    invert = kinds.complete(SETTINGS, spec.settings, settings)["invert"]
    pixels = np.stack([read_image(path, size, color, invert) for path in paths])
    return [str(path) for path in paths], torch.from_numpy(pixels)


def write(stored: Tensor, labels: Tensor, spec: DataSpec, folder: Path) -> list[str]:
    """Write ``folder/<class>/00001.png``; the names of the classes' folders, in the order of labels."""
    names = folder_names(spec.class_names)
    digits = max(5, len(str(len(stored))))
    for label, name in enumerate(names):
        (folder / name).mkdir()
        images = stored[labels == label].permute(0, 2, 3, 1).numpy()
        for number, pixels in enumerate(images, 1):
            Image.fromarray(pixels[..., 0] if spec.shape[0] == 1 else pixels).save(
                folder / name / f"{number:0{digits}}.png"
            )
    return names


def trial(n: int) -> tuple[Tensor, DataSpec]:
    """Noise around a grey level, 12×12."""
    generator = torch.Generator().manual_seed(0)
    level = torch.randint(40, 160, (n, 1, 1, 1), generator=generator)
    stored = (level + torch.randint(60, (n, 1, 12, 12), generator=generator)).byte()
    mean, std = statistics(stored)
    return stored, DataSpec((1, 12, 12), 3, mean=mean, std=std)


def folder_names(class_names: Sequence[str]) -> list[str]:
    """Names of folders that any system can have, and that sort in the order of the classes.

    Classes are called as they are where that will do; else what is no letter, digit, ``-`` or ``_`` becomes ``_``, and
    the class's number goes before it.
    """
    safe = [re.sub(r"[^\w-]+", "_", name) for name in class_names]
    distinct = len({name.casefold() for name in safe}) == len(safe)  # also where case does not count
    if distinct and safe == list(class_names) and safe == sorted(safe) and all(safe):
        return safe
    digits = len(str(len(safe) - 1))
    return [f"{label:0{digits}}-{name}" for label, name in enumerate(safe)]


def read_image(path: Path, size: tuple[int, int], color: bool, invert: str = "never") -> np.ndarray:
    """One picture as uint8 ``(C, H, W)``, C = 3 if ``color`` else 1.

    Args:
        path: PNG, JPEG or whatever Pillow reads; of an animation, the first frame.
        size: ``(H, W)`` of the result.
        color: three channels or one.
        invert: ``"always"``, ``"never"``, or ``"auto"``: a grey picture is inverted if it is dark on light.

    Raises:
        DataError: the file cannot be read as an image.
    """
    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file)
            picture = _eight_bit(picture).convert("RGB" if color else "L")
            picture = _fit(picture, size)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "it is damaged or no image at all"
        raise DataError(f"{path} cannot be read as an image: {reason}") from error
    pixels = np.asarray(picture).reshape(*size, -1).transpose(2, 0, 1)
    if invert == "always" or (invert == "auto" and not color and is_dark_on_light(pixels)):
        pixels = 255 - pixels
    return np.ascontiguousarray(pixels)


def _eight_bit(picture: Image.Image) -> Image.Image:
    """Eight bits a channel, transparency laid on white."""
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture, np.float64)
        peak = 65535.0
        if not picture.mode.startswith("I;16") and values.max() <= 255:  # 32 bits do not say where white is
            peak = 1.0 if picture.mode == "F" and values.max() <= 1 else 255.0
        return Image.fromarray((values.clip(0, peak) * (255 / peak)).round().astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return picture


def _fit(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resized to ``(H, W)`` in its own aspect, the rest filled with the median of its border."""
    border = _border(np.asarray(picture).reshape(picture.height, picture.width, -1))
    fill = tuple(int(value) for value in np.median(border, axis=0))
    color = fill if len(fill) > 1 else fill[0]
    return ImageOps.pad(picture, (size[1], size[0]), Image.Resampling.BICUBIC, color=color)


def _border(pixels: np.ndarray) -> np.ndarray:
    """The outermost pixels of ``(H, W, C)`` as ``(n, C)``."""
    return np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])


def is_dark_on_light(pixels: np.ndarray) -> bool:
    """Whether a grey picture ``(1, H, W)``, uint8, shows something dark on a light ground.

    The ground is what the border shows: its median is in the upper half and above the picture's mean.
    """
    ground = float(np.median(_border(pixels.transpose(1, 2, 0))))
    return ground > 127 and ground > float(pixels.mean())
