"""Missing values are NaN: filled in by classifiers, integrated out by densities, and learnt around."""

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from torch import nn

import zoo
from zoo import registry
from zoo.data import kinds
from zoo.data.batches import Batches
from zoo.data.splits import Split

pytestmark = pytest.mark.usefixtures("one_thread")

QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}


@pytest.fixture
def table():
    """60 rows of a table with gaps, their classes, and what describes them."""
    stored, spec = kinds.find("table").trial(60)
    return stored, torch.arange(60) % 3, spec


def trained(name, table, epochs=2, **options):
    stored, labels, spec = table
    torch.manual_seed(0)
    model = zoo.create(name, spec, **options)
    learner = zoo.EMLearner if name in ("naive_bayes", "gmm") else zoo.ClassificationLearner
    batches = Batches(Split(stored, labels, "table"), 16, shuffle=True)
    trainer = L.Trainer(max_epochs=epochs, enable_checkpointing=False, **QUIET)
    trainer.fit(learner(model), batches, Batches(batches.split, 60))
    return model.eval()


@pytest.mark.parametrize(("name", "options"), [
    ("logistic_regression", {}), ("mlp", {"hidden_sizes": [8]}), ("svm", {"num_features": 16}), ("probe", {}),
])  # fmt: skip
def test_a_classifier_sees_the_columns_mean(table, name, options):
    """In training, and when it is asked: by NaN, by a mask, or with the mean in the place."""
    model = trained(name, table, **options)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    x = table[0]
    gaps = x.isnan()
    mean = torch.tensor(table[2].mean).view(1, 1, 1, 6)
    expected = zoo.classify(model, torch.where(gaps, mean, x))
    assert torch.equal(zoo.classify(model, x), expected)
    assert torch.equal(zoo.classify(model, torch.where(gaps, 9.0, x), ~gaps), expected)
    with torch.no_grad():
        torch.testing.assert_close(model.classify(x), expected)  # as a training step does
    assert zoo.encode(model, x).isfinite().all()
    assert all(zoo.anomaly_score(model, x, kind).isfinite().all() for kind in ("max_softmax", "entropy", "energy"))


def test_estimates_are_of_what_is_seen(table):
    """Against numpy, class by class and column by column."""
    stored, labels, _ = table
    model = trained("naive_bayes", table, emission="gaussian", var_smoothing=0.0)
    for label in range(3):
        rows = stored[labels == label].flatten(1).numpy().astype(np.float64)
        np.testing.assert_allclose(model.mean[label].detach(), np.nanmean(rows, 0), rtol=1e-5)
        np.testing.assert_allclose(model.log_variance[label].detach().exp(), np.nanvar(rows, 0), rtol=1e-4)


def test_a_column_that_a_class_never_shows_keeps_what_it_had(table):
    stored, labels, spec = table
    stored = stored.clone()
    stored[labels == 1, :, :, 2] = torch.nan
    model = trained("naive_bayes", (stored, labels, spec), emission="gaussian")
    assert float(model.mean[1, 2]) == pytest.approx(spec.mean[2])  # as all classes are, on average
    assert float(model.log_variance[1, 2].detach().exp()) == pytest.approx(spec.std[2] ** 2, rel=1e-5)
    assert zoo.classify(model, stored).isfinite().all()


def test_a_density_integrates_them_out(table):
    model = trained("naive_bayes", table, emission="gaussian")
    x = table[0]
    seen = ~x.isnan()
    normal = torch.distributions.Normal(model.mean, (model.log_variance / 2).exp(), validate_args=False)
    by_hand = normal.log_prob(x.flatten(1)[:, None])
    joint = torch.where(seen.flatten(1)[:, None], by_hand, 0).sum(2) + model.log_prior
    torch.testing.assert_close(zoo.log_prob(model, x), joint.logsumexp(1).detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(zoo.classify(model, x), joint.log_softmax(1).detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(zoo.log_prob(model, x, observed=seen), zoo.log_prob(model, x))
    torch.testing.assert_close(model.validate(x, table[1])["log_joint"], joint, rtol=1e-4, atol=1e-4)
    completed = zoo.impute(model, x, n=3)  # what is not NaN is seen
    assert completed.isfinite().all()
    assert torch.equal(completed[1][seen], x[seen])


@pytest.mark.parametrize(
    ("name", "options"), [("naive_bayes", {"emission": "gaussian"}), ("gmm", {"num_components": 2})]
)
def test_the_likelihood_of_em_is_of_what_is_seen(table, name, options):
    model = trained(name, table, **options)
    stored, labels, _ = table
    total = model.statistics(stored, labels)["log_likelihood"]
    expected = zoo.log_prob(model, stored, labels) + model.log_prior[labels]
    assert float(total) == pytest.approx(float(expected.double().sum()), rel=1e-5)
    hidden = torch.where(torch.arange(60) < 20, labels, -1)
    statistics = model.statistics(stored, hidden)
    expected = torch.where(hidden < 0, zoo.log_prob(model, stored), expected)
    assert float(statistics["log_likelihood"]) == pytest.approx(float(expected.double().sum()), rel=1e-5)
    assert float(statistics["images"]) == pytest.approx(60)


@pytest.mark.parametrize(
    ("name", "learner", "options"), [("hmm", zoo.EMLearner, {"lags": 1}), ("m2", zoo.LikelihoodLearner, {})]
)
def test_who_cannot_learn_from_gaps_says_so(name, learner, options):
    model = zoo.create(name, zoo.DataSpec((1, 8, 8), 3, missing=True), **options)
    words = f"{name} cannot be trained on data of which values are missing; models that can: .*naive_bayes.*vae"
    with pytest.raises(zoo.ConfigError, match=words):
        learner(model)


def test_what_cannot_be_asked_of_examples_with_gaps_is_refused():
    model = zoo.create("gmm", zoo.DataSpec((1, 4, 4), 2), pca=0, num_components=1)
    x = torch.rand(3, 1, 4, 4)
    x[0, 0, 0, 0] = torch.nan
    assert zoo.classify(model, x).isfinite().all()
    assert zoo.encode(model, x).isfinite().all()
    assert zoo.reconstruct(model, x).isfinite().all()
    regressed = zoo.create("hmm", zoo.DataSpec((1, 4, 4), 2), lags=1, num_states=2)
    for question in ("encode", "reconstruct"):
        with pytest.raises(zoo.ZooError, match=f"hmm cannot {question} where values are missing"):
            getattr(zoo, question)(regressed, x)


def test_missing_pixels_are_nan_too():
    """A mask and NaN are the same question; of both, nothing is read that either hides."""
    spec = zoo.DataSpec((1, 6, 6), 3, mean=(0.3,), std=(0.4,))
    generator = torch.Generator().manual_seed(0)
    x, observed = torch.rand(5, 1, 6, 6, generator=generator), torch.rand(5, 1, 6, 6, generator=generator) < 0.5
    for model in (zoo.create("mlp", spec, hidden_sizes=[4]), zoo.create("naive_bayes", spec)):
        expected = zoo.classify(model, x, observed)
        assert torch.equal(zoo.classify(model, x.masked_fill(~observed, torch.nan)), expected)
        half = torch.zeros_like(observed)
        half[..., :3] = True
        both = zoo.classify(model, x.masked_fill(~half, torch.nan), observed)
        assert torch.equal(both, zoo.classify(model, x, observed & half))


# A learner asks for losses, and for what a batch is worth, and for no density


class Denoiser(zoo.Generative):
    """Learns to take noise away: it has a loss, and no likelihood."""

    def __init__(self, spec):
        super().__init__(spec, conditional=False)
        self.scale = nn.Parameter(torch.zeros(()))

    def losses(self, x, labels, epoch):
        error = (x - self.scale * (x + 0.1 * torch.randn_like(x))).square().mean()
        return {"loss": error, "gain": self.scale.detach()}

    def validate(self, x, labels):
        return {"error": (x - self.scale * x).square().flatten(1).mean(1)}


def test_a_model_without_a_density_is_trained_by_its_own_losses(monkeypatch):
    monkeypatch.setitem(registry._CLASSES, "denoiser", Denoiser)
    images = torch.randint(256, (64, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    split = Split(images, torch.zeros(64, dtype=torch.long))
    model = zoo.create("denoiser", zoo.DataSpec((1, 4, 4), 1))
    optimizer = {"name": "SGD", "lr": 0.5}
    learner = zoo.ObjectiveLearner(model, optimizer, {"name": "none"}, ema=0.0, monitor="val/error")
    assert learner.mode == "min"
    trainer = L.Trainer(max_epochs=5, enable_checkpointing=False, **QUIET)
    trainer.fit(learner, Batches(split, 16), Batches(split, 64))
    logged = trainer.callback_metrics
    expected = (split.x() * (1 - model.scale.detach())).square().mean()
    assert float(logged["val/error"]) == pytest.approx(float(expected), rel=1e-5)
    assert 0 < float(logged["train/gain"]) <= 1
    assert float(logged["train/loss"]) > 0
    assert "val/log_likelihood" not in logged
    assert "16-mixed" in learner.precisions  # there is no sum of log densities to lose digits
