"""Whether a training survives being killed: it is, again and again, and must
end where an undisturbed one does.

python scripts/kills.py [key=value …]

Short trainings of each model are killed at a moment drawn at random, or within
the writing of a file: half-way through, before it is on the disk, before and
after it gets its name; some are asked to end (SIGTERM). Each is gone on with,
killed again or not, to its end. After each kill every checkpoint must be
readable; at the end weights (last.ckpt and best.ckpt) must be those of the
undisturbed training bit for bit, metrics.csv and the figures of summary.json
the same, and each point of a curve there once. Exit status 1 where one is not;
the run is kept then.

{options}
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.table import Table

from zoo import terminal
from zoo.command import command, parse_values
from zoo.errors import ConfigError, ZooError, did_you_mean
from zoo.files import TEMPORARY, user_path
from zoo.registry import list_models
from zoo.schema import Option

OPTIONS = {
    "n": Option(60, "how many kills", "[1, inf)"),
    "models": Option("mlp,rnn,gmm,hmm,vae,dcgan", "with commas"),
    "places": Option(
        None,
        "folders to train in, with commas; temporary files lie in another one; if left out the temporary directory, "
        "and /dev/shm where there is one",
    ),
    "seed": Option(0, "of moments and places", "[0, inf)"),
}
SMALL = {
    "mlp": ["model.hidden_sizes=[8]", "learner.ema=0.9"],
    "rnn": ["model.hidden_size=6"],
    "gmm": ["model.num_components=2", "learner.tolerance=0"],
    "hmm": ["model.num_states=3", "learner.tolerance=0"],
    "vae": ["model.latent_dim=2", "model.hidden_sizes=[16]"],
    "dcgan": ["model.channels=4", "model.latent_dim=8"],
}
COMMON = (
    "experiment=debug", "data=digits", "data.train_size=200", "data.batch_size=32", "trainer.max_epochs=3",
    "trainer.log_every_n_steps=1", "logger.mistakes=0", "logger.embeddings=0", "save_every=2", "trainer=cpu",
)  # fmt: skip
KINDS = ("at random", "within a file", "asked to end")
MOST = 3  # kills of one training
MOST_FAILURES = 5  # of a model in a place


class Difference(Exception):
    """What is not as it should be."""


@command
def main() -> None:
    values = parse_values(sys.argv[1:], OPTIONS, __doc__ or "", hint="the number of kills is given as n")
    models = values["models"].split(",")
    for model in models:
        if model not in list_models():
            raise ConfigError(f"unknown model {model!r}: {did_you_mean(model, list_models(), 'models')}")
    sys.exit(1 if kills(values["n"], models, places(values["places"]), values["seed"]) else 0)


def places(text: str | None) -> list[Path]:
    """Folders to train in."""
    if text:
        folders = [user_path(place) for place in text.split(",")]
        for folder in folders:
            if not folder.is_dir():
                raise ConfigError(f"places={folder} is no folder")
        return folders
    return [Path(tempfile.gettempdir()), *(place for place in [Path("/dev/shm")] if os.access(place, os.W_OK))]


def kills(n: int, models: list[str], folders: list[Path], seed: int) -> int:
    """Kill trainings ``n`` times in all, and print how they went. Returns the number of failures."""
    import torch

    import zoo.run.train  # noqa: F401, so that a fork need not

    torch.set_num_threads(1)  # what is forked has no pool of threads, and sums are in the same order
    rows = [(model, folder) for model in models for folder in folders]
    table = Table("model", "place", *KINDS, "trainings", "failures", title=f"{n} kills, seed {seed}")
    failures = 0
    for number, (model, folder) in enumerate(rows):
        budget = n // len(rows) + (number < n % len(rows))
        beside = folders[(folders.index(folder) + 1) % len(folders)]
        done, trainings, failed = _of_one(model, folder, beside, budget, random.Random(f"{seed}-{number}"))
        failures += failed
        cells = [str(done[kind]) for kind in KINDS]
        table.add_row(model, str(folder), *cells, str(trainings), str(failed))
    terminal.console(width=80).print(table)
    return failures


def _of_one(
    model: str, folder: Path, beside: Path, budget: int, draw: random.Random
) -> tuple[dict[str, int], int, int]:
    """Kills by their kind, how many trainings that took, and how many failed."""
    done, trainings, failed = dict.fromkeys(KINDS, 0), 0, 0
    with tempfile.TemporaryDirectory(dir=folder) as home, tempfile.TemporaryDirectory(dir=beside) as temporary:
        words = [f"model={model}", *SMALL.get(model, []), *COMMON]
        count = Path(home) / "count"
        started = time.monotonic()
        straight = _begin(words, Path(home) / "straight", temporary, lambda: _count(count))
        try:
            _wait(straight)
        except Difference as difference:
            raise ZooError(f"{model} in {folder} cannot be trained undisturbed: {difference}") from difference
        seconds, writes = time.monotonic() - started, int(count.read_text("ascii"))
        (reference,) = (Path(home) / "straight").iterdir()
        while sum(done.values()) < budget and failed < MOST_FAILURES:
            trainings += 1
            runs = Path(home) / f"{trainings}"
            story = [f"{model} in {folder}, training {trainings}:"]
            try:
                for _ in range(draw.randint(1, MOST)):
                    kind = draw.choice(KINDS)
                    at = draw.randint(1, writes) if kind == "within a file" else draw.uniform(0, seconds)
                    story.append(f"killed {kind}, {at:.4g};")
                    if not _killed(words, runs, temporary, kind, at):
                        break  # it had come to its end
                    done[kind] += 1
                    _check_whole(runs)
                for _ in range(2):
                    if _finished(runs):
                        break
                    _wait(_begin(words, runs, temporary))
                _check_same(reference, runs)
            except Difference as difference:
                failed += 1
                kept = Path(tempfile.mkdtemp(prefix="killed-"))
                shutil.copytree(runs, kept / "runs", dirs_exist_ok=True)
                print(terminal.printable(" ".join([*story, str(difference), f"(kept in {kept})"])))
            shutil.rmtree(runs, ignore_errors=True)
    return done, trainings, failed


# Processes


def _begin(words: list[str], runs: Path, temporary: str, prepare: Callable[[], None] | None = None) -> int:
    """Start a training, or go on with the one in ``runs``, in a fork of this process. Returns its number."""
    from zoo.commands import train

    found = list(runs.glob("*/last.ckpt"))
    if not found:
        shutil.rmtree(runs, ignore_errors=True)  # it was killed before there was anything to go on from
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        tempfile.tempdir = os.environ["TMPDIR"] = temporary
        sys.argv = [
            "train.py",
            *([f"resume={found[0].parent}"] if found else [*words, f"runs={runs}"]),
        ]
        if prepare is not None:
            prepare()
        train.main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    finally:
        os._exit(status)


def _wait(process: int) -> None:
    _, status = os.waitpid(process, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise Difference(f"a training ended with status {os.waitstatus_to_exitcode(status)}")


def _killed(words: list[str], runs: Path, temporary: str, kind: str, at: float) -> bool:
    """Train until the kill. Returns False where the training ended before it came."""
    process = _begin(words, runs, temporary, (lambda: _die(int(at))) if kind == "within a file" else None)
    if kind != "within a file":
        time.sleep(at)
        os.kill(process, signal.SIGKILL if kind == "at random" else signal.SIGTERM)
    _, status = os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(status)
    # before Python has a handler of its own, SIGTERM ends the process as such
    expected = {"asked to end": (0, 128 + signal.SIGTERM, -signal.SIGTERM)}.get(kind, (0, -signal.SIGKILL))
    if code not in expected:
        raise Difference(f"it ended with status {code}")
    return code != 0


def _watch(look: Callable[[str, Callable[[], Any]], Any]) -> None:
    """Have each step of writing a file, by its name, go through ``look``, which is to carry it out."""
    from zoo import files

    write, fsync, replace = files._Remembering.write, os.fsync, os.replace

    def halves(file: Any, data: Any) -> int:
        part = memoryview(data).cast("B")
        done = look("write", lambda: write(file, part[: len(part) // 2]))
        return done + write(file, part[len(part) // 2 :])

    files._Remembering.write = halves  # type: ignore[method-assign]
    os.fsync = lambda number: look("fsync", lambda: fsync(number))  # type: ignore[assignment]
    os.replace = lambda *paths: look("replace", lambda: replace(*paths))


def _count(path: Path) -> None:
    """Write down how many moments there are in a training at which :func:`_die` could kill."""
    number = [0]

    def look(name: str, carry_out: Callable[[], Any]) -> Any:
        number[0] += 2
        path.write_text(str(number[0]), "ascii")
        return carry_out()

    _watch(look)


def _die(moment: int) -> None:
    """Be killed before (odd) or after (even) one of the steps of writing files; half-written is after a ``write``."""
    number = [0]

    def look(name: str, carry_out: Callable[[], Any]) -> Any:
        number[0] += 1
        if number[0] == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        done = carry_out()
        number[0] += 1
        if number[0] == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    _watch(look)


# What must hold


def _finished(runs: Path) -> bool:
    return bool(list(runs.glob("*/summary.json")))


def _check_whole(runs: Path) -> None:
    """Every checkpoint can be read, whenever the process was killed."""
    from zoo import checkpoint

    for path in runs.glob("*/*.ckpt"):
        try:
            checkpoint.read(path)
        except ZooError as error:
            raise Difference(str(error)) from error


def _check_same(reference: Path, runs: Path) -> None:
    import torch

    from zoo import checkpoint

    found = [path.parent for path in runs.glob("*/last.ckpt")]
    if len(found) != 1:
        raise Difference(f"there are {len(found)} runs")
    run = found[0]
    for path in reference.glob("*.ckpt"):
        first, second = (checkpoint.read(folder / path.name)["state_dict"] for folder in (reference, run))
        if first.keys() != second.keys() or not all(torch.equal(value, second[key]) for key, value in first.items()):
            raise Difference(f"the weights in {path.name} are others")
    for name, look in {"metrics.csv": _rows, "summary.json": _figures, "the curves": _points}.items():
        if look(reference) != look(run):
            raise Difference(f"{name} differ" if name == "the curves" else f"{name} is another")
    unfinished = [path.name for path in run.rglob("*") if TEMPORARY.fullmatch(path.name)]
    if unfinished:
        raise Difference(f"{', '.join(unfinished)} is left")


def _rows(run: Path) -> list[list[str]]:
    """``metrics.csv`` but for how fast it was."""
    rows = [row.split(",") for row in (run / "metrics.csv").read_text("utf-8").splitlines()]
    return [[cell for cell, name in zip(row, rows[0], strict=True) if name != "images_per_second"] for row in rows]


def _figures(run: Path) -> Any:
    summary = json.loads((run / "summary.json").read_text("utf-8"))
    return [summary[key] for key in ("test", "epochs", "steps")]


def _points(run: Path) -> list[tuple[str, int]]:
    """Every point of a curve, sorted: one that is there twice is not what is expected."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    files = list(run.glob("events.*"))
    if len(files) != 1:
        raise Difference(f"there are {len(files)} event files")
    events = EventFileLoader(str(files[0])).Load()
    return sorted((value.tag, event.step) for event in events for value in event.summary.value)


if __name__ == "__main__":
    main()
