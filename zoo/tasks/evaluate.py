"""How well a trained model does on a split of a data set."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from zoo import capability
from zoo.base.generative import Density, bayes, has_classes
from zoo.base.language import num_counted
from zoo.base.model import Model
from zoo.data import kinds, sources
from zoo.data.splits import UNLABELLED, Split, Splits, checked_costs, draw, load_splits, matched
from zoo.errors import ConfigError, DataError, ZooError
from zoo.files import user_path
from zoo.inspect.figures import short
from zoo.metrics import binary
from zoo.metrics.classification import confusion_matrix, macro_f1, per_class, summarize
from zoo.metrics.likelihood import dequantise, summarize_likelihood
from zoo.questions.classify import classify
from zoo.questions.log_prob import log_prob
from zoo.spec import DataSpec
from zoo.tasks.impute import check_mask, hides_half, mask_of, observed_mask

SETTLED = 0.01  # bits/dim that twice as many steps may move an estimate by
REMARKABLE = 0.25  # bits/dim that training images are likelier than validation images
NOISE_SEED = 0  # of dequantisation: the same images have the same likelihood, in every evaluation
MASK_SEED = 0  # of missing pixels: all models see the same ones


@dataclass(frozen=True)
class Evaluation:
    """What a model says of a split, and what that amounts to.

    Attributes:
        metrics: of a model that classifies: accuracy, nll (nats), ece, ``macro_f1``, and ``per_class``: by name of a
            class that is there, how many ``examples`` it has, their ``recall``, ``precision``, null where nothing was
            taken for it, and ``f1``, of the most probable class, whatever the costs. Of two classes, where both are
            there, ``auroc``, ``average_precision`` and ``f1``; ``brier``, ``cost``: what mistakes cost an example,
            ``costs``: what one costs, by true class, and ``positive``: the class that is looked for, which is the last
            one. ``f1`` and ``cost`` are those of taking examples for it that are so with a probability above
            ``threshold``; ``threshold_from`` says what chose that: ``"costs"`` or ``"validation"``. Of a density:
            ``log_prob`` (mean log p(x), nats an example), its standard error over examples ``log_prob_se``,
            ``bits_per_dim`` where the likelihood has them, of tokens ``nats_per_token`` and ``bits_per_token``,
            ``density``: of what they are, in words, ``log_prob_n``: of how many examples, and, of p(x) that is a sum
            over classes, which training was told of, ``log_prob_classes``: of how many.
        log_proba: log p(y | x), ``(N, K)``, in the order of the split; None where the model does not classify.
    """

    metrics: dict[str, Any]
    log_proba: Tensor | None


def tells(model: Model) -> bool:
    """Whether a model has something to say of an image: its class, or its likelihood."""
    return capability.can(model, "classify") or (capability.can(model, "log_prob") and not _solves(model))


def _solves(model: Model) -> bool:
    """Whether the likelihood of a model is an estimate by steps of a solver, which is told where it is asked for."""
    return hasattr(model, "density_steps")


def evaluate(
    model: Model,
    split: Split,
    batch_size: int = 1024,
    missing: float = 0.0,
    importance: int | None = None,
    mask: str = "mcar",
    fill: str | None = None,
    costs: Sequence[float] | None = None,
    validation: Split | None = None,
    estimated: int = 0,
) -> Evaluation:
    """Ask a model for the classes of a split, and for its likelihood, as far as it can tell, and summarise.

    Args:
        model: the model.
        split: examples and labels; those whose class is hidden are left aside, and a density is asked about them all
            where no class is known.
        batch_size: images at a time.
        missing: share of the pixels to hide, in all their channels, of the cells of a row, or of the words of a text
            with all terms that they are in, drawn for each example from a fixed seed. Above 0 the model is asked for
            classes alone, see :func:`zoo.classify`.
        importance: importance samples an image of a likelihood that is a bound; the model's own number if left out.
        mask: which pixels, see :func:`zoo.tasks.impute.observed_mask`; halves need no share.
        fill: what takes their place, see :func:`zoo.classify`.
        costs: of two classes, what it costs to take an example of the first one, and of the second one, for the other;
            the same if left out, and the threshold is 1/2.
        validation: examples to choose the threshold on that costs least. Without any, or without both classes, it is
            the one of honest probabilities, see :func:`zoo.metrics.binary.fair_threshold`.
        estimated: of a likelihood that is an estimate, of how many examples, drawn from a fixed seed, it is told: each
            takes a second or so. It is left out where twice as many steps of its solver move it by more than
            ``SETTLED`` bits/dim, which ``log_prob_change`` says.

    Raises:
        ConfigError: costs that are none, or not of two classes.
        DataError: shape or number of classes do not fit the model.
        ZooError: the model can neither classify nor tell a likelihood, or a mask or fill that does not fit its data.
    """
    spec = model.spec
    noun = kinds.find(spec.kind).NOUN
    spec.check_examples(split.shape, split.kind)
    check_mask(mask)
    checked = None if costs is None else checked_costs(costs, spec)
    missing = missing or (0.5 if hides_half(mask) else 0.0)
    if mask != "mcar":
        spec.check_kind("image", f"mask={mask} hides pixels side by side")
    if len(split) == 0:
        raise DataError(f"there is no {noun} to evaluate on")
    if int(split.labels.max()) >= spec.num_classes:
        raise DataError(f"the data has more classes than the {spec.num_classes} of the model")
    classifies, is_density = (capability.can(model, question) for question in ("classify", "log_prob"))
    if _solves(model) and importance is not None:
        raise ZooError(f"{model.name} takes no importance samples")
    if estimated and not _solves(model):
        raise ZooError(f"{model.name} takes no steps of a solver: its likelihood is no estimate")
    is_density = is_density and not missing and (estimated > 0 or not _solves(model))
    if not classifies and not is_density:
        raise ZooError(
            f"{model.name} can neither classify nor tell log p(x): there is nothing to evaluate on a data set"
        )
    known = split.labelled()
    if not len(known) and not is_density:
        raise DataError(f"no {noun} is of a class that the model knows: {', '.join(spec.class_names)}")
    classifies = classifies and len(known) > 0
    split = known if len(known) else split
    metrics: dict[str, Any] = {}
    log_proba = evidence = None
    joint = isinstance(model, Density) and model.answers_at_once
    joint = joint and classifies and is_density and not kinds.find(split.kind).has_missing(split.images)
    joint = joint and (importance is None or hasattr(model, "importance_samples"))  # which log_prob refuses
    extra = {} if importance is None else {"num_samples": importance}
    if classifies:
        hidden = (missing, mask, fill)
        if joint:
            chunks = (x for x, _ in split.chunks(batch_size))
            joints = [capability.ask(model, lambda part: model.log_joint(part, **extra), x) for x in chunks]
            evidence, log_proba = bayes(torch.cat(joints))
        else:
            log_proba = _log_proba(model, split, batch_size, *hidden)
        metrics |= summarize(log_proba, split.labels)
        confusion = confusion_matrix(log_proba, split.labels)
        metrics["macro_f1"] = macro_f1(confusion)
        metrics["per_class"] = _by_class(confusion, spec.class_names)
        if spec.num_classes == 2:
            validated = None
            if checked is not None and validation is not None and len(validation.labelled()):
                validation = validation.labelled()
                validated = _log_proba(model, validation, batch_size, *hidden), validation.labels
            metrics |= _of_two(log_proba, split.labels, checked or binary.EVEN, validated)
            metrics["positive"] = spec.class_names[1]
    if is_density and _solves(model):
        return Evaluation(metrics | _estimated(model, draw(split, estimated), batch_size), log_proba)
    if is_density:
        if not hasattr(model, "density"):
            raise ZooError(
                f"{model.name} does not say what its log_prob is: its attribute density must be a zoo.Likelihood"
            )
        if evidence is None:
            evidence = _log_prob(model, split, batch_size, importance)
        metrics |= summarize_likelihood(evidence, _entries(split, model), model.density.of)
        samples = importance or getattr(model, "importance_samples", None)
        words = [f"K = {samples}"] if samples else [f"context ≥ {spec.context}"] if spec.context else []
        metrics["density"] = ", ".join([model.density.kind, model.density.of, *words])
        metrics["log_prob_n"] = len(evidence)
        if has_classes(model):
            metrics["log_prob_classes"] = len(spec.class_names)
    return Evaluation(metrics, log_proba)


def _by_class(confusion: Tensor, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The figures of each class that is there, by its name."""
    found = {"examples": confusion.sum(1), **per_class(confusion)}
    rows = [
        dict(zip(found, row, strict=True)) for row in zip(*(values.tolist() for values in found.values()), strict=True)
    ]
    return {
        name: {key: None if value != value else value for key, value in row.items()}
        for name, row in zip(names, rows, strict=True)
        if row["examples"]
    }


def _estimated(model: Model, split: Split, batch_size: int) -> dict[str, Any]:
    """The figures of a likelihood that is an estimate, where twice as many steps leave it where it is."""
    steps, dimensions, of = 2 * model.density_steps, _entries(split, model), model.density.of
    evidence = (_log_prob(model, split, batch_size, steps=count) for count in (steps // 2, steps))
    once, twice = (summarize_likelihood(values, dimensions, of) for values in evidence)
    change = abs(twice["bits_per_dim"] - once["bits_per_dim"])
    if not change < SETTLED:
        return {"log_prob_change": change}
    words = f"{model.density.kind}, {of}, {steps} steps{', told no class' * has_classes(model)}"
    told = {"density": words, "log_prob_n": len(split)}
    return {**twice, **told, "log_prob_change": change}


def _entries(split: Split, model: Model) -> float:
    """Of how many values the likelihood of an example is, on average: of all its entries, or of tokens that are there,
    but for those of the context.

    Raises ``DataError`` where there is no token at all.
    """
    if model.density.of != "tokens":
        return math.prod(model.spec.shape)
    tokens = int(num_counted(split.images, model.spec.context).sum())
    if not tokens:
        raise DataError("there is nothing in any of these texts: nothing has a likelihood")
    return tokens / len(split)


def _log_proba(model: Model, split: Split, batch_size: int, missing: float, mask: str, fill: str | None) -> Tensor:
    """log p(y | x), ``(N, K)``, from what is not hidden of each example, which depends on a fixed seed alone."""
    generator = torch.Generator().manual_seed(MASK_SEED)
    parts = []
    for x, _ in split.chunks(batch_size):
        observed = None
        if missing and model.spec.kind == "tokens":
            observed = _words_seen(x, model.spec, missing, generator)
        elif missing:
            observed = mask_of(model.spec, mask, x, missing, generator)
        if observed is not None and model.spec.columns:
            observed = observed[..., _cell_of(model.spec)]
        parts.append(classify(model, x, observed, fill=fill))
    return torch.cat(parts)


def _words_seen(x: Tensor, spec: DataSpec, missing: float, generator: torch.Generator) -> Tensor:
    """Which terms of texts ``(B, 1, 1, T)`` are seen, bool of that shape: those of which no word is hidden. Whatever
    terms a model looks at, the same words are."""
    from zoo.data.kinds import tokens  # slow to import

    first, *longer = tokens.places(x.shape[3], spec)
    words = observed_mask("mcar", len(x), (1, first.stop), missing, generator)
    return torch.cat([words, *(words.unfold(3, size, 1).all(-1) for size, _ in enumerate(longer, 2))], 3)


def _cell_of(spec: DataSpec) -> list[int]:
    """For each entry of a row an entry that stands for its cell, which is hidden as a whole: the first of a category,
    and that of the cell of which it says whether it is missing."""
    first = {column.name: places.start for column, places in spec.blocks if not column.gaps_of}
    return [first[column.gaps_of or column.name] for column, _ in spec.blocks for _ in range(column.width)]


def _of_two(
    log_proba: Tensor, labels: Tensor, costs: binary.Costs, validated: tuple[Tensor, Tensor] | None
) -> dict[str, Any]:
    """The figures of two classes, at the threshold that costs least on what is ``validated``: log p(y | x) and labels
    of other examples."""
    if validated is not None and binary.can_rank(*validated):
        threshold = binary.cheapest_threshold(binary.log_odds(validated[0]).sigmoid(), validated[1], costs)
        chosen_by = "validation"
    else:
        threshold, chosen_by = binary.fair_threshold(costs), "costs"
    figures = binary.summarize(log_proba, labels, threshold, costs)
    return {**figures, "costs": list(costs), "threshold": threshold, "threshold_from": chosen_by}


def _log_prob(
    model: Model, split: Split, batch_size: int, importance: int | None = None, steps: int | None = None
) -> Tensor:
    """log p(x), ``(N,)``, of grey values made real numbers by noise, or of the images as they are."""
    generator = torch.Generator().manual_seed(NOISE_SEED)
    parts = []
    if model.density.of == "dequantised":
        examples: Iterable[Tensor] = (dequantise(chunk, generator) for chunk in split.images.split(batch_size))
    else:
        examples = (x for x, _ in split.chunks(batch_size))
    for x in examples:
        parts.append(log_prob(model, x, num_samples=importance, steps=steps))
    return torch.cat(parts)


def describe(metrics: dict[str, Any]) -> list[str]:
    """An evaluation's figures for people: a line about classes, two of two classes, and one about the likelihood,
    with what that is in an indented one below it, where there are any."""
    lines = []
    if "accuracy" in metrics:
        accuracy, nll, ece = (metrics[key] for key in ("accuracy", "nll", "ece"))
        lines.append(f"accuracy {accuracy:.2%}  nll {nll:.4f} nats  ece {ece:.4f}")
    if "positive" in metrics:
        ranked = {"auroc": "auroc", "average_precision": "average precision", "brier": "brier"}
        decided = {"f1": "f1", **({} if metrics["costs"] == list(binary.EVEN) else {"cost": "cost"})}
        first, second = (
            [f"{name} {metrics[key]:.4f}" for key, name in names.items() if key in metrics]
            for names in (ranked, decided)
        )
        rule = f"where p({short(metrics['positive'])}) > {metrics['threshold']:.3g}"
        lines += ["  ".join(first), *(["  ".join([*second, rule])] if second else [])]
    if "log_prob" in metrics:
        error = f" ± {metrics['log_prob_se']:.2f}" if "log_prob_se" in metrics else ""
        units = {"bits_per_dim": "bits/dim", "nats_per_token": "nats/token"}  # as validation tells it
        rate = "".join(f"  {metrics[key]:.3f} {unit}" for key, unit in units.items() if key in metrics)
        sign = {"lower bound": "≥", "estimate": "≈"}.get(metrics["density"].partition(",")[0], "=")
        words = metrics["density"].removeprefix("lower bound, ").replace("tokens, ", "")
        if "log_prob_classes" in metrics:
            words += f", sum over {metrics['log_prob_classes']} classes"
        if "log_prob_n" in metrics:
            words += f", n = {metrics['log_prob_n']:,}"
        value = f"{sign} {metrics['log_prob']:.2f}{error} nats"
        lines += [f"log p(x) {value}{rate}", f"     {words}"]
    elif "log_prob_change" in metrics:
        change = metrics["log_prob_change"]
        lines += [f"log p(x) is left out: twice as many steps move it by {change:.2g} bits/dim, and {SETTLED} may be"]
    return lines


def remarks(
    metrics: Mapping[str, Any], spec: DataSpec, train: Split | None = None, logged: Mapping[str, Any] | None = None
) -> list[str]:
    """What is amiss, in sentences; none where nothing is.

    Args:
        metrics: of an evaluation.
        spec: of the data.
        train: what the model was trained on: a class of a single image has a density that is a spike.
        logged: the last epoch's means by name: ``train/log_likelihood`` or ``train/elbo`` far above that of validation
            says that the density knows its training images by heart.
    """
    noun = kinds.find(spec.kind).NOUN
    found = []
    if "positive" in metrics and "auroc" not in metrics:
        absent = [name for name in spec.class_names if name not in metrics["per_class"]]
        found.append(f"none of these {noun}s is {' or '.join(absent)}: there is no auroc, average precision or f1")
    if metrics.get("threshold_from") == "costs" and len(set(metrics["costs"])) > 1:
        found.append(
            f"the threshold {metrics['threshold']:.3g} follows from the costs, as if probabilities were honest: there "
            f"are no validation {noun}s of both classes to choose it on"
        )
    if "log_prob" not in metrics:
        return found
    bits, most = metrics.get("bits_per_dim"), 1 if "binar" in metrics["density"] else 8
    if bits is not None and bits < 0:
        found.append(f"{bits:.2f} bits/dim cannot be: no code is shorter than nothing; the {noun}s are hardly any data")
    if bits is not None and bits > most:
        found.append(f"{bits:.4g} bits/dim are more than the {most} of a model that knows nothing")
    if train is not None:
        counts = train.labels[train.labels != UNLABELLED].bincount(minlength=spec.num_classes).tolist()
        single = [name for name, count in zip(spec.class_names, counts, strict=True) if count == 1]
        if single:
            found.append(f"classes of a single training {noun}, whose density is a spike: {', '.join(single[:10])}")
    if "nats_per_token" in metrics:  # texts of different lengths are of different likelihoods
        return found
    for name in ("log_likelihood", "elbo"):
        here, there = (float((logged or {}).get(f"{part}/{name}", math.nan)) for part in ("train", "val"))
        if here - there > REMARKABLE * math.prod(spec.shape) * math.log(2):
            found.append(
                f"training {noun}s are {here - there:,.0f} nats likelier than validation {noun}s: the density knows "
                f"them by heart; fewer parameters or more {noun}s would help"
            )
    return found


def _cut_like(spec: DataSpec, data: str, whole: bool) -> dict[str, Any]:
    """Options of a source of running text: windows as the model's, and all of it to test on where that is asked for."""
    known = sources.find(data).OPTIONS
    if "context" not in known or spec.values != "tokens":
        return {}
    shares = {"test_share": 1.0, "val_share": 0.0} if whole and "test_share" in known else {}
    return {"length": spec.shape[2], "context": spec.context, **shares}


def splits_for(
    spec: DataSpec,
    source: Mapping[str, Any],
    data: str | None = None,
    root: str | None = None,
    folder: str | None = None,
    whole: bool = False,
) -> Splits:
    """The splits a model was trained on, or another source's as they come: all its training images, no validation.

    Labels are the model's, by the names of classes: see :func:`zoo.data.splits.matched`.

    Args:
        spec: the model's; pictures of another folder are brought to its size and channels.
        source: what the splits of the training were made from, see :func:`zoo.registry.load_with_source`.
        data: another source; ``folder`` is its path where that is ``image_folder``.
        root: where data lies, if not in the default place.
        folder: the folder of pictures, also of the training's, if it has moved.
        whole: all of a source that the model was not trained on, and that has no test split of its own, is test.

    Returns:
        Its ``notes`` say, too, where the data is no longer what it was at the training.

    Raises:
        ConfigError: ``source`` is empty, and ``data`` is not given.
        DataError: see :func:`zoo.data.splits.load_splits`.
    """
    options = {key: value for key, value in source.items() if key not in ("fingerprint", "costs")}
    other = data is not None and data != options.get("name")
    if data is not None and other:
        known = "name" in options or data in ("image_folder", "audio_folder")  # a release does not say what it has seen
        whole = whole and known
        options = {"name": data} | _cut_like(spec, data, whole)
        if data == "image_folder":
            spec.check_kind("image", "data=image_folder")
            channels, size, _ = spec.shape
            options |= {"image_size": size, "color": "grey" if channels == 1 else "color", **spec.settings}
        elif sources.find(data).KIND == "sound":
            spec.check_kind("sound", f"data={data}")
            from zoo.data.kinds.sound import Reading

            options |= Reading.of(spec)._asdict()
        elif data == "table":
            spec.check_kind("table", "data=table")
            from zoo.data.kinds import table  # slow to import

            options |= {"target": spec.target, "missing": table.missing_words(spec)}
        elif data == "labelled_text":
            spec.check_kind("tokens", "data=labelled_text")
            from zoo.data.kinds import tokens

            if folder is not None and not user_path(folder).is_dir():
                column = str(spec.settings.get("column") or tokens.COLUMN)
                options |= {"text": column, "target": spec.target or tokens.LABEL}
    if "name" not in options:
        raise ConfigError("the checkpoint does not say what it was trained on: give data=…")
    elsewhere = folder is not None and user_path(folder).resolve() != user_path(source.get("path") or ".").resolve()
    if folder is not None:
        options["path"] = folder
    if elsewhere:  # the training's own test file is not what was asked about
        options.pop("test_path", None)
    splits = load_splits(**options, root=root, whole=whole and other, like=spec)
    noun = kinds.find(spec.kind).NOUN
    if not other and splits.fingerprint != source.get("fingerprint", splits.fingerprint):
        if elsewhere:
            seen = f"another folder or file than in the training, or changed since: {noun}s that it knows may be in it"
            options |= _cut_like(spec, options["name"], whole)
            splits = load_splits(**options, root=root, whole=whole, like=spec)
        else:
            seen = (
                f"the data has changed since the training: {noun}s that the model knows may be among those of the test"
            )
        splits = replace(splits, notes=(*splits.notes, seen))
    return matched(splits, spec)
