"""Hidden Markov model: a sequence of rows, columns, pixels or symbols that a Markov chain of hidden states emits.

    p(x) = sum_{s_1 .. s_T} p(s_1) p(x_1 | s_1) prod_t p(s_t | s_{t-1}) p(x_t | s_t, x_{t-1}, .., x_{t-p})

with Gaussian emissions N(x_t; A_s f_t, Sigma_s), f_t = (x_{t-1}, .., x_{t-p}, 1) and zeros before the first step,
independent Bernoulli pixels, or one of the symbols of a text. p = 0 is the ordinary model. The sum over all paths is
exact, see :mod:`zoo.base.chain`, and so is EM, see :mod:`zoo.base.emissions`.

A step that is not seen has no say: what is behind the end of a sequence changes neither its likelihood nor what is
learnt from it. The likelihood of running text, whose windows overlap by a context, is that of what comes after the
context, given it, log p(x) - log p(context); EM maximises log p(x), context and all.

References: Baum, Petrie, Soules & Weiss (1970), A Maximization Technique Occurring in the Statistical Analysis of
Probabilistic Functions of Markov Chains; Poritz (1982), Linear Predictive Hidden Markov Models and the Speech Signal;
Nigam, McCallum, Thrun & Mitchell (2000), Text classification from labeled and unlabeled documents using EM.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.base import memory
from zoo.base.available import available_if
from zoo.base.chain import NEVER, Chain, best_path, draw, forward_messages, posteriors, sampled_path
from zoo.base.emissions import ALMOST_NONE, CHUNK, Bernoulli, Categorical, Emission, Gaussian
from zoo.base.generative import Batches, Density
from zoo.base.kmeans import group_centres
from zoo.base.language import aligned, num_counted, shifted
from zoo.base.sequence import Sequences, Steps, sequences, until_last
from zoo.errors import ZooError
from zoo.registry import register
from zoo.spec import DataSpec, Likelihood

FEWEST, LARGEST_CHUNK = 16, 2**28  # examples at a time where they have so many steps that few would take for ever
FAINT = 1e-8  # the least share of a class in an example that counts
SAMPLE = 2**14  # steps of a class that k-means sees
KMEANS_STEPS = 20
NOISE = 4.0  # nats by which states' symbols differ at the start: where it is 1, they stay alike for many passes


@register("hmm")
class HMM(Density):
    """Hidden Markov model over the rows, columns or pixels of a picture, the columns of a recording, or the symbols of
    a text.

    Args:
        spec: the data.
        num_states: S, hidden states of each chain.
        reads: ``"rows"`` (H steps of C·W values), ``"columns"`` (W steps of C·H) or ``"pixels"`` (H·W steps of C);
            ``"auto"``: rows, of a recording its columns, and of a text its symbols.
        emission: ``"gaussian"``; ``"bernoulli"`` for the pixels thresholded at 0.5; or ``"categorical"``, of symbols.
            ``"auto"``: categorical of texts, else Gaussian.
        covariance: ``"diag"`` or ``"full"`` (Gaussian only).
        lags: p, the previous steps that a step is regressed on (Gaussian only). With any, missing pixels can not be
            integrated out exactly, and the model neither imputes nor classifies with missing pixels by itself.
        topology: ``"left_to_right"``: starts in state 0, then stays or moves on to the next; or ``"ergodic"``.
            ``"auto"``: ergodic of texts, else left to right.
        per_class: a chain for each class. Without it, or with a single class, the model is no classifier.
        floor: added to each variance at every M-step, in squared grey values (Gaussian only).
        ridge: strength of the Gaussian prior on the weights of previous steps, in steps; the bias has none (lags only).
        smoothing: imagined steps with a pixel on, and as many with it off, that each state has seen (Bernoulli), or
            with each symbol (categorical).
    """

    kinds = ("image", "sound", "tokens")  # neighbouring entries of a table have nothing to do with each other
    takes = ("grey", "real", "binary", "tokens")
    partly_labelled = ("statistics", "losses")
    allowed: Tensor

    def __init__(
        self,
        spec: DataSpec,
        num_states: int = 14,
        reads: str = "auto",
        emission: str = "auto",
        covariance: str = "full",
        lags: int = 0,
        topology: str = "auto",
        per_class: bool = True,
        floor: float = 0.03,
        ridge: float = 1.0,
        smoothing: float = 1.0,
    ) -> None:
        self.tokens = tokens = spec.values == "tokens"
        super().__init__(spec, per_class)
        if tokens and reads != "auto":
            raise ValueError(f"reads={reads} is of pictures: a text is read symbol by symbol, reads=auto")
        self.reading = Steps(spec.shape, "pixels" if tokens else reads, spec.kind)
        emission = ("categorical" if tokens else "gaussian") if emission == "auto" else emission
        topology = ("ergodic" if tokens else "left_to_right") if topology == "auto" else topology
        choices = {
            "emission": (emission, ("gaussian", "bernoulli", "categorical")),
            "covariance": (covariance, ("diag", "full")),
            "topology": (topology, ("left_to_right", "ergodic")),
        }
        for name, (value, known) in choices.items():
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")
        if num_states < 1 or min(lags, floor, ridge, smoothing) < 0:
            raise ValueError("num_states must be at least 1; lags, floor, ridge and smoothing must not be negative")
        if tokens != (emission == "categorical"):
            raise ValueError(f"emission={emission} is not of {spec.values} values: emission=auto is")
        if emission == "bernoulli" and spec.values == "real":
            raise ValueError("emission=bernoulli is of values that are on or off: real ones need emission=gaussian")
        if emission != "gaussian" and lags:
            raise ValueError(f"lags are for Gaussian emissions: with emission={emission} lags must be 0")
        self.lags, self.ergodic, self.states = lags, topology == "ergodic", num_states
        self.context = spec.context
        if self.context and self.log_prior is not None:
            raise ValueError("windows of running text, which have a context, are of no class: per_class=false")
        self.steps, values = self.reading.count, self.reading.values
        self.emission: Emission
        if emission == "categorical":
            self.emission, self.density = Categorical(spec, smoothing), Likelihood("exact", "tokens")
        elif emission == "bernoulli":
            self.emission, self.density = Bernoulli(values, smoothing), Likelihood("exact", "binary", 0.5)
        else:
            self.emission = Gaussian(values, lags, covariance == "full", floor, ridge)
            self.density = Likelihood("exact", "dequantised" if spec.values == "grey" else "continuous")
        moments = sum(math.prod(shape) for shape in self.emission.shapes(spec.missing).values())
        memory.require(
            3 * 8 * self.groups * num_states * (num_states + moments),
            f"moments of steps of {values:,} values, with num_states={num_states} and lags={lags},",
            "fewer model.num_states or model.lags, model.covariance=diag or a smaller data.image_size make it fit",
        )

        allowed = torch.ones(num_states, num_states, dtype=torch.bool)
        self.register_buffer("allowed", allowed if self.ergodic else allowed.triu().tril(1), persistent=False)
        each = (self.groups, num_states)
        self.register_parameter("initial", nn.Parameter(torch.zeros(each)) if self.ergodic else None)  # logits
        self.transition = nn.Parameter(torch.zeros(*each, num_states))  # logits, where allowed
        emits = self.emission.parameters(*each)
        self.emits = tuple(emits)
        for name in ("weight", "scale"):
            self.register_parameter(name, emits.get(name))

    unless = ": lags=0 can"

    @property
    def marginalises(self) -> bool:  # type: ignore[override]
        """Whether what is missing can be integrated out."""
        return self.lags == 0

    @property
    def encodes_gaps(self) -> bool:  # type: ignore[override]
        """Whether states can be told from what is seen."""
        return self.marginalises

    @property
    def learns_from_gaps(self) -> bool:  # type: ignore[override]
        """Whether it can be trained where values are missing."""
        return self.marginalises

    # Examples as sequences

    def read(self, x: Tensor, observed: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The steps ``(B, T, D)`` of examples, 0 where they are not ``observed``, and what is seen of them, bool; None:
        all is. Of texts, whose T differ, what is not -1 is seen; running text is read from its first symbol on."""
        if not isinstance(self.emission, Categorical):
            steps = self.reading.of(self.emission.emitted(x))
            if observed is None:
                return steps, None
            seen = self.reading.of(observed)
            return torch.where(seen, steps, 0), seen
        seen = x >= 0 if observed is None else (x >= 0) & observed
        if self.context:  # nothing stands before the first symbol of running text
            x, before = aligned(x)
            seen = shifted(seen.flatten(1), before)
        steps = x.flatten(1)[..., None]
        missing = 1 if not steps.shape[1] else 0
        steps, seen = F.pad(steps, (0, 0, 0, missing), value=-1), F.pad(seen.flatten(1), (0, missing))[..., None]
        return steps.clamp_min(0), seen

    def sequences(self, x: Tensor, observed: Tensor | None = None) -> Iterator[Sequences]:
        """Some examples at a time, see :func:`zoo.base.sequence.sequences`; running text from its first symbol on."""
        return sequences(*self.read(x, observed), self.at_once)

    # The chain

    def chain(self, group: int | slice = slice(None)) -> Chain:
        """log p(s_1), ``(S,)``, and log P, ``(S, S)``, of a group; of all groups, ``(M, S)`` and ``(M, S, S)``."""
        moves = torch.where(self.allowed, self.transition[group], NEVER).log_softmax(-1)
        if self.initial is not None:
            return Chain(self.initial[group].log_softmax(-1), moves, self.emission.sums)
        first = torch.arange(self.states, device=moves.device) == 0
        start = torch.where(first, 0.0, NEVER).to(moves.dtype).expand(moves.shape[:-1])
        return Chain(start, moves, "neighbours")

    def theta(self, index: Any = slice(None)) -> list[Tensor]:
        """The parameters of the emission, of a group or of other ``[groups, states]``."""
        return [getattr(self, name)[index] for name in self.emits]

    def log_emission(self, steps: Tensor, group: int, seen: Tensor | None = None) -> Tensor:
        """log b_t(s) = log p(x_t | s, x_{t-1}, ..), ``(B, T, S)``, of what is ``seen`` of the steps ``(B, T, D)``."""
        if seen is not None and self.lags:
            raise ZooError(f"missing pixels cannot be integrated out of a model with lags={self.lags}: lags=0 can")
        return self.emission.log_prob(steps, seen, *self.theta(group))

    def log_prob_of(self, x: Tensor, group: int, observed: Tensor | None = None, context: int | None = None) -> Tensor:
        """``context``: how many steps are given; the data's number if left out."""
        chain, result = self.chain(group), self.transition.new_zeros(x.shape[0])
        context = self.context if context is None else context
        known = (context - aligned(x)[1]).clamp_min(0) if context else None  # of each text
        for index, steps, seen, alive in self.sequences(x, observed):
            messages = forward_messages(self.log_emission(steps, group, seen), chain, alive)
            log_p = messages[-1].logsumexp(1)
            if known is not None:  # log p(x_1 .. x_t) for t from 0 to what is known
                evidence = torch.stack(
                    [torch.zeros_like(log_p), *(each.logsumexp(1) for each in messages[:context])], 1
                )
                log_p = log_p - evidence.gather(1, known[index, None].clamp_max(len(messages)))[:, 0]
            result = result.index_put((index,), log_p)
        return result

    def log_likelihood(self, x: Tensor, labels: Tensor) -> Tensor:
        """What training maximises, in nats, ``(B,)``: as of any density, but of running text log p of the whole window,
        context and all."""
        return self.log_prob_of(x, 0, context=0) if self.context else super().log_likelihood(x, labels)

    def validate(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Also ``tokens``, of texts: how many of them the likelihood of an example is of."""
        found = super().validate(x, labels)
        if self.tokens:
            found["tokens"] = num_counted(x, self.context).to(self.transition.dtype)
        return found

    # Expectation-maximisation

    @torch.no_grad()
    def initialize(self, batches: Batches, generator: torch.Generator) -> None:
        """The first M-step, from one path an example: equal segments (left to right), or k-means of the steps. Symbols
        have no distances: a chain of them that is ergodic starts from a random one, see :meth:`_start_anywhere`."""
        if self.tokens and self.ergodic:
            self._start_anywhere(batches, generator)
            return
        if self.spec.missing:
            self._start_at_mean()
        centres = None
        if self.ergodic:
            points = (
                [(group, self._points(x[index])) for group, index in self.by_group(labels)] for x, labels in batches
            )
            none = self.weight.new_zeros(self.groups, self.states, self.emission.values)
            centres = group_centres(points, none, generator, SAMPLE, KMEANS_STEPS)
        totals = self._nothing()
        for x, labels in batches:
            for group, index in self.by_group(labels):
                for _, steps, seen, alive in self.sequences(*self.gaps(x[index])):
                    place = torch.arange(steps.shape[1], device=steps.device)
                    length = steps.shape[1] if alive is None else alive.sum(1, keepdim=True)
                    path = torch.minimum(place, place * self.states // length)  # none is skipped where there are more
                    if centres is not None:
                        path = torch.cdist(self._filled(steps, seen), centres[group]).argmin(2)
                    hard = F.one_hot(path.clamp_max(self.states - 1), self.states).to(self.transition)
                    hard = hard.expand(len(steps), -1, -1)
                    hard = hard if alive is None else torch.where(alive[..., None], hard, 0)
                    moves = torch.einsum("bti,btj->ij", hard[:, :-1], hard[:, 1:])
                    self._add(totals, group, steps, seen, hard, hard[:, 0].sum(0), moves)
        self.set_prior(totals["initial"].sum(1))
        totals["initial"] += 1  # what EM is to find must not start at probability 0
        totals["transition"] += self.allowed
        self.maximize(totals)
        self.initialized.fill_(True)

    def _start_at_mean(self) -> None:
        """All states at the mean of the data, from where what is hidden pulls none of them away."""
        assert not isinstance(self.emission, Categorical)
        of = (torch.tensor(each).view(self.spec.statistics_shape) for each in (self.spec.mean, self.spec.std))
        mean, std = (self.reading.of(each.expand(1, *self.spec.shape))[0].mean(0) for each in of)
        self.emission.start(mean.to(self.weight), std.to(self.weight), *self.theta())

    def _start_anywhere(self, batches: Batches, generator: torch.Generator) -> None:
        """Moves are drawn evenly from all distributions, and symbols are about as frequent in each state as in all."""
        counts = torch.zeros_like(self.weight[:, 0])
        sizes = counts.new_zeros(self.groups)
        for x, labels in batches:
            for group, index in self.by_group(labels):
                steps, seen = self.read(x[index])
                counts[group] += steps[seen].bincount(minlength=counts.shape[1])
                sizes[group] += len(index)
        self.set_prior(sizes)
        for parameter in (self.initial, self.transition):
            parameter.copy_(torch.empty_like(parameter).exponential_(generator=generator).log())
        noise = torch.randn(self.weight.shape, generator=generator, dtype=counts.dtype, device=counts.device)
        self.weight.copy_((counts + 1).log()[:, None] + NOISE * noise)
        self.initialized.fill_(True)

    def _points(self, x: Tensor) -> Tensor:
        """Steps ``(N, D)`` of which anything is seen, for k-means."""
        steps, seen = self.read(*self.gaps(x))
        return (steps if seen is None else self._filled(steps, seen)[seen.any(2)]).flatten(0, -2)

    def _filled(self, steps: Tensor, seen: Tensor | None) -> Tensor:
        return steps if seen is None else torch.where(seen, steps, self.state_means()[0, 0])

    @torch.no_grad()
    def statistics(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        totals = self._nothing()
        totals["images"] += len(x)
        for group, index in self.by_group(labels):
            totals["groups"][group] += len(index)
            totals["log_likelihood"] += self._expect(totals, x[index], group)
            if self.log_prior is not None:
                totals["log_likelihood"] += len(index) * self.log_prior[group]
        hidden = (labels < 0).nonzero()[:, 0]
        if self.groups > 1 and len(hidden):
            x = x[hidden]
            shares, evidence = self.responsibilities(x)
            totals["log_likelihood"] += evidence.sum()
            totals["groups"] += shares.sum(0)
            for group in range(self.groups):
                index = (shares[:, group] > FAINT).nonzero()[:, 0]
                self._expect(totals, x[index], group, shares[index, group].to(self.transition.dtype))
        return totals

    def _expect(self, totals: dict[str, Tensor], x: Tensor, group: int, shares: Tensor | None = None) -> Tensor:
        """Add the statistics of examples as ones of a group, in which each has its share ``(B,)``, 1 if left out; the
        sum of their log p(x | group)."""
        likelihood = totals["log_likelihood"].new_zeros(())
        for index, steps, seen, alive in self.sequences(*self.gaps(x)):
            own = None if shares is None else shares[index]
            found = posteriors(self.log_emission(steps, group, seen), self.chain(group), own, alive)
            self._add(totals, group, steps, seen, found.states, found.first, found.made)
            likelihood += found.log_z.sum(dtype=likelihood.dtype)
        return likelihood

    @torch.no_grad()
    def maximize(self, statistics: dict[str, Tensor]) -> None:
        """The M-step. Raises ``ZooError`` where a covariance would be singular, which no ``floor`` above 0 allows."""
        if "groups" in statistics and bool(statistics["groups"].any()):
            self.set_prior(statistics["groups"])
        for name, parameter in (("initial", self.initial), ("transition", self.transition)):
            if parameter is not None:
                counts = statistics[name]
                total = counts.sum(-1, keepdim=True)
                parameter.copy_(torch.where(total > ALMOST_NONE, (counts / total).log().clamp_min(NEVER), parameter))
        self.emission.maximize(statistics, *self.theta())

    def _nothing(self) -> dict[str, Tensor]:
        """Statistics of no example."""
        groups, states, _ = self.transition.shape
        shapes: dict[str, tuple[int, ...]] = {
            "images": (),
            "log_likelihood": (),
            "groups": (groups,),
            "initial": (groups, states),
            "transition": (groups, states, states),
        }
        moments = self.emission.shapes(self.spec.missing)
        shapes |= {name: (groups, states, *shape) for name, shape in moments.items()}
        dtype = torch.float32 if self.weight.device.type == "mps" else torch.float64
        return {name: torch.zeros(shape, dtype=dtype, device=self.weight.device) for name, shape in shapes.items()}

    def _add(
        self,
        totals: dict[str, Tensor],
        group: int,
        steps: Tensor,
        seen: Tensor | None,
        chosen: Tensor,
        start: Tensor,
        moves: Tensor,
    ) -> None:
        """Add the statistics of some examples of a group to ``totals``; a step counts in a state as much as it is
        ``chosen``, ``(B, T, S)``."""
        totals["initial"][group] += start
        totals["transition"][group] += moves
        for state, moments in enumerate(self.emission.moments(steps, seen, chosen, *self.theta(group))):
            for name, value in moments.items():
                totals[name][group, state] += value

    # What is hidden of a chain

    def messages(self, steps: Tensor, seen: Tensor | None, ahead: int = 0) -> Tensor:
        """log p(y, x_1 .. x_t, s_t), ``(M, B, T + ahead, S)``: of the steps behind T nothing is known."""
        results = []
        for (part,) in memory.in_parts(self.at_once, torch.arange(steps.shape[0], device=steps.device)):
            found = []
            for group in range(self.groups):
                log_b = self.log_emission(steps[part], group, None if seen is None else seen[part])
                messages = forward_messages(F.pad(log_b, (0, 0, 0, ahead)), self.chain(group))
                found.append(torch.stack(messages, 1))
            results.append(torch.stack(found))
        joint = torch.cat(results, 1)
        return joint if self.log_prior is None else joint + self.log_prior[:, None, None, None]

    def filter(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """p(y, s_t | x_1 .. x_t): the state given the past alone, ``(B, T, M, S)``.

        A hidden symbol is taken for one, and not for nothing behind the end, which only what follows could tell.
        """
        steps, seen = self.read(x, observed)
        if self.tokens:  # were a symbol to follow
            steps, seen = F.pad(steps, (0, 0, 0, 1)), F.pad(seen, (0, 0, 0, 1), value=True)  # type: ignore[arg-type]
        messages = self.messages(steps, seen).permute(1, 2, 0, 3)
        messages = messages[:, :-1] if self.tokens else messages
        return messages.flatten(2).softmax(2).unflatten(2, messages.shape[2:])

    def state_posteriors(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """p(y, s_t | x) of what ``observed`` marks, ``(B, T, M, S)``."""
        steps, seen = self.read(x, observed)
        results = []
        for (part,) in memory.in_parts(self.at_once, torch.arange(x.shape[0], device=x.device)):
            mask = None if seen is None else seen[part]
            found = [
                posteriors(self.log_emission(steps[part], group, mask), self.chain(group))
                for group in range(self.groups)
            ]
            joint = torch.stack([of.log_z for of in found], 1)
            proba = (joint if self.log_prior is None else joint + self.log_prior).softmax(1)
            results.append(torch.stack([of.states for of in found], 2) * proba[:, None, :, None])
        return torch.cat(results)

    def viterbi(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """The most probable path of states ``(B, T)`` int64, of the class ``labels``, or of the most probable one; -1
        behind the end of a text or a recording. What is missing is NaN."""
        x, observed = (x, None) if self.tokens else self.gaps(x)
        if labels is None:
            labels = self.log_joint(x, observed).argmax(1)
        else:
            self.require_classes()
        paths = torch.full(self.read(x)[0].shape[:2], -1, device=x.device)
        for group, index in self.by_group(labels):
            shown = None if observed is None else observed[index]
            for part, values, mask, alive in sequences(*self.read(x[index], shown), self.at_once):
                path = best_path(self.log_emission(values, group, mask), self.chain(group), alive)
                paths[index[part], : path.shape[1]] = path if alive is None else torch.where(alive, path, -1)
        return paths

    def encode(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """p(y, s_t | x) of every step, class and state, ``(B, T·M·S)``; of texts, which have no length in common, its
        mean over their symbols, ``(B, M·S)``."""
        posterior = self.state_posteriors(x, observed)
        if not self.tokens:
            return posterior.flatten(1)
        counts = self.read(x)[1].to(posterior.dtype)[..., None]  # type: ignore[union-attr]
        return ((posterior * counts).sum(1) / counts.sum(1).clamp_min(1)).flatten(1)

    def transition_matrix(self) -> Tensor:
        """P(s_t = j | s_{t-1} = i), ``(M, S, S)``."""
        return self.chain().moves.exp()

    def state_means(self) -> Tensor:
        """What each state emits on average, ``(M, S, D)``; of symbols their probabilities, ``(M, S, V)``. Raises
        ``ZooError`` with lags, where that has no formula."""
        return self.emission.mean(self.weight)

    # What else it can be asked

    def sample(self, n: int, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Examples ``(n, C, H, W)``; texts with -1 behind their end, running text with -1 where a context would be."""
        group = self.draw_groups(n, labels, generator)
        state = draw(self.chain().start[group], generator)
        past = self.weight.new_zeros(n, self.lags * self.emission.values)
        steps = self._simulate(group, state, past, self.steps - self.context, generator)
        if isinstance(self.emission, Categorical):
            return F.pad(self.emission.ended(steps[:, None, None, :, 0]), (self.context, 0), value=-1)
        return self.possible(self.reading.example(steps))

    def _simulate(
        self, group: Tensor, state: Tensor, past: Tensor, count: int, generator: torch.Generator | None
    ) -> Tensor:
        """Steps ``(n, count, D)``, of which ``state`` emits the first, after those of the ``past``, latest first."""
        moves, steps = self.chain().moves, []
        for step in range(count):
            if step:
                state = draw(moves[group, state], generator)
            values = self.emission.draw(past, generator, *self.theta((group, state)))
            past = torch.cat([values, past], 1)[:, : past.shape[1]] if self.lags else past
            steps.append(values)
        return torch.stack(steps, 1)

    def forecast(
        self, x: Tensor, steps: int, generator: torch.Generator | None = None, observed: Tensor | None = None
    ) -> Tensor:
        """Examples whose last ``steps`` are drawn from p(end | beginning), and are never looked at; texts ``(B, 1, 1,
        t)`` go on behind their last symbol, ``(B, 1, 1, t + steps)``, with -1 behind an end, and recordings behind
        their last column, as long as there is room.

        What is missing of the beginning stays so. Raises ``ZooError`` where an example has not so many steps.
        """
        if not self.tokens and not 1 <= steps <= self.steps:
            raise ZooError(
                f"steps of a forecast are from 1 to {self.steps}, the {self.reading.reads} that are read, not {steps}"
            )
        x = aligned(x)[0][:, None, None] if self.context else x
        values, seen = self.read(x, observed)
        length = torch.full((len(x),), self.steps - steps, device=x.device)
        if self.tokens:
            length = until_last(seen.any(2)).sum(1)  # type: ignore[union-attr]
        elif self.spec.kind == "sound" and seen is not None:
            length = length.minimum(until_last(seen.any(2)).sum(1))
        if not self.tokens:
            longest = int(length.amax()) if len(length) else 0
            values, seen = values[:, :longest], None if seen is None else seen[:, :longest]
            if seen is not None:
                seen = seen & (torch.arange(longest, device=x.device) < length[:, None])[..., None]
                seen = None if bool(seen.all()) else seen
        rows = torch.arange(len(x), device=x.device)
        coming = self.messages(values, seen, ahead=1)[:, rows, length].transpose(0, 1)  # log p(y, x_1 .. x_t, s_{t+1})
        which = draw(coming.flatten(1), generator)
        group, state = which // self.states, which % self.states
        past = self.weight.new_zeros(len(x), 0)
        if isinstance(self.emission, Gaussian):
            past = self.emission.regressors(F.pad(values, (0, 0, 0, 1)))[:, -1, :-1]
        drawn = self._simulate(group, state, past, steps, generator)
        if isinstance(self.emission, Categorical):
            text = F.pad(x.flatten(1), (0, steps), value=-1)
            text = text.scatter(1, length[:, None] + torch.arange(steps, device=x.device), drawn[..., 0])
            return self.emission.ended(text)[:, None, None]
        given = self.reading.of(x)
        if seen is not None:
            kept = F.pad(seen, (0, 0, 0, self.steps - seen.shape[1]))
            given = torch.where(kept, given, torch.nan)
        at = (length[:, None] + torch.arange(steps, device=x.device))[..., None].expand_as(drawn)
        return self.reading.example(given.scatter(1, at, self.possible(drawn)))

    @available_if(lambda model: model.marginalises)
    def impute(self, x: Tensor, observed: Tensor, n: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Draws from p(hidden | seen): a class, a path of states by backward sampling, then each step's values. No text
        ends where a symbol is hidden before one that is seen; behind, it may."""
        steps, seen = self.read(x, observed)
        messages, moves = self.messages(steps, seen), self.chain().moves
        joint = messages[:, :, -1].logsumexp(2).T
        groups = draw(joint.expand(n, -1, -1).flatten(0, 1), generator)  # n·B
        index = torch.arange(len(x), device=x.device).repeat(n)
        path = sampled_path(messages[groups, index], moves[groups], generator)
        hidden = ~seen  # type: ignore[operator]
        rows = hidden.any(2)[index].flatten().nonzero()[:, 0]  # steps to complete
        which = groups[rows // steps.shape[1]], path.flatten()[rows]
        values, mask = (tensor[index].flatten(0, 1) for tensor in (steps, ~hidden))
        drawn = self._complete(values[rows], mask[rows], which, True, generator)
        if self.tokens:
            behind = ~until_last(~hidden[..., 0])[index].flatten()[rows]
            drawn = torch.where(behind[:, None], self.emission.draw(drawn, generator, *self.theta(which)), drawn)
        completed = values.index_put((rows,), drawn).view(n, *steps.shape)
        if isinstance(self.emission, Categorical):
            drawn = self.emission.ended(completed[:, :, None, None, :, 0])
            if self.context:  # back to where the text begins
                before = aligned(x)[1].repeat(n)
                drawn = shifted(drawn.flatten(0, 1).flatten(1), -before).view(n, *x.shape)
            return torch.where(observed, x, drawn)
        return torch.where(observed, x, self.possible(self.reading.example(completed)))

    @available_if(lambda model: model.marginalises and not model.tokens)
    def conditional_mean(self, x: Tensor, observed: Tensor) -> Tensor:
        """E[x | seen pixels], ``(B, C, H, W)``: exact, over classes and paths; seen pixels as given."""
        steps, seen = self.read(x, observed)
        weights = self.state_posteriors(x, observed).flatten(0, 1)  # (B T, M, S)
        hidden = ~seen  # type: ignore[operator]
        wanted = (weights > torch.finfo(weights.dtype).eps) & hidden.any(2).flatten()[:, None, None]
        rows, groups, states = wanted.nonzero(as_tuple=True)
        values, mask = steps.flatten(0, 1), ~hidden.flatten(0, 1)
        means = self._complete(values[rows], mask[rows], (groups, states), False)
        mean = torch.zeros_like(values).index_add(0, rows, weights[wanted][:, None] * means)
        return torch.where(observed, x, self.reading.example(mean.view_as(steps)))

    def _complete(
        self,
        values: Tensor,
        seen: Tensor,
        which: tuple[Tensor, Tensor],
        random: bool,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Steps ``(R, D)`` with a sample, or the mean, of their hidden values given the seen ones and which group and
        state they are of."""
        results = [values[:0]]
        for part in torch.arange(len(values), device=values.device).split(max(1, CHUNK // self.emission.values**2)):
            theta = self.theta((which[0][part], which[1][part]))
            results.append(self.emission.complete(values[part], seen[part], random, generator, *theta))
        return torch.cat(results)

    @available_if(lambda model: not model.tokens)
    def reconstruct(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """The emission mean expected under p(y, s_t | x); with lags it starts from the true previous steps."""
        assert not isinstance(self.emission, Categorical)
        steps, _ = self.read(x, observed)
        weights, means = self.state_posteriors(x, observed), torch.zeros_like(steps)
        for (part,) in memory.in_parts(self.at_once, torch.arange(x.shape[0], device=x.device)):
            for group in range(self.groups):
                each = self.emission.means(steps[part], self.weight[group])
                means[part] += (weights[part, :, group, None] @ each)[:, :, 0]
        return self.possible(self.reading.example(means))

    @property
    def at_once(self) -> int:
        """Examples to compute with at a time."""
        pairs = 8 if self.chain(0).sums == "products" else self.emission.values + self.states
        each = self.steps * (self.states * pairs + self.emission.inputs)
        return max(1, CHUNK // each, min(FEWEST, LARGEST_CHUNK // each))
