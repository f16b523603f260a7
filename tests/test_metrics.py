"""Sample quality: each figure against its formula, the shipped extractors, what models are told of their samples."""

import json
import math
import runpy
import sys
from dataclasses import fields, replace
from unittest import mock

import numpy as np
import pytest
import scipy.linalg
import torch
from conftest import ROOT, run_train
from torchmetrics.image.kid import poly_mmd

import zoo
from zoo.data.splits import Split, load_splits
from zoo.metrics import kernel, neighbours
from zoo.metrics.frechet import frechet_distance, moments
from zoo.metrics.kernel import kernel_distance
from zoo.metrics.modes import class_divergence, class_shares, modes_covered
from zoo.metrics.neighbours import copies, density_coverage, nearest_two, precision_recall, radii
from zoo.tasks import sample_quality
from zoo.tasks.evaluate import evaluate as predicted
from zoo.tasks.sample_quality import evaluate_samples, extractor, sample_metrics

pytestmark = pytest.mark.usefixtures("one_thread")


def normal(n: int, d: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    """Correlated normal features."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=generator) / math.sqrt(d)
    return scale * torch.randn(n, d, generator=generator) @ mix + shift


# Fréchet distance


def test_frechet_is_the_formula():
    """Against the root of the product of the covariances, by Schur's method."""
    first, second = normal(300, 12, 0).relu(), normal(200, 12, 1, 1.5, 0.3).relu()
    x, y = first.double().numpy(), second.double().numpy()
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    expected = np.sum((x.mean(0) - y.mean(0)) ** 2)
    expected += np.trace(cov_x + cov_y - 2 * scipy.linalg.sqrtm(cov_x @ cov_y).real)
    assert frechet_distance(moments(first), moments(second)) == pytest.approx(expected, abs=1e-4)
    assert frechet_distance(moments(second), moments(first)) == pytest.approx(expected, abs=1e-4)


def test_frechet_of_known_normals():
    """N(0, I) and N(m, s² I) are |m|² + D (s − 1)² apart; it is the squared distance."""
    d, s = 5, 3.0
    mean, identity = torch.zeros(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64)
    other = (mean + 2, s**2 * identity)
    assert frechet_distance((mean, identity), other) == pytest.approx(4 * d + d * (s - 1) ** 2)


def test_frechet_of_fewer_images_than_features():
    first, second = normal(20, 64, 0), normal(30, 64, 1)
    distance = frechet_distance(moments(first), moments(second))
    assert math.isfinite(distance)
    assert distance > 1
    assert frechet_distance(moments(first), moments(first.clone())) == 0
    assert frechet_distance(moments(first), moments(first.flip(0))) == pytest.approx(0, abs=1e-4)
    dead = torch.cat([first, torch.zeros(20, 3)], 1)  # units that never fire
    assert frechet_distance(moments(dead), moments(torch.cat([second, torch.zeros(30, 3)], 1))) == pytest.approx(
        distance, rel=1e-6
    )


def test_frechet_refuses_what_has_no_moments():
    with pytest.raises(zoo.ZooError, match="two images"):
        moments(torch.zeros(1, 3))
    with pytest.raises(zoo.ZooError, match="not finite"):
        moments(torch.tensor([[1.0, float("nan")], [0.0, 1.0]]))


# Kernel distance


def test_kernel_distance_is_the_formula(monkeypatch):
    """Against all pairs written out, at unequal sizes and in blocks, and against torchmetrics at equal sizes."""
    first, second = normal(50, 7, 0), normal(33, 7, 1, 1.2, 0.2)
    x, y = first.double().numpy(), second.double().numpy()

    def mean(a, b, same: bool) -> float:
        values = [
            (a[i] @ b[j] / 7 + 1) ** 3 for i in range(len(a)) for j in range(len(b)) if not (same and i == j)
        ]  # fmt: skip
        return sum(values) / len(values)

    expected = mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)
    assert kernel_distance(first, second) == pytest.approx(expected, rel=1e-9)
    monkeypatch.setattr(kernel, "ROWS", 8)
    assert kernel_distance(second, first) == pytest.approx(expected, rel=1e-9)
    theirs = poly_mmd(first[:33].double(), second.double())
    assert kernel_distance(first[:33], second) == pytest.approx(float(theirs), rel=1e-6)


def test_kernel_distance_is_unbiased():
    """Of sets from one source it is zero on average, and below zero about as often as above."""
    values = [kernel_distance(torch.randn(40, 4, generator=g), torch.randn(25, 4, generator=g))
              for g in (torch.Generator().manual_seed(seed) for seed in range(200))]  # fmt: skip
    error = np.std(values) / math.sqrt(len(values))
    assert abs(np.mean(values)) < 3 * error
    assert 0.3 < np.mean(np.array(values) < 0) < 0.8
    with pytest.raises(zoo.ZooError, match="two images"):
        kernel_distance(torch.zeros(1, 2), torch.zeros(5, 2))


# Neighbours


def brute(a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
    a, b = a.double().numpy(), b.double().numpy()
    return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))


@pytest.mark.parametrize("block", [neighbours.BLOCK, 150], ids=["whole", "blocks"])
def test_neighbours_are_those_of_all_pairs(block, monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK", block)
    real, fake = normal(60, 5, 0), normal(45, 5, 1, 0.8, 0.3)
    k = 4
    real_radii, fake_radii = (np.sort(brute(x, x), 1)[:, k] for x in (real, fake))  # entry 0 is the row itself
    assert radii(real, k).numpy() == pytest.approx(real_radii, rel=1e-6)
    cross = brute(fake, real)
    precision, recall = precision_recall(real, fake, k)
    assert precision == (cross <= real_radii).any(1).mean()
    assert recall == (cross <= fake_radii[:, None]).any(0).mean()
    density, coverage = density_coverage(real, fake, k)
    assert density == pytest.approx((cross <= real_radii).sum() / (k * len(fake)))
    assert coverage == (cross.min(0) <= real_radii).mean()
    assert 0 < precision < 1
    assert 0 < coverage < 1
    assert precision != recall
    assert (precision, recall) == precision_recall(real, fake, k, radii(real, k))
    assert (density, coverage) == density_coverage(real, fake, k, radii(real, k))


def test_precision_is_of_samples_and_recall_of_real_images():
    """Samples of one of two clusters are precise and recall half; of two, where one is real, the other way round."""
    generator = torch.Generator().manual_seed(0)
    one, here, there = torch.randn(3, 200, 3, generator=generator)
    both = torch.cat([here, there + 50])
    precision, recall = precision_recall(real=both, samples=one)
    assert precision > 0.8
    assert recall == pytest.approx(0.5, abs=0.1)
    precision, recall = precision_recall(real=one, samples=both)
    assert precision == pytest.approx(0.5, abs=0.1)
    assert recall > 0.8
    subset = both[:150]
    precision, recall = precision_recall(real=both, samples=subset)
    assert precision == 1
    assert 0.3 < recall < 0.6
    density, coverage = density_coverage(real=both, samples=both.flip(0))
    assert coverage == 1
    assert density == pytest.approx(1.2, abs=0.2)  # each is in its own ball, too: (k + 1) / k
    assert density_coverage(real=both, samples=one)[1] == pytest.approx(0.5, abs=0.1)
    with pytest.raises(zoo.ZooError, match="more than 3 images"):
        precision_recall(both, one[:3])


def test_nearest_two_and_copies(monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK", 20_000)
    generator = torch.Generator().manual_seed(0)
    training = torch.randint(256, (9000, 1, 4, 4), dtype=torch.uint8, generator=generator)  # more than one block
    queries = torch.rand(40, 1, 4, 4, generator=generator)
    queries[:10] = training[[0, 8999, *range(4000, 4008)]].float() / 255
    found = nearest_two(queries, training)
    expected = np.sort(brute(queries.flatten(1), training.flatten(1).float() / 255), 1)[:, :2]
    assert found.numpy() == pytest.approx(expected, abs=1e-5)
    assert (found[:10, 0] == 0).all()
    assert copies(found) == pytest.approx(0.25)
    assert copies(nearest_two(queries[:10], torch.cat([training, training]))) == 1  # of what is there twice
    assert copies(nearest_two((queries[:10] + 0.01).clamp(0, 1), training)) == 1
    assert copies(found[10:]) == 0
    with pytest.raises(zoo.ZooError, match="two images at least"):
        nearest_two(queries, training[:1])


# Modes


def test_modes():
    real = class_shares(torch.arange(100) % 4, 5)
    assert real.tolist() == [0.25, 0.25, 0.25, 0.25, 0]
    shares = class_shares(torch.tensor([0] * 50 + [1] * 47 + [2] * 3), 5)
    assert shares.tolist() == [0.5, 0.47, 0.03, 0, 0]
    assert modes_covered(shares, real) == 3  # 3 % is more than a tenth of a quarter
    assert modes_covered(shares, real, covered=0.5) == 2
    assert modes_covered(real, real) == 4
    assert class_divergence(real, real) == 0
    expected = 0.5 * math.log(2) + 0.47 * math.log(1.88) + 0.03 * math.log(0.12)
    assert class_divergence(shares, real) == pytest.approx(expected)
    assert class_divergence(class_shares(torch.tensor([4]), 5), real) == math.inf


# Extractors


DATA = ("digits", "mnist", "fashion_mnist")
ACCURACY = {"digits": 0.97, "mnist": 0.99, "fashion_mnist": 0.91}


@pytest.fixture(scope="module")
def splits(request, real_data):
    sizes = {"digits": 200}  # as in configs/data
    return {name: load_splits(name, real_data, val_size=sizes.get(name, 5000)) for name in DATA}


@pytest.mark.parametrize("name", DATA)
def test_shipped_extractor(name, splits):
    """It classifies the test images as well as its card says, weighs at most 1 MB, and its statistics are theirs."""
    measure = extractor(name)
    assert (measure.folder / "model.safetensors").stat().st_size <= 1_000_000
    assert (measure.folder / "statistics.safetensors").stat().st_size <= 1_000_000
    card = (measure.folder / "README.md").read_text()
    assert f"sha256 {measure.digest}" in card
    assert f"sha256 {splits[name].fingerprint}" in card
    test = splits[name].test
    chosen = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))[:4000]
    features, predicted = measure(test.images[chosen])
    assert features.shape == (len(chosen), 128)
    assert features.min() == 0  # after the rectifier
    assert (predicted == test.labels[chosen]).double().mean() >= ACCURACY[name]
    assert torch.equal(predicted, zoo.classify(measure.model, test.images[chosen].float() / 255).argmax(1))
    n = min(sample_quality.SAMPLES, len(splits[name].train))
    path = measure.folder / "statistics.safetensors"
    kept = sample_quality.read_reference(path, sample_quality.reference_key(measure, splits[name], n, 0))
    assert kept is not None
    assert kept.mean.tolist() == pytest.approx(features.double().mean(0).tolist(), abs=0.5)
    assert kept.precision_radii.shape == (len(test),)


def test_shipped_statistics_are_those_computed(splits):
    digits = splits["digits"]
    measure = extractor("digits")
    features, predicted = measure(digits.test.images)
    n = len(digits.train)
    kept = sample_quality.reference(measure, digits, features, predicted, n, 0)
    computed = sample_quality.compute_reference(measure, digits, features, predicted, n, 0)
    for field in fields(kept):
        torch.testing.assert_close(getattr(kept, field.name), getattr(computed, field.name), rtol=1e-4, atol=1e-4)


def test_statistics_of_something_else_are_not_used(splits, tmp_path):
    """Those of other test images, weights, numbers or seeds, and damaged ones, are computed anew. The floor stays the
    same for other training images: ratios have one divisor."""
    digits = splits["digits"]
    measure = replace(extractor("digits"), folder=tmp_path)
    path = tmp_path / "statistics.safetensors"
    features, predicted = measure(digits.test.images)
    key = sample_quality.reference_key(measure, digits, 100, 0)
    right = sample_quality.compute_reference(measure, digits, features, predicted, 100, 0)
    wrong = replace(right, floor=torch.tensor(7.0, dtype=torch.float64))

    def floor(splits=digits, n=100, seed=0, measure=measure) -> float:
        return float(sample_quality.reference(measure, splits, features, predicted, n, seed).floor)

    assert floor() == pytest.approx(float(right.floor))  # there is no file yet
    sample_quality.write_reference(path, wrong, key)
    assert floor() == 7  # this is how its use is seen
    assert floor(n=90) != 7
    assert floor(seed=1) != 7
    assert floor(measure=replace(measure, digest="0" * 12)) != 7
    other = digits.train.images.clone()
    other[0, 0, 0, 0] += 1
    trained = replace(digits, train=Split(other, digits.train.labels))
    assert floor(trained) == 7
    copied = replace(digits, train=digits.test)
    assert float(sample_quality.reference(measure, copied, features, predicted, 100, 0).nearest) == 0
    assert floor(replace(digits, test=Split(other[: len(features)], digits.test.labels))) != 7
    content = path.read_bytes()
    for damaged in (content[:-1], content[:-9] + bytes([content[-9] ^ 1]) + content[-8:], b"", b"{}"):
        path.write_bytes(damaged)
        assert floor() == pytest.approx(float(right.floor))


def test_shipped_figures_of_real_images(splits):
    """They are of these weights and images, at the number that ratios are compared at, and those computed."""
    for name in DATA:
        kept = sample_quality.read_real_figures(extractor(name), splits[name])
        own = sample_quality._standard(extractor(name), splits[name], kept["n"])
        assert sample_quality.read_reference(extractor(name).folder / sample_quality.STATISTICS, own)
        assert kept["draws"] == (1 if name == "digits" else 5)
        if name == "digits":
            assert kept["frechet_ratio"] is None  # its only draw is the floor's
        else:
            assert kept["frechet_ratio"] == pytest.approx(1, abs=0.2)
        assert min(kept["precision"], kept["recall"], kept["coverage"]) > 0.8
    digits, measure = splits["digits"], extractor("digits")
    features, predicted = measure(digits.test.images)
    real = sample_quality.reference(measure, digits, features, predicted, len(digits.train), 0)
    kept = sample_quality.read_real_figures(measure, digits)
    computed = sample_quality.real_figures(measure, digits, real, features, len(digits.train))
    numbers = {key: value for key, value in computed.items() if kept[key] is not None}
    assert {*kept} >= {*computed}
    assert {*computed} - {*numbers} == {"frechet_ratio", "frechet_ratio_apart", *(f"{key}_error" for key in (
        "frechet_ratio", "precision", "recall", "density", "coverage"))}  # fmt: skip
    assert {key: kept[key] for key in numbers} == pytest.approx(numbers, rel=1e-2)


def test_figures_of_real_images_are_means_over_draws(splits, tmp_path):
    digits, measure = splits["digits"], replace(extractor("digits"), folder=tmp_path)
    features, predicted = measure(digits.test.images)
    real = sample_quality.compute_reference(measure, digits, features, predicted, 300, 0)
    found = sample_quality.real_figures(measure, digits, real, features, 300)
    assert found["draws"] == len(digits.train) // 300
    assert found["frechet_ratio"] == pytest.approx(1, abs=0.5)
    assert 0 < found["frechet_ratio_error"] < 0.3
    assert 0.2 < found["frechet_ratio_apart"] < 2
    assert found["recall"] > 0.7
    assert sample_quality.read_real_figures(measure, digits) == {}  # nothing is kept there
    sample_quality.keep_real_figures(measure, digits)
    assert sample_quality.read_real_figures(measure, digits)["n"] == len(digits.train)
    assert sample_quality.read_real_figures(replace(measure, digest="0" * 12), digits) == {}
    assert sample_quality.read_real_figures(measure, replace(digits, test=digits.train)) == {}
    for damaged in ("{", "[]", '{"features": 1}'):
        (tmp_path / "real.json").write_text(damaged)
        with pytest.raises(zoo.CheckpointError, match=r"real\.json"):
            sample_quality.read_real_figures(measure, digits)


# What a model is told


class Photographer(zoo.Generative):
    """Samples are images of a split, as they are or changed."""

    def __init__(self, split: Split, spec: zoo.DataSpec, change=lambda images: images, classes: bool = False) -> None:
        super().__init__(spec, conditional=classes)
        self.split = split
        self.change = change

    def sample(self, n, labels=None, generator=None):
        if labels is None:
            index = torch.randperm(len(self.split), generator=generator)[:n]
        else:
            index = torch.tensor(
                [int((self.split.labels == label).nonzero()[i % 50]) for i, label in enumerate(labels)]
            )
        return self.change(self.split.images[index].float() / 255)


@pytest.fixture(scope="module")
def small(splits):
    """MNIST with 700 test images and 5,000 training images; 5,000 others."""
    mnist = splits["mnist"]
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(mnist.train), generator=generator)
    test = mnist.test.take(torch.randperm(len(mnist.test), generator=generator)[:700])
    return replace(mnist, train=mnist.train.take(chosen[:5000]), test=test), mnist.train.take(chosen[5000:10000])


KEYS = {
    "frechet_distance", "frechet_floor", "frechet_ratio", "kernel_distance", "precision", "recall", "sample_density",
    "coverage", "modes", "class_kl", "copies", "nearest_ratio", "features", "samples",
    "comparable",
}  # fmt: skip


def test_figures_of_real_images_of_copies_and_of_bad_samples(small):
    mnist, others = small
    n = 700

    def figures(*arguments, **options) -> dict:
        model = Photographer(*arguments, **options)
        state = torch.get_rng_state()
        values = evaluate_samples(model, mnist, "mnist", n)
        assert torch.equal(torch.get_rng_state(), state)
        assert set(values) == KEYS
        assert values["samples"] == n
        assert values["features"] == extractor("mnist").digest
        lines = sample_quality.describe(values)
        assert len(lines) == 4  # 700 are not the number that ratios are compared at
        assert not values["comparable"]
        assert max(map(len, lines)) <= 80
        return values

    real = figures(others, mnist.spec)
    assert real["frechet_ratio"] == pytest.approx(1, abs=0.4)  # this is how much it varies at so few images
    assert abs(real["kernel_distance"]) < 20
    assert min(real["precision"], real["recall"], real["coverage"]) > 0.8
    assert real["sample_density"] == pytest.approx(1, abs=0.15)
    assert real["modes"] == 10
    assert real["class_kl"] < 0.01
    assert real["copies"] < 0.01
    assert real["nearest_ratio"] == pytest.approx(1, abs=0.1)

    remembered = figures(mnist.train, mnist.spec)
    assert remembered["copies"] == 1
    assert remembered["nearest_ratio"] == 0
    assert remembered["frechet_ratio"] == pytest.approx(1, abs=0.4)  # which is blind to it

    threes = others.take(((others.labels == 3) | (others.labels == 8)).nonzero()[:, 0])
    collapsed = figures(threes, mnist.spec)
    assert collapsed["modes"] == 2
    assert collapsed["class_kl"] == pytest.approx(math.log(5), abs=0.15)
    assert collapsed["precision"] > 0.8
    assert collapsed["recall"] < 0.5
    assert collapsed["coverage"] < 0.5

    def blur(images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(images, 5, 1, 2)

    blurred = figures(others, mnist.spec, change=blur)
    assert blurred["frechet_ratio"] > 5
    assert blurred["kernel_distance"] > 20
    upside_down = figures(others, mnist.spec, change=lambda images: images.flip(2))
    assert upside_down["frechet_ratio"] > 5
    assert upside_down["precision"] < real["precision"] - 0.1
    assert upside_down["sample_density"] < 0.7


def test_ratio_of_several_draws(splits):
    """Their mean and its error, beside what real images get; only at the extractor's number is it compared."""
    digits = splits["digits"]

    def blur(images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(images, 5, 1, 2)

    model = Photographer(digits.train, digits.spec, change=blur)
    few = evaluate_samples(model, digits, "digits", 300, draws=4)
    once = evaluate_samples(model, digits, "digits", 300)
    assert set(few) == KEYS | {"frechet_ratio_mean", "frechet_ratio_error", "draws"}  # real images get that at n alone
    assert {key: few[key] for key in KEYS} == once
    assert few["draws"] == 4
    assert few["frechet_ratio_mean"] == pytest.approx(few["frechet_ratio"], abs=8 * few["frechet_ratio_error"])
    assert few["frechet_ratio_error"] > 0
    assert len(sample_quality.describe(few)) == 5
    with pytest.raises(zoo.ZooError, match="not of 300 samples"):
        sample_quality.comparable_ratio(few, "a camera")
    whole = evaluate_samples(model, digits, "digits", draws=2)
    assert whole["real"] == {
        key: value
        for key, value in sample_quality.read_real_figures(extractor("digits"), digits).items()
        if key not in ("features", "test", "n")
    }
    assert sample_quality.comparable_ratio(whole, "a camera") == whole["frechet_ratio"] > few["frechet_ratio"]
    lines = sample_quality.describe(whole)
    assert any("real images: precision" in line for line in lines)
    assert max(map(len, lines)) <= 80
    with pytest.raises(zoo.ZooError, match="image_folder has none"):
        sample_quality.evaluate_images(digits.test.x(), digits, "image_folder")


def test_levels_and_grey_values_are_the_same_images(splits):
    digits = splits["digits"]
    levels = digits.train.images[:300]
    figures = [sample_quality.evaluate_images(images, digits, "digits") for images in (levels, levels / 255)]
    for key, value in figures[0].items():
        assert figures[1][key] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-4, abs=1e-6)), key
    assert figures[0]["copies"] == 1


def test_too_many_images_are_refused(splits):
    digits = splits["digits"]
    with pytest.raises(zoo.ZooError, match="1,238 training images"):
        sample_quality.evaluate_images(digits.train.images.repeat(2, 1, 1, 1), digits, "digits")


def test_ratios_by_other_test_images_are_not_compared(splits):
    digits = splits["digits"]
    fewer = replace(digits, test=digits.test.take(slice(300)))
    figures = sample_quality.evaluate_images(digits.train.images, fewer, "digits")
    with pytest.raises(zoo.ZooError, match="other test images"):
        sample_quality.comparable_ratio(figures, "a camera")


@pytest.mark.parametrize(
    ("key", "value"),
    [("frechet_ratio_error", "x"), ("frechet_ratio_apart", [1]), ("precision", math.nan), ("draws", -3), ("n", 1)],
)
def test_damaged_figures_of_real_images_are_told(key, value, splits, tmp_path):
    measure = replace(extractor("digits"), folder=tmp_path)
    kept = json.loads((extractor("digits").folder / sample_quality.REAL).read_text())
    (tmp_path / sample_quality.REAL).write_text(json.dumps(kept | {key: value}))
    with pytest.raises(zoo.ZooError, match="damaged"):
        sample_quality.read_real_figures(measure, splits["digits"])


def test_seeds_share_the_divisor(splits):
    digits = splits["digits"]
    model = Photographer(digits.train, digits.spec)
    first, second = (evaluate_samples(model, digits, "digits", 300, seed=seed) for seed in (1, 2))
    assert first["frechet_floor"] == second["frechet_floor"]
    assert first["frechet_distance"] != second["frechet_distance"]


def test_synthetic_accuracy_is_learnt_from_samples_alone(splits, monkeypatch):
    """A model whose "0" is a one, and so on, teaches just that."""
    digits = splits["digits"]
    monkeypatch.setattr(sample_quality, "SYNTHETIC_STEPS", 40)
    monkeypatch.setattr(sample_quality, "SYNTHETIC_BATCH", 64)
    shifted = Split(digits.train.images, (digits.train.labels - 1) % 10)
    model = Photographer(shifted, digits.spec, classes=True)
    test = Split(digits.test.images, (digits.test.labels - 1) % 10)
    state = torch.get_rng_state()
    accuracy = sample_quality.synthetic_accuracy(model, test, n=400)
    assert torch.equal(torch.get_rng_state(), state)
    assert accuracy > 0.8
    (line,) = sample_quality.describe({"synthetic_accuracy": accuracy})
    assert f"{accuracy:.2%}" in line
    with pytest.raises(zoo.ZooError, match="images of a given class"):
        evaluate_samples(Photographer(shifted, digits.spec), digits, "digits", 100, synthetic=True)


def test_what_cannot_be_measured(splits):
    digits = splits["digits"]
    model = Photographer(digits.train, digits.spec)
    assert set(sample_metrics(model, digits, "digits", 200)) == KEYS
    assert sample_metrics(model, digits, "digits", 0) == {}
    assert sample_metrics(model, digits, "image_folder", 200) == {}
    assert sample_metrics(zoo.create("mlp", digits.spec), digits, "digits", 200) == {}
    with pytest.raises(zoo.ZooError, match=r"data=image_folder has none.*digits, fashion_mnist, mnist"):
        evaluate_samples(model, digits, "image_folder", 200)
    with pytest.raises(zoo.ZooError, match="mlp cannot sample"):
        evaluate_samples(zoo.create("mlp", digits.spec), digits, "digits", 200)
    with pytest.raises(zoo.ZooError, match="more than 3 images"):
        evaluate_samples(model, digits, "digits", 3)
    model.spec = zoo.DataSpec((3, 28, 28))
    with pytest.raises(zoo.DataError, match="the images are 1×28×28, the model was made for 3×28×28"):
        evaluate_samples(model, digits, "digits", 200)


# The commands


def script(name: str, *words: object) -> None:
    """A script as a user runs it, in this process."""
    arguments = [str(ROOT / "scripts" / name), *map(str, words)]
    with mock.patch.object(sys, "argv", arguments):
        runpy.run_path(arguments[0], run_name="__main__")


def evaluate(*words: object) -> None:
    script("evaluate.py", *words)


def test_release(splits, tmp_path, capsys):
    """A trained classifier becomes an extractor, with a card and the statistics that are looked up later."""
    run = run_train(tmp_path / "runs", "model=lenet", "data=digits", "experiment=debug", "logger=none")
    folder = tmp_path / "features"
    script("release_features.py", f"run={run}", f"to={folder}")
    measure = sample_quality.read_extractor(folder)
    digits = splits["digits"]
    key = sample_quality.reference_key(measure, digits, len(digits.train), 0)
    assert sample_quality.read_reference(folder / "statistics.safetensors", key) is not None
    real = sample_quality.read_real_figures(measure, digits)
    assert (real["n"], real["draws"]) == (len(digits.train), 1)
    accuracy = json.loads((run / "summary.json").read_text())["test"]["accuracy"]
    card = (folder / "README.md").read_text()
    assert f"{accuracy:.2%}" in card
    assert f"sha256 {measure.digest}" in card
    assert "max_epochs: 2" in card
    assert str(tmp_path) not in card
    assert f"features {measure.digest}" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        script("release_features.py", f"run={folder}", f"to={tmp_path / 'again'}", "root=.")
    assert not (tmp_path / "again").exists()


def test_command(tmp_path, capsys):
    from PIL import Image

    run = run_train(tmp_path, "model=naive_bayes", "data=digits", "experiment=debug", "logger=none")
    capsys.readouterr()
    out = tmp_path / "out.json"
    evaluate(f"ckpt={run}", "samples=300", f"json={out}")
    values = json.loads(out.read_text())
    assert set(values) >= KEYS | {"accuracy", "log_prob", "density"}
    assert values["samples"] == 300
    printed = capsys.readouterr().out
    assert f"floor {values['frechet_floor']:.3g}" in printed
    assert f"(features {extractor('digits').digest})" in printed
    again = evaluate_samples(zoo.load(run), load_splits("digits", val_size=200), "digits", 300)
    for key in KEYS - {"features"}:
        assert values[key] == pytest.approx(again[key], rel=1e-6), key

    evaluate(f"ckpt={run}", "samples=0", f"json={out}")
    assert not set(json.loads(out.read_text())) & KEYS
    evaluate(f"ckpt={run}", "split=train", f"json={out}")
    assert "frechet_distance" not in json.loads(out.read_text())

    for split, name in (("train", "a"), ("train", "b"), ("test", "a"), ("test", "b")):
        folder = tmp_path / "pictures" / split / name
        folder.mkdir(parents=True)
        Image.new("L", (28, 28), 40).save(folder / "1.png")
    capsys.readouterr()
    folder = f"path={tmp_path / 'pictures'}"
    evaluate(f"ckpt={run}", "data=image_folder", folder, f"root={tmp_path}", f"json={out}")
    assert "data=image_folder has none" in capsys.readouterr().out
    assert "frechet_distance" not in json.loads(out.read_text())


def test_command_hides_pixels(tmp_path, capsys):
    run = run_train(tmp_path, "model=logistic_regression", "data=digits", "experiment=debug", "logger=none")
    model, split = zoo.load(run), load_splits("digits").test
    for words, options in (
        (("missing=0.6",), {"missing": 0.6}),
        (("missing=0.6", "fill=mean"), {"missing": 0.6, "fill": "mean"}),
        (("mask=half",), {"missing": 0.5, "mask": "half"}),
        (("mask=block", "missing=0.2", "fill=local"), {"missing": 0.2, "mask": "block", "fill": "local"}),
    ):
        evaluate(f"ckpt={run}", *words, "samples=0", f"json={tmp_path / 'out.json'}")
        accuracy = json.loads((tmp_path / "out.json").read_text())["accuracy"]
        assert accuracy == pytest.approx(predicted(model, split, **options).metrics["accuracy"])
        said = capsys.readouterr().out
        assert f"{options['missing']:.0%} of the pixels missing" in " ".join(said.split())
        assert options.get("mask", "mcar") in said
    for words, reason in (
        (("mask=half", "missing=0.2"), "missing=0.2 is for mcar and block"),
        (("mask=block",), "as missing=… says"),
        (("fill=mean",), "give missing=… or mask=…"),
        (("missing=0.5", "fill=median"), "allowed values are local, mean"),
    ):
        with pytest.raises(SystemExit) as end:
            evaluate(f"ckpt={run}", *words)
        assert end.value.code == 2
        assert reason in capsys.readouterr().err


def test_the_commands_know_all_masks_and_fills():
    from zoo.base.fill import FILLS
    from zoo.tasks.impute import MASKS

    for name in ("evaluate", "impute"):
        rules = runpy.run_path(str(ROOT / "scripts" / f"{name}.py"))["RULES"]
        assert rules["mask"] == list(MASKS)
        assert rules.get("fill") == (list(FILLS) if name == "evaluate" else None)
