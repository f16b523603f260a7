"""What real images get in the place of samples: what is shipped, how it is computed and kept."""

import json
import math
from dataclasses import replace

import pytest

import zoo
from zoo.data.splits import load_splits
from zoo.tasks import real_figures, reference
from zoo.tasks.reference import extractor

pytestmark = pytest.mark.usefixtures("one_thread")

DATA = ("digits", "mnist", "fashion_mnist")


@pytest.fixture(scope="module")
def splits(real_data):
    return {name: load_splits(name, real_data, val_size=200 if name == "digits" else 5000) for name in DATA}


def test_shipped_figures_of_real_images(splits):
    """They are of these weights and images, at the number that ratios are compared at, and those computed."""
    for name in DATA:
        kept = real_figures.read_real_figures(extractor(name), splits[name])
        own = reference.released_key(extractor(name), splits[name], kept["n"])
        assert reference.read_reference(extractor(name).folder / reference.STATISTICS, own)
        assert kept["draws"] == (1 if name == "digits" else 5)
        if name == "digits":
            assert kept["frechet_ratio"] is None  # its only draw is the floor's
        else:
            assert kept["frechet_ratio"] == pytest.approx(1, abs=0.2)
        assert min(kept["precision"], kept["recall"], kept["coverage"]) > 0.8
    digits, measure = splits["digits"], extractor("digits")
    features, predicted = measure(digits.test.images)
    real = reference.reference(measure, digits, features, predicted, len(digits.train), 0)
    kept = real_figures.read_real_figures(measure, digits)
    computed = real_figures.real_figures(measure, digits, real, features, len(digits.train))
    numbers = {key: value for key, value in computed.items() if kept[key] is not None}
    assert {*kept} >= {*computed}
    assert {*computed} - {*numbers} == {"frechet_ratio", "frechet_ratio_apart", *(f"{key}_error" for key in (
        "frechet_ratio", "precision", "recall", "density", "coverage"))}  # fmt: skip
    assert {key: kept[key] for key in numbers} == pytest.approx(numbers, rel=1e-2)


def test_figures_of_real_images_are_means_over_draws(splits, tmp_path):
    digits, measure = splits["digits"], replace(extractor("digits"), folder=tmp_path)
    features, predicted = measure(digits.test.images)
    real = reference.compute_reference(measure, digits, features, predicted, 300, 0)
    found = real_figures.real_figures(measure, digits, real, features, 300)
    assert found["draws"] == len(digits.train) // 300
    assert found["frechet_ratio"] == pytest.approx(1, abs=0.5)
    assert 0 < found["frechet_ratio_error"] < 0.3
    assert 0.2 < found["frechet_ratio_apart"] < 2
    assert found["recall"] > 0.7
    assert real_figures.read_real_figures(measure, digits) == {}  # nothing is kept there
    real_figures.keep_reference(measure, digits)
    assert real_figures.read_real_figures(measure, digits)["n"] == len(digits.train)
    assert real_figures.read_real_figures(replace(measure, digest="0" * 12), digits) == {}
    assert real_figures.read_real_figures(measure, replace(digits, test=digits.train)) == {}
    for damaged in ("{", "[]", '{"features": 1}'):
        (tmp_path / "real.json").write_text(damaged)
        with pytest.raises(zoo.CheckpointError, match=r"real\.json"):
            real_figures.read_real_figures(measure, digits)


@pytest.mark.parametrize(
    ("key", "value"),
    [("frechet_ratio_error", "x"), ("frechet_ratio_apart", [1]), ("precision", math.nan), ("draws", -3), ("n", 1)],
)
def test_damaged_figures_of_real_images_are_told(key, value, splits, tmp_path):
    measure = replace(extractor("digits"), folder=tmp_path)
    kept = json.loads((extractor("digits").folder / real_figures.REAL).read_text())
    (tmp_path / real_figures.REAL).write_text(json.dumps(kept | {key: value}))
    with pytest.raises(zoo.ZooError, match="damaged"):
        real_figures.read_real_figures(measure, splits["digits"])
