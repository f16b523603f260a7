"""Convolution pays because of locality: take locality away, and the advantage goes with it.

One fixed rearrangement of pixels for training and test images keeps all that an image tells. To a network that treats
all pixels alike it changes nothing: permute the columns of its first layer, and every output is the same. A convolution
looks at neighbours, and a rearrangement says who they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.data.splits import Split, load_splits
from zoo.questions.classify import classify
from zoo.textbook.claim import Case, Claim, Finding, Row, answered, compared, select, sources, values
from zoo.textbook.lab import Lab
from zoo.textbook.report import panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLOCK = 7  # pixels: side of the blocks that are moved, or shuffled inside
ARRANGEMENTS = {  # from most to least locality
    "image": "the image",
    "blocks": f"{BLOCK}×{BLOCK} blocks\nmoved",
    "within": "shuffled\nin blocks",
    "pixels": "all pixels\npermuted",
}
TRAINING = (  # the same for both
    "data.val_size=0", "data.batch_size=128", "data.augment={shift: 0, flip: false, erase: 0.0}",
    "learner.optimizer.lr=0.01", "learner.optimizer.weight_decay=0.01", "trainer.accelerator=cpu",
)  # fmt: skip
EPOCHS = {"cnn": 12, "mlp": 12}
QUICK_IMAGES, QUICK_EPOCHS, QUICK_SEEDS = 300, 40, 10  # a thousand digits leave little to tell: all are right of 98 %
QUICK_SECONDS = {"cnn": 1.5, "mlp": 0.5}
SEEDS = {"image": 4, "blocks": 3, "within": 3, "pixels": 4}  # most where it is judged
GONE = 0.5  # points: an advantage below it is gone
BETWEEN = ("mnist",)  # where what lies between is measured, too
MODELS = {  # within 3 % of the same number of parameters
    "cnn": ("model=cnn", "model.channels=[16,32,64]", "model.mirror=false"),
    "mlp": ("model=mlp", "model.hidden_sizes=[36,36]", "model.dropout=0"),
}

CLAIM = Claim(
    number=11,
    title="Convolution pays because of locality",
    statement="A convolutional network classifies images better than a fully connected one of the same size. It owes "
    "that to the neighbourhood of pixels: where they are permuted, the same way in all images, its advantage is gone.",
    source="LeCun, Bottou, Bengio & Haffner 1998, Gradient-Based Learning Applied to Document Recognition; permuted "
    "pixels as in Goodfellow et al. 2013, An Empirical Investigation of Catastrophic Forgetting",
    protocol="MNIST and Fashion-MNIST; 10,000 training images, drawn anew for each seed: "
    f"{SEEDS['image']} of the image and of permuted pixels, {SEEDS['within']} of what lies between, which is of MNIST "
    "alone. AdamW, one learning rate for both, no augmentation, no dropout; "
    f"{EPOCHS['cnn']} epochs of the CNN and {EPOCHS['mlp']} of the MLP, the last one kept: with half as many neither "
    "is more accurate on validation images of another draw, and twice as many move the MLP by less than half a point, "
    "up or down. The CNN has 29,178 parameters (16, 32 and 64 maps), the MLP 30,034 (two layers of 36). Each seed "
    "draws a permutation of all pixels, used for all images of training and test, and two milder ones: blocks of "
    f"{BLOCK}×{BLOCK} pixels moved as wholes, and pixels shuffled within each block. Accuracy on the 10,000 test "
    "images, whose sampling error, that of a difference image by image, is in the intervals. The advantage counts as "
    f"gone where it is less than {GONE:g} points. The quick suite has "
    f"{QUICK_EPOCHS} epochs of {QUICK_IMAGES} digits, enlarged to 28×28 pixels.",
    discussion="The CNN's advantage is one of locality: permuted, it falls to where the MLP is or below, and the MLP "
    "is as good as before. A tie is what a network without its assumption would give; that the CNN ends lower on "
    "permuted digits has a likely reason, not tested apart, in pooling, which throws away which of four pixels was "
    "bright, and these are no neighbours any more. On Fashion-MNIST the two are so close that the sampling error of "
    "10,000 test images, which no number of seeds makes smaller, may leave their order open; but who is ahead is not "
    "what is judged.",
    version=3,
)


def order(arrangement: str, height: int, width: int, seed: int, block: int = BLOCK) -> Tensor:
    """Where each pixel of a rearranged image comes from: a permutation of ``height · width``, int64, row by row.

    Args:
        arrangement: ``"image"``, none; ``"blocks"``, whole blocks change places; ``"within"``, pixels change places
            within their block, in each block in another way; ``"pixels"``, all pixels change places.
        height, width: of the image; for blocks, multiples of ``block``.
        seed: draws the permutation.
        block: side of a block, in pixels.
    """
    places = torch.arange(height * width)
    generator = torch.Generator().manual_seed(seed)
    if arrangement == "image":
        return places
    if arrangement == "pixels":
        return places[torch.randperm(len(places), generator=generator)]
    if height % block or width % block:
        raise ValueError(f"blocks of {block}×{block} do not tile {height}×{width} pixels")
    rows, columns = height // block, width // block
    tiles = places.view(rows, block, columns, block).transpose(1, 2).reshape(rows * columns, block * block)
    if arrangement == "blocks":
        tiles = tiles[torch.randperm(len(tiles), generator=generator)]
    elif arrangement == "within":
        tiles = torch.stack([tile[torch.randperm(len(tile), generator=generator)] for tile in tiles])
    else:
        raise ValueError(f"arrangement must be one of {', '.join(ARRANGEMENTS)}, not {arrangement!r}")
    return tiles.view(rows, columns, block, block).transpose(1, 2).flatten()


def rearrange(images: Tensor, places: Tensor) -> Tensor:
    """Images ``(N, C, H, W)`` whose pixels come from ``places``, see :func:`order`; channels stay together."""
    return images.flatten(2)[:, :, places].view_as(images)


def cases(suite: str) -> list[Case]:
    if suite == "quick":
        return [
            _case("digits", model, arrangement, seed, n=QUICK_IMAGES, epochs=QUICK_EPOCHS, seconds=QUICK_SECONDS[model])
            for arrangement in ("image", "pixels") for model in MODELS for seed in range(QUICK_SEEDS)
        ]  # fmt: skip
    return [
        _case(data, model, arrangement, seed, n=10_000, epochs=EPOCHS[model], seconds={"cnn": 13.0, "mlp": 2.5}[model])
        for data in ("mnist", "fashion_mnist") for arrangement in ARRANGEMENTS for model in MODELS
        for seed in range(SEEDS[arrangement])
        if arrangement in ("image", "pixels") or data in BETWEEN
    ]  # fmt: skip


def _case(data: str, model: str, arrangement: str, seed: int, n: int, epochs: int, seconds: float) -> Case:
    return Case({"data": data, "model": model, "arrangement": arrangement, "seed": seed, "n": n, "epochs": epochs},
                seconds)  # fmt: skip


def measure(case: Mapping[str, Any], lab: Lab) -> dict[str, Any]:
    """See ``answered``: of a network trained and tested on rearranged images; and its number of parameters."""
    seed = case["seed"]
    splits = lab.splits(case["data"], train_size=case["n"], split_seed=seed)
    places = order(case["arrangement"], *splits.spec.shape[1:], seed)
    words = (*MODELS[case["model"]], f"data={case['data']}", f"seed={seed}", *TRAINING)
    train, test = (Split(rearrange(split.images, places), split.labels) for split in (splits.train, splits.test))
    model = lab.fit(*words, f"trainer.max_epochs={case['epochs']}", train=train)
    log_proba = classify(model, test.x())
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return answered(log_proba.argmax(1), test.labels) | {"parameters": parameters}


def findings(rows: Sequence[Row]) -> list[Finding]:
    found = []
    for data in sources(rows):
        name = panels.DATA[data]
        asked = {
            (model, arrangement): select(rows, data=data, model=model, arrangement=arrangement)
            for model in MODELS
            for arrangement in ("image", "pixels")
        }
        for key, statement, first, second, threshold in (
            ("images", f"On images of {name} the CNN is more accurate than an MLP of the same size.",
             ("cnn", "image"), ("mlp", "image"), {"above": 0.0}),
            ("cnn-loses", f"Permuting the pixels of {name} costs the CNN accuracy.",
             ("cnn", "image"), ("cnn", "pixels"), {"above": 0.0}),
            ("mlp-loses", f"What permuting the pixels of {name} costs the MLP, which cannot tell.",
             ("mlp", "image"), ("mlp", "pixels"), {}),
            ("permuted", f"On permuted pixels of {name} the CNN is ahead of the MLP by less than {GONE:g} points.",
             ("cnn", "pixels"), ("mlp", "pixels"), {"below": GONE}),
        ):  # fmt: skip
            found.append(compared(f"{data}-{key}", statement, (asked[first], 1), (asked[second], -1), **threshold))
    return found


def figures(rows: Sequence[Row]) -> dict[str, Figure]:
    found = {"arrangements": _pictures(_shown(rows))}
    for data in sources(rows):
        shown = _shown(select(rows, data=data))
        figure, axes = panels.panel(f"Accuracy with rearranged pixels, {panels.DATA[data]}", "", "test accuracy (%)")
        for model in MODELS:
            points = {
                float(place): [100 * value for value in values(rows, "accuracy", data=data, model=model,
                                                               arrangement=arrangement)]
                for place, arrangement in enumerate(shown)
            }  # fmt: skip
            panels.curve(axes, points, **panels.style(model))
        axes.set_xticks(range(len(shown)), [ARRANGEMENTS[name] for name in shown], fontsize=8)
        axes.margins(x=0.1, y=0.1)
        panels.legend(axes)
        found[data] = figure
    return found


def _shown(rows: Sequence[Row]) -> list[str]:
    return [name for name in ARRANGEMENTS if select(rows, arrangement=name)]


def _pictures(shown: Sequence[str], count: int = 3) -> Figure:
    """The first digits that are embedded, a row each, in every arrangement, a column each."""
    images = load_splits("digits").test.images[:count]
    columns = [rearrange(images, order(name, images.shape[2], images.shape[3], seed=0)) for name in shown]
    gap = 4
    padded = [torch.nn.functional.pad(column[:, 0], (0, gap, 0, gap), value=255).flatten(0, 1) for column in columns]
    mosaic = torch.cat(padded, 1)[:-gap, :-gap]
    figure, axes = panels.panel("The same digits, their pixels rearranged", "", "")
    axes.imshow(mosaic.numpy(), cmap="gray")
    pitch = images.shape[3] + gap
    centres = [place * pitch + images.shape[3] / 2 for place in range(len(shown))]
    axes.set_xticks(centres, [ARRANGEMENTS[name] for name in shown], fontsize=8)
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure
