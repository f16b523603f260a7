"""What a model that makes texts shows while it is trained: samples each epoch, from the same random numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import TensorBoardLogger

from zoo.files import write_text
from zoo.inspect.kinds.tokens import samples


class TextSamples(Checkpoint):
    """Draws :func:`zoo.inspect.kinds.tokens.samples` at the end of each epoch: ``samples.md`` in ``folder``, of the
    last epoch, and the text ``model/samples`` in TensorBoard, of every epoch.

    They are of the weights that are validated, in eval mode, from random numbers of their own: training is the same bit
    for bit without them. It is a ``Checkpoint`` for the reason that :class:`zoo.inspect.latents.LatentPictures` is one.

    Args:
        folder: where the file goes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        learner: Any = pl_module
        device = learner.evaluated.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            text = samples(learner.evaluated)
        self.folder.mkdir(exist_ok=True)
        write_text(self.folder / "samples.md", f"{text}\n")
        if isinstance(trainer.logger, TensorBoardLogger):
            trainer.logger.experiment.add_text("model/samples", text, trainer.global_step)
