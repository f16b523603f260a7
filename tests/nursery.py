"""A process that has imported what takes seconds to import, though none of zoo, and becomes each command by a fork.

A line of its standard input is a command, as :func:`run` writes it; a line of its output the exit status.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

PACKAGES = (
    "hydra._internal.utils", "lightning.pytorch", "numpy", "PIL.Image", "rich.progress", "torch.utils.tensorboard",
    "torchmetrics.classification",
)  # fmt: skip


def run(words: Sequence[str], cwd: Path, environment: Mapping[str, str], seconds: int) -> subprocess.CompletedProcess:
    """``python words`` in a directory and an environment, as in a new process; ended by SIGALRM after so long.

    What an interpreter reads of the environment as it starts is that of this process, except for ``PYTHONPATH``. Where
    a fork is not safe, it is a new process.
    """
    if sys.platform != "linux":
        return subprocess.run(
            [sys.executable, *words], cwd=cwd, env=environment, timeout=seconds, capture_output=True, text=True
        )
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        files = [f"/proc/{os.getpid()}/fd/{file.fileno()}" for file in (out, err)]
        task = {"words": [*words], "cwd": str(cwd), "environment": {**environment}, "seconds": seconds, "files": files}
        process = _process()
        print(json.dumps(task), file=process.stdin, flush=True)
        status = int(process.stdout.readline())
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode("utf-8"))
    return subprocess.CompletedProcess([sys.executable, *words], status, *said)


@functools.cache
def _process() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    atexit.register(process.stdin.close)  # which ends it
    return process


def become(words: list[str], cwd: str, environment: dict[str, str], seconds: int, files: list[str]) -> None:
    """Run ``python words``, in this process."""
    signal.alarm(seconds)
    for number, name in enumerate([os.devnull, *files]):
        file = os.open(name, os.O_RDWR)
        os.dup2(file, number)
        os.close(file)
    before, after = (
        [path for path in variables.get("PYTHONPATH", "").split(os.pathsep) if path]
        for variables in (os.environ, environment)
    )
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    own = "" if words[0] == "-c" else str(Path(words[0]).parent)
    sys.path[:] = [own, *after, *(path for path in sys.path[1:] if path not in before)]
    if words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")


def main() -> None:
    for package in PACKAGES:
        __import__(package)
    while line := sys.stdin.readline():
        child = os.fork()
        if not child:
            become(**json.loads(line))
            return
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
