"""The first thing that a training says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.terminal import printable


def announce(settings: Mapping[str, Any], resume: Path | None = None, heading: str = "") -> None:
    """Say what is about to be trained, on what and for how long; of a job of a multirun, under a heading.

    Nothing that is slow to import is needed for it.
    """
    steps, epochs = settings["trainer"]["max_steps"], settings["trainer"]["max_epochs"]
    length = f"{epochs:,} epoch{'' if epochs == 1 else 's'}"
    if steps >= 0:
        length += f", {steps:,} step{'' if steps == 1 else 's'} at most"
    path = settings["data"].get("path")  # of one's own pictures, or tables
    which = f" ({Path(path).name})" if path else ""
    line = f"{settings['model']['name']} on {settings['data']['name']}{which}: {length}"
    if resume:
        line += f", going on in {resume}"
    print(f"\n{printable(heading)}\n{printable(line)}" if heading else printable(line), flush=True)
