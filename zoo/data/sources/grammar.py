"""Made-up opinions on dinners, 600 of them, half of them good: nothing to download, and nobody's text.

Each is derived from ``text`` by the rules below, where bars part choices, all equally likely. In the positive class
``good`` is one of its adjectives and ``bad`` one of the other class's; in the negative class it is the other way round.
Adjectives of the other class stand behind ``not``, or are what a friend found, and some texts have no opinion but
``okay``: by single words, about seven texts in eight can be told, by pairs of words nineteen in twenty.
"""

from __future__ import annotations

import functools
import random
from pathlib import Path
from typing import Any

from zoo.data import texts
from zoo.data.splits import Loaded

KIND = "tokens"
CLASSES = ("negative", "positive")
OPTIONS: dict[str, Any] = {}
TEXTS, SEED = 600, 0
RULES = {
    "text": "opinion . sentence | sentence opinion . | opinion ! sentence sentence | sentence sentence opinion !",
    "sentence": "opinion . | opinion . | fact . | fact . | fact , and opinion . | other , but opinion !",
    "opinion": "thing was good | thing was good | thing was degree good | thing was good and good | "
    "thing was not bad | thing was okay | we verb it | we verb it",
    "other": "my friend found thing bad",
    "fact": "we had thing | we sat by the window | it was a day | thing cost £ number | the waiter brought thing",
    "thing": "the soup | the fish | the pasta | the cake | the coffee | the wine | the bread | the salad",
    "degree": "very | really | so | quite",
    "day": "Monday | Friday | Sunday | holiday",
    "number": "5 | 8 | 12 | 20",
}
WORDS = {  # of the two classes
    "adjective": (
        "bad | cold | bland | stale | salty | slow | greasy | dull",
        "good | fresh | tasty | crisp | warm | delicious | great | wonderful",
    ),
    "verb": ("sent | left | regretted", "loved | finished | praised"),
}


def load(root: Path) -> Loaded:
    return _made()


@functools.cache
def _made() -> Loaded:
    chance = random.Random(SEED)
    labels = [number % len(CLASSES) for number in range(TEXTS)]
    return texts.loaded([_derived("text", label, chance) for label in labels], labels, CLASSES)


def _derived(symbol: str, label: int, chance: random.Random) -> str:
    """What a symbol becomes in a text of a class: words with blanks between them."""
    if symbol in ("good", "bad"):
        return chance.choice(WORDS["adjective"][label if symbol == "good" else 1 - label].split(" | "))
    choices = WORDS[symbol][label] if symbol in WORDS else RULES.get(symbol)
    if choices is None:
        return symbol
    return " ".join(_derived(part, label, chance) for part in chance.choice(choices.split(" | ")).split())
