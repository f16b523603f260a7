"""Images without a label help through a model of p(x), and may hurt where that model is wrong."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.base.model import Model
from zoo.data.augment import Augment
from zoo.data.splits import Split, Splits
from zoo.questions.classify import classify
from zoo.questions.encode import encode
from zoo.spec import DataSpec
from zoo.tasks.few_labels import guess
from zoo.tasks.students import taught
from zoo.textbook.claim import Case, Claim, Finding, Row, answered, compared, paired_error, select, summed, values
from zoo.textbook.lab import Lab
from zoo.textbook.report import panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = {"mnist": (100, 1_000), "digits": (50, 200)}
METHODS = {  # how a method is called, the seconds it takes with and without images that have no label, and how often
    # labels are drawn: for MNIST, and for digits
    "naive_bayes": ("naive Bayes", 10, 1, (5, 5)),
    "gmm": ("Gaussian a class", 8, 2, (8, 5)),
    "logistic": ("logistic regression", 1, 0.5, (10, 5)),
    "lenet": ("LeNet", 17, 10, (10, 5)),
    "m2": ("M2", 30, 4, (3, 0)),
}
MANY, MANY_DRAWS = ("naive_bayes", "lenet"), 3  # those that are asked about many labels, too
WORDS: dict[str, tuple[str, ...]] = {
    "naive_bayes": ("trainer.max_epochs=15",),
    "gmm": ("model.num_components=1", "model.pca=30", "data.augment.shift=0", "trainer.max_epochs=10"),
    "m2": ("model.classify_weight=50", "model.latent_dim=8", "model.hidden_sizes=[256]", "learner.ema=0.99",
           "data.batch_size=100"),
}  # fmt: skip
CODES = {  # of the autoencoder that sees no label
    "mnist": ("model.num_samples=1", "learner.ema=0", "data.batch_size=200", "data.augment.shift=1",
              "trainer.max_epochs=4"),
    "digits": ("trainer.max_epochs=10",),
}  # fmt: skip
AUTOENCODER = {"mnist": 21.0, "digits": 1.5}  # seconds
SPREAD = 15_000  # images that labels spread to, at most
CERTAIN = 0.8  # the share of them that teaches the first LeNet
STEPS, BATCH, SHIFT = {"mnist": (250, 700), "digits": (40, 60)}, 64, 2  # of the two LeNets
EM_IMAGES = {"mnist": 20_000, "digits": 0}  # of Gaussians a class; 0: all
# of M2, whose unlabelled images cost as much as one image a class
VAE_IMAGES, VAE_REPEAT, VAE_EPOCHS, VAE_STEPS = 5_000, 10, 9, 540
BAR = 3.2  # per cent, set before any of it was measured so

CLAIM = Claim(
    number=6,
    title="Unlabelled data helps through a generative model",
    statement="With few labels, images without any make a classifier better by way of a model of p(x): EM fills the "
    "missing classes in, or codes that were learnt without labels leave less to learn. Labels make up for it as they "
    "become many; then unlabelled images may even hurt a model whose assumptions are wrong.",
    source="Nigam et al. 2000, Text Classification from Labeled and Unlabeled Documents Using EM; Kingma et al. 2014, "
    "Semi-supervised Learning with Deep Generative Models; Cozman & Cohen 2002, Unlabeled Data Can Degrade "
    "Classification Performance of Generative Classifiers",
    protocol="MNIST, 60,000 training images, of which 100 or 1,000 have their label, equally many a class; no label "
    "beyond these chooses anything in a run. Each method learns from the labelled images alone, and from others as "
    "well. The labels are drawn anew for each seed, of which logistic regression and the LeNet have ten, the Gaussians "
    f"eight, naive Bayes five and M2 three; of 1,000 labels, for naive Bayes and the LeNet, {MANY_DRAWS}. Naive Bayes "
    "of binary pixels: estimates from the labelled images, and EM with the other classes hidden (at most 15 passes). "
    f"One Gaussian a class on 30 principal components (added variance 0.06), on {EM_IMAGES['mnist']:,} of the images: "
    "the same (at most 10 passes), from the classes of the nearest labelled images. Logistic regression on pixels, and "
    "on the codes of a variational autoencoder of 50 latents that saw all images without labels for 4 epochs, another "
    f"one for each draw of labels. A LeNet ({STEPS['mnist'][1]:,} steps of {BATCH} images, shifted by up to {SHIFT} "
    f"pixels) taught by the labelled images; and by {SPREAD:,} others as well, whose classes come in two rounds: "
    "labels spread over the graph of the ten nearest neighbours in the codes of the same autoencoder, and the most "
    f"certain {CERTAIN:.0%} of each class teach a first LeNet ({STEPS['mnist'][0]} steps); labels spread anew over "
    "that of its features, and all teach the second. Kingma's M2, a conditional VAE of 8 latents with a network "
    f"q(y | x) that classifies, with 100 labels and {VAE_IMAGES:,} images in all, as each unlabelled one costs ten, "
    f"for {VAE_EPOCHS} epochs; labelled images come {VAE_REPEAT} times an epoch, and classification weighs 50 each "
    "time: 500 a label, a hundred times the paper's weight, which is a tenth of the number of images shared among the "
    "labels, 5 here; alone, about as many steps on its labelled images; so short a training of it is told and judges "
    "nothing. Accuracy on the 10,000 test images, whose sampling error, that of a difference image by image, is in the "
    "intervals. Epochs, steps, latents, neighbours, numbers of images and M2's weight were chosen by the classes of "
    f"training images, M2's with 2,000 of them; but M2's epochs and the {EM_IMAGES['mnist']:,} images of Gaussians "
    "were cut for time. That a LeNet taught by spread labels should err on at most "
    f"{BAR:g} % of the test images was fixed beforehand.",
    discussion="Whether EM helps depends on whether the groups that raise the likelihood are classes. A Gaussian of "
    "full covariance finds digits. Naive Bayes, to which pixels are independent, explains more by slant and by the "
    "width of strokes, and tens of thousands of images without a label outweigh a hundred with one: it loses even "
    "where labels are few, unlike in texts, whose words are closer to independent. Codes of fifty latents are no "
    "better for a linear classifier than pixels are: the VAE was not asked to make classes linear in them, and what "
    "helps is that neighbours in them are of one class, which the spreading of labels uses. M2 loses six points by "
    "them, where its paper reports an error of 12 %: nine passes over 5,000 images are a small part of what it was "
    "given there. With the paper's own weight so few passes lose the classes: after twelve over 2,000 images, 33 % of "
    "held-out training images were right. With 250 times that weight, 77 % were right after eight. As long as the "
    "decoder does not need the class, the bound of an unlabelled image pulls q(y | x) towards any partition that is "
    "easy to learn, which is likely, and was not tested. Labels that spread are right for the most part: of one "
    "draw's, 97 % of those that were certain after the first time, and 97 % of all after the second. Which images have "
    "the labels decides much: the LeNet errs on 2.2 to 3.5 % of the test images, by the draw.",
    version=4,
)


def cases(suite: str) -> list[Case]:
    data = "digits" if suite == "quick" else "mnist"
    few, many = LABELS[data]
    faster = 40 if suite == "quick" else 1
    found = []
    for method, (_, *seconds, draws) in METHODS.items():
        asked = [(few, draw) for draw in range(draws[suite == "quick"])]
        asked += [(many, draw) for draw in range(MANY_DRAWS)] if method in MANY else []
        for (n, seed), (unlabelled, cost) in itertools.product(asked, zip((True, False), seconds, strict=True)):
            first = method == "logistic" and unlabelled  # to ask for this draw's autoencoder
            parameters = {"data": data, "method": method, "labels": n, "unlabelled": unlabelled, "seed": seed}
            found.append(Case(parameters, cost / faster + AUTOENCODER[data] * first))
    return found


def autoencoder(lab: Lab, data: str, seed: int) -> Model:
    """A variational autoencoder of all training images, that never sees a label."""
    return lab.train("model=vae", f"data={data}", f"seed={seed}", "data.val_size=0", *CODES[data])


def measure(case: Mapping[str, Any], lab: Lab) -> dict[str, Any]:
    """See ``answered``: of a classifier that learns from labelled images alone, or also from others."""
    data, method, unlabelled, seed = case["data"], case["method"], case["unlabelled"], case["seed"]
    options = {"m2": {"train_size": VAE_IMAGES, "repeat": VAE_REPEAT}, "gmm": {"train_size": EM_IMAGES[data]}}
    splits = lab.splits(data, labels=case["labels"], split_seed=seed, **options.get(method, {}))
    train = splits.train if unlabelled else splits.train.labelled()
    if method == "logistic":
        guessed = guessed_linearly(autoencoder(lab, data, seed) if unlabelled else None, splits)
    else:
        guessed = classify(_learnt(case, train, splits.spec, lab), splits.test.x()).argmax(1)
    return answered(guessed, splits.test.labels)


def _learnt(case: Mapping[str, Any], train: Split, spec: DataSpec, lab: Lab) -> Model:
    """The classifier of a case."""
    data, method, unlabelled, seed = case["data"], case["method"], case["unlabelled"], case["seed"]
    if method == "lenet":
        train = spread_twice(lab, data, train, seed) if unlabelled else train
        return taught(train, spec, seed, STEPS[data][1], BATCH, Augment(shift=SHIFT))
    words = [f"model={method}", f"data={data}", f"seed={seed}", *WORDS[method]]
    if method == "m2":
        words.append(f"trainer.max_epochs={VAE_EPOCHS if unlabelled else VAE_STEPS // -(-len(train) // 100)}")
    return lab.fit(*words, train=train)


def spread_twice(lab: Lab, data: str, train: Split, seed: int) -> Split:
    """Images with classes that a few labels spread to: along codes, then along what a LeNet that these taught sees."""
    model = autoencoder(lab, data, seed)
    guessed = guess(model, train, SPREAD, seed, CERTAIN)
    student = taught(guessed, model.spec, seed, STEPS[data][0], BATCH, Augment(shift=SHIFT))
    return guess(student, train, SPREAD, seed)


def guessed_linearly(model: Model | None, splits: Splits) -> Tensor:
    """What logistic regression takes the test images for, ``(N,)``, after the labelled ones: by their codes, or by
    pixels without a model."""
    from sklearn.linear_model import LogisticRegression

    def features(split: Split) -> Tensor:
        x = split.x()
        return x.flatten(1) if model is None else encode(model, x)

    few = splits.train.labelled()
    classifier = LogisticRegression(max_iter=1_000).fit(features(few).numpy(), few.labels.numpy())
    return torch.from_numpy(classifier.predict(features(splits.test).numpy()))


def findings(rows: Sequence[Row]) -> list[Finding]:
    data = rows[0]["data"]
    few, many = LABELS[data]
    name = panels.DATA[data]
    found = [
        compared(f"{method.replace('_', '-')}-few", f"With {few} labels of {name}, {how}.",
                 *_gain(rows, method, few), above=None if method == "m2" else 0)
        for method, how in (
            ("naive_bayes", "EM on unlabelled images, too, makes naive Bayes more accurate"),
            ("gmm", "EM on unlabelled images, too, makes one Gaussian a class more accurate"),
            ("logistic", "logistic regression is more accurate on codes learnt without labels than on pixels"),
            ("lenet", "a LeNet is more accurate if it also learns from images that labels spread to along codes"),
            ("m2", "a conditional VAE and its q(y | x), M2, is more accurate if it also learns from unlabelled images"),
        )
        if select(rows, method=method)
    ]  # fmt: skip
    found += [
        compared("naive-bayes-many", f"With {many:,} labels of {name}, unlabelled images make naive Bayes, whose "
                 "assumption is false, less accurate.", *_gain(rows, "naive_bayes", many), below=0),
        compared("fades", f"Unlabelled images give a LeNet more with {few} labels of {name} than with {many:,}.",
                 *_gain(rows, "lenet", few), *_gain(rows, "lenet", many, -1), above=0),
    ]  # fmt: skip
    if data == "mnist":
        right = select(rows, method="lenet", labels=few, unlabelled=True)
        statement = f"With {few} labels of {name}, a LeNet taught by spread labels errs on at most {BAR:g} % of the "
        found.append(Finding("error", statement + "test images.", [100 * (1 - row["accuracy"]) for row in right], "%",
                             below=BAR, error=paired_error((right, 1)), bounds=(0, 100)))  # fmt: skip
    return found


def _gain(rows: Sequence[Row], method: str, n: int, sign: int = 1) -> list[tuple[list[Row], float]]:
    """What ``compared`` needs of what unlabelled images add to the accuracy."""
    return [(select(rows, method=method, labels=n, unlabelled=which), sign if which else -sign)
            for which in (True, False)]  # fmt: skip


def figures(rows: Sequence[Row]) -> dict[str, Figure]:
    data = rows[0]["data"]
    name, few = panels.DATA[data], LABELS[data][0]
    methods = [method for method in METHODS if select(rows, method=method)]
    figure, axes = panels.panel(f"Error with {few} labels, {name}", "error, % of test images", "",
                                (panels.SIZE[0], 4.2))  # fmt: skip
    errors, colors = {}, []
    for method in methods:
        for unlabelled, words in ((False, "labelled alone"), (True, "and unlabelled")):
            found = values(rows, "accuracy", method=method, labels=few, unlabelled=unlabelled)
            errors[f"{METHODS[method][0]}, {words}"] = [100 * (1 - value) for value in found]
            colors.append(panels.CYCLE[0] if unlabelled else panels.FAINT)
    panels.bars(axes, errors, colors)
    gain, axes = panels.panel(f"What unlabelled images add, {name}", "labels", "gain of accuracy, points")
    axes.set_xscale("log")
    axes.axhline(0, color=panels.INK, linewidth=0.8)
    for index, method in enumerate(methods):
        sizes = sorted({row["labels"] for row in select(rows, method=method)})
        gains = {n: summed(*_gain(rows, method, n))[0] for n in sizes}
        panels.curve(axes, gains, **panels.style(METHODS[method][0], index))
    axes.set_xticks(LABELS[data], [f"{n:,}" for n in LABELS[data]])
    axes.minorticks_off()
    panels.legend(axes)
    return {"error": figure, "gain": gain}
