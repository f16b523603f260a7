"""Likelihoods of pixels, and of rows: what an example is made into before it is modelled, and log p of that given a
decoder.

References: Loaiza-Ganem & Cunningham (2019), The continuous Bernoulli; Kingma et al. (2016), Improved variational
inference with inverse autoregressive flow (discretised logistic); Mattei & Frellsen (2018), Leveraging the exact
likelihood of deep latent variable models (why a variance needs a bound); Nazábal et al. (2020), Handling incomplete
heterogeneous data using VAEs (numbers and categories).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import ContinuousBernoulli, Normal

from zoo.base.categories import Columns
from zoo.base.noise import streams, uniform
from zoo.spec import DataSpec

NARROWEST = 0.1  # scale of a number given a latent, in standard deviations of its column
RAREST = 1e-3  # frequency of a category at the start, at least: its logarithm is finite


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
    return logistic_level(x, *location_and_scale(parameters))


def logistic_level(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """As :func:`discretized_logistic`, of a mean anywhere and a scale, that go with ``x``."""
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


def binarise(x: Tensor, anew: bool = False) -> Tensor:
    """Grey values in [0, 1] to zeros and ones, one with the probability that is the value: ``anew``, by the global
    stream, or always the same for the same image, see :mod:`zoo.base.noise`."""
    if anew:
        return torch.bernoulli(x)
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


class Mixed(Columns):
    """Rows of numbers and categories, which are independent of each other given a decoder's output: a number is normal,
    with a location and a scale of its own; a column of categories is categorical.

    The scale is at least a tenth of the column's standard deviation. Without a bound the likelihood has none: a decoder
    that hits one value of a training row, with a scale that goes to 0, makes it infinite (Mattei & Frellsen 2018); and
    values that many rows share, such as 0, draw it there.

    Args:
        spec: the data, of ``"real"`` or ``"mixed"`` values. Its mean and standard deviation are what a decoder's output
            is relative to.

    Attributes:
        shape: of the decoder's output, ``(C, H, W + N)``: for each of W entries a location, or a logit where it is one
            of a category; then of the N numbers what their scales are made of.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec)
        channels, height, self.width = spec.shape
        self.shape = (channels, height, self.width + len(spec.numbers))
        for name, values in (("mean", spec.mean), ("std", spec.std)):
            values_of_all = torch.tensor(values).view(spec.statistics_shape).expand(spec.shape)
            self.register_buffer(name, values_of_all, persistent=False)

    @property
    def start(self) -> Tensor:
        """The output that is the training rows' own location, scale and frequencies, of shape :attr:`shape`."""
        means, frequencies = self.parts(self.mean)
        locations = torch.zeros_like(means)
        rows = self.joined(locations, frequencies.clamp_min(RAREST).log())
        return torch.cat([rows, locations + math.log(math.expm1(1 - NARROWEST))], -1)

    def standardise(self, x: Tensor) -> Tensor:
        """Examples ``(…, C, H, W)`` as an encoder sees them: the mean is 0, and so is what is missing once it has been
        filled in with that."""
        return (x - self.mean) / self.std

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """In nats, ``(…, C, H, W)``, by entry: a number's density; of a category, 0 but for the entry that is 1."""
        normal, log_p = self._parts(parameters)
        numbers, categories = self.parts(x)
        return self.joined(normal.log_prob(numbers), categories * log_p)

    def expected(self, parameters: Tensor) -> Tensor:
        """Means of numbers and probabilities of categories, ``(…, C, H, W)``."""
        normal, log_p = self._parts(parameters)
        return self.joined(normal.loc, log_p.exp())

    def draw(self, parameters: Tensor, generator: torch.Generator | None) -> Tensor:
        """Rows as the data has them, ``(…, C, H, W)``."""
        normal, log_p = self._parts(parameters)
        noise = torch.randn(normal.loc.shape, generator=generator, device=normal.loc.device, dtype=normal.loc.dtype)
        return self.joined(normal.loc + normal.scale * noise, self.drawn(log_p, generator))

    def _parts(self, parameters: Tensor) -> tuple[Normal, Tensor]:
        """The distributions of the numbers, ``(…, N)``, and log p of the entries of categories."""
        rows, scales = parameters.split([self.width, len(self.numbers)], -1)
        locations, logits = self.parts(rows)
        mean, std = self.mean[..., self.numbers], self.std[..., self.numbers]
        scale = std * (NARROWEST + F.softplus(scales))
        return Normal(mean + std * locations, scale, validate_args=False), self.normalised(logits)
