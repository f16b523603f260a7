"""MNIST, as the zoo has it and as torchvision's users have it."""

from __future__ import annotations

import functools

import torch
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import MNIST, VisionDataset

from zoo.benchmarks.peers import MEAN, STD
from zoo.data.splits import Split, Splits, load_splits
from zoo.spec import DataSpec

VAL_IMAGES = 5000
QUICK_IMAGES, QUICK_VAL_IMAGES = 384, 200


def device() -> torch.device:
    """Where networks are trained: on the GPU, where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@functools.cache
def _splits() -> Splits:
    return load_splits("mnist", val_size=VAL_IMAGES)


def mnist(images: int, quick: bool = False) -> tuple[Split, Split, DataSpec]:
    """``images`` training images (at most 55,000; 384 if ``quick``), 5,000 for validation (200), and their spec.

    Raises ``DataError`` where MNIST is missing and cannot be downloaded.
    """
    splits = _splits()
    count, held_out = (QUICK_IMAGES, QUICK_VAL_IMAGES) if quick else (images, VAL_IMAGES)
    train, val = splits.train, splits.val
    return (
        train.take(slice(count)),
        val.take(slice(held_out)),
        splits.spec,
    )


def resident(split: Split) -> Split:
    """``split`` on :func:`device`."""
    return split.to(device())


class Torchvision(MNIST):
    """torchvision's data set over images that have been read already: per item, a PIL image goes through transforms.

    Args:
        split: grey images.
        normalized: whether they are normalised after ``ToTensor``.
    """

    def __init__(self, split: Split, normalized: bool = True) -> None:
        steps = [transforms.ToTensor(), *([transforms.Normalize(MEAN, STD)] if normalized else [])]
        VisionDataset.__init__(self, "", transform=transforms.Compose(steps))  # MNIST's own looks for files
        self.data, self.targets = split.images[:, 0], split.labels


def torchvision_loader(
    split: Split, batch: int, *, shuffle: bool = True, normalized: bool = True, workers: int = 0
) -> DataLoader[tuple[torch.Tensor, torch.Tensor]]:
    """Batches as torchvision's users have them."""
    return DataLoader(Torchvision(split, normalized), batch, shuffle=shuffle, num_workers=workers)
