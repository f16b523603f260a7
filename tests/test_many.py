"""Several processes train one model as one process does, and end together, whoever has started them."""

import itertools
import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keep
import lightning.pytorch as L
import pytest
import replicas
import torch
from conftest import ROOT, command
from scipy import stats
from torch import nn

import zoo
from zoo.data.batches import Batches
from zoo.data.splits import Split
from zoo.errors import ConfigError
from zoo.learners._learner import stream
from zoo.learners._means import EpochMeans
from zoo.run import processes

pytestmark = pytest.mark.usefixtures("one_thread")

FAST = ("logistic_regression", "mlp-accumulate", "gmm-hidden", "gmm-gradient")  # of replicas.ALIKE: a way to train each
TINY = ("data.train_size=200", "data.batch_size=16", "trainer.max_epochs=2", "logger=none")
TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
DROPOUT = ("model=mlp", "model.hidden_sizes=[16]", "model.dropout=0.3")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The trainings of two processes, by name: what each of the two ends with."""
    folder = tmp_path_factory.mktemp("pair")
    trainings = {case: replicas.ALIKE[case] for case in FAST}
    trainings |= {"dcgan": replicas.NOISY["dcgan"], "whole": DROPOUT}
    # the same run, which stops after its third step of eight, within an epoch, and goes on from there
    trainings |= {"first": (*DROPOUT, "stopped"), "second": DROPOUT}
    runs = {"first": "parts", "second": "parts"}
    found = replicas.pair(folder, *((runs.get(case, case), *words) for case, words in trainings.items()))
    return folder, {case: (one, two) for case, one, two in zip(trainings, *found, strict=True)}


# What is trained


@pytest.mark.parametrize("case", FAST)
def test_two_processes_train_as_one_does(both, case, tmp_path):
    """Steps, weights, statistics and figures, where neither batches nor processes have equal numbers of images."""
    alone = replicas.train(tmp_path, *replicas.ALIKE[case])
    first, second = both[1][case]
    assert first["steps"] == alone["steps"]
    weights, log_prob = replicas.distance(alone, first)
    assert weights < (1e-5 if case == "logistic_regression" else 1e-9)
    assert math.isnan(log_prob) or log_prob < 1e-8
    for key, value in alone["metrics"].items():
        assert first["metrics"][key] == pytest.approx(value, rel=1e-5, abs=1e-7), key
    assert first["metrics"] == second["metrics"]


@pytest.mark.parametrize("case", [*FAST, "dcgan", "whole", "second"])
def test_replicas_are_equal(both, case):
    first, second = both[1][case]
    for key, value in first["weights"].items():
        assert torch.equal(value, second["weights"][key]), key


@pytest.mark.parametrize("case", ["dcgan", "whole"])
def test_each_process_has_a_random_stream_of_its_own(both, case):
    """Noise and dropout are drawn from the stream whose next numbers these are."""
    first, second = both[1][case]
    assert not torch.equal(first["next"], second["next"])
    alone = replicas.train(both[0] / f"{case}-alone", *(replicas.NOISY["dcgan"] if case == "dcgan" else DROPOUT))
    assert not any(torch.equal(alone["next"], one["next"]) for one in (first, second))  # other numbers of numbers


def test_streams_survive_a_resume(both):
    """A run that was stopped within an epoch ends bit for bit as the one that was not, in each process."""
    for whole, resumed in zip(both[1]["whole"], both[1]["second"], strict=True):
        assert torch.equal(whole["next"], resumed["next"])
        assert whole["steps"] == resumed["steps"] == 8
        for key, value in whole["weights"].items():
            assert torch.equal(value, resumed["weights"][key]), key
        assert whole["metrics"] == resumed["metrics"]
    assert [each["steps"] for each in both[1]["first"]] == [3, 3]


def test_a_run_goes_on_with_as_many_processes(both, tmp_path):
    state = torch.load(both[0] / "whole" / "last.ckpt", weights_only=True)
    assert len(state["other_rngs"]) == 1
    assert not torch.equal(state["rng"]["cpu"], state["other_rngs"][0]["cpu"])
    learner = zoo.ClassificationLearner.load_from_checkpoint(both[0] / "whole" / "last.ckpt")
    trainer = L.Trainer(accelerator="cpu", max_epochs=3, logger=False, enable_progress_bar=False, barebones=False)
    data = zoo.ImageDataModule("digits", train_size=235, val_size=101)
    with pytest.raises(ConfigError, match=r"as many processes as it was trained by, 2, not 1"):
        trainer.fit(learner, data, ckpt_path=both[0] / "whole" / "last.ckpt", weights_only=True)
    before = {path: path.read_bytes() for path in (both[0] / "whole").iterdir() if path.is_file()}
    result = command("train.py", f"resume={both[0] / 'whole'}", "trainer.max_epochs=4", "trainer.devices=1")
    assert result.returncode == 2
    assert "as many processes as it was trained by, 2, not 1" in result.stderr
    assert {path: path.read_bytes() for path in before} == before


def test_streams_differ():
    seeds = {stream(seed, rank) for seed, rank in itertools.product((0, 1, 2**63), range(8))}
    assert len(seeds) == 24


@pytest.mark.parametrize(("count", "size", "world_size"), [(235, 32, 2), (103, 10, 2), (100, 7, 3)])
def test_pieces_of_batches_are_those_of_one_process(count, size, world_size):
    split = Split(torch.zeros(count, 1, 1, 1, dtype=torch.uint8), torch.arange(count))
    alone = Batches(split, size * world_size, shuffle=True)
    ranks = [Batches(split, size, shuffle=True, rank=rank, world_size=world_size) for rank in range(world_size)]
    for number, (batch, *pieces) in enumerate(zip(alone, *ranks, strict=True)):
        assert torch.equal(batch[1], torch.cat([labels for _, labels in pieces]))
        assert len(batch[1]) == ranks[0].whole(number) == alone.whole(number)


def test_means_of_an_epoch_that_goes_on():
    """Sums of all processes go to the first one; the others begin at zero."""
    means = EpochMeans()
    means.add(3, loss=torch.tensor(2.0))
    first, other = EpochMeans(), EpochMeans()
    first.load_state_dict(means.state_dict(), torch.device("cpu"))
    other.load_state_dict(means.state_dict(), torch.device("cpu"), first=False)
    for each in (first, other):
        each.add(1, loss=torch.tensor(6.0))
    assert (first["loss"], other["loss"]) == (3.0, 6.0)


def test_synchronized_batch_norm_is_torchs_own():
    """Of one process: outputs, gradients and running statistics; and its names stay."""
    from zoo.learners.batchnorm import SynchronizedBatchNorm

    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        for own, x in (
            (nn.BatchNorm1d(5), torch.randn(7, 5)),
            (nn.BatchNorm2d(3, momentum=None), torch.randn(4, 3, 2, 2)),
        ):
            own, x = own.double(), x.double()
            ours = type(own)(own.num_features, momentum=own.momentum).double()
            layers = SynchronizedBatchNorm().apply(nn.Sequential(ours))
            for _ in range(2):
                one, two = x.clone().requires_grad_(), x.clone().requires_grad_()
                expected, found = own(one), layers(two)
                torch.testing.assert_close(found, expected)
                expected.sin().sum().backward()
                found.sin().sum().backward()
                torch.testing.assert_close(two.grad, one.grad)
            torch.testing.assert_close(ours.weight.grad, own.weight.grad)
            torch.testing.assert_close(ours.state_dict(), own.state_dict())
            assert torch.equal(layers.eval()(x), ours(x))
            assert "forward" not in vars(SynchronizedBatchNorm().revert(layers)[0])
    finally:
        torch.distributed.destroy_process_group()


# Who starts the processes


@pytest.mark.slow
def test_a_multirun_of_trainings_in_two_processes(tmp_path):
    """Each job has processes of its own, also after one in which a process has failed: said once, and at once."""
    write_model(tmp_path)
    words = (*TINY, *TWO, "model.way=1-refuses,neither", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    result = command("train.py", "-m", "model=fails", *words, ZOO_MODELS=str(tmp_path))
    assert result.returncode != 0
    assert result.stderr.count("bad luck") == 1
    assert "process 1: bad luck" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout.count("test accuracy") == 1
    assert len(list((tmp_path / "sweep").glob("*/summary.json"))) == 1


@pytest.mark.slow
def test_torchrun_writes_one_run_and_tells_once(tmp_path):
    torchrun = ("-m", "torch.distributed.run", "--nproc_per_node", "2", str(ROOT / "train.py"))
    words = ("model=mlp", "model.hidden_sizes=[16]", *TINY, "trainer.accelerator=cpu", "trainer.devices=2")
    runs = f"runs={tmp_path / 'runs'}"
    done = subprocess.run(
        [sys.executable, *torchrun, *words, "trainer.strategy=ddp", runs], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("200 training images") == done.stdout.count("test accuracy") == 1
    (run,) = (tmp_path / "runs").iterdir()
    assert json.loads((run / "summary.json").read_text())["steps"] == 14
    assert len((run / "metrics.csv").read_text().splitlines()) == 3
    assert len(torch.load(run / "last.ckpt", weights_only=True)["other_rngs"]) == 1


def test_what_cannot_be_started_is_refused(tmp_path, monkeypatch):
    for strategy in ("ddp_spawn", "ddp_fork", "ddp_notebook"):
        with pytest.raises(ConfigError, match=rf"trainer.strategy={strategy}: .* trainer.strategy=ddp,"):
            replicas.train(tmp_path, "model=mlp", f"trainer.strategy={strategy}")
    for key, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(key, value)
    assert processes.started_together()
    several = type("Trainer", (), {"world_size": 1})
    with pytest.raises(ConfigError, match="trainer=ddp"):
        processes.check(several)
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", "model=mlp", "seed=1,2"])
    from zoo.commands import train

    with pytest.raises(ConfigError, match="one process starts a multirun"):
        train.compose()


def test_the_number_of_a_process(monkeypatch):
    for key in (*processes.RANKS, "LOCAL_RANK", "WORLD_SIZE", "ZOO_RUN"):
        monkeypatch.delenv(key, raising=False)
    assert (processes.number(), processes.started_together()) == (0, False)
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    assert (processes.number(), processes.started_together()) == (3, True)
    monkeypatch.setenv("ZOO_RUN", "runs/one")  # of a training that this one was started for
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert (processes.number(), processes.started_together()) == (1, False)


def in_a_child(answers) -> None:
    """What a process does that has imported nothing yet."""
    data = zoo.ImageDataModule("digits", train_size=200, val_size=50)
    learner = zoo.ClassificationLearner(zoo.create("mlp", data.spec, hidden_sizes=(8,)))
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    L.Trainer(max_epochs=1, accelerator="cpu", **quiet).fit(learner, data)
    model = zoo.load(ROOT / "pretrained" / "cnn-mnist")
    answers.put(zoo.classify(model, torch.zeros(2, 1, 28, 28)).exp().sum(1).tolist())


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_child_loads_and_trains(method):
    context = multiprocessing.get_context(method)
    answers = context.Queue()
    child = context.Process(target=in_a_child, args=(answers,))
    child.start()
    assert answers.get(timeout=120) == pytest.approx([1, 1])
    child.join()
    assert child.exitcode == 0


# How they end


def write_model(folder: Path) -> None:
    """A model of which some processes fail at the third step, in some way."""
    (folder / "fails.yaml").write_text("name: fails\nway: neither\n")
    (folder / "fails.py").write_text(
        "import math, os, signal\n"
        "import torch, zoo\n"
        "@zoo.register('fails')\n"
        "class Fails(zoo.Classifier):\n"
        "    def __init__(self, spec, way='neither'):\n"
        "        super().__init__(spec)\n"
        "        self.body = torch.nn.Linear(math.prod(spec.shape), 8)\n"
        "        self.head = torch.nn.Linear(8, spec.num_classes)\n"
        "        self.ranks, _, self.way = way.partition('-')\n"
        "        self.calls = 0\n"
        "    def features(self, x):\n"
        "        self.calls += self.training\n"
        "        if self.calls == 3 and str(torch.distributed.get_rank()) in self.ranks:\n"
        "            if self.way == 'refuses':\n"
        "                raise zoo.ZooError('bad luck')\n"
        "            if self.way == 'breaks':\n"
        "                raise RuntimeError('a mistake of ours')\n"
        "            os.kill(os.getpid(), getattr(signal, self.way))\n"
        "        return self.body(self.normalize(x).flatten(1)).relu()\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "status", "said", "tracebacks"),
    [
        ("01-refuses", 2, "error: bad luck", 0),
        ("0-refuses", 2, "error: bad luck", 0),
        ("1-breaks", 2, "RuntimeError: a mistake of ours", 1),
        ("0-breaks", 1, "RuntimeError: a mistake of ours", 1),
        ("1-SIGKILL", 2, "process 1 of the training was ended by SIGKILL", 0),
        ("1-SIGTERM", 143, "ended by SIGTERM; to go on:", 0),
        ("0-SIGINT", 130, "interrupted; to go on:", 0),
    ],
)
def test_processes_end_together(way, status, said, tracebacks, tmp_path):
    write_model(tmp_path)
    words = ("model=fails", f"model.way={way}", *TINY, *TWO, f"runs={tmp_path / 'runs'}")
    result = command("train.py", *words, ZOO_MODELS=str(tmp_path))
    assert result.returncode == status
    assert result.stderr.count(said) == 1
    assert result.stderr.count("Traceback") == tracebacks
    assert not left(tmp_path)


def left(folder: Path) -> list[str]:
    """Processes whose command line names a folder."""
    found = subprocess.run(["pgrep", "-f", str(folder)], capture_output=True, text=True)
    return [pid for pid in found.stdout.split() if int(pid) != os.getpid()]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_is_left(number, tmp_path):
    """The first process is told to end, or is killed: the others end."""
    words = [
        "model=mlp",
        "model.hidden_sizes=[16]",
        *TINY,
        *TWO,
        "trainer.max_epochs=5000",
        f"runs={tmp_path / 'runs'}",
    ]
    with subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *words], cwd=ROOT, stdout=subprocess.DEVNULL
    ) as first:
        while not list(tmp_path.glob("runs/*/last.ckpt")):
            assert first.poll() is None
            time.sleep(0.1)
        first.send_signal(number)
        assert first.wait(60) == (-number if number == signal.SIGKILL else 128 + number)
    deadline = time.monotonic() + 30
    while left(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left(tmp_path)


# Every model


@pytest.mark.slow
def test_every_model_trains_in_two_processes(tmp_path):
    """Two epochs of each case that is kept, hidden labels, flows and probes among them; replicas are equal."""
    pictures = tmp_path / "pictures"
    keep.write_pictures(pictures)
    encoder = keep.KEPT / "vae" / "release"
    trainings = [(case, *keep.words(case, pictures, encoder), "data.train_size=0") for case in keep.CASES]
    first, second = replicas.pair(tmp_path / "pair", *trainings)
    for (case, *_), one, two in zip(trainings, first, second, strict=True):
        assert all(map(math.isfinite, one["metrics"].values())), case
        for key, value in one["weights"].items():
            assert torch.equal(value, two["weights"][key]), f"{case}: {key}"


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in replicas.ALIKE if case not in FAST])
def test_more_trainings_are_as_those_of_one_process(case, tmp_path):
    first, second = replicas.pair(tmp_path, ("two", *replicas.ALIKE[case]))
    alone = replicas.train(tmp_path / "one", *replicas.ALIKE[case])
    weights, log_prob = replicas.distance(alone, first[0])
    assert weights < 1e-5
    assert math.isnan(log_prob) or log_prob < 1e-8
    assert first[0]["metrics"] == second[0]["metrics"]


@pytest.mark.slow
@pytest.mark.parametrize("case", replicas.NOISY)
def test_noisy_models_are_equal_in_distribution(case, tmp_path):
    """A paired t-test over 12 seeds, each with the same start and batches: the mean difference of the last training
    loss between two processes and one is not told from zero at the level of 0.1 %, and is below 5 % of the loss."""
    key = "train/g_loss" if case == "dcgan" else "train/loss"
    words = replicas.NOISY[case]
    two, _ = replicas.pair(tmp_path, *((f"two{seed}", *words, f"seed={seed}") for seed in range(12)))
    one = [replicas.train(tmp_path / f"one{seed}", *words, f"seed={seed}") for seed in range(12)]
    values = [[found["metrics"][key] for found in each] for each in (one, two)]
    assert stats.ttest_rel(*values).pvalue > 1e-3
    means = [sum(each) / len(each) for each in values]
    assert means[1] == pytest.approx(means[0], rel=0.05)
    assert values[0] != values[1]  # the noise is another
