"""The search for good options: what it proposes, what it chooses, and how it goes on."""

import copy
import json
import math
import sys
from pathlib import Path
from unittest import mock

import optuna
import pytest
from conftest import CONFIGS
from optuna.trial import TrialState

import zoo
from zoo import config
from zoo.commands import train
from zoo.run import tune
from zoo.run.train import Done

FIXED = ["model=logistic_regression", "logger=none", "trainer=cpu", "trainer.max_epochs=1", "data.train_size=100"]
LR = "learner.optimizer.lr=tag(log,interval(1e-4,1))"


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def searched(monkeypatch):
    """A search whose trainings are a function of the settings."""

    real = config.settings

    def search(out: Path, trials: int, objective, *words: str, prune: bool = False, seed: int = 0) -> optuna.Study:
        def train(settings, resume, target, more):
            return Done(objective(settings, *more), target)

        monkeypatch.setattr(tune, "train", train)
        words = (*FIXED, *(words or (LR,)))
        fixed, space = tune.split(words)
        monkeypatch.setattr(config, "settings", real)
        composed, monitor = tune.check(fixed, space, CONFIGS)

        def settings(words, configs):  # which takes its time
            rate = next(float(word.partition("=")[2]) for word in words if word.startswith("learner.optimizer.lr="))
            return copy.deepcopy(composed) | {"learner": {"monitor": monitor, "optimizer": {"lr": rate}}}

        monkeypatch.setattr(config, "settings", settings)
        with tune.opened(out, words, monitor, prune) as study:
            tune.search(study, fixed, space, CONFIGS, out, trials, seed)
            return study

    return search


def near(settings, *_):
    """Is best, and 1, at a learning rate of 0.01."""
    return 1 - abs(math.log10(settings["learner"]["optimizer"]["lr"]) + 2)


def script(*words: str) -> None:
    from zoo.commands import tune as module

    with mock.patch.object(sys, "argv", ["scripts/tune.py", *words]):
        module.main()


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("x=interval(0,0.5)", optuna.distributions.FloatDistribution(0, 0.5)),
        ("x=tag(log,interval(1e-4,1))", optuna.distributions.FloatDistribution(1e-4, 1, log=True)),
        ("x=int(interval(2,9))", optuna.distributions.IntDistribution(2, 9)),
        ("x=tag(log,int(interval(2,9)))", optuna.distributions.IntDistribution(2, 9, log=True)),
        ("x=range(32,129,32)", optuna.distributions.IntDistribution(32, 128, step=32)),
        ("x=1,2,5", optuna.distributions.CategoricalDistribution(["1", "2", "5"])),
        ("x=[64],[64,64]", optuna.distributions.CategoricalDistribution(["[64]", "[64,64]"])),
        ("x=choice(mlp,cnn)", optuna.distributions.CategoricalDistribution(["mlp", "cnn"])),
    ],
)
def test_ranges_are_those_of_hydra(word, expected):
    fixed, space = tune.split(["y=3", word])
    assert fixed == ["y=3"]
    assert space == {"x": expected}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["seed=1,2", LR], "chooses no seed"),
        (["resume=runs/a", LR], "chooses no resume"),
        (["model=mlp"], "nothing is searched"),
        (["learner.optimizer.lr=tag(log,interval(0,1))"], "nothing to search in"),
        (["learner.optimizer.lr=interval(1,0)"], "nothing to search in"),
        (["learner.optimizer.lr=interval(-1,1)"], r"learner.optimizer.lr=-1.0: must be in"),
        (["learner.optimiser.lr=interval(0.1,1)"], "did you mean 'learner.optimizer"),
        (["data.val_size=0", LR], "needs validation data"),
        (["trainer.limit_val_batches=0", LR], "needs validation data"),
        (["trainer.fast_dev_run=true", LR], "needs validation data"),
        (["model=dcgan", "learner.g_optimizer.lr=interval(0.1,1)"], "learner"),
        (["model=gmm,cnn"], "different monitors"),
    ],
)
def test_what_cannot_be_searched_is_refused(words, expected):
    with pytest.raises(zoo.ConfigError, match=expected):
        tune.check(*tune.split(words), CONFIGS)


@pytest.mark.parametrize(("monitor", "sign"), [("val/accuracy", 1), ("val/nll", -1)])
def test_the_best_is_so_in_the_direction_of_the_monitor(tmp_path, searched, monitor, sign):
    study = searched(tmp_path / "out", 40, lambda s, *_: sign * near(s), f"learner.monitor={monitor}", LR)
    found = tune.best(study)
    assert found.value == sign * max(sign * trial.value for trial in study.trials)
    assert 0.003 < found.params["learner.optimizer.lr"] < 0.03
    late = [near({"learner": {"optimizer": {"lr": t.params["learner.optimizer.lr"]}}}) for t in study.trials]
    assert sum(late[20:]) > sum(late[:20])  # it has learnt from what it has seen


def test_a_search_that_was_interrupted_is_the_same_one(tmp_path, searched):
    def interrupted(settings, *_):
        raise KeyboardInterrupt

    whole = searched(tmp_path / "whole", 12, near)
    searched(tmp_path / "parts", 4, near)
    parts = searched(tmp_path / "parts", 12, near)
    assert [trial.params for trial in parts.trials] == [trial.params for trial in whole.trials]
    assert [trial.value for trial in parts.trials] == [trial.value for trial in whole.trials]
    other = searched(tmp_path / "seed", 3, near, seed=1)
    assert other.trials[0].params != whole.trials[0].params
    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path / "parts", 13, interrupted)
    assert searched(tmp_path / "parts", 13, near).trials[12].user_attrs["why"] == "interrupted"


def test_a_trial_whose_process_was_killed_has_failed(tmp_path, searched):
    with tune.opened(tmp_path, [*FIXED, LR], "val/accuracy", False) as study:
        study.ask(tune.split([LR])[1])
    study = searched(tmp_path, 2, near)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]


def test_a_trial_that_fails_is_a_row_and_the_others_go_on(tmp_path, searched):
    failures = iter([zoo.DataError("no such folder"), RuntimeError("a bug"), MemoryError(), None, None])

    def objective(settings, *_):
        failure = next(failures)
        if failure is not None:
            raise failure
        return math.nan if len(list(failures)) == 1 else 0.5

    study = searched(tmp_path, 4, objective)
    why = [trial.user_attrs["why"] for trial in study.trials]
    assert why[:2] == ["no such folder", "RuntimeError: a bug"]
    assert "too large for this machine" in why[2]
    assert why[3] == "val/accuracy is nan"
    assert tune.best(study) is None
    rows = tune.table(study, tune.split([LR])[1], "val/accuracy", tmp_path)
    assert rows.row_count == 4
    assert "failed: no such folder" in list(rows.columns[-1].cells)


def test_a_trial_below_the_median_is_pruned(tmp_path, searched):
    """After five that were not, at its first epoch; without prune=true it goes on."""
    values = iter([0.5] * 5 + [0.1, 0.9])

    def objective(settings, *callbacks):
        value = next(values)
        trainer = mock.Mock(callback_metrics={"val/accuracy": value}, current_epoch=0)
        for callback in callbacks:
            callback.on_train_epoch_end(trainer, mock.Mock())
        return value

    study = searched(tmp_path / "pruned", 7, objective, prune=True)
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.COMPLETE] * 5 + [TrialState.PRUNED, TrialState.COMPLETE]
    assert next(trial.number for trial in tune.ranked(study)) == 6
    values = iter([0.5] * 5 + [0.1])
    assert searched(tmp_path / "whole", 6, objective).trials[5].state == TrialState.COMPLETE


def test_a_folder_of_something_else_is_left_alone(tmp_path, searched):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(zoo.ConfigError, match="something else than a search"):
        searched(tmp_path / "mine", 1, near)
    searched(tmp_path / "other", 1, near)
    with pytest.raises(zoo.ConfigError, match=r"another search, which goes on with python scripts/tune\.py"):
        searched(tmp_path / "other", 1, near, "learner.optimizer.lr=interval(0.1,1)")
    with tune.opened(tmp_path / "busy", [LR], "val/accuracy", False), pytest.raises(zoo.ConfigError, match="searching"):
        searched(tmp_path / "busy", 1, near)


@pytest.mark.parametrize("content", ["not JSON\n", '{"op_code": 99}\n', "[]\n", '{"op_code":0}\n', "\x00\x01\n"])
def test_a_damaged_journal_is_a_sentence(tmp_path, content):
    (tmp_path / tune.JOURNAL).write_text(content)
    with pytest.raises(zoo.DataError, match="damaged"), tune.opened(tmp_path, [LR], "val/accuracy", False):
        pass


def test_from_a_command_to_the_run_that_is_best(tmp_path, capsys):
    """The command that is printed trains the best trial again, bit for bit."""
    script(*FIXED, LR, "trials=2", f"out={tmp_path / 'out'}", f"runs={tmp_path / 'runs'}")
    lines = capsys.readouterr().out.splitlines()
    best, again = lines[-2:]
    directory = Path(best.removeprefix("best: ").partition(",")[0])
    assert again.startswith("python train.py ")
    with mock.patch.object(sys, "argv", again.split()[1:]):
        train.main()
    (run,) = (tmp_path / "runs").iterdir()
    first, second = (json.loads((path / "summary.json").read_text()) for path in (directory, run))
    assert first["test"] == second["test"]
    assert first["config"] == second["config"]
    assert first["command"] == second["command"] == again


def test_no_best_is_an_error(tmp_path, capsys):
    words = [word for word in FIXED if "train_size" not in word]
    with pytest.raises(SystemExit) as end:
        script(*words, LR, "data.train_size=100000", "trials=1", f"out={tmp_path}")
    assert end.value.code == 2
    said = capsys.readouterr()
    assert "needs 10000 training images" in " ".join(said.out.split())
    assert "no trial came to its end" in said.err


def test_without_optuna_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SystemExit):
        script(*FIXED, LR)
    assert "pip install optuna" in capsys.readouterr().err
