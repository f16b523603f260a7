"""Any set in the form of MNIST's files: pairs of IDX files, images and labels, plain or gzipped.

    path/train-images-idx3-ubyte   path/train-labels-idx1-ubyte
    path/t10k-images-idx3-ubyte    path/t10k-labels-idx1-ubyte     or test-…; and val-…, if there is such a part

A lone pair, whatever its part is called, has a fixed stratified part set apart for the test. Names may begin with
something else, ``emnist-letters-train-images-…``: where a folder holds several such sets, ``data.path`` ends in it.
Images are uint8, ``(N, H, W)``, ``(N, C, H, W)`` as ``scripts/augment.py format=idx`` writes them, or ``(N, H, W, C)``.
Labels are whole numbers from 0 on. Those that occur are the classes, in their order.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.data import idx, published
from zoo.data.splits import Loaded, Split
from zoo.errors import ConfigError, DataError
from zoo.files import user_path

KIND = "image"
CLASSES = None  # the labels say
OPTIONS: dict[str, Any] = {"path": None, "names": []}
PARTS = {"train": "train", "t10k": "test", "test": "test", "val": "val"}
MOST_CHANNELS = 4  # of pictures whose last axis is taken for them
_NAME = re.compile(
    r"(?P<stem>.*?)((?<![^-_.])(?P<part>train|t10k|test|val)[-_.])?"
    r"(?P<what>images|labels)(?P<dot>[-_.])idx\d+([-_.]\w+?)?(?P<gz>\.gz)?",
    re.IGNORECASE,
)


def load(root: Path, path: str | Path | None, names: Sequence[str]) -> Loaded:
    """The pairs of a folder.

    Args:
        root: not used: ``path`` says where the files are.
        path: a folder, or what the names of its files begin with.
        names: of the classes, in the order of their labels, or as many as the largest label says; the labels themselves
            if empty.

    Raises:
        ConfigError: no path, or names that cannot be those of the classes.
        DataError: no such files, or files that are damaged, disagree, or hold what is no picture or no label.
    """
    if not path:
        raise ConfigError("data=idx needs a folder of IDX files: data.path=… or a script's path=…")
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, (str, int)) for name in names):
        raise ConfigError(f"data.names={names}: a list of the classes' names is needed, such as [cat,dog]")
    pairs = _pairs(user_path(str(path)).resolve())
    files = [file for pair in pairs.values() for file in pair]
    values = published.read_once(_read, files)
    parts = dict(zip(pairs, zip(values[::2], values[1::2], strict=True), strict=True))
    notes, images = [], {}
    for part, (pictures, _) in parts.items():
        images[part], note = _channels_first(pictures, pairs[part][0])
        notes += note
    shapes = {tuple(part.shape[1:]): pairs[name][0].name for name, part in images.items()}
    if len(shapes) > 1:
        sizes = ", ".join(f"{name} {' × '.join(map(str, shape))}" for shape, name in shapes.items())
        raise DataError(f"pictures of one size and number of channels are needed, not {sizes}")
    found = parts[next(iter(parts))][1].unique()
    for part, (_, labels) in parts.items():
        other = sorted(set(labels.unique().tolist()) - set(found.tolist()))
        if other:
            some = ", ".join(map(str, other[:5])) + (", …" if len(other) > 5 else "")
            raise DataError(f"{pairs[part][1]} has labels that no training image has: {some}")
    if len(found) < 2:
        raise DataError(f"{files[1]} has one class, {int(found[0])}; at least two are needed")
    class_names, note = _named(found.tolist(), [str(name) for name in names])
    splits = {part: Split(images[part], torch.searchsorted(found, labels)) for part, (_, labels) in parts.items()}
    train = splits.pop(next(iter(splits)))
    return Loaded(train, splits.get("test"), class_names, val=splits.get("val"), notes=(*notes, *note))


def _pairs(path: Path) -> dict[str, tuple[Path, Path]]:
    """Images and labels of each part, the one to train on first; of a lone pair whatever it is called."""
    files = _files(path)
    stems = sorted({stem for stem, _, _ in files})
    if len(stems) > 1:
        listed, folder = ", ".join(stem or "one without a name" for stem in stems), next(iter(files.values())).parent
        raise DataError(f"{path} holds several sets: {listed}\nName one, such as data.path={folder / stems[-1]}")
    pairs = {}
    for part in [part for part in ("", *dict.fromkeys(PARTS.values())) if any(part == other for _, other, _ in files)]:
        images, labels = (files.get((stems[0], part, what)) for what in ("images", "labels"))
        if images is None or labels is None:
            missing = "images" if images is None else "labels"
            raise DataError(f"{images or labels} is alone: the {missing} that belong to it are not beside it")
        pairs[part] = (images, labels)
    if len(pairs) > 1 and ("" in pairs or "train" not in pairs):
        listed = ", ".join(images.name for images, _ in pairs.values())
        raise DataError(f"{path} holds {listed}: call the parts train-… and t10k-…, or have one pair")
    return pairs


def _files(path: Path) -> dict[tuple[str, str, str], Path]:
    """The files of the folder ``path``, or those that begin with its last part, by what their names say: the set, the
    part, and whether they are images or labels. A plain one is taken rather than a gzipped one."""
    one = _NAME.fullmatch(path.name) if path.is_file() else None
    if path.is_file():
        lead = f", such as {path.parent / _lead(one)}" if one else ""
        raise DataError(f"{path} is one file: data.path is their folder, or what the names of a pair begin with{lead}")
    folder, begin = (path, None) if path.is_dir() else (path.parent, path.name)
    try:
        matches = [match for name in sorted(os.listdir(folder)) if (match := _NAME.fullmatch(name))]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    files: dict[tuple[str, str, str], Path] = {}
    for match in sorted(matches, key=lambda match: (match["gz"] is not None, match["dot"] == ".")):
        stem = match["stem"].rstrip("-_.")
        if begin not in (None, _lead(match), stem):
            continue
        key = (stem, PARTS.get((match["part"] or "").lower(), ""), match["what"].lower())
        other = files.setdefault(key, folder / match[0])
        if _content(other.name) != _content(match[0]):
            raise DataError(f"{folder} holds both {other.name} and {match[0]}: keep one")
    if not files:
        where = f"{path} holds no IDX files" if begin is None else f"there are no IDX files that begin with {path}"
        raise DataError(
            f"{where}: they are called train-images-idx3-ubyte and train-labels-idx1-ubyte, t10k-… for the test; "
            "or one such pair, images-… and labels-…; with .gz or without"
        )
    return files


def _lead(match: re.Match[str]) -> str:
    """What the names of a pair begin with."""
    return match.string[: match.start("what")].rstrip("-_.")


def _content(name: str) -> str:
    """The name of what is in a file, however it is spelled or compressed."""
    return name.lower().removesuffix(".gz").replace(".idx", "-idx")


def _read(paths: Sequence[Path]) -> list[Tensor]:
    """Images, as they are stored, and int64 labels of each pair."""
    values = []
    for images, labels in zip(paths[::2], paths[1::2], strict=True):
        pictures, numbers = idx.read_idx(images, remedy="")[0], idx.read_idx(labels, whole=True, remedy="")[0]
        shapes = [" × ".join(map(str, part.shape)) for part in (pictures, numbers)]
        if pictures.dim() not in (3, 4):
            raise DataError(f"{images} holds {shapes[0]} values: pictures are (N, H, W), (N, C, H, W) or (N, H, W, C)")
        if numbers.dim() != 1:
            raise DataError(f"{labels} holds {shapes[1]} values: a label is one number, (N,)")
        idx.check_agreement(images, pictures, labels, numbers, remedy="")
        if int(numbers.min()) < 0:
            raise DataError(f"{labels} holds {int(numbers.min())}: labels are numbers from 0 on")
        values += [pictures, numbers]
    return values


def _channels_first(pictures: Tensor, path: Path) -> tuple[Tensor, list[str]]:
    """``(N, C, H, W)``, and what was taken for the channels where the file does not say."""
    if pictures.dim() == 3:
        return pictures[:, None], []
    first, last = pictures.shape[1], pictures.shape[3]
    if last <= MOST_CHANNELS < first:
        return pictures.permute(0, 3, 1, 2).contiguous(), [
            f"{path.name}: the last axis, of {last}, is taken for channels"
        ]
    return pictures, [f"{path.name}: the first axis of a picture, of {first}, is taken for channels"]


def _named(labels: Sequence[int], names: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """The classes' names, and what a user should know of labels that do not occur."""
    if names and len(names) == labels[-1] + 1:
        chosen = [names[label] for label in labels]
    elif names and len(names) != len(labels):
        span = f", and the largest is {labels[-1]}" if labels[-1] + 1 != len(labels) else ""
        raise ConfigError(f"data.names has {len(names)} names, but {len(labels)} labels occur{span}")
    else:
        chosen = list(names) or [str(label) for label in labels]
    if len(set(chosen)) < len(chosen):
        twice = next(name for name in chosen if chosen.count(name) > 1)
        raise ConfigError(f"data.names names two classes {twice!r}")
    if list(labels) == list(range(len(labels))):
        return tuple(chosen), []
    span = f"the {len(labels)} labels that occur, from {labels[0]} to {labels[-1]}, are the classes"
    left_out = sorted(set(range(labels[-1])) - set(labels))
    some = ", ".join(map(str, left_out[:5])) + (", …" if len(left_out) > 5 else "")
    return tuple(chosen), [f"{span}; none has the label {some}"]
