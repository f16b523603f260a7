"""Credit cards of 30,000 customers of a bank in Taiwan, 20 numbers and 3 categories each, 6,636 of whom did not pay the
next month: the limit, the person, and six months of delays, bills and payments.

The file is read as it was published in a competition, ``UCI_Credit_Card.csv``, or from the archive of the official
address, whose sheet needs ``xlrd``. The numbers of categories are called as in the description where it says what they
mean.

Reference: Yeh & Lien 2009, The comparisons of data mining techniques for the predictive accuracy of probability of
default of credit card clients; UCI machine learning repository, CC BY 4.0.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from zoo.data import records
from zoo.data.splits import Loaded, Split
from zoo.errors import DataError

KIND = "table"
TITLE = "Default of credit card clients"
CLASSES = ("paid", "default")
OPTIONS: dict[str, Any] = {}
FILE, SHEET = "UCI_Credit_Card.csv", "default of credit card clients.xls"
URL = "https://archive.ics.uci.edu/static/public/350/default+of+credit+card+clients.zip"
ARCHIVE = "56c885f84457f6680f8438f02bfcdac9579323d8a94465ee5f26e32baa727602"  # sha256
ROWS = "c3849134be9c0524509d25aa0699cc1c48fd49812cf91c91b48ba034285f1535"
CODES: dict[str, dict[int, str]] = {
    "SEX": {1: "man", 2: "woman"},
    "EDUCATION": {
        0: "unknown 0", 1: "graduate school", 2: "university", 3: "high school", 4: "others", 5: "unknown 5",
        6: "unknown 6",
    },
    "MARRIAGE": {0: "unknown", 1: "married", 2: "single", 3: "others"},
}  # fmt: skip


def load(root: Path) -> Loaded:
    """Raises ``DataError`` where the file is damaged, or missing and cannot be downloaded."""
    frame = records.load(
        root, "taiwan-default", [FILE], "default+of+credit+card+clients.zip", URL, _read, ROWS, TITLE, [SHEET], ARCHIVE
    )
    labels = torch.from_numpy(frame.iloc[:, -1].to_numpy().astype("int64"))
    frame = frame.iloc[:, 1:-1]  # without the number of the row, and the class
    columns, rows = records.coded(frame, {name: CODES.get(name, {}) for name in frame.columns}, TITLE)
    return Loaded(Split(rows, labels), columns=columns, target="next month")


def _read(contents: dict[str, bytes]) -> pd.DataFrame:
    if FILE in contents:
        return pd.read_csv(io.BytesIO(contents[FILE]))
    try:
        return pd.read_excel(io.BytesIO(contents[SHEET]), header=1)  # above the names of columns there are X1, X2, …
    except ImportError as error:
        raise DataError(f"{SHEET} is read by xlrd, which is not installed: pip install xlrd") from error
