"""First names, 32,033 of them, 29,494 different ones, in small letters.

A name that occurs twice, as one of a girl and of a boy, stays on one side.

Reference: the most frequent ones of 2018, social security administration of the USA, as github.com/karpathy/makemore
has them; public domain.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo.data import records, texts
from zoo.data.splits import Loaded

KIND = "tokens"
TITLE = "First names"
CLASSES = ("name",)
OPTIONS: dict[str, Any] = {}
URL = "https://raw.githubusercontent.com/karpathy/makemore/master/names.txt"
SHA256 = "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d"


def load(root: Path) -> Loaded:
    """Raises ``DataError`` where the file is another, or missing and cannot be downloaded."""
    found = records.load_text(root, "names", "names.txt", URL, SHA256, TITLE).split()
    return texts.loaded(found, [0] * len(found), CLASSES)
