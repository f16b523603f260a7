"""Which class each picture or recording belongs to, or each row of a table, or each text.

python scripts/predict.py ckpt=<file or run directory> <files or folders>
    [key=value …]
python scripts/predict.py ckpt=<file or run directory> text="…" [key=value …]

{options}
"""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING

from zoo.command import CKPT, command, parse
from zoo.commands._options import INVERT
from zoo.errors import ConfigError
from zoo.schema import Option

if TYPE_CHECKING:
    from zoo.tasks.predict import Answers

OPTIONS: dict[str, Option] = {
    "ckpt": CKPT,
    "text": Option(
        None,
        "a text itself; files of texts have one a line, or each, as the training data had them, or are tables with a "
        "column of them",
    ),
    "top": Option(3, "how many classes to name for each picture", "[1, inf)"),
    "invert": INVERT,
    "csv": Option(
        None,
        "a file to write every picture, row or text to, with its class and the probability of each class, and of texts"
        " the share of words, or characters, that are known; - prints it in place of the table",
        "file",
    ),
    "explain": Option(
        False,
        "true: of a row of a table, or a text, why: a score card, which tells what each column, or word, adds to the "
        "log odds of the class",
    ),
    "row": Option(1, "which row or text that is, counted from 1 on over all files", "[1, inf)"),
    "json": Option(None, "a file to write the answers to; - prints JSON in place of the table", "file"),
}

SHOWN = 20  # rows of a table, or texts
LONGEST = 36  # characters of a text that are shown


@command
def main() -> None:
    options, files = parse(sys.argv[1:], OPTIONS, __doc__ or "")
    if not files and options["text"] is None:
        raise ConfigError("no file was named; see --help")
    if files and options["text"] is not None:
        raise ConfigError(f"text=… and {files[0]}: name files, or give one text")
    if options["csv"] == options["json"] == "-":
        raise ConfigError("csv=- and json=- both print: give one of them a file's name")
    if options["row"] != 1 and not options["explain"]:
        raise ConfigError(f"row={options['row']} is for explain=true")
    from rich.table import Column, Table

    from zoo import capability, registry
    from zoo.data import kinds
    from zoo.files import json_text, user_path, write_text
    from zoo.tasks.predict import answers, predict
    from zoo.terminal import console, printable

    def put(key: str, text: str) -> None:
        """Print what ``key=-`` asks for, or write it to the file that is named."""
        if options[key] == "-":
            print(text, end="")
        else:
            write_text(user_path(options[key]), text)

    model = registry.load(options["ckpt"])
    kind = kinds.find(model.spec.kind)
    noun = kind.NOUN
    if options["text"] is not None:
        model.spec.check_kind("tokens", "text=… is a text")
    if options["explain"]:
        if model.spec.kind != "tokens":
            model.spec.check_kind("table", "explain=true has a line a column")
        capability.require(model, "explain")
    settings = {"invert": options["invert"]} if options["invert"] else {}
    paths = kind.find_files(files)
    print(kinds.left_out(files, paths), end="", file=sys.stderr)
    number, card = options["row"] - 1, {}
    if options["text"] is None and not options["explain"]:
        answered = predict(model, paths, **settings)
    else:
        if options["text"] is None:
            names, examples = kind.read(paths, model.spec, **settings)
        else:
            names, examples = [""], kind.encode(kind.convert([options["text"]], model.spec))
            if not bool((examples >= 0).any()):
                raise ConfigError(f"text={options['text']!r} has no word: a text is words, numbers or signs")
        if number >= len(names):
            raise ConfigError(f"row={options['row']}: there are {len(names):,} {noun}s")
        answered = answers(model, names, examples)
    if options["explain"]:
        from zoo.tasks.score_card import describe, score_card

        card = score_card(model, examples[number : number + 1])
    if options["csv"]:
        put("csv", answered.csv_text())
    if options["json"]:
        ranked = answered.ranked(options["top"])
        if card:
            ranked[number]["explanation"] = card
        put("json", json_text(ranked))
    if "-" in (options["csv"], options["json"]):
        return
    if card:
        name = f"{noun} {number + 1}, {printable(names[number])}" if names[number] else _beginning(answered, 0)
        console().print(name, soft_wrap=True)
        heads = ("word", "times") if answered.texts else ("column", "value")
        table = Table(*heads, Column("points", justify="right"))
        for row in describe(card):
            table.add_row(*map(printable, row))
        console().print(table)
        return
    numbered = noun in ("row", "text") and any(answered.names)  # explain=true row=… counts alike
    shown = answered.ranked(options["top"], SHOWN if numbered else None)
    then = ["then"] if options["top"] > 1 else []
    table = Table(*([noun] if numbered else []), "it begins with" if answered.texts else "example", "class", *then)
    for place, answer in enumerate(shown):
        words = [f"{printable(entry['name'])} {entry['probability']:.1%}" for entry in answer["classes"]]
        example = _beginning(answered, place) if answered.texts else printable(answer["file"])
        table.add_row(
            *([str(place + 1)] if numbered else []), example, words[0], *([", ".join(words[1:])] if then else [])
        )
    console().print(table)
    if len(shown) < len(answered.names):
        console().print(f"… of {len(answered.names):,} {noun}s; csv=… writes them all")


def _beginning(answered: Answers, place: int) -> str:
    """Of a text, as the model sees it; or that there is nothing that it knows."""
    from zoo.terminal import printable

    assert answered.known is not None
    if not float(answered.known[place]) > 0:
        part = "character" if answered.spec.values == "tokens" else "word"
        return f"(no {part} of it is known)" if answered.texts[place] else f"(there is no {part} in it)"
    return printable(textwrap.shorten(answered.texts[place], LONGEST, placeholder=" …"))


if __name__ == "__main__":
    main()
