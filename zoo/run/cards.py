"""Released models: weights on the shelf with a card that says what they reach, measured again, and by which command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo import checkpoint, registry
from zoo.base.model import Model, evaluating
from zoo.checkpoint import WEIGHTS
from zoo.data import kinds
from zoo.errors import ConfigError
from zoo.files import PRETRAINED, json_text, whole_file, write_text, yaml_text
from zoo.plain import read_json
from zoo.run.recipes import checked_recipe, ended, machine_of, recipe_of
from zoo.tasks.evaluate import describe, evaluate, splits_for, tells
from zoo.tasks.export import Question, inputs_of, parts_of
from zoo.tasks.sample_quality import describe as describe_samples
from zoo.tasks.sample_quality import sample_metrics

METRICS, REFERENCE = "metrics.json", "reference.safetensors"
ASKED = 4  # made-up examples whose answers are kept
LIBRARY = "generative-discriminative-zoo"
TASKS = {"image": "image-classification", "sound": "audio-classification", "table": "tabular-classification"}
CARD = """---
{header}---

# {model} on {data}

{about}

```python
import zoo

model = zoo.load("{name}")  # {parameters:,} parameters, {size}
{question}
```

{figures}

- trained by `zoo train {recipe}`, {seconds} of training on {machine}{beside}
- measured by `zoo evaluate ckpt={name}` on all {tested:,} test {noun}s{held}
"""

HUB_CARD = """---
{header}---

# {name}

{about}

```python
import zoo

model = zoo.load("hf-hub:<user>/{name}")  # {parameters:,} parameters
```

{figures}
"""

QUESTIONS = {  # a line of the card, of the first of them that a model can be asked
    "classify": "log_proba = zoo.classify(model, x)  # x: (N, {shape}), log_proba: (N, {classes}) in nats",
    "sample": "x = zoo.sample(model, 16)",
    "log_prob": "log_prob = zoo.log_prob(model, x)  # (N,) in nats",
}


def release(
    run: str | Path,
    to: str | Path | None = None,
    half: bool = False,
    recipe: str | None = None,
    alone: bool = True,
) -> Path:
    """Put the weights of a run that has ended on the shelf; the card is made by :func:`make_card`.

    Args:
        run: its directory.
        to: the folder to make; ``pretrained/<model>-<data>`` if left out.
        half: keep weights in half precision, which are as many numbers of half the size.
        recipe: the words by which whoever reads the card trains the same; those of the run's command if left out.
        alone: whether the machine did nothing else meanwhile, as far as whoever releases it knows.

    Raises:
        ConfigError: no run that has ended, or a recipe that trains something else than this run did.
        CheckpointError: see :func:`zoo.checkpoint.save`.
    """
    summary = ended(run)
    model, source = registry.load_with_source(run)
    training = _training(summary, checked_recipe(summary, recipe)) | {"alone": alone}
    to = to or PRETRAINED / f"{model.name}-{source['name']}"
    return checkpoint.save(model, to, training=training, data=source, half=half)


def _training(summary: Mapping[str, Any], recipe: Sequence[str]) -> dict[str, Any]:
    """How a run's weights came about."""
    return {"recipe": [*recipe], "seconds": summary["seconds"]["fit"], "machine": machine_of(summary)}


def make_card(folder: Path, root: str | None = None, again: bool = True) -> dict[str, Any]:
    """Measure a released model again, and write ``README.md``, ``metrics.json`` and ``reference.safetensors``, its
    answers to :data:`ASKED` made-up examples, by which whoever has the weights can tell that they are the same.

    Args:
        folder: of a released model that says which data it is of.
        root: where data lies, if not in the default place.
        again: False: ``README.md`` alone is written, of the figures that are there.

    Returns:
        The metrics.

    Raises:
        ConfigError: a release that does not say how it was trained.
    """
    from safetensors.torch import save

    entry = checkpoint.released_config(folder)
    training = entry.get("training", {})
    model, source = registry.load_with_source(folder)
    if not {"recipe", "seconds", "machine"} <= set(training) or "name" not in source:
        raise ConfigError(f"{folder} does not say how it was trained: release the run again")
    splits = splits_for(model.spec, source, root=root)
    if again:
        metrics = evaluate(model, splits.test, validation=splits.val).metrics if tells(model) else {}
        metrics |= sample_metrics(model, splits, source["name"])
        write_text(folder / METRICS, json_text(metrics))
        with whole_file(folder / REFERENCE) as file:
            file.write(save(answers(model)))
    else:
        metrics = read_json(folder / METRICS, ConfigError)
    noun = kinds.find(model.spec.kind).NOUN
    seconds = round(training["seconds"])
    size = (folder / "model.safetensors").stat().st_size
    card = CARD.format(
        header=yaml_text(header(model, folder.name, source["name"], metrics), default_flow_style=False),
        model=model.name,
        data=source["name"],
        name=folder.name,
        about=_about(model),
        parameters=model.num_parameters,
        size=f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB",
        question=QUESTIONS[next(part for part in QUESTIONS if hasattr(model, part))].format(
            shape=", ".join(map(str, model.spec.shape)), classes=model.spec.num_classes
        ),
        figures="\n".join(f"- {line}" for line in lines_of(metrics)),
        recipe=" ".join(training["recipe"]),
        seconds="a second" if seconds <= 1 else f"{seconds:,} seconds",
        machine=training["machine"],
        beside=", with other work beside it" if not training.get("alone", True) else "",
        tested=len(splits.test),
        noun=noun,
        held=f"; {len(splits.val):,} training {noun}s were held out to validate on" if len(splits.val) else "",
    )
    write_text(folder / "README.md", card)
    return metrics


def for_hub(model: Model, source: Mapping[str, Any], ckpt: str | Path, to: Path) -> Path:
    """Put a model into a folder that may be pushed to the Hugging Face Hub as it is: weights as they are kept,
    ``config.json``, and a card with what the hub reads of it, the figures that were measured, and how it was trained.

    Args:
        model, source: what :func:`zoo.registry.load_with_source` has read from ``ckpt``.
        ckpt: a file, a run directory, or a released model.
        to: the folder to make, whose name the card takes for the repository's.

    Raises:
        CheckpointError: see :func:`zoo.checkpoint.save`.
    """
    located = checkpoint.locate(ckpt)
    metrics: dict[str, Any] = {}
    training: dict[str, Any] = {}
    half = False
    if located.is_dir():
        training = checkpoint.released_config(located).get("training", {})
        half = any(value.dtype == torch.float16 for value in checkpoint.read_tensors(located / WEIGHTS).values())
        if (located / METRICS).is_file():
            metrics = read_json(located / METRICS, ConfigError)
    elif (located.parent / "summary.json").is_file():
        summary = ended(located.parent)
        metrics, training = summary["test"], _training(summary, recipe_of(summary["command"]))
    told = lines_of(metrics)
    if {"recipe", "machine"} <= training.keys():  # others may say something else of theirs
        told.append(f"trained by `zoo train {' '.join(training['recipe'])}` on {training['machine']}")
    card = HUB_CARD.format(
        header=yaml_text(
            header(model, to.name, source.get("name", ""), metrics, located.parent == PRETRAINED),
            default_flow_style=False,
        ),
        name=to.name,
        about=_about(model),
        parameters=model.num_parameters,
        figures="\n".join(f"- {line}" for line in told),
    )
    return checkpoint.save(model, to, card=card, training=training, data=dict(source), half=half)


def _about(model: Model) -> str:
    """The first sentence of a model's docstring."""
    return " ".join((type(model).__doc__ or "").partition("\n\n")[0].split())


def lines_of(metrics: dict[str, Any]) -> list[str]:
    """The figures of a card."""
    return [line.strip() for line in [*describe(metrics), *describe_samples(metrics)]]


def answers(model: Model) -> dict[str, Tensor]:
    """What a model answers to a few made-up examples, codes and noises, by question."""
    told = {}
    with evaluating(model):
        for part in parts_of(model):
            told[part] = Question(model, part)(*inputs_of(model, part, ASKED).values()).contiguous()
    return told


def header(model: Model, name: str, data: str, metrics: Mapping[str, Any], shelf: bool = True) -> dict[str, Any]:
    """What a hub reads of a card, as YAML: https://huggingface.co/docs/hub/model-cards. ``shelf``: whether the weights
    are the zoo's, under its license; whoever has trained others says under which."""
    kind = model.spec.kind
    names = {"accuracy": "accuracy", "f1": "f1", "auroc": "roc_auc", "frechet_ratio": "frechet_ratio"}
    values = [{"type": name, "value": round(float(metrics[key]), 5)} for key, name in names.items() if key in metrics]
    classifies = "accuracy" in metrics
    task = TASKS.get(kind, "text-classification") if classifies else f"unconditional-{kind}-generation"
    license = {"license": "mit"} if shelf else {}
    found: dict[str, Any] = {"library_name": LIBRARY, **license, "tags": ["pytorch", model.name]}
    if data:
        found["datasets"] = [data]
    if classifies or kind == "image":
        found["pipeline_tag"] = task
    if values:
        result = {"task": {"type": task}, "dataset": {"type": data, "name": data}, "metrics": values}
        found["model-index"] = [{"name": name, "results": [result]}]
    return found
