"""Missing cells of a table: what a model puts in their place, in a user's file, and how good that is.

How good it is, hidden cells say that are known: errors of the expected value in the unit of the file beside those of
the training mean, and how often the most probable category is right beside the most frequent one.
"""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from zoo import capability
from zoo.base.model import Model
from zoo.data import frames
from zoo.data.kinds import table
from zoo.errors import DataError
from zoo.questions.impute import impute
from zoo.questions.log_prob import log_prob
from zoo.spec import DataSpec
from zoo.tasks.impute import interval_ranks, nll_of

AT_ONCE = 1000  # rows
CELL = re.compile(r' *"(?:[^"]|"")*"[^,\r\n]*|[^,\r\n]*')  # of a CSV file

Place = tuple[int, int]  # row and column, from 0 on


# How good it is


def measure_rows(model: Model, rows: Tensor, missing: float = 0.1, n: int = 19, seed: int = 0) -> dict[str, Any]:
    """How well a model tells cells that are known, each hidden with probability ``missing``, by itself.

    What tells of a column's gaps is hidden with its cells.

    Args:
        model: one that can impute.
        rows: as they are stored, ``(N, 1, 1, W)``.
        missing: share of the known cells to hide, above 0.
        n: completions a row, of which intervals are made; at least 2.
        seed: of the hidden cells and the completions.

    Returns:
        ``hidden``: how many cells; ``level``: the share of hidden numbers that intervals of exact draws would hold,
        ``coverage``: that which they do, see :func:`zoo.tasks.impute.covered`; ``nll``: −log p(hidden | seen) in nats a
        hidden cell, and ``nll_of``, what it is, where the model can integrate missing cells out. ``columns`` by name,
        those of which cells are hidden: ``hidden``; of numbers ``rmse`` of the expected value (of the mean of the
        completions, where the model cannot tell it), ``rmse_training_mean``, ``coverage`` and the intervals' mean
        ``width``, all in the unit of the file; of categories ``accuracy`` of the most probable one, and
        ``accuracy_most_frequent``.

    Raises:
        ZooError: the model cannot impute, or is not for tables.
        DataError: rows that do not fit, or no cell to hide.
    """
    spec = model.spec
    spec.check_kind("table", "cells are hidden and filled in")
    spec.check_examples(rows.shape[1:])
    capability.require(model, "impute")
    rank, level = interval_ranks(n)
    draws_from = capability.seeded(model, seed)  # one stream: what is hidden must not go with what is drawn
    hidden, observed = _hide(rows, spec, missing, draws_from)
    count = sum(int(cells.sum()) for cells in hidden.values())
    if not count:
        raise DataError("no cell is hidden: there is nothing to fill in")
    parts = defaultdict[str, list[dict[str, Tensor]]](list)
    nll = torch.zeros((), dtype=torch.float64)
    for start in range(0, len(rows), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        x, seen = table.decode(rows[part]), observed[part]
        draws = impute(model, x, seen, n, draws_from)
        best = impute(model, x, seen, mean=True)[0] if hasattr(model, "conditional_mean") else draws.mean(0)
        if _tells_hidden(model):
            nll += (log_prob(model, x, observed=seen) - log_prob(model, x)).double().sum()
        for column, places in spec.blocks:
            if column.gaps_of:
                continue
            here = hidden[column.name][part]
            truth, guess, usual = x[here, 0, 0, places], best[here, 0, 0, places], torch.tensor(spec.mean[places])
            if column.categories:
                right = {"accuracy": guess.argmax(1), "accuracy_most_frequent": usual.argmax().expand(len(truth))}
                parts[column.name].append({key: chosen == truth.argmax(1) for key, chosen in right.items()})
                continue
            ordered = draws[:, here, 0, 0, places].sort(0).values
            low, high = ordered[rank - 1], ordered[-rank]
            values = {
                "rmse": (guess - truth).double().mul(column.scale).square(),
                "rmse_training_mean": (usual - truth).double().mul(column.scale).square(),
                "coverage": (low <= truth) & (truth <= high),
                "width": (high - low).double() * column.scale,
            }
            parts[column.name].append({key: value[:, 0] for key, value in values.items()})
    columns, covered = {}, []
    for name, found in parts.items():
        joined = {key: torch.cat([entry[key] for entry in found]).double() for key in found[0]}
        if int(hidden[name].sum()):
            means = {
                key: float(values.mean()) ** (0.5 if key.startswith("rmse") else 1) for key, values in joined.items()
            }
            columns[name] = {"hidden": int(hidden[name].sum()), **means}
            covered += [joined["coverage"]] if "coverage" in joined else []
    metrics: dict[str, Any] = {"hidden": count, "level": level}
    if covered:
        metrics["coverage"] = float(torch.cat(covered).mean())
    if _tells_hidden(model):
        metrics |= {"nll": float(nll) / count, "nll_of": nll_of(model)}
    return metrics | {"columns": columns}


def _tells_hidden(model: Model) -> bool:
    return hasattr(model, "log_prob") and model.marginalises


def _hide(rows: Tensor, spec: DataSpec, missing: float, generator: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
    """Which known cells are hidden, ``(N,)`` a column of the file, and which entries are not, like ``rows``."""
    hidden, observed = {}, torch.ones_like(rows, dtype=torch.bool)
    for column, places in spec.blocks:  # what tells of gaps stands behind its column
        if not column.gaps_of:
            known = ~rows[:, 0, 0, places].isnan().any(1)
            hidden[column.name] = known & (
                torch.rand(len(rows), generator=generator, device=generator.device).cpu() < missing
            )
        observed[hidden[column.gaps_of or column.name], ..., places] = False
    return hidden, observed


def describe(metrics: Mapping[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """The figures of :func:`measure_rows` for people, a row a column: its name, hidden cells, error or accuracy, that
    of the training mean or the most frequent category, and the share of numbers in their intervals."""
    rows = []
    for name, found in metrics["columns"].items():
        if "rmse" in found:
            cells = [f"{found['rmse']:.4g}", f"{found['rmse_training_mean']:.4g}", f"{found['coverage']:.1%}"]
        else:
            cells = [f"{found['accuracy']:.1%}", f"{found['accuracy_most_frequent']:.1%}", ""]
        rows.append((name, f"{found['hidden']:,}", *cells))
    return rows


# A user's file


def filled(model: Model, path: Path, n: int = 1, mean: bool = False, seed: int = 0) -> list[str]:
    """A file's content as CSV with its empty cells filled in, as many times as it is asked for.

    Those of columns that the model knows are filled in; all else of a CSV file stays as it is, byte for byte.

    Args:
        model: one that can impute.
        path: CSV or Parquet.
        n: random completions.
        mean: one in their place: of numbers the expected value, of categories the most probable one.
        seed: of the completions.

    Raises:
        ZooError: the model cannot impute, or tell an expected value, or is not for tables.
        DataError: no such table, see :func:`zoo.data.frames.read_frame`, or one without an empty cell.
    """
    spec = model.spec
    spec.check_kind("table", "cells are filled in")
    capability.require(model, "impute")
    frame = frames.read_frame(path, table.missing_words(spec))
    rows = table.from_frame(frame, spec, str(path))
    known = {column.name for column, _ in spec.blocks if not column.gaps_of}
    numbers = {number: name for number, name in enumerate(frame.columns) if name in known}
    places = [
        (int(row), number) for number, name in numbers.items() for row in frame[name].isna().to_numpy().nonzero()[0]
    ]
    if not places:
        raise DataError(f"{path}: no cell of a column that the model knows is empty: there is nothing to fill in")
    some = sorted({row for row, _ in places})
    completed = impute(model, table.decode(rows[some]), n=n, generator=capability.seeded(model, seed), mean=mean)
    texts = []
    pieces = None if path.suffix.lower() == ".parquet" else _pieces(path, places, frame.shape)
    for draw in completed:
        cells = table.cells(_seen(table.encode(draw), spec), spec).set_axis(some)
        values = {(row, column): cells.at[row, numbers[column]] for row, column in places}
        texts.append(_joined(pieces, values) if pieces else _frame_text(frame, values))
    return texts


def _seen(rows: Tensor, spec: DataSpec) -> Tensor:
    """Rows of which nothing says that a cell is missing."""
    for column, places in spec.blocks:
        if column.gaps_of:
            rows[..., places] = torch.tensor([1.0, 0.0])
    return rows


def _frame_text(frame: pd.DataFrame, values: Mapping[Place, Any]) -> str:
    whole = frame.astype(object)
    for (row, column), value in values.items():
        whole.iat[row, column] = value
    return whole.to_csv(index=False, lineterminator="\n", float_format="%.9g")


def _pieces(path: Path, places: Sequence[Place], shape: tuple[int, int]) -> list[str | Place]:
    """The text of a CSV file, cut where the cells of ``places`` are, which stand for themselves.

    ``shape``: rows and columns that it is known to have. Raises ``DataError`` where they are not found so.
    """
    with path.open(encoding="utf-8", newline="") as file:  # lines end as they do
        text = file.read()
    wanted, pieces, kept = set(places), list[str | Place](), 0
    row, column, place = -1, 0, 0  # the names of columns are no row
    while place <= len(text):
        cell = CELL.match(text, place)
        assert cell is not None  # it matches nothing, too
        blank, place = column == 0 and cell.end() == cell.start(), cell.end()
        more = text[place : place + 1] == ","
        if (row, column) in wanted and (more or not blank):
            pieces += [text[kept : cell.start()], (row, column)]
            kept = place
        if more:
            column, place = column + 1, place + 1
            continue
        if not blank:
            if column + 1 != shape[1]:
                raise DataError(f"{path}: row {row + 1} has quotes within a cell, and cannot be filled in")
            row += 1
        column, place = 0, place + (2 if text.startswith("\r\n", place) else 1)
    if row != shape[0]:
        raise DataError(f"{path} has quotes within a cell, and cannot be filled in")
    return [*pieces, text[kept:]]


def _joined(pieces: Sequence[str | Place], values: Mapping[Place, Any]) -> str:
    return "".join(piece if isinstance(piece, str) else _quoted(values[piece]) for piece in pieces)


def _quoted(value: Any) -> str:
    """As a cell of a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([value if isinstance(value, str) else f"{value:.9g}"])
    return text.getvalue()
