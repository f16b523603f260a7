"""A training that ends where nothing gets better, and one that says where its seconds went."""

import csv
import json
from unittest import mock

import pytest
from conftest import command, left, run_train

import zoo
from zoo.learners.classification import ClassificationLearner
from zoo.run.trainer import DEAREST

TINY = ("model=mlp", "model.hidden_sizes=[8]", "data=digits", "trainer=cpu", "logger=none", "data.train_size=100")


def figures(values):
    """A learner whose validation accuracies are these, one after the other."""
    left = iter(values)
    measure = ClassificationLearner.measure

    def measured(self, stage, *parts):
        found = measure(self, stage, *parts)
        return {**found, "accuracy": next(left)} if stage == "val" else found

    return mock.patch.object(ClassificationLearner, "measure", measured)


def epochs(run) -> int:
    with (run / "metrics.csv").open(newline="") as file:
        return len(list(csv.DictReader(file)))


def test_training_ends_where_nothing_gets_better(tmp_path, capsys):
    """After so many epochs that are no better than the best one, which is kept."""
    with figures([0.5, 0.6, 0.6, 0.7, 0.65, 0.7, 0.8]):
        run = run_train(tmp_path, *TINY, "patience=2", "trainer.max_epochs=7")
    assert epochs(run) == 6
    assert zoo.checkpoint.read(run / "best.ckpt")["epoch"] == 3
    assert "val/accuracy was no better for 2 epochs: training has ended" in capsys.readouterr().out
    assert json.loads((run / "summary.json").read_text())["epochs"] == 6


def test_without_patience_it_goes_on(tmp_path):
    with figures([0.5] * 4):
        assert epochs(run_train(tmp_path, *TINY, "trainer.max_epochs=4")) == 4


def test_patience_counts_validations(tmp_path):
    """Every second epoch has one."""
    with figures([0.5, 0.4, 0.4, 0.4]):
        run = run_train(tmp_path, *TINY, "patience=2", "trainer.max_epochs=20", "trainer.check_val_every_n_epoch=2")
    assert epochs(run) == 6


def test_patience_outlives_an_interruption(tmp_path):
    with figures([0.5, 0.4]):
        run = run_train(tmp_path, *TINY, "patience=3", "trainer.max_epochs=2")
    with figures([0.4, 0.4, 0.9]):
        run_train(None, f"resume={run}", "trainer.max_epochs=9")
    assert epochs(run) == 4


def test_a_run_that_has_lost_its_patience_is_complete(tmp_path, capsys):
    with figures([0.5, 0.4, 0.4]):
        run = run_train(tmp_path, *TINY, "patience=2", "trainer.max_epochs=9")
    assert epochs(run) == 3
    with pytest.raises(SystemExit):
        run_train(None, f"resume={run}")
    assert "2 epochs were no better" in capsys.readouterr().err
    assert epochs(run) == 3
    (run / "summary.json").unlink()  # as if it had been killed before its test
    run_train(None, f"resume={run}")
    assert epochs(run) == 3
    assert json.loads((run / "summary.json").read_text())["epochs"] == 3


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("data.val_size=0",), "data.val_size"), (("trainer.limit_val_batches=0",), "trainer.limit_val_batches"),
        (("model=dcgan",), "how good a dcgan is"),
    ],
)  # fmt: skip
def test_patience_needs_validation(words, reason, tmp_path, capsys):
    tiny = TINY if "model=dcgan" not in words else [word for word in TINY if "model" not in word]
    with pytest.raises(SystemExit):
        run_train(tmp_path, *tiny, "patience=2", *words)
    assert reason in capsys.readouterr().err


def test_a_single_epoch_is_one(tmp_path, capsys):
    with figures([0.5, 0.4]):
        run = run_train(tmp_path, *TINY, "patience=1", "trainer.max_epochs=7")
    assert "val/accuracy was no better for 1 epoch: training has ended" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run_train(None, f"resume={run}")
    assert "1 epoch was no better" in capsys.readouterr().err


def test_a_profile_is_told(tmp_path):
    """The dearest actions, in a table that fits a terminal; all of them in a file."""
    done = command("train.py", *TINY, "trainer.profiler=simple", "trainer.max_epochs=1", f"runs={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (run,) = tmp_path.iterdir()
    assert f"the whole profile is in {run / 'profile'}\n" in done.stdout
    lines = done.stdout.splitlines()
    rows = [line.split() for line in lines[lines.index(next(line for line in lines if "─" in line)) + 1 :]][:DEAREST]
    assert rows[0][0] == "run_training_epoch"
    seconds = [float(row[1]) for row in rows]
    assert seconds == sorted(seconds, reverse=True)
    assert all(row[2].endswith("%") and int(row[3]) > 0 for row in rows)
    assert not lines[lines.index(next(line for line in lines if "─" in line)) + 1 + DEAREST].strip()
    assert max(len(line) for line in lines if str(run) not in line) <= 80
    assert "[Strategy]SingleDeviceStrategy.training_step" in (run / "profile" / "fit-simple.txt").read_text()


@pytest.mark.parametrize("name", ["advanced", "pytorch"])
def test_a_long_profile_is_a_file(name, tmp_path, capsys):
    run = run_train(tmp_path, *TINY, f"trainer.profiler={name}", "trainer.max_epochs=1")
    said = capsys.readouterr().out
    assert "Profiler Report" not in said
    assert f"the whole profile is in {run / 'profile'}\n" in said
    assert "Profiler Report" in (run / "profile" / f"fit-{name}.txt").read_text()
    assert left(run) == {"best.ckpt", "last.ckpt", "config.yaml", "metrics.csv", "summary.json", "profile"}


@pytest.mark.parametrize("name", ["simple", "advanced", "pytorch"])
def test_a_profile_of_a_trial_leaves_nothing(name, tmp_path, capsys):
    with pytest.raises(FileNotFoundError):  # there is no run directory to return
        run_train(tmp_path / "runs", *TINY, f"trainer.profiler={name}", "trainer.fast_dev_run=true")
    assert not (tmp_path / "runs").exists()
    said = capsys.readouterr().out
    assert ("run_training_epoch" in said) == (name == "simple")
    assert "whole profile" not in said
