"""scripts/predict.py as users of tables and of pictures meet it: a CSV of answers, and a score card that adds up."""

import csv
import io
import json
import math

import numpy as np
import pytest
import tables
import torch
from conftest import run_script
from PIL import Image

import zoo
from zoo.data.kinds import table
from zoo.spec import Column
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
        ((f"ckpt={kernel}", path, "explain=true"), "svm cannot say what each column adds to its logits"),
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
