"""What all training regimes share: the model, the clock of an epoch, validation and test passes, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torchmetrics.utilities.distributed import gather_all_tensors

from zoo import checkpoint, registry
from zoo.base import memory
from zoo.base.generative import has_classes
from zoo.base.model import Model
from zoo.data import kinds
from zoo.data.batches import Batches
from zoo.errors import ConfigError, ZooError
from zoo.learners._compile import check_compiler, compiled_view, explained
from zoo.learners._means import EpochMeans

AUROC = "val/auroc"  # of two classes
START_BATCH = 4096  # images at a time while the start is looked for, at most
LARGER_IS_BETTER = ("accuracy", "auroc", "log_likelihood")


def larger_is_better(monitor: str | None) -> bool:
    """Whether a larger value of what is logged by that name is better."""
    return monitor is not None and monitor.endswith(LARGER_IS_BETTER)


class Learner(LightningModule):
    """Lightning's view of a model.

    One batch is one ``training_step`` and, but for accumulated gradients, one ``global_step``, in every regime: curves
    of all models share an axis. Optimisation is manual, because the automatic path costs 0.2 ms a step more than all of
    a small model's own work is worth; nothing is logged from inside a step.

    A model that has ``initialize`` and is not ``initialized`` yet is initialised on the whole training split, in its
    stored order and without augmentation, before the first batch. Random numbers for it are a function of the run's
    seed alone: the global stream stays where it was, and every regime starts from the same parameters.

    A subclass defines :meth:`training_step`, :meth:`outputs` and :meth:`measure`, and what an epoch sums up.

    Args:
        model: made by ``zoo.create``, or its ``config``.
        monitor: the logged value that chooses ``best.ckpt``; None: no value tells, and the last epoch is what is kept.
        options: the subclass's other arguments, stored in checkpoints.

    Attributes:
        fallback_monitor: the logged value that stands for a run without validation.
        precisions: the values of ``trainer.precision`` that this regime can be carried out in, and ``digits``, why in
            no other.
        parts: what :meth:`compile_training` compiles, see :func:`zoo.learners._compile.compiled_view`.
    """

    fallback_monitor = "train/loss"
    precisions: tuple[str, ...] = ("32-true", "64-true", "bf16-mixed", "16-mixed", "bf16-true")
    digits = "float16 is too narrow for weights and their gradients"
    parts: tuple[str, ...] = ()
    needs_labels: Any = True  # whether every training image must have its class

    def __init__(self, model: Model | Mapping[str, Any], monitor: str | None, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model if isinstance(model, nn.Module) else registry.rebuild(model)
        self.monitor = monitor
        if not isinstance(self.model, Model):
            raise ConfigError(f"{type(self.model).__name__} is no model of the zoo: it must extend zoo.Model")
        if self.model.spec.missing and not self.model.learns_from_gaps:
            able = ", ".join(registry.models_that(lambda cls: cls.learns_from_gaps))
            reason = f"cannot be trained on data of which values are missing; models that can: {able}"
            raise ConfigError(f"{self.model.name} {reason}")
        if monitor == AUROC and self.model.spec.num_classes != 2:
            raise ConfigError(
                f"learner.monitor={AUROC} is of two classes, and the data has {self.model.spec.num_classes}: "
                "learner.monitor=val/nll"
            )
        self.check_model()
        chosen = {} if monitor is None else {"monitor": monitor}
        self.save_hyperparameters(
            {"model": checkpoint.describe(self.model)["model"], **options, **chosen}, logger=False
        )
        self.validated: tuple[Tensor, Tensor] | None = None  # log p(y | x) and classes of the last validation pass
        self._outputs: list[tuple[Tensor, ...]] = []  # of a validation or test pass
        self._resumed: dict[str, Any] | None = None
        self._totals: dict[str, Any] = {"batches": 0}  # of the current epoch
        self.means = EpochMeans()
        self._compiles = False
        self._view: tuple[Model, ...] = ()  # what is compiled, in a tuple, which hides it from the names of modules

    def check_model(self) -> None:
        """Raise ``ConfigError`` where this regime cannot train the model."""

    def check_trainer(self, trainer: Trainer) -> None:
        """Raise ``ConfigError`` where this regime cannot be carried out as ``trainer`` is set up."""
        if trainer.precision not in self.precisions:
            allowed = f"{', '.join(self.precisions[:-1])} or {self.precisions[-1]}"
            raise ConfigError(f"{self.digits}: trainer.precision={allowed}, not {trainer.precision}")
        if self._compiles:
            check_compiler(trainer.strategy.root_device)

    def compile_training(self) -> None:
        """Have what a training step calls of the model compiled when training starts, which takes some seconds.

        A model that cannot be compiled is a ``ConfigError`` in the first step. Names, checkpoints and random numbers
        are those of a training that is not compiled; validation and test are not compiled.
        """
        self._compiles = True

    @property
    def trained(self) -> Model:
        """The model as a training step calls it: with compiled parts where :meth:`compile_training` was called."""
        return self._view[0] if self._view else self.model

    @property
    def mode(self) -> str:
        """Whether a larger (``"max"``) or a smaller (``"min"``) value of ``monitor`` is better."""
        return "max" if larger_is_better(self.monitor) else "min"

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

    def on_fit_start(self) -> None:
        """Raises ``ConfigError`` where classes are hidden from a training that needs them, or a batch takes too much
        memory."""
        self.trainer.fit_loop.setup_data()
        loader = self.trainer.train_dataloader
        if isinstance(loader, Batches):
            self._require_memory(-(-len(loader.split) // (len(loader) * self.trainer.world_size)))
        if not isinstance(loader, Batches) or not loader.split.hides_classes:
            return
        noun = kinds.find(loader.split.kind).NOUN
        if self.needs_labels:
            raise ConfigError(
                f"this training of {self.model.name} needs the class of every {noun}, and data.labels hides some: "
                f"data.train_size in its place trains on the labelled {noun}s alone"
            )
        if self._compiles and has_classes(self.model):
            raise ConfigError(
                "compile=true: what is done with a batch depends on which of its classes data.labels hides: leave "
                "compile out"
            )

    def _require_memory(self, batch: int) -> None:
        each = self.model.bytes_an_example
        fits = int(memory.budget() // each) if each else batch
        smaller = f"data.batch_size={fits} does, {self.model.lighter}" if fits else self.model.lighter
        memory.require(batch * each, f"a batch of {batch} examples of {self.model.name}", smaller)

    def on_train_start(self) -> None:
        self.initialize()
        if self._compiles:
            self._view = (compiled_view(self.model, self.parts),)
            self.training_step = explained(type(self).training_step.__get__(self), self.model.name)  # type: ignore
        self._batches = self.trainer.num_training_batches
        self.begin_epoch()  # Lightning does not announce the epoch where a run goes on in the middle of one
        rank = self.trainer.global_rank
        if self._resumed is not None:  # go on with the random numbers and the batch that were next
            restore_rng(self._resumed["rngs"][rank], self.device)
            loader: Any = self.trainer.train_dataloader
            if self._resumed["loader"] is not None:
                loader.load_state_dict(self._resumed["loader"])
            if self._resumed["so_far"] is not None:
                self.load_epoch(self._resumed["so_far"])
            self._resumed = None
        elif rank:  # noise and dropout are its own; initial weights and the order of images are those of all
            torch.manual_seed(stream(torch.initial_seed(), rank))

    def initialize(self) -> None:
        """Find parameters to start from, the same ones in every process, unless the model has them already."""
        model = self.model
        if not hasattr(model, "initialize") or bool(getattr(model, "initialized", True)):
            return
        self.trainer.fit_loop.setup_data()
        loader: Any = self.trainer.train_dataloader
        if isinstance(loader, Batches):
            loader = Batches(loader.split, memory.at_once(START_BATCH, math.prod(loader.split.shape)))
        generator = torch.Generator(self.device).manual_seed(torch.initial_seed())
        with torch.no_grad():
            model.initialize(_Moved(self, loader), generator)
        if self.trainer.world_size > 1:  # machines may differ in the last digit
            for tensor in [*model.parameters(), *model.buffers()]:
                torch.distributed.broadcast(tensor.data, 0)

    def on_train_epoch_start(self) -> None:
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Set the epoch's totals, means and clock to zero. A subclass adds its own."""
        self._totals = {"seen": 0, "batches": 0}
        metrics = self.trainer.callback_metrics  # which Lightning keeps from epoch to epoch
        for key in [key for key in metrics if key.startswith("val/")]:
            del metrics[key]
        self.means = EpochMeans(self.trainer.world_size)
        self._seconds = 0.0
        self._clock = time.perf_counter()

    def epoch_state(self) -> dict[str, Any]:
        """What an epoch has summed up so far in all processes, as plain data. A subclass adds its own."""
        seconds = self._seconds + time.perf_counter() - self._clock
        return {
            "totals": dict(self._totals),
            "validated": {k: float(v) for k, v in self.trainer.callback_metrics.items() if k.startswith("val/")},
            "means": self.means.state_dict(),
            "seconds": seconds,
            "batches": self._batches,
            "processes": self.trainer.world_size,
        }

    def load_epoch(self, state: dict[str, Any]) -> None:
        """Go on with an epoch from its :meth:`epoch_state`."""
        self._totals = dict(state["totals"])
        self.trainer.callback_metrics.update({key: torch.tensor(value) for key, value in state["validated"].items()})
        self.means.load_state_dict(state["means"], self.device, self.trainer.is_global_zero)
        self._seconds = state["seconds"]

    @property
    def between_steps(self) -> bool:
        """Whether all that was computed from the batches so far is in the parameters, or in :meth:`epoch_state`."""
        return True

    def check_finite(self) -> None:
        """Raise ``ZooError`` where a weight is no number any more, with the step: what is kept stays as it was."""
        self._refuse(self.state_dict(), torch.isnan, "no number")

    def _refuse(self, tensors: Mapping[str, Tensor], wrong: Callable[[Tensor], Tensor], what: str) -> None:
        values = {name: value for name, value in tensors.items() if value.is_floating_point()}
        # one look at the device; a sum is also infinite, or no number, for other reasons
        if not values or not wrong(torch.stack([value.detach().sum().float() for value in values.values()])).any():
            return
        for name, value in values.items():
            if wrong(value).any():
                raise ZooError(
                    f"{name} has become {what} by step {self.global_step}, in epoch {self.current_epoch}: "
                    "it is not kept, and what was kept before is as it was"
                )

    def on_validation_start(self) -> None:
        if self.trainer.sanity_checking:  # which Lightning does before anything else
            self.initialize()
        self._share_buffers()
        if not self.trainer.sanity_checking and self.trainer.state.fn == "fit":
            self._seconds += time.perf_counter() - self._clock

    def on_validation_end(self) -> None:
        self._clock = time.perf_counter()

    def _share_buffers(self) -> None:
        """Running statistics differ between processes; those of rank 0 are saved, so they are what all have."""
        if self.trainer.world_size > 1:
            for buffer in self.buffers():
                torch.distributed.broadcast(buffer, 0)

    def end_epoch(self) -> float:
        """Stop the clock; the images a second of all processes together."""
        self._seconds += time.perf_counter() - self._clock
        self._share_buffers()
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
        with torch.autocast(self.device.type, enabled=False):  # as the model will be used
            self._outputs.append(self.outputs(*batch))

    def _summary(self, stage: str) -> None:
        parts = [torch.cat(part) for part in zip(*self._outputs, strict=True)]
        self._outputs.clear()
        parts = [self.gathered(part) for part in parts]
        values = {f"{stage}/{key}": value for key, value in self.measure(stage, *parts).items()}
        if stage == "val" and self.monitor == AUROC and AUROC not in values and not self.trainer.sanity_checking:
            raise ZooError(
                f"learner.monitor={AUROC} needs validation examples of both classes: learner.monitor=val/nll"
            )
        self.log_dict(values, sync_dist=self.trainer.world_size > 1)

    def gathered(self, part: Tensor) -> Tensor:
        """The rows of ``part`` of all processes, which may hold unequal numbers of them."""
        return part if self.trainer.world_size == 1 else torch.cat(gather_all_tensors(part.contiguous()))

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
        state["rng"], *state["other_rngs"] = self._rngs()
        # Lightning's own copy is not read again once configure_optimizers has asked for the number of steps
        loader: Any = self.trainer.train_dataloader
        inside = self._totals["batches"] > 0 and hasattr(loader, "state_dict")
        state["loader"] = loader.state_dict() if inside else None
        state["so_far"] = self.epoch_state() if inside else None

    def on_load_checkpoint(self, state: dict[str, Any]) -> None:
        if self._trainer is not None:  # Lightning would do so when the weights have been rounded to float32
            self._trainer.precision_plugin.convert_module(self)
            check_processes(state, self._trainer.world_size)
        self._resumed = {
            "rngs": [state["rng"], *state.get("other_rngs", ())],
            "loader": state["loader"],
            "so_far": state.get("so_far"),
            "steps": state["global_step"],
            "epochs": state["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"],
        }

    def _rngs(self) -> list[dict[str, Tensor]]:
        """:func:`rng` of each process."""
        own, count = rng(self.device), self.trainer.world_size
        if count == 1:
            return [own]
        every = {key: gather_all_tensors(state.to(self.device)) for key, state in own.items()}
        return [{key: states[rank].cpu() for key, states in every.items()} for rank in range(count)]


class _Moved:
    """A loader's batches as ``training_step`` gets them: on the model's device, in its precision. Can be repeated."""

    def __init__(self, learner: Learner, loader: Iterable[Any]) -> None:
        self.learner = learner
        self.loader = loader

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        convert, device = self.learner.trainer.precision_plugin.convert_input, self.learner.device
        for x, labels in self.loader:
            yield convert(x).to(device), labels.to(device)


def check_processes(state: Mapping[str, Any], count: int) -> None:
    """Raise ``ConfigError`` where the run of a checkpoint would go on in another number of processes."""
    before = 1 + len(state.get("other_rngs", ()))
    if before != count:
        raise ConfigError(
            f"the run goes on with as many processes as it was trained by, {before}, not {count}, each with its own "
            f"random numbers and share of a batch: trainer.devices × trainer.num_nodes is to be {before}"
        )


def stream(seed: int, rank: int) -> int:
    """A seed for the process of a rank."""
    return int(np.random.SeedSequence((seed, rank)).generate_state(1, np.uint64)[0] >> 1)


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
