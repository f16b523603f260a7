"""Which images are strange to a trained model: scores, a threshold that keeps false alarms rare, and how good they are.

A score is a number an image, higher is stranger, made from what a model can be asked:

====================  =========================================================================================
``native``            the model's own
``log_prob``          −log p(x), in nats
``typicality``        \\|−log p(x) − its mean over training images\\|, in nats: too likely is strange, too (Nalisnick et
                      al. 2019, Detecting out-of-distribution inputs using a test for typicality, eq. 5, of one image)
``likelihood_ratio``  log q(x) − log p(x), in nats, for a background density q that sees what all images have in common
                      (Ren et al. 2019, Likelihood ratios for out-of-distribution detection, eq. 3)
``complexity``        −log p(x) − L(x), in nats: how much longer the model's code of the image is than a general one of
                      length L (Serrà et al. 2020, Input complexity and out-of-distribution detection, eq. 3): the one
                      of several that is the shortest for training images, on average
``reconstruction``    squared error of the reconstruction, summed over pixels in [0, 1]
``mahalanobis``       squared distance of features or codes from the nearest class mean, in units of the covariance
                      within classes (Lee et al. 2018, A simple unified framework for detecting out-of-distribution
                      samples, eq. 2, of the last features); it is told the classes of the training images
``max_softmax``, ``entropy``, ``energy``, ``per_token``: see :func:`zoo.anomaly_score`
``p(<class>)``        the log odds of that class, of a model that has been told which one the anomalies are of
``combined``          −log p₁ − log p₂ in nats (Fisher 1925, Statistical methods for research workers, § 21.1), where p
                      is the share of held-out normal images with as high a score: ``typicality`` and ``complexity``
                      of a density, ``energy`` and ``mahalanobis`` of a classifier. What one of the two takes for
                      normal, noise or a blank sheet among it, the other finds strange
====================  =========================================================================================

What a score has to know is fitted to training images, its threshold to validation images: no anomaly is ever seen,
but by the model itself where it has learnt their class. It all holds for rows of tables and for texts, too, but for
``complexity``.
"""

from __future__ import annotations

import lzma
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo import capability
from zoo.base.generative import Density, bayes, has_classes
from zoo.base.likelihoods import binarise
from zoo.base.model import Model
from zoo.data import kinds
from zoo.data.splits import Split, Splits, draw, parted
from zoo.errors import DataError, ZooError, did_you_mean
from zoo.metrics.detection import (
    aupr,
    aupr_interval,
    auroc,
    auroc_interval,
    fpr_at_tpr,
    fpr_interval,
    p_values,
    threshold,
)
from zoo.metrics.likelihood import LEVELS
from zoo.questions.anomaly_score import OF_CLASSES, anomaly_score, anomaly_scores
from zoo.questions.classify import classify
from zoo.questions.encode import encode
from zoo.questions.log_prob import log_prob
from zoo.questions.reconstruct import reconstruct
from zoo.spec import Likelihood

CODE_IMAGES = 1_000  # training images that a code is chosen by, at most
FIT_IMAGES = 5_000  # training images that a score is fitted to, at most
SEED = 0  # of the images that are drawn from a split: the same question has the same answer
CHUNK = 1_024  # images in float32 at a time
MOST_FEATURES = 2_048  # whose covariance so many images tell
RIDGE = 1e-6  # of the mean variance of features, added to each: some features never change
BINARY = ("binary", "binarised")
CODED = (*BINARY, "discrete", "dequantised")  # likelihoods that are, or bound, the length of a code
COMBINED = (("typicality", "complexity"), ("energy", "mahalanobis"))  # the first pair that a model has
NATS_A_BYTE = 8 * math.log(2)
FROM_LIKELIHOOD = {"log_prob", "typicality", "likelihood_ratio", "complexity"}


@dataclass(frozen=True)
class ClassGaussians:
    """A Gaussian a class with a covariance that all share: means ``(K, D)``, and W ``(D, D)`` with Σ⁻¹ = W Wᵀ."""

    means: Tensor
    whiten: Tensor

    def distance(self, features: Tensor) -> Tensor:
        """The squared Mahalanobis distance of ``(N, D)`` from the nearest mean, ``(N,)`` float64."""
        white, means = features.double() @ self.whiten, self.means @ self.whiten
        distances = torch.cdist(white, means, compute_mode="donot_use_mm_for_euclid_dist")  # exact for near ones, too
        return distances.amin(1).square()


def fit_gaussians(features: Tensor, labels: Tensor) -> ClassGaussians:
    """The most likely :class:`ClassGaussians` of ``features`` ``(N, D)`` with ``labels`` ``(N,)``, in float64.

    Classes without an image have no mean. The covariance gets a millionth of its mean variance on its diagonal, so that
    a feature that never changes can be divided by.
    """
    features = features.cpu().double()
    present, index = labels.cpu().unique(return_inverse=True)
    means = torch.zeros(len(present), features.shape[1], dtype=torch.float64).index_add_(0, index, features)
    means /= index.bincount()[:, None]
    centred = features - means[index]
    covariance = centred.T @ centred / len(features)
    ridge = RIDGE * covariance.diagonal().mean().clamp_min(torch.finfo(torch.float64).tiny)
    values, vectors = torch.linalg.eigh(covariance)
    return ClassGaussians(means, vectors * (values.clamp_min(0) + ridge).rsqrt())


def _deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=-15)  # no header, and no checksum
    return packer.compress(data) + packer.flush()


def _lzma(data: bytes) -> bytes:
    # no header; no contexts either, which a few hundred bytes are too short to tell apart
    method = {"id": lzma.FILTER_LZMA1, "dict_size": max(4096, len(data)), "lc": 0, "lp": 0, "pb": 0}
    return lzma.compress(data, lzma.FORMAT_RAW, filters=[method])


CODES: dict[str, Callable[[bytes], bytes]] = {"deflate": _deflate, "lzma": _lzma, "lzma-paeth": _lzma}


def paeth(images: np.ndarray) -> np.ndarray:
    """What PNG's Paeth filter leaves of uint8 images ``(N, C, H, W)``, modulo 256: differences to that neighbour, left,
    above or both, that is nearest to left + above − above left."""
    padded = np.pad(images.astype(np.int16), ((0, 0), (0, 0), (1, 0), (1, 0)))
    left, up, corner = padded[..., 1:, :-1], padded[..., :-1, 1:], padded[..., :-1, :-1]
    to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
    nearest = np.where(to_up <= to_corner, up, corner)
    nearest = np.where((to_left <= to_up) & (to_left <= to_corner), left, nearest)
    return (images - nearest).astype(np.uint8)


def codes(density: Likelihood) -> tuple[str, ...]:
    """General lossless codes of what ``density`` is of: ``deflate`` and ``lzma`` of the 256 levels, and ``lzma-paeth``
    of what PNG's Paeth filter leaves of them; or the former two of binary pixels.

    Raises ``ZooError`` for ``"continuous"`` values: a density of theirs is no code length, in no unit.
    """
    if density.of not in CODED:
        raise ZooError(
            f"a likelihood of {density.of} values is no code length: there is nothing to compare a code with"
        )
    return tuple(code for code in CODES if density.of not in BINARY or not code.endswith("-paeth"))


def code_length(images: Tensor, density: Likelihood, code: str) -> Tensor:
    """The length of each image by one of :func:`codes`, ``(N,)`` float64, in nats.

    Args:
        images: uint8 ``(N, C, H, W)``.
        density: what the likelihood is of that is compared with it; binary pixels are made from the levels, eight to a
            byte.
        code: of those that there are for it.
    """
    if density.of in BINARY:
        x = kinds.find("image").decode(images.cpu())
        on = x > (density.threshold or 0.0) if density.of == "binary" else binarise(x) > 0
        coded = np.packbits(on.flatten(1).numpy(), axis=1)
    else:
        coded = images.cpu().numpy()
        coded = paeth(coded) if code.endswith("-paeth") else coded
    return torch.tensor([len(CODES[code](row.tobytes())) for row in coded], dtype=torch.float64) * NATS_A_BYTE


def shortest_code(images: Tensor, density: Likelihood) -> str:
    """That of :func:`codes` by which images are the shortest on average: the best general model of their kind that
    there is, and so the best estimate of their complexity. Of each image the shortest one would mix codes, and so
    measure images of one kind against others'."""
    return min(codes(density), key=lambda code: float(code_length(images, density, code).mean()))


def score_names(model: Model, background: Model | None = None, target: int | None = None) -> tuple[str, ...]:
    """The scores that a model has; the one first that is to be relied on where nothing is known of anomalies: its own,
    the likelihood ratio where there is a ``background``, −log p(x) of rows of a table, or a token of texts, two
    combined, or else one of a pair. Where it is known that they are of the class ``target``, and the model has learnt
    it, its probability is the first.

    ``mahalanobis`` is left out where codes have more than 2,048 numbers: 5,000 images do not tell their covariance. So
    is what cannot be asked about examples with gaps, where the data has any.

    Raises ``ZooError`` where ``background`` is no density, or one of another kind than the model's.
    """
    names = list(anomaly_scores(model))
    if background is not None:
        _check_background(model, background)
    if "log_prob" in names:
        names.append("typicality")
        if background is not None:
            names.append("likelihood_ratio")
        if model.spec.kind == "image" and hasattr(model, "density") and model.density.of in CODED:
            names.append("complexity")
    whole = model.fills_gaps or not model.spec.missing
    if whole and capability.can(model, "reconstruct"):
        names.append("reconstruction")
    if whole and capability.can(model, "encode"):
        listed = model.spec.values in ("counts", "tokens")  # an example lists what it has: the first term, say
        blank = torch.zeros(1, 1, 1, 1, dtype=torch.long) if listed else torch.zeros(1, *model.spec.shape)
        if encode(model, blank).shape[1] <= MOST_FEATURES:
            names.append("mahalanobis")
    pair = _pair(names)
    best = [
        *([of_class(model, target)] if target is not None and _knows(model, target) else []),
        *(["native"] if "native" in names else []),
        *(["likelihood_ratio"] if "likelihood_ratio" in names else []),
        *(["per_token"] if "per_token" in names else []),  # a long text is unlikely by its length alone
        # a row that is likelier than most is none to look at
        *(["log_prob"] if "log_prob" in names and model.spec.kind == "table" else []),
        *(["combined"] if len(pair) > 1 else pair),
    ]
    return tuple(dict.fromkeys([*best, *names]))


def of_class(model: Model, target: int) -> str:
    """The name of the score that is the probability of a class."""
    return f"p({model.spec.class_names[target]})"


def _knows(model: Model, target: int) -> bool:
    """Whether a model classifies, and has seen the class: p(y) of one that it has not seen is 0."""
    seen = not has_classes(model) or bool(model.log_prior[target] > -math.inf)
    return capability.can(model, "classify") and seen


def _pair(names: Sequence[str]) -> list[str]:
    """The two scores to be combined, or the one of them that there is; none where there is neither."""
    found = [[name for name in pair if name in names] for pair in COMBINED]
    return next((pair for pair in found if pair), [])


def _check_background(model: Model, background: Model) -> None:
    for which, density in (("model", model), ("background", background)):
        if not capability.can(density, "log_prob"):
            raise ZooError(f"a likelihood ratio needs two densities, and the {which} tells no log p(x)")
    if model.spec.shape != background.spec.shape:
        raise ZooError(f"the background was made for images of shape {background.spec.shape}, not {model.spec.shape}")
    if model.density != background.density:
        mine, other = (f"{density.kind}, {density.of}" for density in (model.density, background.density))
        raise ZooError(
            f"the likelihoods of the model ({mine}) and of the background ({other}) are not of the same kind: their "
            "ratio means nothing"
        )


@dataclass(frozen=True)
class Detector:
    """Fitted scores of a model, see :func:`fit`. Called with stored examples ``(N, C, H, W)`` it gives each score by
    name, ``(N,)`` float64 on the CPU, higher is stranger.

    Attributes:
        model: what is asked.
        names: the scores.
        background: the density that ``likelihood_ratio`` compares with.
        typical: mean −log p(x) of training images, in nats (``typicality``).
        code: the general one that is the shortest for training images (``complexity``).
        gaussians: of the training images' features (``mahalanobis``).
        ranked: scores of normal images by name, in ascending order (``combined``).
        target: the class of anomalies, where that is known.
    """

    model: Model
    names: tuple[str, ...]
    background: Model | None = None
    typical: float = math.nan
    code: str = ""
    gaussians: ClassGaussians | None = None
    ranked: Mapping[str, Tensor] = field(default_factory=dict)
    target: int | None = None

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        self.model.spec.check_examples(images.shape[1:])
        parts = [self._scores(chunk) for chunk in images.split(CHUNK)]
        return {name: torch.cat([part[name] for part in parts]) for name in self.names}

    def _scores(self, images: Tensor) -> dict[str, Tensor]:
        x = kinds.find(self.model.spec.kind).decode(images)
        asked = [name for name in dict.fromkeys([*self.names, *self.ranked]) if name != "combined"]
        surprise, log_proba = self._likelihoods(x, {*asked})
        scores = {name: self._score(name, images, x, surprise, log_proba).cpu().double() for name in asked}
        if "combined" in self.names:
            rare = torch.stack([p_values(known, scores[part]) for part, known in self.ranked.items()])
            scores["combined"] = -rare.log().sum(0)
        return scores

    def _likelihoods(self, x: Tensor, asked: set[str]) -> tuple[Tensor, Tensor]:
        """−log p(x), ``(N,)``, and log p(y | x), ``(N, K)``, as far as the scores need them, each worked out once."""
        nothing, model = torch.zeros(0), self.model
        of_classes = {*OF_CLASSES, *([] if self.target is None else [of_class(model, self.target)])}
        of_x, of_y = bool(FROM_LIKELIHOOD & asked), bool(of_classes & asked)
        if of_x and of_y and isinstance(model, Density) and model.answers_at_once:
            seen, observed = capability.given(model, x)
            if observed is None:
                evidence, log_proba = bayes(capability.ask(model, model.log_joint, seen))
                return -evidence.double(), log_proba
        return _surprise(model, x) if of_x else nothing, classify(model, x) if of_y else nothing

    def _score(self, name: str, images: Tensor, x: Tensor, surprise: Tensor, log_proba: Tensor) -> Tensor:
        if name == "log_prob":
            return surprise
        if name == "typicality":
            return (surprise - self.typical).abs()
        if name == "likelihood_ratio":
            assert self.background is not None
            return surprise - _surprise(self.background, x)
        if name == "complexity":
            density = self.model.density
            # a density of numbers in [0, 1] is a code length of levels once it is one of numbers in [0, 255]
            units = math.prod(x.shape[1:]) * math.log(LEVELS - 1) if density.of == "dequantised" else 0.0
            return surprise + units - code_length(images, density, self.code)
        if name == "reconstruction":
            return (reconstruct(self.model, x) - x).square().flatten(1).sum(1)
        if name == "mahalanobis":
            assert self.gaussians is not None
            return self.gaussians.distance(encode(self.model, x).cpu())
        if self.target is not None and name == of_class(self.model, self.target):
            log_proba = log_proba.double()
            others = [label for label in range(log_proba.shape[1]) if label != self.target]
            return log_proba[:, self.target] - log_proba[:, others].logsumexp(1)
        if name in OF_CLASSES:
            return OF_CLASSES[name](log_proba)
        return anomaly_score(self.model, x, name)


def fit(
    model: Model,
    train: Split,
    names: Sequence[str] | None = None,
    background: Model | None = None,
    calibration: Tensor | None = None,
    target: int | None = None,
) -> Detector:
    """Scores of a model, fitted to its training images: at most 5,000 of them, drawn from a fixed seed.

    Args:
        model: any that has an anomaly score.
        train: what the model was trained on, or like it; no anomalies.
        names: the scores that are wanted; all that :func:`score_names` names if left out.
        background: a density of the same kind as the model's, for ``likelihood_ratio``: of less capacity, or trained on
            images whose content was disturbed.
        calibration: stored normal examples that the model was not fitted to, for ``combined``; training examples if
            left out, whose scores are smaller than those of others where the model knows them by heart.
        target: the class of anomalies, where that is known.

    Raises:
        ZooError: a score that the model does not have.
        DataError: no training images, or ones of another shape.
    """
    available = score_names(model, background, target)
    if not available:
        raise ZooError("the model has no anomaly score: it tells neither log p(x), nor classes, nor a score of its own")
    for name in names or ():
        if name not in available:
            hint = "; it needs a background=…" if name == "likelihood_ratio" and "log_prob" in available else ""
            raise ZooError(f"the model has no score {name!r}{hint}; it has {', '.join(available)}")
    names = tuple(names or available)
    if not len(train):
        raise DataError(f"there is no training {kinds.find(train.kind).NOUN} to fit a score to")
    typical, code, gaussians = math.nan, "", None
    parts = _pair(available) if "combined" in names else []
    if "typicality" in (*names, *parts):
        typical = float(Detector(model, ("log_prob",))(draw(train, FIT_IMAGES).images)["log_prob"].mean())
    if "complexity" in (*names, *parts):
        code = shortest_code(draw(train, CODE_IMAGES).images, model.density)
    if "mahalanobis" in (*names, *parts):
        few = draw(train.labelled(), FIT_IMAGES)
        features = torch.cat([encode(model, x).cpu() for x, _ in few.chunks(CHUNK)])
        gaussians = fit_gaussians(features, few.labels)
    ranked = {}
    if parts:
        usual = draw(train, FIT_IMAGES).images if calibration is None else calibration
        scores = Detector(model, tuple(parts), background, typical, code, gaussians)(usual)
        ranked = {name: values.sort().values for name, values in scores.items()}
    return Detector(model, names, background, typical, code, gaussians, ranked, target)


def _surprise(model: Model, x: Tensor) -> Tensor:
    """−log p(x) in nats, ``(N,)`` float64."""
    return -log_prob(model, x).cpu().double()


# What is done with scores


def held_out(splits: Splits, normal: Sequence[str] = ()) -> tuple[Split, Split]:
    """Examples that no parameter of model or score was fitted to, ``(calibration, test)``: validation and test split.

    Where there are no validation examples, one half of the test split, drawn from a fixed seed, takes their place.
    ``normal`` are the classes, by name, of what is normal; all if left out: test examples of others are left out.
    """
    if normal:
        labels = torch.tensor([splits.spec.class_names.index(name) for name in normal])
        kept = torch.isin(splits.test.labels, labels).nonzero()[:, 0]
        splits = replace(splits, test=splits.test.take(kept))
    if len(splits.val):
        return splits.val, splits.test
    test, calibration = parted(splits.test, len(splits.test) // 2, torch.Generator().manual_seed(SEED))
    return calibration, test


def parted_by_class(splits: Splits, name: str) -> tuple[Splits, Split, int]:
    """Splits without the examples of the class of that name, those of the test split, and the class's number.

    Raises ``DataError`` where there is no such class, or no test example of it.
    """
    spec = splits.spec
    if name not in spec.class_names:
        raise DataError(f"anomaly={name} is none of the classes: {did_you_mean(name, spec.class_names, 'classes')}")
    target = spec.class_names.index(name)
    strange = splits.test.take((splits.test.labels == target).nonzero()[:, 0])
    if not len(strange):
        raise DataError(f"anomaly={name}: no test {kinds.find(spec.kind).NOUN} is of that class")
    parts = {part: getattr(splits, part) for part in ("train", "val", "test")}
    normal = {part: split.take((split.labels != target).nonzero()[:, 0]) for part, split in parts.items()}
    return replace(splits, **normal), strange, target


def judge(
    detector: Detector, calibration: Tensor, paths: Sequence[Path], alarm: float = 0.05, **settings: Any
) -> list[dict[str, Any]]:
    """Which examples in a user's files are anomalies, by the first score of a detector.

    Args:
        detector: see :func:`fit`.
        calibration: stored examples that nothing was fitted to, see :func:`held_out`.
        paths: files of the model's kind of data, see :mod:`zoo.data.kinds`.
        alarm: how often a normal example may be called an anomaly, in (0, 1).
        **settings: of the kind, in place of the spec's, such as ``invert="never"`` of pictures.

    Returns:
        A dict an example: ``file``, ``score``, ``threshold``, ``p_value`` and whether it is an ``anomaly``; of a text
        the ``text`` as the model sees it, too.

    Raises:
        DataError: a file cannot be read; it is named.
        ZooError: too few calibration images for so rare an alarm.
    """
    name, spec = detector.names[0], detector.model.spec
    known = detector(calibration)[name]
    limit = threshold(known, alarm)
    names, examples = kinds.find(spec.kind).read(paths, spec, **settings)
    scores = detector(examples)[name]
    judged: list[dict[str, Any]] = [
        {"file": file, "score": score, "threshold": limit, "p_value": p, "anomaly": score > limit}
        for file, score, p in zip(names, scores.tolist(), p_values(known, scores).tolist(), strict=True)
    ]
    if spec.kind == "tokens":
        from zoo.data.kinds import tokens  # slow to import

        return [{**row, "text": text} for row, text in zip(judged, tokens.text_of(examples, spec), strict=True)]
    return judged


def compare(
    detector: Detector, normal: Tensor, strange: Tensor, generator: torch.Generator
) -> dict[str, dict[str, Any]]:
    """How well each score tells one set of images from another, see :mod:`zoo.metrics.detection`.

    Args:
        detector: see :func:`fit`.
        normal: stored test examples of what the model was trained on.
        strange: stored examples of something else.
        generator: of the bootstrap, on the CPU.

    Returns:
        By score: ``auroc``, ``aupr`` and ``fpr95``, and ``auroc_interval`` and so on, their 95 % intervals over images.
    """
    ours, theirs = detector(normal), detector(strange)
    return {
        name: {
            "auroc": auroc(ours[name], theirs[name]),
            "auroc_interval": list(auroc_interval(ours[name], theirs[name])),
            "aupr": aupr(ours[name], theirs[name]),
            "aupr_interval": list(aupr_interval(ours[name], theirs[name], generator)),
            "fpr95": fpr_at_tpr(ours[name], theirs[name]),
            "fpr95_interval": list(fpr_interval(ours[name], theirs[name], generator)),
        }
        for name in detector.names
    }
