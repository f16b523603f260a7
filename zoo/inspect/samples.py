"""What a model that makes examples token by token shows while it is trained: samples each epoch, of the same noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import TensorBoardLogger

from zoo import capability
from zoo.base.generative import ByGroup
from zoo.base.model import Model
from zoo.inspect import kinds
from zoo.inspect.figures import keep, rendered, show


class Samples(Checkpoint):
    """Draws the ``samples`` of a kind, see :mod:`zoo.inspect.kinds`, at the end of each epoch: ``samples.md`` or
    ``samples.png`` in ``folder``, of the last epoch, and ``model/samples`` in TensorBoard, of every epoch.

    They are of the weights that are validated, in eval mode, from random numbers of their own: training is the same bit
    for bit without them. It is a ``Checkpoint`` for the reason that :class:`zoo.inspect.latents.LatentPictures` is one.

    >>> import pathlib
    >>> import lightning as L, zoo
    >>> learner = zoo.LikelihoodLearner(zoo.create("autoregressive", channels=8, blocks=1))
    >>> data = zoo.ImageDataModule("digits", val_size=200)
    >>> quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    >>> shown = zoo.Samples("figures")
    >>> trainer = L.Trainer(max_steps=2, accelerator="cpu", callbacks=[shown], **quiet)
    >>> trainer.fit(learner, data)
    >>> sorted(path.name for path in pathlib.Path("figures").iterdir())
    ['samples.png']

    Args:
        folder: where the file goes.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        learner: Any = pl_module
        model: Model = learner.evaluated
        with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
            drawn = kinds.find(model.spec.kind).samples(model)
        picture = drawn if isinstance(drawn, str) else rendered(drawn)
        keep(self.folder, "samples", picture)
        if isinstance(trainer.logger, TensorBoardLogger):
            show(trainer.logger.experiment, "model/samples", picture, trainer.global_step)


def each_epoch(model: Model) -> bool:
    """Whether a model's samples are shown each epoch: of texts, and of what a network makes token by token."""
    return capability.can(model, "sample") and (model.spec.kind == "tokens" or isinstance(model, ByGroup))
