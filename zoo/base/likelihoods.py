"""Likelihoods of pixels: what an example is made into before it is modelled, and log p of that given a decoder.

References: Loaiza-Ganem & Cunningham (2019), The continuous Bernoulli; Kingma et al. (2016), Improved variational
inference with inverse autoregressive flow (discretised logistic).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import ContinuousBernoulli

from zoo.base.noise import streams, uniform


def bernoulli(x: Tensor, logits: Tensor) -> Tensor:
    """log p of binary pixels, in nats, elementwise."""
    return x * logits - F.softplus(logits)


def continuous_bernoulli(x: Tensor, logits: Tensor) -> Tensor:
    """log density of pixels in [0, 1], in nats, elementwise (Loaiza-Ganem & Cunningham 2019)."""
    return ContinuousBernoulli(logits=logits, validate_args=False).log_prob(x)


def discretized_logistic(x: Tensor, parameters: Tensor) -> Tensor:
    """log probability of 256 grey levels, in nats, elementwise: a logistic's mass in the level's interval, the first
    and the last of which go on to infinity (Kingma et al. 2016).

    Args:
        x: grey values ``(…, C, H, W)`` in [0, 1], multiples of 1/255.
        parameters: ``(…, 2 C, H, W)``: logit of the mean, then log scale − 2.
    """
    mean, scale = location_and_scale(parameters)
    width = 1 / (255 * scale)
    upper = (x - mean) / scale + width / 2
    lower = upper - width
    # σ(a) − σ(b) = σ(a) σ(−b) (1 − e^(b − a)), whose logarithm is exact in the tails, too
    inside = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-width))
    return torch.where(x < 0.5 / 255, F.logsigmoid(upper), torch.where(x > 254.5 / 255, F.logsigmoid(-lower), inside))


def location_and_scale(parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Of a logistic, from a decoder's output: the mean in [0, 1], and the scale."""
    location, log_scale = parameters.chunk(2, -3)
    return location.sigmoid(), (log_scale - 2).clamp(-7, 2).exp()  # narrower than a quarter level gains nothing


def binarise(x: Tensor) -> Tensor:
    """Grey values in [0, 1] to zeros and ones, one with the probability that is the value, always the same for the same
    image: see :mod:`zoo.base.noise`."""
    return (uniform(streams(x), 0, math.prod(x.shape[1:])).view(x.shape) < x).to(x.dtype)


LIKELIHOODS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], int, str]] = {  # function, outputs a value, of what
    "bernoulli": (bernoulli, 1, "binarised"),
    "continuous_bernoulli": (continuous_bernoulli, 1, "continuous"),
    "discretized_logistic": (discretized_logistic, 2, "discrete"),
}


def mean_of(likelihood: str, parameters: Tensor) -> Tensor:
    """The expected value in [0, 1], elementwise, under one of :data:`LIKELIHOODS`."""
    if likelihood == "bernoulli":
        return parameters.sigmoid()
    if likelihood == "continuous_bernoulli":
        return ContinuousBernoulli(logits=parameters, validate_args=False).mean
    return location_and_scale(parameters)[0]
