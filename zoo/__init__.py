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

import functools
from typing import Any

__version__ = "0.1.0"


@functools.cache
def _public() -> tuple[Any, Any, Any]:
    """What finds a public name, and all of them, by the stub."""
    import lazy_loader

    return lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    attribute, _, public = _public()
    if name == "__all__":
        return __dir__()
    if name in public:
        return attribute(name)
    from zoo.found import find, names

    if name in names("zoo.questions"):  # one that was added as a file
        return getattr(find("zoo.questions", name, "question", "questions"), name)
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    from zoo.found import names

    return sorted({*_public()[2], *names("zoo.questions")})
