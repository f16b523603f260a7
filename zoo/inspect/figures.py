"""Pictures of what a classifier gets wrong and of what a generative model has learnt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from zoo import capability
from zoo.base.generative import has_classes
from zoo.base.model import Model, evaluating
from zoo.data import kinds
from zoo.data.splits import Split
from zoo.inspect.grids import mosaic
from zoo.metrics.calibration import reliability
from zoo.metrics.classification import confusion_matrix
from zoo.questions.encode import encode
from zoo.questions.sample import sample
from zoo.spec import DataSpec

GROUPS, COMPONENTS = 10, 16  # classes, and components of a class, that are shown at most
SAMPLES = 8  # in a row of samples
TILE = 0.8  # inches an image is wide

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch.utils.tensorboard import SummaryWriter


def write_classifier(
    writer: SummaryWriter, step: int, model: Model, split: Split, log_proba: Tensor, mistakes: int, embeddings: int
) -> None:
    """Confusion matrix, reliability diagram, worst mistakes of a test split, and its codes in TensorBoard's projector.

    Args:
        writer: TensorBoard's writer.
        step: the run's last step.
        model: the classifier.
        split: examples and labels, in the order of ``log_proba``.
        log_proba: log p(y | x), ``(N, K)``.
        mistakes: how many of the most confident errors to show.
        embeddings: how many images to send to the projector; 0 for none. A model that cannot encode sends none.
    """
    spec = model.spec
    writer.add_figure("test/confusion", confusion_figure(log_proba, split.labels, spec.class_names), step)
    writer.add_figure("test/reliability", reliability_figure(log_proba, split.labels), step)
    if mistakes and bool((log_proba.argmax(1) != split.labels).any()):
        figure = mistakes_figure(split, log_proba, spec, mistakes)
        writer.add_figure("test/worst_mistakes", figure, step)
    if embeddings and capability.can(model, "encode"):
        part = split.take(slice(embeddings))
        x = part.x()
        features = encode(model, x)
        images = kinds.find(spec.kind).show(x, spec)
        names = [spec.class_names[label] for label in part.labels.tolist()]
        # the projector colours by class and shows the pictures themselves as points
        writer.add_embedding(features, metadata=names, label_img=images, global_step=step, tag="features")


def _figure(width: float, height: float) -> Figure:
    from matplotlib import rcParams
    from matplotlib.figure import Figure  # not pyplot: no global state, no display

    rcParams["text.parse_math"] = False  # a class may be called $x
    return Figure(figsize=(width, height), layout="constrained", dpi=100)


def confusion_figure(log_proba: Tensor, labels: Tensor, names: tuple[str, ...]) -> Figure:
    """Shares of each true class (rows) by predicted class (columns); counts where ≤ 20 classes."""
    counts = confusion_matrix(log_proba, labels)
    share = (counts / counts.sum(1, keepdim=True).clamp_min(1)).numpy()
    size = 3.5 + 0.45 * min(len(names), 40)
    figure = _figure(size, size)
    axes = figure.add_subplot()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true", title=f"{int(counts.trace())} of {int(counts.sum())} right")
    if len(names) <= 40:
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), names)
    if len(names) <= 20:
        for row, column in np.argwhere(counts.numpy()):
            color = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, str(int(counts[row, column])), ha="center", va="center", fontsize=8, color=color)
    return figure


def reliability_figure(log_proba: Tensor, labels: Tensor) -> Figure:
    """Accuracy against confidence in 15 bins, with the share of images in each bin below."""
    confidence, accuracy, count = (values.numpy() for values in reliability(log_proba, labels))
    edges = np.linspace(0, 1, len(count) + 1)
    figure = _figure(5, 5.5)
    top, bottom = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    top.bar(edges[:-1], np.nan_to_num(accuracy), np.diff(edges), align="edge", color="#4c78a8", edgecolor="white")
    top.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--", label="perfectly calibrated")
    top.plot(confidence, accuracy, "o", color="#f58518", label="mean confidence of the bin")
    top.set(ylabel="accuracy", ylim=(0, 1), title="Reliability on the test split")
    top.legend(loc="upper left", frameon=False)
    bottom.bar(edges[:-1], count / count.sum(), np.diff(edges), align="edge", color="#9ecae9", edgecolor="white")
    bottom.set(xlabel="confidence", ylabel="share", xlim=(0, 1))
    return figure


def mistakes_figure(split: Split, log_proba: Tensor, spec: DataSpec, limit: int) -> Figure:
    """The most confident errors with "true → predicted" and the predicted probability above each picture."""
    confidence, predicted = log_proba.exp().max(1)
    wrong = (predicted != split.labels).nonzero()[:, 0]
    worst = wrong[confidence[wrong].argsort(descending=True, stable=True)][:limit]
    columns = min(6, len(worst))
    rows = -(-len(worst) // columns)
    figure = _figure(2.0 * columns, 2.2 * rows)
    pictures = kinds.find(spec.kind).show(split.take(worst).x(), spec).permute(0, 2, 3, 1).numpy()
    for position, index in enumerate(worst.tolist()):
        axes = figure.add_subplot(rows, columns, position + 1)
        axes.imshow(pictures[position], cmap="gray", vmin=0, vmax=1)
        true, guess = spec.class_names[split.labels[index]], spec.class_names[int(predicted[index])]
        axes.set_title(f"{true}\n→ {guess} {confidence[index]:.0%}", fontsize=9)
        axes.set_axis_off()
    return figure


# Generative models


def generative_figures(model: Model, split: Split) -> dict[str, Figure]:
    """What a model of p(x) has learnt, by name, as far as it can be asked; empty for a classifier.

    ``samples``, the same ones at each call, of each class where there are classes; ``components``: mean images and
    weights of a mixture; ``states``: the most probable state sequence of a few images of ``split``; ``transitions``:
    between these states, a matrix a class. At most 10 classes with 16 components each are shown.
    """

    figures = {}
    with evaluating(model):
        if capability.can(model, "sample"):
            figures["samples"] = samples_figure(model)
        if hasattr(model, "components"):
            means, weights = model.components()
            images = kinds.find(model.spec.kind).show(means.flatten(0, 1), model.spec).unflatten(0, means.shape[:2])
            figures["components"] = components_figure(images, weights, _group_names(model))
        if hasattr(model, "viterbi") and model.spec.kind == "image":  # states are shown beside pixels
            figures["states"] = states_figure(model, split)
        if hasattr(model, "transition_matrix"):
            figures["transitions"] = transitions_figure(model.transition_matrix(), _group_names(model))
    return figures


def _group_names(model: Model) -> tuple[str, ...]:
    """Of the groups that a model has parameters for: its classes, or all images together."""
    return model.spec.class_names if has_classes(model) else ("all images",)


def samples_figure(model: Model, seed: int = 0) -> Figure:
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

    labels = split.labels
    first = [int((labels == label).nonzero()[0, 0]) for label in labels.unique()[:GROUPS]]
    x, labels = split.take(torch.tensor(first)).x(), labels[first]
    device = model.device
    classes = labels.to(device) if has_classes(model) else None
    paths = model.viterbi(x.to(device), classes).cpu()
    states = model.transition_matrix().shape[1]
    colors = torch.from_numpy(
        matplotlib.colormaps["turbo"](paths.numpy() / max(states - 1, 1))[..., :3]
    ).float()  # (B, T, 3)
    height, width = x.shape[2:]
    thickness = max(2, min(height, width) // 7)
    if model.reading.reads == "rows":
        strip = colors[:, :, None].expand(-1, -1, thickness, -1)
    elif model.reading.reads == "columns":
        strip = colors[:, None].expand(-1, thickness, -1, -1)
    else:
        strip = colors.unflatten(1, (height, width))
    strip = strip.permute(0, 3, 1, 2)
    gap = torch.ones_like(strip[:, :, :, :1] if model.reading.reads != "columns" else strip[:, :, :1])
    parts = [x.expand(-1, 3, -1, -1), gap, strip]
    tiles = torch.cat(parts, 2 if model.reading.reads == "columns" else 3)
    columns = min(5, len(tiles))
    missing = -len(tiles) % columns
    tiles = torch.cat([tiles, torch.ones_like(tiles[:1]).expand(missing, -1, -1, -1)])
    names = [model.spec.class_names[label] for label in labels.tolist()] + [""] * missing
    titles = [names[start : start + columns] for start in range(0, len(names), columns)]
    return _grid(tiles.unflatten(0, (-1, columns)), titles=titles, tile=2 * TILE)


def transitions_figure(matrices: Tensor, names: tuple[str, ...]) -> Figure:
    """P(next state = column | state = row), ``(M, S, S)``, a heat map for each of the first ten groups."""
    matrices = matrices[:GROUPS].cpu()
    columns = min(5, len(matrices))
    rows = -(-len(matrices) // columns)
    figure = _figure(2.0 * columns + 1.0, 2.2 * rows + 0.3)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, matrix, name in zip(grid.flat, matrices, names[:GROUPS], strict=False):
        picture = axes.imshow(matrix.numpy(), cmap="Blues", vmin=0, vmax=1)
        axes.set_title(name, fontsize=9)
    figure.colorbar(picture, ax=grid, label="probability", shrink=0.8)
    return figure


def _grid(
    images: Tensor, rows: tuple[str, ...] = (), titles: list[list[str]] | None = None, tile: float = TILE
) -> Figure:
    """Images ``(R, K, C, H, W)`` in [0, 1], ``tile`` inches wide, with a name a row and a title above each.

    It is one picture on one pair of axes, because Matplotlib takes ten milliseconds for each.
    """
    count, _, channels, height, width = images.shape
    gap, top = max(1, width // 14), height // 3 if titles else max(1, height // 14)
    images = images.cpu().expand(-1, -1, 3 if channels == 3 else 1, -1, -1)
    canvas = mosaic(images, gap, top, 1.0).clamp(0, 1)
    scale = tile / width
    margin = 0.12 * max(map(len, rows), default=0) + 0.2
    figure = _figure(max(canvas.shape[1] * scale + margin, 2.0), canvas.shape[0] * scale + 0.2)
    axes = figure.add_subplot()
    axes.imshow(canvas.squeeze(2).numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_frame_on(False)
    axes.set_xticks([])
    middles = [number * (height + top) + top + height / 2 for number in range(count)]
    axes.set_yticks(middles if rows else [], rows, fontsize=9)
    axes.tick_params(length=0)
    for number, names in enumerate(titles or []):
        for column, name in enumerate(names):
            x, y = column * (width + gap) + width / 2, number * (height + top) + top - 1.5
            axes.text(x, y, name, ha="center", va="bottom", fontsize=7)
    return figure
