"""The claim about calibration: its measurement on a small case, and its verdicts on made-up rows."""

import pytest
import torch

import zoo
from zoo.metrics.calibration import scaled, temperature
from zoo.metrics.classification import summarize
from zoo.textbook.claim import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED, verdict
from zoo.textbook.claims import calibration as claim
from zoo.textbook.lab import Lab

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("suite", ["quick", "textbook"])
def test_cases(suite):
    cases = claim.cases(suite)
    assert len({tuple(case.parameters.items()) for case in cases}) == len(cases)
    assert sum(case.seconds for case in cases) <= (15 if suite == "quick" else 200)


def test_measure(tmp_path):
    """The temperature comes from images that were held out of training, the errors from test images."""
    lab = Lab(tmp_path)
    measured = claim.measure({"data": "digits", "model": "naive_bayes", "seed": 0}, lab)
    model = lab.train("model=naive_bayes", "data=digits", "seed=0")
    splits = zoo.ImageDataModule("digits", val_size=200).splits
    heat = temperature(zoo.classify(model, splits.val.images.float() / 255), splits.val.labels)
    assert measured["temperature"] == pytest.approx(heat)
    chosen = torch.randperm(len(splits.test), generator=torch.Generator().manual_seed(0))[:200]
    test = splits.test.take(chosen)
    log_proba = zoo.classify(model, test.images.float() / 255)
    for when, said in (("before", log_proba), ("after", scaled(log_proba, heat))):
        summary = summarize(said, test.labels)
        assert measured["accuracy"] == pytest.approx(summary["accuracy"])
        assert measured[f"ece_{when}"] == pytest.approx(summary["ece"])
        assert measured[f"nll_{when}"] == pytest.approx(summary["nll"])
        assert sum(measured[f"count_{when}"]) == 200
        surplus = float(said.exp().amax(1).mean()) - summary["accuracy"]
        assert measured[f"surplus_{when}"] == pytest.approx(surplus, abs=1e-6)
    assert measured["ece_after"] < measured["ece_before"]


ERRORS = {"naive_bayes": (0.14, 0.03), "gmm": (0.02, 0.01), "mlp": (0.01, 0.005), "cnn": (0.02, 0.006)}


def rows(changed=None, surplus=0.14, noise=0.0005):
    found = []
    for model, (before, after) in (ERRORS | (changed or {})).items():
        for seed in range(3):
            row = {"data": "fashion_mnist", "model": model, "seed": seed, "accuracy": 0.9, "temperature": 2.0}
            for when, error in (("before", before), ("after", after)):
                row |= {
                    f"ece_{when}": error + noise * (seed - 1),
                    f"surplus_{when}": surplus + noise * (seed - 1),
                    f"confidence_{when}": [None, 0.5, 0.9],
                    f"right_{when}": [None, 0.25 * (seed + 1), 0.6],
                    f"count_{when}": [0.0, 10.0 * (seed + 1), 500.0],
                }
            found.append(row)
    return found


def judged(*arguments, **options):
    return {finding.key: finding for finding in claim.findings(rows(*arguments, **options))}


def test_verdicts():
    found = judged()
    assert found["fashion_mnist-naive-bayes"].estimate == pytest.approx(14)
    assert found["fashion_mnist-families"].estimate == pytest.approx(8 - 1.5)
    assert found["fashion_mnist-generative-scaled"].estimate == pytest.approx(8 - 2)
    assert found["fashion_mnist-discriminative-scaled"].estimate == pytest.approx(1.5 - 0.55)
    assert verdict(list(found.values())) == SUPPORTED


def test_verdicts_can_go_the_other_way():
    assert judged(surplus=-0.05)["fashion_mnist-naive-bayes"].verdict == NOT_SUPPORTED
    assert judged({"cnn": (0.4, 0.006)})["fashion_mnist-families"].verdict == NOT_SUPPORTED
    worse = judged({"mlp": (0.01, 0.02), "cnn": (0.02, 0.03)})
    assert worse["fashion_mnist-discriminative-scaled"].verdict == NOT_SUPPORTED
    assert judged(surplus=0.0001)["fashion_mnist-naive-bayes"].verdict == INCONCLUSIVE


def test_figures():
    drawn = claim.figures(rows())
    assert set(drawn) == {f"fashion_mnist-{kind}" for kind in ("errors", "reliability-before", "reliability-after")}
    for figure in drawn.values():
        axes = figure.axes[0]
        assert axes.get_title(loc="left").startswith("Fashion-MNIST")
        assert axes.get_xlabel()
    axes = drawn["fashion_mnist-errors"].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["naive Bayes", "Gaussian mixture", "MLP", "CNN"]
    assert axes.get_xlim()[0] < 0.5
    assert axes.get_xlim()[1] > 14
    assert set(claim.figures([{**row, "data": "mnist"} for row in rows()])) == {"mnist-errors"}


def test_reliability_of_all_seeds_together():
    """Bins are weighted by their images; nearly empty ones are left out."""
    kept = rows()[:3]
    confidence, right = claim.curve(kept, "before")
    assert confidence == pytest.approx([0.5, 0.9])
    assert right == pytest.approx([(10 * 0.25 + 20 * 0.5 + 30 * 0.75) / 60, 0.6])
    assert claim.curve(kept, "before", least=61) == ([pytest.approx(0.9)], [pytest.approx(0.6)])
