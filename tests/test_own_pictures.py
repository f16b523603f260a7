"""What a user does with pictures of their own: filled in, reconstructed, encoded, interpolated."""

import csv
import io
import json
import re

import numpy as np
import pytest
import torch
from conftest import run_script, run_train
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import zoo
from zoo import config
from zoo.data.kinds.image import prepare, read_gap
from zoo.data.splits import load_splits
from zoo.files import CONFIGS
from zoo.inspect.grids import grid


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    words = ("model=vae", "model.latent_dim=4", "model.hidden_sizes=[16]", "data=digits", "experiment=debug")
    return run_train(tmp_path_factory.mktemp("runs"), *words, "logger=none")


def test_a_model_of_p_x_learns_from_pictures_that_lie_in_no_folders(tmp_path):
    """Two will do, of which one trains and one tests: nothing is said of how far real ones are apart."""
    for number, image in enumerate(load_splits("digits").test.images[:2]):
        Image.fromarray(image[0].numpy()).save(tmp_path / f"{number}.png")
    words = ("model=vae", "model.hidden_sizes=[8]", "data=image_folder", f"data.path={tmp_path}", "experiment=debug")
    ended = run_train(tmp_path / "runs", *words, "data.min_batches=1", "logger=none")
    assert zoo.load(ended).spec.class_names == ("picture",)
    summary = json.loads((ended / "summary.json").read_text())
    assert "log_prob" in summary["test"]
    assert "accuracy" not in summary["test"]


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
        before = pixels(pictures / f"{number}.png")
        after = pixels(tmp_path / f"{number}-filled.png")
        assert torch.equal(after[:, 14:], before[:, 14:])
        assert not torch.equal(after[:, :14], before[:, :14])


def test_what_is_transparent_is_filled_in_as_often_as_asked(run, pictures, tmp_path):
    words = (str(pictures / "clear.png"), "mask=transparent", f"out={tmp_path}", "invert=never", "n=3")
    run_script("impute.py", f"ckpt={run}", *words)
    found = [pixels(tmp_path / f"clear-filled-{number}.png") for number in (1, 2, 3)]
    before = pixels(pictures / "0.png")
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
    found = read_gap(tmp_path / "picture.png", tmp_path / "mask.png", zoo.DataSpec((1, 28, 28))).hidden
    expected = np.zeros((1, 28, 28), bool)
    expected[:, 7:21, 7:14] = True
    assert np.array_equal(found, expected)


def test_a_mask_turns_with_its_picture(tmp_path):
    """A camera that was held upright says so beside the pixels."""
    band = np.zeros((40, 20), np.uint8)
    band[:10] = 255
    Image.fromarray(band).save(tmp_path / "mask.png")
    picture, exif = Image.fromarray(np.full((20, 40), 200, np.uint8)), Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "photo.jpg", exif=exif)
    found = read_gap(tmp_path / "photo.jpg", tmp_path / "mask.png", zoo.DataSpec((1, 28, 28)))
    expected = np.zeros((1, 28, 28), bool)
    expected[:, :7, 7:21] = True
    assert np.array_equal(found.hidden, expected)
    assert found.picture.shape == (40, 20, 1)
    Image.fromarray(band.T.copy()).save(tmp_path / "lying.png")
    with pytest.raises(zoo.DataError, match="a mask has the size of its picture"):
        read_gap(tmp_path / "photo.jpg", tmp_path / "lying.png", zoo.DataSpec((1, 28, 28)))


@pytest.fixture
def photo(tmp_path):
    """Writes a picture of noise of a width, a height and a mode, and a mask: a block of it, and a pixel in a corner."""

    def write(width: int, height: int, mode: str) -> tuple[torch.Tensor, torch.Tensor]:
        noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(noise).convert(mode).save(tmp_path / "photo.png")
        marked = np.zeros((height, width), np.uint8)
        marked[height // 4 : height // 2, width // 4 : width // 2] = marked[-1, -1] = 255
        Image.fromarray(marked).save(tmp_path / "marked.png")
        return pixels(tmp_path / "photo.png"), torch.from_numpy(marked > 0)

    return write


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(("width", "height"), [(48, 40), (640, 900), (9, 20), (28, 28)])
def test_a_picture_of_any_size_stays_what_it_is_around_what_is_marked(
    width, height, mode, run, photo, tmp_path, capsys, recwarn
):
    before, marked = photo(width, height, mode)
    words = (f"ckpt={run}", str(tmp_path / "photo.png"), f"mask={tmp_path / 'marked.png'}", f"out={tmp_path}")
    run_script("impute.py", *words)
    after = pixels(tmp_path / "photo-filled.png")
    assert after.shape == before.shape
    assert torch.equal(after[~marked], before[~marked])
    assert (after[marked] != before[marked]).float().mean() > 0.9
    assert mode == "L" or (after[marked] == after[marked][:, :1]).all()  # the model is a grey one
    assert f"{width}×{height} pixels, filled in from the 28×28 that the model sees" in capsys.readouterr().out
    assert not [warning for warning in recwarn if "writable" in str(warning.message)]


@pytest.mark.parametrize("invert", ["auto", "always", "never"])
@pytest.mark.parametrize("frame", ["picture", "ink"])
@pytest.mark.parametrize(("ground", "ink"), [(255, 0), (150, 60), (0, 255), (20, 200)])
@pytest.mark.parametrize("size", [(28, 28), (120, 90)])
def test_what_a_model_sees_is_turned_back(size, ground, ink, frame, invert, tmp_path):
    """The view itself, put into the gap, is the picture, scaled down and up; a model of ink sees it light on black."""
    width, height = size
    whole = np.full((height, width), ground, np.uint8)
    whole[height // 4 : -height // 4, width // 2 - width // 6 : width // 2 + width // 6] = ink
    Image.fromarray(whole).save(tmp_path / "a.png")
    mask = np.zeros_like(whole)
    mask[height // 2 :] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    spec = zoo.DataSpec((1, 28, 28), settings={"invert": "auto", "frame": frame})
    gap = read_gap(tmp_path / "a.png", tmp_path / "mask.png", spec, invert=invert)
    after = gap.filled(gap.view)
    assert after.shape == (height, width, 1)
    assert np.abs(after[..., 0].astype(int) - whole).mean() < 6
    if frame == "picture":
        assert np.array_equal(gap.view, prepare(Image.fromarray(whole), (28, 28), False, invert)[0])
    elif invert == "auto":
        assert gap.view[0, 0, 14] == 0
        assert gap.view[0, 12, 14] > 235


def test_a_model_of_colour_fills_in_colour(photo, tmp_path):
    before, marked = photo(50, 30, "RGB")
    gap = read_gap(tmp_path / "photo.png", tmp_path / "marked.png", zoo.DataSpec((3, 28, 28)))
    view = np.zeros((3, 28, 28), np.uint8)
    view[0] = 200
    after = torch.from_numpy(gap.filled(view))
    assert torch.equal(after[~marked], before[~marked])
    assert (after[marked] == torch.tensor([200, 0, 0])).all()
    before, marked = photo(50, 30, "L")
    gap = read_gap(tmp_path / "photo.png", tmp_path / "marked.png", zoo.DataSpec((3, 28, 28)))
    assert torch.equal(torch.from_numpy(gap.filled(view))[~marked], before[~marked][:, None].expand(-1, 3))


def test_what_nothing_is_seen_of_is_filled_in(tmp_path):
    """All of a drawing is marked: there is no ground to tell."""
    for name in ("white", "all"):
        Image.new("L", (40, 40), 255).save(tmp_path / f"{name}.png")
    spec = zoo.DataSpec((1, 28, 28), settings={"invert": "auto", "frame": "ink"})
    gap = read_gap(tmp_path / "white.png", tmp_path / "all.png", spec)
    assert gap.levels == (0, 255)


def test_the_expected_pixels_are_filled_in_where_they_are_asked_for(run, pictures, tmp_path):
    words = (f"ckpt={run}", str(pictures / "0.png"), f"mask={pictures / 'mask.png'}", f"out={tmp_path}", "invert=never")
    run_script("impute.py", *words, "mean=true")
    found = pixels(tmp_path / "0-filled.png")[:, :14, 0]
    run_script("impute.py", *words, "mean=true", "seed=1")
    assert torch.equal(pixels(tmp_path / "0-filled.png")[:, :14, 0], found)  # nothing of it is random
    model, x = zoo.load(run), load_splits("digits").test.take(slice(1)).x()
    observed = torch.ones_like(x, dtype=torch.bool)
    observed[..., :14] = False
    expected = zoo.impute(model, x, observed, mean=True)[0, 0, 0].mul(255).round()
    assert torch.equal(found, expected[:, :14].byte())
    run_script("impute.py", *words, "n=1")
    assert (tmp_path / "0-filled.png").is_file()


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
        (("0.png", "mask=mask.png", "mean=true", "n=2"), "mean=true fills a picture in once"),
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


def _pets(folder):
    for split, count in (("train", 8), ("test", 4)):
        for name in ("cats", "dogs"):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                noise = np.random.default_rng(number).integers(0, 256, (20, 20), np.uint8)
                Image.fromarray(noise).save(folder / split / name / f"{number}.png")


RECIPES = sorted(path for path in (CONFIGS / "recipe").glob("*-image_folder.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_makes_as_many_steps_as_it_says(recipe):
    """However few pictures there are; and where it says so, however many."""
    settings = config.settings([f"model={recipe.stem.partition('-')[0]}", "data=image_folder"], CONFIGS)
    said, more = re.search(r"^# ([\d,]+) steps (at least|in any folder)", recipe.read_text(), re.MULTILINE).groups()
    trainer, least = settings["trainer"], settings["data"]["min_batches"]
    assert trainer["max_epochs"] * least == int(said.replace(",", ""))
    assert trainer["limit_train_batches"] == (1.0 if more == "at least" else least)
    assert (trainer["max_steps"], settings["learner"].get("accumulate", 1)) == (-1, 1)


def test_few_pictures_are_trained_on_for_long(tmp_path, capsys):
    _pets(tmp_path / "pets")
    words = (
        "model=mlp",
        "model.hidden_sizes=[4]",
        "data=image_folder",
        f"data.path={tmp_path / 'pets'}",
        "trainer=cpu",
    )
    run = run_train(tmp_path / "runs", *words, "data.image_size=8", "logger=none")
    said = capsys.readouterr().out
    assert "\n2,000 steps, in which each image comes 2,000 times; data.augment: shift=2\n" in said
    assert json.loads((run / "summary.json").read_text())["steps"] == 2000
    rows = list(csv.DictReader((run / "metrics.csv").open(newline="")))
    assert [int(row["step"]) for row in rows] == [*range(100, 2001, 100)]  # and each epoch is validated
    assert all(row["val/nll"] for row in rows)


def test_what_is_shown_of_a_folder_is_of_all_its_classes(tmp_path):
    """Whose pictures lie class by class."""
    for number, name in enumerate("abc"):
        for split, count in (("train", 40), ("test", 20)):
            (tmp_path / "in" / split / name).mkdir(parents=True)
            for each in range(count):
                picture = Image.new("L", (8, 8), 100 * number)
                picture.putpixel((0, 0), each)
                picture.save(tmp_path / "in" / split / name / f"{each}.png")
    words = ("model=mlp", "model.hidden_sizes=[4]", "data=image_folder", f"data.path={tmp_path / 'in'}", "trainer=cpu")
    few = ("data.image_size=8", "data.invert=never", "data.augment.shift=0", "trainer.max_epochs=1")
    run = run_train(tmp_path / "runs", *words, *few, "data.min_batches=0", "logger.embeddings=6", "logger.mistakes=0")
    (names,) = run.rglob("metadata.tsv")
    assert names.read_text().split() == ["a", "a", "b", "b", "c", "c"]
    board = EventAccumulator(str(run), size_guidance={"images": 0}).Reload()
    shown = Image.open(io.BytesIO(board.Images("training/examples")[0].encoded_image_string))
    assert {100, 200} <= {level for _, level in shown.convert("L").getcolors()}


def test_a_run_is_called_by_its_folder(tmp_path):
    _pets(tmp_path / "My pets")
    words = ("model=logistic_regression", "data=image_folder", "data.image_size=8", "trainer.max_epochs=1")
    run = run_train(tmp_path / "runs", *words, f"data.path={tmp_path / 'My pets'}", "logger=none", "trainer=cpu")
    assert run.name.endswith("-logistic_regression-image_folder-My_pets")
