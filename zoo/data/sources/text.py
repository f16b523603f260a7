"""Your own running text, such as a book: a file, whose end is the test text, and whose beginning validates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo.data import characters, texts
from zoo.data.splits import Loaded
from zoo.errors import ConfigError
from zoo.files import user_path

KIND = "tokens"
CLASSES = None
OPTIONS: dict[str, Any] = {"path": None, "length": 256, "context": 128, "val_share": 0.05, "test_share": 0.1}


def load(root: Path, path: str | Path | None, length: int, context: int, val_share: float, test_share: float) -> Loaded:
    """Raises ``ConfigError`` where no path is given, ``DataError`` for a file that holds no text, or too little."""
    if path in (None, ""):
        raise ConfigError("data=text needs a text: data.path=… is a .txt file, such as a book")
    text, guessed = texts.read(user_path(str(path)))
    notes = [texts.guesses(1)] if guessed else []
    return characters.running(text, length, context, test_share, val_share, notes=notes)
