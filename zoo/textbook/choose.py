"""Which model to choose: the rules that read the tables of :mod:`zoo.textbook.needs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo import plain
from zoo.errors import ConfigError, DataError, ZooError, did_you_mean
from zoo.textbook.comparisons import (
    Standing,
    alike,
    better,
    is_bound,
    recommend,
    seconds_of,
    standing,
    unranked,
)
from zoo.textbook.needs import DATA, FORMAT, UNKNOWN, Table, nearest
from zoo.textbook.roster import NAMES, RECIPE, SHORT
from zoo.textbook.words import ordinal, spelled

RANKING = (
    "Of the models within the limits that are ranked on every need: a need gives a model 1 less the share of the "
    "others that are told apart from it as better; the mean over the needs decides. Then it does on how few needs a "
    "model is behind the best by more than the margin, then the seconds of training, if all needs are about the "
    "trainings that were timed, and then the first need's mean."
)
WITHOUT_LABELS = {"sampling": ("dcgan",), "anomalies": ("gmm", "vae")}  # others have classes where these are measured
FAR = 3  # a level that is this many times more or less than what was measured is not answered from it


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
        score: mean over the needs, 1 where none is told apart as better on any, to 0 where all are on each.
        reasons: its figure on each need, how it was asked, and its rank.
        commands: what trains it as it was measured for the needs, or measures it where a claim trains it in a way of
            its own.
    """

    model: str
    score: float
    reasons: Mapping[str, str]
    commands: Sequence[str]


# Reading a table


def read(path: Path, data: str | None = None) -> Table:
    """A report's table of a data set, if left out of the first one that it is about.

    Raises ``DataError`` where ``path`` holds none, or a damaged one.
    """
    file = path / "models.json" if path.is_dir() else path
    writes = "python scripts/compare.py writes one"
    try:
        found = plain.read_json(file, DataError)
    except DataError as error:
        raise DataError(f"{file} is no table of models; {writes}\n{error}") from error
    if isinstance(found, dict) and {"rule", "recommendations"} & found.keys() and found.get("format") != FORMAT:
        raise DataError(f"{file} is of an earlier version; {writes}")
    wrong = plain.shape_of(found, {"tables": {str: TABLE}})
    wrong = wrong or next((f".tables.{name}{_disagreement(own)}" for name, own in found["tables"].items()
                           if _disagreement(own)), "")  # fmt: skip
    if wrong:
        raise DataError(f"{file} is no table of models; {writes}\nIn it, the table{wrong}")
    data = data or next((name for name in DATA if name in found["tables"]), DATA[0])
    if data not in found["tables"]:
        known = ", ".join(map(plain.short, found["tables"])) or "nothing"
        raise DataError(f"{file} has no table of data={data}; it is about {known}")
    return found["tables"][data]


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST


def _estimate(value: Any) -> bool:
    return value is None or _number(value)


def _interval(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, list) and len(value) == 2 and all(map(_number, value)) and value[0] <= value[1]


def _positive(value: Any) -> bool:
    return _number(value) and value >= 0


LARGEST = 1e15  # of a number, and 1 over it the smallest of a need that is compared by ratios
_TEXT = (str, type(None))
_MEASURED = {
    **{"estimate": _estimate, "interval": _interval, "seeds": int, "values": {str: _number}},
    **{"kind": _TEXT, "by": _TEXT, "model": str, "error": _positive, "errors": {str: _positive}},
    "common": {str: {str: _number}},
}
TABLE = {
    "data": lambda value: isinstance(value, str) and value in DATA,
    "needs": [
        {
            **dict.fromkeys(("key", "label", "unit", "source", "claim", "at"), str),
            "better": ("more", "less").__contains__,
            **{"levels": [_number], "margin": _number, "relative": bool, "exact": bool, "timed": bool},
            "seeds": lambda count: isinstance(count, int) and count >= 1,
        }
    ],
    "models": {
        str: {
            "capabilities": {str: str},
            "budget": (RECIPE, SHORT).__contains__,
            "train": str,
            "needs": {str: {**_MEASURED, "unit": str, "support": str, "levels": {str: _MEASURED}}},
        }
    },
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
        for need in found["needs"]:
            cell = row["needs"][need["key"]]
            for own in (cell, *cell["levels"].values()):
                if wrong := _odd(own, need):
                    return f".models.{plain.short(model)}.needs.{plain.short(need['key'])} {wrong}"
    return ""


def _odd(cell: Mapping[str, Any], need: Mapping[str, Any]) -> str:
    """What is odd about a cell, or one of its levels."""
    values = cell["values"].values()
    if cell["seeds"] != len(values) or (cell["estimate"] is None) != (not values):
        return "has another number of seeds than of values"
    if need["relative"] and any(value < 1 / LARGEST for value in values):
        return "has values of 0 or less, which have no ratio"
    return ""


# Answers


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
        ConfigError: an unknown need or capability, no need, or a level that nothing near was measured of.
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
    for key in needs:
        _check_level(known[key], levels.get(key))
    cells = {
        model: {key: _at(row["needs"][key], known[key], levels.get(key)) for key in needs}
        for model, row in of["models"].items()
    }
    measured = {key: {model: row[key] for model, row in cells.items() if row[key]["seeds"]} for key in needs}
    aside = {key: unranked(measured[key], known[key]) for key in needs}
    excluded = {
        model: reason
        for model, row in of["models"].items()
        if (reason := _reason(model, row, cells[model], aside, limits)) is not None
    }
    left = {model: cells[model] for model in of["models"] if model not in excluded}
    if not left:
        raise ZooError("\n".join(["no model is left", *exclusions(excluded)]))
    stands = {key: _standings(left, key, known[key]) for key in needs}
    choices = [_choice(of, model, left, [known[key] for key in needs]) for model in left]
    timed = all(known[key]["timed"] for key in needs)

    def place(choice: Choice) -> tuple[float, ...]:
        model = choice.model
        behind = sum(model not in stands[key][model].near for key in needs)
        seconds = seconds_of(of["models"][model]) if timed else 0.0
        return -choice.score, behind, seconds, stands[needs[0]][model].ordered.index(model)

    return sorted(choices, key=place), excluded


def _standings(cells: Mapping[str, Mapping[str, Any]], key: str, need: Mapping[str, Any]) -> dict[str, Standing]:
    """Of each model, how those of its kind stand on a need."""
    found: dict[str | None, Standing] = {}  # of each kind once
    for model, row in cells.items():
        if (kind := alike(row[key])) not in found:
            found[kind] = standing(_of_its_kind(cells, model, key), need)
    return {model: found[alike(row[key])] for model, row in cells.items()}


def _of_its_kind(cells: Mapping[str, Mapping[str, Any]], model: str, key: str) -> dict[str, Mapping[str, Any]]:
    """A need's cells of the models whose values can be ranked with those of ``model``, its own with them."""
    return {other: row[key] for other, row in cells.items() if alike(row[key]) == alike(cells[model][key])}


def _choice(
    of: Table, model: str, cells: Mapping[str, Mapping[str, Any]], needs: Sequence[Mapping[str, Any]]
) -> Choice:
    """A model among those that are left, by the ``cells`` of all of these."""
    scores, reasons = [], {}
    for need in needs:
        cell, among = cells[model][need["key"]], _of_its_kind(cells, model, need["key"])
        ahead = sum(better(other, cell, need) for other in among.values())
        scores.append(1 - ahead / (len(among) - 1) if len(among) > 1 else 1.0)
        kind = f", {alike(cell)}" if cell["kind"] else ""
        how = f"{cell['by']}; " if cell["by"] else ""
        reasons[need["key"]] = f"{need['label']} {spelled(cell)} ({how}{ordinal(ahead + 1)} of {len(among)}{kind})"
    commands = dict.fromkeys(_command(of["models"][model], need) for need in needs)
    return Choice(model, sum(scores) / len(scores), reasons, list(commands))


def _command(row: Mapping[str, Any], need: Mapping[str, Any]) -> str:
    """What trains a model as it was measured for a need; few labels, masks, and images without labels are of other
    trainings than the table's, which the claim measures again."""
    return row["train"] if need["timed"] else f"python scripts/compare.py claims={need['claim']}"


def _check_level(need: Mapping[str, Any], wanted: float | None) -> None:
    """Raises ``ConfigError`` where nothing near was measured."""
    level = nearest(wanted or 0, need["levels"])
    if wanted is None or not need["levels"] or max(level, wanted) <= FAR * min(level, wanted):
        return
    there = ", ".join(f"{each:g}" for each in need["levels"])
    hint = "; with a label for every image, ask for needs=accuracy" if "label" in need["at"] and wanted > level else ""
    raise ConfigError(f"{need['label']}: {wanted:g} is far from what was measured, {there}{hint}")


def answers(of: Table) -> list[dict[str, Any]]:
    """What to take for each need of a table: the card at the top of the page, which ``scripts/choose.py`` prints, too.

    Returns:
        Plain data, in the order of the needs; a need whose likelihoods are of several kinds has an entry a kind. Each

        ===========  ==============================================================================================
        ``need``     the need's key, such as ``"missing"``
        ``label``    the need in words, such as ``"missing pixels"``
        ``source``   what is measured, in words
        ``margin``   the difference that matters in practice, such as ``"0.3 points"`` or ``"10 %"``
        ``at``       the level that it is asked at, such as ``"50 % hidden"``; may be empty
        ``data``     the data set's key, such as ``"mnist"``
        ``take``     the key of the model to take, such as ``"gmm"``; null where nothing is recommended
        ``name``     the model in words, such as ``"Gaussian mixture"``; empty where nothing is recommended
        ``equal``    the keys of all that none is told apart from as better, ``take`` the first; may be empty
        ``figure``   what it reaches, and how it was asked; empty where nothing is recommended
        ``why``      what else is as good, why this one is taken of them, and what else is not told apart; empty where
                     it is alone
        ``because``  both in a short sentence
        ``by``       how far it, ``take``, is ahead of the best of the others, with figures; empty where there is no
                     other
        ``rivals``   the models that are not told apart from it, with their figures; may be empty
        ``claim``    the name of the claim whose measurements say so
        ``train``    the command that trains it, or measures it where the claim trains it in a way of its own; empty
                     where nothing is recommended
        ===========  ==============================================================================================
    """
    return [
        _answer(of, need, own)
        for need in of["needs"]
        for own in recommend(of["models"], need) or [None]  # type: ignore[list-item]
    ]


def without_labels(of: Table, need: str) -> Table:
    """The table of the models whose training for a need saw no labels; :func:`answers` says what to take of these."""
    return {**of, "models": {model: of["models"][model] for model in WITHOUT_LABELS[need] if model in of["models"]}}


def _answer(of: Table, need: Mapping[str, Any], own: Mapping[str, Any] | None) -> dict[str, Any]:
    said = {key: need[key] for key in ("label", "at", "claim", "source")}
    said |= {"need": need["key"], "data": of["data"], "margin": _margin(need), "rivals": "", "figure": "", "why": ""}
    cells = {model: row["needs"][need["key"]] for model, row in of["models"].items()}
    if own is None:
        aside = unranked({model: cell for model, cell in cells.items() if cell["seeds"]}, need)
        because = f"Nothing can be compared: {_why(aside)}." if aside else "Not measured on this data set."
        return said | {"take": None, "name": "", "equal": [], "because": because, "by": "", "train": ""}
    take, row, following = own["choose"], of["models"][own["choose"]], own["next"]
    rivals = [model for model in own["equal"] if model != take]
    told = f"{spelled(cells[take])} ({cells[take]['by']})" if cells[take]["by"] else spelled(cells[take])
    why = _why_taken([model for model in rivals if model not in own["open"]], own["open"], row, need)
    best = "" if following and not better(cells[take], cells[following], need) else ", the best"
    lead = f"{_ahead(own['ahead'], cells[take], need)} {_the(following)}" if following else ""
    return said | {
        "take": take,
        "name": _name(take),
        "equal": own["equal"],
        "figure": told,
        "why": why,
        "because": f"{told}; {why}." if rivals else f"{told}{best}.",
        "by": f"{lead} ({spelled(cells[following])})" if following else "",
        "rivals": ", ".join(f"{_name(model)} ({spelled(cells[model])})" for model in rivals),
        "train": _command(row, need),
    }


def _why(aside: Mapping[str, str]) -> str:
    """Why none of several models is ranked."""
    if list(aside.values()) == ["alone"]:
        return f"{_the(next(iter(aside)))} alone was measured"
    if all(reason.startswith("alone with") for reason in aside.values()):
        return "each model is alone with its kind of values"
    return "; ".join(f"{_name(model)} {reason}" for model, reason in aside.items())


def _why_taken(near: Sequence[str], behind: Sequence[str], row: Mapping[str, Any], need: Mapping[str, Any]) -> str:
    """Why a model, its ``row`` in the table, is taken of several: of those that are ``near`` it, and of those that are
    ``behind`` but are not told apart."""
    parts = [f"{_several(near)} as good", _quickest(row, need)] if near else []
    return "; ".join(filter(None, [*parts, f"{_several(behind)} behind, but not surely" if behind else ""]))


def _several(models: Sequence[str]) -> str:
    """``"the CNN is"``, ``"the CNN and the RNN are"``, ``"3 others are"``."""
    if len(models) > 2:
        return f"{len(models)} others are"
    return f"{' and '.join(map(_the, models))} {'is' if len(models) == 1 else 'are'}"


def _quickest(row: Mapping[str, Any], need: Mapping[str, Any]) -> str:
    seconds = row["needs"]["training"]
    if not need["timed"] or not seconds["seeds"] or need["key"] == "training":
        return ""
    return f"this one trains the quickest of those timed, in {spelled(seconds)}"


def _name(model: str) -> str:
    return NAMES.get(model, model)


def _the(model: str) -> str:
    """A model's name in a sentence: methods have no article, models have."""
    if model in ("naive_bayes", "logistic_regression"):
        return _name(model)
    return f"the {_name(model)}{' model' if model == 'hmm' else ''}"


def _margin(need: Mapping[str, Any]) -> str:
    if need["relative"]:
        return f"{100 * need['margin']:g} %" if need["margin"] < 1 else f"a factor of {1 + need['margin']:g}"
    unit = "point" if need["unit"] == "%" else need["unit"].removesuffix("s")
    return f"{need['margin']:g} {unit if need['margin'] == 1 or need['unit'] == 'AUROC' else unit + 's'}"


def _ahead(found: Mapping[str, Any], cell: Mapping[str, Any], need: Mapping[str, Any]) -> str:
    """A :func:`zoo.textbook.comparisons.difference` of a cell in words: ``"0.49 ± 0.12 points more than"``, ``"2.1
    times that of"``, ``"a factor of 2.1 below"``."""
    if need["relative"]:
        factor = f"{1 + found['estimate']:.3g}"
        return f"{factor} times that of" if need["better"] == "more" else f"a factor of {factor} below"
    unit = "points" if need["unit"] == "%" else need["unit"]
    least = "at least " if is_bound(cell) else ""
    return f"{least}{spelled({**found, 'unit': unit, 'kind': None})} {need['better']} than"


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


def _reason(
    model: str,
    row: Mapping[str, Any],
    cells: Mapping[str, Mapping[str, Any]],
    aside: Mapping[str, Mapping[str, str]],
    limits: Limits,
) -> tuple[str, str] | None:
    """What excludes a model, and its value; None where nothing does."""
    for key, cell in cells.items():
        if cell["estimate"] is None:
            return "needs", f"{key} {'not possible' if cell['support'] == 'no' else 'not measured'}"
        if model in aside[key]:
            return "needs", f"{key} {aside[key][model]}"
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
