"""Means of an epoch, summed up where they are computed and read once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.base.precision import full


class EpochMeans:
    """Means over an epoch's examples by name, each over those it was added for. Adding never waits for a device."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._drawn: dict[str, tuple[float, int]] = {}  # both at the last point of a curve

    def add(self, size: int, **means: Tensor) -> None:
        """Take in the means over a batch of ``size`` examples, scalars."""
        for name, value in means.items():
            self._counts[name] = self._counts.get(name, 0) + size
            if name in self._sums:
                self._sums[name].add_(value.detach(), alpha=size)
            else:
                self._sums[name] = full(value.detach()) * size

    def add_sum(self, size: int, **sums: Tensor) -> None:
        """As :meth:`add`, with sums over the batch, such as how many examples are classified rightly."""
        for name, value in sums.items():
            self._counts[name] = self._counts.get(name, 0) + size
            if name in self._sums:
                self._sums[name].add_(value.detach())
            else:
                self._sums[name] = value.detach().float()

    def __getitem__(self, name: str) -> float:
        """The mean so far; 0 where nothing was added."""
        return float(self._sums[name]) / self._counts[name] if name in self._sums else 0.0

    def all(self) -> dict[str, float]:
        """Every mean so far."""
        return {name: self[name] for name in self._sums}

    def state_dict(self) -> dict[str, Any]:
        """What an epoch that is gone on with begins from, as plain data."""
        return {"sums": dict(self._sums), "counts": dict(self._counts), "drawn": dict(self._drawn)}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on from :meth:`state_dict`."""
        self._sums = {name: value.to(device) for name, value in state["sums"].items()}
        self._counts = dict(state["counts"])
        self._drawn = {name: (total, count) for name, (total, count) in state["drawn"].items()}

    def latest(self, *names: str) -> dict[str, float]:
        """Those of ``names`` that were added to since they were last asked for here: their means since then."""
        found = {}
        for name in names:
            total, count = float(self._sums.get(name, 0)), self._counts.get(name, 0)
            before, seen = self._drawn.get(name, (0.0, 0))
            if count > seen:
                found[name] = (total - before) / (count - seen)
            self._drawn[name] = total, count
        return found
