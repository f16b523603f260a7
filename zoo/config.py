"""From the command line to a checked configuration, without importing torch.

The YAML files are the schema. A key must stand in one of them, a value must have the type of the default there, and
``_allowed_`` in the same file states what else must hold (see :mod:`zoo.schema`; ``self: open`` opens a whole group).
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import itertools
import math
import os
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from zoo import plain, terminal
from zoo.errors import ConfigError, did_you_mean
from zoo.files import PATH_OPTIONS, user_path
from zoo.found import names
from zoo.plain import read_yaml
from zoo.registry import renewed, user_directories
from zoo.schema import check_value
from zoo.terminal import quoted

GROUPS = ("data", "model", "learner", "trainer", "logger")
OVERLAYS = ("recipe", "experiment")  # they only set values that a group has declared
IDENTITIES = tuple(f"{group}.name" for group in GROUPS)
RULES = "_allowed_"
OWN = "configs"  # the folder of the user's own options, where a command is typed
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

OmegaConf.register_new_resolver("user_path", lambda text: str(user_path(str(text))), replace=True)


def add_found_options(configs: Path) -> None:
    """Make options of what is found: the YAML of each model in ``ZOO_MODELS``, what ``configs/`` holds in the directory
    where a command is typed, and each source that has no YAML."""
    store = ConfigStore.instance().store
    for group, name, path in _found(configs):
        above, _, last = f"{group}/{name}".rpartition("/")
        with contextlib.suppress(ConfigError):  # it is named once that option is asked for, see explain()
            store(group=above, name=last, node=_node(path), package=_package(path), provider=str(path))
    for name in _sources_without_file(configs):
        store(group="data", name=name, node=OmegaConf.create(_source(name)), provider=SOURCES)


def _found(configs: Path) -> Iterator[tuple[str, str, Path]]:
    """The user's own files of options: the group, the name in it, and the file."""
    for folder in user_directories():
        for path in sorted(folder.glob("*.yaml")):
            yield "model", path.stem, path
    yield from _beside(configs)


def _beside(configs: Path, taken: bool = False) -> Iterator[tuple[str, str, Path]]:
    """Those that lie where a command is typed, which another program may have put there, whose names are free; or those
    whose names are ``taken`` by options of the zoo."""
    own = Path.cwd() / OWN
    if own.is_dir() and not own.samefile(configs):
        for group in (*GROUPS, *OVERLAYS):
            for path in sorted((own / group).rglob("*.yaml")):
                name = path.relative_to(own / group)
                if (configs / group / name).is_file() == taken:
                    yield group, name.with_suffix("").as_posix(), path


def _node(path: Path) -> DictConfig:
    """What a file of options holds. Raises ``ConfigError`` where it is damaged, or holds none."""
    content = read_yaml(path, ConfigError)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"{path} does not hold options by their names")
    try:
        return OmegaConf.create(content)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path} is damaged: {str(error).splitlines()[0]}") from error


def _package(path: Path) -> str | None:
    """Where the values of a file of options belong, if it says so as Hydra's files do."""
    found = re.search(r"^# *@package +(\S+)", path.read_text("utf-8", "replace"), re.MULTILINE)
    return found[1] if found else None


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
    values, defaults = _plain(config), _defaults()
    rules = dict(_rules(defaults))
    try:
        _check(values, defaults, rules, "")
    except _Unknown as unknown:
        key = str(unknown)
        hint = _hint(key, set(_keys(defaults, "")), {group: choices[group] for group in GROUPS}, _home())
        raise ConfigError(f"unknown key {key!r}: {hint}{_set_by(key, choices, _home())}") from None
    for key in PATH_OPTIONS:  # the run remembers them: they mean the same from any directory
        if values["data"].get(key) not in (None, ""):
            values["data"][key] = str(user_path(str(values["data"][key])).resolve())
    return {key: _without_rules(value) for key, value in values.items() if key not in ("hydra", RULES)}


def _home() -> Path:
    """The folder of the running job's options."""
    sources = GlobalHydra.instance().config_loader().get_sources()
    return next(Path(source.path) for source in sources if source.provider == "main")


def _defaults() -> dict[str, Any]:
    """What the options that the running job has chosen hold by themselves, with their rules: its schema."""
    choices, sources = HydraConfig.get().runtime.choices, GlobalHydra.instance().config_loader().get_sources()
    own = [(path, path.stat().st_mtime_ns) for *_, path in _found(_home())]
    return _schema(tuple(f"{group}={choices[group]}" for group in GROUPS), *(str(each) for each in sources), *own)


@functools.cache  # a sweep, and a report, ask for the same options a hundred times
def _schema(selected: tuple[str, ...], *files: object) -> dict[str, Any]:
    """Of the ``selected`` options, as those of ``files`` that may change within a process are now."""
    loader = GlobalHydra.instance().config_loader()
    return _plain(
        loader.load_configuration("train", [*selected, *(f"~{overlay}" for overlay in OVERLAYS)], RunMode.RUN)
    )


def settings(arguments: Iterable[str], configs: Path) -> dict[str, Any]:
    """As :func:`checked`, of what ``arguments`` select, outside of a job of ``train.py`` or within another one's.

    Raises ``ConfigError`` also for what Hydra refuses.
    """
    with _job(list(arguments), configs) as config:
        return checked(config)


@contextlib.contextmanager
def _job(arguments: list[str], configs: Path) -> Iterator[DictConfig]:
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


def check_sweep(arguments: Sequence[str], configs: Path) -> list[str]:
    """Check jobs of a multirun before the first one begins: each value that is swept over, in a job that will come.

    Returns the command line for Hydra, in which each ``glob(…)`` is spelled out.

    Raises ``ConfigError`` as :func:`settings` does, with the job, and for what makes no grid.
    """
    words = [_grid(word, configs) if _is_override(arguments, number) else word for number, word in enumerate(arguments)]
    choices = [
        _values(word)
        for number, word in enumerate(words)
        if _is_override(words, number) and not word.lstrip("+~").startswith(("hydra.", "hydra/"))
    ]
    if math.prod(map(len, choices)) > MOST_JOBS:
        raise ConfigError(f"the sweep has more than {MOST_JOBS:,} jobs: {' × '.join(f'{len(v):,}' for v in choices)}")
    first = [values[0] for values in choices]
    with _in_a_job(first), _job(first, configs) as config:
        checked(config)
        defaults = _defaults()
    rules = dict(_rules(defaults))
    for place, values in enumerate(choices):
        for value in values[1:]:
            job = [*first[:place], value, *first[place + 1 :]]
            key, _, text = value.partition("=")
            with _in_a_job(job):
                if (
                    key in (*GROUPS, *OVERLAYS)
                    or not re.fullmatch(r"[\w.]+", key)
                    or text.startswith("{")
                    or "${" in text
                ):
                    settings(job, configs)
                else:  # the options stay the same: a thousand values are looked at in a second
                    typed: Any = _parsed(value).value()
                    for name in reversed(key.split(".")):
                        typed = {name: typed}
                    _check(typed, defaults, rules, "")
    return words


def _grid(word: str, configs: Path) -> str:
    """A word of a multirun, with ``glob(…)`` spelled out. Raises ``ConfigError`` for what a grid has no place for."""
    override = _parsed(word)
    key = override.key_or_group
    if key == "hydra/sweeper" and override.value() != "basic":
        raise ConfigError(f"{word}: -m makes a grid, of all values. {SEARCH}")
    if key == "resume" and override.value() is not None:
        raise ConfigError(f"{word} goes on with one run, as it was begun: without -m")
    if override.is_interval_sweep():
        raise ConfigError(f"{word} has no steps, and -m makes a grid: {key}=range(…) or values with commas. {SEARCH}")
    if override.value_type != ValueType.GLOB_CHOICE_SWEEP:
        return word
    if key not in (*GROUPS, *OVERLAYS):
        raise ConfigError(f"{word}: glob(…) is of the options of a group, and {key} is none: {key}=a,b are two values")
    found = override.value().filter(sorted(name for name in _options(key, configs) if not name.startswith("_")))  # type: ignore[union-attr]
    if not found:
        raise ConfigError(f"{word} matches none of {', '.join(sorted(_options(key, configs)))}")
    return f"{word.partition('=')[0]}={','.join(found)}"


def _values(word: str) -> list[str]:
    """A word for each value that one of a multirun has. Raises ``ConfigError`` where it has none."""
    override = _parsed(word)
    if not override.is_sweep_override():
        return [word]
    try:
        texts = list(itertools.islice(override.sweep_string_iterator(), MOST_JOBS + 1))
    except (ValueError, HydraException) as error:  # a step of zero
        raise ConfigError(f"{word} is no range: {error}") from error
    if not texts:
        raise ConfigError(f"{word} has no value: a range leads from its start to before its stop")
    return [f"{word.partition('=')[0]}={text}" for text in texts]


@contextlib.contextmanager
def _in_a_job(job: Sequence[str]) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{error}\nIn a job of the sweep: {' '.join(job)}; none was started") from error


def latest(runs: Path) -> Path:
    """The run in the directory ``runs``, or in a multirun there, that has written a checkpoint last.

    Raises ``ConfigError`` where there is none.
    """
    found = [*runs.glob("*/last.ckpt"), *runs.glob("*/*/last.ckpt")]
    if not found:
        raise ConfigError(f"resume=last: no run in {runs} has a checkpoint to go on from")
    return max(found, key=lambda path: path.stat().st_mtime_ns).parent


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
    if isinstance(model.get("name"), str) and model["name"] in _options("model", configs):
        name, options = renewed(model.pop("name"), model)  # as an earlier version called it
        model = {"name": name, **options}
    choices = {"trainer": "auto"}  # whose options have the same keys
    for group in GROUPS:
        if group == "trainer":
            continue
        known = {name for name in _options(group, configs) if not name.startswith("_")}
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
        _check({**config, "model": model}, defaults, dict(_rules(defaults)), "")
    except _Unknown as unknown:
        known = set(_keys(defaults, ""))
        raise ConfigError(f"unknown key {str(unknown)!r}: {_hint(str(unknown), known, choices, configs)}") from None
    return {**config, "trainer": {**_without_rules(defaults["trainer"]), **config["trainer"]}}


def _plain(config: Any) -> dict[str, Any]:
    """Everything but Hydra's own part, resolved."""
    config = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        words = _task() if HydraConfig.initialized() else ()
        raise ConfigError(_unresolved(error, words)) from error
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


def _rules(defaults: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """``("data.augment.erase", "[0, 1]")``, … from every ``_allowed_`` in the schema."""
    for key, value in defaults.items():
        if key == RULES:
            yield from ((prefix.rstrip(".") if name == "self" else prefix + name, rule) for name, rule in value.items())
        elif isinstance(value, dict):
            yield from _rules(value, f"{prefix}{key}.")


class _Unknown(Exception):
    """A key that is not in the schema."""


def _check(values: Mapping[str, Any], defaults: Mapping[str, Any], rules: Mapping[str, Any], prefix: str) -> None:
    """Compare ``values`` with the schema's ``defaults`` below ``prefix``."""
    is_open = rules.get(prefix.rstrip(".")) == "open"
    for key, value in values.items():
        where = f"{prefix}{key}"
        if key == RULES:
            continue
        if key not in defaults:
            if where in MOVED or not is_open:
                raise _Unknown(where)
            if where in rules:
                check_value(where, value, None, rules[where])
            continue
        if where in IDENTITIES and value != defaults[key]:
            group = prefix.rstrip(".")
            raise ConfigError(f"{where} cannot be changed: {group}={value} chooses another option of the group")
        if isinstance(defaults[key], dict):
            if not isinstance(value, dict):
                raise ConfigError(f"{where} holds {', '.join(defaults[key])}; it cannot be set to {value!r}")
            _check(value, defaults[key], rules, f"{where}.")
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


FLAGS = (  # without --experimental-rerun: it reads a pickle, which can run code
    "-h", "--help", "--hydra-help", "--version", "-c", "--cfg", "--resolve", "-p", "--package", "-r", "--run", "-m",
    "--multirun", "-sc", "--shell-completion", "-cp", "--config-path", "-cn", "--config-name", "-cd", "--config-dir",
    "-i", "--info",
)  # fmt: skip


VALUED = ("-p", "--package", "-c", "--cfg", "-cp", "--config-path", "-cn", "--config-name", "-cd", "--config-dir",
          "-i", "--info")  # fmt: skip
DASHES = "-‐‑‒–—―−"  # which a text editor may have put in the place of hyphens
MOST_JOBS = 100_000  # of a multirun: Hydra lists them all before the first
SEARCH = "A search is python scripts/tune.py, see its --help"
PLUGINS = {  # Hydra's own groups, and what is to be installed for an option
    "hydra/launcher": {"joblib": "joblib-launcher", "submitit": "submitit-launcher", "ray": "ray-launcher"},
    "hydra/job_logging": {"colorlog": "colorlog"},
    "hydra/hydra_logging": {"colorlog": "colorlog"},
}
DEAD = {  # what has no package for the Pythons of this project: an installed one would stop every command of Hydra
    "hydra/launcher=rq": "hydra/launcher=joblib is for one machine, submitit_slurm and ray are for several",
}


def typed(arguments: Iterable[str]) -> list[str]:
    """The command line for Hydra, to which a path that begins with ``~`` is no value: it is quoted."""
    found = []
    for word in arguments:
        key, equals, value = word.partition("=")
        found.append(f"{key}={quoted(value)}" if equals and value.startswith("~") else word)
    return found


def _is_override(arguments: Sequence[str], number: int) -> bool:
    return arguments[number][:1] not in (*DASHES,) and not (number and arguments[number - 1] in VALUED)


def check_words(arguments: Sequence[str], configs: Path | None = None) -> list[str]:
    """Raise ``ConfigError`` for a command line that Hydra would misread, or refuse without saying what to type.

    Returns sentences for the user, on words that have no effect.

    ``configs``: where the options of groups are, of ``train.py``; None leaves the keys to the caller.
    """
    several = bool({"-m", "--multirun"} & set(arguments))
    seen: dict[str, str] = {}
    notes = [
        f"{OWN}/{group}/{name}.yaml is not read: the zoo has {group}={name} of its own"
        for group, name, _ in (_beside(configs, taken=True) if configs else ())
    ]
    for number, word in enumerate(arguments):
        if word[:1] in (*DASHES,):
            if word.split("=")[0] not in FLAGS:
                name, _, value = word.lstrip(DASHES).partition("=")
                raise ConfigError(
                    f"unknown flag {word}: values are given as key=value ({name}={value or '…'}); see --help"
                )
            continue
        if number and arguments[number - 1] in VALUED:
            continue
        if word == "=" or arguments[number + 1 : number + 2] == ["="]:
            at = arguments.index("=")
            raise ConfigError(f"no space stands around =: {''.join(arguments[max(at - 1, 0) : at + 2])}")
        key, equals, value = word.partition("=")
        if equals and not key.strip("+~"):
            raise ConfigError(f"{word!r} has no key before the =: values are given as key=value")
        override = _parsed(word)
        if override.is_sweep_override() and not several:
            hint = (
                f"a sweep needs -m: {terminal.typed('train' if configs else 'compare')} -m {terminal.word(key, value)}"
            )
            if key not in (*GROUPS, *OVERLAYS):
                hint += f"\nA single value with a comma in it is typed {terminal.override(key, value)}"
            raise ConfigError(f"{word!r} are several values, and this is one run: {hint}")
        if configs is None:
            continue
        name = override.key_or_group
        if seen.get(name, word) != word:
            notes.append(f"{name} is given twice: {word} is taken, and {seen[name]} is not")
        seen[name] = word
        if name in GROUPS and override.package is None:
            _check_choice(name, override, configs)
    return notes


def _check_choice(group: str, override: Override, configs: Path) -> None:
    """Raise ``ConfigError`` unless one option of a group is chosen."""
    options = ", ".join(sorted(name for name in _options(group, configs) if not name.startswith("_")))
    if override.is_delete():
        raise ConfigError(f"{group} cannot be left out: {group}=… chooses another one ({options})")
    if override.is_add():
        raise ConfigError(f"{group} has a value already: {group}=… without + chooses another one ({options})")
    value = None if override.is_sweep_override() else override.value()
    if not override.is_sweep_override() and (not isinstance(value, str) or not value):
        raise ConfigError(f"{override.input_line}: the name of one option is needed ({options})")


def _parsed(word: str) -> Override:
    """An override as Hydra reads it. Raises ``ConfigError`` with the word that would be right."""
    try:
        return OverridesParser.create().parse_override(word)
    except (HydraException, ValueError) as error:  # ValueError: a number of thousands of digits
        key, equals, value = word.partition("=")
        group, colon, option = word.partition(":")
        if not equals:
            example = f": {group}={option}" if colon else ""
            raise ConfigError(f"{word!r} is not understood: values are given as key=value{example}") from error
        if value[:1] in ("'", '"') and value[-1:] != value[:1]:
            raise ConfigError(f"{word!r} is not understood: a quotation mark is missing at its end") from error
        raise ConfigError(
            f"{word!r} is not understood: to Hydra some of its characters are more than themselves\n"
            f"To be taken as it is, it is typed {terminal.override(key, value)}"
        ) from error


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


def explain(error: Exception, arguments: list[str], configs: Path) -> str:
    """What was wrong with the command line that Hydra refused, and what would be right."""
    if isinstance(error, MissingConfigException) and error.options:
        path = error.missing_cfg_file or ""
        group, _, option = path.partition("/")
        files = _options(group, configs)
        options = sorted(files)  # those in folders, too, which Hydra does not tell
        if group not in (*GROUPS, *OVERLAYS):  # one of Hydra's own
            (group, _, option), options = path.rpartition("/"), list(error.options)
        if f"{group}={option}" in DEAD:
            return f"{group}={option} has no package that runs on this Python: {DEAD[f'{group}={option}']}"
        if group == "hydra/sweeper":
            return f"{group}={option}: -m makes a grid, of all values. {SEARCH}"
        for name, package in PLUGINS.get(group, {}).items():
            if option.startswith(name) and not any(known.startswith(name) for known in options):
                return f"{group}={option} needs a package that is not installed: pip install hydra-{package}"
        file = files.get(option)
        if file is not None:
            _node(file)  # it is known, and could not be read
        options = [name for name in options if not name.startswith("_")]
        return f"unknown option {group}={option}: {_near_option(option, options)}"
    match = re.search(r"Could not (?:override|append to config|delete)[^']*'([^']+)'", str(error))
    if isinstance(error, ConfigCompositionException) and match:
        return f"unknown key {match[1]!r}: {_nearest(match[1].split('@')[0], arguments, configs)}"
    match = re.match(r"Multiple values for (\S+)\.", str(error))
    if match:
        return f"{match[1]} has a value already: {match[1]}=… without + chooses another one"
    return _unresolved(error, arguments)


def _unresolved(error: Exception, words: Iterable[str]) -> str:
    """The first line of an error; where ``${…}`` is no key, how it is typed to stand for itself."""
    first = str(error).splitlines()[0]
    found = [word.partition("=") for word in words if "${" in word]
    if not found or "nterpolation" not in first:
        return first
    return f"{first}\nTo be taken as it is, it is typed {terminal.override(found[0][0], found[0][2])}"


def _near_option(word: str, options: Sequence[str]) -> str:
    """The options that begin like ``word``, with or without their folders, or are near to it; all where none is."""
    folded = word.casefold()
    near = [name for name in options if folded and any(part.startswith(folded) for part in (name, _last(name, "/")))]
    near = near or [name for name in options if len(folded) > 2 and folded in name]
    if near:
        return "did you mean " + " or ".join(map(repr, near[:3])) + f"? (all: {', '.join(options)})"
    hint = did_you_mean(folded, options, "options")
    return hint if hint.startswith("options") else f"{hint} (all: {', '.join(options)})"


def _last(name: str, separator: str = ".") -> str:
    return name.rpartition(separator)[2]


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
    keys |= set(_keys(read_yaml(configs / "train.yaml"), "")) - {"defaults"}
    return _hint(key, keys, choice, configs)


def _hint(key: str, keys: set[str], choice: Mapping[str, str], configs: Path) -> str:
    """What is meant by a key that is not among ``keys``, those of the options that ``choice`` names by their groups."""
    if key in MOVED:
        return _moved(key, keys)
    group, name = key.partition(".")[0], _last(key)
    above = key.rpartition(".")[0]
    beside = sorted(known for known in keys if known.rpartition(".")[0] == above and _last(known) != "name")
    near = difflib.get_close_matches(name, map(_last, beside), n=3, cutoff=0.6)
    near = [known for known in beside if _last(known) in near] if above else []
    opened = [open_ for open_ in ("trainer", "learner.optimizer", "learner.schedule") if key.startswith(f"{open_}.")]
    more = f" (a further option of {opened[0]} is added with +{key}=…)" if opened and opened[0] in keys else ""
    files = _options(group, configs) if group in choice and above == group else {}
    have = [option for option in sorted(files) if not option.startswith("_") and name in _read(files, option)]
    if near and not have:
        return "did you mean " + " or ".join(map(repr, near)) + f"?{more}"
    if files:
        which = f", which {_listed(have)} {'has' if len(have) == 1 else 'have'}" if have else ""
        return f"{group}={choice[group]} has no option {name!r}{which}; it has {_listed(beside) or 'none'}{more}"
    hint = did_you_mean(key, keys, "keys")
    if hint.startswith("keys: "):  # none is near: those beside it, not all
        hint = did_you_mean(key, beside or keys & {*GROUPS, *OVERLAYS, "seed", "resume", "runs"}, "valid are")
    return hint + more


def _listed(names: Iterable[str]) -> str:
    return ", ".join(_last(name) for name in names)


def _set_by(key: str, choices: Mapping[str, Any], configs: Path) -> str:
    """Which recipe or experiment sets a key, as the end of an error message; empty where it is none."""
    for overlay in OVERLAYS:
        files = _options(overlay, configs)
        for option in re.findall(r"[\w/-]+", str(choices.get(overlay) or "")):
            todo = [option]
            while todo:
                name = todo.pop()
                if name not in files:
                    continue
                content = _content(name, files[name])
                if key in set(_keys(content, "")):
                    file = f"configs/{overlay}/{name}.yaml"
                    return f"\n{overlay}={option} sets it, in {file}: it is made for another model, or learner"
                todo += [entry for entry in content.get("defaults", []) if isinstance(entry, str)]
    return ""


def _learner_of(model: Mapping[str, Any]) -> str:
    """The learner that a model's file picks, if none is named."""
    for entry in model.get("defaults", []):
        if isinstance(entry, dict) and "override /learner@_global_.learner" in entry:
            return str(entry["override /learner@_global_.learner"])
    return "classification"


def _options(group: str, configs: Path) -> dict[str, Path | None]:
    """The options of a group, with their files; None for a source that has none."""
    folder = configs / group
    found = {path.relative_to(folder).with_suffix("").as_posix(): path for path in folder.rglob("*.yaml")}
    found |= {name: path for of, name, path in _found(configs) if of == group}
    return {**found, **dict.fromkeys(_sources_without_file(configs) if group == "data" else ())}


def _content(name: str, file: Path | None) -> dict[str, Any]:
    """What the file of an option holds, or would hold."""
    return _source(name) if file is None else read_yaml(file) or {}


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
