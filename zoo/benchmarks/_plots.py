"""The results of a machine as pictures: bars of ratios, lines of growth, points under a roofline."""

from __future__ import annotations

import io
import itertools
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zoo.benchmarks._results import ratio
from zoo.files import write_bytes

Entries = Mapping[str, Mapping[str, Any]]

OURS, MISSED, BAR = "tab:blue", "tab:red", "black"
MARKERS = "os^Dv"
ROW, ABOVE = 0.32, 1.1  # inches a bar, and for title and axis
RATIOS = {
    "speedup": "Times faster than the peer (a tick marks the bar to reach; red: missed)",
    "overhead": "Time or memory over that of the reference (a tick marks the bar not to exceed; red: missed)",
}


def draw(path: Path, benchmarks: Entries) -> list[Path]:
    """Draw ``benchmarks`` beside the JSON file ``path``, each panel that they have something for; the files written."""
    panels = {name: _ratios(benchmarks, name) for name in RATIOS}
    panels |= {_slug(label): _growth(group) for label, group in _grown(benchmarks).items()}
    panels["roofline"] = _roofline(benchmarks)
    written = []
    for name, figure in panels.items():
        if figure is not None:
            picture = io.BytesIO()
            figure.savefig(picture, format="png")
            file = path.with_name(f"{path.stem}-{name}.png")
            write_bytes(file, picture.getvalue())
            written.append(file)
    return written


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained", dpi=120)  # not pyplot: no global state
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _slug(text: str) -> str:
    return "-".join(re.findall(r"\w+", text.lower()))


# Bars


def _ratios(benchmarks: Entries, compare: str) -> Figure | None:
    """A bar a way: those that have a bar to reach, or all but the first where none has."""
    rows = []
    for name, entry in benchmarks.items():
        if entry["compare"] == compare:
            first, *others = entry["ways"]
            rows += [(f"{name}: {way}\nbeside {first}", entry, way) for way in entry["ours"] or others]
    if not rows:
        return None
    figure, axes = _figure(8, ABOVE + ROW * 1.4 * len(rows))
    for place, (_, entry, way) in enumerate(rows):
        value, judged = entry["ways"][way]["ratio"], entry["bar"] is not None and way in entry["ours"]
        axes.barh(place, value, 0.6, color=MISSED if judged and not entry["met"] else OURS)
        limit = float(entry["bar"].split()[1]) if judged else None
        if limit is not None:
            axes.plot([limit, limit], [place - 0.42, place + 0.42], color=BAR, linewidth=2)
        text = ratio(value, compare)
        axes.annotate(text, (max(value, limit or 0), place), (5, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(rows)), [label for label, *_ in rows], fontsize=8)
    axes.invert_yaxis()
    axes.figure.suptitle(RATIOS[compare], fontsize=10)  # as wide as the figure: labels may be long
    if compare == "speedup":
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlim(left=min(0.8, *(entry["ways"][way]["ratio"] for _, entry, way in rows)))
    else:
        axes.axvline(1, color="grey", linewidth=1, zorder=0)
    axes.margins(x=0.15)
    return figure


# Lines


def _grown(benchmarks: Entries) -> dict[str, dict[str, Mapping[str, Any]]]:
    """The benchmarks that have an x axis, those of the same axes together."""
    groups: dict[str, dict[str, Mapping[str, Any]]] = {}
    for name, entry in benchmarks.items():
        if entry["x"]:
            groups.setdefault(f"{entry['unit']} by {entry['x_label']}", {})[name] = entry
    return groups


def _growth(group: Mapping[str, Mapping[str, Any]]) -> Figure:
    figure, axes = _figure(6.5, 4.5)
    for marker, (_, entry) in zip(itertools.cycle(MARKERS), group.items(), strict=False):
        ways = sorted(entry["x"], key=entry["x"].get)
        places = [entry["x"][way] for way in ways]
        values = [entry["ways"][way] for way in ways]
        (line,) = axes.plot(places, [value["median"] for value in values], marker=marker, label=entry["title"])
        low, high = ([value[key] for value in values] for key in ("min", "max"))
        axes.fill_between(places, low, high, color=line.get_color(), alpha=0.15)
    entry = next(iter(group.values()))
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel(entry["x_label"])
    axes.set_ylabel(entry["unit"])
    ticks = sorted({place for member in group.values() for place in member["x"].values()})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=8)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    what = f"{entry['unit']} by {entry['x_label']}: medians, shaded from the smallest to the largest value"
    axes.set_title(what, fontsize=9, loc="left")
    return figure


# Points


def _roofline(benchmarks: Entries) -> Figure | None:
    """What is computed a second over FLOP a byte, under the roof that the machine's peak and bandwidth make.

    Without FLOP, such as those of a table look-up, there is no point.
    """
    ways = [
        (f"{name.removeprefix('throughput-')} {way}", values, values["facts"])
        for name, entry in benchmarks.items()
        for way, values in entry["ways"].items()
        if values["facts"].get("flop") and values["facts"].get("peak_flop") and "," not in way
    ]
    if not ways:
        return None
    figure, axes = _figure(9, 6.5)
    places = {}
    kinds = sorted({name.split()[-1] for name, *_ in ways})
    for name, values, facts in ways:
        place = facts["flop"] / facts["bytes"], values["median"] * facts["flop"] / 1e9
        places[name] = place
        model, kind = name.rsplit(" ", 1)
        axes.plot(*place, MARKERS[kinds.index(kind) % len(MARKERS)], color=f"C{kinds.index(kind)}")
        axes.annotate(model, place, (4, 3), textcoords="offset points", fontsize=7)
    for index, kind in enumerate(kinds):
        axes.plot([], [], MARKERS[index % len(MARKERS)], color=f"C{index}", label=kind)
    left, right = min(x for x, _ in places.values()) / 2, max(x for x, _ in places.values()) * 2
    peak, bandwidth = ways[-1][2]["peak_flop"], ways[-1][2]["peak_bytes"]
    grid = [left * (right / left) ** (step / 200) for step in range(201)]
    axes.plot(grid, [min(peak, bandwidth * x) / 1e9 for x in grid], color=BAR, label="the machine's limit")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("FLOP a byte")
    axes.set_ylabel("GFLOP/s")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    text = f"peak {peak / 1e9:,.0f} GFLOP/s, bandwidth {bandwidth / 1e9:,.1f} GB/s, both measured"
    axes.set_title(f"What is reached of what the machine allows: {text}", fontsize=10, loc="left")
    assert all(math.isfinite(y) for _, y in places.values())
    return figure
