"""The weight β of the KL divergence in a VAE's criterion sets how many nats a code may cost; importance weighting.

Of a VAE −log p(x) ≤ distortion + rate: the rate KL(q(z | x) ‖ p(z)) is what the code tells of the image, the distortion
−E_q log p(x | z) what it leaves out.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.base.model import Model, evaluating
from zoo.inspect.latents import active_units
from zoo.models.vae import VAE, kl_to_standard
from zoo.questions.log_prob import log_prob
from zoo.questions.reconstruct import reconstruct
from zoo.textbook import roster
from zoo.textbook.claim import Case, Claim, Finding, Row, differences, select, standard_error, values
from zoo.textbook.lab import Lab
from zoo.textbook.report import panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BETAS = {"textbook": (0.25, 0.5, 1.0, 2.0, 4.0, 8.0), "quick": (0.25, 1.0, 4.0)}
SAMPLES = {"textbook": (1, 5, 50, 500), "quick": (1, 5, 50)}  # K of the importance-weighted bound
IMAGES = {"textbook": 10_000, "quick": 1_000}  # that are learnt from
EPOCHS = {"textbook": (8, 24), "quick": (3, 10)}  # trainings, of which validation chooses
DRAWS = 4  # of the code, for the distortion of each image

CLAIM = Claim(
    number=8,
    title="β trades reconstruction against rate; more importance samples tighten the bound",
    statement="A larger weight β of the KL divergence makes a VAE's code cheaper and its reconstructions worse. The "
    "importance-weighted bound of log p(x) rises with the number K of samples.",
    source="Higgins et al. 2017, β-VAE; Alemi et al. 2018, Fixing a Broken ELBO; Burda, Grosse & Salakhutdinov 2016, "
    "Importance Weighted Autoencoders",
    protocol="VAEs (784-256-256-32, Bernoulli pixels, one sample) on 10,000 images of MNIST, drawn anew for each of "
    "five seeds, with AdamW, a learning rate of 0.002 that anneals to nothing, and averaged weights, for six values of "
    "β from 0.25 to 8. Each is trained for 8 epochs and, from the start, for 24: the one is kept whose own criterion, "
    "β · rate + distortion, is the smaller on 5,000 validation images. On the 10,000 test images: rate and distortion "
    f"in nats an image, the distortion from {DRAWS} draws of the code; the root mean square error of grey values "
    "decoded from the code's mean; dimensions whose mean varies with the image (variance above 0.01). The bound of the "
    "VAE with β = 1 with K from 1 to 500, on the same images; the samples are a function of image and number, so that "
    "those of a small K are among those of a large one, and gains are paired image by image. Intervals of changes of "
    "the rate, the distortion and the errors of grey values, and of gains of the bound, hold the error of test images, "
    "too; those of dimensions and of the bound with a single K are of seeds alone.",
    discussion="More β, a cheaper code that leaves out more: at β = 8 about half a nat is encoded, and every image is "
    "reconstructed as much the same grey cloud. What the code leaves out in nats, with draws of it decoded, is not "
    "quite what the eye sees of its mean: the errors of grey values are the same up to β = 0.5. Validation chose the "
    "longer training for every β, so that an even longer one might gain a little more. How many dimensions exceed the "
    "threshold says little at β = 8, where all of them together carry so little. The bound gains most from the first "
    "few samples, by several nats, and a hundred times more samples bring less than those: what is left is the "
    "distance of the encoder's normal distribution from the true posterior. Every image has samples of its own, so "
    "that by the draws of noise alone a mean over 10,000 images varies by a tenth of a nat or so, even with K = 1.",
    version=2,
)


@torch.no_grad()
def rate_and_distortion(
    model: VAE, x: Tensor, generator: torch.Generator, draws: int = DRAWS, at_once: int = 1000
) -> tuple[Tensor, Tensor, Tensor]:
    """What codes cost and what they leave out.

    Args:
        model: without classes, and with a standard normal prior.
        x: images ``(N, C, H, W)`` in [0, 1].
        generator: draws the codes.
        draws: codes an image, for the distortion; the rate is exact.
        at_once: images at a time.

    Returns:
        Rates KL(q(z | x) ‖ p(z)) and distortions −E_q log p(x | z), in nats, ``(N,)``, and the codes' means ``(N, D)``.
    """
    rates, distortions, means = [], [], []
    with evaluating(model):
        for part in x.split(at_once):
            seen = model.observe(part)
            q = model.posterior(seen)
            rates.append(kl_to_standard(q).sum(1))
            means.append(q.loc)
            total = torch.zeros_like(rates[-1])
            for _ in range(draws):
                noise = torch.randn(q.loc.shape, generator=generator).to(q.loc)
                parameters = model.parameters_of(q.loc + q.scale * noise)
                total -= model.log_likelihood_of(seen, parameters).flatten(1).sum(1)
            distortions.append(total / draws)
    return torch.cat(rates), torch.cat(distortions), torch.cat(means)


def cases(suite: str) -> list[Case]:
    quick = suite == "quick"
    data, n, epochs = "digits" if quick else "mnist", IMAGES[suite], EPOCHS[suite]
    seconds = (0.9 if quick else 2) + 6e-5 * n * sum(epochs)
    weighted = 0.1 if quick else 50.0
    return [
        Case({"data": data, "beta": beta, "n": n, "lengths": list(epochs), "seed": seed,
              "samples": list(SAMPLES[suite]) if beta == 1 else []},
             seconds + (weighted if beta == 1 else 0))
        for beta in BETAS[suite] for seed in range(5)
    ]  # fmt: skip


def words(data: str, beta: float, epochs: int, seed: int) -> tuple[str, ...]:
    """What is added to ``python train.py``."""
    return (
        "model=vae", f"data={data}", f"seed={seed}", f"model.beta={beta}", f"trainer.max_epochs={epochs}",
        "model.latent_dim=32", "model.hidden_sizes=[256,256]", "model.num_samples=1", "learner.optimizer.lr=0.002",
        "learner.ema=0.99", "trainer.accelerator=cpu",
    )  # fmt: skip


def measure(case: Mapping[str, Any], lab: Lab) -> dict[str, Any]:
    """``rate`` and ``distortion`` in nats an image and ``rmse`` of grey values, each with its standard error over test
    images, such as ``rate_error``; ``active`` dimensions; the ``epochs`` that validation chose; and of the bound by K
    what :func:`bounds` tells."""
    data, seed = case["data"], case["seed"]
    splits = lab.splits(data, train_size=case["n"], split_seed=seed, val_size=roster.HELD_OUT[data])
    criteria, models = {}, {}
    for epochs in case["lengths"]:
        model: Any = lab.fit(*words(data, case["beta"], epochs, seed), train=splits.train)
        rates, distortions, _ = rate_and_distortion(model, splits.val.x(), torch.Generator().manual_seed(seed))
        criteria[epochs], models[epochs] = float((case["beta"] * rates + distortions).mean()), model
    chosen = min(criteria, key=criteria.__getitem__)
    model, x = models[chosen], splits.test.x()
    rates, distortions, means = rate_and_distortion(model, x, torch.Generator().manual_seed(seed))
    squares = (reconstruct(model, x) - x).square().flatten(1).mean(1)
    rmse = float(squares.mean().sqrt())
    return {
        "epochs": chosen,
        "rate": float(rates.mean()),
        "rate_error": standard_error(rates),
        "distortion": float(distortions.mean()),
        "distortion_error": standard_error(distortions),
        "rmse": rmse,
        "rmse_error": standard_error(squares) / (2 * rmse),  # of the root of a mean, by the delta method
        "active": active_units(means),
        **bounds(model, x, case["samples"]),
    }


def bounds(model: Model, x: Tensor, samples: Sequence[int]) -> dict[str, list[float]]:
    """The importance-weighted bound of log p(x) by the number of samples, in nats an image.

    Returns:
        ``bounds``, the means over images; ``gains``, of each number over the one before, and ``gain_errors``, their
        standard errors over images.
    """
    by_image = [log_prob(model, x, num_samples=count).double() for count in samples]
    gains = [many - few for few, many in itertools.pairwise(by_image)]
    return {
        "bounds": [float(part.mean()) for part in by_image],
        "gains": [float(part.mean()) for part in gains],
        "gain_errors": [standard_error(part) for part in gains],
    }


def findings(rows: Sequence[Row]) -> list[Finding]:
    betas, seeds = (sorted({row[key] for row in rows}) for key in ("beta", "seed"))
    least, most = betas[0], betas[-1]
    weighted = select(rows, beta=1.0)
    counts = weighted[0]["samples"]
    found = [
        Finding("rate", "From each β to the next the code becomes cheaper: the largest change of the rate.",
                steepest(rows, betas, "rate", max), "nats", below=0, error=change_error(rows, betas, "rate")),
        Finding("distortion", "From each β to the next it leaves out more: the smallest change of the distortion.",
                steepest(rows, betas, "distortion", min), "nats", above=0,
                error=change_error(rows, betas, "distortion")),
        Finding("rmse", f"Reconstructions are worse with β = {most:g} than with β = {least:g}.",
                differences(values(rows, "rmse", beta=most), values(rows, "rmse", beta=least)), "grey values", above=0,
                error=change_error(rows, [least, most], "rmse"), bounds=(-1, 1)),
        Finding("active", "Fewer dimensions are in use with a larger β: their change with each doubling (least "
                "squares).",
                [by_doubling(rows, betas, seed) for seed in seeds], "dimensions", below=0),
    ]  # fmt: skip
    for place, (few, many) in enumerate(itertools.pairwise(counts)):
        error = statistics.fmean(row["gain_errors"][place] for row in weighted)
        found.append(Finding(f"bound-{many}", f"The bound is tighter with K = {many} than with K = {few}.",
                             [row["gains"][place] for row in weighted], "nats", above=0, error=error))  # fmt: skip
    for place in (0, -1):
        found.append(Finding(f"bound-at-{counts[place]}", f"The bound of log p(x) with K = {counts[place]}.",
                             [row["bounds"][place] for row in weighted], "nats"))  # fmt: skip
    longest = [statistics.fmean(row["epochs"] == max(row["lengths"]) for row in select(rows, seed=seed))
               for seed in seeds]  # fmt: skip
    found.append(Finding("longest", "Models that validation trains for the longer time: their share.", longest, "share",
                         bounds=(0, 1)))  # fmt: skip
    return found


def change_error(rows: Sequence[Row], betas: Sequence[float], quantity: str) -> float:
    """The standard error that test images bring into a change of a quantity from one β to the next: the largest.

    It is that of independent images for each β, which is more than that of the same ones.
    """
    errors = [statistics.fmean(values(rows, f"{quantity}_error", beta=beta)) for beta in betas]
    return max(math.hypot(*pair) for pair in itertools.pairwise(errors))


def steepest(rows: Sequence[Row], betas: Sequence[float], quantity: str, choose: Any) -> list[float]:
    """``choose`` (max or min) of the changes of a quantity from each β to the next, by seed."""
    by_beta = [values(rows, quantity, beta=beta) for beta in betas]
    return [choose(b - a for a, b in itertools.pairwise(curve)) for curve in zip(*by_beta, strict=True)]


def by_doubling(rows: Sequence[Row], betas: Sequence[float], seed: int) -> float:
    """The slope of the dimensions in use over log₂ β, by least squares."""
    active = [values(rows, "active", beta=beta, seed=seed)[0] for beta in betas]
    return statistics.linear_regression([math.log2(beta) for beta in betas], active).slope


def figures(rows: Sequence[Row]) -> dict[str, Figure]:
    data = panels.DATA[rows[0]["data"]]
    betas = sorted({row["beta"] for row in rows})
    plane, axes = panels.panel(f"What a code costs and leaves out, {data}", "rate (nats)", "distortion (nats)")
    for index, beta in enumerate(betas):
        look = panels.style(f"β = {beta:g}", index)
        axes.plot(values(rows, "rate", beta=beta), values(rows, "distortion", beta=beta), linestyle="none",
                  markersize=6, **look)  # fmt: skip
    panels.legend(axes, loc="upper right")
    used, axes = panels.panel(f"Reconstruction by β, {data}", "β", "root mean square error (grey values)")
    axes.set_xscale("log", base=2)
    axes.set_xticks(betas, [f"{beta:g}" for beta in betas])
    panels.curve(axes, {beta: values(rows, "rmse", beta=beta) for beta in betas}, **panels.style("vae"))
    tight, axes = panels.panel(f"Bound of log p(x) by samples, {data}", "importance samples K", "nats an image")
    axes.set_xscale("log")
    weighted = select(rows, beta=1.0)
    counts = weighted[0]["samples"]
    points = {float(count): [row["bounds"][place] for row in weighted] for place, count in enumerate(counts)}
    axes.set_xticks(counts, [str(count) for count in counts])
    panels.curve(axes, points, **panels.style("vae"))
    return {"rate-distortion": plane, "reconstruction": used, "bound": tight}
