"""A progress bar whose cost cannot be measured, and the metrics of each epoch as a row."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Progress_

from zoo import terminal
from zoo.base.generative import has_classes
from zoo.errors import DataError
from zoo.files import write_text
from zoo.plain import read_rows

REFRESH_SECONDS = 0.5
SHOWN = {
    "train/loss": "loss",
    "train/log_likelihood": "log p",
    "train/d_loss": "discriminator",
    "train/g_loss": "generator",
    "val/nats_per_token": "val nats/token",
    "val/log_likelihood": "val log p",
    "val/accuracy": "val accuracy",
    "val/nll": "val nll",
}
LEAST = ("val/nll", "train/loss", "train/log_likelihood")  # what a line leaves out first, where not all fits
WIDTH = 80  # columns of a line, at most


class Progress(Checkpoint):
    """What a run shows while it goes on: a Rich bar, a line an epoch, and ``metrics.csv``, a row an epoch.

    Without a terminal there is no bar, and ten lines at most. A resumed run continues the table. It is one callback,
    because Lightning walks through all of them five times a step; and a ``Checkpoint``, because those are called after
    the learner's own end of epoch, other callbacks before.

    >>> import lightning as L, zoo
    >>> learner = zoo.ClassificationLearner(zoo.create("mlp"))
    >>> data = zoo.ImageDataModule("digits", val_size=200)
    >>> quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    >>> shown = zoo.Progress("metrics.csv")
    >>> trainer = L.Trainer(max_epochs=1, accelerator="cpu", callbacks=[shown], **quiet)
    >>> trainer.fit(learner, data)
    epoch   1  loss ...
    >>> open("metrics.csv").readline()
    'epoch,step,images_per_second,train/accuracy,train/loss,val/accuracy,val/ece,val/loss,val/nll\\n'

    Args:
        path: the table.
        console: where bar and lines go; the standard output if left out.
    """

    def __init__(self, path: str | Path, console: Console | None = None) -> None:
        self.path = Path(path)
        self.console = console or terminal.console()
        self._bar: Progress_ | None = None
        self._clock = 0.0
        self._rows: list[dict[str, str]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.is_file():
            rows = read_rows(self.path, DataError)
            if not all(row.get("epoch", "").isdecimal() for row in rows):
                raise DataError(f"{self.path} is no table of epochs, or a damaged one: delete it, and the run goes on")
            self._rows = [row for row in rows if int(row["epoch"]) <= trainer.current_epoch]
        if self.console.is_terminal:
            columns = (BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("<"), TimeRemainingColumn())
            self._bar = Progress_(TextColumn("{task.description}"), *columns, console=self.console, auto_refresh=False)
            steps = float(trainer.num_training_batches) * (trainer.max_epochs or 1)
            if 0 < trainer.max_steps < steps or steps <= 0:
                steps = trainer.max_steps
            self._task = self._bar.add_task("training", total=steps, completed=trainer.global_step)
            self._bar.start()

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self._bar is None or (now := time.monotonic()) - self._clock < REFRESH_SECONDS:
            return
        self._clock = now
        done = trainer.current_epoch * float(trainer.num_training_batches) + trainer.fit_loop.batch_idx + 1
        self._bar.update(self._task, completed=done, description=f"epoch {trainer.current_epoch + 1}", refresh=True)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        epoch, last = trainer.current_epoch + 1, trainer.max_epochs or 0
        values = {key: float(value) for key, value in sorted(trainer.callback_metrics.items())}
        if self._bar is not None or epoch % max(1, last // 10) == 0 or epoch == last or trainer.should_stop:
            self.console.print(_line(epoch, values, getattr(pl_module, "model", None)), highlight=False)
        if not getattr(trainer, "fast_dev_run", False):
            texts = {key: f"{value:.6g}" for key, value in values.items()}
            self._rows.append({"epoch": str(epoch), "step": str(trainer.global_step), **texts})
            self._write()

    def _write(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(dict.fromkeys(key for row in self._rows for key in row)))
        writer.writeheader()
        writer.writerows(self._rows)
        write_text(self.path, text.getvalue())

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._bar is not None:  # full, also where it came to its end early
            done = trainer.current_epoch * float(trainer.num_training_batches) or trainer.global_step
            self._bar.update(self._task, total=done, completed=done, description="trained")
        self._stop()
        if trainer.is_global_zero and getattr(pl_module, "converged", False):
            passes = trainer.current_epoch
            self.console.print(f"converged after {passes} pass{'' if passes == 1 else 'es'}")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._stop()


def _line(epoch: int, values: Mapping[str, float], model: Any) -> str:
    """The epoch's most important values, as many as fit: accuracies in percent, densities of an example in nats, of the
    class, too, where the model is one of p(x, y), and marked where they are bounds."""
    shown = {key: values[key] for key in SHOWN if key in values}
    if {"train/loss", "val/nats_per_token"} <= shown.keys():  # the loss is in nats per token, too
        shown = {key: value for key, value in shown.items() if not key.endswith("/log_likelihood")}
    loss, likelihood = (shown.get(f"train/{name}", math.nan) for name in ("loss", "log_likelihood"))
    if math.isclose(loss, -likelihood, rel_tol=1e-5):
        del shown["train/loss"]
    bound = getattr(getattr(model, "density", None), "kind", "") == "lower bound"
    density = f"log p({'x,y' if has_classes(model) else 'x'}){' ≥' if bound else ''}"
    words = {}
    for key, value in shown.items():
        digits = 4 if abs(value) < 100 else 2  # densities are products over pixels
        number = f"{value:.2%}" if key.endswith("accuracy") else f"{value:.{digits}f}"
        words[key] = f"{SHOWN[key].replace('log p', density)} {number}"
    for key in [key for key in words if key.endswith("/log_likelihood")][-1:]:  # of both
        words[key] += " nats"
    line = f"epoch {epoch:>3}"
    for key in (*LEAST, *SHOWN):
        if len("  ".join([line, *words.values()])) > WIDTH:
            words.pop(key, None)
    return "  ".join([line, *words.values()])
