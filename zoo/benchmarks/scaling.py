"""How the speed of training changes with the batch, the width of the network, and the number of images.

Training is that of :class:`zoo.benchmarks.throughput.Training`: the default learner under Lightning's Trainer, with the
loader and without logging.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from zoo.benchmarks._benchmark import Benchmark, Options, Way
from zoo.benchmarks.throughput import QUICK_SECONDS, SECONDS, Training

BATCHES = (16, 32, 64, 128, 256, 512, 1024)
WIDTHS = (0.5, 1.0, 2.0, 4.0)
SIZES = (1000, 3000, 10_000, 30_000, 60_000)
NETWORKS: dict[str, Callable[[float], dict[str, Any]]] = {  # of a relative width: the model's options
    "mlp": lambda width: {"hidden_sizes": [round(512 * width)] * 2},
    "cnn": lambda width: {"channels": [round(count * width) for count in (16, 32, 64)]},
}
OF_DATA = ("mlp", "gmm")


def benchmarks(options: Options) -> Iterator[Benchmark]:
    networks = options.chosen(NETWORKS)
    for name in networks:
        yield with_batch(name, options.quick)
    for name in networks:
        yield with_width(name, options.quick)
    for name in options.chosen(OF_DATA):
        yield with_data(name, options.quick)


def with_batch(name: str, quick: bool) -> Benchmark:
    """Images a second of one network in batches of several sizes."""
    ways, x = {}, {}
    for batch in BATCHES[1::3] if quick else BATCHES:
        training = Training(name, batch=batch)
        images = training.images_for(QUICK_SECONDS if quick else SECONDS)
        ways[f"batch {batch}"] = _rate(training, images)
        x[f"batch {batch}"] = float(batch)
    title = f"training of {name}, MNIST"
    return Benchmark(
        f"scaling-batch-{name}", title, "images/s", ways, "none", rounds=3, x=x, x_label="images in a batch"
    )


def with_width(name: str, quick: bool) -> Benchmark:
    """Milliseconds a step of networks of several widths."""
    ways, x = {}, {}
    for width in WIDTHS[:2] if quick else WIDTHS:
        training = Training(name, NETWORKS[name](width), batch=128)
        images = training.images_for(QUICK_SECONDS if quick else SECONDS)
        sizes = next(iter(NETWORKS[name](width).values()))
        way = "-".join(map(str, sizes))
        ways[way] = _milliseconds(training, images)
        x[way] = width
    title = f"a step of training of {name}, 128 images of MNIST"
    return Benchmark(
        f"scaling-width-{name}", title, "ms/step", ways, "none", rounds=3, x=x, x_label="width over the default"
    )


def with_data(name: str, quick: bool) -> Benchmark:
    """Seconds an epoch on more and more images."""
    training = Training(name)
    sizes = SIZES[:2] if quick else SIZES
    ways = {f"{size:,} images": _seconds(training, size) for size in sizes}
    x = {way: float(size) for way, size in zip(ways, sizes, strict=True)}
    title = f"an epoch of {name} and its loader, {training.title}"
    return Benchmark(f"scaling-data-{name}", title, "s/epoch", ways, "none", rounds=3, x=x, x_label="training images")


def _rate(training: Training, images: int) -> Way:
    return lambda _: training.rate(images)


def _milliseconds(training: Training, images: int) -> Way:
    return lambda _: 1000 * training.batch / training.rate(images)


def _seconds(training: Training, images: int) -> Way:
    return lambda _: images / training.rate(images)
