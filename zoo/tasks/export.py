"""A trained model as a file that other programs run: ONNX, or a program of ``torch.export``.

A file answers one question for a batch of any size: which class (``classify``), what code (``encode``), what picture a
code stands for (``decode``), what picture noise becomes (``generate``), how probable (``log_prob``). Before it is
written it has been read back and asked, and has to answer as the model does.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.base.generative import Latent, has_classes
from zoo.base.model import Model, evaluating
from zoo.errors import ZooError
from zoo.files import whole_file
from zoo.spec import DataSpec

TOLERANCE = 1e-5  # absolute, and relative to the largest answer
SIZES = (3, 1, 8)  # of batches: the one that is recorded, and those it has to answer for, too
SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2"}
SEED = 0
MISSING = re.compile(r"No ONNX function found for <OpOverload\(op='(?:aten\.)?(\w+)")


@dataclass(frozen=True)
class Part:
    """What a file answers: the names of its inputs and of its output, and what they are."""

    inputs: tuple[str, ...]
    output: str
    words: str


PARTS = {
    "classify": Part(("x",), "log_probs", "log p(y | x) in nats of examples"),
    "encode": Part(("x",), "z", "codes of examples"),
    "decode": Part(("z",), "x", "examples of codes"),
    "generate": Part(("noise",), "x", "examples of standard normal noise"),
    "log_prob": Part(("x",), "log_prob", "log p(x) in nats of examples"),
}


class Question(nn.Module):
    """One method of a model as a module of its own."""

    def __init__(self, model: Model, part: str) -> None:
        super().__init__()
        self.model, self.part = model, part

    def forward(self, *inputs: Tensor) -> Tensor:
        if self.part == "generate":
            return self.model.decode(self.model.prior(inputs[0]), *inputs[1:])
        return getattr(self.model, self.part)(*inputs)


def require_numbers(model: Model) -> None:
    """Raise ``ZooError`` for a model of texts: what makes numbers of them has no place in a file of one question."""
    if model.spec.kind == "tokens":
        raise ZooError(
            f"{model.name} reads texts: what makes numbers of them, its vocabulary, has no place in such a file; "
            "format=safetensors keeps all of it"
        )


def parts_of(model: Model) -> list[str]:
    """The parts that there are of a model."""
    there = {part: hasattr(model, part) for part in PARTS}
    there |= {"generate": isinstance(model, Latent), "decode": there["decode"] and there["encode"]}
    return [part for part, is_there in there.items() if is_there]


def inputs_of(model: Model, part: str, n: int) -> dict[str, Tensor]:
    """``n`` examples, codes or noises by the names of the inputs, and classes where ``part`` takes them; the same ones
    each time."""
    generator = torch.Generator().manual_seed(SEED)
    if PARTS[part].inputs == ("x",):
        given = {"x": examples(model.spec, n, generator)}
    else:
        given = {PARTS[part].inputs[0]: torch.randn(n, model.latent_dim, generator=generator)}
    if isinstance(model, Latent) and has_classes(model) and part in ("encode", "decode", "generate"):
        given["labels"] = torch.arange(n) % model.groups
    return given


def examples(spec: DataSpec, n: int, generator: torch.Generator) -> Tensor:
    """``n`` examples ``(n, C, H, W)`` as the data could have them: pictures of noise, numbers about their means,
    categories, terms and symbols at random."""
    if spec.values in ("counts", "tokens"):
        return torch.randint(len(spec.vocabulary) or spec.shape[-1], (n, *spec.shape), generator=generator)
    if spec.values in ("grey", "binary"):
        x = torch.rand(n, *spec.shape, generator=generator)
        return x if spec.values == "grey" else x.round()
    mean, std = (torch.tensor(values).view(spec.statistics_shape) for values in (spec.mean, spec.std))
    x = (mean + std * torch.randn(n, *spec.shape, generator=generator)).expand(n, *spec.shape).clone()
    for places in spec.categories:
        chosen = torch.randint(places.stop - places.start, (n, *spec.shape[:-1]), generator=generator)
        x[..., places] = torch.nn.functional.one_hot(chosen, places.stop - places.start).to(x)
    return x


def export(model: Model, part: str, format: str, path: Path) -> float:
    """Write the answers of a model to one question as a file; how far they are from the model's own at most.

    Args:
        model: on the CPU, of numbers that any runtime has.
        part: one of :func:`parts_of`.
        format: ``"onnx"`` or ``"torch_export"``.
        path: the file, which appears whole or not at all.

    Raises:
        ZooError: the format cannot hold this part, or what it holds answers otherwise; nothing is written then.
    """
    require_numbers(model)
    if part not in parts_of(model):
        raise ZooError(f"{model.name} has no {part}: {', '.join(parts_of(model))}")
    question = Question(model, part)
    given = inputs_of(model, part, SIZES[0])
    batch = torch.export.Dim("batch", min=1)
    shapes = (tuple({0: batch} for _ in given),)
    write, answer = FORMATS[format]
    with evaluating(question), quietly():
        try:
            program = torch.export.export(question, (*given.values(),), dynamic_shapes=shapes, strict=False)
            content = write(program, [*given], PARTS[part].output)
            ask = answer(content)
            farthest = max(distance(ask, question, inputs_of(model, part, size)) for size in SIZES)
        except (RuntimeError, TypeError, ValueError, AssertionError, NotImplementedError) as error:
            raise ZooError(f"{format} cannot hold {part} of {model.name}: {_reason(error)}") from error
    if not farthest <= TOLERANCE:
        raise ZooError(
            f"{format} does not hold {part} of {model.name}: its answers differ by {farthest:.1e} from the model's"
        )
    with whole_file(path) as file:
        file.write(content)
    return farthest


def distance(ask: Callable[[dict[str, Tensor]], Tensor], question: Question, given: dict[str, Tensor]) -> float:
    """The largest difference of two answers, of the largest of the right one's values where these are above 1."""
    right, told = question(*given.values()), ask(given)
    if told.shape != right.shape:
        return math.inf
    return float((told - right).abs().max() / right.abs().max().clamp_min(1))


def _reason(error: Exception) -> str:
    """The first line that says something, of what a tracer says."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if missing := MISSING.search(str(cause)):
        return f"there is no such operator for torch's {missing[1]}"
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return (lines or [type(cause).__name__])[0][:200]


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Tracers have much to say that is of no use to anybody who exports a model."""
    levels = {name: logging.getLogger(name).level for name in ("torch.export", "torch.onnx", "onnxscript", "torch")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


# Formats: a recorded program to bytes, and bytes to what answers


def _onnx(program: Any, inputs: list[str], output: str) -> bytes:
    made = torch.onnx.export(program, dynamo=True, input_names=inputs, output_names=[output], verbose=False)
    assert made is not None
    proto = made.model_proto
    graph = proto.graph
    del graph.value_info[:]  # of what is between, in sizes of the tracer's own names
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*graph.input, *graph.output):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param == batch:
                size.dim_param = "batch"
    return proto.SerializeToString()


def _ask_onnx(content: bytes) -> Callable[[dict[str, Tensor]], Tensor]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda given: torch.from_numpy(session.run(None, {name: x.numpy() for name, x in given.items()})[0])


def _torch_export(program: Any, inputs: list[str], output: str) -> bytes:
    file = io.BytesIO()
    torch.export.save(program, file)
    return file.getvalue()


def _ask_torch_export(content: bytes) -> Callable[[dict[str, Tensor]], Tensor]:
    module = torch.export.load(io.BytesIO(content)).module()
    return lambda given: module(*given.values())


FORMATS: dict[str, tuple[Callable[..., bytes], Callable[[bytes], Callable[[dict[str, Tensor]], Tensor]]]] = {
    "onnx": (_onnx, _ask_onnx),
    "torch_export": (_torch_export, _ask_torch_export),
}
