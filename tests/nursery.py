"""A process that has imported what takes seconds to import, though none of zoo, and becomes each command by a fork.

A line of its standard input is a command, as :func:`run` writes it; a line of its output the exit status.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

PACKAGES = (
    "hydra._internal.hydra", "lightning.pytorch", "matplotlib.backends.backend_agg", "numpy", "pandas",
    "PIL.PngImagePlugin", "rich.progress", "sklearn.datasets", "torch.utils.tensorboard", "torchmetrics.classification",
)  # fmt: skip


def run(
    words: Sequence[str], cwd: Path, environment: Mapping[str, str], seconds: int, torch: bool = True
) -> subprocess.CompletedProcess[str]:
    """``python words`` in a directory and an environment, as in a new process; ended by SIGALRM after so long. Without
    ``torch`` nothing but Hydra has been imported.

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
        process = _process(torch)
        print(json.dumps(task), file=process.stdin, flush=True)
        status = int(process.stdout.readline())
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode("utf-8"))
    return subprocess.CompletedProcess([sys.executable, *words], status, *said)


@functools.cache
def _process(torch: bool) -> subprocess.Popen[str]:
    line = [sys.executable, __file__, *(PACKAGES if torch else ("hydra._internal.hydra",))]
    process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
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


def ended(program: Callable[[], None]) -> NoReturn:
    """Run it and end as an interpreter does, but without taking apart, for seconds, all that it shares."""
    status = 0
    try:
        program()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        status = 1
        traceback.print_exc()
    threading._shutdown()  # waits for threads
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status & 0xFF)


def main() -> None:
    for package in sys.argv[1:]:
        __import__(package)
    gc.freeze()  # what is here stays shared: a child's collector does not touch it
    while line := sys.stdin.readline():
        child = os.fork()
        if not child:
            ended(functools.partial(become, **json.loads(line)))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
