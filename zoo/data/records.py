"""Published tables: the file wherever it lies, checked by its parsed rows, since copies differ in their bytes."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd

from zoo.data import frames, published
from zoo.errors import DataError

MISSING = "?"  # how the files of this archive write a missing cell
LARGEST = 1 << 26  # bytes of a member, unpacked


def digest(rows: Iterable[Sequence[object]]) -> str:
    """The sha256 of rows in whatever order, and however their numbers are written."""
    lines = sorted("\t".join(frames.text_of(cell) for cell in row) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def member(archive: bytes, name: str) -> bytes:
    """A file in a zip archive. Raises ``ValueError`` where it is not there, too large, or damaged."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as members:
            if members.getinfo(name).file_size > LARGEST:
                raise ValueError(f"{name} has {members.getinfo(name).file_size:,} bytes")
            return members.read(name)
    except (zipfile.BadZipFile, KeyError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"{name} cannot be unpacked: {error}") from error


def load(
    root: Path,
    folder: str,
    files: Sequence[str],
    archive: str,
    url: str,
    read: Callable[[dict[str, bytes]], pd.DataFrame],
    rows: str,
    title: str,
    packed: Sequence[str] = (),
    sha256: str = "",
) -> pd.DataFrame:
    """The rows of a published table: from its files, or else from the archive that is published, which is downloaded
    where it is not there.

    Args:
        root: looked in, after ``root/folder``.
        folder: where a download goes.
        files: what the table consists of.
        archive: the name of the archive.
        url: where it is.
        read: files' contents by name to a frame. Raises ``ValueError`` for what is no such table.
        rows: the :func:`digest` of the right rows, a missing cell being ``?``.
        title: what the table is called in an error.
        packed: the files in the archive, where they are not called as ``files``.
        sha256: of the archive, where it is known.

    Raises:
        DataError: the files are damaged, or missing and cannot be downloaded.
    """

    def checked(contents: dict[str, bytes], where: object) -> pd.DataFrame:
        try:
            frame = read(contents)
        except (ValueError, UnicodeDecodeError, IndexError) as error:
            raise DataError(f"{where} is damaged: {str(error).splitlines()[0]}\n{published.REMEDY}") from error
        if digest(frame.astype(object).fillna(MISSING).itertuples(index=False)) != rows:
            raise DataError(f"{where} does not hold the rows of {title} as published\n{published.REMEDY}")
        return frame

    def unpacked(content: bytes, where: object) -> pd.DataFrame:
        if sha256 and hashlib.sha256(content).hexdigest() != sha256:
            raise DataError(f"{where} is not the archive of {title} as published\n{published.REMEDY}")
        try:
            contents = {name: member(content, name) for name in packed or files}
        except ValueError as error:
            raise DataError(f"{where} is damaged: {error}\n{published.REMEDY}") from error
        return checked(contents, where)

    def is_right(content: bytes) -> bool:
        try:
            return len(unpacked(content, url)) > 0
        except DataError:
            return False

    for place in (root / folder, root):
        paths = [published.first_file(place / name) for name in files]
        if all(paths):
            return checked({name: _bytes(path) for name, path in zip(files, paths, strict=True) if path}, place)
    path = published.first_file(root / folder / archive, root / archive)
    path = path or published.fetch([url], root / folder / archive, is_right)
    return unpacked(_bytes(path), path)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
