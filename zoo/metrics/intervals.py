"""How sure a mean is, from a few repetitions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.special import stdtrit


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Student's t interval of the mean of independent, roughly normal values.

    It holds the true mean with probability ``level``. Unbounded for one value, NaN where a value is not finite.

    References: Student (1908), The probable error of a mean.
    """
    n = len(values)
    if n == 0 or not all(math.isfinite(value) for value in values):
        return math.nan, math.nan
    if n == 1:
        return -math.inf, math.inf
    mean = sum(values) / n
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    half = float(stdtrit(n - 1, (1 + level) / 2)) * deviation / math.sqrt(n)
    return mean - half, mean + half
