"""Fashion-MNIST: 60,000 and 10,000 pictures of clothes, 28×28 grey pixels.

See https://github.com/zalandoresearch/fashion-mnist.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo.data import idx
from zoo.data.splits import Loaded

KIND = "image"
TITLE = "Fashion-MNIST"
CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
OPTIONS: dict[str, Any] = {}
CHECKSUMS = (
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
)
SYSTEM = Path("/usr/share/datasets/fashion-mnist")  # Debian: dataset-fashion-mnist


def load(root: Path) -> Loaded:
    places = [root / "fashion_mnist", root / "fashion-mnist", root / "FashionMNIST" / "raw", SYSTEM]
    return idx.load(places, CHECKSUMS, "FashionMNIST", TITLE)
