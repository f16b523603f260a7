"""Parts of a data set: stratified, and with examples that belong together on one side."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from zoo.errors import ConfigError, DataError


def check_fold(folds: int, fold: int) -> None:
    """Raise ``ConfigError`` for a number of folds, or of a fold, that there cannot be."""
    if folds < 0 or folds == 1:
        raise ConfigError(f"data.folds must be at least 2, or 0 for none, not {folds}")
    if fold < 0 or fold >= max(folds, 1):
        numbers = f"from 0 to {folds - 1}" if folds else "of data.folds=…, which is 0"
        raise ConfigError(f"data.fold={fold} is no fold: the numbers are {numbers}")


def in_fold(labels: Tensor, groups: Tensor | None, folds: int, fold: int, seed: int) -> Tensor:
    """Which examples make one of ``folds`` parts, sorted indices; every example is in one of them.

    Classes have their proportions in each part, and examples of a group are in the same: scikit-learn's
    ``StratifiedKFold`` and ``StratifiedGroupKFold``, shuffled.

    Args:
        labels: int64 ``(N,)``.
        groups: int64 ``(N,)``; None where each example stands for itself.
        folds: how many parts, at least 2.
        fold: which one, from 0.
        seed: draws the parts.

    Raises:
        DataError: fewer examples of a class, or groups, than parts.
    """
    least = min(count for count in labels.bincount().tolist() if count)
    available = least if groups is None else min(len(groups.unique()), int(labels.bincount().max()))
    if available < folds:
        what = "examples of a class" if groups is None else "groups of examples"
        raise DataError(f"data.folds={folds} needs as many {what}, and there are {available}")
    seed %= 2**32  # one that numpy takes, whatever number is given
    if groups is not None:
        return torch.from_numpy((_folds_of_groups(labels.numpy(), groups.numpy(), folds, seed) == fold).nonzero()[0])
    from sklearn.model_selection import StratifiedKFold  # slow to import

    parts = StratifiedKFold(folds, shuffle=True, random_state=seed).split(labels, labels)
    return torch.from_numpy(list(parts)[fold][1])


def _folds_of_groups(labels: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of each example, int64 ``(N,)``.

    It is scikit-learn's algorithm, and gives the same, but looks at all folds for a group at once: texts have thousands
    of groups. Groups come in random order, those whose classes differ most in number first, and each goes to the fold
    that leaves the shares of classes the most alike over folds; of several such, to the smallest.
    """
    _, label, totals = np.unique(labels, return_inverse=True, return_counts=True)
    _, group = np.unique(groups, return_inverse=True)
    counts = np.zeros((group.max() + 1, len(totals)))
    np.add.at(counts, (group, label), 1)
    order = np.arange(len(counts))
    np.random.RandomState(seed).shuffle(order)
    order = order[np.argsort(-counts[order].std(1), kind="stable")]
    held, fold_of, every = np.zeros((folds, len(totals))), np.zeros(len(counts), np.int64), np.arange(folds)
    for number in order:
        tried = np.repeat(held[None], folds, 0)
        tried[every, every] += counts[number]
        uneven, sizes = (tried / totals).std(1).mean(1).tolist(), held.sum(1).tolist()
        best = 0
        for fold in range(1, folds):
            alike = math.isclose(uneven[fold], uneven[best], rel_tol=0, abs_tol=1e-8 + 1e-5 * uneven[best])
            if uneven[fold] < uneven[best] or (alike and sizes[fold] < sizes[best]):
                best = fold
        held[best] += counts[number]
        fold_of[number] = best
    return fold_of[group]


def of_groups(labels: Tensor, groups: Tensor, count: int, seed: int) -> Tensor:
    """Sorted indices of about ``count`` examples, stratified, of whole groups: one of as many parts as that needs, and
    of at most as many as there are groups; none where there is one group alone."""
    if not count:
        return torch.zeros(0, dtype=torch.long)
    most = min(len(groups.unique()), int(labels.bincount().max()))
    folds = min(max(round(len(labels) / count), 2), most)
    return in_fold(labels, groups, folds, 0, seed) if folds > 1 else torch.zeros(0, dtype=torch.long)
