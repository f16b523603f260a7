"""Examples drawn from a trained model: images as a picture and as numbers, rows and texts as a table; and texts that a
language model goes on with."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo import capability, registry
from zoo.base.generative import has_classes
from zoo.base.model import Model, evaluating
from zoo.data import characters, kinds
from zoo.data.kinds import sound
from zoo.errors import ZooError, did_you_mean
from zoo.files import write_bytes, write_text
from zoo.inspect.grids import grid, png
from zoo.questions.sample import sample
from zoo.spec import DataSpec

AT_ONCE = 1000  # examples drawn at a time
WRITTEN = ("table", "tokens")  # kinds of examples that are written as CSV, by their csv_text


@dataclass(frozen=True)
class Samples:
    """Examples ``(n, C, H, W)`` as they are stored, their classes, int64 ``(n,)``, where there are any, and their seed.

    ``spec`` is what they are like.
    """

    images: Tensor
    labels: Tensor | None
    seed: int
    spec: DataSpec


def draw_samples(model: Model, n: int, label: int | None = None, seed: int = 0) -> Samples:
    """``n`` examples of p(x), or of p(x | label), the same ones for the same seed. Of a model with classes each one's
    class is drawn from p(y) and told.

    Raises ``ZooError`` where the model cannot sample, or a label is given to one without classes.
    """
    generator, kind = capability.seeded(model, seed), kinds.find(model.spec.kind)
    labels = None
    if label is not None:
        labels = torch.full((n,), label, device=generator.device)
    elif has_classes(model) and capability.can(model, "sample"):
        labels = torch.multinomial(model.log_prior.exp(), n, replacement=True, generator=generator)
    parts = []
    for start in range(0, n, AT_ONCE):
        part = None if labels is None else labels[start : start + AT_ONCE]
        images = sample(model, min(AT_ONCE, n - start), part, generator)
        parts.append(kind.encode(images).cpu())
    return Samples(kinds.joined(parts), None if labels is None else labels.cpu(), seed, model.spec)


def class_number(spec: DataSpec, text: str) -> int:
    """The class that a name, or else a number, means. Raises ``ZooError`` where there is none."""
    if text in spec.class_names:
        return spec.class_names.index(text)
    if text.isdecimal() and int(text) < spec.num_classes:
        return int(text)
    hint = did_you_mean(text, spec.class_names, "its classes")
    raise ZooError(f"the model knows no class {text!r}, and has numbers from 0 to {spec.num_classes - 1}: {hint}")


def suffixes(spec: DataSpec) -> tuple[str, ...]:
    """Of the files that samples are written to."""
    if spec.kind in WRITTEN:
        return (".csv",)
    return (".png", ".npz", ".wav") if spec.kind == "sound" else (".png", ".npz")


def write_samples(samples: Samples, stem: Path) -> list[Path]:
    """Write rows of a table, or texts, to ``<stem>.csv``, as ``csv_text`` of their kind has them. Of images, write
    ``<stem>.png``, a grid, and ``<stem>.npz``: ``images``, ``seed``, ``n``, and ``labels`` if there are any; of
    recordings ``<stem>.wav``, too, in which they are heard one after the other.

    The same samples give the same bytes. Raises ``ZooError`` where a file cannot be written.
    """
    files = [Path(f"{stem}{suffix}") for suffix in suffixes(samples.spec)]
    if samples.spec.kind in WRITTEN:
        kind: Any = kinds.find(samples.spec.kind)
        write_text(files[0], kind.csv_text(samples.images, samples.labels, samples.spec))
        return files
    picture, numbers, *recording = files
    count, columns = len(samples.images), math.ceil(math.sqrt(len(samples.images)))
    missing = -count % columns
    kind = kinds.find(samples.spec.kind)
    images = kind.show(kind.decode(samples.images), samples.spec)
    images = torch.cat([images, torch.ones(missing, *images.shape[1:])])
    write_bytes(picture, png(grid(images.unflatten(0, (-1, columns)))))
    arrays: dict[str, Any] = {"images": samples.images.numpy(), "seed": np.int64(samples.seed), "n": np.int64(count)}
    if samples.labels is not None:
        arrays["labels"] = samples.labels.numpy()
    content = io.BytesIO()
    np.savez(content, **arrays)
    write_bytes(numbers, content.getvalue())
    for path in recording:
        rate = samples.spec.settings["rate"]
        heard = sound.heard(kind.decode(samples.images), samples.spec)
        write_bytes(path, sound.wav(sound.one_by_one(heard, rate), rate))
    return files


def continued(
    model: Model,
    prompt: str = "",
    length: int = 500,
    n: int = 1,
    label: int | None = None,
    seed: int = 0,
    temperature: float = 1.0,
    top_k: int = 0,
) -> Iterator[str]:
    """``n`` texts that begin with ``prompt``, one after the other, in pieces: the prompt, each character as soon as it
    is drawn, and ``"\\n"`` behind each text, and another one between those of running text. The same for the same seed.

    Args:
        model: a language model.
        prompt: what each text begins with.
        length: how many characters follow, unless a text ends before.
        n: how many texts.
        label: their class; if left out, each one's is drawn from what the prompt says of it.
        seed: of random numbers.
        temperature, top_k: see :meth:`zoo.base.language.Language.generate`.

    Raises:
        ZooError: the model is no language model, or has no classes and there is a ``label``.
        DataError: a prompt that the model cannot read.
    """
    spec = model.spec
    if not _goes_on(model) or spec.values != "tokens":
        able = [name for name in registry.list_models() if _goes_on(registry.model_class(name))]
        raise ZooError(f"{model.name} does not go on with a text; models that do: {', '.join(able)}")
    beginning = characters.prompts([prompt], spec).flatten(1)
    generator = capability.seeded(model, seed)
    between = "\n" if spec.is_running else ""
    with evaluating(model):
        tokens = beginning.to(model.device)
        for number in range(n):
            of = model.likely_groups(tokens, generator) if label is None else model.draw_groups(1, label, generator)
            yield between * (number > 0) + characters.text_of(beginning, spec)[0]
            for token in model.generate(of, tokens, length, generator, temperature, top_k):
                if piece := characters.text_of(token[:, None], spec)[0]:
                    yield piece
            yield "\n"


def _goes_on(model: Model | type[Model]) -> bool:
    return "tokens" in model.takes and hasattr(model, "generate") and hasattr(model, "likely_groups")
