"""Time to an accuracy.

``accuracy-launch`` counts from the start of a process: pytorch/examples' way to train on MNIST, to the first pass over
the test images that reaches 99.0 %, and ``python train.py experiment=speed/mnist_99`` to its end. The peer looks at the
test images after each epoch, as it comes, and is done with the first that is good enough; the recipe looks once, at
the end, and has to be good enough then.

``accuracy-<recipe>`` counts the seconds of training of a recipe in ``configs/experiment/speed``, each round with its
own seed. What has to be reached is the mean test accuracy of all seeds.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.benchmarks import peers
from zoo.benchmarks._benchmark import Benchmark, Options
from zoo.errors import ConfigError, ZooError
from zoo.files import CONFIGS
from zoo.run.process import TRAIN, environment, failure, only_run_in, run

EXPERIMENTS = CONFIGS / "experiment"
LAUNCH, LAUNCH_TARGET = "mnist_99", 0.99
QUICK = ("data.train_size=1000", "trainer.max_epochs=1")
QUICK_IMAGES = 1280  # of the peer


@dataclass(frozen=True)
class Recipe:
    """What a recipe promises: a mean test accuracy of so many seeds, within a number of seconds of training."""

    accuracy: float
    seconds: float | None
    seeds: int


RECIPES = {
    "mnist_99": Recipe(0.99, None, 5),
    "mnist_99_4": Recipe(0.994, 20, 5),
    "fashion_90": Recipe(0.905, 15, 3),
    "fashion_92_5": Recipe(0.925, 120, 3),
}


def benchmarks(options: Options) -> Iterator[Benchmark]:
    """``options.models`` chooses among ``"launch"`` and the recipes."""
    chosen = options.chosen(("launch", *RECIPES))
    for name in RECIPES:
        check(f"speed/{name}")
    if "launch" in chosen:
        with tempfile.TemporaryDirectory() as directory:
            yield of_launch(peers.write_torchvision(Path(directory)), options.quick)
    for name, recipe in RECIPES.items():
        if name in chosen:
            yield of_recipe(name, recipe, options.quick)


def of_launch(root: Path, quick: bool) -> Benchmark:
    """From launch to 99.0 % on MNIST, which torchvision finds in ``root``."""
    ways = ("pytorch/examples' way", f"train.py experiment=speed/{LAUNCH}")
    facts: dict[str, dict[str, Any]] = {way: {"accuracy": []} for way in ways}
    target = 0.0 if quick else LAUNCH_TARGET

    def peer(number: int) -> float:
        seconds, accuracies = run_peer(root, target, QUICK_IMAGES if quick else 0, number)
        facts[ways[0]]["accuracy"].append(accuracies)  # one an epoch
        return seconds

    def ours(number: int) -> float:
        seconds, summary = run_recipe(f"speed/{LAUNCH}", number, *(QUICK if quick else ()))
        record(facts[ways[1]], summary, target)
        facts[ways[1]]["reached"] = min(facts[ways[1]]["accuracy"]) >= target
        return seconds

    return Benchmark(
        name="accuracy-launch",
        title=f"from launch to {LAUNCH_TARGET:.1%} of MNIST's test images",
        unit="s",
        ways=dict(zip(ways, (peer, ours), strict=True)),
        bar="≥ 15",
        ours=ways[1],
        rounds=1,
        warmup=False,
        facts=facts,
    )


def of_recipe(name: str, recipe: Recipe, quick: bool) -> Benchmark:
    """Seconds of training of a recipe; a round is a seed."""
    way = f"experiment=speed/{name}"
    facts: dict[str, dict[str, Any]] = {way: {"accuracy": []}}

    def train(number: int) -> float:
        _, summary = run_recipe(f"speed/{name}", number, *(QUICK if quick else ()))
        record(facts[way], summary, 0.0 if quick else recipe.accuracy)
        return summary["seconds"]["fit"]

    bar = None if recipe.seconds is None else f"≤ {recipe.seconds:g}"
    return Benchmark(
        name=f"accuracy-{name}",
        title=f"training of experiment=speed/{name}: mean test accuracy of the seeds ≥ {recipe.accuracy:.1%}",
        unit="s",
        ways={way: train},
        compare="none",
        bar=bar,
        ours=way,
        rounds=recipe.seeds,
        warmup=False,
        facts=facts,
    )


def record(facts: dict[str, Any], summary: dict[str, Any], target: float) -> None:
    """Add a run's test accuracy to a way's facts: ``accuracy`` of each run, their ``mean``, ``target``, and whether the
    mean has ``reached`` it."""
    facts["accuracy"].append(summary["test"]["accuracy"])
    facts["mean"] = statistics.mean(facts["accuracy"])
    facts |= {"target": target, "reached": facts["mean"] >= target, "parameters": summary["parameters"]}
    facts["epochs"] = summary["epochs"]


def check(experiment: str) -> None:
    """Raise ``ConfigError`` where there is no such experiment."""
    if not (EXPERIMENTS / f"{experiment}.yaml").is_file():
        raise ConfigError(f"experiment={experiment} does not exist: configs/experiment/{experiment}.yaml is missing")


def run_recipe(experiment: str, seed: int, *overrides: str) -> tuple[float, dict[str, Any]]:
    """``python train.py experiment=…`` in a process of its own: its wall-clock seconds, and its summary.

    Raises:
        ConfigError: there is no such experiment.
        ZooError: it failed.
    """
    check(experiment)
    with tempfile.TemporaryDirectory() as directory:
        runs = Path(directory)
        seconds, _ = run(*TRAIN, f"experiment={experiment}", f"seed={seed}", f"runs={runs}", *overrides)
        return seconds, json.loads((only_run_in(runs) / "summary.json").read_text("utf-8"))


def run_peer(root: Path, target: float, images: int = 0, seed: int = 0) -> tuple[float, list[float]]:
    """:func:`zoo.benchmarks.peers.example` in a process of its own.

    Returns:
        Seconds from its start to the end of the test pass that reached ``target``, and the accuracies of all passes.

    Raises:
        ZooError: it failed, or never reached the target.
    """
    words = ("-c", f"from zoo.benchmarks import peers\npeers.example({str(root)!r}, {target}, 14, {images}, {seed})")
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        start = time.perf_counter()
        command = [sys.executable, *words]
        accuracies, seconds = [], 0.0
        with subprocess.Popen(
            command, env=environment(), stdout=subprocess.PIPE, stderr=said, encoding="utf-8", errors="replace"
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("accuracy "):
                    seconds = time.perf_counter() - start
                    accuracies.append(float(line.split()[1]))
        if process.returncode:
            said.seek(0)
            raise ZooError(failure(words, process.returncode, said.read()))
    if not accuracies or accuracies[-1] < target:
        raise ZooError(f"pytorch/examples' way reached {max(accuracies, default=0):.2%} at most, not {target:.2%}")
    return seconds, accuracies
