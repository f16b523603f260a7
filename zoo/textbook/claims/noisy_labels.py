"""Wrong labels, strangers among the images, and rare classes: what they cost models of p(y | x) and of p(x, y).

The training images are damaged, the test images are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.data.splits import Split
from zoo.questions.classify import classify
from zoo.textbook.claim import WRONG, Case, Claim, Finding, Row, answered, compared, select, summed
from zoo.textbook.claims.learning_curves import PAIRS, words
from zoo.textbook.lab import Lab
from zoo.textbook.report import panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOISE = (0.2, 0.4, 0.6)  # shares of labels that are wrong
JUDGED = 0.4  # the share of them that is judged
OUTLIERS = 0.1  # share of images
RARE, KEPT = 5, 0.04  # the first five classes keep this share of their images
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
LONGER = 3  # times the passes of its recipe, which the MLP takes too to learn wrong labels by heart
BY_HEART = (("none", 0.0), ("labels", JUDGED))  # where it does
IMAGES = {"digits": 700, "mnist": 5000}  # that are learned from
SEEDS = {"naive_bayes": 10, "logistic_regression": 10, "gmm": 5, "mlp": 5}
QUICK_SEEDS = 5
TOLD_SEEDS = 3  # of what is not judged
GIVEN = "_given"  # the ending of what is measured without dividing by the prior

CLAIM = Claim(
    number=10,
    title="Discriminative models are sensitive to wrong labels, outliers and imbalance",
    statement="Wrong labels, outliers and rare classes among the training images cost a discriminative model more "
    "accuracy than the generative model it is compared with.",
    source="Efron 1975, The Efficiency of Logistic Regression Compared to Normal Discriminant Analysis; Frénay & "
    "Verleysen 2014, Classification in the Presence of Label Noise: a Survey; Zhang et al. 2017, Understanding Deep "
    "Learning Requires Rethinking Generalization; Owen 2007, Infinitely Imbalanced Logistic Regression",
    protocol=f"{IMAGES['mnist']:,} images of MNIST, equally many a class, drawn anew for each seed: ten of naive Bayes "
    f"and logistic regression, five of the mixtures and the MLP, {TOLD_SEEDS} of what is not judged. Labels: a share "
    f"becomes another class, each as probable. Outliers: {OUTLIERS:.0%} of the images become garments of Fashion-"
    f"MNIST, or pixels of uniform noise, with random labels. Imbalance: the digits 0 to 4 keep {KEPT:.0%} of their "
    "images, which leaves about half as many images in all, and so half as many gradient steps. Naive Bayes of "
    "binary pixels; mixtures of a Gaussian a class for each 100 images of the rarest class, which is five, or one "
    "where classes are rare, 12 passes of EM; logistic regression and an MLP; all by train.py's recipes, 12 passes by "
    "gradient, without augmentation. Nothing is validated, so that no clean label is seen; what wrong labels cost the "
    f"MLP after {LONGER} times as many passes is told beside it. Accuracy on the 10,000 test images, which are as they "
    "were, all classes about as frequent: so p(y | x) of all models is divided by the shares of the classes among the "
    "training labels, which changes next to nothing but where classes are rare; there the accuracy without that "
    "correction is told too. A drop is the accuracy after undamaged images less that after damaged ones, in points. "
    "Intervals hold the sampling error of the test images, that of a difference of drops image by image.",
    discussion="Wrong labels cost logistic regression more than naive Bayes; of the flexible pair the outcome hangs on "
    "how long the MLP is trained, as with more passes it learns wrong labels by heart. Strangers cost both flexible "
    "models next to nothing, and naive Bayes more than logistic regression: garments and noise with random labels move "
    "the mean of every pixel in every class, and it has no other way to account for them, where a mixture can give "
    "them Gaussians of their own. Rare classes cost a model of p(y | x) much by the probabilities that it gives, but a "
    "part of that is the prior that it has learnt along, which can be divided out. A mixture learns a class from the "
    "images of that class alone, and twenty are too few for a covariance: it fits them closely, and an image of a rare "
    "class that is not near one of them is likelier under the broad densities of the others, which no prior makes up "
    "for. A discriminative model shares its features among classes. These are likely reasons, which were not tested "
    "apart.",
    version=4,
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
    models = [model for pair in PAIRS for model in pair]
    if suite == "quick":
        return [
            _case("digits", model, *kind, seed) for model in models for kind in BY_HEART for seed in range(QUICK_SEEDS)
        ]  # fmt: skip
    judged = [("none", 0.0), *DAMAGES.values()]
    told = [("labels", share) for share in NOISE if share != JUDGED]
    return [
        *(_case("mnist", model, *kind, seed) for model in models for kind in judged for seed in range(SEEDS[model])),
        *(_case("mnist", model, *kind, seed) for model in models for kind in told for seed in range(TOLD_SEEDS)),
        *(_case("mnist", "mlp", *kind, seed, LONGER) for kind in BY_HEART for seed in range(TOLD_SEEDS)),
    ]


def _case(data: str, model: str, damage: str, share: float, seed: int, longer: int = 1) -> Case:
    n = IMAGES[data]
    parameters = {
        "data": data,
        "model": model,
        "damage": damage,
        "share": share,
        "n": n,
        "longer": longer,
        "seed": seed,
    }
    of_thousand = {"naive_bayes": 0.1, "gmm": 0.5, "logistic_regression": 0.1, "mlp": 0.75}[model]
    return Case(parameters, (0.8 if data == "mnist" else 0.2) + longer * of_thousand * n / 1000)


def measure(case: Mapping[str, Any], lab: Lab) -> dict[str, Any]:
    """See ``answered``: of clean test images, by probabilities that are :func:`balanced`; where classes are rare also
    by those that the model gives, as ``"accuracy_given"`` and ``"wrong_given"``."""
    splits = lab.splits(case["data"], train_size=case["n"], split_seed=case["seed"])
    train = damaged(splits.train, case, lab)
    # a mixture has as many Gaussians a class as images of the rarest class bear
    counted = case["n"] if case["damage"] != "imbalance" else 10 * int(train.labels.bincount().min())
    recipe = words(case["model"], case["data"], counted, case["seed"])
    seen = train.take(torch.arange(len(train)).repeat(case["longer"]))
    log_proba = classify(lab.fit(*recipe, train=seen), splits.test.x())
    labels = splits.test.labels
    found = answered(balanced(log_proba, train.labels).argmax(1), labels)
    if case["damage"] != "imbalance":
        return found
    given = answered(log_proba.argmax(1), labels)
    return found | {f"{quantity}{GIVEN}": given[quantity] for quantity in ("accuracy", WRONG)}


def balanced(log_proba: Tensor, labels: Tensor) -> Tensor:
    """What a model that was trained on ``labels`` says where all classes are as probable.

    By Bayes' rule p'(y | x) ∝ p(y | x) / p(y), with the shares of the training labels for p(y) (Saerens, Latinne &
    Decaestecker 2002, Adjusting the Outputs of a Classifier to New a Priori Probabilities).

    Args:
        log_proba: log p(y | x), ``(N, K)``.
        labels: ``(M,)`` int64, at least one of each class.
    """
    shares = labels.bincount(minlength=log_proba.shape[1]) / len(labels)
    return (log_proba - shares.log()).log_softmax(1)


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


def asked(
    rows: Sequence[Row], model: str, kind: str, share: float, longer: int = 1, given: bool = False
) -> tuple[list[Row], list[Row]]:
    """The rows of a model before a damage and after it.

    Args:
        rows: as they were measured.
        model, kind, share, longer: as in a case.
        given: the answers after it are those by the probabilities that the model gives.
    """
    after = select(rows, model=model, damage=kind, share=share, longer=longer)
    if given:
        after = [row | {quantity: row[f"{quantity}{GIVEN}"] for quantity in ("accuracy", WRONG)} for row in after]
    return select(rows, model=model, damage="none", longer=longer), after


def drops(before: Sequence[Row], after: Sequence[Row]) -> list[float]:
    """Points of accuracy that a damage costs, by seed, see :func:`asked`."""
    return summed((before, 1), (after, -1))[0]


def findings(rows: Sequence[Row]) -> list[Finding]:
    found = []
    for key, (kind, share) in DAMAGES.items():
        if not select(rows, damage=kind, share=share):
            continue  # not in the quick suite
        for pair in PAIRS:
            first, second = map(panels.name, pair)
            among = f"With {NAMES[key]} among the training images"
            text = f"{among}, {second} loses more accuracy than {first}."
            less, more = (asked(rows, model, kind, share) for model in pair)
            found.append(_more(f"{key}-{pair[0]}", text, less, more, above=0))
            if kind == "imbalance":
                text = f"{among}, what {second} loses more than {first} by probabilities that are not corrected."
                less, more = (asked(rows, model, kind, share, given=True) for model in pair)
                found.append(_more(f"{key}-{pair[0]}-given", text, less, more))
    kind, share = DAMAGES["labels"]
    longer = asked(rows, "mlp", kind, share, LONGER)
    if longer[1]:
        once = asked(rows, "mlp", kind, share)
        text = f"What {NAMES['labels']} cost the MLP more after {LONGER} times as many passes."
        found.append(_more("labels-mlp-longer", text, once, longer))
    return found


def _more(
    key: str,
    statement: str,
    first: tuple[list[Row], list[Row]],
    second: tuple[list[Row], list[Row]],
    **judged: float,
) -> Finding:
    """By how many points more a damage costs the second than the first, each as :func:`asked`."""
    return compared(key, statement, (second[0], 1), (second[1], -1), (first[0], -1), (first[1], 1), **judged)


def figures(rows: Sequence[Row]) -> dict[str, Figure]:
    data = panels.DATA[rows[0]["data"]]
    figure, axes = panels.panel(f"Accuracy with wrong labels, {data}", "training labels that are wrong (%)",
                                "test accuracy (%)")  # fmt: skip
    models = [model for pair in PAIRS for model in pair]
    for model in models:
        points: dict[float, list[float]] = {}
        for row in select(rows, model=model, longer=1):
            if row["damage"] in ("none", "labels"):
                points.setdefault(100 * row["share"], []).append(100 * row["accuracy"])
        panels.curve(axes, points, **panels.style(model))
    panels.legend(axes, loc="lower left")
    found = {"labels": figure}
    for key, (kind, share) in DAMAGES.items():
        if key == "labels" or not select(rows, damage=kind, share=share):
            continue
        groups = {panels.name(model): drops(*asked(rows, model, kind, share)) for model in models}
        if kind == "imbalance":  # which is what the correction is for
            groups |= {
                f"{panels.name(model)},\nas given": drops(*asked(rows, model, kind, share, given=True))
                for model in models
            }
        figure, axes = panels.panel(f"Cost of {NAMES[key]} in training, {data}", "accuracy lost (points)", "")
        panels.bars(axes, groups, [panels.style(model)["color"] for model in models] * (len(groups) // len(models)))
        found[key] = figure
    return found
