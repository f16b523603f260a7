"""Gating carries memory: how far back a recurrent network reads, and what that does for its accuracy.

The influence of an early step on the last state of a vanilla network is a product of one Jacobian a step in between,
and fades or explodes with their number (Hochreiter 1991; Bengio et al. 1994). A gate that is open multiplies by one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.base.model import evaluating
from zoo.data.splits import Split
from zoo.metrics.classification import summarize
from zoo.questions.classify import classify
from zoo.textbook.claim import Case, Claim, Finding, Row, differences, sampling_error, select, values
from zoo.textbook.lab import Lab
from zoo.textbook.report import panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zoo.base.model import Model

CELLS = {"vanilla": "vanilla", "gru": "GRU", "lstm": "LSTM"}
GATED = ("gru", "lstm")
TOLD = 14  # points of a curve of reach
FLOOR = 1e-12  # an influence below it, relative to a later one, is told as that
IMAGES = 500  # test images that the reach is averaged over
READINGS = (("rows", 28), ("pixels", 7), ("pixels", 14))  # and the side of the image, from few steps to many
EPOCHS = (12, 12, 16)  # of each reading
SEEDS = (5, 5, 3)  # likewise
SECONDS = {"vanilla": (0.8, 1.3, 4.5), "gru": (2.0, 2.5, 12.0), "lstm": (0.8, 1.1, 3.0)}  # an epoch of each reading
RATES = {"vanilla": (0.004, 0.004, 0.0015), "gru": (0.015, 0.015, 0.015), "lstm": (0.015, 0.015, 0.015)}  # likewise
RECIPE = (
    "model=rnn", "model.hidden_size=32", "model.num_layers=1", "model.bidirectional=false", "model.dropout=0",
    "data.val_size=0", "data.batch_size=32", "data.augment={shift: 0, flip: false, erase: 0.0}",
    "learner.optimizer.weight_decay=0.01", "learner.clip=1.0", "trainer.accelerator=cpu",
)  # fmt: skip
OPEN = ("model.forget_bias=2.0",)  # of the LSTM
TESTED = {"digits": 360, "mnist": 10_000}  # images

CLAIM = Claim(
    number=12,
    title="Gating carries memory",
    statement="A vanilla recurrent network forgets what it read long ago; gated cells, the GRU and the LSTM, carry it. "
    "They classify better where an image is read pixel by pixel, and less so where it is read in a few rows.",
    source="Hochreiter & Schmidhuber 1997, Long Short-Term Memory; Cho et al. 2014, Learning Phrase Representations "
    "using RNN Encoder–Decoder; pixel by pixel as in Le, Jaitly & Hinton 2015, A Simple Way to Initialize Recurrent "
    "Networks of Rectified Linear Units",
    protocol="MNIST; 10,000 training images, drawn anew for each seed: five seeds, and three of 196 pixels; one layer "
    "of 32 units that reads forwards. AdamW with batches of 32, the same epochs for all cells, "
    f"{EPOCHS[0]} of rows and of 49 pixels and {EPOCHS[2]} of 196, the last one kept; learning rates are, for each "
    "cell and number of steps, the better of two by the accuracy of a shorter training on validation images. Rows: 28 "
    "steps of 28 pixels. Pixels: 784 steps are too dear for a CPU, so neighbouring pixels are averaged, to 7×7 and "
    "14×14, and read in 49 and 196 steps of one. Each cell starts as is best known of it: recurrent weights begin "
    "orthogonal, which keeps a vanilla cell's gradients alive, and the LSTM's forget gates begin open, with a bias of "
    "2 (on validation images better after 16 epochs than 1 was after 12). The gated cells have three and four times "
    "the vanilla cell's parameters. Accuracy on the 10,000 test images, whose sampling error is in the intervals. "
    f"Reach: on {IMAGES} of them, the norm of the gradient of the largest logit by the input of each step, as a root "
    "mean square over images; told by its ratio of the first quarter of the steps to the last, in decades: 0 where "
    "nothing is forgotten, -1 where the earliest pixels have a tenth of the influence of the latest, never less than "
    "-12.",
    discussion="With forget gates that begin open the LSTM learns to read 196 pixels in the epochs that a CPU leaves "
    "it; with gates half closed, as torch starts them, it had learned next to nothing in four (the same was found by "
    "Jozefowicz, Zaremba & Sutskever 2015, An Empirical Exploration of Recurrent Network Architectures). Both gated "
    "cells are ahead over rows too, so that a part of their lead says how easily they are trained, and not how far "
    "they remember. The vanilla cell begins orthogonal, which keeps gradients alive from the start: it may lose for "
    "another reason than that they vanish. Longer trainings on a GPU reach 87 % and more over all 784 pixels (Bai, "
    "Kolter & Koltun 2018, table 1).",
    version=4,
)


def shrink(images: Tensor, side: int) -> Tensor:
    """Square images uint8 ``(N, C, H, H)`` with a smaller ``side`` that divides theirs: means of pixels, rounded."""
    if images.shape[3] % side:
        raise ValueError(f"{side} does not divide a side of {images.shape[3]} pixels")
    size = images.shape[3] // side
    return torch.cat([F.avg_pool2d(part.float(), size).round().byte() for part in images.split(4096)])


def reach(model: Model, x: Tensor) -> Tensor:
    """How much the decision feels each step of what was read: ``(steps,)``, in logits per unit of a pixel.

    The norm of the gradient of the largest logit by the input of a step; root mean square over images.

    Args:
        model: a recurrent classifier, asked in eval mode.
        x: images ``(B, C, H, W)`` in [0, 1].
    """
    with evaluating(model), torch.enable_grad():
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(model(x).amax(1).sum(), x)
    return model.reading.of(gradient.double()).square().sum(2).mean(0).sqrt()


def memory(influence: Tensor) -> float:
    """Decades (factors of ten) between the influence of the first and of the last quarter of the steps.

    Args:
        influence: ``(steps,)``, from :func:`reach`; at least 4 steps.

    Returns:
        log10 of the ratio of their root mean squares, -12 at least.
    """
    quarter = len(influence) // 4
    squares = influence.double().square()
    ratio = float((squares[:quarter].mean() / squares[-quarter:].mean()).sqrt())
    return math.log10(max(ratio, FLOOR))


def cases(suite: str) -> list[Case]:
    if suite == "quick":
        return [
            _case("digits", *steps, cell, seed, n=1000, epochs=4, seconds=0.8)
            for steps in READINGS[:2] for cell in CELLS for seed in range(4)
        ]  # fmt: skip
    return [
        _case("mnist", *steps, cell, seed, n=10_000, epochs=epochs, seconds=1 + epochs * SECONDS[cell][place])
        for place, (steps, epochs, seeds) in enumerate(zip(READINGS, EPOCHS, SEEDS, strict=True))
        for cell in CELLS for seed in range(seeds)
    ]  # fmt: skip


def _case(data: str, reads: str, side: int, cell: str, seed: int, n: int, epochs: int, seconds: float) -> Case:
    parameters = {"data": data, "reads": reads, "side": side, "cell": cell, "seed": seed, "n": n, "epochs": epochs}
    return Case(parameters, seconds)


def measure(case: Mapping[str, Any], lab: Lab) -> dict[str, Any]:
    """Test accuracy in [0, 1]; the reach at ``TOLD`` steps or fewer, relative to the last, and :func:`memory`."""
    splits = lab.splits(case["data"], train_size=case["n"], split_seed=case["seed"])
    rate = RATES[case["cell"]][READINGS.index((case["reads"], case["side"]))]
    words = (f"data={case['data']}", f"model.cell={case['cell']}", f"model.reads={case['reads']}",
             f"seed={case['seed']}", f"learner.optimizer.lr={rate}", f"trainer.max_epochs={case['epochs']}",
             *(OPEN if case["cell"] == "lstm" else ()))  # fmt: skip
    train, test = (Split(shrink(split.images, case["side"]), split.labels) for split in (splits.train, splits.test))
    model = lab.fit(*RECIPE, *words, train=train)
    images = test.x()
    influence = reach(model, images[:IMAGES])
    step = -(-len(influence) // TOLD)
    ago = list(range(0, len(influence), step))
    return {
        "accuracy": summarize(classify(model, images), test.labels)["accuracy"],
        "memory": memory(influence),
        "ago": ago,
        "reach": [float(influence[-1 - place] / influence[-1]) for place in ago],
    }


def findings(rows: Sequence[Row]) -> list[Finding]:
    few, *_, many = _readings(rows)
    images = TESTED[rows[0]["data"]]

    def measured(quantity: str, cell: str, reading: tuple[str, int]) -> list[float]:
        return values(rows, quantity, cell=cell, reads=reading[0], side=reading[1])

    found = []
    for cell in GATED:
        name = CELLS[cell]
        # of this cell and of the vanilla one
        longest, shortest = ([measured("accuracy", each, steps) for each in (cell, "vanilla")] for steps in (many, few))
        ahead, before = differences(longest[0], longest[1], 100), differences(shortest[0], shortest[1], 100)
        found += [
            Finding(f"pixels-{cell}", f"Over {_steps(*many)} the {name} is more accurate than the vanilla cell.",
                    ahead, "points", above=0, error=sampling_error(*longest, images=images)),
            Finding(f"rows-{cell}", f"What the {name} is ahead of the vanilla cell over {_steps(*few)}.",
                    before, "points", error=sampling_error(*shortest, images=images)),
            # of seeds that read both
            Finding(f"longer-{cell}", f"The {name} is further ahead over {_steps(*many)} than over {_steps(*few)}.",
                    differences(ahead, before[: len(ahead)]), "points", above=0,
                    error=sampling_error(*longest, *shortest, images=images)),
            Finding(f"memory-{cell}", f"Over {_steps(*many)}, early steps matter more to the {name} than to the "
                    "vanilla cell, relative to late ones.",
                    differences(measured("memory", cell, many), measured("memory", "vanilla", many)), "decades",
                    above=0),
        ]  # fmt: skip
    return found


def figures(rows: Sequence[Row]) -> dict[str, Figure]:
    from matplotlib.ticker import MaxNLocator

    data = panels.DATA[rows[0]["data"]]
    readings = _readings(rows)
    figure, axes = panels.panel(f"Accuracy of recurrent cells, {data}", "", "test accuracy (%)")
    for index, (cell, label) in enumerate(CELLS.items()):
        points = {
            float(place): [100 * value for value in values(rows, "accuracy", cell=cell, reads=reads, side=side)]
            for place, (reads, side) in enumerate(readings)
        }
        panels.curve(axes, points, **panels.style(label, index))
    axes.set_xticks(range(len(readings)), [_steps(*reading) for reading in readings])
    axes.margins(x=0.1, y=0.1)
    panels.legend(axes)
    found = {"accuracy": figure}
    for reads, side in readings:
        steps = _steps(reads, side)
        figure, axes = panels.panel(f"What the decision feels of each step, {steps}, {data}",
                                    f"{reads} ago", "influence, relative to the last step")  # fmt: skip
        for index, (cell, label) in enumerate(CELLS.items()):
            chosen = select(rows, cell=cell, reads=reads, side=side)
            decades = {float(ago): [math.log10(max(row["reach"][place], FLOOR)) for row in chosen]
                       for place, ago in enumerate(chosen[0]["ago"])}  # fmt: skip
            panels.curve(axes, decades, **panels.style(label, index))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(lambda value, _: f"$10^{{{value:.0f}}}$")
        panels.legend(axes)
        found["reach-" + steps.replace(" ", "-")] = figure
    return found


def _readings(rows: Sequence[Row]) -> list[tuple[str, int]]:
    return [(reads, side) for reads, side in READINGS if select(rows, reads=reads, side=side)]


def _steps(reads: str, side: int) -> str:
    return f"{side if reads == 'rows' else side**2} {reads}"
