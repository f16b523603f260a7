"""How an example is read as a sequence: its rows, its columns or its pixels are the steps."""

from __future__ import annotations

from torch import Tensor

READS = ("rows", "columns", "pixels")
LONGEST = 1 << 15  # steps, which are taken one after the other


class Steps:
    """The steps that a model reads in examples ``(C, H, W)``.

    Args:
        shape: of an example.
        reads: ``"rows"`` (H steps of C·W values), ``"columns"`` (W steps of C·H) or ``"pixels"`` (H·W steps of C).

    Attributes:
        count: how many steps there are.
        values: how many values a step has.

    Raises:
        ValueError: an unknown reading, or more than ``LONGEST`` steps.
    """

    def __init__(self, shape: tuple[int, int, int], reads: str) -> None:
        if reads not in READS:
            raise ValueError(f"reads must be one of {', '.join(READS)}, not {reads!r}")
        channels, height, width = shape
        self.shape, self.reads = shape, reads
        self.count, self.values = {
            "rows": (height, channels * width),
            "columns": (width, channels * height),
            "pixels": (height * width, channels),
        }[reads]
        if self.count > LONGEST:
            raise ValueError(
                f"reads={reads} of {self.count:,} steps takes too long, one step after the other, with more than "
                f"{LONGEST:,}: model.reads=rows or columns, or a smaller data.image_size"
            )

    def of(self, x: Tensor) -> Tensor:
        """Examples ``(B, C, H, W)`` to their steps, ``(B, count, values)``."""
        if self.reads == "pixels":
            return x.flatten(2).transpose(1, 2)
        return x.permute((0, 2, 1, 3) if self.reads == "rows" else (0, 3, 1, 2)).flatten(2)

    def example(self, steps: Tensor) -> Tensor:
        """The inverse of :meth:`of`; leading dimensions before B are kept."""
        channels, height, width = self.shape
        if self.reads == "pixels":
            return steps.transpose(-1, -2).unflatten(-1, (height, width))
        lines = steps.unflatten(-1, (channels, -1)).transpose(-2, -3)  # (C, T, values of a channel)
        return lines if self.reads == "rows" else lines.transpose(-1, -2)
