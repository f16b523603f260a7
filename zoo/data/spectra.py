"""Recordings as pictures of their sound, whose columns are time, and back: log-mel spectra, cepstra, Griffin–Lim.

A recording is cut into windows of 25 ms, one every 10 ms. What a window sounds like is the power of its spectrum in
triangular bands, equally wide on the mel scale, m(f) = 2595 lg(1 + f / 700), whose logarithm ``log_mel`` is. ``mfcc``
is its discrete cosine transform, of which the first 13 tell the shape of the spectrum without the pitch, with their
slopes over five windows and the slopes of those, which stand in the second and the third channel.

Power that is more ``decibels`` below the recording's largest is taken for that: a recording is the same however loud
it is, and however silent its room. What is quieter than 40 decibels below the loudest at the beginning and at the end
is silence, and is left out.

References: Davis & Mermelstein (1980), Comparison of parametric representations for monosyllabic word recognition in
continuously spoken sentences; Young et al. (2006), The HTK Book, 5.4–5.9; Griffin & Lim (1984), Signal estimation from
modified short-time Fourier transform.
"""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

FEATURES = ("log_mel", "mfcc")
CEPSTRA = 13
WINDOW, HOP = 0.025, 0.010  # seconds
FINEST = 2  # times as many frequencies are looked at as a window tells apart, so that no band falls between them
SILENCE = 1e-4  # of a recording's largest power
LOWEST = 20.0  # Hz, the lowest edge of a band
SLOPE = 2  # windows before and behind
PASSES = 60  # of Griffin–Lim
AT_ONCE = 2048  # windows whose spectra are there at a time


def hop_of(rate: int) -> int:
    """Samples from one window to the next."""
    return max(round(HOP * rate), 1)


def sizes(rate: int) -> tuple[int, int]:
    """How many samples a window has, and over how many its spectrum is computed, with zeros around it."""
    window = max(round(WINDOW * rate), 4)
    return window, FINEST * 2 ** math.ceil(math.log2(window))


@functools.lru_cache(maxsize=8)
def mel_filters(rate: int, bands: int) -> Tensor:
    """How much each frequency counts in each band, ``(bands, frequencies)``: triangles of height 1 on the mel scale,
    from ``LOWEST`` to half the ``rate`` in Hz."""
    _, size = sizes(rate)
    low, high = (2595 * math.log10(1 + edge / 700) for edge in (LOWEST, rate / 2))
    edges = 700 * (10 ** (torch.linspace(low, high, bands + 2, dtype=torch.float64) / 2595) - 1)
    frequencies = torch.arange(size // 2 + 1, dtype=torch.float64) * (rate / size)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp_min(0).float()


@functools.lru_cache(maxsize=8)
def cosines(bands: int) -> Tensor:
    """The orthonormal discrete cosine transform (II), ``(CEPSTRA, bands)``."""
    place = torch.arange(bands, dtype=torch.float64) + 0.5
    rows = torch.cos(math.pi / bands * torch.arange(CEPSTRA, dtype=torch.float64)[:, None] * place)
    rows *= math.sqrt(2 / bands)
    rows[0] /= math.sqrt(2)
    return rows.float()


def spectrum(samples: Tensor, rate: int) -> Tensor:
    """The short-time spectrum of ``(…, L)``, complex ``(…, frequencies, windows)``: windows are centred on every hop,
    with silence before and behind the recording."""
    window, size = sizes(rate)
    return torch.stft(
        samples, size, hop_of(rate), window, _window(window, samples), pad_mode="constant", return_complex=True
    )


def _window(length: int, like: Tensor) -> Tensor:
    return torch.hann_window(length, dtype=like.dtype, device=like.device)


def log_mel(samples: Tensor, rate: int, bands: int, decibels: float = 80) -> Tensor:
    """A recording ``(L,)`` as ``(bands, windows)``, without the silence around it; no window at all if it is silent.

    In nats: the natural logarithm of power, not further below the largest one than a ``decibels`` in decibels.
    """
    window, size = sizes(rate)
    around = F.pad(samples, (size // 2, size // 2)).unfold(0, size, hop_of(rate))
    shape = F.pad(_window(window, samples), ((size - window) // 2, size - window - (size - window) // 2))
    spectra = (torch.fft.rfft(part * shape).abs().square() for part in around.split(AT_ONCE))
    power = torch.cat([mel_filters(rate, bands) @ part.mT for part in spectra], 1)
    loud = power.sum(0)
    heard = (loud > SILENCE * loud.max()).nonzero()[:, 0]
    if not len(heard):
        return power[:, :0]
    power = power[:, int(heard[0]) : int(heard[-1]) + 1]
    return power.clamp_min(10 ** (-decibels / 10) * power.max()).log()


def slopes(features: Tensor) -> Tensor:
    """How features ``(…, windows)`` change from one window to the next: the slope of the line through five (HTK, 5.16),
    beyond the ends of which the first and the last window go on."""
    lags = torch.arange(-SLOPE, SLOPE + 1, dtype=features.dtype, device=features.device)
    padded = F.pad(features.flatten(0, -2)[None], (SLOPE, SLOPE), mode="replicate")[0]
    return (padded.unfold(-1, 2 * SLOPE + 1, 1) @ (lags / lags.square().sum())).view_as(features)


def features_of(samples: Tensor, features: str, rate: int, bands: int, decibels: float = 80) -> Tensor:
    """A recording ``(L,)`` as ``(C, H, windows)``: ``log_mel`` has one channel, ``mfcc`` three, see above; silence
    has no window."""
    spectra = log_mel(samples, rate, bands, decibels)
    if features == "log_mel" or not spectra.shape[1]:
        return spectra[None]
    cepstra = cosines(bands) @ spectra
    first = slopes(cepstra)
    return torch.stack([cepstra, first, slopes(first)])


def height(features: str, bands: int) -> tuple[int, int]:
    """C and H of such features."""
    return (1, bands) if features == "log_mel" else (3, CEPSTRA)


def stretched(features: Tensor, steps: int) -> Tensor:
    """Features ``(…, windows)`` at ``steps`` places equally far from each other, from the first window to the last."""
    windows = features.shape[-1]
    place = torch.linspace(0, windows - 1, steps, dtype=torch.float64)
    before = place.floor().long().clamp_max(max(windows - 2, 0))
    share = (place - before).to(features.dtype)
    return torch.lerp(features[..., before], features[..., (before + 1).clamp_max(windows - 1)], share)


# Back to sound


def spectra_of(features: Tensor, bands: int) -> Tensor:
    """Log-mel spectra ``(…, bands, windows)`` of features ``(…, C, H, windows)``: those of ``mfcc`` as smooth as 13
    cosines are."""
    return features[..., 0, :, :] if features.shape[-3] == 1 else cosines(bands).mT @ features[..., 0, :, :]


def heard(spectra: Tensor, rate: int, passes: int = PASSES, seed: int = 0) -> Tensor:
    """A recording ``(L,)`` that sounds like log-mel spectra ``(bands, windows)``, from -1 to 1."""
    filters = mel_filters(rate, spectra.shape[0])
    power = (torch.linalg.pinv(filters) @ (spectra - spectra.max()).exp()).clamp_min(0)
    samples = griffin_lim(power.sqrt(), rate, passes, seed)
    return samples * (0.9 / samples.abs().max().clamp_min(1e-9))


def griffin_lim(magnitudes: Tensor, rate: int, passes: int = PASSES, seed: int = 0) -> Tensor:
    """A recording ``(L,)`` whose short-time spectrum has these ``magnitudes``, ``(frequencies, windows)``, as nearly as
    may be: from random phases, each pass takes the phases of the recording that is the nearest to the present spectrum,
    so that :func:`spectral_error` never grows."""
    generator = torch.Generator().manual_seed(seed)
    phase = 2 * math.pi * torch.rand(magnitudes.shape, generator=generator).to(magnitudes)
    samples = _nearest(torch.polar(magnitudes, phase), rate)
    for _ in range(passes):
        samples = _nearest(torch.polar(magnitudes, spectrum(samples, rate).angle()), rate)
    return samples


def _nearest(values: Tensor, rate: int) -> Tensor:
    """The recording whose spectrum has the least squared distance to complex ``values``."""
    window, size = sizes(rate)
    length = hop_of(rate) * (values.shape[-1] - 1)
    if not length:  # a single window
        return values.real.new_zeros(1)
    return torch.istft(values, size, hop_of(rate), window, _window(window, values.real), length=length)


def spectral_error(samples: Tensor, magnitudes: Tensor, rate: int) -> float:
    """How far a recording's spectrum is from ``magnitudes``: the sum of squares over all frequencies, of which all but
    the first and the last occur twice."""
    error = (spectrum(samples, rate).abs() - magnitudes).square()
    return float(2 * error.sum() - error[..., 0, :].sum() - error[..., -1, :].sum())
