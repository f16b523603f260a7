"""Claim 13: calibration before and after temperature scaling, generative and discriminative."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from zoo.metrics.calibration import scaled, temperature
from zoo.metrics.classification import reliability, summarize
from zoo.models.vae import VAE
from zoo.questions.classify import classify
from zoo.textbook import roster
from zoo.textbook.claim import Case, Claim, Finding, Row, differences, select, values
from zoo.textbook.lab import Lab
from zoo.textbook.report import panels
from zoo.textbook.report.panels import DATA, name

CLAIM = Claim(
    number=13,
    title="Generative classifiers are too sure of themselves, and a temperature helps",
    statement="Generative classifiers, whose pixels are not as independent as they say, are badly calibrated; "
    "discriminative ones less so. One number, a temperature, repairs much of it.",
    source="Domingos & Pazzani 1997, On the optimality of the simple Bayesian classifier under zero-one loss; "
    "Niculescu-Mizil & Caruana 2005, Predicting good probabilities with supervised learning; Guo, Pleiss, Sun & "
    "Weinberger 2017, On calibration of modern neural networks.",
    protocol="Classifiers are trained as for the claim on plenty of labels. The temperature with the least negative "
    "log-likelihood is fitted on the 5,000 training images that were held out of training, and chose the pass that is "
    "kept; expected calibration error (15 bins of equal width) and log-likelihood are those of 5,000 test images, "
    "drawn anew for each seed. The VAE classifies by bounds with 16 importance samples a class, of 1,000 validation "
    "and 2,000 test images. The SVM, which has no probabilities of its own, has a temperature fitted on the "
    "same images as part of its training. The error of a family is the mean over its models.",
    discussion="Generative classifiers are as badly calibrated as is said, and a temperature repairs most of it. Of "
    "the discriminative ones it moves hardly any: they are small, were trained for a few passes, and have little to "
    "repair, unlike the deep networks for which Guo et al. found the remedy. What grows on MNIST is the error of "
    "logistic regression alone, from 0.8 to 2.0 points: the temperature with the best likelihood, 1.1, is not the one "
    "with the best calibration by bins.",
)

IMPORTANCE = 16
SECONDS = {"naive_bayes": 1, "gmm": 5, "hmm": 5, "vae": 9, "svm": 1.5, "cnn": 1.5, "rnn": 2}  # others 1


def cases(suite: str) -> list[Case]:
    quick = suite == "quick"
    return [
        Case({"data": data, "model": model, "seed": seed}, 0.5 if quick else SECONDS.get(model, 1))
        for data in (("digits",) if quick else ("mnist", "fashion_mnist"))
        for model in (roster.QUICK if quick else roster.CLASSIFIERS)
        for seed in range(2 if quick else 3)
    ]


def measure(case: Mapping[str, Any], lab: Lab) -> dict[str, Any]:
    """``accuracy``, ``temperature``; with the suffix ``_before`` and ``_after`` scaling: ``nll`` (nats), ``ece``,
    ``surplus`` (mean confidence less accuracy), and each bin's ``confidence``, ``right`` (both None where it is empty)
    and ``count``."""
    data, seed = case["data"], case["seed"]
    model = lab.train(*roster.words(case["model"], data, seed))
    splits = lab.splits(data, val_size=200 if data == "digits" else 5000)
    counts = (200, 200) if data == "digits" else (5000, 5000)
    if isinstance(model, VAE):
        model.importance_samples = IMPORTANCE
        counts = (1000, 2000)
    val, test = (
        split.shuffled(count, torch.Generator().manual_seed(seed))
        for split, count in zip((splits.val, splits.test), counts, strict=True)
    )
    of_val, of_test = (classify(model, split.x()) for split in (val, test))
    heat = temperature(of_val, val.labels)
    measured: dict[str, Any] = {"temperature": heat, "accuracy": summarize(of_test, test.labels)["accuracy"]}
    for when, log_proba in (("before", of_test), ("after", scaled(of_test, heat))):
        summary = summarize(log_proba, test.labels)
        confidence, right, count = (bins.tolist() for bins in reliability(log_proba, test.labels))
        filled = [number > 0 for number in count]
        measured |= {
            f"nll_{when}": summary["nll"],
            f"ece_{when}": summary["ece"],
            f"surplus_{when}": float(log_proba.double().amax(1).exp().mean()) - summary["accuracy"],
            f"confidence_{when}": [value if there else None for value, there in zip(confidence, filled, strict=True)],
            f"right_{when}": [value if there else None for value, there in zip(right, filled, strict=True)],
            f"count_{when}": count,
        }
    return measured


def of_family(rows: Sequence[Row], quantity: str, data: str, family: Sequence[str]) -> list[float]:
    """The mean over a family's models that were measured, one a seed, in points (hundredths)."""
    there = [model for model in family if select(rows, data=data, model=model)]
    columns = [values(rows, quantity, data=data, model=model) for model in there]
    return [100 * sum(row) / len(row) for row in zip(*columns, strict=True)]


def findings(rows: Sequence[Row]) -> list[Finding]:
    found = []
    families = {"generative": roster.GENERATIVE, "discriminative": roster.DISCRIMINATIVE}
    for data in dict.fromkeys(row["data"] for row in rows):
        before, after = (
            {which: of_family(rows, f"ece_{when}", data, family) for which, family in families.items()}
            for when in ("before", "after")
        )
        surplus = [100 * value for value in values(rows, "surplus_before", data=data, model="naive_bayes")]
        found += [
            Finding(
                f"{data}-naive-bayes",
                f"{DATA[data]}: naive Bayes is more confident, on average, than it is right.",
                surplus,
                "points",
                above=0,
            ),
            Finding(
                f"{data}-families",
                f"{DATA[data]}: as they are, generative classifiers have a larger calibration error than "
                "discriminative ones.",
                differences(before["generative"], before["discriminative"]),
                "points",
                above=0,
            ),
        ]
        found += [
            Finding(
                f"{data}-{which}-scaled",
                f"{DATA[data]}: a temperature makes the calibration error of {which} classifiers smaller.",
                differences(before[which], after[which]),
                "points",
                above=0,
            )
            for which in families
        ]
    return found


def figures(rows: Sequence[Row]) -> dict[str, Figure]:
    drawn_ = {}
    for data in dict.fromkeys(row["data"] for row in rows):
        kept = select(rows, data=data)
        models = [model for model in roster.CLASSIFIERS if select(kept, model=model)]
        figure, axes = panels.panel(
            f"{DATA[data]}: error before → after scaling", "expected calibration error, points (log)", ""
        )
        for place, model in enumerate(models):
            look = panels.style(model)
            pair = [
                sum(values(kept, f"ece_{when}", model=model)) / len(select(kept, model=model))
                for when in ("before", "after")
            ]
            heat = sum(values(kept, "temperature", model=model)) / len(select(kept, model=model))
            start, end = (100 * value for value in pair)
            axes.plot([start, end], [place, place], color=look["color"], linewidth=0.5)
            axes.annotate("", (end, place), (start, place), arrowprops={"arrowstyle": "->", "color": look["color"]})
            axes.plot(start, place, look["marker"], color=look["color"], markerfacecolor=look["markerfacecolor"])
            axes.annotate(f"T = {heat:.3g}", (1.02, place), xycoords=("axes fraction", "data"), fontsize=8, va="center",
                          color=panels.INK, annotation_clip=False)  # fmt: skip
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_yticks(range(len(models)), [name(model) for model in models], fontsize=8, color=panels.INK)
        axes.invert_yaxis()
        drawn_[f"{data}-errors"] = figure
        if data == "mnist":  # nearly all of its confidences are near one
            continue
        for when in ("before", "after"):
            title = f"{DATA[data]}: reliability {when} scaling"
            figure, axes = panels.panel(title, "confidence", "accuracy")
            axes.plot([0, 1], [0, 1], color=panels.FAINT, linewidth=1)
            for model in models:
                axes.plot(*curve(select(kept, model=model), when), markersize=4, linewidth=1.2, **panels.style(model))
            axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
            panels.legend(axes, loc="upper left", fontsize=7)
            drawn_[f"{data}-reliability-{when}"] = figure
    return drawn_


def curve(rows: Sequence[Row], when: str, least: float = 20) -> tuple[list[float], list[float]]:
    """Confidence and accuracy of each bin, of all seeds together; bins of fewer than ``least`` images are left out."""
    points = []
    for place in range(len(rows[0][f"count_{when}"])):
        total = sum(row[f"count_{when}"][place] for row in rows)
        if total >= least:
            sums = [
                sum(row[f"count_{when}"][place] * (row[f"{key}_{when}"][place] or 0) for row in rows)
                for key in ("confidence", "right")
            ]
            points.append([value / total for value in sums])
    return [point[0] for point in points], [point[1] for point in points]
