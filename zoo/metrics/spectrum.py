"""The power spectrum of images over spatial frequency, whatever the direction: how much of them is fine detail.

The power of an image x of H × W pixels at a frequency (u, v) is |Σ x e^{-2πi(uh/H + vw/W)}|² / (H W), a share of
Σ x² by Parseval's theorem. Powers are averaged over rings of equal |(u, v)|, in cycles a pixel, up to Nyquist's 1/2, as
Durall, Keuper & Keuper (2020), Watch your Up-Convolution, compare generated images with real ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.errors import ZooError

CHUNK = 2_000  # images transformed at a time
HIGH = 0.25  # cycles a pixel: waves of less than four pixels


def power(images: Tensor) -> Tensor:
    """Mean power at each frequency, ``(H, W)``, float64, ordered as ``torch.fft.fft2`` does.

    It sums to the mean over images of Σ x², averaged over channels. Images are ``(N, C, H, W)`` in [0, 1]. Raises
    ``ZooError`` where there is none, or they are stored values.
    """
    if not images.numel() or not images.is_floating_point():
        raise ZooError("a spectrum needs images, of values in [0, 1]")
    total = torch.zeros(images.shape[2:], dtype=torch.float64)
    for chunk in images.cpu().split(CHUNK):
        total += torch.fft.fft2(chunk.float(), norm="ortho").abs().square().double().sum((0, 1))
    return total / (images.shape[0] * images.shape[1])


def frequencies(height: int, width: int) -> Tensor:
    """|(u, v)| of each entry of :func:`power`, ``(H, W)``, in cycles a pixel: 0 to √½."""
    return torch.hypot(
        *torch.meshgrid(
            torch.fft.fftfreq(height, dtype=torch.float64),
            torch.fft.fftfreq(width, dtype=torch.float64),
            indexing="ij",
        )
    )


def radial_spectrum(images: Tensor) -> tuple[Tensor, Tensor]:
    """Frequencies ``(R,)`` in cycles a pixel, and the mean power in a ring around each, ``(R,)``, float64.

    Rings are one step of the shorter side's frequency wide and end at 1/2; the first, of frequency 0, is the mean
    alone. White noise of variance s² has power s² in all others.
    """
    values = power(images)
    height, width = values.shape
    side = min(height, width)
    ring = (frequencies(height, width) * side).round().long().flatten()
    count = side // 2 + 1
    inside = ring < count
    sums = torch.zeros(count, dtype=torch.float64).index_add(0, ring[inside], values.flatten()[inside])
    return torch.arange(count, dtype=torch.float64) / side, sums / ring[inside].bincount(minlength=count)


def high_frequency_energy(images: Tensor, above: float = HIGH, up_to: float = 1.0) -> float:
    """Mean over images of the part of Σ x² at more than ``above``, and at most ``up_to``, cycles a pixel.

    Images that were enlarged have nothing above the Nyquist frequency that they were taken with.
    """
    values = power(images)
    at = frequencies(*values.shape)
    return float(values[(at > above) & (at <= up_to)].sum())
