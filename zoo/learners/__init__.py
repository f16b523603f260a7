"""LightningModules, one per training regime, found by the name that a learner's YAML gives."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from zoo.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from zoo.learners._learner import Learner

_CLASSES = {
    "classification": "ClassificationLearner",
    "likelihood": "LikelihoodLearner",
    "objective": "ObjectiveLearner",
    "em": "EMLearner",
    "adversarial": "AdversarialLearner",
}


def learner_class(name: str) -> type[Learner]:
    """The learner called ``name``. Raises ``ConfigError`` with the nearest names if there is none."""
    if name not in _CLASSES:
        raise ConfigError(f"unknown learner {name!r}: {did_you_mean(name, _CLASSES, 'known learners')}")
    module: Any = importlib.import_module(f"zoo.learners.{name}")
    return getattr(module, _CLASSES[name])
