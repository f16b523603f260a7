"""Measuring the claims: case by case, each kept in a file of its own, so that work that was stopped goes on."""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, ReadWriteLock, Timeout
from rich.console import Console
from rich.table import Column, Table

from zoo import plain
from zoo.errors import ConfigError, DataError, ZooError
from zoo.files import write_json
from zoo.run import machine
from zoo.textbook import claims
from zoo.textbook.claim import Case, Claim, Row, judged
from zoo.textbook.lab import Lab
from zoo.textbook.words import clock


@dataclass(frozen=True)
class Job:
    """A case of a claim, and the file that its measurements are kept in."""

    name: str
    claim: Claim
    case: Case
    path: Path

    def __str__(self) -> str:
        words = (f"{key}={value}" for key, value in self.case.parameters.items() if key not in ("data", "model"))
        own = [str(self.case.parameters[key]) for key in ("data", "model") if key in self.case.parameters]
        return " ".join([self.name, *own, *words])


def work(out: Path) -> Path:
    """Where measurements and models of a report in ``out`` are kept."""
    return out / "work"


def jobs(suite: str, names: Sequence[str], out: Path) -> list[Job]:
    """All cases of the claims, in the order of the report; those that measure time first, when memory is empty.

    Raises ``ConfigError`` for an unknown claim, or where there is nothing to measure.
    """
    found = []
    for name in names:
        module = claims.find(name)
        for case in module.cases(suite):
            key = json.dumps([name, module.CLAIM.version, case.parameters], sort_keys=True)
            path = work(out) / "results" / name / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
            found.append(Job(name, module.CLAIM, case, path))
    if not found:
        raise ConfigError(f"claims={','.join(names)} has no suite={suite}: suite=textbook measures it")
    return sorted(found, key=lambda job: (not job.case.timed, job.claim.number))


def run(
    todo: Sequence[Job], out: Path, announce: Callable[[str, float], None] = lambda *_: None, workers: int = 1
) -> None:
    """Measure what has not been measured yet.

    Several processes may do so in one ``out`` at once: each takes what no other is at, and a case that measures time
    waits until no other runs.

    Args:
        todo: from :func:`jobs`.
        out: the report's folder.
        announce: is told each job that starts, or with several workers each that is done, in words, and about how many
            seconds are left.
        workers: processes that share the machine's threads for the cases that measure no time, the longest first.

    Raises:
        ZooError: a claim measured under a name that its case has already, or nothing can be written.
    """
    left = [job for job in todo if not job.path.is_file()]
    try:
        work(out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZooError(f"{work(out)} cannot be made: {error.strerror}") from error
    machine.prepare(torch.device("cpu"))
    here = [job for job in left if workers == 1 or job.case.timed]
    apart = [job for job in left if workers > 1 and not job.case.timed]
    busy: list[Job] = []  # which another process is at
    expected = spent = 0.0
    for number, job in enumerate(here):
        pace = spent / expected if expected else 1.0
        still = sum(later.case.seconds for later in [*here[number:], *apart])
        announce(f"[{number + 1}/{len(left)}] {job}", pace * still)
        seconds = _take(job, out, wait=False)
        if seconds is None:
            busy.append(job)
        elif seconds:
            expected, spent = expected + job.case.seconds, spent + seconds
    if apart:
        busy += _beside(apart, out, announce, workers, len(here))
    for number, job in enumerate(busy):
        announce(f"another process is at {job}", sum(later.case.seconds for later in busy[number:]))
        _take(job, out)


def _beside(
    left: Sequence[Job], out: Path, announce: Callable[[str, float], None], workers: int, before: int
) -> list[Job]:
    """Jobs by several processes, each with its share of the threads, after so many others; those that are left, as
    another process is at them."""
    threads = max(1, torch.get_num_threads() // workers)
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    expected = spent = 0.0
    busy = []
    still = sum(job.case.seconds for job in left)
    pool = ProcessPoolExecutor(workers, context, _prepare, (threads,))
    try:
        longest_first = sorted(left, key=lambda job: -job.case.seconds)
        pending = {pool.submit(_take, job, out, wait=False): job for job in longest_first}
        for number, future in enumerate(as_completed(pending)):
            job, seconds = pending[future], future.result()
            still -= job.case.seconds
            if seconds is None:
                busy.append(job)
            elif seconds:
                expected, spent = expected + job.case.seconds, spent + seconds
            pace = spent / expected if expected else 1.0
            announce(f"[{before + number + 1}/{before + len(left)}] {job}", pace * still / workers)
        return busy
    except BrokenProcessPool as error:
        raise ZooError("a worker ended before its case did, perhaps for want of memory: take fewer jobs") from error
    finally:  # what is under way is measured to its end, what waits is not begun
        pool.shutdown(wait=True, cancel_futures=True)


def _prepare(threads: int) -> None:
    """Of a worker: its share of the threads; Ctrl-C ends it without a word, as its parent has one, and so does the end
    of its parent."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
    torch.set_num_threads(threads)
    machine.prepare(torch.device("cpu"))


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _take(job: Job, out: Path, wait: bool = True) -> float | None:
    """Measure one job, alone on the machine where it needs that.

    Returns:
        The seconds that took; 0 where it is measured already. None where another process is at it, which is waited for
        with ``wait`` alone.
    """
    if job.path.is_file():
        return 0.0
    job.path.parent.mkdir(parents=True, exist_ok=True)
    machine_lock = ReadWriteLock(work(out) / "machine.lock")
    with ExitStack() as held:
        held.enter_context(machine_lock.write_lock() if job.case.timed else machine_lock.read_lock())
        try:
            held.enter_context(FileLock(job.path.with_suffix(".lock"), blocking=wait, is_singleton=False))
        except Timeout:
            return None
        if job.path.is_file():
            return 0.0
        started = time.perf_counter()
        _measure(job, out)
        return time.perf_counter() - started


def _measure(job: Job, out: Path) -> None:
    lab = Lab(work(out) / "models", alone=job.case.timed)
    parameters = dict(job.case.parameters)
    started = time.perf_counter()
    measured = claims.find(job.name).measure(parameters, lab)
    seconds = time.perf_counter() - started
    if both := {*parameters} & {*measured}:
        raise ZooError(f"claim {job.name}: {', '.join(sorted(both))} is a parameter and a measurement")
    entry = {"claim": job.name, "version": job.claim.version, "parameters": parameters, "measured": _spelled(measured)}
    entry |= {"seconds": round(seconds, 3), "threads": torch.get_num_threads(), "revision": machine.revision()}
    write_json(job.path, entry)


def _spelled(value: Any) -> Any:
    """``value`` with numbers that JSON does not know as words, ``"nan"`` and ``"inf"``: claims tell them apart."""
    if isinstance(value, Mapping):
        return {key: _spelled(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_spelled(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _known(value: Any) -> Any:
    """What :func:`_spelled` was given."""
    if isinstance(value, dict):
        return {key: _known(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_known(part) for part in value]
    return float(value) if value in ("nan", "inf", "-inf") else value


def read(done: Sequence[Job]) -> tuple[list[Row], list[float]]:
    """The rows of jobs, and the seconds that each took."""
    return _rows(_entries(done))


def _entries(done: Sequence[Job]) -> list[dict[str, Any]]:
    return [_entry(job.path) for job in done]


def _entry(path: Path) -> dict[str, Any]:
    """What was measured by one job. Raises ``DataError`` where its file is damaged."""
    entry = _known(plain.read_json(path, DataError))
    wrong = plain.shape_of(entry, {"parameters": dict, "measured": dict, "seconds": (int, float)})
    if wrong:
        raise DataError(f"{path} is damaged: what it holds{wrong}; delete it to have it measured again")
    return entry


def _rows(entries: Sequence[dict[str, Any]]) -> tuple[list[Row], list[float]]:
    return [{**entry["parameters"], **entry["measured"]} for entry in entries], [entry["seconds"] for entry in entries]


def report(suite: str, out: Path, date: str) -> tuple[Path, Table]:
    """Write the page and the numbers of all claims that are measured as a whole; the page, and a table of verdicts.

    Raises ``ZooError`` where none is.
    """
    from zoo.textbook.report.page import Block, write_report  # matplotlib and jinja2

    blocks: list[Block] = []
    entries: list[dict[str, Any]] = []
    for name in claims.names():
        module = claims.find(name)
        if not module.cases(suite):
            continue
        done = jobs(suite, [name], out)
        if not all(job.path.is_file() for job in done):
            continue
        entries += (own := _entries(done))
        rows, seconds = _rows(own)
        parameters = [job.case.parameters for job in done]
        command = f"python scripts/compare.py suite={suite} claims={name}"
        drawn = module.figures(rows)
        blocks.append(Block(name, module.CLAIM, module.findings(rows), drawn, rows, parameters, seconds, command))
    if not blocks:
        raise ZooError(f"{out} holds no claim of suite={suite} that is measured as a whole")
    blocks.sort(key=lambda block: block.claim.number)
    total = round(sum(sum(block.seconds) for block in blocks), 1)
    about = {"suite": suite, "seconds": total, "date": date, **machine.describe(torch.device("cpu"))}
    # measurements may be older than this process, and other processes' work
    about["machine"]["threads"] = " or ".join(map(str, sorted({entry["threads"] for entry in entries})))
    revisions = {str(entry["revision"]).partition("+")[0] for entry in entries}
    if others := revisions - {str(about["revision"]).partition("+")[0]}:
        about["revision"] = f"{about['revision']}; of measurements, {len(others)} earlier ones too"
    page = write_report(out, blocks, about)
    table = Table(Column("", justify="right"), "claim", "findings", Column("verdict", no_wrap=True), width=80)
    table.title = "suite=quick, a small run" if suite == "quick" else None
    for block in blocks:
        told = f"{block.supported} of {len(judged(block.findings))} hold"
        table.add_row(str(block.claim.number), block.claim.title, told, block.verdict)
    return page, table


class Progress:
    """Tells each job that starts and the time that is left: in one line of a terminal, else a line a job."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def __call__(self, text: str, left: float) -> None:
        line = f"{text}  (about {clock(left)} left)"
        if self.console.is_terminal:
            line = line if len(line) < self.console.width else line[: self.console.width - 2] + "…"
            self.console.file.write(f"\r\x1b[2K{line}")
            self.console.file.flush()
        else:
            self.console.print(line, soft_wrap=True, markup=False)
