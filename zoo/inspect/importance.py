"""A picture of which columns matter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo.inspect.figures import BLUE, LIGHT, ORANGE, blank

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 30  # columns
LONGEST = 40  # characters of a column's name


def importance_figure(importance: Mapping[str, Any]) -> Figure:
    """What :func:`zoo.tasks.importance.measure` tells, the most important columns on top: a bar a column, its standard
    deviation as a line, and beside it the model's own numbers, where there are any."""
    shown = dict([*importance["columns"].items()][:SHOWN])
    names = [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in shown]
    own, places = importance["own"], range(len(shown))
    figure = blank(5 + 3.2 * bool(own) + 0.07 * max(map(len, names)), 1.2 + 0.24 * len(shown))
    axes = figure.subplots(1, 1 + bool(own), squeeze=False, width_ratios=(3, 2)[: 1 + bool(own)])[0]
    drops, stds = ([row[key] for row in shown.values()] for key in ("drop", "std"))
    axes[0].barh(places, drops, xerr=stds, color=BLUE, ecolor="black", error_kw={"linewidth": 1})
    score, value = importance["score"], importance["value"]
    axes[0].set(xlabel=f"fall of {score} from {value:.3f}", title="Each column in random order")
    if own:
        values = [row["own"] for row in shown.values()]
        axes[1].barh(places, values, color=[ORANGE if value < 0 else LIGHT for value in values])
        axes[1].set(xlabel=own, title="The model's own numbers")
    for number, part in enumerate(axes):
        part.set_ylim(len(shown) - 0.5, -0.5)
        part.set_yticks(places, ["" if number else name for name in names])
        part.axvline(0, color="black", linewidth=1)
        part.tick_params(axis="y", length=0)
        part.spines[["top", "right", "left"]].set_visible(False)
    return figure
