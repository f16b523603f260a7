"""Training of p(x, y) or p(x) by gradient: the likelihood itself is the criterion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from zoo.learners._density import DensityLearner
from zoo.learners._gradient import GradientLearner
from zoo.models._model import Model


class LikelihoodLearner(DensityLearner, GradientLearner):
    """Minimises −log-likelihood, the mean of a batch in nats an image, from the start that EM has.

    Args:
        model: a density made by ``zoo.create``, or its ``config``.
        optimizer, schedule, ema, clip, accumulate, monitor: see :class:`zoo.learners._gradient.GradientLearner`.

    Logged an epoch: ``train/log_likelihood`` (nats an image, over the epoch, while the parameters changed),
    ``images_per_second``, and validation as for :class:`zoo.learners._density.DensityLearner`; every N steps
    ``step/loss`` (−log-likelihood), ``step/lr``.
    """

    def __init__(
        self,
        model: Model | Mapping[str, Any],
        optimizer: Mapping[str, Any] | None = None,
        schedule: Mapping[str, Any] | None = None,
        ema: float = 0.0,
        clip: float = 0.0,
        accumulate: int = 1,
        monitor: str = "val/log_likelihood",
    ) -> None:
        optimizer = optimizer or {"name": "AdamW", "lr": 3e-3, "weight_decay": 0.0}
        schedule = schedule or {"name": "OneCycleLR"}
        super().__init__(model, optimizer, schedule, ema, clip, accumulate, monitor)

    def initialize(self) -> None:
        super().initialize()
        # the average was copied from the model before there was a start
        if self.ema is not None and not bool(getattr(self.evaluated, "initialized", True)):
            self.evaluated.load_state_dict(self.model.state_dict())

    def loss(self, x: Tensor, labels: Tensor) -> Tensor:
        return -self.model.log_likelihood(x, labels).mean()

    def on_train_epoch_end(self) -> None:
        speed = self.end_epoch()
        values = {"train/log_likelihood": -self.mean_loss(), "images_per_second": speed}
        self.log_dict(values, sync_dist=self.trainer.world_size > 1)
        self.step_plateau()
