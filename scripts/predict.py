"""Which class each picture belongs to, or each row of a table.

python scripts/predict.py ckpt=<file or run directory> <files or folders> [key=value …]

  ckpt    a .ckpt file, a run directory or a released model's folder
  top     how many classes to name for each picture (3)
  invert  of pictures: auto, always or never; as the training ones were treated
          if left out
  json    a file to write the answers to; - prints JSON in place of the table
"""

from __future__ import annotations

import sys
from typing import Any

from zoo.command import command, parse

DEFAULTS: dict[str, Any] = {"ckpt": ..., "top": 3, "invert": None, "json": None}
RULES = {"top": "[1, inf)", "invert": ["auto", "always", "never"], "json": "file"}


@command
def main() -> None:
    options, files = parse(sys.argv[1:], DEFAULTS, RULES, __doc__ or "")
    from rich.table import Table

    from zoo import registry
    from zoo.data import kinds
    from zoo.errors import ConfigError
    from zoo.files import json_text, user_path, write_json
    from zoo.tasks.predict import predict
    from zoo.terminal import console, printable

    if not files:
        raise ConfigError("no file was named; see --help")
    model = registry.load(options["ckpt"])
    settings = {"invert": options["invert"]} if options["invert"] else {}
    paths = kinds.find(model.spec.kind).find_files(files)
    print(kinds.left_out(files, paths), end="", file=sys.stderr)
    answers = predict(model, paths, options["top"], **settings)
    if options["json"] == "-":
        print(json_text(answers), end="")
        return
    if options["json"]:
        write_json(user_path(options["json"]), answers)
    table = Table("example", "class", *(["then"] if options["top"] > 1 else []))
    for answer in answers:
        words = [f"{printable(entry['name'])} {entry['probability']:.1%}" for entry in answer["classes"]]
        table.add_row(printable(answer["file"]), words[0], *([", ".join(words[1:])] if options["top"] > 1 else []))
    console().print(table)


if __name__ == "__main__":
    main()
