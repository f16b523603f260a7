"""An epoch with ``compile=true``, beside one without: does ``torch.compile`` pay on this machine?

What is compared is the second epoch of each, when all is compiled; the first one of the compiled training, in which
that is done, stands beside them. The options are the models' and learners' defaults.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

import zoo
from zoo.benchmarks import _trainer
from zoo.benchmarks._benchmark import Benchmark, Options
from zoo.benchmarks._data import device, mnist, resident
from zoo.benchmarks.epoch import BATCH, create, title
from zoo.data.batches import Batches

IMAGES = {"tiny": 55000, "mlp": 27500}
OTHER_IMAGES = 6400  # some seconds of work
DEFAULT = ("tiny", "mlp", "cnn", "rnn", "vae", "dcgan", "autoregressive")


def benchmarks(options: Options) -> Iterator[Benchmark]:
    for name in options.chosen(DEFAULT, ("tiny", *zoo.list_models())):
        yield _benchmark(name, options.quick)


def _benchmark(name: str, quick: bool) -> Benchmark:
    split, _, spec = mnist(IMAGES.get(name, OTHER_IMAGES), quick)
    train = Batches(resident(split), BATCH, shuffle=True)
    first: list[float] = []  # epochs that compile

    def epochs(number: int, compiled: bool) -> list[float]:
        """Seconds of the first and of the second epoch."""
        learner = _trainer.learner_for(create(name, spec, number).to(device()))
        if compiled:
            learner.compile_training()
        torch._dynamo.reset()
        uncached = torch.compiler.config.patch(force_disable_caches=True)  # type: ignore[attr-defined]
        with uncached:  # each round compiles anew, as a first training does
            return _trainer.epochs(learner, train, None, 2)

    def eager(number: int) -> float:
        return epochs(number, compiled=False)[1]

    def compiled(number: int) -> float:
        seconds = epochs(number, compiled=True)
        first.append(seconds[0])
        return seconds[1]

    return Benchmark(
        name=f"compile-{name}",
        title=title(name, split),
        unit="s/epoch",
        ways={"eager": eager, "compiled": compiled, "compiled, the first epoch": lambda _: first[-1]},
        ours="compiled",
        rounds=3,
        warmup=False,
    )
