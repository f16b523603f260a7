"""The table at the end of a multirun."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from rich.table import Column, Table

from zoo.terminal import console, printable

_directories: list[Path] = []


class RememberSweep(Callback):
    """Notes where the jobs of a multirun write, so that their summaries can be read when all have ended."""

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        _directories.append(Path(config.hydra.sweep.dir))


def print_table() -> None:
    """A row a job of the multirun that has just ended: its figures on validation and test data, and its seconds."""
    for directory in _directories:
        runs = sorted(path for path in directory.glob("*") if path.is_dir())
        read = [
            json.loads((run / "summary.json").read_text("utf-8")) if (run / "summary.json").is_file() else {}
            for run in runs
        ]
        # jobs that do not classify, or are no densities, leave columns empty; those that all leave so are not shown
        columns = {name: [column(summary) for summary in read] for name, column in COLUMNS.items()}
        columns = {name: cells for name, cells in columns.items() if any(cells)}
        table = Table(Column("run", overflow="fold"), *columns, title=printable(directory))
        for row, run in enumerate(runs):
            cells = [cells[row] for cells in columns.values()] if read[row] else ["failed"] if columns else []
            table.add_row(printable(run.name), *cells)
        console().print(table)


def _cell(group: str, key: str, form: str) -> Callable[[dict[str, Any]], str]:
    def cell(summary: dict[str, Any]) -> str:
        value = summary.get(group, {}).get(key)
        return "" if value is None else format(value, form)

    return cell


COLUMNS = {
    "val": _cell("last_epoch", "val/accuracy", ".2%"),
    "test": _cell("test", "accuracy", ".2%"),
    "nll": _cell("test", "nll", ".4f"),
    "ece": _cell("test", "ece", ".4f"),
    "log p(x)": _cell("test", "log_prob", ".1f"),
    "bits/dim": _cell("test", "bits_per_dim", ".3f"),
    "Fréchet / floor": _cell("test", "frechet_ratio", ".2f"),
    "s": _cell("seconds", "fit", ".1f"),
}
