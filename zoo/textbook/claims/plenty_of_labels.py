"""Claim 2: with plenty of labels discriminative models classify better, and what that costs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from matplotlib.figure import Figure

from zoo.base.model import Model
from zoo.metrics.detection import auroc
from zoo.models.vae import VAE
from zoo.questions.classify import classify
from zoo.run.process import peak
from zoo.tasks.detect import fit, score_names
from zoo.tasks.evaluate import evaluate
from zoo.tasks.impute import observed_mask
from zoo.tasks.sample_quality import comparable_ratio, sample_metrics
from zoo.textbook import roster
from zoo.textbook.claim import Case, Claim, Finding, Row, differences, select, values
from zoo.textbook.claims.learning_curves import EPOCHS, LEAST
from zoo.textbook.lab import Lab
from zoo.textbook.report import panels
from zoo.textbook.report.panels import DATA, name

CLAIM = Claim(
    number=2,
    title="Plenty of labels favour discriminative models",
    statement="With plenty of labels, models of p(y | x) classify better than models of p(x, y); the cost is in "
    "parameters, seconds and memory.",
    source="Vapnik 1998, Statistical learning theory (solve the problem itself, not a more general one); Ng & Jordan "
    "2001, On discriminative vs. generative classifiers; Bouchard & Triggs 2004, The trade-off between generative and "
    "discriminative classifiers.",
    protocol="Each kind of classifier is trained on 55,000 images of MNIST and of Fashion-MNIST, by the recipe of "
    "train.py with few passes, so that a seed takes about a minute; 5,000 further training images choose the pass "
    "that is kept, and the best model of each family. Accuracy is that of the 10,000 test images. The VAE is "
    "conditional and classifies by Bayes' rule from bounds with 8 importance samples a class. Seconds are of the "
    "training with its validation, nothing else running; images a second are of classifying 1,000 test images, the "
    "third time; memory is the peak of a fresh process that trains for one pass. What else the models can do is "
    "measured for the table of models below. Few labels: trained anew on 100 images, gradients with the "
    "passes of claim 1, the mixture with one Gaussian a class. Missing pixels: of 300 test images, each pixel hidden "
    "with probability one half, integrated out or, by models that cannot, seen as the training mean. Anomalies: 1,000 "
    "test images of the other data set against as many of its own, by one score for each family: likelihood corrected "
    "for complexity, or the Mahalanobis distance of features (the maximum softmax of the SVM, whose features are too "
    "many). Samples of generative models of MNIST are compared with "
    "test images by frozen features; the DCGAN is there for these alone.",
)

IMPORTANCE = 8
SECONDS = {"naive_bayes": 5, "gmm": 35, "hmm": 40, "vae": 65, "dcgan": 75, "logistic_regression": 10, "svm": 20,
           "mlp": 22, "cnn": 40, "rnn": 45}  # fmt: skip
FEW = (100,)  # labels
HALF = 50  # % of the pixels
SCORES = ("complexity", "mahalanobis", "max_softmax")  # of anomalies: the first that a model has
MASKED, STRANGE = 300, 1000  # images with missing pixels; anomalies
OTHER = {"mnist": "fashion_mnist", "fashion_mnist": "mnist"}


def cases(suite: str) -> list[Case]:
    quick = suite == "quick"
    models = roster.QUICK if quick else roster.CLASSIFIERS
    seeds = range(2 if quick else 3)

    def each(what: str, data: str, seconds: float, models: Sequence[str] = models, **more: Any) -> list[Case]:
        parameters = {"what": what, "data": data, **more}
        return [Case({**parameters, "model": model, "seed": seed}, seconds) for model in models for seed in seeds]

    if quick:
        found = [Case(case.parameters, 2, timed=True) for case in each("classifier", "digits", 2)]
        return [*found, *each("few", "digits", 1, n=FEW[0]), *each("missing", "digits", 1, missing=HALF)]
    found = [
        Case(case.parameters, SECONDS[case.parameters["model"]], timed=True)
        for data in OTHER
        for case in each("classifier", data, 0)
    ]
    for n in FEW:
        found += each("few", "mnist", 4, n=n)
    found += each("missing", "mnist", 4, missing=HALF)
    for data in OTHER:
        found += each("anomalies", data, 2)
    found += each("samples", "mnist", 10, roster.GENERATIVE) + each("samples", "mnist", 75, ["dcgan"])
    return found + [case for case in each("memory", "mnist", 12) if case.parameters["seed"] == 0]


def measure(case: Mapping[str, Any], lab: Lab) -> dict[str, Any]:
    what, data, seed = case["what"], case["data"], case["seed"]
    words = roster.words(case["model"], data, seed)
    if what == "classifier":
        return classifier(words, data, lab)
    if what == "few":
        return {"accuracy": few(case["model"], data, seed, case["n"], lab)}
    if what == "memory":
        return {"peak_mib": peak_of(words)}
    model, splits = lab.train(*words), lab.splits(data, val_size=200 if data == "digits" else 5000)
    if isinstance(model, VAE):
        model.importance_samples = IMPORTANCE
    if what == "samples":
        metrics = sample_metrics(model, splits, data)
        told = {key: float(metrics[key]) for key in ("precision", "recall", "coverage", "modes")}
        return told | {"frechet_ratio": comparable_ratio(metrics, case["model"])}
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(splits.test), generator=generator)
    if what == "missing":
        part = splits.test.take(chosen[:MASKED])
        x = part.x()
        observed = observed_mask("mcar", len(x), (x.shape[2], x.shape[3]), case["missing"] / 100, generator)
        return {"accuracy": float((classify(model, x, observed).argmax(1) == part.labels).double().mean())}
    strange = lab.splits(OTHER[data], val_size=5000).test.shuffled(STRANGE, generator).images
    available = score_names(model)
    score = next(name for name in SCORES if name in available)
    detector = fit(model, splits.train, [score])
    return {"auroc": auroc(*(detector(images)[score] for images in (splits.test.images[chosen[:STRANGE]], strange)))}


def classifier(words: Sequence[str], data: str, lab: Lab) -> dict[str, Any]:
    """What a model that is trained on all labels reaches, and what it costs."""
    model = lab.train(*words, timed=True)
    splits = lab.splits(data, val_size=200 if data == "digits" else 5000)
    if isinstance(model, VAE):
        model.importance_samples = IMPORTANCE
    test = evaluate(model, splits.test).metrics
    measured: dict[str, Any] = {
        key: test[key] for key in ("accuracy", "nll", "ece", "log_prob", "density") if key in test
    }
    return {
        **measured,
        "val_accuracy": evaluate(model, splits.val).metrics["accuracy"],
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "file_mib": sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values()) / 2**20,
        "train_seconds": lab.seconds(*words),
        "images_per_second": speed(model, splits.test.take(slice(1000)).x()),
    }


def few(model: str, data: str, seed: int, n: int, lab: Lab) -> float:
    """Test accuracy after training on ``n`` images, equally many a class, which gradients see as often as more."""
    splits = lab.splits(data, train_size=n, split_seed=seed)
    train, words = splits.train, [*roster.words(model, data, seed), "data.augment={shift: 0, flip: false, erase: 0.0}"]
    if model == "gmm":
        words.append("model.num_components=1")
    elif model not in roster.GENERATIVE or model == "vae":
        train = train.take(torch.arange(n).repeat(-(-LEAST // n)))
        words = [word for word in words if not word.startswith("trainer.max_epochs=")]
        words.append(f"trainer.max_epochs={EPOCHS}")
    trained = lab.fit(*words, train=train)
    if isinstance(trained, VAE):
        trained.importance_samples = IMPORTANCE
    return evaluate(trained, splits.test).metrics["accuracy"]


def speed(model: Model, images: Any) -> float:
    """Images a second that are classified, the third time they are."""
    for _ in range(3):
        started = time.perf_counter()
        classify(model, images)
    return len(images) / (time.perf_counter() - started)


def peak_of(words: Sequence[str]) -> float:
    """MiB of a fresh process at its peak that trains for one pass."""
    rest = [word for word in words if not word.startswith("trainer.max_epochs=")]
    with tempfile.TemporaryDirectory() as folder:
        lab = f"Lab(Path({folder!r}), pretrained=None)"
        imports = "from pathlib import Path\nfrom zoo.textbook.lab import Lab"
        return peak(f"{imports}\n{lab}.train(*{[*rest, 'trainer.max_epochs=1']!r})")


def best(rows: Sequence[Row], data: str, family: Sequence[str]) -> str:
    """The model of a family with the best mean accuracy on validation images."""
    there = [model for model in family if select(rows, what="classifier", data=data, model=model)]
    return max(there, key=lambda model: sum(values(rows, "val_accuracy", what="classifier", data=data, model=model)))


def findings(rows: Sequence[Row]) -> list[Finding]:
    found = []
    for data in dict.fromkeys(row["data"] for row in rows):
        of = {"what": "classifier", "data": data}
        first, second = (best(rows, data, family) for family in (roster.DISCRIMINATIVE, roster.GENERATIVE))
        ahead, behind = (values(rows, "accuracy", **of, model=model) for model in (first, second))
        found.append(
            Finding(
                f"{data}-accuracy",
                f"{DATA[data]}: the best discriminative model ({name(first)}) is more accurate than the best "
                f"generative one ({name(second)}).",
                differences(ahead, behind, 100),
                "points",
                above=0,
            )
        )
        for quantity, what in (("parameters", "parameters"), ("train_seconds", "seconds of training")):
            pair = [values(rows, quantity, **of, model=model) for model in (first, second)]
            ratios = [a / b for a, b in zip(*pair, strict=True)]
            text = f"{DATA[data]}: {what} of the {name(first)} over those of the {name(second)}."
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
