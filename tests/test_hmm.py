"""The hidden Markov model against enumeration of all paths, joint Gaussians written out, and hmmlearn."""

import itertools
import math

import numpy as np
import pytest
import torch
from hmmlearn.hmm import CategoricalHMM, GaussianHMM
from threadpoolctl import threadpool_limits
from torch.distributions import Bernoulli, MultivariateNormal

import zoo
from zoo import capability
from zoo.models.hmm import HMM

pytestmark = pytest.mark.usefixtures("one_thread")

TOPOLOGIES = ["left_to_right", "ergodic"]
EMISSIONS = [
    {"covariance": "diag"},
    {"covariance": "full"},
    {"covariance": "diag", "lags": 2},
    {"covariance": "full", "lags": 2},
    {"emission": "bernoulli"},
]
CASES = [{"topology": topology, **emission} for topology in TOPOLOGIES for emission in EMISSIONS]
MARGINAL = [case for case in CASES if "lags" not in case]


def name(case):
    return "-".join(map(str, case.values()))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def build(shape=(1, 3, 2), classes=2, seed=0, spread=0.5, **options) -> HMM:
    """A model in float64 with random parameters."""
    torch.manual_seed(seed)
    options = {"num_states": 2, "floor": 0.0, "ridge": 0.0, "smoothing": 0.0, **options}
    model = zoo.create("hmm", zoo.DataSpec(shape, classes), **options).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(spread * torch.randn(parameter.shape, generator=generator(seed), dtype=torch.float64))
        if model.log_prior is not None:
            model.log_prior.copy_(torch.arange(1, model.groups + 1).double().log().log_softmax(0))
    return model


def images(shape=(1, 3, 2), n=6, seed=1):
    return torch.rand(n, *shape, generator=generator(seed), dtype=torch.float64)


def rows(image):
    """``(C, H, W)`` to the list of its rows, all channels of a row together."""
    return [image[:, i].flatten() for i in range(image.shape[1])]


def covariance(model, group, state):
    scale = model.scale[group, state]
    factor = scale.tril(-1) + scale.diagonal().exp().diag() if scale.dim() == 2 else scale.exp().diag()
    return factor @ factor.T


def emission(model, group, state, past):
    """The distribution of a row after ``past``, the rows before it, the last one last."""
    weight = model.weight[group, state]
    before = [*[torch.zeros(model.emission.values).double()] * model.lags, *past]
    f = torch.cat([*before[::-1][: model.lags], torch.ones(1).double()])
    mean = weight @ f
    if model.scale is not None:
        return MultivariateNormal(mean, covariance(model, group, state))
    return Bernoulli(logits=mean)


def enumerate_paths(model, image, group):
    """Every path of states with its log p(path, image)."""
    states = range(model.states)
    if model.initial is None:
        start = [0.0] + [-math.inf] * (model.states - 1)
        moves = torch.full((model.states, model.states), -math.inf, dtype=torch.float64)
        for i in states:
            for j in (i, i + 1):
                if j < model.states:
                    moves[i, j] = model.transition[group, i, j]
        moves = moves.log_softmax(1)
    else:
        start, moves = model.initial[group].log_softmax(0), model.transition[group].log_softmax(1)
    steps = rows(image if model.scale is not None else (image > 0.5).double())
    log_b = [
        [float(emission(model, group, state, steps[:t]).log_prob(step).sum()) for state in states]
        for t, step in enumerate(steps)
    ]
    for path in itertools.product(states, repeat=len(steps)):
        total = start[path[0]] + sum(moves[i, j] for i, j in itertools.pairwise(path))
        yield path, float(total + sum(log_b[t][state] for t, state in enumerate(path)))


# --- the chain -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=name)
def test_everything_is_enumeration(case):
    """Likelihood, posteriors, expected first states and transitions, and Viterbi's path, of three states."""
    model, x = build((1, 4, 2), num_states=3, **case), images((1, 4, 2), 4)
    labels = torch.tensor([0, 1, 1, 0])
    log_p = torch.zeros(4, 2, dtype=torch.float64)
    posterior = torch.zeros(4, 4, 2, 3, dtype=torch.float64)
    start, made = torch.zeros(2, 3, dtype=torch.float64), torch.zeros(2, 3, 3, dtype=torch.float64)
    with torch.no_grad():
        for (b, image), group in itertools.product(enumerate(x), range(2)):
            paths = list(enumerate_paths(model, image, group))
            log_p[b, group] = torch.tensor([total for _, total in paths], dtype=torch.float64).logsumexp(0)
            for path, total in paths:
                weight = math.exp(total - log_p[b, group])
                for t, state in enumerate(path):
                    posterior[b, t, group, state] += weight
                if group == labels[b]:
                    start[group, path[0]] += weight
                    for i, j in itertools.pairwise(path):
                        made[group, i, j] += weight
            if group == labels[b]:
                best = max(paths, key=lambda pair: pair[1])[0]
                assert model.viterbi(x[b : b + 1], labels[b : b + 1]).tolist() == [list(best)]
        joint = log_p + model.log_prior
        torch.testing.assert_close(model.log_prob(x), joint.logsumexp(1))
        torch.testing.assert_close(model.log_prob(x, labels), log_p[torch.arange(4), labels])
        torch.testing.assert_close(zoo.classify(model, x), joint.log_softmax(1))
        weighted = posterior * joint.softmax(1)[:, None, :, None]
        torch.testing.assert_close(zoo.encode(model, x), weighted.flatten(1))
        found = model.statistics(x, labels)
        torch.testing.assert_close(found["initial"], start)
        torch.testing.assert_close(found["transition"], made)
        torch.testing.assert_close(found["log_likelihood"], joint[torch.arange(4), labels].sum())
        assert found["images"] == 4
        best = model.viterbi(x, joint.argmax(1))
        assert torch.equal(model.viterbi(x), best)
        means = torch.zeros_like(x)
        for b, t, group, state in itertools.product(range(4), range(4), range(2), range(3)):
            past = rows(x[b] if model.scale is not None else (x[b] > 0.5).double())[:t]
            means[b, 0, t] += weighted[b, t, group, state] * emission(model, group, state, past).mean
        torch.testing.assert_close(zoo.reconstruct(model, x), means.clamp(0, 1))


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_chain_of_probabilities(topology):
    model = build(num_states=4, topology=topology)
    matrix = model.transition_matrix()
    torch.testing.assert_close(matrix.sum(2), torch.ones(2, 4).double())
    if topology == "left_to_right":
        assert torch.equal(matrix > 0, (torch.eye(4).bool() | torch.ones(4, 4).bool().triu(1).tril(1)).expand(2, 4, 4))


@pytest.mark.parametrize("shape", [(1, 4, 3), (3, 4, 2)])
def test_columns_are_rows_of_the_transposed_image(shape):
    channels, height, width = shape
    by_rows = build(shape)
    by_columns = build((channels, width, height), reads="columns")
    by_columns.load_state_dict(by_rows.state_dict())
    x = images(shape)
    torch.testing.assert_close(by_columns.log_prob(x.mT), by_rows.log_prob(x))
    for reads in ("rows", "columns", "pixels"):
        model = build(shape, reads=reads)
        assert model.reading.of(x).shape == (6, model.steps, model.emission.values)
        assert torch.equal(model.reading.example(model.reading.of(x)), x)
        assert torch.equal(model.reading.example(model.reading.of(x).expand(2, -1, -1, -1)), x.expand(2, *x.shape))


def test_pixels_are_read_in_order():
    """A chain that must move on at each pixel has its own mean for each."""
    model = build((1, 2, 2), classes=1, num_states=4, reads="pixels", covariance="diag")
    with torch.no_grad():
        model.transition.copy_(torch.full((1, 4, 4), -1e30).diagonal_scatter(torch.zeros(1, 3), 1, 1, 2))
        model.transition[0, 3, 3] = 0
    x = images((1, 2, 2))
    expected = torch.distributions.Normal(model.weight[0, :, 0, 0], model.scale[0, :, 0].exp()).log_prob(x.flatten(1))
    torch.testing.assert_close(model.log_prob(x), expected.sum(1))


# --- density ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("reads", ["rows", "columns", "pixels"])
def test_probabilities_of_all_binary_images_sum_to_one(topology, reads):
    model = build((1, 3, 2), emission="bernoulli", topology=topology, reads=reads)
    every = torch.tensor(list(itertools.product((0.2, 0.9), repeat=6))).double().view(-1, 1, 3, 2)
    assert model.log_prob(every).logsumexp(0).item() == pytest.approx(0)
    assert model.density == zoo.spec.Likelihood("exact", "binary", 0.5)


@pytest.mark.parametrize("case", [case for case in CASES if "emission" not in case], ids=name)
@pytest.mark.parametrize("shape", [(1, 1, 2), (1, 2, 1)], ids=["a row", "a column"])
def test_density_integrates_to_one(case, shape):
    model = build(shape, **case)
    line = torch.linspace(-6, 6, 601).double()
    grid = torch.cartesian_prod(line, line).view(-1, *shape)
    assert model.log_prob(grid).exp().sum().item() * 0.02**2 == pytest.approx(1, abs=1e-4)
    assert model.density == zoo.spec.Likelihood("exact", "dequantised")


def joint_gaussians(model):
    """Each class and path as one Gaussian over all pixels, row by row: weights, means, covariances (lags=0)."""
    found = []
    for group in range(model.groups):
        zero = torch.zeros(1, model.steps, model.emission.values, dtype=torch.float64)
        for path, _ in enumerate_paths(model, zero, group):
            log_weight = sum(float(model.chain(group)[1][i, j]) for i, j in itertools.pairwise(path))
            log_weight += float(
                model.chain(group)[0][path[0]] + (0 if model.log_prior is None else model.log_prior[group])
            )
            if log_weight > -1e20:
                mean = torch.cat([model.weight[group, state, :, 0] for state in path])
                found.append((log_weight, mean, torch.block_diag(*[covariance(model, group, state) for state in path])))
    log_weights, means, covariances = zip(*found, strict=True)
    return torch.tensor(log_weights).double(), torch.stack(means), torch.stack(covariances)


def bernoulli_table(model):
    """All binary images with log p(y, image), ``(images, classes)``."""
    every = torch.tensor(list(itertools.product((0.0, 1.0), repeat=6))).double().view(-1, 1, 3, 2)
    return every, model.log_joint(every)


def tight(**case):
    """A model whose samples hardly ever leave [0, 1], so that clamping does not count."""
    model = build(**case)
    with torch.no_grad():
        if model.scale is not None:
            model.weight[..., -1].copy_(0.3 + 0.4 * torch.rand(model.weight.shape[:-1], generator=generator(5)))
            model.weight[..., :-1].mul_(0.2)
            model.scale.mul_(0.05)
            (model.scale.diagonal(dim1=-2, dim2=-1) if model.emission.full else model.scale).sub_(2.6)
    return model


MASKS = torch.rand(5, 1, 3, 2, generator=generator(7)) < 0.5
MASKS[0], MASKS[1] = True, False  # all seen, none seen


@pytest.mark.parametrize("per_class", [True, False])
@pytest.mark.parametrize("case", MARGINAL, ids=name)
@torch.no_grad()
def test_missing_pixels(case, per_class):
    """Marginals, classes, conditional means and imputations against all pixels' joint distribution written out."""
    model, x = tight(**case, per_class=per_class), 0.2 + 0.6 * images(n=5)
    if model.scale is not None:
        log_w, means, covariances = joint_gaussians(model)
        log_p, conditional, spread = [], [], []
        for image, mask in zip(x.flatten(1), MASKS.flatten(1), strict=True):
            each, mean, second = [], [], []
            hidden = ~mask
            for w, mu, sigma in zip(log_w, means, covariances, strict=True):
                seen = MultivariateNormal(mu[mask], sigma[mask][:, mask]) if mask.any() else None
                each.append(w + (seen.log_prob(image[mask]) if seen else 0))
                gain = sigma[:, mask] @ torch.linalg.inv(sigma[mask][:, mask])
                mean.append(mu + gain @ (image - mu)[mask])
                second.append((sigma - gain @ sigma[mask]).diagonal() * hidden + mean[-1] ** 2)
            log_p.append(torch.stack(each).logsumexp(0))
            weight = torch.stack(each).softmax(0)[:, None]
            conditional.append((weight * torch.stack(mean)).sum(0))
            spread.append((weight * torch.stack(second)).sum(0) - conditional[-1] ** 2)
    else:
        every, joint = bernoulli_table(model)
        log_p, conditional, spread = [], [], []
        for image, mask in zip((x > 0.5).double().flatten(1), MASKS.flatten(1), strict=True):
            agree = ((every.flatten(1) == image) | ~mask).all(1)
            log_p.append(joint[agree].flatten().logsumexp(0))
            weight = joint.logsumexp(1)[agree].softmax(0)
            conditional.append(weight @ every.flatten(1)[agree])
            spread.append(conditional[-1] * (1 - conditional[-1]))
    spoilt = torch.where(MASKS, x, torch.nan)
    torch.testing.assert_close(model.log_prob(spoilt, observed=MASKS), torch.stack(log_p))
    mean = torch.where(MASKS, x, torch.stack(conditional).view_as(x))
    torch.testing.assert_close(model.conditional_mean(spoilt, MASKS), mean)
    drawn = zoo.impute(model, spoilt, MASKS, n=4000, generator=generator())
    assert drawn.shape == (4000, 5, 1, 3, 2)
    assert torch.equal(torch.where(MASKS, drawn, 0), torch.where(MASKS, x, 0).expand_as(drawn))
    deviation = torch.stack(spread).view_as(x).clamp_min(1e-12).sqrt()
    assert ((drawn.mean(0) - mean).abs() < 4.5 * deviation / math.sqrt(4000) + 1e-4).all()
    torch.testing.assert_close(drawn.std(0)[~MASKS], deviation[~MASKS], rtol=0.08, atol=1e-3)
    if per_class:
        log_proba = zoo.classify(model, spoilt, observed=MASKS)
        torch.testing.assert_close(log_proba[1], model.log_prior.double())  # nothing is seen
        torch.testing.assert_close(log_proba[:1], zoo.classify(model, x[:1]))  # all is seen
    again = zoo.impute(model, spoilt[2:3], MASKS[2:3], n=1, generator=generator(3))
    assert torch.equal(again, zoo.impute(model, x[2:3], MASKS[2:3], n=1, generator=generator(3)))


@pytest.mark.parametrize("case", MARGINAL, ids=name)
@torch.no_grad()
def test_imputed_pixels_of_a_row_vary_together(case):
    """The covariance of pairs of hidden pixels, over draws, is that of fresh samples when nothing is seen."""
    model = tight(**case)
    hidden = torch.zeros(1, 1, 3, 2, dtype=torch.bool)
    drawn = zoo.impute(model, images(n=1), hidden, n=20000, generator=generator()).flatten(1)
    fresh = zoo.sample(model, 20000, generator=generator(1)).flatten(1)
    scale = fresh.std(0)
    torch.testing.assert_close(
        drawn.T.cov() / scale / scale[:, None], fresh.T.cov() / scale / scale[:, None], rtol=0, atol=0.05
    )


@pytest.mark.parametrize("case", [case for case in CASES if "lags" in case], ids=name)
def test_with_lags_missing_pixels_are_refused(case):
    model, x = build(**case), images()
    assert not capability.can(model, "impute")
    assert capability.support(model, "classify") == "native"
    assert capability.support(model, "classify_missing") == "derived"
    assert not hasattr(model, "conditional_mean")
    with pytest.raises(zoo.ZooError, match="lags=0"):
        model.log_prob(x, observed=torch.ones_like(x, dtype=torch.bool))
    with pytest.raises(zoo.ZooError, match="no mean"):
        model.state_means()
    assert zoo.classify(model, x, observed=torch.rand(x.shape) < 0.5).isfinite().all()
    unconditional = build(**case, per_class=False)
    assert not hasattr(unconditional, "classify")


# --- samples ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=name)
@torch.no_grad()
def test_samples_have_the_density(case):
    """E[log p(x)] of samples is their entropy: importance weights against another model average to one."""
    model, other = tight(**case), tight(**case, seed=1)
    if model.scale is not None:  # near enough for weights of finite variance
        for mine, its in zip(model.parameters(), other.parameters(), strict=True):
            its.copy_(mine + 0.1 * (its - mine) if mine.dim() == 3 else mine + 0.02 * torch.sign(its - mine))
        other.scale.copy_(model.scale)
    labels = torch.arange(20000) % 2
    x = zoo.sample(model, 20000, labels, generator=generator())
    assert x.shape == (20000, 1, 3, 2)
    assert x.min() >= 0
    assert x.max() <= 1
    for label in range(2):
        part = x[labels == label]
        index = torch.full((10000,), label)
        ratio = (other.log_prob(part, index) - model.log_prob(part, index)).exp()
        assert ratio.std() > 0.01
        assert float(ratio.mean()) == pytest.approx(1, abs=5 * float(ratio.std()) / 100)


@pytest.mark.parametrize("case", MARGINAL, ids=name)
@torch.no_grad()
def test_moments_of_samples(case):
    model = tight(**case)
    x = zoo.sample(model, 20000, generator=generator()).flatten(1)
    if model.scale is not None:
        log_w, means, covariances = joint_gaussians(model)
        mean = log_w.exp() @ means
        second = torch.einsum("k,kij->ij", log_w.exp(), covariances + means[:, :, None] * means[:, None, :])
    else:
        every, joint = bernoulli_table(model)
        weight, every = joint.logsumexp(1).exp(), every.flatten(1)
        mean, second = weight @ every, every.T @ (weight[:, None] * every)
    expected = second - mean[:, None] * mean
    scale = expected.diagonal().sqrt()
    torch.testing.assert_close((x.mean(0) - mean) / scale, torch.zeros(6).double(), rtol=0, atol=0.04)
    difference = (x.T.cov() - expected) / scale / scale[:, None]
    torch.testing.assert_close(difference, torch.zeros(6, 6).double(), rtol=0, atol=0.05)
    if not model.scale is not None:
        assert set(x.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("case", [*CASES, {"reads": "pixels"}], ids=name)
def test_few_samples(case):
    for per_class in (True, False):
        model = build((3, 4, 2), **case, per_class=per_class).float()
        for n in (0, 1, 3):
            x = zoo.sample(model, n, generator=generator())
            assert x.shape == (n, 3, 4, 2)
            assert torch.equal(x, zoo.sample(model, n, generator=generator()))
            assert zoo.log_prob(model, x).shape == (n,)


# --- expectation-maximisation ----------------------------------------------------------------------------------------


def em(model, x, labels, passes):
    """The mean log-likelihood before each pass, and after the last."""
    history = []
    for _ in range(passes):
        found = model.statistics(x, labels)
        history.append(float(found["log_likelihood"]))
        model.maximize(found)
    return [*history, float(model.statistics(x, labels)["log_likelihood"])]


@pytest.mark.parametrize("kind", ["diag", "full"])
def test_em_is_hmmlearns(kind):
    shape, states = (1, 7, 3), 3
    model, x = (
        build(shape, classes=1, num_states=states, covariance=kind, topology="ergodic", per_class=False, spread=0.2),
        images(shape, 40),
    )
    x[:, :, 2:] += 0.3 * x[:, :, :-2]
    reference = GaussianHMM(
        states, kind, min_covar=0, covars_prior=0, covars_weight=0, n_iter=5, tol=-np.inf, init_params=""
    )
    reference.startprob_ = model.initial[0].softmax(0).detach().numpy()
    reference.transmat_ = model.transition_matrix()[0].detach().numpy()
    reference.means_ = model.state_means()[0].detach().numpy()
    covars = torch.stack([covariance(model, 0, state) for state in range(states)]).detach()
    reference.covars_ = (covars if kind == "full" else covars.diagonal(dim1=1, dim2=2)).numpy()
    with threadpool_limits(1):
        reference.fit(x.reshape(-1, 3).numpy(), [7] * 40)
    history = em(model, x, torch.zeros(40).long(), 5)
    np.testing.assert_allclose(history[:5], list(reference.monitor_.history), rtol=1e-5)
    np.testing.assert_allclose(history[5], reference.score(x.reshape(-1, 3).numpy(), [7] * 40), rtol=1e-5)
    covars = torch.stack([covariance(model, 0, state) for state in range(states)]).detach()
    for mine, its in (
        (model.initial[0].softmax(0), reference.startprob_),
        (model.transition_matrix()[0], reference.transmat_),
        (model.state_means()[0], reference.means_),
        (covars, reference.covars_),
    ):
        np.testing.assert_allclose(mine.detach().numpy(), its, rtol=1e-5, atol=1e-9)
    paths = reference.predict(x.reshape(-1, 3).numpy(), [7] * 40)
    assert model.viterbi(x).flatten().tolist() == paths.tolist()


def test_binary_em_is_hmmlearns():
    model, x = (
        build((1, 3, 5), classes=1, emission="bernoulli", reads="pixels", topology="ergodic", per_class=False),
        images((1, 3, 5), 30),
    )
    reference = CategoricalHMM(2, n_iter=5, tol=-np.inf, init_params="")
    reference.startprob_ = model.initial[0].softmax(0).detach().numpy()
    reference.transmat_ = model.transition_matrix()[0].detach().numpy()
    on = model.state_means()[0, :, 0].detach().numpy()
    reference.emissionprob_ = np.stack([1 - on, on], 1)
    reference.fit((x > 0.5).long().reshape(-1, 1).numpy(), [15] * 30)
    history = em(model, x, torch.zeros(30).long(), 5)
    np.testing.assert_allclose(history[:5], list(reference.monitor_.history), rtol=1e-5)
    np.testing.assert_allclose(model.state_means()[0, :, 0].detach(), reference.emissionprob_[:, 1], rtol=1e-5)
    np.testing.assert_allclose(model.transition_matrix()[0].detach(), reference.transmat_, rtol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=name)
def test_em_never_loses_likelihood(case):
    shape = (1, 6, 2)
    model, x = build(shape, num_states=3, spread=0.2, **case), images(shape, 60)
    labels = torch.arange(60) % 2
    history = em(model, x, labels, 12)
    for before, after in itertools.pairwise(history):
        assert after >= before - 1e-8 * abs(before)
    assert history[-1] > history[0] + 1


@pytest.mark.parametrize("case", CASES, ids=name)
def test_statistics_add_up(case):
    shape = (1, 6, 2)
    model, x = build(shape, num_states=3, **case), images(shape, 30)
    labels = torch.randint(2, (30,), generator=generator())
    together = model.statistics(x, labels)
    parts = [model.statistics(a, b) for a, b in zip(x.split([1, 17, 12]), labels.split([1, 17, 12]), strict=True)]
    for key, value in together.items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(sum(part[key] for part in parts), value, rtol=1e-10, atol=1e-10)
    nothing = model.statistics(x[:0], labels[:0])
    assert all(not value.any() for value in nothing.values())


def test_chunks_change_nothing(monkeypatch):
    shape = (1, 6, 2)
    x, labels = images(shape, 30), torch.arange(30) % 2
    observed = torch.rand(x.shape, generator=generator(2)) < 0.5
    answers = []
    for size in (2**24, 50):
        monkeypatch.setattr("zoo.models.hmm.CHUNK", size)
        monkeypatch.setattr("zoo.base.emissions.CHUNK", size)
        monkeypatch.setattr("zoo.models.hmm.LARGEST_CHUNK", size)
        model = build(shape, num_states=3)
        answers.append(
            [
                model.log_prob(x, labels, observed),
                model.conditional_mean(x, observed),
                model.encode(x),
                model.reconstruct(x),
                model.viterbi(x).double(),
                *model.statistics(x, labels).values(),
            ]
        )
    assert build(shape, num_states=3).at_once == 1
    for first, second in zip(*answers, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("covariance", ["diag", "full"])
def test_regression_with_ridge_and_floor_is_its_formula(covariance):
    """One state, so that the M-step is a single ridge regression of each row on the two before it."""
    shape = (1, 6, 2)
    options = {"num_states": 1, "lags": 2, "ridge": 3.0, "floor": 0.02, "covariance": covariance}
    model, x = build(shape, classes=1, per_class=False, **options), images(shape, 20)
    for _ in range(2):  # from any parameters the answer is the same
        model.maximize(model.statistics(x, torch.zeros(20).long()))
        steps = np.concatenate([np.zeros((20, 2, 2)), x[:, 0].numpy()], 1)
        f = np.concatenate([steps[:, 1:-1], steps[:, :-2], np.ones((20, 6, 1))], 2).reshape(-1, 5)
        y = steps[:, 2:].reshape(-1, 2)
        weight = y.T @ f @ np.linalg.inv(f.T @ f + np.diag([3, 3, 3, 3, 0]))
        np.testing.assert_allclose(model.weight[0, 0].detach(), weight, rtol=1e-8, atol=1e-10)
        residual = y - f @ weight.T
        expected = residual.T @ residual / len(y) + 0.02 * np.eye(2)
        expected = expected if covariance == "full" else np.diag(np.diag(expected))
        factor = model.emission.factor(model.scale[0])[0]
        np.testing.assert_allclose((factor @ factor.T).detach(), expected, rtol=1e-8, atol=1e-10)


def test_smoothing_counts_imagined_pixels():
    model, x = (
        build((1, 3, 2), classes=1, num_states=1, emission="bernoulli", smoothing=2.0, per_class=False),
        images(n=4),
    )
    model.maximize(model.statistics(x, torch.zeros(4).long()))
    on = (x > 0.5).double().sum((0, 1, 2))
    torch.testing.assert_close(model.state_means()[0, 0].detach(), (on + 2) / (12 + 4))


class Batches:
    """What ``initialize`` gets: batches that can be gone through again and again."""

    def __init__(self, x, labels, size=16):
        self.parts = list(zip(x.split(size), labels.split(size), strict=True))

    def __iter__(self):
        return iter(self.parts)


@pytest.mark.parametrize("case", CASES, ids=name)
def test_initialization_starts_well(case):
    """From there EM climbs, and classes that differ are told apart; the same seed gives the same start."""
    shape = (1, 6, 4)
    means = torch.rand(2, *shape, generator=generator(3))
    labels = torch.arange(90) % 3 // 2
    x = (means[labels] + 0.2 * torch.randn(90, *shape, generator=generator(4))).clamp(0, 1)
    first, second = (build(shape, num_states=3, floor=0.01, smoothing=0.1, **case).float() for _ in range(2))
    for model in (first, second):
        model.initialize(Batches(x, labels), generator())
    assert first.initialized
    torch.testing.assert_close(first.log_prior.exp(), torch.tensor([2 / 3, 1 / 3]))
    history = em(first, x, labels, 6)
    assert history[-1] > history[0]
    assert (zoo.classify(first, x).argmax(1) == labels).float().mean() > 0.9
    em(second, x, labels, 6)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_left_to_right_starts_with_equal_segments():
    shape = (1, 6, 2)
    model = zoo.create("hmm", zoo.DataSpec(shape, 1), num_states=3, per_class=False)
    x = images(shape, 20).float()
    model.initialize(Batches(x, torch.zeros(20).long()), generator())
    expected = x[:, 0].mean(0).view(3, 2, 2).mean(1)
    torch.testing.assert_close(model.state_means()[0], expected, rtol=1e-3, atol=1e-4)


DEGENERATE = {
    "constant": (torch.full((6, 1, 4, 3), 0.5), torch.arange(6) % 2),
    "black": (torch.zeros(6, 1, 4, 3), torch.arange(6) % 2),
    "one image a class": (torch.rand(2, 1, 4, 3, generator=generator()), torch.arange(2)),
    "duplicates": (torch.rand(1, 1, 4, 3, generator=generator()).expand(6, -1, -1, -1), torch.arange(6) % 2),
    "an empty class": (torch.rand(6, 1, 4, 3, generator=generator()), torch.zeros(6).long()),
}


@pytest.mark.parametrize("data", DEGENERATE)
@pytest.mark.parametrize("num_states", [1, 3, 9])
@pytest.mark.parametrize("case", CASES, ids=name)
def test_degenerate_data(case, num_states, data):
    x, labels = DEGENERATE[data]
    model = zoo.create("hmm", zoo.DataSpec((1, 4, 3), 2), num_states=num_states, **case)
    model.initialize(Batches(x, labels), generator())
    history = em(model, x, labels, 4)
    assert np.isfinite(history).all()
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert zoo.log_prob(model, x).isfinite().all()
    assert zoo.classify(model, x).exp().isfinite().all()
    assert zoo.sample(model, 3).isfinite().all()
    assert zoo.encode(model, x).isfinite().all()


def test_a_singular_covariance_is_explained():
    for kind in ("diag", "full"):
        model = build(covariance=kind)
        x, labels = torch.full((4, 1, 3, 2), 0.5).double(), torch.arange(4) % 2
        found = model.statistics(x, labels)
        found["ee"].zero_(), found["ef"].zero_()
        with pytest.raises(zoo.ZooError, match="floor"):
            model.maximize(found)


# --- learning from what is seen --------------------------------------------------------------------------------------


def with_gaps(x, share=0.3, seed=8):
    """Examples of which values are missing, whole rows among them, and all of one."""
    hidden = torch.rand(x.shape, generator=generator(seed)) < share
    hidden |= torch.rand(x[:, :1, :, :1].shape, generator=generator(seed + 1)) < share
    hidden[0] = True
    return x.masked_fill(hidden, torch.nan)


def gappy(case, shape=(1, 6, 3), **options):
    """A model of data of which values are missing."""
    model = build(shape, **{"num_states": 3, "spread": 0.2, **case, **options})
    other = zoo.create("hmm", zoo.DataSpec(shape, model.spec.num_classes, missing=True), **model.config["options"])
    other.double().eval().load_state_dict(model.state_dict())
    return other


@pytest.mark.parametrize("case", MARGINAL, ids=name)
def test_em_learns_from_what_is_seen(case):
    """The likelihood of EM is that of what is seen, and no pass lowers it; also where classes are hidden."""
    model, x = gappy(case), with_gaps(images((1, 6, 3), 60))
    assert model.learns_from_gaps
    labels = torch.arange(60) % 3 - 1
    known = labels >= 0
    expected = torch.where(known, zoo.log_prob(model, x, labels.clamp_min(0)) + model.log_prior[labels], 0)
    expected = torch.where(known, expected, zoo.log_prob(model, x)).sum()
    assert float(model.statistics(x, labels)["log_likelihood"]) == pytest.approx(float(expected))
    history = em(model, x, labels, 12)
    for before, after in itertools.pairwise(history):
        assert after >= before - 1e-8 * abs(before)
    assert history[-1] > history[0] + 1


@pytest.mark.parametrize("case", MARGINAL, ids=name)
def test_padding_changes_nothing(case):
    """Columns of nothing behind the last one: neither the likelihood nor what is learnt changes."""
    case = {**case, "reads": "columns"}
    model, padded = gappy(case, (1, 3, 6)), gappy(case, (1, 3, 8))
    x, labels = images((1, 3, 6), 20), torch.arange(20) % 2
    x[:7, ..., 4:] = torch.nan  # some are shorter
    x[3, 0, 1, 2] = torch.nan
    longer = torch.nn.functional.pad(x, (0, 2), value=torch.nan)
    torch.testing.assert_close(zoo.log_prob(padded, longer), zoo.log_prob(model, x), rtol=1e-12, atol=1e-12)
    alone = build((1, 3, 4), num_states=3, spread=0.2, **case)
    torch.testing.assert_close(zoo.log_prob(alone, x[4:5, ..., :4]), zoo.log_prob(model, x[4:5]))
    found, again = model.statistics(x, labels), padded.statistics(longer, labels)
    assert found.keys() == again.keys()
    for key, value in found.items():
        torch.testing.assert_close(again[key], value, rtol=1e-12, atol=1e-12)
    for each, of in ((model, x), (padded, longer)):
        each.initialize(Batches(of, labels), generator())
        em(each, of, labels, 3)
    for mine, other in zip(model.parameters(), padded.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("covariance", ["diag", "full"])
def test_a_gaussian_with_gaps_is_its_formula(covariance):
    """One state: EM of one Gaussian (Ghahramani & Jordan 1994), written out row by row."""
    model = gappy({"covariance": covariance}, num_states=1, per_class=False, classes=1, floor=0.02)
    x = with_gaps(images((1, 6, 3), 30))
    for _ in range(3):
        scale = model.emission.factor(model.scale[0])[0].detach().numpy()
        mu, sigma = model.weight[0, 0, :, 0].detach().numpy().copy(), scale @ scale.T
        mean, second, seen, n = np.zeros(3), np.zeros((3, 3)), np.zeros(3), 0
        for row in x.reshape(-1, 3).numpy():
            o = ~np.isnan(row)
            if o.any():
                gain = sigma[:, o] @ np.linalg.inv(sigma[np.ix_(o, o)])
                e = gain @ (row - mu)[o]
                mean, second = mean + e, second + np.outer(e, e) + sigma - gain @ sigma[o]
                seen, n = seen + o, n + 1
        model.maximize(model.statistics(x, torch.zeros(30).long()))
        np.testing.assert_allclose(model.weight[0, 0, :, 0].detach(), mu + mean / n, rtol=1e-9)
        expected = second / n - np.outer(mean, mean) / n**2 + 0.02 * np.diag(seen / n)
        expected = expected if covariance == "full" else np.diag(np.diag(expected))
        factor = model.emission.factor(model.scale[0])[0]
        np.testing.assert_allclose((factor @ factor.T).detach(), expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("case", MARGINAL, ids=name)
def test_a_start_with_gaps_is_a_good_one(case):
    """What is never seen keeps what it had, and classes that differ are told apart by the rest."""
    shape = (1, 6, 4)
    means = torch.rand(2, *shape, generator=generator(3))
    labels = torch.arange(90) % 3 // 2
    x = with_gaps((means[labels] + 0.2 * torch.randn(90, *shape, generator=generator(4))).clamp(0, 1))
    x[..., 3] = torch.nan
    spec = zoo.DataSpec(shape, 2, mean=(0.4,), std=(0.3,), missing=True)
    model = zoo.create("hmm", spec, num_states=3, floor=0.01, smoothing=0.1, **case)
    model.initialize(Batches(x, labels), generator())
    history = em(model, x, labels, 8)
    assert history[-1] > history[0]
    assert (zoo.classify(model, x).argmax(1) == labels).float().mean() > 0.9
    torch.testing.assert_close(model.state_means()[..., 3], torch.full((2, 3), 0.4), rtol=1e-3, atol=1e-3)
    if model.scale is not None and not model.emission.full:
        torch.testing.assert_close(model.scale[..., 3].exp(), torch.full((2, 3), 0.3), rtol=1e-3, atol=1e-3)


# --- the past alone --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=name)
@torch.no_grad()
def test_the_filter_is_enumeration(case):
    model, x = build((1, 4, 2), num_states=3, **case), images((1, 4, 2), 2)
    found = model.filter(x)
    assert found.shape == (2, 4, 2, 3)
    for b, step in itertools.product(range(2), range(4)):
        expected = torch.zeros(2, 3, dtype=torch.float64)
        for group in range(2):
            for path, total in enumerate_paths(model, x[b, :, : step + 1], group):
                expected[group, path[-1]] += math.exp(total + model.log_prior[group])
        torch.testing.assert_close(found[b, step], expected / expected.sum())
    torch.testing.assert_close(found[:, -1], model.state_posteriors(x)[:, -1])
    later = x.clone()
    later[:, :, 2:] = 0.1
    assert torch.equal(model.filter(later)[:, :2], found[:, :2])


# --- by gradient, on disk, refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=name)
def test_gradient_training(case):
    model, x = build(num_states=3, **case), images(n=20)
    labels = torch.arange(20) % 2
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    history = []
    for step in range(8):
        loss = -model.log_likelihood(x, labels).mean()
        history.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        if not step:
            for key, parameter in model.named_parameters():
                assert parameter.grad is not None, key
                assert parameter.grad.isfinite().all(), key
                assert parameter.grad.abs().max() > 0, key
        optimizer.step()
    assert history[-1] < history[0]


@pytest.mark.parametrize("case", CASES, ids=name)
def test_saved_and_loaded_is_the_same(case, tmp_path):
    model = build(**case).float()
    x = images().float()
    again = zoo.load(zoo.save(model, tmp_path / "released"))
    assert torch.equal(again.log_prob(x), model.log_prob(x))
    assert torch.equal(zoo.classify(again, x), zoo.classify(model, x))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"reads": "words"}, "rows, columns, pixels"),
        ({"emission": "poisson"}, "gaussian, bernoulli"),
        ({"covariance": "tied"}, "diag, full"),
        ({"topology": "ring"}, "left_to_right, ergodic"),
        ({"num_states": 0}, "at least 1"),
        ({"floor": -1.0}, "negative"),
        ({"emission": "bernoulli", "lags": 1}, "lags must be 0"),
    ],
)
def test_refused_options(options, match):
    with pytest.raises(zoo.ZooError, match=match):
        zoo.create("hmm", **options)


def test_without_classes_there_are_no_labels():
    model = build(per_class=False)
    for ask in (
        lambda: model.log_prob(images(), torch.zeros(6).long()),
        lambda: zoo.sample(model, 2, torch.zeros(2).long()),
    ):
        with pytest.raises(zoo.ZooError, match="no labels"):
            ask()
    assert zoo.encode(model, images()).shape == (6, 3 * 2)
