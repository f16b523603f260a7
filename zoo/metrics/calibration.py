"""Temperature scaling: one number that makes the probabilities of a classifier as honest as one number can.

    log p_T(y | x) = log softmax(log p(y | x) / T),

T above 1 for a classifier that is too sure of itself. The order of the classes stays, and so does the accuracy.

References: Platt (1999), Probabilistic outputs for support vector machines; Guo, Pleiss, Sun & Weinberger (2017), On
calibration of modern neural networks.
"""

from __future__ import annotations

import math

from torch import Tensor

from zoo.errors import DataError

COLDEST, HOTTEST = 1e-3, 1e6  # temperatures that are considered
HALVINGS = 60  # of that interval, on a logarithmic scale: to ten digits and more
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
