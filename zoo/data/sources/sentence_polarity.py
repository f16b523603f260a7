"""Snippets of film reviews, a sentence each: 5,331 of films that were liked, 5,331 of others.

Reference: Pang & Lee 2005, Seeing stars: exploiting class relationships for sentiment categorization with respect to
rating scales; sentence polarity dataset v1.0, CC BY 4.0, as NLTK distributes it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo.data import records, texts
from zoo.data.splits import Loaded

KIND = "tokens"
TITLE = "Sentence polarity"
CLASSES = ("negative", "positive")
OPTIONS: dict[str, Any] = {}
URL = "https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/packages/corpora/sentence_polarity.zip"
ARCHIVE = "6e1ed4405b65c7eabf1d199a7f7c437091ac21da0ea7467b410a74062574566b"  # sha256


def load(root: Path) -> Loaded:
    """Raises ``DataError`` where the archive is another, or missing and cannot be downloaded."""
    return records.load_archive(root, "sentence-polarity", "sentence_polarity.zip", URL, ARCHIVE, TITLE, _read)


def _read(contents: dict[str, bytes]) -> Loaded:
    found, labels = [], []
    for label, name in enumerate(CLASSES):
        lines = contents[f"sentence_polarity/rt-polarity.{name[:3]}"].decode("utf-8").removesuffix("\n").split("\n")
        found += lines
        labels += [label] * len(lines)
    return texts.loaded(found, labels, CLASSES)
