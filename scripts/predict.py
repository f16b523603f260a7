"""Which class each picture belongs to, or each row of a table.

python scripts/predict.py ckpt=<file or run directory> <files or folders> [key=value …]

  ckpt    a .ckpt file, a run directory or a released model's folder
  top     how many classes to name for each picture (3)
  invert  of pictures: auto, always or never; as the training ones were treated
          if left out
  csv     a file to write every picture or row to, with its class and the
          probability of each class; - prints it in place of the table
  explain true: of a row of a table, why: a score card, which tells what each
          column adds to the log odds of the class (false)
  row     which row that is, counted from 1 on over all files (1)
  json    a file to write the answers to; - prints JSON in place of the table
"""

from __future__ import annotations

import sys
from typing import Any

from zoo.command import command, parse
from zoo.errors import ConfigError

DEFAULTS: dict[str, Any] = {
    "ckpt": ..., "top": 3, "invert": None, "csv": None, "explain": False, "row": 1, "json": None,
}  # fmt: skip
RULES = {
    "top": "[1, inf)", "invert": ["auto", "always", "never"], "csv": "file", "row": "[1, inf)", "json": "file",
}  # fmt: skip
SHOWN = 20  # rows of a table


@command
def main() -> None:
    options, files = parse(sys.argv[1:], DEFAULTS, RULES, __doc__ or "")
    if not files:
        raise ConfigError("no file was named; see --help")
    if options["csv"] == options["json"] == "-":
        raise ConfigError("csv=- and json=- both print: give one of them a file's name")
    if options["row"] != 1 and not options["explain"]:
        raise ConfigError(f"row={options['row']} is for explain=true")
    from rich.table import Column, Table

    from zoo import capability, registry
    from zoo.data import kinds
    from zoo.files import json_text, user_path, write_text
    from zoo.tasks.predict import answers, predict
    from zoo.terminal import console, printable

    def put(key: str, text: str) -> None:
        """Print what ``key=-`` asks for, or write it to the file that is named."""
        if options[key] == "-":
            print(text, end="")
        else:
            write_text(user_path(options[key]), text)

    model = registry.load(options["ckpt"])
    if options["explain"]:
        model.spec.check_kind("table", "explain=true has a line a column")
        capability.require(model, "explain")
    settings = {"invert": options["invert"]} if options["invert"] else {}
    paths = kinds.find(model.spec.kind).find_files(files)
    print(kinds.left_out(files, paths), end="", file=sys.stderr)
    number, card = options["row"] - 1, {}
    if options["explain"]:
        from zoo.tasks.score_card import describe, score_card

        names, examples = kinds.find(model.spec.kind).read(paths, model.spec, **settings)
        if number >= len(names):
            raise ConfigError(f"row={options['row']}: there are {len(names):,} rows")
        card = score_card(model, examples[number : number + 1])
        answered = answers(model, names, examples)
    else:
        answered = predict(model, paths, **settings)
    if options["csv"]:
        put("csv", answered.csv_text())
    if options["json"]:
        ranked = answered.ranked(options["top"])
        if card:
            ranked[number]["explanation"] = card
        put("json", json_text(ranked))
    if "-" in (options["csv"], options["json"]):
        return
    if card:
        console().print(f"row {number + 1}, {printable(names[number])}", soft_wrap=True)
        table = Table("column", "value", Column("points", justify="right"))
        for row in describe(card):
            table.add_row(*map(printable, row))
        console().print(table)
        return
    is_table = model.spec.kind == "table"  # whose rows explain=true row=… counts alike
    table = Table(*(["row"] if is_table else []), "example", "class", *(["then"] if options["top"] > 1 else []))
    shown = answered.ranked(options["top"], SHOWN if is_table else None)
    for place, answer in enumerate(shown, 1):
        words = [f"{printable(entry['name'])} {entry['probability']:.1%}" for entry in answer["classes"]]
        then = [", ".join(words[1:])] if options["top"] > 1 else []
        table.add_row(*([str(place)] if is_table else []), printable(answer["file"]), words[0], *then)
    console().print(table)
    if len(shown) < len(answered.names):
        console().print(f"… of {len(answered.names):,} rows; csv=… writes them all")


if __name__ == "__main__":
    main()
