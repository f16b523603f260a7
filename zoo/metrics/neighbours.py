"""Quality, variety and originality of samples, from distances between neighbours.

Each image of a set owns the ball around it that reaches to its k-th nearest neighbour in the set; the balls of a set
are its support.

- precision: the share of samples in the support of the real images (quality); recall: the share of real images in the
  support of the samples (variety). Kynkäänniemi et al. 2019, Improved Precision and Recall Metric, eq. 2, k = 3.
- density: the mean number of real balls that a sample lies in, over k, which an outlier's large ball sways less than
  precision, and which may exceed 1; coverage: the share of real balls that hold a sample. Naeem et al. 2020, Reliable
  Fidelity and Diversity Metrics, eq. 3 and 5, k = 5.
- nearest: how far samples are from the training images, which tells whether they are copies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from zoo.errors import ZooError

PRECISION_K = 3
DENSITY_K = 5
COPY_RATIO = 1 / 3
BLOCK = 2 * 1024 * 1024  # distances that are held at a time
NEAREST_BLOCK = 8 * BLOCK  # where nothing else is


def radii(features: Tensor, k: int) -> Tensor:
    """The distance of each row of ``features`` ``(N, D)`` to its k-th nearest other row, ``(N,)`` float64.

    Raises ``ZooError`` where there are not more than k rows.
    """
    if len(features) <= k:
        raise ZooError(f"the {k}-th nearest neighbour needs more than {k} images, not {len(features)}")
    features = features.cpu().double()  # not every accelerator has float64
    parts = []
    for start, distances in _blocks(features, features):
        rows = torch.arange(len(distances))
        distances[rows, start + rows] = math.inf  # not its own neighbour
        parts.append(distances.topk(k, 1, largest=False)[0][:, -1])
    return torch.cat(parts)


def nearest(points: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` nearest other rows of each of ``points`` ``(N, D)``: their numbers and squared distances, both
    ``(N, count)``, the nearest first. Distances are rounded as products of float32 are."""
    norms = points.square().sum(1)
    rows = max(NEAREST_BLOCK // len(points), 1)
    found = []
    for start in range(0, len(points), rows):
        part = points[start : start + rows]
        squared = torch.addmm(norms, part, points.T, alpha=-2) + part.square().sum(1, keepdim=True)
        own = torch.arange(len(part))
        squared[own, start + own] = math.inf
        found.append(squared.topk(count, 1, largest=False))
    squared, index = (torch.cat(parts) for parts in zip(*found, strict=True))
    return index, squared.clamp_min(0)


def precision_recall(
    real: Tensor, samples: Tensor, k: int = PRECISION_K, real_radii: Tensor | None = None
) -> tuple[float, float]:
    """Precision and recall in [0, 1] of ``samples`` ``(M, D)`` as a stand-in for ``real`` ``(N, D)`` features.

    They depend on the numbers of images: compare figures of the same N and M. ``real_radii`` are ``radii(real, k)``,
    computed if left out. Raises ``ZooError`` where either set has no more than k rows.
    """
    real_radii = radii(real, k) if real_radii is None else real_radii
    sample_radii = radii(samples, k)
    inside, reached = 0, torch.zeros(len(real), dtype=torch.bool)
    for start, distances in _blocks(samples.cpu().double(), real.cpu().double()):
        inside += int((distances <= real_radii).any(1).sum())
        reached |= (distances <= sample_radii[start : start + len(distances), None]).any(0)
    return inside / len(samples), int(reached.sum()) / len(real)


def density_coverage(
    real: Tensor, samples: Tensor, k: int = DENSITY_K, real_radii: Tensor | None = None
) -> tuple[float, float]:
    """Density in [0, ∞) and coverage in [0, 1] of ``samples`` ``(M, D)`` as a stand-in for ``real`` ``(N, D)``.

    Samples from the distribution of the real images have an expected density of 1 and a coverage of 1 − 2^−k or so at
    N = M. ``real_radii`` are ``radii(real, k)``, computed if left out. Raises ``ZooError`` where ``real`` has no more
    than k rows.
    """
    real_radii = radii(real, k) if real_radii is None else real_radii
    counts = torch.zeros(len(real), dtype=torch.long)  # samples in each real ball
    for _, distances in _blocks(samples.cpu().double(), real.cpu().double()):
        counts += (distances <= real_radii).sum(0)
    return float(counts.sum()) / (k * len(samples)), float((counts > 0).double().mean())


def nearest_two(queries: Tensor, reference: Tensor) -> Tensor:
    """Euclidean distances of ``queries`` ``(M, D)`` to their two nearest rows of ``reference`` ``(N, D)``: ``(M, 2)``.

    Exact for the rows found: a copy is at distance 0. Rows may be of any shape and are flattened; ``reference`` may be
    uint8 grey levels, which stand for values in [0, 1]. Raises ``ZooError`` for fewer than two reference rows.
    """
    if len(reference) < 2:
        raise ZooError(f"two nearest images need two images at least, not {len(reference)}")
    queries, reference = queries.flatten(1).cpu().float(), reference.flatten(1).cpu()
    found: list[Tensor] = []
    scale = 255 if reference.dtype == torch.uint8 else 1
    for part in reference.split(8192):  # uint8 grey levels as float32 would be 190 MB of MNIST
        rows = part.float() / scale
        norms = rows.square().sum(1)
        chosen, size = [], min(2, len(rows))
        for chunk in queries.split(max(BLOCK // len(rows), 1)):
            near = torch.addmm(norms, chunk, rows.T, alpha=-2).topk(size, 1, largest=False)[1]
            chosen.append(torch.stack([(chunk - rows[near[:, i]]).square().sum(1) for i in range(size)], 1))
        found.append(torch.cat(chosen))
    return torch.cat(found, 1).topk(2, 1, largest=False)[0].sqrt()


def copies(distances: Tensor, ratio: float = COPY_RATIO) -> float:
    """The share of images that are copies of a training image, from the distances of :func:`nearest_two`.

    A copy is at most a third as far from the nearest training image as from the second nearest (Yoon et al. 2023,
    Diffusion Probabilistic Models Generalize when They Fail to Memorize, section 3): a criterion without a scale, so
    that simple images, which are near to many, are not taken for copies.
    """
    return float((distances[:, 0] <= ratio * distances[:, 1]).double().mean())


def _blocks(x: Tensor, y: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Euclidean distances ``(rows, len(y))`` of some rows of ``x`` at a time to all of ``y``, and the first row."""
    rows = max(BLOCK // len(y), 1)
    for start in range(0, len(x), rows):
        yield start, torch.cdist(x[start : start + rows], y)
