"""Plain data from files that anybody may have written: within bounds of size, depth and sharing, and nothing else.

Nothing is opened that is no regular file: a pipe would be waited for, a device may never end. A file is bounded before
it is read, and what it holds before it is walked through: lists that hold themselves, or each other many times over
(the "billion laughs"), take little memory until somebody prints or copies them.
"""

from __future__ import annotations

import csv
import io
import json
import re
import reprlib
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from zoo.errors import ZooError

JSON = 3 * 2**20  # bytes of a file: a table of all models takes 1 MB
YAML = 2**16  # bytes; a run's config takes 3 kB, and the parser a second for this
CSV = 2**26  # bytes of a table of metrics
ENTRIES = 2**20  # pieces of data, those that are shared counted wherever they occur
DEPTH = 50
BITS = 256  # of a whole number; Python takes the square of its digits to print one
_KINDS = (
    (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"),
    (stat.S_ISREG, ""),
)  # fmt: skip


def check_file(path: Path, error: type[ZooError] = ZooError) -> int:
    """The size in bytes of what may be opened. Raises ``error`` for what is there, and is no regular file."""
    try:
        status = path.stat()
    except OSError as reason:
        raise error(f"{path} cannot be read: {reason.strerror or reason}") from reason
    kind = next((name for is_kind, name in _KINDS if is_kind(status.st_mode)), "a device")
    if kind:
        raise error(f"{path} is {kind}, where a file is needed")
    return status.st_size


def content(path: Path, most: int, error: type[ZooError] = ZooError) -> str:
    """The text of a file in UTF-8. Raises ``error`` where it is none, or larger than ``most`` bytes."""
    size = check_file(path, error)
    if size > most:
        raise error(f"{path} is no such file: it holds {size:,} bytes, at most {most:,} are read")
    try:
        with path.open("rb") as file:
            return file.read(most).decode("utf-8")  # it may have grown
    except OSError as reason:
        raise error(f"{path} cannot be read: {reason.strerror or reason}") from reason
    except UnicodeDecodeError as reason:
        raise error(f"{path} is no text in UTF-8, or a damaged one") from reason


def read_json(path: Path, error: type[ZooError] = ZooError, most: int = JSON) -> Any:
    """What a JSON file of at most ``most`` bytes holds. Raises ``error`` where it cannot be read, or is none."""
    text = content(path, most, error)
    try:
        found = json.loads(text)
        check(found)
    except (ValueError, RecursionError) as reason:
        raise error(f"{path} is no JSON, or a damaged one: {_first_line(reason)}") from reason
    return found


class _Loader(yaml.SafeLoader):
    """Looks at what aliases amount to before anything is made of them: a merge writes it out. Numbers are those of
    OmegaConf, to which ``1e-3`` is one; dates are text; a key stands once."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in pairs if tag != "tag:yaml.org,2002:timestamp"]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        _bounded(node, _below)
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        if len({*map(repr, keys)}) < len(keys):
            raise yaml.constructor.ConstructorError(None, None, "a key stands there twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"""[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+]?[0-9]+)?$|[-+]?(?:[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)$
        |\.[0-9_]+(?:[eE][-+][0-9]+)?$|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$""",
        re.VERBOSE,
    ),
    [*"-+0123456789."],
)


def _below(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def read_yaml(path: Path, error: type[ZooError] = ZooError) -> Any:
    """What a YAML file holds; ``${…}`` in it is text. Raises ``error`` where it cannot be read, or is none."""
    text = content(path, YAML, error)
    try:
        found = yaml.load(text, _Loader)
        check(found)
    except (yaml.YAMLError, ValueError, RecursionError) as reason:  # ValueError: a 30th of February
        raise error(f"{path} is no YAML, or a damaged one: {_first_line(reason)}") from reason
    return found


def read_rows(path: Path, error: type[ZooError] = ZooError) -> list[dict[str, str]]:
    """The rows of a CSV file by the names of its columns. Raises ``error`` where it cannot be read, or is none."""
    text = content(path, CSV, error)
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error as reason:
        raise error(f"{path} is no table, or a damaged one: {reason}") from reason
    if any(None in row or None in row.values() for row in rows):
        raise error(f"{path} is no table, or a damaged one: a row has more values than columns, or fewer")
    return rows


def check(value: Any, *more: type) -> None:
    """Raise ``ValueError`` unless this is None, text, numbers, and lists, tuples and dicts of such, within the bounds.

    ``more``: other types that may be among them.
    """
    kinds: tuple[type, ...] = (bool, int, float, str, type(None), *more)

    def below(entry: Any) -> list[Any]:
        if isinstance(entry, dict):
            return [*entry, *entry.values()]
        if isinstance(entry, (list, tuple)):
            return list(entry)
        if not isinstance(entry, kinds):
            raise ValueError(f"it holds more than plain data: {type(entry).__name__}")
        if isinstance(entry, int) and entry.bit_length() > BITS:
            raise ValueError(f"it holds a whole number of {entry.bit_length():,} bits, at most {BITS} are read")
        return []

    _bounded(value, below)


def _bounded(value: Any, below: Callable[[Any], list[Any]]) -> None:
    """Raise ``ValueError`` where there are too many parts in it, or one in the other; ``below`` gives those of one."""
    waiting, count = [(value, 0)], 1
    while waiting:
        entry, depth = waiting.pop()
        if isinstance(entry, str):
            count += len(entry) // 64  # text that is shared is written out, too
        parts = below(entry)
        count += len(parts)
        if count > ENTRIES:
            raise ValueError(f"it holds more than {ENTRIES:,} pieces of data, with those that it holds several times")
        if parts and depth == DEPTH:
            raise ValueError(f"it holds lists in lists, more than {DEPTH} deep, or one that holds itself")
        waiting += [(part, depth + 1) for part in parts]


def shape_of(value: Any, shape: Any) -> str:
    """What of ``value`` is other than ``shape`` says, as the place in it; empty where nothing is.

    A shape is a type, or several; ``{key: shape}`` for a dict that has these keys, ``{str: shape}`` for one of any
    keys, ``[shape]`` for a list or tuple; or a function that tells whether the value will do.
    """
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return " is no mapping"
        for key, inner in shape.items():
            if isinstance(key, type):
                for name, entry in value.items():
                    if not isinstance(name, key):
                        return f" has the key {short(name)}"
                    if wrong := shape_of(entry, inner):
                        return f".{short(name)}{wrong}"
            elif key not in value:
                return f" has no {key}"
            elif wrong := shape_of(value[key], inner):
                return f".{key}{wrong}"
        return ""
    if isinstance(shape, list):
        if not isinstance(value, (list, tuple)):
            return " is no list"
        return next((f"[{n}]{wrong}" for n, entry in enumerate(value) if (wrong := shape_of(entry, shape[0]))), "")
    if isinstance(shape, (type, tuple)):
        kinds: tuple[type, ...] = shape if isinstance(shape, tuple) else (shape,)
        right = isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds or object in kinds)
    else:
        right = shape(value)
    return "" if right else f" cannot be {short(value)}"


def short(value: Any) -> str:
    """``repr``, cut where it is long."""
    return reprlib.repr(value)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
