"""The report: a made-up one is written, read back and, where there is a browser, laid out."""

import csv
import io
import itertools
import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from zoo.errors import ZooError
from zoo.textbook import choose, claims, needs, words
from zoo.textbook.claim import MEASURED, VERDICTS, Claim, Finding
from zoo.textbook.report import drawing, page, panels
from zoo.textbook.report.page import Block, write_report

ABOUT = {
    "suite": "textbook",
    "seconds": 8000.0,
    "date": "2026-01-31",
    "machine": {"device": "cpu", "gpu": None, "cpu": "A CPU", "threads": 2, "system": "Linux x86_64"},
    "versions": {"python": "3.11.2", "torch": "2.14.1"},
    "revision": None,
}
VOID = ("meta", "link")  # of the elements on the page, those that are not closed


def figures() -> dict[str, Figure]:
    lines, axes = panels.panel("Accuracy by labels, digits <1>", "labels", "accuracy, %")
    for model in ("gmm", "mlp"):
        panels.curve(axes, {10: [50, 52], 100: [80, 83]}, **panels.style(model))
    axes.axvline(30, color="black")
    panels.legend(axes)
    bars, axes = panels.panel("AUROC, digits", "AUROC", "")
    panels.bars(axes, {"a": [0.8, 0.9], "b": [0.7, 0.75]})
    return {"lines": lines, "bars": bars}


def block(number: int, name: str, findings: list[Finding], rows: list[dict], discussion: str = "") -> Block:
    title, statement = f"Claim {name} & <b>more</b>", f"Statement of {name}."
    claim = Claim(number, title, statement, "Author 2001, Title", "A protocol.", discussion)
    parameters = [{key: row[key] for key in ("data", "model", "seed")} for row in rows]
    command = f"python scripts/compare.py suite=quick claims={name}"
    return Block(name, claim, findings, figures(), rows, parameters, [1.5] * len(rows), command)


def blocks() -> list[Block]:
    constant = {"ece": 0.02, "file_mib": 0.5, "train_seconds": 3.0, "images_per_second": 1e4, "tested": 359}
    odd = {"frechet_ratio": math.nan, "curve": [1.0, math.inf], "flag": True}
    classifiers = [
        {"what": "classifier", "data": "digits", "model": model, "seed": seed, "accuracy": accuracy + seed / 1000,
         **constant, **odd}
        for model, accuracy in (("gmm", 0.9), ("mlp", 0.95))
        for seed in (0, 1)
    ]  # fmt: skip
    other = [{"data": "digits", "model": "mlp", "seed": seed, "loss": 0.5} for seed in (0, 1)]
    return [  # not in their order
        block(3, "later", [
            Finding("told", "It is measured.", [120.0, math.inf], "labels"),
            Finding("below", "It is small.", [0.5, 0.51], "nats", below=0.4),
        ], other),
        block(2, "plenty_of_labels", [
            Finding("above", "It is more.", [2.0, 2.1], "points", above=0),
            Finding("own", "It is more, by its own command.", [1.0, 1.01], "points", above=0, command="python own.py"),
        ], classifiers, "A paragraph.\n\nAnother."),
        block(9, "open", [Finding("wide", "It is more, perhaps.", [-3.0, 4.0], "points", above=0)], other),
        block(11, "lonely", [Finding("one", "One seed says so.", [3.0], "points", above=0)], other),
    ]  # fmt: skip


class Page(HTMLParser):
    """Elements in order as (name, attributes, ancestors), and the text within each id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[tuple[str, dict]] = []
        self.elements: list[tuple[str, dict, list[tuple[str, dict]]]] = []
        self.texts: list[tuple[str, list[tuple[str, dict]]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), list(self.open)))
        if tag not in VOID:
            self.open.append((tag, dict(attributes)))

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), list(self.open)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        self.texts.append((data, list(self.open)))

    def within(self, identity: str, tag: str | None = None) -> list[tuple[str, dict, list]]:
        return [
            element
            for element in self.elements
            if (tag is None or element[0] == tag) and any(of.get("id") == identity for _, of in element[2])
        ]

    def text(self, identity: str) -> str:
        parts = (text for text, above in self.texts if any(of.get("id") == identity for _, of in above))
        return " ".join("".join(parts).split())


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    assert write_report(folder, blocks(), ABOUT) == folder / "index.html"
    return folder


@pytest.fixture(scope="module")
def html(out) -> str:
    return (out / "index.html").read_text()


@pytest.fixture(scope="module")
def parsed(html) -> Page:
    found = Page(html)
    assert not found.open, "every element is closed"
    return found


class TestPage:
    def test_claims_stand_in_their_order_with_their_verdicts(self, parsed):
        sections = [of["id"] for tag, of, _ in parsed.elements if tag == "section" and of.get("class") == "claim"]
        assert sections == ["plenty_of_labels", "later", "open", "lonely"]
        wanted = dict(zip(sections, ["supported", "not supported", "inconclusive", "inconclusive"], strict=True))
        for one in blocks():
            text = parsed.text(one.name)
            assert wanted[one.name] in text
            assert one.claim.title in text  # as it is written, not as markup
            assert all(finding.statement in text for finding in one.findings)
        assert parsed.text("counts") == "1 supported 1 not supported 2 inconclusive"
        for one in blocks():
            assert words.outcome(one.findings) in parsed.text("summary")
            assert words.tally(one.findings) in parsed.text("summary")

    def test_every_finding_has_a_verdict_and_its_numbers_lead_to_a_command(self, parsed):
        for one in blocks():
            for finding in one.findings:
                row = f"{one.name}-{finding.key}"
                assert finding.verdict in parsed.text(row)
                links = [of for tag, of, _ in parsed.within(row, "a")]
                assert len(links) == 2
                for link in links:
                    assert parsed.text(link["href"][1:]) == link["title"] == (finding.command or one.command)

    def test_no_figure_is_empty(self, parsed):
        drawn = [of for tag, of, above in parsed.elements if tag == "svg" and above[-1][0] == "figure"]
        assert len(drawn) == 8
        for of in drawn:
            assert of["role"] == "img"
            assert of["aria-label"] in ("Accuracy by labels, digits <1>", "AUROC, digits")
        for one in blocks():
            for key in one.figures:
                axes = f"{one.name}-{key}-axes_1"
                # beside the ground and the axes' own lines: curves with bands, or bars
                data = [tag for tag, of, above in parsed.within(axes, "path") if not _is_frame(above)]
                assert len(data) >= 4
                assert len([tag for tag, *_ in parsed.within(axes, "text")]) >= 5

    def test_ids_are_unique_and_links_lead_somewhere(self, parsed, out):
        ids = [of["id"] for _, of, _ in parsed.elements if "id" in of]
        assert len(ids) == len(set(ids))
        targets = [of["href"] for tag, of, _ in parsed.elements if "href" in of and tag != "link"]
        assert len(targets) > 40
        for target in targets:
            assert target[1:] in ids if target.startswith("#") else (out / target).is_file()
        used = set(re.findall(r"url\(#([^)]*)\)", (out / "index.html").read_text()))
        assert used <= set(ids)
        labelled = {of["aria-labelledby"] for _, of, _ in parsed.elements if "aria-labelledby" in of}
        assert labelled <= set(ids)

    def test_nothing_is_loaded(self, html, parsed):
        assert not re.search(r"https?:|//[a-z]|@import|@font-face|<script|url\((?!#)", html)
        assert not {"script", "iframe", "object", "img"} & {tag for tag, *_ in parsed.elements}
        assert [of["href"] for tag, of, _ in parsed.elements if tag == "link"] == ["data:,"]

    def test_headings_are_in_order_and_tables_have_scopes(self, parsed):
        levels = [int(tag[1]) for tag, *_ in parsed.elements if re.fullmatch("h[1-6]", tag)]
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
        heads = [of for tag, of, _ in parsed.elements if tag == "th"]
        assert heads
        assert all(of.get("scope") in ("col", "row") for of in heads)

    def test_figures_follow_the_theme(self, html):
        inline = html[html.index("<figure>") : html.rindex("</figure>")]
        assert panels.INK not in inline
        assert "#000000" not in inline
        assert "#ffffff" not in inline
        variables = set(re.findall(r"var\(--([\w-]+)\)", html))
        light, dark = (html.split(":root {")[place].split("}")[0] for place in (1, 2))
        both = {name for name in variables if f"--{name}:" in light}
        assert {"ink", "faint", "ground", "c-0072b2", "c-d55e00"} <= both
        assert all(f"--{name}:" in dark for name in both)
        assert all(f"--{name}:" in html for name in variables)

    def test_discussions_and_the_choice_are_there(self, parsed):
        assert "A paragraph. Another." in parsed.text("plenty_of_labels")
        assert "Which model should I take?" in parsed.text("choose")
        text = parsed.text("models")
        assert re.search(r"MLP 95\.\d+ ?± \d\.\d", text)  # its accuracy, with the error of the test images
        assert "measured with 2 seeds" in text  # which rank no model
        assert "not measured" in text
        assert "python train.py model=gmm data=digits" in text

    def test_the_answer_stands_first_and_is_that_of_the_table(self, out, parsed):
        table = json.loads((out / "models.json").read_text())["tables"]["digits"]
        given = choose.answers(table)
        assert {answer["need"] for answer in given} == {need.key for need in needs.NEEDS}
        text = parsed.text("choose")
        for answer in given:
            assert answer["label"] in text
            because = " ".join(answer["because"].split())
            assert because in text  # in the map
            assert text.count(answer["figure"] or because) >= 2  # in the card, too
        sections = [of.get("id") for tag, of, _ in parsed.elements if tag == "section"]
        assert sections[:2] == ["choose", "summary"]

    def test_the_map_leads_to_every_need_and_to_claims_that_are_there(self):
        leaves = [leaf for _, wants in page.MAP for leaf in wants]
        assert {key for _, key, _ in leaves} == {need.key for need in needs.NEEDS}
        assert len({(has, key) for has, wants in page.MAP for _, key, _ in wants}) == len(leaves)
        assert {name for *_, further in leaves for name in further} <= set(claims.names())

    def test_a_leaf_of_the_map_names_what_to_take(self, out):
        """The two models that were timed are as quick as one another; the first of them is named once for both."""
        tables = json.loads((out / "models.json").read_text())["tables"]
        of = {branch["has"]: {leaf["want"]: leaf for leaf in branch["leaves"]} for branch in page.branches(tables)}
        quick = of["A label for every image"]["Quickly trained"]
        assert quick["take"] == {"gmm": ["digits"]}
        assert [answer["need"] for answer in quick["answers"]] == ["training"]
        assert of["A label for every image"]["Right classes of whole images"]["take"] == {}  # two seeds

    def test_all_that_is_folded_has_a_name(self, parsed):
        folds = [of for tag, of, _ in parsed.elements if tag == "details"]
        names = [above[-1][0] for tag, _, above in parsed.elements if tag == "summary"]
        assert len(folds) == len(names) >= 4 * len(blocks())
        assert set(names) == {"details"}

    def test_contents_lead_to_every_section(self, parsed):
        targets = {of["href"] for tag, of, above in parsed.elements if tag == "a" and "nav" in dict(above)}
        sections = {f"#{of['id']}" for tag, of, _ in parsed.elements if tag == "section"}
        assert sections <= targets

    def test_a_quick_suite_is_told_and_has_no_discussions(self, tmp_path):
        html = write_report(tmp_path, blocks(), {**ABOUT, "suite": "quick"}).read_text()
        assert "A paragraph." not in html
        body = html[html.index("<body>") :]
        assert words.SMALL_RUN in body[: body.index("<nav")]  # before all else

    def test_the_same_input_gives_the_same_bytes(self, out, tmp_path):
        write_report(tmp_path, blocks()[::-1], ABOUT)
        for path in sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file()):
            assert (tmp_path / path).read_bytes() == (out / path).read_bytes(), path

    def test_a_folder_that_cannot_be_made_is_told(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(ZooError, match="cannot be made"):
            write_report(tmp_path / "file" / "report", blocks()[:1], ABOUT)


def _is_frame(above) -> bool:
    return any(re.search(r"(patch_[12]|tick_\d+|axis_\d|legend_\d+)$", of.get("id", "")) for _, of in above)


class TestNumbers:
    def test_json_has_an_entry_a_claim_and_a_finding(self, out):
        entries = json.loads((out / "claims.json").read_text(), parse_constant=lambda word: pytest.fail(word))
        found = {entry["id"]: entry for entry in entries}
        assert len(found) == len(entries) == 4 + 6
        for one in blocks():
            assert found[one.name]["verdict"] == one.verdict
            for finding in one.findings:
                entry = found[f"{one.name}/{finding.key}"]
                assert entry["statement"] == finding.statement
                assert entry["verdict"] in (*VERDICTS, MEASURED)
                assert entry["command"] == (finding.command or one.command)
                assert entry["unit"] == finding.unit
        assert set(found["later"]) >= {"id", "claim", "title", "statement", "source", "estimate", "unit", "interval",
                                       "values", "threshold", "verdict", "command"}  # fmt: skip
        assert found["later"]["estimate"] == pytest.approx(0.505)  # of the one that decides
        assert {key: found["later"][key] for key in ("deciding", "findings", "supported")} == {
            "deciding": "later/below", "findings": 1, "supported": 0}  # fmt: skip
        assert found["plenty_of_labels"]["interval"] == found["plenty_of_labels/above"]["interval"]  # the less sure one
        assert found["later"]["threshold"] == {"below": 0.4}
        assert found["later"]["statement"] == "Statement of later."
        told = {"values": [120.0, None], "estimate": None, "interval": [None, None], "threshold": None}
        assert {key: found["later/told"][key] for key in told} == told
        assert found["lonely/one"]["interval"] == [None, None]
        low, high = found["plenty_of_labels/above"]["interval"]
        assert (low, high) == pytest.approx((2.05 - 12.7062 * 0.05, 2.05 + 12.7062 * 0.05), abs=1e-3)  # t, 1 degree

    def test_csv_has_a_line_a_measurement(self, out):
        lines = list(csv.DictReader(io.StringIO((out / "numbers.csv").read_text())))
        rows = [row for one in blocks() for row in one.rows]
        assert len(lines) == sum(len(row) - 3 for row in rows)
        found = {(line["claim"], line["parameters"], line["quantity"]): line for line in lines}
        case = json.dumps({"data": "digits", "model": "gmm", "seed": 1})
        line = found["plenty_of_labels", case, "accuracy"]
        assert float(line["value"]) == 0.901
        assert float(line["seconds"]) == 1.5
        assert line["command"] == "python scripts/compare.py suite=quick claims=plenty_of_labels"
        assert found["plenty_of_labels", case, "frechet_ratio"]["value"] == ""
        assert json.loads(found["plenty_of_labels", case, "curve"]["value"]) == [1.0, None]
        assert found["plenty_of_labels", case, "flag"]["value"] == "true"

    def test_files_of_figures(self, out):
        names = {f"{one.name}-{key}" for one in blocks() for key in one.figures}
        assert {path.stem for path in (out / "figures").glob("*.png")} == names
        assert {path.stem for path in (out / "figures").glob("*.svg")} == names
        assert all(path.read_bytes().startswith(b"\x89PNG") for path in (out / "figures").glob("*.png"))

    @pytest.mark.parametrize(
        ("values", "estimate", "interval"),
        [
            ([98.37, 98.41, 98.39], "98.390", "98.340 to 98.440"),
            ([-1.0, -2.0, -3.0], "−2.0", "−4.5 to 0.5"),
            ([12345.0, 12445.0], "12,400", "11,760 to 13,030"),
            ([3.0], "3.00", "–"),
            ([120.0, math.inf, math.nan], "none in 2 of 3 seeds", "–"),
            ([0.0, 0.0], "0", "–"),
        ],
    )
    def test_numbers_are_as_precise_as_they_are_certain(self, values, estimate, interval):
        finding = Finding("key", "…", values, "")
        assert words.estimate(finding) == estimate
        assert words.interval(finding) == interval

    def test_thresholds(self):
        assert words.threshold(Finding("key", "…", [1.0], "", above=0)) == "> 0"
        assert words.threshold(Finding("key", "…", [1.0], "", below=-0.05)) == "< −0.05"
        assert words.threshold(Finding("key", "…", [1.0], "")) == "–"
        assert words.threshold(Finding("key", "…", [1.0], "", below=1e-9)) == "< 10⁻⁹"
        assert words.threshold(Finding("key", "…", [1.0], "", above=2.5e7)) == "> 2.5 · 10⁷"

    @pytest.mark.parametrize(
        ("finding", "text"),
        [
            (Finding("key", "…", [2.0, 2.1], "points"), "2.05 ± 0.64 points"),
            (Finding("key", "…", [2.0, 2.1], "ratio"), "2.05 ± 0.64"),
            (Finding("key", "…", [0.9999, 0.9998], "AUROC", bounds=(0, 1)), "0.99985 AUROC (0.99921 to 1.00000)"),
            (Finding("key", "…", [3.0], "points"), "3.00 points in one seed"),
            (Finding("key", "…", [0.0, 0.0, 0.0], "nats"), "0 nats in all 3 seeds"),
            (Finding("key", "…", [4.0, 4.0], "classes", exact=True), "4.00 classes"),
            (Finding("key", "…", [math.nan, 4.0], "labels"), "none in 1 of 2 seeds"),
        ],
    )
    def test_a_measurement_in_words(self, finding, text):
        assert words.measured(finding) == text


AGAINST = [-1.0, -2.0, -1.5, -0.3]  # refutes alone: p = 0.023, but not as one of three


class TestOutcomes:
    def test_of_a_claim_that_is_refuted(self):
        findings = [
            Finding("mnist-a", "MNIST: it is more.", [-2.0, -2.01, -2.02], "points", above=0),
            Finding("fashion_mnist-a", "Fashion-MNIST: it is more.", [1.0, 1.1, 1.05], "points", above=0),
            Finding("told", "It is measured.", [5.0, 6.0, 7.0], "points"),
        ]
        assert words.outcome(findings) == (
            "Refuted by “MNIST: it is more”: −2.010 ± 0.025 points, where more than 0 was asked for; Fashion-MNIST "
            "1.05 ± 0.12 points."
        )
        assert words.tally(findings) == "1 of 2 findings hold, 1 refuted"
        assert words.correction(findings).startswith("2 judged: to refute the claim")
        assert "0.025 / 2 = 0.013 (Holm's correction); it has less than 0.0001." in words.correction(findings)

    def test_of_one_that_holds(self):
        alone = [Finding("a", "It is more.", [2.0, 2.01, 2.02], "points", above=0)]
        assert words.outcome(alone) == "Holds: “It is more”: 2.010 ± 0.025 points, where more than 0 was asked for."
        assert words.tally(alone) == "1 of 1 finding holds"
        assert words.correction(alone) == "1 judged; none speaks against the claim."

    def test_a_finding_against_the_claim_that_may_be_chance_is_told_as_such(self):
        sure = [Finding(key, "It is so.", [2.0, 2.01, 2.02], "points", above=0) for key in "ab"]
        findings = [*sure, Finding("c", "It is more.", AGAINST, "points", above=0)]
        assert findings[2].verdict == "not supported"
        assert {what: len(those) for what, those in words.standings(findings).items()} == {
            words.HOLD: 2, words.OPEN: 0, words.AGAINST: 1, words.REFUTE: 0}  # fmt: skip
        assert words.tally(findings) == "2 of 3 findings hold, 1 against but not surely"
        assert words.outcome(findings).startswith("Undecided, mostly for “It is more”: −1.2 ± ")
        assert words.standings(findings[2:])[words.REFUTE] == findings[2:]

    def test_strip(self):
        """Interval, mean and threshold at their places: 1 ± half, from a threshold at 0."""
        finding = Finding("key", "…", [0.9, 1.0, 1.1], "", above=0)
        low, high = finding.interval
        place = page.range_of(finding)
        assert place is not None
        assert place["threshold"] == 6
        assert place["high"] == 94
        assert (place["estimate"] - 6) / 88 == pytest.approx(1 / high, abs=1e-3)
        assert (place["low"] - 6) / 88 == pytest.approx(low / high, abs=1e-3)
        assert page.range_of(Finding("key", "…", [1.0], "")) is None


class TestDrawing:
    def test_contrast_of_known_pairs(self):
        assert drawing.contrast_ratio("#000000", "#ffffff") == pytest.approx(21)
        assert drawing.contrast_ratio("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # WebAIM's checker

    @pytest.mark.parametrize("ground", [drawing.LIGHT, drawing.DARK])
    def test_models_are_legible_and_differ_on_both_grounds(self, ground):
        colors = drawing.palette(ground)
        assert all(drawing.contrast_ratio(color, ground) >= 3 for color in colors.values())
        assert len(set(colors.values())) == len(drawing.COLORS)

    def test_a_color_that_is_legible_stays(self):
        assert drawing.legible("#0072b2", "#ffffff", 3) == "#0072b2"
        with pytest.raises(ValueError, match="no shade"):
            drawing.legible("#0072b2", "#ffffff", 22)


MEASURE = """<script>addEventListener("load", () => {
const folded = {scroll: document.documentElement.scrollWidth, height: document.documentElement.scrollHeight};
document.querySelectorAll("details").forEach(fold => fold.open = true);
const figures = [...document.querySelectorAll("figure svg")].map(svg => {
  const box = svg.getBoundingClientRect();
  const marks = [...svg.querySelectorAll("path, use")].map(mark => mark.getBoundingClientRect());
  const data = marks.filter(mark => mark.width * mark.height > 4).length;
  const scale = box.width / svg.viewBox.baseVal.width;
  const sizes = [...svg.querySelectorAll("text")].map(text => scale * parseFloat(getComputedStyle(text).fontSize));
  const texts = [...svg.querySelectorAll("text")].map(text => text.getBoundingClientRect());
  const outside = texts.filter(text => text.left < box.left - 3 || text.right > box.right + 3).length;
  return {width: box.width, left: box.left, data, smallest: Math.min(...sizes.filter(size => size > 0)), outside};
});
const style = getComputedStyle(document.body);
const badges = [...document.querySelectorAll(".badge")].map(badge => badge.getBoundingClientRect());
parent.postMessage(JSON.stringify({figures, folded, width: innerWidth, scroll: document.documentElement.scrollWidth,
  ground: style.backgroundColor, ink: style.color, dark: matchMedia("(prefers-color-scheme: dark)").matches,
  badges: badges.filter(box => box.width > 40 && box.right <= innerWidth).length}), "*");
});</script>"""
# a window is 500 pixels wide at least, a frame need not be
FRAME = """<!DOCTYPE html><title></title>
<script>addEventListener("message", event => document.title = event.data)</script>
<iframe src="report.html" style="width: {width}px; height: 1000px; border: 0"></iframe>"""

if chromium := shutil.which("chromium"):  # one is not needed to write a report; it is the CI's to have it

    @pytest.mark.parametrize("dark", [False, True])
    @pytest.mark.parametrize("width", [1280, 390])
    def test_a_browser_lays_it_out(html, tmp_path, width, dark):
        """Figures are there, in the page and legible; nothing is wider than the window; both themes are followed."""
        (tmp_path / "report.html").write_text(html.replace("</body>", f"{MEASURE}</body>"))
        (tmp_path / "frame.html").write_text(FRAME.format(width=width))
        found = subprocess.run(
            [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,1000", "--hide-scrollbars",
             f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--dump-dom",
             (tmp_path / "frame.html").as_uri()],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        title = re.search(r"<title>(\{.*?\})</title>", found.stdout)
        assert title is not None, "the page has loaded"
        seen = json.loads(title[1])
        assert seen["width"] == width
        assert seen["scroll"] <= width
        assert seen["folded"]["scroll"] <= width
        assert seen["dark"] == dark
        assert seen["ground"] == ("rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")
        assert len(seen["figures"]) == 8
        for figure in seen["figures"]:
            assert figure["width"] >= min(340, width - 40)
            assert figure["left"] >= 0
            assert figure["data"] >= 3
            assert figure["outside"] == 0
        # powers of ten are smaller than other text
        assert all(figure["smallest"] >= 5 for figure in seen["figures"])
        assert seen["badges"] == 4 + 4 + 6
