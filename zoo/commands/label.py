"""Spread a few labels to many training images along a model's codes, and write them.

python scripts/label.py ckpt=<file or run directory> out=<folder> [key=value …]

  ckpt    a .ckpt file or a run directory of a model that encodes images, which
          need not have seen a label
  out     the folder to write, which must not exist: <out>/<class>/00001.png,
          for data=image_folder, of a table <out>/rows.csv; it appears whole or
          not at all
  labels  the labels of so many training images are used, equally many of each
          class; those of all others are hidden (100)
  images  so many images without a label come in, at random (30000)
  certain this share of them is kept of each class, those whose class is most
          certain (0.8)
  path    the folder of a model that was trained on data=image_folder, if moved
  root    where data lies; ZOO_DATA, else data/, if left out
  seed    draws whose labels are used, and the other images (0)
  ema     true (default): averaged weights where there are any; false: the raw ones
"""

from __future__ import annotations

import sys
from typing import Any

from zoo.command import command, parse_values

DEFAULTS: dict[str, Any] = {
    "ckpt": ..., "out": ..., "labels": 100, "images": 30_000, "certain": 0.8, "path": None, "root": None, "seed": 0,
    "ema": True,
}  # fmt: skip
RULES = {
    "labels": "[1, inf)",
    "images": "[1, inf)",
    "certain": "(0, 1]",
    "seed": "[0, 9223372036854775807]",
}


@command
def main() -> None:
    options = parse_values(sys.argv[1:], DEFAULTS, RULES, __doc__ or "")
    from zoo import registry
    from zoo.data import kinds
    from zoo.data.kinds import sound
    from zoo.files import new_folder, user_path
    from zoo.tasks.evaluate import splits_for
    from zoo.tasks.few_labels import guess
    from zoo.terminal import override, printable, typed

    model, source = registry.load_with_source(options["ckpt"], options["ema"])
    source = {**source, "train_size": 0, "labels": options["labels"], "repeat": 1, "split_seed": options["seed"]}
    splits = splits_for(model.spec, source, root=options["root"], folder=options["path"])
    for note in splits.notes:
        print(printable(note))
    guessed = guess(model, splits.train, options["images"], options["seed"], options["certain"])
    out = user_path(options["out"])
    with new_folder(out) as folder:
        kinds.find(guessed.kind).write(guessed.images, guessed.labels, model.spec, folder)
    shares = guessed.labels.bincount(minlength=model.spec.num_classes).tolist()
    noun, known = kinds.find(guessed.kind).NOUN, f"{options['labels']:,} of them with their own label"
    print(f"{len(guessed):,} {noun}s, {known}, in {printable(out)}")
    print(", ".join(f"{printable(name)} {count:,}" for name, count in zip(model.spec.class_names, shares, strict=True)))
    path = override("data.path", out)
    if guessed.kind == "image":
        size = max(model.spec.shape[1:])
        print(f"{typed('train')} data=image_folder {path} data.image_size={size} data.invert=never")
    elif guessed.kind == "sound":
        print(f"{typed('train')} data=audio_folder {path} {sound.words(model.spec)}")


if __name__ == "__main__":
    main()
