"""The claim of plenty of labels, and what else its models are asked for the table of models."""

from __future__ import annotations

import json

import pytest
import torch

import zoo
from zoo.tasks.detect import score_names
from zoo.textbook import roster
from zoo.textbook.claim import NOT_SUPPORTED, SUPPORTED, verdict
from zoo.textbook.claims import plenty_of_labels as claim
from zoo.textbook.lab import Lab
from zoo.textbook.needs import NEEDS

pytestmark = pytest.mark.usefixtures("one_thread")


def rows(best: float, validated: float) -> list[dict]:
    """The CNN at ``best``, an MLP that is better on validation images alone where ``validated`` says so; 90 % else."""
    accuracies = {"cnn": (best, 0.95), "mlp": (0.91, validated), "gmm": (0.94, 0.94), "naive_bayes": (0.8, 0.8)}
    return [
        {"what": "classifier", "data": "mnist", "model": model, "seed": seed, "accuracy": test + seed / 1000,
         "val_accuracy": val, "parameters": 100 * (1 + number), "train_seconds": 2.0 * (1 + number)}
        for number, (model, (test, val)) in enumerate(accuracies.items()) for seed in range(3)
    ]  # fmt: skip


def test_the_best_of_each_family_are_compared():
    found = {finding.key: finding for finding in claim.findings(rows(0.99, 0.9))}
    assert found["mnist-accuracy"].estimate == pytest.approx(5)
    assert found["mnist-parameters"].estimate == pytest.approx(1 / 3)  # the CNN's over the mixture's
    assert found["mnist-train_seconds"].estimate == pytest.approx(1 / 3)
    assert verdict([*found.values()]) == SUPPORTED


def test_the_best_is_chosen_by_validation_images():
    found = {finding.key: finding for finding in claim.findings(rows(0.99, 0.97))}
    assert found["mnist-accuracy"].estimate == pytest.approx(-3)  # the MLP's 91 % on test images
    assert verdict([*found.values()]) == NOT_SUPPORTED


def test_figures():
    memory = [{"what": "memory", "data": "mnist", "model": "mlp", "seed": 0, "peak_mib": 700.0}]
    figures = claim.figures(rows(0.99, 0.9) + memory)
    assert set(figures) == {"mnist-train_seconds", "mnist-parameters", "memory"}
    lines = {line.get_label(): line for line in figures["mnist-parameters"].axes[0].get_lines()}
    assert list(lines["CNN"].get_xdata()) == [100, 100, 100]
    assert list(lines["CNN"].get_ydata()) == pytest.approx([1.0, 0.9, 0.8])


@pytest.mark.parametrize("model", roster.CLASSIFIERS)
def test_every_model_has_a_score_of_anomalies(model):
    """A case that asks for one that its model lacks would end the whole suite."""
    words = (word.partition("=") for word in roster.words(model, "mnist", 0))
    options = {key.removeprefix("model."): json.loads(text) for key, _, text in words if key.startswith("model.")}
    with torch.random.fork_rng(devices=[]):
        available = score_names(zoo.create(model, **options))
    score = next(name for name in claim.SCORES if name in available)
    generative = model in roster.GENERATIVE
    assert score == ("complexity" if generative else "max_softmax" if model == "svm" else "mahalanobis")


def test_every_need_is_measured():
    asked = {case.parameters["what"] for case in claim.cases("textbook")}
    wanted = {need.where["what"] for need in NEEDS if "what" in need.where}
    assert wanted <= asked
    assert {"samples", "anomalies", "memory"} <= asked


def test_measured_on_digits(tmp_path):
    lab = Lab(tmp_path, alone=True, pretrained=None)
    base = {"data": "digits", "model": "naive_bayes", "seed": 0}
    classifier = claim.measure({"what": "classifier", **base}, lab)
    assert 0.85 < classifier["accuracy"] < 1
    assert classifier["parameters"] == 10 * 28 * 28
    assert classifier["train_seconds"] > 0
    assert classifier["density"] == "exact, binary"
    few = claim.measure({"what": "few", "n": 50, **base}, lab)
    missing = claim.measure({"what": "missing", "missing": 75, **base}, lab)
    assert 0.5 < few["accuracy"] < classifier["accuracy"]
    assert 0.5 < missing["accuracy"] < classifier["accuracy"]
    assert claim.measure({"what": "missing", "missing": 75, **base}, lab) == missing
