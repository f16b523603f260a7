"""Published data beside MNIST, and any other in its form: what is read, what is checked of it, and what is refused.

The files are made up, in the published form; their checksums count as the published ones here.
"""

import contextlib
import gzip
import hashlib
import io
import os
import string
import struct
import tarfile
import tracemalloc
import zipfile
from itertools import product

import numpy as np
import pytest
import torch
from conftest import run_train

import zoo
from zoo.data import idx, published, sources
from zoo.data.datamodule import ImageDataModule
from zoo.data.sources import cifar10, emnist, fashion_mnist, kmnist, mnist
from zoo.data.splits import load_splits
from zoo.errors import ConfigError, DataError

FOUR = {"mnist": mnist, "fashion_mnist": fashion_mnist, "kmnist": kmnist}


@contextlib.contextmanager
def refused(*words, error=DataError):
    """An error of one to four lines with all these words is raised."""
    with pytest.raises(error) as raised:
        yield raised
    message = str(raised.value)
    assert 1 <= len(message.splitlines()) <= 4, message
    assert all(str(word) in message for word in words), (message, words)


def packed(values, code=8, kind=">u1"):
    """An IDX file, written without the zoo."""
    values = np.asarray(values, kind)
    return bytes([0, 0, code, values.ndim]) + struct.pack(f">{values.ndim}i", *values.shape) + values.tobytes()


def four(seed, counts=(20, 10)):
    """The contents of a made-up set: images and labels of train, then of test, of ten classes."""
    rng, contents = np.random.default_rng(seed), []
    for count in counts:
        contents += [packed(rng.integers(256, size=(count, 28, 28))), packed((np.arange(count) + seed) % 10)]
    return contents


def write(folder, contents, files=idx.FILES, suffix=".gz"):
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in zip(files, contents, strict=False):
        (folder / f"{file}{suffix}").write_bytes(gzip.compress(content, 1, mtime=0) if suffix == ".gz" else content)
    return folder


@pytest.fixture(autouse=True)
def published_sets(monkeypatch, tmp_path):
    """Made-up sets in the place of the published ones, and no network: their contents by the sources' names."""
    import torchvision.datasets

    contents = {name: four(seed) for seed, name in enumerate(FOUR)}
    for name, source in FOUR.items():
        files = [gzip.compress(content, 1, mtime=0) for content in contents[name]]
        hashed = [hashlib.md5(file) for file in files] if name == "kmnist" else map(hashlib.sha256, contents[name])
        monkeypatch.setattr(source, "CHECKSUMS", tuple(digest.hexdigest() for digest in hashed))
    for name in ("MNIST", "FashionMNIST", "KMNIST"):
        monkeypatch.setattr(getattr(torchvision.datasets, name), "mirrors", [(tmp_path / "nowhere").as_uri()])
    monkeypatch.setattr(fashion_mnist, "SYSTEM", tmp_path / "system")
    monkeypatch.setattr(kmnist, "COUNTS", (20, 10))
    monkeypatch.setattr(emnist, "URL", (tmp_path / "nowhere.zip").as_uri())
    monkeypatch.setattr(cifar10, "URL", (tmp_path / "nowhere.tar.gz").as_uri())
    monkeypatch.setattr(cifar10, "RECORDS", 20)
    return contents


# --- MNIST's form: whose file it is ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "other"), [pair for pair in product(FOUR, FOUR) if len(set(pair)) == 2])
@pytest.mark.parametrize("number", range(4))
def test_another_sets_file_is_told_as_that(name, other, number, published_sets, tmp_path):
    folder = write(tmp_path / name, published_sets[name])
    write(folder, published_sets[other][number : number + 1], idx.FILES[number:])
    words = ["is intact", f"another set's ({FOUR[other].TITLE}'s {idx.ROLES[number]})", f"data={other}", "data.root"]
    with refused(folder / idx.FILES[number], *words) as refusal:
        load_splits(name, tmp_path)
    assert "corrupt" not in str(refusal.value)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_whole_set_in_anothers_folder(suffix, place, published_sets, tmp_path):
    folder = write(tmp_path / ("mnist", "MNIST/raw")[place], published_sets["fashion_mnist"], suffix=suffix)
    with refused(folder, "is intact", "Fashion-MNIST's train images"):
        load_splits("mnist", tmp_path)
    assert len(list(folder.iterdir())) == 4  # nothing is deleted


@pytest.mark.parametrize("name", FOUR)
def test_another_part_of_the_same_set_is_told_as_that(name, published_sets, tmp_path):
    write(tmp_path / name, [published_sets[name][number] for number in (0, 1, 0, 1)])
    with refused("intact", f"{FOUR[name].TITLE}'s train images, not its test images"):
        load_splits(name, tmp_path)


@pytest.mark.parametrize("name", FOUR)
@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("counts", [(20, 10), (30, 20)])
def test_an_unknown_set_is_well_formed(name, suffix, counts, tmp_path):
    folder = write(tmp_path / name, four(99, counts), suffix=suffix)
    if (name, suffix, counts) == ("kmnist", "", (20, 10)):
        return  # see below: nothing is known of it but its form
    with refused(folder, "well-formed, but not", f"{FOUR[name].TITLE}'s as published", f"data=idx data.path={folder}"):
        load_splits(name, tmp_path)


def test_the_real_files_are_told_apart(real_data, monkeypatch, tmp_path):
    monkeypatch.undo()
    (tmp_path / "mnist").mkdir()
    for file in idx.FILES:
        folder = "fashion-mnist" if file == "t10k-labels-idx1-ubyte" else "mnist"
        (tmp_path / "mnist" / f"{file}.gz").symlink_to(real_data / folder / f"{file}.gz")
    with refused("intact", "Fashion-MNIST's test labels"):
        load_splits("mnist", tmp_path)


@pytest.mark.parametrize("name", FOUR)
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "pipe"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_what_is_no_file_is_named(name, make, suffix, published_sets, tmp_path):
    folder = write(tmp_path / name, published_sets[name][:3])
    make(folder / f"{idx.FILES[3]}{suffix}")
    with refused(folder / idx.FILES[3], "a folder" if make is os.mkdir else "a named pipe"):
        load_splits(name, tmp_path)


def test_no_more_is_read_than_the_header_promises(tmp_path):
    path = tmp_path / "images.gz"
    with gzip.open(path, "wb", 1) as file:
        file.write(packed(np.zeros((2, 28, 28))))
        for _ in range(100):
            file.write(bytes(2**20))
    tracemalloc.start()
    with refused("damaged", "promises 1568 bytes, it holds more"):
        idx.read_idx(path)
    assert tracemalloc.get_traced_memory()[1] < 2**23
    path.write_bytes(gzip.compress(b"\0\0\x08\x04" + b"\xff" * 16 + b"few"))
    with refused("truncated", "it holds 3"):
        idx.read_idx(path)
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()


# --- Kuzushiji-MNIST -------------------------------------------------------------------------------------------------


def test_torchvision_publishes_the_same(monkeypatch):
    monkeypatch.undo()
    from torchvision import datasets

    assert tuple(md5 for _, md5 in datasets.KMNIST.resources) == kmnist.CHECKSUMS
    assert [file for file, _ in datasets.KMNIST.resources] == [f"{file}.gz" for file in idx.FILES]
    assert tuple(datasets.KMNIST.classes) == kmnist.CLASSES
    assert (datasets.EMNIST.md5, datasets.EMNIST.url) == (emnist.MD5, emnist.URL)
    assert set(datasets.EMNIST.splits) == set(emnist.NAMES) == set(emnist.COUNTS)
    for split, names in datasets.EMNIST.classes_split_dict.items():
        assert [name for name in names if name != "N/A"] == list(emnist.NAMES[split])


@pytest.mark.parametrize("place", ["kmnist", "KMNIST/raw"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_kmnist(place, suffix, published_sets, tmp_path):
    write(tmp_path / place, published_sets["kmnist"], suffix=suffix)
    splits = load_splits("kmnist", tmp_path)
    train = np.frombuffer(published_sets["kmnist"][0], np.uint8, offset=16).reshape(20, 1, 28, 28)
    assert np.array_equal(splits.train.images, train)
    assert splits.test.labels.tolist() == [2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert splits.spec.class_names[:3] == ("o", "ki", "su")
    assert ["decompressed" in note for note in splits.notes] == ([] if suffix else [True])


def test_what_can_be_checked_goes_first(published_sets, tmp_path):
    """torchvision leaves both: the gzipped file has a checksum."""
    write(tmp_path / "kmnist", four(7), suffix="")
    write(tmp_path / "kmnist", published_sets["kmnist"])
    assert not load_splits("kmnist", tmp_path).notes


@pytest.mark.parametrize(
    ("number", "content", "words"),
    [
        (0, packed(np.zeros((21, 28, 28))), ["disagree", "21 images"]),
        (0, packed(np.zeros((20, 28, 27))), ["as published", "20 × 28 × 27", "20 × 28 × 28"]),
        (1, packed(np.arange(20) % 9), ["as published", "10 classes"]),
        (3, packed(np.arange(10) + 1), ["as published", "10 classes"]),
        (3, packed(np.arange(10)[:, None]), ["as published", "10 classes"]),
        (3, packed(np.arange(10), 12, ">i4"), ["unsigned bytes", "int32"]),
        (2, b"", ["no IDX file"]),
    ],
)
def test_form_counts_and_classes_are_checked(number, content, words, published_sets, tmp_path):
    published_sets["kmnist"][number] = content
    folder = write(tmp_path / "kmnist", published_sets["kmnist"], suffix="")
    with refused(folder, *words):
        load_splits("kmnist", tmp_path)


def test_kmnist_is_downloaded(published_sets, monkeypatch, tmp_path):
    from torchvision import datasets

    write(tmp_path / "other", published_sets["mnist"])
    write(tmp_path / "good", published_sets["kmnist"])
    mirrors = [(tmp_path / name).as_uri() for name in ("none", "other", "good")]
    monkeypatch.setattr(datasets.KMNIST, "mirrors", mirrors)
    load_splits("kmnist", tmp_path / "new")
    assert sorted(file.name for file in (tmp_path / "new" / "kmnist").iterdir()) == sorted(f"{f}.gz" for f in idx.FILES)
    monkeypatch.setattr(datasets.KMNIST, "mirrors", mirrors[:2])
    with refused("other content", mirrors[0], "data.root"):
        load_splits("kmnist", tmp_path / "empty")
    assert not list((tmp_path / "empty" / "kmnist").iterdir())


# --- EMNIST ----------------------------------------------------------------------------------------------------------

EMNIST_FILES = {
    split: [f"emnist-{split}-{file.replace('t10k', 'test')}" for file in idx.FILES] for split in emnist.NAMES
}


@pytest.fixture
def emnist_sets(monkeypatch):
    """The four files of each split, every class once in test and twice in train."""
    sets = {}
    for seed, (split, names) in enumerate(emnist.NAMES.items()):
        rng, sets[split] = np.random.default_rng(seed), []
        monkeypatch.setitem(emnist.COUNTS, split, (2 * len(names), len(names)))
        for count in emnist.COUNTS[split]:
            labels = np.arange(count) % len(names) + (split == "letters")
            sets[split] += [packed(rng.integers(256, size=(count, 28, 28))), packed(labels)]
    return sets


@pytest.fixture
def archive(emnist_sets, monkeypatch, tmp_path):
    """A function that writes ``gzip.zip`` and takes its checksum for the published one."""

    def make(path, leave_out=""):
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as members:
            members.writestr("../../escaped", b"no")
            for split, contents in emnist_sets.items():
                for file, content in zip(EMNIST_FILES[split], contents, strict=True):
                    if file != leave_out:
                        members.writestr(f"gzip/{file}.gz", gzip.compress(content, 1))
        monkeypatch.setattr(emnist, "MD5", hashlib.md5(path.read_bytes()).hexdigest())
        return path

    return make


def is_split(splits, contents, split):
    images = np.frombuffer(contents[0], np.uint8, offset=16).reshape(-1, 1, 28, 28)
    assert np.array_equal(splits.train.images, images.transpose(0, 1, 3, 2))  # upright
    assert splits.test.labels.tolist() == list(range(len(emnist.NAMES[split])))
    assert splits.spec.class_names == tuple(emnist.NAMES[split])


@pytest.mark.parametrize("split", emnist.NAMES)
@pytest.mark.parametrize("place", ["emnist", "EMNIST/raw"])
def test_emnist_from_the_archive(split, place, emnist_sets, archive, tmp_path):
    archive(tmp_path / place / "gzip.zip")
    splits = load_splits("emnist", tmp_path, split=split)
    is_split(splits, emnist_sets[split], split)
    assert not splits.notes
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["gzip.zip"]


@pytest.mark.parametrize("split", ["balanced", "letters"])
@pytest.mark.parametrize("place", ["emnist", "emnist/gzip", "EMNIST/raw"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_emnist_from_the_files_of_a_split(split, place, suffix, emnist_sets, tmp_path):
    write(tmp_path / place, emnist_sets[split], EMNIST_FILES[split], suffix)
    splits = load_splits("emnist", tmp_path, split=split)
    is_split(splits, emnist_sets[split], split)
    assert len(splits.notes) == 1


def test_names_of_emnists_classes():
    assert emnist.NAMES["balanced"] == string.digits + string.ascii_uppercase + "abdefghnqrt"
    assert [len(names) for names in emnist.NAMES.values()] == [47, 62, 47, 26, 10, 10]
    assert emnist.OPTIONS == {"split": "balanced"}


def test_what_is_wrong_with_emnist(emnist_sets, archive, monkeypatch, tmp_path):
    path = archive(tmp_path / "emnist" / "gzip.zip", leave_out=EMNIST_FILES["balanced"][3])
    with refused(path, "damaged", EMNIST_FILES["balanced"][3], "Delete"):
        load_splits("emnist", tmp_path)
    load_splits("emnist", tmp_path, split="digits")  # which is whole
    path.write_bytes(path.read_bytes()[:-1])
    with refused(path, "not EMNIST's as published", "md5", "Delete"):
        load_splits("emnist", tmp_path)
    path.write_bytes(b"no zip")
    monkeypatch.setattr(emnist, "MD5", hashlib.md5(b"no zip").hexdigest())
    with refused(path, "damaged"):
        load_splits("emnist", tmp_path)
    path.unlink()
    path.mkdir()
    with refused(path, "a folder"):
        load_splits("emnist", tmp_path)
    with refused("data.split=leters", "'letters'", error=ConfigError):
        load_splits("emnist", tmp_path, split="leters")
    write(tmp_path / "two" / "emnist", emnist_sets["letters"], EMNIST_FILES["balanced"], "")
    with refused("as published", "52 × 28 × 28", "94 × 28 × 28"):
        load_splits("emnist", tmp_path / "two")


def test_emnist_is_downloaded(emnist_sets, archive, monkeypatch, capfd, tmp_path):
    monkeypatch.setattr(emnist, "URL", archive(tmp_path / "served.zip").as_uri())
    is_split(load_splits("emnist", tmp_path / "new"), emnist_sets["balanced"], "balanced")
    assert "562 MB" in capfd.readouterr().err
    assert [path.name for path in (tmp_path / "new" / "emnist").iterdir()] == ["gzip.zip"]
    monkeypatch.setattr(emnist, "MD5", "0" * 32)
    with refused("gzip.zip", "other content", "data.root"):
        load_splits("emnist", tmp_path / "empty")


# --- CIFAR-10 --------------------------------------------------------------------------------------------------------


def batches(seed=0):
    """Six files of 20 records."""
    rng = np.random.default_rng(seed)
    return [
        np.concatenate([rng.permutation(20)[:, None] % 10, rng.integers(256, size=(20, 3072))], 1).astype(np.uint8)
        for _ in cifar10.FILES
    ]


def write_cifar(folder, records):
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in zip(cifar10.FILES, records, strict=False):
        (folder / file).write_bytes(content.tobytes())
    return folder


@pytest.fixture
def tarball(monkeypatch):
    """A function that writes the archive and takes its checksum for the published one."""

    def make(path, records, first="cifar-10-batches-bin/readme.html"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w:gz", compresslevel=1) as members:
            names = [first, *(f"cifar-10-batches-bin/{file}" for file in cifar10.FILES)]
            for name, content in zip(names, [b"hello", *(part.tobytes() for part in records)], strict=False):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                members.addfile(member, io.BytesIO(content))
        monkeypatch.setattr(cifar10, "MD5", hashlib.md5(path.read_bytes()).hexdigest())
        return path

    return make


def is_cifar(splits, records):
    train = np.concatenate(records[:5])
    assert np.array_equal(splits.train.images.numpy(), train[:, 1:].reshape(-1, 3, 32, 32))
    assert np.array_equal(splits.train.labels, train[:, 0])
    assert np.array_equal(splits.test.labels, records[5][:, 0])
    assert splits.spec.shape == (3, 32, 32)
    assert splits.spec.class_names[2:5] == ("bird", "cat", "deer")


@pytest.mark.parametrize("place", ["cifar10", "."])
def test_cifar10_from_the_archive(place, tarball, tmp_path):
    tarball(tmp_path / "root" / place / "cifar-10-binary.tar.gz", batches(), first="../../escaped")
    splits = load_splits("cifar10", tmp_path / "root")
    is_cifar(splits, batches())
    assert not splits.notes
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == 1


@pytest.mark.parametrize("place", ["cifar10", "cifar10/cifar-10-batches-bin", "cifar-10-batches-bin"])
def test_cifar10_from_the_six_files(place, tmp_path):
    write_cifar(tmp_path / place, batches())
    splits = load_splits("cifar10", tmp_path)
    is_cifar(splits, batches())
    assert len(splits.notes) == 1


def test_what_is_wrong_with_cifar10(tarball, tmp_path):
    records, first = batches(), np.arange(3073) == 0
    for change, words in (
        (lambda: records[2][:-1], ["data_batch_3.bin", "58,387 bytes", "20 records"]),
        (lambda: np.concatenate([records[2], records[2][:1]]), ["data_batch_3.bin", "64,533 bytes"]),
        (lambda: np.where(first, 9, records[2]).astype(np.uint8), ["classes occur", "each must occur 10 times"]),
        (lambda: np.where(first, 10, records[2]).astype(np.uint8), ["classes occur"]),
    ):  # fmt: skip
        folder = write_cifar(tmp_path / "cifar10", [*records[:2], change(), *records[3:]])
        with refused(folder, *words):
            load_splits("cifar10", tmp_path)
    archive = tarball(tmp_path / "cifar-10-binary.tar.gz", records[:5])
    with refused(archive, "it has no cifar-10-batches-bin/test_batch.bin"):
        load_splits("cifar10", tmp_path)
    archive.write_bytes(archive.read_bytes()[:-9])
    with refused(archive, "not CIFAR-10's as published", "md5", "Delete"):
        load_splits("cifar10", tmp_path)


def test_the_pickled_cifar10_is_not_read(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    with refused("cifar-10-binary.tar.gz", "a pickle, which is not read", cifar10.URL):
        load_splits("cifar10", tmp_path)


def test_cifar10_is_downloaded(tarball, monkeypatch, tmp_path):
    monkeypatch.setattr(cifar10, "URL", tarball(tmp_path / "served.tar.gz", batches()).as_uri())
    is_cifar(load_splits("cifar10", tmp_path / "new"), batches())
    assert (tmp_path / "new" / "cifar10" / "cifar-10-binary.tar.gz").is_file()


@pytest.mark.parametrize("model", ["cnn", "logistic_regression"])
def test_cifar10_trains(model, tmp_path):
    write_cifar(tmp_path / "cifar10", batches())
    run = run_train(
        tmp_path / "runs", f"model={model}", "data=cifar10", f"data.root={tmp_path}", "data.val_size=20",
        "trainer.max_epochs=1", "trainer.accelerator=cpu", "logger=none",
    )  # fmt: skip
    spec = zoo.load(run).spec
    assert (spec.shape, spec.class_names) == ((3, 32, 32), cifar10.CLASSES)


# --- any other set ---------------------------------------------------------------------------------------------------

PLAIN = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("spelling", ["-idx", ".idx"])
@pytest.mark.parametrize("test", ["t10k", "test"])
@pytest.mark.parametrize(("stem", "path"), [("", "set"), ("my-", "set"), ("my-", "set/my")])
def test_four_files_of_any_name(suffix, spelling, test, stem, path, tmp_path):
    contents = four(0)
    files = [stem + file.replace("-idx", spelling).replace("t10k", test) for file in PLAIN]
    write(tmp_path / "set", contents, files, suffix)
    splits = load_splits("idx", path=tmp_path / path)
    for part, number in ((splits.train, 0), (splits.test, 2)):
        assert np.array_equal(part.images.numpy().ravel(), np.frombuffer(contents[number], np.uint8, offset=16))
    assert splits.train.labels.tolist() == [*range(10)] * 2
    assert splits.spec.class_names == tuple("0123456789")
    assert splits.notes == ()


@pytest.mark.parametrize("part", ["", "train-", "test-", "letters-", "letters-train-"])
@pytest.mark.parametrize("by_stem", [False, True])
def test_a_lone_pair_has_a_test_part_set_apart(part, by_stem, tmp_path):
    files = [f"{part}images-idx3-ubyte", f"{part}labels-idx1-ubyte"]
    write(tmp_path / "set", four(0, (50,)), files)
    path = tmp_path / "set" / part.rstrip("-") if by_stem else tmp_path / "set"
    splits = load_splits("idx", path=path)
    assert (len(splits.train), len(splits.test)) == (40, 10)
    assert splits.test.labels.bincount().tolist() == [1] * 10
    assert len(load_splits("idx", path=path, whole=True).test) == 50


def test_a_path_may_choose_among_sets_and_parts(tmp_path):
    write(tmp_path, four(0), [f"a-{file}" for file in PLAIN])
    write(tmp_path, four(1, (30, 20)), [f"b-{file}" for file in PLAIN])
    assert len(load_splits("idx", path=tmp_path / "b").train) == 30
    assert len(load_splits("idx", path=tmp_path / "b-t10k").train) == 16
    with refused("several sets: a, b", f"data.path={tmp_path / 'b'}"):
        load_splits("idx", path=tmp_path)


def test_a_validation_part_validates(tmp_path):
    write(tmp_path, [*four(0), *four(1, (10,))], [*PLAIN, "val-images-idx3-ubyte", "val-labels-idx1-ubyte"])
    splits = load_splits("idx", path=tmp_path, val_size=5)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (20, 10, 10)


@pytest.mark.parametrize(
    ("stored", "shape", "note"),
    [
        ((20, 5, 9), (1, 5, 9), None),
        ((20, 3, 8, 9), (3, 8, 9), "first axis of a picture, of 3"),
        ((20, 1, 8, 9), (1, 8, 9), "first axis of a picture, of 1"),
        ((20, 8, 9, 3), (3, 8, 9), "last axis, of 3"),
        ((20, 8, 9, 1), (1, 8, 9), "last axis, of 1"),
        ((20, 6, 8, 9), (6, 8, 9), "first axis of a picture, of 6"),
        ((20, 3, 3, 3), (3, 3, 3), "first axis of a picture, of 3"),
    ],
)
def test_layouts_of_pictures(stored, shape, note, tmp_path):
    values = np.random.default_rng(0).integers(256, size=stored)
    write(tmp_path, [packed(values), packed(np.arange(20) % 2)], [f"images-idx{len(stored)}-ubyte", PLAIN[1][6:]])
    splits = load_splits("idx", path=tmp_path, whole=True)
    assert splits.spec.shape == shape
    expected = values.transpose(0, 3, 1, 2) if note and "last" in note else values.reshape(20, *shape)
    assert np.array_equal(splits.test.images, expected)
    assert len(splits.notes) == (note is not None)
    assert note is None or note in splits.notes[0]


@pytest.mark.parametrize(("code", "kind"), [(8, ">u1"), (9, ">i1"), (11, ">i2"), (12, ">i4")])
@pytest.mark.parametrize(
    ("labels", "names", "expected", "note"),
    [
        ([0, 1, 2], [], "012", None),
        ([0, 1, 2], ["a", "b", "c"], "abc", None),
        ([0, 1, 2], [7, 8, 9], "789", None),
        ([1, 2, 3], [], "123", "the 3 labels that occur, from 1 to 3, are the classes; none has the label 0"),
        ([1, 2, 3], ["a", "b", "c"], "abc", "none has the label 0"),
        ([1, 2, 3], ["N/A", "a", "b", "c"], "abc", "none has the label 0"),
        ([0, 2, 5], [], "025", "none has the label 1, 3, 4"),
    ],
)
def test_labels_and_their_names(code, kind, labels, names, expected, note, tmp_path):
    contents = [packed(np.zeros((30, 4, 4))), packed(labels * 10, code, kind)]
    write(tmp_path, contents, ["images-idx3-ubyte", "labels-idx1-int"])
    splits = load_splits("idx", path=tmp_path, names=names, whole=True)
    assert splits.spec.class_names == tuple(expected)
    assert splits.test.labels.tolist() == [0, 1, 2] * 10
    assert len(splits.notes) == (note is not None)
    assert note is None or note in splits.notes[0]


def test_labels_may_be_large(tmp_path):
    contents = [packed(np.zeros((4, 4, 4))), packed([300, 70_000] * 2, 12, ">i4")]
    write(tmp_path, contents, ["images-idx3-ubyte", "labels-idx1-int"])
    assert load_splits("idx", path=tmp_path).spec.class_names == ("300", "70000")


GOOD = four(0)
LABELS = dict(zip(PLAIN[1:2], GOOD[1:2], strict=True))
IMAGES = dict(zip(PLAIN[:1], GOOD[:1], strict=True))
WHOLE = dict(zip(PLAIN, GOOD, strict=True))
BAD_SETS = {
    "no file": ({}, ["no IDX files", "train-images-idx3-ubyte"]),
    "images alone": (IMAGES, [PLAIN[0], "alone", "labels"]),
    "labels alone": (LABELS, [PLAIN[1], "alone", "images"]),
    "test labels are missing": (dict(zip(PLAIN[:3], GOOD[:3], strict=True)), [PLAIN[2], "alone"]),
    "disagree": (IMAGES | {PLAIN[1]: GOOD[3]}, ["disagree", "20 images", "10 labels"]),
    "exchanged": ({PLAIN[0]: GOOD[1], PLAIN[1]: GOOD[0]}, [PLAIN[0], "20 values", "(N, H, W)"]),
    "labels of two axes": (IMAGES | {PLAIN[1]: packed(np.zeros((20, 8)))}, [PLAIN[1], "20 × 8", "one number"]),
    "flat pictures": (LABELS | {PLAIN[0]: packed(np.zeros((20, 784)))}, ["20 × 784", "(N, H, W)"]),
    "real pictures": (LABELS | {PLAIN[0]: packed(np.zeros((20, 4, 4)), 13, ">f4")}, ["unsigned", "float32"]),
    "real labels": (IMAGES | {PLAIN[1]: packed(np.zeros(20), 14, ">f8")}, ["whole numbers", "float64"]),
    "hidden labels": (IMAGES | {PLAIN[1]: packed([-1, 1] * 10, 12, ">i4")}, [PLAIN[1], "holds -1"]),
    "one class": (IMAGES | {PLAIN[1]: packed([4] * 20)}, [PLAIN[1], "one class, 4"]),
    "no picture": (LABELS | {PLAIN[0]: packed(np.zeros((0, 4, 4)))}, [PLAIN[0], "no value", "0 × 4 × 4"]),
    "text": (LABELS | {PLAIN[0]: b"<html>"}, [PLAIN[0], "no IDX file"]),
    "short": (LABELS | {PLAIN[0]: GOOD[0][:-1]}, [PLAIN[0], "truncated"]),
    "long": (LABELS | {PLAIN[0]: GOOD[0] + b"!"}, [PLAIN[0], "holds more"]),
    "sizes differ": (WHOLE | {PLAIN[2]: packed(np.zeros((10, 9, 9)))}, ["one size", "1 × 28 × 28", "1 × 9 × 9"]),
    "a new class in test": (WHOLE | {PLAIN[3]: packed([77] * 10)}, [PLAIN[3], "no training image has: 77"]),
    "two of a kind": (WHOLE | {"train-images-idx4-ubyte": GOOD[0]}, ["holds both", "idx4"]),
    "no train": (
        {file.replace("train", "val"): content for file, content in WHOLE.items()},
        ["call the parts train-", PLAIN[2]],
    ),
}


@pytest.mark.parametrize("what", BAD_SETS)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_bad_set_is_refused(what, suffix, tmp_path):
    files, words = BAD_SETS[what]
    write(tmp_path, files.values(), files, suffix)
    with refused(*words) as refusal:
        load_splits("idx", path=tmp_path)
    assert "Delete" not in str(refusal.value)  # it is the user's own


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_what_is_no_file_of_a_set_is_named(make, tmp_path):
    write(tmp_path, GOOD, PLAIN[:3], "")
    make(tmp_path / PLAIN[3])
    with refused(PLAIN[3], "a folder" if make is os.mkdir else "a named pipe"):
        load_splits("idx", path=tmp_path)


@pytest.mark.parametrize(
    ("options", "words", "error"),
    [
        ({"path": None}, ["data.path"], ConfigError),
        ({"path": "nowhere"}, ["begin with", "nowhere"], DataError),
        ({"path": "nowhere/at/all"}, ["cannot be read"], DataError),
        ({"path": PLAIN[0]}, ["is one file", "such as", "train"], DataError),
        ({"path": ".", "names": "ab"}, ["data.names=ab", "[cat,dog]"], ConfigError),
        ({"path": ".", "names": 3}, ["data.names=3"], ConfigError),
        ({"path": ".", "names": ["a", "b"]}, ["2 names", "10 labels"], ConfigError),
        ({"path": ".", "names": ["a"] * 10}, ["two classes 'a'"], ConfigError),
    ],
)
def test_impossible_options_are_refused(options, words, error, tmp_path, monkeypatch):
    monkeypatch.chdir(write(tmp_path / "set", GOOD, PLAIN, ""))
    with refused(*words, error=error):
        load_splits("idx", **options)


def test_a_relative_path_means_the_same_from_any_directory(tmp_path, monkeypatch):
    write(tmp_path / "here" / "set", GOOD, PLAIN)
    monkeypatch.chdir(tmp_path / "here")
    run = run_train(
        tmp_path / "runs", "model=logistic_regression", "data=idx", "data.path=set", "data.val_size=5",
        "data.names=[a,b,c,d,e,f,g,h,i,j]", "trainer.max_epochs=1", "trainer.accelerator=cpu", "logger=none",
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    model, source = zoo.registry.load_with_source(run)
    assert model.spec.class_names == tuple("abcdefghij")
    assert source["path"] == str(tmp_path / "here" / "set")
    data = ImageDataModule(**{key: value for key, value in source.items() if key != "fingerprint"})
    assert data.splits.fingerprint == source["fingerprint"]


@pytest.mark.parametrize("shape", [(1, 6, 5), (3, 6, 5), (2, 6, 5)])
def test_what_augment_writes_is_a_set(shape, tmp_path):
    from zoo.tasks.augment import augment

    model = zoo.create("naive_bayes", zoo.DataSpec(shape, 3, class_names=("it's", "a/b", "c")))
    augment(model, 30, tmp_path / "set", "idx")
    splits = load_splits("idx", path=tmp_path / "set", names=model.spec.class_names)
    assert (splits.spec.shape, splits.spec.class_names) == (shape, model.spec.class_names)


def test_sets_are_read_once(published_sets, tmp_path):
    write(tmp_path / "kmnist", published_sets["kmnist"])
    first, again = (load_splits("kmnist", tmp_path).train.images for _ in range(2))
    assert first.data_ptr() == again.data_ptr()
    assert isinstance(published.read_once(lambda paths: torch.zeros(1), []), torch.Tensor)
    assert {"kmnist", "emnist", "cifar10", "idx"} <= set(sources.every())
