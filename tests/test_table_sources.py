"""Published tables: their rows as they are counted elsewhere, wherever the file lies, and what is refused."""

import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT

import zoo
from zoo.data import frames, kinds, published, records
from zoo.data.sources import card_fraud, german_credit, heart_disease, taiwan_default
from zoo.data.splits import default_root, load_splits

table = kinds.find("table")
SHEET = ROOT / "tests" / "sheets" / "made_up_taiwan.xls"  # twenty made-up rows in the form of the published sheet


@pytest.mark.parametrize(
    ("name", "rows", "positive", "numbers", "categories", "missing"),
    [
        ("german_credit", 1000, 300, 7, 13, 0),
        ("taiwan_default", 30_000, 6636, 20, 3, 0),
        ("heart_disease", 920, 509, 6, 7, 1759),
    ],
)
def test_rows_are_those_that_were_published(name, rows, positive, numbers, categories, missing):
    splits = load_splits(name, val_size=0.1)
    parts = [splits.train, splits.val, splits.test]
    assert sum(map(len, parts)) == rows
    assert sum(int(part.labels.sum()) for part in parts) == positive
    columns = splits.spec.columns
    assert sum(not column.categories for column in columns) == numbers
    assert sum(bool(column.categories) for column in columns) == categories
    cells = pd.concat([table.cells(part.images, splits.spec) for part in parts])
    assert cells.isna().sum().sum() == missing
    assert not splits.notes


def test_columns_have_names_that_people_read():
    splits = load_splits("german_credit")
    cells = table.cells(splits.train.images, splits.spec)
    assert {"below 0 DM", "none"} <= set(cells["checking account"])
    assert cells["age"].between(19, 75).all()
    first = pd.read_csv(default_root() / "german-credit" / "german.data", sep=r"\s+", header=None)
    assert cells["amount"].round().isin(first[4]).all()


def archive(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_german_credit_is_downloaded_and_checked_by_its_rows(tmp_path, monkeypatch):
    content = (default_root() / "german-credit" / "german.data").read_bytes()
    shuffled = b"\n".join(sorted(content.split(b"\n"))) + b"\n"
    served = archive(tmp_path / "served.zip", **{"german.data": shuffled, "Index": b"of no meaning"})
    monkeypatch.setattr(german_credit, "URL", served.as_uri())
    splits = load_splits("german_credit", tmp_path / "new")
    assert len(splits.train) + len(splits.test) == 1000
    assert [path.name for path in (tmp_path / "new" / "german-credit").iterdir()] == ["statlog+german+credit+data.zip"]
    assert len(load_splits("german_credit", tmp_path / "new").train) == 800  # from the archive that is there now
    for wrong in (content.replace(b"1169", b"1170", 1), b"\n".join(content.split(b"\n")[1:]), b"", b"A11 6\n1 2 3\n"):
        monkeypatch.setattr(german_credit, "URL", archive(tmp_path / "wrong.zip", **{"german.data": wrong}).as_uri())
        with pytest.raises(zoo.DataError, match="other content than was published"):
            load_splits("german_credit", tmp_path / "empty")
        assert not list((tmp_path / "empty" / "german-credit").iterdir())
        (tmp_path / "damaged").mkdir(exist_ok=True)
        (tmp_path / "damaged" / "german.data").write_bytes(wrong)
        with pytest.raises(zoo.DataError, match=r"damaged|rows of German credit as published"):
            load_splits("german_credit", tmp_path / "damaged")
    monkeypatch.setattr(german_credit, "URL", (tmp_path / "nowhere.zip").as_uri())
    with pytest.raises(zoo.DataError) as error:
        load_splits("german_credit", tmp_path / "empty")
    assert "data.root" in str(error.value)
    assert "It is at" in str(error.value)


def test_heart_disease_is_four_files(tmp_path, monkeypatch):
    folder = default_root() / "heart-disease"
    members = {path.name: path.read_bytes() for path in folder.glob("processed.*.data")}
    monkeypatch.setattr(heart_disease, "URL", archive(tmp_path / "served.zip", **members).as_uri())
    assert len(load_splits("heart_disease", tmp_path / "new").test) == 184
    members["processed.va.data"] = members["processed.va.data"].replace(b"?", b"1", 1)
    monkeypatch.setattr(heart_disease, "URL", archive(tmp_path / "wrong.zip", **members).as_uri())
    with pytest.raises(zoo.DataError):
        load_splits("heart_disease", tmp_path / "other")


def test_the_sheet_of_taiwan(tmp_path, monkeypatch):
    """The published archive has a sheet of Excel's: a made-up one of its form is read."""
    served = archive(tmp_path / "served.zip", **{taiwan_default.SHEET: SHEET.read_bytes()})
    sheet = pd.read_excel(SHEET, header=1)
    monkeypatch.setattr(taiwan_default, "URL", served.as_uri())
    monkeypatch.setattr(taiwan_default, "ROWS", records.digest(sheet.itertuples(index=False)))
    with pytest.raises(zoo.DataError, match="other content"):  # the checksum of the archive is known
        load_splits("taiwan_default", tmp_path / "new")
    monkeypatch.setattr(taiwan_default, "ARCHIVE", published.hashlib.sha256(served.read_bytes()).hexdigest())
    splits = load_splits("taiwan_default", tmp_path / "new", whole=True)
    assert splits.test.labels.tolist() == sheet.iloc[:, -1].tolist()
    cells = table.cells(splits.test.images, splits.spec)
    assert cells["LIMIT_BAL"].round().tolist() == sheet["LIMIT_BAL"].tolist()
    assert set(cells["SEX"]) == {"man", "woman"}
    csv = tmp_path / "csv" / taiwan_default.FILE
    csv.parent.mkdir()
    sheet.to_csv(csv, index=False)
    assert torch.equal(load_splits("taiwan_default", csv.parent, whole=True).test.images, splits.test.images)


def payments(path, count=400, frauds=12):
    """A file in the form of the well-known one: shuffled, of which frauds lie apart."""
    generator = np.random.default_rng(0)
    values = generator.normal(size=(count, 28))
    labels = np.zeros(count, int)
    labels[generator.permutation(count)[:frauds]] = 1
    values[labels == 1, :4] += 4
    columns = {"Time": np.arange(count) * 400.0} | {f"V{n}": values[:, n - 1] for n in range(1, 29)}
    frame = pd.DataFrame({**columns, "Amount": generator.gamma(1, 80, count).round(2), "Class": labels})
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.sample(frac=1, random_state=0).to_csv(path, index=False)
    return frame


def test_card_fraud_is_parted_by_time(tmp_path, monkeypatch):
    frame = payments(tmp_path / "card-fraud" / "creditcard.csv")
    with pytest.raises(zoo.DataError, match=r"holds 400 payments, 12 of them frauds.*284,807 and 492"):
        load_splits("card_fraud", tmp_path)
    monkeypatch.setattr(card_fraud, "PAYMENTS", 400)
    monkeypatch.setattr(card_fraud, "FRAUDS", 12)
    splits = load_splits("card_fraud", tmp_path, val_size=0.1)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [288, 32, 80]
    assert splits.spec.class_names == ("genuine", "fraud")
    assert splits.test.labels.tolist() == frame["Class"].tolist()[320:]
    amounts = table.cells(splits.test.images, splits.spec)["Amount"]
    np.testing.assert_allclose(amounts, frame["Amount"][320:], atol=0.01)
    assert "Time" not in {column.name for column in splits.spec.columns}
    genuine = load_splits("card_fraud", tmp_path, train_classes=["genuine"])
    assert genuine.train.labels.sum() == genuine.val.labels.sum() == 0
    assert int(genuine.test.labels.sum()) == frame["Class"][320:].sum()


def test_card_fraud_says_where_its_file_is_given_out(tmp_path):
    with pytest.raises(zoo.DataError, match=r"creditcard\.csv is not in .*card-fraud: put it there, from https://www"):
        load_splits("card_fraud", tmp_path)


def test_a_digest_is_of_rows_in_any_order_and_form():
    rows = [[1, "a", 2.5], [2, "b", 3.0]]
    assert records.digest(rows) == records.digest([["2.0", "b", "3"], ["01", " a", "2.50"]])
    assert records.digest(rows) != records.digest([[1, "a", 2.5], [2, "b", 3.1]])
    assert records.digest([[frames.text_of(1), "x"]]) == records.digest([[1.0, "x"]])
