"""The claim about learning curves: the crossover on curves and on Gaussians that are known, a measurement, verdicts."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier

import zoo
from zoo.data.splits import Split
from zoo.metrics.classification import summarize
from zoo.textbook.claim import NOT_SUPPORTED, SUPPORTED, verdict
from zoo.textbook.claims import learning_curves as claim
from zoo.textbook.lab import Lab

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("suite", ["quick", "textbook"])
def test_cases(suite):
    cases = claim.cases(suite)
    assert len({tuple(case.parameters.items()) for case in cases}) == len(cases)
    assert sum(case.seconds for case in cases) <= (21 if suite == "quick" else 700)
    seeds = {}
    for case in cases:
        data, model, n = (case.parameters[key] for key in ("data", "model", "n"))
        seeds.setdefault((data, model, n), []).append(case.parameters["seed"])
    for data in {case.parameters["data"] for case in cases}:
        for first, second in claim.EXAMINED[data]:  # seeds of models that are compared are the same
            assert all(seeds[data, first, n] == seeds[data, second, n] for n in claim.sizes(data))
    if suite == "textbook":  # who costs seconds, and is judged, is repeated most
        assert [len(seeds["mnist", "naive_bayes", n]) for n in claim.sizes("mnist")] == [5, 10, 5, 5, 5, 5]
        assert [len(seeds["mnist", "mlp", n]) for n in claim.sizes("mnist")] == [5, 10, 5, 5, 5, 3]
        assert ("fashion_mnist", "mlp", 10) not in seeds


def test_crossover_of_curves():
    ns = [10, 100, 1000, 10_000]
    assert claim.crossover(ns, [3, 3, 3, 3], [1, 2, 4, 5]) == pytest.approx(10**2.5)  # halfway on the logarithm
    assert claim.crossover(ns, [3, 3, 3, 3], [1, 3, 4, 5]) == pytest.approx(100)
    assert claim.crossover(ns, [3, 3, 3, 3], [4, 2, 2.5, 4.5]) == pytest.approx(10**3.25)  # the last one counts
    assert claim.crossover(ns, [3, 3, 3, 3], [1, 1, 1, 3]) == math.inf
    assert math.isnan(claim.crossover(ns, [3, 3, 3, 3], [4, 4, 4, 4]))


def test_crossover_of_gaussians():
    """Ng & Jordan's case: the asymptotes of both learners are known, and only where independence is wrong do they
    cross; where it is right the generative learner stays ahead."""
    rng = np.random.default_rng(0)
    ns, tests = [20, 40, 160, 2048], 20_000

    def curves(covariance, shift, repeats=15):
        factor = np.linalg.cholesky(covariance)

        def draw(n):
            labels = np.arange(n) % 2
            return rng.normal(size=(n, len(shift))) @ factor.T + np.outer(labels - 0.5, shift), labels

        test = draw(tests)
        scores = np.zeros((2, len(ns)))
        for column, n in enumerate(ns):
            for _ in range(repeats):
                train = draw(n)
                generative = GaussianNB().fit(*train)
                generative.var_[:] = generative.var_.mean(0)  # one variance for both classes: linear
                scores[:, column] += [generative.score(*test), LogisticRegression(C=1e6).fit(*train).score(*test)]
        return scores / repeats

    shift = np.full(16, 0.5)
    first, second = curves(np.eye(16), shift)
    assert claim.crossover(ns, first[:-1], second[:-1]) == math.inf
    assert first[-1] == pytest.approx(norm.cdf(np.linalg.norm(shift) / 2), abs=0.02)
    covariance = np.eye(16)
    covariance[0, 1] = covariance[1, 0] = -0.7  # naive Bayes cannot see that the sum of two tells much
    weights = shift / np.diag(covariance)
    naive = norm.cdf(shift @ weights / (2 * math.sqrt(weights @ covariance @ weights)))
    best = norm.cdf(math.sqrt(shift @ np.linalg.solve(covariance, shift)) / 2)
    first, second = curves(covariance, shift)
    assert first[-1] == pytest.approx(naive, abs=0.01)
    assert second[-1] == pytest.approx(best, abs=0.01)
    assert 20 < claim.crossover(ns, first, second) < 2048


def test_each_seed_draws_other_images_of_most_as_of_few(tmp_path):
    lab = Lab(tmp_path)
    whole = lab.splits("digits").train
    for n in claim.sizes("digits"):
        first, again, second = (claim.drawn(lab, "digits", n, seed) for seed in (0, 0, 1))
        assert len(first) == n < len(whole)
        assert torch.equal(first.images, again.images)
        assert not torch.equal(first.images, second.images)
    shares, drawn = (labels.bincount() / len(labels) for labels in (whole.labels, first.labels))
    assert (shares - drawn).abs().max() < 1e-3  # of most of them as there are


@pytest.mark.parametrize("model", ["naive_bayes", "logistic_regression"])
def test_measure(model, tmp_path):
    """Both of the exact pair see black and white pixels of the drawn images, and all test images are asked about."""
    lab = Lab(tmp_path)
    measured = claim.measure({"data": "digits", "model": model, "n": 30, "seed": 1}, lab)
    splits = lab.splits("digits", train_size=30, split_seed=1)
    train, test = claim.black_or_white(splits.train), claim.black_or_white(splits.test)
    assert set(train.images.unique().tolist()) == {0, 255}
    if model == "naive_bayes":  # closed form
        on = train.images.flatten(1).double() / 255
        logits, prior = [], []
        for label in range(10):
            members = on[train.labels == label]
            share = (members.sum(0) + 1) / (len(members) + 2)
            logits.append(share)
            prior.append(len(members) / 30)
        share, x = torch.stack(logits), test.images.flatten(1).double() / 255
        joint = x @ share.log().T + (1 - x) @ (1 - share).log().T + torch.tensor(prior).log()
        assert measured["accuracy"] == pytest.approx(summarize(joint.log_softmax(1), test.labels)["accuracy"], abs=0.01)
    assert 0.5 < measured["accuracy"] < 1
    assert measured["tested"] == len(test)
    assert len(measured["wrong"]) == round((1 - measured["accuracy"]) * len(test))


def test_a_nearest_neighbour(tmp_path):
    """Against scikit-learn's; a training image is its own."""
    splits = Lab(tmp_path).splits("digits", train_size=300, split_seed=1)
    train, test = splits.train, splits.test
    assert torch.equal(claim.nearest_labels(train, train.images), train.labels)
    known = KNeighborsClassifier(1).fit(train.images.flatten(1).numpy() / 255, train.labels.numpy())
    expected = known.score(test.images.flatten(1).numpy() / 255, test.labels.numpy())
    measured = claim.measure({"data": "digits", "model": claim.NEIGHBOUR, "n": 300, "seed": 1}, Lab(tmp_path))
    assert measured["accuracy"] == pytest.approx(expected)
    assert set(measured) == {"accuracy", "tested", "wrong"}  # it says no probabilities


def test_few_images_are_seen_as_often_as_many(tmp_path, monkeypatch):
    lab = Lab(tmp_path)
    sizes = []
    fit = lab.fit

    def counted(*words, train):
        sizes.append(len(train))
        return fit(*words, "trainer.max_epochs=1", train=train)

    monkeypatch.setattr(lab, "fit", counted)
    for model, n in (("mlp", 30), ("logistic_regression", 1300), ("naive_bayes", 30)):
        claim.measure({"data": "digits", "model": model, "n": n, "seed": 0}, lab)
    assert sizes == [510, 1300, 30]  # what counts cannot learn more from the same ones


def test_words_are_the_recipes():
    for data in ("mnist", "fashion_mnist"):
        for model in ("naive_bayes", "logistic_regression", "mlp"):
            changed = {word.partition("=")[0] for word in claim.words(model, data, 300, 0)}
            assert changed == {"model", "data", "seed", "data.augment", "trainer.accelerator"}
    for n, components in ((300, 1), (10_000, 10), (55_000, 55)):
        assert f"model.num_components={components}" in claim.words("gmm", "mnist", n, 0)


def test_lab_fits_given_images(tmp_path):
    """Statistics and classes are those of the images that are given, and nothing is validated."""
    lab = Lab(tmp_path)
    images = torch.full((20, 1, 28, 28), 51, dtype=torch.uint8)
    model = lab.fit("model=naive_bayes", "data=digits", train=Split(images, torch.arange(20) % 10))
    assert model.spec.mean == pytest.approx((0.2,))
    assert zoo.classify(model, images[:1].float() / 255).exp()[0].tolist() == pytest.approx([0.1] * 10)
    assert list(tmp_path.iterdir()) == []  # nothing is kept


TESTED = 1000


def row(data, model, n, seed, accuracy):
    """Test images in the order of their difficulty; those that are too difficult are wrong."""
    right = round(accuracy * TESTED)
    return {"data": data, "model": model, "n": n, "seed": seed, "accuracy": right / TESTED, "tested": TESTED,
            "wrong": list(range(right, TESTED))}  # fmt: skip


def rows(few=0.02, end=-0.03):
    found = []
    for data in ("mnist", "fashion_mnist"):
        for n, gap in ((10, few), (30, few), (1000, 0.0), (55_000, end)):
            for seed in range(5 if n <= 1000 else 3):
                for first, second in claim.EXAMINED[data]:
                    accuracy = 0.8 + 0.002 * seed
                    found.append(row(data, second, n, seed, accuracy))
                    found.append(row(data, first, n, seed, accuracy + gap + 0.001 * (seed % 2) * (n != 1000)))
                found.append(row(data, claim.NEIGHBOUR, n, seed, 0.7))
    return found


def test_findings():
    found = claim.findings(rows())
    assert verdict(found) == SUPPORTED
    assert [finding.key for finding in found if finding.above is not None or finding.below is not None] == [
        "mnist-naive_bayes-few", "mnist-naive_bayes-most", "mnist-gmm-few", "mnist-gmm-most",
        "fashion_mnist-naive_bayes-few", "fashion_mnist-naive_bayes-most",
    ]  # fmt: skip
    crossovers = [finding for finding in found if finding.key.endswith("crossover")]
    assert len(crossovers) == 3
    assert all(finding.values == pytest.approx([1000] * 3) for finding in crossovers)
    assert all(10 <= end <= 55_000 for finding in crossovers for end in finding.interval)
    ends = next(finding for finding in found if finding.key == "mnist-naive_bayes-most")
    # the images that only one of the two can tell, 3 % of a thousand, and no others
    assert ends.error == pytest.approx(100 * math.sqrt(0.03 * 0.97 / TESTED), rel=0.05)
    assert "55,000 labels of MNIST" in ends.statement
    assert verdict(claim.findings(rows(few=-0.02))) == NOT_SUPPORTED
    assert verdict(claim.findings(rows(end=0.02))) == NOT_SUPPORTED


def test_figures():
    figures = claim.figures(rows())
    assert set(figures) == {"mnist", "fashion_mnist"}
    axes = figures["mnist"].axes[0]
    assert len(axes.lines) == 5
    assert axes.get_xscale() == "log"
    assert axes.lines[0].get_ydata()[-1] == pytest.approx(100 * (0.802 - 0.03 + 0.001 / 3))
    assert len(figures["fashion_mnist"].axes[0].lines) == 3
