"""Draw from a generative model: images as a grid in PNG and as .npz, rows of a table or texts as a CSV file.

python scripts/sample.py ckpt=<file or run directory> [n=64] [label=3] [seed=0] [key=value …]

  ckpt    a .ckpt file, a run directory or a released model's folder
  n       how many images, rows or texts (64)
  label   a class, by name or number; classes drawn from p(y) if left out
  seed    the same seed gives the same ones (0)
  out     what the files are called before .png and .npz, or .csv, or the folder
          they are put into: samples-seed<seed>, or samples-<class>-seed<seed>
          with a label; the folder of the weights if left out
  ema     true (default): averaged weights where there are any; false: the raw ones

The .npz holds images (uint8, n × channels × height × width), labels (int64, of
a model with classes), seed and n. The .csv has the columns of the training data
in their units, with the names of categories, or the texts, and, of a model with
classes, the name of the class.
"""

from __future__ import annotations

import re
import sys
from typing import Any

from zoo.command import command, parse_values

DEFAULTS: dict[str, Any] = {"ckpt": ..., "n": 64, "label": None, "seed": 0, "out": None, "ema": True}
RULES = {"n": "[1, inf)", "seed": "[0, 9223372036854775807]"}


@command
def main() -> None:
    options = parse_values(sys.argv[1:], DEFAULTS, RULES, __doc__ or "")
    from zoo import checkpoint, registry
    from zoo.errors import ConfigError
    from zoo.files import user_path
    from zoo.tasks.sample import class_number, draw_samples, suffixes, write_samples
    from zoo.terminal import printable

    model = registry.load(options["ckpt"], options["ema"])
    text, seed = options["label"], options["seed"]
    label = None if text is None else class_number(model.spec, text)
    words = ["samples", *([] if label is None else [re.sub(r"\W+", "_", model.spec.class_names[label])])]
    out = user_path(options["out"] or checkpoint.folder(options["ckpt"]))
    folder = out if out.is_dir() or str(options["out"]).endswith("/") else out.parent
    if not folder.is_dir():
        raise ConfigError(f"out={options['out']}: the folder {folder} does not exist")
    if out.is_dir():
        out /= "-".join([*words, f"seed{seed}"])
    elif out.suffix in suffixes(model.spec):
        out = out.with_suffix("")
    for path in write_samples(draw_samples(model, options["n"], label, seed), out):
        print(printable(path))


if __name__ == "__main__":
    main()
