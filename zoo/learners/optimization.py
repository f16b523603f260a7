"""Optimisers and schedules by the names of their torch classes, with the run's length filled in; averaged weights."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler

from zoo.errors import ConfigError, did_you_mean

Schedule = lr_scheduler.LRScheduler | lr_scheduler.ReduceLROnPlateau


def build_optimizer(parameters: Iterable[Tensor], name: str, **options: Any) -> Optimizer:
    """Any optimiser of ``torch.optim``; the fused kernel where there is one and nothing else is asked for.

    Raises ``ConfigError`` for an unknown name or option, or a value that the optimiser refuses.
    """
    cls = _find(torch.optim, name, Optimizer, "learner.optimizer")
    _check_options(cls, options, "learner.optimizer")
    if "fused" in inspect.signature(cls).parameters and not {"fused", "foreach", "capturable"} & set(options):
        options["fused"] = True
    try:
        return cls(parameters, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"learner.optimizer: {name}: {error}") from error


def build_schedule(
    optimizer: Optimizer, total_steps: int, name: str, monitored: str = "min", **options: Any
) -> Schedule | None:
    """Any schedule of ``torch.optim.lr_scheduler``, stepped once an optimiser step; ``"none"`` keeps the rate.

    ``total_steps``, ``T_max`` and ``total_iters`` are filled in with the run's length, OneCycleLR's ``max_lr`` with the
    optimiser's rate. ``ReduceLROnPlateau`` is stepped after each validation instead; ``monitored`` says whether a
    larger (``"max"``) or a smaller (``"min"``) value is better there.

    Raises ``ConfigError`` for an unknown name or option, or a value that the schedule refuses.
    """
    if name == "none":
        return None
    cls = _find(lr_scheduler, name, (lr_scheduler.LRScheduler, lr_scheduler.ReduceLROnPlateau), "learner.schedule")
    _check_options(cls, options, "learner.schedule")
    known = {
        "total_steps": total_steps,
        "T_max": total_steps,
        "total_iters": total_steps,
        "max_lr": [group["lr"] for group in optimizer.param_groups],
    }
    options = {key: value for key, value in known.items() if key in inspect.signature(cls).parameters} | options
    if cls is lr_scheduler.OneCycleLR and not {"momentum", "betas"} & set(optimizer.defaults):
        options.setdefault("cycle_momentum", False)
    if cls is lr_scheduler.ReduceLROnPlateau:
        options.setdefault("mode", monitored)
    try:
        return cls(optimizer, **options)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ConfigError(f"learner.schedule: {name}: {error}") from error


class AveragedWeights(nn.Module):
    """An exponential moving average of a model's parameters that is not held back by its start.

    ``average += (1 - d) (current - average)`` with ``d = min(decay, (1 + n) / (10 + n))`` after n updates; the first
    one copies. An update never waits for the device. Buffers are the model's own: they are the same tensors.

    Args:
        model: whose parameters are averaged.
        decay: in [0, 1).

    Attributes:
        module: a copy of ``model`` with the averaged parameters.
        n_averaged: the number of updates, as checkpoints store it.
    """

    n_averaged: Tensor

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__()
        self.module = copy.deepcopy(model).requires_grad_(False)
        self.register_buffer("n_averaged", torch.zeros((), dtype=torch.long))
        self.decay = decay
        self.follow(model)

    def follow(self, model: nn.Module) -> None:
        """Average the parameters of ``model`` from here on. To be called again once tensors have moved, or been loaded,
        which leaves this module with buffers and a count of its own."""
        for name, module in self.module.named_modules():
            module._buffers = model.get_submodule(name)._buffers
        self._average = [parameter.detach() for parameter in self.module.parameters()]
        self._current = [parameter.detach() for parameter in model.parameters()]
        self._updates = int(self.n_averaged)

    @torch.no_grad()
    def update(self) -> None:
        """Take in the current parameters."""
        n = self._updates
        decay = min(self.decay, (1 + n) / (10 + n)) if n else 0.0
        torch._foreach_lerp_(self._average, self._current, 1 - decay)
        self._updates += 1
        self.n_averaged += 1


def _find(module: Any, name: str, kind: Any, where: str) -> Any:
    known = {key: value for key, value in vars(module).items() if inspect.isclass(value) and issubclass(value, kind)}
    if name not in known:
        raise ConfigError(f"{where}.name: unknown {name!r}: {did_you_mean(name, known, 'known')}")
    return known[name]


def _check_options(cls: type, options: Mapping[str, Any], where: str) -> None:
    valid = [key for key in inspect.signature(cls).parameters if key not in ("params", "optimizer", "last_epoch")]
    for key in options:
        if key not in valid:
            raise ConfigError(
                f"{where}: {cls.__name__} has no option {key!r}: {did_you_mean(key, valid, 'its options')}"
            )
