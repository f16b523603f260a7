"""Python in a process of its own, as a user starts it: how long it takes, what it says, how much memory it needs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from zoo.errors import ZooError
from zoo.files import REPOSITORY

TRAIN = ("-m", "zoo", "train")  # words after python


def environment(**more: str) -> dict[str, str]:
    """This process's environment; ``import zoo`` finds this package, and streams are UTF-8."""
    path = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONIOENCODING": "utf-8", **more}


def run(*words: str, status: int = 0, **more: str) -> tuple[float, str]:
    """``python`` with ``words``, such as ``run("-c", "import torch")``, from its start to its end.

    Args:
        words: the command line after ``python``.
        status: the exit status it must have.
        more: environment variables.

    Returns:
        Wall-clock seconds, and what it printed.

    Raises:
        ZooError: another exit status; the last lines it wrote to stderr are in the message.
    """
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *words], env=environment(**more), capture_output=True, encoding="utf-8")
    seconds = time.perf_counter() - start
    if done.returncode != status:
        raise ZooError(failure(words, done.returncode, done.stderr))
    return seconds, done.stdout


def failure(words: tuple[str, ...], status: int, stderr: str) -> str:
    """What to say of a process that ended as it should not have."""
    said = "\n".join(stderr.strip().splitlines()[-4:])
    return f"python {' '.join(words)[:300]} ended with status {status}:\n{said}"


def peak(code: str) -> float:
    """The most memory, in MiB, that a process which runs the Python ``code`` alone has had in use at a time."""
    _, printed = run("-c", f"{code}\nfrom zoo.run import peak\nprint(peak.memory())")
    return float(printed.splitlines()[-1])


def training(*overrides: str) -> str:
    """Code that does what ``python train.py`` with ``overrides`` does, and then goes on."""
    return f"import sys\nfrom zoo.commands import train\nsys.argv = {['train.py', *overrides]!r}\ntrain.main()"


def only_run_in(runs: Path) -> Path:
    """The one run in ``runs``."""
    (run,) = runs.iterdir()
    return run
