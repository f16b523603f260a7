"""Files that appear whole or not at all, that every reader of their format takes, and paths as users write them."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import math
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from zoo.errors import ConfigError, ZooError
from zoo.terminal import printable

PATH_OPTIONS = ("path", "test_path")  # of sources, which mean the same from any directory once they are remembered
PACKAGE = Path(__file__).resolve().parent
REPOSITORY = PACKAGE.parent  # the checkout, where the package is in one


def shipped(name: str) -> Path:
    """A folder of the repository's top level that an installed package has within itself."""
    inside = PACKAGE / name
    return inside if inside.is_dir() else REPOSITORY / name


def released() -> list[str]:
    """The names of the released models, ``<model>-<data>`` or ``<model>-<data>-<kind>``, each a folder of
    ``PRETRAINED``."""
    return sorted(path.parent.name for path in PRETRAINED.glob("*/config.json"))


CONFIGS, PRETRAINED, RESULTS = shipped("configs"), shipped("pretrained"), shipped("results")


def cache() -> Path:
    """The user's folder for what can be fetched or made again; it need not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or user_path("~/.cache")) / "zoo"


def user_path(text: str | Path) -> Path:
    """The path that a user means, ``~`` being a home directory. It need not exist.

    Raises ``ZooError`` for what can be no path: an empty one, an unknown home, a name that is too long, a place that
    may not be looked at.
    """
    if not str(text):
        raise ZooError("an empty path names no file and no folder")
    if "\0" in str(text):
        raise ZooError(f"{printable(text)!r} is no path: it holds a NUL character")
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:  # no HOME and no entry in passwd, or no such user
        raise ZooError(
            f"{text}: {str(text).partition('/')[0]} stands for a home directory, which is unknown"
        ) from error
    try:
        path.stat()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            shown = text if len(str(text)) <= 200 else f"{str(text)[:100]} …"
            raise ZooError(f"{shown} cannot be used: {error.strerror}") from error
    except UnicodeEncodeError as error:  # the file system's names are of another encoding
        raise ZooError(f"{printable(text)} is no path here: names of files are {error.encoding}") from error
    return path


def output_file(text: str, name: str) -> Path:
    """The file that ``out=text`` stands for: ``name`` in that folder, or the file of that name, which may be written
    without the suffix of ``name``.

    Raises ``ConfigError`` for another suffix, or where the folder does not exist.
    """
    out, suffix = user_path(text), Path(name).suffix
    if out.is_dir():
        return out / name
    if out.suffix not in ("", suffix):
        raise ConfigError(f"out={text}: it is a {suffix[1:].upper()} file, and its name ends with {suffix}")
    folder = out if text.endswith("/") else out.parent
    if not folder.is_dir():
        raise ConfigError(f"out={text}: the folder {folder} does not exist")
    return out.with_suffix(suffix)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 beside ``path`` and rename; bytes of a name that is none are escaped.

    Raises ``ZooError`` where that cannot be done.
    """
    write_bytes(path, text.encode("utf-8", "spelled"))


def write_bytes(path: Path, content: bytes) -> None:
    """As :func:`write_text`."""
    with whole_file(path) as file:
        file.write(content)


TEMPORARY = re.compile(r"\.\d+-\d+\.tmp")  # names of files that are being written, see whole_file


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[io.FileIO]:
    """A file to be written, unbuffered, which is called ``path`` once that has gone well and it is on the disk.

    Whatever ends the process, what was there before stays until then. A link is replaced, not followed.

    Raises ``ZooError`` where it cannot be written, whatever the writer makes of that.
    """
    temporary = path.with_name(f".{os.getpid()}-{threading.get_ident()}.tmp")  # writers do not meet
    file = None
    try:
        file = _Remembering(temporary, "xb")
        yield file
        os.fsync(file.fileno())
        file.close()
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:
        if file is not None:
            with contextlib.suppress(OSError):  # the folder may be gone
                file.close()
                temporary.unlink()
        cause = (file.failed if file is not None else None) or (error if isinstance(error, OSError) else None)
        if cause is None:
            raise
        raise ZooError(f"{path} cannot be written: {cause.strerror or cause}") from error


class _Remembering(io.FileIO):
    """A file that knows why it could not be written: torch, told so by an exception, raises one of its own."""

    failed: OSError | None = None

    def write(self, data: Any, /) -> int:
        rest = memoryview(data).cast("B")
        try:
            while rest:  # a disk that is nearly full takes a part
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.failed = error
            raise
        return memoryview(data).nbytes


def _sync_folder(folder: Path) -> None:
    """Have the new name of a file outlive a loss of power, where folders can be opened."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def remove_unfinished(folder: Path) -> None:
    """Delete what processes that were killed were writing in ``folder``; nobody else may be writing there."""
    for path in folder.rglob(".*.tmp"):
        if TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def json_text(values: Any) -> str:
    """Values as JSON that every parser takes: in ASCII, null for NaN and infinity, bytes that are no UTF-8 escaped."""
    return json.dumps(_for_json(values), indent=2, allow_nan=False) + "\n"


def _for_json(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "spelled").decode("utf-8")
    if isinstance(value, Mapping):
        return {_for_json(str(key)): _for_json(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_for_json(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value


def write_json(path: Path, values: Any) -> None:
    """As :func:`write_text`, see :func:`json_text`."""
    write_text(path, json_text(values))


class _Dumper(yaml.SafeDumper):
    """Quotes strings that other readers of YAML, among them OmegaConf, would take for numbers, such as ``1e3``."""


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d[\d_]*\.?|\.?\d[\d_]*)([\d_]*)([eE][-+]?\d+)?|0o[0-7]+"), None
)


def write_yaml(path: Path, values: Mapping[str, Any]) -> None:
    """As :func:`write_text`; ``plain.read_yaml`` gives the same values back."""
    write_text(path, yaml_text(values))


def yaml_text(values: Mapping[str, Any], **options: Any) -> str:
    """Values as YAML, in their own order; ``options`` are those of ``yaml.dump``."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, **options)


@contextlib.contextmanager
def new_folder(path: Path, shared: bool = False) -> Iterator[Path]:
    """A folder to be filled, which is called ``path`` once that has gone well, and is gone where it has not.

    ``shared``: others may fill a folder of this name with the same content at once; the first one is what stays.

    Raises ``ZooError`` where ``path`` exists already, or cannot be written.
    """
    if path.exists() and not shared:
        raise ZooError(f"{path} exists already, and nothing is overwritten")
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        yield temporary
        temporary.chmod(0o755)  # mkdtemp's folder is the owner's alone
        try:
            os.rename(temporary, path)
        except OSError:
            if not (shared and path.is_dir()):
                raise
    except OSError as error:
        raise ZooError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
