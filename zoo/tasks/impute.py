"""Missing pixels, or parts of recordings: which ones, what a model puts in their place, and how good that is.

The model is asked for random completions, draws from p(hidden | seen), and for the expected image where it can tell it.
Both are compared with the pixels that were hidden, and so is what the model thinks of them, log p(hidden | seen).

References: Rubin (1987), Multiple imputation for nonresponse in surveys; Little & Rubin (2002), Statistical analysis
with missing data.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zoo import capability
from zoo.base.fill import filling
from zoo.base.likelihoods import binarise
from zoo.base.model import Model
from zoo.base.sequence import until_last
from zoo.data import kinds
from zoo.data.kinds import sound
from zoo.data.splits import UNLABELLED
from zoo.errors import ConfigError, DataError, did_you_mean
from zoo.inspect.grids import grid
from zoo.metrics.likelihood import dequantise
from zoo.questions.classify import classify
from zoo.questions.impute import impute
from zoo.questions.log_prob import log_prob
from zoo.spec import DataSpec

MASKS = ("mcar", "block", "half", "left", "right", "top", "bottom")
HALVES = MASKS[3:]
LEVEL = 0.9  # of intervals, as nearly as the number of completions allows
AT_ONCE = 100  # images
NOISE_SEED = 0  # of dequantisation: the same images have the same likelihood
# what is filled in, of what, and in which unit
NOUNS = {"image": ("image", "pixel", "grey value"), "sound": ("recording", "value", "feature")}
HIDDEN = (214, 39, 134)  # the colour of a hidden pixel in a picture: one that photographs seldom have


# Which pixels


def check_mask(kind: str) -> None:
    """Raise ``ConfigError`` for a kind that :func:`observed_mask` does not know."""
    if kind not in MASKS:
        raise ConfigError(f"unknown mask {kind!r}: {did_you_mean(kind, MASKS, 'masks')}")


def hides_half(kind: str) -> bool:
    """Whether masks of a kind hide one half of each image, whatever share is to be hidden."""
    return kind == "half" or kind in HALVES


def observed_mask(
    kind: str,
    n: int,
    size: tuple[int, int],
    missing: float = 0.5,
    generator: torch.Generator | None = None,
    lengths: Tensor | None = None,
) -> Tensor:
    """Which pixels of ``n`` images are seen, bool ``(n, 1, H, W)``: all channels of a pixel are hidden together.

    Args:
        kind: ``"mcar"``: each pixel is hidden with probability ``missing``, by itself (missing completely at random);
            ``"block"``: a rectangle of the image's proportions with that share of its area, anywhere in it;
            ``"left"``, ``"right"``, ``"top"`` or ``"bottom"``: that half; ``"half"``: one of the four for each image.
        n: how many images.
        size: ``(H, W)``.
        missing: share of the pixels to hide, from 0 to 1; of no meaning to halves.
        generator: on the CPU; new masks at each call if left out.
        lengths: of each, ``(n,)``: how many columns it has, W if left out; the left and the right half are those of it.

    Raises:
        ConfigError: an unknown kind, or a share out of range.
    """
    check_mask(kind)
    if not 0 <= missing <= 1:
        raise ConfigError(f"the share of missing pixels is from 0 to 1, not {missing}")
    if generator is None:
        generator = torch.Generator()
        generator.seed()
    height, width = size
    if kind == "mcar":
        return torch.rand(n, 1, height, width, generator=generator) >= missing
    row, column = torch.arange(height)[:, None], torch.arange(width)
    if kind == "block":
        inside = [_interval(place, round(len(place.flatten()) * missing**0.5), n, generator) for place in (row, column)]
        return ~(inside[0] & inside[1])
    ends = torch.full((n,), width) if lengths is None else lengths
    ends = ends[:, None, None]
    halves = torch.stack([
        (side < middle).expand(n, height, width)
        for side, middle in (
            (column, ends // 2), (ends - 1 - column, ends // 2), (row, height // 2), (height - 1 - row, height // 2),
        )
    ])  # fmt: skip
    which = torch.full((n,), HALVES.index(kind)) if kind in HALVES else torch.randint(4, (n,), generator=generator)
    return ~halves[which, torch.arange(n)][:, None]


def mask_of(
    spec: DataSpec, kind: str, stored: Tensor, missing: float = 0.5, generator: torch.Generator | None = None
) -> Tensor:
    """As :func:`observed_mask`, of examples as they are stored. Of a recording, left and right are the beginning and
    the end that it has, top and bottom high and low frequencies."""
    if spec.kind != "sound":
        return observed_mask(kind, len(stored), spec.shape[1:], missing, generator)
    lengths = until_last(~stored.isnan().flatten(1, 2).all(1)).sum(1)
    return observed_mask(kind, len(stored), spec.shape[1:], missing, generator, lengths).flip(2)


def _interval(place: Tensor, length: int, n: int, generator: torch.Generator) -> Tensor:
    """Whether a place lies in an interval that begins anywhere where it fits, ``(n, 1, …)``."""
    start = torch.randint(place.numel() - length + 1, (n, 1, 1, 1), generator=generator)
    return (place >= start) & (place < start + length)


# How good: sums over the hidden values of each image; a value is a pixel's in one channel


def squared_error(guess: Tensor, x: Tensor, observed: Tensor) -> Tensor:
    """The sum of squared errors of ``guess`` over hidden values, ``(B,)``, in squared grey value.

    ``guess`` is ``(B, C, H, W)``, or ``(n, B, C, H, W)`` for the mean over n guesses; ``observed`` bool, broadcastable.
    """
    error = torch.where(observed, 0, guess.double() - x).square()
    return (error if error.dim() == 4 else error.mean(0)).flatten(1).sum(1)


def interval_ranks(n: int, level: float = LEVEL) -> tuple[int, float]:
    """The central interval of ``n`` draws whose level is nearest to ``level``: from the j-th smallest to the j-th
    largest, as j and its level.

    One more draw from the same distribution is equally likely to have each of the n + 1 ranks among them, so that the
    interval holds it with probability 1 − 2 j / (n + 1): exactly 0.9 for 19 draws and j = 1. Raises ``ConfigError``
    for fewer than 2 draws, which have no interval.
    """
    if n < 2:
        raise ConfigError(f"an interval needs 2 completions of each image at least, not {n}")
    rank = min(max(round((1 - level) / 2 * (n + 1)), 1), n // 2)
    return rank, 1 - 2 * rank / (n + 1)


def covered(draws: Tensor, x: Tensor, observed: Tensor, level: float = LEVEL) -> tuple[Tensor, Tensor]:
    """How many hidden values of each image lie in the interval of its draws, and the sum of the intervals' widths.

    Of draws that are exact, the share of covered values is the level of :func:`interval_ranks`; it may be above where
    values are often equal, as those of a black ground are, since the ends belong to the interval. It is far below for
    a network that completes images with what its decoder expects, without the noise of single pixels.

    Args:
        draws: completions ``(n, B, C, H, W)``.
        x: the true images ``(B, C, H, W)``.
        observed: bool, broadcastable to ``x``.
        level: to be approached.

    Returns:
        Two ``(B,)``.
    """
    rank, _ = interval_ranks(len(draws), level)
    ordered = draws.sort(0).values
    low, high = ordered[rank - 1], ordered[-rank]
    inside = (low <= x) & (x <= high) & ~observed
    width = torch.where(observed, 0, (high - low).double())
    return inside.flatten(1).sum(1), width.flatten(1).sum(1)


def hidden_nll(model: Model, images: Tensor, observed: Tensor, generator: torch.Generator) -> Tensor:
    """−log p(hidden | seen) = log p(seen) − log p(x), ``(B,)``, in nats an image, of uint8 ``images`` ``(B, C, H, W)``.

    It is exact where the model's likelihood is, else the difference of two lower bounds, which may lie on either side.
    Grey values are made real numbers by noise from ``generator``, or binary pixels, where the likelihood is of such:
    the same ones in both terms. Raises ``ZooError`` where the model cannot integrate hidden pixels out.
    """
    of = model.density.of
    x = dequantise(images, generator) if of == "dequantised" else kinds.find(model.spec.kind).decode(images)
    x = binarise(x) if of == "binarised" else x
    return log_prob(model, x, observed=observed) - log_prob(model, x)


def nll_of(model: Model) -> str:
    """What −log p(hidden | seen) is, in words."""
    return f"{'exact' if model.density.kind == 'exact' else 'difference of two lower bounds'}, {model.density.of}"


def measure(
    model: Model,
    images: Tensor,
    observed: Tensor,
    n: int = 19,
    seed: int = 0,
    labels: Tensor | None = None,
    classifier: Model | None = None,
) -> dict[str, Any]:
    """How well a model tells what is hidden.

    Args:
        model: one that can impute.
        images: the true ones as they are stored, ``(N, C, H, W)``; what is missing of them is not measured.
        observed: bool, broadcastable to them; False hides a pixel from the model.
        n: completions an image, at least 2.
        seed: of the completions.
        labels: ``(N,)`` int64, the model's; accuracies are told of images that have them, and no ``UNLABELLED``.
        classifier: sees the completed images; it may count the model's classes in another order.

    Returns:
        ``hidden``: the share of hidden values. Root mean squared errors of hidden values, as grey values in [0, 1], or,
        of spectra, in nats: ``rmse_mean`` of the expected image where the model can tell it, ``rmse_draw`` of one
        completion,
        ``rmse_local_mean`` of the mean of the seen pixels around, ``rmse_training_mean`` of the training pixels' mean.
        ``nll``: −log p(hidden | seen) in nats a hidden value, and ``nll_of``, what it is: see :func:`hidden_nll`;
        without them where the model has none.
        ``coverage``: the share of hidden values inside their intervals, the intervals' mean ``width`` in grey value,
        and ``level``: the share that exact draws would give; see :func:`covered`.
        ``accuracy_seen``: of the model itself, from the seen pixels, where it classifies so. Of the classifier:
        ``accuracy_complete`` on the true images, ``accuracy_imputed`` on those that the model has completed (with
        expected values, or a draw where it has none), ``accuracy_local_mean`` and ``accuracy_training_mean`` with these
        means in their place.

    Raises:
        DataError: the images do not fit a model, or no pixel is hidden.
        ZooError: the model cannot impute, or the classifier not classify.
    """
    for asked in (model, *([] if classifier is None else [classifier])):
        asked.spec.check_examples(images.shape[1:], model.spec.kind, asked.name)
    theirs = None
    if classifier is not None and labels is not None:
        theirs = torch.tensor([*classifier.spec.class_numbers(model.spec.class_names), UNLABELLED])[labels]
        if len(theirs) and int(theirs.max()) < 0:
            raise DataError(
                f"no image is of a class that the classifier knows: {', '.join(classifier.spec.class_names)}"
            )
    decode = kinds.find(model.spec.kind).decode
    there = ~decode(images).isnan() if model.spec.missing else torch.ones_like(images, dtype=torch.bool)
    observed = observed | ~there  # which the model is told apart: what is missing is NaN
    if observed.all():
        raise DataError("no pixel is hidden: there is nothing to impute")
    _, level = interval_ranks(n)
    mean = hasattr(model, "conditional_mean")
    likelihood = hasattr(model, "log_prob") and model.marginalises
    seen_classes = (
        labels is not None and int(labels.max()) >= 0 and capability.support(model, "classify_missing") == "native"
    )
    draws_from, noise = capability.seeded(model, seed), torch.Generator().manual_seed(NOISE_SEED)
    means = {"local_mean": "local", "training_mean": "mean"}
    if filling(None, model.spec) == "mean":
        del means["local_mean"]  # of examples that have no neighbours
    parts: dict[str, list[Tensor]] = defaultdict(list)
    for start in range(0, len(images), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        x, seen = decode(images[part]), observed[part]
        draws = impute(model, x, seen, n, draws_from)
        filled = {name: model.fill(x, seen, how) for name, how in means.items()}
        best = impute(model, x, seen, mean=True)[0] if mean else draws[0]
        draws, best = (torch.where(there[part], completed, x) for completed in (draws, best))
        if mean:
            parts["rmse_mean"].append(squared_error(best, x, seen))
        parts["rmse_draw"].append(squared_error(draws, x, seen))
        for name, guess in filled.items():
            parts[f"rmse_{name}"].append(squared_error(guess, x, seen))
        inside, width = covered(draws, x, seen)
        parts["coverage"].append(inside)
        parts["width"].append(width)
        if likelihood:
            parts["nll"].append(hidden_nll(model, images[part], seen, noise))
        if labels is None:
            continue
        if seen_classes:
            parts["accuracy_seen"].append(_right(classify(model, x, seen), labels[part]))
        if classifier is not None and theirs is not None:
            for name, shown in {"complete": x, "imputed": best, **filled}.items():
                parts[f"accuracy_{name}"].append(_right(classify(classifier, shown), theirs[part]))
    hidden = int((~observed).sum())
    sums = {name: float(torch.cat(values).double().sum()) for name, values in parts.items()}
    metrics: dict[str, Any] = {"hidden": hidden / int(there.sum()), "level": level}
    for name, total in sums.items():
        metrics[name] = total / (sum(map(len, parts[name])) if name.startswith("accuracy") else hidden)
        if name.startswith("rmse"):
            metrics[name] **= 0.5
    if likelihood:
        metrics["nll_of"] = nll_of(model)
    return metrics


def _right(log_proba: Tensor, labels: Tensor) -> Tensor:
    """Whether each image that has a label is classified rightly."""
    known = labels != UNLABELLED
    return log_proba.argmax(1).cpu()[known] == labels[known]


def picture(model: Model, images: Tensor, observed: Tensor, seed: int = 0, n: int = 3) -> Tensor:
    """A picture, uint8 ``(H, W, 3)``: the true images in a row, below them what the model saw, with the hidden pixels
    in a colour, and below that ``n`` completions. ``images`` are as they are stored, ``(N, C, H, W)``."""
    rows, seen = completions(model, images, observed, seed, n)
    kind = kinds.find(model.spec.kind)
    shown = kind.show(rows.flatten(0, 1), model.spec).unflatten(0, rows.shape[:2])
    shown = shown if shown.shape[2] == 3 else shown.expand(-1, -1, 3, -1, -1).clone()
    seen = seen[:, :1]
    if model.spec.kind == "sound":  # whose low frequencies are shown at the bottom
        seen = seen.flip(2)
    shown[1] = torch.where(seen, shown[1], torch.tensor(HIDDEN).view(3, 1, 1) / 255)
    return grid(shown, ["original", "seen", *(f"imputed {number + 1}" for number in range(n))])


def completions(model: Model, images: Tensor, observed: Tensor, seed: int = 0, n: int = 3) -> tuple[Tensor, Tensor]:
    """The true examples twice, and ``n`` completions of each, ``(2 + n, N, C, H, W)``; and which values are seen, or
    there are none to be, bool ``(N, C, H, W)``. What is missing of ``images`` stays so."""
    x = kinds.find(model.spec.kind).decode(images)
    seen = observed.expand_as(images)
    drawn = impute(model, x, seen, n, capability.seeded(model, seed))
    return torch.stack([x, x, *torch.where(x.isnan(), x, drawn)]), seen | x.isnan()


def said(model: Model, images: Tensor, observed: Tensor, seed: int = 0) -> bytes:
    """A WAV file in which each recording is heard three times: the true one, what the model heard, in which hidden
    parts are silent, and a completion."""
    rows, seen = completions(model, images, observed, seed, 1)
    mean, std = (torch.tensor(values).view(model.spec.statistics_shape) for values in (model.spec.mean, model.spec.std))
    rows[1] = torch.where(seen, rows[1], mean - sound.REACH * std)
    recordings = sound.heard(rows.transpose(0, 1).flatten(0, 1), model.spec)
    rate = model.spec.settings["rate"]
    return sound.wav(sound.one_by_one(recordings, rate), rate)


def describe(metrics: Mapping[str, Any], n: int, kind: str = "image") -> list[tuple[str, str, str]]:
    """The figures of :func:`measure` for people: rows of a name, a value, and what it is. ``n``: completions; ``kind``:
    of the examples."""
    noun, value, unit = NOUNS[kind]
    grey = f"{unit}, hidden {value}s"
    words: dict[str, tuple[str, str, str]] = {
        "rmse_mean": (f"RMSE of the expected {noun}", ".4f", grey),
        "rmse_draw": ("RMSE of one completion", ".4f", grey),
        "rmse_local_mean": ("RMSE of the local mean", ".4f", grey),
        "rmse_training_mean": ("RMSE of the training mean", ".4f", grey),
        "nll": ("−log p(hidden | seen)", ".4f", f"nats a hidden {value}; {metrics.get('nll_of')}"),
        "coverage": (f"{metrics['level']:.1%} intervals hold", ".1%", f"of hidden {value}s; of {n} completions"),
        "width": ("mean width of intervals", ".4f", grey),
        "accuracy_seen": (f"accuracy from seen {value}s", ".2%", "the model itself"),
        "accuracy_complete": (f"accuracy, true {noun}s", ".2%", "the classifier"),
        "accuracy_imputed": (f"accuracy, completed {noun}s", ".2%", "the classifier"),
        "accuracy_local_mean": ("accuracy, local mean", ".2%", "the classifier"),
        "accuracy_training_mean": ("accuracy, training mean", ".2%", "the classifier"),
    }
    return [(name, format(metrics[key], style), what) for key, (name, style, what) in words.items() if key in metrics]
