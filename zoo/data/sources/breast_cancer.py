"""Wisconsin's 569 breast tumours of two classes, 30 numbers each, embedded in scikit-learn: nothing to download.

The numbers are means, standard errors and extremes of ten measures of the nuclei of cells: radius, texture, ….

Reference: Street, Wolberg & Mangasarian 1993, Nuclear feature extraction for breast tumor diagnosis.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from zoo.data.splits import Loaded, Split
from zoo.spec import Column

KIND = "table"
CLASSES = ("malignant", "benign")
OPTIONS: dict[str, Any] = {}


def load(root: Path) -> Loaded:
    from sklearn.datasets import load_breast_cancer  # slow to import

    table = load_breast_cancer()
    rows = torch.from_numpy(table.data).float()[:, None, None]
    columns = tuple(Column(str(name)) for name in table.feature_names)
    return Loaded(Split(rows, torch.from_numpy(table.target).long()), columns=columns, target="tumour")
