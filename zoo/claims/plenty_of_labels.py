"""Claim 2: with plenty of labels discriminative models classify better, and what that costs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from zoo import capability
from zoo.benchmarks._process import peak
from zoo.claims import _roster
from zoo.claims._claim import Case, Claim, Finding, Row, differences, select, values
from zoo.claims._lab import Lab
from zoo.models._model import Model
from zoo.report import panels
from zoo.report.panels import DATA, name
from zoo.tasks.evaluate import evaluate
from zoo.tasks.sample_quality import sample_metrics

CLAIM = Claim(
    number=2,
    title="Plenty of labels favour discriminative models",
    statement="With plenty of labels, models of p(y | x) classify better than models of p(x, y); the cost is in "
    "parameters, seconds and memory.",
    source="Vapnik 1998, Statistical learning theory (solve the problem itself, not a more general one); Ng & Jordan "
    "2001, On discriminative vs. generative classifiers; Bouchard & Triggs 2004, The trade-off between generative and "
    "discriminative classifiers.",
    protocol="Each kind of classifier is trained on 55,000 images of MNIST and of Fashion-MNIST, by the recipe of "
    "train.py with few passes, so that a seed takes less than a minute; 5,000 further training images choose the pass "
    "that is kept, and the best model of each family. Accuracy is that of the 10,000 test images. The VAE is "
    "conditional and classifies by Bayes' rule from bounds with 16 importance samples a class. Seconds are of the "
    "training with its validation, nothing else running; images a second are of classifying 1,000 test images, the "
    "third time; memory is the peak of a fresh process that trains for one pass. Samples of the generative models of "
    "MNIST are compared with test images by frozen features; the DCGAN is there for these alone.",
)

IMPORTANCE = 16
SECONDS = {"naive_bayes": 5, "gmm": 35, "hmm": 40, "vae": 65, "dcgan": 75, "logistic_regression": 10, "svm": 20,
           "mlp": 22, "cnn": 40, "rnn": 45}  # fmt: skip


def cases(suite: str) -> list[Case]:
    quick = suite == "quick"
    data = ("digits",) if quick else ("mnist", "fashion_mnist")
    models = _roster.QUICK if quick else _roster.CLASSIFIERS
    seeds = range(2 if quick else 3)
    found = [
        Case({"what": "classifier", "data": name, "model": model, "seed": seed}, 2 if quick else SECONDS[model], True)
        for name in data
        for model in models
        for seed in seeds
    ]
    if quick:
        return found
    makers = (*_roster.GENERATIVE, "dcgan")
    found += [
        Case({"what": "samples", "data": "mnist", "model": model, "seed": seed}, 75 if model == "dcgan" else 10)
        for model in makers
        for seed in seeds
    ]
    return found + [Case({"what": "memory", "data": "mnist", "model": model, "seed": 0}, 12)
                    for model in _roster.CLASSIFIERS]  # fmt: skip


def measure(case: Mapping[str, Any], lab: Lab) -> dict[str, Any]:
    data, words = case["data"], _roster.words(case["model"], case["data"], case["seed"])
    if case["what"] == "memory":
        return {"peak_mib": peak_of(words)}
    if case["what"] == "samples":
        metrics = sample_metrics(lab.train(*words), lab.splits(data), data)
        kept = ("frechet_ratio", "precision", "recall", "coverage", "modes")
        return {key: float(metrics[key]) for key in kept}
    model = lab.train(*words, timed=True)
    splits = lab.splits(data, val_size=200 if data == "digits" else 5000)
    importance = IMPORTANCE if hasattr(model, "importance_samples") else None
    test = evaluate(model, splits.test, importance=importance).metrics
    measured: dict[str, Any] = {
        key: test[key] for key in ("accuracy", "nll", "ece", "log_prob", "density") if key in test
    }
    return {
        **measured,
        "val_accuracy": evaluate(model, splits.val, importance=importance).metrics["accuracy"],
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "file_mib": sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values()) / 2**20,
        "train_seconds": lab.seconds(*words),
        "images_per_second": speed(model, splits.test.images[:1000].float().div(255)),
    }


def speed(model: Model, images: Any) -> float:
    """Images a second that are classified, the third time they are."""
    for _ in range(3):
        started = time.perf_counter()
        capability.classify(model, images)
    return len(images) / (time.perf_counter() - started)


def peak_of(words: Sequence[str]) -> float:
    """MiB of a fresh process at its peak that trains for one pass."""
    rest = [word for word in words if not word.startswith("trainer.max_epochs=")]
    with tempfile.TemporaryDirectory() as folder:
        lab = f"Lab(Path({folder!r}), pretrained=None)"
        imports = "from pathlib import Path\nfrom zoo.claims._lab import Lab"
        return peak(f"{imports}\n{lab}.train(*{[*rest, 'trainer.max_epochs=1']!r})")


def best(rows: Sequence[Row], data: str, family: Sequence[str]) -> str:
    """The model of a family with the best mean accuracy on validation images."""
    there = [model for model in family if select(rows, what="classifier", data=data, model=model)]
    return max(there, key=lambda model: sum(values(rows, "val_accuracy", what="classifier", data=data, model=model)))


def findings(rows: Sequence[Row]) -> list[Finding]:
    found = []
    for data in dict.fromkeys(row["data"] for row in rows):
        of = {"what": "classifier", "data": data}
        first, second = (best(rows, data, family) for family in (_roster.DISCRIMINATIVE, _roster.GENERATIVE))
        ahead, behind = (values(rows, "accuracy", **of, model=model) for model in (first, second))
        found.append(
            Finding(
                f"{data}-accuracy",
                f"{DATA[data]}: the best discriminative model ({name(first)}) is more accurate than the best "
                f"generative one ({name(second)})",
                differences(ahead, behind, 100),
                "points",
                above=0,
            )
        )
        for quantity, what in (("parameters", "parameters"), ("train_seconds", "seconds of training")):
            pair = [values(rows, quantity, **of, model=model) for model in (first, second)]
            ratios = [a / b for a, b in zip(*pair, strict=True)]
            text = f"{DATA[data]}: {what} of the {name(first)} over those of the {name(second)}"
            found.append(Finding(f"{data}-{quantity}", text, ratios, "×"))
    return found


def figures(rows: Sequence[Row]) -> dict[str, Figure]:
    drawn = {}
    for data in dict.fromkeys(row["data"] for row in rows):
        kept = select(rows, what="classifier", data=data)
        for quantity, title, unit in (
            ("train_seconds", "what accuracy costs in time", "seconds of training (log)"),
            ("parameters", "what accuracy costs in size", "parameters (log)"),
        ):
            figure, axes = panels.panel(f"{DATA[data]}: {title}", unit, "test error, % (log)")
            for model in dict.fromkeys(row["model"] for row in kept):
                x = values(kept, quantity, model=model)
                y = [100 * (1 - value) for value in values(kept, "accuracy", model=model)]
                axes.plot(x, y, linestyle="none", markersize=6, **panels.style(model))
            panels.logarithmic(axes, "x", "y")
            axes.margins(0.12)
            panels.legend(axes, loc="upper left", bbox_to_anchor=(1, 1))
            drawn[f"{data}-{quantity}"] = figure
    memory = select(rows, what="memory")
    if memory:
        figure, axes = panels.panel("MNIST: memory of one training pass", "MiB at the peak of the process", "")
        groups = {name(row["model"]): [row["peak_mib"]] for row in sorted(memory, key=lambda row: row["peak_mib"])}
        panels.bars(axes, groups)
        drawn["memory"] = figure
    return drawn
