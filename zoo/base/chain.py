"""Markov chains of hidden states: what follows from log densities of the steps, log p(s_1) and log P alone.

The sum over all paths is exact, by the forward recursion

    log a_t(j) = log b_t(j) + logsumexp_i(log a_{t-1}(i) + log P_ij),        log p(x) = logsumexp_j log a_T(j),

for all sequences at once. Log densities b_t of two states may differ by hundreds of nats: then it is done with
logarithms throughout, and the backward recursion is what automatic differentiation does:
p(s_t = j | x) = d log p(x) / d log b_t(j), and the expected number of transitions from i to j is
d log p(x) / d log P_ij.

Where they do not, as those of symbols, the sum over i is a product of matrices, each step relative to the likeliest
state of the one before; and the backward recursion is Rabiner's scaled one. In float64 nothing is lost but what is less
probable than the likeliest by a factor of 1e-308.

References: Rabiner (1989), A Tutorial on Hidden Markov Models; Eisner (2016), Inside-Outside and Forward-Backward
Algorithms Are Just Backprop.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.base.precision import precise

NEVER = -1e30  # log 0: finite, so that no difference and no gradient is NaN


class Chain(NamedTuple):
    """A Markov chain.

    Attributes:
        start: log p(s_1), ``(S,)``.
        moves: log P, ``(S, S)``.
        sums: how the sum over the states before is done: ``"neighbours"``: a state is only left for the next one, and
            nothing else is summed over; ``"logarithms"``; or ``"products"`` of matrices, for log densities of states
            that differ by tens of nats, not by hundreds.
    """

    start: Tensor
    moves: Tensor
    sums: str = "logarithms"


class Posteriors(NamedTuple):
    """What the forward and the backward recursion find.

    Attributes:
        log_z: log p(x), ``(B,)``.
        states: p(s_t | x), times the sequence's share, ``(B, T, S)``.
        first: how often each state is expected to be the first in all sequences, ``(S,)``.
        made: how often each transition is expected to be made, ``(S, S)``.
    """

    log_z: Tensor
    states: Tensor
    first: Tensor
    made: Tensor


def forward_messages(log_b: Tensor, chain: Chain, alive: Tensor | None = None) -> list[Tensor]:
    """log a_t(s) = log p(x_1 .. x_t, s_t = s) for each t, ``(B, S)``.

    Args:
        log_b: log p(x_t | s), ``(B, T, S)``.
        chain: that of all sequences.
        alive: bool ``(B, T)``, whether a sequence goes on to step t; where it does not, its last message stays. All do,
            if left out.
    """
    start, moves, sums = chain
    dtype = log_b.dtype
    if sums == "products":
        log_b, start, moves = precise(log_b), precise(start), precise(moves)
    P = moves.exp()
    stay, move = moves.diagonal(), moves.diagonal(1)
    first, *rest = log_b.unbind(1)
    messages = [start + first]
    for step, log_density in enumerate(rest, 1):
        last = messages[-1]
        if sums == "products":
            most = last.amax(1, keepdim=True)
            mass = (last - most).exp() @ P
            reached = most + torch.where(mass > 0, mass.clamp_min(torch.finfo(mass.dtype).tiny).log(), NEVER)
        elif sums == "logarithms":
            reached = (last[:, :, None] + moves).logsumexp(1)
        else:
            reached = torch.logaddexp(last + stay, F.pad(last[:, :-1] + move, (1, 0), value=NEVER))
        message = reached + log_density
        messages.append(message if alive is None else torch.where(alive[:, step, None], message, last))
    return [message.to(dtype) for message in messages]


def posteriors(log_b: Tensor, chain: Chain, shares: Tensor | None = None, alive: Tensor | None = None) -> Posteriors:
    """What is expected of the hidden states; the arguments are those of :func:`forward_messages`. With ``shares``
    ``(B,)`` a sequence counts as much in what is expected of all. States of steps that no sequence goes on to have
    probability 0."""
    if chain.sums == "products":
        return _scaled_posteriors(log_b, chain, shares, alive)
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in (log_b, chain.start, chain.moves)]
        log_z = forward_messages(leaves[0], Chain(leaves[1], leaves[2], chain.sums), alive)[-1].logsumexp(1)
        total = log_z.sum() if shares is None else (log_z * shares).sum()
        states, first, made = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
    return Posteriors(log_z.detach(), states, first, made)


@torch.no_grad()
def _scaled_posteriors(log_b: Tensor, chain: Chain, shares: Tensor | None, alive: Tensor | None) -> Posteriors:
    """As :func:`posteriors`, with messages that sum to one at each step; all tensors are laid out step by step."""
    start, P = precise(chain.start).exp(), precise(chain.moves).exp()
    log_b, tiny = log_b.transpose(0, 1), torch.finfo(P.dtype).tiny  # in the place of 0, by which is divided
    most = precise(log_b.amax(2))
    b = precise(log_b).sub(most[..., None]).exp_()
    stops: list[Tensor | None] = [None] * len(b)  # which sequences do not go on to a step
    if alive is not None:
        stops = [None if bool(some) else ~on[:, None] for some, on in zip(alive.all(0), alive.T, strict=True)]
    forward, scale = torch.empty_like(b), torch.empty_like(b[..., :1])
    for step, stop in enumerate(stops):
        if step:
            torch.mm(forward[step - 1], P, out=forward[step])
        else:
            forward[0] = start
        torch.sum(forward[step].mul_(b[step]), 1, keepdim=True, out=scale[step])
        forward[step].div_(scale[step].clamp_min(tiny))
        if stop is not None:
            scale[step].masked_fill_(stop, 1)
            torch.where(stop, forward[step - 1] if step else start, forward[step], out=forward[step])
            most[step].masked_fill_(stop[:, 0], 0)
    log_z = (scale[..., 0].log() + most).sum(0).clamp_min(NEVER)
    # p(x_t .. | s_t) over what it is given the past; that of the future of no step is 1
    ahead, states, backward = b.div_(scale.clamp_min(tiny)), torch.empty_like(b), torch.ones_like(b[0])
    for step in reversed(range(len(b))):
        torch.mul(forward[step], backward, out=states[step])
        ahead[step].mul_(backward)
        stop = stops[step]
        if stop is not None:
            states[step].masked_fill_(stop, 0)
            ahead[step].masked_fill_(stop, 0)
        torch.mm(ahead[step], P.T, out=backward)
        if stop is not None:
            backward.masked_fill_(stop, 1)
    if shares is not None:
        states, forward = states * shares[:, None], forward * shares[:, None]
    made = P * (forward[:-1].flatten(0, 1).T @ ahead[1:].flatten(0, 1))
    states = states.transpose(0, 1).to(log_b.dtype)
    return Posteriors(log_z.to(log_b.dtype), states, states[:, 0].sum(0), made)


def sampled_path(messages: Tensor, moves: Tensor, generator: torch.Generator | None) -> Tensor:
    """A path of states drawn from p(s | x), ``(B, T)``, backwards from the forward messages ``(B, T, S)``; ``moves`` is
    a sequence's own log P, ``(B, S, S)``."""
    rows = torch.arange(len(messages), device=messages.device)
    path = [draw(messages[:, -1], generator)]
    for step in reversed(range(messages.shape[1] - 1)):
        path.append(draw(messages[:, step] + moves[rows, :, path[-1]], generator))
    return torch.stack(path[::-1], 1)


def best_path(log_b: Tensor, chain: Chain, alive: Tensor | None = None) -> Tensor:
    """The most probable path of states, ``(B, T)`` int64 (Viterbi); the arguments of :func:`forward_messages`."""
    start, moves, _ = chain
    first, *rest = log_b.unbind(1)
    best = start + first
    origins: list[Tensor] = []
    for log_density in rest:
        reached, origin = (best[:, :, None] + moves).max(1)
        reached = reached + log_density
        if alive is not None:  # who does not go on stays where it is
            on = alive[:, len(origins) + 1, None]
            reached, origin = (
                torch.where(on, reached, best),
                torch.where(on, origin, torch.arange(len(start)).to(origin)),
            )
        best = reached
        origins.append(origin)
    path = [best.argmax(1)]
    for origin in reversed(origins):
        path.append(origin.gather(1, path[-1][:, None])[:, 0])
    return torch.stack(path[::-1], 1)


def draw(logits: Tensor, generator: torch.Generator | None) -> Tensor:
    """A sample of each row's categorical distribution, ``(N, S)`` to ``(N,)``."""
    if not len(logits):
        return logits.new_empty(0, dtype=torch.long)
    return torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
