"""Codes of examples."""

from __future__ import annotations

from torch import Tensor

from zoo.base.model import Model
from zoo.capability import DERIVED, NATIVE, NO, Capability, ask, fill_gaps, given, require


def encode(model: Model, x: Tensor, batch_size: int | None = None) -> Tensor:
    """Codes ``(B, D)``: latents or posteriors of a generative model, the penultimate features of a classifier; of what
    is seen, where entries are missing, which are NaN, and the model ``encodes_gaps``.

    >>> import torch, zoo
    >>> zoo.encode(zoo.load("cnn-mnist"), torch.zeros(3, 1, 28, 28)).shape
    torch.Size([3, 576])
    """
    require(model, "encode")
    method = model.encode if hasattr(model, "encode") else model.features
    x, observed = given(model, x)
    if not model.encodes_gaps:
        x, observed = fill_gaps(model, x, observed, "encode"), None
    return ask(model, method, x, observed, batch_size=batch_size)


def _support(model: Model) -> str:
    return NATIVE if hasattr(model, "encode") else DERIVED if hasattr(model, "features") else NO


ASKED = {"encode": Capability(_support, lambda model, x, _: encode(model, x), ("B", "*"), "encode")}
