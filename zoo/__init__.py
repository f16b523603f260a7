"""A zoo of generative and discriminative models in one frame.

    >>> import zoo
    >>> zoo.list_models("*n")
    ['cnn', 'logistic_regression', 'rnn']
    >>> model = zoo.create("cnn", zoo.DataSpec(shape=(3, 32, 32), num_classes=5))

``zoo.load(path)`` brings a trained model back, and the capability functions ask it: ``zoo.classify(model, x)``,
``zoo.anomaly_score(model, x)``, … Everything is imported when it is first used, so ``import zoo`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.capability import (
        anomaly_score,
        capabilities,
        classify,
        encode,
        impute,
        interpolate,
        log_prob,
        reconstruct,
        sample,
    )
    from zoo.checkpoint import load, save
    from zoo.data.datamodule import ImageDataModule
    from zoo.errors import CheckpointError, ConfigError, DataError, ZooError
    from zoo.learners.adversarial import AdversarialLearner
    from zoo.learners.classification import ClassificationLearner
    from zoo.learners.em import EMLearner
    from zoo.learners.likelihood import LikelihoodLearner
    from zoo.registry import create, list_models, register
    from zoo.spec import DataSpec

__version__ = "0.1.0"

_HOMES = {
    "zoo.capability": (
        "anomaly_score", "capabilities", "classify", "encode", "impute", "interpolate", "log_prob", "reconstruct",
        "sample",
    ),
    "zoo.checkpoint": ("load", "save"),
    "zoo.data.datamodule": ("ImageDataModule",),
    "zoo.errors": ("CheckpointError", "ConfigError", "DataError", "ZooError"),
    "zoo.learners.adversarial": ("AdversarialLearner",),
    "zoo.learners.classification": ("ClassificationLearner",),
    "zoo.learners.em": ("EMLearner",),
    "zoo.learners.likelihood": ("LikelihoodLearner",),
    "zoo.registry": ("create", "list_models", "register"),
    "zoo.spec": ("DataSpec",),
}  # fmt: skip
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [  # noqa: RUF022 - in the order of use
    "create", "load", "save", "list_models", "capabilities", "register",
    "classify", "sample", "log_prob", "encode", "reconstruct", "interpolate", "impute", "anomaly_score",
    "DataSpec", "ImageDataModule", "ClassificationLearner", "LikelihoodLearner", "EMLearner", "AdversarialLearner",
    "ZooError", "ConfigError", "DataError", "CheckpointError",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
