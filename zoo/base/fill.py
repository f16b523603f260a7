"""What takes the place of values that are not seen, where a model cannot integrate them out.

A hidden pixel is most like those around it: it becomes the mean of the seen ones of its 3×3 neighbourhood, or of the
next larger one in which any is seen. Entries of a table have no neighbours, and become their training mean.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.errors import ZooError, did_you_mean
from zoo.spec import DataSpec

FILLS = ("local", "mean")


def filling(word: str | None, spec: DataSpec) -> str:
    """How values of such data are filled in: as the ``word`` says, or without one with the local mean in pictures, and
    with the training mean elsewhere. Raises ``ZooError`` for a word that is none of :data:`FILLS`, or does not fit."""
    if word is None:
        return "local" if spec.kind == "image" else "mean"
    if word not in FILLS:
        raise ZooError(f"unknown fill {word!r}: {did_you_mean(str(word), FILLS, 'fills')}")
    if spec.values == "counts":
        raise ZooError(f"fill={word} takes the place of what is missing, and a hidden word of a text leaves no place")
    if spec.values == "tokens":
        raise ZooError(f"fill={word} takes the place of what is missing, and symbols of a text have no mean")
    if word == "local":
        spec.check_kind("image", "fill=local is the mean of the pixels around")
    return word


def local_mean(x: Tensor, observed: Tensor, otherwise: Tensor) -> Tensor:
    """Images with each hidden value replaced by the mean of the seen ones around it, channel by channel.

    Around it are 3×3 pixels, or 5×5, 7×7, … where none of the fewer ones is seen: the first window that shows
    anything. Hidden values are never read.

    Args:
        x: ``(B, C, H, W)``; means of whole numbers are rounded.
        observed: bool, broadcastable to ``x``.
        otherwise: broadcastable to ``x``: what images become of which nothing is seen.
    """
    if x.device.type == "mps":  # which has no float64
        return local_mean(x.cpu(), observed.cpu(), otherwise.cpu()).to(x.device)
    filled, values = torch.where(observed, x, otherwise), torch.where(observed, x, 0)
    masks = observed.shape[-3] if observed.dim() > 2 else 1  # one for all channels, or one each
    seen = observed.expand(len(x), masks, *x.shape[2:])
    precise = torch.promote_types(x.dtype, torch.float32)
    count, total = (F.avg_pool2d(part.to(precise), 3, 1, 1, divisor_override=1) for part in (seen, values))
    near = ~seen & (count > 0.5)
    filled = torch.where(near, _as(x, total / count.clamp_min(1)), filled)
    far = ~seen & ~near & seen.flatten(2).any(2)[..., None, None]
    left = far.flatten(1).any(1).nonzero()[:, 0]
    if len(left):
        filled[left] = _from_far(filled[left], values[left], seen[left], far[left])
    return filled


def _as(x: Tensor, mean: Tensor) -> Tensor:
    return (mean if x.is_floating_point() else mean.round()).to(x.dtype)


def _from_far(filled: Tensor, values: Tensor, seen: Tensor, far: Tensor) -> Tensor:
    """``filled``, with the pixels that are ``far`` from all that is seen replaced: ``seen`` and ``far`` are bool
    ``(B, M, H, W)``, M the channels or 1, and something is seen of each such image and mask."""
    (channels, height, width), masks = filled.shape[1:], seen.shape[1]
    image, mask, row, column = far.nonzero(as_tuple=True)
    counts, sums = _table(seen.int()), _table(values.double() if values.is_floating_point() else values.long())
    size = (height + 1) * (width + 1)
    first = (image * masks + mask) * size
    reach = _reach(counts, first, row, column)
    corners = _corners(reach, row, column, height, width)
    count = _within(counts, corners, first).double()
    of_mask: list[Tensor | int] = [mask] if masks == channels else [*range(channels)]
    for channel in of_mask:
        mean = _within(sums, corners, (image * channels + channel) * size) / count
        filled[image, channel, row, column] = _as(filled, mean)
    return filled


def _table(values: Tensor) -> Tensor:
    """Sums over all that is above and to the left, ``(B, C, H + 1, W + 1)`` (Crow 1984, Summed-area tables)."""
    dtype = values.dtype
    return F.pad(values.cumsum(2, dtype=dtype).cumsum(3, dtype=dtype), (1, 0, 1, 0))


def _reach(counts: Tensor, first: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """How far the least window reaches in which any is seen, more than 1, around each pixel, ``(N,)``: by halving."""
    height, width = (size - 1 for size in counts.shape[2:])
    low, high = torch.ones_like(row), torch.full_like(row, max(height, width) - 1)  # nothing, and something is seen
    for _ in range(max(height, width).bit_length()):
        middle = (low + high) // 2
        some = _within(counts, _corners(middle, row, column, height, width), first) > 0
        high = torch.where(some, middle, high)
        low = torch.where(some, low, middle)
    return high


def _corners(reach: Tensor, row: Tensor, column: Tensor, height: int, width: int) -> tuple[Tensor, ...]:
    """Where a flat table holds the four sums that a window is made of, ``(N,)`` each."""
    top, bottom = ((row - reach).clamp_min(0), (row + reach + 1).clamp_max(height))
    left, right = (column - reach).clamp_min(0), (column + reach + 1).clamp_max(width)
    return tuple(y * (width + 1) + x for y, x in ((bottom, right), (top, right), (bottom, left), (top, left)))


def _within(table: Tensor, corners: tuple[Tensor, ...], first: Tensor) -> Tensor:
    """The sums of windows, ``(N,)``, of images whose tables begin at ``first``."""
    lower, upper, before, corner = (table.flatten()[first + place] for place in corners)
    return lower - upper - before + corner
