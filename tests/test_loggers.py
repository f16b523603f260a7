"""Other places where curves are drawn, by Lightning's own loggers."""

import csv
import json
import sys
from unittest import mock

import pytest
import yaml
from conftest import run_train
from lightning.pytorch.loggers import CSVLogger

from zoo.run.board import hyperparameters

TINY = ("model=mlp", "model.hidden_sizes=[8]", "data=digits", "experiment=debug", "data.train_size=100")
MADE = {"wandb": "WandbLogger", "mlflow": "MLFlowLogger"}


def test_csv_has_every_point(tmp_path):
    run = run_train(tmp_path, *TINY, "logger=csv", "trainer.log_every_n_steps=1")
    with (run / "csv" / "part1" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len([row for row in rows if row["step/loss"]]) == json.loads((run / "summary.json").read_text())["steps"]
    assert {"val/accuracy", "train/loss", "step/lr", "step/gradient_norm"} <= rows[0].keys()
    with (run / "metrics.csv").open(newline="") as file:
        own = list(csv.DictReader(file))
    validated = [float(row["val/accuracy"]) for row in rows if row["val/accuracy"]]
    assert validated == pytest.approx([float(row["val/accuracy"]) for row in own], rel=1e-5)


def test_csv_has_what_was_configured_and_what_came_out(tmp_path):
    run = run_train(tmp_path, *TINY, "logger=csv", "patience=7")
    summary = json.loads((run / "summary.json").read_text())
    told = yaml.safe_load((run / "csv" / "part1" / "hparams.yaml").read_text())
    assert told == hyperparameters(summary["config"])
    assert (told["model"], told["option/model.hidden_sizes"], told["option/patience"]) == ("mlp", "[8]", 7)
    with (run / "csv" / "part1" / "metrics.csv").open(newline="") as file:
        *_, last = csv.DictReader(file)
    assert int(last["step"]) == summary["steps"]
    assert float(last["test/accuracy"]) == summary["test"]["accuracy"]


def test_csv_of_a_run_that_goes_on_is_a_part_of_its_own(tmp_path):
    run = run_train(tmp_path, *TINY, "logger=csv")
    before = (run / "csv" / "part1" / "metrics.csv").read_bytes()
    run_train(None, f"resume={run}", "trainer.max_epochs=3")
    assert (run / "csv" / "part1" / "metrics.csv").read_bytes() == before
    assert (run / "csv" / "part2" / "metrics.csv").is_file()


@pytest.mark.parametrize(
    ("name", "words", "expected"),
    [
        ("wandb", ("logger.project=mine", "logger.offline=true"), {"project": "mine", "offline": True}),
        ("mlflow", ("logger.experiment_name=mine",), {"experiment_name": "mine"}),
        ("mlflow", ("logger.tracking_uri=http://there",), {"experiment_name": "zoo", "tracking_uri": "http://there"}),
    ],
)
def test_a_package_that_is_there_is_told_the_options_and_the_runs_name(name, words, expected, tmp_path):
    """The package itself is a stub: what is handed to Lightning's logger, and that the training logs to it."""
    with mock.patch(f"zoo.run.trainer.{MADE[name]}") as logger:
        logger.return_value = mock.MagicMock(spec=__import__("lightning.pytorch.loggers", fromlist=["x"]).CSVLogger)
        run = run_train(tmp_path, *TINY, f"logger={name}", *words)
    told = logger.call_args.kwargs
    assert expected.items() <= told.items()
    assert run.name in (told.get("name"), told.get("run_name"))
    if name == "mlflow" and not words[0].startswith("logger.tracking"):
        assert told["tracking_uri"] == f"sqlite:///{(tmp_path / 'mlruns.db').resolve()}"
    calls = logger.return_value.log_metrics.call_args_list
    logged = {key for call in calls for key in (*call.args, *call.kwargs.values())[0]}
    assert {"val/accuracy", "train/loss", "step/loss"} <= logged
    summary = json.loads((run / "summary.json").read_text())
    logger.return_value.log_hyperparams.assert_called_once_with(hyperparameters(summary["config"]))
    assert calls[-1].kwargs["metrics"]["test/nll"] == summary["test"]["nll"]
    assert calls[-1].kwargs["step"] == summary["steps"]


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_package_that_is_missing_is_named(name, tmp_path, capsys):
    with mock.patch.dict(sys.modules, {name: None}), pytest.raises(SystemExit) as end:
        run_train(tmp_path / "runs", *TINY, f"logger={name}")
    assert end.value.code == 2
    assert f"pip install {name}, or logger=none" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_server_that_does_not_answer_is_an_error_in_a_line(name, tmp_path, capsys):
    unreachable = mock.PropertyMock(side_effect=RuntimeError("connection refused\nand much more"))
    logger = type("Unreachable", (CSVLogger,), {"experiment": unreachable})(tmp_path)
    with mock.patch(f"zoo.run.trainer.{MADE[name]}", return_value=logger), pytest.raises(SystemExit) as end:
        run_train(tmp_path / "runs", *TINY, f"logger={name}")
    assert end.value.code == 2
    assert f"logger={name} cannot begin: connection refused\n" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_logger_that_cannot_be_made_is_an_error_in_a_line(name, tmp_path, capsys):
    refused = mock.patch(f"zoo.run.trainer.{MADE[name]}", side_effect=ValueError("no such store"))
    with refused, pytest.raises(SystemExit) as end:
        run_train(tmp_path / "runs", *TINY, f"logger={name}")
    assert end.value.code == 2
    assert f"logger={name} cannot begin: no such store" in capsys.readouterr().err


def test_nothing_begins_where_the_configuration_is_refused(tmp_path):
    """No server has a run of a training that could not be."""
    began = mock.PropertyMock()
    logger = type("Untouched", (CSVLogger,), {"experiment": began})(tmp_path)
    with mock.patch("zoo.run.trainer.WandbLogger", return_value=logger), pytest.raises(SystemExit):
        run_train(tmp_path / "runs", *TINY, "logger=wandb", "trainer.precision=16-mixed", "trainer.accelerator=cpu")
    assert not began.called
