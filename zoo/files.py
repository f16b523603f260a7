"""Files that appear whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from zoo.errors import ZooError


def write_text(path: Path, text: str) -> None:
    """Write beside ``path`` and rename. Raises ``ZooError`` where that cannot be done."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """As :func:`write_text`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ZooError(f"{path} cannot be written: {error.strerror}") from error


def write_json(path: Path, values: Any) -> None:
    """As :func:`write_text`, with values that JSON knows."""
    write_text(path, json.dumps(values, indent=2) + "\n")
