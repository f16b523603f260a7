"""Sample quality: each figure against its formula."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torchmetrics.image.kid import poly_mmd

import zoo
from zoo.metrics import kernel, neighbours
from zoo.metrics.frechet import frechet_distance, moments
from zoo.metrics.kernel import kernel_distance
from zoo.metrics.modes import class_divergence, class_shares, modes_covered
from zoo.metrics.neighbours import copies, density_coverage, nearest_two, precision_recall, radii

pytestmark = pytest.mark.usefixtures("one_thread")


def normal(n: int, d: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    """Correlated normal features."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=generator) / math.sqrt(d)
    return scale * torch.randn(n, d, generator=generator) @ mix + shift


# Fréchet distance


def test_frechet_is_the_formula():
    """Against the root of the product of the covariances, by Schur's method."""
    first, second = normal(300, 12, 0).relu(), normal(200, 12, 1, 1.5, 0.3).relu()
    x, y = first.double().numpy(), second.double().numpy()
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    expected = np.sum((x.mean(0) - y.mean(0)) ** 2)
    expected += np.trace(cov_x + cov_y - 2 * scipy.linalg.sqrtm(cov_x @ cov_y).real)
    assert frechet_distance(moments(first), moments(second)) == pytest.approx(expected, abs=1e-4)
    assert frechet_distance(moments(second), moments(first)) == pytest.approx(expected, abs=1e-4)


def test_frechet_of_known_normals():
    """N(0, I) and N(m, s² I) are |m|² + D (s − 1)² apart; it is the squared distance."""
    d, s = 5, 3.0
    mean, identity = torch.zeros(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64)
    other = (mean + 2, s**2 * identity)
    assert frechet_distance((mean, identity), other) == pytest.approx(4 * d + d * (s - 1) ** 2)


def test_frechet_of_fewer_images_than_features():
    first, second = normal(20, 64, 0), normal(30, 64, 1)
    distance = frechet_distance(moments(first), moments(second))
    assert math.isfinite(distance)
    assert distance > 1
    assert frechet_distance(moments(first), moments(first.clone())) == 0
    assert frechet_distance(moments(first), moments(first.flip(0))) == pytest.approx(0, abs=1e-4)
    dead = torch.cat([first, torch.zeros(20, 3)], 1)  # units that never fire
    assert frechet_distance(moments(dead), moments(torch.cat([second, torch.zeros(30, 3)], 1))) == pytest.approx(
        distance, rel=1e-6
    )


def test_frechet_refuses_what_has_no_moments():
    with pytest.raises(zoo.ZooError, match="two images"):
        moments(torch.zeros(1, 3))
    with pytest.raises(zoo.ZooError, match="not finite"):
        moments(torch.tensor([[1.0, float("nan")], [0.0, 1.0]]))


# Kernel distance


def test_kernel_distance_is_the_formula(monkeypatch):
    """Against all pairs written out, at unequal sizes and in blocks, and against torchmetrics at equal sizes."""
    first, second = normal(50, 7, 0), normal(33, 7, 1, 1.2, 0.2)
    x, y = first.double().numpy(), second.double().numpy()

    def mean(a, b, same: bool) -> float:
        values = [
            (a[i] @ b[j] / 7 + 1) ** 3 for i in range(len(a)) for j in range(len(b)) if not (same and i == j)
        ]  # fmt: skip
        return sum(values) / len(values)

    expected = mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)
    assert kernel_distance(first, second) == pytest.approx(expected, rel=1e-9)
    monkeypatch.setattr(kernel, "ROWS", 8)
    assert kernel_distance(second, first) == pytest.approx(expected, rel=1e-9)
    theirs = poly_mmd(first[:33].double(), second.double())
    assert kernel_distance(first[:33], second) == pytest.approx(float(theirs), rel=1e-6)


def test_kernel_distance_is_unbiased():
    """Of sets from one source it is zero on average, and below zero about as often as above."""
    values = [kernel_distance(torch.randn(40, 4, generator=g), torch.randn(25, 4, generator=g))
              for g in (torch.Generator().manual_seed(seed) for seed in range(200))]  # fmt: skip
    error = np.std(values) / math.sqrt(len(values))
    assert abs(np.mean(values)) < 3 * error
    assert 0.3 < np.mean(np.array(values) < 0) < 0.8
    with pytest.raises(zoo.ZooError, match="two images"):
        kernel_distance(torch.zeros(1, 2), torch.zeros(5, 2))


# Neighbours


def brute(a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
    a, b = a.double().numpy(), b.double().numpy()
    return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))


@pytest.mark.parametrize("block", [neighbours.BLOCK, 150], ids=["whole", "blocks"])
def test_neighbours_are_those_of_all_pairs(block, monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK", block)
    real, fake = normal(60, 5, 0), normal(45, 5, 1, 0.8, 0.3)
    k = 4
    real_radii, fake_radii = (np.sort(brute(x, x), 1)[:, k] for x in (real, fake))  # entry 0 is the row itself
    assert radii(real, k).numpy() == pytest.approx(real_radii, rel=1e-6)
    cross = brute(fake, real)
    precision, recall = precision_recall(real, fake, k)
    assert precision == (cross <= real_radii).any(1).mean()
    assert recall == (cross <= fake_radii[:, None]).any(0).mean()
    density, coverage = density_coverage(real, fake, k)
    assert density == pytest.approx((cross <= real_radii).sum() / (k * len(fake)))
    assert coverage == (cross.min(0) <= real_radii).mean()
    assert 0 < precision < 1
    assert 0 < coverage < 1
    assert precision != recall
    assert (precision, recall) == precision_recall(real, fake, k, radii(real, k))
    assert (density, coverage) == density_coverage(real, fake, k, radii(real, k))


def test_precision_is_of_samples_and_recall_of_real_images():
    """Samples of one of two clusters are precise and recall half; of two, where one is real, the other way round."""
    generator = torch.Generator().manual_seed(0)
    one, here, there = torch.randn(3, 200, 3, generator=generator)
    both = torch.cat([here, there + 50])
    precision, recall = precision_recall(real=both, samples=one)
    assert precision > 0.8
    assert recall == pytest.approx(0.5, abs=0.1)
    precision, recall = precision_recall(real=one, samples=both)
    assert precision == pytest.approx(0.5, abs=0.1)
    assert recall > 0.8
    subset = both[:150]
    precision, recall = precision_recall(real=both, samples=subset)
    assert precision == 1
    assert 0.3 < recall < 0.6
    density, coverage = density_coverage(real=both, samples=both.flip(0))
    assert coverage == 1
    assert density == pytest.approx(1.2, abs=0.2)  # each is in its own ball, too: (k + 1) / k
    assert density_coverage(real=both, samples=one)[1] == pytest.approx(0.5, abs=0.1)
    with pytest.raises(zoo.ZooError, match="more than 3 images"):
        precision_recall(both, one[:3])


def test_nearest_two_and_copies(monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK", 20_000)
    generator = torch.Generator().manual_seed(0)
    training = torch.randint(256, (9000, 1, 4, 4), dtype=torch.uint8, generator=generator)  # more than one block
    queries = torch.rand(40, 1, 4, 4, generator=generator)
    queries[:10] = training[[0, 8999, *range(4000, 4008)]].float() / 255
    found = nearest_two(queries, training)
    expected = np.sort(brute(queries.flatten(1), training.flatten(1).float() / 255), 1)[:, :2]
    assert found.numpy() == pytest.approx(expected, abs=1e-5)
    assert (found[:10, 0] == 0).all()
    assert copies(found) == pytest.approx(0.25)
    assert copies(nearest_two(queries[:10], torch.cat([training, training]))) == 1  # of what is there twice
    assert copies(nearest_two((queries[:10] + 0.01).clamp(0, 1), training)) == 1
    assert copies(found[10:]) == 0
    with pytest.raises(zoo.ZooError, match="two images at least"):
        nearest_two(queries, training[:1])


# Modes


def test_modes():
    real = class_shares(torch.arange(100) % 4, 5)
    assert real.tolist() == [0.25, 0.25, 0.25, 0.25, 0]
    shares = class_shares(torch.tensor([0] * 50 + [1] * 47 + [2] * 3), 5)
    assert shares.tolist() == [0.5, 0.47, 0.03, 0, 0]
    assert modes_covered(shares, real) == 3  # 3 % is more than a tenth of a quarter
    assert modes_covered(shares, real, covered=0.5) == 2
    assert modes_covered(real, real) == 4
    assert class_divergence(real, real) == 0
    expected = 0.5 * math.log(2) + 0.47 * math.log(1.88) + 0.03 * math.log(0.12)
    assert class_divergence(shares, real) == pytest.approx(expected)
    assert class_divergence(class_shares(torch.tensor([4]), 5), real) == math.inf
