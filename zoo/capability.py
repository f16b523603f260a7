"""What a model can be asked.

A question is a function: ``zoo.classify(model, x)``, ``zoo.sample(model, n)``, … It takes the model's own method where
the instance has one ("native"), else what follows mathematically from the methods it has ("derived"), else it raises a
``ZooError`` that names the models that can. An instance that lacks a method its class has sets it to ``None``.

Every function runs in eval mode without gradients, leaves the model in the mode it was in and the global random stream
where it was, works through long inputs in chunks of ``batch_size``, and returns tensors on the device of its input.

What a model offers to be asked, natively:

====================================  ===============================================================================
``predict_log_proba(x)``              log p(y | x), ``(B, K)``; with a parameter ``observed``, from the seen pixels
``log_prob(x, labels)``               log p(x | y), ``(B,)``; with ``labels`` optional, log p(x) too; with a parameter
                                      ``observed``, of the seen pixels; with ``num_samples``, a bound from so many
                                      importance samples
``log_prior``                         log p(y), ``(K,)``: says that ``log_prob`` is class-conditional
``density``                           says what ``log_prob`` is: exact or a bound, and of what
``sample(n, labels, generator)``      images ``(n, C, H, W)``
``encode(x)``, ``features(x)``        codes ``(B, D)``
``reconstruct(x)``                    images ``(B, C, H, W)``
``interpolate(n, steps, ends, …)``    images ``(n, steps, C, H, W)``; with :meth:`encode`, between ``ends`` too
``impute(x, observed, n, generator)`` images ``(n, B, C, H, W)``
``conditional_mean(x, observed)``     images ``(B, C, H, W)``: what :func:`impute` gives with ``mean=True``
``anomaly_score(x)``                  ``(B,)``, higher is stranger
====================================  ===============================================================================
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from zoo import registry
from zoo.errors import ZooError
from zoo.models._model import Model
from zoo.spec import DataSpec

# pixel values of a chunk; layers that make more of them outgrow a CPU's caches, and are slower for it
AT_ONCE, AT_ONCE_ON_CPU = 2**22, 2**19

# capability -> (native method, methods or attributes from which it is derived)
_SOURCES: dict[str, tuple[str, tuple[tuple[str, ...], ...]]] = {
    "classify": ("predict_log_proba", (("log_prob", "log_prior"),)),
    "sample": ("sample", ()),
    "log_prob": ("log_prob", ()),
    "encode": ("encode", (("features",),)),
    "reconstruct": ("reconstruct", ()),
    "interpolate": ("interpolate", ()),
    "impute": ("impute", ()),
    "classify_missing": ("predict_log_proba(observed)", (("predict_log_proba",), ("log_prob", "log_prior"))),
    "anomaly_score": ("anomaly_score", (("log_prob",), ("predict_log_proba",))),
}


@contextlib.contextmanager
def evaluating(model: Model) -> Iterator[Model]:
    """Eval mode and no gradients inside; the modes of all submodules are restored afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():  # not inference_mode: what comes out may be trained on
            yield model
    finally:
        for module, training in modes:
            module.training = training


def support(model: Model, capability: str) -> str:
    """How this instance can be asked: ``"native"``, ``"derived"`` or ``"no"``."""
    native, derivations = _SOURCES[capability]
    if _has(model, native):
        return "native"
    return "derived" if any(all(_has(model, name) for name in names) for names in derivations) else "no"


def _has(model: Model, name: str) -> bool:
    method, _, parameter = name.partition("(")
    found = getattr(model, method, None)
    return found is not None and (not parameter or parameter[:-1] in inspect.signature(found).parameters)


class CapabilityTable(dict[str, dict[str, str]]):
    """``table[model][capability]`` is ``"native"``, ``"derived"`` or ``"no"``; ``str(table)`` is a Markdown table."""

    def __str__(self) -> str:
        header = ["model", *(name.replace("_", " ") for name in _SOURCES)]
        rows = [header, *([model, *row.values()] for model, row in self.items())]
        widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
        rows.insert(1, ["-" * width for width in widths])
        lines = (" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
        return "\n".join(f"| {line} |" for line in lines)


def capabilities(pattern: str = "*") -> CapabilityTable:
    """The table model × capability, read off an instance of each model with its default options."""
    classes: dict[str, Any] = {name: registry.model_class(name) for name in registry.list_models(pattern)}
    return CapabilityTable({name: dict(_row(cls)) for name, cls in classes.items()})


@functools.cache
def _row(cls: Any) -> tuple[tuple[str, str], ...]:
    with torch.random.fork_rng(devices=[]):  # the weights are drawn, and thrown away
        model = cls(DataSpec())
    return tuple((capability, support(model, capability)) for capability in _SOURCES)


def classify(
    model: Model,
    x: Tensor,
    observed: Tensor | None = None,
    imputer: Model | None = None,
    batch_size: int | None = None,
) -> Tensor:
    """log p(y | x) in nats, ``(B, K)``.

    Derived for class-conditional densities by Bayes' rule. Where pixels are missing, a model that marginalises them
    does so; any other sees them filled in: with ``imputer``'s conditional mean (a single draw, where it has none), or
    with the training mean.

    Args:
        model: the model to ask.
        x: images ``(B, C, H, W)`` in [0, 1].
        observed: bool, ``x``'s shape or broadcastable to it; False marks a missing pixel, whose value is never read.
        imputer: a model that can :func:`impute`.
        batch_size: images at a time; if left out, as many as hold a bounded number of pixels.
    """
    if observed is None:
        if _has(model, "predict_log_proba"):
            return _chunked(model, model.predict_log_proba, x, batch_size=batch_size)
        _require(model, "classify")
        return _chunked(model, lambda part: _joint(model, part).log_softmax(1), x, batch_size=batch_size)
    observed = observed.expand_as(x)
    if _has(model, "predict_log_proba(observed)"):
        return _chunked(model, model.predict_log_proba, _without_hidden(x, observed), observed, batch_size=batch_size)
    _require(model, "classify_missing")
    if imputer is not None:
        generator = seeded(imputer, 0)  # the same question has the same answer
        expected = _has(imputer, "conditional_mean")
        filled = impute(imputer, x, observed, generator=generator, mean=expected, batch_size=batch_size)[0]
    else:
        mean = torch.tensor(model.spec.mean, dtype=x.dtype, device=x.device).view(1, -1, 1, 1)
        filled = torch.where(observed, x, mean)
    return classify(model, filled, batch_size=batch_size)


def log_prob(
    model: Model,
    x: Tensor,
    labels: Tensor | None = None,
    observed: Tensor | None = None,
    num_samples: int | None = None,
    batch_size: int | None = None,
) -> Tensor:
    """log p(x), or log p(x | labels), in nats an image, summed over pixels: ``(B,)``. ``model.density`` says of what.

    A class-conditional density without labels is the mixture over classes, log sum_y p(y) p(x | y).

    Args:
        model: the model to ask.
        x: images ``(B, C, H, W)`` in [0, 1].
        labels: ``(B,)`` int64.
        observed: bool, ``x``'s shape or broadcastable to it: the density of the seen pixels alone, the others
            integrated out. Raises ``ZooError`` where the model cannot.
        num_samples: importance samples an image where ``model.density`` is a lower bound, which more of them raise; the
            model's own number if left out. Raises ``ZooError`` where the model takes none.
        batch_size: images at a time; if left out, as many as hold a bounded number of pixels.
    """
    _require(model, "log_prob")
    for name, value in (("observed", observed), ("num_samples", num_samples)):
        if value is not None and not _has(model, f"log_prob({name})"):
            reason = "cannot integrate hidden pixels out" if name == "observed" else "takes no importance samples"
            raise ZooError(f"{_name(model)} {reason}")
    extra = {} if num_samples is None else {"num_samples": num_samples}
    if labels is None and _has(model, "log_prior") and _needs_labels(model):
        return _chunked(model, lambda part: _joint(model, part).logsumexp(1), x, batch_size=batch_size)
    inputs = {"labels": labels, "observed": None if observed is None else observed.expand_as(x)}
    if inputs["observed"] is not None:
        x = _without_hidden(x, inputs["observed"])
    given = {key: value for key, value in inputs.items() if value is not None}

    def ask(part: Tensor, *rest: Tensor) -> Tensor:
        return model.log_prob(part, **dict(zip(given, rest, strict=True)), **extra)

    return _chunked(model, ask, x, *given.values(), batch_size=batch_size)


def _needs_labels(model: Model) -> bool:
    return inspect.signature(model.log_prob).parameters["labels"].default is inspect.Parameter.empty


def log_joint(model: Model, x: Tensor, num_samples: int | None = None, batch_size: int | None = None) -> Tensor:
    """log p(x, y) for every class y, ``(B, K)``, in nats, of a model that has the method; see :func:`log_prob`."""
    extra = {} if num_samples is None else {"num_samples": num_samples}
    return _chunked(model, lambda part: model.log_joint(part, **extra), x, batch_size=batch_size)


def sample(model: Model, n: int, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
    """``n`` images ``(n, C, H, W)`` in [0, 1], of the given ``labels`` ``(n,)`` if any; new ones at each call.

    ``generator`` makes them repeatable; it lives on the model's device.
    """
    _require(model, "sample")
    with evaluating(model):
        return model.sample(n, labels=labels, generator=generator or _fresh_generator(model))


def encode(model: Model, x: Tensor, batch_size: int | None = None) -> Tensor:
    """Codes ``(B, D)``: latents or posteriors of a generative model, the penultimate features of a classifier."""
    _require(model, "encode")
    method = model.encode if _has(model, "encode") else model.features
    return _chunked(model, method, x, batch_size=batch_size)


def reconstruct(model: Model, x: Tensor, batch_size: int | None = None) -> Tensor:
    """What remains of ``x`` after encoding and decoding, ``(B, C, H, W)`` in [0, 1]."""
    _require(model, "reconstruct")
    return _chunked(model, model.reconstruct, x, batch_size=batch_size)


def interpolate(
    model: Model,
    n: int | None = None,
    steps: int = 8,
    ends: tuple[Tensor, Tensor] | None = None,
    labels: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Paths from image to image through the latent space of a model, ``(n, steps, C, H, W)`` in [0, 1].

    Args:
        model: the model to ask.
        n: how many paths; 8 if left out, or as many as there are ``ends``.
        steps: images a path, both ends among them.
        ends: images ``(n, C, H, W)`` in [0, 1] to begin with and to end with, by way of their codes: a path's own ends
            are their reconstructions. Between random images if left out.
        labels: the class of all images of a path, ``(n,)``; drawn from p(y) for random images if left out.
        generator: where the random images come from, on the model's device; new ones at each call if left out.

    Raises:
        ZooError: fewer than 2 steps, or ends whose number or shape do not fit.
    """
    _require(model, "interpolate")
    if steps < 2:
        raise ZooError(f"a path has 2 steps at least, its ends; not {steps}")
    device = _device(model)
    if ends is None:
        n = 8 if n is None else n
    else:
        n = len(ends[0]) if n is None else n
        if any(tuple(end.shape) != (n, *model.spec.shape) for end in ends):
            given = " and ".join(str(tuple(end.shape)) for end in ends)
            raise ZooError(f"ends must be two tensors of shape {(n, *model.spec.shape)}, a row a path, not {given}")
    with evaluating(model):
        inputs = None if ends is None else (ends[0].to(device), ends[1].to(device))
        images = model.interpolate(n, steps, inputs, labels, generator or _fresh_generator(model))
    return images if ends is None else images.to(ends[0].device)


def impute(
    model: Model,
    x: Tensor,
    observed: Tensor,
    n: int = 1,
    generator: torch.Generator | None = None,
    mean: bool = False,
    batch_size: int | None = None,
) -> Tensor:
    """``n`` completions of each image, ``(n, B, C, H, W)``. Hidden values are never read, seen ones come back as given.

    Args:
        model: the model to ask.
        x: images ``(B, C, H, W)`` in [0, 1].
        observed: bool, ``x``'s shape or broadcastable to it; True = seen.
        n: completions an image.
        generator: where the random numbers come from, on the model's device; new ones at each call if left out.
        mean: give the expected image, ``(1, B, C, H, W)``, in place of ``n`` random ones. Raises ``ZooError`` where the
            model cannot compute it.
        batch_size: images at a time; if left out, as many as hold a bounded number of pixels.
    """
    _require(model, "impute")
    observed = observed.expand_as(x)
    if mean:
        if not _has(model, "conditional_mean"):
            raise ZooError(f"{_name(model)} has no conditional mean: average some completions")
        hidden = _without_hidden(x, observed)
        return _chunked(model, model.conditional_mean, hidden, observed, batch_size=batch_size)[None]
    generator = generator or _fresh_generator(model)

    def complete(part: Tensor, seen: Tensor) -> Tensor:
        images = model.impute(part, seen, n=n, generator=generator)
        return torch.where(seen, part, images).transpose(0, 1)  # chunks are joined along images

    return _chunked(model, complete, _without_hidden(x, observed), observed, batch_size=batch_size).transpose(0, 1)


def anomaly_score(model: Model, x: Tensor, kind: str | None = None, batch_size: int | None = None) -> Tensor:
    """How strange each image is to the model, ``(B,)``; higher is stranger.

    Args:
        model: the model to ask.
        x: images ``(B, C, H, W)`` in [0, 1].
        kind: ``"native"``: the model's own; ``"log_prob"``: -log p(x) in nats (densities); for classifiers
            ``"max_softmax"``: 1 - max p(y | x) (Hendrycks & Gimpel 2017), ``"entropy"`` of p(y | x) in nats, or
            ``"energy"``: -logsumexp of the logits (Liu et al. 2020). The first that the model has, if left out.
        batch_size: images at a time; if left out, as many as hold a bounded number of pixels.
    """
    _require(model, "anomaly_score")
    scores = anomaly_scores(model)
    if kind is None:
        kind = next(iter(scores))
    if kind not in scores:
        raise ZooError(f"{_name(model)} has no anomaly score {kind!r}; it has {', '.join(scores)}")
    return _chunked(model, scores[kind], x, batch_size=batch_size)


def anomaly_scores(model: Model) -> dict[str, Callable[[Tensor], Tensor]]:
    """The anomaly scores that the model has, by kind; the preferred one first."""
    scores: dict[str, Callable[[Tensor], Tensor]] = {}
    if _has(model, "anomaly_score"):
        scores["native"] = model.anomaly_score
    if _has(model, "log_prob"):
        scores["log_prob"] = lambda x: -log_prob(model, x, batch_size=len(x))
    if _has(model, "predict_log_proba"):
        scores["max_softmax"] = lambda x: 1 - model.predict_log_proba(x).amax(1).exp()
        scores["entropy"] = lambda x: torch.special.entr(model.predict_log_proba(x).exp()).sum(1)
        if _has(model, "head"):  # the model itself maps images to logits
            scores["energy"] = lambda x: -model(x).logsumexp(1)
    return scores


def _joint(model: Model, x: Tensor) -> Tensor:
    """log p(x, y) for every class y, ``(B, K)``, in nats."""
    prior = model.log_prior
    columns = [model.log_prob(x, x.new_full((len(x),), label, dtype=torch.long)) for label in range(len(prior))]
    return torch.stack(columns, 1) + prior


def _chunked(model: Model, function: Callable[..., Tensor], *inputs: Tensor, batch_size: int | None) -> Tensor:
    """``function`` over slices of the inputs, on the model's device; the results joined on the inputs' device."""
    home = inputs[0].device
    device = _device(model, home)
    values = AT_ONCE_ON_CPU if device.type == "cpu" else AT_ONCE
    size = batch_size or max(1, values // max(math.prod(inputs[0].shape[1:]), 1))
    with evaluating(model):
        parts = zip(*(tensor.split(size) for tensor in inputs), strict=True)
        return torch.cat([function(*(piece.to(device) for piece in part)).to(home) for part in parts])


def _device(model: Model, default: torch.device | str = "cpu") -> torch.device:
    return next((tensor.device for tensor in [*model.parameters(), *model.buffers()]), torch.device(default))


def seeded(model: Model, seed: int) -> torch.Generator:
    """Random numbers that are the same for the same seed, on the model's device."""
    return torch.Generator(_device(model)).manual_seed(seed)


def _fresh_generator(model: Model) -> torch.Generator:
    """Random numbers that are new at each call and not taken from the global stream, which belongs to training."""
    generator = torch.Generator(_device(model))
    generator.seed()
    return generator


def _without_hidden(x: Tensor, observed: Tensor) -> Tensor:
    """``x`` with zeros where it was not observed: no model can read what it must not know."""
    return torch.where(observed, x, torch.zeros((), dtype=x.dtype, device=x.device))


def _require(model: Model, capability: str) -> None:
    if support(model, capability) != "no":
        return
    able = [name for name, row in capabilities().items() if row[capability] != "no"]
    question = {"classify_missing": "classify with missing pixels"}.get(capability, capability.replace("_", " "))
    raise ZooError(f"{_name(model)} cannot {question}; models that can: {', '.join(able)}")


def _name(model: Any) -> str:
    return getattr(model, "config", {}).get("name") or type(model).__name__
