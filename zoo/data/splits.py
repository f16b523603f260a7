"""From a named source to train, validation and test tensors and the ``DataSpec`` that describes them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.data import sources
from zoo.errors import ConfigError, DataError, did_you_mean
from zoo.spec import DataSpec

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
class Loaded:
    """What a source hands over, see :mod:`zoo.data.sources`.

    Attributes:
        train: what there is to train and to validate on.
        test: the official test split; None where there is none, and a part of ``train`` is to be set apart.
        class_names: in label order, where the source's ``CLASSES`` does not say.
        fingerprint: of the content, hex; taken from all examples if left out.
        settings: of the kind, which go with a model wherever it is used.
    """

    train: Split
    test: Split | None = None
    class_names: tuple[str, ...] = ()
    fingerprint: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


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
    **source_options: Any,
) -> Splits:
    """Load a source and split it.

    The official test split stays apart; where a source has none, a stratified 20 % is set apart with a fixed seed.
    Validation images are drawn from the rest, stratified.

    Args:
        name: a source, see :mod:`zoo.data.sources`.
        root: where data lies or goes; :func:`default_root` if left out.
        val_size: number of validation images, or a fraction of the training images if below 1; 0 for none.
        train_size: keep that many training images, equally many of each class; 0 keeps all.
        labels: keep the labels of that many training images, equally many of each class, and hide those of the others,
            which become ``UNLABELLED``; 0 keeps all.
        repeat: times that each labelled image is among the training images where others are hidden: how much a label
            weighs. Nothing else depends on it.
        split_seed: draws the validation and the training subset, and whose labels are kept.
        **source_options: the source's own.

    Raises:
        ConfigError: unknown source or option, or a value out of range.
        DataError: data missing or damaged, or too little of it for the sizes asked for.
    """
    sources.check(name)
    for key, size, least in (("val_size", val_size, 0), ("train_size", train_size, 0), ("labels", labels, 0),
                             ("repeat", repeat, 1)):  # fmt: skip
        if not size >= least:
            raise ConfigError(f"data.{key} must be at least {least}, not {size}")
    if repeat > 1 and not labels:
        raise ConfigError(f"data.repeat={repeat} is of labelled images where others are hidden: it needs data.labels=…")
    root = Path(root).expanduser() if root else default_root()
    source = sources.find(name)
    for option in source_options:
        if option not in source.OPTIONS:
            hint = did_you_mean(option, source.OPTIONS, "options")
            raise ConfigError(f"data={name} has no option {option!r}: {hint}")
    loaded: Loaded = source.load(root, **{**source.OPTIONS, **source_options})
    train, test = (loaded.train, loaded.test) if loaded.test is not None else _set_test_apart(loaded.train)
    names, fingerprint = source.CLASSES or loaded.class_names, loaded.fingerprint or _fingerprint(train, test)
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
    spec = DataSpec((channels, height, width), len(names), names, mean, std, loaded.settings.get("invert", "auto"))
    if labels:
        train = _hide(train, balanced(train.labels, labels, len(names), generator, "labels"), repeat)
    return Splits(train, val, test, spec, fingerprint)


def _fingerprint(*splits: Split) -> str:
    digest = hashlib.sha256()
    for split in splits:
        for tensor in (split.images, split.labels):
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


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
