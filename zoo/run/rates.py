"""Which learning rate suits a training: its loss while the rate rises.

References: Smith (2017), Cyclical learning rates for training neural networks, section 3.3: the range test.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.loggers import Logger
from rich.console import Console

from zoo.errors import ConfigError, DivergedError
from zoo.inspect.figures import blank
from zoo.run.train import build, fit
from zoo.run.trainer import quiet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SMOOTH = 0.9  # decay a step of the mean of losses
RISEN = 0.5  # of what the loss has fallen by: once it is that much above its least value, the test is over


@dataclass(frozen=True)
class Rates:
    """The mean loss of recent batches, at each of the rates that were tried, which rise.

    Attributes:
        rates: of the optimiser.
        losses: debiased exponential means.
        ended: whether the loss rose, or was no number, before the highest rate.
    """

    rates: list[float]
    losses: list[float]
    ended: bool

    @property
    def steepest(self) -> float:
        """The rate at which the loss falls the fastest, by the logarithm of the rate."""
        falls = torch.tensor(self.losses).diff()
        return self.rates[int(falls.argmin()) + 1]


class _Curve(Logger):
    """Keeps the loss of each step."""

    name, version = "rates", ""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if "step/loss" in metrics:
            self.losses.append(float(metrics["step/loss"]))

    def log_hyperparams(self, *_: Any, **__: Any) -> None: ...


def tried(settings: Mapping[str, Any], low: float, high: float, steps: int) -> Rates:
    """Train with a rate that rises from ``low`` to ``high``, by the same factor each step, and keep nothing.

    Args:
        settings: a checked configuration.
        low, high: rates above 0.
        steps: of the optimiser.

    Raises:
        ConfigError: a training without a rate, such as that of EM, or without one loss, such as that of a GAN; or rates
            of which one is not above the other.
    """
    if not 0 < low < high:
        raise ConfigError(f"the rate rises from low={low:g} to high={high:g}: it is below, and above 0")
    learner = dict(settings["learner"])
    if "optimizer" not in learner or learner["name"] == "adversarial":
        raise ConfigError(f"learner={learner['name']} has no rate that one loss would tell of")
    if "calibrate" in learner:  # by validation images, which are not looked at
        learner["calibrate"] = False
    learner["optimizer"] = {**learner["optimizer"], "lr": low}
    learner["schedule"] = {"name": "ExponentialLR", "gamma": (high / low) ** (1 / max(steps - 1, 1))}
    trainer = {
        **settings["trainer"], "max_steps": steps, "max_epochs": steps, "limit_val_batches": 0, "log_every_n_steps": 1,
    }  # fmt: skip
    changed = {
        **settings,
        "patience": 0,
        "save_every": 0,
        "learner": learner,
        "trainer": trainer,
        "logger": {"name": "none"},
    }
    curve = _Curve()
    with quiet(), tempfile.TemporaryDirectory() as run:
        made, data, lightning = build(changed, Path(run), Console(quiet=True), pictures=False)
        lightning.loggers = [curve]
        diverged = False
        try:
            fit(made, data, lightning, Path(run))
        except DivergedError:
            diverged = True
    rates = [low * learner["schedule"]["gamma"] ** number for number in range(len(curve.losses))]
    return _smoothed([*zip(rates, curve.losses, strict=True)], diverged)


def _smoothed(points: list[tuple[float, float]], diverged: bool) -> Rates:
    """Up to where the loss has risen."""
    rates: list[float] = []
    losses: list[float] = []
    mean = 0.0
    for number, (rate, loss) in enumerate(points, 1):
        if not math.isfinite(loss):
            return _checked(Rates(rates, losses, True))
        mean = SMOOTH * mean + (1 - SMOOTH) * loss
        now = mean / (1 - SMOOTH**number)
        least = min([*losses, now])
        if losses and now - least > RISEN * max(losses[0] - least, abs(losses[0]) * 0.1):
            return _checked(Rates(rates, losses, True))
        rates.append(rate)
        losses.append(now)
    return _checked(Rates(rates, losses, diverged))


def _checked(found: Rates) -> Rates:
    if len(found.rates) < 3:
        raise ConfigError("the loss rose at once: try a lower low=…")
    return found


def figure(found: Rates) -> Figure:
    """The loss by the rate, and where it falls the fastest."""
    drawn = blank(6, 4)
    axes = drawn.add_subplot()
    axes.plot(found.rates, found.losses)
    axes.axvline(found.steepest, color="0.6", linestyle="--")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss", title=f"falls the fastest at {found.steepest:.2g}")
    return drawn
