"""A user's own recordings, one folder a class, whose spectra are computed once into a cached memory map.

    root/<class>/*.wav                     a fixed part of each class becomes the test split
    root/train/<class>/…, root/test/<class>/…, root/val/<class>/…      the splits are the user's

See :mod:`zoo.data.folders` for which file is what, :mod:`zoo.data.decoded` for the test split where there is none, and
:mod:`zoo.data.sounds` for how a recording of any format, rate, depth and number of channels is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.data import decoded
from zoo.data.kinds.sound import Reading, read_file
from zoo.data.sounds import SUFFIXES
from zoo.data.spectra import HOP
from zoo.data.splits import Loaded

KIND = "sound"
CLASSES = None  # the folders say
OPTIONS: dict[str, Any] = {"path": None, **Reading(rate=16_000, steps=100)._asdict()}


def load(
    root: Path,
    path: str | Path | None,
    features: str,
    rate: int,
    bands: int,
    decibels: int,
    steps: int,
    align: str,
) -> Loaded:
    """Read a folder of recordings, or map the cache of an earlier reading.

    Args:
        root: the cache goes below ``root/.cache``.
        path: the folder.
        features, rate, bands, decibels, steps, align: see :class:`zoo.data.kinds.sound.Reading`.

    Raises:
        ConfigError: an impossible option.
        DataError: see :func:`zoo.data.decoded.load`.
    """
    path = decoded.folder_of(path, "audio_folder")
    reading = Reading(features, rate, bands, decibels, steps, align)
    reading.check()

    def decode(files: Sequence[Path]) -> decoded.Examples:
        def read(file: Path) -> tuple[np.ndarray, int]:
            found, windows = read_file(file, reading)
            return found.numpy(), windows

        return decoded.Examples(reading.shape, np.float32, decoded.each(files, read))

    def note(windows: np.ndarray) -> str:
        longer = int((windows > steps).sum())
        if align == "stretch" or not longer:
            return ""
        seconds = f"data.steps={steps}, {steps * HOP:g} s"
        return f"{longer:,} of {len(windows):,} recordings are cut: they last longer than {seconds}"

    loaded, windows = decoded.load(root, path, SUFFIXES, "recording", reading, decode, note)
    return replace(loaded, settings=reading.settings(torch.from_numpy(windows.astype(np.int64))))
