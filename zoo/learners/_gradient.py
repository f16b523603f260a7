"""Training by gradient: any optimiser and schedule of torch, averaged weights, a loss curve."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Mapping
from typing import Any, cast

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.precision import Precision
from torch import Tensor, nn

from zoo.base.model import Model
from zoo.data.batches import Batches
from zoo.errors import ConfigError, DivergedError
from zoo.learners._learner import Learner
from zoo.learners.optimization import AveragedWeights, build_optimizer, build_schedule


class GradientLearner(Learner):
    """Minimises :meth:`loss`. With ``accumulate`` > 1, ``global_step`` counts optimiser steps.

    Validation and ``best.ckpt`` use the averaged weights where ``ema`` is on. Between the points of the loss curve a
    step never waits for the device. A step that 16-mixed leaves out, because a scaled gradient was not finite, counts
    for schedule and average nevertheless: to know that it was left out would be to wait.

    Args:
        model: made by ``zoo.create``, or its ``config``.
        optimizer: ``name`` of a ``torch.optim`` class, or ``"Muon"``, and its options, see :func:`build_optimizer`.
        schedule: ``name`` of a ``torch.optim.lr_scheduler`` class, or ``"none"``, and its options.
        ema: decay a step of the averaged weights, in [0, 1); 0 keeps no average.
        clip: largest L2 norm of the gradient; 0 does not clip.
        monitor: the logged value that chooses ``best.ckpt`` and drives ``ReduceLROnPlateau``; None for none.
        options: the subclass's other arguments, stored in checkpoints; among them may be ``accumulate``, the number of
            batches over whose images the gradient of an optimiser step is averaged; those that are left at the end of
            an epoch make a step of their own.

    Logged every N steps: ``step/loss``, ``step/lr``, ``step/gradient_norm``, before it is clipped. Raises ``ZooError``
    in a training whose loss is not finite, at the next of these steps, or before anything is kept.

    Attributes:
        steadier: what helps such a training, beside a lower rate.
    """

    steadier = " or set learner.clip"
    norms: tuple[str, ...] = ("gradient_norm",)  # what those of its optimisers are called

    def __init__(
        self,
        model: Model | Mapping[str, Any],
        optimizer: Mapping[str, Any],
        schedule: Mapping[str, Any],
        ema: float,
        clip: float,
        monitor: str | None,
        **options: Any,
    ) -> None:
        own = {"optimizer": dict(optimizer), "schedule": dict(schedule)}
        super().__init__(model, monitor, {**own, "ema": ema, "clip": clip, **options})
        self.accumulate = options.get("accumulate", 1)
        if not (0 <= ema < 1 and clip >= 0 and self.accumulate >= 1):
            raise ConfigError("ema must be in [0, 1), clip at least 0, accumulate at least 1")
        self.ema = AveragedWeights(self.averaged, ema) if ema else None
        self.optimizer_options, self.schedule_options = own["optimizer"], own["schedule"]
        self.clip = clip
        # a mistake in these is an error now, not after the run has begun
        trial = build_optimizer(self.model, **self.optimizer_options)
        tried = build_schedule(trial, 100, **self.schedule_options)
        schedules = torch.optim.lr_scheduler
        if isinstance(tried, schedules.LRScheduler) and not isinstance(tried, schedules.ReduceLROnPlateau):
            try:
                with warnings.catch_warnings(action="ignore"):  # of a step of the optimiser that it should follow
                    tried.step()
            except ArithmeticError as error:
                raise ConfigError(f"learner.schedule: {self.schedule_options['name']}: {error}") from error

    @property
    def averaged(self) -> nn.Module:
        """What ``ema`` averages."""
        return self.model

    @property
    def evaluated(self) -> Model:
        """The model that is validated, tested and loaded later: the average of the weights where there is one."""
        return self.model if self.ema is None else cast(Model, self.ema.module)

    def check_trainer(self, trainer: Trainer) -> None:
        super().check_trainer(trainer)
        if self.ema is not None and trainer.precision == "bf16-true":
            raise ConfigError(
                "an average moves in steps that bfloat16 rounds away: trainer.precision=bf16-mixed, or learner.ema=0"
            )

    def initialize(self) -> None:
        started = bool(getattr(self.model, "initialized", True))
        super().initialize()
        if self.ema is not None and not started:  # the average was copied from the model before
            self.evaluated.load_state_dict(self.model.state_dict())

    def loss(self, x: Tensor, labels: Tensor) -> Tensor:
        """The training criterion of a batch, averaged over its images. A subclass adds up its own totals here."""
        raise TypeError(f"{type(self).__name__} defines no loss")

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.model, **self.optimizer_options)
        self._schedule: Any = build_schedule(
            optimizer, self.total_steps(), monitored=self.mode, **self.schedule_options
        )
        if self._schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self._schedule}}

    def total_steps(self) -> int:
        """Optimiser steps of the whole run. Raises ``ConfigError`` where neither epochs nor steps are bounded."""
        trainer = self.trainer
        if math.isinf(trainer.estimated_stepping_batches):  # which also sets up the loader that is counted below
            raise ConfigError("the schedule needs the run's length: set trainer.max_epochs or trainer.max_steps")
        steps = trainer.max_steps
        if trainer.max_epochs is not None and trainer.max_epochs >= 0:
            each = math.ceil(trainer.num_training_batches / self.accumulate)
            whole = each * trainer.max_epochs
            if self._resumed is not None:  # what is done is done, in epochs that may have been of another length
                begun = (self._resumed["loader"] or {"next": 0})["next"] // self.accumulate
                whole = self._resumed["steps"] + each * (trainer.max_epochs - self._resumed["epochs"]) - begun
            steps = whole if steps < 0 else min(steps, whole)
        return max(int(steps), 2)  # OneCycleLR divides by steps - 1

    def on_train_start(self) -> None:
        optimizers: Any = self.optimizers()
        self._optimizers: list[Any] = optimizers if isinstance(optimizers, list) else [optimizers]
        self._optimizer = self._optimizers[0]
        self._plateau = isinstance(self._schedule, torch.optim.lr_scheduler.ReduceLROnPlateau)
        # Lightning's backward is for several processes and scaled gradients; where there are none, it only costs
        plugin: Any = self.trainer.precision_plugin
        alone = self.trainer.world_size == 1 and type(plugin) is Precision
        self._backward: Any = torch.Tensor.backward if alone else self._backward_in_any_case
        self._scaler = getattr(plugin, "scaler", None)
        if self.ema is not None:
            self.ema.follow(self.averaged)
        loader: Any = self.trainer.train_dataloader
        self._shared = loader if isinstance(loader, Batches) and self.trainer.world_size > 1 else None
        self._every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        self._draws = self.logger is not None
        self._norms: dict[str, Tensor] = {}  # of the gradients of the step that is drawn next
        super().on_train_start()

    def begin_epoch(self) -> None:
        super().begin_epoch()
        self._group: list[float] = []  # images of the batches whose gradients have been added up
        self._watched: list[tuple[int, str, Tensor]] = []  # batch, name and value of losses that were not looked at yet
        for optimizer in self._optimizers:
            optimizer.zero_grad()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        x, labels = batch
        loss = self.loss(x, labels)
        totals, size = self._totals, len(labels)
        self._group.append(self._mean_size(size, batch_idx))
        # in proportion to the batch's images; exact where all batches of the step have as many as the first
        share = self.accumulate * self._group[0] / size
        self._backward(loss if share == 1 else loss / share)
        self.means.add(size, loss=loss)
        self.watch(loss=loss)
        totals["seen"] += size
        totals["batches"] += 1
        if (batch_idx + 1) % self.accumulate == 0 or batch_idx + 1 == self._batches:
            self._step()

    # Lightning looks at the signature each step; a stored one is found ten times faster
    training_step.__signature__ = inspect.signature(training_step)  # type: ignore[attr-defined]

    def _mean_size(self, size: int, batch_idx: int) -> float:
        """The images of a batch in a process, of which this one has ``size``, on average over the processes: gradients
        are averaged over processes, and are to be those of the mean over images."""
        return size if self._shared is None else self._shared.whole(batch_idx) / self._shared.world_size

    def _step(self) -> None:
        optimizer = self._optimizer
        expected, images = self.accumulate * self._group[0], sum(self._group)
        if images != expected:  # unequal batches, or fewer than usual
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            torch._foreach_mul_(gradients, expected / images)
        self._group = []
        optimizer.step()
        optimizer.zero_grad()
        if self._schedule is not None and not self._plateau:
            self._schedule.step()
        if self.ema is not None:
            self.ema.update()
        self._look()

    def _look(self) -> None:
        """What is done every N steps."""
        if self.global_step % self._every == 0:
            self.check_losses()
            self._draw_loss_curve()

    def watch(self, **losses: Tensor) -> None:
        """Remember losses of a batch, for :meth:`check_losses`; this does not wait for the device."""
        batch = self._totals["batches"]  # which costs less than to ask for the step
        self._watched += [(batch, name, value.detach()) for name, value in losses.items()]

    def check_losses(self) -> None:
        """Raise ``ZooError`` where a loss of a step was not finite, with the first one."""
        if self._watched:
            finite = torch.stack([value.float() for _, _, value in self._watched]).isfinite()
            if not finite.all():
                batch, name, value = self._watched[int((~finite).nonzero()[0])]
                done = batch // self.accumulate - self._watched[-1][0] // self.accumulate  # steps since, below zero
                step = self.global_step + done
                raise DivergedError(
                    f"train/{name} became {float(value)} at step {step}, in epoch {self.current_epoch}: lower "
                    f"learner.optimizer.lr (now {self.optimizer_options.get('lr')}){self.steadier}"
                )
        self._watched.clear()

    def check_finite(self) -> None:
        self.check_losses()
        super().check_finite()
        trained = {name: value for name, value in self.named_parameters() if value.requires_grad}
        self._refuse(trained, lambda value: ~value.isfinite(), "infinite")

    @property
    def between_steps(self) -> bool:
        return not self._group

    def _backward_in_any_case(self, loss: Tensor, **options: Any) -> None:
        with torch.autocast(self.device.type, enabled=False):  # which is for the forward pass alone
            self.manual_backward(loss, **options)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Bring the gradient of what ``optimizer`` steps to a norm of ``clip`` at most."""
        if not self.clip and not self.is_drawn:
            return
        # the gradients themselves, not their scaled copies; Lightning leaves this to the fused kernels
        if self._scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
            self._scaler.unscale_(optimizer)
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if self.clip:
            norm = nn.utils.clip_grad_norm_(parameters, self.clip)
        else:
            norm = nn.utils.get_total_norm([cast(Tensor, p.grad) for p in parameters])
        number = next(n for n, own in enumerate(self._optimizers) if getattr(own, "optimizer", own) is optimizer)
        self._norms[f"step/{self.norms[number]}"] = norm

    @property
    def is_drawn(self) -> bool:
        """Whether the step that is under way is a point of the curves."""
        return self._draws and (self.global_step + 1) % self._every == 0

    def _draw_loss_curve(self) -> None:
        if self.logger is None:
            return
        values = {f"step/{name}": value for name, value in self.means.latest("loss").items()}
        if values:
            rate = self._optimizer.param_groups[0]["lr"]
            norms = {name: float(norm) for name, norm in self._norms.items()}
            self._norms.clear()
            self.logger.log_metrics({**values, "step/lr": rate, **norms}, step=self.global_step)

    def step_plateau(self) -> None:
        """Show ``ReduceLROnPlateau`` the epoch's value of ``monitor``."""
        if self._plateau and self.monitor in self.trainer.callback_metrics:
            self._schedule.step(self.trainer.callback_metrics[self.monitor])

    def on_load_checkpoint(self, state: dict[str, Any]) -> None:
        super().on_load_checkpoint(state)
        for schedule in state.get("lr_schedulers", []):
            # a run that is resumed with more epochs keeps its place, and has the new length before it
            for key in ("total_steps", "T_max", "total_iters", "_schedule_phases"):
                schedule.pop(key, None)
