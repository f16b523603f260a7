"""What an example is: a module a kind, found by its file's name; a :class:`zoo.spec.DataSpec` names its kind.

A file that is added here is found without another edit. ``stored`` examples are ``(N, C, H, W)``, of the type that a
:class:`zoo.data.splits.Split` holds in memory; ``x`` is what a model sees of them, float32 of the same shape.

================  =====================================================================================================
``VALUES``        what the entries are: ``values`` of the spec
``SETTINGS``      what must be known to treat other examples like those of the training: by name, the choices, the
                  first of which is the default; {} for none
``decode``        ``decode(stored) -> x``: the one place where stored values become what a model sees. Stored numbers
                  that were made floating ones before keep their type
``convert``       ``convert(values, spec) -> x``: what somebody hands over in Python, of the shape that :func:`tensor`
                  gives it, as floating numbers. Raises ``DataError`` for what may mean one thing or another
``encode``        ``encode(x) -> stored``: the stored values that are nearest to what a model gives
``statistics``    ``statistics(stored) -> (mean, std)``: of what is seen, per channel or per entry, for the spec
``has_missing``   ``has_missing(stored) -> bool``: whether any value is missing
``show``          ``show(x, spec)``: pictures to look at, ``(N, c, h, w)`` in [0, 1], of one channel or three
``find_files``    ``find_files(names)``: the files that a user means who names files and folders. Raises ``DataError``
                  for what does not exist, or holds none
``read``          ``read(paths, spec, **settings)``: what a user's files hold, as ``(names, stored)``: what to call each
                  example, and the examples. Settings take the place of the spec's. Raises ``DataError``, which names
                  it, for a file that cannot be read
``FORMAT``        of the files that ``write`` writes, in a word
``write``         ``write(stored, labels, spec, folder)`` puts labelled examples into ``folder``; the names of what was
                  written there
``trial``         ``trial(n) -> (stored, spec)``: ``n`` made-up examples, always the same, and what describes them, for
                  a first try of any model
================  =====================================================================================================
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from zoo import found
from zoo.errors import ConfigError, DataError, did_you_mean
from zoo.files import user_path
from zoo.spec import DataSpec

LEVEL = 1 / 255  # from a grey level to the next


class Kind(Protocol):
    """What the module of a kind has, see above."""

    VALUES: str
    SETTINGS: Mapping[str, tuple[str, ...]]
    FORMAT: str

    def decode(self, stored: Tensor) -> Tensor: ...

    def convert(self, values: Any, spec: DataSpec) -> Tensor: ...

    def encode(self, x: Tensor) -> Tensor: ...

    def statistics(self, stored: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]: ...

    def has_missing(self, stored: Tensor) -> bool: ...

    def show(self, x: Tensor, spec: DataSpec) -> Tensor: ...

    def find_files(self, names: Sequence[str]) -> list[Path]: ...

    def read(self, paths: Sequence[Path], spec: DataSpec, **settings: Any) -> tuple[list[str], Tensor]: ...

    def trial(self, n: int) -> tuple[Tensor, DataSpec]: ...

    def write(self, stored: Tensor, labels: Tensor, spec: DataSpec, folder: Path) -> list[str]: ...


def names() -> list[str]:
    """The names of all kinds. Nothing is imported."""
    return found.names(__name__)


@functools.cache
def find(name: str) -> Kind:
    """The module of a kind. Raises ``ConfigError`` with the nearest names if there is no such kind."""
    return found.find(__name__, name, "kind of data", "kinds")


def examples(values: Any, spec: DataSpec) -> Tensor:
    """What somebody hands over in Python as examples ``(N, C, H, W)`` of floating numbers: arrays, tensors, what else
    the kind knows, or the paths of files, one or a list.

    Raises ``DataError`` for what is none, or may mean one thing or another; values are not looked at.
    """
    kind = find(spec.kind)
    paths = [values] if isinstance(values, (str, os.PathLike)) else values
    if isinstance(paths, (list, tuple)) and paths and all(isinstance(path, (str, os.PathLike)) for path in paths):
        return kind.decode(kind.read(kind.find_files([os.fspath(path) for path in paths]), spec)[1])
    return kind.convert(values, spec)


def tensor(values: Any, spec: DataSpec) -> Tensor:
    """An array, a tensor, or a list of such or of numbers, as a tensor ``(N, C, H, W)`` of the spec's shape.

    Leading ones of the shape may be left out, and so may N, of one example. Examples may come flattened where there is
    one channel, and with their channels last.

    Raises ``DataError`` for other shapes, and for what is no array of numbers.
    """
    try:
        if isinstance(values, (list, tuple)) and any(isinstance(value, Tensor) for value in values):
            x = torch.stack([torch.as_tensor(value) for value in values])
        elif isinstance(values, Tensor):
            x = values
        else:
            array = np.asarray(values)
            x = torch.from_numpy(np.require(array, array.dtype.newbyteorder("="), ["C", "W"]))
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{type(values).__name__} is no array of numbers: {reason}") from error
    if x.is_complex() or x.layout != torch.strided or x.is_quantized:
        raise DataError(f"values are real numbers in a dense tensor, not {x.dtype}, {x.layout}")
    channels, height, width = spec.shape
    shape, flat = tuple(x.shape), math.prod(spec.shape)
    short = [spec.shape[start:] for start in range(3) if all(size == 1 for size in spec.shape[:start])]
    for one in (*short, *([(flat,)] if channels == 1 else [])):
        if shape == one or shape[1:] == one:
            return x.reshape(-1, *spec.shape)
    last = (height, width, channels)
    if shape == last or shape[1:] == last:
        return x.reshape(-1, *last).permute(0, 3, 1, 2)
    spec.check_examples(shape[1:] if len(shape) > 3 else shape)
    raise DataError(f"there are examples {shape} where (N, {', '.join(map(str, spec.shape))}) are needed")


def check_range(x: Tensor, low: float, high: float, spec: DataSpec) -> None:
    """Raise ``DataError`` where ``x``, whose values are from ``low`` to ``high``, cannot be examples: none is infinite,
    and grey values are in [0, 1].

    To be within a level of that is enough, since levels that noise has made real numbers are. Multiples of 1/255² no
    brighter than 1/255 have been divided by 255 twice.
    """
    made_for = f"the model was made for {spec.wanted}"
    if math.isinf(low) or math.isinf(high):
        raise DataError(f"a value is infinite: {made_for}")
    if spec.values != "grey":
        return
    if low < -LEVEL or high > 1 + LEVEL:
        hint = ""
        if low < -LEVEL:
            hint = "; they look standardised: hand over the pictures themselves"
        elif 2 < high <= 255:
            hint = "; divide by 255, or hand over uint8"
        raise DataError(f"values from {low:.4g} to {high:.4g} are no grey values: {made_for}{hint}")
    if low == 0 < high <= 1.0001 * LEVEL:  # rare: a second look costs nothing
        steps = x.double() / LEVEL**2
        between = (steps > 0.5) & (steps < 254.5)
        if bool(between.any()) and bool(((steps - steps.round()).abs() < 0.01).all()):
            raise DataError(f"the values were divided by 255 twice: {made_for}")


def complete(choices: Mapping[str, tuple[str, ...]], *given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by name: the defaults among the ``choices`` of a kind, and what is given in their place, the last first.

    Raises ``ConfigError`` for one that the kind does not have, or a value that is no choice.
    """
    settings: dict[str, Any] = {name: values[0] for name, values in choices.items()}
    for name, value in (item for values in given for item in values.items()):
        if name not in choices:
            raise ConfigError(f"such data has no setting {name!r}: {did_you_mean(name, choices, 'settings')}")
        if value not in choices[name]:
            raise ConfigError(f"{name}={value} is no choice: {did_you_mean(str(value), choices[name], 'choices')}")
        settings[name] = value
    return settings


def list_files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """All files below ``folder`` that end so, whatever the case, sorted; hidden ones left out."""
    files = (path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    return sorted(path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def named_files(names: Sequence[str], suffixes: Sequence[str], what: str) -> list[Path]:
    """Files as named, folders searched. Raises ``DataError`` for what does not exist, or holds no ``what``."""
    paths: list[Path] = []
    for name in names:
        path = user_path(name)
        files = list_files(path, suffixes) if path.is_dir() else [path]
        if not files:
            raise DataError(f"{path} holds no {what} ({', '.join(suffixes)})")
        if not path.exists():
            raise DataError(f"{path} does not exist")
        paths += files
    return paths
