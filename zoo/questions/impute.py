"""What a model puts in the place of missing entries."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.base.model import Model
from zoo.capability import Capability, ask, count, fresh_generator, given, native, require
from zoo.errors import ZooError


def impute(
    model: Model,
    x: Tensor,
    observed: Tensor | None = None,
    n: int = 1,
    generator: torch.Generator | None = None,
    mean: bool = False,
    batch_size: int | None = None,
) -> Tensor:
    """``n`` completions of each example, ``(n, B, C, H, W)``. Hidden values are never read, seen ones stay as given.

    >>> import torch, zoo
    >>> model = zoo.create("gmm", zoo.DataSpec(shape=(1, 4, 4)), pca=0, num_components=2)
    >>> x, observed = torch.rand(3, 1, 4, 4), torch.rand(3, 1, 4, 4) < 0.5
    >>> completed = zoo.impute(model, x, observed, n=5)
    >>> completed.shape, torch.equal(completed[0][observed], x[observed])
    (torch.Size([5, 3, 1, 4, 4]), True)

    Of a text symbols are hidden where there is none, -1, and no end before: it may end where no other one is behind.

    Args:
        model: the model to ask.
        x: examples ``(B, C, H, W)``; of pictures in [0, 1]. NaN: missing.
        observed: bool, ``x``'s shape or broadcastable to it; True = seen. If left out, all that is not NaN.
        n: completions per example.
        generator: where the random numbers come from, on the model's device; new ones at each call if left out.
        mean: give the expected example, ``(1, B, C, H, W)``, in place of ``n`` random ones. Raises ``ZooError`` where
            the model cannot compute it.
        batch_size: examples at a time; if left out, as many as hold a bounded number of values.
    """
    require(model, "impute")
    count(n, 1, "n")
    x, observed = given(model, x, observed)
    if observed is None:  # all of a picture is seen; of a text, what is hidden is -1
        observed = x >= 0 if model.spec.values == "tokens" else torch.ones_like(x, dtype=torch.bool)
    if mean:
        if not hasattr(model, "conditional_mean"):
            raise ZooError(f"{model.name} has no conditional mean: average some completions")
        return ask(model, model.conditional_mean, x, observed, batch_size=batch_size)[None]
    generator = generator or fresh_generator(model)

    def complete(part: Tensor, mask: Tensor) -> Tensor:
        drawn = model.impute(part, mask, n=n, generator=generator)
        return torch.where(mask, part, drawn).transpose(0, 1)  # chunks are joined along examples

    return ask(model, complete, x, observed, batch_size=batch_size).transpose(0, 1)


ASKED = {
    "impute": Capability(
        native("impute"),
        lambda model, x, observed: impute(model, x, observed, n=2),
        (2, "B", "C", "H", "W"),
        "impute",
    )
}
