"""Hide pixels, or parts of recordings, and have a model fill them in: how near it comes, a picture, and a recording. Or
fill in the empty cells of a table.

python scripts/impute.py ckpt=<file or run directory> [images or folders]
    [key=value …]
python scripts/impute.py ckpt=<file or run directory> [<table>] [key=value …]

{options}

All that a table has beside its empty cells stays as it is, columns that the
model does not know among it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.command import CKPT, EMA, ROOT, command, parse
from zoo.commands._options import INVERT, SEEDS
from zoo.data import sources
from zoo.errors import ConfigError, did_you_mean
from zoo.files import output_file, user_path
from zoo.schema import Option

if TYPE_CHECKING:
    from zoo.base.model import Model

OPTIONS: dict[str, Option] = {
    "ckpt": CKPT,
    "data": Option(
        None,
        "a source, as train.py --help lists them, of which the test images, recordings or rows are taken; what it was "
        "trained on if left out. Pictures or recordings that are named, or a table, take its place",
        sources.every(),
    ),
    "path": Option(None, "the folder of data=image_folder, data=audio_folder or data=idx, the file of data=table"),
    "root": ROOT,
    "mask": Option(
        "mcar",
        "mcar: each pixel for itself; block: a square somewhere; left, right, top or bottom: that half, of a recording"
        " the beginning, the end, high or low frequencies; half: one of the four for each image. Of pictures that are "
        "named also transparent: what is so in each; or a file of the picture's size: what is white in it. Each picture"
        " is then written in its own size, as it was but for what is marked: there is what the model, in its own size, "
        "makes of it, scaled up, grey of a grey model",
    ),
    "missing": Option(
        0.0,
        "share of the pixels that mcar and block hide (0.5); of the known cells of a table that are hidden, to see how"
        " well the model tells them (0.1)",
        "(0, 1]",
    ),
    "n": Option(
        0,
        "completions of an image or a row, of which intervals are made, 2 at least (19: 90 % ones). A table that is "
        "named, or pictures with a mask of your own, are filled in so many times; once if left out",
        "[1, inf)",
    ),
    "mean": Option(
        False,
        "true: fill a table in with expected numbers and the most probable categories in the place of random ones; "
        "pictures with a mask of your own with expected pixels, where a model can compute them",
    ),
    "classifier": Option(None, "another checkpoint, whose accuracy on completed images is told"),
    "images": Option(500, "only that many images or rows are measured, drawn at random; 0 for all", "[0, inf)"),
    "seed": Option(0, "of masks and completions: the same seed gives the same", SEEDS),
    "invert": INVERT,
    "out": Option(
        None,
        "the picture, or the folder that it is put into: imputed-<mask>-seed<seed>.png there. If left out, in the "
        "run's folder, or, of a released model, where you are. Of recordings there is a .wav beside it: each as it is,"
        " as it was heard, and filled in. Of a table, the CSV file: <table>-filled.csv beside it; with n=5 there are "
        "five, numbered. Of pictures with a mask of your own, the folder that they are put into, where you are if left "
        "out",
    ),
    "ema": EMA,
    "json": Option(None, "a file to write the numbers to", "file"),
}

MASKS = ("mcar", "block", "half", "left", "right", "top", "bottom")
TRANSPARENT = "transparent"
SHOWN = 10  # images in the picture
N, MISSING = 19, {"image": 0.5, "sound": 0.5, "table": 0.1}  # if not said


@command
def main() -> None:
    options, files = parse(sys.argv[1:], OPTIONS, __doc__ or "")
    from zoo import capability, registry

    model, source = registry.load_with_source(options["ckpt"], options["ema"])
    capability.require(model, "impute")
    if model.spec.kind == "table":
        return rows(model, source, options, files)
    if model.spec.kind != "sound":
        model.spec.check_kind("image", "pixels, recordings, or cells of a table, are filled in")
    mask = options["mask"]
    if mask not in MASKS and mask != TRANSPARENT and not user_path(mask).is_file():
        known = did_you_mean(mask, (*MASKS, TRANSPARENT), "masks")
        raise ConfigError(f"mask={mask} is no file, and no mask that is known: {known}")
    if mask not in ("mcar", "block") and options["missing"] not in (0, 0.5):
        raise ConfigError(f"mask={mask} says what is hidden: missing={options['missing']} is for mcar and block")
    (pictures if mask in MASKS else fill_in)(model, source, options, files)


def fill_in(model: Model, source: Mapping[str, Any], options: Mapping[str, Any], files: Sequence[str]) -> None:
    """Write pictures with what a file marks, or what is transparent in them, filled in."""
    import numpy as np
    import torch

    from zoo.data import kinds
    from zoo.data.kinds.image import Gap, read_gap
    from zoo.files import write_bytes
    from zoo.inspect.grids import png
    from zoo.questions.impute import impute
    from zoo.terminal import printable

    mask, n = options["mask"], options["n"] or 1
    model.spec.check_kind("image", f"mask={mask}: pixels are filled in")
    if not files:
        raise ConfigError(f"mask={mask} is of pictures that are named")
    for key in ("classifier", "json", "images", "data", "path", "root"):
        if options[key] != OPTIONS[key].default:
            raise ConfigError(
                f"{key}={options[key]} is for measuring: with mask={mask} pictures are filled in, and not measured"
            )
    if options["mean"] and options["n"]:
        raise ConfigError(f"mean=true fills a picture in once, and n={n} as often with random completions")
    folder = user_path(options["out"] or ".")
    if not folder.is_dir():
        raise ConfigError(f"out={options['out']}: a folder that exists is needed for pictures that are filled in")
    kind = kinds.find("image")
    paths = kind.find_files(files)
    print(kinds.left_out(files, paths), end="", file=sys.stderr)
    twice = [path for path in paths if [each.stem for each in paths].count(path.stem) > 1]
    if twice:
        raise ConfigError(
            f"{twice[0]} and {twice[1]} would both be written as {twice[0].stem}-filled.png: one at a time"
        )

    def gap(path: Path) -> Gap:
        settings = {"invert": options["invert"]} if options["invert"] else {}
        return read_gap(path, path if mask == TRANSPARENT else user_path(mask), model.spec, **settings)

    views, hidden = zip(*((each.view, each.hidden) for each in map(gap, paths)), strict=True)
    x, observed = kind.decode(torch.tensor(np.stack(views))), ~torch.tensor(np.stack(hidden))
    filled = impute(model, x, observed, n, torch.Generator().manual_seed(options["seed"]), options["mean"])
    seen = "×".join(map(str, model.spec.shape[:0:-1]))
    for path, versions in zip(paths, kind.encode(filled).transpose(0, 1), strict=True):
        whole = gap(path)  # read again: many large pictures would take a lot of memory
        for number, view in enumerate(versions, 1):
            out = folder / f"{path.stem}-filled{f'-{number}' if n > 1 else ''}.png"
            picture = whole.filled(view.numpy())
            write_bytes(out, png(torch.from_numpy(picture)))
            size = "×".join(map(str, whole.marked.shape[::-1]))
            print(printable(f"{out}  {size} pixels, filled in from the {seen} that the model sees"))


def pictures(model: Model, source: Mapping[str, Any], options: Mapping[str, Any], files: Sequence[str]) -> None:
    """Measure how well a model fills in hidden pixels, or parts of recordings, and draw a picture of it."""
    import torch
    from rich.table import Table

    from zoo import checkpoint, registry, terminal
    from zoo.data.splits import draw
    from zoo.files import write_bytes, write_json
    from zoo.inspect.grids import png
    from zoo.tasks.evaluate import splits_for
    from zoo.tasks.examples import of_files
    from zoo.tasks.impute import NOUNS, describe, mask_of, measure, picture, said

    of = model.spec.kind
    if of != "image" and options["invert"]:
        raise ConfigError(f"invert={options['invert']} is for pictures, and the model was made for {NOUNS[of][0]}s")
    mask, seed, n = options["mask"], options["seed"], options["n"] or N
    if options["mean"]:
        raise ConfigError(
            "mean=true fills in a table, or what a mask of your own marks: of other pictures the expected one is "
            "measured beside completions"
        )
    name = f"imputed-{mask}-seed{seed}.png"
    out = output_file(options["out"], name) if options["out"] else checkpoint.folder(options["ckpt"]) / name
    classifier = registry.load(options["classifier"], options["ema"]) if options["classifier"] else None
    count, notes = options["images"] or None, tuple[str, ...]()
    if files:
        images, labels = of_files(model, files, options["invert"], count).stored, None
    else:
        splits = splits_for(model.spec, source, options["data"], options["root"], options["path"], whole=True)
        notes, split = splits.notes, draw(splits.test, count or 0)
        images, labels = split.images, split.labels
    generator = torch.Generator().manual_seed(seed)
    missing = options["missing"] or MISSING[of]
    observed = mask_of(model.spec, mask, images, missing, generator)
    metrics = measure(model, images, observed, n, seed, labels, classifier)
    if options["json"]:
        write_json(user_path(options["json"]), {"options": {**options, "n": n, "missing": missing}, **metrics})
    shown = images[:SHOWN], observed[:SHOWN], seed
    written = {out: png(picture(model, *shown))} | (
        {out.with_suffix(".wav"): said(model, *shown)} if of == "sound" else {}
    )
    for path, content in written.items():
        write_bytes(path, content)
    noun, value, _ = NOUNS[of]
    title = f"{len(images):,} {noun}s, {metrics['hidden']:.0%} of the {value}s hidden ({mask})"
    table = Table("measure", "value", "what it is", title=f"{terminal.printable(options['ckpt'])}: {title}")
    for row in describe(metrics, n, of):
        table.add_row(*row)
    console = terminal.console()
    for note in notes:
        console.print(terminal.printable(note), soft_wrap=True)
    console.print(table)
    for path in written:
        print(terminal.printable(path))


def rows(model: Model, source: Mapping[str, Any], options: Mapping[str, Any], files: Sequence[str]) -> None:
    """Fill in the empty cells of a table, and measure how well a model tells hidden ones that are known."""
    import torch
    from rich.table import Column, Table

    from zoo import terminal
    from zoo.data import kinds
    from zoo.data.splits import Split, draw
    from zoo.files import write_json, write_text
    from zoo.tasks.evaluate import splits_for
    from zoo.tasks.impute_rows import describe, filled, measure_rows

    for key in ("mask", "classifier", "invert"):
        if options[key] != OPTIONS[key].default:
            raise ConfigError(f"{key}={options[key]} is for pictures, and the model was made for the kind table")
    if options["mean"] and options["n"]:
        raise ConfigError(f"mean=true fills a table in once, and n={options['n']} as often with random completions")
    for key in ("out", "mean"):
        if options[key] and not files:
            raise ConfigError(f"{key}={options[key]} is of a table that is filled in: name a file")
    console, seed, notes, texts = terminal.console(), options["seed"], tuple[str, ...](), dict[Path, str]()
    if files:
        paths = kinds.find("table").find_files(files)
        if len(paths) > 1:
            raise ConfigError(f"one table is filled in at a time, and {len(paths)} are named")
        path = paths[0]
        name = f"{path.stem}-filled.csv"
        out = output_file(options["out"], name) if options["out"] else path.with_name(name)
        if out.resolve() == path.resolve():
            raise ConfigError(f"out={options['out']} is the table itself, which is left as it is")
        found = filled(model, path, options["n"] or 1, options["mean"], seed)
        several = [out.with_stem(f"{out.stem}-{number}") for number in range(1, len(found) + 1)]
        texts = dict(zip(several if len(found) > 1 else [out], found, strict=True))
        stored = kinds.find("table").read([path], model.spec)[1]
        split = Split(stored, torch.zeros(len(stored)).long(), "table")
    else:
        splits = splits_for(model.spec, source, options["data"], options["root"], options["path"], whole=True)
        notes, split = splits.notes, splits.test
    stored = draw(split, options["images"]).images
    draws = N if files else options["n"] or N
    missing = options["missing"] or MISSING["table"]
    for file, text in texts.items():
        write_text(file, text)
        print(terminal.printable(file))
    metrics = measure_rows(model, stored, missing, draws, seed)
    if options["json"]:
        write_json(user_path(options["json"]), {"options": {**options, "missing": missing}, **metrics})
    for note in notes:
        console.print(terminal.printable(note), soft_wrap=True)
    where = f"of {terminal.printable(files[0])}: the model may know them" if files else "of the test rows"
    console.print(f"{metrics['hidden']:,} known cells hidden, {where}", soft_wrap=True)
    console.print("RMSE of numbers, beside the training mean's; accuracy of categories, the mode's")
    heads = ("hidden", "model", "mean or mode", f"in {metrics['level']:.0%} interval")
    table = Table("column", *(Column(head, justify="right") for head in heads))
    for row in describe(metrics):
        table.add_row(*map(terminal.printable, row))
    console.print(table)
    if "nll" in metrics:
        console.print(f"−log p(hidden | seen) {metrics['nll']:.4f} nats per hidden cell ({metrics['nll_of']})")


if __name__ == "__main__":
    main()
