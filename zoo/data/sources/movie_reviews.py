"""Reviews of films, 1,000 that liked theirs and 1,000 that did not, of 746 words on average.

The first digit of a file's name is its authors' fold: ``data.folds=10`` takes these.

Reference: Pang & Lee 2004, A sentimental education: sentiment analysis using subjectivity summarization based on
minimum cuts; polarity dataset v2.0, CC BY 4.0, as NLTK distributes it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from zoo.data import records, texts
from zoo.data.splits import Loaded

KIND = "tokens"
TITLE = "Movie reviews"
CLASSES = ("negative", "positive")
OPTIONS: dict[str, Any] = {}
URL = "https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/packages/corpora/movie_reviews.zip"
ARCHIVE = "a41211ae685019137410268134db6a1a14428c89b671eb83056151a878539008"  # sha256
NAME = re.compile(r"movie_reviews/(neg|pos)/cv(\d)\d\d_\d+\.txt")


def load(root: Path) -> Loaded:
    """Raises ``DataError`` where the archive is another, or missing and cannot be downloaded."""
    return records.load_archive(root, "movie-reviews", "movie_reviews.zip", URL, ARCHIVE, TITLE, _read)


def _read(contents: dict[str, bytes]) -> Loaded:
    named = [match for match in map(NAME.fullmatch, sorted(contents)) if match]
    found = [contents[match[0]].decode("utf-8") for match in named]
    labels = [int(match[1] == "pos") for match in named]
    folds = torch.tensor([int(match[2]) for match in named])
    return replace(texts.loaded(found, labels, CLASSES, settings={"text": "file"}), folds=folds)
