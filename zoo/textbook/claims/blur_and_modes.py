"""A VAE blurs, a GAN drops modes: what each objective forgives shows in the samples.

A VAE answers for every training image by a decoder whose pixels are independent given the latent: it covers them all,
and where it is unsure it paints the mean of what might be there. A GAN answers for the images that it makes, and not
for those that it does not. What a VAE is shown by is that mean, which no image of its model looks like: its pixels are
drawn, too, and compared with images whose pixels were drawn in the same way.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from zoo import capability
from zoo.base.likelihoods import binarise
from zoo.data.kinds.image import encode
from zoo.data.splits import Split, Splits
from zoo.errors import DataError
from zoo.metrics.modes import class_shares
from zoo.metrics.spectrum import HIGH, high_frequency_energy, radial_spectrum
from zoo.questions.sample import sample
from zoo.tasks.real_figures import SAMPLES
from zoo.tasks.reference import FLOOR_SEED, required_extractor
from zoo.tasks.sample_quality import evaluate_images
from zoo.textbook import roster
from zoo.textbook.claim import Case, Claim, Finding, Row, differences, sampling_error, select, values
from zoo.textbook.lab import Lab
from zoo.textbook.report import panels

MODELS: dict[str, dict[str, tuple[str, ...]]] = {  # data: model: words of train.py, none of them a class
    "mnist": {"vae": ("model.num_samples=1", "learner.ema=0.99"), "dcgan": roster.SMALL_DCGAN},
    "digits": {"vae": ("data.batch_size=32",), "dcgan": ("model.channels=8", "data.batch_size=32")},
}
EPOCHS: dict[str, dict[str, tuple[int, ...]]] = {  # the budgets
    "mnist": {"vae": (6, 24), "dcgan": (1, 4)},
    "digits": {"vae": (12,), "dcgan": (8,)},
}
SECONDS = {"mnist": {"vae": 5.5, "dcgan": 25.0}, "digits": {"vae": 0.1, "dcgan": 0.4}}  # an epoch
EVALUATION = {"mnist": 10.0, "digits": 0.4}  # seconds a set of samples
SEEDS = {"mnist": 3, "digits": 8}  # of what is judged; of shorter trainings and drawn pixels the first alone
REAL = "real"  # training images in the place of samples
REAL_SEEDS = {"mnist": 3, "digits": 2}  # sets of them without an image in common, as many as there are test images
# fine detail, in cycles a pixel: the upper half of what the images were taken with; digits were enlarged from 8×8
FINE = {"mnist": (HIGH, 1.0), "digits": (HIGH * 8 / 28, 0.5 * 8 / 28)}
ROWS, COLUMNS = 2, 8  # images of each kind that are kept
SIDE = 4  # of the square that they are shown in
FRAME = 96  # grey level of the lines between them
CHUNK = 2_000  # images whose pixels are drawn at a time

CLAIM = Claim(
    number=7,
    title="A VAE blurs, a GAN drops modes",
    statement="Samples of a variational autoencoder lack the fine detail of real images, but are as varied; samples of "
    "an adversarial network have the detail, and leave out some of what there is.",
    source="Larsen et al. 2016, Autoencoding beyond Pixels; Goodfellow 2016, NIPS Tutorial: Generative Adversarial "
    "Networks, section 3.2.5; precision and recall by Kynkäänniemi et al. 2019, Improved Precision and Recall Metric; "
    "spectra as in Durall et al. 2020, Watch your Up-Convolution",
    protocol="MNIST; neither model is told classes. Training is a variable: the VAE of the zoo (400-400-50, Bernoulli "
    "pixels, one sample a bound) has 6 or 24 epochs, the best of which by the bound of 5,000 validation images is "
    "kept; a DCGAN of 16 maps has 1 or 4, the last of which is kept, as no loss tells how good its samples are (a "
    "larger one that was trained ten times as long recalls no more). What is judged is the longer training, with three "
    "seeds; what that changes is told of one. 10,000 samples each are compared with the 10,000 test images; and so are "
    "three sets of 10,000 training images that have no image in common. Detail: the energy at spatial frequencies "
    f"above {HIGH:g} cycles a pixel, over that of the test images. Variety: precision and recall (k = 3), coverage, "
    "the number of classes that samples fall into and the Kullback–Leibler divergence of their histogram from the test "
    "images', all by the features of one frozen LeNet. Judged of the VAE are the mean grey values of its decoder, by "
    "which VAEs are shown. Its model's images have pixels that are drawn from those: they are told beside, with one "
    "seed, and compared with real images whose pixels are drawn from their grey values. Intervals of recall and of "
    "divergences hold the error of test images, too; all others, those of detail among them, are of seeds alone.",
    discussion="The VAE's means blur as is said, and the DCGAN has the detail of real images. That is so of means, "
    "which no image of the VAE's model looks like: once pixels are drawn, on both sides, what is compared at high "
    "frequencies has much of the noise of drawing. The DCGAN drops no mode that is seen here: its samples fall into "
    "all ten classes, and it recalls more of the real images, 0.76 against 0.66. But that of the VAE had risen by 0.11 "
    "from 6 epochs to 24, and by its whole recipe comes to as much: who leaves out more is open. Likely reasons, which "
    "were not tested apart: the zoo's DCGAN is trained with a gradient penalty on real images (R1), which the networks "
    "of the claim were not, and MNIST has ten modes of equal weight; and means without fine detail lie in a narrower "
    "part of the features, which the VAE pays for in recall and is rewarded for in precision.",
    version=3,
)


def cases(suite: str) -> list[Case]:
    data = "digits" if suite == "quick" else "mnist"
    found: list[Case] = []

    def add(model: str, epochs: int, seeds: int, seconds: float, drawn: bool = False) -> None:
        found.extend(
            Case({"data": data, "model": model, "epochs": epochs, "drawn": drawn, "seed": seed}, seconds)
            for seed in range(seeds)
        )

    add(REAL, 0, REAL_SEEDS[data], EVALUATION[data])
    for model, budgets in EPOCHS[data].items():
        for epochs in budgets:
            judged = epochs == max(budgets)
            add(model, epochs, SEEDS[data] if judged else 1, epochs * SECONDS[data][model] + EVALUATION[data])
            if model == "vae" and judged:  # which is trained by then
                add(model, epochs, 1, 3 * EVALUATION[data], drawn=True)
    return found


def measure(case: Mapping[str, Any], lab: Lab) -> dict[str, Any]:
    """Detail and variety of as many samples as the Fréchet ratio is compared at.

    ``detail``, the ratio of energies at high frequencies, 1 for real images; ``spectrum`` and ``real_spectrum``, the
    mean power in rings of the frequencies ``at``, in cycles a pixel; what
    :func:`zoo.tasks.sample_quality.evaluate_images` tells of variety, ``images`` test images that it was asked with;
    ``shares`` and ``real_shares`` of the classes, of samples and of these; and pictures of ``samples``.
    """
    data, seed = case["data"], case["seed"]
    splits = lab.splits(data, val_size=roster.HELD_OUT[data])
    generator = torch.Generator().manual_seed(seed)
    if case["model"] == REAL:
        samples = real_images(splits, seed)
    else:
        n = min(SAMPLES, len(splits.train))
        recipe = MODELS[data][case["model"]]
        words = (f"model={case['model']}", f"data={data}", f"seed={seed}", f"trainer.max_epochs={case['epochs']}")
        model = lab.train(*words, *recipe)
        samples = sample(model, n, generator=capability.seeded(model, seed))
    if case["drawn"]:
        samples, splits = torch.bernoulli(samples, generator=generator), drawn(splits)
    test = splits.test.x()
    at, spectrum = radial_spectrum(samples)
    quality = evaluate_images(samples, splits, data)
    features, classes = required_extractor(data, splits), splits.spec.num_classes
    names = ("precision", "recall", "coverage", "modes", "class_kl", "frechet_ratio")
    return {
        "detail": high_frequency_energy(samples, *FINE[data]) / high_frequency_energy(test, *FINE[data]),
        "at": at.tolist(),
        "spectrum": spectrum.tolist(),
        "real_spectrum": radial_spectrum(test)[1].tolist(),
        **{name: quality[name] for name in names},
        "images": len(splits.test),
        "shares": class_shares(features(samples)[1], classes).tolist(),
        "real_shares": class_shares(features(splits.test.images)[1], classes).tolist(),
        "samples": picture(samples[: ROWS * COLUMNS]),
    }


def real_images(splits: Splits, seed: int) -> Tensor:
    """As many training images as there are test images, at most ``SAMPLES``, ``(n, C, H, W)`` in [0, 1]: those of
    different seeds have none in common, nor with those that tell the floor of the Fréchet distance."""
    n = min(SAMPLES, len(splits.test))
    start = (1 + seed) * n  # after the floor's
    mixed = splits.train.shuffled(len(splits.train), torch.Generator().manual_seed(FLOOR_SEED))
    if start + n > len(mixed):
        raise DataError(
            f"{len(mixed):,} training images are too few for {2 + seed} sets of {n:,} without one in common"
        )
    return mixed.take(slice(start, start + n)).x()


def drawn(splits: Splits) -> Splits:
    """Images with pixels that are 0 or 1, drawn with the grey value as probability: what a Bernoulli VAE models."""

    def binary(split: Split) -> Split:
        parts = [encode(binarise(x)) for x, _ in split.chunks(CHUNK)]
        return replace(split, images=torch.cat(parts))

    return replace(splits, train=binary(splits.train), test=binary(splits.test))


def picture(images: Tensor) -> str:
    """The first channel of ``ROWS`` × ``COLUMNS`` images in [0, 1], ``(n, C, H, W)``, as a PNG of them, in base64."""
    pixels = encode(images[:, 0]).unflatten(0, (ROWS, COLUMNS))
    file = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2).flatten(2).flatten(0, 1).numpy()).save(file, "png", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def findings(rows: Sequence[Row]) -> list[Finding]:
    name, classes = panels.DATA[rows[0]["data"]], 10
    images = rows[0]["images"]

    def of_rows(model: str, drawn: bool = False) -> list[Row]:
        return select(rows, model=model, epochs=longest_of(rows, model), drawn=drawn)

    def of(quantity: str, model: str, drawn: bool = False) -> list[float]:
        return values(of_rows(model, drawn), quantity)

    def between(quantity: str) -> list[float]:
        return differences(of(quantity, "dcgan"), of(quantity, "vae"))

    away = {model: [abs(value - 1) for value in of("detail", model)] for model in ("vae", "dcgan")}
    of_shares = shares_error(of_rows("dcgan"), of_rows("vae"))
    of_images = recall_error(of("recall", "dcgan"), of("recall", "vae"), images=images)
    found = [
        Finding("blur", f"Means of the VAE have less energy at high frequencies than images of {name}: their ratio.",
                of("detail", "vae"), "ratio", below=1, bounds=(0, math.inf)),
        Finding("sharp", "The DCGAN's ratio is nearer to 1 than that of the VAE's means: the difference of their "
                "distances from it.", differences(away["dcgan"], away["vae"]), "ratio", below=0),
        Finding("recall", "The DCGAN recalls less of the real images than the VAE's means: the difference of their "
                "recalls.", between("recall"), "recall", below=0, error=of_images, bounds=(-1, 1)),
        Finding("class-shares", "The DCGAN's classes are further from their true shares than the VAE's: the difference "
                "of their divergences.", between("class_kl"), "nats", above=0, error=of_shares),
        Finding("drawn", "Pixels drawn from the VAE, and from the grey values of real images: the ratio of their "
                "energies at high frequencies.", of("detail", "vae", True), "ratio", bounds=(0, math.inf)),
        Finding("drawn-recall", "The recall of real images, their pixels drawn, by the VAE's, drawn as well.",
                of("recall", "vae", True), "recall", error=recall_error(of("recall", "vae", True), images=images),
                bounds=(0, 1)),
        Finding("precision", "The precision of the DCGAN less that of the VAE's means.", between("precision"),
                "precision", bounds=(-1, 1)),
        Finding("coverage", "The coverage of the DCGAN less that of the VAE's means.", between("coverage"), "coverage",
                bounds=(-1, 1)),
        Finding("modes", f"Classes, of {classes}, that the DCGAN's samples fall into.", of("modes", "dcgan"),
                "classes", bounds=(0, classes)),
        Finding("real-detail", "Energy at high frequencies of training images over that of test images: their ratio.",
                of("detail", REAL), "ratio", bounds=(0, math.inf)),
        Finding("real-precision", "The precision of training images in the place of samples.", of("precision", REAL),
                "precision", bounds=(0, 1)),
        Finding("real-recall", "The recall of test images by training images.", of("recall", REAL), "recall",
                error=recall_error(of("recall", REAL), images=images), bounds=(0, 1)),
    ]  # fmt: skip
    for model in ("vae", "dcgan"):
        shortest = min(row["epochs"] for row in rows if row["model"] == model)
        longest = longest_of(rows, model)
        if shortest < longest:
            before = values(rows, "recall", model=model, epochs=shortest, drawn=False)
            after = of("recall", model)[: len(before)]
            found.append(Finding(f"longer-{model}", f"What {longest} epochs in place of {shortest} add to the "
                                 f"recall of the {panels.name(model)}.", differences(after, before),
                                 "recall", bounds=(-1, 1)))  # fmt: skip
    return found


def longest_of(rows: Sequence[Row], model: str) -> int:
    """The epochs of a model's longest training."""
    return max(row["epochs"] for row in rows if row["model"] == model)


def recall_error(*recalls: Sequence[float], images: int) -> float:
    """The standard error that test images bring into a recall, or a difference of some, see ``sampling_error``."""
    return sampling_error(*recalls, images=images) / 100


def shares_error(first: Sequence[Row], second: Sequence[Row]) -> float:
    """The standard error, in nats, that test images bring into the difference of two mean ``class_kl``.

    By the delta method. Classes have the shares p and q among samples, and r among N test images. The derivative of
    KL(p ‖ r) − KL(q ‖ r) by r is −(p − q) / r, and the covariance of r is (diag(r) − r rᵀ) / N. As p − q adds up to 0,
    the second part adds nothing, and the error is √(Σ (p − q)² / r / N).
    """
    real = torch.tensor(first[0]["real_shares"], dtype=torch.float64)
    p, q = (torch.tensor([row["shares"] for row in rows], dtype=torch.float64).mean(0) for rows in (first, second))
    apart = ((p - q).square() / real)[p != q].sum()
    return math.sqrt(float(apart) / first[0]["images"])


def lines(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What rows have in common that differ in their seed alone, in the order that figures show them."""
    found: list[dict[str, Any]] = []
    for row in rows:
        line = {key: row[key] for key in ("model", "epochs", "drawn")}
        if line not in found:
            found.append(line)
    return found


def called(line: Mapping[str, Any]) -> str:
    if line["model"] == REAL:
        return "real images"
    what = {"vae": "VAE, pixels drawn" if line["drawn"] else "VAE, means"}.get(line["model"], "DCGAN")
    return f"{what}, {line['epochs']} epochs"


def look(line: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """How a line is drawn: in its model's colour; the shorter budgets fainter, drawn pixels with another mark."""
    if line["model"] == REAL:
        return {"color": panels.INK, "marker": "*", "label": called(line), "markerfacecolor": panels.INK}
    short = line["epochs"] < longest_of(rows, line["model"])
    own = {"label": called(line), **({"marker": "X"} if line["drawn"] else {}), **({"alpha": 0.45} if short else {})}
    return panels.style(line["model"]) | own


def figures(rows: Sequence[Row]) -> dict[str, Figure]:
    data = rows[0]["data"]
    name = panels.DATA[data]
    spectra, axes = panels.panel(
        f"Power of samples over that of real images, {name}", "spatial frequency (cycles a pixel)", "ratio of powers"
    )
    axes.axhline(1, color=panels.INK, linewidth=0.8, label="real images")
    variety, scatter = panels.panel(f"Precision and recall of samples, a mark a seed, {name}", "recall", "precision")
    drawings = {"spectra": spectra, "variety": variety}
    for line in lines(rows):
        chosen = select(rows, **line)
        scatter.plot(values(rows, "recall", **line), values(rows, "precision", **line), linestyle="", markersize=8,
                     **look(line, rows))  # fmt: skip
        if line["model"] != REAL:
            points = {
                at: [row["spectrum"][place] / row["real_spectrum"][place] for row in chosen]
                for place, at in enumerate(chosen[0]["at"])
                if at <= FINE[data][1]
            }
            panels.curve(axes, points, **look(line, rows))
    axes.set_ylim(bottom=0)
    panels.legend(axes)
    scatter.set(xlim=(0, 1.02), ylim=(0, 1.02))
    panels.legend(scatter, loc="lower right")
    longest = [line for line in lines(rows) if line["epochs"] == longest_of(rows, line["model"])]
    longest.sort(key=lambda line: line["model"] == REAL)  # last
    first = {called(line): select(rows, **line)[0] for line in longest}
    drawings["samples"] = shown({label: row["samples"] for label, row in first.items()}, f"Samples, {name}, one seed")
    return drawings


def shown(pictures: Mapping[str, str], title: str) -> Figure:
    """Four pictures of :func:`picture` by their labels, each a square of its images, in two rows of two panels."""
    figure = Figure(figsize=(panels.SIZE[0], 5.2), layout="constrained", dpi=150)
    figure.suptitle(title, fontsize=10, x=0.02, ha="left", color=panels.INK)
    for axes, (label, text) in zip(figure.subplots(2, 2).flat, pictures.items(), strict=True):
        pixels = torch.from_numpy(np.array(Image.open(io.BytesIO(base64.b64decode(text)))))
        images = pixels.unflatten(0, (ROWS, -1)).unflatten(2, (COLUMNS, -1)).transpose(1, 2).flatten(0, 1)
        framed = pad(images, (1, 1, 1, 1), value=FRAME)
        square = framed.unflatten(0, (SIDE, SIDE)).transpose(1, 2).flatten(2).flatten(0, 1)
        axes.imshow(square.numpy(), cmap="gray", vmin=0, vmax=255)
        axes.set_title(label, fontsize=9, loc="left", color=panels.INK)
        axes.set_axis_off()
    return figure
