"""scikit-learn's models of tables beside the zoo's, see :mod:`zoo.benchmarks._folds`: the area under the ROC curve.

They see missing numbers filled in with medians and missing categories with the most frequent one. Boosted trees, which
take gaps as they are, stand for what a user would take if only the area counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.kinds import table
from zoo.data.splits import Splits

WHAT = "tables"
FOLDS = {"breast_cancer": 10, "german_credit": 10, "heart_disease": 10, "taiwan_default": 5}
Peer = Callable[["Rows"], Any]


@dataclass(frozen=True)
class Rows:
    """Training rows as scikit-learn's models take them.

    Attributes:
        frame: a column a column of the table, NaN where a cell is missing.
        labels: ``(N,)``.
        numbers: names of the columns of numbers.
        categories: names of the columns of categories.
        gaps: whether models are told which numbers were missing.
    """

    frame: pd.DataFrame
    labels: np.ndarray
    numbers: list[str]
    categories: list[str]
    gaps: bool = False

    def encoded(self, one_hot: bool = True) -> Any:
        """A transformer: filled in and standardised numbers, then filled in categories, an entry each or numbered."""
        from sklearn.compose import ColumnTransformer
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

        encoder = OneHotEncoder(sparse_output=False) if one_hot else OrdinalEncoder()
        filled = make_pipeline(SimpleImputer(strategy="most_frequent"), encoder)
        scaled = make_pipeline(SimpleImputer(strategy="median", add_indicator=self.gaps), StandardScaler())
        return ColumnTransformer([("numbers", scaled, self.numbers), ("categories", filled, self.categories)])


class NaiveBayes:
    """scikit-learn's Gaussian and categorical naive Bayes in one: their log p(x, y) added, the prior counted once."""

    def __init__(self, rows: Rows) -> None:
        from sklearn.naive_bayes import CategoricalNB, GaussianNB

        self.encoder = rows.encoded(one_hot=False).fit(rows.frame)
        x = self.encoder.transform(rows.frame)
        self.width = x.shape[1] - len(rows.categories)
        sizes = [rows.frame[name].nunique() for name in rows.categories]
        parts = [GaussianNB().fit(x[:, : self.width], rows.labels)] if self.width else []
        if sizes:
            parts.append(CategoricalNB(min_categories=sizes).fit(x[:, self.width :].astype(int), rows.labels))
        self.parts, self.prior = parts, np.log(np.bincount(rows.labels) / len(rows.labels))

    def decision_function(self, frame: pd.DataFrame) -> np.ndarray:
        x = self.encoder.transform(frame)
        blocks = [x[:, : self.width]] * bool(self.width) + [x[:, self.width :].astype(int)]
        joint = sum(part.predict_joint_log_proba(block) for part, block in zip(self.parts, blocks, strict=False))
        joint = joint - (len(self.parts) - 1) * self.prior
        return joint[:, 1] - joint[:, 0]


def _logistic_regression(rows: Rows) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(rows.encoded(), LogisticRegression(max_iter=2000)).fit(rows.frame, rows.labels)


def _svm(rows: Rows) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    machine = LinearSVC(loss="hinge", max_iter=100_000, random_state=0)
    return make_pipeline(rows.encoded(), machine).fit(rows.frame, rows.labels)


class _Trees:
    """scikit-learn's boosted trees, with gaps and categories as they are."""

    def __init__(self, rows: Rows) -> None:
        from sklearn.ensemble import HistGradientBoostingClassifier

        self.kinds = {name: pd.CategoricalDtype(sorted(rows.frame[name].dropna().unique())) for name in rows.categories}
        trees = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=0)
        self.trees = trees.fit(rows.frame.astype(self.kinds), rows.labels)

    def decision_function(self, frame: pd.DataFrame) -> np.ndarray:
        return self.trees.decision_function(frame.astype(self.kinds))


PEERS: dict[str, Peer] = {
    "logistic_regression": _logistic_regression,
    "naive_bayes": NaiveBayes,
    "svm": _svm,
    "boosted trees": _Trees,
}
MODELS = ("logistic_regression", "svm", "mlp", "naive_bayes", "gmm", "vae")
MEASURES = ("AUROC",)


def words(peer: str) -> tuple[str, ...]:
    return ("model=logistic_regression",)


def theirs(peer: str, splits: Splits, settings: Mapping[str, Any]) -> np.ndarray:
    spec = splits.spec
    parts = [part for part in (splits.train, splits.val) if len(part)]
    frame = pd.concat([table.cells(part.images, spec) for part in parts], ignore_index=True)
    known = [column for column in spec.columns if not column.gaps_of]
    rows = Rows(
        frame,
        np.concatenate([part.labels.numpy() for part in parts]),
        [column.name for column in known if not column.categories],
        [column.name for column in known if column.categories],
        gaps=len(known) < len(spec.columns),
    )
    return PEERS[peer](rows).decision_function(table.cells(splits.test.images, spec))
