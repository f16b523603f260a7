"""Hidden Markov model: an image is a sequence of rows, columns or pixels that a Markov chain of hidden states emits.

    p(x) = sum_{s_1 .. s_T} p(s_1) p(x_1 | s_1) prod_t p(s_t | s_{t-1}) p(x_t | s_t, x_{t-1}, .., x_{t-p})

with Gaussian emissions N(x_t; A_s f_t, Sigma_s), f_t = (x_{t-1}, .., x_{t-p}, 1) and zeros before the first step, or
independent Bernoulli pixels. p = 0 is the ordinary model. The sum over all paths is exact, by the forward recursion

    log a_t(j) = log b_t(j) + logsumexp_i(log a_{t-1}(i) + log P_ij),        log p(x) = logsumexp_j log a_T(j),

for all images at once and never with probabilities: the log densities b_t of two states differ by hundreds of nats.

The backward recursion is what automatic differentiation does: p(s_t = j | x) = d log p(x) / d log b_t(j), and the
expected number of transitions from i to j is d log p(x) / d log P_ij. EM needs, for each state, moments weighted by
p(s_t | x). They are taken of f and of the residual e = x - A f under the present parameters, which loses no digits:

    D = (S_ef - ridge A) (S_ff + ridge I)^-1,  A <- A + D,  Sigma <- (S_ee - D S_fe - S_ef D' + D S_ff D')/n + floor I.

References: Baum, Petrie, Soules & Weiss (1970), A Maximization Technique Occurring in the Statistical Analysis of
Probabilistic Functions of Markov Chains; Poritz (1982), Linear Predictive Hidden Markov Models and the Speech Signal;
Rabiner (1989), A Tutorial on Hidden Markov Models; Eisner (2016), Inside-Outside and Forward-Backward Algorithms Are
Just Backprop.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.models._density import Batches, DensityModel
from zoo.models._gaussian import LOG_2PI, deviation_given_observed, log_prob_observed
from zoo.models._kmeans import kmeans
from zoo.registry import register
from zoo.spec import DataSpec, Density

NEVER = -1e30  # log 0: finite, so that no difference and no gradient is NaN
CHUNK = 2**24  # numbers in the largest intermediate result, 64 MB in float32
ALMOST_NONE = 1e-6  # expected steps below which a state keeps its parameters
SAMPLE = 2**14  # steps of a class that k-means sees
KMEANS_STEPS = 20


@register("hmm")
class HMM(DensityModel):
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
        channels, height, width = spec.shape
        shapes = {
            "rows": (height, channels * width),
            "columns": (width, channels * height),
            "pixels": (height * width, channels),
        }
        for name, value, choices in (
            ("reads", reads, tuple(shapes)),
            ("emission", emission, ("gaussian", "bernoulli")),
            ("covariance", covariance, ("diag", "full")),
            ("topology", topology, ("left_to_right", "ergodic")),
        ):
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
        if num_states < 1 or min(lags, floor, ridge, smoothing) < 0:
            raise ValueError("num_states must be at least 1; lags, floor, ridge and smoothing must not be negative")
        if emission == "bernoulli" and lags:
            raise ValueError("lags are for Gaussian emissions: with emission=bernoulli lags must be 0")
        self.reads, self.lags, self.floor, self.ridge, self.smoothing = reads, lags, floor, ridge, smoothing
        self.gaussian, self.full, self.ergodic = emission == "gaussian", covariance == "full", topology == "ergodic"
        self.density = Density("exact", "dequantised") if self.gaussian else Density("exact", "binary", 0.5)
        self.states = num_states
        self.steps, self.values = shapes[reads]
        inputs = lags * self.values + 1  # of the regression; the last is the constant 1

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
        if lags:
            self.impute = self.conditional_mean = None  # type: ignore[method-assign,assignment]
            if per_class:
                self.predict_log_proba = self._predict_from_all_pixels  # type: ignore[method-assign,assignment]

    # Images as sequences

    def sequence(self, x: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` to what the chain emits, ``(B, T, D)``."""
        if self.reads == "pixels":
            return x.flatten(2).transpose(1, 2)
        return x.permute((0, 2, 1, 3) if self.reads == "rows" else (0, 3, 1, 2)).flatten(2)

    def image(self, sequence: Tensor) -> Tensor:
        """The inverse of :meth:`sequence`; leading dimensions before B are kept."""
        channels, height, width = self.spec.shape
        if self.reads == "pixels":
            return sequence.transpose(-1, -2).unflatten(-1, (height, width))
        lines = sequence.unflatten(-1, (channels, -1)).transpose(-2, -3)  # (C, T, values of a channel)
        return lines if self.reads == "rows" else lines.transpose(-1, -2)

    def emitted(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """The values ``(B, T, D)`` of images: binary for Bernoulli emissions, and 0 where not ``observed``."""
        steps = self.sequence(x if self.gaussian else (x > 0.5).to(x.dtype))
        return steps if observed is None else torch.where(self.sequence(observed), steps, 0)

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
        factor = self.factor(group)
        whiten = torch.linalg.solve_triangular(factor, torch.eye(self.values).to(factor), upper=False)
        inputs = torch.cat([steps, self.regressors(steps)], 2)
        kernel = torch.cat([whiten, -whiten @ weight], 2)  # one product whitens the residuals of all states
        white = F.linear(inputs, kernel.flatten(0, 1)).unflatten(2, (self.states, self.values))
        constants = 2 * factor.diagonal(dim1=-2, dim2=-1).log() + LOG_2PI
        if seen is not None and not self.full:
            return -0.5 * torch.where(seen[:, :, None], white.square() + constants, 0).sum(-1)
        log_b = -0.5 * (torch.linalg.vector_norm(white, dim=-1).square() + constants.sum(-1))
        if seen is None:
            return log_b
        log_b = torch.where(seen.any(2, keepdim=True), log_b, 0)
        partly = seen.any(2) & ~seen.all(2)
        covariance, size = factor @ factor.mT, max(1, CHUNK // (self.states * self.values**2))
        parts = [
            log_prob_observed(covariance, part[:, None], values[:, None] - weight[..., 0])
            for part, values in zip(seen[partly].split(size), steps[partly].split(size), strict=True)
        ]
        return log_b.index_put((partly,), torch.cat(parts)) if parts else log_b

    def forward_messages(self, log_b: Tensor, start: Tensor, moves: Tensor) -> list[Tensor]:
        """log a_t(s) = log p(x_1 .. x_t, s_t = s) for each t, ``(B, S)``."""
        first, *rest = log_b.unbind(1)
        messages = [start + first]
        stay, move = moves.diagonal(), moves.diagonal(1)
        for log_density in rest:
            last = messages[-1]
            if self.ergodic:
                reached = (last[:, :, None] + moves).logsumexp(1)
            else:
                reached = torch.logaddexp(last + stay, F.pad(last[:, :-1] + move, (1, 0), value=NEVER))
            messages.append(reached + log_density)
        return messages

    def posteriors(self, log_b: Tensor, group: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """log p(x), ``(B,)``, p(s_t | x), ``(B, T, S)``, and how often in all images each state is expected to be the
        first, ``(S,)``, and each transition to be made, ``(S, S)``."""
        with torch.enable_grad():
            leaves = [tensor.detach().requires_grad_() for tensor in (log_b, *self.chain(group))]
            log_z = self.forward_messages(*leaves)[-1].logsumexp(1)
            posterior, first, made = torch.autograd.grad(log_z.sum(), leaves, allow_unused=True, materialize_grads=True)
        return log_z.detach(), posterior, first, made

    def log_prob_of(self, x: Tensor, group: int, observed: Tensor | None = None) -> Tensor:
        if observed is not None and self.lags:
            raise ZooError(f"missing pixels cannot be integrated out of a model with lags={self.lags}: lags=0 can")
        steps, seen = self.emitted(x, observed), None if observed is None else self.sequence(observed)
        chain, results = self.chain(group), []
        for part in torch.arange(len(x), device=x.device).split(self.at_once):
            log_b = self.log_emission(steps[part], group, None if seen is None else seen[part])
            results.append(self.forward_messages(log_b, *chain)[-1].logsumexp(1))
        return torch.cat(results)

    def _predict_from_all_pixels(self, x: Tensor) -> Tensor:
        """log p(y | x) in nats, ``(B, K)``, by Bayes' rule."""
        return self.log_joint(x).log_softmax(1)

    # Expectation-maximisation

    @torch.no_grad()
    def initialize(self, batches: Batches, generator: torch.Generator) -> None:
        """The first M-step, from one path an image: equal segments (left to right), or k-means of the steps."""
        centres = self._centres(batches, generator) if self.ergodic else None
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
        for group, index in self.by_group(labels):
            for part in index.split(self.at_once):
                steps = self.emitted(x[part])
                log_z, posterior, start, moves = self.posteriors(self.log_emission(steps, group), group)
                self._add(totals, group, steps, posterior, start, moves)
                totals["log_likelihood"] += log_z.sum(dtype=totals["log_likelihood"].dtype)
                if self.log_prior is not None:
                    totals["log_likelihood"] += len(part) * self.log_prior[group]
        return totals

    @torch.no_grad()
    def maximize(self, statistics: dict[str, Tensor]) -> None:
        """The M-step. Raises ``ZooError`` where a covariance would be singular, which no ``floor`` above 0 allows."""
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
        identity = torch.eye(ff.shape[-1]).to(ff)
        penalty = self.ridge * identity
        penalty[-1, -1] = 0
        # a proximal term as small as the rounding of ff leaves weights as they are where the data do not determine them
        slack = 100 * torch.finfo(self.weight.dtype).eps * total * identity
        change = torch.linalg.solve(ff + penalty + slack, ef - weight @ penalty, left=False)
        if self.full:
            cross = change @ ef.mT
            second = statistics["ee"] - cross - cross.mT + change @ ff @ change.mT
            covariance = (second + second.mT) / (2 * total) + self.floor * torch.eye(self.values).to(ff)
            covariance = torch.where(enough, covariance, torch.eye(self.values).to(ff))
            factor, failed = torch.linalg.cholesky_ex(covariance)
            scale = factor.tril(-1) + torch.diag_embed(factor.diagonal(dim1=-2, dim2=-1).log())
        else:
            second = statistics["ee"] - 2 * (change * ef).sum(-1) + (change @ ff * change).sum(-1)
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
        totals["images"] += len(steps)
        totals["initial"][group] += start
        totals["transition"][group] += moves
        weights = posterior.flatten(0, 1).mT
        states, rows = (weights > torch.finfo(weights.dtype).eps).nonzero(as_tuple=True)  # few, from left to right
        sizes = states.bincount(minlength=self.states).tolist()
        parts = (weights[states, rows, None], self.regressors(steps).flatten(0, 1)[rows], steps.flatten(0, 1)[rows])
        for state, (w, f, e) in enumerate(zip(*(part.split(sizes) for part in parts), strict=True)):
            if self.gaussian:
                e = torch.addmm(e, f, self.weight[group, state].mT, alpha=-1)
                totals["ee"][group, state] += (w * e).mT @ e if self.full else (w * e * e).sum(0)
            weighted = w * f
            totals["ff"][group, state] += weighted.mT @ f
            totals["ef"][group, state] += e.mT @ weighted

    def _centres(self, batches: Batches, generator: torch.Generator) -> Tensor:
        """k-means of some steps of each group, ``(M, S, D)``."""
        found: list[list[Tensor]] = [[] for _ in range(self.groups)]
        for x, labels in batches:
            for group, index in self.by_group(labels):
                steps = self.emitted(x[index]).flatten(0, 1)
                chosen = torch.randperm(len(steps), generator=generator, device=steps.device)
                found[group].append(steps[chosen[: SAMPLE // 8]])
            if all(sum(map(len, parts)) >= SAMPLE for parts in found):
                break
        centres = self.weight.new_zeros(self.groups, self.states, self.values)
        for group, parts in enumerate(found):
            if parts:
                centres[group] = kmeans(torch.cat(parts)[:SAMPLE], self.states, generator, KMEANS_STEPS)
        return centres

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
        return self.image(torch.stack(steps, 1)).clamp(0, 1)

    def impute(self, x: Tensor, observed: Tensor, n: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Draws from p(hidden | seen): a class, a path of states by backward sampling, then each step's values."""
        steps, seen = self.emitted(x, observed), self.sequence(observed)
        (start, moves), messages, log_joint = self.chain(), [], []
        for group in range(self.groups):
            parts = zip(steps.split(self.at_once), seen.split(self.at_once), strict=True)
            log_b = torch.cat([self.log_emission(part, group, mask) for part, mask in parts])
            messages.append(torch.stack(self.forward_messages(log_b, start[group], moves[group]), 1))
            log_joint.append(messages[-1][:, -1].logsumexp(1))
        joint = torch.stack(log_joint, 1) + (0 if self.log_prior is None else self.log_prior)
        groups = draw(joint.expand(n, -1, -1).flatten(0, 1), generator)  # n·B
        index = torch.arange(len(x), device=x.device).repeat(n)
        alpha = torch.stack(messages)[groups, index]
        path = [draw(alpha[:, -1], generator)]
        for step in reversed(range(self.steps - 1)):
            path.append(draw(alpha[:, step] + moves[groups, :, path[-1]], generator))
        rows = (~seen).any(2)[index].flatten().nonzero()[:, 0]  # steps to complete
        states = torch.stack(path[::-1], 1).flatten()[rows]
        values, mask = (tensor[index].flatten(0, 1) for tensor in (steps, seen))
        drawn = self._complete(values[rows], mask[rows], groups[rows // self.steps], states, True, generator)
        images = self.image(values.index_put((rows,), drawn).view(n, len(x), self.steps, self.values))
        return torch.where(observed, x, images.clamp(0, 1))

    def conditional_mean(self, x: Tensor, observed: Tensor) -> Tensor:
        """E[x | seen pixels], ``(B, C, H, W)``: exact, over classes and paths; seen pixels as given."""
        steps, seen = self.emitted(x, observed), self.sequence(observed)
        weights = self.state_posteriors(x, observed).flatten(0, 1)  # (B T, M, S)
        wanted = (weights > torch.finfo(weights.dtype).eps) & (~seen).any(2).flatten()[:, None, None]
        rows, groups, states = wanted.nonzero(as_tuple=True)
        values, mask = steps.flatten(0, 1), seen.flatten(0, 1)
        means = self._complete(values[rows], mask[rows], groups, states, False)
        mean = torch.zeros_like(values).index_add(0, rows, weights[wanted][:, None] * means)
        return torch.where(observed, x, self.image(mean.view_as(steps)))

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
                    completed = mean + deviation_given_observed(
                        scale @ scale.mT, seen[part], values[part] - mean, noise
                    )
                else:
                    completed = mean if noise is None else mean + noise
            results.append(torch.where(seen[part], values[part], completed))
        return torch.cat(results)

    def state_posteriors(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """p(y, s_t | x) of the pixels that ``observed`` marks, ``(B, T, M, S)``."""
        steps, seen = self.emitted(x, observed), None if observed is None else self.sequence(observed)
        results = []
        for part in torch.arange(len(x), device=x.device).split(self.at_once):
            mask = None if seen is None else seen[part]
            found = [
                self.posteriors(self.log_emission(steps[part], group, mask), group)[:2] for group in range(self.groups)
            ]
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
        return self.image(means).clamp(0, 1)

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
                first, *rest = self.log_emission(steps[part], group).unbind(1)
                best, origins = start + first, []
                for log_density in rest:
                    best, origin = (best[:, :, None] + moves).max(1)
                    best = best + log_density
                    origins.append(origin)
                path = [best.argmax(1)]
                for origin in reversed(origins):
                    path.append(origin.gather(1, path[-1][:, None])[:, 0])
                paths[part] = torch.stack(path[::-1], 1)
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
        return max(1, CHUNK // (self.steps * (states * (values + states) + inputs)))


def draw(logits: Tensor, generator: torch.Generator | None) -> Tensor:
    """A sample of each row's categorical distribution, ``(N, S)`` to ``(N,)``."""
    if not len(logits):
        return logits.new_empty(0, dtype=torch.long)
    return torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
