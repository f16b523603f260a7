"""An epoch of a learner under Lightning's Trainer, with everything that ``train.py`` switches on."""

from __future__ import annotations

import io
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from rich.console import Console

from zoo.benchmarks._data import device
from zoo.data.batches import Batches
from zoo.inspect.progress import Progress
from zoo.learners.adversarial import AdversarialLearner
from zoo.learners.classification import ClassificationLearner
from zoo.learners.likelihood import LikelihoodLearner
from zoo.run.board import Board
from zoo.run.checkpoints import Checkpoints, WholeFiles
from zoo.run.trainer import quiet


def learner_for(model: Any) -> Any:
    """The learner with its default options that trains ``model`` by gradient."""
    if hasattr(model, "discriminator_terms"):
        return AdversarialLearner(model)
    return (LikelihoodLearner if hasattr(model, "log_joint") else ClassificationLearner)(model)


def accelerator() -> str:
    """What Lightning calls :func:`zoo.benchmarks._data.device`."""
    return "gpu" if device().type == "cuda" else "cpu"


def terminal() -> Console:
    """A console that draws as on a terminal, where nobody sees it."""
    return Console(file=io.StringIO(), force_terminal=True, width=80)


class Clock(L.Callback):
    """Seconds of each epoch, from its first batch to that of the next one, or to the end of the run."""

    def __init__(self) -> None:
        self.starts: list[float] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        self.starts.append(time.perf_counter())

    def on_fit_end(self, *_: Any) -> None:
        self.starts.append(time.perf_counter())

    @property
    def seconds(self) -> list[float]:
        return [end - start for start, end in itertools.pairwise(self.starts)]


class Clocked(Clock, Progress):
    """``train.py``'s progress bar and table, which times epochs besides: each callback more would cost."""

    def __init__(self, path: Path, console: Console) -> None:
        Clock.__init__(self)
        Progress.__init__(self, path, console)


def epoch(learner: Any, train: Batches, val: Batches | None) -> float:
    """Seconds of one epoch of ``learner``, see :func:`epochs`."""
    return epochs(learner, train, val, 1)[0]


def epochs(learner: Any, train: Batches, val: Batches | None, count: int) -> list[float]:
    """Seconds of each of so many epochs of ``learner``, from its first batch to the next one's, or the end of the run.

    That includes validation, TensorBoard's loss curve, ``metrics.csv``, the progress bar, and ``last.ckpt`` and, where
    the learner has a monitor, ``best.ckpt``. The pictures that latent models show each epoch are left out: they are no
    training.

    Args:
        learner: a new one.
        train: what it is trained on, on :func:`zoo.benchmarks._data.device`.
        val: what it is validated on; None to leave that out.
    """
    with tempfile.TemporaryDirectory() as directory, quiet():
        run = Path(directory)
        clock = Clocked(run / "metrics.csv", terminal())
        trainer = L.Trainer(
            max_epochs=count,
            accelerator=accelerator(),
            devices=1,
            logger=Board(run),
            callbacks=[clock, Checkpoints(run, learner.monitor if val is not None else None)],
            plugins=[WholeFiles()],
            default_root_dir=run,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        learner.check_trainer(trainer)
        trainer.fit(learner, train, [] if val is None else val)
    return clock.seconds
