"""What was wrong with a command line, and what would be right."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.errors import ConfigCompositionException, MissingConfigException

from zoo import terminal
from zoo.config.options import GROUPS, OVERLAYS, content_of, keys_of, learner_of, node_of, options_of, read_option
from zoo.errors import did_you_mean
from zoo.plain import read_yaml

SEARCH = "A search is python scripts/tune.py, see its --help"
EARLY = "training ends early by patience=…, epochs without a better learner.monitor"
RATES = "which learning rate suits is found by python scripts/rate.py, see its --help"
MOVED = {  # names from elsewhere that users will try: the key that it is here, or else a sentence
    "trainer.gradient_clip_val": "learner.clip",
    "trainer.accumulate_grad_batches": "learner.accumulate",
    "learner.accumulate": "learner.accumulate",
    "trainer.callbacks": "callbacks are given in Python, to a Trainer of your own",
    "trainer.logger": "it is the group logger here: logger=…",
    "trainer.early_stopping": EARLY,
    "early_stopping": EARLY,
    "trainer.patience": EARLY,
    "learner.patience": EARLY,
    "trainer.auto_lr_find": RATES,
    "trainer.lr_find": RATES,
    "lr_find": RATES,
    "model.lr": "learner.optimizer.lr",
    "model.classify_weight": "it is an option of model=m2",
    "learner.lr": "learner.optimizer.lr",
    "trainer.seed": "seed",
    "data.seed": "it is called seed here, or data.split_seed",
}
PLUGINS = {  # Hydra's own groups, and what is to be installed for an option
    "hydra/launcher": {"joblib": "joblib-launcher", "submitit": "submitit-launcher", "ray": "ray-launcher"},
    "hydra/job_logging": {"colorlog": "colorlog"},
    "hydra/hydra_logging": {"colorlog": "colorlog"},
}
DEAD = {  # what has no package for the Pythons of this project: an installed one would stop every command of Hydra
    "hydra/launcher=rq": "hydra/launcher=joblib is for one machine, submitit_slurm and ray are for several",
}


def explain(error: Exception, arguments: list[str], configs: Path) -> str:
    """What was wrong with the command line that Hydra refused, and what would be right."""
    if isinstance(error, MissingConfigException) and error.options:
        path = error.missing_cfg_file or ""
        group, _, option = path.partition("/")
        files = options_of(group, configs)
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
            node_of(file)  # it is known, and could not be read
        options = [name for name in options if not name.startswith("_")]
        return f"unknown option {group}={option}: {_near_option(option, options)}"
    match = re.search(r"Could not (?:override|append to config|delete)[^']*'([^']+)'", str(error))
    if isinstance(error, ConfigCompositionException) and match:
        return f"unknown key {match[1]!r}: {_nearest(match[1].split('@')[0], arguments, configs)}"
    match = re.match(r"Multiple values for (\S+)\.", str(error))
    if match:
        return f"{match[1]} has a value already: {match[1]}=… without + chooses another one"
    return unresolved(error, arguments)


def unresolved(error: Exception, words: Iterable[str]) -> str:
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
    files = {group: options_of(group, configs) for group in (*GROUPS, *OVERLAYS)}
    choice = {"data": "digits", "model": "cnn", "trainer": "auto", "logger": "tensorboard"}
    for argument in arguments:
        group, _, option = argument.partition("=")
        if option in files.get(group, {}):
            choice[group] = option
    choice.setdefault("learner", learner_of(content_of(choice["model"], files["model"][choice["model"]])))
    keys = {*GROUPS, *OVERLAYS}
    for group in GROUPS:
        keys |= set(keys_of(read_option(files[group], choice[group]), f"{group}."))
    keys |= set(keys_of(read_yaml(configs / "train.yaml"), "")) - {"defaults"}
    return hint_at(key, keys, choice, configs)


def hint_at(key: str, keys: set[str], choice: Mapping[str, str], configs: Path) -> str:
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
    files = options_of(group, configs) if group in choice and above == group else {}
    have = [option for option in sorted(files) if not option.startswith("_") and name in read_option(files, option)]
    if near and not have:
        return "did you mean " + " or ".join(map(repr, near)) + f"?{more}"
    if files:
        which = f", which {_listed(have)} {'has' if len(have) == 1 else 'have'}" if have else ""
        return f"{group}={choice[group]} has no option {name!r}{which}; it has {_listed(beside) or 'none'}{more}"
    hint = did_you_mean(key, keys, "keys")
    if hint.startswith("keys: "):  # none is near: those beside it, not all
        hint = did_you_mean(key, beside or keys & {*GROUPS, *OVERLAYS, "seed", "resume", "runs"}, "valid are")
    return hint + more


def _moved(key: str, known: set[str]) -> str:
    """What is here in the place of a name from elsewhere; a key is called so where the chosen learner has it."""
    target = MOVED[key]
    if " " in target:
        return target
    if target.startswith("learner.") and target not in known:
        why = ": it sums no gradients over batches, data.batch_size is what counts" if "accumulate" in target else ""
        return f"the chosen learner has no {target.partition('.')[2]}{why}"
    return f"it is called {target} here"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(_last(name) for name in names)


def set_by(key: str, choices: Mapping[str, Any], configs: Path) -> str:
    """Which recipe or experiment sets a key, as the end of an error message; empty where it is none."""
    for overlay in OVERLAYS:
        files = options_of(overlay, configs)
        for option in re.findall(r"[\w/-]+", str(choices.get(overlay) or "")):
            todo = [option]
            while todo:
                name = todo.pop()
                if name not in files:
                    continue
                content = content_of(name, files[name])
                if key in set(keys_of(content, "")):
                    file = f"configs/{overlay}/{name}.yaml"
                    return f"\n{overlay}={option} sets it, in {file}: it is made for another model, or learner"
                todo += [entry for entry in content.get("defaults", []) if isinstance(entry, str)]
    return ""
