"""How well a score tells anomalies from normal images, and which threshold keeps false alarms rare.

Scores are numbers of which higher is stranger, those of normal images first: every function of two sets takes
``(normal, strange)``, 1-d tensors of any real type. Infinite scores are allowed; NaN raises ``ZooError``, and so does a
set without images. Images of equal score cannot be told apart: a threshold flags all of them or none, and a pair of
equal ones counts one half in the AUROC.

- AUROC: the probability that an anomaly scores above a normal image; 1/2 is chance. Its interval is DeLong's, on the
  logit scale. Where the two sets do not overlap DeLong's variance is 0, and the interval is Newcombe's.
- AUPR: average precision with anomalies as positives, Σ (recall_i − recall_{i−1}) precision_i over the distinct scores
  from the highest on. Chance is the share of anomalies: compare figures of equal shares only.
- FPR at 95 % TPR: the share of normal images that are flagged by the highest threshold that flags 95 % of anomalies.
  The intervals of both are percentiles of a bootstrap that resamples each set by itself.

References: DeLong, DeLong & Clarke-Pearson (1988); Sun & Xu (2014), Fast implementation of DeLong's algorithm; Qin &
Hotilovac (2008), Comparison of non-parametric confidence intervals for the area under the ROC curve; Newcombe (2006),
Confidence intervals for an effect size measure based on the Mann–Whitney statistic, part 2; Efron & Tibshirani (1993),
chapter 13; Hendrycks & Gimpel (2017); Vovk, Gammerman & Shafer (2005), Algorithmic Learning in a Random World.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from scipy.special import ndtri
from torch import Tensor

from zoo.errors import ZooError

TPR = 0.95  # share of anomalies that is to be flagged
RESAMPLES = 1000
AT_ONCE = 2**21  # numbers of resampled counts that are held at a time

Interval = tuple[float, float]


def auroc(normal: Tensor, strange: Tensor) -> float:
    """The area under the ROC curve, in [0, 1]: P(strange > normal) + P(strange = normal) / 2."""
    return float(_placements(*_checked(normal, strange))[1].mean())


def auroc_interval(normal: Tensor, strange: Tensor, level: float = 0.95) -> Interval:
    """DeLong's interval of :func:`auroc`, for other images of the same two kinds; Newcombe's if they do not overlap."""
    above, below = _placements(*_checked(normal, strange))
    area, z = float(below.mean()), float(ndtri((1 + level) / 2))
    if min(len(above), len(below)) < 2:
        return 0.0, 1.0
    if area in (0.0, 1.0):
        edge = _newcombe(len(above), len(below), z)
        return (edge, 1.0) if area else (0.0, 1 - edge)
    variance = float(above.var()) / len(above) + float(below.var()) / len(below)
    logit, half = math.log(area / (1 - area)), z * math.sqrt(variance) / (area * (1 - area))
    return _sigmoid(logit - half), _sigmoid(logit + half)


def aupr(normal: Tensor, strange: Tensor) -> float:
    """The average precision of calling the highest scores anomalies, in (0, 1]."""
    return float(_average_precision(*counts_by_score(*_checked(normal, strange))))


def aupr_interval(normal: Tensor, strange: Tensor, generator: torch.Generator, level: float = 0.95) -> Interval:
    """Bootstrap interval of :func:`aupr`, for other images of the same two kinds; ``generator`` is one of the CPU."""
    return _bootstrap(_average_precision, normal, strange, generator, level)


def fpr_at_tpr(normal: Tensor, strange: Tensor, tpr: float = TPR) -> float:
    """The share of normal images that are flagged where at least ``tpr`` of the anomalies are, in [0, 1]."""
    return float(_false_positives(*counts_by_score(*_checked(normal, strange)), tpr))


def fpr_interval(
    normal: Tensor, strange: Tensor, generator: torch.Generator, tpr: float = TPR, level: float = 0.95
) -> Interval:
    """Bootstrap interval of :func:`fpr_at_tpr`; ``generator`` is one of the CPU."""
    return _bootstrap(lambda n, s: _false_positives(n, s, tpr), normal, strange, generator, level)


def threshold(calibration: Tensor, alarm: float) -> float:
    """The score above which an image is called an anomaly, such that a normal one is with probability ≤ ``alarm``.

    The (n + 1)(1 − alarm)-th smallest, rounded up, of n scores of normal images that the score was not fitted to: of
    one more such image and those n, each is as likely to be the strangest, so that the promise holds at any n
    (conformal prediction). Where that is beyond the largest one, none would do: raises ``ZooError``.
    """
    if not 0 < alarm < 1:
        raise ZooError(f"a false-alarm rate lies between 0 and 1, not at {alarm}")
    calibration = _number(calibration, "calibration")
    n = len(calibration)
    allowed = math.floor(alarm * (n + 1) + 1e-9)  # how many of n + 1 may be flagged
    if not allowed:
        needed = math.ceil(1 / alarm - 1e-9) - 1
        raise ZooError(f"a false-alarm rate of {alarm:g} needs {needed} normal examples at least to be kept, not {n}")
    return float(calibration.sort()[0][n - allowed])


def p_values(calibration: Tensor, scores: Tensor) -> Tensor:
    """P(a normal image scores at least this), ``(N,)`` float64 in (0, 1]: (1 + #{calibration ≥ score}) / (n + 1).

    At most ``alarm`` exactly where the score is above :func:`threshold`.
    """
    calibration, scores = _number(calibration, "calibration"), _number(scores, "tested")
    smaller = torch.searchsorted(calibration.sort()[0], scores)
    return (1 + len(calibration) - smaller).double() / (len(calibration) + 1)


def counts_by_score(normal: Tensor, strange: Tensor) -> tuple[Tensor, Tensor]:
    """How many of either kind have each distinct score, the highest first: two ``(G,)`` float64."""
    groups, number = _groups(normal, strange)
    return tuple(group.bincount(minlength=number).double() for group in groups)  # type: ignore[return-value]


# Parts


def _checked(normal: Tensor, strange: Tensor) -> tuple[Tensor, Tensor]:
    return _number(normal, "normal"), _number(strange, "strange")


def _number(scores: Tensor, which: str) -> Tensor:
    """As float64 on the CPU: not every accelerator has it. Raises ``ZooError`` for none, and for NaN."""
    if scores.dim() != 1 or len(scores) == 0:
        raise ZooError(f"the scores of {which} examples must be a vector with an entry at least: {tuple(scores.shape)}")
    if scores.isnan().any():
        raise ZooError(f"{int(scores.isnan().sum())} of {len(scores)} {which} examples have a score that is no number")
    return scores.detach().cpu().double()


def _placements(normal: Tensor, strange: Tensor) -> tuple[Tensor, Tensor]:
    """The share of anomalies above each normal image, and of normal images below each anomaly; a tie counts 1/2."""

    def below(scores: Tensor, others: Tensor) -> Tensor:
        ordered = others.sort()[0]
        smaller, not_larger = (torch.searchsorted(ordered, scores, right=right) for right in (False, True))
        return (smaller + not_larger).double() / (2 * len(others))

    return 1 - below(normal, strange), below(strange, normal)


def _newcombe(n: int, m: int, z: float) -> float:
    """The lower end of the interval of an AUROC of 1: the least area θ with 1 − θ ≤ z √V(θ) (method 5)."""

    def inside(area: float) -> bool:
        more = ((n + m) / 2 - 1) * ((1 - area) / (2 - area) + area / (1 + area))
        return (1 - area) ** 2 <= z**2 * area * (1 - area) * (1 + more) / (n * m)

    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if inside(middle) else (middle, high)
    return high


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0


def _groups(normal: Tensor, strange: Tensor) -> tuple[tuple[Tensor, Tensor], int]:
    """Each image's place among the distinct scores, the highest being 0; and how many there are."""
    distinct, place = torch.cat([normal, strange]).unique(return_inverse=True)
    place = len(distinct) - 1 - place
    return (place[: len(normal)], place[len(normal) :]), len(distinct)


def _average_precision(normal: Tensor, strange: Tensor) -> Tensor:
    """From counts ``(..., G)``: ``(...)``."""
    found = strange.cumsum(-1)
    precision = found / (found + normal.cumsum(-1)).clamp_min(1)
    return (strange * precision).sum(-1) / found[..., -1]


def _false_positives(normal: Tensor, strange: Tensor, tpr: float) -> Tensor:
    found, flagged = strange.cumsum(-1), normal.cumsum(-1)
    needed = torch.ceil(tpr * found[..., -1:] - 1e-9)
    place = (found >= needed).to(torch.uint8).argmax(-1, keepdim=True)  # the first
    return (flagged.gather(-1, place) / flagged[..., -1:]).squeeze(-1)


def _bootstrap(
    statistic: Callable[[Tensor, Tensor], Tensor],
    normal: Tensor,
    strange: Tensor,
    generator: torch.Generator,
    level: float,
) -> Interval:
    groups, number = _groups(*_checked(normal, strange))
    parts = []
    rows = max(1, min(RESAMPLES, AT_ONCE // (len(normal) + len(strange))))
    for start in range(0, RESAMPLES, rows):
        size = min(rows, RESAMPLES - start)
        drawn = []
        for group in groups:
            chosen = group[torch.randint(len(group), (size, len(group)), generator=generator)]
            counts = torch.zeros(size, number, dtype=torch.float64)
            drawn.append(counts.scatter_add_(1, chosen, torch.ones_like(chosen, dtype=torch.float64)))
        parts.append(statistic(drawn[0], drawn[1]))
    tail = (1 - level) / 2
    low, high = torch.cat(parts).quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return low, high
