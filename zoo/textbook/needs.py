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
from zoo.textbook.claim import WRONG, of_the_first, paired_error, sampling_error
from zoo.textbook.comparisons import RULE, SEEDS, column, recommend, rounded, unranked

Row = Mapping[str, Any]
Table = dict[str, Any]
DATA = ("mnist", "fashion_mnist", "digits")  # the data sets that there are tables of
FORMAT = 2  # of models.json; one more with each change that old files do not have
TWICE = 1.0  # the margin of times, which are measured once: a factor of 2


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
        seeds: fewer rank no model.
        exact: whether what is the same with all seeds is so for sure.
        timed: whether it is asked of the trainings that the table has the seconds and the commands of.
        bounds: what no value can leave; intervals stay within.
        sampled: whether values are shares of the same test images, in %, whose sampling error all seeds have in common:
            rows say how many were ``tested``, and may say which were wrong.
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
    seeds: int = SEEDS
    exact: bool = False
    timed: bool = False
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
        cells = {
            model: {level: self._cell(model, own) for level, own in sorted(levels.items())}
            for model, levels in found.items()
        }
        for model, levels in found.items():
            for level, own in levels.items():
                others = {other: found[other][level] for other in found if other != model and level in found[other]}
                if self.sampled:
                    cells[model][level] |= _paired(own, others)
        return cells

    def _cell(self, model: str, rows: Sequence[Row]) -> dict[str, Any]:
        seeds = {row["seed"]: self.scale * row[self.quantity] for row in rows}
        error = 0.0
        if self.sampled:
            images = min(row["tested"] for row in rows)
            error = sampling_error([value / 100 for value in seeds.values()], images=images)
        elif self.error:
            error = self.scale * _mean(row.get(self.error, 0.0) for row in rows)
        last = rows[-1]
        kind = last.get(self.kind) if self.kind else None
        told: dict[str, Any] = {"model": model, "kind": kind, "by": last.get("by"), "errors": {}, "common": {}}
        return cell_of(seeds, self.bounds, error) | told


def _paired(own: Sequence[Row], others: Mapping[str, Sequence[Row]]) -> dict[str, dict[str, Any]]:
    """How a model compares, image by image, with each other that was asked about the same test images, in one order.

    Returns:
        ``errors``: the standard error, in points, that the images bring into the difference, with the seeds that both
        have. ``common``: where the other was asked about fewer, the first of them, the accuracies on these, by seed.
    """
    found: dict[str, dict[str, Any]] = {"errors": {}, "common": {}}
    for model, theirs in others.items():
        seeds = {row["seed"] for row in own} & {row["seed"] for row in theirs}
        both = [[row for row in rows if row["seed"] in seeds] for rows in (own, theirs)]
        if not seeds or any(WRONG not in row for rows in both for row in rows):
            continue
        images = min(row["tested"] for rows in both for row in rows)
        first = [[{"seed": row["seed"], **of_the_first(images, row[WRONG])} for row in rows] for rows in both]
        found["errors"][model] = rounded(paired_error((first[0], 1), (first[1], -1)))
        if any(row["tested"] > images for row in both[0]):
            found["common"][model] = {str(row["seed"]): rounded(100 * row["accuracy"]) for row in first[0]}
    return found


def worse_direction(rows: Iterable[Row]) -> Iterator[Row]:
    """Of the claim of anomalies, a row a model and seed for each data set: the smaller AUROC of both directions, by the
    score that was fixed before any was measured."""
    found: dict[tuple[str, int], dict[str, float]] = {}  # (model, seed), direction
    rows = list(rows)
    for row in rows:
        found.setdefault((row["model"], row["seed"]), {})[row["anomalies"]] = row[f"auroc_{_score(row['model'])}"]
    for (model, seed), areas in found.items():
        if len(areas) == 2:
            same = {"model": model, "seed": seed, "auroc": min(areas.values()), "by": _score(model)}
            yield from ({"data": data, **same} for data in sorted({row["data"] for row in rows}))


def _score(model: str) -> str:
    """What the claim judges of the VAE; of others what ``scripts/detect.py`` goes by if no score is named."""
    return "complexity" if model == "vae" else "combined"


SPREADING = {  # how a method of the claim of unlabelled images uses them, and the model that it makes
    "naive_bayes": ("naive_bayes", "EM"),
    "gmm": ("gmm", "EM"),
    "logistic": ("logistic_regression", "codes of a VAE"),
    "lenet": ("lenet", "labels spread along codes"),
}  # M2 is trained too short to be judged


def with_unlabelled(rows: Iterable[Row]) -> Iterator[Row]:
    """Of the claim of unlabelled images, the rows of classifiers that have seen them."""
    for row in rows:
        if row["unlabelled"] and row["method"] in SPREADING:
            model, how = SPREADING[row["method"]]
            yield {**row, "model": model, "by": how}


def scaled(rows: Iterable[Row]) -> Iterator[Row]:
    """Of the claim of calibration, the rows of models that were asked about all test images, as the error grows where
    there are fewer; they tell what it was before a temperature."""
    before: dict[tuple[str, str], list[float]] = {}
    rows = list(rows)
    most = max((row["tested"] for row in rows), default=0)
    rows = [row for row in rows if row["tested"] == most]
    for row in rows:
        before.setdefault((row["data"], row["model"]), []).append(100 * row["ece_before"])
    for row in rows:
        mean = _mean(before[row["data"], row["model"]])
        yield {**row, "by": f"{mean:.2g} % before a temperature"}


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
                told = {"accuracy": "accuracy", "tested": "images", WRONG: WRONG}
                found = {key: _under(row, quantity, mask) for key, quantity in told.items()}
                yield {"data": data, "model": model, "seed": row["seed"], "by": fill, **where, **found}


def _best_fill(fills: Mapping[str, Sequence[Row]], mask: str) -> str:
    return max(fills, key=lambda fill: _mean(_under(row, "validated", mask) for row in fills[fill]))


def _under(row: Row, quantity: str, mask: str) -> Any:
    return row[quantity][row["masks"].index(mask)]


SHARE, POSITIVE = (0.0, 100.0), (0.0, math.inf)
NEEDS = (
    Need("accuracy", "accuracy", "%", "more", "test images classified rightly after training on all labels",
         "classify", "plenty_of_labels", "accuracy", 0.3, bounds=SHARE, sampled=True, scale=100, timed=True,
         where={"what": "classifier"}),
    Need("labels", "few labels", "%", "more", "test images classified rightly after training on so few labels, and on "
         "no images without", "classify", "plenty_of_labels", "accuracy", 1, bounds=SHARE, sampled=True, scale=100,
         where={"what": "few"}, level="n", default=100, at="{:g} labels"),
    Need("unlabelled", "few labels, many images", "%", "more", "test images classified rightly after training on so "
         "few labels, and on many images without", "classify", "unlabelled_data", "accuracy", 1, bounds=SHARE,
         sampled=True, scale=100, level="labels", default=100, at="{:g} labels", unfold=with_unlabelled),
    Need("missing", "missing pixels", "%", "more", "test images classified rightly with so many pixels hidden",
         "classify_missing", "missing_pixels", "accuracy", 1, bounds=SHARE, sampled=True, scale=100,
         where={"mask": "pixels"}, level="missing", default=50, at="{:g} % hidden", unfold=by_mask),
    Need("half", "half an image", "%", "more", "test images classified rightly with one half hidden, any of the four",
         "classify_missing", "missing_pixels", "accuracy", 1, bounds=SHARE, sampled=True, scale=100,
         where={"mask": "half"}, unfold=by_mask),
    Need("anomalies", "anomalies", "AUROC", "more", "images of the other data set told from its own, in that of both "
         "directions in which it is done worse, by a score that was fixed beforehand; trained as that claim says",
         "anomaly_score", "anomalies", "auroc", 0.005, bounds=(0, 1), unfold=worse_direction),
    Need("sampling", "sampling", "ratio", "less", "Fréchet distance of 10,000 samples over that of real images",
         "sample", "plenty_of_labels", "frechet_ratio", 0.1, relative=True, bounds=POSITIVE, timed=True),
    Need("density", "density", "nats", "more", "mean log p(x) of test images, a lower bound where marked ≥",
         "log_prob", "plenty_of_labels", "log_prob", 1, error="log_prob_se", kind="density", timed=True),
    Need("training", "training", "s", "less", "seconds of training with its validation",
         None, "plenty_of_labels", "train_seconds", TWICE, relative=True, seeds=1, bounds=POSITIVE,
         timed=True),
    Need("speed", "speed", "images/s", "more", "images classified a second",
         "classify", "plenty_of_labels", "images_per_second", TWICE, relative=True, seeds=1,
         bounds=POSITIVE, timed=True),
    Need("size", "size", "MiB", "less", "the file of its weights",
         None, "plenty_of_labels", "file_mib", 0.1, relative=True, bounds=POSITIVE, exact=True,
         timed=True),
    Need("calibration", "calibration", "%", "less", "expected calibration error: how far confidence is from accuracy, "
         "with a temperature that was fitted on images held out of training",
         "classify", "calibration", "ece_after", 0.5, bounds=SHARE, scale=100, error="ece_after_error", unfold=scaled),
)  # fmt: skip
UNKNOWN: Mapping[str, Any] = {
    **{"estimate": None, "interval": None, "seeds": 0, "values": {}, "error": 0.0, "errors": {}, "common": {}},
    **{"kind": None, "by": None},
}


# The tables


def tables(rows: Mapping[str, Sequence[Row]], capabilities: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """What ``models.json`` holds: ``format``, ``rule``, and in ``tables`` a :func:`table` of each data set that was
    measured."""
    known = {row.get("data") for need in NEEDS for row in rows.get(need.claim, ())}
    measured = {data: table(rows, capabilities, data) for data in DATA if data in known}
    return {"format": FORMAT, "rule": RULE, "tables": {data: own for data, own in measured.items() if own["models"]}}


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
        :func:`zoo.textbook.comparisons.recommend`, and ``unranked``, those that are not ranked, and why.
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
            **{name: getattr(need, name) for name in ("margin", "relative", "seeds", "exact", "timed")},
            **{"levels": levels if need.level else [], "at": need.at.format(level)},
        }
        for model, able in capabilities.items():
            at = found.get(model, {})
            cells[model][need.key] = {
                **at.get(level, {**UNKNOWN, "model": model}),
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
        "unranked": {about["key"]: unranked(column(models, about["key"]), about) for about in needs},
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
        if not row.get("budget"):
            yield row
        elif row.get("data") == data:
            whole, short = (len(seeds.get((row["model"], budget), ())) for budget in (roster.RECIPE, roster.SHORT))
            if row["budget"] == (roster.SHORT if whole < min(SEEDS, short) else roster.RECIPE):
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
    for name in (*roster.GENERATIVE, "dcgan", *roster.DISCRIMINATIVE, "lenet"):
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
    interval = [rounded(max(low, bounds[0])), rounded(min(high, bounds[1]))]
    return {
        "estimate": rounded(sum(values) / len(values)),
        "interval": None if len(values) == 1 else interval,
        "seeds": len(values),
        "values": {str(seed): rounded(seeds[seed]) for seed in sorted(seeds)},
        "error": rounded(error),
    }


def _mean(values: Iterable[float]) -> float:
    there = list(values)
    return sum(there) / len(there)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
