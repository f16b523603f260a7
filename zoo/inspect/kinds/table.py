"""Rows of tables: how the cells of samples are distributed, and in what mistakes are unusual."""

from __future__ import annotations

import itertools
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zoo import capability
from zoo.base.model import Model
from zoo.data.kinds import table
from zoo.data.splits import Split
from zoo.inspect import markdown
from zoo.inspect.figures import LIGHT, ORANGE, blank
from zoo.inspect.kinds import worst
from zoo.questions.sample import sample

STRANGEST = 5  # cells of a row that are shown
MOST_COLUMNS, ACROSS, MOST_CATEGORIES = 20, 4, 6  # columns, panels side by side, categories that are shown
LEAST_SAMPLES = 1000  # that a distribution is drawn of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learnt(model: Model, split: Split) -> dict[str, Figure | str]:
    """``columns``: how the cells of samples are distributed, and those of ``split``; empty without samples."""
    return {"columns": columns_figure(model, split)} if capability.can(model, "sample") else {}


def mistakes(model: Model, split: Split, log_proba: Tensor, limit: int) -> str:
    """The most confident errors among the rows of a table, in Markdown: what they are, what they were taken for, and
    the cells in which they differ most from the training rows.

    That is in standard deviations: of a number its own, of a category √((1 − f) / f), where f is its share among the
    training rows, for that is how far 1 is from the mean f of such an entry.
    """
    spec = model.spec
    wrong, predicted, confidence = worst(split, log_proba, limit)
    rows = split.take(wrong)
    mean, std = (torch.tensor(values).double() for values in (spec.mean, spec.std))
    distance = (rows.x().double().flatten(1) - mean) / std
    for places in spec.categories:
        there = rows.x().flatten(1)[:, places] == 1
        share = mean[places].clamp_min(1e-6)
        distance[:, places] = torch.where(there, ((1 - share) / share).sqrt(), 0)
    blocks = [(column.name, places) for column, places in spec.blocks if not column.gaps_of]
    strange = torch.stack([distance[:, places].nan_to_num(0).abs().amax(1) for _, places in blocks], 1)
    shown = strange.topk(min(STRANGEST, len(blocks)), 1)
    cells = table.cells(rows.images, spec)
    lines = []
    for row, (label, guess) in enumerate(zip(rows.labels.tolist(), predicted.tolist(), strict=True)):
        told = [
            f"{blocks[place][0]} {_plain(cells.iat[row, place])} ({far:.1f} sd)"
            for place, far in zip(shown.indices[row].tolist(), shown.values[row].tolist(), strict=True)
            if far > 0
        ]
        line = spec.class_names[label], spec.class_names[guess], f"{confidence[row]:.1%}", ", ".join(told)
        lines.append([markdown.escaped(cell) for cell in line])
    return markdown.table(("true", "taken for", "probability", "most unusual in"), lines)


def _plain(cell: Any) -> str:
    return f"= {cell}" if isinstance(cell, str) else f"= {cell:.6g}"


def columns_figure(model: Model, split: Split, seed: int = 0) -> Figure:
    """Cells of a split, and as many of samples, always the same: a panel for each of the first 20 columns. Numbers are
    shown from their 1st to their 99th percentile in the split, of categories the six most frequent ones."""
    drawn = sample(model, max(len(split), LEAST_SAMPLES), generator=capability.seeded(model, seed))
    real, made = (table.cells(stored, model.spec) for stored in (split.images, table.encode(drawn)))
    names = list(real)[:MOST_COLUMNS]
    texts = {column.name for column in model.spec.columns if column.categories}
    rows = -(-len(names) // ACROSS)
    figure = blank(2.6 * ACROSS, 1.9 * rows + 0.5)
    panels = figure.subplots(rows, ACROSS, squeeze=False).flat
    for axes, name in itertools.zip_longest(panels, names):
        if name is None:
            axes.set_axis_off()
            continue
        cells = [side[name].dropna() for side in (real, made)]
        axes.set_title(textwrap.shorten(str(name), 28, placeholder="…"), fontsize=9)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
        if name in texts:
            _draw_categories(axes, cells)
        elif len(cells[0]):
            bins = np.histogram_bin_edges(cells[0], 20, tuple(np.percentile(cells[0], (1, 99))))
            axes.hist(cells[0], bins, density=True, color=LIGHT)
            axes.hist(cells[1], bins, density=True, histtype="step", color=ORANGE, linewidth=1.5)
            axes.set_yticks([])
    from matplotlib.patches import Patch

    handles = [Patch(color=LIGHT, label="test rows"), Patch(fill=False, edgecolor=ORANGE, label="samples")]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False)
    return figure


def _draw_categories(axes: Any, cells: list[Any]) -> None:
    """Shares of the most frequent categories, in the data and in samples."""
    shares = [side.value_counts(normalize=True) for side in cells]
    shown = list(shares[0].index[:MOST_CATEGORIES])[::-1]
    places = np.arange(len(shown))
    real, made = ([side.get(category, 0.0) for category in shown] for side in shares)
    axes.barh(places, real, 0.8, color=LIGHT)
    axes.barh(places, made, 0.8, fill=False, edgecolor=ORANGE, linewidth=1.2)
    axes.set_yticks(places, [textwrap.shorten(category, 18, placeholder="…") for category in shown])
