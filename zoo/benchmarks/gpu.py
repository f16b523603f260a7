"""What a GPU is for: an epoch beside the template's way, seconds to accuracies that take long on a CPU, and samples a
second of the released models; meant to end within ten minutes.

``gpu-template`` and ``gpu-accuracy-<recipe>`` are as in the suites of these names, the recipes in
``configs/experiment/speed``. ``gpu-sampling`` draws pictures of MNIST by ``zoo.sample``, all in one call.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import torch

import zoo
from zoo.benchmarks import accuracy, template
from zoo.benchmarks._benchmark import Benchmark, Options, Way
from zoo.benchmarks._data import device
from zoo.errors import ConfigError

RECIPES = {
    "mnist_99_4": accuracy.Recipe(0.994, 10, 3),
    "fashion_94": accuracy.Recipe(0.94, 120, 1),
    "fashion_95": accuracy.Recipe(0.95, 300, 1),
}
SAMPLED = ("dcgan-mnist", "flow_matching-mnist", "autoregressive-mnist")
SAMPLES, QUICK_SAMPLES = 10000, 16


def benchmarks(options: Options) -> Iterator[Benchmark]:
    """``options.models`` chooses among ``"tiny"``, the recipes and the models that are sampled from."""
    if device().type != "cuda" and not options.quick:
        raise ConfigError("suite=gpu measures a GPU, and there is none: quick=true shows that it runs")
    for benchmark in template.benchmarks(options):
        yield own(benchmark)
    for name, recipe in RECIPES.items():
        if name in options.chosen(RECIPES):
            yield own(accuracy.of_recipe(name, recipe, options.quick))
    names = [name.partition("-")[0] for name in SAMPLED]
    if chosen := options.chosen(names):
        yield of_sampling([name for name in SAMPLED if name.partition("-")[0] in chosen], options.quick)


def own(benchmark: Benchmark) -> Benchmark:
    """Another suite's, by a name of this one's: its own figures are kept beside."""
    return dataclasses.replace(benchmark, name=f"gpu-{benchmark.name}")


def of_sampling(names: list[str], quick: bool) -> Benchmark:
    """Samples a second of released models."""
    count = QUICK_SAMPLES if quick else SAMPLES

    def way(name: str) -> Way:
        def draw(number: int) -> float:
            model = zoo.load(name).to(device())
            start = time.perf_counter()
            samples = zoo.sample(model, count, generator=torch.Generator(device()).manual_seed(number))
            samples.cpu()  # waits for the GPU
            return count / (time.perf_counter() - start)

        return draw

    return Benchmark(
        name="gpu-sampling",
        title=f"{count:,} pictures of MNIST by released models",
        unit="images/s",
        ways={name: way(name) for name in names},
        compare="none",
        rounds=3,
    )
