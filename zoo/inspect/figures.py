"""Pictures of a classifier's behaviour, for TensorBoard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from zoo import capability
from zoo.data.splits import Split
from zoo.metrics.classification import confusion_matrix, reliability
from zoo.models._model import Model

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch.utils.tensorboard import SummaryWriter


def write_classifier(
    writer: SummaryWriter, step: int, model: Model, split: Split, log_proba: Tensor, mistakes: int, embeddings: int
) -> None:
    """Confusion matrix, reliability diagram, worst mistakes and feature projector of a test split.

    Args:
        writer: TensorBoard's writer.
        step: the run's last step.
        model: the classifier.
        split: uint8 images and labels, in the order of ``log_proba``.
        log_proba: log p(y | x), ``(N, K)``.
        mistakes: how many of the most confident errors to show.
        embeddings: how many images to send to the projector; 0 for none.
    """
    spec = model.spec
    writer.add_figure("test/confusion", confusion_figure(log_proba, split.labels, spec.class_names), step)
    writer.add_figure("test/reliability", reliability_figure(log_proba, split.labels), step)
    if mistakes and bool((log_proba.argmax(1) != split.labels).any()):
        figure = mistakes_figure(split, log_proba, spec.class_names, mistakes)
        writer.add_figure("test/worst_mistakes", figure, step)
    if embeddings:
        part = Split(split.images[:embeddings], split.labels[:embeddings])
        images = part.images.float() / 255
        features = capability.encode(model, images)
        names = [spec.class_names[label] for label in part.labels.tolist()]
        # the projector colours by class and shows the pictures themselves as points
        writer.add_embedding(features, metadata=names, label_img=images, global_step=step, tag="features")


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # not pyplot: no global state, no display

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


def mistakes_figure(split: Split, log_proba: Tensor, names: tuple[str, ...], limit: int) -> Figure:
    """The most confident errors with "true → predicted" and the predicted probability above each picture."""
    confidence, predicted = log_proba.exp().max(1)
    wrong = (predicted != split.labels).nonzero()[:, 0]
    worst = wrong[confidence[wrong].argsort(descending=True, stable=True)][:limit]
    columns = min(6, len(worst))
    rows = -(-len(worst) // columns)
    figure = _figure(2.0 * columns, 2.2 * rows)
    for position, index in enumerate(worst.tolist()):
        axes = figure.add_subplot(rows, columns, position + 1)
        picture = split.images[index].permute(1, 2, 0).squeeze(-1).numpy()
        axes.imshow(picture, cmap="gray" if picture.ndim == 2 else None, vmin=0, vmax=255)
        true, guess = names[split.labels[index]], names[int(predicted[index])]
        axes.set_title(f"{true}\n→ {guess} {confidence[index]:.0%}", fontsize=9)
        axes.set_axis_off()
    return figure
