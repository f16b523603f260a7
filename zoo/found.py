"""Modules that are found: in some packages a file is an option, called by its name, and adding one edits nothing else.

Listing imports nothing, so that a mistake in a name is answered at once.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from zoo.errors import ConfigError, did_you_mean

_HOME = Path(__file__).parents[1]


def names(package: str) -> list[str]:
    """The modules of ``package``, such as ``"zoo.data.sources"``, but for those whose names start with ``_``."""
    files = _HOME.joinpath(*package.split(".")).glob("*.py")
    return sorted(path.stem for path in files if not path.stem.startswith("_"))


def check(package: str, name: str, one: str, many: str) -> None:
    """Raise ``ConfigError`` with the nearest names if ``package`` has no module ``name``: an unknown ``one``."""
    known = names(package)
    if name not in known:
        raise ConfigError(f"unknown {one} {name!r}: {did_you_mean(name, known, many)}")


def find(package: str, name: str, one: str, many: str) -> Any:
    """The module ``name`` of ``package``. Raises ``ConfigError`` as :func:`check` does."""
    check(package, name, one, many)
    return importlib.import_module(f"{package}.{name}")
