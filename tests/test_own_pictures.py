"""What a user does with pictures of their own: filled in, reconstructed, encoded, interpolated."""

import csv
import re

import numpy as np
import pytest
import torch
from conftest import run_script, run_train
from PIL import Image

import zoo
from zoo.data.kinds.image import read_mask
from zoo.data.splits import load_splits
from zoo.inspect.grids import grid


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    words = ("model=vae", "model.latent_dim=4", "model.hidden_sizes=[16]", "data=digits", "experiment=debug")
    return run_train(tmp_path_factory.mktemp("runs"), *words, "logger=none")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Two digits in colour, and one whose upper half is transparent."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, image in enumerate(load_splits("digits").test.images[:2]):
        Image.fromarray(image[0].numpy()).convert("RGB").save(folder / f"{number}.png")
    clear = Image.open(folder / "0.png").convert("RGBA")
    alpha = np.full((28, 28), 255, np.uint8)
    alpha[:14] = 0
    clear.putalpha(Image.fromarray(alpha))
    clear.save(folder / "clear.png")
    mask = np.zeros((28, 28), np.uint8)
    mask[:, :14] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    return folder


def pixels(path) -> torch.Tensor:
    return torch.from_numpy(np.asarray(Image.open(path)).copy())


def test_what_a_file_marks_is_filled_in(run, pictures, tmp_path):
    """The rest stays what it was, to the last bit."""
    names = [str(pictures / "0.png"), str(pictures / "1.png")]
    run_script("impute.py", f"ckpt={run}", *names, f"mask={pictures / 'mask.png'}", f"out={tmp_path}", "invert=never")
    for number in range(2):
        before = pixels(pictures / f"{number}.png")[..., 0]
        after = pixels(tmp_path / f"{number}-filled.png")
        assert torch.equal(after[:, 14:], before[:, 14:])
        assert not torch.equal(after[:, :14], before[:, :14])


def test_what_is_transparent_is_filled_in_as_often_as_asked(run, pictures, tmp_path):
    words = (str(pictures / "clear.png"), "mask=transparent", f"out={tmp_path}", "invert=never", "n=3")
    run_script("impute.py", f"ckpt={run}", *words)
    found = [pixels(tmp_path / f"clear-filled-{number}.png") for number in (1, 2, 3)]
    before = pixels(pictures / "0.png")[..., 0]
    assert all(torch.equal(each[14:], before[14:]) for each in found)
    assert not torch.equal(found[0], found[1])
    run_script("impute.py", f"ckpt={run}", *words[:-2], "invert=never", "n=3", "seed=1")
    assert not torch.equal(pixels(tmp_path / "clear-filled-1.png"), found[0])


def test_a_mask_lies_where_the_picture_does(tmp_path):
    """Large and wide, both are brought to size alike: the band stays the band."""
    band = np.zeros((40, 80), np.uint8)
    band[:, 20:40] = 255
    Image.fromarray(band).save(tmp_path / "mask.png")
    Image.fromarray(np.full((40, 80), 200, np.uint8)).save(tmp_path / "picture.png")
    found = read_mask(tmp_path / "mask.png", zoo.DataSpec((1, 28, 28)), tmp_path / "picture.png")
    expected = torch.zeros(1, 28, 28, dtype=torch.bool)
    expected[:, 7:21, 7:14] = True
    assert torch.equal(found, expected)


def test_a_mask_turns_with_its_picture(tmp_path):
    """A camera that was held upright says so beside the pixels."""
    band = np.zeros((40, 20), np.uint8)
    band[:10] = 255
    Image.fromarray(band).save(tmp_path / "mask.png")
    picture, exif = Image.fromarray(np.full((20, 40), 200, np.uint8)), Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "photo.jpg", exif=exif)
    found = read_mask(tmp_path / "mask.png", zoo.DataSpec((1, 28, 28)), tmp_path / "photo.jpg")
    expected = torch.zeros(1, 28, 28, dtype=torch.bool)
    expected[:, :7, 7:21] = True
    assert torch.equal(found, expected)
    Image.fromarray(band.T.copy()).save(tmp_path / "lying.png")
    with pytest.raises(zoo.DataError, match="a mask has the size of its picture"):
        read_mask(tmp_path / "lying.png", zoo.DataSpec((1, 28, 28)), tmp_path / "photo.jpg")


def test_what_was_inverted_is_written_as_it_was(run, pictures, tmp_path):
    dark = 255 - pixels(pictures / "0.png")[..., 0]
    Image.fromarray(dark.numpy()).save(tmp_path / "ink.png")
    run_script(
        "impute.py",
        f"ckpt={run}",
        str(tmp_path / "ink.png"),
        f"mask={pictures / 'mask.png'}",
        f"out={tmp_path}",
        "invert=always",
    )
    assert torch.equal(pixels(tmp_path / "ink-filled.png")[:, 14:], dark[:, 14:])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("mask=nowhere.png",), "is no file, and no mask that is known"),
        (("mask=lefft",), "did you mean 'left'"),
        (("mask=transparent",), "pictures that are named"),
        (("0.png", "mask=transparent"), "no pixel is transparent"),
        (("0.png", "mask=black.png"), "no pixel is light"),
        (("0.png", "mask=large.png"), "a mask has the size of its picture"),
        (("0.png", "mask=mask.png", "json=a.json"), "and not measured"),
        (("0.png", "sub/0.png", "mask=mask.png"), "would both be written"),
        (("0.png", "mask=mask.png", "missing=0.3"), "is for mcar and block"),
        (("0.png", "mask=mask.png", "out=nowhere"), "a folder that exists"),
    ],
)
def test_what_cannot_be_filled_in(words, reason, run, pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("0.png", "mask.png"):
        (tmp_path / name).write_bytes((pictures / name).read_bytes())
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "0.png").write_bytes((pictures / "0.png").read_bytes())
    Image.new("L", (28, 28)).save("black.png")
    Image.new("L", (56, 28), 255).save("large.png")
    with pytest.raises(SystemExit) as end:
        run_script("impute.py", f"ckpt={run}", *words)
    assert end.value.code == 2
    assert reason in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.glob("*-filled*"))


# Codes, and what they are decoded to


def test_codes_are_those_of_encode(run, pictures, tmp_path):
    run_script("encode.py", f"ckpt={run}", "images=5", f"out={tmp_path / 'codes.npz'}")
    model, test = zoo.load(run), load_splits("digits").test.take(slice(5))
    found = np.load(tmp_path / "codes.npz", allow_pickle=False)
    expected = zoo.encode(model, test.x())
    torch.testing.assert_close(torch.from_numpy(found["codes"]), expected)
    assert found["labels"].tolist() == test.labels.tolist()
    run_script("encode.py", f"ckpt={run}", "images=5", f"out={tmp_path / 'codes.csv'}")
    rows = list(csv.DictReader((tmp_path / "codes.csv").open(newline="")))
    assert [row["class"] for row in rows] == [str(label) for label in test.labels.tolist()]
    torch.testing.assert_close(torch.tensor([[float(row[f"z{n}"]) for n in range(4)] for row in rows]), expected)
    run_script("encode.py", f"ckpt={run}", str(pictures / "1.png"), f"out={tmp_path / 'own.csv'}", "invert=never")
    (own,) = csv.DictReader((tmp_path / "own.csv").open(newline=""))
    assert own["name"].endswith("1.png")
    assert "class" not in own
    assert float(own["z0"]) == pytest.approx(float(expected[1, 0]), abs=1e-5)


def test_reconstructions_stand_below_their_pictures(run, tmp_path, capsys):
    run_script("reconstruct.py", f"ckpt={run}", "images=3", f"out={tmp_path}")
    model, x = zoo.load(run), load_splits("digits").test.take(slice(3)).x()
    back = zoo.reconstruct(model, x)
    expected = grid(torch.stack([x, back]), ["image", "reconstruction"])
    assert torch.equal(pixels(tmp_path / "reconstructed.png").reshape(expected.shape), expected)
    error = float((back - x).square().mean()) ** 0.5
    assert f"root mean squared error {error:.4f}" in capsys.readouterr().out


def test_a_path_runs_from_one_picture_to_the_other(run, pictures, tmp_path):
    names = [str(pictures / "0.png"), str(pictures / "1.png")]
    run_script("interpolate.py", f"ckpt={run}", *names, "steps=5", f"out={tmp_path / 'a.png'}", "invert=never")
    x = load_splits("digits").test.take(slice(2)).x()
    path = zoo.interpolate(zoo.load(run), 1, 5, (x[:1], x[1:]))
    path[:, 0], path[:, -1] = x[:1], x[1:]
    expected = grid(path)
    assert torch.equal(pixels(tmp_path / "a.png").reshape(expected.shape), expected)
    run_script("interpolate.py", f"ckpt={run}", "n=2", "steps=3", f"out={tmp_path}")
    first = pixels(tmp_path / "interpolated-seed0.png")
    run_script("interpolate.py", f"ckpt={run}", "n=2", "steps=3", f"out={tmp_path}")
    assert torch.equal(pixels(tmp_path / "interpolated-seed0.png"), first)


@pytest.mark.parametrize(
    ("script", "words", "reason"),
    [
        ("encode.py", ("out=codes.txt",), "ends with .npz or .csv"),
        ("encode.py", ("images=-1",), "images=-1"),
        ("encode.py", ("invert=never",), "pictures that are named"),
        ("reconstruct.py", ("a.png", "split=train"), "split=train is for examples of a source"),
        ("interpolate.py", ("a.png", "b.png", "n=3"), "n=3 is of ends that are drawn"),
        ("interpolate.py", ("a.png",), "a path has two ends, and 1 file is named"),
        ("reconstruct.py", ("nowhere.png",), "nowhere.png"),
    ],
)
def test_what_the_commands_refuse(script, words, reason, run, capsys):
    with pytest.raises(SystemExit) as end:
        run_script(script, f"ckpt={run}", *words)
    assert end.value.code == 2
    assert re.search(re.escape(reason), capsys.readouterr().err)


def test_a_run_is_called_by_its_folder(tmp_path):
    for split, count in (("train", 8), ("test", 4)):
        for name in ("cats", "dogs"):
            folder = tmp_path / "My pets" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(np.random.default_rng(number).integers(0, 256, (20, 20), np.uint8)).save(
                    folder / f"{number}.png"
                )
    words = ("model=logistic_regression", "data=image_folder", "data.image_size=8", "trainer.max_epochs=1")
    run = run_train(tmp_path / "runs", *words, f"data.path={tmp_path / 'My pets'}", "logger=none", "trainer=cpu")
    assert run.name.endswith("-logistic_regression-image_folder-My_pets")
