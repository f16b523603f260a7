"""Blocks that networks are built of: convolutions before and after a latent, perceptrons, and how they start."""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Residual(nn.Module):
    """x + f(x) with two 3×3 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(F.silu(x))))


class ConvEncoder(nn.Module):
    """Images ``(B, C, H, W)`` to features ``(B, out_features)``; each stage halves height and width, rounding up."""

    def __init__(self, shape: tuple[int, int, int], channels: tuple[int, ...], blocks: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise([shape[0], *channels]):
            layers += [nn.Conv2d(fan_in, fan_out, 3, stride=2, padding=1)]
            layers += [Residual(fan_out) for _ in range(blocks)]
            layers += [nn.SiLU()]
        self.body = nn.Sequential(*layers)
        _, height, width = shape
        for _ in channels:
            height, width = -(-height // 2), -(-width // 2)
        self.out_features = channels[-1] * height * width

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.contiguous(memory_format=torch.channels_last)).flatten(1)


class ConvDecoder(nn.Module):
    """Features ``(B, in_features)`` to ``(B, out, H, W)``: the mirror image of :class:`ConvEncoder`."""

    outer = ("last",)

    def __init__(self, shape: tuple[int, int, int], channels: tuple[int, ...], blocks: int, out: int) -> None:
        super().__init__()
        sizes = [shape[1:]]
        for _ in channels:
            sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
        self.sizes = sizes[::-1]
        self.in_features = channels[-1] * math.prod(self.sizes[0])
        self.start = channels[-1]
        narrow = max(channels[0] // 2, 4)
        stages: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise([*channels[::-1], narrow]):
            residual = [Residual(fan_in) for _ in range(blocks)]
            # 2×2 kernels without overlap leave a checkerboard, 4×4 ones do not
            stages.append(nn.Sequential(*residual, nn.SiLU(), nn.ConvTranspose2d(fan_in, fan_out, 4, 2, 1)))
        self.stages = nn.ModuleList(stages)
        self.last = nn.Conv2d(narrow, out, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        x = features.view(-1, self.start, *self.sizes[0]).contiguous(memory_format=torch.channels_last)
        for stage, (height, width) in zip(self.stages, self.sizes[1:], strict=True):
            x = stage(x)[..., :height, :width]
        return self.last(F.silu(x))


class _RootMeanSquare(torch.autograd.Function):
    """torch's own is made of many operations on a CPU: this takes 0.4 of its time, forward and backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True) / math.sqrt(x.shape[-1])
        scale = 1 / size.clamp_min(torch.finfo(x.dtype).tiny)  # which is finite
        y = x * scale
        ctx.save_for_backward(y, scale)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        y, scale = ctx.saved_tensors
        along = torch.linalg.vecdot(grad, y)[..., None]
        return torch.addcmul(grad, y, along, value=-1 / y.shape[-1]).mul_(scale)


class _SquaredReLU(torch.autograd.Function):
    """Of three passes over the values, where autograd's are five."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        kept = x.relu()
        ctx.save_for_backward(kept)
        return kept * kept

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (kept,) = ctx.saved_tensors
        return (kept * grad).mul_(2)


def rms_norm(x: Tensor) -> Tensor:
    """x / √mean(x²) over the last axis (Zhang & Sennrich 2019); 0 stays 0."""
    if not (torch.is_grad_enabled() and x.requires_grad):
        return F.rms_norm(x, x.shape[-1:], eps=torch.finfo(x.dtype).tiny)
    return _RootMeanSquare.apply(x)


def rotated(x: Tensor, turns: Tensor) -> Tensor:
    """``(B, t, …, heads, values)``, the values taken as pairs, each turned by its place's angle; ``turns``: cosines and
    sines, ``(t, values / 2, 2)``. As complex numbers: four times as fast on a CPU."""
    exact = x if x.dtype in (torch.float32, torch.float64) else x.float()
    pairs = torch.view_as_complex(exact.unflatten(-1, (-1, 2)))
    turns = torch.view_as_complex(turns.to(exact.dtype))[:, None, None]
    return torch.view_as_real(pairs * turns).flatten(-2).type_as(x)


def squared_relu(x: Tensor) -> Tensor:
    """max(x, 0)² (So et al. 2021)."""
    return _SquaredReLU.apply(x) if torch.is_grad_enabled() and x.requires_grad else x.relu().square()


def convolved(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """``(B, rows, columns, channels)`` to the same, without a copy: filters are faster in this order, too."""
    return layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def channel_dropout(h: Tensor, probability: float, training: bool) -> Tensor:
    """``(B, …, channels)`` with the same channels zeroed at all places of an example (Gal & Ghahramani 2016): a quarter
    of a CPU's time went into random numbers where each place had its own."""
    if not (training and probability):
        return h
    first = h[:, *(slice(1) for _ in h.shape[1:-1])]
    return h * F.dropout(torch.ones_like(first), probability)


def perceptron(widths: list[int]) -> nn.Sequential:
    """Linear layers with SiLU after each but the last."""
    layers = [layer for pair in itertools.pairwise(widths) for layer in (nn.Linear(*pair), nn.SiLU())]
    return nn.Sequential(*layers[:-1])


def start(module: nn.Module) -> None:
    """Weights that keep the variance of what goes through a ReLU-like layer, forward (He et al. 2015).

    With torch's own, smaller ones a decoder of many layers hardly sees the latent, and the posterior collapses before
    it does.
    """
    layer: Any
    for layer in module.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            inputs = layer.weight.shape[0] * layer.weight[0, 0].numel() / math.prod(layer.stride)  # to each output
            nn.init.normal_(layer.weight, std=math.sqrt(2 / inputs))
        elif isinstance(layer, (nn.Linear, nn.Conv2d)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        else:
            continue
        nn.init.zeros_(layer.bias)
    for layer in module.modules():
        if isinstance(layer, Residual):  # a deep network starts as a shallow one
            nn.init.zeros_(layer.second.weight)
