"""Why a model takes a row of a table, or a text, for what it does: a score card, as lenders use them.

The logits of some models are sums over columns, or over the terms of a text, see :func:`zoo.explain`, and so are log
odds. Each column, or term, has points:

    log p(y | x) / p(y' | x) = offset + Σ points,

of the last of two classes y against the other, or of the most probable one of several against the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from zoo.base.model import Model
from zoo.data import kinds
from zoo.data.kinds import table, tokens
from zoo.questions.explain import explain
from zoo.spec import Column, DataSpec

SHOWN = 30  # columns or terms, those that count the most


def score_card(model: Model, example: Tensor) -> dict[str, Any]:
    """How the probability of a row, ``(1, 1, 1, W)``, or a text, ``(1, 1, 1, T)``, as it is stored, comes about.

    Returns:
        ``class`` and ``against``: of which classes the log odds are; ``columns`` of a row: of each its ``column``
        (name), ``value`` in the unit of the user's files, None where it is missing, and ``points`` in nats, those that
        count the most first; or ``terms`` of a text: of each ``term`` its ``count`` in the text, and the ``points`` of
        them all, those that the model does not know being one, ``"…"``; ``sum`` of the points, ``offset``, and
        ``log_odds``, which is both of these; and the ``probability`` of either class, ``against_probability`` of the
        other.

    Raises:
        ZooError: the model is neither for tables nor for texts, or its logits are no sums.
    """
    spec = model.spec
    if spec.kind != "tokens":
        spec.check_kind("table", "a score card has a line a column")
    contributions, offsets = (part.double() for part in explain(model, kinds.find(spec.kind).decode(example)))
    logits = offsets + contributions[0].sum(1)
    ours, other = (1, 0) if spec.num_classes == 2 else logits.topk(2).indices.tolist()
    points = contributions[0, ours] - contributions[0, other]
    what, told = ("terms", _terms) if spec.kind == "tokens" else ("columns", _columns)
    probabilities, offset = logits.softmax(0), float(offsets[ours] - offsets[other])
    return {
        "class": spec.class_names[ours],
        "against": spec.class_names[other],
        what: sorted(told(example, points, spec), key=lambda line: -abs(line["points"])),
        "sum": float(points.sum()),
        "offset": offset,
        "log_odds": float(points.sum()) + offset,
        "probability": float(probabilities[ours]),
        "against_probability": float(probabilities[other]),
    }


def _columns(row: Tensor, points: Tensor, spec: DataSpec) -> list[dict[str, Any]]:
    cells = table.cells(row, spec).iloc[0]
    return [
        {"column": column.name, "value": _value(column, row[0, 0, 0, places], cells), "points": worth}
        for (column, places), worth in zip(spec.blocks, points.tolist(), strict=True)
    ]


def _terms(text: Tensor, points: Tensor, spec: DataSpec) -> list[dict[str, Any]]:
    there = text.flatten() >= 0
    terms, place, counts = text.flatten()[there].unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(terms), dtype=points.dtype).index_add_(0, place, points[there])
    names = [*spec.vocabulary, tokens.OTHER]
    return [
        {"term": names[term], "count": count, "points": worth}
        for term, count, worth in zip(terms.tolist(), counts.tolist(), sums.tolist(), strict=True)
    ]


def _value(column: Column, entries: Tensor, cells: pd.Series) -> str | float | None:
    """What the user's file has in a column, or what a column says that no file has."""
    if column.gaps_of:
        return column.categories[int(entries.argmax())]
    cell = cells[column.name]
    return None if pd.isna(cell) else cell if column.categories else float(cell)


def describe(card: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """A score card for people: rows of a column's name, its value and its points, or a term, how often it is there and
    its points; and below them what they amount to.

    Of many columns or terms those that count the least are one row.
    """
    if "terms" in card:
        what, told = "terms", [(line["term"], f"{line['count']:,}", line["points"]) for line in card["terms"]]
    else:
        what, told = "columns", [(line["column"], _shown(line["value"]), line["points"]) for line in card["columns"]]
    few = told[SHOWN:]
    rows = [(name, value, f"{points:+.3f}") for name, value, points in told[:SHOWN]]
    if few:
        rows.append((f"{len(few):,} other {what}", "", f"{sum(points for _, _, points in few):+.3f}"))
    ours, other = card["class"], card["against"]
    return [
        *rows,
        ("sum of points", "", f"{card['sum']:+.3f}"),
        ("offset", "", f"{card['offset']:+.3f}"),
        (f"log odds of {ours} against {other}", "", f"{card['log_odds']:+.3f}"),
        (f"probability of {ours}", "", f"{card['probability']:.4f}"),
        (f"probability of {other}", "", f"{card['against_probability']:.4f}"),
    ]


def _shown(value: str | float | None) -> str:
    return "missing" if value is None else value if isinstance(value, str) else f"{value:.6g}"
