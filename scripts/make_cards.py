"""Measure released models again, and write their cards anew.

python scripts/make_cards.py [name …] [key=value …]

{options}
"""

from __future__ import annotations

import sys

from zoo.command import ROOT, command, parse
from zoo.schema import Option

OPTIONS = {
    "again": Option(True, "false: write the cards alone, of the figures that were measured before"),
    "root": ROOT,
}


@command
def main() -> None:
    options, names = parse(sys.argv[1:], OPTIONS, __doc__ or "")
    from zoo import checkpoint
    from zoo.files import PRETRAINED, released
    from zoo.run.cards import make_card
    from zoo.terminal import printable

    for name in names or released():
        folder = PRETRAINED / name
        if names or "machine" in checkpoint.released_config(folder).get("training", {}):
            make_card(folder, options["root"], options["again"])
            print(printable(folder))


if __name__ == "__main__":
    main()
