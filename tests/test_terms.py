"""Naive Bayes of texts, beside scikit-learn's and by enumeration."""

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.naive_bayes import BernoulliNB, MultinomialNB
from test_bag import SIZE, counts_of, generator, made, spec_of
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

import zoo

pytestmark = pytest.mark.usefixtures("one_thread")


def trained(x, labels, spec=None, passes=1, **options):
    """Naive Bayes by so many passes of EM, in two batches, in float64."""
    model = zoo.create("naive_bayes", spec or spec_of(x), **options).double()
    half = len(x) // 2
    batches = [(x[:half], labels[:half]), (x[half:], labels[half:])]
    model.initialize(batches, generator())
    for _ in range(passes):
        parts = [model.statistics(*batch) for batch in batches]
        model.maximize({key: parts[0][key] + parts[1][key] for key in parts[0]})
    return model.eval()


REFERENCES = {
    "multinomial": ("count", MultinomialNB),
    "multinomial-presence": ("presence", MultinomialNB),
    "bernoulli": ("auto", BernoulliNB),
}


@pytest.mark.parametrize("alpha", [1.0, 0.01])
@pytest.mark.parametrize("case", REFERENCES)
def test_it_is_scikit_learns(case, alpha):
    """Probabilities of terms and of classes, of unequally many, also of texts that training has not seen."""
    weighting, cls = REFERENCES[case]
    (x, labels), (other, _) = made(41), made(30, seed=9)
    labels[::5] = 0
    emission = case.partition("-")[0]
    model = trained(x, labels, spec_of(x, weighting), emission=emission, alpha=alpha)

    def values(x):
        return counts_of(x) if weighting == "count" else counts_of(x) > 0

    reference = cls(alpha=alpha).fit(values(x), labels.numpy())
    log_p = torch.from_numpy(reference.feature_log_prob_)
    own = model.coefficients() if emission == "multinomial" else torch.nn.functional.logsigmoid(model.coefficients())
    torch.testing.assert_close(own, log_p, rtol=0, atol=1e-10)
    for texts in (x, other):
        expected = torch.from_numpy(reference.predict_log_proba(values(texts)))
        torch.testing.assert_close(zoo.classify(model, texts), expected, rtol=0, atol=1e-10)


def test_auto_is_multinomial_of_counts():
    x, labels = made()
    model = trained(x, labels)
    assert model.density.of == "tokens"
    assert torch.equal(zoo.log_prob(model, x), zoo.log_prob(trained(x, labels, emission="multinomial"), x))
    assert trained(x, labels, emission="bernoulli").density.of == "binary"


@pytest.mark.parametrize("labels", [None, 0, 1])
@pytest.mark.parametrize("length", [1, 2, 3])
def test_probabilities_of_all_texts_of_a_length_sum_to_one(length, labels):
    """All sequences of terms, those of each unknown one among them."""
    size = 4
    x, classes = made(40, size)
    model = trained(x, classes, spec_of(x, size=size))
    texts = torch.tensor([*itertools.product(range(size + 1), repeat=length)])
    assert len(texts) == (size + 1) ** length
    assert model.terms.unseen > 1
    as_many = (texts == size).sum(1) * model.terms.unseen.log()
    total = (zoo.log_prob(model, texts, labels) + as_many).logsumexp(0)
    assert float(total) == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("labels", [None, 0, 1])
def test_probabilities_of_all_sets_of_terms_sum_to_one(labels):
    size = 4
    x, classes = made(40, size)
    model = trained(x, classes, spec_of(x, size=size), emission="bernoulli")
    texts = torch.tensor([[term if chosen else -1 for term, chosen in enumerate(some)]
                          for some in itertools.product((0, 1), repeat=size)])  # fmt: skip
    assert float(zoo.log_prob(model, texts, labels).logsumexp(0)) == pytest.approx(0, abs=1e-10)


def test_log_prob_by_hand():
    """Terms 0, 0, 1 and an unknown one in a class, 1, 2, 2 in the other: two of seven are unknown or alone."""
    x = torch.tensor([[0, 0, 1, 3], [1, 2, 2, -1]])[:, None, None]
    spec = zoo.DataSpec((1, 1, 3), 2, kind="tokens", values="counts")
    model = trained(x, torch.tensor([0, 1]), spec, alpha=1.0)
    u = 1 / 7  # no known term occurs but once
    assert float(model.terms.unknown) == pytest.approx(u, rel=1e-6)
    theta = (3 / 6, 2 / 6, 1 / 6), (1 / 6, 2 / 6, 3 / 6)
    for label in (0, 1):
        terms = [math.log(1 - u) + math.log(theta[label][term]) for term in (0, 0, 2)]
        asked = zoo.log_prob(model, torch.tensor([[0, 3, 0, -1, 2]]), label)
        assert float(asked) == pytest.approx(sum(terms) + math.log(u), rel=1e-6)


def test_unknown_terms_are_as_frequent_as_rare_ones():
    """A term that training has once, and one that it does not know; without either, one in two more than there are."""
    spec = zoo.DataSpec((1, 1, 3), 2, kind="tokens", values="counts")
    labels = torch.tensor([0, 1])
    for texts, expected in (
        ([[0, 0, 1, 3], [0, 2, 2, 3]], 3 / 8),
        ([[0, 0, 1, 1], [0, 0, 2, 2]], 1 / 10),
        ([[3, 3, 3, 3], [3, 3, 3, 3]], 9 / 10),
        ([[-1, -1], [-1, -1]], 1 / 2),
    ):
        model = trained(torch.tensor(texts)[:, None, None], labels, spec)
        assert float(model.terms.unknown) == pytest.approx(expected, rel=1e-6)


def test_unknown_terms_make_a_text_strange_and_leave_its_class():
    x, labels = made()
    model = trained(x, labels)
    stranger = torch.cat([x, torch.full_like(x[..., :2], SIZE)], 3)
    torch.testing.assert_close(zoo.classify(model, stranger), zoo.classify(model, x), rtol=0, atol=1e-10)
    lost = zoo.log_prob(model, x) - zoo.log_prob(model, stranger)
    each = float((model.terms.unknown / model.terms.unseen).log())
    torch.testing.assert_close(lost, torch.full_like(lost, -2 * each), rtol=0, atol=1e-9)


def test_an_unknown_term_is_as_probable_as_one_that_was_met_once():
    """And so no likelier than any known one, up to what is imagined of these."""
    x = torch.tensor([[0, 0, 1, 2], [3, 4, 4, 0], [5, 6, 5, 7]])[:, None, None]
    labels, spec = torch.zeros(3).long(), zoo.DataSpec((1, 1, 7), 2, kind="tokens", values="counts")
    model = trained(x, labels, spec)
    assert float(model.terms.unseen) == 5  # the terms 1, 2, 3 and 6, and an unknown one
    assert float(zoo.log_prob(model, torch.tensor([[7]]), 0)) == pytest.approx(-math.log(12), rel=1e-6)


def test_hidden_tokens_are_not_there():
    x, labels = made()
    model = trained(x, labels)
    observed = torch.rand(x.shape, generator=generator(5)) < 0.5
    without = torch.where(observed, x, -1)
    assert torch.equal(zoo.log_prob(model, x, observed=observed), zoo.log_prob(model, without))


@pytest.mark.parametrize("emission", ["multinomial", "bernoulli"])
def test_contributions_and_offsets_are_the_posterior(emission):
    x, labels = made()
    model = trained(x, labels, emission=emission)
    contributions = model.contributions(x)
    assert contributions.shape == (len(x), 2, 15)
    told = contributions.sum(2) + model.offsets()
    torch.testing.assert_close(told.log_softmax(1), zoo.classify(model, x), rtol=0, atol=1e-10)
    nothing = ((x < 0) | (x == SIZE)).flatten(1)[:, None].expand_as(contributions)
    assert (contributions[nothing] == 0).all()
    if emission == "multinomial":
        places = [(row, place) for row, place in (x[:, 0, 0] >= 0).nonzero().tolist() if x[row, 0, 0, place] < SIZE]
        for row, place in places[:20]:
            assert torch.equal(contributions[row, :, place], model.coefficients()[:, x[row, 0, 0, place]])


# Training


@pytest.mark.parametrize("emission", ["multinomial", "bernoulli"])
def test_em_with_hidden_classes_is_that_of_counts_laid_out(emission):
    """One step from the labelled texts, written out (Nigam et al. 2000); the likelihood never falls after it."""
    x, labels = made(60)
    partly = torch.where(torch.arange(60) < 20, labels, -1)
    model = zoo.create("naive_bayes", spec_of(x), emission=emission).double()
    model.initialize([(x[:30], partly[:30]), (x[30:], partly[30:])], generator())
    first = zoo.classify(model, x).exp()
    counts = torch.from_numpy(counts_of(x))
    counts = counts if emission == "multinomial" else (counts > 0).double()
    shares = torch.where(partly[:, None] < 0, first, torch.nn.functional.one_hot(labels, 2).double())
    model.maximize(model.statistics(x, partly))
    of_class = shares.T @ counts + 1
    if emission == "multinomial":
        expected = (of_class / of_class.sum(1, keepdim=True)).log()
    else:
        expected = (of_class / (shares.sum(0)[:, None] + 1 - (of_class - 1))).log()
    torch.testing.assert_close(model.coefficients(), expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(model.log_prior, (shares.sum(0) / 60).log(), rtol=0, atol=1e-10)
    values = []
    for _ in range(6):
        statistics = model.statistics(x, partly)
        weights = model.coefficients().detach()
        prior = weights.sum() if emission == "multinomial" else _beta(weights)
        values.append(float(statistics["log_likelihood"] + prior))  # of the parameters, with α = 1
        model.maximize(statistics)
    assert all(after >= before - 1e-9 for before, after in itertools.pairwise(values))
    assert values[-1] > values[0]


def _beta(logits):
    return (torch.nn.functional.logsigmoid(logits) + torch.nn.functional.logsigmoid(-logits)).sum()


class _Largest(TorchDispatchMode):
    """Remembers how many values the largest tensor has that is made."""

    values = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        self.values = max(self.values, *(part.numel() for part in tree_iter(made) if isinstance(part, torch.Tensor)), 0)
        return made


def test_statistics_of_hundreds_of_thousands_of_terms_are_sums_of_few():
    """No matrix of texts and terms is ever made: 300 texts × 300,000 terms would be 720 MB."""
    size = 300_000
    x = torch.randint(size, (300, 1, 1, 20), generator=generator())
    model = zoo.create("naive_bayes", zoo.DataSpec((1, 1, size), 2, kind="tokens", values="counts"))
    with _Largest() as largest:
        statistics = model.statistics(x, torch.arange(300) % 2)
        model.log_joint(x)
    assert statistics["terms"].shape == (2, size + 1)
    assert statistics["terms"].sum() == 300 * 20
    assert size < largest.values <= 2 * (size + 1)


def test_a_class_without_texts_gets_no_nan():
    x, labels = made()
    model = trained(x, labels.clamp(0, 0))
    assert zoo.classify(model, x).exp().isfinite().all()
    assert model.terms.length.isfinite().all()


# Samples


def test_samples_are_texts_of_that_length_and_those_terms():
    x, labels = made(400)
    model = trained(x, labels).float()
    drawn = zoo.sample(model, 20_000, torch.arange(20_000) % 2, generator())
    assert drawn.dtype == torch.int64
    assert drawn.shape[:3] == (20_000, 1, 1)
    lengths = (drawn >= 0).flatten(1).sum(1)
    assert int(lengths.min()) >= 1
    assert ((drawn >= 0).flatten(1).long().diff(dim=1) <= 0).all()  # nothing is behind the text alone
    for label in (0, 1):
        mine = drawn[label::2]
        rate = float((x[labels == label] >= 0).sum() / (labels == label).sum())
        assert float(model.terms.length[label]) == pytest.approx(rate, rel=1e-5)
        assert float(lengths[label::2].double().mean()) == pytest.approx(rate, abs=4 * math.sqrt(rate / 10_000))
        found = torch.bincount(mine[mine >= 0], minlength=SIZE)
        assert len(found) == SIZE  # known terms alone
        expected = model.coefficients()[label].exp()
        error = (expected * (1 - expected) / found.sum()).sqrt()
        assert ((found / found.sum() - expected).abs() < 4 * error).all()
    again = zoo.sample(model, 20_000, torch.arange(20_000) % 2, generator())
    assert torch.equal(again, drawn)
    assert zoo.sample(model, 0).shape == (0, 1, 1, 1)


def test_what_makes_no_text_is_not_drawn_and_a_bag_has_no_places():
    x, labels = made()
    for spec, options, can in (
        (spec_of(x), {}, True),
        (spec_of(x, ngrams="1"), {}, True),
        (spec_of(x, ngrams="2"), {}, False),
        (spec_of(x, "presence"), {}, False),
        (spec_of(x), {"emission": "bernoulli"}, False),
    ):
        model = trained(x, labels, spec, **options)
        assert hasattr(model, "sample") == can
        for method in ("impute", "conditional_mean", "components"):
            assert not hasattr(model, method)
    pictures = zoo.create("naive_bayes")
    assert all(hasattr(pictures, method) for method in ("sample", "impute", "conditional_mean", "components"))
    assert not hasattr(pictures, "coefficients")


# Refusals


@pytest.mark.parametrize(
    ("weighting", "options", "message"),
    [
        ("tfidf", {}, "data.weighting=tfidf gives no counts of terms, .*: data.weighting=auto, count or presence"),
        ("auto", {"emission": "gaussian"}, "counts of terms need emission=auto or bernoulli"),
        ("auto", {"emission": "mixed"}, "emission=mixed is of a table's numbers and categories"),
        ("auto", {"emission": "poisson"}, "emission is auto, bernoulli, gaussian, mixed or multinomial, not 'poisson'"),
    ],
)
def test_what_cannot_be_is_refused(weighting, options, message):
    x, _ = made()
    with pytest.raises(zoo.ZooError, match=message):
        zoo.create("naive_bayes", spec_of(x, weighting), **options)


def test_pictures_are_no_counts():
    with pytest.raises(zoo.ZooError, match="emission=multinomial is of counts of terms: others need emission=auto"):
        zoo.create("naive_bayes", emission="multinomial")


def test_arrays_of_numbers_are_taken():
    x, labels = made()
    model = trained(x, labels)
    assert torch.equal(zoo.classify(model, x[:, 0, 0].numpy().astype(np.int32)), zoo.classify(model, x))
