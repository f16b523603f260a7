"""One recording, however it is stored: WAV, FLAC or another format that libsndfile reads, of any rate, depth and number
of channels, as one channel of a given rate; or refused with the reason.

Channels are averaged. Other rates are brought to the one that is wanted by a filter that keeps what both can hold.
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.naming import check_file
from zoo.data.naming import naming as naming_of
from zoo.errors import DataError

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64")
LARGEST, LONGEST = 2**24, 300  # samples, of all channels together, and seconds: five minutes of one channel, 48,000 Hz
RATES = (1_000, 768_000)  # samples a second that recordings have, at least and at most
BLOCK = 2**18  # samples that are read at a time: how many there are is what the file says, and need not be true


def read(source: Path | Any, rate: int, name: str = "") -> np.ndarray:
    """A recording as float32 ``(L,)``, ``rate`` samples a second, L ≥ 1.

    Args:
        source: a path, or a file in memory.
        rate: that of the result.
        name: what to call it in an error; the path if left out.

    Raises:
        DataError: what is no recording, or none that can be heard.
    """
    with naming(name or str(source)):
        if isinstance(source, (str, os.PathLike)):
            check_file(Path(source))
        samples, theirs = _mono(source)
        return samples if theirs == rate else resampled(samples, theirs, rate)


def _mono(source: Any) -> tuple[np.ndarray, int]:
    """Samples ``(L,)`` from -1 to 1, and how many there are a second."""
    import soundfile  # not at the top: predicting pictures needs none

    with soundfile.SoundFile(source) as file:
        theirs, channels = int(file.samplerate), int(file.channels)
        if not RATES[0] <= theirs <= RATES[1]:
            raise DataError(f"it says {theirs:,} samples a second, where {RATES[0]:,} to {RATES[1]:,} are read")
        most = min(LARGEST // channels, LONGEST * theirs)
        if most < file.frames < 2**62:
            raise DataError(_too_long(file.frames / theirs, most / theirs))
        parts: list[np.ndarray] = []
        count = 0
        while len(block := file.read(BLOCK // channels or 1, dtype="float32", always_2d=True)):
            parts.append(block.mean(1))
            count += len(block)
            if count > most:
                raise DataError(_too_long(count / theirs, most / theirs, "at least "))
    if not count:
        raise DataError("it holds no sample")
    samples = np.concatenate(parts)
    if not np.isfinite(samples).all():
        raise DataError("it holds values that are no numbers (NaN or infinite)")
    if not samples.any():
        raise DataError("it is silent: there is nothing to hear")
    return samples, theirs


def _too_long(seconds: float, most: float, at_least: str = "") -> str:
    return f"it lasts {at_least}{seconds:,.0f} s, more than the {most:,.0f} s that are read: cut it into pieces"


def resampled(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Samples ``(L,)`` of one rate as of another, by a polyphase filter."""
    from scipy.signal import resample_poly

    common = math.gcd(rate, wanted)
    return resample_poly(samples, wanted // common, rate // common).astype(np.float32)


def naming(name: str) -> contextlib.AbstractContextManager[None]:
    """What goes wrong while a recording is read is one ``DataError`` that names it and the reason."""
    from soundfile import LibsndfileError

    return naming_of(name, "a recording", LibsndfileError, "it is damaged, or of a form that libsndfile does not read")
