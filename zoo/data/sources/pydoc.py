"""The topics of Python's own help as running text, about half a million characters: nothing to download.

Every version of Python has a text of its own: to try things, not for figures to publish.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from zoo.data import characters
from zoo.data.splits import Loaded

KIND = "tokens"
CLASSES = None
OPTIONS: dict[str, Any] = {"length": 256, "context": 128, "val_share": 0.05, "test_share": 0.1}


def load(root: Path, length: int, context: int, val_share: float, test_share: float) -> Loaded:
    topics = importlib.import_module("pydoc_data.topics").topics
    return characters.running(
        "\n\n".join(topics[name] for name in sorted(topics)), length, context, test_share, val_share
    )
