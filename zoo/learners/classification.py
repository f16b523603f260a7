"""Training of p(y | x): logits to a loss, by any optimiser and schedule."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.base.model import Model, evaluating
from zoo.base.precision import full
from zoo.errors import ConfigError
from zoo.learners._gradient import GradientLearner
from zoo.metrics.classification import summarize

CALIBRATION_IMAGES = 5000  # how many recent training images calibrate a model where there is no validation split


class ClassificationLearner(GradientLearner):
    """Trains a classifier by its own ``loss(logits, labels)``.

    >>> import torch, zoo
    >>> learner = zoo.ClassificationLearner(zoo.create("mlp"), optimizer={"name": "SGD", "lr": 0.1})
    >>> learner(torch.rand(2, 1, 28, 28)).shape
    torch.Size([2, 10])

    Args:
        model: a classifier made by ``zoo.create``, or its ``config``.
        label_smoothing: mass moved from the true class to all, in [0, 1).
        calibrate: divide logits by the temperature that makes the validation images' classes most probable (Guo et al.
            2017, On calibration of modern neural networks): the probabilities that are asked for, ``val/nll`` and
            ``val/ece``, are such ones. A machine of margins is calibrated in any case, on recent training images where
            there are none to validate.
        optimizer, schedule, ema, clip, accumulate, monitor: see :class:`zoo.learners._gradient.GradientLearner`.

    Logged an epoch: ``train/loss``, ``train/accuracy``, ``images_per_second``, ``val/loss`` (the criterion),
    ``val/accuracy``, ``val/nll`` (nats), ``val/ece``, of two classes ``val/auroc``; every N steps ``step/loss``,
    ``step/lr``.
    """

    parts = ("",)

    def __init__(
        self,
        model: Model | Mapping[str, Any],
        optimizer: Mapping[str, Any] | None = None,
        schedule: Mapping[str, Any] | None = None,
        ema: float = 0.0,
        label_smoothing: float = 0.0,
        calibrate: bool = False,
        clip: float = 0.0,
        accumulate: int = 1,
        monitor: str = "val/accuracy",
    ) -> None:
        optimizer = optimizer or {"name": "AdamW", "lr": 3e-3, "weight_decay": 0.01}
        schedule = schedule or {"name": "OneCycleLR"}
        if not 0 <= label_smoothing < 1:
            raise ConfigError("label_smoothing must be in [0, 1)")
        options = {"accumulate": accumulate, "label_smoothing": label_smoothing, "calibrate": calibrate}
        super().__init__(model, optimizer, schedule, ema, clip, monitor, **options)
        self.label_smoothing = label_smoothing
        self._margins = getattr(self.model, "margins", False)
        self._calibrates = calibrate or self._margins
        if self._calibrates and not hasattr(self.model, "calibrate"):
            raise ConfigError(f"learner.calibrate=true: {self.model.name} has no temperature")
        try:  # a mistake here is an error now, not after the run has begun
            self.model.loss(torch.zeros(1, self.model.spec.num_classes), torch.zeros(1).long(), label_smoothing)
        except ValueError as error:
            raise ConfigError(f"learner: {error}") from error
        self._recent: collections.deque[tuple[Tensor, Tensor]] = collections.deque()

    def check_model(self) -> None:
        if not hasattr(self.model, "loss") or not hasattr(self.model, "log_proba"):
            raise ConfigError(
                f"{self.model.name} is no classifier: it defines no loss(logits, labels); "
                "densities are trained by learner=em or learner=likelihood"
            )
        if self.model.spec.num_classes == 1:
            raise ConfigError(
                f"the data has one class, {self.model.spec.class_names[0]}, and {self.model.name} tells classes apart: "
                "models of p(x) learn from such data"
            )

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` to logits ``(B, K)``."""
        return self.evaluated(x)

    # Training

    def on_train_start(self) -> None:
        super().on_train_start()
        validates = any(self.trainer.num_val_batches) and (
            not 0 < (self.trainer.max_epochs or 0) < (self.trainer.check_val_every_n_epoch or 1)
        )
        if self._calibrates and not self._margins and not validates:
            raise ConfigError(
                "learner.calibrate=true: a temperature is fitted to validation images, and none are validated: set "
                "data.val_size, trainer.check_val_every_n_epoch, or leave it out"
            )

    def loss(self, x: Tensor, labels: Tensor) -> Tensor:
        logits = full(self.trained(x))
        loss = self.model.loss(logits, labels, self.label_smoothing)
        self.means.add_sum(len(labels), accuracy=(logits.detach().argmax(1) == labels).sum())
        if self._margins:
            self._remember(self._as_asked(x, logits.detach()), labels)
        return loss

    def on_train_epoch_end(self) -> None:
        speed = self.end_epoch()
        self.check_losses()
        if self._recent and not any(self.trainer.num_val_batches):
            self._calibrate(*(self.gathered(torch.cat(parts)) for parts in zip(*self._recent, strict=True)))
        self._recent.clear()
        values = {
            "train/loss": self.means["loss"],
            "train/accuracy": self.means["accuracy"],
            "images_per_second": speed,
        }
        self.log_dict(values, sync_dist=self.trainer.world_size > 1)
        self.step_plateau()

    def epoch_state(self) -> dict[str, Any]:
        recent = [] if any(self.trainer.num_val_batches) else self._recent  # see on_train_epoch_end
        return {**super().epoch_state(), "recent": [[self.gathered(part) for part in pair] for pair in recent]}

    def load_epoch(self, state: dict[str, Any]) -> None:
        super().load_epoch(state)
        rank, count = self.trainer.global_rank, self.trainer.world_size  # what is stored is of all processes
        self._recent.extend(
            tuple(part.tensor_split(count)[rank].to(self.device) for part in pair) for pair in state["recent"]
        )

    # Calibration

    def _as_asked(self, x: Tensor, logits: Tensor) -> Tensor:
        """Logits of training examples in eval mode, where they are needed: validation calibrates if there is any."""
        if not self.model.asked_otherwise or any(self.trainer.num_val_batches):
            return logits
        with evaluating(self.model):
            return full(self.model(x))

    def _remember(self, logits: Tensor, labels: Tensor) -> None:
        self._recent.append((logits, labels))
        batch = len(labels) if self._shared is None else self._shared.whole(0)  # in all processes, the same in each
        while (len(self._recent) - 1) * batch > CALIBRATION_IMAGES:
            self._recent.popleft()

    def _calibrate(self, logits: Tensor, labels: Tensor) -> None:
        for model in {self.model, self.evaluated}:
            model.calibrate(logits, labels)

    # Validation and test

    def outputs(self, x: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        return full(self.evaluated(x)), labels

    def measure(self, stage: str, *parts: Tensor) -> dict[str, float]:
        logits, labels = parts
        if stage == "val" and self._calibrates:
            self._calibrate(logits, labels)
        log_proba = self.evaluated.log_proba(logits)
        if stage == "val":
            self.validated = log_proba, labels
        values = summarize(log_proba, labels)
        return {**values, "loss": float(self.evaluated.loss(logits, labels))}
