"""The words of the command line by which a run can be repeated, and what is kept of its figures."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo import config as configuration
from zoo.errors import ConfigError
from zoo.files import CONFIGS, user_path
from zoo.plain import read_json

OF_ONE_MACHINE = (  # words of a command that change no figure
    "runs", "resume", "data.root", "data.path", "logger", "hydra", "trainer.accelerator", "trainer.devices",
    "trainer.log_every_n_steps", "trainer.profiler",
)  # fmt: skip
TRAINED_BY = ("model", "data", "learner", "trainer")  # groups of options that do


def ended(run: str | Path) -> dict[str, Any]:
    """The summary of a run. Raises ``ConfigError`` where it is none that has ended."""
    run = user_path(run)
    if not (run / "summary.json").is_file():
        raise ConfigError(f"run={run} is no directory of a run that has ended: it holds no summary.json")
    return read_json(run / "summary.json", ConfigError)


def recipe_of(command: str) -> list[str]:
    """The words after ``train`` that the result depends on, ``seed`` among them, sorted."""
    words = [word for word in shlex.split(command) if "=" in word]
    others = ("trainer=", *(f"{key}{end}" for key in OF_ONE_MACHINE for end in "=./"))  # trainer=cpu, trainer=gpu
    words = [word for word in words if not word.startswith(others)]
    return sorted([*words, *([] if any(word.startswith("seed=") for word in words) else ["seed=0"])])


def checked_recipe(summary: Mapping[str, Any], recipe: str | None = None) -> list[str]:
    """The words of ``recipe``, or of a run's command, once it is known that they train what the run trained.

    A run that was ended and went on has a command that only says so, and options may have other values by now. Raises
    ``ConfigError`` where that is so. An option that there was not yet when the run began says nothing against it.
    """
    words = recipe_of(recipe or summary["command"])
    wanted, had = (_trained_with(config) for config in (configuration.settings(words, CONFIGS), summary["config"]))
    for key, value in wanted.items():
        if key not in OF_ONE_MACHINE and key in had and had[key] != value:
            raise ConfigError(
                f"python train.py {' '.join(words)} trains with {key}={value}, and this run had {had[key]}: give the "
                "words that train it as recipe='model=… data=…'"
            )
    return words


def _trained_with(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration says of training, by the key that is typed."""
    found = {f"{group}.{key}": value for group in TRAINED_BY for key, value in config[group].items()}
    augment = found.pop("data.augment", {})
    return {"seed": config["seed"]} | found | {f"data.augment.{key}": value for key, value in augment.items()}


def machine_of(summary: Mapping[str, Any]) -> str:
    """What a run was trained on, in words."""
    machine = summary["machine"]
    threads = f"{machine['threads']} thread{'' if machine['threads'] == 1 else 's'}"
    of = machine["gpu"] or f"{threads} of {machine['cpu']}"
    return f"{of}, torch {summary['versions']['torch']}"


def stem(words: Sequence[str]) -> str:
    """The name of the file for what ``words`` train, whichever their order: ``cnn-mnist``, ``flow_vae_mnist``."""
    named = dict(word.partition("=")[::2] for word in words)
    first = [named.pop(key) for key in ("experiment", "model", "data") if key in named]
    named.pop("seed", None)
    return "-".join([*(word.replace("/", "_") for word in first), *(f"{key}={named[key]}" for key in sorted(named))])
