"""The claim about calibration: its measurement on a small case, and its verdicts on made-up rows."""

import pytest
import torch

import zoo
from zoo.metrics.calibration import scaled, temperature
from zoo.metrics.classification import summarize
from zoo.textbook import roster
from zoo.textbook.claim import INCONCLUSIVE, MEASURED, NOT_SUPPORTED, SUPPORTED, verdict
from zoo.textbook.claims import calibration as claim
from zoo.textbook.lab import Lab

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("suite", ["quick", "textbook"])
def test_cases(suite):
    cases = claim.cases(suite)
    assert len({tuple(case.parameters.items()) for case in cases}) == len(cases)
    assert sum(case.seconds for case in cases) <= (10 if suite == "quick" else 350)


def test_measure(tmp_path):
    """The temperature comes from images that were held out of training, the errors from all test images."""
    lab = Lab(tmp_path)
    measured = claim.measure({"data": "digits", "model": "naive_bayes", "seed": 1}, lab)
    model = lab.train(*roster.words("naive_bayes", "digits", 1))
    splits = zoo.ImageDataModule("digits", val_size=200, split_seed=1).splits
    heat = temperature(zoo.classify(model, splits.val.images.float() / 255), splits.val.labels)
    assert measured["temperature"] == pytest.approx(heat)
    test = splits.test
    log_proba = zoo.classify(model, test.images.float() / 255)
    for when, said in (("before", log_proba), ("after", scaled(log_proba, heat))):
        summary = summarize(said, test.labels)
        assert measured["accuracy"] == pytest.approx(summary["accuracy"])
        assert measured[f"ece_{when}"] == pytest.approx(summary["ece"])
        assert measured[f"nll_{when}"] == pytest.approx(summary["nll"])
        assert sum(measured[f"count_{when}"]) == len(test)
        surplus = float(said.exp().amax(1).mean()) - summary["accuracy"]
        assert measured[f"surplus_{when}"] == pytest.approx(surplus, abs=1e-6)
        assert 0 < measured[f"brier_{when}"] < 2
    for quantity in ("ece", "adaptive", "nll", "brier"):
        assert measured[f"{quantity}_after"] < measured[f"{quantity}_before"]
        assert measured[f"{quantity}_gain_error"] > 0
    assert 0 < measured["surplus_before_error"] < 0.1
    assert 0 < measured["ece_before_error"] < 0.1


def test_a_machine_without_probabilities_is_asked_without_its_temperature(tmp_path, monkeypatch):
    words = roster.words
    monkeypatch.setattr(roster, "words", lambda *asked: (*words(*asked), "model.num_features=256"))
    lab = Lab(tmp_path)
    measured = claim.measure({"data": "digits", "model": "svm", "seed": 0}, lab)
    model = lab.train(*roster.words("svm", "digits", 0))
    assert abs(float(model.temperature) - 1) > 0.1
    test = zoo.ImageDataModule("digits", val_size=200).splits.test
    with torch.no_grad():
        margins = model(test.images.float() / 255)
    assert measured["nll_before"] == pytest.approx(summarize(margins.log_softmax(1), test.labels)["nll"], rel=1e-4)


ERRORS = {"naive_bayes": (0.14, 0.03), "gmm": (0.02, 0.01), "vae": (0.05, 0.02), "logistic_regression": (0.01, 0.005),
          "mlp": (0.02, 0.01), "cnn": (0.03, 0.006)}  # fmt: skip


def rows(changed=None, surplus=0.14, noise=0.0005, error=1e-5):
    found = []
    for model, (before, after) in (ERRORS | (changed or {})).items():
        for seed in range(4 if model == "naive_bayes" else 3):
            row = {"data": "fashion_mnist", "model": model, "seed": seed, "accuracy": 0.9, "temperature": 2.0}
            row |= {f"{which}_error": error for which in ("surplus_before", "ece_before")}
            row |= {f"{quantity}_gain_error": error for quantity in claim.GAINS}
            for when, loss in (("before", before), ("after", after)):
                row |= {f"{quantity}_{when}": loss + noise * (seed - 1) for quantity in claim.GAINS}
                row |= {
                    f"surplus_{when}": surplus + noise * (seed - 1),
                    f"confidence_{when}": [None, 0.5, 0.9],
                    f"right_{when}": [None, 0.25 * (seed + 1), 0.6],
                    f"count_{when}": [0.0, 10.0 * (seed + 1), 500.0],
                }
            row["nll_after"] -= 1e-4 * seed  # gains that are not the same for all seeds
            found.append(row)
    return found


def judged(*arguments, **options):
    return {finding.key: finding for finding in claim.findings(rows(*arguments, **options))}


def test_verdicts():
    found = judged()
    assert len(found["fashion_mnist-naive-bayes"].values) == 4
    assert found["fashion_mnist-families"].estimate == pytest.approx(5 - 2)
    assert found["fashion_mnist-generative-ece"].values == pytest.approx([3] * 3)  # of 11, 1 and 3
    assert found["fashion_mnist-discriminative-ece"].estimate == pytest.approx(1)  # of 0.5, 1 and 2.4
    assert "naive Bayes −11, Gaussian mixture −1, VAE −3)" in found["fashion_mnist-generative-ece"].statement
    assert found["fashion_mnist-discriminative-nll"].estimate == pytest.approx(0.01 + 1e-4)
    assert {key for key, finding in found.items() if finding.verdict == MEASURED} == {
        f"fashion_mnist-{family}-{score}" for family in ("generative", "discriminative")
        for score in ("adaptive", "brier")
    }  # fmt: skip
    assert verdict(list(found.values())) == SUPPORTED


def test_medians_of_an_even_number():
    without = [row for row in rows() if row["model"] != "vae"]
    assert claim.medians(without, "ece_gain", "fashion_mnist", ("naive_bayes", "gmm", "vae"))[0] == pytest.approx(
        [(0.11 + 0.01) / 2] * 3
    )


def test_verdicts_can_go_the_other_way():
    assert judged(surplus=-0.05)["fashion_mnist-naive-bayes"].verdict == NOT_SUPPORTED
    assert judged({"mlp": (0.4, 0.01), "cnn": (0.4, 0.006)})["fashion_mnist-families"].verdict == NOT_SUPPORTED
    worse = judged({"mlp": (0.01, 0.02), "cnn": (0.02, 0.03)})
    assert worse["fashion_mnist-discriminative-ece"].verdict == NOT_SUPPORTED
    one = judged({"cnn": (0.02, 0.5)})  # of three models, which does not decide
    assert one["fashion_mnist-discriminative-ece"].verdict == SUPPORTED
    assert judged(surplus=0.0001)["fashion_mnist-naive-bayes"].verdict == INCONCLUSIVE
    assert judged(error=0.05)["fashion_mnist-generative-ece"].verdict == INCONCLUSIVE  # of sampling test images


def test_figures():
    drawn = claim.figures(rows())
    assert set(drawn) == {f"fashion_mnist-{kind}" for kind in ("errors", "reliability-before", "reliability-after")}
    for figure in drawn.values():
        axes = figure.axes[0]
        assert axes.get_title(loc="left").startswith("Fashion-MNIST")
        assert axes.get_xlabel()
    axes = drawn["fashion_mnist-errors"].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "naive Bayes", "Gaussian mixture", "VAE", "logistic regression", "MLP", "CNN",
    ]  # fmt: skip
    assert axes.get_xlim()[0] < 0.5
    assert axes.get_xlim()[1] > 14
    assert set(claim.figures([{**row, "data": "mnist"} for row in rows()])) == {"mnist-errors"}


def test_reliability_of_all_seeds_together():
    """Bins are weighted by their images; nearly empty ones are left out."""
    kept = rows()[:3]  # of naive Bayes
    confidence, right = claim.curve(kept, "before")
    assert confidence == pytest.approx([0.5, 0.9])
    assert right == pytest.approx([(10 * 0.25 + 20 * 0.5 + 30 * 0.75) / 60, 0.6])
    assert claim.curve(kept, "before", least=61) == ([pytest.approx(0.9)], [pytest.approx(0.6)])
