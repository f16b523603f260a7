"""Multinomial logistic regression: p(y | x) = softmax(W x + b).

Linear in the pixels, or in a text's weighted counts, and convex, so it is the floor that every other classifier has to
clear. An L2 penalty is the optimiser's weight decay.

Reference: Bishop, Pattern Recognition and Machine Learning (2006), section 4.3.4.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from zoo.base.classifier import Classifier
from zoo.base.linear import linear_contributions
from zoo.registry import register
from zoo.spec import DataSpec


@register("logistic_regression")
class LogisticRegression(Classifier):
    """Softmax over an affine map of the normalised pixels. Starts at the uniform prediction, W = 0."""

    head: nn.Linear
    takes = (*Classifier.takes, "counts")

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec)
        self.head = nn.Linear(math.prod(spec.shape), spec.num_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def logits(self, x: Tensor) -> Tensor:
        return self.normalize.affine(self.head, x)

    def features(self, x: Tensor) -> Tensor:
        return self.normalize(x).flatten(1)

    def coefficients(self) -> Tensor:
        """Of the normalised pixels, or of weighted counts, as they are in log p(y | x), ``(K, C·H·W)``."""
        return self.head.weight / self.temperature

    def offsets(self) -> Tensor:
        """The logits of the mean training example, or of a text without words, ``(K,)``."""
        return self.head.bias / self.temperature

    def contributions(self, x: Tensor) -> Tensor:
        """What each column, or each place of a text, adds to the logits, ``(B, K, columns)``."""
        return linear_contributions(self, self.coefficients(), x)
