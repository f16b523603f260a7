"""Published files: fetched whole or not at all, read once, and checked by what is known of them.

What is known is checked. A checksum of 64 digits is the sha256 of a file's decompressed bytes, and holds however the
file is compressed. One of 32 digits is the md5 of the file as it is published, compressed: it is checked wherever the
file lies in that form, which is looked for first. Of the same content decompressed it says nothing: form, number of
examples and classes are checked then, and a note tells the user so.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from zoo import download, plain
from zoo.errors import DataError, ZooError
from zoo.files import write_bytes

ELSEWHERE = "Put the files there, or name the directory above it with ZOO_DATA, data.root=… or a script's root=…."
REMEDY = "Delete the damaged file to have it downloaded again."


def check_file(path: Path) -> None:
    """Raise ``DataError`` for what is there, and is no file: of a pipe, a reader would wait for ever."""
    if os.path.exists(path):  # of what is not, whoever opens it says why
        plain.check_file(path, DataError)


def read_once(read: Callable[..., Any], paths: Sequence[Path], *args: Any) -> Any:
    """``read(paths, *args)``, once a process as long as the files do not change: do not write to what it gives."""
    try:
        files = tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in paths)
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}") from error
    return _read_unchanged(read, files, *args)


@functools.lru_cache(maxsize=2)
def _read_unchanged(read: Callable[..., Any], files: tuple[tuple[Path, int, int], ...], *args: Any) -> Any:
    return read([path for path, _, _ in files], *args)


def md5(path: Path) -> str:
    """Of a file as it lies there. Raises ``DataError`` where it cannot be read."""
    check_file(path)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def is_md5(expected: str, data: bytes) -> bool:
    """Whether this is the published content."""
    return hashlib.md5(data).hexdigest() == expected


def check_md5(path: Path, expected: str, title: str) -> None:
    """Raise ``DataError`` where a file is not the one that was published, before anything in it is looked at."""
    found = md5(path)
    if found != expected:
        raise DataError(
            f"{path} is not {title}'s as published: its md5 is {found[:12]}…, not {expected[:12]}…\n{REMEDY}"
        )


def fetch(urls: Sequence[str], path: Path, right: Callable[[bytes], bool], size: str | None = None) -> Path:
    """Write to ``path`` what the first URL gives that answers with the right content.

    Args:
        urls: tried in turn, each again where its answer breaks off, or it is out of order.
        path: the file, which appears whole or not at all; folders above it are made.
        right: whether this is the published content; an ``OSError``, ``EOFError`` or ``ValueError`` says no, too.
        size: in words, of what takes a while: who waits is told, and in a terminal sees how far it is.

    Raises:
        DataError: the folder cannot be written, or no URL gives the right content.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{path.parent.name} is not in {path.parent}, and the directory cannot be made: {error.strerror}\n"
            f"{ELSEWHERE}"
        ) from error
    try:
        content = download.first_right(urls, right, size)
    except ZooError as problem:
        raise DataError(
            f"{path.name} is not in {path.parent}, and the download failed: {problem}\n"
            + (f"It is at {urls[0]}\n" if urls else "")
            + ELSEWHERE
        ) from problem
    try:
        write_bytes(path, content)
    except ZooError as error:
        raise DataError(f"{error}\n{ELSEWHERE}") from error
    return path


def first_file(*paths: Path) -> Path | None:
    """The first of them that is a file; unlike ``Path.is_file``, None where a folder may not be read.

    Raises ``DataError`` where none is, and something else has such a name.
    """
    found = next((path for path in paths if os.path.isfile(path)), None)
    if found is None:
        for path in paths:
            check_file(path)
    return found
