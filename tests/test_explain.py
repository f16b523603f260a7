"""What each column adds to the logits: sums that are the model's own answers, and what cannot be asked for them."""

import numpy as np
import pytest
import torch
from sklearn import linear_model
from tables import SPEC, rows

import zoo
from zoo.data.kinds import table
from zoo.models.logistic_regression import LogisticRegression
from zoo.models.naive_bayes import NaiveBayes
from zoo.models.svm import SVM

pytestmark = pytest.mark.usefixtures("one_thread")


def drawn(model: torch.nn.Module) -> torch.nn.Module:
    """With coefficients, and a temperature where there is one, that are not the first ones."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data.normal_(generator=generator)
    if isinstance(model, SVM):
        model.temperature.fill_(0.3)
    return model


MODELS = {"logistic_regression": LogisticRegression, "svm": lambda spec: SVM(spec, kernel="linear")}
PICTURES = zoo.DataSpec((3, 4, 5), 4, mean=(0.3, 0.4, 0.5), std=(0.2, 0.3, 0.4))


@pytest.mark.parametrize("name", MODELS)
def test_contributions_and_offsets_add_up_to_the_probabilities(name):
    """Of rows with gaps, of rows whose cells are hidden, and of pictures, in the columns of their pixels."""
    pictures = torch.rand(6, 3, 4, 5, generator=torch.Generator().manual_seed(2))
    hidden = torch.rand(12, 1, 1, 5, generator=torch.Generator().manual_seed(3)) < 0.6
    for spec, x, observed in (
        (SPEC, rows(), None),
        (SPEC, rows(), hidden),
        (PICTURES, pictures, None),
        (PICTURES, pictures, pictures > 0.2),
    ):
        model = drawn(MODELS[name](spec))
        contributions, offsets = zoo.explain(model, x, observed)
        assert contributions.shape == (len(x), spec.num_classes, len(spec.blocks))
        told = (offsets + contributions.sum(2)).log_softmax(1)
        torch.testing.assert_close(told, zoo.classify(model, x, observed), rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(zoo.explain(model, x, observed, batch_size=5).contributions, contributions)


@pytest.mark.parametrize("name", MODELS)
def test_a_column_adds_what_its_own_cell_says(name):
    """The change of one cell changes its column's contribution alone; what is missing adds nothing."""
    model, x = drawn(MODELS[name](SPEC)), rows()
    before = zoo.explain(model, x).contributions
    other = x.clone()
    other[:, ..., 4] += 1
    changed = (zoo.explain(model, other).contributions - before).abs().amax((0, 1))
    assert changed[2] > 0.1
    assert changed[:2].max() == 0
    assert before[0, :, 1].abs().max() == before[1, :, 0].abs().max() == 0
    assert before[2:].abs().amin((0, 1)).min() > 0


def test_contributions_of_naive_bayes_are_log_probabilities():
    """Of each column given the class, by hand; what is missing, or hidden, adds nothing; offsets are log p(y)."""
    model, x = NaiveBayes(SPEC, emission="mixed", alpha=0.5), rows(40)
    labels = torch.arange(40) % 2
    model.initialize([(x, labels)], torch.Generator().manual_seed(0))
    model.maximize(model.statistics(x, labels))
    contributions, offsets = zoo.explain(model, x)
    torch.testing.assert_close((offsets + contributions.sum(2)).log_softmax(1), zoo.classify(model, x))
    flat = x.flatten(1)
    for y in (0, 1):
        ours = flat[labels == y]
        for column, place in ((0, 0), (2, 4)):
            seen = ours[:, place][~ours[:, place].isnan()]
            normal = torch.distributions.Normal(seen.mean(), seen.std(correction=0))
            wanted = normal.log_prob(flat[:, place].nan_to_num(0)).where(~flat[:, place].isnan(), torch.tensor(0.0))
            torch.testing.assert_close(contributions[:, y, column], wanted, atol=1e-4, rtol=1e-4)
        counts = ours[:, 1:4].nansum(0) + 0.5
        wanted = (flat[:, 1:4].nan_to_num(0) * (counts / counts.sum()).log()).sum(1)
        torch.testing.assert_close(contributions[:, y, 1], wanted, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(offsets.exp(), torch.tensor([0.5, 0.5]))
    hidden = torch.rand(40, 1, 1, 5, generator=torch.Generator().manual_seed(3)) < 0.6
    contributions, offsets = zoo.explain(model, x, hidden)
    told = (offsets + contributions.sum(2)).log_softmax(1)
    torch.testing.assert_close(told, zoo.classify(model, x, hidden))


def test_contributions_are_coefficients_times_values():
    """As a user of scikit-learn computes them by hand, with two classes: a difference of logits."""
    x = rows(200).nan_to_num(0.2)
    labels = (x[:, 0, 0, 0] + x[:, 0, 0, 2] > 0).long()
    theirs = linear_model.LogisticRegression(C=1.0).fit(x.flatten(1).numpy(), labels.numpy())
    model = LogisticRegression(SPEC)
    mean = torch.tensor(SPEC.mean)
    model.head.weight.data[1] = torch.tensor(theirs.coef_[0])
    model.head.bias.data[1] = float(theirs.intercept_[0]) + mean @ model.head.weight.data[1]
    contributions, offsets = zoo.explain(model, x)
    points = (contributions[:, 1] - contributions[:, 0]).double().numpy()
    terms = theirs.coef_[0] * (x.flatten(1) - mean).double().numpy()
    by_hand = np.stack([terms[:, 0], terms[:, 1:4].sum(1), terms[:, 4]], 1)
    np.testing.assert_allclose(points, by_hand, atol=1e-5)
    odds = points.sum(1) + float(offsets[1] - offsets[0])
    np.testing.assert_allclose(odds, theirs.decision_function(x.flatten(1).numpy()), atol=1e-5)


@pytest.mark.parametrize("model", [SVM(SPEC, num_features=8), zoo.create("mlp", PICTURES, hidden_sizes=[4])])
def test_what_is_no_sum_over_columns_is_refused(model):
    """A kernel, and layers: the sentence names models whose logits are sums."""
    with pytest.raises(zoo.ZooError, match=r"column, or term, adds.*models that can: logistic_regression"):
        zoo.explain(model, torch.zeros(2, *model.spec.shape))
    assert not hasattr(model, "coefficients")


def test_what_was_asked_about_is_left_as_it_was():
    model, x = drawn(LogisticRegression(SPEC)), rows()
    kept = x.clone()
    contributions, offsets = zoo.explain(model, x)
    contributions += 1
    offsets += 1
    assert torch.equal(x.nan_to_num(9), kept.nan_to_num(9))
    assert not torch.equal(zoo.explain(model, x).offsets, offsets)
    assert model.training


def test_a_data_frame_is_asked_about_in_its_own_units():
    """Columns by their names, in any order, with others among them; cells that are missing, as in a file."""
    x = rows()
    frame = table.cells(x, SPEC)
    frame = frame[["sum", "job", "age"]].assign(other="x")
    for model in (drawn(LogisticRegression(SPEC)), drawn(SVM(SPEC, kernel="linear"))):
        contributions, _ = zoo.explain(model, frame)
        torch.testing.assert_close(contributions, zoo.explain(model, x).contributions, atol=1e-3, rtol=1e-4)
    with pytest.raises(zoo.DataError, match="no column 'job'"):
        zoo.explain(model, frame.drop(columns="job"))
