"""How probable an example is."""

from __future__ import annotations

from torch import Tensor

from zoo.base.model import Model
from zoo.capability import Capability, ask, count, given, native, require
from zoo.errors import DataError, ZooError


def log_prob(
    model: Model,
    x: Tensor,
    labels: Tensor | None = None,
    observed: Tensor | None = None,
    num_samples: int | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
) -> Tensor:
    """log p(x), or log p(x | labels), in nats per example, summed over entries, ``(B,)``: see ``model.density``.

    >>> import torch, zoo
    >>> model = zoo.load("autoregressive-mnist")
    >>> model.density.kind, zoo.log_prob(model, torch.zeros(2, 1, 28, 28)).shape
    ('exact', torch.Size([2]))

    A class-conditional density without labels is the mixture over classes, log sum_y p(y) p(x | y).

    Args:
        model: the model to ask.
        x: examples ``(B, C, H, W)``; of pictures in [0, 1]. NaN: missing, and integrated out.
        labels: ``(B,)`` int64. Raises ``ZooError`` for what is no class, hidden classes among it.
        observed: bool, ``x``'s shape or broadcastable to it: the density of the seen entries alone, the others
            integrated out. Raises ``ZooError`` where the model cannot.
        num_samples: importance samples per example where ``model.density`` is a lower bound, which more of them raise;
            the model's own number if left out. Raises ``ZooError`` where the model takes none.
        steps: of the solver where ``model.density`` is an estimate, which more of them make a better one; the model's
            own number if left out. Raises ``ZooError`` where the model solves nothing.
        batch_size: examples at a time; if left out, as many as hold a bounded number of values.
    """
    require(model, "log_prob")
    if num_samples is not None and not hasattr(model, "importance_samples"):
        raise ZooError(f"{model.name} takes no importance samples")
    if steps is not None and not hasattr(model, "density_steps"):
        raise ZooError(f"{model.name} takes no steps of a solver")
    extra = {"num_samples": num_samples, "steps": steps}
    extra = {key: count(value, 1, key) for key, value in extra.items() if value is not None}
    x, observed = given(model, x, observed)
    require_tokens(model, x)
    require_marginals(model, observed)
    if labels is not None:
        labels = model.checked_labels(labels, len(x))
    more = {key: value for key, value in (("labels", labels), ("observed", observed)) if value is not None}

    def question(part: Tensor, *rest: Tensor) -> Tensor:
        return model.log_prob(part, **dict(zip(more, rest, strict=True)), **extra)

    return ask(model, question, x, *more.values(), batch_size=batch_size)


def require_tokens(model: Model, x: Tensor) -> None:
    """Raise ``DataError`` where all symbols of running text are ones to be known, and none is asked about."""
    context = model.spec.context
    if context and bool(((x[..., :context] >= 0).any(3) & ~(x[..., context:] >= 0).any(3)).any()):
        raise DataError(
            f"the first {context} symbols of an example are there to be known, and there are no others: strings are "
            "asked about whole, and so is what stands behind as many times -1"
        )


def require_marginals(model: Model, observed: Tensor | None) -> None:
    """Raise ``ZooError`` where entries are hidden, and the model cannot integrate them out."""
    if observed is not None and not model.marginalises:
        raise ZooError(f"{model.name} cannot integrate hidden pixels out{model.unless}")


ASKED = {"log_prob": Capability(native("log_prob"), lambda model, x, _: log_prob(model, x), ("B",), "tell log p(x)")}
