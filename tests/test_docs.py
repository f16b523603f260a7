"""The documentation: its pages are what the code says, its links lead somewhere, its lists are complete."""

import json
import re
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, run_script

import zoo
from zoo.data import sources

sys.path.insert(0, str(ROOT / "scripts"))
import make_docs

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
README = (ROOT / "README.md").read_text()


def test_pages_are_what_they_should_be():
    """python scripts/make_docs.py would change nothing."""
    wanted = make_docs.pages()
    assert {path.stem for path in wanted} >= {"index", *zoo.list_models()}
    for path, text in wanted.items():
        assert path.read_text() == text, path
    made = {path for path in (ROOT / "docs").rglob("*.md") if make_docs.MADE in path.read_text()}
    assert made == {path for path, text in wanted.items() if make_docs.MADE in text}


def test_pages_are_checked(monkeypatch, tmp_path, capsys):
    """Nothing is written; another page is named."""
    run_script("make_docs.py", "check=true")
    page = ROOT / "docs" / "speech.md"
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path, *how: read(path, *how) + "| " * (path == page))
    monkeypatch.setattr(make_docs, "pages", lambda: {page: read(page)})
    monkeypatch.setattr(sys, "argv", ["make_docs.py", "check=true"])
    with pytest.raises(SystemExit):
        make_docs.main()
    assert "docs/speech.md" in capsys.readouterr().err


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if not link.startswith("http"):
            assert (page.parent / link).exists(), link


def test_every_page_is_in_the_navigation():
    def files(entry):
        if isinstance(entry, str):
            return [entry]
        return [file for part in (entry.values() if isinstance(entry, dict) else entry) for file in files(part)]

    pages = {str(page.relative_to(ROOT / "docs")) for page in PAGES if page.is_relative_to(ROOT / "docs")}
    shown = files(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert len(shown) == len({*shown})
    assert {page for page in pages if not page.startswith("models/")} == {*shown} - {"models/index.md"}


def test_readme_is_a_page_and_names_all():
    """Models, and sources, without another."""
    lines = README.splitlines()
    assert len(lines) <= 150
    told = re.findall(r"^\| p\(.*?\|(.*?)\||^\| samples \|(.*?)\|", README, re.M)
    assert sorted(re.findall(r"`(\w+)`", " ".join(map(" ".join, told)))) == sorted(zoo.list_models())
    told = re.findall(r"^\| (?:pictures|tables|texts|text that goes on|sound) \|(.*?)\|", README, re.M)
    assert sorted(re.findall(r"`(\w+)`", " ".join(told))) == sorted(sources.every())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_comments_fit_eighty_columns(page):
    """A command may be longer, what is said of it beside it is not."""
    for block in re.findall(r"```(?:bash|python)\n(.*?)```", page.read_text(), re.S):
        for line in block.splitlines():
            assert len(line) <= 80 or "  # " not in line, line
            assert len(line) <= 80 or not line.startswith("#"), line


def test_a_docstring_becomes_markdown():
    said = make_docs.markdown(
        "One, ``x``, see :mod:`zoo.a`.\n\n    y = 2 x\n\nReferences:\n    A 2000, B.  C 2001,\n    D."
    )
    assert said == "One, `x`, see `zoo.a`.\n\n    y = 2 x\n\n**References**\n\n- A 2000, B.\n- C 2001, D."


def test_folds_are_means_beside_scikit_learns(tmp_path, monkeypatch):
    rows = [
        {"data": "a", "model": "svm", "whose": "zoo", "values": {"AUROC": [0.5, 0.7], "F1": [0.9]}},
        {"data": "a", "model": "svm", "whose": "scikit-learn", "values": {"AUROC": [0.25, 0.75], "F1": [0.8]}},
        {"data": "b", "model": "svm", "whose": "scikit-learn", "values": {"AUROC": [1.0], "F1": [1.0]}},
    ]
    (tmp_path / "folds.json").write_text(json.dumps({"results": rows}))
    monkeypatch.setattr(make_docs, "REPOSITORY", tmp_path)
    found = make_docs.folds("folds.json AUROC:a F1:a AUROC:b AUROC:c", ["`svm`", "old"])
    assert found == ["`svm`", ".6000 (.5000)", "90.00 (80.00)", "(1.0000)", ""]


def test_references_of_a_sentence_are_a_list():
    for title in ("Reference", "References"):
        said = make_docs.markdown(f"One.\n\n{title}: A (2000),\nB; C (2001).")
        assert said == "One.\n\n**References**\n\n- A (2000), B\n- C (2001)."


def test_options_are_told_with_what_they_may_be(tmp_path):
    path = Path(tmp_path / "m.yaml")
    path.write_text('name: m\nwidth: 8 # of a layer\nkind: a\n\n_allowed_:\n  width: "[1, inf)"\n  kind: [a, b]\n')
    said, _, _, _, *rows = make_docs.options_table(path).splitlines()
    assert said == "`configs/model/m.yaml`, each to be set as `model.<key>=<value>`:"
    assert rows == ["| `width` | `8` | ≥ 1 | of a layer |", "| `kind` | `a` | a, b |  |"]
