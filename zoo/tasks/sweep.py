"""The table at the end of a multirun."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from rich.console import Console
from rich.table import Column, Table

_directories: list[Path] = []


class RememberSweep(Callback):
    """Notes where the jobs of a multirun write, so that their summaries can be read when all have ended."""

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        _directories.append(Path(config.hydra.sweep.dir))


def print_table() -> None:
    """A row a job of the multirun that has just ended: validation and test accuracy, nats, calibration, seconds."""
    for directory in _directories:
        table = Table(Column("run", overflow="fold"), "val", "test", "nll", "ece", "s", title=str(directory))
        for run in sorted(path for path in directory.glob("*") if path.is_dir()):
            path = run / "summary.json"
            if not path.is_file():
                table.add_row(run.name, "failed")
                continue
            summary = json.loads(path.read_text())
            test, val = summary["test"], summary["last_epoch"].get("val/accuracy")
            table.add_row(
                run.name,
                "" if val is None else f"{val:.2%}",
                f"{test['accuracy']:.2%}",
                f"{test['nll']:.4f}",
                f"{test['ece']:.4f}",
                f"{summary['seconds']['fit']:.1f}",
            )
        Console().print(table)
