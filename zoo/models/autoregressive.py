"""Autoregressive model of pictures: log p(x) = Σ_t log p(x_t | x_1 .. x_{t-1}), exact, patch after patch.

A patch of 2×2 pixels is read at a time, row after row of them, by a causal network (:mod:`zoo.base.causal`), whose
state at a patch tells what it may be (:mod:`zoo.base.pixels`). With ``conditional`` the network is told the class, and
p(x | y) of all classes makes a classifier by Bayes' rule.

Several ``orders`` of reading, the flips and transpositions of a picture, make a mixture, p(x) = 1/N Σ_o p_o(x), of one
network that is told the order. Training draws one for each picture: its loss bounds −log p(x) from above.

References:
    van den Oord et al. 2016, Conditional image generation with PixelCNN decoders (two streams).
    Salimans et al. 2017, PixelCNN++ (mixtures of discretised logistics).  Chen et al. 2018, PixelSNAIL (attention).
    Jain, Abbeel & Pathak 2020, Locally masked convolution for autoregressive models (orders, averaged).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.base.causal import CausalNetwork, Reading
from zoo.base.generative import ByGroup
from zoo.base.likelihoods import LIKELIHOODS, binarise
from zoo.base.memory import in_parts
from zoo.base.particles import resampled, survivors
from zoo.base.patches import BinaryPatches, Patches, first_seen, turned
from zoo.base.pixels import Binary, Levels
from zoo.registry import register
from zoo.spec import DataSpec, Likelihood

AT_ONCE = 512  # pictures that are drawn at a time
VALUES_AT_ONCE = 2**22  # that are worked out at a time where likelihoods are: a CPU's caches are small
KEPT, KEPT_OF_HEAD = 40, 20  # bytes that training keeps of a state's value in a block, and of one in the head


@register("autoregressive")
class Autoregressive(ByGroup):
    """Pictures, one patch given those before it.

    Args:
        spec: the data.
        likelihood: ``"auto"``: ``"bernoulli"``. That is of binary pixels, drawn with the grey value as probability,
            anew in training and as :func:`binarise` does elsewhere; those of a patch are together one of 2^P.
            ``"discretized_logistic"``: of 256 levels, pixel after pixel within a patch.
        patch: rows and columns of pixels that are read at a time.
        channels: of the network's states.
        blocks: of the network.
        attention: layers of it, behind blocks that are evenly spread, with a head for each 16 channels.
        orders: of reading, averaged: 1, 2 (also from right to left), 4 (also from below), or 8 (also column after
            column).
        conditional: a distribution for each class. Without it the model is no classifier.
        dropout: probability that a channel of what a block adds is zeroed in training.
        mixtures: logistics that a pixel's level is a mixture of, where there are 256.
        particles: completions that ``impute`` weighs against each other where what is hidden comes before what is seen.

    Attributes:
        cached: whether sampling keeps states of the network, or computes them again for each patch.
    """

    takes = ("grey", "binary")
    kinds = ("image",)
    unless = ": vae, gmm, hmm and naive_bayes can"
    cached = True

    def __init__(
        self,
        spec: DataSpec,
        likelihood: str = "auto",
        patch: Sequence[int] = (2, 2),
        channels: int = 32,
        blocks: int = 6,
        attention: int = 1,
        orders: int = 1,
        conditional: bool = True,
        dropout: float = 0.0,
        mixtures: int = 5,
        particles: int = 32,
    ) -> None:
        super().__init__(spec, conditional)
        likelihood = "bernoulli" if likelihood == "auto" else likelihood
        allowed = ("bernoulli",) if spec.values == "binary" else ("bernoulli", "discretized_logistic")
        if likelihood not in allowed:
            raise ValueError(f"likelihood={likelihood} does not fit {spec.values} pixels: {' or '.join(allowed)} does")
        if orders not in (1, 2, 4, 8) or min(mixtures, particles) < 1:
            raise ValueError("orders must be 1, 2, 4 or 8, and mixtures and particles at least 1")
        if orders == 8 and spec.shape[1] != spec.shape[2]:
            raise ValueError(f"orders=8 needs pictures as high as wide, not {spec.shape[1]}×{spec.shape[2]}: orders=4")
        self.orders, self.particles, self.likelihood = orders, particles, likelihood
        self.density = Likelihood("exact", "binary" if spec.values == "binary" else LIKELIHOODS[likelihood][2])
        binary = likelihood == "bernoulli"
        self.patches = (BinaryPatches if binary else Patches)(spec.shape, patch)
        sizes = self.patches.pixels, channels
        self.head: Binary | Levels = Binary(*sizes) if binary else Levels(*sizes, mixtures)
        conditions = self.groups + orders
        self.network = CausalNetwork(
            self.head.features, self.patches.grid, channels, blocks, conditions, attention, dropout
        )
        self.at_once = max(1, VALUES_AT_ONCE // (self.patches.count * max(4 * channels, self.head.size)))
        self.bytes_an_example = self.patches.count * (KEPT * channels * blocks + KEPT_OF_HEAD * self.head.size)

    # Likelihood

    def observe(self, x: Tensor) -> Tensor:
        """Grey values ``(B, C, H, W)`` in [0, 1] to what is modelled: binary pixels, or the grey values."""
        if self.likelihood != "bernoulli" or self.spec.values == "binary":
            return x
        return binarise(x, anew=self.training)

    def patch_log_prob(self, x: Tensor, groups: Tensor, orders: Tensor) -> Tensor:
        """log p(x_t | x_1 .. x_{t-1}, group, order) in nats, ``(B, T)``, of pictures as :meth:`observe` has them; the
        group and the order of each are int64 ``(B,)``. Patches are in the order in which they are read."""
        values = self.patches.split(turned(x, orders, self.orders))
        states = self.network(self.head.told(values), self._conditions(groups, orders))
        return self.head.log_prob(states, values).flatten(1)

    def _conditions(self, groups: Tensor, orders: Tensor) -> Tensor:
        return torch.stack([groups, self.groups + orders], 1)

    def log_prob_of(self, x: Tensor, group: int | Tensor, observed: Tensor | None = None) -> Tensor:
        groups = group if isinstance(group, Tensor) else torch.full(x.shape[:1], group, device=x.device)
        x = self.observe(x)
        each = []
        for part, of in in_parts(self.at_once, x, groups):
            orders = [self.patch_log_prob(part, of, torch.full_like(of, order)).sum(1) for order in range(self.orders)]
            each.append(torch.stack(orders).logsumexp(0) - math.log(self.orders))
        return torch.cat(each)

    def losses(self, x: Tensor, labels: Tensor, epoch: float = math.inf) -> dict[str, Tensor]:
        """``loss``: the mean of −log p(x | class, order) of a batch, in nats per picture, of an order drawn for each;
        ``log_likelihood``: the mean of log p(x, class | order)."""
        orders = torch.randint(self.orders, (len(x),), device=x.device) if self.orders > 1 else torch.zeros_like(labels)
        loss = -self.patch_log_prob(self.observe(x), self.groups_of(labels), orders).sum(1).mean()
        prior = 0.0 if self.log_prior is None else self.log_prior[labels].mean()
        return {"loss": loss, "log_likelihood": prior - loss.detach()}

    @torch.no_grad()
    def surprise(self, x: Tensor) -> Tensor:
        """−log p of each pixel given those read before it, in nats, ``(B, C, H, W)``, its class being known as far as
        these tell it: the sum is −log p(x). Of several orders the mean."""
        x = self.observe(x)
        total = torch.zeros_like(x)
        prior = 0.0 if self.log_prior is None else self.log_prior[:, None, None]
        for order in range(self.orders):
            orders, parts = torch.full(x.shape[:1], order, device=x.device), []
            values = self.patches.split(turned(x, orders, self.orders))
            for group in range(self.groups):
                states = self.network(self.head.told(values), self._conditions(torch.full_like(orders, group), orders))
                parts.append(self.head.pixel_log_prob(states, values))
            joint = torch.stack(parts).flatten(2).cumsum(2) + prior  # (K, B, P T): of all pixels so far, and the class
            each = -joint.logsumexp(0).diff(dim=1, prepend=torch.zeros_like(joint[0, :, :1]))
            total = total + turned(self.patches.join(each.view(values.shape)), orders, self.orders, back=True)
        return total / self.orders

    # New pictures, and what is hidden of one

    def sample(self, n: int, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Pictures ``(n, C, H, W)``; of binary pixels, on or off."""
        groups = self.draw_groups(n, labels, generator)
        orders = torch.randint(self.orders, (n,), generator=generator, device=groups.device)
        nothing = self.network.places.new_zeros(n, *self.spec.shape)
        return self._drawn(nothing, nothing > 0, groups, orders, generator)

    def impute(self, x: Tensor, observed: Tensor, n: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """``n`` completions ``(n, B, C, H, W)``. Where whole patches are hidden, and none is seen behind them, they are
        exact, independent draws. Other masks take ``particles`` of which the likelier ones go on, and come near with
        their number (sequential importance resampling); of several orders all do."""
        x = torch.where(observed, self.observe(x), 0)
        given = [self._given(*part) for part in in_parts(self.at_once, x, observed)]
        weights, exact = (torch.cat(part) for part in zip(*given, strict=True))
        result = x.new_empty(n, *x.shape)
        for rows, each in ((exact, n), (~exact, max(n, self.particles))):
            for index in rows.nonzero()[:, 0].split(max(1, AT_ONCE // each)):
                chosen = torch.multinomial(weights[index].softmax(1), each, True, generator=generator).flatten()
                groups, orders = chosen % self.groups, chosen // self.groups
                copies, seen = (part[index].repeat_interleave(each, 0) for part in (x, observed))
                if rows is exact:
                    done = self._drawn(copies, seen, groups, orders, generator)
                    result[:, index] = done.unflatten(0, (-1, each)).transpose(0, 1)
                else:
                    done, log_weights = self.complete(copies, seen, groups, orders, generator=generator, particles=each)
                    picked = resampled(log_weights.view(-1, each), n, generator).t()
                    result[:, index] = done.unflatten(0, (-1, each))[torch.arange(len(index), device=x.device), picked]
        return result

    def _given(self, x: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """What stands before all that is hidden of pictures says of orders and classes: log p of each order, class and
        that, ``(B, orders · classes)``; and whether nothing else is seen, so that draws are exact, ``(B,)``."""
        prior = x.new_zeros(1) if self.log_prior is None else self.log_prior
        weights, exact = [], torch.full_like(observed[:, 0, 0, 0], self.orders == 1)
        for order in range(self.orders):
            orders = torch.full_like(exact, order, dtype=torch.long)
            seen = self.patches.split(turned(observed, orders, self.orders)).flatten(1, 2)
            before = first_seen(seen)
            exact = exact & ~(seen.any(2) & ~before).any(1)
            for group in range(self.groups):
                log_p = self.patch_log_prob(x, torch.full_like(orders, group), orders)
                weights.append(torch.where(before, log_p, 0).sum(1) + prior[group])
        return torch.stack(weights, 1), exact

    def _drawn(
        self, x: Tensor, observed: Tensor, groups: Tensor, orders: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        parts = zip(*(part.split(AT_ONCE) for part in (x, observed, groups, orders)), strict=True)
        return torch.cat([self.complete(*part, generator=generator)[0] for part in parts])

    def complete(
        self,
        x: Tensor,
        observed: Tensor,
        groups: Tensor,
        orders: Tensor,
        *,
        generator: torch.Generator | None = None,
        particles: int = 1,
    ) -> tuple[Tensor, Tensor]:
        """Pictures ``(N, C, H, W)`` with what is not ``observed`` drawn, patch after patch, each given those before it;
        and their log weights, ``(N,)``: log p of what is seen behind what is hidden, given what is before it.

        So many ``particles`` in succession are of one picture. Where less than half of them count, they are drawn anew,
        in proportion to their weights.
        """
        if not len(x):
            return x, x.new_zeros(0)
        values, seen = (self.patches.split(turned(part, orders, self.orders)).clone() for part in (x, observed))
        before, told = first_seen(seen.flatten(1, 2)).view(seen.shape[:3]), self.head.told(values)
        conditions, weights = self._conditions(groups, orders), x.new_zeros(len(x))
        reading = Reading(self.network, conditions)
        for row in range(self.patches.grid[0]):
            reading.rows(told)
            for column in range(self.patches.grid[1]):
                if self.cached:
                    states = reading.columns(told)[:, 0, 0]
                else:
                    states = self.network(told, conditions)[:, row, column]
                at = (slice(None), row, column)
                values[at], weight = self.head.draw(states, values[at], seen[at], generator)
                told[at] = self.head.told(values[at])
                weights = weights + torch.where(before[at], 0, weight)
                chosen = None if particles == 1 else survivors(weights, particles, generator)
                if chosen is not None:
                    index, even = chosen
                    weights = torch.where(even, 0, weights)
                    values, seen, before, told, conditions, orders = (
                        part[index] for part in (values, seen, before, told, conditions, orders)
                    )
                    reading.take(index)
        return turned(self.patches.join(values), orders, self.orders, back=True), weights
