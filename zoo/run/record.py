"""What a run leaves behind: its directory, its summary and figures, and the lines that tell of them."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as L
from filelock import FileLock, Timeout
from rich.console import Console

from zoo import capability, checkpoint
from zoo.base.generative import Latent
from zoo.base.model import Model
from zoo.data.datamodule import ImageDataModule
from zoo.errors import ConfigError
from zoo.files import remove_unfinished, user_path
from zoo.inspect import kinds
from zoo.inspect.figures import (
    PROJECTOR,
    classifier_figures,
    keep,
    rendered,
    show,
    write_codes,
    write_graph,
    write_precision_recall,
)
from zoo.inspect.latents import draw_latents
from zoo.inspect.samples import each_epoch
from zoo.run import machine
from zoo.run.board import Board, figures
from zoo.run.checkpoints import Checkpoints
from zoo.run.curves import join_curves
from zoo.tasks import sample_quality
from zoo.tasks.evaluate import Evaluation, describe
from zoo.terminal import printable, typed, word

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Settings = dict[str, Any]
LOCK = ".lock"  # held by the process that has a run directory, or a search, to itself


@contextlib.contextmanager
def run_directory(settings: Settings, resume: Path | None, target: Path | None) -> Iterator[Path]:
    """A directory of this run's own, made without racing others, in which no other process trains meanwhile; removed
    again if the run could not begin."""
    if resume:
        with _alone(resume):
            remove_unfinished(resume)
            yield resume
        return
    parts = [settings["model"]["name"], settings["data"]["name"]]
    if settings["data"].get("path"):  # which of one's own pictures, or tables
        path = Path(settings["data"]["path"])
        parts.append(path.name if path.is_dir() else path.stem)
    names = "-".join(re.sub(r"[^\w.]+", "_", part, flags=re.ASCII).strip("_")[:40] or "data" for part in parts)
    wanted = target or user_path(settings["runs"]) / f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{names}"
    made = not wanted.parent.exists()
    run = _make_unique(wanted.parent, wanted.name)
    try:
        with _alone(run):
            yield run
    except ConfigError:
        if not (run / "last.ckpt").is_file():
            shutil.rmtree(run, ignore_errors=True)
        raise
    finally:
        for directory in (run, run.parent) if made else (run,):
            with contextlib.suppress(OSError):  # it holds something
                directory.rmdir()


@contextlib.contextmanager
def _alone(run: Path) -> Iterator[None]:
    """Raises ``ConfigError`` where another process trains in ``run``, or something in it leads elsewhere."""
    links = [path for path in sorted(run.rglob("*")) if path.is_symlink()]
    if links:
        raise ConfigError(f"{links[0]} is a link: what a run writes stays in its directory, so this one cannot go on")
    with locked(run, f"{run} is in use: another process trains there at this moment"):
        yield


@contextlib.contextmanager
def locked(folder: Path, busy: str) -> Iterator[None]:
    """This process alone has ``folder``. Raises ``ConfigError``, which says ``busy`` where another one has it."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(busy) from None
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror or error}") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # whoever waits for a file that is gone by then makes a new one
            (folder / LOCK).unlink()
        lock.release()


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


def command() -> str:
    """What trains the same again, as it is typed."""
    return shlex.join([*typed("train").split(), *sys.argv[1:]])


def summarize(
    settings: Settings,
    learner: Any,
    data: ImageDataModule,
    trainer: L.Trainer,
    kept: Checkpoints,
    evaluation: Evaluation,
    seconds: dict[str, float],
) -> dict[str, Any]:
    """Everything needed to know what was run, on what, how long, and what came out. ``seconds`` are wall-clock."""
    return {
        "format": 1,
        "command": command(),
        "model": settings["model"]["name"],
        "data": settings["data"]["name"],
        "seed": settings["seed"],
        "parameters": learner.model.num_parameters,
        "epochs": kept.epochs,
        "steps": kept.steps,
        "test": evaluation.metrics,
        "last_epoch": kept.metrics,
        "seconds": {key: round(value, 3) for key, value in seconds.items()},
        "fingerprint": data.splits.fingerprint,
        "config": settings,
        **machine.describe(trainer.strategy.root_device),
    }


def draw(
    settings: Settings,
    trainer: L.Trainer,
    step: int,
    model: Model,
    data: ImageDataModule,
    run: Path,
    evaluation: Evaluation,
    summary: Mapping[str, Any],
) -> None:
    """What a generative model has learnt, and what a classifier does on the test split, as files in ``run/figures``; in
    TensorBoard that, single examples of the test split, recordings to be heard, codes, the summary, and the
    hyperparameters beside the figures of the test, which are all that any other logger is told."""
    shown, log_proba, test = kinds.find(model.spec.kind), evaluation.log_proba, data.splits.test
    drawn: dict[str, Figure | str] = {}
    if isinstance(model, Latent):  # TensorBoard has had these each epoch; the files are to show what is kept
        draw_latents(model, data.splits.val or data.splits.train.labelled(), run / "figures")
    if not isinstance(model, Latent) or model.spec.kind not in ("image", "sound"):
        drawn = {f"model/{name}": figure for name, figure in shown.learnt(model, test).items()}
    if log_proba is not None:
        of_classes = classifier_figures(log_proba, test.labels, evaluation.metrics, model.spec)
        drawn |= {f"test/{name}": figure for name, figure in of_classes.items()}
    pictures = {name: figure if isinstance(figure, str) else rendered(figure) for name, figure in drawn.items()}
    for name, picture in pictures.items():
        keep(run / "figures", name.rpartition("/")[2], picture)
    board = trainer.logger
    if not isinstance(board, Board):
        if board is not None:
            board.log_metrics(metrics=figures(summary), step=step)
            board.finalize("success")
        return
    options, writer = settings["logger"], board.experiment
    for path in Path(board.log_dir).iterdir():  # embeddings of what was kept before
        if path.name == PROJECTOR or re.fullmatch(r"\d+", path.name):  # a number: by an earlier version
            shutil.rmtree(path)
        elif path.name == "projector_config.pbtxt":
            path.unlink()
    if log_proba is not None:
        if options["mistakes"] and bool((log_proba.argmax(1) != test.labels).any()):
            mistakes = shown.mistakes(model, test, log_proba, options["mistakes"])
            pictures["test/worst_mistakes"] = mistakes if isinstance(mistakes, str) else rendered(mistakes)
            if isinstance(mistakes, str):
                keep(run, "mistakes", mistakes)
        write_precision_recall(writer, step, log_proba, test.labels, model.spec)
    if options["embeddings"] and capability.can(model, "encode"):
        write_codes(writer, model, test, options["embeddings"])
    if options.get("graph"):  # which a run that is older than this key has not
        write_graph(writer, model, test)
    if each_epoch(model):  # which TensorBoard has had each epoch, too
        del pictures["model/samples"]
    if hasattr(shown, "heard"):
        for name, recording in shown.heard(model, test, log_proba if options["mistakes"] else None).items():
            writer.add_audio(name, recording, step, model.spec.settings["rate"])
    for name, picture in pictures.items():
        show(writer, name, picture, step)
    board.end(summary, step)
    join_curves(Path(board.log_dir), keep=lambda tag, at: True, points={})


def report(console: Console, run: Path, summary: Mapping[str, Any], model: Model, commands: bool) -> None:
    """The result, in lines of at most 80 characters, and commands that can be pasted."""
    lines = [f"{'' if line.startswith(' ') else 'test '}{line}" for line in describe(summary["test"])]
    lines += sample_quality.describe(summary["test"])
    seconds = f"({summary['seconds']['fit']:.1f} s of training)"
    if lines and len(lines[0]) + 2 + len(seconds) <= 80:
        lines[0] += f"  {seconds}"
    else:
        lines.append(seconds)
    for line in [*lines, *summary["remarks"]]:
        console.print(printable(line), soft_wrap=True)
    if not commands:
        return
    kept, code = checkpoint.locate(run), f"import zoo; model = zoo.load({str(run)!r})"
    for line in (
        *(
            [f"tensorboard --logdir {shlex.quote(str(run.parent))}"]  # in which the run has its name
            if summary["config"]["logger"]["name"] == "tensorboard"
            else []
        ),
        f"{typed('evaluate')} {word('ckpt', kept)}",
        *([f"{typed('sample')} {word('ckpt', kept)}"] if capability.can(model, "sample") else []),
        f'python -c "{code}"' if shlex.quote(str(run)) == str(run) else f"python -c {shlex.quote(code)}",
    ):
        console.print(line, soft_wrap=True)
