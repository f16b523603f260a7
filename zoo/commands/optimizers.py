"""Muon beside AdamW: what a model reaches after as many seconds of training with each, at the rates that suit it best.

python scripts/optimizers.py [models=cnn,gpt] [seconds=40] [seeds=3]
    [key=value …]

{options}

All figures are of validation examples. A training has as many steps as fill the seconds at the median pace of its
optimiser, measured in turn; the rate rises for a twentieth of them, and falls to nothing.
"""

from __future__ import annotations

import sys

from zoo.benchmarks import OPTIMIZERS, WORDS
from zoo.command import command, parse_values
from zoo.schema import Option

OPTIONS: dict[str, Option] = {
    "models": Option(
        None,
        "with commas, each on its data by its recipe, but for optimiser and schedule (all: "
        + ", ".join(OPTIMIZERS)
        + ")",
    ),
    "seconds": Option(40.0, "of each training, without validation", "(0, inf)"),
    "seeds": Option(
        3,
        "of the trainings that are told of; the first one chose the rates among six candidates of each optimiser",
        "[1, inf)",
    ),
    "words": WORDS,
    "json": Option(None, "a file to write everything to", "file"),
}


@command
def main() -> None:
    options = parse_values(sys.argv[1:], OPTIONS, __doc__ or "", "models are given as models")
    from zoo.benchmarks import _optimizers

    _optimizers.report(options)


if __name__ == "__main__":
    main()
