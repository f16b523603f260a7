"""Which columns matter: scikit-learn's permutation importance, and what a model's own numbers are by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import tables
import torch
from conftest import run_script, run_train
from PIL import Image
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.inspection import permutation_importance
from sklearn.metrics import roc_auc_score

import zoo
from zoo.data.kinds import table
from zoo.data.splits import Split
from zoo.registry import load_with_source
from zoo.spec import Column
from zoo.tasks.evaluate import splits_for
from zoo.tasks.importance import COEFFICIENT, LOG_RATIO, columns, measure, own_importance

pytestmark = pytest.mark.usefixtures("one_thread")
REPEATS = 30


class Asked(ClassifierMixin, BaseEstimator):
    """A model of the zoo as scikit-learn asks one, about rows as a user's file has them."""

    classes_ = np.array([0, 1])

    def __init__(self, model):
        self.model = model

    def fit(self, rows, labels):
        return self

    def predict_proba(self, rows):
        return zoo.classify(self.model, rows).exp().double().numpy()

    def predict(self, rows):
        return self.predict_proba(rows).argmax(1)


@pytest.mark.parametrize("spec", [tables.SPEC, tables.WITH_GAPS], ids=["plain", "indicators"])
def test_equal_to_scikit_learns_within_noise(spec):
    """On the same rows, of which columns are those of the file: what tells of gaps goes with the gaps."""
    model, split = tables.linear(spec=spec), tables.labelled(400, spec)
    hidden = torch.rand(400, generator=torch.Generator().manual_seed(5)) < 0.3
    split.images[hidden, ..., 1:4] = math.nan
    if spec is tables.WITH_GAPS:
        split.images[hidden, ..., 5:] = torch.tensor([0.0, 1.0])
    ours = measure(model, split, REPEATS)
    rows, labels = table.cells(split.images, spec), split.labels.numpy()
    theirs = permutation_importance(
        Asked(model), rows, labels, scoring="roc_auc", n_repeats=REPEATS, random_state=1, n_jobs=1
    )
    assert ours["score"] == "AUROC of bad"
    assert ours["value"] == pytest.approx(roc_auc_score(labels, Asked(model).predict_proba(rows)[:, 1]), abs=1e-4)
    assert [*ours["columns"]] == ["age", "job", "sum"]  # the most important first
    for name, mean, std in zip(rows.columns, theirs.importances_mean, theirs.importances_std, strict=True):
        row = ours["columns"][name]
        assert abs(row["drop"] - mean) < 4 * math.hypot(row["std"], std) / math.sqrt(REPEATS) + 1e-9, name
        assert row["std"] == pytest.approx(std, rel=0.6, abs=1e-4)


def test_a_column_that_a_model_does_not_read_matters_nothing():
    model, split = tables.linear(), tables.labelled(200)
    with torch.no_grad():
        model.head.weight[:, 1:4] = 0.7
    row = measure(model, split, 5)["columns"]["job"]
    assert max(abs(row["drop"]), row["std"], row["own"]) < 1e-9
    assert measure(model, split, 5) == measure(model, split, 5)
    assert measure(model, split, 5) != measure(model, split, 5, seed=1)


def test_several_classes_have_an_accuracy():
    spec = zoo.DataSpec((1, 1, 2), 3, kind="table", values="real", columns=(Column("a"), Column("b")), std=(1, 1))
    model = zoo.create("logistic_regression", spec)
    with torch.no_grad():
        model.head.weight.copy_(torch.tensor([[-9.0, 0], [0, 0], [9, 0]]))
    x = torch.randn(300, 1, 1, 2, generator=torch.Generator().manual_seed(0))
    split = Split(x, zoo.classify(model, x).argmax(1), "table")
    split.labels[:30] = -1  # of hidden class: left aside
    found = measure(model, split, 4)
    assert (found["score"], found["value"]) == ("accuracy", 1)
    assert found["columns"]["b"] == {"drop": 0, "std": 0, "own": 0}
    # rows that happen to get the cell of another row of their class are still right
    shares = split.labels[30:].bincount().double() / 270
    assert found["columns"]["a"]["drop"] == pytest.approx(1 - float(shares.square().sum()), abs=0.06)
    assert found["columns"]["a"]["own"] == 18


def test_coefficients_are_log_odds():
    """Of a number, for a standard deviation; of categories, from one to another; of gaps, with their column."""
    words, own = own_importance(tables.linear(), tables.labelled())
    assert words == COEFFICIENT
    assert own == pytest.approx({"age": 2, "job": 1.8, "sum": 0.01})
    model = tables.linear("svm", tables.WITH_GAPS, kernel="linear")
    model.temperature.fill_(0.5)
    with torch.no_grad():
        model.head.weight[1, 0] = -2.0
        model.head.weight[1, 5:] = torch.tensor([-1.0, 2])
    _, own = own_importance(model, tables.labelled(12, tables.WITH_GAPS))
    assert own == pytest.approx({"age": -4, "job": 6, "sum": 0.02})
    assert own_importance(zoo.create("svm", tables.SPEC, num_features=8), tables.labelled()) == (None, {})


def test_naive_bayes_has_log_ratios():
    """The mean over rows of what a column says for one class against the other; of gaps, with their column."""
    for spec in (tables.SPEC, tables.WITH_GAPS):
        split = tables.labelled(200, spec)
        model = zoo.create("naive_bayes", spec, emission="mixed")
        model.initialize([(split.images, split.labels)], torch.Generator().manual_seed(0))
        model.maximize(model.statistics(split.images, split.labels))
        words, own = own_importance(model, split)
        assert words == LOG_RATIO
        contributions = zoo.explain(model, split.images).contributions
        ratios = contributions[:, 1] - contributions[:, 0]
        jobs = ratios[:, 1] + (ratios[:, 3] if spec is tables.WITH_GAPS else 0)
        assert own["age"] == pytest.approx(float(ratios[:, 0].abs().mean()), rel=1e-4)
        assert own["job"] == pytest.approx(float(jobs.abs().mean()), rel=1e-4)
        assert own["age"] > own["job"] > own["sum"]  # as the classes were made
        assert measure(model, split, 2)["own"] == LOG_RATIO


def test_columns_are_those_of_the_file():
    named = {name: [number for number, _, _ in blocks] for name, blocks in columns(tables.WITH_GAPS).items()}
    assert named == {"age": [0], "job": [1, 3], "sum": [2]}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    words = ("data=breast_cancer", "model=logistic_regression", "trainer.max_epochs=2", "trainer.accelerator=cpu")
    return run_train(tmp_path_factory.mktemp("runs"), *words, "logger=none")


def test_command(run, tmp_path, capsys):
    run_script(
        "importance.py",
        f"ckpt={run}",
        "repeats=3",
        "split=train",
        f"json={tmp_path / 'x.json'}",
        f"out={tmp_path / 'x'}",
    )
    said = capsys.readouterr().out
    told = json.loads((tmp_path / "x.json").read_text())
    model, source = load_with_source(run)
    wanted = measure(model, splits_for(model.spec, source).train, 3)
    assert {key: value for key, value in told.items() if key != "options"} == wanted
    assert len(wanted["columns"]) == 30
    for name, row in wanted["columns"].items():
        assert name in said
        assert f"{row['drop']:.4f} ± {row['std']:.4f}" in said
    with Image.open(tmp_path / "x.png") as picture:
        assert min(picture.size) > 300
    run_script("importance.py", f"ckpt={run}", "repeats=1")
    assert (run / "importance-test.png").is_file()


def test_bad_input(run, tmp_path, capsys):
    pictures = zoo.save(zoo.create("logistic_regression", zoo.DataSpec((1, 4, 4), 3)), tmp_path / "pictures")
    mixture = zoo.save(zoo.create("gmm", zoo.load(run).spec, per_class=False, pca=0), tmp_path / "mixture")
    for words, reason in (
        ((f"ckpt={pictures}",), "put into random order: that is for the kind table"),
        ((f"ckpt={mixture}", "data=breast_cancer"), "gmm cannot classify; models that can:"),
        ((f"ckpt={run}", "data=digits"), "the data is of the kind image"),
        ((f"ckpt={run}", "repeats=0"), "must be in [1"),
        ((f"ckpt={run}", f"out={tmp_path / 'x.pdf'}"), "its name ends with .png"),
        ((f"ckpt={run}", "rows.csv"), "is not key=value"),
    ):
        with pytest.raises(SystemExit) as end:
            run_script("importance.py", *words)
        assert end.value.code == 2
        said = capsys.readouterr().err
        assert reason in said
        assert len(said.splitlines()) == 1
    one = tables.labelled()
    with pytest.raises(zoo.DataError, match="rows of two at least, and there are 1"):
        measure(tables.linear(), one.take(one.labels == 1))
