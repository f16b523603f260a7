"""Which columns of a table a classifier goes by.

Permutation importance of a column is what the score on a split falls by when its cells are put into random order, one
row's beside those of another's others: a model that has learnt nothing from the column loses nothing (Breiman 2001,
Random forests, section 10; scikit-learn's ``permutation_importance``). All entries of a column move together, and so
does what tells of its missing cells. Of columns that say the same the model may lose either without a loss.

Beside it stands what the model's own numbers say, which need no labels: coefficients of a linear one, log ratios of
naive Bayes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from zoo import capability
from zoo.base.model import Model
from zoo.data.splits import Split
from zoo.errors import DataError
from zoo.metrics.binary import auroc, log_odds
from zoo.questions.classify import classify
from zoo.questions.explain import explain
from zoo.spec import Column, DataSpec

AT_ONCE = 4096  # rows whose contributions are held at a time
COEFFICIENT, LOG_RATIO = "coefficient", "mean |log ratio|"

Blocks = list[tuple[int, Column, slice]]


def columns(spec: DataSpec) -> dict[str, Blocks]:
    """The columns of a user's file by name: of each its block of the spec, and the one that tells of its gaps, if any,
    as its number, column and entries."""
    found: dict[str, Blocks] = {}
    for number, (column, places) in enumerate(spec.blocks):
        found.setdefault(column.gaps_of or column.name, []).append((number, column, places))
    return found


def measure(model: Model, split: Split, repeats: int = 10, seed: int = 0) -> dict[str, Any]:
    """How much each column matters to a classifier of tables.

    Args:
        model: the classifier.
        split: rows and labels; those whose class is hidden are left aside.
        repeats: random orders of each column.
        seed: of these orders: the same seed gives the same.

    Returns:
        ``score``, its name, ``"AUROC of <last class>"`` where there are two, else ``"accuracy"``; its ``value`` with
        all columns as they are; ``own``, what the model's own numbers are, or None where it has none; and ``columns``
        by name, the most important first: ``drop`` and ``std``, mean and standard deviation of what the score falls by,
        and ``own``, see :func:`own_importance`.

    Raises:
        ZooError: the model does not classify, or is not for tables.
        DataError: rows that do not fit the model, or not of both classes.
    """
    spec = model.spec
    spec.check_kind("table", "columns are put into random order")
    spec.check_examples(split.shape, split.kind)
    capability.require(model, "classify")
    known = split.labelled()
    score = _score(spec)
    classes = len(known.labels.unique())
    if classes < 2:
        raise DataError(f"which columns tell classes apart needs rows of two at least, and there are {classes}")
    x, generator = known.x(), torch.Generator().manual_seed(seed)
    value = score(classify(model, x), known.labels)
    drops = {}
    for name, blocks in columns(spec).items():
        falls = []
        for _ in range(repeats):
            order, shuffled = torch.randperm(len(x), generator=generator), x.clone()
            for _, _, places in blocks:
                shuffled[..., places] = x[order][..., places]
            falls.append(value - score(classify(model, shuffled), known.labels))
        drops[name] = torch.tensor(falls, dtype=torch.float64)
    words, own = own_importance(model, split)
    rows: dict[str, dict[str, Any]] = {
        name: {"drop": float(fall.mean()), "std": float(fall.std(correction=0)), "own": own.get(name)}
        for name, fall in drops.items()
    }
    ordered = sorted(rows.items(), key=lambda row: -row[1]["drop"])
    return {"score": _score_name(spec), "value": value, "own": words, "columns": dict(ordered)}


def _score_name(spec: DataSpec) -> str:
    return f"AUROC of {spec.class_names[1]}" if spec.num_classes == 2 else "accuracy"


def _score(spec: DataSpec) -> Callable[[Tensor, Tensor], float]:
    """A function of log p(y | x) ``(N, K)`` and labels, higher is better."""
    if spec.num_classes == 2:
        return lambda log_proba, labels: auroc(log_odds(log_proba), labels)
    return lambda log_proba, labels: float((log_proba.argmax(1) == labels).double().mean())


def own_importance(model: Model, split: Split) -> tuple[str | None, dict[str, float]]:
    """What a model's own numbers are, in words, and what they say of each column by name; None and {} without any.

    A linear model has coefficients: what the log odds of the last of two classes change by with a standard deviation of
    a number; of categories, by the most from one to another. Of more classes it is the most for any two. Where a column
    has another that tells of its gaps, the larger one counts. Naive Bayes has the mean over rows of |log p(column | y)
    − log p(column | y')|, of two classes or the most for any two.
    """
    names = columns(model.spec)
    if hasattr(model, "coefficients"):
        weights = model.coefficients().detach().cpu()
        return COEFFICIENT, {name: _coefficient(weights, blocks) for name, blocks in names.items()}
    if not capability.can(model, "explain"):
        return None, {}
    sums = torch.zeros(len(names), dtype=torch.float64)
    for x, _ in split.chunks(AT_ONCE):
        contributions = explain(model, x).contributions.double()
        parts = [contributions[..., [number for number, _, _ in blocks]].sum(-1) for blocks in names.values()]
        of_columns = torch.stack(parts, -1)
        sums += (of_columns.amax(1) - of_columns.amin(1)).sum(0)
    return LOG_RATIO, dict(zip(names, (sums / len(split)).tolist(), strict=True))


def _coefficient(weights: Tensor, blocks: Blocks) -> float:
    """Of one column, from coefficients ``(K, F)``."""
    found = []
    for _, column, places in blocks:
        logits = weights[:, places]
        odds = logits[:, None] - logits[None]  # of each class against each other one
        if column.categories:
            found.append(float((odds.amax(2) - odds.amin(2)).max()))
        else:
            found.append(float(odds[1, 0] if len(logits) == 2 else odds.max()))
    return max(found, key=abs)
