"""Spread a few labels to many training images along a model's codes, and write them.

python scripts/label.py ckpt=<file or run directory> out=<folder> [key=value …]

{options}
"""

from __future__ import annotations

import sys

from zoo.command import CKPT, EMA, ROOT, command, parse_values
from zoo.commands._options import SEEDS
from zoo.schema import Option

OPTIONS: dict[str, Option] = {
    "ckpt": CKPT,
    "out": Option(
        ...,
        "the folder to write, which must not exist: <out>/<class>/00001.png, for data=image_folder, of a table "
        "<out>/rows.csv; it appears whole or not at all",
    ),
    "labels": Option(
        100,
        "the labels of so many training images are used, equally many of each class; those of all others are hidden",
        "[1, inf)",
    ),
    "images": Option(30000, "so many images without a label come in, at random", "[1, inf)"),
    "certain": Option(0.8, "this share of them is kept of each class, those whose class is most certain", "(0, 1]"),
    "path": Option(None, "the folder of a model that was trained on data=image_folder, if moved"),
    "root": ROOT,
    "seed": Option(0, "draws whose labels are used, and the other images", SEEDS),
    "ema": EMA,
}


@command
def main() -> None:
    options = parse_values(sys.argv[1:], OPTIONS, __doc__ or "")
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
