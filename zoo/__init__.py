"""A zoo of generative and discriminative models in one frame.

    >>> import zoo
    >>> zoo.list_models("*n")
    ['cnn', 'dcgan', 'logistic_regression', 'rnn']
    >>> model = zoo.create("cnn", zoo.DataSpec(shape=(3, 32, 32), num_classes=5))

``zoo.load(path)`` brings a trained model back, and questions are put to it: ``zoo.classify(model, x)``,
``zoo.anomaly_score(model, x)``, … The public names stand in ``__init__.pyi``. Everything is imported when it is first
used, so that ``import zoo`` costs nothing.
"""

from __future__ import annotations

from typing import Any

import lazy_loader

from zoo import found

__version__ = "0.1.0"

_attribute, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name in __all__:
        return _attribute(name)
    if name in found.names("zoo.questions"):  # one that was added as a file
        return getattr(found.find("zoo.questions", name, "question", "questions"), name)
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")
