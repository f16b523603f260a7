"""Recordings of users: any format, rate, depth and number of channels, right or refused in one line that says why."""

import contextlib
import io
import math
import os
import struct
import wave

import numpy as np
import pytest
import soundfile

import zoo
from zoo.data import sounds

RATE = 8000


def tone(hertz=440.0, seconds=0.5, rate=RATE):
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def refused(path, reason):
    with pytest.raises(zoo.DataError) as error:
        sounds.read(path, RATE)
    message = str(error.value)
    assert message.startswith(f"{path} cannot be read as a recording: ")
    assert "\n" not in message
    assert reason in message
    return message


# Right


@pytest.mark.parametrize(
    ("suffix", "depth", "error"),
    [("wav", "PCM_U8", 1 / 128), ("wav", "PCM_16", 1 / 32768), ("wav", "PCM_24", 1e-6), ("wav", "PCM_32", 1e-6),
     ("wav", "FLOAT", 1e-7), ("wav", "DOUBLE", 1e-7), ("flac", "PCM_16", 1 / 32768), ("flac", "PCM_24", 1e-6),
     ("aiff", "PCM_16", 1 / 32768), ("wav", "ULAW", 0.02)],
)  # fmt: skip
def test_any_depth_is_the_same_recording(suffix, depth, error, tmp_path):
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(), RATE, subtype=depth)
    found = sounds.read(path, RATE)
    assert found.dtype == np.float32
    assert found.shape == (4000,)
    assert np.abs(found - tone()).max() <= error


@pytest.mark.parametrize("rate", [11_025, 16_000, 44_100, 48_000, 96_000, 192_000])
def test_any_rate_is_the_same_recording(rate, tmp_path):
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(rate=rate), rate)
    found, expected = sounds.read(path, RATE), tone()
    assert abs(len(found) - len(expected)) <= 1
    assert np.abs(found[200:3800] - expected[200:3800]).max() < 2e-3  # beside the ends, where a filter begins


def test_what_the_wanted_rate_cannot_hold_is_left_out(tmp_path):
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(1000, rate=48_000) + tone(9000, rate=48_000), 48_000)
    found = sounds.read(path, RATE)
    assert np.abs(found[200:3800] - tone(1000)[200:3800]).max() < 2e-3  # 9 kHz would be heard as 1 kHz


def test_channels_are_averaged(tmp_path):
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([tone(), 0 * tone()], 1), RATE, subtype="FLOAT")
    np.testing.assert_allclose(sounds.read(path, RATE), tone() / 2, atol=1e-6)
    soundfile.write(path, np.stack([tone()] * 6, 1), RATE, subtype="FLOAT")
    np.testing.assert_allclose(sounds.read(path, RATE), tone(), atol=1e-6)


def test_a_file_in_memory_is_read_and_named():
    content = io.BytesIO()
    soundfile.write(content, tone(), RATE, format="WAV")
    content.seek(0)
    assert sounds.read(content, RATE, "here").shape == (4000,)
    with pytest.raises(zoo.DataError, match=r"^here cannot be read as a recording: it is damaged"):
        sounds.read(io.BytesIO(b"RIFF"), RATE, "here")


# Refused


def test_what_is_no_recording_is_refused(tmp_path):
    path = tmp_path / "five.wav"
    refused(path, "no such file")
    path.write_bytes(b"")
    refused(path, "it is empty")
    path.write_text("five, spoken by Theo")
    refused(path, "it is damaged, or of a form that libsndfile does not read")
    path.unlink()
    path.mkdir()
    refused(path, "it is a folder")
    os.mkfifo(tmp_path / "pipe.wav")
    refused(tmp_path / "pipe.wav", "it is no regular file")


def test_what_holds_nothing_to_hear_is_refused(tmp_path):
    path = tmp_path / "five.wav"
    soundfile.write(path, np.zeros(0, np.float32), RATE)
    refused(path, "it holds no sample")
    soundfile.write(path, np.zeros(4000, np.float32), RATE)
    refused(path, "it is silent")
    for value in (math.nan, math.inf):
        soundfile.write(path, np.full(4000, value, np.float32), RATE, subtype="FLOAT")
        refused(path, "no numbers")


def test_what_lasts_too_long_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "hour.wav"
    with wave.open(str(path), "wb") as file:  # an hour, of which the file system keeps next to nothing
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44_100)
        file.setnframes(44_100 * 3600)
        file._ensure_header_written(0)
    size = 44_100 * 3600 * 4
    with path.open("r+b") as file:
        file.seek(4)
        file.write(struct.pack("<I", 36 + size))
        file.seek(40)
        file.write(struct.pack("<I", size))
        file.truncate(44 + size)
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *args, **kwargs: pytest.fail("it was read"))
    refused(path, "it lasts 3,600 s, more than the 190 s that are read: cut it into pieces")


def test_a_length_that_is_not_true_is_not_believed(tmp_path):
    path = tmp_path / "five.wav"
    soundfile.write(path, tone(), RATE)
    content = bytearray(path.read_bytes())
    content[40:44] = struct.pack("<I", 2**24)  # a megabyte and more that is not there
    path.write_bytes(content)
    assert len(sounds.read(path, RATE)) == 4000


def test_impossible_rates_are_refused(tmp_path):
    path = tmp_path / "five.wav"
    for rate in (10, 2_000_000):
        soundfile.write(path, tone(), rate)
        refused(path, f"it says {rate:,} samples a second")


def test_a_damaged_recording_is_refused_or_heard(tmp_path):
    """Whatever byte is changed, there is a recording or a sentence."""
    path, generator = tmp_path / "five", np.random.default_rng(0)
    answers = set()
    for number in range(150):
        soundfile.write(path, tone(seconds=0.05), RATE, format=("FLAC", "WAV")[number % 2])
        whole = path.read_bytes()
        content = bytearray(whole)
        for place in generator.integers(0, len(content), 3):
            content[place] = generator.integers(0, 256)
        path.write_bytes(bytes(content[: generator.integers(8, len(content) + 1)]))
        with contextlib.suppress(zoo.DataError):  # and nothing else
            assert np.isfinite(sounds.read(path, RATE)).all()
            answers.add("heard")
            continue
        answers.add("refused")
    assert answers == {"refused", "heard"}
