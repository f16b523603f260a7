"""Sample quality: what models are told of their samples, and how commands tell it."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import run_script, run_train

import zoo
from zoo.data.splits import Split, load_splits
from zoo.tasks import sample_quality
from zoo.tasks.real_figures import read_real_figures
from zoo.tasks.reference import extractor
from zoo.tasks.sample_quality import evaluate_samples, sample_metrics

pytestmark = pytest.mark.usefixtures("one_thread")


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
def splits(real_data):
    return {"digits": load_splits("digits", val_size=200), "mnist": load_splits("mnist", real_data, val_size=5000)}


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
    sums = [evaluate_samples(model, digits, "digits", 300, draws=draws)["frechet_ratio_mean"] * draws
            for draws in (2, 3, 4)]  # fmt: skip
    each = np.diff([0, few["frechet_ratio"], *sums])  # draws follow one another
    assert len(set(each)) == 4
    assert few["frechet_ratio_mean"] == pytest.approx(each.mean())
    assert few["frechet_ratio_error"] == pytest.approx(each.std(ddof=1) / 2)
    assert len(sample_quality.describe(few)) == 5
    with pytest.raises(zoo.ZooError, match="not of 300 samples"):
        sample_quality.comparable_ratio(few, "a camera")
    whole = evaluate_samples(model, digits, "digits", draws=2)
    assert whole["real"] == {
        key: value
        for key, value in read_real_figures(extractor("digits"), digits).items()
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


def test_seeds_share_the_divisor(splits):
    digits = splits["digits"]
    model = Photographer(digits.train, digits.spec)
    first, second = (evaluate_samples(model, digits, "digits", 300, seed=seed) for seed in (1, 2))
    assert first["frechet_floor"] == second["frechet_floor"]
    assert first["frechet_distance"] != second["frechet_distance"]


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


def test_command(tmp_path, capsys):
    from PIL import Image

    run = run_train(tmp_path, "model=naive_bayes", "data=digits", "experiment=debug", "logger=none")
    capsys.readouterr()
    out = tmp_path / "out.json"
    run_script("evaluate.py", f"ckpt={run}", "samples=300", f"json={out}")
    values = json.loads(out.read_text())
    assert set(values) >= KEYS | {"accuracy", "log_prob", "density"}
    assert values["samples"] == 300
    printed = capsys.readouterr().out
    assert f"floor {values['frechet_floor']:.3g}" in printed
    assert f"(features {extractor('digits').digest})" in printed
    again = evaluate_samples(zoo.load(run), load_splits("digits", val_size=200), "digits", 300)
    for key in KEYS - {"features"}:
        assert values[key] == pytest.approx(again[key], rel=1e-6), key

    run_script("evaluate.py", f"ckpt={run}", "samples=0", f"json={out}")
    assert not set(json.loads(out.read_text())) & KEYS
    run_script("evaluate.py", f"ckpt={run}", "split=train", f"json={out}")
    assert "frechet_distance" not in json.loads(out.read_text())

    for split, name in (("train", "a"), ("train", "b"), ("test", "a"), ("test", "b")):
        folder = tmp_path / "pictures" / split / name
        folder.mkdir(parents=True)
        Image.new("L", (28, 28), 40).save(folder / "1.png")
    capsys.readouterr()
    folder = f"path={tmp_path / 'pictures'}"
    run_script("evaluate.py", f"ckpt={run}", "data=image_folder", folder, f"root={tmp_path}", f"json={out}")
    assert "data=image_folder has none" in capsys.readouterr().out
    assert "frechet_distance" not in json.loads(out.read_text())
