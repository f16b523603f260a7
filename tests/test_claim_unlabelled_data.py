"""The claim that unlabelled data helps: what is measured, and how it is judged."""

import pytest

from zoo.textbook.claim import NOT_SUPPORTED, SUPPORTED, verdict
from zoo.textbook.claims import unlabelled_data as claim
from zoo.textbook.lab import Lab

pytestmark = pytest.mark.usefixtures("one_thread")

TESTED = 10_000  # images


def rows(suite, gain):
    """Made-up measurements: unlabelled images give ``gain(method, labels)``, and a little more with each seed."""
    found = []
    for case in claim.cases(suite):
        values = case.parameters
        accuracy = 0.7 + (values["labels"] > 100) * 0.2 + 0.001 * values["seed"]
        if values["unlabelled"]:
            accuracy += gain(values["method"], values["labels"]) + 0.001 * values["seed"]
        wrong = list(range(round((1 - accuracy) * TESTED)))  # the most difficult ones, for all
        found.append({**values, "accuracy": accuracy, "tested": TESTED, "wrong": wrong})
    return found


def textbook(method, labels):
    if labels > 100:
        return -0.03 if method == "naive_bayes" else 0.05
    return 0.27 if method == "lenet" else 0.1


@pytest.mark.parametrize("suite", ["quick", "textbook"])
def test_cases(suite):
    parameters = [str(sorted(case.parameters.items())) for case in claim.cases(suite)]
    assert len({*parameters}) == len(parameters)
    assert all(0 < case.seconds <= 120 for case in claim.cases(suite))
    assert sum(case.seconds for case in claim.cases(suite)) <= (20 if suite == "quick" else 850)
    keys = ("method", "labels", "seed")
    draws = {tuple(case.parameters[key] for key in keys) for case in claim.cases(suite)}
    few = claim.LABELS["digits" if suite == "quick" else "mnist"][0]
    lenet = [seed for method, n, seed in draws if (method, n) == ("lenet", few)]
    assert len(lenet) == (5 if suite == "quick" else 10)
    # each draw of labels has an autoencoder, whose time is counted once
    dear = [case for case in claim.cases(suite) if case.seconds > claim.AUTOENCODER[case.parameters["data"]]]
    assert sorted(case.parameters["seed"] for case in dear if case.parameters["method"] == "logistic") == sorted(lenet)


def test_supported_where_the_textbook_is_right():
    found = {finding.key: finding for finding in claim.findings(rows("textbook", textbook))}
    assert found["naive-bayes-few"].estimate == pytest.approx(10.2)  # a tenth of a point more each seed
    assert found["naive-bayes-many"].estimate == pytest.approx(-2.9)
    assert found["fades"].estimate == pytest.approx(22)
    assert found["error"].estimate == pytest.approx(2.1)
    assert all(finding.error > 0 for finding in found.values())
    assert len(found["error"].values) == 10
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
    assert list(lines["LeNet"].get_ydata()) == pytest.approx([27.45, 5.1])
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
    guessed = claim.guessed_linearly(None, splits)
    assert float((guessed == splits.test.labels).double().mean()) > 0.6
    once, twice = claim.guess(model, splits.train, claim.SPREAD), claim.spread_twice(lab, "digits", splits.train, 0)
    truth = lab.splits("digits").train
    assert len(once) == len(twice) == len(truth)
    labels = {image.numpy().tobytes(): label for image, label in zip(truth.images, truth.labels.tolist(), strict=True)}
    errors = [sum(labels[image.numpy().tobytes()] != label
                  for image, label in zip(split.images, split.labels.tolist(), strict=True)) / len(split)
              for split in (once, twice)]  # fmt: skip
    assert errors[1] < errors[0] < 0.2
    assert claim.measure(cases["lenet", True], lab)["accuracy"] > 0.8
