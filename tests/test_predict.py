"""scripts/predict.py as users of tables, pictures and texts meet it: CSV of answers, and score cards that add up."""

import csv
import io
import itertools
import json
import math

import numpy as np
import pytest
import reviews
import tables
import torch
from conftest import run_script
from PIL import Image

import zoo
from zoo.data.kinds import table, tokens
from zoo.spec import END, UNKNOWN, Column
from zoo.tasks import predict as task
from zoo.tasks.predict import predict
from zoo.tasks.score_card import SHOWN, describe, score_card

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    return zoo.save(tables.linear(), tmp_path_factory.mktemp("released") / "model")


def answers(capsys, *words) -> list[dict[str, str]]:
    run_script("predict.py", *words, "csv=-")
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def test_csv_of_a_table(released, tmp_path, capsys, monkeypatch):
    """A row each, in the order of the file, whatever the order of its columns; the same in a file and printed."""
    path = tables.write(tmp_path, 300)
    given = [line.split(",") for line in path.read_text().splitlines()]
    path.write_text("".join(f"{total},{job},x,{age}\n" for age, job, total in given))
    found = answers(capsys, f"ckpt={released}", path)
    assert list(found[0]) == ["row", "class", "p(good)", "p(bad)"]
    assert [row["row"] for row in found] == [str(number) for number in range(1, 301)]
    wanted = zoo.classify(tables.linear(), tables.rows(300)).exp()
    probabilities = np.array([[float(row["p(good)"]), float(row["p(bad)"])] for row in found])
    np.testing.assert_allclose(probabilities, wanted, atol=1e-4)
    assert [row["class"] for row in found] == [("good", "bad")[k] for k in wanted.argmax(1)]
    monkeypatch.chdir(tmp_path)
    run_script("predict.py", f"ckpt={released}", "rows.csv", f"csv={tmp_path / 'answers.csv'}")
    assert list(csv.DictReader((tmp_path / "answers.csv").open())) == found
    shown = capsys.readouterr().out
    assert shown.count("rows.csv:") == 20
    assert "… of 300 rows; csv=… writes them all" in shown


def test_csv_of_several_files(released, tmp_path, capsys):
    for name in "ab":
        (tmp_path / name).mkdir()
        tables.write(tmp_path / name, 3)
    found = answers(capsys, f"ckpt={released}", tmp_path / "a", tmp_path / "b" / "rows.csv")
    assert [(row["file"], row["row"]) for row in found] == [
        (str(tmp_path / name / "rows.csv"), str(number)) for name in "ab" for number in (1, 2, 3)
    ]


def test_csv_of_pictures(tmp_path, capsys):
    model = zoo.create("logistic_regression", zoo.DataSpec((1, 4, 4), 3, ("a", "b,c", 'd"')))
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    for level in range(25):
        Image.new("L", (4, 4), 10 * level).save(tmp_path / f"{level:02}.png")
    released = zoo.save(model, tmp_path / "model")
    found = answers(capsys, f"ckpt={released}", tmp_path, "invert=never")
    assert list(found[0]) == ["file", "class", "p(a)", "p(b,c)", 'p(d")']
    assert [row["file"] for row in found] == [str(tmp_path / f"{level:02}.png") for level in range(25)]
    grey = torch.arange(25)[:, None, None, None].mul(10).byte().expand(-1, 1, 4, 4)
    wanted = zoo.classify(model, grey).exp()
    np.testing.assert_allclose(
        [[float(row[f"p({k})"]) for k in model.spec.class_names] for row in found], wanted, rtol=1e-5
    )
    run_script("predict.py", f"ckpt={released}", tmp_path, "invert=never", "top=1")
    assert capsys.readouterr().out.count("%") == 25


def bayes(spec):
    """Naive Bayes that has seen some rows."""
    model, split = zoo.create("naive_bayes", spec, emission="mixed"), tables.labelled(60, spec)
    model.initialize([(split.images, split.labels)], torch.Generator().manual_seed(0))
    model.maximize(model.statistics(split.images, split.labels))
    return model


@pytest.mark.parametrize("spec", [tables.SPEC, tables.WITH_GAPS], ids=["plain", "indicators"])
@pytest.mark.parametrize("make", [lambda spec: tables.linear(spec=spec), bayes], ids=["linear", "naive_bayes"])
def test_a_score_card_adds_up_to_the_probability(make, spec):
    model, x = make(spec), tables.rows(30, spec)
    wanted = zoo.classify(model, x).exp()
    for number in range(30):
        card = score_card(model, x[number : number + 1])
        assert (card["class"], card["against"]) == ("bad", "good")
        points = [line["points"] for line in card["columns"]]
        assert points == sorted(points, key=lambda value: -abs(value))
        assert math.isclose(sum(points) + card["offset"], card["log_odds"], abs_tol=1e-9)
        assert math.isclose(sum(points), card["sum"], abs_tol=1e-9)
        assert math.isclose(1 / (1 + math.exp(-card["log_odds"])), card["probability"], abs_tol=1e-9)
        assert math.isclose(card["probability"], float(wanted[number, 1]), abs_tol=1e-5)
        assert math.isclose(card["probability"] + card["against_probability"], 1, abs_tol=1e-9)


def test_a_score_card_has_the_values_of_the_file():
    model, x = tables.linear(spec=tables.WITH_GAPS), tables.rows(3, tables.WITH_GAPS)
    x[2, ..., 0] = 1.5
    x[2, ..., 1:4] = torch.tensor([0, 1, 0])
    cards = [score_card(model, x[number : number + 1]) for number in range(3)]
    first, second, third = ({line["column"]: line for line in card["columns"]} for card in cards)
    assert first["job"] == {"column": "job", "value": None, "points": 0}
    assert (first["job cell"]["value"], third["job cell"]["value"]) == ("missing", "seen")
    assert second["age"] == {"column": "age", "value": None, "points": 0}
    assert (third["age"]["value"], third["job"]["value"]) == (55, "clerk")
    # by hand: coefficient times what is above the mean of the training
    assert third["age"]["points"] == pytest.approx(2 * 1.5)
    assert third["job"]["points"] == pytest.approx(-0.3 * -0.5 + 0.2 * (1 - 0.3) + 1.5 * -0.2)
    assert cards[2]["offset"] == pytest.approx(-0.5)
    rows = {name: (value, points) for name, value, points in describe(cards[2])}
    assert rows["age"] == ("55", "+3.000")
    assert rows["probability of bad"] == ("", f"{cards[2]['probability']:.4f}")


def test_a_score_card_of_several_classes_sets_the_best_against_the_next():
    columns = tuple(Column(f"x{number}") for number in range(40))
    spec = zoo.DataSpec((1, 1, 40), 3, ("a", "b", "c"), kind="table", values="real", std=(1,) * 40, columns=columns)
    model = zoo.create("svm", spec, kernel="linear")
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(generator=generator)
    model.temperature.fill_(8.0)
    x = torch.randn(20, 1, 1, 40, generator=generator)
    ranked = zoo.classify(model, x).exp().sort(1, descending=True)
    for number in range(20):
        card = score_card(model, x[number : number + 1])
        best, then = ranked.indices[number, :2].tolist()
        assert (card["class"], card["against"]) == (spec.class_names[best], spec.class_names[then])
        assert card["probability"] == pytest.approx(float(ranked.values[number, 0]), abs=1e-5)
        odds = float((ranked.values[number, 0] / ranked.values[number, 1]).log())
        assert sum(line["points"] for line in card["columns"]) + card["offset"] == pytest.approx(odds, abs=1e-4)
    rows = describe(card)
    assert len(rows) == SHOWN + 6
    assert rows[SHOWN][0] == "10 other columns"
    shown = sum(float(points) for _, _, points in rows[: SHOWN + 1])
    assert shown == pytest.approx(card["sum"], abs=0.0005 * (SHOWN + 1))


def test_explain_prints_the_card_of_a_row(released, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tables.write(tmp_path).name
    run_script("predict.py", f"ckpt={released}", path, "explain=true", "row=5", f"json={tmp_path / 'answers.json'}")
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    assert "rows.csv:6" in said
    told = json.loads((tmp_path / "answers.json").read_text())
    assert [number for number, answer in enumerate(told) if "explanation" in answer] == [4]
    _, row = table.read([tmp_path / path], tables.SPEC)
    assert told[4]["explanation"] == score_card(tables.linear(), row[4:5])
    for name, value, points in describe(told[4]["explanation"]):
        assert all(word in said for word in (name, value, points))
    run_script("predict.py", f"ckpt={released}", path, "explain=true")
    assert "rows.csv:2" in capsys.readouterr().out


def test_bad_input(released, tmp_path, capsys):
    path = tables.write(tmp_path)
    other = tmp_path / "other.csv"
    other.write_text("age,work,sum\n30,clerk,900\n")
    kernel = zoo.save(zoo.create("svm", tables.SPEC, num_features=8), tmp_path / "kernel")
    pictures = zoo.save(zoo.create("logistic_regression", zoo.DataSpec((1, 4, 4), 3)), tmp_path / "pictures")
    for words, reason in (
        ((f"ckpt={released}", other), "has no column 'job', which the model knows"),
        ((f"ckpt={kernel}", path, "explain=true"), "svm cannot say what each column, or term, adds to its logits"),
        ((f"ckpt={pictures}", path, "explain=true"), "a line a column: that is for the kind table"),
        ((f"ckpt={released}", path, "explain=true", "row=13"), "row=13: there are 12 rows"),
        ((f"ckpt={released}", path, "row=3"), "row=3 is for explain=true"),
        ((f"ckpt={released}", path, "csv=-", "json=-"), "both print"),
        ((f"ckpt={released}", path, f"csv={tmp_path}"), "is a folder"),
    ):
        with pytest.raises(SystemExit) as end:
            run_script("predict.py", *words)
        assert end.value.code == 2
        said = capsys.readouterr().err
        assert reason in said
        assert len(said.splitlines()) == 1


def test_the_same_answers_however_many_files_at_a_time(tmp_path):
    paths = []
    for name in "abc":
        (tmp_path / name).mkdir()
        paths.append(tables.write(tmp_path / name, 4))
    one, all_ = (predict(tables.linear(), paths, batch_size=size) for size in (1, 9))
    assert one.names == all_.names
    assert torch.equal(one.probabilities, all_.probabilities)


# Texts

LINES = ("We loved the fish! The soup was not cold.", "It was Monday.", "", "zzz qqq", "a" * 300 + " fish " * 60)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A released model of texts, and a file of them."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "messages.txt").write_text("\n".join(LINES) + "\n")
    return zoo.save(reviews.bayes(2), folder / "model"), folder / "messages.txt"


def test_csv_of_texts(texts, capsys):
    model, path = texts
    found = answers(capsys, f"ckpt={model}", path)
    assert list(found[0]) == ["file", "known", "class", "p(negative)", "p(positive)"]
    lines = [number for number, line in enumerate(LINES, 1) if line]
    assert [row["file"] for row in found] == [f"{path}:{number}" for number in lines]
    wanted = zoo.classify(reviews.bayes(2), [line for line in LINES if line]).exp()
    np.testing.assert_allclose([[float(row["p(negative)"]), float(row["p(positive)"])] for row in found], wanted)
    assert [row["class"] for row in found] == [("negative", "positive")[k] for k in wanted.argmax(1)]
    known = [float(row["known"]) for row in found]
    vocabulary = set(reviews.bayes(2).spec.vocabulary)
    words = ["we", "loved", "the", "fish", "!", "the", "soup", "was", "not", "cold", "."]
    terms = words + [" ".join(pair) for pair in itertools.pairwise(words)]
    assert known[0] == pytest.approx(sum(term in vocabulary for term in terms) / len(terms), abs=1e-6)
    assert known[2] == 0


def test_texts_are_shown_by_their_beginning(texts, capsys):
    model, path = texts
    run_script("predict.py", f"ckpt={model}", path)
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    assert "we loved the fish ! the soup was …" in said
    assert "(no word of it is known)" in said
    many = path.with_name("many.txt")
    many.write_text("the fish\n" * 25)
    run_script("predict.py", f"ckpt={model}", many)
    said = capsys.readouterr().out
    assert said.count("the fish") == 20
    assert "… of 25 texts; csv=… writes them all" in said


@pytest.mark.parametrize("text", ['fish=good, "so" it\'s\n- [x] ${y}, the end', "-", "=", "key=value", "!"])
def test_a_text_of_the_command_line_is_taken_as_it_is(text, texts, capsys):
    run_script("predict.py", f"ckpt={texts[0]}", f"text={text}", "json=-")
    (told,) = json.loads(capsys.readouterr().out)
    assert set(told) == {"known", "classes"}
    wanted = zoo.classify(reviews.bayes(2), text).exp()[0]
    by_name = {entry["name"]: entry["probability"] for entry in told["classes"]}
    assert [by_name[name] for name in ("negative", "positive")] == pytest.approx(wanted.tolist(), abs=1e-6)
    run_script("predict.py", f"ckpt={texts[0]}", f"text={text}", "csv=-")
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert list(row) == ["known", "class", "p(negative)", "p(positive)"]


@pytest.mark.parametrize(
    "make", [reviews.bayes, lambda ngrams: reviews.bayes(ngrams, "bernoulli"), reviews.linear,
             lambda ngrams: reviews.linear(ngrams, "svm", kernel="linear"),
             lambda ngrams: reviews.linear(ngrams, "nbsvm")],
    ids=["multinomial", "bernoulli", "logistic_regression", "svm", "nbsvm"],
)  # fmt: skip
@pytest.mark.parametrize("ngrams", [1, 2])
def test_a_score_card_of_a_text_adds_up(make, ngrams):
    model, test = make(ngrams), reviews.splits(ngrams=ngrams).test
    wanted = zoo.classify(model, test.x()).exp()
    for place in range(10):
        text = test.images[place : place + 1]
        card = score_card(model, text)
        assert (card["class"], card["against"]) == ("positive", "negative")
        terms, points = ([line[key] for line in card["terms"]] for key in ("term", "points"))
        assert points == sorted(points, key=lambda value: -abs(value))
        assert len(set(terms)) == len(terms)
        assert sum(line["count"] for line in card["terms"]) == int((text >= 0).sum())
        assert math.isclose(sum(points) + card["offset"], card["log_odds"], abs_tol=1e-9)
        assert math.isclose(1 / (1 + math.exp(-card["log_odds"])), card["probability"], abs_tol=1e-9)
        assert math.isclose(card["probability"], float(wanted[place, 1]), abs_tol=1e-5)


def test_points_of_a_word_by_hand():
    """Naive Bayes: as often as a word is there, its log ratio; an unknown one says nothing."""
    model = reviews.bayes()
    fish = model.spec.vocabulary.index("fish")
    log_p = model.coefficients().detach()
    ratio = float(log_p[1, fish] - log_p[0, fish])
    card = score_card(model, tokens.of_texts(["Fish zzz fish qqq fish"], model.spec))
    assert card["terms"] == [
        {"term": "fish", "count": 3, "points": pytest.approx(3 * ratio, abs=1e-5)},
        {"term": "…", "count": 2, "points": 0},
    ]
    assert describe(card)[:2] == [("fish", "3", f"{3 * ratio:+.3f}"), ("…", "2", "+0.000")]


def test_explain_prints_the_words_of_a_text(texts, tmp_path, capsys):
    model, path = texts
    run_script("predict.py", f"ckpt={model}", path, "explain=true", "row=2", f"json={tmp_path / 'answers.json'}")
    said = capsys.readouterr().out
    assert f"text 2, {path}:2" in said
    told = json.loads((tmp_path / "answers.json").read_text())
    assert [number for number, answer in enumerate(told) if "explanation" in answer] == [1]
    assert told[1]["explanation"] == score_card(reviews.bayes(2), tokens.of_texts([LINES[1]], reviews.bayes(2).spec))
    run_script("predict.py", f"ckpt={model}", f"text={LINES[1]}", "explain=true")
    again = capsys.readouterr().out
    assert again.splitlines()[0] == "it was monday ."
    assert again.splitlines()[1:] == said.splitlines()[1:]


def test_bad_texts(texts, tmp_path, capsys):
    model, path = texts
    pictures = zoo.save(zoo.create("logistic_regression", zoo.DataSpec((1, 4, 4), 3)), tmp_path / "pictures")
    mlp = zoo.save(zoo.create("mlp", reviews.splits().spec), tmp_path / "mlp")
    (tmp_path / "empty.txt").write_text("\n \n")
    for words, reason in (
        ((f"ckpt={model}", "text="), "has no word"),
        ((f"ckpt={model}", "text= \n"), "has no word"),
        ((f"ckpt={model}", "text=fish", path), f"text=… and {path}: name files, or give one text"),
        ((f"ckpt={model}", "text=fish", "explain=true", "row=2"), "row=2: there are 1 texts"),
        ((f"ckpt={pictures}", "text=fish"), "text=… is a text: that is for the kind tokens"),
        ((f"ckpt={mlp}", "text=fish", "explain=true"), "mlp cannot say what each column, or term, adds to its logits"),
        ((f"ckpt={model}", "the fish"), "the fish does not exist"),
        ((f"ckpt={model}", tmp_path / "empty.txt"), "holds no text"),
    ):
        with pytest.raises(SystemExit) as end:
            run_script("predict.py", *words)
        assert end.value.code == 2
        said = capsys.readouterr().err
        assert reason in said
        assert len(said.splitlines()) == 1


def test_a_text_is_read_by_its_characters(tmp_path, capsys):
    """A spam filter by Bayes' rule, of characters: what share of them it knows does not count the text's end."""
    vocabulary = ("a", "b", "c", UNKNOWN, END)
    spec = zoo.DataSpec(
        (1, 1, 8), 2, ("ham", "spam"), kind="tokens", values="tokens", vocabulary=vocabulary,
        settings={"reads": "characters", "case": "kept"},
    )  # fmt: skip
    model = zoo.create("ngram", spec, order=2)
    x = torch.tensor([[0, 1, 0, 1, 4, -1, -1, -1], [2, 2, 2, 4, -1, -1, -1, -1]])[:, None, None].repeat(10, 1, 1, 1)
    model.initialize([(x, torch.arange(20) % 2)], torch.Generator())
    stored = tokens.of_texts(["abab", "c?", "??", ""], spec)
    answered = task.answers(model, [""] * 4, stored)
    assert answered.known.tolist()[:3] == [1.0, 0.5, 0.0]
    assert answered.known[3].isnan()  # there is but its end
    assert answered.probabilities.argmax(1).tolist()[:2] == [0, 1]
    path = zoo.save(model, tmp_path / "released")
    for text, said in (("abab", "abab"), ("??", "(no character of it is known)")):
        run_script("predict.py", f"ckpt={path}", f"text={text}")
        assert said in capsys.readouterr().out
