"""Which model to choose: the rules that read the table of :mod:`zoo.textbook.needs`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo import plain
from zoo.errors import ConfigError, DataError, ZooError, did_you_mean
from zoo.textbook.needs import DATA, UNKNOWN, Table, nearest, order, seconds_of
from zoo.textbook.words import ordinal, spelled

RANKING = (
    "Of the models within the limits that are measured on every need: a need gives its best model 1, its last 0, and "
    "those between by their rank; the mean over the needs decides, then the seconds of training."
)


@dataclass(frozen=True)
class Limits:
    """What a model must keep to be considered at all. None: no limit.

    Attributes:
        seconds: of training, at most.
        mib: of its file, at most.
        speed: images classified a second, at least.
        can: what it must be able to do, native or derived; names of :mod:`zoo.capability`.
    """

    seconds: float | None = None
    mib: float | None = None
    speed: float | None = None
    can: Sequence[str] = ()


@dataclass(frozen=True)
class Choice:
    """A model with its place.

    Attributes:
        model: its name.
        score: mean over the needs, 1 for the best model on each to 0 for the last on each.
        reasons: its figure and rank on each need.
        train: the command that trains it.
    """

    model: str
    score: float
    reasons: Mapping[str, str]
    train: str


def read(path: Path) -> Table:
    """The table of a report. Raises ``DataError`` where ``path`` holds none, or a damaged one."""
    file = path / "models.json" if path.is_dir() else path
    try:
        found = plain.read_json(file, DataError)
    except DataError as error:
        raise DataError(f"{file} is no table of models; python scripts/compare.py writes one\n{error}") from error
    wrong = plain.shape_of(found, TABLE) or _disagreement(found)
    if wrong:
        raise DataError(f"{file} is no table of models; python scripts/compare.py writes one\nIn it, the table{wrong}")
    return found


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _estimate(value: Any) -> bool:
    return value is None or _number(value)


def _interval(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, list) and len(value) == 2 and all(map(_number, value)) and value[0] <= value[1]


_MEASURED = {"estimate": _estimate, "interval": _interval, "seeds": int}
TABLE = {
    "data": lambda value: isinstance(value, str) and value in DATA,
    "needs": [{"key": str, "label": str, "better": ("more", "less").__contains__, "levels": [_number]}],
    "models": {
        str: {
            "capabilities": {str: str},
            "train": str,
            "needs": {
                str: {**_MEASURED, "unit": str, "support": str, "kind": (str, type(None)), "levels": {str: _MEASURED}}
            },
        }
    },
    "recommendations": dict,
}


def _disagreement(found: Table) -> str:
    """What does not fit together in a table whose parts are right."""
    keys = {"training", "size", "speed", *(need["key"] for need in found["needs"])}
    if not found["needs"] or not found["models"]:
        return " has no needs, or no models"
    able = next(iter(found["models"].values()))["capabilities"].keys()
    for model, row in found["models"].items():
        if not row["needs"].keys() >= keys or row["capabilities"].keys() != able:
            return f".models.{plain.short(model)} has not the needs and capabilities of all"
    return ""


def choose(
    of: Table, needs: Sequence[str], limits: Limits | None = None, levels: Mapping[str, float] | None = None
) -> tuple[list[Choice], dict[str, tuple[str, str]]]:
    """The models by :data:`RANKING`, the best first; and of every other model what excludes it, and by what value.

    Args:
        of: from :func:`zoo.textbook.needs.table` or :func:`read`.
        needs: keys of its needs, one at least.
        limits: what every model must keep.
        levels: the level of a need where it is not the table's; the nearest that was measured counts.

    Raises:
        ConfigError: an unknown need or capability, or no need.
        ZooError: no model is left; says what excludes which.
    """
    limits, levels = limits or Limits(), levels or {}
    known = {need["key"]: need for need in of["needs"]}
    able = {capability for row in of["models"].values() for capability in row["capabilities"]}
    if not needs:
        raise ConfigError(f"no need is named; needs: {', '.join(known)}")
    for what, words, valid in (("need", needs, known), ("capability", limits.can, able)):
        for word in words:
            if word not in valid:
                plural = {"need": "needs", "capability": "capabilities"}[what]
                raise ConfigError(f"unknown {what} {word!r}: {did_you_mean(word, valid, plural)}")
    cells = {
        model: {key: _at(row["needs"][key], known[key], levels.get(key)) for key in needs}
        for model, row in of["models"].items()
    }
    excluded = {
        model: reason
        for model, row in of["models"].items()
        if (reason := _reason(row, cells[model], limits)) is not None
    }
    left = {model: cells[model] for model in of["models"] if model not in excluded}
    if not left:
        raise ZooError("\n".join(["no model is left", *exclusions(excluded)]))
    choices = []
    for model in left:
        scores, reasons = [], {}
        for key in needs:
            cell = left[model][key]
            alike = [row[key] for row in left.values() if row[key]["kind"] == cell["kind"]]
            value = order(cell["estimate"], known[key]["better"])
            ahead = sum(order(other["estimate"], known[key]["better"]) < value for other in alike)
            scores.append(1 - ahead / (len(alike) - 1) if len(alike) > 1 else 1.0)
            kind = f", {cell['kind']}" if cell["kind"] else ""
            reasons[key] = f"{known[key]['label']} {spelled(cell)} ({ordinal(ahead + 1)} of {len(alike)}{kind})"
        choices.append(Choice(model, sum(scores) / len(scores), reasons, of["models"][model]["train"]))
    return sorted(choices, key=lambda choice: (-choice.score, seconds_of(of["models"][choice.model]))), excluded


def exclusions(excluded: Mapping[str, tuple[str, str]]) -> list[str]:
    """A line for each limit: the models that it excludes, with their values."""
    return [
        f"excluded by {limit}: "
        + ", ".join(f"{model} ({why})" for model, (other, why) in excluded.items() if other == limit)
        for limit in dict.fromkeys(limit for limit, _ in excluded.values())
    ]


def _at(cell: Mapping[str, Any], need: Mapping[str, Any], level: float | None) -> Mapping[str, Any]:
    """A cell at another level than the table's."""
    if level is None or not need["levels"]:
        return cell
    return {**cell, **cell["levels"].get(f"{nearest(level, need['levels']):g}", UNKNOWN)}


def _reason(row: Mapping[str, Any], cells: Mapping[str, Mapping[str, Any]], limits: Limits) -> tuple[str, str] | None:
    """What excludes a model, and its value; None where nothing does."""
    for key, cell in cells.items():
        if cell["estimate"] is None:
            return "needs", f"{key} {'not possible' if cell['support'] == 'no' else 'not measured'}"
    for capability in limits.can:
        if row["capabilities"][capability] == "no":
            return f"can={','.join(limits.can)}", f"no {capability}"
    for word, key, limit, sign in (
        ("seconds", "training", limits.seconds, 1),
        ("mib", "size", limits.mib, 1),
        ("speed", "speed", limits.speed, -1),
    ):
        cell = row["needs"][key]
        if limit is not None and (cell["estimate"] is None or sign * cell["estimate"] > sign * limit):
            return f"{word}={limit:g}", "not measured" if cell["estimate"] is None else spelled(cell)
    return None
