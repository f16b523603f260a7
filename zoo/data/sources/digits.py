"""scikit-learn's 1,797 handwritten digits, embedded: nothing to download.

They are 8×8 pixels of 17 grey levels, resized to 28×28.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from zoo.data.splits import Loaded, Split

KIND = "image"
CLASSES = tuple("0123456789")
OPTIONS: dict[str, Any] = {}


def load(root: Path) -> Loaded:
    from sklearn.datasets import load_digits  # slow to import

    digits = load_digits()
    grey = torch.from_numpy(digits.images).float()[:, None] * (255 / 16)
    resized = torch.nn.functional.interpolate(grey, size=(28, 28), mode="bicubic", align_corners=False)
    images = resized.round().clamp(0, 255).to(torch.uint8)
    return Loaded(Split(images, torch.from_numpy(digits.target).long()))
