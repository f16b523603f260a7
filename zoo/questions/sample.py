"""New examples."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.base.model import Model, evaluating
from zoo.capability import Capability, count, fresh_generator, native, require


def sample(model: Model, n: int, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
    """``n`` examples ``(n, C, H, W)``, of the given ``labels``, ``(n,)`` or one class, if any; new ones at each call.

    >>> import torch, zoo
    >>> zoo.sample(zoo.load("dcgan-mnist"), 4).shape
    torch.Size([4, 1, 28, 28])

    Pictures are in [0, 1]. ``generator`` makes them repeatable; it lives on the model's device.
    """
    require(model, "sample")
    count(n, 0, "n")
    with evaluating(model):
        return model.sample(n, labels=labels, generator=generator or fresh_generator(model))


ASKED = {
    "sample": Capability(native("sample"), lambda model, x, _: sample(model, len(x)), ("B", "C", "H", "W"), "sample")
}
