"""What is better: which models are told apart on a need, and which of them is to be taken, by the cells of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from zoo.metrics.intervals import mean_interval

SEEDS = 3  # fewer rank no model, where values vary over seeds
RULE = (
    "One model is told apart from another as better where the 95 % interval of their difference, seed by seed "
    "(Student's t, with the error of sampling the test images, image by image where the same ones were asked), leaves "
    "out 0, and the mean difference is more than matters in practice: the margin of the need. Times are measured once, "
    "and a factor of less than 2 is no difference. Of the model with the best mean and those that are behind it by no "
    "more than the margin, the one that trains in the fewest seconds is to be taken; the best itself where a need is "
    "about trainings that nobody timed. What is measured with fewer than "
    f"{SEEDS} seeds, times aside, is shown and not ranked. Likelihoods are ranked among those of the same values "
    "alone; a model that is alone with its kind is not."
)


def column(models: Mapping[str, Any], key: str) -> dict[str, Mapping[str, Any]]:
    """Of each model that has one, its cell for a need."""
    return {model: row["needs"][key] for model, row in models.items() if row["needs"][key]["seeds"]}


def alike(cell: Mapping[str, Any]) -> str | None:
    """The kind of values that a cell's can be ranked with: exact ones and bounds of 256 grey levels are of one."""
    if not cell["kind"]:
        return None
    exact, _, rest = cell["kind"].partition(", ")
    of = rest.partition(", ")[0]  # a bound says its K besides
    return of if of == "discrete" else f"{exact}, {of}"


def unranked(cells: Mapping[str, Mapping[str, Any]], about: Mapping[str, Any]) -> dict[str, str]:
    """Of the measured models of a need, ``about`` it in the table, those that are not ranked, and why."""
    found = {}
    for model, cell in cells.items():
        if cell["seeds"] < about["seeds"]:
            count = f"{cell['seeds']} {'seed' if cell['seeds'] == 1 else 'seeds'}"
            found[model] = f"measured with {count}, where {about['seeds']} are needed"
    for model, cell in cells.items():
        others = (other for other in cells if other != model and other not in found)
        if model not in found and not any(alike(cells[other]) == alike(cell) for other in others):
            found[model] = f"alone with its kind, {cell['kind']}" if cell["kind"] else "alone"
    return found


def difference(first: Mapping[str, Any], second: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any] | None:
    """By how much a cell is better than another of the same need, seed by seed.

    Args:
        first, second: cells.
        about: the need's entry in the table.

    Returns:
        ``estimate`` and ``interval``, positive where the first is better: in the need's unit, or of a relative need the
        ratio less 1, such as 0.5 for half as much again. ``interval`` is null of a single pair. None where the two
        share fewer seeds than the need asks for.
    """
    seeds = [seed for seed in first["values"] if seed in second["values"]]
    if len(seeds) < about["seeds"]:
        return None
    sign = 1 if about["better"] == "more" else -1
    pairs = [(first["values"][seed], second["values"][seed]) for seed in seeds]
    if about["relative"]:
        logs = [sign * math.log(one / other) for one, other in pairs]
        found = [math.expm1(min(value, 700.0)) for value in (sum(logs) / len(logs), *mean_interval(logs))]
    else:
        values = [sign * (one - other) for one, other in pairs]
        found = [sum(values) / len(values), *mean_interval(values, error=_error(first, second))]
    estimate, *interval = map(rounded, found)
    return {"estimate": estimate, "interval": interval if len(seeds) > 1 else None}


def _error(first: Mapping[str, Any], second: Mapping[str, Any]) -> float:
    """The standard error that test images bring into a difference: known where both were asked about the same ones one
    by one, else as if each had images of its own, which is more."""
    return first["errors"].get(second["model"], math.hypot(first["error"], second["error"]))


def rounded(value: float) -> float:
    """To six digits."""
    return float(f"{value:.6g}")


def better(first: Mapping[str, Any], second: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
    """Whether a cell is told apart from another of the same need as better, by :data:`RULE`."""
    found = difference(first, second, about) if alike(first) == alike(second) else None
    if found is None or found["estimate"] <= about["margin"]:
        return False
    return found["interval"] is None or found["interval"][0] > 0


def close(best: Mapping[str, Any], other: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
    """Whether a cell is behind the best one by no more than the margin, on the seeds that both have."""
    found = difference(best, other, about)
    return found is not None and found["estimate"] <= about["margin"]


def recommend(models: Mapping[str, Any], about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """By :data:`RULE`, for one need, a list with an entry a kind of values.

    An entry has ``kind``, or null; ``best``, the model with the best mean; ``equal``, it and those that are behind it,
    seed by seed, by no more than the margin, the quickest to train first where that was timed, else the best;
    ``choose``, the first of these; ``next``, the best of the others, or null; and ``ahead``, the :func:`difference` of
    the best from that, or null.
    """
    cells = column(models, about["key"])
    aside = unranked(cells, about)
    ranked = {model: cell for model, cell in cells.items() if model not in aside}
    found = []
    for kind in sorted({alike(cell) or "" for cell in ranked.values()}):
        same = {model: cell for model, cell in ranked.items() if (alike(cell) or "") == kind}
        best, *others = sorted(same, key=lambda model: order(same[model]["estimate"], about["better"]))
        equal = [best, *(model for model in others if close(same[best], same[model], about))]
        if about["timed"]:
            equal.sort(key=lambda model: (seconds_of(models[model]), model != best))
        following = next((model for model in others if model not in equal), None)
        ahead = difference(same[best], same[following], about) if following else None
        found.append(
            {"kind": kind or None, "best": best, "equal": equal, "choose": equal[0], "next": following, "ahead": ahead}
        )
    return found


def order(value: float, better: str) -> float:
    """What sorts the better value first."""
    return -value if better == "more" else value


def seconds_of(row: Mapping[str, Any]) -> float:
    """Of a model's training; infinite where it was not measured."""
    seconds = row["needs"]["training"]["estimate"]
    return math.inf if seconds is None else seconds
