"""Whole runs: what they leave behind, and that every command of the README does what it says."""

import csv
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import lightning.pytorch as L
import numpy as np
import pytest
import torch
import yaml
from conftest import CONFIGS, ROOT, command, left, run_script, run_train
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

import zoo
from zoo import config
from zoo.data.splits import load_splits
from zoo.learners._gradient import GradientLearner
from zoo.run.board import hyperparameters
from zoo.run.record import run_directory
from zoo.run.train import build

TINY = ("model=mlp", "model.hidden_sizes=[16]", "data=digits", "experiment=debug")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return run_train(tmp_path_factory.mktemp("runs"), *TINY, "trainer.log_every_n_steps=2")


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# What a run leaves


def test_files(run):
    assert left(run) == {"best.ckpt", "last.ckpt", "config.yaml", "metrics.csv", "summary.json", "figures"}
    assert {path.name for path in (run / "figures").iterdir()} == {"confusion.png", "reliability.png"}
    assert not re.search(r"[=, \[\]]", str(run.relative_to(run.parents[1])))


def test_summary(run):
    summary = json.loads((run / "summary.json").read_text())
    assert {"accuracy", "nll", "ece", "per_class"} <= set(summary["test"])
    assert set(summary["seconds"]) == {"setup", "fit", "test"}
    assert all(seconds > 0 for seconds in summary["seconds"].values())
    assert summary["seed"] == 0
    assert summary["epochs"] == 2
    assert summary["steps"] == 10
    assert summary["config"]["model"]["hidden_sizes"] == [16]
    assert summary["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert summary["fingerprint"] == load_splits("digits").fingerprint


def test_summary_reports_the_saved_model(run):
    """The reported test figures are those of best.ckpt, computed here from its logits."""
    summary = json.loads((run / "summary.json").read_text())
    test = load_splits("digits").test
    log_proba = zoo.classify(zoo.load(run), test.images.float() / 255)
    assert summary["test"]["accuracy"] == (log_proba.argmax(1) == test.labels).double().mean().item()
    nll = -log_proba.double().gather(1, test.labels[:, None]).mean().item()
    assert summary["test"]["nll"] == pytest.approx(nll, rel=1e-9)


def test_metrics_table_agrees_with_the_checkpoint(run):
    table = rows(run)
    assert [row["epoch"] for row in table] == ["1", "2"]
    assert [row["step"] for row in table] == ["5", "10"]
    assert all(math.isfinite(float(value)) for row in table for value in row.values())
    assert 0 < float(table[-1]["train/loss"]) < float(table[0]["train/loss"])


def test_validation_is_what_it_says(tmp_path):
    """val/accuracy and val/nll of the last epoch equal those of last.ckpt on the validation images."""
    run = run_train(tmp_path, *TINY, "trainer.limit_val_batches=1.0", "logger=none")
    val = load_splits("digits", val_size=200).val
    log_proba = zoo.classify(zoo.load(run / "last.ckpt"), val.images.float() / 255)
    assert float(rows(run)[-1]["val/accuracy"]) == pytest.approx(
        (log_proba.argmax(1) == val.labels).double().mean().item()
    )
    nll = -log_proba.gather(1, val.labels[:, None]).mean().item()
    assert float(rows(run)[-1]["val/nll"]) == pytest.approx(nll, rel=1e-4)


def events(run: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(run), size_guidance={"tensors": 0, "images": 0, "scalars": 0})
    return accumulator.Reload()


def test_tensorboard_shows_the_run(run):
    """Read back from the event files: curves, pictures that are not empty, one hparams entry with final metrics."""
    shown = events(run)
    scalars = set(shown.Tags()["scalars"])
    assert {
        "loss/train", "accuracy/train", "loss/val", "accuracy/val", "val/nll", "val/ece", "time/images_per_second",
        "loss/step", "step/lr", "step/gradient_norm", "test/accuracy", "test/nll", "test/ece", "test/macro_f1",
    } == scalars  # fmt: skip
    assert [event.step for event in shown.Scalars("accuracy/val")] == [4, 9]
    assert set(shown.Tags()["images"]) == {
        "test/confusion", "test/reliability", "test/worst_mistakes", "training/examples", "validation/confusion",
    }  # fmt: skip
    for tag in shown.Tags()["images"]:
        picture = np.asarray(Image.open(_bytes(shown.Images(tag)[0].encoded_image_string)))
        assert picture.std() > 10
    summary = json.loads((run / "summary.json").read_text())
    assert shown.Scalars("test/accuracy")[-1].value == pytest.approx(summary["test"]["accuracy"])
    plugins = [tag for tag in shown.summary_metadata if tag.startswith("_hparams_")]
    assert sorted(plugins) == sorted(
        ["_hparams_/experiment", "_hparams_/session_start_info", "_hparams_/session_end_info"]
    )
    codes = re.search(r'tensor_path: "(projector/.*)"', (run / "projector_config.pbtxt").read_text())[1]
    assert len((run / codes).read_text().splitlines()) == 359


def text_of(shown: EventAccumulator, tag: str) -> str:
    return shown.Tensors(f"{tag}/text_summary")[0].tensor_proto.string_val[0].decode()


def test_tensorboard_tells_what_was_run_and_what_came_out(run):
    shown, summary = events(run), json.loads((run / "summary.json").read_text())
    assert text_of(shown, "run/command") == f"```\n{summary['command']}\n```"
    assert yaml.safe_load(text_of(shown, "run/configuration").strip("`")) == summary["config"]
    assert f"| accuracy | {summary['test']['accuracy']:.6g} |" in text_of(shown, "run/summary")
    start = HParamsPluginData.FromString(
        shown.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    ).session_start_info.hparams
    assert {"model", "data", "seed", "option/model.hidden_sizes", "option/trainer.max_epochs"} <= set(start)
    assert not [key for key in start if "root" in key or "dropout" in key or "logger" in key or "accelerator" in key]
    assert sorted(start)[:2] == ["data", "model"]  # which TensorBoard sorts them by
    assert dict(hyperparameters(summary["config"])).keys() == set(start)


def test_hyperparameters_have_what_was_changed_beside_the_groups(run):
    settings = json.loads((run / "summary.json").read_text())["config"]
    usual = hyperparameters(settings)
    assert not [key for key in usual if "." not in key and key not in ("data", "model", "seed")]
    told = hyperparameters({**settings, "patience": 3, "compile": True, "runs": "elsewhere"})
    assert told == {**usual, "option/patience": 3, "option/compile": True}


def test_tensorboard_has_a_layout_and_curves_of_precision_by_recall(run):
    shown = events(run)
    layout = shown.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    (category,) = Layout.FromString(layout).category
    tags = set(shown.Tags()["scalars"])
    charts = {chart.title: [tag for tag in tags if re.match(chart.multiline.tag[0], tag)] for chart in category.chart}
    assert sorted(charts["loss"]) == ["loss/train", "loss/val"]
    assert sorted(charts["accuracy"]) == ["accuracy/train", "accuracy/val"]
    curves = [
        tag for tag in shown.summary_metadata if shown.summary_metadata[tag].plugin_data.plugin_name == "pr_curves"
    ]
    assert sorted(curves) == [f"test/{digit}" for digit in range(10)]
    model, test = zoo.load(run), load_splits("digits").test
    share = tensor_of(shown.Tensors("test/3")[0])  # rows: true and false positives, true and false negatives, …
    found = zoo.classify(model, test.x())[:, 3].exp()
    assert share[0, 0] == float((test.labels == 3).sum())  # of threshold 0, which takes all for threes
    at_half = share.shape[1] // 2
    assert share[0, at_half] == pytest.approx(float(((found >= 0.5) & (test.labels == 3)).sum()), abs=1)


def tensor_of(event) -> np.ndarray:
    from tensorboard.util.tensor_util import make_ndarray

    return make_ndarray(event.tensor_proto)


def test_gradient_norms_are_those_of_all_parameters(tmp_path, monkeypatch):
    """Before they are clipped."""
    norms, hook = [], GradientLearner.on_before_optimizer_step

    def noted(self, optimizer):
        norms.append(torch.cat([p.grad.flatten() for p in self.model.parameters()]).norm().item())
        hook(self, optimizer)

    monkeypatch.setattr(GradientLearner, "on_before_optimizer_step", noted)
    few = ("trainer.log_every_n_steps=3", "logger.embeddings=0", "logger.mistakes=0")
    for number, words in enumerate(((), ("learner.clip=0.01",))):
        norms.clear()
        shown = events(run_train(tmp_path / str(number), *TINY, *few, *words))
        drawn = [(event.step, event.value) for event in shown.Scalars("step/gradient_norm")]
        assert drawn == [(step, pytest.approx(norms[step - 1], rel=1e-5)) for step in (3, 6, 9)]


def test_what_is_drawn_changes_nothing(tmp_path):
    """Weights and random stream, bit for bit; and the batch that is shown is augmented."""
    words = (*TINY, "data.augment.shift=4", "data.augment.erase=1", "trainer.log_every_n_steps=1")
    run, bare = run_train(tmp_path / "shown", *words), run_train(tmp_path / "bare", *words, "logger=none")
    first, second = (torch.load(path / "last.ckpt", weights_only=True) for path in (run, bare))
    assert torch.equal(first["rng"]["cpu"], second["rng"]["cpu"])
    assert all(torch.equal(value, second["state_dict"][key]) for key, value in first["state_dict"].items())
    shown = events(run)
    plain = events(run_train(tmp_path / "plain", *TINY))
    batch, whole = (each.Images("training/examples")[0].encoded_image_string for each in (shown, plain))
    assert batch != whole
    assert len(shown.Images("validation/confusion")) == 2


def test_the_graph_is_drawn_where_it_is_asked_for(tmp_path, capsys):
    run = run_train(tmp_path, *TINY, "logger.graph=true", "logger.embeddings=0")
    assert events(run).Tags()["graph"]
    with pytest.raises(SystemExit):
        run_train(tmp_path, "model=gmm", "data=digits", "logger.graph=true")
    assert "gmm makes none" in capsys.readouterr().err


def test_a_run_that_an_earlier_version_began_keeps_its_folder(tmp_path):
    run = run_train(tmp_path, *TINY)
    old = run / "tensorboard"
    old.mkdir()
    for path in run.glob("events.*"):
        path.rename(old / path.name)
    run_train(None, f"resume={run}", "trainer.max_epochs=3")
    assert not list(run.glob("events.*"))
    shown = EventAccumulator(str(old), size_guidance={"scalars": 0}).Reload()
    assert [event.step for event in shown.Scalars("accuracy/val")] == [4, 9, 14]


def _bytes(data: bytes):
    import io

    return io.BytesIO(data)


def test_loss_curve_has_a_point_every_n_steps(run):
    assert [event.step for event in events(run).Scalars("loss/step")] == [2, 4, 6, 8, 10]


@pytest.mark.parametrize(
    ("words", "every"),
    [(("trainer.max_epochs=8",), 2), (("trainer.max_epochs=8", "learner.accumulate=2"), 1), ((), 1),
     (("trainer.max_epochs=500", "trainer.max_steps=61"), 3), (("trainer.max_epochs=500",), 50)],
)  # fmt: skip
def test_a_short_loss_curve_has_twenty_points(words, every, tmp_path):
    """Of 40 steps, five an epoch; of 2,500 it has one every 50."""
    settings = config.settings([*TINY, "logger=none", *words], CONFIGS)
    _, _, trainer = build(settings, tmp_path, Console(quiet=True))
    assert trainer.log_every_n_steps == every


def test_mistakes_can_be_left_out(tmp_path):
    run = run_train(tmp_path, *TINY, "logger.mistakes=0", "logger.embeddings=0")
    assert {tag for tag in events(run).Tags()["images"] if tag[:5] == "test/"} == {"test/confusion", "test/reliability"}
    assert not (run / "projector_config.pbtxt").exists()


def test_fast_dev_run_saves_nothing(tmp_path, capsys):
    with pytest.raises(FileNotFoundError):  # there is no run directory to return
        run_train(tmp_path / "runs", *TINY, "trainer.fast_dev_run=true")
    assert not (tmp_path / "runs").exists()
    assert "nothing was saved" in capsys.readouterr().out


def test_adding_a_logger_does_not_change_training(run, tmp_path):
    quiet = run_train(tmp_path, *TINY, "logger=none")
    first, second = (torch.load(path / "last.ckpt", weights_only=True)["state_dict"] for path in (run, quiet))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_seed_zero_is_a_seed(tmp_path):
    """The same seed gives the same run, another one another run."""
    runs = [
        run_train(tmp_path / str(number), *TINY, "logger=none", f"seed={seed}") for number, seed in enumerate((0, 0, 1))
    ]
    losses = [[row["train/loss"] for row in rows(path)] for path in runs]
    assert losses[0] == losses[1] != losses[2]


def test_without_validation_the_last_epoch_counts(tmp_path):
    """val_size=0 trains on all images, writes last.ckpt alone, and still calibrates what needs it."""
    options = (
        "model=svm",
        "model.num_features=64",
        "data=digits",
        "experiment=debug",
        "data.val_size=0",
        "logger=none",
    )
    run = run_train(tmp_path, *options)
    assert not (run / "best.ckpt").exists()
    assert "val/accuracy" not in rows(run)[0]
    assert zoo.load(run).temperature != 1


def test_resumed_in_the_middle_of_an_epoch(tmp_path):
    """From a step checkpoint of Lightning's own: the same batches as if nothing had happened, the same weights."""

    def fit(name: str, **options) -> dict:
        data = zoo.ImageDataModule("digits", augment={"shift": 1})
        torch.manual_seed(0)
        learner = zoo.ClassificationLearner(zoo.create("mlp", data.spec, hidden_sizes=[8]), schedule={"name": "none"})
        steps = ModelCheckpoint(tmp_path / name, "{step}", every_n_train_steps=8, save_top_k=-1)
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        L.Trainer(max_epochs=2, callbacks=[steps], **quiet).fit(learner, data, **options)
        return learner.state_dict()

    straight = fit("straight")
    torch.manual_seed(99)
    resumed = fit("resumed", ckpt_path=tmp_path / "straight" / "step=16.ckpt")  # 12 batches an epoch
    assert all(torch.equal(value, resumed[key]) for key, value in straight.items())


def test_resumed_with_a_schedule(tmp_path):
    """A run under OneCycle that ended half-way goes on where the schedule was."""
    options = [*TINY, "logger=none", "trainer.max_epochs=4"]
    straight = run_train(tmp_path / "straight", *options)
    parted = tmp_path / "parted"
    broken = _interrupt_after(parted, 2, *options)
    run_train(None, f"resume={broken}")
    first, second = (torch.load(path / "last.ckpt", weights_only=True) for path in (straight, broken))
    assert all(torch.equal(value, second["state_dict"][key]) for key, value in first["state_dict"].items())
    assert (
        first["optimizer_states"][0]["param_groups"][0]["lr"] == second["optimizer_states"][0]["param_groups"][0]["lr"]
    )


def _interrupt_after(runs: Path, epochs: int, *overrides: str) -> Path:
    """A run whose process gets Ctrl-C at the start of the epoch after ``epochs``."""
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv[:] = [{str(ROOT / 'train.py')!r}, *sys.argv[1:]]\n"
        "from zoo.learners.classification import ClassificationLearner as C\n"
        "start = C.on_train_epoch_start\n"
        "def stop(self):\n"
        f"    if self.current_epoch == {epochs}: raise KeyboardInterrupt\n"
        "    start(self)\n"
        "C.on_train_epoch_start = stop\n"
        "import train; train.main()\n"
    )
    result = command("-c", program, *overrides, f"runs={runs}")
    assert result.returncode == 130
    (run,) = runs.iterdir()
    assert result.stderr.splitlines()[-1] == f"interrupted; to go on: python train.py resume={run}"
    return run


def test_resume_refuses_another_configuration(run, capsys):
    for words, expected in (
        (["model.dropout=0.5"], "trainer"),
        ([], "complete with 2 epochs"),
        (["seed=3"], "trainer"),
    ):
        with pytest.raises(SystemExit) as exit_:
            run_train(None, f"resume={run}", *words)
        assert exit_.value.code == 2
        assert expected in capsys.readouterr().err


def test_resume_refuses_other_data(tmp_path, capsys):
    """A folder whose pictures changed since the run began."""
    folder = _pictures(tmp_path / "pictures")
    options = (
        "model=mlp",
        "model.hidden_sizes=[4]",
        "data=image_folder",
        f"data.path={folder}",
        f"data.root={tmp_path}",
    )
    run = run_train(tmp_path / "runs", *options, "experiment=debug", "logger=none")
    Image.new("L", (9, 9), 7).save(folder / "cats" / "0.png")
    with pytest.raises(SystemExit):
        run_train(None, f"resume={run}", "trainer.max_epochs=3")
    assert "has changed since the run began" in capsys.readouterr().err


def _pictures(folder: Path, count: int = 12) -> Path:
    generator = np.random.default_rng(0)
    for name, low in (("cats", 0), ("dogs", 128)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(generator.integers(low, low + 128, (20, 30), dtype=np.uint8)).save(
                folder / name / f"{number}.png"
            )
    return folder


# Commands, as a user types them


def test_first_command(tmp_path):
    """The README's first command: real digits at 99 % and three lines that can be pasted, from a bare checkout."""
    result = command("train.py", f"runs={tmp_path}")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert max(map(len, result.stdout.splitlines()[:-3])) <= 80
    accuracy = float(re.search(r"test accuracy ([\d.]+)%", result.stdout)[1])
    assert accuracy >= 99.0
    tensorboard, evaluate, load = result.stdout.splitlines()[-3:]
    assert list(Path(tensorboard.removeprefix("tensorboard --logdir ")).glob("*-cnn-digits/events.*"))
    pasted = command(*evaluate.split()[1:])
    assert f"accuracy {accuracy:.2f}%" in pasted.stdout
    code = load.removeprefix('python -c "').removesuffix('"')
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_multirun(tmp_path):
    """Four jobs, one of which fails: each has its directory, the table names all, and the exit status tells."""
    words = ("-m", "model=mlp,logistic_regression", "seed=1,2", "experiment=debug", "logger=none", f"runs={tmp_path}")
    result = command("train.py", *words)
    assert result.returncode == 0, result.stderr
    (sweep,) = tmp_path.iterdir()
    names = sorted(path.name for path in sweep.iterdir() if path.is_dir())
    assert names == ["000-mlp-seed1", "001-mlp-seed2", "002-logistic_regression-seed1", "003-logistic_regression-seed2"]
    assert "\n2 of 4: model=mlp seed=2\nmlp on digits" in result.stdout  # a heading each
    table = result.stdout[result.stdout.index(f"\n{sweep}\n") :].splitlines()[2:]
    assert [line.split()[:3] for line in table if line[1:4].isdigit()] == [
        ["000", "mlp", "1"], ["001", "mlp", "2"], ["002", "logistic_regression", "1"],
        ["003", "logistic_regression", "2"],
    ]  # fmt: skip
    assert [line.split()[:2] for line in table if line.startswith(" mean")] == [
        ["mean", "mlp"], ["mean", "logistic_regression"],
    ]  # fmt: skip
    assert max(map(len, table)) <= 80
    assert not [path for path in tmp_path.rglob("*") if re.search(r"[=, \[\]]", str(path.relative_to(tmp_path)))]


def test_multirun_goes_on_after_a_failure(tmp_path):
    words = ("-m", "model=logistic_regression", "data.train_size=100000,50", "experiment=debug", "logger=none")
    result = command("train.py", *words, f"runs={tmp_path}")
    assert result.returncode == 2
    assert "000-train_size100000 failed: " in result.stderr
    (sweep,) = tmp_path.iterdir()
    assert (sweep / "001-train_size50" / "summary.json").is_file()


@pytest.mark.parametrize(("path", "name"), [("scans.2023", "scans.2023"), ("scans.2023/rows.csv", "rows")])
def test_a_run_is_named_after_ones_own_folder_or_file(path, name, tmp_path):
    (tmp_path / "scans.2023").mkdir()
    (tmp_path / "scans.2023" / "rows.csv").touch()
    settings = {"runs": str(tmp_path), "model": {"name": "m"}, "data": {"name": "d", "path": str(tmp_path / path)}}
    with run_directory(settings, None, None) as run:
        assert run.name.endswith(f"-m-d-{name}")


def test_eight_jobs_in_the_same_second(tmp_path):
    """Run directories are unique without luck."""
    settings = {"runs": str(tmp_path), "model": {"name": "a b"}, "data": {"name": "c=d,[e]"}}
    from concurrent.futures import ThreadPoolExecutor

    def make(_: int) -> Path:
        with run_directory(settings, None, None) as run:
            (run / "file").touch()
            return run

    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(make, range(8)))
    assert len(set(runs)) == 8
    assert all(re.fullmatch(r"[\w.\-]+", run.name) for run in runs)


def test_two_processes(tmp_path):
    """trainer=ddp on two CPU processes: each sees half of the images; one directory, one result."""
    options = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_epochs=2", "logger=none")
    result = command(
        "train.py", "model=mlp", "model.hidden_sizes=[16]", "learner.ema=0.5", *options, f"runs={tmp_path}"
    )
    assert result.returncode == 0, result.stderr
    (run,) = tmp_path.iterdir()
    summary = json.loads((run / "summary.json").read_text())
    assert summary["steps"] == 10  # 1,238 images in pieces of at most 128 for each of two processes
    assert result.stdout.count("test accuracy") == 1
    val = load_splits("digits", val_size=200).val
    log_proba = zoo.classify(zoo.load(run / "last.ckpt"), val.images.float() / 255)
    accuracy = (log_proba.argmax(1) == val.labels).double().mean().item()
    assert float(rows(run)[-1]["val/accuracy"]) == pytest.approx(accuracy)  # of all images, not of one process's half


def test_model_from_outside_the_package(tmp_path):
    """A user's own file and YAML, those of the documentation, train with the same command, and load where known."""
    extend = (ROOT / "docs" / "extend.md").read_text()
    code, settings = (re.search(rf"```{kind}\n(.*?)```", extend, re.S)[1] for kind in ("python", "yaml"))
    assert not re.search(r"\b_[a-z]", code)  # all that is needed is public
    (tmp_path / "mynet.py").write_text(code)
    (tmp_path / "mynet.yaml").write_text(settings)
    words = ("model=mynet", "model.width=9", "experiment=debug", "logger=none", f"runs={tmp_path / 'runs'}")
    result = command("train.py", *words, ZOO_MODELS=str(tmp_path))
    assert result.returncode == 0, result.stderr
    (run,) = (tmp_path / "runs").iterdir()
    assert command("scripts/evaluate.py", f"ckpt={run}", ZOO_MODELS=str(tmp_path)).returncode == 0
    unknown = command("scripts/evaluate.py", f"ckpt={run}")
    assert unknown.returncode == 2
    assert "ZOO_MODELS" in unknown.stderr
    refused = command("train.py", "model=mynet", "model.width=0", ZOO_MODELS=str(tmp_path))
    assert "[1, inf)" in refused.stderr


@pytest.mark.parametrize("page", ["README.md", "docs/use.md", "docs/train.md"])
def test_python_that_is_told_runs(page, tmp_path):
    """And prints nothing but what a training says."""
    code = "".join(re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S))
    without_hydra = "import sys; sys.modules['hydra'] = None\n" if "zoo.train(" not in code else ""
    result = command("-c", without_hydra + code, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert result.returncode == 0, result.stderr
    assert result.stderr == "" or "L.Trainer" in code


def test_lightning_way(run):
    """Lightning's own loading, and its test loop, agree with zoo.load and the summary."""
    learner = zoo.ClassificationLearner.load_from_checkpoint(run / "best.ckpt").eval()
    x = torch.rand(4, 1, 28, 28)
    assert torch.equal(learner(x), zoo.load(run)(x))
    trainer = L.Trainer(logger=False, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False)
    (values,) = trainer.test(learner, zoo.ImageDataModule("digits"), verbose=False)
    summary = json.loads((run / "summary.json").read_text())
    assert values["test/accuracy"] == pytest.approx(summary["test"]["accuracy"])


def test_evaluate_and_predict(run, tmp_path):
    """The scripts need only the checkpoint: elsewhere, without the run directory, with a user's own pictures."""
    ckpt = tmp_path / "model.ckpt"
    ckpt.write_bytes((run / "best.ckpt").read_bytes())
    result = command("scripts/evaluate.py", f"ckpt={ckpt}", f"json={tmp_path / 'out.json'}", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    summary = json.loads((run / "summary.json").read_text())
    assert json.loads((tmp_path / "out.json").read_text())["accuracy"] == summary["test"]["accuracy"]

    test = load_splits("digits").test
    for index in range(3):  # dark on light, larger, in colour: as a user would take them
        picture = Image.fromarray(255 - test.images[index, 0].numpy()).resize((90, 90)).convert("RGB")
        (tmp_path / "pictures").mkdir(exist_ok=True)
        picture.save(tmp_path / "pictures" / f"{index}.jpg", quality=95)
    result = command("scripts/predict.py", f"ckpt={ckpt}", "pictures", "json=-", "top=2", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    answers = json.loads(result.stdout)
    expected = zoo.classify(zoo.load(ckpt), test.images[:3].float() / 255)
    assert [answer["classes"][0]["name"] for answer in answers] == [str(label) for label in expected.argmax(1).tolist()]
    assert all(len(answer["classes"]) == 2 for answer in answers)
    table = command("scripts/predict.py", f"ckpt={ckpt}", "pictures/0.jpg", cwd=tmp_path).stdout
    assert "pictures/0.jpg" in table
    assert max(map(len, table.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("evaluate.py",), "ckpt=… must be given"),
        (("evaluate.py", "ckpt=nowhere"), "does not exist"),
        (("evaluate.py", "ckpt={run}", "dta=mnist"), "did you mean 'data'"),
        (("evaluate.py", "ckpt={run}", "data=mnst"), "allowed values"),
        (("evaluate.py", "{run}/best.ckpt"), "ckpt="),
        (("evaluate.py", "ckpt={run}/config.yaml"), "no checkpoint"),
        (("evaluate.py", "ckpt={run}", "ema=maybe"), "true or false"),
        (("predict.py", "ckpt={run}"), "no file was named"),
        (("predict.py", "ckpt={run}", "nowhere.png"), "does not exist"),
        (("predict.py", "ckpt={run}", "{run}/config.yaml"), "no image at all"),
        (("predict.py", "ckpt={run}", "top=0", "{run}/config.yaml"), "[1, inf)"),
        (("predict.py", "ckpt={run}", "--top", "3"), "key=value"),
    ],
)
def test_scripts_refuse(words, expected, run, capsys):
    with pytest.raises(SystemExit) as end:
        run_script(words[0], *(word.format(run=run) for word in words[1:]))
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert expected in err
    assert len(err.splitlines()) <= 5
    assert out == ""


def test_mnist_end_to_end(real_data, tmp_path):
    """Real MNIST through one epoch of logistic regression: the official test split, above 90 %."""
    run = run_train(
        tmp_path,
        "model=logistic_regression",
        "data=mnist",
        f"data.root={real_data}",
        "trainer.max_epochs=1",
        "logger=none",
    )
    summary = json.loads((run / "summary.json").read_text())
    assert summary["test"]["accuracy"] > 0.9
    assert summary["config"]["data"]["val_size"] == 5000


def test_fashion_class_names(real_data, tmp_path):
    run = run_train(
        tmp_path,
        "model=logistic_regression",
        "data=fashion_mnist",
        f"data.root={real_data}",
        "trainer.max_epochs=1",
        "logger=none",
    )
    summary = json.loads((run / "summary.json").read_text())
    assert set(summary["test"]["per_class"]) >= {"Trouser", "Ankle boot"}
    assert summary["test"]["accuracy"] > 0.75


@pytest.mark.parametrize(("monitor", "mode"), [("val/accuracy", "max"), ("val/nll", "min")])
def test_the_plateau_is_one_of_the_monitored_value(monitor, mode, tmp_path):
    """A rate that falls when accuracy stops rising, not when it rises."""
    run = run_train(tmp_path, *TINY, "learner.schedule.name=ReduceLROnPlateau", f"learner.monitor={monitor}")
    (schedule,) = torch.load(run / "last.ckpt", weights_only=True)["lr_schedulers"]
    assert schedule["mode"] == mode
