"""Variational autoencoder: p(x) = ∫ p(z) p(x | z) dz, bounded from below with an encoder q(z | x).

Training maximises the evidence lower bound

    log p(x) ≥ E_q[log p(x | z)] − β KL(q(z | x) ‖ p(z))                                        (β = 1)

or, with K > 1 samples, the tighter importance-weighted bound

    log p(x) ≥ E[log 1/K Σ_k w_k],   w_k = p(z_k) p(x | z_k) / q(z_k | x),   z_k ~ q(z | x),

which is also how ``log_prob`` answers. With ``conditional`` every term depends on the class y too: p(x | y) of all
classes makes a classifier by Bayes' rule.

Where values are missing, both bounds are of those that are seen: the others drop out of log p(x | z), and the encoder
sees the training mean in their place. With K > 1 that is the bound of MIWAE. The encoder is not told which they are:
Mattei & Frellsen find no need for it, and the bound is one whatever it sees.

References:
    Kingma & Welling 2014, Auto-encoding variational Bayes; Rezende, Mohamed & Wierstra 2014.
    Burda, Grosse & Salakhutdinov 2016, Importance weighted autoencoders.
    Higgins et al. 2017, β-VAE.  Kingma et al. 2016, Improved variational inference (free bits).
    Dinh, Sohl-Dickstein & Bengio 2017, Density estimation using Real NVP.
    He et al. 2015, Delving deep into rectifiers.
    Tucker et al. 2019, Doubly reparameterized gradient estimators.
    Mattei & Frellsen 2019, MIWAE: deep generative modelling and imputation of incomplete data sets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal

from zoo.base.blocks import ConvDecoder, ConvEncoder, perceptron, start
from zoo.base.categories import whole
from zoo.base.generative import Batches, Density, Latent, bayes
from zoo.base.likelihoods import LIKELIHOODS, Mixed, binarise, mean_of
from zoo.base.memory import at_once
from zoo.base.noise import normal, streams
from zoo.base.precision import full
from zoo.registry import register
from zoo.spec import DataSpec, Likelihood

AT_ONCE = 2048  # latents decoded at a time in evaluation: what bounds the memory
CODE_SAMPLES = 8  # importance samples that decide on the class of an image that is encoded
NOISE = 1  # which stream of an image's numbers its importance samples come from, in evaluation


@register("vae")
class VAE(Density, Latent):
    """Variational autoencoder with a diagonal Gaussian posterior.

    ``log_prob`` is a lower bound with ``importance_samples`` samples, the same ones for the same image, of what
    ``density.of`` says. Images that come out (``sample``, ``decode``, ``reconstruct``, ``impute``) are means of
    p(x | z), without the noise of single pixels. Of a table, ``sample`` and ``impute`` draw rows from p(x | z), since a
    row of means is none that could be; the others give means of numbers and probabilities of categories.

    Args:
        spec: the data.
        network: ``"mlp"``; ``"conv"``: strided convolutions before and after the layers of ``hidden_sizes``; or
            ``"auto"``: these for pictures of colour.
        latent_dim: length of z.
        hidden_sizes: widths of the fully connected layers of the encoder; the decoder has them in reverse.
        channels: feature maps of the convolutional stages, each of which halves height and width (``conv``).
        blocks: residual blocks a stage (``conv``).
        likelihood: ``"auto"``: ``"bernoulli"`` for grey pictures, ``"discretized_logistic"`` for those of colour, whose
            levels are no probabilities, ``"mixed"`` for tables. ``"bernoulli"``: pixels are binary, drawn anew with the
            grey value as probability in training, drawn as :func:`binarise` does in evaluation;
            ``"continuous_bernoulli"``: a density on [0, 1]; ``"discretized_logistic"``: 256 levels; ``"mixed"``: normal
            numbers and columns of categories, see :class:`zoo.base.likelihoods.Mixed`.
        prior: ``"normal"``, or ``"realnvp"``: a flow of affine coupling layers.
        flow_layers, flow_width: coupling layers and the width of their two hidden layers (``realnvp``).
        conditional: encoder and decoder see the class, and the model is a classifier by Bayes' rule.
        beta: weight of the KL divergence.
        num_samples: K of the training bound; above 1 the gradient is the doubly reparameterised one.
        free_bits: KL nats a latent dimension, on average over a batch, that cost nothing.
        warmup: epochs in which the weight of the KL divergence rises from 0 to ``beta``.
        importance_samples: K of ``log_prob``.
    """

    takes: tuple[str, ...] = ("grey", "binary", "real", "mixed")
    learns_from_gaps = True
    lighter = "a smaller data.image_size, narrower model.hidden_sizes or, with network=conv, more stages make it fit"
    grey: Tensor
    partly_labelled: tuple[str, ...] = ()  # the bound of an image of unknown class is that of zoo.models.m2
    option = "conditional"

    def __init__(
        self,
        spec: DataSpec,
        network: str = "auto",
        latent_dim: int = 50,
        hidden_sizes: tuple[int, ...] = (400, 400),
        channels: tuple[int, ...] = (32, 64),
        blocks: int = 1,
        likelihood: str = "auto",
        prior: str = "normal",
        flow_layers: int = 6,
        flow_width: int = 128,
        conditional: bool = False,
        beta: float = 1.0,
        num_samples: int = 1,
        free_bits: float = 0.0,
        warmup: float = 0.0,
        importance_samples: int = 64,
    ) -> None:
        super().__init__(spec, conditional)
        self.latent_dim = latent_dim
        hidden_sizes, channels = tuple(hidden_sizes), tuple(channels)
        rows = spec.values in ("real", "mixed")
        auto = {"network": "mlp", "likelihood": "mixed" if rows else "bernoulli"}
        given = {"network": network, "likelihood": likelihood}
        if spec.values == "grey" and spec.shape[0] > 1:
            auto = {"network": "conv", "likelihood": "discretized_logistic"}
            chosen = [f"{key}={auto[key]}" for key, value in given.items() if value == "auto"]
            self.notes = (f"the pictures are of colour: {', '.join(chosen)}",) if chosen else ()
        network, likelihood = (auto[key] if value == "auto" else value for key, value in given.items())
        _check(network, hidden_sizes, channels, likelihood, prior, rows)
        if min(latent_dim, num_samples, importance_samples) < 1 or min(beta, free_bits, warmup) < 0:
            raise ValueError(
                "latent_dim, num_samples and importance_samples must be at least 1, and beta, free_bits and warmup at "
                "least 0"
            )
        if free_bits and (num_samples > 1 or prior != "normal"):
            raise ValueError(
                "free_bits are of the KL divergence of each dimension: num_samples=1 and prior=normal have one"
            )
        self.beta, self.num_samples, self.free_bits, self.warmup = beta, num_samples, free_bits, warmup
        self.importance_samples = importance_samples
        self.likelihood = likelihood
        self.mixed = Mixed(spec) if rows else None
        self.log_likelihood_of: Callable[[Tensor, Tensor], Tensor]
        if self.mixed is not None:
            self.log_likelihood_of, output = self.mixed.log_prob, self.mixed.shape
            of = "mixed" if spec.categories else "continuous"
        else:
            self.log_likelihood_of, outputs, of = LIKELIHOODS[likelihood]
            output = (outputs * spec.shape[0], *spec.shape[1:])
        self.density = Likelihood("lower bound", of)
        classes = 0 if self.log_prior is None else spec.num_classes
        self.encoder: nn.Module
        self.decoder: nn.Module
        if network == "mlp":
            self.encoder = nn.Flatten()
            self.decoder = nn.Unflatten(1, output)
            encoded, decoded = math.prod(spec.shape), math.prod(output)
        else:
            encoder = ConvEncoder(spec.shape, channels, blocks)
            decoder = ConvDecoder(spec.shape, channels, blocks, output[0])
            self.encoder, self.decoder, encoded, decoded = encoder, decoder, encoder.out_features, decoder.in_features
        self.encoder_head = perceptron([encoded + classes, *hidden_sizes, 2 * latent_dim])
        self.decoder_head = perceptron([latent_dim + classes, *hidden_sizes[::-1], decoded])
        if network == "mlp":
            self.outer = (f"decoder_head.{len(self.decoder_head) - 1}",)
        for module in (self.encoder, self.encoder_head, self.decoder_head, self.decoder):
            start(module)
        self.add_networks(network, encoded, hidden_sizes, channels, blocks)
        self.flow: Any = None
        if prior == "realnvp":
            import zuko

            self.flow = zuko.flows.RealNVP(latent_dim, transforms=flow_layers, hidden_features=(flow_width,) * 2)
            for coupling in self.flow.transform.transforms:  # a flow starts as the standard normal
                nn.init.zeros_(coupling.hyper[-1].weight)
                nn.init.zeros_(coupling.hyper[-1].bias)
        # to which the decoder's output is added: log odds of the mean grey value
        self.register_buffer("offset", torch.zeros(output) if self.mixed is None else self.mixed.start)
        self.register_buffer(
            "grey", torch.tensor(spec.mean).view(spec.statistics_shape), persistent=False
        )  # of the data's mean

    def add_networks(
        self, network: str, encoded: int, hidden_sizes: tuple[int, ...], channels: tuple[int, ...], blocks: int
    ) -> None:
        """Networks of a subclass, whose weights are drawn between those of the decoder and of the prior. ``encoded`` is
        the number of features that a body like the encoder's gives."""

    @classmethod
    def renewed(cls, name: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """M2 was a VAE with a ``classify_weight`` above 0."""
        if name != "vae":
            return name, options
        weight = options.pop("classify_weight", 0.0)
        if not weight:
            return name, options
        others = {
            key: value for key, value in options.items() if key not in ("conditional", "num_samples", "free_bits")
        }
        return "m2", {**others, "classify_weight": weight}

    def initialize(self, batches: Batches, generator: torch.Generator) -> None:
        """Start from the mean image and the classes' frequencies; the means of a table's columns are those of its spec,
        and are there already."""
        device = self.offset.device
        total, counts = torch.zeros(self.spec.shape, device=device), torch.zeros(self.groups, device=device)
        seen: Any = 0
        for x, labels in batches:
            x, observed = self.gaps(x)
            total += x.sum(0)
            seen += len(x) if observed is None else observed.sum(0)
            if self.log_prior is not None:
                counts += torch.bincount(labels[labels >= 0], minlength=self.groups)
        self.set_prior(counts)
        if self.mixed is None:
            mean = (total / seen).nan_to_num(0.5).clamp(1e-3, 1 - 1e-3)
            self.offset[: self.spec.shape[0]] = mean.logit().to(self.offset)
        self.initialized.fill_(True)

    # The three distributions

    def posterior(self, x: Tensor, labels: Tensor | None = None) -> Normal:
        """q(z | x), or q(z | x, labels): independent normals, ``loc`` and ``scale`` ``(B, D)``.

        ``x`` are pixels as the likelihood sees them, see :meth:`observe`.
        """
        features = self._with_class(self.encoder(self._centred(x)), labels)
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
        return mean_of(self.likelihood, parameters) if self.mixed is None else self.mixed.expected(parameters)

    def observe(self, x: Tensor) -> Tensor:
        """Grey values ``(B, C, H, W)`` in [0, 1] to what is modelled: binary pixels, or the grey values."""
        return binarise(x, anew=self.training) if self.likelihood == "bernoulli" else x

    def _centred(self, x: Tensor) -> Tensor:
        return x - self.grey.to(x.dtype) if self.mixed is None else self.mixed.standardise(x)

    def _with_class(self, values: Tensor, labels: Tensor | None) -> Tensor:
        if self.log_prior is None:
            return values
        assert labels is not None
        return torch.cat([values, F.one_hot(labels, self.groups).to(values.dtype)], 1)

    # Training

    def losses(self, x: Tensor, labels: Tensor, epoch: float = math.inf) -> dict[str, Tensor]:
        """The criterion and what it consists of, averaged over a batch, in nats an image.

        Args:
            x: grey values ``(B, C, H, W)`` in [0, 1], or rows; NaN is missing where the data has gaps.
            labels: ``(B,)``.
            epoch: epochs done so far, for ``warmup``.

        Returns:
            ``loss``: recon + weight · kl, where K = 1; ``log_likelihood``: the lower bound of log p(x), or of
            log p(x, y) where there are classes; ``recon``: −E log p(x | z); ``kl``: KL(q ‖ p), estimated from the
            sample where the prior is a flow. Scalars.
        """
        x, observed = self.gaps(x)
        x = self.observe(x)
        weight = self.kl_weight(epoch)
        q = self.posterior(self._filled(x, observed), labels)
        if self.num_samples > 1:
            recon, kl, bound, loss = self._importance_weighted(x, labels, q, weight, observed)
        else:
            z = q.rsample()
            recon = -self._log_likelihood_of(x, self.parameters_of(z, labels), observed).mean()
            if self.flow is None:
                dimensions = kl_to_standard(q).mean(0)
                kl, charged = dimensions.sum(), dimensions.clamp_min(self.free_bits).sum()
            else:
                kl = charged = (q.log_prob(z).sum(1) - self.log_prior_of(z)).mean()
            bound, loss = -(recon + kl), recon + weight * charged
        if self.log_prior is not None:
            bound = bound + self.log_prior[labels].mean()
        return {"loss": loss, "log_likelihood": bound.detach(), "recon": recon.detach(), "kl": kl.detach()}

    def kl_weight(self, epoch: float) -> float:
        """``beta``, or what there is of it in the ``warmup``."""
        return self.beta * min(1.0, epoch / self.warmup if self.warmup else 1.0)

    def divergence(self, q: Normal, z: Tensor) -> Tensor:
        """KL(q ‖ p) of each image, ``(B,)``, in nats; estimated from its ``z`` where the prior is a flow."""
        return kl_to_standard(q).sum(1) if self.flow is None else q.log_prob(z).sum(1) - self.log_prior_of(z)

    def _importance_weighted(
        self, x: Tensor, labels: Tensor, q: Normal, weight: float, observed: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        samples, batch = self.num_samples, len(x)
        z = q.rsample((samples,))
        flat, repeated = z.flatten(0, 1), labels.repeat(samples)
        recon = -self._log_likelihood_of(x, self.parameters_of(flat, repeated).unflatten(0, (samples, batch)), observed)
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
        """What a validation pass looks at, a row an image: ``log_joint`` with training's K, ``recon`` and ``kl``."""
        x, observed = self.gaps(x)
        return self._validate(self.observe(x), labels, observed)

    def _validate(self, x: Tensor, labels: Tensor, observed: Tensor | None = None) -> dict[str, Tensor]:
        """Of pixels as the likelihood sees them."""
        shown = self.shown(x, observed)
        q = self.posterior(shown.filled, labels)
        z = q.loc + q.scale * self._noise(shown.stream, 0, 1)[0].to(q.loc)
        recon = -self._log_likelihood_of(x, self.parameters_of(z, labels), shown.observed)
        joint = self.log_joint(x, observed, num_samples=self.num_samples)
        return {"log_joint": joint, "recon": recon, "kl": self.divergence(q, z)}

    # Likelihood

    def shown(self, x: Tensor, observed: Tensor | None = None) -> Shown:
        """What is the same for all classes: what there is to see of images as the likelihood sees them."""
        if observed is not None and self.mixed is not None:
            observed = whole(observed, self.spec)
        return Shown(self._filled(x, observed), streams(x, NOISE, observed), observed)

    def _filled(self, x: Tensor, observed: Tensor | None) -> Tensor:
        return x if observed is None else self.fill(x, observed)

    def _log_likelihood_of(self, x: Tensor, parameters: Tensor, observed: Tensor | None) -> Tensor:
        """log p(x | z) in nats, ``(…)``, of the entries that are ``observed``."""
        values = self.log_likelihood_of(x, parameters)
        return self._sum(values if observed is None else torch.where(observed, values, 0))

    def weighted(
        self,
        x: Tensor,
        labels: Tensor | None,
        num_samples: int,
        observed: Tensor | None = None,
        shown: Shown | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Importance samples from q(z | x) and their log weights log p(x, z) − log q(z | x), a bounded number at once.

        ``x`` are pixels as the likelihood sees them; where ``observed`` is False they are integrated out, and the
        encoder sees them filled in (Mattei & Frellsen 2019). The noise is a function of what is seen of the image and
        of the sample's number, see :mod:`zoo.base.noise`. ``shown``: what :meth:`shown` has found, where several
        classes are asked about.

        Yields:
            z ``(S, B, D)`` and log weights ``(S, B)``, in nats; the S add up to ``num_samples``.
        """
        shown = shown or self.shown(x, observed)
        q, step = self.posterior(shown.filled, labels), self._samples_at_once(x)
        for first in range(0, num_samples, step):
            z = q.loc + q.scale * self._noise(shown.stream, first, min(step, num_samples - first)).to(q.loc)
            repeated = None if labels is None else labels.repeat(len(z))
            parameters = self.parameters_of(z.flatten(0, 1), repeated).unflatten(0, z.shape[:2])
            values = self._log_likelihood_of(x, parameters, shown.observed)
            yield z, values + self.log_prior_of(z) - q.log_prob(z).sum(-1)

    def log_weights(self, x: Tensor, labels: Tensor | None, num_samples: int, *seen: Any) -> Tensor:
        """The log weights of :meth:`weighted`, ``(num_samples, B)``; ``seen`` are its last arguments."""
        return torch.cat([weights for _, weights in self.weighted(x, labels, num_samples, *seen)])

    def _bound(self, x: Tensor, labels: Tensor | None, num_samples: int | None, *seen: Any) -> Tensor:
        """The importance-weighted bound of log p(x | labels), ``(B,)``; ``x`` as the likelihood sees it."""
        weights = self.log_weights(x, labels, num_samples or self.importance_samples, *seen)
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
        columns, shown = [], self.shown(x, observed)
        for group in range(self.groups):
            labels = None if self.log_prior is None else x.new_full((x.shape[0],), group, dtype=torch.long)
            columns.append(self._bound(x, labels, num_samples, observed, shown))
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
            return bayes(self.log_joint(x, observed, num_samples))[0]
        self.require_classes()
        return self._bound(self.observe(x), labels, num_samples, observed)

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

    # New examples, and missing values

    def sample(self, n: int, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        if self.mixed is None:
            return super().sample(n, labels, generator)
        groups = self.draw_groups(n, labels, generator)
        return self._emitted(self.prior(self.noise(n, generator)), groups, generator)

    def _emitted(self, z: Tensor, labels: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """Means of pictures ``(B, C, H, W)``, and draws of rows, of latents ``(B, D)``."""
        mixed = self.mixed
        if mixed is None:
            return self.decode_all(z, labels)
        return self.decode_all(z, labels, lambda *of: mixed.draw(self.parameters_of(*of), generator))

    def impute(self, x: Tensor, observed: Tensor, n: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """``n`` completions ``(n, B, C, H, W)`` by sampling importance resampling: of ``importance_samples`` latents,
        and of the classes, each is taken with a probability proportional to its weight."""
        z, labels, weights = self._given(x, observed)
        chosen = torch.multinomial(weights.t().softmax(1), n, replacement=True, generator=generator).t()  # (n, B)
        index = chosen[..., None].expand(-1, -1, z.shape[-1])
        latents = z.gather(0, index).flatten(0, 1)
        classes = None if labels is None else labels.gather(0, chosen).flatten()
        return self._emitted(latents, classes, generator).unflatten(0, chosen.shape)

    def conditional_mean(self, x: Tensor, observed: Tensor) -> Tensor:
        """The expected image given the observed pixels, ``(B, C, H, W)``, by self-normalised importance sampling."""
        z, labels, weights = self._given(x, observed)
        mean = torch.zeros_like(x)
        step = self._samples_at_once(x)
        shares = weights.softmax(0)
        for first in range(0, len(z), step):
            part = slice(first, first + step)
            classes = None if labels is None else labels[part].flatten()
            images = self.decode(z[part].flatten(0, 1), classes).unflatten(0, z[part].shape[:2])
            mean += (shares[part, :, None, None, None] * images).sum(0)
        return torch.where(observed, x, mean)

    def _given(self, x: Tensor, observed: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Latents ``(S, B, D)``, their classes ``(S, B)`` if any, and log weights ``(S, B)`` given the seen pixels."""
        x = self.observe(x)
        parts, shown = [], self.shown(x, observed)
        for group in range(self.groups):
            labels = None if self.log_prior is None else x.new_full((len(x),), group, dtype=torch.long)
            prior = 0.0 if self.log_prior is None else self.log_prior[group]
            for z, weights in self.weighted(x, labels, self.importance_samples, observed, shown):
                parts.append((z, torch.full_like(weights, group, dtype=torch.long), weights + prior))
        z, classes, weights = (torch.cat(part) for part in zip(*parts, strict=True))
        return z, None if self.log_prior is None else classes, weights

    def _noise(self, stream: Tensor, first: int, count: int) -> Tensor:
        """Standard normal ``(count, B, D)``: of each image the samples from ``first`` on, for all classes the same."""
        values = normal(stream, first * self.latent_dim, count * self.latent_dim)
        return values.view(-1, count, self.latent_dim).transpose(0, 1)

    def _samples_at_once(self, x: Tensor) -> int:
        """How many latents of each image to decode at a time."""
        if torch.compiler.is_exporting():  # of any number of images
            return AT_ONCE
        return max(1, at_once(AT_ONCE, x[0].numel() if len(x) else 1) // max(len(x), 1))

    @staticmethod
    def _sum(values: Tensor) -> Tensor:
        return values.flatten(-3).sum(-1)


class Shown(NamedTuple):
    """What is asked about: ``filled``, what the encoder sees, hidden pixels filled in, in pictures with the mean of the
    pixels around; ``stream``, where that of each image's noise begins, ``(B, 1)``; ``observed``, if anything is hidden.
    """

    filled: Tensor
    stream: Tensor
    observed: Tensor | None


def kl_to_standard(q: Normal) -> Tensor:
    """KL(q ‖ N(0, 1)) of each dimension, in nats, ``(B, D)``."""
    return 0.5 * (q.loc.square() + q.scale.square() - 1) - q.scale.log()


def _check(
    network: str, hidden_sizes: tuple[int, ...], channels: tuple[int, ...], likelihood: str, prior: str, rows: bool
) -> None:
    for key, value, allowed in (
        ("network", network, ("auto", "mlp", "conv")),
        ("likelihood", likelihood, ("auto", *LIKELIHOODS, "mixed")),
        ("prior", prior, ("normal", "realnvp")),
    ):
        if value not in allowed:
            raise ValueError(f"{key} must be {', '.join(allowed)}, not {value!r}")
    if rows != (likelihood == "mixed"):
        fitting = "mixed, the one of numbers and categories" if rows else " or ".join(LIKELIHOODS)
        raise ValueError(f"likelihood={likelihood} does not fit such values: {fitting} does")
    if rows and network == "conv":
        raise ValueError("network=conv is for pictures, whose neighbouring pixels belong together: network=mlp")
    if any(size < 1 for size in (*hidden_sizes, *channels)) or not channels:
        raise ValueError("hidden_sizes and channels must be positive, and there must be a stage of channels")
