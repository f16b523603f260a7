"""zoo/metrics/detection.py against scikit-learn, against what is known in closed form, and by repetition."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from zoo.errors import ZooError
from zoo.metrics.detection import (
    aupr,
    aupr_interval,
    auroc,
    auroc_interval,
    fpr_at_tpr,
    fpr_interval,
    p_values,
    threshold,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def gaussians(distance: float, n: int, m: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda size: torch.randn(size, generator=generator, dtype=torch.float64)  # noqa: E731
    return draw(n), draw(m) + distance


@pytest.mark.parametrize("decimals", [8, 1, 0])  # of the scores: no ties, some, many
@pytest.mark.parametrize(("n", "m"), [(300, 40), (17, 200)])
def test_scikit_learn(decimals, n, m):
    normal, strange = (scores.mul(10**decimals).round() for scores in gaussians(0.8, n, m))
    labels = np.r_[np.zeros(n), np.ones(m)]
    scores = np.r_[normal.numpy(), strange.numpy()]
    assert auroc(normal, strange) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert aupr(normal, strange) == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    assert fpr_at_tpr(normal, strange) == pytest.approx(fpr[tpr >= 0.95].min(), abs=1e-12)
    assert fpr_at_tpr(normal, strange, 0.5) == pytest.approx(fpr[tpr >= 0.5].min(), abs=1e-12)


def test_two_gaussians():
    """AUROC = Φ(d / √2), FPR at 95 % TPR = Φ(Φ⁻¹(0.95) − d), and the intervals hold them."""
    normal, strange = gaussians(1.5, 40_000, 20_000)
    area, false = norm.cdf(1.5 / math.sqrt(2)), norm.cdf(norm.ppf(0.95) - 1.5)
    assert auroc(normal, strange) == pytest.approx(area, abs=0.005)
    assert fpr_at_tpr(normal, strange) == pytest.approx(false, abs=0.02)
    low, high = auroc_interval(normal, strange)
    assert low < area < high
    assert high - low < 0.01


def test_argument_order():
    """Normal images first; anomalies are the positives, and higher is stranger."""
    normal, strange = torch.tensor([0.0, 1, 2, 3]), torch.tensor([2.5, 9])
    assert auroc(normal, strange) == 7 / 8
    assert auroc(strange, normal) == 1 / 8
    assert aupr(normal, strange) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert fpr_at_tpr(normal, strange) == 1 / 4
    assert auroc_interval(strange, normal)[1] < auroc_interval(normal, strange)[1]


def test_ties_and_infinities():
    same = torch.zeros(7)
    assert auroc(same, same) == 0.5
    assert aupr(same[:6], same[:2]) == 0.25
    assert fpr_at_tpr(same, same) == 1
    infinite = torch.tensor([1.0, math.inf])
    assert auroc(torch.tensor([-math.inf, 0.0]), infinite) == 1
    assert auroc(infinite, infinite) == 0.5


def test_delong_is_the_variance_of_the_area():
    """Against DeLong's sum over pairs, written out; and its coverage over repetitions."""
    normal, strange = (scores.round(decimals=1) for scores in gaussians(1.0, 30, 20))
    pairs = (strange[:, None] > normal).double() + 0.5 * (strange[:, None] == normal).double()
    variance = pairs.mean(1).var() / 20 + pairs.mean(0).var() / 30
    area = float(pairs.mean())
    low, high = auroc_interval(normal, strange)
    logit = lambda p: math.log(p / (1 - p))  # noqa: E731
    assert logit(high) - logit(area) == pytest.approx(1.959964 * float(variance.sqrt()) / (area * (1 - area)), rel=1e-5)
    assert logit(area) - logit(low) == pytest.approx(logit(high) - logit(area))
    true = norm.cdf(1.0 / math.sqrt(2))
    held = [low < true < high for low, high in (auroc_interval(*gaussians(1.0, 60, 60, seed)) for seed in range(400))]
    assert 0.92 < sum(held) / 400 < 0.98


def test_no_overlap():
    """An area of 1 out of few images does not say that it is 1."""
    few, many = (auroc_interval(torch.zeros(n), torch.ones(n)) for n in (10, 1000))
    assert few[1] == many[1] == 1
    assert 0.6 < few[0] < 0.9
    assert 0.99 < many[0] < 1
    assert auroc_interval(torch.ones(10), torch.zeros(10)) == pytest.approx((0, 1 - few[0]))
    # Newcombe's score equation holds at the end: (1 − θ)² = z² V(θ)
    theta, more = few[0], 9 * ((1 - few[0]) / (2 - few[0]) + few[0] / (1 + few[0]))
    assert (1 - theta) ** 2 == pytest.approx(1.959964**2 * theta * (1 - theta) * (1 + more) / 100, rel=1e-5)
    assert auroc_interval(torch.zeros(1), torch.ones(1)) == (0, 1)


def test_bootstrap_coverage():
    """The intervals of FPR and AUPR hold what many images give, about 19 times of 20."""
    false = norm.cdf(norm.ppf(0.95) - 2.0)
    precision = aupr(*gaussians(2.0, 200_000, 200_000))
    held = [0, 0]
    for seed in range(40):
        sets, generator = gaussians(2.0, 200, 200, seed), torch.Generator().manual_seed(seed)
        low, high = fpr_interval(*sets, generator)
        held[0] += low <= false <= high
        low, high = aupr_interval(*sets, generator)
        held[1] += low <= precision <= high
    assert min(held) >= 33


def test_bootstrap_is_repeatable():
    """The same generator gives the same interval, around the value; the global stream is left alone."""
    sets, state = gaussians(1.0, 50, 70), torch.get_rng_state()
    first = aupr_interval(*sets, torch.Generator().manual_seed(3))
    assert first == aupr_interval(*sets, torch.Generator().manual_seed(3))
    assert first != aupr_interval(*sets, torch.Generator().manual_seed(4))
    low, high = first
    assert low < aupr(*sets) < high
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("n", [19, 20, 99, 500])
@pytest.mark.parametrize("alarm", [0.05, 0.1, 0.3])
def test_threshold(n, alarm):
    """At most the stated share of n + 1 equally likely ranks lies above, and no more could; p-values agree."""
    calibration = torch.arange(n, dtype=torch.float64)[torch.randperm(n, generator=torch.Generator().manual_seed(0))]
    limit = threshold(calibration, alarm)
    above = n - 1 - int(limit)  # calibration images above it
    assert (above + 1) / (n + 1) <= alarm + 1e-9 < (above + 2) / (n + 1)
    scores = torch.arange(-1, n + 1, 0.5, dtype=torch.float64)
    assert torch.equal(p_values(calibration, scores) <= alarm + 1e-9, scores > limit)


def test_false_alarms():
    """Over calibration sets, a new normal image is flagged as often as stated: (n + 1)-exact, also with 19 images."""
    alarms = 0
    generator = torch.Generator().manual_seed(0)
    for _ in range(4000):
        calibration, new = torch.randn(19, generator=generator), torch.randn(1, generator=generator)
        alarms += int(new > threshold(calibration, 0.05))
    assert alarms / 4000 == pytest.approx(0.05, abs=0.012)


def test_p_values():
    calibration = torch.tensor([1.0, 2, 2, 3])
    assert p_values(calibration, torch.tensor([0.0, 2, 2.5, 9])).tolist() == [1.0, 0.8, 0.4, 0.2]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: auroc(torch.zeros(0), torch.ones(2)), "normal"),
        (lambda: aupr(torch.zeros(2), torch.zeros(2, 2)), "strange"),
        (lambda: fpr_at_tpr(torch.zeros(2), torch.tensor([math.nan, 1])), "1 of 2 strange"),
        (lambda: threshold(torch.zeros(18), 0.05), "needs 19 normal examples"),
        (lambda: threshold(torch.zeros(18), 1.5), "between 0 and 1"),
    ],
)
def test_errors(call, words):
    with pytest.raises(ZooError, match=words):
        call()
