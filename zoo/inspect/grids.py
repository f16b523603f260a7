"""Pictures made of pixels alone: grids of images, maps of points. Quick enough to be drawn each epoch.

A picture is uint8, ``(H, W, 1)`` or ``(H, W, 3)``. Matplotlib takes a fifth of a second for one, these a few
milliseconds.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from zoo.data.kinds.image import encode

MARGIN, LETTER, LINE = 4, 12, 16  # pixels: around all, height of letters, from line to line
SIDE = 48  # pixels that a small image is enlarged to, at least
COLORS = (  # of ten classes that are easily told apart; more classes begin again
    (31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189),
    (140, 86, 75), (227, 119, 194), (127, 127, 127), (188, 189, 34), (23, 190, 207),
)  # fmt: skip


def grid(images: Tensor, rows: Sequence[str] = ()) -> Tensor:
    """Images ``(R, K, C, H, W)`` in [0, 1] as a picture with a name before each row, if any.

    Small ones are enlarged by a whole number, so that a pixel stays a square. Of channels that are no colours the first
    one is shown.
    """
    channels, height, width = images.shape[2:]
    scale = -(-SIDE // max(height, width))
    images = encode(images.detach().cpu())
    images = images if channels == 3 else images[:, :, :1]
    images = images.repeat_interleave(scale, 3).repeat_interleave(scale, 4)
    gap = max(2, scale)
    canvas = mosaic(images, gap, gap, 255)[gap:]
    left = max((_width(name) for name in rows), default=0) + (MARGIN if rows else 0)
    canvas = torch.nn.functional.pad(canvas, (0, 0, MARGIN + left, MARGIN, MARGIN, MARGIN), value=255)
    pitch = height * scale + gap
    words = [
        (MARGIN, MARGIN + number * pitch + (height * scale - LETTER) // 2, name) for number, name in enumerate(rows)
    ]
    return _written(canvas, words)


def in_rows(images: Tensor, columns: int) -> Tensor:
    """Images ``(N, C, H, W)`` as ``(R, columns, C, H, W)``; what the last row lacks is white."""
    lacking = images.new_ones(-len(images) % columns, *images.shape[1:])
    return torch.cat([images, lacking]).unflatten(0, (-1, columns))


def mosaic(images: Tensor, gap: int, above: int, value: float) -> Tensor:
    """Images ``(R, K, C, H, W)`` as one, ``(h, w, C)``, in rows and columns: ``gap`` pixels of ``value`` are between
    columns, ``above`` pixels above each row."""
    padded = torch.nn.functional.pad(images, (0, gap, above, 0), value=value)
    return padded.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)[:, :-gap]


def scatter(points: Tensor, labels: Tensor, names: Sequence[str], title: str, size: int = 440) -> Tensor:
    """Points ``(N, 2)`` in a square picture, coloured by their labels ``(N,)``, with a title and a legend.

    Both axes have the same scale, so that distances are what they look like.
    """
    points = points.detach().double().cpu()
    low, high = points.amin(0), points.amax(0)
    extent = float((high - low).max().clamp_min(1e-12))
    places = ((points - (low + high) / 2) / extent + 0.5) * (size - 2 * MARGIN) + MARGIN
    shown = labels.unique().tolist()
    right = max([_width(names[label]) for label in shown]) + LINE + 2 * MARGIN
    height = max(size, LINE * len(shown)) + LINE + MARGIN
    image = Image.new("RGB", (max(size + right, _width(title) + 2 * MARGIN), height), "white")
    draw = ImageDraw.Draw(image)
    draw.text((MARGIN, MARGIN), title, "black", _font())
    top = LINE + MARGIN
    for (x, y), label in zip(places.tolist(), labels.tolist(), strict=True):
        y = top + size - y  # upwards, as in a graph
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), COLORS[label % len(COLORS)])
    for line, label in enumerate(shown):
        y = top + line * LINE
        draw.ellipse((size + 4, y + 4, size + 12, y + 12), COLORS[label % len(COLORS)])
        draw.text((size + LINE, y), names[label], "black", _font())
    return _tensor(image)


def png(picture: Tensor) -> bytes:
    """A picture as the content of a PNG file."""
    file = io.BytesIO()
    _image(picture).save(file, format="png", compress_level=3)  # twice as quick as 6, a tenth larger
    return file.getvalue()


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(LETTER)


def _width(text: str) -> int:
    return int(_font().getlength(text)) + 1


def _written(canvas: Tensor, words: Sequence[tuple[int, int, str]]) -> Tensor:
    """Black words at ``(x, y)`` of their top left corners."""
    if not words:
        return canvas
    image = _image(canvas)
    draw = ImageDraw.Draw(image)
    for x, y, word in words:
        draw.text((x, y), word, "black", _font())
    return _tensor(image)


def _image(picture: Tensor) -> Image.Image:
    return Image.fromarray((picture[..., 0] if picture.shape[2] == 1 else picture).numpy())


def _tensor(image: Image.Image) -> Tensor:
    return torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(image.height, image.width, -1)
