"""Which model to choose: a table of made-up measurements with known answers, and the command that asks it."""

import functools
import itertools
import json
import math
import operator
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, command
from scipy.special import stdtrit

from zoo.errors import ConfigError, DataError, ZooError
from zoo.textbook import choose, comparisons, needs, words
from zoo.textbook.choose import Limits
from zoo.textbook.needs import NEEDS, nearest
from zoo.textbook.report.panels import name
from zoo.textbook.roster import CLASSIFIERS, NAMES

YES = dict.fromkeys(("classify", "classify_missing", "anomaly_score", "sample", "log_prob"), "native")
CAPABILITIES = {
    "naive_bayes": YES,
    "gmm": YES,
    "hmm": YES,
    "vae": YES,
    "dcgan": YES | {"classify": "no", "classify_missing": "no", "log_prob": "no"},
    "mlp": YES | {"sample": "no", "log_prob": "no"},
    "cnn": YES | {"sample": "no", "log_prob": "no", "classify_missing": "derived"},
    "rnn": YES | {"sample": "no", "log_prob": "no"},
    "lenet": YES | {"sample": "no", "log_prob": "no"},
}
# accuracies of three seeds, seconds, images/s, MiB, log p(x) and its kind. Of 10,000 test images, the MLP is 0.2 points
# behind the CNN, less than matters, and all others are told apart
MEASURED = {
    "naive_bayes": ((0.800, 0.801, 0.802), 2, 9000, 0.1, 90.0, "exact, binary"),
    "gmm": ((0.980, 0.982, 0.984), 30, 500, 40.0, 600.0, "exact, dequantised"),
    "hmm": ((0.860, 0.861, 0.862), 50, 300, 0.2, 400.0, "exact, dequantised"),
    "mlp": ((0.990, 0.991, 0.992), 45, 5000, 2.0, None, None),
    "cnn": ((0.992, 0.993, 0.994), 90, 2000, 5.0, None, None),
}


def wrong(accuracy: float, images: int) -> list[int]:
    """The last images."""
    return list(range(round(accuracy * images), images))


def rows() -> dict[str, list[dict[str, Any]]]:
    plenty = []
    for model, (accuracies, seconds, speed, mib, log_prob, density) in MEASURED.items():
        for seed in (2, 0, 1):  # in any order
            row = {"what": "classifier", "data": "mnist", "model": model, "budget": "recipe", "seed": seed}
            row |= {"accuracy": accuracies[seed], "tested": 10_000, "file_mib": mib}
            row |= {"train_seconds": seconds} if seed == 0 else {}  # timed once
            plenty += [row | ({"log_prob": log_prob, "log_prob_se": 0.5, "density": density} if density else {})]
            plenty.append(row | {"data": "fashion_mnist", "accuracy": 0.1 + seed / 1000})
            plenty += [row | {"what": "speed", "images_per_second": speed}] if seed == 0 else []
    short = {"what": "classifier", "data": "mnist", "budget": "short", "train_seconds": 3.0, "tested": 10_000}
    plenty += [{**short, "model": "cnn", "seed": seed, "accuracy": 0.5} for seed in range(3)]
    plenty += [{**short, "model": "rnn", "seed": seed, "accuracy": 0.6} for seed in range(3)]
    plenty.append({**short, "model": "rnn", "seed": 0, "budget": "recipe", "accuracy": 0.9})  # one seed alone
    speed = {"what": "speed", "data": "mnist", "model": "rnn", "budget": "recipe", "images_per_second": 800}
    plenty += [{**speed, "seed": seed} for seed in range(3)]  # of its weights, which were trained once
    plenty.append({"what": "samples", "data": "mnist", "model": "dcgan", "seed": 0, "frechet_ratio": 5.0})
    plenty.append({"what": "samples", "data": "mnist", "model": "gmm", "seed": 0, "frechet_ratio": math.nan})
    plenty += [
        {
            "what": "few",
            "data": "mnist",
            "model": model,
            "n": n,
            "seed": seed,
            "accuracy": accuracy + seed / 100,
            "tested": 10_000,
        }
        for model, by_n in {"naive_bayes": {10: 0.5, 300: 0.7}, "cnn": {10: 0.3, 300: 0.9}}.items()
        for n, accuracy in by_n.items()
        for seed in range(3)
    ]
    masks = {"masks": ["0", "50", "90", "half"], "images": [10_000, 10_000, 2000, 10_000], "data": "mnist"}
    lines = {  # what it is shown: test accuracies, validation accuracies
        ("gmm", "integrated out"): ((0.98, 0.97, 0.5, 0.84), (0.97, 0.84)),
        ("cnn", "training mean"): ((0.99, 0.80, 0.2, 0.70), (0.80, 0.70)),
        ("cnn", "local mean"): ((0.99, 0.96, 0.3, 0.65), (0.96, 0.65)),
        ("cnn", "local mean, trained with masks"): ((0.99, 0.99, 0.9, 0.9), (0.9, 0.9)),
        ("cnn", "completed by the mixture"): ((0.99, 0.99, 0.9, 0.99), (1.0, 1.0)),
    }
    missing = [
        {**masks, "model": model, "fill": fill, "seed": seed, "accuracy": list(test), "validated": [None, a, None, b],
         "wrong": [wrong(*told) for told in zip(test, masks["images"], strict=True)]}
        for (model, fill), (test, (a, b)) in lines.items()
        for seed in range(3)
    ]  # fmt: skip
    calibration = [
        {"data": "mnist", "model": model, "seed": seed, "ece_before": before + seed / 1000, "ece_after": 0.01,
         "tested": 10_000}
        for model, before in (("naive_bayes", 0.142), ("cnn", 0.003))
        for seed in range(3)
    ]  # fmt: skip
    unlabelled = [
        {"data": "mnist", "method": method, "labels": 100, "unlabelled": unlabelled, "seed": seed,
         "accuracy": accuracy + 0.05 * unlabelled, "tested": 4, "wrong": [0] if method == "gmm" else [1]}
        for method, accuracy in (("gmm", 0.7), ("lenet", 0.92), ("m2", 0.8))
        for unlabelled in (False, True)
        for seed in range(3)
    ]  # fmt: skip
    return {"plenty_of_labels": plenty, "missing_pixels": missing, "calibration": calibration,
            "unlabelled_data": unlabelled}  # fmt: skip


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    return needs.table(rows(), CAPABILITIES)


def cell(table: dict[str, Any], model: str, need: str) -> dict[str, Any]:
    return table["models"][model]["needs"][need]


def values(
    *seeds: float, kind: str | None = None, error: float = 0.0, model: str = "", errors: dict[str, float] | None = None
) -> dict[str, Any]:
    """A cell."""
    named = {str(seed): value for seed, value in enumerate(seeds)}
    found = {"estimate": sum(seeds) / len(seeds), "seeds": len(seeds), "values": named, "kind": kind, "error": error}
    return found | {"model": model, "errors": errors or {}, "common": {}}


POINTS = {"key": "accuracy", "better": "more", "margin": 1.0, "relative": False, "seeds": 3, "exact": False}
RATIO = {"key": "accuracy", "better": "less", "margin": 0.1, "relative": True, "seeds": 3, "exact": False}
TIME = RATIO | {"margin": 1.0, "seeds": 1}


class TestTable:
    def test_is_plain_data(self, table):
        assert json.loads(json.dumps(table, allow_nan=False)) == table

    def test_holds_the_models_that_are_measured_in_their_order(self, table):
        assert list(table["models"]) == [
            "naive_bayes",
            "gmm",
            "hmm",
            "dcgan",
            "mlp",
            "cnn",
            "rnn",
            "lenet",
        ]  # not the VAE
        assert [need["key"] for need in table["needs"]] == [need.key for need in NEEDS]
        assert table["data"] == "mnist"
        assert table["models"]["gmm"]["train"] == "python train.py model=gmm data=mnist"

    def test_there_is_one_for_each_data_set(self):
        found = needs.tables(rows(), CAPABILITIES)
        assert list(found["tables"]) == ["mnist", "fashion_mnist"]
        clothes = found["tables"]["fashion_mnist"]
        assert cell(clothes, "cnn", "accuracy")["estimate"] == pytest.approx(10.1)
        assert clothes["models"]["cnn"]["train"].endswith("data=fashion_mnist")
        assert clothes["recommendations"]["labels"] == []  # was asked on MNIST alone

    def test_a_recipe_counts_before_its_short_form_where_it_has_three_seeds(self, table):
        assert table["models"]["cnn"]["budget"] == "recipe"
        assert cell(table, "cnn", "accuracy")["estimate"] == pytest.approx(99.3)
        assert table["models"]["cnn"]["train"] == "python train.py model=cnn data=mnist"
        assert table["models"]["rnn"]["budget"] == "short"
        assert cell(table, "rnn", "accuracy")["estimate"] == pytest.approx(60)
        assert table["models"]["rnn"]["train"] == "python train.py model=rnn data=mnist trainer.max_epochs=2"

    def test_a_cell_has_mean_and_interval_over_seeds_and_test_images(self, table):
        found = cell(table, "gmm", "accuracy")
        assert found["estimate"] == pytest.approx(98.2)
        assert found["values"] == {"0": 98.0, "1": 98.2, "2": 98.4}
        own, sampled = 0.2**2 / 3, 98.2 * 1.8 / 10_000  # variances of the mean; Satterthwaite's degrees of freedom
        half = stdtrit(2 * (1 + sampled / own) ** 2, 0.975) * math.sqrt(own + sampled)
        assert found["interval"] == pytest.approx([98.2 - half, 98.2 + half], abs=1e-3)
        assert (found["unit"], found["support"], found["seeds"]) == ("%", "native", 3)
        single = cell(table, "dcgan", "sampling")
        assert (single["estimate"], single["interval"], single["seeds"]) == (5.0, None, 1)

    def test_an_interval_keeps_to_what_can_be(self):
        assert needs.cell_of({0: 99.0, 1: 100.0}, (0, 100), 100)["interval"][1] == 100
        assert needs.cell_of({0: 1.0, 1: 5.0}, (0, math.inf))["interval"][0] == 0

    def test_what_is_not_measured_is_empty_and_says_whether_it_could_be(self, table):
        assert cell(table, "dcgan", "accuracy")["estimate"] is None
        assert cell(table, "dcgan", "accuracy")["support"] == "no"
        assert cell(table, "gmm", "sampling")["estimate"] is None  # NaN is no measurement
        assert cell(table, "gmm", "sampling")["support"] == "native"
        assert cell(table, "cnn", "missing")["support"] == "derived"

    def test_levels_are_kept_and_the_nearest_is_shown(self, table):
        found = cell(table, "cnn", "labels")
        assert {level: value["estimate"] for level, value in found["levels"].items()} == {"10": 31, "300": 91}
        assert found["estimate"] == 91
        labels = next(need for need in table["needs"] if need["key"] == "labels")
        assert (labels["levels"], labels["at"]) == ([10, 300], "300 labels")

    def test_hidden_pixels_are_asked_as_validation_images_chose(self, table):
        assert cell(table, "cnn", "missing")["estimate"] == pytest.approx(96)
        assert cell(table, "cnn", "missing")["by"] == "local mean"
        ninety = cell(table, "cnn", "missing")["levels"]["90"]
        assert (ninety["estimate"], ninety["error"]) == pytest.approx((30, 100 * math.sqrt(0.3 * 0.7 / 2000)), rel=1e-4)
        assert cell(table, "cnn", "half")["estimate"] == pytest.approx(90)
        assert cell(table, "cnn", "half")["by"] == "local mean, trained with masks"
        about = next(need for need in table["needs"] if need["key"] == "missing")
        assert (about["levels"], about["at"]) == ([50, 90], "50 % hidden")
        (half,) = table["recommendations"]["half"]
        assert (half["choose"], half["next"]) == ("cnn", "gmm")

    def test_the_quickest_of_those_not_told_apart_is_recommended(self, table):
        (accuracy,) = table["recommendations"]["accuracy"]
        assert (accuracy["best"], accuracy["equal"], accuracy["choose"]) == ("cnn", ["mlp", "cnn"], "mlp")
        assert accuracy["next"] == "gmm"
        assert accuracy["ahead"]["estimate"] == pytest.approx(0.9)  # of the MLP, which is taken
        (training,) = table["recommendations"]["training"]  # less is better
        assert (training["choose"], training["equal"]) == ("naive_bayes", ["naive_bayes", "rnn"])  # 2 s and 3 s
        assert training["next"] == "gmm"
        assert training["ahead"] == {"estimate": 14, "interval": None}  # timed once
        assert table["recommendations"]["anomalies"] == []  # nothing is measured

    def test_one_seed_ranks_no_model(self, table):
        assert table["recommendations"]["sampling"] == []
        assert table["unranked"]["sampling"] == {"dcgan": "measured with 1 seed, where 3 are needed"}

    def test_images_without_labels_have_a_need_of_their_own(self, table):
        found = {model: row["needs"]["unlabelled"]["estimate"] for model, row in table["models"].items()}
        assert {model: value for model, value in found.items() if value} == pytest.approx({"gmm": 75, "lenet": 97})
        (own,) = table["recommendations"]["unlabelled"]
        assert (own["choose"], cell(table, "lenet", "unlabelled")["by"]) == ("lenet", "labels spread along codes")

    def test_the_error_of_the_same_test_images_is_that_of_the_difference(self, table):
        """Two of four images count for or against: ±1 of them, 0 of the others."""
        found = cell(table, "lenet", "unlabelled")["errors"]
        assert found == {"gmm": pytest.approx(100 * math.sqrt(2 / 3) / 2, rel=1e-5)}
        assert cell(table, "cnn", "accuracy")["errors"] == {}  # which images were wrong is not known

    def test_calibration_is_that_after_a_temperature_and_says_what_was_before(self, table):
        found = cell(table, "naive_bayes", "calibration")
        assert (found["estimate"], found["by"]) == (1.0, "14 % before a temperature")

    def test_what_nobody_timed_is_not_decided_by_seconds_of_another_training(self):
        """Two models that are alike with half an image hidden; the quicker one to train on whole images is behind."""
        masks = {"masks": ["50", "half"], "images": [10_000, 10_000], "wrong": [[], []]}
        masks |= {"data": "mnist", "fill": "local mean"}
        missing = [
            {**masks, "model": model, "seed": seed, "accuracy": [0.9, half], "validated": [0.9, half]}
            for model, half in (("mlp", 0.800), ("cnn", 0.805))
            for seed in range(3)
        ]
        found = needs.table(rows() | {"missing_pixels": missing}, CAPABILITIES)
        (half,) = found["recommendations"]["half"]
        assert (half["equal"], half["choose"]) == (["cnn", "mlp"], "cnn")

    def test_without_labels_only_models_that_saw_none_are_recommended(self, table):
        scored = [
            area(data, model, seed, combined=0.99 + (model == "cnn") / 200, complexity=0.98)
            for data in ("mnist", "fashion_mnist")
            for model in ("cnn", "vae", "gmm")
            for seed in range(3)
        ]
        areas = needs.table({"anomalies": scored}, CAPABILITIES)
        take = {answer["need"]: answer["take"] for answer in choose.answers(areas)}
        assert take["anomalies"] == "cnn"
        take = {answer["need"]: answer["take"] for answer in choose.answers(choose.without_labels(areas, "anomalies"))}
        assert take["anomalies"] == "gmm"
        assert list(choose.without_labels(table, "sampling")["models"]) == ["dcgan"]  # the mixture had classes

    def test_a_likelihood_that_is_alone_with_its_kind_is_not_ranked(self, table):
        (density,) = table["recommendations"]["density"]
        assert (density["kind"], density["best"], density["equal"]) == ("exact, dequantised", "gmm", ["gmm"])
        assert table["unranked"]["density"] == {"naive_bayes": "alone with its kind, exact, binary"}

    @pytest.mark.parametrize(
        ("first", "second", "same"),
        [
            ("exact, discrete", "lower bound, discrete, K = 16", True),
            ("lower bound, binarised, K = 8", "lower bound, binarised, K = 64", True),
            ("exact, binarised", "lower bound, binarised, K = 64", False),
            ("exact, binary", "exact, binarised", False),
            ("exact, dequantised", "exact, discrete", False),
        ],
    )
    def test_exact_values_and_bounds_meet_where_both_are_of_256_levels(self, first, second, same):
        assert (comparisons.alike(values(1.0, kind=first)) == comparisons.alike(values(1.0, kind=second))) == same

    def test_without_measurements_it_is_empty(self):
        assert needs.tables({}, CAPABILITIES)["tables"] == {}

    def test_every_model_of_the_report_is_a_candidate(self):
        found = needs.candidates()
        assert set(found) == {*CLASSIFIERS, "dcgan", "lenet"}
        assert found["vae"]["classify"] == "native"  # the report's is conditional
        assert found["cnn"]["sample"] == "no"

    @pytest.mark.parametrize(
        ("wanted", "level"), [(100, 300), (20, 10), (54, 10), (56, 300), (1e9, 300), (0, 10), (10, 10)]
    )
    def test_nearest_in_proportion(self, wanted, level):
        """Between 10 and 300 the border is their geometric mean, 54.8."""
        assert nearest(wanted, [10, 300]) == level


class TestToldApart:
    @pytest.mark.parametrize(
        ("first", "second", "apart"),
        [
            ((99.0, 95.0, 91.0), (97.0, 93.1, 88.9), True),  # their intervals overlap, and each seed says the same
            ((99.0, 99.1, 98.9), (98.5, 98.6, 98.4), False),  # surely different, and by less than the margin
            ((99.0, 95.0, 91.0), (97.0, 96.0, 89.0), False),  # different by chance
            ((99.0, 99.1), (90.0, 90.1), False),  # two seeds
        ],
    )
    def test_by_pairs_of_seeds_and_beyond_the_margin(self, first, second, apart):
        assert comparisons.better(values(*first), values(*second), POINTS) == apart
        assert not comparisons.better(values(*second), values(*first), POINTS)

    def test_a_model_that_varies_much_is_not_taken_for_the_best(self):
        best, noisy, near = values(90.0, 90.5, 89.5), values(88.0, 72.0, 83.0), values(89.5, 90.2, 89.0)
        assert not comparisons.better(best, noisy, POINTS)  # three seeds do not tell
        assert not comparisons.close(best, noisy, POINTS)
        assert comparisons.close(best, near, POINTS)
        del near["values"]["0"]
        assert not comparisons.close(best, near, POINTS)  # two seeds in common say nothing

    def test_by_the_error_of_the_test_images(self):
        first, second, fewer = (
            values(*[share] * 3, error=math.sqrt(share * (100 - share) / n))
            for share, n in ((90, 10_000), (88, 10_000), (88, 300))
        )
        assert comparisons.better(first, second, POINTS)
        assert not comparisons.better(first, fewer, POINTS)

    def test_by_ratios(self):
        first, second = values(10.0, 20.0, 40.0), values(14.9, 30.0, 60.4)
        assert comparisons.difference(first, second, RATIO)["estimate"] == pytest.approx(0.5, abs=1e-4)
        assert comparisons.better(first, second, RATIO)
        assert not comparisons.better(first, second, RATIO | {"margin": 0.6})
        assert not comparisons.better(first, second, RATIO | {"better": "more"})

    def test_by_the_error_of_the_same_images_where_that_is_known(self):
        first = values(90.0, 90.1, 90.2, error=2.0, errors={"cnn": 0.1})
        assert comparisons.better(first, values(88.0, 88.1, 88.2, error=2.0, model="cnn"), POINTS)
        assert not comparisons.better(first, values(88.0, 88.1, 88.2, error=2.0, model="mlp"), POINTS)

    def test_one_timing_is_told_apart_by_a_factor_of_two(self):
        assert comparisons.better(values(10.0), values(20.1), TIME)
        assert not comparisons.better(values(10.0), values(19.9), TIME)
        assert comparisons.unranked({"a": values(10.0), "b": values(1.0)}, TIME) == {}
        assert set(comparisons.unranked({"a": values(10.0), "b": values(1.0)}, RATIO)) == {"a", "b"}

    def test_only_seeds_that_both_have_are_compared(self):
        first, second = values(99.0, 99.0, 99.0), values(1.0, 97.0, 97.0, 97.0)
        del first["values"]["0"]
        assert comparisons.difference(first, second, POINTS) is None
        first["values"]["3"] = 99.0
        assert comparisons.difference(first, second, POINTS) == {"estimate": 2, "interval": None}

    def test_what_is_alike_in_all_seeds_tells_nothing_unless_it_is_exact(self):
        first, second = values(99.0, 99.0, 99.0), values(95.0, 95.0, 95.0)
        assert not comparisons.better(first, second, POINTS)
        assert comparisons.better(first, second, POINTS | {"exact": True})
        assert comparisons.better(first | {"error": 0.1}, second, POINTS)

    def test_a_bound_that_is_less_shows_no_worse_model(self):
        bound, exact = "lower bound, discrete, K = 8", "exact, discrete"
        low, high = (-95.0, -95.1, -95.2), (-85.0, -85.2, -85.1)
        assert not comparisons.better(values(*high, kind=exact), values(*low, kind=bound), POINTS)
        assert not comparisons.better(values(*high, kind=bound), values(*low, kind=bound), POINTS)
        assert comparisons.better(values(*high, kind=bound), values(*low, kind=exact), POINTS)

    def test_the_best_mean_is_over_the_seeds_that_all_have(self):
        lucky = values(80.0, 80.2, 79.9, 99.0, 99.1)  # the last two draws were easy
        found = comparisons.standing({"gmm": lucky, "cnn": values(85.0, 85.1, 85.3)}, POINTS)
        assert (found.ordered, found.equal) == (["cnn", "gmm"], ["cnn"])

    def test_a_model_with_other_seeds_is_not_the_next(self):
        """It is told apart from the second alone, which has the seeds of both."""
        apart = values(80.0, 80.1, 80.2)
        apart["values"] = {str(int(seed) + 3): value for seed, value in apart["values"].items()}
        cells = {"cnn": values(90.0, 90.1, 90.2), "gmm": apart, "mlp": values(89.9, 90.0, 90.3, 90.0, 90.2, 90.1)}
        models = {model: {"needs": {"accuracy": cell}} for model, cell in cells.items()}
        (own,) = comparisons.recommend(models, POINTS | {"timed": False})
        assert (own["equal"], own["next"], own["ahead"]) == (["cnn", "mlp"], None, None)
        del models["cnn"]
        (own,) = comparisons.recommend(models, POINTS | {"timed": False})
        assert (own["equal"], own["next"]) == (["mlp"], "gmm")

    def test_fewer_test_images_are_compared_with_the_first_of_the_others(self):
        masks = {"masks": ["50"], "data": "mnist", "fill": "integrated out", "validated": [0.9]}
        asked = {"gmm": (0.98, 10_000), "vae": (0.90, 1000)}  # the first 1,000 are all right by the mixture
        missing = [
            {**masks, "model": model, "seed": seed, "accuracy": [share], "images": [n], "wrong": [wrong(share, n)]}
            for model, (share, n) in asked.items()
            for seed in range(3)
        ]
        table = needs.table({"missing_pixels": missing}, CAPABILITIES)
        mixture, vae = cell(table, "gmm", "missing"), cell(table, "vae", "missing")
        assert (mixture["values"]["0"], mixture["common"]["vae"]["0"], vae["common"]) == (98, 100, {})
        about = next(need for need in table["needs"] if need["key"] == "missing")
        assert comparisons.difference(mixture, vae, about)["estimate"] == pytest.approx(10)
        assert comparisons.difference(vae, mixture, about)["estimate"] == pytest.approx(-10)
        error = 100 * math.sqrt(0.1 * 0.9 / 999)
        assert mixture["errors"]["vae"] == vae["errors"]["gmm"] == pytest.approx(error, rel=1e-4)


def classifiers(**measured: tuple[tuple[float, ...], float]) -> dict[str, Any]:
    """A table of accuracies, in % by seed, and the seconds of training, of very many test images."""
    plenty = [
        {"what": "classifier", "data": "mnist", "model": model, "budget": "recipe", "seed": seed,
         "accuracy": accuracy / 100, "tested": 10**8, "train_seconds": seconds}
        for model, (accuracies, seconds) in measured.items()
        for seed, accuracy in enumerate(accuracies)
    ]  # fmt: skip
    return needs.table({"plenty_of_labels": plenty}, CAPABILITIES)


class TestPageAndCommandAgree:
    def test_the_lead_is_that_of_the_model_that_is_taken(self):
        """The quickest of two that are alike, and hardly ahead of the third."""
        table = classifiers(
            cnn=((99.00, 99.01, 99.02), 90), mlp=((98.75, 98.77, 98.76), 30), gmm=((98.65, 98.66, 98.67), 10)
        )
        (own,) = table["recommendations"]["accuracy"]
        assert (own["best"], own["choose"], own["next"]) == ("cnn", "mlp", "gmm")
        answer = choose.answers(table)[0]
        assert answer["by"].startswith("0.100 ± ")
        assert "the CNN is as good" in answer["because"]
        assert [choice.model for choice in choose.choose(table, ["accuracy"])[0]] == ["mlp", "cnn", "gmm"]

    def test_a_model_that_varies_much_is_not_taken_for_being_quick(self):
        """Nothing tells it apart, so the other is not surely the best, and is taken all the same."""
        table = classifiers(cnn=((90.0, 90.5, 89.5), 90), rnn=((88.0, 72.0, 83.0), 5))
        answer = choose.answers(table)[0]
        assert (answer["take"], answer["equal"]) == ("cnn", ["cnn", "rnn"])
        assert answer["because"].endswith(" %; the RNN is behind, but not surely.")
        choices = choose.choose(table, ["accuracy"])[0]
        assert [(choice.model, choice.score) for choice in choices] == [("cnn", 1), ("rnn", 1)]

    def test_a_command_measures_what_the_need_is_about(self, table):
        """Also where the model is not the one with the best mean of whole images."""
        choice = choose.choose(table, ["half"])[0][0]
        assert choice.reasons["half"].endswith("% (local mean, trained with masks; 1st of 2)")
        assert choice.commands == ["python scripts/compare.py claims=missing_pixels"]
        both = choose.choose(table, ["accuracy", "half", "size"])[0][0]
        assert both.commands == [f"python train.py model={both.model} data=mnist", *choice.commands]


class TestChoice:
    def test_one_need_counts_who_is_told_apart_as_better(self, table):
        choices, excluded = choose.choose(table, ["accuracy"])
        assert [choice.model for choice in choices] == ["mlp", "cnn", "gmm", "hmm", "naive_bayes", "rnn"]
        assert [choice.score for choice in choices] == pytest.approx([1, 1, 3 / 5, 2 / 5, 1 / 5, 0])
        assert excluded == {"dcgan": ("needs", "accuracy not possible"), "lenet": ("needs", "accuracy not measured")}
        assert choices[2].reasons == {"accuracy": "accuracy 98.20 ± 0.39 % (3rd of 6)"}

    @pytest.mark.parametrize("need", ["accuracy", "labels", "density", "training", "speed", "size", "calibration"])
    def test_one_need_says_what_the_report_recommends(self, table, need):
        (own,) = table["recommendations"][need]
        assert choose.choose(table, [need])[0][0].model == own["choose"]

    def test_times_take_part_though_they_are_measured_once(self, table):
        choices, excluded = choose.choose(table, ["accuracy", "training"])
        assert set(excluded) == {"dcgan", "lenet"}
        assert {choice.model for choice in choices} == {"naive_bayes", "gmm", "hmm", "mlp", "cnn", "rnn"}

    @pytest.mark.parametrize("wanted", [60_000, 3])
    def test_a_level_far_from_what_was_measured_is_not_answered(self, table, wanted):
        with pytest.raises(ConfigError, match=f"few labels: {wanted} is far from what was measured, 10, 300") as told:
            choose.choose(table, ["labels"], levels={"labels": wanted})
        assert ("needs=accuracy" in str(told.value)) == (wanted > 300)

    def test_several_needs_are_averaged(self, table):
        """By size: naive Bayes, HMM, MLP, CNN, mixture."""
        choices, excluded = choose.choose(table, ["accuracy", "size"])
        scores = {choice.model: choice.score for choice in choices}
        wanted = {"mlp": 3 / 4, "cnn": 5 / 8, "naive_bayes": 1 / 2, "hmm": 1 / 2, "gmm": 1 / 4}
        assert scores == pytest.approx(wanted)
        assert [choice.model for choice in choices] == ["mlp", "cnn", "naive_bayes", "hmm", "gmm"]  # a tie: by seconds
        assert excluded["rnn"] == ("needs", "size not measured")

    def test_limits_exclude(self, table):
        choices, excluded = choose.choose(table, ["accuracy"], Limits(seconds=60, mib=1))
        assert [choice.model for choice in choices] == ["hmm", "naive_bayes"]
        assert [choice.score for choice in choices] == [1, 0]  # ranked among those left
        assert excluded["cnn"] == ("seconds=60", "90.00 s")
        assert excluded["gmm"] == ("mib=1", "40.00 MiB")
        choices, excluded = choose.choose(table, ["accuracy"], Limits(speed=1000, can=["log_prob"]))
        assert [choice.model for choice in choices] == ["naive_bayes"]
        assert excluded["cnn"] == ("can=log_prob", "no log_prob")
        assert excluded["hmm"] == ("speed=1000", "300.0 images/s")
        assert len(choose.choose(table, ["accuracy"], Limits(seconds=90))[0]) == 6  # at most, not below

    def test_a_level_is_asked_at_the_nearest(self, table):
        few, _ = choose.choose(table, ["labels"], levels={"labels": 20})
        many, _ = choose.choose(table, ["labels"], levels={"labels": 900})
        assert [choice.model for choice in few] == ["naive_bayes", "cnn"]
        assert [choice.model for choice in many] == ["cnn", "naive_bayes"]

    def test_density_ranks_within_its_kind(self, table):
        choices, excluded = choose.choose(table, ["density"])
        assert {choice.model: choice.score for choice in choices} == {"gmm": 1, "hmm": 0}
        assert excluded["naive_bayes"] == ("needs", "density alone with its kind, exact, binary")

    def test_nothing_left_says_which_limit_excluded_which(self, table):
        with pytest.raises(ZooError) as error:
            choose.choose(table, ["accuracy"], Limits(seconds=1, can=["sample"]))
        text = str(error.value)
        assert "excluded by seconds=1: naive_bayes (2.00 s), gmm (30.00 s), hmm (50.00 s)" in text
        assert "excluded by can=sample: mlp (no sample), cnn (no sample), rnn (no sample)" in text
        assert "excluded by needs: dcgan (accuracy not possible)" in text

    @pytest.mark.parametrize(
        ("needs", "limits", "message"),
        [
            (["acuracy"], Limits(), "unknown need 'acuracy': did you mean 'accuracy'"),
            (["accuracy"], Limits(can=["samples"]), "unknown capability 'samples': did you mean 'sample'"),
            ([], Limits(), "no need is named"),
        ],
    )
    def test_mistakes_are_told(self, table, needs, limits, message):
        with pytest.raises(ConfigError, match=message):
            choose.choose(table, needs, limits)

    @pytest.mark.parametrize(
        ("estimate", "interval", "text"),
        [
            (98.374, [98.25, 98.5], "98.37 ± 0.12 %"),
            (98.374, None, "98.37 %"),
            (1234.5, [1134.5, 1334.5], "1,230 ± 100 %"),
            (385610, [370178, 401042], "386,000 ± 15,000 %"),
            (-0.5, [-0.55, -0.45], "−0.500 ± 0.050 %"),
            (0.0123, None, "0.0123 %"),
            (0.0, None, "0.00 %"),
        ],
    )
    def test_spelled(self, estimate, interval, text):
        assert words.spelled({"estimate": estimate, "interval": interval, "unit": "%"}) == text


class TestAnswers:
    def test_each_need_has_one_as_plain_data(self, table):
        found = choose.answers(table)
        assert json.loads(json.dumps(found, allow_nan=False)) == found
        assert [answer["need"] for answer in found] == [need.key for need in NEEDS]
        assert all(answer["because"].endswith(".") for answer in found)

    def test_takes_what_the_table_recommends_and_says_why(self, table):
        found = {answer["need"]: answer for answer in choose.answers(table)}
        assert (found["accuracy"]["take"], found["accuracy"]["name"]) == ("mlp", "MLP")
        assert found["accuracy"]["because"] == (
            "99.10 ± 0.23 %; the CNN is as good; this one trains the quickest of those timed, in 45.00 s."
        )
        assert found["accuracy"]["rivals"] == "CNN (99.30 ± 0.21 %)"
        assert found["accuracy"]["by"] == "0.90 ± 0.34 points more than the Gaussian mixture (98.20 ± 0.39 %)"
        assert found["accuracy"]["margin"] == "0.3 points"
        assert found["accuracy"]["train"] == "python train.py model=mlp data=mnist"
        assert found["training"]["because"] == "2.00 s; the RNN is as good."
        assert found["training"]["by"] == "a factor of 15 below the Gaussian mixture (30.00 s)"
        assert found["training"]["margin"] == "a factor of 2"
        assert found["unlabelled"]["because"].endswith(  # four test images tell nothing
            "% (labels spread along codes); the Gaussian mixture is behind, but not surely."
        )
        assert found["unlabelled"]["train"] == "python scripts/compare.py claims=unlabelled_data"
        assert found["labels"]["at"] == "300 labels"

    def test_says_where_nothing_can_be_compared(self, table):
        alone = {**table, "models": {model: table["models"][model] for model in ("naive_bayes", "gmm")}}
        found = {answer["need"]: answer for answer in choose.answers(table)}
        assert (found["sampling"]["take"], found["sampling"]["equal"]) == (None, [])
        assert (
            found["sampling"]["because"] == "Nothing can be compared: DCGAN measured with 1 seed, where 3 are needed."
        )
        assert found["anomalies"]["because"] == "Not measured on this data set."
        clothes = {answer["need"]: answer for answer in choose.answers(alone)}
        told = "Nothing can be compared: each model is alone with its kind of values."
        assert clothes["density"]["because"] == told

    def test_a_bound_is_marked(self):
        assert (
            words.figure({"estimate": -85.34, "interval": None, "kind": "lower bound, discrete, K = 8"}) == "≥ −85.34"
        )

    def test_names_are_those_of_figures(self):
        assert {model: name(model) for model in NAMES} == NAMES


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report") / "models.json"
    path.write_text(json.dumps(needs.tables(rows(), CAPABILITIES)))
    return path


class TestCommand:
    def test_prints_the_answers_of_the_report(self, path):
        done = command("scripts/choose.py", f"from={path.parent}", "data=fashion_mnist")
        assert done.returncode == 0, done.stderr
        assert all(len(line) <= 80 for line in done.stdout.splitlines())
        assert "Measured on Fashion-MNIST" in done.stdout
        answers = json.loads(command("scripts/choose.py", f"from={path}", "data=fashion_mnist", "json=-").stdout)
        assert answers == choose.answers(needs.table(rows(), CAPABILITIES, "fashion_mnist"))

    def test_ranks_within_80_columns(self, path):
        done = command("scripts/choose.py", f"from={path.parent}", "needs=accuracy,size", "labels=20", "seconds=95")
        assert done.returncode == 0, done.stderr
        assert all(len(line) <= 80 for line in done.stdout.splitlines())
        assert "few labels 51.0" in done.stdout
        assert "few labels: 20 was not measured; nearest is 10" in done.stdout
        assert "excluded by needs: gmm (labels not measured)" in done.stdout
        train, measure = done.stdout.splitlines()[-2:]
        assert train == "python train.py model=naive_bayes data=mnist"
        assert measure == "python scripts/compare.py claims=plenty_of_labels"  # few labels

    def test_labels_are_of_the_need_that_is_named(self, path):
        done = command("scripts/choose.py", f"from={path}", "needs=unlabelled", "labels=90", "json=-")
        found = json.loads(done.stdout)
        assert found["needs"] == ["unlabelled"]
        assert [choice["model"] for choice in found["ranking"]] == ["lenet", "gmm"]

    def test_ranks_as_json(self, path):
        done = command("scripts/choose.py", f"from={path}", "labels=300", "json=-")
        found = json.loads(done.stdout)
        assert (found["data"], found["needs"]) == ("mnist", ["labels"])
        assert [choice["model"] for choice in found["ranking"]] == ["cnn", "naive_bayes"]
        assert found["excluded"]["hmm"] == "needs: labels not measured"
        assert {"autoregressive", "flow_matching"} < {*found["not_measured"]}
        assert not {"cnn", "hmm"} & {*found["not_measured"]}
        assert "\nnot measured there: autoregressive, " in command("scripts/choose.py", f"from={path}").stdout

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["needs=acuracy"], "error: unknown need 'acuracy': did you mean 'accuracy'?"),
            (["seconds=0.5"], "error: no model is left"),
            (["accuracy"], "error: 'accuracy' is not key=value; needs are given as needs=accuracy"),
            (["from=none.json"], "error: none.json is no table of models"),
            (["json=nowhere/answer.json"], "error: json=nowhere/answer.json: the folder nowhere does not exist"),
            (["labels=60000"], "error: few labels: 60000 is far from what was measured, 10, 300; with a label for"),
            (["labels=many"], "error: labels=many: a whole number is needed\n"),  # the default, 0, is no example
            (["mising=0.5"], "error: unknown key 'mising': did you mean 'missing'?"),
            (["data=digits"], "has no table of data=digits; it is about 'mnist', 'fashion_mnist'"),
            (["data=cifar"], "error: data=cifar"),
        ],
    )
    def test_mistakes_end_with_status_2(self, path, words, message, monkeypatch, capsys):
        sys.path.insert(0, str(ROOT / "scripts"))
        try:
            import choose as script
        finally:
            sys.path.remove(str(ROOT / "scripts"))
        monkeypatch.setattr(sys, "argv", ["choose.py", f"from={path}", *words])
        with pytest.raises(SystemExit) as stop:
            script.main()
        assert stop.value.code == 2
        assert message in capsys.readouterr().err

    def test_help_is_narrow_and_names_every_need(self):
        text = command("scripts/choose.py", "--help").stdout
        assert all(len(line) <= 80 for line in text.splitlines())
        assert all(f"\n  {need.key} " in text for need in NEEDS)

    def test_answering_needs_no_torch(self, path):
        code = "import sys; from pathlib import Path; from zoo.textbook import choose\n"
        code += "choose.answers(choose.read(Path(sys.argv[1]), 'mnist')); sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT).returncode == 0


class TestRead:
    @pytest.mark.parametrize(
        "removed",
        [
            "tables", "tables mnist data", "tables mnist needs", "tables mnist models", "tables mnist needs 1 better",
            "tables mnist needs 0 margin", "tables mnist needs 0 seeds", "tables mnist models cnn needs size errors",
            "tables mnist models cnn needs", "tables mnist models cnn train",
            "tables mnist models cnn budget", "tables mnist models cnn needs training",
            "tables mnist models cnn needs size estimate", "tables mnist models cnn needs size values 0",
        ],
    )  # fmt: skip
    def test_an_incomplete_table_is_told(self, path, removed, tmp_path):
        found = json.loads(path.read_text())
        *keys, last = (int(key) if key.isdigit() and at == "needs" else key
                       for at, key in itertools.pairwise(["", *removed.split()]))  # fmt: skip
        del functools.reduce(operator.getitem, keys, found)[last]
        (tmp_path / "models.json").write_text(json.dumps(found))
        with pytest.raises(DataError, match="no table of models; python scripts/compare"):
            choose.read(tmp_path, "mnist")

    @pytest.mark.parametrize(
        ("need", "value", "why"),
        [("training", 0.0, "no ratio"), ("accuracy", 1e300, "cannot be")],
    )
    def test_values_that_cannot_be_are_told(self, path, need, value, why, tmp_path):
        found = json.loads(path.read_text())
        found["tables"]["mnist"]["models"]["cnn"]["needs"][need]["values"]["0"] = value
        (tmp_path / "models.json").write_text(json.dumps(found))
        with pytest.raises(DataError, match=why):
            choose.read(tmp_path, "mnist")

    @pytest.mark.parametrize(
        "old", [{"data": "mnist", "models": {}, "recommendations": {}}, {"rule": "", "tables": {}}]
    )
    def test_a_table_of_an_earlier_version_is_told(self, old, tmp_path):
        (tmp_path / "models.json").write_text(json.dumps(old))
        with pytest.raises(DataError, match="of an earlier version; python scripts"):
            choose.read(tmp_path, "mnist")

    @pytest.mark.parametrize("empty", [[], {}, {"tables": []}, {"tables": {"mnist": {"needs": [], "models": {}}}}])
    def test_no_table_is_told(self, empty, tmp_path):
        (tmp_path / "models.json").write_text(json.dumps(empty))
        with pytest.raises(DataError, match="no table of models"):
            choose.read(tmp_path, "mnist")

    def test_the_repository_has_a_table_of_both_data_sets(self):
        for data in ("mnist", "fashion_mnist"):
            assert choose.answers(choose.read(ROOT / "results" / "textbook", data))


def area(data: str, model: str, seed: int, **areas: float) -> dict[str, Any]:
    direction = "simpler" if data == "fashion_mnist" else "richer"
    named = {f"auroc_{score}": value for score, value in areas.items()}
    return {"data": data, "anomalies": direction, "model": model, "seed": seed, **named}


def test_anomalies_count_by_one_score_and_the_direction_that_is_told_worse():
    found = []
    for seed in range(3):
        found += [
            area("fashion_mnist", "vae", seed, log_prob=0.3, complexity=0.99 + seed / 1000),
            area("mnist", "vae", seed, log_prob=0.999, complexity=0.97 + seed / 1000),
            area("mnist", "gmm", seed, log_prob=0.999, combined=0.98),  # in one direction alone
        ]
        found[-3]["auroc_combined"] = found[-2]["auroc_combined"] = 1.0  # better, but not what was fixed beforehand
    for data in ("mnist", "fashion_mnist"):
        table = needs.table({"anomalies": found}, CAPABILITIES, data)
        assert list(table["models"]) == ["vae"]
        assert cell(table, "vae", "anomalies")["values"] == pytest.approx({"0": 0.97, "1": 0.971, "2": 0.972})
        assert cell(table, "vae", "anomalies")["by"] == "complexity"
