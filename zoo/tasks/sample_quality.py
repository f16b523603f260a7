"""How good a generative model's samples are: sharp, varied, of all classes, and no copies of the training images.

Samples are compared with the test images by the features of a frozen classifier of the same data set, an
:class:`Extractor`, which is shipped in ``pretrained/features-<data>``. Figures of different extractors cannot be
compared, so every result names the weights that it was computed with. What a Fréchet distance is worth is told by its
floor: that of as many real training images. The ratio of the two depends on how many images there are, as a distance of
few is too large by what they vary: only those of the number that an extractor was released with are compared.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo import capability, registry
from zoo.base.generative import Generative, has_classes
from zoo.base.model import Model, evaluating
from zoo.data import kinds
from zoo.data.batches import Augment, Batches
from zoo.data.splits import Split, Splits
from zoo.errors import CheckpointError, ZooError
from zoo.files import REPOSITORY, write_bytes, write_json
from zoo.learners.optimization import build_optimizer, build_schedule
from zoo.metrics.frechet import frechet_distance, moments
from zoo.metrics.kernel import kernel_distance
from zoo.metrics.modes import class_divergence, class_shares, modes_covered
from zoo.metrics.neighbours import (
    DENSITY_K,
    PRECISION_K,
    copies,
    density_coverage,
    nearest_two,
    precision_recall,
    radii,
)  # fmt: skip
from zoo.plain import read_json, shape_of
from zoo.questions.classify import classify
from zoo.questions.encode import encode
from zoo.questions.sample import sample
from zoo.spec import DataSpec

PRETRAINED = REPOSITORY / "pretrained"
STATISTICS = "statistics.safetensors"
REAL = "real.json"
SAMPLES = 10_000
FLOOR_SEED = 0  # chooses the training images of the floor: every model's distance has the same divisor
REAL_DRAWS = 5  # of training images that take the place of samples, as far as there are so many
NEAREST = 2_000  # images that are compared with all training images, pixel by pixel
CHUNK = 2_000  # images in float32 at a time

# the classifier that learns from samples alone
SYNTHETIC_IMAGES = 50_000
SYNTHETIC_STEPS, SYNTHETIC_BATCH = 2_000, 128
SYNTHETIC_MODEL: dict[str, Any] = {"name": "lenet", "dropout": 0.5}
SYNTHETIC_OPTIMIZER: dict[str, Any] = {"name": "AdamW", "lr": 2e-3, "weight_decay": 0.01}


@dataclass(frozen=True)
class Extractor:
    """A frozen classifier whose features images are compared by.

    Attributes:
        model: with ``features`` and ``head``.
        digest: the first 12 hex digits of the sha256 of its weights' file.
        folder: where it was released.
    """

    model: Model
    digest: str
    folder: Path

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images ``(N, C, H, W)``, uint8 or float32 in [0, 1], to features ``(N, D)`` and classes ``(N,)`` int64.

        Both on the CPU, wherever the images are.
        """
        # samples of a model are decoded already
        decode = kinds.find(self.model.spec.kind).decode if images.dtype == torch.uint8 else Tensor.float
        parts = [encode(self.model, decode(chunk.cpu())) for chunk in images.split(CHUNK)]
        features = torch.cat(parts)
        with evaluating(self.model):
            return features, self.model.head(features).argmax(1)


def extractor(data_name: str) -> Extractor | None:
    """The extractor of a data set, by the data's name; None where the zoo has none.

    Raises ``CheckpointError`` where it is damaged.
    """
    folder = _folder(data_name)
    return read_extractor(folder) if folder.is_dir() else None


def _folder(data_name: str) -> Path:
    return PRETRAINED / f"features-{data_name}"


def _required(data_name: str) -> Path:
    """The folder of a data set's extractor. Raises ``ZooError`` where there is none."""
    folder = _folder(data_name)
    if not folder.is_dir():
        raise ZooError(missing(data_name))
    return folder


def _required_extractor(data_name: str, splits: Splits) -> Extractor:
    """The data set's. Raises ``ZooError`` where there is none, ``DataError`` where the splits do not fit it."""
    measure = read_extractor(_required(data_name))
    measure.model.spec.check_examples(splits.test.shape, splits.test.kind, f"the extractor of {data_name}")
    return measure


def read_extractor(folder: Path) -> Extractor:
    """The extractor in a folder, see ``scripts/release_features.py``. Raises ``CheckpointError`` if it is damaged."""
    with torch.random.fork_rng(devices=[]):  # building it draws weights, from the stream that belongs to training
        model = registry.load(folder)
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    return Extractor(model, digest[:12], folder)


# What the figures need to know of the real images


@dataclass(frozen=True)
class Reference:
    """Statistics of the test images, and what real images of the training split would be given.

    Attributes:
        mean, covariance: of the features of the test images, ``(D,)`` and ``(D, D)``.
        precision_radii, density_radii: see :func:`zoo.metrics.neighbours.radii`, ``(N,)``.
        shares: of the classes that the test images are taken for, ``(K,)``.
        floor: Fréchet distance of random training images to the test images, ``()``.
        nearest: median distance, in pixel space, of random test images to their nearest training image, ``()``.
    """

    mean: Tensor
    covariance: Tensor
    precision_radii: Tensor
    density_radii: Tensor
    shares: Tensor
    floor: Tensor
    nearest: Tensor


def reference(measure: Extractor, splits: Splits, features: Tensor, predicted: Tensor, n: int, seed: int) -> Reference:
    """The statistics of a data set, those shipped with the extractor if they are of these weights and test images.

    So the floor is the same whichever training images a run has held out; what is nearest is found among its own.

    Args:
        measure: the extractor.
        splits: the real images.
        features, predicted: what ``measure`` says of the test images.
        n: training images that the floor is taken from.
        seed: chooses them.
    """
    path, key = measure.folder / STATISTICS, reference_key(measure, splits, n, seed)
    if kept := read_reference(path, key):
        return kept
    others = read_reference(path, _standard(measure, splits, n)) if seed == FLOOR_SEED else None
    if others is None:
        return compute_reference(measure, splits, features, predicted, n, seed)
    held_out = splits.test.shuffled(NEAREST, torch.Generator().manual_seed(seed))
    return replace(others, nearest=nearest_two(held_out.x(), splits.train.images)[:, 0].median().double())


def compute_reference(
    measure: Extractor, splits: Splits, features: Tensor, predicted: Tensor, n: int, seed: int
) -> Reference:
    """As :func:`reference`, from the images."""
    generator = torch.Generator().manual_seed(seed)
    chosen = splits.train.shuffled(n, generator)
    held_out = splits.test.shuffled(NEAREST, generator)
    mean, covariance = moments(features)
    training = moments(measure(chosen.images)[0])
    distances = nearest_two(held_out.x(), splits.train.images)
    return Reference(
        mean=mean,
        covariance=covariance,
        precision_radii=radii(features, PRECISION_K),
        density_radii=radii(features, DENSITY_K),
        shares=class_shares(predicted, measure.model.spec.num_classes),
        floor=torch.tensor(frechet_distance(training, (mean, covariance)), dtype=torch.float64),
        nearest=distances[:, 0].median().double(),
    )


def keep_reference(measure: Extractor, splits: Splits) -> None:
    """Compute the statistics for the default number of samples, and the figures of as many real images, and keep them
    beside the weights."""
    n = min(SAMPLES, len(splits.train))
    features, predicted = measure(splits.test.images)
    values = compute_reference(measure, splits, features, predicted, n, FLOOR_SEED)
    write_reference(measure.folder / STATISTICS, values, reference_key(measure, splits, n, FLOOR_SEED))
    keep_real_figures(measure, splits)


def write_reference(path: Path, values: Reference, key: dict[str, str]) -> None:
    """Keep statistics in a file, with the ``key`` that says what they are of and a checksum."""
    from safetensors.torch import save

    tensors = {field.name: getattr(values, field.name).contiguous() for field in fields(Reference)}
    write_bytes(path, save(tensors, {**key, "content": _content(tensors)}))


def read_reference(path: Path, key: dict[str, str]) -> Reference | None:
    """The statistics in a file; None where there is none, where it is of something else than ``key``, or damaged.

    What ``key`` leaves out may be anything.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (OSError, SafetensorError):
        return None
    if {field.name for field in fields(Reference)} != set(tensors):
        return None
    wanted = {**key, "content": _content(tensors)}
    return Reference(**tensors) if wanted.items() <= metadata.items() else None


def reference_key(measure: Extractor, splits: Splits, n: int, seed: int) -> dict[str, str]:
    """What statistics depend on."""
    return {**_standard(measure, splits, n), "train": _images(splits.train), "seed": str(seed)}


def _standard(measure: Extractor, splits: Splits, n: int) -> dict[str, str]:
    """What statistics that came with the extractor say of themselves, whichever training images a run has held out."""
    return {"features": measure.digest, "test": _images(splits.test), "n": str(n), "seed": str(FLOOR_SEED)}


def _images(split: Split) -> str:
    return hashlib.sha256(split.images.numpy().tobytes()).hexdigest()


def _content(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()


# What real images get


def real_figures(
    measure: Extractor, splits: Splits, real: Reference, features: Tensor, n: int
) -> dict[str, float | int | None]:
    """The figures of ``n`` training images in the place of samples, means over draws that have no image in common.

    Args:
        measure: the extractor.
        splits: the real images.
        real: the statistics of the test images.
        features: of the test images, ``(N, D)``.
        n: images a draw.

    Returns:
        ``draws``: how many, five at most; ``frechet_ratio``, ``precision``, ``recall``, ``density`` and ``coverage``,
        each with the standard error of its mean, such as ``recall_error``; and ``frechet_ratio_apart``, the ratio for
        the distance of one draw to another. None where there are too few draws to tell.
    """
    shuffled = splits.train.shuffled(len(splits.train), torch.Generator().manual_seed(FLOOR_SEED + 1))
    draws = min(REAL_DRAWS, len(shuffled) // n)
    if not draws:
        raise ZooError(f"there are {len(shuffled):,} training images, not {n:,}")
    found: dict[str, list[float]] = {
        name: [] for name in ("frechet_ratio", "precision", "recall", "density", "coverage")
    }
    apart, before = [], None
    for place in range(draws):
        drawn = measure(shuffled.images[place * n : (place + 1) * n])[0]
        now, as_many = moments(drawn), drawn[: len(features)]
        values = [frechet_distance(now, (real.mean, real.covariance)) / float(real.floor)]
        values += precision_recall(features, as_many, real_radii=real.precision_radii)
        values += density_coverage(features, as_many, real_radii=real.density_radii)
        for name, value in zip(found, values, strict=True):
            found[name].append(value)
        if before is not None:
            apart.append(frechet_distance(now, before) / float(real.floor))
        before = now
    figures: dict[str, float | int | None] = {"draws": draws}
    for name, each in found.items():
        figures |= {name: _mean(each), f"{name}_error": _error(each)}
    return figures | {"frechet_ratio_apart": _mean(apart) if apart else None}


def keep_real_figures(measure: Extractor, splits: Splits) -> None:
    """Write :func:`real_figures` of the default number of samples beside the weights, with what they are of."""
    n = min(SAMPLES, len(splits.train))
    features, predicted = measure(splits.test.images)
    real = reference(measure, splits, features, predicted, n, FLOOR_SEED)
    figures = real_figures(measure, splits, real, features, n)
    if n == len(splits.train):  # the only draw is what the floor was taken from
        figures["frechet_ratio"] = None
    write_json(measure.folder / REAL, {"features": measure.digest, "test": _images(splits.test), "n": n, **figures})


def read_real_figures(measure: Extractor, splits: Splits) -> dict[str, Any]:
    """What :func:`keep_real_figures` wrote; {} where that is of other weights or test images, or not there.

    Raises ``CheckpointError`` where the file is damaged.
    """
    path = measure.folder / REAL
    if not path.is_file():
        return {}
    kept = read_json(path, CheckpointError)
    if wrong := shape_of(kept, REAL_FIGURES):
        raise CheckpointError(f"{path} is damaged: what it holds{wrong}")
    return kept if (kept["features"], kept["test"]) == (measure.digest, _images(splits.test)) else {}


def _figure(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e9


def _figure_or_none(value: Any) -> bool:
    return value is None or _figure(value)


REAL_FIGURES = {
    "features": str,
    "test": str,
    "n": lambda n: _figure(n) and n >= 2,
    "draws": lambda draws: _figure(draws) and draws >= 1,
    **dict.fromkeys(("precision", "recall", "density", "coverage"), _figure),
    **dict.fromkeys(("frechet_ratio", "frechet_ratio_error", "frechet_ratio_apart"), _figure_or_none),
}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _error(values: list[float]) -> float | None:
    """The standard error of the mean; None of a single value."""
    return float(torch.tensor(values).double().std()) / math.sqrt(len(values)) if len(values) > 1 else None


# The figures


def evaluate_samples(
    model: Model,
    splits: Splits,
    data_name: str,
    n: int = SAMPLES,
    seed: int = 0,
    synthetic: bool = False,
    draws: int = 1,
) -> dict[str, Any]:
    """Compare samples of a model with the test images of its data set.

    Args:
        model: one that can sample.
        splits: of the data set; the training images tell the floor, and whether samples are copies.
        data_name: the data set's name, which has an extractor.
        n: number of samples; as many as there are training images at most.
        seed: of the samples.
        synthetic: train a classifier on samples, too; takes a minute or two.
        draws: times that ``n`` samples are drawn. All figures are of the first ones; with more, the ratio is told of
            all of them.

    Returns:
        What :func:`evaluate_images` tells of the samples. With ``draws`` above 1, ``frechet_ratio_mean`` over draws and
        its standard error ``frechet_ratio_error``, ``draws``, and ``real``: what as many real images get, where the
        extractor says so, see :func:`real_figures`. With ``synthetic``, ``synthetic_accuracy``: see the function.

    Raises:
        ZooError: no extractor for the data, a model that cannot sample, too few samples, or with ``synthetic`` a model
            without classes.
        DataError: images of another shape than the model's.
    """
    model.spec.check_examples(splits.test.shape, splits.test.kind, "the model")
    if synthetic:
        _require_classes(model)
    n = min(n, len(splits.train))
    generator = capability.seeded(model, seed)
    measure = _required_extractor(data_name, splits)
    kept = read_real_figures(measure, splits) if draws > 1 else {}
    metrics, real = _compared(sample(model, n, generator=generator), measure, splits)
    if draws > 1:
        ratios = [metrics["frechet_ratio"]]
        for _ in range(draws - 1):
            drawn = moments(measure(sample(model, n, generator=generator))[0])
            ratios.append(frechet_distance(drawn, (real.mean, real.covariance)) / float(real.floor))
        metrics |= {"frechet_ratio_mean": _mean(ratios), "frechet_ratio_error": _error(ratios), "draws": draws}
        if kept.get("n") == n:
            metrics["real"] = {name: value for name, value in kept.items() if name not in ("features", "test", "n")}
    if synthetic:
        metrics["synthetic_accuracy"] = synthetic_accuracy(model, splits.test, seed=seed)
    return metrics


def evaluate_images(images: Tensor, splits: Splits, data_name: str) -> dict[str, Any]:
    """Compare images with the test images of a data set.

    Args:
        images: ``(n, C, H, W)``, uint8 or float32 in [0, 1], on any device; no more than there are training images.
        splits: of the data set; the training images tell the floor, and whether images are copies.
        data_name: the data set's name, which has an extractor.

    Returns:
        ``frechet_distance``; ``frechet_floor``, that of as many training images, and ``frechet_ratio`` of the two;
        ``kernel_distance``; ``precision``, ``recall``, ``sample_density`` and ``coverage``, from as many samples as
        there are test images at most; ``modes``, the number of classes that samples fall into, and ``class_kl``, of
        their histogram from that of the test images, in nats; ``copies``, the share of samples that are copies of a
        training image, and ``nearest_ratio``: the median distance in pixel space to the nearest training image, over
        that of test images (far below 1: the training images are remembered), both of the first 2,000 samples;
        ``features``: which weights the features are from; ``samples``: how many there were; ``comparable``: whether
        the extractor's own statistics are of that number, and of these test images: other ratios are not compared.

    Raises:
        ZooError: no extractor for the data, fewer than two images, or more than there are training images.
        DataError: splits of another shape than the extractor's.
    """
    if not 2 <= len(images) <= len(splits.train):
        raise ZooError(f"{len(images):,} images cannot be compared: there are {len(splits.train):,} training images")
    return _compared(images, _required_extractor(data_name, splits), splits)[0]


def _compared(images: Tensor, measure: Extractor, splits: Splits) -> tuple[dict[str, Any], Reference]:
    n, images = len(images), images.cpu()
    if images.dtype == torch.uint8:
        images = kinds.find("image").decode(images)
    features, predicted = measure(images)
    real_features, real_predicted = measure(splits.test.images)
    real = reference(measure, splits, real_features, real_predicted, n, FLOOR_SEED)
    distance = frechet_distance(moments(features), (real.mean, real.covariance))
    as_many = features[: len(real_features)]
    precision, recall = precision_recall(real_features, as_many, real_radii=real.precision_radii)
    density, coverage = density_coverage(real_features, as_many, real_radii=real.density_radii)
    shares = class_shares(predicted, measure.model.spec.num_classes)
    nearest = nearest_two(images[:NEAREST], splits.train.images)
    metrics = {
        "frechet_distance": distance,
        "frechet_floor": float(real.floor),
        "frechet_ratio": distance / float(real.floor),
        "kernel_distance": kernel_distance(real_features, features),
        "precision": precision,
        "recall": recall,
        "sample_density": density,  # "density" says what a likelihood is of
        "coverage": coverage,
        "modes": modes_covered(shares, real.shares),
        "class_kl": class_divergence(shares, real.shares),
        "copies": copies(nearest),
        "nearest_ratio": float(nearest[:, 0].median() / real.nearest),
        "features": measure.digest,
        "samples": n,
        "comparable": read_reference(measure.folder / STATISTICS, _standard(measure, splits, n)) is not None,
    }
    return metrics, real


def comparable_ratio(metrics: Mapping[str, Any], whose: str) -> float:
    """The Fréchet ratio of :func:`evaluate_images`, to be compared with others'. Raises ``ZooError`` where it is of
    another number of images, or of other test images, than the statistics of the extractor."""
    if not metrics["comparable"]:
        raise ZooError(
            f"the Fréchet ratio of {whose} cannot be compared with others: the extractor's statistics are not of "
            f"{metrics['samples']:,} samples, or of other test images"
        )
    return float(metrics["frechet_ratio"])


def sample_metrics(
    model: Model, splits: Splits, data_name: str, n: int = SAMPLES, seed: int = 0, draws: int = 1
) -> dict[str, Any]:
    """As :func:`evaluate_samples`; {} where the model cannot sample, or the data set has no extractor."""
    if n == 0 or not capability.can(model, "sample") or not _folder(data_name).is_dir():
        return {}
    return evaluate_samples(model, splits, data_name, n, seed, draws=draws)


def missing(data_name: str) -> str:
    """Why there are no figures for a data set without an extractor, in one line."""
    known = sorted(path.name.removeprefix("features-") for path in PRETRAINED.glob("features-*"))
    return (
        f"samples are measured by features, which data={data_name} has none of; there are some for {', '.join(known)}"
    )


def describe(metrics: dict[str, Any]) -> list[str]:
    """The figures for people, in lines of at most 80 characters."""
    m, lines = metrics, []
    if "frechet_distance" in m:
        lines += [
            f"Fréchet {m['frechet_distance']:.4g} = {m['frechet_ratio']:.2f} × floor {m['frechet_floor']:.3g}  "
            f"kernel {m['kernel_distance']:.3g}  (features {m['features']})",
            f"precision {m['precision']:.3f}  recall {m['recall']:.3f}  "
            f"density {m['sample_density']:.3f}  coverage {m['coverage']:.3f}",
            f"modes {m['modes']}  class KL {m['class_kl']:.3f} nats  "
            f"copies {m['copies']:.1%}  nearest {m['nearest_ratio']:.2f} × test",
        ]
        if not m["comparable"]:
            lines.append(f"Fréchet ratio of {m['samples']:,} samples: not to be compared with those of another number")
    if "frechet_ratio_mean" in m:
        lines.append(
            f"Fréchet ratio of {m['draws']} draws of {m['samples']:,}: {m['frechet_ratio_mean']:.2f} ± "
            f"{m['frechet_ratio_error']:.2f}"
        )
    if "real" in m:
        real = {name: value for name, value in m["real"].items() if value is not None}
        spread = f" ± {real['frechet_ratio_error']:.2f}" if "frechet_ratio_error" in real else ""
        apart = f", {real['frechet_ratio_apart']:.2f} to one another" if "frechet_ratio_apart" in real else ""
        lines += [
            *(
                [f"real images in their place: Fréchet ratio {real['frechet_ratio']:.2f}{spread}{apart}"]
                if "frechet_ratio" in real
                else []
            ),
            f"real images: precision {real['precision']:.3f}  recall {real['recall']:.3f}  "
            f"density {real['density']:.3f}  coverage {real['coverage']:.3f}",
        ]
    if "synthetic_accuracy" in m:
        lines.append(f"a classifier trained on samples alone: accuracy {m['synthetic_accuracy']:.2%}")
    return lines


# Train on samples, test on real images


def synthetic_accuracy(model: Model, test: Split, n: int = SYNTHETIC_IMAGES, seed: int = 0) -> float:
    """The accuracy in [0, 1], on real test images, of a classifier that has seen ``n`` samples and no real image.

    Samples are of each class in equal numbers. The classifier and its training are the same for all models, and nothing
    is chosen by any real image (Ravuri & Vinyals 2019, Classification Accuracy Score for Conditional Generative
    Models). Raises ``ZooError`` where the model has no classes.
    """
    return taught_accuracy(labelled_samples(model, n, seed), test, model.spec, seed)


def labelled_samples(model: Model, n: int, seed: int = 0) -> Split:
    """``n`` samples as they are stored, of each class in equal numbers, in turns, and the same ones for the same seed.

    The first classes have one more where it does not divide. They are where the model is. Raises ``ZooError`` where
    the model has no classes, or cannot sample.
    """
    _require_classes(model)
    generator, kind = capability.seeded(model, seed), kinds.find(model.spec.kind)
    labels = torch.arange(n) % model.spec.num_classes
    device = generator.device
    parts = []
    for chunk in labels.split(CHUNK):
        images = sample(model, len(chunk), chunk.to(device), generator)
        parts.append(kind.encode(images))
    return Split(torch.cat(parts), labels.to(device), model.spec.kind)


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


def _require_classes(model: Model) -> None:
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
    mean, std = kinds.find(images.kind).statistics(images.images.cpu())
    seen = replace(spec, mean=mean, std=std)  # nothing of other images
    options = dict(SYNTHETIC_MODEL)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        student = registry.create(options.pop("name"), seen, **options).to(device)
        optimizer = build_optimizer(student.parameters(), **SYNTHETIC_OPTIMIZER)
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
