"""Kuzushiji-MNIST: 60,000 and 10,000 characters of old Japanese cursive, 28×28 grey pixels.

See https://github.com/rois-codh/kmnist, and Clanuwat et al. 2018, Deep learning for classical Japanese literature.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo.data import idx
from zoo.data.splits import Loaded

KIND = "image"
TITLE = "Kuzushiji-MNIST"
CLASSES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
OPTIONS: dict[str, Any] = {}
CHECKSUMS = (  # md5 of the gzipped files, as torchvision has them
    "bdb82020997e1d708af4cf47b453dcf7",
    "e144d726b3acfaa3e44228e80efcd344",
    "5c965bf0a639b31b8f53240b1b52f4d7",
    "7320c461ea6c1c855c0b718fb2a4b134",
)
COUNTS = (60_000, 10_000)


def load(root: Path) -> Loaded:
    return idx.load([root / "kmnist", root / "KMNIST" / "raw"], CHECKSUMS, "KMNIST", TITLE, COUNTS)
