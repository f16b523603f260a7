"""What each column of an example adds to the logits, of models whose logits are sums over entries."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.base.bag import Bag
from zoo.base.classifier import Classifier
from zoo.spec import DataSpec


def by_column(terms: Tensor, spec: DataSpec) -> Tensor:
    """Sums over all entries of each column, ``(…, C·H·W)`` to ``(…, columns)``; see :attr:`zoo.DataSpec.blocks`."""
    along = terms.unflatten(-1, spec.shape).sum((-3, -2))
    return torch.stack([along[..., places].sum(-1) for _, places in spec.blocks], -1)


def linear_contributions(model: Classifier, coefficients: Tensor, x: Tensor) -> Tensor:
    """What each column adds to the logits ``coefficients @ normalised + offsets``, ``(B, K, columns)``: nothing, where
    it is as in the mean of the training examples. Of texts, what each place adds, ``(B, K, T)``.

    Args:
        model: how examples are normalised, and what their columns are.
        coefficients: of the normalised entries, or of weighted counts, ``(K, C·H·W)``.
        x: examples ``(B, C, H, W)``.
    """
    if isinstance(model.normalize, Bag):
        return model.normalize.contributions(coefficients, x)
    return by_column(model.normalize(x).flatten(1)[:, None] * coefficients, model.spec)
