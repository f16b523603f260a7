"""Which class an example belongs to, also where some of its entries are missing."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from zoo.base.fill import filling
from zoo.base.model import Model
from zoo.capability import DERIVED, NATIVE, NO, Capability, ask, given, native, require, seeded
from zoo.errors import ZooError
from zoo.questions.impute import impute


def classify(
    model: Model,
    x: Tensor,
    observed: Tensor | None = None,
    imputer: Model | None = None,
    batch_size: int | None = None,
    fill: str | None = None,
) -> Tensor:
    """log p(y | x) in nats, ``(B, K)``.

    >>> import torch, zoo
    >>> model = zoo.load("cnn-mnist")
    >>> zoo.classify(model, torch.zeros(2, 1, 28, 28)).exp().sum(1).round(decimals=4)
    tensor([1., 1.])

    Where entries are missing, a model that marginalises them does so; any other sees them filled in: with ``imputer``'s
    conditional mean (a single draw, where it has none), or with what is known without a model: in pictures the mean of
    the seen pixels around (see :func:`zoo.base.fill.local_mean`), elsewhere the training mean.

    Args:
        model: the model to ask.
        x: examples ``(B, C, H, W)``; of pictures in [0, 1]. NaN: missing. See :func:`zoo.capability.given` for what
            else may be handed over: uint8, numpy arrays, PIL pictures, paths.
        observed: bool, ``x``'s shape or broadcastable to it; False marks a missing entry, whose value is never read.
        imputer: a model that can :func:`zoo.impute`.
        batch_size: examples at a time; if left out, as many as hold a bounded number of values.
        fill: ``"local"`` or ``"mean"``: any model, also one that marginalises, sees missing entries filled in so.

    Raises:
        ZooError: the model does not classify, examples or ``imputer`` do not fit it, or an impossible ``fill``.
    """
    require(model, "classify")
    if observed is not None:
        require(model, "classify_missing")
    if fill is not None:
        if imputer is not None:
            raise ZooError("imputer and fill both say what takes the place of missing entries: give one of them")
        filling(fill, model.spec)
    x, observed = given(model, x, observed)
    if observed is None or model.marginalises or imputer is None:
        return ask(model, partial(log_proba, model, fill=fill), x, observed, batch_size=batch_size)
    if imputer.spec.shape != model.spec.shape:
        raise ZooError(f"the imputer was made for {imputer.spec.wanted}, the model for {model.spec.wanted}")
    generator = seeded(imputer, 0)  # the same question has the same answer
    expected = hasattr(imputer, "conditional_mean")
    filled = impute(imputer, x, observed, generator=generator, mean=expected, batch_size=batch_size)[0]
    return ask(model, model.classify, filled, batch_size=batch_size)


def log_proba(model: Model, x: Tensor, observed: Tensor | None = None, fill: str | None = None) -> Tensor:
    """log p(y | x), ``(B, K)``, of what :func:`zoo.capability.given` has given, on the model's device."""
    if observed is None:
        return model.classify(x)
    if model.marginalises and fill is None:
        return model.classify(x, observed)
    return model.classify(model.fill(x, observed, fill))


def _missing(model: Model) -> str:
    if not hasattr(model, "classify"):
        return NO
    if model.marginalises:
        return NATIVE
    return NO if model.spec.values == "tokens" else DERIVED  # nothing can take the place of a hidden symbol


ASKED = {
    "classify": Capability(native("classify"), lambda model, x, _: classify(model, x), ("B", "K"), "classify"),
    "classify_missing": Capability(_missing, classify, ("B", "K"), "classify with missing entries"),
}
