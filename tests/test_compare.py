"""Measuring claims: each case once, whatever stops it, and the words that ask for it."""

from __future__ import annotations

import concurrent.futures
import json
import os
import threading
import time
import types
from pathlib import Path

import pytest
import torch
from conftest import command, run_script
from filelock import FileLock, ReadWriteLock

from zoo import checkpoint, registry
from zoo.data.splits import Split
from zoo.errors import ConfigError, ZooError
from zoo.textbook import claims, compare
from zoo.textbook.claim import Case, Claim, Finding
from zoo.textbook.claims import rate_distortion
from zoo.textbook.lab import Lab
from zoo.textbook.words import SMALL_RUN


class Fake:
    """A claim of five cases whose measurement is their number, squared."""

    def __init__(self, version: int = 1, timed: tuple[int, ...] = ()) -> None:
        self.CLAIM = Claim(1, "squares", "x² grows.", "Euclid", "By hand.", version=version)
        self.timed = timed
        self.measured: list[int] = []
        self.stop_at: int | None = None

    def cases(self, suite):
        return [Case({"x": x, "seed": 0}, seconds=1, timed=x in self.timed) for x in range(5)]

    def measure(self, case, lab):
        if case["x"] == self.stop_at:
            raise KeyboardInterrupt
        self.measured.append(case["x"])
        return {"square": case["x"] ** 2}

    def findings(self, rows):
        return [Finding("grows", "It grows.", [float(row["square"]) for row in rows], "1", above=0)]

    def figures(self, rows):
        return {}


@pytest.fixture
def fake(monkeypatch):
    module = Fake()
    monkeypatch.setattr(claims, "find", lambda name: module)
    return module


def test_each_case_is_measured_once(fake, tmp_path):
    todo = compare.jobs("quick", ["squares"], tmp_path)
    compare.run(todo, tmp_path)
    compare.run(todo, tmp_path)
    assert fake.measured == [0, 1, 2, 3, 4]
    rows, seconds = compare.read(todo)
    assert rows == [{"x": x, "seed": 0, "square": x**2} for x in range(5)]
    assert all(value >= 0 for value in seconds)


def test_what_was_stopped_goes_on(fake, tmp_path):
    todo = compare.jobs("quick", ["squares"], tmp_path)
    fake.stop_at = 3
    with pytest.raises(KeyboardInterrupt):
        compare.run(todo, tmp_path)
    assert fake.measured == [0, 1, 2]
    fake.stop_at = None
    compare.run(todo, tmp_path)
    assert fake.measured == [0, 1, 2, 3, 4]


def test_a_new_version_is_measured_again(monkeypatch, tmp_path):
    paths = []
    for version in (1, 2):
        monkeypatch.setattr(claims, "find", lambda name, version=version: Fake(version))
        paths.append({job.path for job in compare.jobs("quick", ["squares"], tmp_path)})
    assert not paths[0] & paths[1]


def test_cases_that_measure_time_come_first_and_have_the_machine_to_themselves(monkeypatch, tmp_path):
    fake = Fake(timed=(3,))
    monkeypatch.setattr(claims, "find", lambda name: fake)
    todo = compare.jobs("quick", ["squares"], tmp_path)
    assert [job.case.parameters["x"] for job in todo] == [3, 0, 1, 2, 4]
    compare.work(tmp_path).mkdir()
    other = ReadWriteLock(compare.work(tmp_path) / "machine.lock", is_singleton=False)  # as another process has it
    with other.read_lock():
        waiting = threading.Thread(target=compare.run, args=(todo, tmp_path))
        waiting.start()
        waiting.join(0.5)
        assert fake.measured == []
    waiting.join(20)
    assert fake.measured == [3, 0, 1, 2, 4]


def test_what_another_process_is_at_comes_last(fake, tmp_path):
    todo = compare.jobs("quick", ["squares"], tmp_path)
    todo[1].path.parent.mkdir(parents=True)
    with FileLock(todo[1].path.with_suffix(".lock"), is_singleton=False):  # as another process has it
        assert compare._take(todo[1], tmp_path, wait=False) is None
        waiting = threading.Thread(target=compare.run, args=(todo, tmp_path))
        waiting.start()
        until = time.monotonic() + 20
        while len(fake.measured) < 4 and time.monotonic() < until:
            waiting.join(0.01)
        assert fake.measured == [0, 2, 3, 4]
        assert waiting.is_alive()
    waiting.join(20)
    assert fake.measured == [0, 2, 3, 4, 1]  # the other had stopped
    assert compare._take(todo[1], tmp_path) == 0


def test_several_workers_take_the_longest_first_and_count_on(fake, tmp_path, monkeypatch):
    """Two workers, each with a job at a time, whose cases take twice what was expected."""

    class Pool(concurrent.futures.ThreadPoolExecutor):
        def __init__(self, workers, context, prepare, arguments):
            super().__init__(1)

    taken: list[int] = []

    def take(job, out, wait):
        taken.append(job.case.parameters["x"])
        return 2 * job.case.seconds

    monkeypatch.setattr(
        fake, "cases", lambda suite: [Case({"x": x, "seed": 0}, float(x), x == 1) for x in (1, 2, 5, 3)]
    )
    monkeypatch.setattr(compare, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(compare, "_take", take)
    told: list[tuple[str, float]] = []
    compare.run(compare.jobs("quick", ["squares"], tmp_path), tmp_path, lambda *each: told.append(each), workers=2)
    assert taken == [1, 5, 3, 2]  # the one that is timed before the others
    assert [text.split()[0] for text, _ in told] == ["[1/4]", "[2/4]", "[3/4]", "[4/4]"]
    assert told[0][1] == 11
    # twice what is left, by two workers, whichever of the three is told first
    assert told[1][1] in (5, 7, 8)
    assert told[2][1] in (2, 3, 5)
    assert told[3][1] == 0


@pytest.mark.parametrize("name", claims.names())
def test_every_claim_discusses_what_came_out(name):
    assert len(claims.find(name).CLAIM.discussion) > 100


def end(*_, **__) -> None:
    os._exit(1)


def test_workers_that_end_are_told(tmp_path, monkeypatch):
    """Several processes measure: here, one that is not let live."""
    monkeypatch.setattr(compare, "_take", end)
    todo = compare.jobs("quick", ["rate_distortion"], tmp_path)
    with pytest.raises(ZooError, match="a worker ended before its case did"):
        compare.run(todo, tmp_path, workers=2)


def test_the_time_left_follows_the_pace(fake, tmp_path, monkeypatch):
    times = iter(range(0, 1000, 10))  # each case takes ten seconds, where one was expected
    clock = types.SimpleNamespace(perf_counter=lambda: float(next(times)))
    monkeypatch.setattr(compare, "time", clock)
    monkeypatch.setattr(compare, "_measure", lambda job, out: None)
    told: list[float] = []
    compare.run(compare.jobs("quick", ["squares"], tmp_path), tmp_path, lambda text, left: told.append(left))
    assert told == [5, 40, 30, 20, 10]


def test_a_measurement_may_not_have_the_name_of_a_parameter(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(fake, "measure", lambda case, lab: {"x": 1})
    with pytest.raises(ZooError, match="x is a parameter and a measurement"):
        compare.run(compare.jobs("quick", ["squares"], tmp_path), tmp_path)


@pytest.mark.parametrize(("seconds", "text"), [(12.4, "12 s"), (600, "10 min"), (4320, "1 h 12 min")])
def test_clock(seconds, text):
    assert compare.clock(seconds) == text


def test_nothing_measured_is_no_report(tmp_path):
    with pytest.raises(ZooError, match="no claim of suite=quick"):
        compare.report("quick", tmp_path, "2026-01-31")


# The models that claims ask about

WORDS = ("model=logistic_regression", "data=digits", "trainer.max_epochs=2", "seed=3")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return Lab(tmp_path_factory.mktemp("lab"), pretrained=None)


def test_a_model_is_trained_once(lab):
    first = lab.train(*WORDS)
    (folder,) = (path for path in lab.folder.iterdir() if path.is_dir())
    made = folder.stat().st_mtime_ns
    again = lab.train(*reversed(WORDS))
    assert folder.stat().st_mtime_ns == made
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert json.loads((folder / "config.json").read_text())["training"]["recipe"] == sorted(WORDS)


def test_it_is_the_model_that_train_keeps(lab, tmp_path):
    from conftest import run_train

    run = run_train(tmp_path, *WORDS, "logger=none")
    ours, theirs = lab.train(*WORDS), registry.load(run)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_seconds_are_those_of_a_training_that_was_alone(lab):
    lab.train(*WORDS)
    quiet = Lab(lab.folder, alone=True, pretrained=None)
    assert quiet.seconds(*WORDS) > 0
    (config,) = lab.folder.glob("*/config.json")
    assert json.loads(config.read_text())["training"]["alone"] is True
    made = config.stat().st_mtime_ns
    quiet.seconds(*WORDS)
    assert config.stat().st_mtime_ns == made


def test_a_released_model_of_the_same_recipe_is_taken(lab, tmp_path):
    model = lab.train(*WORDS)
    with torch.no_grad():
        model.head.bias.fill_(7.0)  # to be recognised
    checkpoint.save(model, tmp_path / "pretrained" / "released", training={"recipe": list(WORDS)})
    elsewhere = Lab(tmp_path / "models", pretrained=tmp_path / "pretrained")
    assert elsewhere.train(*WORDS).head.bias[0].item() == 7.0
    assert not (tmp_path / "models").exists()
    assert elsewhere.train(*WORDS[:-1], "seed=4").head.bias[0].item() != 7.0


def test_images_of_ones_own(lab):
    train = lab.splits("digits").train
    shuffled = Split(train.images, train.labels.roll(1))
    model = lab.fit("model=naive_bayes", "data=digits", train=shuffled)
    assert torch.equal(model.log_prior.exp().mul(len(train)).round().long(), shuffled.labels.bincount())


def test_the_words_of_another_are_unknown(lab):
    with pytest.raises(ConfigError, match="did you mean 'mlp'"):
        lab.train("model=mpl")


# The command


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["sute=quick"], "did you mean 'suite'?"),
        (["suite=quik"], "did you mean 'quick'?"),
        (["claims=gatin"], "did you mean 'gating'?"),
        (["claims=[]"], "claims= names none"),
        (["claims=[gating,nothing]"], "unknown claim 'nothing'"),
        (["--suite"], "unknown flag --suite"),
        (["-m", "claims=gating,nothing"], "unknown claim 'nothing'"),
        (["jobs=0"], "jobs=0: a whole number of processes is needed"),
        (["jobs=two"], "jobs=two: a whole number of processes is needed"),
    ],
)
def test_a_mistake_is_answered(words, answer, monkeypatch, capsys):
    import sys

    from zoo.commands import compare as script

    monkeypatch.setattr(sys, "argv", ["compare.py", *words])
    with pytest.raises(SystemExit) as end:
        script.main()
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert answer in error
    assert len(error.splitlines()) <= 5


def _cases(folder: Path) -> dict[Path, int]:
    """The files of what was measured, and when they were written."""
    return {path: path.stat().st_mtime_ns for path in (folder / "work").rglob("*.json")}


def _measured(folder: Path, out: str, err: str) -> dict[Path, int]:
    """As :func:`_cases`, of a command that said ``out`` and ``err``, and has left its page."""
    assert " ".join(err.split()).startswith(SMALL_RUN)
    assert "a small run" in out.splitlines()[0]
    assert max(map(len, out.splitlines()[:-1])) <= 80
    entries = json.loads((folder / "claims.json").read_text())
    assert {entry["id"].partition("/")[0] for entry in entries} == {"rate_distortion"}
    assert (folder / "index.html").is_file()
    return _cases(folder)


def test_a_claim_from_the_command_line_to_its_page(tmp_path, monkeypatch, capsys):
    """In this process, of models that have hardly been trained."""
    monkeypatch.setitem(rate_distortion.IMAGES, "quick", 200)
    monkeypatch.setitem(rate_distortion.EPOCHS, "quick", (1, 2))
    words = ("suite=quick", "claims=rate_distortion", f"out={tmp_path}", "jobs=1")
    run_script("compare.py", *words)
    before = _measured(tmp_path, *capsys.readouterr())
    assert len(before) == 15
    run_script("compare.py", *words)
    assert before == _cases(tmp_path)


@pytest.mark.slow
def test_a_claim_is_measured_by_several_processes(tmp_path):
    done = command("scripts/compare.py", "suite=quick", "claims=rate_distortion", f"out={tmp_path}", "jobs=2")
    assert done.returncode == 0, done.stderr
    before = _measured(tmp_path, done.stdout, done.stderr)
    parallel = ("-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    again = command("scripts/compare.py", *parallel, "suite=quick", "claims=rate_distortion", f"out={tmp_path}")
    assert again.returncode == 0, again.stderr
    assert before == _cases(tmp_path)
