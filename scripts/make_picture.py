"""Draw the documentation's pictures from the released models and test images.

python scripts/make_picture.py [root=…]

{options}

docs/picture.png, README's: what each generative model of pictures draws, an image of each
class; halves of digits that one of them completes; and how strange pictures are to it.
docs/models/<model>-<data>.png: more samples of each, or of a model that only tells classes
apart its worst mistakes on test images; .txt: what models of running text go on with.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from zoo.command import ROOT, command, parse_values

if TYPE_CHECKING:
    from torch import Tensor

OPTIONS = {
    "root": ROOT,
}
DATA = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}  # columns of the first part
ASKED = "autoregressive-mnist"  # of the second part
COMPLETED, EACH = 5, 4  # digits, and completions of each
KNOWN, STRANGE = 5, 5  # pictures of digits, and of clothes
CALIBRATED = 1_000  # digits that the score is fitted to, and as many that the threshold is chosen by
WIDTH = 9.0  # inches
ROWS = 4  # of samples on a model's page
MISTAKES = 24  # of a classifier
PROMPT, LENGTH = "ROMEO:", 400  # characters that models of running text are given, and go on with
BLUE, ORANGE, GREY = "#3070b3", "#d95f02", "#555555"


def samples() -> dict[str, dict[str, Tensor]]:
    """By model and data, what each released model draws: rows of an image of each class, ``(ROWS, 10, C, H, W)`` in
    [0, 1]."""
    import torch

    import zoo
    from zoo import capability
    from zoo.base.generative import has_classes

    found: dict[str, dict[str, Tensor]] = {}
    for name in zoo.list_models(pretrained=True):
        model, _, data = name.partition("-")
        if data in DATA and capability.can(loaded := zoo.load(name), "sample"):
            labels = torch.arange(10).repeat(ROWS) if has_classes(loaded) else None
            drawn = zoo.sample(loaded, 10 * ROWS, labels, torch.Generator().manual_seed(0))
            found.setdefault(model, {})[data] = drawn.unflatten(0, (ROWS, 10))
    return found


def mistaken(root: str | None) -> dict[str, bytes]:
    """By the name of each released model that tells classes apart and draws nothing, its worst mistakes, as PNG."""
    import zoo
    from zoo import capability
    from zoo.data.splits import load_splits
    from zoo.inspect import kinds
    from zoo.inspect.figures import rendered
    from zoo.inspect.grids import png

    found = {}
    for name in zoo.list_models(pretrained=True):
        data = name.partition("-")[2]
        if data in DATA and not capability.can(model := zoo.load(name), "sample"):
            test = load_splits(data, root).test
            figure: Any = kinds.find("image").mistakes(model, test, zoo.classify(model, test.x()), MISTAKES)
            found[name] = png(rendered(figure))
    return found


def told() -> dict[str, str]:
    """By the name of each released model of running text, how it goes on."""
    import torch

    import zoo
    from zoo.data.kinds import tokens

    found = {}
    for name in zoo.list_models(pretrained=True):
        if name.endswith("-tiny_shakespeare"):
            model = zoo.load(name)
            drawn = zoo.forecast(model, PROMPT, LENGTH, torch.Generator().manual_seed(0))
            (found[name],) = tokens.text_of(drawn, model.spec)
    return found


def completed(root: str | None) -> tuple[Tensor, Tensor]:
    """Test digits with their lower halves unseen, and completions of each, ``(1 + EACH, COMPLETED, C, H, W)``; and what
    is seen, ``(COMPLETED, C, H, W)``."""
    import zoo
    from zoo.data.splits import load_splits
    from zoo.tasks.impute import completions, mask_of

    model = zoo.load(ASKED)
    images = load_splits("mnist", root).test.images[10 : 10 + COMPLETED]
    rows, seen = completions(model, images, mask_of(model.spec, "bottom", images), n=EACH)
    return rows[1:], seen


def suspected(root: str | None) -> tuple[Tensor, list[float], float]:
    """Test pictures of digits, then of clothes, with the score of each, higher is stranger, and the threshold that one
    digit of a hundred exceeds."""
    import torch

    import zoo
    from zoo.data.kinds import find
    from zoo.data.splits import draw, load_splits
    from zoo.metrics.detection import threshold
    from zoo.tasks.detect import fit, held_out, score_names

    model, splits = zoo.load(ASKED), load_splits("mnist", root)
    name = score_names(model)[0]
    calibration, test = held_out(splits)
    calibration = draw(calibration, CALIBRATED)
    detector = fit(model, draw(splits.train, CALIBRATED), [name], calibration=calibration.images)
    images = torch.cat([test.images[:KNOWN], load_splits("fashion_mnist", root).test.images[:STRANGE]])
    limit = threshold(detector(calibration.images)[name], 0.01)
    return find("image").decode(images), detector(images)[name].tolist(), limit


@command
def main() -> None:
    options = parse_values(sys.argv[1:], OPTIONS, __doc__ or "")
    from zoo.files import REPOSITORY, write_bytes, write_text
    from zoo.inspect.figures import blank, rendered
    from zoo.inspect.grids import grid, mosaic, png

    drawn = samples()
    for model, of in drawn.items():
        for data, images in of.items():
            write_bytes(REPOSITORY / "docs" / "models" / f"{model}-{data}.png", png(grid(images)))
    for name, picture in mistaken(options["root"]).items():
        write_bytes(REPOSITORY / "docs" / "models" / f"{name}.png", picture)
    for name, text in told().items():
        write_text(REPOSITORY / "docs" / "models" / f"{name}.txt", text + "\n")
    figure = blank(WIDTH, 1.1 + 0.46 * len(drawn) + 2.6)
    parts: Any = figure.subfigures(2, 1, height_ratios=[0.55 + 0.46 * len(drawn), 2.75])
    above, below = parts
    axes = above.subplots(len(drawn), len(DATA), squeeze=False)
    above.suptitle("What the models draw, a class a column; a VAE knows none", fontsize=10, fontweight="bold")
    for cell, title in zip(axes[0], DATA.values(), strict=True):
        cell.set_title(title, fontsize=9, color=GREY)
    for row, (model, strips) in zip(axes, drawn.items(), strict=True):
        for cell, data in zip(row, DATA, strict=True):
            cell.axis("off")
            if data in strips:
                cell.imshow(1 - mosaic(strips[data][:1], 2, 0, 0)[..., 0], cmap="gray", vmin=0, vmax=1)
        row[0].text(-0.01, 0.5, model, ha="right", va="center", fontsize=9, transform=row[0].transAxes)
    left, right = below.subfigures(1, 2, width_ratios=[1, 1.05])
    rows, seen = completed(options["root"])
    left.suptitle(f"Lower halves, hidden and completed\nby {ASKED}", fontsize=10)
    cell = left.subplots()
    shown = (1 - rows).expand(-1, -1, 3, -1, -1).clone()
    shown[0] = shown[0].where(seen, shown.new_tensor([0.85, 0.91, 0.97]).view(3, 1, 1))
    cell.imshow(mosaic(shown, 2, 2, 1).clamp(0, 1))
    cell.axis("off")
    images, scores, limit = suspected(options["root"])
    right.suptitle(f"How strange is a picture to {ASKED}?\nOne digit of a hundred is above the line", fontsize=10)
    pictures, bars = right.subplots(2, 1, height_ratios=[1, 2.2])
    pictures.imshow(1 - mosaic(images[None], 2, 0, 0)[..., 0], cmap="gray", vmin=0, vmax=1, aspect="auto")
    pictures.axis("off")
    bars.bar(range(len(scores)), scores, 0.6, color=[ORANGE if score > limit else BLUE for score in scores])
    bars.axhline(limit, color=GREY, lw=0.8, ls="--")
    bars.set(xlim=(-0.5, len(scores) - 0.5), xticks=[], ylabel="score")
    bars.spines[["top", "right"]].set_visible(False)
    figure.set_dpi(180)
    write_bytes(REPOSITORY / "docs" / "picture.png", png(rendered(figure)))


if __name__ == "__main__":
    main()
