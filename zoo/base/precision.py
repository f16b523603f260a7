"""Numbers that sums, logarithms and losses are made of, under any precision of training."""

from __future__ import annotations

import torch
from torch import Tensor

HALF = (torch.bfloat16, torch.float16)


def full(x: Tensor) -> Tensor:
    """``x`` in float32 where it has 16 bits, else as it is.

    Layers lose little in 16 bits, what is computed from their outputs a lot: bfloat16 has three digits, so that a sum
    over 784 pixels is wrong by a nat.
    """
    return x.float() if x.dtype in HALF else x


def precise(x: Tensor) -> Tensor:
    """``x`` in float64, or in float32 on devices that have none."""
    return x.float() if x.device.type == "mps" else x.double()
