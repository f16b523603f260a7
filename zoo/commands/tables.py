"""How well models of tables tell two classes apart, beside scikit-learn's on the same folds: areas under ROC curves.

python scripts/tables.py [data=german_credit,heart_disease] [models=mlp,vae]
    [key=value …]

{options}
"""

from __future__ import annotations

import sys

from zoo.benchmarks import fold_options
from zoo.command import command, parse_values

OPTIONS = fold_options(
    "breast_cancer, german_credit, heart_disease, taiwan_default",
    "logistic_regression, svm, mlp, naive_bayes, gmm, vae",
    "logistic_regression, svm, naive_bayes, boosted trees",
)


@command
def main() -> None:
    options = parse_values(sys.argv[1:], OPTIONS, __doc__ or "", "models are given as models")
    from zoo.benchmarks import _folds

    _folds.report(options, "table")


if __name__ == "__main__":
    main()
