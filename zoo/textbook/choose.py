"""Which model to choose: what the claims measured, as a table of models by needs, and the rules that read it.

The table is plain data: it lies beside a report as ``models.json``, the page shows it, and ``scripts/choose.py``
answers from it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from zoo.claims import _roster
from zoo.errors import ConfigError, DataError, ZooError, did_you_mean
from zoo.metrics.intervals import mean_interval

Row = Mapping[str, Any]
Table = dict[str, Any]
RULE = (
    "The model with the best mean over seeds is not told apart from those whose 95 % interval (Student's t over seeds) "
    "overlaps its own; of all these, the one that trains in the fewest seconds is recommended. Where values are of "
    "different kinds, each kind has a recommendation of its own."
)
RANKING = (
    "Of the models within the limits that are measured on every need: a need gives its best model 1, its last 0, and "
    "those between by their rank; the mean over the needs decides, then the seconds of training."
)


@dataclass(frozen=True)
class Need:
    """What somebody may want of a model, and the measurement that tells how well it serves.

    Attributes:
        key: its name, on the command line and in the table.
        label: the head of its column.
        unit: of the values.
        better: ``"more"`` or ``"less"``.
        source: what is measured, in words.
        capability: what a model must be able to do, see :mod:`zoo.capability`; None: any model will do.
        claim, quantity: the claim whose rows hold the values, and their name there.
        scale: what the values are multiplied by.
        where: what the rows hold besides.
        level, default, at: the parameter that the need can be asked at several values of; the value that the table is
            about, or the nearest to it; how it is said.
        kind: the quantity that names the kind of a value; values of two kinds are never compared.
        unfold: makes the claim's rows into rows with one ``quantity`` each; None: they are such.
    """

    key: str
    label: str
    unit: str
    better: str
    source: str
    capability: str | None
    claim: str
    quantity: str
    scale: float = 1.0
    where: Mapping[str, Any] = field(default_factory=dict)
    level: str | None = None
    default: float = 0.0
    at: str = ""
    kind: str | None = None
    unfold: Callable[[Iterable[Row]], Iterable[Row]] | None = None

    def read(self, rows: Iterable[Row], data: str) -> dict[str, dict[float, list[float]]]:
        """Of each model, by level (0 where there is none): its values on ``data``, a seed each."""
        found: dict[str, dict[float, dict[int, float]]] = {}
        wanted = {"data": data, **self.where}
        for row in self.unfold(rows) if self.unfold else rows:
            value: Any = row.get(self.quantity)
            level: Any = row.get(self.level) if self.level else 0.0
            if all(row.get(key) == is_ for key, is_ in wanted.items()) and _finite(value) and _finite(level):
                found.setdefault(row["model"], {}).setdefault(float(level), {})[row["seed"]] = self.scale * value
        return {
            model: {level: [values[seed] for seed in sorted(values)] for level, values in sorted(levels.items())}
            for model, levels in found.items()
        }

    def kinds(self, rows: Iterable[Row], data: str) -> dict[str, str]:
        """Of each model: the kind of its values, where there are kinds."""
        if self.kind is None:
            return {}
        return {row["model"]: row[self.kind] for row in rows if row.get("data") == data and row.get(self.kind)}


def worse_direction(rows: Iterable[Row]) -> Iterator[Row]:
    """A row a model and seed: the smaller AUROC of those that it reaches on each data set, with the other's images as
    anomalies."""
    found: dict[tuple[str, int], dict[str, float]] = {}
    for row in rows:
        if row.get("what") == "anomalies":
            found.setdefault((row["model"], row["seed"]), {})[row["data"]] = row["auroc"]
    for (model, seed), by_data in found.items():
        if len(by_data) == 2:
            yield {"data": DATA[0], "model": model, "seed": seed, "auroc": min(by_data.values())}


DATA = ("mnist", "digits")  # the table is about the first of them that is measured
NEEDS = (
    Need("accuracy", "accuracy", "%", "more", "test images classified rightly after training on all labels",
         "classify", "plenty_of_labels", "accuracy", 100, {"what": "classifier"}),
    Need("labels", "few labels", "%", "more", "test images classified rightly after training on so few labels",
         "classify", "plenty_of_labels", "accuracy", 100, {"what": "few"}, "n", 100, "{:g} labels"),
    Need("missing", "missing pixels", "%", "more", "test images classified rightly with so many pixels hidden",
         "classify_missing", "plenty_of_labels", "accuracy", 100, {"what": "missing"}, "missing", 50, "{:g} % hidden"),
    Need("anomalies", "anomalies", "AUROC", "more", "images of the other data set told from its own, on MNIST or "
         "Fashion-MNIST, whichever is told worse, by likelihood corrected for complexity or by the Mahalanobis "
         "distance of a classifier's features (the SVM: maximum softmax); claim 4 has a VAE that is better at it",
         "anomaly_score", "plenty_of_labels", "auroc", unfold=worse_direction),
    Need("sampling", "sampling", "ratio", "less", "Fréchet distance of its samples over that of real images",
         "sample", "plenty_of_labels", "frechet_ratio"),
    Need("density", "density", "nats", "more", "mean log p(x) of test images",
         "log_prob", "plenty_of_labels", "log_prob", kind="density"),
    Need("training", "training", "s", "less", "seconds of training with its validation",
         None, "plenty_of_labels", "train_seconds"),
    Need("speed", "speed", "images/s", "more", "images classified a second",
         "classify", "plenty_of_labels", "images_per_second"),
    Need("size", "size", "MiB", "less", "the file of its weights",
         None, "plenty_of_labels", "file_mib"),
    Need("calibration", "calibration", "%", "less", "expected calibration error: how far confidence is from accuracy",
         "classify", "plenty_of_labels", "ece", 100),
)  # fmt: skip
UNKNOWN = {"estimate": None, "interval": None, "seeds": 0}


# The table


def table(rows: Mapping[str, Sequence[Row]], capabilities: Mapping[str, Mapping[str, str]]) -> Table:
    """Models by needs, with a recommendation for each need, as plain data: what ``models.json`` holds.

    Args:
        rows: of each claim, by its name.
        capabilities: what each model can be asked, see :func:`candidates`. Models that no need knows are left out.

    Returns:
        ``data``; ``rule``; ``needs``, a list; ``models``: what each can do, the command that trains it, and for each
        need its estimate and interval (null where it is not measured), in all at the table's level and in ``levels``;
        ``recommendations``: for each need a list, an entry a kind.
    """
    known = {row.get("data") for need in NEEDS for row in rows.get(need.claim, ())}
    data = next((name for name in DATA if name in known), DATA[0])
    needs, cells = [], {model: {} for model in capabilities}  # type: ignore[var-annotated]
    for need in NEEDS:
        measured = rows.get(need.claim, ())
        values, kinds = need.read(measured, data), need.kinds(measured, data)
        levels = sorted({level for of_model in values.values() for level in of_model})
        level = nearest(need.default, levels)
        for model, able in capabilities.items():
            at = {place: _cell(seeds) for place, seeds in values.get(model, {}).items()}
            cells[model][need.key] = {
                **at.get(level, UNKNOWN),
                "unit": need.unit,
                "support": able[need.capability] if need.capability else "native",
                "kind": kinds.get(model),
                "levels": {f"{place:g}": cell for place, cell in at.items()} if need.level else {},
            }
        about = {name: getattr(need, name) for name in ("key", "label", "unit", "better", "source", "claim")}
        needs.append(about | {"levels": levels if need.level else [], "at": need.at.format(level)})
    models = {
        model: {"capabilities": dict(capabilities[model]), "train": train_command(model, data), "needs": row}
        for model, row in cells.items()
        if any(cell["seeds"] for cell in row.values())
    }
    recommendations = {about["key"]: recommend(models, about["key"], about["better"]) for about in needs}
    return {"data": data, "rule": RULE, "needs": needs, "models": models, "recommendations": recommendations}


def recommend(models: Mapping[str, Any], key: str, better: str) -> list[dict[str, Any]]:
    """By :data:`RULE`, for one need: the best model, those not told apart from it, and which to take; one a kind."""
    found = []
    measured = {model: row["needs"][key] for model, row in models.items() if row["needs"][key]["seeds"]}
    for kind in sorted({cell["kind"] or "" for cell in measured.values()}):
        alike = {model: cell for model, cell in measured.items() if (cell["kind"] or "") == kind}
        best = min(alike, key=lambda model: _order(alike[model]["estimate"], better))
        equal = [model for model in alike if model == best or _overlap(alike[model], alike[best])]
        equal.sort(key=lambda model: (_seconds(models[model]), model != best))
        found.append({"kind": kind or None, "best": best, "equal": equal, "choose": equal[0]})
    return found


def nearest(wanted: float, levels: Sequence[float]) -> float:
    """The level that differs least from the one that is wanted, in proportion to both; ``wanted`` where there is none.

    >>> nearest(80, [10, 100, 1000])
    100
    """
    return min(levels, key=lambda level: abs(level - wanted) / max(abs(level) + abs(wanted), 1e-12), default=wanted)


def candidates(data: str = "mnist") -> dict[str, dict[str, str]]:
    """What the report's models can be asked, as it trains them: ``native``, ``derived`` or ``no``, by capability."""
    import torch  # answering from a table needs none of these

    from zoo import capability, registry
    from zoo.spec import DataSpec

    found = {}
    for name in (*_roster.GENERATIVE, "dcgan", *_roster.DISCRIMINATIVE):
        words = (word.partition("=") for word in _roster.words(name, data, 0))
        options = {key.removeprefix("model."): yaml.safe_load(text) for key, _, text in words if "model." in key}
        with torch.random.fork_rng(devices=[]):
            model = registry.create(name, DataSpec(), **options)
        found[name] = {question: capability.support(model, question) for question in capability.capabilities()[name]}
    return found


def train_command(model: str, data: str) -> str:
    """What trains a model as the report does."""
    return " ".join(["python train.py", *(word for word in _roster.words(model, data, 0) if word != "seed=0")])


def _cell(values: Sequence[float]) -> dict[str, Any]:
    low, high = (_round(bound) for bound in mean_interval(values))
    interval = None if len(values) == 1 else [low, high]
    return {"estimate": _round(sum(values) / len(values)), "interval": interval, "seeds": len(values)}


def _round(value: float) -> float:
    return float(f"{value:.6g}")


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _order(value: float, better: str) -> float:
    return -value if better == "more" else value


def _overlap(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two intervals meet; a single seed counts as a point."""
    low, high = first["interval"] or [first["estimate"]] * 2
    other_low, other_high = second["interval"] or [second["estimate"]] * 2
    return low <= other_high and other_low <= high


def _seconds(row: Mapping[str, Any]) -> float:
    seconds = row["needs"]["training"]["estimate"]
    return math.inf if seconds is None else seconds


# The answer


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
    """The table of a report. Raises ``DataError`` where ``path`` holds none."""
    file = path / "models.json" if path.is_dir() else path
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{file} is no table of models; python scripts/compare.py writes one") from error
    if not _is_table(found):
        raise DataError(f"{file} is no table of models; python scripts/compare.py writes one")
    return found


def _is_table(found: Any) -> bool:
    """Whether all is there that an answer is made from."""

    def has(entry: Any, *keys: str) -> bool:
        return isinstance(entry, dict) and entry.keys() >= set(keys)

    if not has(found, "data", "needs", "models", "recommendations") or found["data"] not in DATA:
        return False
    needs, models = found["needs"], found["models"]
    if not isinstance(needs, list) or not needs or not isinstance(models, dict):
        return False
    if not all(has(need, "key", "label", "better", "levels") for need in needs):
        return False
    keys = {"training", "size", "speed", *(need["key"] for need in needs)}
    return all(
        has(row, "capabilities", "train", "needs")
        and has(row["needs"], *keys)
        and all(has(row["needs"][key], "unit", "support", "kind", "levels", *UNKNOWN) for key in keys)
        for row in models.values()
    )


def choose(
    of: Table, needs: Sequence[str], limits: Limits | None = None, levels: Mapping[str, float] | None = None
) -> tuple[list[Choice], dict[str, tuple[str, str]]]:
    """The models by :data:`RANKING`, the best first; and of every other model what excludes it, and by what value.

    Args:
        of: from :func:`table` or :func:`read`.
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
            value = _order(cell["estimate"], known[key]["better"])
            ahead = sum(_order(other["estimate"], known[key]["better"]) < value for other in alike)
            scores.append(1 - ahead / (len(alike) - 1) if len(alike) > 1 else 1.0)
            kind = f", {cell['kind']}" if cell["kind"] else ""
            reasons[key] = f"{known[key]['label']} {spelled(cell)} ({_ordinal(ahead + 1)} of {len(alike)}{kind})"
        choices.append(Choice(model, sum(scores) / len(scores), reasons, of["models"][model]["train"]))
    return sorted(choices, key=lambda choice: (-choice.score, _seconds(of["models"][choice.model]))), excluded


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


def spelled(cell: Mapping[str, Any]) -> str:
    """An estimate with half its interval and its unit: ``"98.37 ± 0.12 %"``."""
    return f"{figure(cell)} {cell['unit'].replace('ratio', '')}".strip()


def figure(cell: Mapping[str, Any]) -> str:
    """As :func:`spelled`, without the unit."""
    estimate = cell["estimate"]
    half = (cell["interval"][1] - cell["interval"][0]) / 2 if cell["interval"] else 0.0
    if half == 0:
        return _plain(estimate, 4 if abs(estimate) >= 10 else 3)
    decimals = 1 - math.floor(math.log10(half))
    return f"{decimal(estimate, decimals)} ± {decimal(half, decimals)}"


def decimal(value: float, decimals: int) -> str:
    """``value`` with so many decimals; below 0, with zeros in place of its last digits."""
    text = f"{round(value, decimals):,.{max(decimals, 0)}f}"
    return text.replace("-", "−") if text.strip("-0.,") else text.removeprefix("-")


def _plain(value: float, significant: int) -> str:
    return decimal(value, significant - 1 - math.floor(math.log10(abs(value))) if value else significant - 1)


def _ordinal(place: int) -> str:
    return f"{place}" + {1: "st", 2: "nd", 3: "rd"}.get(place if place < 20 else place % 10, "th")
