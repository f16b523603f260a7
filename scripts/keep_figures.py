"""Keep the figures of a run for the tables of docs/, in results/runs/; make_docs.py fills the tables.

python scripts/keep_figures.py run=<its run directory> [key=value …]

{options}
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.command import command, parse_values
from zoo.commands.evaluate import OPTIONS as QUESTIONS
from zoo.errors import ConfigError
from zoo.schema import Option

OPTIONS = {
    "run": Option(..., "the directory of a run that has ended; of each seed one"),
    "asked": Option(
        [],
        "files that scripts/evaluate.py json=… has written of it, in a list: what was asked comes before their "
        "figures, as in missing=0.5/accuracy. Figures that were kept of this seed before give way",
    ),
    "recipe": Option(
        None,
        "the words that train the same, where the run's own command does not, as that of a run that was ended and "
        'went on: "model=cnn data=mnist"',
    ),
}
OF_ONE_MACHINE = ("ckpt", "data", "path", "root", "json")  # options of an evaluation that its figures do not depend on


def keep(run: str | Path, asked: list[str], recipe: str | None = None) -> Path:
    """Put the figures of one seed, all of one run, into the file of its recipe.

    Raises ``ConfigError`` where the run has not ended, the recipe is that of another, or a file is no evaluation of it,
    or one on other data.
    """
    from zoo import files
    from zoo.files import user_path, write_json
    from zoo.plain import read_json
    from zoo.run.recipes import checked_recipe, ended, machine_of, stem

    summary = ended(run)
    words = checked_recipe(summary, recipe)
    path = files.RESULTS / "runs" / f"{stem(words)}.json"
    entry: Any = read_json(path, ConfigError) if path.is_file() else {"recipe": without_seed(words), "seeds": {}}
    test = numbers(summary["test"])
    entry["seeds"][str(summary["seed"])] = {
        "seconds": summary["seconds"]["fit"],
        "parameters": summary["parameters"],
        "machine": machine_of(summary),
        "test": test,
    }
    for file in asked:
        evaluation = read_json(user_path(file), ConfigError)
        options = evaluation.pop("options", {})
        if user_path(str(options.get("ckpt"))).resolve() != user_path(run).resolve():
            raise ConfigError(f"{file} is no evaluation of {run}: it is of {options.get('ckpt')}")
        if options.get("path") or options.get("data") not in (None, summary["data"]):
            raise ConfigError(f"{file} is an evaluation on other data, {options.get('data') or options['path']}")
        prefix = question(options)
        others = {key: value for key, value in numbers(evaluation).items() if test.get(key) != value}
        test |= {f"{prefix}{key}": value for key, value in others.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, entry)
    return path


def without_seed(words: list[str]) -> list[str]:
    """What the seeds of a recipe have in common."""
    return [word for word in words if not word.startswith("seed=")]


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Those that are one number."""
    return {key: value for key, value in metrics.items() if type(value) in (int, float)}


def question(options: Mapping[str, Any]) -> str:
    """What an evaluation was asked that is not usual: ``missing=0.5,mask=half/``; nothing if all is."""
    asked = [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in options.items()
        if key not in OF_ONE_MACHINE and key in QUESTIONS and value != QUESTIONS[key].default
    ]
    return f"{','.join(asked)}/" if asked else ""


@command
def main() -> None:
    options = parse_values(sys.argv[1:], OPTIONS, __doc__ or "", "the run directory is given as run")
    from zoo.terminal import printable

    print(printable(keep(options["run"], options["asked"], options["recipe"])))


if __name__ == "__main__":
    main()
