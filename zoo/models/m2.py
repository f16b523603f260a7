"""M2: a conditional variational autoencoder with a network q(y | x), in whose training most classes may be hidden.

A labelled image has the bound of log p(x, y) and −α log q(y | x). One without a label has, summed exactly over classes,

    log p(x) ≥ Σ_y q(y | x) (bound of log p(x, y) − log q(y | x)).

The paper weighs the *mean* of −log q(y | x) over the N_l labelled images by 0.1 N, with N images in all and every bound
summed: α = 0.1 N / N_l for each label. Where ``data.repeat`` has each labelled image r times in an epoch, that counts r
times, and so does the bound of a labelled image: a label weighs r α. The paper's weight is for thousands of passes.
With a few, the bounds pull q towards a partition that is none of classes before the labels are heard, and r α has to be
a hundred times larger, see the experiment; its error of 12 % with 100 labels is not reached.

``zoo train experiment=semi_supervised_m2_mnist``

Reference: Kingma, Mohamed, Rezende & Welling (2014), Semi-supervised learning with deep generative models, eq. 6 to 9.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from zoo.base.blocks import ConvEncoder, perceptron, start
from zoo.base.precision import full
from zoo.errors import ZooError
from zoo.models.vae import VAE
from zoo.registry import register
from zoo.spec import DataSpec


@register("m2")
class M2(VAE):
    """A :class:`zoo.models.vae.VAE` of p(x | y) and a classifier, trained together.

    The classifier is what answers for classes where all pixels are seen; Bayes' rule where some are missing.

    Args:
        spec: the data.
        classify_weight: α of a labelled image, above 0. The default is the paper's for 100 labels of 50,000 images.
        network, latent_dim, hidden_sizes, channels, blocks, likelihood, prior, flow_layers, flow_width, beta, warmup,
            importance_samples: see the VAE.
    """

    takes = ("grey", "binary")
    needs_classes = True
    learns_from_gaps = False
    partly_labelled = ("losses",)
    classes_by_joint = False

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
        classify_weight: float = 50.0,
        beta: float = 1.0,
        warmup: float = 0.0,
        importance_samples: int = 64,
    ) -> None:
        if not classify_weight > 0:
            raise ValueError(f"classify_weight must be above 0, not {classify_weight}")
        super().__init__(
            spec,
            network,
            latent_dim,
            hidden_sizes,
            channels,
            blocks,
            likelihood,
            prior,
            flow_layers,
            flow_width,
            conditional=True,
            beta=beta,
            warmup=warmup,
            importance_samples=importance_samples,
        )
        self.classify_weight = classify_weight

    def add_networks(
        self, network: str, encoded: int, hidden_sizes: tuple[int, ...], channels: tuple[int, ...], blocks: int
    ) -> None:
        body = nn.Flatten() if network == "mlp" else ConvEncoder(self.spec.shape, channels, blocks)
        layers = perceptron([encoded, *hidden_sizes, self.spec.num_classes])
        self.classifier = nn.Sequential(body, layers)
        self.outer = (*self.outer, f"classifier.1.{len(layers) - 1}")
        start(self.classifier)

    def set_prior(self, counts: Tensor) -> None:
        """As of any generative model. Raises ``ZooError`` where a class has no labelled image."""
        if not counts.all():
            raise ZooError("a class without any labelled image cannot be learnt: data.labels=… needs one of each class")
        super().set_prior(counts)

    def log_q(self, x: Tensor) -> Tensor:
        """log q(y | x), ``(B, K)``, of pixels as the likelihood sees them."""
        return full(self.classifier(self._centred(x))).log_softmax(1)

    def losses(self, x: Tensor, labels: Tensor, epoch: float = math.inf) -> dict[str, Tensor]:
        """As of the VAE, with a label that is negative where a class is hidden: a row a labelled image, and one a class
        for each of the others. ``classification`` is −log q(y | x), of the labelled images alone, over all images."""
        x = self.observe(x)
        known, hidden = (labels >= 0).nonzero()[:, 0], (labels < 0).nonzero()[:, 0]
        log_proba = self.log_q(x)
        rows = torch.cat([known, hidden.repeat_interleave(self.groups)])
        classes = torch.cat([labels[known], torch.arange(self.groups, device=x.device).repeat(len(hidden))])
        shares = torch.cat([torch.ones_like(log_proba[known, 0]), log_proba[hidden].exp().flatten()]) / len(x)
        repeated = x[rows]
        q = self.posterior(repeated, classes)
        z = q.rsample()
        recon = -(shares * self._sum(self.log_likelihood_of(repeated, self.parameters_of(z, classes)))).sum()
        kl = (shares * self.divergence(q, z)).sum()
        entropy = -(log_proba[hidden].exp() * log_proba[hidden]).sum() / len(x)
        assert self.log_prior is not None
        of_class = (shares * self.log_prior[classes]).sum() + entropy
        classification = -log_proba[known, labels[known]].sum() / len(x)
        loss = recon + self.kl_weight(epoch) * kl - of_class + self.classify_weight * classification
        values = {"log_likelihood": of_class - recon - kl, "recon": recon, "kl": kl, "classification": classification}
        return {"loss": loss, **{key: value.detach() for key, value in values.items()}}

    def validate(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """As of the VAE, and ``log_proba`` of q(y | x)."""
        x = self.observe(x)
        return self._validate(x, labels) | {"log_proba": self.log_q(x)}

    def classify(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """log q(y | x) in nats, ``(B, K)``; where pixels are missing, log p(y | seen pixels) by Bayes' rule."""
        return self.log_q(self.observe(x)) if observed is None else super().classify(x, observed)
