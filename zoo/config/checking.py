"""A composed configuration, or one that was written down, compared with the schema."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from zoo import plain
from zoo.config.hints import MOVED, explain, hint_at, set_by, unresolved
from zoo.config.options import GROUPS, OVERLAYS, RULES, add_found_options, found_files, keys_of, options_of, rules_of
from zoo.errors import ConfigError, did_you_mean
from zoo.files import PATH_OPTIONS, user_path
from zoo.plain import read_yaml
from zoo.registry import renewed
from zoo.schema import check_value

IDENTITIES = tuple(f"{group}.name" for group in GROUPS)
OmegaConf.register_new_resolver("user_path", lambda text: str(user_path(str(text))), replace=True)


def checked(config: DictConfig) -> dict[str, Any]:
    """The composed configuration of the running job as plain data, once every key and value is known to be right.

    Raises:
        ConfigError: an unknown key, a value of the wrong type or outside its range, a value that cannot be resolved.
    """
    choices = HydraConfig.get().runtime.choices
    values, defaults = _plain(config), schema()
    rules = dict(rules_of(defaults))
    try:
        check(values, defaults, rules, "")
    except UnknownKey as unknown:
        key = str(unknown)
        hint = hint_at(key, set(keys_of(defaults, "")), {group: choices[group] for group in GROUPS}, _home())
        raise ConfigError(f"unknown key {key!r}: {hint}{set_by(key, choices, _home())}") from None
    for key in PATH_OPTIONS:  # the run remembers them: they mean the same from any directory
        if values["data"].get(key) not in (None, ""):
            values["data"][key] = str(user_path(str(values["data"][key])).resolve())
    return {key: _without_rules(value) for key, value in values.items() if key not in ("hydra", RULES)}


def _home() -> Path:
    """The folder of the running job's options."""
    sources = GlobalHydra.instance().config_loader().get_sources()
    return next(Path(source.path) for source in sources if source.provider == "main")


def schema() -> dict[str, Any]:
    """What the options that the running job has chosen hold by themselves, with their rules: its schema."""
    choices, sources = HydraConfig.get().runtime.choices, GlobalHydra.instance().config_loader().get_sources()
    own = [(path, path.stat().st_mtime_ns) for *_, path in found_files(_home())]
    return _composed_schema(
        tuple(f"{group}={choices[group]}" for group in GROUPS), *(str(each) for each in sources), *own
    )


@functools.cache  # a sweep, and a report, ask for the same options a hundred times
def _composed_schema(selected: tuple[str, ...], *files: object) -> dict[str, Any]:
    """Of the ``selected`` options, as those of ``files`` that may change within a process are now."""
    loader = GlobalHydra.instance().config_loader()
    return _plain(
        loader.load_configuration("train", [*selected, *(f"~{overlay}" for overlay in OVERLAYS)], RunMode.RUN)
    )


def settings(arguments: Iterable[str], configs: Path) -> dict[str, Any]:
    """As :func:`checked`, of what ``arguments`` select, outside of a job of ``train.py`` or within another one's.

    Raises ``ConfigError`` also for what Hydra refuses.
    """
    with running(list(arguments), configs) as config:
        return checked(config)


def checked_words(arguments: Iterable[str], configs: Path) -> tuple[dict[str, Any], Path | None]:
    """As :func:`settings`, and :func:`going_on` with what they resume."""
    words = list(arguments)
    with running(words, configs) as config:
        return going_on(checked(config), words)


@contextlib.contextmanager
def running(arguments: list[str], configs: Path) -> Iterator[DictConfig]:
    """What ``arguments`` select, as the running job of a Hydra of its own."""
    add_found_options(configs)
    outer, outer_hydra = HydraConfig.instance().cfg, GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()  # Hydra takes one application a process
    try:
        with initialize_config_dir(str(configs.resolve()), version_base="1.3"):
            config = compose("train", arguments, return_hydra_config=True)
            HydraConfig.instance().set_config(config)
            yield config
    except HydraException as error:
        raise ConfigError(explain(error, arguments, configs)) from error
    finally:
        HydraConfig.instance().cfg, GlobalHydra.instance().hydra = outer, outer_hydra


def latest(runs: Path) -> Path:
    """The run in the directory ``runs``, or in a multirun there, that has written a checkpoint last.

    Raises ``ConfigError`` where there is none.
    """
    found = [*runs.glob("*/last.ckpt"), *runs.glob("*/*/last.ckpt")]
    if not found:
        raise ConfigError(f"resume=last: no run in {runs} has a checkpoint to go on from")
    return max(found, key=lambda path: path.stat().st_mtime_ns).parent


def going_on(settings: dict[str, Any], words: list[str]) -> tuple[dict[str, Any], Path | None]:
    """What is to be trained, and the run directory to go on in, where ``resume`` of a checked configuration says so:
    the ``words`` that it was made of then change what a resumed run may."""
    settings = dict(settings)
    resume = settings.pop("resume")
    if resume == "last":
        resume = latest(user_path(settings["runs"]))
        words = [word for word in words if not word.startswith("runs=")]
    if not resume:
        return settings, None
    run = user_path(resume)
    return resumed(run, words), run


def resumed(run: Path, overrides: list[str]) -> dict[str, Any]:
    """The configuration of an earlier run, with the ``trainer`` values of the command line.

    Its file is checked as a command line is: known keys, with values of their type and range; what an earlier version
    did not know may be absent. Nothing in it is resolved: ``${…}`` is text there.

    Raises ``ConfigError`` where ``run`` is no run directory, or is damaged, or something other than ``trainer.*`` was
    given.
    """
    path = run / "config.yaml"
    if not path.is_file() or not (run / "last.ckpt").is_file():
        raise ConfigError(f"resume={run} is no run directory with a config.yaml and a last.ckpt")
    config = read_yaml(path, ConfigError)
    groups = config if isinstance(config, dict) else {}
    missing = [group for group in GROUPS if not isinstance(groups.get(group), dict)]
    if missing or "seed" not in groups:
        raise ConfigError(f"{path} is damaged: it has no {', '.join(missing) or 'seed'}")
    for override in OverridesParser.create().parse_overrides(overrides):
        key = override.key_or_group
        if key == "resume":
            continue
        if not key.startswith("trainer.") or override.is_sweep_override():
            raise ConfigError(f"a resumed run goes on as it was begun: beside resume=… only trainer.* fits, not {key}")
        *above, name = key.split(".")
        node = config
        for group in above:
            node = node.setdefault(group, {})
            if not isinstance(node, dict):
                raise ConfigError(f"unknown key {key!r}: {group} is a value")
        node[name] = override.value()
    try:
        return _checked_again(config)
    except ConfigError as error:
        raise ConfigError(f"{path}, or what was given beside it: {error}") from error


def _checked_again(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration that was written down, with the ``trainer`` values that it does not know; :func:`checked`."""
    loader, configs = GlobalHydra.instance().config_loader(), _home()
    model = dict(config["model"])
    if isinstance(model.get("name"), str) and model["name"] in options_of("model", configs):
        name, options = renewed(model.pop("name"), model)  # as an earlier version called it
        model = {"name": name, **options}
    choices = {"trainer": "auto"}  # whose options have the same keys
    for group in GROUPS:
        if group == "trainer":
            continue
        known = {name for name in options_of(group, configs) if not name.startswith("_")}
        chosen = (model if group == "model" else config[group]).get("name")
        if not isinstance(chosen, str) or chosen not in known:
            hint = did_you_mean(str(chosen)[:80], known, "options")
            raise ConfigError(f"{group}.name={plain.short(chosen)}: {hint}")
        choices[group] = chosen
    words = [f"{group}={choices[group]}" for group in GROUPS]
    defaults = _plain(
        loader.load_configuration("train", [*words, *(f"~{overlay}" for overlay in OVERLAYS)], RunMode.RUN)
    )
    try:
        check({**config, "model": model}, defaults, dict(rules_of(defaults)), "")
    except UnknownKey as unknown:
        known = set(keys_of(defaults, ""))
        raise ConfigError(f"unknown key {str(unknown)!r}: {hint_at(str(unknown), known, choices, configs)}") from None
    return {**config, "trainer": {**_without_rules(defaults["trainer"]), **config["trainer"]}}


def _plain(config: Any) -> dict[str, Any]:
    """Everything but Hydra's own part, resolved."""
    config = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        words = _task() if HydraConfig.initialized() else ()
        raise ConfigError(unresolved(error, words)) from error
    assert isinstance(plain, dict)
    return plain  # type: ignore[return-value]


def _task() -> list[str]:
    """The words that the running job was given, as they were typed."""
    overrides = HydraConfig.instance().cfg.hydra.overrides  # type: ignore[union-attr]
    return list(OmegaConf.to_container(overrides)["task"])  # type: ignore[call-overload, index]


def _without_rules(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_rules(entry) for key, entry in value.items() if key != RULES}
    return value


class UnknownKey(Exception):
    """A key that is not in the schema."""


def check(values: Mapping[str, Any], defaults: Mapping[str, Any], rules: Mapping[str, Any], prefix: str) -> None:
    """Compare ``values`` with the schema's ``defaults`` below ``prefix``."""
    is_open = rules.get(prefix.rstrip(".")) == "open"
    for key, value in values.items():
        where = f"{prefix}{key}"
        if key == RULES:
            continue
        if key not in defaults:
            if where in MOVED or not is_open:
                raise UnknownKey(where)
            if where in rules:
                check_value(where, value, None, rules[where])
            continue
        if where in IDENTITIES and value != defaults[key]:
            group = prefix.rstrip(".")
            raise ConfigError(f"{where} cannot be changed: {group}={value} chooses another option of the group")
        if isinstance(defaults[key], dict):
            if not isinstance(value, dict):
                raise ConfigError(f"{where} holds {', '.join(defaults[key])}; it cannot be set to {value!r}")
            check(value, defaults[key], rules, f"{where}.")
        else:
            check_value(where, value, defaults[key], rules.get(where))


def worker_run() -> Path | None:
    """The run directory of the training this process was started for as one of several, else None."""
    return Path(os.environ["ZOO_RUN"]) if "ZOO_RUN" in os.environ and "LOCAL_RANK" in os.environ else None
