"""Rows of real numbers: float32 ``(N, 1, 1, F)``, a missing value being NaN, which a model sees as they are.

The spec has a mean and a standard deviation of each column, by which models standardise. Files are CSV: a row of
column names, then an example a row; an empty cell is a missing value.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo import plain
from zoo.data import kinds
from zoo.errors import DataError
from zoo.files import write_text
from zoo.spec import DataSpec

VALUES = "real"
SETTINGS: dict[str, tuple[str, ...]] = {}
FORMAT = "csv"
SUFFIXES = (".csv",)
LABEL = "class"  # the column of a file that names classes
REACH = 3  # standard deviations from the mean that are black, and white, in a picture


def decode(stored: Tensor) -> Tensor:
    return stored


def convert(values: Any, spec: DataSpec) -> Tensor:
    """Whole numbers, and true and false, are numbers. Of what has named columns, those of the spec are taken."""
    named = getattr(values, "columns", None)  # a data frame
    if named is not None and spec.columns:
        absent = [column for column in spec.columns if column not in list(named)]
        if absent:
            raise DataError(f"there is no column {', '.join(map(repr, absent[:3]))}, which the model knows")
        values = values[list(spec.columns)]
    x = kinds.tensor(values, spec)
    return x if x.is_floating_point() else x.float()


def encode(x: Tensor) -> Tensor:
    return x.float()


def statistics(stored: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each entry over the examples where it is not missing; 1 where it is constant."""
    values = stored.double().flatten(1)
    seen = ~values.isnan()
    count = seen.sum(0).clamp_min(1)
    mean = values.nan_to_num(0).sum(0) / count
    std = torch.where(seen, values - mean, 0).square().sum(0).div(count).sqrt()
    # a constant that binary fractions cannot tell differs from its mean by rounding
    constant = std <= 1e-12 * mean.abs()
    return tuple(mean.tolist()), tuple(torch.where(constant, 1.0, std).tolist())


def has_missing(stored: Tensor) -> bool:
    return bool(stored.isnan().any())


def show(x: Tensor, spec: DataSpec) -> Tensor:
    """A square of grey cells, one an entry: grey is the mean, white three standard deviations above it.

    Missing values and cells without an entry are black.
    """
    mean, std = (torch.tensor(values, device=x.device) for values in (spec.mean, spec.std))
    standardised = (x.flatten(1) - mean) / std
    cells = (standardised / (2 * REACH) + 0.5).clamp(0, 1).nan_to_num(0)
    side = math.ceil(math.sqrt(cells.shape[1]))
    rows = -(-cells.shape[1] // side)
    return torch.nn.functional.pad(cells, (0, rows * side - cells.shape[1])).view(-1, 1, rows, side)


def trial(n: int) -> tuple[Tensor, DataSpec]:
    """Six columns of normal numbers of different scales, a tenth of them missing."""
    generator = torch.Generator().manual_seed(0)
    stored = torch.randn(n, 1, 1, 6, generator=generator) * torch.tensor([1.0, 10, 0.1, 1, 3, 1]) + 2
    stored[torch.rand(stored.shape, generator=generator) < 0.1] = math.nan
    mean, std = statistics(stored)
    columns = tuple("abcdef")
    spec = DataSpec((1, 1, 6), 3, mean=mean, std=std, kind="table", values=VALUES, missing=True, columns=columns)
    return stored, spec


def find_files(names: Sequence[str]) -> list[Path]:
    return kinds.named_files(names, SUFFIXES, "table")


def read(paths: Sequence[Path], spec: DataSpec, **settings: Any) -> tuple[list[str], Tensor]:
    """The columns of the spec, in whatever order a file has them; or all that it has, where the spec names none."""
    kinds.complete(SETTINGS, spec.settings, settings)
    names, rows = [], []
    for path in paths:
        for number, row in _rows(path, spec):
            names.append(f"{path}:{number}")
            rows.append(row)
    return names, torch.tensor(rows, dtype=torch.float32).view(-1, *spec.shape)


def _rows(path: Path, spec: DataSpec) -> list[tuple[int, list[float]]]:
    """The number of the line and the values of each row."""
    try:
        if path.exists():
            plain.check_file(path, DataError)
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            named = list(reader.fieldnames or ())
            twice = sorted(name for name, count in Counter(named).items() if count > 1)
            if twice:
                raise DataError(f"{path} has more than one column {', '.join(map(repr, twice[:3]))}")
            columns = list(spec.columns) or [name for name in named if name != LABEL]
            there = set(named)
            absent = [column for column in columns if column not in there]
            if absent:
                raise DataError(f"{path} has no column {', '.join(map(repr, absent[:3]))}, which the model knows")
            if len(columns) != math.prod(spec.shape):
                raise DataError(f"{path} has {len(columns)} columns, the model was made for {math.prod(spec.shape)}")
            found = []
            for row in reader:
                if None in row or None in row.values():  # more values than columns, or fewer
                    raise DataError(f"{path}, line {reader.line_num}: as many values are needed as there are columns")
                values = [_number(row[name], path, reader.line_num, name) for name in columns]
                found.append((reader.line_num, values))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "it is damaged or no table at all"
        raise DataError(f"{path} cannot be read as a table: {reason}") from error
    if not found:
        raise DataError(f"{path} holds no row but the names of columns")
    return found


def _number(text: str, path: Path, line: int, column: str) -> float:
    if not text.strip():
        return math.nan
    try:
        return float(text)
    except ValueError as error:
        raise DataError(f"{path}, line {line}: {text!r} in column {column!r} is no number") from error


def write(stored: Tensor, labels: Tensor, spec: DataSpec, folder: Path) -> list[str]:
    """Write ``folder/rows.csv``: the columns, and the name of the class behind them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    width = math.prod(spec.shape)
    writer.writerow([*(spec.columns or (f"x{number}" for number in range(1, width + 1))), LABEL])
    for row, label in zip(stored.flatten(1).tolist(), labels.tolist(), strict=True):
        writer.writerow(["" if value != value else f"{value:.9g}" for value in row] + [spec.class_names[label]])
    write_text(folder / "rows.csv", text.getvalue())
    return ["rows.csv"]
