"""Training of p(x, y) or p(x) by gradient: the likelihood itself, or a bound of it, is the criterion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from zoo.learners._density import EXACT, DensityLearner
from zoo.learners._gradient import GradientLearner
from zoo.models._model import Model


class LikelihoodLearner(DensityLearner, GradientLearner):
    """Minimises the model's own ``terms(x, labels, epoch)["loss"]``, from the start that EM has.

    That is −log-likelihood, the mean of a batch in nats an image, where it can be computed, and for a variational
    autoencoder the bound that its options choose.

    Args:
        model: a density made by ``zoo.create``, or its ``config``.
        optimizer, schedule, ema, clip, accumulate, monitor: see :class:`zoo.learners._gradient.GradientLearner`.

    Logged an epoch: ``train/loss`` and the model's other terms, such as ``train/log_likelihood`` (nats an image, over
    the epoch, while the parameters changed), ``train/recon`` and ``train/kl``; ``images_per_second``; validation as for
    :class:`zoo.learners._density.DensityLearner`; every N steps ``step/loss``, ``step/lr``.
    """

    digits = "a likelihood is a sum over pixels, and loses digits"
    parts = ("terms",)

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
        bound = getattr(getattr(self.model, "density", None), "kind", "exact") != "exact"
        return (*EXACT, "bf16-mixed", "16-mixed") if bound else EXACT

    def initialize(self) -> None:
        started = bool(getattr(self.model, "initialized", True))
        super().initialize()
        if self.ema is not None and not started:  # the average was copied from the model before
            self.evaluated.load_state_dict(self.model.state_dict())

    def begin_epoch(self) -> None:
        super().begin_epoch()
        self._terms: dict[str, Tensor] = {}  # sums over the epoch's images

    def loss(self, x: Tensor, labels: Tensor) -> Tensor:
        terms = self.trained.terms(x, labels, self.current_epoch + self._totals["batches"] / self._batches)
        loss = terms.pop("loss")
        for key, value in terms.items():
            if key in self._terms:
                self._terms[key].add_(value, alpha=len(labels))
            else:
                self._terms[key] = value * len(labels)
        return loss

    def on_train_epoch_end(self) -> None:
        speed = self.end_epoch()
        values = {"train/loss": self.mean_loss(), "images_per_second": speed}
        values |= {f"train/{key}": float(value) / max(self._totals["seen"], 1) for key, value in self._terms.items()}
        self.log_dict(values, sync_dist=self.trainer.world_size > 1)
        self.step_plateau()
