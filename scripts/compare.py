"""Measure the textbook's claims about generative and discriminative models, and write a report.

python scripts/compare.py [suite=textbook|quick] [claims=…] [out=report]

  suite   textbook (default): MNIST and Fashion-MNIST, at most 2.5 hours on two
          cores; quick: the embedded digits, less than 5 minutes
  claims  all (default), one of those below, or a list: claims=[anomalies,gating]
  out     where index.html, figures/, numbers.csv, claims.json and models.json are
          written; out/work keeps every measurement and every trained model, so that
          the same command goes on after it was stopped

With -m each claim is a job of a Hydra multirun, which any launcher fans out:

  OMP_NUM_THREADS=1 python scripts/compare.py -m hydra/launcher=joblib
      hydra.launcher.n_jobs=2        (pip install hydra-joblib-launcher)

Claims:
{claims}
"""

from __future__ import annotations

import os
import sys
from datetime import date
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from zoo import claims
from zoo import config as configuration
from zoo.errors import ConfigError, did_you_mean
from zoo.tasks.command import command

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
KEYS = ("suite", "claims", "out")


def checked(config: DictConfig) -> dict[str, Any]:
    """``suite``, ``claims`` (names) and ``out`` as plain values. Raises ``ConfigError`` for an unknown or wrong one."""
    values: Any = OmegaConf.to_container(config, resolve=True)
    if values["suite"] not in claims.SUITES:
        hint = did_you_mean(str(values["suite"]), claims.SUITES, "suites")
        raise ConfigError(f"unknown suite {values['suite']!r}: {hint}")
    wanted = values["claims"]
    chosen = claims.names() if wanted == "all" else [wanted] if isinstance(wanted, str) else list(wanted or [])
    if not chosen:
        raise ConfigError("claims= names none: give all, a claim, or a list of claims")
    for name in chosen:
        claims.check(str(name))
    return {"suite": values["suite"], "claims": chosen, "out": Path(str(values["out"])).expanduser()}


@hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="compare")
def job(config: DictConfig) -> None:
    """Measures the claims of one job."""
    settings = checked(config)
    from rich.console import Console

    from zoo.tasks import compare

    console = Console(highlight=False, stderr=True)
    todo = compare.jobs(settings["suite"], settings["claims"], settings["out"])
    compare.run(todo, settings["out"], compare.Progress(console))


def arguments(words: list[str]) -> list[str]:
    """The command line with all claims named one by one where a multirun is asked for all of them."""
    if not {"-m", "--multirun"} & set(words):
        return words
    named = [word for word in words if word.startswith("claims=") and word != "claims=all"]
    rest = [word for word in words if word != "claims=all"]
    return words if named else [*rest, f"claims={','.join(claims.names())}"]


@command
def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        lines = (f"  {name}" for name in claims.names())
        return print((__doc__ or "").replace("{claims}", "\n".join(lines)).strip())
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us as they are
    configuration.check_flags(sys.argv[1:])
    words = sys.argv[1:] = arguments(sys.argv[1:])
    settings = checked_words(words)
    try:
        job()
    except HydraException as error:
        raise ConfigError(str(error).splitlines()[0]) from error
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt("stopped; what is measured is kept, the same command goes on") from stop
    from rich.console import Console

    from zoo.tasks import compare

    page, table = compare.report(settings["suite"], settings["out"], date.today().isoformat())
    console = Console(highlight=False)
    console.print(table)
    console.print(str(page), soft_wrap=True)


def checked_words(words: list[str]) -> dict[str, Any]:
    """What the command line says, before anything runs; a sweep over claims counts as a list of them."""
    given = {}
    for word in words:
        key, equals, value = word.partition("=")
        if word.startswith("-") or key.startswith(("hydra.", "hydra/")):
            continue
        if not equals or key not in KEYS:
            raise ConfigError(f"unknown key {key!r}: {did_you_mean(key, KEYS, 'valid keys')}")
        given[key] = [name.strip() for name in value.strip("[]").split(",")] if "," in value else value
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra.compose("compare")
    GlobalHydra.instance().clear()
    return checked(OmegaConf.merge(config, given))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
