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
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from zoo import found
from zoo.errors import ConfigError, DataError, did_you_mean
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


NOT_USERS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "lost+found")  # folders that archives, servers and systems add
SHOWN = 6  # reasons, or suffixes, that a line names


def is_hidden(name: str) -> bool:
    """Whether a file or folder is no example, whatever its suffix: ``._1.png`` is no picture."""
    return name.startswith(".") or name in NOT_USERS


def scan(folder: Path, above: Sequence[Path] = ()) -> tuple[list[Path], Counter[str]]:
    """All files below ``folder``, sorted, and what else there is, counted by what it is: hidden, say.

    Links are followed, to each folder once, and not to ``folder`` or those ``above`` it: there is no endless circle.

    Raises ``DataError`` for a folder that may not be read.
    """
    files: list[Path] = []
    others: Counter[str] = Counter()
    places = {os.path.realpath(path) for path in above}
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        place = os.path.realpath(current)
        if place in places:
            others["link to a folder that is read already"] += 1
            continue
        places.add(place)
        for path in entries(current):
            if is_hidden(path.name):
                others["hidden"] += 1
            elif os.path.isdir(path):
                waiting.append(path)
            elif os.path.isfile(path):
                files.append(path)
            else:  # a link to nothing, a pipe
                others["no file"] += 1
    return sorted(files), others


def entries(folder: Path) -> list[Path]:
    """What a folder holds, sorted. Raises ``DataError`` where it may not be read."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from error


def suffix_of(path: Path) -> str:
    """Under what a file is counted that is left out."""
    suffix = path.suffix.lower()
    return os.fsencode(suffix).decode("utf-8", "backslashreplace") if suffix else "without a suffix"


def counted(counts: Counter[str]) -> str:
    """``"5 × .txt, 2 × hidden"``, the most frequent first."""
    shown = [f"{count:,} × {what}" for what, count in counts.most_common(SHOWN)]
    more = counts.total() - sum(count for _, count in counts.most_common(SHOWN))
    return ", ".join(shown + ([f"{more:,} × other"] if more else []))


def sentence(counts: Counter[str]) -> str:
    """What is left out, for the user; nothing where nothing is."""
    return f"{counts.total():,} left out: {counted(counts)}" if counts else ""


def list_files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """All files below ``folder`` that end so, whatever the case, sorted; hidden ones left out."""
    return [path for path in scan(folder)[0] if path.suffix.lower() in suffixes]


def named_files(names: Sequence[str], suffixes: Sequence[str], what: str) -> list[Path]:
    """Files as named, folders searched. Raises ``DataError`` for what does not exist, or holds no ``what``."""
    paths: list[Path] = []
    for name in names:
        path = Path(name).expanduser()
        files = list_files(path, suffixes) if path.is_dir() else [path]
        if not files:
            some = ", ".join(suffixes[:SHOWN]) + (", …" if len(suffixes) > SHOWN else "")
            raise DataError(f"{path} holds no {what} ({some})\n{left_out([name])}")
        if not path.exists():
            raise DataError(f"{path} does not exist")
        paths += files
    return paths


def left_out(names: Sequence[str], used: Sequence[Path] = ()) -> str:
    """A line on what is in the folders that a user named beside the files that are ``used``; "" if nothing is."""
    known, counts = set(used), Counter[str]()
    for path in (Path(name).expanduser() for name in names):
        if path.is_dir():
            files, others = scan(path)
            counts += others + Counter(suffix_of(file) for file in files if file not in known)
    return sentence(counts) and f"{sentence(counts)}\n"
