"""Spoken digits: 3,000 recordings of the digits in English by six speakers, 50 of each digit and speaker, 8,000 samples
a second.

``data.split=official``: recordings 0 to 4 of each digit and speaker are the test split, as the authors say: all
speakers are on both sides. ``data.split=speaker``: all of ``data.speaker`` are, a voice that was never heard in
training. Validation takes whole speakers of the training then: ``data.val_size=500`` is one.

Reference: Jackson et al., Free Spoken Digit Dataset, v1.0.10, https://doi.org/10.5281/zenodo.1342401; CC BY-SA 4.0.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.data import published, records, sounds
from zoo.data.kinds.sound import Reading, features_of
from zoo.data.splits import Loaded, Split
from zoo.errors import ConfigError, DataError, did_you_mean

KIND = "sound"
TITLE = "Free Spoken Digit Dataset"
CLASSES = tuple(str(digit) for digit in range(10))
SPLITS = ("official", "speaker")
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
OPTIONS: dict[str, Any] = {"split": "official", "speaker": "theo", **Reading()._asdict()}
FOLDER, ARCHIVE = "free-spoken-digits", "free-spoken-digit-dataset.zip"
URL = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.zip"
SHA256 = "7c89fa510db619ced7fab601da170e58982d521b24ab902dadd8307321125fdc"  # of recordings
SIZE = "16 MB"
TESTED = 5  # recordings of each digit and speaker, the first ones
NAME = re.compile(r"(?:.*/)?recordings/(\d)_([a-z]+)_(\d+)\.wav")


def load(
    root: Path,
    split: str,
    speaker: str,
    features: str,
    rate: int,
    bands: int,
    decibels: int,
    steps: int,
    align: str,
) -> Loaded:
    """Recordings in the order of digits, speakers and numbers.

    Args:
        root: where the archive, as published or packed again, is or goes; its content is what counts.
        split: ``"official"`` or ``"speaker"``.
        speaker: of the latter, who is the test split.
        features, rate, bands, decibels, steps, align: see :class:`zoo.data.kinds.sound.Reading`.

    Raises:
        ConfigError: an option that cannot be.
        DataError: the archive holds something else, or is missing and cannot be downloaded.
    """
    for option, value, choices in (("split", split, SPLITS), ("speaker", speaker, SPEAKERS)):
        if value not in choices:
            raise ConfigError(f"data.{option}={value} is no choice: {did_you_mean(value, choices, 'choices')}")
    reading = Reading(features, rate, bands, decibels, steps, align)
    reading.check()
    path = published.first_file(root / FOLDER / ARCHIVE, root / ARCHIVE) or published.fetch(
        [URL], root / FOLDER / ARCHIVE, _is_published, SIZE
    )
    examples, labels, speakers, numbers, windows = published.read_once(_read, [path], reading)
    tested = numbers < TESTED if split == "official" else speakers == SPEAKERS.index(speaker)
    train, test = (Split(examples[part], labels[part]) for part in (~tested, tested))
    return Loaded(
        train,
        test,
        fingerprint=hashlib.sha256(repr((SHA256, split, speaker, *reading)).encode()).hexdigest(),
        settings=reading.settings(windows[~tested]),
        groups=speakers[~tested] if split == "speaker" else None,
    )


def _read(paths: Sequence[Path], reading: Reading) -> tuple[Tensor, ...]:
    """Features ``(3000, C, H, T)``, digits, speakers and numbers of recordings, and how many windows each has."""
    rows: list[tuple[int, int, int, int, Tensor]] = []
    for name, content in _published(records.content_of(paths[0]), paths[0]).items():
        digit, speaker, number = NAME.fullmatch(name).groups()  # type: ignore[union-attr]
        features, windows = features_of(sounds.read(io.BytesIO(content), reading.rate, name), reading)
        rows.append((int(digit), SPEAKERS.index(speaker), int(number), windows, features))
    rows.sort(key=lambda row: row[:3])
    numbers = torch.tensor([row[:4] for row in rows])
    return torch.stack([row[4] for row in rows]), *numbers.unbind(1)


def _is_published(archive: bytes) -> bool:
    with contextlib.suppress(DataError):
        return bool(_published(archive, URL))
    return False


def _published(archive: bytes, where: object) -> dict[str, bytes]:
    """The recordings in an archive, by name. Raises ``DataError`` for others than were published."""
    try:
        found = {name: content for name, content in records.unpacked(archive).items() if NAME.fullmatch(name)}
    except ValueError as error:
        raise DataError(f"{where} is damaged: {error}\n{published.REMEDY}") from error
    if records.digest((Path(name).name, hashlib.sha256(found[name]).hexdigest()) for name in found) != SHA256:
        raise DataError(f"{where} does not hold the recordings of {TITLE} as published\n{published.REMEDY}")
    return found
