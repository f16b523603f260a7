"""Recordings: the pictures of their spectra, and the recordings themselves, to be heard in TensorBoard and as files."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo import capability
from zoo.base.generative import has_classes
from zoo.base.model import Model, evaluating
from zoo.data.kinds import sound
from zoo.data.splits import Split
from zoo.inspect.kinds import worst
from zoo.inspect.kinds.image import learnt as learnt  # recordings are pictures, too
from zoo.inspect.kinds.image import mistakes as mistakes
from zoo.questions.sample import sample

SAID = 10  # samples, and mistakes, that are heard at most


def heard(model: Model, split: Split, log_proba: Tensor | None) -> dict[str, Tensor]:
    """Recordings ``(L,)`` from -1 to 1 by name: ``model/samples``, one of each of the first ten classes, always from
    the same random numbers; ``test/worst_mistakes``, as the model has heard them, by what they were taken for."""
    spec = model.spec
    found: dict[str, Tensor] = {}
    if capability.can(model, "sample"):
        generator = capability.seeded(model, 0)
        classes = has_classes(model)
        labels = torch.arange(min(spec.num_classes, SAID)) if classes else None
        with evaluating(model):
            x = sample(model, SAID if labels is None else len(labels), labels, generator)
        names = spec.class_names if classes else tuple(map(str, range(1, SAID + 1)))
        found |= {f"model/samples/{name}": said for name, said in zip(names, sound.heard(x, spec), strict=False)}
    if log_proba is not None:
        wrong, predicted, _ = worst(split, log_proba, SAID)
        part = split.take(wrong)
        for number, (said, label, guess) in enumerate(
            zip(sound.heard(part.x(), spec), part.labels.tolist(), predicted.tolist(), strict=True), 1
        ):
            name = f"{number}, {spec.class_names[label]} taken for {spec.class_names[guess]}"
            found[f"test/worst_mistakes/{name}"] = said
    return found
