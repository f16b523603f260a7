"""How good a generative model's samples are: sharp, varied, of all classes, and no copies of the training images.

Samples are compared with the test images by the features of a frozen classifier of the same data set, see
:mod:`zoo.tasks.reference`. Figures of different extractors cannot be compared, so every result names the weights that
it was computed with. The ratio of a Fréchet distance to its floor depends on how many images there are, as a distance
of few is too large by what they vary: only those of the number that an extractor was released with are compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zoo import capability
from zoo.base.model import Model
from zoo.data import kinds
from zoo.data.splits import Splits
from zoo.errors import ZooError
from zoo.metrics.frechet import frechet_distance, moments
from zoo.metrics.kernel import kernel_distance
from zoo.metrics.modes import class_divergence, class_shares, modes_covered
from zoo.metrics.neighbours import copies, density_coverage, nearest_two, precision_recall
from zoo.questions.sample import sample
from zoo.tasks.real_figures import SAMPLES, mean_and_error, read_real_figures
from zoo.tasks.reference import (
    FLOOR_SEED,
    NEAREST,
    STATISTICS,
    Extractor,
    Reference,
    folder_of,
    read_reference,
    reference,
    released_key,
    required_extractor,
)
from zoo.tasks.students import require_classes, synthetic_accuracy


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
        require_classes(model)
    n = min(n, len(splits.train))
    generator = capability.seeded(model, seed)
    measure = required_extractor(data_name, splits)
    kept = read_real_figures(measure, splits) if draws > 1 else {}
    metrics, real = _compared(sample(model, n, generator=generator), measure, splits)
    if draws > 1:
        ratios = [metrics["frechet_ratio"]]
        for _ in range(draws - 1):
            drawn = moments(measure(sample(model, n, generator=generator))[0])
            ratios.append(frechet_distance(drawn, (real.mean, real.covariance)) / float(real.floor))
        mean, error = mean_and_error(ratios)
        metrics |= {"frechet_ratio_mean": mean, "frechet_ratio_error": error, "draws": draws}
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
    return _compared(images, required_extractor(data_name, splits), splits)[0]


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
        "comparable": read_reference(measure.folder / STATISTICS, released_key(measure, splits, n)) is not None,
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
    if n == 0 or not capability.can(model, "sample") or not folder_of(data_name).is_dir():
        return {}
    return evaluate_samples(model, splits, data_name, n, seed, draws=draws)


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
        if "frechet_ratio" in real:
            lines.append(f"real images in their place: Fréchet ratio {real['frechet_ratio']:.2f}{spread}{apart}")
        lines.append(
            f"real images: precision {real['precision']:.3f}  recall {real['recall']:.3f}  "
            f"density {real['density']:.3f}  coverage {real['coverage']:.3f}"
        )
    if "synthetic_accuracy" in m:
        lines.append(f"a classifier trained on samples alone: accuracy {m['synthetic_accuracy']:.2%}")
    return lines
