"""Training of p(x, y) or p(x) by expectation–maximisation: no gradient, no learning rate."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.base.model import Model
from zoo.errors import ConfigError, ZooError
from zoo.learners._generative import EXACT, GenerativeLearner, explained


class EMLearner(GenerativeLearner):
    """A batch adds expected sufficient statistics, the last batch of an epoch replaces the parameters.

    >>> import zoo
    >>> zoo.EMLearner(zoo.create("gmm"), tolerance=1e-4).monitor
    'val/log_likelihood'

    Statistics are summed in float64 over the batches of a pass and over processes, so that one epoch is one exact step
    of EM on the whole training set, whatever the batch size and the number of processes. A pass that
    ``trainer.max_steps`` cuts short changes nothing. One that is interrupted goes on with its partial sums, which the
    checkpoint holds.

    Args:
        model: a density made by ``zoo.create``, or its ``config``, with ``statistics`` and ``maximize``.
        tolerance: training ends once |new − old| ≤ tolerance · |new| for the training log-likelihoods of two successive
            passes, or after a first one where the model was counted; 0 goes on to the last epoch.
        monitor: the logged value that chooses ``best.ckpt``.

    Logged an epoch: ``train/log_likelihood`` (nats an image, of the parameters *before* the pass's M-step: those the
    E-step used), ``images_per_second``, and validation, of the parameters after it, as for
    :class:`zoo.learners._generative.GenerativeLearner`.

    References: Dempster, Laird & Rubin (1977), Maximum likelihood from incomplete data via the EM algorithm.
    """

    precisions = EXACT
    digits = "em sums up statistics exactly"
    parts = ("statistics",)

    def __init__(
        self,
        model: Model | Mapping[str, Any],
        tolerance: float = 1e-5,
        monitor: str = "val/log_likelihood",
    ) -> None:
        if not 0 <= tolerance < math.inf:
            raise ConfigError(f"learner.tolerance must be at least 0, not {tolerance}")
        super().__init__(model, monitor, {"tolerance": tolerance})
        self.tolerance = tolerance
        self._sums: dict[str, Tensor] = {}  # of the pass so far
        self._latest: float | None = None  # log-likelihood an image of the latest whole pass
        self.converged = False

    def check_model(self) -> None:
        if not hasattr(self.model, "statistics"):
            raise ConfigError(
                f"{self.model.name} cannot be trained by em: it defines no statistics(x, labels) and "
                "maximize(statistics)"
            )
        super().check_model()

    # Training

    def configure_optimizers(self) -> None:
        """No optimiser: Lightning puts an empty one in its place, whose steps are what it counts."""

    def on_train_start(self) -> None:
        entry = (self._resumed or {}).get("em")
        if entry and entry["sums"] and self._resumed["loader"] is None:  # type: ignore[index]
            raise ZooError("the run was interrupted within a pass, and its loader cannot go on there (no state_dict)")
        super().on_train_start()
        if 0 <= self.trainer.max_steps < self._batches:
            raise ConfigError(
                f"trainer.max_steps={self.trainer.max_steps} ends before the first pass, of {self._batches} batches: "
                "em would leave the model where it started"
            )
        self._counter: Any = self.optimizers()
        self.model.eval()
        if entry:
            self._latest = entry["log_likelihood"]
            if self.trainer.is_global_zero:  # they are those of all processes together
                self._sums = {key: value.to(self.device) for key, value in entry["sums"].items()}

    def begin_epoch(self) -> None:
        super().begin_epoch()
        self._sums = {}

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        x, labels = batch
        with torch.no_grad(), explained(self.model):
            for key, value in self.trained.statistics(x, labels).items():
                if key in self._sums:
                    self._sums[key] += value
                else:
                    self._sums[key] = (
                        value.clone() if value.device.type == "mps" else value.to(torch.float64, copy=True)
                    )
            self._totals["seen"] += len(labels)
            self._totals["batches"] += 1
            if self.trainer.is_last_batch:
                self._maximize()
        self._counter.step()

    # Lightning looks at the signature each step; a stored one is found ten times faster
    training_step.__signature__ = inspect.signature(training_step)  # type: ignore[attr-defined]

    def _maximize(self) -> None:
        sums = self._reduced()
        value = float(sums["log_likelihood"]) / float(sums["images"])
        if not math.isfinite(value):
            raise ZooError(
                f"the log-likelihood became {value} in epoch {self.current_epoch}: "
                "raise what keeps probabilities from zero (model.floor, or the model's smoothing)"
            )
        self.model.maximize(sums)
        self._sums = {}
        old, self._latest = self._latest, value
        near = self.model.is_counted if old is None else abs(value - old) <= self.tolerance * abs(value)
        self.converged = bool(self.tolerance) and near

    def _reduced(self) -> dict[str, Tensor]:
        """The statistics of all processes together."""
        sums = dict(self._sums)
        if self.trainer.world_size > 1:
            sums = {key: value.clone() for key, value in sums.items()}
            for key in sorted(sums):
                torch.distributed.all_reduce(sums[key])
        return sums

    def on_train_epoch_end(self) -> None:
        speed = self.end_epoch()
        self._sums = {}  # not empty where max_steps has cut the pass short
        assert self._latest is not None  # there is no run without a whole pass
        self.log_dict({"train/log_likelihood": self._latest, "images_per_second": speed})
        if self.converged:
            self.trainer.should_stop = True

    def on_train_end(self) -> None:
        self.model.train()  # as it was found

    # Checkpoints

    def on_save_checkpoint(self, state: dict[str, Any]) -> None:
        super().on_save_checkpoint(state)
        state["em"] = {"log_likelihood": self._latest, "converged": self.converged, "sums": self._reduced()}

    def on_load_checkpoint(self, state: dict[str, Any]) -> None:
        super().on_load_checkpoint(state)
        assert self._resumed is not None
        self._resumed["em"] = state["em"]
