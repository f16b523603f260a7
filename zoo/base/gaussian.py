"""Gaussians: marginals and conditionals where only some coordinates are seen, and regressions with their noise."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)
SMALL = 16  # the largest matrices that are inverted many at a time, entry by entry; others are one by one


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


def hidden_given_seen(precision: Tensor, deviation: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What is hidden of examples, given what is seen, in the light of several Gaussians.

    With Λ = Σ⁻¹, Cov[x_m | x_o] = Λ_mm⁻¹, E[x_m | x_o] = μ_m − Λ_mm⁻¹ Λ_mo (x_o − μ_o) and |Σ_oo| = |Σ| |Λ_mm|: quick
    where few are hidden, however many are seen.

    Args:
        precision: Λ, ``(K, d, d)``.
        deviation: x − μ, ``(K, B, d)``, 0 where hidden; it is overwritten where it has no gradient.
        seen: bool ``(B, d)``; those that see the fewest first are done the quickest.

    Returns:
        E[x − μ | x_o], ``(K, B, d)``; log |Λ_mm|, ``(K, B)``; the conditional covariances of hidden entries, of the
        most that any example has, h, ``(K, h, h, B)``; and where these stand in a (d + h) × (d + h) matrix laid out
        flat, ``(h, h, B)``: beyond d those that fill up examples with fewer.
    """
    size, most = seen.shape[1], int((~seen).sum(1).max()) if len(seen) else 0
    places = seen.byte().argsort(dim=1, stable=True)[:, :most]
    hidden = ~seen.gather(1, places)
    steps = torch.arange(most, device=seen.device)
    filled = torch.where(hidden, places, size + steps)
    pairs = (filled[:, :, None] * (size + most) + filled[:, None]).permute(1, 2, 0).contiguous()
    # independent standard normals fill up, which changes nothing
    exact = torch.eye(size + most).to(precision).repeat(len(precision), 1, 1)
    exact[:, :size, :size] = precision
    ends = torch.arange(1, len(seen) + 1, device=seen.device)[:, None]
    sizes = (ends * hidden).amax(0).tolist() if most else []
    blocks = exact.flatten(1).index_select(1, pairs.flatten()).unflatten(1, pairs.shape)
    covariance, log_det = _inverted(blocks, sizes)
    index = places.expand(len(precision), -1, -1)
    pull = ((deviation @ precision).gather(2, index) * hidden).mT  # Λ_mo (x_o − μ_o), (K, h, B)
    mean = torch.zeros_like(pull)
    for i, size in enumerate(sizes):
        mean[..., :size].addcmul_(covariance[:, i, :, :size], pull[:, i, None, :size], value=-1)
    add = deviation.scatter_add if deviation.requires_grad else deviation.scatter_add_  # a gradient asks for it later
    return add(2, index, mean.mT.to(deviation.dtype)), log_det.to(deviation.dtype), covariance, pairs


def _inverted(matrices: Tensor, sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Inverses ``(K, h, h, B)`` and log determinants ``(K, B)`` of positive definite ``matrices``, which are of
    the inverses' shape and are overwritten.

    sizes: for each i < h, how many of the B, counted from the first, have more than the identity in row i: no other row
    is looked at, nor inverted.
    """
    if matrices.shape[1] > SMALL:
        factor = torch.linalg.cholesky(matrices.permute(0, 3, 1, 2))
        log_det = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return torch.cholesky_inverse(factor).permute(0, 2, 3, 1), log_det
    log_det = matrices.new_zeros(matrices.shape[0], matrices.shape[3])
    for i, size in enumerate(sizes):  # the sweep operator (Goodnight 1979), which ends with minus the inverse
        part = matrices[..., :size]
        pivot, row = part[:, i, i].clone(), part[:, i].clone()
        scaled = row / pivot[:, None]
        part.addcmul_(row[:, :, None], scaled[:, None], value=-1)
        part[:, i] = part[:, :, i] = scaled
        part[:, i, i] = -1 / pivot
        log_det[:, :size] += pivot.log()  # a product of many leaves the range of float32
    for i, size in enumerate(sizes):  # a row that nothing was done to is that of the identity: its own inverse
        matrices[:, i, :, :size].neg_()
    return matrices, log_det


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


def conditional_covariance(covariance: Tensor, observed: Tensor) -> Tensor:
    """Cov[x | x_o] = Σ − Σ_·o Σ_oo⁻¹ Σ_o·, ``(..., d, d)``, with zeros at the seen entries; the arguments of
    :func:`solve_observed`."""
    seen = observed.to(covariance.dtype)
    cross = covariance * seen[..., :, None]  # Σ_o·
    masked = cross * seen[..., None, :] + torch.diag_embed(1 - seen)
    rest = covariance - cross.mT @ torch.cholesky_solve(cross, torch.linalg.cholesky(masked))
    return rest * (1 - seen)[..., :, None] * (1 - seen)[..., None, :]


def log_regressions(
    x: Tensor, f: Tensor, weight: Tensor, factor: Tensor, seen: Tensor | None, full: bool, at_once: int
) -> Tensor:
    """log N(x_t; A_s f_t, Σ_s) in nats for several regressions s, ``(B, T, S)``, of what is ``seen`` of x.

    Args:
        x: ``(B, T, D)``; its hidden entries are 0.
        f: ``(B, T, F)``; where anything is hidden, the constant 1 alone.
        weight: A, ``(S, D, F)``.
        factor: lower Cholesky factors of Σ, ``(S, D, D)``.
        seen: bool ``(B, T, D)``; None: all.
        full: whether Σ has entries off its diagonal.
        at_once: how many of the x_t of which a part is hidden to work on at a time, if ``full``.
    """
    states, values = factor.shape[:2]
    whiten = torch.linalg.solve_triangular(factor, torch.eye(values).to(factor), upper=False)
    kernel = torch.cat([whiten, -whiten @ weight], 2)  # one product whitens the residuals of all regressions
    white = F.linear(torch.cat([x, f], 2), kernel.flatten(0, 1)).unflatten(2, (states, values))
    constants = 2 * factor.diagonal(dim1=-2, dim2=-1).log() + LOG_2PI
    if seen is not None and not full:
        return -0.5 * torch.where(seen[:, :, None], white.square() + constants, 0).sum(-1)
    log_b = -0.5 * (torch.linalg.vector_norm(white, dim=-1).square() + constants.sum(-1))
    if seen is None:
        return log_b
    log_b = torch.where(seen.any(2, keepdim=True), log_b, 0)
    partly = seen.any(2) & ~seen.all(2)
    covariance = factor @ factor.mT
    parts = [
        log_prob_observed(covariance, mask[:, None], part[:, None] - weight[..., 0])
        for mask, part in zip(seen[partly].split(at_once), x[partly].split(at_once), strict=True)
    ]
    return log_b.index_put((partly,), torch.cat(parts)) if parts else log_b


def regression_moments(
    chosen: Tensor, f: Tensor, x: Tensor, weight: Tensor | None, full: bool
) -> Iterator[dict[str, Tensor]]:
    """What :func:`fit_regression` fits each of several regressions to: weighted sums ``ff``, ``ef`` and ``ee``.

    Args:
        chosen: how much each observation counts in each regression, ``(S, N)``.
        f: ``(N, F)``.
        x: ``(N, D)``.
        weight: the present A of each, ``(S, D, F)``, whose residuals are e. None: e is x itself, without ``ee``.
        full: whether ``ee`` is a matrix, or its diagonal alone.
    """
    states, rows = (chosen > torch.finfo(chosen.dtype).eps).nonzero(as_tuple=True)  # few, if states are sure
    sizes = states.bincount(minlength=len(chosen)).tolist()
    parts = (part.split(sizes) for part in (chosen[states, rows, None], f[rows], x[rows]))
    for state, (share, inputs, e) in enumerate(zip(*parts, strict=True)):
        sums = {}
        if weight is not None:
            e = torch.addmm(e, inputs, weight[state].mT, alpha=-1)
            sums["ee"] = (share * e).mT @ e if full else (share * e * e).sum(0)
        weighted = share * inputs
        yield {**sums, "ff": weighted.mT @ inputs, "ef": e.mT @ weighted}


def fit_regression(
    ff: Tensor, ef: Tensor, ee: Tensor, weight: Tensor, total: Tensor, ridge: float, slack: float
) -> tuple[Tensor, Tensor]:
    """The change of the weights A in x = A f + noise, and the residuals' second moments after it.

    Moments are of the residual e = x − A f under the present weights, which loses no digits.

    Args:
        ff: sums of f fᵀ, ``(…, F, F)``; the last entry of f is the constant 1.
        ef: sums of e fᵀ, ``(…, D, F)``.
        ee: sums of e eᵀ, ``(…, D, D)``, or of its diagonal alone, ``(…, D)``.
        weight: A, ``(…, D, F)``.
        total: how many f there were, ``(…, 1, 1)``.
        ridge: strength of the Gaussian prior on A, in observations; the constant's weights have none.
        slack: of a proximal term as small as rounding, in shares of ``total``: weights that the data do not determine
            stay as they are.

    Returns:
        ``(…, D, F)``, and a tensor like ``ee``.
    """
    identity = torch.eye(ff.shape[-1]).to(ff)
    penalty = ridge * identity
    penalty[-1, -1] = 0
    change = torch.linalg.solve(ff + penalty + slack * total * identity, ef - weight @ penalty, left=False)
    if ee.dim() == ef.dim():
        cross = change @ ef.mT
        return change, ee - cross - cross.mT + change @ ff @ change.mT
    return change, ee - 2 * (change * ef).sum(-1) + (change @ ff * change).sum(-1)
