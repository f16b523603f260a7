"""What goes wrong while a user's file is read, in one sentence."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path

from zoo.errors import DataError


@contextlib.contextmanager
def naming(name: str, what: str, unknown: type[Exception], none: str) -> Iterator[None]:
    """Whatever is raised is one ``DataError`` that says which file cannot be read as what, and why.

    Args:
        name: of the file.
        what: it cannot be read as, such as ``"an image"``.
        unknown: what a decoder raises that knows no such file, and ``none``, what that means.
    """
    try:
        yield
        return
    except DataError as error:
        reason, cause = str(error), error.__cause__
    except MemoryError as error:
        reason, cause = "it is too large for the memory that there is", error
    except FileNotFoundError as error:
        reason, cause = "no such file", error
    except Exception as error:  # a decoder may raise anything that damaged bytes lead it to
        system = error.strerror if isinstance(error, OSError) and error.errno else None
        told = none if isinstance(error, unknown) else f"it is damaged ({_words(error)})"
        reason, cause = system or told, error
    raise DataError(f"{name} cannot be read as {what}: {reason}") from cause


def check_file(path: Path) -> None:
    """Raise ``DataError`` for what is no file, or an empty one. What is not there raises as the system does."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise DataError("it is a folder" if stat.S_ISDIR(status.st_mode) else "it is no regular file")
    if not status.st_size:
        raise DataError("it is empty")


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
