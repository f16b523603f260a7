"""Write what follows in docs/ from the code, the configurations, the released models and the results.

python scripts/make_docs.py [check=true]

{options}

docs/index.md is README.md; docs/models/ has a page for each model: what its file and
its YAML say, what it can be asked, recipes, released weights. In every other page, a
table below a line <!-- table: … --> is filled from results/ by what its rows are called.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import json
import re
import statistics
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from zoo.command import command, parse_values
from zoo.config import RULES
from zoo.config.options import comments_of
from zoo.errors import ConfigError
from zoo.files import CONFIGS, PRETRAINED, REPOSITORY, RESULTS
from zoo.plain import read_json, read_yaml
from zoo.schema import Option, allowed_by, typed

DOCS = REPOSITORY / "docs"
MADE = "<!-- made by scripts/make_docs.py -->\n"
TABLE = re.compile(r"<!-- table: (\w+)(?: (.*?))? -->\n(\|.*\n\|.*\n)((?:\|.*\n)*)")
WIDTH, COLUMNS = 120, 80  # of a line of prose, and of a comment beside commands
OPTIONS = {
    "check": Option(False, "true: write nothing, and fail where a page is not what it should be"),
}


def pages() -> dict[Path, str]:
    """Every page that follows, by its path."""
    from zoo import registry

    found: dict[Path, str] = {}
    models = registry.list_models()
    found |= {DOCS / "models" / f"{name}.md": model_page(name) for name in models}
    found[DOCS / "models" / "index.md"] = models_page(models)
    readme, first = REPOSITORY / "README.md", DOCS / "index.md"
    for path in [readme, *sorted({*DOCS.glob("*.md")} - {first})]:
        text = path.read_text("utf-8")
        if TABLE.search(text):
            found[path] = TABLE.sub(table, text)
    found[first] = index(found.get(readme) or readme.read_text("utf-8"))
    return found


def index(readme: str) -> str:
    """README as the first page: links lead from this folder."""
    return MADE + re.sub(r"\]\(docs/", "](", readme)


def markdown(text: str) -> str:
    """A docstring as Markdown: its indented blocks are code there, too."""
    text = re.sub(r":\w+:`~?([\w.]+)`", r"`\1`", text).replace("``", "`")
    said, *references = re.split(r"\nReferences?:", text, maxsplit=1)
    if not references:
        return said.rstrip()
    # on lines of their own entries end with a period and a wider space, in a sentence with a semicolon
    between = r"(?<=\.)(?<!al\.)\s{2,}" if references[0].startswith("\n") else r";\s+"
    each = re.split(between, references[0].strip())
    return f"{said.rstrip()}\n\n**References**\n\n" + "\n".join(map(bullet, each))


def bullet(text: str) -> str:
    """An entry of a list, in lines that are read without wrapping."""
    return textwrap.fill(" ".join(text.split()), WIDTH, initial_indent="- ", subsequent_indent="  ")


def model_page(name: str) -> str:
    """What a model is, its options, what it can be asked, how it is trained, which weights of it there are."""
    from zoo import capability, registry

    cls = registry.model_class(name)
    module = sys.modules[cls.__module__]
    row = capability.capabilities(name)[name]
    asked = ", ".join(f"`{question}`" for question, how in row.items() if how != capability.NO)
    parts = [
        f"# {name}",
        markdown(inspect.getdoc(module) or ""),
        "## Options",
        options_table(CONFIGS / "model" / f"{name}.yaml"),
        f"## Asked\n\n{asked}",
        trainings(name),
        weights(name),
    ]
    return MADE + "\n\n".join(part for part in parts if part) + "\n"


def options_table(path: Path) -> str:
    """The keys of a model's YAML, with what it says of them."""
    content, said = read_yaml(path), comments_of(path)
    rows = [f"`configs/model/{path.name}`, each to be set as `model.<key>=<value>`:", ""]
    rows += ["| key | default | allowed | |", "| --- | --- | --- | --- |"]
    for key, value in content.items():
        if key not in ("defaults", "name", RULES):
            cells = (f"`{key}`", f"`{typed(value)}`", allowed_by(content.get(RULES, {}).get(key)), said.get(key, ""))
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) if len(rows) > 4 else "None."


def trainings(name: str) -> str:
    """The commands of a model's recipes and experiments."""
    lines = []
    for path in sorted((CONFIGS / "recipe").glob(f"{name}-*.yaml")):
        data = path.stem.removeprefix(f"{name}-")
        own = " data.path=pictures" if data == "image_folder" else ""
        lines.append((f"model={name} data={data}{own}", path))
    for path in sorted((CONFIGS / "experiment").rglob("*.yaml")):
        if {"override /model": name} in (groups := defaults(path)):
            chosen = any("override /data" in entry for entry in groups if isinstance(entry, dict))
            words = f"experiment={path.relative_to(CONFIGS / 'experiment').with_suffix('')}"
            lines.append((words if chosen else f"{words} data=mnist", path))
    said = [line for words, path in lines for line in (*comment(path), f"zoo train {words}")]
    return "## Trained by\n\n```bash\n" + "\n".join(said) + "\n```" if said else ""


def defaults(path: Path) -> list[Any]:
    """The groups that an experiment chooses, and those of the experiments that it builds on."""
    chosen: list[Any] = list(read_yaml(path).get("defaults", []))
    for entry in [entry for entry in chosen if isinstance(entry, str) and entry != "_self_"]:
        for other in (path.parent / entry, CONFIGS / "experiment" / entry.removeprefix("/experiment/")):
            if (file := other.with_suffix(".yaml")).is_file():
                chosen += defaults(file)
                break
    return chosen


def comment(path: Path) -> list[str]:
    """What a recipe's file says of itself, in its first lines, as comments of 80 columns at most."""
    lines = [line for line in path.read_text("utf-8").splitlines() if "@package" not in line]
    said = " ".join(line.removeprefix("# ") for line in itertools.takewhile(lambda line: line.startswith("# "), lines))
    said = re.sub(r": (python|experiment=).*", "", said)
    return textwrap.wrap(said, COLUMNS, initial_indent="# ", subsequent_indent="# ")


def weights(name: str) -> str:
    """The released weights of a model, with what their cards say."""
    rows, pictures = [], []
    for folder in sorted(PRETRAINED.glob(f"{name}-*")):
        metrics = {}
        if (folder / "metrics.json").is_file():
            metrics = read_json(folder / "metrics.json", ConfigError)
            rows.append(f"| `{folder.name}` | {figures(metrics)} |")
        if (DOCS / "models" / f"{folder.name}.png").is_file():
            what = "samples of" if "frechet_ratio" in metrics else "the worst mistakes of"
            pictures.append(f"\n{what.capitalize()} `{folder.name}`:\n\n![{what} {folder.name}]({folder.name}.png)")
        if (drawn := DOCS / "models" / f"{folder.name}.txt").is_file():
            pictures.append(f"\n`{folder.name}` goes on:\n\n```text\n{drawn.read_text('utf-8').strip()}\n```")
    head = ["## Released\n", "| `zoo.load(…)` | |", "| --- | --- |"]
    return "\n".join([*head, *rows, *pictures]) if rows or pictures else ""


def figures(metrics: Mapping[str, Any]) -> str:
    """The figures of a released model in a line."""
    said = []
    if "accuracy" in metrics:
        said.append(f"accuracy {metrics['accuracy']:.2%}")
    if "nats_per_token" in metrics:
        said.append(f"{metrics['nats_per_token']:.3f} nats per token")
    elif "log_prob" in metrics:
        said.append(f"log p(x) {bound(metrics)}{metrics['log_prob']:.2f} nats".replace("-", "−"))
    if "frechet_ratio" in metrics:
        said.append(f"Fréchet ratio {metrics['frechet_ratio']:.2f} of {metrics['samples']:,} samples")
    return ", ".join(said)


def models_page(names: list[str]) -> str:
    """All models, a sentence each."""
    from zoo import registry

    lines = [f"# Models\n\n{MADE}"]
    for name in names:
        first = (inspect.getdoc(sys.modules[registry.model_class(name).__module__]) or "").partition("\n\n")[0]
        lines.append(f"- [{name}]({name}.md): {markdown(' '.join(first.split()))}")
    return "\n".join(lines) + "\n"


# Tables: what fills their rows is a function by the name after "table:", given the words after it and a row's cells


def table(found: re.Match[str]) -> str:
    """A table with its rows filled, or made where there is nothing to fill in."""
    name, words, head, body = found.groups()
    if name in WHOLE:
        return found[0].replace(head + body, WHOLE[name]())
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in body.splitlines()]
    return found[0].replace(head + body, head + lines(FILLED[name](words or "", row) for row in rows))


def lines(rows: Iterable[Iterable[str]]) -> str:
    """Rows as Markdown."""
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def capability_table() -> str:
    """What each model can be asked."""
    from zoo import capability

    return f"{capability.capabilities()}\n"


def shelf_table() -> str:
    """All released models, with what their cards measured."""
    head = ("`zoo.load(…)`", "accuracy, %", "log p(x), nats", "Fréchet ratio", "kB", "seconds of training")
    rows = []
    for folder in sorted(path.parent for path in PRETRAINED.glob("*/metrics.json")):
        found = read_json(folder / "metrics.json", ConfigError)
        training = read_json(folder / "config.json", ConfigError)["training"]
        cells = [
            figure(name, [found[name]]) if name in found else "–" for name in ("accuracy", "log_prob", "frechet_ratio")
        ]
        if "log_prob" in found:
            cells[1] = f"{bound(found)}{cells[1]}"
        if "nats_per_token" in found:  # texts are of different lengths
            cells[1] = f"−{found['nats_per_token']:.3f} a token"
        size = (folder / "model.safetensors").stat().st_size
        rows.append([f"`{folder.name}`", *cells, f"{size / 1e3:,.0f}", figure("seconds", [training["seconds"]])])
    return f"| {' | '.join(head)} |\n| --- |{' ---: |' * (len(head) - 1)}\n{lines(rows)}"


def optimizer_table() -> str:
    """What ``scripts/optimizers.py`` has measured: means of the seeds, with the least and the most."""
    from zoo.benchmarks import OPTIMIZERS

    units = {
        "nll": "nll, nats",
        "nats_per_token": "nats per character",
        "log_likelihood": "log p(x, y), nats per image",
    }
    found = read_json(RESULTS / "optimizers.json", ConfigError)["results"]
    names = list(next(iter(found.values())))
    rows = []
    for model, ways in found.items():
        words, measure = OPTIMIZERS[model]
        name = measure.rpartition("/")[2]
        form = "{:.1f}" if name == "log_likelihood" else "{:.3f}"
        typed = " ".join(word for word in words if word.startswith(("model=", "data=")))
        cells = [ranged(ways[way]["values"], form) for way in names]
        rows.append([f"`{typed}`", units[name], *cells])
    return f"| `python scripts/optimizers.py` | | {' | '.join(names)} |\n| --- | --- | ---: | ---: |\n{lines(rows)}"


def ranged(values: list[float], form: str) -> str:
    """The mean of values, and the least and the most of them."""
    mean, low, high = spread(values, form)
    return f"{mean} ({low} to {high})"


def spread(values: list[float], form: str) -> list[str]:
    """The mean, the least and the most of values, with a minus sign that is one."""
    return [form.format(value).replace("-", "−") for value in (statistics.mean(values), min(values), max(values))]


def bound(metrics: Mapping[str, Any]) -> str:
    """What stands before a likelihood that is none, or not quite."""
    return {"lower bound": "≥ ", "estimate": "≈ "}.get(metrics["density"].partition(",")[0], "")


def claim_table() -> str:
    """The claims of the literature with their verdicts."""
    told = [entry for entry in claims().values() if "/" not in entry["id"]]
    return "|     | claim | verdict | `claims=` |\n| --: | --- | --- | --- |\n" + lines(
        (str(entry["claim"]), entry["title"], entry["verdict"], f"`{entry['id']}`")
        for entry in sorted(told, key=lambda entry: entry["claim"])
    )


def choice_table() -> str:
    """What to take for each need, as ``scripts/choose.py`` answers."""
    from zoo.textbook import choose
    from zoo.textbook.words import DATA as NAMES

    cells: dict[tuple[str, int], dict[str, str]] = {}  # of a need there may be several answers
    data = ("mnist", "fashion_mnist")
    for name in data:
        seen: dict[str, int] = {}
        for answer in choose.answers(choose.read(RESULTS / "textbook", name)):
            said = ", ".join(filter(None, (answer["label"], answer["at"])))
            seen[said] = seen.get(said, 0) + 1
            told = f"`{answer['take']}` {answer['figure'].partition(' (')[0]}" if answer["take"] else "–"
            cells.setdefault((said, seen[said]), {})[name] = told
    head = f"| what matters | {' | '.join(NAMES[name] for name in data)} |\n| --- | --- | --- |\n"
    return head + lines([said, *(row.get(name, "–") for name in data)] for (said, _), row in cells.items())


@functools.cache  # a row of a table asks for one of them
def claims() -> dict[str, dict[str, Any]]:
    """The claims and findings of the reports that are kept, by their ids."""
    kept = [RESULTS / name / "claims.json" for name in ("textbook", "voices")]
    return {entry["id"]: entry for path in kept for entry in json.loads(path.read_text("utf-8"))}


def finding(words: str, row: list[str]) -> list[str]:
    """A finding, by its id in the last cell: estimate and interval."""
    entry = claims()[row[-1].strip("`")]
    estimate, low, high = (f"{value:.3g}".replace("-", "−") for value in (entry["estimate"], *entry["interval"]))
    return [row[0], f"{estimate} {entry['unit']}", f"{low} to {high}", row[-1]]


def voices(words: str, row: list[str]) -> list[str]:
    """A model's accuracies of voices that were heard, and of those that were not."""
    heard, unheard = (claims()[f"voices/{which}-{row[0].strip('`')}"] for which in ("heard", "unheard"))
    speakers = ", ".join(f"{value:.0f}" for value in unheard["values"])
    return [row[0], f"{heard['estimate']:.1f}", f"{unheard['estimate']:.1f} ({speakers})"]


def benchmark(words: str, row: list[str]) -> list[str]:
    """A benchmark, by its name in the first cell: the peer's median, ours and the ratio."""
    found = read_json(REPOSITORY / words, ConfigError)["benchmarks"][row[0].strip("`")]
    peer, *others = found["ways"].values()
    ours = next((found["ways"][name] for name in found["ours"]), others[0])
    return [row[0], row[1], found["unit"], shown(peer["median"]), shown(ours["median"]), f"{ours['ratio']:.3g}"]


def profile(words: str, row: list[str]) -> list[str]:
    """A model that is asked for classes, by the name of its benchmark in the first cell: images a second, the share of
    the roofline, what bounds it, and what the time goes into."""
    way = read_json(REPOSITORY / words, ConfigError)["benchmarks"][row[0].strip("`")]["ways"]["classify"]
    parts = (f"{name.removeprefix('aten::')} {share:.0%}" for name, share in way["facts"]["operators"].items())
    return [row[0], shown(way["median"]), f"{way['facts']['roofline']:.0%}", way["facts"]["bound"], ", ".join(parts)]


def quick_recipe(words: str, row: list[str]) -> list[str]:
    """A recipe for a number of seconds: accuracies of its seeds and their seconds."""
    name = f"accuracy-{row[0].strip('`').rpartition('/')[2]}"
    (way,) = read_json(REPOSITORY / words, ConfigError)["benchmarks"][name]["ways"].values()
    accuracy = [100 * value for value in way["facts"]["accuracy"]]
    seeds = ", ".join(f"{value:.2f}" for value in accuracy)
    return [row[0], row[1], f"{statistics.mean(accuracy):.2f}", seeds, shown(way["median"])]


def folds(words: str, row: list[str]) -> list[str]:
    """A model, by its name in the first cell, beside scikit-learn's in brackets: means over folds, of what
    ``scripts/tables.py json=…`` or ``texts.py`` has written. ``words``: that file, and a column's measure and data,
    ``AUROC:german_credit``; a cell is empty where neither was measured."""
    file, *columns = words.split()
    found = read_json(REPOSITORY / file, ConfigError)["results"]
    cells = [row[0]]
    for column in columns:
        measure, _, data = column.partition(":")
        of = {
            entry["whose"]: statistics.mean(entry["values"][measure])
            for entry in found
            if (entry["data"], entry["model"]) == (data, row[0].strip("`"))
        }
        told = {
            whose: f"{mean:.4f}".removeprefix("0") if measure == "AUROC" else f"{100 * mean:.2f}"
            for whose, mean in of.items()
        }
        both = [told.get("zoo"), f"({told['scikit-learn']})" if "scikit-learn" in told else None]
        cells.append(" ".join(filter(None, both)))
    return cells


def shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def runs(words: str, row: list[str]) -> list[str]:
    """A run, by the words that train it in the first cell: its figures, means where there are several seeds.

    ``words`` say what the columns hold: ``mnist accuracy seconds, fashion_mnist accuracy seconds``; the data is ``-``
    where the first cell names it. ``.`` is a column that is written by hand, and a cell with – stays where there is no
    such figure.
    """
    from zoo.run.recipes import stem

    typed = re.search(r"`(.+?)`", row[0])
    if not typed:
        raise ConfigError(f"no words that train it are in the row {row[0]!r}")
    cells = [row[0]]
    for part in words.split(", "):
        data, *columns = part.split()
        told = typed[1].replace("…", data).split()
        if data != "-" and not any(word.startswith(("experiment=", "data=")) for word in told):
            told.append(f"data={data}")
        path = RESULTS / "runs" / f"{stem(told)}.json"
        if not path.is_file():
            raise ConfigError(f"{' '.join(told)} has no figures in {path.relative_to(REPOSITORY)}: keep_figures.py")
        seeds = read_json(path, ConfigError)["seeds"]
        for column in columns:
            written = row[len(cells)] if len(cells) < len(row) else ""
            values = [value_of(entry, column) for entry in seeds.values()]
            known = [value for value in values if value is not None]
            if column == "." or (written == "–" and not known):
                cells.append(written)
            elif len(known) < len(values):
                raise ConfigError(f"{path.relative_to(REPOSITORY)} has no {column}: – where there is none")
            else:
                errors = [value_of(entry, f"{column}_se") for entry in seeds.values()]
                cells.append(figure(column, known, errors[0] if len(errors) == 1 else None))
    return cells


def value_of(entry: Mapping[str, Any], column: str) -> float | None:
    """A figure of one seed by its name, or by the end of it, where no other one ends so; None where there is none."""
    found = entry["test"] | {key: value for key, value in entry.items() if key != "test"}
    ends = [key for key in found if key == column] or [key for key in found if key.endswith(f"/{column}")]
    return found[ends[0]] if len(ends) == 1 else None


def figure(column: str, values: list[float], error: float | None = None) -> str:
    """The mean of some seeds as a table shows it, and the least and the most of three or more; the standard error of
    one, where it has any."""
    name = column.rpartition("/")[2]
    form = FORMS.get(name, "{:,.3g}")
    scale = 100 if name in SHARES else 1
    told = spread([scale * value for value in values], form)
    if error is not None:
        return f"{told[0]} ± {form.format(scale * error)}"
    return f"{told[0]} ({told[1]}–{told[2]})" if len(values) > 2 and name in SPREAD else told[0]


SHARES = ("accuracy", "synthetic_accuracy", "copies")  # told in %
SPREAD = ("accuracy", "log_prob")  # told with what the seeds vary by
FORMS = {
    "accuracy": "{:.2f}", "synthetic_accuracy": "{:.1f}", "copies": "{:.1f}", "nll": "{:.3f}", "ece": "{:.3f}",
    "seconds": "{:,.0f}", "parameters": "{:,.0f}", "log_prob": "{:,.2f}", "bits_per_dim": "{:.3f}", "modes": "{:.0f}",
    "nats_per_token": "{:.3f}",
    "frechet_ratio": "{:.2f}", "precision": "{:.3f}", "recall": "{:.3f}",
}  # fmt: skip
WHOLE: dict[str, Callable[[], str]] = {
    "capabilities": capability_table,
    "claims": claim_table,
    "choices": choice_table,
    "shelf": shelf_table,
    "optimizers": optimizer_table,
}
FILLED: dict[str, Callable[[str, list[str]], list[str]]] = {
    "findings": finding, "voices": voices, "benchmarks": benchmark, "quick_recipes": quick_recipe, "runs": runs,
    "profile": profile, "folds": folds,
}  # fmt: skip


@command
def main() -> None:
    options = parse_values(sys.argv[1:], OPTIONS, __doc__ or "")
    from zoo.files import write_text

    wanted = pages()
    there = {path: path.read_text("utf-8") for path in (REPOSITORY / "README.md", *DOCS.rglob("*.md"))}
    left = {path for path, text in there.items() if MADE in text} - wanted.keys()  # of models that are no more
    if options["check"]:
        changed = {path for path, text in wanted.items() if there.get(path) != text}
        wrong = sorted(str(path.relative_to(REPOSITORY)) for path in changed | left)
        if wrong:
            raise ConfigError(f"{', '.join(wrong)}: not what they should be; python scripts/make_docs.py writes them")
        return
    for path in left:
        path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(exist_ok=True)
        write_text(path, text)


if __name__ == "__main__":
    main()
