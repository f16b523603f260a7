"""Particles: draws that are weighted against each other as more is known of them, of several examples at a time.

Those of an example stand in succession, as many of each. Reference: Doucet & Johansen (2009), A tutorial on particle
filtering and smoothing.
"""

from __future__ import annotations

import torch
from torch import Tensor


def resampled(log_weights: Tensor, count: int, generator: torch.Generator | None = None) -> Tensor:
    """Which particles ``count`` draws in proportion to their weights are, int64 ``(B, count)``, of ``(B, S)``.

    The draws are systematic, from one random number for each example: a particle of weight w is drawn count · w times,
    rounded up or down: none is drawn twice where all weigh the same and ``count`` is at most S. In random order.
    """
    if not len(log_weights):
        return log_weights.new_zeros(0, count, dtype=torch.long)
    heights = log_weights.double().softmax(1).cumsum(1)
    start, order = torch.rand(2, len(heights), count, generator=generator, device=heights.device, dtype=heights.dtype)
    steps = torch.arange(count, device=heights.device)
    drawn = torch.searchsorted(heights, (start[:, :1] + steps) / count).clamp_max(heights.shape[1] - 1)
    return drawn.gather(1, order.argsort(1))


def survivors(
    log_weights: Tensor, particles: int, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor] | None:
    """Which particles go on, int64 ``(N,)``, and which of these weigh the same from now on, bool ``(N,)``.

    Where the effective number of an example's, 1 / Σ w², is below half of them, they are :func:`resampled`; the others
    are as they are. None where no example's is.
    """
    weights = log_weights.view(-1, particles)
    worn = weights.softmax(1).square().sum(1) * particles > 2
    if not bool(worn.any()):
        return None
    own = torch.arange(particles, device=worn.device)
    first = torch.arange(len(worn), device=worn.device)[:, None] * particles
    index = torch.where(worn[:, None], resampled(weights, particles, generator), own) + first
    return index.flatten(), worn.repeat_interleave(particles)
