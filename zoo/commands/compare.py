"""Measure what textbooks claim of generative and discriminative models: a report.

python scripts/compare.py [key=value …]

{options}

With -m each claim is a job of a Hydra multirun, which any launcher fans out:

  OMP_NUM_THREADS=1 python scripts/compare.py -m hydra/launcher=joblib
      hydra.launcher.n_jobs=2        (pip install hydra-joblib-launcher)

Claims:
{claims}
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig

from zoo import config as configuration
from zoo.command import command, fail, late_help, parse
from zoo.errors import ConfigError, ZooError, did_you_mean
from zoo.files import CONFIGS, user_path
from zoo.schema import Option
from zoo.textbook import claims

MOST = 256  # processes
OPTIONS: dict[str, Option] = {
    "suite": Option(
        "textbook",
        "MNIST, Fashion-MNIST and spoken digits, 3½ hours on two cores; quick, a small run: the embedded digits, less "
        "than 5 minutes",
        [*claims.SUITES],
    ),
    "claims": Option("all", "one of those below, or a list: claims=[anomalies,gating]"),
    "out": Option(
        "report",
        "where index.html, figures/, numbers.csv, claims.json and models.json are written; out/work keeps every "
        "measurement and every trained model, so that the same command goes on after it was stopped",
    ),
    "jobs": Option(
        1,
        "more: processes that share the cores, for what measures no time. Small models gain by it; sums in another "
        "order may differ in the last digits",
        f"[1, {MOST}]",
    ),
}
DEFAULTS = {key: option.default for key, option in OPTIONS.items()}
ConfigStore.instance().store(name="compare_options", node=DEFAULTS)  # which configs/compare.yaml begins with


def checked(values: Mapping[str, Any]) -> tuple[str, list[str], Path, int]:
    """``suite``, names of ``claims``, ``out`` and ``jobs``. Raises ``ConfigError`` for an unknown suite or claim, and
    for a number of jobs that is none."""
    suite, wanted = str(values["suite"]), values["claims"]
    if suite not in claims.SUITES:
        raise ConfigError(f"unknown suite {suite!r}: {did_you_mean(suite, claims.SUITES, 'suites')}")
    chosen = claims.names() if wanted == "all" else [wanted] if isinstance(wanted, str) else list(wanted or [])
    if not chosen:
        raise ConfigError("claims= names none: give all, a claim, or a list of claims")
    for name in chosen:
        claims.check(str(name))
    jobs = str(values["jobs"])
    if not jobs.isdecimal() or not 1 <= int(jobs) <= MOST:
        raise ConfigError(f"jobs={jobs}: a whole number of processes is needed, 1 to {MOST}")
    return suite, chosen, user_path(str(values["out"])), int(jobs)


def read(words: list[str]) -> dict[str, Any]:
    """What the command line sets, over the defaults; claims that are swept over are a list. Raises ``ConfigError``."""
    values: dict[str, Any] = dict(DEFAULTS)
    for word in words:
        key, equals, value = word.partition("=")
        if word.startswith("-") or key.startswith(("hydra.", "hydra/")):
            continue
        if not equals or key not in OPTIONS:
            raise ConfigError(f"unknown key {key!r}: {did_you_mean(key, OPTIONS, 'valid keys')}")
        several = key == "claims" and ("," in value or value.startswith("["))
        values[key] = [name.strip() for name in value.strip("[]").split(",") if name.strip()] if several else value
    return values


@hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="compare")
def job(config: DictConfig) -> None:
    """Measures the claims of one job."""
    suite, names, out, jobs = checked(config)
    from zoo import terminal
    from zoo.textbook import compare

    try:
        compare.run(compare.jobs(suite, names, out), out, compare.Progress(terminal.console(stderr=True)), jobs)
    except ZooError as error:
        sys.exit(fail(error))


@command
def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        lines = (f"  {name}" for name in claims.names())
        parse(["--help"], OPTIONS, (__doc__ or "").replace("{claims}", "\n".join(lines)))
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us as they are
    configuration.check_words(sys.argv[1:])
    values = read(sys.argv[1:])
    suite, names, out, _ = checked(values)
    if {"-m", "--multirun"} & set(sys.argv[1:]) and values["claims"] == "all":  # a job a claim
        rest = [word for word in sys.argv[1:] if word != "claims=all"]
        sys.argv[1:] = [*rest, f"claims={','.join(names)}"]
    from zoo import terminal
    from zoo.textbook import words

    if suite == "quick":
        terminal.console(stderr=True).print(words.SMALL_RUN)
    try:
        with late_help():
            job()
    except HydraException as error:
        raise ConfigError(configuration.explain(error, sys.argv[1:], CONFIGS)) from error
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt("stopped; what is measured is kept, and the same command goes on") from stop
    from zoo.textbook import compare

    page, table = compare.report(suite, out, date.today().isoformat())
    console = terminal.console()
    console.print(table)
    console.print(str(page), soft_wrap=True)


if __name__ == "__main__":
    main()
