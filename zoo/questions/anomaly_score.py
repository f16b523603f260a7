"""How strange an example is."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zoo.base.model import Model
from zoo.capability import DERIVED, NATIVE, NO, Capability, ask, require, without_gaps
from zoo.errors import ZooError
from zoo.questions.classify import classify
from zoo.questions.log_prob import log_prob


def anomaly_score(model: Model, x: Tensor, kind: str | None = None, batch_size: int | None = None) -> Tensor:
    """How strange each example is to the model, ``(B,)``; higher is stranger.

    Args:
        model: the model to ask.
        x: examples ``(B, C, H, W)``; of pictures in [0, 1].
        kind: ``"native"``: the model's own; ``"log_prob"``: -log p(x) in nats (densities); for classifiers
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
    return ask(model, scores[kind], x, batch_size=batch_size)


def anomaly_scores(model: Model) -> dict[str, Callable[[Tensor], Tensor]]:
    """The anomaly scores that the model has, by kind; the preferred one first."""
    scores: dict[str, Callable[[Tensor], Tensor]] = {}
    if hasattr(model, "anomaly_score"):
        scores["native"] = lambda x: model.anomaly_score(without_gaps(model, x, "score anomalies"))
    if hasattr(model, "log_prob"):
        scores["log_prob"] = lambda x: -log_prob(model, x, batch_size=len(x))
    if hasattr(model, "classify"):
        scores["max_softmax"] = lambda x: 1 - classify(model, x, batch_size=len(x)).amax(1).exp()
        scores["entropy"] = lambda x: torch.special.entr(classify(model, x, batch_size=len(x)).exp()).sum(1)
        if hasattr(model, "head"):  # the model itself maps examples to logits
            scores["energy"] = lambda x: -model(without_gaps(model, x, "tell an energy")).logsumexp(1)
    return scores


def _support(model: Model) -> str:
    if hasattr(model, "anomaly_score"):
        return NATIVE
    return DERIVED if hasattr(model, "log_prob") or hasattr(model, "classify") else NO


ASKED = {"anomaly_score": Capability(_support, lambda model, x, _: anomaly_score(model, x), ("B",), "score anomalies")}
