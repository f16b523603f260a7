"""Pictures, and whatever else has no module of its own: samples, components and states of a model, worst mistakes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo import capability
from zoo.base.generative import has_classes
from zoo.base.model import Model, evaluating
from zoo.data import kinds
from zoo.data.splits import Split
from zoo.inspect.figures import blank
from zoo.inspect.grids import in_rows, mosaic
from zoo.inspect.kinds import worst
from zoo.questions.sample import sample

GROUPS, COMPONENTS = 10, 16  # classes, and components of a class, that are shown at most
SAMPLES = 8  # in a row of samples
LOOKED_AT = 200  # pictures among which the least likely are looked for
TILE = 0.8  # inches an image is wide

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learnt(model: Model, split: Split) -> dict[str, Figure | str]:
    """What a model of p(x) has learnt, by name, as far as it can be asked; empty for a classifier.

    ``samples``, the same ones at each call, of each class where there are classes; ``components``: mean images and
    weights of a mixture; ``states``: the most probable state sequence of a few images of ``split``; ``transitions``:
    between these states, a matrix a class; ``surprise``: −log p, pixel by pixel, of a few images. At most
    10 classes with 16 components each are shown.
    """
    figures: dict[str, Figure | str] = {}
    with evaluating(model):
        if capability.can(model, "sample"):
            figures["samples"] = samples(model)
        if hasattr(model, "components"):
            means, weights = model.components()
            images = kinds.find(model.spec.kind).show(means.flatten(0, 1), model.spec).unflatten(0, means.shape[:2])
            figures["components"] = components_figure(images, weights, _group_names(model))
        if hasattr(model, "viterbi") and model.spec.kind != "tokens":  # states are shown beside pixels
            figures["states"] = states_figure(model, split)
        if hasattr(model, "surprise"):
            figures["surprise"] = surprise_figure(model, split)
        if hasattr(model, "transition_matrix"):
            figures["transitions"] = transitions_figure(model.transition_matrix(), _group_names(model))
    return figures


def mistakes(model: Model, split: Split, log_proba: Tensor, limit: int) -> Figure:
    """The most confident errors with "true → predicted" and the predicted probability above each picture."""
    spec = model.spec
    wrong, predicted, confidence = worst(split, log_proba, limit)
    names = [
        f"{spec.class_names[split.labels[index]]}\n→ {spec.class_names[int(guess)]} {sure:.0%}"
        for index, guess, sure in zip(wrong.tolist(), predicted, confidence, strict=True)
    ]
    pictures = kinds.find(spec.kind).show(split.take(wrong).x(), spec)
    return _grid(*_in_rows(pictures, names, min(6, len(wrong))), tile=1.6, size=9)


def _group_names(model: Model) -> tuple[str, ...]:
    """Of the groups that a model has parameters for: its classes, or all images together."""
    return model.spec.class_names if has_classes(model) else ("all images",)


def samples(model: Model, seed: int = 0) -> Figure:
    """Eight samples of each of the first ten classes, a row a class; 8 × 8 where there are no classes."""
    names = _group_names(model)[:GROUPS]
    generator = capability.seeded(model, seed)
    if len(names) > 1:
        labels = torch.arange(len(names)).repeat_interleave(SAMPLES)
        x = sample(model, len(labels), labels, generator)
    else:
        x = sample(model, SAMPLES * SAMPLES, generator=generator)
    x = kinds.find(model.spec.kind).show(x, model.spec)
    return _grid(x.unflatten(0, (-1, SAMPLES)), rows=names if len(names) > 1 else ())


def components_figure(images: Tensor, weights: Tensor, names: tuple[str, ...]) -> Figure:
    """Mean images ``(M, K, C, H, W)`` in [0, 1], a row a group, the heaviest first, with weights ``(M, K)`` in %."""
    images, weights = images[:GROUPS].cpu(), weights[:GROUPS].cpu()
    if images.shape[1] == 1:  # there is nothing to weigh
        return _grid(images.transpose(0, 1), titles=[list(names[:GROUPS])])
    order = weights.argsort(dim=1, descending=True, stable=True)[:, :COMPONENTS]
    chosen = torch.stack([group[index] for group, index in zip(images, order, strict=True)])
    titles = [[f"{weight:.1%}" for weight in row] for row in weights.gather(1, order).tolist()]
    return _grid(chosen, rows=names[:GROUPS] if len(images) > 1 else (), titles=titles)


def states_figure(model: Model, split: Split) -> Figure:
    """An image of each of the first ten classes beside its state sequence, a colour a state.

    The colours stand right of the rows or below the columns that a model reads, or are a map of its pixels. Blue
    is the first state, red the last.
    """
    import matplotlib

    first = _one_a_class(split)
    x, labels = split.take(first).x(), split.labels[first]
    pictures = kinds.find(model.spec.kind).show(x, model.spec)
    device = model.device
    classes = labels.to(device) if has_classes(model) else None
    paths = model.viterbi(x.to(device), classes).cpu()
    states = model.transition_matrix().shape[1]
    colors = torch.from_numpy(
        matplotlib.colormaps["turbo"](paths.clamp_min(0).numpy() / max(states - 1, 1))[..., :3]
    ).float()  # (B, T, 3)
    colors[paths < 0] = 1.0  # there is no state behind the end
    height, width = pictures.shape[2:]
    thickness = max(2, min(height, width) // 7)
    if model.reading.reads == "rows":
        strip = colors[:, :, None].expand(-1, -1, thickness, -1)
    elif model.reading.reads == "columns":
        strip = colors[:, None].expand(-1, thickness, -1, -1)
    else:
        strip = colors.unflatten(1, (height, width))
    strip = strip.permute(0, 3, 1, 2)
    gap = torch.ones_like(strip[:, :, :, :1] if model.reading.reads != "columns" else strip[:, :, :1])
    parts = [pictures.expand(-1, 3, -1, -1), gap, strip]
    tiles = torch.cat(parts, 2 if model.reading.reads == "columns" else 3)
    names = [model.spec.class_names[label] for label in labels.tolist()]
    return _grid(*_in_rows(tiles, names, min(5, len(tiles))), tile=2 * TILE)


def surprise_figure(model: Model, split: Split) -> Figure:
    """What surprises a model: −log p of each pixel given those before it, below pictures; brightness is its root.

    They are pictures of ``split``, one a class; the least likely of its first ones; and the former with a part of the
    next one in their middle. Above each map is its sum, −log p of the picture, in nats.
    """
    import matplotlib

    few = _one_a_class(split)
    more = torch.arange(len(split))[~torch.isin(torch.arange(len(split)), few)]
    few = torch.cat([few, more])[:SAMPLES]
    x, looked_at = split.take(few).x(), split.take(slice(LOOKED_AT)).x()
    order = capability.ask(model, model.surprise, looked_at).flatten(1).sum(1).argsort(descending=True)
    inner = [slice(size // 3, size - size // 3) for size in x.shape[2:]]
    changed = x.clone()
    changed[:, :, *inner] = x.roll(-1, 0)[:, :, *inner]
    pictures = torch.cat([x, looked_at[order[: len(x)]], changed])
    each = capability.ask(model, model.surprise, pictures)
    heat = each.sum(1)
    heat = matplotlib.colormaps["inferno"]((heat / heat.amax().clamp_min(1e-9)).clamp_min(0).sqrt().numpy())[..., :3]
    maps = torch.from_numpy(heat).float().permute(0, 3, 1, 2)
    shown = kinds.find(model.spec.kind).show(pictures, model.spec).expand(-1, 3, -1, -1)
    tiles = torch.cat([shown, torch.ones_like(shown[:, :, :1]), maps], 2)  # the map below its picture
    sums = [f"{total:.0f}" for total in each.flatten(1).sum(1).tolist()]
    titles = [sums[at : at + len(x)] for at in range(0, len(sums), len(x))]
    return _grid(tiles.unflatten(0, (-1, len(x))), titles, ("test", "least likely", "a part of another"))


def transitions_figure(matrices: Tensor, names: tuple[str, ...]) -> Figure:
    """P(next state = column | state = row), ``(M, S, S)``, a heat map for each of the first ten groups."""
    matrices = matrices[:GROUPS].cpu()
    columns = min(5, len(matrices))
    rows = -(-len(matrices) // columns)
    figure = blank(2.0 * columns + 1.0, 2.2 * rows + 0.3)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, matrix, name in zip(grid.flat, matrices, names[:GROUPS], strict=False):
        picture = axes.imshow(matrix.numpy(), cmap="Blues", vmin=0, vmax=1)
        axes.set_title(name, fontsize=9)
    figure.colorbar(picture, ax=grid, label="probability", shrink=0.8)
    return figure


def _one_a_class(split: Split) -> Tensor:
    """The first example of each of the first ten classes, ``(N,)``."""
    labels = split.labels
    return torch.tensor([int((labels == label).nonzero()[0, 0]) for label in labels.unique()[:GROUPS]])


def _in_rows(images: Tensor, titles: list[str], columns: int) -> tuple[Tensor, list[list[str]]]:
    """Images ``(N, C, H, W)`` as ``(R, K, C, H, W)``, the last row filled up with white ones, and their titles."""
    titles = titles + [""] * (-len(images) % columns)
    return in_rows(images, columns), [titles[at : at + columns] for at in range(0, len(titles), columns)]


def _grid(
    images: Tensor,
    titles: list[list[str]] | None = None,
    rows: tuple[str, ...] = (),
    tile: float = TILE,
    size: int = 7,
) -> Figure:
    """Images ``(R, K, C, H, W)`` in [0, 1], ``tile`` inches wide, with a title above each, of ``size`` points, and a
    name a row.

    It is one picture on one pair of axes, because Matplotlib takes ten milliseconds for each.
    """
    count, _, channels, height, width = images.shape
    scale = tile / width
    lines = max((title.count("\n") + 1 for row in titles or [] for title in row), default=0)
    gap, top = max(1, width // 14), max(1, height // (3 if titles else 14), math.ceil(lines * 1.5 * size / 72 / scale))
    images = images.cpu().expand(-1, -1, 3 if channels == 3 else 1, -1, -1)
    canvas = mosaic(images, gap, top, 1.0).clamp(0, 1)
    margin = 0.12 * max(map(len, rows), default=0) + 0.2
    figure = blank(max(canvas.shape[1] * scale + margin, 2.0), canvas.shape[0] * scale + 0.2)
    axes = figure.add_subplot()
    axes.imshow(canvas.squeeze(2).numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_frame_on(False)
    axes.set_xticks([])
    middles = [number * (height + top) + top + height / 2 for number in range(count)]
    axes.set_yticks(middles if rows else [], rows, fontsize=9)
    axes.tick_params(length=0)
    for number, names in enumerate(titles or []):
        for column, name in enumerate(names):
            x, y = column * (width + gap) + width / 2, number * (height + top) + top - 0.5 - 0.04 / scale
            axes.text(x, y, name, ha="center", va="bottom", fontsize=size)
    return figure
