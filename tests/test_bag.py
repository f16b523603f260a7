"""Texts as bags of terms, and the classifiers of them, beside scikit-learn and counts that are laid out."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.svm import LinearSVC

import zoo
from zoo.base.bag import Bag, terms_of
from zoo.data import kinds
from zoo.models.svm import LARGEST_DRAWN, multiclass_hinge

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = 12  # terms
NOT_AUTO = ("count", "presence", "tfidf")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def made(n=40, size=SIZE, seed=0):
    """Texts ``(n, 1, 1, 15)`` of up to fifteen terms, some of them unknown, holes among them; one has no term, and one
    unknown ones alone. And their classes: the second one prefers the second half of the terms."""
    labels = torch.arange(n) % 2
    x = torch.randint(size + 1, (n, 15), generator=generator(seed))
    preferred = x % (size // 2) + labels[:, None] * (size // 2)
    x = torch.where(torch.rand(x.shape, generator=generator(seed + 1)) < 0.3, preferred, x)
    x = torch.where(torch.rand(x.shape, generator=generator(seed + 2)) < 0.3, -1, x)
    x[0], x[1] = -1, torch.where(torch.arange(15) < 4, size, -1)
    return x[:, None, None], labels


def counts_of(x, size=SIZE):
    """Counts ``(B, V)``, one by one."""
    counts = np.zeros((len(x), size))
    for row, text in enumerate(x.flatten(1).tolist()):
        for term in text:
            if 0 <= term < size:
                counts[row, term] += 1
    return counts


def weighted(x, weighting, size=SIZE):
    counts = counts_of(x, size)
    if weighting == "tfidf":
        return TfidfTransformer(smooth_idf=False).fit(counts).transform(counts).toarray()
    return counts if weighting == "count" else (counts > 0).astype(float)


def spec_of(x, weighting="auto", size=SIZE, classes=2, **settings):
    share = (counts_of(x, size) > 0).mean(0)
    return zoo.DataSpec(
        (1, 1, size), classes, mean=tuple(share), std=(1.0,) * size, kind="tokens", values="counts",
        vocabulary=[f"t{term}" for term in range(size)], settings={"weighting": weighting, **settings},
    )  # fmt: skip


def random(model, seed=0):
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return model


# Terms


def test_terms_are_counted_by_text():
    x = torch.tensor([[2, 0, 2, 5, -1], [-1, -1, -1, -1, -1], [1, 1, 0, 1, 5]])[:, None, None]
    terms = terms_of(x, 5)
    assert terms.rows.tolist() == [0, 0, 2, 2]
    assert terms.ids.tolist() == [0, 2, 0, 1]
    assert terms.counts.tolist() == [1, 2, 1, 3]
    assert terms_of(x, 6).ids.tolist() == [0, 2, 5, 0, 1, 5]
    spread = terms.spread(torch.tensor([1.0, 4, 1, 3]))
    assert spread.tolist() == [[2, 1, 2, 0, 0], [0] * 5, [1, 1, 1, 1, 0]]


def test_sums_and_totals_are_products_of_matrices():
    x, _ = made()
    counts = torch.from_numpy(counts_of(x))
    terms = terms_of(x, SIZE)
    weight = torch.randn(150, SIZE, generator=generator(), dtype=torch.float64)  # more than are worked on at a time
    shares = torch.rand(len(x), 4, generator=generator(), dtype=torch.float64)
    torch.testing.assert_close(terms.sums(weight, terms.counts), counts @ weight.T, rtol=0, atol=1e-12)
    torch.testing.assert_close(terms.totals(shares, terms.counts, SIZE), shares.T @ counts, rtol=0, atol=1e-12)


def test_texts_without_any_term():
    x = torch.full((3, 1, 1, 4), -1)
    for empty in (x, x[:0], x[..., :0]):
        terms = terms_of(empty, SIZE)
        assert terms.sums(torch.ones(2, SIZE), terms.counts).tolist() == [[0, 0]] * len(empty)
        assert terms.totals(torch.ones(len(empty), 2), terms.counts, SIZE).tolist() == [[0] * SIZE] * 2


# Weighted counts


@pytest.mark.parametrize("weighting", NOT_AUTO)
def test_weighted_counts_are_scikit_learns(weighting):
    x, _ = made()
    bag = Bag(spec_of(x, weighting), "count")
    expected = torch.from_numpy(weighted(x, weighting)).float()
    torch.testing.assert_close(bag(x).flatten(1), expected, rtol=1e-5, atol=1e-6)
    if weighting == "tfidf":
        norms = bag(x).flatten(1).norm(dim=1)
        assert norms[:2].tolist() == [0, 0]  # no term, and unknown ones alone: nothing is divided by nothing
        torch.testing.assert_close(norms[2:], torch.ones(len(x) - 2))


@pytest.mark.parametrize("weighting", NOT_AUTO)
@pytest.mark.parametrize("bias", [True, False])
def test_affine_map_is_that_of_counts_laid_out(weighting, bias):
    x, _ = made()
    bag, layer = Bag(spec_of(x, weighting), "count").double(), torch.nn.Linear(SIZE, 3, bias=bias).double()
    found, expected = bag.affine(layer, x), layer(bag(x).flatten(1))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    gradients = [torch.autograd.grad(of.square().sum(), layer.weight)[0] for of in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)


def test_order_unknown_terms_and_padding_say_nothing_to_a_classifier():
    x, _ = made()
    model = random(zoo.create("logistic_regression", spec_of(x)))
    other = x[..., torch.randperm(15, generator=generator(4))]
    other = F.pad(torch.where(other == SIZE, -1, other), (2, 3), value=-1)
    torch.testing.assert_close(model(other), model(x))


def test_sixteen_bits_sum_in_thirty_two():
    """A thousand terms of 0.01 and a bias: bfloat16 would have stopped at 4."""
    spec = zoo.DataSpec((1, 1, 1000), 1, kind="tokens", values="counts", settings={"weighting": "count"})
    bag, weight = Bag(spec, "count"), torch.full((1, 1000), 0.01, dtype=torch.bfloat16)
    found = bag.mapped(weight, torch.arange(1000)[None, None, None])
    assert found.dtype == torch.bfloat16
    assert float(found) == pytest.approx(1000 * float(weight[0, 0]), rel=0.005)


def test_what_suits_the_model_is_its_weighting():
    x, _ = made()
    for name, expected in (("logistic_regression", "tfidf"), ("svm", "tfidf"), ("mlp", "tfidf"), ("nbsvm", "presence")):
        assert zoo.create(name, spec_of(x)).normalize.weighting == expected
    assert zoo.create("nbsvm", spec_of(x, "count")).normalize.weighting == "count"


def test_impossible_weightings():
    with pytest.raises(ValueError, match="weighting is auto, count, presence or tfidf"):
        Bag(zoo.DataSpec((1, 1, 3), 2, values="counts", settings={"weighting": "idf"}), "count")
    with pytest.raises(ValueError, match="the share of texts that have each term"):
        Bag(zoo.DataSpec((1, 1, 3), 2, values="counts"), "tfidf")


# Classifiers


@pytest.mark.parametrize("weighting", NOT_AUTO)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("logistic_regression", {}),
        ("svm", {"kernel": "linear"}),
        ("svm", {"num_features": 64}),
        ("mlp", {"hidden_sizes": [7, 5]}),
        ("mlp", {"hidden_sizes": []}),
    ],
    ids=str,
)
def test_a_classifier_of_counts_is_one_of_the_numbers_that_they_count_for(name, options, weighting):
    """The same weights on weighted counts as rows of a table: the same logits."""
    x, _ = made()
    model = random(zoo.create(name, spec_of(x, weighting), **options)).eval()
    table = zoo.create(name, zoo.DataSpec((1, 1, SIZE), 2, kind="table", values="real"), **options).eval()
    state = model.state_dict()
    table.load_state_dict({**table.state_dict(), **state})
    if options.get("num_features"):
        table.frequencies.copy_(model.frequencies)  # whose scale is that of tables
    rows = torch.from_numpy(weighted(x, weighting)).float()[:, None, None]
    torch.testing.assert_close(model(x), table(rows), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.head(model.features(x)), model(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("weighting", NOT_AUTO)
@pytest.mark.parametrize(
    ("name", "options"), [("logistic_regression", {}), ("svm", {"kernel": "linear"}), ("nbsvm", {})], ids=str
)
def test_contributions_and_offsets_are_the_logits(name, options, weighting):
    x, labels = made()
    model = random(zoo.create(name, spec_of(x, weighting), **options)).double().eval()
    if hasattr(model, "initialize"):
        model.initialize([(x, labels)], generator())
    if hasattr(model, "temperature"):
        model.temperature.fill_(1.7)
    contributions = model.contributions(x)
    assert contributions.shape == (len(x), 2, 15)
    told = contributions.sum(2) + model.offsets()
    torch.testing.assert_close(told.log_softmax(1), model.classify(x), rtol=0, atol=1e-10)
    nothing = ((x < 0) | (x == SIZE)).flatten(1)[:, None].expand_as(contributions)
    assert (contributions[nothing] == 0).all()
    values = model.normalize(x).flatten(1)[:, None] * model.coefficients()
    first = contributions[:, :, None] * F.one_hot(x.flatten(1).clamp(0, SIZE - 1), SIZE).mT[:, None]
    torch.testing.assert_close(first.sum(-1), values, rtol=0, atol=1e-10)  # each term adds what it counts for


def test_random_features_are_of_small_vocabularies():
    def spec(size):
        return zoo.DataSpec((1, 1, size), 2, mean=(0.5,) * size, values="counts", kind="tokens")

    assert zoo.create("svm", spec(LARGEST_DRAWN), num_features=8).sigma == pytest.approx(0.3 * math.sqrt(2))
    message = "kernel=rbf .* 4,097 terms .* 4,096 at most: model.kernel=linear, or data.vocabulary=4096"
    with pytest.raises(zoo.ZooError, match=message):
        zoo.create("svm", spec(LARGEST_DRAWN + 1))
    zoo.create("svm", spec(LARGEST_DRAWN + 1), kernel="linear")


def test_random_features_approximate_the_kernel_of_texts():
    """Their inner products are exp(−‖f − f'‖² / 2σ²) for tf-idf, about which texts are far apart and others are not."""
    x, _ = made()
    model = zoo.create("svm", spec_of(x), num_features=2**15)
    features, values = model.features(x), model.normalize(x).flatten(1)
    expected = (-torch.cdist(values, values).square() / (2 * model.sigma**2)).exp()
    torch.testing.assert_close(features @ features.T / 2**15, expected, atol=0.03, rtol=0)
    assert expected.min() < 0.1 < 0.5 < expected.fill_diagonal_(0).max()


@pytest.mark.parametrize("name", ["cnn", "dcgan", "gmm", "hmm", "lenet", "m2", "probe", "rnn", "vae"])
def test_who_takes_counts_is_named(name):
    able = "logistic_regression, mlp, naive_bayes, nbsvm, svm"
    with pytest.raises(zoo.ZooError, match=f"model '{name}' is for .*; models for those: {able}$"):
        zoo.create(name, kinds.find("tokens").trial(8)[1])


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge"])
def test_of_two_classes_it_is_liblinears(loss):
    """The least of mean hinge + decay / 2 ‖W‖² is that of LIBLINEAR's with C = 2 / (N decay), to a thousandth."""
    x, labels = made(60)
    decay, C = 0.05, 2 / (60 * 0.05)
    model = zoo.create("svm", spec_of(x, "tfidf"), kernel="linear", loss=loss).double()
    features = model.normalize(x).flatten(1)
    reference = LinearSVC(C=C, loss=loss, dual=True, fit_intercept=False, tol=1e-8, max_iter=1_000_000)
    reference.fit(features.numpy(), labels.numpy())

    def objective(weight):
        return model.loss(F.linear(features, weight), labels) + decay / 2 * weight.square().sum()

    w = torch.from_numpy(reference.coef_)
    best = float(objective(torch.cat([-w, w]) / 2))
    margins = (2 * labels - 1) * (features @ w[0])
    power = {"hinge": 1, "squared_hinge": 2}[loss]
    theirs = 0.5 * w.square().sum() + C * (1 - margins).clamp_min(0).pow(power).sum()
    assert best == pytest.approx(float(theirs) * decay / 2, rel=1e-9)  # the two objectives are one
    optimizer = torch.optim.Adam([model.head.weight], 0.05)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, 1500)
    for _ in range(1500):
        optimizer.zero_grad()
        (model.loss(model(x) - model.head.bias, labels) + decay / 2 * model.head.weight.square().sum()).backward()
        optimizer.step()
        schedule.step()
    assert best * (1 - 1e-6) <= float(objective(model.head.weight.detach())) <= best * (1 + 1e-3)


def test_squared_hinge_is_the_square_example_by_example():
    logits = torch.tensor([[3.0, 1, 0], [0.0, 0.5, 0], [2, -1, 0]])
    labels = torch.tensor([0, 1, 1])
    assert float(multiclass_hinge(logits, labels)) == pytest.approx((0 + 0.5 + 4) / 3)
    assert float(multiclass_hinge(logits, labels, 2)) == pytest.approx((0 + 0.25 + 16) / 3)
    with pytest.raises(zoo.ZooError, match="loss must be hinge or squared_hinge, not 'squared'"):
        zoo.create("svm", loss="squared")
