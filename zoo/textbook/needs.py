"""What somebody may want of a model, and how well each model of the report serves: a table a data set, as plain data.

They lie beside a report as ``models.json``; the page shows them, and ``scripts/choose.py`` answers from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from zoo.metrics.intervals import mean_interval
from zoo.textbook import roster
from zoo.textbook.claim import sampling_error

Row = Mapping[str, Any]
Table = dict[str, Any]
SEEDS = 3  # fewer rank no model
RULE = (
    "One model is told apart from another as better where the 95 % interval of their difference, seed by seed "
    "(Student's t, with the error of sampling the test images), leaves out 0, and the mean difference is more than "
    "matters in practice: the margin of the need. Of the model with the best mean and those that are behind it by no "
    "more than that margin, the one that trains in the fewest seconds is to be taken. What is measured with fewer than "
    f"{SEEDS} seeds is shown and not ranked. Likelihoods are ranked among those of the same values alone; a model that "
    "is alone with its kind is not."
)
DATA = ("mnist", "fashion_mnist", "digits")  # the data sets that there are tables of
TEST_IMAGES = {"mnist": 10_000, "fashion_mnist": 10_000, "digits": 360}


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
        margin: the difference that matters in practice: less does not tell two models apart.
        relative: whether ``margin`` is a share of the values, which are above 0, and models are compared by ratios.
        bounds: what no value can leave; intervals stay within.
        sampled: whether values are shares of the same test images, in %, whose sampling error all seeds have in common;
            rows may say of how many ``images``, else they are all there are.
        error: the quantity that holds such an error of other values.
        scale: what the values are multiplied by.
        where: what the rows hold besides.
        level, default, at: the parameter that the need can be asked at several values of; the value that the table is
            about, or the nearest to it; how it is said.
        kind: the quantity that names the kind of a value; values of two kinds are never compared.
        unfold: makes the claim's rows into rows with one ``quantity`` each; None: they are such. They may hold ``by``:
            how the model was asked.
    """

    key: str
    label: str
    unit: str
    better: str
    source: str
    capability: str | None
    claim: str
    quantity: str
    margin: float
    relative: bool = False
    bounds: tuple[float, float] = (-math.inf, math.inf)
    sampled: bool = False
    error: str | None = None
    scale: float = 1.0
    where: Mapping[str, Any] = field(default_factory=dict)
    level: str | None = None
    default: float = 0.0
    at: str = ""
    kind: str | None = None
    unfold: Callable[[Iterable[Row]], Iterable[Row]] | None = None

    def read(self, rows: Iterable[Row], data: str) -> dict[str, dict[float, dict[str, Any]]]:
        """Of each model, by level (0 where there is none), the :func:`cell_of` its values on ``data``."""
        wanted = {"data": data, **self.where}
        found: dict[str, dict[float, list[Row]]] = {}
        for row in self.unfold(rows) if self.unfold else rows:
            level: Any = row.get(self.level) if self.level else 0.0
            wrong = any(row.get(key) != value for key, value in wanted.items())
            if not wrong and _finite(level) and _finite(row.get(self.quantity)):
                found.setdefault(row["model"], {}).setdefault(float(level), []).append(row)
        return {
            model: {level: self._cell(own, data) for level, own in sorted(levels.items())}
            for model, levels in found.items()
        }

    def _cell(self, rows: Sequence[Row], data: str) -> dict[str, Any]:
        seeds = {row["seed"]: self.scale * row[self.quantity] for row in rows}
        error = 0.0
        if self.sampled:
            images = min(row.get("images", TEST_IMAGES[data]) for row in rows)
            error = sampling_error([value / 100 for value in seeds.values()], images=images)
        elif self.error:
            error = _mean(row.get(self.error, 0.0) for row in rows)
        last = rows[-1]
        kind = last.get(self.kind) if self.kind else None
        return cell_of(seeds, self.bounds, error) | {"kind": kind, "by": last.get("by")}


def worse_direction(rows: Iterable[Row]) -> Iterator[Row]:
    """Of the claim of anomalies, a row a model and seed for each data set: the smaller AUROC of both directions, by the
    one score whose mean of these is the largest."""
    found: dict[tuple[str, Any], dict[str, dict[int, dict[str, float]]]] = {}  # (model, epochs), score, seed, direction
    data = set()
    for row in rows:
        data.add(row["data"])
        for quantity, value in row.items():
            score = quantity.removeprefix("auroc_")
            if score != quantity and "-" not in score:  # what has a dash is a variant that the claim tells beside it
                by_score = found.setdefault((row["model"], row.get("epochs")), {})
                by_score.setdefault(score, {}).setdefault(row["seed"], {})[row["anomalies"]] = value
    for (model, _), by_score in found.items():
        worse = {
            score: {seed: min(areas.values()) for seed, areas in seeds.items() if len(areas) == 2}
            for score, seeds in by_score.items()
        }
        worse = {score: seeds for score, seeds in worse.items() if seeds}
        if worse:
            score = max(worse, key=lambda score: _mean(worse[score].values()))
            for seed, area in worse[score].items():
                yield from ({"data": d, "model": model, "seed": seed, "auroc": area, "by": score} for d in sorted(data))


def by_mask(rows: Iterable[Row]) -> Iterator[Row]:
    """Of the claim of missing pixels, a row a model, seed and mask: of what a model may be shown in the place of hidden
    pixels, that by which it classifies most validation images rightly; of masks that nothing was validated with, as
    with half of the pixels hidden."""
    lines: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for row in rows:
        if row["fill"] != "completed by the mixture":  # that takes two models
            lines.setdefault((row["data"], row["model"]), {}).setdefault(row["fill"], []).append(row)
    for (data, model), fills in lines.items():
        for mask in dict.fromkeys(mask for own in fills.values() for row in own for mask in row["masks"]):
            fill = _best_fill(fills, mask if mask == "half" else "50")
            where = {"mask": "half"} if mask == "half" else {"mask": "pixels", "missing": float(mask)}
            for row in fills[fill] if mask != "0" else []:
                found = {quantity: _under(row, quantity, mask) for quantity in ("accuracy", "images")}
                yield {"data": data, "model": model, "seed": row["seed"], "by": fill, **where, **found}


def _best_fill(fills: Mapping[str, Sequence[Row]], mask: str) -> str:
    return max(fills, key=lambda fill: _mean(_under(row, "validated", mask) for row in fills[fill]))


def _under(row: Row, quantity: str, mask: str) -> Any:
    return row[quantity][row["masks"].index(mask)]


SHARE, POSITIVE = (0.0, 100.0), (0.0, math.inf)
NEEDS = (
    Need("accuracy", "accuracy", "%", "more", "test images classified rightly after training on all labels",
         "classify", "plenty_of_labels", "accuracy", 0.3, bounds=SHARE, sampled=True, scale=100,
         where={"what": "classifier"}),
    Need("labels", "few labels", "%", "more", "test images classified rightly after training on so few labels, and on "
         "no images without", "classify", "plenty_of_labels", "accuracy", 1, bounds=SHARE, sampled=True, scale=100,
         where={"what": "few"}, level="n", default=100, at="{:g} labels"),
    Need("missing", "missing pixels", "%", "more", "test images classified rightly with so many pixels hidden",
         "classify_missing", "missing_pixels", "accuracy", 1, bounds=SHARE, sampled=True, scale=100,
         where={"mask": "pixels"}, level="missing", default=50, at="{:g} % hidden", unfold=by_mask),
    Need("half", "half an image", "%", "more", "test images classified rightly with one half hidden, any of the four",
         "classify_missing", "missing_pixels", "accuracy", 1, bounds=SHARE, sampled=True, scale=100,
         where={"mask": "half"}, unfold=by_mask),
    Need("anomalies", "anomalies", "AUROC", "more", "images of the other data set told from its own, in that of both "
         "directions in which it is done worse, by the one score that serves the model best; trained as that claim "
         "says", "anomaly_score", "anomalies", "auroc", 0.005, bounds=(0, 1), unfold=worse_direction),
    Need("sampling", "sampling", "ratio", "less", "Fréchet distance of 10,000 samples over that of real images",
         "sample", "plenty_of_labels", "frechet_ratio", 0.1, relative=True, bounds=POSITIVE),
    Need("density", "density", "nats", "more", "mean log p(x) of test images, a lower bound where marked ≥",
         "log_prob", "plenty_of_labels", "log_prob", 1, error="log_prob_se", kind="density"),
    Need("training", "training", "s", "less", "seconds of training with its validation",
         None, "plenty_of_labels", "train_seconds", 0.2, relative=True, bounds=POSITIVE),
    Need("speed", "speed", "images/s", "more", "images classified a second",
         "classify", "plenty_of_labels", "images_per_second", 0.2, relative=True, bounds=POSITIVE),
    Need("size", "size", "MiB", "less", "the file of its weights",
         None, "plenty_of_labels", "file_mib", 0.1, relative=True, bounds=POSITIVE),
    Need("calibration", "calibration", "%", "less", "expected calibration error: how far confidence is from accuracy",
         "classify", "plenty_of_labels", "ece", 0.5, bounds=SHARE, scale=100),
)  # fmt: skip
UNKNOWN: Mapping[str, Any] = {
    **{"estimate": None, "interval": None, "seeds": 0, "values": {}, "error": 0.0},
    **{"kind": None, "by": None},
}


# The tables


def tables(rows: Mapping[str, Sequence[Row]], capabilities: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """What ``models.json`` holds: ``rule``, and in ``tables`` a :func:`table` of each data set that was measured."""
    known = {row.get("data") for need in NEEDS for row in rows.get(need.claim, ())}
    measured = {data: table(rows, capabilities, data) for data in DATA if data in known}
    return {"rule": RULE, "tables": {data: own for data, own in measured.items() if own["models"]}}


def table(
    rows: Mapping[str, Sequence[Row]], capabilities: Mapping[str, Mapping[str, str]], data: str = "mnist"
) -> Table:
    """Models by needs on one data set, with a recommendation for each need, as plain data.

    Args:
        rows: of each claim, by its name.
        capabilities: what each model can be asked, see :func:`candidates`. Models that no need knows are left out.
        data: the data set.

    Returns:
        ``data``; ``needs``, a list; ``models``: what each can do, the command that trains it and whether that is its
        recipe or a short form, and for each need its estimate, interval and values by seed (nothing where it is not
        measured), in all at the table's level and in ``levels``; of each need ``recommendations``, see
        :func:`recommend`, and ``unranked``, see :func:`unranked`.
    """
    rows = {need.claim: list(trained_longest(rows.get(need.claim, ()), data)) for need in NEEDS}
    budgets = {row["model"]: row["budget"] for row in rows["plenty_of_labels"] if row.get("budget")}
    needs, cells = [], {model: {} for model in capabilities}  # type: ignore[var-annotated]
    for need in NEEDS:
        measured = rows[need.claim]
        found = need.read(measured, data)
        levels = sorted({level for of_model in found.values() for level in of_model})
        level = nearest(need.default, levels)
        about = {
            **{name: getattr(need, name) for name in ("key", "label", "unit", "better", "source", "claim")},
            **{"margin": need.margin, "relative": need.relative},
            **{"levels": levels if need.level else [], "at": need.at.format(level)},
        }
        for model, able in capabilities.items():
            at = found.get(model, {})
            cells[model][need.key] = {
                **at.get(level, UNKNOWN),
                "unit": need.unit,
                "support": able[need.capability] if need.capability else "native",
                "levels": {f"{place:g}": cell for place, cell in at.items()} if need.level else {},
            }
        needs.append(about)
    models = {
        model: {
            "capabilities": dict(capabilities[model]),
            "budget": budgets.get(model, roster.RECIPE),
            "train": train_command(model, data, budgets.get(model, roster.RECIPE)),
            "needs": row,
        }
        for model, row in cells.items()
        if any(cell["seeds"] for cell in row.values())
    }
    return {
        **{"data": data, "needs": needs, "models": models},
        "recommendations": {about["key"]: recommend(models, about) for about in needs},
        "unranked": {about["key"]: unranked(column(models, about["key"])) for about in needs},
    }


def trained_longest(rows: Iterable[Row], data: str) -> Iterator[Row]:
    """Rows without a budget; and of those on ``data`` that have one, for each model those of its recipe, or of its
    short form where too few seeds to rank it had the recipe."""
    rows = list(rows)
    seeds: dict[tuple[str, str], set[int]] = {}
    for row in rows:
        if row.get("data") == data and row.get("budget") and row.get("what") in ("classifier", "samples"):
            seeds.setdefault((row["model"], row["budget"]), set()).add(row["seed"])
    for row in rows:
        whole, short = (len(seeds.get((row["model"], budget), ())) for budget in (roster.RECIPE, roster.SHORT))
        budget = roster.SHORT if whole < min(SEEDS, short) else roster.RECIPE
        if not row.get("budget") or (row.get("data") == data and row["budget"] == budget):
            yield row


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


def train_command(model: str, data: str, budget: str) -> str:
    """What trains a model as the report does."""
    own = ("seed=0", "data.split_seed=0")
    return " ".join(["python train.py", *(word for word in roster.words(model, data, 0, budget) if word not in own)])


def cell_of(seeds: Mapping[int, float], bounds: tuple[float, float], error: float = 0.0) -> dict[str, Any]:
    """Values by seed with their mean and its interval within ``bounds``; ``error``: a standard error that all share, of
    the test images."""
    values = [seeds[seed] for seed in sorted(seeds)]
    low, high = mean_interval(values, error=error)
    interval = [_round(max(low, bounds[0])), _round(min(high, bounds[1]))]
    return {
        "estimate": _round(sum(values) / len(values)),
        "interval": None if len(values) == 1 else interval,
        "seeds": len(values),
        "values": {str(seed): _round(seeds[seed]) for seed in sorted(seeds)},
        "error": _round(error),
    }


def _round(value: float) -> float:
    return float(f"{value:.6g}")


def _mean(values: Iterable[float]) -> float:
    there = list(values)
    return sum(there) / len(there)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


# What is better


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


def unranked(cells: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Of the measured models of a need, those that are not ranked, and why."""
    found = {}
    for model, cell in cells.items():
        if cell["seeds"] < SEEDS:
            found[model] = f"measured with {cell['seeds']} {'seed' if cell['seeds'] == 1 else 'seeds'}"
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
        ratio less 1, such as 0.5 for half as much again. None where the two share fewer than :data:`SEEDS` seeds.
    """
    seeds = [seed for seed in first["values"] if seed in second["values"]]
    if len(seeds) < SEEDS:
        return None
    sign = 1 if about["better"] == "more" else -1
    pairs = [(first["values"][seed], second["values"][seed]) for seed in seeds]
    if about["relative"]:
        logs = [sign * math.log(one / other) for one, other in pairs]
        found = [math.expm1(min(value, 700.0)) for value in (sum(logs) / len(logs), *mean_interval(logs))]
    else:
        values = [sign * (one - other) for one, other in pairs]
        # as if each had test images of its own: more than the error of the same ones
        error = math.hypot(first["error"], second["error"])
        found = [sum(values) / len(values), *mean_interval(values, error=error)]
    return {"estimate": _round(found[0]), "interval": [_round(found[1]), _round(found[2])]}


def better(first: Mapping[str, Any], second: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
    """Whether a cell is told apart from another of the same need as better, by :data:`RULE`."""
    found = difference(first, second, about) if alike(first) == alike(second) else None
    return found is not None and found["interval"][0] > 0 and found["estimate"] > about["margin"]


def close(best: Mapping[str, Any], other: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
    """Whether a cell is behind the best one by no more than the margin, on the seeds that both have."""
    found = difference(best, other, about)
    return found is not None and found["estimate"] <= about["margin"]


def recommend(models: Mapping[str, Any], about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """By :data:`RULE`, for one need, a list with an entry a kind of values.

    An entry has ``kind``, or null; ``best``, the model with the best mean; ``equal``, it and those that are behind it,
    seed by seed, by no more than the margin, the quickest to train first; ``choose``, the first of these; ``next``, the
    best of the others, or null; and ``ahead``, the :func:`difference` of the best from that, or null.
    """
    cells = column(models, about["key"])
    aside = unranked(cells)
    ranked = {model: cell for model, cell in cells.items() if model not in aside}
    found = []
    for kind in sorted({alike(cell) or "" for cell in ranked.values()}):
        same = {model: cell for model, cell in ranked.items() if (alike(cell) or "") == kind}
        best, *others = sorted(same, key=lambda model: order(same[model]["estimate"], about["better"]))
        equal = [best, *(model for model in others if close(same[best], same[model], about))]
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
