"""The claim about missing pixels: its measurement on a small case, and its verdicts on made-up rows."""

import pytest
import torch

import zoo
from zoo.tasks.impute import observed_mask
from zoo.textbook import roster
from zoo.textbook.claim import INCONCLUSIVE, MEASURED, NOT_SUPPORTED, SUPPORTED, verdict
from zoo.textbook.claims import missing_pixels as claim
from zoo.textbook.lab import Lab

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("suite", ["quick", "textbook"])
def test_cases(suite):
    cases = claim.cases(suite)
    assert len({tuple(case.parameters.items()) for case in cases}) == len(cases)
    seeds = {case.parameters["seed"] for case in cases}
    assert seeds == set(range(5))
    assert sum(case.seconds for case in cases) <= (30 if suite == "quick" else 750)
    lines = {(case.parameters["data"], case.parameters["fill"]) for case in cases}
    for data in {data for data, _ in lines}:  # both families, both ways to fill in, and training with masks
        assert {(data, fill) for fill in (claim.MARGINAL, claim.LOCAL, claim.MEAN, claim.MASKED)} <= lines


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return Lab(tmp_path_factory.mktemp("lab"))


@pytest.mark.parametrize(
    ("model", "fill", "options"),
    [
        ("naive_bayes", claim.MARGINAL, {}),
        ("logistic_regression", claim.LOCAL, {"fill": "local"}),
        ("logistic_regression", claim.MEAN, {"fill": "mean"}),
    ],
)
def test_measure(lab, model, fill, options):
    """The accuracies are those of zoo.classify on the seed's images and masks."""
    case = {"data": "digits", "model": model, "fill": fill, "seed": 1}
    measured = claim.measure(case, lab)
    assert measured == claim.measure(case, lab)
    assert measured["masks"] == list(claim.MASKS["digits"])
    splits = roster.splits(lab, model, "digits", 1)  # validation images that this seed's training has not seen
    trained = lab.train(*claim.words(model, "digits", 1))
    outcomes = []
    for split, quantity in ((splits.test, "accuracy"), (splits.val, "validated")):
        order = torch.randperm(len(split), generator=torch.Generator().manual_seed(claim.ORDER))
        x, labels = split.images[order].float() / 255, split.labels[order]
        observed = observed_mask("mcar", len(x), (28, 28), 0.5, torch.Generator().manual_seed(1))
        outcomes += [zoo.classify(trained, x, seen, **options).argmax(1) == labels for seen in (None, observed)]
        assert measured[quantity][1] == pytest.approx(float(outcomes[-1].double().mean()))
    for place, right in enumerate(outcomes[:2]):
        assert measured["accuracy"][place] == pytest.approx(float(right.double().mean()))
        assert measured["wrong"][place] == (~right).nonzero()[:, 0].tolist()
    assert measured["validated"][0] is None
    assert measured["images"] == [len(splits.test)] * 3


def test_all_seeds_are_asked_about_the_same_images_in_the_same_order(lab, monkeypatch):
    """And under masks of their own: of an image that both have wrong without a mask, the place is the same."""
    asked = []
    monkeypatch.setattr(claim, "guess", lambda model, split, mask, *_: asked.append((mask, split)) or split.labels)
    for seed in (0, 1):
        claim.measure({"data": "digits", "model": "naive_bayes", "fill": claim.MARGINAL, "seed": seed}, lab)
    tested = [split.images for mask, split in asked if mask == "0"]
    assert len(tested) == 2
    assert torch.equal(*tested)


def test_completed_images_are_the_mixtures(lab, monkeypatch):
    monkeypatch.setattr(claim, "COMPLETED_IMAGES", 30)
    case = {"data": "digits", "model": "logistic_regression", "fill": claim.COMPLETED, "seed": 0}
    measured = claim.measure(case, lab)
    assert measured["images"] == [30, 30, 30]
    test = zoo.ImageDataModule("digits").splits.test
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(claim.ORDER))[:30]
    x, labels = test.images[order].float() / 255, test.labels[order]
    observed = observed_mask("half", 30, (28, 28), generator=torch.Generator().manual_seed(0))
    completed = zoo.impute(lab.train(*claim.words("gmm", "digits", 0)), x, observed, mean=True)[0]
    model = lab.train(*claim.words("logistic_regression", "digits", 0))
    expected = float((model.classify(completed).argmax(1) == labels).double().mean())
    assert measured["accuracy"][2] == pytest.approx(expected)


def test_one_is_trained_with_masks_and_the_mixture_is_small():
    assert "data.augment.hide=0.9" in claim.words("cnn", "mnist", 0, claim.MASKED)
    assert claim.words("cnn", "mnist", 0) == claim.words("cnn", "mnist", 0, claim.MEAN)
    assert {"model.num_components=16", "model.pca=30"} < set(claim.words("gmm", "mnist", 0))


def test_fewer_images_are_the_first_of_more():
    """Models that are asked about fewer images see the same ones, with the same pixels missing."""
    for kind in ("mcar", "half"):
        masks = [observed_mask(kind, n, (28, 28), 0.5, torch.Generator().manual_seed(2)) for n in (500, 2000)]
        assert torch.equal(masks[0], masks[1][:500])


ROWS = {  # accuracy of complete images, with 50 % of the pixels missing, and with half an image
    ("naive_bayes", claim.MARGINAL): (84, 80, 60),
    ("gmm", claim.MARGINAL): (98, 97.5, 84),
    ("cnn", claim.LOCAL): (99.4, 98.2, 80),
    ("cnn", claim.MEAN): (99.4, 64, 70),
    ("cnn", claim.MASKED): (99.2, 97.9, 75),
    ("cnn", claim.COMPLETED): (99.4, 98.6, 88),
}


def rows(changed=None, noise=2, images=10_000):
    """``noise``: by how many images of 10,000 the seeds differ under masks. What is wrong are the first images."""
    found = []
    for (model, fill), (complete, pixels, half) in (ROWS | (changed or {})).items():
        for seed in range(5 if model == "naive_bayes" else 3):
            masks = ["0", "50", "half"] if fill == claim.COMPLETED else ["0", "50", "90", "half"]
            asked = images // 10 if fill == claim.COMPLETED else images
            accuracies = {"0": complete, "50": pixels, "90": pixels, "half": half}
            wrong = {mask: round(asked * (1 - accuracy / 100)) for mask, accuracy in accuracies.items()}
            wrong |= {mask: wrong[mask] + noise * (1 - seed) for mask in masks if mask != "0"}
            found.append(
                {"data": "mnist", "model": model, "fill": fill, "seed": seed, "masks": masks,
                 "accuracy": [1 - wrong[mask] / asked for mask in masks], "images": [asked] * len(masks),
                 "wrong": [_spread(wrong[mask], asked, images) for mask in masks],
                 "validated": [accuracies[mask] / 100 if mask in claim.JUDGED else None for mask in masks]}
            )  # fmt: skip
    return found


def _spread(wrong, asked, images):
    """Places of ``wrong`` images among the first ``asked``, evenly: of the first tenth as many as of all."""
    step = 37  # has no divisor in common with the numbers of images
    return (
        sorted(place * step % asked for place in range(wrong))
        if asked < images
        else sorted((place % 10) * (images // 10) + place // 10 * step % (images // 10) for place in range(wrong))
    )


def test_verdicts():
    found = {finding.key: finding for finding in claim.findings(rows())}
    assert found["mnist-graceful"].values == pytest.approx([0.52, 0.5, 0.48])
    assert found["mnist-graceful"].error == pytest.approx(100 * (0.005 * 0.995 / 10_000) ** 0.5, rel=0.01)
    assert "Gaussian mixture" in found["mnist-graceful"].statement
    assert found["mnist-50-unprepared"].values == pytest.approx([0.7] * 3)
    assert 0 < found["mnist-50-unprepared"].error < 0.15
    assert "CNN that sees the local mean" in found["mnist-50-unprepared"].statement
    assert found["mnist-50-trained"].estimate == pytest.approx(0.8)
    assert found["mnist-half-unprepared"].estimate == pytest.approx(19.4 - 14)
    assert found["mnist-half-trained"].estimate == pytest.approx(24.2 - 14)
    told = {"50-accuracy": -0.7, "half-accuracy": 4, "50-grey": 34.2, "half-grey": 10}
    for key, value in told.items():
        assert found[f"mnist-{key}"].estimate == pytest.approx(value)
        assert found[f"mnist-{key}"].verdict == MEASURED
    # the same images of the smaller one are wrong for the larger one: what differs are 0.7 % of them
    assert found["mnist-50-accuracy"].error == pytest.approx(100 * (0.007 * 0.993 / 10_000) ** 0.5, rel=0.05)
    assert set(found) == {"mnist-graceful", *(f"mnist-{mask}-{key}" for mask in claim.JUDGED for key in (
        "unprepared", "trained", "accuracy", "grey", "completed"))}  # fmt: skip
    assert verdict(list(found.values())) == SUPPORTED


def test_completed_images_are_compared_with_the_same_ones():
    """The first thousand: what the other line has wrong beyond them does not count."""
    made = rows()
    for row in made:
        if row["fill"] == claim.COMPLETED:
            row["wrong"] = [[1, 2, 3]] * 3
        elif row["fill"] == claim.LOCAL:
            row["wrong"] = [[1, 2, 3, 4, 999, 1000, 5000]] * 4
    found = {finding.key: finding for finding in claim.findings(made)}
    assert found["mnist-half-completed"].values == pytest.approx([0.2] * 3)
    assert found["mnist-half-completed"].error == pytest.approx(100 * (0.002 * 0.998 / 1000) ** 0.5, rel=1e-3)


def test_verdicts_can_go_the_other_way():
    def judged(*arguments, **options):
        return {finding.key: finding.verdict for finding in claim.findings(rows(*arguments, **options))}

    assert judged({("gmm", claim.MARGINAL): (98, 96, 84)})["mnist-graceful"] == NOT_SUPPORTED
    assert judged({("gmm", claim.MARGINAL): (98, 97, 84)})["mnist-graceful"] == INCONCLUSIVE
    robust = judged({("cnn", claim.LOCAL): (99.4, 99.3, 95)})
    assert robust["mnist-50-unprepared"] == robust["mnist-half-unprepared"] == NOT_SUPPORTED
    assert robust["mnist-50-trained"] == SUPPORTED
    assert judged({("cnn", claim.LOCAL): (99.4, 99, 80)}, images=200, noise=0)["mnist-50-unprepared"] == INCONCLUSIVE
    prepared = claim.findings(rows({("cnn", claim.MASKED): (99.2, 99.1, 90)}))
    assert verdict(prepared) == NOT_SUPPORTED
    told = {finding.key: finding for finding in prepared}
    assert told["mnist-half-trained"].verdict == NOT_SUPPORTED
    assert told["mnist-half-strongest"].estimate == pytest.approx(-6)


def test_the_best_is_chosen_on_validation_images_for_each_kind_of_mask():
    """By accuracy under the mask: not the one that loses least, nor the one that is best on test images."""
    least = claim.findings(rows({("naive_bayes", claim.MARGINAL): (80, 80, 80)}))[0]
    assert "Gaussian mixture" in least.statement
    made = rows({("cnn", claim.MEAN): (99.4, 64, 82)})
    said = {finding.key: finding.statement for finding in claim.findings(made)}
    assert "sees the local mean" in said["mnist-50-unprepared"]
    assert "sees the training mean" in said["mnist-half-unprepared"]
    for row in made:
        if row["fill"] == claim.MEAN:
            row["validated"] = [0.5] * len(row["masks"])
    said = {finding.key: finding.statement for finding in claim.findings(made)}
    assert "sees the local mean" in said["mnist-half-unprepared"]


def test_figures():
    drawn = claim.figures(rows())
    assert set(drawn) == {"mnist-missing", "mnist-50-missing", "mnist-half-missing"}
    for figure in drawn.values():
        axes = figure.axes[0]
        assert axes.get_title(loc="left").startswith("MNIST")
        assert axes.get_xlabel()
    lines = [line for line in drawn["mnist-missing"].axes[0].get_lines() if not line.get_label().startswith("_")]
    assert len(lines) == len({line.get_label() for line in lines}) == len(ROWS) - 1  # completed at 50 % alone
    lengths = [patch.get_width() for patch in drawn["mnist-50-missing"].axes[0].patches]
    assert lengths[1:] == pytest.approx([pixels for _, pixels, _ in list(ROWS.values())[1:]])
