"""Figures for people: as many digits as are known, a time in its largest units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


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
