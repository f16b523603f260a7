"""Texts as sequences of characters: what becomes of them, running text, and the sources of it."""

import hashlib
from pathlib import Path

import pytest
import torch

import zoo
from zoo import download
from zoo.data import characters, kinds, sources
from zoo.data.splits import default_root, load_splits
from zoo.spec import END, UNKNOWN, Column, DataSpec
from zoo.tasks.evaluate import evaluate, splits_for

tokens = kinds.find("tokens")
TEXTS = ("ab\n", "Ba", "", "cab")


def raw(n: int) -> torch.Tensor:
    return torch.arange(n, dtype=torch.int32)[:, None, None, None]


def spec_of(found=TEXTS, **options) -> DataSpec:
    fitted = tokens.fit(raw(len(found)), (Column("text", tuple(found)),), reads="characters", **options)
    fitted.pop("notes", None)
    return DataSpec(num_classes=1, kind="tokens", **fitted)


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_texts_become_their_characters_and_an_end():
    spec = spec_of()
    assert spec.vocabulary == ("\n", "B", "a", "b", "c", UNKNOWN, END)
    assert spec.shape == (1, 1, 4)  # the longest text and its end
    stored = tokens.store(raw(4), (Column("text", TEXTS),), spec)
    assert stored.dtype == torch.int32
    assert stored[:, 0, 0].tolist() == [[2, 3, 0, 6], [1, 2, 6, -1], [6, -1, -1, -1], [4, 2, 3, 6]]
    assert tokens.text_of(stored, spec) == [*TEXTS]
    assert tokens.decode(stored).dtype == torch.int64
    assert not tokens.has_missing(stored)


def test_a_vocabulary_with_an_end_of_line_comes_back():
    spec = spec_of()
    assert DataSpec.from_dict(spec.to_dict()) == spec
    assert isinstance(spec.to_dict()["vocabulary"], list)
    assert isinstance(spec_of(("ab", "b")).to_dict()["vocabulary"], str)


def test_rare_characters_are_unknown():
    spec = spec_of(min_count=2)
    assert spec.vocabulary == ("a", "b", UNKNOWN, END)
    assert tokens.text_of(tokens.of_texts(["cabé"], spec), spec) == ["\ufffdab\ufffd"]  # cut, and no end
    assert spec_of(vocabulary=1).vocabulary == ("a", UNKNOWN, END)
    with pytest.raises(zoo.DataError, match=r"no character is in data.min_count=4 of the 4 training examples"):
        spec_of(min_count=4)
    for option in ("min_count", "vocabulary", "longest"):
        with pytest.raises(zoo.ConfigError, match=f"data.{option} is from 1 to"):
            spec_of(**{option: 0})


def test_long_texts_are_cut_and_have_no_end():
    spec = spec_of(longest=3)
    assert spec.shape == (1, 1, 3)
    stored = tokens.store(raw(4), (Column("text", TEXTS),), spec)
    assert stored[:, 0, 0].tolist() == [[2, 3, 0], [1, 2, 6], [6, -1, -1], [4, 2, 3]]


def test_case_and_accents():
    assert spec_of(case="lower").vocabulary == ("\n", "a", "b", "c", UNKNOWN, END)
    lower = spec_of(case="lower")
    assert tokens.text_of(tokens.of_texts(["BAC"], lower), lower) == ["bac"]
    accents = spec_of(("caf\u00e9", "cafe\u0301"))
    assert accents.vocabulary == ("a", "c", "f", "\u00e9", UNKNOWN, END)
    with pytest.raises(zoo.ConfigError, match="case=upper is no choice"):
        spec_of(case="upper")


def test_bags_of_words_are_what_they_were():
    fitted = tokens.fit(raw(4), (Column("text", ("A b", "b", "", "c")),))
    assert fitted["values"] == "counts"
    assert fitted["vocabulary"] == ("b", "a", "c")
    assert fitted["settings"]["case"] == "lower"


def test_what_python_hands_over():
    model = zoo.create("ngram", spec_of(), order=2)
    model.initialize([(tokens.of_texts(TEXTS, model.spec).long(), torch.zeros(4, dtype=torch.long))], None)
    assert zoo.log_prob(model, "ab").shape == (1,)
    by_number = zoo.log_prob(model, torch.tensor([2, 3, 6]))
    assert torch.equal(zoo.log_prob(model, ["ab"]), by_number)
    with pytest.raises(zoo.DataError, match="numbers from 0 to 7 are none of the 7 symbols"):
        zoo.log_prob(model, torch.tensor([0, 7]))
    with pytest.raises(zoo.DataError, match="whole numbers"):
        zoo.log_prob(model, torch.tensor([0.5]))


def test_prompts():
    spec = spec_of()
    assert characters.prompts(["ab", "c"], spec)[:, 0, 0].tolist() == [[2, 3], [4, -1]]  # no end
    assert characters.prompts([""], spec).shape == (1, 1, 1, 0)
    with pytest.raises(zoo.DataError, match=r"does not know 'x', '\\t': it knows \\nBabc$"):
        characters.prompts(["axx\t"], spec)
    with pytest.raises(zoo.DataError, match="a prompt of 5 characters is longer than the 4"):
        characters.prompts(["ababa"], spec)


# --- running text ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", [0, 1, 13, 19])
def test_every_character_is_in_one_window_and_those_before_it_are_known(context):
    text = "".join(chr(97 + place * 7 % 26) + str(place % 10) for place in range(500))
    loaded = characters.running(text, 20, context, test=0.1, val=0.05)
    parts = {name: getattr(loaded, name).images[:, 0, 0] for name in ("val", "train", "test")}
    new = {
        name: "".join(chr(c) for c in windows[:, context:].flatten().tolist() if c >= 0)
        for name, windows in parts.items()
    }
    assert "".join(new.values()) == text
    assert len(new["test"]) == 100
    assert len(new["val"]) == 45
    for name, start in (("val", 0), ("train", 45), ("test", 900)):
        for number, window in enumerate(parts[name]):
            first = start + number * (20 - context)
            least = {"val": 0, "train": 45, "test": 45}[name]  # nothing of another part, but what was trained on
            known = "".join(chr(c) for c in window[:context].tolist() if c >= 0)
            assert known == text[max(first - context, least) : first]
    assert loaded.settings == {"reads": "characters", "context": context}


def test_the_vocabulary_is_that_of_the_training_text():
    text = "z" * 40 + "ab" * 500 + "q" * 100
    path_spec = characters.running(text, 20, 5, test=0.1, val=0.05)
    fitted = tokens.fit(path_spec.train.images, ())
    assert "notes" not in fitted
    assert fitted["vocabulary"] == ("a", "b", UNKNOWN)  # z is validated on, q is tested on
    assert fitted["settings"] == {"reads": "characters", "case": "kept"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"length": 1}, "data.length=1 is from 2 to 16,384"),
        ({"context": 20}, "data.context=20 from 0 to data.length - 1"),
        ({"test_share": 0.0}, "data.test_share=0.0 is above 0 and at most 1"),
        ({"val_share": 1.0}, "data.val_share=1.0 from 0 to below 1"),
        ({"length": 10_000, "context": 0}, "the text has 1,000 characters, too few to part it: at least 10,000"),
    ],
)
def test_running_text_that_cannot_be_cut_so(tmp_path, options, said):
    path = write(tmp_path / "book.txt", "abcdefghij" * 100)
    with pytest.raises((zoo.ConfigError, zoo.DataError), match=said):
        load_splits("text", path=str(path), **{"length": 20, "context": 5, **options})


def test_your_own_text(tmp_path):
    path = write(tmp_path / "book.txt", "It was.\r\n" * 200)
    splits = load_splits("text", path=str(path), length=32, context=8)
    assert splits.spec.class_names == ("text",)
    assert splits.spec.context == 8
    assert splits.spec.shape == (1, 1, 32)
    assert "\r" not in splits.spec.vocabulary
    assert "\n" in splits.spec.vocabulary
    with pytest.raises(zoo.ConfigError, match=r"data.path=… is a .txt file"):
        load_splits("text")
    with pytest.raises(zoo.DataError, match=r"does not exist|cannot be read|is no file"):
        load_splits("text", path=str(tmp_path / "none.txt"))
    latin = tmp_path / "latin.txt"
    latin.write_bytes("caf\u00e9 ".encode("latin-1") * 50)
    assert "not in UTF-8" in load_splits("text", path=str(latin), length=32, context=8).notes[0]
    empty = write(tmp_path / "empty.txt", "")
    with pytest.raises(zoo.DataError, match=r"the text has 0 characters"):
        load_splits("text", path=str(empty))


def test_another_text_is_cut_as_the_model_was_trained(tmp_path):
    path = write(tmp_path / "book.txt", "It was. " * 200)
    spec = load_splits("text", path=str(path), length=32, context=8).spec
    other = write(tmp_path / "other.txt", "Was it? " * 200)
    same = load_splits("text", path=str(other), length=32, context=8, like=spec, whole=True)
    assert same.spec.vocabulary == spec.vocabulary
    assert (same.test.images == spec.token(UNKNOWN)).any()  # W and ?
    with pytest.raises(zoo.DataError, match=r"data.length=32 data.context=8"):
        load_splits("text", path=str(other), length=32, context=9, like=spec)


def test_files_of_running_text_are_read_as_windows(tmp_path):
    path = write(tmp_path / "book.txt", "It was. " * 50)
    spec = load_splits("text", path=str(path), length=32, context=8).spec
    found, stored = tokens.read([path], spec)
    assert found[:2] == [f"{path}:0", f"{path}:24"]
    assert "".join(tokens.text_of(stored[..., 8:], spec)) == path.read_text()
    assert tokens.text_of(tokens.of_texts(["It was."], spec), spec) == ["It was."]
    with pytest.raises(zoo.DataError, match="a text has 32 characters, and the model was made for 24 at a time"):
        tokens.of_texts(["x" * 32], spec)


# --- sources ---------------------------------------------------------------------------------------------------------


def test_tiny_shakespeare_is_cut_as_nanogpt_does():
    splits = load_splits("tiny_shakespeare")
    assert len(splits.spec.vocabulary) == 66  # and one for what is unknown
    text = (default_root() / "tiny-shakespeare" / "input.txt").read_text()
    counts = {name: int((getattr(splits, name).images[..., 128:] >= 0).sum()) for name in ("train", "val", "test")}
    assert counts == {"train": 953_661, "val": 50_193, "test": 111_540}
    assert sum(counts.values()) == len(text) == 1_115_394
    start = tokens.text_of(splits.test.images[:1], splits.spec)[0]
    assert start[128:] == text[1_003_854:1_003_982]
    assert start[:128] == text[1_003_726:1_003_854]  # what stands before the test text was trained on
    assert tokens.text_of(splits.val.images[:1], splits.spec)[0] == text[:128]
    assert not (splits.test.images == splits.spec.token(UNKNOWN)).any()


def test_names_end():
    splits = load_splits("names", val_size=0.1, reads="characters")
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [23081, 2568, 6384]
    assert len(splits.spec.vocabulary) == 28
    assert tokens.text_of(splits.train.images[:3], splits.spec) == ["emma", "olivia", "ava"]
    parts = [set(tokens.text_of(part.images, splits.spec)) for part in (splits.train, splits.val, splits.test)]
    assert not parts[0] & parts[2]
    assert not parts[0] & parts[1]
    assert len(set.union(*parts)) == 29_494


@pytest.mark.parametrize(
    ("which", "folder", "name"),
    [("names", "names", "names.txt"), ("tiny_shakespeare", "tiny-shakespeare", "input.txt")],
)
def test_published_texts_are_those_that_were_published(which, folder, name, tmp_path, monkeypatch):
    source = sources.find(which)
    content = (default_root() / folder / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == source.SHA256
    (tmp_path / name).write_bytes(content.replace(b"\n", b"\r\n"))  # as Windows ends lines
    options = {"length": 256, "context": 128, "val_share": 0.05} if which == "tiny_shakespeare" else {}
    assert len(source.load(tmp_path, **options).train) > 1000
    (tmp_path / name).write_bytes(content[:-1])
    with pytest.raises(zoo.DataError, match="as published"):
        source.load(tmp_path, **options)
    served = tmp_path / "served"
    served.mkdir()
    (served / name).write_bytes(content)
    monkeypatch.setattr(source, "URL", (served / name).as_uri())
    assert len(source.load(tmp_path / "new", **options).train) > 1000
    assert (tmp_path / "new" / folder / name).read_bytes() == content
    monkeypatch.setattr(download, "LIMIT", 100)
    with pytest.raises(zoo.DataError, match="other content than was published"):
        source.load(tmp_path / "newer", **options)


def test_pydoc_needs_nothing():
    splits = load_splits("pydoc", root="/nowhere")
    assert len(splits.train) > 1000
    assert "\n" in splits.spec.vocabulary


# --- what running text is asked ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "said"), [({"folds": 5}, "data.folds"), ({"val_size": 0.2}, "data.val_size")])
def test_running_text_is_not_parted_at_random(tmp_path, options, said):
    path = write(tmp_path / "book.txt", "It was. " * 200)
    with pytest.raises(zoo.ConfigError, match=f"{said} parts examples at random"):
        load_splits("text", path=str(path), length=32, context=8, **options)
    with pytest.raises(zoo.ConfigError, match="the data has one alone"):
        load_splits("text", path=str(path), length=32, context=8, labels=3)


def counted(tmp_path, text: str = "It was so. " * 100) -> tuple[zoo.Model, Path]:
    """n-grams of a file of running text, which they were counted in."""
    path = write(tmp_path / "book.txt", text)
    splits = load_splits("text", path=str(path), length=32, context=8)
    model = zoo.create("ngram", splits.spec, order=3)
    model.initialize([(splits.train.x(), splits.train.labels)], torch.Generator())
    return model.eval(), path


def test_nats_per_token_are_those_of_what_is_behind_the_context(tmp_path):
    model, path = counted(tmp_path)
    test = load_splits("text", path=str(path), length=32, context=8).test
    count = int((test.images[..., 8:] >= 0).sum())
    assert count == 110
    total = zoo.log_prob(model, test.x()).double().sum()
    metrics = evaluate(model, test).metrics
    assert metrics["nats_per_token"] == pytest.approx(float(-total / count), rel=1e-6)
    assert metrics["density"] == "exact, tokens, context ≥ 8"
    learner = zoo.EMLearner(model)
    measured = learner.measure("test", *learner.outputs(test.x(), test.labels))
    assert measured["nats_per_token"] == pytest.approx(float(-total / count), rel=1e-6)
    each = zoo.anomaly_score(model, test.x()) * (test.images[..., 8:] >= 0).flatten(1).sum(1)
    torch.testing.assert_close(each.double().sum(), total.neg(), rtol=1e-5, atol=0)


def test_another_text_is_evaluated_whole(tmp_path):
    model, path = counted(tmp_path)
    source = {"name": "text", "path": str(path), "length": 32, "context": 8, "fingerprint": "that of the training"}
    other = write(tmp_path / "other.txt", "so It was. " * 100)
    for found in (
        splits_for(model.spec, source, folder=str(other), whole=True),
        splits_for(model.spec, {"name": "pydoc"}, data="text", folder=str(other), whole=True),
    ):
        assert "".join(tokens.text_of(found.test.images[..., 8:], found.spec)) == other.read_text()
        assert not len(found.train)
    with pytest.raises(zoo.DataError, match="running text, which these texts, that end, are not"):
        splits_for(model.spec, source, data="grammar")
    ended = load_splits("grammar", reads="characters").spec
    with pytest.raises(zoo.DataError, match="made for texts that end, not for running text"):
        splits_for(ended, {"name": "grammar"}, data="pydoc")
    with pytest.raises(zoo.DataError, match="made for texts that end, not for running text"):
        splits_for(load_splits("grammar").spec, {"name": "grammar"}, data="pydoc")


def test_line_ends_of_windows_are_line_ends(tmp_path):
    model, path = counted(tmp_path, "It was so.\n" * 100)
    windows = tmp_path / "windows.txt"
    windows.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert torch.equal(zoo.log_prob(model, path), zoo.log_prob(model, windows))
    assert torch.equal(zoo.log_prob(model, "so.\r\nIt"), zoo.log_prob(model, "so.\nIt"))
    assert zoo.forecast(model, "so.\r\n", 2).shape == (1, 1, 1, 6)


def test_nothing_is_asked_about_what_is_only_known(tmp_path):
    model, _ = counted(tmp_path)
    symbols = tokens.of_texts(["It was"], model.spec).long()
    assert torch.equal(zoo.log_prob(model, symbols), zoo.log_prob(model, "It was"))
    for ask in (zoo.log_prob, zoo.anomaly_score):
        with pytest.raises(zoo.DataError, match="the first 8 symbols of an example are there to be known"):
            ask(model, symbols[..., 8:])  # without the places of a context


def test_what_is_hidden_is_no_beginning(tmp_path):
    model, _ = counted(tmp_path)
    x = load_splits("text", path=str(tmp_path / "book.txt"), length=32, context=8).test.x()
    observed = torch.ones(x.shape, dtype=torch.bool)
    observed[..., 0] = False
    with pytest.raises(zoo.ZooError, match="hidden tokens"):
        zoo.log_prob(model, x, observed=observed)


def test_a_text_that_goes_on_behind_its_end_is_none():
    model = zoo.create("ngram", spec_of(), order=2)
    with pytest.raises(zoo.DataError, match="symbols stand behind <end>"):
        zoo.log_prob(model, torch.tensor([1, 6, 0]))
    with pytest.raises(zoo.DataError, match="a text is longer than the 3 characters"):
        zoo.log_prob(model, ["abab"])


def test_options_of_the_other_form_of_texts_are_refused():
    for option, value in (("ngrams", 2), ("weighting", "tfidf")):
        with pytest.raises(zoo.ConfigError, match=f"data.{option}={value} is of bags of words"):
            spec_of(**{option: value})
    with pytest.raises(zoo.ConfigError, match=r"data.longest=9 is of data.reads=characters"):
        tokens.fit(raw(4), (Column("text", TEXTS),), longest=9)


def test_long_texts_are_told():
    assert "notes" not in DataSpec.__dataclass_fields__
    fitted = tokens.fit(raw(4), (Column("text", TEXTS),), reads="characters", longest=3)
    assert fitted["notes"] == ["2 training texts have more than data.longest=3 characters with their end, and are cut"]
    assert load_splits("grammar", reads="characters", longest=20).notes[-1].startswith("480 training texts have more")


def test_small_letters_are_the_same_in_windows_and_prompts():
    """Some letters have several small ones, or one of two characters."""
    fitted = tokens.fit(characters.running("ΟΔΟΣ İX " * 60, 20, 5).train.images, (), case="lower")
    spec = DataSpec(num_classes=1, kind="tokens", **fitted)
    prompt = characters.prompts(["ΟΔΟΣ İX"], spec)
    assert (prompt >= 0).all()


def test_a_classifier_needs_classes():
    model = zoo.create("rnn", spec_of())
    with pytest.raises(zoo.ConfigError, match="the data has one class, 0, and rnn tells classes apart"):
        zoo.ClassificationLearner(model)
    with pytest.raises(zoo.ZooError, match="the data has one alone"):
        zoo.sample(zoo.create("ngram", spec_of(), order=2), 2, labels=0)
    with pytest.raises(zoo.ZooError, match=r"data.reads=characters makes them"):
        zoo.create("ngram", load_splits("grammar").spec)
