"""Recordings: log-mel spectra or cepstra ``(N, C, H, T)``, whose columns are time, see :mod:`zoo.data.spectra`.

Of each recording and row the mean over time is subtracted, which is what a voice, a room and a microphone have in
common with themselves; ``center=level`` subtracts a single mean of all rows, how loud it was, and leaves the colour of
the sound. ``align=pad`` keeps the pace: what is behind the end of a recording is missing, NaN, and what is too long is
cut. ``align=stretch`` brings each recording to the same number of columns.

Sources hand over what :func:`features_of` makes of recordings, before anything is subtracted. Files may have any rate,
depth and number of channels, see :mod:`zoo.data.sounds`. What a model draws becomes a recording again by Griffin and
Lim's method, with the mean spectrum of the training recordings.
"""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from zoo.data import kinds, sounds, spectra
from zoo.errors import ConfigError, DataError, did_you_mean
from zoo.spec import Column, DataSpec

VALUES = "real"
SETTINGS = {
    "features": spectra.FEATURES,
    "align": ("pad", "stretch"),
    "center": ("bands", "level"),
    "rate": ("",),  # samples a second
    "bands": ("",),  # of the mel scale
    "decibels": ("",),  # below the loudest that are told apart
    "seconds": ("",),  # that a training recording lasts: half of them last longer
    "levels": ("",),  # of the rows of the first channel, on average over training recordings
}
OPTIONS: dict[str, Any] = {"center": "bands"}
NOUN = "recording"
STRINGS = False
FORMAT = "wav"
PAUSE = 0.3  # seconds between recordings that are heard one after the other
REACH = 3  # standard deviations from the mean that are black, and white, in a picture
BOUNDS = {"rate": (1000, 96_000), "bands": (spectra.CEPSTRA, 256), "decibels": (10, 200), "steps": (2, 1 << 15)}


class Reading(NamedTuple):
    """How recordings are read.

    Attributes:
        features: ``"log_mel"`` or ``"mfcc"``.
        rate: samples a second that they are brought to.
        bands: of the mel scale.
        decibels: how far below the loudest sounds are told apart; what is more silent is all the same. With more of
            them, the noise of a room is heard, which speakers differ in, and words do not.
        steps: T, columns.
        align: ``"pad"``: a column is 10 ms, and what is too long is cut; ``"stretch"``: all of a recording is in them.
    """

    features: str = "log_mel"
    rate: int = 8000
    bands: int = 40
    decibels: int = 50
    steps: int = 64
    align: str = "pad"

    @classmethod
    def of(cls, spec: DataSpec) -> Reading:
        """How the recordings of a spec were read. Raises ``DataError`` where it does not say so, as a file may not."""
        known = kinds.complete(SETTINGS, spec.settings)
        reading = cls(steps=spec.shape[2], **{name: known[name] for name in cls._fields if name != "steps"})
        levels, seconds = known["levels"], known["seconds"]
        right = (
            all(isinstance(number, int) for number in (reading.rate, reading.bands, reading.decibels))
            and isinstance(seconds, float)
            and 0 <= seconds <= sounds.LONGEST
            and isinstance(levels, tuple)
            and len(levels) == spec.shape[1]
            and all(map(math.isfinite, levels))
        )
        if not right:
            raise DataError("the model does not say how its recordings were read")
        reading.check()
        if reading.shape != spec.shape:
            raise DataError(f"the model's recordings are {reading.shape}, and it was made for {spec.shape}")
        return reading

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, T)``."""
        return (*spectra.height(self.features, self.bands), self.steps)

    def check(self) -> None:
        """Raise ``ConfigError`` where it cannot be."""
        for option in ("features", "align"):
            value, choices = getattr(self, option), SETTINGS[option]
            if value not in choices:
                raise ConfigError(f"data.{option}={value} is no choice: {did_you_mean(value, choices, 'choices')}")
        for option, (low, high) in BOUNDS.items():
            if not low <= getattr(self, option) <= high:
                raise ConfigError(f"data.{option} is from {low:,} to {high:,}, not {getattr(self, option):,}")
        if bool((spectra.mel_filters(self.rate, self.bands).sum(1) == 0).any()):
            raise ConfigError(
                f"data.bands={self.bands}: at {self.rate:,} samples a second narrower than "
                f"{spectra.WINDOW * 1000:.0f} ms can tell apart: fewer will do"
            )

    def settings(self, windows: Tensor) -> dict[str, Any]:
        """What a source says of training recordings that were read so, of which ``windows``, ``(N,)``, were heard."""
        median = float(windows.median()) if len(windows) else 2.0
        told = {name: value for name, value in self._asdict().items() if name != "steps"}
        return told | {"seconds": round((median - 1) * spectra.HOP, 4)}


def words(spec: DataSpec) -> str:
    """What ``train.py`` is to be told to read recordings as those of a spec."""
    options = Reading.of(spec)._asdict() | {"center": spec.settings["center"]}
    return " ".join(f"data.{name}={value}" for name, value in options.items())


# From what a source hands over to what a model sees


def features_of(samples: np.ndarray, reading: Reading) -> tuple[Tensor, int]:
    """A recording ``(L,)`` as ``(C, H, T)``, and how many windows were heard of it. Raises ``DataError`` where nothing
    is."""
    found = spectra.features_of(
        torch.from_numpy(samples), reading.features, reading.rate, reading.bands, reading.decibels
    )
    windows, steps = found.shape[2], reading.steps
    if not windows:
        raise DataError("it is silent: there is nothing to hear")
    if reading.align == "stretch":
        return spectra.stretched(found, steps), windows
    return torch.nn.functional.pad(found[..., :steps], (0, max(steps - windows, 0)), value=math.nan), windows


def fit(
    raw: Tensor,
    columns: Sequence[Column],
    unused: Collection[str] = (),
    like: DataSpec | None = None,
    center: str = "bands",
) -> dict[str, Any]:
    """Mean and standard deviation of what training recordings are after centring, of all log-mel values, or of each
    row of cepstra; and the ``levels`` of their rows before."""
    if like is not None:
        return {name: getattr(like, name) for name in ("shape", "mean", "std", "values", "settings")}
    if center not in SETTINGS["center"]:
        raise ConfigError(f"data.center={center} is no choice: {did_you_mean(center, SETTINGS['center'], 'choices')}")
    channels, height, width = raw.shape[1:]
    subtracted = _subtracted(raw, center)
    levels = subtracted[:, 0].double().mean(0).expand(height, 1)[:, 0]
    mean, std = statistics(raw - subtracted)
    return {
        "shape": (channels, height, width),
        "mean": mean,
        "std": std,
        "values": VALUES,
        "settings": {"center": center, "levels": tuple(levels.tolist())},
    }


def _subtracted(raw: Tensor, center: str) -> Tensor:
    """What is subtracted of each recording, broadcastable to it: the mean of each row; or how loud it is, which is the
    mean of all log-mel values, and of cepstra the mean of the first alone."""
    if center == "bands":
        return raw.nanmean(3, keepdim=True)
    if raw.shape[1] == 1:
        return raw.nanmean((2, 3), keepdim=True)
    subtracted = torch.zeros_like(raw[..., :1])
    subtracted[:, 0, 0, 0] = raw[:, 0, 0].nanmean(1)
    return subtracted


def store(raw: Tensor, columns: Sequence[Column], spec: DataSpec) -> Tensor:
    spec.check_examples(raw.shape[1:])
    return raw - _subtracted(raw, kinds.complete(SETTINGS, spec.settings)["center"])


def decode(stored: Tensor) -> Tensor:
    return stored


def encode(x: Tensor) -> Tensor:
    return x.float()


def statistics(stored: Tensor, spec: DataSpec | None = None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of what is seen: of the one channel of log-mel spectra, or an entry each, equal along
    a row, of cepstra, which are larger the fewer waves they have."""
    cepstra = stored.shape[1] > 1
    rows = stored.double().permute(1, 2, 0, 3).flatten(2).flatten(0, 1 if cepstra else 2)
    rows = rows if cepstra else rows[None]
    seen = ~rows.isnan()
    count = seen.sum(1).clamp_min(1)
    mean = rows.nan_to_num(0).sum(1) / count
    std = torch.where(seen, rows - mean[:, None], 0).square().sum(1).div(count).sqrt()
    mean, std = mean.where(mean.abs() > 1e-6, 0.0), std.where(std > 1e-6, 1.0)
    if cepstra:
        mean, std = (each.repeat_interleave(stored.shape[3]) for each in (mean, std))
    return tuple(mean.tolist()), tuple(std.tolist())


def has_missing(stored: Tensor) -> bool:
    return bool(stored.isnan().any())


# What users hand over


def convert(values: Any, spec: DataSpec) -> Tensor:
    """Features as a model sees them, NaN where nothing is. Raises ``DataError`` for a recording's samples, of which
    nobody knows how many there are a second."""
    shape = tuple(getattr(values, "shape", ()))
    if len(shape) == 1 and shape[0] != math.prod(spec.shape) and shape[0] > spec.shape[2]:
        raise DataError(f"{shape[0]:,} numbers may be samples of whatever rate: hand over the recording's path")
    x = kinds.tensor(values, spec)
    return x if x.is_floating_point() else x.float()


def find_files(names: Sequence[str]) -> list[Path]:
    return kinds.named_files(names, sounds.SUFFIXES, "recording")


def read(paths: Sequence[Path], spec: DataSpec, **settings: Any) -> tuple[list[str], Tensor]:
    """Recordings as those of the training were read, one a file."""
    spec = replace(spec, settings=kinds.complete(SETTINGS, spec.settings, settings))
    reading = Reading.of(spec)
    raw = torch.stack([read_file(path, reading)[0] for path in paths])
    return [str(path) for path in paths], store(raw, (), spec)


def read_file(path: Path, reading: Reading) -> tuple[Tensor, int]:
    """What :func:`features_of` makes of a file. Raises ``DataError``, which names it and the reason."""
    samples = sounds.read(path, reading.rate)
    with sounds.naming(str(path)):
        return features_of(samples, reading)


# What users get


def show(x: Tensor, spec: DataSpec) -> Tensor:
    """Low frequencies at the bottom, light where it is loud: grey is the mean, white three standard deviations above.
    What is missing is black; of cepstra the slopes are left out."""
    mean, std = (torch.tensor(values, device=x.device).view(spec.statistics_shape) for values in (spec.mean, spec.std))
    return ((x - mean) / std / (2 * REACH) + 0.5).clamp(0, 1).nan_to_num(0)[:, :1].flip(2)


def heard(x: Tensor, spec: DataSpec) -> list[Tensor]:
    """Recordings ``(L,)`` from -1 to 1, ``spec.settings["rate"]`` samples a second, of examples ``(N, C, H, T)``, as
    far as they go: up to the last column of which anything is there; if they were stretched, as long as usual.

    Griffin–Lim's phases are always the same. What is missing of a column sounds as on average.
    """
    reading, levels = Reading.of(spec), torch.tensor(spec.settings["levels"])[:, None]
    recordings = []
    for example in x.detach().float().cpu():
        there = (~example.isnan()).flatten(0, 1).any(0).nonzero()[:, 0]
        features = example[..., : int(there[-1]) + 1 if len(there) else 1].nan_to_num(0)
        if reading.align == "stretch":
            windows = max(round(spec.settings["seconds"] / spectra.HOP) + 1, 2)
            features = spectra.stretched(features, windows)
        features = torch.cat([features[:1] + levels, features[1:]])
        recordings.append(spectra.heard(spectra.spectra_of(features, reading.bands), reading.rate))
    return recordings


def one_by_one(recordings: Sequence[Tensor], rate: int) -> Tensor:
    """Recordings ``(L,)`` one after the other, with pauses between them."""
    pause = torch.zeros(round(PAUSE * rate))
    return torch.cat([part for recording in recordings for part in (recording, pause)] or [pause])


def wav(samples: Tensor, rate: int) -> bytes:
    """A recording ``(L,)`` from -1 to 1 as the content of a WAV file of 16 bits."""
    import soundfile  # not at the top: asking about pictures needs none

    content = io.BytesIO()
    levels = (samples.clamp(-1, 1) * 32767).round().short().numpy()
    soundfile.write(content, levels, rate, format="WAV", subtype="PCM_16")
    return content.getvalue()


def write(stored: Tensor, labels: Tensor | None, spec: DataSpec, folder: Path) -> list[str]:
    """Write ``folder/<class>/00001.wav``, see :func:`zoo.data.kinds.write_classes`."""

    def contents(part: Tensor) -> Iterator[bytes]:
        return (wav(samples, spec.settings["rate"]) for samples in heard(decode(part), spec))

    return kinds.write_classes(stored, labels, spec, folder, ".wav", contents)


def trial(n: int) -> tuple[Tensor, DataSpec]:
    """Noise that goes up and down, of eight to sixteen columns."""
    generator = torch.Generator().manual_seed(0)
    stored = torch.randn(n, 1, 16, 16, generator=generator).cumsum(3)
    lengths = torch.randint(8, 17, (n, 1, 1, 1), generator=generator)
    stored = stored.masked_fill(torch.arange(16) >= lengths, math.nan)
    stored -= _subtracted(stored, "bands")
    mean, std = statistics(stored)
    settings: Mapping[str, Any] = {
        "features": "log_mel", "align": "pad", "center": "bands", "rate": 8000, "bands": 16, "seconds": 0.12,
        "decibels": 50,
        "levels": (0.0,) * 16,
    }  # fmt: skip
    spec = DataSpec((1, 16, 16), 3, mean=mean, std=std, kind="sound", values=VALUES, missing=True, settings=settings)
    return stored, spec
