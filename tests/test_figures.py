"""The documentation's tables hold what was measured: results of runs, of benchmarks, and of the textbook's report."""

from __future__ import annotations

import json
import re
import shutil
import sys

import pytest
from conftest import ROOT, run_train

from zoo import files
from zoo.errors import ConfigError
from zoo.textbook import claims

sys.path.insert(0, str(ROOT / "scripts"))
import keep_figures
import make_docs

FILLED = [path for path in sorted((ROOT / "docs").glob("*.md")) if make_docs.TABLE.search(path.read_text())]


def test_the_report_that_is_kept_is_on_these_claims():
    """What is claimed, on whose word; what was measured can be repeated, but not here."""
    found = {name: entry for name, entry in make_docs.claims().items() if "/" not in name}
    assert set(found) == set(claims.names())
    for name, entry in found.items():
        claim = claims.find(name).CLAIM
        assert {key: entry[key] for key in ("title", "statement", "source")} == {
            "title": claim.title, "statement": claim.statement, "source": claim.source,
        }  # fmt: skip


def test_tables_are_filled_from_results():
    told = {found[1] for path in FILLED for found in make_docs.TABLE.finditer(path.read_text())}
    assert told == {*make_docs.FILLED, *make_docs.WHOLE}


@pytest.mark.parametrize("page", FILLED, ids=lambda page: page.stem)
def test_another_number_is_put_right(page):
    """A digit of a filled cell, or a word, is another one, and the table says again what was measured."""
    text = page.read_text()
    for found in make_docs.TABLE.finditer(text):
        first = found[4].splitlines()[0]
        typed, *cells = first.strip("| ").split(" | ")
        column = max((n for n, cell in enumerate(cells) if re.search(r"\d", cell) and "`" not in cell), default=0)
        another = re.sub(r"\d", lambda digit: str((int(digit[0]) + 1) % 10), cells[column], count=1)
        cells[column] = another if another != cells[column] else "x"
        other = text.replace(first, f"| {' | '.join([typed, *cells])} |")
        assert other != text
        assert make_docs.TABLE.sub(make_docs.table, other) == text


@pytest.fixture
def results(tmp_path, monkeypatch):
    for module in (files, make_docs):
        monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(make_docs, "REPOSITORY", tmp_path)
    return tmp_path / "results"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_train(tmp_path_factory.mktemp("runs"), "model=naive_bayes", "data=digits", "logger=none")


def test_the_figures_of_a_run_fill_a_row(run, results, tmp_path):
    summary = json.loads((run / "summary.json").read_text())
    asked = tmp_path / "missing.json"
    asked.write_text(json.dumps({"options": {"ckpt": str(run), "missing": 0.5, "root": "x"}, "accuracy": 0.5}))
    path = keep_figures.keep(run, [str(asked)])
    assert path == results / "runs" / "naive_bayes-digits.json"
    kept = json.loads(path.read_text())
    assert kept["recipe"] == ["data=digits", "model=naive_bayes"]
    assert str(tmp_path) not in path.read_text()
    row = make_docs.runs(
        "digits accuracy missing=0.5/accuracy seconds elbo", ["`model=naive_bayes`", "99", "", "1", "–"]
    )
    seconds = f"{summary['seconds']['fit']:,.0f}"
    assert row == ["`model=naive_bayes`", f"{100 * summary['test']['accuracy']:.2f}", "50.00", seconds, "–"]


def test_what_was_never_measured_is_said(run, results):
    with pytest.raises(ConfigError, match="model=cnn data=mnist has no figures"):
        make_docs.runs("mnist accuracy", ["`model=cnn`", ""])
    keep_figures.keep(run, [])
    with pytest.raises(ConfigError, match="has no elbo"):
        make_docs.runs("digits elbo", ["`model=naive_bayes`", "1.2"])


def test_seeds_are_told_by_their_mean_the_least_and_the_most(results):
    (results / "runs").mkdir(parents=True)
    seeds = {str(seed): {"seconds": 2.0, "test": {"accuracy": value}} for seed, value in enumerate((0.9, 0.92, 0.91))}
    (results / "runs" / "linear.json").write_text(json.dumps({"recipe": ["experiment=linear"], "seeds": seeds}))
    row = make_docs.runs("- accuracy seconds", ["`experiment=linear` (a line)", "", ""])
    assert row == ["`experiment=linear` (a line)", "91.00 (90.00–92.00)", "2"]


def test_other_data_is_not_asked_and_figures_are_of_one_run(run, results, tmp_path):
    asked = tmp_path / "a.json"
    asked.write_text(json.dumps({"options": {"ckpt": str(run), "data": "digits", "missing": 0.5}, "accuracy": 0.5}))
    assert "missing=0.5/accuracy" in keep_figures.keep(run, [str(asked)]).read_text()
    assert "missing=0.5/accuracy" not in keep_figures.keep(run, []).read_text()
    asked.write_text(json.dumps({"options": {"ckpt": str(run), "data": "mnist"}, "accuracy": 0.5}))
    with pytest.raises(ConfigError, match="on other data, mnist"):
        keep_figures.keep(run, [str(asked)])


def test_another_run_is_not_asked(run, results, tmp_path):
    asked = tmp_path / "a.json"
    asked.write_text(json.dumps({"options": {"ckpt": str(tmp_path / "other")}, "accuracy": 0.5}))
    with pytest.raises(ConfigError, match="no evaluation of"):
        keep_figures.keep(run, [str(asked)])
    assert not results.exists()


def test_a_run_that_went_on_needs_its_words(run, results, tmp_path):
    went_on = tmp_path / "run"
    shutil.copytree(run, went_on)
    summary = json.loads((went_on / "summary.json").read_text())
    (went_on / "summary.json").write_text(json.dumps(summary | {"command": f"python train.py resume={run}"}))
    with pytest.raises(ConfigError, match="give the words that train it"):
        keep_figures.keep(went_on, [])
    assert keep_figures.keep(went_on, [], "model=naive_bayes data=digits").stem == "naive_bayes-digits"
