"""Students: one and the same classifier, taught by samples or by real images, and asked about real images.

What a classifier that has seen samples alone knows of real images is the classification accuracy score of a model
(Ravuri & Vinyals 2019, Classification Accuracy Score for Conditional Generative Models).
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import torch

from zoo import capability, registry
from zoo.base.generative import Generative, has_classes
from zoo.base.model import Model
from zoo.data import kinds
from zoo.data.augment import Augment
from zoo.data.batches import Batches
from zoo.data.splits import Split
from zoo.errors import ZooError
from zoo.learners.optimization import build_optimizer, build_schedule
from zoo.questions.classify import classify
from zoo.questions.sample import sample
from zoo.spec import DataSpec

SYNTHETIC_IMAGES = 50_000
SYNTHETIC_STEPS, SYNTHETIC_BATCH = 2_000, 128
SYNTHETIC_MODEL: dict[str, Any] = {"name": "lenet", "dropout": 0.5}
SYNTHETIC_OPTIMIZER: dict[str, Any] = {"name": "AdamW", "lr": 2e-3, "weight_decay": 0.01}
CHUNK = 2_000  # samples at a time


def synthetic_accuracy(model: Model, test: Split, n: int = SYNTHETIC_IMAGES, seed: int = 0) -> float:
    """The accuracy in [0, 1], on real test images, of a classifier that has seen ``n`` samples and no real image.

    Samples are of each class in equal numbers. The classifier and its training are the same for all models, and nothing
    is chosen by any real image. Raises ``ZooError`` where the model has no classes, or is of no pictures.
    """
    model.spec.check_kind("image", "a classifier is taught by samples")
    return taught_accuracy(labelled_samples(model, n, seed), test, model.spec, seed)


def labelled_samples(model: Model, n: int, seed: int = 0) -> Split:
    """``n`` samples as they are stored, of each class in equal numbers, in turns, and the same ones for the same seed.

    The first classes have one more where it does not divide. They are where the model is. Raises ``ZooError`` where
    the model has no classes, or cannot sample.
    """
    require_classes(model)
    generator, kind = capability.seeded(model, seed), kinds.find(model.spec.kind)
    labels = torch.arange(n) % model.spec.num_classes
    device = generator.device
    parts = []
    for chunk in labels.split(CHUNK):
        images = sample(model, len(chunk), chunk.to(device), generator)
        parts.append(kind.encode(images))
    return Split(kinds.joined(parts), labels.to(device), model.spec.kind)


def joined(first: Split, second: Split) -> Split:
    """The images of both, of which each counts alike."""
    second = second.to(first.images.device)
    images, labels = ([getattr(split, name) for split in (first, second)] for name in ("images", "labels"))
    return replace(first, images=torch.cat(images), labels=torch.cat(labels))


def taught_accuracy(
    images: Split,
    test: Split,
    spec: DataSpec,
    seed: int = 0,
    steps: int | None = None,
    batch_size: int | None = None,
    augment: Augment | None = None,
) -> float:
    """The accuracy in [0, 1] on ``test`` of one and the same classifier, a LeNet, that has learnt from ``images``.

    Args:
        images: uint8, all that it sees and is normalised by; trained on the device where they are.
        test: uint8, on any device.
        spec: shape and classes.
        seed: of its weights and of the order of images; the global random stream stays where it was.
        steps: of its training, however many images there are; 2,000 if left out.
        batch_size: images a step; 128 if left out.
        augment: random changes to the images, if any.
    """
    student = taught(images, spec, seed, steps or SYNTHETIC_STEPS, batch_size or SYNTHETIC_BATCH, augment)
    right = 0
    for x, truth in test.chunks(CHUNK):
        right += int((classify(student, x).argmax(1) == truth).sum())
    return right / len(test)


def require_classes(model: Model) -> None:
    if has_classes(model):
        return
    able = []
    for name in registry.list_models():
        cls = registry.model_class(name)
        if issubclass(cls, Generative) and hasattr(cls, "sample"):
            needs = f" ({cls.option}=true)" if cls.option in registry.options(name) else ""
            able.append(f"{name}{needs}")
    raise ZooError(f"the model draws no images of a given class; those that do: {', '.join(able)}")


def taught(
    images: Split, spec: DataSpec, seed: int, steps: int, batch_size: int, augment: Augment | None = None
) -> Model:
    """The classifier of :func:`taught_accuracy`, trained and in eval mode, on the device where the images are."""
    device = images.images.device
    mean, std = kinds.find(images.kind).statistics(images.images.cpu(), spec)
    seen = replace(spec, mean=mean, std=std)  # nothing of other images
    options = dict(SYNTHETIC_MODEL)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        student = registry.create(options.pop("name"), seen, **options).to(device)
        optimizer = build_optimizer(student, **SYNTHETIC_OPTIMIZER)
        schedule = build_schedule(optimizer, steps, "OneCycleLR")
        batches = Batches(images, batch_size, shuffle=True, augment=augment, seed=seed)
        done = 0
        while done < steps:
            batches.set_epoch(batches.epoch + 1)
            for x, labels in itertools.islice(batches, steps - done):
                optimizer.zero_grad()
                student.loss(student(x), labels).backward()
                optimizer.step()
                schedule.step()  # type: ignore[union-attr]
                done += 1
    return student.eval()
