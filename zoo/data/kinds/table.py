"""Rows of numbers and categories: float32 ``(N, 1, 1, F)``, a missing value being NaN, which a model sees as they are.

A number is standardised: x becomes (x − mean) / std of the training rows, which the columns of the spec hold as
location and scale. A category becomes an entry for each that the training rows have, of which one is 1 and the others
are 0; any other category is missing. The spec's own mean and standard deviation are those of what a model sees.

Sources hand over rows as files have them: float ``(N, 1, 1, C)``, a value a column, of categories their number among
``Loaded.columns``. Files are CSV: a row of column names, then an example a row, in which an empty cell is missing; or
Parquet.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zoo.data import frames, kinds
from zoo.errors import DataError
from zoo.files import write_text
from zoo.spec import Column, DataSpec

VALUES = "real"
SETTINGS = {"missing": ("",)}  # words for missing cells, a line each
OPTIONS: dict[str, Any] = {"indicators": False}
NOUN = "row"
STRINGS = False
FORMAT = "csv"
LABEL = "class"  # the column of a file that names classes, where the spec does not say
GAPS = ("seen", "missing")  # what a column says that tells of another one's missing cells
REACH = 3  # standard deviations from the mean that are black, and white, in a picture
DIGITS = 5  # of a number, beside that of its column's standard deviation
FAR = 10  # standard deviations from the mean, as a root mean square, that no standardised rows are


# From what a source hands over to what a model sees


def fit(
    raw: Tensor,
    columns: Sequence[Column],
    unused: Collection[str] = (),
    like: DataSpec | None = None,
    indicators: bool = False,
) -> dict[str, Any]:
    """Location and scale of numbers and the categories that there are, of training rows.

    ``indicators``: a column more for each of which a cell is missing: whether it is.
    """
    if like is not None:
        names = ("shape", "mean", "std", "columns", "values")
        return {name: getattr(like, name) for name in names}
    mean, std = statistics(raw)
    numbered = tuple(f"x{place}" for place in range(1, raw.shape[3] + 1))
    used: list[Column] = []
    gaps: list[Column] = []
    for place, column in enumerate(columns or tuple(map(Column, numbered))):
        cells = raw[:, 0, 0, place]
        seen = cells[~cells.isnan()]
        if column.name in unused:
            continue
        if column.categories:
            found = seen.long().unique().tolist() or range(len(column.categories))
            used.append(replace(column, categories=tuple(column.categories[number] for number in found)))
        else:
            used.append(replace(column, location=mean[place], scale=std[place]))
        if indicators and len(seen) < len(cells):
            gaps.append(Column(f"{column.name} cell", GAPS, gaps_of=column.name))
    used += gaps
    shape, values = (1, 1, sum(column.width for column in used)), VALUES
    if any(column.categories for column in used):
        values = "mixed"
    described = DataSpec(shape, columns=tuple(used), kind="table", values=values)
    mean, std = _of_entries(store(raw, columns, described), described)
    return {"shape": shape, "mean": mean, "std": std, "columns": described.columns, "values": values}


def _of_entries(stored: Tensor, spec: DataSpec) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation by which a model standardises: 0 and 1 of numbers, which are standardised already,
    the frequency and 1 of categories."""
    mean = stored.double().flatten(1).nanmean(0).nan_to_num(0)
    mean[list(spec.numbers)] = 0
    return tuple(mean.tolist()), (1.0,) * len(mean)


def store(raw: Tensor, columns: Sequence[Column], spec: DataSpec) -> Tensor:
    """The columns of the spec, by their names, of rows that have ``columns``.

    Raises ``DataError`` where one is not there, or holds numbers in the place of categories, or the other way round.
    """
    places = {column.name: place for place, column in enumerate(columns or (block for block, _ in spec.blocks))}
    entries = []
    for column, _ in spec.blocks:
        place = places.get(column.gaps_of or column.name)
        if place is None:
            raise DataError(f"the data has no column {column.name!r}, which the model knows")
        values = raw[:, 0, 0, place]
        if column.gaps_of:
            entries += [~values.isnan(), values.isnan()]
            continue
        theirs = columns[place].categories if columns else column.categories
        if column.categories:
            entries += _one_hot(values, theirs, column)
        elif theirs and bool((~values.isnan()).any()):
            raise DataError(f"column {column.name!r} holds {theirs[0]!r}, where the model knows numbers")
        else:
            entries.append((values.double() - column.location) / column.scale)
    return torch.stack([entry.float() for entry in entries], 1)[:, None, None]


def _one_hot(values: Tensor, theirs: Sequence[str], column: Column) -> list[Tensor]:
    """The entries of a column of categories, of values that are numbers of ``theirs``, or, without any, names that are
    numbers; NaN where a value is missing, or no category of the column."""
    number = torch.full_like(values, math.nan, dtype=torch.float64)
    for value in values[~values.isnan()].unique().tolist():
        text = theirs[int(value)] if theirs else frames.text_of(value)
        if text in column.categories:
            number[values == value] = column.categories.index(text)
    return [torch.where(number.isnan(), number, (number == k).double()) for k in range(len(column.categories))]


def decode(stored: Tensor) -> Tensor:
    return stored


def encode(x: Tensor) -> Tensor:
    return x.float()


def statistics(stored: Tensor, spec: DataSpec | None = None) -> tuple[tuple[float, ...], tuple[float, ...]]:
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


# What users hand over


def convert(values: Any, spec: DataSpec) -> Tensor:
    """A data frame has values as the user's files have them, in columns that are found by name. Of an array or a tensor
    the values are those that a model sees: standardised, an entry a category.

    Raises ``DataError`` for an array of numbers that look as they would in a file.
    """
    if isinstance(values, pd.DataFrame):
        frames.check_names([str(name) for name in values.columns], "the data frame")
        return from_frame(frames.masked(values, missing_words(spec)), spec, "the data frame")
    x = kinds.tensor(values, spec)
    x = x if x.is_floating_point() else x.float()
    _check_standardised(x, spec)
    return x


def _check_standardised(x: Tensor, spec: DataSpec) -> None:
    """Raise ``DataError`` for numbers that are large as they are and would not be, standardised, where that is also the
    likelier reading of them all. Rows may be far out: the density that tells is Cauchy's."""
    numbers = [(column, places.start) for column, places in spec.blocks if not column.categories]
    if not numbers or all(column.location == 0 and column.scale == 1 for column, _ in numbers):
        return
    location, scale, place = zip(*((column.location, column.scale, place) for column, place in numbers), strict=True)
    as_they_are = x.flatten(1)[:, list(place)].double()
    standardised = (as_they_are - as_they_are.new_tensor(location)) / as_they_are.new_tensor(scale)
    far, near = (float(part.square().nanmean().nan_to_num(0).sqrt()) for part in (as_they_are, standardised))
    units = as_they_are.new_tensor(scale).log()
    likelier = float((as_they_are.square().log1p() - standardised.square().log1p() - units).nansum()) > 0
    if far > FAR > near and likelier:
        raise DataError(
            f"numbers that are {far:,.0f} on average look as they would in a file, and are to be standardised: hand "
            "over a pandas.DataFrame with named columns, or the file's path"
        )


def missing_words(spec: DataSpec, **settings: Any) -> list[str]:
    """What stands in cells that are missing, beside nothing."""
    return kinds.complete(SETTINGS, spec.settings, settings)["missing"].split("\n")


def from_frame(frame: pd.DataFrame, spec: DataSpec, where: str) -> Tensor:
    """Rows ``(N, 1, 1, W)`` of a frame, see :func:`read`. ``where`` is how errors begin."""
    columns = [column for column, _ in spec.blocks if not column.gaps_of]
    if not spec.columns:
        names = [name for name in frame.columns if name != LABEL]
        if len(names) != len(columns):
            raise DataError(f"{where} has {len(names)} columns, the model was made for {len(columns)}")
        columns = [Column(name) for name in names]
        spec = replace(spec, columns=tuple(columns))
    values = torch.from_numpy(frames.raw(frame, columns, where))
    return store(values[:, None, None], columns, spec)


def find_files(names: Sequence[str]) -> list[Path]:
    return kinds.named_files(names, frames.SUFFIXES, "table")


def read(paths: Sequence[Path], spec: DataSpec, **settings: Any) -> tuple[list[str], Tensor]:
    """The columns of the spec, in whatever order a file has them; or all that it has, where the spec names none. Rows
    are called by the file and the line that they end in."""
    missing = missing_words(spec, **settings)
    names, parts = [], []
    for path in paths:
        frame = frames.read_frame(path, missing)
        parts.append(from_frame(frame, spec, str(path)))
        names += [f"{path}:{line}" for line in frame.index]
    return names, torch.cat(parts)


# What users get


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


def cells(stored: Tensor, spec: DataSpec) -> pd.DataFrame:
    """Rows as the user's files have them: numbers in their units, the names of categories, the likeliest where several
    entries are above 0, and NaN for what is missing, or what a column says that tells of missing cells."""
    rows = stored.double().flatten(1).cpu()
    found: dict[str, Any] = {}
    for column, places in spec.blocks:
        values = rows[:, places]
        missing = values.isnan().any(1)
        if column.gaps_of:
            found[column.gaps_of] = found[column.gaps_of].mask(~missing.numpy() & (values.argmax(1) == 1).numpy())
        elif column.categories:
            texts = pd.Series(np.array(column.categories, dtype=object)[values.nan_to_num(0).argmax(1).numpy()])
            found[column.name] = texts.mask(missing.numpy())
        else:
            found[column.name] = pd.Series(_in_units(values[:, 0], column).numpy())
    return pd.DataFrame(found)


def _in_units(values: Tensor, column: Column) -> Tensor:
    """Numbers as a file has them, without the digits that standardising in float32 has made up."""
    if (column.location, column.scale) == (0, 1):
        return values
    return (values * column.scale + column.location).round(decimals=DIGITS - math.floor(math.log10(column.scale)))


def csv_text(stored: Tensor, labels: Tensor | None, spec: DataSpec) -> str:
    """A CSV file: the columns, and the name of the class behind them, if there are any."""
    frame = cells(stored, spec)
    if labels is not None:
        frame[spec.target or LABEL] = [spec.class_names[label] for label in labels.tolist()]
    return frame.to_csv(index=False, float_format="%.9g", lineterminator="\n")


def write(stored: Tensor, labels: Tensor | None, spec: DataSpec, folder: Path) -> list[str]:
    """Write ``folder/rows.csv``, see :func:`csv_text`."""
    write_text(folder / "rows.csv", csv_text(stored, labels, spec))
    return ["rows.csv"]


def trial(n: int) -> tuple[Tensor, DataSpec]:
    """Six columns of normal numbers of different scales, a tenth of them missing."""
    generator = torch.Generator().manual_seed(0)
    stored = torch.randn(n, 1, 1, 6, generator=generator) * torch.tensor([1.0, 10, 0.1, 1, 3, 1]) + 2
    stored[torch.rand(stored.shape, generator=generator) < 0.1] = math.nan
    mean, std = statistics(stored)
    columns = tuple(map(Column, "abcdef"))
    spec = DataSpec((1, 1, 6), 3, mean=mean, std=std, kind="table", values=VALUES, missing=True, columns=columns)
    return stored, spec
