"""The textbook's claims about generative and discriminative models; a module a claim, see :mod:`zoo.textbook.claim`.

``scripts/compare.py`` measures them. A file that is added here is found without another edit.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from zoo.errors import ConfigError, did_you_mean

SUITES = ("textbook", "quick")


def names() -> list[str]:
    """The names of all claims. Nothing is imported."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))


def check(name: str) -> None:
    """Raise ``ConfigError`` with the nearest names if there is no such claim."""
    if name not in names():
        raise ConfigError(f"unknown claim {name!r}: {did_you_mean(name, names(), 'claims')}")


def find(name: str) -> Any:
    """The module of a claim. Raises ``ConfigError`` as :func:`check` does."""
    check(name)
    return importlib.import_module(f"zoo.textbook.claims.{name}")
