"""Which learning rate suits a training: the loss while the rate rises, and where it falls the fastest.

python scripts/rate.py [key=value …] <words of train.py>

{options}

All other words are those of a training, see python train.py --help. It is
trained for as many steps, and nothing of it is kept. Where the loss falls the
fastest, a rate that stays is about right; the highest one of a schedule that
rises and falls may be some times as large.
"""

from __future__ import annotations

import sys

from zoo import config as configuration
from zoo.command import command, parse
from zoo.errors import ConfigError
from zoo.files import CONFIGS, output_file
from zoo.schema import Option
from zoo.terminal import as_typed

OPTIONS: dict[str, Option] = {
    "low": Option(1e-5, "the first rate", "(0, inf)"),
    "high": Option(1.0, "the last rate", "(0, inf)"),
    "steps": Option(100, "of the optimiser, from one to the other", "[10, 100000]"),
    "out": Option(None, "a picture of it, or the folder that rates.png is put into; none if left out"),
}
ROWS = 12  # of the table


@command
def main() -> None:
    own = [word for word in sys.argv[1:] if word.startswith("-") or word.partition("=")[0] in OPTIONS]
    options, _ = parse(own, OPTIONS, __doc__ or "")
    words = configuration.typed(word for word in sys.argv[1:] if word not in own)
    if any(word.startswith("resume=") for word in words):
        raise ConfigError("a rate is looked for in a training that begins: without resume=…")
    out = output_file(options["out"], "rates.png") if options["out"] else None
    for note in configuration.check_words(words, CONFIGS):
        print(as_typed(note), file=sys.stderr)
    settings = configuration.settings(words, CONFIGS)
    from rich.table import Column, Table

    from zoo.files import write_bytes
    from zoo.inspect.figures import rendered
    from zoo.inspect.grids import png
    from zoo.run import rates
    from zoo.terminal import busy, console, printable

    with busy(console(), f"training {settings['model']['name']} for {options['steps']} steps"):
        found = rates.tried(settings, options["low"], options["high"], options["steps"])
    table = Table(Column("rate", justify="right"), Column("loss", justify="right"))
    shown = sorted({round(place * (len(found.rates) - 1) / (ROWS - 1)) for place in range(ROWS)})
    for place in shown:
        table.add_row(f"{found.rates[place]:.2g}", f"{found.losses[place]:.4f}")
    console().print(table)
    if found.ended:
        console().print(f"beyond {found.rates[-1]:.2g} the loss rises")
    console().print(f"it falls the fastest at learner.optimizer.lr={found.steepest:.2g}")
    if out is not None:
        write_bytes(out, png(rendered(rates.figure(found))))
        print(printable(out))


if __name__ == "__main__":
    main()
