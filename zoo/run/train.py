"""One training run: build, fit, test what was saved, write down what happened."""

from __future__ import annotations

import contextlib
import csv
import inspect
import io
import json
import logging
import os
import re
import shutil
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console

from zoo import capability, checkpoint, registry
from zoo.data.datamodule import ImageDataModule
from zoo.data.splits import Split
from zoo.errors import ConfigError, ZooError, did_you_mean
from zoo.files import write_bytes, write_json, write_text
from zoo.inspect.figures import generative_figures, write_classifier
from zoo.inspect.latents import LatentPictures, draw_latents
from zoo.inspect.progress import Progress
from zoo.learners import learner_class
from zoo.models._latent import LatentModel
from zoo.models._model import Model
from zoo.tasks import machine, sample_quality
from zoo.tasks.evaluate import Evaluation, describe, evaluate, tells

Settings = dict[str, Any]

# Trainer arguments that this module sets
OURS = (
    "callbacks", "logger", "default_root_dir", "enable_checkpointing", "enable_progress_bar", "enable_model_summary",
)  # fmt: skip
NEEDLESS_WARNINGS = (
    "`LightningModule.configure_optimizers` returned `None`",  # EM has none
    "The number of training batches",  # fewer batches than log_every_n_steps: the curve has an epoch's points
    "The '\\w+_dataloader' does not have many workers",
    "Checkpoint directory .* exists and is not empty",  # the run directory is ours
    "`ModelCheckpoint\\(monitor=.*could not find the monitored key",  # no validation yet; last.ckpt is written
    "Total length of `list` across ranks is zero",  # val_size=0
    "`isinstance\\(treespec, LeafSpec\\)`",
    "You called `self.log\\('.*', ..., logger=True\\)` but have no logger",
    "You passed `Trainer\\(accelerator='cpu', precision='16-mixed'\\)`",  # which is an error here
)


def train(settings: Settings, resume: Path | None = None, target: Path | None = None) -> float:
    """Run a checked configuration from data to summary.

    Args:
        settings: the groups ``data``, ``model``, ``learner``, ``trainer``, ``logger``, and ``seed``, ``runs`` and
            ``compile``.
        resume: a run directory to go on in.
        target: where the run directory shall be; in ``runs`` under a name of its own if left out.

    Returns:
        The best value of the learner's monitor; that of its ``fallback_monitor``, in the last epoch, where nothing was
        validated.

    Raises:
        ZooError: the configuration cannot be carried out, for a reason the message gives. What fails before the first
            batch leaves no run directory.
    """
    console = Console(highlight=False)
    started = time.perf_counter()
    dry = bool(settings["trainer"]["fast_dev_run"])
    with quiet(), run_directory(settings, resume, target) as run:
        learner, data, trainer = build(settings, run, console)
        if resume:
            _check_unfinished(resume, settings)
        if not dry and trainer.is_global_zero:
            write_text(run / "config.yaml", yaml.safe_dump(settings, sort_keys=False))
        names = f"{settings['model']['name']} on {settings['data']['name']}"
        size = sum(parameter.numel() for parameter in learner.model.parameters())
        console.print(f"{names}: {len(data.splits.train):,} training images, {size:,} parameters")
        setup = time.perf_counter()
        fit(learner, data, trainer, run, resume is not None)
        fitted = time.perf_counter()
        logged = trainer.callback_metrics
        value = float(logged[learner.monitor if learner.monitor in logged else learner.fallback_monitor])
        if dry:
            console.print("fast_dev_run: one batch went through everything; nothing was saved")
        elif trainer.is_global_zero:
            if not (run / "last.ckpt").is_file():  # Lightning goes on where a checkpoint cannot be written
                raise ZooError(f"no checkpoint could be written to {run}: is it writable, is the disk full?")
            best = _best(run, learner, value)
            # what is reported is what is kept: the checkpoint as a user will load it
            model = checkpoint.load(run)
            evaluation = evaluate(model, data.splits.test) if tells(model) else Evaluation({}, None)
            if isinstance(model, LatentModel):
                evaluation.metrics.update(sample_quality.sample_metrics(model, data.splits, settings["data"]["name"]))
            seconds = {
                "setup": setup - started,
                "fit": fitted - setup + (_earlier_seconds(run) if resume else 0),
                "test": time.perf_counter() - fitted,
            }
            summary = summarize(settings, learner, data, trainer, evaluation, seconds)
            draw(settings, trainer, model, data, run, evaluation)
            write_json(run / "summary.json", summary)
            report(console, run, summary, model, commands=target is None)
            value = best
    return value


def join(run: Path) -> None:
    """Take part in a training that another process has begun and that uses several: this is one of the others."""
    settings = yaml.safe_load((run / "config.yaml").read_text())
    with quiet():
        learner, data, trainer = build(settings, run, Console(quiet=True))
        fit(learner, data, trainer, run, os.environ["ZOO_RESUME"] == "1")


def build(
    settings: Settings, run: Path, console: Console, pictures: bool = True, train: Split | None = None
) -> tuple[Any, ImageDataModule, L.Trainer]:
    """Learner, data and trainer of a configuration. Raises ``ZooError`` for what cannot be built.

    ``pictures``: whether a latent space is drawn each epoch. ``train``: images to train on in place of the source's.
    """
    L.seed_everything(settings["seed"], verbose=False)
    data = ImageDataModule(**settings["data"], seed=settings["seed"], train=train)
    options = dict(settings["model"])
    model = registry.create(options.pop("name"), data.spec, **options)
    options = dict(settings["learner"])
    learner = learner_class(options.pop("name"))(model, **options)
    callbacks: list[L.Callback] = [Progress(run / "metrics.csv", console)]
    if not settings["trainer"]["fast_dev_run"]:
        if pictures and isinstance(model, LatentModel):  # before Progress, which writes down what it logs
            callbacks.insert(0, latent_pictures(settings, data, run, console))
        callbacks.append(checkpoints(run, learner, validated=len(data.splits.val) > 0))
    trainer = build_trainer(settings, run, callbacks)
    if settings.get("compile"):  # which a run that is older than this key has not
        learner.compile_training()
    learner.check_trainer(trainer)
    console.print(machine.prepare(trainer.strategy.root_device) + ("; compiled" if settings.get("compile") else ""))
    return learner, data, trainer


def latent_pictures(settings: Settings, data: ImageDataModule, run: Path, console: Console) -> LatentPictures:
    """Shows a latent space on validation images, or training images where there are none."""
    measure = sample_quality.extractor(settings["data"]["name"])
    classify = None if measure is None else lambda images: measure(images)[1]
    return LatentPictures(run / "figures", data.splits.val or data.splits.train.labelled(), console, classify)


def build_trainer(settings: Settings, run: Path, callbacks: list[L.Callback]) -> L.Trainer:
    """Lightning's Trainer with this project's logger and callbacks. Raises ``ConfigError`` for what it refuses."""
    options = dict(settings["trainer"])
    valid = set(inspect.signature(L.Trainer).parameters) - set(OURS)
    for key in options:
        if key not in valid:
            raise ConfigError(f"unknown key 'trainer.{key}': {did_you_mean(key, valid, 'valid')}")
    if options["accelerator"] in ("gpu", "cuda") and not torch.cuda.is_available():
        raise ConfigError("this machine has no GPU that PyTorch can use: trainer=cpu or trainer=auto")
    logger = None
    if settings["logger"]["name"] == "tensorboard":
        logger = TensorBoardLogger(run, name="tensorboard", version="", default_hp_metric=False)
    try:
        trainer = L.Trainer(
            **{"num_sanity_val_steps": 0, **options},
            logger=logger or False,
            callbacks=callbacks,
            default_root_dir=run,
            enable_checkpointing=True,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise ConfigError(f"trainer: {error}") from error
    if trainer.precision != options["precision"]:  # Lightning has put another in its place
        wanted = f"trainer.precision={options['precision']}"
        raise ConfigError(f"{wanted} needs a GPU; on this device trainer.precision={trainer.precision}")
    return trainer


class BestAndLast(ModelCheckpoint):
    """Writes ``last.ckpt`` each epoch. Lightning does so with a new best alone: resumed runs would repeat epochs."""

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        if not self._should_skip_saving_checkpoint(trainer):  # nothing was written for this step
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))


def checkpoints(run: Path, learner: Any, validated: bool) -> ModelCheckpoint:
    """``last.ckpt`` after each epoch, and ``best.ckpt`` where the learner has a monitor and there is validation."""
    options: dict[str, Any] = {"dirpath": run, "enable_version_counter": False, "save_on_train_epoch_end": True}
    if not validated or learner.monitor is None:
        return ModelCheckpoint(filename="last", **options)
    return BestAndLast(filename="best", save_last=True, monitor=learner.monitor, mode=learner.mode, **options)


def fit(learner: Any, data: ImageDataModule, trainer: L.Trainer, run: Path, resume: bool) -> None:
    """Train. Raises ``ZooError`` where Lightning refuses the combination, or ends early."""
    os.environ["ZOO_RUN"], os.environ["ZOO_RESUME"] = str(run), str(int(resume))  # read by further processes: join()
    try:
        trainer.fit(learner, data, ckpt_path=run / "last.ckpt" if resume else None, weights_only=True)
    except MisconfigurationException as error:
        raise ConfigError(str(error)) from error
    except SystemExit as end:
        if not trainer.interrupted:
            raise
        kept = (run / "last.ckpt").is_file()
        hint = f"to go on: python train.py resume={run}" if kept else "there is no checkpoint yet to go on from"
        raise KeyboardInterrupt(f"interrupted; {hint}") from end  # which Lightning had turned into an exit
    finally:
        del os.environ["ZOO_RUN"], os.environ["ZOO_RESUME"]


# The run directory


@contextlib.contextmanager
def run_directory(settings: Settings, resume: Path | None, target: Path | None) -> Iterator[Path]:
    """A directory of this run's own, made without racing others; removed again if the run could not begin."""
    if resume:
        yield resume
        return
    names = "-".join(re.sub(r"[^\w.]+", "_", settings[group]["name"]) for group in ("model", "data"))
    wanted = target or Path(settings["runs"]) / f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{names}"
    run = _make_unique(wanted.parent, wanted.name)
    try:
        yield run
    except ConfigError:
        if not (run / "last.ckpt").is_file():
            shutil.rmtree(run)
        raise
    finally:
        for directory in (run, run.parent):
            with contextlib.suppress(OSError):  # it holds something
                directory.rmdir()


def _make_unique(parent: Path, stem: str) -> Path:
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for number in range(1, 100_000):
            run = parent / (stem if number == 1 else f"{stem}-{number}")
            with contextlib.suppress(FileExistsError):
                run.mkdir()
                return run
    except OSError as error:
        raise ConfigError(f"no run directory can be made in {parent}: {error.strerror}") from error
    raise ConfigError(f"{parent} is full of runs called {stem}")


def _check_unfinished(run: Path, settings: Settings) -> None:
    state = checkpoint.read(run / "last.ckpt")
    epochs, steps = settings["trainer"]["max_epochs"], settings["trainer"]["max_steps"]
    if state.get("em", {}).get("converged"):
        raise ConfigError("the run has converged; a new one with a smaller learner.tolerance would go on for longer")
    done = state["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    if done >= epochs:
        raise ConfigError(f"the run is complete with {done} epochs; to go on, add trainer.max_epochs={2 * done}")
    if 0 <= steps <= state["global_step"]:
        raise ConfigError(f"the run is complete with {steps} steps; to go on, add trainer.max_steps={2 * steps}")


# What happened


def _best(run: Path, learner: Any, latest: float) -> float:
    """The monitored value of the epoch that ``best.ckpt`` holds."""
    with (run / "metrics.csv").open(newline="") as file:
        values = [float(row[learner.monitor]) for row in csv.DictReader(file) if row.get(learner.monitor)]
    return (max if learner.mode == "max" else min)(values, default=latest)


def _earlier_seconds(run: Path) -> float:
    """Training time of the part of the run that had ended before; unknown, so 0, where it was interrupted."""
    path = run / "summary.json"
    return json.loads(path.read_text())["seconds"]["fit"] if path.is_file() else 0.0


def summarize(
    settings: Settings,
    learner: Any,
    data: ImageDataModule,
    trainer: L.Trainer,
    evaluation: Evaluation,
    seconds: dict[str, float],
) -> dict[str, Any]:
    """Everything needed to know what was run, on what, how long, and what came out. ``seconds`` are wall-clock."""
    last = {key: float(value) for key, value in trainer.callback_metrics.items()}
    return {
        "format": 1,
        "command": " ".join(["python", *sys.argv]),
        "model": settings["model"]["name"],
        "data": settings["data"]["name"],
        "seed": settings["seed"],
        "parameters": sum(parameter.numel() for parameter in learner.model.parameters()),
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "test": evaluation.metrics,
        "last_epoch": last,
        "seconds": {key: round(value, 3) for key, value in seconds.items()},
        "fingerprint": data.splits.fingerprint,
        "config": settings,
        **machine.describe(trainer.strategy.root_device),
    }


def draw(
    settings: Settings, trainer: L.Trainer, model: Model, data: ImageDataModule, run: Path, evaluation: Evaluation
) -> None:
    """What a generative model has learnt, as files in ``run/figures``; in TensorBoard that, pictures of a classifier's
    test split, and the hyperparameters beside the final metrics."""
    figures = {}
    if isinstance(model, LatentModel):  # TensorBoard has had these each epoch; the files are to show what is kept
        draw_latents(model, data.splits.val or data.splits.train.labelled(), run / "figures")
    else:
        figures = generative_figures(model, data.splits.test)
    for name, figure in figures.items():
        (run / "figures").mkdir(exist_ok=True)
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
        write_bytes(run / "figures" / f"{name}.png", picture.getvalue())
    if not isinstance(trainer.logger, TensorBoardLogger):
        return
    options, writer, step = settings["logger"], trainer.logger.experiment, trainer.global_step
    for name, figure in figures.items():
        writer.add_figure(f"model/{name}", figure, step)
    if evaluation.log_proba is not None:
        counts = options["mistakes"], options["embeddings"]
        write_classifier(writer, step, model, data.splits.test, evaluation.log_proba, *counts)
    metrics = {f"test/{key}": value for key, value in evaluation.metrics.items() if isinstance(value, float)}
    for key, value in metrics.items():
        writer.add_scalar(key, value, step)
    trainer.logger.log_hyperparams(_flat(settings), metrics, step=step)
    trainer.logger.finalize("success")


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif prefix or key == "seed":  # the run directory is no hyperparameter
            flat[f"{prefix}{key}"] = value if isinstance(value, (int, float, str, bool)) else str(value)
    return flat


def report(console: Console, run: Path, summary: Mapping[str, Any], model: Model, commands: bool) -> None:
    """The result, in lines of at most 80 characters, and commands that can be pasted."""
    lines = [f"test {line}" for line in describe(summary["test"])] + sample_quality.describe(summary["test"])
    seconds = f"({summary['seconds']['fit']:.1f} s of training)"
    if lines and len(lines[0]) + 2 + len(seconds) <= 80:
        lines[0] += f"  {seconds}"
    else:
        lines.append(seconds)
    for line in lines:
        console.print(line)
    if not commands:
        return
    kept = checkpoint.locate(run)
    for line in (
        *([f"tensorboard --logdir {run}"] if summary["config"]["logger"]["name"] == "tensorboard" else []),
        f"python scripts/evaluate.py ckpt={kept}",
        *([f"python scripts/sample.py ckpt={kept}"] if capability.support(model, "sample") != "no" else []),
        f"python -c \"import zoo; model = zoo.load('{run}')\"",
    ):
        console.print(line, soft_wrap=True)


# Silence


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Lightning's advertisements and the warnings that mean nothing here are left out; all others come through."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in NEEDLESS_WARNINGS:
            warnings.filterwarnings("ignore", message)
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
