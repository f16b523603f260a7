"""Texts: what is a word, and sources of texts: what was published, and what is one's own."""

import hashlib
import random
import zipfile
from pathlib import Path

import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from test_table_sources import archive

import zoo
from zoo.data import kinds, published, records, sources, texts
from zoo.data.sources import grammar, labelled_text, movie_reviews, product_reviews, sentence_polarity, sms_spam
from zoo.data.splits import default_root, load_splits

tokens = kinds.find("tokens")
ZIPS = {
    "sentence_polarity": (sentence_polarity, "sentence-polarity/sentence_polarity.zip"),
    "movie_reviews": (movie_reviews, "movie-reviews/movie_reviews.zip"),
    "product_reviews": (product_reviews, "product-reviews/product_reviews_1.zip"),
}


def shown(split, spec):
    return tokens.text_of(split.images, spec)


# --- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop!", ["Don't", "stop", "!"]),
        ("don\u2019t 'tis rock 'n' roll", ["don't", "'", "tis", "rock", "'", "n", "'", "roll"]),
        ("£1000 €5 $1,000.50", ["£", "1000", "€", "5", "$", "1,000.50"]),
        ("the U.S. policy", ["the", "U", ".", "S", ".", "policy"]),
        ("call 4u b4 10.30am, 2nd", ["call", "4u", "b4", "10.30", "am", ",", "2nd"]),
        ("so good 😀😀", ["so", "good", "😀", "😀"]),
        ("👍🏽 👨\u200d👩\u200d👧 🇩🇪🇫🇷 ❤\ufe0f", ["👍🏽", "👨\u200d👩\u200d👧", "🇩🇪", "🇫🇷", "❤\ufe0f"]),
        ("我爱北京。", ["我", "爱", "北", "京", "。"]),
        ("caf\u00e9 cafe\u0301", ["caf\u00e9", "caf\u00e9"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("x-ray snake_case", ["x", "-", "ray", "snake", "_", "case"]),
        ("a\u200bb \ufeff\x07 c\xa0d", ["a", "b", "c", "d"]),
        (" \n\t ", []),
    ],
)
def test_words(text, expected):
    assert texts.words(text) == expected


def test_words_of_any_text_lose_nothing_but_blanks():
    """Whatever characters there are, each that is to be seen is in one word, in its order."""
    chance = random.Random(0)
    signs = "ab é'’.,1٣_-€😀🏽\u200d我हि\n\t\"#ßŁ"
    for _ in range(500):
        text = "".join(chance.choices(signs, k=20))
        seen = [sign for sign in texts.unicodedata.normalize("NFC", text).replace("’", "'") if not sign.isspace()]
        left = [sign for sign in seen if sign != "\u200d"]
        assert [sign for sign in "".join(texts.words(text)) if sign != "\u200d"] == left


def test_a_word_has_an_end():
    assert texts.words("x" * 1000 + " y") == ["x" * texts.MOST_LETTERS, "y"]


@pytest.mark.parametrize(
    "text", ["1," * 200_000 + "x", "a'" * 200_000, "👍\u200d" * 200_000, "\u0301" * 200_000], ids=lambda text: text[:2]
)
def test_no_text_takes_long(text):
    assert len(texts.words(text, 10)) <= 10
    assert texts.words(text)


def test_rows_of_numbered_words():
    numbers, words, longer = texts.numbered(("b a b", "", "c A"))
    assert words == ("A", "a", "b", "c")
    assert [row.tolist() for row in numbers] == [[2, 1, 2], [], [3, 0]]
    assert longer == 0
    assert texts.numbered(()) == ([], (), 0)


def test_only_the_first_words_of_a_long_text_are_read():
    many = "x y " * (texts.MOST_WORDS // 2)
    loaded = texts.loaded([many, f"{many} z", "a"], [0, 1, 0])
    numbers, words, longer = texts.numbered(loaded.columns[0].categories)
    assert [len(row) for row in numbers] == [texts.MOST_WORDS, texts.MOST_WORDS, 1]
    assert (words, longer) == (("a", "x", "y"), 1)
    (note,) = tokens.fit(loaded.train.images, loaded.columns)["notes"]
    assert note == "1 texts have more than 5,000 words: the first are read"


def test_texts_that_are_the_same_are_one_group():
    loaded = texts.loaded(["Call  now!", "no", "call now !", "", "NO", ""], [1, 0, 1, 0, 0, 0])
    first, no, again, empty, also, other = loaded.groups.tolist()
    assert first == again
    assert no == also
    assert len({first, no, empty, other}) == 4
    assert loaded.notes[0].startswith("2 texts repeat an earlier one")
    assert loaded.notes[1] == "2 texts hold no word"
    assert texts.loaded(["a", "b"], [0, 1]).groups is None
    given = texts.loaded(["a", "b", "A", "b"], [0, 1, 0, 1], groups=[5, 6, 7, 6])
    assert given.groups.tolist() == [5, 6, 7, 6]
    assert given.notes == ("1 texts repeat one of another group, word for word",)


def test_the_fingerprint_is_of_texts_labels_and_splits():
    different = [
        texts.loaded(["a b", "c"], [0, 1], ("x", "y")),
        texts.loaded(["a B", "c"], [0, 1], ("x", "y")),
        texts.loaded(["a b", "c"], [1, 0], ("x", "y")),
        texts.loaded(["a b", "c"], [0, 1], ("x", "z")),
        texts.loaded(["a b"], [0], ("x", "y"), test=(["c"], [1])),
    ]
    assert len({loaded.fingerprint for loaded in different}) == 5
    assert different[4].test.images.flatten().tolist() == [1]  # behind the others


@pytest.mark.parametrize(
    ("content", "text", "guessed"),
    [
        ("£5 naïve".encode(), "£5 naïve", False),
        ("\ufeff£5".encode(), "£5", False),
        ("£5".encode("utf-16"), "£5", False),
        ("£5 “naïve”".encode("cp1252"), "£5 “naïve”", True),
        (b"\x81\xa35", "\x81£5", True),  # a byte that Windows-1252 does not have
        (b"", "", False),
    ],
)
def test_encodings(content, text, guessed):
    assert texts.decoded(content, "here") == (text, guessed)


def test_what_is_no_text_is_told_with_its_line():
    with pytest.raises(zoo.DataError, match="here is no text: line 3 holds a NUL"):
        texts.decoded(b"a\nb\nc\0", "here")
    with pytest.raises(zoo.DataError, match="here is damaged"):
        texts.decoded(b"\xff\xfea", "here")


# --- published texts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "count", "positive", "groups"),
    [
        ("sms_spam", 5574, 747, True),
        ("sentence_polarity", 10_662, 5331, False),
        ("movie_reviews", 2000, 1000, False),
        ("product_reviews", 1719, 1081, True),
    ],
)
def test_texts_are_those_that_were_published(name, count, positive, groups):
    loaded = sources.find(name).load(default_root())
    assert len(loaded.train) == count
    assert int(loaded.train.labels.sum()) == positive
    assert (loaded.groups is not None) is groups
    splits = load_splits(name)
    assert splits.spec.kind == "tokens"
    assert len(splits.train) + len(splits.test) == count


def test_repeated_messages_stay_together():
    """403 messages repeat an earlier one letter by letter; none is on two sides, of splits nor of folds."""
    lines = (default_root() / "sms-spam" / sms_spam.FILE).read_text("utf-8").split("\n")[:-1]
    messages = [line.partition("\t")[2] for line in lines]
    assert len(messages) - len(set(messages)) == 403
    loaded = sms_spam.load(default_root())
    of: dict[str, set[int]] = {}
    for message, group in zip(messages, loaded.groups.tolist(), strict=True):
        of.setdefault(message, set()).add(group)
    assert all(len(groups) == 1 for groups in of.values())
    for options in ({"val_size": 0.1}, {"folds": 10, "fold": 3, "val_size": 500}):
        splits = load_splits("sms_spam", case="kept", vocabulary=1_000_000, **options)
        like = splits.spec
        parts = [
            {tuple(row[row >= 0].tolist()) for row in part.images.flatten(1) if (row < like.shape[2]).all()}
            for part in (splits.train, splits.val, splits.test)
        ]
        assert all(len(part) > 40 for part in parts)
        assert not parts[0] & parts[1]
        assert not parts[0] & parts[2]
        assert not parts[1] & parts[2]


def test_official_folds_of_films():
    loaded = movie_reviews.load(default_root())
    with zipfile.ZipFile(default_root() / "movie-reviews" / "movie_reviews.zip") as members:
        names = [name for name in members.namelist() if name.endswith(".txt")]
        seventh = {name: members.read(name).decode() for name in names if "/cv7" in name}
    assert len(seventh) == 200
    assert loaded.folds.bincount().tolist() == [200] * 10
    splits = load_splits("movie_reviews", folds=10, fold=7)
    assert splits.test.labels.bincount().tolist() == [100, 100]
    found = [loaded.columns[0].categories[number] for number in loaded.train.images[loaded.folds == 7].flatten()]
    assert sorted(found) == sorted(seventh.values())


def test_products_are_parted_by_review_and_have_no_marks():
    loaded = product_reviews.load(default_root())
    found = [" ".join(texts.words(text)) for text in loaded.columns[0].categories]
    assert found[2] == "it practically plays almost everything you give it ."
    assert not any("##" in text.replace(" ", "") for text in found)
    assert 200 < len(loaded.groups.unique()) < 350
    assert int(loaded.groups.bincount().max()) < 100
    splits = load_splits("product_reviews", folds=10, fold=4)
    assert 100 < len(splits.test) < 250


def test_marks_of_opinions_are_added():
    content = (
        "* about\n[t]a title[+3]\nphone[+3], work[-1]##it is good . [+9]\nmenu[-2][u]##it is bad\n##nothing\n"
        "x[+1],y[-1]##as good as bad\n[t]next\nsize[+]##odd\nz[-3]##worse \n"
    )
    loaded = product_reviews._read(
        {"a/x.txt": content.encode(), "a/y.txt": b"p[+1]##fine", "a/README.txt": b"b[+1]##c"}
    )
    assert loaded.train.labels.tolist() == [1, 0, 0, 1]
    assert loaded.groups[0] == loaded.groups[1]
    assert len(set(loaded.groups.tolist())) == 3
    assert loaded.columns[0].categories == ("it is good . [+9]", "it is bad", "worse", "fine")


@pytest.mark.parametrize("name", ZIPS)
def test_archives_are_downloaded_and_checked(name, tmp_path, monkeypatch):
    source, file = ZIPS[name]
    right = (default_root() / file).read_bytes()
    (tmp_path / "served.zip").write_bytes(right)
    monkeypatch.setattr(source, "URL", (tmp_path / "served.zip").as_uri())
    assert len(source.load(tmp_path / "new").train) > 1000
    assert [path.name for path in (tmp_path / "new" / Path(file).parent).iterdir()] == [Path(file).name]
    (tmp_path / "served.zip").write_bytes(right[:-1] + b"x")
    with pytest.raises(zoo.DataError, match="other content than was published"):
        source.load(tmp_path / "other")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / Path(file).name).write_bytes(right[: len(right) // 2])
    with pytest.raises(zoo.DataError, match=rf"{Path(file).name} is not the archive of {source.TITLE} as published"):
        source.load(tmp_path / "there")
    monkeypatch.setattr(source, "URL", (tmp_path / "nowhere.zip").as_uri())
    with pytest.raises(zoo.DataError) as error:
        source.load(tmp_path / "empty")
    assert f"It is at {(tmp_path / 'nowhere.zip').as_uri()}" in str(error.value)
    assert "data.root" in str(error.value)


def test_the_addresses_are_the_official_ones():
    for source, file in ZIPS.values():
        name = Path(file).name
        assert f"https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/packages/corpora/{name}" == source.URL
        assert hashlib.sha256((default_root() / file).read_bytes()).hexdigest() == source.ARCHIVE


def test_messages_are_checked_wherever_they_lie(tmp_path, monkeypatch):
    content = (default_root() / "sms-spam" / sms_spam.FILE).read_bytes()
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / sms_spam.FILE).write_bytes(content.replace(b"\n", b"\r\n"))  # as Windows ends lines
    assert len(sms_spam.load(tmp_path / "flat").train) == 5574
    served = archive(tmp_path / "served.zip", **{sms_spam.FILE: content, "readme": b"of no meaning"})
    monkeypatch.setattr(sms_spam, "URL", served.as_uri())
    with pytest.raises(zoo.DataError, match="other content than was published"):  # its checksum is known
        sms_spam.load(tmp_path / "new")
    monkeypatch.setattr(sms_spam, "ARCHIVE", hashlib.sha256(served.read_bytes()).hexdigest())
    assert len(sms_spam.load(tmp_path / "new").train) == 5574
    for wrong in (content.replace(b"ham", b"spam", 1), content[:-50], b"", b"no tabs\nat all\n", b"ham\t\xff\n"):
        (tmp_path / "flat" / sms_spam.FILE).write_bytes(wrong)
        with pytest.raises(zoo.DataError, match=r"damaged|does not hold the rows of SMS Spam Collection"):
            sms_spam.load(tmp_path / "flat")


def test_archives_are_unpacked_within_bounds(tmp_path, monkeypatch):
    content = archive(tmp_path / "a.zip", a=b"x" * 1000, b=b"y").read_bytes()
    assert records.unpacked(content) == {"a": b"x" * 1000, "b": b"y"}
    assert records.unpacked(content, ["b"]) == {"b": b"y"}
    with pytest.raises(ValueError, match="cannot be unpacked"):
        records.unpacked(content, ["c"])
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_LZMA) as members:
        members.writestr("a", b"x")
    with pytest.raises(ValueError, match="packed in a way"):
        records.unpacked((tmp_path / "b.zip").read_bytes())
    monkeypatch.setattr(records, "LARGEST", 1000)
    with pytest.raises(ValueError, match="1,001 bytes, at most 1,000"):
        records.unpacked(content)
    (tmp_path / "SMSSpamCollection").write_bytes(b"ham\t" + b"x" * 2000)
    with pytest.raises(zoo.DataError, match="2,004 bytes"):
        sms_spam.load(tmp_path)


def test_published_texts_are_read_once(monkeypatch):
    published._read_unchanged.cache_clear()
    first = sentence_polarity.load(default_root())
    monkeypatch.setattr(texts, "loaded", None)
    assert sentence_polarity.load(default_root()) is first


# --- made-up texts ---------------------------------------------------------------------------------------------------


def test_the_grammar_is_learnt_by_pairs_of_words():
    splits = load_splits("grammar", whole=True)
    found, labels = shown(splits.test, splits.spec), splits.test.labels.tolist()
    assert len(found) == 600
    assert sum(labels) == 300
    scores = []
    for ngrams in (1, 2):
        counts = CountVectorizer(token_pattern=r"\S+", ngram_range=(1, ngrams)).fit_transform(found)
        scores.append(cross_val_score(LogisticRegression(max_iter=1000), counts, labels, cv=5).mean())
    assert 0.8 < scores[0] < 0.92
    assert 0.93 < scores[1] < 0.98


def test_the_grammar_has_no_symbol_without_a_rule():
    """All that its rules name is a word of the text, or a rule; and all of it is used."""
    symbols = {*grammar.RULES, *grammar.WORDS, "good", "bad"}
    words = {word for choices in grammar.RULES.values() for word in choices.replace("|", " ").split()}
    assert symbols - words <= {"text", "adjective"}
    found = set(texts.numbered(grammar.load(Path()).columns[0].categories).words)
    assert words - symbols <= found
    assert not (symbols - {"good", "bad"}) & found


# --- one's own: tables -----------------------------------------------------------------------------------------------

ROWS = [("free prize, call now", "spam", "x"), ("see you at lunch", "ham", "y"), ("win £100", "spam", "x")] * 5


def table(path, rows=ROWS, header="message,label,sender", encoding="utf-8"):
    lines = [header, *(",".join(f'"{cell}"' for cell in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding)
    return path


def own(path, **options):
    return load_splits("labelled_text", path=path, **{"text": "message", "target": "label", **options})


def test_a_table_of_texts(tmp_path):
    path = table(tmp_path / "a.csv", [(f"{text} {n}", *rest) for n, (text, *rest) in enumerate(ROWS)])
    splits = own(path, test_path=table(tmp_path / "b.csv", [("Win lunch", "ham", "z")], header="message,label,sender"))
    assert splits.spec.class_names == ("ham", "spam")
    assert splits.spec.target == "label"
    assert splits.spec.settings["column"] == "message"
    assert shown(splits.test, splits.spec) == ["win lunch"]
    assert len(splits.train) == 15
    assert own(path, positive="ham").spec.class_names == ("spam", "ham")
    by_sender = own(path, groups="sender")
    assert set(by_sender.test.labels.tolist()) in ({0}, {1})
    names, stored = tokens.read([path], splits.spec)
    assert names[0] == f"{path}:2"
    assert torch.equal(stored, splits.train.images[:, :, :, : stored.shape[3]])
    parquet = tmp_path / "a.parquet"
    zoo.data.frames.read_frame(path).to_parquet(parquet)
    assert torch.equal(own(parquet).train.images, own(path).train.images)


def test_empty_cells_are_texts_without_a_word(tmp_path):
    path = table(tmp_path / "a.csv", [*ROWS, ("", "ham", "x"), (" ", "ham", "x")])
    loaded = labelled_text.load(tmp_path, path, "message", "label", None, None, None)
    assert "2 texts hold no word" in loaded.notes
    assert loaded.columns[0].categories[-2:] == ("", " ")


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"path": None}, zoo.ConfigError, "data.path="),
        ({"target": None}, zoo.ConfigError, "data.text=… data.target=…"),
        ({"text": "mesage"}, zoo.ConfigError, "did you mean 'message'?"),
        ({"target": "lable"}, zoo.ConfigError, "did you mean 'label'?"),
        ({"groups": "sendr"}, zoo.ConfigError, "did you mean 'sender'?"),
        ({"text": "label"}, zoo.ConfigError, "data.text=label is the column of texts, and of classes"),
        ({"text": "sender", "groups": "sender"}, zoo.ConfigError, "and of groups"),
        ({"positive": "spm"}, zoo.ConfigError, "did you mean 'spam'?"),
        ({"min_count": 16}, zoo.ConfigError, "data.min_count"),
        ({"min_count": 14, "val_size": 0.1}, zoo.DataError, "no term is in data.min_count="),
    ],
)
def test_options_that_cannot_be(options, error, words, tmp_path):
    path = table(tmp_path / "a.csv", [(f"{text} {n}", *rest) for n, (text, *rest) in enumerate(ROWS)])
    if options.get("min_count") == 14:
        options = {"min_count": 10, "groups": None}
    with pytest.raises(error) as raised:
        own(**{"path": path, **options})
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "holds no row"),
        ([("a", "spam", "x"), ("b", "spam", "x")], "there is one class alone"),
        ([("a", "spam", "x"), ("b", "", "x")], "holds no class in line 3"),
        ([("1", "spam", "x"), ("2", "ham", "x")], "line 2: 1 in column 'message' is no text"),
        ([("", "spam", "x"), ("", "ham", "x")], "column 'message' is empty"),
        ([("\u200b", "spam", "x"), ("\u200b", "ham", "x")], "none of the 2 texts holds a word"),
    ],
)
def test_tables_that_hold_no_labelled_texts(rows, words, tmp_path):
    with pytest.raises(zoo.DataError) as raised:
        own(table(tmp_path / "a.csv", rows))
    assert words in str(raised.value)


def test_a_test_table_is_like_the_other(tmp_path):
    path = table(tmp_path / "a.csv")
    with pytest.raises(zoo.DataError, match=r"b\.csv has no column 'message', as .*a\.csv has"):
        own(path, test_path=table(tmp_path / "b.csv", header="text,label,sender"))
    with pytest.raises(zoo.DataError, match=r"b\.csv, line 2: 'eggs' is none of the classes to train on, ham, spam"):
        own(path, test_path=table(tmp_path / "b.csv", [("a", "eggs", "x")]))
    splits = own(path, test_path=table(tmp_path / "b.csv", [("SEE you at lunch", "ham", "x")]))
    assert "1 texts to test or to validate on repeat one to train on" in splits.notes


def test_bytes_of_a_table_that_are_no_text_are_told_with_their_line(tmp_path):
    path = table(tmp_path / "a.csv", encoding="cp1252")
    with pytest.raises(zoo.DataError, match=r"a\.csv cannot be read as a table: line 4 holds bytes that are no UTF-8"):
        own(path)
    path.write_bytes(b"\xef\xbb\xbf" + table(path).read_bytes())  # with the mark that Excel writes
    assert own(path).spec.class_names == ("ham", "spam")
    path.write_bytes(b'message,label\n"a,spam\n' + b"b,ham\n" * 50_000)
    with pytest.raises(zoo.DataError, match=r"line \d+: field larger than field limit.* is a quotation mark missing\?"):
        own(path)


# --- one's own: folders ----------------------------------------------------------------------------------------------


def newsgroups(folder):
    """A folder in the form of "20 newsgroups": files without a suffix, with headers, some of them not in UTF-8."""
    for split, first in (("train", 49_960), ("test", 53_068)):
        for name, word in (("alt.atheism", "belief"), ("sci.space", "orbit")):
            for number in range(first, first + 4):
                path = folder / f"20news-bydate-{split}" / name / str(number)
                path.parent.mkdir(parents=True, exist_ok=True)
                text = f"From: someone@somewhere\nSubject: {word}\n\nna\u00efve {word} {number}"
                path.write_bytes(text.encode("latin-1" if number == first else "utf-8"))
    return folder


def test_a_folder_in_the_form_of_newsgroups(tmp_path, capsys):
    splits = load_splits("labelled_text", path=newsgroups(tmp_path / "20news-bydate"), min_count=2)
    assert splits.spec.class_names == ("alt.atheism", "sci.space")
    assert (len(splits.train), len(splits.test)) == (8, 8)
    assert splits.spec.settings["text"] == "file"
    assert splits.train.labels.tolist() == [0] * 4 + [1] * 4
    assert all("naïve belief" in text for text in shown(splits.test, splits.spec)[:4])
    assert "files that are not in UTF-8 and are taken for Windows-1252: 4" in splits.notes
    path = tmp_path / "20news-bydate" / "20news-bydate-test" / "sci.space" / "53069"
    names, stored = tokens.read([path], splits.spec)
    assert names == [str(path)]
    assert "naïve orbit" in tokens.text_of(stored, splits.spec)[0]
    names, stored = tokens.read(tokens.find_files([str(path.parents[1])]), splits.spec)
    assert len(names) == 8
    assert capsys.readouterr().err == "files that are not in UTF-8 and are taken for Windows-1252: 2\n"
    assert torch.equal(stored, splits.test.images[:, :, :, : stored.shape[3]])


def test_folders_of_classes(tmp_path):
    for name, word in (("good", "fine"), ("bad", "poor")):
        (tmp_path / name).mkdir()
        for number in range(10):
            (tmp_path / name / f"{number}.TXT").write_text(f"{word} {number}")
    (tmp_path / "good" / "picture.png").write_bytes(b"\0")
    splits = load_splits("labelled_text", path=tmp_path, positive="bad")
    assert splits.spec.class_names == ("good", "bad")
    assert (len(splits.train), len(splits.test)) == (16, 4)
    assert splits.test.labels.tolist() == [0 if "fine" in text else 1 for text in shown(splits.test, splits.spec)]
    assert any("1 × .png" in note for note in splits.notes)
    with pytest.raises(zoo.ConfigError, match="did you mean 'good'"):
        load_splits("labelled_text", path=tmp_path, positive="god")
    with pytest.raises(zoo.ConfigError, match=r"data\.target=label is for a table"):
        load_splits("labelled_text", path=tmp_path, target="label")
    with pytest.raises(zoo.DataError, match="one folder a class, at least two"):
        load_splits("labelled_text", path=tmp_path / "good")
    (tmp_path / "empty").mkdir()
    with pytest.raises(zoo.DataError, match="holds no text: is it a class"):
        load_splits("labelled_text", path=tmp_path)
    (tmp_path / "empty" / "1.txt").write_bytes(b"x\n\0")
    with pytest.raises(zoo.DataError, match=r"1\.txt is no text: line 2"):
        load_splits("labelled_text", path=tmp_path)
    with (tmp_path / "empty" / "1.txt").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(zoo.DataError, match=r"1\.txt is too large for a text: it holds 1,099,511,627,776 bytes"):
        load_splits("labelled_text", path=tmp_path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(zoo.DataError, match=r"no\.csv cannot be read as a table: no such file"):
        own(tmp_path / "no.csv")
