"""Pictures: uint8 grey levels or colours ``(N, C, H, W)``, which a model sees as float32 in [0, 1].

Picture files may have any size, mode and orientation. Each is turned upright as its EXIF tag says, laid on white where
it is transparent, padded to the target's aspect with the median of its border, and resized.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from zoo.data import kinds, pictures
from zoo.errors import ConfigError, DataError
from zoo.spec import Column, DataSpec

VALUES = "grey"
SETTINGS = {"invert": ("auto", "always", "never"), "frame": ("picture", "ink")}  # how a picture is treated, see prepare
OPTIONS: dict[str, Any] = {}
NOUN = "image"
STRINGS = False
FORMAT = "png"
WHITE = 255  # the level
_STILL = (  # a picture, not a film, a drawing or an array: where Pillow knows the format, as it may have been built
    ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".avif", ".jfif", ".jpe", ".pgm", ".ppm", ".pbm",
    ".pnm", ".pfm", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".tga", ".icb", ".vda", ".vst", ".apng", ".avifs",
    ".dib", ".pcx", ".sgi", ".rgb", ".rgba", ".bw", ".ras", ".qoi", ".ico", ".cur", ".icns", ".psd", ".dds", ".xbm",
    ".xpm", ".msp",
)  # fmt: skip
SUFFIXES = tuple(suffix for suffix in _STILL if suffix in Image.registered_extensions())


def fit(
    raw: Tensor, columns: Sequence[Column], unused: Collection[str] = (), like: DataSpec | None = None
) -> dict[str, Any]:
    """Shape, and mean and standard deviation of each channel, of these images, whatever others are like."""
    channels, height, width = raw.shape[1:]
    mean, std = statistics(raw)
    return {"shape": (channels, height, width), "mean": mean, "std": std, "values": VALUES}


def store(raw: Tensor, columns: Sequence[Column], spec: DataSpec) -> Tensor:
    return raw


def decode(stored: Tensor) -> Tensor:
    return stored.div(255)


def convert(values: Any, spec: DataSpec) -> Tensor:
    """Whole numbers are levels from 0 to 255; true is white. Pictures of PIL are brought to size as files are.

    Raises ``DataError`` for other whole numbers, and for zeros and ones alone: those are black and white in some
    programs, and as levels black and very nearly black.
    """
    several = list(values) if isinstance(values, (list, tuple)) else [values]
    if several and all(isinstance(picture, Image.Image) for picture in several):
        settings = kinds.complete(SETTINGS, spec.settings)
        pixels = [prepare(picture, spec.shape[1:], spec.shape[0] == 3, **settings)[0] for picture in several]
        return decode(torch.from_numpy(np.stack(pixels)))
    shape = tuple(getattr(values, "shape", ()))
    if shape in ((3, *spec.shape[1:]), (4, *spec.shape[1:])) and spec.shape[0] == 1:
        raise DataError(
            f"{'×'.join(map(str, shape))} may be one picture in colour or {shape[0]} grey ones: the model was made for "
            f"{spec.wanted}, (N, 1, H, W)"
        )
    values = kinds.tensor(values, spec)
    if values.is_floating_point():
        return values
    if values.dtype == torch.bool:
        return values.float()
    low, high = (0, 0) if not values.numel() else (int(bound) for bound in values.aminmax())
    if low < 0 or high > WHITE:
        raise DataError(f"whole numbers from {low} to {high} are no grey levels: the model was made for {spec.wanted}")
    if high == 1:
        raise DataError(
            "whole numbers 0 and 1 are either black and white (hand over .bool()) or two of 256 levels (.float() / "
            f"255): the model was made for {spec.wanted}"
        )
    return decode(values)


def encode(x: Tensor) -> Tensor:
    return x.float().clamp(0, 1).mul(255).round().byte()


def statistics(stored: Tensor, spec: DataSpec | None = None) -> tuple[tuple[float, ...], tuple[float, ...]]:
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
    complete = kinds.complete(SETTINGS, spec.settings, settings)
    pixels = np.stack([read_image(path, size, color, **complete) for path in paths])
    return [str(path) for path in paths], torch.from_numpy(pixels)


def write(stored: Tensor, labels: Tensor | None, spec: DataSpec, folder: Path) -> list[str]:
    """Write ``folder/<class>/00001.png``, see :func:`zoo.data.kinds.write_classes`."""
    return kinds.write_classes(stored, labels, spec, folder, ".png", lambda part: map(_png, part))


def _png(pixels: Tensor) -> bytes:
    content, rows = io.BytesIO(), pixels.permute(1, 2, 0).numpy()
    Image.fromarray(rows[..., 0] if rows.shape[2] == 1 else rows).save(content, "png")
    return content.getvalue()


def trial(n: int) -> tuple[Tensor, DataSpec]:
    """Noise around a grey level, 12×12."""
    generator = torch.Generator().manual_seed(0)
    level = torch.randint(40, 160, (n, 1, 1, 1), generator=generator)
    stored = (level + torch.randint(60, (n, 1, 12, 12), generator=generator)).byte()
    mean, std = statistics(stored)
    return stored, DataSpec((1, 12, 12), 3, mean=mean, std=std)


def read_image(
    path: Path, size: tuple[int, int], color: bool, invert: str = "never", frame: str = "picture"
) -> np.ndarray:
    """The pixels of :func:`read_picture` alone."""
    return read_picture(path, size, color, invert, frame)[0]


def read_picture(
    path: Path, size: tuple[int, int], color: bool, invert: str = "never", frame: str = "picture"
) -> tuple[np.ndarray, bool]:
    """A file's picture as :func:`prepare` makes it. Raises ``DataError``, which names the file and the reason."""
    with pictures.opened(path) as picture:
        return prepare(picture, size, color, invert, frame, str(path))


def read_mask(path: Path, spec: DataSpec, like: Path) -> Tensor:
    """Which pixels a picture marks, bool ``(1, H, W)``: those that are light in the file ``path``, or, where that is
    the picture ``like`` itself, those that are transparent. They lie where :func:`read` puts the pixels of ``like``.

    Raises ``DataError`` for a file that is no picture or has another size than ``like``, one that marks nothing, and
    where what is drawn is what is framed, so that a picture of another size than the spec's is moved.
    """
    with pictures.opened(path) as picture, pictures.opened(like) as other:
        upright = pictures.eight_bit(other, True, str(like))
        if path == like:
            marked = ImageOps.invert(ImageOps.exif_transpose(picture).convert("RGBA").getchannel("A"))
        else:
            marked = pictures.eight_bit(picture, False, str(path))
    if marked.size != upright.size:
        sizes = ["×".join(map(str, each.size)) for each in (marked, upright)]
        raise DataError(f"{path} is {sizes[0]}, and {like} {sizes[1]} pixels: a mask has the size of its picture")
    size = spec.shape[1:]
    ink = kinds.complete(SETTINGS, spec.settings)["frame"] == "ink"
    if ink and (upright.size != size[::-1] or _drawn(upright, size, "auto") is not None):
        wanted = "×".join(map(str, size[::-1]))
        raise DataError(
            f"{like} is framed by what is drawn in it: one of {wanted} pixels, light on black, stays as it is"
        )
    found = torch.from_numpy(np.array(_fit(marked, size, 0))) > WHITE // 2
    if not bool(found.any()):
        what = "no pixel is transparent" if path == like else "no pixel is light"
        raise DataError(f"{path}: {what}, so that nothing is to be filled in")
    return found[None]


def prepare(
    picture: Image.Image,
    size: tuple[int, int],
    color: bool,
    invert: str = "never",
    frame: str = "picture",
    name: str = "the picture",
) -> tuple[np.ndarray, bool]:
    """One picture as uint8 ``(C, H, W)``, C = 3 if ``color`` else 1, and whether it was inverted.

    Args:
        picture: of any mode; of an animation, the first frame.
        size: ``(H, W)`` of the result.
        color: three channels or one.
        invert: ``"always"``, ``"never"``, or ``"auto"``: a grey picture is inverted if it is dark on light.
        frame: how the training pictures stand in theirs: ``"picture"``: all of a picture is shown; ``"ink"``: what is
            drawn, light on black, as MNIST's authors did, see :mod:`zoo.data.ink`. Grey pictures that have the
            ``size``, a black or white ground and half the contrast at least are taken to stand so already.
        name: what to call it in an error.

    Raises:
        ConfigError: ink is asked for in colour.
        DataError: the picture cannot be read, or its values have no meaning, see :mod:`zoo.data.pictures`.
    """
    if frame == "ink" and color:
        raise ConfigError("frame=ink is for grey pictures: what is drawn has no colour then")
    plain = pictures.eight_bit(picture, color or frame == "ink", name)
    if frame == "ink":
        drawn = _drawn(plain, size, invert)
        if drawn is not None:
            return drawn
        plain = plain.convert("L")
    pixels = np.asarray(_fit(plain, size)).reshape(*size, -1).transpose(2, 0, 1)
    inverted = invert == "always" or (invert == "auto" and not color and is_dark_on_light(pixels))
    return np.ascontiguousarray(255 - pixels if inverted else pixels), inverted


def _drawn(picture: Image.Image, size: tuple[int, int], invert: str) -> tuple[np.ndarray, bool] | None:
    """What is drawn in an ``"RGB"`` picture, as :func:`prepare` gives it; None to take the picture as it is."""
    grey = picture.convert("L")
    if grey.size == size[::-1]:
        pixels = np.asarray(grey)
        ground = float(np.median(_border(pixels[..., None])))
        if min(ground, 255 - ground) <= 8 and np.abs(pixels - ground).max() >= 128:
            return None
    from zoo.data import ink  # slow to import

    found = ink.framed(grey, size, None if invert == "auto" else invert == "always")
    return None if found is None else (found[0][None], found[1])


def _fit(picture: Image.Image, size: tuple[int, int], around: int | None = None) -> Image.Image:
    """Resized to ``(H, W)`` in its own aspect, the rest filled with ``around``, or the median of its border."""
    height, width = size
    if picture.size == (width, height):
        return picture
    tall = picture.height * width > height * picture.width
    inner = (
        max(round(picture.width / picture.height * height), 1) if tall else width,
        height if tall else max(round(picture.height / picture.width * width), 1),
    )
    resized = picture.resize(inner, Image.Resampling.BICUBIC)
    if resized.size == (width, height):
        return resized
    border = _border(np.asarray(picture).reshape(picture.height, picture.width, -1))
    fill = tuple(int(value) for value in np.median(border, axis=0)) if around is None else (around,)
    whole = Image.new(picture.mode, (width, height), fill if len(fill) > 1 else fill[0])
    whole.paste(resized, (round((width - inner[0]) * 0.5), round((height - inner[1]) * 0.5)))
    return whole


def _border(pixels: np.ndarray) -> np.ndarray:
    """The outermost pixels of ``(H, W, C)`` as ``(n, C)``."""
    return np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])


def is_dark_on_light(pixels: np.ndarray) -> bool:
    """Whether a grey picture ``(1, H, W)``, uint8, shows something dark on a light ground.

    The ground is what the border shows: its median is in the upper half and above the picture's mean.
    """
    ground = float(np.median(_border(pixels.transpose(1, 2, 0))))
    return ground > 127 and ground > float(pixels.mean())
