"""An epoch of a learner under Lightning's Trainer against a hand-written loop that does the same work.

Both sides train the same network from the same weights on the same batches with the same fused optimiser, schedule and
average, count the same values and validate on 5,000 images. The learner also draws the loss curve and the progress bar,
and writes metrics.csv and its checkpoints: everything that train.py switches on, but for the pictures of latent models.

``models=`` takes any registered model, which a learner then trains by gradient; ``tiny`` is an MLP of 784-64-128-64-10.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

import zoo
from zoo.benchmarks import _trainer
from zoo.benchmarks._benchmark import Benchmark, Options
from zoo.benchmarks._data import device, mnist, resident
from zoo.benchmarks._loops import loop_for
from zoo.data.batches import Batches
from zoo.data.datamodule import EVALUATION_BATCH
from zoo.spec import DataSpec

BATCH = 128
TINY: dict[str, Any] = {"hidden_sizes": [64, 128, 64], "dropout": 0.0}
IMAGES = {"tiny": 55000, "cnn": 55000, "vae": 55000}
OTHER_IMAGES = 27500  # some ten seconds of work; the fixed costs of an epoch weigh twice as much as on all of MNIST
DEFAULT = ("tiny", "cnn", "rnn", "vae", "dcgan")


def create(name: str, spec: DataSpec, seed: int) -> Any:
    """A registered model with its default options, or the tiny MLP, from the weights that ``seed`` draws."""
    torch.manual_seed(seed)
    return zoo.create("mlp", spec, **TINY) if name == "tiny" else zoo.create(name, spec)


def benchmarks(options: Options) -> Iterator[Benchmark]:
    for name in options.chosen(DEFAULT, ("tiny", *zoo.list_models())):
        yield _benchmark(name, options.quick)


def _benchmark(name: str, quick: bool) -> Benchmark:
    train_split, val_split, spec = mnist(IMAGES.get(name, OTHER_IMAGES), quick)
    train = Batches(resident(train_split), BATCH, shuffle=True)
    val = Batches(resident(val_split), EVALUATION_BATCH)

    def by_hand(number: int) -> float:
        model = create(name, spec, number).to(device())
        return loop_for(model)(model, train, val)

    ways = {
        "hand-written loop": by_hand,
        "learner under Trainer": lambda number: _trainer.epoch(
            _trainer.learner_for(create(name, spec, number)), train, val
        ),
    }
    bar = "≤ 1.25" if name == "tiny" else "≤ 1.05"
    what = "784-64-128-64-10 MLP" if name == "tiny" else name
    title = f"{what}, {len(train_split):,} images in batches of {BATCH}"
    ours = "learner under Trainer"
    return Benchmark(f"epoch-{name}", title, "s/epoch", ways, compare="overhead", bar=bar, ours=ours)
