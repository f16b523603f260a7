"""Released models: weights on the shelf with a card that says what they reach, measured again, and by which command."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo import checkpoint, registry
from zoo.base.model import Model, evaluating
from zoo.data import kinds
from zoo.errors import ConfigError
from zoo.files import PRETRAINED, json_text, whole_file, write_text, yaml_text
from zoo.run.recipes import checked_recipe, ended, machine_of
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

- trained by `python train.py {recipe}`, {seconds:,.0f} seconds of training on {machine}{beside}
- measured by `python scripts/evaluate.py ckpt={name}` on all {tested:,} test {noun}s{held}
"""

QUESTIONS = {  # a line of the card, of the first of them that a model can be asked
    "classify": "log_proba = zoo.classify(model, x)  # (N, K) in nats",
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
    training = {
        "recipe": checked_recipe(summary, recipe),
        "seconds": summary["seconds"]["fit"],
        "alone": alone,
        "machine": machine_of(summary),
    }
    to = to or PRETRAINED / f"{model.name}-{source['name']}"
    return checkpoint.save(model, to, training=training, data=source, half=half)


def make_card(folder: Path, root: str | None = None) -> dict[str, Any]:
    """Measure a released model again, and write ``README.md``, ``metrics.json`` and ``reference.safetensors``, its
    answers to :data:`ASKED` made-up examples, by which whoever has the weights can tell that they are the same.

    Args:
        folder: of a released model that says which data it is of.
        root: where data lies, if not in the default place.

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
    metrics = evaluate(model, splits.test, validation=splits.val).metrics if tells(model) else {}
    metrics |= sample_metrics(model, splits, source["name"])
    write_text(folder / METRICS, json_text(metrics))
    with whole_file(folder / REFERENCE) as file:
        file.write(save(answers(model)))
    noun = kinds.find(model.spec.kind).NOUN
    size = (folder / "model.safetensors").stat().st_size
    card = CARD.format(
        header=yaml_text(header(model, folder.name, source["name"], metrics), default_flow_style=False),
        model=model.name,
        data=source["name"],
        name=folder.name,
        about=" ".join((type(model).__doc__ or "").partition("\n\n")[0].split()),
        parameters=model.num_parameters,
        size=f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB",
        question=QUESTIONS[next(part for part in QUESTIONS if hasattr(model, part))],
        figures="\n".join(f"- {line}" for line in lines_of(metrics)),
        recipe=" ".join(training["recipe"]),
        seconds=training["seconds"],
        machine=training["machine"],
        beside=", with other work beside it" if not training.get("alone", True) else "",
        tested=len(splits.test),
        noun=noun,
        held=f"; {len(splits.val):,} training {noun}s were held out to choose the epoch" if len(splits.val) else "",
    )
    write_text(folder / "README.md", card)
    return metrics


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


def header(model: Model, name: str, data: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What a hub reads of a card, as YAML: https://huggingface.co/docs/hub/model-cards."""
    kind = model.spec.kind
    names = {"accuracy": "accuracy", "f1": "f1", "auroc": "roc_auc", "frechet_ratio": "frechet_ratio"}
    values = [{"type": name, "value": round(float(metrics[key]), 5)} for key, name in names.items() if key in metrics]
    classifies = "accuracy" in metrics
    task = TASKS.get(kind, "text-classification") if classifies else f"unconditional-{kind}-generation"
    found: dict[str, Any] = {"library_name": LIBRARY, "tags": ["pytorch", model.name], "datasets": [data]}
    if classifies or kind == "image":
        found["pipeline_tag"] = task
    if values:
        result = {"task": {"type": task}, "dataset": {"type": data, "name": data}, "metrics": values}
        found["model-index"] = [{"name": name, "results": [result]}]
    return found
