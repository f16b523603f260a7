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

import sys

from zoo.benchmarks import FOLD_OPTIONS, FOLD_RULES
from zoo.command import command, parse_values


@command
def main() -> None:
    options = parse_values(sys.argv[1:], FOLD_OPTIONS, FOLD_RULES, __doc__ or "", "models are given as models")
    from zoo.benchmarks import _folds

    _folds.report(options, "table")


if __name__ == "__main__":
    main()
