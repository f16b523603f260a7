"""The claim about EM and the gradient: climbs whose summit is known, a measurement, verdicts on made-up rows."""

import math

import pytest
import torch

import zoo
from zoo.spec import DataSpec
from zoo.textbook.claim import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED, verdict
from zoo.textbook.claims import em_and_gradient as claim
from zoo.textbook.lab import Lab

pytestmark = pytest.mark.usefixtures("one_thread")


def started(components, x, **options):
    spec = DataSpec(tuple(x.shape[1:]), 1, ("all",))
    model = zoo.create("gmm", spec, num_components=components, pca=0, per_class=False, floor=0.0, **options).double()
    model.initialize([(x, torch.zeros(len(x), dtype=torch.long))], torch.Generator().manual_seed(0))
    return model.eval()


@pytest.fixture
def points():
    generator = torch.Generator().manual_seed(3)
    return torch.randn(400, 1, 1, 3, generator=generator, dtype=torch.float64) * torch.tensor([0.5, 1.0, 2.0])


def test_both_climbs_reach_the_summit_of_one_gaussian(points):
    """Its maximum-likelihood estimate is the sample covariance, whose log-likelihood is −½ log |2πe Σ|."""
    covariance = torch.cov(points.flatten(1).T, correction=0)
    summit = -0.5 * float(torch.logdet(2 * math.pi * math.e * covariance))
    model = started(1, points)
    with torch.no_grad():
        model.mean += 1.0
    start = claim.log_likelihood(model, points)
    assert start < summit - 0.1
    heights, seconds = claim.climb_by_gradient(
        model, points, 150, rate=0.05, batch_size=400, generator=torch.Generator().manual_seed(0)
    )
    assert heights[0] == pytest.approx(start)
    assert heights[-1] == pytest.approx(summit, abs=1e-3)
    assert len(heights) == len(seconds) == 151
    assert seconds == sorted(seconds)
    assert seconds[0] == 0
    with torch.no_grad():
        model.mean += 1.0
    heights, _ = claim.climb_by_em(model, points, 2, at_once=150)
    assert heights[1:] == pytest.approx([summit] * 2, abs=1e-9)  # one pass is enough
    assert heights[0] < summit - 0.1


def test_em_does_not_fall(points):
    model = started(4, torch.cat([points, points + 3]), init="k-means++")
    heights, _ = claim.climb_by_em(model, torch.cat([points, points + 3]), 30)
    assert not claim.falls(heights)
    assert heights[-1] > heights[0] + 0.01


def test_arrival_and_fall():
    assert claim.arrival([1.0, 2.0, 3.0, 2.5], 2.5) == 2
    assert claim.arrival([1.0, 2.0], 2.5) is None
    assert claim.falls([1.0, 3.0, 2.5, 2.75, 2.0]) == pytest.approx([0.5, 0.75])
    assert claim.falls([1.0, 2.0, 2.0, 2.0 - 1e-12]) == []
    assert len(claim.falls([1.0, math.nan, 2.0])) == 2


@pytest.mark.parametrize("suite", ["quick", "textbook"])
def test_cases(suite):
    cases = claim.cases(suite)
    assert len({tuple(case.parameters.items()) for case in cases}) == len(cases)
    assert all(case.timed for case in cases)  # one at a time
    assert sum(case.seconds for case in cases) <= (15 if suite == "quick" else 300)
    judged, tuning = (
        {case.parameters["seed"] for case in cases if (case.parameters["seed"] in claim.TUNING) == tuned}
        for tuned in (False, True)
    )
    assert len(judged) == (5 if suite == "quick" else 8)
    assert len(tuning) == (1 if suite == "quick" else 3)


def test_all_methods_start_from_the_same(tmp_path):
    lab = Lab(tmp_path)
    case = {"data": "digits", "n": 100, "components": 2, "pca": 4, "passes": 2, "seed": 0}
    climbs = [
        claim.measure({**case, "method": method, "rate": rate}, lab)
        for method, rate in (("em", 0.0), ("full", 0.01), ("mini", 0.003))
    ]
    starts = [climb["log_likelihood"][0] for climb in climbs]
    assert starts == pytest.approx([starts[0]] * 3, abs=1e-8)
    assert all(climb["log_likelihood"][-1] > starts[0] for climb in climbs[:2])
    assert climbs[0]["log_likelihood"] == claim.measure({**case, "method": "em", "rate": 0.0}, lab)["log_likelihood"]


EM = (0.0, 9.0, 9.95, *[10.0] * 40)


def rows(em=EM, full=None, second=0.5, slow=(0.0, 1.0), tuned=None):
    """``tuned``: the climbs at step size 0.1 that step sizes are chosen by, where they are other than ``full``."""
    full = full or [0.0, 2.0, 4.0, 6.0, 8.0, 9.0, 9.9, 10.0]
    found = []
    for seed in (0, 1, 2, *claim.TUNING):
        here = tuned if tuned and seed in claim.TUNING else full
        climbs = {("em", 0.0): em, ("full", 0.01): slow, ("full", 0.1): here, ("full", 0.3): [0.0, math.nan],
                  ("mini", 0.01): [0.0, 9.0, 9.91]}  # fmt: skip
        for (method, rate), heights in climbs.items():
            heights = list(heights)
            if method == "full" and seed == 1:  # which comes a pass later
                heights = [heights[0], *heights]
            step = 1.0 if method == "em" else second
            found.append({"data": "mnist", "method": method, "rate": rate, "seed": seed,
                          "log_likelihood": heights,
                          "seconds": [step * place for place in range(len(heights))]})  # fmt: skip
    return found


def test_the_step_size_is_chosen_by_what_is_judged_elsewhere():
    """By the passes to arrive, not by where a climb ends; from other starts than those that are judged."""
    higher = [0.0] * 6 + [9.9, 30.0]
    quicker = [0.0, 5.0, 9.9, 10.0]
    assert claim.best_rate(rows(full=higher, slow=quicker), "full") == 0.01
    assert claim.best_rate(rows(full=quicker, slow=higher), "full") == 0.1
    assert claim.best_rate(rows(full=quicker, slow=higher, tuned=[0.0, 1.0]), "full") == 0.01
    neither = rows(full=[0.0, 8.0], slow=[0.0, 9.0])
    assert claim.best_rate(neither, "full") == 0.01  # the higher one
    same = rows(full=[0.0, 9.0 + 1e-9], slow=[0.0, 9.0])
    assert claim.best_rate(same, "full") == 0.01  # the smaller one of two that end at the same height
    late = claim.findings(rows(full=quicker, slow=higher, tuned=[0.0, 1.0]))
    assert {finding.key: list(finding.values) for finding in late}["full-passes"] == [3.0, 3.5, 3.0]


def test_findings():
    found = {finding.key: finding for finding in claim.findings(rows())}
    assert verdict(list(found.values())) == SUPPORTED
    assert list(found["em-passes"].values) == [2.0] * 3
    assert list(found["full-passes"].values) == [3.0, 3.5, 3.0]  # 6 or 7 of 2
    assert list(found["full-seconds"].values) == [1.5, 1.75, 1.5]
    assert list(found["mini-passes"].values) == [1.0] * 3
    assert "0.1" in found["full-passes"].statement  # neither the slow step size nor the one that diverges
    assert found["em-falls"].values == [0.0] * 3
    assert 0 < found["em-falls"].interval[1] < claim.RARE  # 126 passes
    assert "of 126 that were seen, in 0." in found["em-falls"].statement
    few = {finding.key: finding.verdict for finding in claim.findings(rows(em=EM[:4]))}
    assert few["em-falls"] == INCONCLUSIVE  # nine passes
    quick = {finding.key: finding for finding in claim.findings(rows(em=[0.0] * 10 + [10.0], full=[0.0, 10.0]))}
    assert quick["full-passes"].verdict == NOT_SUPPORTED
    late = {finding.key: finding for finding in claim.findings(rows(full=[0.0, 5.0, 6.0, 7.0, 8.0]))}
    assert list(late["full-passes"].values) == [2.0, 2.5, 2.0]
    assert "At least" in late["full-passes"].statement
    assert all(finding.interval[0] >= 0 for finding in found.values())


def test_falls_vary_from_climb_to_climb():
    """The spread of the shares tells their error, and no other is added."""
    climb = (0.0, 9.95, 9.9, 10.0) * 10
    falling = claim._falls([climb, climb, climb[:-1]])
    assert falling.verdict == NOT_SUPPORTED
    assert falling.values == pytest.approx([100 * 19 / 39, 100 * 19 / 39, 100 * 19 / 38])
    assert falling.error == 0
    assert "of 116 that were seen, in 57, by 10 nats" in falling.statement


def test_figures():
    figures = claim.figures(rows())
    assert set(figures) == {"passes", "seconds"}
    assert all(len(figure.axes[0].lines) == 10 for figure in figures.values())  # three climbs a seed, and the mark
