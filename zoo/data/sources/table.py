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
from zoo.errors import ConfigError, DataError, some
from zoo.files import user_path
from zoo.spec import Column

KIND = "table"
CLASSES = None  # the target's values
OPTIONS: dict[str, Any] = {
    "path": None, "target": None, "test_path": None, "missing": [], "categories": [], "drop": [], "groups": None,
    "positive": None,
}  # fmt: skip


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
        frames.require_columns(frame, names, option, where)
    classes = frames.classes_of(frame[target], where, positive)
    labels = torch.tensor(frames.labels_of(frame[target], classes, where))
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


def _test(
    path: str | Path, missing: Sequence[str], target: str, classes: Sequence[str], columns: Sequence[Column]
) -> Split:
    frame, where = _frame(path, missing), str(user_path(str(path)))
    if target not in frame.columns:
        raise DataError(f"{where} has no column {target!r}, the classes")
    labels = torch.tensor(frames.labels_of(frame[target], classes, where))
    return Split(torch.from_numpy(frames.raw(frame, columns, where))[:, None, None], labels)


def _fingerprint(train: Split, test: Split | None, columns: Sequence[Column], classes: Sequence[str]) -> str:
    digest = hashlib.sha256(repr([*columns, *classes]).encode())
    for split in (train, test):
        for tensor in () if split is None else (split.images, split.labels):
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
