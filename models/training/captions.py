"""Scene → caption, from one grammar in English and Chinese; and the list of words for the tokenizer.

`caption` returns the words as a list: the tokenizer's vocabulary is learned from these words, so that a Chinese word
inside an unbroken run of characters becomes one token.
"""

from places import Rng
from scenes import Scene
from words import COLOUR, COUNTS, HAND, MANNER, PLACE, POSITION, RELATION, SIZE, THING

CHINESE_SHARE = 0.4
TYPO_SHARE = 0.02


def _choose(rng: Rng, options: list[str], usual: float = 0.6) -> str:
    return options[0] if len(options) == 1 or rng.random() < usual else options[rng.integers(1, len(options))]


_PAIRS = ("chopsticks", "fries", "glasses", "headphones", "scales", "scissors", "spectacles", "sunglasses", "swords")
_IRREGULAR = {"mouse": "mice", "loaf": "loaves", "leaf": "leaves", "wolf": "wolves", "knife": "knives", "goose": "geese", "tooth": "teeth",
              "die": "dice", "sheep": "sheep", "deer": "deer", "squid": "squid", "shrimp": "shrimp"}  # fmt: skip
_UNCOUNTED = ("fish", "bread", "cheese", "coffee", "tea", "rice", "milk", "wine", "beer", "popcorn", "bacon", "broccoli",
              "garlic", "lettuce", "sushi", "spaghetti", "pasta", "corn", "lightning", "curry", "honey", "chocolate")  # fmt: skip


def _article(words: list[str]) -> list[str]:
    if words[-1] in _PAIRS:
        return []
    first = words[0]
    return ["an" if first[0] in "aeiou" and not first.startswith(("uni", "ufo", "uk")) else "a"]


def plural(name: str) -> str:
    head, of, tail = name.partition(" of ")
    if of and head != "statue":
        return plural(head) + of + tail
    before, _, last = name.rpartition(" ")
    if name.endswith(_PAIRS + _UNCOUNTED):
        return name
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith("y") and last[-2] not in "aeiou":
        last = last[:-1] + "ies"
    else:
        last += "es" if last.endswith(("s", "sh", "ch", "x")) else "s"
    return f"{before} {last}".strip()


def english(scene: Scene, rng: Rng) -> list[str]:
    noun = []
    if scene.size:
        noun += _choose(rng, SIZE[scene.size].en).split()
    if scene.colour:
        noun += _choose(rng, COLOUR[scene.colour].en, 0.8).split()
    if scene.hand:
        noun += HAND[scene.hand].en
    name = _choose(rng, THING[scene.thing].en, 0.7)
    if scene.count > 1:
        noun = [COUNTS[scene.count][0], *noun, *plural(name).split()]
    else:
        noun += name.split()
        if scene.island:
            noun = noun + ["island"] if rng.random() < 0.8 else noun + ["on", "an", "island"]
        if rng.random() < 0.8:
            noun = [*_article(noun), *noun]
    if scene.second:
        other = _choose(rng, THING[scene.second].en, 0.7).split()
        link = _choose(rng, RELATION[scene.relation].en).split() if scene.relation else ["and"]
        noun += [*link, *_article(other), *other]
    if scene.position:
        noun += POSITION[scene.position].en[0].split()
    where = []
    if scene.place:
        where = _choose(rng, PLACE[scene.place].en).split()
    elif scene.sheet:
        where = ["on", *_article([scene.sheet]), scene.sheet, "background"]
    elif scene.island and rng.random() < 0.4:
        where = ["in", "the", "sea"]
    sentence = noun + where
    if scene.manner:
        manner = _choose(rng, MANNER[scene.manner].en).split()
        form = rng.random()
        if form < 0.5:
            sentence += [",", *manner]
        elif form < 0.7:
            sentence += ["in", *manner, "style"]
        else:
            whole = manner[-1] in ("watercolor", "watercolour", "painting", "drawing", "sketch", "cut-out", "window")
            sentence = ([*_article(manner), *manner, *([] if whole else ["picture"]), "of", *sentence]
                        if form < 0.9 else [*manner, *sentence])  # fmt: skip
    elif rng.random() < 0.08:
        sentence = [*rng.choice(["a picture of", "a painting of", "an image of"]).split(), *sentence]
    elif where and rng.random() < 0.1:
        sentence = [*where, ",", *noun]
    return sentence


def _related(scene: Scene, noun: list[str], rng: Rng) -> list[str]:
    """A Chinese noun phrase with the second thing."""
    measure, name = THING[scene.second].measure, _choose(rng, THING[scene.second].zh, 0.7)
    other = ["一", measure, name] if rng.random() < 0.3 else [name]
    if scene.relation is None:
        return [*noun, _choose(rng, ["和", "与"], 0.8), *other]
    link = _choose(rng, RELATION[scene.relation].zh)
    if scene.relation == "wearing":
        return [link, *other, "的", *noun]
    return [*other, link, "的", *noun]


def chinese(scene: Scene, rng: Rng) -> list[str]:
    thing = THING[scene.thing]
    adjectives = []
    if scene.size:
        adjectives.append(_choose(rng, SIZE[scene.size].zh))
    if scene.colour:
        colour = _choose(rng, COLOUR[scene.colour].zh, 0.8)
        adjectives += [colour, "的"] if colour.endswith("色") or rng.random() < 0.5 else [colour]
    adjectives += HAND[scene.hand].zh if scene.hand else []
    name = _choose(rng, thing.zh, 0.7)
    noun = [*adjectives, name]
    if scene.count > 1:
        noun = [COUNTS[scene.count][1], thing.measure, *noun]
    elif scene.island:
        noun += ["小岛"] if rng.random() < 0.7 else ["岛"]
    elif rng.random() < 0.35:
        noun = ["一", thing.measure, *noun]
    if scene.second:
        noun = _related(scene, noun, rng)
    if scene.position:
        noun = [POSITION[scene.position].zh[0], "的", *noun]
    where = []
    if scene.place:
        where = _choose(rng, PLACE[scene.place].zh).split()
    elif scene.sheet:
        where = [_choose(rng, COLOUR[scene.sheet].zh[:1]), "背景", "上"]
    elif scene.island and rng.random() < 0.4:
        where = ["海", "上"]
    form = rng.random()
    if not where:
        sentence = noun
    elif form < 0.65:
        sentence = [*where, "的", *noun]
    elif form < 0.8:
        sentence = [*noun, "在", *where]
    elif form < 0.9:
        sentence = [*where, "有", *noun]
    else:
        sentence = [*where, "，", *noun]
    if scene.manner:
        manner = _choose(rng, MANNER[scene.manner].zh)
        form = rng.random()
        if form < 0.45:
            sentence += ["，", manner]
        elif form < 0.65:
            sentence += ["，", manner, "风格"]
        elif form < 0.85:
            sentence = [manner, "：", *sentence]
        else:
            sentence = ["一", "幅", *sentence, "的", manner]
    elif rng.random() < 0.05:
        sentence = ["一", "幅", "画", "：", *sentence]
    return sentence


def join(words: list[str], is_chinese: bool) -> str:
    return "".join(words) if is_chinese else " ".join(words).replace(" ,", ",")


def _misspell(text: str, rng: Rng) -> str:
    """One letter dropped or two swapped, inside a word."""
    at = [i for i in range(1, len(text) - 2) if text[i - 1 : i + 2].isalpha()]
    if not at:
        return text
    i = int(rng.choice(at))
    return text[:i] + text[i + 1 :] if rng.random() < 0.5 else text[:i] + text[i + 1] + text[i] + text[i + 2 :]


def caption(scene: Scene, rng: Rng, language: str | None = None) -> tuple[list[str], str]:
    """(words, text) in `language` ("en" or "zh"; at random if none is given)."""
    is_chinese = rng.random() < CHINESE_SHARE if language is None else language == "zh"
    words = chinese(scene, rng) if is_chinese else english(scene, rng)
    text = join(words, is_chinese)
    if language is None and not is_chinese and rng.random() < TYPO_SHARE:
        text = _misspell(text, rng)
    return words, text


def unseen_wording(scene: Scene, rng: Rng, language: str) -> tuple[list[str], str]:
    """As `caption`, around the same words, in sentences that training never wrote."""
    words, _ = caption(scene, rng, language)
    frames = {
        "en": [["please", "draw"], ["i", "would", "like", "to", "see"], ["show", "me"], ["there", "is"]],
        "zh": [["请", "画"], ["我", "想", "看"], ["给", "我", "看看"], ["帮", "我", "画"]],
    }[language]
    words = [*frames[rng.integers(len(frames))], *words]
    return words, join(words, language == "zh")
