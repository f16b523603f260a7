"""Markov chains of hidden states: what follows from log densities of the steps, log p(s_1) and log P alone.

The sum over all paths is exact, by the forward recursion

    log a_t(j) = log b_t(j) + logsumexp_i(log a_{t-1}(i) + log P_ij),        log p(x) = logsumexp_j log a_T(j),

for all sequences at once and never with probabilities: log densities b_t of two states differ by hundreds of nats. The
backward recursion is what automatic differentiation does: p(s_t = j | x) = d log p(x) / d log b_t(j), and the expected
number of transitions from i to j is d log p(x) / d log P_ij.

References: Rabiner (1989), A Tutorial on Hidden Markov Models; Eisner (2016), Inside-Outside and Forward-Backward
Algorithms Are Just Backprop.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

NEVER = -1e30  # log 0: finite, so that no difference and no gradient is NaN


def forward_messages(log_b: Tensor, start: Tensor, moves: Tensor, ergodic: bool = True) -> list[Tensor]:
    """log a_t(s) = log p(x_1 .. x_t, s_t = s) for each t, ``(B, S)``.

    Args:
        log_b: log p(x_t | s), ``(B, T, S)``.
        start: log p(s_1), ``(S,)``.
        moves: log P, ``(S, S)``.
        ergodic: False: a state is only left for the next one, and nothing else is summed over.
    """
    first, *rest = log_b.unbind(1)
    messages = [start + first]
    stay, move = moves.diagonal(), moves.diagonal(1)
    for log_density in rest:
        last = messages[-1]
        if ergodic:
            reached = (last[:, :, None] + moves).logsumexp(1)
        else:
            reached = torch.logaddexp(last + stay, F.pad(last[:, :-1] + move, (1, 0), value=NEVER))
        messages.append(reached + log_density)
    return messages


def posteriors(
    log_b: Tensor, start: Tensor, moves: Tensor, ergodic: bool = True, shares: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """log p(x), ``(B,)``, p(s_t | x), ``(B, T, S)``, and how often in all sequences each state is expected to be the
    first, ``(S,)``, and each transition to be made, ``(S, S)``. With ``shares`` ``(B,)`` a sequence counts as much."""
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in (log_b, start, moves)]
        log_z = forward_messages(leaves[0], leaves[1], leaves[2], ergodic)[-1].logsumexp(1)
        total = log_z.sum() if shares is None else (log_z * shares).sum()
        posterior, first, made = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
    return log_z.detach(), posterior, first, made


def sampled_path(messages: Tensor, moves: Tensor, generator: torch.Generator | None) -> Tensor:
    """A path of states drawn from p(s | x), ``(B, T)``, backwards from the forward messages ``(B, T, S)``; ``moves`` is
    a sequence's own log P, ``(B, S, S)``."""
    rows = torch.arange(len(messages), device=messages.device)
    path = [draw(messages[:, -1], generator)]
    for step in reversed(range(messages.shape[1] - 1)):
        path.append(draw(messages[:, step] + moves[rows, :, path[-1]], generator))
    return torch.stack(path[::-1], 1)


def best_path(log_b: Tensor, start: Tensor, moves: Tensor) -> Tensor:
    """The most probable path of states, ``(B, T)`` int64 (Viterbi); the arguments of :func:`forward_messages`."""
    first, *rest = log_b.unbind(1)
    best, origins = start + first, []
    for log_density in rest:
        best, origin = (best[:, :, None] + moves).max(1)
        best = best + log_density
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
