"""Multiruns: what a sweep may be, what becomes of each job, the table and the exit status."""

import gc
import itertools
import json
import os
import re
import signal
import sys
import weakref
from pathlib import Path
from unittest import mock

import pytest
import torch
from conftest import CONFIGS, ROOT, command
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.errors import MissingConfigException

import zoo
from zoo import config
from zoo.commands import train
from zoo.config import checking
from zoo.run import machine, sweep
from zoo.run import train as run_train

WORDS = ("model=logistic_regression", "logger=none", "trainer=cpu", "trainer.max_epochs=1")


@pytest.fixture
def multirun(tmp_path, monkeypatch, capsys):
    """``train.py -m`` in this process; gives its exit status, what it printed, and the directory of the sweep."""

    def run(*words: str, job=None) -> tuple[int, str, Path]:
        before = set(tmp_path.iterdir())
        monkeypatch.setattr(sys, "argv", [str(ROOT / "train.py"), "-m", *WORDS, f"runs={tmp_path}", *words])
        monkeypatch.setenv("COLUMNS", "100")
        if job is not None:
            monkeypatch.setattr(run_train, "train", job)
        status = 0
        try:
            train.main()
        except SystemExit as end:
            status = end.code
        (directory,) = set(tmp_path.iterdir()) - before
        said = capsys.readouterr()
        return status, said.out + said.err, directory

    return run


def done(settings, resume, target):
    """A job that takes no time."""
    target.mkdir()
    summary = {"test": {"accuracy": settings["seed"] / 100}, "seconds": {"fit": 1}, "argv": sys.argv}
    (target / "summary.json").write_text(json.dumps(summary))
    return 0.5


def rows(said: str) -> list[list[str]]:
    """The cells of the table that a multirun ends with; those that are empty are left out, but for the first."""
    lines = iter(said.splitlines())
    for line in lines:
        if line.startswith(" ─"):
            break
    table = [line for line in itertools.takewhile(lambda line: line.startswith(" "), lines) if line.strip()]
    return [[*([""] if line.startswith("   ") else []), *re.split(r" {2,}", line.strip())] for line in table]


# What a sweep may be


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("learner.optimizer.lr=interval(0.1,1)", "scripts/tune.py"),
        ("hydra/sweeper=optuna", "scripts/tune.py"),
        ("resume=runs/a,runs/b", "without -m"),
        ("resume=runs/a", "without -m"),
        ("seed=glob(*)", "seed=a,b"),
        ("model=glob(q*)", "matches none of autoregressive, cnn, dcgan"),
        ("seed=range(3,3)", "has no value"),
        ("seed=range(0,3,0)", "is no range"),
        ("data.val_size=range(0.1,0.3,0)", "is no range"),
        ("seed=range(0,1000000000)", "more than 100,000 jobs"),
        ("learner.optimizer.lr=choice(0.1,-1)", "learner.optimizer.lr=-1: must be in"),
        ("seed=0,1.5", "seed"),
        ("seed=range(4294967290,4294967300)", "seed=4294967296"),
        ("model.name=cnn,mlp", "cannot be changed"),
        ("learner.optimizer={lr: 1},{l: 2}", "learner.optimizer={l:2}; none was started"),
        ("data.path=a,'${oops}'", "oops"),
    ],
)
def test_what_makes_no_grid_is_refused(word, expected):
    with pytest.raises(zoo.ConfigError, match=re.escape(expected)):
        config.check_sweep(["-m", "data=image_folder" if "path" in word else "data=digits", word], CONFIGS)


def test_glob_is_spelled_out():
    """As names of options: neither those that others extend, nor files in folders that only Hydra would find."""
    words = config.check_sweep(["-m", "model=glob(*m,exclude=gm*)", "data=glob(*e)", "seed=1,2"], CONFIGS)
    assert words[:2] == ["-m", "model=hmm,nbsvm,ngram,rnnlm,svm"]
    assert "_base" not in words[2]
    assert words[3] == "seed=1,2"


def test_a_thousand_jobs_are_composed_once():
    with mock.patch.object(checking, "compose", wraps=checking.compose) as compose:
        words = ["-m", "seed=range(0,1000)", "learner.optimizer.lr=0.1,0.2,0.3", "model=mlp,cnn"]
        assert config.check_sweep(words, CONFIGS) == words
    assert compose.call_count == 2  # the first job, and the other model
    assert sweep.Sweep(Path(), sweep.choices(words[1:])).jobs == 6000


def test_the_first_of_many_jobs_begins_before_the_others_are_composed(multirun):
    def job(settings, resume, target):
        raise KeyboardInterrupt

    load = ConfigLoaderImpl.load_sweep_config
    with mock.patch.object(ConfigLoaderImpl, "load_sweep_config", autospec=True, side_effect=load) as composed:
        status, said, _ = multirun("seed=range(0,1000)", job=job)
    assert status == 130
    assert "999 of 1000 jobs were not begun" in said
    assert composed.call_count < 5


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ("hydra/launcher/joblib", "pip install hydra-joblib-launcher"),
        ("hydra/launcher/submitit_slurm", "pip install hydra-submitit-launcher"),
        ("hydra/launcher/ray", "pip install hydra-ray-launcher"),
        ("hydra/launcher/rq", "hydra/launcher=joblib"),
        ("hydra/sweeper/ax", "scripts/tune.py"),
        ("hydra/sweeper/nevergrad", "scripts/tune.py"),
        ("hydra/job_logging/colorlog", "pip install hydra-colorlog"),
    ],
)
def test_a_package_is_recommended_only_where_it_works(missing, expected):
    told = config.explain(MissingConfigException("", missing, ["basic"]), [], CONFIGS)
    assert expected in told
    assert ("pip install" in told) == ("pip install" in expected)


# What becomes of each job


def test_a_job_that_fails_is_a_row_and_the_others_go_on(multirun):
    def job(settings, resume, target):
        if settings["seed"] == 1:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
        if settings["seed"] == 2:
            raise MemoryError
        if settings["seed"] == 3:
            raise zoo.DataError("a [bold]folder[/bold]\nis missing")
        return done(settings, resume, target)

    status, said, directory = multirun("seed=range(0,5)", job=job)
    assert status == 2
    assert "error: 3 of 5 jobs failed" in said
    assert "Traceback" in said  # of what is no user's mistake
    table = rows(said)
    assert [row[:2] for row in table if row[0]] == [[f"00{seed}", f"{seed}"] for seed in range(5)]
    assert (table[0][2], table[-1][2]) == ("0.00%", "4.00%")
    text = " ".join(row[-1] for row in table)
    assert "RuntimeError: mat1 and mat2 shapes cannot be multiplied" in text
    assert "too large for this machine" in text
    assert "a [bold]folder[/bold]" in text
    assert (directory / "003-seed3" / "failed.txt").read_text() == "a [bold]folder[/bold]\nis missing\n"


def test_a_job_that_is_refused_is_a_row(multirun):
    """By what only the data can tell, before it has a directory."""
    status, said, directory = multirun("data.train_size=100000,100")
    assert status == 2
    assert "at most 1198 images" in (directory / "000-train_size100000" / "failed.txt").read_text()
    assert (directory / "001-train_size100" / "summary.json").is_file()
    assert "error: 1 of 2 jobs failed" in said


def test_an_interrupt_ends_the_sweep_with_its_table(multirun):
    def job(settings, resume, target):
        if settings["seed"] == 1:
            raise zoo.errors.Stopped(signal.SIGINT, "to go on: python train.py resume=…")
        return done(settings, resume, target)

    status, said, _ = multirun("seed=range(0,4)", job=job)
    assert status == 130
    assert [row[0] for row in rows(said)] == ["000", "001"]
    assert rows(said)[1][-1].startswith("interrupted; to go on:")
    assert "2 of 4 jobs were not begun" in said


def test_a_launcher_that_gives_up_is_a_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(train, "job", mock.Mock(side_effect=OSError("the cluster\nis gone")))
    with pytest.raises(zoo.ZooError, match=r"the launcher gave up: OSError: the cluster$"):
        train._multirun()


def test_a_sweep_that_has_no_place_is_refused_with_its_path(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", *WORDS, "seed=1,2", "runs=/dev/null/runs"])
    with pytest.raises(SystemExit) as end:
        train.main()
    assert end.value.code == 2
    assert re.search(r"^error: /dev/null/runs.* cannot be written: Not a directory$", capsys.readouterr().err, re.M)


def test_all_went_well(multirun):
    status, said, directory = multirun("seed=3,4", job=done)
    assert status == 0
    assert [row[:3] for row in rows(said)[:2]] == [["000", "3", "3.00%"], ["001", "4", "4.00%"]]
    assert [row[:2] for row in rows(said)[2:]] == [["mean", "3.50%"], ["± s.e.", "0.50%"]]
    assert "failed" not in said
    summary = json.loads((directory / "001-seed4" / "summary.json").read_text())
    assert summary["argv"][1:] == [*WORDS, f"runs={directory.parent}", "seed=4"]  # what trains this one again


def test_sweeps_do_not_share_a_directory(multirun, tmp_path):
    named = f"hydra.sweep.dir={tmp_path / 'sweep'}"
    first, second = multirun("seed=1", named, job=done)[2], multirun("seed=2", named, job=done)[2]
    assert (first.name, second.name) == ("sweep", "sweep-2")
    assert (second / "000" / "summary.json").is_file()


def test_rows_are_in_the_order_of_the_jobs(tmp_path, capsys):
    for name in ("1000-seed1000", "101-seed101", "099-seed99", ".submitit"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text('{"seconds": {"fit": 1}}')
    (tmp_path / "102-x").mkdir()  # killed before it could say why
    (tmp_path / "103-x").mkdir()
    (tmp_path / "103-x" / "summary.json").write_text("{")
    (tmp_path / "104-x").mkdir()
    (tmp_path / "104-x" / "summary.json").write_text('{"test": [1], "seconds": {"fit": "1"}}')
    assert sweep.print_table(tmp_path) == (6, 2)
    names = [row[0] for row in rows(capsys.readouterr().out) if row[0]]
    assert names == ["099-seed99", "101-seed101", "102-x", "103-x", "104-x", "1000-seed1000"]


def test_names_of_jobs_fit_a_path(tmp_path):
    swept = ["seed=0,1", "model=mlp,cnn", "data.path='/a b/ü',x", "trainer=cpu"]
    (tmp_path / "multirun.yaml").write_text(json.dumps({"hydra": {"overrides": {"task": swept}}}))
    choices = ("seed=0", "seed=1"), ("model=mlp", "model=cnn"), ("data.path='/a b/ü'", "data.path=" + "界" * 300)
    jobs = enumerate(itertools.product(*choices, ["trainer=cpu"]))
    names = [train._job_name(str(tmp_path), number, list(job)) for number, job in jobs]
    assert len(set(names)) == 8
    assert names[0] == "000-seed0-mlp-path_a_b"
    assert all(re.fullmatch(r"[\w.-]{4,80}", name, re.ASCII) for name in names)


def test_a_narrow_table_leaves_columns_out_and_breaks_none(tmp_path, capsys, monkeypatch):
    """The figures that matter least; what was swept is whole. No column of ``table.json`` is."""
    swept = {"model": ["model=mlp", "model=naive_bayes"], "seed": ["seed=1", "seed=2"]}
    test = {"accuracy": 0.9, "nll": 0.5, "ece": 0.1, "log_prob": -214.9, "bits_per_dim": 0.395}
    summary = {"last_epoch": {"val/accuracy": 0.9}, "test": test, "seconds": {"fit": 0.5}}
    for number in range(4):
        (tmp_path / f"{number:03}").mkdir()
        (tmp_path / f"{number:03}" / "summary.json").write_text(json.dumps(summary))
    least = ["ece", "bits/dim", "nll", "s", "val"]
    for width, count in ((85, 0), (84, 1), (77, 1), (76, 2), (46, 5)):
        monkeypatch.setenv("COLUMNS", str(width))
        sweep.print_table(tmp_path, swept)
        said = capsys.readouterr().out
        _, _, head, *lines = said.splitlines()
        every = ("val", "test", "nll", "ece", "log p(x)", "bits/dim", "s")
        names = [name for name in every if name not in least[:count]]
        assert " ".join(head.split()) == " ".join(["run model seed", *names])
        assert max(map(len, lines)) <= width
        assert sum("naive_bayes" in line for line in lines) == 3
        said = " ".join(said.split())
        assert (f"left out for want of room: {', '.join(least[:count])}; table.json" in said) == (count > 0)
    assert json.loads((tmp_path / "table.json").read_text())["jobs"][0]["ece"] == 0.1


def test_the_heading_of_a_job_says_which_of_how_many_it_is(multirun):
    said = multirun("model=mlp,logistic_regression", "seed=3,4", job=done)[1]
    assert [line for line in said.splitlines() if " of 4" in line] == [
        "1 of 4: model=mlp seed=3", "2 of 4: model=mlp seed=4", "3 of 4: model=logistic_regression seed=3",
        "4 of 4: model=logistic_regression seed=4",
    ]  # fmt: skip
    assert "\n1 of 1\n" in multirun("seed=3", job=done)[1]


# Folds


FOLDS = ("data=breast_cancer", "data.folds=3", "data.fold=0,1,2")


def fold_of(settings, resume, target):
    """A job whose figures are a function of model and fold."""
    target.mkdir()
    fold = settings["data"]["fold"]
    if settings["model"]["name"] == "svm" and fold == 1:
        raise zoo.DataError("no such fold")
    test = {"accuracy": [0.9, 0.8, 0.85][fold], "auroc": [0.7, 0.9, 0.5][fold], **({"log_prob": 1.0} if fold else {})}
    (target / "summary.json").write_text(json.dumps({"test": test, "seconds": {"fit": 1}}))
    return 0.5


def test_folds_end_with_their_mean_and_its_standard_error(multirun):
    """Of [0.9, 0.8, 0.85] it is 0.85 ± 0.05 / √3; not of what one of them lacks."""
    status, said, directory = multirun(*FOLDS, job=fold_of)
    assert status == 0
    *_, mean, error = rows(said)
    assert mean == ["mean", "85.00%", "0.7000", "1.0"]
    assert error == ["± s.e.", "2.89%", "0.1155", "0.0"]
    table = json.loads((directory / "table.json").read_text())
    assert [job["auroc"] for job in table["jobs"]] == [0.7, 0.9, 0.5]
    assert [job["run"] for job in table["jobs"]] == ["000-fold0", "001-fold1", "002-fold2"]
    (found,) = table["means"]
    assert found["accuracy"] == {"mean": pytest.approx(0.85), "se": pytest.approx(0.05 / 3**0.5)}
    assert "log_prob" not in found
    assert (found["of"], found["lacking"]) == ([], [])


def test_each_group_of_folds_has_a_mean_unless_one_failed(multirun):
    status, said, directory = multirun(*FOLDS, "model=logistic_regression,svm,mlp", "seed=1", job=fold_of)
    assert status == 2
    assert [row[1] for row in rows(said) if row[0] == "mean"] == ["logistic_regression", "mlp"]
    assert "no mean of model=svm: data.fold=1 came to nothing" in said
    means = json.loads((directory / "table.json").read_text())["means"]
    assert [(mean["of"], mean["lacking"]) for mean in means] == [
        (["model=logistic_regression"], []), (["model=svm"], ["data.fold=1"]), (["model=mlp"], []),
    ]  # fmt: skip
    assert set(means[1]) == {"of", "lacking"}


def test_the_order_of_choices_is_that_of_jobs(multirun):
    """Whether the fold is the first or the last that varies."""
    for words in ((*FOLDS, "seed=1,2"), ("seed=1,2", *FOLDS)):
        *_, directory = multirun(*words, job=fold_of)
        means = json.loads((directory / "table.json").read_text())["means"]
        assert [(mean["of"], mean["auroc"]["mean"]) for mean in means] == [
            (["seed=1"], pytest.approx(0.7)), (["seed=2"], pytest.approx(0.7)),
        ]  # fmt: skip
        assert [mean["auroc"]["se"] for mean in means] == [pytest.approx(0.2 / 3**0.5)] * 2


def test_seeds_end_with_their_mean(multirun):
    """Where there are no folds; and of each model."""
    *_, directory = multirun("model=mlp,logistic_regression", "seed=3,5", job=done)
    means = json.loads((directory / "table.json").read_text())["means"]
    found = [(mean["of"], mean["accuracy"]["mean"], mean["accuracy"]["se"]) for mean in means]
    assert found == [
        ([f"model={name}"], pytest.approx(0.04), pytest.approx(0.01)) for name in ("mlp", "logistic_regression")
    ]


@pytest.mark.parametrize("words", [("data.folds=3", "data.fold=0", "seed=1"), ("data.folds=3", "data.fold=2")])
def test_of_one_fold_there_is_no_mean(multirun, words):
    *_, said, directory = multirun("data=breast_cancer", *words, job=fold_of)
    assert "mean" not in said
    assert json.loads((directory / "table.json").read_text())["means"] == []


# One process, many runs


def test_a_job_is_the_run_that_it_would_be_alone(multirun, tmp_path):
    """Bit for bit, and although another model has been trained before it; and its model is gone when it ends."""
    models, build = [], run_train.build

    def watched(*arguments, **options):
        gc.collect()
        assert [model() for model in models] == [None] * len(models)
        learner, data, trainer = build(*arguments, **options)
        models.append(weakref.ref(learner.model))
        return learner, data, trainer

    with mock.patch.object(run_train, "build", watched):
        status, _, directory = multirun("model=mlp,logistic_regression", "data.train_size=100")
    assert status == 0
    assert len(models) == 2
    words = [*WORDS, "data.train_size=100", f"runs={tmp_path / 'alone'}"]
    with mock.patch.object(sys, "argv", ["train.py", *words]):
        train.main()
    (alone,) = (tmp_path / "alone").iterdir()
    weights = [
        torch.load(run / "last.ckpt", weights_only=True)["state_dict"]
        for run in (alone, directory / "001-logistic_regression")
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_failed_job_holds_no_memory(multirun):
    held = []

    def job(settings, resume, target):
        gc.collect()
        assert [tensor() for tensor in held] == [None] * len(held)
        large = torch.zeros(10)
        held.append(weakref.ref(large))
        raise RuntimeError("with a traceback, whose frames hold what they hold")

    assert multirun("seed=1,2,3", job=job)[0] == 2
    assert len(held) == 3


def test_a_job_that_has_ended_is_forgotten(multirun):
    """Hydra would hold the configuration of each to the end."""
    counts = []

    def job(settings, resume, target):
        gc.collect()
        counts.append(len(gc.get_objects()))
        return done(settings, resume, target)

    assert multirun("seed=range(0,7)", job=job)[0] == 0
    assert counts[6] - counts[2] < 4 * 100


@pytest.mark.parametrize("there", [True, False])
def test_a_gpu_is_not_hidden_from_the_next_job(monkeypatch, there):
    """``trainer=cpu,gpu`` in one process."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    line = machine.prepare(torch.device("cpu"))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ("0" if there else "")
    assert ("no GPU" in line) != there


# Many processes

MODEL = """
import os, signal
import zoo
from torch import nn

@zoo.register("fragile")
class Fragile(zoo.Classifier):
    def __init__(self, spec, how="ends"):
        super().__init__(spec)
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        self.head = nn.Linear(784, spec.num_classes)

    def features(self, x):
        return x.flatten(1)
"""


@pytest.mark.slow
def test_a_worker_outlives_its_job(tmp_path):
    """Of joblib: a job that is killed is a row, and the other one ends."""
    (tmp_path / "fragile.py").write_text(MODEL)
    (tmp_path / "fragile.yaml").write_text("name: fragile\nhow: ends\n")
    own = ("model=fragile", "model.how=killed,ends", f"runs={tmp_path / 'runs'}")
    launcher = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    done = command("train.py", "-m", *WORDS[1:], *own, *launcher, ZOO_MODELS=str(tmp_path))
    assert done.returncode == 2, done.stderr
    assert "error: 1 of 2 jobs failed" in done.stderr
    (directory,) = (tmp_path / "runs").iterdir()
    assert (directory / "000-howkilled" / "failed.txt").read_text() == "its process was killed by SIGKILL\n"
    summary = json.loads((directory / "001-howends" / "summary.json").read_text())
    assert summary["command"].endswith(f" model=fragile model.how=ends runs={tmp_path / 'runs'}")


def test_no_job_begins_once_the_sweep_is_stopped(tmp_path):
    (tmp_path / sweep.STOPPED).touch()
    with mock.patch.object(sweep.subprocess, "Popen", side_effect=AssertionError):
        sweep.apart({}, tmp_path / "000", [])


def test_ctrl_c_lets_jobs_elsewhere_end(tmp_path, capsys, monkeypatch):
    """Once: no further job begins, and what ran is in the table. Twice: at once."""
    monkeypatch.setattr(sweep, "_begun", [sweep.Sweep(tmp_path, {"seed": ["seed=0", "seed=1", "seed=2"]})])
    (tmp_path / "000").mkdir()
    (tmp_path / "000" / "summary.json").write_text('{"seconds": {"fit": 1}}')
    before = signal.getsignal(signal.SIGINT)

    def launch() -> None:
        signal.signal(signal.SIGINT, sweep._let_jobs_end)
        signal.raise_signal(signal.SIGINT)
        assert (tmp_path / sweep.STOPPED).exists()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise zoo.ZooError("the launcher gave up")

    with pytest.raises(KeyboardInterrupt, match="says in its directory"), sweep.told():
        launch()
    assert signal.getsignal(signal.SIGINT) is before
    assert "2 of 3 jobs were not begun" in capsys.readouterr().out
