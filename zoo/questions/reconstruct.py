"""What a model keeps of an example."""

from __future__ import annotations

from torch import Tensor

from zoo.base.model import Model
from zoo.capability import Capability, ask, native, require, without_gaps


def reconstruct(model: Model, x: Tensor, batch_size: int | None = None) -> Tensor:
    """What remains of ``x`` after encoding and decoding, ``(B, C, H, W)``; of pictures in [0, 1]."""
    require(model, "reconstruct")
    return ask(model, model.reconstruct, without_gaps(model, x, "reconstruct"), batch_size=batch_size)


ASKED = {
    "reconstruct": Capability(
        native("reconstruct"), lambda model, x, _: reconstruct(model, x), ("B", "C", "H", "W"), "reconstruct"
    )
}
