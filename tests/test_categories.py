"""Columns of categories in naive Bayes and mixtures: against enumeration and scikit-learn."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.naive_bayes import CategoricalNB, GaussianNB
from test_gaps import em_step, mixed, numbers, rows, started

import zoo
from zoo.base.categories import Categories
from zoo.spec import Column

pytestmark = pytest.mark.usefixtures("one_thread")

MODELS = [("naive_bayes", {}), ("gmm", {}), ("gmm", {"covariance": "low_rank"})]


def fitted(name, options, missing=True, **changes):
    spec = mixed(missing=missing)
    x, labels = rows(spec, 300, share=0.2 if missing else 0.0)
    model = started(spec, x, labels, name, **{**options, **changes})
    for _ in range(5):
        em_step(model, x, labels)
    return model.eval(), x, labels


def one_hots(spec):
    """All combinations of categories, as entries of an example whose numbers are 0."""
    for chosen in itertools.product(*(range(places.start, places.stop) for places in spec.categories)):
        row = torch.zeros(spec.shape[2], dtype=torch.float64)
        row[list(chosen)] = 1
        yield row


@torch.no_grad()
def components(model):
    """log p(y, k), means and covariances of the numbers, log p of categories, of all components, in numpy."""
    log_p = model.categories.log_p().flatten(0, -2).numpy()
    if hasattr(model, "covariance"):
        which = torch.arange(model.groups * model.num_components)
        weights = (model.logits.log_softmax(1) + model.log_prior[:, None]).flatten().numpy()
        return weights, model._mean_images(which).numpy(), model.covariance.dense(which).numpy(), log_p
    return model.log_prior.numpy(), model.mean.numpy(), torch.diag_embed(model.log_variance.exp()).numpy(), log_p


def log_joint(model, row):
    """log p(what is seen, y, k) of a row, whose gaps are NaN, written out."""
    weights, means, covariances, log_p = components(model)
    row = row.flatten().numpy()
    values, entries = row[list(model.spec.numbers)], np.nan_to_num(row[model.categories.entries.numpy()])
    o = ~np.isnan(values)
    found = weights + log_p @ entries
    if o.any():
        found = found + [
            multivariate_normal(m[o], c[np.ix_(o, o)]).logpdf(values[o])
            for m, c in zip(means, covariances, strict=True)
        ]
    return found


@pytest.mark.parametrize(("name", "options"), MODELS)
@pytest.mark.parametrize("missing", [False, True])
def test_the_density_is_written_out(name, options, missing):
    model, x, _ = fitted(name, options, missing)
    for row in x[:30]:
        parts = log_joint(model, row)
        whole = np.logaddexp.reduce(parts)
        assert float(zoo.log_prob(model, row[None])) == pytest.approx(whole, rel=1e-9)
        classes = np.logaddexp.reduce(parts.reshape(2, -1), axis=1) - whole
        np.testing.assert_allclose(zoo.classify(model, row[None])[0].numpy(), classes, atol=1e-9)


@pytest.mark.parametrize(("name", "options"), MODELS)
def test_probabilities_of_categories_sum_to_one(name, options):
    """A hidden column is a sum over its categories; all of them hidden, the density of the numbers is left."""
    model, x, _ = fitted(name, options)
    numbers_of = torch.zeros(7, dtype=torch.bool).index_fill(0, torch.tensor(model.spec.numbers), True)
    x = x[~x[..., numbers_of].isnan().flatten(1).any(1)][:10]
    for row in x:
        every = torch.stack([torch.where(numbers_of, row, hot.view(1, 1, 7)) for hot in one_hots(model.spec)])
        alone = row.masked_fill(~numbers_of, math.nan)
        torch.testing.assert_close(zoo.log_prob(model, every).logsumexp(0), zoo.log_prob(model, alone[None])[0])
        first = every.view(3, 2, 1, 1, 7)[:, 0].masked_fill(torch.arange(7) >= 5, math.nan)  # the last one is hidden
        torch.testing.assert_close(zoo.log_prob(model, first).logsumexp(0), zoo.log_prob(model, alone[None])[0])
    assert model.density.of == "mixed"


@pytest.mark.parametrize(("name", "options"), MODELS)
def test_a_column_is_hidden_as_a_whole(name, options):
    """Where one of its entries is."""
    model, _, _ = fitted(name, options)
    x = rows(mixed(), 20, seed=3, share=0.0)[0]
    observed = torch.ones_like(x, dtype=torch.bool)
    observed[..., 2] = False  # one of three categories
    whole = observed.clone()
    whole[..., 1:4] = False
    assert torch.equal(zoo.classify(model, x, observed), zoo.classify(model, x, whole))
    assert torch.equal(zoo.log_prob(model, x, observed=observed), zoo.log_prob(model, x, observed=whole))
    drawn = zoo.impute(model, x, observed, n=20, generator=torch.Generator().manual_seed(0))
    assert drawn[..., 1:4].sum(4).eq(1).all()
    torch.testing.assert_close(
        zoo.impute(model, x, observed, mean=True)[..., 1:4].sum(4), torch.ones(1, 20, 1, 1).double()
    )
    assert bool((drawn[..., 1:4].mean(0) != x[..., 1:4]).any())


@pytest.mark.parametrize(("name", "options"), MODELS)
def test_samples_are_rows_of_the_table(name, options):
    model, _, _ = fitted(name, options)
    drawn = zoo.sample(model, 20_000, generator=torch.Generator().manual_seed(0)).flatten(1)
    weights, means, _, log_p = components(model)
    for places in model.spec.categories:
        block = drawn[:, places]
        assert torch.equal(block.sum(1), torch.ones(20_000, dtype=block.dtype))
        assert set(block.unique().tolist()) == {0.0, 1.0}
    frequencies = drawn[:, model.categories.entries].mean(0).numpy()
    np.testing.assert_allclose(frequencies, np.exp(weights) @ np.exp(log_p), atol=0.015)
    of_numbers = drawn[:, list(model.spec.numbers)]
    error = (of_numbers.mean(0).numpy() - np.exp(weights) @ means) / (of_numbers.std(0).numpy() / 20_000**0.5)
    assert np.abs(error).max() < 4
    assert zoo.sample(model, 0).shape == (0, 1, 1, 7)


@pytest.mark.parametrize(("name", "options"), MODELS)
def test_what_is_imputed(name, options):
    """Means are posterior probabilities, which draws occur with; what is seen stays."""
    model, x, _ = fitted(name, options)
    row = x[(x[..., 1].isnan() & ~x[..., 5].isnan() & ~x[..., 0].isnan()).flatten()][:1]
    posterior = np.exp(log_joint(model, row))
    posterior /= posterior.sum()
    log_p = components(model)[3]
    wanted = posterior @ np.exp(log_p[:, :3])
    mean = zoo.impute(model, row, mean=True)[0].flatten()
    np.testing.assert_allclose(mean[1:4].numpy(), wanted, atol=1e-5)
    drawn = zoo.impute(model, row, n=20_000, generator=torch.Generator().manual_seed(0)).flatten(1)
    np.testing.assert_allclose(drawn[:, 1:4].mean(0).numpy(), wanted, atol=0.015)
    seen = ~row.flatten().isnan()
    assert torch.equal(drawn[:, seen], row.flatten()[seen].expand(20_000, -1))
    assert torch.equal(mean[seen], row.flatten()[seen])
    means, weights = model.components()
    torch.testing.assert_close(means[..., 1:4].sum(-1), torch.ones_like(means[..., 0]))
    assert weights.shape == means.shape[:2]


# Naive Bayes


def test_naive_bayes_is_scikit_learns():
    """GaussianNB on the numbers and CategoricalNB on the categories, whose prior counts once."""
    model, x, labels = fitted("naive_bayes", {}, missing=False, alpha=0.5)
    flat = x.flatten(1).numpy()
    values = flat[:, list(model.spec.numbers)]
    codes = np.stack([flat[:, places].argmax(1) for places in model.spec.categories], 1)
    gaussian = GaussianNB(var_smoothing=0).fit(values, labels)
    categorical = CategoricalNB(alpha=0.5).fit(codes, labels)
    mine = model.categories.log_p().detach().numpy()
    np.testing.assert_allclose(mine, np.concatenate(categorical.feature_log_prob_, 1), rtol=1e-9)
    np.testing.assert_allclose(model.mean.detach().numpy(), gaussian.theta_, rtol=1e-9)
    np.testing.assert_allclose(model.log_variance.detach().exp().numpy(), gaussian.var_, rtol=1e-9)
    joint = gaussian.predict_joint_log_proba(values) + categorical.predict_joint_log_proba(codes)
    joint -= np.log(gaussian.class_prior_)
    joint -= np.logaddexp.reduce(joint, axis=1, keepdims=True)
    np.testing.assert_allclose(zoo.classify(model, x).numpy(), joint, atol=1e-8)


@pytest.mark.parametrize(("name", "options"), [("naive_bayes", {}), ("gmm", {"num_components": 1})])
@pytest.mark.parametrize("alpha", [0.1, 2.0])
def test_alpha_counts_as_examples(name, options, alpha):
    """Beside those of which the column is seen."""
    model, x, labels = fitted(name, options, alpha=alpha)
    for label, places in itertools.product(range(2), model.spec.categories):
        block = x.flatten(1)[labels == label][:, places]
        counts = block[~block.isnan().any(1)].sum(0) + alpha
        found = model.components()[0].detach()[label, 0, 0, 0, places]
        torch.testing.assert_close(found, counts / counts.sum())


def test_without_categories_mixed_is_gaussian():
    x, labels = rows(numbers(), 100)
    models = [started(numbers(), x, labels, "naive_bayes", emission=word) for word in ("mixed", "gaussian", "auto")]
    for model in models:
        em_step(model, x, labels)
        assert model.density == zoo.Likelihood("exact", "continuous")
        assert torch.equal(zoo.classify(model, x), zoo.classify(models[0], x))


@pytest.mark.parametrize("case", ["mixed", "numbers", "binary", "grey"])
def test_contributions_of_columns_are_the_classifier(case):
    if case == "mixed":
        model, x, _ = fitted("naive_bayes", {})
    elif case == "numbers":
        x, labels = rows(numbers(3), 40)
        model = started(numbers(3), x, labels, "naive_bayes")
        em_step(model, x, labels)
    else:
        x, labels = (torch.rand(20, 1, 2, 3, dtype=torch.float64) > 0.5).double(), torch.arange(20) % 2
        model = started(zoo.DataSpec((1, 2, 3), 2, values=case), x, labels, "naive_bayes")
        em_step(model, x, labels)
    observed = ~x.isnan()
    with torch.no_grad():
        parts = model.contributions(x.nan_to_num(0), observed)
        assert parts.shape == (len(x), 2, len(model.spec.blocks))
        logits = model.offsets() + parts.sum(2)
    torch.testing.assert_close(logits.log_softmax(1), zoo.classify(model, x))
    if case == "mixed":
        hidden = torch.stack([x[..., places].isnan().flatten(1).all(1) for _, places in model.spec.blocks], 1)
        assert torch.equal(parts[:, 0] == 0, hidden)  # a column alone: what the others are does not matter
        log_p = model.categories.log_p().detach()
        chosen = ~hidden[:, 1]
        colour = x[chosen][..., 1:4].flatten(1)
        torch.testing.assert_close(parts[chosen][:, :, 1], colour @ log_p[:, :3].T)


def test_categories_alone():
    """Naive Bayes does without numbers, a mixture of Gaussians does not."""
    columns = [Column("a", ("x", "y")), Column("b", ("p", "q", "r"))]
    spec = zoo.DataSpec((1, 1, 5), 2, kind="table", values="mixed", missing=True, columns=columns)
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (100,), generator=generator)
    codes = torch.stack([torch.randint(size, (100,), generator=generator) for size in (2, 3)], 1)
    codes[:, 0] = torch.where(torch.rand(100, generator=generator) < 0.7, labels, codes[:, 0])
    x = torch.cat([torch.nn.functional.one_hot(codes[:, 0], 2), torch.nn.functional.one_hot(codes[:, 1], 3)], 1)
    x = x.double().view(100, 1, 1, 5)
    model = started(spec, x, labels, "naive_bayes")
    em_step(model, x, labels)
    reference = CategoricalNB().fit(codes, labels)
    np.testing.assert_allclose(zoo.classify(model, x).numpy(), reference.predict_log_proba(codes), atol=1e-9)
    assert zoo.sample(model, 3).sum(-1).eq(2).all()
    with pytest.raises(zoo.ZooError, match="a mixture of Gaussians needs a column of numbers: model=naive_bayes does"):
        zoo.create("gmm", spec)


@pytest.mark.parametrize(("name", "options", "words"), [
    ("naive_bayes", {"emission": "gaussian"}, "emission=gaussian is of numbers: columns of categories need"),
    ("naive_bayes", {"emission": "bernoulli"}, "emission=bernoulli is of values that are on or off"),
    ("naive_bayes", {"emission": "none"}, "emission is auto, bernoulli, gaussian, mixed or multinomial, not 'none'"),
    ("naive_bayes", {"alpha": 0.0}, "alpha above 0"),
    ("gmm", {"alpha": 0.0}, "alpha above 0"),
])  # fmt: skip
def test_refused(name, options, words):
    with pytest.raises(zoo.ZooError, match=words):
        zoo.create(name, mixed(), **options)


def test_a_gradient_learns_from_gaps():
    """As EM does: the likelihood of what is seen rises, and a hidden column's category has no gradient."""
    model, x, labels = fitted("gmm", {}, alpha=1e-6)
    with torch.no_grad():
        model.categories.logits.copy_(model.categories.logits.flip(2))
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = model.losses(x, labels)["loss"]
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert all(map(math.isfinite, losses))
    assert losses[-1] < losses[0] - 0.2
    model.zero_grad()
    model.losses(x[:1].masked_fill(torch.arange(7) > 4, math.nan), labels[:1])["loss"].backward()
    assert float(model.categories.logits.grad[..., 3:].abs().max()) == 0


def test_parts_and_back():
    categories = Categories(mixed(), 2)
    x = torch.arange(14.0).view(2, 7)
    values, entries = categories.parts(x)
    assert values.tolist() == [[0, 4], [7, 11]]
    assert entries[0].tolist() == [1, 2, 3, 5, 6]
    assert torch.equal(categories.joined(values, entries), x)
    assert categories.draw(torch.tensor([0, 1, 1]), torch.Generator().manual_seed(0)).shape == (3, 5)
