"""Hidden Markov models of symbols, against enumeration of all paths and all texts, and hmmlearn."""

import itertools
import math

import numpy as np
import pytest
import torch
from hmmlearn.hmm import CategoricalHMM
from test_hmm import em
from threadpoolctl import threadpool_limits

import zoo
from zoo.base.chain import NEVER, Chain, forward_messages, posteriors
from zoo.models.hmm import HMM

pytestmark = pytest.mark.usefixtures("one_thread")

TOPOLOGIES = ["ergodic", "left_to_right"]
ENDING = ("a", "b", "<end>")
PLAIN = ("a", "b", "c")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def build(vocabulary=ENDING, length=4, classes=1, context=0, seed=0, **options) -> HMM:
    """A model in float64 with random parameters."""
    settings = {"context": context} if context else {}
    spec = zoo.DataSpec(
        (1, 1, length), classes, kind="tokens", values="tokens", vocabulary=vocabulary, settings=settings
    )
    model = zoo.create("hmm", spec, **{"num_states": 3, "smoothing": 0.0, **options}).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator(seed), dtype=torch.float64))
        if model.log_prior is not None:
            model.log_prior.copy_(torch.arange(1, classes + 1).double().log().log_softmax(0))
    return model


def numbers(values):
    return torch.tensor(values, dtype=torch.float64)


def texts(*rows, length=None):
    """Rows of symbols as examples, -1 behind the shorter ones."""
    length = length or max(map(len, rows))
    return torch.tensor([[*row, *[-1] * (length - len(row))] for row in rows])[:, None, None]


def every(symbols, length):
    return [list(row) for row in itertools.product(range(symbols), repeat=length)]


def every_text(length):
    """All texts of two symbols that end, 2, within ``length``, and all that are cut there."""
    ended = [[*row, 2] for before in range(length) for row in every(2, before)]
    return [*ended, *every(2, length)]


def paths(model, row, group=0):
    """Every path of states with log p(path, row); a symbol of -1 may be any."""
    start, moves, log_b = (of.tolist() for of in (*model.chain(group)[:2], model.weight[group].log_softmax(1)))
    for path in itertools.product(range(model.states), repeat=len(row)):
        total = start[path[0]] + sum(moves[i][j] for i, j in itertools.pairwise(path))
        yield path, total + sum(log_b[state][symbol] for state, symbol in zip(path, row, strict=True) if symbol >= 0)


def log_p(model, row, group=0):
    return float(numbers([total for _, total in paths(model, row, group)]).logsumexp(0)) if row else 0.0


def random_texts(n=40, symbols=3, longest=9, seed=2):
    g = generator(seed)
    lengths = torch.randint(1, longest + 1, (n,), generator=g).tolist()
    return [torch.randint(symbols, (length,), generator=g).tolist() for length in lengths]


# --- likelihood ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topology", TOPOLOGIES)
@torch.no_grad()
def test_probabilities_of_all_texts_sum_to_one(topology):
    model = build(topology=topology)
    x = texts(*every_text(4))
    assert len(x) == 1 + 2 + 4 + 8 + 16
    assert float(zoo.log_prob(model, x).exp().sum()) == pytest.approx(1, abs=1e-12)
    assert model.density == zoo.spec.Likelihood("exact", "tokens")


@pytest.mark.parametrize("topology", TOPOLOGIES)
@torch.no_grad()
def test_everything_is_enumeration(topology):
    model, rows = build(PLAIN, 5, classes=2, topology=topology), [[0, 2, 1, 1, 0], [2, 2], [1, 0, 2]]
    x, labels = texts(*rows), torch.tensor([1, 0, 1])
    joint = numbers([[log_p(model, row, group) for group in range(2)] for row in rows]) + model.log_prior
    torch.testing.assert_close(zoo.log_prob(model, x), joint.logsumexp(1))
    torch.testing.assert_close(zoo.log_prob(model, x, labels) + model.log_prior[labels], joint[range(3), labels])
    torch.testing.assert_close(zoo.classify(model, x), joint.log_softmax(1))  # Bayes' rule
    found = model.statistics(x, labels)
    shapes = {"initial": (2, 3), "transition": (2, 3, 3), "counts": (2, 3, 3)}
    expected = {name: torch.zeros(shape).double() for name, shape in shapes.items()}
    posterior = torch.zeros(3, 5, 2, 3).double()
    for b, row in enumerate(rows):
        for group in range(2):
            for path, total in paths(model, row, group):
                weight = math.exp(total + model.log_prior[group] - joint[b].logsumexp(0))
                for step, state in enumerate(path):
                    posterior[b, step, group, state] += weight
                if group == labels[b]:
                    weight = math.exp(total + model.log_prior[group] - joint[b, group])
                    expected["initial"][group, path[0]] += weight
                    for i, j in itertools.pairwise(path):
                        expected["transition"][group, i, j] += weight
                    for symbol, state in zip(row, path, strict=True):
                        expected["counts"][group, state, symbol] += weight
        best = max(paths(model, row, int(labels[b])), key=lambda pair: pair[1])[0]
        assert model.viterbi(x[b : b + 1], labels[b : b + 1]).flatten().tolist() == [*best, *[-1] * (5 - len(row))]
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    torch.testing.assert_close(found["log_likelihood"], joint[range(3), labels].sum())
    seen = (x.flatten(1) >= 0)[:, :, None, None]
    torch.testing.assert_close(model.state_posteriors(x) * seen, posterior)
    lengths = numbers([[5.0], [2.0], [3.0]])
    torch.testing.assert_close(zoo.encode(model, x), posterior.sum(1).flatten(1) / lengths)


@torch.no_grad()
def test_of_running_text_what_follows_the_context_is_asked_about():
    model = build(PLAIN, 5, context=2)
    known = [[*row, *rest] for row in every(3, 2) for rest in every(3, 2)]
    x = texts(*known)
    expected = numbers([log_p(model, row) - log_p(model, row[:2]) for row in known])
    torch.testing.assert_close(zoo.log_prob(model, x), expected)
    torch.testing.assert_close(expected.exp().view(9, 9).sum(1), torch.ones(9).double())
    begun, shorter = texts([-1, 0, 2, 1, 1], [-1, -1, 2, 1, 1]), texts([0, 1, 2], [0, 1], [1], length=5)
    fewer = [log_p(model, [0, 2, 1, 1]) - log_p(model, [0]), log_p(model, [2, 1, 1])]
    assert zoo.log_prob(model, begun).tolist() == pytest.approx(fewer)
    assert model.log_prob(shorter).tolist() == pytest.approx(
        [log_p(model, [0, 1, 2]) - log_p(model, [0, 1]), 0, 0], abs=1e-12
    )
    # EM maximises what is known, too
    whole = numbers([log_p(model, row) for row in known])
    nobody = torch.zeros(len(x)).long()
    torch.testing.assert_close(model.log_likelihood(x, nobody), whole)
    torch.testing.assert_close(model.statistics(x, nobody)["log_likelihood"], whole.sum())
    validated = model.validate(begun, nobody[:2])
    assert validated["tokens"].tolist() == [3, 3]
    torch.testing.assert_close(validated["log_joint"][:, 0], numbers(fewer))


@pytest.mark.parametrize("context", [0, 2])
@torch.no_grad()
def test_padding_changes_nothing(context):
    model, rows = build(PLAIN, 20, context=context), random_texts()
    x, labels = texts(*rows), torch.zeros(40).long()
    padded = texts(*rows, [], length=20)
    assert torch.equal(model.log_prob(padded)[:-1], model.log_prob(x))
    assert float(model.log_prob(padded)[-1]) == 0
    alone = torch.cat([model.log_prob(texts(row)) for row in rows])
    torch.testing.assert_close(model.log_prob(x), alone, rtol=1e-12, atol=1e-12)
    found, again = model.statistics(x, labels), model.statistics(padded[:-1], labels)
    assert all(torch.equal(value, again[key]) for key, value in found.items())
    if context:  # and what has not begun
        before = torch.nn.functional.pad(x, (2, 0), value=-1)
        again = model.statistics(before, labels)
        assert all(torch.equal(value, again[key]) for key, value in found.items())


# --- the chain -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shares", [None, torch.tensor([0.5, 1, 0, 2, 1]).double()])
@pytest.mark.parametrize("lengths", [None, [7, 1, 3, 7, 5]])
def test_products_are_logarithms(shares, lengths):
    g = generator()
    log_b = 5 * torch.randn(5, 7, 4, generator=g, dtype=torch.float64)
    start, moves = (torch.randn(4, generator=g).double(), 20 * torch.randn(4, 4, generator=g).double())
    moves[0, 1] = NEVER
    start, moves = start.log_softmax(0), moves.log_softmax(1)
    alive = None if lengths is None else torch.arange(7) < torch.tensor(lengths)[:, None]
    by = [Chain(start, moves, sums) for sums in ("logarithms", "products")]
    for mine, other in zip(*(posteriors(log_b, chain, shares, alive) for chain in by), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)
    for mine, other in zip(*(forward_messages(log_b, chain, alive) for chain in by), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)


def test_what_cannot_be_is_never_a_number_that_is_none():
    """Two states that never change places, and symbols of which each has its own."""
    never = numbers([[0, NEVER], [NEVER, 0]])
    log_b = never[torch.tensor([[0, 0, 1], [0, 0, 0]])]
    for sums in ("logarithms", "products"):
        chain = Chain(torch.tensor([0.5, 0.5]).double().log(), never, sums)
        found = posteriors(log_b, chain)
        assert float(found.log_z[0]) <= NEVER
        assert float(found.log_z[1]) == pytest.approx(math.log(0.5))
        assert all(part.isfinite().all() for part in found)
        torch.testing.assert_close(forward_messages(log_b, chain)[-1][1].logsumexp(0), found.log_z[1])


def test_a_gradient_is_that_of_logarithms():
    """Of products, by automatic differentiation, as of the sums of logarithms that they are."""
    model, x = build(PLAIN, 9), texts(*random_texts())
    found = {}
    for sums in ("products", "logarithms"):
        model.emission.sums = sums
        model.zero_grad()
        model.log_prob(x).sum().backward()
        found[sums] = [parameter.grad.clone() for parameter in model.parameters()]
    for mine, other in zip(*found.values(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)
        assert mine.abs().max() > 0


# --- expectation-maximisation ----------------------------------------------------------------------------------------


def test_em_is_hmmlearns():
    model, rows = build(PLAIN, 9, per_class=False), random_texts()
    lengths, column = [len(row) for row in rows], np.concatenate(rows)[:, None]
    reference = CategoricalHMM(3, n_iter=4, tol=-np.inf, init_params="", implementation="log")
    reference.startprob_ = model.initial[0].softmax(0).detach().numpy()
    reference.transmat_ = model.transition_matrix()[0].detach().numpy()
    reference.emissionprob_ = model.state_means()[0].detach().numpy()
    score = reference.score(column, lengths)
    assert float(zoo.log_prob(model, texts(*rows)).sum()) == pytest.approx(score, rel=1e-12)
    with threadpool_limits(1):
        reference.fit(column, lengths)
    history = em(model, texts(*rows), torch.zeros(40).long(), 4)
    np.testing.assert_allclose(history[:4], list(reference.monitor_.history), rtol=1e-11)
    np.testing.assert_allclose(history[4], reference.score(column, lengths), rtol=1e-11)
    for mine, its in (
        (model.initial[0].softmax(0), reference.startprob_),
        (model.transition_matrix()[0], reference.transmat_),
        (model.state_means()[0], reference.emissionprob_),
    ):
        np.testing.assert_allclose(mine.detach().numpy(), its, rtol=0, atol=1e-10)
    assert (
        model.viterbi(texts(*rows))[texts(*rows).flatten(1) >= 0].tolist()
        == reference.predict(column, lengths).tolist()
    )


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("holes", [False, True])
def test_em_never_loses_likelihood(topology, holes):
    """Also where symbols are hidden, which are none that end a text, and where classes are."""
    model, rows = build(ENDING, 9, classes=2, topology=topology), [[*row, 2] for row in random_texts(60, 2, 8)]
    x, labels = texts(*rows), torch.arange(60) % 3 - 1
    if holes:
        hidden = torch.rand(x.shape, generator=generator(3)) < 0.3
        x = torch.where(hidden, -1, x)
    history = em(model, x, labels, 15)
    for before, after in itertools.pairwise(history):
        assert after >= before - 1e-9 * abs(before)
    assert history[-1] > history[0] + 1


def test_smoothing_counts_imagined_symbols():
    model = build(PLAIN, 4, num_states=1, smoothing=2.0)
    model.maximize(model.statistics(texts([0, 0, 1], [0, 2, 0, 0]), torch.zeros(2).long()))
    expected = torch.tensor([5.0, 1.0, 1.0]).double() + 2
    torch.testing.assert_close(model.state_means()[0, 0].detach(), expected / expected.sum())


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_a_random_start_is_climbed_from(topology):
    """Texts that repeat one of two patterns: the states find where in it they are; the same seed starts alike."""
    g = generator(4)
    rows = [([0, 1, 2] * 6)[start : start + 12] for start in torch.randint(3, (40,), generator=g).tolist()]
    x, labels = texts(*rows), torch.zeros(40).long()
    first, second = (build(PLAIN, 12, topology=topology, num_states=4, smoothing=1e-3) for _ in range(2))
    for model in (first, second):
        model.initialize([(x[:20], labels[:20]), (x[20:], labels[20:])], generator(1))
        assert model.initialized
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    history = em(first, x, labels, 60)
    assert history[-1] > history[0]
    if topology == "ergodic":  # only where it starts is left to be told
        assert history[-1] / 40 == pytest.approx(-math.log(3), abs=0.1)


@torch.no_grad()
def test_chunks_change_nothing(monkeypatch):
    x, labels, answers = texts(*random_texts()), torch.arange(40) % 2, []
    for size in (2**24, 50):
        monkeypatch.setattr("zoo.models.hmm.CHUNK", size)
        monkeypatch.setattr("zoo.models.hmm.LARGEST_CHUNK", size)
        model = build(PLAIN, 9, classes=2)
        asked = [model.log_prob(x, labels), model.filter(x), model.encode(x), model.viterbi(x).double()]
        answers.append([*asked, *model.statistics(x, labels).values()])
    assert build(PLAIN, 9).at_once == 1
    for first, second in zip(*answers, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-10)


# --- what is hidden --------------------------------------------------------------------------------------------------


def completions(row, length):
    """All texts that show what ``row`` does where it is not -1."""
    for text in every_text(length):
        shown = [*text, *[-1] * (length - len(text))]
        if all(mine in (-1, other) for mine, other in zip(row, shown, strict=True)):
            yield shown


HIDDEN = [[0, -1, 1, 2], [-1, 1, -1, -1], [-1, -1, -1, 0], [1, -1, 2, -1], [-1, -1, -1, -1], [0, 1, 1, 0]]


@pytest.mark.parametrize("classes", [1, 2])
@torch.no_grad()
def test_hidden_symbols_are_summed_over_and_drawn(classes):
    """The marginal of what is seen, and draws of the rest, by enumeration of the texts that show it."""
    model, x = build(classes=classes), texts(*HIDDEN)
    drawn = zoo.impute(model, x, n=3000, generator=generator())
    for place, row in enumerate(HIDDEN):
        able = [*completions(row, 4)]
        log_each = zoo.log_prob(model, texts(*able))
        assert float(zoo.log_prob(model, x[place : place + 1])) == pytest.approx(
            float(log_each.logsumexp(0)), abs=1e-10
        )
        p = log_each.softmax(0)
        found = torch.stack([(drawn[:, place, 0, 0] == text).all(1).sum() for text in torch.tensor(able)])
        assert int(found.sum()) == 3000  # each is one that can be
        deviation = (3000 * p * (1 - p)).sqrt()
        assert ((found - 3000 * p).abs() < 4.5 * deviation + 1e-6).all()
    observed = x >= 0
    again = zoo.log_prob(model, torch.where(observed, x, 1), observed=observed)
    torch.testing.assert_close(again, zoo.log_prob(model, x))
    if classes == 2:
        torch.testing.assert_close(zoo.classify(model, x)[4], model.log_prior)


@torch.no_grad()
def test_the_filter_knows_the_past_alone():
    model, row = build(PLAIN, 5, classes=2), [0, 2, -1, 1, 0]
    found = model.filter(texts(row))
    assert found.shape == (1, 5, 2, 3)
    for step in range(5):
        expected = torch.zeros(2, 3).double()
        for group in range(2):
            for path, total in paths(model, row[: step + 1], group):
                expected[group, path[-1]] += math.exp(total + model.log_prior[group])
        torch.testing.assert_close(found[0, step], expected / expected.sum())
    torch.testing.assert_close(found[0, -1], model.state_posteriors(texts(row))[0, -1])
    other = model.filter(texts([0, 2, -1, 2, 2]))
    assert torch.equal(found[:, :3], other[:, :3])
    ending = build(ENDING, 5)  # whether a hidden symbol ends the text is not to be known by what follows
    assert torch.equal(ending.filter(texts([0, -1, 1]))[:, :2], ending.filter(texts([0, -1, -1]))[:, :2])


# --- what comes next -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [1, 2])
@torch.no_grad()
def test_a_forecast_is_enumeration(classes):
    """Frequencies of three more symbols, behind beginnings of several lengths and the empty one."""
    model = build(length=4, classes=classes)
    beginnings = [[0, 1], [1], [], [0, 1, 2]]
    x = texts(*beginnings).repeat_interleave(4000, 0)
    drawn = zoo.forecast(model, x, 3, generator())
    assert drawn.shape == (16000, 1, 1, 6)
    for place, row in enumerate(beginnings):
        mine = drawn[4000 * place : 4000 * (place + 1), 0, 0]
        if 2 in row:  # it has ended
            assert mine.unique(dim=0).tolist() == [[*row, -1, -1, -1]]
            continue
        able = [[*row, *more] for more in every_text(3)]
        joint = [
            [
                log_p(model, text, group) + (0 if classes == 1 else float(model.log_prior[group]))
                for group in range(classes)
            ]
            for text in able
        ]
        p = numbers(joint).logsumexp(1).softmax(0)
        found = torch.stack([(mine == texts(text, length=6)[0, 0, 0]).all(1).sum() for text in able])
        assert int(found.sum()) == 4000
        assert ((found - 4000 * p).abs() < 4.5 * (4000 * p * (1 - p)).sqrt() + 1e-6).all()


@torch.no_grad()
def test_a_forecast_goes_on_behind_each_text():
    model = build(("a", "b", "<unknown>"), 6)
    with torch.no_grad():
        model.weight[..., 2] = 20  # all but certain, and no symbol to write
    drawn = zoo.forecast(model, ["ab", "b", ""], 5, generator())
    assert drawn.shape == (3, 1, 1, 7)
    assert drawn[0, 0, 0, :2].tolist() == [0, 1]
    assert drawn[1, 0, 0, 0] == 1
    assert ((drawn >= 0).sum(3).flatten() == torch.tensor([7, 6, 5])).all()
    assert int(drawn.max()) == 1
    assert torch.equal(drawn, zoo.forecast(model, texts([0, 1], [1], []), 5, generator()))
    assert zoo.sample(model, 50, generator=generator()).max() == 1
    assert zoo.forecast(model, "ab", 40).shape == (1, 1, 1, 42)  # longer than an example
    with pytest.raises(zoo.DataError, match="does not know 'x'"):
        zoo.forecast(model, "xa", 1)


@pytest.mark.parametrize("classes", [1, 2])
@torch.no_grad()
def test_samples_have_their_probabilities(classes):
    model, able = build(length=3, classes=classes), every_text(3)
    drawn = zoo.sample(model, 8000, generator=generator())
    x = texts(*able)
    found = torch.stack([(drawn == text).flatten(1).all(1).sum() for text in x])
    assert int(found.sum()) == 8000
    p = zoo.log_prob(model, x).exp()
    assert ((found - 8000 * p).abs() < 4.5 * (8000 * p * (1 - p)).sqrt()).all()


def test_samples_of_running_text_have_no_context():
    x = zoo.sample(build(PLAIN, 6, context=2), 5, generator=generator())
    assert x.shape == (5, 1, 1, 6)
    assert (x[..., :2] == -1).all()
    assert (x[..., 2:] >= 0).all()


# --- on disk, refused ------------------------------------------------------------------------------------------------


def test_saved_and_loaded_is_the_same(tmp_path):
    model, x = build(classes=2).float(), texts(*every_text(4))
    again = zoo.load(zoo.save(model, tmp_path / "released"))
    assert torch.equal(zoo.log_prob(again, x), zoo.log_prob(model, x))


def test_what_makes_no_sense_is_not_there():
    model = build(classes=2)
    assert not hasattr(model, "reconstruct")
    assert not hasattr(model, "conditional_mean")
    assert not hasattr(build(), "classify")  # of one class
    with pytest.raises(zoo.ZooError, match="no conditional mean"):
        zoo.impute(model, texts([0, -1]), mean=True)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"reads": "rows"}, "symbol by symbol"),
        ({"emission": "gaussian"}, "gaussian is not of tokens"),
        ({"emission": "bernoulli"}, "bernoulli is not of tokens"),
        ({"lags": 1}, "lags must be 0"),
        ({"context": 2, "classes": 2}, "per_class=false"),
    ],
)
def test_refused_options(options, match):
    with pytest.raises(zoo.ZooError, match=match):
        build(**options)


def test_pictures_have_no_symbols():
    with pytest.raises(zoo.ZooError, match="categorical is not of grey"):
        zoo.create("hmm", emission="categorical")


@torch.no_grad()
def test_nothing_stands_before_the_first_symbol_of_running_text():
    """What is said of a text is the same with places of a context before it, and without."""
    model, rows = build(PLAIN, 6, context=3), [[0, 1, 2], [2, 0, 0]]
    plain, placed = texts(*rows, length=6), texts(*[[-1, -1, -1, *row] for row in rows])
    for ask in (zoo.encode, lambda model, x: model.filter(x), lambda model, x: model.viterbi(x)):
        assert torch.equal(ask(model, plain), ask(model, placed))
    observed = torch.ones_like(placed, dtype=torch.bool)
    observed[:, 0, 0, 4] = False
    drawn = zoo.impute(model, placed, observed, n=200, generator=generator())
    assert (drawn[..., :3] == -1).all()
    assert (drawn[..., 3] == placed[..., 3]).all()
    assert (drawn[..., 5] == placed[..., 5]).all()
    able = [[row[0], token, row[2]] for row in rows[:1] for token in range(3)]
    p = numbers([log_p(model, row) for row in able]).softmax(0)
    share = torch.stack([(drawn[:, 0, 0, 0, 4] == token).double().mean() for token in range(3)])
    torch.testing.assert_close(share, p, atol=4 * 0.5 / 200**0.5, rtol=0)
    observed[:, 0, 0, 3] = False
    with pytest.raises(zoo.ZooError, match="from what stands before it"):
        zoo.log_prob(model, placed, observed=observed)
