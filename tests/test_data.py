"""Data: official files and their splits, what is refused, folders of pictures, batches and augmentation."""

import filecmp
import gzip
import hashlib
import multiprocessing
import os
import resource
import shutil
import socket
import struct
import threading
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, pairwise, product
from typing import ClassVar
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.transforms.v2.functional import InterpolationMode, affine

from zoo import download
from zoo.base.fill import local_mean
from zoo.data import published, sources
from zoo.data.augment import Augment
from zoo.data.batches import Batches
from zoo.data.kinds import image
from zoo.data.splits import Split, load_splits, stratified
from zoo.errors import ConfigError, DataError

PARTS = {"train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
         "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")}  # fmt: skip
IDX_FILES = [file for part in PARTS.values() for file in part]
DIRECTORIES = {"mnist": "mnist", "fashion_mnist": "fashion-mnist"}
SIZES = {"digits": (1438, 359), "mnist": (60_000, 10_000), "fashion_mnist": (60_000, 10_000)}


@pytest.fixture(scope="module", params=SIZES)
def source(request):
    """The name of a source, the source without and with validation images."""
    root = None if request.param == "digits" else request.getfixturevalue("real_data")
    return request.param, load_splits(request.param, root), load_splits(request.param, root, val_size=300)


def official(real_data, name, part):
    """Images and labels of a published file, decoded without the zoo."""
    images, labels = (
        gzip.decompress((real_data / DIRECTORIES[name] / f"{file}.gz").read_bytes()) for file in PARTS[part]
    )
    return np.frombuffer(images, np.uint8, offset=16).reshape(-1, 1, 28, 28), np.frombuffer(labels, np.uint8, offset=8)


def hashes(split):
    """A multiset: published data may hold the same picture twice, a split must not hand it out twice as often."""
    pairs = zip(split.images.numpy(), split.labels.tolist(), strict=True)
    return Counter(hashlib.sha256(image.tobytes() + bytes([label])).digest() for image, label in pairs)


def same(a, b):
    return torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)


def generator():
    return torch.Generator().manual_seed(0)


def short(error, *words):
    """One to three lines that hold all these words."""
    message = str(error.value)
    assert 1 <= len(message.splitlines()) <= 3, message
    assert all(str(word) in message for word in words), (message, words)


# --- splits ----------------------------------------------------------------------------------------------------------


def test_validation_and_train_part_the_training_images(source):
    name, whole, parted = source
    assert (len(whole.train), len(whole.val), len(whole.test)) == (SIZES[name][0], 0, SIZES[name][1])
    assert (len(parted.train), len(parted.val)) == (SIZES[name][0] - 300, 300)
    assert hashes(parted.train) + hashes(parted.val) == hashes(whole.train)
    assert not hashes(whole.train).keys() & hashes(whole.test).keys()
    assert same(whole.test, parted.test)
    for split in (parted.train, parted.val, parted.test):
        assert split.images.dtype == torch.uint8
        assert split.images.shape[1:] == whole.spec.shape == (1, 28, 28)
        assert split.labels.dtype == torch.int64
        assert set(split.labels.tolist()) == set(range(10))


def test_validation_is_stratified(source):
    _, whole, parted = source
    expected = whole.train.labels.bincount() * (300 / len(whole.train))
    assert (parted.val.labels.bincount() - expected).abs().max() < 1


@pytest.mark.parametrize("totals", [(6, 3, 1), (50, 50), (7, 0, 5), (1, 1, 1, 1), (200, 10, 1)], ids=str)
def test_every_stratified_part_is_within_one_of_its_share(totals):
    labels = torch.arange(len(totals)).repeat_interleave(torch.tensor(totals))
    for count in range(len(labels) + 1):
        rest, part = stratified(labels, count, generator())
        assert len(part) == count
        assert sorted([*rest.tolist(), *part.tolist()]) == list(range(len(labels)))
        share = torch.tensor(totals) * (count / len(labels))
        assert (labels[part].bincount(minlength=len(totals)) - share).abs().max() < 1 - 1e-6


@pytest.mark.parametrize("source", DIRECTORIES, indirect=True)
def test_train_and_test_are_the_official_files(source, real_data):
    name, whole, _ = source
    for part in PARTS:
        images, labels = official(real_data, name, part)
        assert np.array_equal(getattr(whole, part).images.numpy(), images)
        assert np.array_equal(getattr(whole, part).labels.numpy(), labels)


def test_digits_are_scikit_learns():
    splits, digits = load_splits("digits"), load_digits()
    assert len(splits.train) + len(splits.test) == len(digits.target) == 1797
    labels = torch.cat([splits.train.labels, splits.test.labels])
    assert labels.bincount().tolist() == np.bincount(digits.target).tolist()
    images = torch.cat([splits.train.images, splits.test.images]).float()
    small = torch.nn.functional.interpolate(images, size=(8, 8), mode="area").flatten(1) * 16 / 255
    originals = torch.from_numpy(digits.data).float()
    nearest = torch.cdist(small, originals).argmin(1)
    assert (torch.from_numpy(digits.target)[nearest] == labels).float().mean() > 0.99
    assert len(set(nearest.tolist())) > 1700  # they are 1,797 different ones
    assert (splits.test.labels.bincount() - labels.bincount() * (359 / 1797)).abs().max() < 1  # 20 %, stratified


def test_the_test_part_of_digits_is_the_same_for_ever():
    test = load_splits("digits", val_size=30, split_seed=7).test
    assert hashlib.sha256(test.labels.numpy().astype(np.uint8).tobytes()).hexdigest()[:16] == "f42b4ca30e6f143c"


def test_splits_depend_on_split_seed_alone():
    torch.manual_seed(1)
    first = load_splits("digits", val_size=200, train_size=100)
    torch.manual_seed(2)
    again = load_splits("digits", val_size=200, train_size=100)
    other = load_splits("digits", val_size=200, train_size=100, split_seed=1)
    assert same(first.val, again.val)
    assert same(first.train, again.train)
    assert not same(first.val, other.val)
    assert not same(first.train, other.train)
    assert same(first.test, other.test)
    assert same(first.val, load_splits("digits", val_size=200).val)  # train_size does not change what is validated on
    assert first.fingerprint == other.fingerprint  # of the source, however it is split
    assert not hashes(first.train) & hashes(first.val)


def test_the_seed_of_training_does_not_change_the_splits():
    from zoo.data.datamodule import ImageDataModule

    one, two = (ImageDataModule("digits", val_size=100, train_size=200, seed=seed) for seed in (1, 2))
    assert all(same(getattr(one.splits, part), getattr(two.splits, part)) for part in ("train", "val", "test"))
    assert not torch.equal(next(iter(one.train_dataloader()))[1], next(iter(two.train_dataloader()))[1])
    assert torch.equal(torch.cat([y for _, y in one.val_dataloader()]), one.splits.val.labels)  # in order
    assert torch.equal(torch.cat([y for _, y in one.test_dataloader()]), one.splits.test.labels)
    assert ImageDataModule("digits", val_size=0).val_dataloader() == []


def test_augmentation_is_for_training_alone():
    from zoo.data.datamodule import ImageDataModule

    module = ImageDataModule("digits", val_size=100, augment={"shift": 3})
    for loader, split in ((module.val_dataloader(), module.splits.val), (module.test_dataloader(), module.splits.test)):
        assert torch.equal(torch.cat([x for x, _ in loader]), split.images / 255)
    shown = torch.cat([x for x, _ in module.train_dataloader()])
    assert (
        len({x.numpy().tobytes() for x in shown} - {x.numpy().tobytes() for x in module.splits.train.images / 255})
        > 1000
    )


@pytest.mark.parametrize(
    ("count", "each"), [(10, [1] * 10), (250, [25] * 10), (253, [26] * 3 + [25] * 7), (7, [1] * 7 + [0] * 3)]
)
def test_train_size_is_balanced(count, each):
    splits = load_splits("digits", val_size=100, train_size=count)
    assert splits.train.labels.bincount(minlength=10).tolist() == each
    assert not hashes(splits.train) - hashes(load_splits("digits", val_size=100).train)


def test_too_large_a_train_size_names_the_largest():
    available = load_splits("digits").train.labels.bincount()
    with pytest.raises(DataError) as error:
        load_splits("digits", train_size=1438)
    largest = int(str(error.value).split("at most ")[1].split()[0])
    short(error, "train_size=1438", int(available.min()))
    assert len(load_splits("digits", train_size=largest).train) == largest
    with pytest.raises(DataError):
        load_splits("digits", train_size=largest + 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "mnits"}, ["'mnits'", "'mnist'"]),
        ({"val_size": 1438}, ["val_size=1438", "1438"]),
        ({"val_size": -1}, ["val_size", "at least 0", "-1"]),
        ({"val_size": float("nan")}, ["val_size", "nan"]),
        ({"train_size": -10}, ["train_size", "at least 0", "-10"]),
        ({"image_size": 32}, ["digits", "'image_size'"]),
        ({"name": "image_folder"}, ["data.path"]),
        ({"name": "image_folder", "path": ".", "image_sise": 32}, ["'image_sise'", "'image_size'"]),
        ({"name": "image_folder", "path": ".", "image_size": 0}, ["image_size", "at least 1"]),
        ({"name": "image_folder", "path": ".", "color": "gray"}, ["data.color=gray", "'grey'"]),
        ({"name": "image_folder", "path": ".", "invert": "yes"}, ["data.invert=yes", "never"]),
        ({"name": "image_folder", "path": "nowhere"}, ["nowhere", "no directory"]),
    ],
)  # fmt: skip
def test_impossible_options_are_refused(options, words, tmp_path):
    with pytest.raises((ConfigError, DataError)) as error:
        load_splits(**{"name": "digits", "root": tmp_path, **options})
    short(error, *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("channels", [1, 3])
def test_statistics_are_exact(channels):
    images = torch.randint(256, (9000, channels, 5, 7), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    images[:, 0] //= 3
    mean, std = image.statistics(images)
    pixels = images.double().div(255).transpose(0, 1).flatten(1)
    torch.testing.assert_close(torch.tensor(mean).double(), pixels.mean(1), rtol=1e-6, atol=0)
    assert mean == pytest.approx(pixels.mean(1).tolist(), rel=1e-12)
    assert std == pytest.approx(pixels.std(1, correction=0).tolist(), rel=1e-10)


def test_the_spec_has_the_statistics_of_what_is_trained_on():
    splits = load_splits("digits", val_size=100, train_size=50)
    pixels = splits.train.images.double() / 255
    assert splits.spec.mean == pytest.approx((pixels.mean().item(),))
    assert splits.spec.std == pytest.approx((pixels.std(correction=0).item(),))
    assert splits.spec.class_names == tuple("0123456789")


# --- where files are looked for --------------------------------------------------------------------------------------


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A function that writes 30 + 20 pictures in the published format; they count as the published ones here.

    Nothing is found outside ``tmp_path``, and no mirror answers.
    """
    import torchvision.datasets

    contents = {}
    rng = np.random.default_rng(0)
    for count, (images, labels) in zip((30, 20), PARTS.values(), strict=True):
        contents[images] = b"\0\0\x08\x03" + struct.pack(">3i", count, 28, 28) + rng.bytes(count * 784)
        contents[labels] = b"\0\0\x08\x01" + struct.pack(">i", count) + bytes(i % 10 for i in range(count))
    for name in DIRECTORIES:
        checksums = tuple(hashlib.sha256(data).hexdigest() for data in contents.values())
        monkeypatch.setattr(sources.find(name), "CHECKSUMS", checksums)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}/"
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [closed])
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", [closed])
    monkeypatch.setattr(sources.find("fashion_mnist"), "SYSTEM", tmp_path / "system")

    def write(directory, suffix="", change=lambda file, data: data):
        directory.mkdir(parents=True, exist_ok=True)
        for file, data in contents.items():
            data = change(file, data)
            (directory / f"{file}{suffix}").write_bytes(gzip.compress(data, 1) if suffix.endswith(".gz") else data)
        return directory

    write.contents = contents
    return write


def is_tiny(splits, tiny):
    images = np.frombuffer(tiny.contents["t10k-images-idx3-ubyte"], np.uint8, offset=16)
    return (
        np.array_equal(splits.test.images.numpy().ravel(), images) and splits.train.labels.tolist() == [*range(10)] * 3
    )


# the places in the order in which they are tried
PLACES = {
    "mnist": ["mnist", "MNIST/raw"],
    "fashion_mnist": ["fashion_mnist", "fashion-mnist", "FashionMNIST/raw", "system"],
}


@pytest.mark.parametrize(("name", "place"), [(name, place) for name, places in PLACES.items() for place in places])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_files_are_found(name, place, suffix, tiny, tmp_path):
    tiny(tmp_path / place, suffix)
    assert is_tiny(load_splits(name, tmp_path), tiny)


@pytest.mark.parametrize(
    ("name", "before", "after"), [(n, a, b) for n, places in PLACES.items() for a, b in pairwise(places)]
)
def test_the_first_complete_place_is_taken(name, before, after, tiny, tmp_path):
    damaged = tiny(tmp_path / after, change=lambda file, data: data + b"!")
    tiny(tmp_path / before)
    assert is_tiny(load_splits(name, tmp_path), tiny)  # the damaged copy behind it is not read
    next((tmp_path / before).iterdir()).unlink()  # incomplete: the next place is tried
    with pytest.raises(DataError) as error:
        load_splits(name, tmp_path)
    short(error, damaged / IDX_FILES[0])


def test_plain_files_come_before_gzipped_ones(tiny, tmp_path):
    tiny(tmp_path / "mnist", ".gz", change=lambda file, data: b"no")
    tiny(tmp_path / "mnist")
    assert is_tiny(load_splits("mnist", tmp_path), tiny)


def test_the_older_spelling_is_found(tiny, tmp_path):
    for path in tiny(tmp_path / "mnist").iterdir():
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert is_tiny(load_splits("mnist", tmp_path), tiny)


def test_root_defaults_to_zoo_data_then_to_data(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZOO_DATA", raising=False)
    tiny(tmp_path / "data" / "mnist")
    assert is_tiny(load_splits("mnist"), tiny)
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    monkeypatch.setenv("ZOO_DATA", "elsewhere")
    assert is_tiny(load_splits("mnist"), tiny)


# --- what is refused -------------------------------------------------------------------------------------------------


def recount(data):
    """The same IDX file with one entry less."""
    count = struct.unpack(">i", data[4:8])[0] - 1
    header = 4 + 4 * data[3]
    return (
        data[:4]
        + struct.pack(">i", count)
        + data[8:header]
        + data[header : len(data) - (len(data) - header) // (count + 1)]
    )


DAMAGES = {
    "too short": (lambda data: data[:-1], "truncated"),
    "too long": (lambda data: data + b"\0", "damaged"),
    "a changed byte": (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "corrupt"),
    "text": (lambda data: b"<html>Please log in</html>", "no IDX file"),
    "empty": (lambda data: b"", "no IDX file"),
    "header alone": (lambda data: data[:4], "no IDX file"),
    "no dimension": (lambda data: b"\0\0\x08\0" + data[:1], "no IDX file"),
    "other values": (lambda data: b"\0\0\x0d" + data[3:], "no IDX file"),
    "one less": (recount, "disagree"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_damaged_content_is_named(damage, file, suffix, tiny, tmp_path):
    change, word = DAMAGES[damage]
    directory = tiny(tmp_path / "mnist", suffix, lambda f, data: change(data) if f == file else data)
    before = sorted(directory.iterdir())
    with pytest.raises(DataError) as error:
        load_splits("mnist", tmp_path)
    short(error, tmp_path / "mnist", f"{file}{suffix}", word, "Delete")
    assert sorted(directory.iterdir()) == before  # a user's file is never deleted for him


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:5],
        lambda data: data[:40] + b"\xff\xff\xff" + data[43:],
        lambda data: data + b"tail",
        lambda data: b"<html>",
    ],
    ids=["half", "header", "changed", "longer", "text"],
)
def test_damaged_compression_is_named(change, tiny, tmp_path):
    path = tiny(tmp_path / "mnist", ".gz") / "train-images-idx3-ubyte.gz"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError) as error:
        load_splits("mnist", tmp_path)
    short(error, path, "damaged", "Delete")


def test_a_truncated_official_file_is_named(real_data, tmp_path):
    shutil.copytree(real_data / "mnist", tmp_path / "mnist", copy_function=os.symlink)
    path = tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz"
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:1_000_000])
    with pytest.raises(DataError) as error:
        load_splits("mnist", tmp_path)
    short(error, path, "truncated", "Delete")


@pytest.mark.parametrize("name", DIRECTORIES)
def test_without_data_and_network_it_says_what_to_do(name, tiny, tmp_path):
    with pytest.raises(DataError) as error:
        load_splits(name, tmp_path)
    short(error, tmp_path / name, IDX_FILES[0], "refused", "data.root", "ZOO_DATA")
    assert not list((tmp_path / name).iterdir())


@pytest.mark.parametrize("name", ["mnist", "image_folder"])
def test_a_root_that_cannot_be_made_is_named(name, tiny, tmp_path):
    (tmp_path / "file").write_text("in the way")
    options = {"path": pictures(tmp_path / "pictures")} if name == "image_folder" else {}
    with pytest.raises(DataError) as error:
        load_splits(name, tmp_path / "file" / "root", **options)
    short(error, tmp_path / "file" / "root", "data.root")


# --- download --------------------------------------------------------------------------------------------------------


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def serve():
    """A function that serves a directory at the URL it returns."""
    servers = []

    def start(directory):
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(directory))))
        threading.Thread(target=servers[-1].serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


_barrier = None  # of the two processes, in each of them


def _keep(barrier):
    global _barrier
    _barrier = barrier


def _meet(job, *args):
    _barrier.wait(timeout=60)
    return job(*args)


@pytest.fixture(scope="module")
def in_two_processes():
    """A function that gives the results of two processes that call ``job(*args)`` at the same moment."""
    context = multiprocessing.get_context("forkserver")  # starts afresh, yet imports torch once for both
    context.set_forkserver_preload(["sklearn.datasets", "torchvision.datasets", "zoo.data.splits"])
    with ProcessPoolExecutor(2, context, _keep, (context.Barrier(2),)) as pool:

        def run(job, *args):
            return [future.result(timeout=120) for future in [pool.submit(_meet, job, *args) for _ in range(2)]]

        yield run


def download_mnist(url, root):
    import torchvision.datasets

    torchvision.datasets.MNIST.mirrors = [url]
    test = sources.find("mnist").load(root).test
    return [test.images.numpy(), test.labels.numpy()]


def test_two_processes_that_download_at_once_leave_one_valid_copy(real_data, serve, in_two_processes, tmp_path):
    url, root = serve(real_data / "mnist"), tmp_path / "new" / "root"
    for downloaded in in_two_processes(download_mnist, url, root):
        for values, expected in zip(downloaded, official(real_data, "mnist", "test"), strict=True):
            assert np.array_equal(values.ravel(), expected.ravel())
    assert sorted(path.name for path in root.rglob("*")) == sorted(["mnist", *(f"{file}.gz" for file in IDX_FILES)])
    for file in IDX_FILES:
        assert filecmp.cmp(root / "mnist" / f"{file}.gz", real_data / "mnist" / f"{file}.gz", shallow=False)


class Failing(QuietHandler):
    """Answers whole after some that are not: as told by the first part of the path, ``/2-broken/…``."""

    asked: ClassVar[list[str]] = []

    def do_GET(self):
        number, how = self.path.split("/")[1].split("-")
        self.asked.append(self.path)
        if self.asked.count(self.path) > int(number):
            self.path = "/" + self.path.split("/", 2)[2]
            super().do_GET()
        elif how == "broken":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"half of it")
        else:
            self.send_error(int(how))


@pytest.mark.parametrize(
    ("way", "times"),
    [("0-broken", 1), ("2-broken", 3), ("1-503", 2), ("1-429", 2), ("3-broken", None), ("1-404", None)],
)
def test_an_answer_that_breaks_off_is_asked_for_again(way, times, tmp_path, monkeypatch):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "file").write_bytes(b"all of it")
    monkeypatch.setattr(download, "PAUSE", 0.01)
    monkeypatch.setattr(Failing, "asked", [])
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Failing, directory=str(tmp_path / "served")))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/{way}/file"
    try:
        if times:
            path = published.fetch([url], tmp_path / "got" / "file", lambda content: content == b"all of it")
            assert path.read_bytes() == b"all of it"
            assert len(Failing.asked) == times
        else:
            with pytest.raises(DataError, match="the download failed"):
                published.fetch([url], tmp_path / "got" / "file", lambda content: True)
            assert len(Failing.asked) == (1 if "404" in way else download.TRIES)
            assert not list((tmp_path / "got").iterdir())
    finally:
        server.shutdown()
        server.server_close()


def test_who_waits_in_a_terminal_sees_how_far_it_is(serve, tmp_path, monkeypatch, capsys):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "large.bin").write_bytes(bytes(2**20))
    url = serve(tmp_path / "served") + "/large.bin"
    published.fetch([url], tmp_path / "quiet", lambda content: len(content) == 2**20)
    assert "large.bin" not in capsys.readouterr().err
    monkeypatch.setenv("FORCE_COLOR", "1")
    published.fetch([url], tmp_path / "shown", lambda content: len(content) == 2**20)
    assert "large.bin" in capsys.readouterr().err


def test_mirrors_are_tried_in_turn_and_only_what_is_missing_is_fetched(tiny, serve, tmp_path, monkeypatch):
    import torchvision.datasets

    tiny(tmp_path / "served" / "other", ".gz", lambda file, data: data[:-1] + bytes([data[-1] ^ 1]))
    tiny(tmp_path / "served" / "text", ".gz")
    for path in (tmp_path / "served" / "text").iterdir():
        path.write_text("<html>Please log in</html>")
    tiny(tmp_path / "served" / "good", ".gz")
    url = serve(tmp_path / "served")
    mirrors = [
        *torchvision.datasets.FashionMNIST.mirrors,
        f"{url}/none/",
        f"{url}/text",
        f"{url}/other/",
        f"{url}/good/",
    ]
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", mirrors)
    kept = tmp_path / "root" / "fashion_mnist" / IDX_FILES[2]
    kept.parent.mkdir(parents=True)
    kept.write_bytes(tiny.contents[IDX_FILES[2]])
    assert is_tiny(load_splits("fashion_mnist", tmp_path / "root"), tiny)
    assert sorted(path.name for path in kept.parent.iterdir()) == sorted(
        [kept.name, *(f"{f}.gz" for f in IDX_FILES if f != kept.name)]
    )
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", mirrors[:-1])
    with pytest.raises(DataError) as error:
        load_splits("fashion_mnist", tmp_path / "empty")
    short(error, "other content", mirrors[-2])
    assert not list((tmp_path / "empty" / "fashion_mnist").iterdir())


def test_a_full_disk_leaves_nothing_half_written(tiny, serve, tmp_path, monkeypatch):
    import torchvision.datasets

    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [serve(tiny(tmp_path / "served", ".gz"))])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(DataError) as error:
            load_splits("mnist", tmp_path / "root")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    short(error, "train-images-idx3-ubyte.gz", "cannot be written", "data.root")
    assert not list((tmp_path / "root" / "mnist").iterdir())


# --- folders of pictures ---------------------------------------------------------------------------------------------


def save(path, pixels, mode=None, **options):
    """Write an array, or a picture, as an image file in the given mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.asarray(pixels))
    (picture.convert(mode) if mode else picture).save(path, **options)
    return path


def blob(size=28, ground=0, ink=255, at=8):
    """A square of ink on a plain ground."""
    pixels = np.full((size, size), ground, np.uint8)
    pixels[at : at + size // 3, at : at + size // 3] = ink
    return pixels


def pictures(folder, classes=("ant", "bee"), count=5, splits=("",)):
    """A folder of small grey pictures, all different."""
    for split, (label, name), number in product(splits, enumerate(classes), range(count)):
        save(folder / split / name / f"{number}.png", blob(ink=255 - 40 * label - number, at=3 + number))
    return folder


def everything(splits):
    return torch.cat([splits.train.images, splits.val.images, splits.test.images])


def grey_ramp():
    return np.arange(0, 256, dtype=np.uint8).reshape(16, 16)


@pytest.mark.parametrize(
    ("suffix", "make"),
    [
        ("png", lambda v: Image.fromarray(v)),
        ("png", lambda v: Image.fromarray(v).convert("RGB")),
        ("png", lambda v: Image.fromarray(v).convert("RGBA")),
        ("png", lambda v: Image.fromarray(v).convert("LA")),
        ("png", lambda v: Image.fromarray(v).convert("P")),
        ("png", lambda v: Image.fromarray(v.astype(np.uint16) * 257)),
        ("tiff", lambda v: Image.fromarray(v.astype(np.uint16) * 257)),
        ("tiff", lambda v: Image.fromarray(v.astype(np.int32))),
        ("tiff", lambda v: Image.fromarray(v.astype(np.int32) * 257)),
        ("tiff", lambda v: Image.fromarray(v.astype(np.float32) / 255)),
        ("tiff", lambda v: Image.fromarray(v.astype(np.float32))),
        ("tiff", lambda v: Image.merge("CMYK", [Image.fromarray(255 - v)] * 3 + [Image.fromarray(v * 0)])),
        ("bmp", lambda v: Image.fromarray(v)),
        ("pgm", lambda v: Image.fromarray(v)),
        ("gif", lambda v: Image.fromarray(v)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("color", [False, True])
def test_every_mode_reads_as_the_same_grey(suffix, make, color, tmp_path):
    path = tmp_path / f"ramp.{suffix}"
    make(grey_ramp()).save(path)
    pixels = image.read_image(path, (16, 16), color)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (3 if color else 1, 16, 16)
    assert pixels.flags.c_contiguous
    assert np.array_equal(pixels, np.broadcast_to(grey_ramp(), pixels.shape))


def test_one_bit_is_black_and_white(tmp_path):
    path = save(tmp_path / "one.png", blob(), "1")
    assert np.array_equal(image.read_image(path, (28, 28), False)[0], blob())


def test_color_is_kept_or_weighed(tmp_path):
    red = save(tmp_path / "red.png", np.full((5, 5, 3), (255, 0, 0), np.uint8))
    assert image.read_image(red, (5, 5), True)[:, 2, 2].tolist() == [255, 0, 0]
    assert image.read_image(red, (5, 5), False)[0, 2, 2] == 76  # ITU-R 601: 0.299 R + 0.587 G + 0.114 B
    ink = save(tmp_path / "ink.jpg", Image.new("CMYK", (16, 16), (255, 0, 0, 0)), quality=100)
    assert np.abs(image.read_image(ink, (16, 16), True)[:, 8, 8].astype(int) - [0, 255, 255]).max() < 4


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_white(mode, tmp_path):
    alpha = Image.fromarray(blob(ink=255))
    picture = Image.new("L", alpha.size, 0).convert("RGBA")
    picture.putalpha(alpha)
    if mode == "P":
        picture = Image.fromarray(blob(ink=1)).convert("P")
        picture.putpalette([0] * 768)
        path = save(tmp_path / "p.png", picture, transparency=0)
    else:
        path = save(tmp_path / "a.png", picture, mode)
    assert np.array_equal(image.read_image(path, (28, 28), False)[0], 255 - blob())
    half = save(tmp_path / "half.png", Image.new("RGBA", (4, 4), (0, 0, 0, 128)))
    assert image.read_image(half, (4, 4), True)[0, 0, 0] == 127


UPRIGHT = {2: np.fliplr, 3: lambda v: np.rot90(v, 2), 4: np.flipud, 6: lambda v: np.rot90(v, -1), 8: np.rot90}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_turns_a_picture_upright(orientation, tmp_path):
    stored = np.zeros((16, 32), np.uint8)
    stored[:8, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "photo.jpg", stored, exif=exif, quality=100)
    upright = UPRIGHT[orientation](stored)
    pixels = image.read_image(path, upright.shape, False)[0]
    assert np.abs(pixels.astype(int) - upright).max() < 16


@pytest.mark.parametrize("shape", [(40, 20), (20, 40), (300, 200), (1, 500), (500, 1), (1, 1), (2, 3)])
@pytest.mark.parametrize("color", [False, True])
def test_any_size_is_padded_with_its_ground(shape, color, tmp_path):
    plain = save(tmp_path / "plain.png", np.full(shape, 90, np.uint8))
    assert (image.read_image(plain, (28, 28), color) == 90).all()


def test_the_aspect_is_kept(tmp_path):
    wide = np.zeros((64, 128), np.uint8)
    wide[16:48, 32:96] = 255  # twice as wide as high
    pixels = image.read_image(save(tmp_path / "wide.png", wide), (32, 32), False)[0] > 127
    assert pixels.any(0).sum() == 16
    assert pixels.any(1).sum() == 8
    assert np.array_equal(pixels, pixels[::-1, ::-1])  # in the middle


def test_pictures_of_the_right_size_come_back_exactly(tmp_path):
    digits = load_splits("digits")
    expected = {}
    for part, split in (("train", digits.train.take(torch.arange(200))), ("test", digits.test.take(torch.arange(60)))):
        by_class = split.labels.argsort(stable=True)
        expected[part] = split.take(by_class)
        for number in by_class.tolist():
            save(
                tmp_path / "in" / part / str(int(split.labels[number])) / f"{number:04}.png",
                split.images[number, 0].numpy(),
            )
    splits = load_splits("image_folder", tmp_path / "root", path=tmp_path / "in")
    assert same(splits.train, expected["train"])
    assert same(splits.test, expected["test"])
    assert splits.spec.shape == (1, 28, 28)
    assert splits.spec.class_names == tuple("0123456789")
    assert (splits.spec.mean, splits.spec.std) == image.statistics(expected["train"].images)


def test_mixed_files_in_one_folder(tmp_path):
    folder = tmp_path / "in"
    save(folder / "ant" / "a.png", blob(40))
    save(folder / "ant" / "deep" / "b.JPG", blob(100), format="jpeg")
    save(folder / "ant" / "c.png", blob(28), "RGBA")
    save(folder / "bee" / "d.tiff", blob(28), "CMYK")
    save(folder / "bee" / "e.png", blob(30), "1")
    save(folder / "bee" / "f.png", blob(28).astype(np.uint16) * 257)
    (folder / "bee" / "notes.txt").write_text("ignored")
    (folder / "bee" / ".hidden.png").write_text("ignored")
    (folder / "bee" / ".thumbs").mkdir()
    (folder / "bee" / ".thumbs" / "g.png").write_text("ignored")
    (folder / ".git").mkdir()
    (folder / "labels.csv").write_text("ignored")
    splits = load_splits("image_folder", tmp_path / "root", path=folder, image_size=20)
    assert splits.spec.class_names == ("ant", "bee")
    assert everything(splits).shape == (6, 1, 20, 20)
    for split in (splits.train, splits.test):
        assert split.labels.unique().tolist() == [0, 1]
    assert splits.notes[1] == "5 left out: 3 × hidden, 1 × .csv, 1 × .txt"
    assert ((everything(splits) > 127).flatten(1).sum(1) > 20).all()  # a light square in each


@pytest.mark.parametrize(
    ("color", "colored", "channels"), [("auto", False, 1), ("auto", True, 3), ("grey", True, 1), ("color", False, 3)]
)
def test_grey_and_color_are_told_apart(color, colored, channels, tmp_path):
    folder = pictures(tmp_path / "in")
    picture = np.repeat(blob()[..., None], 3, 2)
    picture[10, 10] = (200, 100, 50) if colored else 77
    save(folder / "bee" / "last.png", picture)
    splits = load_splits("image_folder", tmp_path / "root", path=folder, color=color)
    assert splits.spec.shape == (channels, 28, 28) == tuple(everything(splits).shape[1:])
    assert len(splits.spec.mean) == len(splits.spec.std) == channels


@pytest.mark.parametrize(
    ("invert", "color", "dark", "light"),
    [
        ("auto", "grey", "inverted", "kept"),
        ("always", "grey", "inverted", "inverted"),
        ("never", "grey", "kept", "kept"),
        ("auto", "color", "kept", "kept"),
        ("always", "color", "inverted", "inverted"),
    ],
)
def test_invert(invert, color, dark, light, tmp_path):
    """``dark`` is drawn dark on light, ``light`` light on dark."""
    originals = {"dark": blob(ground=230, ink=20), "light": blob(ground=10, ink=220)}
    for (name, pixels), part in product(originals.items(), ("train", "test")):
        save(tmp_path / "in" / part / name / "0.png", pixels)
    splits = load_splits("image_folder", tmp_path, path=tmp_path / "in", invert=invert, color=color)
    for pixels, name, fate in zip(splits.train.images.numpy(), originals, (dark, light), strict=True):
        assert (pixels == (255 - originals[name] if fate == "inverted" else originals[name])).all()
    assert splits.spec.settings == {
        "invert": invert,
        "frame": "picture",
    }  # so that a picture to be classified is treated the same way


def test_real_digits_and_clothes_are_not_inverted(source):
    _, whole, _ = source
    assert not any(image.is_dark_on_light(one) for one in whole.test.images.numpy())
    images = whole.test.images[:300, 0]
    edges = torch.cat([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], 1)
    framed = whole.test.images[:300][edges.median(1)[0] == 0].numpy()
    assert len(framed) > 200
    assert all(image.is_dark_on_light(255 - one) for one in framed)


def broken(folder, what):
    """Spoil a folder of pictures; return the path that the message must name."""
    if what == "text":
        path = folder / "bee" / "text.png"
        path.write_text("I am no picture")
    elif what == "truncated":
        path = folder / "ant" / "0.png"
        path.write_bytes(path.read_bytes()[:-30])
    elif what == "truncated jpeg":
        path = save(folder / "ant" / "0.jpg", blob(200))
        path.write_bytes(path.read_bytes()[:700])
    elif what == "empty":
        path = folder / "ant" / "empty.bmp"
        path.touch()
    elif what == "no image":
        path = folder / "cow"
        path.mkdir()
    elif what == "one class":
        path = folder
        shutil.rmtree(folder / "bee")
    elif what == "train alone":
        path = folder
        for name in ("train", "val"):
            pictures(folder / name)
    elif what == "no picture at all":
        path = folder
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / "notes.txt").touch()
    return path


@pytest.mark.parametrize(
    "what",
    ["text", "truncated", "truncated jpeg", "empty", "no image", "one class", "train alone", "no picture at all"],
)
def test_a_bad_folder_is_refused_and_leaves_nothing(what, tmp_path):
    path = broken(pictures(tmp_path / "in"), what)
    with pytest.raises(DataError) as error:
        load_splits("image_folder", tmp_path / "root", path=tmp_path / "in")
    short(error, path)
    assert not list((tmp_path / "root").rglob("*.npy"))
    assert not list((tmp_path / "root").glob(".cache/*"))


def test_splits_with_other_classes_are_refused(tmp_path):
    pictures(tmp_path / "in" / "train", ("ant", "bee", "cow"))
    pictures(tmp_path / "in" / "test", ("ant", "bee", "dog"))
    with pytest.raises(DataError) as error:
        load_splits("image_folder", tmp_path, path=tmp_path / "in")
    short(error, tmp_path / "in", "different classes", "dog", "cow")


def test_a_folder_without_test_has_a_fixed_part_of_each_class_set_apart(tmp_path):
    folder = pictures(tmp_path / "in", count=20)
    one, two = (load_splits("image_folder", tmp_path, path=folder, val_size=0.25, split_seed=seed) for seed in (0, 1))
    assert same(one.test, two.test)
    assert not same(one.val, two.val)
    assert all(1 <= count <= 10 for count in one.test.labels.bincount(minlength=2).tolist())
    assert len(one.val) == round(0.25 * (40 - len(one.test)))
    assert len({image.numpy().tobytes() for image in everything(one)}) == 40


def test_two_pictures_are_enough_for_a_test_part(tmp_path):
    splits = load_splits("image_folder", tmp_path, path=pictures(tmp_path / "in", count=1))
    assert (len(splits.train), len(splits.test)) == (1, 1)


def caches(root):
    """Each cached array and when it was written."""
    return {path: path.stat().st_mtime_ns for path in root.glob(".cache/*/images.npy")}


def test_the_cache_is_used_again(tmp_path):
    folder = pictures(tmp_path / "in")
    first = load_splits("image_folder", tmp_path, path=folder)
    written = caches(tmp_path)
    second = load_splits("image_folder", tmp_path, path=folder)
    assert len(written) == 1
    assert caches(tmp_path) == written
    assert same(first.train, second.train)
    assert same(first.test, second.test)
    assert first.fingerprint == second.fingerprint
    moved = shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile)  # new times, same content
    assert load_splits("image_folder", tmp_path, path=moved).fingerprint == first.fingerprint


def test_the_cache_is_no_class(tmp_path):
    folder = pictures(tmp_path)
    for _ in range(2):
        assert load_splits("image_folder", folder, path=folder).spec.class_names == ("ant", "bee")


def test_the_cache_is_not_written_through(tmp_path):
    folder = pictures(tmp_path / "in", splits=("train", "test"))
    kept = load_splits("image_folder", tmp_path, path=folder).train.images.clone()
    load_splits("image_folder", tmp_path, path=folder).train.images.zero_()
    assert torch.equal(load_splits("image_folder", tmp_path, path=folder).train.images, kept)
    assert kept.any()


@pytest.mark.parametrize(
    "change",
    ["content", "added", "removed", "renamed", "moved", {"image_size": 14}, {"color": "color"}, {"invert": "always"}],
    ids=str,
)
def test_the_cache_follows_files_and_options(change, tmp_path):
    folder = pictures(tmp_path / "in", splits=("train", "test"))
    path = folder / "train" / "ant" / "0.png"
    before = load_splits("image_folder", tmp_path, path=folder)
    if change == "content":
        save(path, blob(ink=7))
    elif change == "added":
        save(path.with_name("9.png"), blob(ink=7))
    elif change == "removed":
        path.unlink()
    elif change == "renamed":
        path.rename(path.with_name("9.png"))
    elif change == "moved":
        path.rename(folder / "train" / "bee" / "9.png")
    after = load_splits("image_folder", tmp_path, path=folder, **(change if isinstance(change, dict) else {}))
    assert len(caches(tmp_path)) == 2
    assert not same(before.train, after.train)
    assert before.fingerprint != after.fingerprint
    fresh = load_splits("image_folder", tmp_path / "fresh", path=folder, **(change if isinstance(change, dict) else {}))
    assert same(after.train, fresh.train)
    assert after.fingerprint == fresh.fingerprint


@pytest.mark.parametrize("damage", ["truncated", "gone", "empty"])
def test_a_damaged_cache_is_named(damage, tmp_path):
    folder = pictures(tmp_path / "in")
    load_splits("image_folder", tmp_path, path=folder)
    (path,) = caches(tmp_path)
    if damage == "truncated":
        os.truncate(path, 1000)
    elif damage == "empty":
        shutil.rmtree(path.parent)
        path.parent.mkdir()
    else:
        path.unlink()
    with pytest.raises(DataError) as error:
        load_splits("image_folder", tmp_path, path=folder)
    short(error, path.parent, "delete it")


def decode(root, folder):
    return load_splits("image_folder", root, path=folder).fingerprint


def test_two_processes_that_decode_at_once_leave_one_valid_cache(in_two_processes, tmp_path):
    folder = pictures(tmp_path / "in", count=60)
    fingerprints = in_two_processes(decode, tmp_path / "root", folder)
    written = caches(tmp_path / "root")
    assert len(written) == 1
    assert len(list((tmp_path / "root" / ".cache").iterdir())) == 1
    assert fingerprints == [decode(tmp_path / "fresh", folder)] * 2 == [decode(tmp_path / "root", folder)] * 2
    assert caches(tmp_path / "root") == written


# --- batches ---------------------------------------------------------------------------------------------------------


def numbered(count, size=4):
    """Image i is filled with i, and its label is i."""
    labels = torch.arange(count)
    return Split(labels.to(torch.uint8)[:, None, None, None].expand(count, 1, size, size).contiguous(), labels)


def noise(count=64, channels=1, size=8):
    images = torch.randint(1, 256, (count, channels, size, size), generator=torch.Generator().manual_seed(7))
    return Split(images.to(torch.uint8), torch.arange(count))


def order(batches, epoch=0):
    batches.set_epoch(epoch)
    return torch.cat([labels for _, labels in batches]).tolist()


def equal(a, b):
    return len(a) == len(b) and all(
        torch.equal(x, u) and torch.equal(y, v) for (x, y), (u, v) in zip(a, b, strict=True)
    )


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch_size", [1, 7, 50, 103, 1000])
def test_an_epoch_visits_each_image_once(shuffle, batch_size):
    batches = Batches(numbered(103), batch_size, shuffle=shuffle)
    for epoch in range(3):
        batches.set_epoch(epoch)
        got = list(batches)
        sizes = [len(labels) for _, labels in got]
        assert len(got) == len(batches) == -(-103 // batch_size)
        assert max(sizes) <= batch_size
        assert max(sizes) - min(sizes) <= 1
        assert sorted(torch.cat([labels for _, labels in got]).tolist()) == list(range(103))
        for images, labels in got:
            assert images.dtype == torch.float32
            assert images.shape == (len(labels), 1, 4, 4)
            assert torch.equal(images, (labels.float() / 255)[:, None, None, None].expand_as(images))


@pytest.mark.parametrize(("batch_size", "least"), [(4, 8), (4, 3), (10, 5), (3, 4)])
def test_an_epoch_of_few_images_has_as_many_batches_as_are_asked_for(batch_size, least):
    """One pass after the other, also from one epoch to the next."""
    batches = Batches(numbered(10), batch_size, shuffle=True, least=least)
    once = -(-10 // batch_size)
    assert len(batches) == max(once, least)
    found = []
    for epoch in range(once):
        batches.set_epoch(epoch)
        found += [labels.tolist() for _, labels in batches]
        assert [batches.whole(number) for number in range(len(batches))] == list(map(len, found[-len(batches) :]))
    passes = [list(chain(*found[start : start + once])) for start in range(0, len(found), once)]
    assert all(sorted(one) == list(range(10)) for one in passes)
    assert len({tuple(one) for one in passes}) == len(passes)


def test_values_span_zero_to_one():
    (images, _), *_ = Batches(Split(torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16), torch.zeros(1).long()), 1)
    assert images.min() == 0
    assert images.max() == 1
    assert torch.equal(images.flatten(), torch.arange(256) / 255)


def test_without_shuffling_the_order_is_the_splits():
    assert order(Batches(numbered(50), 8), epoch=3) == list(range(50))


def test_order_is_a_function_of_seed_and_epoch():
    def orders(seed):
        batches = Batches(numbered(100), 16, shuffle=True, seed=seed)
        return [order(batches, epoch) for epoch in (0, 1, 2)]

    assert orders(0) == orders(0)
    assert len({tuple(found) for seed in (0, 1, 12345678901) for found in orders(seed)}) == 9
    assert order(Batches(numbered(100), 16, shuffle=True), epoch=2) == orders(0)[2]  # whatever came before
    assert order(Batches(numbered(100), 30, shuffle=True), epoch=2) == orders(0)[2]  # however it is cut


def test_the_global_random_numbers_are_neither_read_nor_advanced():
    def epoch(seed):
        torch.manual_seed(seed)
        batches = Batches(noise(), 10, shuffle=True, augment=Augment(shift=2, flip=True, erase=0.5, hide=0.9), seed=3)
        got = list(batches)
        return got, torch.get_rng_state()

    (one, state), (two, _) = epoch(1), epoch(2)
    assert equal(one, two)
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("count", "batch_size", "world_size"), [(103, 10, 2), (100, 7, 3), (64, 64, 4), (5, 2, 4), (5, 1, 4), (7, 1, 7)]
)
@pytest.mark.parametrize("shuffle", [False, True])
def test_processes_share_an_epoch(count, batch_size, world_size, shuffle):
    ranks = [
        Batches(numbered(count), batch_size, shuffle=shuffle, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    got = [list(batches) for batches in ranks]
    assert len({len(found) for found in got}) == 1
    assert len(got[0]) == len(ranks[0]) > 0
    sizes = [len(labels) for found in got for _, labels in found]
    assert min(sizes) > 0
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= max(batch_size, 2)
    assert sorted(label for found in got for _, labels in found for label in labels.tolist()) == list(range(count))


def test_processes_augment_differently():
    split = Split(noise(1).images.expand(8, 1, 8, 8), torch.zeros(8).long())
    one, two = (list(Batches(split, 4, augment=Augment(shift=4), rank=rank, world_size=2)) for rank in (0, 1))
    assert not equal(one, two)


def test_fewer_images_than_processes_are_refused():
    with pytest.raises(ConfigError) as error:
        Batches(numbered(3), 2, world_size=4)
    short(error, "3 images", "4 processes")


def test_no_image_is_no_batch():
    batches = Batches(numbered(0), 8, shuffle=True)
    assert len(batches) == 0
    assert list(batches) == []


@pytest.mark.parametrize(("stop", "least"), [(1, 0), (3, 0), (6, 0), (5, 16), (7, 16), (15, 16)])
def test_an_interrupted_epoch_goes_on_with_the_same_batches(stop, least):
    def make():
        augment = Augment(shift=2, flip=True, erase=0.5, hide=0.9)
        batches = Batches(noise(61), 10, shuffle=True, least=least, augment=augment, seed=5)
        batches.set_epoch(4)
        return batches

    whole, interrupted, resumed = list(make()), make(), make()
    for _, _ in zip(range(stop), interrupted, strict=False):
        pass
    state = interrupted.state_dict()
    assert all(isinstance(value, int) for value in state.values())  # fit for a checkpoint of plain data
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    assert equal(list(resumed), whole[stop:])
    resumed.set_epoch(5)
    straight = make()
    straight.set_epoch(5)
    assert equal(list(resumed), list(straight))  # the next epoch is whole again
    assert len(whole) == max(7, least)


@pytest.mark.parametrize("exhausted", [True, False])
def test_after_a_whole_epoch_the_next_one_starts_at_its_beginning(exhausted):
    batches, resumed = Batches(numbered(20), 6, shuffle=True), Batches(numbered(20), 6, shuffle=True)
    iterator = iter(batches)
    for _ in range(len(batches)):
        next(iterator)  # Lightning stops after the last batch, without asking for one more
    if exhausted:
        assert next(iterator, None) is None
    resumed.load_state_dict(batches.state_dict())
    resumed.set_epoch(1)
    assert order(resumed, 1) == order(batches, 1)
    assert len(order(resumed, 1)) == 20


def test_an_iteration_that_was_left_early_does_not_shorten_the_next():
    batches = Batches(numbered(20), 6)
    next(iter(batches))  # a peek; Lightning's sanity check and limit_val_batches do the same
    assert order(batches) == list(range(20))


# --- augmentation ----------------------------------------------------------------------------------------------------


def shifted(image, down, right):
    """One image ``(C, H, W)`` moved by whole pixels, pixel by pixel."""
    result = torch.zeros_like(image)
    _, height, width = image.shape
    for y, x in product(range(height), range(width)):
        if 0 <= y - down < height and 0 <= x - right < width:
            result[:, y, x] = image[:, y - down, x - right]
    return result


@pytest.mark.parametrize(("reach", "channels"), [(1, 1), (2, 3)])
def test_a_shift_moves_each_image_by_its_own_offset(reach, channels):
    image = noise(1, channels, 6).images
    moved = Augment(shift=reach)(image.expand(1000, -1, -1, -1), generator())
    versions = {shifted(image[0], *by).numpy().tobytes(): by for by in product(range(-reach, reach + 1), repeat=2)}
    assert len(versions) == (2 * reach + 1) ** 2
    drawn = Counter(versions[one.numpy().tobytes()] for one in moved)  # a KeyError: moved in some other way
    assert len(drawn) == len(versions)
    assert max(drawn.values()) < 2 * 1000 / len(versions)


def test_a_shift_keeps_images_apart():
    split = noise(50)
    for one, moved in zip(split.images, Augment(shift=1)(split.images, generator()), strict=True):
        assert any(torch.equal(moved, shifted(one, *by)) for by in product((-1, 0, 1), repeat=2))


def test_a_flip_mirrors_half_of_the_images():
    images = noise(1000, 2, 5).images
    flipped = Augment(flip=True)(images, generator())
    mirrored = torch.tensor([torch.equal(one, image.flip(-1)) for one, image in zip(flipped, images, strict=True)])
    kept = torch.tensor([torch.equal(one, image) for one, image in zip(flipped, images, strict=True)])
    assert (mirrored ^ kept).all()
    assert 450 < mirrored.sum() < 550


@pytest.mark.parametrize("probability", [0.3, 1.0])
@pytest.mark.parametrize(("height", "width"), [(28, 28), (20, 40)])
def test_erasing_replaces_one_rectangle_by_noise(probability, height, width):
    black = torch.zeros(1000, 3, height, width, dtype=torch.uint8)
    on_black = Augment(erase=probability)(black, generator())
    on_white = Augment(erase=probability)(black + 255, generator())
    assert on_black.dtype == torch.uint8
    hit = on_black == on_white  # what was there does not show through
    assert (on_black[~hit] == 0).all()
    assert (on_white[~hit] == 255).all()
    assert torch.equal(hit.any(1), hit.all(1))  # all channels
    hit = hit[:, 0]
    rows, columns = hit.any(2), hit.any(1)
    assert torch.equal(hit, rows[:, :, None] & columns[:, None, :])  # a product of rows and columns
    for lines in (rows, columns):
        assert (
            lines.byte().diff(dim=1, prepend=torch.zeros(1000, 1), append=torch.zeros(1000, 1)).abs().sum(1) <= 2
        ).all()
    erased = hit.flatten(1).any(1)
    assert erased.float().mean() == pytest.approx(probability, abs=0.04)
    tall, wide = rows.sum(1)[erased].double(), columns.sum(1)[erased].double()
    # whole pixels: each side may be up to one away from the drawn one
    assert ((tall - 1) * (wide - 1) <= 0.33 * height * width).all()
    assert ((tall + 1) * (wide + 1) >= 0.02 * height * width).all()
    unclipped = (tall < height) & (wide < width)
    aspect = [((tall + sign) / (wide - sign).clamp_min(0.1))[unclipped] for sign in (1, -1)]
    assert (aspect[0] >= 0.3).all()
    assert (aspect[1] <= 3.3).all()
    assert (tall * wide).mean() / (height * width) == pytest.approx(0.175, abs=0.02)
    values = on_black[hit[:, None].expand_as(on_black)].double()
    assert values.mean() == pytest.approx(127.5, abs=1)
    assert values.std() == pytest.approx(73.9, abs=1)


@pytest.mark.parametrize("size", [(28, 28), (20, 30)])
def test_hiding_takes_pixels_or_a_side_and_fills_them_in(size):
    """What is hidden are single pixels of half the images, and all along one side of the others: up to that share, and
    never all. In their place are means of the pixels around, and nothing of the image that was there."""
    hide, images = 0.9, torch.full((2000, 2, *size), 200, dtype=torch.uint8)
    augment = Augment(hide=hide)
    assert torch.equal(augment(images, generator()), images)  # the mean of equal pixels
    seen = augment._seen(images, generator())
    assert seen.shape == (2000, 1, *size)
    hidden = ~seen[:, 0]
    rows, columns = hidden.all(2), hidden.all(1)
    whole = [(hidden == lines).flatten(1).all(1) for lines in (rows[:, :, None], columns[:, None])]
    side = hidden.flatten(1).any(1) & (whole[0] | whole[1])
    along = {
        (int(all_rows[0]) - int(all_rows[-1]), int(all_columns[0]) - int(all_columns[-1]))
        for all_rows, all_columns in zip(rows[side], columns[side], strict=True)
    }
    assert along == {(1, 0), (-1, 0), (0, 1), (0, -1)}
    assert side.double().mean() == pytest.approx(0.5, abs=0.05)
    for kind in (side, ~side):
        shares = hidden[kind].flatten(1).double().mean(1)
        assert shares.max() < 1
        assert shares.mean() == pytest.approx(hide / 2, abs=0.05)
        assert shares.std() == pytest.approx(hide / 12**0.5, abs=0.05)
    assert Augment(hide=0.999)._seen(images, generator()).flatten(1).any(1).all()
    noisy = noise(300, 2, size[0]).images
    changed, kept = augment(noisy, generator()), augment._seen(noisy, generator()).expand_as(noisy)
    assert torch.equal(changed[kept], noisy[kept])
    assert torch.equal(changed, local_mean(noisy, kept, torch.zeros(1, dtype=torch.uint8)))


def test_augment_does_nothing_by_itself():
    images = noise().images
    state = generator().get_state()
    unused = generator()
    assert not Augment()
    assert torch.equal(Augment()(images, unused), images)
    assert torch.equal(unused.get_state(), state)
    assert equal(list(Batches(noise(), 10, augment=Augment())), list(Batches(noise(), 10)))


@pytest.mark.parametrize(
    "options",
    [
        {"shift": 1},
        {"rotate": 15},
        {"scale": 0.2},
        {"flip": True},
        {"erase": 0.5},
        {"hide": 0.5},
        {"shift": 2, "rotate": 180, "scale": 0.5, "flip": True, "erase": 1.0, "hide": 0.9},
    ],
    ids=str,
)
def test_augmentation_is_drawn_anew_each_epoch_and_spares_the_data(options):
    split = noise()
    untouched = split.images.clone()
    batches = Batches(split, 16, augment=Augment(**options), seed=1)
    epochs = []
    for epoch in (0, 1, 0):
        batches.set_epoch(epoch)
        epochs.append(list(batches))
    assert not equal(epochs[0], epochs[1])
    assert equal(epochs[0], epochs[2])
    assert not equal(epochs[0], list(Batches(split, 16, augment=Augment(**options), seed=2)))
    assert torch.equal(split.images, untouched)
    assert all(images.dtype == torch.float32 and images.min() >= 0 and images.max() <= 1 for images, _ in epochs[0])


@pytest.mark.parametrize(
    "options",
    [
        {"shift": -1},
        {"rotate": -1},
        {"rotate": 181},
        {"scale": 1},
        {"scale": -0.1},
        {"erase": 1.5},
        {"erase": -0.1},
        {"erase": float("nan")},
        {"hide": 1},
        {"hide": -0.1},
    ],
    ids=str,
)
def test_impossible_augmentation_is_refused(options):
    with pytest.raises(ConfigError) as error:
        Augment(**options)
    short(error, f"data.augment.{next(iter(options))}", next(iter(options.values())))


@pytest.mark.parametrize("size", [(28, 28), (20, 31)])
def test_a_turn_is_that_of_torchvision(size):
    """By angles and factors that are drawn evenly, of each image its own; black moves in from outside."""
    x = torch.randint(256, (300, 2, *size), dtype=torch.uint8, generator=generator())
    found = Augment(rotate=40, scale=0.3)(x, generator())
    u = torch.rand(2, len(x), generator=generator()) * 2 - 1
    assert float(u.min()) < -0.9
    assert float(u.max()) > 0.9
    for one, turned, angle, size in zip(x, found, (40 * u[0]).tolist(), (-0.3 * u[1]).exp().tolist(), strict=True):
        expected = affine(one.float(), -angle, [0, 0], size, [0.0], InterpolationMode.BILINEAR)
        assert (turned - expected).abs().max() < 0.51  # rounded
    assert torch.equal(Augment(rotate=1e-4)(x, generator()), x)


def test_a_quarter_turn_moves_pixels_to_others():
    x = torch.zeros(1, 1, 5, 5, dtype=torch.uint8)
    x[..., 0, 1] = 200
    ends = [torch.full((2, 1), value) for value in (0.0, 1.0)]
    with mock.patch("torch.rand", side_effect=ends):
        one, other = (Augment(rotate=90)(x, generator())[0, 0] for _ in ends)
    assert {tuple(map(int, place.nonzero()[0])) for place in (one, other)} == {(1, 4), (3, 0)}
    assert one.max() == other.max() == 200


@pytest.mark.parametrize("shape", [(9, 1, 6, 9), (12, 3, 9, 4)])
def test_mirror_and_shift_together_are_those_of_each_image(shape):
    """With the same random numbers, an image at a time: mirrored first, then moved, black moving in."""
    x = torch.randint(256, shape, dtype=torch.uint8)
    found = Augment(shift=2, flip=True)(
        x.transpose(2, 3).contiguous().transpose(2, 3), torch.Generator().manual_seed(3)
    )
    generator = torch.Generator().manual_seed(3)
    mirrored = torch.rand(len(x), 1, 1, 1, generator=generator).flatten() < 0.5
    rows, columns = torch.randint(5, (2, len(x)), generator=generator)
    assert 0 < int(mirrored.sum()) < len(x)
    for picture, moved, mirror, row, column in zip(x, found, mirrored, rows.tolist(), columns.tolist(), strict=True):
        padded = torch.nn.functional.pad(picture.flip(2) if mirror else picture, (2, 2, 2, 2))
        height, width = shape[2:]
        assert torch.equal(moved, padded[:, row : row + height, column : column + width])
