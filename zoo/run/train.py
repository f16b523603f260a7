"""One training run: build, fit, test what was saved, write down what happened."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from rich.console import Console

from zoo import registry, terminal
from zoo.base.generative import Latent
from zoo.data import kinds
from zoo.data.datamodule import ImageDataModule
from zoo.data.splits import Split
from zoo.errors import CheckpointError, ConfigError, DataError, Stopped, ZooError
from zoo.files import user_path, write_bytes, write_json, write_yaml
from zoo.inspect.figures import check_graph
from zoo.inspect.latents import LatentPictures
from zoo.inspect.progress import Progress
from zoo.inspect.samples import Samples, each_epoch
from zoo.inspect.training import TrainingPictures
from zoo.learners import learner_class
from zoo.learners._learner import check_processes
from zoo.plain import read_json, read_yaml
from zoo.run import machine, processes, record
from zoo.run.board import OLD_FOLDER, Board, tag_of
from zoo.run.checkpoints import Checkpoints, newest, processed
from zoo.run.curves import EPOCHS, join_curves
from zoo.run.record import Settings, run_directory
from zoo.run.stop import Stop, stoppable
from zoo.run.trainer import build_trainer, quiet, reach_logger, tell_profile
from zoo.tasks import reference, sample_quality
from zoo.tasks.evaluate import Evaluation, evaluate, remarks, tells


class Done(NamedTuple):
    """What a training came to.

    Attributes:
        value: the best one of the learner's monitor; that of its ``fallback_monitor``, in the last epoch, where nothing
            was validated.
        run: its directory.
    """

    value: float
    run: Path


def train(
    settings: Settings,
    resume: Path | None = None,
    target: Path | None = None,
    more: Sequence[L.Callback] = (),
    commands: bool = True,
) -> Done:
    """Run a checked configuration from data to summary.

    Args:
        settings: the groups ``data``, ``model``, ``learner``, ``trainer``, ``logger``, and ``seed``, ``runs`` and
            ``compile``.
        resume: a run directory to go on in.
        target: where the run directory shall be; in ``runs`` under a name of its own if left out.
        more: callbacks, beside those of every training.
        commands: whether the commands that use what was trained are told at the end, but for a ``target``.

    Raises:
        ZooError: the configuration cannot be carried out, for a reason the message gives. What fails before the first
            batch leaves no run directory.
    """
    with quiet(), stoppable() as stop, run_directory(settings, resume, target) as run:
        try:
            return Done(_train(settings, run, resume is not None, stop, more, commands and target is None), run)
        except Stopped as stopped:
            stopped.advice = _how_to_go_on(run)
            raise
        except Exception as error:
            if stop.asked is None:
                raise
            raise Stopped(stop.asked, f"{error}; {_how_to_go_on(run)}") from error


def _train(
    settings: Settings, run: Path, resume: bool, stop: Stop, more: Sequence[L.Callback], commands: bool
) -> float:
    console = terminal.console()
    started = time.perf_counter()
    dry = bool(settings["trainer"]["fast_dev_run"])
    ckpt, state, note = newest(run) if resume else (None, None, "")
    if note:
        console.print(terminal.printable(note), soft_wrap=True)
    learner, data, trainer = build(settings, run, console, stop=stop, more=more)
    if state is not None:
        _check_columns(state, data)
    kept = _kept(trainer)
    trained = state if state is not None and _is_trained(state, run, settings, trainer, data) else None
    if trainer.is_global_zero:
        reach_logger(trainer, settings, console)
    before = (run / "config.yaml").read_bytes() if resume else b""
    if (not dry or trainer.world_size > 1) and trainer.is_global_zero:  # which further processes read
        write_yaml(run / "config.yaml", settings)
    if isinstance(trainer.logger, Board) and trainer.is_global_zero and not resume:
        trainer.logger.begin(settings, record.command(), data.spec.values == "tokens")
    setup = time.perf_counter() - started
    if trained is not None:  # and was ended before what follows
        _rewind_curves(run, trained, kept)
    else:
        try:
            fit(learner, data, trainer, run, ckpt, state)
        except ConfigError:  # which Lightning notices late: the run stays as it was set up
            if before and trainer.is_global_zero:
                write_bytes(run / "config.yaml", before)
            raise
        tell_profile(trainer, console)
    if kept.is_patient_no_more:
        waited = f"{kept.since} epoch{'' if kept.since == 1 else 's'}"
        console.print(f"{learner.monitor} was no better for {waited}: training has ended")
    if not {learner.monitor, learner.fallback_monitor} & {*kept.metrics}:
        raise ConfigError("training came to its end before its first epoch did: no step was made")
    value = kept.metrics[learner.monitor if learner.monitor in kept.metrics else learner.fallback_monitor]
    if dry:
        (run / "config.yaml").unlink(missing_ok=True)
        batches = int(settings["trainer"]["fast_dev_run"])
        some = "one batch" if batches == 1 else f"{batches} batches"
        console.print(f"fast_dev_run: {some} went through everything; nothing was saved")
    elif trainer.is_global_zero:
        _conclude(settings, learner, data, trainer, run, console, setup, commands)
        value = value if kept.best is None else kept.best
    return value


def _conclude(
    settings: Settings,
    learner: Any,
    data: ImageDataModule,
    trainer: L.Trainer,
    run: Path,
    console: Console,
    setup: float,
    commands: bool,
) -> None:
    """Test what a run has kept, as a user will load it, and write down and show what came out."""
    started, kept = time.perf_counter(), _kept(trainer)
    model = registry.load(run)
    evaluation = Evaluation({}, None)
    if tells(model):
        with terminal.busy(console, f"testing, {len(data.splits.test):,} examples"):
            evaluation = evaluate(model, data.splits.test, costs=data.costs, validation=data.splits.val)
    if isinstance(model, Latent):
        with terminal.busy(console, "comparing samples with test examples"):
            evaluation.metrics.update(sample_quality.sample_metrics(model, data.splits, settings["data"]["name"]))
    seconds = {"setup": setup, "fit": kept.seconds, "test": time.perf_counter() - started}
    summary = record.summarize(settings, learner, data, trainer, kept, evaluation, seconds)
    summary["remarks"] = remarks(evaluation.metrics, model.spec, data.splits.train, kept.metrics)
    try:
        with terminal.busy(console, "drawing what was learnt"):
            record.draw(settings, trainer, kept.steps, model, data, run, evaluation, summary)
    finally:  # a run that has its summary is complete; the numbers are there whatever becomes of the pictures
        if not isinstance(sys.exc_info()[1], Stopped):
            write_json(run / "summary.json", summary)
    record.report(console, run, summary, model, commands)


def join(run: Path) -> None:
    """Take part in a training that another process has begun and has started this one for."""
    processes.end_with(os.getppid())
    ckpt = os.environ["ZOO_RESUME"]
    with quiet(), stoppable() as stop:
        learner, data, trainer = build(read_yaml(run / "config.yaml"), run, Console(quiet=True), stop=stop)
        fit(learner, data, trainer, run, Path(ckpt) if ckpt else None)


def take_part(settings: Settings, resume: Path | None = None) -> None:
    """As :func:`train`, in a process that torchrun or srun has started beside the first one, which writes and tells."""
    run = resume or user_path(settings["runs"])  # nothing is written there from here
    with quiet(), stoppable() as stop:
        ckpt, state, _ = newest(run) if resume else (None, None, "")
        learner, data, trainer = build(settings, run, Console(quiet=True), stop=stop)
        try:
            trained = state is not None and _is_trained(state, run, settings, trainer, data)
        except ConfigError:  # which the first one tells, unless it has come to the run's end by now
            return
        if not trained:
            fit(learner, data, trainer, run, ckpt, state)


def build(
    settings: Settings,
    run: Path,
    console: Console,
    pictures: bool = True,
    train: Split | None = None,
    stop: Stop | None = None,
    more: Sequence[L.Callback] = (),
) -> tuple[Any, ImageDataModule, L.Trainer]:
    """Learner, data and trainer of a configuration. Raises ``ZooError`` for what cannot be built.

    ``pictures``: whether a latent space, or samples, are drawn each epoch. ``train``: images to train on in place of
    the source's. ``stop``: what signals ask of the training. ``more``: callbacks, beside those of every training.
    """
    L.seed_everything(settings["seed"], verbose=False)
    data = ImageDataModule(**settings["data"], seed=settings["seed"], train=train)
    options = dict(settings["model"])
    name, options = registry.renewed(options.pop("name"), options)  # a run that is resumed may be an older one
    model = registry.create(name, data.spec, **options)
    if settings["logger"].get("graph"):
        check_graph(model)
    options = dict(settings["learner"])
    learner = learner_class(options.pop("name"))(model, **options)
    callbacks: list[L.Callback] = [*more, Progress(run / "metrics.csv", console)]
    if not settings["trainer"]["fast_dev_run"] and pictures and isinstance(model, Latent):
        callbacks.insert(0, latent_pictures(settings, data, run, console))  # before Progress, which writes what it logs
    if not settings["trainer"]["fast_dev_run"] and pictures and each_epoch(model):
        callbacks.insert(0, Samples(run / "figures"))
    if pictures and settings["logger"]["name"] == "tensorboard":
        callbacks.insert(0, TrainingPictures(data.spec))
    callbacks.append(
        Checkpoints(
            run,
            learner.monitor if len(data.splits.val) else None,
            every=settings.get("save_every", 0),  # which a run that is older than this key has not
            stop=stop,
            patience=settings.get("patience", 0),
        )
    )
    if settings.get("patience"):
        waits = f"patience={settings['patience']} waits for a better validation"
        if learner.monitor is None:
            raise ConfigError(f"{waits}, and nothing tells how good a {model.name} is")
        if not len(data.splits.val) or settings["trainer"]["limit_val_batches"] == 0:
            raise ConfigError(f"{waits}, and there is none: data.val_size, trainer.limit_val_batches")
    trainer = build_trainer(settings, run, callbacks)
    processes.check(trainer)
    if settings.get("compile"):
        learner.compile_training()
    learner.check_trainer(trainer)
    accumulate = settings["learner"].get("accumulate", 1)
    steps = _steps(data, trainer, accumulate)
    if settings["trainer"]["log_every_n_steps"] == "auto":
        trainer.log_every_n_steps = _points_every(steps)  # type: ignore
    size = learner.model.num_parameters
    noun = "window" if data.spec.is_running else kinds.find(data.spec.kind).NOUN
    count = f"{len(data.splits.train):,} training {noun}{'' if len(data.splits.train) == 1 else 's'}"
    lines = [count + (f", {size:,} parameters" if size else "")]
    lines += [*data.splits.notes, *learner.model.notes]
    if data.min_batches:
        times = steps * accumulate / math.ceil(len(data.splits.train) / (data.batch_size * trainer.world_size))
        changed = str(data.augment) or "none"
        lines.append(f"{steps:,} steps, in which each {noun} comes {times:,.0f} times; data.augment: {changed}")
    lines += [machine.prepare(trainer.strategy.root_device) + ("; compiled" if settings.get("compile") else "")]
    for line in lines:
        console.print(terminal.printable(line), soft_wrap=True)
    return learner, data, trainer


def _steps(data: ImageDataModule, trainer: L.Trainer, accumulate: int) -> int:
    """Optimiser steps of a training, from its beginning on."""
    steps = math.ceil(_batches(data, trainer) / accumulate) * (trainer.max_epochs or 1)
    return min(steps, trainer.max_steps) if trainer.max_steps >= 0 else steps


def _points_every(steps: int) -> int:
    """Steps from one point of the loss curve to the next: 50, or fewer, for 20 points in all."""
    return max(1, min(50, steps // 20))


def latent_pictures(settings: Settings, data: ImageDataModule, run: Path, console: Console) -> LatentPictures:
    """Shows a latent space on validation images, or training images where there are none."""
    measure = reference.extractor(settings["data"]["name"])
    classify = None if measure is None else lambda images: measure(images)[1]
    return LatentPictures(run / "figures", data.splits.val or data.splits.train.labelled(), console, classify)


def fit(
    learner: Any,
    data: ImageDataModule,
    trainer: L.Trainer,
    run: Path,
    ckpt: Path | None = None,
    state: Mapping[str, Any] | None = None,
) -> None:
    """Train, from the checkpoint ``ckpt`` on, where there is one, which holds ``state``.

    Raises ``ZooError`` where Lightning refuses the combination, or ends early.
    """
    try:
        if state is not None and trainer.is_global_zero:
            _rewind_curves(run, state, _kept(trainer))
        with processes.together(trainer, ZOO_RUN=str(run), ZOO_RESUME=str(ckpt or "")):  # which join() reads
            trainer.fit(learner, data, ckpt_path=ckpt, weights_only=True)
    except OSError as error:
        raise ZooError(f"{error.filename or run} cannot be written: {error.strerror or error}") from error
    except SystemExit as end:
        if not trainer.interrupted or isinstance(end, Stopped):
            raise
        # which Lightning had turned into an exit
        raise KeyboardInterrupt(f"interrupted; {_how_to_go_on(run)}") from end
    except Exception as error:
        explained = _explained(error, ckpt, trainer)
        if explained is error:
            raise
        raise explained from error


def _explained(error: Exception, ckpt: Path | None, trainer: L.Trainer) -> Exception:
    """What to say of an error in a training from ``ckpt`` on; itself where there is nothing to say."""
    first = (str(error).splitlines() or [""])[0]
    if isinstance(error, (ZooError, torch.OutOfMemoryError)):
        return error
    if isinstance(error, MisconfigurationException):
        return ConfigError(str(error))
    if isinstance(error, ValueError) and "`val_check_interval`" in str(error):  # which Lightning compares late
        return ConfigError(f"trainer.val_check_interval: {str(error).strip()}")
    operation, vary, _ = first.partition(" does not have a deterministic implementation")
    if vary:
        return ConfigError(
            f"trainer.deterministic=true: {operation} has results that vary here; trainer.deterministic=warn goes on"
        )
    if ckpt is not None and not _kept(trainer).began:  # while it was restored
        reason = f"{type(error).__name__}: {first[:200]}"
        return CheckpointError(
            f"{ckpt} cannot be gone on from: what it holds of the training does not fit it ({reason})"
        )
    return error


def _check_columns(state: Mapping[str, Any], data: ImageDataModule) -> None:
    """Raise ``DataError`` where a model has begun on rows that were standardised otherwise than they are now."""
    told = state.get("hyper_parameters", {}).get("model", {}).get("spec", {}).get("columns", [])
    if told != data.spec.to_dict().get("columns", []):
        raise DataError("the run began on columns that were standardised otherwise: it cannot go on, only be asked")


def _kept(trainer: L.Trainer) -> Checkpoints:
    return next(callback for callback in trainer.callbacks if isinstance(callback, Checkpoints))  # type: ignore


def _how_to_go_on(run: Path) -> str:
    if not (run / "last.ckpt").is_file():
        return "there is no checkpoint yet to go on from"
    return f"to go on: python train.py {terminal.override('resume', run)}"


def _rewind_curves(run: Path, state: Mapping[str, Any], kept: Checkpoints) -> None:
    """Have TensorBoard forget what was drawn after a checkpoint, which ``kept`` was restored from, and know what was
    not drawn any more before it."""
    steps, batches = state["global_step"], state["loops"]["fit_loop"]["epoch_loop.state_dict"]["_batches_that_stepped"]

    def holds(tag: str, step: int) -> bool:
        return step < batches if EPOCHS.match(tag) else step <= steps

    metrics = {} if state.get("so_far") or not kept.metrics else {**kept.metrics, "epoch": processed(state) - 1}
    points = {(tag_of(name), batches - 1): value for name, value in metrics.items() if name != "epoch"}
    for folder in (run, run / OLD_FOLDER):
        join_curves(folder, holds, points)


def _is_trained(
    state: Mapping[str, Any], run: Path, settings: Settings, trainer: L.Trainer, data: ImageDataModule
) -> bool:
    """Whether a training that is to go on, and is restored, has come to its end, and what follows has not.

    Raises ``ConfigError``, before anything is written, for one that is complete, or cannot go on as it is set up.
    """
    if settings["trainer"]["fast_dev_run"]:
        raise ConfigError("trainer.fast_dev_run tries what is to be begun, and keeps nothing: no run goes on with it")
    kept = _kept(trainer)
    kept.restore(state)
    epochs, steps = settings["trainer"]["max_epochs"], settings["trainer"]["max_steps"]
    done, converged = processed(state), bool(state.get("em", {}).get("converged"))
    if not (converged or kept.is_patient_no_more) and done < epochs and not 0 <= steps <= state["global_step"]:
        check_processes(state, trainer.world_size)
        _check_epoch(state, trainer, data)
        return False
    if kept.metrics and _summarized_steps(run) != state["global_step"]:
        return True
    if converged:
        raise ConfigError("the run has converged; a new one with a smaller learner.tolerance would go on for longer")
    if kept.is_patient_no_more:
        raise ConfigError(
            f"the run has ended: {kept.since} epoch{' was' if kept.since == 1 else 's were'} no better; a new one with "
            "more patience goes on"
        )
    if done >= epochs:
        raise ConfigError(f"the run is complete with {done} epochs; to go on, add trainer.max_epochs={2 * done}")
    raise ConfigError(f"the run is complete with {steps} steps; to go on, add trainer.max_steps={2 * steps}")


def _summarized_steps(run: Path) -> int | None:
    """The steps of the training that ``summary.json`` is about; None where there is none that can be read."""
    try:
        return read_json(run / "summary.json")["steps"]
    except (ZooError, KeyError, TypeError):
        return None


def _batches(data: ImageDataModule, trainer: L.Trainer) -> int:
    """How many batches an epoch of training has in each process."""
    limit, count = trainer.limit_train_batches, data.batches(trainer.world_size)
    return int(limit * count) if isinstance(limit, float) else min(limit, count)


def _check_epoch(state: Mapping[str, Any], trainer: L.Trainer, data: ImageDataModule) -> None:
    """Raise ``ConfigError`` where a run stopped within an epoch that is to be another one now."""
    begun = state.get("so_far")
    if not begun:
        return
    batches = _batches(data, trainer)
    if (begun["batches"], begun["processes"]) != (batches, trainer.world_size):
        raise ConfigError(
            f"the run stopped within an epoch of {begun['batches']} batches on {begun['processes']} processes, and "
            f"would go on in one of {batches} on {trainer.world_size}: leave trainer.limit_train_batches and "
            "trainer.devices as they were"
        )
