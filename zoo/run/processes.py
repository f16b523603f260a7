"""A training in several processes: the first one makes the run directory and tells, and they end together.

Either the first process starts the others of its machine (``trainer=ddp``), or torchrun or SLURM starts all of them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

from zoo.errors import ConfigError, Stopped, ToldError, ZooError

RANKS = ("RANK", "NODE_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")  # by which launchers tell processes apart
PATIENCE = 3.0  # seconds that an error of another process waits for the first one to have, and tell, the same
LEAVE = 30.0  # seconds that the other processes have to end after a training


def number() -> int:
    """The number of this process among those of its training, as far as its environment tells; 0 is the first."""
    keys = ("LOCAL_RANK",) if "ZOO_RUN" in os.environ else RANKS
    return next((int(os.environ[key]) for key in keys if os.environ.get(key, "0") != "0"), 0)


def started_together() -> bool:
    """Whether torchrun, or srun, has started this process as one of several."""
    by_torchrun = "RANK" in os.environ and os.environ.get("WORLD_SIZE") != "1"  # which Lightning deletes at the end
    return "ZOO_RUN" not in os.environ and (by_torchrun or os.environ.get("SLURM_STEP_NUM_TASKS", "1") != "1")


@contextlib.contextmanager
def further() -> Iterator[None]:
    """Around what a process does that is not the first: it is quiet about what the first one tells.

    An error of all processes ends this one while it waits. One of its own is told with the number of the process.
    """
    try:
        yield
    except Stopped:
        raise SystemExit(0) from None  # as the first one was asked to
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None
    except Exception as error:
        time.sleep(PATIENCE)
        if isinstance(error, ZooError):
            raise type(error)(f"process {number()}: {error}") from error
        raise


def end_with(parent: int) -> None:
    """End this process once the process ``parent``, which has started it, is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def is_lost(error: BaseException) -> bool:
    """Whether an error says that another process does not answer any more."""
    import torch

    lost = "gloo" in str(error).lower() or "Connection closed by peer" in str(error)
    return isinstance(error, torch.distributed.DistError) or (isinstance(error, RuntimeError) and lost)


@contextlib.contextmanager
def together(trainer: Any, **variables: str) -> Iterator[None]:
    """Around a training: processes that it starts have the environment ``variables``, end with it, and leave no trace.

    Raises ``ZooError`` where another process was ended or does not answer, and ``ToldError`` where one has failed.
    """
    import torch

    environment, threads = dict(os.environ), torch.get_num_threads()
    alone = not number() and not started_together()
    wait = 0.0
    try:
        if alone:
            os.environ.update(variables)
        yield
        wait = LEAVE
    except Stopped as stopped:
        wait = LEAVE if stopped.agreed else 0.0
        raise
    except Exception as error:
        if trainer.world_size > 1 and is_lost(error):
            raise (ToldError("the first process tells") if number() else _reason(_others(trainer))) from error
        raise
    finally:
        statuses = _ended(_others(trainer), wait)
        if alone:
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()
            os.environ.clear()
            os.environ.update(environment)
            torch.set_num_threads(threads)
    if any(statuses):
        raise _failure(statuses)


def _others(trainer: Any) -> list[subprocess.Popen]:
    """The processes that a training has started, in the list in which Lightning has them."""
    return getattr(trainer.strategy.launcher, "procs", [])


def _ended(others: list[subprocess.Popen], wait: float) -> list[int]:
    """Have processes end, after ``wait`` seconds by force; their statuses."""
    ending, deadline = list(others), time.monotonic() + wait
    others.clear()  # Lightning's observer, which would end this process with one that fails, sees none any more
    for process in ending:
        try:
            process.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return [process.returncode for process in ending]


def _reason(others: list[subprocess.Popen]) -> ZooError:
    """Why a process does not answer, once it has told."""
    deadline = time.monotonic() + 2 * PATIENCE
    while time.monotonic() < deadline and not any(process.poll() for process in others):
        time.sleep(0.05)
    return _failure([process.returncode or 0 for process in others])


def _failure(statuses: list[int]) -> ZooError:
    for rank, status in enumerate(statuses, 1):
        if status < 0:
            return ZooError(f"process {rank} of the training was ended by {signal.Signals(-status).name}")
        if status > 0:
            return ToldError(f"process {rank} of the training has failed")
    return ZooError("another process of the training does not answer any more: where it ran, it has told why")


def check(trainer: Any) -> None:
    """Raise ``ConfigError`` where several processes have been started, and each would train alone."""
    if started_together() and trainer.world_size == 1:
        raise ConfigError(
            "several processes have been started, and each would train alone: trainer=ddp, with trainer.devices of "
            "them on each machine, has them share one training"
        )
