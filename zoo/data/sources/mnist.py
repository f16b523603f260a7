"""MNIST: 60,000 and 10,000 handwritten digits, 28×28 grey pixels. See http://yann.lecun.com/exdb/mnist/."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo.data import idx
from zoo.data.splits import Loaded

KIND = "image"
TITLE = "MNIST"
CLASSES = tuple("0123456789")
OPTIONS: dict[str, Any] = {}
CHECKSUMS = (
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)


def load(root: Path) -> Loaded:
    places = [root / "mnist", root / "MNIST" / "raw"]
    return idx.load(places, CHECKSUMS, "MNIST", TITLE, settings={"frame": "ink"})
