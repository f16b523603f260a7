"""Recordings as data: features, the end behind which nothing is, spoken digits, folders of one's own, augmentation; and
models that are asked about them."""

import io
import json
import math
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from conftest import command, run_script, run_train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import zoo
from zoo import registry
from zoo.data import augment, kinds, published, sounds, spectra
from zoo.data.augment import Augment
from zoo.data.batches import Batches
from zoo.data.sources import spoken_digits
from zoo.data.splits import Split, default_root, load_splits
from zoo.inspect.kinds import sound as inspected
from zoo.tasks.impute import mask_of

pytestmark = pytest.mark.usefixtures("one_thread")

sound = kinds.find("sound")
TRIAL, SPEC = sound.trial(24)
READING = sound.Reading(bands=20, steps=30)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def ends(x):
    """How many columns each recording has."""
    return [int((~each.isnan()).flatten(0, 1).any(0).sum()) for each in x]


def whole(spec, columns):
    """The spec of recordings that all have so many columns, and no end before."""
    settings = dict(spec.settings)
    return zoo.DataSpec(
        (*spec.shape[:2], columns), spec.num_classes, spec.class_names, spec.mean, spec.std, settings, "sound", "real"
    )


def written(folder, counts, rate=8000, seconds=0.3):
    """Recordings of two classes, a low and a high tone in noise, each of its own pitch and length."""
    chance = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            length = round(rate * (seconds + 0.1 * chance.random()))
            hertz = (300 if name.endswith("low") else 1500) * (1 + 0.2 * chance.random())
            samples = 0.5 * np.sin(2 * np.pi * hertz * np.arange(length) / rate) + 0.01 * chance.standard_normal(length)
            soundfile.write(folder / name / f"{number}.wav", samples, rate)
    return folder


# Features


@pytest.mark.parametrize("features", spectra.FEATURES)
def test_what_is_subtracted_of_each_recording(features):
    samples = [np.sin(np.arange(n) / 3 + np.arange(n) ** 2 / 9e4).astype(np.float32) for n in (1600, 2000, 3000)]
    reading = READING._replace(features=features)
    raw = torch.stack([sound.features_of(each, reading)[0] for each in samples])
    assert raw.shape == (3, *reading.shape)
    assert ends(raw) == [21, 26, 30]  # one every 10 ms; what is longer is cut
    for center in ("bands", "level"):
        fitted = sound.fit(raw, (), center=center)
        settings = reading.settings(torch.tensor([21, 26, 38]))
        spec = zoo.DataSpec(kind="sound", num_classes=2, **(fitted | {"settings": settings | fitted["settings"]}))
        assert spec.settings["seconds"] == 0.25
        stored = sound.store(raw, (), spec)
        assert torch.equal(stored.isnan(), raw.isnan())
        rows = stored.nanmean(3)
        if center == "bands":
            torch.testing.assert_close(rows, torch.zeros_like(rows), rtol=0, atol=1e-4)
        elif features == "log_mel":
            torch.testing.assert_close(rows.mean(2), torch.zeros(3, 1), rtol=0, atol=1)
            assert rows.abs().amax() > 1  # the colour of the sound stays
            difference = (raw - stored)[0][~raw[0].isnan()]
            torch.testing.assert_close(difference, difference[:1].expand_as(difference))
        else:
            assert rows[:, 0, 0].abs().max() < 1e-3
            assert rows[:, 0, 1].abs().min() > 1e-3
        # what a model sees is standardised by what is seen of the training recordings, a band or all of them
        standardised = (stored - torch.tensor(spec.mean).view(spec.statistics_shape)) / torch.tensor(spec.std).view(
            spec.statistics_shape
        )
        seen = standardised[~standardised.isnan()]
        assert abs(float(seen.mean())) < 1e-3
        assert float(seen.std()) == pytest.approx(1, abs=0.03)
        # the levels bring back what was subtracted, on average
        levels = torch.tensor(spec.settings["levels"])
        assert levels.shape == (spec.shape[1],)
        expected = (raw - stored)[:, 0].nanmean(2).mean(0)
        torch.testing.assert_close(levels.float(), expected, rtol=1e-4, atol=1e-3)
        again = zoo.DataSpec.from_dict(spec.to_dict())
        assert again == spec
        assert again.settings["levels"] == spec.settings["levels"]


def test_stretched_recordings_have_no_end():
    samples = np.sin(np.arange(1600) / 3).astype(np.float32)
    raw, windows = sound.features_of(samples, READING._replace(align="stretch"))
    assert (raw.shape, windows) == ((1, 20, 30), 21)
    assert not raw.isnan().any()
    padded, _ = sound.features_of(samples, READING)
    torch.testing.assert_close(raw, spectra.stretched(padded[..., :21], 30))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"features": "mfc"}, r"data.features=mfc is no choice: did you mean 'mfcc'"),
        ({"align": "strech"}, r"data.align=strech is no choice: did you mean 'stretch'"),
        ({"rate": 500}, r"data.rate is from 1,000 to 96,000, not 500"),
        ({"bands": 5}, r"data.bands is from 13 to 256, not 5"),
        ({"steps": 1}, r"data.steps is from 2 to 32,768, not 1"),
        ({"rate": 1000, "bands": 200}, r"data.bands=200: at 1,000 samples a second narrower than 25 ms can tell apart"),
    ],
)
def test_ways_of_reading_that_cannot_be(words, said):
    with pytest.raises(zoo.ConfigError, match=said):
        READING._replace(**words).check()


def test_pictures_are_light_where_it_is_loud_and_low_at_the_bottom():
    x = torch.zeros(1, 1, 16, 16)
    x[0, 0, 0] = 100.0  # the lowest band
    x[..., 12:] = math.nan
    shown = sound.show(x, SPEC)
    assert shown.shape == (1, 1, 16, 16)
    assert (shown[0, 0, 15, :12] == 1).all()
    assert (shown[0, 0, :15, :12] == 0.5).all()
    assert (shown[..., 12:] == 0).all()


def test_samples_handed_over_without_their_rate_are_refused():
    model = zoo.create("logistic_regression", SPEC)
    with pytest.raises(zoo.DataError, match="4,000 numbers may be samples of whatever rate: hand over the recording's"):
        zoo.classify(model, np.zeros(4000, np.float32))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "does not say how its recordings were read"),
        ({"rate": "8000"}, "does not say how its recordings were read"),
        ({"levels": (0.0,) * 15}, "does not say how its recordings were read"),
        ({"levels": (math.nan,) * 16}, "does not say how its recordings were read"),
        ({"seconds": 1e9}, "does not say how its recordings were read"),
        ({"rate": 10**9}, "data.rate is from"),
        ({"bands": 10**9}, "data.bands is from"),
        ({"bands": 17}, r"the model's recordings are \(1, 17, 16\), and it was made for \(1, 16, 16\)"),
        ({"features": "mel"}, "features=mel is no choice"),
    ],
)
def test_what_a_file_says_of_its_recordings_is_checked(settings, said, tmp_path):
    """A checkpoint may say anything."""
    path = tmp_path / "tone.wav"
    soundfile.write(path, np.sin(np.arange(2000)), 8000)
    spec = replace(SPEC, settings={**SPEC.settings, **settings} if settings else {})
    model = zoo.create("naive_bayes", spec)
    with pytest.raises(zoo.ZooError, match=said):
        zoo.classify(model, path)
    with pytest.raises(zoo.ZooError, match=said):
        sound.heard(TRIAL, spec)


# The end, behind which nothing is


def parameters(model):
    return {name: tensor for name, tensor in model.state_dict().items() if name[0] != "_"}


@pytest.mark.parametrize("covariance", ["diag", "full"])
@pytest.mark.parametrize("topology", ["left_to_right", "ergodic"])
def test_a_chain_takes_recordings_as_if_there_were_no_padding(covariance, topology):
    """The same log p(x), the same statistics of EM, and the same parameters after it."""
    options = {"num_states": 3, "covariance": covariance, "topology": topology}
    torch.manual_seed(0)
    padded = zoo.create("hmm", SPEC, **options).double()
    assert (padded.reading.reads, padded.reading.count, padded.reading.values) == ("columns", 16, 16)
    x, labels = TRIAL.double(), torch.arange(len(TRIAL)) % 3
    padded.initialize([(x, labels)], generator())
    for _ in range(3):
        found = padded.statistics(x, labels)
        expected = None
        log_p = zoo.log_prob(padded, x, labels)
        for length in sorted(set(ends(x))):
            alone = zoo.create("hmm", whole(SPEC, length), **options).double()
            alone.load_state_dict(padded.state_dict())
            which = torch.tensor(ends(x)) == length
            part = x[which][..., :length]
            torch.testing.assert_close(zoo.log_prob(alone, part, labels[which]), log_p[which], rtol=1e-10, atol=1e-8)
            torch.testing.assert_close(zoo.classify(alone, part), zoo.classify(padded, x[which]), rtol=1e-10, atol=1e-8)
            one = alone.statistics(part, labels[which])
            expected = one if expected is None else {name: expected[name] + one[name] for name in one}
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-7)
        again = zoo.create("hmm", whole(SPEC, 16), **options).double()
        again.load_state_dict(padded.state_dict())
        padded.maximize(found)
        again.maximize(expected)
        for name, value in parameters(again).items():
            torch.testing.assert_close(parameters(padded)[name], value, rtol=1e-8, atol=1e-8)


def test_a_chain_starts_where_it_would_without_padding():
    x, labels = TRIAL.double()[..., :8], torch.arange(len(TRIAL)) % 3  # as long as each is at least
    longer = torch.cat([x, torch.full_like(x, math.nan)], 3)
    models = [zoo.create("hmm", spec, num_states=3).double() for spec in (whole(SPEC, 8), SPEC)]
    for model, part in zip(models, (x, longer), strict=True):
        model.initialize([(part, labels)], generator())
        for _ in range(4):
            model.maximize(model.statistics(part, labels))
    for name, value in parameters(models[0]).items():
        torch.testing.assert_close(parameters(models[1])[name], value, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_recurrent_network_reads_to_the_last_step(bidirectional):
    torch.manual_seed(0)
    model = zoo.create("rnn", SPEC, hidden_size=8, num_layers=2, dropout=0.0, bidirectional=bidirectional).eval()
    assert model.reading.reads == "columns"
    answers = zoo.classify(model, TRIAL)
    with torch.no_grad():
        assert torch.equal(model.classify(TRIAL), answers)  # in training, and when it is asked
    for length in sorted(set(ends(TRIAL))):
        which = torch.tensor(ends(TRIAL)) == length
        shorter = zoo.create(
            "rnn", whole(SPEC, length), hidden_size=8, num_layers=2, dropout=0.0, bidirectional=bidirectional
        ).eval()
        assert not shorter.ends
        state = {name.replace("cell.layers.0.", "cell.layers.0."): value for name, value in model.state_dict().items()}
        reader = zoo.create("rnn", SPEC, hidden_size=8, num_layers=2, dropout=0.0, bidirectional=bidirectional).eval()
        reader.load_state_dict(state)
        changed = TRIAL[which].clone()
        assert torch.equal(zoo.classify(reader, changed), answers[which])
        steps = model.reading.of(model.normalize(changed[..., :length]))
        with torch.no_grad():
            alone = model.head(model.cell(steps, torch.full((len(changed),), length)))
        torch.testing.assert_close(alone.log_softmax(1), answers[which], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["cnn", "mlp", "logistic_regression", "svm", "rnn"])
def test_classifiers_answer_as_they_were_trained(name):
    """What is behind the end is filled in as in training, whoever asks."""
    torch.manual_seed(0)
    model = zoo.create(name, SPEC).eval()
    with torch.no_grad():
        torch.testing.assert_close(zoo.classify(model, TRIAL), model.classify(TRIAL), rtol=0, atol=1e-6)
    hidden = torch.zeros(16, dtype=torch.bool)
    hidden[2:5] = True
    seen = (~hidden).expand_as(TRIAL)
    filled = torch.where(seen | TRIAL.isnan(), TRIAL, torch.tensor(SPEC.mean[0]))
    with torch.no_grad():
        torch.testing.assert_close(zoo.classify(model, TRIAL, seen), model.classify(filled), rtol=0, atol=1e-6)


@torch.no_grad()
def test_a_recording_goes_on_behind_its_end():
    torch.manual_seed(0)
    model = zoo.create("hmm", SPEC, num_states=2, covariance="diag").eval()
    drawn = zoo.forecast(model, TRIAL, 4, generator())
    for x, after, end in zip(TRIAL, drawn, ends(TRIAL), strict=True):
        start = min(end, 12)  # where there is no room, its last columns are drawn
        assert torch.equal(after[..., :start], x[..., :start])
        assert not after[..., : start + 4].isnan().any()
        assert after[..., start + 4 :].isnan().all()
        if end > 12:
            assert (after[..., 12:end] != x[..., 12:end]).all()
    changed = TRIAL.clone()
    changed[..., 12:] = torch.where(changed[..., 12:].isnan(), math.nan, 7.0)  # the end is never looked at
    torch.testing.assert_close(zoo.forecast(model, changed, 4, generator())[..., 12:], drawn[..., 12:], equal_nan=True)


@torch.no_grad()
def test_codes_and_reconstructions_of_recordings():
    torch.manual_seed(0)
    model = zoo.create("hmm", SPEC, num_states=2)
    model.initialize([(TRIAL, torch.arange(len(TRIAL)) % 3)], generator())
    codes = zoo.encode(model, TRIAL).unflatten(1, (16, 3, 2))
    torch.testing.assert_close(codes.sum((2, 3)), torch.ones(len(TRIAL), 16))
    shown = zoo.reconstruct(model, TRIAL)
    assert shown.isfinite().all()
    seen = ~TRIAL.isnan()
    assert (shown - TRIAL)[seen].square().mean() < TRIAL[seen].square().mean()
    assert model.viterbi(TRIAL).ge(0).sum(1).tolist() == ends(TRIAL)


def test_halves_are_those_of_the_recording():
    observed = mask_of(SPEC, "left", TRIAL)
    for mask, end in zip(observed, ends(TRIAL), strict=True):
        assert (~mask).any(1)[0].tolist() == [column < end // 2 for column in range(16)]
    observed = mask_of(SPEC, "right", TRIAL)
    for mask, end in zip(observed, ends(TRIAL), strict=True):
        hidden = (~mask[0]).any(0)
        assert hidden[:end].tolist() == [column >= end - end // 2 for column in range(end)]
    top = mask_of(SPEC, "top", TRIAL)[0, 0]
    assert (~top).any(1).tolist() == [
        row >= 8 for row in range(16)
    ]  # high frequencies, which are at the top of pictures


# Augmentation


def test_nothing_is_changed_without_being_asked():
    x = TRIAL[:4]
    still = Augment(shift=1, pace=0.0)
    assert not Augment()
    moved = still(x, generator())
    assert ends(moved) != ends(x) or not torch.equal(moved.nan_to_num(0), x.nan_to_num(0))
    assert torch.equal(still(x, generator()).nan_to_num(9), moved.nan_to_num(9))


def test_recordings_are_shifted_by_whole_columns():
    x = TRIAL
    moved = Augment(shift=3)(x, generator(1))
    shifts = set()
    for before, after, end in zip(x, moved, ends(x), strict=True):
        matches = []
        for shift in range(-3, 4):
            places = torch.arange(16) - shift
            expected = before[..., places.clamp(0, end - 1)].masked_fill(places > end - 1, math.nan)
            matches += [shift] * torch.equal(expected.nan_to_num(9), after.nan_to_num(9))
        assert matches
        shifts.add(matches[0])
    assert shifts == set(range(-3, 4))


def test_pace_changes_the_length():
    x = TRIAL[..., :12].clone()
    x[..., 8:] = math.nan
    x = torch.cat([x, torch.full_like(x, math.nan)], 3)
    lengths = ends(Augment(pace=0.5)(x, generator()))
    assert min(lengths) < 7 < 10 < max(lengths)
    assert all(round(7 * math.exp(-0.5)) <= length <= round(8 * math.exp(0.5)) + 1 for length in lengths)


def test_a_throat_moves_all_frequencies():
    ramp = torch.arange(16.0)[:, None].expand(1, 1, 16, 16)
    warped = Augment(warp=0.2)(ramp.expand(50, -1, -1, -1), generator())
    factors = warped[:, 0, 5, 0] / 5
    assert factors.min() == pytest.approx(math.exp(-0.2), abs=0.03)
    assert factors.max() == pytest.approx(math.exp(0.2), abs=0.03)
    expected = (torch.arange(16) * factors[:, None]).clamp_max(15)
    torch.testing.assert_close(warped[:, 0, :, 0], expected, rtol=1e-4, atol=1e-4)


def test_masks_hide_a_fifth_at_most():
    x = torch.ones(200, 1, 20, 20)
    masked = Augment(masks=1)(x, generator())
    columns, rows = (masked == 0).all(2).flatten(1).sum(1), (masked == 0).all(3).flatten(1).sum(1)
    assert (columns.max(), rows.max()) == (4, 4)
    assert columns.min() == rows.min() == 0
    assert set(masked.unique().tolist()) == {0.0, 1.0}
    cepstra = Augment(masks=2)(torch.ones(50, 3, 13, 20), generator())
    assert (cepstra == 0).any()
    assert ((cepstra == 0).all(1).all(1) == (cepstra == 0).any(1).any(1)).all()  # time alone: rows are no frequencies


def test_what_is_changed_stays_in_its_place():
    everything = Augment(shift=2, pace=0.2, warp=0.1, masks=1)
    batches = Batches(Split(TRIAL, torch.arange(24) % 3, "sound"), 8, shuffle=True, augment=everything, seed=3)
    first, again = (torch.cat([x for x, _ in batches]) for _ in range(2))
    assert torch.equal(first.nan_to_num(9), again.nan_to_num(9))
    for x in first:  # what is behind the end of a recording is nothing, and all before it is there
        missing = x.isnan().flatten(0, 1)
        assert torch.equal(missing.any(0), missing.all(0))
        assert missing.any(0).long().diff().ge(0).all()


@pytest.mark.parametrize(
    ("words", "kind", "channels", "said"),
    [
        ({"flip": True}, "sound", 1, "data.augment.flip is not for recordings, which have shift, pace, warp, masks"),
        (
            {"pace": 0.1},
            "image",
            1,
            "data.augment.pace is not for images, which have shift, rotate, scale, flip, erase, hide",
        ),
        ({"warp": 0.1}, "sound", 3, "data.augment.warp is for spectra, data.features=log_mel"),
        ({"masks": 1}, "table", 1, "data.augment changes pictures and recordings"),
    ],
)
def test_changes_that_are_not_for_such_data(words, kind, channels, said):
    with pytest.raises(zoo.ConfigError, match=said):
        Augment(**words).check(kind, channels)
    for name in (*augment.OF_KIND["sound"], *augment.OF_KIND["image"]):
        assert name in Augment.__dataclass_fields__
    for impossible in ({"pace": 1.0}, {"warp": -0.1}, {"masks": -1}):
        with pytest.raises(zoo.ConfigError, match=f"data.augment.{next(iter(impossible))}"):
            Augment(**impossible)


# Spoken digits


def archive(members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return content.getvalue()


@pytest.fixture(scope="module")
def digits():
    """Features, digits, speakers and numbers of the recordings as published."""
    path = default_root() / spoken_digits.FOLDER / spoken_digits.ARCHIVE
    return published.read_once(spoken_digits._read, [path], sound.Reading())


def test_the_official_split(digits):
    features, labels, speakers, numbers, windows = digits
    assert features.shape == (3000, 1, 40, 64)
    assert torch.stack([labels, speakers], 1).unique(dim=0, return_counts=True)[1].tolist() == [50] * 60
    splits = load_splits("spoken_digits")
    assert (len(splits.train), len(splits.test), splits.spec.shape) == (2700, 300, (1, 40, 64))
    assert splits.spec.class_names == tuple("0123456789")
    expected = torch.stack([labels, speakers, numbers], 1)[numbers < 5]
    assert expected.unique(dim=0).shape == (300, 3)
    stored = sound.store(features[numbers < 5], (), splits.spec)
    assert torch.equal(splits.test.images.nan_to_num(9), stored.nan_to_num(9))
    assert torch.equal(splits.test.labels, labels[numbers < 5])
    assert splits.spec.settings["seconds"] == pytest.approx((float(windows[numbers >= 5].median()) - 1) / 100)


@pytest.mark.parametrize("speaker", spoken_digits.SPEAKERS)
def test_a_speaker_is_on_one_side_alone(speaker, digits):
    features, _, speakers, _, _ = digits
    whose = {features[number].numpy().tobytes(): int(who) for number, who in enumerate(speakers)}
    loaded = spoken_digits.load(default_root(), "speaker", speaker, *sound.Reading())
    assert len(loaded.test) == 500
    assert {whose[each.numpy().tobytes()] for each in loaded.test.images} == {spoken_digits.SPEAKERS.index(speaker)}
    trained = torch.tensor([whose[each.numpy().tobytes()] for each in loaded.train.images])
    assert torch.equal(trained, loaded.groups)
    assert spoken_digits.SPEAKERS.index(speaker) not in trained
    splits = load_splits("spoken_digits", val_size=500, split="speaker", speaker=speaker)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (2000, 500, 500)
    _, held = loaded.groups.unique(return_counts=True)
    assert held.tolist() == [500] * 5
    centred = sound.store(loaded.train.images, (), splits.spec)
    who = {each.numpy().tobytes(): int(group) for each, group in zip(centred, loaded.groups, strict=True)}
    sides = [{who[each.numpy().tobytes()] for each in part.images} for part in (splits.train, splits.val)]
    assert (len(sides[0]), len(sides[1]), len(sides[0] & sides[1])) == (4, 1, 0)


def test_an_archive_of_other_recordings_is_refused(tmp_path):
    whole_archive = default_root() / spoken_digits.FOLDER / spoken_digits.ARCHIVE
    folder = tmp_path / spoken_digits.FOLDER
    folder.mkdir()
    with zipfile.ZipFile(whole_archive) as theirs:
        members = {name: theirs.read(name) for name in theirs.namelist()}
    # as the address packs it: in a folder, in another order, with other files beside
    packed = {f"free-spoken-digit-dataset-1.0.10/{name}": members[name] for name in reversed(members)}
    (folder / spoken_digits.ARCHIVE).write_bytes(archive(packed))
    assert len(load_splits("spoken_digits", tmp_path).train) == 2700
    changed = bytearray(members["recordings/7_theo_3.wav"])
    changed[-1] ^= 1
    (folder / spoken_digits.ARCHIVE).write_bytes(archive(members | {"recordings/7_theo_3.wav": bytes(changed)}))
    with pytest.raises(zoo.DataError, match="does not hold the recordings of Free Spoken Digit Dataset as published"):
        load_splits("spoken_digits", tmp_path)
    (folder / spoken_digits.ARCHIVE).write_bytes(whole_archive.read_bytes()[:100_000])
    with pytest.raises(zoo.DataError, match=r"damaged: .*\nDelete the damaged file"):
        load_splits("spoken_digits", tmp_path)


def test_a_download_is_checked(tmp_path, monkeypatch):
    whole_archive = default_root() / spoken_digits.FOLDER / spoken_digits.ARCHIVE
    monkeypatch.setattr(spoken_digits, "URL", whole_archive.as_uri())
    assert len(load_splits("spoken_digits", tmp_path).test) == 300
    assert (tmp_path / spoken_digits.FOLDER / spoken_digits.ARCHIVE).read_bytes() == whole_archive.read_bytes()
    other = tmp_path / "other.zip"
    other.write_bytes(archive({"recordings/0_theo_0.wav": b"RIFF"}))
    monkeypatch.setattr(spoken_digits, "URL", other.as_uri())
    with pytest.raises(zoo.DataError, match=r"other\.zip has other content than was published\n"):
        load_splits("spoken_digits", tmp_path / "elsewhere")
    for words in ({"split": "speakers"}, {"split": "speaker", "speaker": "teo"}):
        with pytest.raises(zoo.ConfigError, match="is no choice: did you mean"):
            load_splits("spoken_digits", **words)


# Folders of one's own


def test_a_folder_is_read_once(tmp_path, monkeypatch):
    folder = written(tmp_path / "tones", {"high": 12, "low": 12})
    options = {"path": folder, "rate": 8000, "bands": 20, "steps": 36}
    first = load_splits("audio_folder", tmp_path, **options)
    assert first.spec.class_names == ("high", "low")
    assert first.spec.shape == (1, 20, 36)
    assert len(first.train) + len(first.test) == 24
    assert 0 < len(first.test) < 12
    assert "recordings are cut: they last longer than data.steps=36, 0.36 s" in " ".join(first.notes)
    monkeypatch.setattr(sounds, "read", lambda *args: pytest.fail("it was read again"))
    again = load_splits("audio_folder", tmp_path, **options)
    assert again.fingerprint == first.fingerprint
    assert torch.equal(again.train.images.nan_to_num(9), first.train.images.nan_to_num(9))
    monkeypatch.undo()
    longer = load_splits("audio_folder", tmp_path, **(options | {"steps": 60}))
    assert longer.fingerprint != first.fingerprint
    assert not [note for note in longer.notes if "cut" in note]
    assert longer.spec.missing
    stretched = load_splits("audio_folder", tmp_path, **(options | {"align": "stretch"}))
    assert not stretched.spec.missing
    assert not [note for note in stretched.notes if "cut" in note]
    assert 0.25 < stretched.spec.settings["seconds"] == longer.spec.settings["seconds"] < 0.45


def test_what_is_fitted_is_fitted_to_training_recordings_alone(tmp_path):
    specs = []
    for name, hertz in (("first", 440), ("second", 3000)):
        folder = written(tmp_path / name, {"train/high": 6, "train/low": 6, "test/high": 2, "test/low": 2})
        for path in folder.glob("test/*/*.wav"):
            soundfile.write(path, 0.9 * np.sin(np.arange(9000) * hertz / 1273), 8000)
        specs.append(load_splits("audio_folder", tmp_path, path=folder, rate=8000, steps=40).spec)
    assert specs[0] == specs[1]
    folder = written(tmp_path / "third", {"train/high": 6, "train/low": 6, "test/high": 2, "test/low": 2}, seconds=0.2)
    assert load_splits("audio_folder", tmp_path, path=folder, rate=8000, steps=40).spec != specs[0]


def test_a_file_that_is_none_is_named(tmp_path):
    folder = written(tmp_path / "tones", {"high": 3, "low": 3})
    (folder / "low" / "2.wav").write_text("no sound")
    with pytest.raises(
        zoo.DataError, match=r"low/2\.wav cannot be read as a recording: it is damaged, or of a form that"
    ):
        load_splits("audio_folder", tmp_path, path=folder)
    soundfile.write(folder / "low" / "2.wav", np.zeros(4000), 8000)
    with pytest.raises(zoo.DataError, match=r"low/2\.wav cannot be read as a recording: it is silent"):
        load_splits("audio_folder", tmp_path, path=folder)
    for path in folder.rglob("*.wav"):
        path.unlink()
    with pytest.raises(zoo.DataError, match="no recording"):
        load_splits("audio_folder", tmp_path, path=folder)
    with pytest.raises(zoo.ConfigError, match="data=audio_folder needs a folder"):
        load_splits("audio_folder", tmp_path)


# The commands


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A hidden Markov model of tones, with all that TensorBoard is shown."""
    folder = tmp_path_factory.mktemp("tones")
    written(folder / "tones", {"high": 12, "low": 12})
    return run_train(
        folder / "runs", "model=hmm", "model.num_states=2", "data=audio_folder",
        f"data.path={folder / 'tones'}", f"data.root={folder}", "data.rate=8000", "data.bands=20", "data.steps=40",
        "data.center=level",
        "trainer.max_epochs=2", "trainer.accelerator=cpu",
    )  # fmt: skip


def heard(path):
    samples, rate = soundfile.read(path)
    assert rate == 8000
    assert 0.5 < np.abs(samples).max() <= 1
    return samples


def test_tensorboard_plays_samples_and_mistakes(trained):
    events = EventAccumulator(str(trained))
    events.Reload()
    tags = events.Tags()
    assert {"model/samples/high", "model/samples/low"} <= set(tags["audio"])
    assert {"model/samples", "model/states", "model/transitions"} <= set(tags["images"])
    said, rate = soundfile.read(io.BytesIO(events.Audio("model/samples/high")[0].encoded_audio_string))
    assert rate == 8000
    assert 0.3 < len(said) / rate <= 0.4  # 40 columns
    power = np.abs(np.fft.rfft(said)) ** 2
    hertz = np.fft.rfftfreq(len(said), 1 / rate)
    assert power[hertz > 1000].sum() > power[hertz < 1000].sum()  # it is high


def test_mistakes_are_heard(trained):
    model, splits = zoo.load(trained), load_splits("audio_folder", **source_of(trained))
    split = splits.test
    wrong = torch.full((len(split), 2), -5.0)
    wrong[torch.arange(len(split)), 1 - split.labels] = -0.01
    found = inspected.heard(model, split, wrong)
    names = [name for name in found if name.startswith("test/worst_mistakes/")]
    assert len(names) == min(len(split), 10)
    assert names[0].startswith("test/worst_mistakes/1, ")
    assert " taken for " in names[0]
    assert all(len(found[name]) > 1000 for name in names)


def source_of(run):
    _, source = registry.load_with_source(run)
    return {key: value for key, value in source.items() if key not in ("name", "fingerprint")} | {
        "root": run.parents[1]
    }


def test_a_recording_of_any_form_is_told(trained, tmp_path, capsys):
    t = np.arange(44_100 // 3) / 44_100
    for name, hertz in (("high.flac", 1700), ("low.wav", 330)):
        samples = 0.3 * np.sin(2 * np.pi * hertz * t)
        soundfile.write(tmp_path / name, np.stack([samples, samples], 1), 44_100)
    run_script("predict.py", f"ckpt={trained}", tmp_path, "json=-")
    told = json.loads(capsys.readouterr().out)
    assert [one["classes"][0]["name"] for one in told] == ["high", "low"]
    model = zoo.load(trained)
    answers = zoo.classify(model, [tmp_path / "high.flac", tmp_path / "low.wav"])
    assert answers.argmax(1).tolist() == [0, 1]
    features, _ = sound.read_file(tmp_path / "low.wav", sound.Reading.of(model.spec))
    x = sound.store(features[None], (), model.spec)
    torch.testing.assert_close(zoo.classify(model, x), answers[1:])
    (tmp_path / "none.wav").write_text("nothing")
    refused = command("scripts/predict.py", f"ckpt={trained}", str(tmp_path / "none.wav"))
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: {tmp_path / 'none.wav'} cannot be read as a recording: it is damaged")
    assert "Traceback" not in refused.stderr


def test_samples_are_seen_and_heard(trained, tmp_path, capsys):
    run_script("sample.py", f"ckpt={trained}", "n=3", "label=high", f"out={tmp_path}")
    files = [tmp_path / f"samples-high-seed0.{suffix}" for suffix in ("png", "npz", "wav")]
    assert capsys.readouterr().out.split() == [str(path) for path in files]
    with np.load(files[1]) as numbers:
        assert numbers["images"].shape == (3, 1, 20, 40)
    assert len(heard(files[2])) == 3 * (39 * 80 + 2400)
    again = files[2].read_bytes()
    run_script("sample.py", f"ckpt={trained}", "n=3", "label=high", f"out={tmp_path}")
    assert files[2].read_bytes() == again


def test_hidden_parts_are_filled_in_and_heard(trained, tmp_path, capsys):
    words = (f"ckpt={trained}", f"root={trained.parents[1]}", "mask=right", "n=3", f"out={tmp_path}")
    run_script("impute.py", *words, f"json={tmp_path / 'told.json'}")
    out = capsys.readouterr().out
    assert "7 recordings, 49% of the values hidden (right)" in " ".join(out.split())
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["rmse_mean"] < told["rmse_training_mean"]
    assert 0 < told["rmse_mean"] < told["rmse_draw"]
    assert math.isfinite(told["nll"])
    assert (tmp_path / "imputed-right-seed0.png").is_file()
    heard(tmp_path / "imputed-right-seed0.wav")


def test_other_recordings_are_read_as_the_training_ones_were(trained, tmp_path, capsys):
    other = written(tmp_path / "other", {"high": 4, "low": 4}, rate=22_050, seconds=0.25)
    run_script("evaluate.py", f"ckpt={trained}", "data=audio_folder", f"path={other}", f"root={tmp_path}")
    assert "accuracy 100.00%" in capsys.readouterr().out


def test_a_set_of_samples_is_a_folder_to_train_on(trained, tmp_path, capsys):
    out = tmp_path / "made"
    run_script("augment.py", f"ckpt={trained}", f"out={out}", "n=8")
    said = capsys.readouterr().out
    assert f"python train.py data=audio_folder data.path={out} data.features=log_mel data.rate=8000" in said
    assert len(list(out.glob("*/*.wav"))) == 8
    assert said.rstrip().endswith("data.bands=20 data.decibels=50 data.steps=40 data.align=pad data.center=level")
    splits = load_splits("audio_folder", tmp_path, path=out, rate=8000, bands=20, steps=40, center="level")
    model = zoo.load(trained)
    assert (zoo.classify(model, splits.train.x()).argmax(1) == splits.train.labels).all()


def test_spoken_digits_are_recognised(tmp_path):
    """Two passes of the recipe; the whole of it tells 99 of 100."""
    run = run_train(tmp_path, "model=hmm", "data=spoken_digits", "logger=none", "trainer.max_epochs=2", "trainer=cpu")
    assert json.loads((run / "summary.json").read_text())["test"]["accuracy"] >= 0.97
