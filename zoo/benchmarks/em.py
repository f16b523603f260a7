"""An iteration of expectation–maximisation, beside scikit-learn and hmmlearn, and of rows with gaps beside whole ones.

gmm: 8 full covariances in 50 dimensions. hmm: an ergodic chain of 8 states over 28 rows of 28 pixels, full covariances.
gmm starts from the same parameters on both sides, hmm from the same means. An iteration is a fifth of what six take
more than one, so that what happens once does not count; of the zoo, whose start is a method of its own, five are timed.
gaps: 8 full covariances of a table's 23 columns, of which cells are missing at random, so that hardly two rows miss the
same ones; the peers take no such rows.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

import zoo
from zoo.benchmarks._benchmark import Benchmark, Options
from zoo.errors import ConfigError

GMM_IMAGES, HMM_IMAGES, QUICK = 60000, 2000, {"gmm": 6000, "hmm": 50}
SIZE, COMPONENTS, STATES = 50, 8, 8
BATCH = 8192
ROWS, COLUMNS, MISSING, QUICK_ROWS = 30_000, 23, 0.1, 1000
ROUNDS = {"gmm": 5, "hmm": 3}  # hmmlearn takes half a minute a round
ITERATIONS = 5  # that are timed


def benchmarks(options: Options) -> Iterator[Benchmark]:
    of = {"gmm": _gmm, "hmm": _hmm, "gaps": _gaps}
    for name in options.chosen(of):
        yield of[name](options.quick)


def seconds(model: Any, x: Tensor) -> float:
    """Seconds of an iteration of ``model`` on images ``x``."""
    labels = torch.zeros(len(x), dtype=torch.long)
    for iteration in range(1 + ITERATIONS):
        if iteration == 1:
            start = time.perf_counter()
        total: dict[str, Any] = {}
        for part, of in zip(x.split(BATCH), labels.split(BATCH), strict=True):
            statistics = model.statistics(part, of)
            total = {key: value + total[key] if total else value for key, value in statistics.items()}
        model.maximize(total)
    return (time.perf_counter() - start) / ITERATIONS


def difference(fit: Callable[[int], None]) -> float:
    """Seconds of an iteration of ``fit(iterations)``."""
    times = []
    for iterations in (1, 1 + ITERATIONS):
        start = time.perf_counter()
        fit(iterations)
        times.append(time.perf_counter() - start)
    return (times[1] - times[0]) / ITERATIONS


def _benchmark(name: str, title: str, peer: str, fit: Callable[[int], None], model: Any, x: Tensor) -> Benchmark:
    single = copy.deepcopy(model).float()
    ways = {
        f"{peer}, float64": lambda _: difference(fit),
        "zoo, float64": lambda _: seconds(copy.deepcopy(model), x),
        "zoo, float32": lambda _: seconds(copy.deepcopy(single), x.float()),
    }
    return Benchmark(f"em-{name}", title, "s/iteration", ways, rounds=ROUNDS[name])


def _gmm(quick: bool) -> Benchmark:
    from sklearn.mixture import GaussianMixture

    images = QUICK["gmm"] if quick else GMM_IMAGES
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(images, 1, 1, SIZE, dtype=torch.float64, generator=generator)
    x = x @ torch.rand(SIZE, SIZE, dtype=torch.float64, generator=generator) / SIZE
    settings: dict[str, Any] = {"num_components": COMPONENTS, "covariance": "full", "pca": 0, "per_class": False}
    model = zoo.create("gmm", zoo.DataSpec((1, 1, SIZE), 1), **settings).double()
    model.initialize([(x, torch.zeros(images, dtype=torch.long))], generator)
    flat = x.flatten(1).numpy()
    start = {
        "weights_init": model.logits.softmax(1)[0].detach().numpy(),
        "means_init": (model.mean[0] + model.centre).detach().numpy(),
        "precisions_init": np.linalg.inv(model.covariance.dense(torch.arange(COMPONENTS)).detach().numpy()),
        "init_params": "random_from_data",  # what it replaces is found all the same: the quickest
        "reg_covar": 1e-3,
        "tol": 0.0,
    }

    def fit(iterations: int) -> None:
        with warnings.catch_warnings(action="ignore"):  # it has not converged
            GaussianMixture(COMPONENTS, max_iter=iterations, **start).fit(flat)

    title = f"mixture of {COMPONENTS} full covariances, {images:,} points in {SIZE} dimensions"
    return _benchmark("gmm", title, "scikit-learn", fit, model, x)


def _hmm(quick: bool) -> Benchmark:
    try:
        from hmmlearn.hmm import GaussianHMM
    except ImportError as error:
        raise ConfigError("the peer of hmm is missing: pip install hmmlearn, or models=gmm") from error

    images = QUICK["hmm"] if quick else HMM_IMAGES
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(images, 1, 28, 28, dtype=torch.float64, generator=generator)
    x = (x + x.roll(1, 3) + x.roll(2, 2)) / 3
    settings: dict[str, Any] = {"num_states": STATES, "topology": "ergodic", "covariance": "full", "per_class": False}
    model = zoo.create("hmm", zoo.DataSpec((1, 28, 28), 1), **settings).double()
    model.initialize([(x, torch.zeros(images, dtype=torch.long))], generator)
    rows = x.flatten(0, 2).numpy()

    def fit(iterations: int) -> None:
        peer = GaussianHMM(STATES, "full", n_iter=iterations, tol=-np.inf, init_params="", min_covar=1e-3)
        peer.startprob_ = np.full(STATES, 1 / STATES)
        peer.transmat_ = np.full((STATES, STATES), 1 / STATES)
        peer.means_ = model.state_means()[0].detach().numpy()
        peer.covars_ = np.stack([np.cov(rows.T)] * STATES)
        peer.fit(rows, [28] * images)

    title = f"ergodic chain of {STATES} states, full covariances, {images:,} images of 28 rows"
    return _benchmark("hmm", title, "hmmlearn", fit, model, x)


def _gaps(quick: bool) -> Benchmark:
    rows = QUICK_ROWS if quick else ROWS
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 1, 1, COLUMNS, generator=generator)
    x = x @ torch.randn(COLUMNS, COLUMNS, generator=generator) / COLUMNS**0.5
    hidden = torch.rand(x.shape, generator=generator) < MISSING
    labels = torch.zeros(rows, dtype=torch.long)
    models = {}
    for missing, values in ((False, x), (True, x.masked_fill(hidden, torch.nan))):
        spec = zoo.DataSpec((1, 1, COLUMNS), 1, kind="table", values="real", missing=missing)
        model = zoo.create("gmm", spec, num_components=COMPONENTS, covariance="full", per_class=False)
        model.initialize([(values, labels)], torch.Generator().manual_seed(0))
        models[missing] = model, values

    def timed(missing: bool) -> Callable[[int], float]:
        model, values = models[missing]
        return lambda _: seconds(copy.deepcopy(model), values)

    return Benchmark(
        name="em-gaps",
        title=f"mixture of {COMPONENTS} full covariances, {rows:,} rows of {COLUMNS} columns",
        unit="s/iteration",
        ways={"all cells seen": timed(False), f"{MISSING:.0%} missing": timed(True)},
        compare="overhead",
        bar="≤ 5",
        ours=f"{MISSING:.0%} missing",
        rounds=3,
    )
