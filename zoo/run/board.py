"""What TensorBoard is told of a run: curves under names that stand together, a layout, and words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.loggers import TensorBoardLogger

from zoo.config.options import flat, options_of, read_option
from zoo.files import CONFIGS
from zoo.inspect import markdown
from zoo.plain import read_yaml
from zoo.terminal import printable

# of training and validation: these are drawn side by side, before all others
FIRST = ("accuracy", "loss", "log_likelihood", "nats_per_token")
MOVED = {"images_per_second": "time/images_per_second", "latent/active_units": "val/active_units"}
PLACES = ("data.root", "runs", "trainer.accelerator", "trainer.devices")  # which change nothing of what comes out
OLD_FOLDER = "tensorboard"  # of earlier versions, within the run's


class Board(TensorBoardLogger):
    """TensorBoard's files, in the run's own directory, so that it is called as the run is.

    ``loss/train``, ``loss/val`` and ``loss/step``, and likewise ``accuracy``, ``log_likelihood`` and
    ``nats_per_token``, are what is logged as ``train/loss``, ``val/loss`` and ``step/loss``, …; throughput is under
    ``time/``; all else is under the name it is logged by. Epochs are no curve.

    Args:
        run: the directory of the run.
    """

    def __init__(self, run: Path) -> None:
        name = OLD_FOLDER if (run / OLD_FOLDER).is_dir() else ""  # of a run that an earlier version began
        super().__init__(run, name=name, version="", default_hp_metric=False)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        super().log_metrics({tag_of(name): value for name, value in metrics.items() if name != "epoch"}, step)

    def save(self) -> None:
        """The run has its configuration already: no ``hparams.yaml``."""

    def begin(self, settings: Mapping[str, Any], command: str, tokens: bool) -> None:
        """Write what is known before the training: its command and configuration, and how curves are laid out; the
        last of :data:`FIRST` is of ``tokens``."""
        pairs = {name: ["Multiline", [f"{name}/(train|val)$"]] for name in (FIRST if tokens else FIRST[:-1])}
        self.experiment.add_custom_scalars({"training and validation": pairs})
        self.experiment.add_text("run/command", markdown.block(command), 0)
        text = yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True)
        self.experiment.add_text("run/configuration", markdown.block(text), 0)

    def end(self, summary: Mapping[str, Any], step: int) -> None:
        """Write what came out: the figures of the test, as text, and beside the hyperparameters."""
        metrics = {key: value for key, value in summary["test"].items() if isinstance(value, (int, float, str))}
        rows = [(key, f"{value:.6g}" if isinstance(value, float) else str(value)) for key, value in metrics.items()]
        rows += [(f"seconds of {key}", f"{value:.1f}") for key, value in summary["seconds"].items()]
        self.experiment.add_text("run/summary", markdown.table(["", summary["data"]], rows), step)
        self.log_hyperparams(hyperparameters(summary["config"]), figures(summary), step=step)
        self.finalize("success")


def tag_of(name: str) -> str:
    """What a value that is logged as ``name`` is called in TensorBoard."""
    stage, _, value = name.partition("/")
    return f"{value}/{stage}" if stage in ("train", "val", "step") and value in FIRST else MOVED.get(name, name)


def figures(summary: Mapping[str, Any]) -> dict[str, float]:
    """The figures of the test, by the names that every logger has them by."""
    return {f"test/{key}": value for key, value in summary["test"].items() if isinstance(value, float)}


def hyperparameters(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What runs differ in: model and data, which TensorBoard shows first, since it sorts by name, the seed, and, as
    ``option/<key>``, what is not what the option's own file says."""
    found = {key: settings[key]["name"] for key in ("data", "model")}
    usual = read_yaml(CONFIGS / "train.yaml")
    for key, value in settings.items():
        if not isinstance(value, Mapping) and key not in (*PLACES, "seed") and value != usual.get(key):
            found[f"option/{key}"] = value
    for group in ("data", "model", "learner", "trainer"):
        name = settings[group].get("name", "auto")
        files = options_of(group, CONFIGS)
        usual = dict(flat(read_option(files, name) if name in files else {}, f"{group}."))
        for key, value in flat(settings[group], f"{group}."):
            if key not in (*PLACES, f"{group}.name") and value != usual.get(key):
                found[f"option/{key}"] = value if isinstance(value, (int, float, bool)) else printable(value)
    return {**found, "seed": settings["seed"]}
