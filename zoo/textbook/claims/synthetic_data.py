"""Synthetic data helps when real data is scarce, and stops helping.

A generator that was trained on n images knows nothing that is not in them, but for what its own form says of images:
that those of a class are a mixture of normal distributions. Where images are few, that is worth something.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from zoo.base.model import Model
from zoo.data.augment import Augment
from zoo.data.splits import Split
from zoo.questions.classify import classify
from zoo.tasks.students import joined, labelled_samples, taught
from zoo.textbook.claim import Case, Claim, Finding, Row, answered, compared, select, summed, values
from zoo.textbook.lab import Lab
from zoo.textbook.report import panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALL = 60_000  # training images of MNIST
SIZES = {"mnist": (100, 1_000, 10_000), "digits": (50, 1_000)}  # real images, equally many a class
SEEDS = {"mnist": (6, 3, 4), "digits": (6, 6)}  # of each size
SAMPLES = {"mnist": 10_000, "digits": 1_000}
STEPS, BATCH = {"mnist": (500, 1_000, 1_500), "digits": (50, 50)}, 64  # of each size; fewer teach less
ALL_SAMPLES, ALL_STEPS, ALL_BATCH = 50_000, 2_000, 128
FEW_SEEDS = 3  # of what costs most, the students of all images, and of what judges nothing, shifted images
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
    protocol="MNIST. For n = 100, 1,000 and 10,000 training images, equally many a class and drawn anew for each of "
    "6, 3 and 4 seeds, a Gaussian mixture a class is trained on these n images as they are: one Gaussian for each "
    f"{COMPONENT} images of a class, from 1 to {LARGEST}, 60 principal directions, the variance floor of the zoo's "
    "recipe. (Of the zoo's generators it was chosen, before a conditional VAE, by 2,500 training images that were held "
    "out.) A LeNet learns from the n real images, or from them and 10,000 samples, which together weigh as much as the "
    "real ones; of the fewest also from n real images with n samples and, with three of the seeds, from the real ones "
    f"shifted at random by up to {SHIFT} pixels each time, the classical remedy, and from both shifted. For one n it "
    f"is the same network with the same steps of {BATCH} images, 500, 1,000 and 1,500 for the three n, their rate "
    f"falling to nothing. With all 60,000 images, three seeds, the mixture has {LARGEST} Gaussians a class, and the "
    f"LeNet the {ALL_STEPS:,} steps of {ALL_BATCH} images by which the zoo judges samples, on real images or on "
    f"{ALL_SAMPLES:,} samples alone: it then sees no real image, and none chooses anything. What differs between "
    "seeds is then the start and the order of learning and what is sampled. Accuracy on the 10,000 test images; their "
    "sampling error, that of a difference image by image, is in the intervals. The quick suite, on digits, has "
    f"{STEPS['digits'][0]} steps, which do not teach the network all that it could learn.",
    discussion="Beside 100 images, samples of their own generator gain or lose about a point, by chance as it seems: "
    "a gain, if there is any, is far below the four or five points of shifting the same images, and beside shifts "
    "samples add nothing. A generator that has seen ten images of a class has nothing to add to them but its own form, "
    "and a normal distribution around ten images is a poor guess of handwriting: its samples lay strokes of several "
    "images over each other; shifts bring in something that is known of digits. The gains that the literature reports "
    "come from generators that were trained on other images as well. Where there are thousands of images, samples take "
    "the place of real ones in half of what the classifier sees, and bring nothing that the others do not show; that "
    "alone they teach almost as much, half a point less, says that the mixture has kept nearly all that tells the "
    "classes apart, though its samples are blurred.",
    version=4,
)


def cases(suite: str) -> list[Case]:
    quick = suite == "quick"
    data, least = ("digits", 0.1) if quick else ("mnist", 1.5)  # seconds for the test images
    few, m, found = SIZES[data][0], SAMPLES[data], []
    for n, steps, seeds in zip(SIZES[data], STEPS[data], SEEDS[data], strict=True):
        ways = [("real", 0, seeds), ("both", m, seeds)]
        if n == few:
            ways += [("both", n, seeds)]
            ways += [] if quick else [("shifted", 0, FEW_SEEDS), ("both shifted", m, FEW_SEEDS)]
        found += [_case(data, n, what, count, steps, seed, least + 0.011 * steps)
                  for what, count, repeats in ways for seed in range(repeats)]  # fmt: skip
    if not quick:
        whole = (("samples", ALL_SAMPLES, 70.0), ("real", 0, 45.0))
        found += [_case(data, ALL, what, count, ALL_STEPS, seed, seconds)
                  for seed in range(FEW_SEEDS) for what, count, seconds in whole]  # fmt: skip
    return found


def _case(data: str, n: int, what: str, m: int, steps: int, seed: int, seconds: float) -> Case:
    return Case({"data": data, "n": n, "taught": what, "m": m, "steps": steps, "seed": seed}, seconds)


def generator(lab: Lab, data: str, n: int, seed: int) -> Model:
    """A mixture for each class, trained on ``n`` images, the same ones as in ``lab.splits`` with this split seed."""
    size = 0 if n == ALL else n
    components = min(max(n // (10 * COMPONENT), 1), LARGEST)
    return lab.train(
        "model=gmm", f"data={data}", f"seed={seed}", f"data.train_size={size}", f"data.split_seed={seed}",
        "data.val_size=0", f"model.num_components={components}", f"model.pca={min(DIRECTIONS[data], n - 1)}",
        *GENERATOR[data],
    )  # fmt: skip


def measure(case: Mapping[str, Any], lab: Lab) -> dict[str, Any]:
    """See ``answered``: of a classifier taught by ``n`` images, ``m`` samples, or both."""
    data, n, what, seed = case["data"], case["n"], case["taught"], case["seed"]
    splits = lab.splits(data, train_size=0 if n == ALL else n, split_seed=seed)
    images = splits.train
    if case["m"]:
        samples = labelled_samples(generator(lab, data, n, seed), case["m"], seed)
        images = samples if what == "samples" else joined(_repeated(images, len(samples)), samples)
    augment = Augment(shift=SHIFT) if "shifted" in what else None
    batch = ALL_BATCH if n == ALL else BATCH
    student = taught(images, splits.spec, seed, case["steps"], batch, augment)
    return answered(classify(student, splits.test.x()).argmax(1), splits.test.labels)


def _repeated(images: Split, count: int) -> Split:
    """``count`` images, each of ``images`` as often as another, give or take one."""
    return images.take(torch.arange(count) % len(images))


def findings(rows: Sequence[Row]) -> list[Finding]:
    data = rows[0]["data"]
    few, many, m = min(SIZES[data]), max(SIZES[data]), SAMPLES[data]
    name = panels.DATA[data]
    real_few, real_many = ({"n": n, "taught": "real"} for n in (few, many))
    alike, more, plenty = ({"n": n, "taught": "both", "m": count} for n, count in ((few, few), (few, m), (many, m)))

    def chosen(*signed: tuple[Mapping[str, Any], int]) -> list[tuple[list[Row], float]]:
        return [(select(rows, **wanted), sign) for wanted, sign in signed]

    def gain(
        key: str, statement: str, better: Mapping[str, Any], than: Mapping[str, Any], **judged: float
    ) -> Finding:  # fmt: skip
        return compared(key, statement, *chosen((better, 1), (than, -1)), **judged)

    found = [
        gain("few", f"As many samples beside {few:,} real images of {name} raise the classifier's accuracy.",
             alike, real_few, above=0),
        gain("few-more", f"{m:,} samples beside {few:,} real images of {name} raise it.", more, real_few, above=0),
        gain("many", f"{m:,} samples beside {many:,} real images of {name} raise it by less than 0.1 point.",
             plenty, real_many, below=0.1),
        compared("less", f"{m:,} samples add more to {few:,} real images of {name} than to {many:,}.",
                 *chosen((more, 1), (real_few, -1), (plenty, -1), (real_many, 1)), above=0),
    ]  # fmt: skip
    if select(rows, n=few, taught="shifted"):
        shifted, both_shifted = {"n": few, "taught": "shifted"}, {"n": few, "taught": "both shifted"}
        found += [
            gain("shifts", f"For comparison: shifting the {few:,} real images of {name} raises it.",
                 shifted, real_few),
            gain("beside-shifts", f"For comparison: {m:,} samples, shifted, too, raise the accuracy of {few:,} shifted "
                 f"real images of {name}.", both_shifted, shifted),
        ]  # fmt: skip
    if select(rows, n=ALL):
        ends = {"n": ALL, "taught": "real"}, {"n": ALL, "taught": "samples"}
        found += [
            gain("alone", f"A classifier taught by samples alone, of a generator of all {ALL:,} images of {name}, "
                 "is less than 1 point behind one taught by these images.", *ends, below=1),
            gain("behind", f"It is behind: {ALL:,} real images teach more than samples of their generator.",
                 *ends, above=0),
        ]  # fmt: skip
    return found


def figures(rows: Sequence[Row]) -> dict[str, Figure]:
    data = rows[0]["data"]
    name, m = panels.DATA[data], SAMPLES[data]
    sizes = sorted({row["n"] for row in rows})
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

    def gains(n: int, way: Mapping[str, Any]) -> list[float]:
        return summed((select(rows, n=n, **way), 1), (select(rows, n=n, taught="real"), -1))[0]

    for label, (index, wanted) in ways.items():
        look = panels.style(label, index)
        found = [n for n in sizes if select(rows, n=n, **wanted(n))]
        if not found:
            continue
        points = {float(n): [100 * value for value in values(rows, "accuracy", n=n, **wanted(n))] for n in found}
        panels.curve(axes, points, **look)
        if index:  # not the real images themselves
            panels.curve(gained, {float(n): gains(n, wanted(n)) for n in found}, **look)
    gained.axhline(0, color=panels.INK, linewidth=0.8)
    for part, place in ((axes, "lower right"), (gained, "best")):
        part.set_xscale("log")
        part.set_xticks(sizes, [f"{n:,}" for n in sizes], fontsize=8)
        part.minorticks_off()
        panels.legend(part, loc=place)
    axes.set_ylim(top=100)
    return {"accuracy": accuracy, "gain": gain}
