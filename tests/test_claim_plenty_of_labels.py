"""The claim of plenty of labels, and what else its models are asked for the tables of models."""

from __future__ import annotations

import pytest

from zoo import config as configuration
from zoo.files import CONFIGS
from zoo.textbook import roster
from zoo.textbook.claim import NOT_SUPPORTED, SUPPORTED, Case, paired_error, verdict
from zoo.textbook.claims import plenty_of_labels as claim
from zoo.textbook.lab import Lab
from zoo.textbook.needs import NEEDS
from zoo.textbook.roster import RECIPE, SHORT

pytestmark = pytest.mark.usefixtures("one_thread")


IMAGES = 2000  # for test


def row(model: str, budget: str, seed: int, test: float, val: float, **more: float) -> dict:
    wrong = list(range(round((1 - test) * IMAGES)))
    found = {"what": "classifier", "data": "mnist", "model": model, "budget": budget, "seed": seed, "parameters": 100}
    return found | {"accuracy": test, "tested": IMAGES, "wrong": wrong, "val_accuracy": val, **more}


def rows(best: float, validated: float) -> list[dict]:
    """The CNN at ``best``, an MLP that is better on validation images alone where ``validated`` says so; 90 % else.

    The CNN's short form is 2 points behind it. The first seed alone is timed.
    """
    found = []
    for seed in range(3):
        seconds = [{"train_seconds": value} if seed == 0 else {} for value in (40.0, 20.0, 10.0, 2.0)]
        found += [
            row("cnn", RECIPE, seed, best + seed / 1000, 0.95, **seconds[0]),
            row("cnn", SHORT, seed, best - 0.02 + seed / 1000, 0.93, **seconds[0]),
            row("mlp", RECIPE, seed, 0.91, validated, **seconds[1]),
            row("gmm", RECIPE, seed, 0.94, 0.94, **seconds[2]) | {"parameters": 300},
            row("naive_bayes", RECIPE, seed, 0.8, 0.8, **seconds[3]),
        ]
    return found


def test_the_best_of_each_family_are_compared():
    measured = rows(0.985, 0.9)
    found = {finding.key: finding for finding in claim.findings(measured)}
    assert found["mnist-accuracy"].values == pytest.approx([4.5, 4.6, 4.7])
    of = {model: [each for each in measured if each["model"] == model] for model in ("cnn", "gmm")}
    whole = [each for each in of["cnn"] if each["budget"] == RECIPE]
    assert found["mnist-accuracy"].error == pytest.approx(paired_error((whole, 1), (of["gmm"], -1)))
    assert found["mnist-short"].values == pytest.approx([2.5, 2.6, 2.7])
    assert found["mnist-parameters"].estimate == pytest.approx(1 / 3)  # the CNN's over the mixture's
    assert found["mnist-parameters"].exact
    assert not found["mnist-train_seconds"].exact
    assert found["mnist-train_seconds"].values == [4.0]  # of the seed that was timed
    assert found["mnist-cnn-recipe"].values == pytest.approx([2, 2, 2])
    assert verdict([*found.values()]) == SUPPORTED


def test_a_short_form_stands_for_a_recipe_that_has_fewer_seeds():
    vae = [row("vae", RECIPE, 0, 0.97, 0.98, train_seconds=400.0)]
    vae += [row("vae", SHORT, seed, 0.95, 0.9, train_seconds=40.0) for seed in range(3)]
    found = {finding.key: finding for finding in claim.findings([*rows(0.985, 0.9), *vae])}
    assert found["mnist-accuracy"].values == pytest.approx([1.5, 4.6, 4.7])  # ahead of the VAE, then of the mixture
    assert "(VAE or Gaussian mixture)" in found["mnist-accuracy"].statement
    assert found["mnist-short"].values == pytest.approx([2.5, 2.6, 2.7])  # of the mixture, by validation images
    assert found["mnist-train_seconds"].values == [0.1]
    assert found["mnist-vae-recipe"].values == pytest.approx([2])
    alone = [row("vae", SHORT, seed, 0.97, 0.98, train_seconds=40.0) for seed in range(3)]
    found = {finding.key: finding for finding in claim.findings([*rows(0.985, 0.9), *alone][:-1])}
    assert found["mnist-accuracy"].values == pytest.approx([1.5, 1.6, 4.7])
    assert "mnist-vae-recipe" not in found


def test_the_best_is_chosen_by_validation_images():
    found = {finding.key: finding for finding in claim.findings(rows(0.985, 0.97))}
    assert found["mnist-accuracy"].estimate == pytest.approx(-3)  # the MLP's 91 % on test images
    assert "(MLP)" in found["mnist-accuracy"].statement
    assert verdict([*found.values()]) == NOT_SUPPORTED


def test_each_seed_chooses_among_what_was_trained_with_it():
    once = [*rows(0.985, 0.9), row("rnn", RECIPE, 0, 0.97, 0.99, train_seconds=80.0)]
    found = {finding.key: finding for finding in claim.findings(once)}
    assert found["mnist-accuracy"].values == pytest.approx([3, 4.6, 4.7])
    assert "(RNN or CNN)" in found["mnist-accuracy"].statement


def test_figures():
    figures = claim.figures(rows(0.985, 0.9))
    assert set(figures) == {"mnist-train_seconds", "mnist-parameters"}
    lines = figures["mnist-parameters"].axes[0].get_lines()
    (whole,) = (line for line in lines if line.get_label() == "CNN")  # its short form is not named again
    assert list(whole.get_ydata()) == pytest.approx([1.5, 1.4, 1.3])
    timed = [line for line in figures["mnist-train_seconds"].axes[0].get_lines() if line.get_label() == "CNN"]
    assert list(timed[0].get_xdata()) == [40.0]


def test_every_need_is_measured():
    asked = {case.parameters["what"] for case in claim.cases("textbook")}
    wanted = {need.where["what"] for need in NEEDS if need.claim == "plenty_of_labels" and "what" in need.where}
    assert wanted <= asked
    assert {"samples", "speed"} <= asked


@pytest.mark.parametrize("suite", ["textbook", "quick"])
def test_time_is_measured_once_of_each_model_and_budget(suite):
    cases = claim.cases(suite)

    def which(what: str) -> list[tuple]:
        own = [case for case in cases if case.parameters["what"] == what and (case.timed or what == "speed")]
        assert {case.parameters["seed"] for case in own} == {0}
        return [tuple(case.parameters[key] for key in ("data", "model", "budget")) for case in own]

    trained = {tuple(case.parameters[key] for key in ("data", "model", "budget")) for case in trainings(cases)}
    assert set(which("classifier")) == set(which("speed")) == trained
    assert len(which("classifier")) == len(trained)


def trainings(cases: list[Case]) -> list[Case]:
    return [case for case in cases if case.parameters["what"] == "classifier"]


def test_the_budget():
    cases = claim.cases("textbook")
    assert sum(case.seconds for case in cases) <= 3200
    assert sum(case.seconds for case in cases if case.timed) <= 1500


@pytest.mark.parametrize("data", ["mnist", "fashion_mnist"])
def test_each_family_has_three_seeds_of_every_model(data):
    """By the recipe, or by the short form that stands for it."""
    for model in roster.CLASSIFIERS:
        own = [case.parameters for case in trainings(claim.cases("textbook")) if case.parameters["data"] == data]
        assert {case["seed"] for case in own if case["model"] == model} == {0, 1, 2}


# The roster


def settings(*words: str) -> dict:
    return configuration.settings(list(words), CONFIGS)


@pytest.mark.parametrize("model", [model for model in roster.CLASSIFIERS if model != "vae"])
@pytest.mark.parametrize("data", ["mnist", "fashion_mnist"])
def test_a_recipe_is_that_of_the_command_line(model, data):
    assert settings(*roster.words(model, data, 0, RECIPE)) == settings(f"model={model}", f"data={data}", "seed=0")


def test_the_recipe_of_the_conditional_vae_is_the_experiments():
    assert settings(*roster.words("vae", "mnist", 1, RECIPE)) == settings("experiment=conditional_vae_mnist", "seed=1")


def test_a_short_form_is_shorter():
    for model in roster.SHORTER:
        whole, short = (settings(*roster.words(model, "mnist", 0, budget)) for budget in (RECIPE, SHORT))
        assert short["trainer"]["max_epochs"] < whole["trainer"]["max_epochs"]


@pytest.mark.parametrize("model", roster.CLASSIFIERS)
def test_seeds_of_a_model_without_randomness_draw_other_images(model, tmp_path):
    lab = Lab(tmp_path)
    first, second = (roster.splits(lab, model, "digits", seed) for seed in (0, 1))
    assert first.test.images.equal(second.test.images)
    assert first.val.images.equal(second.val.images) == (model not in roster.UNSEEDED)
    drawn = settings(*roster.words(model, "digits", 1))["data"]
    assert (drawn["split_seed"], drawn["val_size"]) == (int(model in roster.UNSEEDED), len(second.val))


# Measured


def test_measured_on_digits(tmp_path):
    lab = Lab(tmp_path, alone=True, pretrained=None)
    base = {"data": "digits", "model": "naive_bayes", "budget": RECIPE, "seed": 0}
    classifier = claim.measure({"what": "classifier", **base}, lab)
    assert 0.85 < classifier["accuracy"] < 1
    assert classifier["parameters"] == 10 * 28 * 28
    assert classifier["train_seconds"] > 0
    assert classifier["density"] == "exact, binary"
    assert claim.measure({"what": "speed", **base}, lab)["images_per_second"] > 100
    assert classifier["tested"] == 359
    assert len(classifier["wrong"]) == round(359 * (1 - classifier["accuracy"]))
    few = claim.measure({"what": "few", "n": 50, **base}, lab)
    assert 0.5 < few["accuracy"] < classifier["accuracy"]
    assert len(few["wrong"]) == round(few["tested"] * (1 - few["accuracy"]))
    other = claim.measure({"what": "classifier", **base, "seed": 1}, lab)
    assert other["val_accuracy"] != classifier["val_accuracy"]  # it has other training images


def test_a_case_that_shares_the_machine_has_no_time(tmp_path):
    case = {"what": "classifier", "data": "digits", "model": "naive_bayes", "budget": RECIPE, "seed": 0}
    assert "train_seconds" not in claim.measure(case, Lab(tmp_path, alone=False, pretrained=None))
