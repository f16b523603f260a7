"""Anomaly scores of models against what they are by definition; scripts/detect.py as a user meets it."""

import contextlib
import dataclasses
import io
import json
import lzma
import math
import runpy
import sys
import zlib
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import reviews
import torch
from conftest import ROOT, command, run_train
from PIL import Image
from scipy.spatial.distance import mahalanobis
from sklearn.metrics import average_precision_score, roc_auc_score

import zoo
from zoo import checkpoint
from zoo.base.model import Model
from zoo.data.splits import Split, Splits, load_splits
from zoo.errors import DataError, ZooError
from zoo.metrics.detection import p_values, threshold
from zoo.registry import load_with_source
from zoo.spec import DataSpec, Likelihood
from zoo.tasks.detect import (
    CODES,
    code_length,
    codes,
    compare,
    fit,
    fit_gaussians,
    held_out,
    judge,
    paeth,
    score_names,
    shortest_code,
)
from zoo.tasks.evaluate import splits_for

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = ("data=digits", "logger=none", "trainer.max_epochs=1")
SPEC = DataSpec((1, 4, 4), 3)


def images(n: int, seed: int = 0, shape: tuple[int, ...] = (1, 4, 4)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, *shape), generator=generator, dtype=torch.uint8)


def split(n: int, seed: int = 0) -> Split:
    return Split(images(n, seed), torch.arange(n) % 3)


def gaussian(mean: float, variance: float) -> Model:
    """One spherical Gaussian over 16 pixels."""
    model = zoo.create("gmm", SPEC, num_components=1, covariance="spherical", pca=0, per_class=False).eval()
    with torch.no_grad():
        model.mean.fill_(mean)
        model.covariance.log_variance.fill_(math.log(variance))
    return model


def log_density(x: np.ndarray, mean: float, variance: float) -> np.ndarray:
    return -((x - mean) ** 2 / (2 * variance) + np.log(2 * np.pi * variance) / 2).sum(1)


def test_scores_of_a_gaussian():
    """Every score of a density, in closed form."""
    model, background = gaussian(0.3, 0.05), gaussian(0.5, 0.2)
    train, asked = split(30), images(12, 1)
    detector = fit(model, train, background=background)
    scores = detector(asked)
    x, known = (part.flatten(1).numpy() / 255 for part in (asked, train.images))
    surprise = -log_density(x, 0.3, 0.05)
    np.testing.assert_allclose(scores["log_prob"], surprise, rtol=1e-5)
    typical = -log_density(known, 0.3, 0.05).mean()
    np.testing.assert_allclose(scores["typicality"], np.abs(surprise - typical), rtol=1e-3, atol=1e-3)
    ratio = log_density(x, 0.5, 0.2) - log_density(x, 0.3, 0.05)
    np.testing.assert_allclose(scores["likelihood_ratio"], ratio, rtol=1e-4, atol=1e-4)
    lengths = code_length(asked, Likelihood("exact", "discrete"), shortest_code(train.images, model.density)).numpy()
    np.testing.assert_allclose(scores["complexity"], surprise + 16 * np.log(255) - lengths, rtol=1e-5)
    np.testing.assert_allclose(scores["reconstruction"], ((x - 0.3) ** 2).sum(1), rtol=1e-4)
    assert all(values.dtype == torch.float64 for values in scores.values())
    assert tuple(scores) == score_names(model, background)


def test_names():
    """Those that a model has, and no other; what is to be relied on comes first."""
    assert score_names(zoo.create("lenet", DataSpec())) == (
        "combined", "max_softmax", "entropy", "energy", "mahalanobis",
    )  # fmt: skip
    assert score_names(zoo.create("dcgan", DataSpec()))[0] == "native"
    alone = score_names(zoo.create("svm", DataSpec()))
    assert not {"mahalanobis", "combined"} & {*alone}  # of 16,384 random features
    assert alone[0] == "energy"
    assert score_names(gaussian(0, 1)) == (
        "combined", "log_prob", "typicality", "complexity", "reconstruction", "mahalanobis",
    )  # fmt: skip
    assert score_names(gaussian(0, 1), gaussian(0, 2))[0] == "likelihood_ratio"
    assert score_names(zoo.create("vae", DataSpec(), likelihood="continuous_bernoulli"))[0] == "typicality"
    assert "complexity" not in score_names(zoo.create("vae", DataSpec(), likelihood="continuous_bernoulli"))
    assert "complexity" in score_names(zoo.create("vae", DataSpec()))


@pytest.mark.parametrize("name", zoo.list_models())
def test_every_model(name):
    """Every registered model is scored by all that it says it has, native or derived; the global stream stays."""
    data = load_splits("grammar" if name == "nbsvm" else "digits", val_size=50)
    model = zoo.create(name, data.spec).eval()
    names = score_names(model)
    state = torch.get_rng_state()
    scores = fit(model, data.train.take(torch.arange(40)))(data.test.images[:3])
    assert tuple(scores) == names
    assert all(values.shape == (3,) and not values.isnan().any() for values in scores.values())
    assert torch.equal(state, torch.get_rng_state())


def test_combined_is_fishers_statistic():
    """Against p-values by counting, of held-out images; the strangest of both scores is the strangest of all."""
    train, usual, asked = split(30), images(40, 5), images(12, 1)
    detector = fit(gaussian(0.3, 0.05), train, ["combined", "typicality", "complexity"], calibration=usual)
    scores, known = detector(asked), detector(usual)
    p = [
        (1 + (known[name][:, None] >= scores[name]).sum(0).double()) / (len(usual) + 1)
        for name in ("typicality", "complexity")
    ]
    torch.testing.assert_close(scores["combined"], -p[0].log() - p[1].log())


def blanks_and_noise() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (20, 1, 28, 28)
    return {
        "uniform": torch.randint(256, shape, generator=generator).byte(),
        "gaussian": (128 + 40 * torch.randn(shape, generator=generator)).clamp(0, 255).byte(),
        "black and white": (torch.rand(shape, generator=generator) < 0.5).byte() * 255,
        "sparse": (torch.rand(shape, generator=generator) < 0.1).byte() * 255,
        "grey": torch.full(shape, 128, dtype=torch.uint8),
        "black": torch.zeros(shape, dtype=torch.uint8),
    }


@pytest.mark.parametrize("kind", blanks_and_noise())
@pytest.mark.parametrize("name", ["cnn", "gmm"])
def test_noise_is_not_normal(name, kind, noticing):
    """What some scores of these very models take for normal, the default one finds strange."""
    detector, limit = noticing[name]
    assert (detector(blanks_and_noise()[kind])[detector.names[0]] > limit).double().mean() >= 0.9


@pytest.fixture(scope="module")
def noticing():
    """Detectors with the default score, and their thresholds: of the released CNN, and of a mixture."""
    mnist = load_splits("mnist", val_size=1000, train_size=2000)
    torch.manual_seed(0)
    gmm = zoo.create("gmm", mnist.spec, num_components=1)
    with torch.no_grad():
        gmm.initialize([(mnist.train.x(), mnist.train.labels)], torch.Generator().manual_seed(0))
    detectors = {}
    for name, model in (("cnn", zoo.load(ROOT / "pretrained" / "cnn-mnist")), ("gmm", gmm.eval())):
        detector = fit(model, mnist.train, score_names(model)[:1], calibration=mnist.val.images)
        detectors[name] = detector, threshold(detector(mnist.val.images)[detector.names[0]], 0.05)
    return detectors


def test_mahalanobis():
    """Against SciPy's distance from each class mean, with the covariance of NumPy."""
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 40)
    features = generator.normal(size=(120, 4)) @ generator.normal(size=(4, 4)) + 5 * labels[:, None]
    asked = generator.normal(size=(7, 4)) * 6
    means = np.stack([features[labels == label].mean(0) for label in range(3)])
    covariance = np.cov((features - means[labels]).T, bias=True)
    inverse = np.linalg.inv(covariance)
    wanted = [min(mahalanobis(row, mean, inverse) ** 2 for mean in means) for row in asked]
    fitted = fit_gaussians(torch.from_numpy(features), torch.from_numpy(labels))
    np.testing.assert_allclose(fitted.distance(torch.from_numpy(asked)), wanted, rtol=1e-3)
    # a feature that never changes, and a class without images
    constant = np.c_[features, np.full(120, 3.0)]
    fitted = fit_gaussians(torch.from_numpy(constant), torch.from_numpy(labels + (labels > 0)))
    asked = torch.from_numpy(np.c_[asked, np.full(7, 3.0)])
    np.testing.assert_allclose(fitted.distance(asked), wanted, rtol=1e-3)
    asked[:, 4] += 1
    assert (fitted.distance(asked) > 1e4).all()


@pytest.mark.parametrize("code", CODES)
def test_code_length(code):
    """In nats; of the values that the likelihood is of; more for noise than for a blank image."""
    blank, noise = torch.zeros(1, 1, 28, 28, dtype=torch.uint8), images(1, 0, (1, 28, 28))
    both = torch.cat([blank, noise])
    levels = code_length(both, Likelihood("exact", "discrete"), code)
    assert levels[0] < 20 * 8 * math.log(2)
    assert 784 * math.log(256) < levels[1] < 1.06 * 784 * math.log(256)  # no code beats the entropy of noise
    coded = paeth(both.numpy()) if code == "lzma-paeth" else both.numpy()
    data = CODES[code](coded[1].tobytes())
    assert float(levels[1]) == pytest.approx(8 * len(data) * math.log(2))
    unpack = partial(zlib.decompress, wbits=-15) if code == "deflate" else unpacked_by_lzma
    assert unpack(data) == coded[1].tobytes()


def test_code_length_of_binary_pixels():
    blank, noise = torch.zeros(1, 1, 28, 28, dtype=torch.uint8), images(1, 0, (1, 28, 28))
    density = Likelihood("exact", "binary", 0.5)
    assert codes(density) == ("deflate", "lzma")  # a byte has eight pixels, and no neighbour
    binary = code_length(torch.cat([blank, noise]), density, "lzma")
    assert 784 * math.log(2) < binary[1] < 1.15 * 784 * math.log(2)
    faint = noise // 3  # below the threshold: blank to a likelihood of binary pixels
    assert code_length(faint, density, "lzma")[0] == binary[0]
    assert code_length(noise, Likelihood("lower bound", "binarised"), "lzma")[0] > 700 * math.log(2)
    with pytest.raises(ZooError, match="continuous"):
        codes(Likelihood("lower bound", "continuous"))


def test_one_code_for_all_images_the_shortest_for_training_images():
    """On average: it is no matter which is the shortest for one of them, or for what is to be judged."""
    generator = torch.Generator().manual_seed(0)
    slopes = torch.randint(1, 8, (30, 1, 28, 1), generator=generator).cumsum(2)
    ramps = (slopes + 11 * torch.arange(28)).byte()
    noise = images(30, 0, (1, 28, 28))
    sparse = torch.where(noise < 20, noise, 0).byte()
    density = Likelihood("exact", "discrete")
    for pictures, expected in ((ramps, "lzma-paeth"), (sparse, "deflate")):
        lengths = {code: float(code_length(pictures, density, code).mean()) for code in codes(density)}
        assert shortest_code(pictures, density) == min(lengths, key=lengths.get) == expected
    assert shortest_code(torch.cat([ramps, sparse[:1]]), density) == "lzma-paeth"
    model = zoo.create("gmm", DataSpec((1, 28, 28), 1), pca=0, covariance="spherical", per_class=False).eval()
    detector = fit(model, Split(ramps, torch.zeros(30, dtype=torch.long)), ["complexity"])
    assert detector.code == "lzma-paeth"
    surprise = -zoo.log_prob(model, sparse).double()
    wanted = surprise + 784 * math.log(255) - code_length(sparse, model.density, "lzma-paeth")
    torch.testing.assert_close(detector(sparse)["complexity"], wanted, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 6, 5), (3, 4, 4), (1, 1, 7)])
def test_the_filter_is_that_of_png(shape):
    """Against the standard's words, pixel by pixel; beyond the edges there are zeros."""
    pictures = images(3, 4, shape)
    for picture, left in zip(pictures.tolist(), paeth(pictures.numpy()).tolist(), strict=True):
        for channel, rows in enumerate(picture):
            for y, row in enumerate(rows):
                for x, value in enumerate(row):
                    a = row[x - 1] if x else 0
                    b = rows[y - 1][x] if y else 0
                    c = rows[y - 1][x - 1] if x and y else 0
                    nearest = min((a, b, c), key=lambda each: abs(a + b - c - each))  # the first of equal ones
                    assert left[channel][y][x] == (value - nearest) % 256


def unpacked_by_lzma(data: bytes) -> bytes:
    method = {"id": lzma.FILTER_LZMA1, "dict_size": 4096, "lc": 0, "lp": 0, "pb": 0}
    return lzma.decompress(data, lzma.FORMAT_RAW, filters=[method])


def test_complexity_is_calibrated_in_units():
    """Of a density of numbers in [0, 1], too: what a code of the levels costs more than the entropy is what is left."""
    model = zoo.create("gmm", DataSpec(), num_components=1, covariance="spherical", pca=0, per_class=False).eval()
    with torch.no_grad():
        model.mean.fill_(0.5)
        model.covariance.log_variance.fill_(math.log(1 / 12))  # a uniform variable's variance
    noise = images(4, 0, (1, 28, 28))
    score = fit(model, Split(noise, torch.zeros(4, dtype=torch.long)), ["complexity"])(noise)["complexity"]
    # a Gaussian codes a uniform variable with log √(2πe/12) = 0.176 nats a pixel too many, zlib with 11 bytes in all
    assert score.mean() / 784 == pytest.approx(0.176 - 88 * math.log(2) / 784, abs=0.03)


def test_fit_sees_training_images_alone():
    """The same scores whatever else is asked, also in another order or one image at a time."""
    model, asked = gaussian(0.4, 0.1), images(6, 2)
    detector = fit(model, split(50))
    both, single = detector(torch.cat([asked, images(20, 3)])), [detector(one[None]) for one in asked]
    for name in detector.names:
        torch.testing.assert_close(both[name][:6], torch.cat([one[name] for one in single]))


def test_compare():
    """Argument order: normal images first; bright images are strange to a model of dark ones."""
    dark, bright = images(80, 0) // 2, images(60, 1) // 2 + 127
    detector = fit(gaussian(0.25, 0.02), Split(dark, torch.zeros(80, dtype=torch.long)), ["log_prob"])
    row = compare(detector, dark, bright, torch.Generator().manual_seed(0))["log_prob"]
    assert row["auroc"] == row["aupr"] == 1
    assert row["fpr95"] == 0
    assert 0.9 < row["auroc_interval"][0] < 1
    turned = compare(detector, bright, dark, torch.Generator().manual_seed(0))["log_prob"]
    assert turned["auroc"] == 0
    assert turned["fpr95"] == 1


def test_held_out():
    """Validation images; where there are none, half of the test images, which are then not tested."""
    data = load_splits("digits", val_size=100)
    assert held_out(data) == (data.val, data.test)
    bare = Splits(data.train, data.train.take(torch.arange(0)), data.test, data.spec, "")
    calibration, test = held_out(bare)
    assert len(calibration) == len(data.test) // 2
    assert len(calibration) + len(test) == len(data.test)
    assert int(calibration.labels.bincount().min()) > 10  # stratified
    total = sum(part.images.double().sum() for part in (calibration, test))
    assert total == data.test.images.double().sum()


def test_judge(tmp_path):
    """The threshold and p-values of the calibration images, and pictures read as the spec says."""
    model, calibration = gaussian(0.3, 0.05), images(99, 5)
    detector = fit(model, split(50), ["log_prob"])
    Image.fromarray(np.full((4, 4), 76, np.uint8)).save(tmp_path / "normal.png")
    Image.fromarray(np.full((4, 4), 255, np.uint8)).save(tmp_path / "strange.png")
    paths = [tmp_path / "normal.png", tmp_path / "strange.png"]
    answer = judge(detector, calibration, paths, alarm=0.1, invert="never")
    known = detector(calibration)["log_prob"]
    assert [row["anomaly"] for row in answer] == [False, True]
    assert [row["file"] for row in answer] == [str(path) for path in paths]
    assert answer[0]["threshold"] == answer[1]["threshold"] == threshold(known, 0.1)
    scores = torch.tensor([row["score"] for row in answer])
    assert [row["p_value"] for row in answer] == p_values(known, scores).tolist()
    assert answer[1]["p_value"] == 0.01
    assert judge(detector, calibration, paths, 0.1, invert="always")[1]["score"] < answer[1]["score"]  # black is nearer
    with pytest.raises(ZooError, match="needs 999 normal examples"):
        judge(detector, calibration, paths, alarm=0.001)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fit(gaussian(0, 1), split(9), ["energy"]), "no score 'energy'; it has combined, log_prob"),
        (lambda: fit(gaussian(0, 1), split(9), ["likelihood_ratio"]), "needs a background"),
        (lambda: fit(gaussian(0, 1), split(0)), "no training image"),
        (lambda: fit(gaussian(0, 1), Split(images(3, 0, (1, 5, 5)), torch.zeros(3).long()), ["typicality"]), "1×5×5"),
        (lambda: score_names(gaussian(0, 1), zoo.create("lenet", DataSpec())), "background tells no log p"),
        (lambda: score_names(zoo.create("lenet", DataSpec()), gaussian(0, 1)), "model tells no log p"),
        (lambda: score_names(gaussian(0, 1), zoo.create("naive_bayes", SPEC)), "dequantised.*binary.*same kind"),
        (lambda: score_names(gaussian(0, 1), zoo.create("gmm", DataSpec())), "images of shape"),
    ],
)
def test_errors(call, words):
    with pytest.raises(ZooError, match=words):
        call()


# The command


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return run_train(tmp_path_factory.mktemp("runs"), "model=gmm", "model.per_class=false", *TINY, "data.val_size=200",
                     "learner.monitor=val/log_likelihood")  # fmt: skip


def detect(*words: str) -> str:
    """The command in this process; what it prints."""
    with mock.patch.object(sys, "argv", ["detect.py", *words]), contextlib.redirect_stdout(io.StringIO()) as said:
        runpy.run_path(str(ROOT / "scripts" / "detect.py"), run_name="__main__")
    return said.getvalue()


def refused(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as end:
        detect(*words)
    assert end.value.code == 2
    return capsys.readouterr().err


def test_command_pictures(run, tmp_path):
    """As typed: a digit is normal, noise is not."""
    Image.fromarray(load_splits("digits").test.images[0, 0].numpy()).save(tmp_path / "digit.png")
    Image.fromarray(images(1, 0, (28, 28))[0].numpy()).save(tmp_path / "noise.png")
    words = (f"ckpt={run}", "digit.png", "noise.png", "alarm=0.1", "invert=never", "json=out.json")
    result = command("scripts/detect.py", *words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    rows = [line for line in result.stdout.splitlines() if ".png" in line]
    assert [row.split()[-2] for row in rows] == ["normal", "anomaly"]
    assert "combined above" in result.stdout
    assert "200 validation images" in result.stdout
    told = json.loads((tmp_path / "out.json").read_text())
    assert told["code"] == "lzma-paeth"  # one of the two that are combined goes by it
    pictures = told["pictures"]
    assert pictures[1]["p_value"] == pytest.approx(1 / 201)


def test_command_against(run, tmp_path):
    """All scores of the model, on a folder of pictures without classes; of both sources as many as are asked for."""
    (tmp_path / "noise").mkdir()
    for number, picture in enumerate(images(20, 0, (1, 28, 28))):
        Image.fromarray(picture[0].numpy()).save(tmp_path / "noise" / f"{number}.png")
    words = (f"ckpt={run}", "against=image_folder", f"path={tmp_path / 'noise'}", "images=100")
    said = detect(*words, f"background={run}", f"json={tmp_path / 'out.json'}")
    assert "100 test images against 20 of image_folder" in said
    assert "its length by lzma-paeth, of 3 codes the one by which training images are the shortest" in said
    told = json.loads((tmp_path / "out.json").read_text())
    assert told["code"] == "lzma-paeth"
    scores = told["scores"]
    assert list(scores) == [
        "likelihood_ratio", "combined", "log_prob", "typicality", "complexity", "reconstruction", "mahalanobis",
    ]  # fmt: skip
    assert scores["log_prob"]["auroc"] == 1
    assert scores["likelihood_ratio"]["auroc"] == 0.5  # the model is its own background: all ratios are 1
    low, high = scores["mahalanobis"]["auroc_interval"]
    assert low <= scores["mahalanobis"]["auroc"] <= high
    assert all(name in said for name in scores)
    words = (f"ckpt={run}", "against=image_folder", f"path={tmp_path / 'noise'}", "images=15", "score=log_prob")
    assert "15 test images against 15 of image_folder" in detect(*words)


def test_command_released(tmp_path, capsys):
    """A released model does not say what it was trained on: the user does, and test images set the threshold."""
    model = zoo.create("naive_bayes", load_splits("digits").spec)
    checkpoint.save(model, tmp_path / "released")
    Image.fromarray(np.full((28, 28), 9, np.uint8)).save(tmp_path / "picture.png")
    words = (f"ckpt={tmp_path / 'released'}", str(tmp_path / "picture.png"))
    assert "give data=" in refused(capsys, *words)
    assert "179 test images" in detect(*words, "data=digits", "score=max_softmax")


def test_command_errors(run, tmp_path, capsys):
    assert "needs the folder" in refused(capsys, f"ckpt={run}", "against=image_folder")
    assert "name either files, or against=" in refused(capsys, f"ckpt={run}")
    assert "does not exist" in refused(capsys, f"ckpt={run}", "nowhere.png")
    assert "alarm=2.0: must be in (0, 1)" in refused(capsys, f"ckpt={run}", "nowhere.png", "alarm=2.0")
    assert "did you mean 'alarm'" in refused(capsys, f"ckpt={run}", "alarn=0.1")
    pictures = (f"ckpt={run}", "against=image_folder", f"path={ROOT / 'results'}")
    assert "no score 'beauty'" in refused(capsys, *pictures, "score=beauty")
    assert "background=…" in refused(capsys, *pictures, "score=likelihood_ratio")
    assert "alarm=0.1 is for files that are named" in refused(capsys, *pictures, "alarm=0.1")
    assert "images=5 is for against=" in refused(capsys, f"ckpt={run}", "nowhere.png", "images=5")
    assert "invert=never is for pictures" in refused(capsys, f"ckpt={run}", "against=mnist", "invert=never")
    assert "is what the model was trained on" in refused(capsys, f"ckpt={run}", "against=digits")
    assert "nowhere does not exist" in refused(capsys, f"ckpt={run}", "nowhere.png", "json=nowhere/x.json")
    assert "a whole number is needed, such as 0" in refused(capsys, f"ckpt={run}", "nowhere.png", "images=x")
    assert "needs 999 normal examples" in refused(capsys, f"ckpt={run}", str(ROOT / "results"), "alarm=0.001")
    with pytest.raises(DataError, match="the images are 3×28×28, the model was made for 1×28×28"):
        fit(zoo.load(run), load_splits("digits").train)(torch.zeros(1, 3, 28, 28, dtype=torch.uint8))


# Tables


def test_scores_of_a_table():
    """A density's own score comes first: a row that is likelier than most is none to look at. What cannot be asked
    about rows with gaps is left out; the probability of a class is one of the scores where the model has learnt it."""
    spec = DataSpec((1, 1, 3), 2, ("genuine", "fraud"), kind="table", values="real", std=(1.0,) * 3)
    model = zoo.create("gmm", spec, num_components=1, pca=0)
    assert score_names(model)[0] == "log_prob"
    assert "complexity" not in score_names(model)
    assert score_names(model, target=1)[0] == "p(fraud)"
    model.log_prior.copy_(torch.tensor([0.0, -math.inf]))  # it has seen no fraud
    assert "p(fraud)" not in score_names(model, target=1)
    with_gaps = zoo.create("gmm", dataclasses.replace(spec, missing=True), num_components=1, pca=0)
    assert {"reconstruction", "mahalanobis"} & {*score_names(model)}
    assert not {"reconstruction", "mahalanobis"} & {*score_names(with_gaps)}
    classifier = zoo.create("logistic_regression", dataclasses.replace(spec, missing=True))
    assert {"p(fraud)", "mahalanobis"} <= {*score_names(classifier, target=1)}


@pytest.fixture(scope="module")
def payments(tmp_path_factory) -> Path:
    """A made-up file of the form of the card-fraud set: components, an amount, and few frauds, which are far out."""
    path = tmp_path_factory.mktemp("payments") / "payments.csv"
    generator = np.random.default_rng(0)
    fraud = generator.random(3000) < 0.03
    values = generator.normal(size=(3000, 4)) + fraud[:, None] * generator.normal(0, 3, size=(3000, 4))
    values[:, 3] = np.exp(values[:, 3])
    rows = np.column_stack([values, fraud])
    np.savetxt(path, rows, fmt=["%.6f"] * 4 + ["%d"], delimiter=",", header="V1,V2,V3,Amount,Class", comments="")
    return path


@pytest.fixture(scope="module")
def fraud_models(payments, tmp_path_factory) -> dict[str, Path]:
    """A density of genuine payments, and classifiers that have seen both kinds."""
    words = ("data=table", f"data.path={payments}", "data.target=Class", "logger=none", "trainer.accelerator=cpu")
    options = {
        "gmm": ("model.num_components=2", "model.pca=0", "model.per_class=false", "data.train_classes=[0]"),
        "naive_bayes": ("model.emission=gaussian",),
        "logistic_regression": ("trainer.max_epochs=2",),
    }
    folder = tmp_path_factory.mktemp("runs")
    return {name: run_train(folder / name, f"model={name}", *words, *more) for name, more in options.items()}


def test_command_finds_a_class(fraud_models, tmp_path):
    """Every score on the test rows: AUROC and AUPR are scikit-learn's."""
    found = {}
    for name, run in fraud_models.items():
        said = detect(f"ckpt={run}", "anomaly=1", f"json={tmp_path / 'out.json'}")
        assert max(map(len, said.splitlines())) <= 80
        found[name] = json.loads((tmp_path / "out.json").read_text())["scores"]
        model, source = load_with_source(run)
        test = splits_for(model.spec, source).test
        labels = test.labels.numpy()
        assert f"{(labels == 0).sum()} test rows against {(labels == 1).sum()} of 1" in said
        scores = {}
        if name != "logistic_regression":
            scores["log_prob"] = -zoo.log_prob(model, test.x())
        if name != "gmm":
            log_proba = zoo.classify(model, test.x()).double()
            scores["p(1)"] = log_proba[:, 1] - log_proba[:, 0]
        for score, values in scores.items():
            assert found[name][score]["auroc"] == pytest.approx(roc_auc_score(labels, values), abs=1e-6)
            assert found[name][score]["aupr"] == pytest.approx(average_precision_score(labels, values), abs=1e-6)
            low, high = found[name][score]["auroc_interval"]
            assert low < found[name][score]["auroc"] < high
    assert "p(1)" not in found["gmm"]
    assert (
        found["gmm"]["log_prob"]["auroc"] > 0.9 > found["logistic_regression"]["p(1)"]["auroc"]
    )  # they lie all around
    assert found["naive_bayes"]["p(1)"]["auroc"] > 0.9


def test_command_tells_unusual_rows(fraud_models, payments, tmp_path, capsys):
    """The strangest first, of a user's file."""
    said = detect(f"ckpt={fraud_models['gmm']}", str(payments), f"json={tmp_path / 'out.json'}")
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert len(rows) == 3000
    strangest = sorted(rows, key=lambda row: -row["score"])
    assert said.count("anomaly │") == 20
    assert f"{strangest[19]['score']:.4g}" in said
    assert f"the strangest of 3,000 rows, {sum(row['anomaly'] for row in rows):,} of them anomalies" in said
    frauds = np.array([line.endswith(",1") for line in payments.read_text().splitlines()[1:]])
    flagged = np.array([row["anomaly"] for row in rows])
    assert flagged[frauds].mean() > 0.6
    assert flagged[~frauds].mean() < 0.08
    assert "−log p(x) above" in said
    assert "validation rows" in said
    for words, reason in (
        (("anomaly=2",), "anomaly=2 is none of the classes"),
        (("anomaly=1", "against=digits"), "name either"),
        (("anomaly=1", "alarm=0.1"), "alarm=0.1 is for"),
        (("anomaly=1", "score=p(0)"), "no score 'p(0)'"),
    ):
        assert reason in refused(capsys, f"ckpt={fraud_models['gmm']}", *words)
    other = tmp_path / "other.csv"
    other.write_text("V1,V2,V3,Sum\n1,2,3,4\n")
    assert "has no column 'Amount'" in refused(capsys, f"ckpt={fraud_models['gmm']}", str(other))


# Texts


def test_scores_of_texts():
    """A density's first score is per token. Bags of many terms are no codes, whose covariance could be told."""
    model, test = reviews.bayes(), reviews.splits().test
    names = score_names(model)
    assert names[0] == "per_token"
    assert not {"complexity", "reconstruction", "mahalanobis", "combined"} & {*names}
    assert score_names(model, target=1)[0] == "p(positive)"
    detector = fit(model, reviews.splits().train)
    scores = detector(test.images)
    log_p, tokens = zoo.log_prob(model, test.x()).double(), (test.images >= 0).flatten(1).sum(1)
    torch.testing.assert_close(scores["per_token"], -log_p / tokens)
    torch.testing.assert_close(scores["log_prob"], -log_p)
    assert "mahalanobis" in score_names(reviews.linear())
    vocabulary = tuple(str(number) for number in range(3000))
    wide = dataclasses.replace(reviews.splits().spec, shape=(1, 1, 3000), vocabulary=vocabulary, mean=(0.1,) * 3000,
                               std=(1.0,) * 3000)  # fmt: skip
    linear = zoo.create("logistic_regression", wide)
    assert "mahalanobis" not in score_names(linear)
    assert score_names(linear)[0] == "energy"


def test_command_tells_strange_texts(tmp_path, capsys):
    """Whatever is in no training text, or in those of another class alone, is stranger than what is usual."""
    words = ("model=naive_bayes", "data=grammar", "data.train_classes=[positive]", "logger=none", "trainer=cpu")
    run = run_train(tmp_path / "runs", *words)
    file = tmp_path / "texts.txt"
    file.write_text("zzzq qqqz vvvv\n\nThe soup was really good. We loved it!\nWe had the cake.\n")
    said = detect(f"ckpt={run}", str(file), f"json={tmp_path / 'out.json'}")
    assert max(map(len, said.splitlines()[2:-1])) <= 80
    assert "−log p(x) per word above" in said
    assert "validation texts" in said
    rows = json.loads((tmp_path / "out.json").read_text())["texts"]
    assert [row["file"] for row in rows] == [f"{file}:{line}" for line in (1, 3, 4)]
    assert [row["anomaly"] for row in rows] == [True, False, False]
    assert rows[2]["text"] == "we had the cake ."
    assert said.index("… … …") < min(said.index("the soup was"), said.index("we had the cake"))  # the strangest first
    detect(f"ckpt={run}", "anomaly=negative", f"json={tmp_path / 'out.json'}")
    scores = json.loads((tmp_path / "out.json").read_text())["scores"]
    assert next(iter(scores)) == "per_token"
    assert scores["per_token"]["auroc"] > 0.65
    assert "of rows and texts anomaly=… names a class" in refused(capsys, f"ckpt={run}", "against=digits")
