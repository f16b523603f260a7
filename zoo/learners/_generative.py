"""What the two ways to train a generative model share: where it starts, and how it is validated."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from zoo.base.generative import bayes
from zoo.data.batches import Batches
from zoo.errors import ConfigError, ZooError
from zoo.learners._learner import AUROC, Learner
from zoo.metrics.classification import summarize

EXACT = ("32-true", "64-true")  # precisions for what must not lose digits
OF_CLASSES = ("val/accuracy", "val/nll", "val/ece", AUROC)


class GenerativeLearner(Learner):
    """Trains a model that says itself how a batch of validation examples is evaluated: ``validate(x, labels)``.

    That gives values by name, a row an example, whose means over all validation examples are logged. Three are more
    than that: of ``log_joint``, log p(x, y) ``(B, K)`` or log p(x) ``(B, 1)`` in nats, what follows from it is logged;
    of ``log_proba``, log p(y | x) where Bayes' rule is not what makes it of ``log_joint``, the figures of a classifier;
    of ``tokens``, how many log p(x) is of, ``val/nats_per_token``, each token of all texts counting the same.

    Logged an epoch, of a density: ``val/log_likelihood``, the mean log p(x, y), or log p(x) where there are no classes,
    in nats per example, or a bound of it; where the model has classes ``val/accuracy``, ``val/nll`` (nats),
    ``val/ece`` and, of two classes, ``val/auroc``; of any model ``val/`` and the names of its other values.
    """

    fallback_monitor = "train/log_likelihood"

    def check_model(self) -> None:
        model = self.model
        if not hasattr(model, "validate") or not hasattr(model, "log_prior"):
            raise ConfigError(
                f"{model.name} is no generative model: it has no log_prior and validate(x, labels); "
                "classifiers are trained by learner=classification"
            )
        if model.log_prior is None and self.monitor in OF_CLASSES:
            raise ConfigError(
                f"learner.monitor={self.monitor} needs a model of classes; this {model.name} has none: "
                "learner.monitor=val/log_likelihood"
            )

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` to log p(x) ``(B,)``, in nats."""
        return self.evaluated.log_prob(x)

    @property
    def needs_labels(self) -> bool:
        model = self.model
        return model.log_prior is not None and not set(self.parts) & set(model.partly_labelled)

    # The start

    def on_fit_start(self) -> None:
        super().on_fit_start()
        loader: Any = self.trainer.train_dataloader
        if isinstance(loader, Batches):
            model: Any = self.model
            model.hidden_classes = loader.split.hides_classes

    def on_fit_end(self) -> None:
        model: Any = self.model
        model.hidden_classes = None

    def initialize(self) -> None:
        with explained(self.model):
            super().initialize()

    # Validation and test

    def outputs(self, x: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        values = self.evaluated.validate(x, labels)
        self._names = list(values)
        return labels, *values.values()

    def measure(self, stage: str, *parts: Tensor) -> dict[str, float]:
        labels, *values = (part.cpu() for part in parts)  # not every accelerator has float64
        named = dict(zip(self._names, values, strict=True))
        joint, log_proba = (named.pop(name, None) for name in ("log_joint", "log_proba"))
        figures = {}
        tokens = named.pop("tokens", None)
        if joint is not None:
            evidence, by_joint = bayes(joint.double())
            if tokens is not None:
                figures["nats_per_token"] = -float(evidence.sum() / tokens.double().sum())
            if self.evaluated.log_prior is not None:
                evidence = joint.double().gather(1, labels[:, None])
                log_proba = by_joint if log_proba is None else log_proba
            figures["log_likelihood"] = float(evidence.mean())
        if log_proba is not None:
            figures |= summarize(log_proba, labels)
            if stage == "val":
                self.validated = log_proba, labels
        return figures | {name: float(part.double().mean()) for name, part in named.items()}


@contextlib.contextmanager
def explained(model: Any) -> Iterator[None]:
    """A matrix that is not positive definite is a ``ZooError`` with a hint."""
    try:
        yield
    except LinAlgError as error:
        reason = str(error).splitlines()[0]
        raise ZooError(f"{model.name}: {reason}: a larger model.floor keeps covariances definite") from error
