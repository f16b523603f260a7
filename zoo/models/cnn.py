"""A small convolutional network in the modern manner.

    h_0 = x,    h_l = ReLU(BatchNorm(MaxPool(K_l * h_{l-1}))),    p(y | x) = softmax(W pool(h_L) + b)

Each stage is Conv 3×3, MaxPool 2, BatchNorm, ReLU, in that order: pooling first leaves a quarter of the pixels for the
normalisation and the rectifier to touch, and both commute with the maximum up to the sign of the norm's scale. The
remaining map is averaged to at most 4×4, so the head's size does not grow with the image. Where seconds count, one 5×5
convolution of stride 2 replaces the first stage's convolution and pooling, which take a third of a step's time. Where
accuracy counts, residual blocks follow each stage.

References: LeCun et al. (1998), Gradient-Based Learning Applied to Document Recognition; Ioffe & Szegedy (2015); He et
al. (2016), Deep Residual Learning for Image Recognition.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.base.classifier import Classifier
from zoo.registry import register
from zoo.spec import DataSpec

STEMS = ("pooled", "strided", "valid")


@register("cnn")
class CNN(Classifier):
    """Convolutional classifier for any channel count and any size of at least 2^stages pixels.

    Args:
        spec: shape and classes of the data.
        channels: feature maps of each stage; each stage halves height and width.
        blocks: residual blocks at each stage's end, of two 3×3 convolutions each.
        stem: the first stage's convolution: ``"pooled"``, 3×3 with pooling as in the others; ``"strided"``, 5×5 of
            stride 2; ``"valid"``, the same without padding, for images with an empty margin.
        grid: rows and columns of the map before the head, at most: what is in one cell of it is averaged. One column of
            a recording's is all of its time.
        dropout: probability that a feature before the head is zeroed in training, in [0, 1).
        mirror: average the logits of each image and its mirror image, see :meth:`zoo.Classifier.views`.
        shifts: in evaluation, average the logits of each image and of its copies moved by one pixel up, down, left and
            right; predictions take five times as long, ten times with ``mirror``.
    """

    kinds = ("image", "sound")  # neighbouring entries of a table have nothing to do with each other

    def __init__(
        self,
        spec: DataSpec,
        channels: tuple[int, ...] = (16, 32, 64),
        blocks: int = 0,
        stem: str = "pooled",
        grid: tuple[int, int] = (4, 4),
        dropout: float = 0.0,
        mirror: bool = False,
        shifts: bool = False,
    ) -> None:
        super().__init__(spec, mirror)
        in_channels, height, width = spec.shape
        smallest = 2 ** len(channels) + (3 if stem == "valid" else 0)
        if not channels or any(count < 1 for count in channels) or not 0 <= dropout < 1:
            raise ValueError("channels must be a non-empty list of positive numbers and dropout in [0, 1)")
        if blocks < 0:
            raise ValueError(f"blocks must be at least 0, not {blocks}")
        if len(grid) != 2 or min(grid) < 1:
            raise ValueError(f"grid is two numbers of at least 1, rows and columns, not {grid}")
        if stem not in STEMS:
            raise ValueError(f"stem must be one of {', '.join(STEMS)}, not {stem}")
        if min(height, width) < smallest:
            raise ValueError(
                f"{len(channels)} stages need images of at least {smallest}×{smallest}, not {height}×{width}"
            )
        layers: list[nn.Module] = []
        for stage, count in enumerate(channels):  # no bias: the normalisation's mean would cancel it
            if stage > 0 or stem == "pooled":
                layers += [nn.Conv2d(in_channels, count, 3, padding=1, bias=False), nn.MaxPool2d(2)]
                height, width = height // 2, width // 2
            else:
                padding = 2 if stem == "strided" else 0
                layers.append(nn.Conv2d(in_channels, count, 5, stride=2, padding=padding, bias=False))
                height, width = ((side + 2 * padding - 3) // 2 for side in (height, width))
            layers += [nn.BatchNorm2d(count), nn.ReLU(inplace=True)]
            layers += [Residual(count) for _ in range(blocks)]
            in_channels = count
        rows, columns = min(height, grid[0]), min(width, grid[1])
        if (rows, columns) != (height, width):
            height, width = rows, columns
            layers.append(nn.AdaptiveAvgPool2d((height, width)))
        self.body = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.shifts = shifts
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(in_channels * height * width, spec.num_classes)

    def features(self, x: Tensor) -> Tensor:
        x = self.normalize(x).contiguous(memory_format=torch.channels_last)
        return self.dropout(self.body(x).flatten(1))

    def views(self, x: Tensor) -> list[Tensor]:
        views = super().views(x)
        return views + [moved for view in views for moved in neighbours(view)] if self.shifts else views


class Residual(nn.Module):
    """relu(x + f(x)) with two normalised 3×3 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.first_norm, self.second_norm = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        nn.init.zeros_(self.second_norm.weight)  # a block starts as the identity

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.first_norm(self.first(x)), inplace=True)
        return F.relu(x + self.second_norm(self.second(hidden)), inplace=True)


def neighbours(x: Tensor) -> list[Tensor]:
    """Images ``(B, C, H, W)`` moved by one pixel up, down, left and right, black moving in."""
    height, width = x.shape[2:]
    padded = F.pad(x, (1, 1, 1, 1))
    return [padded[:, :, y : y + height, z : z + width] for y, z in ((2, 1), (0, 1), (1, 2), (1, 0))]
