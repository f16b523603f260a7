"""Which model to choose: answers from what the claims measured.

python scripts/choose.py [needs=…] [key=value …]

Without needs and limits: what to take for each need, as the report says.

{options}

Needs:

  accuracy     test accuracy, all labels
  labels       test accuracy, few labels
  unlabelled   test accuracy, few labels and many images without
  missing      test accuracy, pixels hidden
  half         test accuracy, one half of each image hidden
  anomalies    telling images of another data set apart
  sampling     samples like real images
  density      log p(x), ranked among those of the same values
  training     few seconds of training
  speed        many images classified a second
  size         a small file
  calibration  probabilities that mean what they say
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from typing import Any

from zoo.command import command, parse_values
from zoo.files import RESULTS
from zoo.found import names
from zoo.schema import Option

DATA = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "digits": "the digits"}
OPTIONS: dict[str, Option] = {
    "needs": Option("", "what matters, of those below, with commas; with limits alone: accuracy"),
    "data": Option(
        None, "the first of them that the report is about, if left out; digits are of the quick suite", list(DATA)
    ),
    "labels": Option(
        0,
        "how many labels there are: the need labels (or unlabelled, if named), at the nearest number that was measured",
        "[1, inf)",
    ),
    "missing": Option(0.0, "share of the pixels that are hidden: the need missing, likewise", "(0, 1]"),
    "seconds": Option(0.0, "of training, at most", "(0, inf)"),
    "mib": Option(0.0, "of the file of weights, at most", "(0, inf)"),
    "speed": Option(0.0, "images classified a second, at least", "(0, inf)"),
    "can": Option(
        "",
        "what the model must be able to do besides, with commas: sample, log_prob, impute, encode, …; see "
        "print(zoo.capabilities())",
    ),
    "from": Option(str(RESULTS / "textbook"), "a report's folder or its models.json"),
    "json": Option(None, "a file to write the answer to; - for the terminal", "file"),
}


def words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def unmeasured(table: Mapping[str, Any]) -> list[str]:
    """Models of the zoo that a report's table has no figures of."""
    return [name for name in names("zoo.models") if name not in table["models"]]


@command
def main() -> None:
    options = parse_values(sys.argv[1:], OPTIONS, __doc__ or "", "needs are given as needs")
    from zoo.files import json_text, user_path, write_text
    from zoo.textbook import choose

    table = choose.read(user_path(options["from"]), options["data"])
    named = words(options["needs"])
    labels = "unlabelled" if "unlabelled" in named and "labels" not in named else "labels"
    levels = {labels: float(options["labels"]), "missing": 100 * options["missing"]}
    levels = {key: level for key, level in levels.items() if level}
    needs = list(dict.fromkeys([*named, *levels]))
    seconds, mib, speed = (options[key] or None for key in ("seconds", "mib", "speed"))
    limits = choose.Limits(seconds, mib, speed, words(options["can"]))
    choices: list[choose.Choice] = []
    excluded: dict[str, tuple[str, str]] = {}
    if needs or any((seconds, mib, speed, limits.can)):
        needs = needs or ["accuracy"]
        choices, excluded = choose.choose(table, needs, limits, levels)
        answer: Any = {
            "data": table["data"],
            "needs": needs,
            "ranking": [dataclasses.asdict(choice) for choice in choices],
            "excluded": {model: f"{limit}: {why}" for model, (limit, why) in excluded.items()},
            "not_measured": unmeasured(table),
        }
    else:
        answer = choose.answers(table)
    if options["json"]:
        text = json_text(answer)
        if options["json"] == "-":
            print(text, end="")
            return
        write_text(user_path(options["json"]), text)
    from zoo import terminal

    console = terminal.console(width=min(80, terminal.console().width))
    if choices:
        _print_ranking(console, table, choices, excluded, levels)
    else:
        _print_answers(console, table, answer)


def _print_answers(console: Any, table: Any, answers: list[dict[str, Any]]) -> None:
    from rich.table import Table

    shown = Table("need", "take", "because, and by how much", title=f"Measured on {DATA[table['data']]}")
    for answer in answers:
        need = "\n".join(filter(None, (answer["label"], answer["at"])))
        shown.add_row(need, answer["name"] or "–", "\n".join(filter(None, (answer["because"], answer["by"]))))
    console.print(shown)
    _print_unmeasured(console, table)


def _print_unmeasured(console: Any, table: Any) -> None:
    if others := unmeasured(table):
        console.print(f"not measured there: {', '.join(others)}")


def _print_ranking(console: Any, table: Any, choices: Any, excluded: Any, levels: dict[str, float]) -> None:
    from rich.table import Table

    from zoo.terminal import as_typed
    from zoo.textbook.choose import exclusions
    from zoo.textbook.needs import nearest

    title = f"Measured on {DATA[table['data']]}; 1: none is told apart as better on any need"
    shown = Table("", "model", "score", "why", title=title)
    for place, choice in enumerate(choices, 1):
        shown.add_row(str(place), choice.model, f"{choice.score:.2f}", "\n".join(choice.reasons.values()))
    console.print(shown)
    for need in table["needs"]:
        if need["key"] in levels and need["levels"]:
            level = nearest(levels[need["key"]], need["levels"])
            if level != levels[need["key"]]:
                console.print(f"{need['label']}: {levels[need['key']]:g} was not measured; nearest is {level:g}")
    for line in exclusions(excluded):
        console.print(line)
    _print_unmeasured(console, table)
    for line in choices[0].commands:
        console.print(as_typed(line), soft_wrap=True)


if __name__ == "__main__":
    main()
