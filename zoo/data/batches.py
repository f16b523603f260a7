"""Batches straight from one stored tensor: an index-select of a seeded permutation, augmented and decoded at once."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from zoo.data import kinds
from zoo.data.augment import Augment
from zoo.data.splits import Split
from zoo.errors import ConfigError


class Batches:
    """An iterable of ``(x, labels)``: examples as a model sees them, float32 ``(B, C, H, W)``, and int64 ``(B,)``.

    An epoch is a pass, which visits each image once. It is cut into ``ceil(N / batch_size)`` batches whose sizes differ
    by one at most, so that there is no tiny last batch. Where these are fewer than ``least``, an epoch has ``least``
    batches: one pass follows the other, and an epoch begins within a pass where the last one ended. ``world_size``
    processes share the batches of one process with ``world_size`` times the ``batch_size``: each takes a piece of each
    batch, and sizes of pieces differ by one at most. Each ``iter()`` starts from the first batch, but for the one after
    :meth:`load_state_dict`.

    Order and augmentation are functions of ``(seed, epoch, batch)`` alone: they do not depend on what else draws random
    numbers, and an interrupted epoch goes on where it stopped (:meth:`state_dict`).

    Args:
        split: stored examples and labels, on the device where the batches are to be.
        batch_size: largest batch of one process, so that all of them together see ``world_size`` times as many images.
        shuffle: a new random order each pass.
        least: batches that an epoch has at least.
        augment: changes to pictures, if any.
        seed: of order and augmentation.
        rank, world_size: this process and the number of processes.

    Raises:
        ConfigError: fewer images than processes, or changes to examples that are no pictures.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        *,
        shuffle: bool = False,
        least: int = 0,
        augment: Augment | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.split = split
        self.shuffle = shuffle
        self.augment = augment or Augment()
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.augment.check(split.kind, split.shape[0])
        if 0 < len(split) < world_size:
            raise ConfigError(f"{len(split)} images cannot be shared among {world_size} processes")
        # as few batches as batch_size allows, yet none of them empty: its mean loss would be NaN
        self.once = min(math.ceil(len(split) / (batch_size * world_size)), len(split) // world_size)
        self.count = max(self.once, least) if self.once else 0
        self.epoch = 0
        self._first = 0  # where the next iteration starts
        self._done = 0  # batches of the current epoch handed out so far

    def __len__(self) -> int:
        return self.count

    batch_sampler = None  # Lightning asks for it wherever there is a sampler

    @property
    def sampler(self) -> Batches:
        """Itself: Lightning announces each epoch to ``loader.sampler.set_epoch``."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutations of the epoch that starts next."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        images, labels = self.split.images, self.split.labels
        decode = kinds.find(self.split.kind).decode
        generator = torch.Generator(images.device) if self.augment else None
        first, self._first = self._first, 0
        for number in range(first, self.count):
            self._done = number + 1
            again, place = self._place(number)
            if place == 0 or number == first:
                batches = self._order(again).to(labels.device).tensor_split(self.once)
            index = batches[place].tensor_split(self.world_size)[self.rank]
            x = images.index_select(0, index)
            if generator is not None:
                x = self.augment(x, generator.manual_seed(self._stream(self.epoch, number)))
            yield decode(x), labels.index_select(0, index)

    def whole(self, number: int) -> int:
        """How many images a batch has in all processes together."""
        least, larger = divmod(len(self.split), self.once)
        return least + (self._place(number)[1] < larger)

    def _place(self, number: int) -> tuple[int, int]:
        """The pass that a batch of the epoch is of, and which batch of the pass it is."""
        return divmod(self.epoch * self.count + number, self.once)

    def _order(self, again: int) -> Tensor:
        """Which images a pass visits, one after the other."""
        if not self.shuffle:
            return torch.arange(len(self.split))
        generator = torch.Generator().manual_seed(self._stream(again, -1))
        return torch.randperm(len(self.split), generator=generator)

    def _stream(self, epoch: int, number: int) -> int:
        """A seed of its own for each (seed, epoch, batch, process); -1 is the permutation of a pass, shared by all
        processes."""
        stream = 0 if number < 0 else 1 + number * self.world_size + self.rank
        return int(np.random.SeedSequence((self.seed, epoch, stream)).generate_state(1, np.uint64)[0] >> 1)

    def state_dict(self) -> dict[str, int]:
        """Number of batches of the current epoch handed out so far. Lightning stores it with a checkpoint."""
        return {"next": self._done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Start the next iteration after the batches that an interrupted epoch has already seen."""
        self._done = state["next"]
        self._first = self._done % max(self.count, 1)  # after a whole epoch the next one starts at 0
