"""What somebody may want of a model, and how well each model of the report serves: a table, as plain data.

It lies beside a report as ``models.json``, the page shows it, and ``scripts/choose.py`` answers from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from zoo.metrics.intervals import mean_interval
from zoo.textbook import roster

Row = Mapping[str, Any]
Table = dict[str, Any]
RULE = (
    "The model with the best mean over seeds is not told apart from those whose 95 % interval (Student's t over seeds) "
    "overlaps its own; of all these, the one that trains in the fewest seconds is recommended. Where values are of "
    "different kinds, each kind has a recommendation of its own."
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
        best = min(alike, key=lambda model: order(alike[model]["estimate"], better))
        equal = [model for model in alike if model == best or _overlap(alike[model], alike[best])]
        equal.sort(key=lambda model: (seconds_of(models[model]), model != best))
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
    for name in (*roster.GENERATIVE, "dcgan", *roster.DISCRIMINATIVE):
        words = (word.partition("=") for word in roster.words(name, data, 0))
        options = {key.removeprefix("model."): yaml.safe_load(text) for key, _, text in words if "model." in key}
        with torch.random.fork_rng(devices=[]):
            model = registry.create(name, DataSpec(), **options)
        found[name] = {question: capability.support(model, question) for question in capability.capabilities()[name]}
    return found


def train_command(model: str, data: str) -> str:
    """What trains a model as the report does."""
    return " ".join(["python train.py", *(word for word in roster.words(model, data, 0) if word != "seed=0")])


def _cell(values: Sequence[float]) -> dict[str, Any]:
    low, high = (_round(bound) for bound in mean_interval(values))
    interval = None if len(values) == 1 else [low, high]
    return {"estimate": _round(sum(values) / len(values)), "interval": interval, "seeds": len(values)}


def _round(value: float) -> float:
    return float(f"{value:.6g}")


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _overlap(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two intervals meet; a single seed counts as a point."""
    low, high = first["interval"] or [first["estimate"]] * 2
    other_low, other_high = second["interval"] or [second["estimate"]] * 2
    return low <= other_high and other_low <= high


def order(value: float, better: str) -> float:
    """What sorts the better value first."""
    return -value if better == "more" else value


def seconds_of(row: Mapping[str, Any]) -> float:
    """Of a model's training; infinite where it was not measured."""
    seconds = row["needs"]["training"]["estimate"]
    return math.inf if seconds is None else seconds
