"""An epoch of a learner under Lightning's Trainer against a hand-written loop that does the same work.

Both sides train the same network from the same weights on the same batches with the same fused optimiser, schedule and
average, count the same values and validate on 5,000 images. The learner also draws the loss curve and the progress bar,
and writes metrics.csv and its checkpoints: everything that train.py switches on, but for the pictures of latent models.
Between them, for the tiny network, stands the loop's own step called by a Trainer that does nothing else.

``models=`` takes any registered model, which a learner then trains by gradient; ``tiny`` is an MLP of 784-64-128-64-10.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor

import zoo
from zoo.benchmarks import _trainer
from zoo.benchmarks._benchmark import Benchmark, Options
from zoo.benchmarks._data import device, mnist, resident
from zoo.benchmarks._loops import Classification, loop_for
from zoo.data.batches import Batches
from zoo.data.datamodule import EVALUATION_BATCH
from zoo.data.splits import Split
from zoo.run.trainer import quiet
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


class Bare(L.LightningModule):
    """The step of a hand-written loop, called by Lightning, and nothing besides: what an epoch of it takes longer than
    the loop is what Lightning's Trainer takes at least."""

    def __init__(self, model: Any, steps: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.loop = Classification(model, steps)
        self.rows: list[tuple[Tensor, ...]] = []

    def configure_optimizers(self) -> None:
        """None that Lightning would wrap, which costs each step."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.loop.step(*batch)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.rows.append((self.model(batch[0]), batch[1]))

    def on_validation_epoch_end(self) -> None:
        self.loop.summarize(self.rows)


def floor(model: Any, train: Batches, val: Batches) -> float:
    """Seconds of an epoch of :class:`Bare` under a Trainer that does nothing else."""
    clock = _trainer.Clock()
    with quiet():
        trainer = L.Trainer(
            max_epochs=1,
            accelerator=_trainer.accelerator(),
            devices=1,
            logger=False,
            callbacks=[clock],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(Bare(model, len(train)), train, val)
    return clock.seconds[0]


def title(name: str, split: Split) -> str:
    """What an epoch is of."""
    what = "784-64-128-64-10 MLP" if name == "tiny" else name
    return f"{what}, {len(split):,} images in batches of {BATCH}"


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

    def ours_under_trainer(number: int) -> float:
        return _trainer.epoch(_trainer.learner_for(create(name, spec, number)), train, val)

    ways = {"hand-written loop": by_hand}
    if name == "tiny":  # where what is done beside the network counts
        ways["the loop under Trainer"] = lambda number: floor(create(name, spec, number).to(device()), train, val)
    ways["learner under Trainer"] = ours_under_trainer
    bar = {"tiny": "≤ 1.2", "cnn": "≤ 1.03"}.get(name, "≤ 1.05")
    ours = "learner under Trainer"
    return Benchmark(f"epoch-{name}", title(name, train_split), "s/epoch", ways, compare="overhead", bar=bar, ours=ours)
