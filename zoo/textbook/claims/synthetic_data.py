"""Synthetic data helps when real data is scarce, and stops helping.

A generator that was trained on n images knows nothing that is not in them, but for what its own form says of images:
that those of a class are a mixture of normal distributions. Where images are few, that is worth something.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.base.model import Model
from zoo.data.batches import Augment
from zoo.tasks.sample_quality import joined, labelled_samples, taught_accuracy
from zoo.textbook.claim import Case, Claim, Finding, Row, differences, select, values
from zoo.textbook.lab import Lab
from zoo.textbook.report import panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALL = {"mnist": 60_000, "digits": 1_437}  # training images
SIZES = {"mnist": (100, 300, 1_000, 10_000), "digits": (50, 1_000)}  # real images, equally many a class
SAMPLES = {"mnist": 10_000, "digits": 1_000}
STEPS, BATCH = {"mnist": 250, "digits": 50}, 64
ALL_SAMPLES, ALL_STEPS = 50_000, 600
SHIFT = 2  # pixels each way
COMPONENT = 50  # images of a class for each of its Gaussians
LARGEST = 64  # Gaussians a class
GENERATOR = {  # the rest of it, for any n
    "mnist": ("model.floor=0.06", "data.augment.shift=0", "trainer.max_epochs=8"),
    "digits": ("model.floor=0.01",),
}
DIRECTIONS = {"mnist": 60, "digits": 30}  # principal ones
CLAIM = Claim(
    number=5,
    title="Synthetic data helps when real data is scarce, and stops helping",
    statement="A classifier that has few real images learns more with samples of a generator trained on the same "
    "images. With many real images samples add nothing; but alone they teach almost as well as real ones.",
    source="Ravuri & Vinyals 2019, Classification Accuracy Score for Conditional Generative Models; Shmelkov et al. "
    "2018, How Good Is My GAN?; He et al. 2023, Is Synthetic Data from Generative Models Ready for Image Recognition?",
    protocol="MNIST. For n = 100, 300, 1,000 and 10,000 training images, equally many a class and drawn anew for each "
    "of three seeds, a Gaussian mixture a class is trained on these n images as they are: one Gaussian for each "
    f"{COMPONENT} images of a class, from 1 to {LARGEST}, 60 principal directions, the variance floor of the zoo's "
    "recipe. (Of the zoo's generators it was chosen, before a conditional VAE, by 2,500 training images that were held "
    "out.) A LeNet learns from the n real images; from the same, shifted at random by up to "
    f"{SHIFT} pixels each time, the classical remedy; and from the n real images with n, or with 10,000, samples, "
    "each counting alike. It is the same network with the same 250 steps of 64 images each time, and nothing is chosen "
    "by validation. With all 60,000 images the mixture has 64 Gaussians a class, and the LeNet 600 steps, on real "
    "images or on 50,000 samples alone. Accuracy on the 10,000 test images.",
    discussion="Samples do not help the classifier of 100 images: it loses about a point, with an interval that "
    "reaches zero. A generator that has seen ten images of a class has nothing to add to them but its own form, and a "
    "normal distribution around ten images is a poor guess of handwriting: its samples lay strokes of several images "
    "over each other. Shifting the same images, which brings in something that is known of digits, gains about four "
    "points. The gains that the literature reports come from generators that were trained on other images as well.",
)


def cases(suite: str) -> list[Case]:
    data, seeds, seconds = ("digits", 2, 1.0) if suite == "quick" else ("mnist", 3, 5.5)
    found = []
    for n in SIZES[data]:
        for seed in range(seeds):
            taught = [("real", 0), ("shifted", 0), *(("both", m) for m in sorted({n, SAMPLES[data]}))]
            found += [_case(data, n, what, m, STEPS[data], seed, seconds) for what, m in taught]
    if suite == "textbook":
        whole = (("samples", ALL_SAMPLES, 45.0), ("real", 0, 13.0))
        found += [_case(data, ALL[data], what, m, ALL_STEPS, seed, long) for seed in range(seeds)
                  for what, m, long in whole]  # fmt: skip
    return found


def _case(data: str, n: int, taught: str, m: int, steps: int, seed: int, seconds: float) -> Case:
    return Case({"data": data, "n": n, "taught": taught, "m": m, "steps": steps, "seed": seed}, seconds)


def generator(lab: Lab, data: str, n: int, seed: int) -> Model:
    """A mixture for each class, trained on ``n`` images, the same ones as in ``lab.splits`` with this split seed."""
    size = 0 if n == ALL[data] else n
    components = min(max(n // (10 * COMPONENT), 1), LARGEST)
    return lab.train(
        "model=gmm", f"data={data}", f"seed={seed}", f"data.train_size={size}", f"data.split_seed={seed}",
        "data.val_size=0", f"model.num_components={components}", f"model.pca={min(DIRECTIONS[data], n - 1)}",
        *GENERATOR[data],
    )  # fmt: skip


def measure(case: Mapping[str, Any], lab: Lab) -> dict[str, Any]:
    """``accuracy`` on the test images, in [0, 1], of a classifier taught by ``n`` images, ``m`` samples, or both."""
    data, n, taught, seed = case["data"], case["n"], case["taught"], case["seed"]
    splits = lab.splits(data, train_size=0 if n == ALL[data] else n, split_seed=seed)
    images = splits.train
    if case["m"]:
        samples = labelled_samples(generator(lab, data, n, seed), case["m"], seed)
        images = samples if taught == "samples" else joined(images, samples)
    augment = Augment(shift=SHIFT) if taught == "shifted" else None
    return {"accuracy": taught_accuracy(images, splits.test, splits.spec, seed, case["steps"], BATCH, augment)}


def findings(rows: Sequence[Row]) -> list[Finding]:
    data = rows[0]["data"]
    few, many, m = min(SIZES[data]), max(SIZES[data]), SAMPLES[data]
    name = panels.DATA[data]
    found = [
        Finding("few", f"As many samples beside {few:,} real images of {name} raise the classifier's accuracy.",
                _gains(rows, few, m=few), "points", above=0),
        Finding("few-more", f"{m:,} samples beside {few:,} real images of {name} raise it.",
                _gains(rows, few, m=m), "points", above=0),
        Finding("many", f"{m:,} samples beside {many:,} real images of {name} raise it by less than 0.1 point.",
                _gains(rows, many, m=m), "points", below=0.1),
        Finding("less", f"{m:,} samples add more to {few:,} real images of {name} than to {many:,}.",
                differences(_gains(rows, few, m=m), _gains(rows, many, m=m)), "points", above=0),
        Finding("shifts", f"For comparison: shifting the {few:,} real images of {name} raises it.",
                _gains(rows, few, taught="shifted"), "points"),
    ]  # fmt: skip
    whole = ALL[data]
    if select(rows, n=whole):
        behind = [-gain for gain in _gains(rows, whole, taught="samples")]
        found += [
            Finding("alone", f"A classifier taught by samples alone, of a generator of all {whole:,} images of {name}, "
                    "is less than 2 points behind one taught by these images.", behind, "points", below=2),
            Finding("behind", f"It is behind: {whole:,} real images teach more than samples of their generator.",
                    behind, "points", above=0),
        ]  # fmt: skip
    return found


def _gains(rows: Sequence[Row], n: int, **wanted: Any) -> list[float]:
    """Points of accuracy over those of the n real images alone, by seed."""
    return differences(values(rows, "accuracy", n=n, **wanted), values(rows, "accuracy", n=n, taught="real"), 100)


def figures(rows: Sequence[Row]) -> dict[str, Figure]:
    data = rows[0]["data"]
    name, m = panels.DATA[data], SAMPLES[data]
    sizes = [*SIZES[data], *([ALL[data]] if select(rows, n=ALL[data]) else [])]
    ways: dict[str, tuple[int, Callable[[int], dict[str, Any]]]] = {  # label: its look, and what it selects
        "n real images": (0, lambda n: {"taught": "real"}),
        "n real images, shifted": (4, lambda n: {"taught": "shifted"}),
        "n real images + n samples": (1, lambda n: {"taught": "both", "m": n}),
        f"n real images + {m:,} samples": (3, lambda n: {"taught": "both", "m": m}),
        f"{ALL_SAMPLES:,} samples alone": (2, lambda n: {"taught": "samples"}),
    }
    accuracy, axes = panels.panel(f"What real images and samples teach, {name}", "real images n", "test accuracy (%)")
    gain, gained = panels.panel(
        f"Gain over n real images alone, {name}", "real images n", "test accuracy gained (points)"
    )
    for label, (index, wanted) in ways.items():
        look = panels.style(label, index)
        found = [n for n in sizes if select(rows, n=n, **wanted(n))]
        if not found:
            continue
        points = {float(n): [100 * value for value in values(rows, "accuracy", n=n, **wanted(n))] for n in found}
        panels.curve(axes, points, **look)
        if index:  # not the real images themselves
            panels.curve(gained, {float(n): _gains(rows, n, **wanted(n)) for n in found}, **look)
    gained.axhline(0, color=panels.INK, linewidth=0.8)
    for part, place in ((axes, "lower right"), (gained, "best")):
        part.set_xscale("log")
        part.set_xticks(sizes, [f"{n:,}" for n in sizes], fontsize=8)
        part.minorticks_off()
        panels.legend(part, loc=place)
    axes.set_ylim(top=100)
    return {"accuracy": accuracy, "gain": gain}
