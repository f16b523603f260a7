"""``zoo <command> …``, or ``python -m zoo <command> …``: all that the zoo does, from any directory."""

from __future__ import annotations

import ast
import os
import sys
import textwrap
from pathlib import Path

import zoo
from zoo import found
from zoo.command import command
from zoo.files import CONFIGS

FIRST = ("train", "evaluate", "predict", "sample")  # of all commands, in this order
USAGE = """\
zoo <command> [key=value …]      zoo <command> --help says what it takes

{commands}

zoo --version"""


def usage() -> str:
    """Every command with what it does, the first sentence of its module, in lines of 80 characters. Nothing is
    imported."""
    names = sorted(found.names("zoo.commands"), key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    lines = []
    for name in names:
        text = ast.get_docstring(
            ast.parse(Path(__file__).with_name("commands").joinpath(f"{name}.py").read_text("utf-8"))
        )
        said = (text or "").partition("\n\n")[0].replace("\n", " ").partition(": ``")[0]
        wrapped = textwrap.fill(said, 80, initial_indent=f"  {name:<12}", subsequent_indent=" " * 14)
        lines.append(wrapped)
    return USAGE.format(commands="\n".join(lines))


@command
def main() -> None:
    """Go on to the command that ``sys.argv`` names, which then finds there what follows the name."""
    if "ZOO_RUN" in os.environ:  # a process that a training in several has started: with the words after the name
        name = "train"
    else:
        name, sys.argv[1:] = (sys.argv[1], sys.argv[2:]) if sys.argv[1:] else ("--help", [])
    if name in ("-h", "--help"):
        print(usage())
    elif "--version" in (name, *sys.argv[1:]):
        print(zoo.__version__)
    elif "-sc" in (name, *sys.argv[1:]):
        from zoo import config

        print(config.complete(sys.argv[1:], CONFIGS))
    else:
        found.find("zoo.commands", name, "command", "commands").main()


if __name__ == "__main__":
    main()
