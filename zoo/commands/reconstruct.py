"""What remains of pictures, or recordings, after a model has encoded and decoded them: a picture, and how near it is.

python scripts/reconstruct.py ckpt=<file or run directory> [files or folders]
    [key=value …]

{options}

Each row of examples stands above its reconstructions.
"""

from __future__ import annotations

import sys

from zoo.command import EMA, command, parse
from zoo.commands._options import EXAMPLES, INVERT
from zoo.files import output_file
from zoo.schema import Option

OPTIONS: dict[str, Option] = {
    **EXAMPLES,
    "images": Option(32, "that many, from the first on", "[1, 1024]"),
    "invert": INVERT,
    "out": Option(
        None,
        "the picture, or the folder that it is put into; reconstructed.png in the run's folder, or, of a released "
        "model, where you are, if left out",
    ),
    "ema": EMA,
}
COLUMNS = 8


@command
def main() -> None:
    options, files = parse(sys.argv[1:], OPTIONS, __doc__ or "")
    import torch

    from zoo import capability, checkpoint, registry
    from zoo.data import kinds
    from zoo.errors import ConfigError
    from zoo.files import write_bytes
    from zoo.inspect.grids import grid, in_rows, png
    from zoo.questions.reconstruct import reconstruct
    from zoo.tasks.examples import examples_of
    from zoo.terminal import printable

    model, source = registry.load_with_source(options["ckpt"], options["ema"])
    if model.spec.kind not in ("image", "sound"):
        raise ConfigError("pictures and recordings are shown, and the model was made for the kind " + model.spec.kind)
    capability.require(model, "reconstruct")
    name = "reconstructed.png"
    out = output_file(options["out"], name) if options["out"] else checkpoint.folder(options["ckpt"]) / name
    examples = examples_of(model, source, options, files, options["images"])
    kind = kinds.find(model.spec.kind)
    x = kind.decode(examples.stored)
    back = reconstruct(model, x)
    error = float((back - x)[~x.isnan()].square().mean()) ** 0.5
    first, second = (in_rows(kind.show(images, model.spec), min(COLUMNS, len(x))) for images in (x, back))
    rows = torch.stack([first, second], 1).flatten(0, 1)
    write_bytes(out, png(grid(rows, [kind.NOUN, "reconstruction"] * len(first))))
    for note in examples.notes:
        print(printable(note), file=sys.stderr)
    print(printable(f"{out}: {len(x):,} {kind.NOUN}s, root mean squared error {error:.4f}"))


if __name__ == "__main__":
    main()
