"""Where claims are measured: data once in memory, and every model trained once, whoever asks for it."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock
from rich.console import Console

from zoo import checkpoint, registry
from zoo import config as configuration
from zoo.base.model import Model
from zoo.data.splits import Split, Splits, load_splits
from zoo.errors import CheckpointError
from zoo.files import CONFIGS, PRETRAINED
from zoo.run.train import build, fit
from zoo.run.trainer import quiet


class Lab:
    """Trains models by the recipes of ``train.py`` and keeps them, so that work that was stopped goes on.

    Args:
        folder: where models are kept; a sub-folder a model, named by the words that train it.
        alone: whether this process has the machine to itself: times that are measured otherwise are not kept for those
            who need them.
        pretrained: released models whose recipe is the one asked for are taken from there; None trains all.
    """

    def __init__(self, folder: Path, alone: bool = False, pretrained: Path | None = PRETRAINED) -> None:
        self.folder = folder
        self.alone = alone
        self.pretrained = pretrained

    def train(self, *words: str, timed: bool = False) -> Model:
        """The model that ``python train.py <words>`` keeps, in eval mode on the CPU: trained now, or before.

        Args:
            *words: as on the command line, such as ``"model=gmm"``, ``"data=mnist"``, ``"seed=1"``. Their order does
                not matter.
            timed: the seconds of its training are asked for, see :meth:`seconds`; one without them is trained again.
        """
        return registry.load(self._folder_of(words, timed))

    def seconds(self, *words: str) -> float:
        """Seconds that the training of :meth:`train` took, with its validation, alone on the machine."""
        folder = self._folder_of(words, timed=True)
        seconds = _training(folder).get("seconds")
        if not isinstance(seconds, (int, float)):
            raise CheckpointError(f"{folder} does not say how long its training took: delete it")
        return seconds

    def fit(self, *words: str, train: Split) -> Model:
        """The model that :meth:`train` would make of other training images, in eval mode on the CPU. It is not kept.

        Args:
            *words: as on the command line.
            train: images that take the place of the training and the validation split of ``data=…``, whose shape and
                classes they have. The last epoch is what is kept.
        """
        return _fit(words, None, train)[0]

    def splits(self, data: str, **options: Any) -> Splits:
        """See :func:`zoo.data.splits.load_splits`. The same ones are handed out again: do not write to them."""
        return _splits(data, tuple(sorted(options.items())))

    # Training

    def _folder_of(self, words: Sequence[str], timed: bool) -> Path:
        recipe = sorted(words)
        if not timed and self.pretrained is not None:
            released = _released(self.pretrained).get(json.dumps(recipe))
            if released is not None:
                return released
        name = "-".join(word.partition("=")[2].replace("/", "_") for word in sorted(words, key=_rank))[:60]
        folder = self.folder / f"{name}-{hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:10]}"
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f".{folder.name}.lock"):  # several processes may want the same one
            if not folder.is_dir() or (timed and not _training(folder)["alone"]):
                self._train(recipe, folder)
        return folder

    def _train(self, recipe: Sequence[str], folder: Path) -> None:
        model, seconds = _fit(recipe, self.folder)
        training = {"recipe": list(recipe), "seconds": round(seconds, 3), "alone": self.alone}
        shutil.rmtree(folder, ignore_errors=True)  # one whose training was not alone on the machine
        checkpoint.save(model, folder, training=training)


def _fit(words: Sequence[str], place: Path | None, train: Split | None = None) -> tuple[Model, float]:
    """A model trained by the words of the command line, and the seconds that took.

    Its run lies in ``place`` meanwhile, or with temporary files.
    """
    # times are compared, and every case is to run anywhere: on the CPU, unless the words say otherwise
    words = ["trainer.accelerator=cpu", *words, "logger=none"]
    settings = configuration.settings(words, CONFIGS)
    with tempfile.TemporaryDirectory(dir=place, prefix=".run-") as directory, quiet():
        run = Path(directory)
        learner, data, trainer = build(settings, run, Console(quiet=True), pictures=False, train=train)
        started = time.perf_counter()
        fit(learner, data, trainer, run)
        seconds = time.perf_counter() - started
        return registry.load(run), seconds


def _rank(word: str) -> tuple[int, str]:
    key = word.partition("=")[0]
    order = ("model", "experiment", "data")
    return (order.index(key) if key in order else len(order), word)


def _training(folder: Path) -> dict[str, Any]:
    return checkpoint.released_config(folder).get("training", {})


@functools.lru_cache(maxsize=1)
def _released(root: Path) -> dict[str, Path]:
    """Released models by their recipe."""
    found = {}
    for path in sorted(root.glob("*/config.json")):
        recipe = _training(path.parent).get("recipe")
        if isinstance(recipe, list) and all(isinstance(word, str) for word in recipe):
            found[json.dumps(sorted(recipe))] = path.parent
    return found


@functools.lru_cache(maxsize=8)
def _splits(data: str, options: tuple[tuple[str, Any], ...]) -> Splits:
    return load_splits(data, **dict(options))
