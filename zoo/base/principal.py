"""Principal directions of data that comes in batches.

Up to 2,048 values an example their second moments are summed up and decomposed whole. A large picture has a hundred
times as many: n examples of it span n directions at most, which the n × n inner products tell as exactly (Sirovich
1987). Where there are many examples of large pictures, a random subspace is turned towards the main directions, a pass
over the data at a time (Halko, Martinsson & Tropp 2011, algorithms 4.4 and 5.3): near directions of nearly the same
variance are told apart less well than in the other two ways, the variance in all of them together is found to a
thousandth.

References: Sirovich (1987), Turbulence and the dynamics of coherent structures; Halko, Martinsson & Tropp (2011),
Finding structure with randomness.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

LARGE = 2048  # size of the largest matrix that is decomposed whole: some seconds, in which nothing else happens
KEPT = 1 << 28  # values of examples that are kept together, 1 GB in float32
AT_ONCE = 1 << 24  # values in float64 at a time
SPARE, PASSES, SEED = 10, 8, 0  # directions beside those that are asked for; the same data has the same directions
MOST_WORK = 1 << 36  # multiplications of orthogonalising the directions: some seconds

Rows = Callable[[], Iterable[Tensor]]  # gives centred examples (b, D), all of them at each call


def principal_directions(
    batches: Iterable[tuple[Tensor, Tensor]], like: Tensor, size: int
) -> tuple[Tensor, Tensor | None, Tensor | None, int]:
    """Mean and main directions of examples; sums are in float64.

    Args:
        batches: ``(x, labels)``; labels are not looked at. Gone through once for up to ``LARGE`` values an example,
            else again and again.
        like: has an example's number of values D, the dtype and the device of the mean.
        size: how many directions to find, see :func:`most_directions`; 0 for none.

    Returns:
        The mean ``(D,)``; unit vectors ``(D, size)``, the direction of the largest variance first, whose largest entry
        is positive, and the mean variance of the D − size directions that they leave over, ``()``, float64, both None
        for ``size=0``; and the number of examples. Where n examples vary in fewer directions than ``size``, the others
        are any that are orthogonal to those.

    Raises:
        ValueError: there is no example.
    """
    whole = size if len(like) <= LARGE else 0
    first = torch.zeros(len(like), dtype=torch.float64, device=like.device)
    second = torch.zeros(len(like), len(like) if whole else 0, dtype=torch.float64, device=like.device)
    middle, count = first, 0
    for x, _ in batches:
        values = x.flatten(1)
        middle = middle if count else values.mean(0).double()
        values = values - middle.to(x.dtype)  # near the mean, so that second moments lose no digits
        first += values.sum(0, dtype=torch.float64)
        if whole:
            second += values.T @ values
        count += len(x)
    if not count:
        raise ValueError("there is no image to start from")
    first /= count
    mean = middle.to(like.dtype).double() + first
    if not size:
        return mean, None, None, count
    if not whole:
        _, directions, rest = leading(lambda: (x.flatten(1) - mean.to(x.dtype) for x, _ in batches), count, mean, size)
        return mean, directions, rest / count / max(len(like) - size, 1), count
    variances, vectors = torch.linalg.eigh(second / count - torch.outer(first, first))
    return mean, _turned(vectors[:, -size:].flip(1)), variances[:-size].mean(), count


def most_directions(values: int) -> int:
    """How many directions of examples of so many values can be found within some seconds."""
    return values if values <= LARGE else min(values, int((MOST_WORK / values) ** 0.5))


def leading(rows: Rows, count: int, like: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The largest eigenvalues of the sum of r rᵀ over ``count`` ``rows`` r, without that matrix.

    Args:
        rows: see ``Rows``.
        count: how many there are.
        like: has the number of values D of each, and their device.
        size: how many eigenvalues.

    Returns:
        The eigenvalues ``(size,)``, the largest first; unit eigenvectors ``(D, size)``, whose largest entry is
        positive; and the sum of all other eigenvalues, ``()``. In float64.
    """
    if count <= LARGE and count * len(like) <= KEPT:
        values, vectors, rest = _by_products(torch.cat(list(rows())), size)
    else:
        values, vectors, rest = _by_passes(rows, like, size)
    return values, _turned(vectors), rest


def _by_products(rows: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """By the inner products of all rows ``(n, D)``: where R Rᵀ u = λ u, Rᵀ u is an eigenvector of Rᵀ R for λ."""
    n, D = rows.shape
    parts = [slice(start, start + max(1, AT_ONCE // n)) for start in range(0, D, max(1, AT_ONCE // n))]
    products = torch.zeros(n, n, dtype=torch.float64, device=rows.device)
    for part in parts:
        products.addmm_(rows[:, part].double(), rows[:, part].double().T)
    values, vectors = torch.linalg.eigh(products)
    values, found = values.clamp_min(0), min(size, n)
    directions = products.new_zeros(D, size)
    for part in parts:
        directions[part, :found] = rows[:, part].double().T @ vectors[:, -found:].flip(1)
    chosen = torch.nn.functional.pad(values[-found:].flip(0), (0, size - found))
    # orthogonalises what rounding has left of each, the largest first, and fills up where there are too few
    return chosen, torch.linalg.qr(directions)[0], values[:-found].sum()


def _by_passes(rows: Rows, like: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """By the range finder: a random subspace, moved by the matrix and made orthonormal again in each of some passes."""
    D = len(like)
    generator = torch.Generator(like.device).manual_seed(SEED)
    moved = torch.randn(D, min(size + SPARE, D), generator=generator, dtype=torch.float64, device=like.device)
    for _ in range(PASSES):
        basis = torch.linalg.qr(moved)[0]
        moved, total = torch.zeros_like(basis), basis.new_zeros(())
        for batch in rows():
            for part in batch.split(max(1, AT_ONCE // D)):
                values = part.double()
                moved.addmm_(values.T, values @ basis)
                total += values.square().sum()
    within = basis.T @ moved
    values, turn = torch.linalg.eigh((within + within.T) / 2)
    chosen = values[-size:].flip(0).clamp_min(0)
    return chosen, basis @ turn[:, -size:].flip(1), (total - chosen.sum()).clamp_min(0)


def _turned(vectors: Tensor) -> Tensor:
    """Eigenvectors have no sign of their own: the largest entry of each becomes positive."""
    return vectors * vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
