"""What real images get in the place of samples: the figures of training images, kept beside an extractor's weights.

They tell what a generative model could reach at most, and how much the figures of as many images vary.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from zoo.data.splits import Splits
from zoo.errors import CheckpointError, ZooError
from zoo.files import write_json
from zoo.metrics.frechet import frechet_distance, moments
from zoo.metrics.neighbours import density_coverage, precision_recall
from zoo.plain import read_json, shape_of
from zoo.tasks.reference import (
    FLOOR_SEED,
    STATISTICS,
    Extractor,
    Reference,
    compute_reference,
    images_digest,
    reference_key,
    write_reference,
)

REAL = "real.json"
SAMPLES = 10_000  # that a model is measured by
DRAWS = 5  # of training images that take the place of samples, as far as there are so many


def keep_reference(measure: Extractor, splits: Splits) -> None:
    """Compute the statistics for the default number of samples, and the figures of as many real images, and keep them
    beside the weights."""
    n = min(SAMPLES, len(splits.train))
    features, predicted = measure(splits.test.images)
    real = compute_reference(measure, splits, features, predicted, n, FLOOR_SEED)
    write_reference(measure.folder / STATISTICS, real, reference_key(measure, splits, n, FLOOR_SEED))
    figures = real_figures(measure, splits, real, features, n)
    if n == len(splits.train):  # the only draw is what the floor was taken from
        figures["frechet_ratio"] = None
    kept = {"features": measure.digest, "test": images_digest(splits.test), "n": n, **figures}
    write_json(measure.folder / REAL, kept)


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
    draws = min(DRAWS, len(shuffled) // n)
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
        figures[name], figures[f"{name}_error"] = mean_and_error(each)
    return figures | {"frechet_ratio_apart": mean_and_error(apart)[0] if apart else None}


def read_real_figures(measure: Extractor, splits: Splits) -> dict[str, Any]:
    """What :func:`keep_reference` wrote; {} where that is of other weights or test images, or not there.

    Raises ``CheckpointError`` where the file is damaged.
    """
    path = measure.folder / REAL
    if not path.is_file():
        return {}
    kept = read_json(path, CheckpointError)
    if wrong := shape_of(kept, REAL_FIGURES):
        raise CheckpointError(f"{path} is damaged: what it holds{wrong}")
    return kept if (kept["features"], kept["test"]) == (measure.digest, images_digest(splits.test)) else {}


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


def mean_and_error(values: list[float]) -> tuple[float, float | None]:
    """The mean and its standard error, which is None of a single value."""
    several = torch.tensor(values, dtype=torch.float64)
    error = float(several.std()) / math.sqrt(len(values)) if len(values) > 1 else None
    return float(several.mean()), error
