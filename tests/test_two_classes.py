"""What a classifier of two classes is judged by, from an evaluation to a run's pictures and TensorBoard."""

import csv
import json
import re

import numpy as np
import pytest
import torch
from conftest import run_script, run_train
from PIL import Image
from sklearn import metrics as sklearn
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import zoo
from zoo.data.splits import Split, load_splits
from zoo.inspect.figures import classifier_figures
from zoo.inspect.kinds.table import mistakes
from zoo.metrics import binary
from zoo.spec import Column, DataSpec
from zoo.tasks.evaluate import describe, evaluate, remarks

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def splits():
    return load_splits("breast_cancer", val_size=0.2)


@pytest.fixture(scope="module")
def model(splits):
    """One that is right more often than not, and wrong often enough."""
    model = zoo.create("logistic_regression", splits.spec)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
        x = splits.train.x()
        if sklearn.roc_auc_score(splits.train.labels, zoo.classify(model, x)[:, 1]) < 0.5:
            for parameter in model.parameters():
                parameter.neg_()
    return model.eval()


def probabilities(model, split: Split) -> np.ndarray:
    return zoo.classify(model, split.x()).double().exp()[:, 1].numpy()


def test_figures_are_those_of_scikit_learn(splits, model):
    found = evaluate(model, splits.test).metrics
    p, y = probabilities(model, splits.test), splits.test.labels.numpy()
    assert found["auroc"] == pytest.approx(sklearn.roc_auc_score(y, p), abs=1e-12)
    assert found["average_precision"] == pytest.approx(sklearn.average_precision_score(y, p), abs=1e-12)
    assert found["brier"] == pytest.approx(sklearn.brier_score_loss(y, p), abs=1e-6)
    assert found["f1"] == pytest.approx(sklearn.f1_score(y, p > 0.5))
    assert found["macro_f1"] == pytest.approx(sklearn.f1_score(y, p > 0.5, average="macro"))
    for key, scores in zip(
        ("precision", "recall", "f1"), sklearn.precision_recall_fscore_support(y, p > 0.5), strict=False
    ):
        assert [row[key] for row in found["per_class"].values()] == pytest.approx(scores)
    assert [row["examples"] for row in found["per_class"].values()] == np.bincount(y).tolist()
    assert found["cost"] == pytest.approx(1 - found["accuracy"])
    assert (found["threshold"], found["threshold_from"], found["costs"]) == (0.5, "costs", [1, 1])
    assert found["positive"] == splits.spec.class_names[-1]


@pytest.mark.parametrize("missing", [0.0, 0.5])
def test_the_threshold_costs_least_on_validation_rows(splits, model, missing):
    """Of all thresholds that there are; and not on those that it is tested on."""
    costs = (1.0, 5.0)
    options = {"missing": missing, "costs": costs}
    found = evaluate(model, splits.test, validation=splits.val, **options).metrics
    assert found["threshold_from"] == "validation"
    on_val, on_test = (evaluate(model, split, missing=missing).log_proba for split in (splits.val, splits.test))
    p = on_val.double().exp()[:, 1]
    every = torch.cat([p - 1e-9, p + 1e-9, torch.linspace(0, 1, 1001).double()]).clamp(0, 1).tolist()
    least = min(binary.cost(p, splits.val.labels, threshold, costs) for threshold in every)
    assert binary.cost(p, splits.val.labels, found["threshold"], costs) == pytest.approx(least)
    p, positive = on_test.double().exp()[:, 1].numpy(), splits.test.labels.numpy() == 1
    chosen = p > found["threshold"]
    assert found["cost"] == pytest.approx(((~positive & chosen).sum() + 5 * (positive & ~chosen).sum()) / len(p))
    assert found["f1"] == pytest.approx(sklearn.f1_score(positive, chosen))


def test_without_both_classes_to_choose_on_it_follows_from_the_costs(splits, model):
    one = splits.val.take(splits.val.labels == 1)
    for validation in (None, splits.val.take(slice(0)), one):
        found = evaluate(model, splits.test, costs=[1, 5], validation=validation).metrics
        assert found["threshold"] == pytest.approx(1 / 6)
        (said,) = remarks(found, model.spec)
        assert "threshold 0.167 follows from the costs" in said
        assert "no validation rows of both classes" in said
    assert not remarks(evaluate(model, splits.test, costs=[1, 5], validation=splits.val).metrics, model.spec)
    assert not remarks(evaluate(model, splits.test).metrics, model.spec)


def test_a_class_that_is_not_there_is_told(splits, model):
    found = evaluate(model, splits.test.take(splits.test.labels == 1)).metrics
    assert not {"auroc", "average_precision", "f1"} & set(found)
    (said,) = remarks(found, model.spec)
    assert f"none of these rows is {splits.spec.class_names[0]}" in said
    assert all("nan" not in line for line in describe(found))
    json.dumps(found, allow_nan=False)


def test_lines_fit_a_terminal(splits, model):
    found = evaluate(model, splits.test, costs=[1, 5], validation=splits.val).metrics
    for name in (found["positive"], "a" * 300, "some very long name of a class"):
        lines = describe({**found, "positive": name})
        assert len(lines) == 3
        assert all(len(f"test {line}") <= 80 for line in lines)
    assert re.search(r"^f1 0\.\d{4}  cost \d\.\d{4}  where p\(.+\) > \S+$", lines[2])
    assert "cost" not in " ".join(describe(evaluate(model, splits.test).metrics))  # it is the share of mistakes


def test_costs_are_of_two_classes(splits, model):
    with pytest.raises(zoo.ConfigError, match="two numbers above 0"):
        evaluate(model, splits.test, costs=[1, 0])
    digits = load_splits("digits")
    with pytest.raises(zoo.ConfigError, match="of two classes, and the data has 10"):
        evaluate(zoo.create("logistic_regression", digits.spec), digits.test, costs=[1, 5])


def test_cells_of_a_row_are_hidden_whole(monkeypatch):
    """A category shows nothing of itself, nor does the column that tells of a gap."""
    columns = (Column("a"), Column("b", ("x", "y", "z")), Column("a?", ("seen", "missing"), gaps_of="a"))
    spec = DataSpec((1, 1, 6), 2, kind="table", values="mixed", missing=True, columns=columns)
    asked = []

    def classify(model, x, observed, fill):
        asked.append(observed)
        return torch.full((len(x), 2), 0.5).log()

    monkeypatch.setattr("zoo.tasks.evaluate.classify", classify)
    model = zoo.create("naive_bayes", spec, emission="mixed")
    split = Split(torch.zeros(1000, 1, 1, 6), torch.arange(1000) % 2, "table")
    evaluate(model, split, missing=0.3)
    (seen,) = (observed.flatten(1) for observed in asked)
    assert (seen[:, [4, 5]] == seen[:, [0]]).all()
    assert (seen[:, [2, 3]] == seen[:, [1]]).all()
    assert not (seen[:, 0] == seen[:, 1]).all()
    assert seen[:, :2].float().mean() == pytest.approx(0.7, abs=0.04)


# Pictures


def test_figures_carry_the_numbers(splits, model):
    found = evaluate(model, splits.test, costs=[1, 5], validation=splits.val)
    metrics = found.metrics
    drawn = classifier_figures(found.log_proba, splits.test.labels, metrics, model.spec)
    assert set(drawn) == {"confusion", "reliability", "roc", "precision_recall", "cost_by_threshold"}
    titles = {name: figure.axes[0].get_title() for name, figure in drawn.items()}
    for name, key in (("roc", "auroc"), ("precision_recall", "average_precision"), ("cost_by_threshold", "cost")):
        assert f"{metrics[key]:.4f}" in titles[name]
    assert f"{metrics['brier']:.4f}" in titles["reliability"]
    curve, _, point = drawn["roc"].axes[0].lines
    assert np.trapezoid(curve.get_ydata(), curve.get_xdata()) == pytest.approx(metrics["auroc"])
    p, y = probabilities(model, splits.test), splits.test.labels.numpy()
    chosen = p > metrics["threshold"]
    assert point.get_xydata() == pytest.approx(np.array([[chosen[y == 0].mean(), chosen[y == 1].mean()]]))
    curve, base, point = drawn["precision_recall"].axes[0].lines
    area = (np.diff(curve.get_xdata()) * curve.get_ydata()[1:]).sum()
    assert area == pytest.approx(metrics["average_precision"])
    assert base.get_ydata()[0] == pytest.approx(y.mean())
    assert point.get_xydata() == pytest.approx(np.array([[chosen[y == 1].mean(), y[chosen].mean()]]))
    line, point = drawn["cost_by_threshold"].axes[0].lines
    assert line.get_xdata()[0] == metrics["threshold"]
    assert point.get_xydata() == pytest.approx(np.array([[metrics["threshold"], metrics["cost"]]]))
    (stairs,) = drawn["cost_by_threshold"].axes[0].patches
    values, edges, _ = stairs.get_data()
    assert values[np.searchsorted(edges, metrics["threshold"], "right") - 1] == pytest.approx(metrics["cost"])
    bars = [bar.get_height() for bar in drawn["reliability"].axes[0].patches]
    for place in (0, 5, 7):
        inside = (place / 15 < p) & (p <= (place + 1) / 15)
        assert inside.any()
        assert bars[place] == pytest.approx(y[inside].mean())


def test_without_one_class_there_is_less_to_draw(splits, model):
    found = evaluate(model, one := splits.test.take(splits.test.labels == 1))
    drawn = classifier_figures(found.log_proba, one.labels, found.metrics, model.spec)
    assert set(drawn) == {"confusion", "reliability", "cost_by_threshold"}


def test_worst_mistakes_of_a_table_name_its_strangest_cells():
    columns = (Column("age", location=40, scale=10), Column("job", ("none", "a|b")), Column("size"))
    columns += (Column("size?", ("seen", "missing"), gaps_of="size"),)
    mean = (0.0, 0.99, 0.01, 0.0, 0.5, 0.5)
    spec = DataSpec((1, 1, 6), 2, ("good", "bad"), mean, kind="table", values="mixed", missing=True, columns=columns)
    rows = torch.tensor([[3.5, 0, 1, torch.nan, 0, 1], [0.1, 1, 0, -2.0, 1, 0], [0, 1, 0, 0, 1, 0]])
    model = zoo.create("logistic_regression", spec)
    split = Split(rows[:, None, None], torch.tensor([0, 1, 0]), "table")
    log_proba = torch.tensor([[0.1, 0.9], [0.7, 0.3], [0.8, 0.2]]).log()
    head, _, *lines = mistakes(model, split, log_proba, 5).splitlines()
    assert head.count("|") == 5
    assert lines == [  # of a category of a share of 1 %: √99 standard deviations
        r"| good | bad | 90.0% | job = a\|b (9.9 sd), age = 75 (3.5 sd) |",
        "| bad | good | 70.0% | size = -2 (2.0 sd), job = none (0.1 sd), age = 41 (0.1 sd) |",
    ]
    assert len(mistakes(model, split, log_proba, 1).splitlines()) == 3


# A run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    words = ("model=logistic_regression", "data=breast_cancer", "data.val_size=0.1", "data.costs=[1,5]", "trainer=cpu")
    return run_train(tmp_path_factory.mktemp("runs"), *words, "learner.monitor=val/auroc", "trainer.max_epochs=3")


def test_a_run_chooses_its_epoch_by_auroc(run):
    with (run / "metrics.csv").open() as file:
        values = [float(row["val/auroc"]) for row in csv.DictReader(file)]
    best = torch.load(run / "best.ckpt", weights_only=True)
    assert best["epoch"] == values.index(max(values))
    val = load_splits("breast_cancer", val_size=0.1).val
    expected = sklearn.roc_auc_score(val.labels, probabilities(zoo.load(run), val))
    assert max(values) == pytest.approx(expected, abs=1e-6)


def test_a_run_says_and_draws_it(run):
    summary = json.loads((run / "summary.json").read_text())["test"]
    assert (summary["costs"], summary["threshold_from"]) == ([1, 5], "validation")
    names = {"confusion", "reliability", "roc", "precision_recall", "cost_by_threshold"}
    assert {path.name for path in (run / "figures").iterdir()} == {f"{name}.png" for name in names}
    shown = EventAccumulator(str(run), size_guidance={"images": 0, "tensors": 0}).Reload()
    assert set(shown.Tags()["images"]) == {*(f"test/{name}" for name in names), "validation/confusion"}
    for name in names:
        with Image.open(run / "figures" / f"{name}.png") as picture:
            assert picture.convert("L").getextrema()[0] < 50
    assert {f"test/{key}" for key in ("auroc", "average_precision", "f1", "brier", "cost", "macro_f1")} <= set(
        shown.Tags()["scalars"]
    )
    text = shown.Tensors("test/worst_mistakes/text_summary")[0].tensor_proto.string_val[0].decode()
    assert text.startswith("| true | taken for |")


def test_the_command_takes_other_costs(run, tmp_path, capsys):
    expected = json.loads((run / "summary.json").read_text())["test"]
    run_script("evaluate.py", f"ckpt={run}", f"json={tmp_path / 'a.json'}")
    own = json.loads((tmp_path / "a.json").read_text())
    assert {key: own[key] for key in expected} == expected  # those of the training
    assert "recall" in capsys.readouterr().out
    run_script("evaluate.py", f"ckpt={run}", f"json={tmp_path / 'b.json'}", "costs=[20,1]")
    other = json.loads((tmp_path / "b.json").read_text())
    assert other["costs"] == [20, 1]
    splits = load_splits("breast_cancer", val_size=0.1)
    expected = evaluate(zoo.load(run), splits.test, costs=[20, 1], validation=splits.val).metrics
    assert {key: other[key] for key in expected} == expected
    assert other["cost"] != own["cost"]
    assert "rows" in capsys.readouterr().out
    for word in ("costs=[1]", "costs=5", "costs=[1,x]"):
        with pytest.raises(SystemExit) as end:
            run_script("evaluate.py", f"ckpt={run}", word)
        assert end.value.code == 2
        assert "two numbers above 0 are needed" in capsys.readouterr().err


def test_other_classifiers_have_two_pictures(tmp_path):
    run = run_train(
        tmp_path, "model=logistic_regression", "data=digits", "logger=none", "trainer.max_epochs=1", figures=True
    )
    assert {path.name for path in (run / "figures").iterdir()} == {"confusion.png", "reliability.png"}


@pytest.mark.parametrize("word", ["model=logistic_regression", "model=naive_bayes"])
def test_auroc_chooses_among_two_classes_alone(word, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_train(tmp_path, word, "data=digits", "learner.monitor=val/auroc")
    assert "learner.monitor=val/auroc is of two classes, and the data has 10" in capsys.readouterr().err


def test_auroc_chooses_where_both_classes_are_validated(splits, model):
    learner = zoo.ClassificationLearner(zoo.create("logistic_regression", splits.spec), monitor="val/auroc")
    assert learner.mode == "max"
    values = learner.measure("val", torch.randn(4, 2), torch.tensor([0, 1, 1, 0]))
    assert "auroc" in values
    assert "auroc" not in learner.measure("val", torch.randn(4, 2), torch.tensor([1, 1, 1, 1]))


def test_auroc_cannot_choose_by_one_class(tmp_path, capsys):
    words = ("model=logistic_regression", "data=breast_cancer", "data.val_size=1", "trainer.max_epochs=1")
    with pytest.raises(SystemExit) as end:
        run_train(tmp_path, *words, "learner.monitor=val/auroc", "logger=none")
    assert end.value.code == 2
    assert "needs validation examples of both classes" in capsys.readouterr().err
