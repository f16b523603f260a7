"""How long an epoch takes, side by side with a peer, in one process and interleaved.

python scripts/benchmark.py [key=value …]

  model    mlp (784-64-128-64-10) or cnn (the default one): the learner under Lightning's Trainer against a hand-written
           loop; gmm: an EM iteration against scikit-learn; hmm: one against hmmlearn
  rounds   interleaved repetitions, medians are reported (5)
  images   random images an epoch (55000; hmm: 2000)
  batch    batch size (128; gmm and hmm: 8192)
  json     a file to write the numbers to

mlp, cnn: both sides train the same network on the same batches with the same fused AdamW under OneCycle, count loss
and accuracy, and validate on 5,000 images after the epoch. The learner also writes TensorBoard's loss curve,
metrics.csv and two checkpoints an epoch, as train.py does.
gmm: 8 full covariances in 50 dimensions. hmm: an ergodic chain of 8 states over 28 rows of 28 pixels, full covariances.
gmm starts from the same parameters on both sides, hmm from the same means; an iteration is a fifth of what six take
more than one.
"""

from __future__ import annotations

import copy
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from zoo.tasks.command import command, parse

DEFAULTS: dict[str, Any] = {"model": "mlp", "rounds": 5, "images": 0, "batch": 0, "json": None}
RULES = {"model": ["mlp", "cnn", "gmm", "hmm"], "rounds": "[1, inf)", "images": "[0, inf)", "batch": "[0, inf)"}
SIZES = {"mlp": (55000, 128), "cnn": (55000, 128), "gmm": (60000, 8192), "hmm": (2000, 8192)}  # images, batch
OPTIMIZER: dict[str, Any] = {"lr": 1e-3, "weight_decay": 0.01}


def build(name: str) -> Any:
    import zoo

    options: dict[str, Any] = {"hidden_sizes": [64, 128, 64], "dropout": 0.0} if name == "mlp" else {}
    return zoo.create(name, **options)


def by_hand(model: Any, train: Any, val: Any) -> float:
    """Seconds of an epoch and its validation in a plain loop."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), fused=True, **OPTIMIZER)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, OPTIMIZER["lr"], total_steps=len(train))
    total, right = torch.zeros(()), torch.zeros(())
    start = time.perf_counter()
    for x, labels in train:
        logits = model(x)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        total.add_(loss.detach(), alpha=len(labels))
        right.add_((logits.detach().argmax(1) == labels).sum())
    model.eval()
    with torch.no_grad():
        for x, labels in val:
            right.add_((model(x).argmax(1) == labels).sum())
    return time.perf_counter() - start


def by_lightning(model: Any, train: Any, val: Any) -> float:
    """Seconds of the same epoch and validation through the learner, with everything that train.py switches on."""
    import lightning.pytorch as L
    from lightning.pytorch.loggers import TensorBoardLogger
    from rich.console import Console

    import zoo
    from zoo.inspect.progress import Progress
    from zoo.tasks.train import checkpoints, quiet

    class Clocked(Progress):  # train.py has as many callbacks, and each costs
        def on_train_epoch_start(self, *_: Any) -> None:
            self.start = time.perf_counter()

        def on_fit_end(self, *_: Any) -> None:
            self.seconds = time.perf_counter() - self.start

    with tempfile.TemporaryDirectory() as directory, quiet():
        run = Path(directory)
        clock = Clocked(run / "metrics.csv", Console(quiet=True))
        learner = zoo.ClassificationLearner(model, {"name": "AdamW", **OPTIMIZER})
        trainer = L.Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=TensorBoardLogger(run, name="tensorboard", version="", default_hp_metric=False),
            callbacks=[clock, checkpoints(run, learner, validated=True)],
            default_root_dir=run,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(learner, train, val)
    return clock.seconds


def gradient_ways(name: str, images: int, batch: int) -> dict[str, Any]:
    """An epoch by hand and by the learner, as functions that return seconds."""
    import torch

    from zoo.data.batches import Batches
    from zoo.data.datamodule import EVALUATION_BATCH
    from zoo.data.splits import Split

    pixels = torch.randint(256, (images + 5000, 1, 28, 28), dtype=torch.uint8)
    data = Split(pixels, torch.randint(10, (len(pixels),)))
    train = Batches(Split(data.images[5000:], data.labels[5000:]), batch, shuffle=True)
    val = Batches(Split(data.images[:5000], data.labels[:5000]), max(batch, EVALUATION_BATCH))
    return {
        "hand-written loop": lambda: by_hand(build(name), train, val),
        "learner under Trainer": lambda: by_lightning(build(name), train, val),
    }


def em_seconds(model: Any, x: Any, batch: int) -> float:
    """Seconds of one EM iteration on images ``x``: of the five after the first, as :func:`difference` has it."""
    labels = x.new_zeros(len(x)).long()
    for iteration in range(6):
        if iteration == 1:
            start = time.perf_counter()
        total: dict[str, Any] = {}
        for part, of in zip(x.split(batch), labels.split(batch), strict=True):
            statistics_ = model.statistics(part, of)
            total = {key: value + total[key] if total else value for key, value in statistics_.items()}
        model.maximize(total)
    return (time.perf_counter() - start) / 5


def difference(fit: Any) -> float:
    """Seconds of one iteration: of five more than one, so that what happens once does not count."""
    times = []
    for iterations in (1, 6):
        start = time.perf_counter()
        fit(iterations)
        times.append(time.perf_counter() - start)
    return (times[1] - times[0]) / 5


def gmm_ways(name: str, images: int, batch: int) -> dict[str, Any]:
    """An EM iteration by scikit-learn and by the zoo, in float64 and float32."""
    import numpy as np
    import torch
    from sklearn.mixture import GaussianMixture

    import zoo

    size, components = 50, 8
    x = torch.rand(images, 1, 1, size, dtype=torch.float64) @ torch.rand(size, size, dtype=torch.float64) / size
    options: dict[str, Any] = {"num_components": components, "covariance": "full", "pca": 0, "per_class": False}
    model = zoo.create(name, zoo.DataSpec((1, 1, size), 1), **options).double()
    model.initialize([(x, torch.zeros(images, dtype=torch.long))], torch.Generator().manual_seed(0))
    flat = x.flatten(1).numpy()
    start = {
        "weights_init": model.logits.softmax(1)[0].detach().numpy(),
        "means_init": (model.mean[0] + model.centre).detach().numpy(),
        "precisions_init": np.linalg.inv(model.covariance.dense(torch.arange(components)).detach().numpy()),
        "init_params": "random_from_data",  # what it replaces is found all the same: the quickest
        "reg_covar": 1e-3,
        "tol": 0.0,
    }
    single = copy.deepcopy(model).float()

    def fit(iterations: int) -> None:
        with warnings.catch_warnings(action="ignore"):  # it has not converged
            GaussianMixture(components, max_iter=iterations, **start).fit(flat)

    return {
        "scikit-learn, float64": lambda: difference(fit),
        "zoo, float64": lambda: em_seconds(copy.deepcopy(model), x, batch),
        "zoo, float32": lambda: em_seconds(copy.deepcopy(single), x.float(), batch),
    }


def hmm_ways(name: str, images: int, batch: int) -> dict[str, Any]:
    """An EM iteration by hmmlearn and by the zoo, in float64 and float32."""
    import numpy as np
    import torch
    from hmmlearn.hmm import GaussianHMM

    import zoo

    states = 8
    x = torch.rand(images, 1, 28, 28, dtype=torch.float64)
    x = (x + x.roll(1, 3) + x.roll(2, 2)) / 3
    options: dict[str, Any] = {"num_states": states, "topology": "ergodic", "covariance": "full", "per_class": False}
    model = zoo.create(name, zoo.DataSpec((1, 28, 28), 1), **options).double()
    model.initialize([(x, torch.zeros(images, dtype=torch.long))], torch.Generator().manual_seed(0))
    rows = x.flatten(0, 2).numpy()

    def fit(iterations: int) -> None:
        peer = GaussianHMM(states, "full", n_iter=iterations, tol=-np.inf, init_params="", min_covar=1e-3)
        peer.startprob_ = np.full(states, 1 / states)
        peer.transmat_ = np.full((states, states), 1 / states)
        peer.means_ = model.state_means()[0].detach().numpy()
        peer.covars_ = np.stack([np.cov(rows.T)] * states)
        peer.fit(rows, [28] * images)

    single = copy.deepcopy(model).float()
    return {
        "hmmlearn, float64": lambda: difference(fit),
        "zoo, float64": lambda: em_seconds(copy.deepcopy(model), x, batch),
        "zoo, float32": lambda: em_seconds(copy.deepcopy(single), x.float(), batch),
    }


@command
def main() -> None:
    options, _ = parse(sys.argv[1:], DEFAULTS, RULES, __doc__ or "")
    import torch
    from rich.console import Console
    from rich.table import Table

    from zoo.errors import ConfigError
    from zoo.files import write_json
    from zoo.tasks import machine

    name = options["model"]
    if 0 < options["images"] < 1000:
        raise ConfigError("images must be at least 1000, or 0 for the usual number")
    images, batch = (options[key] or size for key, size in zip(("images", "batch"), SIZES[name], strict=True))
    machine.prepare(torch.device("cpu"))
    torch.manual_seed(0)
    ways = {"gmm": gmm_ways, "hmm": hmm_ways}.get(name, gradient_ways)(name, images, batch)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(options["rounds"] + 1):
        for way, run in ways.items():
            value = run()
            if number:  # the first round warms up
                seconds[way].append(value)
    peer = next(iter(seconds.values()))
    ratios = {
        way: statistics.median(b / a for a, b in zip(peer, values, strict=True)) for way, values in seconds.items()
    }
    title = f"{name}, {images:,} images in batches of {batch:,}, {options['rounds']} rounds"
    table = Table("", "s/epoch", "min", "max", "ratio", title=title)
    for way, values in seconds.items():
        figures = (statistics.median(values), min(values), max(values))
        table.add_row(way, *(f"{x:.3f}" for x in figures), f"{ratios[way]:.3f}")
    Console().print(table)
    if options["json"]:
        result = {"options": options, "seconds": seconds, "ratios": ratios, **machine.describe(torch.device("cpu"))}
        write_json(Path(options["json"]), result)


if __name__ == "__main__":
    main()
