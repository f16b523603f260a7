"""Variational autoencoder: p(x) = ∫ p(z) p(x | z) dz, bounded from below with an encoder q(z | x).

Training maximises the evidence lower bound

    log p(x) ≥ E_q[log p(x | z)] − β KL(q(z | x) ‖ p(z))                                        (β = 1)

or, with K > 1 samples, the tighter importance-weighted bound

    log p(x) ≥ E[log 1/K Σ_k w_k],   w_k = p(z_k) p(x | z_k) / q(z_k | x),   z_k ~ q(z | x),

which is also how ``log_prob`` answers. With ``conditional`` every term depends on the class y too: p(x | y) of all
classes makes a classifier by Bayes' rule.

With ``classify_weight`` α the classes of some images may be hidden. A network q(y | x) is trained beside the others: a
labelled image has the bound of log p(x, y) and −α log q(y | x), one without a label has, summed exactly over classes,

    log p(x) ≥ Σ_y q(y | x) (bound of log p(x, y) − log q(y | x)).

References:
    Kingma, Mohamed, Rezende & Welling 2014, Semi-supervised learning with deep generative models: M2, eq. 6 to 9.
    Kingma & Welling 2014, Auto-encoding variational Bayes; Rezende, Mohamed & Wierstra 2014.
    Burda, Grosse & Salakhutdinov 2016, Importance weighted autoencoders.
    Higgins et al. 2017, β-VAE.  Kingma et al. 2016, Improved variational inference (free bits).
    Dinh, Sohl-Dickstein & Bengio 2017, Density estimation using Real NVP.
    He et al. 2015, Delving deep into rectifiers.
    Tucker et al. 2019, Doubly reparameterized gradient estimators.  Mattei & Frellsen 2019, MIWAE.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import ContinuousBernoulli, Normal

from zoo.errors import ZooError
from zoo.models._density import Batches
from zoo.models._latent import LatentModel
from zoo.models._precision import full
from zoo.registry import register
from zoo.spec import DataSpec, Density

AT_ONCE = 2048  # latents decoded at a time in evaluation: what bounds the memory
CODE_SAMPLES = 8  # importance samples that decide on the class of an image that is encoded
NOISE_SEED = 0  # of importance samples in evaluation: the same question has the same answer


# Likelihoods: what an image is made into before it is modelled, and log p of that given the decoder's output


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
    mean, scale = _location_and_scale(parameters)
    width = 1 / (255 * scale)
    upper = (x - mean) / scale + width / 2
    lower = upper - width
    # σ(a) − σ(b) = σ(a) σ(−b) (1 − e^(b − a)), whose logarithm is exact in the tails, too
    inside = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-width))
    return torch.where(x < 0.5 / 255, F.logsigmoid(upper), torch.where(x > 254.5 / 255, F.logsigmoid(-lower), inside))


def _location_and_scale(parameters: Tensor) -> tuple[Tensor, Tensor]:
    location, log_scale = parameters.chunk(2, -3)
    return location.sigmoid(), (log_scale - 2).clamp(-7, 2).exp()  # narrower than a quarter level gains nothing


def binarise(x: Tensor) -> Tensor:
    """Grey values in [0, 1] to zeros and ones, one with the probability that is the value, always the same for the same
    image: the random numbers are a function of its 256 levels (splitmix64 of their hash and the pixel's number)."""
    levels = (x * 255).round().long().flatten(1)
    position = torch.arange(1, levels.shape[1] + 1, device=x.device)
    state = (_mix(position) * (levels + 1)).sum(1, keepdim=True) + _GOLDEN * position
    uniform = _shift(_mix(state), 11).to(torch.float64 if x.device.type != "mps" else torch.float32) / 2**53
    return (uniform.view(x.shape) < x).to(x.dtype)


_GOLDEN = -7046029254386353131  # 2^64 / golden ratio, as int64: multiplication is modulo 2^64


def _mix(z: Tensor) -> Tensor:
    """The finaliser of splitmix64 (Steele, Lea & Flood 2014)."""
    z = (z ^ _shift(z, 30)) * -4658895280553007687
    z = (z ^ _shift(z, 27)) * -7723592293110705685
    return z ^ _shift(z, 31)


def _shift(z: Tensor, bits: int) -> Tensor:
    return (z >> bits) & ((1 << (64 - bits)) - 1)  # zeros come in from the left


LIKELIHOODS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], int, str]] = {  # function, outputs a value, of what
    "bernoulli": (bernoulli, 1, "binarised"),
    "continuous_bernoulli": (continuous_bernoulli, 1, "continuous"),
    "discretized_logistic": (discretized_logistic, 2, "discrete"),
}


# Networks


class Residual(nn.Module):
    """x + f(x) with two 3×3 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(F.silu(x))))


class ConvEncoder(nn.Module):
    """Images ``(B, C, H, W)`` to features ``(B, out_features)``; each stage halves height and width, rounding up."""

    def __init__(self, shape: tuple[int, int, int], channels: tuple[int, ...], blocks: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise([shape[0], *channels]):
            layers += [nn.Conv2d(fan_in, fan_out, 3, stride=2, padding=1)]
            layers += [Residual(fan_out) for _ in range(blocks)]
            layers += [nn.SiLU()]
        self.body = nn.Sequential(*layers)
        _, height, width = shape
        for _ in channels:
            height, width = -(-height // 2), -(-width // 2)
        self.out_features = channels[-1] * height * width

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.contiguous(memory_format=torch.channels_last)).flatten(1)


class ConvDecoder(nn.Module):
    """Features ``(B, in_features)`` to ``(B, out, H, W)``: the mirror image of :class:`ConvEncoder`."""

    def __init__(self, shape: tuple[int, int, int], channels: tuple[int, ...], blocks: int, out: int) -> None:
        super().__init__()
        sizes = [shape[1:]]
        for _ in channels:
            sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
        self.sizes = sizes[::-1]
        self.in_features = channels[-1] * math.prod(self.sizes[0])
        self.start = channels[-1]
        narrow = max(channels[0] // 2, 4)
        stages: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise([*channels[::-1], narrow]):
            residual = [Residual(fan_in) for _ in range(blocks)]
            # 2×2 kernels without overlap leave a checkerboard, 4×4 ones do not
            stages.append(nn.Sequential(*residual, nn.SiLU(), nn.ConvTranspose2d(fan_in, fan_out, 4, 2, 1)))
        self.stages = nn.ModuleList(stages)
        self.last = nn.Conv2d(narrow, out, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        x = features.view(-1, self.start, *self.sizes[0]).contiguous(memory_format=torch.channels_last)
        for stage, (height, width) in zip(self.stages, self.sizes[1:], strict=True):
            x = stage(x)[..., :height, :width]
        return self.last(F.silu(x))


def perceptron(widths: list[int]) -> nn.Sequential:
    """Linear layers with SiLU after each but the last."""
    layers = [layer for pair in itertools.pairwise(widths) for layer in (nn.Linear(*pair), nn.SiLU())]
    return nn.Sequential(*layers[:-1])


def start(module: nn.Module) -> None:
    """Weights that keep the variance of what goes through a ReLU-like layer, forward (He et al. 2015).

    With torch's own, smaller ones a decoder of many layers hardly sees the latent, and the posterior collapses before
    it does.
    """
    layer: Any
    for layer in module.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            inputs = layer.weight.shape[0] * layer.weight[0, 0].numel() / math.prod(layer.stride)  # to each output
            nn.init.normal_(layer.weight, std=math.sqrt(2 / inputs))
        elif isinstance(layer, (nn.Linear, nn.Conv2d)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        else:
            continue
        nn.init.zeros_(layer.bias)
    for layer in module.modules():
        if isinstance(layer, Residual):  # a deep network starts as a shallow one
            nn.init.zeros_(layer.second.weight)


@register("vae")
class VAE(LatentModel):
    """Variational autoencoder with a diagonal Gaussian posterior.

    ``log_prob`` is a lower bound with ``importance_samples`` samples, from a fixed seed, of what ``density.of`` says.
    Images that come out (``sample``, ``decode``, ``reconstruct``, ``impute``) are means of p(x | z), without the noise
    of single pixels.

    Args:
        spec: the data.
        network: ``"mlp"``, or ``"conv"``: strided convolutions before and after the layers of ``hidden_sizes``.
        latent_dim: length of z.
        hidden_sizes: widths of the fully connected layers of the encoder; the decoder has them in reverse.
        channels: feature maps of the convolutional stages, each of which halves height and width (``conv``).
        blocks: residual blocks a stage (``conv``).
        likelihood: ``"bernoulli"``: pixels are binary, drawn anew with the grey value as probability in training, drawn
            as :func:`binarise` does in evaluation; ``"continuous_bernoulli"``: a density on [0, 1];
            ``"discretized_logistic"``: 256 levels.
        prior: ``"normal"``, or ``"realnvp"``: a flow of affine coupling layers.
        flow_layers, flow_width: coupling layers and the width of their two hidden layers (``realnvp``).
        conditional: encoder and decoder see the class, and the model is a classifier by Bayes' rule.
        classify_weight: α of a labelled image; above 0 there is a q(y | x), and classes may be hidden in training
            (``conditional``, ``num_samples=1``). It is also what answers for classes where all pixels are seen.
        beta: weight of the KL divergence.
        num_samples: K of the training bound; above 1 the gradient is the doubly reparameterised one.
        free_bits: KL nats a latent dimension, on average over a batch, that cost nothing.
        warmup: epochs in which the weight of the KL divergence rises from 0 to ``beta``.
        importance_samples: K of ``log_prob``.
    """

    initialized: Tensor
    grey: Tensor

    def __init__(
        self,
        spec: DataSpec,
        network: str = "mlp",
        latent_dim: int = 50,
        hidden_sizes: tuple[int, ...] = (400, 400),
        channels: tuple[int, ...] = (32, 64),
        blocks: int = 1,
        likelihood: str = "bernoulli",
        prior: str = "normal",
        flow_layers: int = 6,
        flow_width: int = 128,
        conditional: bool = False,
        classify_weight: float = 0.0,
        beta: float = 1.0,
        num_samples: int = 1,
        free_bits: float = 0.0,
        warmup: float = 0.0,
        importance_samples: int = 64,
    ) -> None:
        super().__init__(spec, latent_dim, conditional)
        hidden_sizes, channels = tuple(hidden_sizes), tuple(channels)
        _check(network, hidden_sizes, channels, likelihood, prior)
        if min(latent_dim, num_samples, importance_samples) < 1 or min(beta, free_bits, warmup, classify_weight) < 0:
            raise ValueError(
                "latent_dim, num_samples and importance_samples must be at least 1, and beta, free_bits, warmup and "
                "classify_weight at least 0"
            )
        if classify_weight and (not conditional or num_samples > 1 or free_bits):
            raise ValueError(
                "classify_weight is of a model with conditional=true, and of a bound with num_samples=1 and free_bits=0"
            )
        if free_bits and (num_samples > 1 or prior != "normal"):
            raise ValueError(
                "free_bits are of the KL divergence of each dimension: num_samples=1 and prior=normal have one"
            )
        self.beta, self.num_samples, self.free_bits, self.warmup = beta, num_samples, free_bits, warmup
        self.importance_samples = importance_samples
        self.classify_weight = classify_weight
        self.log_likelihood_of, outputs, of = LIKELIHOODS[likelihood]
        self.likelihood = likelihood
        self.density = Density("lower bound", of)
        out, pixels = outputs * spec.shape[0], math.prod(spec.shape)
        classes = spec.num_classes if conditional else 0
        self.encoder: nn.Module
        self.decoder: nn.Module
        if network == "mlp":
            self.encoder = nn.Flatten()
            self.decoder = nn.Unflatten(1, (out, *spec.shape[1:]))
            encoded, decoded = pixels, outputs * pixels
        else:
            encoder, decoder = ConvEncoder(spec.shape, channels, blocks), ConvDecoder(spec.shape, channels, blocks, out)
            self.encoder, self.decoder, encoded, decoded = encoder, decoder, encoder.out_features, decoder.in_features
        self.encoder_head = perceptron([encoded + classes, *hidden_sizes, 2 * latent_dim])
        self.decoder_head = perceptron([latent_dim + classes, *hidden_sizes[::-1], decoded])
        for module in (self.encoder, self.encoder_head, self.decoder_head, self.decoder):
            start(module)
        if classify_weight:
            self.partly_labelled = ("terms",)
            body = nn.Flatten() if network == "mlp" else ConvEncoder(spec.shape, channels, blocks)
            self.classifier = nn.Sequential(body, perceptron([encoded, *hidden_sizes, classes]))
            start(self.classifier)
        self.flow: Any = None
        if prior == "realnvp":
            import zuko

            self.flow = zuko.flows.RealNVP(latent_dim, transforms=flow_layers, hidden_features=(flow_width,) * 2)
            for coupling in self.flow.transform.transforms:  # a flow starts as the standard normal
                nn.init.zeros_(coupling.hyper[-1].weight)
                nn.init.zeros_(coupling.hyper[-1].bias)
        self.register_buffer("initialized", torch.tensor(False))
        # log odds of the mean grey value, to which the decoder's output is added
        self.register_buffer("offset", torch.zeros(out, *spec.shape[1:]))
        self.register_buffer("grey", torch.tensor(spec.mean).view(-1, 1, 1), persistent=False)  # of the data's mean
        if not conditional:
            self.predict_log_proba = None  # type: ignore[assignment]

    def initialize(self, batches: Batches, generator: torch.Generator) -> None:
        """Start from the mean image and the classes' frequencies."""
        device = self.offset.device
        total, counts, images = torch.zeros(self.spec.shape, device=device), torch.zeros(self.groups, device=device), 0
        for x, labels in batches:
            total += x.sum(0)
            images += len(x)
            if self.log_prior is not None:
                counts += torch.bincount(labels[labels >= 0], minlength=self.groups)
        if self.classify_weight and not counts.all():
            raise ZooError("a class without any labelled image cannot be learnt: data.labels=… needs one of each class")
        self.set_prior(counts)
        mean = (total / images).clamp(1e-3, 1 - 1e-3)
        self.offset[: self.spec.shape[0]] = mean.logit().to(self.offset)
        self.initialized.fill_(True)

    # The three distributions

    def posterior(self, x: Tensor, labels: Tensor | None = None) -> Normal:
        """q(z | x), or q(z | x, labels): independent normals, ``loc`` and ``scale`` ``(B, D)``.

        ``x`` are pixels as the likelihood sees them, see :meth:`observe`.
        """
        features = self._with_class(self.encoder(x - self._mean(x)), labels)
        location, log_scale = full(self.encoder_head(features)).chunk(2, 1)
        return Normal(location, log_scale.clamp(-10, 5).exp(), validate_args=False)

    def log_prior_of(self, z: Tensor) -> Tensor:
        """log p(z) in nats, ``(…,)`` for z ``(…, D)``."""
        if self.flow is not None:
            with torch.autocast(z.device.type, enabled=False):  # log determinants are sums
                return self.flow().log_prob(z)
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)

    def parameters_of(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The parameters of p(x | z), ``(B, outputs * C, H, W)``, for z ``(B, D)``."""
        return full(self.decoder(self.decoder_head(self._with_class(z, labels)))) + self.offset

    def prior(self, noise: Tensor) -> Tensor:
        return noise if self.flow is None else self.flow().transform.inv(noise)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        parameters = self.parameters_of(z, labels)
        if self.likelihood == "bernoulli":
            return parameters.sigmoid()
        if self.likelihood == "continuous_bernoulli":
            return ContinuousBernoulli(logits=parameters, validate_args=False).mean
        return _location_and_scale(parameters)[0]

    def observe(self, x: Tensor) -> Tensor:
        """Grey values ``(B, C, H, W)`` in [0, 1] to what is modelled: binary pixels, or the grey values."""
        if self.likelihood != "bernoulli":
            return x
        return torch.bernoulli(x) if self.training else binarise(x)

    def _mean(self, x: Tensor) -> Tensor:
        return self.grey.to(x.dtype)

    def _with_class(self, values: Tensor, labels: Tensor | None) -> Tensor:
        if self.log_prior is None:
            return values
        assert labels is not None
        return torch.cat([values, F.one_hot(labels, self.groups).to(values.dtype)], 1)

    # Training

    def terms(self, x: Tensor, labels: Tensor, epoch: float = math.inf) -> dict[str, Tensor]:
        """The criterion and what it consists of, averaged over a batch, in nats an image.

        Args:
            x: grey values ``(B, C, H, W)`` in [0, 1].
            labels: ``(B,)``; with ``classify_weight`` negative where a class is hidden.
            epoch: epochs done so far, for ``warmup``.

        Returns:
            ``loss``: recon + weight · kl, where K = 1; ``log_likelihood``: the lower bound of log p(x), or of
            log p(x, y) where there are classes; ``recon``: −E log p(x | z); ``kl``: KL(q ‖ p), estimated from the
            sample where the prior is a flow; with ``classify_weight`` also ``classification``: −log q(y | x), of the
            labelled images alone, over all images. Scalars.
        """
        x = self.observe(x)
        weight = self.beta * min(1.0, epoch / self.warmup if self.warmup else 1.0)
        if self.classify_weight:
            return self._partly_labelled(x, labels, weight)
        q = self.posterior(x, labels)
        if self.num_samples > 1:
            recon, kl, bound, loss = self._importance_weighted(x, labels, q, weight)
        else:
            z = q.rsample()
            recon = -self._sum(self.log_likelihood_of(x, self.parameters_of(z, labels))).mean()
            if self.flow is None:
                dimensions = kl_to_standard(q).mean(0)
                kl, charged = dimensions.sum(), dimensions.clamp_min(self.free_bits).sum()
            else:
                kl = charged = (q.log_prob(z).sum(1) - self.log_prior_of(z)).mean()
            bound, loss = -(recon + kl), recon + weight * charged
        if self.log_prior is not None:
            bound = bound + self.log_prior[labels].mean()
        return {"loss": loss, "log_likelihood": bound.detach(), "recon": recon.detach(), "kl": kl.detach()}

    def _partly_labelled(self, x: Tensor, labels: Tensor, weight: float) -> dict[str, Tensor]:
        """The terms where there is a q(y | x): a row a labelled image, and one a class for each of the others."""
        known, hidden = (labels >= 0).nonzero()[:, 0], (labels < 0).nonzero()[:, 0]
        log_proba = self._log_q(x)
        rows = torch.cat([known, hidden.repeat_interleave(self.groups)])
        classes = torch.cat([labels[known], torch.arange(self.groups, device=x.device).repeat(len(hidden))])
        shares = torch.cat([torch.ones_like(log_proba[known, 0]), log_proba[hidden].exp().flatten()]) / len(x)
        repeated = x[rows]
        q = self.posterior(repeated, classes)
        z = q.rsample()
        recon = -(shares * self._sum(self.log_likelihood_of(repeated, self.parameters_of(z, classes)))).sum()
        divergence = kl_to_standard(q).sum(1) if self.flow is None else q.log_prob(z).sum(1) - self.log_prior_of(z)
        kl = (shares * divergence).sum()
        entropy = -(log_proba[hidden].exp() * log_proba[hidden]).sum() / len(x)
        assert self.log_prior is not None
        of_class = (shares * self.log_prior[classes]).sum() + entropy
        classification = -log_proba[known, labels[known]].sum() / len(x)
        loss = recon + weight * kl - of_class + self.classify_weight * classification
        values = {"log_likelihood": of_class - recon - kl, "recon": recon, "kl": kl, "classification": classification}
        return {"loss": loss, **{key: value.detach() for key, value in values.items()}}

    def _importance_weighted(
        self, x: Tensor, labels: Tensor, q: Normal, weight: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        samples, batch = self.num_samples, len(x)
        z = q.rsample((samples,))
        flat, repeated = z.flatten(0, 1), labels.repeat(samples)
        recon = -self._sum(self.log_likelihood_of(x, self.parameters_of(flat, repeated).unflatten(0, (samples, batch))))
        # the encoder's gradient goes through z alone, with squared weights: its signal does not fade as K grows
        fixed = Normal(q.loc.detach(), q.scale.detach(), validate_args=False)
        kl = fixed.log_prob(z).sum(-1) - self.log_prior_of(flat).view(samples, batch)
        log_weight = -recon - weight * kl
        share = log_weight.detach().softmax(0)
        if z.requires_grad:
            z.register_hook(lambda gradient: gradient * share[..., None])
        loss = -(share * log_weight).sum(0).mean()
        bound = (-recon - kl).detach().logsumexp(0).mean() - math.log(samples)
        return recon.mean(), kl.mean(), bound, loss

    def validate(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """What a validation pass looks at, a row an image: ``log_joint`` with training's K, ``recon`` and ``kl``; and
        ``log_proba`` where there is a q(y | x)."""
        x = self.observe(x)
        q = self.posterior(x, labels)
        z = q.loc + q.scale * self._noise(1, x)[0]
        recon = -self._sum(self.log_likelihood_of(x, self.parameters_of(z, labels)))
        kl = q.log_prob(z).sum(1) - self.log_prior_of(z) if self.flow is not None else kl_to_standard(q).sum(1)
        values = {"log_joint": self.log_joint(x, num_samples=self.num_samples), "recon": recon, "kl": kl}
        return values | ({"log_proba": self._log_q(x)} if self.classify_weight else {})

    # Likelihood

    def weighted(
        self, x: Tensor, labels: Tensor | None, num_samples: int, observed: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Importance samples from q(z | x) and their log weights log p(x, z) − log q(z | x), a bounded number at once.

        ``x`` are pixels as the likelihood sees them; where ``observed`` is False they are integrated out, and the
        encoder sees the mean grey value in their place (Mattei & Frellsen 2019). The same noise serves all images, from
        a fixed seed.

        Yields:
            z ``(S, B, D)`` and log weights ``(S, B)``, in nats; the S add up to ``num_samples``.
        """
        seen = x if observed is None else torch.where(observed, x, self._mean(x).expand_as(x))
        q = self.posterior(seen, labels)
        for noise in self._noise(num_samples, x).split(max(1, AT_ONCE // max(len(x), 1))):
            z = q.loc + q.scale * noise
            repeated = None if labels is None else labels.repeat(len(z))
            parameters = self.parameters_of(z.flatten(0, 1), repeated).unflatten(0, z.shape[:2])
            values = self.log_likelihood_of(x, parameters)
            values = self._sum(values if observed is None else torch.where(observed, values, 0))
            yield z, values + self.log_prior_of(z) - q.log_prob(z).sum(-1)

    def log_weights(self, x: Tensor, labels: Tensor | None, num_samples: int, observed: Tensor | None = None) -> Tensor:
        """The log weights of :meth:`weighted`, ``(num_samples, B)``."""
        return torch.cat([weights for _, weights in self.weighted(x, labels, num_samples, observed)])

    def _bound(
        self, x: Tensor, labels: Tensor | None, num_samples: int | None, observed: Tensor | None = None
    ) -> Tensor:
        """The importance-weighted bound of log p(x | labels), ``(B,)``; ``x`` as the likelihood sees it."""
        weights = self.log_weights(x, labels, num_samples or self.importance_samples, observed)
        return weights.logsumexp(0) - math.log(len(weights))

    def importance(
        self, x: Tensor, labels: Tensor | None = None, num_samples: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """The importance-weighted bound of log p(x), or log p(x | labels), in nats, ``(B,)``, and the standard error of
        its estimate ``(B,)``, by the delta method: that of the mean weight, relative to it."""
        weights = self.log_weights(self.observe(x), labels, num_samples or self.importance_samples)
        count = len(weights)
        relative = (weights - weights.logsumexp(0) + math.log(count)).exp()  # of mean 1
        error = relative.std(0) / math.sqrt(count) if count > 1 else torch.full_like(relative[0], math.nan)
        return weights.logsumexp(0) - math.log(count), error

    def log_joint(self, x: Tensor, observed: Tensor | None = None, num_samples: int | None = None) -> Tensor:
        """Bounds of log p(x, y) in nats for every class y, ``(B, K)``; of log p(x), ``(B, 1)``, without classes."""
        x = self.observe(x)
        columns = []
        for group in range(self.groups):
            labels = None if self.log_prior is None else x.new_full((len(x),), group, dtype=torch.long)
            columns.append(self._bound(x, labels, num_samples, observed))
        joint = torch.stack(columns, 1)
        return joint if self.log_prior is None else joint + self.log_prior.to(joint.dtype)

    def log_prob(
        self,
        x: Tensor,
        labels: Tensor | None = None,
        observed: Tensor | None = None,
        num_samples: int | None = None,
    ) -> Tensor:
        """A lower bound of log p(x), or log p(x | labels), in nats, ``(B,)``, of the pixels that ``observed`` marks.

        It is the importance-weighted one with ``num_samples``; with ``importance_samples`` if left out. Raises
        ``ZooError`` where labels are given to a model without classes.
        """
        if labels is None:
            return self.log_joint(x, observed, num_samples).logsumexp(1)
        self.require_classes()
        return self._bound(self.observe(x), labels, num_samples, observed)

    def log_likelihood(self, x: Tensor, labels: Tensor) -> Tensor:
        """A lower bound of log p(x, y), or of log p(x) where there are no classes, in nats, ``(B,)``."""
        return self.log_prob(x) if self.log_prior is None else self.log_prob(x, labels) + self.log_prior[labels]

    def predict_log_proba(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """log p(y | x) in nats, ``(B, K)``: by Bayes' rule from the bounds of log p(x, y); log q(y | x) where there is
        such a network and no pixel is missing."""
        if self.classify_weight and observed is None:
            return self._log_q(self.observe(x))
        return self.log_joint(x, observed).log_softmax(1)

    def _log_q(self, x: Tensor) -> Tensor:
        """log q(y | x), ``(B, K)``, of pixels as the likelihood sees them."""
        return full(self.classifier(x - self._mean(x))).log_softmax(1)

    # Codes

    def encode(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Means of q(z | x), ``(B, D)``; where there are classes, of q(z | x, labels), by default the most probable."""
        return self._code(x)[0] if labels is None else self.posterior(self.observe(x), labels).loc

    def reconstruct(self, x: Tensor) -> Tensor:
        """Decoded means of q(z | x), ``(B, C, H, W)`` in [0, 1]."""
        return self.decode(*self._code(x))

    def _code(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        x = self.observe(x)
        labels = None if self.log_prior is None else self.log_joint(x, num_samples=CODE_SAMPLES).argmax(1)
        return self.posterior(x, labels).loc, labels

    # Missing pixels

    def impute(self, x: Tensor, observed: Tensor, n: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """``n`` completions ``(n, B, C, H, W)`` by sampling importance resampling: of ``importance_samples`` latents,
        and of the classes, each is taken with a probability proportional to its weight."""
        z, labels, weights = self._given(x, observed)
        chosen = torch.multinomial(weights.t().softmax(1), n, replacement=True, generator=generator).t()  # (n, B)
        index = chosen[..., None].expand(-1, -1, z.shape[-1])
        latents = z.gather(0, index).flatten(0, 1)
        classes = None if labels is None else labels.gather(0, chosen).flatten()
        return self.decode_all(latents, classes).unflatten(0, chosen.shape)

    def conditional_mean(self, x: Tensor, observed: Tensor) -> Tensor:
        """The expected image given the observed pixels, ``(B, C, H, W)``, by self-normalised importance sampling."""
        z, labels, weights = self._given(x, observed)
        mean = torch.zeros_like(x)
        step = max(1, AT_ONCE // max(len(x), 1))
        shares = weights.softmax(0)
        for start in range(0, len(z), step):
            part = slice(start, start + step)
            classes = None if labels is None else labels[part].flatten()
            images = self.decode(z[part].flatten(0, 1), classes).unflatten(0, z[part].shape[:2])
            mean += (shares[part, :, None, None, None] * images).sum(0)
        return torch.where(observed, x, mean)

    def _given(self, x: Tensor, observed: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Latents ``(S, B, D)``, their classes ``(S, B)`` if any, and log weights ``(S, B)`` given the seen pixels."""
        x = self.observe(x)
        parts = []
        for group in range(self.groups):
            labels = None if self.log_prior is None else x.new_full((len(x),), group, dtype=torch.long)
            prior = 0.0 if self.log_prior is None else self.log_prior[group]
            for z, weights in self.weighted(x, labels, self.importance_samples, observed):
                parts.append((z, torch.full_like(weights, group, dtype=torch.long), weights + prior))
        z, classes, weights = (torch.cat(part) for part in zip(*parts, strict=True))
        return z, None if self.log_prior is None else classes, weights

    def _noise(self, num_samples: int, x: Tensor) -> Tensor:
        """Standard normal ``(num_samples, 1, D)``, the same each time, for all images."""
        generator = torch.Generator().manual_seed(NOISE_SEED)
        return torch.randn(num_samples, 1, self.latent_dim, generator=generator).to(x)

    @staticmethod
    def _sum(values: Tensor) -> Tensor:
        return values.flatten(-3).sum(-1)


def kl_to_standard(q: Normal) -> Tensor:
    """KL(q ‖ N(0, 1)) of each dimension, in nats, ``(B, D)``."""
    return 0.5 * (q.loc.square() + q.scale.square() - 1) - q.scale.log()


def _check(network: str, hidden_sizes: tuple[int, ...], channels: tuple[int, ...], likelihood: str, prior: str) -> None:
    for key, value, allowed in (
        ("network", network, ("mlp", "conv")),
        ("likelihood", likelihood, tuple(LIKELIHOODS)),
        ("prior", prior, ("normal", "realnvp")),
    ):
        if value not in allowed:
            raise ValueError(f"{key} must be {', '.join(allowed)}, not {value!r}")
    if any(size < 1 for size in (*hidden_sizes, *channels)) or not channels:
        raise ValueError("hidden_sizes and channels must be positive, and there must be a stage of channels")
