"""Which file of a user's folder is of which split and class, and what is left out, and why.

    root/<class>/…                                  no splits
    root/train/<class>/…, root/test/<class>/…       the splits are the user's; val/ may be one, too
    root/…                                          files alone, of no class: they are one, a picture, say

A split holds folders of classes, a class holds files, also in folders of its own. Splits go by their usual names, see
:func:`split_of`, behind what the names of all of them begin with: ``20news-bydate-train``, ``20news-bydate-test``.
Names of classes are NFC, so that an ``é`` of one system is the ``é`` of another.
"""

from __future__ import annotations

import itertools
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.data.kinds import entries, is_hidden, legible, scan, sentence, suffix_of
from zoo.errors import DataError, some

_WORDS = {
    "train": "training|train|trn",
    "val": "validation|validate|valid|val|devel|dev",
    "test": "testing|test|tst|evaluation|eval",
}
_LOOSE = "beside the folders of classes"
_BESIDE = "(?:dataset|data|images|image|imgs|img|pictures|samples|sample|split|set)"
_NAMES = {
    split: re.compile(rf"(?:{_BESIDE}[-_. ]*)?(?:{words})[-_. ]*(?:{_BESIDE}[-_. ]*)?\d*", re.IGNORECASE)
    for split, words in _WORDS.items()
}


@dataclass(frozen=True)
class Layout:
    """What a folder holds.

    Attributes:
        class_names: in label order.
        files: split, label and path of each, in the order of splits (train, val, test), labels and paths. All are of
            ``"train"`` where there are no splits.
        splits: what the user calls the folder of each split; empty where there are none.
        notes: what is left out, guessed or unusual, in sentences.
    """

    class_names: tuple[str, ...]
    files: tuple[tuple[str, int, Path], ...]
    splits: Mapping[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Content:
    """The files below a folder that may be examples, and how many of what else there is."""

    files: list[Path]
    others: Counter[str]


def split_of(name: str) -> str | None:
    """``"train"``, ``"val"`` or ``"test"`` for what such a folder is usually called, else None.

    Examples: ``Training``, ``test_set``, ``val2017``, ``images-train``, ``dev``.
    """
    return next((split for split, pattern in _NAMES.items() if pattern.fullmatch(name)), None)


def class_name(folder: Path) -> str:
    """What a class is called that has this folder."""
    return unicodedata.normalize("NFC", legible(folder.name))


def layout(path: Path, suffixes: Sequence[str], own: Path, noun: str = "picture", alone: bool = False) -> Layout:
    """The splits and classes in ``path``, of files that end in ``suffixes``. ``own`` is a folder of ours to pass over,
    ``noun`` what a file is called, and ``alone`` says whether files without folders of classes will do.

    Raises:
        DataError: no directory, too few classes, one without a file, one that train has not, or folders that may mean
            one thing or another.
    """
    if not path.is_dir():
        raise DataError(f"{path} is no directory; it must hold one folder a class")
    folders, counts = _folders(path, suffixes, own)
    splits, rest = _splits(path, folders)
    content = {folder: _content(folder, suffixes, [path]) for folder in rest}
    if alone and counts[_LOOSE] and not splits and not any(inside.files for inside in content.values()):
        loose = [entry for entry in entries(path) if _is_example(entry, suffixes)]
        del counts[_LOOSE]
        counts += sum((inside.others or Counter({"empty folder": 1}) for inside in content.values()), Counter[str]())
        note = f"{len(loose):,} {noun}s without folders of classes are one class: models of p(x) learn from them"
        files = tuple(("train", 0, file) for file in loose)
        return Layout((noun,), files, {}, (note, *filter(None, [sentence(counts)])))
    notes: list[str] = []
    if splits:
        _count_beside(path, splits, content, counts, noun)
        inside = {}
        for split, folder in splits.items():
            found, others = _folders(folder, suffixes)
            counts += others
            inside[split] = {entry: _content(entry, suffixes, [path, folder]) for entry in found}
    else:
        inside = {"train": _without_splits(path, content, counts, notes, noun)}
    if set(splits) == {"val"}:  # which is to be tested on: there is nothing to train on
        splits, inside = {"test": splits["val"]}, {"test": inside["val"]}
        notes.append(f"{legible(splits['test'].name)}/ is taken for the test split: there is no other")
    classes = {}
    for split, contents in inside.items():
        _check_no_split_below(splits.get(split, path), contents, bool(splits), noun)
        classes[split] = _classes(contents)
        counts += sum((content.others for content in contents.values()), Counter[str]())
    called = {split: legible(folder.name) for split, folder in splits.items()}
    names = _class_names(path, classes, splits, noun, alone)
    files = tuple(
        (split, label, file) for split, found in classes.items() for label, name in enumerate(names)
        for file in found.get(name, ())
    )  # fmt: skip
    notes += _deeper(path, [file for _, _, file in files], 2 if splits else 1, noun)
    if "val" in splits:
        number = sum(split == "val" for split, _, _ in files)
        notes.append(f"{number:,} {noun}s of {called['val']}/ validate; data.val_size is not used")
    return Layout(names, files, called, (*notes, *filter(None, [sentence(counts)])))


def _folders(path: Path, suffixes: Sequence[str], own: Path | None = None) -> tuple[list[Path], Counter[str]]:
    """The folders in ``path``, and how many of what else there is beside them."""
    folders: list[Path] = []
    others: Counter[str] = Counter()
    passed = own and os.path.realpath(own)
    for entry in entries(path):
        if is_hidden(entry.name):
            others["hidden"] += os.path.realpath(entry) != passed
        elif os.path.isdir(entry):
            folders.append(entry)
        elif _is_example(entry, suffixes):
            others[_LOOSE] += 1
        else:
            others[suffix_of(entry)] += 1
    return folders, +others


def _is_example(entry: Path, suffixes: Sequence[str]) -> bool:
    return not is_hidden(entry.name) and entry.suffix.lower() in suffixes and os.path.isfile(entry)


def _splits(path: Path, folders: Sequence[Path]) -> tuple[dict[str, Path], list[Path]]:
    """The folders of splits, which are called so and hold folders themselves, and the other folders."""
    splits: dict[str, Path] = {}
    rest = []
    own = [
        folder for folder in folders
        if any(os.path.isdir(entry) and not is_hidden(entry.name) for entry in entries(folder))
    ]  # fmt: skip
    common = _common([folder.name for folder in own])
    for folder in folders:
        split = split_of(folder.name.removeprefix(common)) if folder in own else None
        if split is None:
            rest.append(folder)
        elif split in splits:
            names = " and ".join(f"{legible(entry.name)}/" for entry in (splits[split], folder))
            raise DataError(f"{path} holds {names}: both are called like the {split} split, there may be one")
        else:
            splits[split] = folder
    return {split: splits[split] for split in _WORDS if split in splits}, rest


def _common(names: Sequence[str]) -> str:
    """What all names begin with, up to a dash, say, where what follows are names of several splits; else nothing."""
    alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    common = re.sub(r"[^-_. ]*$", "", "".join(letters[0] for letters in alike))
    splits = [split_of(name.removeprefix(common)) for name in names]
    return common if len(set(splits)) > 1 and None not in splits else ""


def _content(folder: Path, suffixes: Sequence[str], above: Sequence[Path]) -> _Content:
    files, others = scan(folder, above)
    used = [file for file in files if file.suffix.lower() in suffixes]
    return _Content(used, others + Counter(suffix_of(file) for file in files if file.suffix.lower() not in suffixes))


def _count_beside(
    path: Path, splits: Mapping[str, Path], content: Mapping[Path, _Content], counts: Counter[str], noun: str
) -> None:
    """Count what is in folders beside those of splits. Raises ``DataError`` where it may be meant for a class."""
    names = {class_name(entry) for folder in splits.values() for entry in entries(folder)}
    for folder, inside in content.items():
        called = legible(folder.name)
        split = split_of(folder.name)
        if inside.files and split is None and (len(splits) == 1 or class_name(folder) in names):
            raise DataError(
                f"{path} holds {_listed([*splits.values()])} and {noun}s in {called}/ beside;\n"
                "if these are to be learned, move them into train/; if not, elsewhere"
            )
        if inside.files:
            counts[f"in {called}/, {'no split' if split is None else 'not in folders of classes'}"] += len(inside.files)
        counts.update(inside.others)
        if not inside.files and not inside.others:
            counts["empty folder"] += 1


def _without_splits(
    path: Path, content: Mapping[Path, _Content], counts: Counter[str], notes: list[str], noun: str
) -> dict[Path, _Content]:
    """The folders of classes. One that is called like a split and holds files may be meant as a class: valid, invalid.

    Raises ``DataError`` for more than one, or where there is nothing else.
    """
    named = [folder for folder, inside in content.items() if split_of(folder.name) and inside.files]
    if len(named) > 1 or (named and not any(content[folder].files for folder in content if folder not in named)):
        raise DataError(
            f"{path} holds {noun}s in {_listed(named)}, which are called like splits:\n"
            f"a split holds one folder a class, as {legible(named[0].name)}/cat"
        )
    for folder in named:
        notes.append(f"{legible(folder.name)}/ is taken for a class, not a split: it holds {noun}s, no folders")
    classes = dict(content)
    for folder in content:
        if split_of(folder.name) and not content[folder].files:  # an empty test/, say
            counts.update(classes.pop(folder).others or {"empty folder": 1})
    return classes


def _check_no_split_below(root: Path, contents: Mapping[Path, _Content], in_split: bool, noun: str) -> None:
    """Raise ``DataError`` where a class's folder holds train/, say: such files would be mixed without a word."""
    for folder, inside in contents.items():
        for file in inside.files:
            below = file.relative_to(folder).parts[:-1]
            named = [part for part in ((folder.name, *below) if in_split and below else below) if split_of(part)]
            if named:
                raise DataError(
                    f"{legible(str(folder))} holds {noun}s in {legible('/'.join(below))}/: splits stand above the "
                    f"classes,\nas in train/cat, not below; a folder that holds the splits is to be named itself"
                )


def _classes(contents: Mapping[Path, _Content]) -> dict[str, list[Path]]:
    """The files of each class, by name: folders whose names differ in nothing but their Unicode form are one class."""
    classes: dict[str, list[Path]] = {}
    for folder, inside in contents.items():
        classes.setdefault(class_name(folder), []).extend(inside.files)
    return classes


def _class_names(
    path: Path, classes: Mapping[str, Mapping[str, list[Path]]], splits: Mapping[str, Path], noun: str, alone: bool
) -> tuple[str, ...]:
    """The sorted names of all classes, once each has a file, and train has those of other splits."""
    for split, inside in classes.items():
        for name in inside:
            if not any(other.get(name) for other in classes.values()):
                raise DataError(f"{splits.get(split, path) / name} holds no {noun}: is it a class?")
    known = {split: {name for name, files in inside.items() if files} for split, inside in classes.items()}
    names = known.get("train", {name for found in known.values() for name in found})
    for split, there in known.items():
        if there - names:
            train = legible(splits["train"].name)
            more = f"; {train}/ alone has {some(sorted(names - there))}" if names - there else ""
            raise DataError(
                f"{path}: {train}/ and {legible(splits[split].name)}/ have different classes:\n"
                f"{train}/ has nothing to learn {some(sorted(there - names))} from{more}"
            )
    if len(names) < (2 if "train" in classes else 1):
        place = splits.get("train", path)
        folders = f"{len(names)} class folder{'' if len(names) == 1 else 's'}"
        without = f":\n{noun}s without classes lie in no folders, for a model that looks at no class, such as vae"
        raise DataError(
            f"{place} holds {folders}; it must hold one folder a class, at least two{without if alone else ''}"
        )
    return tuple(sorted(names))


def _deeper(path: Path, files: Sequence[Path], depth: int, noun: str) -> list[str]:
    """A note where files do not lie in the very folder of their class."""
    deep = [file for file in files if len(file.relative_to(path).parts) > depth + 1]
    if not deep:
        return []
    place = legible(str(deep[0].relative_to(path).parent))
    return [f"{len(deep):,} {noun}s lie deeper in the folder of their class: {place}/"]


def _listed(folders: Sequence[Path]) -> str:
    return some(sorted(f"{legible(folder.name)}/" for folder in folders))
