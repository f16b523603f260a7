"""Training by gradient of a generative model that has no likelihood to maximise: its own objective is the criterion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.base.model import Model
from zoo.learners.likelihood import LikelihoodLearner


class ObjectiveLearner(LikelihoodLearner):
    """As :class:`zoo.learners.likelihood.LikelihoodLearner`, of a model that is no density: validation looks at the
    objective itself, ``val/loss``, the mean of what ``validate`` gives under that name; less is better.

    >>> import zoo
    >>> zoo.ObjectiveLearner(zoo.create("flow_matching")).monitor
    'val/loss'

    Args:
        model: made by ``zoo.create``, or its ``config``.
        optimizer, schedule, ema, clip, accumulate, monitor: see :class:`zoo.learners._gradient.GradientLearner`.
    """

    fallback_monitor = "train/loss"
    of_densities = False

    def __init__(
        self,
        model: Model | Mapping[str, Any],
        optimizer: Mapping[str, Any] | None = None,
        schedule: Mapping[str, Any] | None = None,
        ema: float = 0.998,
        clip: float = 0.0,
        accumulate: int = 1,
        monitor: str = "val/loss",
    ) -> None:
        optimizer = optimizer or {"name": "Muon", "lr": 0.01, "weight_decay": 0.0}
        super().__init__(model, optimizer, schedule, ema, clip, accumulate, monitor)
