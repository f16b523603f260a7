"""Optimisers on one page: what a model reaches on validation after as many seconds of training with each.

Steps take the optimisers different times: how long, is measured in turn, and each gets as many steps as fill the
seconds. The rate of a step rises for a twentieth of them and falls to nothing, both by a straight line, whatever the
recipe says; model, data, batch and average of weights are the recipe's. Each has as many trials to find its rates, with
the first seed; what these reach is told of other seeds. Nothing is asked of the test examples.
"""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from rich.console import Console
from rich.table import Table

from zoo import config as configuration
from zoo.benchmarks import OPTIMIZERS
from zoo.benchmarks._folds import chosen, parted
from zoo.data.datamodule import ImageDataModule
from zoo.errors import DivergedError, ZooError
from zoo.files import CONFIGS, user_path, write_json
from zoo.run import machine
from zoo.run.train import build, fit
from zoo.run.trainer import quiet
from zoo.terminal import console

SCHEDULE = {
    "name": "OneCycleLR", "pct_start": 0.05, "anneal_strategy": "linear", "div_factor": 10.0, "cycle_momentum": False,
}  # fmt: skip
STEPS = (30, 90)  # of the two runs whose difference tells how long a step takes
ROUNDS = 3  # of these
CANDIDATES: dict[str, list[dict[str, Any]]] = {  # six of each
    "AdamW": [{"lr": rate, "betas": [0.9, 0.99]} for rate in (0.001, 0.002, 0.004, 0.008, 0.016, 0.032)],
    "Muon": [
        {"lr": rate, "adamw_lr": ratio * rate, "momentum": 0.9} for rate in (0.005, 0.01, 0.02) for ratio in (1, 3)
    ],
}


@dataclass(frozen=True)
class Trained:
    """A training that is over: what it reached of what is measured, and its seconds, without validation."""

    value: float
    seconds: float


def report(options: Mapping[str, Any]) -> None:
    """Print the page that ``scripts/optimizers.py`` is asked for. Raises ``ConfigError`` for unknown names."""
    names, words = chosen(options["models"], OPTIMIZERS, "model"), parted(options["words"])
    results: dict[str, Any] = {}
    for name in names:
        results[name] = compared(name, words, options["seconds"], options["seeds"], _tell)
        if options["json"]:  # what is done is kept if a later one fails
            content = {"options": dict(options), "results": results, **machine.describe(torch.device("cpu"))}
            write_json(user_path(options["json"]), content)
        console().print(page(name, results[name]))


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def compared(
    name: str, words: Sequence[str], seconds: float, seeds: int, told: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """What a model of :data:`zoo.benchmarks.OPTIMIZERS` reaches with each optimiser.

    Args:
        name: of the model.
        words: more of the command line of each training.
        seconds: of each training, without validation.
        seeds: so many of the best rates' trainings; the first chose them.
        told: is handed a sentence after each training.

    Returns:
        By optimiser ``options``, those that were best, ``tried``, what each candidate reached, ``values``, what the
        best one did with each seed, ``seconds`` of each of these trainings, and ``steps``.
    """
    words = [*OPTIMIZERS[name][0], "trainer.accelerator=cpu", "logger=none", *words]
    measure, sign = OPTIMIZERS[name][1].lstrip("-"), -1 if OPTIMIZERS[name][1].startswith("-") else 1
    paces: dict[str, list[float]] = {optimizer: [] for optimizer in CANDIDATES}
    for _ in range(ROUNDS):
        for optimizer, candidates in CANDIDATES.items():
            first, last = (train(words, optimizer, candidates[0], 0, count, "").seconds for count in STEPS)
            paces[optimizer].append((last - first) / (STEPS[1] - STEPS[0]))
    found = {}
    for optimizer, candidates in CANDIDATES.items():
        pace = statistics.median(paces[optimizer])
        if not pace > 0:
            raise ZooError(f"{name}: {optimizer}'s steps cannot be timed: the machine is busy, or its loss not finite")
        steps = max(STEPS[0], round(seconds / pace))
        tried = []
        for number, options in enumerate(candidates, 1):
            tried.append(train(words, optimizer, options, 0, steps, measure))
            told(f"{name}, {optimizer} {options}, {number} of {len(candidates)}: {tried[-1].value:.4f}")
        best = max(range(len(tried)), key=lambda index: sign * _or_worst(tried[index].value, sign))
        others = [train(words, optimizer, candidates[best], seed, steps, measure) for seed in range(1, seeds)]
        runs = [tried[best], *others]
        found[optimizer] = {
            "options": candidates[best],
            "tried": [run.value for run in tried],
            "values": [run.value for run in runs],
            "seconds": [run.seconds for run in runs],
            "steps": steps,
            "measure": measure,
        }
        told(f"{name}, {optimizer}, seeds: {', '.join(f'{run.value:.4f}' for run in runs)}")
    return found


def _or_worst(value: float, sign: int) -> float:
    return value if math.isfinite(value) else -sign * math.inf


def train(
    words: Sequence[str], optimizer: str, options: Mapping[str, Any], seed: int, steps: int, measure: str
) -> Trained:
    """One training of so many steps, validated at its end where there is something to ``measure``; NaN where its loss
    was not finite."""
    settings = configuration.settings([*words, f"seed={seed}"], CONFIGS)
    settings["learner"] |= {"optimizer": {"name": optimizer, "weight_decay": 0.0, **options}, "schedule": SCHEDULE}
    with tempfile.TemporaryDirectory() as directory, quiet():
        asked, clock = settings["trainer"], Clock()
        batches = len(ImageDataModule(**settings["data"], seed=seed).train_dataloader())
        epochs = -(-steps // batches)
        asked |= {"max_epochs": epochs, "check_val_every_n_epoch": epochs, "max_steps": -1}
        asked |= {"limit_train_batches": -(-steps // epochs), "limit_val_batches": 1.0 if measure else 0}
        learner, data, trainer = build(settings, Path(directory), Console(quiet=True), pictures=False, more=[clock])
        try:
            fit(learner, data, trainer, Path(directory))
        except DivergedError:
            return Trained(math.nan, math.nan)
        return Trained(float(trainer.callback_metrics[measure]) if measure else math.nan, clock.seconds)


class Clock(L.Callback):
    """Seconds of training, without those of validation."""

    def on_train_start(self, *_: Any) -> None:
        self.seconds = -time.perf_counter()

    def on_validation_start(self, *_: Any) -> None:
        self.seconds += time.perf_counter()

    def on_validation_end(self, *_: Any) -> None:
        self.seconds -= time.perf_counter()

    def on_train_end(self, *_: Any) -> None:
        self.seconds += time.perf_counter()


def page(name: str, found: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row an optimiser."""
    (measure,) = {row["measure"] for row in found.values()}
    table = Table("optimiser", "rates", title=f"{name}: {measure}, mean of {len(found['Muon']['values'])} seeds")
    for column in ("reached", "from", "to", "steps", "seconds"):
        table.add_column(column, justify="right")
    for optimizer, row in found.items():
        rates = " ".join(f"{key}={value:g}" for key, value in row["options"].items() if key.endswith("lr"))
        values = [statistics.fmean(row["values"]), min(row["values"]), max(row["values"])]
        seconds = statistics.fmean(row["seconds"])
        table.add_row(optimizer, rates, *(f"{value:.4f}" for value in values), f"{row['steps']:,}", f"{seconds:.1f}")
    return table
