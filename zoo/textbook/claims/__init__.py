"""The textbook's claims about generative and discriminative models; a module a claim, see :mod:`zoo.textbook.claim`.

``scripts/compare.py`` measures them. A file that is added here is found without another edit.
"""

from __future__ import annotations

from typing import Any

from zoo import found

SUITES = ("textbook", "quick")


def names() -> list[str]:
    """The names of all claims. Nothing is imported."""
    return found.names(__name__)


def check(name: str) -> None:
    """Raise ``ConfigError`` with the nearest names if there is no such claim."""
    found.check(__name__, name, "claim", "claims")


def find(name: str) -> Any:
    """The module of a claim. Raises ``ConfigError`` as :func:`check` does."""
    return found.find(__name__, name, "claim", "claims")
