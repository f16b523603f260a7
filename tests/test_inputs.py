"""Whatever is handed to a model is answered as the same examples are in the usual form, or refused in a sentence."""

import dataclasses
import json
import unicodedata

import numpy as np
import pytest
import torch
from conftest import ROOT, command
from PIL import Image
from test_contract import SMALL, started

import zoo
from zoo import capability, registry
from zoo.data import kinds
from zoo.data.splits import UNLABELLED, Split, load_splits, matched
from zoo.errors import DataError, ZooError
from zoo.tasks.evaluate import evaluate, remarks, splits_for
from zoo.tasks.impute import measure

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPES = {"grey": (1, 28, 28), "colour": (3, 8, 10)}
CONDITIONAL = {
    "gmm": {},
    "hmm": {},
    "naive_bayes": {},
    "vae": {"conditional": True},
    "m2": {},
    "dcgan": {"conditional": True},
}
CAPABILITIES = [*capability.known()]
_made: dict = {}


def model_of(name: str, **options):
    """A small model that can be asked, made once."""
    key = (name, *options.items())
    if key not in _made:
        torch.manual_seed(0)
        shape = (
            SHAPES["grey"]
            if name == "dcgan" or not issubclass(registry.model_class(name), zoo.Generative)
            else (1, 8, 10)
        )
        spec = zoo.DataSpec(shape, 3, mean=(0.3,), std=(0.4,))
        _made[key] = started(zoo.create(name, spec, **{**SMALL.get(name, {}), **options})).eval()
    return _made[key]


def levels(shape, n=6) -> torch.Tensor:
    """uint8 pictures that have all kinds of levels."""
    generator = torch.Generator().manual_seed(3)
    pictures = torch.randint(256, (n, *shape), generator=generator).byte()
    pictures[0, 0, 0, 0] = 255
    return pictures


def asked(model, name: str, x, observed=None):
    """The answer to a question by its capability's own trial, from one stream."""
    if observed is None:
        observed = (
            torch.rand(
                len(kinds.examples(x, model.spec)), *model.spec.shape, generator=torch.Generator().manual_seed(5)
            )
            > 0.3
        )
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:  # answers that are drawn are drawn alike
        for module in ("forecast", "impute", "sample", "interpolate"):
            patch.setattr(f"zoo.questions.{module}.fresh_generator", lambda model: capability.seeded(model, 0))
        return capability.known()[name].trial(model, x, observed)


QUESTIONS_OF_EXAMPLES = [name for name in CAPABILITIES if name not in ("sample", "interpolate")]
MODELS = [name for name in zoo.list_models() if "grey" in registry.model_class(name).takes]


def forms(x: torch.Tensor) -> dict:
    """The same examples, uint8 ``(N, 1, H, W)``, in every form that can mean nothing else."""
    array = x.numpy()
    return {
        "uint8": x,
        "int64": x.long(),
        "int16 array": array.astype(np.int16),
        "big-endian array": array.astype(">i4"),
        "float64": x.double() / 255,
        "float array": array.astype(np.float32) / np.float32(255),
        "read-only array": np.frombuffer(array.tobytes(), np.uint8).reshape(array.shape),
        "reversed view": array[:, :, ::-1][:, :, ::-1],
        "without channel": x[:, 0],
        "channels last": array.transpose(0, 2, 3, 1),
        "flat": array.reshape(len(array), -1),
        "list of tensors": list(x),
        "list of arrays": list(array[:, 0]),
        "list of numbers": array.tolist(),
        "not contiguous": x.expand(2, *x.shape)[1].mT.contiguous().mT,
    }


FORMS = [*forms(levels((1, 2, 2)))]


@pytest.mark.parametrize("form", FORMS)
def test_a_form_that_can_mean_nothing_else_has_the_same_answer(form):
    model, x = model_of("cnn"), levels(SHAPES["grey"])
    torch.testing.assert_close(zoo.classify(model, forms(x)[form]), zoo.classify(model, x.float() / 255))


@pytest.mark.parametrize("name", MODELS)
def test_levels_are_scaled_for_every_question(name):
    model = model_of(name)
    x = levels(model.spec.shape)
    for question in QUESTIONS_OF_EXAMPLES:
        if capability.can(model, question):
            for other in (x, x.numpy(), x.double() / 255):
                torch.testing.assert_close(asked(model, question, other), asked(model, question, x.float() / 255))


@pytest.mark.parametrize("form", ["file", "files", "path", "picture", "pictures", "colour picture", "bits"])
def test_pictures_and_paths_are_taken(form, tmp_path):
    """Of the model's own size they are what a tensor says they are."""
    model = model_of("cnn")
    pixels = levels(SHAPES["grey"], 2)
    pixels[:, :, [0, -1]] = pixels[..., [0, -1]] = 0  # light on dark
    pictures = [Image.fromarray(picture[0].numpy()) for picture in pixels]
    for number, picture in enumerate(pictures):
        picture.save(tmp_path / f"{number}.png")
    files = [tmp_path / "0.png", tmp_path / "1.png"]
    handed = {
        "file": files[0], "files": files, "path": str(files[0]), "picture": pictures[0], "pictures": pictures,
        "colour picture": pictures[0].convert("RGB"), "bits": (pixels > 127).bool(),
    }[form]  # fmt: skip
    wanted = (pixels > 127).float() if form == "bits" else pixels.float() / 255
    wanted = wanted if form in ("files", "pictures", "bits") else wanted[:1]
    torch.testing.assert_close(zoo.classify(model, handed), zoo.classify(model, wanted))


def test_channels_last_and_first_are_told_apart():
    torch.manual_seed(0)
    model = zoo.create("logistic_regression", zoo.DataSpec((3, 8, 10), 3)).eval()
    x = levels((3, 8, 10))
    right = zoo.classify(model, x.float() / 255)
    assert torch.equal(zoo.classify(model, x.permute(0, 2, 3, 1)), right)
    assert torch.equal(zoo.classify(model, x[0]), right[:1])
    assert torch.equal(zoo.classify(model, x[0].permute(1, 2, 0).numpy()), right[:1])


WRONG = {
    "0 … 255": lambda x: x.float(),
    "0 … 255, float64 array": lambda x: x.numpy().astype(float),
    "standardised": lambda x: (x.float() / 255 - 0.13) / 0.31,
    "-1 … 1": lambda x: x.float() / 127.5 - 1,
    "divided twice": lambda x: x.float() / 255 / 255,
    "zeros and ones": lambda x: (x > 127).byte(),
    "whole numbers beyond": lambda x: x.long() * 256,
    "negative whole numbers": lambda x: x.long() - 128,
    "infinite": lambda x: torch.where(x == 255, torch.inf, x / 255),
    "size": lambda x: torch.nn.functional.pad(x, (2, 2, 2, 2)).float() / 255,
    "channels": lambda x: x.expand(-1, 2, -1, -1).float() / 255,
    "too few dimensions": lambda x: x[0, 0, 0].float() / 255,
    "too many dimensions": lambda x: x[None].expand(2, *x.shape).float() / 255,
    "one in colour or three": lambda x: x[:3, 0].float() / 255,
    "complex": lambda x: x.float().cfloat(),
    "sparse": lambda x: (x.float() / 255).to_sparse(),
    "words": lambda x: ["three", "seven"],
    "nothing": lambda x: None,
    "ragged": lambda x: [[0.1, 0.2], [0.3]],
    "objects": lambda x: np.array([{}, {}], dtype=object),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", MODELS)
def test_what_no_model_was_made_for_is_refused_by_every_question(name, wrong):
    model = model_of(name)
    x = WRONG[wrong](levels(model.spec.shape))
    observed = torch.ones(1, dtype=torch.bool)
    for question in QUESTIONS_OF_EXAMPLES:
        if capability.can(model, question):
            with pytest.raises(DataError) as caught:
                asked(model, question, x, observed)
            lines = str(caught.value).splitlines()
            assert 1 <= len(lines) <= 5
            assert all(len(line) < 300 for line in lines)


def test_the_sentence_says_what_the_model_was_made_for():
    model = model_of("cnn")
    for x in (levels(SHAPES["grey"]).float(), torch.rand(2, 3, 32, 32)):
        with pytest.raises(DataError, match=r"the model was made for 1×28×28 in \[0, 1\]"):
            zoo.classify(model, x)


def test_every_score_is_asked_through_the_same_door():
    for name in ("cnn", "gmm"):
        model = model_of(name)
        x = levels(model.spec.shape)
        for kind in ("log_prob", "max_softmax", "entropy", *(["energy"] if name == "cnn" else [])):
            if kind == "log_prob" and name == "cnn":
                continue
            right = zoo.anomaly_score(model, x.float() / 255, kind)
            torch.testing.assert_close(zoo.anomaly_score(model, x, kind), right)
            with pytest.raises(DataError):
                zoo.anomaly_score(model, x.float(), kind)


def test_ends_of_a_path_are_examples_like_others():
    model = model_of("vae")
    x = levels(model.spec.shape, 4)
    torch.testing.assert_close(
        zoo.interpolate(model, ends=(x[:2], x[2:].numpy())), zoo.interpolate(model, ends=(x[:2] / 255, x[2:] / 255))
    )
    for ends in ((x[:2].float(), x[2:].float()), (x[:1], x[2:]), x[:1], (x, x, x), 3):
        with pytest.raises(ZooError):
            zoo.interpolate(model, ends=ends)


def test_dequantised_levels_are_examples():
    """Half a level beyond [0, 1] on either side: that is what a likelihood of real numbers is asked about."""
    model = model_of("gmm")
    x = torch.full((2, *model.spec.shape), -0.5 / 255)
    x[1] = 255.5 / 255
    assert torch.isfinite(zoo.log_prob(model, x)).all()


def test_hidden_values_are_not_looked_at():
    model = model_of("gmm")
    x = levels(model.spec.shape).float() / 255
    observed = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) > 0.5
    right = zoo.log_prob(model, x, observed=observed)
    for value in (torch.nan, torch.inf, 255.0, -1.0):
        assert torch.equal(zoo.log_prob(model, torch.where(observed, x, value), observed=observed), right)
    torch.testing.assert_close(zoo.log_prob(model, torch.where(observed, x, torch.nan)), right)


def test_examples_are_looked_at_once(monkeypatch):
    model, looks = model_of("cnn"), []
    monkeypatch.setattr(capability, "_bounds", lambda x: looks.append(len(x)) or (0.0, 1.0))
    x = torch.rand(5, *model.spec.shape)
    for question in (zoo.classify, zoo.encode, zoo.anomaly_score):
        question(model, x, batch_size=2)
        assert looks.pop() == 5
        assert not looks


@pytest.mark.parametrize(
    "observed", [torch.ones(3, dtype=torch.bool), torch.ones(6, 1, 8, 10), np.ones((6, 1, 8, 10)), "all", 1.0]
)
def test_a_mask_that_does_not_fit_is_refused(observed):
    model = model_of("gmm")
    x = torch.rand(6, *model.spec.shape)
    for ask in (zoo.classify, zoo.impute, lambda model, x, observed: zoo.log_prob(model, x, observed=observed)):
        with pytest.raises(ZooError, match="observed is"):
            ask(model, x, observed)


def test_masks_may_be_arrays_and_broadcast():
    model = model_of("gmm")
    x = torch.rand(6, *model.spec.shape)
    mask = torch.arange(10) > 4
    right = zoo.classify(model, x, mask.expand_as(x))
    for observed in (mask, mask.numpy(), mask.expand(8, 10).tolist()):
        assert torch.equal(zoo.classify(model, x, observed), right)


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "2"])
def test_numbers_that_cannot_be_are_refused(size):
    gmm, vae = model_of("gmm"), model_of("vae")
    x = torch.rand(2, *gmm.spec.shape)
    for ask in (
        lambda: zoo.classify(gmm, x, batch_size=size),
        lambda: zoo.impute(gmm, x, n=size),
        lambda: zoo.log_prob(vae, x, num_samples=size),
        lambda: zoo.interpolate(vae, 2, steps=size),
        *([lambda: zoo.sample(gmm, size), lambda: zoo.interpolate(vae, size)] if size != 0 else []),
    ):
        with pytest.raises(ZooError, match="must be a whole number of at least"):
            ask()


# Labels


NO_CLASSES = {
    "hidden": torch.tensor([0, -1, 1]), "beyond": torch.tensor([0, 3, 1]), "far beyond": torch.full((3,), 2**40),
    "fractions": torch.tensor([0.0, 1.0, 2.0]), "bits": torch.tensor([True, False, True]),
    "too few": torch.tensor([0, 1]), "one hot": torch.eye(3).long(), "words": ["a", "b", "c"], "one beyond": 3,
}  # fmt: skip


def questions_of_labels(model, x):
    can = capability.can
    if can(model, "log_prob"):
        yield lambda labels: zoo.log_prob(model, x, labels)
    if can(model, "sample"):
        yield lambda labels: zoo.sample(model, 3, labels, capability.seeded(model, 0))
    if can(model, "interpolate"):
        yield lambda labels: zoo.interpolate(model, 3, labels=labels, generator=capability.seeded(model, 0))


@pytest.mark.parametrize("labels", NO_CLASSES)
@pytest.mark.parametrize("name", CONDITIONAL)
def test_what_is_no_class_is_refused_by_every_question(name, labels):
    model = model_of(name, **CONDITIONAL[name])
    x = torch.rand(3, *model.spec.shape)
    for ask in questions_of_labels(model, x):
        with pytest.raises(ZooError, match="labels must be 3 whole numbers from 0 to 2"):
            ask(NO_CLASSES[labels])


@pytest.mark.parametrize("name", CONDITIONAL)
def test_classes_may_be_a_list_an_array_or_one_for_all(name):
    model = model_of(name, **CONDITIONAL[name])
    x = torch.rand(3, *model.spec.shape)
    for ask in questions_of_labels(model, x):
        assert torch.equal(ask([2, 0, 1]), ask(torch.tensor([2, 0, 1])))
        assert torch.equal(ask(np.array([2, 0, 1], np.int32)), ask(torch.tensor([2, 0, 1])))
        assert torch.equal(ask(2), ask(torch.full((3,), 2)))


@pytest.mark.parametrize("name", ["vae", "dcgan"])
def test_a_model_without_classes_takes_no_labels(name):
    model = model_of(name)
    for ask in questions_of_labels(model, torch.rand(3, *model.spec.shape)):
        with pytest.raises(ZooError, match="no classes"):
            ask(torch.zeros(3).long())


# Classes by their names


def renamed(splits, names):
    return dataclasses.replace(splits, spec=dataclasses.replace(splits.spec, class_names=names))


@pytest.fixture(scope="module")
def digits():
    return load_splits("digits", val_size=100)


def test_labels_follow_the_names(digits):
    other = renamed(digits, tuple(reversed(digits.spec.class_names)))  # what was 0 is called 9
    again = matched(other, digits.spec)
    assert torch.equal(again.test.labels, 9 - digits.test.labels)
    assert again.spec.class_names == digits.spec.class_names
    assert again.notes == ()
    assert matched(digits, digits.spec) is digits


def test_classes_that_the_model_does_not_know_are_left_out_and_told(digits):
    names = ("0", "1", "2", "3", "4", "five", "6", "7", "8", "nine")
    again = matched(renamed(digits, names), digits.spec)
    unknown = (digits.test.labels == 5) | (digits.test.labels == 9)
    assert torch.equal(again.test.labels, digits.test.labels.where(~unknown, UNLABELLED))
    (note,) = again.notes
    assert "five, nine" in note


def test_a_name_is_one_in_every_unicode_form():
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    assert composed != apart
    spec = zoo.DataSpec(num_classes=2, class_names=(composed, "thé"))
    assert zoo.DataSpec(num_classes=2, class_names=(apart, "thé")) == spec
    assert spec.class_numbers([apart, "x"]) == [0, -1]


def test_a_classifier_is_not_judged_on_other_classes(digits):
    model = zoo.load(ROOT / "pretrained" / "cnn-mnist")
    clothes = matched(renamed(digits, tuple("abcdefghij")), model.spec)
    with pytest.raises(DataError, match="no image is of a class that the model knows"):
        evaluate(model, clothes.test)


def test_a_density_tells_how_likely_other_classes_are(digits):
    torch.manual_seed(0)
    model = zoo.create("naive_bayes", digits.spec)
    model.initialize([(digits.train.x(), digits.train.labels)], torch.Generator())
    right = evaluate(model, digits.test).metrics
    other = evaluate(model, matched(renamed(digits, tuple("abcdefghij")), model.spec).test).metrics
    assert "accuracy" in right
    assert "accuracy" not in other
    assert other["log_prob"] == pytest.approx(right["log_prob"])


def test_a_classifier_of_imputed_images_may_count_classes_otherwise(digits):
    torch.manual_seed(0)
    model = zoo.create("naive_bayes", digits.spec)
    model.initialize([(digits.train.x(), digits.train.labels)], torch.Generator())
    judge = zoo.load(ROOT / "pretrained" / "cnn-mnist")
    part = digits.test.take(slice(40))
    observed = torch.ones(40, 1, 28, 28, dtype=torch.bool)
    observed[..., 0] = False
    right = measure(model, part.images, observed, 2, 0, part.labels, judge)["accuracy_complete"]
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    judge.spec = dataclasses.replace(judge.spec, class_names=tuple(str(int(number)) for number in order))
    judge.head.weight.data, judge.head.bias.data = judge.head.weight[order], judge.head.bias[order]
    assert measure(model, part.images, observed, 2, 0, part.labels, judge)["accuracy_complete"] == right
    judge.spec = dataclasses.replace(judge.spec, class_names=tuple("abcdefghij"))
    with pytest.raises(DataError, match="the classifier knows"):
        measure(model, part.images, observed, 2, 0, part.labels, judge)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three classes of a few digits, as the model calls them."""
    path = tmp_path_factory.mktemp("folder")
    splits = load_splits("digits")
    for label in (3, 5, 7):
        (path / str(label)).mkdir()
        for number, picture in enumerate(splits.test.images[splits.test.labels == label][:6]):
            Image.fromarray(picture[0].numpy()).save(path / str(label) / f"{number}.png")
    return path


def test_another_folder_is_test_as_a_whole(folder, tmp_path, digits):
    spec = zoo.load(ROOT / "pretrained" / "cnn-mnist").spec
    for source in ({}, {"name": "mnist"}):
        splits = splits_for(spec, source, "image_folder", str(tmp_path), str(folder), whole=True)
        assert len(splits.test) == 18
        assert len(splits.train) == 0
        assert splits.test.labels.unique().tolist() == [3, 5, 7]
    assert len(splits_for(spec, {}, "image_folder", str(tmp_path), str(folder)).train) > 0  # to be fitted to


def test_a_folder_that_has_changed_since_the_training_is_told(folder, tmp_path):
    spec = zoo.DataSpec((1, 28, 28), 3, class_names=("3", "5", "7"))
    source = {
        "name": "image_folder",
        "path": str(folder),
        "fingerprint": load_splits("image_folder", tmp_path, path=folder).fingerprint,
    }
    assert not any("since the training" in note for note in splits_for(spec, source, root=str(tmp_path)).notes)
    changed = {**source, "fingerprint": "0" * 64}
    assert any("since the training" in note for note in splits_for(spec, changed, root=str(tmp_path)).notes)
    with pytest.MonkeyPatch.context() as patch:  # the very same folder, called by way of a home directory
        patch.setenv("HOME", str(folder.parent))
        notes = splits_for(spec, changed, root=str(tmp_path), folder=f"~/{folder.name}").notes
        assert any("since the training" in note for note in notes)
    elsewhere = {**changed, "path": str(tmp_path / "gone")}
    splits = splits_for(spec, elsewhere, root=str(tmp_path), folder=str(folder), whole=True)
    assert any("another folder" in note for note in splits.notes)
    assert len(splits.test) == 18


def test_the_command_line_says_it(folder, tmp_path):
    def run(*words):
        return command("scripts/evaluate.py", "ckpt=pretrained/cnn-mnist", f"root={tmp_path}", *words)

    done = run("data=image_folder", f"path={folder}", f"json={tmp_path / 'answer.json'}")
    assert done.returncode == 0, done.stderr
    answer = json.loads((tmp_path / "answer.json").read_text())
    assert set(answer["per_class"]) == {"3", "5", "7"}
    for number, name in enumerate(("cat", "dog", "hen")):
        (folder.parent / "animals" / name).mkdir(parents=True)
        for file in (folder / str((3, 5, 7)[number])).iterdir():
            (folder.parent / "animals" / name / file.name).write_bytes(file.read_bytes())
    done = run("data=image_folder", f"path={folder.parent / 'animals'}")
    assert done.returncode == 2
    assert "cat, dog, hen" in done.stdout
    assert "no image is of a class that the model knows" in done.stderr
    done = run("data=image_folder", f"path={folder}", "draws=2")
    assert done.returncode == 2
    assert "draws=2 needs samples, and this model has none" in done.stderr


# Densities that are none


HEALTHY = {"log_prob": -100.0, "bits_per_dim": 3.0, "density": "exact, dequantised"}


@pytest.mark.parametrize(
    ("metrics", "logged", "counts", "words"),
    [
        ({"bits_per_dim": -0.1}, {}, (5, 5), "cannot be"),
        ({"bits_per_dim": 8.1}, {}, (5, 5), "more than the 8"),
        ({"bits_per_dim": 1.1, "density": "lower bound, binarised, K = 5"}, {}, (5, 5), "more than the 1 "),
        ({}, {}, (5, 1), "single training image, whose density is a spike: b"),
        ({}, {"train/log_likelihood": 150.0, "val/log_likelihood": 0.0}, (5, 5), "150 nats likelier"),
        ({}, {"train/elbo": 150.0, "val/elbo": 0.0}, (5, 5), "by heart"),
    ],
)
def test_degenerate_densities_are_remarked_on(metrics, logged, counts, words):
    spec = zoo.DataSpec((1, 28, 28), 2, class_names=("a", "b"))
    labels = torch.arange(2).repeat_interleave(torch.tensor(counts))
    train = Split(torch.zeros(len(labels), 1, 28, 28, dtype=torch.uint8), labels)
    (remark,) = remarks(HEALTHY | metrics, spec, train, logged)
    assert words in remark


def test_a_healthy_density_and_a_classifier_have_no_remark():
    spec = zoo.DataSpec((1, 28, 28), 2)
    train = Split(torch.zeros(6, 1, 28, 28, dtype=torch.uint8), torch.arange(6) % 2)
    assert remarks(HEALTHY, spec, train, {"train/log_likelihood": 100.0, "val/log_likelihood": 0.0}) == []
    assert remarks({"accuracy": 1.0}, spec, train.take(slice(2)), {}) == []
    assert remarks({"log_prob": 3.0, "density": "exact, continuous"}, spec) == []


def test_a_run_says_so(tmp_path):
    words = ["model=gmm", "data.train_size=10", "trainer.max_epochs=2", "logger=none", f"runs={tmp_path}"]
    done = command("train.py", *words)
    assert done.returncode == 0, done.stderr
    (summary,) = tmp_path.glob("*/summary.json")
    said = json.loads(summary.read_text())["remarks"]
    assert len(said) == 3
    assert all(remark in done.stdout for remark in said)
