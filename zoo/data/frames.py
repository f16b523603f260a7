"""Files of tables: CSV and Parquet to data frames, and data frames to rows of numbers and numbered categories.

A CSV file has a row of column names, then an example a row, cells separated by commas. An empty cell is missing, and so
are words that a user names.
"""

from __future__ import annotations

import csv
import re
import sys
import textwrap
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoo import plain
from zoo.base import memory
from zoo.errors import ConfigError, DataError, ZooError, did_you_mean, some
from zoo.spec import Column

SUFFIXES = (".csv", ".parquet")
MOST_CATEGORIES = 1000  # of a column
MOST_COLUMNS = 20_000
MOST_CLASSES = 100
FEW = 20  # rows too few to tell from their being all different that values are names of rows
BYTES = 12  # of memory that a byte of a CSV file takes while it is read
PARQUET_BYTES = 60  # that a value of a Parquet file takes
OTHERS = {";": "semicolons", "\t": "tabs", "|": "bars"}  # what separates cells in files that are not read
DATE = re.compile(r"\s*(\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.]\d{2,4})([T ]\d\d?:\d\d.*)?\s*")
DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")
LARGEST = 1e150  # number whose square can be told
LONGEST = 40  # characters of a cell, or a name, that an error shows
SHOWN = 3  # columns that an error names


def read_frame(path: Path, missing: Sequence[str] = ()) -> pd.DataFrame:
    """A file as a data frame with a row an example.

    Args:
        path: CSV, or Parquet where the file's name says so.
        missing: what a cell holds that is missing, beside nothing.

    Raises:
        DataError: no such file, none that is a table, or too large a one.
    """
    try:
        if path.exists():
            plain.check_file(path, DataError)
        if path.suffix.lower() == ".parquet":
            frame = masked(_parquet(path), missing)
        else:
            lines = _check(path)
            frame = pd.read_csv(
                path, encoding="utf-8-sig", keep_default_na=False, na_values=["", *missing], skipinitialspace=True,
                low_memory=False, skip_blank_lines=True, index_col=False,
            )  # fmt: skip
            frame.index = pd.Index(lines)
    except ZooError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path} cannot be read as a table: no such file") from error
    except UnicodeDecodeError as error:
        if b"\0" in error.object:  # no text in any encoding of bytes
            raise DataError(f"{path} cannot be read as a table: it is damaged or no table at all") from error
        raise DataError(
            f"{path} cannot be read as a table: line {_odd_line(path)} holds bytes that are no UTF-8; where they are "
            'Windows\' text, pandas.read_csv(…, encoding="cp1252").to_csv(…, index=False) makes such a file'
        ) from error
    except (OSError, csv.Error, pd.errors.ParserError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a table: it is damaged or no table at all") from error
    if not len(frame):
        raise DataError(f"{path} holds no row but the names of columns")
    return frame


def masked(frame: pd.DataFrame, missing: Sequence[str]) -> pd.DataFrame:
    """A frame without the cells that are missing by a word for it, or hold blanks alone, as a CSV file has them."""
    words = {"", *missing}
    numbers = [float(word) for word in missing if re.fullmatch(r"[+-]?\d+(\.\d*)?", word)]
    found = {}
    for name in frame.columns:
        cells = frame[name]
        if _is_numeric(cells):
            found[name] = cells.mask(cells.isin(numbers)) if numbers else cells
        else:
            found[name] = cells.mask(
                cells.map(lambda cell: isinstance(cell, str) and cell.strip() in words).astype(bool)
            )
    return pd.DataFrame(found, index=frame.index)


def _parquet(path: Path) -> pd.DataFrame:
    """Rows are numbered from 1. The file says itself how many values it holds, maybe many more than it has bytes."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(f"{path}: Parquet is read by pyarrow, which is not installed: pip install pyarrow") from error
    with parquet.ParquetFile(path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
        nested = [field.name for field in schema if field.type.num_fields]
        check_names(schema.names, path)
        _require_memory(rows * len(schema.names) * PARQUET_BYTES, path)
        if nested:
            raise DataError(f"{path}: column {nested[0]!r} holds lists, where each cell is to be one value")
        frame = file.read().to_pandas(ignore_metadata=True)
    for name in frame.columns[frame.dtypes == "object"]:  # exact decimal numbers are numbers
        cells = frame[name].dropna()
        if len(cells) and all(isinstance(cell, Decimal) for cell in cells):
            frame[name] = frame[name].astype(float)
    return frame.set_axis(range(1, len(frame) + 1), axis=0)


def _odd_line(path: Path) -> str:
    """The number of the first line of a file that is not in UTF-8."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return f"{number:,}"
    return "?"  # it has changed meanwhile


def _require_memory(needed: float, path: Path) -> None:
    memory.require(needed, f"{path}, of {path.stat().st_size / 1e9:.1f} GB,", "a part of its rows will do")


def _check(path: Path) -> list[int]:
    """The line that each row of a CSV file ends in, once it is known that all have as many cells as there are names:
    pandas would fill up short ones without a word, and number columns of the same name."""
    _require_memory(path.stat().st_size * BYTES, path)
    lines = []
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, skipinitialspace=True)
        names = next((row for row in reader if row), [])
        if not names:
            raise DataError(f"{path} is empty: a row of column names is needed, and a row an example")
        for sign, word in OTHERS.items():
            if len(names) == 1 and sign in names[0]:
                raise DataError(
                    f"{path}: its cells are separated by {word}, where commas are needed, and points in numbers: "
                    f'pandas.read_csv(…, sep="{sign if sign != chr(9) else chr(92) + "t"}").to_csv(…, index=False) '
                    "makes such a file"
                )
        check_names(names, path)
        for row in _rows(reader, path):
            if not row:
                continue
            if len(row) != len(names):
                raise DataError(
                    f"{path}, line {reader.line_num}: it has {len(row)} cells, and there are {len(names)} columns: as "
                    "many are needed"
                )
            lines.append(reader.line_num)
    return lines


def _rows(reader: Any, path: Path) -> Iterator[list[str]]:
    """The rows of a file. Raises ``DataError`` for a cell that is too long: where a quotation mark is not closed, all
    that follows is one."""
    try:
        yield from reader
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}; is a quotation mark missing?") from error


def _names(names: Sequence[str]) -> str:
    return some([repr(name) for name in names], SHOWN)


def check_names(names: Sequence[str], where: object) -> None:
    """Raise ``DataError`` for names of columns that stand for two, or for none, or are too many."""
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise DataError(f"{where} has more than one column {_names(twice)}")
    if len(names) > MOST_COLUMNS:
        raise DataError(f"{where} has {len(names):,} columns, where at most {MOST_COLUMNS:,} are read")
    if "" in names:
        raise DataError(f"{where}: column {names.index('') + 1} has no name")


# Columns


def columns_of(
    frame: pd.DataFrame, where: str, categories: Collection[str] = ()
) -> tuple[tuple[Column, ...], dict[str, str]]:
    """What the columns of a frame hold: numbers, or categories, which are texts, true and false, or what ``categories``
    names.

    Args:
        frame: a row an example.
        where: how errors begin.
        categories: columns whose numbers are names.

    Returns:
        All columns, and why some of them tell nothing of an example, by name.

    Raises:
        DataError: a column of numbers and texts, or of too many categories.
    """
    columns, others = [], {}
    for name in frame.columns:
        cells = frame[name].dropna()
        reason = _of_no_use(cells, len(cells) < len(frame), name in categories)
        if reason:
            others[name] = reason
        elif name not in categories and not _is_numeric(cells):
            _check_text(cells, name, where)
        if not len(cells) or (name not in categories and _is_numeric(cells)):
            columns.append(Column(name))
            continue
        texts = {text_of(cell) for cell in cells.unique()}
        if len(texts) > MOST_CATEGORIES and not reason:
            raise DataError(
                f"{where}: column {name!r} has {len(texts):,} categories, where at most {MOST_CATEGORIES:,} are taken: "
                f"data.drop=[{name}] leaves it out"
            )
        columns.append(Column(name, in_order(texts)))
    return tuple(columns), others


def _of_no_use(cells: pd.Series, gaps: bool, category: bool) -> str:
    """Why a column tells nothing of an example; empty where it does."""
    if not len(cells):
        return "empty"
    if cells.nunique() == 1 and not gaps:
        return f"always {text_of(cells.iloc[0])}"
    if pd.api.types.is_datetime64_any_dtype(cells) or (
        not _is_numeric(cells) and all(isinstance(cell, str) and DATE.fullmatch(cell) for cell in cells)
    ):
        return "dates"
    if category or len(cells) < FEW or cells.nunique() < len(cells) or pd.api.types.is_float_dtype(cells):
        return ""
    if not _is_numeric(cells):
        # numbers among texts are a mistake to be told of
        return "" if pd.to_numeric(cells, errors="coerce").notna().any() else "another text in each row"
    return "numbers the rows" if int(cells.max()) - int(cells.min()) == len(cells) - 1 else ""


def _is_numeric(cells: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells)


def _check_text(cells: pd.Series, name: str, where: str) -> None:
    """Raise ``DataError`` where most cells are numbers, and others not, or all have a decimal comma."""
    wrong = cells[pd.to_numeric(cells, errors="coerce").isna()]
    commas = wrong.map(lambda cell: isinstance(cell, str) and bool(DECIMAL_COMMA.fullmatch(cell)))
    if len(wrong) and (len(wrong) <= len(cells) / 2 or commas.all()):
        raise not_a_number(wrong, name, where, len(cells))


def not_a_number(wrong: pd.Series, name: str, where: str, of: int | None = None) -> DataError:
    """An error that names the first of the cells that are no numbers, and what would be right."""
    text = textwrap.shorten(str(wrong.iloc[0]), LONGEST, placeholder="…")
    place = f"{where}, line {wrong.index[0]}: {text!r} in column {name!r} is no number"
    if DECIMAL_COMMA.fullmatch(text):
        return DataError(f"{place}: it has a decimal comma, where a point is needed")
    if of is None:
        return DataError(place)
    return DataError(
        f"{place}, and neither are {len(wrong):,} of its {of:,} cells: data.missing=[{text}] takes such cells for "
        f"missing, data.categories=[{name}] all of them for names"
    )


def in_order(texts: Collection[str]) -> tuple[str, ...]:
    """Names of categories, or of classes, by number where all are numbers, else by letter."""
    try:
        numbers = all(np.isfinite(float(text)) for text in texts)  # "nan" has no place among numbers
    except ValueError:
        numbers = False
    return tuple(sorted(texts, key=float if numbers else None))


def text_of(cell: Any) -> str:
    """A cell as the name of a category: one name, whether a file has 1, 1.0 or 01, true or True."""
    if isinstance(cell, (bool, np.bool_)):
        return str(bool(cell))
    if isinstance(cell, (int, np.integer)):
        return str(int(cell))
    text = str(cell).strip()
    if "_" in text:  # which Python reads in numbers, and nobody else
        return text
    if text.lower() in ("true", "false"):
        return text.capitalize()
    try:
        number = float(text)
    except ValueError:
        return text
    return f"{number:.15g}" if np.isfinite(number) else text


def raw(frame: pd.DataFrame, columns: Sequence[Column], where: str) -> np.ndarray:
    """Rows float64 ``(N, C)``: numbers as they are, the numbers of categories among those of their column, and NaN for
    what is missing or no category of its column.

    Raises ``DataError`` for an absent column, or a cell of a column of numbers that is none.
    """
    absent = [column.name for column in columns if column.name not in frame.columns]
    if absent:
        raise DataError(f"{where} has no column {_names(absent)}, which the model knows")
    values = np.empty((len(frame), len(columns)))
    for place, column in enumerate(columns):
        cells = frame[column.name]
        if column.categories:
            known = {text: number for number, text in enumerate(column.categories)}
            found = {cell: known.get(text_of(cell), np.nan) for cell in cells.dropna().unique()}
            others = sorted({text_of(cell) for cell, number in found.items() if number != number})
            if others:  # no mistake, but maybe one of spelling
                few = textwrap.shorten(_names(others), 100, placeholder="…")
                print(f"{where}: {column.name!r} holds {few}, which is unknown and counts as missing", file=sys.stderr)
            values[:, place] = cells.map(found).astype(float)
        else:
            values[:, place] = _numbers(cells, column.name, where)
    return values


def _numbers(cells: pd.Series, name: str, where: str) -> np.ndarray:
    if pd.api.types.is_datetime64_any_dtype(cells):
        raise DataError(f"{where}: column {name!r} holds dates, where the model knows numbers")
    numbers = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    wrong = cells[np.isnan(numbers) & cells.notna().to_numpy()]
    if len(wrong):
        raise not_a_number(wrong, name, where)
    infinite = cells.index[np.abs(numbers) > LARGEST]
    if len(infinite):
        raise DataError(f"{where}, line {infinite[0]}: the number in column {name!r} is infinite, or as good as that")
    return numbers


# Classes


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def require_columns(frame: pd.DataFrame, names: Sequence[str], option: str, where: str) -> None:
    """Raise ``ConfigError`` where ``data.<option>`` names a column that is not there."""
    for name in names:
        if name not in frame.columns:
            hint = did_you_mean(name, [_short(column) for column in frame.columns], "its columns")
            raise ConfigError(f"data.{option}={name}: {where} has no such column: {hint}")


def classes_of(cells: pd.Series, where: str, positive: str | None) -> tuple[str, ...]:
    """Names of the classes in the order of their labels, ``positive`` being the last one, if it is given.

    Raises ``DataError`` for cells that are missing, all the same or too many different ones, and ``ConfigError`` where
    no class is called so.
    """
    name, seen = cells.name, cells.dropna()
    if len(seen) < len(cells):
        lines = [str(line) for line in cells.index[cells.isna()]]
        raise DataError(f"{where}: column {name!r} holds no class in line {some(lines)}: each row needs one")
    texts = {text_of(cell) for cell in seen.unique()}
    if len(texts) < 2:
        raise DataError(f"{where}: column {name!r} is {_short(texts.pop())!r} throughout: there is one class alone")
    if len(texts) > MOST_CLASSES:
        raise DataError(
            f"{where}: column {name!r} has {len(texts):,} different values, where classes are needed, "
            f"{MOST_CLASSES} at most"
        )
    classes = in_order(texts)
    return classes if positive is None else with_last(classes, positive)


def with_last(classes: Sequence[str], positive: str) -> tuple[str, ...]:
    """The classes, ``positive`` behind the others. Raises ``ConfigError`` where none is called so."""
    last = text_of(positive)
    if last not in classes:
        hint = did_you_mean(last, [_short(name) for name in classes], "classes")
        raise ConfigError(f"data.positive={positive}: no class is called so: {hint}")
    return (*(text for text in classes if text != last), last)


def labels_of(cells: pd.Series, classes: Sequence[str], where: str) -> list[int]:
    """The number of each cell among the classes. Raises ``DataError`` for the first that is none of them."""
    numbers = {text: label for label, text in enumerate(classes)}
    found = [numbers.get(text_of(cell), -1) for cell in cells]
    if -1 in found:
        place = found.index(-1)
        raise DataError(
            f"{where}, line {cells.index[place]}: {_short(cells.iloc[place])!r} is none of the classes to train on, "
            f"{some([_short(name) for name in classes])}"
        )
    return found
