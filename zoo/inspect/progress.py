"""A progress bar whose cost cannot be measured, and the metrics of each epoch as a row."""

from __future__ import annotations

import csv
import io
import os
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

REFRESH_SECONDS = 0.2


class ProgressBar(Checkpoint):  # Lightning calls these after the learner's own end of epoch, other callbacks before
    """One Rich bar over all steps of the run; a line an epoch. Without a terminal only the lines, at most ten."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self._bar: Progress | None = None
        self._clock = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero or not self.console.is_terminal:
            return
        columns = (BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("<"), TimeRemainingColumn())
        self._bar = Progress(TextColumn("{task.description}"), *columns, console=self.console, auto_refresh=False)
        batches = float(trainer.num_training_batches) * (trainer.max_epochs or 1)
        if 0 < trainer.max_steps < batches or batches <= 0:
            batches = trainer.max_steps
        self._task = self._bar.add_task("training", total=batches, completed=trainer.global_step)
        self._bar.start()

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self._bar is None or (now := time.monotonic()) - self._clock < REFRESH_SECONDS:
            return
        self._clock = now
        done = trainer.current_epoch * float(trainer.num_training_batches) + trainer.fit_loop.batch_idx + 1
        self._bar.update(self._task, completed=done, description=f"epoch {trainer.current_epoch + 1}", refresh=True)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch, last = trainer.current_epoch + 1, trainer.max_epochs or 0
        if not trainer.is_global_zero or (self._bar is None and epoch % max(1, last // 10) and epoch != last):
            return
        shown = {"train/loss": "loss", "val/accuracy": "val accuracy", "val/nll": "val nll"}
        values = [
            f"{label} {float(trainer.callback_metrics[key]):.4f}"
            for key, label in shown.items()
            if key in trainer.callback_metrics
        ]
        self.console.print(f"epoch {epoch:>3}  " + "  ".join(values), highlight=False)

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._stop()


class EpochTable(Checkpoint):
    """``metrics.csv``: a row an epoch with everything that was logged. A resumed run continues the table."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: list[dict[str, str]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and self.path.is_file():
            with self.path.open(newline="") as file:
                self._rows = [row for row in csv.DictReader(file) if int(row["epoch"]) <= trainer.current_epoch]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero or getattr(trainer, "fast_dev_run", False):
            return
        values = {key: f"{float(value):.6g}" for key, value in sorted(trainer.callback_metrics.items())}
        self._rows.append({"epoch": str(trainer.current_epoch + 1), "step": str(trainer.global_step), **values})
        text = io.StringIO()
        writer = csv.DictWriter(text, list(dict.fromkeys(key for row in self._rows for key in row)))
        writer.writeheader()
        writer.writerows(self._rows)
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(text.getvalue())
        os.replace(temporary, self.path)
