"""Two days of credit card payments in Europe, 284,807 of them, 492 of which are frauds: 28 principal components of what
the bank knows, and the amount.

The file has to be there: ``card-fraud/creditcard.csv`` below the directory of data. Whoever has an account there
gets it at https://www.kaggle.com/datasets/mlg-ulb/creditcardfraud.

Payments are in the order of time, and parted by it: the last fifth is the test split, a tenth of what is before it, the
latest, is what is validated on. The time itself is left out, since it never comes back.

Reference: Dal Pozzolo, Caelen, Johnson & Bontempi 2015, Calibrating probability with undersampling for unbalanced
classification; Open Database License.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from zoo.data import frames, published
from zoo.data.splits import Loaded, Split
from zoo.errors import DataError
from zoo.spec import Column

KIND = "table"
TITLE = "Credit card fraud"
CLASSES = ("genuine", "fraud")
OPTIONS: dict[str, Any] = {}
FILE = "creditcard.csv"
URL = "https://www.kaggle.com/datasets/mlg-ulb/creditcardfraud"
COLUMNS = tuple(map(Column, ("Time", *(f"V{number}" for number in range(1, 29)), "Amount", "Class")))
PAYMENTS, FRAUDS = 284_807, 492
TEST_SHARE, VAL_SHARE = 0.2, 0.1


def load(root: Path) -> Loaded:
    """Raises ``DataError`` where the file is not there, or is another one."""
    path = published.first_file(root / "card-fraud" / FILE, root / FILE)
    if path is None:
        raise DataError(f"{FILE} is not in {root / 'card-fraud'}: put it there, from {URL}, where it takes an account")
    values = torch.from_numpy(published.read_once(_read, [path]))
    labels = values[:, -1].long()
    if len(values) != PAYMENTS or int(labels.sum()) != FRAUDS:
        raise DataError(
            f"{path} holds {len(values):,} payments, {int(labels.sum()):,} of them frauds, where {TITLE} has "
            f"{PAYMENTS:,} and {FRAUDS:,}: data=table reads other files"
        )
    order = values[:, 0].argsort(stable=True)
    rows, labels = values[order, 1:-1][:, None, None], labels[order]
    train = len(rows) - round(TEST_SHARE * len(rows))
    fitted = train - round(VAL_SHARE * train)
    parts = [slice(0, fitted), slice(fitted, train), slice(train, None)]
    fit, val, test = (Split(rows[part], labels[part]) for part in parts)
    return Loaded(fit, test, columns=COLUMNS[1:-1], target="Class", val=val)


def _read(paths: list[Path]) -> Any:
    frame = frames.read_frame(paths[0])
    return frames.raw(frame, COLUMNS, str(paths[0]))
