"""Training, predicting and showing from Python, as a notebook does."""

import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT, command, run_train
from PIL import Image

import zoo
from zoo.data.splits import load_splits
from zoo.errors import Stopped
from zoo.inspect.grids import SIDE

WORDS = ("model=logistic_regression", "data=digits", "trainer.max_epochs=2", "trainer=cpu", "logger=none")


# Training


def test_a_training_from_python_is_the_command_lines(tmp_path, capsys):
    """The same weights; the run says how to repeat it; what it says comes in the same order."""
    before = [*sys.argv]
    model, run = zoo.train(*WORDS, f"runs={tmp_path / 'called'}")
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "logistic_regression on digits: 2 epochs"
    assert said[1].startswith("1,238 training images")
    typed = run_train(tmp_path / "typed", *WORDS)
    assert capsys.readouterr().out.splitlines()[:2] == said[:2]
    for value, same in zip(model.state_dict().values(), zoo.load(typed).state_dict().values(), strict=True):
        assert torch.equal(value, same)
    assert not model.training
    assert json.loads((run / "summary.json").read_text())["command"].startswith("zoo train model=logistic_regression")
    assert sys.argv == before


def test_a_training_from_python_goes_on(tmp_path):
    _, run = zoo.train(*WORDS, f"runs={tmp_path}")
    model, again = zoo.train(f"resume={run}", "trainer.max_epochs=3")
    assert again == run
    straight = zoo.load(run_train(tmp_path / "straight", *WORDS[:2], "trainer.max_epochs=3", *WORDS[3:]) / "last.ckpt")
    assert zoo.load(run / "last.ckpt").state_dict().keys() == straight.state_dict().keys()
    assert json.loads((run / "summary.json").read_text())["epochs"] == 3
    assert model.name == "logistic_regression"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("model=cnm",), "did you mean 'cnn'"),
        (("model=cnn", "model.chanels=[4]"), "did you mean 'model.channels'"),
        (("model=cnn,mlp",), "several values"),
        (("-m", "model=cnn"), "-m is for the command line"),
        ((["model=cnn"],), "words are strings"),
        ((*WORDS, "trainer.fast_dev_run=true"), "keeps no model"),
        ((*WORDS, "trainer.devices=2"), "several processes"),
        (("resume=nowhere",), "no run directory"),
    ],
)
def test_a_mistake_is_an_error_in_python(words, reason, tmp_path):
    with pytest.raises(zoo.ConfigError, match=re.escape(reason)):
        zoo.train(*words, *([] if "resume=nowhere" in words else [f"runs={tmp_path / 'runs'}"]))
    assert not (tmp_path / "runs").exists()


def test_the_first_word_comes_before_torch():
    code = "import sys; from zoo.run import call; call.announce = lambda *_: sys.exit('torch' in sys.modules)"
    code += "; call.train('model=mlp', 'data=digits')"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=100).returncode == 0


def test_an_interrupt_is_one_in_python(monkeypatch, tmp_path):
    def stopped(*_, **__):
        raise Stopped(2, "to go on: …")

    monkeypatch.setattr("zoo.run.train.train", stopped)
    with pytest.raises(KeyboardInterrupt, match="interrupted; to go on"):
        zoo.train(*WORDS, f"runs={tmp_path}")


# Predicting


@pytest.fixture(scope="module")
def digits():
    return load_splits("digits").test.take(slice(30))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> zoo.Model:
    return zoo.load(run_train(tmp_path_factory.mktemp("runs"), *WORDS))


def test_arrays_and_files_get_the_same_answer(model, digits, tmp_path):
    answers = zoo.predict(model, digits.x())
    torch.testing.assert_close(answers.probabilities, zoo.classify(model, digits.x()).exp())
    assert answers.classes == [str(label) for label in zoo.classify(model, digits.x()).argmax(1).tolist()]
    assert len(answers) == 30
    for array in (
        digits.images.numpy(),
        digits.images[:, 0].numpy(),
        [Image.fromarray(x[0].numpy()) for x in digits.images],
    ):
        torch.testing.assert_close(zoo.predict(model, array).probabilities, answers.probabilities)
    for number, image in enumerate(digits.images):
        Image.fromarray(image[0].numpy()).save(tmp_path / f"{number:02}.png")
    from_folder = zoo.predict(model, tmp_path, invert="never")
    torch.testing.assert_close(from_folder.probabilities, answers.probabilities)
    assert from_folder.names[3].endswith("03.png")
    assert zoo.predict(model, str(tmp_path / "05.png"), invert="never").classes == answers.classes[5:6]


def test_answers_are_a_table(model, digits):
    answers = zoo.predict(model, digits.x())
    lines = repr(answers).splitlines()
    assert lines[0].split() == ["example", "class", "then"]
    assert lines[1].split()[:2] == ["0", answers.classes[0]]
    assert lines[-1] == "… of 30"
    assert len(lines) == 22
    page = answers._repr_html_()
    assert page.count("<tr>") == 21
    assert "… of 30" in page


def test_names_that_are_markup_stay_text(tmp_path):
    spec = zoo.DataSpec((1, 4, 4), 2, ("<b>a</b>", "\x1b[31mred"))
    answers = zoo.predict(zoo.create("logistic_regression", spec).eval(), torch.rand(3, 1, 4, 4))
    assert "<b>" not in answers._repr_html_()
    assert "\x1b" not in repr(answers)


def test_what_predict_refuses(model, digits, tmp_path):
    with pytest.raises(zoo.DataError, match="invert are settings of how files are read"):
        zoo.predict(model, digits.x(), invert="never")
    with pytest.raises(zoo.DataError, match="nowhere"):
        zoo.predict(model, tmp_path / "nowhere.png")
    with pytest.raises(zoo.ZooError, match="vae cannot"):
        zoo.predict(zoo.create("vae"), torch.rand(1, 1, 28, 28))


# Showing


def test_images_are_a_picture(digits):
    x = digits.x()[:6]
    picture = zoo.show(x, columns=3)
    scale = -(-SIDE // 28)
    cells = np.asarray(picture)
    top = next(row for row in range(len(cells)) if (cells[row] != 255).any())
    left = next(column for column in range(cells.shape[1]) if (cells[:, column] != 255).any())
    for number in range(6):
        row, column = divmod(number, 3)
        step = 28 * scale + max(2, scale)
        cell = cells[top + row * step :, left + column * step :][: 28 * scale : scale, : 28 * scale : scale]
        np.testing.assert_array_equal(cell, digits.images[number, 0].numpy())
    assert np.array_equal(np.asarray(zoo.show(digits.images[:6].numpy(), columns=3)), cells)
    assert np.array_equal(np.asarray(zoo.show(x.unflatten(0, (2, 3)))), cells)
    saved = io.BytesIO()
    picture.save(saved, "png")
    assert zoo.show(x[0]).size == zoo.show(x[0, 0]).size
    assert zoo.show(torch.rand(5, 3, 32, 32)).mode == "RGB"


@pytest.mark.parametrize(
    ("shape", "columns", "reason"),
    [
        ((4,), None, "(N, C, H, W)"), ((0, 1, 8, 8), None, "(N, C, H, W)"), ((2000, 1, 2, 2), None, "at most 1,024"),
        ((2, 2, 1, 8, 8), 2, "rows of their own"), ((2, 1, 8, 8), 0, "one at least"),
    ],
)  # fmt: skip
def test_what_show_refuses(shape, columns, reason):
    with pytest.raises(zoo.DataError, match=re.escape(reason)):
        zoo.show(torch.rand(shape), columns=columns)


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (torch.rand(2, 1, 8, 8) * 255, "not in [0, 1]; levels to 255 are uint8"),
        (torch.full((1, 1, 8, 8), torch.nan), "missing"),
        ("picture.png", "not a str"),
        ([torch.rand(1, 8, 8), torch.rand(1, 9, 9)], "of one size, not a list"),
        (zoo.create("naive_bayes"), "not a NaiveBayes"),
    ],
    ids=["levels", "missing", "path", "sizes", "model"],
)
def test_what_show_takes_for_no_images(images, reason):
    with pytest.raises(zoo.DataError, match=re.escape(reason)):
        zoo.show(images)


def test_lists_and_pictures_are_shown(digits):
    x = digits.x()[:4]
    shown = zoo.show(x)
    assert zoo.show(list(x)) == shown
    pictures = [Image.fromarray(image[0].numpy()) for image in digits.images[:4]]
    assert zoo.show(pictures) == shown.convert("RGB")
    assert zoo.show(pictures[0]) == zoo.show(x[0]).convert("RGB")


# What is public


def test_the_names_of_the_zoo_are_those_that_it_lists():
    from zoo.found import names

    assert dir(zoo) == zoo.__all__
    assert set(names("zoo.questions")) < set(dir(zoo))


def test_a_notebook_needs_no_checkout(tmp_path):
    """Training where nothing lies but the package: runs and data are made there."""
    done = command(
        "-c", "import zoo; model, run = zoo.train('model=mlp', 'data=digits', 'trainer.max_epochs=1', 'logger=none')"
        "; print(run.is_dir(), model.name)",
        cwd=tmp_path, PYTHONPATH=str(ROOT),
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "True mlp", done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
