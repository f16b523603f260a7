"""The examples that a command is about: those of files that are named, or of a split of a source."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from zoo.base.model import Model
from zoo.data import kinds
from zoo.errors import ConfigError
from zoo.tasks.evaluate import splits_for


@dataclass(frozen=True)
class Examples:
    """Examples as they are stored, ``(N, C, H, W)``.

    Attributes:
        stored: them.
        names: what to call each: its file, and the line of a table or a text; or its number in the split.
        labels: their classes, of a split; None of files.
        notes: sentences on how they were read.
    """

    stored: Tensor
    names: list[str]
    labels: Tensor | None = None
    notes: tuple[str, ...] = ()


def examples_of(
    model: Model, source: Mapping[str, Any], options: Mapping[str, Any], files: Sequence[str], most: int | None = None
) -> Examples:
    """What ``files`` hold; where none is named, the first examples of the split that ``options`` tell by ``data``,
    ``path``, ``root`` and ``split``.

    Args:
        model: whose examples they are to be.
        source: what it was trained on, see :func:`zoo.registry.load_with_source`.
        options: of a command; ``invert`` of pictures in files.
        files: and folders.
        most: how many; None for all.

    Raises:
        ConfigError: a split that is empty, or an option that is of the other way.
        DataError: a file that cannot be read.
    """
    invert = options.get("invert")
    if invert and (model.spec.kind != "image" or not files):
        raise ConfigError(f"invert={invert} is for pictures that are named")
    if not files:
        splits = splits_for(model.spec, source, options["data"], options["root"], options["path"], whole=True)
        split = getattr(splits, options["split"]).take(slice(most))
        if not len(split):
            raise ConfigError(f"split={options['split']} has no examples")
        return Examples(split.images, [str(number) for number in range(len(split))], split.labels, splits.notes)
    for key, usual in (("data", None), ("path", None), ("root", None), ("split", "test")):
        if options.get(key, usual) != usual:
            raise ConfigError(f"{key}={options[key]} is for examples of a source, and {files[0]} is named")
    return of_files(model, files, invert, most)


def of_files(model: Model, files: Sequence[str], invert: str | None = None, most: int | None = None) -> Examples:
    """What ``files`` hold; files that are no such examples are told of.

    Args:
        model: whose examples they are to be.
        files: and folders.
        invert: of pictures alone, see ``data.invert``; the model's own way if left out.
        most: how many; None for all.

    Raises:
        DataError: a file that cannot be read.
    """
    kind = kinds.find(model.spec.kind)
    paths = kind.find_files(files)
    print(kinds.left_out(files, paths), end="", file=sys.stderr)
    names, stored = kind.read(paths[:most], model.spec, **({"invert": invert} if invert else {}))
    return Examples(stored[:most], names[:most])
