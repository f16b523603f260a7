"""The claim about β and importance weighting: rate and distortion where they are known, a measurement, verdicts."""

import pytest
import torch

import zoo
from zoo.spec import DataSpec
from zoo.textbook.claim import NOT_SUPPORTED, SUPPORTED, standard_error, verdict
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
    error = weights.std(0) / 3000**0.5  # of either mean, whose draws differ; the rate is exact
    assert (-(rates + distortions) - weights.mean(0)).abs().lt(4 * 2**0.5 * error).all()
    assert error.max() < 2


@pytest.mark.parametrize("suite", ["quick", "textbook"])
def test_cases(suite):
    cases = claim.cases(suite)
    assert sum(case.seconds for case in cases) <= (30 if suite == "quick" else 900)
    assert {case.parameters["seed"] for case in cases} == {*range(5)}
    assert all(bool(case.parameters["samples"]) == (case.parameters["beta"] == 1) for case in cases)


def test_measure(tmp_path):
    case = {"data": "digits", "beta": 1.0, "n": 200, "lengths": [1, 4], "samples": [1, 20], "seed": 0}
    measured = claim.measure(case, Lab(tmp_path))
    assert measured["rate"] > 0
    assert 0 < measured["rmse"] < 0.5
    assert 0 <= measured["active"] <= 32
    assert measured["bounds"][1] > measured["bounds"][0]
    assert measured["gains"] == [pytest.approx(measured["bounds"][1] - measured["bounds"][0])]
    # one sample an image has the error that its images have, and no more
    error = (measured["rate_error"] ** 2 + measured["distortion_error"] ** 2) ** 0.5
    assert measured["bounds"][0] == pytest.approx(-measured["rate"] - measured["distortion"], abs=3 * error)
    assert measured["epochs"] == 4  # what a single epoch learns of 200 images is worse
    assert not {*case} & {*measured}


def test_validation_chooses_by_the_model_s_own_criterion(tmp_path, monkeypatch):
    """A code that is dearer and better is chosen where β is small, and not where it is large."""
    costs = {1: (10.0, 100.0), 2: (40.0, 80.0)}  # epochs: rate and distortion

    def fit(self, *words, train):
        return int(next(word for word in words if "max_epochs" in word).partition("=")[2])

    def told(model, x, generator):
        rate, distortion = costs[model]
        return torch.full((len(x),), rate), torch.full((len(x),), distortion), torch.zeros(len(x), 3)

    monkeypatch.setattr(Lab, "fit", fit)
    monkeypatch.setattr(claim, "rate_and_distortion", told)
    monkeypatch.setattr(claim, "reconstruct", lambda model, x: x + 0.1)
    for beta, epochs in ((0.5, 2), (1.0, 1)):
        case = {"data": "digits", "beta": beta, "n": 200, "lengths": [1, 2], "samples": [], "seed": 0}
        measured = claim.measure(case, Lab(tmp_path))
        assert (measured["epochs"], measured["rate"]) == (epochs, costs[epochs][0])
        assert measured["rmse"] == pytest.approx(0.1, rel=1e-4)
        assert measured["rate_error"] == 0


def test_gains_are_paired_image_by_image(vae):
    """Samples of a small K are among those of a large one: a gain is known better than of separate ones."""
    x = (torch.rand(200, 1, 4, 4, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    found = claim.bounds(vae, x, [1, 5, 50])
    assert found["gains"] == pytest.approx([b - a for a, b in zip(found["bounds"], found["bounds"][1:], strict=False)])
    few, many = (zoo.log_prob(vae, x, num_samples=count) for count in (5, 50))
    assert found["gain_errors"][1] == pytest.approx(standard_error(many - few), rel=1e-4)
    assert found["gain_errors"][1] < (standard_error(few) ** 2 + standard_error(many) ** 2) ** 0.5


def rows(rates=(40.0, 20.0, 5.0), gains=(3.0, 1.0)):
    found = []
    for seed in range(3):
        for beta, rate, active in zip((0.5, 1.0, 4.0), rates, (30, 20, 5), strict=True):
            weighted = beta == 1
            jitter = 0.01 * seed
            bounds = [-100 + jitter, -100 + gains[0] + 2 * jitter, -100 + sum(gains) + 3 * jitter]
            found.append({"data": "mnist", "beta": beta, "seed": seed, "rate": rate + jitter * beta,
                          "distortion": 100 - rate + jitter * beta, "rmse": 0.1 * beta + 0.01 * jitter * beta,
                          "rate_error": 0.01, "distortion_error": 0.01, "rmse_error": 1e-4,
                          "active": active - seed * weighted,
                          "lengths": [8, 24], "epochs": 24 if beta < 4 else 8,
                          "samples": [1, 5, 50] if weighted else [], "bounds": bounds if weighted else [],
                          "gains": [gain + jitter for gain in gains] if weighted else [],
                          "gain_errors": [0.1, 0.02] if weighted else []})  # fmt: skip
    return found


def test_findings():
    found = {finding.key: finding for finding in claim.findings(rows())}
    assert verdict(list(found.values())) == SUPPORTED
    assert set(found) == {"rate", "distortion", "rmse", "active", "bound-5", "bound-50", "bound-at-1", "bound-at-50",
                          "longest"}  # fmt: skip
    assert found["bound-5"].error == pytest.approx(0.1)
    assert found["rate"].error == pytest.approx(0.01 * 2**0.5)
    assert found["longest"].estimate == pytest.approx(2 / 3)
    assert found["rate"].values[0] == pytest.approx(-15)
    assert found["active"].values == pytest.approx([-8 - 3 / 14, -8 - 2 / 14, -8 - 1 / 14])
    rising = {finding.key: finding.verdict for finding in claim.findings(rows(rates=(20.0, 40.0, 5.0)))}
    assert rising["rate"] == rising["distortion"] == NOT_SUPPORTED
    falling = {finding.key: finding.verdict for finding in claim.findings(rows(gains=(3.0, -1.0)))}
    assert falling["bound-50"] == NOT_SUPPORTED
    assert falling["bound-5"] == SUPPORTED


def test_figures():
    figures = claim.figures(rows())
    assert set(figures) == {"rate-distortion", "reconstruction", "bound"}
    assert list(figures["bound"].axes[0].lines[0].get_xdata()) == [1, 5, 50]
