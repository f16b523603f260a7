"""How good and how honest the probabilities of a classifier are."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from zoo.metrics.binary import auroc, can_rank, log_odds
from zoo.metrics.calibration import calibration_error, gaps


def summarize(log_proba: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy in [0, 1], negative log-likelihood in nats, expected calibration error in [0, 1]; of two classes, where
    both are there and all probabilities are numbers, the area under the ROC curve.

    The calibration error is the mean of |accuracy - confidence| over 15 equal bins of confidence, weighted by their
    counts (Guo et al. 2017, eq. 3).

    Args:
        log_proba: log p(y | x), ``(N, K)``.
        labels: ``(N,)`` int64.
    """
    log_proba, labels = log_proba.cpu(), labels.cpu()  # not every accelerator has float64
    values = {
        "accuracy": float((log_proba.argmax(1) == labels).double().mean()),
        "nll": float(F.nll_loss(log_proba.double(), labels)),
        "ece": calibration_error(gaps(log_proba, labels)),
    }
    if can_rank(log_proba, labels):
        values["auroc"] = auroc(log_odds(log_proba), labels)
    return values


def confusion_matrix(log_proba: Tensor, labels: Tensor) -> Tensor:
    """Counts ``(K, K)`` int64: row = true class, column = predicted class."""
    return multiclass_confusion_matrix(log_proba, labels, log_proba.shape[1])


def per_class(confusion: Tensor) -> dict[str, Tensor]:
    """How well each class is told, ``(K,)`` in [0, 1] each: ``precision``, the share of what was taken for it that is
    so, NaN where nothing was; ``recall``, the share of it that was recognised, NaN where there is none; ``f1``, 2 TP /
    (2 TP + FP + FN), NaN for a class that is neither true nor predicted.

    Args:
        confusion: counts ``(K, K)``, see :func:`confusion_matrix`.
    """
    right, predicted, true = confusion.diagonal().double(), confusion.sum(0), confusion.sum(1)
    return {"precision": right / predicted, "recall": right / true, "f1": 2 * right / (predicted + true)}


def macro_f1(confusion: Tensor) -> float:
    """The mean of the classes' F1 scores, over classes that occur: as true or as predicted."""
    return float(per_class(confusion)["f1"].nanmean())
