"""k-means: where mixtures and chains start from."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def kmeans(points: Tensor, k: int, generator: torch.Generator, steps: int = 100, restarts: int = 1) -> Tensor:
    """Centres ``(k, d)`` of ``points`` ``(n, d)``: seeds by k-means++, then at most ``steps`` of Lloyd's algorithm.

    Of several ``restarts`` the one with the least squared distance is kept. With fewer points than centres, points
    occur several times. Reference: Arthur & Vassilvitskii (2007), k-means++: The advantages of careful seeding.
    """
    best, least = points[:1].expand(k, -1), torch.inf
    for _ in range(restarts):
        centres = _seeds(points, k, generator)
        for _ in range(steps):
            members = torch.nn.functional.one_hot(nearest(points, centres), k).to(points.dtype)
            counts = members.sum(0)[:, None]
            moved = torch.where(counts > 0, members.T @ points / counts.clamp_min(1), centres)  # empty ones stay
            if torch.equal(moved, centres):
                break
            centres = moved
        inertia = float((points - centres[nearest(points, centres)]).square().sum())
        if inertia < least:
            best, least = centres, inertia
    return best


def group_centres(
    batches: Iterable[list[tuple[int, Tensor]]], none: Tensor, generator: torch.Generator, sample: int, steps: int
) -> Tensor:
    """Centres ``(M, k, d)`` of some points of each of M groups; ``none`` are those of a group without points.

    Args:
        batches: points ``(n, d)`` with the numbers of their groups. No more are read than are looked at.
        none: ``(M, k, d)``.
        generator: chooses points and seeds.
        sample: how many points of a group are looked at, of which a batch gives an eighth at most.
        steps: see :func:`kmeans`.
    """
    found: list[list[Tensor]] = [[] for _ in none]
    for batch in batches:
        for group, points in batch:
            chosen = torch.randperm(len(points), generator=generator, device=points.device)
            found[group].append(points[chosen[: sample // 8]])
        if all(sum(map(len, parts)) >= sample for parts in found):
            break
    centres = none.clone()
    for group, parts in enumerate(found):
        if parts:
            centres[group] = kmeans(torch.cat(parts)[:sample], none.shape[1], generator, steps)
    return centres


def nearest(points: Tensor, centres: Tensor) -> Tensor:
    """The index of each point's nearest centre, ``(n,)``."""
    return (centres.square().sum(1) - 2 * points @ centres.T).argmin(1)


def _seeds(points: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Points far apart: each is drawn with a probability proportional to the squared distance to those before."""
    first = torch.randint(len(points), (1,), generator=generator, device=points.device)
    chosen = [points[first[0]]]
    distance = (points - chosen[0]).square().sum(1)
    for _ in range(k - 1):
        weights = distance if distance.sum() > 0 else torch.ones_like(distance)
        cumulative = weights.double().cumsum(0)
        draw = torch.rand((1,), generator=generator, dtype=torch.float64, device=points.device) * cumulative[-1]
        index = torch.searchsorted(cumulative, draw, right=True).clamp_max(len(points) - 1)
        chosen.append(points[index[0]])
        distance = torch.minimum(distance, (points - chosen[-1]).square().sum(1))
    return torch.stack(chosen)
