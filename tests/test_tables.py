"""Models of tables beside scikit-learn's: what is compared, and that a model which is the same has the same area."""

import json

import numpy as np
import pytest
from conftest import command
from sklearn.naive_bayes import GaussianNB

import zoo
from zoo.benchmarks import _folds, _tables
from zoo.commands.tables import OPTIONS
from zoo.data import kinds
from zoo.data.splits import default_root, load_splits

table = kinds.find("table")


def rows_of(name, **options):
    splits = load_splits(name, **options)
    known = [column for column in splits.spec.columns if not column.gaps_of]
    rows = _tables.Rows(
        table.cells(splits.train.images, splits.spec),
        splits.train.labels.numpy(),
        [column.name for column in known if not column.categories],
        [column.name for column in known if column.categories],
    )
    return rows, table.cells(splits.test.images, splits.spec)


def test_naive_bayes_of_numbers_alone_is_scikit_learns():
    rows, test = rows_of("breast_cancer")
    scaled = (test - rows.frame.mean()) / rows.frame.std(ddof=0)
    joint = GaussianNB().fit((rows.frame - rows.frame.mean()) / rows.frame.std(ddof=0), rows.labels)
    expected = joint.predict_joint_log_proba(scaled)
    scores = _tables.NaiveBayes(rows).decision_function(test)
    np.testing.assert_allclose(scores, expected[:, 1] - expected[:, 0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("peer", _tables.PEERS)
def test_a_peer_takes_gaps_and_categories(peer):
    rows, test = rows_of("heart_disease")
    scores = _tables.PEERS[peer](rows).decision_function(test)
    assert scores.shape == (len(test),)
    assert np.isfinite(scores).all()


def test_naive_bayes_is_the_same_on_the_same_folds(tmp_path):
    words = ("models=naive_bayes,logistic_regression", "peers=naive_bayes,logistic_regression", "folds=2")
    path = tmp_path / "folds.json"
    result = command("scripts/tables.py", "data=german_credit", *words, f"json={path}")
    assert result.returncode == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 80
    areas = {(row["model"], row["whose"]): row["values"]["AUROC"] for row in json.loads(path.read_text())["results"]}
    # half of the rows: the recipe's penalty is that of nine tenths
    for model, near in (("naive_bayes", 1e-6), ("logistic_regression", 6e-3)):
        np.testing.assert_allclose(areas[model, "zoo"], areas[model, "scikit-learn"], atol=near)
    assert f"{np.mean(areas['naive_bayes', 'zoo']):.4f}" in result.stdout


def test_what_cannot_be_compared_is_refused():
    result = command("scripts/tables.py", "models=naive_baye")
    assert result.returncode == 2
    assert "did you mean 'naive_bayes'" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    for words, expected in (
        ({"data": "digits", "folds": 2}, "made for the kind image"),
        ({"models": "none", "peers": "none"}, "nothing to compare"),
    ):
        with pytest.raises(zoo.ConfigError, match=expected):
            _folds.report({key: option.default for key, option in OPTIONS.items()} | words, "table")


def test_home_equity_naive_bayes_learns_from_which_cells_are_missing():
    """Gaps of these loans tell more than most columns: bad ones are those whose debt nobody has written down. Counts of
    late payments, of which most are 0, are no normal numbers."""
    path = default_root() / "home-equity" / "hmeq.csv"
    areas = {}
    for indicators in (False, True):
        words = [
            f"data.path={path}",
            "data.target=BAD",
            f"data.indicators={str(indicators).lower()}",
            "data.val_size=0",
            "data.categories=[DEROG,DELINQ]",
        ]
        (result,) = _folds.compare("table", ["naive_bayes"], [], words, 3, lambda _: None)
        areas[indicators] = np.mean(result.values["AUROC"])
    assert areas[True] >= 0.885
    assert areas[True] > areas[False] + 0.04


def test_models_of_three_classes_are_refused(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["x,y", *(f"{row % 7},{row % 3}" for row in range(60))]) + "\n")
    with pytest.raises(zoo.DataError, match="has 3 classes, where two are needed"):
        _folds.compare("table", [], ["svm"], [f"data.path={path}", "data.target=y"], 2, lambda _: None)
