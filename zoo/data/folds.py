"""Parts of a data set: stratified, and with examples that belong together on one side."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from zoo.errors import ConfigError, DataError

MANY = 1000  # groups


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
    ``StratifiedKFold`` and ``StratifiedGroupKFold``, shuffled. The latter looks at one group after the other, and takes
    seconds for thousands; such are parted as examples are, where each is of one class: repeated texts, say.

    Args:
        labels: int64 ``(N,)``.
        groups: int64 ``(N,)``; None where each example stands for itself.
        folds: how many parts, at least 2.
        fold: which one, from 0.
        seed: draws the parts.

    Raises:
        DataError: fewer examples of a class, or groups, than parts.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # slow to import

    least = min(count for count in labels.bincount().tolist() if count)
    available = least if groups is None else min(len(groups.unique()), int(labels.bincount().max()))
    if available < folds:
        what = "examples of a class" if groups is None else "groups of examples"
        raise DataError(f"data.folds={folds} needs as many {what}, and there are {available}")
    if groups is not None and len(groups.unique()) >= MANY:
        _, first, group = np.unique(groups.numpy(), return_index=True, return_inverse=True)
        of_groups = labels[torch.from_numpy(first)]
        if bool((of_groups[torch.from_numpy(group)] == labels).all()):
            held = in_fold(of_groups, None, folds, fold, seed).numpy()
            return torch.from_numpy(np.isin(group, held).nonzero()[0])
    chosen = StratifiedKFold if groups is None else StratifiedGroupKFold
    # of a seed that scikit-learn takes, whatever number is given
    parts = chosen(folds, shuffle=True, random_state=seed % 2**32).split(labels, labels, groups)
    return torch.from_numpy(list(parts)[fold][1])


def of_groups(labels: Tensor, groups: Tensor, count: int, seed: int) -> Tensor:
    """Sorted indices of about ``count`` examples, stratified, of whole groups: one of as many parts as that needs, and
    of at most as many as there are groups; none where there is one group alone."""
    if not count:
        return torch.zeros(0, dtype=torch.long)
    most = min(len(groups.unique()), int(labels.bincount().max()))
    folds = min(max(round(len(labels) / count), 2), most)
    return in_fold(labels, groups, folds, 0, seed) if folds > 1 else torch.zeros(0, dtype=torch.long)
