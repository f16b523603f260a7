"""A network that reads a grid place by place, row after row, and knows at each place what stands before it alone.

It has two streams of states (van den Oord et al. 2016, Conditional image generation with PixelCNN decoders): a, which
knows the rows above a place, and b, which knows these and what is left of the place in its row. A block adds to both

    a += D silu(K ∗ norm(a) + c)        b += E silu(L ∗ norm(b) + T norm(a) + d)        norm(h) = h / √mean(h²)

with kernels K, of a place's own row of a and the one above, and L, of its own column of b and the one before; c and d
are those of a condition, such as a class. A norm over places would tell of later ones: it is over channels alone.
Filters are dense: of single channels, they take a CPU longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.base.attention import Attention
from zoo.base.blocks import channel_dropout, convolved, rms_norm

ROWS, WIDE, COLUMNS = 2, 3, 2  # of K, and of L
FIRST_ROWS, FIRST_WIDE, FIRST_COLUMNS = 2, 5, 3  # the same of what reads the values themselves, none of them its own


class Block(nn.Module):
    """What is added to both streams; states are ``(B, rows, columns, channels)``."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.above_in = nn.Conv2d(channels, channels, (ROWS, WIDE), bias=False)
        self.left_in = nn.Conv2d(channels, channels, (1, COLUMNS), bias=False)
        self.tell = nn.Linear(channels, channels, bias=False)
        self.above_out = nn.Linear(channels, channels, bias=False)
        self.left_out = nn.Linear(channels, channels, bias=False)
        for layer in (self.above_in, self.left_in, self.tell):
            nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
        for layer in (self.above_out, self.left_out):
            nn.init.zeros_(layer.weight)

    def above(self, a: Tensor, normed: Tensor, bias: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """The stream of the rows above, given with its norm, and the last row of that, ``past`` the last one before, if
        there was any."""
        rows = _behind(past, normed, 1, ROWS - 1)
        hidden = convolved(self.above_in, F.pad(rows, (0, 0, WIDE // 2, WIDE // 2))) + bias
        a = a + channel_dropout(self.above_out(F.silu(hidden)), self.dropout, self.training)
        return a, rows[:, 1 - ROWS :]

    def left(self, b: Tensor, told: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """The other stream, and the last of its columns; ``told``: T norm(a) + d."""
        columns = _behind(past, rms_norm(b), 2, COLUMNS - 1)
        hidden = convolved(self.left_in, columns) + told
        b = b + channel_dropout(self.left_out(F.silu(hidden)), self.dropout, self.training)
        return b, columns[:, :, 1 - COLUMNS :]


class CausalNetwork(nn.Module):
    """What stands at the places of a grid, ``(B, H, W, F)``, to states, ``(B, H, W, channels)``, each of what stands
    before its place, in the order of reading.

    Args:
        features: F, values that stand at a place.
        grid: H and W.
        channels: of a state.
        blocks: how many there are.
        conditions: how many things there are to be told of, of which each example has some.
        attention: layers of it, behind blocks that are evenly spread, with a head for each 16 channels.
        dropout: probability that a channel of what a block adds is zeroed in training, in [0, 1).

    Raises:
        ValueError: numbers that cannot be.
    """

    outer = ("above_first", "left_first")

    def __init__(
        self,
        features: int,
        grid: tuple[int, int],
        channels: int,
        blocks: int,
        conditions: int,
        attention: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if min(channels, blocks) < 1 or not 0 <= dropout < 1:
            raise ValueError("channels and blocks must be at least 1 and dropout in [0, 1)")
        if not 0 <= attention <= blocks:
            raise ValueError(f"attention={attention}, layers behind some of the blocks, must be from 0 to {blocks}")
        self.above_first = nn.Conv2d(features, channels, (FIRST_ROWS, FIRST_WIDE))  # where nothing stands, its bias
        self.left_first = nn.Conv2d(features, channels, (1, FIRST_COLUMNS), bias=False)
        self.places = nn.Parameter(torch.zeros(2, *grid, channels))  # where a state is, a's and b's
        self.condition = nn.Embedding(conditions, blocks * 2 * channels)
        nn.init.zeros_(self.condition.weight)
        self.blocks = nn.ModuleList(Block(channels, dropout) for _ in range(blocks))
        places = [((2 * number + 1) * blocks - 1) // (2 * attention) for number in range(attention)]
        self.attention = nn.ModuleDict({str(place): Attention(channels, causal=True) for place in places})

    def forward(self, features: Tensor, conditions: Tensor) -> Tensor:
        """All places at once; ``conditions``: which ones each example has, int64 ``(B, N)``."""
        reading = Reading(self, conditions)
        reading.rows(features, self.places.shape[1])
        return reading.columns(features, self.places.shape[2])


class Reading:
    """A grid as it is read, of which the last rows and columns of states are kept.

    Attributes:
        row, column: the place that is next.
    """

    def __init__(self, network: CausalNetwork, conditions: Tensor) -> None:
        self.network, self.blocks = network, cast("list[Block]", [*network.blocks])
        self.bias = network.condition(conditions).sum(1).unflatten(1, (len(self.blocks), 2, 1, 1, -1))
        self.row = self.column = self.height = 0
        self.above: list[Tensor | None] = [None] * len(self.blocks)
        self.left: list[Tensor | None] = [None] * len(self.blocks)
        self.told: list[Tensor] = []
        self.entry = self.bias  # b's states before the blocks, of what is above: of no row yet
        self.keys: dict[str, Tensor] = {}

    def rows(self, features: Tensor, count: int = 1) -> None:
        """Go on to the beginning of the next ``count`` rows; nothing is read of ``features`` but the rows before the
        last of them."""
        network, self.row, self.column = self.network, self.row + self.height, 0
        last = self.row + count - 1
        seen = F.pad(features[:, max(self.row - FIRST_ROWS, 0) : last], (0, 0, FIRST_WIDE // 2, FIRST_WIDE // 2))
        seen = F.pad(seen, (0, 0, 0, 0, max(FIRST_ROWS - self.row, 0), 0))
        a = convolved(network.above_first, seen)
        self.entry = a + network.places[1, self.row : last + 1]
        a = a + network.places[0, self.row : last + 1]
        self.height, self.told, self.left = count, [], [None] * len(self.left)
        normed = rms_norm(a)
        for number, block in enumerate(self.blocks):
            a, self.above[number] = block.above(a, normed, self.bias[:, number, 0], self.above[number])
            normed = rms_norm(a)
            self.told.append(block.tell(normed) + self.bias[:, number, 1])

    def columns(self, features: Tensor, count: int = 1) -> Tensor:
        """The states of the next ``count`` columns of these rows, ``(B, rows, count, channels)``; nothing is read of
        ``features`` but what stands before the last of them. All columns, or with attention one of a single row."""
        network, first, last = self.network, self.column, self.column + count - 1
        here = features[:, self.row : self.row + self.height, max(first - FIRST_COLUMNS, 0) : last]
        b = convolved(network.left_first, F.pad(here, (0, 0, max(FIRST_COLUMNS - first, 0), 0)))
        b = b + self.entry[:, :, first : last + 1]
        for number, block in enumerate(self.blocks):
            b, self.left[number] = block.left(b, self.told[number][:, :, first : last + 1], self.left[number])
            if (place := str(number)) in network.attention:
                b, self.keys[place] = network.attention[place](b, self.keys.get(place))
        self.column += count
        return rms_norm(b)

    def take(self, index: Tensor) -> None:
        """Go on with these examples, ``(N,)``."""
        self.bias, self.entry = self.bias[index], self.entry[index]
        self.told = [part[index] for part in self.told]
        self.above, self.left = (_each(parts, index) for parts in (self.above, self.left))
        self.keys = {place: keys[:, index] for place, keys in self.keys.items()}


def _each(parts: Sequence[Tensor | None], index: Tensor) -> list[Tensor | None]:
    return [None if part is None else part[index] for part in parts]


def _behind(past: Tensor | None, x: Tensor, axis: int, count: int) -> Tensor:
    """``x`` behind the ``count`` rows or columns that were kept before it: zeros where a grid begins."""
    if past is not None:
        return torch.cat([past, x], axis)
    return F.pad(x, (0, 0, 0, 0, count, 0) if axis == 1 else (0, 0, count, 0))
