"""Synthetic data helps when real data is scarce, and stops helping.

A generator that was trained on n images knows nothing that is not in them, but for what its own form says of images:
that those of a class are a mixture of normal distributions. Where images are few, that is worth something.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from zoo.base.model import Model
from zoo.data.batches import Augment
from zoo.data.splits import Split
from zoo.questions.classify import classify
from zoo.tasks.sample_quality import joined, labelled_samples, taught
from zoo.textbook.claim import Case, Claim, Finding, Row, answered, differences, paired_error, select, values
from zoo.textbook.lab import Lab
from zoo.textbook.report import panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALL = {"mnist": 60_000, "digits": 1_438}  # training images
SIZES = {"mnist": (100, 300, 1_000, 10_000), "digits": (50, 1_000)}  # real images, equally many a class
SAMPLES = {"mnist": 10_000, "digits": 1_000}
STEPS, BATCH = {100: 500, 300: 500, 1_000: 1_000, 10_000: 2_000}, 64  # of MNIST, by n; fewer teach less
SAID = "500 for n = 100 and 300, 1,000 for 1,000 and 2,000 for 10,000"
QUICK_STEPS = 50
ALL_SAMPLES, ALL_STEPS, ALL_BATCH = 50_000, 2_000, 128
SEEDS = 5
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
    "of five seeds, a Gaussian mixture a class is trained on these n images as they are: one Gaussian for each "
    f"{COMPONENT} images of a class, from 1 to {LARGEST}, 60 principal directions, the variance floor of the zoo's "
    "recipe. (Of the zoo's generators it was chosen, before a conditional VAE, by 2,500 training images that were held "
    "out.) A LeNet learns from the n real images, or from them and 10,000 samples, which together weigh as much as the "
    f"real ones; from the real ones shifted at random by up to {SHIFT} pixels each time, the classical remedy, and, up "
    "to n = 1,000, from both shifted; of the fewest also from n real images with n samples. For one n it is the same "
    f"network with the same steps of {BATCH} images each time, {SAID}, their rate falling to nothing. With all 60,000 "
    f"images the mixture has {LARGEST} Gaussians a class, and the LeNet the {ALL_STEPS:,} steps of {ALL_BATCH} images "
    f"by which the zoo judges samples, on real images or on {ALL_SAMPLES:,} samples alone: it then sees no real image, "
    "and none chooses anything. Accuracy on the 10,000 test images; their sampling error, that of a difference image "
    f"by image, is in the intervals. The quick suite, on digits, has {QUICK_STEPS} steps, which do not teach the "
    "network all that it could learn.",
    discussion="Samples do not help the classifier of 100 images. A generator that has seen ten images of a class has "
    "nothing to add to them but its own form, and a normal distribution around ten images is a poor guess of "
    "handwriting: its samples lay strokes of several images over each other. Shifting the same images, which brings in "
    "something that is known of digits, gains several points. The gains that the literature reports come from "
    "generators that were trained on other images as well. Where there are thousands of images, samples take the place "
    "of real ones in half of what the classifier sees, and bring nothing that the others do not show; that alone they "
    "teach almost as much says that the mixture has kept nearly all that tells the classes apart, though its samples "
    "are blurred.",
    version=4,
)


def cases(suite: str) -> list[Case]:
    quick = suite == "quick"
    data, least = ("digits", 0.1) if quick else ("mnist", 1.5)  # seconds for the test images
    few, *_, many = SIZES[data]
    found = []
    for n, seed in itertools.product(SIZES[data], range(SEEDS)):
        taught = [("real", 0), ("both", SAMPLES[data])]
        taught += [] if quick and n == many else [("shifted", 0)]
        taught += [] if n == many else [("both shifted", SAMPLES[data])]
        taught += [("both", n)] if n == few else []
        steps = QUICK_STEPS if quick else STEPS[n]
        found += [_case(data, n, what, m, steps, seed, least + 0.011 * steps) for what, m in taught]
    if not quick:
        whole = (("samples", ALL_SAMPLES, 70.0), ("real", 0, 45.0))
        found += [_case(data, ALL[data], what, m, ALL_STEPS, seed, long) for seed in range(SEEDS)
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
    """See ``answered``: of a classifier taught by ``n`` images, ``m`` samples, or both."""
    data, n, what, seed = case["data"], case["n"], case["taught"], case["seed"]
    splits = lab.splits(data, train_size=0 if n == ALL[data] else n, split_seed=seed)
    images = splits.train
    if case["m"]:
        samples = labelled_samples(generator(lab, data, n, seed), case["m"], seed)
        images = samples if what == "samples" else joined(_repeated(images, len(samples)), samples)
    augment = Augment(shift=SHIFT) if "shifted" in what else None
    batch = ALL_BATCH if n == ALL[data] else BATCH
    student = taught(images, splits.spec, seed, case["steps"], batch, augment)
    guessed = torch.cat([classify(student, x).argmax(1) for x, _ in splits.test.chunks(2_000)])
    return answered(guessed, splits.test.labels)


def _repeated(images: Split, count: int) -> Split:
    """``count`` images, each of ``images`` as often as another, give or take one."""
    return images.take(torch.arange(count) % len(images))


def findings(rows: Sequence[Row]) -> list[Finding]:
    data = rows[0]["data"]
    few, many, m = min(SIZES[data]), max(SIZES[data]), SAMPLES[data]
    name = panels.DATA[data]
    real_few, real_many = ({"n": n, "taught": "real"} for n in (few, many))
    alike, more, plenty = ({"n": n, "taught": "both", "m": count} for n, count in ((few, few), (few, m), (many, m)))
    shifted, both_shifted = {"n": few, "taught": "shifted"}, {"n": few, "taught": "both shifted"}

    def gain(
        key: str, statement: str, better: dict[str, Any], than: dict[str, Any],
        above: float | None = None, below: float | None = None,
    ) -> Finding:  # fmt: skip
        error = _error(rows, (better, 1), (than, -1))
        return Finding(key, statement, _gains(rows, better, than), "points", above, below, error=error)

    found = [
        gain("few", f"As many samples beside {few:,} real images of {name} raise the classifier's accuracy.",
             alike, real_few, above=0),
        gain("few-more", f"{m:,} samples beside {few:,} real images of {name} raise it.", more, real_few, above=0),
        gain("many", f"{m:,} samples beside {many:,} real images of {name} raise it by less than 0.1 point.",
             plenty, real_many, below=0.1),
        Finding("less", f"{m:,} samples add more to {few:,} real images of {name} than to {many:,}.",
                differences(_gains(rows, more, real_few), _gains(rows, plenty, real_many)), "points", above=0,
                error=_error(rows, (more, 1), (real_few, -1), (plenty, -1), (real_many, 1))),
        gain("shifts", f"For comparison: shifting the {few:,} real images of {name} raises it.", shifted, real_few),
        gain("beside-shifts", f"For comparison: {m:,} samples, shifted, too, raise the accuracy of {few:,} shifted "
             f"real images of {name}.", both_shifted, shifted),
    ]  # fmt: skip
    whole = ALL[data]
    if select(rows, n=whole):
        ends = {"n": whole, "taught": "real"}, {"n": whole, "taught": "samples"}
        found += [
            gain("alone", f"A classifier taught by samples alone, of a generator of all {whole:,} images of {name}, "
                 "is less than 1 point behind one taught by these images.", *ends, below=1),
            gain("behind", f"It is behind: {whole:,} real images teach more than samples of their generator.",
                 *ends, above=0),
        ]  # fmt: skip
    return found


def _gains(rows: Sequence[Row], better: Mapping[str, Any], than: Mapping[str, Any]) -> list[float]:
    """By how many points the accuracy of one selection is above that of the other, seed by seed."""
    return differences(values(rows, "accuracy", **better), values(rows, "accuracy", **than), 100)


def _error(rows: Sequence[Row], *signed: tuple[Mapping[str, Any], int]) -> float:
    """See ``paired_error``."""
    return paired_error(*((select(rows, **wanted), sign) for wanted, sign in signed))


def figures(rows: Sequence[Row]) -> dict[str, Figure]:
    data = rows[0]["data"]
    name, m = panels.DATA[data], SAMPLES[data]
    sizes = [*SIZES[data], *([ALL[data]] if select(rows, n=ALL[data]) else [])]
    ways: dict[str, tuple[int, Callable[[int], dict[str, Any]]]] = {  # label: its look, and what it selects
        "n real images": (0, lambda n: {"taught": "real"}),
        "n real images, shifted": (4, lambda n: {"taught": "shifted"}),
        f"n real images + {m:,} samples": (3, lambda n: {"taught": "both", "m": m}),
        "the same, shifted": (1, lambda n: {"taught": "both shifted"}),
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
            gains = {float(n): _gains(rows, {"n": n, **wanted(n)}, {"n": n, "taught": "real"}) for n in found}
            panels.curve(gained, gains, **look)
    gained.axhline(0, color=panels.INK, linewidth=0.8)
    for part, place in ((axes, "lower right"), (gained, "best")):
        part.set_xscale("log")
        part.set_xticks(sizes, [f"{n:,}" for n in sizes], fontsize=8)
        part.minorticks_off()
        panels.legend(part, loc=place)
    axes.set_ylim(top=100)
    return {"accuracy": accuracy, "gain": gain}
