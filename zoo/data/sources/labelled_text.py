"""A user's own texts: a table with a column of texts and one of classes, see :mod:`zoo.data.frames`, or a folder of
files, a text each, one folder a class, see :mod:`zoo.data.folders`.

    path=messages.csv text=message target=label
    path=folder: folder/<class>/*.txt, or folder/train/<class>/…, folder/test/<class>/…, folder/val/<class>/…

Files end in ``.txt``, or in nothing, as those of "20 newsgroups" do. They are in UTF-8, or else they are taken for
Windows-1252, see :func:`zoo.data.texts.decoded`, and how many are is said. Tables are in UTF-8.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from zoo.data import folders, frames, texts
from zoo.data.kinds import tokens
from zoo.data.splits import Loaded
from zoo.errors import ConfigError, DataError
from zoo.files import user_path

KIND = "tokens"
CLASSES = None  # the target's values, or the folders
OPTIONS: dict[str, Any] = {
    "path": None, "text": None, "target": None, "test_path": None, "groups": None, "positive": None,
}  # fmt: skip


def load(
    root: Path,
    path: str | Path | None,
    text: str | None,
    target: str | None,
    test_path: str | Path | None,
    groups: str | None,
    positive: str | None,
) -> Loaded:
    """Read the table, or the files.

    Args:
        root: of no meaning.
        path: the table, or the folder.
        text: the table's column of texts.
        target: the table's column of classes.
        test_path: a table of the same columns to test on; a part of ``path`` is set apart where it is left out.
        groups: a column of the table: texts that have the same in it are on one side wherever they are parted.
        positive: the class that is looked for, where there are two: it comes last. The later one by its name, or
            number, if left out.

    Raises:
        ConfigError: a path or a column that is not given, or not there, or a class that is not.
        DataError: what is no such table or folder, no text, or has one class alone.
    """
    if path in (None, ""):
        raise ConfigError(
            "data=labelled_text needs texts and their classes: data.path=… is a folder that holds one folder a class, "
            "or a table, data.text=… and data.target=… being its columns"
        )
    place = user_path(str(path))
    if place.is_dir():
        for option, value in (("text", text), ("target", target), ("test_path", test_path), ("groups", groups)):
            if value not in (None, ""):
                raise ConfigError(f"data.{option}={value} is for a table, and {place} is a folder")
        return _of_folder(place, root, positive)
    if text in (None, "") or target in (None, ""):
        raise ConfigError(f"{place} needs its columns of texts and of classes: data.text=… data.target=…")
    return _of_table(place, str(text), str(target), test_path, groups or None, positive)


def _of_table(
    path: Path, text: str, target: str, test_path: str | Path | None, groups: str | None, positive: str | None
) -> Loaded:
    frame, where = frames.read_frame(path), str(path)
    for option, name in (("text", text), ("target", target), ("groups", groups)):
        frames.require_columns(frame, [] if name is None else [name], option, where)
    if text in (target, groups):
        raise ConfigError(
            f"data.text={text} is the column of texts, and of {'classes' if text == target else 'groups'}"
        )
    classes = frames.classes_of(frame[target], where, positive)
    test = None
    if test_path not in (None, ""):
        others, there = frames.read_frame(user_path(str(test_path))), str(user_path(str(test_path)))
        absent = [name for name in (text, target) if name not in others.columns]
        if absent:
            raise DataError(f"{there} has no column {absent[0]!r}, as {where} has")
        test = (_cells(others[text], there), frames.labels_of(others[target], classes, there))
    belonging = None if groups is None else pd.factorize(frame[groups], use_na_sentinel=False)[0].tolist()
    return texts.loaded(
        _cells(frame[text], where), frames.labels_of(frame[target], classes, where), classes, test=test,
        groups=belonging, column=text, target=target,
    )  # fmt: skip


def _cells(cells: pd.Series, where: str) -> list[str]:
    """Texts; an empty cell is one without a word. Raises ``DataError`` for a column of something else."""
    seen = cells.dropna()
    others = seen[[not isinstance(cell, str) for cell in seen]]
    if not len(seen):
        raise DataError(f"{where}: column {cells.name!r} is empty, where texts are needed")
    if len(others):
        raise DataError(f"{where}, line {others.index[0]}: {others.iloc[0]} in column {cells.name!r} is no text")
    return cells.fillna("").tolist()


def _of_folder(path: Path, root: Path, positive: str | None) -> Loaded:
    found = folders.layout(path, tokens.TEXTS, root / ".cache", "text")
    classes = found.class_names if positive is None else frames.with_last(found.class_names, positive)
    label = [classes.index(name) for name in found.class_names]
    parts: dict[str, tuple[list[str], list[int]]] = {split: ([], []) for split in ("train", "val", "test")}
    guessed = 0
    for split, number, file in found.files:
        text, is_guess = texts.read(file)
        parts[split][0].append(text)
        parts[split][1].append(label[number])
        guessed += is_guess
    notes = (*found.notes, *filter(None, [texts.guesses(guessed)]))
    val, test = (parts[split] if split in found.splits else None for split in ("val", "test"))
    return texts.loaded(*parts["train"], classes, test=test, val=val, notes=notes, settings={"text": "file"})
