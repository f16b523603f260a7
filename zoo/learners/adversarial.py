"""Training of a generator against a discriminator: two players, two optimisers, one count of steps."""

from __future__ import annotations

import contextlib
import copy
import inspect
import math
from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from zoo.base.model import Model
from zoo.data.batches import Batches
from zoo.errors import ConfigError
from zoo.learners._gradient import GradientLearner
from zoo.learners.optimization import build_optimizer, build_schedule


class AdversarialLearner(GradientLearner):
    """Steps the discriminator with every batch and the generator with every ``n_critic``-th.

    >>> import zoo
    >>> zoo.AdversarialLearner(zoo.create("dcgan")).monitor is None
    True

    A batch is one ``global_step`` whatever ``n_critic`` is: the discriminator's optimiser is stepped through Lightning,
    which counts it, the generator's beside it. The generated images of a batch have the labels of its real ones, and
    serve both players. No logged value tells how good the images are, so the last epoch is what is kept.

    The model has two submodules, ``generator`` and ``discriminator``, whose parameters the players step, and

    ==============================  ===================================================================================
    ``real(x)``                     images in [0, 1] as the networks see them
    ``fake(x, labels)``             as many generated ones, from the global random stream
    ``discriminator_terms(real,     what the discriminator minimises in a batch, by its number: terms by name, among
    fake, labels, step)``           them ``loss``; and its values for real and generated images, ``(B,)``
    ``generator_loss(fake, real,    what the generator minimises
    labels)``
    ``discriminate(x, labels)``     the discriminator's values for images in [0, 1], ``(B,)``
    ``log_odds``                    whether these values are log odds that an image is real
    ==============================  ===================================================================================

    Args:
        model: a generator with a discriminator made by ``zoo.create``, or its ``config``.
        optimizer: of each player: ``name`` of a ``torch.optim`` class and its options.
        schedule: of each player: ``name`` of a ``torch.optim.lr_scheduler`` class, or ``"none"``, and its options.
        lr_ratio: the discriminator's learning rate over the generator's (Heusel et al. 2017).
        n_critic: batches a step of the generator.
        ema: decay a step of the averaged weights of the generator, in [0, 1); 0 keeps no average.
        clip: largest L2 norm of each player's gradient; 0 does not clip.

    Logged an epoch: ``train/d_loss``, with what the penalties that are on add to it, ``train/gradient_penalty``,
    ``train/r1`` and ``train/r2``; ``train/g_loss``; the discriminator's mean answers for real and generated images,
    ``train/d_real`` and ``train/d_fake``, as probabilities where the loss makes them log odds, else
    ``train/score_real`` and ``train/score_fake``; ``images_per_second``; and for validation images ``val/d_real`` or
    ``val/score_real``, which falls below the training images' where the discriminator learns these by heart. Every N
    steps ``step/d_loss``, ``step/g_loss``, ``step/lr`` (the generator's), ``step/d_gradient_norm`` and
    ``step/g_gradient_norm``.
    """

    fallback_monitor = "train/g_loss"
    parts = ("generator", "discriminator")
    norms = ("d_gradient_norm", "g_gradient_norm")
    steadier = ", set learner.clip, or steady the discriminator with model.r1"

    def __init__(
        self,
        model: Model | Mapping[str, Any],
        optimizer: Mapping[str, Any] | None = None,
        schedule: Mapping[str, Any] | None = None,
        lr_ratio: float = 1.0,
        n_critic: int = 1,
        ema: float = 0.999,
        clip: float = 0.0,
    ) -> None:
        optimizer = optimizer or {"name": "Adam", "lr": 2e-3, "betas": [0.5, 0.99]}
        schedule = schedule or {"name": "CosineAnnealingLR"}
        if not (0 < lr_ratio < math.inf and n_critic >= 1):
            raise ConfigError("learner.lr_ratio must be positive and learner.n_critic at least 1")
        if schedule.get("name") == "ReduceLROnPlateau":
            raise ConfigError("learner.schedule: ReduceLROnPlateau follows a monitored value, and a GAN has none")
        super().__init__(model, optimizer, schedule, ema, clip, None, lr_ratio=lr_ratio, n_critic=n_critic)
        self.lr_ratio = lr_ratio
        self.n_critic = n_critic
        self._answers = "d" if self.model.log_odds else "score"

    def check_model(self) -> None:
        if not hasattr(self.model, "discriminator_terms"):
            raise ConfigError(f"{self.model.name} has no discriminator_terms: learner=adversarial trains two players")

    @property
    def averaged(self) -> nn.Module:
        return nn.ModuleDict({"generator": self.model.generator})  # with the name it has in the model

    @property
    def evaluated(self) -> Model:
        """The discriminator with the averaged generator, where there is one."""
        if self.ema is None:
            return self.model
        model = copy.copy(self.model)  # which shares everything but the generator
        model._modules = self.model._modules | {"generator": cast(Any, self.ema.module)["generator"]}
        return model

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` to the discriminator's answers ``(B,)``."""
        return self.model.discriminate(x)

    # Training

    def configure_optimizers(self) -> Any:
        rates = {"discriminator": self.lr_ratio, "generator": 1.0}
        optimizers, self._schedules = [], []
        for player, rate in rates.items():
            optimizer = build_optimizer(self.model.get_submodule(player), **self.optimizer_options)
            for group in optimizer.param_groups:
                group["lr"] *= rate
            steps = self.total_steps() if self.schedule_options["name"] != "none" else 0
            if player == "generator":
                steps = max(steps // self.n_critic, 2)
            self._schedules.append(build_schedule(optimizer, steps, **self.schedule_options))
            optimizers.append(optimizer)
        self._schedule = None
        return optimizers, [schedule for schedule in self._schedules if schedule is not None]

    @property
    def needs_labels(self) -> bool:
        return self.model.log_prior is not None

    def on_train_start(self) -> None:
        super().on_train_start()
        if self.model.log_prior is None:
            return
        loader: Any = self.trainer.train_dataloader
        labels: Iterable[Tensor] = (
            [loader.split.labels] if isinstance(loader, Batches) else (labels for _, labels in loader)
        )
        counts = sum(torch.bincount(part, minlength=self.model.groups) for part in labels)
        counts = cast(Tensor, counts).to(self.device)
        if self.trainer.world_size > 1 and not isinstance(loader, Batches):  # which knows the images of all processes
            torch.distributed.all_reduce(counts)
        self.model.set_prior(counts)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        x, labels = batch
        model, step = self.trained, self.global_step
        self._drawn = self._draws and (step + 1) % self._every == 0
        classes = None if model.log_prior is None else labels
        real = model.real(x)
        generates = (step + 1) % self.n_critic == 0
        with torch.set_grad_enabled(generates):
            fake = model.fake(x, classes)
        terms, of_real, of_fake = model.discriminator_terms(real, fake, classes, step)
        self.watch(d_loss=cast(Tensor, sum(terms.values())))
        share = self._mean_size(len(x), batch_idx) / len(x)
        self._descend(0, cast(Tensor, sum(terms.values())), share)
        self.means.add(len(x), d_loss=terms.pop("loss"), **terms, **self._answered(real=of_real, fake=of_fake))
        if generates:
            loss = model.generator_loss(fake, real, classes)
            self.watch(g_loss=loss)
            self._descend(1, loss, share)
            if self.ema is not None:
                self.ema.update()
            self.means.add(len(x), g_loss=loss)
        self._totals["seen"] += len(x)
        self._totals["batches"] += 1
        self._look()

    # Lightning looks at the signature each step; a stored one is found ten times faster
    training_step.__signature__ = inspect.signature(training_step)  # type: ignore[attr-defined]

    def _descend(self, player: int, loss: Tensor, share: float) -> None:
        """A step of the discriminator (0) or the generator (1); ``share`` of processes, see :meth:`_mean_size`.

        Gradients are computed for its own parameters alone: those of the other player stay as they are, and the
        generator's step does not pay for those of the discriminator's weights.
        """
        optimizer, schedule = self._optimizers[player], self._schedules[player]
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        strategy: Any = self.trainer.strategy
        alone = self.trainer.world_size == 1
        # a strategy of several processes expects gradients of all parameters: these are averaged here
        with contextlib.nullcontext() if alone else strategy.block_backward_sync():
            self._backward(loss if share == 1 else loss / share, inputs=parameters)
        if not alone:
            for parameter in parameters:
                torch.distributed.all_reduce(parameter.grad)
                parameter.grad /= self.trainer.world_size
        if player == 0:
            optimizer.step()
        else:
            strategy.optimizer_step(optimizer.optimizer, lambda: None)
        optimizer.zero_grad()
        if schedule is not None:
            schedule.step()

    @property
    def is_drawn(self) -> bool:
        return self._drawn

    def _answered(self, **answers: Tensor) -> dict[str, Tensor]:
        """The discriminator's mean answers under their names, as probabilities where they are log odds."""
        name = self._answers
        return {f"{name}_{key}": (value.sigmoid() if name == "d" else value).mean() for key, value in answers.items()}

    def _draw_loss_curve(self) -> None:
        if self.logger is None:
            return
        values = {f"step/{name}": value for name, value in self.means.latest("d_loss", "g_loss").items()}
        values |= {name: float(norm) for name, norm in self._norms.items()}
        self._norms.clear()
        self.logger.log_metrics({"step/lr": self._optimizers[1].param_groups[0]["lr"], **values}, step=self.global_step)

    def on_train_epoch_end(self) -> None:
        speed = self.end_epoch()
        values = self.means.all()
        self.check_losses()
        logged = {f"train/{key}": value for key, value in values.items()} | {"images_per_second": speed}
        self.log_dict(logged, sync_dist=self.trainer.world_size > 1)

    # Validation and test

    def outputs(self, x: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        return (self.model.discriminate(x, labels),)

    def measure(self, stage: str, *parts: Tensor) -> dict[str, float]:
        return {key: float(value) for key, value in self._answered(real=parts[0]).items()}
