"""How well a checkpoint does on a test split: accuracy, in all and for each class, likelihood, quality of samples.

python scripts/evaluate.py ckpt=<file or run directory> [data=…] [key=value …]

{options}
"""

from __future__ import annotations

import sys
from typing import Any

from zoo.command import CKPT, EMA, ROOT, command, parse_values
from zoo.commands._options import DATA, SPLIT
from zoo.errors import ConfigError
from zoo.schema import Option

MASKS = ["mcar", "block", "half", "left", "right", "top", "bottom"]
OPTIONS: dict[str, Option] = {
    "ckpt": CKPT,
    "data": DATA,
    "path": Option(
        None,
        "the folder of data=image_folder or data=idx, the file of data=table or data=text, either of "
        "data=labelled_text",
    ),
    "root": ROOT,
    "split": SPLIT,
    "missing": Option(
        0.0,
        "share of the pixels, of a table's cells, or of a text's words, to hide at random, the same ones for every "
        "model: accuracy from the others",
        "[0, 1]",
    ),
    "mask": Option(
        "mcar",
        "which pixels; mcar: each for itself; block: a square somewhere; left, right, top or bottom: that half, "
        "without missing=…; half: one of the four for each image",
        MASKS,
    ),
    "fill": Option(
        None,
        "what a model sees in their place; local: the mean of the seen pixels around; mean: the training mean. If left"
        " out, models that can integrate them out, and others see the local mean of pictures",
        ["local", "mean"],
    ),
    "images": Option(0, "only that many, from the first on; 0 for all", "[0, inf)"),
    "samples": Option(
        10000,
        "how many samples of a generative model to compare with the test images; 0 for none, and none where split or "
        "missing is given",
        "[0, inf)",
    ),
    "draws": Option(
        0,
        "times that so many are drawn, for the mean and the standard error of the Fréchet ratio; 1 for neither; 0: 3 "
        "times, where there are samples",
        "[0, 1000]",
    ),
    "synthetic": Option(
        False, "true: train a classifier on samples of each class, and test it on real images; takes minutes"
    ),
    "importance": Option(
        0,
        "samples an image for a likelihood that is a bound, which more of them raise; 0: the model's number",
        "[0, inf)",
    ),
    "estimated": Option(
        0, "images whose likelihood is told where it is an estimate, which takes a second each; 0: none", "[0, inf)"
    ),
    "costs": Option(
        [],
        "of two classes, what it costs to take an example of the first one, and of the second one, for the other: "
        "[1,5]. The threshold is the one that costs least on the validation split. If left out, those of the training",
        "any",
    ),
    "ema": EMA,
    "json": Option(None, "a file to write the numbers to", "file"),
}

DRAWS = 3  # if not said


def share(mask: str, missing: float) -> float:
    """The share of pixels that ``mask=`` and ``missing=`` hide. Raises ``ConfigError`` where they contradict."""
    if mask in ("mcar", "block"):
        if mask == "block" and not missing:
            raise ConfigError("mask=block hides as large a part of an image as missing=… says: give it")
        return missing
    if missing not in (0, 0.5):
        raise ConfigError(f"mask={mask} hides half of an image: missing={missing} is for mcar and block")
    return 0.5


@command
def main() -> None:
    options = parse_values(sys.argv[1:], OPTIONS, __doc__ or "")
    mask, fill = options["mask"], options["fill"]
    missing = share(mask, options["missing"])
    import torch
    from rich.table import Table

    from zoo import capability, registry, terminal
    from zoo.data import kinds
    from zoo.files import user_path, write_json
    from zoo.run import machine
    from zoo.tasks import reference, sample_quality, students
    from zoo.tasks.evaluate import describe, evaluate, remarks, splits_for, tells

    model, source = registry.load_with_source(options["ckpt"], options["ema"])
    if fill and not missing and not model.spec.missing:
        raise ConfigError(f"fill={fill} takes the place of missing pixels, and none are: give missing=… or mask=…")
    splits = splits_for(model.spec, source, options["data"], options["root"], options["path"], whole=True)
    split = getattr(splits, options["split"])
    if options["images"]:
        split = split.take(slice(options["images"]))
    console = terminal.console()
    for note in splits.notes:
        console.print(terminal.printable(note), soft_wrap=True)
    can_sample = capability.can(model, "sample")
    samples = options["samples"] if can_sample and options["split"] == "test" and not missing else 0
    if options["draws"] and not samples:
        why = "this model has none" if not can_sample else "there are none with samples=0, missing=…, mask=… or split=…"
        raise ConfigError(f"draws={options['draws']} needs samples, and {why}")
    # a model that can only sample has nothing to say of a split's images
    metrics: dict[str, Any] = {}
    if tells(model) or options["estimated"] or not samples:
        importance = options["importance"] or None
        costs = options["costs"] or source.get("costs")
        metrics = evaluate(
            model, split, missing=missing, importance=importance, mask=mask, fill=fill, costs=costs,
            validation=None if options["split"] == "val" else splits.val, estimated=options["estimated"],
        ).metrics  # fmt: skip
    data = options["data"] or source["name"]
    measured = sample_quality.sample_metrics(model, splits, data, samples, draws=options["draws"] or DRAWS)
    metrics |= measured
    if samples and not measured and (options["draws"] or model.spec.kind == "image"):
        console.print(reference.missing(data), soft_wrap=True)
    if options["synthetic"]:
        machine.prepare(torch.device("cpu"))  # a training: it takes half as long
        metrics["synthetic_accuracy"] = students.synthetic_accuracy(model, splits.test.labelled())
    said = remarks(metrics, model.spec)
    if options["json"]:
        write_json(user_path(options["json"]), {"options": options, **metrics, "remarks": said})
    noun = kinds.find(model.spec.kind).NOUN
    title = f"{terminal.printable(options['ckpt'])} on {len(split):,} {options['split']} {noun}s"
    if missing:
        of_texts = "characters" if model.spec.values == "tokens" else "words"
        parts = {"image": "pixels", "tokens": of_texts}.get(model.spec.kind, "cells")
        title += f", {missing:.0%} of the {parts} missing ({mask}{', fill=' * bool(fill)}{fill or ''})"
    if "per_class" in metrics:
        table = Table("class", f"{noun}s", "precision", "recall", "F1", title=title)
        for name, row in metrics["per_class"].items():
            shares = ("–" if row[key] is None else f"{row[key]:.2%}" for key in ("precision", "recall"))
            table.add_row(terminal.printable(name), f"{row['examples']:,}", *shares, f"{row['f1']:.4f}")
        table.add_section()
        table.add_row("macro F1", "", "", "", f"{metrics['macro_f1']:.4f}")
        console.print(table)
    else:
        console.print(title)
    for line in [*describe(metrics), *said, *sample_quality.describe(metrics)]:
        console.print(terminal.printable(line), soft_wrap=True)


if __name__ == "__main__":
    main()
