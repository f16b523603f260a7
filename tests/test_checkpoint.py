"""Checkpoints: what is written comes back bit for bit, and nothing that a file contains is ever executed."""

import builtins
import hashlib
import json
import math
import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import lightning.pytorch as L
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import zoo
from zoo import registry
from zoo.checkpoint import read
from zoo.errors import CheckpointError, ZooError

REPOSITORY = Path(zoo.__file__).parents[1]
TRAINING_STACK = ("lightning", "pytorch_lightning", "lightning_fabric", "torchmetrics", "hydra", "omegaconf")


pytestmark = pytest.mark.usefixtures("one_thread")


def train(directory, data, name, options, **learner_options):
    """A learner after one epoch, with its file ``last.ckpt``."""
    learner = zoo.ClassificationLearner(zoo.create(name, data.spec, **options), **learner_options)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=1,
        default_root_dir=directory,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(learner, data)
    trainer.save_checkpoint(directory / "last.ckpt")
    return learner, directory / "last.ckpt"


@pytest.fixture(scope="module")
def digits():
    return zoo.ImageDataModule("digits", val_size=100, train_size=500)


@pytest.fixture(scope="module")
def images(digits):
    return digits.splits.test.images[:32].float() / 255


@pytest.fixture(scope="module")
def plain(tmp_path_factory, digits):
    """An MLP trained without an average of its weights: learner and file."""
    return train(tmp_path_factory.mktemp("plain"), digits, "mlp", {"hidden_sizes": [16]})


@pytest.fixture(scope="module")
def averaged(tmp_path_factory, digits):
    """The same with an average."""
    return train(tmp_path_factory.mktemp("averaged"), digits, "mlp", {"hidden_sizes": [16]}, ema=0.9)


@pytest.fixture(scope="module")
def machine(tmp_path_factory, digits):
    """An RBF machine whose projection is 32 times as large as its weights."""
    options = {"kernel": "rbf", "num_features": 4096, "bandwidth": 0.3, "seed": 7}
    return train(tmp_path_factory.mktemp("machine"), digits, "svm", options)


@pytest.fixture
def released(tmp_path, plain):
    return zoo.save(zoo.load(plain[1]), tmp_path / "release")


@pytest.fixture
def guest():
    """A model that only this process knows: tied weights, a view as a buffer, and a list of lists as an option."""

    @zoo.register("guest")
    class Guest(zoo.Model):
        def __init__(self, spec, grid=((1, 2), (3, 4)), known=True):
            super().__init__()
            self.spec = spec
            self.grid = grid
            self.first = nn.Linear(3, 3)
            self.second = nn.Linear(3, 3)
            self.second.weight = self.first.weight
            self.register_buffer("view", torch.arange(6.0).view(2, 3).t())

    yield Guest
    registry._CLASSES.pop("guest", None)


def write(path, content):
    torch.save(content, path)
    return path


def refused(path, *words, **options):
    """``zoo.load`` raises a ``CheckpointError`` of one line that holds these words."""
    with pytest.raises(CheckpointError) as error:
        zoo.load(path, **options)
    message = str(error.value)
    assert len(message.splitlines()) == 1, message
    assert all(str(word) in message for word in words), (message, words)


def logits(model, x):
    with torch.no_grad():
        return model(x)


# --- what comes back -------------------------------------------------------------------------------------------------


def test_load_gives_the_trained_model(plain, images):
    learner, path = plain
    model = zoo.load(path)
    assert type(model) is type(learner.model)
    assert not any(module.training for module in model.modules())
    assert all(tensor.device.type == "cpu" for tensor in model.state_dict().values())
    assert model.config == learner.model.config
    assert model.spec == learner.model.spec
    assert torch.equal(logits(model, images), logits(learner.model.eval(), images))
    assert (zoo.classify(model, images).argmax(1) == zoo.classify(learner.model, images).argmax(1)).all()


def test_the_path_may_be_a_string(plain, images):
    assert torch.equal(logits(zoo.load(str(plain[1])), images), logits(zoo.load(plain[1]), images))


def test_best_is_preferred_in_a_run_directory(tmp_path, plain):
    checkpoint = torch.load(plain[1], weights_only=True)
    for name, value in (("last", 1.0), ("best", 2.0)):
        checkpoint["state_dict"]["model.head.bias"].fill_(value)
        write(tmp_path / f"{name}.ckpt", checkpoint)
        assert (zoo.load(tmp_path).head.bias == value).all()
    (tmp_path / "best.ckpt").unlink()
    assert (zoo.load(tmp_path).head.bias == 1).all()


def test_the_average_is_loaded_where_there_is_one(averaged, images):
    learner, path = averaged
    smooth, raw = zoo.load(path), zoo.load(path, ema=False)
    assert torch.equal(logits(smooth, images), logits(learner.ema.module.eval(), images))
    assert torch.equal(logits(raw, images), logits(learner.model.eval(), images))
    assert not torch.equal(smooth.head.weight, raw.head.weight)


def test_without_an_average_ema_makes_no_difference(plain, images):
    assert torch.equal(logits(zoo.load(plain[1], ema=True), images), logits(zoo.load(plain[1], ema=False), images))


@pytest.mark.parametrize("kind", ["plain", "averaged"])
def test_the_lightning_way(kind, request, images):
    learner, path = request.getfixturevalue(kind)
    loaded = zoo.ClassificationLearner.load_from_checkpoint(path).eval()
    assert dict(loaded.hparams) == dict(learner.hparams)
    assert loaded.state_dict().keys() == learner.state_dict().keys()
    for key, value in learner.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
    with torch.no_grad():
        assert torch.equal(loaded(images), logits(zoo.load(path), images))


def test_the_projection_of_a_machine_is_not_stored(tmp_path, machine, images):
    learner, path = machine
    folder = zoo.save(learner.model, tmp_path / "release")
    projection = learner.model.frequencies.numel() * 4
    assert path.stat().st_size < projection / 10  # weights and the optimiser's two moments
    assert (folder / "model.safetensors").stat().st_size < projection / 30
    for loaded in (zoo.load(path), zoo.load(folder)):
        assert torch.equal(loaded.frequencies, learner.model.frequencies)
        assert torch.equal(logits(loaded, images), logits(learner.model.eval(), images))


def test_the_temperature_of_a_machine_comes_back(machine, images):
    learner, path = machine
    model = zoo.load(path)
    assert model.temperature == learner.model.temperature != 1
    assert torch.equal(zoo.classify(model, images), (logits(model, images) / model.temperature).log_softmax(1))


# --- what a file holds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["plain", "averaged", "machine"])
def test_a_checkpoint_holds_plain_data_only(kind, request):
    """Read without restrictions, so that whatever is inside is seen."""

    def walk(value, where):
        assert type(value) in (torch.Tensor, dict, OrderedDict, list, tuple, str, int, float, bool, type(None)), where
        if isinstance(value, dict):
            for key, entry in value.items():
                walk(key, where)
                walk(entry, f"{where}.{key}")
        elif isinstance(value, list | tuple):
            for entry in value:
                walk(entry, f"{where}[]")

    checkpoint = torch.load(request.getfixturevalue(kind)[1], weights_only=False)
    walk(checkpoint, "checkpoint")
    assert checkpoint["zoo"]["format"] == 1
    assert json.loads(json.dumps(checkpoint["zoo"])) == checkpoint["zoo"]


def test_a_checkpoint_needs_nothing_of_what_trained_it(tmp_path, averaged, images):
    """A process that cannot import Lightning, Hydra, OmegaConf or torchmetrics reads the file and asks the model."""
    program = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {TRAINING_STACK!r}:
            raise ImportError(name + " is not installed here")

sys.meta_path.insert(0, Absent())
import torch
torch.set_num_threads(1)
checkpoint, images, result = sys.argv[1:]
assert torch.load(checkpoint, weights_only=True)["zoo"]["model"]["name"] == "mlp"
import zoo
torch.save(zoo.classify(zoo.load(checkpoint), torch.load(images)), result)
try:
    import lightning
except ImportError:
    print("absent")
"""
    torch.save(images, tmp_path / "images.pt")
    command = [
        sys.executable,
        "-c",
        program,
        str(averaged[1]),
        str(tmp_path / "images.pt"),
        str(tmp_path / "result.pt"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (0, "absent\n"), done.stderr
    assert torch.equal(torch.load(tmp_path / "result.pt"), zoo.classify(zoo.load(averaged[1]), images))


# --- files that are no checkpoint ------------------------------------------------------------------------------------


def test_a_missing_file(tmp_path):
    refused(tmp_path / "none.ckpt", "none.ckpt", "does not exist")


def test_an_empty_file(tmp_path):
    (tmp_path / "a.ckpt").touch()
    refused(tmp_path / "a.ckpt", "a.ckpt", "is empty")


def test_a_directory_without_a_checkpoint(tmp_path):
    (tmp_path / "notes.txt").touch()
    refused(tmp_path, tmp_path, "best.ckpt", "last.ckpt", "config.json")


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999, -1])
def test_a_truncated_file(tmp_path, plain, share):
    checkpoint = torch.load(plain[1], weights_only=True)
    torch.save(checkpoint, tmp_path / "a.ckpt")
    zoo.load(tmp_path / "a.ckpt")
    content = (tmp_path / "a.ckpt").read_bytes()
    (tmp_path / "a.ckpt").write_bytes(content[: -1 if share == -1 else math.ceil(len(content) * share)])
    refused(tmp_path / "a.ckpt", "a.ckpt", "no checkpoint")


@pytest.mark.parametrize(
    "content",
    [
        torch.randint(256, (5000,), generator=torch.Generator().manual_seed(0)).to(torch.uint8).numpy().tobytes(),
        b"\x80",
        b"PK\x03\x04",
        b"epoch,accuracy\n0,0.9\n",
        "grüße".encode(),
        b"\x89PNG\r\n\x1a\n",
        b"\0" * 100,
        pickle.dumps([1, 2, 3]),
        json.dumps({"zoo": {"format": 1}}).encode(),
    ],
    ids=["random", "byte", "zip", "csv", "text", "picture", "zeros", "pickle", "json"],
)
def test_a_file_of_another_kind(tmp_path, content):
    (tmp_path / "a.ckpt").write_bytes(content)
    refused(tmp_path / "a.ckpt", "a.ckpt", "no checkpoint")


def test_damaged_bytes_anywhere_are_an_error_or_harmless(tmp_path, plain):
    """Whatever the reader makes of them is a ``CheckpointError``; no weight changes without a word."""
    checkpoint = torch.load(plain[1], weights_only=True)
    entries = {key: checkpoint[key] for key in ("state_dict", "zoo")}
    torch.save(entries, tmp_path / "a.ckpt")
    content = (tmp_path / "a.ckpt").read_bytes()
    expected = zoo.load(tmp_path / "a.ckpt").state_dict()
    generator = torch.Generator().manual_seed(0)
    places = torch.randint(len(content), (150,), generator=generator).tolist()
    errors = []
    for place, value in zip(places, torch.randint(256, (150,), generator=generator).tolist(), strict=True):
        (tmp_path / "a.ckpt").write_bytes(content[:place] + bytes([value]) + content[place + 1 :])
        try:
            state = zoo.load(tmp_path / "a.ckpt").state_dict()
        except CheckpointError as error:
            errors.append(str(error))
        else:
            assert all(torch.equal(state[key], tensor) for key, tensor in expected.items())
    assert len(errors) > 50
    assert all(len(error.splitlines()) == 1 for error in errors)


@pytest.mark.parametrize(
    "content",
    [
        nn.Linear(2, 2).state_dict(),
        {"state_dict": nn.Linear(2, 2).state_dict(), "epoch": 3},
        {"zoo": {"format": 1}, "epoch": 3},
        torch.zeros(3),
        [1, 2],
        "text",
        None,
    ],
    ids=["tensors", "lightning", "weightless", "tensor", "list", "string", "none"],
)
def test_a_file_of_another_program(tmp_path, content):
    refused(write(tmp_path / "a.ckpt", content), "a.ckpt", "another program")


@pytest.mark.parametrize(("name", "reason"), [("", "is a folder"), ("none.ckpt", "No such file")])
def test_what_cannot_be_read(tmp_path, name, reason):
    with pytest.raises(CheckpointError, match=reason):
        read(tmp_path / name)


# --- files with a charge ---------------------------------------------------------------------------------------------


class Charge:
    """Unpickling it calls a function."""

    def __init__(self, function, argument):
        self.call = function, (argument,)

    def __reduce__(self):
        return self.call


CHARGES = {
    "os.system": lambda mark: Charge(os.system, f"touch '{mark}'"),
    "exec": lambda mark: Charge(builtins.exec, f"open({str(mark)!r}, 'w').close()"),
}


@pytest.mark.parametrize("layout", ["pickle", "zip", "legacy"])
@pytest.mark.parametrize("place", ["alone", "inside", "state_dict", "options"])
@pytest.mark.parametrize("charge", CHARGES)
def test_a_charge_does_not_go_off(tmp_path, plain, charge, place, layout):
    mark, path = tmp_path / "mark", tmp_path / "best.ckpt"
    bomb = CHARGES[charge](mark)
    checkpoint = torch.load(plain[1], weights_only=True)
    if place == "alone":
        checkpoint = bomb
    elif place == "inside":
        checkpoint["note"] = bomb
    elif place == "state_dict":
        checkpoint["state_dict"]["model.head.bias"] = bomb
    else:
        checkpoint["zoo"]["model"]["options"]["hidden_sizes"] = bomb
    if layout == "pickle":
        path.write_bytes(pickle.dumps(checkpoint))
    else:
        torch.save(checkpoint, path, _use_new_zipfile_serialization=layout == "zip")
    refused(path, "best.ckpt", "more than plain data" if layout == "zip" else "no checkpoint")
    refused(tmp_path, "best.ckpt")
    assert not mark.exists()
    pickle.loads(path.read_bytes()) if layout == "pickle" else torch.load(path, weights_only=False)
    assert mark.exists()  # it is live


def test_a_charge_does_not_go_off_the_lightning_way(tmp_path, plain):
    mark = tmp_path / "mark"
    content = {**torch.load(plain[1], weights_only=True), "note": CHARGES["exec"](mark)}
    with pytest.raises(pickle.UnpicklingError):
        zoo.ClassificationLearner.load_from_checkpoint(write(tmp_path / "a.ckpt", content))
    assert not mark.exists()


def test_a_charge_in_a_release_does_not_go_off(tmp_path, released):
    mark = tmp_path / "mark"
    (released / "model.safetensors").write_bytes(pickle.dumps(CHARGES["exec"](mark)))
    refused(released, "release")
    assert not mark.exists()


@pytest.mark.parametrize(
    "name", ["os.system", "zoo.models.cnn.CNN", "builtins.exec", "../cnn", "_classifier", "", "mlp2"]
)
def test_only_registered_names_become_classes(tmp_path, plain, released, name):
    checkpoint = torch.load(plain[1], weights_only=True)
    checkpoint["zoo"]["model"]["name"] = name
    config = json.loads((released / "config.json").read_text())
    config["model"]["name"] = name
    (released / "config.json").write_text(json.dumps(config))
    for path in (write(tmp_path / "a.ckpt", checkpoint), released):
        refused(path, repr(name), "not known here", "ZOO_MODELS")


# --- files that say something impossible -----------------------------------------------------------------------------


def change(checkpoint, where, value):
    """Set ``checkpoint["zoo"]["model"]…`` for a path such as ``"zoo model spec shape"``; ``...`` removes the entry."""
    *parents, last = where.split()
    for key in parents:
        checkpoint = checkpoint[key]
    if value is ...:
        del checkpoint[last]
    else:
        checkpoint[last] = value


@pytest.mark.parametrize(
    ("where", "value", "words"),
    [
        ("zoo format", 2, ["format 2", "format 1"]),
        ("zoo format", "1", ["format '1'"]),
        ("zoo format", None, ["format None"]),
        ("zoo format", ..., ["format None"]),
        ("zoo format", torch.tensor([1, 1]), ["format"]),
        ("zoo model", ..., ["does not say which model"]),
        ("zoo model", ["mlp"], ["does not say which model"]),
        ("zoo model name", 5, ["does not say which model"]),
        ("zoo model spec", [1, 28, 28], ["does not say which model"]),
        ("zoo model options", None, ["does not say which model"]),
        ("zoo model options", {"hiden_sizes": [16]}, ["'hiden_sizes'", "did you mean 'hidden_sizes'"]),
        ("zoo model options", {"name": "mlp"}, ["cannot be built"]),
        ("zoo model options", {5: 5}, ["cannot be built"]),
        ("zoo model options hidden_sizes", [17], ["do not fit", "'mlp'"]),
        ("zoo model options hidden_sizes", [16, 16], ["do not fit", "'mlp'"]),
        ("zoo model options hidden_sizes", "abc", ["cannot be built", "'mlp'"]),
        ("zoo model options hidden_sizes", [-1], ["cannot be built", "hidden_sizes"]),
        ("zoo model options hidden_sizes", [1.5], ["cannot be built"]),
        ("zoo model options hidden_sizes", torch.zeros(2, 2), ["cannot be built"]),
        ("zoo model options hidden_sizes", [10**15], ["cannot be built"]),
        ("zoo model options hidden_sizes", [10**30], ["cannot be built"]),
        ("zoo model options dropout", None, ["cannot be built"]),
        ("zoo model options dropout", 1.0, ["cannot be built", "dropout"]),
        ("zoo model spec shape", "abc", ["shape", "'abc'"]),
        ("zoo model spec shape", [28, 28], ["shape"]),
        ("zoo model spec shape", [1, 28.5, 28], ["shape"]),
        ("zoo model spec shape", [1, 28, -28], ["shape"]),
        ("zoo model spec shape", None, ["shape"]),
        ("zoo model spec shape", [3, 28, 28], ["mean has 1 entries where 3"]),
        ("zoo model spec num_classes", "ten", ["num_classes", "'ten'"]),
        ("zoo model spec num_classes", 0, ["num_classes"]),
        ("zoo model spec num_classes", 11, ["class_names has 10 entries where 11"]),
        ("zoo model spec class_names", list(range(10)), ["class_names"]),
        ("zoo model spec class_names", 3, ["class_names"]),
        ("zoo model spec mean", ["a"], ["mean"]),
        ("zoo model spec mean", [math.nan], ["mean"]),
        ("zoo model spec std", [0.0], ["std"]),
        ("zoo model spec std", 1.0, ["std"]),
        ("zoo model spec invert", "auto", ["unknown", "invert"]),  # beside settings, which hold it
        ("zoo model spec settings", ["auto"], ["settings", "auto"]),
        ("zoo model spec settings", {1: "auto"}, ["settings"]),
        ("zoo model spec settings", {"invert": {"a": 1}}, ["settings", "invert"]),
        ("zoo model spec kind", 3, ["kind"]),
        ("zoo model spec values", "gray", ["values", "grey, real", "'gray'"]),
        ("zoo model spec missing", "no", ["missing"]),
        ("zoo model spec columns", ["a"], ["columns has 1 entries where 28"]),
        ("zoo model spec vocabulary", [1], ["vocabulary"]),
        ("zoo model spec colour", "red", ["colour"]),
        ("zoo model spec", {1: 2, "a": 3}, ["1, a"]),
        ("zoo", 1, ["another program"]),
        ("state_dict", {}, ["do not fit", "head.weight"]),
        ("state_dict", [1], ["another program"]),
        ("state_dict", {3: torch.zeros(2)}, ["another program"]),
        ("state_dict model.head.bias", ..., ["do not fit", "head.bias"]),
        ("state_dict model.head.bias", "text", ["do not fit", "head.bias"]),
        ("state_dict model.head.bias", torch.zeros(11), ["do not fit", "head.bias"]),
        ("state_dict model.tail.bias", torch.zeros(11), ["do not fit", "tail.bias"]),
    ],
)
def test_an_impossible_entry_is_named(tmp_path, plain, where, value, words):
    checkpoint = torch.load(plain[1], weights_only=True)
    change(checkpoint, where, value)
    refused(write(tmp_path / "a.ckpt", checkpoint), "a.ckpt", *words)


def test_a_model_that_is_not_registered_here(tmp_path, guest):
    folder = zoo.save(zoo.create("guest"), tmp_path / "release")
    assert type(zoo.load(folder)) is guest
    registry._CLASSES.pop("guest")
    refused(folder, "'guest'", "import the module", "ZOO_MODELS")


# --- releases --------------------------------------------------------------------------------------------------------


def test_a_release_comes_back(tmp_path, averaged, images):
    model = zoo.load(averaged[1])
    folder = zoo.save(model, tmp_path / "new" / "release", card="# Grüße\n")
    assert folder == tmp_path / "new" / "release"
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert (folder / "README.md").read_text("utf-8") == "# Grüße\n"
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert json.loads((folder / "config.json").read_text()) == {"format": 1, "model": model.config, "sha256": digest}
    loaded = zoo.load(folder)
    assert type(loaded) is type(model)
    assert not any(module.training for module in loaded.modules())
    assert loaded.config == model.config
    assert torch.equal(logits(loaded, images), logits(model, images))
    assert load_file(folder / "model.safetensors").keys() == model.state_dict().keys()


def test_a_release_may_be_moved(tmp_path, released, images):
    expected = logits(zoo.load(released), images)
    assert torch.equal(logits(zoo.load(released.rename(tmp_path / "elsewhere")), images), expected)


def test_others_may_read_a_release(released):
    assert released.stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in released.iterdir()} == {0o644}


def test_a_release_tells_how_to_load_it(released):
    assert 'zoo.load("release")' in (released / "README.md").read_text()


def test_a_convolutional_release_comes_back(tmp_path):
    """Its weights lie in memory with the channels last."""
    spec = zoo.DataSpec((3, 8, 8), 4)
    model = zoo.create("cnn", spec, channels=[4, 8]).eval()
    x = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(logits(zoo.load(zoo.save(model, tmp_path / "release")), x), logits(model, x))


def test_tied_weights_and_views_are_released(tmp_path, guest):
    model = zoo.create("guest", grid=((5, 6), (7,)))
    loaded = zoo.load(zoo.save(model, tmp_path / "release"))
    assert loaded.first.weight is loaded.second.weight
    assert loaded.grid == [[5, 6], [7]]
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)


def test_a_release_never_overwrites(released, plain):
    content = {path: path.read_bytes() for path in released.iterdir()}
    with pytest.raises(CheckpointError, match="exists already"):
        zoo.save(zoo.load(plain[1]), released)
    assert {path: path.read_bytes() for path in released.iterdir()} == content
    assert [path.name for path in released.parent.iterdir()] == ["release"]


@pytest.mark.parametrize("kind", ["card", "model"])
def test_a_failed_release_leaves_nothing(tmp_path, plain, kind):
    model = zoo.load(plain[1])
    if kind == "model":
        model.register_buffer("strange", torch.zeros(2).to_sparse())  # safetensors cannot hold it
    with pytest.raises((TypeError, RuntimeError, ValueError, NotImplementedError)):
        zoo.save(model, tmp_path / "release", card=b"bytes" if kind == "card" else "text")
    assert not list(tmp_path.iterdir())


def test_a_model_that_does_not_know_how_it_was_built(tmp_path):
    with pytest.raises(ZooError, match=r"zoo\.create"):
        zoo.save(nn.Linear(2, 2), tmp_path / "release")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"5", b"null", b"\xff\xfe\x00", b"[" * 100_000, b"text", b"\x00" * 1000, -1, 10, 0.5],
    ids=lambda value: str(value)[:12],
)
def test_a_damaged_release(released, file, content):
    """Other content, or the file's own up to a place."""
    path = released / file
    if not isinstance(content, bytes):
        whole = path.read_bytes()
        content = whole[: int(len(whole) * content) if isinstance(content, float) else content]
        if file == "config.json" and content == whole[:-1]:
            content = whole[:-2]  # more than the last line's end
    path.write_bytes(content)
    refused(released, "release")


def test_a_release_without_weights(released):
    (released / "model.safetensors").unlink()
    refused(released, "release", "model.safetensors")


def test_a_release_with_the_weights_of_another(released):
    state = load_file(released / "model.safetensors")
    save_file({**state, "head.bias": torch.zeros(3)}, released / "model.safetensors")
    refused(released, "do not fit", "head.bias")


def test_a_release_of_an_unknown_format(released):
    config = json.loads((released / "config.json").read_text())
    (released / "config.json").write_text(json.dumps({**config, "format": 99}))
    refused(released, "release", "format 99", "format 1")


def test_a_release_that_could_not_be_read_is_not_written(tmp_path, monkeypatch):
    model = zoo.create("logistic_regression")
    monkeypatch.setattr(zoo.checkpoint, "CONFIG", 100)
    with pytest.raises(CheckpointError, match="at most 100 are read"):
        zoo.save(model, tmp_path / "release")
    assert not list(tmp_path.iterdir())
