"""The documentation quotes the committed results: of benchmarks, and of the report on the textbook."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path

import pytest

from zoo.textbook import claims
from zoo.textbook.claims import voices

ROOT = Path(__file__).parents[1]
SECTION = (ROOT / "docs" / "speed.md").read_text()
LINES = [line for line in SECTION.splitlines() if line.startswith("| `")]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in LINES]


def shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


@pytest.fixture(scope="module")
def results():
    (name,) = re.findall(r"`(results/benchmark-[\w.-]+\.json)`", SECTION)
    return json.loads((ROOT / name).read_text())["benchmarks"]


@pytest.mark.parametrize("row", [row for row in ROWS if len(row) == 6], ids=lambda row: row[0].strip("`"))
def test_a_ratio_is_the_one_that_was_measured(results, row):
    name, _, unit, peer, ours, ratio = row
    benchmark = results[name.strip("`")]
    first, *others = benchmark["ways"].values()
    assert (unit, peer) == (benchmark["unit"], shown(first["median"]))
    assert (ours, ratio) in [(shown(way["median"]), f"{way['ratio']:.3g}") for way in others]


@pytest.mark.parametrize("row", [row for row in ROWS if len(row) == 5], ids=lambda row: row[0].rpartition("/")[2])
def test_a_recipe_has_the_accuracy_that_was_measured(results, row):
    words, _, mean, seeds, seconds = row
    (way,) = results[f"accuracy-{words.strip('`').rpartition('/')[2]}"]["ways"].values()
    accuracy = way["facts"]["accuracy"]
    assert mean == f"{100 * statistics.mean(accuracy):.2f}"
    assert seeds == ", ".join(f"{100 * value:.2f}" for value in accuracy)
    assert seconds == shown(way["median"])


def test_both_tables_are_there():
    assert len([row for row in ROWS if len(row) == 6]) >= 10
    assert len([row for row in ROWS if len(row) == 5]) >= 4


REPORTS = [ROOT / "results" / name for name in ("textbook", "voices")]
ON_THE_TEXTBOOK = (ROOT / "docs" / "textbook.md").read_text()


def test_the_documentation_shows_the_verdicts_of_the_report():
    found = reported()
    rows = re.findall(r"\| (\d+) \| (.+) \| ([a-z ]+) \| `(\w+)` \|", ON_THE_TEXTBOOK)
    assert [row[-1] for row in rows] == sorted(found, key=lambda name: found[name]["claim"])
    for number, title, verdict, name in rows:
        entry = found[name]
        assert (int(number), title, verdict) == (entry["claim"], entry["title"], entry["verdict"])


def test_the_readme_quotes_findings_of_the_report():
    entries = {entry["id"]: entry for entry in kept()}
    rows = re.findall(r"\| (\S+) \S+ \| (\S+) to (\S+) \| `(\w+/[\w-]+)` \|", ON_THE_TEXTBOOK)
    assert len(rows) >= 6
    for *quoted, name in rows:
        figures = [entries[name]["estimate"], *entries[name]["interval"]]
        assert quoted == [f"{value:.3g}".replace("-", "−") for value in figures], name


def test_the_report_that_is_kept_is_on_these_claims():
    """What is claimed, on whose word; what was measured can be repeated, but not here."""
    found = reported()
    assert set(found) == set(claims.names())
    for name, entry in found.items():
        claim = claims.find(name).CLAIM
        assert {key: entry[key] for key in ("title", "statement", "source")} == {
            "title": claim.title, "statement": claim.statement, "source": claim.source,
        }  # fmt: skip


def kept() -> list[dict]:
    """The claims and findings of the reports that are kept: that on pictures, and that on voices."""
    return [entry for report in REPORTS for entry in json.loads((report / "claims.json").read_text())]


def reported() -> dict[str, dict]:
    """The claims of the reports that are kept, by name, without their findings."""
    return {entry["id"]: entry for entry in kept() if "/" not in entry["id"]}


def test_the_documentation_shows_how_voices_are_told():
    entries = {entry["id"]: entry for entry in kept()}
    section = (ROOT / "docs" / "speech.md").read_text()
    rows = re.findall(r"\| `(\w+)` \| *([\d.]+) \| *([\d.]+) \((.+)\) \|", section)
    assert {name for name, *_ in rows} == set(voices.SECONDS)
    for name, heard, unheard, speakers in rows:
        of = {which: entries[f"voices/{which}-{name}"] for which in ("heard", "unheard")}
        assert [heard, unheard] == [f"{of[which]['estimate']:.1f}" for which in ("heard", "unheard")], name
        assert speakers == ", ".join(f"{value:.0f}" for value in of["unheard"]["values"]), name
