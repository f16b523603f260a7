"""Claim 3: generative classifiers degrade gracefully when pixels go missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from matplotlib.figure import Figure

from zoo.base.model import Model
from zoo.models.vae import VAE
from zoo.questions.classify import classify
from zoo.tasks.impute import observed_mask
from zoo.textbook import roster
from zoo.textbook.claim import Case, Claim, Finding, Row, differences, select, values
from zoo.textbook.lab import Lab
from zoo.textbook.report import panels
from zoo.textbook.report.panels import DATA, name

COMPONENTS, PCA = 16, 30  # of the mixture, which makes a matrix a Gaussian for each image: a smaller one than elsewhere

CLAIM = Claim(
    number=3,
    title="Missing pixels hurt generative classifiers less",
    statement="Generative classifiers degrade gracefully when pixels go missing: they integrate them out, where a "
    "discriminative one has to be shown something in their place.",
    source="Ghahramani & Jordan 1994, Supervised learning from incomplete data via an EM approach; Little & Rubin "
    "2002, Statistical analysis with missing data; Murphy 2012, Machine learning: a probabilistic perspective, section "
    "8.6.1 (pros and cons of generative and discriminative classifiers).",
    protocol="Classifiers are trained on complete images and asked about test images, drawn anew for each seed, whose "
    "pixels are hidden: each by itself with probability 25, 50, 75 or 90 %, or one half of each image (left, right, "
    "top or bottom at random). Models of one seed see the same images and pixels, some the first of them alone. Naive "
    "Bayes and the Gaussian mixture integrate hidden pixels out exactly, the conditional VAE by bounds with 16 "
    "importance samples a class; the others see the mean of the training pixels in their place, or, the CNN, the "
    "expected image of the Gaussian mixture as well. The mixture is a smaller one than elsewhere, "
    f"{COMPONENTS} Gaussians a class on {PCA} principal directions. It and the cheap models are asked about 1,000 to "
    "2,000 images, the VAE and the CNN with the mixture about 500. The best generative classifier is the one that is "
    "most accurate with 50 % of the pixels missing.",
)

IMPORTANCE = 16
SHARES = {
    "digits": (0.0, 0.5, 0.9),
    "mnist": (0.0, 0.25, 0.5, 0.75, 0.9),
    "fashion_mnist": (0.0, 0.5),
}  # of missing pixels
MARGINAL, MEAN = "integrated out", "training mean"  # what becomes of hidden pixels; or a model completes them
RIVAL = {"digits": "mlp", "mnist": "cnn", "fashion_mnist": "cnn"}  # of the mixture: the strongest that is asked


def cases(suite: str) -> list[Case]:
    if suite == "quick":
        asked = [("digits", model, _fill(model), 200, 1.0) for model in roster.QUICK]
        asked += [("digits", "mlp", "gmm", 200, 1.5)]
    else:
        asked = [
            ("mnist", "naive_bayes", MARGINAL, 2000, 2.0),
            ("mnist", "gmm", MARGINAL, 2000, 40.0),
            ("mnist", "vae", MARGINAL, 500, 7.0),
            *(("mnist", model, MEAN, 2000, 2.0) for model in ("logistic_regression", "mlp", "cnn")),
            ("mnist", "cnn", "gmm", 500, 13.0),
            ("fashion_mnist", "naive_bayes", MARGINAL, 1000, 1.0),
            ("fashion_mnist", "gmm", MARGINAL, 1000, 9.0),
            *(("fashion_mnist", model, MEAN, 1000, 1.0) for model in ("logistic_regression", "cnn")),
        ]
    return [
        Case({"data": data, "model": model, "fill": fill, "images": images, "seed": seed}, seconds)
        for data, model, fill, images, seconds in asked
        for seed in range(2 if suite == "quick" else 3)
    ]


def _fill(model: str) -> str:
    return MARGINAL if model in roster.GENERATIVE else MEAN


def words(model: str, data: str, seed: int) -> tuple[str, ...]:
    """The words of ``train.py``: the roster's, and a mixture small enough to be asked about thousands of masks."""
    smaller = (f"model.num_components={COMPONENTS}", f"model.pca={PCA}") if model == "gmm" and data != "digits" else ()
    return (*roster.words(model, data, seed), *smaller)


def measure(case: Mapping[str, Any], lab: Lab) -> dict[str, Any]:
    """``mcar``: accuracies with the data's :data:`SHARES` of pixels missing; ``half``: with half an image missing."""
    data, seed, count = case["data"], case["seed"], case["images"]
    model = lab.train(*words(case["model"], data, seed))
    if isinstance(model, VAE):
        model.importance_samples = IMPORTANCE
    filler = None if case["fill"] in (MARGINAL, MEAN) else lab.train(*words(case["fill"], data, seed))
    test = lab.splits(data, val_size=200 if data == "digits" else 5000).test
    chosen = test.shuffled(count, torch.Generator().manual_seed(seed))
    x, labels = chosen.x(), chosen.labels
    masks = [("mcar", share) for share in SHARES[data]] + [("half", 0.5)]
    accuracies = []
    for kind, share in masks:
        generator = torch.Generator().manual_seed(seed)
        observed = observed_mask(kind, len(x), (x.shape[2], x.shape[3]), share, generator)
        accuracies.append(accuracy(model, x, labels, None if observed.all() else observed, filler))
    return {"mcar": accuracies[:-1], "half": accuracies[-1]}


def accuracy(
    model: Model, x: torch.Tensor, labels: torch.Tensor, observed: torch.Tensor | None, filler: Model | None
) -> float:
    """The share of images that are classified rightly from their ``observed`` pixels; from all if left out."""
    log_proba = classify(model, x, observed, filler)
    return float((log_proba.argmax(1) == labels).double().mean())


def at(rows: Sequence[Row], data: str, model: str, share: float, fill: str | None = None) -> list[float]:
    """Accuracies in per cent with that share of pixels missing, one a seed."""
    place = SHARES[data].index(share)
    return [100 * row["mcar"][place] for row in select(rows, data=data, model=model, fill=fill or _fill(model))]


def drop(rows: Sequence[Row], data: str, model: str) -> list[float]:
    """Points of accuracy that 50 % missing pixels cost, one a seed."""
    return differences(at(rows, data, model, 0.0), at(rows, data, model, 0.5))


def findings(rows: Sequence[Row]) -> list[Finding]:
    found = []
    for data in dict.fromkeys(row["data"] for row in rows):
        rival = RIVAL[data]
        asked = {row["model"] for row in select(rows, data=data) if row["fill"] == MARGINAL}
        best = max(sorted(asked), key=lambda model: sum(at(rows, data, model, 0.5)) / len(at(rows, data, model, 0.5)))
        found.append(
            Finding(
                f"{data}-half-missing",
                f"{DATA[data]}: with 50 % of the pixels missing, the best generative classifier ({name(best)}) loses "
                "less than one point of accuracy.",
                drop(rows, data, best),
                "points",
                below=1,
            )
        )
        for robust, fragile in (("gmm", rival), ("naive_bayes", "logistic_regression")):
            found.append(
                Finding(
                    f"{data}-{robust}-{fragile}",
                    f"{DATA[data]}: with 50 % of the pixels missing, {name(fragile)} with the training mean in their "
                    f"place loses more accuracy than {name(robust)}, which integrates them out.",
                    differences(drop(rows, data, fragile), drop(rows, data, robust)),
                    "points",
                    above=0,
                )
            )
        if not select(rows, data=data, fill="gmm"):
            continue
        whole, strong = (values(rows, "half", data=data, model=model, fill=_fill(model)) for model in ("gmm", rival))
        found.append(
            Finding(
                f"{data}-half-image",
                f"{DATA[data]}: with one half of each image missing, {name('gmm')} is more accurate than {name(rival)} "
                "with the training mean in its place.",
                differences(whole, strong, 100),
                "points",
                above=0,
            )
        )
        found.append(
            Finding(
                f"{data}-completed",
                f"{DATA[data]}: with 50 % of the pixels missing, accuracy of the {name(rival)} on images that the "
                f"{name('gmm')} has completed, less that of the {name('gmm')} itself.",
                differences(at(rows, data, rival, 0.5, "gmm"), at(rows, data, "gmm", 0.5)),
                "points",
            )
        )
    return found


def figures(rows: Sequence[Row]) -> dict[str, Figure]:
    drawn = {}
    for data in dict.fromkeys(row["data"] for row in rows):
        shares = SHARES[data]
        lines = list(dict.fromkeys((row["model"], row["fill"]) for row in rows if row["data"] == data))
        looks = {line: _look(*line) for line in lines}
        kinds = ["half-missing"]
        if len(shares) > 2:
            kinds.append("half-image")
            title = f"{DATA[data]}: accuracy as pixels go missing"
            figure, axes = panels.panel(title, "missing pixels, %", "test accuracy, %")
            for model, fill in lines:
                points = {100 * share: at(rows, data, model, share, fill) for share in shares}
                panels.curve(axes, points, **looks[model, fill])
            axes.set_ylim(0, 103)
            panels.legend(axes, loc="lower left")
            drawn[f"{data}-missing"] = figure
        for key in kinds:
            title = "half of each image missing" if key == "half-image" else "50 % of the pixels missing"
            figure, axes = panels.panel(f"{DATA[data]}: {title}", "points of accuracy lost", "")
            groups = {}
            for model, fill in lines:
                complete = at(rows, data, model, 0.0, fill)
                of_half = [100 * value for value in values(rows, "half", data=data, model=model, fill=fill)]
                left = of_half if key == "half-image" else at(rows, data, model, 0.5, fill)
                groups[looks[model, fill]["label"]] = differences(complete, left)
            panels.bars(axes, groups, [looks[line]["color"] for line in lines])
            drawn[f"{data}-{key}"] = figure
    return drawn


def _look(model: str, fill: str) -> dict[str, Any]:
    look = panels.style(model)
    if fill in (MARGINAL, MEAN):
        return look
    return {**look, "label": f"{look['label']}, image completed", "linestyle": "--", "marker": "x", "color": "#444b54"}
