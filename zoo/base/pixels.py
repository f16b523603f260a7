"""What a patch of pixels may be, given a state of a network that has read those before it.

Binary pixels have a joint distribution, a softmax over all 2^P patches. Of 256 levels one pixel comes after the other,
each a mixture of discretised logistics (Salimans et al. 2017, PixelCNN++) by a small network of the state and the
pixels of the patch before it.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.base.blocks import squared_relu
from zoo.base.likelihoods import logistic_level
from zoo.base.patches import bits_of_number, number_of_bits

KNOTS = 33  # levels at which it is learnt how a network sees them: between, on straight lines
FEATURES = 16  # that a pixel is seen as
NARROWEST = -7.0  # logarithm of a logistic's scale: a quarter of a level


class Binary(nn.Module):
    """P binary pixels, together.

    Args:
        pixels: P.
        width: of a state.

    Attributes:
        features: F, values that tell of a patch.
        size: how many values it works out of a state.
    """

    def __init__(self, pixels: int, width: int) -> None:
        super().__init__()
        self.pixels, self.features = pixels, 2**pixels
        self.size = self.features
        self.logits = nn.Linear(width, self.features)
        nn.init.zeros_(self.logits.weight)

    def told(self, values: Tensor) -> Tensor:
        """Patches ``(…, P)`` as a network sees them, ``(…, F)``."""
        every = torch.arange(self.features, device=values.device)  # F.one_hot waits for the device
        return (number_of_bits(values)[..., None] == every).to(self.logits.weight.dtype)

    def log_prob(self, states: Tensor, values: Tensor) -> Tensor:
        """log p of patches ``(…, P)`` given states ``(…, width)``, ``(…)``, in nats."""
        logits, numbers = self.logits(states), number_of_bits(values)
        nll = F.cross_entropy(logits.flatten(0, -2), numbers.flatten(), reduction="none")
        return -nll.view_as(numbers)

    def pixel_log_prob(self, states: Tensor, values: Tensor) -> Tensor:
        """log p of each pixel given those before it in the patch, ``(…, P)``, whose sum is :meth:`log_prob`."""
        log_p, on, parts = self.logits(states).log_softmax(-1), values > 0, []
        for _ in range(self.pixels):  # the highest bit halves what is left
            pair = torch.stack(log_p.chunk(2, -1), -2)
            log_p = pair.logsumexp(-2)
            parts.append(pair - log_p[..., None, :])
        picked = []
        for pixel, part in enumerate(reversed(parts)):  # (…, 2, 2^pixel): this pixel's value, and those before it
            part = part.gather(-2, on[..., pixel, None, None].long().expand(*part.shape[:-2], 1, part.shape[-1]))
            picked.append(part[..., 0, :].gather(-1, number_of_bits(on[..., :pixel])[..., None])[..., 0])
        return torch.stack(picked, -1)

    def draw(
        self, states: Tensor, values: Tensor, seen: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Patches whose pixels are those of ``values`` where ``seen``, all ``(N, P)``, the others drawn, given states
        and, here, all that are seen; and the log probability of what is seen that makes the draw a fair one, ``(N,)``:
        here log p(seen)."""
        every = bits_of_number(torch.arange(self.features, device=states.device), self.pixels)
        fits = ((every == (values > 0)[:, None]) | ~seen[:, None]).all(2)
        log_p = self.logits(states).log_softmax(1).masked_fill(~fits, -math.inf)
        weight = log_p.logsumexp(1)
        numbers = torch.multinomial((log_p - weight[:, None]).exp(), 1, generator=generator)[:, 0]
        return bits_of_number(numbers, self.pixels).to(values.dtype), weight


class Levels(nn.Module):
    """P pixels of 256 levels, one after the other; see :class:`Binary` for what it can be asked.

    Args:
        pixels: P.
        width: of a state.
        mixtures: logistics of a pixel.
        hidden: width of a pixel's own layer.
    """

    mask: Tensor

    def __init__(self, pixels: int, width: int, mixtures: int, hidden: int = 64) -> None:
        super().__init__()
        self.pixels, self.hidden, self.mixtures = pixels, hidden, mixtures
        self.features, self.size = pixels * FEATURES, pixels * (hidden + 3 * mixtures)
        self.level = nn.Embedding(KNOTS, FEATURES)
        self.state = nn.Linear(width, pixels * hidden)
        self.before = nn.Linear(self.features, pixels * hidden, bias=False)
        pixel = torch.arange(pixels)
        mask = pixel.repeat_interleave(hidden)[:, None] > pixel.repeat_interleave(FEATURES)
        self.register_buffer("mask", mask, persistent=False)
        self.out = nn.Parameter(torch.zeros(pixels, hidden, 3 * mixtures))
        start = torch.cat([torch.zeros(mixtures), torch.linspace(0, 1, mixtures), torch.full((mixtures,), -2.0)])
        self.bias = nn.Parameter(start.expand(pixels, 1, -1).clone())

    def told(self, values: Tensor) -> Tensor:
        """Piecewise linear functions of each pixel."""
        places = values * (KNOTS - 1)
        below = places.detach().long().clamp(0, KNOTS - 2)
        return torch.lerp(self.level(below), self.level(below + 1), (places - below)[..., None]).flatten(-2)

    def log_prob(self, states: Tensor, values: Tensor) -> Tensor:
        return self.pixel_log_prob(states, values).sum(-1)

    def pixel_log_prob(self, states: Tensor, values: Tensor) -> Tensor:
        hidden = self._hidden(self.state(states.flatten(0, -2)), values.flatten(0, -2))
        parameters = torch.baddbmm(self.bias, hidden.transpose(0, 1), self.out)  # (P, N, 3 K)
        return self._log_prob(parameters, values.flatten(0, -2).t()).t().reshape(values.shape)

    def draw(
        self, states: Tensor, values: Tensor, seen: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """As that of binary pixels; a pixel is drawn given those before it in the patch, and what is seen counts so."""
        values, weight, of_state = values.clone(), states.new_zeros(len(states)), self.state(states)
        for pixel in range(self.pixels):
            hidden = self._hidden(of_state, values)[:, pixel]
            parameters = torch.addmm(self.bias[pixel], hidden, self.out[pixel])
            at = seen[:, pixel]
            weight = weight + torch.where(at, self._log_prob(parameters, values[:, pixel]), 0)
            values[:, pixel] = torch.where(at, values[:, pixel], self._drawn(parameters, generator))
        return values, weight

    def _hidden(self, of_state: Tensor, values: Tensor) -> Tensor:
        """``(N, P, hidden)``, of what the state gives, ``(N, P · hidden)``, and patches ``(N, P)``, each pixel's of
        those before it."""
        before = F.linear(self.told(values), self.before.weight * self.mask)
        return squared_relu(of_state + before).unflatten(1, (self.pixels, self.hidden))

    def _log_prob(self, parameters: Tensor, values: Tensor) -> Tensor:
        """log p of levels ``(…)``, given ``(…, 3 K)``."""
        logits, mean, log_scale = parameters.chunk(3, -1)
        each = logistic_level(values[..., None], mean, log_scale.clamp(NARROWEST, 2).exp())
        return (logits.log_softmax(-1) + each).logsumexp(-1)

    def _drawn(self, parameters: Tensor, generator: torch.Generator | None) -> Tensor:
        """Levels ``(N,)``, given ``(N, 3 K)``."""
        logits, mean, log_scale = parameters.chunk(3, -1)
        chosen = torch.multinomial(logits.softmax(1), 1, generator=generator)
        noise = torch.rand(len(mean), 1, generator=generator, device=mean.device, dtype=mean.dtype)
        value = mean.gather(1, chosen) + log_scale.gather(1, chosen).clamp(NARROWEST, 2).exp() * noise.logit(1e-7)
        return (value.clamp(0, 1) * 255).round()[:, 0] / 255
