"""The weight β of the KL divergence in a VAE's criterion sets how many nats a code may cost; importance weighting.

Of a VAE −log p(x) ≤ distortion + rate: the rate KL(q(z | x) ‖ p(z)) is what the code tells of the image, the distortion
−E_q log p(x | z) what it leaves out.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from scipy.stats import spearmanr
from torch import Tensor

from zoo.base.model import Model, evaluating
from zoo.inspect.latents import active_units
from zoo.models.vae import VAE, kl_to_standard
from zoo.questions.log_prob import log_prob
from zoo.questions.reconstruct import reconstruct
from zoo.textbook.claim import Case, Claim, Finding, Row, differences, select, values
from zoo.textbook.lab import Lab
from zoo.textbook.report import panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BETAS = {"textbook": (0.25, 0.5, 1.0, 2.0, 4.0, 8.0), "quick": (0.25, 1.0, 4.0)}
SAMPLES = {"textbook": (1, 5, 50, 500), "quick": (1, 5, 50)}  # K of the importance-weighted bound
IMAGES = 500  # test images whose bound is measured
DRAWS = 4  # of the code, for the distortion of each test image

CLAIM = Claim(
    number=8,
    title="β trades reconstruction against rate; more importance samples tighten the bound",
    statement="A larger weight β of the KL divergence makes a VAE's code cheaper and its reconstructions worse. The "
    "importance-weighted bound of log p(x) rises with the number K of samples.",
    source="Higgins et al. 2017, β-VAE; Alemi et al. 2018, Fixing a Broken ELBO; Burda, Grosse & Salakhutdinov 2016, "
    "Importance Weighted Autoencoders",
    protocol="VAEs (784-256-256-32, Bernoulli pixels, one sample) on 20,000 images of MNIST, drawn anew for each of "
    "three seeds, 8 epochs of AdamW with a learning rate of 0.002 and averaged weights, for six values of β from 0.25 "
    "to 8; nothing is validated. On the 10,000 test images: rate and distortion in nats an image, the distortion from "
    f"{DRAWS} draws of the code; the root mean square error of grey values decoded from the code's mean; dimensions "
    f"whose mean varies with the image (variance above 0.01). The bound of the VAE with β = 1 on the first {IMAGES} "
    "test images with K from 1 to 500.",
    discussion="Every step of the bound is upwards for each seed, as it must be on average; that two of the three "
    "intervals reach zero is for want of seeds: samples of the latent come from one draw for all images, so that the "
    "bound with K = 1 has the luck of a single draw.",
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
    data, n, epochs, seeds = ("digits", 1000, 10, range(2)) if quick else ("mnist", 20_000, 8, range(3))
    return [
        Case({"data": data, "beta": beta, "n": n, "epochs": epochs, "seed": seed,
              "samples": list(SAMPLES[suite]) if beta == 1 else []},
             1 + 6e-5 * n * epochs + (0 if beta != 1 else 1 if quick else 6))
        for beta in BETAS[suite] for seed in seeds
    ]  # fmt: skip


def words(data: str, beta: float, epochs: int, seed: int) -> tuple[str, ...]:
    """What is added to ``python train.py``."""
    return (
        "model=vae", f"data={data}", f"seed={seed}", f"model.beta={beta}", f"trainer.max_epochs={epochs}",
        "model.latent_dim=32", "model.hidden_sizes=[256,256]", "model.num_samples=1", "learner.optimizer.lr=0.002",
        "learner.ema=0.99", "trainer.accelerator=cpu",
    )  # fmt: skip


def measure(case: Mapping[str, Any], lab: Lab) -> dict[str, Any]:
    """``rate`` and ``distortion`` in nats an image, ``rmse`` of grey values, ``active`` dimensions, ``bounds`` by K."""
    splits = lab.splits(case["data"], train_size=case["n"], split_seed=case["seed"])
    model: Any = lab.fit(*words(case["data"], case["beta"], case["epochs"], case["seed"]), train=splits.train)
    x = splits.test.x()
    rates, distortions, means = rate_and_distortion(model, x, torch.Generator().manual_seed(case["seed"]))
    return {
        "rate": float(rates.mean()),
        "distortion": float(distortions.mean()),
        "rmse": float((reconstruct(model, x) - x).square().mean().sqrt()),
        "active": active_units(means),
        "bounds": bounds(model, x[:IMAGES], case["samples"]),
    }


def bounds(model: Model, x: Tensor, samples: Sequence[int]) -> list[float]:
    """The importance-weighted bound of the mean log p(x), in nats, for each number of samples."""
    return [float(log_prob(model, x, num_samples=count).mean()) for count in samples]


def findings(rows: Sequence[Row]) -> list[Finding]:
    betas = sorted({row["beta"] for row in rows})
    least, most = betas[0], betas[-1]

    found = [
        Finding("rate", "From each β to the next the code becomes cheaper: the largest change of the rate.",
                steepest(rows, betas, "rate", max), "nats", below=0),
        Finding("distortion", "From each β to the next it leaves out more: the smallest change of the distortion.",
                steepest(rows, betas, "distortion", min), "nats", above=0),
        Finding("rmse", f"Reconstructions are worse with β = {most:g} than with β = {least:g}.",
                differences(values(rows, "rmse", beta=most), values(rows, "rmse", beta=least)), "grey values", above=0),
        Finding("active", "Fewer dimensions are in use with a larger β: rank correlation.",
                [rank_correlation(rows, betas, seed) for seed in sorted({row["seed"] for row in rows})], "Spearman's ρ",
                below=0),
    ]  # fmt: skip
    weighted = select(rows, beta=1.0)
    counts = weighted[0]["samples"]
    for place, (few, many) in enumerate(itertools.pairwise(counts)):
        gain = [row["bounds"][place + 1] - row["bounds"][place] for row in weighted]
        found.append(Finding(f"bound-{many}", f"The bound is tighter with K = {many} than with K = {few}.", gain,
                             "nats", above=0))  # fmt: skip
    return found


def steepest(rows: Sequence[Row], betas: Sequence[float], quantity: str, choose: Any) -> list[float]:
    """``choose`` (max or min) of the changes of a quantity from each β to the next, by seed."""
    by_beta = [values(rows, quantity, beta=beta) for beta in betas]
    return [choose(b - a for a, b in itertools.pairwise(curve)) for curve in zip(*by_beta, strict=True)]


def rank_correlation(rows: Sequence[Row], betas: Sequence[float], seed: int) -> float:
    """Spearman's ρ of β and the dimensions in use; 0 where all β have the same."""
    active = [values(rows, "active", beta=beta, seed=seed)[0] for beta in betas]
    return float(spearmanr(betas, active).statistic) if len(set(active)) > 1 else 0.0


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
