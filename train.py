"""Train any model of the zoo on any of its data sets: ``python train.py model=cnn data=mnist``.

Composing and checking the configuration imports neither torch nor Lightning, so that a mistake is answered at once.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from zoo import config as configuration
from zoo import terminal
from zoo.command import command, fail, limits
from zoo.errors import ConfigError, ZooError
from zoo.files import user_path
from zoo.run import sweep

CONFIGS = Path(__file__).parent / "configs"


@hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="train")
def job(composed: DictConfig) -> float:
    """One run. Returns the best value of the learner's monitor, for sweepers."""
    terminal.prepare()  # a launcher may have begun another process
    hydra_config = HydraConfig.get()
    target = Path(hydra_config.sweep.dir) / _job_name(hydra_config) if hydra_config.mode == RunMode.MULTIRUN else None
    try:
        settings = configuration.checked(composed)
        resume, words = settings.pop("resume"), list(hydra_config.overrides.task)
        if resume == "last":
            resume = configuration.latest(user_path(settings["runs"]))
            words = [word for word in words if not word.startswith("runs=")]
        if resume:
            resume = user_path(resume)
            settings = configuration.resumed(resume, words)
        # Lightning would start further processes through Hydra's output directory; ours read the run directory
        HydraConfig.instance().cfg = None
        from zoo.run.train import train

        with limits():
            return train(settings, resume or None, target)
    except ZooError as error:
        if target is None:
            sys.exit(fail(error))
        print(terminal.printable(f"{target.name} failed: {error}", keep="\n"), file=sys.stderr)
        raise  # Hydra goes on with the other jobs, and then raises it again


def _job_name(hydra_config: Any) -> str:
    """The number of a job in its multirun and what is special to it, such as ``003-cnn-seed2``, fit for a path."""
    words = [f"{hydra_config.job.num:03}"]
    for override in hydra_config.overrides.task:
        if override not in sys.argv:  # the same for all jobs otherwise
            key, _, value = override.partition("=")
            words.append(value if key in configuration.GROUPS else key.rpartition(".")[2] + value)
    return "-".join(re.sub(r"[^\w.]+", "_", word) for word in words)[:80]


@command
def main() -> None:
    worker = configuration.worker_run()
    if worker is not None:  # one of several processes of a run that is already under way
        from zoo.run.train import join

        return join(worker)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us as they are
    configuration.add_found_options(CONFIGS)
    try:
        sys.argv[1:] = configuration.typed(sys.argv[1:])
        for note in configuration.check_words(sys.argv[1:], CONFIGS):
            print(note, file=sys.stderr)
        if {"-h", "--help"} & set(sys.argv[1:]):
            return print(configuration.help_text(sys.argv[1:], CONFIGS))
        if {"-m", "--multirun"} & set(sys.argv[1:]):
            configuration.check_sweep(sys.argv[1:], CONFIGS)
        job()
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(configuration.explain(error, sys.argv[1:], CONFIGS)) from error
    finally:
        sweep.print_table()


if __name__ == "__main__":
    main()
