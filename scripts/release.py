"""Release what a run has trained: a folder of weights with a card that says what they reach, measured again.

python scripts/release.py run=<its run directory> [key=value …]

{options}
"""

from __future__ import annotations

import sys

from zoo.command import ROOT, command, parse_values
from zoo.schema import Option

OPTIONS = {
    "run": Option(..., "the directory of a run that has ended"),
    "to": Option(None, "the folder to make; pretrained/<model>-<data> if left out"),
    "half": Option(False, "weights in half precision, half as large; the card says what they reach then"),
    "recipe": Option(
        None,
        "the words that train the same, where the run's own command does not, as that of a run that was ended and "
        'went on: "model=cnn data=mnist"',
    ),
    "busy": Option(False, "true: the machine did other work besides, which makes seconds longer; the card says so"),
    "root": ROOT,
}


@command
def main() -> None:
    options = parse_values(sys.argv[1:], OPTIONS, __doc__ or "", "the run directory is given as run")
    from zoo.run.cards import make_card, release
    from zoo.terminal import printable

    folder = release(options["run"], options["to"], options["half"], options["recipe"], not options["busy"])
    make_card(folder, options["root"])
    print(f"{printable(folder)}\n\n{printable((folder / 'README.md').read_text('utf-8'), keep=chr(10))}")


if __name__ == "__main__":
    main()
