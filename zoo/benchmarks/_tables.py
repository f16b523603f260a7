"""The zoo's models of tables beside scikit-learn's: the area under the ROC curve on the test rows of the same folds.

scikit-learn's see all rows that are not in the test fold, with missing numbers filled in with medians and missing
categories with the most frequent one; the zoo's see the same rows, of which their recipes may hold out some to validate
on. Boosted trees, which take gaps as they are, stand for what a user would take if only the area counted.
"""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from zoo import config as configuration
from zoo import registry
from zoo.data.datamodule import ImageDataModule
from zoo.data.kinds import table
from zoo.errors import DataError
from zoo.files import REPOSITORY
from zoo.questions.classify import classify
from zoo.run.train import build, fit
from zoo.run.trainer import quiet
from zoo.spec import DataSpec

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


@dataclass
class Result:
    """Areas under the ROC curve of a model, a fold each, on one table."""

    data: str
    model: str
    whose: str
    areas: list[float] = field(default_factory=list)


def shown(values: Sequence[float], sign: str = "") -> str:
    """Mean and its standard error over folds, for a cell; nothing of none. ``sign``: "+" to show it of the mean."""
    if not values:
        return ""
    error = f" ± {statistics.stdev(values) / math.sqrt(len(values)):.4f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):{sign}.4f}{error}"


def compare(
    data: str,
    models: Sequence[str],
    peers: Sequence[str],
    words: Sequence[str],
    folds: int,
    told: Callable[[str], None],
) -> list[Result]:
    """Train each model on each fold of a table, and ask it about the test rows.

    Args:
        data: a source of tables of two classes.
        models: of the zoo, with their recipes.
        peers: of :data:`PEERS`.
        words: more of the command line of each training, of which those of the data hold for all.
        folds: how many.
        told: is handed a sentence after each fold.

    Raises:
        DataError: the data is no table, or one of more classes.
    """
    from sklearn.metrics import roc_auc_score

    results = [Result(data, name, "zoo") for name in models] + [Result(data, name, "scikit-learn") for name in peers]
    for fold in range(folds):
        common = [f"data={data}", f"data.folds={folds}", f"data.fold={fold}", *words]
        for result in results:
            ask = _ours if result.whose == "zoo" else _theirs
            scores, labels = ask(result.model, common)
            result.areas.append(float(roc_auc_score(labels, scores)))
        told(f"{data}, fold {fold + 1} of {folds}")
    return results


def _settings(words: Sequence[str]) -> dict[str, Any]:
    return configuration.settings(["trainer.accelerator=cpu", *words, "logger=none"], REPOSITORY / "configs")


def _ours(model: str, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Log odds of the second class that a model gives the test rows, by its recipe, and their labels."""
    with tempfile.TemporaryDirectory() as directory, quiet():
        run = Path(directory)
        learner, data, trainer = build(_settings([f"model={model}", *words]), run, Console(quiet=True), pictures=False)
        _check(data.spec)
        fit(learner, data, trainer, run)
        log_proba = classify(registry.load(run), data.splits.test.images)
    return (log_proba[:, 1] - log_proba[:, 0]).numpy(), data.splits.test.labels.numpy()


def _theirs(peer: str, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`_ours`, of a model of scikit-learn, in its own units."""
    splits = ImageDataModule(**_settings(["model=logistic_regression", *words])["data"]).splits
    spec = splits.spec
    _check(spec)
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
    scores = PEERS[peer](rows).decision_function(table.cells(splits.test.images, spec))
    return scores, splits.test.labels.numpy()


def _check(spec: DataSpec) -> None:
    spec.check_kind("table", "areas under ROC curves of tables")
    if spec.num_classes != 2:
        raise DataError(f"the data has {spec.num_classes} classes, where two are needed")
