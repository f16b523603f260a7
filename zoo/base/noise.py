"""Random numbers that are a function of an image: the same question has the same answer, in whatever batch it is put.

They are splitmix64 streams (Steele, Lea & Flood 2014, Fast splittable pseudorandom number generators), one for each
image, which a hash of its values begins. Images that differ have independent ones.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

HIDDEN = 1 << 20  # the level of a value that is not seen
GOLDEN = -7046029254386353131  # 2^64 / golden ratio, as int64: multiplication is modulo 2^64


def streams(x: Tensor, salt: int = 0, observed: Tensor | None = None) -> Tensor:
    """Where the stream of each image begins, int64 ``(B, 1)``: a hash of ``x``'s values ``(B, …)``, rounded to 1/255;
    of images with hidden values one of those that are seen, and of where. Another ``salt`` gives other streams.
    """
    levels = (x * 255).round().long()
    levels = (levels if observed is None else torch.where(observed, levels, HIDDEN)).flatten(1)
    places = torch.arange(1, levels.shape[1] + 1, device=x.device)
    state = (mix(places) * (levels + 1)).sum(1, keepdim=True)
    return mix(state + torch.tensor(salt, device=x.device) * GOLDEN) if salt else state


def uniform(stream: Tensor, first: int, count: int) -> Tensor:
    """The numbers ``first`` to ``first + count`` of streams ``(B, 1)``: ``(B, count)`` in (0, 1), float64 (float32 on
    devices that have none)."""
    places = torch.arange(first + 1, first + count + 1, device=stream.device)
    bits = shift(mix(stream + GOLDEN * places), 12)
    if stream.device.type == "mps":
        return ((bits >> 29).float() + 0.5) / 2**23
    return (bits.double() + 0.5) / 2**52


def normal(stream: Tensor, first: int, count: int) -> Tensor:
    """As :func:`uniform`, standard normal."""
    return torch.erfinv(2 * uniform(stream, first, count) - 1) * math.sqrt(2)  # no device is without it


def mix(z: Tensor) -> Tensor:
    """The finaliser of splitmix64."""
    z = (z ^ shift(z, 30)) * -4658895280553007687
    z = (z ^ shift(z, 27)) * -7723592293110705685
    return z ^ shift(z, 31)


def shift(z: Tensor, bits: int) -> Tensor:
    return (z >> bits) & ((1 << (64 - bits)) - 1)  # zeros come in from the left
