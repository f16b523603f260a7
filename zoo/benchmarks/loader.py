"""Images a second that reach a training loop, shuffled and normalised, in batches of 128.

The peers hand out normalised images, the zoo's ``Batches`` images in [0, 1] that a model normalises; here that is done
to each batch. The quick ways read their images several times over, the slow ones a part of them: all are rates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from zoo.base.classifier import Normalize
from zoo.benchmarks._benchmark import Benchmark, Options
from zoo.benchmarks._data import mnist, torchvision_loader
from zoo.benchmarks.peers import MEAN, STD
from zoo.data.augment import Augment
from zoo.data.batches import Batches
from zoo.data.splits import Split

IMAGES, SLOW_IMAGES, BATCH = 55000, 22000, 128
PASSES = 5  # of the quick ways


class Batched(Dataset[tuple[Tensor, Tensor]]):
    """A data set that is asked for a batch at a time, converts and normalises it at once."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x, labels = self.__getitems__([index])
        return x[0], labels[0]

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        index = torch.tensor(indices)
        x = self.split.images[index].float().div_(255).sub_(MEAN[0]).div_(STD[0])
        return x, self.split.labels[index]


def rate(loader: Iterable[Any], passes: int = 1, normalize: Callable[[Tensor], Tensor] | None = None) -> float:
    """Images a second of going through ``loader``, its start included."""
    images = 0
    start = time.perf_counter()
    for _ in range(passes):
        for x, labels in loader:
            if normalize is not None:
                normalize(x)
            images += len(labels)
    return images / (time.perf_counter() - start)


def benchmarks(options: Options) -> Iterator[Benchmark]:
    train, _, spec = mnist(IMAGES, options.quick)
    few = train.take(slice(SLOW_IMAGES))
    normalize = Normalize(spec)
    batched = DataLoader(Batched(train), BATCH, shuffle=True, collate_fn=lambda batch: batch)

    def of_batches(augment: Augment | None = None) -> float:
        batches = Batches(train, BATCH, shuffle=True, augment=augment)
        return rate(batches, PASSES, normalize)

    ways = {
        "torchvision + DataLoader": lambda _: rate(torchvision_loader(few, BATCH)),
        "the same, 2 workers": lambda _: rate(torchvision_loader(few, BATCH, workers=2)),
        "DataLoader, whole batches": lambda _: rate(batched, PASSES),
        "Batches": lambda _: of_batches(),
        "Batches, shifted": lambda _: of_batches(Augment(shift=1)),
        "Batches, shifted, flipped": lambda _: of_batches(Augment(shift=1, flip=True)),
    }
    title = f"MNIST, batches of {BATCH}, shuffled and normalised"
    yield Benchmark("loader", title, "images/s", ways, bar="≥ 100", ours="Batches")
