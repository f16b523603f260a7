"""Which model to choose: answers from what the claims measured.

python scripts/choose.py [needs=…] [key=value …]

  needs   what matters, with commas (accuracy):
          accuracy     test accuracy, all labels
          labels       test accuracy, few labels
          missing      test accuracy, pixels hidden
          anomalies    telling images of another data set apart
          sampling     samples like real images
          density      log p(x), compared within its kind alone
          training     few seconds of training
          speed        many images classified a second
          size         a small file
          calibration  probabilities that mean what they say
  labels  how many labels there are: the need labels, at the nearest number
          that was measured
  missing share of the pixels that are hidden: the need missing, likewise
  seconds of training, at most
  mib     of the file of weights, at most
  speed   images classified a second, at least
  can     what the model must be able to do besides, with commas: sample,
          log_prob, impute, encode, …; see print(zoo.capabilities())
  from    a report's folder or its models.json (results/textbook)
  json    a file to write the answer to; - for the terminal
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

from zoo.command import command, parse_values

DEFAULTS: dict[str, Any] = {
    "needs": "", "labels": 0, "missing": 0.0, "seconds": 0.0, "mib": 0.0, "speed": 0.0, "can": "",
    "from": str(Path(__file__).resolve().parents[1] / "results" / "textbook"), "json": None,
}  # fmt: skip
RULES = {
    "labels": "[1, inf)", "missing": "(0, 1]", "seconds": "(0, inf)", "mib": "(0, inf)", "speed": "(0, inf)",
    "json": "file",
}  # fmt: skip


def words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


@command
def main() -> None:
    options = parse_values(sys.argv[1:], DEFAULTS, RULES, __doc__ or "", "needs are given as needs")
    from zoo.files import json_text, user_path, write_text
    from zoo.textbook import choose
    from zoo.textbook.needs import nearest as nearest_level

    table = choose.read(user_path(options["from"]))
    levels = {"labels": float(options["labels"]), "missing": 100 * options["missing"]}
    levels = {key: level for key, level in levels.items() if level}
    needs = list(dict.fromkeys([*words(options["needs"]), *levels])) or ["accuracy"]
    seconds, mib, speed = (options[key] or None for key in ("seconds", "mib", "speed"))
    limits = choose.Limits(seconds, mib, speed, words(options["can"]))
    choices, excluded = choose.choose(table, needs, limits, levels)
    if options["json"]:
        answer = {
            "needs": needs,
            "ranking": [dataclasses.asdict(choice) for choice in choices],
            "excluded": {model: f"{limit}: {why}" for model, (limit, why) in excluded.items()},
        }
        text = json_text(answer)
        if options["json"] == "-":
            print(text, end="")
            return
        write_text(user_path(options["json"]), text)
    from rich.table import Table

    from zoo import terminal

    console = terminal.console(width=min(80, terminal.console().width))
    data = {"mnist": "MNIST", "digits": "the digits"}[table["data"]]
    shown = Table("", "model", "score", "why", title=f"Measured on {data}; 1 is the best on every need")
    for place, choice in enumerate(choices, 1):
        shown.add_row(str(place), choice.model, f"{choice.score:.2f}", "\n".join(choice.reasons.values()))
    console.print(shown)
    for need in table["needs"]:
        if need["key"] in levels and need["levels"]:
            nearest = nearest_level(levels[need["key"]], need["levels"])
            if nearest != levels[need["key"]]:
                console.print(f"{need['label']}: {levels[need['key']]:g} was not measured; nearest is {nearest:g}")
    for line in choose.exclusions(excluded):
        console.print(line)
    console.print(choices[0].train, soft_wrap=True)


if __name__ == "__main__":
    main()
