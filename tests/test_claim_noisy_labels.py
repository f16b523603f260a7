"""The claim about damaged training images: the damages, a measurement, verdicts on made-up rows."""

import pytest
import torch

from zoo.data.splits import Split
from zoo.textbook.claim import MEASURED, NOT_SUPPORTED, SUPPORTED, verdict
from zoo.textbook.claims import noisy_labels as claim
from zoo.textbook.lab import Lab

pytestmark = pytest.mark.usefixtures("one_thread")


def seeded():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def split():
    labels = torch.arange(1000) % 10
    return Split(labels.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous(), labels)


def test_flip_labels(split):
    before = split.labels.clone()
    flipped = claim.flip_labels(split.labels, 0.4, 10, seeded())
    assert (flipped != split.labels).sum() == 400  # a flipped label is never the right one
    assert torch.equal(split.labels, before)
    many = claim.flip_labels(torch.zeros(90_000, dtype=torch.long), 1.0, 10, seeded())
    assert many.bincount(minlength=10)[0] == 0
    assert (many.bincount(minlength=10)[1:] - 10_000).abs().max() < 500  # the others are as probable
    assert torch.equal(claim.flip_labels(split.labels, 0.0, 10, seeded()), split.labels)


def test_with_outliers(split):
    strangers = torch.full((100, 1, 2, 2), 255, dtype=torch.uint8)
    damaged = claim.with_outliers(split, strangers, 10, seeded())
    strange = damaged.images.flatten(1)[:, 0] == 255
    assert strange.sum() == 100
    assert torch.equal(damaged.labels[~strange], split.labels[~strange])
    assert (damaged.labels[strange] == split.labels[strange]).sum() < 30  # of a hundred about ten
    assert split.images.max() == 9
    with pytest.raises(ValueError, match="1001 strangers"):
        claim.with_outliers(split, torch.zeros(1001, 1, 2, 2, dtype=torch.uint8), 10, seeded())


def test_imbalanced(split):
    kept = claim.imbalanced(split, 5, 0.02, seeded())
    assert kept.labels.bincount().tolist() == [2] * 5 + [100] * 5
    assert torch.equal(kept.images.flatten(1)[:, 0].long(), kept.labels)
    assert claim.imbalanced(split, 1, 1e-9, seeded()).labels.bincount()[0] == 1


@pytest.mark.parametrize("suite", ["quick", "textbook"])
def test_cases(suite):
    cases = claim.cases(suite)
    assert len({tuple(case.parameters.items()) for case in cases}) == len(cases)
    assert sum(case.seconds for case in cases) <= (19 if suite == "quick" else 500)
    kinds = {(case.parameters["damage"], case.parameters["share"]) for case in cases}
    assert suite == "quick" or set(claim.DAMAGES.values()) <= kinds
    drawn = {}
    for case in cases:
        key = tuple(case.parameters[part] for part in ("model", "damage", "share", "longer"))
        drawn.setdefault(key, []).append(case.parameters["seed"])
    for first, second in claim.PAIRS:
        assert all(drawn[first, *kind, 1] == drawn[second, *kind, 1] for kind in kinds)


def test_measure(tmp_path):
    """The damage is in the training images alone, is the same for all models, and costs what it should."""
    lab = Lab(tmp_path)
    case = {"data": "digits", "model": "naive_bayes", "n": 300, "longer": 1, "seed": 0}
    clean = claim.measure({**case, "damage": "none", "share": 0.0}, lab)
    # labels that are all wrong teach what an image is not
    wrong = claim.measure({**case, "damage": "labels", "share": 1.0}, lab)
    assert clean["accuracy"] > 0.8
    assert wrong["accuracy"] < 0.1
    assert len(wrong["wrong"]) == round((1 - wrong["accuracy"]) * wrong["tested"])
    rare = claim.measure({**case, "damage": "imbalance", "share": 1 / 30}, lab)
    assert rare["accuracy_given"] < clean["accuracy"] - 0.05
    assert rare["accuracy"] > rare["accuracy_given"]
    labels = lab.splits("digits").test.labels
    assert (labels[rare["wrong_given"]] < claim.RARE).double().mean() > 0.8  # it tells classes that are frequent
    assert set(clean) == {"accuracy", "tested", "wrong"}
    train = lab.splits("digits", train_size=300, split_seed=0).train
    for kind in ("labels", "pixels"):
        first, second = (claim.damaged(train, {**case, "damage": kind, "share": 0.5}, lab) for _ in range(2))
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.labels, second.labels)
        assert not torch.equal(first.labels, train.labels)


def test_balanced():
    """Two classes of known densities: dividing by the training shares gives Bayes' rule with equal priors."""
    likelihood = torch.tensor([[0.2, 0.6], [0.5, 0.1]])
    shares = torch.tensor([0.9, 0.1])
    given = (likelihood * shares / (likelihood * shares).sum(1, keepdim=True)).log()
    labels = torch.tensor([0] * 90 + [1] * 10)
    expected = likelihood / likelihood.sum(1, keepdim=True)
    torch.testing.assert_close(claim.balanced(given, labels).exp(), expected)
    torch.testing.assert_close(claim.balanced(given, labels[[0, 95]]), given)


def test_longer_is_more_passes_over_the_same_images(tmp_path, monkeypatch):
    lab = Lab(tmp_path)
    fit, seen = lab.fit, []
    monkeypatch.setattr(lab, "fit", lambda *words, train: seen.append(train) or fit(*words, train=train))
    case = {"data": "digits", "model": "naive_bayes", "damage": "labels", "share": 0.4, "n": 100, "seed": 0}
    for longer in (1, 3):
        claim.measure({**case, "longer": longer}, lab)
    once, thrice = seen
    assert torch.equal(once.labels.repeat(3), thrice.labels)
    assert torch.equal(once.images.repeat(3, 1, 1, 1), thrice.images)


TESTED = 1000


def answers(accuracy, ending=""):
    """Test images in the order of their difficulty; those that are too difficult are wrong."""
    right = round(accuracy * TESTED)
    return {f"accuracy{ending}": right / TESTED, f"wrong{ending}": list(range(right, TESTED))}


def rows(given=0.05, **drops):
    found = []
    for case in claim.cases("textbook"):
        model, kind, longer, seed = (case.parameters[key] for key in ("model", "damage", "longer", "seed"))
        generative = model in [first for first, _ in claim.PAIRS]
        lost = 0.01 if generative else drops.get(kind, 0.05)
        accuracy = 0.9 + 0.002 * seed - (kind != "none") * (longer * lost + 0.001 * (seed % 2) * (not generative))
        found.append({**case.parameters, "tested": TESTED, **answers(accuracy)})
        if kind == "imbalance":
            found[-1] |= answers(accuracy - given * (not generative), claim.GIVEN)
    return found


def test_findings():
    found = {finding.key: finding for finding in claim.findings(rows())}
    assert len(found) == 11
    judged = [finding for finding in found.values() if finding.verdict != MEASURED]
    assert len(judged) == 8
    for finding in judged:
        assert finding.estimate == pytest.approx(4, abs=0.1)  # 5 points less 1
        # the images that only one of both loses by the damage, 4 % of a thousand, and no others
        assert finding.error == pytest.approx(100 * (0.04 * 0.96 / TESTED) ** 0.5, rel=0.1)
    assert len(found["labels-gmm"].values) == claim.SEEDS["gmm"]
    assert verdict(judged) == SUPPORTED
    assert found["imbalance-gmm-given"].estimate == pytest.approx(9, abs=0.1)  # unjudged: the prior learnt along
    assert found["imbalance-gmm-given"].error > found["imbalance-gmm"].error
    assert found["labels-mlp-longer"].estimate == pytest.approx(10)
    assert len(found["labels-mlp-longer"].values) == claim.TOLD_SEEDS
    spared = {finding.key: finding.verdict for finding in claim.findings(rows(garments=-0.02))}
    assert spared["garments-gmm"] == NOT_SUPPORTED
    assert spared["labels-gmm"] == SUPPORTED


def test_figures():
    figures = claim.figures(rows())
    assert set(figures) == {"labels", "garments", "pixels", "imbalance"}
    assert [len(figures[key].axes[0].patches) for key in ("garments", "imbalance")] == [4, 8]  # and without correction
    assert len(figures["labels"].axes[0].lines) == 4
    assert list(figures["labels"].axes[0].lines[0].get_xdata()) == pytest.approx([0, 20, 40, 60])
