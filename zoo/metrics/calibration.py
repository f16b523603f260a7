"""How honest probabilities are, and temperature scaling: one number that makes them as honest as one number can.

    log p_T(y | x) = log softmax(log p(y | x) / T),

T above 1 for a classifier that is too sure of itself. The order of the classes stays, and so does the accuracy.

The calibration error is the mean over images of |mean confidence − accuracy| of the bin that each lies in. Proper
scores need no bins, and are least for the true probabilities alone: the negative log-likelihood, and Brier's.

References: Platt (1999), Probabilistic outputs for support vector machines; Guo, Pleiss, Sun & Weinberger (2017), On
calibration of modern neural networks; Nguyen & O'Connor (2015), Posterior calibration and exploratory analysis, for
bins of as many images each; Brier (1950), Verification of forecasts expressed in terms of probability.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.errors import DataError

CALIBRATION_BINS = 15
COLDEST, HOTTEST = 1e-3, 1e6  # temperatures that are considered
HALVINGS = 60  # of that interval, on a logarithmic scale: to ten digits and more
RESAMPLES = 200  # of a bootstrap
LEAST = -1e30  # in the place of log 0: times a probability of zero it is zero, and not NaN


def temperature(log_proba: Tensor, labels: Tensor) -> float:
    """The temperature with the least negative log-likelihood of labels that the classifier was not trained on.

    That is a convex function of s = 1 / T, whose derivative, the mean over images of E[z] − z_y with z = log p and the
    expectation under p_T, grows with s: its zero is found by halving. Where it has none, because each image's class is
    the most probable one, or the true classes are worse than chance, the result is the end of the interval from 0.001
    to 1,000,000.

    Args:
        log_proba: log p(y | x), ``(N, K)``, in nats, or logits.
        labels: ``(N,)`` int64.

    Raises:
        DataError: there is no image.
    """
    if not len(labels):
        raise DataError("a temperature is fitted to labelled images, and there is none")
    values, labels = log_proba.cpu().double().clamp_min(LEAST), labels.cpu()  # not every accelerator has float64
    values = values - values.amax(1, keepdim=True)
    target = values.gather(1, labels[:, None]).mean()
    low, high = math.log(COLDEST), math.log(HOTTEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        expected = ((values / math.exp(middle)).softmax(1) * values).sum(1).mean()
        if expected > target:  # too cold: more is promised than comes
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)


def scaled(log_proba: Tensor, temperature: float) -> Tensor:
    """log p_T(y | x), ``(N, K)``, in nats, for a temperature T above 0."""
    return (log_proba.double().clamp_min(LEAST) / temperature).log_softmax(1)


def reliability(log_proba: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`frequencies` of being right, by the confidence in the most probable class."""
    confidence, predicted = log_proba.cpu().double().exp().max(1)
    return frequencies(confidence, predicted == labels.cpu())


def frequencies(proba: Tensor, true: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean probability, how often what it was given for is true, and count of each bin of probability, three ``(15,)``
    float64 on the CPU; NaN where a bin is empty.

    Bin i holds the probabilities in (i / 15, (i + 1) / 15].

    Args:
        proba: ``(N,)`` float64 on the CPU, in [0, 1].
        true: ``(N,)``, true or false.
    """
    index = bin_of(proba)
    count = torch.zeros(CALIBRATION_BINS, dtype=torch.float64).index_add(0, index, torch.ones_like(proba))
    total = torch.zeros_like(count).index_add(0, index, proba)
    right = torch.zeros_like(count).index_add(0, index, true.double())
    return total / count, right / count, count


def bin_of(confidence: Tensor) -> Tensor:
    """Which of the bins of :func:`frequencies` confidences in [0, 1] lie in, int64."""
    return (confidence * CALIBRATION_BINS).ceil().long().clamp(1, CALIBRATION_BINS) - 1


def gaps(log_proba: Tensor, labels: Tensor, adaptive: bool = False) -> Tensor:
    """What an image adds to the calibration error: its confidence, less one where its class is the most probable one,
    in the column of its bin and zero in others, ``(N, 15)`` float64 on the CPU.

    Args:
        log_proba: log p(y | x), ``(N, K)``.
        labels: ``(N,)`` int64.
        adaptive: whether bins hold as many images each, in the order of confidence, and not confidences of equal width.
    """
    confidence, predicted = log_proba.cpu().double().exp().max(1)
    if adaptive:
        _, level, count = confidence.unique(return_inverse=True, return_counts=True)
        middle = count.cumsum(0) - (count + 1) / 2  # the mean place of those that are as sure, which share a bin
        index = (middle * CALIBRATION_BINS / len(confidence)).long()[level]
    else:
        index = bin_of(confidence)
    excess = confidence - (predicted == labels.cpu()).double()
    return excess.new_zeros(len(excess), CALIBRATION_BINS).scatter(1, index[:, None], excess[:, None])


def calibration_error(gaps: Tensor) -> float:
    """The mean over images of |mean confidence − accuracy| of their bins, in [0, 1], from :func:`gaps` ``(N, B)``.

    Not torchmetrics' function: it gives a confidence of exactly one a bin of its own.
    """
    return float(gaps.mean(0).abs().sum())


def error_of_gain(before: Tensor, after: Tensor, generator: torch.Generator) -> float:
    """The standard error, over images drawn anew, of how much smaller a calibration error is after than before.

    A bootstrap: both see the same images.

    Args:
        before, after: :func:`gaps` of the same images, ``(N, B)``.
        generator: of the drawings, on the CPU.
    """
    n, errors = len(before), []
    for _ in range(RESAMPLES):
        drawn = torch.randint(n, (n,), generator=generator)
        times = drawn.bincount(minlength=n).double()[None]
        first, second = ((times @ part / n).abs().sum() for part in (before, after))
        errors.append(first - second)
    return float(torch.stack(errors).std())


def brier(log_proba: Tensor, labels: Tensor) -> Tensor:
    """The squared distance of each image's probabilities from its class's unit vector, ``(N,)`` in [0, 2]."""
    proba = log_proba.cpu().double().exp()
    return (proba - F.one_hot(labels.cpu(), proba.shape[1])).square().sum(1)
