"""Missing cells of a table: measures with a known answer, and files in which nothing but empty cells changes."""

import json
import math
import re

import numpy as np
import pandas as pd
import pytest
import tables
import torch
import torch.nn.functional as F
from conftest import run_script, run_train

import zoo
from zoo.data.kinds import table
from zoo.errors import DataError, ZooError
from zoo.registry import load_with_source
from zoo.spec import Column, Likelihood
from zoo.tasks.evaluate import splits_for
from zoo.tasks.impute_rows import describe, filled, measure_rows

pytestmark = pytest.mark.usefixtures("one_thread")
FREQUENCIES = torch.tensor([0.2, 0.5, 0.3])


class Independent(zoo.Density):
    """Columns that say nothing of each other: standard normal numbers, jobs of given frequencies."""

    def __init__(self, spec=tables.SPEC):
        super().__init__(spec, conditional=False)
        self.density = Likelihood("exact", "continuous")

    def log_prob_of(self, x, group, observed=None):
        seen = torch.ones_like(x, dtype=torch.bool) if observed is None else observed
        normal = torch.distributions.Normal(0, 1).log_prob(x[:, 0, 0, [0, 4]])
        job = (x[:, 0, 0, 1:4] * FREQUENCIES.log()).sum(1)
        return torch.where(seen[:, 0, 0, [0, 4]], normal, 0).sum(1) + torch.where(seen[:, 0, 0, 1], job, 0)

    def impute(self, x, observed, n=1, generator=None):
        drawn = torch.randn(n, *x.shape, generator=generator)
        jobs = torch.multinomial(FREQUENCIES, n * len(x), replacement=True, generator=generator)
        drawn[..., 1:4] = F.one_hot(jobs, 3).view(n, len(x), 1, 1, 3).float()
        if x.shape[3] > 5:
            drawn[..., 5:] = torch.tensor([1.0, 0.0])
        return torch.where(observed, x, drawn)

    def conditional_mean(self, x, observed):
        mean = torch.zeros(x.shape[3])
        mean[1:4] = FREQUENCIES
        return torch.where(observed, x, mean)


def many(n=4000):
    """Rows of the model above, a tenth of whose cells are missing; the same numbers come nowhere else."""
    generator = torch.Generator().manual_seed(7)
    x = Independent().impute(torch.zeros(n, 1, 1, 5), torch.zeros(1, 1, 1, 5, dtype=torch.bool), 1, generator)[0]
    for places in (slice(0, 1), slice(1, 4), slice(4, 5)):
        gone = torch.rand(n, generator=generator) < 0.1
        x[gone, ..., places] = math.nan
    return x


def test_measures_of_a_model_that_is_right():
    x = many()
    found = measure_rows(Independent(), x, 0.3, 19, 0)
    columns = found["columns"]
    assert list(columns) == ["age", "job", "sum"]
    assert found["hidden"] == sum(row["hidden"] for row in columns.values())
    for row in columns.values():
        assert row["hidden"] == pytest.approx(4000 * 0.9 * 0.3, abs=120)
    for name, scale in (("age", 10), ("sum", 300)):
        row = columns[name]
        assert row["rmse"] == pytest.approx(scale, rel=0.07)  # in the unit of the file
        assert row["rmse"] == row["rmse_training_mean"]
        assert row["coverage"] == pytest.approx(0.9, abs=0.03)
        # the mean range of 19 standard normal draws
        assert row["width"] == pytest.approx(3.689 * scale, rel=0.03)
    assert found["level"] == pytest.approx(0.9)
    assert found["coverage"] == pytest.approx(0.9, abs=0.02)
    assert columns["job"]["accuracy"] == pytest.approx(0.5, abs=0.05)  # the second is the most probable
    entropy = -float((FREQUENCIES * FREQUENCIES.log()).sum())
    normal = 0.5 * math.log(2 * math.pi * math.e)
    share = columns["job"]["hidden"] / found["hidden"]
    assert found["nll"] == pytest.approx(share * entropy + (1 - share) * normal, abs=0.05)
    assert found["nll_of"] == "exact, continuous"
    assert measure_rows(Independent(), x, 0.3, 19, 0) == found
    assert measure_rows(Independent(), x, 0.3, 19, 1) != found
    rows = {row[0]: row[1:] for row in describe(found)}
    assert rows["age"][1] == f"{columns['age']['rmse']:.4g}"
    assert rows["job"] == (f"{columns['job']['hidden']:,}", f"{columns['job']['accuracy']:.1%}",
                           f"{columns['job']['accuracy_most_frequent']:.1%}", "")  # fmt: skip


def test_the_mean_and_the_most_frequent_category_are_those_of_the_training():
    """The spec's mean of jobs makes the first one the most frequent, whatever the rows say."""
    x = many(300)
    row = measure_rows(Independent(), x, 1.0)["columns"]
    seen = x[~x[..., 1:4].isnan().any(-1)][:, 1:4]
    assert row["job"]["accuracy_most_frequent"] == pytest.approx(float(seen[:, 0].mean()))
    assert row["job"]["accuracy"] == pytest.approx(float(seen[:, 1].mean()))
    ages = x[..., 0][~x[..., 0].isnan()].double() * 10
    assert row["age"]["rmse_training_mean"] == pytest.approx(float(ages.square().mean().sqrt()))


def test_the_expected_value_uses_what_is_seen():
    """Of two normal columns of correlation 0.9, by a Gaussian: an error of √(1 − 0.81), not 1."""
    spec = zoo.DataSpec(
        (1, 1, 2), 2, kind="table", values="real", std=(1,) * 2, columns=(Column("a", (), 5, 2), Column("b", (), 0, 7))
    )
    generator = torch.Generator().manual_seed(8)
    first, noise = torch.randn(2, 5000, generator=generator)
    x = torch.stack([first, 0.9 * first + 0.19**0.5 * noise], 1)[:, None, None]
    model = zoo.create("gmm", spec, num_components=1, pca=0, per_class=False)
    model.initialize([(x, torch.zeros(5000).long())], generator)
    model.maximize(model.statistics(x, torch.zeros(5000).long()))
    columns = measure_rows(model, x, 0.05)["columns"]
    for name, scale in (("a", 2), ("b", 7)):
        assert columns[name]["rmse"] == pytest.approx(scale * math.sqrt(0.05 + 0.95 * 0.19), rel=0.15)
        assert columns[name]["rmse_training_mean"] == pytest.approx(scale, rel=0.12)
        assert columns[name]["coverage"] == pytest.approx(0.9, abs=0.06)


def test_what_tells_of_gaps_is_hidden_with_them():
    asked = []

    class Spy(Independent):
        def impute(self, x, observed, n=1, generator=None):
            asked.append(observed)
            return super().impute(x, observed, n, generator)

    x = tables.rows(200, tables.WITH_GAPS)
    measure_rows(Spy(tables.WITH_GAPS), x, 0.5)
    (observed,) = asked
    jobs = observed[:, 0, 0, 1:4]
    assert torch.equal(jobs.all(1), jobs.any(1))
    known = ~x[:, 0, 0, 1].isnan()
    assert torch.equal(observed[:, 0, 0, 5][known], jobs[:, 0][known])
    assert torch.equal(observed[:, 0, 0, 5], observed[:, 0, 0, 6])
    assert 60 < jobs[:, 0].sum() < 140


# A user's file


ODD = (
    '\ufeffname,"age",job,note,sum\r\n'
    '"Smith, A.",31.50,clerk,"said ""no""",1e3\r\n'
    "B,,none, x ,0900\r\n"
    "\r\n"
    '"C\r\nD",?,  ,,\r\n'
    'E, 40,"",,1000\r\n'
    "F,22,baker,,?"
)


def odd_file(tmp_path):
    path = tmp_path / "odd.csv"
    path.write_bytes(ODD.encode())
    return path


def model(**options):
    spec = zoo.DataSpec.from_dict({**tables.SPEC.to_dict(), "settings": {"missing": "?"}})
    return Independent(spec)


def test_only_empty_cells_change(tmp_path):
    """Quotes, line ends, spaces, a byte-order mark, blank lines, other columns, and categories that the model does not
    know stay; of a word for what is missing nothing does."""
    path = odd_file(tmp_path)
    first, second = filled(model(), path, n=2)
    for text in (first, second):
        *before, last = ODD.split("\r\n")
        *ours, own_last = text.split("\r\n")
        assert ours[:2] == before[:2]
        assert ours[3] == ""
        assert own_last.startswith("F,22,baker,,")
        assert own_last != last
        assert re.fullmatch("B,[^,]+,none, x ,0900", ours[2])
        assert ours[4] == '"C'
        assert re.fullmatch("E, 40,(none|clerk|smith),,1000", ours[6])
        (tmp_path / "again.csv").write_bytes(text.encode())
        frame = pd.read_csv(tmp_path / "again.csv", encoding="utf-8-sig")
        assert list(frame.columns) == ["name", "age", "job", "note", "sum"]
        assert frame["name"].tolist() == ["Smith, A.", "B", "C\r\nD", "E", "F"]
        assert not frame[["age", "job", "sum"]].isna().any(axis=None)
        assert set(frame["job"]) <= {"none", "clerk", "smith", "baker"}
        assert pd.to_numeric(frame["age"]).between(-10, 90).all()
    assert first != second
    assert filled(model(), path, n=2) == [first, second]
    assert filled(model(), path, n=2, seed=1) != [first, second]


def test_means_are_expected_numbers_and_the_most_probable_category(tmp_path):
    (text,) = filled(model(), odd_file(tmp_path), mean=True)
    lines = text.split("\r\n")
    assert lines[2] == "B,40,none, x ,0900"
    assert lines[5] == 'D",40,clerk,,1000'
    assert lines[6] == "E, 40,clerk,,1000"
    assert lines[7] == "F,22,baker,,1000"


def test_cells_that_need_quotes_get_them(tmp_path):
    columns = (Column("a"), Column("b", ("x, y", 'z"')))
    spec = zoo.DataSpec(
        (1, 1, 3), 2, mean=(0, 0.4, 0.6), std=(1,) * 3, kind="table", values="mixed", missing=True, columns=columns
    )

    class Usual(zoo.Generative):
        def __init__(self, expected):
            super().__init__(spec, False)
            self.expected = torch.tensor(expected)

        def impute(self, x, observed, n=1, generator=None):
            return torch.where(observed, x, self.expected).expand(n, *x.shape)

    path = tmp_path / "rows.csv"
    path.write_text('b,a\n,1\n"x, y",2\n"z""",')
    for expected, cell in (([0.25, 1, 0], '"x, y"'), ([0.25, 0, 1], '"z"""')):
        assert filled(Usual(expected), path) == [f'b,a\n{cell},1\n"x, y",2\n"z""",0.25']
    path.with_suffix(".parquet").unlink(missing_ok=True)
    pd.DataFrame({"b": ["x, y", None], "other": [3, 4], "a": [None, 2.5]}).to_parquet(tmp_path / "rows.parquet")
    assert filled(Usual([0.25, 0, 1]), tmp_path / "rows.parquet") == ['b,other,a\n"x, y",3,0.25\n"z""",4,2.5\n']


def test_rows_that_tell_of_their_gaps_are_filled_in(tmp_path):
    """With indicators: a cell that is said to be missing is not left empty for that."""
    path = tmp_path / "rows.csv"
    path.write_text("age,job,sum\n30,,900\n,smith,1000\n")
    (text,) = filled(Independent(tables.WITH_GAPS), path, mean=True)
    assert text == "age,job,sum\n30,clerk,900\n40,smith,1000\n"


def test_a_large_file_is_filled_in_row_by_row(tmp_path):
    """Against pandas: the known cells of every row, and the same draws for a row as for all."""
    stored = many(500)
    path = tmp_path / "rows.csv"
    table.write(stored, None, tables.SPEC, tmp_path)
    (text,) = filled(Independent(), path)
    (tmp_path / "again.csv").write_text(text)
    before, after = (pd.read_csv(tmp_path / name) for name in ("rows.csv", "again.csv"))
    known = before.notna()
    assert after.notna().all(axis=None)
    assert after.where(known).equals(before)
    filled_in = after["age"][~known["age"]]
    assert filled_in.mean() == pytest.approx(40, abs=5 * 10 / len(filled_in) ** 0.5)
    assert filled_in.std() == pytest.approx(10, rel=0.4)


def test_refusals(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("age,job,sum\n30,clerk,900\n")
    with pytest.raises(DataError, match="there is nothing to fill in"):
        filled(Independent(), path)
    with pytest.raises(ZooError, match="logistic_regression cannot impute; models that can"):
        filled(tables.linear(), path)
    path.write_text("age,sum\n30,\n")
    with pytest.raises(DataError, match="has no column 'job', which the model knows"):
        filled(Independent(), path)
    with pytest.raises(DataError, match="no cell is hidden"):
        measure_rows(Independent(), torch.full((3, 1, 1, 5), math.nan))
    with pytest.raises(ZooError, match="for the kind table"):
        measure_rows(zoo.create("gmm"), torch.zeros(3, 1, 28, 28))


# The command


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    words = ("data=breast_cancer", "model=gmm", "model.num_components=1", "model.pca=0", "model.per_class=false")
    return run_train(tmp_path_factory.mktemp("runs"), *words, "logger=none", "trainer.accelerator=cpu")


def test_command(run, tmp_path, capsys):
    model, source = load_with_source(run)
    splits = splits_for(model.spec, source)
    stored = splits.test.images.clone()
    stored[torch.rand(stored.shape, generator=torch.Generator().manual_seed(0)) < 0.05] = math.nan
    table.write(stored, None, splits.spec, tmp_path)
    path = tmp_path / "rows.csv"
    run_script("impute.py", f"ckpt={run}", path, "n=2", f"json={tmp_path / 'x.json'}")
    said = capsys.readouterr().out
    told = json.loads((tmp_path / "x.json").read_text())
    _, read = table.read([path], splits.spec)
    wanted = measure_rows(model, read, 0.1, 19, 0)
    assert {key: value for key, value in told.items() if key != "options"} == wanted
    assert max(map(len, said.replace(str(tmp_path), "").splitlines())) <= 80
    texts = [(tmp_path / f"rows-filled-{number}.csv").read_text() for number in (1, 2)]
    assert texts == filled(model, path, 2)
    run_script("impute.py", f"ckpt={run}", path, "mean=true", f"out={tmp_path / 'mine'}")
    frame = pd.read_csv(tmp_path / "mine.csv")
    assert frame.notna().all(axis=None)
    truth, gaps = table.cells(splits.test.images, splits.spec), pd.read_csv(path).isna()
    error = ((frame - truth)[gaps] / truth.std()).pow(2).mean().mean() ** 0.5
    assert error < 0.8  # standard deviations: what is seen tells a lot
    assert path.with_name("rows-filled.csv").exists() is False
    capsys.readouterr()
    run_script("impute.py", f"ckpt={run}", "missing=0.3", f"json={tmp_path / 'x.json'}")
    told = json.loads((tmp_path / "x.json").read_text())
    assert told["hidden"] == pytest.approx(0.3 * 114 * 30, rel=0.15)
    assert all(row["rmse"] < row["rmse_training_mean"] * 1.2 for row in told["columns"].values())
    assert np.mean([row["rmse"] / row["rmse_training_mean"] for row in told["columns"].values()]) < 0.7


def test_command_refuses(run, tmp_path, capsys):
    path = tables.write(tmp_path)
    for words, reason in (
        ((path,), "has no column 'mean radius'"),
        (("mask=block", "missing=0.2"), "mask=block is for pictures"),
        (("mean=true",), "name a file"),
        ((f"out={tmp_path / 'x.csv'}",), "name a file"),
        ((path, "mean=true", "n=3"), "mean=true fills a table in once"),
        ((path, f"out={path}"), "is the table itself"),
        ((path, f"out={tmp_path / 'x.png'}"), "its name ends with .csv"),
        ((path, path), "one table is filled in at a time"),
        ((path, f"classifier={run}"), "is for pictures"),
    ):
        with pytest.raises(SystemExit) as end:
            run_script("impute.py", f"ckpt={run}", *words)
        assert end.value.code == 2
        assert reason in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["rows.csv"]
