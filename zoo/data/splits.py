"""From a named source to train, validation and test tensors and the ``DataSpec`` that describes them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.data import idx, image_folder
from zoo.errors import ConfigError, DataError, did_you_mean
from zoo.spec import DataSpec

SOURCES = ("digits", "mnist", "fashion_mnist", "image_folder")
CLASS_NAMES = {
    "digits": tuple("0123456789"),
    "mnist": tuple("0123456789"),
    "fashion_mnist": (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
}  # fmt: skip
FOLDER_OPTIONS: dict[str, Any] = {"path": None, "image_size": 28, "color": "auto", "invert": "auto"}
UNLABELLED = -1  # the label of a training image whose class is hidden
TEST_SEED = 0  # the test split of a source without an official one is the same for ever


@dataclass(frozen=True)
class Split:
    """Images, uint8 ``(N, C, H, W)``, and their labels, int64 ``(N,)``; ``UNLABELLED`` where a class is hidden."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> Split:
        return Split(self.images[index], self.labels[index])

    def labelled(self) -> Split:
        """The images whose class is not hidden."""
        known = self.labels != UNLABELLED
        return self if bool(known.all()) else self.take(known.nonzero()[:, 0])


@dataclass(frozen=True)
class Splits:
    """The three splits of a source, what they look like, and a fingerprint of their content (hex)."""

    train: Split
    val: Split
    test: Split
    spec: DataSpec
    fingerprint: str

    def with_train(self, train: Split) -> Splits:
        """Other training images of the same classes, with a shape and statistics of their own, and no validation."""
        mean, std = statistics(train.images)
        nothing = Split(train.images[:0], train.labels[:0])
        channels, height, width = train.images.shape[1:]
        spec = replace(self.spec, shape=(channels, height, width), mean=mean, std=std)
        return replace(self, train=train, val=nothing, spec=spec)


def default_root() -> Path:
    """The directory ``ZOO_DATA`` names, else ``data`` below the working directory."""
    return Path(os.environ.get("ZOO_DATA") or "data")


def load_splits(
    name: str,
    root: str | Path | None = None,
    val_size: float = 0,
    train_size: int = 0,
    labels: int = 0,
    repeat: int = 1,
    split_seed: int = 0,
    **folder_options: Any,
) -> Splits:
    """Load a source and split it.

    The official test split stays apart; where a source has none (``digits``, a folder without ``test/``) a stratified
    20 % is set apart with a fixed seed. Validation images are drawn from the rest, stratified.

    Args:
        name: ``digits``, ``mnist``, ``fashion_mnist`` or ``image_folder``.
        root: where data lies or goes; :func:`default_root` if left out.
        val_size: number of validation images, or a fraction of the training images if below 1; 0 for none.
        train_size: keep that many training images, equally many of each class; 0 keeps all.
        labels: keep the labels of that many training images, equally many of each class, and hide those of the others,
            which become ``UNLABELLED``; 0 keeps all.
        repeat: times that each labelled image is among the training images where others are hidden: how much a label
            weighs. Nothing else depends on it.
        split_seed: draws the validation and the training subset, and whose labels are kept.
        **folder_options: ``path``, ``image_size``, ``color`` and ``invert`` of an ``image_folder``.

    Raises:
        ConfigError: unknown source or option, or a value out of range.
        DataError: data missing or damaged, or too little of it for the sizes asked for.
    """
    if name not in SOURCES:
        raise ConfigError(f"unknown data {name!r}: {did_you_mean(name, SOURCES, 'sources')}")
    for key, size, least in (("val_size", val_size, 0), ("train_size", train_size, 0), ("labels", labels, 0),
                             ("repeat", repeat, 1)):  # fmt: skip
        if not size >= least:
            raise ConfigError(f"data.{key} must be at least {least}, not {size}")
    if repeat > 1 and not labels:
        raise ConfigError(f"data.repeat={repeat} is of labelled images where others are hidden: it needs data.labels=…")
    root = Path(root).expanduser() if root else default_root()
    train, test, names, invert, fingerprint = _load(name, root, **folder_options)
    count = round(val_size * len(train)) if 0 < val_size < 1 else int(val_size)
    if count >= len(train):
        raise DataError(f"data.val_size={val_size} leaves no training image of the {len(train)} there are")
    generator = torch.Generator().manual_seed(split_seed)
    rest, held_out = stratified(train.labels, count, generator)
    val = train.take(held_out) if count else Split(train.images[:0], train.labels[:0])
    if train_size:
        rest = rest[balanced(train.labels[rest], train_size, len(names), generator)]
    train = train if len(rest) == len(train) else train.take(rest)
    mean, std = statistics(train.images)
    _, channels, height, width = train.images.shape
    spec = DataSpec((channels, height, width), len(names), names, mean, std, invert)
    if labels:
        train = _hide(train, balanced(train.labels, labels, len(names), generator, "labels"), repeat)
    return Splits(train, val, test, spec, fingerprint)


def _load(name: str, root: Path, **options: Any) -> tuple[Split, Split, tuple[str, ...], str, str]:
    if name == "image_folder":
        for option in options:
            if option not in FOLDER_OPTIONS:
                raise ConfigError(
                    f"data={name} has no option {option!r}: {did_you_mean(option, FOLDER_OPTIONS, 'options')}"
                )
        chosen = FOLDER_OPTIONS | options
        if not chosen["path"]:
            raise ConfigError(
                "data=image_folder needs a folder that holds one folder a class: data.path=… or a script's path=…"
            )
        chosen["path"] = Path(chosen["path"]).expanduser()
        parts, names, fingerprint = image_folder.load(root=root, **chosen)
        if "all" in parts:
            train, test = _set_test_apart(Split(*parts["all"]))
        else:
            train, test = Split(*parts["train"]), Split(*parts["test"])
        return train, test, names, chosen["invert"], fingerprint
    if options:
        raise ConfigError(f"data={name} has no option {', '.join(map(repr, options))}")
    if name == "digits":
        images, labels = _digits()
        train, test = _set_test_apart(Split(images, labels))
    else:
        tensors = idx.load(name, root)
        train = Split(tensors[0][:, None], tensors[1].long())
        test = Split(tensors[2][:, None], tensors[3].long())
    digest = hashlib.sha256()
    for tensor in (train.images, train.labels, test.images, test.labels):
        digest.update(tensor.numpy().tobytes())
    return train, test, CLASS_NAMES[name], "auto", digest.hexdigest()


def _digits() -> tuple[Tensor, Tensor]:
    """scikit-learn's 1,797 handwritten digits (8×8, 17 grey levels), resized to 28×28."""
    from sklearn.datasets import load_digits  # slow to import

    digits = load_digits()
    grey = torch.from_numpy(digits.images).float()[:, None] * (255 / 16)
    resized = torch.nn.functional.interpolate(grey, size=(28, 28), mode="bicubic", align_corners=False)
    return resized.round().clamp(0, 255).to(torch.uint8), torch.from_numpy(digits.target).long()


def _set_test_apart(data: Split) -> tuple[Split, Split]:
    count = max(round(0.2 * len(data)), 1)
    rest, test = stratified(data.labels, count, torch.Generator().manual_seed(TEST_SEED))
    return data.take(rest), data.take(test)


def stratified(labels: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Indices ``(rest, part)``: ``part`` has ``count`` entries, its classes in the proportions of ``labels``."""
    totals = labels.bincount()
    exact = totals.double() * count / max(len(labels), 1)
    counts = exact.floor().long()
    remainder = (exact - counts).argsort(descending=True, stable=True)
    counts[remainder[: count - int(counts.sum())]] += 1
    part = _draw(labels, counts.tolist(), generator)
    mask = torch.ones(len(labels), dtype=torch.bool)
    mask[part] = False
    return mask.nonzero()[:, 0], part


def draw(split: Split, count: int) -> Split:
    """``count`` images of a split, stratified, drawn from a fixed seed; all of them if there are no more, or for 0."""
    if not 0 < count < len(split):
        return split
    strata = split.labels - min(int(split.labels.min()), 0)  # those without a label are one of their own
    return split.take(stratified(strata, count, torch.Generator().manual_seed(0))[1])


def _hide(train: Split, known: Tensor, repeat: int) -> Split:
    """Hide the classes of all images but ``known``, which occur ``repeat`` times: behind the others from the second."""
    labels = torch.full_like(train.labels, UNLABELLED)
    labels[known] = train.labels[known]
    hidden = Split(train.images, labels)
    if repeat == 1:
        return hidden
    return hidden.take(torch.cat([torch.arange(len(labels)), known.repeat(repeat - 1)]))


def balanced(
    labels: Tensor, count: int, num_classes: int, generator: torch.Generator, option: str = "train_size"
) -> Tensor:
    """Indices of ``count`` entries, equally many a class; the first classes get one more where it does not divide.

    ``option`` is the one of ``data`` that an error names.
    """
    counts = [count // num_classes + (label < count % num_classes) for label in range(num_classes)]
    available = labels.bincount(minlength=num_classes).tolist()
    if any(want > have for want, have in zip(counts, available, strict=True)):
        smallest = min(available)
        largest = smallest * num_classes + available.index(smallest)  # the classes before it may have one more
        raise DataError(
            f"data.{option}={count} needs {max(counts)} training images of each class, but one has only {smallest}: "
            f"at most {largest} images make a balanced subset, or 0 for all"
        )
    return _draw(labels, counts, generator)


def _draw(labels: Tensor, counts: Sequence[int], generator: torch.Generator) -> Tensor:
    """``counts[k]`` random indices of each class k, sorted."""
    chosen = []
    for label, count in enumerate(counts):
        members = (labels == label).nonzero()[:, 0]
        chosen.append(members[torch.randperm(len(members), generator=generator)[:count]])
    return torch.cat(chosen).sort()[0]


def statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel's pixels in [0, 1]; exact, from counts of the 256 levels."""
    counts = torch.zeros(images.shape[1], 256, dtype=torch.float64)
    for chunk in images.split(8192):
        for channel in range(len(counts)):
            counts[channel] += chunk[:, channel].flatten().bincount(minlength=256)
    levels = torch.arange(256, dtype=torch.float64) / 255
    weights = counts / counts.sum(1, keepdim=True)
    mean = weights @ levels
    std = (weights @ levels.square() - mean.square()).clamp_min(0).sqrt().clamp_min(1 / 255)
    return tuple(mean.tolist()), tuple(std.tolist())
