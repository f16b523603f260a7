"""Batch normalisation over the images of all processes, on any device: torch's own needs GPUs."""

from __future__ import annotations

import types
from typing import Any

import torch
from lightning.pytorch.plugins.layer_sync import LayerSync
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class SynchronizedBatchNorm(LayerSync):
    """Has the batch normalisations of a module take mean and variance over a batch's pieces in all processes.

    The layers stay what they are, with their names and classes, so that a checkpoint does not show it. Two sums are
    exchanged a layer and step, two more where gradients flow back.

    References: Peng et al. (2018), MegDet: A Large Mini-Batch Object Detector, section 3.3.
    """

    def apply(self, model: nn.Module) -> nn.Module:
        for layer in _layers(model):
            layer.forward = types.MethodType(_synchronized, layer)
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        for layer in _layers(model):
            vars(layer).pop("forward", None)
        return model


def _layers(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def _synchronized(layer: Any, x: Tensor) -> Tensor:
    """``layer(x)``, ``(B, C, …)``, with statistics of all processes where it is training."""
    if not layer.training:
        return type(layer).forward(layer, x)
    pixels = [0, *range(2, x.dim())]
    shape = [1, -1] + [1] * (x.dim() - 2)
    wide = x if x.dtype == torch.float64 else x.float()  # sums need more digits than 16 bits have
    count = torch.tensor(float(wide.numel() // wide.shape[1]), dtype=wide.dtype, device=x.device)
    torch.distributed.all_reduce(count)
    mean = _Sum.apply(wide.sum(pixels)) / count
    centered = wide - mean.view(shape)
    variance = _Sum.apply(centered.square().sum(pixels)) / count
    if layer.track_running_stats:
        layer.num_batches_tracked += 1
        weight = 1 / float(layer.num_batches_tracked) if layer.momentum is None else layer.momentum
        with torch.no_grad():
            layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), weight)
            layer.running_var.lerp_((variance * count / (count - 1)).to(layer.running_var.dtype), weight)
    y = centered * (variance + layer.eps).rsqrt().view(shape)
    if layer.affine:
        y = y * layer.weight.view(shape) + layer.bias.view(shape)
    return y.to(x.dtype)


class _Sum(torch.autograd.Function):
    """The sum over processes of a tensor that each of them has, and of the gradients that each has for it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradient.contiguous())
