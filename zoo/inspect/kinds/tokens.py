"""Texts: the words that tell most, worst mistakes with the words that misled the model, and samples.

Samples are of texts as the model has them: their words, or their characters, line by line.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo import capability
from zoo.base.generative import has_classes
from zoo.base.model import Model, evaluating
from zoo.data import characters
from zoo.data.kinds import tokens
from zoo.data.splits import Split
from zoo.inspect import markdown
from zoo.inspect.figures import BLUE, GREY, blank, short
from zoo.inspect.kinds import worst
from zoo.questions.explain import explain
from zoo.questions.sample import sample
from zoo.spec import DataSpec

GROUPS, ACROSS = 10, 5  # classes that are shown at most, and side by side
WORDS = 20  # of a class
LONGEST = 24  # characters of a word that are shown
MARKED = 5  # words of a mistake that are marked
WHOLE, AROUND = 60, 5  # words of a text that is shown whole, and of a longer one on both sides of a marked word
SAMPLES = 8  # of a class
CHARACTERS = 300  # of a text that is read character by character, at most
LINE_END = " ↵ "  # what stands for it in a table
OMITTED = r"\[…\]"

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learnt(model: Model, split: Split) -> dict[str, Figure | str]:
    """``words``, of a model with coefficients: those that tell most of each class; and ``samples``, as text."""
    figures: dict[str, Figure | str] = {}
    if hasattr(model, "coefficients") and model.spec.num_classes > 1:
        with evaluating(model):
            figures["words"] = words_figure(telling(model.coefficients().cpu().double()), model.spec)
    if capability.can(model, "sample"):
        figures["samples"] = samples(model)
    return figures


def telling(coefficients: Tensor) -> Tensor:
    """How much more a term says for each class than for the others on average, ``(K, V)``, in nats: of two classes the
    log odds that it adds."""
    count = len(coefficients)
    return (count * coefficients - coefficients.sum(0)) / (count - 1)


def words_figure(values: Tensor, spec: DataSpec) -> Figure:
    """The terms that say most for each of the first ten classes, see :func:`telling`, a bar each, the first on top. The
    share of training texts that have a term stands beside its bar: whether many texts stand behind it or two."""
    shown = values[:GROUPS]
    columns = min(ACROSS, len(shown))
    rows = -(-len(shown) // columns)
    figure = blank(3.1 * columns + 0.4, rows * (0.7 + 0.19 * WORDS))
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).flat
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    most = float(shown.max())
    for axes, row, name in zip(panels, shown, spec.class_names, strict=False):
        best = row.topk(min(WORDS, len(row)))
        ids = best.indices[best.values > 0].tolist()
        places = range(len(ids))
        axes.barh(places, row[ids].numpy(), 0.75, color=BLUE)
        axes.set_yticks(places, [_fitting(spec.vocabulary[term]) for term in ids], fontsize=8)
        for place, term in zip(places, ids, strict=True):
            axes.text(float(row[term]), place, f" {100 * spec.mean[term]:.2g} %", va="center", fontsize=6, color=GREY)
        axes.set(ylim=(WORDS - 0.4, -0.6), xlim=(0, 1.15 * most), title=short(name))
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("what a word says for the class, against the others; %: training texts that have it", fontsize=8)
    return figure


def samples(model: Model, seed: int = 0) -> str:
    """Eight texts of each of the first ten classes, or of all together, in Markdown: tables. Of running text the first
    300 characters of one: its lines as they are. Always from the same random numbers."""
    spec, classes = model.spec, has_classes(model)
    names = spec.class_names[:GROUPS] if classes else ("all texts",)
    each = 1 if spec.is_running else SAMPLES
    labels = torch.arange(len(names)).repeat_interleave(each) if classes else None
    with evaluating(model):
        drawn = _drawn(model, len(names) * each, labels, capability.seeded(model, seed))
    texts = tokens.text_of(tokens.encode(drawn.cpu()), spec)
    if spec.is_running:
        titles = (f"{markdown.escaped(name)}:\n\n" if classes else "" for name in names)
        return "\n\n".join(title + markdown.block(_whole(text)) for title, text in zip(titles, texts, strict=True))
    cells = [[_cell(text, spec)] for text in texts]
    groups = (cells[start : start + SAMPLES] for start in range(0, len(cells), SAMPLES))
    return "\n\n".join(
        markdown.table([markdown.escaped(name)], group) for name, group in zip(names, groups, strict=True)
    )


def _drawn(model: Model, n: int, labels: Tensor | None, generator: torch.Generator) -> Tensor:
    """Texts ``(n, 1, 1, t)``; of language models no more of them than is shown, since it takes its time."""
    if model.spec.values != characters.VALUES or not hasattr(model, "generate"):
        return sample(model, n, labels, generator)
    groups = model.draw_groups(n, labels, generator)
    spec = model.spec
    length = CHARACTERS if spec.is_running else min(spec.shape[2], CHARACTERS)
    return torch.stack([*model.generate(groups, groups.new_zeros(n, 0), length, generator)], 1)[:, None, None]


def _whole(text: str) -> str:
    return text[:CHARACTERS].encode("utf-8", "replace").decode()  # halves of characters are none


def _cell(text: str, spec: DataSpec) -> str:
    """A text in a cell of a table: its line ends are characters, too, where it is read by them."""
    if spec.values != characters.VALUES:
        return markdown.escaped(text)
    shown = markdown.escaped(_whole(text).replace("\n", LINE_END))
    return shown + (f" {OMITTED}" if len(text) > CHARACTERS else "")


def mistakes(model: Model, split: Split, log_proba: Tensor, limit: int) -> str:
    """The most confident errors, in Markdown: what they are, what they were taken for, and the text as the model sees
    it. In bold the words that spoke the most for the wrong class and against the right one, where the model can tell;
    of a long text they are shown with the words around. Of characters none is marked."""
    spec = model.spec
    wrong, predicted, confidence = worst(split, log_proba, limit)
    part = split.take(wrong)
    head = ("true", "taken for", "probability", "text")
    said = [
        (*(markdown.escaped(spec.class_names[number]) for number in (label, guess)), f"{sure:.1%}")
        for label, guess, sure in zip(part.labels.tolist(), predicted.tolist(), confidence.tolist(), strict=True)
    ]
    if spec.values == characters.VALUES:
        texts = tokens.text_of(part.images, spec)
        return markdown.table(head, [(*line, _cell(text, spec)) for line, text in zip(said, texts, strict=True)])
    points = torch.zeros(len(wrong), part.images.shape[3])
    if capability.can(model, "explain"):
        contributions, rows = explain(model, part.x()).contributions, torch.arange(len(wrong))
        points = contributions[rows, predicted] - contributions[rows, part.labels]
    words = tokens.places(part.images.shape[3], spec)[0]
    known = (*spec.vocabulary, tokens.OTHER)
    lines = [
        (*line, _marked(text[text >= 0], worth[text >= 0], known))
        for line, text, worth in zip(said, part.images[:, 0, 0, words], of_words(points, spec), strict=True)
    ]
    return markdown.table(head, lines)


def of_words(points: Tensor, spec: DataSpec) -> Tensor:
    """Points of terms, ``(B, T)``, as points of words, ``(B, words)``: those of a term of several are shared by them,
    so that the sum is the same."""
    first, *longer = tokens.places(points.shape[1], spec)
    shared = points[:, first].clone()
    for place in longer:
        terms, size = points[:, place], first.stop - (place.stop - place.start) + 1
        for offset in range(size):
            shared[:, offset : offset + terms.shape[1]] += terms / size
    return shared


def _marked(text: Tensor, points: Tensor, known: Sequence[str]) -> str:
    """Numbers of ``known`` words, ``(T,)``, as Markdown, in which those are bold whose points ``(T,)`` are the most, of
    all places together. Of a long text the words around the first place of each are shown alone."""
    different, which = text.unique(return_inverse=True)
    best = (
        torch.zeros(len(different), dtype=points.dtype).index_add_(0, which, points).topk(min(MARKED, len(different)))
    )
    bold = different[best.indices[best.values > 0]].tolist()
    numbers = text.tolist()
    words = {number: markdown.escaped(known[number]) for number in different.tolist()}
    shown = [f"**{words[number]}**" if number in bold else words[number] for number in numbers]
    if len(shown) <= WHOLE:
        return " ".join(shown)
    near = torch.zeros(len(shown), dtype=torch.bool)
    for place in map(numbers.index, bold or numbers[:1]):
        near[max(place - AROUND, 0) : place + AROUND + 1] = True
    kept = near.tolist()
    before = [True, *kept]  # whether the word before is shown, too
    parts = [word if before[place] else f"{OMITTED} {word}" for place, word in enumerate(shown) if kept[place]]
    return " ".join(parts) + ("" if kept[-1] else f" {OMITTED}")


def _fitting(word: str) -> str:
    """A word, cut where it is long, whose characters Matplotlib's font has; others by their name, or number."""
    known = _characters()
    legible = "".join(letter if ord(letter) in known else f"[{_name(letter)}]" for letter in word)
    return legible if len(legible) <= LONGEST else f"{legible[: LONGEST - 1]}…"


@functools.cache
def _characters() -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset(get_font(findfont(FontProperties())).get_charmap())


def _name(letter: str) -> str:
    number = f"U+{ord(letter):04X}"
    name = unicodedata.name(letter, number).lower()
    return name if len(name) < LONGEST - 2 else number
