"""What a run keeps: ``last.ckpt`` to go on from, ``best.ckpt`` to use, each of them whole at any moment."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.io import CheckpointIO
from lightning_utilities.core.apply_func import apply_to_collection

from zoo import checkpoint
from zoo.errors import CheckpointError, ConfigError, Stopped, ZooError, did_you_mean
from zoo.files import whole_file
from zoo.learners._learner import larger_is_better
from zoo.run.stop import Stop

MOMENTS = {
    "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "momentum_buffer", "square_avg", "grad_avg", "acc_delta",
    "sum", "ax", "prev", "step_size", "variance",
}  # fmt: skip
EARLIER = ("BestAndLast", "ModelCheckpoint")  # whose state the checkpoints of earlier versions have


class WholeFiles(CheckpointIO):
    """Checkpoints that are on the disk, in full, before they take the place of the ones before; read as plain data."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with whole_file(Path(path)) as file:
            torch.save(checkpoint, file)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        # copies: what is read is mapped from the file, which is about to be replaced
        return apply_to_collection(checkpoint.read(path), torch.Tensor, torch.clone)

    def remove_checkpoint(self, path: Any) -> None:
        """Nothing is removed: there are two names, and what has them is replaced."""


class Checkpoints(Checkpoint):
    """Writes ``last.ckpt`` at each epoch's end, and ``best.ckpt`` where the epoch's value of ``monitor`` is the best.

    >>> import lightning as L, zoo
    >>> learner = zoo.ClassificationLearner(zoo.create("mlp"))
    >>> data = zoo.ImageDataModule("digits", val_size=200)
    >>> quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    >>> shown = zoo.Checkpoints("run", "val/accuracy")
    >>> trainer = L.Trainer(max_epochs=1, accelerator="cpu", callbacks=[shown], **quiet)
    >>> trainer.fit(learner, data)
    >>> zoo.load("run").name
    'mlp'

    Where a signal asks for an end, the step that is under way is the last one: ``last.ckpt`` is written, and
    ``Stopped`` raised. What a checkpoint says of the run is numbers; where it lies is where the run is.

    Args:
        run: the run directory, which is made where it is not there.
        monitor: the logged value that tells the best epoch; None: no value does, and the last epoch is what is kept.
        patience: epochs without a better value after which training ends; 0: none.
        every: optimiser steps after which ``last.ckpt`` is written within an epoch; 0: not at all.
        stop: what signals ask.

    Attributes:
        best: the best value of ``monitor`` so far; None where there is none yet.
        since: epochs that have been validated since then.
        metrics: what was logged by the end of the last epoch.
        epochs, steps: how many there were by the last checkpoint.
        seconds: wall-clock time of training by then, earlier parts of the run included.
        began: whether a step was done: what was restored fits.

    Lightning's own ``ModelCheckpoint`` is not used beside it. Of several callbacks of the zoo, those that log,
    :class:`zoo.LatentPictures`, come before those that write what was logged, ``Progress`` and this one.

    Raises ``ZooError`` where a loss or a trained weight is not finite, or a value that was logged is no number: it is
    not kept; ``ConfigError`` where validation logs no value called ``monitor``.
    """

    def __init__(
        self,
        run: str | Path,
        monitor: str | None,
        every: int = 0,
        stop: Stop | None = None,
        patience: int = 0,
    ) -> None:
        self.run = Path(run)
        self.monitor = monitor
        self.every = every
        self.stop = stop or Stop()
        self.patience = patience
        self.since = 0
        self.best: float | None = None
        self.metrics: dict[str, float] = {}
        self.epochs = self.steps = 0
        self.seconds = 0.0
        self.began = False
        self._resumed = False

    @property
    def state_key(self) -> str:
        return "Checkpoints"

    # Training

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.run.mkdir(parents=True, exist_ok=True)
        _check_moments(trainer, self.run)
        self.stop.listen()  # Lightning has put a handler of its own in the place of ours
        self._started, self._before = time.perf_counter(), self.seconds
        self._saved = trainer.global_step

    def on_train_batch_start(self, *_: Any) -> None:
        self.stop.later = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.began = True
        asked = self._asked(trainer)
        due = 0 < self.every <= trainer.global_step - self._saved
        if not (asked or due) or not self._between(trainer, pl_module, batch_idx):
            return
        self._save(trainer, pl_module, "last")
        if asked:
            self._end()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.metrics = {key: float(value) for key, value in trainer.callback_metrics.items()}
        for key, value in self.metrics.items():
            if math.isnan(value):
                raise ZooError(f"{key} is no number in epoch {trainer.current_epoch}, at step {trainer.global_step}")
        validated = (
            self.monitor in self.metrics and (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
        )
        if self.monitor not in (None, *self.metrics) and any(key.startswith("val/") for key in self.metrics):
            known = did_you_mean(str(self.monitor), [key for key in self.metrics if key.startswith("val/")], "logged")
            raise ConfigError(f"{self.monitor} tells the best epoch, and nothing of that name is logged: {known}")
        if self.monitor in self.metrics and self._better(trainer, self.metrics[self.monitor]):
            self.best, self.since = self.metrics[self.monitor], 0
            self._save(trainer, pl_module, "best")
        else:
            self.since += validated
        if self.is_patient_no_more:
            trainer.should_stop = True
        self._save(trainer, pl_module, "last")

    @property
    def is_patient_no_more(self) -> bool:
        """Whether as many epochs as ``patience`` says were no better than the best one."""
        return 0 < self.patience <= self.since

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._asked(trainer):  # since the last epoch's end, whose curves are drawn after its checkpoint
            self._end()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.stop.later = False
        if self._asked(trainer):
            self._end()

    def _between(self, trainer: Trainer, pl_module: Any, batch_idx: int) -> bool:
        """Whether a run can go on from here: after an optimiser step, with neither validation nor the epoch's end due,
        which Lightning leaves out when it goes on from just before them."""
        after = batch_idx + 1
        checks: Any = trainer.val_check_batch
        validates = checks not in (None, math.inf) and after % checks == 0
        ends = after >= trainer.num_training_batches or 0 <= trainer.max_steps <= trainer.global_step
        return bool(not ends and not validates and pl_module.between_steps)

    def _asked(self, trainer: Trainer) -> bool:
        """Whether a signal asks for an end, in any of the processes."""
        if trainer.world_size > 1:
            number = torch.tensor(self.stop.asked or 0, device=trainer.strategy.root_device)
            torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX)
            self.stop.asked = int(number) or None
        return self.stop.asked is not None

    def _better(self, trainer: Trainer, value: float) -> bool:
        better = self.best is None or (value > self.best if larger_is_better(self.monitor) else value < self.best)
        return better if trainer.world_size == 1 else trainer.strategy.reduce_boolean_decision(better)

    def _save(self, trainer: Trainer, pl_module: Any, name: str) -> None:
        pl_module.check_finite()
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        progress: Any = trainer.fit_loop.epoch_progress.current
        self.epochs, self.steps = progress.processed, trainer.global_step
        self.seconds = self._before + time.perf_counter() - self._started
        if trainer.is_global_zero and isinstance(trainer.logger, TensorBoardLogger):
            trainer.logger.experiment.flush()  # curves are not behind what is gone on from
        trainer.save_checkpoint(self.run / f"{name}.ckpt")
        self._saved = trainer.global_step
        if self._resumed and trainer.is_global_zero:
            (self.run / "summary.json").unlink(missing_ok=True)  # of what was kept before

    def _end(self) -> None:
        """Every process of the training gets here, and ends."""
        self.stop.later = False
        raise Stopped(self.stop.asked or 0, agreed=True)

    # Going on

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "metrics": dict(self.metrics),
            "epochs": self.epochs,
            "steps": self.steps,
            "seconds": self.seconds,
            "since": self.since,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]
        self.metrics = dict(state_dict["metrics"])
        self.epochs, self.steps = state_dict["epochs"], state_dict["steps"]
        self.seconds = state_dict["seconds"]
        self.since = state_dict.get("since", 0)  # which a checkpoint of an earlier version has not

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._resumed = True
        self.restore(checkpoint)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what a checkpoint, :func:`zoo.checkpoint.read`, says of the run, also one of an earlier version."""
        entries = state["callbacks"]
        if self.state_key in entries:
            self.load_state_dict(entries[self.state_key])
        else:
            earlier = [entry for key, entry in entries.items() if key.startswith(EARLIER)]
            score = earlier[0].get("best_model_score") if earlier else None
            self.best = None if score is None else float(score)
            self.epochs, self.steps = processed(state), state["global_step"]
        if not (self.run / "best.ckpt").is_file():  # there is nothing that a later epoch could be worse than
            self.best = None


def _check_moments(trainer: Trainer, run: Path) -> None:
    """Raise ``CheckpointError`` where an optimiser that was restored has averages of other weights than its own: the
    kernels do not look, and would read what lies behind them."""
    for optimizer in trainer.optimizers:
        for weight, state in optimizer.state.items():
            for name in MOMENTS & state.keys():
                value = state[name]
                if value is not None and (not isinstance(value, torch.Tensor) or value.shape != weight.shape):
                    shape = tuple(getattr(value, "shape", ()))
                    raise CheckpointError(
                        f"the checkpoint in {run} cannot be gone on from: an optimiser's {name} is of the shape "
                        f"{shape}, and its weights are of {tuple(weight.shape)}"
                    )


def newest(run: Path) -> tuple[Path, dict[str, Any], str]:
    """The checkpoint that a run goes on from, and what it holds: ``last.ckpt``, or ``best.ckpt`` where that is damaged,
    with a sentence that says so.

    Raises ``CheckpointError`` where neither can be read.
    """
    last, best = run / "last.ckpt", run / "best.ckpt"
    try:
        return last, checkpoint.read_training(last), ""
    except CheckpointError as error:
        try:
            return best, checkpoint.read_training(best), f"{error}: the run goes on from {best.name}"
        except CheckpointError:
            raise error from None


def processed(state: Mapping[str, Any]) -> int:
    """The number of epochs that were finished when a checkpoint was written."""
    return int(state["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
