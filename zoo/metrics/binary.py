"""How well two classes are told apart, of which the second one is looked for, and what mistakes cost.

Labels ``y`` are int64 ``(N,)``: 1 for the positive class, which is looked for, 0 for the other one. Scores are numbers
of which higher is more probably positive, such as :func:`log_odds`; probabilities ``p`` are P(y = 1 | x). Examples of
the same score cannot be told apart: a threshold takes all of them for positive or none. A threshold t takes those for
positive of which p is above t, so that t = 1/2 is to take the likelier class.

A mistake costs c0 for an example of the first class and c1 for one of the second. With honest probabilities it is
cheapest to take for positive what has (1 − p) c0 < p c1, which is p > c0 / (c0 + c1); what it comes to on examples that
nothing was fitted to needs no honest ones.

References: Fawcett (2006), An introduction to ROC analysis; Davis & Goadrich (2006), The relationship between
precision-recall and ROC curves; Brier (1950), Verification of forecasts expressed in terms of probability; Elkan
(2001), The foundations of cost-sensitive learning, eq. 2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.metrics import detection

Costs = tuple[float, float]
EVEN: Costs = (1.0, 1.0)  # a mistake is a mistake


def log_odds(log_proba: Tensor) -> Tensor:
    """log p(1 | x) − log p(0 | x), ``(N,)`` float64 on the CPU, from log p(y | x) ``(N, 2)``.

    They still differ where probabilities are rounded to 1.
    """
    values = log_proba.cpu().double()  # not every accelerator has float64
    return values[:, 1] - values[:, 0]


def can_rank(log_proba: Tensor, labels: Tensor) -> bool:
    """Whether there are two classes, with examples of both, and all their probabilities are numbers."""
    there = log_proba.shape[1] == 2 and bool((labels == 0).any()) and bool((labels == 1).any())
    return there and not bool(log_proba.isnan().any())


def auroc(scores: Tensor, labels: Tensor) -> float:
    """The probability that a positive example scores above another one; ties count one half."""
    return detection.auroc(scores[labels == 0], scores[labels == 1])


def average_precision(scores: Tensor, labels: Tensor) -> float:
    """Σ (recall_i − recall_{i−1}) precision_i over the distinct scores from the highest on. By chance it is the share
    of positive examples."""
    return detection.aupr(scores[labels == 0], scores[labels == 1])


def roc_curve(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The shares of the first and of the second class that are taken for positive, as fewer and fewer scores are
    asked: from 0 to 1, two ``(G + 1,)`` float64 of G distinct scores."""
    false, true = _found(scores, labels)
    return false / false[-1], true / true[-1]


def precision_recall_curve(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Precision and recall at each distinct score, from the highest on, two ``(G,)`` float64."""
    false, true = (part[1:] for part in _found(scores, labels))
    return true / (true + false), true / true[-1]


def _found(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """How many of the first and of the second class have one of the highest scores: of none, one, two distinct ones."""
    counts = detection.counts_by_score(scores[labels == 0], scores[labels == 1])
    false, true = (torch.cat([part.new_zeros(1), part.cumsum(0)]) for part in counts)
    return false, true


def brier(proba: Tensor, labels: Tensor) -> float:
    """The mean of (p − y)², in [0, 1]: half of what :func:`zoo.metrics.calibration.brier` sums over classes."""
    return float((proba.cpu().double() - labels.cpu()).square().mean())


def f1(proba: Tensor, labels: Tensor, threshold: float = 0.5) -> float:
    """2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall; 0 where nothing is found."""
    positive, chosen = labels == 1, proba > threshold
    return 2 * int((positive & chosen).sum()) / max(int(positive.sum()) + int(chosen.sum()), 1)


def cost(proba: Tensor, labels: Tensor, threshold: float = 0.5, costs: Costs = EVEN) -> float:
    """What mistakes cost an example: c0 for each of the first class that is taken for positive, c1 for each positive
    one that is not, over the number of examples."""
    positive, chosen = labels == 1, proba > threshold
    false, missed = int((~positive & chosen).sum()), int((positive & ~chosen).sum())
    return (costs[0] * false + costs[1] * missed) / len(labels)


def cost_curve(proba: Tensor, labels: Tensor, costs: Costs = EVEN) -> tuple[Tensor, Tensor]:
    """:func:`cost` as a function of the threshold, which is a step function: edges ``(G + 2,)`` from 0 to 1, and the
    cost from each edge on, up to the next one, ``(G + 1,)``; float64."""
    distinct, place = proba.cpu().double().unique(return_inverse=True)
    counts = torch.stack([place[labels.cpu() == label].bincount(minlength=len(distinct)) for label in (0, 1)]).double()
    nothing = counts.new_zeros(2, 1)
    below = torch.cat([nothing, counts.cumsum(1)], 1)  # not above the threshold, of either class
    false, missed = below[0, -1] - below[0], below[1]
    edges = torch.cat([distinct.new_zeros(1), distinct, distinct.new_ones(1)])
    return edges, (costs[0] * false + costs[1] * missed) / len(labels)


def fair_threshold(costs: Costs) -> float:
    """The cheapest threshold of honest probabilities, c0 / (c0 + c1)."""
    return costs[0] / (costs[0] + costs[1])


def cheapest_threshold(proba: Tensor, labels: Tensor, costs: Costs) -> float:
    """A threshold in [0, 1] that costs least on these examples: the middle of the interval of those that cost the same;
    of several intervals, that of which the middle is nearest to :func:`fair_threshold`."""
    edges, found = cost_curve(proba, labels, costs)
    low, high = edges[:-1], edges[1:]
    middle = (low + high) / 2
    middle = torch.where(middle < high, middle, low)  # they may be neighbours among floating numbers
    possible = low < high
    possible[-1] = True  # nothing is above 1
    cheapest = possible & (found <= found[possible].min() * (1 + 1e-12))  # but for rounding
    middle = middle[cheapest]
    return float(middle[(middle - fair_threshold(costs)).abs().argmin()])


def summarize(log_proba: Tensor, labels: Tensor, threshold: float = 0.5, costs: Costs = EVEN) -> dict[str, float]:
    """``brier``, and ``cost`` at the threshold; ``average_precision`` and ``f1`` where :func:`can_rank` says so.

    Args:
        log_proba: log p(y | x), ``(N, 2)``.
        labels: ``(N,)``.
        threshold: of the probability of the second class.
        costs: of a mistake, by true class.
    """
    scores, labels = log_odds(log_proba), labels.cpu()
    proba = scores.sigmoid()
    values = {"brier": brier(proba, labels), "cost": cost(proba, labels, threshold, costs)}
    if can_rank(log_proba, labels):
        values |= {"average_precision": average_precision(scores, labels), "f1": f1(proba, labels, threshold)}
    return values
