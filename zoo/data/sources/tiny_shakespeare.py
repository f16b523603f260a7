"""Plays of Shakespeare, 1,115,394 characters of 65 kinds, as running text.

The last tenth is the test text, the one that nanoGPT validates on. Our own validation text is the *first* twentieth of
the rest: its end opens the play that the test text continues, and to hold that out costs 0.2 nats a character.

Reference: Karpathy 2015, The unreasonable effectiveness of recurrent neural networks; the text is in the public domain.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo.data import characters, records
from zoo.data.splits import Loaded

KIND = "tokens"
TITLE = "Tiny Shakespeare"
CLASSES = None
OPTIONS: dict[str, Any] = {"length": 256, "context": 128, "val_share": 0.05}
URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
TEST = 1_003_854  # the character that the test text begins with


def load(root: Path, length: int, context: int, val_share: float) -> Loaded:
    """Raises ``DataError`` where the file is another, or missing and cannot be downloaded."""
    text = records.load_text(root, "tiny-shakespeare", "input.txt", URL, SHA256, TITLE)
    return characters.running(text, length, context, test_start=TEST, val=val_share)
