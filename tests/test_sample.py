"""scripts/sample.py: images of any generative model, as a picture and as numbers; rows as a table."""

import contextlib
import csv
import io
import itertools
import os
import runpy
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import reviews
import tables
import torch
from conftest import ROOT, run_train
from PIL import Image

import zoo
from zoo.data import characters
from zoo.data.kinds import table, tokens
from zoo.errors import ZooError
from zoo.spec import END, UNKNOWN
from zoo.tasks.sample import class_number, continued, draw_samples, write_samples

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = ("data=digits", "experiment=debug", "logger=none", "trainer.max_epochs=1")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return run_train(tmp_path_factory.mktemp("runs"), "model=naive_bayes", *TINY)


def sample(*words: str) -> list[Path]:
    """The command in this process; the files that it says it has written."""
    with mock.patch.object(sys, "argv", ["sample.py", *words]), contextlib.redirect_stdout(io.StringIO()) as said:
        runpy.run_path(str(ROOT / "scripts" / "sample.py"), run_name="__main__")
    return [Path(line) for line in said.getvalue().splitlines()]


def refused(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as end:
        sample(*words)
    assert end.value.code == 2
    return capsys.readouterr().err


def test_command(run, tmp_path):
    """As typed: beside the weights, without Lightning or Matplotlib, the model's own samples."""
    (tmp_path / "typed.py").write_text(
        "import runpy, sys\n"
        f"runpy.run_path({str(ROOT / 'scripts' / 'sample.py')!r}, run_name='__main__')\n"
        "assert not {'lightning', 'matplotlib'} & set(sys.modules)\n"
    )
    words = [sys.executable, str(tmp_path / "typed.py"), f"ckpt={run}", "n=10", "seed=3"]  # command() has both at hand
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [str(run / "samples-seed3.png"), str(run / "samples-seed3.npz")]
    kept = np.load(run / "samples-seed3.npz", allow_pickle=False)
    assert set(kept) == {"images", "labels", "seed", "n"}
    assert (kept["images"].shape, kept["images"].dtype) == ((10, 1, 28, 28), np.uint8)
    assert kept["labels"].dtype == np.int64
    assert (int(kept["seed"]), int(kept["n"])) == (3, 10)
    # the classes are drawn from p(y), then the images given them, all from one stream
    model, generator = zoo.load(run), torch.Generator().manual_seed(3)
    labels = torch.multinomial(model.log_prior.exp(), 10, replacement=True, generator=generator)
    assert torch.equal(torch.from_numpy(kept["labels"]), labels)
    images = zoo.sample(model, 10, labels, generator).mul(255).round().byte()
    assert torch.equal(torch.from_numpy(kept["images"]), images)


def test_same_seed_same_files(run, tmp_path):
    (tmp_path / "again").mkdir()
    first = sample(f"ckpt={run}", "n=7", f"out={tmp_path / 'first.png'}")
    again = sample(f"ckpt={run / 'best.ckpt'}", "n=7", f"out={tmp_path / 'again'}")
    other = sample(f"ckpt={run}", "n=7", "seed=1", f"out={tmp_path / 'other'}")
    assert [path.name for path in first] == ["first.png", "first.npz"]
    assert again == [tmp_path / "again" / "samples-seed0.png", tmp_path / "again" / "samples-seed0.npz"]
    for left, right, different in zip(first, again, other, strict=True):
        assert left.read_bytes() == right.read_bytes()
        assert left.read_bytes() != different.read_bytes()


def test_grid_shows_the_images(tmp_path):
    """Five images are a grid of 3 × 2 with an empty place; each pixel of theirs is in it, enlarged twice."""
    samples = draw_samples(started("naive_bayes", (1, 28, 28)), 5)
    picture, _ = write_samples(samples, tmp_path / "five")
    with Image.open(picture) as image:
        pixels = torch.from_numpy(np.array(image))
    assert pixels.shape == (4 + 2 * 56 + 2 + 4, 4 + 3 * 56 + 2 * 2 + 4)
    for number in range(6):
        row, column = divmod(number, 3)
        top, left = 4 + row * 58, 4 + column * 58
        shown = pixels[top : top + 56, left : left + 56]
        wanted = samples.images[number, 0] if number < 5 else torch.full((28, 28), 255, dtype=torch.uint8)
        assert torch.equal(shown, wanted.repeat_interleave(2, 0).repeat_interleave(2, 1))


def started(name: str, shape: tuple[int, int, int], **options) -> torch.nn.Module:
    model = zoo.create(name, zoo.DataSpec(shape, 3, ("T-shirt", "shoe", "bag")), **options)
    generator = torch.Generator().manual_seed(0)
    x, labels = torch.rand(30, *shape, generator=generator), torch.arange(30) % 3
    model.initialize([(x, labels)], generator)
    if hasattr(model, "maximize"):
        model.maximize(model.statistics(x, labels))
    return model


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("naive_bayes", {}),
        ("gmm", {"num_components": 2, "pca": 4}),
        ("gmm", {"num_components": 2, "pca": 4, "per_class": False}),
        ("hmm", {"num_states": 2}),
        ("vae", {"latent_dim": 2, "hidden_sizes": [8]}),
        ("vae", {"latent_dim": 2, "hidden_sizes": [8], "conditional": True}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_every_generative_model(name, options):
    model = started(name, (3, 6, 5), **options)
    classes = model.log_prior is not None
    one = draw_samples(model, 1)
    assert one.images.shape == (1, 3, 6, 5)
    assert one.images.dtype == torch.uint8
    assert (one.labels is not None) == classes
    assert torch.equal(draw_samples(model, 4).images, draw_samples(model, 4).images)
    if classes:
        assert draw_samples(model, 4, label=2).labels.tolist() == [2] * 4
    else:
        with pytest.raises(ZooError, match="knows no classes"):
            draw_samples(model, 4, label=2)


def test_labels_mean_classes(run, capsys):
    """A class by name or number, in the file's name too; the samples are of that class."""
    spec = zoo.DataSpec((1, 2, 2), 3, ("T-shirt", "2", "bag"))
    assert [class_number(spec, word) for word in ("T-shirt", "2", "bag", "0")] == [0, 1, 2, 0]
    for word in ("3", "-1", "shirt", ""):
        with pytest.raises(ZooError, match="knows no class"):
            class_number(spec, word)
    picture, numbers = sample(f"ckpt={run}", "label=4", "n=20")
    assert picture.name == "samples-4-seed0.png"
    kept = np.load(numbers)
    assert kept["labels"].tolist() == [4] * 20
    said = zoo.classify(zoo.load(run), torch.from_numpy(kept["images"]).float() / 255).argmax(1)
    assert (said == 4).float().mean() > 0.8


def test_averaged_or_raw_weights(tmp_path):
    run = run_train(tmp_path / "runs", "model=vae", "model.hidden_sizes=[8]", *TINY, "learner.ema=0.999")
    averaged, raw = (
        np.load(sample(f"ckpt={run}", "n=2", f"ema={ema}", f"out={tmp_path / ema}")[1])["images"]
        for ema in ("true", "false")
    )
    assert not np.array_equal(averaged, raw)
    assert np.array_equal(averaged, draw_samples(zoo.load(run), 2).images.numpy())
    assert np.array_equal(raw, draw_samples(zoo.load(run, ema=False), 2).images.numpy())


def test_refusals(run, tmp_path, capsys):
    classifier = zoo.save(zoo.create("logistic_regression"), tmp_path / "released")
    said = refused(capsys, f"ckpt={classifier}")
    assert "logistic_regression cannot sample; models that can: " in said
    assert all(name in said for name in ("gmm", "hmm", "naive_bayes", "vae"))
    assert not list(classifier.glob("samples*"))
    assert "'11'" in refused(capsys, f"ckpt={run}", "label=11")
    assert "must be in [1" in refused(capsys, f"ckpt={run}", "n=0")
    assert "does not exist" in refused(capsys, f"ckpt={run}", f"out={tmp_path / 'nowhere' / 'x'}")
    assert "does not exist" in refused(capsys, f"ckpt={run}", f"out={tmp_path / 'nowhere'}/")
    assert "ckpt=" in refused(capsys, str(run))


class Rows(zoo.Generative):
    """Draws the rows of a made-up table, of which some cells are said to be missing."""

    def __init__(self, conditional):
        super().__init__(tables.WITH_GAPS, conditional)

    def sample(self, n, labels=None, generator=None):
        x = tables.rows(n)
        gone = torch.arange(n)[:, None, None, None] % 3 == 0
        x[0, ..., 1:4], x[1, ..., 0] = 0, 0.5
        x[0, ..., 1] = 1
        return torch.cat([x, ~gone, gone], -1)


@pytest.mark.parametrize("conditional", [True, False])
def test_samples_of_a_table_are_a_file_of_its_columns(conditional, tmp_path):
    """Numbers in their units, categories by their names, a cell that is said to be missing empty, and the class."""
    samples = draw_samples(Rows(conditional), 12, label=1 if conditional else None)
    (path,) = write_samples(samples, tmp_path / "rows")
    assert path == tmp_path / "rows.csv"
    with path.open() as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == ["age", "job", "sum", *(["credit"] if conditional else [])]
    for number, row in enumerate(found):
        x = samples.images[number, 0, 0]
        assert float(row["age"]) == pytest.approx(40 + 10 * float(x[0]), abs=1e-3)
        assert row["job"] == ("" if number % 3 == 0 else ("none", "clerk", "smith")[x[1:4].argmax()])
        assert row.get("credit") == ("bad" if conditional else None)
    _, again = table.read([path], tables.SPEC)
    expected = samples.images[..., :5].clone()
    expected[::3, ..., 1:4] = torch.nan
    torch.testing.assert_close(again, expected, atol=1e-4, rtol=0, equal_nan=True)


def test_command_for_a_table(tmp_path, capsys):
    words = ("data=breast_cancer", "model=naive_bayes", "model.emission=gaussian", "logger=none")
    run = run_train(tmp_path / "runs", *words)
    (path,) = sample(f"ckpt={run}", "label=benign", "n=400")
    assert path == run / "samples-benign-seed0.csv"
    assert not {".png", ".npz"} & {file.suffix for file in run.iterdir()}
    splits = zoo.ImageDataModule("breast_cancer").splits
    names = [column.name for column in splits.spec.columns]
    with path.open() as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == [*names, "tumour"]
    assert {row["tumour"] for row in found} == {"benign"}
    benign = splits.spec.class_names.index("benign")
    rows = table.cells(splits.train.images[splits.train.labels == benign], splits.spec)
    drawn = {name: np.array([float(row[name]) for row in found]) for name in names}
    for name in names:
        error = rows[name].std() * (1 / 400 + 1 / len(rows)) ** 0.5
        assert abs(drawn[name].mean() - rows[name].mean()) < 5 * error, name
    (other,) = sample(f"ckpt={run}", "label=benign", "n=400", f"out={tmp_path / 'mine.csv'}")
    assert other == tmp_path / "mine.csv"
    assert other.read_bytes() == path.read_bytes()


def test_samples_of_texts_are_a_file_of_them(tmp_path):
    """More than are drawn at a time, which are of other lengths."""
    model = reviews.bayes()
    samples = draw_samples(model, 1500)
    (path,) = write_samples(samples, tmp_path / "texts")
    assert path == tmp_path / "texts.csv"
    with path.open() as file:
        found = list(csv.DictReader(file))
    assert [row["text"] for row in found] == tokens.text_of(samples.images, model.spec)
    assert [row["class"] for row in found] == [model.spec.class_names[label] for label in samples.labels]
    _, again = tokens.read([path], model.spec)
    for row, text in zip(again, samples.images, strict=True):  # the words of a sample are read as they were drawn
        assert torch.equal(row[row >= 0], text[text >= 0])


# Texts that go on


def language(folder: Path, ends: bool = False, classes: tuple[str, ...] = ("text",)) -> Path:
    """The released folder of a model that has counted characters, three in a row."""
    source = "so be it. or let it be so!\n" if not ends else "amen"
    symbols = (*sorted(set(source)), UNKNOWN, *([END] if ends else []))
    settings = {"reads": "characters", "case": "kept"} | ({} if ends else {"context": 8})
    spec = zoo.DataSpec(
        (1, 1, 12), len(classes), classes, kind="tokens", values="tokens", vocabulary=symbols, settings=settings
    )
    model = zoo.create("ngram", spec, order=3)
    numbers = [symbols.index(character) for character in source] + ([symbols.index(END)] if ends else [])
    x = torch.tensor([(numbers * 12)[start : start + 12] if not ends else [*numbers, *[-1] * 7] for start in range(30)])
    model.initialize([(x[:, None, None], torch.arange(30) % len(classes))], torch.Generator())
    return zoo.save(model, folder / "language")


def go_on(capsys, *words: str) -> str:
    """The command in this process; what it printed."""
    with mock.patch.object(sys, "argv", ["sample.py", *words]):
        runpy.run_path(str(ROOT / "scripts" / "sample.py"), run_name="__main__")
    return capsys.readouterr().out


def test_a_text_goes_on_as_the_model_says(tmp_path, capsys):
    """Standard output is the prompt and what was drawn, and nothing else; beyond the window, too."""
    path = language(tmp_path)
    model = zoo.load(path)
    prompt = characters.prompts(["so"], model.spec).flatten(1)
    for more, options in (((), {}), (("temperature=0.5", "top_k=2"), {"temperature": 0.5, "top_k": 2})):
        generator = torch.Generator().manual_seed(7)
        drawn = torch.stack([*model.generate(torch.tensor([0]), prompt, 40, generator, **options)], 1)
        said = go_on(capsys, f"ckpt={path}", "prompt=so", "length=40", "seed=7", *more)
        assert said == f"so{characters.text_of(drawn, model.spec)[0]}\n"
        assert len(said) == 43
    assert go_on(capsys, f"ckpt={path}", "prompt=so", "length=6", "temperature=0") == "so be it\n"
    assert len(go_on(capsys, f"ckpt={path}", "length=3")) == 4  # nothing was before it
    assert len(go_on(capsys, f"ckpt={path}", "prompt=so")) == 2 + 500 + 1
    first, empty, second = go_on(capsys, f"ckpt={path}", "prompt=be", "length=2", "n=2", "temperature=0").split("\n")[
        :3
    ]
    assert (first, empty, second) == ("be i", "", "be i")
    assert not list(path.glob("samples*"))


def test_texts_that_end_are_one_a_line_and_of_a_class(tmp_path, capsys):
    path = language(tmp_path, ends=True, classes=("prayer", "psalm"))
    said = go_on(capsys, f"ckpt={path}", "prompt=a", "length=20", "n=3", "temperature=0", "label=psalm")
    assert said == "amen\n" * 3
    assert go_on(capsys, f"ckpt={path}", "length=2", "temperature=0") == "am\n"  # of a class that is drawn
    assert "classes: prayer, psalm" in refused(capsys, f"ckpt={path}", "prompt=a", "label=hymn")


def test_each_character_is_printed_at_once(tmp_path):
    """Whoever reads has it before the next one is drawn, and the model stops where nobody reads on."""
    model = zoo.load(language(tmp_path))
    pieces, drawn = continued(model, "so", 10), []
    for piece in itertools.islice(pieces, 4):
        drawn.append(piece)
    assert drawn[0] == "so"
    assert [len(piece) for piece in drawn[1:]] == [1, 1, 1]
    words = (str(ROOT / "scripts" / "sample.py"), f"ckpt={tmp_path / 'language'}", "length=10_000_000")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, env=environment) as process:
        assert len(process.stdout.read(20)) == 20
        process.stdout.close()
        assert process.wait(60) == 141


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["prompt=so É"], "the model does not know 'É': it knows"),
        (
            ["prompt=so be it. so be it."],
            "a prompt of 19 characters is longer than the 12 that the model sees at a time",
        ),
        (["temperature=0.5"], "temperature and top_k are of a text that goes on: give prompt=… or length=…, too"),
        (["prompt=so", "temperature=-1"], "temperature=-1: must be in [0, inf)"),
        (["prompt=so", "top_k=-1"], "top_k=-1: must be in [0, inf)"),
        (["prompt=so", "length=0"], "length=0: must be in [1, inf)"),
        (["prompt=so", "out=text.txt"], "out=text.txt: a text that goes on is printed"),
        (["prompt=so", "label=0"], "knows no classes"),
    ],
)
def test_a_text_does_not_go_on(words, said, tmp_path, capsys):
    text = refused(capsys, f"ckpt={language(tmp_path)}", *words)
    assert said in text
    assert text.count("\n") == 1


def test_other_models_do_not_go_on(run, capsys):
    text = refused(capsys, f"ckpt={run}", "prompt=ROMEO:")
    assert text.startswith("error: naive_bayes does not go on with a text; models that do: ")
    assert {"gpt", "ngram", "rnnlm"} <= set(text.partition("that do: ")[2].strip().split(", "))
    assert "hmm" not in text
