"""Made-up texts and models of them, for tests of what users do with texts."""

import functools

import torch

import zoo
from zoo.data.splits import Splits, load_splits


@functools.cache
def splits(**options) -> Splits:
    """Opinions on dinners, see :mod:`zoo.data.sources.grammar`."""
    return load_splits("grammar", val_size=0.1, **options)


@functools.cache
def bayes(ngrams: int = 1, emission: str = "auto") -> zoo.Model:
    """Naive Bayes that has learnt from them."""
    parts = splits(ngrams=ngrams)
    model, batch = zoo.create("naive_bayes", parts.spec, emission=emission), (parts.train.x(), parts.train.labels)
    model.initialize([batch], torch.Generator())
    model.maximize(model.statistics(*batch))
    return model.eval()


def linear(ngrams: int = 1, name: str = "logistic_regression", **options) -> zoo.Model:
    """A linear model of any weights."""
    model = zoo.create(name, splits(ngrams=ngrams).spec, **options)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    return model.eval()
