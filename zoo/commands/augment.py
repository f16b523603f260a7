"""Write a labelled set of images, recordings, rows or texts with a generative model of p(x | class).

python scripts/augment.py ckpt=<file or run directory> out=<folder>
    [key=value …]

{options}

What a classifier learns from such a set, and no real image, is measured by
python scripts/evaluate.py ckpt=… synthetic=true
"""

from __future__ import annotations

import shlex
import sys

from zoo.command import CKPT, EMA, command, parse_values
from zoo.commands._options import SEEDS
from zoo.schema import Option

OPTIONS: dict[str, Option] = {
    "ckpt": CKPT,
    "out": Option(..., "the folder to write, which must not exist; it appears whole or not at all"),
    "n": Option(50000, "how many examples, of each class in equal numbers", "[1, inf)"),
    "format": Option(
        None,
        "of pictures png, if left out: <out>/<class>/00001.png, for data=image_folder; or idx: MNIST's pair of gzipped"
        " files, train-images-… and train-labels-…, for data=idx; of recordings wav: <out>/<class>/00001.wav, for "
        "data=audio_folder; of a table csv: <out>/rows.csv; of texts <out>/texts.csv, for data=labelled_text",
        ["png", "idx", "wav", "csv"],
    ),
    "seed": Option(0, "the same seed gives the same images", SEEDS),
    "ema": EMA,
}


@command
def main() -> None:
    options = parse_values(sys.argv[1:], OPTIONS, __doc__ or "")
    from zoo import registry
    from zoo.files import user_path
    from zoo.tasks.augment import augment
    from zoo.terminal import override, printable, quoted, typed

    model = registry.load(options["ckpt"], options["ema"])
    out = user_path(options["out"])
    for written in augment(model, options["n"], out, options["format"], options["seed"]):
        print(printable(written))
    if model.spec.kind == "image":
        path, size = override("data.path", out), max(model.spec.shape[1:])
        if options["format"] == "idx":
            names = ",".join(quoted(name) for name in model.spec.class_names)
            print(f"{typed('train')} data=idx {path} {shlex.quote(f'data.names=[{names}]')}")
        else:
            print(f"{typed('train')} data=image_folder {path} data.image_size={size} data.invert=never")
    elif model.spec.kind == "sound":
        from zoo.data.kinds import sound

        print(f"{typed('train')} data=audio_folder {override('data.path', out)} {sound.words(model.spec)}")


if __name__ == "__main__":
    main()
