"""Every command that README and the documentation tell of is run, as it stands there.

Trainings go through one batch of everything; what measures for hours is asked whether it takes its words.
"""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import soundfile
from conftest import ROOT, command, run_train, stopped_at
from PIL import Image

from zoo.__main__ import main as zoo_command
from zoo.data.splits import load_splits

PAGES = [ROOT / "README.md", *sorted(set((ROOT / "docs").rglob("*.md")) - {ROOT / "docs" / "index.md"})]
HOURS = ("compare", "benchmark", "optimizers", "language", "tune", "kills", "fuzz")  # scripts
NOT_HERE = {  # commands that need what this machine may not have
    "pip": "installing is .ci/run's",
    "uv": "installing is .ci/run's",
    "tensorboard": "a server",
    "pytest": "all of this",
    ".ci/full": "hours, and the tests are among it",
    "tests/replicas.py": "minutes; tests/test_many.py runs some of it",
    "--nnodes": "another machine",
    "trainer=gpu": "a GPU",
    "logger=wandb": "a package that nothing else needs",
    "logger=mlflow": "a package that nothing else needs",
    "eval": "a shell",
    "data=mine": "a file in the package: tests/test_sources.py puts one there",
    "data=card_fraud": "data that nobody but its owners may hand on",
}
DIGITS = ("data=digits", "data.train_size=300", "logger=none", "trainer.max_epochs=1")
MNIST = ("data=mnist", "data.train_size=500", "logger=none", "trainer.max_epochs=1")
TABLE = ("model=naive_bayes", "data=table", "data.path=customers.csv", "logger=none")
RUNS = {  # what <run> stands for on a page, or in a command with these words
    "anomaly=fraud": (*TABLE, "data.target=paid"),
    "apply": ("model=vae", "model.conditional=true", "model.latent_dim=2", "model.importance_samples=2", *DIGITS),
    "figures": ("model=naive_bayes", *DIGITS),
    "language": ("model=ngram", "data=pydoc", "model.order=3", "logger=none"),
    "speech": ("model=hmm", "data=spoken_digits", "model.num_states=2", "data.train_size=300", "logger=none",
               "trainer.max_epochs=1"),
    "tables": (*TABLE, "data.target=bought"),
    "texts": ("model=naive_bayes", "data=sms_spam", "logger=none"),
}  # fmt: skip
NAMED = {  # runs that commands name
    "cnn-mnist": ("model=cnn", "trainer.max_epochs=2", "trainer.limit_train_batches=2", *MNIST[:-1]),
    "gmm-mnist": ("model=gmm", "model.num_components=2", *MNIST),
    "vae-mnist": ("model=vae", "model.hidden_sizes=[16]", *MNIST),
    "vae-image_folder-pictures": (
        "model=vae",
        "model.hidden_sizes=[16]",
        "data=image_folder",
        "data.path=pictures",
        "data.image_size=16",
        "logger=none",
        "trainer.max_epochs=1",
    ),
}


def told() -> list[tuple[str, str]]:
    """Every line of the shell in a block of a page, without what is said of it."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.S):
            for line in block.replace("\\\n", "").splitlines():
                parts = re.sub(r"(^|\s+)#.*", "", line).split(" && ")
                found += [(page.stem, part.strip()) for part in parts if part.strip()]
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory, real_data):
    """A directory with a user's files, by the names that the commands give them."""
    place = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(0)
    digits = load_splits("digits").test
    pictures = [f"pictures/{label}/{number}.png" for label in "ab" for number in range(30)]
    for number, name in enumerate(["photo.jpg", "scans/a.png", *pictures]):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 - digits.images[number % len(digits), 0].numpy()).resize((64, 64)).save(place / name)
    (place / "configs" / "experiment").mkdir(parents=True)
    own = re.search(
        r"```yaml\n# configs/experiment/mine.yaml\n(.*?)```", (ROOT / "docs" / "extend.md").read_text(), re.S
    )
    (place / "configs" / "experiment" / "mine.yaml").write_text(own[1])
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 20:40] = 255
    Image.fromarray(mask).save(place / "mask.png")
    rows = ["age,town,bought,paid"]
    for number in range(1000):
        town = "north" if rng.random() < 0.5 else "south"
        bought, paid = "yes" if number % 3 else "no", "genuine" if number % 7 else "fraud"
        rows.append(f"{rng.integers(20, 80)},{town},{bought},{paid}")
    (place / "customers.csv").write_text("\n".join(rows) + "\n")
    gaps = [row if number % 5 else f",{row.partition(',')[2]}" for number, row in enumerate(rows[1:40])]
    (place / "rows.csv").write_text("\n".join([rows[0], *gaps]) + "\n")
    lines = ["come to the river at noon", "win a prize now", "the boat leaves at four", "free prize inside"]
    texts = [f"{lines[number % 4]} {number}" for number in range(80)]
    labels = ["spam" if number % 2 else "ham" for number in range(80)]
    listed = [f"{label},{text}" for label, text in zip(labels, texts, strict=True)]
    (place / "messages.csv").write_text("label,message\n" + "\n".join(listed) + "\n")
    (place / "messages.txt").write_text("\n".join(texts[:5]) + "\n")
    (place / "book.txt").write_text("\n".join(texts * 20))
    for number, (label, text) in enumerate(zip(labels, texts, strict=True)):
        (place / "newsgroups" / label).mkdir(parents=True, exist_ok=True)
        (place / "newsgroups" / label / f"{number}.txt").write_text(text)
    times = np.arange(4_000) / 8_000
    for label, pitch in (("low", 200), ("high", 900)):
        (place / "recordings" / label).mkdir(parents=True)
        for number in range(30):
            tone = np.sin(2 * np.pi * pitch * times) * rng.uniform(0.2, 0.8) + rng.normal(0, 0.01, len(times))
            soundfile.write(place / "recordings" / label / f"{number}.wav", tone, 8_000)
    soundfile.write(place / "five.wav", np.sin(2 * np.pi * 300 * times), 8_000)
    return place


@pytest.fixture(scope="module")
def trained(place, real_data):
    """Runs by the words that train them, each once."""
    made = {}

    def train(words, cut=False):
        if (words, cut) not in made:
            runs = place / f"of_{len(made)}"
            if cut:
                with stopped_at(1):
                    run_train(runs, *words)
            else:
                run_train(runs, *words)
            (made[words, cut],) = runs.iterdir()
        return made[words, cut]

    return train


def arguments(line: str, page: str, place: Path, trained) -> list[str]:
    """The words of a command, with the runs that it names there."""
    found = re.search(r"runs/2026-01-31_12-00-00-([\w-]+)", line)
    if found or "resume=last" in line:
        resumes = "resume=" in line
        name = found[1] if found else "cnn-mnist"
        target = place / "runs" / f"2026-01-31_12-00-00-{name}"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(trained(NAMED[name], cut=resumes), target)
    if "<run>" in line:
        key = next((key for key in RUNS if "=" in key and key in line), page)
        line = line.replace("<run>", str(trained(RUNS[key])))
    return shlex.split(line)


def parameters() -> list:
    """README's commands; the documentation's are slow, all of them together."""
    lines = [(page, line) for page, line in dict.fromkeys(told()) if not NOT_HERE.keys() & {*line.split()}]
    return [
        pytest.param(page, line, marks=() if page == "README" else pytest.mark.slow, id=f"{page}: {line}")
        for page, line in lines
    ]


def test_what_is_not_run_is_told_of():
    words = {word for _, line in told() for word in line.split()}
    assert NOT_HERE.keys() <= words


@pytest.mark.parametrize(("page", "line"), parameters())
def test_a_command_does_what_it_says(page, line, place, trained, real_data, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.setenv("ZOO_DATA", str(real_data))
    words = arguments(line, page, place, trained)
    begins = re.search(r"\btrain(\.py)?\b", line) and "resume=" not in line
    if begins:
        words += ["trainer.fast_dev_run=true", "trainer.accelerator=cpu"]
    words = [str(ROOT / word) if word.endswith(".py") else word for word in words]
    if words[0] == "torchrun" or "trainer=ddp" in words:  # processes that start others
        program = str(Path(sys.executable).with_name(words[0]))
        result = command(program, *words[1:], cwd=place, ZOO_DATA=str(real_data))
        assert result.returncode == 0, result.stderr
        return
    program, argv = words[0], words if words[0] == "zoo" else words[1:]
    hours = (argv[1] if program == "zoo" else Path(argv[0]).stem) in HOURS
    with mock.patch.object(sys, "argv", [*argv, *(["nonsense=1"] if hours else [])]):
        if hours:  # all words before this one are taken
            with pytest.raises(SystemExit):
                start(program, argv[0])
            assert "nonsense" in capsys.readouterr().err
            return
        start(program, argv[0])
    if begins and "hydra/launcher" not in line:  # whose jobs print elsewhere
        assert "went through everything" in capsys.readouterr().out


def start(program: str, path: str) -> None:
    if program == "zoo":
        zoo_command()
    else:
        runpy.run_path(path, run_name="__main__")
