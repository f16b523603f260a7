"""The report as one HTML file that needs nothing else, with its numbers and figures beside it."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from zoo.errors import ZooError
from zoo.files import write_bytes, write_json, write_text
from zoo.textbook import choose, needs, words
from zoo.textbook.claim import (
    MEASURED,
    RULE,
    SUPPORTED,
    VERDICTS,
    WRONG,
    Claim,
    Finding,
    Row,
    deciding,
    judged,
    verdict,
)
from zoo.textbook.report import drawing
from zoo.textbook.report.panels import FAINT, INK, family, name

SIGNS = {"supported": "✓", "not supported": "✗", "inconclusive": "?", MEASURED: "·"}
STANDING = {words.HOLD: "yes", words.OPEN: "open", words.AGAINST: "against", words.REFUTE: "no"}
CLASSES = {"supported": "yes", "not supported": "no", "inconclusive": "open", MEASURED: "told"}
LONG = 1200  # letters of a discussion that leave room for two figures at their side

NO_LABELS = "No labels"  # of the models that were trained without
# What somebody has, and what is wanted of it: the need that answers, and the claims that say more
MAP: tuple[tuple[str, tuple[tuple[str, str, tuple[str, ...]], ...]], ...] = (
    ("A label for every image", (
        ("Right classes of whole images", "accuracy", ("plenty_of_labels", "locality", "gating")),
        ("Pixels here and there will be missing", "missing", ("missing_pixels",)),
        ("One half of each image will be missing", "half", ("missing_pixels",)),
        ("Probabilities that mean what they say", "calibration", ("calibration", "noisy_labels")),
        ("Samples like them", "sampling", ("blur_and_modes", "synthetic_data")),
        ("How probable each is", "density", ("rate_distortion", "em_and_gradient")),
        ("Which do not belong", "anomalies", ("anomalies",)),
        ("Quickly trained", "training", ("plenty_of_labels", "em_and_gradient")),
        ("Quickly asked", "speed", ("plenty_of_labels",)),
        ("A small file", "size", ("plenty_of_labels",)),
    )),
    ("Few labels", (
        ("Right classes", "labels", ("learning_curves", "synthetic_data")),
        ("Right classes, and there are many images without a label", "unlabelled", ("unlabelled_data",)),
    )),
    (NO_LABELS, (
        ("Samples like them", "sampling", ("blur_and_modes",)),
        ("Which do not belong", "anomalies", ("anomalies",)),
    )),
)  # fmt: skip


@dataclass(frozen=True)
class Block:
    """A claim that has been measured.

    Attributes:
        name: of the claim's module.
        claim: what is claimed.
        findings: at least one with a threshold.
        figures: of one panel each, by name.
        rows: the parameters and measurements of each case.
        parameters: those of the row at the same place.
        seconds: that the row at the same place took.
        command: what measures all of it.
    """

    name: str
    claim: Claim
    findings: Sequence[Finding]
    figures: Mapping[str, Figure]
    rows: Sequence[Row]
    parameters: Sequence[Mapping[str, Any]]
    seconds: Sequence[float]
    command: str

    @property
    def verdict(self) -> str:
        return verdict(self.findings)

    @property
    def supported(self) -> int:
        """How many of the findings that have a threshold are supported."""
        return sum(finding.verdict == SUPPORTED for finding in judged(self.findings))

    @property
    def decides(self) -> Finding:
        return deciding(self.findings)


def write_report(out: Path, blocks: Sequence[Block], about: Mapping[str, Any]) -> Path:
    """Write ``index.html``, ``figures/*.png`` and ``.svg``, ``numbers.csv``, ``claims.json`` and ``models.json``.

    The same input gives the same bytes.

    Args:
        out: the folder, made where it is not there.
        blocks: in any order.
        about: ``suite``; ``machine``, ``versions`` and ``revision`` as of :func:`zoo.run.machine.describe`;
            ``seconds``, the time that all measurements took; ``date``.

    Returns:
        The page.

    Raises:
        ZooError: something cannot be written.
    """
    blocks = sorted(blocks, key=lambda block: block.claim.number)
    try:
        (out / "figures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZooError(f"{out} cannot be made: {error.strerror}") from error
    drawings = {
        block.name: {key: drawing.draw(figure, f"{block.name}-{key}") for key, figure in block.figures.items()}
        for block in blocks
    }
    for claim, drawn in drawings.items():
        for key, one in drawn.items():
            write_bytes(out / "figures" / f"{claim}-{key}.png", one.png)
            write_text(out / "figures" / f"{claim}-{key}.svg", one.svg)
    models = needs.tables({block.name: block.rows for block in blocks}, needs.candidates())
    write_text(out / "numbers.csv", numbers(blocks))
    write_json(out / "claims.json", entries(blocks))
    write_json(out / "models.json", models)
    page = out / "index.html"
    write_text(page, html(blocks, drawings, models, about))
    return page


# Numbers


def entries(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """What ``claims.json`` holds: an entry a claim, with the numbers of the finding that decides, and one a finding.

    A claim's entry has the id of that finding, ``deciding``, and how many ``findings`` are judged and how many hold. A
    number that is not finite is null. ``threshold`` is ``{"above": number}``, ``{"below": number}`` or null.
    """
    found = []
    for block in blocks:
        counts = {"findings": len(judged(block.findings)), "supported": block.supported}
        own = {"id": block.name, "verdict": block.verdict, "command": block.command}
        found.append(_entry(block, block.decides) | own | {"deciding": f"{block.name}/{block.decides.key}", **counts})
        for finding in block.findings:
            own = {"id": f"{block.name}/{finding.key}", "statement": finding.statement}
            found.append(_entry(block, finding) | own)
    return found


def _entry(block: Block, finding: Finding) -> dict[str, Any]:
    return {
        "id": "",
        "claim": block.claim.number,
        "title": block.claim.title,
        "statement": block.claim.statement,
        "source": block.claim.source,
        "estimate": _known(finding.estimate),
        "unit": finding.unit,
        "interval": [_known(bound) for bound in finding.interval],
        "error": finding.error,
        "values": [_known(value) for value in finding.values],
        "threshold": _threshold(finding),
        "verdict": finding.verdict,
        "command": finding.command or block.command,
    }


def _threshold(finding: Finding) -> dict[str, float] | None:
    if finding.above is not None:
        return {"above": finding.above}
    return None if finding.below is None else {"below": finding.below}


def _known(value: Any) -> Any:
    """``value`` with null for what JSON cannot say."""
    if isinstance(value, list | tuple):
        return [_known(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def numbers(blocks: Sequence[Block]) -> str:
    """All measurements as CSV, a line each, with the parameters of the case as JSON, its seconds and the command.

    Lists are JSON, too; a number that is not finite is left empty; which test images were wrong is not told.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["claim", "parameters", "quantity", "value", "seconds", "command"])
    for block in blocks:
        for row, parameters, seconds in zip(block.rows, block.parameters, block.seconds, strict=True):
            case = json.dumps(parameters, sort_keys=True, ensure_ascii=False)
            for quantity, value in row.items():
                if quantity not in parameters and not quantity.startswith(WRONG):
                    value = _known(value)
                    value = json.dumps(value) if isinstance(value, list | dict | bool) else value
                    writer.writerow([block.name, case, quantity, value, seconds, block.command])
    return text.getvalue()


# The page


def html(
    blocks: Sequence[Block],
    drawings: Mapping[str, Mapping[str, drawing.Drawing]],
    models: Mapping[str, Any],
    about: Mapping[str, Any],
) -> str:
    """The page, whole: nothing is loaded from elsewhere."""
    environment = Environment(
        loader=PackageLoader("zoo.textbook.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    of_words = ("estimate", "interval", "threshold", "clock", "figure", "spelled",
                "tally", "outcome", "correction", "standings")  # fmt: skip
    environment.filters |= {key: getattr(words, key) for key in of_words}
    environment.filters |= {"model": name, "family": family, "data": words.DATA.get}
    environment.globals |= {"signs": SIGNS, "classes": CLASSES, "range_of": range_of, "verdicts": VERDICTS}
    environment.globals |= {"standing": STANDING}
    text = environment.get_template("index.html.j2").render(
        blocks=blocks,
        pictures={block.name: _placed(block, drawings[block.name]) for block in blocks},
        models=models,
        about=about,
        rule=RULE,
        ranking=choose.RANKING,
        answers={data: choose.answers(of) for data, of in models["tables"].items()},
        branches=branches(models["tables"]),
        small_run=words.SMALL_RUN,
        by_name={block.name: block for block in blocks},
        commands={block.name: block.command for block in blocks},
        counts={value: sum(block.verdict == value for block in blocks) for value in VERDICTS},
        light=Markup(_colors(drawing.LIGHT)),
        dark=Markup(_colors(drawing.DARK)),
    )
    for apart, together in ((" %", "{}%"), (" ± ", "{}±{}"), ("&lt; ", "&lt;{}"), ("&gt; ", "&gt;{}")):
        text = text.replace(apart, together.replace("{}", "\N{NO-BREAK SPACE}"))  # a number is not torn apart
    return text


def branches(tables: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The decision map as plain data: of each branch what somebody ``has``, and of each of its leaves what is wanted,
    the models to ``take``, each with the data sets that say so, the ``answers`` and the claims that say ``further``."""
    found = []
    for has, wants in MAP:
        leaves = []
        for want, key, further in wants:
            of = [choose.without_labels(own, key) if has == NO_LABELS else own for own in tables.values()]
            own = [answer for own in of for answer in choose.answers(own) if answer["need"] == key]
            take: dict[str, list[str]] = {}
            for answer in own:
                if answer["take"]:
                    take.setdefault(answer["take"], []).append(words.DATA[answer["data"]])
            told = {model: list(dict.fromkeys(data)) for model, data in take.items()}
            leaves.append({"want": want, "take": told, "answers": own, "further": further})
        found.append({"has": has, "leaves": leaves})
    return found


def _placed(block: Block, drawn: Mapping[str, drawing.Drawing]) -> dict[str, list[Markup]]:
    """A claim's figures: one or, beside a long text, two of them; those of the page's whole width; the folded ones."""
    narrow = [Markup(one.inline) for one in drawn.values() if not one.wide]
    count = 2 if len(block.claim.discussion) > LONG else 1
    wide = [Markup(one.inline) for one in drawn.values() if one.wide]
    return {"beside": narrow[:count], "wide": wide, "folded": narrow[count:]}


def _colors(ground: str) -> str:
    ink, faint = (INK, FAINT) if ground == drawing.LIGHT else ("#e6e8eb", "#4a5058")
    variables = {"ink": ink, "faint": faint, "ground": ground, **drawing.palette(ground)}
    return " ".join(f"--{key}: {value};" for key, value in variables.items())


def range_of(finding: Finding) -> dict[str, float] | None:
    """Where interval, mean and threshold lie in a strip from 0 to 100; None where one is missing or not finite."""
    bound = finding.above if finding.above is not None else finding.below
    low, high = finding.interval
    places = [finding.estimate, low, high, *([] if bound is None else [bound])]
    if not all(math.isfinite(place) for place in places):
        return None
    start, end = min(places), max(places)
    span = end - start or 1.0
    keys = ("estimate", "low", "high", "threshold")
    return {key: round(6 + 88 * (place - start) / span, 2) for key, place in zip(keys, places, strict=False)}
