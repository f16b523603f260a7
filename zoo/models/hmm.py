"""Hidden Markov model: an image is a sequence of rows, columns or pixels that a Markov chain of hidden states emits.

    p(x) = sum_{s_1 .. s_T} p(s_1) p(x_1 | s_1) prod_t p(s_t | s_{t-1}) p(x_t | s_t, x_{t-1}, .., x_{t-p})

with Gaussian emissions N(x_t; A_s f_t, Sigma_s), f_t = (x_{t-1}, .., x_{t-p}, 1) and zeros before the first step, or
independent Bernoulli pixels. p = 0 is the ordinary model. The sum over all paths is exact, see :mod:`zoo.base.chain`.

EM needs, for each state, moments weighted by p(s_t | x). They are taken of f and of the residual e = x - A f under the
present parameters, which loses no digits:

    D = (S_ef - ridge A) (S_ff + ridge I)^-1,  A <- A + D,  Sigma <- (S_ee - D S_fe - S_ef D' + D S_ff D')/n + floor I.

References: Baum, Petrie, Soules & Weiss (1970), A Maximization Technique Occurring in the Statistical Analysis of
Probabilistic Functions of Markov Chains; Poritz (1982), Linear Predictive Hidden Markov Models and the Speech Signal;
Nigam, McCallum, Thrun & Mitchell (2000), Text classification from labeled and unlabeled documents using EM.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.base import memory
from zoo.base.available import available_if
from zoo.base.chain import NEVER, best_path, draw, forward_messages, posteriors, sampled_path
from zoo.base.gaussian import deviation_given_observed, fit_regression, log_regressions, regression_moments
from zoo.base.generative import Batches, Density
from zoo.base.kmeans import group_centres
from zoo.base.sequence import Steps
from zoo.errors import ZooError
from zoo.registry import register
from zoo.spec import DataSpec, Likelihood

CHUNK = 2**24  # numbers in the largest intermediate result, 64 MB in float32
FEWEST, LARGEST_CHUNK = 16, 2**28  # images at a time where they have so many steps that few would take for ever
ALMOST_NONE = 1e-6  # expected steps below which a state keeps its parameters
FAINT = 1e-8  # the least share of a class in an image that counts
SAMPLE = 2**14  # steps of a class that k-means sees
KMEANS_STEPS = 20


@register("hmm")
class HMM(Density):
    """Hidden Markov model over the rows, columns or pixels of an image.

    Args:
        spec: the data.
        num_states: S, hidden states of each chain.
        reads: ``"rows"`` (H steps of C·W values), ``"columns"`` (W steps of C·H) or ``"pixels"`` (H·W steps of C).
        emission: ``"gaussian"``, or ``"bernoulli"`` for the pixels thresholded at 0.5.
        covariance: ``"diag"`` or ``"full"`` (Gaussian only).
        lags: p, the previous steps that a step is regressed on (Gaussian only). With any, missing pixels can not be
            integrated out exactly, and the model neither imputes nor classifies with missing pixels by itself.
        topology: ``"left_to_right"``: starts in state 0, then stays or moves on to the next; or ``"ergodic"``.
        per_class: a chain for each class. Without it the model is no classifier.
        floor: added to each variance at every M-step, in squared grey values (Gaussian only).
        ridge: strength of the Gaussian prior on the weights of previous steps, in steps; the bias has none (lags only).
        smoothing: imagined steps with a pixel on, and as many with it off, that each state has seen (Bernoulli only).
    """

    kinds = ("image",)  # neighbouring entries of a table have nothing to do with each other
    takes = ("grey", "real", "binary")
    partly_labelled = ("statistics", "losses")
    allowed: Tensor

    def __init__(
        self,
        spec: DataSpec,
        num_states: int = 14,
        reads: str = "rows",
        emission: str = "gaussian",
        covariance: str = "full",
        lags: int = 0,
        topology: str = "left_to_right",
        per_class: bool = True,
        floor: float = 0.03,
        ridge: float = 1.0,
        smoothing: float = 1.0,
    ) -> None:
        super().__init__(spec, per_class)
        self.reading = Steps(spec.shape, reads)
        for name, value, choices in (
            ("emission", emission, ("gaussian", "bernoulli")),
            ("covariance", covariance, ("diag", "full")),
            ("topology", topology, ("left_to_right", "ergodic")),
        ):
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
        if num_states < 1 or min(lags, floor, ridge, smoothing) < 0:
            raise ValueError("num_states must be at least 1; lags, floor, ridge and smoothing must not be negative")
        if emission == "bernoulli" and spec.values == "real":
            raise ValueError("emission=bernoulli is of values that are on or off: real ones need emission=gaussian")
        if emission == "bernoulli" and lags:
            raise ValueError("lags are for Gaussian emissions: with emission=bernoulli lags must be 0")
        self.lags, self.floor, self.ridge, self.smoothing = lags, floor, ridge, smoothing
        self.gaussian, self.full, self.ergodic = emission == "gaussian", covariance == "full", topology == "ergodic"
        exact = "dequantised" if spec.values == "grey" else "continuous"
        self.density = Likelihood("exact", exact) if self.gaussian else Likelihood("exact", "binary", 0.5)
        self.states = num_states
        self.steps, self.values = self.reading.count, self.reading.values
        inputs = lags * self.values + 1  # of the regression; the last is the constant 1
        moments = inputs**2 + self.values * (inputs + (self.values if self.full else 1))
        memory.require(
            3 * 8 * self.groups * num_states * moments,
            f"second moments of steps of {self.values:,} values, with lags={lags},",
            "fewer model.lags, model.covariance=diag or a smaller data.image_size make it fit",
        )

        allowed = torch.ones(num_states, num_states, dtype=torch.bool)
        self.register_buffer("allowed", allowed if self.ergodic else allowed.triu().tril(1), persistent=False)
        each = (self.groups, num_states)
        self.register_parameter("initial", nn.Parameter(torch.zeros(each)) if self.ergodic else None)  # logits
        self.transition = nn.Parameter(torch.zeros(*each, num_states))  # logits, where allowed
        self.weight = nn.Parameter(torch.zeros(*each, self.values, inputs))  # A; of a Bernoulli pixel the logit
        nn.init.uniform_(self.weight[..., -1], *((0.25, 0.75) if self.gaussian else (-0.5, 0.5)))
        log_scale = torch.full((*each, self.values), -1.0)
        # the lower Cholesky factor of Sigma, or only its diagonal, with the logarithm of the diagonal
        scale = nn.Parameter(torch.diag_embed(log_scale) if self.full else log_scale) if self.gaussian else None
        self.register_parameter("scale", scale)

    unless = ": lags=0 can"

    @property
    def marginalises(self) -> bool:  # type: ignore[override]
        """Whether missing pixels can be integrated out."""
        return self.lags == 0

    # Images as sequences

    def emitted(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """The values ``(B, T, D)`` of images: binary for Bernoulli emissions, and 0 where not ``observed``."""
        steps = self.reading.of(x if self.gaussian else (x > 0.5).to(x.dtype))
        return steps if observed is None else torch.where(self.reading.of(observed), steps, 0)

    def regressors(self, steps: Tensor) -> Tensor:
        """f: the previous steps, latest first, and a 1, ``(B, T, F)``."""
        past = [F.pad(steps, (0, 0, lag, 0))[:, : self.steps] for lag in range(1, self.lags + 1)]
        return torch.cat([*past, torch.ones_like(steps[..., :1])], 2)

    # The chain

    def chain(self, group: int | slice = slice(None)) -> tuple[Tensor, Tensor]:
        """log p(s_1), ``(S,)``, and log P, ``(S, S)``, of a group; of all groups, ``(M, S)`` and ``(M, S, S)``."""
        moves = torch.where(self.allowed, self.transition[group], NEVER).log_softmax(-1)
        if self.initial is not None:
            return self.initial[group].log_softmax(-1), moves
        first = torch.arange(self.states, device=moves.device) == 0
        return torch.where(first, 0.0, NEVER).to(moves.dtype).expand(moves.shape[:-1]), moves

    def factor(self, group: int | slice = slice(None)) -> Tensor:
        """The lower Cholesky factor of each state's covariance, ``(S, D, D)``, or ``(M, S, D, D)``."""
        if not self.full:
            return torch.diag_embed(self.scale[group].exp())
        scale = self.scale[group]
        return scale.tril(-1) + torch.diag_embed(scale.diagonal(dim1=-2, dim2=-1).exp())

    def log_emission(self, steps: Tensor, group: int, seen: Tensor | None = None) -> Tensor:
        """log b_t(s) = log p(x_t | s, x_{t-1}, ..), ``(B, T, S)``, of what is ``seen`` of the steps ``(B, T, D)``."""
        weight = self.weight[group]
        if not self.gaussian:
            off = F.logsigmoid(-weight[..., 0]).mT
            counted = off.sum(0) if seen is None else seen.to(off.dtype) @ off
            return steps @ weight[..., 0].mT + counted
        size = max(1, CHUNK // (self.states * self.values**2))
        return log_regressions(steps, self.regressors(steps), weight, self.factor(group), seen, self.full, size)

    def log_prob_of(self, x: Tensor, group: int, observed: Tensor | None = None) -> Tensor:
        if observed is not None and self.lags:
            raise ZooError(f"missing pixels cannot be integrated out of a model with lags={self.lags}: lags=0 can")
        steps, seen = self.emitted(x, observed), None if observed is None else self.reading.of(observed)
        (start, moves), results = self.chain(group), []
        for part in torch.arange(len(x), device=x.device).split(self.at_once):
            log_b = self.log_emission(steps[part], group, None if seen is None else seen[part])
            results.append(forward_messages(log_b, start, moves, self.ergodic)[-1].logsumexp(1))
        return torch.cat(results)

    # Expectation-maximisation

    @torch.no_grad()
    def initialize(self, batches: Batches, generator: torch.Generator) -> None:
        """The first M-step, from one path an image: equal segments (left to right), or k-means of the steps."""
        centres = None
        if self.ergodic:
            points = (
                [(group, self.emitted(x[index]).flatten(0, 1)) for group, index in self.by_group(labels)]
                for x, labels in batches
            )
            none = self.weight.new_zeros(self.groups, self.states, self.values)
            centres = group_centres(points, none, generator, SAMPLE, KMEANS_STEPS)
        path = torch.arange(self.steps, device=self.weight.device)
        path = torch.minimum(path, path * self.states // self.steps)  # no state is skipped where there are more
        totals = self._nothing()
        for x, labels in batches:
            for group, index in self.by_group(labels):
                for part in index.split(self.at_once):
                    steps = self.emitted(x[part])
                    if centres is not None:
                        path = torch.cdist(steps, centres[group]).argmin(2)
                    hard = F.one_hot(path, self.states).to(steps).expand(len(steps), -1, -1)
                    moves = torch.einsum("bti,btj->ij", hard[:, :-1], hard[:, 1:])
                    self._add(totals, group, steps, hard, hard[:, 0].sum(0), moves)
        self.set_prior(totals["initial"].sum(1))
        totals["initial"] += 1  # what EM is to find must not start at probability 0
        totals["transition"] += self.allowed
        self.maximize(totals)
        self.initialized.fill_(True)

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
                self._expect(totals, x[index], group, shares[index, group].to(x.dtype))
        return totals

    def _expect(self, totals: dict[str, Tensor], x: Tensor, group: int, shares: Tensor | None = None) -> Tensor:
        """Add the statistics of images as ones of a group, in which each has its share ``(B,)``, 1 if left out; the sum
        of their log p(x | group)."""
        likelihood = totals["log_likelihood"].new_zeros(())
        for part in torch.arange(len(x), device=x.device).split(self.at_once):
            steps = self.emitted(x[part])
            log_b, own = self.log_emission(steps, group), None if shares is None else shares[part]
            log_z, posterior, start, moves = posteriors(log_b, *self.chain(group), self.ergodic, own)
            self._add(totals, group, steps, posterior, start, moves)
            likelihood += log_z.sum(dtype=likelihood.dtype)
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
        weight, ff, ef = self.weight.to(statistics["ff"].dtype), statistics["ff"], statistics["ef"]
        enough = ff[..., -1:, -1:] > ALMOST_NONE
        total = torch.where(enough, ff[..., -1:, -1:], 1)
        if not self.gaussian:
            rate = ((ef + self.smoothing) / (total + 2 * self.smoothing)).clamp(1e-7, 1 - 1e-7)
            self.weight.copy_(torch.where(enough, rate.logit(), weight))
            return
        slack = 100 * torch.finfo(self.weight.dtype).eps
        change, second = fit_regression(ff, ef, statistics["ee"], weight, total, self.ridge, slack)
        if self.full:
            eye = torch.eye(self.values).to(ff)
            covariance = torch.where(enough, (second + second.mT) / (2 * total) + self.floor * eye, eye)
            factor, failed = torch.linalg.cholesky_ex(covariance)
            scale = factor.tril(-1) + torch.diag_embed(factor.diagonal(dim1=-2, dim2=-1).log())
        else:
            variance = torch.where(enough[..., 0], second / total[..., 0] + self.floor, 1)
            failed = variance <= 0
            scale = variance.log() / 2
        if failed.any():
            raise ZooError(f"the covariance of a state is singular with floor={self.floor}: a larger floor is needed")
        self.weight.copy_(torch.where(enough, weight + change, weight))
        self.scale.copy_(torch.where(enough if self.full else enough[..., 0], scale, self.scale))

    def _nothing(self) -> dict[str, Tensor]:
        """Statistics of no image."""
        groups, states, values, inputs = self.weight.shape
        shapes: dict[str, tuple[int, ...]] = {
            "images": (),
            "log_likelihood": (),
            "groups": (groups,),
            "initial": (groups, states),
            "transition": (groups, states, states),
            "ff": (groups, states, inputs, inputs),
            "ef": (groups, states, values, inputs),
        }
        if self.gaussian:
            shapes["ee"] = (groups, states, values, values) if self.full else (groups, states, values)
        dtype = torch.float32 if self.weight.device.type == "mps" else torch.float64
        return {name: torch.zeros(shape, dtype=dtype, device=self.weight.device) for name, shape in shapes.items()}

    def _add(
        self, totals: dict[str, Tensor], group: int, steps: Tensor, posterior: Tensor, start: Tensor, moves: Tensor
    ) -> None:
        """Add the statistics of some images of a group to ``totals``."""
        totals["initial"][group] += start
        totals["transition"][group] += moves
        weight = self.weight[group] if self.gaussian else None
        f, x = self.regressors(steps).flatten(0, 1), steps.flatten(0, 1)
        for state, moments in enumerate(regression_moments(posterior.flatten(0, 1).mT, f, x, weight, self.full)):
            for name, value in moments.items():
                totals[name][group, state] += value

    # What else it can be asked

    def sample(self, n: int, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        group = self.draw_groups(n, labels, generator)
        start, moves = self.chain()
        state = draw(start[group], generator)
        past, steps = self.weight.new_zeros(n, self.lags * self.values), []
        factor = self.factor() if self.gaussian else None
        for step in range(self.steps):
            if step:
                state = draw(moves[group, state], generator)
            weight = self.weight[group, state]
            values = (weight[..., :-1] @ past[..., None])[..., 0] + weight[..., -1]
            if factor is None:
                values = torch.bernoulli(values.sigmoid(), generator=generator)
            else:
                noise = torch.randn(values.shape, generator=generator, dtype=values.dtype, device=values.device)
                values = values + (factor[group, state] @ noise[..., None])[..., 0]
            past = torch.cat([values, past], 1)[:, : past.shape[1]]
            steps.append(values)
        return self.possible(self.reading.example(torch.stack(steps, 1)))

    @available_if(lambda model: model.marginalises)
    def impute(self, x: Tensor, observed: Tensor, n: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Draws from p(hidden | seen): a class, a path of states by backward sampling, then each step's values."""
        steps, seen = self.emitted(x, observed), self.reading.of(observed)
        (start, moves), messages, log_joint = self.chain(), [], []
        for group in range(self.groups):
            parts = zip(steps.split(self.at_once), seen.split(self.at_once), strict=True)
            log_b = torch.cat([self.log_emission(part, group, mask) for part, mask in parts])
            messages.append(torch.stack(forward_messages(log_b, start[group], moves[group], self.ergodic), 1))
            log_joint.append(messages[-1][:, -1].logsumexp(1))
        joint = torch.stack(log_joint, 1) + (0 if self.log_prior is None else self.log_prior)
        groups = draw(joint.expand(n, -1, -1).flatten(0, 1), generator)  # n·B
        index = torch.arange(len(x), device=x.device).repeat(n)
        alpha = torch.stack(messages)[groups, index]
        path = sampled_path(alpha, moves[groups], generator)
        rows = (~seen).any(2)[index].flatten().nonzero()[:, 0]  # steps to complete
        states = path.flatten()[rows]
        values, mask = (tensor[index].flatten(0, 1) for tensor in (steps, seen))
        drawn = self._complete(values[rows], mask[rows], groups[rows // self.steps], states, True, generator)
        images = self.reading.example(values.index_put((rows,), drawn).view(n, len(x), self.steps, self.values))
        return torch.where(observed, x, self.possible(images))

    @available_if(lambda model: model.marginalises)
    def conditional_mean(self, x: Tensor, observed: Tensor) -> Tensor:
        """E[x | seen pixels], ``(B, C, H, W)``: exact, over classes and paths; seen pixels as given."""
        steps, seen = self.emitted(x, observed), self.reading.of(observed)
        weights = self.state_posteriors(x, observed).flatten(0, 1)  # (B T, M, S)
        wanted = (weights > torch.finfo(weights.dtype).eps) & (~seen).any(2).flatten()[:, None, None]
        rows, groups, states = wanted.nonzero(as_tuple=True)
        values, mask = steps.flatten(0, 1), seen.flatten(0, 1)
        means = self._complete(values[rows], mask[rows], groups, states, False)
        mean = torch.zeros_like(values).index_add(0, rows, weights[wanted][:, None] * means)
        return torch.where(observed, x, self.reading.example(mean.view_as(steps)))

    def _complete(
        self,
        values: Tensor,
        seen: Tensor,
        groups: Tensor,
        states: Tensor,
        random: bool,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Steps ``(R, D)`` with a sample, or the mean, of their hidden values given the seen ones and the state."""
        results = [values[:0]]
        factor = self.factor() if self.gaussian else None
        for part in torch.arange(len(values), device=values.device).split(max(1, CHUNK // self.values**2)):
            group, state = groups[part], states[part]
            mean = self.weight[group, state, :, 0]
            if factor is None:
                rate = mean.sigmoid()
                completed = torch.bernoulli(rate, generator=generator) if random else rate
            else:
                scale, noise = factor[group, state], None
                if random:
                    noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
                    noise = (scale @ noise[..., None])[..., 0]
                if self.full:
                    deviation = values[part] - mean
                    completed = mean + deviation_given_observed(scale @ scale.mT, seen[part], deviation, noise)
                else:  # what is seen of a step says nothing of the rest
                    completed = mean if noise is None else mean + noise
            results.append(torch.where(seen[part], values[part], completed))
        return torch.cat(results)

    def state_posteriors(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """p(y, s_t | x) of the pixels that ``observed`` marks, ``(B, T, M, S)``."""
        steps, seen = self.emitted(x, observed), None if observed is None else self.reading.of(observed)
        results = []
        for part in torch.arange(len(x), device=x.device).split(self.at_once):
            mask = None if seen is None else seen[part]
            found = []
            for group in range(self.groups):
                log_b = self.log_emission(steps[part], group, mask)
                found.append(posteriors(log_b, *self.chain(group), self.ergodic)[:2])
            joint = torch.stack([log_z for log_z, _ in found], 1)
            proba = (joint if self.log_prior is None else joint + self.log_prior).softmax(1)
            results.append(torch.stack([posterior for _, posterior in found], 2) * proba[:, None, :, None])
        return torch.cat(results)

    def encode(self, x: Tensor) -> Tensor:
        """p(y, s_t | x) of every step, class and state, ``(B, T·M·S)``."""
        return self.state_posteriors(x).flatten(1)

    def reconstruct(self, x: Tensor) -> Tensor:
        """The emission mean expected under p(y, s_t | x); with lags it starts from the true previous steps."""
        steps = self.emitted(x)
        weights, means = self.state_posteriors(x), torch.zeros_like(steps)
        for part in torch.arange(len(x), device=x.device).split(self.at_once):
            inputs = self.regressors(steps[part])
            for group in range(self.groups):
                each = F.linear(inputs, self.weight[group].flatten(0, 1)).unflatten(2, (self.states, self.values))
                each = each if self.gaussian else each.sigmoid()
                means[part] += (weights[part, :, group, None] @ each)[:, :, 0]
        return self.possible(self.reading.example(means))

    def viterbi(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """The most probable path of states ``(B, T)`` int64, of the class ``labels``, or of the most probable one."""
        if labels is None:
            labels = self.log_joint(x).argmax(1)
        else:
            self.require_classes()
        steps = self.emitted(x)
        paths = torch.empty(len(x), self.steps, dtype=torch.long, device=x.device)
        for group, index in self.by_group(labels):
            start, moves = self.chain(group)
            for part in index.split(self.at_once):
                paths[part] = best_path(self.log_emission(steps[part], group), start, moves)
        return paths

    def transition_matrix(self) -> Tensor:
        """P(s_t = j | s_{t-1} = i), ``(M, S, S)``."""
        return self.chain()[1].exp()

    def state_means(self) -> Tensor:
        """What each state emits on average, ``(M, S, D)``. Raises ``ZooError`` with lags, where that has no formula."""
        if self.lags:
            raise ZooError(f"with lags={self.lags} what a state emits depends on the steps before: it has no mean")
        means = self.weight[..., 0]
        return means if self.gaussian else means.sigmoid()

    @property
    def at_once(self) -> int:
        """Images to compute with at a time."""
        states, values, inputs = self.weight.shape[1:]
        each = self.steps * (states * (values + states) + inputs)
        return max(1, CHUNK // each, min(FEWEST, LARGEST_CHUNK // each))
