"""EM climbs the likelihood of a mixture and never falls; the gradient needs a step size, and may fall.

Both start from the same parameters, see the same images and are counted in passes over them. EM's likelihood comes with
its E-step, that of a full-batch gradient with its step; for mini-batches it takes a pass of its own, which is not
counted, and neither are its seconds.
"""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo import registry
from zoo.base.generative import Density
from zoo.textbook.claim import Case, Claim, Finding, Row, select, share_error
from zoo.textbook.lab import Lab
from zoo.textbook.report import panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TO_ARRIVE = 0.1  # nats an image below what EM ends with
ROUNDING = 1e-9  # nats an image that float64 may lose in a sum over images
RARE = 2.0  # % of passes: that it never happens cannot be seen
ALIKE = 6  # digits of a nat to which the ends of two climbs are compared
SETUPS: dict[str, dict[str, Any]] = {
    "textbook": {"data": "mnist", "n": 4000, "components": 10, "pca": 20, "em": 40, "full": 100, "mini": 60},
    "quick": {"data": "digits", "n": 1000, "components": 5, "pca": 10, "em": 20, "full": 60, "mini": 30},
}  # passes of EM, of a gradient of all images, of gradients of mini-batches
RATES = {"full": (0.03, 0.1, 0.3), "mini": (0.003, 0.01, 0.03)}
SEEDS = {"textbook": range(8), "quick": range(5)}  # that are judged
TUNING = (10, 11, 12)  # seeds that step sizes are chosen by
POSITIVE = (0.0, math.inf)
MINI = 250  # images a mini-batch

CLAIM = Claim(
    number=9,
    title="EM climbs monotonically, and quicker than the gradient",
    statement="Each pass of EM raises the likelihood of a mixture, without a step size. Gradient ascent from the same "
    "start needs more passes over the data, and more seconds, to reach the same likelihood.",
    source="Dempster, Laird & Rubin 1977, Maximum Likelihood from Incomplete Data via the EM Algorithm; Xu & Jordan "
    "1996, On Convergence Properties of the EM Algorithm for Gaussian Mixtures",
    protocol="One mixture of 10 Gaussians with full covariances in the 20 principal directions of 4,000 images of "
    "MNIST, without labels and without a variance floor, in float64; images and start (the seeds of k-means++) drawn "
    f"anew for each of {len(SEEDS['textbook'])} seeds. EM makes 40 passes. Gradients go through Adam, of all images "
    f"at once for 100 passes, and of mini-batches of {MINI} for 60; each with three step sizes, of which the one that "
    f"arrives after the fewest passes from {len(TUNING)} starts of its own, other images and other seeds, is judged. "
    f"Arrived means within {TO_ARRIVE} nats an image of where EM ends; where a gradient has not, all its passes and "
    "seconds are counted, which is too few. Seconds are those of passes alone, nothing else running. A ratio is of "
    "two climbs from the same start; ratios are averaged over starts as they are.",
    discussion="EM never falls, as is proved, and needs no step size. Adam by all images takes about three times "
    "its passes, and four times as long: the E-step that EM makes costs about what a gradient does. Mini-batches, "
    "which take sixteen steps a pass, come nearer in passes, but not in seconds, as each of their steps decomposes all "
    "covariances anew. A likely reason is Xu & Jordan's: EM's step is the gradient times a positive definite matrix "
    "that near the end approaches the inverse of the curvature where the components are apart. What is reached is a "
    "local maximum, by either: a gradient that climbs to another one may end higher or lower than EM.",
    version=3,
)


def climb_by_em(model: Density, x: Tensor, passes: int, at_once: int = 1000) -> tuple[list[float], list[float]]:
    """Passes of EM over images ``x`` ``(N, C, H, W)``, which change ``model``, a density without classes.

    Returns:
        The log-likelihood in nats an image after 0, 1, …, ``passes`` passes, and the seconds spent until then.
    """
    heights, seconds, spent = [], [0.0], 0.0
    for _ in range(passes):
        began = time.perf_counter()
        sums = _statistics(model, x, at_once)
        model.maximize(sums)
        spent += time.perf_counter() - began
        heights.append(float(sums["log_likelihood"]) / len(x))
        seconds.append(spent)
    return [*heights, log_likelihood(model, x, at_once)], seconds


def climb_by_gradient(
    model: Density, x: Tensor, passes: int, rate: float, batch_size: int, generator: torch.Generator
) -> tuple[list[float], list[float]]:
    """As :func:`climb_by_em`, by Adam with a constant step size; ``generator`` draws the order of mini-batches."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    heights, seconds, spent = [log_likelihood(model, x)], [0.0], 0.0
    for _ in range(passes):
        began = time.perf_counter()
        order = torch.randperm(len(x), generator=generator)
        for index in order.split(batch_size):
            optimizer.zero_grad()
            (-model.log_prob(x if len(index) == len(x) else x[index]).mean()).backward()
            optimizer.step()
        spent += time.perf_counter() - began
        heights.append(log_likelihood(model, x))
        seconds.append(spent)
    return heights, seconds


@torch.no_grad()
def log_likelihood(model: Density, x: Tensor, at_once: int = 1000) -> float:
    """Mean log p(x) in nats."""
    return float(sum(model.log_prob(part).sum() for part in x.split(at_once))) / len(x)


@torch.no_grad()
def _statistics(model: Density, x: Tensor, at_once: int) -> dict[str, Tensor]:
    total: dict[str, Tensor] = {}
    for part in x.split(at_once):
        sums = model.statistics(part, torch.zeros(len(part), dtype=torch.long))
        total = {key: total[key] + value if total else value for key, value in sums.items()}
    return total


def arrival(heights: Sequence[float], target: float) -> int | None:
    """The number of passes after which a climb is at ``target`` for the first time; None if it never is."""
    return next((passes for passes, height in enumerate(heights) if height >= target), None)


def falls(heights: Sequence[float]) -> list[float]:
    """What a climb loses from a pass to the next, where that is more than rounding; NaN where a height is."""
    steps = (before - after for before, after in itertools.pairwise(heights))
    return [lost for lost in steps if not lost <= ROUNDING]


def cases(suite: str) -> list[Case]:
    setup = SETUPS[suite]
    shared = {key: setup[key] for key in ("data", "n", "components", "pca")}
    rates: dict[str, Sequence[float]] = {"em": (0.0,), **RATES}
    size, base = setup["n"] * setup["components"] * setup["pca"] / 1e6, 0.5 if suite == "textbook" else 0.2
    tuning = TUNING if suite == "textbook" else TUNING[:1]
    return [
        Case({**shared, "method": method, "rate": rate, "passes": setup[method], "seed": seed},
             base + (0.02 if method == "em" else 0.055) * size * setup[method], timed=True)
        for method in rates for rate in rates[method] for seed in (*SEEDS[suite], *tuning)
    ]  # fmt: skip


def measure(case: Mapping[str, Any], lab: Lab) -> dict[str, Any]:
    """The climb: ``log_likelihood`` in nats an image after each pass, the start first, and ``seconds`` until then."""
    splits = lab.splits(case["data"], train_size=case["n"], split_seed=case["seed"])
    x = splits.train.x(torch.float64)
    generator = torch.Generator().manual_seed(case["seed"])
    options = {
        "num_components": case["components"],
        "pca": case["pca"],
        "per_class": False,
        "floor": 0.0,
        "init": "k-means++",
    }  # seeds alone: a start that leaves something to climb
    model: Any = registry.create("gmm", splits.spec, **options).double().eval()
    model.initialize([(x, splits.train.labels)], generator)
    for climb in (_warm, _climb):  # the first step of all would pay for what torch sets up once
        heights, seconds = climb(model, x, case, generator)
    return {
        "log_likelihood": [round(height, 12) for height in heights],
        "seconds": [round(value, 4) for value in seconds],
    }


def _climb(
    model: Density, x: Tensor, case: Mapping[str, Any], generator: torch.Generator
) -> tuple[list[float], list[float]]:
    if case["method"] == "em":
        return climb_by_em(model, x, case["passes"])
    batch = len(x) if case["method"] == "full" else MINI
    return climb_by_gradient(model, x, case["passes"], case["rate"], batch, generator)


def _warm(
    model: Density, x: Tensor, case: Mapping[str, Any], generator: torch.Generator
) -> tuple[list[float], list[float]]:
    return _climb(copy.deepcopy(model), x, {**case, "passes": 1}, torch.Generator().manual_seed(0))


def best_rate(rows: Sequence[Row], method: str) -> float:
    """The step size that arrives after the fewest passes, their mean over the starts that step sizes are chosen by.

    One that arrives from more of the starts comes first; among those that never do, the highest climb, and of ones that
    end at the same height the smaller step.
    """
    tuned = [row for row in rows if row["seed"] in TUNING]
    targets = _targets(select(tuned, method="em"))

    def price(rate: float) -> tuple[int, float, float]:
        climbs = select(tuned, method=method, rate=rate)
        arrivals = [arrival(row["log_likelihood"], target) for row, target in zip(climbs, targets, strict=True)]
        passes = sum(place for place in arrivals if place is not None)
        ends = [row["log_likelihood"][-1] for row in climbs]
        lost = math.inf if any(map(math.isnan, ends)) else round(-sum(ends), ALIKE)
        return arrivals.count(None), passes, lost

    return min(sorted({row["rate"] for row in tuned if row["method"] == method}), key=price)


def _targets(by_em: Sequence[Row]) -> list[float]:
    """What counts as arrived, in nats an image, of each climb by EM."""
    return [row["log_likelihood"][-1] - TO_ARRIVE for row in by_em]


def costs(climbs: Sequence[Row], targets: Sequence[float]) -> tuple[list[float], list[float], bool]:
    """Passes and seconds that each climb takes to its target, all it has where it does not arrive; whether all do."""
    arrivals = [arrival(row["log_likelihood"], target) for row, target in zip(climbs, targets, strict=True)]
    passes = [len(row["seconds"]) - 1 if place is None else place for row, place in zip(climbs, arrivals, strict=True)]
    seconds = [row["seconds"][place] for row, place in zip(climbs, passes, strict=True)]
    return [float(value) for value in passes], seconds, None not in arrivals


def _falls(climbs: Sequence[Sequence[float]]) -> Finding:
    """How many passes of EM lose likelihood. Where none does, the values are all zero, and the error is that of so many
    passes."""
    lost, passes = [falls(heights) for heights in climbs], [len(heights) - 1 for heights in climbs]
    shares = [100 * len(own) / count for own, count in zip(lost, passes, strict=True)]
    every = [fall for own in lost for fall in own]
    error = 0.0 if every else 100 * share_error(0, sum(passes))
    return Finding(
        "em-falls",
        f"EM loses likelihood (more than {ROUNDING:g} nats an image, of rounding) in less than {RARE:g} % of its "
        f"passes: of {sum(passes)} that were seen, in {len(every)}{f', by {max(every):.2g} nats' if every else ''}.",
        shares,
        "%",
        below=RARE,
        error=error,
        bounds=(0, 100),
    )


def findings(rows: Sequence[Row]) -> list[Finding]:
    judged = [row for row in rows if row["seed"] not in TUNING]
    by_em = select(judged, method="em")
    targets = _targets(by_em)
    em_passes, em_seconds, _ = costs(by_em, targets)
    found = [
        _falls([row["log_likelihood"] for row in by_em]),
        Finding("em-passes", f"Passes of EM to within {TO_ARRIVE} nats an image of its end.", em_passes, "passes",
                bounds=POSITIVE),
        Finding("em-seconds", f"Seconds of EM to within {TO_ARRIVE} nats an image of its end.", em_seconds, "s",
                bounds=POSITIVE),
    ]  # fmt: skip
    for method, name in (("full", "the gradient of all images"), ("mini", f"mini-batches of {MINI}")):
        rate = best_rate(rows, method)
        passes, seconds, arrived = costs(select(judged, method=method, rate=rate), targets)
        note = "" if arrived else " At least: some starts do not arrive."
        for quantity, values, of_em in (("passes", passes, em_passes), ("seconds", seconds, em_seconds)):
            ratios = [value / max(other, 1e-9) for value, other in zip(values, of_em, strict=True)]
            text = f"To the same likelihood, Adam by {name} (step size {rate:g}) takes more {quantity} than EM.{note}"
            # the textbook speaks of the gradient of the likelihood, which mini-batches only estimate
            above = 1.0 if method == "full" else None
            text = text if above else text.replace("takes more", "takes so many times the").replace("than EM", "of EM")
            found.append(Finding(f"{method}-{quantity}", text, ratios, "×", above=above, bounds=POSITIVE))
    return found


def figures(rows: Sequence[Row]) -> dict[str, Figure]:
    data = panels.DATA[rows[0]["data"]]
    judged = [row for row in rows if row["seed"] not in TUNING]
    found = {}
    methods = {"em": "EM", "full": "Adam, all images", "mini": f"Adam, mini-batches of {MINI}"}
    for quantity, x in (("passes", "passes over the images"), ("seconds", "seconds")):
        figure, axes = panels.panel(f"Likelihood of a mixture by {quantity}, {data}", x, "nats an image below EM's end")
        for index, (method, label) in enumerate(methods.items()):
            rate = 0.0 if method == "em" else best_rate(rows, method)
            climbs, references = select(judged, method=method, rate=rate), select(judged, method="em")
            for row, reference in zip(climbs, references, strict=True):
                end = reference["log_likelihood"][-1]
                # a line ends within a thousandth of a nat, or where it has gone beyond
                below = [end - height if end - height > 1e-3 else math.nan for height in row["log_likelihood"]]
                place = list(range(len(below))) if quantity == "passes" else row["seconds"]
                color = panels.style(method, index)["color"]
                axes.plot(place, below, color=color, linewidth=0.8, label=label if row["seed"] == 0 else None)
        axes.axhline(TO_ARRIVE, color=panels.INK, linewidth=0.8, linestyle=":")
        axes.set_yscale("log")
        panels.legend(axes, loc="upper right")
        found[quantity] = figure
    return found
