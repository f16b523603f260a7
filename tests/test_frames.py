"""Files of tables: what columns hold, and a sentence for each mistake."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import command, run_train

import zoo
from zoo.base import memory
from zoo.data import frames, kinds
from zoo.data.splits import load_splits
from zoo.inspect.kinds.table import learnt
from zoo.registry import load_with_source
from zoo.spec import Column, DataSpec
from zoo.tasks.evaluate import evaluate, splits_for

table = kinds.find("table")


def write(path, *lines, encoding="utf-8"):
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def many(count, *columns):
    """Lines of ``count`` rows, a cell a column: what it makes of the row's number."""
    return [",".join(str(column(row)) for column in columns) for row in range(count)]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([1.5, 2.5, None], Column("x")),
        ([3, 1, 2], Column("x")),
        (["b", "a", None], Column("x", ("a", "b"))),
        ([True, False, True], Column("x", ("False", "True"))),
        (["true", "false", "true"], Column("x", ("False", "True"))),
        ([None, None, None], Column("x")),
    ],
)
def test_what_a_column_holds(cells, expected):
    columns, _ = frames.columns_of(pd.DataFrame({"x": cells}), "here")
    assert columns == (expected,)


def test_numbers_that_are_names():
    frame = pd.DataFrame({"x": [10, 9, 9], "y": [0.5, 1, 1]})
    columns, others = frames.columns_of(frame, "here", ["x"])
    assert columns == (Column("x", ("9", "10")), Column("y"))
    assert not others


def test_columns_that_tell_nothing_are_named_with_the_reason():
    rows = range(40)
    frame = pd.DataFrame(
        {
            "id": rows,
            "name": [f"customer {row}" for row in rows],
            "country": "SE",
            "day": [f"2024-01-{1 + row % 28:02d}" for row in rows],
            "when": pd.date_range("2024-01-01", periods=40),
            "nothing": None,
            "sometimes": [None, *["yes"] * 39],
            "size": [row**2 for row in rows],
        }
    )
    columns, others = frames.columns_of(frame, "here")
    assert others == {
        "id": "numbers the rows",
        "name": "another text in each row",
        "country": "always SE",
        "day": "dates",
        "when": "dates",
        "nothing": "empty",
    }
    assert [column.name for column in columns if column.name not in others] == ["sometimes", "size"]


@pytest.mark.parametrize(
    ("cell", "text"),
    [(1, "1"), (1.0, "1"), ("01", "1"), (" a ", "a"), (True, "True"), ("TRUE", "True"), (np.bool_(0), "False"),
     (0.1, "0.1"), ("nan", "nan"), ("inf", "inf"), ("", "")],
)  # fmt: skip
def test_a_category_has_one_name(cell, text):
    assert frames.text_of(cell) == text


def test_categories_that_training_did_not_have_are_missing_and_so_are_empty_cells(tmp_path):
    columns = (Column("age", location=40.0, scale=10.0), Column("job", ("clerk", "nurse")))
    spec = DataSpec((1, 1, 3), 2, columns=columns, kind="table", values="mixed")
    path = write(tmp_path / "a.csv", "job,other,age", "nurse,1,50", "pilot,2,", ",3,30")
    names, stored = table.read([path], spec)
    assert names == [f"{path}:2", f"{path}:3", f"{path}:4"]
    nan = torch.nan
    wanted = torch.tensor([[1, 0, 1], [nan, nan, nan], [-1, nan, nan]])
    assert torch.equal(stored.flatten(1).nan_to_num(9), wanted.nan_to_num(9))
    cells = table.cells(stored, spec)
    assert cells["age"].tolist()[::2] == [50, 30]
    assert cells["job"].tolist()[0] == "nurse"
    assert cells["job"].isna().tolist() == [False, True, True]


def test_a_frame_and_a_file_are_read_alike(tmp_path):
    splits = load_splits("german_credit")
    frame = table.cells(splits.test.images, splits.spec)
    table.write(splits.test.images, None, splits.spec, tmp_path)
    from_file = table.read([tmp_path / "rows.csv"], splits.spec)[1]
    torch.testing.assert_close(from_file, splits.test.images, rtol=1e-4, atol=1e-4)
    shuffled = frame[frame.columns[::-1]].assign(unknown=1)
    torch.testing.assert_close(table.convert(shuffled, splits.spec), splits.test.images, rtol=1e-4, atol=1e-4)
    frame.to_parquet(tmp_path / "rows.parquet")
    torch.testing.assert_close(table.read([tmp_path / "rows.parquet"], splits.spec)[1], from_file)


def test_an_indicator_is_made_by_reading_and_left_out_by_writing(tmp_path):
    splits = load_splits("heart_disease", indicators=True)
    marked = [column for column in splits.spec.columns if column.gaps_of]
    assert "cholesterol" in {column.gaps_of for column in marked}
    assert {column.categories for column in marked} == {("seen", "missing")}
    places = dict(splits.spec.blocks)
    for column in marked:
        told = splits.test.images[..., places[column]][:, 0, 0]
        own = next(block for block, _ in splits.spec.blocks if block.name == column.gaps_of)
        assert torch.equal(told[:, 1] == 1, splits.test.images[..., places[own]].isnan().any(3)[:, 0, 0])
    table.write(splits.test.images, splits.test.labels, splits.spec, tmp_path)
    written = pd.read_csv(tmp_path / "rows.csv", keep_default_na=False)
    assert list(written.columns) == [*(c.name for c in splits.spec.columns if not c.gaps_of), "diagnosis"]
    again = table.read([tmp_path / "rows.csv"], splits.spec)[1]
    torch.testing.assert_close(again, splits.test.images, rtol=1e-4, atol=1e-4, equal_nan=True)
    drawn = splits.test.images.clone().nan_to_num(0)  # values everywhere, which the indicators take back
    assert table.cells(drawn, splits.spec)["cholesterol"].isna().sum() == (written["cholesterol"] == "").sum()


def test_numbers_in_the_units_of_the_file_are_not_taken_for_standardised_ones():
    splits = load_splits("breast_cancer")
    frame = table.cells(splits.test.images, splits.spec)
    model = zoo.create("logistic_regression", splits.spec)
    with pytest.raises(zoo.DataError, match=r"look as they would in a file.*DataFrame"):
        zoo.classify(model, frame.to_numpy())
    assert zoo.classify(model, frame).shape == (114, 2)
    assert zoo.classify(model, splits.test.images).shape == (114, 2)


def test_parquet_has_what_csv_has(tmp_path):
    frame = pd.DataFrame({
        "whole": pd.array([1, None, 3], dtype="Int64"), "exact": [Decimal("1.50"), None, Decimal("2")],
        "text": pd.Categorical(["b", None, "a"]), "yes": pd.array([True, None, False], dtype="boolean"),
    })  # fmt: skip
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_csv(tmp_path / "a.csv", index=False)
    read = [frames.read_frame(tmp_path / f"a.{suffix}") for suffix in ("parquet", "csv")]
    columns = [frames.columns_of(found, "here")[0] for found in read]
    assert columns[0] == columns[1]
    assert [column.categories for column in columns[0]] == [(), (), ("a", "b"), ("False", "True")]
    rows = [frames.raw(found, columns[0], "here") for found in read]
    np.testing.assert_array_equal(*rows)
    np.testing.assert_array_equal(rows[0], [[1, 1.5, 1, 1], [np.nan] * 4, [3, 2, 0, 0]])


def test_words_for_missing_cells_are_heeded_in_every_form(tmp_path):
    frame = pd.DataFrame({"x": [1.0, -999.0, 3.0], "kind": ["a", "?", " "]})
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_csv(tmp_path / "a.csv", index=False)
    for suffix in ("parquet", "csv"):
        found = frames.read_frame(tmp_path / f"a.{suffix}", ["-999", "?"])
        assert found["x"].isna().tolist() == [False, True, False]
        assert found["kind"].isna().tolist()[:2] == [False, True]
    columns = (Column("x", scale=2.0), Column("kind", ("a", "b")))
    settings = {"missing": "-999\n?"}
    spec = DataSpec((1, 1, 3), 2, columns=columns, kind="table", values="mixed", settings=settings)
    assert table.convert(frame, spec).isnan().flatten(1).tolist() == [[False] * 3, [True] * 3, [False, True, True]]


def test_parquet_that_is_no_table_or_far_too_much(tmp_path, monkeypatch):
    pd.DataFrame({"x": [[1, 2], [3]]}).to_parquet(tmp_path / "lists.parquet")
    with pytest.raises(zoo.DataError, match="column 'x' holds lists"):
        frames.read_frame(tmp_path / "lists.parquet")
    path = tmp_path / "zeros.parquet"
    pd.DataFrame({"x": np.zeros(10**6)}).to_parquet(path)
    assert path.stat().st_size < 10**5
    monkeypatch.setattr(memory, "LEAST", 5e7)
    monkeypatch.setattr(memory.os, "sysconf", lambda _: 0)
    with pytest.raises(zoo.ConfigError, match=r"zeros\.parquet, of 0\.0 GB, would need"):
        frames.read_frame(path)


# A file of one's own


ROWS = many(60, lambda n: n % 3 + 0.5 * (n % 7), lambda n: "abc"[n % 3], lambda n: "yes" if n % 3 == 2 else "no")


@pytest.mark.parametrize(
    ("lines", "options", "words"),
    [
        ([], {}, ["is empty"]),
        (["x,kind,bought"], {}, ["no row but"]),
        (["x;kind;bought", "1;a;no"], {}, ["semicolons", "commas"]),
        (["x\tkind\tbought", "1\ta\tno"], {}, ["tabs"]),
        (["x,kind,x", "1,a,no"], {}, ["more than one column 'x'"]),
        (["x,,bought", "1,a,no"], {}, ["column 2 has no name"]),
        (["x,kind,bought", *ROWS, "1,a"], {}, ["line 62", "2 cells", "3 columns"]),
        (["x,kind,bought", *ROWS, "1,a,"], {}, ["'bought' holds no class in line 62"]),
        (["x,kind,bought", *ROWS[::3]], {}, ["'bought' is 'no' throughout", "one class"]),
        (["x,kind,bought", *ROWS, "much,a,no"], {}, ["line 62", "'much'", "'x'", "data.missing=[much]"]),
        (["x,kind,bought", '"1,5",a,no', '"2,5",b,yes'], {}, ["decimal comma", "line 2"]),
        (["x,kind,bought", *ROWS, "inf,a,no"], {}, ["line 62", "infinite"]),
        (["x,kind,bought", *many(3000, lambda n: n % 5, lambda n: f"c{n // 2}", lambda n: n % 2)], {},
         ["'kind' has 1,500 categories", "data.drop=[kind]"]),
        (["x,kind,bought", *many(300, lambda n: n % 5, lambda n: "ab"[n % 2], lambda n: n)], {},
         ["'bought' has 300 different values", "classes"]),
        (["x,kind,bought", "1,a,no", "1,a,yes"], {}, ["no column tells examples apart", "always 1"]),
        (["x,kind,bought", *ROWS], {"target": "bougt"}, ["data.target=bougt", "did you mean 'bought'"]),
        (["x,kind,bought", *ROWS], {"drop": ["y"]}, ["data.drop=y"]),
        (["x,kind,bought", *ROWS], {"positive": "maybe"}, ["data.positive=maybe", "no, yes"]),
        (["x,kind,bought", *ROWS], {"target": None}, ["data.target=…"]),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_a_line(lines, options, words, tmp_path):
    path = write(tmp_path / "rows.csv", *lines)
    with pytest.raises(zoo.ZooError) as error:
        load_splits("table", path=str(path), **{"target": "bought", **options})
    message = str(error.value)
    assert len(message.splitlines()) == 1
    assert all(word in message for word in words), message


def test_other_files_that_are_no_tables(tmp_path):
    latin = write(tmp_path / "latin.csv", "name,bought", "Zoë,yes", encoding="latin-1")
    zeros = tmp_path / "zeros.csv"
    zeros.write_bytes(bytes(1000))
    wrong = tmp_path / "wrong.parquet"
    wrong.write_bytes(b"PAR1 and nothing else")
    for path in (latin, zeros, wrong, tmp_path / "none.csv", tmp_path):
        with pytest.raises(zoo.DataError) as error:
            frames.read_frame(path)
        assert str(path) in str(error.value)
        assert len(str(error.value).splitlines()) == 1


def test_a_file_that_memory_does_not_hold_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = write(tmp_path / "rows.csv", "x,bought", "1,no")
    with path.open("r+b") as file:
        file.truncate(10**9)  # a hole: nothing is written
    monkeypatch.setattr(memory, "LEAST", 4e9)
    monkeypatch.setattr(memory.os, "sysconf", lambda _: 0)
    with pytest.raises(zoo.ConfigError, match=r"of 1\.0 GB, would need about 12 GB of memory.*part of its rows"):
        frames.read_frame(path)


def test_one_s_own_table(tmp_path):
    path = write(tmp_path / "rows.csv", "x,kind,bought", *ROWS, "?,a,no")
    splits = load_splits("table", path=str(path), target="bought", missing=["?"], split_seed=3)
    assert (len(splits.train), len(splits.test)) == (49, 12)
    assert splits.spec.class_names == ("no", "yes")
    assert splits.spec.missing
    assert splits.spec.settings == {"missing": "?"}
    assert splits.spec.target == "bought"
    swapped = load_splits("table", path=str(path), target="bought", missing=["?"], positive="no")
    assert swapped.spec.class_names == ("yes", "no")
    test = write(tmp_path / "test.csv", "bought,kind,x", "yes,b,1.5", "no,z,?")
    official = load_splits("table", path=str(path), target="bought", missing=["?"], test_path=str(test))
    assert len(official.train) == 61
    assert official.test.labels.tolist() == [1, 0]
    assert official.test.images[1].isnan().all()
    odd = write(tmp_path / "odd.csv", "bought,kind,x", "perhaps,b,1.5")
    with pytest.raises(zoo.DataError, match="'perhaps' is none of the classes"):
        load_splits("table", path=str(path), target="bought", missing=["?"], test_path=str(odd))


def test_groups_of_rows_stay_on_one_side(tmp_path):
    lines = many(200, lambda n: n % 9 + n / 200, lambda n: f"p{n // 4}", lambda n: int(n % 4 == n // 4 % 4))
    path = write(tmp_path / "rows.csv", "x,patient,ill", *lines)
    options = {"path": str(path), "target": "ill", "groups": "patient"}
    patient = {line.split(",")[1]: [] for line in lines}
    splits = load_splits("table", val_size=0.2, **options)
    assert [column.name for column in splits.spec.columns] == ["x"]
    for name in ("train", "val", "test"):
        values = table.cells(getattr(splits, name).images, splits.spec)["x"].round(3)
        for line in lines:
            x, who, _ = line.split(",")
            if round(float(x), 3) in set(values):
                patient[who].append(name)
    assert all(len(parts) == 4 and len(set(parts)) == 1 for parts in patient.values())
    assert {parts[0] for parts in patient.values()} == {"train", "val", "test"}


def test_a_checkpoint_meets_other_rows_by_the_names_of_their_columns(tmp_path):
    """Also those of a file in which a column is always the same, or numbers stand for names."""
    path = write(tmp_path / "rows.csv", "x,kind,bought", *(line.replace("c,yes", "7,yes") for line in ROWS))
    words = ("data=table", f"data.path={path}", "data.target=bought", "model=logistic_regression")
    run = run_train(tmp_path / "runs", *words, "trainer.max_epochs=2", "trainer.accelerator=cpu")
    other = write(tmp_path / "other.csv", "bought,kind,x", "yes,7,1", "no,7,2", "yes,7,1", "no,7,2")
    result = command("scripts/evaluate.py", f"ckpt={run}", f"path={other}", "json=" + str(tmp_path / "a.json"))
    assert result.returncode == 0, result.stderr
    lost = write(tmp_path / "lost.csv", "bought,kind", "yes,b", "no,a", "yes,b", "no,a")
    result = command("scripts/evaluate.py", f"ckpt={run}", f"path={lost}")
    assert result.returncode == 2
    assert "no column 'x', which the model knows" in result.stderr


def test_columns_of_samples_are_drawn_beside_those_of_the_data(tmp_path):
    splits = load_splits("heart_disease")
    model = zoo.create("naive_bayes", splits.spec)
    batches = [(splits.train.images, splits.train.labels)]
    model.initialize(batches, torch.Generator())
    model.maximize(model.statistics(*batches[0]))
    figure = learnt(model.eval(), splits.test)["columns"]
    panels = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    assert list(panels) == [column.name for column in splits.spec.columns]
    sexes = [label.get_text() for label in panels["sex"].get_yticklabels()]
    assert sexes == ["woman", "man"]  # the most frequent on top
    real, made = panels["sex"].containers
    share = (table.cells(splits.test.images, splits.spec)["sex"] == "man").mean()
    assert real[1].get_width() == pytest.approx(share)
    assert made[1].get_width() == pytest.approx(share, abs=0.1)
    assert learnt(zoo.create("logistic_regression", splits.spec), splits.test) == {}


def test_a_file_that_is_named_takes_the_place_of_the_training_s_test_file(tmp_path):
    files = {}
    for name, count in (("train", 60), ("test", 30), ("new", 24)):
        flipped = name == "new"
        lines = [f"{row % 3 + row / 100},{'yes' if (row % 3 == 2) != flipped else 'no'}" for row in range(count)]
        files[name] = write(tmp_path / f"{name}.csv", "x,bought", *lines)
    words = (f"data.path={files['train']}", f"data.test_path={files['test']}", "data.target=bought")
    run = run_train(tmp_path / "runs", "data=table", *words, "model=naive_bayes", "trainer.accelerator=cpu")
    model, source = load_with_source(run)
    asked = [splits_for(model.spec, source, folder=folder, whole=True) for folder in (None, str(files["new"]))]
    assert [len(splits.test) for splits in asked] == [30, 24]
    accuracy = [evaluate(model, splits.test).metrics["accuracy"] for splits in asked]
    assert accuracy[0] > 0.9
    assert accuracy[1] < 0.1
    assert "another folder or file" in asked[1].notes[-1]
