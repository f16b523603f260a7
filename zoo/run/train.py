"""One training run: build, fit, test what was saved, write down what happened."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from lightning.fabric.utilities.exceptions import MisconfigurationException
from rich.console import Console

from zoo import checkpoint, registry, terminal
from zoo.base.generative import Latent
from zoo.data.datamodule import ImageDataModule
from zoo.data.splits import Split
from zoo.errors import ConfigError, ZooError
from zoo.files import write_json, write_yaml
from zoo.inspect.latents import LatentPictures
from zoo.inspect.progress import Progress
from zoo.learners import learner_class
from zoo.plain import read_yaml
from zoo.run import machine, record
from zoo.run.record import Settings, run_directory
from zoo.run.stop import TERMINATED, stoppable
from zoo.run.trainer import build_trainer, checkpoints, quiet
from zoo.tasks import sample_quality
from zoo.tasks.evaluate import Evaluation, evaluate, remarks, tells


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
    console = terminal.console()
    started = time.perf_counter()
    dry = bool(settings["trainer"]["fast_dev_run"])
    with quiet(), stoppable(), run_directory(settings, resume, target) as run:
        learner, data, trainer = build(settings, run, console)
        if resume:
            _check_unfinished(resume, settings)
        if not dry and trainer.is_global_zero:
            write_yaml(run / "config.yaml", settings)
        names = f"{settings['model']['name']} on {settings['data']['name']}"
        size = sum(parameter.numel() for parameter in learner.model.parameters())
        console.print(f"{names}: {len(data.splits.train):,} training images, {size:,} parameters")
        for note in data.splits.notes:
            console.print(terminal.printable(note), soft_wrap=True)
        setup = time.perf_counter()
        fit(learner, data, trainer, run, resume is not None)
        fitted = time.perf_counter()
        logged = trainer.callback_metrics
        if not {learner.monitor, learner.fallback_monitor} & {*logged}:
            raise ConfigError("training came to its end before its first epoch did: no step was made")
        value = float(logged[learner.monitor if learner.monitor in logged else learner.fallback_monitor])
        if dry:
            batches = int(settings["trainer"]["fast_dev_run"])
            some = "one batch" if batches == 1 else f"{batches} batches"
            console.print(f"fast_dev_run: {some} went through everything; nothing was saved")
        elif trainer.is_global_zero:
            if not (run / "last.ckpt").is_file():  # Lightning goes on where a checkpoint cannot be written
                raise ZooError(f"no checkpoint could be written to {run}: is it writable, is the disk full?")
            best = record.best(run, learner, value)
            # what is reported is what is kept: the checkpoint as a user will load it
            model = registry.load(run)
            evaluation = evaluate(model, data.splits.test) if tells(model) else Evaluation({}, None)
            if isinstance(model, Latent):
                evaluation.metrics.update(sample_quality.sample_metrics(model, data.splits, settings["data"]["name"]))
            seconds = {
                "setup": setup - started,
                "fit": fitted - setup + (record.earlier_seconds(run) if resume else 0),
                "test": time.perf_counter() - fitted,
            }
            summary = record.summarize(settings, learner, data, trainer, evaluation, seconds)
            summary["remarks"] = remarks(evaluation.metrics, model.spec, data.splits.train, trainer.callback_metrics)
            write_json(run / "summary.json", summary)  # numbers come before pictures, and before what is printed
            record.draw(settings, trainer, model, data, run, evaluation)
            record.report(console, run, summary, model, commands=target is None)
            value = best
    return value


def join(run: Path) -> None:
    """Take part in a training that another process has begun and that uses several: this is one of the others."""
    settings = read_yaml(run / "config.yaml")
    with quiet(), stoppable():
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
    name, options = registry.renewed(options.pop("name"), options)  # a run that is resumed may be an older one
    model = registry.create(name, data.spec, **options)
    options = dict(settings["learner"])
    learner = learner_class(options.pop("name"))(model, **options)
    callbacks: list[L.Callback] = [Progress(run / "metrics.csv", console)]
    if not settings["trainer"]["fast_dev_run"]:
        if pictures and isinstance(model, Latent):  # before Progress, which writes down what it logs
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


def fit(learner: Any, data: ImageDataModule, trainer: L.Trainer, run: Path, resume: bool) -> None:
    """Train. Raises ``ZooError`` where Lightning refuses the combination, or ends early."""
    os.environ["ZOO_RUN"], os.environ["ZOO_RESUME"] = str(run), str(int(resume))  # read by further processes: join()
    try:
        trainer.fit(learner, data, ckpt_path=run / "last.ckpt" if resume else None, weights_only=True)
    except MisconfigurationException as error:
        raise ConfigError(str(error)) from error
    except ValueError as error:
        if "`val_check_interval`" not in str(error):  # which Lightning compares with the data late
            raise
        raise ConfigError(f"trainer.val_check_interval: {str(error).strip()}") from error
    except SystemExit as end:
        if not trainer.interrupted or end.code == TERMINATED:
            raise
        kept = (run / "last.ckpt").is_file()
        hint = (
            f"to go on: python train.py {terminal.override('resume', run)}"
            if kept
            else "there is no checkpoint yet to go on from"
        )
        raise KeyboardInterrupt(f"interrupted; {hint}") from end  # which Lightning had turned into an exit
    finally:
        del os.environ["ZOO_RUN"], os.environ["ZOO_RESUME"]


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
