"""Values checked against a default and a rule, for the command lines of ``train.py`` and the scripts.

==================  ==================================================================================
rule                what must hold
==================  ==================================================================================
``"[0, 1)"``        an interval; of a list, for each entry
``"-1 or [1, inf)"``    one of several things: a word or a number as it stands, whole numbers in an interval,
                    ``share (0, 1]``: a number with a decimal point, ``list [0, inf)``: some whole numbers,
                    ``numbers (0, inf)``: some numbers, ``null``: none
``[gru, lstm]``     one of these values
``any``             every value is passed on; the receiver checks it
``open``            a mapping that takes further keys; the receiver checks them
``file``            a file to be written, in a folder that exists
==================  ==================================================================================

The value must also have the type of its default, but for one of several things. Where the default is null, null and
strings are accepted. A whole number is at most :data:`LARGEST` where its rule names no other bound: it counts something
or is a size, and what is larger fits no memory.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

from zoo.errors import ConfigError
from zoo.files import user_path

LARGEST = 2**31 - 1
WIDTH = 80  # columns of a line of help, at most
WIDEST = 18  # default that has its explanation beside it, and not below
NATURAL = "[0, inf)"  # which goes without saying
TOLD = 8  # values that one may choose from that a line of help tells


class Option(NamedTuple):
    """A key of a command line.

    Attributes:
        default: its value if it is not given; ``...``: it must be.
        said: what it is, in a phrase.
        rule: what its values must obey.
    """

    default: Any
    said: str = ""
    rule: Any = None


def check_value(where: str, value: Any, default: Any, rule: Any = None) -> None:
    """Raise ``ConfigError`` unless ``value`` has the type of ``default`` and obeys ``rule``."""
    if rule == "any":
        return
    if default is None and value == "":
        raise ConfigError(f"{where}= is empty: give a value, or leave it out")
    if rule == "file":
        _check_file(where, value)
        return
    if isinstance(rule, list):
        if value not in rule:
            allowed = ", ".join(str(choice) for choice in rule)
            raise ConfigError(f"{where}={value}: allowed values are {allowed}")
        return
    if isinstance(rule, str) and " or " in rule:
        if not any(_is_one(value, one) for one in rule.split(" or ")):
            raise ConfigError(f"{where}={_text(value)}: must be {' or '.join(map(_described, rule.split(' or ')))}")
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
    if _is_whole(value) and value > LARGEST and (rule is None or _bounds(rule)[1] == math.inf):
        raise ConfigError(f"{where}={value}: must be at most {LARGEST}")


def _described(rule: str) -> str:
    """A part of a rule with several, in words."""
    kind, _, interval = rule.partition(" ")
    words = {
        "share": "a share, with a decimal point, in",
        "list": "a list of whole numbers in",
        "numbers": "a list of numbers in",
    }
    return f"{words[kind]} {interval}" if kind in words else f"a whole number in {rule}" if rule[0] in "[(" else rule


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_one(value: Any, rule: str) -> bool:
    """Whether a value is what a part of a rule with several says."""
    kind, _, interval = rule.partition(" ")
    if kind == "share":
        return isinstance(value, float) and _inside(value, interval)
    if kind == "list":
        return isinstance(value, list) and bool(value) and all(_is_one(entry, interval) for entry in value)
    if kind == "numbers":
        return isinstance(value, list) and bool(value) and all(_is_number_in(entry, interval) for entry in value)
    if rule == "null":
        return value is None
    if rule[0] in "[(":
        return _is_whole(value) and _inside(value, rule) and value <= max(LARGEST, _bounds(rule)[0])
    return not isinstance(value, float) and _text(value) == rule


def _is_number_in(value: Any, interval: str) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= LARGEST and _inside(value, interval)


def _check_file(where: str, text: str) -> None:
    path = user_path(text)
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
    low, high = _bounds(interval)
    above = value >= low if interval[0] == "[" else value > low
    below = value <= high if interval[-1] == "]" else value < high
    return above and below


def _bounds(interval: str) -> tuple[float, float]:
    """The ends of an interval: whole numbers where they are written so, which a float of 2⁶³ would not tell apart."""
    match = re.fullmatch(r"[\[(]\s*(\S+)\s*,\s*(\S+)\s*[\])]", interval)
    if match is None:
        raise ConfigError(f"{interval!r} is no interval such as '[0, 1)'")
    low, high = (int(end) if re.fullmatch(r"-?\d+", end) else float(end) for end in match.groups())
    return low, high


# What there is to know, for whoever types


def table(options: Mapping[str, Option], all_typed: bool = False) -> str:
    """Lines of at most 80 characters: keys, their defaults, and what they are and take. ``all_typed``: whether defaults
    that stand for none, such as null, are told, too, as they can be typed."""
    texts = {key: typed(option.default) if all_typed or _is_value(option) else "" for key, option in options.items()}
    keys = max(map(len, texts), default=0)
    places = max((len(text) for text in texts.values() if len(text) <= WIDEST), default=0)
    indent = " " * (2 + keys + 2 + places + 2)
    lines = []
    for key, text in texts.items():
        start = f"  {key:<{keys}}  {text:<{places}}  "
        if len(text) > places:
            lines.append(start.rstrip())
            start = indent
        words = textwrap.wrap(_sentence(options[key]), WIDTH - len(indent), break_on_hyphens=False) or [""]
        lines += [f"{start if number == 0 else indent}{line}".rstrip() for number, line in enumerate(words)]
    return "\n".join(line for line in lines if line).replace(JOINED, " ")


def _is_value(option: Option) -> bool:
    """Whether a default is a value that could have been given, and not what stands for none."""
    if option.default in (None, ..., "", []):
        return False
    try:
        check_value("", option.default, option.default, option.rule)
    except ConfigError:
        return False
    return True


JOINED = "\u00a0"  # a space at which no line ends


def typed(value: Any) -> str:
    """A value as it is typed."""
    return yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True).split("\n...")[0].strip()


def _sentence(option: Option) -> str:
    allowed = allowed_by(option.rule)
    if not isinstance(option.rule, list):
        allowed = allowed.replace(" ", JOINED)
    if not option.said or not allowed:
        return option.said or allowed
    return f"{option.said} ({allowed})" if isinstance(option.rule, list) else f"{option.said}; {allowed}"


def allowed_by(rule: Any) -> str:
    """What a rule lets through, in a few words; nothing where that goes without saying."""
    if isinstance(rule, list):
        return "" if len(rule) > TOLD else ", ".join(map(typed, rule))
    if not isinstance(rule, str) or rule in ("any", "open", "file"):
        return ""
    return "" if rule == NATURAL else " or ".join(map(_range, rule.split(" or ")))


def _range(rule: str) -> str:
    """A part of a rule, with intervals without an end, or of sizes that no one asks for, said in short."""
    words, bracket, _ = rule.partition("[" if "[" in rule else "(")
    if not bracket:
        return rule
    low, high = _bounds(rule[len(words) :])
    if high <= LARGEST and math.isfinite(low):
        return f"{words or 'in '}{rule[len(words) :]}"
    least = "any" if low == -math.inf else f"{'≥' if bracket == '[' else '>'} {low:g}"
    return f"{words}{least}"
