"""Labelled sets that a generator writes, and what they teach."""

import re
import shlex
import sys
from unittest import mock

import numpy as np
import pytest
import torch
from conftest import command, run_train
from PIL import Image

import zoo
from zoo import capability, registry
from zoo.data import idx
from zoo.data.augment import Augment
from zoo.data.kinds import folder_names
from zoo.data.splits import Split, load_splits
from zoo.files import write_text
from zoo.tasks import students
from zoo.tasks.augment import augment
from zoo.tasks.students import joined, labelled_samples, taught_accuracy

pytestmark = pytest.mark.usefixtures("one_thread")


class Painter(zoo.Generative):
    """A class is a grey level: 20 × (label + 1); only the first pixel is random."""

    def __init__(self, spec: zoo.DataSpec, classes: bool = True) -> None:
        super().__init__(spec, conditional=classes)
        self.config = {"name": "painter"}

    def sample(self, n, labels=None, generator=None):
        images = ((labels + 1) * 20 / 255).view(-1, 1, 1, 1).expand(n, *self.spec.shape).clone()
        images[:, :, 0, 0] = torch.rand(n, self.spec.shape[0], generator=generator)
        return images


GARMENTS = zoo.DataSpec((1, 6, 6), 3, class_names=("T-shirt/top", "Coat", "../Bag"))


def test_png_folders_keep_the_labels(tmp_path):
    """Folders sort as the classes do, and every image holds its class's grey level."""
    out = tmp_path / "new" / "set"
    folders = augment(Painter(GARMENTS), 8, out)
    assert [folder.name for folder in folders] == ["0-T-shirt_top", "1-Coat", "2-_Bag"]
    assert sorted(path.name for path in out.iterdir()) == [folder.name for folder in folders]
    assert [len([*folder.iterdir()]) for folder in folders] == [3, 3, 2]
    assert (folders[0] / "00001.png").is_file()
    assert [path.name for path in out.parent.iterdir()] == ["set"]  # nothing is left beside it
    splits = load_splits("image_folder", root=tmp_path / "cache", path=str(out), image_size=6, invert="never")
    images = torch.cat([splits.train.images, splits.test.images])
    labels = torch.cat([splits.train.labels, splits.test.labels])
    assert images.shape == (8, 1, 6, 6)
    assert torch.equal(images[:, 0, 1:, 1:], ((labels + 1) * 20).byte().view(-1, 1, 1).expand(-1, 5, 5))


def test_colours_are_not_mixed_up(tmp_path):
    class Red(Painter):
        def sample(self, n, labels=None, generator=None):
            return super().sample(n, labels, generator) * torch.tensor([1.0, 0.5, 0.0]).view(1, 3, 1, 1)

    folders = augment(Red(zoo.DataSpec((3, 4, 5), 2)), 2, tmp_path / "out")
    picture = np.asarray(Image.open(folders[1] / "00001.png"))
    assert picture.shape == (4, 5, 3)
    assert picture[1, 1].tolist() == [40, 20, 0]
    images, _ = augment(Red(zoo.DataSpec((3, 4, 5), 2)), 2, tmp_path / "idx", "idx")
    assert images.name == "train-images-idx4-ubyte.gz"
    assert idx.read_idx(images)[0][1, :, 1, 1].tolist() == [40, 20, 0]


def test_idx_is_the_same_set(tmp_path):
    images, labels = augment(Painter(GARMENTS), 8, tmp_path / "first", "idx", seed=3)
    assert [images.name, labels.name] == [f"{name}.gz" for name in idx.FILES[:2]]
    samples = labelled_samples(Painter(GARMENTS), 8, seed=3)
    assert torch.equal(idx.read_idx(images)[0], samples.images[:, 0])
    assert torch.equal(idx.read_idx(labels)[0].long(), samples.labels)
    again = augment(Painter(GARMENTS), 8, tmp_path / "second", "idx", seed=3)
    assert [path.read_bytes() for path in again] == [images.read_bytes(), labels.read_bytes()]
    other = augment(Painter(GARMENTS), 8, tmp_path / "third", "idx", seed=4)
    assert other[0].read_bytes() != images.read_bytes()


@pytest.mark.parametrize(
    ("names", "folders"),
    [
        ("0123", ["0", "1", "2", "3"]),
        (("cat", "dog"), ["cat", "dog"]),
        (("dog", "cat"), ["0-dog", "1-cat"]),
        (("Cat", "cat"), ["0-Cat", "1-cat"]),  # one folder on some systems
        (("", "a"), ["0-", "1-a"]),
        ((".hidden", "x"), ["0-_hidden", "1-x"]),
        ([str(label) for label in range(11)], [f"{label:02}-{label}" for label in range(11)]),
    ],
)
def test_folder_names(names, folders):
    assert folder_names(names) == folders
    assert sorted(folders) == folders


def test_what_cannot_be_written(tmp_path):
    out = tmp_path / "out"
    for model, n, format, message in (
        (Painter(GARMENTS, classes=False), 10, "png", "no images of a given class; those that do: autoregressive"),
        (Painter(GARMENTS), 2, "png", "3 classes without an image"),
        (Painter(zoo.DataSpec((2, 4, 4), 2)), 4, "png", "format=idx"),
        (Painter(zoo.DataSpec((1, 4, 4), 300)), 300, "idx", "format=png"),
        (Painter(GARMENTS), 10, "jpg", "png, idx"),
    ):
        with pytest.raises(zoo.ZooError, match=message):
            augment(model, n, out, format)
        assert not [*tmp_path.iterdir()]  # nothing whole and nothing in part
    out.mkdir()
    with pytest.raises(zoo.ZooError, match="exists already"):
        augment(Painter(GARMENTS), 10, out)
    (tmp_path / "file").touch()
    with pytest.raises(zoo.ZooError, match="cannot be written"):
        augment(Painter(GARMENTS), 10, tmp_path / "file" / "out")
    with pytest.raises(zoo.ZooError, match="cannot be written"):
        write_text(tmp_path / "file" / "out", "")


def test_models_that_draw_a_class_are_named():
    """In the error, with the option that they need for it."""
    with pytest.raises(zoo.ZooError) as error:
        labelled_samples(zoo.create("lenet"), 10)
    able = {name for name, row in zoo.capabilities().items() if row["sample"] != "no"}
    assert set(zoo.list_models()) & set(re.findall(r"\w+", str(error.value))) == able
    for name in able:
        options = {"conditional": True} if name in ("vae", "dcgan") else {}
        of_texts = "grey" not in registry.model_class(name).takes
        spec = zoo.DataSpec((1, 1, 8), kind="tokens", **capability.TOKENS) if of_texts else zoo.DataSpec()
        assert len(labelled_samples(zoo.create(name, spec, **options), 1)) == 1


def test_the_command_writes_what_train_reads(tmp_path):
    """From a trained mixture to a folder to a classifier, with the words that the command prints."""
    run = run_train(tmp_path / "runs", "model=gmm", "data=digits", "experiment=debug", "logger=none")
    import scripts.augment as script

    words = [f"ckpt={run}", f"out={tmp_path / 'a set'}", "n=60"]
    with mock.patch.object(sys, "argv", ["scripts/augment.py", *words]), mock.patch("builtins.print") as printed:
        script.main()
    last = shlex.split(printed.call_args_list[-1].args[0])
    assert last[:2] == ["python", "train.py"]
    assert len([*(tmp_path / "a set").rglob("*.png")]) == 60
    student = run_train(
        tmp_path / "students", "model=logistic_regression", "experiment=debug", "logger=none",
        *last[2:], f"data.root={tmp_path / 'cache'}",
    )  # fmt: skip
    assert zoo.load(student).spec.class_names == tuple("0123456789")
    result = command("scripts/augment.py", *words)
    assert result.returncode == 2
    assert "exists already" in result.stderr


# What samples teach


def striped(n: int, seed: int) -> Split:
    """Two classes that a few images do not tell apart: noise with a bright row, or a bright column, anywhere."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    images = torch.randint(0, 256, (n, 1, 12, 12), generator=generator, dtype=torch.uint8)
    places = torch.randint(0, 12, (n,), generator=generator)
    for image, place, label in zip(images, places, labels, strict=True):
        (image[0] if label == 0 else image[0].T)[place] = 255
    return Split(images, labels)


SPEC = zoo.DataSpec((1, 12, 12), 2)


def test_what_more_images_teach():
    """Perfect synthetic images of a hard task help a few real ones; those with wrong labels do harm."""
    few, more, test = striped(8, 1), striped(800, 2), striped(400, 3)
    wrong = Split(more.images, 1 - more.labels)
    options = {"spec": SPEC, "steps": 150, "batch_size": 32}
    state = torch.get_rng_state()
    alone, helped, harmed = (
        taught_accuracy(part, test, **options) for part in (few, joined(few, more), joined(few, wrong))
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert helped - alone > 0.1
    assert harmed - alone < -0.1


def test_steps_batch_and_augmentation_are_heeded(monkeypatch):
    """The student takes the steps it is given, however many images there are, and sees the changed images."""
    few = striped(10, 1)
    seen = []
    create = zoo.registry.create

    def spy(*args, **options):
        model = create(*args, **options)
        loss = model.loss
        model.loss = lambda logits, labels: seen.append(len(labels)) or loss(logits, labels)
        return model

    monkeypatch.setattr(students.registry, "create", spy)
    first = students.taught(few, SPEC, 0, 7, 4, None)
    assert len(seen) == 7
    assert max(seen) <= 4
    again, moved = (students.taught(few, SPEC, 0, 7, 4, augment) for augment in (None, Augment(shift=2)))
    assert torch.equal(first.head.weight, again.head.weight)
    assert not torch.equal(first.head.weight, moved.head.weight)
