"""What every model of the zoo carries."""

from __future__ import annotations

import contextlib
import math
import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo import found, notebook
from zoo.base.fill import filling, local_mean
from zoo.spec import DataSpec

# values of a batch that is asked about; layers that make more of them outgrow a CPU's caches, and are slower for it
AT_ONCE, AT_ONCE_ON_CPU = 2**22, 2**19
TEXTS_AT_ONCE = 256
COLUMNS = 80  # of what is told of a model
MORE = "print(model) shows its layers"


class Model(nn.Module):
    """A module that knows its data, and how it was built. ``@register`` gives its class a name.

    >>> import zoo
    >>> isinstance(zoo.create("gmm"), zoo.Model)
    True

    Attributes:
        spec: the data it was made for.
        config: ``name``, ``spec`` and ``options``, plain data, set by ``zoo.create``.
        resolves: options that may be paths of files to read, once: in a file of its own, a model has none.
        resolved: what was read from there, as plain data: ``config`` has these in their place.
        marginalises: whether hidden entries can be integrated out: ``log_prob`` and ``classify`` take ``observed``.
        unless: of one that does not: what would, to end an error message.
        fills_gaps: whether it is meant to be asked about examples whose missing entries have been filled in.
        encodes_gaps: whether its ``encode`` and ``reconstruct`` take ``observed``.
        learns_from_gaps: whether it can be trained on examples of which entries are missing.
        bytes_an_example: what training by gradient keeps of each example of a batch, of models that keep a lot.
        lighter: what makes it smaller for large examples, to end an error message.
        notes: sentences on what was chosen where options leave it to the data, for whoever trains it.
        takes: the kinds of values it can be made for, see :attr:`zoo.DataSpec.values`.
        kinds: the kinds of examples it can be made for, see :mod:`zoo.data.kinds`; None: any.
        outer: submodules, by their dotted names, whose outputs are no hidden layer: their weights are not for Muon.
    """

    spec: DataSpec
    config: dict[str, Any]
    resolves: tuple[str, ...] = ()
    resolved: Mapping[str, Any] = {}
    marginalises: bool = False
    unless: str = ""
    fills_gaps: bool = False
    encodes_gaps: bool = False
    learns_from_gaps: bool = False
    takes: tuple[str, ...] = ("grey",)
    kinds: tuple[str, ...] | None = None
    outer: tuple[str, ...] = ("head",)
    bytes_an_example: float = 0.0
    lighter: str = "a smaller data.image_size makes it fit"
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its registered name, for messages; its class where it has none."""
        return getattr(self, "config", {}).get("name") or type(self).__name__

    def __repr__(self) -> str:
        """What it is, in a few lines; ``print(model)`` shows its layers."""
        told = textwrap.wrap(f"{self.name}({self._options()})", COLUMNS, subsequent_indent=" " * 4)
        for key, value in self._facts().items():
            told += textwrap.wrap(str(value), COLUMNS, initial_indent=f"  {key:<12}", subsequent_indent=" " * 14)
        return "\n".join([*told, f"  {MORE}"])

    def _repr_html_(self) -> str:
        """For a notebook."""
        facts = {"model": self.name, "options": self._options(), **self._facts()}
        return notebook.table(facts.items(), more=[MORE])

    def _options(self) -> str:
        chosen = getattr(self, "config", {}).get("options", {})
        # an option may be another model's config, which holds its data's vocabulary
        told = {key: value.get("name") if isinstance(value, Mapping) else value for key, value in chosen.items()}
        return ", ".join(f"{key}={value!r}" for key, value in told.items())

    def _facts(self) -> dict[str, object]:
        facts = {"data": getattr(self, "spec", None), "log_prob": getattr(self, "density", None)}
        facts["parameters"] = f"{self.num_parameters:,}, on {self.device}"
        # questions know models, and not the other way round
        answers: dict[str, str] = found.find("zoo", "capability", "module", "modules").capabilities(self)[self.name]
        asked = [name if how == "native" else f"{name} ({how})" for name, how in answers.items() if how != "no"]
        facts["answers"] = ", ".join(asked)
        return {name: value for name, value in facts.items() if value is not None}

    def __str__(self) -> str:
        return nn.Module.__repr__(self)

    @property
    def device(self) -> torch.device:
        """Where its tensors are; the CPU where it has none."""
        return next((tensor.device for tensor in self._tensors()), torch.device("cpu"))

    @property
    def examples_at_once(self) -> int:
        """How many examples to ask it about at a time: as many as hold a bounded number of values."""
        if self.spec.values == "counts":  # which are not laid out
            return TEXTS_AT_ONCE
        values = AT_ONCE_ON_CPU if self.device.type == "cpu" else AT_ONCE
        each = len(self.spec.vocabulary) if self.spec.values == "tokens" else 1  # a probability of each symbol
        return max(1, values // max(math.prod(self.spec.shape) * each, 1))

    @property
    def num_parameters(self) -> int:
        """How many numbers training sets; of what is counted there are none before."""
        counted = sum(getattr(module, "num_counts", 0) for module in self.modules())
        return counted + sum(parameter.numel() for parameter in self.parameters())

    def _tensors(self) -> Iterator[Tensor]:
        yield from self.parameters()
        yield from self.buffers()

    def fill(self, x: Tensor, observed: Tensor, how: str | None = None) -> Tensor:
        """Examples with something in the place of what was not ``observed``, see :func:`zoo.base.fill.filling`.

        Args:
            x: examples ``(B, C, H, W)``.
            observed: bool, broadcastable to them.
            how: ``"local"``: each pixel's mean of the seen ones around it; ``"mean"``: the training mean; if left out,
                the one for pictures, the other for what has no neighbours.

        Raises:
            ZooError: another word, or pixels around where there are none.
        """
        mean = torch.tensor(self.spec.mean, dtype=x.dtype, device=x.device).view(1, *self.spec.statistics_shape)
        local = filling(how, self.spec) == "local"
        return local_mean(x, observed, mean) if local else torch.where(observed, x, mean)

    @classmethod
    def renewed(cls, name: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """What a checkpoint of an earlier version calls ``name`` and ``options``, as they are called now."""
        return name, options

    if TYPE_CHECKING:  # what a model can be asked depends on the model: see zoo.questions

        def __getattr__(self, name: str) -> Any: ...


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients inside; the modes of all submodules are restored afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():  # not inference_mode: what comes out may be trained on
            yield
    finally:
        for module, training in modes:
            module.training = training
