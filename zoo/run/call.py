"""A training from Python, as the command line begins it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo import config as configuration
from zoo import terminal
from zoo.command import limits
from zoo.errors import ConfigError, Stopped
from zoo.files import CONFIGS
from zoo.run import sweep
from zoo.run.announce import announce

if TYPE_CHECKING:
    from zoo.base.model import Model


class Trained(NamedTuple):
    """A trained model, as ``zoo.load`` reads it, and the run's directory, with its figures and its curves."""

    model: Model
    run: Path


def train(*words: str) -> Trained:
    """Train a model as ``python train.py`` does that is told the same words.

    >>> import zoo
    >>> model, run = zoo.train("model=logistic_regression", "data=digits", "trainer.max_epochs=2", "logger=none")
    logistic_regression on digits: 2 epochs
    ...
    >>> model.name
    'logistic_regression'

    Args:
        words: ``"model=cnn"``, ``"data=mnist"``, ``"learner.optimizer.lr=0.01"``, …, or ``"resume=<run>"``.

    Raises:
        ConfigError: a word is wrong; what would be right is told. Or it is a flag, as of a multirun, or needs several
            processes, which the command line starts.
        ZooError: the training cannot be carried out.
        KeyboardInterrupt: it was interrupted; how to go on is told.
    """
    for word in words:
        if not isinstance(word, str):
            raise ConfigError(f'words are strings, as in zoo.train("model=cnn", "data=mnist"), not {word!r}')
    flags = [word for word in words if word.startswith("-")]
    if flags:
        raise ConfigError(f"{flags[0]} is for the command line: {terminal.typed('train')} {flags[0]} …")
    told = configuration.typed(words)
    for note in configuration.check_words(told, CONFIGS):
        print(note, file=sys.stderr)
    settings, resume = configuration.checked_words(told, CONFIGS)
    _check_alone(settings["trainer"])
    announce(settings, resume)
    from zoo import registry  # torch, seconds after the first word
    from zoo.run.train import train as run

    try:
        with limits(), sweep.arguments(words):
            done = run(settings, resume, commands=False)
    except Stopped as stop:
        raise KeyboardInterrupt(str(stop)) from stop
    (done.run / sweep.FAILED).unlink(missing_ok=True)  # of a job of a multirun that has now come to its end
    return Trained(registry.load(done.run), done.run)


def _check_alone(trainer: dict[str, Any]) -> None:
    """Raise ``ConfigError`` for what keeps nothing to return, or takes more than this process."""
    if trainer["fast_dev_run"]:
        raise ConfigError("trainer.fast_dev_run keeps no model to return: trainer.max_steps=1 trains one step")
    devices = trainer["devices"]
    if (
        trainer["num_nodes"] > 1
        or devices == -1
        or (isinstance(devices, int) and devices > 1)
        or (isinstance(devices, list) and len(devices) > 1)
    ):
        raise ConfigError(f"trainer.devices={devices} takes several processes, which the command line starts")
    if devices == "auto":
        trainer["devices"] = 1
