"""Which columns of a table a classifier goes by: a table and a picture.

python scripts/importance.py ckpt=<file or run directory> [key=value …]

  ckpt    a .ckpt file, a run directory or a released model, such as cnn-mnist
  data    a source, as train.py --help lists them; what it was trained on if
          left out
  path    the file of data=table, if it has moved
  root    where data lies; ZOO_DATA, else data/, if left out
  split   test (default), val or train: those of the training run; another
          data= has no val
  repeats random orders that each column is put into, for mean ± standard
          deviation of what the score falls by (10)
  seed    of these orders: the same seed gives the same (0)
  out     the picture, or the folder that it is put into: importance-<split>.png
          there. If left out, in the run's folder, or, of a released model,
          where you are
  ema     true (default): averaged weights where there are any; false: the raw
          ones
  json    a file to write the numbers to

The score is AUROC where there are two classes, else accuracy. Beside what it
falls by stand the model's own numbers: coefficients of logistic regression and
of a linear SVM, for a standard deviation of a number, or the most from one
category to another; mean |log ratio| of the classes in naive Bayes.
"""

from __future__ import annotations

import sys
from typing import Any

from zoo.command import command, parse_values
from zoo.data import sources
from zoo.files import output_file, user_path

DEFAULTS: dict[str, Any] = {
    "ckpt": ..., "data": None, "path": None, "root": None, "split": "test", "repeats": 10, "seed": 0, "out": None,
    "ema": True, "json": None,
}  # fmt: skip
RULES = {
    "data": sources.every(),
    "split": ["test", "val", "train"],
    "repeats": "[1, inf)",
    "seed": "[0, 9223372036854775807]",
    "json": "file",
}
SHOWN = 50  # columns in the table


@command
def main() -> None:
    options = parse_values(sys.argv[1:], DEFAULTS, RULES, __doc__ or "")
    name = f"importance-{options['split']}.png"
    out = output_file(options["out"], name) if options["out"] else None
    import io

    from rich.table import Table

    from zoo import checkpoint, registry, terminal
    from zoo.files import write_bytes, write_json
    from zoo.inspect.importance import importance_figure
    from zoo.tasks.evaluate import splits_for
    from zoo.tasks.importance import measure

    out = out or checkpoint.folder(options["ckpt"]) / name
    model, source = registry.load_with_source(options["ckpt"], options["ema"])
    model.spec.check_kind("table", "columns are put into random order")  # before any data is read
    splits = splits_for(model.spec, source, options["data"], options["root"], options["path"], whole=True)
    split = getattr(splits, options["split"])
    importance = measure(model, split, options["repeats"], options["seed"])
    if options["json"]:
        write_json(user_path(options["json"]), {"options": options, **importance})
    picture = io.BytesIO()
    importance_figure(importance).savefig(picture, format="png")
    write_bytes(out, picture.getvalue())
    console = terminal.console()
    for note in splits.notes:
        console.print(terminal.printable(note), soft_wrap=True)
    score, own = importance["score"], importance["own"]
    title = terminal.printable(f"{options['ckpt']}: {score} {importance['value']:.4f}, {len(split):,} rows")
    table = Table("column", f"fall of {score.partition(' ')[0]}", *([own] if own else []), title=title)
    for column in [*table.columns][1:]:
        column.justify = "right"
    for column, row in [*importance["columns"].items()][:SHOWN]:
        fall = f"{row['drop']:.4f} ± {row['std']:.4f}"
        table.add_row(terminal.printable(column), fall, *([f"{row['own']:.4g}"] if own else []))
    console.print(table)
    if len(importance["columns"]) > SHOWN:
        console.print(f"… of {len(importance['columns']):,} columns; json=… holds them all")
    print(terminal.printable(out))


if __name__ == "__main__":
    main()
