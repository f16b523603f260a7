"""Images a second of every model, in training and for each native capability, beside what the machine can do.

Training is a pass of the model's default learner under Lightning's Trainer, with the loader and without logging; the
options are the model's and the learner's defaults, the batch that of the recipe ``<model>-mnist``. For EM the pass is
one batch, so the M-step's share is larger than in a pass over all images. Asked are the functions of the package
(``zoo.classify``, …) at their own chunk size, and at 128 and 8192 images; samples are drawn all at once, or 128.

Facts of a way are ``flop`` and ``bytes`` an image, ``peak_flop`` and ``peak_bytes`` a second, which of them is the
``bound``, and ``roofline``: the share that is reached, in the median of all rounds, of min(peak_flop / flop, peak_bytes
/ bytes) images a second (Williams, Waterman & Patterson 2009).

- FLOP an image are those of matrix products and convolutions, as ``torch.utils.flop_counter`` counts them, and those
  of fused recurrent layers by formula. Elementwise work and linear algebra (Cholesky, triangular solves) count nothing.
- Bytes an image are what each operator that is called reads and writes: its tensors, but for views. They are those of
  the program as it is written, with no operator's result staying in a cache until the next one reads it: small batches
  can be faster than that, and reach more than 1.
- ``operators``, of what is asked at the package's own chunk size: the share of the time that each of the dearest ones
  takes, see :func:`operators`.
- Peak and bandwidth are measured: the product of two large float32 matrices, and a copy of a large tensor.
"""

from __future__ import annotations

import copy
import functools
import math
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

import zoo
from zoo import capability, registry
from zoo import config as configuration
from zoo.base.model import Model
from zoo.benchmarks import _trainer
from zoo.benchmarks._benchmark import Benchmark, Options, Way
from zoo.benchmarks._data import device, resident
from zoo.data.batches import Batches
from zoo.data.splits import Splits, load_splits
from zoo.errors import ZooError
from zoo.files import CONFIGS
from zoo.learners import learner_class

SECONDS, QUICK_SECONDS = 0.5, 0.02  # a measurement takes at least that long
IMAGES, QUICK_IMAGES = 8192, 256  # that are asked about
CHUNKS = (128, 8192)
COUNTED_BATCHES = 4  # R1 is one batch's in four
SHOWN = 5  # operators of a profile
CAPABILITIES = ("classify", "log_prob", "encode", "sample")


def benchmarks(options: Options) -> Iterator[Benchmark]:
    names = options.chosen(name for name in registry.list_models() if "grey" in registry.model_class(name).takes)
    peaks = Peaks.measured(small=options.quick)
    for name in names:
        yield of_model(name, peaks, options.quick)


def of_model(name: str, peaks: Peaks, quick: bool = False) -> Benchmark:
    """All ways to use one model."""
    least = QUICK_SECONDS if quick else SECONDS
    facts: dict[str, dict[str, Any]] = {}
    ways: dict[str, Way] = {}

    def add(way: str, rate: Callable[[], float], work: Work) -> None:
        figures = {"flop": work.flop, "bytes": work.bytes, "peak_flop": peaks.flop, "peak_bytes": peaks.bytes}
        facts[way] = {key: round(value) for key, value in figures.items()}
        facts[way]["bound"] = "compute" if peaks.flop * work.bytes < peaks.bytes * work.flop else "memory"
        rates: list[float] = []

        def measured(_: int) -> float:
            rates.append(rate())
            facts[way]["roofline"] = round(statistics.median(rates) / peaks.rate(work), 3)
            return rates[-1]

        ways[way] = measured

    training = Training(name, batch=min(recipe_batch(name), QUICK_IMAGES) if quick else 0)
    images = training.images_for(least)
    add("train", lambda: training.rate(images), training.work())
    model = copy.deepcopy(training.learner.evaluated).eval()
    count = QUICK_IMAGES if quick else IMAGES
    x = _mnist().test.take(slice(count)).to(training.device).x()
    for asked in CAPABILITIES:
        if capability.support(model, asked) != "native":
            continue
        for chunk in (None, *(CHUNKS[:1] if asked == "sample" else CHUNKS)):  # samples are drawn all at once
            question = asking(model, asked, x, chunk)
            way = asked if chunk is None else f"{asked}, {chunk} at a time"
            add(way, functools.partial(repeated, question, least, training.device), count_work(question))
            if chunk is None:
                facts[way]["operators"] = operators(question, training.device)
    return Benchmark(
        name=f"throughput-{name}",
        title=f"{name}, {training.title}; asked about {count:,} images",
        unit="images/s",
        ways=ways,
        compare="none",
        rounds=3,
        facts=facts,
    )


def asking(model: Model, asked: str, x: Tensor, chunk: int | None) -> Callable[[], int]:
    """A function that asks ``model`` about the images ``x``, ``chunk`` at a time, or draws as many as ``chunk`` (or as
    ``x`` are), and returns their number."""
    if asked == "sample":
        count = min(chunk or len(x), len(x))
        generator = capability.seeded(model, 0)
        return lambda: len(zoo.sample(model, count, generator=generator))
    function = getattr(zoo, asked)
    options = {} if chunk is None else {"batch_size": chunk}
    return lambda: len(function(model, x, **options))


def repeated(question: Callable[[], int], seconds: float, where: torch.device) -> float:
    """Images a second of a function that returns how many it was about, called until ``seconds`` have passed."""
    images = 0
    synchronize(where)
    start = time.perf_counter()
    while images == 0 or time.perf_counter() - start < seconds:
        images += question()
        synchronize(where)
    return images / (time.perf_counter() - start)


def operators(question: Callable[[], int], where: torch.device) -> dict[str, float]:
    """What a question's time goes into, by torch's profiler: the share of each of the :data:`SHOWN` dearest operators,
    the dearest first."""
    from torch.profiler import ProfilerActivity, profile

    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # says that it starts and stops
    on_gpu = where.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiled:
        question()
        synchronize(where)
    seconds = {
        event.key: event.self_device_time_total if on_gpu else event.self_cpu_time_total
        for event in profiled.key_averages()
    }
    dearest = sorted(seconds, key=lambda name: -seconds[name])[:SHOWN]
    return {name: round(seconds[name] / sum(seconds.values()), 3) for name in dearest}


def synchronize(where: torch.device) -> None:
    """Wait for what a GPU has been told to do."""
    if where.type == "cuda":
        torch.cuda.synchronize(where)


# Training


@functools.cache
def _mnist() -> Splits:
    return load_splits("mnist")


@functools.cache
def composed(*overrides: str) -> dict[str, Any]:
    """What ``train.py`` composes of ``overrides``, as plain data that is not to be changed."""
    from omegaconf import OmegaConf

    groups = configuration.composed(overrides, CONFIGS)
    return OmegaConf.to_container(groups, resolve=True)  # type: ignore[return-value]


def recipe_batch(name: str) -> int:
    """Images a step of ``train.py model=<name> data=mnist``."""
    return composed(f"model={name}", "data=mnist")["data"]["batch_size"]


class Training:
    """A model with its default learner, initialised and warm, to be trained on the first images of MNIST.

    Args:
        name: the model.
        options: of the model, where they differ from its defaults.
        batch: images a step; the recipe's if 0.

    Attributes:
        learner: the learner.
        em: whether it is EM, where an epoch is one step and a step has at least a batch.
        title: what was chosen, in words.
    """

    def __init__(self, name: str, options: Mapping[str, Any] | None = None, batch: int = 0) -> None:
        settings = composed(f"model={name}", "data=mnist", "~recipe")
        self.batch = batch or recipe_batch(name)
        model = registry.create(name, _mnist().spec, **{**_options(settings["model"]), **(options or {})})
        self.learner: Any = learner_class(settings["learner"]["name"])(model, **_options(settings["learner"]))
        self.em = settings["learner"]["name"] == "em"
        self.device = device()
        self.title = f"learner={settings['learner']['name']}, batches of {self.batch:,}"
        self.rate(2 * self.batch)

    def rate(self, images: int) -> float:
        """Images a second of a pass over the first ``images``, by the learner's own clock."""
        import lightning.pytorch as L

        from zoo.run.trainer import quiet

        train = _mnist().train
        split = resident(train.take(slice(images)))
        with quiet():
            warnings.filterwarnings("ignore", "You defined a `validation_step`")  # and there is none: it is training
            trainer = L.Trainer(
                max_epochs=1,
                accelerator=_trainer.accelerator(),
                devices=1,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
            )
            trainer.fit(self.learner, Batches(split, self.batch, shuffle=True))
        return float(trainer.callback_metrics["images_per_second"])

    def images_for(self, seconds: float) -> int:
        """How many images, whole batches of them, a pass of that many seconds takes; those of EM have one batch."""
        steps = 1 if self.em else 2 * COUNTED_BATCHES
        wanted = self.rate(steps * self.batch) * seconds / self.batch
        most = len(_mnist().train) // self.batch
        return self.batch * int(min(max(wanted, steps), max(most, 1)))

    def work(self) -> Work:
        """What a pass of :data:`COUNTED_BATCHES` batches takes, of EM one, an image."""
        images = self.batch * (1 if self.em else COUNTED_BATCHES)

        def train() -> int:
            self.rate(images)
            return images

        return count_work(train)


def _options(group: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key not in ("name", configuration.RULES)}


# What the machine can do


class Peaks:
    """Floating-point operations and bytes a second that the machine reaches at best.

    Attributes:
        flop: of a product of float32 matrices.
        bytes: read and written by a copy.
    """

    def __init__(self, flop: float, bytes: float) -> None:
        self.flop, self.bytes = flop, bytes

    @classmethod
    def measured(cls, small: bool = False) -> Peaks:
        """The best of several goes, with the threads that torch has; ``small`` is quick and says less."""
        on = device()
        size, count = (256, 1 << 20) if small else (2048, 1 << 26)
        a, b = torch.rand(2, size, size, device=on)
        source, target = torch.rand(count, device=on), torch.empty(count, device=on)
        products = [repeated(lambda: len(torch.mm(a, b)), 0.01, on) for _ in range(3 if small else 15)]
        copies = [repeated(lambda: len(target.copy_(source)), 0.01, on) for _ in range(3 if small else 15)]
        return cls(flop=2 * size**2 * max(products), bytes=2 * 4 * max(copies))

    def rate(self, work: Work) -> float:
        """The most images a second that ``work`` an image allows."""
        return 1 / max(work.flop / self.flop, work.bytes / self.bytes)


# What a program asks of the machine


class Work:
    """Floating-point operations, and bytes read and written, an image."""

    def __init__(self, flop: float, bytes: float) -> None:
        self.flop, self.bytes = flop, bytes


def count_work(question: Callable[[], int]) -> Work:
    """What a function does, divided by the number of images it returns."""
    with Counter() as counter:
        images = question()
    if not counter.bytes:
        raise ZooError("no operator was seen: nothing can be counted")
    return Work(counter.flop / images, counter.bytes / images)


NOTHING_MOVED = {
    "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "empty_permuted",  # not written yet
    "_unsafe_view", "_reshape_alias", "lift_fresh", "set_", "resize_",
}  # fmt: skip
PICKED = {"index_select", "index", "gather", "embedding"}  # read as much as they write, not all they choose from


class Counter(TorchDispatchMode):
    """Counts what the operators that are called do, those of the backward pass among them.

    Attributes:
        flop: floating-point operations of matrix products, convolutions and recurrent layers.
        bytes: sizes of all tensors read and written, but for views.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flop = self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        formula = FLOP.get(func.overloadpacket)
        if formula is not None:
            self.flop += formula(*args, **kwargs, out_val=result)
        name = func._opname
        if not func.is_view and name not in NOTHING_MOVED:
            read, written = sum(map(_size, tree_leaves((args, kwargs)))), sum(map(_size, tree_leaves(result)))
            self.bytes += written + (min(read, 2 * written) if name in PICKED else read)
        return result


def _lstm(x: Tensor, w: Tensor, u: Tensor, *_: Any, **__: Any) -> int:
    """FLOP of an LSTM layer in one direction: ``x`` is ``(T, B, I)``, ``w`` ``(4 H, I)``, ``u`` ``(4 H, H)``."""
    return 2 * x.shape[0] * x.shape[1] * (w.numel() + u.numel())


def _lstm_backward(x: Tensor, w: Tensor, u: Tensor, *_: Any, **__: Any) -> int:
    """The gradients of input and state cost as much as the forward pass, those of the weights as much again."""
    return 2 * _lstm(x, w, u)


FLOP: dict[Any, Callable[..., int]] = {
    **flop_registry,
    torch.ops.aten.mkldnn_rnn_layer: _lstm,  # oneDNN's fused layers, which torch's registry does not have
    torch.ops.aten.mkldnn_rnn_layer_backward: _lstm_backward,
}


def _size(value: Any) -> int:
    """Bytes of a tensor's elements, repeated ones (of stride 0) once; 0 of anything else."""
    if not isinstance(value, Tensor) or value.numel() == 0:
        return 0
    elements = math.prod(size for size, stride in zip(value.shape, value.stride(), strict=True) if stride)
    return elements * value.element_size()
