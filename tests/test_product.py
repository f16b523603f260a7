"""The command ``zoo``, and a wheel in an empty directory, without the checkout."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest
import torch
from conftest import ROOT, command, run_script

import zoo
from zoo import checkpoint, files, found, terminal
from zoo.__main__ import main, usage
from zoo.errors import CheckpointError
from zoo.files import PRETRAINED

NAMES = found.names("zoo.commands")
LEFT_OUT = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["exclude"]


def typed(*words: str, program: str = "zoo", **where) -> "subprocess.CompletedProcess[str]":
    """``zoo words`` in a process of its own; ``program``: the file that the command is."""
    code = f"import sys; sys.argv[:] = [{program!r}, *{list(words)!r}]; from zoo.__main__ import main; main()"
    return command("-c", code, **where)


# The command


def test_every_command_is_told_of():
    """With what it does, in 80 columns, and in README's order of use."""
    lines = usage().splitlines()
    assert max(map(len, lines)) <= 80
    told = [line.split()[0] for line in lines if re.match(r"  \w", line)]
    assert sorted(told) == NAMES
    assert told[:4] == ["train", "evaluate", "predict", "sample"]
    assert all(len(line.split()) > 3 for line in lines if re.match(r"  \w", line))


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]], ids=str)
def test_without_a_command_all_are_listed(words, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["zoo", *words])
    main()
    assert capsys.readouterr().out == usage() + "\n"


def test_the_version(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["zoo", "--version"])
    main()
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_an_unknown_command_is_refused(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["zoo", "evalute"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: unknown command 'evalute': did you mean 'evaluate'?\n"


@pytest.mark.parametrize("name", NAMES)
def test_help_names_commands_as_they_are_typed(name, capsys, monkeypatch):
    """A script's own help names scripts, that of ``zoo`` its commands."""
    script = "train.py" if name == "train" else f"scripts/{name}.py"
    said = {}
    for way, argv in (("zoo", ["/bin/zoo", name]), ("script", [str(ROOT / script)])):
        monkeypatch.setattr(sys, "argv", [*argv, "--help"])
        with contextlib.suppress(SystemExit):
            main() if way == "zoo" else found.find("zoo.commands", name, "", "").main()
        said[way] = capsys.readouterr().out
    assert f"zoo {name}" in said["zoo"]
    assert ".py" not in said["zoo"]
    assert f"python {script}" in said["script"]
    assert f"zoo {name}" not in said["script"]


def test_every_script_is_its_command():
    """But for what is about the checkout itself."""
    scripts = {path.stem for path in (ROOT / "scripts").glob("*.py")}
    assert scripts - {*NAMES} == {
        "fuzz", "keep_figures", "kills", "make_cards", "make_docs", "make_picture", "release", "release_features",
        "smoke",
    }  # fmt: skip
    assert {*NAMES} - scripts == {"train"}
    for name in NAMES:
        text = (ROOT / ("train.py" if name == "train" else f"scripts/{name}.py")).read_text()
        assert f"from zoo.commands.{name} import main" in text
        assert len(text.splitlines()) <= 6


@pytest.mark.parametrize(
    ("started", "expected"),
    [
        ("train.py", "see python scripts/tune.py, or train.py --help; python train.py resume=a"),
        ("/somewhere/scripts/label.py", "see python scripts/tune.py, or train.py --help; python train.py resume=a"),
        ("/usr/bin/zoo", "see zoo tune, or zoo train --help; zoo train resume=a"),
        ("-c", "see zoo tune, or zoo train --help; zoo train resume=a"),
    ],
)
def test_words_are_those_that_were_typed(started, expected, monkeypatch):
    monkeypatch.setattr(sys, "argv", [started])
    assert terminal.as_typed("see python scripts/tune.py, or train.py --help; python train.py resume=a") == expected
    assert terminal.typed("tune") in expected


# One's own options


def test_own_options_stand_beside_those_of_the_zoo(tmp_path):
    """An experiment with its package, a model that extends another, in folders; and a name that is taken."""
    (tmp_path / "configs" / "experiment" / "of").mkdir(parents=True)
    (tmp_path / "configs" / "model").mkdir()
    mine = tmp_path / "configs" / "experiment" / "of" / "mine.yaml"
    mine.write_text(
        "# @package _global_\ndefaults: [{override /model: little}]\ntrainer: {max_epochs: 77}\nmodel: {blocks: 2}\n"
        "seed: 7\npatience: 5\n"
    )
    (tmp_path / "configs" / "model" / "little.yaml").write_text("defaults: [cnn, _self_]\nchannels: [4, 6]\n")
    run = typed("train", "experiment=of/mine", "--cfg", "job", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "max_epochs: 77" in run.stdout
    assert "blocks: 2" in run.stdout
    assert "\nseed: 7\n" in run.stdout
    assert "\npatience: 5\n" in run.stdout
    assert "\nseed: 8\n" in typed("train", "experiment=of/mine", "seed=8", "--cfg", "job", cwd=tmp_path).stdout
    assert "  - 4\n  - 6" in run.stdout
    assert " little," in typed("train", "--help", cwd=tmp_path).stdout
    wrong = typed("train", "model=littel", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "did you mean 'little'" in wrong.stderr
    wrong = typed("train", "experiment=of/mine", "model.chanels=[3]", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "did you mean 'model.channels'" in wrong.stderr
    mine.write_text("# @package _global_\nmodel: {chanels: [3]}\n")
    wrong = typed("train", "experiment=of/mine", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "chanels" in wrong.stderr
    assert len(wrong.stderr.splitlines()) <= 5
    mine.write_text("[")
    wrong = typed("train", "experiment=of/mine", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "mine.yaml" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    (tmp_path / "configs" / "model" / "cnn.yaml").write_text("channels: [1]\n")  # of another program, perhaps
    taken = typed("train", "model=cnn", "--cfg", "job", cwd=tmp_path)
    assert taken.stderr == "configs/model/cnn.yaml is not read: the zoo has model=cnn of its own\n"
    assert "  - 16\n  - 32\n  - 64\n" in taken.stdout


# A wheel


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """What a wheel installs, built of this checkout."""
    where = tmp_path_factory.mktemp("wheel")
    words = ["build", "--target", "wheel", "--directory", str(where)]
    subprocess.run([sys.executable, "-m", "hatchling", *words], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = where.glob("*.whl")
    assert wheel.stat().st_size < 10 * 10**6
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(where / "site")
    return where / "site"


def test_a_wheel_holds_what_the_checkout_does(site):
    for folder in ("configs", "pretrained"):
        inside = {path.relative_to(site / "zoo" / folder) for path in (site / "zoo" / folder).rglob("*.*")}
        left = {path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*.*")} - inside
        assert inside | left == {path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*.*")}
        assert all(path.name == "model.safetensors" for path in left)
        assert {f"{folder}/{path}" for path in left} == {path for path in LEFT_OUT if path.startswith(folder)}
    (metadata,) = site.glob("*.dist-info")
    assert "zoo = zoo.__main__:main" in (metadata / "entry_points.txt").read_text()
    assert not (site / "tests").exists()
    assert not (site / "scripts").exists()


def test_a_wheel_in_an_empty_directory_is_the_product(site, tmp_path):
    """Trained, evaluated, sampled, asked with a released model, chosen, and gone on with in several processes."""

    program = site.parent / "zoo"  # as pip makes it, which Lightning starts again
    program.write_text("from zoo.__main__ import main\nmain()\n")

    def run(*words: str) -> str:
        done = typed(*words, program=str(program), cwd=tmp_path, root=site, ZOO_DATA="")
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = run("train", "model=vae", "data=digits", "logger=none", "trainer.max_epochs=1")
    (folder,) = (tmp_path / "runs").iterdir()
    assert f"zoo evaluate ckpt=runs/{folder.name}" in said
    assert "python scripts" not in said
    assert json.loads((folder / "summary.json").read_text())["command"].startswith("zoo train model=vae data=digits")
    assert "ratio" in run("evaluate", f"ckpt=runs/{folder.name}", "samples=300")  # by the released features
    run("sample", f"ckpt=runs/{folder.name}", "n=4", "out=drawn")
    assert (tmp_path / "drawn.png").is_file()
    chosen = run("choose", "needs=accuracy")
    assert "\nzoo train model=" in chosen
    assert ".py" not in chosen
    assert "\nzoo train data=image_folder" in run("augment", "ckpt=dcgan-mnist", "out=made", "n=10")
    more = ("trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu", "runs=more", "logger=none")
    run("train", "model=logistic_regression", "data=digits", "trainer.max_epochs=1", *more)
    (both,) = (tmp_path / "more").iterdir()
    assert json.loads((both / "summary.json").read_text())["config"]["trainer"]["devices"] == 2
    where = command("-c", "import zoo; print(zoo.__file__)", cwd=tmp_path, root=site).stdout
    assert where.startswith(str(site))


def test_weights_that_a_wheel_leaves_out_are_fetched(site, tmp_path):
    """Listed all the same; from a folder here, and once."""
    for path in LEFT_OUT:
        name = path.split("/")[1]
        code = f"import zoo; print({name!r} in zoo.list_models(pretrained=True)); zoo.load({name!r})"
        place = {"cwd": tmp_path, "root": site, "XDG_CACHE_HOME": str(tmp_path / "cache")}
        refused = command("-c", code, **place, ZOO_RELEASES="")
        assert refused.stdout == "True\n"
        assert "ZOO_RELEASES=… names the address" in refused.stderr
        assert command("-c", code, **place, ZOO_RELEASES=str(PRETRAINED)).returncode == 0
        assert command("-c", code, **place, ZOO_RELEASES="").returncode == 0


@pytest.mark.slow
def test_a_wheel_in_a_fresh_environment(site, tmp_path):
    """As pip installs it, with what it needs and nothing else: the command that a user types first."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    (wheel,) = site.parent.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True)
    program = tmp_path / "env" / "bin"
    subprocess.run([program / "python", "-m", "pip", "install", "--quiet", str(wheel)], check=True, env=environment)
    (tmp_path / "empty").mkdir()
    for words in (["train", "model=cnn", "trainer.max_epochs=1"], ["choose"], ["--version"]):
        where = {"cwd": tmp_path / "empty", "env": environment, "check": True, "capture_output": True}
        assert subprocess.run([program / "zoo", *words], **where).stdout


# The shelf


def test_released_models_are_taken_by_name_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = zoo.list_models(pretrained=True)
    assert {"cnn-mnist", "cnn-fashion_mnist", "dcgan-mnist"} <= {*names}
    assert zoo.list_models("cnn-*", pretrained=True) == [
        "cnn-fashion_mnist", "cnn-fashion_mnist-best", "cnn-mnist", "cnn-mnist-best", "cnn-spoken_digits",
    ]  # fmt: skip
    for name in names:
        here, there = zoo.load(name), zoo.load(PRETRAINED / name)
        assert here.config == there.config
        assert all(torch.equal(value, there.state_dict()[key]) for key, value in here.state_dict().items())
    run_script("sample.py", "ckpt=dcgan-mnist", "n=2")  # nothing is written among the released models
    assert {path.name for path in tmp_path.iterdir()} == {"samples-seed0.png", "samples-seed0.npz"}


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A released model whose weights are elsewhere; the folder with them."""
    whole = zoo.save(zoo.create("mlp", hidden_sizes=[3]), tmp_path / "elsewhere" / "mlp-digits")
    shutil.copytree(whole, tmp_path / "here" / "mlp-digits")
    (tmp_path / "here" / "mlp-digits" / "model.safetensors").unlink()
    for module in (files, checkpoint):
        monkeypatch.setattr(module, "PRETRAINED", tmp_path / "here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return whole.parent


@pytest.mark.parametrize("address", [False, True], ids=["folder", "address"])
def test_weights_are_fetched_once_and_checked(address, shelf, tmp_path, monkeypatch):
    monkeypatch.delenv("ZOO_RELEASES", raising=False)
    with pytest.raises(CheckpointError, match="ZOO_RELEASES=… names"):
        zoo.load("mlp-digits")
    monkeypatch.setenv("ZOO_RELEASES", shelf.as_uri() if address else str(shelf))
    wanted = zoo.load(shelf / "mlp-digits").state_dict()
    fetched = zoo.load("mlp-digits").state_dict()
    assert all(torch.equal(value, fetched[key]) for key, value in wanted.items())
    monkeypatch.setenv("ZOO_RELEASES", str(tmp_path / "nowhere"))
    zoo.load("mlp-digits")  # from the cache
    (kept,) = (tmp_path / "cache" / "zoo" / "weights").iterdir()
    kept.write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="weights of mlp-digits cannot be fetched"):
        zoo.load("mlp-digits")


def test_other_weights_are_not_taken(shelf, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_RELEASES", str(shelf))
    other = zoo.save(zoo.create("mlp", hidden_sizes=[3]), tmp_path / "other")
    shutil.copy(other / "model.safetensors", shelf / "mlp-digits" / "model.safetensors")
    with pytest.raises(CheckpointError, match="other content than was published"):
        zoo.load("mlp-digits")
    assert not (tmp_path / "cache").exists()


def test_what_lies_here_comes_before_what_is_released(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    zoo.save(zoo.create("mlp", hidden_sizes=[3]), "cnn-mnist")
    assert zoo.load("cnn-mnist").config["name"] == "mlp"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "cnn-mnits",
            "cnn-mnits does not exist, nor is there a released model of that name: did you mean 'cnn-mnist'",
        ),
        ("runs/cnn-mnist", "runs/cnn-mnist does not exist"),
        ("cnn-mnist.ckpt", "cnn-mnist.ckpt does not exist"),
    ],
)
def test_an_unknown_name_is_refused(name, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(zoo.CheckpointError) as error:
        zoo.load(name)
    assert str(error.value).startswith(said)


def test_what_is_run_with_all_packages_runs_with_these(capsys):
    run_script("smoke.py", "models=naive_bayes")
    assert "1 passed, 0 failed" in capsys.readouterr().out
