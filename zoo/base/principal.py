"""Principal directions of data that comes in batches."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def principal_directions(
    batches: Iterable[tuple[Tensor, Tensor]], like: Tensor, size: int
) -> tuple[Tensor, Tensor | None, Tensor | None, int]:
    """Mean and main directions of examples, by one pass over them; sums are in float64.

    Args:
        batches: ``(x, labels)``; labels are not looked at.
        like: has an example's number of values D, the dtype and the device of the mean.
        size: how many directions to find; 0 for none.

    Returns:
        The mean ``(D,)``; unit vectors ``(D, size)``, the direction of the largest variance first, whose largest entry
        is positive, and the variances ``(D - size,)`` that they leave over, float64, both None for ``size=0``; and the
        number of examples.

    Raises:
        ValueError: there is no example.
    """
    first = torch.zeros(len(like), dtype=torch.float64, device=like.device)
    second = torch.zeros(len(like), len(like) if size else 0, dtype=torch.float64, device=like.device)
    middle, count = first, 0
    for x, _ in batches:
        values = x.flatten(1)
        middle = middle if count else values.mean(0).double()
        values = values - middle.to(x.dtype)  # near the mean, so that second moments lose no digits
        first += values.sum(0, dtype=torch.float64)
        if size:
            second += values.T @ values
        count += len(x)
    if not count:
        raise ValueError("there is no image to start from")
    first /= count
    mean = middle.to(like.dtype).double() + first
    if not size:
        return mean, None, None, count
    variances, vectors = torch.linalg.eigh(second / count - torch.outer(first, first))
    chosen = vectors[:, -size:].flip(1)
    sign = chosen.gather(0, chosen.abs().argmax(0, keepdim=True)).sign()  # eigenvectors have none of their own
    return mean, chosen * sign, variances[:-size], count
