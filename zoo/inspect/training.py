"""What a training looks like from within: the examples that it learns from, and what it takes for what."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import TensorBoardLogger

from zoo.data import kinds
from zoo.data.batches import Batches
from zoo.data.splits import evenly
from zoo.inspect.figures import confusion_figure, rendered, show
from zoo.inspect.grids import grid
from zoo.spec import DataSpec

ROWS, COLUMNS = 4, 8  # of examples
TIMES = 5  # that the confusion is drawn in a training, about


class TrainingPictures(Checkpoint):
    """In TensorBoard ``training/examples``, some of them as the model sees them, augmented; and, of a classifier,
    ``validation/confusion``, every few epochs.

    The augmentation is drawn from a stream of its own: training is the same bit for bit without it. It is a
    ``Checkpoint`` for the reason that :class:`zoo.inspect.latents.LatentPictures` is one.

    >>> import pathlib
    >>> import lightning as L, zoo
    >>> learner = zoo.ClassificationLearner(zoo.create("mlp"))
    >>> data = zoo.ImageDataModule("digits", val_size=200)
    >>> board = L.pytorch.loggers.TensorBoardLogger("tensorboard")
    >>> quiet = {"logger": board, "enable_progress_bar": False, "enable_model_summary": False}
    >>> shown = zoo.TrainingPictures(data.spec)
    >>> trainer = L.Trainer(max_epochs=1, accelerator="cpu", callbacks=[shown], **quiet)
    >>> trainer.fit(learner, data)
    >>> any(pathlib.Path("tensorboard").rglob("events.*"))
    True

    Args:
        spec: of the data.
    """

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loader: Any = trainer.train_dataloader
        shown = isinstance(loader, Batches) and self.spec.kind in ("image", "sound") and trainer.global_step == 0
        if not shown or not trainer.is_global_zero or not isinstance(trainer.logger, TensorBoardLogger):
            return
        images = loader.split.images[evenly(ROWS * COLUMNS, len(loader.split))]
        if loader.augment:
            images = loader.augment(images, torch.Generator(images.device).manual_seed(0))
        kind = kinds.find(self.spec.kind)
        pictures = kind.show(kind.decode(images), self.spec)
        columns = min(COLUMNS, len(pictures))
        rows = pictures[: len(pictures) // columns * columns].unflatten(0, (-1, columns))
        show(trainer.logger.experiment, "training/examples", grid(rows), 0)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch, last = trainer.current_epoch + 1, max(trainer.max_epochs or 1, 1)
        if epoch % max(1, last // TIMES) == 0:
            self._confusion(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._confusion(trainer, pl_module)

    def _confusion(self, trainer: Trainer, learner: Any) -> None:
        """Of the last validation pass, unless it has been drawn."""
        if not trainer.is_global_zero or learner.validated is None or not isinstance(trainer.logger, TensorBoardLogger):
            return
        log_proba, labels = learner.validated
        learner.validated = None
        figure = confusion_figure(log_proba, labels, self.spec.class_names)
        show(trainer.logger.experiment, "validation/confusion", rendered(figure), trainer.global_step)
