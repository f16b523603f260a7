"""What a model makes of examples: their codes, as numbers for other programs.

python scripts/encode.py ckpt=<file or run directory> [files or folders]
    [key=value …]

{options}

Codes are latents or posteriors of a generative model, features of a classifier.
The .npz holds codes, float32, n × dimensions, names, and of a split labels; the
.csv the same, a row an example.
"""

from __future__ import annotations

import csv
import io
import sys

from zoo.command import EMA, command, parse
from zoo.commands._options import EXAMPLES, INVERT
from zoo.errors import ConfigError
from zoo.files import user_path, write_bytes, write_text
from zoo.schema import Option

OPTIONS: dict[str, Option] = {
    **EXAMPLES,
    "images": Option(0, "only that many, from the first on; 0 for all", "[0, inf)"),
    "invert": INVERT,
    "out": Option(
        None,
        "an .npz or a .csv file; codes.npz in the run's folder, or, of a released model, where you are, if left out",
    ),
    "ema": EMA,
}


@command
def main() -> None:
    options, files = parse(sys.argv[1:], OPTIONS, __doc__ or "")
    out = None if options["out"] is None else user_path(options["out"])
    if out is not None and out.suffix not in (".npz", ".csv"):
        raise ConfigError(f"out={options['out']}: its name ends with .npz or .csv")
    if out is not None and not out.parent.is_dir():
        raise ConfigError(f"out={options['out']}: the folder {out.parent} does not exist")
    import numpy as np

    from zoo import capability, checkpoint, registry
    from zoo.data import kinds
    from zoo.questions.encode import encode
    from zoo.tasks.examples import examples_of
    from zoo.terminal import printable

    model, source = registry.load_with_source(options["ckpt"], options["ema"])
    capability.require(model, "encode")
    examples = examples_of(model, source, options, files, options["images"] or None)
    codes = encode(model, kinds.find(model.spec.kind).decode(examples.stored)).float().cpu().numpy()
    out = out or checkpoint.folder(options["ckpt"]) / "codes.npz"
    known = model.spec.class_names
    labels = None if examples.labels is None else examples.labels.numpy()
    if out.suffix == ".npz":
        content = io.BytesIO()
        arrays = {"codes": codes, "names": np.array(examples.names)}
        np.savez(content, **(arrays if labels is None else {**arrays, "labels": labels}))  # type: ignore[arg-type]
        write_bytes(out, content.getvalue())
    else:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["name", *([] if labels is None else ["class"]), *(f"z{n}" for n in range(codes.shape[1]))])
        for place, (name, row) in enumerate(zip(examples.names, codes, strict=True)):
            of = [] if labels is None else [known[labels[place]] if labels[place] >= 0 else ""]
            writer.writerow([name, *of, *(f"{value:.9g}" for value in row)])
        write_text(out, text.getvalue())
    for note in examples.notes:
        print(printable(note), file=sys.stderr)
    print(printable(f"{out}: {len(codes):,} codes of {codes.shape[1]:,} numbers"))


if __name__ == "__main__":
    main()
