"""What takes the place of values that are not seen, where a model cannot integrate them out.

A hidden pixel is most like those around it: it becomes the mean of the seen ones of its 3×3 neighbourhood, or of the
next larger one in which any is seen. Entries of a table have no neighbours, and become their training mean.
"""

from __future__ import annotations

import torch
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
    observed = observed.expand_as(x)
    seen, filled = observed.flatten(0, 1), torch.where(observed, x, otherwise).flatten(0, 1)
    precise = torch.promote_types(x.dtype, torch.float32)
    values, ones = torch.where(observed, x, 0).flatten(0, 1).to(precise), seen.to(precise)
    gaps = ~seen & seen.flatten(1).any(1)[:, None, None]
    left, reach = gaps.flatten(1).any(1).nonzero()[:, 0], 1
    while len(left):
        down, across = (_band(size, reach, ones) for size in x.shape[2:])
        count = down @ ones[left] @ across
        mean = down @ values[left] @ across / count.clamp(min=1)
        mean = mean if x.is_floating_point() else mean.round()
        known = gaps[left] & (count > 0.5)
        filled[left] = torch.where(known, mean.to(x.dtype), filled[left])
        gaps[left] &= ~known
        left, reach = left[gaps[left].flatten(1).any(1)], reach + 1
    return filled.unflatten(0, x.shape[:2])


def _band(size: int, reach: int, like: Tensor) -> Tensor:
    """Which of ``size`` places in a line are within ``reach`` of which: ones and zeros, ``(size, size)``."""
    place = torch.arange(size, device=like.device)
    return ((place[:, None] - place).abs() <= reach).to(like.dtype)
