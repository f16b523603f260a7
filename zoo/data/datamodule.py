"""The one Lightning datamodule that serves every model."""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule

from zoo.data.augment import Augment
from zoo.data.batches import Batches
from zoo.data.splits import Split, Splits, checked_costs, load_splits
from zoo.errors import ConfigError, DataError
from zoo.files import PATH_OPTIONS, user_path
from zoo.spec import DataSpec

EVALUATION_BATCH = 1000  # without gradients, more images fit, and fewer steps cost less
EVALUATION_VALUES = 1 << 24  # but no more than so many values of them, 64 MB in float32


class ImageDataModule(LightningDataModule):
    """Train, validation and test batches of a named source.

    >>> import torch, zoo
    >>> data = zoo.ImageDataModule("digits", batch_size=64, val_size=200)
    >>> x, labels = next(iter(data.train_dataloader()))
    >>> x.shape, labels.dtype
    (torch.Size([62, 1, 28, 28]), torch.int64)

    The examples stay one tensor in memory, as they are stored: on the training GPU where they take less than half of
    its free memory, else on the host. See :class:`zoo.data.batches.Batches` for what a batch is, and
    :func:`zoo.data.splits.load_splits` for the arguments that are not listed here.

    Args:
        name: a source, see :mod:`zoo.data.sources`.
        batch_size: images a process trains on at a time; validation and test see 1,000 or more, fewer
            where pictures are large.
        augment: options of :class:`zoo.data.augment.Augment`, for training images only.
        costs: of two classes, what it costs to take an example of the first one, and of the second one, for the other.
        seed: of data order and augmentation; the splits depend on ``split_seed`` alone.
        train: images to train on in place of the source's; nothing is validated then.
        min_batches: batches that an epoch of training has at least: few images come several times in it.

    Attributes:
        spec: the ``DataSpec`` that a model needs.
        splits: the tensors.
    """

    def __init__(
        self,
        name: str = "digits",
        root: str | Path | None = None,
        batch_size: int = 128,
        val_size: float = 0,
        train_size: int = 0,
        labels: int = 0,
        repeat: int = 1,
        split_seed: int = 0,
        folds: int = 0,
        fold: int = 0,
        train_classes: Sequence[str] = (),
        costs: Sequence[float] | None = None,
        augment: Mapping[str, Any] | None = None,
        seed: int = 0,
        train: Split | None = None,
        min_batches: int = 0,
        **source_options: Any,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ConfigError(f"data.batch_size must be at least 1, not {batch_size}")
        if min_batches < 0:
            raise ConfigError(f"data.min_batches must be at least 0, not {min_batches}")
        self.batch_size, self.min_batches = batch_size, min_batches
        try:
            self.augment = Augment(**(augment or {}))
        except TypeError as error:
            names = ", ".join(field.name for field in dataclasses.fields(Augment))
            raise ConfigError(f"data.augment: its options are {names}, not {', '.join(augment or {})}") from error
        self.seed = seed
        sizes: dict[str, Any] = {"val_size": val_size, "train_size": train_size, "split_seed": split_seed}
        if labels:
            sizes |= {"labels": labels, "repeat": repeat}
        if folds or fold:
            sizes |= {"folds": folds, "fold": fold}
        if train_classes:
            sizes["train_classes"] = [str(name) for name in train_classes]
        self.splits: Splits = load_splits(name, root, **sizes, **source_options)
        if not len(self.splits.train):
            raise DataError(f"data={name} holds no training images, only some to test on")
        self.augment.check(self.splits.spec.kind, self.splits.spec.shape[0])
        self.costs = None if costs is None else checked_costs(costs, self.splits.spec)
        if train is not None:
            self.splits = self.splits.with_train(train)
        for key in PATH_OPTIONS:  # a checkpoint remembers them: they mean the same from any directory
            if source_options.get(key):
                source_options[key] = str(user_path(str(source_options[key])).resolve())
        self._source = {"name": name, **sizes, **source_options}
        if self.costs is not None:
            self._source["costs"] = list(self.costs)
        self.spec: DataSpec = self.splits.spec

    def __repr__(self) -> str:
        return f"{self._title()}\n{self.splits}"

    def _repr_html_(self) -> str:
        """For a notebook."""
        return f"<p>{html.escape(self._title())}</p>{self.splits._repr_html_()}"

    def _title(self) -> str:
        return f"{type(self).__name__}({self._source['name']!r}), batches of {self.batch_size:,}"

    def _batches(self, split: Split, batch_size: int, **options: Any) -> Batches:
        rank, world_size = 0, 1
        if self.trainer is not None:
            split = _resident(split, self.trainer.strategy.root_device)
            rank, world_size = self.trainer.global_rank, self.trainer.world_size
        return Batches(split, batch_size, seed=self.seed, rank=rank, world_size=world_size, **options)

    def batches(self, processes: int) -> int:
        """How many batches an epoch of training has in each of some processes."""
        return len(Batches(self.splits.train, self.batch_size, least=self.min_batches, world_size=processes))

    def train_dataloader(self) -> Batches:
        own = {"shuffle": True, "least": self.min_batches, "augment": self.augment}
        return self._batches(self.splits.train, self.batch_size, **own)

    def val_dataloader(self) -> Batches | list[Batches]:
        return self._evaluation(self.splits.val) if len(self.splits.val) else []

    def test_dataloader(self) -> Batches:
        return self._evaluation(self.splits.test)

    def _evaluation(self, split: Split) -> Batches:
        most = min(EVALUATION_BATCH, EVALUATION_VALUES // math.prod(split.shape))
        return self._batches(split, max(self.batch_size, most))

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: enough to load the same splits again, and the fingerprint of their content."""
        return {**self._source, "fingerprint": self.splits.fingerprint}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Raises ``DataError`` where a run would go on with other images than it began with."""
        if state_dict["fingerprint"] != self.splits.fingerprint:
            raise DataError(f"{self._source['name']} has changed since the run began; a run goes on with the same data")


def _resident(split: Split, device: torch.device) -> Split:
    fits = device.type == "cuda" and split.images.nbytes < torch.cuda.mem_get_info(device)[0] / 2
    return split.to(device) if fits else split
