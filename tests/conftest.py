"""Fixtures that several test files share."""

import contextlib
import os
import re
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import nursery
import pytest
from hydra.types import RunMode

if "PYTEST_XDIST_WORKER" in os.environ:  # a process a core, with the commands it starts: a thread each
    os.environ["OMP_NUM_THREADS"] = "1"
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # tests in the background of a shell; commands inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # by nohup, which a run heeds
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

import torch

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"


def run_train(runs: Path | None, *overrides: str, figures: bool = False) -> Path:
    """``python train.py`` in this process, with run directories in ``runs``; the directory of the run. Without a logger
    the figures at its end, which take longer than a small training, are drawn where they are asked for."""
    import train

    words = [*overrides, *([f"runs={runs}"] if runs else [])]
    with mock.patch.object(sys, "argv", [str(ROOT / "train.py"), *words]), contextlib.ExitStack() as sooner:
        if not figures and "logger=none" in overrides:
            sooner.enter_context(mock.patch("zoo.run.record.draw"))
        if "-m" not in overrides:  # Hydra composes once more, to find out whether it is a multirun
            sooner.enter_context(mock.patch("hydra._internal.hydra.Hydra.get_mode", return_value=RunMode.RUN))
        train.main()
    if runs is None:  # a resumed run names its own
        return Path(next(word.partition("=")[2] for word in words if word.startswith("resume=")))
    return max(runs.iterdir(), key=lambda run: run.stat().st_mtime_ns)


def left(run: Path) -> set[str]:
    """The names of what a run has left in its directory, but for TensorBoard's files."""
    names = {path.name for path in run.iterdir()}
    return {name for name in names if not re.match(r"events\.|projector", name)}


def run_script(name: str, *words: object) -> None:
    """``python scripts/<name>`` as a user runs it, in this process."""
    arguments = [str(ROOT / "scripts" / name), *map(str, words)]
    with mock.patch.object(sys, "argv", arguments):
        runpy.run_path(arguments[0], run_name="__main__")


@contextlib.contextmanager
def stopped_at(step: int, number: int = signal.SIGTERM) -> Iterator[None]:
    """A signal that comes when the optimiser has made so many steps; the run ends after the next."""
    from zoo.run.checkpoints import Checkpoints

    begin, asked = Checkpoints.on_train_batch_start, []

    def ask(self, trainer, *rest):
        begin(self, trainer, *rest)
        if trainer.global_step == step and not asked:
            asked.append(step)
            signal.raise_signal(number)

    with mock.patch.object(Checkpoints, "on_train_batch_start", ask), pytest.raises(SystemExit) as end:
        yield
    assert end.value.code == 128 + number


def command(
    *words: str, cwd: Path | None = None, root: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A command as a user types it, such as ``command("train.py", "model=mlp")``, in a process of its own; ``root`` is
    a copy of the checkout."""
    if root != ROOT:
        environment["PYTHONPATH"] = str(root)
    script = words[0] if words[0] == "-c" else str(root / words[0])
    environment = {**os.environ, "COLUMNS": "80", **environment}
    environment.pop("PYTEST_XDIST_WORKER", None)
    return nursery.run([script, *words[1:]], cwd or root, environment, 300)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The directory that holds MNIST and Fashion-MNIST as published: ``mnist/*.gz`` and ``fashion-mnist/*.gz``.

    ``ZOO_DATA`` names it; else it is looked for beside the checkout.
    """
    beside = Path(__file__).parents[2] / "shared" / "data"
    for directory in (Path(os.environ.get("ZOO_DATA") or beside), beside):
        if all((directory / name / "train-images-idx3-ubyte.gz").is_file() for name in ("mnist", "fashion-mnist")):
            return directory.resolve()
    pytest.skip("neither ZOO_DATA nor ../shared/data holds mnist/ and fashion-mnist/")


@pytest.fixture(scope="module")
def one_thread():
    """Small tensors are faster on one thread, and sums are in the same order everywhere."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
