"""Options that several commands have in common: which examples they are about."""

from __future__ import annotations

from zoo.command import CKPT, ROOT
from zoo.data import sources
from zoo.schema import Option

DATA = Option(None, "a source, as train.py --help lists them; what it was trained on if left out", sources.every())
PATH = Option(None, "the folder or file of a source that has one, if it has moved")
SPLIT = Option("test", "of the training run; another data= has no val", ["test", "val", "train"])
INVERT = Option(
    None, "of pictures that are named: as the training pictures were treated if left out", ["auto", "always", "never"]
)
EXAMPLES = {"ckpt": CKPT, "data": DATA, "path": PATH, "root": ROOT, "split": SPLIT}  # see zoo.tasks.examples
SEEDS = "[0, 9223372036854775807]"  # that torch's generators take
