"""Models of the next token, and hidden Markov models, on one page: nats and bits per token of the same test text.

python scripts/language.py [data=tiny_shakespeare] [models=unigram,ngram,gpt] [key=value …]

  data    texts, as train.py --help lists them (pydoc: nothing to download)
  models  with commas, each by its recipe, as train.py would train it (all:
          {models}; a unigram is an ngram of order 1)
  words   more of the command line of each training: words="seed=1"
  json    a file to write the summaries to, one a model

A class-conditional model is asked about log p(x) = log sum_y p(y) p(x | y). One seed, all test texts; the seconds are
those of training on this machine.
"""

from __future__ import annotations

import sys
from typing import Any

from zoo.command import command, parse_values

DEFAULTS: dict[str, Any] = {"data": "pydoc", "models": None, "words": "", "json": None}
RULES = {"json": "file"}


@command
def main() -> None:
    from zoo.benchmarks import LANGUAGE

    known = (__doc__ or "").format(models=", ".join(LANGUAGE))
    options = parse_values(sys.argv[1:], DEFAULTS, RULES, known, "models are given as models")
    from zoo.benchmarks import _language

    _language.report(options)


if __name__ == "__main__":
    main()
