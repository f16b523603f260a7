"""A voice never heard: what recognisers of spoken digits are worth where all speakers are on both sides of a split, and
where one of them is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.data.kinds.sound import Reading
from zoo.data.sources.spoken_digits import SPEAKERS
from zoo.questions.classify import classify
from zoo.textbook import roster
from zoo.textbook.claim import Case, Claim, Finding, Row, answered, differences, select, values
from zoo.textbook.lab import Lab
from zoo.textbook.report import panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SECONDS = {  # of a training
    "naive_bayes": 6, "logistic_regression": 7, "svm": 8, "hmm": 10, "rnn": 60, "cnn": 80,
}  # fmt: skip
WHOLE = ("naive_bayes", "logistic_regression", "svm")  # that take a recording for a picture
SHARED, UNHEARD = "official", "speaker"  # splits
SEEDS = 3  # of the former

CLAIM = Claim(
    number=14,
    title="A voice never heard",
    statement="Where the same speakers are on both sides of a split, any recogniser of spoken digits looks good. Asked "
    "about a voice that it never heard, a hidden Markov model, which tells what follows what, keeps more of its "
    "accuracy than classifiers that take the spectrogram for a picture: naive Bayes, logistic regression and the "
    "support vector machine. A convolutional network that was trained with altered voices stays ahead of it.",
    source="Rabiner 1989, A tutorial on hidden Markov models and selected applications in speech recognition; Jaitly & "
    "Hinton 2013, Vocal tract length perturbation improves speech recognition; Jackson et al. 2018, Free Spoken Digit "
    "Dataset",
    protocol="3,000 recordings of ten digits by six speakers. Each model by its recipe, python train.py model=… "
    "data=spoken_digits data.val_size=0, whose options were chosen by the accuracy on speakers held out of the "
    "training; the last epoch is kept. Heard voices: data.split=official, 2,700 recordings to train on, the first five "
    f"of each digit and speaker, 300 in all, to be told, {SEEDS} seeds. A voice never heard: data.split=speaker, the "
    "2,500 recordings of five speakers to train on, and the 500 of the sixth to be told, once for each of the six, who "
    "are what an interval is over: what may be expected of a seventh. Differences are speaker by speaker.",
    discussion="The network is not ahead: six speakers are too few to part it from the hidden Markov model, which "
    "tells some of them better and others worse. Both are told cepstra, from which the pitch is gone, and what is 50 "
    "decibels below the loudest is all the same to them. That matters more than which of the two it is: with 80 "
    "decibels, where the noise of a speaker's room is heard, a small network lost 4.6 points on speakers held out, and "
    "the hidden Markov model 1.6.",
)


def cases(suite: str) -> list[Case]:
    """None in the quick suite: there is no set of voices that needs no download."""
    if suite == "quick":
        return []
    return [
        Case({"data": "spoken_digits", "model": model, "split": split, "seed": seed}, seconds)
        for model, seconds in SECONDS.items()
        for split, seeds in ((SHARED, SEEDS), (UNHEARD, len(SPEAKERS)))
        for seed in range(seeds)
    ]


def words(model: str, split: str, seed: int) -> tuple[str, ...]:
    """The words of ``train.py``: of an unheard voice, the seed is the speaker's number."""
    own = (f"data.speaker={SPEAKERS[seed]}",) if split == UNHEARD else ()
    return (f"model={model}", "data=spoken_digits", "data.val_size=0", f"data.split={split}", f"seed={seed}", *own)


def measure(case: Mapping[str, Any], lab: Lab) -> dict[str, Any]:
    """See ``answered``."""
    model = lab.train(*words(case["model"], case["split"], case["seed"]))
    of = {"speaker": SPEAKERS[case["seed"]]} if case["split"] == UNHEARD else {}
    reading = Reading.of(model.spec)._asdict() | {"center": model.spec.settings["center"]}
    test = lab.splits("spoken_digits", split=case["split"], **reading, **of).test
    return answered(classify(model, test.x()).argmax(1), test.labels)


def findings(rows: Sequence[Row]) -> list[Finding]:
    def told(model: str, split: str = UNHEARD) -> list[float]:
        return [100 * value for value in values(rows, "accuracy", model=model, split=split)]

    models = [model for model in SECONDS if select(rows, model=model)]
    found = [
        Finding(
            f"{which}-{model}",
            f"Accuracy of {a(model)} on {what}.",
            told(model, split),
            "%",
            bounds=(0, 100),
        )
        for model in models
        for which, split, what in (
            ("heard", SHARED, "voices that it has heard"),
            ("unheard", UNHEARD, "one it has not"),
        )
    ]
    found += [
        Finding(
            f"hmm-{model}",
            f"A voice never heard is told better by a hidden Markov model than by {a(model)}.",
            differences(told("hmm"), told(model)),
            "points",
            above=0,
        )
        for model in WHOLE
    ]
    found.append(
        Finding(
            "network",
            "A voice never heard is told better by a convolutional network than by a hidden Markov model.",
            differences(told("cnn"), told("hmm")),
            "points",
            above=0,
        )
    )
    return found


def a(model: str) -> str:
    """A model in a sentence."""
    name = roster.NAMES[model]
    return {"hmm": "a hidden Markov model", "svm": "an SVM", "rnn": "an RNN", "cnn": "a CNN"}.get(model, name)


def figures(rows: Sequence[Row]) -> dict[str, Figure]:
    found = {}
    for which, split, title in (
        ("heard", SHARED, "voices heard in training"),
        ("unheard", UNHEARD, "a voice never heard"),
    ):
        figure, axes = panels.panel(f"Spoken digits, {title}", "test accuracy (%)", "")
        shown = {
            roster.NAMES[model]: [100 * value for value in values(rows, "accuracy", model=model, split=split)]
            for model in SECONDS
        }
        panels.bars(axes, shown)
        found[which] = figure
    figure, axes = panels.panel("Spoken digits, a voice never heard", "", "test accuracy (%)")
    for index, model in enumerate(SECONDS):
        points = values(rows, "accuracy", model=model, split=UNHEARD)
        axes.plot(range(len(points)), [100 * value for value in points], **panels.style(model, index))
    axes.set_xticks(range(len(SPEAKERS)), SPEAKERS)
    panels.legend(axes)
    found["speakers"] = figure
    return found
