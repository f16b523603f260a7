"""Models of texts beside scikit-learn's: the same bags and objectives, so that the same model is as often right."""

import json

import numpy as np
import pytest
from conftest import command
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.metrics import accuracy_score, f1_score

import zoo
from zoo.base.bag import Bag
from zoo.benchmarks import _folds, _texts
from zoo.commands.texts import OPTIONS
from zoo.data.kinds import tokens
from zoo.data.splits import load_splits

PENALTY = 2 / 300  # scikit-learn's C = 1 for half of the texts, where nothing is held out
TRAINED = (
    "data.val_size=0",
    "data.batch_size=75",
    "learner.optimizer.name=Adam",
    "learner.optimizer.lr=0.1",
    f"learner.optimizer.weight_decay={PENALTY}",
    "trainer.max_epochs=30",
)


@pytest.mark.parametrize("ngrams", [1, 2])
def test_the_bags_are_scikit_learns(ngrams):
    splits = load_splits("grammar", ngrams=ngrams)
    vectorizer = CountVectorizer(token_pattern=None, tokenizer=str.split, ngram_range=(1, ngrams))
    counts = vectorizer.fit_transform(tokens.text_of(splits.train.images, splits.spec))
    counts = counts[:, [vectorizer.vocabulary_[term] for term in splits.spec.vocabulary]]
    assert len(vectorizer.vocabulary_) == splits.spec.shape[2]
    for weighting, expected in (
        ("count", counts),
        ("presence", counts > 0),
        ("tfidf", TfidfTransformer(smooth_idf=False).fit_transform(counts)),
    ):
        rows = _texts._rows(splits.train, Bag(splits.spec, weighting))
        np.testing.assert_allclose(rows.toarray(), expected.toarray(), atol=1e-6)


def test_measures_are_scikit_learns():
    random = np.random.default_rng(0)
    scores, labels = random.normal(size=50), random.integers(2, size=50)
    assert _folds.MEASURES["accuracy"](scores, labels) == accuracy_score(labels, scores > 0)
    assert _folds.MEASURES["F1"](scores, labels) == pytest.approx(f1_score(labels, scores > 0))
    assert _folds.MEASURES["F1"](-np.abs(scores), labels) == 0


def test_naive_bayes_is_as_often_right_as_scikit_learns(tmp_path):
    path = tmp_path / "folds.json"
    words = ("models=naive_bayes", "peers=naive_bayes", "folds=2", "words=data.val_size=0")
    result = command("scripts/texts.py", "data=grammar", *words, f"json={path}")
    assert result.returncode == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 80
    ours, theirs = (row["values"] for row in json.loads(path.read_text())["results"])
    assert ours == theirs
    assert {*ours} == {"accuracy", "F1"}
    assert min(ours["accuracy"]) > 0.8
    for measure, values in ours.items():
        assert f"grammar: {measure}, mean ± s.e. of 2 folds" in result.stdout
        assert f"{np.mean(values):.4f}" in result.stdout


def test_naive_bayes_of_presence_has_scikit_learns_odds():
    words = ["data=grammar", "data.val_size=0", "model.emission=bernoulli", "model.alpha=0.5", "model=naive_bayes"]
    (ours, labels), (theirs, same) = _folds._ours(words), _folds._theirs(_texts, "naive_bayes", words)
    np.testing.assert_array_equal(labels, same)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("logistic_regression", []),
        ("svm", ["model.kernel=linear", "model.loss=squared_hinge"]),
        ("nbsvm", ["model.beta=0.5"]),
    ],
)
def test_what_has_the_same_objective_has_the_same_odds(model, words):
    """But for a factor of the machines', an optimum that is neared, and an offset that is penalised or not."""
    words = ["data=grammar", "data.folds=2", *TRAINED, *words, f"model={model}"]
    (ours, labels), (theirs, same) = _folds._ours(words), _folds._theirs(_texts, model, words)
    np.testing.assert_array_equal(labels, same)
    assert np.corrcoef(ours, theirs)[0, 1] > 0.995
    assert _folds.MEASURES["accuracy"](ours, labels) == pytest.approx(
        _folds.MEASURES["accuracy"](theirs, labels), abs=0.011
    )
    if model == "logistic_regression":
        np.testing.assert_allclose(ours, theirs, atol=0.3)


def test_a_penalty_of_no_objective_is_scikit_learns_default():
    optimizer = {"name": "AdamW", "weight_decay": 0.01}
    assert _texts._penalty({"learner": {"optimizer": optimizer}}, 300) == 1
    assert _texts._penalty({"learner": {"optimizer": optimizer | {"name": "Adam"}}}, 300) == pytest.approx(2 / 3)


def test_plain_models_see_all_words_whatever_the_bags_are():
    few, all_words = (
        _folds.compare("grammar", [], ["plain svm", "plain naive_bayes"], words, 2, lambda _: None)
        for words in (["data.vocabulary=5"], [])
    )
    assert few == all_words
    assert min(value for result in few for value in result.values["accuracy"]) > 0.8


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"data": "grammar", "models": "gmm"}, "unknown model 'gmm'"),
        ({"data": "grammar", "peers": "plain"}, "unknown peer 'plain'"),
        ({"data": "grammar", "models": "none", "peers": "none"}, "nothing to compare"),
        ({"data": "digits"}, "made for the kind image: models of tables and texts are compared"),
    ],
)
def test_what_cannot_be_compared_is_refused(words, expected):
    with pytest.raises(zoo.ConfigError, match=expected):
        _folds.report({key: option.default for key, option in OPTIONS.items()} | words, "tokens")
