"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zoo.errors import ZooError

REPOSITORY = Path(__file__).resolve().parents[1]  # the checkout: configs, pretrained models, train.py


def write_text(path: Path, text: str) -> None:
    """Write beside ``path`` and rename. Raises ``ZooError`` where that cannot be done."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """As :func:`write_text`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")  # writers do not meet
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):  # there may be none, nor a folder that it could be in
            temporary.unlink()
        raise ZooError(f"{path} cannot be written: {error.strerror}") from error


def write_json(path: Path, values: Any) -> None:
    """As :func:`write_text`, with values that JSON knows."""
    write_text(path, json.dumps(values, indent=2) + "\n")


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
