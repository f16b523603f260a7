"""Give damaged, endless and hostile files to every reader of the zoo: each loads right, or is refused in a sentence.

python scripts/fuzz.py [n=10000] [seed=0] [key=value …]

{options}

A file may take 2 s and 500 MiB. The exit status is 1 where one fails.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from zoo.command import command, parse_values
from zoo.schema import Option

OPTIONS = {
    "what": Option(
        "all",
        "mutations: files changed at random; bombs: small files that ask for time or memory without end; hostile: "
        "files that would run code, or have others opened",
        ["all", "mutations", "bombs", "hostile"],
    ),
    "n": Option(1000, "how many files are changed", "[1, inf)"),
    "seed": Option(0, "of the changes", "[0, inf)"),
    "only": Option(-1, "the number of one change, to repeat it; -1 for all", "-1 or [0, inf)"),
    "keep": Option("fuzzed", "a folder for the files that fail; none is made if none does"),
}


@command
def main() -> None:
    options = parse_values(sys.argv[1:], OPTIONS, __doc__ or "", "a value is given as n")
    from rich.table import Table

    from zoo import terminal
    from zoo.files import user_path
    from zoo.fuzz.bombs import bombs
    from zoo.fuzz.hostile import hostile
    from zoo.fuzz.readers import readers
    from zoo.fuzz.trial import Outcome, each_apart, mutations

    keep, outcomes = user_path(options["keep"]), list[Outcome]()
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        known = readers(work)
        for what, tried in (
            ("bombs", lambda: each_apart(bombs(known), work, keep, must=False)),
            ("hostile", lambda: each_apart(hostile(known), work, keep, must=True)),
            ("mutations", lambda: mutations(known, options["n"], options["seed"], work, keep,
                                            None if options["only"] < 0 else options["only"])),
        ):  # fmt: skip
            if options["what"] in ("all", what):
                found = list(tried())
                outcomes += found
                table = Table(what, "files", "accepted", "refused", "failures", "slowest, s", "most, MiB")
                for reader in [*dict.fromkeys(outcome.reader for outcome in found), None]:
                    own = [outcome for outcome in found if reader in (None, outcome.reader)]
                    counts = [sum(outcome.refused is kind for outcome in own) for kind in (False, True, None)]
                    slowest, most = max(one.seconds for one in own), max(one.mib for one in own)
                    table.add_row(reader or "all", *map(str, [len(own), *counts]), f"{slowest:.2f}", f"{most:.0f}")
                terminal.console().print(table)
    failures = [outcome for outcome in outcomes if outcome.refused is None]
    for outcome in failures:
        again = f"; to repeat it: what=mutations seed={options['seed']} only={outcome.name}"
        is_number = outcome.name.isdigit()
        said = f"{outcome.reader if is_number else outcome.name}: {outcome.why}{again if is_number else ''}"
        print(terminal.printable(said))
    if failures:
        print(f"{len(failures)} of {len(outcomes)} files failed; they are in {keep}")
        sys.exit(1)


if __name__ == "__main__":
    main()
