"""Text messages, 5,574 of them, 747 of which are spam.

403 messages repeat an earlier one, letter by letter, and a few more but for blanks and capitals: they stay together.

Reference: Almeida, Gómez Hidalgo & Yamakami 2011, Contributions to the study of SMS spam filtering: new collection and
results; SMS Spam Collection v.1, UCI machine learning repository, CC BY 4.0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from zoo.data import records, texts
from zoo.data.splits import Loaded

KIND = "tokens"
TITLE = "SMS Spam Collection"
CLASSES = ("ham", "spam")
OPTIONS: dict[str, Any] = {}
FILE = "SMSSpamCollection"
URL = "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip"
ARCHIVE = "1587ea43e58e82b14ff1f5425c88e17f8496bfcdb67a583dbff9eefaf9963ce3"  # sha256
ROWS = "0f40a96e836f36aa5ebbfb21f4533efd5cb4c92e21e25d21aab1938e60395001"


def load(root: Path) -> Loaded:
    """Raises ``DataError`` where the file is damaged, or missing and cannot be downloaded."""
    frame = records.load(root, "sms-spam", [FILE], "sms+spam+collection.zip", URL, _read, ROWS, TITLE, sha256=ARCHIVE)
    return texts.loaded(list(frame["text"]), [CLASSES.index(name) for name in frame["class"]], CLASSES)


def _read(contents: dict[str, bytes]) -> pd.DataFrame:
    lines = contents[FILE].decode("utf-8").replace("\r\n", "\n").removesuffix("\n").split("\n")
    return pd.DataFrame([line.split("\t", 1) for line in lines], columns=["class", "text"])
