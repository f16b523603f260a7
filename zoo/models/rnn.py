"""Recurrent network: an image is read as a sequence, and the last state decides.

    h_t = tanh(W x_t + U h_{t-1} + b)                           (vanilla; Elman 1990)

with the gated cells GRU (Cho et al. 2014) and LSTM (Hochreiter & Schmidhuber 1997) in the same place. The sequence is
the rows, the columns or the single pixels of the image. A bidirectional network reads it from both ends and joins
the two last states.

The forget gates of an LSTM begin half closed, as torch starts them: what it has read halves with each step until it has
learned better. Over many steps it learns sooner with a bias that opens them (Gers, Schmidhuber & Cummins 2000;
Jozefowicz, Zaremba & Sutskever 2015).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from zoo.base.classifier import Classifier
from zoo.base.sequence import Steps
from zoo.registry import register
from zoo.spec import DataSpec

CELLS = {"vanilla": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
KEPT = 60  # bytes that training keeps of a unit's step: gates and states, and their gradients


@register("rnn")
class RNN(Classifier):
    """Recurrent classifier.

    Args:
        spec: shape and classes of the data.
        cell: ``"vanilla"``, ``"gru"`` or ``"lstm"``.
        reads: ``"rows"`` (H steps of C·W values), ``"columns"`` (W steps of C·H) or ``"pixels"`` (H·W steps of C).
        hidden_size: width of the state, per direction.
        num_layers: stacked recurrent layers.
        bidirectional: read from both ends.
        dropout: probability of zeroing a feature between layers and before the head, in [0, 1).
        forget_bias: added to the bias of an LSTM's forget gates at the start; 0 leaves torch's start.
    """

    kinds = ("image",)  # neighbouring entries of a table have nothing to do with each other
    lighter = "model.reads=rows or columns, a narrower model.hidden_size or a smaller data.image_size make it fit"

    def __init__(
        self,
        spec: DataSpec,
        cell: str = "lstm",
        reads: str = "rows",
        hidden_size: int = 128,
        num_layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.1,
        forget_bias: float = 0.0,
    ) -> None:
        super().__init__(spec)
        if cell not in CELLS:
            raise ValueError(f"cell must be one of {', '.join(CELLS)}, not {cell!r}")
        self.reading = Steps(spec.shape, reads)
        if hidden_size < 1 or num_layers < 1 or not 0 <= dropout < 1:
            raise ValueError("hidden_size and num_layers must be at least 1 and dropout in [0, 1)")
        if not math.isfinite(forget_bias):
            raise ValueError(f"forget_bias must be a finite number, not {forget_bias}")
        if forget_bias and cell != "lstm":
            raise ValueError(f"forget_bias is of the gates of cell='lstm'; cell={cell!r} has none")
        self.cell = CELLS[cell](
            self.reading.values,
            hidden_size,
            num_layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=dropout if num_layers > 1 else 0.0,
        )
        directions = 2 if bidirectional else 1
        self.bytes_an_example = KEPT * self.reading.count * hidden_size * num_layers * directions
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size * directions, spec.num_classes)
        for name, parameter in self.cell.named_parameters():
            if "weight_hh" in name:  # orthogonal recurrence keeps gradients alive over many steps (Saxe et al. 2014)
                for gate in parameter.split(hidden_size):
                    nn.init.orthogonal_(gate)
            if "bias_ih" in name and forget_bias:
                with torch.no_grad():  # gates are stacked: input, forget, cell, output
                    parameter[hidden_size : 2 * hidden_size] += forget_bias

    def features(self, x: Tensor) -> Tensor:
        state = self.cell(self.reading.of(self.normalize(x)))[1]
        last = state[0] if isinstance(state, tuple) else state  # the LSTM returns (h, c)
        ends = last[-2:] if self.cell.bidirectional else last[-1:]
        return self.dropout(torch.cat(tuple(ends), 1))
