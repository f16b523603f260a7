"""Pictures of binary pixels as sequences: patches are the tokens, row after row of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

MOST = 12  # pixels of a patch: 4,096 tokens


class Patches:
    """Patches of a picture ``(C, H, W)``, each of which is one of 2^(C · rows · columns) tokens.

    Args:
        shape: of a picture.
        patch: its rows, which divide H, and its columns, which divide W.

    Attributes:
        count: T, how many patches a picture has.
        size: V, how many different ones there are.

    Raises:
        ValueError: patches that do not fit, or of more than ``MOST`` pixels.
    """

    def __init__(self, shape: tuple[int, int, int], patch: Sequence[int]) -> None:
        channels, height, width = shape
        if len(patch) != 2:
            raise ValueError(f"patch={list(patch)} must be two numbers, its rows and columns")
        rows, columns = patch
        if min(rows, columns) < 1 or height % rows or width % columns or channels * rows * columns > MOST:
            raise ValueError(
                f"patch=[{rows},{columns}] of {channels}×{height}×{width} pixels: patches of at most {MOST} values are "
                "needed, whose rows divide the height and whose columns divide the width"
            )
        self.shape, self.rows, self.columns = shape, rows, columns
        self.pixels = channels * rows * columns
        self.count, self.size = (height // rows) * (width // columns), 2**self.pixels

    def of(self, x: Tensor) -> Tensor:
        """Pictures ``(B, C, H, W)``, whose pixels are on where they are above 0, to tokens, int64 ``(B, T)``."""
        parts = (x > 0).unflatten(3, (-1, self.columns)).unflatten(2, (-1, self.rows))  # (B, C, H', r, W', c)
        bits = parts.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
        return (bits * self._places(x.device)).sum(2)

    def picture(self, tokens: Tensor) -> Tensor:
        """The inverse of :meth:`of`: pixels of 0 and 1, float32."""
        channels, height, width = self.shape
        bits = (tokens[:, :, None] & self._places(tokens.device)) > 0
        parts = bits.view(len(tokens), height // self.rows, width // self.columns, channels, self.rows, self.columns)
        return parts.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3).float()

    def _places(self, device: torch.device) -> Tensor:
        return 2 ** torch.arange(self.pixels, device=device)
