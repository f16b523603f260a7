"""What samples are compared with: the test images, by the features of a frozen classifier of the same data set.

An :class:`Extractor` is shipped in ``pretrained/features-<data>``, with statistics of the test images by its features,
a :class:`Reference`, which are looked up there, or else computed. What a Fréchet distance is worth is told by its
floor: that of random training images.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor

from zoo import registry
from zoo.base.model import Model, evaluating
from zoo.data import kinds
from zoo.data.splits import Split, Splits
from zoo.errors import ZooError
from zoo.files import PRETRAINED, write_bytes
from zoo.metrics.frechet import frechet_distance, moments
from zoo.metrics.modes import class_shares
from zoo.metrics.neighbours import DENSITY_K, PRECISION_K, nearest_two, radii
from zoo.questions.encode import encode

STATISTICS = "statistics.safetensors"
FLOOR_SEED = 0  # chooses the training images of the floor: every model's distance has the same divisor
NEAREST = 2_000  # images that are compared with all training images, pixel by pixel
CHUNK = 2_000  # images in float32 at a time


@dataclass(frozen=True)
class Extractor:
    """A frozen classifier whose features images are compared by.

    Attributes:
        model: with ``features`` and ``head``.
        digest: the first 12 hex digits of the sha256 of its weights' file.
        folder: where it was released.
    """

    model: Model
    digest: str
    folder: Path

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images ``(N, C, H, W)``, uint8 or float32 in [0, 1], to features ``(N, D)`` and classes ``(N,)`` int64.

        Both on the CPU, wherever the images are.
        """
        # samples of a model are decoded already
        decode = kinds.find(self.model.spec.kind).decode if images.dtype == torch.uint8 else Tensor.float
        parts = [encode(self.model, decode(chunk.cpu())) for chunk in images.split(CHUNK)]
        features = torch.cat(parts)
        with evaluating(self.model):
            return features, self.model.head(features).argmax(1)


def extractor(data_name: str) -> Extractor | None:
    """The extractor of a data set, by the data's name; None where the zoo has none.

    Raises ``CheckpointError`` where it is damaged.
    """
    folder = folder_of(data_name)
    return read_extractor(folder) if folder.is_dir() else None


def folder_of(data_name: str) -> Path:
    """Where the extractor of a data set lies, if it has one."""
    return PRETRAINED / f"features-{data_name}"


def _required(data_name: str) -> Path:
    """The folder of a data set's extractor. Raises ``ZooError`` where there is none."""
    folder = folder_of(data_name)
    if not folder.is_dir():
        raise ZooError(missing(data_name))
    return folder


def required_extractor(data_name: str, splits: Splits) -> Extractor:
    """The data set's. Raises ``ZooError`` where there is none, ``DataError`` where the splits do not fit it."""
    measure = read_extractor(_required(data_name))
    measure.model.spec.check_examples(splits.test.shape, splits.test.kind, f"the extractor of {data_name}")
    return measure


def read_extractor(folder: Path) -> Extractor:
    """The extractor in a folder, see ``scripts/release_features.py``. Raises ``CheckpointError`` if it is damaged."""
    with torch.random.fork_rng(devices=[]):  # building it draws weights, from the stream that belongs to training
        model = registry.load(folder)
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    return Extractor(model, digest[:12], folder)


def missing(data_name: str) -> str:
    """Why there are no figures for a data set without an extractor, in one line."""
    known = sorted(path.name.removeprefix("features-") for path in PRETRAINED.glob("features-*"))
    return (
        f"samples are measured by features, which data={data_name} has none of; there are some for {', '.join(known)}"
    )


@dataclass(frozen=True)
class Reference:
    """Statistics of the test images, and what real images of the training split would be given.

    Attributes:
        mean, covariance: of the features of the test images, ``(D,)`` and ``(D, D)``.
        precision_radii, density_radii: see :func:`zoo.metrics.neighbours.radii`, ``(N,)``.
        shares: of the classes that the test images are taken for, ``(K,)``.
        floor: Fréchet distance of random training images to the test images, ``()``.
        nearest: median distance, in pixel space, of random test images to their nearest training image, ``()``.
    """

    mean: Tensor
    covariance: Tensor
    precision_radii: Tensor
    density_radii: Tensor
    shares: Tensor
    floor: Tensor
    nearest: Tensor


def reference(measure: Extractor, splits: Splits, features: Tensor, predicted: Tensor, n: int, seed: int) -> Reference:
    """The statistics of a data set, those shipped with the extractor if they are of these weights and test images.

    So the floor is the same whichever training images a run has held out; what is nearest is found among its own.

    Args:
        measure: the extractor.
        splits: the real images.
        features, predicted: what ``measure`` says of the test images.
        n: training images that the floor is taken from.
        seed: chooses them.
    """
    path, key = measure.folder / STATISTICS, reference_key(measure, splits, n, seed)
    if kept := read_reference(path, key):
        return kept
    others = read_reference(path, released_key(measure, splits, n)) if seed == FLOOR_SEED else None
    if others is None:
        return compute_reference(measure, splits, features, predicted, n, seed)
    held_out = splits.test.shuffled(NEAREST, torch.Generator().manual_seed(seed))
    return replace(others, nearest=nearest_two(held_out.x(), splits.train.images)[:, 0].median().double())


def compute_reference(
    measure: Extractor, splits: Splits, features: Tensor, predicted: Tensor, n: int, seed: int
) -> Reference:
    """As :func:`reference`, from the images."""
    generator = torch.Generator().manual_seed(seed)
    chosen = splits.train.shuffled(n, generator)
    held_out = splits.test.shuffled(NEAREST, generator)
    mean, covariance = moments(features)
    training = moments(measure(chosen.images)[0])
    distances = nearest_two(held_out.x(), splits.train.images)
    return Reference(
        mean=mean,
        covariance=covariance,
        precision_radii=radii(features, PRECISION_K),
        density_radii=radii(features, DENSITY_K),
        shares=class_shares(predicted, measure.model.spec.num_classes),
        floor=torch.tensor(frechet_distance(training, (mean, covariance)), dtype=torch.float64),
        nearest=distances[:, 0].median().double(),
    )


def write_reference(path: Path, values: Reference, key: dict[str, str]) -> None:
    """Keep statistics in a file, with the ``key`` that says what they are of and a checksum."""
    from safetensors.torch import save

    tensors = {field.name: getattr(values, field.name).contiguous() for field in fields(Reference)}
    write_bytes(path, save(tensors, {**key, "content": _content(tensors)}))


def read_reference(path: Path, key: dict[str, str]) -> Reference | None:
    """The statistics in a file; None where there is none, where it is of something else than ``key``, or damaged.

    What ``key`` leaves out may be anything.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (OSError, SafetensorError):
        return None
    if {field.name for field in fields(Reference)} != set(tensors):
        return None
    wanted = {**key, "content": _content(tensors)}
    return Reference(**tensors) if wanted.items() <= metadata.items() else None


def reference_key(measure: Extractor, splits: Splits, n: int, seed: int) -> dict[str, str]:
    """What statistics depend on."""
    return {**released_key(measure, splits, n), "train": images_digest(splits.train), "seed": str(seed)}


def released_key(measure: Extractor, splits: Splits, n: int) -> dict[str, str]:
    """What statistics that came with the extractor say of themselves, whichever training images a run has held out."""
    return {"features": measure.digest, "test": images_digest(splits.test), "n": str(n), "seed": str(FLOOR_SEED)}


def images_digest(split: Split) -> str:
    return hashlib.sha256(split.images.numpy().tobytes()).hexdigest()


def _content(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()
