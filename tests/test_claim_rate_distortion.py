"""The claim about β and importance weighting: rate and distortion where they are known, a measurement, verdicts."""

import pytest
import torch

import zoo
from zoo.spec import DataSpec
from zoo.textbook.claim import NOT_SUPPORTED, SUPPORTED, verdict
from zoo.textbook.claims import rate_distortion as claim
from zoo.textbook.lab import Lab

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def vae():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = zoo.create("vae", DataSpec((1, 4, 4), 2, ("a", "b")), latent_dim=3, hidden_sizes=(8,))
    return model.train()


def set_posterior(model, location, scale):
    last = model.encoder_head[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.cat([torch.tensor(location), torch.tensor(scale).log()]))


def test_rate_is_the_divergence_of_two_normals(vae):
    set_posterior(vae, [1.0, 0.0, -2.0], [0.5, 1.0, 2.0])
    rates, _, means = claim.rate_and_distortion(vae, torch.rand(5, 1, 4, 4), torch.Generator().manual_seed(0))
    q = torch.distributions.Normal(torch.tensor([1.0, 0.0, -2.0]), torch.tensor([0.5, 1.0, 2.0]))
    exact = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum()
    assert torch.allclose(rates, exact.expand(5))
    assert means.shape == (5, 3)
    assert vae.training  # as it was found


def test_distortion_is_the_expected_log_loss_of_pixels(vae):
    """A posterior that is a point has one code: the distortion is the cross-entropy of its image."""
    set_posterior(vae, [1.0, 0.0, -2.0], [1e-4] * 3)
    x = (torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    _, distortions, _ = claim.rate_and_distortion(vae, x, torch.Generator().manual_seed(0), at_once=2)
    mean = vae.decode(torch.tensor([[1.0, 0.0, -2.0]])).expand_as(x)
    exact = torch.nn.functional.binary_cross_entropy(mean, x, reduction="none").flatten(1).sum(1)
    assert torch.allclose(distortions, exact, atol=0.01)


def test_rate_and_distortion_are_the_bound(vae):
    """With one sample the importance-weighted bound is −(rate + distortion), on average over codes."""
    x = (torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    rates, distortions, _ = claim.rate_and_distortion(vae, x, torch.Generator().manual_seed(0), draws=3000)
    with torch.no_grad():
        weights = vae.eval().log_weights(vae.observe(x), None, 3000)
    assert torch.allclose(-(rates + distortions), weights.mean(0), atol=0.2)


@pytest.mark.parametrize("suite", ["quick", "textbook"])
def test_cases(suite):
    cases = claim.cases(suite)
    assert sum(case.seconds for case in cases) / 2 <= (15 if suite == "quick" else 300)
    assert all(bool(case.parameters["samples"]) == (case.parameters["beta"] == 1) for case in cases)


def test_measure(tmp_path):
    case = {"data": "digits", "beta": 1.0, "n": 200, "epochs": 4, "samples": [1, 20], "seed": 0}
    measured = claim.measure(case, Lab(tmp_path))
    assert measured["rate"] > 0
    assert 0 < measured["rmse"] < 0.5
    assert 0 <= measured["active"] <= 32
    assert measured["bounds"][1] > measured["bounds"][0]
    assert measured["bounds"][0] == pytest.approx(-measured["rate"] - measured["distortion"], abs=15)


def rows(rates=(40.0, 20.0, 5.0), gains=(3.0, 1.0)):
    found = []
    for seed in range(3):
        for beta, rate, active in zip((0.5, 1.0, 4.0), rates, (30, 20, 5), strict=True):
            weighted = beta == 1
            jitter = 0.01 * seed
            bounds = [-100 + jitter, -100 + gains[0] + 2 * jitter, -100 + sum(gains) + 3 * jitter]
            found.append({"data": "mnist", "beta": beta, "seed": seed, "rate": rate + jitter * beta,
                          "distortion": 100 - rate + jitter * beta, "rmse": 0.1 * beta + 0.01 * jitter * beta,
                          "active": active, "samples": [1, 5, 50] if weighted else [],
                          "bounds": bounds if weighted else []})  # fmt: skip
    return found


def test_findings():
    found = {finding.key: finding for finding in claim.findings(rows())}
    assert verdict(list(found.values())) == SUPPORTED
    assert set(found) == {"rate", "distortion", "rmse", "active", "bound-5", "bound-50"}
    assert found["rate"].values[0] == pytest.approx(-15)
    assert found["active"].values[0] == pytest.approx(-1)
    rising = {finding.key: finding.verdict for finding in claim.findings(rows(rates=(20.0, 40.0, 5.0)))}
    assert rising["rate"] == rising["distortion"] == NOT_SUPPORTED
    falling = {finding.key: finding.verdict for finding in claim.findings(rows(gains=(3.0, -1.0)))}
    assert falling["bound-50"] == NOT_SUPPORTED
    assert falling["bound-5"] == SUPPORTED


def test_figures():
    figures = claim.figures(rows())
    assert set(figures) == {"rate-distortion", "reconstruction", "bound"}
    assert list(figures["bound"].axes[0].lines[0].get_xdata()) == [1, 5, 50]
