"""Claim 3: generative classifiers degrade gracefully when pixels go missing."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from zoo.base.model import Model
from zoo.data.splits import Split
from zoo.models.vae import VAE
from zoo.questions.classify import classify
from zoo.tasks.impute import observed_mask
from zoo.textbook import roster
from zoo.textbook.claim import WRONG, Case, Claim, Finding, Row, answered, compared, of_the_first, select, sources
from zoo.textbook.lab import Lab
from zoo.textbook.report import panels
from zoo.textbook.report.panels import DATA, name

COMPONENTS, PCA = 16, 30  # of the mixture, which makes a matrix a Gaussian for each image: a smaller one than elsewhere
IMPORTANCE = 16  # samples of the VAE's bounds
HIDE = 0.9  # most of an image that is hidden where a classifier is trained with random masks
VALIDATED = 1000  # images that choose the best of a family
VAE_IMAGES, COMPLETED_IMAGES = 1000, 1000  # test images that the VAE is asked about, and that the mixture completes
ORDER = 0  # seed of the order in which all are asked about the same images: those who are asked fewer, the first ones

# what becomes of hidden pixels
MARGINAL = "integrated out"
LOCAL = "local mean"
MEAN = "training mean"
MASKED = "local mean, trained with masks"
COMPLETED = "completed by the mixture"

HALF = "half"  # of each image; other masks are the percentage of pixels that are hidden, each by itself
JUDGED = ("50", HALF)
MASKS = {
    "digits": ("0", "50", HALF),
    "mnist": ("0", "50", "90", HALF),
    "fashion_mnist": ("0", "50", HALF),
}

CLAIM = Claim(
    number=3,
    title="Missing pixels hurt generative classifiers less",
    statement="Generative classifiers degrade gracefully when pixels go missing: they integrate them out, where a "
    "discriminative one has to be shown something in their place.",
    source="Ghahramani & Jordan 1994, Supervised learning from incomplete data via an EM approach; Little & Rubin "
    "2002, Statistical analysis with missing data; Murphy 2012, Machine learning: a probabilistic perspective, section "
    "8.6.1 (pros and cons of generative and discriminative classifiers).",
    protocol="Classifiers are asked about test images whose pixels are hidden: each by itself with probability 50 % "
    "(on MNIST also 90 %), or one half of each image (left, right, top or bottom at random). Masks are drawn anew for "
    "each seed; all models of one seed see the same. There are three seeds, and five of naive Bayes, logistic "
    "regression and the MLP; models are trained in their short form, see the claim on plenty of labels. Naive Bayes "
    "and the Gaussian mixture integrate hidden pixels out exactly, on MNIST the conditional VAE by bounds with "
    f"{IMPORTANCE} importance samples a class. The others, on MNIST logistic regression, an MLP and a CNN, on "
    "Fashion-MNIST a CNN, see the local mean, that of the seen pixels in the 3×3 around, or in the next larger window "
    "that shows any; in a second line the mean of all training pixels, one grey value; and the CNN of MNIST also "
    "images that the mixture has completed with its expected pixels. All are trained on complete images, but for one "
    f"more CNN, which is trained for as many passes on images of which a random share up to {HIDE:.0%} is hidden, "
    "single pixels or all along one side, and filled in with the local mean. The mixture is a smaller one than "
    f"elsewhere, {COMPONENTS} Gaussians a class on {PCA} principal directions. All 10,000 test images are asked about, "
    f"but {VAE_IMAGES:,} by the VAE and {COMPLETED_IMAGES:,} where images are completed: the first ones of an order "
    "that is the same for all, so that differences are of the same images. Judged is what 50 % of the pixels and half "
    "an image cost, in points of accuracy, of the best of each family: the model, and what it is shown, that classify "
    f"most of {VALIDATED:,} validation images rightly under masks of the same kind. Intervals hold the error that the "
    "test images bring into these points, image by image.",
    discussion="One grey value in the place of hidden pixels is a straw man: with half of the pixels hidden, and the "
    "mean of those around in their place, a CNN still reads nearly all digits, likely because strokes are wider than "
    "the gaps, and it classifies more digits rightly than the mixture, though it loses more; on Fashion-MNIST it is a "
    "tie. Half an image has nothing around it, and here the integral is worth its price: which strokes may be there, "
    "and how sure that makes each class, is what the mixture knows and a mean does not tell. But a CNN that is trained "
    "with such masks learns from labels what gaps mean, and is ahead of the mixture then, with half an image, too. "
    "What is left of the claim: a density meets gaps that nobody foresaw, and knows what they cost; a classifier has "
    "to be trained for them.",
    version=3,
)


def cases(suite: str) -> list[Case]:
    if suite == "quick":
        lines = [("digits", model, fill, 0.5, 5) for model in roster.QUICK for fill in _fills(model)]
        lines += [("digits", "mlp", MASKED, 1.0, 5), ("digits", "mlp", COMPLETED, 1.0, 5)]
    else:
        lines = [
            ("mnist", "naive_bayes", MARGINAL, 1.0, 5),
            ("mnist", "gmm", MARGINAL, 45.0, 3),
            ("mnist", "vae", MARGINAL, 30.0, 3),
            *(("mnist", model, fill, 2.5, 5) for model in ("logistic_regression", "mlp") for fill in (LOCAL, MEAN)),
            *(("mnist", "cnn", fill, 8.0, 3) for fill in (LOCAL, MEAN)),
            ("mnist", "cnn", MASKED, 44.0, 3),
            ("mnist", "cnn", COMPLETED, 6.0, 3),
            ("fashion_mnist", "naive_bayes", MARGINAL, 1.0, 5),
            ("fashion_mnist", "gmm", MARGINAL, 28.0, 3),
            *(("fashion_mnist", "cnn", fill, 7.0, 3) for fill in (LOCAL, MEAN)),
            ("fashion_mnist", "cnn", MASKED, 44.0, 3),
        ]
    return [
        Case({"data": data, "model": model, "fill": fill, "seed": seed}, seconds)
        for data, model, fill, seconds, seeds in lines
        for seed in range(seeds)
    ]


def _fills(model: str) -> tuple[str, ...]:
    return (MARGINAL,) if model in roster.GENERATIVE else (LOCAL, MEAN)


def words(model: str, data: str, seed: int, fill: str = LOCAL) -> tuple[str, ...]:
    """The words of ``train.py``: the roster's, with masks where it is trained with them; and a mixture small enough to
    be asked about thousands of masks."""
    more: tuple[str, ...] = ()
    if model == "gmm" and data != "digits":
        more = (f"model.num_components={COMPONENTS}", f"model.pca={PCA}")
    elif fill == MASKED:
        more = (f"data.augment.hide={HIDE}",)
    return (*roster.words(model, data, seed), *more)


def measure(case: Mapping[str, Any], lab: Lab) -> dict[str, Any]:
    """For each of ``masks``, in its order: ``accuracy`` on so many test ``images``, and the places of those that are
    ``wrong``, in an order that is the same for all; and ``validated``, the accuracy on validation images, None where
    nothing is chosen by it."""
    data, model_name, fill, seed = case["data"], case["model"], case["fill"], case["seed"]
    model = lab.train(*words(model_name, data, seed, fill))
    if isinstance(model, VAE):
        model.importance_samples = IMPORTANCE
    filler = lab.train(*words("gmm", data, seed)) if fill == COMPLETED else None
    splits = roster.splits(lab, model_name, data, seed)
    masks = [mask for mask in MASKS[data] if fill != COMPLETED or mask in ("0", *JUDGED)]
    measured: dict[str, Any] = {"masks": masks, "accuracy": [], "images": [], WRONG: [], "validated": []}

    def ask(split: Split, mask: str, count: int) -> Row:
        asked = split.shuffled(count, torch.Generator().manual_seed(ORDER))
        return answered(guess(model, asked, mask, fill, seed, filler), asked.labels)

    for mask in masks:
        told_of = ask(splits.test, mask, most(model_name, fill))
        measured["accuracy"].append(told_of["accuracy"])
        measured["images"].append(told_of["tested"])
        measured[WRONG].append(told_of[WRONG])
        measured["validated"].append(ask(splits.val, mask, VALIDATED)["accuracy"] if mask in JUDGED else None)
    return measured


def most(model: str, fill: str) -> int:
    """How many test images to ask a model about at most."""
    if fill == COMPLETED:
        return COMPLETED_IMAGES
    return VAE_IMAGES if model == "vae" else 10_000


def guess(model: Model, split: Split, mask: str, fill: str, seed: int, filler: Model | None = None) -> Tensor:
    """The most probable class of each image from what the ``mask`` leaves of it, ``(N,)``."""
    x, observed = split.x(), None
    if mask != "0":
        kind, share = ("half", 0.5) if mask == HALF else ("mcar", int(mask) / 100)
        observed = observed_mask(kind, len(x), (x.shape[2], x.shape[3]), share, torch.Generator().manual_seed(seed))
    how = {LOCAL: "local", MASKED: "local", MEAN: "mean"}.get(fill)
    return classify(model, x, observed, filler, fill=how).argmax(1)


# What was measured

Line = tuple[str, str]  # a model, and what it is shown


def told(rows: Sequence[Row], quantity: str, data: str, line: Line, mask: str) -> dict[int, Any]:
    """A quantity of a line under a mask, by seed."""
    found = select(rows, data=data, model=line[0], fill=line[1])
    return {row["seed"]: row[quantity][row["masks"].index(mask)] for row in found}


def terms(rows: Sequence[Row], data: str, *lines: tuple[Line, str, int]) -> list[tuple[list[Row], int]]:
    """What ``compared`` needs of a sum of accuracies.

    Of lines that were asked about different numbers of images, the first ones count, which all were asked about.

    Args:
        rows: measured ones.
        data: the data set.
        *lines: a line, the mask it is asked under, and a sign.
    """
    images = min(min(told(rows, "images", data, line, mask).values()) for line, mask, _ in lines)
    return [
        ([{"seed": seed, **of_the_first(images, wrong)}
          for seed, wrong in told(rows, WRONG, data, line, mask).items()], sign)
        for line, mask, sign in lines
    ]  # fmt: skip


def best(rows: Sequence[Row], data: str, mask: str, fills: Collection[str]) -> Line:
    """The line among those that are shown one of ``fills`` that is best on validation images under the mask."""
    lines = dict.fromkeys((row["model"], row["fill"]) for row in select(rows, data=data) if row["fill"] in fills)
    return max(lines, key=lambda line: statistics.fmean(told(rows, "validated", data, line, mask).values()))


def findings(rows: Sequence[Row]) -> list[Finding]:
    found = []
    for data in sources(rows):
        generative = best(rows, data, "50", [MARGINAL])
        found.append(
            compared(
                f"{data}-graceful",
                f"{DATA[data]}: with 50 % of the pixels missing, the best generative classifier ({name(generative[0])})"
                " loses less than one point of accuracy.",
                *terms(rows, data, (generative, "0", 1), (generative, "50", -1)),
                below=1,
            )
        )
        for mask in JUDGED:
            found += _compared(rows, data, mask)
    return found


def _compared(rows: Sequence[Row], data: str, mask: str) -> list[Finding]:
    """What a mask costs the best of each family, and who is more accurate then."""
    gone = "one half of each image" if mask == HALF else f"{mask} % of the pixels"
    generative = best(rows, data, mask, [MARGINAL])
    unprepared, prepared = (best(rows, data, mask, fills) for fills in ((LOCAL, MEAN), (MASKED,)))
    found = []
    for key, rival in (("unprepared", unprepared), ("trained", prepared)):
        signed = (rival, "0", 1), (rival, mask, -1), (generative, "0", -1), (generative, mask, 1)
        found.append(
            compared(
                f"{data}-{mask}-{key}",
                f"{DATA[data]}: with {gone} missing, the best generative classifier ({name(generative[0])}) loses less "
                f"accuracy than the {_who(rival)}.",
                *terms(rows, data, *signed),
                above=0,
            )
        )
    strongest = best(rows, data, mask, (LOCAL, MEAN, MASKED))
    told_of = {
        f"{data}-{mask}-accuracy": (generative, unprepared, "accuracy of the best generative classifier"),
        f"{data}-{mask}-strongest": (generative, strongest, "accuracy of the best generative classifier"),
        f"{data}-{mask}-grey": ((unprepared[0], LOCAL), (unprepared[0], MEAN), "accuracy"),
        f"{data}-{mask}-completed": ((prepared[0], COMPLETED), (prepared[0], LOCAL), "accuracy"),
    }
    for key, (first, second, what) in told_of.items():
        asked = all(told(rows, "images", data, line, mask) for line in (first, second))
        if not asked or (key.endswith("strongest") and strongest == unprepared):
            continue
        found.append(
            compared(
                key,
                f"{DATA[data]}: with {gone} missing, {what} ({_who(first)}), less that of the {_who(second)}.",
                *terms(rows, data, (first, mask, 1), (second, mask, -1)),
            )
        )
    return found


def _who(line: Line) -> str:
    """A model and what it is shown, in words."""
    words_of = {
        MARGINAL: "{}",
        LOCAL: "{} that sees the local mean",
        MEAN: "{} that sees the training mean",
        MASKED: "{} trained with random masks",
        COMPLETED: "{} that sees images completed by the mixture",
    }
    return words_of[line[1]].format(name(line[0]))


def figures(rows: Sequence[Row]) -> dict[str, Figure]:
    drawn = {}
    for data in sources(rows):
        lines = list(dict.fromkeys((row["model"], row["fill"]) for row in rows if row["data"] == data))
        shares = [mask for mask in MASKS[data] if mask != HALF]
        if len(shares) > 2:
            title = f"{DATA[data]}: accuracy as pixels go missing"
            figure, axes = panels.panel(title, "missing pixels, %", "test accuracy, %")
            for line in lines:
                if line[1] == COMPLETED:
                    continue
                points = {float(mask): [100 * value for value in told(rows, "accuracy", data, line, mask).values()]
                          for mask in shares}  # fmt: skip
                panels.curve(axes, points, **_look(*line))
            axes.set_ylim(0, 103)
            panels.legend(axes, loc="lower left", fontsize=6.5)
            drawn[f"{data}-missing"] = figure
        for mask in JUDGED:
            gone = "half of each image" if mask == HALF else f"{mask} % of the pixels"
            figure, axes = panels.panel(f"{DATA[data]}: {gone} missing", "test accuracy, %", "")
            groups = {}
            for line in lines:
                accuracies = told(rows, "accuracy", data, line, mask).values()
                groups[_look(*line)["label"]] = [100 * value for value in accuracies]
            panels.bars(axes, groups, [_look(*line)["color"] for line in lines])
            drawn[f"{data}-{mask}-missing"] = figure
    return drawn


def _look(model: str, fill: str) -> dict[str, Any]:
    look = panels.style(model)
    more: dict[str, dict[str, Any]] = {
        MARGINAL: {},
        LOCAL: {"label": f"{look['label']}, local mean"},
        MEAN: {"label": f"{look['label']}, training mean", "linestyle": ":"},
        MASKED: {"label": f"{look['label']}, trained with masks", "linestyle": "--"},
        COMPLETED: {"label": f"{look['label']}, image completed"},
    }
    return {**look, **more[fill]}
