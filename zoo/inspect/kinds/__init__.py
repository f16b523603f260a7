"""What a user watches of each kind of examples: a module a kind, found by its name, see :mod:`zoo.data.kinds`.

A kind without a module of its own is shown as pictures are, which every kind can be drawn as.

================  =====================================================================================================
``samples``       ``samples(model)``: the same ones at each call, as a figure, or as text; of pictures and of tokens
``learnt``        ``learnt(model, split) -> {name: figure}``: what a model has learnt, as far as it can be asked, and
                  examples of ``split`` where there is something to compare with. Text is Markdown
``mistakes``      ``mistakes(model, split, log_proba, limit)``: those that :func:`worst` finds, as a figure, or as text
``heard``         only of what can be heard: ``heard(model, split, log_proba) -> {name: recording}``, samples and,
                  unless ``log_proba`` is None, mistakes, ``(L,)`` from -1 to 1
================  =====================================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from zoo import found
from zoo.base.model import Model
from zoo.data.splits import Split

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Shown(Protocol):
    """What the module of a kind has, see above."""

    def samples(self, model: Model) -> Figure | str: ...

    def learnt(self, model: Model, split: Split) -> dict[str, Figure | str]: ...

    def mistakes(self, model: Model, split: Split, log_proba: Tensor, limit: int) -> Figure | str: ...


def find(kind: str) -> Shown:
    """The module of a kind, or that of pictures."""
    own = kind if kind in found.names(__name__) else "image"
    return found.find(__name__, own, "kind of data", "kinds")


def worst(split: Split, log_proba: Tensor, limit: int) -> tuple[Tensor, Tensor, Tensor]:
    """The most confident errors: which examples, what they were taken for, and with what probability."""
    confidence, predicted = log_proba.exp().max(1)
    wrong = (predicted != split.labels).nonzero()[:, 0]
    worst = wrong[confidence[wrong].argsort(descending=True, stable=True)][:limit]
    return worst, predicted[worst], confidence[worst]
