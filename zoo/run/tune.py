"""A search for good options: Optuna proposes, a training answers with the best value of its monitor on validation data.

The test split takes no part. Every trial is a run like any other, in a directory of its own below the search's, which
also holds ``study.log``, Optuna's journal: JSON, from which the same command goes on.
"""

from __future__ import annotations

import contextlib
import math
import shlex
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as L
import numpy as np
import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, RangeSweep
from hydra.errors import HydraException
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState
from rich.table import Table

from zoo import config as configuration
from zoo.command import limits
from zoo.errors import ConfigError, DataError, ZooError
from zoo.learners._learner import larger_is_better
from zoo.run.record import locked
from zoo.run.sweep import arguments, shortened
from zoo.run.train import train
from zoo.terminal import console, printable

JOURNAL = "study.log"
STATES = {TrialState.COMPLETE: "", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed", TrialState.RUNNING: "runs"}
Space = dict[str, BaseDistribution]


def split(words: Sequence[str]) -> tuple[list[str], Space]:
    """The words that are the same in all trials, and what is searched over, in the grammar of a Hydra sweep.

    ``interval(a,b)`` is a real number, ``int(interval(a,b))`` a whole one, either on a logarithmic scale as
    ``tag(log,interval(a,b))``; ``range(…)`` a whole number by steps; values with commas are tried as they are.

    Raises ``ConfigError`` for a range that holds no number, for a search over seeds, and where nothing is searched.
    """
    fixed, space = [], {}
    for word in words:
        override = OverridesParser.create().parse_override(word)
        key = override.get_key_element()
        if key == "resume" or (key == "seed" and override.is_sweep_override()):
            raise ConfigError(f"{word}: a search chooses no {key}")
        if override.is_sweep_override():
            space[key] = _distribution(word, override)
        else:
            fixed.append(word)
    if not space:
        raise ConfigError(
            "nothing is searched: a range is typed learner.optimizer.lr='tag(log,interval(1e-4,1e-1))', see --help"
        )
    return fixed, space


def _distribution(word: str, override: Any) -> BaseDistribution:
    value = override.value()
    log = "log" in getattr(value, "tags", ())
    try:
        if isinstance(value, IntervalSweep):
            kind = IntDistribution if isinstance(value.start, int) else FloatDistribution
            return kind(cast(Any, value.start), cast(Any, value.end), log=log)
        choices = list(override.sweep_string_iterator())
        if isinstance(value, RangeSweep) and isinstance(value.range(), range) and not value.shuffle:
            numbers = sorted(map(int, choices))
            return IntDistribution(numbers[0], numbers[-1], step=abs(int(value.step)), log=log)
        return CategoricalDistribution(choices)
    except (ValueError, TypeError, IndexError, HydraException) as error:
        raise ConfigError(f"{word} is nothing to search in: {error}") from error


def _text(value: Any) -> str:
    """A proposed value as a word of a command line has it: to the last digit."""
    return value if isinstance(value, str) else repr(value)


def _ends(distribution: BaseDistribution) -> list[str]:
    if isinstance(distribution, CategoricalDistribution):
        return [_text(choice) for choice in distribution.choices]
    assert isinstance(distribution, (IntDistribution, FloatDistribution))
    return [repr(end) for end in (distribution.low, distribution.high)]


def check(fixed: Sequence[str], space: Space, configs: Path) -> tuple[dict[str, Any], str]:
    """The configuration of one trial, and the monitor of all; both ends of each range are looked at before any begins.

    Raises ``ConfigError`` for an option that no training takes, and where validation data does not decide.
    """
    corner = {key: _ends(distribution)[0] for key, distribution in space.items()}
    monitors = {}
    for key, distribution in space.items():
        for end in _ends(distribution):
            words = [*fixed, *(f"{name}={text}" for name, text in {**corner, key: end}.items())]
            found = configuration.settings(words, configs)
            monitors[found["learner"].get("monitor")] = words
            unseen = found["data"].get("val_size") == 0 or found["trainer"]["limit_val_batches"] == 0
            if unseen or found["trainer"]["fast_dev_run"]:
                raise ConfigError(
                    "a search needs validation data: the best of its runs is the best there, never on test"
                )
    if len(monitors) > 1:
        raise ConfigError(
            f"the trials have different monitors, {', '.join(map(str, monitors))}: learner.monitor=… is one"
        )
    (monitor,) = monitors
    if not str(monitor).startswith("val/"):
        raise ConfigError(f"learner.monitor={monitor} is no value on validation data, by which a search could choose")
    return found, str(monitor)


class Prune(L.Callback):
    """Reports the monitor's value each epoch, and ends a trial that is worse than the median of those before."""

    def __init__(self, trial: Trial, monitor: str) -> None:
        self.trial = trial
        self.monitor = monitor

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.monitor in trainer.callback_metrics:
            self.trial.report(float(trainer.callback_metrics[self.monitor]), trainer.current_epoch)
            if self.trial.should_prune():
                raise optuna.TrialPruned


@contextlib.contextmanager
def opened(out: Path, words: Sequence[str], monitor: str, prune: bool) -> Iterator[optuna.Study]:
    """The study that a folder holds, or a new one there; this process alone has it.

    Raises:
        ConfigError: another search has the folder, or it holds something else.
        DataError: its journal is damaged.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not (out / JOURNAL).is_file() and any(out.iterdir()):
            raise ConfigError(
                f"{out} holds something else than a search: out=… names a new folder, or a search to go on with"
            )
    except OSError as error:
        raise ConfigError(f"{out} cannot be searched in: {error.strerror}") from error
    with locked(out, f"another process is searching in {out}"):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            study = optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(out / JOURNAL))),
                study_name="search",
                direction="maximize" if larger_is_better(monitor) else "minimize",
                pruner=optuna.pruners.MedianPruner() if prune else optuna.pruners.NopPruner(),
                load_if_exists=True,
            )
            begun = study.user_attrs.get("words")
        except OSError as error:
            raise ConfigError(f"{out} cannot be searched in: {error.strerror}") from error
        except Exception as error:  # whatever Optuna stumbles over in it
            raise DataError(f"{out / JOURNAL} is no journal of a search, or a damaged one") from error
        if begun is None:
            study.set_user_attr("words", list(words))
        elif begun != list(words):
            raise ConfigError(
                f"{out} is another search, which goes on with python scripts/tune.py "
                f"{shlex.join([*map(str, begun), f'out={out}'])}"
            )
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)  # its process was killed
        yield study


def words_of(fixed: Sequence[str], parameters: Mapping[str, Any]) -> list[str]:
    """The command line of ``train.py`` for a trial."""
    return [*fixed, *(f"{key}={_text(value)}" for key, value in parameters.items())]


def search(
    study: optuna.Study, fixed: Sequence[str], space: Space, configs: Path, out: Path, trials: int, seed: int
) -> None:
    """Train until the study has ``trials`` trials. One that cannot be trained has failed, and the others go on."""
    prune = not isinstance(study.pruner, optuna.pruners.NopPruner)
    while (number := len(study.get_trials(deepcopy=False))) < trials:
        # a sampler of its own for each: between trials, it makes no difference whether a search was interrupted
        of_trial = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        study.sampler = optuna.samplers.TPESampler(seed=of_trial)
        trial = study.ask(space)
        words = words_of(fixed, trial.params)
        console().print(f"trial {trial.number}: {shlex.join(words_of((), trial.params))}", soft_wrap=True)
        begun = time.perf_counter()
        state, value, why = TrialState.FAIL, None, "interrupted"
        try:
            with limits(), arguments(words):
                settings = configuration.settings(words, configs)
                del settings["resume"]
                more = [Prune(trial, settings["learner"]["monitor"])] if prune else []
                value = train(settings, None, out / f"{trial.number:03}", more).value
            if not math.isfinite(value):
                raise ZooError(f"{settings['learner']['monitor']} is {value}")
            state, why = TrialState.COMPLETE, ""
        except optuna.TrialPruned:
            state, why = TrialState.PRUNED, ""
        except ZooError as error:
            value, why = None, str(error)
        except Exception as error:
            traceback.print_exc()
            why = f"{type(error).__name__}: {error}"
        finally:
            trial.set_user_attr("seconds", round(time.perf_counter() - begun, 1))
            trial.set_user_attr("why", why)
            study.tell(trial, value if state == TrialState.COMPLETE else None, state=state)


def ranked(study: optuna.Study) -> list[FrozenTrial]:
    """The trials, the best first, then those that were pruned, then those that failed."""
    sign = -1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1
    order = list(STATES)

    def place(trial: FrozenTrial) -> tuple[int, float, int]:
        return order.index(trial.state), sign * (trial.value or 0) if trial.state == order[0] else 0, trial.number

    return sorted(study.get_trials(), key=place)


def table(study: optuna.Study, space: Space, monitor: str, out: Path) -> Table:
    """A row a trial, the best first: the monitor's best value, what was tried, seconds, and why it came to nothing."""
    found = Table("trial", monitor, *(key.rpartition(".")[2] for key in space), "s", title=printable(out))
    trials = ranked(study)
    if any(trial.state != TrialState.COMPLETE for trial in trials):
        found.add_column("", overflow="fold")
    for trial in trials:
        done = trial.state == TrialState.COMPLETE and trial.value is not None
        values = [trial.params.get(key, "") for key in space]
        state = ": ".join(filter(None, [STATES.get(trial.state, ""), shortened(trial.user_attrs.get("why", ""))]))
        cells = [
            f"{trial.number:03}",
            f"{trial.value:.4f}" if done else "",
            *(f"{value:.4g}" if isinstance(value, float) else printable(value) for value in values),
            str(trial.user_attrs.get("seconds", "")),
            *([printable(state)] if len(found.columns) > len(space) + 3 else []),
        ]
        found.add_row(*cells)
    return found


def best(study: optuna.Study) -> FrozenTrial | None:
    """The best of the trials that came to their end; None where none did."""
    first = next(iter(ranked(study)), None)
    return first if first is not None and first.state == TrialState.COMPLETE else None
