"""Pictures as grids of patches: row after row of them, a picture is a sequence."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

MOST = 12  # binary pixels of a patch: 4,096 different ones


class Patches:
    """Patches of a picture ``(C, H, W)``, of as many rows and columns each.

    Args:
        shape: of a picture.
        patch: its rows, which divide H, and its columns, which divide W.

    Attributes:
        grid: how many patches are below, and how many beside each other.
        count: T, how many patches a picture has.
        pixels: P, how many values each has.

    Raises:
        ValueError: patches that do not fit.
    """

    def __init__(self, shape: tuple[int, int, int], patch: Sequence[int]) -> None:
        if len(patch) != 2:
            raise ValueError(f"patch={list(patch)} must be two numbers, its rows and columns")
        channels, height, width = shape
        rows, columns = patch
        if min(rows, columns) < 1 or height % rows or width % columns:
            raise ValueError(
                f"patch=[{rows},{columns}] of {channels}×{height}×{width} pixels: patches are needed whose rows divide "
                "the height and whose columns divide the width"
            )
        self.shape, self.rows, self.columns = shape, rows, columns
        self.grid = height // rows, width // columns
        self.count, self.pixels = self.grid[0] * self.grid[1], channels * rows * columns

    def split(self, x: Tensor) -> Tensor:
        """Pictures ``(B, C, H, W)`` to the values of their patches, channel after channel and row after row,
        ``(B, H', W', P)``."""
        parts = x.unflatten(3, (-1, self.columns)).unflatten(2, (-1, self.rows))  # (B, C, H', r, W', c)
        return parts.permute(0, 2, 4, 1, 3, 5).flatten(3)

    def join(self, values: Tensor) -> Tensor:
        """The inverse of :meth:`split`."""
        parts = values.unflatten(3, (self.shape[0], self.rows, self.columns))
        return parts.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


class BinaryPatches(Patches):
    """Patches of binary pixels, each of which is one of V = 2^P tokens.

    Attributes:
        size: V.

    Raises:
        ValueError: patches that do not fit, or of more than ``MOST`` pixels.
    """

    def __init__(self, shape: tuple[int, int, int], patch: Sequence[int]) -> None:
        super().__init__(shape, patch)
        if self.pixels > MOST:
            raise ValueError(
                f"patch=[{self.rows},{self.columns}] of {'×'.join(map(str, shape))} pixels: patches of at most {MOST} "
                "binary values are needed"
            )
        self.size = 2**self.pixels

    def of(self, x: Tensor) -> Tensor:
        """Pictures ``(B, C, H, W)``, whose pixels are on where they are above 0, to tokens, int64 ``(B, T)``."""
        return number_of_bits(self.split(x > 0)).flatten(1)

    def picture(self, tokens: Tensor) -> Tensor:
        """The inverse of :meth:`of`: pixels of 0 and 1, float32."""
        return self.join(bits_of_number(tokens, self.pixels).unflatten(1, self.grid).float())


def number_of_bits(bits: Tensor) -> Tensor:
    """``(…, P)``, bool or numbers of which those above 0 are on, the lowest first, to int64 ``(…)``."""
    return ((bits > 0) * 2 ** torch.arange(bits.shape[-1], device=bits.device)).sum(-1)


def bits_of_number(numbers: Tensor, count: int) -> Tensor:
    """The inverse of :func:`number_of_bits`: bool ``(…, count)``."""
    return (numbers[..., None] & 2 ** torch.arange(count, device=numbers.device)) > 0


def turned(x: Tensor, orders: Tensor, count: int, back: bool = False) -> Tensor:
    """Pictures ``(B, C, H, W)`` as they are read in the order of each, ``(B,)``, one of ``count``, or ``back`` again.

    An order is whether columns are flipped, plus 2 where rows are, plus 4 where rows and columns are exchanged before.
    """
    result = x
    for order in range(1, count):  # no device is waited for
        moved = x.transpose(2, 3) if order & 4 and not back else x
        moved = moved.flip([axis for axis, bit in ((3, 1), (2, 2)) if order & bit])
        moved = moved.transpose(2, 3) if order & 4 and back else moved
        result = torch.where((orders == order)[:, None, None, None], moved, result)
    return result


def first_seen(seen: Tensor) -> Tensor:
    """Which patches stand before the first of which anything is hidden, bool ``(B, T)``, of pixels ``(B, T, P)``."""
    return seen.all(2).long().cumprod(1).bool()
