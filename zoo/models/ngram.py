"""Interpolated n-grams: the next token is as probable as it was after the last n - 1 ones, in so far as they were seen.

    p(x_t | c) = max(n(c x_t) - D, 0) / n(c) + g(c) p(x_t | c'),    c = x_{t-n+1} … x_{t-1},    c' = x_{t-n+2} … x_{t-1}

with counts n, discounts D of one, two, and three or more occurrences, and g(c) what makes it sum to one; orders below
the highest count in how many contexts a token was seen. Counted in seconds, by modified Kneser–Ney smoothing, see
:mod:`zoo.base.grams`: what every network has to be better than. ``order=1`` knows how frequent each token is alone, and
with classes it is naive Bayes.

References: Kneser & Ney (1995), Improved backing-off for m-gram language modeling; Chen & Goodman (1999), An empirical
study of smoothing techniques for language modeling.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.base.grams import Grams, past_of
from zoo.base.language import Language, aligned
from zoo.registry import register
from zoo.spec import DataSpec

MOST = 16  # tokens of a gram


@register("ngram")
class NGram(Language):
    """Interpolated n-gram model of texts, by modified Kneser–Ney smoothing.

    Training counts once, before its first pass; a pass of EM finds nothing to change.

    Args:
        spec: the data, of tokens.
        order: n: how many tokens a gram has, the next one among them; at most ``context + 1`` where windows of running
            text have a context.
        conditional: counts for each class. Without it the model is no classifier.
    """

    is_counted = True

    def __init__(self, spec: DataSpec, order: int = 7, conditional: bool = True) -> None:
        super().__init__(spec, conditional)
        if not 1 <= order <= MOST:
            raise ValueError(f"order must be from 1 to {MOST}, not {order}")
        check_order(order, spec, "order")
        self.order = order
        self.grams = Grams(self.size, order, self.groups)

    @torch.no_grad()
    def initialize(self, batches: Any, generator: torch.Generator) -> None:
        """Count: everything is known after that."""
        super().initialize(batches, generator)
        self.grams.count(self.counted(x, labels) for x, labels in batches)

    def counted(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Training examples as :meth:`zoo.base.grams.Grams.count` takes them: each token of a text counts once."""
        tokens, before = aligned(x)
        return tokens.clamp_min(0), self.counts(tokens, before), self.groups_of(labels)

    @torch.no_grad()
    def statistics(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        value = self.log_likelihood(x, labels).double().sum()
        return {"images": torch.tensor(float(len(x)), dtype=torch.float64, device=x.device), "log_likelihood": value}

    def maximize(self, statistics: dict[str, Tensor]) -> None:
        """Nothing: the counts are what they are."""

    # The next token

    def token_log_prob(self, x: Tensor, groups: Tensor) -> Tensor:
        there = x >= 0  # texts are of many lengths
        past, each = past_of(x.clamp_min(0), self.order, self.size)[there], groups[:, None].expand_as(x)[there]
        found = self.grams.probability(x[there], past, each).log()
        return found.new_zeros(x.shape).masked_scatter(there, found)

    def logits(self, x: Tensor, groups: Tensor) -> Tensor:
        past = past_of(x.clamp_min(0), self.order, self.size)
        each = groups[:, None].expand_as(x).flatten()
        return self.grams.distribution(past.flatten(0, 1), each).log().unflatten(0, x.shape)

    def begin(self, groups: Tensor) -> tuple[Tensor, Tensor]:
        return groups, groups.new_full((len(groups), self.order - 1), self.size)

    def advance(self, state: tuple[Tensor, Tensor], tokens: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        groups, past = state
        past = torch.cat([tokens.flip(1), past], 1)[:, : self.order - 1]
        return self.grams.distribution(past, groups).log(), (groups, past)


def check_order(order: int, spec: DataSpec, option: str) -> None:
    """Raise ``ValueError`` where grams of that order reach beyond the context of running text."""
    if spec.context and order > spec.context + 1:
        raise ValueError(
            f"{option}={order} looks at the {order - 1} tokens before, and only {spec.context} are known: "
            f"data.context={order - 1} or more"
        )
