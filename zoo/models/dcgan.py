"""Deep convolutional generative adversarial network.

A generator turns noise z ~ N(0, I) into an image, a discriminator D tells images of the data from generated ones, and
each is trained against the other: D to raise, the generator to lower

    V = E[log σ(D(x))] + E[log(1 − σ(D(G(z))))]

or one of its relatives, by name (:func:`discriminator_loss`, :func:`generator_loss`). There is no density.

Radford's architecture scaled down: transposed 4×4 convolutions that double the size, strided 4×4 convolutions that
halve it, no pooling. Two things differ. The generator normalises groups of channels of one image in place of the
batch: an image is a function of its noise and label alone, in training as afterwards, and averaged weights need no
statistics of their own. The discriminator has no normalisation, because a gradient penalty is one of a function of
single images (Gulrajani et al. 2017, §4).

References: Goodfellow et al. (2014), Generative adversarial nets; Radford, Metz & Chintala (2016), Unsupervised
representation learning with deep convolutional generative adversarial networks; Miyato & Koyama (2018), cGANs with
projection discriminator.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as spectrally_normalized

from zoo.base.generative import Latent
from zoo.base.precision import full
from zoo.registry import register
from zoo.spec import DataSpec

LOSSES = ("non_saturating", "minimax", "hinge", "wasserstein", "least_squares", "relativistic")
LOGITS = ("non_saturating", "minimax")  # whose D is a log odds, so that σ(D) is a probability
SMALLEST = 8  # height and width of the maps that the generator starts from, at most
GROUP = 16  # channels that are normalised together

CANDIDATES, STARTS, STEPS, RATE = 512, 4, 100, 0.05  # of the latent search
SEEN_STD = 0.1  # of grey values around the generated ones, in the latent search


# Losses. The logits are D's, (B,); a loss is a mean over the batch.


def discriminator_loss(loss: str, real: Tensor, fake: Tensor) -> Tensor:
    """What the discriminator minimises, given its values for images of the data and for generated ones.

    ``non_saturating``, ``minimax``: −V, cross-entropy in nats (Goodfellow et al. 2014, eq. 1). ``hinge``: Lim & Ye
    (2017). ``wasserstein``: Arjovsky et al. (2017), with ``gradient_penalty`` that of Gulrajani et al. (2017).
    ``least_squares``: Mao et al. (2017), eq. 9. ``relativistic``: cross-entropy of which image of a pair is real
    (Jolicoeur-Martineau 2019; Huang et al. 2024, R3GAN, eq. 2), the pairs being in the order of the batch.
    """
    if loss == "relativistic":
        return F.softplus(fake - real).mean()
    if loss in LOGITS:
        return F.softplus(-real).mean() + F.softplus(fake).mean()
    if loss == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    if loss == "wasserstein":
        return fake.mean() - real.mean()
    return ((real - 1).square().mean() + fake.square().mean()) / 2


def generator_loss(loss: str, fake: Tensor, real: Tensor | None = None) -> Tensor:
    """What the generator minimises; ``real``: the values for the images of the data that ``relativistic`` pairs with
    generated ones.

    ``minimax`` is E[log(1 − σ(D))] itself, whose gradient vanishes where D is sure of itself; ``non_saturating``
    −E[log σ(D)], whose gradient is largest there.
    """
    if loss == "relativistic":
        assert real is not None
        return F.softplus(real - fake).mean()
    if loss == "non_saturating":
        return F.softplus(-fake).mean()
    if loss == "minimax":
        return -F.softplus(fake).mean()
    if loss == "least_squares":
        return (fake - 1).square().mean() / 2
    return -fake.mean()


def gradient_norms(discriminator: nn.Module, x: Tensor, labels: Tensor | None) -> Tensor:
    """‖∂D/∂x‖² of each image, over all its pixels, ``(B,)``; the result can be differentiated."""
    x = x.detach().requires_grad_()
    values = discriminator.forward(x, labels)  # a compiled call has no second derivative; forward is never compiled
    (gradient,) = torch.autograd.grad(values.sum(), x, create_graph=True)
    return full(gradient).flatten(1).square().sum(1)


def gradient_penalty(discriminator: nn.Module, real: Tensor, fake: Tensor, labels: Tensor | None) -> Tensor:
    """E(‖∂D/∂x‖ − 1)² on lines between real and generated images, one random place a line (Gulrajani et al. 2017)."""
    place = torch.rand(len(real), 1, 1, 1, dtype=real.dtype, device=real.device)
    squared = gradient_norms(discriminator, torch.lerp(real, fake.detach().to(real.dtype), place), labels)
    return (squared.clamp_min(1e-12).sqrt() - 1).square().mean()


def flatness_penalty(discriminator: nn.Module, x: Tensor, labels: Tensor | None) -> Tensor:
    """½ E‖∂D/∂x‖² without its γ: R1 on images of the data, R2 on generated ones (Mescheder et al. 2018, eq. 9, 10)."""
    return gradient_norms(discriminator, x, labels).mean() / 2


def augmented(x: Tensor, shift: float, cutout: float) -> Tensor:
    """Images in [-1, 1], each moved by up to ``shift`` of its size each way, black moving in, and with a part as high
    and wide as ``cutout`` of its size grey, some of which may lie outside; what is left has gradients (Zhao et al.
    2020, Differentiable augmentation for data-efficient GAN training). The random numbers are of the global stream."""
    for axis in (2, 3) if shift else ():
        size = x.shape[axis]
        reach = round(shift * size)
        places = torch.arange(size, device=x.device)
        moves = torch.randint(-reach, reach + 1, (len(x), 1, 1), device=x.device)
        moved = (places[:, None] == places + moves).to(x.dtype)[:, None]  # a matrix takes less than a gather, backwards
        x = (moved @ (x + 1) if axis == 2 else (x + 1) @ moved.mT) - 1
    if cutout:
        kept = torch.zeros(1, device=x.device, dtype=torch.bool)
        for axis in (2, 3):
            size = x.shape[axis]
            width, places = round(cutout * size), torch.arange(size, device=x.device)
            first = torch.randint(size + 1 - width % 2, (len(x), 1), device=x.device) - width // 2
            outside = (places < first) | (places >= first + width)
            kept = kept | outside.view(len(x), 1, *((-1, 1) if axis == 2 else (1, -1)))
        x = x * kept
    return x


# Networks


class Generator(nn.Module):
    """Noise ``(B, D)``, and labels ``(B,)`` where there are ``classes``, to images ``(B, C, H, W)`` in [-1, 1].

    ``stages`` transposed convolutions each double a map that begins with ⌈size / 2^stages⌉; what is too much for the
    image is cut off.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, latent_dim: int, channels: int, stages: int) -> None:
        super().__init__()
        self.size = shape[1:]
        count, height, width = channels * 2 ** (stages - 1), *start_size(shape, stages)
        self.embedding = nn.Embedding(classes, latent_dim) if classes else None
        layers: list[nn.Module] = [nn.Linear(latent_dim * (2 if classes else 1), count * height * width)]
        layers += [nn.Unflatten(1, (count, height, width))]
        for stage in range(stages):
            layers += [nn.GroupNorm(max(1, count // GROUP), count), nn.ReLU(inplace=True)]
            out = count // 2 if stage + 1 < stages else shape[0]
            layers += [nn.ConvTranspose2d(count, out, 4, 2, 1)]
            count = out
        self.layers = nn.Sequential(*layers, nn.Tanh()).to(memory_format=torch.channels_last)  # 1.1 times as fast
        self.outer = (f"layers.{len(layers) - 1}",)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.embedding is not None:
            z = torch.cat([z, self.embedding(labels)], 1)
        height, width = self.size
        return self.layers(z)[:, :, :height, :width]


class Discriminator(nn.Module):
    """Images ``(B, C, H, W)`` in [-1, 1], and labels ``(B,)`` where there are ``classes``, to ``(B,)``.

    With classes D(x, y) = w·h(x) + e_y·h(x) (projection); without labels it is the largest of its values over y. A
    ``bias`` is for losses that compare values with something else than one another.
    """

    outer = ("head", "classes")

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        channels: int,
        stages: int,
        spectral_norm: bool,
        bias: bool = True,
    ) -> None:
        super().__init__()
        normalize = spectrally_normalized if spectral_norm else lambda module: module
        start = start_size(shape, stages)
        height, width = (size * 2**stages for size in start)
        self.padding = (0, width - shape[2], 0, height - shape[1])
        layers: list[nn.Module] = []
        count = shape[0]
        for stage in range(stages):
            out = channels * 2**stage
            layers += [normalize(nn.Conv2d(count, out, 4, 2, 1)), nn.LeakyReLU(0.2, inplace=True)]
            count = out
        self.layers = nn.Sequential(*layers, nn.Flatten()).to(memory_format=torch.channels_last)
        features = count * start[0] * start[1]
        self.head = normalize(nn.Linear(features, 1, bias=bias))
        self.classes = normalize(nn.Linear(features, classes, bias=False)) if classes else None

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        features = self.layers(F.pad(x, self.padding, value=-1.0) if any(self.padding) else x)
        common = full(self.head(features))[:, 0]
        if self.classes is None:
            return common
        of_classes = full(self.classes(features))
        return common + (of_classes.amax(1) if labels is None else of_classes.gather(1, labels[:, None])[:, 0])


def start_size(shape: tuple[int, int, int], stages: int) -> tuple[int, int]:
    """Height and width of the smallest maps."""
    return -(-shape[1] // 2**stages), -(-shape[2] // 2**stages)


@register("dcgan")
class DCGAN(Latent):
    """Generator and discriminator for any channel count and any size.

    Args:
        spec: shape and classes of the data.
        latent_dim: length of z.
        channels: feature maps of both networks at half the image's size; twice as many with each halving.
        conditional: p(x | y): the class is embedded beside the noise, and the discriminator projects onto it.
        loss: one of ``LOSSES``.
        gradient_penalty: weight of :func:`gradient_penalty`; 0 leaves it out.
        r1: γ, the weight of :func:`flatness_penalty` of images of the data; 0 leaves it out.
        r2: the same of generated images.
        r1_every: both are added to every so manieth batch alone, with so much more weight (Karras et al. 2020, App. B).
        shift: of what the discriminator sees, see :func:`augmented`; 0 moves nothing.
        cutout: the same; 0 hides nothing.
        spectral_norm: divide the discriminator's weights by their largest singular value (Miyato et al. 2018).
    """

    kinds = ("image",)  # neighbouring entries of a table have nothing to do with each other

    def __init__(
        self,
        spec: DataSpec,
        latent_dim: int = 64,
        channels: int = 32,
        conditional: bool = False,
        loss: str = "non_saturating",
        gradient_penalty: float = 0.0,
        r1: float = 5.0,
        r2: float = 0.0,
        r1_every: int = 4,
        spectral_norm: bool = False,
        shift: float = 0.0,
        cutout: float = 0.0,
    ) -> None:
        super().__init__(spec, conditional)
        self.latent_dim = latent_dim
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, not {loss!r}")
        if min(latent_dim, channels, r1_every) < 1 or min(gradient_penalty, r1, r2) < 0:
            raise ValueError(
                "latent_dim, channels and r1_every must be at least 1, gradient_penalty, r1 and r2 at least 0"
            )
        if not (0 <= shift < 1 and 0 <= cutout < 1):
            raise ValueError(
                f"shift and cutout are shares of an image's size, from 0 to below 1, not {shift}, {cutout}"
            )
        self.loss, self.gradient_penalty, self.r1, self.r2, self.r1_every = loss, gradient_penalty, r1, r2, r1_every
        self.shift, self.cutout = shift, cutout
        classes = 0 if self.log_prior is None else spec.num_classes
        stages = max(1, math.ceil(math.log2(max(spec.shape[1:]) / SMALLEST)))
        self.generator = Generator(spec.shape, classes, latent_dim, channels, stages)
        self.discriminator = Discriminator(
            spec.shape, classes, channels, stages, spectral_norm, bias=loss != "relativistic"
        )

    # Training: what a step of each player minimises. Images are as the networks see them, in [-1, 1].

    @property
    def log_odds(self) -> bool:
        """Whether the discriminator's values are log odds that an image is real."""
        return self.loss in LOGITS

    def real(self, x: Tensor) -> Tensor:
        """Images of the data, in [0, 1], as the networks see them."""
        return signed(x)

    def fake(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """As many generated images as there are in ``x``, as the networks see them; noise is of the global stream."""
        return self.generator(self.prior(torch.randn(len(x), self.latent_dim, dtype=x.dtype, device=x.device)), labels)

    def discriminator_terms(
        self, real: Tensor, fake: Tensor, labels: Tensor | None, step: int
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """The terms of the discriminator's loss in batch ``step``, whose sum it minimises, and its values for ``real``
        and ``fake`` images, ``(B,)`` each. Both sets have the same ``labels``; no gradient reaches ``fake``.
        """
        both = None if labels is None else torch.cat([labels, labels])
        real, fake = self._seen(torch.cat([real, fake.detach()])).chunk(2)
        of_real, of_fake = self.discriminator(torch.cat([real, fake]), both).chunk(2)
        terms = {"loss": discriminator_loss(self.loss, of_real, of_fake)}
        if self.gradient_penalty:
            terms["gradient_penalty"] = self.gradient_penalty * gradient_penalty(self.discriminator, real, fake, labels)
        for name, weight, x in (("r1", self.r1, real), ("r2", self.r2, fake)):
            if weight and step % self.r1_every == 0:
                terms[name] = weight * self.r1_every * flatness_penalty(self.discriminator, x, labels)
        return terms, of_real, of_fake

    def generator_loss(self, fake: Tensor, real: Tensor, labels: Tensor | None) -> Tensor:
        """What the generator minimises, for the images ``fake`` it made, and ``real`` ones of the same ``labels``."""
        of_fake = self.discriminator(self._seen(fake), labels)
        if self.loss != "relativistic":
            return generator_loss(self.loss, of_fake)
        with torch.no_grad():
            of_real = self.discriminator(self._seen(real), labels)
        return generator_loss(self.loss, of_fake, of_real)

    def _seen(self, x: Tensor) -> Tensor:
        """Images as the discriminator sees them in training."""
        return augmented(x, self.shift, self.cutout) if self.shift or self.cutout else x

    # What can be asked

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return (self.generator(z, labels) + 1) / 2

    def discriminate(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """D of images in [0, 1], ``(B,)``, of their ``labels`` or else the largest over the classes; higher is more
        like the data. Log odds that an image is real where the loss is one of ``LOGITS``."""
        return self.discriminator(signed(x), labels if self.log_prior is not None else None)

    def anomaly_score(self, x: Tensor) -> Tensor:
        """−D, ``(B,)``; higher is stranger."""
        return -self.discriminate(x)

    def impute(self, x: Tensor, observed: Tensor, n: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """``n`` completions of each image, ``(n, B, C, H, W)``, by a search for the noise whose image fits the seen
        pixels (Yeh et al. 2017): the largest log p(z) + log N(seen pixels; G(z), ``SEEN_STD``²) that gradient ascent
        reaches from the best ``STARTS`` of ``CANDIDATES`` draws of z and, where there are classes, y.

        Each completion begins with draws of its own. Hidden values are never read.
        """
        x = torch.where(observed, x, torch.zeros((), dtype=x.dtype, device=x.device))
        found = [self._search(x, observed, generator) for _ in range(n)]
        return torch.stack([torch.where(observed, x, image) for image in found])

    def _search(self, x: Tensor, observed: Tensor, generator: torch.Generator | None) -> Tensor:
        """The images, ``(B, C, H, W)``, of the noise that fits best."""
        seen = observed.to(x.dtype)
        with torch.no_grad():
            bank = self.noise(CANDIDATES, generator)
            classes = self.draw_groups(CANDIDATES, None, generator)
            images = self.generate(bank, classes).flatten(1)
            # squared distances of seen pixels, but for a constant of each image
            distance = seen.flatten(1) @ images.square().T - 2 * x.flatten(1) @ images.T
            chosen = distance.topk(STARTS, largest=False).indices  # (B, STARTS)
        labels = None if self.log_prior is None else classes[chosen.flatten()]
        z = bank[chosen.flatten()].requires_grad_()
        x, seen = x.repeat_interleave(STARTS, 0), seen.repeat_interleave(STARTS, 0)
        optimizer = torch.optim.Adam([z], RATE)

        def energy() -> tuple[Tensor, Tensor]:
            image = self.decode(z, labels)
            misfit = ((image - x) * seen).square().flatten(1).sum(1) / SEEN_STD**2
            return image, (misfit + z.square().sum(1)) / 2

        with torch.enable_grad():
            for _ in range(STEPS):
                (z.grad,) = torch.autograd.grad(energy()[1].sum(), z)  # of z alone: no parameter gets a gradient
                optimizer.step()
        with torch.no_grad():
            image, value = energy()
        best = value.view(-1, STARTS).argmin(1)
        return image.unflatten(0, (-1, STARTS))[torch.arange(len(best), device=best.device), best]


def signed(x: Tensor) -> Tensor:
    """Images in [0, 1] to [-1, 1], as the networks see them."""
    return 2 * x - 1
