"""Networks that look at a noisy picture, at the time and the class, and tell a picture: a U-Net, a transformer.

Both see squares of pixels as one place with more channels, and are told time and class by a scale and a shift of each
normalised state (Perez et al. 2018, FiLM; Peebles & Xie 2023, Scalable diffusion models with transformers). States are
``(B, rows, columns, channels)``. Norms are over channels alone: they take a CPU less than those over places.

References:
    Ronneberger, Fischer & Brox 2015, U-Net.  Hoogeboom, Heek & Salimans 2023, Simple diffusion (few places at the top).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.base.attention import Attention
from zoo.base.blocks import channel_dropout, convolved, rms_norm
from zoo.base.patches import Patches

FREQUENCIES = 16  # of the time's waves


class Told(nn.Module):
    """Times in [0, 1], ``(B,)``, and groups, int64 ``(B,)``, to ``count`` scales and shifts of each width.

    Where nothing has been learnt yet, scales are 1 and shifts 0.
    """

    waves: Tensor

    def __init__(self, groups: int, width: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = [2 * count for count in widths]
        self.register_buffer("waves", math.pi * 2 ** torch.linspace(-1, 6, FREQUENCIES), persistent=False)
        self.time, self.group = nn.Linear(2 * FREQUENCIES, width), nn.Embedding(groups, width)
        self.out = nn.Linear(width, sum(self.widths))
        nn.init.normal_(self.group.weight, std=0.5)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, times: Tensor, groups: Tensor) -> list[Tensor]:
        """For each width ``(2, B, 1, 1, width)``."""
        angles = times[:, None] * self.waves
        told = self.out(F.silu(self.time(torch.cat([angles.cos(), angles.sin()], 1)) + self.group(groups)))
        parts = [part.unflatten(1, (2, 1, 1, -1)).transpose(0, 1) for part in told.split(self.widths, 1)]
        return [torch.stack([1 + part[0], part[1]]) for part in parts]


class Convolutions(nn.Module):
    """h + L silu(scale · K ∗ norm(h) + shift), with 3×3 kernels K and L."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        nn.init.normal_(self.first.weight, std=self.first.weight[0].numel() ** -0.5)
        nn.init.zeros_(self.second.weight)

    def forward(self, h: Tensor, told: Tensor) -> Tensor:
        inner = F.silu(torch.addcmul(told[1], convolved(self.first, rms_norm(h)), told[0]))
        return h + convolved(self.second, channel_dropout(inner, self.dropout, self.training))


class Perceptron(nn.Module):
    """h + L silu(scale · K norm(h) + shift), at each place alone."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.first = nn.Linear(channels, 4 * channels, bias=False)
        self.second = nn.Linear(4 * channels, channels, bias=False)
        nn.init.normal_(self.first.weight, std=channels**-0.5)
        nn.init.zeros_(self.second.weight)

    def forward(self, h: Tensor, told: Tensor) -> Tensor:
        inner = F.silu(torch.addcmul(told[1], self.first(rms_norm(h)), told[0]))
        return h + self.second(channel_dropout(inner, self.dropout, self.training))


class Squares(Patches):
    """Patches of pictures that are padded with zeros, on the right and below, to a multiple of ``whole`` patches."""

    def __init__(self, shape: tuple[int, int, int], patch: int, whole: int = 1) -> None:
        self.size = shape[1:]
        if patch * whole > 4 * max(self.size):
            raise ValueError(
                f"patch={patch} and {int(math.log2(whole)) + 1} levels of channels are for pictures of at least "
                f"{patch * whole // 4} pixels, not {self.size[0]}×{self.size[1]}"
            )
        height, width = (-(-size // (patch * whole)) * patch * whole for size in self.size)
        self.padding = 0, width - shape[2], 0, height - shape[1]
        super().__init__((shape[0], height, width), (patch, patch))

    def split(self, x: Tensor) -> Tensor:
        return super().split(F.pad(x, self.padding))

    def join(self, values: Tensor) -> Tensor:
        return super().join(values)[..., : self.size[0], : self.size[1]]


class UNet(nn.Module):
    """Pictures ``(B, C, H, W)``, times ``(B,)`` and groups, int64 ``(B,)``, to ``(B, C, H, W)``.

    Each level has half as many rows and columns of places as the one before. On the way down and on the way up a level
    has ``blocks``; the lowest one has them once, between two layers of attention.

    Args:
        shape: (C, H, W).
        groups: how many there are to be told of.
        patch: rows and columns of pixels that are a place of the first level.
        channels: of each level.
        blocks: of a level, each way.
        dropout: probability that a channel inside of a block is zeroed in training.

    Attributes:
        states: values of an example in all blocks together.

    Raises:
        ValueError: places that are far larger than a picture, or channels that heads cannot share.
    """

    outer = ("enter", "leave", "told.time", "told.out")

    def __init__(
        self, shape: tuple[int, int, int], groups: int, patch: int, channels: Sequence[int], blocks: int, dropout: float
    ) -> None:
        super().__init__()
        self.squares = Squares(shape, patch, 2 ** (len(channels) - 1))
        values, first = self.squares.pixels, channels[0]
        self.enter, self.leave = nn.Linear(values, first), nn.Linear(first, values)
        self.places = nn.Parameter(torch.zeros(*self.squares.grid, first))
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        pairs = list(itertools.pairwise(channels))
        self.down = nn.ModuleList(nn.Conv2d(narrow, wide, 2, 2, bias=False) for narrow, wide in pairs)
        self.up = nn.ModuleList(nn.Linear(wide, 4 * narrow, bias=False) for narrow, wide in pairs)
        levels = [*channels, *channels[-2::-1]]
        depths = [*range(len(channels)), *range(len(channels) - 2, -1, -1)]
        places = self.squares.count * blocks
        self.states = sum(width * places // 4**depth for width, depth in zip(levels, depths, strict=True))
        self.blocks = nn.ModuleList(
            nn.ModuleList(Convolutions(width, dropout) for _ in range(blocks)) for width in levels
        )
        self.attention = nn.ModuleList(Attention(channels[-1], causal=False) for _ in range(2))
        self.told = Told(groups, 4 * first, [width for width in levels for _ in range(blocks)])

    def forward(self, x: Tensor, times: Tensor, groups: Tensor) -> Tensor:
        told = iter(self.told(times, groups))
        h, lowest = self.enter(self.squares.split(x)) + self.places, len(self.down)
        kept: list[Tensor] = []
        for level, blocks in enumerate(cast("list[nn.ModuleList]", [*self.blocks])):
            if level > lowest:
                rows = self.up[2 * lowest - level](h).unflatten(3, (2, 2, -1))  # (B, H, W, 2, 2, C)
                h = kept.pop() + rows.permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(1, 2)
            if level == lowest:
                h = self.attention[0](h)[0]
            for block in blocks:
                h = block(h, next(told))
            if level == lowest:
                h = self.attention[1](h)[0]
            if level < lowest:
                kept.append(h)
                h = convolved(cast(nn.Conv2d, self.down[level]), h)
        return self.squares.join(self.leave(rms_norm(h)))


class DiT(nn.Module):
    """As :class:`UNet`: places of one level, each of which sees all others, block after block."""

    outer = UNet.outer

    def __init__(
        self, shape: tuple[int, int, int], groups: int, patch: int, channels: Sequence[int], blocks: int, dropout: float
    ) -> None:
        super().__init__()
        (width,) = channels
        self.squares = Squares(shape, patch)
        self.enter, self.leave = (
            nn.Linear(self.squares.pixels, width),
            nn.Linear(width, self.squares.pixels),
        )
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        self.states = 6 * width * blocks * self.squares.count  # a perceptron's inner ones are four times as wide
        self.places = nn.Parameter(0.1 * torch.randn(*self.squares.grid, width))
        self.attention = nn.ModuleList(Attention(width, causal=False) for _ in range(blocks))
        self.blocks = nn.ModuleList(Perceptron(width, dropout) for _ in range(blocks))
        self.told = Told(groups, width, [4 * width] * blocks)

    def forward(self, x: Tensor, times: Tensor, groups: Tensor) -> Tensor:
        h = self.enter(self.squares.split(x)) + self.places
        for attention, block, told in zip(self.attention, self.blocks, self.told(times, groups), strict=True):
            h = block(attention(h)[0], told)
        return self.squares.join(self.leave(rms_norm(h)))


NETWORKS: dict[str, type[UNet] | type[DiT]] = {"unet": UNet, "dit": DiT}


def network_of(
    name: str,
    shape: tuple[int, int, int],
    groups: int,
    patch: int,
    channels: Sequence[int],
    blocks: int,
    dropout: float,
) -> UNet | DiT:
    """A new network by its name. Raises ``ValueError`` for what cannot be."""
    if name not in NETWORKS:
        raise ValueError(f"network must be {' or '.join(NETWORKS)}, not {name!r}")
    if not channels or min(*channels, patch, blocks) < 1 or not 0 <= dropout < 1:
        raise ValueError("channels, of each level, patch and blocks must be at least 1, and dropout in [0, 1)")
    if name == "dit" and len(channels) > 1:
        raise ValueError(f"a transformer has one level: channels=[{channels[-1]}]")
    return NETWORKS[name](shape, groups, patch, channels, blocks, dropout)
