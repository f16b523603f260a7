"""Where measured benchmarks are kept, and how they are shown: a file a machine, a table a benchmark."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from zoo import plain
from zoo.errors import ConfigError
from zoo.files import write_json
from zoo.run import machine

FORMAT = 1
SAME = ("device", "gpu", "cpu", "cpus", "system")  # what two results of one machine agree on


def describe(device: torch.device) -> dict[str, Any]:
    """``machine``, with its number of CPUs, ``versions`` and ``revision``."""
    description = machine.describe(device)
    affinity = getattr(os, "sched_getaffinity", None)  # a container may use fewer than there are
    description["machine"]["cpus"] = len(affinity(0)) if affinity else os.cpu_count()
    return description


def slug(of: Mapping[str, Any]) -> str:
    """A machine's name, fit for a path, such as ``intel-xeon-2.80ghz-2cpu``."""
    name = of["gpu"] or f"{of['cpu']} {of['cpus']}cpu"
    name = re.sub(r"\((?:r|tm|c)\)|\b(?:cpu|processor)\b", " ", name.lower())
    return "-".join(re.findall(r"[\w.]+", name))


def read(path: Path, of: Mapping[str, Any]) -> dict[str, Any]:
    """The results in ``path``; none yet, where there is no such file.

    Args:
        path: what :func:`add` wrote.
        of: the machine that further results shall be from.

    Raises:
        ConfigError: ``path`` is no such file, or is of another machine.
    """
    if not path.is_file():
        return {"format": FORMAT, "machine": dict(of), "benchmarks": {}}
    results = plain.read_json(path, ConfigError)
    shape = {"format": lambda value: value == FORMAT, "machine": dict, "benchmarks": {str: dict}}
    if plain.shape_of(results, shape):
        raise ConfigError(f"{path} does not hold benchmarks of format {FORMAT}")
    there, here = ([values.get(key) for key in SAME] for values in (results.get("machine", {}), of))
    if there != here:
        raise ConfigError(f"{path} is of another machine: give another file, out=…")
    return results


def add(path: Path, name: str, entry: Mapping[str, Any], description: Mapping[str, Any]) -> dict[str, Any]:
    """Put a benchmark into ``path``, in the place of an earlier one of its name, and leave the others as they are.

    Args:
        path: the file; it is made with its directory.
        name: the benchmark's.
        entry: what :func:`zoo.benchmarks._benchmark.measure` gave, ``command`` and ``threads``.
        description: from :func:`describe`; the entry keeps its versions and its revision.

    Returns:
        All that the file holds now.

    Raises:
        ZooError: the file is of another kind or machine, or cannot be written.
    """
    results = read(path, description["machine"])
    own = {key: description[key] for key in ("versions", "revision")}
    benchmarks = results["benchmarks"] | {name: {**entry, **own}}
    results = {"format": FORMAT, **description, "benchmarks": benchmarks}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path.parent} cannot be made: {error.strerror}") from error
    write_json(path, results)
    return results


def figure(value: float | None) -> str:
    """A number in few characters."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def ratio(value: float | None, compare: str) -> str:
    if value is None:
        return ""
    return (f"{value:.3f}" if compare == "overhead" else figure(value)) + "×"


def judgement(entry: Mapping[str, Any]) -> str:
    """What the way or ways that have a bar did, and the bar: ``"121× (bar ≥ 100: met)"``; empty where there is none."""
    if entry["bar"] is None:
        return ""
    ways = [entry["ways"][way] for way in entry["ours"]]
    if entry["compare"] == "none":
        reached = ", ".join(f"{figure(way['median'])} {entry['unit']}" for way in ways)
    else:
        reached = ", ".join(ratio(way["ratio"], entry["compare"]) for way in ways)
    return f"{reached} (bar {entry['bar']}: {'met' if entry['met'] else 'missed'})"


def table(name: str, entry: Mapping[str, Any]) -> Table:
    """Median, smallest and largest value of each way, and its ratio to the first, in 80 columns."""
    shares = any("roofline" in way["facts"] for way in entry["ways"].values())
    compares = entry["compare"] != "none"
    shown = Table(title=f"{name}: {entry['title']}", caption=judgement(entry) or None, title_justify="left", width=80)
    shown.add_column("", ratio=1, overflow="fold")
    for column in (entry["unit"], "min", "max", *([entry["compare"]] * compares), *(["of roofline"] * shares)):
        shown.add_column(column, justify="right", no_wrap=True)
    for way, values in entry["ways"].items():
        cells = [figure(values[key]) for key in ("median", "min", "max")]
        if compares:
            cells.append(ratio(values["ratio"], entry["compare"]))
        if shares:
            share = values["facts"].get("roofline")
            cells.append("" if share is None else f"{share:.1%}")
        shown.add_row(way, *cells)
    return shown
