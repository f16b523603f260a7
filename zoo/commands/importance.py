"""Which columns of a table a classifier goes by: a table and a picture.

python scripts/importance.py ckpt=<file or run directory> [key=value …]

{options}

The score is AUROC where there are two classes, else accuracy. Beside what it
falls by stand the model's own numbers: coefficients of logistic regression and
of a linear SVM, for a standard deviation of a number, or the most from one
category to another; mean |log ratio| of the classes in naive Bayes.
"""

from __future__ import annotations

import sys

from zoo.command import CKPT, EMA, ROOT, command, parse_values
from zoo.commands._options import DATA, SEEDS, SPLIT
from zoo.files import output_file, user_path
from zoo.schema import Option

OPTIONS: dict[str, Option] = {
    "ckpt": CKPT,
    "data": DATA,
    "path": Option(None, "the file of data=table, if it has moved"),
    "root": ROOT,
    "split": SPLIT,
    "repeats": Option(
        10,
        "random orders that each column is put into, for mean ± standard deviation of what the score falls by",
        "[1, inf)",
    ),
    "seed": Option(0, "of these orders: the same seed gives the same", SEEDS),
    "out": Option(
        None,
        "the picture, or the folder that it is put into: importance-<split>.png there. If left out, in the run's "
        "folder, or, of a released model, where you are",
    ),
    "ema": EMA,
    "json": Option(None, "a file to write the numbers to", "file"),
}

SHOWN = 50  # columns in the table


@command
def main() -> None:
    options = parse_values(sys.argv[1:], OPTIONS, __doc__ or "")
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
