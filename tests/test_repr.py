"""What a session shows of models, data and capabilities: on one screen, whatever they hold."""

import pytest
import torch

import zoo
from zoo.data.splits import load_splits


def test_a_model_says_what_it_is():
    model = zoo.create("gmm", num_components=3)
    lines = repr(model).splitlines()
    assert lines[0].startswith("gmm(num_components=3, covariance='full'")
    text = " ".join(repr(model).split())
    assert "DataSpec(image, 1×28×28 in [0, 1], 10 classes: 0, 1, 2, 3, 4 and 5 more)" in text
    assert "exact, dequantised" in text
    assert f"{model.num_parameters:,}, on cpu" in text
    assert max(map(len, lines)) <= 80
    assert "answers anomaly_score (derived), classify, classify_missing, encode, impute, log_prob," in text
    assert lines[-1].strip() == "print(model) shows its layers"
    assert "(head): Linear" in str(zoo.create("logistic_regression"))


def test_a_model_without_a_config_says_its_class():
    class Mine(zoo.Model):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(3))

    assert repr(Mine()).startswith("Mine()")


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "grammar", "names"])
def test_data_fits_a_screen(name):
    splits = load_splits(name, val_size=0.2)
    lines = repr(splits).splitlines()
    assert len(lines) < 20
    for part in ("train", "val", "test"):
        (line,) = [line for line in lines if line.startswith(f"  {part} ")]
        assert f"{len(getattr(splits, part)):,}" in line
    assert len(repr(splits.train)) < 100
    assert len(repr(splits.spec)) < 200
    data = zoo.ImageDataModule(name, val_size=0.2)
    assert repr(data).splitlines()[1:] == lines


def test_counts_are_those_of_the_classes():
    splits = load_splits("digits", val_size=200)
    assert f"0 {int((splits.test.labels == 0).sum())}, 1 " in repr(splits)


def test_hidden_classes_are_counted():
    splits = load_splits("digits", val_size=200, labels=50)
    assert f"{len(splits.train) - 50:,} of a class that is hidden" in repr(splits)


def test_capabilities_of_one_model_are_its_own():
    conditional = zoo.create("vae", conditional=True)
    assert zoo.capabilities("vae")["vae"]["classify"] == "no"
    assert zoo.capabilities(conditional)["vae"]["classify"] == "native"
    page = zoo.capabilities(conditional)._repr_html_()
    assert page.count("<tr>") == 2
    assert repr(zoo.capabilities("cnn")).startswith("| model")


def test_a_notebook_shows_the_same():
    """What holds whatever a user calls classes is text there, and no markup."""
    names = ["<b>", *"abcdefghi"]
    model = zoo.create("gmm", zoo.DataSpec((1, 4, 4), 10, class_names=names), num_components=3)
    page = model._repr_html_()
    for said in (
        "num_components=3",
        "exact, dequantised",
        f"{model.num_parameters:,}, on cpu",
        "anomaly_score (derived), classify, classify_missing, encode,",
    ):
        assert said in page
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    data = zoo.ImageDataModule("digits", val_size=200)
    page = data._repr_html_()
    assert "batches of" in page
    for part in ("train", "val", "test"):
        assert f"<td>{part}</td><td>{len(getattr(data.splits, part)):,}</td>" in page
