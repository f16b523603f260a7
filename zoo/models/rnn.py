"""Recurrent network: a picture or a text is read as a sequence, and the last state decides.

    h_t = tanh(W x_t + U h_{t-1} + b),    p(y | x) = softmax(V h_T + c)

with an LSTM's cell or a GRU's in the place of tanh, see :mod:`zoo.base.recurrent`. The sequence is the rows, the
columns or the single pixels of a picture, the columns of a recording, or the symbols of a text, each a learnt vector. A
bidirectional network reads it from both ends and joins the two last states. What stands behind the end of a text, or of
a recording, is no step of it.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from zoo.base.classifier import Classifier
from zoo.base.recurrent import KEPT, Reader, recurrent, start, steps_of
from zoo.base.sequence import Steps, until_last
from zoo.registry import register
from zoo.spec import DataSpec

READS, EMBEDDING = ("auto", "rows"), 64  # what options are, where the data leaves no choice


@register("rnn")
class RNN(Classifier):
    """Recurrent classifier.

    Args:
        spec: shape and classes of the data.
        cell: ``"vanilla"``, ``"gru"`` or ``"lstm"``.
        reads: of pictures: ``"rows"`` (H steps of C·W values), ``"columns"`` (W steps of C·H) or ``"pixels"`` (H·W
            steps of C); ``"auto"``: rows, and of recordings columns, which are time.
        embedding: of texts: numbers of the vector that a symbol is.
        hidden_size: width of the state, per direction.
        num_layers: stacked recurrent layers.
        bidirectional: read from both ends.
        dropout: probability of zeroing a feature between layers and before the head, in [0, 1).
        forget_bias: added to the bias of an LSTM's forget gates at the start; 0 leaves torch's start.
        mirror: average the logits of each image and its mirror image, see :meth:`zoo.Classifier.views`.
    """

    takes = (*Classifier.takes, "tokens")
    kinds = ("image", "sound", "tokens")  # neighbouring entries of a table have nothing to do with each other
    lighter = (
        "model.reads=rows or columns, a narrower model.hidden_size or a smaller data.image_size or data.longest make "
        "it fit"
    )

    def __init__(
        self,
        spec: DataSpec,
        cell: str = "lstm",
        reads: str = "auto",
        embedding: int = EMBEDDING,
        hidden_size: int = 128,
        num_layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.1,
        forget_bias: float = 0.0,
        mirror: bool = False,
    ) -> None:
        super().__init__(spec, mirror)
        texts = spec.values == "tokens"
        if texts and reads not in READS:
            raise ValueError(f"reads={reads} is of pictures: a text is read symbol by symbol")
        if not texts and embedding != EMBEDDING:
            raise ValueError(f"embedding={embedding} is of texts: the steps of a picture are numbers")
        if embedding < 1:
            raise ValueError(f"embedding must be at least 1, not {embedding}")
        self.reading = None if texts else Steps(spec.shape, reads, spec.kind)
        self.ends = (
            spec.kind == "sound" and spec.missing and self.reading is not None and self.reading.reads == "columns"
        )
        self.embedding = nn.Embedding(len(spec.vocabulary), embedding) if texts else None
        count, values = (self.reading.count, self.reading.values) if self.reading else (spec.shape[2], embedding)
        make = Reader if texts or self.ends else recurrent
        self.cell = make(cell, values, hidden_size, num_layers, dropout, forget_bias, bidirectional)
        directions = 2 if bidirectional else 1
        self.bytes_an_example = KEPT * count * hidden_size * num_layers * directions
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size * directions, spec.num_classes)
        if isinstance(self.cell, nn.RNNBase):
            start(self.cell, forget_bias)

    def features(self, x: Tensor) -> Tensor:
        if self.reading is None:
            tokens, lengths = listed(x)
            return self.dropout(self.cell(cast(nn.Embedding, self.embedding)(tokens), lengths))
        if self.ends:
            lengths = until_last(self.reading.of(~x.isnan()).any(2)).sum(1)
            return self.dropout(self.cell(self.reading.of(self.normalize(x)), lengths))
        state = steps_of(self.cell, self.reading.of(self.normalize(x)))[1]
        last = state[0] if isinstance(state, tuple) else state  # the LSTM returns (h, c)
        ends = last[-2:] if self.cell.bidirectional else last[-1:]
        return self.dropout(torch.cat(tuple(ends), 1))


def listed(x: Tensor) -> tuple[Tensor, Tensor]:
    """The symbols of texts ``(B, 1, 1, T)`` without what is none, -1, before, between or behind them: ``(B, t)``, any
    symbol behind a shorter one, and how many there are of each, ``(B,)``."""
    tokens = x.flatten(1)
    missing = tokens < 0
    lengths = (~missing).sum(1)
    longest = max(int(lengths.amax()), 1) if len(lengths) else 1
    order = missing.long().argsort(dim=1, stable=True)[:, :longest]
    return tokens.gather(1, order).clamp_min(0), lengths
