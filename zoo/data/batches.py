"""Batches straight from one stored tensor: an index-select of a seeded permutation, augmented and decoded at once."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zoo.base.fill import local_mean
from zoo.data import kinds
from zoo.data.splits import Split
from zoo.errors import ConfigError


@dataclass(frozen=True)
class Augment:
    """Random changes to training images, drawn anew for each image and epoch.

    Attributes:
        shift: move by up to that many pixels each way, black moving in.
        flip: mirror left and right with probability one half.
        erase: probability that a random rectangle (2–33 % of the area, aspect 0.3–3.3) becomes noise
            (Zhong et al. 2020, Random Erasing Data Augmentation).
        hide: a share of each image is hidden, drawn uniformly from 0 to this, and filled in with the mean of the seen
            pixels around: with probability one half single pixels anywhere, else all along one of the four sides. A
            classifier learns from it to be asked about images of which pixels, or halves, are missing.

    Raises:
        ConfigError: a negative shift, a probability that is none, or a share that leaves nothing to be seen.
    """

    shift: int = 0
    flip: bool = False
    erase: float = 0.0
    hide: float = 0.0

    def __post_init__(self) -> None:
        if self.shift < 0:
            raise ConfigError(f"data.augment.shift must be at least 0 pixels, not {self.shift}")
        if not 0 <= self.erase <= 1:
            raise ConfigError(f"data.augment.erase is a probability, from 0 to 1, not {self.erase}")
        if not 0 <= self.hide < 1:
            raise ConfigError(f"data.augment.hide is a share below 1 of an image's pixels, not {self.hide}")

    def __bool__(self) -> bool:
        return bool(self.shift or self.flip or self.erase or self.hide)

    def check(self, kind: str) -> None:
        """Raise ``ConfigError`` where examples of a ``kind`` are to be changed that are no pictures."""
        if self and kind != "image":
            raise ConfigError(f"data.augment changes pictures, which data of the kind {kind} has none of")

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """uint8 ``(B, C, H, W)`` to the same; the random numbers come from ``generator`` alone."""
        if self.flip or self.shift:
            x = self._moved(x, generator)
        if self.erase:
            x = self._erased(x, generator)
        if self.hide:
            x = local_mean(x, self._seen(x, generator), torch.zeros_like(x[:1]))
        return x

    def _moved(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """One gather for mirror and shift together: each pixel comes from the place that a table names."""
        batch, channels, height, width = x.shape
        reach = self.shift
        variant = torch.zeros(batch, dtype=torch.long, device=x.device)
        if self.flip:
            mirrored = torch.rand(batch, 1, 1, 1, generator=generator, device=x.device) < 0.5
            variant += mirrored.flatten()
        if reach:
            rows, columns = torch.randint(2 * reach + 1, (2, batch), generator=generator, device=x.device)
            variant = (variant * (2 * reach + 1) + rows) * (2 * reach + 1) + columns
            x = torch.nn.functional.pad(x, (reach,) * 4)
        places = _places(height, width, reach, self.flip, x.device).index_select(0, variant)
        moved = x.flatten(2).gather(2, places[:, None].expand(-1, channels, -1))
        return moved.view(batch, channels, height, width)

    def _erased(self, x: Tensor, generator: torch.Generator) -> Tensor:
        batch, _, height, width = x.shape
        u = torch.rand(5, batch, generator=generator, device=x.device)
        area = (0.02 + 0.31 * u[0]) * (height * width)
        aspect = torch.exp(math.log(0.3) + (math.log(3.3) - math.log(0.3)) * u[1])
        tall, wide = (area * aspect).sqrt().clamp(1, height), (area / aspect).sqrt().clamp(1, width)
        top, left = u[2] * (height - tall), u[3] * (width - wide)
        rows = torch.arange(height, device=x.device) + 0.5
        columns = torch.arange(width, device=x.device) + 0.5
        in_rows = (rows >= top[:, None]) & (rows < (top + tall)[:, None])
        in_columns = (columns >= left[:, None]) & (columns < (left + wide)[:, None])
        hit = (u[4] < self.erase)[:, None, None] & in_rows[:, :, None] & in_columns[:, None, :]
        noise = torch.randint(256, x.shape, dtype=torch.uint8, generator=generator, device=x.device)
        return x + (noise - x) * hit[:, None]  # modulo 256, which torch.where needs thirty times as long for

    def _seen(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Which pixels stay, bool ``(B, 1, H, W)``: of each image one at least."""
        batch, _, height, width = x.shape
        share = self.hide * torch.rand(batch, 1, 1, generator=generator, device=x.device)
        kind = torch.randint(8, (batch,), generator=generator, device=x.device)
        order = torch.rand(batch, height, width, generator=generator, device=x.device)  # the first ones are hidden
        rows = ((torch.arange(height, device=x.device)[:, None] + 0.5) / height).expand(height, width)
        columns = ((torch.arange(width, device=x.device) + 0.5) / width).expand(height, width)
        sides = torch.stack([rows, rows.flip(0), columns, columns.flip(1)])
        order = torch.where(kind[:, None, None] < 4, sides[kind % 4], order)
        return (order >= torch.minimum(share, order.amax((1, 2), keepdim=True)))[:, None]


@functools.lru_cache(maxsize=8)
def _places(height: int, width: int, reach: int, flip: bool, device: torch.device) -> Tensor:
    """Where in an image padded by ``reach`` each pixel of a moved one lies, ``(variants, height · width)``.

    A variant is (mirrored, rows, columns), the last one counted fastest. A mirrored image is moved after the mirror.
    """
    padded = torch.arange((height + 2 * reach) * (width + 2 * reach), device=device)
    padded = padded.view(height + 2 * reach, width + 2 * reach)
    sides = [padded, padded.flip(1)] if flip else [padded]
    return torch.cat([side.unfold(0, height, 1).unfold(1, width, 1).reshape(-1, height * width) for side in sides])


class Batches:
    """An iterable of ``(x, labels)``: examples as a model sees them, float32 ``(B, C, H, W)``, and int64 ``(B,)``.

    An epoch visits each image once. It is cut into ``ceil(N / batch_size)`` batches whose sizes differ by one at most,
    so that there is no tiny last batch. ``world_size`` processes share the batches of one process with ``world_size``
    times the ``batch_size``: each takes a piece of each batch, and sizes of pieces differ by one at most. Each
    ``iter()`` starts from the first batch, but for the one after :meth:`load_state_dict`.

    Order and augmentation are functions of ``(seed, epoch, batch)`` alone: they do not depend on what else draws random
    numbers, and an interrupted epoch goes on where it stopped (:meth:`state_dict`).

    Args:
        split: stored examples and labels, on the device where the batches are to be.
        batch_size: largest batch of one process, so that all of them together see ``world_size`` times as many images.
        shuffle: a new random order each epoch.
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
        self.augment.check(split.kind)
        if 0 < len(split) < world_size:
            raise ConfigError(f"{len(split)} images cannot be shared among {world_size} processes")
        # as few batches as batch_size allows, yet none of them empty: its mean loss would be NaN
        self.count = min(math.ceil(len(split) / (batch_size * world_size)), len(split) // world_size)
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
        """Choose the permutation of the epoch that starts next."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        images, labels = self.split.images, self.split.labels
        order = torch.arange(len(labels))
        if self.shuffle:
            order = torch.randperm(len(labels), generator=self._generator(-1))
        batches = order.to(labels.device).tensor_split(max(self.count, 1))
        decode = kinds.find(self.split.kind).decode
        generator = self._generator(0, images.device) if self.augment else None
        first, self._first = self._first, 0
        for number in range(first, self.count):
            self._done = number + 1
            index = batches[number].tensor_split(self.world_size)[self.rank]
            x = images.index_select(0, index)
            if generator is not None:
                x = self.augment(x, generator.manual_seed(self._stream(number)))
            yield decode(x), labels.index_select(0, index)

    def whole(self, number: int) -> int:
        """How many images a batch has in all processes together."""
        least, larger = divmod(len(self.split), self.count)
        return least + (number < larger)

    def _stream(self, number: int) -> int:
        """A seed of its own for each (seed, epoch, batch, process); -1 is the permutation, shared by all processes."""
        stream = 0 if number < 0 else 1 + number * self.world_size + self.rank
        return int(np.random.SeedSequence((self.seed, self.epoch, stream)).generate_state(1, np.uint64)[0] >> 1)

    def _generator(self, number: int, device: torch.device | str = "cpu") -> torch.Generator:
        return torch.Generator(device).manual_seed(self._stream(number))

    def state_dict(self) -> dict[str, int]:
        """Number of batches of the current epoch handed out so far. Lightning stores it with a checkpoint."""
        return {"next": self._done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Start the next iteration after the batches that an interrupted epoch has already seen."""
        self._done = state["next"]
        self._first = self._done % max(self.count, 1)  # after a whole epoch the next one starts at 0
