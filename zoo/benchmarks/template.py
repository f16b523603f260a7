"""An epoch of a 784-64-128-64-10 MLP the way of the widely used Lightning and Hydra template, and the zoo's.

The template's: torchvision's data set through a DataLoader without workers, automatic optimisation, torchmetrics logged
each step, a Rich progress bar, a model summary, ModelCheckpoint, EarlyStopping, ReduceLROnPlateau and TensorBoard. The
zoo's: all that train.py switches on. Both train on 55,000 images in batches of 128, validate on 5,000 and write
checkpoints, and both draw their bars for a terminal that nobody sees. The network has batch normalisation after each
hidden layer, as the template's does.

References: github.com/ashleve/lightning-hydra-template.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator
from typing import Any

import lightning.pytorch as L
import rich
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, RichModelSummary, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torchmetrics import MaxMetric, MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from zoo.benchmarks import _trainer
from zoo.benchmarks._benchmark import Benchmark, Options
from zoo.benchmarks._data import device, mnist, resident, torchvision_loader
from zoo.benchmarks.epoch import BATCH, create, title
from zoo.data.batches import Batches
from zoo.data.datamodule import EVALUATION_BATCH
from zoo.run.trainer import quiet

IMAGES = 55000


class Usual(L.LightningModule):
    """A classifier as Lightning's documentation and the template write it.

    Args:
        net: normalised images to logits.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.criterion = nn.CrossEntropyLoss()
        self.train_loss, self.val_loss = MeanMetric(), MeanMetric()
        self.train_acc, self.val_acc = MulticlassAccuracy(10, average="micro"), MulticlassAccuracy(10, average="micro")
        self.val_acc_best = MaxMetric()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def on_train_start(self) -> None:  # what the sanity check has counted
        for metric in (self.val_loss, self.val_acc, self.val_acc_best):
            metric.reset()

    def step(self, stage: str, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, labels = batch
        logits = self(x)
        loss = self.criterion(logits, labels)
        for name, values in (("loss", (loss,)), ("acc", (logits.argmax(1), labels))):
            metric = getattr(self, f"{stage}_{name}")
            metric(*values)
            self.log(f"{stage}/{name}", metric, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self.step("train", batch)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.step("val", batch)

    def on_validation_epoch_end(self) -> None:
        self.val_acc_best(self.val_acc.compute())
        self.log("val/acc_best", self.val_acc_best.compute(), sync_dist=True, prog_bar=True)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=1e-3)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="min", factor=0.1, patience=10)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "monitor": "val/loss", "interval": "epoch", "frequency": 1},
        }


@contextlib.contextmanager
def unseen() -> Iterator[dict[str, Any]]:
    """Rich's global console draws for a terminal that nobody sees. Yields how it is made, for who makes it again."""
    console = rich.get_console()
    before = console.__dict__
    options: dict[str, Any] = {"file": io.StringIO(), "force_terminal": True, "width": 120}
    rich.reconfigure(**options)
    try:
        yield options
    finally:
        console.__dict__ = before


def usual_epoch(net: nn.Module, train: Any, val: Any) -> float:
    """Seconds of one epoch of ``net``."""
    with tempfile.TemporaryDirectory() as run, quiet(), unseen() as options:
        clock = _trainer.Clock()
        callbacks = [
            clock,
            ModelCheckpoint(f"{run}/checkpoints", "epoch_{epoch:03d}", "val/acc", save_last=True, mode="max"),
            EarlyStopping("val/acc", patience=100, mode="max"),
            RichModelSummary(max_depth=-1),
            RichProgressBar(console_kwargs=options),
        ]
        trainer = L.Trainer(
            max_epochs=1,
            accelerator=_trainer.accelerator(),
            devices=1,
            logger=TensorBoardLogger(run, name="", default_hp_metric=False),
            callbacks=callbacks,
            default_root_dir=run,
        )
        trainer.fit(Usual(net), train, val)
    return clock.seconds[0]


def benchmarks(options: Options) -> Iterator[Benchmark]:
    if options.chosen(("tiny",)):
        yield _benchmark(options.quick)


def _benchmark(quick: bool) -> Benchmark:
    train, val, spec = mnist(IMAGES, quick)
    loaders = torchvision_loader(train, BATCH), torchvision_loader(val, BATCH, shuffle=False)
    batches = Batches(resident(train), BATCH, shuffle=True), Batches(resident(val), EVALUATION_BATCH)

    def usual(number: int) -> float:
        model = create("tiny", spec, number)
        return usual_epoch(nn.Sequential(nn.Flatten(), model.body, model.head), *loaders)  # its data set normalises

    def ours(number: int) -> float:
        return _trainer.epoch(_trainer.learner_for(create("tiny", spec, number)), *batches)

    ways = {"the template's way": usual, "learner under Trainer": ours}
    bar = "≥ 20" if device().type == "cuda" else "≥ 8"
    return Benchmark("template", title("tiny", train), "s/epoch", ways, bar=bar, ours="learner under Trainer")
