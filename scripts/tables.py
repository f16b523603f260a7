"""How well models of tables tell two classes apart, beside scikit-learn's on the same folds: areas under ROC curves.

python scripts/tables.py [data=german_credit,heart_disease] [models=mlp,vae] [key=value …]

  data    tables, with commas, as train.py --help lists them (breast_cancer,german_credit,heart_disease,taiwan_default)
  models  of the zoo, with commas, each by its recipe (logistic_regression,svm,mlp,naive_bayes,gmm,vae); none for none
  peers   of scikit-learn, with commas (all: logistic_regression,svm,naive_bayes,boosted trees); none for none
  folds   stratified parts, each the test rows once; 0 (default): 10, and 5 of taiwan_default
  words   more of the command line of each training: words="data.indicators=true seed=1"
  json    a file to write the numbers to, an area a fold
"""

from __future__ import annotations

import shlex
import sys
from typing import Any

from zoo.command import command, parse_values
from zoo.errors import ConfigError, did_you_mean

DEFAULTS: dict[str, Any] = {"data": None, "models": None, "peers": None, "folds": 0, "words": "", "json": None}
RULES = {"folds": "0 or [2, inf)", "json": "file"}


def chosen(text: str | None, valid: list[str], what: str) -> list[str]:
    """The words between commas, all if left out. Raises ``ConfigError`` with the nearest for an unknown one."""
    if text is None:
        return valid
    words = [] if text == "none" else [word.strip() for word in text.split(",")]
    for word in words:
        if word not in valid:
            raise ConfigError(f"unknown {what} {word!r}: {did_you_mean(word, valid, f'{what}s')}")
    return words


@command
def main() -> None:
    options = parse_values(sys.argv[1:], DEFAULTS, RULES, __doc__ or "", "models are given as models")
    import torch
    from rich.table import Table

    from zoo.benchmarks import _tables
    from zoo.data import sources
    from zoo.files import user_path, write_json
    from zoo.run import machine
    from zoo.terminal import console

    data = list(_tables.FOLDS) if options["data"] is None else chosen(options["data"], sources.names(), "table")
    models = chosen(options["models"], list(_tables.MODELS), "model")
    peers = chosen(options["peers"], list(_tables.PEERS), "peer")
    if not models and not peers:
        raise ConfigError("there is nothing to compare: models=none and peers=none")
    try:
        words = shlex.split(options["words"])
    except ValueError as error:
        raise ConfigError(f"words={options['words']}: {error}") from error
    results = []
    for name in data:
        folds = options["folds"] or _tables.FOLDS.get(name, 10)
        results += _tables.compare(name, models, peers, words, folds, lambda word: print(word, file=sys.stderr))
    if options["json"]:
        rows = [vars(result) for result in results]
        write_json(
            user_path(options["json"]), {"options": options, "results": rows, **machine.describe(torch.device("cpu"))}
        )
    for name in data:
        mine = {result.model: result for result in results if (result.data, result.whose) == (name, "zoo")}
        theirs = {result.model: result for result in results if (result.data, result.whose) == (name, "scikit-learn")}
        folds = len(next(iter([*mine.values(), *theirs.values()])).areas)
        table = Table(
            "model", "zoo", "scikit-learn", "difference", title=f"{name}: AUROC, mean ± s.e. of {folds} folds"
        )
        for model in dict.fromkeys([*mine, *theirs]):
            both = [side[model].areas for side in (mine, theirs) if model in side]
            apart = [ours - other for ours, other in zip(*both, strict=True)] if len(both) == 2 else []
            cells = [_tables.shown(side[model].areas) if model in side else "" for side in (mine, theirs)]
            table.add_row(model, *cells, _tables.shown(apart, "+"))
        console().print(table)


if __name__ == "__main__":
    main()
