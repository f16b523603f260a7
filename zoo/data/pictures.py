"""One picture, however it is stored: upright, eight bits a channel, grey or RGB; or refused with the reason.

**Depth.** Up to eight bits, the format says where white is. Wider values often do not fill their type: eight or twelve
bits are written into sixteen, and a float may mean anything. White is then the least of the usual full scales, 1, 255,
1023, 4095, 16383, 65535 and the type's own, that holds all values. A picture of sixteen bits all of which is dark is so
made bright; the other error, to take twelve bits for sixteen, makes it black and loses it. The first is chosen, since
it can be prevented: TIFF's MaxSampleValue or SMaxSampleValue, PNG's sBIT and PGM's maximum say which scale is meant (as
the least number that it must hold: TIFF means them as statistics). Refused is what no scale fits: negative
numbers, NaN, numbers that are all alike, that end between 1 and 64 or above 65535 but far below the type's end, or that
span less than 1/32 of the scale. Of colours of sixteen bits Pillow keeps the upper eight: they are refused where that
leaves nothing.

**Transparency** is laid on white or black, whichever shows what is visible: light ink is laid on black. What has both
light and dark parts has a ground of its own, which is continued: white if the parts at its edge are light.

**Metadata.** The orientation of EXIF is followed, whatever else is broken there. Colour profiles and gamma are not: a
shape is the same without. Of an animation, and of a file with several pages, the first one is read.
"""

from __future__ import annotations

import contextlib
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from zoo.data import naming
from zoo.errors import DataError

MAX_PIXELS = 50_000_000  # a large camera's, or a page at 600 dots an inch; four bytes each, and some on the way
MAX_COSTLY = 16_000_000  # of more than eight bits, or transparent: a few times as many bytes on the way
WHOLE = ("WEBP", "AVIF", "JPEG2000", "ICNS")  # formats whose decoders keep all of it several times
SCALES = (1, 255, 1023, 4095, 16383, 65535)  # where white usually is
OVERSHOOT = 1.05  # of a scale, which floats may reach where they were resampled
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by EXIF's tag
ORIENTATION, BITS, PHOTOMETRIC, MAXIMUM, FORMAT, SMAXIMUM = 274, 258, 262, 281, 339, 341  # TIFF's tags

# What Pillow thinks of a file is told in the error, or means nothing. Files are read by several threads, so that the
# filter cannot be set for the time of reading.
warnings.filterwarnings("ignore", module=r"PIL\.")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A picture file, not yet decoded. Raises ``DataError`` for what is none; what is no file is not opened."""
    with _naming(str(path)):
        naming.check_file(path)
        try:
            file = Image.open(path)
        except Image.DecompressionBombError:
            _check_size(_size(path))
            raise
    with file:
        yield file


def _naming(name: str) -> contextlib.AbstractContextManager[None]:
    """What goes wrong while a picture is read is one ``DataError`` that names it and the reason."""
    none = "it is damaged, no image at all, or of a form that Pillow does not read"
    return naming.naming(name, "an image", UnidentifiedImageError, none)


def eight_bit(picture: Image.Image, color: bool, name: str = "the picture") -> Image.Image:
    """A picture of any mode, upright, in ``"RGB"`` or ``"L"``. Raises ``DataError``, see above."""
    with _naming(name):
        _check_size(picture.size)
        cut = len(picture.getbands()) > 1 and ";16" in str(getattr(picture, "tile", ""))
        deep = picture.mode in ("F", "I") or picture.mode.startswith("I;16") or _is_signed(picture)
        declared = _declared(picture) if deep else 0
        if deep or picture.has_transparency_data or picture.format in WHOLE:
            kind = f"of the format {picture.format}" if picture.format in WHOLE else "deep or transparent"
            _check_size(picture.size, MAX_COSTLY, f", and is {kind}:")
        picture.load()
        plain = picture
        if deep:
            plain = _deep(picture, declared)
        elif cut and max(high for _, high in _extrema(picture)) < 16:
            raise DataError("its colours of 16 bits end below 4096, and would be read as black: save them with 8 bits")
        if plain.has_transparency_data:
            plain = _on_ground(plain)
        if plain.mode not in ("1", "L", "RGB"):  # others become grey by way of RGB, if at all
            plain = plain.convert("RGB")
        method = UPRIGHT.get(_orientation(picture))
        plain = plain if method is None else plain.transpose(method)
        mode = "RGB" if color else "L"
        return plain if plain.mode == mode else plain.convert(mode)


def _check_size(size: tuple[int, int], most: int = MAX_PIXELS, why: str = "") -> None:
    width, height = size
    if width * height > most:
        raise DataError(f"it has {width:,} × {height:,} pixels{why or ','} more than the {most:,} that are read")
    if not width * height:
        raise DataError(f"it has no pixel: it is {width} × {height}")


def _size(path: Path) -> tuple[int, int]:
    """Width and height of what Pillow finds too large to open."""
    with path.open("rb") as file:
        start = file.read(16)
        for factory, accept in Image.OPEN.values():
            if accept and accept(start) is True:
                with contextlib.suppress(SyntaxError, ValueError, OSError, struct.error):
                    file.seek(0)
                    return factory(file, str(path)).size
    return 0, 0


def _orientation(picture: Image.Image) -> Any:
    """As EXIF's tag says, or None; TIFF files have been turned by Pillow, which forgets the tag then."""
    try:
        orientation = picture.getexif().get(ORIENTATION)
    except Exception:  # broken metadata is no reason to refuse a picture
        return None
    return orientation if isinstance(orientation, int) else None


def _extrema(picture: Image.Image) -> list[tuple[int, int]]:
    return [band.getextrema() for band in picture.split()]  # type: ignore[misc]


# Values of more than eight bits


def _tags(picture: Image.Image) -> Any:
    """TIFF's, by number; none for other files."""
    return getattr(picture, "tag_v2", {})


def _is_signed(picture: Image.Image) -> bool:
    """Whether eight bits have a sign, as TIFF's may, which Pillow does not mind."""
    return picture.mode == "L" and _tags(picture).get(FORMAT) == (2,)


def _deep(picture: Image.Image, declared: float) -> Image.Image:
    """Values of more than eight bits, of a sign or of a point, as ``"L"``; ``"LA"`` where one is transparent."""
    tags, values = _tags(picture), np.asarray(picture)
    signed = tags.get(FORMAT) == (2,) if tags else picture.mode == "I"
    bits = tags.get(BITS, (values.itemsize * 8,))[0]
    if signed and bits == 8:
        values = values.view(np.int8)
    elif picture.mode == "I" and not signed:
        values = values.view(np.uint32)  # Pillow takes them for signed ones
    is_float = values.dtype.kind == "f"
    full = SCALES[-1] if is_float else 2 ** (bits - signed) - 1
    white = _white(values, full, declared, OVERSHOOT if is_float else 1)
    grey = np.multiply(values, 255 / white, dtype=np.float32).round().clip(0, 255).astype(np.uint8)
    if tags.get(PHOTOMETRIC) == 0:
        grey = 255 - grey
    key = picture.info.get("transparency")
    if not isinstance(key, int):
        return Image.fromarray(grey)
    return Image.merge("LA", [Image.fromarray(grey), Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8))])


def _declared(picture: Image.Image) -> float:
    """The greatest value that the file says may occur; 0 where it says nothing. The picture is not loaded yet."""
    if picture.format == "PPM":  # what does not fill sixteen bits Pillow stretches; who writes 65535 may mean nothing
        return 0 if picture.mode == "F" or "I;16" in str(picture.tile[0]) else SCALES[-1]  # type: ignore[attr-defined]
    if picture.format == "PNG":
        return 2 ** _significant_bits(picture) - 1
    tags = _tags(picture)
    if tags.get(BITS) == (12,):
        return 4095
    found = [tags.get(tag) for tag in (SMAXIMUM, MAXIMUM)]
    numbers = [entry for value in found for entry in (value if isinstance(value, tuple) else (value,))]
    return max((float(number) for number in numbers if isinstance(number, (int, float))), default=0)


def _significant_bits(picture: Image.Image) -> int:
    """What PNG's sBIT says, or 0: Pillow leaves it out."""
    file = getattr(picture, "fp", None)
    if file is None:
        return 0
    here, bits = file.tell(), 0
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
        length = int.from_bytes(head[:4], "big")
        if head[4:] == b"sBIT" and length:
            bits = file.read(1)[0]
            break
        file.seek(length + 4, 1)
    file.seek(here)
    return bits if bits <= 16 else 0


def _white(values: np.ndarray, full: float, declared: float, overshoot: float) -> float:
    """Where white is. ``full``: the greatest value of the type; ``declared``: what the file says, or 0."""
    if not np.isfinite(values).all():
        raise DataError("it holds values that are no numbers (NaN or infinite)")
    low, high = float(values.min()), float(values.max())
    scales = [scale for scale in SCALES if scale < full] + [full]
    known = declared > 0 and high <= declared * overshoot
    white = next((scale for scale in scales if max(high, declared if known else 0) <= scale * overshoot), 0)
    if not white:
        raise DataError(f"its values go up to {high:g}, and where white is cannot be told")
    if low < (1 - overshoot) * white:
        raise DataError(f"its values go down to {low:g}, and where black is cannot be told")
    if known:
        return white
    if low == high:
        raise DataError(f"all its values are {low:g}, and where white is cannot be told")
    if white > 1 and high <= white / 4:
        raise DataError(f"its values go up to {high:g}, and where white is cannot be told")
    if high - low < white / 32:
        raise DataError(f"its values from {low:g} to {high:g} are next to alike, if {white:g} is white")
    return white


# Transparency


def _on_ground(picture: Image.Image) -> Image.Image:
    """Transparency laid on white or black, ``"RGB"``, see above."""
    if picture.mode == "La":
        picture = picture.convert("LA")
    picture = picture.convert("RGBA")
    alpha = np.asarray(picture.getchannel("A"))
    if not alpha.any():
        raise DataError("it is transparent all over")
    if alpha.min() == 255:
        return picture.convert("RGB")
    light = np.asarray(picture.convert("RGB").convert("L")) > 127
    seen = alpha > min(127, int(alpha.max()) // 2)
    share = float(light[seen].mean())
    if 0.005 < share < 0.995:
        hidden = np.pad(~seen, 1, constant_values=True)
        edge = seen & (hidden[:-2, 1:-1] | hidden[2:, 1:-1] | hidden[1:-1, :-2] | hidden[1:-1, 2:])
        ground = "white" if light[edge].mean() >= 0.5 else "black"
    else:
        ground = "white" if share < 0.5 else "black"
    return Image.alpha_composite(Image.new("RGBA", picture.size, ground), picture).convert("RGB")
