"""Random numbers that are a function of an image: repeatable, of the right distribution, and each image's own."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import kstest

import zoo
from zoo.base.noise import normal, streams, uniform


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(400, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def test_numbers_are_uniform_and_normal(images):
    stream = streams(images)
    assert kstest(uniform(stream, 0, 100).flatten().numpy(), "uniform").pvalue > 0.01
    assert kstest(normal(stream, 0, 100).flatten().numpy(), "norm").pvalue > 0.01


def test_images_samples_and_salts_are_independent(images):
    """Correlations of 400 streams, of places within them, and of two salts are those of independent numbers."""
    first, second = (normal(streams(images, salt), 0, 200) for salt in (1, 2))
    for table in (first, first.t(), torch.cat([first, second], 1).t()):
        correlations = torch.corrcoef(table).fill_diagonal_(0)
        assert float(correlations.square().mean().sqrt() * table.shape[1] ** 0.5) == pytest.approx(1, abs=0.05)


def test_parts_of_a_stream_are_the_stream(images):
    stream = streams(images)
    assert torch.equal(torch.cat([uniform(stream, 0, 3), uniform(stream, 3, 5)], 1), uniform(stream, 0, 8))
    assert torch.equal(uniform(stream[7:9], 2, 4), uniform(stream, 2, 4)[7:9])


def test_a_bound_does_not_depend_on_the_batch(images):
    """The same image has the same bound alone, in another order, and decoded in other portions."""
    spec = zoo.DataSpec(shape=(1, 4, 4), num_classes=3)
    torch.manual_seed(0)
    model = zoo.create("vae", spec, latent_dim=3, hidden_sizes=[8], conditional=True).double()
    images = images.double()
    whole = zoo.log_prob(model, images[:50], num_samples=20)
    torch.testing.assert_close(zoo.log_prob(model, images[:50], num_samples=20, batch_size=1), whole)
    torch.testing.assert_close(zoo.log_prob(model, images[:50].flip(0), num_samples=20).flip(0), whole)


def test_errors_of_bounds_are_independent(images):
    """The spread of a mean bound over draws of the noise is what single images say, not larger by what they share."""
    model = zoo.create("vae", zoo.DataSpec(shape=(1, 4, 4)), latent_dim=3, hidden_sizes=[8]).double()
    with torch.no_grad():
        model.encoder_head[-1].bias[3:] += 2  # a posterior that is too broad: bounds that depend on the draw
    bounds = []
    for stream in range(60):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("zoo.models.vae.NOISE", stream)
            bounds.append(zoo.log_prob(model, images.double(), num_samples=2))
    table = torch.stack(bounds)
    expected = (table.var(0).mean() / len(images)).sqrt()
    assert float(table.mean(1).std() / expected) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("likelihood", ["bernoulli", "continuous_bernoulli"])
def test_noise_is_a_function_of_what_is_seen(images, likelihood):
    """The same in float32 and float64, whatever takes the place of hidden pixels; another mask has other numbers."""
    model = zoo.create("vae", zoo.DataSpec(shape=(1, 4, 4)), latent_dim=3, hidden_sizes=[8], likelihood=likelihood)
    x = (images[:60] * 255).round() / 255
    observed = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.4
    single = zoo.log_prob(model, x, observed=observed)
    assert torch.equal(single, zoo.log_prob(model, torch.where(observed, x, 0.5), observed=observed))
    alone = zoo.log_prob(model, x[3:4], observed=observed[3:4], batch_size=1)
    torch.testing.assert_close(single[3:4], alone, atol=1e-5, rtol=1e-5)
    double = zoo.log_prob(model.double(), x.double(), observed=observed)
    torch.testing.assert_close(single.double(), double, atol=1e-4, rtol=1e-4)
    assert not torch.equal(streams(x, 1, observed), streams(x, 1, ~observed))
