"""Wrong labels, strangers among the images, and rare classes: what they cost models of p(y | x) and of p(x, y).

The training images are damaged, the test images are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.data.splits import Split
from zoo.metrics.classification import confusion_matrix, per_class_accuracy
from zoo.questions.classify import classify
from zoo.textbook.claim import Case, Claim, Finding, Row, differences, select, values
from zoo.textbook.claims.learning_curves import PAIRS, words
from zoo.textbook.lab import Lab
from zoo.textbook.report import panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOISE = (0.2, 0.4, 0.6)  # shares of labels that are wrong
JUDGED = 0.4  # the share of them that is judged
OUTLIERS = 0.1  # share of images
RARE, KEPT = 5, 0.02  # the first five classes keep this share of their images
DAMAGES = {  # what is judged: kind, share
    "labels": ("labels", JUDGED),
    "garments": ("garments", OUTLIERS),
    "pixels": ("pixels", OUTLIERS),
    "imbalance": ("imbalance", KEPT),
}
NAMES = {
    "labels": f"{JUDGED:.0%} of labels wrong",
    "garments": f"{OUTLIERS:.0%} garments",
    "pixels": f"{OUTLIERS:.0%} random pixels",
    "imbalance": "five classes rare",
}
EPOCHS = 12  # of gradient training

CLAIM = Claim(
    number=10,
    title="Discriminative models are sensitive to wrong labels, outliers and imbalance",
    statement="Wrong labels, outliers and rare classes among the training images cost a discriminative model more "
    "accuracy than the generative model it is compared with.",
    source="Efron 1975, The Efficiency of Logistic Regression Compared to Normal Discriminant Analysis; Frénay & "
    "Verleysen 2014, Classification in the Presence of Label Noise: a Survey; Zhang et al. 2017, Understanding Deep "
    "Learning Requires Rethinking Generalization; Owen 2007, Infinitely Imbalanced Logistic Regression",
    protocol="10,000 images of MNIST, 1,000 a class, drawn anew for each of three seeds. Labels: a share becomes "
    f"another class, each as probable. Outliers: {OUTLIERS:.0%} of the images become garments of Fashion-MNIST, or "
    f"pixels of uniform noise, with random labels. Imbalance: the digits 0 to 4 keep {KEPT:.0%} of their images. Naive "
    "Bayes of binary pixels; mixtures of ten Gaussians a class, 8 passes of EM; logistic regression and an MLP of two "
    f"layers of 256 with dropout, {EPOCHS} passes; the learning rates and the variance floor of train.py's recipes, "
    "nothing validated, so that no clean label is seen, no augmentation. Accuracy on the 10,000 test images, which are "
    "as they were, as the mean over classes; a drop is that of the undamaged images less it, in points.",
    discussion="The pairs do not behave alike: simple models follow the claim with wrong and rare labels, flexible "
    "ones do not. Likely reasons, which were not tested apart: ten Gaussians with covariances of their own have room "
    "for the images that wrong labels bring into a class, where an MLP with dropout has not learnt them by heart in "
    "twelve passes. A mixture learns a class from the images of that "
    "class alone: twenty of them are too few for ten Gaussians, which fit them closely, and an image of a rare class "
    "that is not near one of the twenty is likelier under the broad densities of the others. A discriminative model "
    "shares its features among classes. Fewer Gaussians for rare classes would help; their number was fixed before. "
    "Garments with random labels move the mean of every pixel in every class of naive Bayes, which has no other way "
    "to account for them, where a mixture can give them Gaussians of their own; noise "
    "does the same.",
)


def flip_labels(labels: Tensor, share: float, num_classes: int, generator: torch.Generator) -> Tensor:
    """``labels`` ``(N,)`` of which ``share`` (rounded to whole images) become another class, each as probable."""
    chosen = torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]
    turn = torch.randint(1, num_classes, (len(chosen),), generator=generator)
    flipped = labels.clone()
    flipped[chosen] = (labels[chosen] + turn) % num_classes
    return flipped


def with_outliers(split: Split, strangers: Tensor, num_classes: int, generator: torch.Generator) -> Split:
    """``strangers`` ``(M, C, H, W)`` in the place of M random images, with random labels. Raises ``ValueError`` where
    there are more of them than images."""
    if len(strangers) > len(split):
        raise ValueError(f"{len(strangers)} strangers cannot take the place of {len(split)} images")
    chosen = torch.randperm(len(split), generator=generator)[: len(strangers)]
    images, labels = split.images.clone(), split.labels.clone()
    images[chosen] = strangers
    labels[chosen] = torch.randint(num_classes, (len(chosen),), generator=generator)
    return Split(images, labels)


def imbalanced(split: Split, rare: int, kept: float, generator: torch.Generator) -> Split:
    """Of the first ``rare`` classes the share ``kept`` of each one's images, one at least; of the others all."""
    parts = [(split.labels >= rare).nonzero()[:, 0]]
    for label in range(rare):
        members = (split.labels == label).nonzero()[:, 0]
        count = max(round(kept * len(members)), 1)
        parts.append(members[torch.randperm(len(members), generator=generator)[:count]])
    return split.take(torch.cat(parts).sort()[0])


def cases(suite: str) -> list[Case]:
    if suite == "quick":
        kinds, n, data, seeds = [("none", 0.0), ("labels", JUDGED)], 1000, "digits", range(2)
    else:
        kinds = [("none", 0.0), *(("labels", share) for share in NOISE), ("garments", OUTLIERS), ("pixels", OUTLIERS),
                 ("imbalance", KEPT)]  # fmt: skip
        n, data, seeds = 10_000, "mnist", range(3)
    seconds = {"naive_bayes": 0.1, "gmm": 0.5, "logistic_regression": 0.2, "mlp": 0.9}
    return [
        Case({"data": data, "model": model, "damage": kind, "share": share, "n": n, "seed": seed},
             0.8 + seconds[model] * n / 1000)
        for pair in PAIRS for model in pair for kind, share in kinds for seed in seeds
    ]  # fmt: skip


def measure(case: Mapping[str, Any], lab: Lab) -> dict[str, Any]:
    """Accuracy on clean test images, in [0, 1]: the mean over ``"all"`` classes, and over the ``"rare"`` ones."""
    splits = lab.splits(case["data"], train_size=case["n"], split_seed=case["seed"])
    train = damaged(splits.train, case, lab)
    model = lab.fit(*words(case["model"], case["data"], case["n"], case["seed"], EPOCHS), train=train)
    log_proba = classify(model, splits.test.x())
    recall = per_class_accuracy(confusion_matrix(log_proba, splits.test.labels))
    return {"all": float(recall.mean()), "rare": float(recall[:RARE].mean())}


def damaged(train: Split, case: Mapping[str, Any], lab: Lab) -> Split:
    """The training images as the case damages them; the same for all models."""
    generator = torch.Generator().manual_seed(case["seed"])
    kind, share, classes = case["damage"], case["share"], 10
    if kind == "none":
        return train
    if kind == "labels":
        return Split(train.images, flip_labels(train.labels, share, classes, generator))
    if kind == "imbalance":
        return imbalanced(train, RARE, share, generator)
    count = round(share * len(train))
    if kind == "garments":
        strangers = lab.splits("fashion_mnist").train.shuffled(count, generator).images
    else:
        shape = (count, *train.images.shape[1:])
        strangers = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    return with_outliers(train, strangers, classes, generator)


def drops(rows: Sequence[Row], model: str, kind: str, share: float) -> list[float]:
    """Points of accuracy that a damage costs a model, by seed."""
    clean = values(rows, "all", model=model, damage="none")
    return differences(clean, values(rows, "all", model=model, damage=kind, share=share), 100)


def findings(rows: Sequence[Row]) -> list[Finding]:
    found = []
    for key, (kind, share) in DAMAGES.items():
        if not select(rows, damage=kind, share=share):
            continue  # not in the quick suite
        for first, second in PAIRS:
            worse = differences(drops(rows, second, kind, share), drops(rows, first, kind, share))
            text = (f"With {NAMES[key]} among the training images, {panels.name(second)} loses more accuracy than "
                    f"{panels.name(first)}.")  # fmt: skip
            found.append(Finding(f"{key}-{first}", text, worse, "points", above=0))
    return found


def figures(rows: Sequence[Row]) -> dict[str, Figure]:
    data = panels.DATA[rows[0]["data"]]
    figure, axes = panels.panel(f"Accuracy with wrong labels, {data}", "training labels that are wrong (%)",
                                "test accuracy (%)")  # fmt: skip
    models = [model for pair in PAIRS for model in pair]
    for model in models:
        points = {0.0: [100 * value for value in values(rows, "all", model=model, damage="none")]}
        for row in select(rows, model=model, damage="labels"):
            points.setdefault(100 * row["share"], []).append(100 * row["all"])
        panels.curve(axes, points, **panels.style(model))
    panels.legend(axes, loc="lower left")
    found = {"labels": figure}
    for key, (kind, share) in DAMAGES.items():
        if key == "labels" or not select(rows, damage=kind, share=share):
            continue
        figure, axes = panels.panel(f"Cost of {NAMES[key]} in training, {data}", "accuracy lost (points)", "")
        groups = {panels.name(model): drops(rows, model, kind, share) for model in models}
        panels.bars(axes, groups, [panels.style(model)["color"] for model in models])
        found[key] = figure
    return found
