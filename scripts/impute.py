"""Hide pixels and have a model fill them in: how near it comes, and a picture.

python scripts/impute.py ckpt=<file or run directory> [images or folders] [key=value …]

  ckpt    a .ckpt file, a run directory or a released model's folder
  data    a source, as train.py --help lists them, of which the test images are
          taken; what it was trained on if left out. Pictures that are named take
          its place
  path    the folder of data=image_folder or data=idx
  root    where data lies; ZOO_DATA, else data/, if left out
  mask    mcar (default): each pixel for itself; block: a square somewhere; left,
          right, top or bottom: that half; half: one of the four for each image
  missing share of the pixels that mcar and block hide (0.5)
  n       completions an image, of which intervals are made (19: 90 % ones)
  classifier
          another checkpoint, whose accuracy on completed images is told
  images  only that many, drawn at random (500); 0 for all
  seed    of masks and completions: the same seed gives the same (0)
  invert  of pictures that are named: auto, always or never; as the training
          pictures were treated if left out
  out     the picture, or the folder that it is put into: imputed-<mask>-seed<seed>
          .png there; the folder of the weights if left out
  ema     true (default): averaged weights where there are any; false: the raw ones
  json    a file to write the numbers to
"""

from __future__ import annotations

import sys
from typing import Any

from zoo.command import command, parse
from zoo.data import sources
from zoo.errors import ConfigError
from zoo.files import output_file, user_path

DEFAULTS: dict[str, Any] = {
    "ckpt": ..., "data": None, "path": None, "root": None, "mask": "mcar", "missing": 0.5, "n": 19, "classifier": None,
    "images": 500, "seed": 0, "invert": None, "out": None, "ema": True, "json": None,
}  # fmt: skip
RULES = {
    "data": sources.names(),
    "mask": ["mcar", "block", "half", "left", "right", "top", "bottom"],
    "missing": "(0, 1]",
    "n": "[2, inf)",
    "images": "[0, inf)",
    "seed": "[0, 9223372036854775807]",
    "invert": ["auto", "always", "never"],
    "json": "file",
}
SHOWN = 10  # images in the picture


@command
def main() -> None:
    options, files = parse(sys.argv[1:], DEFAULTS, RULES, __doc__ or "")
    mask, seed = options["mask"], options["seed"]
    if mask not in ("mcar", "block") and options["missing"] != 0.5:
        raise ConfigError(f"mask={mask} hides half of an image: missing={options['missing']} is for mcar and block")
    name = f"imputed-{mask}-seed{seed}.png"
    out = output_file(options["out"], name) if options["out"] else None
    import torch
    from rich.table import Table

    from zoo import checkpoint, registry, terminal
    from zoo.data import kinds
    from zoo.data.splits import draw
    from zoo.files import write_bytes, write_json
    from zoo.inspect.grids import png
    from zoo.tasks.evaluate import splits_for
    from zoo.tasks.impute import describe, measure, observed_mask, picture

    if out is None:
        out = checkpoint.folder(options["ckpt"]) / name
    model, source = registry.load_with_source(options["ckpt"], options["ema"])
    model.spec.check_kind("image", "pixels are hidden and filled in")
    classifier = registry.load(options["classifier"], options["ema"]) if options["classifier"] else None
    count, notes = options["images"] or None, tuple[str, ...]()
    if files:
        settings, kind = {"invert": options["invert"]} if options["invert"] else {}, kinds.find("image")
        paths = kind.find_files(files)
        print(kinds.left_out(files, paths), end="", file=sys.stderr)
        (_, images), labels = kind.read(paths[:count], model.spec, **settings), None
    else:
        splits = splits_for(model.spec, source, options["data"], options["root"], options["path"], whole=True)
        notes, split = splits.notes, draw(splits.test, count or 0)
        images, labels = split.images, split.labels
    generator = torch.Generator().manual_seed(seed)
    observed = observed_mask(mask, len(images), model.spec.shape[1:], options["missing"], generator)
    metrics = measure(model, images, observed, options["n"], seed, labels, classifier)
    if options["json"]:
        write_json(user_path(options["json"]), {"options": options, **metrics})
    write_bytes(out, png(picture(model, images[:SHOWN], observed[:SHOWN], seed)))
    title = f"{len(images):,} images, {metrics['hidden']:.0%} of the pixels hidden ({mask})"
    table = Table("measure", "value", "what it is", title=f"{terminal.printable(options['ckpt'])}: {title}")
    for row in describe(metrics, options["n"]):
        table.add_row(*row)
    console = terminal.console()
    for note in notes:
        console.print(terminal.printable(note), soft_wrap=True)
    console.print(table)
    print(terminal.printable(out))


if __name__ == "__main__":
    main()
