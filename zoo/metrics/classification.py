"""How good and how honest the probabilities of a classifier are."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

CALIBRATION_BINS = 15


def summarize(log_proba: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy in [0, 1], negative log-likelihood in nats, expected calibration error in [0, 1].

    The calibration error is the mean of |accuracy - confidence| over 15 equal bins of confidence, weighted by their
    counts (Guo et al. 2017, eq. 3).

    Args:
        log_proba: log p(y | x), ``(N, K)``.
        labels: ``(N,)`` int64.
    """
    log_proba, labels = log_proba.cpu(), labels.cpu()  # not every accelerator has float64
    confidence, accuracy, count = reliability(log_proba, labels)
    return {
        "accuracy": float((log_proba.argmax(1) == labels).double().mean()),
        "nll": float(F.nll_loss(log_proba.double(), labels)),
        # not torchmetrics' function: it gives a confidence of exactly one a bin of its own
        "ece": float(((accuracy - confidence).abs().nan_to_num() * count).sum() / count.sum()),
    }


def confusion_matrix(log_proba: Tensor, labels: Tensor) -> Tensor:
    """Counts ``(K, K)`` int64: row = true class, column = predicted class."""
    return multiclass_confusion_matrix(log_proba, labels, log_proba.shape[1])


def per_class_accuracy(confusion: Tensor) -> Tensor:
    """The share of each true class that was recognised (recall), ``(K,)`` in [0, 1]; NaN for a class without images."""
    return confusion.diagonal().double() / confusion.sum(1)


def reliability(log_proba: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean confidence, accuracy and count of each bin of confidence, three ``(15,)`` on the CPU; NaN where it is empty.

    Bin i holds the confidences in (i / 15, (i + 1) / 15].
    """
    confidence, predicted = log_proba.cpu().double().exp().max(1)
    index = bin_of(confidence)
    count = torch.zeros(CALIBRATION_BINS, dtype=torch.float64).index_add(0, index, torch.ones_like(confidence))
    total = torch.zeros_like(count).index_add(0, index, confidence)
    right = torch.zeros_like(count).index_add(0, index, (predicted == labels.cpu()).double())
    return total / count, right / count, count


def bin_of(confidence: Tensor) -> Tensor:
    """Which of the bins of :func:`reliability` confidences in [0, 1] lie in, int64."""
    return (confidence * CALIBRATION_BINS).ceil().long().clamp(1, CALIBRATION_BINS) - 1
