"""Train any model of the zoo on any of its data sets: ``python train.py model=cnn data=mnist``.

Composing and checking the configuration imports neither torch nor Lightning, so that a mistake is answered at once.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

import zoo
from zoo import config as configuration
from zoo import terminal
from zoo.command import command, fail, late_help, limits
from zoo.errors import ConfigError, ZooError
from zoo.files import CONFIGS
from zoo.plain import read_yaml
from zoo.run import processes, sweep
from zoo.run.announce import announce


@hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="train")
def job(composed: DictConfig) -> None:
    """One run, or a job of a multirun, wherever its launcher has put it."""
    terminal.prepare()  # a launcher may have begun another process
    hydra_config = HydraConfig.get()
    words = list(hydra_config.overrides.task)
    if hydra_config.mode == RunMode.MULTIRUN:
        target = Path(hydra_config.sweep.dir) / _job_name(hydra_config.sweep.dir, hydra_config.job.num, words)
        with sweep.noted(target):
            settings = configuration.checked(composed)
            del settings["resume"]
            if hydra_config.runtime.choices["hydra/launcher"] == sweep.BASIC:
                with sweep.arguments(words):
                    _train(settings, None, target, sweep.heading(hydra_config.job.num))
            else:
                sweep.apart(settings, target, words)
        return
    try:
        settings, resume = configuration.going_on(configuration.checked(composed), words)
        _train(settings, resume, None)
        if resume:
            (resume / sweep.FAILED).unlink(missing_ok=True)  # of a job that has now come to its end
    except ZooError as error:
        if processes.number():
            raise
        sys.exit(fail(error))


def _train(settings: dict[str, Any], resume: Path | None, target: Path | None, heading: str = "") -> None:
    # Lightning would start further processes through Hydra's output directory; ours read the run directory
    HydraConfig.instance().cfg = None
    if not processes.number():  # before torch is imported, which takes seconds
        announce(settings, resume, heading)
    from zoo.run.train import take_part, train

    with limits():
        if processes.number():
            take_part(settings, resume)
        else:
            train(settings, resume, target)


def _job_name(directory: str, number: int, words: list[str]) -> str:
    """The number of a job in its multirun and what is special to it, such as ``003-cnn-seed2``, fit for a path."""
    typed = read_yaml(Path(directory) / "multirun.yaml")["hydra"]["overrides"]["task"]  # which Hydra writes
    overrides = {override.get_key_element(): override for override in OverridesParser.create().parse_overrides(typed)}
    common = {key for key, override in overrides.items() if not override.is_sweep_override()}
    found = [f"{number:03}"]
    for word in words:
        key, _, value = word.partition("=")
        if key not in common:
            found.append(value if key in configuration.GROUPS else key.rpartition(".")[2] + value)
    return "-".join(re.sub(r"[^\w.]+", "_", word, flags=re.ASCII).strip("_") for word in found)[:80]


@command
def main() -> None:
    with processes.further() if processes.number() else contextlib.nullcontext():
        worker = configuration.worker_run()
        if worker is None:
            return compose()
        from zoo.run.train import join

        join(worker)  # one of several processes of a run that is already under way


def compose() -> None:
    if "-sc" in sys.argv[1:]:
        return print(configuration.complete(sys.argv[1:], CONFIGS))
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us as they are
    configuration.add_found_options(CONFIGS)
    try:
        sys.argv[1:] = configuration.typed(sys.argv[1:])
        notes = configuration.check_words(sys.argv[1:], CONFIGS)
        for note in [] if processes.number() else notes:
            print(terminal.as_typed(note), file=sys.stderr)
        if "--version" in sys.argv[1:]:
            return print(zoo.__version__)
        if {"-h", "--help"} & set(sys.argv[1:]):
            return print(terminal.as_typed(configuration.help_text(sys.argv[1:], CONFIGS)))
        if {"-m", "--multirun"} & set(sys.argv[1:]):
            if processes.started_together():
                raise ConfigError(
                    "one process starts a multirun, and its trainings the others: neither torchrun nor srun"
                )
            sys.argv[1:] = configuration.check_sweep(sys.argv[1:], CONFIGS)
            return _multirun()
        if {"-c", "--cfg"} & {word.partition("=")[0] for word in sys.argv[1:]}:
            return _show()
        with late_help():
            job()
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(configuration.explain(error, sys.argv[1:], CONFIGS)) from error


def _show() -> None:
    """Print what Hydra does for ``--cfg``, but for the rules of options: they are no settings."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), late_help():
        job()
    print(re.sub(rf"^( *){configuration.RULES}:.*\n(?:\1 .*\n)*", "", shown.getvalue(), flags=re.MULTILINE), end="")


def _multirun() -> None:
    with sweep.told(), late_help():
        try:
            job()
        except (HydraException, OmegaConfBaseException):
            raise
        except Exception as error:  # not of a job, which notes its own
            if isinstance(error, OSError) and error.filename:
                raise ZooError(f"{error.filename} cannot be written: {error.strerror}") from error
            first = (str(error) or repr(error)).splitlines()[0]
            raise ZooError(f"the launcher gave up: {type(error).__name__}: {first}") from error


if __name__ == "__main__":
    main()
