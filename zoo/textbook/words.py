"""Figures and findings for people: as many digits as are known, a time in its largest units, an outcome in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from zoo.textbook.claim import (
    INCONCLUSIVE,
    LEVEL,
    NOT_SUPPORTED,
    SUPPORTED,
    Finding,
    deciding,
    judged,
    refuted,
    verdict,
)

DATA = {"digits": "digits", "mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}
SMALL_RUN = (
    "A small run, suite=quick: small models of the embedded digits, to see within minutes that everything runs and "
    "which way it points. Protocols are worded for suite=textbook, whose data, sizes and seeds are as they say."
)
HOLD, OPEN, AGAINST, REFUTE = "hold", "open", "against but not surely", "refuted"


def spelled(cell: Mapping[str, Any]) -> str:
    """An estimate with half its interval and its unit: ``"98.37 ± 0.12 %"``."""
    return f"{figure(cell)} {cell['unit'].replace('ratio', '')}".strip()


def figure(cell: Mapping[str, Any]) -> str:
    """As :func:`spelled`, without the unit: ``"≥ −85.3 ± 0.2"`` of a lower bound."""
    estimate, bound = cell["estimate"], "≥ " if (cell.get("kind") or "").startswith("lower bound") else ""
    half = (cell["interval"][1] - cell["interval"][0]) / 2 if cell["interval"] else 0.0
    if half == 0:
        return bound + _plain(estimate, 4 if abs(estimate) >= 10 else 3)
    decimals = 1 - math.floor(math.log10(half))
    return f"{bound}{decimal(estimate, decimals)} ± {decimal(half, decimals)}"


def decimal(value: float, decimals: int) -> str:
    """``value`` with so many decimals; below 0, with zeros in place of its last digits."""
    text = f"{round(value, decimals):,.{max(decimals, 0)}f}"
    return text.replace("-", "−") if text.strip("-0.,") else text.removeprefix("-")


def _plain(value: float, significant: int) -> str:
    return decimal(value, significant - 1 - math.floor(math.log10(abs(value))) if value else significant - 1)


def ordinal(place: int) -> str:
    """``"1st"``, ``"2nd"``, …"""
    return f"{place}" + {1: "st", 2: "nd", 3: "rd"}.get(place if place < 20 else place % 10, "th")


def clock(seconds: float) -> str:
    """A time for people: ``"1 h 12 min"``, ``"3 min"``, ``"40 s"``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


# Findings


def estimate(finding: Finding) -> str:
    """The mean over seeds with two digits of what is uncertain about it."""
    if not math.isfinite(finding.estimate):
        there = [value for value in finding.values if math.isfinite(value)]
        return f"none in {len(finding.values) - len(there)} of {len(finding.values)} seeds"
    return decimal(finding.estimate, _digits(finding))


def interval(finding: Finding) -> str:
    """``"1.2 to 3.4"``; a dash where one seed, or a value that is not finite, leaves it open."""
    low, high = finding.interval
    if not (math.isfinite(low) and math.isfinite(high)):
        return "–"
    return f"{decimal(low, _digits(finding))} to {decimal(high, _digits(finding))}"


def threshold(finding: Finding) -> str:
    """``"> 0"``, ``"< 0.05"``, ``"< 10⁻⁹"`` or a dash."""
    bound = finding.above if finding.above is not None else finding.below
    if bound is None:
        return "–"
    mantissa, e, exponent = f"{bound:g}".replace("-", "−").partition("e")
    if e:
        power = str(int(exponent.replace("−", "-"))).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        mantissa = f"{'' if mantissa == '1' else f'{mantissa} · '}10{power}"
    return f"{'>' if finding.above is not None else '<'} {mantissa}"


def measured(finding: Finding) -> str:
    """``"1.03 ± 0.13 points"``; with both ends where they are not equally far, as at the end of what can be."""
    low, high = finding.interval
    unit = "" if finding.unit in ("", "ratio") else f" {finding.unit}"
    if not math.isfinite(finding.estimate):
        return estimate(finding)
    if not (math.isfinite(low) and math.isfinite(high)):
        seeds = "one seed" if len(finding.values) == 1 else f"all {len(finding.values)} seeds"  # nothing varies
        return f"{estimate(finding)}{unit} in {seeds}"
    half = (high - low) / 2
    if abs((low + high) / 2 - finding.estimate) > 0.05 * half:
        return f"{estimate(finding)}{unit} ({interval(finding)})"
    return f"{estimate(finding)} ± {decimal(half, _digits(finding))}{unit}" if half else f"{estimate(finding)}{unit}"


def _digits(finding: Finding) -> int:
    """Decimals: two digits of half the interval, three of the estimate where there is no interval."""
    low, high = finding.interval
    half = (high - low) / 2
    if math.isfinite(half) and half > 0:
        return min(6, 1 - math.floor(math.log10(half)))
    size = abs(finding.estimate)
    return min(6, max(0, 2 - math.floor(math.log10(size)))) if size > 0 else 0


def standings(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """The findings that are judged, by what they do to their claim: those that hold, are open, speak against it by
    themselves but not after Holm's correction, and refute it."""
    against = refuted(findings)
    found: dict[str, list[Finding]] = {HOLD: [], OPEN: [], AGAINST: [], REFUTE: []}
    for finding in judged(findings):
        alone = {SUPPORTED: HOLD, NOT_SUPPORTED: AGAINST, INCONCLUSIVE: OPEN}[finding.verdict]
        found[REFUTE if finding in against else alone].append(finding)
    return found


def tally(findings: Sequence[Finding]) -> str:
    """``"5 of 8 findings hold, 2 open, 1 refuted"``."""
    standing = standings(findings)
    count = len(judged(findings))
    first = f"{len(standing.pop(HOLD))} of {count} {'finding holds' if count == 1 else 'findings hold'}"
    return ", ".join([first, *(f"{len(those)} {what}" for what, those in standing.items() if those)])


def outcome(findings: Sequence[Finding]) -> str:
    """What came out, in words and numbers: the finding that decides, with the same one of the other data sets."""
    decides = deciding(findings)
    several = len(judged(findings)) > 1
    lead = {
        NOT_SUPPORTED: "Refuted, most surely by" if len(refuted(findings)) > 1 else "Refuted by",
        SUPPORTED: "Holds, with the least margin:" if several else "Holds:",
        INCONCLUSIVE: "Undecided, mostly for" if several else "Undecided:",
    }[verdict(findings)]
    sign, _, bar = threshold(decides).partition(" ")
    asked = f"{'more' if sign == '>' else 'less'} than {bar} was asked for"
    said = f"{lead} “{decides.statement.rstrip('.')}”: {measured(decides)}, where {asked}"
    return f"{said}{_elsewhere(decides, findings)}."


def _elsewhere(decides: Finding, findings: Sequence[Finding]) -> str:
    """The same finding's numbers on the other data sets."""
    data = next((data for data in DATA if decides.key.startswith(f"{data}-")), None)
    if data is None:
        return ""
    question = decides.key.removeprefix(data)
    found = {finding.key: finding for finding in findings}
    others = [f"{DATA[other]} {measured(found[f'{other}{question}'])}" for other in DATA
              if other != data and f"{other}{question}" in found]  # fmt: skip
    return f"; {', '.join(others)}" if others else ""


def correction(findings: Sequence[Finding]) -> str:
    """How many findings are judged, and what Holm's correction asks of the surest one against the claim."""
    count = len(judged(findings))
    surest = min(finding.chances[1] for finding in judged(findings))
    if surest >= 0.5:
        return f"{count} judged; none speaks against the claim."
    level = (1 - LEVEL) / 2
    has = "less than 0.0001" if surest < 1e-4 else f"{surest:.2g}"
    return (
        f"{count} judged: to refute the claim, the surest one against it needs a one-sided p of at most "
        f"{level:.3g} / {count} = {level / count:.2g} (Holm's correction); it has {has}."
    )
