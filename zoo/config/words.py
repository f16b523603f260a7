"""The words of a command line, before Hydra sees them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from zoo import terminal
from zoo.config.options import GROUPS, OVERLAYS, OWN, beside, options_of
from zoo.errors import ConfigError
from zoo.terminal import quoted

FLAGS = (  # without --experimental-rerun: it reads a pickle, which can run code
    "-h", "--help", "--hydra-help", "--version", "-c", "--cfg", "--resolve", "-p", "--package", "-r", "--run", "-m",
    "--multirun", "-cp", "--config-path", "-cn", "--config-name", "-cd", "--config-dir",
    "-i", "--info",
)  # fmt: skip
VALUED = ("-p", "--package", "-c", "--cfg", "-cp", "--config-path", "-cn", "--config-name", "-cd", "--config-dir",
          "-i", "--info")  # fmt: skip
DASHES = "-‐‑‒–—―−"  # which a text editor may have put in the place of hyphens


def typed(arguments: Iterable[str]) -> list[str]:
    """The command line for Hydra, to which a path that begins with ``~`` is no value: it is quoted."""
    found = []
    for word in arguments:
        key, equals, value = word.partition("=")
        found.append(f"{key}={quoted(value)}" if equals and value.startswith("~") else word)
    return found


def is_override(arguments: Sequence[str], number: int) -> bool:
    return arguments[number][:1] not in (*DASHES,) and not (number and arguments[number - 1] in VALUED)


def check_words(arguments: Sequence[str], configs: Path | None = None) -> list[str]:
    """Raise ``ConfigError`` for a command line that Hydra would misread, or refuse without saying what to type.

    Returns sentences for the user, on words that have no effect.

    ``configs``: where the options of groups are, of ``train.py``; None leaves the keys to the caller.
    """
    several = bool({"-m", "--multirun"} & set(arguments))
    seen: dict[str, str] = {}
    notes = [
        f"{OWN}/{group}/{name}.yaml is not read: the zoo has {group}={name} of its own"
        for group, name, _ in (beside(configs, taken=True) if configs else ())
    ]
    for number, word in enumerate(arguments):
        if word[:1] in (*DASHES,):
            if word.split("=")[0] not in FLAGS:
                name, _, value = word.lstrip(DASHES).partition("=")
                raise ConfigError(
                    f"unknown flag {word}: values are given as key=value ({name}={value or '…'}); see --help"
                )
            continue
        if number and arguments[number - 1] in VALUED:
            continue
        if word == "=" or arguments[number + 1 : number + 2] == ["="]:
            at = arguments.index("=")
            raise ConfigError(f"no space stands around =: {''.join(arguments[max(at - 1, 0) : at + 2])}")
        key, equals, value = word.partition("=")
        if equals and not key.strip("+~"):
            raise ConfigError(f"{word!r} has no key before the =: values are given as key=value")
        override = parsed(word)
        if override.is_sweep_override() and not several:
            hint = (
                f"a sweep needs -m: {terminal.typed('train' if configs else 'compare')} -m {terminal.word(key, value)}"
            )
            if key not in (*GROUPS, *OVERLAYS):
                hint += f"\nA single value with a comma in it is typed {terminal.override(key, value)}"
            raise ConfigError(f"{word!r} are several values, and this is one run: {hint}")
        if configs is None:
            continue
        name = override.key_or_group
        if seen.get(name, word) != word:
            notes.append(f"{name} is given twice: {word} is taken, and {seen[name]} is not")
        seen[name] = word
        if name in GROUPS and override.package is None:
            _check_choice(name, override, configs)
    return notes


def _check_choice(group: str, override: Override, configs: Path) -> None:
    """Raise ``ConfigError`` unless one option of a group is chosen."""
    options = ", ".join(sorted(name for name in options_of(group, configs) if not name.startswith("_")))
    if override.is_delete():
        raise ConfigError(f"{group} cannot be left out: {group}=… chooses another one ({options})")
    if override.is_add():
        raise ConfigError(f"{group} has a value already: {group}=… without + chooses another one ({options})")
    value = None if override.is_sweep_override() else override.value()
    if not override.is_sweep_override() and (not isinstance(value, str) or not value):
        raise ConfigError(f"{override.input_line}: the name of one option is needed ({options})")


def parsed(word: str) -> Override:
    """An override as Hydra reads it. Raises ``ConfigError`` with the word that would be right."""
    try:
        return OverridesParser.create().parse_override(word)
    except (HydraException, ValueError) as error:  # ValueError: a number of thousands of digits
        key, equals, value = word.partition("=")
        group, colon, option = word.partition(":")
        if not equals:
            example = f": {group}={option}" if colon else ""
            raise ConfigError(f"{word!r} is not understood: values are given as key=value{example}") from error
        if value[:1] in ("'", '"') and value[-1:] != value[:1]:
            raise ConfigError(f"{word!r} is not understood: a quotation mark is missing at its end") from error
        raise ConfigError(
            f"{word!r} is not understood: to Hydra some of its characters are more than themselves\n"
            f"To be taken as it is, it is typed {terminal.override(key, value)}"
        ) from error
