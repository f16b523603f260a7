"""Recordings as spectra and back: by their formulas, by scipy, and by numbers that librosa 0.11 gave for the same
samples."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.fft import dct

from zoo.data import spectra

RATE = 8000
PLACES = [0, 3, 10, 20]  # windows that librosa was asked about
LOG_MEL = {
    0: [1.8482, -10.0773, -8.5411, 1.7894], 5: [2.7881, -4.7315, -4.6614, 2.7398],
    12: [2.0786, -3.2618, -3.2736, 2.2322], 20: [4.4957, 1.5697, -7.7403, -1.2797],
    39: [-1.8303, -11.059, -11.059, -5.5814],
}  # fmt: skip
CEPSTRA = {
    0: [6.2577, -37.4103, -37.6071, 4.4469], 1: [10.524, 18.5123, 17.1456, 11.84],
    5: [-7.4671, -19.6602, -23.4215, -5.1302], 12: [0.7341, -4.0241, -7.3057, -0.175],
}  # fmt: skip
SLOPES = {
    0: [-11.0537, -3.986, -0.012, 10.9303], 1: [1.9676, 0.9942, -0.2581, -0.6572],
    5: [-2.7117, -1.952, -0.08, 3.8489], 12: [-0.8922, -1.1867, 0.3548, 0.1128],
}  # fmt: skip


def two_tones():
    """What librosa heard: 0.2 s of a tone, and of one that rises."""
    t = np.arange(1600) / RATE
    samples = 0.5 * np.sin(2 * np.pi * 440 * t) + 0.25 * np.sin(2 * np.pi * 1234 * t * (1 + t))
    return torch.from_numpy(samples.astype(np.float32))


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# Features


@pytest.mark.parametrize(("rate", "bands"), [(8000, 40), (16_000, 64), (44_100, 23)])
def test_bands_are_triangles_on_the_mel_scale(rate, bands):
    _, size = spectra.sizes(rate)
    low, high = (2595 * np.log10(1 + edge / 700) for edge in (20, rate / 2))
    edges = 700 * (10 ** (np.linspace(low, high, bands + 2) / 2595) - 1)
    frequencies = np.arange(size // 2 + 1) * rate / size
    expected = [np.interp(frequencies, edges[band : band + 3], [0, 1, 0]) for band in range(bands)]
    filters = spectra.mel_filters(rate, bands)
    torch.testing.assert_close(filters.double(), torch.tensor(np.array(expected)), rtol=0, atol=1e-6)
    assert (filters.sum(1) > 0).all()


def test_bands_are_those_of_librosa():
    filters = spectra.mel_filters(RATE, 40)[[0, 1, 10, 25, 39]]
    torch.testing.assert_close(filters.sum(1), torch.tensor([2.19006, 2.28626, 3.42213, 6.92112, 13.1423]))
    assert filters.argmax(1).tolist() == [3, 6, 31, 107, 243]


def test_a_spectrum_is_the_transform_of_windows():
    samples, (window, size), hop = noise(2000), spectra.sizes(RATE), spectra.hop_of(RATE)
    assert (window, size, hop) == (200, 512, 80)  # 25 ms and 10 ms
    shape = torch.nn.functional.pad(torch.hann_window(window), ((size - window) // 2,) * 2)
    around = torch.nn.functional.pad(samples, (size // 2, size // 2))
    expected = torch.stack([torch.fft.rfft(part * shape) for part in around.unfold(0, size, hop)], 1)
    torch.testing.assert_close(spectra.spectrum(samples, RATE), expected, rtol=1e-4, atol=1e-4)


def test_features_are_those_of_librosa():
    found = spectra.features_of(two_tones(), "log_mel", RATE, 40)
    assert found.shape == (1, 40, 21)
    for band, values in LOG_MEL.items():
        torch.testing.assert_close(found[0, band, PLACES], torch.tensor(values), rtol=0, atol=2e-3)
    found = spectra.features_of(two_tones(), "mfcc", RATE, 40)
    assert found.shape == (3, 13, 21)
    for channel, known in enumerate((CEPSTRA, SLOPES)):
        for row, values in known.items():
            torch.testing.assert_close(found[channel, row, PLACES], torch.tensor(values), rtol=0, atol=5e-3)


def test_cepstra_are_the_cosine_transform_and_slopes_a_regression():
    log_mel, mfcc = (spectra.features_of(two_tones(), name, RATE, 40) for name in spectra.FEATURES)
    expected = dct(log_mel[0].numpy(), axis=0, norm="ortho")[:13]
    torch.testing.assert_close(mfcc[0], torch.from_numpy(expected), rtol=0, atol=1e-3)
    line = 3.0 * torch.arange(9.0)[None] + torch.tensor([[1.0], [-2.0]])
    torch.testing.assert_close(spectra.slopes(line)[:, 2:-2], torch.full((2, 5), 3.0))
    torch.testing.assert_close(mfcc[1], spectra.slopes(mfcc[0]))
    torch.testing.assert_close(mfcc[2], spectra.slopes(mfcc[1]))
    shape = spectra.cosines(40).double()
    torch.testing.assert_close(shape @ shape.mT, torch.eye(13).double(), rtol=0, atol=1e-6)


def test_loudness_and_silence_around_change_nothing():
    samples = two_tones()
    found = spectra.log_mel(samples, RATE, 40)
    torch.testing.assert_close(spectra.log_mel(samples / 1000, RATE, 40) + 2 * math.log(1000), found, rtol=0, atol=2e-3)
    hop = spectra.hop_of(RATE)
    around = torch.nn.functional.pad(samples, (30 * hop, 50 * hop)) + 1e-5 * noise(len(samples) + 80 * hop)
    longer = spectra.log_mel(around, RATE, 40)
    # as much as two windows of 25 ms, one every 10 ms, reach into what was cut off
    assert found.shape[1] <= longer.shape[1] <= found.shape[1] + 4
    start = (longer.shape[1] - found.shape[1]) // 2
    assert (longer[:, start + 3 : start + 17] - found[:, 3:17]).abs().max() < 0.1
    assert spectra.log_mel(torch.zeros(1600), RATE, 40).shape == (40, 0)


def test_stretching_keeps_the_ends_and_lines():
    line = torch.arange(7.0)[None] * torch.tensor([[1.0], [2.0]])
    found = spectra.stretched(line, 13)
    torch.testing.assert_close(found, torch.arange(13.0)[None] / 2 * torch.tensor([[1.0], [2.0]]))
    assert torch.equal(spectra.stretched(line, 7), line)
    torch.testing.assert_close(spectra.stretched(line, 3), line[:, [0, 3, 6]])
    assert torch.equal(spectra.stretched(line[:, :1], 4), line[:, :1].expand(-1, 4))


# Back to sound


def test_each_pass_of_griffin_and_lim_lowers_the_spectral_error():
    samples = two_tones()
    magnitudes = spectra.spectrum(samples, RATE).abs()
    errors = [
        spectra.spectral_error(spectra.griffin_lim(magnitudes, RATE, passes), magnitudes, RATE) for passes in range(25)
    ]
    assert all(later < earlier for earlier, later in itertools.pairwise(errors))
    assert errors[-1] < 0.2 * errors[0]
    assert spectra.spectral_error(samples, magnitudes, RATE) < 1e-6 * errors[0]
    # of magnitudes that no recording has, too
    impossible = noise(*magnitudes.shape).abs()
    errors = [spectra.spectral_error(spectra.griffin_lim(impossible, RATE, p), impossible, RATE) for p in range(10)]
    assert all(later <= earlier for earlier, later in itertools.pairwise(errors))


def test_what_is_heard_has_the_spectrum_that_it_was_made_of():
    wanted = spectra.log_mel(two_tones(), RATE, 40)
    said = spectra.heard(wanted, RATE)
    assert said.shape == (80 * 20,)
    assert 0.89 < float(said.abs().max()) <= 0.9001
    again = spectra.log_mel(said, RATE, 40)
    loud = wanted > wanted.max() - 8  # 35 dB below the loudest
    width = min(again.shape[1], wanted.shape[1])
    difference = (again - again.max())[:, :width] - (wanted - wanted.max())[:, :width]
    assert difference[loud[:, :width]].abs().mean() < 0.7
    other = spectra.log_mel(noise(1600), RATE, 40)
    far = (other - other.max())[:, :width] - (wanted - wanted.max())[:, :width]
    assert far[loud[:, :width]].abs().mean() > 2
    assert torch.equal(spectra.heard(wanted, RATE), said)  # the same phases each time


def test_cepstra_are_smooth_spectra():
    log_mel, mfcc = (spectra.features_of(two_tones(), name, RATE, 40) for name in spectra.FEATURES)
    smooth = spectra.spectra_of(mfcc, 40)
    assert smooth.shape == (40, 21)
    torch.testing.assert_close(spectra.cosines(40) @ smooth, mfcc[0], rtol=0, atol=1e-3)
    assert torch.equal(spectra.spectra_of(log_mel, 40), log_mel[0])


def test_what_is_below_the_decibels_is_all_the_same():
    samples = two_tones() + 1e-4 * noise(1600)
    whole, less = (spectra.log_mel(samples, RATE, 40, decibels) for decibels in (120, 30))
    floor = whole.max() - 30 * math.log(10) / 10
    torch.testing.assert_close(less, whole.clamp_min(floor))
    assert (whole < floor).any()
