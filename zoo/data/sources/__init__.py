"""Where examples come from: a module a source, found by its file's name, which ``data=`` chooses.

A file that is added here is found without another edit. What it has:

================  =====================================================================================================
``KIND``          the kind of its examples: a module of :mod:`zoo.data.kinds`
``CLASSES``       the names of its classes in label order; None where ``load`` finds them
``OPTIONS``       its own options with their defaults; {} for none. Options that ``data.…=`` is to set stand in a file
                  ``configs/data/<name>.yaml``, too; a source without one needs no such file. ``path`` and
                  ``test_path`` are files or folders of the user's: runs and checkpoints remember absolute paths
``load``          ``load(root, **options)`` gives a :class:`zoo.data.splits.Loaded`. All of ``OPTIONS`` are handed over;
                  ``root`` is the directory where data lies or is downloaded to. Raises ``ConfigError`` for an
                  impossible option and ``DataError`` for data that is missing or damaged
``CHECKSUMS``     only of a set in MNIST's form, see :func:`zoo.data.idx.load`: where one of its files lies in another
                  set's place, the user is told so, by the ``TITLE`` that its authors gave the set
================  =====================================================================================================
"""

from __future__ import annotations

from typing import Any

from zoo import found


def every() -> list[str]:
    """The names of all sources, one of which is ``names``. Nothing is imported."""
    return found.names(__name__)


def check(name: str) -> None:
    """Raise ``ConfigError`` with the nearest names if there is no such source."""
    found.check(__name__, name, "data", "sources")


def find(name: str) -> Any:
    """The module of a source. Raises ``ConfigError`` as :func:`check` does."""
    return found.find(__name__, name, "data", "sources")
