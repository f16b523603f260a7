"""Two classes: each figure against scikit-learn's, and thresholds against all that there are."""

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn

from zoo.metrics import binary, calibration
from zoo.metrics.classification import confusion_matrix, macro_f1, per_class, summarize

pytestmark = pytest.mark.usefixtures("one_thread")


def made_up(n: int = 200, levels: int = 0, seed: int = 0, share: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    """log p(y | x) of two classes, ``(n, 2)``, on a few levels if need be, and labels that they tell something of."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(n, generator=generator) < share).long()
    logits = torch.randn(n, generator=generator) + labels - 0.5
    if levels:
        logits = (logits * levels).round() / levels
    return torch.stack([-logits, logits], 1).div(2).log_softmax(1), labels


@pytest.mark.parametrize("levels", [0, 1, 3])
def test_all_figures_are_those_of_scikit_learn(levels):
    log_proba, labels = made_up(levels=levels)
    p, y = log_proba[:, 1].double().exp().numpy(), labels.numpy()
    found = binary.summarize(log_proba, labels) | summarize(log_proba, labels)
    assert found["auroc"] == pytest.approx(sklearn.roc_auc_score(y, p), abs=1e-12)
    assert found["average_precision"] == pytest.approx(sklearn.average_precision_score(y, p), abs=1e-12)
    assert found["brier"] == pytest.approx(sklearn.brier_score_loss(y, p), abs=1e-7)
    assert found["f1"] == sklearn.f1_score(y, log_proba.argmax(1).numpy())
    assert found["cost"] == pytest.approx(1 - found["accuracy"])
    assert found["brier"] == pytest.approx(calibration.brier(log_proba, labels).mean().item() / 2, abs=1e-7)


@pytest.mark.parametrize("levels", [0, 2])
def test_curves_are_those_of_scikit_learn(levels):
    log_proba, labels = made_up(levels=levels)
    scores = binary.log_odds(log_proba)
    false, true, _ = sklearn.roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(torch.stack(binary.roc_curve(scores, labels)), [false, true], atol=1e-12)
    precision, recall, _ = sklearn.precision_recall_curve(labels, scores)  # from the lowest score on, and an end
    found = torch.stack(binary.precision_recall_curve(scores, labels)).numpy()
    np.testing.assert_allclose(found[:, ::-1], [precision[:-1], recall[:-1]], atol=1e-12)


def test_ranks_outlast_the_rounding_of_probabilities():
    """Of a density: probabilities are 1 in float64, and some are surer than others."""
    log_proba = torch.tensor([[-50.0, 0.0], [-60.0, 0.0], [-40.0, 0.0], [0.0, -800.0]])
    labels = torch.tensor([1, 1, 0, 0])
    assert summarize(log_proba, labels)["auroc"] == 1


def test_the_second_class_is_the_positive_one():
    log_proba = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]]).log()
    labels = torch.tensor([0, 0, 1, 1])
    found = binary.summarize(log_proba, labels, 0.5, (1.0, 5.0))
    assert found["cost"] == 5 / 4  # one is missed
    assert found["f1"] == pytest.approx(2 / 3)
    assert binary.summarize(log_proba.flip(1), 1 - labels, 0.5, (1.0, 5.0))["cost"] == 1 / 4


@pytest.mark.parametrize("label", [0, 1])
def test_of_one_class_alone_what_needs_both_is_left_out(label):
    log_proba, _ = made_up(20)
    labels = torch.full((20,), label)
    assert set(binary.summarize(log_proba, labels)) == {"brier", "cost"}
    assert set(summarize(log_proba, labels)) == {"accuracy", "nll", "ece"}
    broken = torch.full((20, 2), math.nan)
    assert "auroc" not in summarize(broken, torch.arange(20) % 2)


# Costs


@pytest.mark.parametrize("costs", [(1.0, 1.0), (1.0, 5.0), (7.0, 0.5)])
@pytest.mark.parametrize("levels", [0, 2])
def test_no_threshold_is_cheaper(costs, levels):
    log_proba, labels = made_up(60, levels)
    p = log_proba[:, 1].double().exp()
    chosen = binary.cheapest_threshold(p, labels, costs)
    assert 0 <= chosen <= 1
    every = torch.cat([p, p - 1e-12, p + 1e-12, torch.linspace(0, 1, 1001)]).clamp(0, 1).tolist()
    least = min(binary.cost(p, labels, threshold, costs) for threshold in every)
    assert binary.cost(p, labels, chosen, costs) == pytest.approx(least, abs=1e-12)


def test_the_curve_is_the_cost_at_each_threshold():
    log_proba, labels = made_up(40, 2)
    p = log_proba[:, 1].double().exp()
    edges, costs = binary.cost_curve(p, labels, (1.0, 3.0))
    assert edges[0] == 0
    assert edges[-1] == 1
    for low, high, value in zip(edges[:-1].tolist(), edges[1:].tolist(), costs.tolist(), strict=True):
        for threshold in (low, (low + high) / 2):
            assert value == pytest.approx(binary.cost(p, labels, threshold, (1.0, 3.0)), abs=1e-12)


def test_of_thresholds_that_cost_the_same_it_is_the_middle():
    p, labels = torch.tensor([0.1, 0.2, 0.6, 0.9]).double(), torch.tensor([0, 0, 1, 1])
    assert binary.cheapest_threshold(p, labels, (1.0, 1.0)) == pytest.approx(0.4)
    labels = torch.tensor([0, 1, 0, 1])  # [0.1, 0.2) costs one false one, [0.6, 0.9) one that is missed
    assert binary.cheapest_threshold(p, labels, (1.0, 1.0)) == pytest.approx(0.75)  # nearer to 1/2
    assert binary.cheapest_threshold(p, labels, (1.0, 1.1)) == pytest.approx(0.15)


def test_the_threshold_at_the_ends():
    """Rounded probabilities: nothing is above 1, and what is 0 is above no threshold."""
    ones, labels = torch.ones(3).double(), torch.tensor([0, 0, 1])
    assert binary.cost(ones, labels, binary.cheapest_threshold(ones, labels, (1.0, 1.0)), (1.0, 1.0)) == 1 / 3
    zeros = torch.zeros(3).double()
    chosen = binary.cheapest_threshold(zeros, labels, (1.0, 9.0))
    assert binary.cost(zeros, labels, chosen, (1.0, 9.0)) == 3
    nearly = torch.tensor([1 - 2**-53, 1.0], dtype=torch.float64)  # there is no number between
    chosen = binary.cheapest_threshold(nearly, torch.tensor([0, 1]), (1.0, 1.0))
    assert binary.cost(nearly, torch.tensor([0, 1]), chosen) == 0


def test_honest_probabilities_are_cheapest_at_the_fair_threshold():
    """With y drawn from p itself, and many of them, the threshold that is found is about c0 / (c0 + c1)."""
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(200_000, generator=generator).double()
    labels = (torch.rand(len(p), generator=generator) < p).long()
    costs = (1.0, 5.0)
    assert binary.fair_threshold(costs) == pytest.approx(1 / 6)
    assert binary.cheapest_threshold(p, labels, costs) == pytest.approx(1 / 6, abs=0.02)
    at_fair = binary.cost(p, labels, 1 / 6, costs)
    assert at_fair == pytest.approx(5 / 12, abs=0.01)  # ∫ min(1 − p, 5 p) dp = 5/12


# All classifiers


def test_figures_of_each_class_are_those_of_scikit_learn():
    """Also where a class is never predicted, or is not there."""
    generator = torch.Generator().manual_seed(0)
    log_proba = torch.randn(100, 5, generator=generator).log_softmax(1)
    log_proba[:, 4] = -30
    labels = torch.randint(3, (100,), generator=generator)  # 3 is predicted alone, 4 neither
    predicted, confusion = log_proba.argmax(1), confusion_matrix(log_proba, labels)
    assert macro_f1(confusion) == pytest.approx(sklearn.f1_score(labels, predicted, average="macro"))
    precision, recall, f1, _ = sklearn.precision_recall_fscore_support(
        labels, predicted, labels=range(4), zero_division=0
    )
    found = per_class(confusion)
    np.testing.assert_allclose(found["precision"][:4], precision)
    np.testing.assert_allclose(found["recall"][:3], recall[:3])
    np.testing.assert_allclose(found["f1"][:4], f1)
    undefined = {name: values.isnan().nonzero().flatten().tolist() for name, values in found.items()}
    assert undefined == {"precision": [4], "recall": [3, 4], "f1": [4]}
    labels = torch.randint(5, (100,), generator=generator)
    expected = sklearn.f1_score(labels, predicted, average="macro")
    assert macro_f1(confusion_matrix(log_proba, labels)) == pytest.approx(expected)
