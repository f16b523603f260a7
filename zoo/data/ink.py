"""Where the ink is in a picture, however it is lit, and how training pictures of digits were framed.

A photograph shows ink on a ground that is neither black nor white, nor the same all over. Here the ground is what is
left of the picture where everything narrower than a third of it is taken away (a morphological closing of the light
round dark ink, an opening round light ink); the ink is how far the picture is from that, above the noise. What reaches
half the greatest distance is ink, and what hangs together with it at a quarter; specks are left out, and so is what
touches the picture's edge, a shadow or the end of the paper, if there is anything else. The ink is then stretched to
the full contrast and framed as MNIST's authors did: its longer side takes 20 of 28 pixels, its centre of mass is in the
middle (LeCun et al. 1998, Gradient-based learning applied to document recognition, section III.A).
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

SIDE = 224  # pixels of the longer side at which ink is looked for
BOX = 20 / 28  # of the frame, which the longer side of the ink takes
WIDTH = 0.08  # of the longer side of the ink: thinner strokes are drawn that wide
LEVELS = 6  # of 255: less contrast is no ink


def framed(picture: Image.Image, size: tuple[int, int], dark: bool | None) -> tuple[np.ndarray, bool] | None:
    """The ink of a grey picture, light on black, ``(H, W)`` uint8, and whether it was dark; None if there is none.

    ``dark``: whether to look for dark ink or light; None to see.
    """
    found = _find(picture, dark)
    if found is None:
        return None
    if max(picture.size) > SIDE:  # look again from nearer
        scale = max(picture.size) / SIDE
        left, top, right, bottom = _box(found[0])
        margin = 0.3 * max(right - left, bottom - top)
        corners = (
            max(int((left - margin) * scale), 0),
            max(int((top - margin) * scale), 0),
            min(int((right + margin) * scale) + 1, picture.width),
            min(int((bottom + margin) * scale) + 1, picture.height),
        )
        found = _find(picture.crop(corners), found[1]) or found
    ink, dark = found
    return _frame(ink, size), dark


def _find(picture: Image.Image, dark: bool | None) -> tuple[np.ndarray, bool] | None:
    """Ink in [0, 1], 0 elsewhere, at no more than ``SIDE`` pixels, and whether it is dark."""
    small = picture.copy()
    small.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    grey = np.asarray(small, np.float32)
    if dark is None:
        dark = _is_dark(grey)
    if not dark:
        grey = 255 - grey
    width = max(grey.shape) / 100
    smooth = ndimage.gaussian_filter(grey, width / 2) if width > 1 else grey
    window = max(min(grey.shape) // 3, 3)
    ground = ndimage.grey_closing(smooth, (window, window), mode="nearest")
    ground = ndimage.uniform_filter(ground, window, mode="nearest")
    depth = ground - smooth
    depth -= np.median(depth)
    noise = 1.4826 * float(np.median(np.abs(depth)))
    peak = float(np.percentile(depth, 99.95))
    if peak < max(LEVELS, 5 * noise):
        return None
    parts, count = ndimage.label(depth > max(peak / 4, 3 * noise), np.ones((3, 3)))
    index = np.arange(1, count + 1)
    mass = ndimage.sum_labels(depth, parts, index) * (ndimage.maximum(depth, parts, index) > peak / 2)
    at_edge = np.isin(index, np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    kept = mass > 0.05 * mass.max()
    if mass[~at_edge].max(initial=0) > 0.15 * mass.max():
        kept &= ~at_edge
    mask = np.isin(parts, index[kept])
    core = depth[mask]
    high = float(np.percentile(core[core > peak / 2], 75))
    low = min(2 * noise, 0.2 * high)
    mask = ndimage.binary_dilation(mask, iterations=max(round(width), 1))
    return ((depth - low) / (high - low)).clip(0, 1) * mask, dark


def _is_dark(grey: np.ndarray) -> bool:
    """Whether a picture shows something dark on light: what differs from a smooth ground is mostly darker."""
    border = np.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])
    low, high = np.percentile(border, [10, 90])
    if high - low < 0.1 * (grey.max() - grey.min()):
        return float(np.median(border)) > float(grey.mean())
    grey = grey[:: max(len(grey) // 48, 1), :: max(grey.shape[1] // 48, 1)]
    rows, columns = (np.linspace(-1, 1, n) for n in grey.shape)
    y, x = (axis.ravel() for axis in np.meshgrid(rows, columns, indexing="ij"))
    basis = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], 1)
    values = grey.ravel().astype(float)
    weights = np.ones_like(values)
    for _ in range(10):  # towards the least sum of distances, which few pixels of ink do not move
        root = np.sqrt(weights)
        rest = values - basis @ np.linalg.lstsq(basis * root[:, None], values * root, rcond=None)[0]
        weights = 1 / np.maximum(np.abs(rest), 1)
    return float((rest**3).sum()) < 0


def _box(ink: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is well inked."""
    rows, columns = (np.flatnonzero((ink > 0.3).any(axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _frame(ink: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Ink in its box of ``size``, see above, uint8."""
    left, top, right, bottom = _box(ink)
    longer = max(right - left, bottom - top)
    depth = ndimage.distance_transform_edt(ink > 0.5)
    lacking = round(WIDTH * longer - 4 * float(depth[depth > 0].mean()) + 2) if depth.any() else 0
    if lacking > 0:
        reach = np.hypot(*np.mgrid[-lacking : lacking + 1, -lacking : lacking + 1]) <= lacking / 2
        ink = ndimage.grey_dilation(ink, footprint=reach)
    scale = BOX * min(size) / longer
    box = (left, top, right, bottom)
    part = Image.fromarray(ink.astype(np.float32)).crop(box)
    small = part.resize(
        (max(round(part.width * scale), 1), max(round(part.height * scale), 1)), Image.Resampling.BICUBIC
    )
    values = np.asarray(small).clip(0, 1)
    total = values.sum()
    y, x = (float((values.sum(1 - axis) * np.arange(values.shape[axis])).sum() / total) for axis in (0, 1))
    frame = Image.new("L", size[::-1])
    corner = round(size[1] / 2 - x), round(size[0] / 2 - y)
    frame.paste(Image.fromarray((values * 255).round().astype(np.uint8)), corner)
    return np.asarray(frame)
