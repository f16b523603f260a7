"""Temperature scaling: classifiers whose calibration is known."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import run_train
from scipy.optimize import minimize_scalar

import zoo
from zoo.data.splits import load_splits
from zoo.errors import DataError
from zoo.metrics.calibration import (
    COLDEST,
    HOTTEST,
    brier,
    calibration_error,
    error_of_gain,
    gaps,
    reliability,
    scaled,
    temperature,
)
from zoo.metrics.classification import summarize

pytestmark = pytest.mark.usefixtures("one_thread")


def calibrated(n=100_000, classes=5, seed=0):
    """Logits, and labels that are drawn with just the probabilities that they promise."""
    generator = torch.Generator().manual_seed(seed)
    logits = 1.5 * torch.randn(n, classes, generator=generator).double()
    return logits, torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]


def test_a_calibrated_classifier_is_left_alone():
    logits, labels = calibrated()
    log_proba = logits.log_softmax(1)
    assert summarize(log_proba, labels)["ece"] < 0.008
    assert temperature(log_proba, labels) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("factor", [0.02, 0.4, 3.0, 500.0])
def test_a_known_temperature_is_recovered(factor):
    """Logits times T have the temperature T, and are calibrated once divided by it."""
    logits, labels = calibrated()
    wrong = (factor * logits).log_softmax(1)
    assert summarize(wrong, labels)["ece"] > 0.05
    heat = temperature(wrong, labels)
    assert heat == pytest.approx(factor, rel=0.03)
    repaired = scaled(wrong, heat)
    assert summarize(repaired, labels)["ece"] < 0.008
    assert torch.equal(repaired.argmax(1), wrong.argmax(1))
    torch.testing.assert_close(repaired.logsumexp(1), torch.zeros(len(labels)).double())
    if factor > 0.1:  # a stretched one has been recovered from above, on images that it was not fitted to as well
        others, truth = calibrated(seed=1)
        assert summarize(scaled((factor * others).log_softmax(1), heat), truth)["ece"] < 0.008


def test_temperature_is_the_minimum():
    """Against SciPy's bounded search of the same function."""
    logits, labels = calibrated(2000, seed=3)
    log_proba = (2.7 * logits + torch.linspace(0, 1, 5)).log_softmax(1)

    def nll(log_heat):
        return float(F.nll_loss((log_proba / math.exp(log_heat)).log_softmax(1), labels))

    wanted = minimize_scalar(nll, bounds=(-3, 5), method="bounded", options={"xatol": 1e-10}).x
    assert math.log(temperature(log_proba, labels)) == pytest.approx(wanted, abs=1e-5)
    assert math.log(temperature(log_proba.float(), labels)) == pytest.approx(wanted, abs=1e-4)
    shifted = log_proba + torch.randn(2000, 1, generator=torch.Generator().manual_seed(0)).double()
    assert math.log(temperature(shifted, labels)) == pytest.approx(wanted, abs=1e-5)  # logits do as well


def test_without_a_minimum():
    sure = torch.tensor([[-0.1, -3.0], [-3.0, -0.1]])
    assert temperature(sure, torch.tensor([0, 1])) == pytest.approx(COLDEST)  # always right: as sure as can be
    assert temperature(sure, torch.tensor([1, 0])) == pytest.approx(HOTTEST)  # always wrong: know nothing
    with pytest.raises(DataError, match="there is none"):
        temperature(sure[:0], torch.zeros(0, dtype=torch.long))


def test_impossible_classes_and_thousands_of_nats():
    """log 0, and a naive Bayes' certainty, give numbers and no NaN."""
    log_proba = torch.tensor([[0.0, -math.inf, -4000.0], [-math.inf, 0.0, -2500.0], [-700.0, 0.0, -math.inf]])
    labels = torch.tensor([0, 1, 0])
    heat = temperature(log_proba, labels)
    assert 1 < heat < HOTTEST
    assert np.isfinite(summarize(scaled(log_proba, heat), labels)["nll"])
    assert scaled(log_proba, heat)[0, 1] < -1e20


def test_calibration_error_of_gaps():
    """The expected calibration error; of adaptive bins that of NumPy's equal parts of the sorted images."""
    logits, labels = calibrated(n=1500)
    log_proba = (2 * logits).log_softmax(1)
    confidence, right, count = reliability(log_proba, labels)
    filled = count > 0
    by_bins = ((confidence - right).abs() * count)[filled].sum() / count.sum()
    assert calibration_error(gaps(log_proba, labels)) == pytest.approx(float(by_bins))
    confidence, predicted = log_proba.exp().max(1)
    excess = (confidence - (predicted == labels).double()).numpy()[confidence.argsort().numpy()]
    wanted = sum(abs(part.mean()) * len(part) for part in np.split(excess, 15)) / 1500
    adaptive = gaps(log_proba, labels, adaptive=True)
    assert calibration_error(adaptive) == pytest.approx(wanted)
    assert (adaptive.count_nonzero(0) == 100).all()


def test_error_of_gain_is_the_spread_over_images_drawn_anew():
    spread = []
    for seed in range(200):
        logits, labels = calibrated(n=500, seed=seed)
        parts = [gaps((factor * logits).log_softmax(1), labels) for factor in (3, 1)]
        spread.append(calibration_error(parts[0]) - calibration_error(parts[1]))
        if seed == 0:
            said = error_of_gain(*parts, torch.Generator().manual_seed(0))
            again = error_of_gain(*parts, torch.Generator().manual_seed(0))
            same = error_of_gain(parts[0], parts[0], torch.Generator().manual_seed(0))
    assert said == pytest.approx(np.std(spread), rel=0.25)
    assert (said, 0.0) == (again, same)


def test_brier():
    log_proba = torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]]).log()
    assert brier(log_proba, torch.tensor([1, 0])).tolist() == pytest.approx([0.04 + 0.49 + 0.25, 0])


def test_bins_of_equal_count_do_not_depend_on_the_order():
    """Nor do they part images that are equally sure: 2,000 with confidence 0.9, of which 90 % are right."""
    log_proba = torch.tensor([[0.9, 0.1]]).log().expand(2000, 2)
    labels = (torch.arange(2000) < 200).long()
    assert calibration_error(gaps(log_proba, labels, adaptive=True)) == pytest.approx(0, abs=1e-6)
    generator = torch.Generator().manual_seed(0)
    log_proba = torch.randn(500, 10, generator=generator).log_softmax(1).round(decimals=1)
    labels, order = torch.randint(10, (500,), generator=generator), torch.randperm(500, generator=generator)
    shuffled = gaps(log_proba[order], labels[order], adaptive=True)
    assert calibration_error(shuffled) == pytest.approx(calibration_error(gaps(log_proba, labels, adaptive=True)))


# In training

SHORT = ("data=digits", "trainer=cpu", "trainer.max_epochs=4", "logger=none", "data.augment.shift=0")


@pytest.mark.parametrize("words", [(), ("learner.ema=0.9",)], ids=["weights", "averaged weights"])
def test_a_training_calibrates_what_it_keeps(tmp_path, words):
    """The temperature is the one that suits the validation images; all else is as without it."""
    run = run_train(tmp_path / "runs", "model=mlp", *SHORT, *words, "learner.calibrate=true")
    plain = zoo.load(run_train(tmp_path / "plain", "model=mlp", *SHORT, *words))
    model, val = zoo.load(run), load_splits("digits", val_size=200).val
    logits = model(val.x())
    torch.testing.assert_close(logits, plain(val.x()), rtol=0, atol=0)
    assert float(plain.temperature) == 1
    assert float(model.temperature) == pytest.approx(_with_doubt(logits.detach().double(), val.labels), rel=1e-3)
    assert abs(float(model.temperature) - 1) > 0.05
    better, worse = (summarize(each.classify(val.x()).detach(), val.labels) for each in (model, plain))
    assert better["accuracy"] == worse["accuracy"]
    assert better["nll"] < worse["nll"]
    copy = zoo.save(model, tmp_path / "copy")
    assert torch.equal(zoo.load(copy).classify(val.x()), model.classify(val.x()))


def _with_doubt(logits, labels):
    """The temperature of least loss where a label is right but for a probability of 1 / (N + 1) (Platt 1999)."""
    doubt = 1 / (len(labels) + 1)

    def loss(log_temperature):
        log_p = (logits / math.exp(log_temperature)).log_softmax(1)
        return -float((1 - doubt) * log_p.gather(1, labels[:, None]).mean() + doubt * log_p.mean())

    return math.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-6}).x)


def test_a_linear_models_coefficients_are_those_of_its_probabilities():
    model = zoo.create("logistic_regression")
    torch.nn.init.normal_(model.head.weight)
    model.temperature.fill_(3.0)
    x = torch.rand(5, *model.spec.shape)
    logits = model.normalize(x).flatten(1) @ model.coefficients().T + model.offsets()
    torch.testing.assert_close(model.eval().classify(x), logits.log_softmax(1))


def test_a_temperature_needs_validation_images(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        run_train(tmp_path / "runs", "model=mlp", *SHORT, "data.val_size=0", "learner.calibrate=true")
    assert end.value.code == 2
    assert "set data.val_size" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_file_of_before_temperatures_is_read():
    """The released ones are, and their probabilities are what they were; a machine of margins had one all along."""
    state = zoo.create("cnn").state_dict()
    assert "temperature" not in state
    model = zoo.create("cnn")
    model.calibrate(torch.randn(50, 10), torch.arange(50) % 10)
    assert "temperature" in model.state_dict()
    again = zoo.create("cnn")
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.temperature, model.temperature)
    assert "temperature" in again.state_dict()
    model.load_state_dict(state)
    assert float(model.temperature) == 1
    assert "temperature" not in model.state_dict()
    svm = zoo.create("svm", num_features=4)
    with pytest.raises(RuntimeError, match="temperature"):
        svm.load_state_dict({key: value for key, value in svm.state_dict().items() if key != "temperature"})
