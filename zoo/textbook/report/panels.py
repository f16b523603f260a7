"""Figures of one panel: small enough for a narrow screen, readable without a caption, the same colours everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from zoo.metrics.intervals import mean_interval
from zoo.textbook.words import DATA as DATA

SIZE = (4.8, 3.5)  # inches
# text, lines and ground of a page are put in the place of these when the page is made
INK, FAINT, GROUND = "#1b1f24", "#b8bec6", "#ffffff"
# generative models in cold colours with filled marks, discriminative ones in warm colours with open marks
GENERATIVE: dict[str, tuple[str, str, str]] = {  # model: colour, mark, label
    "naive_bayes": ("#56b4e9", "o", "naive Bayes"),
    "gmm": ("#0072b2", "s", "Gaussian mixture"),
    "hmm": ("#7b6fd0", "D", "hidden Markov"),
    "vae": ("#009e73", "^", "VAE"),
    "dcgan": ("#66b84a", "v", "DCGAN"),
}
DISCRIMINATIVE: dict[str, tuple[str, str, str]] = {
    "logistic_regression": ("#e69f00", "o", "logistic regression"),
    "svm": ("#7d6f00", "s", "SVM"),
    "mlp": ("#d55e00", "D", "MLP"),
    "cnn": ("#cc3366", "^", "CNN"),
    "rnn": ("#cc79a7", "v", "RNN"),
    "lenet": ("#a0522d", "P", "LeNet"),
}
# what is no model: colours of neither family
CYCLE = ("#4a5568", "#a855c7", "#8a7a3c", "#8d99a8", "#6b2fa0", "#b08fc7", "#5c5c2e", "#9c9c9c")
MARKS = "osD^vPX*"


def name(model: str) -> str:
    """What a model is called in words."""
    return str(style(model)["label"])


def family(model: str) -> str:
    """``"generative"``, ``"discriminative"``, or nothing for what is neither."""
    return "generative" if model in GENERATIVE else "discriminative" if model in DISCRIMINATIVE else ""


def panel(title: str, x: str, y: str, size: tuple[float, float] = SIZE) -> tuple[Figure, Axes]:
    """A figure with one panel, its title (what is shown, of which data) and its axes' names with their units."""
    figure = Figure(figsize=size, layout="constrained", dpi=150)  # not pyplot: no global state
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10, loc="left", color=INK)
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)
    axes.tick_params(labelsize=8, colors=INK)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:,.6g}".replace("-", "−"))
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(INK)
    axes.grid(color=FAINT, linewidth=0.5, alpha=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def style(name: str, index: int = 0) -> dict[str, Any]:
    """Colour, mark and label of a model, by its name; of anything else, the ``index``-th of a cycle."""
    if name in GENERATIVE or name in DISCRIMINATIVE:
        color, marker, label = (GENERATIVE | DISCRIMINATIVE)[name]
        return {
            "color": color,
            "marker": marker,
            "label": label,
            "markerfacecolor": color if name in GENERATIVE else GROUND,
        }
    return {"color": CYCLE[index % len(CYCLE)], "marker": MARKS[index % len(MARKS)], "label": name}


def curve(axes: Axes, points: Mapping[float, Sequence[float]], **look: Any) -> None:
    """Means over seeds as a line, their 95 % intervals as a band.

    Args:
        axes: where to draw.
        points: place on the x axis to the values of all seeds.
        **look: from :func:`style`.
    """
    places = sorted(points)
    means = [sum(points[place]) / len(points[place]) for place in places]
    axes.plot(places, means, markersize=5, linewidth=1.5, **look)
    intervals = [mean_interval(points[place]) if len(points[place]) > 1 else (mean, mean)
                 for place, mean in zip(places, means, strict=True)]  # fmt: skip
    low, high = zip(*intervals, strict=True)
    axes.fill_between(places, low, high, color=look.get("color"), alpha=0.15, linewidth=0)


def bars(axes: Axes, groups: Mapping[str, Sequence[float]], colors: Sequence[str] | None = None) -> None:
    """Horizontal bars of means over seeds with 95 % intervals, the first on top, each with its value."""
    for place, (_, values) in enumerate(groups.items()):
        mean = sum(values) / len(values)
        low, high = mean_interval(values) if len(values) > 1 else (mean, mean)
        color = colors[place] if colors else CYCLE[0]
        axes.barh(place, mean, 0.65, color=color, xerr=[[mean - low], [high - mean]], ecolor=INK, capsize=2)
        text = f"{mean:.3g}".replace("-", "−")
        axes.annotate(text, (max(mean, high, 0), place), (4, 0), textcoords="offset points", va="center",
                      fontsize=8, color=INK)  # fmt: skip
    axes.set_yticks(range(len(groups)), list(groups), fontsize=8, color=INK)
    axes.invert_yaxis()
    axes.margins(x=0.18)


def logarithmic(axes: Axes, *which: str) -> None:
    """Logarithmic axes, ``"x"``, ``"y"`` or both, with numbers at 1, 2 and 5 in place of powers of ten."""
    for name in which:
        axis = axes.xaxis if name == "x" else axes.yaxis
        (axes.set_xscale if name == "x" else axes.set_yscale)("log")
        low, high = axis.get_data_interval()
        # where more than the powers of ten would not fit: beside one another sooner than above one another
        wide = low > 0 and high / low > {"x": 30, "y": 300}[name]
        axis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
        axis.set_major_formatter(lambda value, _: f"{value:,.10g}" if value < 1e6 else f"{value / 1e6:,.10g} M")
        axis.set_minor_formatter(NullFormatter())


def legend(axes: Axes, **options: Any) -> None:
    """A legend without a frame, in small letters."""
    axes.legend(**{"fontsize": 8, "frameon": False, "labelcolor": INK} | options)
