"""Tables in Markdown, for TensorBoard's texts and for files that are read as they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown, see :func:`escaped`."""
    first, *others = (f"| {' | '.join(line)} |" for line in (head, *rows))
    return "\n".join([first, "|" + "---|" * len(head), *others])


def escaped(text: str) -> str:
    """Text as a part of a cell in which nothing is Markdown."""
    text = re.sub(r"&(?=#?\w+;)", "&amp;", text.replace("\n", " "))  # it is no character's name
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", text)


def block(text: str) -> str:
    """Text of several lines, in which nothing is Markdown."""
    fence = "`" * (1 + max(2, *map(len, re.findall("`+", text)), 0))
    return f"{fence}\n{text}\n{fence}"
