"""What models share that make an image out of a latent vector."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.models._conditional import Generative
from zoo.spec import DataSpec

AT_ONCE = 512  # images that are decoded at a time


class LatentModel(Generative):
    """Base of the models with a latent z, ``(B, latent_dim)``, and a decoder from z, and the class if any, to an image.

    A subclass defines :meth:`decode` and, where its prior is no standard normal, :meth:`prior`.

    Args:
        spec: the data.
        latent_dim: length of z.
        conditional: whether an image depends on its class, too.
    """

    def __init__(self, spec: DataSpec, latent_dim: int, conditional: bool) -> None:
        super().__init__(spec, conditional)
        self.latent_dim = latent_dim

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents ``(B, D)`` and, where there are classes, ``labels`` ``(B,)`` to (mean) images ``(B, C, H, W)``."""
        raise TypeError(f"{type(self).__name__} defines no decode")

    def prior(self, noise: Tensor) -> Tensor:
        """Standard normal noise ``(B, D)`` to draws from p(z). A bijection: paths through noise are paths through z."""
        return noise

    def noise(self, n: int, generator: torch.Generator | None) -> Tensor:
        """Standard normal ``(n, D)`` on the model's device."""
        device = next(parameter.device for parameter in self.parameters())
        dtype = next(parameter.dtype for parameter in self.parameters())
        return torch.randn(n, self.latent_dim, generator=generator, device=device, dtype=dtype)

    def generate(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """Standard normal noise ``(B, D)`` to images ``(B, C, H, W)`` in [0, 1], each a function of its noise and label
        alone; a bounded number at a time."""
        return self.decode_all(torch.cat([self.prior(part) for part in noise.split(AT_ONCE)]), labels)

    def decode_all(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """As :meth:`decode`, a bounded number at a time; labels are left aside where there are no classes."""
        if len(z) == 0:
            return z.new_empty(0, *self.spec.shape)
        if self.log_prior is None or labels is None:
            return torch.cat([self.decode(part) for part in z.split(AT_ONCE)])
        pairs = zip(z.split(AT_ONCE), labels.split(AT_ONCE), strict=True)
        return torch.cat([self.decode(*pair) for pair in pairs])

    def sample(self, n: int, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """``n`` images ``(n, C, H, W)`` in [0, 1]; of p(x | labels) if given, else of p(x)."""
        groups = self.draw_groups(n, labels, generator)
        return self.generate(self.noise(n, generator), groups)

    def interpolate(
        self,
        n: int,
        steps: int,
        ends: tuple[Tensor, Tensor] | None = None,
        labels: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Paths from image to image, ``(n, steps, C, H, W)`` in [0, 1]; see :func:`zoo.interpolate`.

        Between random images they follow great arcs of noise. Between the codes of given images, ``encode(x, labels)``,
        they are straight: codes are means, which lie anywhere within the sphere where draws are. Raises ``ZooError``
        where ``ends`` are given to a model that cannot encode, or where they need ``labels``.
        """
        if ends is not None and getattr(self, "encode", None) is None:
            raise ZooError("this model has no codes of images to go between: leave ends out")
        if ends is not None and self.log_prior is not None and labels is None:
            raise ZooError("images of this model depend on a class: give labels, one a pair of ends")
        groups = self.draw_groups(n, labels, generator)
        of_steps = groups.repeat_interleave(steps)
        if ends is None:
            path = slerp(self.noise(n, generator), self.noise(n, generator), steps)
            images = self.generate(path.flatten(0, 1), of_steps)
        else:
            first, last = (self._codes(end, groups) for end in ends)
            path = torch.lerp(first[:, None], last[:, None], torch.linspace(0, 1, steps).to(first)[None, :, None])
            images = self.decode_all(path.flatten(0, 1), of_steps)
        return images.unflatten(0, (n, steps))

    def _codes(self, x: Tensor, groups: Tensor) -> Tensor:
        if self.log_prior is None:
            return torch.cat([self.encode(part) for part in x.split(AT_ONCE)])
        return torch.cat([self.encode(*part) for part in zip(x.split(AT_ONCE), groups.split(AT_ONCE), strict=True)])


def slerp(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Points on great arcs from ``start`` to ``end``, both ``(B, D)``: ``(B, steps, D)``.

    Between normal vectors they stay at the typical distance from the origin, where a straight line leaves it (White
    2016, Sampling generative networks).
    """
    t = torch.linspace(0, 1, steps, dtype=start.dtype, device=start.device)[None, :, None]
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=1).clamp(-1, 1)
    angle = cosine.acos()[:, None, None]
    straight = angle.sin() < 1e-4
    sine = torch.where(straight, torch.ones_like(angle), angle.sin())
    start_weight = torch.where(straight, 1 - t, ((1 - t) * angle).sin() / sine)
    end_weight = torch.where(straight, t, (t * angle).sin() / sine)
    return start_weight * start[:, None] + end_weight * end[:, None]
