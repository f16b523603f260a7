"""A model from a file's options costs no more than the weights that the file holds, whatever the options say.

Options of a few bytes may ask for billions of weights. So each operation of a constructor is tried on tensors without
values first, and what it would make is compared with what there is to be loaded; that holds for any constructor, since
the operation is then carried out as it stands. Modules are counted, too: a model of ten million layers is never full.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map_only

from zoo.errors import CheckpointError

AT_ONCE = 2**26  # values of a tensor that a constructor may make in any case, and of buffers, which need not be stored
AT_ALL = 2**29  # values that it may make in all, most of which are gone at once
TIMES = 32  # the weights that there are: what making them goes through
STEP = 2**14  # values that an operation counts for whatever it makes: there are no endless loops of them
MODULES = 1024  # in any case, and some for each tensor
MORE = "its options ask for more weights, or work, than the file holds"
WEIGHTS = 2**16  # parameters in any case, and twice those that there are: some are stored once and used twice


class _Bounded(TorchDispatchMode):
    """Raises ``CheckpointError`` before a tensor is made that is too large for a model of so many values."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # to be skipped by the compiler means to import it, for a second: nothing is compiled here

    def __init__(self, values: int) -> None:
        super().__init__()
        self.at_once = AT_ONCE + 4 * values
        self.left = AT_ALL + TIMES * values
        self._known: dict[Any, int] = {}  # what operations make: loops repeat them

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        plain = (bool, int, float, str, type(None), torch.dtype)
        parts = (part.shape if isinstance(part, Tensor) else part if isinstance(part, plain) else type(part)
                 for part in tree_iter((args, kwargs)))  # fmt: skip
        key = (func, *parts)
        made = self._known.get(key)
        if made is None:
            made = self._known[key] = _size(func, args, kwargs)
        self.left -= made + STEP
        if made > self.at_once or self.left < 0:
            raise CheckpointError(MORE)
        return func(*args, **kwargs)


def _size(func: Any, args: Any, kwargs: Any) -> int:
    """How many values an operation will make; none where they are those of what it is given, or come to no more."""
    if func.is_view or any(argument.alias_info is not None for argument in func._schema.arguments):
        return 0
    # where shapes tell, it need not be tried: it is quicker, and to try some the first time imports the compiler
    if getattr(torch.Tag, "reduction", None) in func.tags:
        return 0
    if func is torch.ops.aten.linalg_qr.default and "complete" not in args:
        return 2 * args[0].numel()
    shapes = [reversed(part.shape) for part in tree_iter((args, kwargs)) if isinstance(part, Tensor)]
    if torch.Tag.pointwise in func.tags:
        return math.prod(map(max, zip_longest(*shapes, fillvalue=1)))
    sizes = next((argument for argument in args if isinstance(argument, (list, tuple))), None)
    if not shapes and sizes is not None:
        return math.prod(sizes)
    args, kwargs = tree_map_only(Tensor, lambda tensor: tensor.to("meta"), (args, kwargs))
    if "device" in kwargs:
        kwargs = {**kwargs, "device": "meta"}
    try:
        made = func(*args, **{**kwargs, "generator": None} if "generator" in kwargs else kwargs)
    except Exception:  # what its values say: how many are above zero, say. Or it fails, and will in earnest
        return 0
    return sum(tensor.numel() for tensor in tree_iter(made) if isinstance(tensor, Tensor))


def check_loadable(model: nn.Module) -> None:
    """Raise ``ValueError`` for a model that could be trained and written, and would be taken for one that asks too
    much: what it does not store is larger by far than what it does."""
    stored = {value.data_ptr(): value.numel() for value in model.state_dict().values()}
    most = AT_ONCE + 4 * sum(stored.values())
    largest = sum(value.numel() for value in model.buffers() if value.data_ptr() not in stored)
    if largest > most:
        raise ValueError(
            f"{largest:,} values that are not stored, at most {most:,} beside its weights can be loaded again"
        )


@contextlib.contextmanager
def bounded(values: int, tensors: int) -> Iterator[None]:
    """Inside, a model that is made is one of about so many ``values`` in so many ``tensors``.

    Raises ``CheckpointError`` as soon as it is going to be larger by far.
    """
    modules, weights, buffers = MODULES + 4 * tensors, WEIGHTS + 2 * values, AT_ONCE + 4 * values
    here = threading.get_ident()  # the hooks are of the whole process, in which others may make modules, too

    def module(*_: object) -> None:
        nonlocal modules
        modules -= threading.get_ident() == here
        if modules < 0 and threading.get_ident() == here:
            raise CheckpointError("its options ask for more layers than the file holds")

    def parameter(_: nn.Module, __: str, value: Tensor | None) -> None:
        nonlocal weights
        weights -= 0 if value is None or threading.get_ident() != here else value.numel()
        if weights < 0 and threading.get_ident() == here:
            raise CheckpointError(MORE)

    def buffer(_: nn.Module, __: str, value: Tensor | None) -> None:
        nonlocal buffers
        buffers -= 0 if value is None or threading.get_ident() != here else value.numel()
        if buffers < 0 and threading.get_ident() == here:
            raise CheckpointError(MORE)

    counting = [
        registration.register_module_module_registration_hook(module),
        registration.register_module_parameter_registration_hook(parameter),
        registration.register_module_buffer_registration_hook(buffer),
    ]
    try:
        with _Bounded(values):
            yield
    finally:
        for hook in counting:
            hook.remove()
