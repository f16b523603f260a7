"""What the two ways to train a density share: where it starts, and how it is validated."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from zoo.data.batches import Batches
from zoo.errors import ConfigError, ZooError
from zoo.learners._learner import Learner, name_of
from zoo.metrics.classification import summarize

START_BATCH = 4096  # images at a time while the start is looked for
EXACT = ("32-true", "64-true")  # precisions for what must not lose digits
OF_CLASSES = ("val/accuracy", "val/nll", "val/ece")


class DensityLearner(Learner):
    """Trains a :class:`zoo.models._density.DensityModel`, or a model that has a bound in place of its density.

    A model that has ``initialize`` and is not ``initialized`` yet is initialised on the whole training split, in its
    stored order and without augmentation, before the first batch. Random numbers for it are a function of the run's
    seed alone: the global stream stays where it was, and every regime starts from the same parameters.

    Logged an epoch: ``val/log_likelihood``, the mean log p(x, y), or log p(x) where there are no classes, in nats an
    image, or a bound of it; where the model has classes ``val/accuracy``, ``val/nll`` (nats) and ``val/ece``; and what
    else its ``validate`` gives.
    """

    fallback_monitor = "train/log_likelihood"

    def check_model(self) -> None:
        model = self.model
        if not hasattr(model, "validate") or not hasattr(model, "log_joint"):
            raise ConfigError(
                f"{name_of(model)} is no density: it defines no log_joint(x) and validate(x, labels); "
                "classifiers are trained by learner=classification"
            )
        if model.log_prior is None and self.monitor in OF_CLASSES:
            raise ConfigError(
                f"learner.monitor={self.monitor} needs a model of classes; this {name_of(model)} has none: "
                "learner.monitor=val/log_likelihood"
            )

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` to log p(x) ``(B,)``, in nats."""
        return self.evaluated.log_prob(x)

    @property
    def needs_labels(self) -> bool:
        model = self.model
        return model.log_prior is not None and not set(self.parts) & set(getattr(model, "partly_labelled", ()))

    # The start

    def on_train_start(self) -> None:
        self.initialize()
        super().on_train_start()

    def on_validation_start(self) -> None:
        if self.trainer.sanity_checking:  # which Lightning does before anything else
            self.initialize()
        super().on_validation_start()

    def initialize(self) -> None:
        """Find parameters to start from, the same ones in every process, unless the model has them already."""
        model = self.model
        if not hasattr(model, "initialize") or bool(model.initialized):
            return
        self.trainer.fit_loop.setup_data()
        loader: Any = self.trainer.train_dataloader
        if isinstance(loader, Batches):
            loader = Batches(loader.split, START_BATCH)
        generator = torch.Generator(self.device).manual_seed(torch.initial_seed())
        with torch.no_grad(), explained(model):
            model.initialize(_Moved(self, loader), generator)
        if self.trainer.world_size > 1:  # machines may differ in the last digit
            for tensor in [*model.parameters(), *model.buffers()]:
                torch.distributed.broadcast(tensor.data, 0)

    # Validation and test

    def outputs(self, x: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        values = self.evaluated.validate(x, labels)
        joint = values.pop("log_joint")
        self._names = list(values)
        return joint, labels, *values.values()

    def measure(self, stage: str, *parts: Tensor) -> dict[str, float]:
        joint, labels, *others = (part.cpu() for part in parts)  # not every accelerator has float64
        named = dict(zip(self._names, others, strict=True))
        log_proba = named.pop("log_proba", None)
        means = {name: float(part.double().mean()) for name, part in named.items()}
        joint = joint.double()
        if self.evaluated.log_prior is None:
            return {"log_likelihood": float(joint.mean()), **means}
        likelihood = float(joint.gather(1, labels[:, None]).mean())
        log_proba = joint.log_softmax(1) if log_proba is None else log_proba
        return {"log_likelihood": likelihood, **summarize(log_proba, labels), **means}


class _Moved:
    """A loader's batches as ``training_step`` gets them: on the model's device, in its precision. Can be repeated."""

    def __init__(self, learner: Learner, loader: Iterable[Any]) -> None:
        self.learner = learner
        self.loader = loader

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        convert, device = self.learner.trainer.precision_plugin.convert_input, self.learner.device
        for x, labels in self.loader:
            yield convert(x).to(device), labels.to(device)


@contextlib.contextmanager
def explained(model: Any) -> Iterator[None]:
    """A matrix that is not positive definite is a ``ZooError`` with a hint."""
    try:
        yield
    except LinAlgError as error:
        reason = str(error).splitlines()[0]
        raise ZooError(f"{name_of(model)}: {reason}: a larger model.floor keeps covariances definite") from error
