"""A labelled set of images written by a generator: training data for any program, and for ``data=image_folder``."""

from __future__ import annotations

import gzip
import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from zoo.data.idx import FILES, idx_bytes
from zoo.data.splits import Split
from zoo.errors import ZooError
from zoo.files import new_folder, write_bytes
from zoo.models._model import Model
from zoo.spec import DataSpec
from zoo.tasks.sample_quality import labelled_samples

FORMATS = ("png", "idx")


def augment(model: Model, n: int, out: Path, format: str = "png", seed: int = 0) -> list[Path]:
    """Write ``n`` samples with their classes, of each class in equal numbers, into a new folder.

    Args:
        model: one that can sample a given class.
        n: number of images, at least one a class; the first classes have one more where it does not divide.
        out: the folder, which must not exist yet and appears whole or not at all.
        format: ``"png"``: ``out/<class>/00001.png``, which the source ``image_folder`` reads with the labels of the
            model, or ``"idx"``: ``out/train-images-idx3-ubyte.gz`` and ``out/train-labels-idx1-ubyte.gz``, which
            :func:`zoo.data.idx.read_idx` reads (``idx4`` of more than one channel, ``(n, C, H, W)``).
        seed: the same seed gives the same bytes.

    Returns:
        What was written into ``out``: the folders of the classes in the order of labels, or both files.

    Raises:
        ZooError: a model without classes or that cannot sample, fewer images than classes, a folder that exists or
            cannot be written, images or classes that the format has no room for.
    """
    spec = model.spec
    if format not in FORMATS:
        raise ZooError(f"format={format} is none of {', '.join(FORMATS)}")
    if n < spec.num_classes:
        raise ZooError(f"n={n} leaves some of the {spec.num_classes} classes without an image")
    if format == "png" and spec.shape[0] not in (1, 3):
        raise ZooError(f"a PNG has 1 or 3 channels, not {spec.shape[0]}: format=idx has room for any number")
    if format == "idx" and spec.num_classes > 256:
        raise ZooError(f"an IDX file has room for 256 classes, not {spec.num_classes}: format=png for any number")
    with new_folder(out) as folder:
        samples = labelled_samples(model, n, seed)
        samples = Split(samples.images.cpu(), samples.labels.cpu())
        names = write_folders(samples, spec, folder) if format == "png" else _write_idx(samples, folder)
    return [out / name for name in names]


def folder_names(class_names: Sequence[str]) -> list[str]:
    """Names of folders that any system can have, and that sort in the order of the classes.

    Classes are called as they are where that will do; else what is no letter, digit, ``-`` or ``_`` becomes ``_``, and
    the class's number goes before it.
    """
    safe = [re.sub(r"[^\w-]+", "_", name) for name in class_names]
    distinct = len({name.casefold() for name in safe}) == len(safe)  # also where case does not count
    if distinct and safe == list(class_names) and safe == sorted(safe) and all(safe):
        return safe
    digits = len(str(len(safe) - 1))
    return [f"{label:0{digits}}-{name}" for label, name in enumerate(safe)]


def write_folders(samples: Split, spec: DataSpec, folder: Path) -> list[str]:
    """Write images as ``folder/<class>/00001.png``; the names of the classes' folders, in the order of labels."""
    names = folder_names(spec.class_names)
    digits = max(5, len(str(len(samples))))
    for label, name in enumerate(names):
        (folder / name).mkdir()
        images = samples.images[samples.labels == label].permute(0, 2, 3, 1).numpy()
        for number, pixels in enumerate(images, 1):
            Image.fromarray(pixels[..., 0] if spec.shape[0] == 1 else pixels).save(
                folder / name / f"{number:0{digits}}.png"
            )
    return names


def _write_idx(samples: Split, folder: Path) -> list[str]:
    images = samples.images[:, 0] if samples.images.shape[1] == 1 else samples.images
    names = [FILES[0].replace("idx3", f"idx{images.dim()}"), FILES[1]]
    for name, values in zip(names, (images, samples.labels.byte()), strict=True):
        write_bytes(folder / f"{name}.gz", gzip.compress(idx_bytes(values), compresslevel=6, mtime=0))
    return [f"{name}.gz" for name in names]
