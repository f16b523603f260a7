"""What is better: which models are told apart on a need, and which of them is to be taken, by the cells of a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.metrics.intervals import mean_interval

SEEDS = 3  # fewer rank no model, where values vary over seeds
RULE = (
    "One model is told apart from another as better where the 95 % interval of their difference, seed by seed "
    "(Student's t, with the error of sampling the test images; that of accuracies image by image where the same ones "
    "were asked), leaves out 0, and the mean difference is more than matters in practice: the margin of the need. "
    "Times are measured once, and a factor of less than 2 is no difference. What differs by the same in all seeds, "
    "with no error known, is not told apart; sizes are exact. A lower bound that is less shows no worse model. Equal "
    "are the models that none is told apart from as better. Of that of them with the best mean, over the seeds that "
    "all ranked models have, and those that are behind it by no more than the margin, the one that trains in the "
    "fewest seconds is to be taken; the best itself where a need is about trainings that nobody timed. What is "
    f"measured with fewer than {SEEDS} seeds, times aside, is shown and not ranked. Likelihoods are ranked among those "
    "of the same values alone; a model that is alone with its kind is not."
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
        ratio less 1, such as 0.5 for half as much again. ``interval`` is null where nothing tells how sure it is: of a
        single pair, and where all pairs differ by the same though values are not exact. None where the two share fewer
        seeds than the need asks for.
    """
    own, others = _on_the_same(first, second), _on_the_same(second, first)
    pairs = [(value, others[seed]) for seed, value in own.items() if seed in others]
    if len(pairs) < about["seeds"]:
        return None
    sign = 1 if about["better"] == "more" else -1
    if about["relative"]:
        values, error = [sign * math.log(one / other) for one, other in pairs], 0.0
    else:
        values, error = [sign * (one - other) for one, other in pairs], _error(first, second)
    found = [sum(values) / len(values), *mean_interval(values, error=error)]
    if about["relative"]:
        found = [math.expm1(min(value, 700.0)) for value in found]
    estimate, *interval = map(rounded, found)
    alike = not error and len(set(map(rounded, values))) == 1
    known = len(pairs) > 1 and (about["exact"] or not alike)
    return {"estimate": estimate, "interval": interval if known else None}


def _on_the_same(cell: Mapping[str, Any], other: Mapping[str, Any]) -> Mapping[str, float]:
    """A cell's values by seed; where the other was asked about fewer of its test images, on these."""
    return cell["common"].get(other["model"], cell["values"])


def _error(first: Mapping[str, Any], second: Mapping[str, Any]) -> float:
    """The standard error that test images bring into a difference: known where both were asked about the same ones one
    by one, else as if each had images of its own, which is more."""
    return first["errors"].get(second["model"], math.hypot(first["error"], second["error"]))


def rounded(value: float) -> float:
    """To six digits."""
    return float(f"{value:.6g}")


def better(first: Mapping[str, Any], second: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
    """Whether a cell is told apart from another of the same need as better, by :data:`RULE`."""
    if alike(first) != alike(second) or is_bound(second):
        return False
    found = difference(first, second, about)
    if found is None or found["estimate"] <= about["margin"]:
        return False
    return about["seeds"] == 1 if found["interval"] is None else found["interval"][0] > 0


def is_bound(cell: Mapping[str, Any]) -> bool:
    """Whether the values are lower bounds of what is asked."""
    return (cell["kind"] or "").startswith("lower bound")


def close(best: Mapping[str, Any], other: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
    """Whether a cell is behind the best one by no more than the margin, on the seeds that both have."""
    found = difference(best, other, about)
    return found is not None and found["estimate"] <= about["margin"]


@dataclass(frozen=True)
class Standing:
    """How models stand on a need.

    Attributes:
        ordered: all, that with the best mean over the seeds that all of them have first.
        equal: those of them that none is told apart from as better.
        near: those of these that are behind the first of them by no more than the margin, it included.
    """

    ordered: Sequence[str]
    equal: Sequence[str]
    near: Sequence[str]


def standing(cells: Mapping[str, Mapping[str, Any]], about: Mapping[str, Any]) -> Standing:
    """The order of models of one kind that are ranked on a need, ``about`` it in the table, by their cells."""
    ordered = sorted(cells, key=_mean_of_shared(cells, about))
    equal = [model for model in ordered if not any(better(other, cells[model], about) for other in cells.values())]
    equal = equal or ordered[:1]
    near = [model for model in equal if model == equal[0] or close(cells[equal[0]], cells[model], about)]
    return Standing(ordered, equal, near)


def _mean_of_shared(cells: Mapping[str, Mapping[str, Any]], about: Mapping[str, Any]) -> Callable[[str], float]:
    """What sorts the better model first: the mean over the seeds that all have; over its own where these are too few to
    rank by."""
    shared = set.intersection(*(set(cell["values"]) for cell in cells.values()))
    sign = -1 if about["better"] == "more" else 1

    def key(model: str) -> float:
        cell = cells[model]
        if len(shared) < about["seeds"]:
            return sign * cell["estimate"]
        return sign * sum(cell["values"][seed] for seed in sorted(shared)) / len(shared)

    return key


def recommend(models: Mapping[str, Any], about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """By :data:`RULE`, for one need, a list with an entry a kind of values.

    An entry has ``kind``, or null; ``best``, the model with the best mean of those that none is told apart from as
    better; ``equal``, all of these, those that are behind the best by no more than the margin first, of them the
    quickest to train where that was timed, else the best; ``open``, those of ``equal`` that are behind by more;
    ``choose``, the first of ``equal``; ``next``, the best of the others that ``choose`` can be compared with, or null;
    and ``ahead``, the :func:`difference` of ``choose`` from that, or null.
    """
    cells = column(models, about["key"])
    aside = unranked(cells, about)
    ranked = {model: cell for model, cell in cells.items() if model not in aside}
    return [
        _entry(models, {model: cell for model, cell in ranked.items() if (alike(cell) or "") == kind}, about)
        for kind in sorted({alike(cell) or "" for cell in ranked.values()})
    ]


def _entry(
    models: Mapping[str, Any], cells: Mapping[str, Mapping[str, Any]], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Of :func:`recommend`, for ranked models of one kind."""
    found = standing(cells, about)
    near = sorted(found.near, key=lambda model: seconds_of(models[model])) if about["timed"] else list(found.near)
    behind = [model for model in found.equal if model not in near]
    take = near[0]
    leads = {model: difference(cells[take], cells[model], about) for model in found.ordered if model not in found.equal}
    following = next((model for model, lead in leads.items() if lead and lead["estimate"] > 0), None)
    return {
        **{"kind": alike(cells[take]), "best": found.equal[0], "equal": [*near, *behind], "open": behind},
        **{"choose": take, "next": following, "ahead": leads[following] if following else None},
    }


def seconds_of(row: Mapping[str, Any]) -> float:
    """Of a model's training; infinite where it was not measured."""
    seconds = row["needs"]["training"]["estimate"]
    return math.inf if seconds is None else seconds
