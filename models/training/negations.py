"""Words to leave out, at the end of a caption: " without Z".

Half of them cancel: the caption names something that the picture does not have, and the negation takes it back. The others
are idle: Z is nowhere in the picture, or says something that no picture here has ("blurry"). The studio appends its field of
words to leave out as " without Z" in both languages, so that form is the usual one in Chinese too.
"""

from dataclasses import dataclass, field, replace

from names import choose, plural
from places import Rng
from scenes import Scene
from words import CATEGORIES, CATEGORY, COLOURS, MANNERS, PLACE, PLACES, SHOWN, THING, THINGS

_ENGLISH_JUNK = (
    "blurry", "text", "watermark", "low quality", "bad anatomy", "ugly", "noise", "worst quality", "signature", "deformed", "frame",
    "logo", "words", "jpeg artifacts", "bad quality", "people",
)  # fmt: skip
_CHINESE_JUNK = ("模糊", "水印", "文字", "低质量", "丑陋", "变形", "签名", "噪点", "边框", "畸形")


@dataclass(frozen=True)
class Negation:
    words: list[str] = field(default_factory=list)  # the end of the caption
    said: Scene | None = None  # what the main part says, if that is not the picture
    by_category: bool = False  # the main part names the thing by its category


def _categories(thing: str) -> set[str]:
    """The category of a thing, and the one above if there is one."""
    category = THING[thing].category
    return {category, CATEGORY[category].above} - {""}


def _kin() -> dict[str, frozenset[str]]:
    """Thing → the things with a name that ends alike ("cat", "black cat"), of which denying one may deny the other."""
    ends: dict[str, set[str]] = {}
    for thing in THINGS:
        for end in {name.split()[-1] for name in thing.en} | {name[-1] for name in thing.zh}:
            ends.setdefault(end, set()).add(thing.id)
    return {t.id: frozenset().union(*(group for group in ends.values() if t.id in group)) for t in THINGS}


_KIN = _kin()
_MEMBERS = {c.id: [t.id for t in THINGS if t.category == c.id] for c in CATEGORIES}
_LIVING = {"animal", "bird", "seaanimal", "insect", "person", "creature", "face"}
_WORN = frozenset(("body", "face", "hand", "clothing", "tool"))


def _parts(scene: Scene) -> frozenset[str]:
    """Ids of what the picture shows along with its things: things, categories, places."""
    parts = SHOWN[scene.place] if scene.place else frozenset()
    if scene.island:
        parts |= SHOWN["sea"] | {"sea", "meadow"}
    is_living = any(THING[thing].category in _LIVING for thing in (scene.thing, scene.second) if thing)
    return parts | _WORN if is_living else parts


def _seen(scene: Scene) -> set[str]:
    """Ids of all that the picture of a scene shows, and of the kin of its things."""
    things = [thing for thing in (scene.thing, scene.second) if thing]
    return {scene.place, "sky", "object", "nature"}.union(_parts(scene), *(_KIN[t] | _categories(t) for t in things))


def _thing_name(thing: str, is_chinese: bool, rng: Rng) -> str:
    return choose(rng, THING[thing].zh if is_chinese else THING[thing].en, 0.7)


def _place_name(place: str, is_chinese: bool, rng: Rng) -> str:
    if is_chinese:
        return choose(rng, PLACE[place].zh).split()[0]
    name = choose(rng, PLACE[place].names)
    return name.removeprefix("a ").removeprefix("an ").removeprefix("the ")


def _word_name(word, is_chinese: bool, rng: Rng) -> str:
    return choose(rng, word.zh if is_chinese else word.en)


def _idle(scene: Scene, is_chinese: bool, rng: Rng) -> str:
    """A word for something that the picture does not have."""
    kind, seen, parts = rng.random(), _seen(scene), _parts(scene)
    while True:
        if kind < 0.35:
            junk = _CHINESE_JUNK if is_chinese else _ENGLISH_JUNK[: -1 if seen & {"person", "face"} else None]
            return junk[rng.integers(len(junk))]
        if kind < 0.7:
            thing = THINGS[rng.integers(len(THINGS))].id
            if thing not in seen and not _categories(thing) & parts:
                name = _thing_name(thing, is_chinese, rng)
                return plural(name) if not is_chinese and rng.random() < 0.3 else name
        elif kind < 0.8:
            category = CATEGORIES[rng.integers(len(CATEGORIES))]
            if category.id not in seen:
                name = (category.zh if is_chinese else category.en)[0]
                return plural(name) if not is_chinese and rng.random() < 0.5 else name
        elif kind < 0.9:
            place = PLACES[rng.integers(len(PLACES))].id
            if place not in seen and scene.place not in SHOWN[place]:
                return _place_name(place, is_chinese, rng)
        elif kind < 0.96 or scene.colour is None:
            manner = MANNERS[rng.integers(len(MANNERS))]
            if manner.id != scene.manner:
                return _word_name(manner, is_chinese, rng)
        else:
            colour = COLOURS[rng.integers(len(COLOURS))]
            if colour.id not in (scene.colour, scene.sheet):
                return _word_name(colour, is_chinese, rng)


def _other_thing(scene: Scene, rng: Rng, category: str | None = None) -> str | None:
    """A thing (of a category) that is not in the picture, nor among what its place shows; None if none is found soon."""
    seen, things = _seen(scene), _MEMBERS[category] if category else list(THING)
    return next((t for t in (things[rng.integers(len(things))] for _ in range(8)) if t not in seen), None)


def _ways(scene: Scene, said: Scene) -> list[str]:
    """What could be named and taken back."""
    if scene.thing is None:
        return [] if scene.island else ["thing"]
    is_alone = scene.count == 1 and not (scene.second or scene.position)
    return [
        *(["second"] * 3 if is_alone and not scene.island else []),
        *(["place"] * 3 if not (said.place or scene.island) else []),
        *(["manner"] * 2 if scene.manner is None else []),
        *(["colour"] if scene.colour is None else []),
        *(["island"] if is_alone and not scene.island and not scene.size else []),
        *(["category"] * 2 if scene.colour is None else []),
    ]


def _cancel(scene: Scene, said: Scene, is_chinese: bool, rng: Rng) -> tuple[Scene, str, bool] | None:
    """(what the main part says, the word that takes it back, whether the thing is named by its category)."""
    ways = _ways(scene, said)
    way = ways[rng.integers(len(ways))] if ways else None
    if way in ("second", "thing") and (other := _other_thing(scene, rng)):
        said = replace(said, second=other) if way == "second" else replace(said, thing=other)
        return said, _thing_name(other, is_chinese, rng), False
    if way == "place":
        place = PLACES[rng.integers(len(PLACES))].id
        if place != scene.place and place not in _seen(scene):
            return replace(said, place=place, sheet=None), _place_name(place, is_chinese, rng), False
    if way == "manner":
        manner = MANNERS[rng.integers(len(MANNERS))]
        return replace(said, manner=manner.id), _word_name(manner, is_chinese, rng), False
    if way == "colour":
        colour = COLOURS[rng.integers(len(COLOURS))]
        if colour.id != scene.sheet:
            return replace(said, colour=colour.id), _word_name(colour, is_chinese, rng), False
    if way == "island":
        name = choose(rng, ["岛", "小岛"] if is_chinese else ["island", "small island"])
        return replace(said, island=True, place=None, sheet=None), name, False
    if way == "category" and (other := _other_thing(scene, rng, THING[scene.thing].category)):
        return said, _thing_name(other, is_chinese, rng), True
    return None


def draw_negation(scene: Scene, said: Scene, is_chinese: bool, rng: Rng) -> Negation:
    """A negation for a caption that says `said` of the picture of `scene`."""
    cancelled = _cancel(scene, said, is_chinese, rng) if rng.random() < 0.55 else None
    names = [cancelled[1]] if cancelled else []
    wanted = 1 + int(rng.random() < 0.36) + int(rng.random() < 0.25)
    while len(names) < wanted:
        names.append(_idle(scene, is_chinese, rng))
    names = [names[i] for i in rng.permutation(len(names))]
    form = rng.random()
    if not is_chinese:
        lead, comma = (["without"] if form < 0.9 else [",", "no"]), ","
    elif form < 0.6:
        lead, comma = [" without "], (", ", "，", "、")[rng.integers(3)]
    else:
        lead, comma = ["，", ("没有", "不要")[rng.integers(2)]], ("，", "、")[rng.integers(2)]
    words = list(lead)
    for i, name in enumerate(names):
        words += [comma] * (i > 0) + ([name] if is_chinese else name.split())
    return Negation(words, cancelled[0], cancelled[2]) if cancelled else Negation(words)
