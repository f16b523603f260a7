"""Multilayer perceptron: alternating affine maps and rectifiers on the flattened pixels, or a text's weighted counts.

    h_0 = x,    h_l = ReLU(BatchNorm(W_l h_{l-1} + b_l)),    p(y | x) = softmax(W h_L + b)

Each hidden layer is Linear, BatchNorm, ReLU, Dropout: normalisation makes large steps safe, dropout is what lets a
wide network generalise on 60,000 images.

References: Rumelhart, Hinton & Williams (1986); Ioffe & Szegedy (2015); Srivastava et al. (2014).
"""

from __future__ import annotations

import itertools
import math

from torch import Tensor, nn

from zoo.base.classifier import Classifier
from zoo.registry import register
from zoo.spec import DataSpec


@register("mlp")
class MLP(Classifier):
    """Fully connected classifier.

    Args:
        spec: shape and classes of the data.
        hidden_sizes: width of each hidden layer; empty makes it logistic regression.
        dropout: probability that a hidden unit is zeroed in training, in [0, 1).
        mirror: average the logits of each image and its mirror image, see :meth:`zoo.Classifier.views`.
    """

    head: nn.Linear
    lighter = "a smaller data.image_size or data.vocabulary, or narrower model.hidden_sizes, make it fit"
    takes = (*Classifier.takes, "counts")

    def __init__(
        self, spec: DataSpec, hidden_sizes: tuple[int, ...] = (512, 512), dropout: float = 0.3, mirror: bool = False
    ) -> None:
        super().__init__(spec, mirror)
        if any(size < 1 for size in hidden_sizes) or not 0 <= dropout < 1:
            raise ValueError("hidden_sizes must be positive and dropout in [0, 1)")
        widths = [math.prod(spec.shape), *hidden_sizes]
        layers: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise(widths):
            # the bias would be cancelled by the normalisation's mean
            layers += [nn.Linear(fan_in, fan_out, bias=False), nn.BatchNorm1d(fan_out), nn.ReLU(inplace=True)]
            layers += [nn.Dropout(dropout)] if dropout else []
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], spec.num_classes)

    def logits(self, x: Tensor) -> Tensor:
        return self.head(self.features(x)) if len(self.body) else self.normalize.affine(self.head, x)

    def features(self, x: Tensor) -> Tensor:
        if not len(self.body):
            return self.normalize(x).flatten(1)
        first, *others = self.body
        hidden = self.normalize.affine(first, x)
        for layer in others:
            hidden = layer(hidden)
        return hidden
