"""What fits into memory: how many examples at a time, and whether a model does, told before it is allocated."""

from __future__ import annotations

import os
from collections.abc import Iterator

import torch
from torch import Tensor

from zoo.errors import ConfigError

VALUES = 1 << 22  # of examples that are worked on together, 16 MB in float32; networks make much more of them
LEAST = 8e9  # bytes that a training may need on any machine


def at_once(most: int, values: int) -> int:
    """How many examples of so many ``values`` to work on at a time, ``most`` at most."""
    return max(1, min(most, VALUES // max(values, 1)))


def in_parts(size: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """``size`` rows of each of ``tensors`` at a time; all of them at once where a program is recorded, to be one of any
    number of rows (how many a tensor has, ``len`` tells such a program once and for all, and ``shape[0]`` does not)."""
    if torch.compiler.is_exporting():
        return iter([tensors])
    return zip(*(tensor.split(size) for tensor in tensors), strict=True)


def budget() -> float:
    """How many bytes a training may need: a third of the machine's memory, and 8 GB in any case."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not every system tells
        memory = 0
    return max(LEAST, memory / 3)


def require(needed: float, what: str, instead: str) -> None:
    """Raise ``ConfigError`` where ``what`` needs so many bytes, and they are too many; ``instead`` says what to do."""
    allowed = budget()
    if needed > allowed:
        raise ConfigError(
            f"{what} would need about {needed / 1e9:,.0f} GB of memory, where {allowed / 1e9:.0f} GB are there to "
            f"take: {instead}"
        )
