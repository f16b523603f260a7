"""Write the pages of docs/ that follow from the code, the configurations, the released models and the results.

python scripts/make_docs.py [check=true]

  check   true: write nothing, and fail where a page is not what it should be (false)

docs/index.md is README.md; docs/models/ has a page for each model: what its file and
its YAML say, what it can be asked, recipes, released weights.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.command import command, parse_values
from zoo.errors import ConfigError
from zoo.files import CONFIGS, PRETRAINED, REPOSITORY

DOCS = REPOSITORY / "docs"
MADE = "<!-- made by scripts/make_docs.py -->\n"
DEFAULTS: dict[str, Any] = {"check": False}


def pages() -> dict[Path, str]:
    """Every page that follows, by its path."""
    from zoo import registry

    found = {DOCS / "index.md": index()}
    models = registry.list_models()
    found |= {DOCS / "models" / f"{name}.md": model_page(name) for name in models}
    found[DOCS / "models" / "index.md"] = models_page(models)
    return found


def index() -> str:
    """README as the first page: links lead from this folder."""
    text = (REPOSITORY / "README.md").read_text("utf-8")
    return MADE + re.sub(r"\]\(docs/", "](", text)


def markdown(text: str) -> str:
    """A docstring as Markdown: its indented blocks are code there, too."""
    text = re.sub(r":\w+:`~?([\w.]+)`", r"`\1`", text).replace("``", "`")
    said, title, references = text.partition("References:\n")
    if not title:
        return said.rstrip()
    each = re.split(r"(?<=\.)(?<!al\.)\s{2,}", references.strip())  # entries end with a period, and a wider space
    return f"{said.rstrip()}\n\n**References**\n\n" + "\n".join(f"- {' '.join(entry.split())}" for entry in each)


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
        f"`configs/model/{name}.yaml`, each to be set as `model.<key>=<value>`:",
        options_table(CONFIGS / "model" / f"{name}.yaml"),
        f"## Asked\n\n{asked}",
        trainings(name),
        weights(name),
    ]
    return MADE + "\n\n".join(part for part in parts if part) + "\n"


def options_table(path: Path) -> str:
    """The keys of a model's YAML, with what it says of them."""
    from zoo.plain import read_yaml

    allowed = read_yaml(path).get("_allowed_", {})
    rows = ["| key | default | allowed | |", "| --- | --- | --- | --- |"]
    for line in path.read_text("utf-8").partition("\n_allowed_:")[0].splitlines():
        found = re.fullmatch(r"(\w+): (.*?)(?:\s+# (.*))?", line)
        if found and found[1] not in ("defaults", "name"):
            rule = allowed.get(found[1], "")
            rule = ", ".join(map(str, rule)) if isinstance(rule, list) else rule
            cells = (f"`{found[1]}`", f"`{found[2]}`", rule, found[3] or "")
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) if len(rows) > 2 else "None."


def trainings(name: str) -> str:
    """The commands of a model's recipes and experiments."""
    from zoo.plain import read_yaml

    lines = []
    for path in sorted((CONFIGS / "recipe").glob(f"{name}-*.yaml")):
        lines.append((f"model={name} data={path.stem.removeprefix(f'{name}-')}", path))
    for path in sorted((CONFIGS / "experiment").rglob("*.yaml")):
        groups = read_yaml(path).get("defaults", [])
        if {"override /model": name} in groups:
            lines.append((f"experiment={path.relative_to(CONFIGS / 'experiment').with_suffix('')}", path))
    said = [f"zoo train {words}{comment(path)}" for words, path in lines]
    return "## Trained by\n\n```bash\n" + "\n".join(said) + "\n```" if said else ""


def comment(path: Path) -> str:
    """What a recipe's file says of itself, in its first line of its own."""
    lines = path.read_text("utf-8").splitlines()
    said = [line for line in lines if line.startswith("# ") and "@package" not in line]
    return f"  {said[0].partition(': python')[0]}" if said else ""


def weights(name: str) -> str:
    """The released weights of a model, with what their cards say."""
    from zoo.plain import read_json

    rows = []
    for folder in sorted(PRETRAINED.glob(f"{name}-*")):
        path = folder / "metrics.json"
        if path.is_file():
            rows.append(f"| `{folder.name}` | {figures(read_json(path, ConfigError))} |")
    return "\n".join(["## Released\n", "| `zoo.load(…)` | |", "| --- | --- |", *rows]) if rows else ""


def figures(metrics: Mapping[str, Any]) -> str:
    """The figures of a released model in a line."""
    said = []
    if "accuracy" in metrics:
        said.append(f"accuracy {metrics['accuracy']:.2%}")
    if "log_prob" in metrics:
        sign = {"lower bound": "≥ ", "estimate": "≈ "}.get(metrics["density"].partition(",")[0], "")
        said.append(f"log p(x) {sign}{metrics['log_prob']:.2f} nats")
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


@command
def main() -> None:
    options = parse_values(sys.argv[1:], DEFAULTS, {}, __doc__ or "")
    from zoo.files import write_text

    wanted = pages()
    there = {path: path.read_text("utf-8") for path in DOCS.rglob("*.md") if MADE in path.read_text("utf-8")}
    if options["check"]:
        wrong = sorted(
            str(path.relative_to(REPOSITORY)) for path in {*wanted, *there} if wanted.get(path) != there.get(path)
        )
        if wrong:
            raise ConfigError(f"{', '.join(wrong)}: not what they should be; python scripts/make_docs.py writes them")
        return
    for path in there.keys() - wanted.keys():
        path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(exist_ok=True)
        write_text(path, text)


if __name__ == "__main__":
    main()
