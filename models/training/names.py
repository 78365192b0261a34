"""What a thing is called in a caption: a synonym or its category, with the article or the measure word that it takes."""

import re

from places import Rng
from words import CATEGORY, THING

FLAT = re.compile(r" ([,.:!])")  # English punctuation that joins the word before it

# the last words of names, one word or two: plural already; without plural; of these, the ones without an article
_PAIRS = frozenset((
    "chopsticks", "fries", "chips", "glasses", "headphones", "scales", "scissors", "spectacles", "sunglasses", "swords", "jeans",
    "trousers", "pants", "shorts", "skis", "underpants", "briefs", "hands", "crossbones", "fireworks", "biceps",
))  # fmt: skip
_MASS = frozenset((
    "champagne", "whiskey", "whisky", "applause", "dna", "badminton", "ping pong", "table tennis", "ice hockey", "infinity", "food",
    "milk", "wine", "rice", "honey", "garlic", "bacon", "popcorn", "broccoli", "salt", "butter", "ginger", "spaghetti", "pasta",
    "meat", "ice", "bamboo", "lavender", "luggage", "toilet paper", "mahjong", "golf", "sheet music", "recycling", "lightning",
    "dynamite", "bread", "bowling", "juice", "sushi", "corn", "curry", "mind blown", "to eat", "to wear", "someone", "equipment",
    "sports gear", "of joy",
))  # fmt: skip
_UNCOUNTED = _MASS | {
    "fish", "cheese", "coffee", "tea", "beer", "lettuce", "chocolate", "soda", "wind", "thumbs up", "thumbs down", "yin yang", "rugby",
    "fire", "sheep", "deer", "squid", "shrimp", "moose", "elk", "bison",
}  # fmt: skip
_IRREGULAR = {
    "mouse": "mice", "loaf": "loaves", "leaf": "leaves", "wolf": "wolves", "knife": "knives", "goose": "geese", "tooth": "teeth",
    "die": "dice", "man": "men", "woman": "women", "policeman": "policemen", "fireman": "firemen", "spaceman": "spacemen",
    "businessman": "businessmen", "foot": "feet", "elf": "elves", "person": "people", "businessperson": "businesspeople",
}  # fmt: skip
_AFTER = (" of ", " with ", " behind ", " on ", " in ", " blowing ")


def _ends(words: list[str], ends: frozenset[str]) -> bool:
    return words[-1] in ends or " ".join(words[-2:]) in ends


def choose(rng: Rng, options, usual: float = 0.6) -> str:
    """The first option with the probability `usual`, else any of the others."""
    return options[0] if len(options) == 1 or rng.random() < usual else options[rng.integers(1, len(options))]


def english_article(words: list[str]) -> list[str]:
    """["a"], ["an"] or, before what has none, []."""
    is_part = "of" in words[:-1] or "with" in words
    if _ends(words, _PAIRS | _MASS) and not is_part or words[-2:] == ["of", "joy"]:
        return []
    first = words[0]
    if first in ("suv", "x", "8-bit", "8"):
        return ["an"]
    has_vowel = first[0] in "aeiou" and not first.startswith(("uni", "ufo", "uk", "euro", "one"))
    return ["an" if has_vowel or first == "hourglass" else "a"]


def plural(name: str) -> str:
    if name.startswith("statue of") or name in _UNCOUNTED:
        return name
    for link in _AFTER:
        head, found, tail = name.partition(link)
        if found:
            return plural(head) + found + tail
    if _ends(name.split(), _PAIRS | _UNCOUNTED):
        return name
    before, _, last = name.rpartition(" ")
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith("y") and last[-2] not in "aeiou":
        last = last[:-1] + "ies"
    elif not last.endswith("s") or last.endswith(("ss", "us", "ns")):
        last += "es" if last.endswith(("s", "sh", "ch", "x")) else "s"
    return f"{before} {last}".strip()


def english_thing(thing: str, rng: Rng, by_category: bool) -> str:
    return choose(rng, CATEGORY[THING[thing].category].en if by_category else THING[thing].en, 0.65)


def chinese_thing(thing: str, rng: Rng, by_category: bool, is_one: bool = True) -> tuple[str, str]:
    """(name, measure word)."""
    row = THING[thing]
    if by_category:
        category = CATEGORY[row.category]
        return choose(rng, category.zh, 0.65), "种" if is_one and rng.random() < 0.3 else category.measure
    return choose(rng, row.zh, 0.65), row.measure
