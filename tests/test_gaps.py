"""EM learns from what is seen: against written-out conditionals, what EM promises, and what complete data say."""

import itertools
import math

import numpy as np
import pytest
import torch

import zoo
from zoo.base.gaussian import hidden_given_seen
from zoo.models.gmm import DEAD
from zoo.spec import Column

pytestmark = pytest.mark.usefixtures("one_thread")

COVARIANCES = ("spherical", "diag", "full", "tied", "low_rank")


def numbers(width=4, classes=2, missing=True):
    return zoo.DataSpec((1, 1, width), classes, kind="table", values="real", missing=missing)


def mixed(classes=2, missing=True):
    """Two numbers, with a column of three categories between them, and one of two at the end."""
    columns = [
        Column("a"), Column("colour", ("red", "green", "blue")), Column("b"), Column("own", ("no", "yes")),
    ]  # fmt: skip
    mean = (0.0, 0.5, 0.25, 0.25, 0.0, 0.5, 0.5)
    return zoo.DataSpec((1, 1, 7), classes, mean=mean, kind="table", values="mixed", missing=missing, columns=columns)


def rows(spec, n=200, seed=0, share=0.3):
    """Rows of two clusters, classes that go with them, and gaps: columns of categories as a whole."""
    generator = torch.Generator().manual_seed(seed)
    cluster = torch.randint(2, (n,), generator=generator)
    labels = torch.where(torch.rand(n, generator=generator) < 0.8, cluster, 1 - cluster) % spec.num_classes
    width = len(spec.numbers)
    turn = torch.randn(width, width, generator=generator, dtype=torch.float64)
    values = torch.randn(n, width, generator=generator, dtype=torch.float64) @ turn + 2.0 * cluster[:, None]
    x = torch.zeros(n, spec.shape[2], dtype=torch.float64)
    x[:, spec.numbers] = values
    for places in spec.categories:
        size = places.stop - places.start
        chosen = (torch.randint(size, (n,), generator=generator) * torch.rand(n, generator=generator) + cluster).long()
        x[:, places] = torch.nn.functional.one_hot(chosen % size, size).double()
    for _, places in spec.blocks:
        x[torch.rand(n, generator=generator) < share, places] = math.nan
    return x.view(n, *spec.shape), labels


def started(spec, x, labels, name="gmm", **options):
    defaults = {"num_components": 2, "rank": 1, "floor": 0.0} if name == "gmm" else {"var_smoothing": 0.0}
    model = zoo.create(name, spec, **{**defaults, **options}).double()
    model.initialize([(x, labels)], torch.Generator().manual_seed(0))
    return model


def summed(model, x, labels, size=10_000):
    parts = [model.statistics(*part) for part in zip(x.split(size), labels.split(size), strict=True)]
    return {key: sum(part[key] for part in parts) for key in parts[0]}


def em_step(model, x, labels):
    """One pass; the sum of the log-likelihood before it."""
    total = summed(model, x, labels)
    model.maximize(total)
    return float(total["log_likelihood"])


@torch.no_grad()
def written_out(model, group):
    """Weights, means and covariances of a class, in numpy."""
    which = group * model.num_components + torch.arange(model.num_components)
    means = (model.centre + model.mean[group]).numpy()
    return model.logits[group].softmax(0).numpy(), means, model.covariance.dense(which).numpy()


def log_normal(x, mean, covariance):
    d = x - mean
    return -0.5 * (
        d @ np.linalg.solve(covariance, d) + np.linalg.slogdet(covariance)[1] + len(x) * math.log(2 * math.pi)
    )


def expected(x, seen, mean, covariance):
    """E[x | x_o] and Cov[x | x_o] of one Gaussian, with zeros where x is seen."""
    o, m = np.flatnonzero(seen), np.flatnonzero(~seen)
    gain = covariance[np.ix_(m, o)] @ np.linalg.inv(covariance[np.ix_(o, o)])
    full, spread = mean.copy(), np.zeros_like(covariance)
    full[o] = x[o]
    full[m] += gain @ (x[o] - mean[o])
    spread[np.ix_(m, m)] = covariance[np.ix_(m, m)] - gain @ covariance[np.ix_(o, m)]
    return full, spread


# The E-step and the M-step


def test_what_is_hidden_given_what_is_seen():
    """For every pattern of four coordinates, in any order, against inverses of blocks."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(2, 4, 4, generator=generator, dtype=torch.float64)
    covariance = root @ root.mT + 0.1 * torch.eye(4)
    seen = torch.tensor([*itertools.product([False, True], repeat=4)])[torch.randperm(16, generator=generator)]
    v = torch.where(seen, torch.randn(2, 16, 4, generator=generator, dtype=torch.float64), 0)
    completed, log_det, spread, pairs = hidden_given_seen(covariance.inverse(), v, seen)
    most = spread.shape[1]
    for k, b in itertools.product(range(2), range(16)):
        sigma, mask = covariance[k].numpy(), seen[b].numpy()
        mean, conditional = expected(v[k, b].numpy(), mask, np.zeros(4), sigma)
        np.testing.assert_allclose(completed[k, b].numpy(), mean, atol=1e-10)
        placed = np.zeros((4 + most) ** 2)
        placed[pairs[:, :, b].flatten().numpy()] = spread[k, :, :, b].flatten().numpy()
        np.testing.assert_allclose(placed.reshape(4 + most, -1)[:4, :4], conditional, atol=1e-10)
        seen_part = np.linalg.slogdet(sigma[np.ix_(mask, mask)])[1]
        assert float(log_det[k, b]) == pytest.approx(seen_part - np.linalg.slogdet(sigma)[1], abs=1e-9)


def test_many_hidden_entries_are_as_few():
    """Beyond the size up to which matrices are inverted entry by entry."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(1, 40, 40, generator=generator, dtype=torch.float64)
    covariance = root @ root.mT + torch.eye(40)
    seen = torch.rand(5, 40, generator=generator) < torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0])[:, None]
    v = torch.where(seen, torch.randn(1, 5, 40, generator=generator, dtype=torch.float64), 0)
    completed = hidden_given_seen(covariance.inverse(), v, seen)[0]
    for b in range(5):
        mean, _ = expected(v[0, b].numpy(), seen[b].numpy(), np.zeros(40), covariance[0].numpy())
        np.testing.assert_allclose(completed[0, b].numpy(), mean, atol=1e-8)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_a_step_is_the_written_out_one(covariance):
    """Ghahramani & Jordan's, row by row and component by component, with all patterns of four columns."""
    spec = numbers()
    x, labels = rows(spec, 240)
    x[0] = math.nan  # nothing is seen
    model = started(spec, x, labels, covariance=covariance, floor=0.01)
    em_step(model, x, labels)
    before = [written_out(model, group) for group in range(2)]
    if covariance == "low_rank":
        loadings = model.covariance.loadings.detach().numpy().copy()
    total = summed(model, x, labels)
    model.maximize(total)
    flat, likelihood = x.flatten(1).numpy(), 0.0
    for group in range(2):
        weights, means, covariances = before[group]
        counts, first, second, seen_shares = np.zeros(2), np.zeros((2, 4)), np.zeros((2, 4, 4)), np.zeros((2, 4))
        regression = [np.zeros((6, 6)) for _ in range(2)]  # moments of (x, z, 1), low_rank
        for row in flat[labels.numpy() == group]:
            seen = ~np.isnan(row)
            log_joint = np.log(weights) + [
                log_normal(row[seen], m[seen], c[np.ix_(seen, seen)]) for m, c in zip(means, covariances, strict=True)
            ]
            evidence = np.logaddexp.reduce(log_joint)
            likelihood += evidence
            for k, share in enumerate(np.exp(log_joint - evidence)):
                mean, spread = expected(row, seen, means[k], covariances[k])
                counts[k] += share
                first[k] += share * mean
                second[k] += share * (np.outer(mean, mean) + spread)
                seen_shares[k] += share * seen
                if covariance == "low_rank":  # z is a fifth column that nobody sees
                    w = loadings[group, k]
                    joint = np.block([[covariances[k], w], [w.T, np.eye(1)]])
                    values, known = np.append(row, np.nan), np.append(seen, False)
                    v, c = expected(values, known, np.append(means[k], 0), joint)
                    v, c = np.append(v, 1.0), np.pad(c, (0, 1))
                    regression[k] += share * (np.outer(v, v) + c)
        floor = 0.01 * seen_shares / counts[:, None]
        new_means = first / counts[:, None]
        scatter = second / counts[:, None, None] - np.einsum("ki,kj->kij", new_means, new_means)
        if covariance == "tied":
            scatter[:] = np.einsum("k,kij->ij", counts, scatter) / counts.sum()
            floor[:] = counts @ floor / counts.sum()
        if covariance in ("diag", "spherical"):
            scatter *= np.eye(4)
        scatter += np.stack([np.diag(row) for row in floor])
        if covariance == "spherical":
            scatter = np.stack([np.trace(c) / 4 * np.eye(4) for c in scatter])
        if covariance == "low_rank":
            for k, moments in enumerate(regression):
                inputs, cross = moments[4:, 4:], moments[:4, 4:]
                beta = cross @ np.linalg.inv(inputs)
                noise = (np.diag(moments)[:4] - (beta * cross).sum(1)) / counts[k] + floor[k]
                new_means[k] = beta[:, 1]
                scatter[k] = beta[:, :1] @ beta[:, :1].T + np.diag(noise)
        now = written_out(model, group)
        for mine, theirs in zip(now, (counts / counts.sum(), new_means, scatter), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-8)
        likelihood += (labels == group).sum().item() * math.log((labels == group).double().mean())
    assert float(total["log_likelihood"]) == pytest.approx(likelihood, rel=1e-9)


@pytest.mark.parametrize("covariance", COVARIANCES)
@pytest.mark.parametrize("made", [numbers, mixed])
def test_statistics_add_up(made, covariance):
    """Whatever the batches, and whichever the order of rows; the likelihood is what ``log_likelihood`` says."""
    spec = made()
    x, labels = rows(spec, 600)
    labels[::5] = -1
    model = started(spec, x, labels, covariance=covariance)
    whole, order = summed(model, x, labels), torch.randperm(600, generator=torch.Generator().manual_seed(0))
    parts = summed(model, x[order], labels[order], 41)
    for key, value in whole.items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(parts[key], value, rtol=1e-9, atol=1e-9)
    assert float(whole["images"]) == pytest.approx(600)
    torch.testing.assert_close(whole["log_likelihood"], model.log_likelihood(x, labels).sum().detach())


def with_pattern(x, labels, pattern):
    """Rows that show less: numbers of four columns."""
    row, column = torch.arange(len(x))[:, None, None, None], torch.arange(4)
    return x.masked_fill({
        "a few": column < 0,
        "a column that a class never shows": (labels[:, None, None, None] == 0) & (column == 1),
        "a column that is never shown": column == 2,
        "one column a row": column != row % 4,
        "nothing in half of the rows": (row % 2 == 0) & (column >= 0),
    }[pattern], math.nan)  # fmt: skip


PATTERNS = (
    "a few", "a column that a class never shows", "a column that is never shown", "one column a row",
    "nothing in half of the rows",
)  # fmt: skip


@pytest.mark.parametrize("hidden", [False, True], ids=["all labels", "few labels"])
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_the_likelihood_never_falls(covariance, pattern, hidden):
    for seed in range(2):
        spec = numbers()
        x, labels = rows(spec, 100, seed, share=0.2)
        x = with_pattern(x, labels, pattern)
        labels = torch.where(torch.arange(100) % 4 > 0, -1, labels) if hidden else labels
        model = started(spec, x, labels, covariance=covariance)
        values, alive = [], []
        for _ in range(15):
            total = summed(model, x, labels)
            model.maximize(total)
            values.append(float(total["log_likelihood"]))
            counts = total["counts"]  # a dead component is put elsewhere, at a price
            alive.append(bool((counts > DEAD * counts.sum(1, keepdim=True) / counts.shape[1]).all()))
        gains = np.diff(values)[alive[:-1]]
        assert sum(alive) > 11
        assert gains.min() >= -1e-8 * np.abs(values).max(), (seed, gains.min())
        assert gains.max() > 1e-3


@pytest.mark.parametrize("name", ["gmm", "naive_bayes"])
@pytest.mark.parametrize("alpha", [1.0, 1e-12])
def test_with_categories_the_penalised_likelihood_never_falls(name, alpha):
    """The likelihood times ∏ p_c^α; as α goes to 0, the likelihood itself."""
    for seed in range(2):
        spec = mixed()
        x, labels = rows(spec, 150, seed, share=0.2)
        labels = torch.where(torch.arange(150) % 3 > 0, -1, labels)
        model = started(spec, x, labels, name, alpha=alpha)
        values = []
        for _ in range(15):
            penalty = alpha * float(model.categories.log_p().detach().sum())
            values.append(em_step(model, x, labels) + (penalty if alpha == 1.0 else 0.0))
        gains = np.diff(values)
        assert gains.min() >= -1e-8 * np.abs(values).max(), (seed, gains.min())
        assert gains.max() > 1e-3


@pytest.mark.parametrize(
    ("made", "covariance"), [*((numbers, covariance) for covariance in COVARIANCES[:4]), (mixed, "full")]
)
def test_where_em_stands_still_the_gradient_is_zero(made, covariance):
    """EM, and the density with gaps that gradients are taken of, agree on what is best."""
    spec = made(classes=1)
    x, labels = rows(spec, 100, share=0.15)
    model = started(spec, x, labels, covariance=covariance, alpha=1e-9)
    for _ in range(500):
        em_step(model, x, labels)

    def steepest():
        model.zero_grad()
        model.losses(x, labels)["loss"].backward()
        return max(float(parameter.grad.abs().max()) for parameter in model.parameters())

    assert steepest() < 1e-3
    with torch.no_grad():
        model.mean.add_(1.0)
    assert steepest() > 1e-2


# As gaps become few, and as rows become many


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_estimates_become_those_of_complete_data(covariance):
    """From the same start, as the share of gaps goes to 0; without any they are the same numbers."""
    complete, labels = rows(numbers(), 400, share=0.0)
    order = torch.rand(complete.shape, generator=torch.Generator().manual_seed(1))
    whole = started(numbers(missing=False), complete, labels, covariance=covariance, floor=0.01)
    begun = {key: value.clone() for key, value in whole.state_dict().items()}
    for _ in range(5):
        em_step(whole, complete, labels)
    wanted, errors = zoo.log_prob(whole, complete), []
    for share in (0.3, 0.1, 0.02, 0.0):
        model = zoo.create("gmm", numbers(), num_components=2, rank=1, covariance=covariance, floor=0.01).double()
        model.load_state_dict(begun)
        for _ in range(5):
            em_step(model, complete.masked_fill(order < share, math.nan), labels)
        errors.append(float((zoo.log_prob(model, complete) - wanted).abs().mean()))
    assert errors[0] > errors[1] > errors[2] > 1e-4
    assert errors[2] < errors[0] / 4
    assert errors[3] < 1e-8


@pytest.mark.parametrize("covariance", ["full", "diag"])
def test_what_is_missing_at_random_costs_rows_and_nothing_else(covariance):
    """The error falls with the root of their number; also where another column says what is missing, if it is known."""
    truth = torch.tensor([[1.0, 0.8], [0.8, 1.0]], dtype=torch.float64)
    if covariance == "diag":
        truth = torch.diag(truth.diagonal())
    generator = torch.Generator().manual_seed(0)
    errors = []
    for n in (100, 10_000):
        x = torch.randn(n, 2, generator=generator, dtype=torch.float64) @ torch.linalg.cholesky(truth).T
        x[torch.rand(n, generator=generator) < 0.4, 0] = math.nan
        x = x.view(n, 1, 1, 2)
        labels = torch.zeros(n, dtype=torch.long)
        model = started(numbers(2, 1), x, labels, covariance=covariance, num_components=1)
        for _ in range(30):
            em_step(model, x, labels)
        _, means, covariances = written_out(model, 0)
        errors.append(max(np.abs(means[0]).max(), np.abs(covariances[0] - truth.numpy()).max()))
    assert errors[1] < min(errors[0] / 3, 0.05)


def test_what_a_seen_column_says_about_the_gaps_is_no_bias():
    """The second column is hidden wherever the first is large: its mean is too small among what is seen."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(10_000, generator=generator, dtype=torch.float64)
    second = first + 0.5 * torch.randn(10_000, generator=generator, dtype=torch.float64)
    second[first > 0] = math.nan
    assert float(second.nanmean()) < -0.7
    x, labels = torch.stack([first, second], 1).view(-1, 1, 1, 2), torch.zeros(10_000, dtype=torch.long)
    model = started(numbers(2, 1), x, labels, num_components=1)
    for _ in range(60):
        em_step(model, x, labels)
    _, means, covariances = written_out(model, 0)
    np.testing.assert_allclose(means[0], 0, atol=0.04)
    np.testing.assert_allclose(covariances[0], [[1, 1], [1, 1.25]], atol=0.08)


@pytest.mark.parametrize("covariance", COVARIANCES[:4])
def test_rows_that_show_nothing_count_in_the_prior_alone(covariance):
    """Where EM has come to rest: until then they keep it from moving as far."""
    x, labels = rows(numbers(), 200, share=0.1)
    model = started(numbers(), x, labels, covariance=covariance, num_components=1)
    for _ in range(100):
        em_step(model, x, labels)
    known = zoo.log_prob(model, x, labels)
    more, classes = torch.cat([x, torch.full((50, 1, 1, 4), math.nan)]), torch.cat([labels, torch.zeros(50).long()])
    em_step(model, more, classes)
    torch.testing.assert_close(zoo.log_prob(model, x, labels), known)
    assert float(model.log_prior.exp()[0]) == pytest.approx(float((classes == 0).double().mean()))


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_the_floor_does_not_pile_up_in_what_is_never_seen(covariance):
    """It is there once, whatever the share of gaps; what a class never shows keeps the variance of all rows."""
    x, labels = rows(numbers(), 300, share=0.0)
    x[labels == 1, :, :, 2] = math.nan
    usual = float(x[..., 2].flatten()[labels == 0].var(correction=0))
    model = started(numbers(), x, labels, covariance=covariance, num_components=1, floor=0.1)
    for _ in range(30):
        em_step(model, x, labels)
    _, means, covariances = written_out(model, 1)
    assert means[0][2] == pytest.approx(float(model.centre[2]))
    if covariance in ("full", "diag", "tied"):
        assert covariances[0][2, 2] == pytest.approx(usual + 0.1, rel=1e-6)
        others = x.flatten(1)[labels == 1][:, [0, 1, 3]].var(0, correction=0)
        np.testing.assert_allclose(covariances[0].diagonal()[[0, 1, 3]], others + 0.1, rtol=1e-6)
    assert np.trace(covariances[0]) < 4 * (x.flatten(1)[labels == 1][:, [0, 1, 3]].var() + usual)


def test_float32_agrees_with_float64():
    x, labels = rows(mixed(), 300)
    double = started(mixed(), x, labels, floor=1e-3)
    single = started(mixed(), x, labels, floor=1e-3).float()
    for _ in range(10):
        em_step(double, x, labels)
        em_step(single, x.float(), labels)
    assert float((zoo.log_prob(single, x.float()) - zoo.log_prob(double, x)).abs().max()) < 2e-3


def test_directions_need_all_values():
    with pytest.raises(zoo.ZooError, match=r"principal directions \(pca=2\) are of numbers, all of them seen"):
        zoo.create("gmm", numbers(), pca=2)
    with pytest.raises(zoo.ZooError, match="it takes pca=0"):
        zoo.create("gmm", mixed(missing=False), pca=1)
    assert zoo.create("gmm", numbers()).size == 4  # a table has no use for them
    assert zoo.create("gmm", numbers(60, missing=False)).size == 60
    assert zoo.create("gmm", numbers(60, missing=False), pca=5).size == 5
    assert zoo.create("gmm", zoo.DataSpec((1, 8, 8))).size == 50
    assert zoo.create("gmm", zoo.DataSpec((1, 4, 4))).size == 16
    with pytest.raises(zoo.ZooError, match="pca is auto or a whole number"):
        zoo.create("gmm", zoo.DataSpec(), pca="all")


@pytest.mark.parametrize("made", [numbers, mixed])
@pytest.mark.parametrize(("name", "options"), [("naive_bayes", {}), *(("gmm", {"covariance": c}) for c in COVARIANCES)])
def test_a_model_that_has_learnt_from_gaps_comes_back(name, options, made, tmp_path):
    x, labels = rows(made(), 60)
    model = started(made(), x, labels, name, **options)
    em_step(model, x, labels)
    model = model.float().eval()
    again = zoo.load(zoo.save(model, tmp_path / "released"))
    assert again.config == model.config
    assert torch.equal(zoo.classify(again, x.float()), zoo.classify(model, x.float()))
    assert torch.equal(zoo.encode(again, x.float()), zoo.encode(model, x.float())) if name == "gmm" else True


def test_float32_tells_of_many_hidden_values_of_a_class_that_hardly_varies():
    """Precisions of a thousand, fourteen of them at a time: their product is beyond what float32 holds."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 1, 1, 20, generator=generator)
    labels = torch.arange(400) % 2
    x[labels == 1] = 0.01 * x[labels == 1] + 1
    x[:20, ..., :14] = torch.nan
    spec = zoo.DataSpec((1, 1, 20), 2, kind="table", values="real", missing=True)
    models = []
    for dtype in (torch.float32, torch.float64):
        model = zoo.create("gmm", spec, num_components=1).to(dtype)
        model.initialize([(x.to(dtype), labels)], torch.Generator().manual_seed(0))
        for _ in range(5):
            model.maximize(model.statistics(x.to(dtype), labels))
        models.append(model.eval())
    likelihood = [zoo.log_prob(model, x) for model in models]
    assert likelihood[0].isfinite().all()
    torch.testing.assert_close(*(values.double() for values in likelihood), rtol=1e-3, atol=1e-2)
