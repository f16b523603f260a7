"""Muon beside AdamW: what a model reaches after as many seconds of training with each, at the rates that suit it best.

python scripts/optimizers.py [models=cnn,gpt] [seconds=40] [seeds=3] [key=value …]

  models   with commas, each on its data by its recipe, but for optimiser and
           schedule (all: {models})
  seconds  of each training, without validation ({seconds})
  seeds    of the trainings that are told of; the first one chose the rates
           among six candidates of each optimiser ({seeds})
  words    more of the command line of each training: words="data.root=data"
  json     a file to write everything to

All figures are of validation examples. A training has as many steps as fill the seconds at the median pace of its
optimiser, measured in turn; the rate rises for a twentieth of them, and falls to nothing.
"""

from __future__ import annotations

import sys
from typing import Any

from zoo.command import command, parse_values

DEFAULTS: dict[str, Any] = {"models": None, "seconds": 40.0, "seeds": 3, "words": "", "json": None}
RULES = {"seconds": "(0, inf)", "seeds": "[1, inf)", "json": "file"}


@command
def main() -> None:
    from zoo.benchmarks import OPTIMIZERS

    usage = (__doc__ or "").format(**{**DEFAULTS, "models": ", ".join(OPTIMIZERS)})
    options = parse_values(sys.argv[1:], DEFAULTS, RULES, usage, "models are given as models")
    from zoo.benchmarks import _optimizers

    _optimizers.report(options)


if __name__ == "__main__":
    main()
