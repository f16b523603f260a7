"""Models of the next token on one page: each trained by its recipe in a process of its own, and its summary read."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from zoo import config as configuration
from zoo.benchmarks import LANGUAGE
from zoo.benchmarks._folds import chosen, parted
from zoo.data import sources
from zoo.errors import ConfigError
from zoo.files import CONFIGS, user_path, write_json
from zoo.run import machine
from zoo.run.process import TRAIN, only_run_in, run
from zoo.terminal import console


def report(options: Mapping[str, Any]) -> None:
    """Print the page that ``scripts/language.py`` is asked for. Raises ``ConfigError`` for unknown names."""
    if sources.find(options["data"]).KIND != "tokens":
        raise ConfigError(f"data={options['data']} holds no texts: tiny_shakespeare, names, text or pydoc do")
    names = chosen(options["models"], LANGUAGE, "model")
    words = parted(options["words"])
    if "reads" in configuration.settings([f"data={options['data']}"], CONFIGS)["data"]:
        words.append("data.reads=characters")
    summaries = {}
    for number, name in enumerate(names, 1):
        print(f"{name}, {number} of {len(names)}", file=sys.stderr)
        summaries[name] = trained([*LANGUAGE[name], f"data={options['data']}", *words])
        if options["json"]:  # what is done is kept if a later one fails
            content = {"options": dict(options), "summaries": summaries, **machine.describe(torch.device("cpu"))}
            write_json(user_path(options["json"]), content)
    console().print(page(options["data"], summaries))


def trained(words: Sequence[str]) -> dict[str, Any]:
    """The summary of a training. Raises ``ZooError`` with what it said where it failed."""
    with tempfile.TemporaryDirectory() as folder:
        run(*TRAIN, *words, f"runs={folder}", "logger=none", "trainer.accelerator=cpu")
        return json.loads((only_run_in(Path(folder)) / "summary.json").read_text("utf-8"))


def page(data: str, summaries: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row a model, the worst first."""
    table = Table("model", title=f"{data}: the test text, per token")
    for column in ("nats", "bits", "parameters", "training, s"):
        table.add_column(column, justify="right")
    for name, summary in sorted(summaries.items(), key=lambda item: -item[1]["test"]["nats_per_token"]):
        test = summary["test"]
        figures = (f"{test['nats_per_token']:.4f}", f"{test['bits_per_token']:.4f}")
        table.add_row(name, *figures, f"{summary['parameters']:,}", f"{summary['seconds']['fit']:.0f}")
    return table
