"""What goes wrong while a user's file is read, in one sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

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


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
