"""From the command line to a checked configuration, without importing torch.

The YAML files are the schema. A key must stand in one of them, a value must have the type of the default there, and
``_allowed_`` in the same file states what else must hold (see :mod:`zoo.schema`; ``self: open`` opens a whole group).
"""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from zoo.errors import ConfigError, did_you_mean
from zoo.found import names
from zoo.registry import user_directories
from zoo.schema import check_value

GROUPS = ("data", "model", "learner", "trainer", "logger")
OVERLAYS = ("recipe", "experiment")  # they only set values that a group has declared
IDENTITIES = tuple(f"{group}.name" for group in GROUPS)
RULES = "_allowed_"
SOURCES = "zoo.data.sources"  # whose modules are options of the group data; none of them is imported
MOVED = {  # names from elsewhere that users will try
    "trainer.gradient_clip_val": "learner.clip",
    "trainer.accumulate_grad_batches": "learner.accumulate",
    "learner.accumulate": "learner.accumulate",
    "trainer.callbacks": "Python: Trainer(callbacks=…)",
    "trainer.logger": "the group logger",
    "model.lr": "learner.optimizer.lr",
    "model.classify_weight": "model=m2",
    "learner.lr": "learner.optimizer.lr",
    "trainer.seed": "seed",
    "data.seed": "seed, or data.split_seed",
}


def add_found_options(configs: Path) -> None:
    """Make options of what is found: the YAML of each model in ``ZOO_MODELS``, and each source that has no YAML."""
    store = ConfigStore.instance().store
    for directory in user_directories():
        for path in sorted(directory.glob("*.yaml")):
            store(group="model", name=path.stem, node=OmegaConf.load(path), provider=str(path))
    for name in _sources_without_file(configs):
        store(group="data", name=name, node=OmegaConf.create(_source(name)), provider=SOURCES)


def _sources_without_file(configs: Path) -> list[str]:
    return [name for name in names(SOURCES) if not (configs / "data" / f"{name}.yaml").is_file()]


def _source(name: str) -> dict[str, Any]:
    """What a source without choices of its own would have in its YAML."""
    return {"defaults": ["_base", "_self_"], "name": name}


def checked(config: DictConfig) -> dict[str, Any]:
    """The composed configuration of the running job as plain data, once every key and value is known to be right.

    Raises:
        ConfigError: an unknown key, a value of the wrong type or outside its range, a value that cannot be resolved.
    """
    choices = HydraConfig.get().runtime.choices
    selected = [f"{group}={choices[group]}" for group in GROUPS]
    loader = GlobalHydra.instance().config_loader()
    schema = loader.load_configuration("train", [*selected, *(f"~{overlay}" for overlay in OVERLAYS)], RunMode.RUN)
    values, defaults = _plain(config), _plain(schema)
    rules = dict(_rules(defaults))
    _check(values, defaults, rules, set(_keys(defaults, "")), "")
    if values["data"].get("path") not in (None, ""):  # the run remembers it: it means the same from any directory
        values["data"]["path"] = str(Path(str(values["data"]["path"])).expanduser().resolve())
    return {key: _without_rules(value) for key, value in values.items() if key not in ("hydra", RULES)}


def settings(arguments: Iterable[str], configs: Path) -> dict[str, Any]:
    """As :func:`checked`, of what ``arguments`` select, outside of a job of ``train.py`` or within another one's.

    Raises ``ConfigError`` also for what Hydra refuses.
    """
    arguments = list(arguments)
    add_found_options(configs)
    outer, outer_hydra = HydraConfig.instance().cfg, GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()  # Hydra takes one application a process
    try:
        with initialize_config_dir(str(configs.resolve()), version_base="1.3"):
            config = compose("train", arguments, return_hydra_config=True)
            HydraConfig.instance().set_config(config)
            return checked(config)
    except HydraException as error:
        raise ConfigError(explain(error, arguments, configs)) from error
    finally:
        HydraConfig.instance().cfg, GlobalHydra.instance().hydra = outer, outer_hydra


def resumed(run: Path, overrides: list[str]) -> dict[str, Any]:
    """The configuration of an earlier run, with the ``trainer`` values of the command line.

    Raises ``ConfigError`` where ``run`` is no run directory, or something other than ``trainer.*`` was given.
    """
    path = run / "config.yaml"
    if not path.is_file() or not (run / "last.ckpt").is_file():
        raise ConfigError(f"resume={run} is no run directory with a config.yaml and a last.ckpt")
    config = OmegaConf.load(path)
    for override in OverridesParser.create().parse_overrides(overrides):
        key = override.key_or_group
        if key == "resume":
            continue
        if not key.startswith("trainer.") or override.is_sweep_override():
            raise ConfigError(f"a resumed run goes on as it was begun: beside resume=… only trainer.* fits, not {key}")
        OmegaConf.update(config, key, override.value(), force_add=True)
    return _plain(config)


def _plain(config: Any) -> dict[str, Any]:
    """Everything but Hydra's own part, resolved."""
    config = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from error
    assert isinstance(plain, dict)
    return plain  # type: ignore[return-value]


def _without_rules(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_rules(entry) for key, entry in value.items() if key != RULES}
    return value


def _rules(defaults: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """``("data.augment.erase", "[0, 1]")``, … from every ``_allowed_`` in the schema."""
    for key, value in defaults.items():
        if key == RULES:
            yield from ((prefix.rstrip(".") if name == "self" else prefix + name, rule) for name, rule in value.items())
        elif isinstance(value, dict):
            yield from _rules(value, f"{prefix}{key}.")


def _check(
    values: Mapping[str, Any], defaults: Mapping[str, Any], rules: Mapping[str, Any], known: set[str], prefix: str
) -> None:
    """Compare ``values`` with the schema's ``defaults`` below ``prefix``; ``known`` are all keys of the schema."""
    is_open = rules.get(prefix.rstrip(".")) == "open"
    for key, value in values.items():
        where = f"{prefix}{key}"
        if key == RULES:
            continue
        if key not in defaults:
            if where in MOVED:
                raise ConfigError(f"unknown key {where!r}: {_moved(where, known)}")
            if is_open:
                continue
            hint = did_you_mean(key, set(defaults) - {RULES}, "valid keys")
            raise ConfigError(f"unknown key {where!r}: {hint}")
        if where in IDENTITIES and value != defaults[key]:
            group = prefix.rstrip(".")
            raise ConfigError(f"{where} cannot be changed: {group}={value} chooses another option of the group")
        if isinstance(defaults[key], dict):
            if not isinstance(value, dict):
                raise ConfigError(f"{where} holds {', '.join(defaults[key])}; it cannot be set to {value!r}")
            _check(value, defaults[key], rules, known, f"{where}.")
        else:
            check_value(where, value, defaults[key], rules.get(where))


def _moved(key: str, known: set[str]) -> str:
    """What a name from elsewhere is called here, where the chosen learner has such a thing."""
    target = MOVED[key]
    if target.startswith("model="):
        return f"it is an option of {target}"
    if target.startswith("learner.") and target not in known:
        why = ": it sums no gradients over batches, data.batch_size is what counts" if "accumulate" in target else ""
        return f"the chosen learner has no {target.partition('.')[2]}{why}"
    return f"it is called {target} here"


FLAGS = (
    "-h", "--help", "--hydra-help", "--version", "-c", "--cfg", "--resolve", "-p", "--package", "-r", "--run", "-m",
    "--multirun", "-sc", "--shell-completion", "-cp", "--config-path", "-cn", "--config-name", "-cd", "--config-dir",
    "--experimental-rerun", "-i", "--info",
)  # fmt: skip


def check_flags(arguments: list[str]) -> None:
    """Raise ``ConfigError`` for a flag that is not Hydra's: it is most likely a value in another tool's spelling."""
    for argument in arguments:
        if argument.startswith("-") and argument.split("=")[0] not in FLAGS:
            name = argument.lstrip("-").split("=")[0]
            raise ConfigError(f"unknown flag {argument}: values are given as key=value ({name}=…); see --help")


HELP = """\
Train a model:  python train.py model=cnn data=mnist
Many at once:   python train.py -m model=cnn,rnn seed=1,2,3
Go on:          python train.py resume=<run directory>
Show it all:    python train.py model=cnn --cfg job

== Groups: group=option ==
{groups}

== Values: key.name=value ==
{values}"""


def composed(arguments: Iterable[str], configs: Path) -> DictConfig:
    """What Hydra makes of ``arguments`` outside of a job, not checked. Raises ``HydraException`` as it does."""
    add_found_options(configs)
    with initialize_config_dir(str(configs.resolve()), version_base="1.3"):
        return compose("train", list(arguments))


def help_text(arguments: list[str], configs: Path) -> str:
    """The answer to ``--help``: all groups, and the values that the other ``arguments`` select.

    Hydra's own answer composes once for each of a hundred options. Raises ``HydraException`` as it does.
    """
    groups = []
    for group in (*GROUPS, *OVERLAYS):
        options = sorted(name for name in _options(group, configs) if not name.startswith("_"))
        line = f"{group}: {', '.join(options)}"
        groups.append(textwrap.fill(line, 80, subsequent_indent="  ", break_on_hyphens=False))
    config = composed((word for word in arguments if not word.startswith("-")), configs)
    return HELP.format(groups="\n".join(groups), values=OmegaConf.to_yaml(config).rstrip())


def explain(error: HydraException, arguments: list[str], configs: Path) -> str:
    """What was wrong with the command line that Hydra refused, and what would be right."""
    if isinstance(error, MissingConfigException) and error.options:
        path = error.missing_cfg_file or ""
        group, _, option = path.partition("/")
        options = sorted(_options(group, configs))  # those in folders, too, which Hydra does not tell
        if group not in (*GROUPS, *OVERLAYS):  # one of Hydra's own
            (group, _, option), options = path.rpartition("/"), list(error.options)
        options = [name for name in options if not name.startswith("_")]
        return (
            f"unknown option {group}={option}: {did_you_mean(option, options, 'options')} (all: {', '.join(options)})"
        )
    if isinstance(error, OverrideParseException):
        hint = (
            "values are given as key=value"
            if "=" not in error.override
            else "quote it, or escape its special characters"
        )
        return f"{error.override!r} is not understood: {hint}"
    match = re.search(r"Could not (?:override|append to config|delete)[^']*'([^']+)'", str(error))
    if isinstance(error, ConfigCompositionException) and match:
        return f"unknown key {match[1]!r}: {_nearest(match[1].split('@')[0], arguments, configs)}"
    return str(error).splitlines()[0]


def _nearest(key: str, arguments: list[str], configs: Path) -> str:
    """Hint at keys of the configuration that the valid groups on the command line select."""
    files = {group: _options(group, configs) for group in (*GROUPS, *OVERLAYS)}
    choice = {"data": "digits", "model": "cnn", "trainer": "auto", "logger": "tensorboard"}
    for argument in arguments:
        group, _, option = argument.partition("=")
        if option in files.get(group, {}):
            choice[group] = option
    choice.setdefault("learner", _learner_of(_content(choice["model"], files["model"][choice["model"]])))
    keys = {*GROUPS, *OVERLAYS}
    for group in GROUPS:
        keys |= set(_keys(_read(files[group], choice[group]), f"{group}."))
    keys |= set(_keys(yaml.safe_load((configs / "train.yaml").read_text()), "")) - {"defaults"}
    if key in MOVED:
        return _moved(key, keys)
    opened = [group for group in ("trainer", "learner.optimizer", "learner.schedule") if key.startswith(f"{group}.")]
    opened = [group for group in opened if group in keys]
    hint = did_you_mean(key, keys, "keys")
    if hint.startswith("keys: "):  # none is near: those beside it, not all
        beside = [known for known in keys if known.rpartition(".")[0] == key.rpartition(".")[0]]
        hint = did_you_mean(key, beside or keys & {*GROUPS, *OVERLAYS, "seed", "resume", "runs"}, "valid are")
    return hint + (f" (a further option of {opened[0]} is added with +{key}=…)" if opened else "")


def _learner_of(model: Mapping[str, Any]) -> str:
    """The learner that a model's file picks, if none is named."""
    for entry in model.get("defaults", []):
        if isinstance(entry, dict) and "override /learner@_global_.learner" in entry:
            return str(entry["override /learner@_global_.learner"])
    return "classification"


def _options(group: str, configs: Path) -> dict[str, Path | None]:
    """The options of a group, with their files; None for a source that has none."""
    directories = [configs / group, *(user_directories() if group == "model" else [])]
    files = ((directory, path) for directory in directories for path in directory.rglob("*.yaml"))
    found = {path.relative_to(directory).with_suffix("").as_posix(): path for directory, path in files}
    return {**found, **dict.fromkeys(_sources_without_file(configs) if group == "data" else ())}


def _content(name: str, file: Path | None) -> dict[str, Any]:
    """What the file of an option holds, or would hold."""
    return _source(name) if file is None else yaml.safe_load(file.read_text()) or {}


def _read(files: Mapping[str, Path | None], name: str) -> dict[str, Any]:
    """An option's content with what it extends."""
    content = _content(name, files[name])
    parents = [entry for entry in content.pop("defaults", []) if isinstance(entry, str) and entry != "_self_"]
    return {key: value for parent in parents for key, value in _read(files, parent).items()} | content


def _keys(node: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, value in node.items():
        if key not in (RULES, "hydra"):
            yield f"{prefix}{key}"
            if isinstance(value, dict):
                yield from _keys(value, f"{prefix}{key}.")


def worker_run() -> Path | None:
    """The run directory of the training this process was started for as one of several, else None."""
    return Path(os.environ["ZOO_RUN"]) if "ZOO_RUN" in os.environ and "LOCAL_RANK" in os.environ else None
