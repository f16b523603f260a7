"""Paths from picture to picture, or from recording to recording, through a model's latent space.

python scripts/interpolate.py ckpt=<file or run directory> [<first> <last>]
    [key=value …]

{options}

Without files the ends are drawn from the model. With two, the path runs from
the code of one to that of the other, and they themselves stand at its ends.
"""

from __future__ import annotations

import sys

from zoo.command import CKPT, EMA, command, parse
from zoo.commands._options import INVERT, SEEDS
from zoo.errors import ConfigError
from zoo.files import output_file
from zoo.schema import Option

OPTIONS: dict[str, Option] = {
    "ckpt": CKPT,
    "n": Option(8, "paths, where the ends are drawn", "[1, 256]"),
    "steps": Option(8, "pictures along each path, its ends among them", "[2, 256]"),
    "label": Option(None, "a class, by name or number, of a model with classes; drawn from p(y) if left out"),
    "seed": Option(0, "of the ends: the same seed gives the same", SEEDS),
    "invert": INVERT,
    "out": Option(
        None,
        "the picture, or the folder that it is put into; interpolated-seed<seed>.png in the run's folder, or, of "
        "a released model, where you are, if left out",
    ),
    "ema": EMA,
}


@command
def main() -> None:
    options, files = parse(sys.argv[1:], OPTIONS, __doc__ or "")
    if len(files) not in (0, 2):
        raise ConfigError(
            f"a path has two ends, and {len(files)} {'file is' if len(files) == 1 else 'files are'} named"
        )
    import torch

    from zoo import capability, checkpoint, registry
    from zoo.data import kinds
    from zoo.files import write_bytes
    from zoo.inspect.grids import grid, png
    from zoo.questions.interpolate import interpolate
    from zoo.tasks.examples import examples_of
    from zoo.tasks.sample import class_number
    from zoo.terminal import printable

    model, source = registry.load_with_source(options["ckpt"], options["ema"])
    if model.spec.kind not in ("image", "sound"):
        raise ConfigError("pictures and recordings are shown, and the model was made for the kind " + model.spec.kind)
    capability.require(model, "interpolate")
    kind, n = kinds.find(model.spec.kind), options["n"]
    name = f"interpolated-seed{options['seed']}.png"
    out = output_file(options["out"], name) if options["out"] else checkpoint.folder(options["ckpt"]) / name
    ends = None
    if files:
        for key in ("n", "seed"):
            if options[key] != OPTIONS[key].default:
                raise ConfigError(f"{key}={options[key]} is of ends that are drawn, and two are named")
        found = kind.decode(examples_of(model, source, options, files).stored)
        if len(found) != 2:
            raise ConfigError(f"a path has two ends, and {len(found)} {kind.NOUN}s are named")
        ends, n = (found[:1], found[1:]), 1
    elif options["invert"]:
        raise ConfigError(f"invert={options['invert']} is for pictures that are named")
    labels = None if options["label"] is None else torch.full((n,), class_number(model.spec, options["label"]))
    path = interpolate(
        model, None if ends else n, options["steps"], ends, labels, capability.seeded(model, options["seed"])
    )
    if ends:
        path[:, 0], path[:, -1] = ends
    shown = kind.show(path.flatten(0, 1).cpu(), model.spec).unflatten(0, path.shape[:2])
    write_bytes(out, png(grid(shown)))
    print(printable(out))


if __name__ == "__main__":
    main()
