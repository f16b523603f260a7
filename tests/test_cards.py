"""Released models: their cards say what is measured, and their weights answer as they did."""

import json
import math
import re
import shutil
import sys
import types

import pytest
import torch
import yaml
from conftest import run_script, run_train
from safetensors.torch import load_file

import zoo
from zoo import checkpoint
from zoo.errors import CheckpointError, ConfigError
from zoo.files import PRETRAINED
from zoo.run import cards, recipes

RELEASED = sorted(path.parent for path in PRETRAINED.glob("*/reference.safetensors"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_train(tmp_path_factory.mktemp("runs"), "model=naive_bayes", "data=digits", "logger=none")


@pytest.fixture(scope="module")
def released(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shelf") / "naive_bayes-digits"
    run_script("release.py", f"run={run}", f"to={folder}")
    return folder


def test_a_release_says_how_it_came_about(run, released):
    summary = json.loads((run / "summary.json").read_text())
    entry = checkpoint.released_config(released)
    assert entry["training"]["recipe"] == ["data=digits", "model=naive_bayes", "seed=0"]
    assert entry["training"]["seconds"] == summary["seconds"]["fit"]
    assert entry["data"]["name"] == "digits"
    metrics = json.loads((released / "metrics.json").read_text())
    assert metrics["accuracy"] == pytest.approx(summary["test"]["accuracy"])
    card = (released / "README.md").read_text()
    assert "`zoo train data=digits model=naive_bayes seed=0`" in card
    assert f"accuracy {metrics['accuracy']:.2%}" in card
    assert "torch 2" in card.partition(" of training on ")[2]
    assert "other work" not in card
    assert entry["training"]["alone"] is True
    assert str(released.parent) not in card + (released / "config.json").read_text()


def test_a_card_tells_of_other_work_beside_the_training(run, tmp_path):
    folder = tmp_path / "naive_bayes-digits"
    run_script("release.py", f"run={run}", f"to={folder}", "busy=true")
    assert checkpoint.released_config(folder)["training"]["alone"] is False
    assert ", with other work beside it\n" in (folder / "README.md").read_text()


def test_a_card_has_what_a_hub_reads(released):
    said = yaml.safe_load((released / "README.md").read_text().split("---\n")[1])
    assert said["pipeline_tag"] == "image-classification"
    (model,) = said["model-index"]
    (result,) = model["results"]
    assert result["dataset"] == {"type": "digits", "name": "digits"}
    assert {
        "type": "accuracy",
        "value": pytest.approx(json.loads((released / "metrics.json").read_text())["accuracy"], abs=1e-5),
    } in result["metrics"]


def test_a_card_that_is_made_again_is_the_same(released):
    before = {path.name: path.read_bytes() for path in released.iterdir()}
    cards.make_card(released)
    assert {path.name: path.read_bytes() for path in released.iterdir()} == before


def test_a_release_knows_its_data(released, capsys):
    run_script("evaluate.py", f"ckpt={released}", "samples=0")
    assert re.search(r"on [\d,]+ test\s+images", capsys.readouterr().out)


def test_what_does_not_say_how_it_was_trained_gets_no_card(tmp_path):
    folder = zoo.save(zoo.create("naive_bayes", zoo.DataSpec()), tmp_path / "mine")
    with pytest.raises(ConfigError, match="does not say how it was trained"):
        cards.make_card(folder)
    with pytest.raises(ConfigError, match="has ended"):
        cards.release(tmp_path, tmp_path / "again")


def test_words_of_one_machine_are_left_out():
    command = "python train.py model=cnn data=mnist data.root=/x runs=/y trainer.max_epochs=2 logger=none"
    assert recipes.recipe_of(command) == ["data=mnist", "model=cnn", "seed=0", "trainer.max_epochs=2"]
    assert recipes.recipe_of("zoo train experiment=a seed=3") == ["experiment=a", "seed=3"]


@pytest.mark.parametrize(
    ("recipe", "key"),
    [
        ("model=naive_bayes data=digits seed=1", "seed"),
        ("model=cnn data=digits", "model.name"),
        ("model=naive_bayes data=digits data.batch_size=7", "data.batch_size"),
        ("model=naive_bayes data=digits data.augment.shift=1", "data.augment.shift"),
    ],
)
def test_a_recipe_trains_what_was_trained(run, tmp_path, recipe, key):
    with pytest.raises(ConfigError, match=f"trains with {key}="):
        cards.release(run, tmp_path / "m", recipe=recipe)
    assert not (tmp_path / "m").exists()


def test_an_option_that_came_later_says_nothing_against_a_run(run, tmp_path):
    older = tmp_path / "run"
    shutil.copytree(run, older)
    summary = json.loads((older / "summary.json").read_text())
    del summary["config"]["data"]["augment"]["rotate"]
    del summary["config"]["data"]["min_batches"]
    (older / "summary.json").write_text(json.dumps(summary))
    assert cards.release(older, tmp_path / "m").is_dir()


def test_a_run_that_went_on_is_released_by_the_words_that_began_it(run, tmp_path):
    ended = tmp_path / "run"
    shutil.copytree(run, ended)
    summary = json.loads((ended / "summary.json").read_text())
    (ended / "summary.json").write_text(json.dumps(summary | {"command": f"python train.py resume={run}"}))
    with pytest.raises(ConfigError, match="give the words that train it"):
        cards.release(ended, tmp_path / "m")
    folder = cards.release(ended, tmp_path / "m", recipe="model=naive_bayes data=digits")
    assert checkpoint.released_config(folder)["training"]["recipe"] == ["data=digits", "model=naive_bayes", "seed=0"]


def test_a_release_is_fetched_from_a_hub(released, monkeypatch):
    """Two files of a repository, of a revision if one is named; what cannot be fetched is told."""
    asked = []

    def snapshot_download(repository, revision, allow_patterns):
        asked.append((repository, revision, allow_patterns))
        if repository != "somebody/digits":
            raise ValueError("no such repository")
        return str(released)

    hub = types.ModuleType("huggingface_hub")
    hub.snapshot_download = snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert zoo.load("hf-hub:somebody/digits@v1").config == zoo.load(released).config
    assert asked == [("somebody/digits", "v1", ["model.safetensors", "config.json"])]
    with pytest.raises(CheckpointError, match="hf-hub:nobody/digits cannot be fetched: no such repository"):
        zoo.load("hf-hub:nobody/digits")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match=r"\[hub\]"):
        zoo.load("hf-hub:somebody/digits")


@pytest.mark.parametrize("half", [False, True])
def test_half_precision_is_half_as_large(half, tmp_path):
    model = zoo.create("mlp", zoo.DataSpec((1, 8, 8), 3))
    folder = checkpoint.save(model, tmp_path / "m", half=half)
    size = (folder / "model.safetensors").stat().st_size
    assert size / model.num_parameters == pytest.approx(2 if half else 4, rel=0.05)
    x = torch.rand(5, 1, 8, 8)
    torch.testing.assert_close(
        zoo.classify(zoo.load(folder), x), zoo.classify(model, x), atol=1e-2 if half else 0, rtol=0
    )


@pytest.mark.parametrize("folder", RELEASED, ids=lambda folder: folder.name)
def test_weights_answer_as_they_did(folder):
    model = zoo.load(folder)
    kept = load_file(folder / cards.REFERENCE)
    told = cards.answers(model)
    assert told.keys() == kept.keys()
    for name, values in told.items():
        scale = max(1.0, float(kept[name].abs().max()))
        torch.testing.assert_close(values / scale, kept[name] / scale, atol=1e-4, rtol=0)


@pytest.mark.parametrize("folder", RELEASED, ids=lambda folder: folder.name)
def test_a_card_says_what_was_measured(folder):
    metrics = json.loads((folder / "metrics.json").read_text())
    card = (folder / "README.md").read_text()
    lines = cards.lines_of(metrics)
    assert lines
    assert all(line in card for line in lines)
    assert (folder / "model.safetensors").stat().st_size <= 2_100_000
    assert all(value is None or math.isfinite(value) for value in metrics.values() if isinstance(value, float))
    assert re.search(r"trained by `zoo train [^`]+`, (a second|[\d,]+ seconds) of training on", card)
