"""Naive Bayes and Gaussian mixtures against scikit-learn, written-out densities, and what EM promises."""

import copy
import itertools
import math
import re
import warnings

import numpy as np
import pytest
import torch
from conftest import ROOT
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture
from sklearn.naive_bayes import BernoulliNB, GaussianNB

import zoo
from zoo.base.kmeans import kmeans, nearest
from zoo.data.splits import load_splits
from zoo.tasks.evaluate import evaluate

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (1, 2, 3)
COVARIANCES = ("spherical", "diag", "full", "tied", "low_rank")
KINDS = list(itertools.product(COVARIANCES, (0, 4)))


def clustered(n: int = 300, classes: int = 2, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of six pixels that are neither Gaussian nor independent, float64 in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, *SHAPE, generator=generator, dtype=torch.float64)
    x[: n // 2] *= 0.4
    x = 0.9 * x * torch.rand(n, 1, 1, 1, generator=generator, dtype=torch.float64) + 0.05
    labels = (x.flatten(1)[:, 0] * 3 * classes + torch.rand(n, generator=generator)).long() % classes
    return x, labels


def mixture(covariance="full", pca=0, classes=1, components=3, **options):
    spec = zoo.DataSpec(SHAPE, classes)
    options = {"rank": 2, "per_class": classes > 1, "floor": 0.0, **options}
    return zoo.create("gmm", spec, num_components=components, covariance=covariance, pca=pca, **options).double()


def started(*arguments, data=None, **options):
    x, labels = data or clustered()
    model = mixture(*arguments, **options)
    model.initialize([(x, labels % model.groups)], torch.Generator().manual_seed(0))
    return model


def em_step(model, x, labels, batch_size: int = 10_000) -> float:
    """One pass in batches; the mean log-likelihood before it."""
    parts = [model.statistics(*part) for part in zip(x.split(batch_size), labels.split(batch_size), strict=True)]
    total = {key: sum(part[key] for part in parts) for key in parts[0]}
    model.maximize(total)
    return float(total["log_likelihood"] / total["images"])


@torch.no_grad()
def dense(model) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights ``(G,)``, means ``(G, D)`` and covariances ``(G, D, D)`` over pixels, all classes together."""
    count = model.groups * model.num_components
    which = torch.arange(count)
    weights = model.logits.softmax(1)
    if model.log_prior is not None:
        weights = weights * model.log_prior.exp()[:, None]
    pixels = len(model.centre)
    eye = torch.eye(pixels, dtype=torch.float64)
    covariances = torch.stack([model._times(eye, which[k].expand(pixels)) for k in range(count)])
    return weights.flatten().numpy(), model._mean_images(which).numpy(), covariances.numpy()


# EM


@pytest.mark.parametrize(("covariance", "pca"), [kind for kind in KINDS if kind[0] != "low_rank"])
def test_em_is_scikit_learns(covariance, pca):
    """Same start, same data: parameters and log-likelihood after five iterations."""
    x, labels = clustered()
    labels = labels * 0
    model = started(covariance, pca, data=(x, labels))
    y = model._project(x.flatten(1))[0].numpy()
    precisions = np.linalg.inv(model.covariance.dense(torch.arange(3)).detach().numpy())
    reference = GaussianMixture(
        3,
        covariance_type=covariance,
        reg_covar=0,
        tol=0,
        max_iter=5,
        weights_init=model.logits.softmax(1)[0].detach().numpy(),
        means_init=model.mean[0].detach().numpy(),
        precisions_init={
            "full": precisions,
            "tied": precisions[0],
            "diag": np.diagonal(precisions, axis1=1, axis2=2),
            "spherical": precisions[:, 0, 0],
        }[covariance],
    )
    with warnings.catch_warnings(action="ignore"):  # five iterations do not converge
        reference.fit(y)
    for _ in range(5):
        em_step(model, x, labels, 77)
    with torch.no_grad():
        covariances = {
            "full": reference.covariances_,
            "tied": np.stack([reference.covariances_] * 3),
            "diag": np.stack([np.diag(row) for row in np.atleast_2d(reference.covariances_)]),
            "spherical": np.stack([value * np.eye(y.shape[1]) for value in np.ravel(reference.covariances_)[:3]]),
        }[covariance]
        for mine, theirs in (
            (model.logits.softmax(1)[0], reference.weights_),
            (model.mean[0], reference.means_),
            (model.covariance.dense(torch.arange(3)), covariances),
            (model.log_prob(x) - model._project(x.flatten(1))[1], reference.score_samples(y)),
        ):
            np.testing.assert_allclose(mine.numpy(), theirs, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("init", ["kmeans", "k-means++", "random"])
@pytest.mark.parametrize(("covariance", "pca"), KINDS)
def test_em_never_decreases_the_likelihood(covariance, pca, init):
    x, labels = clustered(seed=3)
    model = started(covariance, pca, classes=2, data=(x, labels), init=init)
    values = [em_step(model, x, labels, 64) for _ in range(30)]
    gains = np.diff(values)
    assert gains.min() >= -1e-8 * np.abs(values).max()
    assert gains.max() > 1e-3


@pytest.mark.parametrize(("covariance", "pca"), KINDS)
def test_statistics_add_up(covariance, pca):
    x, labels = clustered()
    model = started(covariance, pca, classes=2)
    whole = model.statistics(x, labels)
    parts = [model.statistics(*part) for part in zip(x.split(41), labels.split(41), strict=True)]
    for key, value in whole.items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(sum(part[key] for part in parts), value, rtol=1e-10, atol=1e-10)
    assert float(whole["images"]) == pytest.approx(len(x))
    torch.testing.assert_close(whole["log_likelihood"], model.log_likelihood(x, labels).sum().detach())


def test_float32_agrees_with_float64():
    x, labels = clustered()
    double = started("full", 4, classes=2, floor=1e-3)
    single = started("full", 4, classes=2, floor=1e-3).float()
    for _ in range(5):
        em_step(double, x, labels)
        em_step(single, x.float(), labels)
    difference = zoo.log_prob(single, x.float()) - zoo.log_prob(double, x)
    assert float(difference.abs().max()) < 1e-3


def test_low_rank_finds_a_factor_model():
    """Data of one factor: W Wᵀ + Ψ approaches the sample covariance, which a diagonal cannot."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(4000, 1, generator=generator, dtype=torch.float64)
    loading = torch.tensor([[0.05, -0.03, 0.08, 0.0, 0.02, 0.06]], dtype=torch.float64)
    noise = torch.randn(4000, 6, generator=generator, dtype=torch.float64) * 0.02
    x = (0.5 + z @ loading + noise).unflatten(1, SHAPE)
    model = started("low_rank", 0, components=1, rank=1, data=(x, torch.zeros(4000).long()))
    for _ in range(50):
        em_step(model, x, torch.zeros(4000).long())
    expected = loading.T @ loading + 4e-4 * torch.eye(6)
    assert float((torch.tensor(dense(model)[2][0]) - expected).abs().max()) < 3e-4


def test_the_floor_is_scikit_learns_reg_covar():
    x, labels = clustered()
    model = started("full", classes=1, components=1, floor=0.01, data=(x, labels * 0))
    expected = np.cov(x.flatten(1).numpy().T, bias=True) + 0.01 * np.eye(6)
    np.testing.assert_allclose(dense(model)[2][0], expected, atol=1e-12)


def test_principal_directions_are_the_leading_ones():
    from sklearn.decomposition import PCA

    x, labels = clustered()
    model = started("full", 4, data=(x, labels))
    reference = PCA(4, svd_solver="full").fit(x.flatten(1).numpy())
    overlap = reference.components_ @ model.basis.numpy()
    np.testing.assert_allclose(np.abs(overlap), np.eye(4), atol=1e-6)
    n = len(x)
    np.testing.assert_allclose(float(model.residual), reference.noise_variance_ * (n - 1) / n, rtol=1e-6)


def test_kmeans_descends_to_a_fixed_point():
    points = torch.rand(500, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def inertia(centres):
        return float((points - centres[nearest(points, centres)]).square().sum())

    seeds, centres, best = (
        kmeans(points, 7, torch.Generator().manual_seed(1), steps, restarts)
        for steps, restarts in ((0, 1), (100, 1), (100, 5))
    )
    assert inertia(best) <= inertia(centres) < inertia(seeds)
    members = nearest(points, centres)
    torch.testing.assert_close(centres, torch.stack([points[members == k].mean(0) for k in range(7)]))


# Densities


@pytest.mark.parametrize(("covariance", "pca"), KINDS)
def test_the_density_is_the_mixture_written_out(covariance, pca):
    model = started(covariance, pca, classes=2)
    x, labels = clustered(50, seed=5)
    weights, means, covariances = dense(model)
    parts = np.stack([
        np.log(w) + multivariate_normal(m, c).logpdf(x.flatten(1).numpy())
        for w, m, c in zip(weights, means, covariances, strict=True)
    ])  # fmt: skip
    np.testing.assert_allclose(zoo.log_prob(model, x).numpy(), np.logaddexp.reduce(parts), rtol=1e-8)
    joint = np.logaddexp.reduce(parts.reshape(2, 3, -1), axis=1)
    np.testing.assert_allclose(zoo.classify(model, x).numpy(), (joint - np.logaddexp.reduce(joint)).T, atol=1e-8)
    np.testing.assert_allclose(
        model.log_likelihood(x, labels).detach().numpy(), joint[labels.numpy(), range(50)], rtol=1e-8
    )


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_the_density_integrates_to_one(covariance):
    """Over a grid on two pixels."""
    generator = torch.Generator().manual_seed(0)
    x = 0.5 + 0.1 * torch.randn(200, 1, 1, 2, generator=generator, dtype=torch.float64)
    spec = zoo.DataSpec((1, 1, 2), 1)
    options = {"num_components": 2, "covariance": covariance, "rank": 1, "per_class": False, "floor": 1e-3}
    for pca in (0, 1):
        model = zoo.create("gmm", spec, pca=pca, **options).double()
        model.initialize([(x, torch.zeros(200).long())], generator)
        axis = torch.linspace(-0.5, 1.5, 401, dtype=torch.float64)
        grid = torch.cartesian_prod(axis, axis).view(-1, 1, 1, 2)
        with torch.no_grad():  # the model itself: the grid goes beyond [0, 1]
            total = model.log_prob(grid).exp().sum() * (axis[1] - axis[0]) ** 2
        assert float(total) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("covariance", "pca"), KINDS)
def test_hidden_pixels_are_integrated_out(covariance, pca):
    """The marginal is the mixture of the components' marginals, and so is the class posterior."""
    model = started(covariance, pca, classes=2)
    x, _ = clustered(20, seed=6)
    observed = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    observed[0], observed[1] = False, True
    weights, means, covariances = dense(model)
    for i in range(20):
        o = observed[i].flatten().numpy()
        values = x[i].flatten().numpy()[o]
        parts = np.log(weights)
        if o.any():
            parts = parts + [
                multivariate_normal(m[o], c[np.ix_(o, o)]).logpdf(values)
                for m, c in zip(means, covariances, strict=True)
            ]
        joint = np.logaddexp.reduce(parts.reshape(2, 3), axis=1)
        whole = np.logaddexp.reduce(joint)
        marginal = zoo.log_prob(model, x[i : i + 1], observed=observed[i : i + 1])
        assert float(marginal) == pytest.approx(whole, rel=1e-7, abs=1e-9)
        classes = zoo.classify(model, x[i : i + 1], observed[i : i + 1])[0].numpy()
        np.testing.assert_allclose(classes, joint - whole, atol=1e-7)
    torch.testing.assert_close(zoo.classify(model, x, observed)[0], model.log_prior)
    torch.testing.assert_close(zoo.log_prob(model, x, observed=observed)[1], zoo.log_prob(model, x)[1])


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_marginals_of_a_small_left_over_lose_no_digits(covariance):
    """In float32, where principal directions have 10,000 times the variance that they leave over; whether images see
    the same pixels or not."""
    torch.manual_seed(0)
    spec = zoo.DataSpec((1, 8, 8), 2)
    model = zoo.create("gmm", spec, num_components=2, covariance=covariance, pca=6, rank=2)
    with torch.no_grad():
        model.basis.copy_(torch.linalg.qr(torch.randn(64, 6)).Q)
        model.residual.fill_(1e-4)
        for parameter in model.parameters():
            parameter.normal_()
        x = model.eval()._mean_images(torch.arange(4)).repeat(6, 1) + 0.01 * torch.randn(24, 64)
        observed = torch.rand(24, 64) < 0.5
        observed[:12] = torch.arange(64) < 32
        joint = model.log_joint(x.view(-1, 1, 8, 8), observed.view(-1, 1, 8, 8))
    weights, means, covariances = dense(copy.deepcopy(model).double())
    wanted = [
        np.log(weights)
        + [multivariate_normal(m[o], c[np.ix_(o, o)]).logpdf(v[o]) for m, c in zip(means, covariances, strict=True)]
        for v, o in zip(x.double().numpy(), observed.numpy(), strict=True)
    ]
    wanted = np.logaddexp.reduce(np.array(wanted).reshape(24, 2, 2), axis=2)
    assert joint.dtype == torch.float32
    np.testing.assert_allclose(joint.numpy(), wanted, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(("covariance", "pca"), KINDS)
def test_imputation_is_the_analytic_conditional(covariance, pca):
    """Mean and covariance of many completions of one image, and the exact mean."""
    model = started(covariance, pca, classes=2, floor=1e-3)
    x = clustered(1, seed=7)[0]
    observed = torch.tensor([True, False, True, False, False, True]).view(1, *SHAPE)
    o = observed.flatten().numpy()
    value = x.flatten().numpy()[o]
    weights, means, covariances = dense(model)
    log_posterior = np.log(weights) + [
        multivariate_normal(m[o], c[np.ix_(o, o)]).logpdf(value) for m, c in zip(means, covariances, strict=True)
    ]
    posterior = np.exp(log_posterior - np.logaddexp.reduce(log_posterior))
    first, second = 0, 0
    for r, m, c in zip(posterior, means, covariances, strict=True):
        gain = c[np.ix_(~o, o)] @ np.linalg.inv(c[np.ix_(o, o)])
        mean = m[~o] + gain @ (value - m[o])
        first = first + r * mean
        second = second + r * (c[np.ix_(~o, ~o)] - gain @ c[np.ix_(o, ~o)] + np.outer(mean, mean))
    expected = zoo.impute(model, x, observed, mean=True)[0]
    np.testing.assert_allclose(expected[~observed].numpy(), first, atol=1e-5)  # where tiny posteriors are left out
    assert torch.equal(expected[observed], x[observed])
    which = torch.multinomial(torch.tensor(posterior), 20000, True, generator=torch.Generator().manual_seed(0))
    flat = x.flatten(1).expand(20000, -1)
    drawn = model._complete(flat, observed.flatten(1).expand(20000, -1), which, torch.Generator().manual_seed(1))
    drawn = drawn[:, ~o].detach().numpy()  # not yet clipped to [0, 1]
    covariance_ = second - np.outer(first, first)
    scale = np.sqrt(np.diag(covariance_))
    assert np.abs((drawn.mean(0) - first) / scale).max() < 0.03
    assert np.abs((np.cov(drawn.T) - covariance_) / np.outer(scale, scale)).max() < 0.05
    completed = zoo.impute(model, x, observed, n=50, generator=torch.Generator().manual_seed(0))
    assert all(torch.equal(image[observed], x[observed]) for image in completed)
    assert 0 <= completed.min() <= completed.max() <= 1


@pytest.mark.parametrize(("covariance", "pca"), KINDS)
def test_samples_have_the_mixtures_moments(covariance, pca):
    model = started(covariance, pca, classes=2)
    with torch.no_grad():  # well inside [0, 1], so that clipping changes nothing
        model.mean.mul_(0.2)
        model.centre.fill_(0.5)
        if pca:
            model.residual.fill_(4e-4)
        for parameter in model.covariance.parameters():
            parameter.zero_()
        variance = torch.full((model.size,), 4e-4, dtype=torch.float64)
        model.covariance.set_variance(slice(None), variance)
        if covariance == "low_rank":
            model.covariance.loadings.fill_(0.01)
    weights, means, covariances = dense(model)
    mean = weights @ means
    spread = np.einsum("k,kij->ij", weights, covariances) + np.einsum("k,ki,kj->ij", weights, means, means)
    spread -= np.outer(mean, mean)
    x = zoo.sample(model, 40000, generator=torch.Generator().manual_seed(0)).flatten(1).numpy()
    scale = np.sqrt(np.diag(spread))
    assert np.abs((x.mean(0) - mean) / scale).max() < 0.03
    assert np.abs((np.cov(x.T) - spread) / np.outer(scale, scale)).max() < 0.04
    labels = torch.ones(5000, dtype=torch.long)
    of_one = zoo.sample(model, 5000, labels, torch.Generator().manual_seed(0)).flatten(1).numpy()
    expected = weights[3:] / weights[3:].sum() @ means[3:]
    assert np.abs((of_one.mean(0) - expected) / scale).max() < 0.06


def test_codes_are_responsibilities():
    model = started("full", classes=2)
    x, _ = clustered(30, seed=8)
    codes = zoo.encode(model, x)
    assert codes.shape == (30, 6)
    torch.testing.assert_close(codes.view(30, 2, 3).sum(2), zoo.classify(model, x).exp())
    means = torch.tensor(dense(model)[1])
    torch.testing.assert_close(zoo.reconstruct(model, x).flatten(1), (codes @ means).clamp(0, 1))


def test_one_mixture_for_all_is_no_classifier():
    model = started("diag", classes=1, data=clustered())
    with pytest.raises(zoo.ZooError, match="cannot classify"):
        zoo.classify(model, clustered(3)[0])
    with pytest.raises(zoo.ZooError, match="takes no labels"):
        zoo.sample(model, 3, labels=torch.zeros(3).long())
    assert zoo.sample(model, 3).shape == (3, *SHAPE)


# Naive Bayes


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
@pytest.mark.parametrize("emission", ["bernoulli", "gaussian"])
def test_naive_bayes_is_scikit_learns(real_data, name, emission):
    """The same accuracy on the official test split, from the same estimates."""
    splits = load_splits(name, real_data)
    model = zoo.create("naive_bayes", splits.spec, emission=emission)
    x, labels = splits.train.images / 255, splits.train.labels
    model.initialize([(x, labels)], torch.Generator())
    em_step(model, x, labels, 8192)
    reference = BernoulliNB(binarize=0.5) if emission == "bernoulli" else GaussianNB()
    reference.fit(x.flatten(1).double().numpy(), labels.numpy())
    test = splits.test.images / 255
    right = (zoo.classify(model, test).argmax(1) == splits.test.labels).sum()
    theirs = (reference.predict(test.flatten(1).double().numpy()) == splits.test.labels.numpy()).sum()
    assert abs(int(right) - int(theirs)) <= 2  # ties of float32 against float64
    np.testing.assert_allclose(model.log_prior.numpy(), getattr(reference, "class_log_prior_", np.log(
        getattr(reference, "class_prior_", 1))), rtol=1e-5)  # fmt: skip
    if emission == "bernoulli":
        np.testing.assert_allclose(
            torch.nn.functional.logsigmoid(model.logits).detach().numpy(), reference.feature_log_prob_, rtol=1e-4
        )
    else:
        np.testing.assert_allclose(model.mean.detach().numpy(), reference.theta_, atol=1e-6)
        np.testing.assert_allclose(model.log_variance.detach().exp().numpy(), reference.var_, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("emission", ["bernoulli", "gaussian"])
def test_naive_bayes_probabilities_are_scikit_learns(emission):
    x, labels = clustered(200, 3)
    model = zoo.create("naive_bayes", zoo.DataSpec(SHAPE, 3), emission=emission, threshold=0.2).double()
    em_step(model, x, labels, 60)
    flat = x.flatten(1).numpy()
    reference = BernoulliNB(binarize=0.2) if emission == "bernoulli" else GaussianNB()
    reference.fit(flat, labels.numpy())
    np.testing.assert_allclose(zoo.classify(model, x).numpy(), reference.predict_log_proba(flat), atol=1e-6)


def test_bernoulli_probabilities_sum_to_one():
    x, labels = clustered(100, 2)
    model = zoo.create("naive_bayes", zoo.DataSpec(SHAPE, 2), threshold=0.2).double()
    em_step(model, x, labels)
    every = torch.tensor(list(itertools.product((0.0, 1.0), repeat=6)), dtype=torch.float64).view(-1, *SHAPE)
    assert float(zoo.log_prob(model, every).exp().sum()) == pytest.approx(1)
    frequencies = zoo.sample(model, 50000, generator=torch.Generator().manual_seed(0)).flatten(1).double().mean(0)
    expected = (zoo.log_prob(model, every).exp()[:, None] * every.flatten(1)).sum(0)
    assert float((frequencies - expected).abs().max()) < 0.01
    observed = torch.tensor([True, True, False, False, True, False]).view(1, *SHAPE)
    target = every[37:38]
    match = (every.flatten(1)[:, observed.flatten()] == target.flatten(1)[:, observed.flatten()]).all(1)
    marginal = zoo.log_prob(model, every, observed=None)[match].logsumexp(0)
    assert float(zoo.log_prob(model, target, observed=observed)) == pytest.approx(float(marginal))
    weights = zoo.log_prob(model, every)[match].softmax(0)
    expected = (weights[:, None] * every.flatten(1)[match]).sum(0)
    torch.testing.assert_close(zoo.impute(model, target, observed, mean=True)[0, 0].flatten(), expected)
    drawn = zoo.impute(model, target, observed, n=20000, generator=torch.Generator().manual_seed(1)).mean((0, 1))
    assert float((drawn.flatten() - expected).abs().max()) < 0.015


# Degenerate data


def degenerate() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    x, labels = (part[:40] for part in clustered(40, 2))
    x = x.float()
    constant = x.clone()
    constant[..., 0] = 0
    return {
        "a class with one image": (x[:9], torch.tensor([0] * 8 + [1])),
        "a class without images": (x, labels * 0),
        "constant pixels": (constant, labels),
        "all pixels constant": (torch.zeros_like(x), labels),
        "duplicates": (x[:1].repeat(20, 1, 1, 1), labels[:20]),
        "more components than images": (x[:3], torch.tensor([0, 1, 1])),
        "two values": ((x > 0.3).float(), labels),
    }


@pytest.mark.parametrize("data", degenerate().values(), ids=degenerate())
@pytest.mark.parametrize("kind", [*KINDS, "bernoulli", "gaussian"], ids=str)
def test_degenerate_data_gives_numbers(kind, data):
    x, labels = data
    spec = zoo.DataSpec(SHAPE, 2)
    if isinstance(kind, str):
        model = zoo.create("naive_bayes", spec, emission=kind)
    else:
        model = zoo.create("gmm", spec, num_components=5, covariance=kind[0], pca=kind[1], rank=2, floor=1e-4)
    model.initialize([(x, labels)], torch.Generator().manual_seed(0))
    for _ in range(4):
        assert math.isfinite(em_step(model, x, labels, 7))
    observed = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    observed[0] = False
    present = labels.unique()
    assert zoo.log_prob(model, x).isfinite().all()
    for log_proba in (zoo.classify(model, x), zoo.classify(model, x, observed)):
        assert log_proba[:, present].isfinite().all()
        torch.testing.assert_close(log_proba.exp().sum(1), torch.ones(len(x)))
    assert zoo.impute(model, x, observed, n=2).isfinite().all()
    assert zoo.impute(model, x, observed, mean=True).isfinite().all()
    assert zoo.sample(model, 9).isfinite().all()


def test_a_dead_component_comes_back():
    """A component that explains nothing is put beside the heaviest one, and the likelihood recovers."""
    x, labels = clustered()
    labels = labels * 0
    model = started("full", data=(x, labels))
    for _ in range(20):
        before = em_step(model, x, labels)
    with torch.no_grad():
        model.logits[0, 0] = -1e4
    em_step(model, x, labels)
    assert model.logits.softmax(1).min().item() > 0.01
    for _ in range(60):
        after = em_step(model, x, labels)
    assert after > before - 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"covariance": "round"}, "covariance is one of"),
        ({"pca": 7}, "the 6 numbers"),
        ({"num_components": 0}, "at least 1"),
        ({"init": "k-mean"}, "init one of"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.create("gmm", zoo.DataSpec(SHAPE, 2), **{"pca": 0, **options})


def test_evaluation_with_missing_pixels():
    """All models are asked about the same hidden pixels, and for classes alone."""
    splits = load_splits("digits")
    model = zoo.create("naive_bayes", splits.spec)
    em_step(model, splits.train.images / 255, splits.train.labels)
    x = splits.test.images / 255
    hidden = evaluate(model, splits.test, missing=0.5)
    observed = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) >= 0.5
    torch.testing.assert_close(hidden.log_proba, zoo.classify(model, x, observed))
    assert "log_prob" not in hidden.metrics
    assert "log_prob" in evaluate(model, splits.test).metrics
    nothing = evaluate(model, splits.test, missing=1.0).log_proba
    torch.testing.assert_close(nothing, model.log_prior.expand_as(nothing))
    left = evaluate(model, splits.test, missing=0.5, mask="left").log_proba
    torch.testing.assert_close(left, zoo.classify(model, x, torch.arange(28) >= 14))
    filled = evaluate(model, splits.test, missing=0.5, fill="mean").log_proba
    torch.testing.assert_close(filled, zoo.classify(model, torch.where(observed, x, splits.spec.mean[0])))


def test_the_documentation_shows_what_can_be_asked():
    """The block of questions to a density runs, on a model in place of the loaded one."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "ask.md").read_text(), re.S)
    (block,) = (block for block in blocks if "zoo.impute(" in block)
    model = zoo.create("naive_bayes", zoo.DataSpec(SHAPE, 10))
    answers = []
    lines = [line.partition("#")[0].strip() for line in block.splitlines()]
    names = {"zoo": zoo, "torch": torch, "model": model, "images": clustered(5)[0].float()}
    for line in lines[1:]:
        if line.startswith("zoo."):
            answers.append(eval(line, names))
        else:
            exec(line, names)
    assert [tuple(answer.shape) for answer in answers] == [(5, 10), (5,), (3, 5, *SHAPE), (8, *SHAPE)]
