"""Training of p(y | x): logits to a loss, by any optimiser and schedule."""

from __future__ import annotations

import collections
import inspect
import math
import time
from collections.abc import Mapping
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.plugins.precision import Precision
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torchmetrics.utilities.distributed import gather_all_tensors

from zoo import checkpoint, registry
from zoo.errors import ConfigError, ZooError
from zoo.learners.optimization import build_optimizer, build_schedule
from zoo.metrics.classification import summarize
from zoo.models._model import Model

CALIBRATION_IMAGES = 5000  # how many recent training images calibrate a model where there is no validation split


class ClassificationLearner(LightningModule):
    """Lightning's view of a classifier.

    One batch is one ``training_step``. Optimisation is manual, because the automatic path costs 0.2 ms a step more
    than all of a small model's own work is worth; nothing is logged from inside a step but the loss curve, every
    ``Trainer.log_every_n_steps`` steps. With ``accumulate`` > 1, ``global_step`` counts optimiser steps.

    Validation and ``best.ckpt`` use the averaged weights where ``ema`` is on.

    Args:
        model: a classifier made by ``zoo.create``, or its ``config``.
        optimizer: ``name`` of a ``torch.optim`` class and its options.
        schedule: ``name`` of a ``torch.optim.lr_scheduler`` class, or ``"none"``, and its options.
        ema: decay a step of the averaged weights, in [0, 1); 0 keeps no average.
        label_smoothing: mass moved from the true class to all, in [0, 1).
        clip: largest L2 norm of the gradient; 0 does not clip.
        accumulate: batches whose gradients are averaged for one optimiser step.
        monitor: the logged value that chooses ``best.ckpt`` and drives ``ReduceLROnPlateau``.

    Logged an epoch: ``train/loss``, ``train/accuracy``, ``images_per_second``, ``val/loss`` (the criterion),
    ``val/accuracy``, ``val/nll`` (nats), ``val/ece``; every N steps ``step/loss``, ``step/lr``.
    """

    def __init__(
        self,
        model: Model | Mapping[str, Any],
        optimizer: Mapping[str, Any] | None = None,
        schedule: Mapping[str, Any] | None = None,
        ema: float = 0.0,
        label_smoothing: float = 0.0,
        clip: float = 0.0,
        accumulate: int = 1,
        monitor: str = "val/accuracy",
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = (
            model if isinstance(model, nn.Module) else registry.create(model["name"], model["spec"], **model["options"])
        )
        if not hasattr(self.model, "loss") or not hasattr(self.model, "log_proba"):
            raise ConfigError(f"{type(self.model).__name__} is no classifier: it defines no loss(logits, labels)")
        if not (0 <= ema < 1 and 0 <= label_smoothing < 1 and clip >= 0 and accumulate >= 1):
            raise ConfigError("ema and label_smoothing must be in [0, 1), clip at least 0, accumulate at least 1")
        self.ema = AveragedModel(self.model, multi_avg_fn=averaging(ema)).requires_grad_(False) if ema else None
        self.optimizer_options = dict(optimizer or {"name": "AdamW", "lr": 3e-3, "weight_decay": 0.01})
        self.schedule_options = dict(schedule or {"name": "OneCycleLR"})
        self.label_smoothing = label_smoothing
        self.clip = clip
        self.accumulate = accumulate
        self.monitor = monitor
        # a mistake in these is an error now, not after the run has begun
        try:
            self.model.loss(torch.zeros(1, self.model.spec.num_classes), torch.zeros(1).long(), label_smoothing)
        except ValueError as error:
            raise ConfigError(f"learner: {error}") from error
        build_schedule(build_optimizer(self.model.parameters(), **self.optimizer_options), 100, **self.schedule_options)
        self.save_hyperparameters(
            {
                "model": checkpoint.describe(self.model)["model"],
                "optimizer": self.optimizer_options,
                "schedule": self.schedule_options,
                "ema": ema,
                "label_smoothing": label_smoothing,
                "clip": clip,
                "accumulate": accumulate,
                "monitor": monitor,
            },
            logger=False,
        )
        self._outputs: list[tuple[Tensor, Tensor]] = []  # logits and labels of a validation or test pass
        self._recent: collections.deque[tuple[Tensor, Tensor]] = collections.deque()
        self._resumed: dict[str, Any] | None = None
        self._totals: dict[str, Any] = {"batches": 0}  # of the current epoch

    @property
    def mode(self) -> str:
        """Whether a larger (``"max"``) or a smaller (``"min"``) value of ``monitor`` is better."""
        return "max" if self.monitor.endswith("accuracy") else "min"

    @property
    def evaluated(self) -> Model:
        """The model that is validated, tested and loaded later: the average of the weights where there is one."""
        return self.model if self.ema is None else cast(Model, self.ema.module)

    def forward(self, x: Tensor) -> Tensor:
        return self.evaluated(x)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_current_fx_name":  # a string that Lightning sets thirty times a step: no bookkeeping of modules
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    # Training

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.model.parameters(), **self.optimizer_options)
        self._schedule: Any = build_schedule(optimizer, self.total_steps(), **self.schedule_options)
        if self._schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self._schedule}}

    def total_steps(self) -> int:
        """Optimiser steps of the whole run. Raises ``ConfigError`` where neither epochs nor steps are bounded."""
        trainer = self.trainer
        if math.isinf(trainer.estimated_stepping_batches):  # which also sets up the loader that is counted below
            raise ConfigError("the schedule needs the run's length: set trainer.max_epochs or trainer.max_steps")
        steps = math.ceil(trainer.num_training_batches / self.accumulate) * (trainer.max_epochs or 1)
        if trainer.max_epochs is None or trainer.max_epochs < 0 or 0 <= trainer.max_steps < steps:
            steps = trainer.max_steps
        return max(int(steps), 2)  # OneCycleLR divides by steps - 1

    def on_train_start(self) -> None:
        self._optimizer: Any = self.optimizers()
        self._plateau = isinstance(self._schedule, torch.optim.lr_scheduler.ReduceLROnPlateau)
        self._calibrates = hasattr(self.model, "calibrate")
        # Lightning's backward is for several processes and scaled gradients; where there are none, it only costs
        alone = self.trainer.world_size == 1 and type(self.trainer.precision_plugin) is Precision
        self._backward = torch.Tensor.backward if alone else self.manual_backward
        self._every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        self._batches = self.trainer.num_training_batches
        if self._resumed is not None:  # go on with the random numbers and the batch that were next
            restore_rng(self._resumed["rng"], self.device)
            loader: Any = self.trainer.train_dataloader
            if self._resumed["loader"] is not None:
                loader.load_state_dict(self._resumed["loader"])
            self._resumed = None
        self._begin_epoch()  # Lightning does not announce the epoch where a run goes on in the middle of one

    def on_train_epoch_start(self) -> None:
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        zero = torch.zeros((), device=self.device)
        self._totals = {"loss": zero.clone(), "right": zero.clone(), "seen": 0, "batches": 0}
        self._window = (0.0, 0)  # loss and images at the last point of the loss curve
        self._seconds = 0.0
        self._clock = time.perf_counter()
        self._optimizer.zero_grad()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        x, labels = batch
        logits = self.model(x)
        loss = self.model.loss(logits, labels, self.label_smoothing)
        self._backward(loss / self.accumulate if self.accumulate > 1 else loss)
        totals, size = self._totals, len(labels)
        totals["loss"].add_(loss.detach(), alpha=size)
        totals["right"].add_((logits.detach().argmax(1) == labels).sum())
        totals["seen"] += size
        totals["batches"] += 1
        if self._calibrates:
            self._remember(logits.detach(), labels)
        if (batch_idx + 1) % self.accumulate == 0 or batch_idx + 1 == self._batches:
            self._step()

    # Lightning looks at the signature each step; a stored one is found ten times faster
    training_step.__signature__ = inspect.signature(training_step)  # type: ignore[attr-defined]

    def _step(self) -> None:
        optimizer = self._optimizer
        if self.clip:
            scaler = getattr(self.trainer.precision_plugin, "scaler", None)
            if scaler is not None:  # clip the gradients themselves, not their scaled copies
                scaler.unscale_(optimizer.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        optimizer.step()
        optimizer.zero_grad()
        if self._schedule is not None and not self._plateau:
            self._schedule.step()
        if self.ema is not None:
            self.ema.update_parameters(self.model)
        if self.global_step % self._every == 0:
            self._draw_loss_curve()

    def _draw_loss_curve(self) -> None:
        if self.logger is None:
            return
        loss, seen = float(self._totals["loss"]), self._totals["seen"]
        if seen > self._window[1]:
            mean = (loss - self._window[0]) / (seen - self._window[1])
            rate = self._optimizer.param_groups[0]["lr"]
            self.logger.log_metrics({"step/loss": mean, "step/lr": rate}, step=self.global_step)
        self._window = (loss, seen)

    def on_validation_start(self) -> None:
        if self.trainer.world_size > 1:  # running statistics differ; those of rank 0 are saved, so they are validated
            for buffer in self.buffers():
                torch.distributed.broadcast(buffer, 0)
        if not self.trainer.sanity_checking and self.trainer.state.fn == "fit":
            self._seconds += time.perf_counter() - self._clock

    def on_validation_end(self) -> None:
        self._clock = time.perf_counter()

    def on_train_epoch_end(self) -> None:
        self._seconds += time.perf_counter() - self._clock
        totals = self._totals
        loss = float(totals["loss"]) / max(totals["seen"], 1)
        if not math.isfinite(loss):
            raise ZooError(
                f"the training loss became {loss} in epoch {self.current_epoch}: "
                f"lower learner.optimizer.lr (now {self.optimizer_options.get('lr')}) or set learner.clip"
            )
        if self._recent and not any(self.trainer.num_val_batches):
            self._calibrate(*(torch.cat(parts) for parts in zip(*self._recent, strict=True)))
        self._recent.clear()
        values = {
            "train/loss": loss,
            "train/accuracy": float(totals["right"]) / max(totals["seen"], 1),
            "images_per_second": totals["seen"] * self.trainer.world_size / max(self._seconds, 1e-9),
        }
        self.log_dict(values, sync_dist=self.trainer.world_size > 1)
        totals["batches"] = 0  # a checkpoint from here on begins with the next epoch
        if self._plateau and self.monitor in self.trainer.callback_metrics:
            self._schedule.step(self.trainer.callback_metrics[self.monitor])

    # Calibration

    def _remember(self, logits: Tensor, labels: Tensor) -> None:
        self._recent.append((logits, labels))
        while (len(self._recent) - 1) * len(labels) > CALIBRATION_IMAGES:
            self._recent.popleft()

    def _calibrate(self, logits: Tensor, labels: Tensor) -> None:
        for model in {self.model, self.evaluated}:
            model.calibrate(logits, labels)

    # Validation and test

    def _collect(self, batch: tuple[Tensor, Tensor]) -> None:
        x, labels = batch
        self._outputs.append((self.evaluated(x), labels))

    def _summary(self, stage: str) -> None:
        logits, labels = (torch.cat(parts) for parts in zip(*self._outputs, strict=True))
        self._outputs.clear()
        if self.trainer.world_size > 1:  # processes may hold unequal numbers of images
            logits, labels = (torch.cat(gather_all_tensors(part.contiguous())) for part in (logits, labels))
        logits = logits.float()
        if stage == "val" and hasattr(self.model, "calibrate"):
            self._calibrate(logits, labels)
        values = summarize(self.evaluated.log_proba(logits), labels)
        values["loss"] = float(self.evaluated.loss(logits, labels))
        self.log_dict({f"{stage}/{key}": value for key, value in values.items()}, sync_dist=self.trainer.world_size > 1)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._collect(batch)

    def on_validation_epoch_end(self) -> None:
        self._summary("val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._collect(batch)

    def on_test_epoch_end(self) -> None:
        self._summary("test")

    # Checkpoints

    def on_save_checkpoint(self, state: dict[str, Any]) -> None:
        state["zoo"] = checkpoint.describe(self.model)
        state["rng"] = rng(self.device)
        # Lightning's own copy is not read again once configure_optimizers has asked for the number of steps
        loader: Any = self.trainer.train_dataloader
        inside = self._totals["batches"] > 0 and hasattr(loader, "state_dict")
        state["loader"] = loader.state_dict() if inside else None

    def on_load_checkpoint(self, state: dict[str, Any]) -> None:
        self._resumed = {"rng": state["rng"], "loader": state["loader"]}
        for schedule in state.get("lr_schedulers", []):
            # a run that is resumed with more epochs keeps its place, and has the new length before it
            for key in ("total_steps", "T_max", "total_iters", "_schedule_phases"):
                schedule.pop(key, None)


def averaging(decay: float) -> Any:
    """The update of an exponential moving average that is not held back by its start.

    ``average += (1 - d) (current - average)`` with ``d = min(decay, (1 + n) / (10 + n))`` after n updates.
    """

    @torch.no_grad()
    def update(average: list[Tensor], current: list[Tensor], updates: Tensor) -> None:
        n = float(updates)
        torch._foreach_lerp_(average, current, 1 - min(decay, (1 + n) / (10 + n)))

    return update


def rng(device: torch.device) -> dict[str, Tensor]:
    """The state of the global random streams that ``training_step`` draws from."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_rng(state: Any, device: torch.device) -> None:
    """Continue the streams of :func:`rng`."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
