"""A classifier on the codes of a frozen encoder: what a model that was trained for something else knows of classes.

    p(y | x) = p(y | e(x)),

where e is any model of the zoo that encodes, with its weights as they are: latents of a VAE, responsibilities of a
mixture, features of a network; and p(y | e) any classifier of the zoo, which takes D codes for an image of D channels
and one pixel. Codes are standardised one by one, by the mean and variance of training batches, since their scales may
differ by orders of magnitude (He et al. 2022, Masked Autoencoders Are Scalable Vision Learners, A.1).

``zoo train model=probe model.encoder=runs/<a VAE's run> data=mnist data.train_size=100``

Reference: Alain & Bengio (2016), Understanding Intermediate Layers Using Linear Classifier Probes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo import registry
from zoo.base.classifier import Classifier
from zoo.base.model import Model
from zoo.registry import register
from zoo.spec import DataSpec


@register("probe")
class Probe(Classifier):
    """A frozen encoder and a classifier of its codes, which alone is trained.

    Args:
        spec: shape and classes of the data.
        encoder: what ``zoo.load`` reads: a run, a ``.ckpt`` or a released model's folder; or ``config`` of a model,
            which is built with new weights. None: the pixels themselves are what is classified.
        classifier: name of a model, with its default options.

    The encoder's path is read once: ``config`` has the encoder's own config in its place, and its weights are among
    the probe's, so that a checkpoint needs no other file.
    """

    resolves = ("encoder",)

    def __init__(
        self, spec: DataSpec, encoder: str | Mapping[str, Any] | None = None, classifier: str = "logistic_regression"
    ) -> None:
        super().__init__(spec)
        del self.normalize, self.temperature  # its parts have their own
        self.encoder = None if encoder is None else _encoder(encoder, spec)
        if self.encoder is not None:
            self.resolved = {"encoder": self.encoder.config}
            self.encoder.requires_grad_(False).eval()
            size = self.codes(torch.zeros(1, *spec.shape)).shape[1]
            self.standardize = nn.BatchNorm2d(size, affine=False)
            spec = DataSpec((size, 1, 1), spec.num_classes, spec.class_names, values="real")
        self.classifier = registry.create(classifier, spec)
        if not isinstance(self.classifier, Classifier):
            raise ValueError(f"classifier={classifier} is no model of p(y | x)")
        self.margins = self.classifier.margins

    @torch.no_grad()
    def codes(self, x: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` in [0, 1] to the encoder's codes ``(B, D)``, as they are."""
        assert self.encoder is not None
        if self.spec.missing:
            x = self.fill(x, ~x.isnan())
        return self.encoder.encode(x) if hasattr(self.encoder, "encode") else self.encoder.features(x)

    def features(self, x: Tensor) -> Tensor:
        """The penultimate representation of the classifier, ``(B, F)``."""
        if self.encoder is not None:
            x = self.standardize(self.codes(x)[:, :, None, None])
        return self.classifier.features(x)

    @property
    def head(self) -> nn.Module:  # type: ignore[override]
        return self.classifier.head

    def loss(self, logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """The classifier's own criterion."""
        return self.classifier.loss(logits, labels, label_smoothing)

    def log_proba(self, logits: Tensor) -> Tensor:
        return self.classifier.log_proba(logits)

    def calibrate(self, logits: Tensor, labels: Tensor) -> None:
        """Of the classifier, see :meth:`zoo.base.classifier.Classifier.calibrate`."""
        self.classifier.calibrate(logits, labels)

    def train(self, mode: bool = True) -> Probe:
        """The encoder stays in eval mode: its statistics and its answers are not those of the probe's batches."""
        super().train(mode)
        if self.encoder is not None:
            self.encoder.eval()
        return self


def _encoder(source: str | Mapping[str, Any], spec: DataSpec) -> Model:
    """From a path, with its weights; or from a config, to be given weights. ``ValueError`` where it will not do."""
    if isinstance(source, Mapping):
        if set(source) != {"name", "spec", "options"}:
            raise ValueError(f"a config of an encoder has name, spec and options, not {', '.join(map(str, source))}")
        if source["name"] == "probe":  # before its own encoder is made, and that one's
            raise ValueError("the encoder is a probe: name the encoder of that one")
        encoder = registry.rebuild(source)
    else:
        encoder = registry.load(source)
        if isinstance(encoder, Probe):
            raise ValueError(f"{source} is a probe: name its encoder")
    if not (hasattr(encoder, "encode") or hasattr(encoder, "features")):
        raise ValueError(f"encoder={encoder.name} cannot encode")
    if encoder.spec.shape != spec.shape:
        raise ValueError(f"the encoder takes images of shape {encoder.spec.shape}, and these have {spec.shape}")
    return encoder
