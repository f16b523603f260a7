"""Runs that are killed, moved, refused a disk, or handed on by somebody else: nothing outside is touched, nothing is
lost, and what goes on ends where an undisturbed run does."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from conftest import ROOT, command, left, run_train, stopped_at
from filelock import FileLock
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

import zoo
from zoo import checkpoint, files
from zoo.errors import Stopped
from zoo.files import whole_file
from zoo.run import record, stop
from zoo.run import train as run
from zoo.run.checkpoints import Checkpoints

MLP = ("model=mlp", "model.hidden_sizes=[8]", "experiment=debug", "data=digits")
QUIET = (*MLP, "logger=none")
pytestmark = pytest.mark.usefixtures("one_thread")


def refused(capsys, *words: str, runs: Path | None = None) -> str:
    """What a command says that ends with status 2."""
    with pytest.raises(SystemExit) as end:
        run_train(runs, *words)
    assert end.value.code == 2
    return capsys.readouterr().err


def points(folder: Path) -> list[tuple[str, int]]:
    """Tags and steps in the one event file of a run, in its order."""
    (file,) = folder.glob("events.*")
    return [(value.tag, event.step) for event in EventFileLoader(str(file)).Load() for value in event.summary.value]


def weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return checkpoint.read(folder / f"{name}.ckpt")["state_dict"]


def same(first: Path, second: Path, name: str = "last") -> bool:
    one, other = weights(first, name), weights(second, name)
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


def table(folder: Path) -> list[list[str]]:
    """``metrics.csv`` but for how fast it was."""
    rows = [row.split(",") for row in (folder / "metrics.csv").read_text().splitlines()]
    speed = rows[0].index("images_per_second")
    return [row[:speed] + row[speed + 1 :] for row in rows]


# Nothing outside is touched


def test_a_foreign_run_touches_nothing_outside(tmp_path):
    """Its checkpoint names files and folders elsewhere, as those of earlier versions do: they are let be."""
    made = run_train(tmp_path / "runs", *QUIET)
    victim, folder = made.parent / "victim.ckpt", made.parent / "victim"
    victim.write_text("precious")
    folder.mkdir()
    (folder / "best.ckpt").write_text("precious")
    state = torch.load(made / "last.ckpt", weights_only=True)
    outside = {
        "best_model_path": str(victim), "last_model_path": str(victim), "kth_best_model_path": str(victim),
        "dirpath": str(folder), "best_k_models": {str(victim): torch.tensor(0.1)}, "kth_value": torch.tensor(0.1),
        "best_model_score": torch.tensor(0.1), "monitor": "val/accuracy", "current_score": torch.tensor(0.1),
    }  # fmt: skip
    state["callbacks"] = dict.fromkeys(("BestAndLast{'monitor': 'val/accuracy'}", "ModelCheckpoint{}"), outside)
    torch.save(state, made / "last.ckpt")
    run_train(None, f"resume={made}", "trainer.max_epochs=3")
    assert victim.read_text() == (folder / "best.ckpt").read_text() == "precious"
    assert {path.name for path in made.parent.iterdir()} == {made.name, "victim", "victim.ckpt"}


def test_a_run_with_links_is_refused(tmp_path, capsys):
    made = run_train(tmp_path / "runs", *QUIET, figures=True)
    shutil.rmtree(made / "figures")
    (made / "figures").symlink_to(tmp_path, target_is_directory=True)
    assert "figures is a link" in refused(capsys, f"resume={made}", "trainer.max_epochs=3")


def test_a_moved_run_keeps_its_best_epoch(tmp_path):
    """Its later epochs are worse: training diverges. The checkpoint of the best one stays, and the score with it."""
    made = run_train(tmp_path / "runs", *QUIET)
    moved = tmp_path / "elsewhere" / "moved"
    shutil.copytree(made, moved)
    shutil.rmtree(made)
    state = torch.load(moved / "last.ckpt", weights_only=True)
    state["callbacks"]["Checkpoints"]["best"] = 0.999
    torch.save(state, moved / "last.ckpt")
    best = (moved / "best.ckpt").read_bytes()
    run_train(None, f"resume={moved}", "trainer.max_epochs=4")
    assert (moved / "best.ckpt").read_bytes() == best
    assert checkpoint.read(moved / "last.ckpt")["callbacks"]["Checkpoints"]["best"] == 0.999


@pytest.mark.parametrize("score", [0.999, 0.001])
def test_the_best_epoch_of_an_earlier_version(score, tmp_path):
    """Its score was kept by Lightning's callback."""
    made = run_train(tmp_path, *QUIET)
    state = torch.load(made / "last.ckpt", weights_only=True)
    state["callbacks"] = {"BestAndLast{'monitor': 'val/accuracy'}": {"best_model_score": torch.tensor(score)}}
    state.pop("so_far")
    torch.save(state, made / "last.ckpt")
    best = (made / "best.ckpt").read_bytes()
    run_train(None, f"resume={made}", "trainer.max_epochs=4")
    assert ((made / "best.ckpt").read_bytes() == best) == (score > 0.5)


# Files are whole


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "a.ckpt"
    path.write_bytes(b"before")

    def fail(file):
        file.write(b"half")
        raise RuntimeError

    with pytest.raises(RuntimeError), whole_file(path) as file:
        fail(file)
    assert path.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.ckpt"]
    with whole_file(path) as file:
        file.write(b"after")
        assert path.read_bytes() == b"before"
    assert path.read_bytes() == b"after"


def test_a_link_is_replaced(tmp_path):
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "a.ckpt").symlink_to(tmp_path / "victim")
    files.write_bytes(tmp_path / "a.ckpt", b"new")
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert not (tmp_path / "a.ckpt").is_symlink()


@pytest.mark.parametrize("place", ["write", "fsync", "replace"])
def test_a_disk_that_is_full(place, tmp_path, monkeypatch, capsys):
    """A line with path and reason; the checkpoint before is intact, and the run goes on once there is room."""
    straight = run_train(tmp_path / "straight", *QUIET)
    full = threading.Event()

    def failing(real):
        def call(*arguments, **options):
            if full.is_set():
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*arguments, **options)

        return call

    kept = []
    save = Checkpoints._save

    def last_is_too_much(self, trainer, learner, name):
        if trainer.current_epoch == 1 and name == "last":
            kept.append((self.run / "last.ckpt").read_bytes())
            full.set()
        save(self, trainer, learner, name)

    monkeypatch.setattr(Checkpoints, "_save", last_is_too_much)
    if place == "write":
        monkeypatch.setattr(files._Remembering, "write", failing(files._Remembering.write))
        monkeypatch.setattr(files._Remembering, "failed", OSError(errno.ENOSPC, "No space left on device"))
    else:
        monkeypatch.setattr(os, place, failing(getattr(os, place)))
    said = refused(capsys, *QUIET, runs=tmp_path / "full")
    (made,) = (tmp_path / "full").iterdir()
    monkeypatch.undo()
    assert said == f"error: {made / 'last.ckpt'} cannot be written: No space left on device\n"
    assert [(made / "last.ckpt").read_bytes()] == kept
    assert not list(made.glob(".*"))
    run_train(None, f"resume={made}")
    assert same(straight, made)


def test_a_run_directory_that_is_deleted(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Checkpoints, "on_train_batch_end", lambda self, *_: shutil.rmtree(self.run, True))
    assert "cannot be written: No such file or directory" in refused(capsys, *QUIET, runs=tmp_path / "runs")


def test_too_little_memory_is_a_sentence(tmp_path, monkeypatch, capsys):
    def too_much(self, *_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(zoo.ClassificationLearner, "loss", too_much)
    said = refused(capsys, *QUIET, runs=tmp_path / "runs")
    assert said.startswith("error: a number, or the memory that it takes, is too large for this machine")


def test_what_a_killed_process_was_writing_is_removed(tmp_path):
    made = run_train(tmp_path, *QUIET)
    (made / ".123-456.tmp").write_bytes(b"half a checkpoint")
    (made / "notes.txt").write_text("the user's")
    run_train(None, f"resume={made}", "trainer.max_epochs=3")
    assert not (made / ".123-456.tmp").exists()
    assert (made / "notes.txt").exists()


def test_a_damaged_checkpoint_is_noticed_and_the_one_before_taken(tmp_path, capsys):
    """A bit of a weight is another: PyTorch reads on, the checksum does not agree."""
    options = (*QUIET, "learner.schedule.name=none")  # which does not know the run's length
    straight = run_train(tmp_path / "straight", *options, "trainer.max_epochs=3")
    made = run_train(tmp_path / "damaged", *options)
    content = bytearray((made / "last.ckpt").read_bytes())
    content[len(content) // 2] ^= 1
    (made / "last.ckpt").write_bytes(content)
    torch.load(made / "last.ckpt", weights_only=True)
    with pytest.raises(zoo.CheckpointError, match="damaged"):
        checkpoint.read(made / "last.ckpt")
    capsys.readouterr()
    run_train(None, f"resume={made}", "trainer.max_epochs=3")
    assert "the run goes on from best.ckpt" in capsys.readouterr().out
    assert same(straight, made)
    (made / "last.ckpt").write_bytes(b"")
    (made / "best.ckpt").write_bytes(b"PK")
    assert "is empty" in refused(capsys, f"resume={made}")


# Signals


@pytest.mark.parametrize("number", stop.SIGNALS, ids=lambda number: number.name)
def test_a_signal_ends_the_run_after_its_step(number, tmp_path, capsys):
    straight = run_train(tmp_path / "straight", *QUIET)
    with stopped_at(6, number):
        run_train(tmp_path / "stopped", *QUIET)
    (made,) = (tmp_path / "stopped").iterdir()
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith(f"; to go on: python train.py resume={made}")
    assert torch.load(made / "last.ckpt", weights_only=True)["global_step"] == 7
    run_train(None, f"resume={made}")
    assert same(straight, made)
    assert table(straight) == table(made)


def test_a_second_signal_ends_at_once():
    asked = stop.Stop()
    asked.later = True
    asked(signal.SIGINT)
    with pytest.raises(Stopped) as end:
        asked(signal.SIGINT)
    assert end.value.code == 130
    assert str(end.value) == "interrupted"
    with pytest.raises(Stopped, match="ended by SIGTERM"):
        stop.Stop()(signal.SIGTERM)


def test_signals_that_are_ignored_stay_so():
    """As ``nohup`` has it; and each handler is as it was afterwards."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    others = [signal.getsignal(number) for number in stop.SIGNALS]
    try:
        with stop.stoppable():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert isinstance(signal.getsignal(signal.SIGTERM), stop.Stop)
        assert [signal.getsignal(number) for number in stop.SIGNALS] == others
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_process_that_gets_a_signal(tmp_path):
    """As a user sees it: Ctrl-C on a run that would go on for long."""
    words = [*MLP, "trainer.max_epochs=100000", f"runs={tmp_path}"]
    line = [sys.executable, str(ROOT / "train.py"), *words]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while not list(tmp_path.glob("*/last.ckpt")) and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    (made,) = tmp_path.iterdir()
    assert process.returncode == 130
    assert said.splitlines() == [
        "ends after this step, and saves it; a second signal ends at once",
        f"interrupted; to go on: python train.py resume={made}",
    ]
    assert left(made) == {"config.yaml", "metrics.csv", "last.ckpt", "best.ckpt"}
    assert len(list(made.glob("events.*"))) == 1


def test_a_signal_within_accumulated_gradients_waits_for_the_step(tmp_path):
    options = (*QUIET, "learner.accumulate=2", "trainer.limit_train_batches=6")
    straight = run_train(tmp_path / "straight", *options)
    with stopped_at(1):  # the third batch is the first half of the second step
        run_train(tmp_path / "stopped", *options)
    (made,) = (tmp_path / "stopped").iterdir()
    state = torch.load(made / "last.ckpt", weights_only=True)
    assert (state["global_step"], state["loader"]["next"]) == (2, 4)
    run_train(None, f"resume={made}")
    assert same(straight, made)
    assert table(straight) == table(made)


def test_checkpoints_within_an_epoch(tmp_path, monkeypatch):
    """Killed in the ninth step, with a checkpoint every three: the run ends as if nothing had been."""
    straight = run_train(tmp_path / "straight", *QUIET, "save_every=3")
    begin = Checkpoints.on_train_batch_start

    def kill(self, trainer, *rest):
        begin(self, trainer, *rest)
        if trainer.global_step == 8:
            raise RuntimeError("killed")

    monkeypatch.setattr(Checkpoints, "on_train_batch_start", kill)
    with pytest.raises(RuntimeError, match="killed"):
        run_train(tmp_path / "killed", *QUIET, "save_every=3")
    monkeypatch.undo()
    (made,) = (tmp_path / "killed").iterdir()
    assert torch.load(made / "last.ckpt", weights_only=True)["global_step"] == 8
    run_train(None, f"resume={made}")
    assert same(straight, made)
    assert table(straight) == table(made)


@pytest.mark.parametrize("late", [False, True], ids=["before the test", "while it draws"])
def test_a_run_that_was_ended_after_its_last_epoch_is_finished(late, tmp_path, monkeypatch, capsys):
    straight = run_train(tmp_path / "straight", *MLP)

    def ended(*_, **__):
        raise Stopped(signal.SIGTERM)

    monkeypatch.setattr(*((record, "draw") if late else (run, "evaluate")), ended)
    with pytest.raises(SystemExit):
        run_train(tmp_path / "ended", *MLP)
    monkeypatch.undo()
    (made,) = (tmp_path / "ended").iterdir()
    assert not (made / "summary.json").exists()
    run_train(None, f"resume={made}")
    first, second = (json.loads((path / "summary.json").read_text()) for path in (straight, made))
    for summary in (first, second):
        for key in ("command", "seconds", "config"):
            summary.pop(key)
        summary["last_epoch"].pop("images_per_second")
    assert first == second
    assert sorted(points(straight)) == sorted(points(made))
    assert "complete with 2 epochs" in refused(capsys, f"resume={made}")


def test_the_summary_is_of_what_is_kept(tmp_path):
    """A run that goes on has none until it has come to its new end."""
    made = run_train(tmp_path, *QUIET)
    with stopped_at(12):
        run_train(None, f"resume={made}", "trainer.max_epochs=4")
    assert not (made / "summary.json").exists()
    run_train(None, f"resume={made}")
    assert json.loads((made / "summary.json").read_text())["epochs"] == 4


def test_a_run_is_trained_by_one_process(tmp_path, capsys):
    made = run_train(tmp_path, *QUIET)
    with FileLock(made / record.LOCK):
        assert "is in use: another process trains there" in refused(capsys, f"resume={made}", "trainer.max_epochs=3")
    run_train(None, f"resume={made}", "trainer.max_epochs=3")


def test_resume_last(tmp_path, capsys):
    assert "no run in" in refused(capsys, "resume=last", f"runs={tmp_path / 'none'}")
    runs = [run_train(tmp_path / "runs", *QUIET) for _ in range(2)]
    os.utime(runs[0] / "last.ckpt")
    with pytest.raises(SystemExit):
        run_train(tmp_path / "runs", "resume=last", "seed=3")
    assert "only trainer.*" in capsys.readouterr().err
    run_train(tmp_path / "runs", "resume=last", "trainer.max_epochs=3")
    assert [torch.load(path / "last.ckpt", weights_only=True)["global_step"] for path in runs] == [15, 10]


# Curves


def test_curves_have_each_step_once(tmp_path, monkeypatch):
    """Ended by a signal, then by a crash whose epoch was not drawn: one file, each tag and step once, none missing."""
    options = (*MLP, "trainer.log_every_n_steps=1", "trainer.max_epochs=4")
    straight = run_train(tmp_path / "straight", *options)
    with stopped_at(7):
        run_train(tmp_path / "parted", *options)
    (made,) = (tmp_path / "parted").iterdir()
    copy = tmp_path / "copy"

    class Crash(Exception):
        pass

    def crash(self, trainer, *rest):  # the files as they are when a process is killed just after a checkpoint
        if trainer.current_epoch == 2:
            shutil.copytree(made, copy)
            raise Crash

    end = Checkpoints.on_train_epoch_end
    monkeypatch.setattr(
        Checkpoints,
        "on_train_epoch_end",
        lambda self, trainer, *rest: (end(self, trainer, *rest), crash(self, trainer)),
    )
    with pytest.raises(Crash):
        run_train(None, f"resume={made}")
    monkeypatch.undo()
    run_train(None, f"resume={copy}")
    drawn = points(copy)
    assert len(set(drawn)) == len(drawn)
    assert sorted(drawn) == sorted(points(straight))
    assert same(straight, copy)
    assert table(straight) == table(copy)


# Numbers that are none


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_named(value, tmp_path, monkeypatch, capsys):
    compute = zoo.ClassificationLearner.loss

    def wrong(self, x, labels):
        return compute(self, x, labels) * (value if self.global_step == 7 else 1)

    monkeypatch.setattr(zoo.ClassificationLearner, "loss", wrong)
    said = refused(capsys, *QUIET, runs=tmp_path / "runs")
    assert f"train/loss became {value} at step 8, in epoch 1" in said
    (made,) = (tmp_path / "runs").iterdir()
    assert torch.load(made / "last.ckpt", weights_only=True)["global_step"] == 5
    assert all(tensor.isfinite().all() for tensor in weights(made).values())


@pytest.mark.parametrize("model", ["mlp", "gmm"])
def test_a_weight_that_is_no_number_is_not_kept(model, tmp_path, monkeypatch, capsys):
    begin = Checkpoints.on_train_epoch_end

    def spoil(self, trainer, learner):
        if trainer.current_epoch == 1:
            parameter = next(p for p in learner.model.state_dict().values() if p.is_floating_point())
            parameter.view(-1)[0] = float("nan")
        begin(self, trainer, learner)

    monkeypatch.setattr(Checkpoints, "on_train_epoch_end", spoil)
    small = {"mlp": ["model.hidden_sizes=[8]"], "gmm": ["model.num_components=1", "learner.tolerance=0"]}[model]
    words = [f"model={model}", *small, "experiment=debug", "logger=none"]
    assert "has become no number by step 10, in epoch 1" in refused(capsys, *words, runs=tmp_path / "runs")
    (made,) = (tmp_path / "runs").iterdir()
    assert torch.load(made / "last.ckpt", weights_only=True)["global_step"] == 5
    zoo.load(made)


# What fits beside resume


def test_a_schedule_goes_on_in_epochs_of_another_length(tmp_path):
    """OneCycle knows the run's length: what is done is done, and the rest is as long as it will be."""
    made = run_train(tmp_path, *QUIET, "learner.schedule.name=OneCycleLR")
    run_train(None, f"resume={made}", "trainer.max_epochs=4", "trainer.limit_train_batches=2")
    state = torch.load(made / "last.ckpt", weights_only=True)
    assert state["global_step"] == 14
    assert state["lr_schedulers"][0]["total_steps"] == 14


def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path, capsys):
    with stopped_at(7):
        run_train(tmp_path, *QUIET)
    (made,) = tmp_path.iterdir()
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    for words, expected in (
        (["trainer.limit_train_batches=3"], "stopped within an epoch of 5 batches on 1 processes"),
        (["trainer.fast_dev_run=true"], "no run goes on with it"),
        (["trainer.accelerator=gpu"], "no GPU"),
        (["trainer.precision=nothing"], "precision"),
    ):
        assert expected in refused(capsys, f"resume={made}", *words), words
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before


def test_kills(tmp_path):
    """Killed within the writing of files and in between, in trainings that go on: see ``scripts/kills.py``."""
    done = command("scripts/kills.py", "n=4", "models=mlp", f"places={tmp_path}", "seed=1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failures" in done.stdout
