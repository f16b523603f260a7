"""Pictures of what a classifier does on a test split, and what all pictures share.

What is shown of examples themselves, and of what a model has learnt of them: :mod:`zoo.inspect.kinds`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zoo.base.model import Model, evaluating
from zoo.data import kinds
from zoo.data.splits import Split, evenly
from zoo.errors import ConfigError
from zoo.files import write_bytes, write_text
from zoo.inspect.grids import png
from zoo.metrics.binary import cost_curve, log_odds, precision_recall_curve, roc_curve
from zoo.metrics.calibration import frequencies, reliability
from zoo.metrics.classification import confusion_matrix
from zoo.questions.encode import encode
from zoo.spec import DataSpec

MOST_TERMS = 2_048  # of a bag that is shown as a code
MOST_CURVES = 20  # of precision by recall: one a class
PROJECTOR = "projector"  # the folder of codes, beside the file by which TensorBoard finds them

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


def write_codes(writer: SummaryWriter, model: Model, split: Split, most: int) -> None:
    """Codes of ``most`` examples of a split, of all its classes, in TensorBoard's projector, coloured by class.

    A bag of many terms is no code of a text, and the projector takes numbers as text: it gets none.
    """
    spec, part = model.spec, split.take(evenly(most, len(split)))
    x = part.x()
    if spec.values == "counts" and encode(model, x[:1]).shape[1] > MOST_TERMS:
        return
    features = encode(model, x)
    images = kinds.find(spec.kind).show(x, spec)
    names = [spec.class_names[label] for label in part.labels.tolist()]
    # the projector shows the pictures themselves as points; the step is only a name here, which the folder has
    writer.add_embedding(features, metadata=names, label_img=images, global_step=PROJECTOR, tag="features")


def write_precision_recall(writer: SummaryWriter, step: int, log_proba: Tensor, labels: Tensor, spec: DataSpec) -> None:
    """Precision by recall of each class against all others, of two classes of the second one, in TensorBoard."""
    labels, probabilities = labels.cpu(), log_proba.exp().cpu()
    for label in [1] if spec.num_classes == 2 else range(min(spec.num_classes, MOST_CURVES)):
        if bool((labels == label).any()):
            writer.add_pr_curve(f"test/{spec.class_names[label]}", labels == label, probabilities[:, label], step)


def check_graph(model: Model) -> None:
    """Raise ``ConfigError`` for a model that has no graph to draw."""
    if not hasattr(model, "log_proba"):
        raise ConfigError(f"logger.graph=true draws what makes logits of an example, and {model.name} makes none")


def write_graph(writer: SummaryWriter, model: Model, split: Split) -> None:
    """The operations that make logits of an example, in TensorBoard; or, as text, why torch cannot follow them."""
    x = split.take(slice(1)).x().to(model.device)
    try:
        with evaluating(model), warnings.catch_warnings(action="ignore"):  # of values that a trace holds fixed
            writer.add_graph(model, x)
    except (RuntimeError, TypeError, ValueError) as error:
        writer.add_text("run/graph", f"torch cannot follow {model.name}: {str(error).strip().splitlines()[0]}")


def blank(width: float, height: float) -> Figure:
    from matplotlib import rcParams
    from matplotlib.figure import Figure  # not pyplot: no global state, no display

    rcParams["text.parse_math"] = False  # a class may be called $x
    return Figure(figsize=(width, height), layout="constrained", dpi=100)


def rendered(figure: Figure) -> Tensor:
    """A figure as a picture, see :mod:`zoo.inspect.grids`: drawn once, however many places show it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return torch.from_numpy(np.array(canvas.buffer_rgba())[..., :3])


def keep(folder: Path, name: str, picture: Tensor | str) -> None:
    """Write ``<name>.png``, or ``<name>.md`` of Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(picture, str):
        write_text(folder / f"{name}.md", f"{picture}\n")
        return
    write_bytes(folder / f"{name}.png", png(picture))


def show(writer: SummaryWriter, name: str, picture: Tensor | str, step: int) -> None:
    """A picture, or Markdown, in TensorBoard."""
    if isinstance(picture, str):
        writer.add_text(name, picture, step)
    else:
        writer.add_image(name, picture, step, dataformats="HWC")


def confusion_figure(log_proba: Tensor, labels: Tensor, names: tuple[str, ...]) -> Figure:
    """Shares of each true class (rows) by predicted class (columns); counts where ≤ 20 classes. Colours are of the root
    of the share: one of a hundred is seen beside a diagonal of nearly all."""
    counts = confusion_matrix(log_proba, labels)
    share = (counts / counts.sum(1, keepdim=True).clamp_min(1)).sqrt().numpy()
    size = 3.5 + 0.45 * min(len(names), 40)
    figure = blank(size, size)
    axes = figure.add_subplot()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true", title=f"{int(counts.trace())} of {int(counts.sum())} right")
    if len(names) <= 40:
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), names)
    if len(names) <= 20:
        for row, column in np.argwhere(counts.numpy()):
            color = "white" if share[row, column] > 0.6 else "black"
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
    figure = blank(5, 5.5)
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
    figure = blank(5.5, 4.5)
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
    figure = blank(5.2, 5.2)
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
