"""How often models of texts are right, beside scikit-learn's on the same folds: accuracy, and F1 of the second class.

python scripts/texts.py [data=sms_spam,sentence_polarity] [models=naive_bayes,nbsvm] [key=value …]

  data    texts, with commas, as train.py --help lists them (sms_spam,sentence_polarity,movie_reviews)
  models  of the zoo, with commas, each by its recipe (naive_bayes,logistic_regression,svm,nbsvm,mlp); none for none
  peers   of scikit-learn, with commas; none for none (all: naive_bayes,logistic_regression,svm,nbsvm, which see the
          bags of the zoo's model and have its objective; plain naive_bayes,plain svm: a vectorizer and a model with
          nothing set)
  folds   stratified parts, or a source's own, each the test texts once; 0 (default): 10
  words   more of the command line of each training: words="data.ngrams=1 seed=1"
  json    a file to write the numbers to, one a measure and a fold
"""

from __future__ import annotations

import sys

from zoo.benchmarks import FOLD_OPTIONS, FOLD_RULES
from zoo.command import command, parse_values


@command
def main() -> None:
    options = parse_values(sys.argv[1:], FOLD_OPTIONS, FOLD_RULES, __doc__ or "", "models are given as models")
    from zoo.benchmarks import _folds

    _folds.report(options, "tokens")


if __name__ == "__main__":
    main()
