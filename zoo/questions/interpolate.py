"""Ways from one example to another."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.base.model import Model, evaluating
from zoo.capability import Capability, count, fresh_generator, native, require, without_gaps
from zoo.errors import ZooError


def interpolate(
    model: Model,
    n: int | None = None,
    steps: int = 8,
    ends: tuple[Tensor, Tensor] | None = None,
    labels: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Paths from example to example through the latent space of a model, ``(n, steps, C, H, W)``.

    >>> import torch, zoo
    >>> zoo.interpolate(zoo.create("vae"), n=2, steps=5).shape
    torch.Size([2, 5, 1, 28, 28])

    Args:
        model: the model to ask.
        n: how many paths; 8 if left out, or as many as there are ``ends``.
        steps: examples per path, both ends among them.
        ends: examples ``(n, C, H, W)`` to begin with and to end with, by way of their codes: a path's own ends are
            their reconstructions. Between random examples if left out.
        labels: the class of all examples of a path, ``(n,)``; drawn from p(y) for random ones if left out.
        generator: where the random examples come from, on the model's device; new ones at each call if left out.

    Raises:
        ZooError: fewer than 2 steps, or ends whose number or shape do not fit.
    """
    require(model, "interpolate")
    count(steps, 2, "steps, the ends among them,")
    if ends is not None:
        first, last = (without_gaps(model, end, "interpolate") for end in _both(ends))
        ends = first, last
        if len(first) != len(last) or n not in (None, len(first)):
            raise ZooError(f"ends must be two tensors with a row a path, not {len(first)} and {len(last)} rows")
        n = len(first)
    n = 8 if n is None else count(n, 0, "n")
    with evaluating(model):
        inputs = None if ends is None else tuple(end.to(model.device) for end in ends)
        examples = model.interpolate(n, steps, inputs, labels, generator or fresh_generator(model))
    return examples if ends is None else examples.to(ends[0].device)


def _both(ends: Any) -> tuple[Any, Any]:
    try:
        first, last = ends
    except (TypeError, ValueError) as error:
        raise ZooError("ends must be two: the examples to begin with, and those to end with") from error
    return first, last


ASKED = {
    "interpolate": Capability(
        native("interpolate"),
        lambda model, x, _: interpolate(model, len(x), steps=3),
        ("B", 3, "C", "H", "W"),
        "interpolate",
    )
}
