"""The claim about missing pixels: its measurement on a small case, and its verdicts on made-up rows."""

import math

import pytest
import torch

import zoo
from zoo.tasks.impute import observed_mask
from zoo.textbook.claim import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED, verdict
from zoo.textbook.claims import missing_pixels as claim
from zoo.textbook.lab import Lab

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("suite", ["quick", "textbook"])
def test_cases(suite):
    cases = claim.cases(suite)
    assert len({tuple(case.parameters.items()) for case in cases}) == len(cases)
    assert {case.parameters["seed"] for case in cases} == set(range(2 if suite == "quick" else 3))
    assert sum(case.seconds for case in cases) <= (15 if suite == "quick" else 300)


def test_measure(tmp_path):
    """The accuracies are those of zoo.classify on the seed's images and masks."""
    lab = Lab(tmp_path)
    case = {"data": "digits", "model": "naive_bayes", "fill": claim.MARGINAL, "images": 50, "seed": 1}
    measured = claim.measure(case, lab)
    assert measured == claim.measure(case, lab)
    assert len(measured["mcar"]) == len(claim.SHARES["digits"])
    test = zoo.ImageDataModule("digits").splits.test
    chosen = torch.randperm(len(test), generator=torch.Generator().manual_seed(1))[:50]
    x, labels = test.images[chosen].float() / 255, test.labels[chosen]
    observed = observed_mask("mcar", 50, (28, 28), 0.5, torch.Generator().manual_seed(1))
    model = lab.train(*claim.words("naive_bayes", "digits", 1))
    for place, seen in ((0, None), (1, observed)):
        right = zoo.classify(model, x, seen).argmax(1) == labels
        assert measured["mcar"][place] == pytest.approx(float(right.double().mean()))
    assert measured["mcar"][0] > measured["half"] > 0.3


def test_fewer_images_are_the_first_of_more():
    """Models that are asked about fewer images see the same ones, with the same pixels missing."""
    masks = [observed_mask("mcar", n, (28, 28), 0.5, torch.Generator().manual_seed(2)) for n in (500, 2000)]
    assert torch.equal(masks[0], masks[1][:500])


DROPS = {  # points that 50 % missing pixels cost, and accuracy with half an image
    ("naive_bayes", claim.MARGINAL): (4, 60),
    ("gmm", claim.MARGINAL): (0.5, 85),
    ("logistic_regression", claim.MEAN): (12, 50),
    ("cnn", claim.MEAN): (25, 45),
    ("cnn", "gmm"): (1, 90),
}


def rows(changed=None, noise=0.05, complete=98):
    found = []
    for (model, fill), (drop, half) in (DROPS | (changed or {})).items():
        start = 84 if model == "naive_bayes" else complete
        for seed in range(3):
            wobble = noise * (seed - 1)
            curve = [start, start - drop / 2, start - drop + wobble, start - 2 * drop, start - 3 * drop]
            found.append(
                {"data": "mnist", "model": model, "fill": fill, "images": 2000, "seed": seed,
                 "mcar": [value / 100 for value in curve], "half": (half + wobble) / 100}
            )  # fmt: skip
    return found


def test_verdicts():
    found = {finding.key: finding for finding in claim.findings(rows())}
    assert found["mnist-half-missing"].values == pytest.approx([0.55, 0.5, 0.45])
    assert "Gaussian mixture" in found["mnist-half-missing"].statement
    assert found["mnist-gmm-cnn"].estimate == pytest.approx(24.5)
    assert found["mnist-naive_bayes-logistic_regression"].estimate == pytest.approx(8)
    assert found["mnist-half-image"].estimate == pytest.approx(40)
    assert found["mnist-completed"].estimate == pytest.approx(-0.5)
    assert found["mnist-completed"].verdict == "measured"
    assert verdict(list(found.values())) == SUPPORTED


def test_verdicts_can_go_the_other_way():
    def judged(*arguments, **options):
        return {finding.key: finding.verdict for finding in claim.findings(rows(*arguments, **options))}

    assert judged({("gmm", claim.MARGINAL): (3, 85)})["mnist-half-missing"] == NOT_SUPPORTED
    assert judged({("gmm", claim.MARGINAL): (1, 85)})["mnist-half-missing"] == INCONCLUSIVE
    assert judged({("cnn", claim.MEAN): (0.1, 95)})["mnist-gmm-cnn"] == NOT_SUPPORTED
    assert judged({("cnn", claim.MEAN): (0.1, 95)})["mnist-half-image"] == NOT_SUPPORTED
    # the best is the one that is best with pixels missing, not the one that loses least
    best = claim.findings(rows({("naive_bayes", claim.MARGINAL): (0, 60)}))[0]
    assert "Gaussian mixture" in best.statement


def test_figures():
    drawn = claim.figures(rows())
    assert set(drawn) == {"mnist-missing", "mnist-half-missing", "mnist-half-image"}
    for figure in drawn.values():
        axes = figure.axes[0]
        assert axes.get_title(loc="left").startswith("MNIST")
        assert axes.get_xlabel()
    lines = [line for line in drawn["mnist-missing"].axes[0].get_lines() if not line.get_label().startswith("_")]
    assert len(lines) == len(DROPS)
    heights = [patch.get_width() for patch in drawn["mnist-half-missing"].axes[0].patches]
    assert heights == pytest.approx([drop for drop, _ in DROPS.values()])
    assert all(math.isfinite(height) for height in heights)
