"""How fast the zoo is, beside its peers and what the machine can do: each suite in one process, its ways in turn.

python scripts/benchmark.py [key=value …]

{options}

{suites}

Networks are trained on the GPU, where there is one; CUDA_VISIBLE_DEVICES= hides it. The number of threads is
torch's own; OMP_NUM_THREADS= sets another. MNIST is looked for where ZOO_DATA says, and downloaded into data/
where it is missing.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
import textwrap
from collections.abc import Iterable
from typing import Any

from zoo import registry, terminal
from zoo.benchmarks import DEFAULT, SUITES
from zoo.command import command, parse
from zoo.errors import ConfigError, did_you_mean
from zoo.files import CONFIGS
from zoo.schema import WIDTH, Option

OPTIONS: dict[str, Option] = {
    "suite": Option(",".join(DEFAULT), "one or several of those below, with commas, or all"),
    "models": Option(
        None,
        "these alone, with commas; tiny is an MLP of 784-64-128-64-10 (by default what the suite has); for accuracy "
        "and gpu: launch, and the recipes of theirs in configs/experiment/speed; for em: gaps, too",
    ),
    "rounds": Option(
        0, "how often each way is measured; medians are reported; 0: as often as the benchmark says", "[0, inf)"
    ),
    "quick": Option(
        False,
        "a tenth of the images or less and two rounds, to see that it runs; no bar is judged, and figures are written "
        "only where out says",
    ),
    "out": Option(None, "the JSON file that the results are added to (results/benchmark-<machine>.json)"),
    "plot": Option(True, "draw what the file holds, a PNG a panel beside it"),
}


def names(text: str, valid: Iterable[str], what: str) -> list[str]:
    """The words of ``text``, between commas. Raises ``ConfigError`` with the nearest for an unknown one."""
    chosen = list(dict.fromkeys(word.strip() for word in text.split(",")))
    for word in chosen:
        if word not in valid:
            raise ConfigError(f"unknown {what} {word!r}: {did_you_mean(word, valid, f'{what}s')}")
    return chosen


def recipes() -> list[str]:
    """The names of the experiments that aim at an accuracy."""
    return sorted(path.stem for path in (CONFIGS / "experiment" / "speed").glob("*.yaml"))


@command
def main() -> None:
    lines = (
        textwrap.fill(what, WIDTH, initial_indent=f"  {name:<12}", subsequent_indent=" " * 14)
        for name, what in SUITES.items()
    )
    usage = (__doc__ or "").replace("{suites}", "\n".join(lines))
    values, words = parse(sys.argv[1:], OPTIONS, usage)
    if words:
        raise ConfigError(f"{words[0]!r} is no key=value: suites are given as suite=loader,epoch")
    suites = (
        [name for name in SUITES if name != "gpu"]
        if values["suite"] == "all"
        else names(values["suite"], SUITES, "suite")
    )
    models = values["models"]
    if models is not None:
        models = tuple(names(models, ["tiny", "launch", "gaps", *recipes(), *registry.list_models()], "model"))

    from zoo.benchmarks import _data, _plots, _results
    from zoo.benchmarks._benchmark import Options, measure
    from zoo.files import user_path
    from zoo.run import machine

    def announce(text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[2K{text}", end="", file=sys.stderr, flush=True)

    options = Options(models, values["quick"], values["rounds"])
    device = _data.device()
    machine.prepare(device)
    description = _results.describe(device)
    path = user_path(values["out"] or f"results/benchmark-{_results.slug(description['machine'])}.json")
    kept = not options.quick or values["out"] is not None
    if kept:
        _results.read(path, description["machine"])  # a file that cannot be added to is an error now
    typed = " ".join([terminal.typed("benchmark"), *sys.argv[1:]])
    how = {"command": typed, "threads": description["machine"]["threads"]}
    console = terminal.console()
    judged: list[str] = []
    results: dict[str, Any] = {}
    for suite in suites:
        for benchmark in importlib.import_module(f"zoo.benchmarks.{suite}").benchmarks(options):
            if options.quick:  # its figures tell nothing
                benchmark = dataclasses.replace(benchmark, bar=None)
            entry = {**measure(benchmark, options.rounds_of(benchmark), announce), **how}
            announce("")
            if kept:
                held = _results.add(path, benchmark.name, entry, description)
            console.print(_results.table(benchmark.name, entry))
            judged += [f"{benchmark.name:<24}{_results.judgement(entry)}"] if entry["bar"] else []
            results[benchmark.name] = entry
    if not results:
        raise ConfigError(f"suite={values['suite']} has no benchmark of models={values['models']}")
    for line in judged:
        console.print(line)
    if kept:
        pictures = _plots.draw(path, held["benchmarks"]) if values["plot"] else []
        for file in (path, *pictures):
            console.print(str(file), soft_wrap=True)


if __name__ == "__main__":
    main()
