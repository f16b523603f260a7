"""Counts of tokens in their contexts, and the probability of the next token that follows: interpolated n-grams.

A context of k tokens is a node of a tree, below the node of its last k - 1 tokens; the root of each group is the empty
context. Each node and each token that has followed it have numbers of their own, so that two sorted lists hold all
orders, and a binary search finds them. With c tokens counted, of which w is c(w) and N_d are met d times,

    p_k(w) = max(c(w) - D_c(w), 0) / c + (D_1 N_1 + D_2 N_2 + D_3 N_3+) / c * p_{k-1}(w)          (modified Kneser–Ney)

and p of the empty context is interpolated with 1 / V. Of all contexts but the longest, and but those that begin with a
text's beginning, c(w) is the number of different tokens that stand before them: how many contexts a token is new in.
The discounts of an order are D_j = j - (j + 1) Y n_{j+1} / n_j with Y = n_1 / (n_1 + 2 n_2), n_j being how many tokens
are counted j times; 1/2 each in an order of so few that one of n_1 .. n_4 is 0.

Reference: Chen & Goodman (1999), An empirical study of smoothing techniques for language modeling, section 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.base import memory
from zoo.errors import ZooError

HALF = 0.5  # the discount of an order that is too small to tell
LEAST = 0.01  # of any: what has not been seen keeps a probability
BYTES = 32  # that counting takes of each token, for each token of a gram
SLACK = 1e-3  # of sums of rounded probabilities
SEVERAL = 3  # times and more that share a discount


class Grams(nn.Module):
    """Tokens after contexts of up to ``order - 1`` tokens.

    Args:
        size: V, the number of symbols.
        order: n, of the longest grams.
        groups: how many texts' worth of counts there are: one a class, or one.

    Attributes:
        contexts: sorted, parent · (V + 1) + the token before it, of every node but the roots; V is the beginning of a
            text. The node's own number is its place behind the roots.
        grams: sorted, node · V + token, of every token that was seen in a context.
        own: (c(w) - D) / c of each of ``grams``.
        rest: what is left to shorter contexts, of each node.
    """

    contexts: Tensor
    grams: Tensor
    own: Tensor
    rest: Tensor

    def __init__(self, size: int, order: int, groups: int) -> None:
        super().__init__()
        if order < 1:
            raise ValueError(f"order must be at least 1, not {order}")
        self.size, self.order, self.groups = size, order, groups
        self.register_buffer("contexts", torch.zeros(0, dtype=torch.long))
        self.register_buffer("grams", torch.zeros(0, dtype=torch.long))
        self.register_buffer("own", torch.zeros(0))
        self.register_buffer("rest", torch.ones(groups))

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """How many grams there are is not known before they are counted, or loaded."""
        for name in self._buffers:
            value = state.get(prefix + name)
            if isinstance(value, Tensor) and value.dim() == 1:
                self._buffers[name] = getattr(self, name).new_zeros(len(value))
        super()._load_from_state_dict(state, prefix, *rest)
        nodes = self.groups + len(self.contexts)
        sizes = ((self.contexts, self.size + 1), (self.grams, self.size))
        ordered = all(bool((keys[1:] > keys[:-1]).all()) for keys, _ in sizes)
        inside = all(not len(keys) or 0 <= int(keys[0]) <= int(keys[-1]) < nodes * size for keys, size in sizes)
        fits = len(self.rest) == nodes and len(self.own) == len(self.grams) and ordered and inside
        if fits:  # probabilities after each context are none below 0, and 1 together
            total = self.rest.double().index_add(0, self.grams // self.size, self.own.double())
            fits = bool(((total - 1).abs() < SLACK).all()) and bool((torch.cat([self.own, self.rest]) >= 0).all())
        if not fits:
            raise RuntimeError("\nits counts of tokens do not fit each other")

    @property
    def num_counts(self) -> int:
        """How many numbers counting has set."""
        return len(self.own) + len(self.rest) if len(self.own) else 0

    # Counting

    @torch.no_grad()
    def count(self, batches: Iterable[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Set all counts from ``(x, counted, groups)``: tokens ``(B, T)``, which of them are to be counted, bool
        ``(B, T)``, and int64 ``(B,)``. What stands before the first place is the beginning of a text.

        Raises ``ZooError`` where nothing is to be counted.
        """
        device = self.rest.device
        parts: list[tuple[Tensor, Tensor]] = []
        total = 0
        for x, counted, which in batches:
            parts.append(self._seen(x.cpu(), counted.cpu(), which.cpu()))
            total += len(parts[-1][1])
            memory.require(
                BYTES * total * self.order, f"so many tokens, {total:,} and more,", "a smaller order will do"
            )
        if not total:
            raise ZooError("there are no tokens to count")
        seen, node = torch.cat([part for part, _ in parts]), torch.cat([part for _, part in parts])
        token, base = seen[:, 0], 0
        alive = torch.ones_like(token, dtype=torch.bool)  # nothing stands before a text's beginning
        contexts: list[Tensor] = []
        grams: list[tuple[Tensor, Tensor]] = []
        starts: list[Tensor] = []  # of each order's nodes, whether a text's beginning is the first of their tokens
        for length in range(self.order):
            if length:
                base += self.groups if length == 1 else len(contexts[-1])
                alive = alive & (seen[:, length - 1] != self.size) if length > 1 else alive
                keys, places = (node[alive] * (self.size + 1) + seen[alive, length]).unique(return_inverse=True)
                contexts.append(keys)
                starts.append(keys % (self.size + 1) == self.size)
                node = torch.zeros_like(node).index_put((alive,), base + places)
            else:
                starts.append(torch.zeros(self.groups, dtype=torch.bool))
            grams.append((node[alive] * self.size + token[alive]).unique(return_counts=True))
        nodes = torch.cat(
            [torch.zeros(self.groups, dtype=torch.long), *contexts]
        )  # by number, those of the roots unused
        own, rest, base = [], [], 0
        for length, ((keys, counts), start) in enumerate(zip(grams, starts, strict=True)):
            if length + 1 < self.order:  # how many different tokens stand before
                longer = grams[length + 1][0]
                parent = nodes[longer // self.size] // (self.size + 1)
                shorter, times = (parent * self.size + longer % self.size).unique(return_counts=True)
                varied = torch.zeros_like(counts)
                varied[torch.searchsorted(keys, shorter)] = times
                counts = torch.where(start[keys // self.size - base], counts, varied)
            discounts = self._discounts(counts)[counts.clamp_max(SEVERAL) - 1]
            place = keys // self.size - base
            zeros = torch.zeros(len(start), dtype=torch.float64)
            totals = zeros.index_add(0, place, counts.double())
            own.append((counts - discounts) / totals[place])
            rest.append(zeros.index_add(0, place, discounts) / totals)
            base += len(start)
        values = {
            "contexts": torch.cat(contexts) if contexts else torch.zeros(0, dtype=torch.long),
            "grams": torch.cat([keys for keys, _ in grams]),
            "own": torch.cat(own),
            "rest": torch.cat(rest).nan_to_num(1.0),  # of a class without a text
        }
        for name, value in values.items():
            self._buffers[name] = value.to(getattr(self, name).dtype).to(device)

    def _seen(self, x: Tensor, counted: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
        """Each token that is counted with those before it, the nearest first, ``(N, n)``; and its group, ``(N,)``."""
        windows = torch.cat([x[..., None], past_of(x, self.order, self.size)], 2)
        return windows[counted], groups[:, None].expand_as(x)[counted]

    @staticmethod
    def _discounts(counts: Tensor) -> Tensor:
        """D_1, D_2 and D_3 of an order, float64."""
        once, twice, thrice, four = (int((counts == times).sum()) for times in range(1, 5))
        if not min(once, twice, thrice, four):
            return torch.full((SEVERAL,), HALF, dtype=torch.float64)
        share = once / (once + 2 * twice)
        found = [1 - 2 * share * twice / once, 2 - 3 * share * thrice / twice, 3 - 4 * share * four / thrice]
        most = torch.arange(1, SEVERAL + 1, dtype=torch.float64)
        return torch.tensor(found, dtype=torch.float64).clamp_min(LEAST).minimum(most)

    # Probabilities

    def nodes(self, past: Tensor, groups: Tensor) -> list[Tensor]:
        """The node of each context's last k tokens, for k from 0, int64 ``(N,)`` each, -1 where it was never seen.

        Args:
            past: the tokens before, the nearest first, ``(N, n - 1)``; V where a text begins.
            groups: ``(N,)``.
        """
        found = [groups]
        for length in range(1, self.order):
            key = found[-1] * (self.size + 1) + past[:, length - 1]
            node = _place(self.contexts, key)
            found.append(torch.where((node >= 0) & (found[-1] >= 0), node + self.groups, -1))
        return found

    def probability(self, token: Tensor, past: Tensor, groups: Tensor) -> Tensor:
        """p(token | the tokens before), ``(N,)``; ``past`` as in :meth:`nodes`."""
        return self._interpolated(token[:, None], self.nodes(past, groups))[:, 0]

    def distribution(self, past: Tensor, groups: Tensor) -> Tensor:
        """p(token | the tokens before) of all tokens, ``(N, V)``."""
        every = torch.arange(self.size, device=past.device).expand(len(past), -1)
        return self._interpolated(every, self.nodes(past, groups))

    def _interpolated(self, tokens: Tensor, nodes: list[Tensor]) -> Tensor:
        p = torch.full(tokens.shape, 1 / self.size, dtype=self.own.dtype, device=tokens.device)
        for node in nodes:
            place = _place(self.grams, node[:, None] * self.size + tokens)
            own = torch.where(place >= 0, _taken(self.own, place), 0)
            p = torch.where(node[:, None] >= 0, own + _taken(self.rest, node)[:, None] * p, p)
        return p


def past_of(x: Tensor, order: int, beginning: int) -> Tensor:
    """The ``order - 1`` tokens before each of x ``(B, T)``, the nearest first, ``(B, T, order - 1)``; ``beginning``
    stands where there is none."""
    if order == 1:
        return x.new_zeros(*x.shape, 0)
    return F.pad(x, (order - 1, 0), value=beginning)[:, :-1].unfold(1, order - 1, 1).flip(2)


def _place(keys: Tensor, wanted: Tensor) -> Tensor:
    """Where each of the ``wanted`` is in sorted ``keys``; -1 where it is not."""
    if not len(keys):
        return torch.full_like(wanted, -1)
    place = torch.searchsorted(keys, wanted.contiguous()).clamp_max(len(keys) - 1)
    return torch.where(keys[place] == wanted, place, -1)


def _taken(values: Tensor, place: Tensor) -> Tensor:
    return values[place.clamp_min(0)] if len(values) else torch.zeros_like(place, dtype=values.dtype)
