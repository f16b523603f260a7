"""What every command shares: ``key=value`` arguments for scripts, streams that take every text, and errors without a
traceback."""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from zoo import terminal
from zoo.errors import ConfigError, Stopped, ToldError, ZooError, did_you_mean
from zoo.schema import WIDTH, Option, check_value, table

TOO_LARGE = re.compile(  # torch's words
    "out of memory|not enough memory|allocate memory|size calculation overflow|integer multiplication overflow|"
    "without overflow"
)


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """Raise ``ZooError`` for numbers that this machine cannot hold, and for sizes beyond its memory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not TOO_LARGE.search(str(error)):
            raise
        reason = (str(error) or repr(error)).splitlines()[0]
        raise ZooError(f"a number, or the memory that it takes, is too large for this machine: {reason}") from error


def command(function: Callable[[], None]) -> Callable[[], None]:
    """Turn a user's mistake into ``error: …`` on stderr and exit status 2, a signal into 128 + its number.

    What cannot be printed stops no work; the exit status tells of it at the end: 141 where nobody read on, as of
    ``… | head``, else 2.
    """

    @functools.wraps(function)
    def run() -> None:
        terminal.prepare()
        try:
            with limits():
                function()
        except ZooError as error:
            sys.exit(fail(error))
        except (Stopped, KeyboardInterrupt) as stop:
            print(terminal.printable(terminal.as_typed(str(stop))) or "interrupted", file=sys.stderr)
            sys.exit(stop.code if isinstance(stop, Stopped) else 130)
        lost = terminal.lost()
        if isinstance(lost, BrokenPipeError):
            sys.exit(141)
        if lost is not None:
            sys.exit(fail(ZooError(f"not all could be printed: {lost.strerror}")))

    return run


@contextlib.contextmanager
def late_help() -> Iterator[None]:
    """Let Hydra make its parser on Python 3.14 and newer, where argparse looks at each help as it is given.

    Hydra's for ``--shell-completion`` is no text before it is printed (Hydra 1.3.8, its issue 3121), which argparse
    takes for a mistake. What is text is looked at all the same.
    """
    parser: Any = argparse._ActionsContainer
    check = getattr(parser, "_check_help", None)
    if check is None:  # an older Python
        yield
        return

    def check_text(self: Any, action: argparse.Action) -> None:
        if isinstance(action.help, str):
            check(self, action)

    parser._check_help = check_text
    try:
        yield
    finally:
        parser._check_help = check


def fail(error: ZooError) -> int:
    """Print an error in at most five lines; returns the exit status."""
    if isinstance(error, ToldError):
        return 2
    lines = [line for line in terminal.as_typed(str(error)).splitlines() if line.strip()]
    print(terminal.printable("\n".join(["error: " + lines[0], *lines[1:5]]), keep="\n"), file=sys.stderr)
    return 2


CKPT = Option(..., "a .ckpt file, a run directory or a released model, such as cnn-mnist")
ROOT = Option(None, "where data lies; ZOO_DATA, else data/, if left out")
EMA = Option(True, "averaged weights where there are any; false: the raw ones")


def parse(arguments: Sequence[str], options: Mapping[str, Option], usage: str) -> tuple[dict[str, Any], list[str]]:
    """Read ``key=value`` words and bare file names.

    Args:
        arguments: the command line without the program.
        options: every key. A value must have the type of the default; one whose default is ``...`` must be given.
        usage: printed for ``-h`` and ``--help``, which end the program, with a line for each key in the place of
            ``{options}``.

    Returns:
        The values, and the words that have no known key before a ``=``.

    Raises:
        ConfigError: an unknown key, a wrong value, or a missing one.
    """
    if {"-h", "--help"} & set(arguments):
        told = {key: option._replace(said=terminal.as_typed(option.said)) for key, option in options.items()}
        text = terminal.as_typed(usage.strip()).replace("{options}", table(told))
        print("\n\n".join(_filled(paragraph) for paragraph in text.split("\n\n")))
        sys.exit(0)
    values, files = {key: option.default for key, option in options.items()}, []
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals or os.path.exists(argument):
            if argument.startswith("-"):
                raise ConfigError(f"unknown flag {argument}: values are given as key=value; see --help")
            files.append(argument)
            continue
        if key not in options:
            raise ConfigError(f"unknown key {key!r}: {did_you_mean(key, options, 'valid keys')}")
        default, rule = options[key].default, options[key].rule
        if isinstance(default, str) or default in (None, ...):
            values[key] = text
            check_value(key, text, "", rule)
        else:
            try:
                values[key] = yaml.safe_load(text)
                if isinstance(default, float) and isinstance(values[key], str):  # YAML takes 1e-4 for a word
                    values[key] = float(text)
            except (yaml.YAMLError, ValueError):  # no value at all, or a number of thousands of digits
                values[key] = text
            check_value(key, values[key], default, rule)
    for key, value in values.items():
        if value is ...:
            raise ConfigError(f"{key}=… must be given; see --help")
    return values, files


def _filled(paragraph: str) -> str:
    """A paragraph of prose in lines of at most 80 characters; commands and tables as they are."""
    lines = paragraph.splitlines()
    prose = not any(line.startswith((" ", "python ", "zoo ")) for line in lines)
    return textwrap.fill(" ".join(lines), WIDTH) if prose else paragraph


def parse_values(
    arguments: Sequence[str],
    options: Mapping[str, Option],
    usage: str,
    hint: str = "the checkpoint is given as ckpt",
) -> dict[str, Any]:
    """As :func:`parse`, of ``key=value`` words alone; ``hint`` is told to whoever leaves the key out."""
    values, words = parse(arguments, options, usage)
    if words:
        raise ConfigError(f"{words[0]!r} is not key=value; {hint}={words[0]}")
    return values
