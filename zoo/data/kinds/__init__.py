"""What an example is: a module a kind, found by its file's name; a :class:`zoo.spec.DataSpec` names its kind.

A file that is added here is found without another edit. ``stored`` examples are ``(N, C, H, W)``, of the type that a
:class:`zoo.data.splits.Split` holds in memory; ``x`` is what a model sees of them, float32 of the same shape.

================  =====================================================================================================
``VALUES``        what the entries are: ``values`` of the spec
``SETTINGS``      what must be known to treat other examples like those of the training: by name, the choices, the
                  first of which is the default; {} for none
``decode``        ``decode(stored) -> x``: the one place where stored values become what a model sees. Stored numbers
                  that were made floating ones before keep their type
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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from zoo import found
from zoo.errors import ConfigError, DataError, did_you_mean
from zoo.files import user_path
from zoo.spec import DataSpec


class Kind(Protocol):
    """What the module of a kind has, see above."""

    VALUES: str
    SETTINGS: Mapping[str, tuple[str, ...]]
    FORMAT: str

    def decode(self, stored: Tensor) -> Tensor: ...

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
