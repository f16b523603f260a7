"""Optimisers and schedules by the names of their torch classes, with the run's length filled in; averaged weights."""

from __future__ import annotations

import copy
import inspect
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler
from torch.optim.adamw import adamw

from zoo.errors import ConfigError, did_you_mean

Schedule = lr_scheduler.LRScheduler | lr_scheduler.ReduceLROnPlateau

LAYERS = (nn.Linear, nn.modules.conv._ConvNd, nn.RNNBase)  # whose weights are linear maps
QUINTIC = (3.4445, -4.7750, 2.0315)  # coefficients of the steepest of Newton and Schulz' polynomials (Jordan 2024)


class Muon(Optimizer):
    """Momentum whose step is orthogonalised, for inner matrices, and AdamW for all else, in one (Jordan et al. 2024).

    An inner matrix maps one hidden layer to the next. Its update, Nesterov's look ahead M along the average B of its
    gradients G, is brought to the nearest matrix without preferred directions, all singular values near 1:

        B += (1 - momentum) (G - B)        M = G + momentum (B - G)
        W -= lr (weight_decay W + 0.2 √max(rows, columns) NS(M))         NS(U S Vᵀ) ≈ U Vᵀ

    NS is :func:`orthogonalized`. The factor makes an entry's step as large as AdamW's is in practice (Liu et al. 2025,
    Muon is scalable for LLM training), so that one rate serves both. A filter of a convolution is a row of
    in·height·width entries. Matrices of one shape, or its transpose, are orthogonalised together. Everything else takes
    AdamW's step, at a rate of its own where one is given.

    Args:
        params: groups ``{"params": tensors, "inner": whether they are inner matrices}``, as :func:`kinds_of` makes.
        lr: of inner matrices; positive or 0.
        momentum: of inner matrices, in [0, 1).
        nesterov: whether M looks ahead; else it is B.
        steps: of the iteration in NS, at least 1.
        weight_decay: of both, decoupled from the gradient, a share of the rate.
        adamw_lr: of all else; None: ``lr``.
        betas: of AdamW, each in [0, 1).
        eps: of AdamW.

    Raises:
        ValueError: a value outside of its range, parameters that are not such groups, an inner one that is no matrix.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float = 3e-3,
        momentum: float = 0.95,
        nesterov: bool = True,
        steps: int = 5,
        weight_decay: float = 0.0,
        adamw_lr: float | None = None,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
    ) -> None:
        adamw_lr = lr if adamw_lr is None else adamw_lr
        if not (0 <= lr < math.inf and 0 <= adamw_lr < math.inf):
            raise ValueError(f"lr and adamw_lr must be at least 0, not {lr} and {adamw_lr}")
        if not (0 <= momentum < 1 and len(betas) == 2 and all(0 <= beta < 1 for beta in betas)):
            raise ValueError(f"momentum and two betas must be in [0, 1), not {momentum} and {betas}")
        if not (isinstance(steps, int) and steps >= 1):
            raise ValueError(f"steps must be a whole number, at least 1, not {steps}")
        if not (0 <= weight_decay < math.inf and 0 < eps < math.inf):
            raise ValueError(f"weight_decay must be at least 0 and eps above 0, not {weight_decay} and {eps}")
        groups = [dict(group) if isinstance(group, Mapping) else {} for group in params]
        if any("inner" not in group for group in groups):
            raise ValueError('parameters must come in groups {"params": …, "inner": true or false}')
        for group in groups:
            group.setdefault("lr", lr if group["inner"] else adamw_lr)
        options = {"momentum": momentum, "nesterov": nesterov, "steps": steps, "weight_decay": weight_decay}
        super().__init__(groups, {"lr": lr, **options, "betas": betas, "eps": eps, "fused": True})
        for group in self.param_groups:
            for parameter in group["params"]:
                if group["inner"] and parameter.dim() < 2:
                    raise ValueError(f"an inner matrix has two axes or more, not shape {tuple(parameter.shape)}")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if parameters:
                gradients = [cast(Tensor, parameter.grad) for parameter in parameters]
                (self._orthogonal_step if group["inner"] else self._adamw_step)(group, parameters, gradients)
        return loss

    def _orthogonal_step(self, group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor]) -> None:
        averages = self._kept("momentum_buffer", parameters)
        torch._foreach_lerp_(averages, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, averages, group["momentum"]) if group["nesterov"] else averages
        together: dict[tuple[int, int], list[int]] = defaultdict(list)
        wide = []
        for index, update in enumerate(ahead):
            matrix = update.flatten(1)
            wide.append(matrix if len(matrix) <= matrix.shape[1] else matrix.mT)
            together[wide[-1].shape[0], wide[-1].shape[1]].append(index)
        for shape, indices in together.items():
            stack = orthogonalized(torch.stack([wide[index] for index in indices]), group["steps"])
            stack *= 0.2 * math.sqrt(max(shape))
            for index, matrix in zip(indices, stack, strict=True):
                tall = len(parameters[index]) > shape[0]
                wide[index] = (matrix.mT if tall else matrix).reshape(parameters[index].shape)
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(parameters, wide, alpha=-group["lr"])

    def _adamw_step(self, group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor]) -> None:
        beta1, beta2 = group["betas"]
        for parameter in parameters:
            if "step" not in self.state[parameter]:
                self.state[parameter]["step"] = torch.zeros((), device=parameter.device)  # float32: the kernel counts
        adamw(
            parameters,
            gradients,
            self._kept("exp_avg", parameters),
            self._kept("exp_avg_sq", parameters),
            [],
            [self.state[parameter]["step"] for parameter in parameters],
            fused=group["fused"],
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )

    def _kept(self, name: str, parameters: list[Tensor]) -> list[Tensor]:
        """A tensor of the state for each parameter; zeros at first."""
        for parameter in parameters:
            if name not in self.state[parameter]:
                self.state[parameter][name] = torch.zeros_like(parameter)
        return [self.state[parameter][name] for parameter in parameters]


def orthogonalized(matrices: Tensor, steps: int = 5) -> Tensor:
    """``(N, rows, columns)``, each U S Vᵀ, to about U Vᵀ, by an iteration of products alone (Newton & Schulz).

    After division by the Frobenius norm, which brings singular values into [0, 1], each step takes each of them through
    s ↦ 3.4445 s - 4.775 s³ + 2.0315 s⁵, steep at 0: after five, those above 0.01 of the norm are in [0.68, 1.14]. Zero
    stays zero. On a GPU in bfloat16, which is enough (Jordan 2024).
    """
    a, b, c = QUINTIC
    x = matrices.mT if matrices.shape[1] > matrices.shape[2] else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
    x = x.bfloat16() if x.is_cuda else x
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    x = x.to(matrices.dtype)
    return x.mT if matrices.shape[1] > matrices.shape[2] else x


def kinds_of(module: nn.Module) -> list[dict[str, Any]]:
    """The parameters of ``module`` in Muon's groups: inner matrices, and, if there are any, all else.

    Inner are the weights of linear, convolutional and recurrent layers, except in what a module names in its attribute
    ``outer``, submodules whose outputs are no hidden layer. Raises ``ConfigError`` where there is none.
    """
    inner: dict[int, Tensor] = {}
    outer: set[int] = set()
    for submodule in module.modules():
        if isinstance(submodule, nn.Embedding):  # rows that are looked up; a head that shares them is outer as well
            outer |= {id(parameter) for parameter in submodule.parameters()}
        if isinstance(submodule, LAYERS):
            inner |= {id(parameter): parameter for parameter in submodule.parameters() if parameter.dim() > 1}
        for name in getattr(submodule, "outer", ()):
            named = dict(submodule.named_modules()).get(name)
            outer |= {id(parameter) for parameter in named.parameters()} if named is not None else set()
    inner = {key: parameter for key, parameter in inner.items() if key not in outer}
    if not inner:
        raise ConfigError("learner.optimizer: Muon is for weights between hidden layers, this model has none: AdamW")
    others = [parameter for parameter in module.parameters() if id(parameter) not in inner]
    groups = [{"params": [*inner.values()], "inner": True}]
    return groups + ([{"params": others, "inner": False}] if others else [])


def build_optimizer(module: nn.Module, name: str, **options: Any) -> Optimizer:
    """:class:`Muon`, or any optimiser of ``torch.optim``, of all parameters of ``module``; the fused kernel where there
    is one and nothing else is asked for.

    Raises ``ConfigError`` for an unknown name or option, or a value that the optimiser refuses.
    """
    cls = _find(torch.optim, name, Optimizer, "learner.optimizer", Muon=Muon)  # torch's has no AdamW in it
    _check_options(cls, options, "learner.optimizer")
    if "fused" in inspect.signature(cls).parameters and not {"fused", "foreach", "capturable"} & set(options):
        options["fused"] = True
    parameters: Iterable[Any] = kinds_of(module) if cls is Muon else module.parameters()
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
    steady = isinstance(optimizer, Muon) or not {"momentum", "betas"} & set(optimizer.defaults)
    if cls is lr_scheduler.OneCycleLR and steady:
        options.setdefault("cycle_momentum", False)
    if cls is lr_scheduler.ReduceLROnPlateau:
        options.setdefault("mode", monitored)
    steps: Any = options.get("total_steps")
    try:
        if cls is lr_scheduler.OneCycleLR and options.get("pct_start", 0.3) * steps == 1:
            options["pct_start"] = 1.5 / steps  # of a rise of one step it takes 0 / 0
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


def _find(module: Any, name: str, kind: Any, where: str, **ours: type) -> Any:
    known = {key: value for key, value in vars(module).items() if inspect.isclass(value) and issubclass(value, kind)}
    known |= ours
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
