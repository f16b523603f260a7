"""Pictures of what a classifier gets wrong and of what a generative model has learnt."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zoo import capability
from zoo.base.generative import has_classes
from zoo.base.model import Model, evaluating
from zoo.data import kinds
from zoo.data.splits import Split
from zoo.inspect.grids import mosaic
from zoo.metrics.binary import cost_curve, log_odds, precision_recall_curve, roc_curve
from zoo.metrics.calibration import frequencies, reliability
from zoo.metrics.classification import confusion_matrix
from zoo.questions.encode import encode
from zoo.questions.sample import sample
from zoo.spec import DataSpec

GROUPS, COMPONENTS = 10, 16  # classes, and components of a class, that are shown at most
SAMPLES = 8  # in a row of samples
STRANGEST = 5  # cells of a row that are shown
MOST_COLUMNS, ACROSS, MOST_CATEGORIES = 20, 4, 6  # of a table: columns, panels side by side, categories that are shown
LEAST_SAMPLES = 1000  # that a distribution is drawn of
TILE = 0.8  # inches an image is wide

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch.utils.tensorboard import SummaryWriter


def classifier_figures(
    log_proba: Tensor, labels: Tensor, metrics: Mapping[str, Any], spec: DataSpec
) -> dict[str, Figure]:
    """What a classifier does on a test split, by name: ``confusion`` and ``reliability``; of two classes also
    ``cost_by_threshold`` and, where both are there, ``roc`` and ``precision_recall``.

    Args:
        log_proba: log p(y | x), ``(N, K)``.
        labels: ``(N,)``.
        metrics: of the same examples, see :class:`zoo.tasks.evaluate.Evaluation`.
        spec: of the data.
    """
    figures = {"confusion": confusion_figure(log_proba, labels, spec.class_names)}
    if "positive" not in metrics:
        return {**figures, "reliability": reliability_figure(log_proba, labels, metrics["ece"])}
    scores, labels = log_odds(log_proba), labels.cpu()
    figures["reliability"] = positive_reliability_figure(scores, labels, metrics)
    figures["cost_by_threshold"] = cost_figure(scores, labels, metrics)
    if "auroc" in metrics:
        figures |= {
            "roc": roc_figure(scores, labels, metrics),
            "precision_recall": precision_recall_figure(scores, labels, metrics),
        }
    return figures


def write_examples(
    writer: SummaryWriter, step: int, model: Model, split: Split, log_proba: Tensor, mistakes: int, embeddings: int
) -> None:
    """Worst mistakes of a test split, and its codes in TensorBoard's projector.

    Args:
        writer: TensorBoard's writer.
        step: the run's last step.
        model: the classifier.
        split: examples and labels, in the order of ``log_proba``.
        log_proba: log p(y | x), ``(N, K)``.
        mistakes: how many of the most confident errors to show: pictures, or the rows of a table as text.
        embeddings: how many images to send to the projector; 0 for none. A model that cannot encode sends none.
    """
    spec = model.spec
    if mistakes and bool((log_proba.argmax(1) != split.labels).any()):
        if spec.kind == "table":
            writer.add_text("test/worst_mistakes", mistakes_table(split, log_proba, spec, mistakes), step)
        else:
            writer.add_figure("test/worst_mistakes", mistakes_figure(split, log_proba, spec, mistakes), step)
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


BLUE, LIGHT, ORANGE, GREY = "#4c78a8", "#9ecae9", "#f58518", "#888888"


def reliability_figure(log_proba: Tensor, labels: Tensor, error: float) -> Figure:
    """Accuracy against confidence in 15 bins, with the share of examples in each bin below; the calibration error is
    in the title."""
    title = f"Reliability: calibration error {error:.4f}"
    return _reliability(reliability(log_proba, labels), "confidence", "accuracy", title)


def positive_reliability_figure(scores: Tensor, labels: Tensor, metrics: Mapping[str, Any]) -> Figure:
    """How often an example is of the positive class against its probability of being so, in 15 bins; Brier's score is
    in the title."""
    name = short(metrics["positive"])
    bins = frequencies(scores.sigmoid(), labels == 1)
    return _reliability(
        bins, f"probability of {name}", f"share of {name}", f"Reliability: Brier {metrics['brier']:.4f}"
    )


def _reliability(bins: tuple[Tensor, Tensor, Tensor], probability: str, share: str, title: str) -> Figure:
    said, true, count = (values.numpy() for values in bins)
    edges = np.linspace(0, 1, len(count) + 1)
    figure = _figure(5, 5.5)
    top, bottom = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    top.bar(edges[:-1], np.nan_to_num(true), np.diff(edges), align="edge", color=BLUE, edgecolor="white")
    top.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--", label="perfectly calibrated")
    top.plot(said, true, "o", color=ORANGE, label=f"mean {probability.split()[0]} of the bin")
    top.set(ylabel=share, ylim=(0, 1), title=title)
    top.legend(loc="upper left", framealpha=0.85, edgecolor="none")
    bottom.bar(edges[:-1], count / count.sum(), np.diff(edges), align="edge", color=LIGHT, edgecolor="white")
    bottom.set(xlabel=probability, ylabel="of all", xlim=(0, 1))
    return figure


# Two classes


def roc_figure(scores: Tensor, labels: Tensor, metrics: Mapping[str, Any]) -> Figure:
    """The share of the positive class that is found against the share of the other one that is mistaken for it, and
    where the chosen threshold is."""
    found, mistaken = (int(((labels == label) & _chosen(scores, metrics)).sum()) for label in (1, 0))
    false, true = roc_curve(scores, labels)
    figure, axes = _square(f"ROC: area {metrics['auroc']:.4f}")
    axes.fill_between(false, true, color=LIGHT, alpha=0.3, linewidth=0)
    axes.plot(false, true, color=BLUE, linewidth=2)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="chance: 0.5")
    at = mistaken / int((labels == 0).sum()), found / int((labels == 1).sum())
    axes.plot(*at, "o", color=ORANGE, markersize=8, label=_threshold(metrics), clip_on=False)
    axes.set(
        xlabel="false positives: share of the others", ylabel=f"true positives: share of {short(metrics['positive'])}"
    )
    axes.legend(loc="lower right", frameon=False)
    return figure


def precision_recall_figure(scores: Tensor, labels: Tensor, metrics: Mapping[str, Any]) -> Figure:
    """How many of those taken for positive are so against how many of the positive ones are found, the share of them
    in all, which is what chance has, and where the chosen threshold is."""
    precision, recall = precision_recall_curve(scores, labels)
    positive, chosen = labels == 1, _chosen(scores, metrics)
    base = float(positive.double().mean())
    figure, axes = _square(f"Precision–recall: average precision {metrics['average_precision']:.4f}")
    # between two scores recall grows at the later one's precision, and average precision is the area
    steps = {"x": np.append(0, recall), "y": np.append(precision[0], precision)}
    axes.fill_between(steps["x"], steps["y"], step="pre", color=LIGHT, alpha=0.3, linewidth=0)
    axes.plot(steps["x"], steps["y"], color=BLUE, linewidth=2, drawstyle="steps-pre")
    axes.axhline(base, color=GREY, linewidth=1, linestyle="--", label=f"base rate: {base:.3g}")
    if bool(chosen.any()):
        both = int((positive & chosen).sum())
        at = both / int(positive.sum()), both / int(chosen.sum())
        axes.plot(
            *at, "o", color=ORANGE, markersize=8, label=f"{_threshold(metrics)}, F1 {metrics['f1']:.3f}", clip_on=False
        )
    name = short(metrics["positive"])
    axes.set(
        xlabel=f"recall: share of {name} that is found", ylabel=f"precision: share of {name} in what is taken for it"
    )
    axes.legend(loc="best", frameon=False)
    return figure


def cost_figure(scores: Tensor, labels: Tensor, metrics: Mapping[str, Any]) -> Figure:
    """What mistakes cost an example, against the threshold, and where the chosen one is."""
    edges, costs = (values.numpy() for values in cost_curve(scores.sigmoid(), labels, metrics["costs"]))
    threshold, cost = metrics["threshold"], metrics["cost"]
    figure = _figure(5.5, 4.5)
    axes = figure.add_subplot()
    axes.stairs(costs, edges, baseline=None, color=BLUE, linewidth=2)
    axes.axvline(threshold, color=ORANGE, linewidth=1)
    axes.plot(threshold, cost, "o", color=ORANGE, markersize=8, label=_threshold(metrics), clip_on=False)
    first, second = metrics["costs"]
    axes.set(
        xlabel=f"threshold of the probability of {short(metrics['positive'])}",
        ylabel=f"cost per example: missed {second:g}, false alarm {first:g}",
        xlim=(0, 1), ylim=(0, 1.05 * float(costs.max()) or 1), title=f"Cost by threshold: {cost:.4f}",
    )  # fmt: skip
    axes.legend(loc="best", frameon=False)
    _bare(axes)
    return figure


def _square(title: str) -> tuple[Figure, Any]:
    figure = _figure(5.2, 5.2)
    axes = figure.add_subplot()
    axes.set(xlim=(0, 1), ylim=(0, 1), title=title, aspect="equal")
    _bare(axes)
    return figure, axes


def _bare(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def _chosen(scores: Tensor, metrics: Mapping[str, Any]) -> Tensor:
    return scores.sigmoid() > metrics["threshold"]


def _threshold(metrics: Mapping[str, Any]) -> str:
    return f"threshold {metrics['threshold']:.3g}"


def short(name: str) -> str:
    """A class's name, in at most 20 characters."""
    return name if len(name) <= 20 else f"{name[:19]}…"


# Mistakes


def _worst(split: Split, log_proba: Tensor, limit: int) -> tuple[Tensor, Tensor, Tensor]:
    """The most confident errors: which examples, what they were taken for, and with what probability."""
    confidence, predicted = log_proba.exp().max(1)
    wrong = (predicted != split.labels).nonzero()[:, 0]
    worst = wrong[confidence[wrong].argsort(descending=True, stable=True)][:limit]
    return worst, predicted[worst], confidence[worst]


def mistakes_figure(split: Split, log_proba: Tensor, spec: DataSpec, limit: int) -> Figure:
    """The most confident errors with "true → predicted" and the predicted probability above each picture."""
    worst, predicted, confidence = _worst(split, log_proba, limit)
    columns = min(6, len(worst))
    rows = -(-len(worst) // columns)
    figure = _figure(2.0 * columns, 2.2 * rows)
    pictures = kinds.find(spec.kind).show(split.take(worst).x(), spec).permute(0, 2, 3, 1).numpy()
    for position, index in enumerate(worst.tolist()):
        axes = figure.add_subplot(rows, columns, position + 1)
        axes.imshow(pictures[position], cmap="gray", vmin=0, vmax=1)
        true, guess = spec.class_names[split.labels[index]], spec.class_names[int(predicted[position])]
        axes.set_title(f"{true}\n→ {guess} {confidence[position]:.0%}", fontsize=9)
        axes.set_axis_off()
    return figure


def mistakes_table(split: Split, log_proba: Tensor, spec: DataSpec, limit: int) -> str:
    """The most confident errors among the rows of a table, in Markdown: what they are, what they were taken for, and
    the cells in which they differ most from the training rows.

    That is in standard deviations: of a number its own, of a category √((1 − f) / f), where f is its share among the
    training rows, for that is how far 1 is from the mean f of such an entry.
    """
    from zoo.data.kinds import table  # which pandas makes slow to import

    worst, predicted, confidence = _worst(split, log_proba, limit)
    rows = split.take(worst)
    mean, std = (torch.tensor(values).double() for values in (spec.mean, spec.std))
    distance = (rows.x().double().flatten(1) - mean) / std
    for places in spec.categories:
        there = rows.x().flatten(1)[:, places] == 1
        share = mean[places].clamp_min(1e-6)
        distance[:, places] = torch.where(there, ((1 - share) / share).sqrt(), 0)
    blocks = [(column.name, places) for column, places in spec.blocks if not column.gaps_of]
    strange = torch.stack([distance[:, places].nan_to_num(0).abs().amax(1) for _, places in blocks], 1)
    shown = strange.topk(min(STRANGEST, len(blocks)), 1)
    cells = table.cells(rows.images, spec)
    lines = ["| true | taken for | probability | most unusual in |", "|---|---|---|---|"]
    for row, (label, guess) in enumerate(zip(rows.labels.tolist(), predicted.tolist(), strict=True)):
        told = [
            f"{blocks[place][0]} {_plain(cells.iat[row, place])} ({far:.1f} sd)"
            for place, far in zip(shown.indices[row].tolist(), shown.values[row].tolist(), strict=True)
            if far > 0
        ]
        line = spec.class_names[label], spec.class_names[guess], f"{confidence[row]:.1%}", ", ".join(told)
        lines.append(f"| {' | '.join(_escaped(cell) for cell in line)} |")
    return "\n".join(lines)


def _plain(cell: Any) -> str:
    return f"= {cell}" if isinstance(cell, str) else f"= {cell:.6g}"


def _escaped(text: str) -> str:
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", text.replace("\n", " "))


# Generative models


def generative_figures(model: Model, split: Split) -> dict[str, Figure]:
    """What a model of p(x) has learnt, by name, as far as it can be asked; empty for a classifier.

    ``samples``, the same ones at each call, of each class where there are classes; ``components``: mean images and
    weights of a mixture; ``states``: the most probable state sequence of a few images of ``split``; ``transitions``:
    between these states, a matrix a class. At most 10 classes with 16 components each are shown. Of a table, in place
    of pictures, ``columns``: how the cells of samples are distributed, and those of ``split``.
    """

    figures = {}
    if model.spec.kind == "table":
        return {"columns": columns_figure(model, split)} if capability.can(model, "sample") else {}
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


def columns_figure(model: Model, split: Split, seed: int = 0) -> Figure:
    """Cells of a split, and as many of samples, always the same: a panel for each of the first 20 columns. Numbers are
    shown from their 1st to their 99th percentile in the split, of categories the six most frequent ones."""
    table = kinds.find("table")
    drawn = sample(model, max(len(split), LEAST_SAMPLES), generator=capability.seeded(model, seed))
    real, made = (table.cells(stored, model.spec) for stored in (split.images, table.encode(drawn)))  # type: ignore
    names = list(real)[:MOST_COLUMNS]
    texts = {column.name for column in model.spec.columns if column.categories}
    rows = -(-len(names) // ACROSS)
    figure = _figure(2.6 * ACROSS, 1.9 * rows + 0.5)
    panels = figure.subplots(rows, ACROSS, squeeze=False).flat
    for axes, name in itertools.zip_longest(panels, names):
        if name is None:
            axes.set_axis_off()
            continue
        cells = [side[name].dropna() for side in (real, made)]
        axes.set_title(textwrap.shorten(str(name), 28, placeholder="…"), fontsize=9)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
        if name in texts:
            _draw_categories(axes, cells)
        elif len(cells[0]):
            bins = np.histogram_bin_edges(cells[0], 20, tuple(np.percentile(cells[0], (1, 99))))
            axes.hist(cells[0], bins, density=True, color=LIGHT)
            axes.hist(cells[1], bins, density=True, histtype="step", color=ORANGE, linewidth=1.5)
            axes.set_yticks([])
    from matplotlib.patches import Patch

    handles = [Patch(color=LIGHT, label="test rows"), Patch(fill=False, edgecolor=ORANGE, label="samples")]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False)
    return figure


def _draw_categories(axes: Any, cells: list[Any]) -> None:
    """Shares of the most frequent categories, in the data and in samples."""
    shares = [side.value_counts(normalize=True) for side in cells]
    shown = list(shares[0].index[:MOST_CATEGORIES])[::-1]
    places = np.arange(len(shown))
    real, made = ([side.get(category, 0.0) for category in shown] for side in shares)
    axes.barh(places, real, 0.8, color=LIGHT)
    axes.barh(places, made, 0.8, fill=False, edgecolor=ORANGE, linewidth=1.2)
    axes.set_yticks(places, [textwrap.shorten(category, 18, placeholder="…") for category in shown])


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
