"""The claim that unlabelled data helps: what is measured, and how it is judged."""

import pytest
import torch

from zoo.textbook.claim import NOT_SUPPORTED, SUPPORTED, verdict
from zoo.textbook.claims import unlabelled_data as claim
from zoo.textbook.lab import Lab

pytestmark = pytest.mark.usefixtures("one_thread")


def rows(suite, gain):
    """Made-up measurements: unlabelled images give ``gain(method, labels)``, and a little more with each seed."""
    found = []
    for case in claim.cases(suite):
        values = case.parameters
        accuracy = 0.7 + (values["labels"] > 100) * 0.2 + 0.001 * values["seed"]
        if values["unlabelled"]:
            accuracy += gain(values["method"], values["labels"]) + 0.001 * values["seed"]
        found.append({**values, "accuracy": accuracy})
    return found


def textbook(method, labels):
    if labels > 100:
        return -0.01 if method == "naive_bayes" else 0.05
    return 0.26 if method == "lenet" else 0.1


@pytest.mark.parametrize("suite", ["quick", "textbook"])
def test_cases(suite):
    parameters = [str(sorted(case.parameters.items())) for case in claim.cases(suite)]
    assert len({*parameters}) == len(parameters)
    assert all(1 <= case.seconds <= 120 for case in claim.cases(suite))
    assert sum(case.seconds for case in claim.cases(suite)) <= (40 if suite == "quick" else 12 * 60)


def test_supported_where_the_textbook_is_right():
    found = {finding.key: finding for finding in claim.findings(rows("textbook", textbook))}
    assert found["naive-bayes-few"].estimate == pytest.approx(10.1)
    assert found["naive-bayes-many"].estimate == pytest.approx(-0.9)
    assert found["fades"].estimate == pytest.approx(21)
    assert found["error"].estimate == pytest.approx(3.8)
    assert set(found) == {"naive-bayes-few", "gmm-few", "logistic-few", "lenet-few", "m2-few", "naive-bayes-many",
                          "fades", "error"}  # fmt: skip
    assert verdict([*found.values()]) == SUPPORTED


def test_not_supported_where_they_hurt():
    def hurting(method, labels):
        return -0.02 if method == "gmm" else textbook(method, labels)

    found = {finding.key: finding.verdict for finding in claim.findings(rows("textbook", hurting))}
    assert found["gmm-few"] == NOT_SUPPORTED
    assert found["lenet-few"] == SUPPORTED


def test_figures():
    figures = claim.figures(rows("textbook", textbook))
    assert set(figures) == {"error", "gain"}
    assert len(figures["error"].axes[0].patches) == 10
    lines = {line.get_label(): line for line in figures["gain"].axes[0].get_lines()}
    assert list(lines["LeNet"].get_ydata()) == pytest.approx([26.1, 5.1])
    assert set(claim.figures(rows("quick", lambda method, labels: 0.1))) == {"error", "gain"}


def test_measured_on_the_same_labels(tmp_path):
    lab = Lab(tmp_path)
    chosen = [case.parameters for case in claim.cases("quick")]
    cases = {
        (case["method"], case["unlabelled"]): case for case in chosen if case["labels"] == 50 and case["seed"] == 0
    }
    alone = claim.measure(cases["gmm", False], lab)["accuracy"]
    both = claim.measure(cases["gmm", True], lab)["accuracy"]
    assert 0.5 < alone < both < 1
    model = claim.autoencoder(lab, "digits", 0)
    splits = lab.splits("digits", labels=50)
    assert claim.linear_accuracy(None, splits) > 0.6
    spread = claim.guess(model, splits.train, claim.SPREAD)
    truth = lab.splits("digits").train
    assert len(spread) == len(truth)
    assert torch.equal(spread.labels.bincount(minlength=10) > 50, torch.ones(10, dtype=torch.bool))
    assert claim.measure(cases["lenet", True], lab)["accuracy"] > 0.8
