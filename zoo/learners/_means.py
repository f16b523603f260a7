"""Means of an epoch, summed up where they are computed and read once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.base.precision import full


class EpochMeans:
    """Means over an epoch's examples by name, each over those it was added for. Adding never waits for a device.

    Reading does; and where ``processes`` is more than one, it waits for the others, which have added values of the same
    names and read the same ones: means are over the examples of all.
    """

    def __init__(self, processes: int = 1) -> None:
        self.processes = processes
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
        total, count = self._total(name)
        return total / count if count else 0.0

    def _total(self, name: str) -> tuple[float, int]:
        """Sum and number of what was added."""
        if name not in self._sums:
            return 0.0, 0
        total, count = self._sums[name], self._counts[name]
        if self.processes == 1:
            return float(total), count
        both = torch.stack([total.double(), torch.full_like(total, count, dtype=torch.double)])
        torch.distributed.all_reduce(both)
        return float(both[0]), int(both[1])

    def all(self) -> dict[str, float]:
        """Every mean so far."""
        return {name: self[name] for name in self._sums}

    def state_dict(self) -> dict[str, Any]:
        """What an epoch that is gone on with begins from, as plain data."""
        totals = {name: self._total(name) for name in self._sums}
        sums = {name: torch.tensor(total, dtype=self._sums[name].dtype) for name, (total, _) in totals.items()}
        return {
            "sums": sums,
            "counts": {name: count for name, (_, count) in totals.items()},
            "drawn": dict(self._drawn),
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device, first: bool = True) -> None:
        """Go on from :meth:`state_dict`, whose sums are those of all processes: the ``first`` one takes them."""
        self._sums = {name: value.to(device) * first for name, value in state["sums"].items()}
        self._counts = {name: count * first for name, count in state["counts"].items()}
        self._drawn = {name: (total, count) for name, (total, count) in state["drawn"].items()}

    def latest(self, *names: str) -> dict[str, float]:
        """Those of ``names`` that were added to since they were last asked for here: their means since then."""
        found = {}
        for name in names:
            total, count = self._total(name)
            before, seen = self._drawn.get(name, (0.0, 0))
            if count > seen:
                found[name] = (total - before) / (count - seen)
            self._drawn[name] = total, count
        return found
