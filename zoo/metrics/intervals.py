"""How sure a mean is, from a few repetitions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.special import stdtr, stdtrit


def mean_interval(values: Sequence[float], level: float = 0.95, error: float = 0.0) -> tuple[float, float]:
    """Student's t interval of the mean of independent, roughly normal values.

    It holds the true mean with probability ``level``. Unbounded for one value, NaN where a value is not finite.

    Args:
        values: the repetitions.
        level: of the interval.
        error: a standard error that all of them share, such as that of test images which are the same in each: more
            repetitions do not make it smaller. Degrees of freedom are then Welch's and Satterthwaite's.

    References: Student (1908), The probable error of a mean; Satterthwaite (1946), An approximate distribution of
    estimates of variance components.
    """
    if not values or not all(math.isfinite(value) for value in values):
        return math.nan, math.nan
    if len(values) == 1:
        return -math.inf, math.inf
    mean, spread, freedom = _mean(values, error)
    half = float(stdtrit(freedom, (1 + level) / 2)) * spread if spread else 0.0
    return mean - half, mean + half


def chance_above(values: Sequence[float], threshold: float, error: float = 0.0) -> float:
    """One-sided p-value of a mean above a threshold: how probable a mean at least so large is, were the true mean at
    ``threshold``, by the distribution of :func:`mean_interval`. 1 where one value, or one that is not finite, tells
    nothing."""
    if len(values) < 2 or not all(math.isfinite(value) for value in values):
        return 1.0
    mean, spread, freedom = _mean(values, error)
    if spread == 0:
        return 0.0 if mean > threshold else 1.0
    return float(stdtr(freedom, (threshold - mean) / spread))


def _mean(values: Sequence[float], error: float) -> tuple[float, float, float]:
    """The mean of two values or more, its standard error, and the degrees of freedom of that."""
    n = len(values)
    mean = sum(values) / n
    of_values = sum((value - mean) ** 2 for value in values) / (n - 1) / n
    variance = of_values + error**2
    freedom = (n - 1) * (variance / of_values) ** 2 if of_values > 0 else math.inf
    return mean, math.sqrt(variance), min(freedom, 1e9)
