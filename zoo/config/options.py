"""Which options there are: what the YAML files of each group hold, by themselves and beside one another.

The YAML files are the schema: their keys are all that there are, and ``_allowed_`` in the same file states what must
hold of a value beside having the type of the default (see :mod:`zoo.schema`; ``self: open`` opens a whole group).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from zoo.errors import ConfigError
from zoo.found import names
from zoo.plain import read_yaml
from zoo.registry import user_directories

GROUPS = ("data", "model", "learner", "trainer", "logger")
OVERLAYS = ("recipe", "experiment")  # they only set values that a group has declared
RULES = "_allowed_"
OWN = "configs"  # the folder of the user's own options, where a command is typed
SOURCES = "zoo.data.sources"  # whose modules are options of the group data; none of them is imported


def add_found_options(configs: Path) -> None:
    """Make options of what is found: the YAML of each model in ``ZOO_MODELS``, what ``configs/`` holds in the directory
    where a command is typed, and each source that has no YAML."""
    store = ConfigStore.instance().store
    for group, name, path in found_files(configs):
        above, _, last = f"{group}/{name}".rpartition("/")
        with contextlib.suppress(ConfigError):  # it is named once that option is asked for, see explain()
            store(group=above, name=last, node=node_of(path), package=_package(path), provider=str(path))
    for name in _without_file(configs):
        store(group="data", name=name, node=OmegaConf.create(_source(name)), provider=SOURCES)


def found_files(configs: Path) -> Iterator[tuple[str, str, Path]]:
    """The user's own files of options: the group, the name in it, and the file."""
    for folder in user_directories():
        for path in sorted(folder.glob("*.yaml")):
            yield "model", path.stem, path
    yield from beside(configs)


def beside(configs: Path, taken: bool = False) -> Iterator[tuple[str, str, Path]]:
    """Those that lie where a command is typed, which another program may have put there, whose names are free; or those
    whose names are ``taken`` by options of the zoo."""
    own = Path.cwd() / OWN
    if own.is_dir() and not own.samefile(configs):
        for group in (*GROUPS, *OVERLAYS):
            for path in sorted((own / group).rglob("*.yaml")):
                name = path.relative_to(own / group)
                if (configs / group / name).is_file() == taken:
                    yield group, name.with_suffix("").as_posix(), path


def node_of(path: Path) -> DictConfig:
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


def _without_file(configs: Path) -> list[str]:
    return [name for name in names(SOURCES) if not (configs / "data" / f"{name}.yaml").is_file()]


def _source(name: str) -> dict[str, Any]:
    """What a source without choices of its own would have in its YAML."""
    return {"defaults": ["_base", "_self_"], "name": name}


def options_of(group: str, configs: Path) -> dict[str, Path | None]:
    """The options of a group, with their files; None for a source that has none."""
    folder = configs / group
    found = {path.relative_to(folder).with_suffix("").as_posix(): path for path in folder.rglob("*.yaml")}
    found |= {name: path for of, name, path in found_files(configs) if of == group}
    return {**found, **dict.fromkeys(_without_file(configs) if group == "data" else ())}


def content_of(name: str, file: Path | None) -> dict[str, Any]:
    """What the file of an option holds, or would hold."""
    return _source(name) if file is None else read_yaml(file) or {}


def read_option(files: Mapping[str, Path | None], name: str) -> dict[str, Any]:
    """An option's content with what it extends."""
    content = content_of(name, files[name])
    parents = [entry for entry in content.pop("defaults", []) if isinstance(entry, str) and entry != "_self_"]
    return {key: value for parent in parents for key, value in read_option(files, parent).items()} | content


def keys_of(node: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, value in node.items():
        if key not in (RULES, "hydra"):
            yield f"{prefix}{key}"
            if isinstance(value, dict):
                yield from keys_of(value, f"{prefix}{key}.")


def learner_of(model: Mapping[str, Any]) -> str:
    """The learner that a model's file picks, if none is named."""
    for entry in model.get("defaults", []):
        if isinstance(entry, dict) and "override /learner@_global_.learner" in entry:
            return str(entry["override /learner@_global_.learner"])
    return "classification"


def rules_of(defaults: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """``("data.augment.erase", "[0, 1]")``, … from every ``_allowed_`` in the schema."""
    for key, value in defaults.items():
        if key == RULES:
            yield from ((prefix.rstrip(".") if name == "self" else prefix + name, rule) for name, rule in value.items())
        elif isinstance(value, dict):
            yield from rules_of(value, f"{prefix}{key}.")


def flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Each value below ``prefix`` with its whole key; rules are none."""
    for key, value in values.items():
        if key == RULES:
            continue
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def comments_of(path: Path) -> dict[str, str]:
    """What a file of options says of its keys, in the comments behind their values, by the keys as they are typed; of
    the keys of the files that it extends, too."""
    text = path.read_text("utf-8")
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    found: dict[str, str] = {}
    if not isinstance(root, yaml.MappingNode):
        return found
    for entry in read_yaml(path).get("defaults", []):
        parent = path.parent / f"{entry}.yaml"
        if isinstance(entry, str) and parent.is_file():
            found |= comments_of(parent)
    return found | dict(_comments(root, text.splitlines(), ""))


def _comments(node: yaml.MappingNode, lines: Sequence[str], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        if key.value == RULES:
            continue
        if isinstance(value, yaml.MappingNode) and not value.flow_style:
            yield from _comments(value, lines, f"{name}.")
            rest = lines[key.end_mark.line][key.end_mark.column + 1 :]
            name = f"{name}.{value.value[0][0].value}"  # of all that follows: it stands at the first
        else:
            line = value.end_mark.line  # of a list with a line an entry, that after it
            rest = lines[line][value.end_mark.column :] if line < len(lines) else ""
        if rest.strip().startswith("#"):
            yield name, rest.strip().lstrip("# ")
