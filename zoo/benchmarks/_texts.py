"""scikit-learn's models of texts beside the zoo's, see :mod:`zoo.benchmarks._folds`: accuracy, F1 of the second class.

A peer of a model sees the very bags that the model sees by its recipe, weighted alike, and has its objective: penalty,
loss and imagined counts are the recipe's. What differs is the model's. Those called plain are what a user would type:
scikit-learn's own vectorizer and model, on the texts, with nothing set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from zoo import registry
from zoo.base.bag import Bag
from zoo.data.kinds import tokens
from zoo.data.splits import Split, Splits
from zoo.spec import TERMS

WHAT = "texts"
FOLDS = {"sms_spam": 10, "sentence_polarity": 10, "movie_reviews": 10}
MODELS = ("naive_bayes", "logistic_regression", "svm", "nbsvm", "mlp")
MEASURES = ("accuracy", "F1")
COUPLED = ("Adam", "SGD")  # optimisers whose weight decay is a penalty of the objective
WHOLE = ("data.case=kept", "data.ngrams=1", "data.min_count=1", f"data.vocabulary={TERMS}")  # all words, as they are


def _penalty(settings: Mapping[str, Any], count: int) -> float:
    """scikit-learn's C of the recipe's penalty, which is on the weights of two classes, for ``count`` texts; its
    default, 1, where the recipe's weight decay is none."""
    optimizer = settings["learner"]["optimizer"]
    decay = optimizer["weight_decay"] if optimizer["name"] in COUPLED else 0
    return 2 / (decay * count) if decay else 1.0


def _naive_bayes(x: Any, labels: np.ndarray, settings: Mapping[str, Any]) -> Any:
    from sklearn.naive_bayes import BernoulliNB, MultinomialNB

    model = settings["model"]
    return (BernoulliNB if model["emission"] == "bernoulli" else MultinomialNB)(alpha=model["alpha"]).fit(x, labels)


def _logistic_regression(x: Any, labels: np.ndarray, settings: Mapping[str, Any]) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=_penalty(settings, len(labels)), tol=1e-7, max_iter=2000).fit(x, labels)


def _svm(x: Any, labels: np.ndarray, settings: Mapping[str, Any]) -> Any:
    from sklearn.svm import LinearSVC

    loss = settings["model"]["loss"]
    return LinearSVC(C=_penalty(settings, len(labels)), loss=loss, max_iter=100_000, random_state=0).fit(x, labels)


class NBSVM:
    """A support vector machine of scikit-learn on log-count ratios (Wang & Manning 2012, section 2.3)."""

    def __init__(self, x: Any, labels: np.ndarray, settings: Mapping[str, Any]) -> None:
        alpha, beta = settings["model"]["alpha"], settings["model"]["beta"]
        first, second = (alpha + np.asarray(x[labels == label].sum(0))[0] for label in (0, 1))
        ratio = np.log(second / second.sum()) - np.log(first / first.sum())
        machine = _svm(x.multiply(ratio).tocsr(), labels, settings)
        weight = machine.coef_[0]
        self.weight = ratio * (beta * weight + (1 - beta) * np.abs(weight).mean())
        self.offset = machine.intercept_[0]

    def decision_function(self, x: Any) -> np.ndarray:
        return x @ self.weight + self.offset


def _plain_naive_bayes() -> Any:
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline

    return make_pipeline(CountVectorizer(), MultinomialNB())


def _plain_svm() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    return make_pipeline(TfidfVectorizer(), LinearSVC(random_state=0))


ALIKE: dict[str, Callable[..., Any]] = {
    "naive_bayes": _naive_bayes,
    "logistic_regression": _logistic_regression,
    "svm": _svm,
    "nbsvm": NBSVM,
}
PLAIN: dict[str, Callable[[], Any]] = {
    "plain naive_bayes": _plain_naive_bayes,
    "plain svm": _plain_svm,
}
PEERS = (*ALIKE, *PLAIN)


def words(peer: str) -> tuple[str, ...]:
    return (f"model={peer}",) if peer in ALIKE else ("model=logistic_regression", *WHOLE)


def theirs(peer: str, splits: Splits, settings: Mapping[str, Any]) -> np.ndarray:
    parts = [part for part in (splits.train, splits.val) if len(part)]
    labels = np.concatenate([part.labels.numpy() for part in parts])
    if peer in PLAIN:
        texts = [text for part in parts for text in tokens.text_of(part.images, splits.spec)]
        return _scores(PLAIN[peer]().fit(texts, labels), tokens.text_of(splits.test.images, splits.spec))
    from scipy.sparse import vstack

    cls: Any = registry.model_class(peer)
    bag = Bag(splits.spec, "count" if peer == "naive_bayes" else cls.weighting)
    x = vstack([_rows(part, bag) for part in parts])
    return _scores(ALIKE[peer](x.tocsr(), labels, settings), _rows(splits.test, bag))


def _rows(split: Split, bag: Bag) -> Any:
    """The weighted counts of texts as a sparse matrix of scikit-learn, ``(N, V)``."""
    from scipy.sparse import csr_matrix

    terms, values = bag.terms(split.x())
    places = (terms.rows.numpy(), terms.ids.numpy())
    return csr_matrix((values.to(torch.float64).numpy(), places), shape=(len(split), bag.size))


def _scores(model: Any, x: Any) -> np.ndarray:
    """Above 0 for the second class."""
    if hasattr(model, "decision_function"):
        return model.decision_function(x)
    log_proba = model.predict_log_proba(x)
    return log_proba[:, 1] - log_proba[:, 0]
