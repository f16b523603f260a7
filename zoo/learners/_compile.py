"""The training step's calls, compiled by ``torch.compile``; what cannot be compiled is said in one line."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch

from zoo.base.model import Model
from zoo.errors import ConfigError

# random numbers are those of the run that is not compiled; a part that is left out would go unnoticed
COMPILER: dict[str, Any] = {"backend": "inductor", "options": {"fallback_random": True}, "fullgraph": True}


def compiled_view(model: Model, parts: Iterable[str]) -> Model:
    """A model that shares all its tensors with ``model`` and has some ``parts`` compiled.

    ``model`` stays as it is, with its names, for checkpoints, and for validation and pictures, whose numbers of images
    would each be compiled anew. A training's two sizes of batches are two compilations, the second for any size.

    Args:
        model: where it is to run, in the mode in which it is to run.
        parts: names of submodules, whose call is compiled but not their ``forward``; of methods; or ``""``: the model.
    """
    view = _shallow(model)
    for part in parts:
        if not part:
            view.compile(**COMPILER)
        elif part in model._modules:
            view._modules[part] = _shallow(model.get_submodule(part))
            view.get_submodule(part).compile(**COMPILER)
        else:
            setattr(view, part, torch.compile(getattr(view, part), **COMPILER))
    return view


def _shallow(module: Any) -> Any:
    twin = copy.copy(module)  # whose parameters and buffers are in the same dictionaries
    twin._modules = dict(module._modules)
    return twin


def check_compiler(device: torch.device) -> None:
    """Raise ``ConfigError`` where this machine lacks what inductor generates code with."""
    if COMPILER["backend"] != "inductor":
        return
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        if not has_triton():
            raise ConfigError("compile=true needs Triton and a GPU that it can compile for: leave compile out")
        return
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise ConfigError("compile=true needs a C++ compiler: install g++, or name one in CXX") from error


def explained(step: Callable[..., Any], name: str) -> Callable[..., Any]:
    """``step``, which calls compiled parts of a model called ``name``; what cannot be compiled is a ``ConfigError``."""
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import CppCompileError
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

    refused = f"compile=true: this {name} cannot be compiled, leave compile out"

    @functools.wraps(step)
    def call(*arguments: Any) -> Any:
        try:
            return step(*arguments)
        except GuardOnDataDependentSymNode as error:
            raise ConfigError(f"{refused}: what it does depends on the labels of a batch") from error
        except (TorchDynamoException, CppCompileError) as error:
            lines = str(error).splitlines()
            reasons = [line.partition("Explanation:")[2] for line in lines if "Explanation:" in line] or lines[:1]
            raise ConfigError(f"{refused}: {reasons[0].strip()}") from error

    return call
