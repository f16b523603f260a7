"""Recurrent layers: the cells, how they start, and texts of different lengths.

    h_t = tanh(W x_t + U h_{t-1} + b)                           (vanilla; Elman 1990)

with the gated cells GRU (Cho et al. 2014) and LSTM (Hochreiter & Schmidhuber 1997) in the same place.

The forget gates of an LSTM begin half closed, as torch starts them: what it has read halves with each step until it has
learned better. Over many steps it learns sooner with a bias that opens them (Gers, Schmidhuber & Cummins 2000;
Jozefowicz, Zaremba & Sutskever 2015).
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

CELLS = {"vanilla": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
KEPT = 60  # bytes that training keeps of a unit's step: gates and states, and their gradients


def recurrent(
    cell: str,
    inputs: int,
    hidden_size: int,
    num_layers: int,
    dropout: float,
    forget_bias: float,
    bidirectional: bool = False,
) -> nn.RNNBase:
    """Stacked layers of a ``cell`` that read ``(B, T, inputs)``; :func:`start` draws where they begin.

    Raises ``ValueError`` for an option that cannot be.
    """
    check(cell, hidden_size, num_layers, dropout, forget_bias)
    return CELLS[cell](
        inputs,
        hidden_size,
        num_layers,
        batch_first=True,
        bidirectional=bidirectional,
        dropout=dropout if num_layers > 1 else 0.0,
    )


def check(cell: str, hidden_size: int, num_layers: int, dropout: float, forget_bias: float) -> None:
    """Raise ``ValueError`` for an option that cannot be."""
    if cell not in CELLS:
        raise ValueError(f"cell must be one of {', '.join(CELLS)}, not {cell!r}")
    if hidden_size < 1 or num_layers < 1 or not 0 <= dropout < 1:
        raise ValueError("hidden_size and num_layers must be at least 1 and dropout in [0, 1)")
    if not math.isfinite(forget_bias):
        raise ValueError(f"forget_bias must be a finite number, not {forget_bias}")
    if forget_bias and cell != "lstm":
        raise ValueError(f"forget_bias is of the gates of cell='lstm'; cell={cell!r} has none")


@torch.no_grad()
def start(layers: nn.RNNBase, forget_bias: float) -> None:
    """Orthogonal recurrence, which keeps gradients alive over many steps (Saxe et al. 2014), and forget gates that are
    opened by ``forget_bias``."""
    size = layers.hidden_size
    for name, parameter in layers.named_parameters():
        if "weight_hh" in name:
            for gate in parameter.split(size):
                nn.init.orthogonal_(gate)
        if "bias_ih" in name and forget_bias:
            parameter[size : 2 * size] += forget_bias  # gates are stacked: input, forget, cell, output


def steps_of(cell: nn.Module, x: Tensor) -> Any:
    """What a cell of :func:`recurrent` makes of ``(B, T, inputs)``. On a CPU it stays in single precision where all
    else is computed in 16 bits: not every one has kernels for that, and none gains from them."""
    if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            return cell(x.float())
    return cell(x)


class Reader(nn.Module):
    """Stacked layers that read texts of different lengths, from their beginning and, ``bidirectional``, from their end.

    Each direction is a layer of its own, and reads a text turned round within its length: packed sequences, of which
    torch's bidirectional layers do the same, take ten times as long on a CPU.

    Args:
        cell, inputs, hidden_size, num_layers, dropout, forget_bias, bidirectional: see :func:`recurrent`.
    """

    def __init__(
        self,
        cell: str,
        inputs: int,
        hidden_size: int,
        num_layers: int,
        dropout: float,
        forget_bias: float,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        check(cell, hidden_size, num_layers, dropout, forget_bias)
        directions = 2 if bidirectional else 1
        self.layers = nn.ModuleList()
        for width in (inputs, *[hidden_size * directions] * (num_layers - 1)):
            ways = [recurrent(cell, width, hidden_size, 1, dropout, forget_bias) for _ in range(directions)]
            for way in ways:
                start(way, forget_bias)
            self.layers.append(nn.ModuleList(ways))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """What the last layer knows at the end of texts, ``(B, hidden_size · directions)``, and at their beginning, of
        the way back; 0 where there is nothing to read.

        Args:
            x: ``(B, T, inputs)``, T ≥ 1; what stands behind a text changes nothing.
            lengths: of each text, ``(B,)``.
        """
        places = torch.arange(x.shape[1], device=x.device)
        turned = torch.where(places < lengths[:, None], lengths[:, None] - 1 - places, places)[..., None]
        for number, layer in enumerate(self.layers):
            x = self.dropout(x) if number else x
            ways = cast(nn.ModuleList, layer)
            states = [steps_of(way, _at(x, turned) if back else x)[0] for back, way in enumerate(ways)]
            x = torch.cat([_at(state, turned) if back else state for back, state in enumerate(states)], 2)
        last = (lengths - 1).clamp_min(0)[:, None, None]
        ends = torch.cat([_at(state, last)[:, 0] for state in states], 1)
        return torch.where(lengths[:, None] > 0, ends, 0)


def _at(x: Tensor, places: Tensor) -> Tensor:
    """Steps of ``(B, T, D)`` at ``places`` ``(B, t, 1)``: ``(B, t, D)``."""
    return x.gather(1, places.expand(-1, -1, x.shape[2]))
