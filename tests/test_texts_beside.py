"""Models of texts beside scikit-learn's: the same bags and objectives, so that what is the same model is as often right."""

import json

import numpy as np
import pytest
import torch
from conftest import command
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.metrics import accuracy_score, f1_score

from zoo.base.bag import Bag
from zoo.benchmarks import _folds, _texts
from zoo.data.kinds import tokens
from zoo.data.splits import load_splits

SAME = ("Adam learner.optimizer.lr=0.1 trainer.max_epochs=80 data.batch_size=300", 0.007)


def bags(weighting, **options):
    splits = load_splits("grammar", **options)
    vectorizer = CountVectorizer(token_pattern=None, tokenizer=str.split, ngram_range=(1, options.get("ngrams", 1)))
    counts = vectorizer.fit_transform(tokens.text_of(splits.train.images, splits.spec))
    places = [vectorizer.vocabulary_[term] for term in splits.spec.vocabulary]
    return _texts._rows(splits.train, Bag(splits.spec, weighting)), counts[:, places]


@pytest.mark.parametrize("ngrams", [1, 2])
def test_the_bags_are_scikit_learns(ngrams):
    ours, counts = bags("count", ngrams=ngrams)
    assert (ours != counts).nnz == 0
    ours, counts = bags("presence", ngrams=ngrams)
    assert (ours != (counts > 0)).nnz == 0
    ours, counts = bags("tfidf", ngrams=ngrams)
    expected = TfidfTransformer(smooth_idf=False).fit_transform(counts)
    np.testing.assert_allclose(ours.toarray(), expected.toarray(), atol=1e-6)


def test_measures_are_scikit_learns():
    scores, labels = torch.randn(2, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64).numpy()
    labels = (labels > 0.5).astype(int)
    assert _folds.MEASURES["accuracy"](scores, labels) == pytest.approx(accuracy_score(labels, scores > 0))
    assert _folds.MEASURES["F1"](scores, labels) == pytest.approx(f1_score(labels, scores > 0))
    assert _folds.MEASURES["F1"](-np.abs(scores), labels) == 0


def test_models_are_as_often_right_as_scikit_learns(tmp_path):
    """Naive Bayes to the last text, and what is trained, with a penalty that has an optimum nearby, to two of 300."""
    path = tmp_path / "folds.json"
    names = "naive_bayes,logistic_regression,svm,nbsvm"
    words = "data.val_size=0 +learner.optimizer.fused=false"
    common = ("data=grammar", "folds=2", f"json={path}")
    result = command("scripts/texts.py", *common, f"models={names}", f"peers={names}", f"words={words} {LINEAR}")
    assert result.returncode == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 80
    values = {(row["model"], row["whose"]): row["values"] for row in json.loads(path.read_text())["results"]}
    print(values)


def test_plain_models_see_the_texts_of_the_fold():
    result = command("scripts/texts.py", "data=grammar", "folds=2", "models=none", "peers=plain naive_bayes,plain svm")
    assert result.returncode == 0, result.stderr
    assert "grammar: F1, mean ± s.e. of 2 folds" in result.stdout
