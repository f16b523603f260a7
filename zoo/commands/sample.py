"""Draw from a generative model: images as a grid in PNG and as .npz, recordings as a WAV file, too, rows of a table or
texts as a CSV file; or let a language model go on with a text, which is printed as it comes.

python scripts/sample.py ckpt=<file or run directory> [n=64] [label=3]
    [seed=0] [key=value …]
python scripts/sample.py ckpt=<file or run directory> prompt="ROMEO:"
    [length=500] [key=value …]

{options}

The .npz holds images (uint8, n × channels × height × width; of recordings their
spectra, float32), labels (int64, of a model with classes), seed and n. In the
.wav recordings are heard one after the other. The .csv has the columns of the
training data in their units, with the names of categories, or the texts, and,
of a model with classes, the name of the class.

Of language models, with a prompt or a length:


Standard output is the text alone: the prompt and what follows, one text after
the other, each ended by a line's end, those of running text with an empty line
between them.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from zoo.command import CKPT, EMA, command, parse_values
from zoo.commands._options import SEEDS
from zoo.errors import ConfigError
from zoo.schema import Option

if TYPE_CHECKING:
    from zoo.base.model import Model

OPTIONS: dict[str, Option] = {
    "ckpt": CKPT,
    "n": Option(0, "how many images, recordings, rows or texts (64; 1 that goes on)", "[1, inf)"),
    "label": Option(None, "a class, by name or number; classes drawn from p(y), or from p(y | prompt), if left out"),
    "seed": Option(0, "the same seed gives the same ones", SEEDS),
    "out": Option(
        None,
        "what the files are called before .png, .npz and .wav, or .csv, or the folder they are put into: "
        "samples-seed<seed>, or samples-<class>-seed<seed> with a label. If left out, in the run's folder, or, of a "
        "released model, where you are",
    ),
    "ema": EMA,
    "prompt": Option(None, "what the text begins with; nothing if left out"),
    "length": Option(0, "how many characters follow it, if the text does not end before (500)", "[1, inf)"),
    "temperature": Option(
        1.0,
        "log-probabilities are divided by it: below 1 bolder, above 1 wilder, 0 the most probable character each time",
        "[0, inf)",
    ),
    "top_k": Option(0, "draw from so many of the most probable characters; 0: from all", "[0, inf)"),
}

IMAGES, CHARACTERS = 64, 500  # how many are drawn if nothing is said


@command
def main() -> None:
    options = parse_values(sys.argv[1:], OPTIONS, __doc__ or "")
    goes_on = options["prompt"] is not None or options["length"] > 0
    if not goes_on and (options["temperature"], options["top_k"]) != (1.0, 0):
        raise ConfigError("temperature and top_k are of a text that goes on: give prompt=… or length=…, too")
    if goes_on and options["out"] is not None:
        raise ConfigError(f"out={options['out']}: a text that goes on is printed: … > {options['out']} puts it there")
    from zoo import checkpoint, registry
    from zoo.files import user_path
    from zoo.tasks.sample import class_number, draw_samples, suffixes, write_samples
    from zoo.terminal import printable

    model = registry.load(options["ckpt"], options["ema"])
    text, seed = options["label"], options["seed"]
    label = None if text is None else class_number(model.spec, text)
    if goes_on:
        go_on(model, label, options)
        return
    words = ["samples", *([] if label is None else [re.sub(r"\W+", "_", model.spec.class_names[label])])]
    out = user_path(options["out"] or checkpoint.folder(options["ckpt"]))
    folder = out if out.is_dir() or str(options["out"]).endswith("/") else out.parent
    if not folder.is_dir():
        raise ConfigError(f"out={options['out']}: the folder {folder} does not exist")
    if out.is_dir():
        out /= "-".join([*words, f"seed{seed}"])
    elif out.suffix in suffixes(model.spec):
        out = out.with_suffix("")
    for path in write_samples(draw_samples(model, options["n"] or IMAGES, label, seed), out):
        print(printable(path))


def go_on(model: Model, label: int | None, options: dict[str, Any]) -> None:
    """Print texts that begin with the prompt, each character at once."""
    from zoo.tasks.sample import continued
    from zoo.terminal import lost, printable

    words = (options["prompt"] or "", options["length"] or CHARACTERS, options["n"] or 1, label, options["seed"])
    for piece in continued(model, *words, options["temperature"], options["top_k"]):
        # a terminal is not to be driven by what a model says; a file is to have all of it
        sys.stdout.write(printable(piece, keep="\n\t") if sys.stdout.isatty() else piece)
        if lost() is not None:  # nobody reads on
            return


if __name__ == "__main__":
    main()
