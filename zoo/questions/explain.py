"""What each column of an example, or term of a text, has to do with the class it is said to be of."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from zoo.base.model import Model, evaluating
from zoo.capability import Capability, ask, given, native, require


class Explanation(NamedTuple):
    """Logits as sums: p(y | x) = softmax over y of offsets + Σ contributions over columns.

    Attributes:
        contributions: of each column to each logit, ``(B, K, columns)``, in nats; of texts of each term that ``x``
            lists, ``(B, K, T)``.
        offsets: what the logits are without them, ``(K,)``.
    """

    contributions: Tensor
    offsets: Tensor


def explain(model: Model, x: Tensor, observed: Tensor | None = None, batch_size: int | None = None) -> Explanation:
    """What each column adds to the logits, of models whose logits are sums over columns, or over the terms of a text;
    of a calibrated model, to the logits divided by its temperature.

    >>> import torch, zoo
    >>> model = zoo.create("logistic_regression", zoo.DataSpec((1, 1, 5), 2, values="real"))
    >>> x = torch.rand(3, 1, 1, 5)
    >>> told = zoo.explain(model, x)
    >>> torch.allclose(told.contributions.sum(2) + told.offsets, model(x))
    True

    Differences between classes have a meaning, and single logits none: all of them may be shifted alike. A linear model
    counts from the mean of its training examples, so that a missing value, which it takes to be the mean, adds nothing.
    Naive Bayes' contributions are log p(column | y), and its offsets log p(y); a missing value adds nothing there, too.

    Of texts a linear model counts from a text without terms. Where it looks at counts in another way, presence say,
    what a term adds is shared by all the places where it is listed. An unknown term adds nothing.

    Args:
        model: the model to ask.
        x: examples ``(B, C, H, W)``. Columns are those of ``model.spec.blocks``: of a table; of others, all entries at
            the same place along the last axis are one. NaN: missing. Texts are strings, or the numbers of their terms.
        observed: bool, ``x``'s shape or broadcastable to it; False marks a missing entry, whose value is never read.
        batch_size: examples at a time; if left out, as many as hold a bounded number of values.
    """
    require(model, "explain")
    x, observed = given(model, x, observed)
    if observed is not None and not model.marginalises:
        x, observed = ask(model, model.fill, x, observed, batch_size=batch_size), None
    contributions = ask(model, model.contributions, x, observed, batch_size=batch_size)
    with evaluating(model):
        return Explanation(contributions, model.offsets().to(x.device, copy=True))


ASKED = {
    "explain": Capability(
        native("contributions"),
        lambda model, x, observed: explain(model, x, observed).contributions,
        ("B", "K", "W"),
        "say what each column, or term, adds to its logits",
    )
}
