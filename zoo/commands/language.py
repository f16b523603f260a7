"""Models of the next token, and hidden Markov models, on one page: nats and bits per token of the same test text.

python scripts/language.py [data=tiny_shakespeare] [models=unigram,ngram,gpt]
    [key=value …]

{options}

A class-conditional model is asked about log p(x) = log sum_y p(y) p(x | y). One seed, all test texts; the seconds are
those of training on this machine.
"""

from __future__ import annotations

import sys

from zoo.benchmarks import LANGUAGE, WORDS
from zoo.command import command, parse_values
from zoo.schema import Option

OPTIONS: dict[str, Option] = {
    "data": Option("pydoc", "texts, as train.py --help lists them; of pydoc there is nothing to download"),
    "models": Option(
        None,
        "with commas, each by its recipe, as train.py would train it (all of them: "
        + ", ".join(LANGUAGE)
        + "; a unigram is an ngram of order 1)",
    ),
    "words": WORDS,
    "json": Option(None, "a file to write the summaries to, one a model", "file"),
}


@command
def main() -> None:
    options = parse_values(sys.argv[1:], OPTIONS, __doc__ or "", "models are given as models")
    from zoo.benchmarks import _language

    _language.report(options)


if __name__ == "__main__":
    main()
