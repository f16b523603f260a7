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

from zoo.capability import classify, evaluating
from zoo.claims._claim import Case, Claim, Finding, Row, differences, select, values
from zoo.claims._lab import Lab
from zoo.data.splits import Split
from zoo.metrics.classification import summarize
from zoo.report import panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zoo.models._model import Model

CELLS = {"vanilla": "vanilla", "gru": "GRU", "lstm": "LSTM"}
GATED = ("gru", "lstm")
TOLD = 14  # points of a curve of reach
FLOOR = 1e-12  # an influence below it, relative to a later one, is told as that
IMAGES = 500  # test images that the reach is averaged over
SECONDS = {
    ("rows", "vanilla"): 3.0, ("rows", "gru"): 6.0, ("rows", "lstm"): 4.0,
    ("pixels", "vanilla"): 15.0, ("pixels", "gru"): 35.0, ("pixels", "lstm"): 25.0,
}  # fmt: skip
RECIPE = (
    "model=rnn", "model.hidden_size=32", "model.num_layers=1", "model.bidirectional=false", "model.dropout=0",
    "data.val_size=0", "data.batch_size=32", "data.augment={shift: 0, flip: false, erase: 0.0}",
    "learner.optimizer.lr=0.005", "learner.optimizer.weight_decay=0.01", "learner.clip=1.0", "trainer.accelerator=cpu",
)  # fmt: skip

CLAIM = Claim(
    number=12,
    title="Gating carries memory",
    statement="A vanilla recurrent network forgets what it read long ago; gated cells, the GRU and the LSTM, carry it. "
    "They classify better where an image is read pixel by pixel, and less so where it is read in a few rows.",
    source="Hochreiter & Schmidhuber 1997, Long Short-Term Memory; Cho et al. 2014, Learning Phrase Representations "
    "using RNN Encoder–Decoder; pixel by pixel as in Le, Jaitly & Hinton 2015, A Simple Way to Initialize Recurrent "
    "Networks of Rectified Linear Units",
    protocol="MNIST; 10,000 training images, drawn anew for each of three seeds; two epochs of AdamW with batches of "
    "32 and one learning rate for all, chosen on validation images; one layer of 32 units that reads forwards. Rows: "
    "28 steps of 28 pixels. Pixels: 784 steps are too dear for a CPU, so the images are halved by averaging 2×2 "
    "pixels, and read in 196 steps of one pixel. The gated cells have three and four times the vanilla cell's "
    f"parameters. Accuracy on the 10,000 test images. Reach: on {IMAGES} of them, the norm of the gradient of the "
    "largest logit by the input of each step, as a root mean square over images; told by its ratio of the first "
    "quarter of the steps to the last, in decades: 0 where nothing is forgotten, -1 where the earliest pixels have a "
    "tenth of the influence of the latest, never less than -12.",
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
    return model.sequence(gradient.double()).square().sum(2).mean(0).sqrt()


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
            _case("digits", *steps, cell, seed, n=1000, epochs=4, seconds=1.2)
            for steps in (("rows", 28), ("pixels", 7)) for cell in CELLS for seed in range(2)
        ]  # fmt: skip
    return [
        _case("mnist", *steps, cell, seed, n=10_000, epochs=2, seconds=SECONDS[steps[0], cell])
        for steps in (("rows", 28), ("pixels", 14)) for cell in CELLS for seed in range(3)
    ]  # fmt: skip


def _case(data: str, reads: str, side: int, cell: str, seed: int, n: int, epochs: int, seconds: float) -> Case:
    parameters = {"data": data, "reads": reads, "side": side, "cell": cell, "seed": seed, "n": n, "epochs": epochs}
    return Case(parameters, seconds)


def measure(case: Mapping[str, Any], lab: Lab) -> dict[str, Any]:
    """Test accuracy in [0, 1]; the reach at ``TOLD`` steps or fewer, relative to the last, and :func:`memory`."""
    splits = lab.splits(case["data"], train_size=case["n"], split_seed=case["seed"])
    words = (f"data={case['data']}", f"model.cell={case['cell']}", f"model.reads={case['reads']}",
             f"seed={case['seed']}", f"trainer.max_epochs={case['epochs']}")  # fmt: skip
    train = Split(shrink(splits.train.images, case["side"]), splits.train.labels)
    model = lab.fit(*RECIPE, *words, train=train)
    images = shrink(splits.test.images, case["side"]).float() / 255
    influence = reach(model, images[:IMAGES])
    step = -(-len(influence) // TOLD)
    ago = list(range(0, len(influence), step))
    return {
        "accuracy": summarize(classify(model, images), splits.test.labels)["accuracy"],
        "memory": memory(influence),
        "ago": ago,
        "reach": [float(influence[-1 - place] / influence[-1]) for place in ago],
    }


def findings(rows: Sequence[Row]) -> list[Finding]:
    def gap(quantity: str, cell: str, reads: str, scale: float = 1.0) -> list[float]:
        return differences(values(rows, quantity, cell=cell, reads=reads),
                           values(rows, quantity, cell="vanilla", reads=reads), scale)  # fmt: skip

    steps = {reads: _steps(rows, reads) for reads in ("rows", "pixels")}
    found = []
    for cell in GATED:
        name = CELLS[cell]
        pixels, lines = (gap("accuracy", cell, reads, 100) for reads in ("pixels", "rows"))
        found += [
            Finding(f"pixels-{cell}", f"Over {steps['pixels']} pixels the {name} beats the vanilla cell.",
                    pixels, "points", above=0),
            Finding(f"rows-{cell}", f"What the {name} is ahead of the vanilla cell over {steps['rows']} rows.",
                    lines, "points"),
            Finding(f"longer-{cell}", f"The {name} is further ahead over pixels than over rows.",
                    differences(pixels, lines), "points", above=0),
            Finding(f"memory-{cell}", f"Over pixels, early steps matter more to the {name} than to the vanilla cell, "
                    "relative to late ones.", gap("memory", cell, "pixels"), "decades", above=0),
        ]  # fmt: skip
    return found


def figures(rows: Sequence[Row]) -> dict[str, Figure]:
    from matplotlib.ticker import MaxNLocator

    data = panels.DATA[rows[0]["data"]]
    places = [reads for reads in ("rows", "pixels") if select(rows, reads=reads)]
    figure, axes = panels.panel(f"Accuracy of recurrent cells, {data}", "", "test accuracy (%)")
    for index, (cell, label) in enumerate(CELLS.items()):
        points = {float(place): [100 * value for value in values(rows, "accuracy", cell=cell, reads=reads)]
                  for place, reads in enumerate(places)}  # fmt: skip
        panels.curve(axes, points, **panels.style(label, index))
    axes.set_xticks(range(len(places)), [f"{_steps(rows, reads)} {reads}" for reads in places])
    axes.margins(x=0.15, y=0.1)
    panels.legend(axes, loc="lower left")
    found = {"accuracy": figure}
    for reads in places:
        figure, axes = panels.panel(f"What the decision feels of each step, {_steps(rows, reads)} {reads}, {data}",
                                    f"{reads} ago", "influence, relative to the last step")  # fmt: skip
        for index, (cell, label) in enumerate(CELLS.items()):
            chosen = select(rows, cell=cell, reads=reads)
            decades = {float(ago): [math.log10(max(row["reach"][place], FLOOR)) for row in chosen]
                       for place, ago in enumerate(chosen[0]["ago"])}  # fmt: skip
            panels.curve(axes, decades, **panels.style(label, index))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(lambda value, _: f"$10^{{{value:.0f}}}$")
        panels.legend(axes)
        found[f"reach-{reads}"] = figure
    return found


def _steps(rows: Sequence[Row], reads: str) -> int:
    side = select(rows, reads=reads)[0]["side"]
    return side**2 if reads == "pixels" else side
