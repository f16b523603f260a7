"""What the hidden states of a chain emit: values of a step, by distributions of which each state has its own.

An emission is mathematics alone: the parameters of the states, which it makes and estimates, belong to the model, as
``weight`` and ``scale``. It is handed those of one group, ``(S, …)``, of rows of several states, ``(N, …)``, or all of
them, ``(M, S, …)``. Steps are ``(B, T, D)``, with 0 for hidden values; ``seen`` is bool of that shape, None where all
are.

EM needs, for each state, moments weighted by p(s_t | x). A Gaussian's are taken of f and of the residual e = x − A f
under the present parameters, which loses no digits:

    D = (S_ef − ridge A) (S_ff + ridge I)^-1,  A <- A + D,  Sigma <- (S_ee − D S_fe − S_ef D' + D S_ff D')/n + floor I.

A step of which nothing is seen says nothing, and counts in no moment. Where a part of it is hidden, a Gaussian's
moments are of E[e | what is seen, state], and the conditional covariance is added to the second (Ghahramani & Jordan
1994); the floor counts in the share in which a value is seen, so that what never is keeps the variance that it had.

References: Poritz (1982), Linear Predictive Hidden Markov Models and the Speech Signal; Ghahramani & Jordan (1994),
Supervised learning from incomplete data via an EM approach.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.base.chain import NEVER, draw
from zoo.base.gaussian import (
    conditional_covariance,
    deviation_given_observed,
    fit_regression,
    log_regressions,
    regression_moments,
)
from zoo.base.precision import precise
from zoo.base.sequence import until_last
from zoo.errors import ZooError
from zoo.spec import END, UNKNOWN, DataSpec

CHUNK = 2**24  # numbers in the largest intermediate result, 64 MB in float32
ALMOST_NONE = 1e-6  # expected steps below which a state keeps its parameters

Moments = dict[str, Tensor]


class Gaussian:
    """N(x_t; A f_t, Sigma), f_t = (x_{t-1}, .., x_{t-p}, 1), with zeros before the first step.

    ``weight`` is A, ``(…, D, F)``; ``scale`` the lower Cholesky factor of Sigma with the logarithm of its diagonal,
    ``(…, D, D)``, or only that logarithm, ``(…, D)``.

    Args:
        values: D.
        lags: p. With any, hidden values can not be integrated out.
        full: whether Sigma has entries off its diagonal.
        floor: added to each variance at every M-step.
        ridge: strength of the Gaussian prior on the weights of previous steps, in steps; the bias has none.
    """

    sums = "logarithms"

    def __init__(self, values: int, lags: int, full: bool, floor: float, ridge: float) -> None:
        self.values, self.lags, self.full, self.floor, self.ridge = values, lags, full, floor, ridge
        self.inputs = lags * values + 1  # of the regression; the last is the constant 1

    def parameters(self, groups: int, states: int) -> dict[str, nn.Parameter]:
        weight = torch.zeros(groups, states, self.values, self.inputs)
        nn.init.uniform_(weight[..., -1], 0.25, 0.75)
        log_scale = torch.full((groups, states, self.values), -1.0)
        scale = torch.diag_embed(log_scale) if self.full else log_scale
        return {"weight": nn.Parameter(weight), "scale": nn.Parameter(scale)}

    def shapes(self, gaps: bool) -> dict[str, tuple[int, ...]]:
        """Of a state's moments, by name."""
        D, inputs = self.values, self.inputs
        shapes: dict[str, tuple[int, ...]] = {"ff": (inputs, inputs), "ef": (D, inputs)}
        return shapes | {"ee": (D, D) if self.full else (D,)} | ({"seen": (D,)} if gaps else {})

    def emitted(self, x: Tensor) -> Tensor:
        return x

    def regressors(self, steps: Tensor) -> Tensor:
        """f: the previous steps, latest first, and a 1, ``(B, T, F)``."""
        past = [F.pad(steps, (0, 0, lag, 0))[:, : steps.shape[1]] for lag in range(1, self.lags + 1)]
        return torch.cat([*past, torch.ones_like(steps[..., :1])], 2)

    def factor(self, scale: Tensor) -> Tensor:
        """The lower Cholesky factor of each covariance, ``(…, D, D)``."""
        if not self.full:
            return torch.diag_embed(scale.exp())
        return scale.tril(-1) + torch.diag_embed(scale.diagonal(dim1=-2, dim2=-1).exp())

    def log_prob(self, steps: Tensor, seen: Tensor | None, weight: Tensor, scale: Tensor) -> Tensor:
        """log b_t(s) = log p(x_t | s, x_{t-1}, ..), ``(B, T, S)``, of what is ``seen``."""
        size = max(1, CHUNK // (len(weight) * self.values**2))
        return log_regressions(steps, self.regressors(steps), weight, self.factor(scale), seen, self.full, size)

    def moments(
        self, steps: Tensor, seen: Tensor | None, chosen: Tensor, weight: Tensor, scale: Tensor
    ) -> Iterator[Moments]:
        """What :meth:`maximize` needs, state by state; ``chosen`` is how much a step counts in each, ``(B, T, S)``."""
        chosen, x = chosen.flatten(0, 1).mT, steps.flatten(0, 1)
        if seen is None:
            yield from regression_moments(chosen, self.regressors(steps).flatten(0, 1), x, weight, self.full)
            return
        seen = seen.flatten(0, 1)
        chosen = torch.where(seen.any(1), chosen, 0)
        for shares, mean, covariance in zip(chosen, weight[..., 0], self._covariance(scale), strict=True):
            rows = (shares > torch.finfo(shares.dtype).eps).nonzero()[:, 0]
            sums: Moments = dict.fromkeys(("ee", "ef", "seen"), mean.new_zeros(()))
            for index in rows.split(max(1, CHUNK // self.values**2)):
                share, mask = shares[index, None], seen[index]
                e = torch.where(mask, x[index] - mean, 0)
                sums["seen"] = sums["seen"] + (share * mask).sum(0)
                if self.full:
                    partly = ~mask.all(1)
                    e[partly] = deviation_given_observed(covariance, mask[partly], e[partly])
                    hidden = conditional_covariance(covariance, mask[partly])
                    sums["ee"] = sums["ee"] + (share * e).mT @ e + (share[partly, None] * hidden).sum(0)
                else:
                    sums["ee"] = sums["ee"] + (share * (e.square() + torch.where(mask, 0, covariance))).sum(0)
                sums["ef"] = sums["ef"] + (share * e).sum(0)[:, None]
            yield {**sums, "ff": shares.sum()}

    def _covariance(self, scale: Tensor) -> Tensor:
        """Sigma ``(…, D, D)``, or its diagonal alone, ``(…, D)``."""
        return self.factor(scale) @ self.factor(scale).mT if self.full else (2 * scale).exp()

    def maximize(self, moments: Moments, weight: Tensor, scale: Tensor) -> None:
        """The M-step. Raises ``ZooError`` where a covariance would be singular, which no ``floor`` above 0 allows."""
        ff, ef = moments["ff"], moments["ef"]
        present = weight.to(ff.dtype)
        enough = ff[..., -1:, -1:] > ALMOST_NONE
        total = torch.where(enough, ff[..., -1:, -1:], 1)
        slack = 100 * torch.finfo(weight.dtype).eps
        change, second = fit_regression(ff, ef, moments["ee"], present, total, self.ridge, slack)
        floor = self.floor * torch.ones(self.values).to(ff)
        if "seen" in moments:
            floor = floor * (moments["seen"] / total[..., 0])
        if self.full:
            eye = torch.eye(self.values).to(ff)
            covariance = torch.where(enough, (second + second.mT) / (2 * total) + floor[..., None] * eye, eye)
            factor, failed = torch.linalg.cholesky_ex(covariance)
            found = factor.tril(-1) + torch.diag_embed(factor.diagonal(dim1=-2, dim2=-1).log())
        else:
            variance = torch.where(enough[..., 0], second / total[..., 0] + floor, 1)
            failed = variance <= 0
            found = variance.log() / 2
        if failed.any():
            raise ZooError(f"the covariance of a state is singular with floor={self.floor}: a larger floor is needed")
        weight.copy_(torch.where(enough, present + change, present))
        scale.copy_(torch.where(enough if self.full else enough[..., 0], found, scale))

    def start(self, mean: Tensor, std: Tensor, weight: Tensor, scale: Tensor) -> None:
        """Put all states at a mean, ``(D,)``, with a standard deviation about it."""
        weight[..., -1] = mean
        log_scale = std.log().expand(scale.shape[:3])
        scale.copy_(torch.diag_embed(log_scale) if self.full else log_scale)

    def draw(self, past: Tensor, generator: torch.Generator | None, weight: Tensor, scale: Tensor) -> Tensor:
        """Values ``(N, D)`` after the ``past`` steps, latest first, ``(N, lags · D)``."""
        mean = (weight[..., :-1] @ past[..., None])[..., 0] + weight[..., -1]
        return mean + self._noise(mean, scale, generator)

    def _noise(self, like: Tensor, scale: Tensor, generator: torch.Generator | None) -> Tensor:
        noise = torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)
        return (self.factor(scale) @ noise[..., None])[..., 0]

    def complete(
        self,
        values: Tensor,
        seen: Tensor,
        random: bool,
        generator: torch.Generator | None,
        weight: Tensor,
        scale: Tensor,
    ) -> Tensor:
        """Steps ``(N, D)`` with a sample, or the mean, of their hidden values given the seen ones and the state."""
        mean = weight[..., 0]
        noise = self._noise(mean, scale, generator) if random else None
        if not self.full:  # what is seen of a step says nothing of the rest
            return torch.where(seen, values, mean if noise is None else mean + noise)
        covariance = self._covariance(scale)
        return torch.where(seen, values, mean + deviation_given_observed(covariance, seen, values - mean, noise))

    def means(self, steps: Tensor, weight: Tensor) -> Tensor:
        """What each state emits on average at each step, given those before it, ``(B, T, S, D)``."""
        return F.linear(self.regressors(steps), weight.flatten(0, 1)).unflatten(2, weight.shape[:2])

    def mean(self, weight: Tensor) -> Tensor:
        """What each state emits on average, ``(…, D)``. Raises ``ZooError`` with lags, where that has no formula."""
        if self.lags:
            raise ZooError(f"with lags={self.lags} what a state emits depends on the steps before: it has no mean")
        return weight[..., 0]


class Bernoulli:
    """Independent values that are on or off; ``weight`` are the log odds, ``(…, D, 1)``.

    Args:
        values: D.
        smoothing: imagined steps with a value on, and as many with it off, that each state has seen.
    """

    sums = "logarithms"
    lags, inputs, full = 0, 1, False

    def __init__(self, values: int, smoothing: float) -> None:
        self.values, self.smoothing = values, smoothing

    def parameters(self, groups: int, states: int) -> dict[str, nn.Parameter]:
        weight = torch.zeros(groups, states, self.values, 1)
        return {"weight": nn.Parameter(nn.init.uniform_(weight, -0.5, 0.5))}

    def shapes(self, gaps: bool) -> dict[str, tuple[int, ...]]:
        return {"ff": (1, 1), "ef": (self.values, 1), **({"seen": (self.values,)} if gaps else {})}

    def emitted(self, x: Tensor) -> Tensor:
        return (x > 0.5).to(x.dtype)

    def log_prob(self, steps: Tensor, seen: Tensor | None, weight: Tensor) -> Tensor:
        off = F.logsigmoid(-weight[..., 0]).mT
        return steps @ weight[..., 0].mT + (off.sum(0) if seen is None else seen.to(off.dtype) @ off)

    def moments(self, steps: Tensor, seen: Tensor | None, chosen: Tensor, weight: Tensor) -> Iterator[Moments]:
        ones = torch.ones_like(steps[..., :1]).flatten(0, 1)
        chosen, x = chosen.flatten(0, 1).mT, steps.flatten(0, 1)
        if seen is None:
            yield from regression_moments(chosen, ones, x, None, False)
            return
        seen = seen.flatten(0, 1)
        chosen = torch.where(seen.any(1), chosen, 0)
        of = zip(chosen.sum(1), chosen @ x, chosen @ seen.to(x.dtype), strict=True)
        yield from ({"ff": total, "ef": on[:, None], "seen": count} for total, on, count in of)

    def maximize(self, moments: Moments, weight: Tensor) -> None:
        total = moments["seen"][..., None] if "seen" in moments else moments["ff"]
        rate = ((moments["ef"] + self.smoothing) / (total + 2 * self.smoothing)).clamp(1e-7, 1 - 1e-7)
        weight.copy_(torch.where(total > ALMOST_NONE, rate.logit(), weight))

    def start(self, mean: Tensor, std: Tensor, weight: Tensor) -> None:
        weight[..., 0] = mean.clamp(1e-3, 1 - 1e-3).logit()

    def draw(self, past: Tensor, generator: torch.Generator | None, weight: Tensor) -> Tensor:
        return torch.bernoulli(weight[..., 0].sigmoid(), generator=generator)

    def complete(
        self, values: Tensor, seen: Tensor, random: bool, generator: torch.Generator | None, weight: Tensor
    ) -> Tensor:
        return torch.where(seen, values, self.draw(values, generator, weight) if random else self.mean(weight))

    def means(self, steps: Tensor, weight: Tensor) -> Tensor:
        return self.mean(weight).expand(*steps.shape[:2], *weight.shape[:2])

    def mean(self, weight: Tensor) -> Tensor:
        return weight[..., 0].sigmoid()


class Categorical:
    """One symbol of a vocabulary, int64 ``(B, T, 1)``; ``weight`` are log probabilities up to a constant, ``(…, V)``.

    Where texts have an end, nothing is behind it: a step that is hidden before one that is seen was another symbol.

    Args:
        spec: the data, whose vocabulary it is.
        smoothing: how often each state is imagined to have emitted each symbol.
    """

    sums = "products"  # of symbols, log densities of two states differ by tens of nats
    lags, inputs, full, values = 0, 1, False, 1

    def __init__(self, spec: DataSpec, smoothing: float) -> None:
        self.size, self.smoothing = len(spec.vocabulary), smoothing
        self.end, self.unknown = spec.token(END), spec.token(UNKNOWN)  # -1: there is none

    def parameters(self, groups: int, states: int) -> dict[str, nn.Parameter]:
        return {"weight": nn.Parameter(nn.init.uniform_(torch.empty(groups, states, self.size), -0.5, 0.5))}

    def shapes(self, gaps: bool) -> dict[str, tuple[int, ...]]:
        return {"counts": (self.size,)}

    def log_prob(self, steps: Tensor, seen: Tensor | None, weight: Tensor) -> Tensor:
        log_p = weight.log_softmax(-1)
        log_b = F.embedding(steps[..., 0], log_p.mT)
        if seen is None:
            return log_b
        log_b = torch.where(seen, log_b, 0)
        within = self._within(seen)
        if within is None:
            return log_b
        return torch.where(within, (-log_p[:, self.end].exp()).log1p().clamp_min(NEVER), log_b)

    def _within(self, seen: Tensor) -> Tensor | None:
        """Which steps are known to be symbols other than the end, though hidden, ``(B, T, 1)``; None: none."""
        within = ~seen & until_last(seen)
        return within if self.end >= 0 and bool(within.any()) else None

    def moments(self, steps: Tensor, seen: Tensor | None, chosen: Tensor, weight: Tensor) -> Iterator[Moments]:
        chosen = precise(chosen)
        counts = chosen.new_zeros(self.size, chosen.shape[2])
        if seen is None:
            counts.index_add_(0, steps.flatten(), chosen.flatten(0, 1))
        else:
            counts.index_add_(0, steps[seen], chosen[seen[..., 0]])
            within = self._within(seen)
            if within is not None:
                counts += chosen[within[..., 0]].sum(0) * self._symbols(weight, end=False).exp().mT
        yield from ({"counts": of_state} for of_state in counts.mT)

    def _symbols(self, weight: Tensor, end: bool, unknown: bool = True) -> Tensor:
        """log p of each symbol, given that it is none of those that are left out."""
        out = [place for place, kept in ((self.end, end), (self.unknown, unknown)) if not kept and place >= 0]
        places = torch.tensor(out, dtype=torch.long, device=weight.device)
        return weight.index_fill(-1, places, NEVER).log_softmax(-1)

    def maximize(self, moments: Moments, weight: Tensor) -> None:
        counts = moments["counts"]
        total = counts.sum(-1, keepdim=True)
        share = (counts + self.smoothing) / (total + self.size * self.smoothing)
        weight.copy_(torch.where(total > ALMOST_NONE, share.log().clamp_min(NEVER), weight))

    def draw(self, past: Tensor, generator: torch.Generator | None, weight: Tensor) -> Tensor:
        """Symbols ``(N, 1)``; none is unknown: a state's others share its probability."""
        return draw(self._symbols(weight, end=True, unknown=False), generator)[:, None]

    def complete(
        self, values: Tensor, seen: Tensor, random: bool, generator: torch.Generator | None, weight: Tensor
    ) -> Tensor:
        """As :meth:`draw`, but no text ends where one is hidden: ``seen`` are."""
        drawn = draw(self._symbols(weight, end=False, unknown=False), generator)[:, None]
        return torch.where(seen, values, drawn)

    def ended(self, x: Tensor) -> Tensor:
        """Texts ``(..., T)`` with nothing, -1, behind their first end."""
        ends = ((x == self.end) & (x >= 0)).int()
        return torch.where(ends.cumsum(-1) - ends > 0, -1, x)

    def mean(self, weight: Tensor) -> Tensor:
        """The probability of each symbol, ``(…, V)``."""
        return weight.softmax(-1)


Emission = Gaussian | Bernoulli | Categorical
