"""Which pictures, rows or texts are strange to a model, and how well its scores tell.

python scripts/detect.py ckpt=<checkpoint> <files or folders> [key=value …]
python scripts/detect.py ckpt=<checkpoint> against=<data> [key=value …]
python scripts/detect.py ckpt=<checkpoint> anomaly=<class> [key=value …]

The first calls a picture, a row or a text an anomaly if its score is above a
threshold, which is chosen on validation images such that a normal one is above
it with probability alarm at most. The second measures every score that the
model has on its own test images and on those of another source, with 95 %
intervals; the third on the test images of a class and on all others.

{options}
"""

from __future__ import annotations

import sys
import textwrap
from typing import Any

from zoo.command import CKPT, ROOT, command, parse
from zoo.data import sources
from zoo.errors import ConfigError
from zoo.schema import Option

OPTIONS: dict[str, Option] = {
    "ckpt": CKPT,
    "score": Option(
        None,
        "combined, native, log_prob, typicality, likelihood_ratio, complexity, reconstruction, mahalanobis, "
        "max_softmax, entropy, energy or per_token, as far as the model has it; all if left out (against, anomaly), or"
        " one that is to be relied on (files): likelihood_ratio with a background, else log_prob of rows and per_token"
        " of texts, else combined, else what there is of its two parts",
    ),
    "alarm": Option(0.05, "how often a normal example may be called an anomaly", "(0, 1)"),
    "background": Option(None, "checkpoint of a density of the same kind, for the likelihood ratio"),
    "against": Option(
        None,
        "a source, as train.py --help lists them, whose test images are the anomalies, or image_folder: all pictures "
        "in path are",
        sources.every(),
    ),
    "anomaly": Option(
        None,
        "a class, by its name: its test images are the anomalies, those of the others are normal, and p(<class>) is "
        "one of the scores of a model that has learnt it. data.train_classes=[…] trains one that has not",
    ),
    "data": Option(None, "what the model was trained on, where the checkpoint does not say", sources.every()),
    "path": Option(None, "the folder of against=image_folder, else of data=image_folder"),
    "root": ROOT,
    "images": Option(
        0, "only that many images of each kind, drawn at random, with against=… or anomaly=…; 0: all", "[0, inf)"
    ),
    "invert": Option(
        None,
        "of pictures that are named or in a folder: as the training pictures were treated if left out",
        ["auto", "always", "never"],
    ),
    "json": Option(None, "a file to write the numbers to, and the code that complexity goes by", "file"),
}


SHOWN = 20  # rows of a table, or texts
LONGEST = 36  # characters of a text that are shown


@command
def main() -> None:
    options, files = parse(sys.argv[1:], OPTIONS, __doc__ or "")
    against, path, root = options["against"], options["path"], options["root"]
    folder = against == "image_folder"
    measured = bool(against or options["anomaly"])
    if [bool(files), bool(against), bool(options["anomaly"])].count(True) != 1:
        raise ConfigError(
            "name either files, or against=…, a source whose examples are the anomalies, or anomaly=…, the class that "
            "is; see --help"
        )
    if folder and not path:
        raise ConfigError("against=image_folder needs the folder that holds the pictures: path=…")
    for key, heeded, place in (
        ("images", measured, "against=… and anomaly=…"),
        ("alarm", files, "files that are named"),
        ("invert", files or folder, "pictures that are named, or in the folder of against=image_folder"),
    ):
        if options[key] != OPTIONS[key].default and not heeded:
            raise ConfigError(f"{key}={options[key]} is for {place}")
    if options["score"] == "likelihood_ratio" and not options["background"]:
        raise ConfigError("score=likelihood_ratio needs the checkpoint of a background density: background=…")
    import torch
    from rich.table import Table

    from zoo import registry, terminal
    from zoo.data import kinds
    from zoo.data.splits import draw, load_splits
    from zoo.files import user_path, write_json
    from zoo.tasks.detect import SEED, codes, compare, fit, held_out, judge, parted_by_class, score_names
    from zoo.tasks.evaluate import splits_for

    model, source = registry.load_with_source(options["ckpt"])
    if folder:
        model.spec.check_kind("image", "against=image_folder")
    if against and not folder:
        model.spec.check_kind("image", "against=… is of other pictures; of rows and texts anomaly=… names a class")
    kind = kinds.find(model.spec.kind)
    paths = kind.find_files([path] if folder else files)  # before any data is read
    print(kinds.left_out([path] if folder else files, paths), end="", file=sys.stderr)
    settings = {"invert": options["invert"]} if options["invert"] else {}
    elsewhere = folder and user_path(path).resolve() != user_path(source.get("path") or ".").resolve()
    if against and against == (options["data"] or source.get("name")) and not elsewhere:
        raise ConfigError(f"against={against} is what the model was trained on: its images are no anomalies")
    background = registry.load(options["background"]) if options["background"] else None
    splits = splits_for(model.spec, source, options["data"], root, None if folder else path)
    target, others = None, f"of {against}"
    if options["anomaly"]:
        splits, strange, target = parted_by_class(splits, options["anomaly"])
        others = f"of {options['anomaly']}"
    calibration, test = held_out(splits, () if options["anomaly"] else source.get("train_classes", ()))
    names = [options["score"]] if options["score"] else None
    console = terminal.console()
    for note in splits.notes:
        console.print(terminal.printable(note), soft_wrap=True)
    answer: Any
    if not measured:
        names = names or list(score_names(model, background)[:1])
        detector = fit(model, splits.train, names, background, calibration.images)
        answer = judge(detector, calibration.images, paths, options["alarm"], **settings)
        where = "validation" if len(splits.val) else "test"
    else:
        if folder:
            drawn = torch.randperm(len(paths), generator=torch.Generator().manual_seed(SEED))
            drawn = drawn[: options["images"] or None].sort().values
            _, anomalies = kind.read([paths[number] for number in drawn.tolist()], model.spec, **settings)
        elif against:
            other = draw(load_splits(against, root).test, options["images"])
            model.spec.check_examples(other.shape, other.kind)
            anomalies = other.images
        else:
            anomalies = draw(strange, options["images"]).images
        normal = draw(test, options["images"]).images
        detector = fit(model, splits.train, names, background, calibration.images, target)
        answer = compare(detector, normal, anomalies, torch.Generator().manual_seed(SEED))
    if options["json"]:
        code = {"code": detector.code} if detector.code else {}
        what = "scores" if measured else "pictures" if model.spec.kind == "image" else f"{kind.NOUN}s"
        write_json(user_path(options["json"]), {"options": options, **code, what: answer})
    if detector.code:
        console.print(
            f"the complexity of an image is its length by {detector.code}, of {len(codes(model.density))} codes the "
            "one by which training images are the shortest",
            soft_wrap=True,
        )
    if not measured:
        many = kind.NOUN in ("row", "text")  # in a file
        words = ["it begins with"] if kind.NOUN == "text" else []
        table = Table(*([kind.NOUN] if many else []), *(words or ["example"]), "score", "p-value", "verdict")
        numbered = [*enumerate(answer, 1)]
        shown = sorted(numbered, key=lambda pair: -pair[1]["score"])[:SHOWN] if many else numbered
        for number, row in shown:
            example = textwrap.shorten(row["text"], LONGEST, placeholder=" …") if words else row["file"]
            cells = f"{row['score']:.4g}", f"{row['p_value']:.4f}", "anomaly" if row["anomaly"] else "normal"
            table.add_row(*([str(number)] if many else []), terminal.printable(example), *cells)
        console.print(table)
        part = "character" if model.spec.values == "tokens" else "word"
        name = {"log_prob": "−log p(x)", "per_token": f"−log p(x) per {part}"}.get(detector.names[0], detector.names[0])
        if len(shown) < len(answer):
            found = sum(row["anomaly"] for row in answer)
            console.print(
                f"the strangest of {len(answer):,} {kind.NOUN}s, {found:,} of them anomalies; json=… holds them all"
            )
        console.print(
            f"{name} above {answer[0]['threshold']:.4g}: anomaly; so are {options['alarm']:.3g} of normal {kind.NOUN}s "
            f"at most, by {len(calibration):,} {where} {kind.NOUN}s",
            soft_wrap=True,
        )
    else:
        title = f"{len(normal):,} test {kind.NOUN}s against {len(anomalies):,} {others}, in %"
        table = Table("score", "AUROC", "AUPR", "FPR at 95 % TPR", title=terminal.printable(title))
        for name, row in answer.items():
            table.add_row(name, *(_cell(row[key], row[f"{key}_interval"]) for key in ("auroc", "aupr", "fpr95")))
        console.print(table)


def _cell(value: float, interval: list[float]) -> str:
    return f"{100 * value:.4g} ({100 * interval[0]:.3g}–{100 * interval[1]:.3g})"


if __name__ == "__main__":
    main()
