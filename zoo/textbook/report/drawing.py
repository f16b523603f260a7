"""A figure as files, and as a part of a page whose colours and font it takes over."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from html import escape

import matplotlib
from matplotlib.figure import Figure

from zoo.textbook.report.panels import CYCLE, DISCRIMINATIVE, FAINT, GENERATIVE, GROUND, INK

LIGHT, DARK = GROUND, "#14171b"  # the grounds of a page
CONTRAST = {LIGHT: 3.0, DARK: 4.5}  # of lines with the ground: 3 at least by WCAG 2.2, 1.4.11
# what matplotlib draws in a colour of its own where nobody names one, besides what panels name
ROLES = {INK: "ink", "#000000": "ink", FAINT: "faint", "#cccccc": "faint", GROUND: "ground"}
COLORS = tuple(
    sorted({*CYCLE, *(color for color, *_ in GENERATIVE.values()), *(color for color, *_ in DISCRIMINATIVE.values())})
)
WIDE = 1.75  # times as wide as high
NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))


@dataclass(frozen=True)
class Drawing:
    """A figure, drawn.

    Attributes:
        png: for slides and previews.
        svg: a file of its own, on white.
        inline: an ``<svg>`` element in the colours of the page it stands in, see :func:`palette`.
        wide: whether it is so much wider than high that it needs the whole width of a page.
    """

    png: bytes
    svg: str
    inline: str
    wide: bool


def draw(figure: Figure, name: str) -> Drawing:
    """Draw ``figure``, the same bytes for the same figure. ``name`` is unique on its page: ids begin with it."""
    vector, raster = io.StringIO(), io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(vector, format="svg", metadata=NO_METADATA, facecolor=GROUND)
    figure.savefig(raster, format="png", metadata={"Software": None}, facecolor=GROUND)
    title = " – ".join(axes.get_title(loc="left") or axes.get_title() for axes in figure.axes[:1])
    svg = vector.getvalue()
    width, height = figure.get_size_inches()
    return Drawing(raster.getvalue(), svg, inline(svg, name, title or name), width > WIDE * height)


def inline(svg: str, name: str, title: str) -> str:
    """A file's SVG as an element of a page: ids of its own, a title, colours and font by CSS variables."""
    svg = svg[svg.index("<svg") :]  # no declaration, no document type: both name addresses
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    head, _, body = svg.partition(">")
    view = re.search(r'viewBox="[^"]*"', head)
    assert view is not None, "matplotlib writes one"
    body = re.sub(r'\bid="([^"]*)"', rf'id="{name}-\1"', body)
    body = re.sub(r'(?:xlink:)?href="#([^"]*)"', rf'href="#{name}-\1"', body)
    body = body.replace("xlink:href=", "href=")
    body = re.sub(r"url\(#([^)]*)\)", rf"url(#{name}-\1)", body)
    body = re.sub(r"font-family: [^;\"]*", "font-family: var(--sans)", body)
    body = re.sub(r"#[0-9a-f]{6}\b", lambda found: _variable(found[0]), body)
    body = re.sub(r"\s*\n\s*", "\n", body)
    title = escape(title)
    return f'<svg role="img" aria-label="{title}" {view[0]}>\n<title>{title}</title>{body}'


def palette(ground: str) -> dict[str, str]:
    """CSS variable to colour: each colour of a figure, as little darker or lighter as shows it on ``ground``."""
    return {_slot(color): legible(color, ground, CONTRAST[ground]) for color in COLORS}


def legible(color: str, ground: str, contrast: float) -> str:
    """``color`` mixed with as little black, on a light ground, or white as gives it this contrast with ``ground``."""
    aim = 0.0 if _luminance(ground) > 0.2 else 1.0
    start = _channels(color)
    for step in range(101):
        mixed = tuple(value + (aim - value) * step / 100 for value in start)
        text = "#" + "".join(f"{round(255 * value):02x}" for value in mixed)
        if contrast_ratio(text, ground) >= contrast:
            return text
    raise ValueError(f"no shade of {color} has a contrast of {contrast} with {ground}")


def contrast_ratio(first: str, second: str) -> float:
    """From 1, the same, to 21, black on white (WCAG 2.2)."""
    low, high = sorted((_luminance(first), _luminance(second)))
    return (high + 0.05) / (low + 0.05)


def _variable(color: str) -> str:
    if color in ROLES:
        return f"var(--{ROLES[color]})"
    return f"var(--{_slot(color)})" if color in COLORS else color


def _slot(color: str) -> str:
    return "c-" + color.removeprefix("#")


def _channels(color: str) -> tuple[float, ...]:
    return tuple(int(color[place : place + 2], 16) / 255 for place in (1, 3, 5))


def _luminance(color: str) -> float:
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in _channels(color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
