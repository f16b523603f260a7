"""What an example is: a module a kind, found by its file's name; a :class:`zoo.spec.DataSpec` names its kind.

A file that is added here is found without another edit. ``stored`` examples are ``(N, C, H, W)``, of the type that a
:class:`zoo.data.splits.Split` holds in memory; ``x`` is what a model sees of them, of the same shape: float32, or int64
where it lists what an example holds.

================  =====================================================================================================
``VALUES``        what the entries are: ``values`` of the spec
``SETTINGS``      what must be known to treat other examples like those of the training: by name, the choices, the
                  first of which is the default; {} for none
``OPTIONS``       of ``fit``, with their defaults, which ``data.…=`` sets for every source of the kind; {} for none
``NOUN``          what an example is called in a sentence
``STRINGS``       whether a string in Python is an example, not a file's name
``fit``           ``fit(raw, columns, unused=(), like=None, **options)``: what is fitted to training examples, which are
                  as a source hands them over, and to nothing else: ``shape``, ``mean``, ``std``, ``values`` and what
                  else of a spec it may be, settings that options say among it; and ``notes``, sentences for the user,
                  if there are any. ``columns`` and ``unused`` are those of ``Loaded``. ``like``: the spec of other
                  examples, as which these are to be described, where that changes what a model sees
``store``         ``store(raw, columns, spec) -> stored``: what a source hands over, with its ``Loaded.columns``, as
                  it is held in memory. Raises ``DataError`` for what does not fit the spec
``decode``        ``decode(stored) -> x``: the one place where stored values become what a model sees. Stored numbers
                  that were made floating ones before keep their type
``convert``       ``convert(values, spec) -> x``: what somebody hands over in Python, of the shape that :func:`tensor`
                  gives it, as floating numbers. Raises ``DataError`` for what may mean one thing or another
``encode``        ``encode(x) -> stored``: the stored values that are nearest to what a model gives
``statistics``    ``statistics(stored, spec) -> (mean, std)``: of what is seen, per channel or per entry, of other
                  training examples than those of the spec
``has_missing``   ``has_missing(stored) -> bool``: whether any value is missing
``show``          ``show(x, spec)``: pictures to look at, ``(N, c, h, w)`` in [0, 1], of one channel or three
``find_files``    ``find_files(names)``: the files that a user means who names files and folders. Raises ``DataError``
                  for what does not exist, or holds none
``read``          ``read(paths, spec, **settings)``: what a user's files hold, as ``(names, stored)``: what to call each
                  example, and the examples. Settings take the place of the spec's. Raises ``DataError``, which names
                  it, for a file that cannot be read
``FORMAT``        of the files that ``write`` writes, in a word
``write``         ``write(stored, labels, spec, folder)`` puts examples into ``folder``, with labels unless those are
                  None; the names of what was written there
``trial``         ``trial(n) -> (stored, spec)``: ``n`` made-up examples, always the same, and what describes them, for
                  a first try of any model
================  =====================================================================================================
"""

from __future__ import annotations

import functools
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zoo import found
from zoo.errors import ConfigError, DataError, did_you_mean
from zoo.files import user_path
from zoo.spec import Column, DataSpec

LEVEL = 1 / 255  # from a grey level to the next


class Kind(Protocol):
    """What the module of a kind has, see above."""

    VALUES: str
    SETTINGS: Mapping[str, tuple[str, ...]]
    OPTIONS: Mapping[str, Any]
    NOUN: str
    STRINGS: bool
    FORMAT: str

    def fit(
        self,
        raw: Tensor,
        columns: Sequence[Column],
        unused: Collection[str] = (),
        like: DataSpec | None = None,
        **options: Any,
    ) -> dict[str, Any]: ...

    def store(self, raw: Tensor, columns: Sequence[Column], spec: DataSpec) -> Tensor: ...

    def decode(self, stored: Tensor) -> Tensor: ...

    def convert(self, values: Any, spec: DataSpec) -> Tensor: ...

    def encode(self, x: Tensor) -> Tensor: ...

    def statistics(self, stored: Tensor, spec: DataSpec) -> tuple[tuple[float, ...], tuple[float, ...]]: ...

    def has_missing(self, stored: Tensor) -> bool: ...

    def show(self, x: Tensor, spec: DataSpec) -> Tensor: ...

    def find_files(self, names: Sequence[str]) -> list[Path]: ...

    def read(self, paths: Sequence[Path], spec: DataSpec, **settings: Any) -> tuple[list[str], Tensor]: ...

    def trial(self, n: int) -> tuple[Tensor, DataSpec]: ...

    def write(self, stored: Tensor, labels: Tensor | None, spec: DataSpec, folder: Path) -> list[str]: ...


def names() -> list[str]:
    """The names of all kinds. Nothing is imported."""
    return found.names(__name__)


@functools.cache
def find(name: str) -> Kind:
    """The module of a kind. Raises ``ConfigError`` with the nearest names if there is no such kind."""
    return found.find(__name__, name, "kind of data", "kinds")


def examples(values: Any, spec: DataSpec) -> Tensor:
    """What somebody hands over in Python as examples ``(N, C, H, W)``: arrays, tensors, what else the kind knows, or
    paths of files, one or a list. Where strings are examples of the kind, paths are ``pathlib.Path``.

    Raises ``DataError`` for what is none, or may mean one thing or another; values are not looked at.
    """
    kind, paths = find(spec.kind), files_in(values, spec)
    return kind.convert(values, spec) if paths is None else kind.decode(kind.read(paths, spec)[1])


def files_in(values: Any, spec: DataSpec) -> list[Path] | None:
    """The files that are meant where somebody hands over paths, one or a list; None where it is something else.

    Raises ``DataError`` for a path that does not exist, or a folder that holds no such file.
    """
    kind = find(spec.kind)
    named = (os.PathLike,) if kind.STRINGS else (str, os.PathLike)
    paths = [values] if isinstance(values, named) else values
    if isinstance(paths, (list, tuple)) and paths and all(isinstance(path, named) for path in paths):
        return kind.find_files([os.fspath(path) for path in paths])
    return None


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


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Examples one after the other, ``(N, C, H, W)``. Texts list as many terms as they have: nothing, -1, is put behind
    those of the shorter parts."""
    width = max(part.shape[3] for part in parts)
    missing = [width - part.shape[3] for part in parts]
    return torch.cat([F.pad(part, (0, n), value=-1) if n else part for part, n in zip(parts, missing, strict=True)])


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
        if choices[name] != ("",) and value not in choices[name]:
            raise ConfigError(f"{name}={value} is no choice: {did_you_mean(str(value), choices[name], 'choices')}")
        settings[name] = value
    return settings


def write_classes(
    stored: Tensor,
    labels: Tensor | None,
    spec: DataSpec,
    folder: Path,
    suffix: str,
    contents: Callable[[Tensor], Iterable[bytes]],
) -> list[str]:
    """Write ``folder/<class>/00001<suffix>``, files with the ``contents`` of the stored examples of a class; the names
    of the classes' folders, in the order of labels.

    Raises ``DataError`` where there are no labels: a folder is a class.
    """
    if labels is None:
        noun = find(spec.kind).NOUN
        raise DataError(f"{noun}s are written into the folders of their classes, and these have none")
    names = folder_names(spec.class_names)
    digits = max(5, len(str(len(stored))))
    for label, name in enumerate(names):
        (folder / name).mkdir()
        for number, content in enumerate(contents(stored[labels == label]), 1):
            (folder / name / f"{number:0{digits}}{suffix}").write_bytes(content)
    return names


def folder_names(class_names: Sequence[str]) -> list[str]:
    """Names of folders that any system can have, and that sort in the order of the classes.

    Classes are called as they are where that will do; else what is no letter, digit, ``-`` or ``_`` becomes ``_``, and
    the class's number goes before it.
    """
    safe = [re.sub(r"[^\w-]+", "_", name) for name in class_names]
    distinct = len({name.casefold() for name in safe}) == len(safe)  # also where case does not count
    if distinct and safe == list(class_names) and safe == sorted(safe) and all(safe):
        return safe
    digits = len(str(len(safe) - 1))
    return [f"{label:0{digits}}-{name}" for label, name in enumerate(safe)]


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


def legible(name: str) -> str:
    """A file's name as text, whatever the locale: UTF-8, with bytes that are none escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def suffix_of(path: Path) -> str:
    """Under what a file is counted that is left out."""
    return legible(path.suffix.lower()) or "without a suffix"


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
        path = user_path(name)
        files = list_files(path, suffixes) if path.is_dir() else [path]
        if not files:
            named = [suffix for suffix in suffixes if suffix]
            some = ", ".join(named[:SHOWN]) + (", …" if len(named) > SHOWN else "")
            raise DataError(f"{path} holds no {what} ({some})\n{left_out([name])}")
        if not path.exists():
            raise DataError(f"{path} does not exist")
        paths += files
    return paths


def left_out(names: Sequence[str], used: Sequence[Path] = ()) -> str:
    """A line on what is in the folders that a user named beside the files that are ``used``; "" if nothing is."""
    known, counts = set(used), Counter[str]()
    for path in map(user_path, names):
        if path.is_dir():
            files, others = scan(path)
            counts += others + Counter(suffix_of(file) for file in files if file not in known)
    return sentence(counts) and f"{sentence(counts)}\n"
