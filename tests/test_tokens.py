"""Texts as bags: terms and their vocabulary, what a model sees of a text, files of texts."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import zoo
from zoo.data import kinds, sources, texts
from zoo.data.kinds import tokens
from zoo.data.splits import load_splits
from zoo.spec import TERMS, DataSpec

TEXTS = [
    "Free entry! A FREE prize, call now", "call me now", "is the prize free", "A prize? Call me!", "", "lunch now",
    "free",
]  # fmt: skip


def spec_of(found=TEXTS, **options):
    numbers, columns = torch.arange(len(found))[:, None, None, None], (zoo.spec.Column("text", tuple(found)),)
    spec = DataSpec(num_classes=2, kind="tokens", **tokens.fit(numbers, columns, **options))
    return spec, tokens.store(numbers, columns, spec)


def counts(stored, spec):
    """Of the known terms in each text, laid out, ``(N, V)``."""
    size = spec.shape[2]
    x = stored.flatten(1).long()
    laid = torch.zeros(len(x), size + 2)
    return laid.scatter_add_(1, torch.where(x < 0, size + 1, x), torch.ones(x.shape))[:, :size]


# The vocabulary


@pytest.mark.parametrize("ngrams", [1, 2, 3])
@pytest.mark.parametrize("case", ["lower", "kept"])
@pytest.mark.parametrize("least", [1, 2])
def test_counts_are_those_of_scikit_learn(ngrams, case, least):
    from sklearn.feature_extraction.text import CountVectorizer

    spec, stored = spec_of(ngrams=ngrams, case=case, min_count=least)
    theirs = CountVectorizer(
        tokenizer=texts.words, token_pattern=None, ngram_range=(1, ngrams), lowercase=case == "lower", min_df=least
    )
    expected = theirs.fit_transform(TEXTS).toarray()
    order = [theirs.vocabulary_[term] for term in spec.vocabulary]
    assert sorted(order) == list(range(expected.shape[1]))
    np.testing.assert_array_equal(counts(stored, spec).numpy(), expected[:, order])
    np.testing.assert_allclose(spec.mean, (expected > 0).mean(0)[order])
    np.testing.assert_allclose(tokens.statistics(stored, spec)[0], spec.mean)


def test_the_most_frequent_terms_come_first_and_ties_go_by_the_letter():
    spec, _ = spec_of(vocabulary=5)
    in_texts = {"call": 3, "now": 3, "free": 3, "prize": 3, "!": 2, "a": 2, "me": 2}
    assert spec.vocabulary == ("call", "free", "now", "prize", "!")
    assert spec.mean == tuple(in_texts[term] / 7 for term in spec.vocabulary)


def test_a_term_that_the_vocabulary_does_not_have_is_unknown():
    spec, stored = spec_of(vocabulary=4)
    assert tokens.text_of(stored, spec)[:3] == ["free … … … free prize … call now", "call … now", "… … prize free"]
    assert stored.flatten(1)[1].tolist() == [0, 4, 2, -1, -1, -1, -1, -1, -1]
    assert tokens.text_of(tokens.of_texts(["Quiz: CALL now"], spec), spec) == ["… … call now"]


def test_words_come_before_pairs_of_words():
    spec, stored = spec_of(ngrams=2)
    row = stored.flatten(1)[1]
    listed = [spec.vocabulary[number] for number in row.tolist() if number >= 0]
    assert listed == ["call", "me", "now", "call me", "me now"]
    assert tokens.text_of(stored, spec)[1] == "call me now"
    short, _ = spec_of(["a b c", "a"], ngrams=3)
    assert tokens.of_texts(["a"], short).shape == (1, 1, 1, 6)  # room for three words, two pairs, one triple
    assert tokens.text_of(tokens.of_texts(["a", ""], short), short) == ["a", ""]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ngrams": 4}, r"data\.ngrams is from 1 to 3"),
        ({"min_count": 0}, r"data\.min_count is from 1 to 7"),
        ({"min_count": 8}, r"data\.min_count is from 1 to 7"),
        ({"vocabulary": TERMS + 1}, r"data\.vocabulary is from 1 to 1,048,576"),
        ({"case": "upper"}, "case=upper is no choice"),
        ({"min_count": 5}, "no term is in data.min_count=5 of the 7 training texts"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(zoo.ZooError, match=message):
        spec_of(**options)


@pytest.fixture
def grammar(monkeypatch):
    """A source whose texts can be replaced: what ``load_splits`` makes of others, by a function of text and number."""

    def load(change=lambda text, number: text, **options):
        labelled = [text for text in TEXTS[:4] for _ in range(10)]
        found = [change(f"{text} {number}", number) for number, text in enumerate(labelled)]
        handed = texts.loaded(found, [number % 2 for number in range(40)], ("no", "yes"))
        monkeypatch.setattr(sources.find("breast_cancer"), "load", lambda root: replace(handed, groups=None))
        monkeypatch.setattr(sources.find("breast_cancer"), "KIND", "tokens")
        monkeypatch.setattr(sources.find("breast_cancer"), "CLASSES", None)
        return load_splits("breast_cancer", **options)

    return load


@pytest.mark.parametrize(
    "options", [{"folds": 4, "fold": 2}, {"val_size": 8}, {"folds": 4, "val_size": 5, "ngrams": 2}]
)
def test_nothing_of_other_rows_is_in_what_is_fitted_to_training_rows(grammar, options):
    splits = grammar(**options)
    shown = tokens.text_of(splits.train.images, splits.spec)
    trained = {int(text.split()[-1]) for text in shown}  # a number ends each text
    assert len(trained) == len(splits.train) < 40
    other = grammar(lambda text, number: text if number in trained else f"noise prize free {number} " * 5, **options)
    assert other.spec == splits.spec
    assert tokens.text_of(other.train.images, other.spec) == shown
    assert other.fingerprint != splits.fingerprint
    assert tokens.text_of(other.test.images, other.spec) != tokens.text_of(splits.test.images, splits.spec)


def test_official_folds_are_heeded(grammar, monkeypatch):
    grammar()
    load = sources.find("breast_cancer").load
    folds = torch.arange(40) // 10
    monkeypatch.setattr(sources.find("breast_cancer"), "load", lambda root: replace(load(root), folds=folds))
    splits = load_splits("breast_cancer", folds=4, fold=3)
    assert {int(text.split()[-1]) for text in tokens.text_of(splits.train.images, splits.spec)} == {*range(30)}
    assert "the test split is official fold 3 of 4, 10 texts" in splits.notes
    assert any(note.startswith("the test split is fold 0 of 5") for note in load_splits("breast_cancer", folds=5).notes)


def test_other_training_texts_have_statistics_of_their_own(grammar):
    splits = grammar()
    other = splits.with_train(splits.train.take(slice(6)))
    assert other.spec.vocabulary == splits.spec.vocabulary
    assert other.spec.shape == splits.spec.shape
    assert other.spec.mean == tokens.statistics(splits.train.images[:6], splits.spec)[0] != splits.spec.mean


# The spec


def test_a_spec_of_texts_survives_a_round_trip_in_few_words():
    spec, _ = spec_of(ngrams=2)
    plain = json.loads(json.dumps(spec.to_dict()))
    assert DataSpec.from_dict(plain) == spec
    assert plain["vocabulary"].split("\n") == list(spec.vocabulary)
    assert plain["std"] == [[1.0, len(spec.vocabulary)]]
    assert len(plain["mean"]) == 3  # of three texts, two, and one


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": [[0.5, 2**40]]}, "mean of a data spec cannot be"),
        ({"std": [[1.0, TERMS + 1]]}, "std of a data spec cannot be"),
        ({"std": [[1.0, -3]]}, "std"),
        ({"vocabulary": "a\nb"}, "counts of 2 terms are of that shape"),
        ({"vocabulary": "\n".join(["a" * 2**19] * 17)}, "at most 8,388,608 letters together"),
    ],
)
def test_impossible_specs_of_texts(change, message):
    spec, _ = spec_of()
    with pytest.raises(zoo.ZooError, match=message):
        DataSpec.from_dict({**spec.to_dict(), **change})


# What is handed over


def test_strings_are_texts_and_paths_are_files(tmp_path):
    spec, _ = spec_of()
    file = tmp_path / "messages.txt"
    file.write_text("call me now\n\n \nfree prize\n", encoding="utf-8")
    x = kinds.examples(["call me now", "free prize"], spec)
    assert x.dtype == torch.int64
    assert x.shape == (2, 1, 1, 3)
    for same in (file, [file], np.array(["call me now", "free prize"]), pd.Series(["call me now", "free prize"])):
        assert torch.equal(kinds.examples(same, spec), x)
    assert torch.equal(kinds.examples("call me now", spec), x[:1])
    assert torch.equal(kinds.examples(x, spec), x)
    assert torch.equal(kinds.examples(x[:, 0, 0].int().numpy(), spec), x)
    assert torch.equal(kinds.examples(x[0, 0, 0], spec), x[:1])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.5, 2.5], "not float"),
        (["a", 3], "3 is no text among texts"),
        (torch.zeros(2, 3, 4).long(), r"not \(2, 3, 4\)"),
        (torch.zeros(2, 1, 3, 4).long(), r"not \(2, 1, 3, 4\)"),
        ([0, 99], "from 0 to 99 are none of the 13 terms"),
        ([-2, 0], "from -2 to 0"),
        ([True, False], "not bool"),
        (None, "holds no texts"),
        ([None], "holds no texts"),
    ],
)
def test_what_is_no_text_is_refused(values, message):
    spec, _ = spec_of()
    assert spec.shape == (1, 1, 13)
    with pytest.raises(zoo.DataError, match=message):
        tokens.convert(values, spec)


def test_files_of_texts(tmp_path):
    spec, _ = spec_of()
    lines = tmp_path / "a.txt"
    lines.write_bytes("\ufeffcall me\r\n\r\nfree\r\n".encode())
    table = tmp_path / "b.csv"
    table.write_text("number,text\n1,prize\n2,\n3,call\n", encoding="utf-8")
    names, stored = tokens.read(tokens.find_files([str(tmp_path)]), spec)
    assert names == [f"{lines}:1", f"{lines}:3", f"{table}:2", f"{table}:4"]
    assert tokens.text_of(stored, spec) == ["call me", "free", "prize", "call"]
    whole = replace(spec, settings={**spec.settings, "text": "file", "column": "number"})
    names, stored = tokens.read([lines, table], whole)
    assert names == [str(lines), f"{table}:2", f"{table}:3", f"{table}:4"]
    assert tokens.text_of(stored, whole)[0] == "call me free"
    with pytest.raises(zoo.DataError, match="has no column 'message', of texts"):
        tokens.read([table], replace(spec, settings={"column": "message"}))
    with pytest.raises(zoo.DataError, match="cannot be read"):
        tokens.read([tmp_path / "none.txt"], spec)


def test_what_is_written_can_be_read(tmp_path):
    spec, stored = spec_of()
    spec = replace(spec, class_names=("ham", "spam"), target="label", settings={**spec.settings, "column": "message"})
    assert tokens.write(stored, torch.arange(7) % 2, spec, tmp_path) == ["texts.csv"]
    frame = pd.read_csv(tmp_path / "texts.csv", keep_default_na=False)
    assert list(frame) == ["message", "label"]
    assert list(frame["label"])[:2] == ["ham", "spam"]
    kept = [number for number, text in enumerate(TEXTS) if text]  # an empty cell holds no text
    assert torch.equal(tokens.read([tmp_path / "texts.csv"], spec)[1], stored[kept])


def test_a_text_is_shown_as_a_picture_of_it():
    spec, stored = spec_of()
    shown = tokens.show(stored.long(), spec)
    assert shown.shape == (7, 1, 64, 128)
    assert 0 <= float(shown.min()) < float(shown.max()) <= 1
    assert float(shown[4].max()) == 0  # nothing
    assert float(shown[6].sum()) < float(shown[0].sum())  # one word, and nine


def test_a_made_up_kind_of_data_is_always_the_same():
    (first, spec), (second, again) = tokens.trial(30), tokens.trial(30)
    assert torch.equal(first, second)
    assert spec == again
    assert first.shape == (30, 1, 1, 15)
    assert math.isclose(sum(spec.mean) * 30, float((counts(first, spec) > 0).sum()), rel_tol=1e-9)
