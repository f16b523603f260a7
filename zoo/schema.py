"""Values checked against a default and a rule, for the command lines of ``train.py`` and the scripts.

==================  ==================================================================================
rule                what must hold
==================  ==================================================================================
``"[0, 1)"``        an interval; of a list, for each entry
``[gru, lstm]``     one of these values
``any``             every value is passed on; the receiver checks it
``open``            a mapping that takes further keys; the receiver checks them
``file``            a file to be written, in a folder that exists
==================  ==================================================================================

The value must also have the type of its default. Where that is null, null and strings are accepted.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from zoo.errors import ConfigError


def check_value(where: str, value: Any, default: Any, rule: Any = None) -> None:
    """Raise ``ConfigError`` unless ``value`` has the type of ``default`` and obeys ``rule``."""
    if rule == "any":
        return
    if rule == "file":
        _check_file(where, value)
        return
    if isinstance(rule, list):
        if value not in rule:
            allowed = ", ".join(str(choice) for choice in rule)
            raise ConfigError(f"{where}={value}: allowed values are {allowed}")
        return
    if isinstance(default, list):
        if not isinstance(value, list):
            raise ConfigError(f"{where}={value}: a list is needed, such as {where}={_text(default)}")
        for entry in value:
            check_value(where, entry, default[0] if default else None, rule)
        return
    if not _same_type(value, default):
        raise ConfigError(f"{where}={_text(value)}: {_type_name(default)} is needed{_such_as(default, rule)}")
    if rule is not None and not _inside(value, rule):
        raise ConfigError(f"{where}={value}: must be in {rule}")


def _check_file(where: str, text: str) -> None:
    path = Path(text)
    if text.endswith("/") or path.is_dir():
        raise ConfigError(f"{where}={text} is a folder: the name of a file is needed")
    if not path.parent.is_dir():
        raise ConfigError(f"{where}={text}: the folder {path.parent} does not exist")


def _same_type(value: Any, default: Any) -> bool:
    if default is None:
        return value is None or isinstance(value, str)
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, (int, float)) and math.isfinite(value)
    return isinstance(value, type(default))


def _type_name(default: Any) -> str:
    names = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a word",
        type(None): "a word or null",
    }
    return names[type(default)]


def _such_as(default: Any, rule: Any) -> str:
    """The default as an example, where there is one: one that the rule forbids only says that nothing was given."""
    if default is None or (rule is not None and not _inside(default, rule)):
        return ""
    return f", such as {_text(default)}"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value).replace(" ", "")


def _inside(value: float, interval: str) -> bool:
    match = re.fullmatch(r"([\[(])\s*(\S+)\s*,\s*(\S+)\s*([\])])", interval)
    if match is None:
        raise ConfigError(f"{interval!r} is no interval such as '[0, 1)'")
    low, high = float(match[2]), float(match[3])
    above = value >= low if match[1] == "[" else value > low
    below = value <= high if match[4] == "]" else value < high
    return above and below
