"""EMNIST: handwritten digits and letters, 28×28 grey pixels, in six published splits.

===============  =======  =======  ======================================================================
``data.split``     train     test  classes
===============  =======  =======  ======================================================================
``balanced``     112,800   18,800  47: digits, capitals, and the 11 small letters that look unlike theirs
``byclass``      697,932  116,323  62: digits, capitals, small letters
``bymerge``      697,932  116,323  47: those of ``balanced``, as often as they were written
``letters``      124,800   20,800  26: a letter, capital or small
``digits``       240,000   40,000  10
``mnist``         60,000   10,000  10: digits in MNIST's numbers, and not its pictures
===============  =======  =======  ======================================================================

The files hold each picture with rows and columns exchanged; here they are upright. A character was brought to 24 of 28
pixels and centred by its box, MNIST's to 20 and by its mass: a model of one is not one of the other.

See https://www.nist.gov/itl/products-and-services/emnist-dataset, and Cohen et al. 2017, EMNIST: an extension of MNIST
to handwritten letters.
"""

from __future__ import annotations

import string
import zipfile
import zlib
from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.data import idx, published
from zoo.data.splits import Loaded, Split
from zoo.errors import ConfigError, DataError, did_you_mean

KIND = "image"
TITLE = "EMNIST"
CLASSES = None  # the split says
OPTIONS: dict[str, Any] = {"split": "balanced"}
URL = "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip"
MD5 = "58c8d27c78d21e728a6bc7b3cc06412e"  # of the archive, as torchvision has it
_BY_CLASS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_MERGED = string.digits + string.ascii_uppercase + "abdefghnqrt"
NAMES = {  # in label order
    "balanced": _MERGED,
    "byclass": _BY_CLASS,
    "bymerge": _MERGED,
    "letters": string.ascii_lowercase,
    "digits": string.digits,
    "mnist": string.digits,
}
COUNTS = {
    "balanced": (112_800, 18_800),
    "byclass": (697_932, 116_323),
    "bymerge": (697_932, 116_323),
    "letters": (124_800, 20_800),
    "digits": (240_000, 40_000),
    "mnist": (60_000, 10_000),
}


def load(root: Path, split: str) -> Loaded:
    """One of the six splits, from the archive, which is the published file, or else from the four files out of it.

    Raises:
        ConfigError: there is no such split.
        DataError: the files are missing and cannot be downloaded, or are damaged, or others.
    """
    if split not in NAMES:
        raise ConfigError(f"data.split={split} is no split of EMNIST: {did_you_mean(split, NAMES, 'splits')}")
    places = [root / "emnist", root / "EMNIST" / "raw"]
    files = [
        f"emnist-{split}-{part}-{what}"
        for part, what in product(("train", "test"), ("images-idx3-ubyte", "labels-idx1-ubyte"))
    ]
    archive = published.first_file(*(place / "gzip.zip" for place in places))
    notes: tuple[str, ...] = ()
    found = None if archive else idx.complete([*places, *(place / "gzip" for place in places)], files)
    if found:
        parts = published.read_once(_read_files, found, split)
        notes = (idx.unchecked(TITLE, "archive gzip.zip"),)
    else:
        archive = archive or published.fetch([URL], places[0] / "gzip.zip", partial(published.is_md5, MD5), "562 MB")
        parts = published.read_once(_read_archive, [archive], split, tuple(files), MD5)
    images, labels, test_images, test_labels = parts
    return Loaded(Split(images, labels), Split(test_images, test_labels), tuple(NAMES[split]), notes=notes)


def _read_files(paths: Sequence[Path], split: str) -> list[Tensor]:
    return _upright(paths, [idx.read_idx(path)[0] for path in paths], split)


def _read_archive(paths: Sequence[Path], split: str, files: Sequence[str], md5: str) -> list[Tensor]:
    """The four members of a split; nothing is written."""
    (archive,) = paths
    published.check_md5(archive, md5, TITLE)
    values = []
    try:
        with zipfile.ZipFile(archive) as members:
            for file in files:
                with members.open(f"gzip/{file}.gz") as member:
                    values.append(idx.read_stream(member, f"{archive}/gzip/{file}.gz")[0])
    except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError, OSError, zlib.error) as error:
        raise DataError(f"{archive} is damaged: {error}\n{published.REMEDY}") from error
    return _upright([f"{archive}/gzip/{file}.gz" for file in files], values, split)


def _upright(paths: Sequence[Path | str], values: Sequence[Tensor], split: str) -> list[Tensor]:
    """Images ``(N, 1, 28, 28)`` as they were written, and labels from 0 on."""
    first = 1 if split == "letters" else 0  # a is 1 in the files
    images, labels, test_images, test_labels = values
    idx.check_agreement(paths[0], images, paths[1], labels)
    idx.check_agreement(paths[2], test_images, paths[3], test_labels)
    values = [images, labels.long() - first, test_images, test_labels.long() - first]
    idx.check_form(paths, values, TITLE, COUNTS[split], len(NAMES[split]))
    turned = (part.transpose(1, 2).contiguous()[:, None] if part.dim() == 3 else part for part in values)
    return list(turned)
