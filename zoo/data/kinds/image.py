"""Pictures: uint8 grey levels or colours ``(N, C, H, W)``, which a model sees as float32 in [0, 1].

Picture files may have any size, mode and orientation. Each is turned upright as its EXIF tag says, laid on white where
it is transparent, padded to the target's aspect with the median of its border, and resized.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from zoo.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")


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


def list_images(folder: Path) -> list[Path]:
    """All image files below ``folder``, sorted; recognised by their suffix, hidden ones left out."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))
