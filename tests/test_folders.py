"""A user's folder: every file is used or counted, splits go by their names, and what trains does not test."""

import json
import os
import runpy
import shutil
import sys
import unicodedata

import numpy as np
import pytest
import torch
from conftest import CONFIGS, ROOT
from PIL import Image

import zoo
from zoo import capability, config
from zoo.data import folders, kinds
from zoo.data.datamodule import ImageDataModule
from zoo.data.decoded import RECORD, set_apart
from zoo.data.kinds import image
from zoo.data.splits import load_splits
from zoo.errors import DataError, ZooError

pytestmark = pytest.mark.usefixtures("one_thread")


def picture(path, seed, ground=0, **options):
    """A grey picture of its own, light on dark where the ground is 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng([*str(seed).encode()])
    pixels = np.full((12, 12), ground, np.uint8)
    pixels[3:9, 3:9] = generator.integers(100, 156, (6, 6))
    Image.fromarray(pixels).save(path, **options)
    return path


def fill(root, *folders, count=3):
    """``count`` pictures in each of the folders, all different."""
    for folder in folders:
        for number in range(count):
            picture(root / folder / f"{number}.png", f"{folder}/{number}")
    return root


def load(tmp_path, path=None, **options):
    return load_splits("image_folder", tmp_path / "root", path=path or tmp_path / "in", image_size=12, **options)


def sizes(splits):
    return len(splits.train), len(splits.val), len(splits.test)


def noted(splits, *words):
    return any(all(word in note for word in words) for note in splits.notes)


# what is a picture, and what is left out


Image.init()  # which knows then what it writes, too
WRITTEN = [suffix for suffix in image.SUFFIXES if Image.EXTENSION[suffix] in Image.SAVE]


@pytest.mark.parametrize("suffix", WRITTEN)
def test_every_suffix_that_pillow_writes_is_read(suffix, tmp_path):
    form = Image.EXTENSION[suffix]
    fill(tmp_path / "in", "a", "b")
    plain = Image.new("L", (32, 32))
    plain.paste(200, (8, 8, 24, 24))
    for mode in ("L", "RGB", "1"):
        try:
            plain.convert(mode).save(tmp_path / "in" / "a" / f"other{suffix.upper()}", format=form)
            break
        except (OSError, ValueError):
            continue
    assert sum(sizes(load(tmp_path))) == 7


def test_jpegs_are_known_by_all_their_names():
    assert {".jfif", ".jpe", ".jp2", ".tga", ".pbm", ".pgm", ".ppm", ".pnm", ".avif", ".webp"} <= set(image.SUFFIXES)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("a/notes.txt", "1 × .txt"),
        ("a/Thumbs.db", "1 × .db"),
        ("a/scan", "1 × without a suffix"),
        ("a/photo.HEIC", "1 × .heic"),
        ("a/.DS_Store", "1 × hidden"),
        ("a/._0.png", "1 × hidden"),
        ("a/.thumbs/0.png", "1 × hidden"),
        ("a/@eaDir/0.png", "1 × hidden"),
        ("__MACOSX/a/._0.png", "1 × hidden"),
        (".git/config", "1 × hidden"),
        ("labels.csv", "1 × .csv"),
        ("0.png", "1 × beside the folders of classes"),
    ],
)
@pytest.mark.parametrize("split", ["", "train/"])
def test_what_is_left_out_is_counted_in_one_line(file, said, split, tmp_path):
    root = fill(tmp_path / "in", f"{split}a", f"{split}b", *(["test/a", "test/b"] if split else []))
    path = root / (split + file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"no picture")
    splits = load(tmp_path)
    assert sum(sizes(splits)) == (12 if split else 6)
    assert splits.spec.class_names == ("a", "b")
    assert [note for note in splits.notes if "left out" in note] == [f"1 left out: {said}"]


def test_nothing_is_said_where_nothing_is_left_out(tmp_path):
    fill(tmp_path / "in", "train/a", "train/b", "test/a", "test/b")
    assert load(tmp_path).notes == ()
    again = load_splits("image_folder", tmp_path / "in", path=tmp_path / "in")  # the cache is in the folder itself
    assert load_splits("image_folder", tmp_path / "in", path=tmp_path / "in").notes == again.notes == ()


def test_many_reasons_make_one_short_line(tmp_path):
    root = fill(tmp_path / "in", "a", "b")
    for number in range(30):
        for extra in range(3 if number < 2 else 1):
            (root / "a" / f"{extra}.x{number:02}").touch()
    (note,) = (note for note in load(tmp_path).notes if "left out" in note)
    assert note.startswith("34 left out: 3 × .x00, 3 × .x01, 1 × .x")
    assert note.endswith("24 × other")


def test_links_have_an_end(tmp_path):
    """A link up, to itself, to nothing, to a folder that is read already, to another place, and one that is a class."""
    root = fill(tmp_path / "in", "a", "b", "a/deep")
    fill(tmp_path / "elsewhere", "more", "c")
    (root / "a" / "up").symlink_to("..")
    (root / "a" / "self").symlink_to("self")
    (root / "a" / "gone.png").symlink_to("nowhere.png")
    (root / "a" / "again").symlink_to("deep")
    (root / "a" / "more").symlink_to(tmp_path / "elsewhere" / "more")
    (root / "c").symlink_to(tmp_path / "elsewhere" / "c")
    splits = load(tmp_path)
    assert splits.spec.class_names == ("a", "b", "c")
    assert sum(sizes(splits)) == 15
    assert noted(splits, "4 left out", "2 × link to a folder that is read already", "2 × no file")
    (root / "loop").symlink_to(".")
    with pytest.raises(DataError, match="loop holds no picture"):
        load(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(fill(tmp_path / "in", "a", "b") / "a" / "pipe.png")
    assert noted(load(tmp_path), "1 left out: 1 × no file")


def test_pictures_in_folders_of_a_class_are_used_and_told(tmp_path):
    fill(tmp_path / "in", "a/day", "a/night", "b")
    splits = load(tmp_path)
    assert sum(sizes(splits)) == 9
    assert "6 pictures lie deeper in the folder of their class: a/day/" in splits.notes


@pytest.mark.parametrize("kind", ["image", "table"])
def test_a_folder_that_is_named_tells_what_is_left_out(kind, tmp_path):
    fill(tmp_path, "a")
    (tmp_path / "a" / "rows.csv").write_text("x\n1\n")
    (tmp_path / "a" / ".hidden").touch()
    (tmp_path / "a" / "Thumbs.db").touch()
    names = [str(tmp_path), str(tmp_path / "a" / "0.png")]
    used = kinds.find(kind).find_files(names[:1])
    said = kinds.left_out(names, used)
    assert said.count("\n") == 1
    assert said.startswith("5 left out: 3 × .png" if kind == "table" else "3 left out:")
    assert "1 × hidden" in said
    assert kinds.left_out(names[1:], used) == ""
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "x.txt").touch()
    with pytest.raises(DataError, match=r"(?s)holds no image \(\.png.*1 left out: 1 × \.txt"):
        image.find_files([str(tmp_path / "none")])


@pytest.mark.parametrize("script", ["predict", "impute"])
def test_scripts_say_what_they_leave_out(script, tmp_path, capsys, monkeypatch):
    """Beside the answer, which may be read by a program."""
    fill(tmp_path, "a")
    (tmp_path / "a" / "scan.heic").touch()
    ckpt = ROOT / "tests" / "kept" / "gmm" / "release"
    options = {"predict": "json=-", "impute": f"out={tmp_path / 'filled.png'}"}[script]
    monkeypatch.setattr(sys, "argv", [script, f"ckpt={ckpt}", str(tmp_path / "a"), options])
    runpy.run_path(str(ROOT / "scripts" / f"{script}.py"), run_name="__main__")
    said = capsys.readouterr()
    assert said.err == "1 left out: 1 × .heic\n"
    assert script == "impute" or len(json.loads(said.out)) == 3


# splits


@pytest.mark.parametrize(
    ("train", "test", "val"),
    [
        ("train", "test", "val"),
        ("training", "testing", "validation"),
        ("TRAIN", "Test", "Valid"),
        ("trn", "tst", "dev"),
        ("Training_Set", "test-set", "val set"),
        ("trainingSet", "testSet", "valSet"),
        ("train2017", "test2017", "val2017"),
        ("images-train", "images-test", "images-val"),
        ("train_data", "evaluation", "validate"),
        ("train", "eval", "dev"),
        ("20news-bydate-train", "20news-bydate-test", "20news-bydate-val"),
        ("my cats_train", "my cats_test", "my cats_val"),
    ],
)
def test_usual_names_are_splits(train, test, val, tmp_path):
    fill(tmp_path / "in", *(f"{split}/{name}" for split in (train, test) for name in "ab"))
    assert sizes(load(tmp_path)) == (6, 0, 6)
    fill(tmp_path / "in", f"{val}/a", f"{val}/b", count=2)
    splits = load(tmp_path, val_size=3)
    assert sizes(splits) == (6, 4, 6)
    assert splits.spec.class_names == ("a", "b")
    assert splits.notes == (f"4 pictures of {val}/ validate; data.val_size is not used",)


@pytest.mark.parametrize("name", ["a", "trains", "contest", "invalid", "device", "validity", "retrain", "tested", "0"])
def test_other_names_are_no_splits(name):
    assert folders.split_of(name) is None


@pytest.mark.parametrize(
    ("first", "second"), [("bus-train", "bus-stop"), ("bus-train", "car-test"), ("bus-train", "bus-train1")]
)
def test_names_that_end_like_a_split_are_classes_where_not_all_do(first, second, tmp_path):
    fill(tmp_path / "in", f"{first}/old", f"{second}/old", count=5)
    assert load(tmp_path).spec.class_names == tuple(sorted([first, second]))


@pytest.mark.parametrize("val", [False, True])
def test_train_without_test(val, tmp_path):
    """A part of it is set apart; what validates stays what it is."""
    fill(tmp_path / "in", "train/a", "train/b", *(["val/a", "val/b"] if val else []), count=10)
    splits = load(tmp_path, val_size=0.25)
    assert splits.spec.class_names == ("a", "b")
    assert len(splits.val) == (20 if val else round(0.25 * (20 - len(splits.test))))
    assert sum(sizes(splits)) == (40 if val else 20)
    assert 2 <= len(splits.test) <= 12
    assert noted(splits, f"{len(splits.test)} of 20 images are set apart as the test split")
    assert noted(splits, "20 pictures of val/ validate") == val


@pytest.mark.parametrize("split", ["", "test/", "Testing/", "val/", "train/"])
@pytest.mark.parametrize("classes", ["ab", "a"])
def test_a_folder_of_test_pictures_is_used_whole(split, classes, tmp_path):
    fill(tmp_path / "in", *(split + name for name in classes))
    if classes == "a" and split in ("", "train/"):  # may be a misplaced folder
        with pytest.raises(DataError, match="at least two"):
            load(tmp_path, whole=True)
        return
    splits = load(tmp_path, whole=True)
    assert sizes(splits) == (0, 0, 3 * len(classes))
    assert splits.spec.class_names == tuple(classes)
    assert not noted(splits, "set apart")
    assert not noted(splits, "no training")
    assert noted(splits, "val/ is taken for the test split") == (split == "val/")


def test_pictures_of_no_class_lie_in_no_folders(tmp_path):
    fill(tmp_path / "in", ".", count=40)
    (tmp_path / "in" / "notes.txt").touch()
    (tmp_path / "in" / "empty").mkdir()
    splits = load(tmp_path, val_size=0)
    assert splits.spec.class_names == ("picture",)
    assert len(splits.train) + len(splits.test) == 40
    assert len(splits.test)
    assert noted(splits, "40 pictures without folders of classes are one class")
    assert noted(splits, "2 left out", "1 × .txt", "1 × empty folder")
    for name in ("gmm", "vae", "dcgan"):
        assert not capability.can(zoo.create(name, splits.spec), "classify")
    for name in ("naive_bayes", "m2"):
        with pytest.raises(ValueError, match="tells classes apart, and the data has one alone, picture"):
            zoo.create(name, splits.spec)
    with pytest.raises(ZooError, match="one class, picture, and mlp tells classes apart"):
        zoo.train("model=mlp", "data=image_folder", f"data.path={tmp_path / 'in'}", f"runs={tmp_path / 'runs'}")


def test_pictures_beside_folders_of_classes_are_none_of_them(tmp_path):
    fill(tmp_path / "in", ".", "a", "b", count=5)
    splits = load(tmp_path)
    assert splits.spec.class_names == ("a", "b")
    assert noted(splits, "5 × beside the folders of classes")


@pytest.mark.parametrize("split", ["test", "val"])
def test_nothing_is_trained_on_a_test_split(split, tmp_path):
    fill(tmp_path / "in", f"{split}/a", f"{split}/b")
    with pytest.raises(DataError, match="no training images"):
        ImageDataModule("image_folder", tmp_path, path=tmp_path / "in")


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (["train/a", "train/b", "training/a", "training/b"], ["train/ and training/", "train split"]),
        (["Test/a", "Test/b", "eval/a", "eval/b", "train/a", "train/b"], ["Test/ and eval/", "test split"]),
        (["train", "test"], ["test/, train/", "one folder a class"]),
        (["train"], ["train/", "one folder a class"]),
        (["a", "b", "train", "test"], ["test/, train/", "one folder a class"]),
        (["a", "b", "test/a", "test/b"], ["test/", "a/ beside", "move them into train/"]),
        (["bus", "car", "train/steam", "train/diesel"], ["train/", "bus/ beside"]),
        (["train/a", "train/b", "test/a", "test/b", "a"], ["a/ beside"]),
        (["a/train", "a/test", "b/train", "b/test"], ["a holds pictures in test/", "splits stand above the classes"]),
        (["a/deep/val", "b"], ["pictures in deep/val/", "splits stand above"]),
        (["archive/train/a", "archive/test/a", "notes"], ["archive", "named itself"]),
        (["train/train/a", "train/train/b", "test/test/a", "test/test/b"], ["splits stand above"]),
        (["train/a", "train/b", "test/a", "test/dog"], ["different classes", "learn dog from; train/ alone has b"]),
        (["train/a", "train/b", "val/dog", "test/a"], ["different classes", "val/", "dog"]),
        (["train/a", "test/a"], ["1 class folder;", "at least two", "without classes lie in no folders"]),
        (["a"], ["1 class folder;", "at least two", "without classes lie in no folders"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_what_may_mean_one_thing_or_another_is_refused(made, words, tmp_path):
    fill(tmp_path / "in", *made)
    with pytest.raises(DataError) as error:
        load(tmp_path)
    message = str(error.value)
    assert all(word in message for word in words), message
    assert len(message.splitlines()) <= 3
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("made", "empty", "note"),
    [
        (["train/a", "train/b", "test/a", "test/b", "extra"], [], "3 left out: 3 × in extra/, no split"),
        (["train/a", "train/b", "test"], [], "3 left out: 3 × in test/, not in folders of classes"),
        (["train/a", "train/b", "test/a", "test/b"], ["val"], "1 left out: 1 × empty folder"),
        (["train/a", "train/b", "test/a", "test/b"], ["docs"], "1 left out: 1 × empty folder"),
        (["a", "b"], ["test"], "1 left out: 1 × empty folder"),
        (["a", "b", "test"], [], "test/ is taken for a class, not a split: it holds pictures, no folders"),
        (["bus", "train"], [], "train/ is taken for a class, not a split: it holds pictures, no folders"),
    ],
    ids=lambda value: " ".join(value),
)
def test_folders_beside_are_told(made, empty, note, tmp_path):
    fill(tmp_path / "in", *made)
    for name in empty:
        (tmp_path / "in" / name).mkdir()
    splits = load(tmp_path)
    assert note in splits.notes
    assert all(len(line) < 80 for line in splits.notes)


def test_classes_that_a_split_lacks_are_told(tmp_path):
    fill(tmp_path / "in", "train/a", "train/b", "train/c", "train/d", "test/a", "val/b")
    (tmp_path / "in" / "test" / "b").mkdir()  # a class of train, without pictures here
    splits = load(tmp_path)
    assert splits.spec.class_names == tuple("abcd")
    assert "no test image of a class: b, c, d" in splits.notes
    (tmp_path / "in" / "train" / "e").mkdir()
    with pytest.raises(DataError, match="e holds no picture"):
        load(tmp_path)


def test_a_class_of_one_picture_trains_and_is_told(tmp_path):
    fill(fill(tmp_path / "in", "a", "b", count=5), "c", count=1)
    splits = load(tmp_path)
    assert int((splits.train.labels == 2).sum()) == 1
    assert "no test image of a class: c" in splits.notes
    assert not noted(load(tmp_path, whole=True), "no test image")


# which pictures are set apart


def records(number, pixels=None):
    """Of pictures whose files hash to these numbers in [0, 1]."""
    found = np.zeros(len(number), RECORD)
    found["file"] = (np.asarray(number) * 2.0**64).astype(np.uint64)
    found["content"] = np.arange(len(number)) if pixels is None else pixels
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [4, 12, 60, 400])
def test_what_was_trained_on_is_not_tested_on_when_a_folder_grows(seed, count):
    """Whichever pictures are added, also others of the same content under another name."""
    generator = np.random.default_rng(seed)
    number, labels = generator.random(count), generator.integers(0, 3, count)
    everything = records(number, generator.integers(0, 10 * count, count))
    for size in sorted(generator.integers(2, count, 10).tolist()):
        before, after = set_apart(labels[:size], everything[:size]), set_apart(labels, everything)[:size]
        for label in range(3):
            own = labels[:size] == label
            alone = int((own & ~before).sum()) == 1
            assert alone or not (after & ~before & own).any()


def test_the_part_set_apart_is_a_fifth_of_each_class():
    generator = np.random.default_rng(0)
    labels = np.arange(6000) % 3
    drawn = set_apart(labels, records(generator.random(6000)))
    assert all(0.17 < drawn[labels == label].mean() < 0.23 for label in range(3))


@pytest.mark.parametrize(
    ("labels", "number", "pixels", "expected"),
    [
        ([0, 0, 0], [0.1, 0.5, 0.9], None, [1, 0, 0]),
        ([0, 0, 0], [0.8, 0.5, 0.9], None, [0, 1, 0]),  # none is below a fifth: the lowest
        ([0, 0, 0], [0.02, 0.15, 0.1], None, [1, 0, 1]),  # all are: not the highest
        ([0, 0, 1], [0.5, 0.9, 0.1], None, [1, 0, 0]),  # a single picture trains
        ([0, 1], [0.5, 0.3], None, [0, 1]),  # all are single: one must be
        ([0, 0, 0, 0], [0.1, 0.5, 0.9, 0.7], [5, 5, 6, 7], [1, 1, 0, 0]),
        ([0, 0, 0, 0], [0.1, 0.15, 0.9, 0.7], [5, 5, 6, 7], [1, 1, 0, 0]),
        ([0, 0, 1, 1], [0.1, 0.5, 0.1, 0.7], [5, 6, 5, 7], [1, 0, 1, 0]),  # also in another class
        ([0, 0], [0.1, 0.5], [5, 5], [0, 0]),
    ],
)
def test_pictures_that_look_the_same_are_on_one_side(labels, number, pixels, expected):
    assert set_apart(np.array(labels), records(number, pixels)).tolist() == [bool(value) for value in expected]


def test_a_folder_that_grows_keeps_its_training_pictures(tmp_path):
    root = fill(tmp_path / "in", "a", "b", count=12)
    before = load(tmp_path)
    fill(root, "a", "b", count=25)
    shutil.copy(root / "a" / "0.png", root / "a" / "copy.png")
    Image.open(root / "a" / "1.png").save(root / "a" / "copy.bmp")
    after = load(tmp_path)
    assert before.fingerprint != after.fingerprint
    seen, tested = ({one.numpy().tobytes() for one in split.images} for split in (before.train, after.test))
    assert not seen & tested
    assert not tested & {one.numpy().tobytes() for one in after.train.images}
    moved = tmp_path / "moved"
    shutil.copytree(root, moved)
    for number, path in enumerate(sorted((moved / "a").iterdir())):  # names do not matter
        path.rename(path.with_name(f"x{99 - number}{path.suffix}"))
    assert tested == {one.numpy().tobytes() for one in load(tmp_path, moved).test.images}


def test_which_pictures_are_set_apart_does_not_depend_on_their_treatment(tmp_path):
    fill(tmp_path / "in", "a", "b", count=20)
    plain = load(tmp_path)
    for options in ({"invert": "always"}, {"color": "color"}):
        other = load(tmp_path, **options)
        same = other.test.images[:, :1]
        assert torch.equal(plain.test.images, 255 - same if "invert" in options else same)


def test_pictures_in_two_splits_are_told(tmp_path):
    root = fill(tmp_path / "in", *(f"{split}/{name}" for split in ("train", "val", "test") for name in "ab"))
    shutil.copy(root / "train" / "a" / "0.png", root / "test" / "a" / "copy.png")
    Image.open(root / "train" / "a" / "1.png").save(root / "test" / "a" / "other.bmp")
    shutil.copy(root / "val" / "b" / "0.png", root / "test" / "b" / "copy.png")
    shutil.copy(root / "train" / "b" / "0.png", root / "val" / "b" / "copy.png")
    notes = load(tmp_path).notes
    assert "2 pictures of test/ are in train/ too" in notes
    assert "1 pictures of test/ are in val/ too" in notes
    assert "1 pictures of val/ are in train/ too" in notes


def test_pictures_that_are_all_the_same_cannot_be_parted(tmp_path):
    for name in "ab":
        picture(tmp_path / "in" / name / "0.png", "same")
    with pytest.raises(DataError, match="the same"):
        load(tmp_path)
    assert sizes(load(tmp_path, whole=True)) == (0, 0, 2)


# names


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_class_has_one_name_in_every_unicode_form(form, tmp_path):
    one, other = (unicodedata.normalize(name, "caf\u00e9") for name in (form, "NFD" if form == "NFC" else "NFC"))
    fill(tmp_path / "in", f"train/{one}", f"test/{other}", "train/b", "test/b")
    splits = load(tmp_path)
    assert splits.spec.class_names == ("b", "caf\u00e9")
    assert splits.test.labels.bincount().tolist() == [3, 3]
    fill(tmp_path / "in", f"train/{other}")
    assert load(tmp_path).train.labels.bincount().tolist() == [3, 6]


def test_case_makes_two_classes(tmp_path):
    fill(tmp_path / "in", "A", "a")
    assert load(tmp_path).spec.class_names == ("A", "a")


@pytest.mark.parametrize("where", ["a/M\udcfcller.png", "a/x.\udcfc", "M\udcfcller/0.png", ".\udcfc", "0\udcfc.png"])
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_need_not_be_utf8(where, tmp_path):
    root = fill(tmp_path / "in", "a", "b")
    try:
        (root / where).parent.mkdir(exist_ok=True)
        shutil.copy(picture(tmp_path / "one.png", "one"), root / where)
    except OSError:
        pytest.skip("this file system has no such names")
    splits = load(tmp_path)
    assert sum(sizes(splits)) == (7 if where in ("a/M\udcfcller.png", "M\udcfcller/0.png") else 6)
    for text in (*splits.spec.class_names, *splits.notes):
        text.encode()
    assert splits.spec.class_names == (("M\\xfcller", "a", "b") if where.startswith("M") else ("a", "b"))
    assert load(tmp_path).fingerprint == splits.fingerprint


def test_a_folder_whose_own_name_is_not_utf8(tmp_path):
    root = fill(tmp_path / "M\udcfcller", "a", "b")
    assert sum(sizes(load(tmp_path, root))) == 6


# inversion, and the cache


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize(("invert", "said"), [("auto", True), ("never", False), ("always", False)])
def test_how_many_pictures_were_inverted_is_told(invert, said, again, tmp_path):
    fill(tmp_path / "in", "a", "b", count=4)
    for number in range(3):
        picture(tmp_path / "in" / "a" / f"paper{number}.png", number, ground=240)
    splits = [load(tmp_path, invert=invert) for _ in range(1 + again)][-1]
    assert noted(splits, "3 of 11 pictures were inverted: they are dark on light") == said
    assert splits.spec.settings["invert"] == invert


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"{}", b'{"shape": 3, "sha256": 4}', b"\xff", b"null"])
@pytest.mark.parametrize("name", ["meta.json", "records.npy", "images.npy"])
def test_a_cache_of_another_shape_is_one_error(content, name, tmp_path):
    fill(tmp_path / "in", "a", "b")
    load(tmp_path)
    (path,) = (tmp_path / "root").rglob(name)
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged; delete it") as error:
        load(tmp_path)
    assert len(str(error.value).splitlines()) == 1


# paths


def test_a_path_means_the_same_from_every_directory(tmp_path, monkeypatch):
    """In what a run keeps, and in what a checkpoint does."""
    fill(tmp_path / "here" / "pics", "train/a", "train/b", "test/a", "test/b")
    (tmp_path / "here" / "deeper").mkdir()
    for place, path in (("here", "pics"), ("here/deeper", "../pics"), (".", "here/pics"), (".", "here/./pics/")):
        monkeypatch.chdir(tmp_path / place)
        settings = config.settings(["data=image_folder", f"data.path={path}"], CONFIGS)["data"]
        assert settings["path"] == str(tmp_path / "here" / "pics")
        data = ImageDataModule("image_folder", tmp_path / "root", path=path)
        assert data.state_dict()["path"] == str(tmp_path / "here" / "pics")
    monkeypatch.setenv("HOME", str(tmp_path / "here"))
    assert config.settings(["data=image_folder", "data.path='~/pics'"], CONFIGS)["data"]["path"] == settings["path"]
    assert config.settings(["data=image_folder"], CONFIGS)["data"]["path"] is None


def test_home_is_expanded(tmp_path, monkeypatch):
    fill(tmp_path / "in", "a", "b")
    monkeypatch.setenv("HOME", str(tmp_path))
    data = ImageDataModule("image_folder", tmp_path / "root", path="~/in")
    assert data.state_dict()["path"] == str(tmp_path / "in")


def test_a_folder_may_be_called_by_a_number(tmp_path, monkeypatch):
    fill(tmp_path / "2024", "a", "b")
    monkeypatch.chdir(tmp_path)
    assert sum(sizes(load(tmp_path, 2024))) == 6
    assert ImageDataModule("image_folder", tmp_path / "root", path=2024).state_dict()["path"] == str(tmp_path / "2024")


@pytest.mark.parametrize("path", [None, "", "nowhere", "/dev/null", str(ROOT / "train.py")])
def test_no_folder_is_one_sentence(path, tmp_path):
    with pytest.raises(ZooError, match=r"data\.path|no directory"):
        load_splits("image_folder", tmp_path, path=path)
