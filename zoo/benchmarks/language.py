"""A GPT of tiny Shakespeare: tokens a second in training, beside a plain loop, and in sampling, beside no cache.

The plain loop is in the style of nanoGPT's: batches are random windows of one long tensor, gathered one by one; the
rate of each step is set by hand, and the loss is read every ten steps. Model, batch, optimiser and clipping are the
recipe's in both ways. The zoo's is all that train.py switches on, loss curve, table, bar and
checkpoints, but for validation, which the loop does not do either.

Both ways to sample draw the same characters behind the same prompt; without a cache, all that is seen is read again for
each. Where the window is full, it is filled up again from its last half, in both.

References: github.com/karpathy/nanoGPT.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo import capability, registry
from zoo.base.model import evaluating
from zoo.benchmarks import _trainer
from zoo.benchmarks._benchmark import Benchmark, Options
from zoo.benchmarks._data import device, resident
from zoo.benchmarks.throughput import _options, composed, synchronize
from zoo.data.batches import Batches
from zoo.data.splits import Splits, load_splits
from zoo.learners import learner_class
from zoo.learners.optimization import build_optimizer

STEPS, QUICK_STEPS = 150, 4  # of training, and a checkpoint behind them; an epoch is 932
CHARACTERS, QUICK_CHARACTERS = 600, 30  # that are drawn
SEEN = 256  # of them by the model, at least: half a window
LOGGED = 10  # steps between the losses that the plain loop reads
WARMUP = 0.05  # of its steps


def benchmarks(options: Options) -> Iterator[Benchmark]:
    if not options.chosen(("gpt",)):
        return
    settings = composed("model=gpt", "data=tiny_shakespeare")
    data = settings["data"]
    splits = load_splits("tiny_shakespeare", length=data["length"], context=data["context"])
    yield training(settings, splits, QUICK_STEPS if options.quick else STEPS)
    wide = load_splits("tiny_shakespeare", length=2 * SEEN, context=SEEN)
    yield sampling(settings, wide, QUICK_CHARACTERS if options.quick else CHARACTERS)


def _model(settings: dict[str, Any], splits: Splits, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return registry.create("gpt", splits.spec, **_options(settings["model"]) | {"ngram": 0, "share": 0.0})


def training(settings: dict[str, Any], splits: Splits, steps: int) -> Benchmark:
    batch, length = settings["data"]["batch_size"], splits.spec.shape[2]
    train = resident(splits.train.take(slice(steps * batch)))
    steps, tokens = -(-len(train) // batch), len(train) * length
    text = train.images[:, 0, 0, splits.spec.context :].flatten().long()
    learner_options = _options(settings["learner"])

    def plain(number: int) -> float:
        model = _model(settings, splits, number).to(device())
        return tokens / plain_loop(model, text, batch, length, steps, learner_options)

    def ours(number: int) -> float:
        learner: Any = learner_class(settings["learner"]["name"])(_model(settings, splits, number), **learner_options)
        return tokens / _trainer.epoch(learner, Batches(train, batch, shuffle=True), None)

    size = sum(parameter.numel() for parameter in _model(settings, splits).parameters())
    return Benchmark(
        "language-training", f"gpt, {size:,} parameters, {steps} steps of {batch} windows of {length} characters",
        "tokens/s", {"nanoGPT's way": plain, "learner under Trainer": ours}, bar="≥ 1.0", ours="learner under Trainer",
        rounds=3,
    )  # fmt: skip


def plain_loop(model: Any, text: Tensor, batch: int, length: int, steps: int, learner_options: dict[str, Any]) -> float:
    """Seconds of so many steps."""
    optimizer = build_optimizer(model, **learner_options["optimizer"])
    rates = [group["lr"] for group in optimizer.param_groups]
    groups = torch.zeros(batch, dtype=torch.long, device=text.device)
    warmup = max(1, int(WARMUP * steps))
    start = time.perf_counter()
    for step in range(steps):
        share = (step + 1) / warmup if step < warmup else 0.5 * (1 + math.cos(math.pi * (step - warmup) / steps))
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = share * rate
        places = torch.randint(len(text) - length, (batch,)).tolist()
        x = torch.stack([text[place : place + length] for place in places])
        logits = model.logits(x, groups)
        loss = F.cross_entropy(logits.flatten(0, 1), x.flatten())
        loss.backward()
        if learner_options["clip"]:
            nn.utils.clip_grad_norm_(model.parameters(), learner_options["clip"])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % LOGGED == 0:
            loss.item()
    synchronize(text.device)
    return time.perf_counter() - start


def sampling(settings: dict[str, Any], splits: Splits, count: int) -> Benchmark:
    model = _model(settings, splits).to(device())
    prompt = resident(splits.test).images[:1, 0, 0, : splits.spec.shape[2] // 2].long()

    def drawn(cached: bool) -> Any:
        def way(number: int) -> float:
            model.cached = cached
            start = time.perf_counter()
            drawn_text(model, prompt, count, number)
            synchronize(device())
            return count / (time.perf_counter() - start)

        return way

    return Benchmark(
        "language-sampling", f"gpt, {count} characters behind {prompt.shape[1]}, in a window of {splits.spec.shape[2]}",
        "characters/s", {"without a cache": drawn(False), "with a cache": drawn(True)}, bar="≥ 3", ours="with a cache",
        rounds=3,
    )  # fmt: skip


def drawn_text(model: Any, prompt: Tensor, count: int, seed: int) -> Tensor:
    """``(count,)`` tokens behind a prompt ``(1, t)``."""
    with evaluating(model):
        groups = torch.zeros(1, dtype=torch.long, device=prompt.device)
        return torch.cat([*model.generate(groups, prompt, count, capability.seeded(model, seed))])
