"""Files given to readers, within limits of time and memory: each loads right, or is refused by one ``ZooError``."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import resource
import shutil
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from zoo.errors import ZooError
from zoo.fuzz.bombs import Bomb
from zoo.fuzz.hostile import CANARY
from zoo.fuzz.mutations import mutate
from zoo.fuzz.readers import Reader

SECONDS, MIB = 2.0, 500.0  # that a file may take, beyond what the reader's program takes: a training has ten times that
ADDRESSES = 16 * 2**30  # bytes more than there are at the start: the machine is not to be the limit
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Outcome:
    """What came of one file.

    Attributes:
        reader: who was given it.
        name: of the file: how it is repeated.
        refused: whether it was refused; None where it failed, and ``why`` says how.
        seconds: that it took of the processor, or of the clock, whichever are less: other programs run, too.
        mib: of memory, at most, beyond what was taken before.
    """

    reader: str
    name: str
    refused: bool | None
    seconds: float
    mib: float
    why: str = ""


def tried(reader: str, name: str, read: Callable[[Path], object], at: Path, times: float = 1.0) -> Outcome:
    """What comes of reading a file in this process. ``times``: of the limits that it may take."""
    before, clock, processor = _memory(reset=True), time.perf_counter(), time.process_time()
    refused: bool | None = False
    why = ""
    try:
        with warnings.catch_warnings(action="ignore"):
            read(at)
    except ZooError as error:
        refused = True
        if not str(error).strip() or len(str(error)) > 4000:
            refused, why = None, f"it is refused in {len(str(error))} characters"
    except BaseException as error:  # what must not happen, whatever it is
        refused = None
        places = ", ".join(f"{place.filename.rpartition('/')[2]}:{place.lineno}" for place in
                           traceback.extract_tb(error.__traceback__)[-3:])  # fmt: skip
        why = f"{type(error).__name__}: {str(error)[:200]} ({places})"
    seconds = min(time.perf_counter() - clock, time.process_time() - processor)
    mib = max(_memory() - before, 0.0)
    if (at / CANARY).exists() or (at / f"{CANARY}.npy").exists():
        refused, why = None, "it had its way"
    if refused is not None and (seconds > SECONDS * times or mib > MIB * times):
        refused, why = None, f"it took {seconds:.1f} s and {mib:.0f} MiB"
    return Outcome(reader, name, refused, seconds, mib, why)


def _memory(reset: bool = False) -> float:
    """The peak of this process's memory in MiB; ``reset``: it begins anew. 0 where the system does not tell."""
    with contextlib.suppress(OSError):
        if reset:
            CLEAR.write_text("5", "ascii")
        for line in STATUS.read_text("utf-8", "replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _limited() -> None:
    """Bound what this process may take of the machine."""
    sizes = [int(line.split()[1]) for line in STATUS.read_text("utf-8", "replace").splitlines() if "VmSize:" in line]
    most = ADDRESSES + 1024 * (sizes[0] if sizes else 0)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    torch.set_num_threads(1)


def _apart(work: Callable[[Connection], None], limit: float) -> Iterator[Outcome | str]:
    """What ``work`` sends from a process of its own: names of what it begins, and outcomes.

    ``limit``: seconds to wait for the next of them, and then to end it.
    """
    context = multiprocessing.get_context("fork")  # what is imported is there
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(theirs,))
    process.start()
    theirs.close()
    with contextlib.suppress(EOFError):
        while ours.poll(limit):
            yield ours.recv()
    process.kill()
    process.join()


def mutations(readers: Mapping[str, Reader], count: int, seed: int, work: Path, keep: Path, only: int | None = None
              ) -> Iterator[Outcome]:  # fmt: skip
    """``count`` changed files, one a number: the same for a seed. Files that fail are kept.

    Args:
        readers: in turn, as often as their share says.
        count: of files.
        seed: of the changes.
        work: a folder for the files meanwhile.
        keep: a folder for those that fail.
        only: the number of the one that is tried.
    """
    names = list(readers)
    weights = [readers[name].share for name in names]

    def of(number: int) -> tuple[str, dict[str, bytes]]:
        rng = random.Random(f"{seed}-{number}")
        name = rng.choices(names, weights)[0]
        files = dict(readers[name].files)
        changed = rng.choice(readers[name].changed or tuple(files))
        files[changed] = mutate(files[changed], changed, rng)
        return name, files

    def batch(start: int, pipe: Connection) -> None:
        _limited()
        for number in range(start, count):
            name, files = of(number)
            at = work / "files"
            shutil.rmtree(at, ignore_errors=True)
            _write(files, at)
            pipe.send(name)
            times = 10.0 if readers[name].share < 0.1 else 1.0
            pipe.send(tried(name, str(number), readers[name].read, at, times))

    numbers, start = range(count), 0
    if only is not None:
        numbers = range(only, only + 1)
        count, start = only + 1, only
    while start < numbers.stop:
        current = ""
        for sent in _apart(partial(batch, start), 60.0):
            if isinstance(sent, str):
                current = sent
                continue
            if sent.refused is None:
                _write(of(start)[1], keep / f"{seed}-{start}")
            yield sent
            current, start = "", start + 1
        if start < numbers.stop:  # the process is gone
            name, files = of(start)
            _write(files, keep / f"{seed}-{start}")
            yield Outcome(current or name, str(start), None, 60.0, 0.0, "the process that read it died, or hung")
            start += 1


def _write(files: Mapping[str, bytes], at: Path) -> None:
    for name, content in files.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_bytes(content)


def each_apart(cases: Mapping[str, Bomb], work: Path, keep: Path, must: bool) -> Iterator[Outcome]:
    """Each of the files in a process of its own. ``must``: it must be refused, and not load."""
    for name, (write, read) in cases.items():
        at = work / "files"
        shutil.rmtree(at, ignore_errors=True)
        at.mkdir(parents=True)
        write(at)

        def alone(pipe: Connection, name: str = name, read: Callable[[Path], object] = read, at: Path = at) -> None:
            _limited()
            pipe.send(tried(name.partition(":")[0], name, read, at))

        outcomes: Sequence[Outcome | str] = list(_apart(alone, 30.0))
        outcome = (
            outcomes[0] if outcomes else Outcome(name.partition(":")[0], name, None, 30.0, 0.0, "it died, or hung")
        )
        assert isinstance(outcome, Outcome)
        if must and outcome.refused is False:
            outcome = Outcome(outcome.reader, name, None, outcome.seconds, outcome.mib, "it was read")
        if outcome.refused is None:
            shutil.copytree(at, keep / name.replace("/", "_"), symlinks=True, dirs_exist_ok=True,
                            ignore=lambda _, names: [other for other in names if other == "pipe"])  # fmt: skip
        yield outcome
