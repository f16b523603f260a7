"""What a claim is: a statement of the literature, how it is measured here, and the rule by which it is judged.

A claim is a module of :mod:`zoo.textbook.claims`, found by its name, with

======================  ===============================================================================================
``CLAIM``               a :class:`Claim`
``cases(suite)``        what is measured, for ``"textbook"`` and for ``"quick"``: a list of :class:`Case`
``measure(case, lab)``  parameters of a case to its measurements, plain numbers, strings and lists of them
``findings(rows)``      measured rows to a list of :class:`Finding`: what each says, and the threshold it is judged by
``figures(rows)``       measured rows to figures of one panel each, by name
======================  ===============================================================================================

A row is a dict with a case's parameters and its measurements. Values are repeated over seeds, which draw all that is
random: training images, the start, the order, noise, and test images where not all are asked. Where the same test
images serve all seeds, their sampling error is part of the interval, see :func:`sampling_error`; the protocol says of
which quantities it is not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.metrics.intervals import chance_above, mean_interval

if TYPE_CHECKING:
    from torch import Tensor

Row = dict[str, Any]

SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE = "supported", "not supported", "inconclusive"
MEASURED = "measured"  # a finding that judges nothing
VERDICTS = (SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE)
LEVEL = 0.95  # of intervals
WRONG = "wrong"  # the measurement that lists test images
RULE = (
    "A finding is supported where the whole 95 % interval (Student's t over seeds; where the same test images serve "
    "all of them, with the error of sampling these, unless the protocol says otherwise) lies on the stated side of its "
    "threshold, not supported where the whole interval lies on the other side, and inconclusive otherwise. A claim is "
    "supported where all its findings are; not supported where a finding is refuted even by Holm's correction for as "
    "many findings as the claim has; and inconclusive otherwise."
)


@dataclass(frozen=True)
class Claim:
    """What is claimed, by whom, and how it is examined.

    Attributes:
        number: its place in the report.
        title: a few words.
        statement: the claim, in a sentence or two.
        source: author, year, title.
        protocol: what is trained and measured, on what, how often; what is chosen how.
        discussion: a paragraph on a verdict that surprises; empty where none does.
        version: to be raised when ``measure`` changes what it measures: earlier results are then left aside.
    """

    number: int
    title: str
    statement: str
    source: str
    protocol: str
    discussion: str = ""
    version: int = 1


@dataclass(frozen=True)
class Case:
    """One measurement, done in one go and kept in one file.

    Attributes:
        parameters: plain data that says all about it, ``seed`` among it.
        seconds: about how long it takes on two cores; the remaining time is estimated by it.
        timed: whether it measures time, and needs the machine to itself.
    """

    parameters: Mapping[str, Any]
    seconds: float = 5.0
    timed: bool = False


@dataclass(frozen=True)
class Finding:
    """A quantity with an interval over seeds and, where it judges something, a threshold.

    Attributes:
        key: unique within its claim, such as ``"mnist-few-labels"``; letters, digits, ``_`` and ``-``.
        statement: what would have to hold, in a sentence.
        values: one a seed, in the order of seeds; not finite where there is none, such as a crossover beyond the data.
        unit: of the values, such as ``"points"``, ``"nats"``, ``"AUROC"``.
        above, below: the statement holds for values above, or below, this; neither: the finding only tells.
        command: what repeats it; the claim's own command if left out.
        error: a standard error that all values share, in their unit, such as :func:`sampling_error`.
        bounds: what the quantity cannot leave, such as (0, 1) for an AUROC: its interval stays within.
        exact: nothing in the values is random, such as numbers of parameters: values that are all the same, or a single
            one, are then known; otherwise they are too few to tell how they vary.
    """

    key: str
    statement: str
    values: Sequence[float]
    unit: str
    above: float | None = None
    below: float | None = None
    command: str | None = None
    error: float = 0.0
    bounds: tuple[float, float] = (-math.inf, math.inf)
    exact: bool = False

    def __post_init__(self) -> None:
        if self.above is not None and self.below is not None:
            raise ValueError(f"{self.key}: a finding has one threshold")
        if not self.values:
            raise ValueError(f"{self.key}: a finding needs values")

    @property
    def estimate(self) -> float:
        """The mean over seeds; not finite where a value is not."""
        return sum(self.values) / len(self.values)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean, see :func:`zoo.metrics.intervals.mean_interval`, within ``bounds``: no narrower
        than these where values are all the same and nothing says how they vary, and that value where it is ``exact``.
        """
        if not self._alike:
            low, high = mean_interval(self.values, LEVEL, self.error)
        elif self.exact:
            low = high = self.values[0]
        else:
            low, high = -math.inf, math.inf
        return max(low, self.bounds[0]), min(high, self.bounds[1])

    @property
    def chances(self) -> tuple[float, float]:
        """One-sided p-values: of what is measured, were the statement just false, and were it just true. The smaller
        the first, the better it is supported; the smaller the second, the better it is refuted. (1, 1) without a
        threshold."""
        if self.above is not None:
            return self._chances(self.above, 1)
        return (1.0, 1.0) if self.below is None else self._chances(self.below, -1)

    @property
    def _alike(self) -> bool:
        return not self.error and len(set(self.values)) == 1 and math.isfinite(self.values[0])

    def _chances(self, threshold: float, sign: int) -> tuple[float, float]:
        if self._alike:
            beyond = sign * (self.values[0] - threshold) if self.exact else 0.0
            return float(beyond <= 0), float(beyond >= 0)
        signed = [sign * value for value in self.values]
        other = [-value for value in signed]
        return (
            chance_above(signed, sign * threshold, self.error),
            chance_above(other, -sign * threshold, self.error),
        )

    @property
    def verdict(self) -> str:
        """By :data:`RULE`. A single seed has an unbounded interval, and so no verdict but ``inconclusive``."""
        if self.above is None and self.below is None:
            return MEASURED
        low, high = self.interval
        if math.isnan(low) or math.isnan(high):
            return INCONCLUSIVE
        if self.above is not None:
            return SUPPORTED if low > self.above else NOT_SUPPORTED if high < self.above else INCONCLUSIVE
        assert self.below is not None
        return SUPPORTED if high < self.below else NOT_SUPPORTED if low > self.below else INCONCLUSIVE


def judged(findings: Sequence[Finding]) -> list[Finding]:
    """The findings that have a threshold. Raises ``ValueError`` where there is none."""
    found = [finding for finding in findings if finding.verdict != MEASURED]
    if not found:
        raise ValueError("a claim needs a finding with a threshold")
    return found


def refuted(findings: Sequence[Finding]) -> list[Finding]:
    """The findings that are refuted although so many were examined, the surest first.

    With m findings, the surest has to be refuted at 1/m of the level of a single one, the next at 1/(m − 1), … (Holm
    1979, A simple sequentially rejective multiple test procedure): that any true statement is refuted is then no more
    probable than for a single one.
    """
    ordered = sorted(judged(findings), key=lambda finding: finding.chances[1])
    level = (1 - LEVEL) / 2  # on one side
    for place, finding in enumerate(ordered):
        if finding.chances[1] > level / (len(ordered) - place):
            return ordered[:place]
    return ordered


def verdict(findings: Sequence[Finding]) -> str:
    """A claim's verdict from those of its findings, by :data:`RULE`."""
    if refuted(findings):
        return NOT_SUPPORTED
    return SUPPORTED if all(finding.verdict == SUPPORTED for finding in judged(findings)) else INCONCLUSIVE


def deciding(findings: Sequence[Finding]) -> Finding:
    """The finding that a claim's verdict hangs on: of a claim that is not supported, the one that is refuted most
    surely; else the one that is supported least surely."""
    against = refuted(findings)
    return against[0] if against else max(judged(findings), key=lambda finding: finding.chances[0])


def standard_error(numbers: Tensor) -> float:
    """Of the mean of independent numbers ``(N,)``."""
    return float(numbers.std()) / math.sqrt(len(numbers))


def sampling_error(*accuracies: Sequence[float], images: int) -> float:
    """The standard error, in points, that test images bring into a mean accuracy, or into a sum or difference of some.

    Were the test images drawn anew, an accuracy p would vary by √(p (1 − p) / n). Of a difference this is the error of
    independent drawings, which is more than that of the same images, as what is difficult for one is for another.

    Args:
        *accuracies: of each that takes part, its values over seeds, in [0, 1].
        images: that all of them were asked about.
    """
    means = [sum(values) / len(values) for values in accuracies]
    return 100 * math.sqrt(sum(mean * (1 - mean) / images for mean in means))


def share_error(found: int, count: int) -> float:
    """The standard error of the share of ``count`` independent drawings that ``found`` of them are, in [0, 1].

    It is that of Laplace's estimate (found + 1) / (count + 2): more than nothing where none or all are."""
    share = (found + 1) / (count + 2)
    return math.sqrt(share * (1 - share) / count)


def answered(guessed: Tensor, labels: Tensor) -> Row:
    """What :func:`paired_error` needs of a measurement: ``accuracy`` in [0, 1], the number of images ``tested``, and
    the places of those that are ``wrong``; from the classes ``(N,)`` that were guessed, and the right ones."""
    wrong = (guessed != labels).nonzero()[:, 0].tolist()
    return {"accuracy": 1 - len(wrong) / len(labels), "tested": len(labels), WRONG: wrong}


def of_the_first(images: int, wrong: Sequence[int]) -> Row:
    """What :func:`answered` would tell of the first ``images``, of all that are wrong."""
    found = [place for place in wrong if place < images]
    return {"accuracy": 1 - len(found) / images, "tested": images, WRONG: found}


def paired_error(*weighted: tuple[Sequence[Row], float]) -> float:
    """The standard error, in points, that test images bring into a sum of mean accuracies, each with its weight.

    It is that of the mean over images of what each of them adds: an image that is as difficult for one classifier as
    for another adds nothing to their difference, which :func:`sampling_error` cannot know.

    It is cautious: the noise of each seed's own answers to these images is in the spread of seeds as well, and where
    both make an interval, it counts twice.

    Args:
        *weighted: rows with what :func:`answered` tells, over seeds, and the weight of their mean accuracy, such as 1
            and -1; all were asked about the same test images in the same order.
    """
    import torch  # reading a report needs none

    images = weighted[0][0][0]["tested"]
    adds = torch.zeros(images, dtype=torch.float64)
    for rows, weight in weighted:
        for row in rows:
            if row["tested"] != images:
                raise ValueError(f"{row['tested']} test images cannot be compared with {images} others one by one")
            adds[row[WRONG]] -= weight / len(rows)
    return 100 * standard_error(adds)


def sources(rows: Sequence[Row]) -> list[str]:
    """The data sets that rows are of, in their order."""
    return list(dict.fromkeys(row["data"] for row in rows))


def summed(*weighted: tuple[Sequence[Row], float]) -> tuple[list[float], float]:
    """A sum of accuracies, each with its weight, in points, one a seed that all of them have, in their order; and what
    test images bring into its mean. The arguments are those of :func:`paired_error`."""
    chosen = [({row["seed"]: row for row in rows}, weight) for rows, weight in weighted]
    seeds = sorted(set.intersection(*({*by_seed} for by_seed, _ in chosen)))
    points = [100 * sum(weight * by_seed[seed]["accuracy"] for by_seed, weight in chosen) for seed in seeds]
    return points, paired_error(*(([by_seed[seed] for seed in seeds], weight) for by_seed, weight in chosen))


def compared(key: str, statement: str, *weighted: tuple[Sequence[Row], float], **judged: Any) -> Finding:
    """A finding on a sum of accuracies, see :func:`summed`; ``judged``: its threshold and bounds, if any."""
    points, error = summed(*weighted)
    return Finding(key, statement, points, "points", error=error, **judged)


def select(rows: Sequence[Row], **wanted: Any) -> list[Row]:
    """The rows that have these values, sorted by seed."""
    found = [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]
    return sorted(found, key=lambda row: row["seed"])


def values(rows: Sequence[Row], quantity: str, **wanted: Any) -> list[float]:
    """One quantity of the selected rows, by seed. Raises ``KeyError`` where nothing is selected."""
    found = [row[quantity] for row in select(rows, **wanted)]
    if not found:
        raise KeyError(f"no row has {wanted}")
    return found


def differences(first: Sequence[float], second: Sequence[float], scale: float = 1.0) -> list[float]:
    """``scale · (first − second)``, seed by seed: what two things that share their seeds are compared by."""
    return [scale * (a - b) for a, b in zip(first, second, strict=True)]
