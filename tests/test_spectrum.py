"""Spectra of images whose spectra are known."""

import math

import pytest
import torch

import zoo
from zoo.metrics.spectrum import frequencies, high_frequency_energy, power, radial_spectrum

pytestmark = pytest.mark.usefixtures("one_thread")


def noise(n: int, *shape: int) -> torch.Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(0))


def wave(u: int, v: int, size: int = 16) -> torch.Tensor:
    """cos(2π (u h + v w) / size), ``(1, 1, size, size)``."""
    h, w = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return torch.cos(2 * math.pi * (u * h + v * w) / size)[None, None]


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 9, 14)])
def test_parseval(shape):
    """Power sums to the energy of the pixels, of any shape; also of more images than are transformed at a time."""
    x = noise(2_100, *shape)
    assert float(power(x).sum()) == pytest.approx(float(x.double().square().sum((2, 3)).mean()), rel=1e-6)
    assert power(x).shape == shape[1:]
    assert high_frequency_energy(x, above=-1) == pytest.approx(float(power(x).sum()))


def test_white_noise_is_flat():
    at, spectrum = radial_spectrum(2 * noise(3_000, 1, 28, 28) + 5)
    torch.testing.assert_close(at, torch.arange(15).double() / 28)
    assert float(spectrum[0]) == pytest.approx(25 * 28 * 28 + 4, rel=0.01)
    torch.testing.assert_close(spectrum[1:], torch.full((14,), 4.0, dtype=torch.float64), rtol=0.05, atol=0)


@pytest.mark.parametrize(("u", "v"), [(3, 0), (0, 3), (-3, 0), (2, 2), (8, 0)])
def test_a_wave_is_at_its_frequency(u, v):
    """All of its energy lies in one ring, whatever its direction."""
    at, spectrum = radial_spectrum(wave(u, v))
    peak = int(spectrum.argmax())
    assert float(at[peak]) == pytest.approx(math.hypot(u, v) / 16, abs=0.5 / 16)
    assert float(spectrum[peak]) > 0.999 * float(spectrum.sum())
    energy = float(wave(u, v).square().sum())
    split = math.hypot(u, v) / 16
    assert high_frequency_energy(wave(u, v), above=split - 0.01) == pytest.approx(energy, rel=1e-5)
    assert high_frequency_energy(wave(u, v), above=split + 0.01) == pytest.approx(0, abs=1e-6)
    assert high_frequency_energy(wave(u, v), above=0, up_to=split - 0.01) == pytest.approx(0, abs=1e-6)
    assert high_frequency_energy(wave(u, v), above=0, up_to=split + 0.01) == pytest.approx(energy, rel=1e-5)


def test_blur_takes_high_frequencies_away():
    """A circular blur multiplies each power by the squared transfer of its kernel, and leaves the mean."""
    x = noise(50, 1, 12, 12)
    blurred = (x + x.roll(1, 3)) / 2
    transfer = (math.pi * torch.fft.fftfreq(12, dtype=torch.float64)).cos().square()
    torch.testing.assert_close(power(blurred), power(x) * transfer, rtol=1e-4, atol=1e-5)
    assert high_frequency_energy(blurred) < 0.7 * high_frequency_energy(x)
    first, second = radial_spectrum(x)[1], radial_spectrum(blurred)[1]
    torch.testing.assert_close(first[0], second[0])
    assert (second[3:] < first[3:]).all()


def test_rings_are_the_means_of_their_frequencies():
    """As by brute force, of an image that is no square."""
    x = noise(3, 2, 8, 13)
    values, radius = power(x), frequencies(8, 13)
    at, spectrum = radial_spectrum(x)
    for place, mean in zip(at, spectrum, strict=True):
        members = [
            float(values[i, j])
            for i in range(8)
            for j in range(13)
            if round(float(radius[i, j]) * 8) == round(float(place) * 8)
        ]
        assert float(mean) == pytest.approx(sum(members) / len(members))
    assert len(at) == 5
    assert float(at[-1]) == 0.5


def test_stored_levels_are_refused():
    x = torch.randint(0, 256, (5, 1, 6, 6), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    with pytest.raises(zoo.ZooError, match=r"values in \[0, 1\]"):
        power(x)


def test_no_images():
    with pytest.raises(zoo.ZooError, match="images"):
        power(torch.zeros(0, 1, 4, 4))
