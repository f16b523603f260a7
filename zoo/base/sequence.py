"""How an example is read as a sequence: its rows, its columns or its pixels are the steps. And sequences as batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from zoo.base.memory import in_parts

READS = ("rows", "columns", "pixels")
LONGEST = 1 << 15  # steps, which are taken one after the other


class Steps:
    """The steps that a model reads in examples ``(C, H, W)``.

    Args:
        shape: of an example.
        reads: ``"rows"`` (H steps of C·W values), ``"columns"`` (W steps of C·H) or ``"pixels"`` (H·W steps of C);
            ``"auto"``: columns of recordings, which are time, and rows of all else.
        kind: of the examples.

    Attributes:
        count: how many steps there are.
        values: how many values a step has.

    Raises:
        ValueError: an unknown reading, or more than ``LONGEST`` steps.
    """

    def __init__(self, shape: tuple[int, int, int], reads: str, kind: str = "image") -> None:
        if reads not in ("auto", *READS):
            raise ValueError(f"reads must be one of auto, {', '.join(READS)}, not {reads!r}")
        if reads == "auto":
            reads = "columns" if kind == "sound" else "rows"
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


class Sequences(NamedTuple):
    """Some sequences of a set.

    Attributes:
        which: their numbers, ``(B,)``.
        steps: ``(B, T, D)``.
        seen: what is seen of the steps, bool ``(B, T, D)``; None: all.
        alive: which steps come before the last of which anything is seen, or are it, bool ``(B, T)``; None: all do.
    """

    which: Tensor
    steps: Tensor
    seen: Tensor | None
    alive: Tensor | None


def sequences(steps: Tensor, seen: Tensor | None, at_once: int) -> Iterator[Sequences]:
    """``at_once`` sequences at a time, those of a length together and cut to the longest of them; none of which nothing
    is seen."""
    if seen is None:
        for (index,) in in_parts(at_once, torch.arange(steps.shape[0], device=steps.device)):
            yield Sequences(index, steps[index], None, None)
        return
    alive = until_last(seen.any(2))
    length = alive.sum(1)
    order = length.argsort(stable=True)
    for index in order[length[order] > 0].split(at_once):
        if len(index):
            longest = int(length[index[-1]])
            yield Sequences(index, *(part[index, :longest] for part in (steps, seen, alive)))


def until_last(seen: Tensor) -> Tensor:
    """Which steps come before the last one that is ``seen``, or are it: bool ``(B, T)``."""
    return seen.int().flip(1).cummax(1).values.flip(1).bool() if seen.shape[1] else seen
