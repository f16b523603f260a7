"""What comes next, without looking ahead."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.base.model import Model
from zoo.capability import Capability, ask, beginnings, count, fresh_generator, native, require


def forecast(
    model: Model,
    x: Any,
    steps: int,
    generator: torch.Generator | None = None,
    batch_size: int | None = None,
) -> Tensor:
    """Draws from p(end | beginning): what may come next. The end itself is never looked at.

    >>> import torch, zoo
    >>> model = zoo.create("hmm", zoo.DataSpec(shape=(1, 8, 8)), num_states=3)
    >>> x = torch.rand(2, 1, 8, 8)
    >>> after = zoo.forecast(model, x, steps=2)
    >>> torch.equal(after[:, :, :6], x[:, :, :6])
    True

    Of a picture, which has all its steps, the last ``steps`` of them are drawn, rows, columns or pixels as the model
    reads it: ``(B, C, H, W)``, the beginning as it was given, with NaN where it was missing. A recording goes on behind
    its last column, where there is room for so many, and else in the place of its last ones. A text goes on behind its
    last symbol: ``(B, 1, 1, t + steps)``, -1 behind an end.

    Args:
        model: the model to ask.
        x: examples ``(B, C, H, W)``; of pictures in [0, 1]. Of texts their beginnings, strings or the numbers of their
            symbols ``(B, 1, 1, t)``, -1 behind those that are shorter.
        steps: how many steps are drawn, at least 1.
        generator: where the random numbers come from, on the model's device; new ones at each call if left out.
        batch_size: examples at a time; if left out, as many as hold a bounded number of values.

    Raises:
        ZooError: the model does not forecast, or reads fewer steps; a beginning with gaps that it cannot integrate out.
        DataError: a symbol that it does not know, or more of them than it sees at a time.
    """
    require(model, "forecast")
    count(steps, 1, "steps")
    x, observed = beginnings(model, x)
    generator = generator or fresh_generator(model)

    def drawn(part: Tensor, *seen: Tensor) -> Tensor:
        return model.forecast(part, steps, generator, *seen)

    return ask(model, drawn, x, observed, batch_size=batch_size)


def _trial(model: Model, x: Tensor, _: Tensor) -> Tensor:
    """One step: the last one of a picture, or one more than all but one of a text."""
    return forecast(model, x[..., :-1] if model.spec.values == "tokens" else x, 1)


ASKED = {"forecast": Capability(native("forecast"), _trial, ("B", "C", "H", "W"), "forecast")}
