"""The variational autoencoder: likelihoods, the bounds, what follows from them, and a run from end to end."""

import json
import math
import re

import numpy as np
import pytest
import torch
from conftest import command, run_train
from PIL import Image
from torch.distributions import Categorical, Normal, kl_divergence

import zoo
from zoo.base import likelihoods
from zoo.base.blocks import ConvEncoder
from zoo.base.likelihoods import LIKELIHOODS, NARROWEST, Mixed, binarise
from zoo.models.vae import VAE, kl_to_standard
from zoo.spec import Column

pytestmark = pytest.mark.usefixtures("one_thread")
SPEC = zoo.DataSpec((2, 5, 4), 3, mean=(0.3, 0.5), std=(0.4, 0.4))
TINY = {"network": "mlp", "latent_dim": 3, "hidden_sizes": [12], "channels": [4, 6], "flow_layers": 2, "flow_width": 8}


def build(spec: zoo.DataSpec = SPEC, seed: int = 0, **options) -> VAE:
    """A model whose weights are far from where they start: nothing is nearly zero."""
    torch.manual_seed(seed)
    binary = {"likelihood": "bernoulli"} if spec.values == "grey" else {}
    model = zoo.create("vae", spec, **{**TINY, **binary, **options})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def images(n: int = 8, seed: int = 1, spec: zoo.DataSpec = SPEC) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n, *spec.shape), generator=generator) / 255, torch.arange(n) % spec.num_classes


# Likelihoods


def test_binary_likelihood_sums_to_one():
    logits = torch.linspace(-60, 60, 25)
    total = sum(likelihoods.bernoulli(torch.full((25,), value), logits).exp() for value in (0.0, 1.0))
    torch.testing.assert_close(total, torch.ones(25))


def test_discrete_likelihood_sums_to_one():
    """Over the 256 levels, also where the mean is at an edge and the scale is small or large."""
    generator = torch.Generator().manual_seed(0)
    parameters = 6 * torch.randn(50, 2, 1, 1, generator=generator, dtype=torch.float64)
    levels = torch.arange(256, dtype=torch.float64) / 255
    values = torch.stack([likelihoods.discretized_logistic(level.expand(50, 1, 1, 1), parameters) for level in levels])
    assert values.isfinite().all()
    torch.testing.assert_close(values.logsumexp(0), torch.zeros(50, 1, 1, 1, dtype=torch.float64), atol=1e-9, rtol=0)


def test_discrete_likelihood_is_a_difference_of_logistic_distribution_functions():
    mean, scale = torch.tensor(0.4).double(), torch.tensor(0.05).double()
    parameters = torch.stack([mean.logit(), scale.log() + 2]).view(1, 2, 1, 1)
    for level in (0, 1, 100, 102, 254, 255):
        upper = 1.0 if level == 255 else torch.sigmoid(((level + 0.5) / 255 - mean) / scale)
        lower = 0.0 if level == 0 else torch.sigmoid(((level - 0.5) / 255 - mean) / scale)
        value = likelihoods.discretized_logistic(torch.full((1, 1, 1, 1), level / 255, dtype=torch.float64), parameters)
        assert value.exp().item() == pytest.approx(float(upper - lower), rel=1e-9)


def test_continuous_likelihood_integrates_to_one():
    logits = torch.linspace(-15, 15, 21).double()
    x = torch.linspace(0, 1, 20001).double()
    density = likelihoods.continuous_bernoulli(x[:, None], logits).exp()
    torch.testing.assert_close(torch.trapezoid(density, x, dim=0), torch.ones(21).double(), atol=1e-5, rtol=0)


def test_means_are_those_of_the_likelihoods():
    """What ``decode`` gives is the expectation of what the likelihood says; that of a logistic is its location."""
    z, x = torch.randn(4, 3).double(), torch.linspace(0, 1, 5001).double()
    for name in ("bernoulli", "continuous_bernoulli"):
        model = build(likelihood=name).double()
        parameters = model.parameters_of(z).flatten()
        support = torch.tensor([0.0, 1.0]).double() if name == "bernoulli" else x
        density = LIKELIHOODS[name][0](support[:, None], parameters).exp()
        weighted = support[:, None] * density
        mean = weighted.sum(0) if name == "bernoulli" else torch.trapezoid(weighted, x, dim=0)
        torch.testing.assert_close(model.decode(z).flatten(), mean, atol=1e-4, rtol=0)


def test_binarised_images_have_the_grey_values_as_frequencies():
    levels = torch.arange(0, 256, 5)
    x = (levels / 255).view(-1, 1, 1, 1).expand(-1, 1, 70, 70).clone()
    x[:, 0, 0, :] = torch.rand(len(x), 70, generator=torch.Generator().manual_seed(0))  # makes images differ
    binary = binarise(x)
    assert set(binary.unique().tolist()) == {0.0, 1.0}
    frequency, expected = binary[:, 0, 1:].mean((1, 2)), levels / 255
    error = (expected * (1 - expected) / (69 * 70)).sqrt()
    assert ((frequency - expected).abs() <= 4 * error).all()


def test_binarised_pixels_are_independent():
    """Neither neighbours nor images that differ in a single level have noise in common."""
    generator = torch.Generator().manual_seed(0)
    x = torch.full((4000, 1, 6, 6), 128 / 255)
    x[:, 0, 0, 0] = torch.randint(256, (4000,), generator=generator) / 255
    x[:, 0, 0, 1] = torch.randint(256, (4000,), generator=generator) / 255
    pixels = binarise(x)[:, 0].flatten(1)[:, 2:]
    correlation = torch.corrcoef(pixels.t()) - torch.eye(34)
    assert correlation.abs().max() < 4.5 / math.sqrt(4000)
    first, second = (binarise(torch.full((1, 1, 90, 90), 128 / 255) + torch.eye(90) * shift) for shift in (0, 1 / 255))
    assert 0.45 < (first == second).float().mean() < 0.55


def test_binarised_the_same_in_any_batch():
    x, _ = images(20)
    together = binarise(x)
    assert torch.equal(together, torch.cat([binarise(part) for part in x.split(3)]))
    assert torch.equal(together, binarise(x.double()).float())
    assert torch.equal(binarise(together), together)  # zeros and ones stay what they are


# The training criterion


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_criterion_is_recon_and_kl(likelihood):
    """loss = recon + β KL, summed over pixels and latents, averaged over the batch, in nats."""
    model = build(likelihood=likelihood, beta=0.7).double()
    x, labels = images()
    x = x.double()
    torch.manual_seed(3)
    terms = model.losses(x, labels)
    torch.manual_seed(3)
    seen = torch.bernoulli(x) if likelihood == "bernoulli" else x
    q = model.posterior(seen)
    z = q.loc + q.scale * torch.randn(q.loc.shape, dtype=torch.float64)
    recon = -sum(LIKELIHOODS[likelihood][0](seen[i], model.parameters_of(z)[i]).sum() for i in range(8)) / 8
    kl = kl_divergence(q, Normal(torch.zeros_like(q.loc), torch.ones_like(q.scale))).sum().detach() / 8
    recon = recon.detach()
    torch.testing.assert_close(terms["recon"], recon)
    torch.testing.assert_close(terms["kl"], kl)
    assert terms["loss"].item() == pytest.approx(float(recon + 0.7 * kl), abs=1e-6)
    assert terms["log_likelihood"].item() == pytest.approx(-float(recon + kl), abs=1e-6)


def test_kl_is_torchs_and_positive():
    q = Normal(3 * torch.randn(500, 4).double(), torch.rand(500, 4).double() + 1e-3)
    values = kl_to_standard(q)
    assert (values >= 0).all()
    torch.testing.assert_close(values, kl_divergence(q, Normal(torch.zeros(4).double(), torch.ones(4).double())))
    assert kl_to_standard(Normal(torch.zeros(4), torch.ones(4))).abs().max() == 0


def test_free_bits_are_free():
    """Below the threshold a dimension costs the threshold and sends no gradient; above it, what it costs anyway."""
    x, labels = images()

    def loss(free_bits: float) -> tuple[dict, torch.Tensor]:
        torch.manual_seed(0)
        model = build(free_bits=free_bits, beta=1.0).eval()
        terms = model.losses(x, labels)
        return terms, kl_to_standard(model.posterior(model.observe(x))).mean(0)

    plain, dimensions = loss(0.0)
    threshold = float(dimensions.detach().median())
    charged, _ = loss(threshold)
    extra = (threshold - dimensions).clamp_min(0).sum()
    assert extra > 0
    torch.testing.assert_close(charged["loss"] - plain["loss"], extra, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(charged["kl"], plain["kl"])  # what is logged is the true divergence


@pytest.mark.parametrize("samples", [1, 3])
def test_warmup_raises_the_weight(samples):
    """Where the samples are the same, the loss of one sample is linear in the weight of KL, from 0 to beta."""
    x, labels = images()
    model = build(warmup=4.0, beta=2.0, num_samples=samples).eval()

    def terms(epoch: float) -> dict:
        torch.manual_seed(0)
        return model.losses(x, labels, epoch)

    start, half, end, later = (terms(epoch) for epoch in (0.0, 2.0, 4.0, 9.0))
    assert torch.equal(end["loss"], later["loss"])
    if samples == 1:
        for part, weight in ((start, 0.0), (half, 1.0), (end, 2.0)):
            torch.testing.assert_close(part["loss"].detach(), part["recon"] + weight * part["kl"])
    else:
        assert start["loss"] < half["loss"] < end["loss"]
        assert torch.equal(start["log_likelihood"], end["log_likelihood"])


class LinearGaussian(VAE):
    """x = W z + b + σ ε: its marginal, posterior and conditionals are known. The encoder is wider by a factor."""

    SIGMA = 0.7

    def __init__(self, wider: float = 1.0) -> None:
        super().__init__(zoo.DataSpec((1, 2, 3), 3), latent_dim=2, hidden_sizes=[4])
        self.spec = zoo.DataSpec((1, 2, 3), 3, values="real")  # any number will do
        self.log_likelihood_of = lambda x, mean: Normal(mean, self.SIGMA).log_prob(x)
        self.wider = wider
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.randn(6, 2, generator=generator).double()
        self.bias = torch.randn(6, generator=generator).double()
        self.double().eval()

    def observe(self, x):
        return x

    def posterior(self, x, labels=None):
        precision = torch.eye(2).double() + self.weight.t() @ self.weight / self.SIGMA**2
        covariance = torch.linalg.inv(precision)
        mean = (x.flatten(1) - self.bias) @ self.weight @ covariance / self.SIGMA**2
        scale = self.wider * covariance.diagonal().sqrt()
        return Normal(mean, scale.expand_as(mean))

    def parameters_of(self, z, labels=None):
        return (z @ self.weight.t() + self.bias).view(-1, 1, 2, 3)

    def decode(self, z, labels=None):
        return self.parameters_of(z)

    @property
    def covariance(self) -> torch.Tensor:
        return self.weight @ self.weight.t() + self.SIGMA**2 * torch.eye(6).double()

    def exact(self, x: torch.Tensor, index: torch.Tensor | None = None) -> torch.Tensor:
        index = torch.arange(6) if index is None else index
        marginal = torch.distributions.MultivariateNormal(self.bias[index], self.covariance[index][:, index])
        return marginal.log_prob(x.flatten(1)[:, index])


@pytest.fixture(scope="module")
def linear() -> tuple[LinearGaussian, torch.Tensor]:
    model = LinearGaussian(wider=1.3)
    return model, torch.randn(5, 1, 2, 3, generator=torch.Generator().manual_seed(2)).double()


def test_bound_is_the_exact_marginal(linear):
    model, x = linear
    value, error = model.importance(x, num_samples=400_000)
    assert error.max() < 2e-3
    torch.testing.assert_close(value, model.exact(x), atol=1e-3 + 3 * float(error.max()) / 10, rtol=0)
    assert ((value - model.exact(x)).abs() <= 4 * error).all()


def test_bound_of_seen_pixels_is_their_exact_marginal(linear):
    model, x = linear
    seen = torch.tensor([0, 2, 3])
    observed = torch.zeros(1, 2, 3, dtype=torch.bool)
    observed.view(-1)[seen] = True
    hidden = torch.where(observed, x, torch.nan)
    model.wider = 2.0  # the encoder does not know of missing pixels: its posterior has to be broad
    values = zoo.log_prob(model, hidden, observed=observed, num_samples=200_000)
    model.wider = 1.3
    torch.testing.assert_close(values, model.exact(x, seen), atol=0.03, rtol=0)


def test_conditional_mean_is_exact(linear):
    """E[x hidden | x seen] by importance sampling, against the Gaussian's formula; seen pixels come back as given."""
    model, x = linear
    seen, hidden = torch.tensor([0, 2, 3]), torch.tensor([1, 4, 5])
    observed = torch.zeros(1, 2, 3, dtype=torch.bool)
    observed.view(-1)[seen] = True
    model.wider, model.importance_samples = 2.0, 100_000
    question = torch.where(observed, x, torch.nan)
    mean = zoo.impute(model, question, observed, mean=True)[0].flatten(1)
    draws = zoo.impute(model, question, observed, n=2000, generator=torch.Generator().manual_seed(0)).flatten(2)
    model.wider, model.importance_samples = 1.3, 64
    covariance = model.covariance
    gain = covariance[hidden][:, seen] @ torch.linalg.inv(covariance[seen][:, seen])
    exact = model.bias[hidden] + (x.flatten(1)[:, seen] - model.bias[seen]) @ gain.t()
    torch.testing.assert_close(mean[:, hidden], exact, atol=0.03, rtol=0)
    assert torch.equal(mean[:, seen], x.flatten(1)[:, seen])
    error = draws[..., hidden].std(0) / math.sqrt(2000)
    assert ((draws.mean(0)[:, hidden] - exact).abs() <= 4.5 * error + 0.02).all()


def test_bound_rises_with_the_number_of_samples(linear):
    """E log 1/K Σ w does not fall in K (Burda et al. 2016, theorem 1), and stays below the marginal."""
    model, x = linear
    weights = model.log_weights(x, None, 2**16)
    before = None
    for samples in (1, 4, 16, 64, 256):
        bounds = weights.view(-1, samples, len(x)).logsumexp(1) - math.log(samples)
        mean, error = bounds.mean(0), bounds.std(0) / math.sqrt(len(bounds))
        assert (mean <= model.exact(x) + 3 * error).all()
        if before is not None:
            assert (mean >= before - 3 * error).all()
        before = mean
    assert (weights.mean(0) < model.exact(x) - 0.01).all()


def test_standard_error_is_that_of_other_noise(linear, monkeypatch):
    model, x = linear
    stated = model.importance(x, num_samples=500)[1]
    values = []
    for stream in range(200):
        monkeypatch.setattr("zoo.models.vae.NOISE", stream)
        values.append(model.importance(x, num_samples=500)[0])
    torch.testing.assert_close(stated, torch.stack(values).std(0), rtol=0.25, atol=0)


def test_gradient_of_the_importance_weighted_bound(linear, monkeypatch):
    """The doubly reparameterised gradient of the encoder has the expectation of the plain one, with less variance."""
    plain_model, x = linear
    batch, samples = 20_000, 5
    x = x[:1].expand(batch, -1, -1, -1)
    model = LinearGaussian(wider=1.3)
    model.num_samples = samples
    base = plain_model.posterior(x)
    location, scale = (value.detach().clone().requires_grad_() for value in (base.loc + 0.2, base.scale))
    monkeypatch.setattr(model, "posterior", lambda *_: Normal(location, scale))
    torch.manual_seed(0)
    terms = model.losses(x, torch.zeros(batch).long())
    ours = [batch * gradient for gradient in torch.autograd.grad(terms["loss"], [location, scale])]
    torch.manual_seed(0)
    q = Normal(location, scale)
    z = q.rsample((samples,))
    likelihood = model.log_likelihood_of(x, model.parameters_of(z.flatten(0, 1)).unflatten(0, (samples, batch)))
    weights = likelihood.flatten(2).sum(2) + model.log_prior_of(z) - q.log_prob(z).sum(2)
    bound = weights.logsumexp(0) - math.log(samples)
    torch.testing.assert_close(terms["log_likelihood"], bound.mean().detach())
    plain = [batch * gradient for gradient in torch.autograd.grad(-bound.mean(), [location, scale])]
    for one, other in zip(ours, plain, strict=True):
        error = (one - other).std(0) / math.sqrt(batch)
        assert ((one - other).mean(0).abs() <= 4 * error).all()
        assert (one.std(0) < other.std(0)).all()


# The prior


@pytest.fixture(scope="module")
def flow() -> VAE:
    return build(prior="realnvp", latent_dim=2).double().eval()


def test_flow_is_a_density(flow):
    axis = torch.linspace(-30, 30, 1201).double()
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        mass = flow.log_prior_of(grid).exp().sum() * (axis[1] - axis[0]) ** 2
    assert float(mass) == pytest.approx(1, abs=1e-3)


def test_flow_draws_from_its_density(flow):
    """The prior maps noise to latents whose density is that of the noise divided by the map's volume change."""
    noise = torch.randn(6, 2, generator=torch.Generator().manual_seed(0)).double()
    for row in noise:
        jacobian = torch.autograd.functional.jacobian(lambda e: flow.prior(e[None])[0], row)
        expected = Normal(0.0, 1.0).log_prob(row).sum() - jacobian.det().abs().log()
        torch.testing.assert_close(flow.log_prior_of(flow.prior(row[None]))[0], expected)
    spread = (flow.prior(noise) - noise).abs().max()
    assert spread > 0.1  # it does something


# Images and classes


@pytest.mark.parametrize("options", [{}, {"network": "conv", "prior": "realnvp"}, {"conditional": True}], ids=str)
def test_an_image_depends_on_its_own_noise_alone(options, monkeypatch, tmp_path):
    model = build(**options).eval()
    generator = torch.Generator().manual_seed(0)
    noise, labels = model.noise(7, generator), torch.arange(7) % 3
    together = model.generate(noise, labels)
    assert 0 <= together.min() < together.max() <= 1
    for i in range(7):
        torch.testing.assert_close(model.generate(noise[i : i + 1], labels[i : i + 1])[0], together[i])
    assert zoo.sample(model, 1).shape == (1, 2, 5, 4)
    loaded = zoo.load(zoo.save(model, tmp_path / "released"))
    drawn = [zoo.sample(m, 5, generator=torch.Generator().manual_seed(4)) for m in (model, loaded)]
    assert torch.equal(*drawn)


def test_classes_by_bayes_rule():
    model = build(conditional=True).eval()
    x, labels = images(9)
    model.initialize([(x[:6], torch.tensor([0, 0, 0, 1, 1, 2]))], torch.Generator())
    torch.testing.assert_close(model.log_prior.exp(), torch.tensor([3.0, 2.0, 1.0]) / 6)
    joint = torch.stack([model.log_prob(x, torch.full((9,), y)) for y in range(3)], 1) + model.log_prior
    torch.testing.assert_close(zoo.classify(model, x), joint.log_softmax(1))
    torch.testing.assert_close(zoo.log_prob(model, x), joint.logsumexp(1))
    torch.testing.assert_close(model.log_likelihood(x, labels), joint.gather(1, labels[:, None])[:, 0])
    assert model.groups == 3
    with pytest.raises(zoo.ZooError, match="conditional=false"):
        zoo.log_prob(build(), x, labels)


def test_imputation_draws_classes_too():
    """Where no pixel is seen, completions are of all classes, in the proportions of their prior."""
    model = build(conditional=True).eval()
    model.set_prior(torch.tensor([6.0, 3.0, 1.0]))
    monochrome = torch.tensor([0.1, 0.5, 0.9])
    model.decode = lambda z, labels: monochrome[labels].view(-1, 1, 1, 1).expand(-1, 2, 5, 4)
    x = torch.zeros(1, *SPEC.shape)
    nothing = torch.zeros_like(x, dtype=torch.bool)
    drawn = zoo.impute(model, x, nothing, n=3000, generator=torch.Generator().manual_seed(0))[:, 0, 0, 0, 0]
    shares = torch.stack([(drawn - value).abs().lt(1e-6).float().mean() for value in monochrome])
    assert float(shares.sum()) == pytest.approx(1)
    z, labels, weights = model._given(x, nothing)
    expected = torch.stack([weights.softmax(0)[labels == y].sum() for y in range(3)])
    torch.testing.assert_close(shares, expected, atol=0.03, rtol=0)
    assert z.shape == (3 * model.importance_samples, 1, 3)


@pytest.mark.parametrize("options", [{}, {"conditional": True, "network": "conv"}], ids=str)
def test_answers_do_not_depend_on_how_much_is_done_at_once(options, monkeypatch):
    model = build(**options).eval()
    x, _ = images(6)
    observed = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.5

    def answers() -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        return [
            zoo.log_prob(model, x, num_samples=37),
            zoo.log_prob(model, x, observed=observed),
            zoo.reconstruct(model, x),
            zoo.impute(model, x, observed, n=2, generator=generator),
            zoo.impute(model, x, observed, mean=True),
        ]

    whole = answers()
    monkeypatch.setattr("zoo.models.vae.AT_ONCE", 50)
    for one, other in zip(answers(), whole, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-5)


def test_more_samples_can_be_asked_for():
    model = build().eval()
    x, _ = images()
    torch.testing.assert_close(zoo.log_prob(model, x), zoo.log_prob(model, x, num_samples=64))
    assert not torch.equal(zoo.log_prob(model, x), zoo.log_prob(model, x, num_samples=65))
    with pytest.raises(zoo.ZooError, match="takes no importance samples"):
        zoo.log_prob(zoo.create("naive_bayes", SPEC), x, num_samples=5)


def test_noise_of_training_is_fresh_and_of_evaluation_fixed():
    model = build()
    x, labels = images()
    assert model.train().losses(x, labels)["loss"] != model.losses(x, labels)["loss"]
    torch.manual_seed(0)
    before = torch.get_rng_state()
    model.eval()
    assert torch.equal(model.log_prob(x), model.log_prob(x))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(model.train().observe(x), model.observe(x))
    assert torch.equal(model.eval().observe(x), model.observe(x))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"network": "transformer"}, "network must be auto, mlp, conv"),
        ({"likelihood": "gaussian"}, "likelihood must be auto, bernoulli"),
        ({"likelihood": "mixed"}, "likelihood=mixed does not fit such values: bernoulli or continuous_bernoulli or"),
        ({"prior": "vamp"}, "prior must be normal, realnvp"),
        ({"free_bits": 0.1, "num_samples": 2}, "free_bits"),
        ({"free_bits": 0.1, "prior": "realnvp"}, "free_bits"),
        ({"channels": []}, "channels"),
        ({"latent_dim": 0}, "at least 1"),
        ({"beta": -1.0}, "at least 0"),
    ],
    ids=str,
)
def test_refused(options, reason):
    with pytest.raises(zoo.ZooError, match=reason):
        zoo.create("vae", SPEC, **options)


@pytest.mark.parametrize("name", ["vae", "m2"])
@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({}, "network=conv, likelihood=discretized_logistic"),
        ({"network": "mlp"}, "likelihood=discretized_logistic"),
        ({"likelihood": "bernoulli"}, "network=conv"),
        ({"network": "mlp", "likelihood": "continuous_bernoulli"}, ""),
    ],
    ids=str,
)
def test_pictures_of_colour_choose_their_own_options(name, options, chosen):
    model = zoo.create(name, zoo.DataSpec((3, 8, 8), 2), **options)
    assert model.notes == ((f"the pictures are of colour: {chosen}",) if chosen else ())
    assert model.density.of == {"bernoulli": "binarised", "continuous_bernoulli": "continuous"}.get(
        options.get("likelihood"), "discrete"
    )
    assert isinstance(model.encoder, ConvEncoder) == ("network" not in options)
    grey = zoo.create(name, zoo.DataSpec((1, 8, 8), 2))
    assert grey.notes == ()
    assert grey.density.of == "binarised"
    assert not isinstance(grey.encoder, ConvEncoder)


# A run from end to end


def test_a_folder_of_colour_says_what_was_chosen(tmp_path, capsys):
    """In a line, and makes as many steps as its recipe says where its epochs are short."""
    noise = np.random.default_rng(0)
    for number in range(40):
        folder = tmp_path / "in" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{number}.png")
    run = run_train(
        tmp_path / "runs", "model=vae", "data=image_folder", f"data.path={tmp_path / 'in'}", "data.image_size=8",
        "logger=none", "trainer.max_steps=3", f"data.root={tmp_path}",
    )  # fmt: skip
    assert "the pictures are of colour: network=conv, likelihood=discretized_logistic\n" in capsys.readouterr().out
    summary = json.loads((run / "summary.json").read_text())
    assert zoo.load(run).config["options"]["network"] == "auto"
    assert summary["steps"] == 3


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_train(
        tmp_path_factory.mktemp("runs"), "model=vae", "data=digits", "model.conditional=true", "model.latent_dim=8",
        "model.hidden_sizes=[64]", "trainer.max_epochs=12", "learner.ema=0.9", "model.importance_samples=16", "~recipe",
    )  # fmt: skip


def test_run_learns_and_says_what_it_measured(run):
    rows = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    table = {name: [row[column] for row in rows[1:]] for column, name in enumerate(rows[0])}
    for name in ("train/loss", "train/log_likelihood", "train/recon", "train/kl", "val/log_likelihood", "val/recon",
                 "val/kl", "val/accuracy"):  # fmt: skip
        assert name in table
    first, last = (float(table["val/log_likelihood"][row]) for row in (0, -1))
    assert last > first + 10
    assert float(table["train/loss"][-1]) == pytest.approx(
        float(table["train/recon"][-1]) + float(table["train/kl"][-1]), rel=1e-4
    )
    summary = json.loads((run / "summary.json").read_text())
    assert summary["test"]["frechet_ratio"] > 0
    assert summary["test"]["density"] == "lower bound, binarised, K = 16"
    assert summary["test"]["accuracy"] > 0.7


def test_evaluation_script_takes_more_samples(run, tmp_path):
    values = {}
    for samples in (1, 200):
        out = tmp_path / f"{samples}.json"
        result = command(
            "scripts/evaluate.py", f"ckpt={run}", f"importance={samples}", "samples=0", "images=50", f"json={out}"
        )
        assert result.returncode == 0, result.stderr
        assert re.search(rf"log p\(x\) ≥ -\d+\.\d\d ± .*\n     binarised, K = {samples}, .*n = 50\n", result.stdout)
        values[samples] = json.loads(out.read_text())
    assert values[200]["log_prob"] > values[1]["log_prob"] + 1
    assert values[200]["bits_per_dim"] < values[1]["bits_per_dim"]


# Tables: a number, a column of three categories, a number in units of its own, and one of two categories

ROWS = zoo.DataSpec(
    (1, 1, 7), 2, mean=(0, 0.5, 0.3, 0.2, 4, 0.6, 0.4), std=(1, 1, 1, 1, 3, 1, 1), kind="table", values="mixed",
    columns=(Column("age"), Column("job", ("a", "b", "c")), Column("sum"), Column("own", ("no", "yes"))),
    missing=True,
)  # fmt: skip
GRID = torch.linspace(-8, 8, 4001).double()  # of a latent of one dimension


def rows(n: int, seed: int = 3, gaps: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    numbers, eye = torch.randn(n, 2, generator=generator), torch.eye(3)
    job, own = (torch.randint(count, (n,), generator=generator) for count in (3, 2))
    x = torch.cat([numbers[:, :1], eye[job], 4 + 3 * numbers[:, 1:], eye[own, :2]], 1)
    hidden = torch.rand(n, 4, generator=generator) < gaps
    return torch.where(hidden[:, [0, 1, 1, 1, 2, 3, 3]], math.nan, x)[:, None, None]


def integrated(model: VAE, x: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
    """log p of the seen entries, ``(B,)``, by the trapezoidal rule over a latent of one dimension."""
    parameters = model.parameters_of(GRID[:, None])
    values = torch.where(observed, model.mixed.log_prob(x, parameters[:, None]), 0).flatten(2).sum(2)
    joint = values + Normal(0, 1).log_prob(GRID)[:, None]
    return torch.trapezoid(joint.exp(), GRID, dim=0).log()


def one_dimensional() -> VAE:
    """With a decoder as far from its start as others, and an encoder whose samples are wherever the prior's are."""
    model = build(ROWS, latent_dim=1, importance_samples=16_000).double().eval()
    with torch.no_grad():
        model.encoder_head[-1].weight.mul_(0.1)
        model.encoder_head[-1].bias.copy_(torch.tensor([0.0, 0.3]))
    return model


def test_a_row_is_normal_numbers_and_categories():
    """Against torch's distributions, with what the decoder's output means."""
    mixed = Mixed(ROWS).double()
    assert mixed.shape == (1, 1, 9)
    parameters, x = torch.randn(50, 1, 1, 9).double(), rows(50).double()
    values, out = mixed.log_prob(x, parameters)[:, 0, 0], parameters[:, 0, 0]
    scales = NARROWEST + torch.nn.functional.softplus(out[:, 7:])
    torch.testing.assert_close(values[:, 0], Normal(out[:, 0], scales[:, 0]).log_prob(x[:, 0, 0, 0]))
    expected = Normal(4 + 3 * out[:, 4], 3 * scales[:, 1]).log_prob(x[:, 0, 0, 4])
    torch.testing.assert_close(values[:, 4], expected)
    for places in (slice(1, 4), slice(5, 7)):
        expected = Categorical(logits=out[:, places]).log_prob(x[:, 0, 0, places].argmax(1))
        torch.testing.assert_close(values[:, places].sum(1), expected)
        torch.testing.assert_close(mixed.expected(parameters)[:, 0, 0, places].sum(1), torch.ones(50).double())
    torch.testing.assert_close(mixed.expected(parameters)[:, 0, 0, 4], 4 + 3 * out[:, 4])


def test_a_row_starts_as_the_training_rows_are():
    model = zoo.create("vae", ROWS)
    normal, log_p = model.mixed._parts(model.offset)
    torch.testing.assert_close(normal.loc.flatten(), torch.tensor([0.0, 4.0]))
    torch.testing.assert_close(normal.scale.flatten(), torch.tensor([1.0, 3.0]))
    torch.testing.assert_close(log_p.exp().flatten(), torch.tensor([0.5, 0.3, 0.2, 0.6, 0.4]))


def test_no_scale_vanishes():
    """However the decoder is trained, a value that it hits has no more than a bounded density."""
    parameters = torch.full((1, 1, 1, 9), -1e4)
    parameters[..., [0, 4]] = 0.0
    x = torch.tensor(ROWS.mean).view(1, 1, 1, 7)
    values = Mixed(ROWS).log_prob(x, parameters)[0, 0, 0]
    assert values[0] == pytest.approx(-math.log(NARROWEST * math.sqrt(2 * math.pi)))
    assert values[4] == pytest.approx(-math.log(3 * NARROWEST * math.sqrt(2 * math.pi)))


@pytest.mark.parametrize("gaps", [0.0, 0.4])
def test_the_bound_of_rows_is_tight_with_many_samples(gaps):
    model, x = one_dimensional(), rows(12, gaps=gaps).double()
    bound, exact = zoo.log_prob(model, x), integrated(model, x.nan_to_num(0), ~x.isnan())
    assert (~x.isnan()).all() == (gaps == 0)
    torch.testing.assert_close(bound, exact, atol=0.03, rtol=0)
    of_one = model.log_weights(x.nan_to_num(0), None, 16_000, None if gaps == 0 else ~x.isnan())
    assert (of_one.mean(0) < exact).all()  # the bound with one sample, on average


def test_what_is_expected_of_hidden_cells():
    """Against the integral over the latent; completions have it as their mean, and are rows that can be."""
    model, x = one_dimensional(), rows(6).double()
    observed = torch.ones_like(x, dtype=torch.bool)
    observed[..., 1:5] = False  # a column of categories and a number
    parameters = model.parameters_of(GRID[:, None])
    weights = torch.where(observed, model.mixed.log_prob(x, parameters[:, None]), 0).flatten(2).sum(2)
    weights = (weights + Normal(0, 1).log_prob(GRID)[:, None]).softmax(0)
    expected = (weights[:, :, None] * model.mixed.expected(parameters).flatten(1)[:, None]).sum(0)
    mean = zoo.impute(model, x, observed, mean=True)[0]
    assert torch.equal(mean[observed], x[observed])
    torch.testing.assert_close(mean.flatten(1)[:, 1:5], expected[:, 1:5], atol=0.1, rtol=0)
    drawn = zoo.impute(model, x, observed, n=4000, generator=torch.Generator().manual_seed(0))
    assert set(drawn[..., 1:4].unique().tolist()) == {0.0, 1.0}
    assert (drawn[..., 1:4].sum(-1) == 1).all()
    error = drawn.std(0) / math.sqrt(len(drawn))
    assert ((drawn.mean(0) - mean).abs() <= 5 * error + 0.02 * mean.abs() + 0.02).all()


def test_a_column_that_is_hidden_in_part_is_hidden():
    model, x = build(ROWS).eval(), rows(5)
    part, whole = (torch.ones_like(x, dtype=torch.bool) for _ in range(2))
    part[..., 2], whole[..., 1:4] = False, False
    assert torch.equal(model.log_prob(x, observed=part), model.log_prob(x, observed=whole))
    assert not torch.equal(model.log_prob(x, observed=part), model.log_prob(x))


def test_samples_of_a_table_are_rows_with_their_noise():
    model = build(ROWS, conditional=True).eval()
    x = zoo.sample(model, 3000, labels=1, generator=torch.Generator().manual_seed(0))
    assert x.shape == (3000, 1, 1, 7)
    assert set(x[..., 1:4].unique().tolist()) == set(x[..., 5:].unique().tolist()) == {0.0, 1.0}
    assert (x[..., 1:4].sum(-1) == 1).all()
    assert (x[..., 5:].sum(-1) == 1).all()
    z = torch.zeros(20_000, 3)
    drawn = model._emitted(z, torch.ones(len(z), dtype=torch.long), torch.Generator().manual_seed(0))
    parameters = model.parameters_of(z[:1], torch.ones(1, dtype=torch.long))
    normal, _ = model.mixed._parts(parameters)
    error = 5 / math.sqrt(len(z))
    expected = model.decode(z[:1], torch.ones(1, dtype=torch.long))
    assert ((drawn.mean(0) - expected[0]).abs() <= error * drawn.std(0) + 1e-6).all()
    torch.testing.assert_close(drawn[..., [0, 4]].std(0)[0, 0], normal.scale[0, 0, 0], rtol=0.03, atol=0)
    again = zoo.sample(model, 3000, labels=1, generator=torch.Generator().manual_seed(0))
    assert torch.equal(x, again)


@pytest.mark.parametrize("num_samples", [1, 4])
def test_hidden_columns_are_as_if_they_had_never_been(num_samples):
    """The training bound of rows whose last column is missing is that of a model of the other columns, with the same
    weights; the gradient has no part of it, either."""
    spec = zoo.DataSpec((1, 1, 5), 2, mean=ROWS.mean[:5], std=ROWS.std[:5], kind="table", values="mixed",
                        columns=ROWS.columns[:3])  # fmt: skip
    whole, part = build(ROWS, num_samples=num_samples), build(spec, num_samples=num_samples)
    state = whole.state_dict()
    kept = [*range(5), 7, 8]  # of the decoder's output: locations and logits, then scales
    for key in ("decoder_head.2.weight", "decoder_head.2.bias"):
        state[key] = state[key][kept]
    state["offset"], state["encoder_head.0.weight"] = state["offset"][..., kept], state["encoder_head.0.weight"][:, :5]
    part.load_state_dict(state)
    x = rows(9)
    x[..., 5:] = math.nan
    found = []
    for model, examples in ((whole, x), (part, x[..., :5])):
        torch.manual_seed(0)
        found.append(model.losses(examples, torch.zeros(9, dtype=torch.long)))
    torch.testing.assert_close(*found)
    found[0]["loss"].backward()
    gradient = whole.decoder_head[2].weight.grad
    assert gradient[5:7].abs().max() == 0
    assert gradient[kept].isfinite().all()
    assert gradient[kept].abs().max() > 0


def test_it_learns_from_rows_with_gaps():
    """Columns that depend on each other, a third of whose cells are missing: of complete rows that it has not seen it
    knows more than a model of independent columns that was fitted to all cells."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(3000, 1, generator=generator)
    numbers = hidden + 0.4 * torch.randn(3000, 3, generator=generator)
    numbers = (numbers - numbers.mean(0)) / numbers.std(0)
    yes = (hidden + 0.4 * torch.randn(3000, 1, generator=generator) > 0).float()
    x = torch.cat([numbers, 1 - yes, yes], 1)[:, None, None]
    mean = (0.0, 0.0, 0.0, *x[:, 0, 0, 3:].mean(0).tolist())
    columns = (*map(Column, "abc"), Column("d", ("no", "yes")))
    spec = zoo.DataSpec((1, 1, 5), 2, mean=mean, std=(1.0,) * 5, kind="table", values="mixed", columns=columns,
                        missing=True)  # fmt: skip
    train, held_out = x[:2000].clone(), x[2000:]
    gaps = torch.rand(2000, 4, generator=generator) < 1 / 3
    train[gaps[:, None, None, [0, 1, 2, 3, 3]]] = math.nan
    torch.manual_seed(0)
    model = zoo.create("vae", spec, latent_dim=2, hidden_sizes=[32], num_samples=5)
    optimizer, labels = torch.optim.Adam(model.parameters(), 1e-2), torch.zeros(200, dtype=torch.long)
    for _ in range(40):
        for part in train.split(200):
            optimizer.zero_grad()
            model.losses(part, labels)["loss"].backward()
            optimizer.step()
    independent = Normal(0, 1).log_prob(held_out[..., :3]).sum(-1).flatten()
    independent = independent + (held_out[..., 3:] * torch.tensor(mean[3:]).log()).sum(-1).flatten()
    assert zoo.log_prob(model.eval(), held_out).mean() > independent.mean() + 1.2
    assert model.validate(train[:50], labels[:50])["log_joint"].squeeze(1).tolist() == pytest.approx(
        zoo.log_prob(model, train[:50], num_samples=5).tolist(), rel=1e-5
    )


def test_pictures_with_gaps_start_from_what_is_seen():
    spec = zoo.DataSpec((1, 2, 2), 2, mean=(0.5,), std=(0.3,), missing=True)
    model = zoo.create("vae", spec, **TINY)
    x = torch.tensor([[0.2, 0.4, math.nan, 1.0], [0.6, math.nan, math.nan, 1.0]]).view(2, 1, 2, 2)
    model.initialize([(x, torch.zeros(2, dtype=torch.long))], torch.Generator())
    torch.testing.assert_close(model.offset.sigmoid().flatten(), torch.tensor([0.4, 0.4, 0.5, 0.999]))
    loss = model.losses(x, torch.zeros(2, dtype=torch.long))["loss"]
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        (
            "vae",
            {"likelihood": "bernoulli"},
            "likelihood=bernoulli does not fit such values: mixed, the one of numbers",
        ),
        ("vae", {"network": "conv"}, "network=conv is for pictures"),
        ("m2", {}, "is for grey or binary values, and those of the data are mixed; models for those: .*vae"),
    ],
)
def test_what_a_table_does_not_fit_is_refused(name, options, words):
    with pytest.raises(zoo.ZooError, match=words):
        zoo.create(name, ROWS, **options)


def test_density_of_a_table():
    assert zoo.create("vae", ROWS).density.of == "mixed"
    numbers = zoo.DataSpec((1, 1, 3), 2, kind="table", values="real")
    assert zoo.create("vae", numbers).density.of == "continuous"


def test_tables_from_end_to_end(tmp_path):
    """A classifier by Bayes' rule, trained, saved and loaded."""
    run = run_train(
        tmp_path, "model=vae", "data=breast_cancer", "model.conditional=true", "model.latent_dim=4",
        "model.hidden_sizes=[32]", "trainer.max_epochs=8",
    )  # fmt: skip
    summary = json.loads((run / "summary.json").read_text())
    assert summary["test"]["accuracy"] > 0.8
    model = zoo.load(run)
    assert zoo.sample(model, 4).shape == (4, 1, 1, 30)
    assert model.config["options"]["likelihood"] == "auto"
