"""The ground that everything stands on: the same run twice, on other devices, with other versions of packages."""

import argparse
import csv
import json
import multiprocessing
import os
import subprocess
import sys
import tomllib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from unittest import mock

import lightning.pytorch as L
import pytest
import torch
from conftest import ROOT, run_train
from filelock import FileLock
from hydra._internal.utils import get_args_parser
from packaging.requirements import Requirement

import zoo
from zoo import capability, config
from zoo.command import late_help
from zoo.models.mlp import MLP

pytestmark = pytest.mark.usefixtures("one_thread")

MODELS = zoo.list_models()
FORWARD = MLP.forward
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# the recipe of each model, cut short
CUT = ("logger=none", "trainer=cpu", "trainer.max_epochs=1", "trainer.limit_train_batches=2")
CHARACTERS = ["data=grammar", "data.reads=characters", "data.longest=32"]
SMALL = {  # where one step takes seconds
    "m2": ["model.hidden_sizes=[32]", "model.importance_samples=4"],
    "svm": ["model.num_features=512"],
    "nbsvm": ["data=grammar"],  # of texts alone
    "ngram": CHARACTERS,
    "autoregressive": ["model.channels=4", "model.blocks=2"],
    "flow_matching": ["model.channels=[4]", "model.blocks=1", "model.steps=2"],
    "gpt": [*CHARACTERS, "model.width=16"],
    "rnnlm": [*CHARACTERS, "model.hidden_size=16"],
}
EVERY_RUN = (
    "import sys; from pathlib import Path; import torch; torch.set_num_threads(int(sys.argv[2])); import zoo; "
    "from conftest import run_train; from test_ground import recipe; "
    "[run_train(Path(sys.argv[1], name), *recipe(name)) for name in zoo.list_models()]"
)


def recipe(name: str) -> list[str]:
    return [f"model={name}", *CUT, *SMALL.get(name, [])]


def every_run(folder: Path, threads: int = 1) -> Path:
    """A run of each model in ``folder``, in one process of their own."""
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": str(threads)}
    words = [sys.executable, "-c", EVERY_RUN, str(folder), str(threads)]
    subprocess.run(words, env=environment, check=True, capture_output=True, timeout=600)
    return folder


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory) -> Path:
    """The runs of another process, made once for all processes of the tests."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "ground"
    with FileLock(f"{folder}.lock"):
        return folder if folder.is_dir() else every_run(folder)


def left(run: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, str]], dict]:
    """What a run leaves that no clock has touched: weights, curves, figures of the test."""
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    summary = json.loads((run / "summary.json").read_text())
    for row in (*rows, summary["last_epoch"]):
        del row["images_per_second"]
    state = torch.load(run / "last.ckpt", weights_only=True)["state_dict"]
    return state, rows, {key: summary[key] for key in ("test", "last_epoch", "steps", "parameters", "fingerprint")}


def assert_same(first: Path, second: Path) -> None:
    (weights, *figures), (others, *other_figures) = left(first), left(second)
    assert weights.keys() == others.keys()
    assert not [key for key, value in weights.items() if not torch.equal(value, others[key])]
    assert figures == other_figures


def only(folder: Path) -> Path:
    (run,) = folder.iterdir()
    return run


@pytest.mark.parametrize("name", MODELS)
def test_the_same_seed_gives_the_same_run(name, elsewhere, tmp_path):
    """To the last bit, in a process of its own and in this one, where other runs have been."""
    torch.rand(7)
    run = run_train(tmp_path / "runs", *recipe(name))
    assert_same(run, only(elsewhere / name))
    machine = json.loads((run / "summary.json").read_text())["machine"]
    assert machine["threads"] == torch.get_num_threads() == 1


@pytest.mark.parametrize("name", MODELS)
def test_an_evaluation_repeats_the_summary(name, elsewhere, tmp_path):
    """To the last digit."""
    run = only(elsewhere / name)
    evaluate(f"ckpt={run}", f"json={tmp_path / 'figures.json'}")
    figures = json.loads((tmp_path / "figures.json").read_text())
    test = json.loads((run / "summary.json").read_text())["test"]
    assert {key: figures[key] for key in test} == test
    assert test


def evaluate(*words: str) -> None:
    """``python scripts/evaluate.py`` in this process."""
    from zoo.commands import evaluate as script

    with mock.patch.object(sys, "argv", [str(ROOT / "scripts/evaluate.py"), *words]):
        script.main()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run_on_two_threads(tmp_path):
    first, second = (every_run(tmp_path / name, threads=2) for name in ("first", "second"))
    for name in MODELS:
        assert_same(only(first / name), only(second / name))
        summary = json.loads((only(first / name) / "summary.json").read_text())
        assert summary["machine"]["threads"] == 2


# trainer.deterministic


@pytest.fixture
def as_before():
    """Lightning's setting is the process's."""
    with mock.patch.dict(os.environ):
        os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
        yield
        torch.use_deterministic_algorithms(False)


def test_deterministic_is_set_and_changes_nothing_on_the_cpu(as_before, elsewhere, tmp_path):
    settings = set()

    def forward(model: MLP, x: torch.Tensor) -> torch.Tensor:
        warns = torch.is_deterministic_algorithms_warn_only_enabled()
        # the last is what cuBLAS asks for
        settings.add((torch.are_deterministic_algorithms_enabled(), warns, os.environ.get("CUBLAS_WORKSPACE_CONFIG")))
        return FORWARD(model, x)

    with mock.patch.object(MLP, "forward", forward):
        run = run_train(tmp_path / "runs", *recipe("mlp"), "trainer.deterministic=true")
    assert settings == {(True, False, ":4096:8")}
    assert_same(run, only(elsewhere / "mlp"))


def varying(model: MLP, x: torch.Tensor) -> torch.Tensor:
    """With an operation that torch does not call deterministic on any device."""
    torch.zeros(3).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))
    return FORWARD(model, x)


def test_an_operation_whose_results_vary_is_refused_in_a_sentence(as_before, capsys, tmp_path):
    with mock.patch.object(MLP, "forward", varying):
        with pytest.raises(SystemExit) as stop:
            run_train(tmp_path / "runs", *recipe("mlp"), "trainer.deterministic=true")
        assert stop.value.code == 2
        assert capsys.readouterr().err == (
            "error: trainer.deterministic=true: put_ has results that vary here; trainer.deterministic=warn goes on\n"
        )
        assert not [*tmp_path.iterdir()]  # nothing of it is left
        with pytest.warns(UserWarning, match="put_ does not have a deterministic"):
            run_train(tmp_path / "runs", *recipe("mlp"), "trainer.deterministic=warn")


# Checkpoints of a GPU


@pytest.fixture
def from_a_gpu(tmp_path):
    """A run whose checkpoints say of each tensor that it was on the first GPU, random numbers among them."""

    def on_gpu(storage: torch.UntypedStorage) -> str:
        return "cuda:0"

    def with_stream(learner: L.LightningModule, state: dict) -> None:
        save(learner, state)
        state["rng"]["cuda"] = torch.zeros(16, dtype=torch.uint8)

    save = zoo.ClassificationLearner.on_save_checkpoint
    with (
        mock.patch.object(torch.serialization, "location_tag", on_gpu),
        mock.patch.object(zoo.ClassificationLearner, "on_save_checkpoint", with_stream),
    ):
        run = run_train(tmp_path / "runs", *recipe("mlp"))
    with mock.patch("torch.cuda.is_available", return_value=False), pytest.raises(RuntimeError, match="CUDA"):
        torch.load(run / "last.ckpt", weights_only=True)  # it does say so
    return run


def test_a_checkpoint_of_a_gpu_is_loaded_and_resumed_on_the_cpu(from_a_gpu, elsewhere, tmp_path):
    here = only(elsewhere / "mlp")
    weights = zoo.load(here).state_dict()
    for key, value in zoo.load(from_a_gpu).state_dict().items():
        assert value.device.type == "cpu"
        assert torch.equal(value, weights[key])
    evaluate(f"ckpt={from_a_gpu}")
    run_train(None, f"resume={from_a_gpu}", "trainer.max_epochs=2")
    straight = run_train(tmp_path / "straight", *recipe("mlp"), "trainer.max_epochs=2")
    assert torch.load(straight / "last.ckpt", weights_only=True)["global_step"] == 4
    resumed, going_on = (torch.load(run / "last.ckpt", map_location="cpu") for run in (from_a_gpu, straight))
    assert resumed["global_step"] == going_on["global_step"]


# Python


def answer(model: zoo.Model, x: torch.Tensor) -> torch.Tensor:
    questions = {"classify": zoo.classify, "log_prob": zoo.log_prob, "anomaly_score": zoo.anomaly_score}
    return next(ask for name, ask in questions.items() if capability.can(model, name))(model, x)


@pytest.mark.parametrize(  # the second is what Python 3.14 begins processes by
    "method", ["spawn", pytest.param("forkserver", marks=pytest.mark.slow)]
)
def test_models_go_to_other_processes(method, elsewhere):
    images = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    models = [zoo.load(only(elsewhere / name)) for name in MODELS]
    asked = [torch.tensor([[0, 5], [3, -1]]) if model.spec.kind == "tokens" else images for model in models]
    with ProcessPoolExecutor(1, multiprocessing.get_context(method), torch.set_num_threads, (1,)) as pool:
        for model, x, there in zip(models, asked, pool.map(answer, models, asked), strict=True):
            assert torch.equal(answer(model, x), there), model.name


@pytest.fixture
def python_3_14(monkeypatch):
    """What argparse does since Python 3.14: each help is formatted when its option is added."""

    def expand(self, action):
        return action.help if "%" not in action.help else action.help % vars(action)

    def check(self, action):
        try:
            expand(self, action)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError("badly formed help string") from error

    def add_action(self, action):
        if action.help:
            self._check_help(action)
        return add(self, action)

    add = argparse.ArgumentParser._add_action
    monkeypatch.setattr(argparse._ActionsContainer, "_check_help", check, raising=False)
    monkeypatch.setattr(argparse.ArgumentParser, "_add_action", add_action)


def test_hydra_makes_its_parser_on_python_3_14(python_3_14, tmp_path):
    check = argparse._ActionsContainer._check_help
    with late_help():
        parser = get_args_parser()
        with pytest.raises(ValueError, match="badly formed"):  # a text is looked at as ever
            parser.add_argument("--share", help="100 %(of)s")
    assert argparse._ActionsContainer._check_help is check
    assert run_train(tmp_path / "runs", *recipe("mlp")).is_dir()


def test_a_pickle_of_hydra_is_no_flag():
    with pytest.raises(zoo.ConfigError, match="unknown flag --experimental-rerun"):
        config.check_words(["--experimental-rerun", "config.pickle"])


# What is installed


def test_what_is_installed_is_what_is_declared():
    """A version below a declared bound, or a release that is excluded, would make every other test say nothing."""
    from importlib.metadata import version

    for line in PROJECT["project"]["dependencies"]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(version(wanted.name)), line


@pytest.mark.parametrize("release", ["2.6.2", "2.6.3"])
def test_malicious_releases_are_excluded(release):
    wanted = {Requirement(line).name: Requirement(line) for line in PROJECT["project"]["dependencies"]}
    assert not wanted["lightning"].specifier.contains(release)
