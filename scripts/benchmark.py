"""What Lightning's Trainer and this project's learner cost over a hand-written loop that does the same work.

python scripts/benchmark.py [key=value …]

  model    mlp (784-64-128-64-10) or cnn (the default one)
  rounds   interleaved repetitions, medians are reported (5)
  images   random 28×28 images an epoch (55000)
  batch    batch size (128)
  json     a file to write the numbers to

Both sides train the same network on the same batches with the same fused AdamW under OneCycle, count loss and accuracy,
and validate on 5,000 images after the epoch. The learner also writes TensorBoard's loss curve, metrics.csv and two
checkpoints an epoch, as train.py does. Both run in one process, so allocator and thread settings are the same.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from zoo.tasks.command import command, parse

DEFAULTS: dict[str, Any] = {"model": "mlp", "rounds": 5, "images": 55000, "batch": 128, "json": None}
RULES = {"model": ["mlp", "cnn"], "rounds": "[1, inf)", "images": "[1000, inf)", "batch": "[1, inf)"}
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


@command
def main() -> None:
    options, _ = parse(sys.argv[1:], DEFAULTS, RULES, __doc__ or "")
    import torch
    from rich.console import Console
    from rich.table import Table

    from zoo.data.batches import Batches
    from zoo.data.datamodule import EVALUATION_BATCH
    from zoo.data.splits import Split
    from zoo.files import write_json
    from zoo.tasks import machine

    machine.prepare(torch.device("cpu"))
    torch.manual_seed(0)
    pixels = torch.randint(256, (options["images"] + 5000, 1, 28, 28), dtype=torch.uint8)
    data = Split(pixels, torch.randint(10, (len(pixels),)))
    train = Batches(Split(data.images[5000:], data.labels[5000:]), options["batch"], shuffle=True)
    val = Batches(Split(data.images[:5000], data.labels[:5000]), max(options["batch"], EVALUATION_BATCH))
    ways = {"hand-written loop": by_hand, "learner under Trainer": by_lightning}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(options["rounds"] + 1):
        for name, run in ways.items():
            value = run(build(options["model"]), train, val)
            if number:  # the first round warms up
                seconds[name].append(value)
    hand, learner = seconds.values()
    ratio = statistics.median(b / a for a, b in zip(hand, learner, strict=True))
    steps = len(train)
    table = Table(
        "", "s/epoch", "min", "max", "ms/step", title=f"{options['model']}, {steps} steps of {options['batch']}"
    )
    for name, values in seconds.items():
        median = statistics.median(values)
        table.add_row(name, *(f"{x:.2f}" for x in (median, min(values), max(values))), f"{median / steps * 1e3:.2f}")
    console = Console()
    console.print(table)
    console.print(f"ratio {ratio:.3f} (median of {options['rounds']} rounds)", highlight=False)
    if options["json"]:
        result = {"options": options, "seconds": seconds, "ratio": ratio, **machine.describe(torch.device("cpu"))}
        write_json(Path(options["json"]), result)


if __name__ == "__main__":
    main()
