"""A labelled set written by a generator: training data for any program, of pictures also for ``data=image_folder``."""

from __future__ import annotations

import gzip
from pathlib import Path

from zoo.base.model import Model
from zoo.data import kinds
from zoo.data.idx import FILES, idx_bytes
from zoo.data.splits import Split
from zoo.errors import ZooError
from zoo.files import new_folder, write_bytes
from zoo.tasks.students import labelled_samples


def augment(model: Model, n: int, out: Path, format: str | None = None, seed: int = 0) -> list[Path]:
    """Write ``n`` samples with their classes, of each class in equal numbers, into a new folder.

    Args:
        model: one that can sample a given class.
        n: number of images, at least one a class; the first classes have one more where it does not divide.
        out: the folder, which must not exist yet and appears whole or not at all.
        format: that of the model's kind of data, which is the default: ``"png"``: ``out/<class>/00001.png``, which the
            source ``image_folder`` reads with the labels of the model, or ``"csv"``: ``out/rows.csv``, of texts
            ``out/texts.csv``. Or, of pictures, ``"idx"``: ``out/train-images-idx3-ubyte.gz`` and
            ``out/train-labels-idx1-ubyte.gz``, which :func:`zoo.data.idx.read_idx` reads (``idx4`` of more than one
            channel, ``(n, C, H, W)``).
        seed: the same seed gives the same bytes.

    Returns:
        What was written into ``out``: the folders of the classes in the order of labels, or files.

    Raises:
        ZooError: a model without classes or that cannot sample, fewer images than classes, a folder that exists or
            cannot be written, images or classes that the format has no room for.
    """
    spec = model.spec
    kind = kinds.find(spec.kind)
    formats = (kind.FORMAT, *(["idx"] if spec.kind == "image" else []))
    format = format or kind.FORMAT
    if format not in formats:
        raise ZooError(f"format={format} is none of {', '.join(formats)}")
    if n < spec.num_classes:
        raise ZooError(f"n={n} leaves some of the {spec.num_classes} classes without an image")
    if format == "png" and spec.shape[0] not in (1, 3):
        raise ZooError(f"a PNG has 1 or 3 channels, not {spec.shape[0]}: format=idx has room for any number")
    if format == "idx" and spec.num_classes > 256:
        raise ZooError(f"an IDX file has room for 256 classes, not {spec.num_classes}: format=png for any number")
    with new_folder(out) as folder:
        samples = labelled_samples(model, n, seed)
        samples = samples.to("cpu")
        if format == "idx":
            names = _write_idx(samples, folder)
        else:
            names = kind.write(samples.images, samples.labels, spec, folder)
    return [out / name for name in names]


def _write_idx(samples: Split, folder: Path) -> list[str]:
    images = samples.images[:, 0] if samples.images.shape[1] == 1 else samples.images
    names = [FILES[0].replace("idx3", f"idx{images.dim()}"), FILES[1]]
    for name, values in zip(names, (images, samples.labels.byte()), strict=True):
        write_bytes(folder / f"{name}.gz", gzip.compress(idx_bytes(values), compresslevel=6, mtime=0))
    return [f"{name}.gz" for name in names]
