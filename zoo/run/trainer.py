"""Lightning's Trainer as this project sets it up: its logger, its checkpoints, and without its advertisements."""

from __future__ import annotations

import contextlib
import inspect
import logging
import math
import os
import re
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, WandbLogger
from lightning.pytorch.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from zoo.errors import ConfigError, did_you_mean
from zoo.learners.batchnorm import SynchronizedBatchNorm
from zoo.run import processes
from zoo.run.board import Board, hyperparameters
from zoo.run.checkpoints import WholeFiles
from zoo.terminal import printable

# Trainer arguments that this module sets
OURS = (
    "callbacks", "logger", "default_root_dir", "enable_checkpointing", "enable_progress_bar", "enable_model_summary",
    "plugins",
)  # fmt: skip
PROFILE = "profile"  # in a run's directory: the report of a profiler
DEAREST = 12  # actions that are told of it
NEEDLESS_WARNINGS = (
    "`LightningModule.configure_optimizers` returned `None`",  # EM has none
    "The number of training batches",  # fewer batches than log_every_n_steps: the curve has an epoch's points
    "The '\\w+_dataloader' does not have many workers",
    "Checkpoint directory .* exists and is not empty",  # the run directory is ours
    "Be aware that when using `ckpt_path`",  # of an earlier version, whose callback had another name
    "Total length of `list` across ranks is zero",  # val_size=0
    "The PyTorch Profiler default schedule will be overridden",  # by fewer than five steps
    "Warning: Profiler clears events at the end of each cycle",
    "The PyTorchProfiler failed to export trace",  # of a training that keeps nothing
    "`isinstance\\(treespec, LeafSpec\\)`",
    "You called `self.log\\('.*', ..., logger=True\\)` but have no logger",
    "You passed `Trainer\\(accelerator='cpu', precision='16-mixed'\\)`",  # which is an error here
)


def build_trainer(settings: dict[str, Any], run: Path, callbacks: list[L.Callback]) -> L.Trainer:
    """Lightning's Trainer with this project's logger and callbacks. Raises ``ConfigError`` for what it refuses."""
    options = dict(settings["trainer"])
    valid = set(inspect.signature(L.Trainer).parameters) - set(OURS)
    for key in options:
        if key not in valid:
            raise ConfigError(f"unknown key 'trainer.{key}': {did_you_mean(key, valid, 'valid')}")
    if options["accelerator"] in ("gpu", "cuda") and not torch.cuda.is_available():
        raise ConfigError("this machine has no GPU that PyTorch can use: trainer=cpu or trainer=auto")
    _check_devices(options)
    plugins: list[Any] = [WholeFiles()]
    if options.pop("sync_batchnorm", False):
        plugins.append(SynchronizedBatchNorm())
    if options["log_every_n_steps"] == "auto":  # which train.build sets, once it is known how many there are
        options["log_every_n_steps"] = None
    kept = not options["fast_dev_run"] and not processes.number()
    options["profiler"] = _profiler(options.get("profiler"), run / PROFILE if kept else None)
    logger = _logger(dict(settings["logger"]), run)
    try:
        trainer = L.Trainer(
            **{"num_sanity_val_steps": 0, **options},
            logger=logger or False,
            callbacks=callbacks,
            plugins=plugins,
            default_root_dir=run,
            enable_checkpointing=True,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except ImportError as error:  # of what an argument asks for
        package = f"pip install {error.name}" if error.name else str(error)
        raise ConfigError(f"trainer: an argument needs a package that is not installed: {package}") from error
    except (MisconfigurationException, ValueError, TypeError, RuntimeError, AttributeError, KeyError) as error:
        raise ConfigError(f"trainer: {str(error) or repr(error)}") from error
    if trainer.precision != options["precision"]:  # Lightning has put another in its place
        wanted = f"trainer.precision={options['precision']}"
        raise ConfigError(f"{wanted} needs a GPU; on this device trainer.precision={trainer.precision}")
    return trainer


def _logger(options: dict[str, Any], run: Path) -> Any:
    """What curves are drawn by; None for nothing. Raises ``ConfigError`` where it cannot be made."""
    name = options.pop("name")
    if name == "tensorboard":
        return Board(run)
    if name == "csv":
        parts = len([*(run / "csv").glob("*/metrics.csv")])  # a run that goes on keeps what it has drawn before
        return CSVLogger(run, name="csv", version=f"part{parts + 1}")
    with _reaching(name):
        if name == "wandb":
            return WandbLogger(name=run.name, save_dir=run, **options)
        if name == "mlflow":
            where = options.pop("tracking_uri") or f"sqlite:///{(run.parent / 'mlruns.db').resolve()}"
            return MLFlowLogger(run_name=run.name, tracking_uri=where, **options)
    return None


def reach_logger(trainer: L.Trainer, settings: Mapping[str, Any], console: Console) -> None:
    """Tell a logger the hyperparameters, once all else is known to fit: a server has a run before the first step.
    TensorBoard has them at the end, beside what came out. Raises ``ConfigError`` where it does not answer."""
    if trainer.logger is None or isinstance(trainer.logger, Board):
        return
    if settings["logger"].get("tracking_uri"):
        console.print(f"waiting for {settings['logger']['tracking_uri']}", soft_wrap=True)
    with _reaching(settings["logger"]["name"]):
        trainer.logger.log_hyperparams(hyperparameters(settings))


def _profiler(name: str | None, folder: Path | None) -> Profiler | None:
    """What measures a training, and writes its report into ``folder`` if there is one."""
    options: dict[str, Any] = {} if folder is None else {"dirpath": folder, "filename": name}
    if name == "pytorch":
        return PyTorchProfiler(export_to_chrome=folder is not None, **options)
    return {"simple": SimpleProfiler, "advanced": AdvancedProfiler}[name](**options) if name else None


def tell_profile(trainer: L.Trainer, console: Console) -> None:
    """Where the report of a training's profiler lies, and of ``simple`` the actions that took the most."""
    profiler: Any = trainer.profiler  # type: ignore[attr-defined]
    if isinstance(profiler, SimpleProfiler):
        passed = time.perf_counter() - profiler.start_time
        found = [(math.fsum(times), len(times), action) for action, times in profiler.recorded_durations.items()]
        heads = [Column("action", overflow="ellipsis", no_wrap=True, max_width=46)]
        heads += [Column(name, justify="right", no_wrap=True) for name in ("seconds", "share", "calls")]
        table = Table(*heads, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for seconds, calls, action in sorted(found, reverse=True)[:DEAREST]:
            name = re.sub(r"^\[\w+\]\.?", "", action)  # without the kind of what does it
            table.add_row(name, f"{seconds:.3f}", f"{seconds / passed:.1%}", f"{calls:,}")
        console.print(table)
    if getattr(profiler, "filename", None):
        console.print(printable(f"the whole profile is in {profiler.dirpath}"), soft_wrap=True)


@contextlib.contextmanager
def _reaching(name: str) -> Iterator[None]:
    """What goes wrong with a logger, in a line."""
    try:
        yield
    except ImportError as error:
        raise ConfigError(f"logger={name} needs a package: pip install {name}, or logger=none") from error
    except Exception as error:  # of a package that is not ours: the network's, the server's, a login that is missing
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"logger={name} cannot begin: {reason[:300]}") from error


def _check_devices(options: Mapping[str, Any]) -> None:
    """Raise ``ConfigError`` for more processes than the processors of this machine, or machines that nothing names."""
    devices, nodes = options["devices"], options["num_nodes"]
    on_cpu = options["accelerator"] == "cpu" or not (torch.cuda.is_available() or torch.backends.mps.is_available())
    most = max(os.cpu_count() or 1, 2)
    if on_cpu and options["accelerator"] != "tpu":
        if devices == -1 or isinstance(devices, list):
            raise ConfigError(f"trainer.devices={devices} names GPUs: on the CPU it is a number of processes")
        if isinstance(devices, int) and devices > most:
            raise ConfigError(f"trainer.devices={devices}: on the CPU, at most {most} processes on this machine")
    started = next((way for way in ("spawn", "fork", "notebook") if way in str(options["strategy"])), None)
    if started:
        raise ConfigError(
            f"trainer.strategy={options['strategy']}: a training's processes are started as commands: "
            "trainer.strategy=ddp, on one device or several"
        )
    if nodes > 1 and not {"MASTER_ADDR", "SLURM_JOB_ID", "LSB_JOBID", "PBS_JOBID", "XRT_MESH"} & set(os.environ):
        raise ConfigError(
            f"trainer.num_nodes={nodes}: nothing says where the other machines are, and each would wait for them\n"
            "Start it by SLURM or torchrun, or set MASTER_ADDR, MASTER_PORT and NODE_RANK on each"
        )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Lightning's advertisements and the warnings that mean nothing here are left out; all others come through."""
    tell = threading.excepthook
    threading.excepthook = lambda args: None if _is_told(args) else tell(args)
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in NEEDLESS_WARNINGS:
            warnings.filterwarnings("ignore", message)
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            threading.excepthook = tell
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _is_told(args: Any) -> bool:
    """Whether an error that ends a thread is raised again by who gave it something to write, as TensorBoard's is."""
    return isinstance(args.exc_value, OSError) and type(args.thread).__module__.startswith("tensorboard.")
