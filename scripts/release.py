"""Release what a run has trained: a folder of weights with a card that says what they reach, measured again.

python scripts/release.py run=<its run directory> [key=value …]

  run     the directory of a run that has ended
  to      the folder to make; pretrained/<model>-<data> if left out
  half    true: weights in half precision, half as large; the card says what they
          reach then (false)
  recipe  the words that train the same, where the run's own command does not, as
          that of a run that was ended and went on: "model=cnn data=mnist"
  root    where data lies; ZOO_DATA, else data/, if left out
"""

from __future__ import annotations

import sys
from typing import Any

from zoo.command import command, parse_values

DEFAULTS: dict[str, Any] = {"run": ..., "to": None, "half": False, "recipe": None, "root": None}


@command
def main() -> None:
    options = parse_values(sys.argv[1:], DEFAULTS, {}, __doc__ or "", "the run directory is given as run")
    from zoo.run.cards import make_card, release
    from zoo.terminal import printable

    folder = release(options["run"], options["to"], options["half"], options["recipe"])
    make_card(folder, options["root"])
    print(f"{printable(folder)}\n\n{printable((folder / 'README.md').read_text('utf-8'), keep=chr(10))}")


if __name__ == "__main__":
    main()
