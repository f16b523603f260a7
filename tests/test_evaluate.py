"""``evaluate.py`` of texts, and where pixels or words are hidden: it measures what it says, and refuses nonsense."""

import importlib
import json
import math
from dataclasses import replace

import pytest
import reviews
import torch
from conftest import run_script, run_train

import zoo
from zoo.data.kinds import tokens
from zoo.data.splits import load_splits
from zoo.tasks.evaluate import describe, evaluate, remarks
from zoo.tasks.students import synthetic_accuracy

pytestmark = pytest.mark.usefixtures("one_thread")


def test_command_hides_pixels(tmp_path, capsys):
    run = run_train(tmp_path, "model=logistic_regression", "data=digits", "experiment=debug", "logger=none")
    model, split = zoo.load(run), load_splits("digits").test
    for words, options in (
        (("missing=0.6",), {"missing": 0.6}),
        (("missing=0.6", "fill=mean"), {"missing": 0.6, "fill": "mean"}),
        (("mask=half",), {"missing": 0.5, "mask": "half"}),
        (("mask=block", "missing=0.2", "fill=local"), {"missing": 0.2, "mask": "block", "fill": "local"}),
    ):
        run_script("evaluate.py", f"ckpt={run}", *words, "samples=0", f"json={tmp_path / 'out.json'}")
        accuracy = json.loads((tmp_path / "out.json").read_text())["accuracy"]
        assert accuracy == pytest.approx(evaluate(model, split, **options).metrics["accuracy"])
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
            run_script("evaluate.py", f"ckpt={run}", *words)
        assert end.value.code == 2
        assert reason in capsys.readouterr().err


def test_the_commands_know_all_masks_and_fills():
    from zoo.base.fill import FILLS
    from zoo.tasks.impute import MASKS

    options = importlib.import_module("zoo.commands.evaluate").OPTIONS
    assert options["mask"].rule == list(MASKS)
    assert options["fill"].rule == list(FILLS)
    assert importlib.import_module("zoo.commands.impute").MASKS == MASKS


# Texts


def test_likelihood_of_texts_is_told_by_token():
    model, test = reviews.bayes(), reviews.splits().test
    metrics = evaluate(model, test).metrics
    log_p, count = float(zoo.log_prob(model, test.x()).double().sum()), int((test.images >= 0).sum())
    assert metrics["nats_per_token"] == pytest.approx(-log_p / count, rel=1e-6)
    assert metrics["bits_per_token"] == pytest.approx(-log_p / count / math.log(2), rel=1e-6)
    assert "bits_per_dim" not in metrics
    assert {"accuracy", "auroc", "average_precision", "f1"} <= set(metrics)
    of = f"exact, tokens, sum over 2 classes, n = {len(test)}"
    *_, line, below = describe(metrics)
    assert line.endswith(f"  {metrics['nats_per_token']:.3f} nats/token")
    assert below == f"     {of}"
    unknown = replace(test, images=torch.where(test.images == 0, model.spec.shape[2], test.images))
    assert evaluate(model, unknown).metrics["nats_per_token"] > metrics["nats_per_token"]
    with pytest.raises(zoo.DataError, match="nothing in any of these texts"):
        evaluate(model, replace(test, images=torch.full_like(test.images, -1)))


def test_longer_validation_texts_are_no_reason_to_remark():
    """A likelihood is that of a text's length, too."""
    metrics = {"log_prob": -20.0, "nats_per_token": 2.0, "density": "exact, tokens"}
    logged = {"train/log_likelihood": -20.0, "val/log_likelihood": -2000.0}
    assert remarks(metrics, reviews.splits().spec, None, logged) == []


@pytest.mark.parametrize("ngrams", [1, 2, 3])
def test_hidden_words_hide_the_terms_that_they_are_in(ngrams, monkeypatch):
    """The same words, whatever terms a model looks at; no term tells of a hidden one."""
    parts = reviews.splits(ngrams=ngrams)
    seen = []

    def classify(model, x, observed, fill=None):
        seen.append((x, observed))
        return torch.tensor([[0.6, 0.4]]).log().expand(len(x), -1)

    monkeypatch.setattr("zoo.tasks.evaluate.classify", classify)
    evaluate(reviews.linear(ngrams), parts.test, missing=0.3)
    ((x, observed),) = seen
    assert x.shape == observed.shape
    words, *longer = tokens.places(x.shape[3], parts.spec)
    hidden = ~observed[..., words]
    assert float(hidden.float().mean()) == pytest.approx(0.3, abs=0.03)
    assert torch.equal(hidden, torch.rand(hidden.shape, generator=torch.Generator().manual_seed(0)) < 0.3)
    for size, place in enumerate(longer, 2):
        terms = observed[..., place]
        for first in range(terms.shape[3]):
            assert torch.equal(terms[..., first], ~hidden[..., first : first + size].any(3))


def test_command_hides_words(tmp_path, capsys):
    run = run_train(tmp_path, "model=naive_bayes", "data=grammar", "logger=none", "trainer=cpu")
    run_script("evaluate.py", f"ckpt={run}", "missing=0.4", f"json={tmp_path / 'out.json'}")
    said = " ".join(capsys.readouterr().out.split())
    assert "40% of the words missing" in said
    expected = evaluate(zoo.load(run), load_splits("grammar", val_size=0.1).test, missing=0.4).metrics
    assert json.loads((tmp_path / "out.json").read_text())["accuracy"] == pytest.approx(expected["accuracy"])
    run_script("evaluate.py", f"ckpt={run}")
    assert "features" not in capsys.readouterr().out
    run_script("evaluate.py", f"ckpt={run}", "draws=2")
    assert "samples are measured by features, which data=grammar has none of" in capsys.readouterr().out
    for words, reason in (
        (("missing=0.4", "fill=mean"), "a hidden word of a text leaves no place"),
        (("mask=left",), "hides pixels side by side"),
        (("synthetic=true",), "a classifier is taught by samples: that is for the kind image"),
    ):
        with pytest.raises(SystemExit) as end:
            run_script("evaluate.py", f"ckpt={run}", *words)
        assert end.value.code == 2
        assert reason in capsys.readouterr().err
    mine = tmp_path / "mine.csv"
    mine.write_text("text,class\nthe soup was good,positive\nthe soup was bad,negative\n")
    run_script("evaluate.py", f"ckpt={run}", "data=labelled_text", f"path={mine}", f"json={tmp_path / 'out.json'}")
    assert json.loads((tmp_path / "out.json").read_text())["accuracy"] == 1


def test_an_exact_likelihood_takes_no_importance_samples():
    data = zoo.ImageDataModule("grammar")
    model = zoo.create("naive_bayes", data.spec)
    model.initialize([(data.splits.train.x(), data.splits.train.labels)], torch.Generator())
    with pytest.raises(zoo.ZooError, match="naive_bayes takes no importance samples"):
        evaluate(model, data.splits.test, importance=5)
    with pytest.raises(zoo.ZooError, match="a classifier is taught by samples: that is for the kind image"):
        synthetic_accuracy(model, data.splits.test)
