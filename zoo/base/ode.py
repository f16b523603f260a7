"""Ordinary differential equations dx/dt = v(x, t), followed from time to time on a grid.

===========  ==================================================  =====  ====================
solver       a step of length h, from t                          order  evaluations per step
===========  ==================================================  =====  ====================
``euler``    x += h v                                            1      1
``heun``     x += h (v + v(x + h v, t + h)) / 2                  2      2
``ab2``      x += h (v + h / (2 h') (v − v')), with what the     2      1
             step before, of length h', has seen (Adams and
             Bashforth); the first one is Euler's
===========  ==================================================  =====  ====================

An order p means that halving all steps divides the error by 2^p.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Field = Callable[[Tensor, Tensor], Tensor]  # x, and a time of no dimensions, to dx/dt
SOLVERS = ("ab2", "heun", "euler")


def steps_of(field: Field, x: Tensor, times: Tensor, solver: str) -> Iterator[Tensor]:
    """x at each of the ``times`` but the first one, where it is ``x``; they may run backwards."""
    before: tuple[Tensor, Tensor] | None = None
    for time, after in itertools.pairwise(times):
        step, slope = after - time, field(x, time)
        if solver == "heun":
            x = x + step / 2 * (slope + field(x + step * slope, after))
        elif solver == "ab2" and before is not None:
            x = x + step * torch.lerp(before[0], slope, 1 + step / (2 * before[1]))
        else:
            x = x + step * slope
        before = slope, step
        yield x


def solve(field: Field, x: Tensor, times: Tensor, solver: str) -> Tensor:
    """x at the last of the ``times``, of which the first one is where it is ``x``."""
    return functools.reduce(lambda _, state: state, steps_of(field, x, times, solver), x)


def traced(field: Field, shape: torch.Size, probes: Tensor) -> Field:
    """The velocity of x, of ``shape`` ``(B, …)``, and of what its log density loses, of states ``(B, D + 1)``: the
    trace of ∂v/∂x, as the sum over ``probes`` p, ``(N, B, D)`` or ``(N, 1, D)``, of p·(∂v/∂x)ᵀp. It is exact where
    these are the unit vectors, and on average where one is of random signs (Hutchinson 1989)."""

    def both(state: Tensor, time: Tensor) -> Tensor:
        with torch.enable_grad():
            x = state[:, :-1].detach().view(shape).requires_grad_()
            v = field(x, time).flatten(1)
            rows = [torch.autograd.grad((v * probe).sum(), x, retain_graph=True)[0].flatten(1) for probe in probes]
        traces = [(row * probe).sum(1) for row, probe in zip(rows, probes, strict=True)]
        return torch.cat([v.detach(), torch.stack(traces).sum(0)[:, None]], 1)

    return both
