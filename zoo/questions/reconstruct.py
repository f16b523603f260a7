"""What a model keeps of an example."""

from __future__ import annotations

from torch import Tensor

from zoo.base.model import Model
from zoo.capability import Capability, ask, fill_gaps, given, native, require


def reconstruct(model: Model, x: Tensor, batch_size: int | None = None) -> Tensor:
    """What remains of ``x`` after encoding and decoding, ``(B, C, H, W)``; of pictures in [0, 1]. Of what is seen,
    where entries are missing, which are NaN, and the model ``encodes_gaps``.

    >>> import torch, zoo
    >>> zoo.reconstruct(zoo.create("vae"), torch.rand(3, 1, 28, 28)).shape
    torch.Size([3, 1, 28, 28])
    """
    require(model, "reconstruct")
    x, observed = given(model, x)
    if not model.encodes_gaps:
        x, observed = fill_gaps(model, x, observed, "reconstruct"), None
    return ask(model, model.reconstruct, x, observed, batch_size=batch_size)


ASKED = {
    "reconstruct": Capability(
        native("reconstruct"), lambda model, x, _: reconstruct(model, x), ("B", "C", "H", "W"), "reconstruct"
    )
}
