"""What all training regimes share: the model, the clock of an epoch, validation and test passes, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torchmetrics.utilities.distributed import gather_all_tensors

from zoo import checkpoint, registry
from zoo.models._model import Model

LARGER_IS_BETTER = ("accuracy", "log_likelihood")


class Learner(LightningModule):
    """Lightning's view of a model.

    One batch is one ``training_step`` and, but for accumulated gradients, one ``global_step``, in every regime: curves
    of all models share an axis. Optimisation is manual, because the automatic path costs 0.2 ms a step more than all of
    a small model's own work is worth; nothing is logged from inside a step.

    A subclass defines :meth:`training_step`, :meth:`outputs` and :meth:`measure`, and what an epoch sums up.

    Args:
        model: made by ``zoo.create``, or its ``config``.
        monitor: the logged value that chooses ``best.ckpt``; None: no value tells, and the last epoch is what is kept.
        options: the subclass's other arguments, stored in checkpoints.

    Attributes:
        fallback_monitor: the logged value that stands for a run without validation.
    """

    fallback_monitor = "train/loss"

    def __init__(self, model: Model | Mapping[str, Any], monitor: str | None, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = (
            model if isinstance(model, nn.Module) else registry.create(model["name"], model["spec"], **model["options"])
        )
        self.monitor = monitor
        self.check_model()
        chosen = {} if monitor is None else {"monitor": monitor}
        self.save_hyperparameters(
            {"model": checkpoint.describe(self.model)["model"], **options, **chosen}, logger=False
        )
        self._outputs: list[tuple[Tensor, ...]] = []  # of a validation or test pass
        self._resumed: dict[str, Any] | None = None
        self._totals: dict[str, Any] = {"batches": 0}  # of the current epoch

    def check_model(self) -> None:
        """Raise ``ConfigError`` where this regime cannot train the model."""

    def check_trainer(self, trainer: Trainer) -> None:
        """Raise ``ConfigError`` where this regime cannot be carried out as ``trainer`` is set up."""

    @property
    def mode(self) -> str:
        """Whether a larger (``"max"``) or a smaller (``"min"``) value of ``monitor`` is better."""
        return "max" if self.monitor is not None and self.monitor.endswith(LARGER_IS_BETTER) else "min"

    @property
    def evaluated(self) -> Model:
        """The model that is validated, tested and loaded later."""
        return self.model

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_current_fx_name":  # a string that Lightning sets thirty times a step: no bookkeeping of modules
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    # Training

    def setup(self, stage: str) -> None:
        if stage == "fit":
            self.check_trainer(self.trainer)

    def on_train_start(self) -> None:
        self._batches = self.trainer.num_training_batches
        if self._resumed is not None:  # go on with the random numbers and the batch that were next
            restore_rng(self._resumed["rng"], self.device)
            loader: Any = self.trainer.train_dataloader
            if self._resumed["loader"] is not None:
                loader.load_state_dict(self._resumed["loader"])
            self._resumed = None
        self.begin_epoch()  # Lightning does not announce the epoch where a run goes on in the middle of one

    def on_train_epoch_start(self) -> None:
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Set the epoch's totals and clock to zero. A subclass adds its own."""
        self._totals = {"seen": 0, "batches": 0}
        self._seconds = 0.0
        self._clock = time.perf_counter()

    def on_validation_start(self) -> None:
        if self.trainer.world_size > 1:  # running statistics differ; those of rank 0 are saved, so they are validated
            for buffer in self.buffers():
                torch.distributed.broadcast(buffer, 0)
        if not self.trainer.sanity_checking and self.trainer.state.fn == "fit":
            self._seconds += time.perf_counter() - self._clock

    def on_validation_end(self) -> None:
        self._clock = time.perf_counter()

    def end_epoch(self) -> float:
        """Stop the clock; the images a second of all processes together."""
        self._seconds += time.perf_counter() - self._clock
        self._totals["batches"] = 0  # a checkpoint from here on begins with the next epoch
        return self._totals["seen"] * self.trainer.world_size / max(self._seconds, 1e-9)

    # Validation and test

    def outputs(self, x: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        """What a batch contributes to :meth:`measure`: tensors with a row an image."""
        raise TypeError(f"{type(self).__name__} defines no outputs")

    def measure(self, stage: str, *parts: Tensor) -> dict[str, float]:
        """Values to log after a pass over ``"val"`` or ``"test"``, from the joined :meth:`outputs` of all images."""
        raise TypeError(f"{type(self).__name__} defines no measure")

    def _collect(self, batch: tuple[Tensor, Tensor]) -> None:
        self._outputs.append(self.outputs(*batch))

    def _summary(self, stage: str) -> None:
        parts = [torch.cat(part) for part in zip(*self._outputs, strict=True)]
        self._outputs.clear()
        if self.trainer.world_size > 1:  # processes may hold unequal numbers of images
            parts = [torch.cat(gather_all_tensors(part.contiguous())) for part in parts]
        values = {f"{stage}/{key}": value for key, value in self.measure(stage, *parts).items()}
        self.log_dict(values, sync_dist=self.trainer.world_size > 1)

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


def name_of(model: Any) -> str:
    """A model's registered name, for messages; its class where it has none."""
    return getattr(model, "config", {}).get("name") or type(model).__name__


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
