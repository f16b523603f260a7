"""What samples are compared with: the shipped extractors and their statistics, and how one is released."""

import json
from dataclasses import fields, replace

import pytest
import torch
from conftest import run_script, run_train

import zoo
from zoo.data.splits import Split, load_splits
from zoo.tasks import real_figures, reference
from zoo.tasks.reference import extractor

pytestmark = pytest.mark.usefixtures("one_thread")

DATA = ("digits", "mnist", "fashion_mnist")
ACCURACY = {"digits": 0.97, "mnist": 0.99, "fashion_mnist": 0.91}


@pytest.fixture(scope="module")
def splits(real_data):
    return {name: load_splits(name, real_data, val_size=200 if name == "digits" else 5000) for name in DATA}


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
    n = min(real_figures.SAMPLES, len(splits[name].train))
    path = measure.folder / "statistics.safetensors"
    kept = reference.read_reference(path, reference.reference_key(measure, splits[name], n, 0))
    assert kept is not None
    assert kept.mean.tolist() == pytest.approx(features.double().mean(0).tolist(), abs=0.5)
    assert kept.precision_radii.shape == (len(test),)


def test_shipped_statistics_are_those_computed(splits):
    digits = splits["digits"]
    measure = extractor("digits")
    features, predicted = measure(digits.test.images)
    n = len(digits.train)
    kept = reference.reference(measure, digits, features, predicted, n, 0)
    computed = reference.compute_reference(measure, digits, features, predicted, n, 0)
    for field in fields(kept):
        torch.testing.assert_close(getattr(kept, field.name), getattr(computed, field.name), rtol=1e-4, atol=1e-4)


def test_statistics_of_something_else_are_not_used(splits, tmp_path):
    """Those of other test images, weights, numbers or seeds, and damaged ones, are computed anew. The floor stays the
    same for other training images: ratios have one divisor."""
    digits = splits["digits"]
    measure = replace(extractor("digits"), folder=tmp_path)
    path = tmp_path / "statistics.safetensors"
    features, predicted = measure(digits.test.images)
    key = reference.reference_key(measure, digits, 100, 0)
    right = reference.compute_reference(measure, digits, features, predicted, 100, 0)
    wrong = replace(right, floor=torch.tensor(7.0, dtype=torch.float64))

    def floor(splits=digits, n=100, seed=0, measure=measure) -> float:
        return float(reference.reference(measure, splits, features, predicted, n, seed).floor)

    assert floor() == pytest.approx(float(right.floor))  # there is no file yet
    reference.write_reference(path, wrong, key)
    assert floor() == 7  # this is how its use is seen
    assert floor(n=90) != 7
    assert floor(seed=1) != 7
    assert floor(measure=replace(measure, digest="0" * 12)) != 7
    other = digits.train.images.clone()
    other[0, 0, 0, 0] += 1
    trained = replace(digits, train=Split(other, digits.train.labels))
    assert floor(trained) == 7
    copied = replace(digits, train=digits.test)
    assert float(reference.reference(measure, copied, features, predicted, 100, 0).nearest) == 0
    assert floor(replace(digits, test=Split(other[: len(features)], digits.test.labels))) != 7
    content = path.read_bytes()
    for damaged in (content[:-1], content[:-9] + bytes([content[-9] ^ 1]) + content[-8:], b"", b"{}"):
        path.write_bytes(damaged)
        assert floor() == pytest.approx(float(right.floor))


def test_release(splits, tmp_path, capsys):
    """A trained classifier becomes an extractor, with a card and the statistics that are looked up later."""
    run = run_train(tmp_path / "runs", "model=lenet", "data=digits", "experiment=debug", "logger=none")
    folder = tmp_path / "features"
    run_script("release_features.py", f"run={run}", f"to={folder}")
    measure = reference.read_extractor(folder)
    digits = splits["digits"]
    key = reference.reference_key(measure, digits, len(digits.train), 0)
    assert reference.read_reference(folder / "statistics.safetensors", key) is not None
    real = real_figures.read_real_figures(measure, digits)
    assert (real["n"], real["draws"]) == (len(digits.train), 1)
    accuracy = json.loads((run / "summary.json").read_text())["test"]["accuracy"]
    card = (folder / "README.md").read_text()
    assert f"{accuracy:.2%}" in card
    assert f"sha256 {measure.digest}" in card
    assert "max_epochs: 2" in card
    assert str(tmp_path) not in card
    assert f"features {measure.digest}" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run_script("release_features.py", f"run={folder}", f"to={tmp_path / 'again'}", "root=.")
    assert not (tmp_path / "again").exists()
