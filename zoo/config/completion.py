"""What the tab key completes in bash: commands, keys, options of groups, and values where there are few. Torch is not
imported."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from zoo import found, schema, terminal
from zoo.config.checking import IDENTITIES
from zoo.config.help import values_of
from zoo.config.hints import explain
from zoo.config.options import GROUPS, OVERLAYS, flat, options_of, rules_of
from zoo.config.words import typed
from zoo.errors import ConfigError
from zoo.files import REPOSITORY
from zoo.schema import Option

TRAINING = ("train", "rate", "tune")  # commands that take the words of a training
SCRIPT = """\
_zoo_complete() {
    local line=${COMP_LINE:0:COMP_POINT} IFS=$'\\n'
    [[ $line == *zoo\\ * || $line == *.py\\ * ]] || return
    COMPREPLY=($(COMP_LINE=$line PROGRAM -sc query=bash 2>/dev/null))
    [[ ${COMPREPLY[0]} == *[=.] ]] && compopt -o nospace 2>/dev/null
    local word=${line##* }
    if [[ $word == *=* && $COMP_WORDBREAKS == *=* ]]; then  # what readline completes begins behind the =
        COMPREPLY=("${COMPREPLY[@]#"${word%=*}="}")
    fi
}
complete -o bashdefault -o default -F _zoo_complete zoo python python3 train.py
"""


def complete(words: Sequence[str], configs: Path) -> str:
    """What the ``words`` behind ``-sc`` ask for: the script that a shell evaluates, or, in lines, what the word that
    ``COMP_LINE`` ends with may become.

    Raises ``ConfigError`` for another shell, for a query without a line, and for a line that is wrong so far.
    """
    asked = [word for word in words if word != "-sc"]
    if asked == ["install=bash"]:
        path = f"PYTHONPATH={shlex.quote(str(REPOSITORY))}${{PYTHONPATH:+:$PYTHONPATH}}"
        return SCRIPT.replace("PROGRAM", f"{path} {shlex.quote(sys.executable)} -P -m zoo")
    if asked == ["query=bash"] and "COMP_LINE" in os.environ:
        meant = sorted(set(completions(os.environ["COMP_LINE"], configs)))
        return "\n".join(word for word in meant if shlex.quote(word) == word)  # a shell takes it as it is
    raise ConfigError(f'words are completed in bash alone, after eval "$({terminal.typed("train")} -sc install=bash)"')


def completions(line: str, configs: Path) -> Iterator[str]:
    """What the last word of ``line`` may become; nothing where another program is typed."""
    try:
        *words, last = [*shlex.split(line), *([""] if line[-1:].isspace() else [])]
    except ValueError:  # within quotation marks
        return
    if words and Path(words[0]).name in ("python", "python3"):
        words = words[1:]
    if not words:
        return
    program, *words = words
    path = Path(program)
    if path.resolve() == REPOSITORY / ("train.py" if path.name == "train.py" else f"scripts/{path.name}"):
        words = [path.stem, *words]
    elif path.name != "zoo":
        return
    commands = found.names("zoo.commands")
    if not words:
        yield from (name for name in commands if name.startswith(last))
    elif words[0] in commands:
        yield from _matching(last, _options(words[0], words[1:], configs))


def _options(command: str, words: Sequence[str], configs: Path) -> dict[str, Option]:
    """What a command takes, beside the words that are typed already."""
    module = found.find("zoo.commands", command, "command", "commands")
    options: dict[str, Option] = dict(getattr(module, "OPTIONS", {}))
    if command not in TRAINING:
        return options
    others = typed(word for word in words if word.partition("=")[0] not in options)
    try:
        values = values_of(others, configs)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, others, configs)) from error
    rules = dict(rules_of(values))
    options |= {key: Option(value, "", rules.get(key)) for key, value in flat(values, "") if key not in IDENTITIES}
    for group in (*GROUPS, *OVERLAYS):
        options[group] = Option("", "", [name for name in options_of(group, configs) if not name.startswith("_")])
    return options


def _matching(last: str, options: Mapping[str, Option]) -> Iterator[str]:
    """Keys that begin with ``last``, to their next dot; behind a ``=`` the values that one may choose from."""
    key, equals, _ = last.partition("=")
    if equals and key in options:
        default, rule = options[key].default, options[key].rule
        values = rule if isinstance(rule, list) else [False, True] if isinstance(default, bool) else []
        yield from (word for word in (f"{key}={schema.typed(value)}" for value in values) if word.startswith(last))
    for key in options:
        if key.startswith(last):
            rest, dot, _ = key[len(last) :].partition(".")
            yield f"{last}{rest}{dot or '='}"
