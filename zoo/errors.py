"""The errors a user can cause. Each message says what is wrong, where, and what would be right.

The command line prints them without a traceback and exits with status 2; in Python they are ``ValueError``s.
"""

from __future__ import annotations

import difflib
import signal
from collections.abc import Iterable, Sequence

MOST_NAMES = 50  # that an error lists


class ZooError(ValueError):
    """Something the caller asked for cannot be done as asked.

    >>> import zoo
    >>> zoo.create("cnm")
    Traceback (most recent call last):
        ...
    zoo.errors.ZooError: ...
    """


class ConfigError(ZooError):
    """An unknown key, a value of the wrong type or out of range, or options that exclude each other.

    >>> import zoo
    >>> zoo.train("model=cnn", "model.chanels=[8]")
    Traceback (most recent call last):
        ...
    zoo.errors.ConfigError: ...
    """


class DataError(ZooError):
    """Data that is missing, incomplete, corrupt or inconsistent.

    >>> import torch, zoo
    >>> zoo.classify(zoo.create("cnn"), torch.rand(2, 1, 5, 5))
    Traceback (most recent call last):
        ...
    zoo.errors.DataError: ...
    """


class CheckpointError(ZooError):
    """A file that is no checkpoint of this zoo, or one that is damaged or refused.

    >>> import zoo
    >>> zoo.load("nowhere.ckpt")
    Traceback (most recent call last):
        ...
    zoo.errors.CheckpointError: ...
    """


class DivergedError(ZooError):
    """A training whose loss is not finite."""


class ToldError(ZooError):
    """What follows from an error of another process, which has told it: this one says nothing, and ends as of any."""


class Stopped(SystemExit):
    """The process is asked to end by the signal ``number``: it does, with status 128 + number.

    ``advice``: how what was begun is gone on with, for whoever reads its last line. ``agreed``: whether the other
    processes of a training end by themselves.
    """

    def __init__(self, number: int, advice: str = "", agreed: bool = False) -> None:
        super().__init__(128 + number)
        self.number = number
        self.advice = advice
        self.agreed = agreed

    def __str__(self) -> str:
        what = "interrupted" if self.number == signal.SIGINT else f"ended by {signal.Signals(self.number).name}"
        return f"{what}; {self.advice}" if self.advice else what


def some(names: Sequence[str], most: int = 5) -> str:
    """The first of some names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def did_you_mean(word: str, valid: Iterable[str], what: str = "valid") -> str:
    """The nearest valid names, or all of them where none is near, but no list without end: a hint that ends an error
    message."""
    names = sorted(valid)
    near = difflib.get_close_matches(word, names, n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(repr(name) for name in near) + "?"
    return f"{what}: " + (some(names, MOST_NAMES) or "none")
