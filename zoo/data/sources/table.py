"""A user's own table, CSV or Parquet, see :mod:`zoo.data.frames`: a row an example, one column of which is the class.

Texts, true and false are categories, and so are the numbers of ``categories``. Columns that tell nothing of an example,
or that number or name it, are left out, which is said: those that are always the same, dates, numbers of rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from zoo.data import frames
from zoo.data.splits import Loaded, Split
from zoo.errors import ConfigError, DataError, did_you_mean, some
from zoo.files import user_path
from zoo.spec import Column

KIND = "table"
CLASSES = None  # the target's values
OPTIONS: dict[str, Any] = {
    "path": None, "target": None, "test_path": None, "missing": [], "categories": [], "drop": [], "groups": None,
    "positive": None,
}  # fmt: skip
MOST_CLASSES = 100


def load(
    root: Path,
    path: str | Path | None,
    target: str | None,
    test_path: str | Path | None,
    missing: Sequence[str],
    categories: Sequence[str],
    drop: Sequence[str],
    groups: str | None,
    positive: str | None,
) -> Loaded:
    """Read the files.

    Args:
        root: of no meaning.
        path: the file.
        target: the column of classes.
        test_path: a file of the same columns to test on; a part of ``path`` is set apart where it is left out.
        missing: what stands in cells that are missing, beside nothing.
        categories: columns whose numbers are names.
        drop: columns to leave out.
        groups: a column: rows that have the same in it are on one side wherever they are parted.
        positive: the class that is looked for, where there are two: it comes last. The later one by its name, or
            number, if left out.

    Raises:
        ConfigError: a path or a target that is not given, or a column or a class that is not there.
        DataError: what is no such table, or has a row without a class, or one class alone.
    """
    if path in (None, "") or target in (None, ""):
        raise ConfigError("data=table needs a file and its column of classes: data.path=… data.target=…")
    frame, where = _frame(path, missing), str(user_path(str(path)))
    target, drop, categories = str(target), list(map(str, drop)), list(map(str, categories))
    groups = groups or None
    for option, names in (
        ("target", [target]), ("drop", drop), ("categories", categories), ("groups", [str(groups)] * bool(groups)),
    ):  # fmt: skip
        for name in names:
            if name not in frame.columns:
                hint = did_you_mean(name, map(str, frame.columns), "its columns")
                raise ConfigError(f"data.{option}={name}: {where} has no such column: {hint}")
    classes = _classes(frame[target], where, positive)
    labels = _labels(frame[target], classes, where)
    belonging = None if groups is None else torch.from_numpy(pd.factorize(frame[str(groups)], use_na_sentinel=False)[0])
    used = frame.drop(columns={target, *drop, *([str(groups)] if groups else [])})
    columns, others = frames.columns_of(used, where, categories)
    if len(others) == len(columns):
        raise DataError(f"{where}: no column tells examples apart{_sentence(others)}")
    train = Split(torch.from_numpy(frames.raw(used, columns, where))[:, None, None], labels)
    test = None if test_path in (None, "") else _test(test_path, missing, target, classes, columns)
    return Loaded(
        train, test, classes, _fingerprint(train, test, columns, classes), columns=columns, unused=tuple(others),
        target=target, groups=belonging, settings={"missing": "\n".join(map(str, missing))},
        unused_why=f"left out{_sentence(others)}" if others else "",
    )  # fmt: skip


def _sentence(others: dict[str, str]) -> str:
    reasons: dict[str, list[str]] = {}
    for name, reason in others.items():
        reasons.setdefault(reason, []).append(repr(name))
    return ": " + "; ".join(f"{some(names)} ({reason})" for reason, names in reasons.items()) if others else ""


def _frame(path: str | Path, missing: Sequence[str]) -> pd.DataFrame:
    return frames.read_frame(user_path(str(path)), tuple(map(str, missing)))


def _classes(cells: pd.Series, where: str, positive: str | None) -> tuple[str, ...]:
    """Names of the classes in the order of their labels."""
    name, seen = cells.name, cells.dropna()
    if len(seen) < len(cells):
        lines = [str(line) for line in cells.index[cells.isna()]]
        raise DataError(f"{where}: column {name!r} holds no class in line {some(lines)}: each row needs one")
    texts = {frames.text_of(cell) for cell in seen.unique()}
    if len(texts) < 2:
        raise DataError(f"{where}: column {name!r} is {texts.pop()!r} throughout: there is one class alone")
    if len(texts) > MOST_CLASSES:
        raise DataError(
            f"{where}: column {name!r} has {len(texts):,} different values, where classes are needed, "
            f"{MOST_CLASSES} at most"
        )
    classes = frames.in_order(texts)
    if positive is None:
        return classes
    last = frames.text_of(positive)
    if last not in classes:
        raise ConfigError(f"data.positive={positive}: no class is called so: {did_you_mean(last, classes, 'classes')}")
    return (*(text for text in classes if text != last), last)


def _labels(cells: pd.Series, classes: Sequence[str], where: str) -> torch.Tensor:
    numbers = {text: label for label, text in enumerate(classes)}
    found = [numbers.get(frames.text_of(cell), -1) for cell in cells]
    if -1 in found:
        place = found.index(-1)
        raise DataError(
            f"{where}, line {cells.index[place]}: {str(cells.iloc[place])!r} is none of the classes to train on, "
            f"{some(classes)}"
        )
    return torch.tensor(found)


def _test(
    path: str | Path, missing: Sequence[str], target: str, classes: Sequence[str], columns: Sequence[Column]
) -> Split:
    frame, where = _frame(path, missing), str(user_path(str(path)))
    if target not in frame.columns:
        raise DataError(f"{where} has no column {target!r}, the classes")
    labels = _labels(frame[target], classes, where)
    return Split(torch.from_numpy(frames.raw(frame, columns, where))[:, None, None], labels)


def _fingerprint(train: Split, test: Split | None, columns: Sequence[Column], classes: Sequence[str]) -> str:
    digest = hashlib.sha256(repr([*columns, *classes]).encode())
    for split in (train, test):
        for tensor in () if split is None else (split.images, split.labels):
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
