"""An epoch as one writes it by hand: the least a training loop can do that trains as the default learners do.

Each loop trains a model for one epoch with the optimiser, the schedule and the average of its learner, counts what the
learner counts, validates it in the same way, and returns the seconds that took. There is no curve, no table, no bar and
no checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

from zoo.data.batches import Batches
from zoo.learners._learner import START_BATCH
from zoo.learners.optimization import AveragedWeights
from zoo.metrics.classification import summarize
from zoo.models.dcgan import LOGITS, signed

Loop = Callable[[Any, Batches, Batches], float]


def loop_for(model: Any) -> Loop:
    """The loop that trains ``model``."""
    if hasattr(model, "discriminator_terms"):
        return adversarial
    return likelihood if hasattr(model, "log_joint") else classification


class Classification:
    """What a classifier's loop does, step by step: as :class:`zoo.ClassificationLearner` trains it."""

    def __init__(self, model: Any, steps: int) -> None:
        self.model = model
        self.optimizer = AdamW(model.parameters(), lr=3e-3, weight_decay=0.01, fused=True)
        self.schedule = OneCycleLR(self.optimizer, 3e-3, total_steps=steps)
        self.total, self.right = torch.zeros(2, device=model.device).unbind()

    def step(self, x: Tensor, labels: Tensor) -> None:
        logits = self.model(x)
        loss = self.model.loss(logits, labels)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        self.total.add_(loss.detach(), alpha=len(labels))
        self.right.add_((logits.detach().argmax(1) == labels).sum())

    def summarize(self, rows: list[tuple[Tensor, ...]]) -> None:
        """Of logits and labels of the batches of validation."""
        float(self.total), float(self.right)
        logits, labels = _joined(rows)
        if self.model.margins:
            self.model.calibrate(logits, labels)
        summarize(self.model.log_proba(logits), labels)
        float(self.model.loss(logits, labels))


def classification(model: Any, train: Batches, val: Batches) -> float:
    """A classifier, as :class:`zoo.ClassificationLearner` trains it."""
    loop = Classification(model, len(train))
    start = time.perf_counter()
    for x, labels in train:
        loop.step(x, labels)
    model.eval()
    with torch.no_grad():
        loop.summarize([(model(x), labels) for x, labels in val])
    return time.perf_counter() - start


def likelihood(model: Any, train: Batches, val: Batches) -> float:
    """A density, as :class:`zoo.LikelihoodLearner` trains it. What it starts from is found before the clock runs."""
    if hasattr(model, "initialize"):
        generator = torch.Generator(train.split.images.device).manual_seed(torch.initial_seed())
        with torch.no_grad():
            model.initialize(Batches(train.split, START_BATCH), generator)
    optimizer = AdamW(model.parameters(), lr=3e-3, weight_decay=0.0, fused=True)
    schedule = OneCycleLR(optimizer, 3e-3, total_steps=len(train))
    sums: dict[str, Tensor] = {}
    start = time.perf_counter()
    for number, (x, labels) in enumerate(train):
        terms = model.losses(x, labels, number / len(train))
        terms["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        _add(sums, len(x), terms)
    {key: float(value) for key, value in sums.items()}
    model.eval()
    with torch.no_grad():
        rows = [{**model.validate(x, labels), "labels": labels} for x, labels in val]
        parts = dict(zip(rows[0], _joined([tuple(row.values()) for row in rows]), strict=True))
        joint, labels = parts.pop("log_joint").double().cpu(), parts.pop("labels").cpu()
        {key: float(value.double().mean()) for key, value in parts.items()}
        if model.log_prior is None:
            float(joint.mean())
        else:
            float(joint.gather(1, labels[:, None]).mean())
            summarize(joint.log_softmax(1), labels)
    return time.perf_counter() - start


def adversarial(model: Any, train: Batches, val: Batches) -> float:
    """A generator against a discriminator, as :class:`zoo.AdversarialLearner` trains them."""
    model.set_prior(train.split.labels.bincount(minlength=model.groups))
    players = [list(model.discriminator.parameters()), list(model.generator.parameters())]
    optimizers = [Adam(parameters, lr=2e-3, betas=(0.5, 0.99), fused=True) for parameters in players]
    schedules = [CosineAnnealingLR(optimizer, len(train)) for optimizer in optimizers]
    average = AveragedWeights(model.generator, 0.999)

    def descend(player: int, loss: Tensor) -> None:
        loss.backward(inputs=players[player])
        optimizers[player].step()
        optimizers[player].zero_grad()
        schedules[player].step()

    def mean_answer(values: Tensor) -> Tensor:
        return (values.sigmoid() if model.loss in LOGITS else values).mean()

    sums: dict[str, Tensor] = {}
    start = time.perf_counter()
    for number, (x, labels) in enumerate(train):
        classes = None if model.log_prior is None else labels
        fake = model.generator(model.prior(torch.randn(len(x), model.latent_dim, device=x.device)), classes)
        terms, of_real, of_fake = model.discriminator_terms(signed(x), fake, classes, number)
        descend(0, sum(terms.values()))
        _add(sums, len(x), {**terms, "real": mean_answer(of_real), "fake": mean_answer(of_fake)})
        loss = model.generator_loss(fake, signed(x), classes)
        descend(1, loss)
        average.update()
        _add(sums, len(x), {"generator": loss})
    {key: float(value) for key, value in sums.items()}
    model.eval()
    with torch.no_grad():
        (answers,) = _joined([(model.discriminate(x, labels),) for x, labels in val])
        float(mean_answer(answers))
    return time.perf_counter() - start


def _add(sums: dict[str, Tensor], size: int, values: dict[str, Tensor]) -> None:
    for key, value in values.items():
        if key in sums:
            sums[key].add_(value.detach(), alpha=size)
        else:
            sums[key] = value.detach() * size


def _joined(rows: list[tuple[Tensor, ...]]) -> list[Tensor]:
    return [torch.cat(parts) for parts in zip(*rows, strict=True)]
