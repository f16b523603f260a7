"""Classes from a few labels: they spread from image to image along the codes of a model that never saw a label.

Images that are near to each other in the codes of a generative model are mostly of one class. Labels flow over the
graph of nearest neighbours until

    F = (1 − a) S F + a Y,   S = D^(-1/2) W D^(-1/2),

with Y the labels, W the weights of neighbours, D the sums of its rows, and a small. Columns of F are divided by their
sums, so that no class spreads because its labelled images happen to lie well. Whoever learns from the classes that are
guessed like this may be any classifier, and is taught better by those of them that are most certain: they lie where all
paths lead to labels of one class. What it has learnt to see is a better measure of nearness than the codes it began
with, so that labels may spread once more, along its features.

References: Zhou et al. 2004, Learning with local and global consistency. Zhu, Ghahramani & Lafferty 2003,
Semi-supervised learning using Gaussian fields and harmonic functions (class mass normalisation). Kingma et al. 2014,
Semi-supervised learning with deep generative models (codes of an unsupervised model: M1). Iscen et al. 2019, Label
propagation for deep semi-supervised learning (once more along features, weighted by certainty).
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from zoo.base.model import Model
from zoo.data.splits import Split
from zoo.errors import ConfigError, DataError
from zoo.metrics.neighbours import nearest
from zoo.questions.encode import encode

NEIGHBOURS = 10


def guess(model: Model, train: Split, images: int = 20_000, seed: int = 0, certain: float = 1.0) -> Split:
    """Training images with the classes that labels spread to.

    Args:
        model: one that encodes images, a generative one or a classifier; a ``ZooError`` if it cannot.
        train: images, the classes of most of them hidden.
        images: how many of those without a label come in, drawn at random; work grows with their square.
        seed: draws them.
        certain: the share of them that is kept of each class, in (0, 1]: those whose class is most probable.

    Returns:
        The labelled images with their labels, then the others with the most probable class.

    Raises:
        ConfigError: a share that is none, or 0.
    """
    if not 0 < certain <= 1:
        raise ConfigError(f"certain is a share of the images, above 0 and at most 1, not {certain}")
    known, hidden = (train.labels >= 0).nonzero()[:, 0], (train.labels < 0).nonzero()[:, 0]
    order = torch.randperm(len(hidden), generator=torch.Generator().manual_seed(seed))
    part = train.take(torch.cat([known, hidden[order[:images]]]))
    codes = torch.cat([encode(model, x) for x, _ in part.chunks(4096)])
    proba, classes = spread(codes, part.labels, model.spec.num_classes).max(1)
    guessed = replace(part, labels=torch.where(part.labels >= 0, part.labels, classes))
    chosen = [torch.arange(len(known))]
    for label in range(model.spec.num_classes):
        members = len(known) + (classes[len(known) :] == label).nonzero()[:, 0]
        surest = proba[members].argsort(descending=True, stable=True)
        chosen.append(members[surest[: math.ceil(certain * len(members))]])
    return guessed.take(torch.cat([chosen[0], torch.cat(chosen[1:]).sort()[0]]))


def spread(codes: Tensor, labels: Tensor, num_classes: int, neighbours: int = NEIGHBOURS, a: float = 0.01) -> Tensor:
    """p(class) of every image, ``(N, K)``, from the labels of a few.

    The weight of a neighbour at distance d is exp(−4 d²/r²), r being the distance of the farthest of the
    ``neighbours``: either image's counts where both are neighbours of each other.

    Args:
        codes: ``(N, D)``.
        labels: ``(N,)``, negative where a class is hidden.
        num_classes: K.
        neighbours: how many each image is connected with.
        a: how fast labels lose their force, in (0, 1).

    Raises:
        DataError: no label, or no more images than neighbours.
    """
    import numpy as np
    from scipy import sparse
    from scipy.sparse.linalg import cg

    known = labels >= 0
    if not bool(known.any()) or len(codes) <= neighbours:
        raise DataError(f"classes spread from at least one label, among more than {neighbours} images")
    index, squared = nearest(codes, neighbours)
    reach = squared[:, -1:].clamp_min(torch.finfo(squared.dtype).tiny)
    weights = torch.exp(-4 * squared / reach).double().flatten().numpy()
    rows = np.arange(len(codes)).repeat(neighbours)
    graph = sparse.csr_matrix((weights, (rows, index.flatten().numpy())), shape=(len(codes),) * 2)
    graph = graph.maximum(graph.T)
    scale = sparse.diags(np.asarray(graph.sum(1)).ravel() ** -0.5)
    system = (sparse.identity(len(codes)) - (1 - a) * (scale @ graph @ scale)).tocsr()
    columns = torch.zeros(len(codes), num_classes, dtype=torch.float64)
    for label in labels[known].unique().tolist():
        start = a * (labels == label).double().numpy()
        columns[:, label] = torch.from_numpy(cg(system, start, rtol=1e-6)[0]).clamp_min(0)
    frequency = labels[known].bincount(minlength=num_classes)
    columns = columns / columns.sum(0).clamp_min(1e-300) * frequency
    total = columns.sum(1, keepdim=True)  # nothing reaches an image that no path leads to from a label
    return torch.where(total > 0, columns / total.clamp_min(1e-300), frequency / frequency.sum()).to(codes.dtype)
