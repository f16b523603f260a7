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

from zoo.data import decoded, sounds, spectra
from zoo.data.kinds import sound
from zoo.data.splits import Loaded
from zoo.errors import ConfigError
from zoo.files import user_path

KIND = "sound"
CLASSES = None  # the folders say
OPTIONS: dict[str, Any] = {"path": None, **sound.READING, "rate": 16_000, "steps": 100}


def load(root: Path, path: str | Path | None, **reading: Any) -> Loaded:
    """Read a folder of recordings, or map the cache of an earlier reading.

    Args:
        root: the cache goes below ``root/.cache``.
        path: the folder.
        **reading: see :data:`zoo.data.kinds.sound.READING`.

    Raises:
        ConfigError: an impossible option.
        DataError: see :func:`zoo.data.decoded.load`.
    """
    if path in (None, ""):
        raise ConfigError(
            "data=audio_folder needs a folder that holds one folder a class: data.path=… or a script's path=…"
        )
    sound.check(**reading)
    steps, shape = reading["steps"], sound.shape_of(reading)

    def decode(files: Sequence[Path]) -> decoded.Examples:
        def read(file: Path) -> tuple[np.ndarray, int]:
            features, windows = sound.read_file(file, **reading)
            return features.numpy(), windows

        return decoded.Examples(shape, np.float32, decoded.each(files, read))

    def note(windows: np.ndarray) -> str:
        longer = int((windows > steps).sum())
        if reading["align"] == "stretch" or not longer:
            return ""
        seconds = f"data.steps={steps}, {steps * spectra.HOP:g} s"
        return f"{longer:,} of {len(windows):,} recordings are cut: they last longer than {seconds}"

    options = sorted(reading.items())
    loaded, windows = decoded.load(root, user_path(str(path)), sounds.SUFFIXES, "recording", options, decode, note)
    return replace(loaded, settings=sound.settings_of(reading, torch.from_numpy(windows.astype(np.int64))))
