"""Customers on five products: 1,719 sentences that hold an opinion, 1,081 of them good ones.

Two cameras, a telephone, a music and a film player. The authors marked what of a product a sentence speaks of, and how
well, from [-3] to [+3]: a sentence is positive where its marks are above 0 in sum, and left out where they are 0, or
there is none. The marks are no part of the text. Sentences of one review stay together.

Reference: Hu & Liu 2004, Mining and summarizing customer reviews; customer review datasets, five products, CC BY 4.0,
as NLTK distributes them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from zoo.data import records, texts
from zoo.data.splits import Loaded

KIND = "tokens"
TITLE = "Customer reviews of five products"
CLASSES = ("negative", "positive")
OPTIONS: dict[str, Any] = {}
URL = "https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/packages/corpora/product_reviews_1.zip"
ARCHIVE = "627bfb0bb7c87586246d99b4402c3d7e4fb77ac14559d8695c283bd6850615ac"  # sha256
MARK = re.compile(r"\[([+-]\d)\]")


def load(root: Path) -> Loaded:
    """Raises ``DataError`` where the archive is another, or missing and cannot be downloaded."""
    return records.load_archive(root, "product-reviews", "product_reviews_1.zip", URL, ARCHIVE, TITLE, _read)


def _read(contents: dict[str, bytes]) -> Loaded:
    found, labels, groups, review = [], [], [], 0
    for name in sorted(contents):
        if name.endswith("README.txt"):
            continue
        review += 1
        for line in contents[name].decode("utf-8").split("\n"):
            review += line.startswith("[t]")  # the title of the next one
            marks, _, text = line.partition("##")
            opinion = sum(int(mark) for mark in MARK.findall(marks)) if text else 0
            if opinion:
                found.append(text.strip())
                labels.append(int(opinion > 0))
                groups.append(review)
    return texts.loaded(found, labels, CLASSES, groups=groups)
