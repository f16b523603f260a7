"""Flow matching: a network learns the velocity of pictures on straight ways from noise to data; sampling follows it.

A picture x, standardised, and noise ε ~ N(0, I) are the ends of a way x_t = (1 − t) ε + t x, whose velocity is x − ε.
What a network v can know of that at a place is its mean over all ways that lead through it, the minimum of

    E ‖v(x_t, t, y) − (x − ε)‖²

and dx/dt = v(x_t, t, y) carries N(0, I) at t = 0 to the distribution of the data at t = 1 (Lipman et al. 2023). Times
are drawn more often where most is to be learnt, σ(N(m, 1)). The network f itself tells what no line can know: where
nothing but x_t is seen of data of variance 1,

    v(x_t, t, y) = ((2 t − 1) x_t + r f(x_t / r, t, y)) / r²        r² = (1 − t)² + t²

so that f has a target of variance 1 at all times, the clean picture where all is noise (Karras et al. 2022).

With ``conditional`` the class is told, but for a tenth of the pictures of training, and where it is hidden: what has
been learnt so serves where no class is given, and guidance g goes on from there, v(x, t) + g (v(x, t, y) − v(x, t)).

References:
    Lipman et al. 2023, Flow matching for generative modeling.  Karras et al. 2022, Elucidating the design space of
    diffusion-based generative models.  Esser et al. 2024, Scaling rectified flow transformers (times).  Ho & Salimans
    2022, Classifier-free guidance.  Kingma et al. 2021, Variational diffusion models (the bound).  Li et al. 2023, Your
    diffusion model is secretly a zero-shot classifier.  Wang, Yu & Zhang 2023, Denoising diffusion null-space model.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from zoo.base import ode
from zoo.base.available import available_if
from zoo.base.generative import Batches, Latent, has_classes, slerp
from zoo.base.noise import normal, streams, uniform
from zoo.base.velocity import network_of
from zoo.registry import register
from zoo.spec import DataSpec, Likelihood

UNTOLD = 0.1  # of training pictures, whose class is not told
LEVEL = 1 / 255  # between grey levels: training adds uniform noise of that width
ODDS = (-1.75, -1.25, -0.75, -0.25, 0.25, 0.75, 1.25, 1.75)  # log odds of the times of denoising errors
OF_CLASSES = (-2.5, -2.0, -1.5, -1.0)  # where classes differ the most; evenly spread, as these are
NOISE = 17  # salt of the streams of their noise
EXACT = 16  # values of a picture whose trace is summed up
KEPT = 32  # bytes that training keeps of a state's value in a block
LEAST_STD = 1e-3  # of a channel that hardly varies


@register("flow_matching")
class FlowMatching(Latent):
    """Pictures from noise, as large as they are, by an ordinary differential equation.

    Args:
        spec: the data.
        network: ``"unet"``: places of several levels, convolved; ``"dit"``: a transformer's, of one.
        conditional: a distribution for each class.
        guidance: g; how much more a sample is to be of its class: 1 adds nothing, and evaluates the network once.
        steps: of the solver, from noise to a picture.
        solver: ``"ab2"``, ``"heun"`` or ``"euler"``, see :mod:`zoo.base.ode`.
        patch: rows and columns of pixels that are one place of the network.
        channels: of each level of it; of a transformer one number.
        blocks: of each level, down and up; of a transformer all.
        dropout: probability that a channel inside of a block is zeroed in training.
        time_mean: m, of the log odds of times in training; above 0 there is more data than noise.
    """

    kinds = ("image",)
    partly_labelled = ("losses",)
    density = Likelihood("estimate", "dequantised")
    density_steps = 64

    def __init__(
        self,
        spec: DataSpec,
        network: str = "unet",
        conditional: bool = True,
        guidance: float = 1.0,
        steps: int = 16,
        solver: str = "ab2",
        patch: int = 2,
        channels: Sequence[int] = (32, 64),
        blocks: int = 2,
        dropout: float = 0.0,
        time_mean: float = 0.0,
    ) -> None:
        super().__init__(spec, conditional)
        if solver not in ode.SOLVERS:
            raise ValueError(f"solver must be {', '.join(ode.SOLVERS)}, not {solver!r}")
        if steps < 1 or not 0 <= guidance < math.inf:
            raise ValueError(f"steps must be at least 1 and guidance at least 0, not {steps} and {guidance}")
        self.guidance, self.steps, self.solver, self.time_mean = guidance, steps, solver, time_mean
        self.latent_dim = math.prod(spec.shape)
        self.untold = 0 if self.log_prior is None else self.groups  # the group of what is of no class
        self.network = network_of(network, spec.shape, self.untold + 1, patch, channels, blocks, dropout)
        self.bytes_an_example = KEPT * self.network.states
        mean, std = (torch.tensor(value).view(spec.statistics_shape) for value in (spec.mean, spec.std))
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std.clamp_min(LEAST_STD), persistent=False)
        self.register_buffer("initialized", torch.tensor(False))

    @torch.no_grad()
    def initialize(self, batches: Batches, generator: torch.Generator) -> None:
        """The prior of the classes, from the labels."""
        self.count_classes(batches)
        self.initialized.fill_(True)

    def velocity(self, x: Tensor, times: Tensor, groups: Tensor) -> Tensor:
        """v of standardised ``x`` ``(B, C, H, W)`` at ``times`` ``(B,)`` in [0, 1], of ``groups``, int64 ``(B,)``."""
        t = times.view(-1, 1, 1, 1)
        scale = torch.rsqrt((1 - t).square() + t.square())
        told = self.network(x * scale, times, groups)
        return scale * torch.addcmul(told, (2 * t - 1) * scale, x)

    def field(self, groups: Tensor | None, n: int, guided: bool = True) -> ode.Field:
        """dx/dt of ``n`` pictures, of ``groups``, with guidance where it is ``guided``, or of none."""
        none = torch.full((n,), self.untold, device=self.device)
        if groups is None or self.log_prior is None:
            return lambda x, t: self.velocity(x, t.expand(n), none)
        if self.guidance == 1 or not guided:
            return lambda x, t: self.velocity(x, t.expand(n), groups)

        def further(x: Tensor, t: Tensor) -> Tensor:
            told, untold = self.velocity(x.repeat(2, 1, 1, 1), t.expand(2 * n), torch.cat([groups, none])).chunk(2)
            return torch.lerp(untold, told, self.guidance)

        return further

    def times(self, steps: int) -> Tensor:
        """The grid of the solver, from 0 to 1, ``(steps + 1,)``, closer where the noise is: eight steps do there."""
        return torch.linspace(0, 1, steps + 1, dtype=self.mean.dtype, device=self.device) ** 1.5

    def losses(self, x: Tensor, labels: Tensor, epoch: float = math.inf) -> dict[str, Tensor]:
        """``loss``: the mean squared error of the velocity, per value."""
        x = self.standardised(x + LEVEL * (torch.rand_like(x) - 0.5))
        places = (torch.randperm(len(x), device=x.device) + torch.rand(len(x), device=x.device)) / len(x)
        times = (self.time_mean + math.sqrt(2) * torch.erfinv(2 * places.to(x.dtype) - 1)).sigmoid()
        hidden = (labels < 0) | (torch.rand(len(x), device=x.device) < UNTOLD)
        groups = torch.where(hidden, self.untold, labels) if self.untold else torch.zeros_like(labels)
        return {"loss": self._errors(x, torch.randn_like(x), times, groups).mean()}

    def validate(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """``loss``, the mean squared error of the velocity per value, of an example's own noises at fixed times."""
        groups = labels if self.untold else torch.zeros_like(labels)
        return {"loss": self.denoising_errors(x, groups).mean(0) / self.latent_dim}

    def _errors(self, x: Tensor, noise: Tensor, times: Tensor, groups: Tensor) -> Tensor:
        """(v − (x − ε))², ``(B, C, H, W)``."""
        v = self.velocity(torch.lerp(noise, x, times.view(-1, 1, 1, 1)), times, groups)
        return (v - (x - noise)).square()

    def standardised(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std

    def denoising_errors(self, x: Tensor, groups: Tensor, odds: Sequence[float] = ODDS) -> Tensor:
        """‖v − (x − ε)‖², ``(S, …, B)``, of ``groups``, ``(B,)`` or several of each picture, ``(N, B)``, at S times of
        these log ``odds``; ε are functions of the picture alone."""
        stream, x = streams(x, NOISE), self.standardised(x)
        errors, rows = [], groups if groups.dim() == 2 else groups[None]
        for number, time in enumerate(torch.tensor(odds, dtype=x.dtype, device=x.device).sigmoid()):
            noise = normal(stream, number * self.latent_dim, self.latent_dim).view(x.shape).to(x.dtype)
            each = [self._errors(x, noise, time.expand(x.shape[0]), row).flatten(1).sum(1) for row in rows]
            errors.append(torch.stack(each).view(groups.shape))
        return torch.stack(errors)

    @available_if(has_classes)
    def classify(self, x: Tensor) -> Tensor:
        """log p(y | x), ``(B, K)``, of a bound of log p(x | y) that is a sum of denoising errors, see :meth:`bound`."""
        groups = torch.arange(self.groups, device=x.device)[:, None].expand(-1, x.shape[0])
        return (self.bound(x, groups).t() + cast(Tensor, self.log_prior)).log_softmax(1)

    def bound(self, x: Tensor, groups: Tensor) -> Tensor:
        """A bound of log p(x | group) in nats, as ``groups`` are, but for what hardly depends on them: −∫ t / (1 − t)
        ‖v − (x − ε)‖² dt (Kingma et al. 2021, eq. 15) where classes differ the most, a sum over evenly spread log
        odds."""
        odds = torch.tensor(OF_CLASSES, dtype=x.dtype, device=x.device)
        weights = odds.sigmoid().square() * (OF_CLASSES[1] - OF_CLASSES[0])
        return -torch.tensordot(weights, self.denoising_errors(x, groups, OF_CLASSES), 1)

    def anomaly_score(self, x: Tensor) -> Tensor:
        """The denoising error, told no class, ``(B,)``: the mean over times, per value; higher is stranger."""
        groups = torch.full((len(x),), self.untold, device=x.device)
        return self.denoising_errors(x, groups).mean(0) / self.latent_dim

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The pictures that noise ``(B, D)`` is carried to, ``(B, C, H, W)``."""
        x = ode.solve(self.field(labels, z.shape[0]), z.view(-1, *self.spec.shape), self.times(self.steps), self.solver)
        return self._picture(x)

    def way(self, z: Tensor, labels: Tensor | None = None, most: int = 9) -> Tensor:
        """Where noise ``(B, D)`` is on its way to pictures, at so many times at most, the first and the last one among
        them: ``(T, B, C, H, W)``."""
        shown = {*torch.linspace(0, self.steps, min(most, self.steps + 1)).round().int().tolist()}
        x = z.view(-1, *self.spec.shape)
        states = ode.steps_of(self.field(labels, len(z)), x, self.times(self.steps), self.solver)
        numbered = enumerate(itertools.chain([x], states))
        return torch.stack([self._picture(state) for number, state in numbered if number in shown])

    def encode(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """The noise that is carried to pictures, ``(B, D)``, of a class where ``labels`` are given: as exact as
        ``steps`` are many."""
        times = self.times(self.steps).flip(0)
        return ode.solve(self.field(labels, x.shape[0]), self.standardised(x), times, self.solver).flatten(1)

    def between(self, first: Tensor, last: Tensor, steps: int) -> Tensor:
        return slerp(first, last, steps)

    def impute(self, x: Tensor, observed: Tensor, n: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """``n`` completions ``(n, B, C, H, W)``, of no class, which are near to p(hidden | seen) and not exact: at each
        time the clean picture that is told gets the seen values, and new noise (Wang, Yu & Zhang 2023)."""
        seen, field = self.standardised(x), self.field(None, len(x))

        def noise() -> Tensor:
            return torch.randn(seen.shape, generator=generator, dtype=seen.dtype, device=seen.device)

        def completed() -> Tensor:
            state = noise()
            for time, after in itertools.pairwise(self.times(self.steps)):
                clean = torch.where(observed, seen, state + (1 - time) * field(state, time))
                state = torch.lerp(noise(), clean, after)
            return self._picture(state)

        return torch.stack([completed() for _ in range(n)])

    def log_prob(self, x: Tensor, labels: Tensor | None = None, steps: int | None = None) -> Tensor:
        """An estimate of log p(x | labels), in nats, ``(B,)``, without guidance, or of log p(x), as the network is told
        no class, which is no sum over them: what is left of the noise's log density by −∫ ∂v/∂x dt on the way there. Of
        more than ``EXACT`` values the trace is that along one random direction, a function of the picture (Hutchinson
        1989; Grathwohl et al. 2019, FFJORD); so many ``steps`` of Heun's method, shorter where there is little noise.
        More of them tell how far it is from that of infinitely many."""
        field, values = self.field(labels, x.shape[0], guided=False), self.latent_dim
        if values <= EXACT:
            probes = torch.eye(values, dtype=x.dtype, device=x.device)[:, None].expand(-1, x.shape[0], -1)
        else:
            probes = (uniform(streams(x, NOISE), 0, values) - 0.5).sign().to(x.dtype)[None]
        state = torch.cat([self.standardised(x).flatten(1), x.new_zeros(x.shape[0], 1)], 1)
        times = 1 - torch.linspace(0, 1, (steps or self.density_steps) + 1, dtype=x.dtype, device=x.device) ** 3
        state = ode.solve(ode.traced(field, x.shape, probes), state, times, "heun")
        z, shrunk = state[:, :-1], self.std.expand(self.spec.shape).log().sum()
        return -(z.square() + math.log(2 * math.pi)).sum(1) / 2 + state[:, -1] - shrunk

    def _picture(self, x: Tensor) -> Tensor:
        return self.possible(self.mean + self.std * x)
