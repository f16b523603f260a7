"""Training of p(x, y) or p(x) by gradient: the likelihood itself, or a bound of it, is the criterion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from zoo.base.generative import Density
from zoo.base.model import Model
from zoo.errors import ConfigError
from zoo.learners._generative import EXACT, GenerativeLearner
from zoo.learners._gradient import GradientLearner


class LikelihoodLearner(GenerativeLearner, GradientLearner):
    """Minimises the model's own ``losses(x, labels, epoch)["loss"]``, from the start that EM has.

    >>> import zoo
    >>> zoo.LikelihoodLearner(zoo.create("vae")).monitor
    'val/log_likelihood'

    What else ``losses`` gives, means of a batch by name, is logged. The loss of a density is −log-likelihood, the mean
    of a batch in nats per example, where it can be computed, and for a variational autoencoder the bound that its
    options choose.

    Args:
        model: a density made by ``zoo.create``, or its ``config``.
        optimizer, schedule, ema, clip, accumulate, monitor: see :class:`zoo.learners._gradient.GradientLearner`.

    Logged an epoch: ``train/loss`` and what else ``losses`` gives, such as ``train/log_likelihood`` (nats per example,
    over the epoch, while the parameters changed), ``train/recon`` and ``train/kl``; ``images_per_second``; validation
    as for :class:`zoo.learners._generative.GenerativeLearner`; every N steps ``step/loss``, ``step/lr``.
    """

    digits = "a likelihood is a sum over pixels, and loses digits"
    parts = ("losses",)
    of_densities = True

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
        super().__init__(model, optimizer, schedule, ema, clip, monitor, accumulate=accumulate)

    @property
    def precisions(self) -> tuple[str, ...]:  # type: ignore[override]
        """Networks may compute in 16 bits what is a bound anyway; an exact likelihood would be so no longer."""
        exact = hasattr(self.model, "density") and self.model.density.kind == "exact"
        return EXACT if exact else (*EXACT, "bf16-mixed", "16-mixed")

    def check_model(self) -> None:
        super().check_model()
        if not hasattr(self.model, "losses"):
            raise ConfigError(
                f"{self.model.name} cannot be trained by gradient: it defines no losses(x, labels, epoch)"
            )
        if isinstance(self.model, Density) != self.of_densities:
            of_which, learner = ("no", "objective") if self.of_densities else ("a", "likelihood")
            raise ConfigError(f"{self.model.name} is {of_which} density: learner={learner} trains it")

    def loss(self, x: Tensor, labels: Tensor) -> Tensor:
        losses = self.trained.losses(x, labels, self.current_epoch + self._totals["batches"] / self._batches)
        loss = losses.pop("loss")
        self.means.add(len(labels), **losses)
        return loss

    def on_train_epoch_end(self) -> None:
        speed = self.end_epoch()
        self.check_losses()
        values = {f"train/{name}": value for name, value in self.means.all().items()} | {"images_per_second": speed}
        self.log_dict(values, sync_dist=self.trainer.world_size > 1)
        self.step_plateau()
