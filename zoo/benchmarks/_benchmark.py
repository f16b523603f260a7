"""What a benchmark is, and how it is measured: several ways to do the same work, round by round in turn.

A machine that others use too is not equally fast all the time. The ways of a benchmark therefore take turns, and what
is reported of two of them is the median of the ratios within a round.
"""

from __future__ import annotations

import gc
import math
import re
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from zoo.errors import ZooError

Way = Callable[[int], float]
"""The number of the round, 0, 1, … (a seed, where one is needed), to a positive value in the benchmark's unit. The
round that warms up has number 0, too."""

QUICK_ROUNDS = 2


@dataclass(frozen=True)
class Options:
    """What of a suite is run.

    Attributes:
        models: these alone, where the suite knows them; None for those it runs by default.
        quick: a tenth of the images or less, and two rounds: does it run?
        rounds: how often each way is measured; 0 for the benchmark's own number.
    """

    models: tuple[str, ...] | None = None
    quick: bool = False
    rounds: int = 0

    def chosen(self, default: Iterable[str], known: Iterable[str] | None = None) -> list[str]:
        """The models to run of a suite that runs ``default`` unless asked, and ``known`` if asked."""
        if self.models is None:
            return list(default)
        valid = set(default if known is None else known)
        return [name for name in self.models if name in valid]

    def rounds_of(self, benchmark: Benchmark) -> int:
        return self.rounds or (min(QUICK_ROUNDS, benchmark.rounds) if self.quick else benchmark.rounds)


@dataclass(frozen=True)
class Benchmark:
    """Several ways to do the same work.

    Attributes:
        name: unique among all suites, such as ``"epoch-cnn"``.
        title: what is the same for all ways: model, images, batch.
        unit: of the values, such as ``"s"``, ``"s/epoch"``, ``"images/s"`` (a rate: more is better) or ``"MiB"``.
        ways: by name; the first is what the others are compared with.
        compare: ``"speedup"``: how many times faster than the first; ``"overhead"``: its time over the first's;
            ``"none"``.
        bar: ``"≥ 100"`` or ``"≤ 1.25"``: what the ratio of ``ours`` has to reach; its median, where nothing is
            compared.
        ours: the way that has to reach it, or several that all have to.
        rounds: how often each way is measured.
        warmup: whether a round is run before, and not counted.
        facts: way → further figures, plain data. The ways may fill them in while they run. ``reached``: whether the
            values mean anything, such as a time to an accuracy that was attained; where it is False, no bar is met.
            For the plot of the roofline, an image's ``flop`` and ``bytes``, and ``roofline``: the rate's share of what
            the machine allows.
        x: way → its place on the x axis, for benchmarks that show how a value grows.
        x_label: what that axis shows, with its unit.
    """

    name: str
    title: str
    unit: str
    ways: Mapping[str, Way]
    compare: str = "speedup"
    bar: str | None = None
    ours: str | tuple[str, ...] | None = None
    rounds: int = 5
    warmup: bool = True
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    x: Mapping[str, float] | None = None
    x_label: str = ""

    def __post_init__(self) -> None:
        if self.compare not in ("speedup", "overhead", "none"):
            raise ValueError(f"{self.name}: compare is speedup, overhead or none, not {self.compare!r}")
        unknown = {*self.of_ours, *(self.x or {}), *self.facts} - {*self.ways}
        if not self.ways or unknown or (self.bar is not None and not self.ours):
            raise ValueError(f"{self.name}: ours, x and facts name ways, and a bar is that of ours")
        if self.bar is not None:
            _limit(self.bar)

    @property
    def of_ours(self) -> tuple[str, ...]:
        return (self.ours,) if isinstance(self.ours, str) else self.ours or ()

    @property
    def more_is_better(self) -> bool:
        return self.unit.endswith("/s")

    def ratio(self, value: float, first: float) -> float | None:
        """What ``compare`` makes of a value and that of the first way."""
        if self.compare == "none":
            return None
        return value / first if self.more_is_better == (self.compare == "speedup") else first / value

    def met(self, ways: Mapping[str, Mapping[str, Any]]) -> bool | None:
        """Whether the measured ``ways`` reach the bar; None where there is none."""
        if self.bar is None:
            return None
        sign, limit = _limit(self.bar)
        figure = "median" if self.compare == "none" else "ratio"
        values = [ways[way][figure] for way in self.of_ours]
        if any(way["facts"].get("reached") is False for way in ways.values()):
            return False
        return all(value >= limit if sign == "≥" else value <= limit for value in values)


def _limit(bar: str) -> tuple[str, float]:
    match = re.fullmatch(r"([≤≥]) ?(\d+(?:\.\d+)?)", bar)
    if match is None:
        raise ValueError(f"a bar is '≥ 100' or '≤ 1.25', not {bar!r}")
    return match[1], float(match[2])


def measure(benchmark: Benchmark, rounds: int, announce: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Run every way once a round, ``rounds`` times.

    Args:
        benchmark: what to run.
        rounds: at least 1.
        announce: is told what runs next.

    Returns:
        Plain data: ``title``, ``unit``, ``compare``, ``bar``, ``met``, ``ours``, ``x``, ``x_label``, ``rounds`` and
        ``ways``: by name ``values``, ``median``, ``min``, ``max``, the median ``ratio`` within a round, and ``facts``.

    Raises:
        ZooError: a value is not a positive number.
    """
    values: dict[str, list[float]] = {way: [] for way in benchmark.ways}
    for number in range(-1 if benchmark.warmup else 0, rounds):
        for way, run in benchmark.ways.items():
            announce(
                f"{benchmark.name}: {way}, " + (f"round {number + 1} of {rounds}" if number >= 0 else "warming up")
            )
            gc.collect()  # what one way leaves behind is not the next one's to clear away
            value = float(run(max(number, 0)))
            if not 0 < value < math.inf:
                raise ZooError(f"{benchmark.name}: {way} gave {value} {benchmark.unit}")
            if number >= 0:
                values[way].append(value)
    first = next(iter(values.values()))
    ways = {way: _summary(benchmark, way, of_way, first) for way, of_way in values.items()}
    return {
        "title": benchmark.title,
        "unit": benchmark.unit,
        "compare": benchmark.compare,
        "bar": benchmark.bar,
        "met": benchmark.met(ways),
        "ours": list(benchmark.of_ours),
        "x": None if benchmark.x is None else dict(benchmark.x),
        "x_label": benchmark.x_label,
        "rounds": rounds,
        "ways": ways,
    }


def _summary(benchmark: Benchmark, way: str, values: list[float], first: list[float]) -> dict[str, Any]:
    ratios = [ratio for pair in zip(values, first, strict=True) if (ratio := benchmark.ratio(*pair)) is not None]
    return {
        "values": values,
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "ratio": statistics.median(ratios) if ratios else None,
        "facts": dict(benchmark.facts.get(way, {})),
    }
