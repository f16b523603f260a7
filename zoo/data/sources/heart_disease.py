"""Diagnosis of heart disease in four hospitals: 920 patients, 6 numbers and 7 categories each, 509 of whom are ill.

Values are really missing: 1,759 of 11,960, whole columns in some hospitals. A cholesterol of 0, which a hospital has
throughout, stands as it was published.

``data.split=hospital`` keeps a hospital's patients together: with ``data.folds=4`` each hospital is the test split of a
fold.

Reference: Detrano et al. 1989, International application of a new probability algorithm for the diagnosis of coronary
artery disease; UCI machine learning repository, CC BY 4.0.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from zoo.data import records
from zoo.data.splits import Loaded, Split
from zoo.errors import ConfigError, did_you_mean

KIND = "table"
TITLE = "Heart disease"
CLASSES = ("healthy", "ill")
SPLITS = ("patient", "hospital")
OPTIONS: dict[str, Any] = {"split": "patient"}
HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
URL = "https://archive.ics.uci.edu/static/public/45/heart+disease.zip"
ROWS = "a0280d81d320d096cabd4372d6db0d4a99a877790e25ab2e9ecd9e4b7da693e4"  # with hospitals
COLUMNS: dict[str, dict[int, str]] = {  # what a column is called, and its codes; numbers have none
    "age": {},
    "sex": {0: "woman", 1: "man"},
    "chest pain": {1: "typical angina", 2: "atypical angina", 3: "other pain", 4: "none"},
    "blood pressure": {},
    "cholesterol": {},
    "blood sugar": {0: "normal", 1: "high"},
    "electrocardiogram": {0: "normal", 1: "ST-T abnormal", 2: "hypertrophy"},
    "heart rate": {},
    "angina in exercise": {0: "no", 1: "yes"},
    "ST depression": {},
    "ST slope": {1: "up", 2: "flat", 3: "down"},
    "vessels": {},
    "thallium scan": {3: "normal", 6: "fixed defect", 7: "reversible defect"},
}


def load(root: Path, split: str) -> Loaded:
    """Raises ``ConfigError`` for an impossible split, ``DataError`` where the files are damaged, or missing and cannot
    be downloaded."""
    if split not in SPLITS:
        raise ConfigError(f"data.split={split} is no choice: {did_you_mean(split, SPLITS, 'choices')}")
    files = [f"processed.{hospital}.data" for hospital in HOSPITALS]
    frame = records.load(root, "heart-disease", files, "heart+disease.zip", URL, _read, ROWS, TITLE)
    hospital = torch.tensor([HOSPITALS.index(name) for name in frame["hospital"]])
    labels = torch.from_numpy(frame[len(COLUMNS)].to_numpy() > 0).long()
    columns, rows = records.coded(frame.drop(columns=["hospital", len(COLUMNS)]), COLUMNS, TITLE)
    groups = hospital if split == "hospital" else None
    return Loaded(Split(rows, labels), columns=columns, target="diagnosis", groups=groups)


def _read(contents: dict[str, bytes]) -> pd.DataFrame:
    parts = [
        pd.read_csv(io.BytesIO(content), header=None, na_values=[records.MISSING]).assign(hospital=hospital)
        for hospital, content in zip(HOSPITALS, contents.values(), strict=True)
    ]
    return pd.concat(parts, ignore_index=True)
