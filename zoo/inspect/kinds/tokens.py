"""Texts: the words that tell most, worst mistakes with the words that misled the model, and samples."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo import capability
from zoo.base.model import Model, evaluating
from zoo.data.splits import Split
from zoo.inspect.figures import BLUE, GREY, blank, short

GROUPS, ACROSS = 10, 5  # classes that are shown at most, and side by side
WORDS = 20  # of a class
LONGEST = 24  # characters of a word that are shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learnt(model: Model, split: Split) -> dict[str, Figure | str]:
    """``words``, of a model with coefficients: those that tell most of each class; and ``samples``, as text."""
    figures: dict[str, Figure | str] = {}
    if hasattr(model, "coefficients") and model.spec.num_classes > 1:
        with evaluating(model):
            figures["words"] = words_figure(telling(model.coefficients().cpu().double()), model.spec)
    return figures


def telling(coefficients: Tensor) -> Tensor:
    """How much more a term says for each class than for the others on average, ``(K, V)``, in nats: of two classes the
    log odds that it adds."""
    count = len(coefficients)
    return (count * coefficients - coefficients.sum(0)) / (count - 1)


def words_figure(values: Tensor, spec: Any) -> Figure:
    """The terms that say most for each of the first ten classes, see :func:`telling`, a bar each, the first on top. The
    share of training texts that have a term stands beside its bar: whether many texts stand behind it or two."""
    shown = values[:GROUPS]
    columns = min(ACROSS, len(shown))
    rows = -(-len(shown) // columns)
    figure = blank(3.1 * columns + 0.4, rows * (0.7 + 0.19 * WORDS))
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).flat
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    most = float(shown.max())
    for axes, row, name in zip(panels, shown, spec.class_names, strict=False):
        best = row.topk(min(WORDS, len(row)))
        ids = best.indices[best.values > 0].tolist()
        places = range(len(ids))
        axes.barh(places, row[ids].numpy(), 0.75, color=BLUE)
        axes.set_yticks(places, [_fitting(spec.vocabulary[term]) for term in ids], fontsize=8)
        for place, term in zip(places, ids, strict=True):
            share = f" {spec.mean[term]:.2g}".rstrip("0")
            axes.text(float(row[term]), place, f" {100 * spec.mean[term]:.2g} %", va="center", fontsize=6, color=GREY)
        axes.set(ylim=(WORDS - 0.4, -0.6), xlim=(0, 1.15 * most), title=short(name))
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("what a word says for the class, against the others; share of training texts that have it", fontsize=8)
    return figure


def _fitting(word: str) -> str:
    return word if len(word) <= LONGEST else f"{word[: LONGEST - 1]}…"
