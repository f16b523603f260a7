"""What a model can be asked, and how: the frame of the questions in :mod:`zoo.questions`.

A question is a function: ``zoo.classify(model, x)``, ``zoo.sample(model, n)``, … It takes the model's own method where
the instance has one ("native"), else what follows mathematically from the methods it has ("derived"), else it raises a
``ZooError`` that names the models that can.

Every question runs in eval mode without gradients, leaves the model in the mode it was in and the global random stream
where it was, works through long inputs in chunks, and returns tensors on the device of its input.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo import found, notebook, registry
from zoo.base.categories import whole
from zoo.base.language import has_holes
from zoo.base.model import Model, evaluating
from zoo.base.sequence import until_last
from zoo.data import characters, kinds
from zoo.errors import DataError, ZooError
from zoo.spec import END, DataSpec

QUESTIONS = "zoo.questions"
NATIVE, DERIVED, NO = "native", "derived", "no"
TOKENS: dict[str, Any] = {"values": "tokens", "vocabulary": ("a", "b")}  # of the smallest model of them


@dataclass(frozen=True)
class Capability:
    """Something that a model can be asked, a column of the table of capabilities.

    Attributes:
        support: a model to how this instance can be asked: ``"native"``, ``"derived"`` or ``"no"``.
        trial: asks it with as little as there is to say: a model, a batch of examples and which of their entries are
            seen, to the answer. Every registered model is tested by it.
        shape: of the trial's answer: numbers, or ``"B"`` examples, ``"K"`` classes, ``"C"``, ``"H"``, ``"W"`` of the
            spec's shape, ``"*"`` for any.
        words: the question in an error message.
    """

    support: Callable[[Model], str]
    trial: Callable[[Model, Tensor, Tensor], Tensor]
    shape: tuple[str | int, ...]
    words: str


def native(method: str) -> Callable[[Model], str]:
    """The ``support`` of what a model can be asked where it has a method, and in no other way."""
    return lambda model: NATIVE if hasattr(model, method) else NO


@functools.cache
def known() -> Mapping[str, Capability]:
    """All capabilities by name: what the files in ``zoo/questions`` say can be asked."""
    files = [found.find(QUESTIONS, name, "question", "questions") for name in found.names(QUESTIONS)]
    return {name: capability for file in files for name, capability in file.ASKED.items()}


def support(model: Model, capability: str) -> str:
    """How this instance can be asked: ``"native"``, ``"derived"`` or ``"no"``."""
    return known()[capability].support(model)


def can(model: Model, capability: str) -> bool:
    """Whether this instance can be asked at all."""
    return support(model, capability) != NO


def require(model: Model, capability: str) -> None:
    """Raise ``ZooError``, which names the models that can, where this one cannot be asked."""
    if not isinstance(model, Model):
        raise ZooError(f"{type(model).__name__} is no model of the zoo: it must extend zoo.Model")
    if can(model, capability):
        return
    able = [name for name, row in capabilities().items() if row[capability] != NO and name != model.name]
    words = known()[capability].words
    raise ZooError(f"{model.name} cannot {words}; models that can: {', '.join(able)}")


class CapabilityTable(dict[str, dict[str, str]]):
    """``table[model][capability]`` is ``"native"``, ``"derived"`` or ``"no"``; ``str(table)`` is a Markdown table."""

    def __str__(self) -> str:
        header = ["model", *(name.replace("_", " ") for name in known())]
        rows = [header, *([model, *row.values()] for model, row in self.items())]
        widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
        rows.insert(1, ["-" * width for width in widths])
        lines = (" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
        return "\n".join(f"| {line} |" for line in lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """For a notebook."""
        head = [name.replace("_", " ") for name in ("model", *known())]
        return notebook.table(([model, *row.values()] for model, row in self.items()), head)


def capabilities(model: str | Model = "*") -> CapabilityTable:
    """The table model × capability: ``"native"``, ``"derived"``, which follows from what the model has, or ``"no"``.

    >>> import zoo
    >>> print(zoo.capabilities("cnn")["cnn"]["classify"])
    native

    Args:
        model: a pattern of names, whose rows are read off an instance of each with its default options; or a model,
            whose row is what it can be asked itself.
    """
    if isinstance(model, Model):
        return CapabilityTable({model.name: {name: capability.support(model) for name, capability in known().items()}})
    pattern = model
    classes: dict[str, Any] = {name: registry.model_class(name) for name in registry.list_models(pattern)}
    return CapabilityTable({name: dict(_row(cls)) for name, cls in classes.items()})


@functools.cache
def _row(cls: Any) -> tuple[tuple[str, str], ...]:
    spec = DataSpec(values=cls.takes[0]) if cls.takes[0] != "tokens" else DataSpec((1, 1, 8), kind="tokens", **TOKENS)
    with torch.random.fork_rng(devices=[]):  # the weights are drawn, and thrown away
        model = cls(spec)
    return tuple((name, capability.support(model)) for name, capability in known().items())


# How a question is put


def ask(
    model: Model, function: Callable[..., Tensor], x: Tensor, *more: Tensor | None, batch_size: int | None = None
) -> Tensor:
    """``function`` over slices of the inputs, on the model's device; the results joined on the inputs' device.

    Args:
        model: in eval mode meanwhile, without gradients.
        function: slices of the inputs to a tensor with a row for each of theirs.
        x: examples.
        *more: tensors of as many rows; what is None is left out.
        batch_size: rows at a time; if left out, as many as hold a bounded number of values.
    """
    home, inputs = x.device, [x, *(tensor for tensor in more if tensor is not None)]
    size = model.examples_at_once if batch_size is None else count(batch_size, 1, "batch_size")
    with evaluating(model):
        parts = zip(*(tensor.split(size) for tensor in inputs), strict=True)
        return torch.cat([function(*(piece.to(model.device) for piece in part)).to(home) for part in parts])


def seeded(model: Model, seed: int) -> torch.Generator:
    """Random numbers that are the same for the same seed, on the model's device."""
    return torch.Generator(model.device).manual_seed(seed)


def fresh_generator(model: Model) -> torch.Generator:
    """Random numbers that are new at each call and not taken from the global stream, which belongs to training."""
    generator = torch.Generator(model.device)
    generator.seed()
    return generator


def count(value: Any, least: int, what: str) -> int:
    """A whole number of at least ``least``. Raises ``ZooError``, which says ``what`` it is, for anything else."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):
        raise ZooError(f"{what} must be a whole number of at least {least}, not {value!r}")
    return number


# What is asked about: examples as they are handed over, and which of their entries are seen


def given(model: Model, x: Any, observed: Any = None) -> tuple[Tensor, Tensor | None]:
    """Examples as the model sees them, and which of their entries are seen: the door that every question goes through.

    Args:
        model: its ``spec`` says what examples are.
        x: a tensor or numpy array ``(B, C, H, W)``: floating numbers, those of pictures in [0, 1], or whole ones as the
            kind stores them: levels from 0 to 255. Without ``C`` where that is 1; without ``B``, one example;
            ``(B, H, W, C)``; flattened, where ``C`` is 1. Pictures of PIL and paths of files, one or a list. Texts are
            strings, one or a list; of a file then, ``pathlib.Path`` is its path.
        observed: bool, broadcastable to the examples; False marks a missing entry, whose value is never read. NaN
            among the others is missing, too. Of a column of categories all entries are seen, or none is.

    Returns:
        Floating numbers ``(B, C, H, W)`` of the model's own type, with 0 for what is not seen: no model can read what
        it must not know; and bool of that shape, or None where all is seen. Examples are looked at once. Of texts the
        numbers of their terms or symbols, int64, with -1 for what is not seen, as if it were not there; and None.

    Raises:
        DataError: examples that do not fit the model, or may mean one thing or another.
        ZooError: symbols are hidden between others from a model that cannot integrate them out.
    """
    x = kinds.examples(x, model.spec)
    if model.spec.values in ("counts", "tokens"):
        seen = None if observed is None else _mask(observed, x)
        if model.spec.values == "tokens":
            _check_tokens(model, x, seen)
        return (x if seen is None else torch.where(seen, x, -1)), None
    x = x.to(next((parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()), x.dtype))
    if observed is not None:
        observed = _mask(observed, x)
        x = torch.where(observed, x, 0)
    if not x.numel():
        return x, observed
    low, high = _bounds(x)
    if math.isnan(low):
        there = ~x.isnan()
        observed = there if observed is None else observed & there
        x = torch.where(there, x, 0)
        low, high = _bounds(x)
    if observed is not None and model.spec.categories:
        observed = whole(observed, model.spec)
        x = torch.where(observed, x, 0)
    kinds.check_range(x, low, high, model.spec)
    return x, observed


def _check_tokens(model: Model, x: Tensor, seen: Tensor | None) -> None:
    """Raise ``DataError`` for what is no text, and ``ZooError`` for what the model cannot answer for: see
    :func:`given`."""
    listed = (x >= 0).flatten(1)
    there = listed if seen is None else listed & seen.flatten(1)
    hidden = listed & ~there
    last, first = until_last(there), there.cumsum(1) > 0
    if model.spec.token(END) >= 0:
        over = ((x.flatten(1) == model.spec.token(END)) & there).cumsum(1) > 0
        if bool((over[:, :-1] & there[:, 1:]).any()):
            raise DataError(f"symbols stand behind {END}, where a text is over")
    if not model.marginalises and (bool((hidden & last).any()) or has_holes(there)):
        raise ZooError(f"{model.name} cannot integrate hidden tokens out{model.unless}")
    if model.spec.context and bool((hidden & last & ~first).any()):
        raise ZooError(
            f"{model.name} cannot tell what is hidden at the beginning of running text from what stands before it"
        )


def beginnings(model: Model, x: Any) -> tuple[Tensor, Tensor | None]:
    """As :func:`given`, of what is to go on: a text that is a string, or several, has no end yet.

    Raises ``DataError`` also for characters that the model does not know, or more of them than it sees at a time.
    """
    if model.spec.values != "tokens":
        return given(model, x)
    texts = [x] if isinstance(x, str) else x
    if isinstance(texts, (list, tuple)) and all(isinstance(text, str) for text in texts):
        x = characters.prompts(texts, model.spec)
    return given(model, x)


def _bounds(x: Tensor) -> tuple[float, float]:
    low, high = torch.stack(x.detach().aminmax()).tolist()  # NaN where there is any
    return low, high


def _mask(observed: Any, x: Tensor) -> Tensor:
    try:
        mask = torch.as_tensor(observed, device=x.device)
        if mask.dtype == torch.bool:
            return mask.expand_as(x)
    except (TypeError, ValueError, RuntimeError) as error:
        shape = tuple(getattr(observed, "shape", ())) or type(observed).__name__
        raise ZooError(f"observed is {shape}, which does not fit examples {tuple(x.shape)}") from error
    raise ZooError(f"observed is bool, True where an entry is seen; not {str(mask.dtype).removeprefix('torch.')}")


def without_gaps(model: Model, x: Any, words: str) -> Tensor:
    """Examples as :func:`given`, of which nothing is missing, or filled in, for a model that is meant to be asked so.

    Raises ``ZooError`` for any other: ``words`` say what it cannot do then.
    """
    return fill_gaps(model, *given(model, x), words)


def fill_gaps(model: Model, x: Tensor, observed: Tensor | None, words: str) -> Tensor:
    """As :func:`without_gaps`, of what :func:`given` has given."""
    if observed is None:
        return x
    if not model.fills_gaps:
        raise ZooError(f"{model.name} cannot {words} where values are missing: zoo.impute completes them")
    return model.fill(x, observed)
