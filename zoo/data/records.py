"""Published tables: the file wherever it lies, checked by its parsed rows, since copies differ in their bytes; and
published archives that have one copy alone, checked by their sha256."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from zoo.data import frames, published
from zoo.errors import DataError
from zoo.spec import Column

MISSING = "?"  # how the files of this archive write a missing cell
LARGEST = 1 << 26  # bytes of a file, and of an archive's files, unpacked


def digest(rows: Iterable[Sequence[object]]) -> str:
    """The sha256 of rows in whatever order, and however their numbers are written."""
    lines = sorted("\t".join(frames.text_of(cell) for cell in row) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def unpacked(archive: bytes, names: Sequence[str] = ()) -> dict[str, bytes]:
    """Files in a zip archive, by name; all of them if none is named. Raises ``ValueError`` where one is not there, they
    are too large together, or damaged."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as members:
            found = [members.getinfo(name) for name in names] or [
                info for info in members.infolist() if not info.is_dir()
            ]
            size = sum(info.file_size for info in found)
            if size > LARGEST:
                raise ValueError(f"its files have {size:,} bytes, at most {LARGEST:,} are read")
            packings = {info.compress_type for info in found} - {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
            if packings:  # some ask for memory as a file says
                raise ValueError(f"it is packed in a way ({min(packings)}) that published archives are not")
            return {info.filename: members.read(info) for info in found}
    except (zipfile.BadZipFile, KeyError, RuntimeError, NotImplementedError, zlib.error, EOFError) as error:
        raise ValueError(f"it cannot be unpacked: {error}") from error


def check_sha256(content: bytes, sha256: str, title: str, where: object) -> None:
    """Raise ``DataError`` where this is not the archive that was published, before anything in it is looked at."""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(f"{where} is not the archive of {title} as published\n{published.REMEDY}")


def load_archive(
    root: Path, folder: str, archive: str, url: str, sha256: str, title: str, read: Callable[[dict[str, bytes]], Any]
) -> Any:
    """What ``read`` makes of the files in a published archive, by name; once a process: do not write to it.

    Args:
        root: looked in, after ``root/folder``.
        folder: where a download goes.
        archive: the name of the archive.
        url: where it is.
        sha256: of the archive.
        title: what it is called in an error.
        read: is handed the right files alone.

    Raises:
        DataError: the archive is another, or missing and cannot be downloaded.
    """
    path = published.first_file(root / folder / archive, root / archive) or published.fetch(
        [url], root / folder / archive, lambda content: hashlib.sha256(content).hexdigest() == sha256
    )
    return published.read_once(_of_known, [path], sha256, title, read)


def _of_known(paths: Sequence[Path], sha256: str, title: str, read: Callable[[dict[str, bytes]], Any]) -> Any:
    content = content_of(paths[0])
    check_sha256(content, sha256, title, paths[0])
    return read(unpacked(content))


def load_text(root: Path, folder: str, name: str, url: str, sha256: str, title: str) -> str:
    """A published file of text in UTF-8, whose line ends may have become another system's; once a process.

    Args:
        root: looked in, after ``root/folder``.
        folder: where a download goes.
        name: of the file.
        url: where it is.
        sha256: of it.
        title: what it is called in an error.

    Raises:
        DataError: the file is another, or missing and cannot be downloaded.
    """
    path = published.first_file(root / folder / name, root / name) or published.fetch(
        [url], root / folder / name, lambda content: hashlib.sha256(content).hexdigest() == sha256
    )
    return published.read_once(_of_text, [path], sha256, title)


def _of_text(paths: Sequence[Path], sha256: str, title: str) -> str:
    content = content_of(paths[0]).replace(b"\r\n", b"\n")
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(f"{paths[0]} is not {title} as published\n{published.REMEDY}")
    return content.decode("utf-8")


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
    where it is not there. They are read and checked once a process: do not write to them.

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

    table = Table(tuple(files), tuple(packed or files), read, rows, title, sha256)

    def is_right(content: bytes) -> bool:
        try:
            return len(table.unpacked(content, url)) > 0
        except DataError:
            return False

    for place in (root / folder, root):
        paths = [path for name in files if (path := published.first_file(place / name))]
        if len(paths) == len(files):
            return published.read_once(_of_files, paths, table)
    path = published.first_file(root / folder / archive, root / archive)
    path = path or published.fetch([url], root / folder / archive, is_right)
    return published.read_once(_of_archive, [path], table)


@dataclass(frozen=True)
class Table:
    """How a published table is read, and what it is known by; see :func:`load`."""

    files: tuple[str, ...]
    packed: tuple[str, ...]
    read: Callable[[dict[str, bytes]], pd.DataFrame]
    rows: str
    title: str
    sha256: str

    def checked(self, contents: dict[str, bytes], where: object) -> pd.DataFrame:
        """The rows of files' contents by name. Raises ``DataError`` for others than were published."""
        try:
            frame = self.read(contents)
        except (ValueError, UnicodeDecodeError, IndexError) as error:
            raise DataError(f"{where} is damaged: {str(error).splitlines()[0]}\n{published.REMEDY}") from error
        if digest(frame.astype(object).fillna(MISSING).itertuples(index=False)) != self.rows:
            raise DataError(f"{where} does not hold the rows of {self.title} as published\n{published.REMEDY}")
        return frame

    def unpacked(self, archive: bytes, where: object) -> pd.DataFrame:
        """As :meth:`checked`, of an archive's content."""
        if self.sha256:
            check_sha256(archive, self.sha256, self.title, where)
        try:
            contents = unpacked(archive, self.packed)
        except ValueError as error:
            raise DataError(f"{where} is damaged: {error}\n{published.REMEDY}") from error
        return self.checked(contents, where)


def _of_files(paths: Sequence[Path], table: Table) -> pd.DataFrame:
    contents = {name: content_of(path) for name, path in zip(table.files, paths, strict=True)}
    return table.checked(contents, paths[0].parent)


def _of_archive(paths: Sequence[Path], table: Table) -> pd.DataFrame:
    return table.unpacked(content_of(paths[0]), paths[0])


def coded(frame: pd.DataFrame, codes: Mapping[str, Mapping[Any, str]], where: str) -> tuple[tuple[Column, ...], Tensor]:
    """Columns, and rows ``(N, 1, 1, C)`` as a source hands them over, of a frame that has the columns of ``codes`` in
    their order: of each its name, and what its codes mean, nothing for numbers."""
    columns = tuple(Column(name, tuple(meanings.values())) for name, meanings in codes.items())
    cells = {
        name: frame[column].map(meanings) if meanings else frame[column]
        for column, (name, meanings) in zip(frame.columns, codes.items(), strict=True)
    }
    return columns, torch.from_numpy(frames.raw(pd.DataFrame(cells), columns, where))[:, None, None]


def content_of(path: Path) -> bytes:
    """Of a published file. Raises ``DataError`` where it cannot be read, or is larger than any."""
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise DataError(f"{path} is not the published file: it has {size:,} bytes\n{published.REMEDY}")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
