"""The most memory that a process needs, from its start to its end, in MiB.

Training goes through ``train.py`` with everything it switches on: TensorBoard, checkpoints, the test and its pictures.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from zoo.benchmarks import peers
from zoo.benchmarks._benchmark import Benchmark, Options, Way
from zoo.run.process import peak, training

LOAD = "from zoo.data.splits import load_splits\nsplits = load_splits('mnist', val_size=5000)"
CLASSIFY = """import zoo
from zoo.data.splits import load_splits
images = load_splits('mnist').train.take(slice({images})).x()
zoo.classify(zoo.create('cnn'), images)"""
SAMPLE = "import zoo\nzoo.sample(zoo.create('vae'), {images})"
PEER = "from zoo.benchmarks import peers\npeers.cnn_epoch({root!r}, {images})"


def benchmarks(options: Options) -> Iterator[Benchmark]:
    few = 10 if options.quick else 1
    yield Benchmark(
        name="memory",
        title="resident memory of a process at its peak, MNIST",
        unit="MiB",
        ways={
            "import torch": _peak("import torch"),
            "data sets loaded": _peak(LOAD),
            "epoch of mlp": lambda _: of_training("mlp", options.quick),
            f"cnn classifies {60_000 // few:,}": _peak(CLASSIFY.format(images=60_000 // few)),
            f"vae samples {10_000 // few:,}": _peak(SAMPLE.format(images=10_000 // few)),
        },
        compare="overhead",
        rounds=3,
        warmup=False,
    )
    with tempfile.TemporaryDirectory() as directory:
        root = peers.write_torchvision(Path(directory))
        yield Benchmark(
            name="memory-cnn",
            title="resident memory of a process at its peak, an epoch of cnn and its test on MNIST",
            unit="MiB",
            ways={
                "torchvision + DataLoader": _peak(PEER.format(root=str(root), images=6000 if options.quick else 0)),
                "train.py": lambda _: of_training("cnn", options.quick),
            },
            compare="overhead",
            rounds=3,
            warmup=False,
        )


def of_training(model: str, quick: bool = False) -> float:
    """MiB of ``train.py`` for an epoch of ``model``."""
    with tempfile.TemporaryDirectory() as runs:
        few = ["data.train_size=6000"] if quick else []
        return peak(training(f"model={model}", "data=mnist", "trainer.max_epochs=1", f"runs={runs}", *few))


def _peak(code: str) -> Way:
    return lambda _: peak(code)
