"""The kernel distance between two sets of features: the squared maximum mean discrepancy.

MMD² = E k(x, x') + E k(y, y') − 2 E k(x, y),   k(x, y) = (x·y / D + 1)³

(Gretton et al. 2012, A Kernel Two-Sample Test, eq. 3; Bińkowski et al. 2018, Demystifying MMD GANs, section 4.) It
assumes no normal distribution, and its estimate is unbiased at any number of images: where both sets come from the same
source it is as often below zero as above.
"""

from __future__ import annotations

from torch import Tensor

from zoo.errors import ZooError

ROWS = 256  # of a block of the kernel matrix


def kernel_distance(first: Tensor, second: Tensor) -> float:
    """The unbiased estimate of MMD² from all pairs of two sets of features ``(N, D)`` and ``(M, D)``; symmetric.

    Of all pairs, in blocks, not of random subsets: there is nothing to seed, and the estimate varies least. Raises
    ``ZooError`` for fewer than two rows.
    """
    if min(len(first), len(second)) < 2:
        raise ZooError(f"the kernel distance needs two images at least, not {min(len(first), len(second))}")
    first, second = (features.cpu().double() for features in (first, second))  # not every accelerator has float64
    return _within(first) + _within(second) - 2 * _total(first, second) / (len(first) * len(second))


def _kernel(products: Tensor, dimension: int) -> Tensor:
    base = products / dimension + 1
    return base * base * base  # a power is slower


def _total(x: Tensor, y: Tensor) -> float:
    return sum(float(_kernel(rows @ y.T, x.shape[1]).sum()) for rows in x.split(ROWS))


def _within(x: Tensor) -> float:
    """The mean of k(x, x') over pairs of different rows."""
    own = float(_kernel(x.square().sum(1), x.shape[1]).sum())
    return (_total(x, x) - own) / (len(x) * (len(x) - 1))
