"""The claim about damaged training images: the damages, a measurement, verdicts on made-up rows."""

import pytest
import torch

from zoo.data.splits import Split
from zoo.textbook.claim import NOT_SUPPORTED, SUPPORTED, verdict
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
    assert sum(case.seconds for case in cases) / 2 <= (15 if suite == "quick" else 420)
    kinds = {(case.parameters["damage"], case.parameters["share"]) for case in cases}
    assert suite == "quick" or set(claim.DAMAGES.values()) <= kinds


def test_measure(tmp_path):
    """The damage is in the training images alone, is the same for all models, and costs what it should."""
    lab = Lab(tmp_path)
    case = {"data": "digits", "model": "naive_bayes", "n": 300, "seed": 0}
    clean = claim.measure({**case, "damage": "none", "share": 0.0}, lab)
    # labels that are all wrong teach what an image is not
    wrong = claim.measure({**case, "damage": "labels", "share": 1.0}, lab)
    assert clean["all"] > 0.8
    assert wrong["all"] < 0.1
    rare = claim.measure({**case, "damage": "imbalance", "share": 1 / 30}, lab)
    assert rare["rare"] < clean["rare"] - 0.05
    train = lab.splits("digits", train_size=300, split_seed=0).train
    for kind in ("labels", "pixels"):
        first, second = (claim.damaged(train, {**case, "damage": kind, "share": 0.5}, lab) for _ in range(2))
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.labels, second.labels)
        assert not torch.equal(first.labels, train.labels)


def rows(**drops):
    found = []
    kinds = [("none", 0.0), *(("labels", share) for share in claim.NOISE), *list(claim.DAMAGES.values())[1:]]
    for first, second in claim.PAIRS:
        for kind, share in kinds:
            for seed in range(3):
                for model, lost in ((first, 0.01), (second, drops.get(kind, 0.05))):
                    accuracy = 0.9 + 0.001 * seed - (kind != "none") * (lost + 0.0002 * seed)
                    found.append({"data": "mnist", "model": model, "damage": kind, "share": share, "seed": seed,
                                  "all": accuracy, "rare": accuracy})  # fmt: skip
    return found


def test_findings():
    found = claim.findings(rows())
    assert len({finding.key for finding in found}) == len(found) == 8
    assert all(finding.values == pytest.approx([4.0] * 3) for finding in found)  # 5 points less 1
    assert verdict(found) == SUPPORTED
    spared = {finding.key: finding.verdict for finding in claim.findings(rows(garments=0.0))}
    assert spared["garments-gmm"] == NOT_SUPPORTED
    assert spared["labels-gmm"] == SUPPORTED


def test_figures():
    figures = claim.figures(rows())
    assert set(figures) == {"labels", "garments", "pixels", "imbalance"}
    assert len(figures["labels"].axes[0].lines) == 4
    assert list(figures["labels"].axes[0].lines[0].get_xdata()) == pytest.approx([0, 20, 40, 60])
