"""Models of the next token: p(x) = prod_t p(x_t | x_1 .. x_{t-1}), exact, one token after the other.

An example lists its tokens, int64 ``(B, 1, 1, T)``; -1 stands before a text that begins within a window, and behind one
that is over: neither has a probability. Where texts end, the symbol for their end is the last token that has one. Of
running text the first ``context`` tokens are there to be known: log p(x) is that of what follows, given them.

A picture is a sequence, too, of patches of binary pixels: those that are drawn with the grey value as probability, anew
in training and from a fixed seed elsewhere (Salakhutdinov & Murray 2008, On the quantitative analysis of deep belief
networks).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.base.available import available_if
from zoo.base.generative import ByGroup
from zoo.base.likelihoods import binarise
from zoo.base.patches import BinaryPatches
from zoo.base.sequence import until_last
from zoo.errors import ZooError
from zoo.spec import END, UNKNOWN, DataSpec, Likelihood

VALUES_AT_ONCE = 2**22  # log-probabilities that are worked out at a time, 16 MB in float32


class Language(ByGroup):
    """Base of the models of the next token, of each class or of all texts.

    A subclass defines

    ============================  ======================================================================================
    ``logits(x, groups)``         log p(x_t | x_1 .. x_{t-1}, group) of every token at each place t, up to a constant,
                                  ``(B, T, V)``: x int64 ``(B, T)``, groups int64 ``(B,)``. What stands at t and later
                                  changes nothing at t
    ``begin(groups)``             what it knows before a text begins, and
    ``advance(state, tokens)``    ``(logits, state)``: what comes after so many more tokens, ``(B, t)``, t ≥ 0, up to a
                                  constant, ``(B, V)``; and what it knows then
    ============================  ======================================================================================

    Args:
        spec: the data, of tokens.
        conditional: a distribution for each class. Without it, or with one class, the model is no classifier.
        patch: rows and columns of the patches that pictures are read as, in models that take some.

    Attributes:
        size: V, the symbols of the vocabulary, or how many patches there can be.
        window: T, the tokens of an example.
        context: of these, how many are there to be known.
    """

    takes: tuple[str, ...] = ("tokens",)
    kinds: tuple[str, ...] | None = ("tokens",)
    unless = ": hmm can"

    def __init__(self, spec: DataSpec, conditional: bool, patch: Sequence[int] = (1, 1)) -> None:
        super().__init__(spec, conditional)
        self.patches = None if spec.values == "tokens" else BinaryPatches(spec.shape, patch)
        self.context, self.end, self.unknown = spec.context, spec.token(END), spec.token(UNKNOWN)
        if self.patches is None:
            self.density = Likelihood("exact", "tokens")
            self.size, self.window = len(spec.vocabulary), spec.shape[2]
        else:
            self.density = Likelihood("exact", "binarised" if spec.values == "grey" else "binary")
            self.size, self.window = self.patches.size, self.patches.count

    def logits(self, x: Tensor, groups: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} defines no logits")

    def own_logits(self, x: Tensor, groups: Tensor) -> Tensor:
        """As :meth:`logits`, of what learns by gradient: all of it, unless a subclass says otherwise."""
        return self.logits(x, groups)

    def begin(self, groups: Tensor) -> Any:
        raise TypeError(f"{type(self).__name__} defines no begin")

    def advance(self, state: Any, tokens: Tensor) -> tuple[Tensor, Any]:
        raise TypeError(f"{type(self).__name__} defines no advance")

    def tokens_of(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Examples as :func:`aligned` has them."""
        if self.patches is None:
            return aligned(x)
        binary = x if self.spec.values == "binary" else binarise(x, anew=self.training)
        return self.patches.of(binary), torch.zeros(len(x), dtype=torch.long, device=x.device)

    # Likelihood

    def token_log_prob(self, x: Tensor, groups: Tensor) -> Tensor:
        """log p(x_t | x_1 .. x_{t-1}, group) in nats, ``(B, T)``, of sequences that begin at their first place; what
        stands at places without a token has no meaning."""
        logits = self.logits(x.clamp_min(0), groups)
        return -F.cross_entropy(logits.flatten(0, 1), x.clamp_min(0).flatten(), reduction="none").view_as(x)

    def log_prob_of(self, x: Tensor, group: int | Tensor, observed: Tensor | None = None) -> Tensor:
        tokens, before = self.tokens_of(x)
        groups = torch.as_tensor(group, device=x.device).expand(len(x))
        size = max(1, VALUES_AT_ONCE // (self.size * max(tokens.shape[1], 1)))
        parts = zip(tokens.split(size), before.split(size), groups.split(size), strict=True)
        return torch.cat([tokens.new_zeros(0, dtype=self.dtype), *(self._counted(*part) for part in parts)])

    def _counted(self, tokens: Tensor, before: Tensor, groups: Tensor) -> Tensor:
        """The log probability of what is behind the context, ``(B,)``, from :func:`aligned` tokens."""
        if not tokens.shape[1]:
            return tokens.new_zeros(len(tokens), dtype=self.dtype)
        return torch.where(self.counts(tokens, before), self.token_log_prob(tokens, groups), 0).sum(1)

    def counts(self, tokens: Tensor, before: Tensor) -> Tensor:
        """Which of :func:`aligned` tokens are behind the context, bool ``(B, T)``."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        return (tokens >= 0) & (places >= self.context - before[:, None])

    @property
    def dtype(self) -> torch.dtype:
        return next((value.dtype for value in self._tensors() if value.is_floating_point()), torch.float32)

    # Training by gradient

    @available_if(lambda model: any(True for _ in model.parameters()))
    def losses(self, x: Tensor, labels: Tensor, epoch: float = math.inf) -> dict[str, Tensor]:
        """``loss``: the mean of −log p(x_t | x_1 .. x_{t-1}, class) over all tokens of a batch, those of the context
        among them, in nats per token; ``log_likelihood``: the mean log probability of all tokens of an example."""
        tokens, _ = self.tokens_of(x)
        groups = self.groups_of(labels)
        logits = self.own_logits(tokens.clamp_min(0), groups)
        loss = F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), ignore_index=-1)
        return {"loss": loss, "log_likelihood": -loss.detach() * (tokens >= 0).sum() / len(tokens)}

    def validate(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Of texts also ``tokens``: how many of them the likelihood of an example is of."""
        if self.patches is not None:
            return {"log_joint": self.log_joint(x)}
        return {"log_joint": self.log_joint(x), "tokens": num_counted(x, self.context).to(self.dtype)}

    # What comes next

    def generate(
        self,
        groups: Tensor,
        prompt: Tensor,
        length: int,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
        top_k: int = 0,
    ) -> Iterator[Tensor]:
        """``length`` tokens behind a prompt, one after the other, ``(B,)`` each, as soon as they are drawn; -1 behind
        an end. The symbol for what is unknown is never drawn.

        Args:
            groups: the class of each text, or 0, ``(B,)``.
            prompt: what texts begin with, int64 ``(B, t)``, t ≥ 0.
            length: how many tokens are drawn.
            generator: where random numbers come from.
            temperature: log-probabilities are divided by it; 0: always the most probable token.
            top_k: of the most probable tokens alone; 0: of all.

        Raises ``ZooError`` for a longer prompt than it sees at a time, and a temperature that is none.
        """
        if not 0 <= temperature < math.inf or top_k < 0:
            raise ZooError(f"temperature={temperature} and top_k={top_k} must be at least 0, and finite")
        self.check_prompt(prompt)
        logits, state = self.advance(self.begin(groups), prompt)
        over = (prompt == self.end).any(1)
        for left in reversed(range(length)):
            token = self._drawn(logits, generator, temperature, top_k)
            yield torch.where(over, -1, token)
            over = over | (token == self.end)
            if not left or bool(over.all()):
                yield from (torch.full_like(token, -1) for _ in range(left))
                return
            logits, state = self.advance(state, token[:, None])

    def _drawn(self, logits: Tensor, generator: torch.Generator | None, temperature: float, top_k: int) -> Tensor:
        if self.unknown >= 0:
            logits = logits.clone()
            logits[:, self.unknown] = -math.inf
        if temperature < torch.finfo(logits.dtype).tiny:
            return logits.argmax(1)
        logits = (logits - logits.amax(1, keepdim=True)) / temperature
        if 0 < top_k < self.size:
            best = logits.topk(top_k)
            logits = torch.full_like(logits, -math.inf).scatter(1, best.indices, best.values)
        if not len(logits):
            return logits.new_empty(0, dtype=torch.long)
        return torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]

    def check_prompt(self, prompt: Tensor) -> None:
        """Raise ``ZooError`` for a prompt ``(B, t)`` that is longer than what the model sees at a time."""
        if prompt.shape[1] > self.window:
            raise ZooError(
                f"a prompt of {prompt.shape[1]:,} tokens is longer than the {self.window:,} that the model sees at a "
                "time: its end alone will do"
            )

    def sample(self, n: int, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Texts ``(n, 1, 1, T)``, from their beginning to their end, -1 behind it; of running text what may follow
        nothing, -1 standing where a context would be. Pictures ``(n, C, H, W)`` of pixels that are on or off."""
        groups = self.draw_groups(n, labels, generator)
        length, nothing = self.window - self.context, groups.new_full((n, self.window), -1)
        for place, token in enumerate(self.generate(groups, nothing[:, :0], length, generator), self.context):
            nothing[:, place] = token
        return nothing[:, None, None] if self.patches is None else self.patches.picture(nothing)

    @available_if(lambda model: model.patches is None)
    def forecast(self, x: Tensor, steps: int, generator: torch.Generator | None = None) -> Tensor:
        """What comes next: beginnings of texts ``(B, 1, 1, t)``, -1 behind the shorter ones, become ``(B, 1, 1, t +
        steps)`` with ``steps`` more tokens, -1 behind an end; the class is drawn from what the beginning says of it."""
        tokens, _ = aligned(x)
        self.check_prompt(tokens)
        result = F.pad(tokens, (0, steps), value=-1)
        groups = self.likely_groups(tokens, generator)
        lengths = (tokens >= 0).sum(1)
        for length in lengths.unique().tolist():
            rows = (lengths == length).nonzero()[:, 0]
            prompt = tokens[rows, :length]
            drawn = self.generate(groups[rows], prompt, steps, generator)
            result[rows, length : length + steps] = torch.stack([*drawn], 1)
        return result[:, None, None]

    def likely_groups(self, tokens: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A class for each beginning of a text, ``(B,)``, drawn from what it says; 0 where there are no classes."""
        if self.log_prior is None:
            return tokens.new_zeros(len(tokens))
        columns = [self._counted_from_start(tokens, group) for group in range(self.groups)]
        joint = torch.stack(columns, 1) + self.log_prior
        return torch.multinomial(joint.softmax(1), 1, generator=generator)[:, 0] if len(joint) else tokens.new_zeros(0)

    def _counted_from_start(self, tokens: Tensor, group: int) -> Tensor:
        before, groups = (tokens.new_full((len(tokens),), number) for number in (self.context, group))
        return self._counted(tokens, before, groups)


def aligned(x: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens ``(B, 1, 1, T)`` as sequences that begin at their first place, ``(B, T)``, and how many places there were
    before their first token, ``(B,)``: -1 stands behind them then."""
    tokens = x.flatten(1)
    before = (tokens < 0).long().cumprod(1).sum(1)
    if not bool((before > 0).any()):
        return tokens, before
    before = torch.where(before == tokens.shape[1], 0, before)  # of nothing, all is behind it
    return shifted(tokens, before), before


def num_counted(x: Tensor, context: int) -> Tensor:
    """Of how many tokens the likelihood of each example ``(B, 1, 1, T)`` is, ``(B,)``: those behind the context."""
    return (x[..., context:] >= 0).flatten(1).sum(1)


def shifted(values: Tensor, by: Tensor) -> Tensor:
    """Each row of ``(B, T)`` so many places to the left, ``(B,)``, or to the right of those below 0; -1, or False,
    takes the place of what is not there."""
    places = torch.arange(values.shape[1], device=values.device) + by[:, None]
    inside = (places >= 0) & (places < values.shape[1])
    nothing = False if values.dtype == torch.bool else -1
    return torch.where(inside, values.gather(1, places.clamp(0, max(values.shape[1] - 1, 0))), nothing)


def has_holes(there: Tensor) -> bool:
    """Whether a token is missing between others, of sequences of which bool ``(B, T)`` says where there is one."""
    return bool((until_last(there) & (there.cumsum(1) > 0) & ~there).any())
