"""The jobs of a multirun, checked before the first one begins."""

from __future__ import annotations

import contextlib
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import ValueType
from hydra.errors import HydraException

from zoo.config.checking import check, checked, running, schema, settings
from zoo.config.hints import SEARCH
from zoo.config.options import GROUPS, OVERLAYS, options_of, rules_of
from zoo.config.words import is_override, parsed
from zoo.errors import ConfigError

MOST_JOBS = 100_000  # of a multirun: Hydra lists them all before the first


def check_sweep(arguments: Sequence[str], configs: Path) -> list[str]:
    """Check jobs of a multirun before the first one begins: each value that is swept over, in a job that will come.

    Returns the command line for Hydra, in which each ``glob(…)`` is spelled out.

    Raises ``ConfigError`` as :func:`settings` does, with the job, and for what makes no grid.
    """
    words = [_grid(word, configs) if is_override(arguments, number) else word for number, word in enumerate(arguments)]
    choices = [
        _values(word)
        for number, word in enumerate(words)
        if is_override(words, number) and not word.lstrip("+~").startswith(("hydra.", "hydra/"))
    ]
    if math.prod(map(len, choices)) > MOST_JOBS:
        raise ConfigError(f"the sweep has more than {MOST_JOBS:,} jobs: {' × '.join(f'{len(v):,}' for v in choices)}")
    first = [values[0] for values in choices]
    with _in_a_job(first), running(first, configs) as config:
        checked(config)
        defaults = schema()
    rules = dict(rules_of(defaults))
    for place, values in enumerate(choices):
        for value in values[1:]:
            job = [*first[:place], value, *first[place + 1 :]]
            key, _, text = value.partition("=")
            with _in_a_job(job):
                if (
                    key in (*GROUPS, *OVERLAYS)
                    or not re.fullmatch(r"[\w.]+", key)
                    or text.startswith("{")
                    or "${" in text
                ):
                    settings(job, configs)
                else:  # the options stay the same: a thousand values are looked at in a second
                    typed: Any = parsed(value).value()
                    for name in reversed(key.split(".")):
                        typed = {name: typed}
                    check(typed, defaults, rules, "")
    return words


def first_job(arguments: Sequence[str], configs: Path) -> list[str]:
    """The words of a multirun's first job; those of one run as they are. Raises ``ConfigError`` for what is no grid."""
    words = [word for number, word in enumerate(arguments) if is_override(arguments, number)]
    return [_values(_grid(word, configs))[0] if parsed(word).is_sweep_override() else word for word in words]


def _grid(word: str, configs: Path) -> str:
    """A word of a multirun, with ``glob(…)`` spelled out. Raises ``ConfigError`` for what a grid has no place for."""
    override = parsed(word)
    key = override.key_or_group
    if key == "hydra/sweeper" and override.value() != "basic":
        raise ConfigError(f"{word}: -m makes a grid, of all values. {SEARCH}")
    if key == "resume" and override.value() is not None:
        raise ConfigError(f"{word} goes on with one run, as it was begun: without -m")
    if override.is_interval_sweep():
        raise ConfigError(f"{word} has no steps, and -m makes a grid: {key}=range(…) or values with commas. {SEARCH}")
    if override.value_type != ValueType.GLOB_CHOICE_SWEEP:
        return word
    if key not in (*GROUPS, *OVERLAYS):
        raise ConfigError(f"{word}: glob(…) is of the options of a group, and {key} is none: {key}=a,b are two values")
    found = override.value().filter(sorted(name for name in options_of(key, configs) if not name.startswith("_")))  # type: ignore[union-attr]
    if not found:
        raise ConfigError(f"{word} matches none of {', '.join(sorted(options_of(key, configs)))}")
    return f"{word.partition('=')[0]}={','.join(found)}"


def _values(word: str) -> list[str]:
    """A word for each value that one of a multirun has. Raises ``ConfigError`` where it has none."""
    override = parsed(word)
    if not override.is_sweep_override():
        return [word]
    try:
        texts = list(itertools.islice(override.sweep_string_iterator(), MOST_JOBS + 1))
    except (ValueError, HydraException) as error:  # a step of zero
        raise ConfigError(f"{word} is no range: {error}") from error
    if not texts:
        raise ConfigError(f"{word} has no value: a range leads from its start to before its stop")
    return [f"{word.partition('=')[0]}={text}" for text in texts]


@contextlib.contextmanager
def _in_a_job(job: Sequence[str]) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{error}\nIn a job of the sweep: {' '.join(job)}; none was started") from error
