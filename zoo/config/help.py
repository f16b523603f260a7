"""The answer to ``--help``: every group's options, and every key with its value, what it takes and what it is."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from zoo.config.grid import first_job
from zoo.config.options import GROUPS, OVERLAYS, add_found_options, comments_of, flat, options_of, rules_of
from zoo.schema import WIDTH, Option, table

HELP = """\
Train a model:  python train.py model=cnn data=mnist
Many at once:   python train.py -m model=cnn,rnn seed=1,2,3
Go on:          python train.py resume=<run directory>
Show it all:    python train.py model=cnn --cfg job
The keys of:    python train.py model=vae data=digits --help
All commands:   python -m zoo --help
Version:        python train.py --version
Tab completion: eval "$(python train.py -sc install=bash)", in bash

== Groups: group=option ==
{groups}

== Keys: key=value ==
{keys}"""


def composed(arguments: Iterable[str], configs: Path) -> DictConfig:
    """What Hydra makes of ``arguments`` outside of a job, not checked. Raises ``HydraException`` as it does."""
    add_found_options(configs)
    with initialize_config_dir(str(configs.resolve()), version_base="1.3"):
        return compose("train", list(arguments))


def values_of(arguments: Sequence[str], configs: Path) -> dict[str, Any]:
    """What ``arguments`` select, with the rules, not checked; those of a multirun, in its first job. Raises
    ``HydraException`` as Hydra does."""
    values: Any = OmegaConf.to_container(composed(first_job(arguments, configs), configs), resolve=True)
    return values


def help_text(arguments: Sequence[str], configs: Path) -> str:
    """The answer to ``--help``: all groups, and the keys that the other ``arguments`` select, with their values.

    Hydra's own answer composes once for each of a hundred options. Raises ``HydraException`` as it does.
    """
    values = values_of(arguments, configs)
    groups = []
    for group in (*GROUPS, *OVERLAYS):
        options = sorted(name for name in options_of(group, configs) if not name.startswith("_"))
        if group == "recipe":  # is chosen by model and data, and there is one for many a pair
            model = values["model"]["name"]
            options = [name for name in options if name.startswith(f"{model}-")] or ["none"]
            group = f"recipe of {model}"
        groups.append(
            textwrap.fill(f"{group}: {', '.join(options)}", WIDTH, subsequent_indent="  ", break_on_hyphens=False)
        )
    return HELP.format(groups="\n".join(groups), keys="\n\n".join(_blocks(values, configs)))


def _blocks(values: Mapping[str, Any], configs: Path) -> Iterator[str]:
    """The keys of the run itself and of each group, under what is chosen of it."""
    rules = dict(rules_of(values))
    said = comments_of(configs / "train.yaml")
    own = {key: value for key, value in values.items() if not isinstance(value, dict)}
    yield table({key: Option(value, said.get(key, ""), rules.get(key)) for key, value in own.items()}, all_typed=True)
    for group in ("model", "data", "learner", "trainer", "logger"):
        name = values[group].get("name", "")
        files = options_of(group, configs)
        chosen = files.get(name) or configs / group / f"{'_base' if group == 'data' else 'auto'}.yaml"
        said = {f"{group}.{key}": text for key, text in comments_of(chosen).items()}
        found = {
            key: Option(value, said.get(key, ""), rules.get(key))
            for key, value in flat(values[group], f"{group}.")
            if key != f"{group}.name"
        }
        yield "\n".join(filter(None, [f"{group}={name}" if name else group, table(found, all_typed=True)]))
