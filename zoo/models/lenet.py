"""LeCun's convolutional network, with rectifiers and without normalisation: the one whose features measure samples.

    h_0 = x,    h_l = MaxPool(ReLU(K_l * h_{l-1} + b_l)),    e = ReLU(U h_2 + c),    p(y | x) = softmax(W e + b)

Conv 5×5, ReLU, MaxPool 2, twice, then a fully connected layer whose rectified units are the features, and a linear
head. An image's features are a smooth function of that image alone, with no statistics of a batch in them, which is
what distances between sets of images are computed from; see ``pretrained/features-*`` and ``zoo.metrics.frechet``.

Reference: LeCun, Bottou, Bengio & Haffner (1998), Gradient-Based Learning Applied to Document Recognition, II.B.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.base.classifier import Classifier
from zoo.registry import register
from zoo.spec import DataSpec

KERNEL = 5
LARGEST_MAP = 5  # what 28×28 pixels leave; larger maps are averaged down, so that the weights stay below 1 MB
SMALLEST = 2 * (KERNEL + 1)  # pixels, of which the second stage leaves one


@register("lenet")
class LeNet(Classifier):
    """Convolutional classifier for any channel count and any size of at least 12×12.

    Args:
        spec: shape and classes of the data.
        channels: feature maps of the two stages; each halves height and width.
        num_features: units of the fully connected layer, which :meth:`features` returns after the rectifier.
        dropout: probability that a feature is zeroed in training, in [0, 1).
    """

    kinds = ("image", "sound")  # neighbouring entries of a table have nothing to do with each other

    def __init__(
        self, spec: DataSpec, channels: tuple[int, int] = (20, 50), num_features: int = 128, dropout: float = 0.0
    ) -> None:
        super().__init__(spec)
        in_channels, height, width = spec.shape
        if len(channels) != 2 or min(channels) < 1 or num_features < 1 or not 0 <= dropout < 1:
            raise ValueError("channels must be two positive numbers, num_features positive and dropout in [0, 1)")
        if min(height, width) < SMALLEST:
            raise ValueError(f"two stages need images of at least {SMALLEST}×{SMALLEST}, not {height}×{width}")
        first, second = channels
        layers: list[nn.Module] = [
            *(nn.Conv2d(in_channels, first, KERNEL, padding=KERNEL // 2), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
            *(nn.Conv2d(first, second, KERNEL), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        ]
        height, width = ((size // 2 - KERNEL + 1) // 2 for size in (height, width))
        if max(height, width) > LARGEST_MAP:
            height, width = min(height, LARGEST_MAP), min(width, LARGEST_MAP)
            layers.append(nn.AdaptiveAvgPool2d((height, width)))
        self.body = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.hidden = nn.Linear(second * height * width, num_features)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(num_features, spec.num_classes)

    def features(self, x: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` in [0, 1] to non-negative features ``(B, num_features)``."""
        x = self.normalize(x).contiguous(memory_format=torch.channels_last)
        return self.dropout(self.hidden(self.body(x).flatten(1)).relu())
