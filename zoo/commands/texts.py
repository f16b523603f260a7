"""How often models of texts are right, beside scikit-learn's on the same folds: accuracy, and F1 of the second class.

python scripts/texts.py [data=sms_spam,sentence_polarity]
    [models=naive_bayes,nbsvm] [key=value …]

{options}

The scikit-learn models see the bags of the zoo's model and have its objective;
plain naive_bayes and plain svm are a vectorizer and a model with nothing set.
"""

from __future__ import annotations

import sys

from zoo.benchmarks import fold_options
from zoo.command import command, parse_values

OPTIONS = fold_options(
    "sms_spam, sentence_polarity, movie_reviews",
    "naive_bayes, logistic_regression, svm, nbsvm, mlp",
    "naive_bayes, logistic_regression, svm, nbsvm, plain naive_bayes, plain svm",
)


@command
def main() -> None:
    options = parse_values(sys.argv[1:], OPTIONS, __doc__ or "", "models are given as models")
    from zoo.benchmarks import _folds

    _folds.report(options, "tokens")


if __name__ == "__main__":
    main()
