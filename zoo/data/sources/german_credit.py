"""Credits of a German bank: 1,000 customers, 7 numbers and 13 categories each, 300 of whom did not pay back.

The categories are called as in the description that comes with the file, whose codes nobody can read. It also says what
mistakes cost: 5 where a bad customer is taken for a good one, 1 where a good one is taken for a bad one, which is
``data.costs=[1,5]``.

Reference: Hofmann 1994, Statlog (German credit data), UCI machine learning repository, CC BY 4.0.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from zoo.data import records
from zoo.data.splits import Loaded, Split

KIND = "table"
TITLE = "German credit"
CLASSES = ("good", "bad")
OPTIONS: dict[str, Any] = {}
URL = "https://archive.ics.uci.edu/static/public/144/statlog+german+credit+data.zip"
ROWS = "2141372e4dbf261e6ca0e993ead662a1809bebfc5556e4b29103862dab9d8f52"  # no archive's checksum is known: of the rows
COLUMNS: dict[str, dict[str, str]] = {  # what a column is called, and its codes; numbers have none
    "checking account": {
        "A11": "below 0 DM", "A12": "0 to 200 DM", "A13": "200 DM or more", "A14": "none",
    },
    "months": {},
    "credit history": {
        "A30": "no credits", "A31": "all paid back here", "A32": "paid back duly", "A33": "delays",
        "A34": "critical or elsewhere",
    },
    "purpose": {
        "A40": "new car", "A41": "used car", "A42": "furniture", "A43": "radio or television",
        "A44": "domestic appliances", "A45": "repairs", "A46": "education", "A47": "vacation", "A48": "retraining",
        "A49": "business", "A410": "others",
    },
    "amount": {},
    "savings": {
        "A61": "below 100 DM", "A62": "100 to 500 DM", "A63": "500 to 1000 DM", "A64": "1000 DM or more",
        "A65": "unknown or none",
    },
    "employed": {
        "A71": "no", "A72": "below 1 year", "A73": "1 to 4 years", "A74": "4 to 7 years", "A75": "7 years or more",
    },
    "instalment rate": {},
    "status and sex": {
        "A91": "divorced man", "A92": "woman, not single", "A93": "single man", "A94": "married man",
        "A95": "single woman",
    },
    "other debtors": {"A101": "none", "A102": "co-applicant", "A103": "guarantor"},
    "years of residence": {},
    "property": {
        "A121": "real estate", "A122": "savings or insurance", "A123": "car or other", "A124": "unknown or none",
    },
    "age": {},
    "other instalments": {"A141": "bank", "A142": "stores", "A143": "none"},
    "housing": {"A151": "rent", "A152": "own", "A153": "for free"},
    "credits here": {},
    "job": {
        "A171": "unskilled, non-resident", "A172": "unskilled", "A173": "skilled", "A174": "management",
    },
    "dependants": {},
    "telephone": {"A191": "no", "A192": "yes"},
    "foreign worker": {"A201": "yes", "A202": "no"},
}  # fmt: skip


def load(root: Path) -> Loaded:
    """Raises ``DataError`` where the file is damaged, or missing and cannot be downloaded."""
    archive = "statlog+german+credit+data.zip"
    frame = records.load(root, "german-credit", ["german.data"], archive, URL, _read, ROWS, TITLE)
    labels = torch.from_numpy(frame[len(COLUMNS)].to_numpy() == 2).long()
    columns, rows = records.coded(frame.drop(columns=len(COLUMNS)), COLUMNS, TITLE)
    return Loaded(Split(rows, labels), columns=columns, target="credit")


def _read(contents: dict[str, bytes]) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(contents["german.data"]), sep=r"\s+", header=None)
