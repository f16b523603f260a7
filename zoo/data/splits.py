"""From a named source to train, validation and test tensors and the ``DataSpec`` that describes them."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo import notebook
from zoo.data import kinds, sources
from zoo.data.folds import check_fold, in_fold, of_groups
from zoo.errors import ConfigError, DataError, did_you_mean, some
from zoo.files import user_path
from zoo.spec import Column, DataSpec

UNLABELLED = -1  # the label of a training image whose class is hidden
TEST_SHARE = 0.2
TEST_SEED = 0  # the test split of a source without an official one is the same for ever


@dataclass(frozen=True, repr=False)
class Split:
    """Examples as they are stored, ``(N, C, H, W)``, and their labels, int64 ``(N,)``.

    Attributes:
        images: pictures, uint8, or examples of another kind.
        labels: ``UNLABELLED`` where a class is hidden.
        kind: what the examples are, see :mod:`zoo.data.kinds`.
    """

    images: Tensor
    labels: Tensor
    kind: str = "image"

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Split({len(self):,} × {tuple(self.shape)}, {self.images.dtype}, {self.kind})"

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of an example."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def take(self, index: Tensor | slice) -> Split:
        return replace(self, images=self.images[index], labels=self.labels[index])

    def to(self, device: torch.device | str) -> Split:
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    @property
    def hides_classes(self) -> bool:
        """Whether the class of any example is hidden."""
        return bool((self.labels == UNLABELLED).any())

    def labelled(self) -> Split:
        """The images whose class is not hidden."""
        return self.take((self.labels != UNLABELLED).nonzero()[:, 0]) if self.hides_classes else self

    def shuffled(self, count: int, generator: torch.Generator) -> Split:
        """``count`` examples in random order, without replacement, or all if there are fewer."""
        return self.take(torch.randperm(len(self), generator=generator)[:count])

    def x(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """All examples as a model sees them, ``(N, C, H, W)``. Pictures take four times the memory: see :meth:`chunks`.

        ``dtype``: another floating type, in which stored values are decoded then.
        """
        stored = self.images if dtype == torch.float32 else self.images.to(dtype)
        return kinds.find(self.kind).decode(stored)

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """``size`` examples at a time as a model sees them, and their labels."""
        for start in range(0, len(self), size):
            part = self.take(slice(start, start + size))
            yield part.x(), part.labels


@dataclass(frozen=True)
class Loaded:
    """What a source hands over, see :mod:`zoo.data.sources`.

    Attributes:
        train: what there is to train and to validate on.
        test: the official test split; None where there is none, and a part of ``train`` is to be set apart.
        class_names: in label order, where the source's ``CLASSES`` does not say.
        fingerprint: of the content, hex; taken from all examples if left out.
        settings: of the kind, which go with a model wherever it is used; its defaults if left out.
        columns: what the entries along the last axis are, if they have names. Of a column of categories an entry is the
            number of one among them.
        unused: names of columns that a model is not to see, since they tell nothing of an example, and ``unused_why``,
            a sentence on that, for whoever trains one.
        target: what the user's file calls the column of classes.
        groups: int64 ``(N,)``: which of ``train`` belong together, and stay on one side wherever they are parted; None
            where each stands for itself.
        folds: int64 ``(N,)``: the official fold of each of ``train``, from 0; None where none are published.
        val: the official validation split; None where there is none, and a part of ``train`` may be held out.
        notes: what a user should know of how the data was read, in sentences: what was left out, say.
        apart: bool ``(N,)``: which of ``train`` are to be set apart where ``test`` is None; a stratified random 20 % if
            left out.
    """

    train: Split
    test: Split | None = None
    class_names: tuple[str, ...] = ()
    fingerprint: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    columns: tuple[Column, ...] = ()
    val: Split | None = None
    notes: tuple[str, ...] = ()
    apart: Tensor | None = None
    unused: tuple[str, ...] = ()
    unused_why: str = ""
    target: str = ""
    groups: Tensor | None = None
    folds: Tensor | None = None


@dataclass(frozen=True, repr=False)
class Splits:
    """The three splits of a source, what they look like, a fingerprint of their content (hex), and sentences for the
    user on how they were read."""

    train: Split
    val: Split
    test: Split
    spec: DataSpec
    fingerprint: str
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """On one screen: how many examples of each class there are in each split."""
        rows = [f"  {name:<6}{count:>7}{': ' * bool(told)}{told}" for name, count, told in self._counts()]
        return "\n".join([repr(self.spec), *rows, *(f"  {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        """For a notebook."""
        return notebook.table(
            self._counts(),
            ("split", f"{kinds.find(self.spec.kind).NOUN}s", "of each class"),
            [repr(self.spec), *self.notes],
        )

    def _counts(self) -> Iterator[tuple[str, str, str]]:
        """Of each split its name, how many examples there are, and of each class."""
        for name, part in {"train": self.train, "val": self.val, "test": self.test}.items():
            known = part.labels[part.labels >= 0]
            counts = known.bincount(minlength=self.spec.num_classes).tolist()
            told = some([f"{each} {count:,}" for each, count in zip(self.spec.class_names, counts, strict=True)], 10)
            hidden = f", {len(part) - len(known):,} of a class that is hidden" if len(known) < len(part) else ""
            yield name, f"{len(part):,}", f"{told}{hidden}" if len(part) else ""

    def with_train(self, train: Split) -> Splits:
        """Other training images of the same classes, with a shape and statistics of their own, and no validation."""
        kind = kinds.find(train.kind)
        mean, std = kind.statistics(train.images, self.spec)
        std = tuple(1.0 if place in self._of_categories else value for place, value in enumerate(std))
        missing = self.spec.missing or kind.has_missing(train.images)
        shape = self.spec.shape if self.spec.vocabulary else train.shape
        spec = replace(self.spec, shape=shape, mean=mean, std=std, missing=missing)
        return replace(self, train=train, val=train.take(slice(0)), spec=spec)

    @property
    def _of_categories(self) -> set[int]:
        """Entries that are no numbers, whose scale is theirs."""
        return {place for places in self.spec.categories for place in range(places.start, places.stop)}


def matched(splits: Splits, spec: DataSpec) -> Splits:
    """The same examples with the labels that a model of ``spec`` has for classes of their names.

    An example of a class that the model does not know becomes ``UNLABELLED``, and a note says so.
    """
    names = splits.spec.class_names
    if names == spec.class_names:
        return splits
    numbers = torch.tensor([*spec.class_numbers(names), UNLABELLED])  # the last one stands for what is hidden already
    parts = {name: getattr(splits, name) for name in ("train", "val", "test")}
    parts = {name: replace(part, labels=numbers[part.labels]) for name, part in parts.items()}
    unknown = [name for name, number in zip(names, numbers.tolist(), strict=False) if number < 0]
    notes = splits.notes
    if unknown:
        theirs, ours = (some(classes, most=10) for classes in (unknown, spec.class_names))
        notes = (*notes, f"classes that the model does not know are left out: {theirs}; it knows {ours}")
    described = replace(splits.spec, num_classes=spec.num_classes, class_names=spec.class_names)
    return replace(splits, **parts, spec=described, notes=notes)


def checked_costs(costs: Any, spec: DataSpec) -> tuple[float, float]:
    """What mistakes cost, as two numbers. Raises ``ConfigError`` where they are none, or there are no two classes."""
    if spec.num_classes != 2:
        raise ConfigError(f"data.costs are of two classes, and the data has {spec.num_classes}")
    costs = list(costs) if isinstance(costs, Sequence) and not isinstance(costs, str) else [costs]
    numbers = [cost for cost in costs if isinstance(cost, (int, float)) and not isinstance(cost, bool) and cost > 0]
    if len(numbers) != 2 or len(costs) != 2 or not all(map(math.isfinite, numbers)):
        first, second = spec.class_names
        raise ConfigError(
            f"data.costs={costs}: two numbers above 0 are needed, what it costs to take an example of {first!r} "
            f"for {second!r}, and the other way round"
        )
    return float(numbers[0]), float(numbers[1])


def default_root() -> Path:
    """The directory ``ZOO_DATA`` names, else ``data`` below the working directory."""
    return user_path(os.environ.get("ZOO_DATA") or "data")


def load_splits(
    name: str,
    root: str | Path | None = None,
    val_size: float = 0,
    train_size: int = 0,
    labels: int = 0,
    repeat: int = 1,
    split_seed: int = 0,
    folds: int = 0,
    fold: int = 0,
    train_classes: Sequence[str] = (),
    whole: bool = False,
    like: DataSpec | None = None,
    **options: Any,
) -> Splits:
    """Load a source and split it.

    The official test split stays apart; where a source has none, what it names is set apart, or else a stratified 20 %
    with a fixed seed. There need be no training images where the source holds a test split alone.
    Validation images are the official ones, or else drawn from the rest, stratified. Examples that belong together, see
    :class:`Loaded`, are on one side. What is fitted to data, of whatever kind, is fitted to the training images.

    Args:
        name: a source, see :mod:`zoo.data.sources`.
        root: where data lies or goes; :func:`default_root` if left out.
        val_size: number of validation images, or a fraction of the training images if below 1; 0 for none.
        train_size: keep that many training images, equally many of each class; 0 keeps all.
        labels: keep the labels of that many training images, equally many of each class, and hide those of the others,
            which become ``UNLABELLED``; 0 keeps all.
        repeat: times that each labelled image is among the training images where others are hidden: how much a label
            weighs. Nothing else depends on it.
        split_seed: draws the folds, the validation and the training subset, and whose labels are kept.
        folds: cut what there is to train on into that many stratified parts; 0 does not. Where as many are published,
            they are these.
        fold: the part that is the test split, counted from 0. An official test split is left alone then.
        train_classes: the classes whose images alone are trained and validated on, by name; all if left out.
        whole: all of a source that has no official test split is test, since nothing is to be trained on it.
        like: the spec of a model that is to see these images: they are scaled, and their columns and categories told
            apart, as it says.
        **options: the source's own, and those of its kind.

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
    check_fold(folds, fold)
    root = user_path(root) if root else default_root()
    source = sources.find(name)
    kind = kinds.find(source.KIND)
    of_kind = {key: options.pop(key) for key in kind.OPTIONS if key in options}
    _check_options(name, options, source.OPTIONS)
    _check_options(name, of_kind, kind.OPTIONS)
    loaded: Loaded = source.load(root, **{**source.OPTIONS, **options})
    train = replace(loaded.train, kind=source.KIND)
    test = None if loaded.test is None else replace(loaded.test, kind=source.KIND)
    official_val = None if loaded.val is None else replace(loaded.val, kind=source.KIND)
    names, groups = source.CLASSES or loaded.class_names, loaded.groups
    if isinstance(loaded.settings.get("context"), int) and (folds or val_size):
        raise ConfigError(
            f"data.{'folds' if folds else 'val_size'} parts examples at random, and windows of running text overlap: "
            "data.val_share holds out its beginning"
        )
    if labels and len(names) == 1:
        raise ConfigError(f"data.labels={labels} hides classes, and the data has one alone")
    if like is not None:
        _check_cut(loaded, source.KIND, like)
    notes = [*loaded.notes, *([] if like is not None or not loaded.unused else [loaded.unused_why])]
    for split in (train, test, official_val):
        if split is not None:
            _check(split, len(names), name)
    if folds and not (whole and test is None):
        if test is not None:
            notes.append(f"the official test split of {len(test):,} {kind.NOUN}s is left alone")
        held, which = in_fold(train.labels, groups, folds, fold, split_seed), "fold"
        if loaded.folds is not None and int(loaded.folds.max()) + 1 == folds:
            held, which = (loaded.folds == fold).nonzero()[:, 0], "official fold"
        train, test, groups = _without(train, groups, held)
        notes.append(f"the test split is {which} {fold} of {folds}, {len(test):,} {kind.NOUN}s")
    elif test is None:
        held = torch.arange(len(train)) if whole else _set_apart(train.labels, loaded.apart, groups)
        train, test, groups = _without(train, groups, held)
        if loaded.apart is not None and not whole:
            notes.append(f"{len(test):,} of {len(train) + len(test):,} {kind.NOUN}s are set apart as the test split")
    parts = [train, test, *([] if official_val is None else [official_val])]
    fingerprint = loaded.fingerprint or _fingerprint(*parts)
    notes += _absent(train, test, names, kind.NOUN)
    count = round(val_size * len(train)) if 0 < val_size < 1 else int(val_size)
    count = count if official_val is None and len(train) else 0
    if count and count >= len(train):
        raise DataError(f"data.val_size={val_size} leaves no training {kind.NOUN} of the {len(train)} there are")
    generator = torch.Generator().manual_seed(split_seed)
    if groups is None:
        rest, held = stratified(train.labels, count, generator)
    else:
        held = of_groups(train.labels, groups, count, split_seed)
        rest = _others(held, len(train))
    val = train.take(held if len(held) else slice(0)) if official_val is None else official_val
    if train_classes:
        chosen = _numbers_of(train_classes, names)
        rest = rest[torch.isin(train.labels[rest], chosen)]
        val = val.take(torch.isin(val.labels, chosen).nonzero()[:, 0])
        if not len(rest):
            raise DataError(f"no training {kind.NOUN} is of data.train_classes={','.join(train_classes)}")
    if train_size:
        rest = rest[balanced(train.labels[rest], train_size, len(names), generator)]
    train = train if len(rest) == len(train) else train.take(rest)
    raw = (train if len(train) else test).images
    fitted = kind.fit(raw, loaded.columns, loaded.unused, like, **of_kind)
    settings = kinds.complete(kind.SETTINGS, loaded.settings, fitted.pop("settings", {}))
    notes += fitted.pop("notes", [])
    spec = DataSpec(
        num_classes=len(names), class_names=names, settings=settings, kind=source.KIND, target=loaded.target, **fitted
    )
    train, val, test = (
        replace(part, images=kind.store(part.images, loaded.columns, spec)) for part in (train, val, test)
    )
    spec = replace(spec, missing=any(kind.has_missing(part.images) for part in (train, val, test)))
    if labels:
        train = _hide(train, balanced(train.labels, labels, len(names), generator, "labels"), repeat)
    return Splits(train, val, test, spec, fingerprint, tuple(notes))


def _check_cut(loaded: Loaded, kind: str, like: DataSpec) -> None:
    """Raise ``DataError`` where running text was cut in another way than the model of ``like`` was made for, or is no
    running text, or is one."""
    context = loaded.settings.get("context")
    runs = like.is_running
    if like.kind == kind == "tokens" and runs != isinstance(context, int):
        what = "running text, which these texts, that end, are not" if runs else "texts that end, not for running text"
        raise DataError(f"the model was made for {what}")
    if runs and (context, loaded.train.shape) != (like.context, like.shape):
        raise DataError(
            f"the model was made for windows of {like.shape[2]} characters, {like.context} of them known: "
            f"data.length={like.shape[2]} data.context={like.context}"
        )


def _check_options(name: str, options: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Raise ``ConfigError`` for an option that a source does not have, or a value of another type than its default."""
    for option, value in options.items():
        if option not in known:
            raise ConfigError(f"data={name} has no option {option!r}: {did_you_mean(option, known, 'options')}")
        default = known[option]
        if isinstance(default, float) and type(value) is int:
            continue  # 0 is as good as 0.0
        if default is not None and not isinstance(default, list) and type(value) is not type(default):
            raise ConfigError(f"data.{option} is {type(value).__name__}, where {type(default).__name__} is needed")


def _numbers_of(classes: Sequence[str], names: Sequence[str]) -> Tensor:
    """The labels of classes. Raises ``ConfigError`` for a name that no class has."""
    for text in map(str, classes):
        if text not in names:
            hint = did_you_mean(text, names, "classes")
            raise ConfigError(f"data.train_classes: no class is called {text!r}: {hint}")
    return torch.tensor([names.index(str(text)) for text in classes])


def _others(index: Tensor, count: int) -> Tensor:
    """The indices below ``count`` that are not in ``index``, sorted."""
    mask = torch.ones(count, dtype=torch.bool)
    mask[index] = False
    return mask.nonzero()[:, 0]


def _without(data: Split, groups: Tensor | None, held: Tensor) -> tuple[Split, Split, Tensor | None]:
    """The examples that are not ``held``, those that are, and the groups of the former."""
    rest = _others(held, len(data))
    return data.take(rest), data.take(held), None if groups is None else groups[rest]


def _check(split: Split, classes: int, source: str) -> None:
    """Raise ``DataError`` where a source hands over what is no examples of so many classes."""
    labels, whole = split.labels, split.labels.dtype == torch.int64 and split.labels.dim() == 1
    if not whole or split.images.dim() != 4 or len(split.images) != len(labels):
        shapes = f"{tuple(split.images.shape)} and {tuple(labels.shape)} {labels.dtype}"
        raise DataError(f"data={source} hands over {shapes}; examples (N, C, H, W) and int64 labels (N,) are needed")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise DataError(
            f"data={source} has labels from {int(labels.min())} to {int(labels.max())} of {classes} classes"
        )


def _fingerprint(*splits: Split) -> str:
    digest = hashlib.sha256()
    for split in splits:
        for tensor in (split.images, split.labels):
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _absent(train: Split, test: Split, names: Sequence[str], noun: str) -> list[str]:
    """Notes on classes without an example to train or to test on."""
    notes = []
    for part, split in (("training", train), ("test", test)):
        counts = split.labels.bincount(minlength=len(names)).tolist()
        absent = [name for name, count in zip(names, counts, strict=True) if not count]
        if absent and len(split):
            notes.append(f"no {part} {noun} of a class: {some(absent)}")
    return notes


def _set_apart(labels: Tensor, apart: Tensor | None, groups: Tensor | None) -> Tensor:
    """Sorted indices of the examples that make the test split of a source without an official one."""
    if apart is not None:
        if not bool(apart.any()):
            raise DataError("all images are the same: none can be set apart to test on")
        return apart.nonzero()[:, 0]
    count = max(round(TEST_SHARE * len(labels)), 1)
    if groups is not None:
        held = of_groups(labels, groups, count, TEST_SEED)
        if not len(held):
            raise DataError("all examples are of one group: none can be set apart to test on")
        return held
    return stratified(labels, count, torch.Generator().manual_seed(TEST_SEED))[1]


def stratified(labels: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Indices ``(rest, part)``: ``part`` has ``count`` entries, its classes in the proportions of ``labels``."""
    totals = labels.bincount()
    exact = totals.double() * count / max(len(labels), 1)
    counts = exact.floor().long()
    remainder = (exact - counts).argsort(descending=True, stable=True)
    counts[remainder[: count - int(counts.sum())]] += 1
    part = _draw(labels, counts.tolist(), generator)
    return _others(part, len(labels)), part


def parted(split: Split, count: int, generator: torch.Generator) -> tuple[Split, Split]:
    """``(rest, part)``: a stratified random part of ``count`` examples, and the others."""
    strata = split.labels - min(int(split.labels.min()), 0)  # those without a label are one of their own
    rest, part = stratified(strata, count, generator)
    return split.take(rest), split.take(part)


def draw(split: Split, count: int, generator: torch.Generator | None = None) -> Split:
    """``count`` examples of a split, stratified; all of them if there are no more, or for 0.

    They are drawn from a fixed seed where there is no ``generator``.
    """
    if not 0 < count < len(split):
        return split
    return parted(split, count, generator or torch.Generator().manual_seed(0))[1]


def evenly(count: int, of: int) -> Tensor:
    """``count`` of the numbers below ``of``, or all if there are fewer, at even distances: images of all classes, even
    where they lie class by class."""
    return torch.linspace(0, of - 1, min(count, of)).round().long()


def _hide(train: Split, known: Tensor, repeat: int) -> Split:
    """Hide the classes of all images but ``known``, which occur ``repeat`` times: behind the others from the second."""
    labels = torch.full_like(train.labels, UNLABELLED)
    labels[known] = train.labels[known]
    hidden = replace(train, labels=labels)
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
    return torch.cat(chosen).sort()[0] if chosen else labels.new_zeros(0)
