"""How strange an example is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from zoo.base.classifier import Classifier
from zoo.base.language import num_counted
from zoo.base.model import Model
from zoo.capability import DERIVED, NATIVE, NO, Capability, ask, fill_gaps, given, require
from zoo.errors import ZooError
from zoo.questions.classify import log_proba
from zoo.questions.log_prob import require_marginals, require_tokens

Score = Callable[..., Tensor]

# of log p(y | x), (B, K)
OF_CLASSES: dict[str, Callable[[Tensor], Tensor]] = {
    "max_softmax": lambda log_proba: 1 - log_proba.amax(1).exp(),
    "entropy": lambda log_proba: torch.special.entr(log_proba.exp()).sum(1),
}


def anomaly_score(model: Model, x: Tensor, kind: str | None = None, batch_size: int | None = None) -> Tensor:
    """How strange each example is to the model, ``(B,)``; higher is stranger.

    >>> import torch, zoo
    >>> model = zoo.load("cnn-mnist")
    >>> zoo.anomaly_score(model, torch.rand(2, 1, 28, 28)).shape
    torch.Size([2])

    Args:
        model: the model to ask.
        x: examples ``(B, C, H, W)``; of pictures in [0, 1].
        kind: ``"native"``: the model's own; ``"log_prob"``: -log p(x) in nats (densities); ``"per_token"``: that over
            the number of a text's tokens, since a long text is unlikely by its length alone; for classifiers
            ``"max_softmax"``: 1 - max p(y | x) (Hendrycks & Gimpel 2017), ``"entropy"`` of p(y | x) in nats, or
            ``"energy"``: -logsumexp of the logits (Liu et al. 2020). The first that the model has, if left out.
        batch_size: examples at a time; if left out, as many as hold a bounded number of values.
    """
    require(model, "anomaly_score")
    scores = anomaly_scores(model)
    if kind is None:
        kind = next(iter(scores))
    if kind not in scores:
        raise ZooError(f"{model.name} has no anomaly score {kind!r}; it has {', '.join(scores)}")
    x, observed = given(model, x)
    require_tokens(model, x)
    return ask(model, lambda *part: scores[kind](model, *part), x, observed, batch_size=batch_size)


def anomaly_scores(model: Model) -> dict[str, Score]:
    """The anomaly scores that the model has, by kind; the preferred one first.

    Each is a function of the model, examples as :func:`zoo.capability.given` has given them, and what is seen of them.
    """
    scores: dict[str, Score] = {}
    if hasattr(model, "anomaly_score"):
        scores["native"] = _native
    if hasattr(model, "log_prob") and not hasattr(model, "density_steps"):  # an estimate takes a second per example
        if hasattr(model, "density") and model.density.of == "tokens":
            scores["per_token"] = _surprise_per_token
        scores["log_prob"] = _surprise
    if hasattr(model, "classify"):
        scores |= {kind: partial(_of_classes, kind) for kind in OF_CLASSES}
        if isinstance(model, Classifier):  # the model itself maps examples to logits
            scores["energy"] = _energy
    return scores


def _native(model: Model, x: Tensor, observed: Tensor | None = None) -> Tensor:
    return model.anomaly_score(fill_gaps(model, x, observed, "score anomalies"))


def _surprise(model: Model, x: Tensor, observed: Tensor | None = None) -> Tensor:
    require_marginals(model, observed)
    return -(model.log_prob(x) if observed is None else model.log_prob(x, observed=observed))


def _surprise_per_token(model: Model, x: Tensor, observed: Tensor | None = None) -> Tensor:
    tokens = num_counted(x, model.spec.context)
    return torch.where(tokens > 0, _surprise(model, x, observed) / tokens, torch.inf)  # none at all is strange


def _of_classes(kind: str, *asked: Any) -> Tensor:
    return OF_CLASSES[kind](log_proba(*asked))


def _energy(model: Model, x: Tensor, observed: Tensor | None = None) -> Tensor:
    return -model(fill_gaps(model, x, observed, "tell an energy")).logsumexp(1)


def _support(model: Model) -> str:
    if hasattr(model, "anomaly_score"):
        return NATIVE
    return DERIVED if hasattr(model, "log_prob") or hasattr(model, "classify") else NO


ASKED = {"anomaly_score": Capability(_support, lambda model, x, _: anomaly_score(model, x), ("B",), "score anomalies")}
