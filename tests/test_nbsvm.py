"""NB-SVM beside its formula written out for counts that are laid out."""

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC
from test_bag import counts_of, generator, made, random, spec_of, weighted

import zoo
from zoo.data.batches import Batches
from zoo.data.splits import Split
from zoo.learners.classification import ClassificationLearner

pytestmark = pytest.mark.usefixtures("one_thread")

TRAINER = {
    "accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
    "enable_model_summary": False,
}  # fmt: skip


def ratio_of(x, labels, classes, alpha, weighting="presence"):
    """log( (p / ‖p‖₁) / (q / ‖q‖₁) ) of each class, p = α + what texts of the class have, q = α + what others have."""
    f, ratios = weighted(x, weighting), []
    for label in range(classes):
        p, q = (alpha + f[labels.numpy() == label].sum(0), alpha + f[labels.numpy() != label].sum(0))
        ratios.append(np.log((p / np.abs(p).sum()) / (q / np.abs(q).sum())))
    return np.stack(ratios)


def build(x, labels, classes=2, weighting="auto", **options):
    model = zoo.create("nbsvm", spec_of(x, weighting, classes=classes), **options).double()
    half = len(x) // 2
    model.initialize([(x[:half], labels[:half]), (x[half:], labels[half:])], generator())
    return model


@pytest.mark.parametrize("weighting", ["presence", "count"])
@pytest.mark.parametrize("alpha", [1.0, 0.3])
@pytest.mark.parametrize("classes", [2, 3])
def test_logits_are_the_formula(classes, alpha, weighting):
    x, labels = made()
    labels = (labels + torch.arange(len(x)) // 7) % classes
    model = random(build(x, labels, classes, weighting, alpha=alpha, beta=0.4))
    r, f = ratio_of(x, labels, classes, alpha, weighting), weighted(x, weighting)
    w, b = (parameter.detach().numpy() for parameter in (model.head.weight, model.head.bias))
    np.testing.assert_allclose(model.ratio, r, rtol=0, atol=1e-10)
    for training in (True, False):
        model.train(training)
        for label in range(classes):
            mine = w[label] if training else 0.4 * w[label] + 0.6 * np.abs(w[label]).mean()
            expected = (f * r[label]) @ mine + b[label]
            np.testing.assert_allclose(model(x)[:, label].detach(), expected, rtol=0, atol=1e-10)
    model.temperature.fill_(2.0)
    np.testing.assert_allclose(model.coefficients().detach()[0] * 2, r[0] * mine_of(w[0]), rtol=0, atol=1e-10)


def mine_of(w, beta=0.4):
    return beta * w + (1 - beta) * np.abs(w).mean()


def test_of_two_classes_it_is_the_papers():
    """Trained in full, f₁ − f₀ is LIBLINEAR's machine on r ∘ f, of which the weights are interpolated as the paper has
    it, with the mean magnitude of its own."""
    x, labels = made(60)
    labels = torch.where(torch.arange(60) % 11 == 3, 1 - labels, labels)
    decay, beta = 0.02, 0.25
    model = build(x, labels, beta=beta)
    optimizer = torch.optim.Adam([model.head.weight], 0.05)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, 3000)
    for _ in range(3000):
        optimizer.zero_grad()
        (model.loss(model(x), labels) + decay / 2 * model.head.weight.square().sum()).backward()
        optimizer.step()
        schedule.step()
    first, second = model.head.weight.detach()
    torch.testing.assert_close(first, second, rtol=0, atol=1e-10)  # r and −r learn the same
    r = ratio_of(x, labels, 2, 1.0)[1]
    features = (counts_of(x) > 0) * r
    machine = LinearSVC(C=2 / (60 * decay), loss="squared_hinge", fit_intercept=False, tol=1e-9, max_iter=1_000_000)
    w = machine.fit(features, labels.numpy()).coef_[0]
    np.testing.assert_allclose(first + second, w, rtol=0, atol=2e-3 * np.abs(w).max())
    logits = model.eval()(x).detach()
    expected = features @ (beta * w + (1 - beta) * np.abs(w).mean())
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], expected, rtol=0, atol=5e-3 * np.abs(expected).max())


def test_terms_that_tell_nothing_have_no_say_and_zero_beta_is_near_naive_bayes():
    """With β = 0 all weights of a class are the same: log odds are those of the ratios, up to a scale."""
    x, labels = made()
    model = random(build(x, labels, beta=0.0)).eval()
    r = ratio_of(x, labels, 2, 1.0)
    scale = model.head.weight.abs().mean(1).detach().numpy()
    expected = (counts_of(x) > 0) @ r.T * scale + model.head.bias.detach().numpy()
    np.testing.assert_allclose(model(x).detach(), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0.0}, "alpha must be above 0 and beta in"),
        ({"beta": 1.5}, "alpha must be above 0 and beta in"),
        ({"loss": "log"}, "loss must be hinge or squared_hinge, not 'log'"),
    ],
)
def test_impossible_options(options, message):
    x, _ = made()
    with pytest.raises(zoo.ZooError, match=message):
        zoo.create("nbsvm", spec_of(x), **options)


def test_pictures_are_refused():
    with pytest.raises(zoo.ZooError, match="model 'nbsvm' is for counts values, and those of the data are grey"):
        zoo.create("nbsvm")


# Training


def split_of(x, labels):
    return Split(x.int(), labels, "tokens")


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("validated", [True, False])
def test_ratios_are_those_of_all_training_texts_before_anything_is_asked(ema, validated):
    """Before the validation that comes before the first batch, too, and in the average of the weights."""
    x, labels = made()
    learner = ClassificationLearner(zoo.create("nbsvm", spec_of(x)), ema=ema)
    seen = []
    learner.outputs = lambda *batch, own=learner.outputs: (seen.append(learner.evaluated.ratio.clone()), own(*batch))[1]
    batches = Batches(split_of(x, labels), 7, shuffle=True, seed=3)
    loaders = [batches, Batches(split_of(x, labels), 40)] if validated else [batches]
    L.Trainer(max_epochs=2, **TRAINER).fit(learner, *loaders)
    expected = torch.from_numpy(ratio_of(x, labels, 2, 1.0)).float()
    for ratio in (*seen, learner.model.ratio, learner.evaluated.ratio):
        torch.testing.assert_close(ratio, expected, rtol=1e-5, atol=1e-6)
    assert bool(learner.evaluated.initialized)
    assert len(seen) == (3 if validated else 0)


def test_without_validation_the_temperature_is_that_of_the_model_as_it_is_asked():
    """One batch, and a rate of nothing: what calibrates is what the interpolated weights say of the training texts."""
    x, labels = made()
    model = zoo.create("nbsvm", spec_of(x), beta=0.25)
    torch.nn.init.normal_(model.head.weight, generator=generator())
    learner = ClassificationLearner(model, {"name": "SGD", "lr": 0.0}, {"name": "none"}, monitor="train/loss")
    L.Trainer(max_epochs=1, **TRAINER).fit(learner, Batches(split_of(x, labels), 40))
    found = float(model.temperature)
    model.eval().calibrate(model(x).detach(), labels)
    assert found == pytest.approx(float(model.temperature), rel=1e-5)
    model.train().calibrate(model(x).detach(), labels)
    assert found != pytest.approx(float(model.temperature), rel=1e-2)


def test_a_fitted_model_keeps_its_ratios():
    """Training goes on from them, whatever texts it sees then."""
    x, labels = made()
    model = build(x, labels).float()
    kept = model.ratio.clone()
    other, classes = made(seed=20)
    L.Trainer(max_epochs=1, **TRAINER).fit(ClassificationLearner(model), Batches(split_of(other, classes), 8))
    assert torch.equal(model.ratio, kept)


def test_a_classifier_with_an_initialize_of_its_own_is_let_be():
    """``initialize`` is for models that say whether they are ``initialized``."""
    x, labels = made()
    model = zoo.create("logistic_regression", spec_of(x))
    model.initialize = lambda: pytest.fail("it was called")
    L.Trainer(max_epochs=1, **TRAINER).fit(ClassificationLearner(model), Batches(split_of(x, labels), 8))
