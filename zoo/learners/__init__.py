"""LightningModules, one per training regime, found by the name that a learner's YAML gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule

from zoo.errors import ConfigError, did_you_mean

_NAMES = ("classification",)


def learner_class(name: str) -> type[LightningModule]:
    """The learner called ``name``. Raises ``ConfigError`` with the nearest names if there is none."""
    if name not in _NAMES:
        raise ConfigError(f"unknown learner {name!r}: {did_you_mean(name, _NAMES, 'known learners')}")
    from zoo.learners.classification import ClassificationLearner

    return {"classification": ClassificationLearner}[name]
