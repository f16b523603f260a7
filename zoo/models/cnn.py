"""A small convolutional network in the modern manner.

Each stage is Conv 3×3, MaxPool 2, BatchNorm, ReLU, in that order: pooling first leaves a quarter of the pixels for the
normalisation and the rectifier to touch, and both commute with the maximum up to the sign of the norm's scale. The
remaining map is averaged to at most 4×4, so the head's size does not grow with the image.

References: LeCun et al. (1998), Gradient-Based Learning Applied to Document Recognition; Ioffe & Szegedy (2015).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.models._classifier import Classifier
from zoo.registry import register
from zoo.spec import DataSpec


@register("cnn")
class CNN(Classifier):
    """Convolutional classifier for any channel count and any size of at least 2^stages pixels.

    Args:
        spec: shape and classes of the data.
        channels: feature maps of each stage; each stage halves height and width.
        dropout: probability that a feature before the head is zeroed in training, in [0, 1).
        mirror: in evaluation, average the logits of each image and its left-right mirror. For data whose classes
            survive the reflection, which is what flipped training images assume too; predictions take twice as long.
    """

    def __init__(
        self, spec: DataSpec, channels: tuple[int, ...] = (16, 32, 64), dropout: float = 0.0, mirror: bool = False
    ) -> None:
        super().__init__(spec)
        in_channels, height, width = spec.shape
        smallest = 2 ** len(channels)
        if not channels or any(count < 1 for count in channels) or not 0 <= dropout < 1:
            raise ValueError("channels must be a non-empty list of positive numbers and dropout in [0, 1)")
        if min(height, width) < smallest:
            raise ValueError(
                f"{len(channels)} stages need images of at least {smallest}×{smallest}, not {height}×{width}"
            )
        layers: list[nn.Module] = []
        for count in channels:
            # the bias would be cancelled by the normalisation's mean
            layers += [nn.Conv2d(in_channels, count, 3, padding=1, bias=False), nn.MaxPool2d(2)]
            layers += [nn.BatchNorm2d(count), nn.ReLU(inplace=True)]
            in_channels, height, width = count, height // 2, width // 2
        if max(height, width) > 4:
            height, width = min(height, 4), min(width, 4)
            layers.append(nn.AdaptiveAvgPool2d((height, width)))
        self.body = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.mirror = mirror
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(in_channels * height * width, spec.num_classes)

    def features(self, x: Tensor) -> Tensor:
        x = self.normalize(x).contiguous(memory_format=torch.channels_last)
        return self.dropout(self.body(x).flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        if self.mirror and not self.training:
            logits = (logits + super().forward(x.flip(3))) / 2
        return logits
