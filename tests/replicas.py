"""The same trainings in one process and in two, which share its batches: ``python tests/replicas.py`` prints how far
apart they end."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from conftest import CONFIGS, ROOT, stopped_at
from rich.console import Console

import zoo
from zoo import capability
from zoo import config as configuration
from zoo.files import write_yaml
from zoo.run.train import build, fit
from zoo.run.trainer import quiet

# 235 and 101 images: neither batches nor processes have equal numbers of them
TINY = (
    "data.train_size=235", "data.val_size=101", "data.augment={shift: 0, flip: false, erase: 0}",
    "trainer.max_epochs=2", "logger=none",
)  # fmt: skip
DOUBLE = "trainer.precision=64-true"
SMALL_VAE = ("model.hidden_sizes=[16]", "model.latent_dim=3")
ALIKE = {  # what draws no random numbers: the images, and the weights but for rounding, are those of one process
    "logistic_regression": ("model=logistic_regression",),
    "svm": ("model=svm", "model.num_features=128"),
    "lenet": ("model=lenet", "model.channels=[4,8]", "model.num_features=16", "model.dropout=0"),
    "rnn": ("model=rnn", "model.hidden_size=8", "model.dropout=0"),
    "mlp": ("model=mlp", "model.hidden_sizes=[16]", "model.dropout=0", "trainer.sync_batchnorm=true", DOUBLE),
    "mlp-accumulate": (
        "model=mlp", "model.hidden_sizes=[16]", "model.dropout=0", "learner.accumulate=3", "learner.ema=0.5",
        "data.val_size=0", "trainer.sync_batchnorm=true", DOUBLE,
    ),
    "cnn": ("model=cnn", "model.channels=[4,8]", "model.dropout=0", "trainer.sync_batchnorm=true", DOUBLE),
    "naive_bayes": ("model=naive_bayes",),
    "naive_bayes-hidden": ("model=naive_bayes", "data.labels=60", "learner.tolerance=0", DOUBLE),
    "gmm": ("model=gmm", "model.num_components=2", "model.pca=6", "learner.tolerance=0", DOUBLE),
    "gmm-hidden": (
        "model=gmm", "model.num_components=2", "model.pca=6", "data.labels=60", "learner.tolerance=0", DOUBLE,
    ),
    "hmm": ("model=hmm", "model.num_states=3", "learner.tolerance=0", DOUBLE),
    "gmm-gradient": (
        "model=gmm", "model.num_components=2", "model.pca=6", "learner=likelihood", "learner.optimizer.name=SGD",
        "learner.optimizer.lr=1e-3", "learner.clip=1", DOUBLE,
    ),
}  # fmt: skip
NOISY = {  # each process draws its own dropout masks or latents: equal in distribution
    "mlp-dropout": ("model=mlp", "model.hidden_sizes=[16]", "model.dropout=0.3", "trainer.sync_batchnorm=true"),
    "vae": ("model=vae", *SMALL_VAE),
    "m2-hidden": ("model=m2", *SMALL_VAE, "data.labels=60"),
    "dcgan": ("model=dcgan", "model.channels=4", "model.latent_dim=8", "model.conditional=true"),
}


def train(run: Path, *words: str, processes: int = 1, batch: int = 64) -> dict[str, Any]:
    """A training of this process, or this process's part of it, in batches of ``batch`` images of all processes.

    One that is there goes on. The word ``stopped`` ends it by a signal in its third step. What it ends with:
    ``weights``, ``metrics`` of the last epoch, ``steps``, the random numbers that are ``next`` and, of a density,
    ``log_prob``, the mean of log p(x) over validation or training images, in nats.
    """
    many = (f"trainer={'cpu' if processes == 1 else 'ddp'}", f"trainer.devices={processes}")
    many = (*many, "trainer.accelerator=cpu", f"data.batch_size={batch // processes}")
    stopped = stopped_at(2) if "stopped" in words else contextlib.nullcontext()
    words = tuple(word for word in words if word != "stopped")
    settings = configuration.settings([*TINY, *words, *many], CONFIGS)
    run.mkdir(parents=True, exist_ok=True)
    resume = run / "last.ckpt"
    with quiet():
        learner, data, trainer = build(settings, run, Console(quiet=True), pictures=False)
        if trainer.is_global_zero:
            write_yaml(run / "config.yaml", settings)
        with stopped:
            fit(learner, data, trainer, run, resume if resume.is_file() else None)
    metrics = {key: float(value) for key, value in trainer.callback_metrics.items() if key != "images_per_second"}
    found = {
        "weights": {key: value.clone() for key, value in learner.state_dict().items()},
        "metrics": metrics,
        "steps": trainer.global_step,
        "next": torch.rand(4),
    }
    if capability.can(learner.evaluated, "log_prob") and learner.evaluated.density.kind == "exact":
        learner.evaluated.to(torch.float64)
        x = (data.splits.val or data.splits.train).x().double()
        found["log_prob"] = float(zoo.log_prob(learner.evaluated, x).mean())
    return found


def pair(folder: Path, *trainings: tuple[str, ...]) -> list[list[dict[str, Any]]]:
    """What :func:`train` gives in each of two processes, one training after the other: first the run, then words."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save([list(words) for words in trainings], folder / "trainings.pt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "NODE_RANK": "0"}
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    both = [
        subprocess.Popen(
            [sys.executable, __file__, str(folder)],
            env={**os.environ, **common, "PYTHONPATH": path, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=600)[1] for process in both]
    if any(process.returncode for process in both):
        raise RuntimeError("\n".join(said))
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


def part(folder: Path) -> None:
    """One of the two processes."""
    torch.set_num_threads(1)
    trainings = torch.load(folder / "trainings.pt", weights_only=True)
    found = [train(folder / run, *words, processes=2) for run, *words in trainings]
    torch.save(found, folder / f"rank{os.environ['RANK']}.pt")


def distance(one: dict[str, Any], two: dict[str, Any]) -> tuple[float, float]:
    """The largest relative difference of a weight or statistic, ‖a − b‖ / ‖a‖, and that of log p(x), or NaN."""
    pairs = [(value.double(), two["weights"][key].double()) for key, value in one["weights"].items()]
    weights = max(float((a - b).norm() / a.norm().clamp(min=1e-12)) for a, b in pairs)
    if "log_prob" not in one:
        return weights, math.nan
    return weights, abs(one["log_prob"] - two["log_prob"]) / abs(one["log_prob"])


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        two, other = pair(Path(folder), *((case, *words) for case, words in ALIKE.items()))
        print("| training | weights, relative | log p(x), relative | replicas equal |\n| --- | --: | --: | --- |")
        for (case, words), first, second in zip(ALIKE.items(), two, other, strict=True):
            weights, log_prob = distance(train(Path(folder) / "one" / case, *words), first)
            density = "" if math.isnan(log_prob) else f"{log_prob:.1e}"
            equal = all(torch.equal(value, second["weights"][key]) for key, value in first["weights"].items())
            print(f"| `{' '.join(words)}` | {weights:.1e} | {density} | {'yes' if equal else 'no'} |")


if __name__ == "__main__":
    part(Path(sys.argv[1])) if sys.argv[1:] else main()
