"""A multirun: a directory of its own, a row of the table for every job whatever becomes of it, and the exit status.

Jobs run wherever the launcher puts them; what they have in common is the sweep's directory. A job that comes to nothing
leaves a ``failed.txt`` with the reason there, in the directory that is named after the job.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
import textwrap
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import read_write
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.table import Column, Table

from zoo.command import command, limits
from zoo.errors import Stopped, ZooError
from zoo.files import write_json, write_text
from zoo.plain import read_json
from zoo.run.process import environment
from zoo.terminal import console, printable, quoted

FAILED = "failed.txt"  # in a job's directory
TABLE = "table.json"  # in a sweep's directory: its numbers
REPLICATES = ("data.fold", "seed")  # jobs that differ in one of them alone have a mean
STOPPED = "stopped"  # in a sweep's directory: no further job begins
REASON = 20  # columns of a terminal, at least, for why a job failed
BASIC = "basic"  # the launcher that runs one job after the other in this process


@dataclass(frozen=True)
class Sweep:
    """A multirun that has begun: where its jobs write, and what they are told, see :func:`choices`."""

    directory: Path
    choices: Mapping[str, Sequence[str]]

    @property
    def jobs(self) -> int:
        return math.prod(map(len, self.choices.values()))


_begun: list[Sweep] = []


class RememberSweep(Callback):
    """Makes the directory of a multirun, and notes it, so that its jobs can be read when all have ended."""

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        hydra = config.hydra
        wanted = Path(hydra.sweep.dir)
        with contextlib.suppress(OSError):  # Hydra will meet it, too, and an error of a callback stops nothing
            directory = _new_directory(wanted)
            with read_write(config):
                hydra.sweep.dir = str(directory)
                hydra.overrides.hydra.append(f"hydra.sweep.dir={quoted(str(directory))}")  # of every job
                if hydra.runtime.choices["hydra/launcher"] == BASIC:
                    hydra.sweeper.max_batch_size = 1  # Hydra composes all jobs of a batch before the first begins
                else:
                    signal.signal(signal.SIGINT, _let_jobs_end)
            words = [*(f"{key}={value}" for key, value in (hydra.sweeper.get("params") or {}).items())]
            _begun.append(Sweep(directory, choices([*words, *hydra.overrides.task])))

    def on_job_end(self, config: Any, job_return: Any, **_: Any) -> None:
        job_return.cfg = job_return.hydra_cfg = None  # Hydra keeps them to the end of the sweep, half a MiB a job


def _new_directory(wanted: Path) -> Path:
    for number in itertools.count(1):
        directory = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        with contextlib.suppress(FileExistsError):
            directory.mkdir(parents=True)
            break
    return directory


def choices(words: Sequence[str]) -> dict[str, list[str]]:
    """By key, the words of a sweep that jobs choose from, one of each; jobs are in the order of their product."""
    found = {}
    for override in OverridesParser.create().parse_overrides(list(words)):
        if override.is_discrete_sweep():
            values = [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
        else:
            values = [override.input_line or ""]
        found[override.key_or_group] = values
    return found


def heading(number: int) -> str:
    """Of a job of the multirun that has begun: which of how many it is, and what it is told that others are not."""
    sweep = _begun[-1]
    swept = itertools.product(*(words for words in sweep.choices.values() if len(words) > 1))
    return f"{number + 1} of {sweep.jobs}: {' '.join(next(itertools.islice(swept, number, None)))}".rstrip(": ")


def _let_jobs_end(*_: Any) -> None:
    """Ctrl-C reaches the processes of the jobs as well: they save and end. Pressed again, it ends this one at once."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with contextlib.suppress(OSError):
        (_begun[-1].directory / STOPPED).touch()
    with contextlib.suppress(OSError):  # print() is not for handlers
        os.write(2, b"stopping: no further job begins; Ctrl-C again does not wait for those under way\n")


def _is_stopped() -> bool:
    return any((sweep.directory / STOPPED).exists() for sweep in _begun)


def _end(number: int, _: Any) -> None:
    raise Stopped(number)  # whereupon a launcher ends its workers


@contextlib.contextmanager
def told() -> Iterator[None]:
    """A multirun that runs within ends with its table, however it ends; does nothing where there was none.

    Raises:
        ZooError: a job failed.
        KeyboardInterrupt: it was stopped by Ctrl-C, which its jobs have had as well.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, _end)
    failed = jobs = 0
    stopped = True
    try:
        yield
        stopped = _is_stopped()
    except ZooError:
        if not _is_stopped():  # which ends some launchers, too
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        while _begun:
            sweep = _begun.pop()
            rows, wrong = print_table(sweep.directory, sweep.choices)
            failed, jobs = failed + wrong, jobs + sweep.jobs
            if stopped and rows < sweep.jobs:
                console().print(f"{sweep.jobs - rows} of {sweep.jobs} jobs were not begun")
    if stopped:
        raise KeyboardInterrupt("interrupted; each job that had begun says in its directory how it ended")
    if failed:
        raise ZooError(f"{failed} of {jobs} jobs failed; the table says why")


@contextlib.contextmanager
def noted(target: Path) -> Iterator[None]:
    """What goes wrong in the job of a directory is written down there, and the other jobs go on.

    The traceback of what is no user's mistake is printed. What ends the process is raised on.
    """
    try:
        yield
    except ZooError as error:
        _note(target, str(error))
    except Exception as error:
        traceback.print_exc()
        _note(target, f"{type(error).__name__}: {error}")
    except (Stopped, KeyboardInterrupt) as stop:
        _note(target, str(stop) or "interrupted")
        raise


def _note(target: Path, reason: str) -> None:
    print(printable(f"{target.name} failed: {reason}", keep="\n"), file=sys.stderr)
    with contextlib.suppress(OSError, ZooError):  # a full disk, of which the line above tells
        target.mkdir(parents=True, exist_ok=True)
        if not (target / FAILED).exists():
            write_text(target / FAILED, reason + "\n")


@contextlib.contextmanager
def arguments(words: Sequence[str]) -> Iterator[None]:
    """``sys.argv`` is what starts this job alone, as its summary shall say."""
    before = sys.argv
    sys.argv = [before[0], *words]
    try:
        yield
    finally:
        sys.argv = before


def apart(settings: Mapping[str, Any], target: Path, words: Sequence[str]) -> None:
    """Train a job in a process of its own, and wait for it.

    A launcher's worker thus outlives whatever ends the job, be it the system's want of memory, and serves the next one.
    Does nothing once the sweep is stopped. Raises ``ZooError`` where a signal has ended the process.
    """
    if (target.parent / STOPPED).exists():
        return
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    job = subprocess.Popen(
        [sys.executable, "-c", "from zoo.run import sweep; sweep.alone()"],
        stdin=subprocess.PIPE,
        env=environment(PYTHONIOENCODING=encoding),
        encoding="utf-8",
    )
    assert job.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        job.stdin.write(json.dumps([settings, str(target), words]) + "\n")
        job.stdin.flush()  # and not closed: that would mean that this process is gone
    while job.poll() is None:
        with contextlib.suppress(KeyboardInterrupt):  # the other process has it, too, and knows what to do
            job.wait()
    if job.returncode < 0:
        raise ZooError(f"its process was killed by {signal.Signals(-job.returncode).name}")
    if job.returncode and not (target / FAILED).exists():
        raise ZooError(f"its process ended with exit status {job.returncode}")


@command
def alone() -> None:
    """The process that :func:`apart` begins: stdin says what to train, and ends with the process that asked."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a launcher may have ignored it
    settings, target, words = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with noted(Path(target)), limits(), arguments(words):
        from zoo.run.train import train

        train(settings, None, Path(target))


def _end_with_parent() -> None:
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def print_table(directory: Path, choices: Mapping[str, Sequence[str]] | None = None) -> tuple[int, int]:
    """A row a job: its number, what it is told that others are not, its figures on validation and test data, its
    seconds, and why it failed; and a row for the mean of jobs that differ in their fold, or in their seed, alone.
    ``table.json`` in the directory has the numbers.

    Args:
        directory: of the multirun.
        choices: what its jobs are told, see :func:`choices`.

    Returns:
        How many jobs have begun, and how many of them failed.
    """
    runs = sorted((path for path in directory.glob("[0-9]*") if path.is_dir()), key=_number)
    read = [_summary(run) for run in runs]
    reasons = [_reason(run, summary) for run, summary in zip(runs, read, strict=True)]
    found = [{figure.key: figure.of(summary) for figure in FIGURES} for summary in read]
    done = zip(runs, found, reasons, strict=True)
    means = _means(choices or {}, {_number(run)[0]: values for run, values, reason in done if not reason})
    whole = [mean for mean in means if not mean.lacking]
    swept = {key: words for key, words in (choices or {}).items() if len(words) > 1}
    told = list(itertools.product(*swept.values()))
    rows = [("run", *(key.rpartition(".")[2] for key in swept))]  # what they begin with, below their headings
    for number, name in map(_number, runs):
        if swept and 0 <= number < len(told):
            rows.append((f"{number:03}", *(printable(word.partition("=")[2]) for word in told[number])))
        else:
            rows.append((printable(name), *("" for _ in swept)))
    for mean in whole:
        of = dict(word.lstrip("+~").split("=", 1) for word in mean.words)
        rows.append(("mean\n± s.e.", *(printable(of.get(key, "")) for key in swept)))
    # jobs that do not classify, or are no densities, leave columns empty; those that all leave so are not shown
    columns = {
        figure.key: [figure.name, *(figure.cell(values) for values in found), *(mean.cell(figure) for mean in whole)]
        for figure in FIGURES
        if figure.form and any(values[figure.key] is not None for values in found)
    }
    screen, left_out = console(), []
    room = screen.width - _width(zip(*rows, strict=True)) - any(reasons) * (REASON + 2) - 1
    for key in LEAST:
        if key in columns and len(columns) > 1 and _width(columns.values()) > room:
            left_out.append(columns.pop(key)[0])
    fits = _width(columns.values()) <= room
    table = Table(
        *(Column(head, overflow="fold", no_wrap=fits) for head in rows[0]),
        *(Column(head, justify="right", no_wrap=True) for head, *_ in columns.values()),
        *[Column("failed", overflow="fold", min_width=REASON)] * any(reasons),
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    why = [["", *map(printable, reasons), *("" for _ in whole)]] * any(reasons)
    for number, row in enumerate(rows[1:], 1):
        cells = (column[number] for column in (*columns.values(), *why))
        table.add_row(*row, *cells, end_section=number == len(runs))
    screen.print(printable(directory), soft_wrap=True)
    screen.print(table)
    if left_out:
        screen.print(f"left out for want of room: {', '.join(left_out)}; {TABLE} there has all")
    for mean in means:
        if mean.lacking:
            console().print(
                f"{' '.join(filter(None, ['no mean', mean.of]))}: {', '.join(mean.lacking)} came to nothing",
                soft_wrap=True,
            )
    jobs = [
        {"run": run.name, "failed": reason or None, **values}
        for run, values, reason in zip(runs, found, reasons, strict=True)
    ]
    try:
        write_json(directory / TABLE, {"jobs": jobs, "means": [mean.to_dict() for mean in means]})
    except ZooError as error:  # the table above is what matters
        console().print(printable(error))
    return len(runs), sum(map(bool, reasons))


def _width(columns: Iterable[Sequence[str]]) -> int:
    """How wide columns are, by their widest lines, with what Rich puts between them."""
    return sum(2 + max(cell_len(line) for cell in column for line in cell.split("\n")) for column in columns)


def _number(run: Path) -> tuple[int, str]:
    match = re.match(r"\d+", run.name)
    return int(match[0]) if match else -1, run.name


def _summary(run: Path) -> dict[str, Any]:
    try:
        summary = read_json(run / "summary.json")
    except ZooError:
        return {}
    return summary if isinstance(summary, dict) else {}


def _reason(run: Path, summary: Mapping[str, Any]) -> str:
    """Why a job failed, in a line; empty where it did not."""
    with contextlib.suppress(OSError):
        return shortened((run / FAILED).read_text("utf-8", "replace")) or "without a word"
    return "" if summary else "it did not come to its end"


def shortened(reason: str) -> str:
    """The beginning of the first line of an error, for a cell of a table."""
    return textwrap.shorten(reason.strip().partition("\n")[0], 100, placeholder=" …")


@dataclass(frozen=True)
class Figure:
    """A number of a run's summary, and how it is shown; without a form it is not."""

    name: str
    group: str
    key: str
    form: str = ""

    def of(self, summary: Mapping[str, Any]) -> float | None:
        """None where the run has none, or samples of another number than ratios are compared at."""
        values = summary.get(self.group)
        if not isinstance(values, dict) or (self.key == "frechet_ratio" and values.get("comparable") is False):
            return None
        value = values.get(self.key)
        return value if isinstance(value, (int, float)) else None

    def cell(self, values: Mapping[str, float | None]) -> str:
        """Of a run's row in the table."""
        value = values[self.key]
        return "" if value is None else format(value, self.form)


FIGURES = (
    Figure("val", "last_epoch", "val/accuracy", ".2%"),
    Figure("test", "test", "accuracy", ".2%"),
    Figure("auroc", "test", "auroc", ".4f"),
    Figure("nll", "test", "nll", ".4f"),
    Figure("ece", "test", "ece", ".4f"),
    Figure("log p(x)", "test", "log_prob", ".1f"),
    Figure("bits/dim", "test", "bits_per_dim", ".3f"),
    Figure("Fréchet / floor", "test", "frechet_ratio", ".2f"),
    Figure("s", "seconds", "fit", ".1f"),
    # for programs: the table has no room for them
    *(Figure(key, "test", key) for key in ("macro_f1", "average_precision", "f1", "brier", "cost")),
)
# keys of figures that the table leaves out, one after the other, until the others fit
LEAST = ("ece", "bits_per_dim", "nll", "fit", "frechet_ratio", "val/accuracy", "auroc", "log_prob")


@dataclass(frozen=True)
class Mean:
    """Of jobs that differ in their fold, or in their seed, alone.

    Attributes:
        words: what they are told that others are not.
        lacking: the words of folds, or seeds, without a result; if there are any, there is no mean.
        values: by a figure's key its mean and the standard error of that, std / √K of K of them, where all have it.
    """

    words: tuple[str, ...]
    lacking: tuple[str, ...]
    values: Mapping[str, tuple[float, float]]

    @property
    def of(self) -> str:
        return f"of {' '.join(self.words)}" if self.words else ""

    def cell(self, figure: Figure) -> str:
        """Of its row in the table: the mean above its error."""
        return "\n".join(format(value, figure.form) for value in self.values.get(figure.key, ()))

    def to_dict(self) -> dict[str, Any]:
        figures = {key: {"mean": mean, "se": error} for key, (mean, error) in self.values.items()}
        return {"of": list(self.words), "lacking": list(self.lacking), **figures}


def _means(choices: Mapping[str, Sequence[str]], done: Mapping[int, Mapping[str, float | None]]) -> list[Mean]:
    """The means of jobs that differ in their fold alone, or, where there is one, in their seed, of which any is
    ``done``: its figures by its number."""
    replicate = next((key for key in REPLICATES if len(choices.get(key, ())) > 1), None)
    if replicate is None:
        return []
    groups: dict[tuple[str, ...], dict[str, int]] = {}
    for number, words in enumerate(itertools.product(*choices.values())):
        told = {key: word for key, word in zip(choices, words, strict=True) if len(choices[key]) > 1}
        fold = told.pop(replicate)
        groups.setdefault(tuple(told.values()), {})[fold] = number
    means = []
    for words, folds in groups.items():
        found = [done[number] for number in folds.values() if number in done]
        lacking = tuple(fold for fold, number in folds.items() if number not in done)
        values = {figure.key: _mean([each[figure.key] for each in found]) for figure in FIGURES if not lacking}
        if found:
            means.append(Mean(words, lacking, {key: mean for key, mean in values.items() if mean is not None}))
    return means


def _mean(values: Sequence[float | None]) -> tuple[float, float] | None:
    """Of two numbers or more, and its standard error; None where one of them is missing."""
    numbers = [value for value in values if value is not None]
    if len(numbers) < max(len(values), 2):
        return None
    return statistics.mean(numbers), statistics.stdev(numbers) / math.sqrt(len(numbers))
