"""The Fréchet distance between two sets of features, each taken for a normal distribution.

d² = |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½)

(Heusel et al. 2017, GANs Trained by a Two Time-Scale Update Rule, eq. 6; Dowson & Landau 1982.) Heusel's FID is this
number on the features of one Inception network; on other features it is another number, on another scale.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.errors import ZooError


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``(D,)`` and unbiased covariance ``(D, D)`` of features ``(N, D)``, in float64 on the CPU.

    Raises ``ZooError`` for fewer than two rows, and for features that are not finite.
    """
    if len(features) < 2:
        raise ZooError(f"a covariance needs two images at least, not {len(features)}")
    if not features.isfinite().all():
        raise ZooError("the features of some images are not finite: NaN or infinite pixels come from a broken model")
    features = features.cpu().double()  # not every accelerator has float64
    mean = features.mean(0)
    centred = features - mean
    return mean, centred.T @ centred / (len(features) - 1)


def frechet_distance(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> float:
    """The squared Fréchet distance d² ≥ 0 between two pairs of :func:`moments`; symmetric, 0 for equal ones.

    The trace of (Σ₁ Σ₂)^½ is the sum of the roots of the eigenvalues of Σ₁^½ Σ₂ Σ₁^½, which is symmetric and has those
    of Σ₁ Σ₂: no root of a matrix that is not symmetric is taken, and covariances of fewer images than features, which
    are singular, are no special case.
    """
    (mean1, covariance1), (mean2, covariance2) = first, second
    if torch.equal(mean1, mean2) and torch.equal(covariance1, covariance2):
        return 0.0  # else the roots of singular directions, which are as large as √ε, add up
    values, vectors = torch.linalg.eigh(covariance1)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    overlap = torch.linalg.eigvalsh(root @ covariance2 @ root).clamp_min(0).sqrt().sum()
    distance = (mean1 - mean2).square().sum() + covariance1.trace() + covariance2.trace() - 2 * overlap
    return max(float(distance), 0.0)
