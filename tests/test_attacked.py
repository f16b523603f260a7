"""Damaged, endless and hostile files: every reader loads them right, or refuses them in a sentence, at no cost."""

import contextlib
import os
import random
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from conftest import command
from safetensors.torch import load_file, save_file

import zoo
from zoo import archive, checkpoint, plain, registry
from zoo.base.bounded import bounded
from zoo.errors import CheckpointError, ConfigError, DataError, ZooError
from zoo.fuzz.bombs import bombs
from zoo.fuzz.hostile import CANARY, hostile
from zoo.fuzz.mutations import changed
from zoo.fuzz.readers import MODELS, content_of, model_of, readers, saved
from zoo.fuzz.trial import mutations, tried

COSTLY = (
    "picture:",
    "recording:",
    "IDX:",
    "100 MB",
    "compressed",
    "90 MB",
    "three million",
    "50 MB",
    "merges",
)  # to write, or to read


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return readers(tmp_path_factory.mktemp("cases"))


def test_changed_files_load_right_or_are_refused(known, tmp_path):
    quick = {name: reader for name, reader in known.items() if reader.share == 1}
    outcomes = list(mutations(quick, 400, 1, tmp_path / "work", tmp_path / "keep"))
    assert [outcome for outcome in outcomes if outcome.refused is None and "it took" not in outcome.why] == []
    assert sum(outcome.refused is True for outcome in outcomes) > 200
    assert len({outcome.reader for outcome in outcomes}) == len(quick)


def test_a_failure_is_kept_and_repeated(known, tmp_path):
    """A reader that raises what is no ``ZooError`` is found out, with the file."""

    def read(_):
        raise KeyError("x")

    wrong = {"wrong": zoo.fuzz.readers.Reader({"a.csv": b"a,b\n1,2\n"}, read)}
    (first,) = mutations(wrong, 1, 0, tmp_path / "work", tmp_path / "keep")
    assert first.refused is None
    assert "KeyError" in first.why
    content = (tmp_path / "keep" / "0-0" / "a.csv").read_bytes()
    (again,) = mutations(wrong, 1, 0, tmp_path / "work", tmp_path / "again", only=0)
    assert again.name == first.name
    assert (tmp_path / "again" / "0-0" / "a.csv").read_bytes() == content


def test_bombs_do_not_go_off(known, tmp_path):
    failures = []
    for name, (write, read) in bombs(known).items():
        if not any(word in name for word in COSTLY):
            at = tmp_path / "files"
            at.mkdir()
            write(at)
            outcome = tried("", name, read, at, times=3)  # other tests run beside it
            if outcome.refused is None:
                failures.append((name, outcome.why))
            shutil.rmtree(at)
    assert failures == []


def test_bombs_in_the_place_of_published_files_are_refused(known, tmp_path):
    cases = {name: case for name, case in bombs(known).items() if name.startswith("published")}
    assert len(cases) >= 4
    for name, (write, read) in cases.items():
        at = tmp_path / name.replace("/", "_")
        at.mkdir()
        write(at)
        with pytest.raises(DataError, match=r"damaged|as published"):
            read(at)


def test_hostile_files_are_refused(known, tmp_path):
    cases = hostile(known)
    assert len(cases) >= 52
    for name, (write, read) in cases.items():
        at = tmp_path / "files"
        at.mkdir()
        write(at)
        with pytest.raises(ZooError):
            read(at)
        assert not (at / CANARY).exists(), name
        assert not (at / f"{CANARY}.npy").exists(), name
        shutil.rmtree(at)


@pytest.mark.parametrize("name", MODELS)
def test_a_file_holds_what_its_model_is_made_of(name):
    """Whatever option is a number, a large one makes no more than the file holds; its own makes the same model."""
    model = model_of(name)
    sizes = [value.numel() for value in model.state_dict().values()]
    with bounded(sum(sizes), len(sizes)):
        again = registry.rebuild(model.config)
    assert again.state_dict().keys() == model.state_dict().keys()
    for option, value in model.config["options"].items():
        if type(value) is int:
            config = {**model.config, "options": {**model.config["options"], option: 10**9}}
            try:
                with bounded(sum(sizes), len(sizes)):
                    large = registry.rebuild(config)
            except ZooError:
                continue
            assert sum(part.numel() for part in large.parameters()) == sum(p.numel() for p in model.parameters())


def test_a_probe_opens_no_file_that_a_checkpoint_names(tmp_path):
    vae = zoo.save(model_of("vae"), tmp_path / "vae")
    probe = zoo.create("probe", model_of("vae").spec, encoder=str(vae))
    (tmp_path / "a.ckpt").write_bytes(saved(content_of(probe)))
    zoo.save(probe, tmp_path / "release")
    shutil.rmtree(vae)
    for path in (tmp_path / "a.ckpt", tmp_path / "release"):  # it stores what it needs
        state = zoo.load(path).state_dict()
        assert all(torch.equal(state[key], value) for key, value in probe.state_dict().items())
    content = content_of(probe)
    content["zoo"]["model"]["options"]["encoder"] = str(tmp_path / "release")
    (tmp_path / "a.ckpt").write_bytes(saved(content))
    with pytest.raises(CheckpointError, match="encoder is the path"):
        zoo.load(tmp_path / "a.ckpt")


def test_a_probe_of_a_probe(tmp_path):
    probe = zoo.create("probe", model_of("vae").spec, encoder=model_of("vae").config)
    with pytest.raises(ZooError, match="is a probe"):
        zoo.create("probe", probe.spec, encoder=probe.config)
    with pytest.raises(ZooError, match="is a probe"):
        zoo.create("probe", probe.spec, encoder=str(zoo.save(probe, tmp_path / "probe")))


def test_a_weight_that_changed_is_noticed(tmp_path):
    path = tmp_path / "a.ckpt"
    path.write_bytes(saved(content_of(model_of("mlp"))))
    with zipfile.ZipFile(path) as members:
        place = members.getinfo("archive/data/2").header_offset + 150
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"damaged one: the checksum"):
        zoo.load(path)


def test_numbers_are_mapped_from_the_file(tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save({"x": torch.arange(5), "y": [1, "a"]}, path)
    found = archive.read(path)
    assert found["y"] == [1, "a"]
    assert torch.equal(found["x"], torch.arange(5))


# --- what a training goes on with -----------------------------------------------------------------------------------


def test_a_training_has_a_shape(known, tmp_path):
    path = tmp_path / "last.ckpt"
    whole = known["run that is resumed"].files["last.ckpt"]
    path.write_bytes(whole)
    state = checkpoint.read_training(path)
    for key, value in (
        ("rng", {"cpu": torch.zeros(3, dtype=torch.uint8)}), ("rng", {}), ("loops", {}), ("loops", None),
        ("optimizer_states", [{"state": {0: {}}, "param_groups": []}]), ("optimizer_states", [3]),
        ("lr_schedulers", ["x"]), ("callbacks", []), ("global_step", -1), ("loader", {"next": "a"}),
        ("em", {"converged": 1}), ("so_far", []),
    ):  # fmt: skip
        with pytest.raises(CheckpointError, match=rf"last\.ckpt cannot be gone on from.*{key}"):
            checkpoint.check_training({**state, key: value}, path)


@pytest.mark.parametrize("place", ["optimizer_states", "loops", "lr_schedulers", "callbacks"])
def test_what_does_not_fit_a_training_is_no_traceback(known, tmp_path, place):
    state = {}
    rng = random.Random(0)
    for _ in range(25):
        (tmp_path / "last.ckpt").write_bytes(known["run that is resumed"].files["last.ckpt"])
        state = torch.load(tmp_path / "last.ckpt", weights_only=True)
        state[place] = changed(state[place], rng)
        with contextlib.suppress(CheckpointError):  # anything else is a failure
            checkpoint.check_training(state, tmp_path / "last.ckpt")


def test_moments_of_other_weights(known, tmp_path):
    reader = known["run that is resumed"]
    for name, content in reader.files.items():
        (tmp_path / name).write_bytes(content)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    state["optimizer_states"][0]["state"][0]["exp_avg"] = torch.zeros(3, 3)
    torch.save(state, tmp_path / "last.ckpt")
    with pytest.raises(ZooError, match=r"cannot be gone on from: an optimiser's exp_avg"):
        reader.read(tmp_path)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("seed: ${oc.env:HOME}", "seed"),
        ("seed: 1.5", "seed"),
        ("sead: 1", "sead"),
        ("compile: [1]", "compile"),
    ],
)
def test_a_runs_config_is_checked(known, tmp_path, line, words):
    reader = known["run's config"]
    for name, content in reader.files.items():
        (tmp_path / name).write_bytes(content)
    reader.read(tmp_path)
    key = line.partition(":")[0]
    text = (tmp_path / "config.yaml").read_text()
    kept = [other for other in text.splitlines() if not other.startswith(f"{key}:")]
    (tmp_path / "config.yaml").write_text("\n".join([*kept, line]))
    with pytest.raises(ConfigError, match=words):
        reader.read(tmp_path)
    (tmp_path / "config.yaml").write_text("\n".join(kept) if key in ("compile", "sead") else text)
    reader.read(tmp_path)  # of an earlier version, which did not have all keys


# --- plain data -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [("&a [*a]", "holds itself"), ("[" * 1000, "no YAML"), ("a: 1\na: 2", "stands there twice"),
     ("a: !!python/name:os.x", "no YAML"),
     ("a: 0x" + "f" * 100, "bits"), ("\0", "no YAML")],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_yaml_that_is_no_plain_data(tmp_path, text, words):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(DataError, match=words):
        plain.read_yaml(tmp_path / "a.yaml", DataError)


def test_yaml_is_read_as_hydra_reads_it(tmp_path):
    """``1e-3`` is a number, and a date is text."""
    (tmp_path / "a.yaml").write_text("{a: 1e-3, b: 2020-02-31, c: .inf, d: '1e3'}")
    assert plain.read_yaml(tmp_path / "a.yaml") == {"a": 0.001, "b": "2020-02-31", "c": float("inf"), "d": "1e3"}


def test_models_are_loaded_by_several_threads(tmp_path):
    """The bounds of one are not those of another, nor of what is made beside it."""
    spec = zoo.DataSpec((1, 8, 8), 10)
    paths = []
    for width in (8, 300):
        paths.append(zoo.save(zoo.create("mlp", spec, hidden_sizes=[width, width]), tmp_path / str(width)))
    with ThreadPoolExecutor(3) as pool:
        loads = [pool.submit(zoo.load, paths[number % 2]) for number in range(40)]
        made = [pool.submit(torch.nn.Linear, 1000, 1000) for _ in range(40)]
        assert all(future.result() is not None for future in [*loads, *made])


def test_a_model_that_could_not_be_loaded_again_is_not_begun(monkeypatch):
    """A machine of 128 random features has 8,192 frequencies that are not stored, and 260 weights."""
    zoo.create("svm", zoo.DataSpec((1, 8, 8), 2), num_features=128)
    monkeypatch.setattr("zoo.base.bounded.AT_ONCE", 4096)
    with pytest.raises(zoo.ZooError, match="values that are not stored"):
        zoo.create("svm", zoo.DataSpec((1, 8, 8), 2), num_features=128)


def test_weights_of_another_kind_are_refused(tmp_path):
    folder = zoo.save(zoo.create("mlp", zoo.DataSpec((1, 4, 4), 3), hidden_sizes=[2]), tmp_path / "a")
    state = load_file(folder / "model.safetensors")
    for dtype in (torch.complex64, torch.int64):
        save_file({key: value.to(dtype) for key, value in state.items()}, folder / "model.safetensors")
        with pytest.raises(zoo.CheckpointError, match=r"and the model.s is of torch\.float32"):
            zoo.load(folder)


def test_what_is_no_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, words in ((tmp_path / "pipe", "a named pipe"), (tmp_path, "a folder"), (tmp_path / "no", "No such file")):
        with pytest.raises(DataError, match=words):
            plain.read_json(path, DataError)


# --- ZOO_MODELS -----------------------------------------------------------------------------------------------------


def test_broken_files_of_ones_own_are_named_when_they_are_asked_for(tmp_path):
    (tmp_path / "mynet.py").write_text("import zoo\n\nnet = undefined\n")
    (tmp_path / "mynet.yaml").write_text("name: mynet\nwidth: [1\n")
    own = {"ZOO_MODELS": str(tmp_path)}
    helped = command("train.py", "--help", **own)
    assert (helped.returncode, helped.stderr) == (0, "")
    assert command("scripts/evaluate.py", "--help", **own).returncode == 0
    asked = command("train.py", "model=mynet", **own)
    assert asked.returncode == 2
    assert asked.stderr.startswith(f"error: {tmp_path}/mynet.yaml is no YAML")
    assert len(asked.stderr.splitlines()) <= 2
    (tmp_path / "mynet.yaml").write_text("name: mynet\n")
    asked = command("train.py", "model=mynet", **own)
    assert asked.returncode == 2
    assert asked.stderr.startswith(f"error: {tmp_path}/mynet.py cannot be imported: NameError in line 3")
