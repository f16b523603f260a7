"""Gaussians of which only some coordinates are seen: exact marginals and conditionals for dense covariances."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)


def solve_observed(covariance: Tensor, observed: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Σ_oo⁻¹ v_o and log |Σ_oo| of the seen coordinates o.

    Args:
        covariance: ``(..., d, d)``.
        observed: bool ``(..., d)``.
        v: ``(..., d)``; its hidden entries are not read.

    Returns:
        ``(..., d)`` with zeros at the hidden entries, and ``(...)``. The leading dimensions broadcast.
    """
    seen = observed.to(covariance.dtype)
    # hidden coordinates become independent standard normals, which changes neither result
    masked = covariance * seen[..., :, None] * seen[..., None, :] + torch.diag_embed(1 - seen)
    factor = torch.linalg.cholesky(masked)
    v = torch.where(observed, v, 0)
    shape = torch.broadcast_shapes(v.shape, factor.shape[:-1])
    solved = torch.cholesky_solve(v.expand(shape)[..., None], factor)[..., 0]
    return solved, 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def log_prob_observed(covariance: Tensor, observed: Tensor, deviation: Tensor) -> Tensor:
    """log N(x_o; μ_o, Σ_oo) in nats, ``(...)``, from ``deviation`` = x − μ; the arguments of :func:`solve_observed`."""
    solved, log_det = solve_observed(covariance, observed, deviation)
    distance = (torch.where(observed, deviation, 0) * solved).sum(-1)
    return -0.5 * (distance + log_det + observed.sum(-1, dtype=deviation.dtype) * LOG_2PI)


def deviation_given_observed(
    covariance: Tensor, observed: Tensor, deviation: Tensor, noise: Tensor | None = None
) -> Tensor:
    """E[x − μ | x_o], or a sample of it, ``(..., d)``; ``deviation`` = x − μ, of which the seen entries come back.

    With ``noise`` ~ N(0, Σ) the result is a sample (Matheron's rule): noise + Σ_·o Σ_oo⁻¹ (deviation_o − noise_o).
    """
    start = torch.zeros_like(deviation) if noise is None else noise
    solved, _ = solve_observed(covariance, observed, deviation - start)
    completed = start + (covariance @ solved[..., None])[..., 0]
    return torch.where(observed, deviation, completed)
