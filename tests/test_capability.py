"""Questions to models: what is derived is what the mathematics says, and asking changes nothing."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import zoo
from zoo import registry
from zoo.base.fill import local_mean
from zoo.base.model import evaluating
from zoo.capability import known, support
from zoo.errors import ZooError
from zoo.questions.anomaly_score import anomaly_scores

SPEC = zoo.DataSpec((1, 2, 3), 3, mean=(0.3,), std=(0.5,))
CAPABILITIES = [*known()]


class Gaussian(zoo.Density):
    """p(x, y) = p(y) N(x; mean_y, scale² I). Dropout makes its training mode give other answers.

    ``asked`` holds the number of images of each call.
    """

    marginalises = False

    def __init__(self, spec, scale=0.5):
        super().__init__(spec, conditional=True)
        self.scale = scale
        self.body = nn.Sequential(nn.Dropout(0.5))
        means = torch.linspace(0, 1, spec.num_classes * math.prod(spec.shape))
        self.means = nn.Parameter(means.sin().view(spec.num_classes, *spec.shape))
        self.set_prior(torch.arange(1.0, spec.num_classes + 1))
        self.asked = []

    def log_prob_of(self, x, group, observed=None):
        self.asked.append(len(x))
        density = torch.distributions.Normal(self.means[group], self.scale)
        return density.log_prob(self.body(x)).flatten(1).sum(1)

    def sample(self, n, labels=None, generator=None):
        if labels is None:
            labels = torch.multinomial(self.log_prior.exp(), n, replacement=True, generator=generator)
        return self.means[labels] + self.scale * torch.randn(n, *self.spec.shape, generator=generator)

    def impute(self, x, observed, n=1, generator=None):
        noise = torch.randn(n, *x.shape, generator=generator)
        return self.body(x).mean((1, 2, 3), keepdim=True) + noise


class Marginal(zoo.Density):
    """p(x) alone: a standard normal."""

    def __init__(self, spec):
        super().__init__(spec, conditional=False)

    def log_prob_of(self, x, group, observed=None):
        return torch.distributions.Normal(0, 1).log_prob(x).flatten(1).sum(1)


class Oracle(Gaussian):
    """Answers every question itself, and differently from what would be derived."""

    marginalises = True

    def classify(self, x, observed=None):
        weight = torch.ones_like(x) if observed is None else observed.to(x.dtype)
        distance = (self.body(x).unsqueeze(1) - self.means).square() * weight.unsqueeze(1)
        return (-distance.flatten(2).sum(2)).log_softmax(1)

    def contributions(self, x, observed=None):
        weight = torch.ones_like(x) if observed is None else observed.to(x.dtype)
        return -((self.body(x).unsqueeze(1) - self.means).square() * weight.unsqueeze(1)).sum((2, 3))

    def offsets(self):
        return torch.zeros(self.spec.num_classes)

    def encode(self, x):
        return self.body(x).flatten(1)[:, :2]

    def reconstruct(self, x):
        return self.body(x) / 2

    def interpolate(self, n, steps, ends=None, labels=None, generator=None):
        return self.sample(n * steps, generator=generator).unflatten(0, (n, steps))

    def forecast(self, x, steps, generator=None, observed=None):
        end = torch.rand(x[:, :, -steps:].shape, generator=generator, dtype=x.dtype)
        return torch.cat([x[:, :, :-steps], end], 2)

    def anomaly_score(self, x):
        return self.body(x).flatten(1).sum(1)


class Silent(Gaussian):
    """An instance that cannot do what its class can."""

    @zoo.available_if(lambda model: model.scale > 0.5)
    def sample(self, n, labels=None, generator=None):
        return super().sample(n, labels, generator)


OURS = {"gaussian": Gaussian, "marginal": Marginal, "oracle": Oracle, "silent": Silent}


@pytest.fixture(autouse=True, scope="module")
def ours():
    """The models above are known while this file is tested; one thread is the quickest on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name, cls in OURS.items():
        zoo.register(name)(cls)
    yield
    for name in OURS:
        del registry._CLASSES[name]
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def no_directories(monkeypatch):
    monkeypatch.delenv("ZOO_MODELS", raising=False)


@pytest.fixture
def gaussian():
    return zoo.create("gaussian", SPEC)


@pytest.fixture
def mlp():
    """A classifier whose training mode gives other answers: dropout, and running statistics of its own."""
    torch.manual_seed(0)
    model = zoo.create("mlp", SPEC, hidden_sizes=[8], dropout=0.5)
    for _ in range(3):
        model(torch.randn(16, *SPEC.shape) * 2 + 1)
    return model


@pytest.fixture
def x():
    return torch.rand(7, *SPEC.shape, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def observed(x):
    return torch.rand(x.shape, generator=torch.Generator().manual_seed(2)) < 0.5


# Every question that can be put to an oracle, as a function of the model and seven images
QUESTIONS = {
    "classify": lambda model, x, **o: zoo.classify(model, x, **o),
    "classify_missing": lambda model, x, **o: zoo.classify(model, x, x > 0.5, **o),
    "classify_imputed": lambda model, x, **o: zoo.classify(zoo.create("gaussian", SPEC), x, x > 0.5, model, **o),
    "log_prob": lambda model, x, **o: zoo.log_prob(model, x, **o),
    "log_prob_labels": lambda model, x, **o: zoo.log_prob(model, x, torch.arange(7) % 3, **o),
    "encode": lambda model, x, **o: zoo.encode(model, x, **o),
    "explain": lambda model, x, **o: zoo.explain(model, x, x > 0.5, **o).contributions,
    "reconstruct": lambda model, x, **o: zoo.reconstruct(model, x, **o),
    "native": lambda model, x, **o: zoo.anomaly_score(model, x, **o),
    "strangeness": lambda model, x, **o: zoo.anomaly_score(model, x, "log_prob", **o),
    "max_softmax": lambda model, x, **o: zoo.anomaly_score(model, x, "max_softmax", **o),
    "entropy": lambda model, x, **o: zoo.anomaly_score(model, x, "entropy", **o),
    "sample": lambda model, x: zoo.sample(model, 5),
    "sample_generator": lambda model, x: zoo.sample(model, 5, generator=torch.Generator().manual_seed(0)),
    "impute": lambda model, x: zoo.impute(model, x, x > 0.5, n=2),
    "forecast": lambda model, x: zoo.forecast(model, x, 1),
    "forecast_generator": lambda model, x: zoo.forecast(model, x, 1, torch.Generator().manual_seed(0)),
    "impute_generator": lambda model, x: zoo.impute(
        model, x, x > 0.5, n=2, generator=torch.Generator().manual_seed(0)
    ),
}  # fmt: skip
RANDOM = {
    "sample",
    "sample_generator",
    "forecast",
    "forecast_generator",
    "impute",
    "impute_generator",
    "classify_imputed",
}
CLASSIFIER_QUESTIONS = ["classify", "classify_missing", "encode", "max_softmax", "entropy"]


# --- what is derived -------------------------------------------------------------------------------------------------


def posterior(model, x):
    """Bayes' rule for Gaussians of one covariance: the softmax of a function that is linear in x."""
    means, variance = model.means.detach().flatten(1), model.scale**2
    return (x.flatten(1) @ means.T / variance - means.square().sum(1) / (2 * variance) + model.log_prior).log_softmax(1)


def test_a_density_classifies_by_bayes_rule(gaussian, x):
    log_proba = zoo.classify(gaussian, x)
    torch.testing.assert_close(log_proba, posterior(gaussian, x))
    assert log_proba.shape == (7, 3)
    assert (log_proba.logsumexp(1).abs() < 1e-6).all()


def test_a_density_without_labels_is_the_mixture(gaussian, x):
    given = torch.stack([zoo.log_prob(gaussian, x, torch.full((7,), label)) for label in range(3)], 1)
    torch.testing.assert_close(zoo.log_prob(gaussian, x), (given + gaussian.log_prior).logsumexp(1))
    by_hand = torch.distributions.Normal(gaussian.means[2], 0.5).log_prob(x).sum((1, 2, 3)).detach()
    torch.testing.assert_close(given[:, 2], by_hand)


def test_a_density_of_x_alone_is_asked_itself(x):
    expected = (-x.square() / 2 - math.log(2 * math.pi) / 2).sum((1, 2, 3))
    torch.testing.assert_close(zoo.log_prob(zoo.create("marginal", SPEC), x), expected)


def test_a_native_method_is_preferred(x):
    model = zoo.create("oracle", SPEC).eval()
    with torch.no_grad():
        assert torch.equal(zoo.classify(model, x), model.classify(x))
        assert not torch.allclose(zoo.classify(model, x), posterior(model, x))
        assert torch.equal(zoo.anomaly_score(model, x), model.anomaly_score(x))
        assert torch.equal(zoo.encode(model, x), model.encode(x))
        assert torch.equal(zoo.reconstruct(model, x), model.reconstruct(x))


def test_a_classifier_encodes_by_its_features(mlp, x):
    features = zoo.encode(mlp, x)
    assert features.shape == (7, 8)
    torch.testing.assert_close(mlp.head(features), mlp.eval()(x))


def test_anomaly_scores_of_a_classifier(mlp, x):
    scores = {kind: zoo.anomaly_score(mlp, x, kind) for kind in ("max_softmax", "entropy", "energy")}
    with torch.no_grad():
        logits = mlp.eval()(x)
    for row, image in enumerate(logits.tolist()):
        total = sum(math.exp(logit) for logit in image)
        proba = [math.exp(logit) / total for logit in image]
        assert scores["max_softmax"][row] == pytest.approx(1 - max(proba), abs=1e-6)
        assert scores["entropy"][row] == pytest.approx(-sum(p * math.log(p) for p in proba), abs=1e-6)
        assert scores["energy"][row] == pytest.approx(-math.log(total), abs=1e-5)
    assert torch.equal(zoo.anomaly_score(mlp, x), scores["max_softmax"])


def test_the_scores_of_a_margin_machine_are_calibrated(x):
    """Its probabilities are at its temperature; its energy is of the logits themselves."""
    model = zoo.create("svm", SPEC, kernel="linear")
    torch.manual_seed(0)
    nn.init.normal_(model.head.weight)
    model.temperature.fill_(5)
    with torch.no_grad():
        logits = model(x)
    torch.testing.assert_close(zoo.anomaly_score(model, x, "max_softmax"), 1 - (logits / 5).softmax(1).amax(1))
    torch.testing.assert_close(zoo.anomaly_score(model, x, "energy"), -logits.logsumexp(1))


@pytest.mark.parametrize("kind", ["max_softmax", "entropy", "energy"])
def test_higher_is_stranger_to_a_classifier(kind):
    """An image far on one class's side against one between all classes."""
    model = zoo.create("logistic_regression", SPEC)
    with torch.no_grad():
        model.head.weight.copy_(8 * torch.eye(3, 6))
    sure, torn = torch.zeros(2, 1, *SPEC.shape)
    sure[..., 0, 0] = 1
    assert zoo.anomaly_score(model, torn, kind) > zoo.anomaly_score(model, sure, kind)


def test_higher_is_stranger_to_a_density(gaussian, x):
    narrow = zoo.create("gaussian", SPEC, scale=0.05)
    usual, strange = zoo.anomaly_score(narrow, narrow.means.detach()), zoo.anomaly_score(narrow, 1 - narrow.means[:1])
    assert usual.max() < strange.min()
    torch.testing.assert_close(zoo.anomaly_score(gaussian, x), -zoo.log_prob(gaussian, x))


def test_an_entropy_of_certainty_is_zero():
    """0 log 0 = 0, not NaN."""
    model = zoo.create("logistic_regression", SPEC)
    with torch.no_grad():
        model.head.bias.copy_(torch.tensor([0.0, 500, 0]))
    assert zoo.anomaly_score(model, torch.zeros(1, *SPEC.shape), "entropy") == 0


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("mlp", ["max_softmax", "entropy", "energy"]),
        ("gaussian", ["log_prob", "max_softmax", "entropy"]),
        ("oracle", ["native", "log_prob", "max_softmax", "entropy"]),
    ],
)
def test_an_unknown_score_lists_the_known(name, kinds, x):
    model = zoo.create(name, SPEC)
    assert list(anomaly_scores(model)) == kinds
    with pytest.raises(ZooError, match=f"^{name} has no anomaly score 'stranger'; it has {', '.join(kinds)}$"):
        zoo.anomaly_score(model, x, "stranger")


# --- missing pixels --------------------------------------------------------------------------------------------------


def hide(x, observed):
    return x.masked_fill(~observed, math.nan)


def test_hidden_pixels_are_what_is_around_or_the_training_mean(mlp, x, observed):
    hidden = hide(x, observed)
    around = local_mean(x, observed, torch.tensor(0.3))
    assert torch.equal(zoo.classify(mlp, hidden, observed), zoo.classify(mlp, around))
    assert torch.equal(zoo.classify(mlp, hidden, observed, fill="local"), zoo.classify(mlp, around))
    expected = zoo.classify(mlp, torch.where(observed, x, 0.3))
    assert torch.equal(zoo.classify(mlp, hidden, observed, fill="mean"), expected)
    assert not torch.allclose(zoo.classify(mlp, hidden, observed), expected)


def test_a_model_that_marginalises_is_shown_what_is_filled_in_where_that_is_asked(x, observed):
    model = zoo.create("oracle", SPEC).eval()
    filled = zoo.classify(model, local_mean(x, observed, torch.tensor(0.3)))
    assert torch.equal(zoo.classify(model, hide(x, observed), observed, fill="local"), filled)
    assert not torch.allclose(zoo.classify(model, x, observed), filled)


def test_one_thing_takes_the_place_of_hidden_pixels(mlp, gaussian, x, observed):
    with pytest.raises(zoo.ZooError, match="unknown fill 'black': fills: local, mean"):
        zoo.classify(mlp, x, fill="black")  # although nothing is hidden
    with pytest.raises(zoo.ZooError, match="imputer and fill both"):
        zoo.classify(mlp, x, observed, imputer=gaussian, fill="local")


def test_the_training_mean_is_the_channels_own():
    spec = zoo.DataSpec((2, 2, 3), 3, mean=(0.1, 0.9), std=(0.5, 0.5))
    model = zoo.create("logistic_regression", spec)
    nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    mean = torch.tensor([0.1, 0.9]).view(1, 2, 1, 1).expand(1, 2, 2, 3)
    nothing = torch.zeros(1, 2, 2, 3, dtype=torch.bool)
    assert torch.equal(zoo.classify(model, torch.full((1, 2, 2, 3), math.nan), nothing), zoo.classify(model, mean))


def test_hidden_pixels_are_the_imputers(mlp, x, observed):
    class Even(Gaussian):
        def impute(self, x, observed, n=1, generator=None):
            return torch.full((n, *x.shape), 0.7)

    filled = torch.where(observed, x, 0.7)
    expected = zoo.classify(mlp, filled)
    torch.testing.assert_close(zoo.classify(mlp, hide(x, observed), observed, Even(SPEC)), expected)
    assert not torch.allclose(zoo.classify(mlp, hide(x, observed), observed), expected)


def test_an_imputer_gives_the_same_answer_again(mlp, gaussian, x, observed):
    first, second = (zoo.classify(mlp, x, observed, imputer=gaussian) for _ in range(2))
    assert torch.equal(first, second)


def test_a_density_classifies_after_imputation(gaussian, x, observed):
    filled = local_mean(x, observed, torch.tensor(0.3))
    torch.testing.assert_close(zoo.classify(gaussian, hide(x, observed), observed), posterior(gaussian, filled))


def test_a_model_that_marginalises_does_so(x, observed):
    model = zoo.create("oracle", SPEC).eval()
    log_proba = zoo.classify(model, hide(x, observed), observed)
    expected = (-((x.unsqueeze(1) - model.means) * observed.unsqueeze(1)).square().flatten(2).sum(2)).log_softmax(1)
    torch.testing.assert_close(log_proba, expected.detach())
    assert not torch.allclose(log_proba, zoo.classify(model, x))


def test_one_mask_serves_all_images(mlp, x):
    mask = torch.tensor([True, False, True])  # the middle column is missing
    everywhere = mask.expand(x.shape)
    assert torch.equal(zoo.classify(mlp, x, mask), zoo.classify(mlp, x, everywhere))
    assert zoo.impute(zoo.create("gaussian", SPEC), x, mask).shape == (1, *x.shape)


def test_imputation_leaves_what_was_seen(gaussian, x, observed):
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    completed = zoo.impute(gaussian, hide(x, observed), observed, n=4, generator=generators[0])
    assert completed.shape == (4, *x.shape)
    assert all(torch.equal(completion[observed], x[observed]) for completion in completed)
    noise = torch.randn(4, *x.shape, generator=generators[1])
    expected = (x * observed).mean((1, 2, 3), keepdim=True) + noise
    torch.testing.assert_close(completed[:, ~observed], expected[:, ~observed])


# --- what cannot be asked --------------------------------------------------------------------------------------------


def test_a_refusal_names_the_models_that_can(mlp):
    able = [name for name, row in zoo.capabilities().items() if row["sample"] != "no"]
    assert {"gaussian", "gmm", "hmm", "naive_bayes", "oracle"} <= set(able)
    with pytest.raises(ZooError, match=rf"^mlp cannot sample; models that can: {', '.join(able)}$"):
        zoo.sample(mlp, 3)


def test_a_refusal_names_the_models_of_the_zoo(x, monkeypatch):
    for name in OURS:
        monkeypatch.delitem(registry._CLASSES, name)
    able = [name for name, row in zoo.capabilities().items() if row["reconstruct"] != "no"]
    assert {"gmm", "hmm", "vae"} <= set(able)
    with pytest.raises(ZooError, match=rf"^Gaussian cannot reconstruct; models that can: {', '.join(able)}$"):
        zoo.reconstruct(Gaussian(SPEC), x)


def test_an_instance_may_lack_what_its_class_has(x):
    model = zoo.create("silent", SPEC)
    assert not hasattr(model, "sample")
    assert support(model, "sample") == "no"
    assert support(model, "classify") == "native"
    with pytest.raises(ZooError, match="silent cannot sample"):
        zoo.sample(model, 3)
    louder = zoo.create("silent", SPEC, scale=0.7)
    assert hasattr(louder, "sample")
    assert zoo.sample(louder, 3).shape == (3, *SPEC.shape)
    assert Silent.sample.__name__ == "sample"  # the class has it, whatever its instances are


def test_asking_in_vain_takes_nothing_from_the_global_stream(mlp):
    """The models that can are built to find out."""
    state = torch.get_rng_state()
    with pytest.raises(ZooError):
        zoo.sample(mlp, 3)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_class_that_only_has_a_density_cannot_be_asked_for_more():
    model = zoo.create("marginal", SPEC)
    answers = {capability: support(model, capability) for capability in CAPABILITIES}
    native = {capability for capability, answer in answers.items() if answer == "native"}
    derived = {capability for capability, answer in answers.items() if answer == "derived"}
    assert (native, derived) == ({"log_prob"}, {"anomaly_score"})
    assert not hasattr(model, "classify")


def test_a_class_that_is_no_model_is_refused():
    with pytest.raises(ZooError, match=r"Linear is registered as 'plain' and must extend zoo\.Model"):
        zoo.register("plain")(nn.Linear)


# --- asking changes nothing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("modes", ["train", "eval", "mixed", "opposite"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_modes_are_restored(question, modes, x):
    model = zoo.create("oracle", SPEC)
    model.train(modes in ("train", "mixed"))
    if modes in ("mixed", "opposite"):
        model.body[0].train(modes == "opposite")
    before = {name: module.training for name, module in model.named_modules()}
    QUESTIONS[question](model, x)
    assert {name: module.training for name, module in model.named_modules()} == before


@pytest.mark.parametrize("question", CLASSIFIER_QUESTIONS)
def test_a_classifier_in_training_answers_as_in_use(question, mlp, x):
    mlp.train()
    buffers = {name: buffer.clone() for name, buffer in mlp.named_buffers()}
    answer = QUESTIONS[question](mlp, x)
    assert mlp.training
    assert torch.equal(QUESTIONS[question](mlp.eval(), x), answer)
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in mlp.named_buffers())


def test_modes_are_restored_after_an_error(mlp):
    mlp.train()
    mlp.body[1].eval()
    handle = mlp.body[2].register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        zoo.classify(mlp, torch.zeros(2, *SPEC.shape))
    handle.remove()
    assert [module.training for module in mlp.body] == [True, False, True, True]
    with evaluating(mlp):
        assert not any(module.training for module in mlp.modules())
    assert mlp.training


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_global_stream_is_left_alone(question, x):
    model = zoo.create("oracle", SPEC)
    state = torch.get_rng_state()
    QUESTIONS[question](model, x)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("question", ["sample", "impute", "forecast"])
def test_a_generator_makes_random_answers_repeatable(question, x):
    model = zoo.create("oracle", SPEC)
    first, second = (QUESTIONS[question](model, x) for _ in range(2))
    assert not torch.equal(first, second)
    first, second = (QUESTIONS[f"{question}_generator"](model, x) for _ in range(2))
    assert torch.equal(first, second)


def test_samples_are_of_the_labels_asked_for():
    model = zoo.create("oracle", SPEC, scale=1e-4)
    labels = torch.tensor([2, 0, 1, 2])
    torch.testing.assert_close(zoo.sample(model, 4, labels), model.means[labels].detach(), atol=1e-2, rtol=0)


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_gradient_is_tracked(question, x):
    answer = QUESTIONS[question](zoo.create("oracle", SPEC), x.requires_grad_())
    assert not answer.requires_grad
    assert answer.grad_fn is None


@pytest.mark.parametrize("question", ["encode", "reconstruct", "sample", "impute"])
def test_answers_can_be_trained_on(question, x):
    """Codes feed a probe, samples and completions augment a training set."""
    answer = QUESTIONS[question](zoo.create("oracle", SPEC), x).flatten(1)
    probe = nn.Linear(answer.shape[1], 2)
    probe(answer).sum().backward()
    assert probe.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("question", sorted(QUESTIONS.keys() - RANDOM))
def test_the_chunk_size_changes_nothing(question, x):
    model = zoo.create("oracle", SPEC)
    few, many = (QUESTIONS[question](model, x, batch_size=batch_size) for batch_size in (3, 1000))
    torch.testing.assert_close(few, many, rtol=1e-6, atol=1e-6)
    assert len(many) == 7


@pytest.mark.parametrize("question", CLASSIFIER_QUESTIONS)
def test_the_chunk_size_changes_nothing_for_a_classifier(question, mlp, x):
    few, many = (QUESTIONS[question](mlp, x, batch_size=batch_size) for batch_size in (3, 1000))
    torch.testing.assert_close(few, many, rtol=1e-6, atol=1e-6)


def test_imputation_in_chunks_keeps_images_apart(gaussian, x, observed):
    for batch_size in (3, 1000):
        completed = zoo.impute(gaussian, x, observed, n=2, batch_size=batch_size)
        assert completed.shape == (2, *x.shape)
        assert torch.equal(completed[:, observed], x[observed].expand(2, -1))


def test_a_model_sees_no_more_than_a_chunk_at_a_time(gaussian, x):
    zoo.log_prob(gaussian, x, torch.zeros(7, dtype=torch.long), batch_size=3)
    assert gaussian.asked == [3, 3, 1]


def test_a_chunk_is_as_small_as_its_images_are_large(gaussian, x, monkeypatch):
    monkeypatch.setattr("zoo.base.model.AT_ONCE_ON_CPU", 3 * x[0].numel() + 1)
    zoo.log_prob(gaussian, x, torch.zeros(7, dtype=torch.long))
    assert gaussian.asked == [3, 3, 1]
    monkeypatch.setattr("zoo.base.model.AT_ONCE_ON_CPU", x[0].numel() - 1)
    zoo.log_prob(gaussian, x, torch.zeros(7, dtype=torch.long))
    assert gaussian.asked[3:] == [1] * 7


def test_nobody_is_an_answer_too(mlp, gaussian):
    nobody = torch.zeros(0, *SPEC.shape)
    assert zoo.classify(mlp, nobody).shape == (0, 3)
    assert zoo.classify(gaussian, nobody).shape == (0, 3)
    assert zoo.anomaly_score(gaussian, nobody).shape == (0,)


# --- the table -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table(ours):
    return zoo.capabilities()


def test_the_table_has_a_row_a_model(table):
    assert list(table) == zoo.list_models()
    assert all(list(row) == CAPABILITIES for row in table.values())
    assert set(table["oracle"].values()) == {"native"}
    assert table["gaussian"] == {
        "classify": "native",
        "sample": "native",
        "log_prob": "native",
        "encode": "no",
        "explain": "no",
        "reconstruct": "no",
        "interpolate": "no",
        "impute": "native",
        "forecast": "no",
        "classify_missing": "derived",
        "anomaly_score": "derived",
    }
    for name in ("cnn", "logistic_regression", "mlp", "rnn", "svm"):
        own = {question for question, answer in table[name].items() if answer == "native"}
        derived = {question for question, answer in table[name].items() if answer == "derived"}
        sums = {"explain"} if name == "logistic_regression" else set()
        assert (own, derived) == ({"classify", *sums}, {"anomaly_score", "classify_missing", "encode"})


def test_the_table_is_markdown(table):
    lines = str(table).splitlines()
    assert len(lines) == len(table) + 2
    assert len({len(line) for line in lines}) == 1
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert all(line.startswith("| ") and line.endswith(" |") for line in lines)
    assert cells[0] == ["model", *(name.replace("_", " ") for name in CAPABILITIES)]
    assert all(len(cell) >= 3 and set(cell) == {"-"} for cell in cells[1])
    assert lines[1].count(" ") == 2 * len(cells[1])  # the rule goes all the way
    assert {name: answers for name, *answers in cells[2:]} == {name: [*row.values()] for name, row in table.items()}


def test_the_table_of_some_models():
    assert list(zoo.capabilities("m?p")) == ["mlp"]
    assert len(str(zoo.capabilities("nothing")).splitlines()) == 2


# --- imports ---------------------------------------------------------------------------------------------------------


def test_only_what_is_needed_is_imported(tmp_path):
    """``import zoo`` and its names cost nothing, and a released model is asked without what trained it."""
    folder = zoo.save(zoo.create("mlp", SPEC, hidden_sizes=[4]), tmp_path / "release")
    program = """
import json, sys
def seen():
    names = {name.partition(".")[0] for name in sys.modules}
    return sorted(names & {"torch", "lightning", "hydra", "omegaconf", "torchmetrics", "torchvision", "matplotlib"})
import zoo
stages = [seen()]
zoo.list_models(), zoo.DataSpec(), zoo.ZooError
stages.append(seen())
model = zoo.load(sys.argv[1])
import torch
zoo.classify(model, torch.zeros(2, 1, 2, 3))
stages.append(seen())
print(json.dumps(stages))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(zoo.__file__).parents[1])}
    command = [sys.executable, "-c", program, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], [], ["torch"]]


def test_the_public_names_are_there():
    for name in zoo.__all__:
        assert getattr(zoo, name) is not None
    assert set(zoo.__all__) <= set(dir(zoo))
    with pytest.raises(AttributeError, match="lode"):
        zoo.lode  # noqa: B018


# --- names and options -----------------------------------------------------------------------------------------------


def test_models_are_listed_by_pattern():
    known = zoo.list_models()
    assert known == sorted(known)
    assert {"cnn", "logistic_regression", "mlp", "rnn", "svm", *OURS} <= set(known)
    assert not any(name.startswith("_") for name in known)
    assert {"cnn", "rnn"} <= set(zoo.list_models("?nn")) <= {name for name in known if len(name) == 3}
    assert "logistic_regression" in zoo.list_models("log*")
    assert zoo.list_models("nothing") == []


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cnm", {}, "unknown model 'cnm': did you mean 'cnn'"),
        ("zzzzz", {}, "unknown model 'zzzzz': known models: autoregressive, cnn, "),
        ("_classifier", {}, "unknown model '_classifier'"),
        ("mlp", {"hiden_sizes": [3]}, "model 'mlp' has no option 'hiden_sizes': did you mean 'hidden_sizes'?"),
        ("logistic_regression", {"width": 3}, "has no option 'width': its options: none"),
        ("mlp", {"hidden_sizes": [0]}, "model 'mlp': hidden_sizes"),
        ("mlp", {"hidden_sizes": "wide"}, "model 'mlp': "),
        ("mlp", {"hidden_sizes": [8], "dropout": 1.0}, "model 'mlp': .*dropout in"),
        ("cnn", {"channels": []}, "model 'cnn': channels"),
        ("cnn", {"channels": [4, 4]}, "model 'cnn': 2 stages need images of at least 4×4, not 2×3"),
        ("rnn", {"cell": "gruu"}, "model 'rnn': cell must be one of vanilla, gru, lstm, not 'gruu'"),
        ("rnn", {"cell": "gru", "forget_bias": 1.0}, "model 'rnn': forget_bias is of the gates of cell='lstm'"),
        ("rnn", {"forget_bias": math.nan}, "model 'rnn': forget_bias"),
        ("rnn", {"reads": "diagonals"}, "model 'rnn': reads must be one of auto, rows, columns, pixels"),
        ("svm", {"kernel": "poly"}, "model 'svm': kernel must be linear or rbf, not 'poly'"),
        ("svm", {"num_features": 0}, "model 'svm': num_features"),
        ("gaussian", {"scale": object()}, "model 'gaussian': .* is not plain data"),
        ("gaussian", {"scale": {1, 2}}, "model 'gaussian': .* is not plain data"),
    ],
)
def test_an_impossible_request_is_explained(name, options, message):
    with pytest.raises(ZooError, match=message) as error:
        zoo.create(name, SPEC, **options)
    assert len(str(error.value).splitlines()) == 1


def test_a_model_that_does_not_fit_into_memory_is_explained():
    with pytest.raises(ZooError, match="model 'mlp': ") as error:
        zoo.create("mlp", SPEC, hidden_sizes=[10**15])
    assert len(str(error.value).splitlines()) == 1


def test_the_configuration_of_a_model_builds_it_again():
    model = zoo.create("rnn", SPEC, cell="lstm", hidden_size=4)
    assert model.training
    config = json.loads(json.dumps(model.config))
    assert config == model.config
    again = zoo.create(config["name"], config["spec"], **config["options"])
    assert again.config == config
    assert {key: value.shape for key, value in again.state_dict().items()} == {
        key: value.shape for key, value in model.state_dict().items()
    }


def test_options_are_kept_as_plain_data():
    """Numbers of numpy and torch come out of sweeps; a checkpoint must not hold them."""
    spec = zoo.DataSpec((np.int64(1), 2, 3), torch.tensor(3), mean=np.array([0.5]), std=[np.float32(0.5)])
    model = zoo.create("mlp", spec, hidden_sizes=(np.int64(4), torch.tensor(5)), dropout=np.float64(0.25))
    assert model.config["options"] == {"hidden_sizes": [4, 5], "dropout": 0.25, "mirror": False}
    assert json.loads(json.dumps(model.config)) == model.config
    assert type(model.config["options"]["dropout"]) is float
    assert zoo.DataSpec.from_dict(model.config["spec"]) == spec


def test_a_spec_fills_in_what_is_left_out():
    spec = zoo.DataSpec([3, 4, 5], 2)
    assert (spec.shape, spec.class_names, spec.mean, spec.std) == ((3, 4, 5), ("0", "1"), (0, 0, 0), (1, 1, 1))
    assert hash(spec) == hash(zoo.DataSpec((3, 4, 5), 2))


def test_a_taken_name_is_refused():
    class Other(zoo.Model):
        pass

    with pytest.raises(ZooError, match=r"'gaussian' is taken by .*test_capability\.Gaussian"):
        zoo.register("gaussian")(Other)
    assert registry.model_class("gaussian") is Gaussian
    zoo.register("gaussian")(Gaussian)  # a notebook's cell is run again


def test_the_name_of_a_model_of_the_zoo_is_taken_before_it_is_imported(monkeypatch):
    monkeypatch.delitem(registry._CLASSES, "cnn", raising=False)
    with pytest.raises(ZooError, match=r"'cnn' is taken by zoo\.models\.cnn"):
        zoo.register("cnn")(Gaussian)
    assert "cnn" not in registry._CLASSES


# --- models from elsewhere -------------------------------------------------------------------------------------------

USERS = """
import zoo

@zoo.register("{name}")
class Mine(zoo.Model):
    def __init__(self, spec, width, depth: int = 2):
        super().__init__()
        self.spec = spec
        self.width = width
"""


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """A user's directory; what it brought is forgotten afterwards."""
    monkeypatch.setenv("ZOO_MODELS", os.pathsep.join([str(tmp_path / "first"), str(tmp_path / "second")]))
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    known, modules = dict(registry._CLASSES), set(sys.modules)
    yield tmp_path / "second"
    for name in registry._CLASSES.keys() - known.keys():
        if not registry._CLASSES[name].__module__.startswith("zoo.models."):  # these are imported once
            del registry._CLASSES[name]
    registry._CLASSES.update(known)
    for name in sys.modules.keys() - modules:
        if name.startswith("zoo_user_models."):
            del sys.modules[name]


def test_a_users_file_is_found(directory):
    (directory / "mine.py").write_text(USERS.format(name="mine"))
    (directory / "_helper.py").write_text("raise RuntimeError('not a model')")
    assert "mine" in zoo.list_models()
    assert "_helper" not in zoo.list_models()
    model = zoo.create("mine", SPEC, width=3)
    assert type(model).__name__ == "Mine"
    assert model.width == 3
    assert model.config["options"] == {"width": 3, "depth": 2}


def test_a_users_model_comes_back(directory, tmp_path):
    (directory / "mine.py").write_text(USERS.format(name="mine"))
    folder = zoo.save(zoo.create("mine", SPEC, width=3), tmp_path / "release")
    del registry._CLASSES["mine"]
    assert zoo.load(folder).width == 3


def test_an_option_without_default_must_be_given(directory):
    (directory / "mine.py").write_text(USERS.format(name="mine"))
    with pytest.raises(ZooError, match="model 'mine' has no default for width: a value must be given"):
        zoo.create("mine", SPEC)


def test_a_users_file_does_not_replace_a_model_of_the_zoo(directory, monkeypatch):
    monkeypatch.delitem(registry._CLASSES, "mlp", raising=False)
    monkeypatch.delitem(sys.modules, "zoo.models.mlp", raising=False)
    (directory / "mlp.py").write_text("raise RuntimeError('must not be imported')")
    assert zoo.list_models().count("mlp") == 1
    assert type(zoo.create("mlp", SPEC, hidden_sizes=[4])).__module__ == "zoo.models.mlp"


@pytest.mark.parametrize("content", ["", "import torch\n", USERS.format(name="other")])
def test_a_users_file_without_its_model(directory, content):
    (directory / "mine.py").write_text(content)
    with pytest.raises(ZooError, match=r'mine\.py defines no class decorated with @register\("mine"\)'):
        zoo.create("mine", SPEC)


def test_a_mistake_in_a_users_file_is_named(directory):
    (directory / "mine.py").write_text("import nothing_of_that_name\n")
    with pytest.raises(ZooError, match=r"mine\.py .*ModuleNotFoundError in line 1: .*nothing_of_that_name"):
        zoo.create("mine", SPEC)
    assert "zoo_user_models.mine" not in sys.modules  # nothing half-imported is left behind


def test_a_users_directory_that_does_not_exist(directory, monkeypatch):
    monkeypatch.setenv("ZOO_MODELS", str(directory / "typo"))
    with pytest.raises(ZooError, match=r"ZOO_MODELS names .*typo.*, which is no directory"):
        zoo.list_models()


# --- what densities with hidden pixels are asked ---------------------------------------------------------------------


def test_hidden_pixels_are_integrated_out_where_the_model_can(gaussian, x, observed):
    bayes = zoo.create("naive_bayes", SPEC, emission="gaussian")
    everything = torch.ones_like(observed)
    torch.testing.assert_close(zoo.log_prob(bayes, x, observed=everything), zoo.log_prob(bayes, x))
    labels = torch.arange(7) % 3
    given = zoo.log_prob(bayes, hide(x, observed), labels, observed)
    assert torch.equal(given, bayes.log_prob(x, labels, observed).detach())
    nothing = torch.zeros(1, dtype=torch.bool)
    torch.testing.assert_close(zoo.log_prob(bayes, x, observed=nothing), torch.zeros(7))
    with pytest.raises(ZooError, match="integrate hidden pixels out"):
        zoo.log_prob(gaussian, x, observed=observed)


def test_the_mean_completion(gaussian, x, observed):
    bayes = zoo.create("naive_bayes", SPEC, emission="gaussian")
    mean = zoo.impute(bayes, hide(x, observed), observed, mean=True)
    assert mean.shape == (1, *x.shape)
    assert torch.equal(mean[0][observed], x[observed])
    assert torch.allclose(mean[0][~observed], torch.tensor(0.5))
    with pytest.raises(ZooError, match="conditional mean"):
        zoo.impute(gaussian, x, observed, mean=True)


@pytest.mark.parametrize("labels", [[0, 1, -1], [0, 1, 3], [0, 1], [0.0, 1.0, 2.0]], ids=str)
@pytest.mark.parametrize("question", ["log_prob", "sample", "interpolate"])
def test_labels_that_are_no_class_are_refused(question, labels):
    """A hidden class, which training sums over, among them."""
    ask = {
        "log_prob": lambda model, labels: zoo.log_prob(model, torch.rand(3, *SPEC.shape), labels),
        "sample": lambda model, labels: zoo.sample(model, 3, labels),
        "interpolate": lambda model, labels: zoo.interpolate(model, 3, labels=labels),
    }[question]
    for name, options in (("naive_bayes", {}), ("vae", {"conditional": True}), ("dcgan", {"conditional": True})):
        model = zoo.create(name, zoo.DataSpec((1, 2, 3), 3), **options)
        if support(model, question) != "no":
            with pytest.raises(ZooError, match="labels must be 3 whole numbers from 0 to 2"):
                ask(model, torch.tensor(labels))
