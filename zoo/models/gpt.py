"""GPT: a transformer that reads what has been written and says what comes next (Radford et al. 2018).

The start of a text, or its class, is the first token. A token's state h is at first the sum of vectors of the last few
tokens. Each block adds what it gathers from those before it (Vaswani et al. 2017), and what a perceptron makes of it:

    h += O · attention(rotated(norm(Q norm(h))), rotated(norm(K norm(h))), V norm(h))        h += D · ReLU(U norm(h))²

with norm(h) = h / √mean(h²) (Zhang & Sennrich 2019), rotations by a token's place (Su et al. 2021), queries and keys of
one length (Henry et al. 2020) and the square of a rectifier (So et al. 2021). O, D and the head are zero at first: each
token is as likely as every other.

It sees no more than ``window`` tokens. Where a text has more, the last half of them is read afresh, as the start of a
text, and filled up again: token by token with a cache of keys and values, or all at once, with equal probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.base.blocks import channel_dropout, rms_norm, rotated, squared_relu
from zoo.base.language import Language
from zoo.models.ngram import NGram, check_order
from zoo.registry import register
from zoo.spec import DataSpec

KEPT = 100  # bytes that training keeps of a layer's unit, for each token
Cache = tuple[Tensor, Tensor]  # keys and values of a block, (B, heads, places, width / heads)


class Read(NamedTuple):
    """What is known so far: the class of each text, the tokens that are seen, ``(B, t)``, what each block keeps of the
    start and of them, None where that is to be computed again, and the state of the n-grams, if any."""

    groups: Tensor
    tokens: Tensor
    caches: list[Cache] | None
    beside: Any


class Block(nn.Module):
    """States ``(B, t, width)`` to states; ``past`` are keys and values of the places before them."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)
        for layer in (self.qkv, self.up):
            nn.init.normal_(layer.weight, std=width**-0.5)
        for layer in (self.out, self.down):
            nn.init.zeros_(layer.weight)

    def forward(self, h: Tensor, turns: Tensor, past: Cache | None = None) -> tuple[Tensor, Cache]:
        qk, v = self.qkv(rms_norm(h)).unflatten(2, (3, self.heads, -1)).split((2, 1), 2)  # (B, t, 2 or 1, heads, …)
        q, k = rotated(rms_norm(qk), turns).transpose(1, 3).unbind(2)
        v, mask = v.transpose(1, 3).squeeze(2), None
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
            if q.shape[2] > 1:
                mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=h.device).tril(past[0].shape[2])
        read = F.scaled_dot_product_attention(q, k, v, mask, is_causal=past is None)
        h = h + channel_dropout(self.out(read.transpose(1, 2).flatten(2)), self.dropout, self.training)
        made = self.down(squared_relu(self.up(rms_norm(h))))
        return h + channel_dropout(made, self.dropout, self.training), (k, v)


@register("gpt")
class GPT(Language):
    """Transformer of the next token.

    Args:
        spec: the data, of tokens.
        num_layers: blocks.
        width: of a token's state; even in each head.
        heads: of attention; a divisor of ``width``.
        dropout: probability that a value of what a block adds is zeroed in training, in [0, 1); at all places of a text
            alike (Gal & Ghahramani 2016).
        recent: so many tokens, the last ones, are embedded at each place, by a table each, and added up.
        conditional: a class is the first token of its texts. Without it the model is no classifier.
        bigram: add a table of log odds of a token after another, on which the network need not spend itself.
        ngram: order of the n-grams, counted first, that the network, which learns alone, is mixed with; 0: none.
        share: of the n-grams in p = (1 - share) p_network + share p_ngram; in (0, 1) where there are any, else 0.
        patch: rows and columns of binary pixels that are a token of a picture.

    Attributes:
        cached: whether :meth:`advance` keeps keys and values, or computes them again for each token.
    """

    takes = ("tokens", "grey", "binary")
    kinds = ("tokens", "image")
    cached = True

    def __init__(
        self,
        spec: DataSpec,
        num_layers: int = 2,
        width: int = 192,
        heads: int = 2,
        dropout: float = 0.0,
        recent: int = 4,
        conditional: bool = True,
        bigram: bool = True,
        ngram: int = 0,
        share: float = 0.0,
        patch: Sequence[int] = (4, 2),
    ) -> None:
        super().__init__(spec, conditional, patch)
        if min(num_layers, heads, recent) < 1 or not 0 <= dropout < 1:
            raise ValueError("num_layers, heads and recent must be at least 1 and dropout in [0, 1)")
        if width < 1 or width % (2 * heads):
            raise ValueError(f"width={width} must be a multiple of 2 · heads={2 * heads}: heads turn pairs of values")
        if (not 0 < share < 1) if ngram else share:
            raise ValueError(f"share={share} is that of ngram={ngram}: in (0, 1) where ngram is above 0, else 0")
        if ngram and self.patches is not None:
            raise ValueError(f"ngram={ngram} is of texts: pictures need ngram=0")
        kinds = self.size + self.groups + 1  # the symbols, the classes or the start, and nothing, which is before it
        self.embedding = nn.Embedding(recent * kinds, width)
        nn.init.normal_(self.embedding.weight.data[kinds:], std=0.5)  # the last one tells most of what is next
        self.register_buffer("rows", torch.arange(recent).flip(0) * kinds, persistent=False)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(num_layers))
        self.head = nn.Linear(width, self.size, bias=False)
        nn.init.zeros_(self.head.weight)
        nothing = torch.zeros(self.size + self.groups, self.size)
        self.pairs = nn.Embedding.from_pretrained(nothing, freeze=False) if bigram else None
        check_order(ngram, spec, "ngram")
        self.share, self.ngram = share, NGram(spec, ngram, conditional) if ngram else None
        pairs = width // heads // 2
        angles = torch.outer(torch.arange(self.window), 1e4 ** (-torch.arange(pairs) / pairs))
        self.register_buffer("turns", torch.stack([angles.cos(), angles.sin()], 2), persistent=False)
        self.bytes_an_example = self.window * (KEPT * width * num_layers + 12 * self.size)

    def network(self, inputs: Tensor, caches: list[Cache] | None = None) -> tuple[Tensor, list[Cache]]:
        """Logits of what follows each of ``inputs``, ``(B, t, V)``, but those of ``caches``; and new caches."""
        begin, recent, kept = caches[0][0].shape[2] if caches else 0, len(self.rows), []
        last = F.pad(inputs, (recent - 1, 0), value=self.size + self.groups).unfold(1, recent, 1)[:, begin:]
        h = rms_norm(self.embedding(last + self.rows).sum(2))
        for block, past in zip_longest(self.blocks, caches or ()):
            h, cache = block(h, self.turns[begin : inputs.shape[1]], past)
            kept.append(cache)
        logits = self.head(rms_norm(h))
        return logits if self.pairs is None else logits + self.pairs(inputs[:, begin:]), kept

    def own_logits(self, x: Tensor, groups: Tensor) -> Tensor:
        """As :meth:`logits`, of the network alone."""
        inputs, half = self._started(x[:, :-1], groups), self.window // 2
        parts = [self.network(inputs[:, : self.window])[0]]
        for seen in range(self.window, x.shape[1], self.window - half):  # the last half again, and what follows it
            inputs = self._started(x[:, seen - half : seen - half + self.window - 1], groups)
            parts.append(self.network(inputs)[0][:, half:])
        return (torch.cat(parts, 1) if len(parts) > 1 else parts[0])[:, : x.shape[1]]

    def _started(self, tokens: Tensor, groups: Tensor) -> Tensor:
        return torch.cat([self.size + groups[:, None], tokens], 1)

    def _mixed(self, own: Tensor, counted: Tensor) -> Tensor:
        return torch.logaddexp(own + math.log1p(-self.share), counted + math.log(self.share))

    def logits(self, x: Tensor, groups: Tensor) -> Tensor:
        own = self.own_logits(x, groups)
        return own if self.ngram is None else self._mixed(own.log_softmax(2), self.ngram.logits(x, groups))

    def token_log_prob(self, x: Tensor, groups: Tensor) -> Tensor:
        own = self.own_logits(x.clamp_min(0), groups)
        own = -F.cross_entropy(own.flatten(0, 1), x.clamp_min(0).flatten(), reduction="none").view_as(x)
        return own if self.ngram is None else self._mixed(own, self.ngram.token_log_prob(x, groups))

    def initialize(self, batches: Any, generator: torch.Generator) -> None:
        super().initialize(batches, generator)
        if self.ngram is not None:
            self.ngram.initialize(batches, generator)

    def begin(self, groups: Tensor) -> Read:
        return Read(groups, groups[:, None][:, :0], None, None if self.ngram is None else self.ngram.begin(groups))

    def advance(self, state: Read, tokens: Tensor) -> tuple[Tensor, Read]:
        every, half = torch.cat([state.tokens, tokens], 1), self.window // 2
        count = every.shape[1]
        if count >= self.window:  # as many of the last as there are in a window that has been filled up again
            every = every[:, count - half - (count - self.window) % (self.window - half) :]
        goes_on = self.cached and state.caches is not None and every.shape[1] == count and tokens.shape[1] > 0
        logits, caches = self.network(self._started(every, state.groups), state.caches if goes_on else None)
        own, beside = logits[:, -1], None
        if self.ngram is not None:
            counted, beside = self.ngram.advance(state.beside, tokens)
            own = self._mixed(own.log_softmax(1), counted)
        return own, Read(state.groups, every, caches if self.cached else None, beside)
