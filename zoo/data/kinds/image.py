"""Pictures: uint8 grey levels or colours ``(N, C, H, W)``, which a model sees as float32 in [0, 1].

Picture files may have any size, mode and orientation. Each is turned upright as its EXIF tag says, laid on white where
it is transparent, padded to the target's aspect with the median of its border, and resized.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
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
FAINT = 32  # of 255: less contrast is nothing that is drawn
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


@dataclass(frozen=True)
class Gap:
    """A picture of which a part is to be filled in, as it is and as a model sees it.

    Attributes:
        picture: upright, uint8 ``(H, W, 3)``, or ``(H, W, 1)`` of a grey one.
        marked: which of its pixels are to be filled in, bool ``(H, W)``.
        view: all of it in the size and the channels of a model, uint8 ``(C, h, w)``.
        hidden: which pixels of the view show any that is marked, bool ``(1, h, w)``.
        place: left, top, right and bottom of the picture in the view, which is padded around.
        levels: those of the picture that are black and white in the view.
    """

    picture: np.ndarray
    marked: np.ndarray
    view: np.ndarray
    hidden: np.ndarray
    place: tuple[int, int, int, int]
    levels: tuple[int, int]

    def filled(self, view: np.ndarray) -> np.ndarray:
        """The picture with what is marked as the completed ``view``, uint8 ``(C, h, w)``, has it, scaled up; all else
        is as it was. It is of colour, ``(H, W, 3)``, where either is."""
        black, white = self.levels
        values = (black + view * ((white - black) / 255)).round().astype(np.uint8).transpose(1, 2, 0)
        small = Image.fromarray(values if len(view) == 3 else values[..., 0]).crop(self.place)
        height, width = self.marked.shape
        part = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).reshape(height, width, -1)
        return np.where(self.marked[..., None], part, self.picture)


def read_gap(path: Path, mask: Path, spec: DataSpec, **settings: Any) -> Gap:
    """A picture, and what the file ``mask`` marks in it: what is light there, or, where that is the picture itself,
    what is transparent. A model of ``frame=ink`` sees all of it, too, as if it stood in its frame already: the ground
    is black for it, and the ink that is seen white.

    Raises ``DataError`` for a file that is no picture, a mask of another size, and one that marks nothing.
    """
    how = kinds.complete(SETTINGS, spec.settings, settings)
    with pictures.opened(path) as file, pictures.opened(mask) as other:
        grey = spec.shape[0] != 3 and Image.getmodebase(file.mode) == "L"
        if mask == path:
            alpha = ImageOps.exif_transpose(other).convert("RGBA").getchannel("A")
            marked, what = np.asarray(alpha) <= WHITE // 2, "no pixel is transparent"
        else:
            marked = np.asarray(pictures.eight_bit(other, False, str(mask))) > WHITE // 2
            what = "no pixel is light"
        picture = pictures.eight_bit(file, not grey, str(path))
    if marked.shape != (picture.height, picture.width):
        sizes = [f"{width}×{height}" for width, height in (marked.shape[::-1], picture.size)]
        raise DataError(f"{mask} is {sizes[0]}, and {path} {sizes[1]} pixels: a mask has the size of its picture")
    if not marked.any():
        raise DataError(f"{mask}: {what}, so that nothing is to be filled in")
    size = spec.shape[1:]
    shares = _fit(Image.fromarray(marked.astype(np.float32)), size, 0, Image.Resampling.BOX)
    hidden = np.asarray(shares) > 0
    view = np.asarray(_fit(picture if spec.shape[0] == 3 else picture.convert("L"), size)).reshape(*size, -1)
    place = _place(picture.size, size)
    levels = _levels(view, hidden, place, **how)
    black, white = levels
    view = ((view.astype(np.float32) - black) * (255 / (white - black))).round().clip(0, 255).astype(np.uint8)
    pixels = np.asarray(picture).reshape(*marked.shape, -1)
    return Gap(pixels, marked, view.transpose(2, 0, 1), hidden[None], place, levels)


def _levels(
    view: np.ndarray, hidden: np.ndarray, place: tuple[int, int, int, int], invert: str, frame: str
) -> tuple[int, int]:
    """Which levels of ``view`` ``(H, W, C)`` a model is to see as black and white, where pixels are ``hidden``."""
    if frame == "picture":
        auto = invert == "auto" and view.shape[2] == 1
        dark = invert == "always" or (auto and is_dark_on_light(view.transpose(2, 0, 1)))
        return (255, 0) if dark else (0, 255)
    left, top, right, bottom = place
    inside, seen = view[top:bottom, left:right, :1], ~hidden[top:bottom, left:right, None]
    known, ground = inside[seen], _border(inside)[_border(seen)]
    low, high = int(known.min(initial=WHITE)), int(known.max(initial=0))
    black = int(np.median(ground if len(ground) else known)) if len(known) else 0
    dark = invert == "always"
    if invert == "auto":
        dark = black - low > high - black if high - low >= FAINT else black > WHITE // 2
    white = low if dark else high
    return (black, white) if abs(white - black) >= FAINT else ((255, 0) if dark else (0, 255))


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


def _fit(
    picture: Image.Image,
    size: tuple[int, int],
    around: int | None = None,
    how: Image.Resampling = Image.Resampling.BICUBIC,
) -> Image.Image:
    """Resized to ``(H, W)`` in its own aspect, the rest filled with ``around``, or the median of its border."""
    height, width = size
    if picture.size == (width, height):
        return picture
    left, top, right, bottom = _place(picture.size, size)
    resized = picture.resize((right - left, bottom - top), how)
    if resized.size == (width, height):
        return resized
    border = _border(np.asarray(picture).reshape(picture.height, picture.width, -1))
    fill = tuple(int(value) for value in np.median(border, axis=0)) if around is None else (around,)
    whole = Image.new(picture.mode, (width, height), fill if len(fill) > 1 else fill[0])
    whole.paste(resized, (left, top))
    return whole


def _place(own: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is ``own`` wide and high, as large as ``(H, W)`` takes it, in its middle."""
    height, width = size
    tall = own[1] * width > height * own[0]
    inner = (
        max(round(own[0] / own[1] * height), 1) if tall else width,
        height if tall else max(round(own[1] / own[0] * width), 1),
    )
    left, top = round((width - inner[0]) * 0.5), round((height - inner[1]) * 0.5)
    return left, top, left + inner[0], top + inner[1]


def _border(pixels: np.ndarray) -> np.ndarray:
    """The outermost pixels of ``(H, W, C)`` as ``(n, C)``."""
    return np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])


def is_dark_on_light(pixels: np.ndarray) -> bool:
    """Whether a grey picture ``(1, H, W)``, uint8, shows something dark on a light ground.

    The ground is what the border shows: its median is in the upper half and above the picture's mean.
    """
    ground = float(np.median(_border(pixels.transpose(1, 2, 0))))
    return ground > 127 and ground > float(pixels.mean())
