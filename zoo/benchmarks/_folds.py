"""The zoo's models of tables and texts beside scikit-learn's, asked about the test examples of the same folds.

The zoo's models are trained by their recipes, which may hold out some examples to validate on; scikit-learn's see all
that are not in the test fold. What is compared with what, and measured, is said by a module a kind of data, which has

============  ========================================================================================================
``WHAT``      what the data is called in a sentence
``FOLDS``     data sets that are compared unless others are named, and the number of parts of each
``MODELS``    of the zoo, by their names
``PEERS``     names of scikit-learn's; one called like a model of the zoo is to be the same
``MEASURES``  of :data:`MEASURES`
``words``     ``words(peer)``: of a command line, which say what a peer sees and is
``theirs``    ``theirs(peer, splits, settings)``: what a peer, trained on all that is not test, gives the test examples,
              ``(N,)``, above 0 for the second class; ``settings`` are those of the command line
============  ========================================================================================================
"""

from __future__ import annotations

import math
import shlex
import statistics
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from zoo import config as configuration
from zoo import registry
from zoo.benchmarks import _tables, _texts
from zoo.data import sources
from zoo.data.datamodule import ImageDataModule
from zoo.errors import ConfigError, DataError, did_you_mean
from zoo.files import CONFIGS, user_path, write_json
from zoo.questions.classify import classify
from zoo.run import machine
from zoo.run.train import build, fit
from zoo.run.trainer import quiet
from zoo.spec import DataSpec
from zoo.terminal import console

KINDS: dict[str, ModuleType] = {"table": _tables, "tokens": _texts}


def _area(scores: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score  # slow to import

    return float(roc_auc_score(labels, scores))


def _accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    return float(((scores > 0) == labels).mean())


def _f1(scores: np.ndarray, labels: np.ndarray) -> float:
    """Of the second class; 0 where no example of it is found."""
    found = scores > 0
    return float(2 * (found & (labels == 1)).sum() / max(found.sum() + labels.sum(), 1))


MEASURES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {"AUROC": _area, "accuracy": _accuracy, "F1": _f1}


@dataclass
class Result:
    """What a model reaches on a data set: by measure, a number a fold."""

    data: str
    model: str
    whose: str
    values: dict[str, list[float]] = field(default_factory=dict)


def compared(data: str) -> ModuleType:
    """What is compared of a source. Raises ``ConfigError`` for an unknown one, or one of another kind."""
    kind = sources.find(data).KIND
    if kind not in KINDS:
        whats = " and ".join(module.WHAT for module in KINDS.values())
        raise ConfigError(f"data={data} is made for the kind {kind}: models of {whats} are compared")
    return KINDS[kind]


def report(options: Mapping[str, Any], kind: str) -> None:
    """Compare what a command line asks for, print a table a data set and measure, and write all numbers down.

    Args:
        options: as :data:`zoo.benchmarks.FOLD_OPTIONS`.
        kind: whose data sets are compared where none are named.

    Raises:
        ConfigError: there is no such data, model or peer, or nothing to compare.
    """
    data = list(KINDS[kind].FOLDS) if options["data"] is None else chosen(options["data"], sources.every(), "data")
    sides = {}
    for name in data:
        module = compared(name)
        sides[name] = [
            chosen(options["models"], module.MODELS, "model"),
            chosen(options["peers"], module.PEERS, "peer"),
        ]
        if not any(sides[name]):
            raise ConfigError("there is nothing to compare: models=none and peers=none")
    words = parted(options["words"])
    results = []
    for name, (models, peers) in sides.items():
        folds = options["folds"] or compared(name).FOLDS.get(name, 10)
        results += compare(name, models, peers, words, folds, lambda word: print(word, file=sys.stderr))
    if options["json"]:
        rows = [vars(result) for result in results]
        write_json(
            user_path(options["json"]), {"options": options, "results": rows, **machine.describe(torch.device("cpu"))}
        )
    for name in data:
        for measure in compared(name).MEASURES:
            console().print(_table([result for result in results if result.data == name], measure))


def parted(text: str) -> list[str]:
    """The words of a command line. Raises ``ConfigError`` where a quotation has no end."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"words={text}: {error}") from error


def chosen(text: str | None, valid: Collection[str], what: str) -> list[str]:
    """The words between commas, all if left out. Raises ``ConfigError`` with the nearest for an unknown one."""
    if text is None:
        return list(valid)
    words = [] if text == "none" else [word.strip() for word in text.split(",")]
    for word in words:
        if word not in valid:
            raise ConfigError(f"unknown {what} {word!r}: {did_you_mean(word, valid, f'{what}s')}")
    return words


def _table(results: Sequence[Result], measure: str) -> Table:
    """What the models of a data set reach, those of the same name beside each other."""
    mine, theirs = (
        {result.model: result.values[measure] for result in results if result.whose == whose}
        for whose in ("zoo", "scikit-learn")
    )
    folds = len(results[0].values[measure])
    title = f"{results[0].data}: {measure}, mean ± s.e. of {folds} folds"
    table = Table("model", "zoo", "scikit-learn", "difference", title=title)
    for model in dict.fromkeys([*mine, *theirs]):
        both = [side[model] for side in (mine, theirs) if model in side]
        apart = [ours - other for ours, other in zip(*both, strict=True)] if len(both) == 2 else []
        table.add_row(model, *(shown(side.get(model, [])) for side in (mine, theirs)), shown(apart, "+"))
    return table


def shown(values: Sequence[float], sign: str = "") -> str:
    """Mean and its standard error over folds, for a cell; nothing of none. ``sign``: "+" to show it of the mean."""
    if not values:
        return ""
    error = f" ± {statistics.stdev(values) / math.sqrt(len(values)):.4f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):{sign}.4f}{error}"


def compare(
    data: str,
    models: Sequence[str],
    peers: Sequence[str],
    words: Sequence[str],
    folds: int,
    told: Callable[[str], None],
) -> list[Result]:
    """Train each model on each fold of a data set, and ask it about the test examples.

    Args:
        data: a source of two classes.
        models: of the zoo, with their recipes.
        peers: those of the kind.
        words: more of the command line of each training, of which those of the data hold for all.
        folds: how many.
        told: is handed a sentence after each fold.

    Raises:
        ConfigError: nothing is compared of such data.
        DataError: there are more classes.
    """
    module = compared(data)
    results = [Result(data, name, "zoo") for name in models] + [Result(data, name, "scikit-learn") for name in peers]
    for fold in range(folds):
        common = [f"data={data}", f"data.folds={folds}", f"data.fold={fold}", *words]
        for result in results:
            name = result.model
            if result.whose == "zoo":
                scores, labels = _ours([f"model={name}", *common])
            else:
                scores, labels = _theirs(module, name, [*common, *module.words(name)])
            for measure in module.MEASURES:
                result.values.setdefault(measure, []).append(MEASURES[measure](scores, labels))
        told(f"{data}, fold {fold + 1} of {folds}")
    return results


def _settings(words: Sequence[str]) -> dict[str, Any]:
    return configuration.settings(["trainer.accelerator=cpu", *words, "logger=none"], CONFIGS)


def _ours(words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Log odds of the second class that a model gives the test examples, by its recipe, and their labels."""
    with tempfile.TemporaryDirectory() as directory, quiet():
        run = Path(directory)
        learner, data, trainer = build(_settings(words), run, Console(quiet=True), pictures=False)
        _check(data.spec)
        fit(learner, data, trainer, run)
        log_proba = classify(registry.load(run), data.splits.test.images)
    return (log_proba[:, 1] - log_proba[:, 0]).numpy(), data.splits.test.labels.numpy()


def _theirs(module: ModuleType, peer: str, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`_ours`, of a model of scikit-learn, in its own units."""
    settings = _settings(words)
    splits = ImageDataModule(**settings["data"]).splits
    _check(splits.spec)
    return module.theirs(peer, splits, settings), splits.test.labels.numpy()


def _check(spec: DataSpec) -> None:
    if spec.num_classes != 2:
        raise DataError(f"the data has {spec.num_classes} classes, where two are needed")
