"""Recurrent language model: what was read so far is a state of fixed size, and the next token depends on it alone.

    h_t = LSTM(e(x_{t-1}), h_{t-1}),    p(x_t | x_1 .. x_{t-1}, y) = softmax(V h_t + c)

The token before the first one is the class, or that there is none (Graves 2013, Generating sequences with recurrent
neural networks). The state is all that generation has to keep, however long the text has become.

On two CPU cores ``zoo train model=rnnlm data=tiny_shakespeare`` takes nine minutes to 1.43 nats per character,
its matrices trained by Muon: at equal tokens AdamW was far behind.

References: Mikolov et al. (2010), Recurrent neural network based language model; Zaremba, Sutskever & Vinyals (2014),
Recurrent neural network regularization, whose dropout never touches what a layer hands on to itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zoo.base.language import Language
from zoo.base.recurrent import KEPT, recurrent, start
from zoo.registry import register
from zoo.spec import DataSpec

FORGET_BIAS = 1.0  # added to an LSTM's at the start: it learns sooner over many steps
State = tuple[Tensor, Any]  # what the last layer says of the next token, (B, hidden_size), and the state of all layers


@register("rnnlm")
class RNNLM(Language):
    """Recurrent model of the next token.

    Args:
        spec: the data, of tokens.
        cell: ``"vanilla"``, ``"gru"`` or ``"lstm"``.
        embedding: numbers of the vector that a token is.
        hidden_size: width of the state of a layer.
        num_layers: stacked recurrent layers.
        dropout: probability of zeroing a feature before, between and behind the layers, in [0, 1).
        conditional: a distribution for each class. Without it the model is no classifier.
    """

    lighter = "a narrower model.hidden_size or a smaller data.length or data.longest make it fit"

    def __init__(
        self,
        spec: DataSpec,
        cell: str = "lstm",
        embedding: int = 128,
        hidden_size: int = 512,
        num_layers: int = 1,
        dropout: float = 0.1,
        conditional: bool = True,
    ) -> None:
        super().__init__(spec, conditional)
        if embedding < 1:
            raise ValueError(f"embedding must be at least 1, not {embedding}")
        self.embedding = nn.Embedding(self.size + self.groups, embedding)  # of the classes behind those of the tokens
        open_gates = FORGET_BIAS if cell == "lstm" else 0.0
        self.cell = recurrent(cell, embedding, hidden_size, num_layers, dropout, open_gates)
        self.bytes_an_example = KEPT * self.window * hidden_size * num_layers + 12 * self.window * self.size
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size, self.size)
        start(self.cell, open_gates)

    def logits(self, x: Tensor, groups: Tensor) -> Tensor:
        before = torch.cat([self.size + groups[:, None], x[:, :-1]], 1)
        return self._scores(self._read(before, None)[0])[:, : x.shape[1]]

    def begin(self, groups: Tensor) -> State:
        outputs, state = self._read(self.size + groups[:, None], None)
        return outputs[:, -1], state

    def advance(self, state: State, tokens: Tensor) -> tuple[Tensor, State]:
        if tokens.shape[1]:
            outputs, layers = self._read(tokens, state[1])
            state = outputs[:, -1], layers
        return self._scores(state[0]), state

    def _read(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        return self.cell(self.dropout(self.embedding(tokens)), state)

    def _scores(self, outputs: Tensor) -> Tensor:
        return self.head(self.dropout(outputs))
