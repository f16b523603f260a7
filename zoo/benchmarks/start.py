"""How long a command takes until it answers: seconds from the start of a process to its end.

What needs no model must not wait for torch to be imported; what needs one should take little longer than that import.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from zoo.benchmarks._benchmark import Benchmark, Options, Way
from zoo.files import PRETRAINED
from zoo.run.process import TRAIN, run

RELEASED = PRETRAINED / "features-mnist"
CLASSIFY = "import torch, zoo\nprint(zoo.classify(zoo.load({path!r}), torch.rand(16, 1, 28, 28)).argmax(1))"
SAMPLE = "import zoo\nprint(zoo.sample(zoo.load({path!r}), 16).shape)"
COMMANDS: dict[str, tuple[list[str], int]] = {  # words after train.py, exit status
    "--help": (["--help"], 0),
    "--cfg job": (["--cfg", "job"], 0),
    "wrong override": (["model=cn"], 2),
}


def benchmarks(options: Options) -> Iterator[Benchmark]:
    yield Benchmark(
        name="start-command",
        title="train.py, from the shell to its answer",
        unit="s",
        ways={**{way: _command(*command) for way, command in COMMANDS.items()}, "shell completion": complete},
        compare="none",
        bar="≤ 0.6",
        ours=tuple(COMMANDS),
    )
    with tempfile.TemporaryDirectory() as directory:
        small = save_small(Path(directory) / "naive_bayes")
        yield Benchmark(
            name="start-torch",
            title="a fresh process that asks a saved model about 16 images",
            unit="s",
            ways={
                "import torch": _code("import torch"),
                "load + classify": _code(CLASSIFY.format(path=str(RELEASED))),
                "load + sample": _code(SAMPLE.format(path=str(small))),
                "import of all of training": _code("import zoo.run.train"),
            },
            compare="overhead",
            bar="≤ 1.3",
            ours="load + classify",
        )


def save_small(folder: Path) -> Path:
    """A model that can sample, released into ``folder``."""
    import zoo

    return zoo.save(zoo.create("naive_bayes"), folder)


def complete(_: int) -> float:
    """Seconds until the shell knows how ``python train.py model=c`` can go on, asked as Hydra's completion asks."""
    line = "python train.py model=c"
    return run(*TRAIN, "-sc", "query=bash", COMP_LINE=line, COMP_POINT=str(len(line)))[0]


def _command(words: list[str], status: int) -> Way:
    return lambda _: run(*TRAIN, *words, status=status)[0]


def _code(code: str) -> Way:
    return lambda _: run("-c", code)[0]
