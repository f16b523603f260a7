"""Which classes samples fall into, and how evenly, as a classifier sees them."""

from __future__ import annotations

from torch import Tensor

COVERED = 0.1  # of a class's share of the real images


def class_shares(predicted: Tensor, num_classes: int) -> Tensor:
    """The share of each class among labels ``(N,)`` int64: ``(K,)`` float64, sums to 1."""
    counts = predicted.cpu().bincount(minlength=num_classes).double()
    return counts / counts.sum()


def modes_covered(shares: Tensor, real: Tensor, covered: float = COVERED) -> int:
    """The number of classes whose share of the samples is at least ``covered`` times that of the real images.

    Both ``(K,)``, see :func:`class_shares`; classes without real images do not count.
    """
    return int(((shares >= covered * real) & (real > 0)).sum())


def class_divergence(shares: Tensor, real: Tensor) -> float:
    """KL(samples ‖ real) of two histograms of classes ``(K,)``, in nats.

    0 if they are equal, infinite if samples are of a class that no real image is of.
    """
    present = shares > 0
    return float((shares * (shares / real).log())[present].sum())
