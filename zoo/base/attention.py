"""What the places of a grid gather from each other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.base.blocks import rms_norm

HEAD = 16  # channels of a head


class Attention(nn.Module):
    """Adds to each place what it gathers from all of them, or from itself and those before it, with normed queries and
    keys. States are ``(B, rows, columns, channels)``.

    Args:
        channels: of a state; there is a head for each 16 of them.
        causal: whether nothing is gathered from what stands behind.

    Raises:
        ValueError: heads that have not as many channels each.
    """

    def __init__(self, channels: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = max(1, channels // HEAD), causal
        if channels % self.heads:
            raise ValueError(f"channels={channels} with attention must be a multiple of {self.heads}, its heads")
        self.qkv, self.out = nn.Linear(channels, 3 * channels, bias=False), nn.Linear(channels, channels, bias=False)
        nn.init.normal_(self.qkv.weight, std=channels**-0.5)
        nn.init.zeros_(self.out.weight)

    def forward(self, h: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """States, and the keys and values of all places so far, ``(2, B, heads, places, channels / heads)``: ``past``
        are those before, where one place alone is asked about."""
        qkv = self.qkv(rms_norm(h)).flatten(1, 2).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, kept = rms_norm(qkv[0]), torch.stack([rms_norm(qkv[1]), qkv[2]])
        if past is not None:
            kept = torch.cat([past, kept], 3)
        read = F.scaled_dot_product_attention(q, kept[0], kept[1], is_causal=self.causal and past is None)
        return h + self.out(read.transpose(1, 2).flatten(2)).view_as(h), kept
