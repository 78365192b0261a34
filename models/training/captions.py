"""Scene → caption, from one grammar in English and Chinese; and the list of words for the tokenizer.

`caption` returns the words as a list: the tokenizer's vocabulary is learned from these words, so that a Chinese word
inside an unbroken run of characters becomes one token.

Captions for training leave some of what is seen unsaid, sometimes call a thing by its category, and one in seven ends in
words to leave out (`negations.py`).
"""

from dataclasses import replace

from names import FLAT, chinese_thing, choose, english_article, english_thing, plural
from negations import Negation, draw_negation
from places import Rng
from scenes import Scene
from words import COLOUR, COUNTS, HAND, MANNER, PLACE, POSITION, RELATION, SIZE, THING

CHINESE_SHARE = 0.4
TYPO_SHARE = 0.03
UNSAID_SHARE = 0.12  # of each of place, sheet, manner, size and colour
CATEGORY_SHARE = 0.05
NEGATION_SHARE = 0.14
FILLER_SHARE = 0.1
LIVING = ("animal", "bird", "seaanimal", "insect", "person", "creature")

_ENGLISH_FILLERS = ("cute", "beautiful", "lovely", "nice", "pretty", "adorable", "wonderful", "very cute", "really beautiful")
_CHINESE_FILLERS = ("可爱的", "美丽的", "漂亮的", "好看的", "精致的", "非常可爱的")
_ENGLISH_TAILS = ("highly detailed", "4k", "8k", "hd", "masterpiece", "best quality", "high quality", "trending")
_CHINESE_TAILS = ("高清", "精美", "高质量", "杰作", "4k", "细节丰富", "唯美", "好看", "最佳质量")
_ENGLISH_REQUESTS = (
    "a picture of", "a painting of", "an image of", "an illustration of", "a drawing of", "draw", "draw me", "paint", "paint me",
    "can you paint", "can you draw", "i want", "i need", "i want a picture of", "generate", "create", "make", "make me",
    "give me", "picture of", "image of",
)  # fmt: skip
_CHINESE_REQUESTS = (
    "画", "画 一 幅", "生成", "生成 一 张", "来 一 张", "我 要", "我 想要", "创作", "你 能 画", "一 幅 画 ：", "图片 ：",
)  # fmt: skip
_UNREQUESTED = ("用", "背景", "background", "with", "in", "on", "at")  # before these, a request reads oddly
_REST = ("sitting", "standing", "resting", "playing", "hiding", "that is", "who lives", "relaxing", "waiting")
_WHOLE_PICTURES = ("watercolor", "watercolour", "painting", "drawing", "sketch", "cut-out", "window", "mosaic", "pastel")
_LIE = ("standing", "lying", "that is", "placed", "seen", "which is", "found")


def _where_english(scene: Scene, rng: Rng) -> tuple[list[str], bool]:
    """(a phrase that says where, or nothing; whether it is a remark that a comma sets off)."""
    form = rng.random()
    if scene.place and not scene.island:
        name = choose(rng, PLACE[scene.place].names).split()
        bare = name[1:] if name[0] in ("a", "an", "the") else name
        if form < 0.8:
            return choose(rng, PLACE[scene.place].en, 0.5).split(), False
        if form < 0.86:
            return ["with", *name, "in", "the", "background"], False
        if form < 0.91:
            return ["with", *english_article(bare), *bare, "background"], False
        return (["background", ":", *bare] if form < 0.94 else [*bare, "background"]), True
    if scene.sheet:
        colour = choose(rng, COLOUR[scene.sheet].en, 0.85)
        if form < 0.4:
            return ["on", *english_article([colour]), colour, "background"], False
        if form < 0.7:
            return ["with", *english_article([colour]), colour, "background"], False
        if form < 0.8:
            return ["on", colour], False
        return (["background", ":", colour] if form < 0.9 else [colour, "background"]), True
    if scene.island:
        night = PLACE[scene.place].en[0].split() if scene.place else []
        return (["in", "the", "sea", *night] if form < 0.4 else night), False
    return [], False


def _noun_english(scene: Scene, rng: Rng, by_category: bool) -> list[str]:
    """The things of a scene, with articles."""
    if scene.thing is None:
        return []
    noun = []
    if rng.random() < FILLER_SHARE:
        noun += choose(rng, _ENGLISH_FILLERS, 0.3).split()
    if scene.size:
        noun += choose(rng, SIZE[scene.size].en).split()
    if scene.colour:
        noun += choose(rng, COLOUR[scene.colour].en, 0.8).split()
    if scene.hand:
        noun += HAND[scene.hand].en
    name = english_thing(scene.thing, rng, by_category)
    has_article = rng.random() < 0.8
    if scene.count > 1:
        name = plural(name) if rng.random() < 0.97 else name
        noun = [COUNTS[scene.count][0] if rng.random() < 0.7 else str(scene.count), *noun, *name.split()]
    else:
        noun += name.split()
        if scene.island:
            noun += ["island"] if rng.random() < 0.8 else choose(rng, ["on an island", "on a small island"]).split()
        if has_article:
            noun = [*english_article(noun), *noun]
    if scene.second:
        other = english_thing(scene.second, rng, False).split()
        link = choose(rng, RELATION[scene.relation].en if scene.relation else ["and", "and", "with"], 0.5).split()
        noun += [*link, *(english_article(other) if has_article else []), *other]
    if scene.position:
        noun += choose(rng, POSITION[scene.position].en, 0.8).split()
    return noun


def _empty_english(scene: Scene, rng: Rng) -> list[str]:
    """A scene with nothing in it."""
    if scene.island:
        return choose(rng, ["an island", "an empty island", "a small island"]).split() + _where_english(scene, rng)[0]
    if scene.place:
        name = choose(rng, PLACE[scene.place].names).split()
        return name[1:] if name[0] in ("a", "an") and rng.random() < 0.2 else name
    colour = choose(rng, COLOUR[scene.sheet].en, 0.85) if scene.sheet else "plain"
    plain = ["plain"] if scene.sheet and rng.random() < 0.4 else []
    words = [*plain, colour, "background" if rng.random() < 0.8 else "picture"]
    return [*english_article(words), *words]


def _in_manner_english(manner: list[str], picture: list[str], rng: Rng) -> list[str]:
    form = rng.random()
    whole = manner[-1] in _WHOLE_PICTURES
    if form < 0.35:
        return [*picture, ",", *manner, *(["style"] if form < 0.06 else [])]
    if form < 0.5:
        return [*picture, "in", *manner, "style"]
    if form < 0.6:
        return [*picture, "in", "the", "style", "of", *(english_article(manner) if whole else []), *manner]
    if form < 0.68:
        return [*picture, "as", *english_article(manner), *manner] if whole else [*manner, ":", *picture]
    if form < 0.85:
        return [*english_article(manner), *manner, *([] if whole else ["picture"]), "of", *picture]
    if form < 0.92:
        return [*manner, ",", *picture]
    return [*manner, *(["style"] if form < 0.96 else []), *(picture[1:] if picture[0] in ("a", "an") else picture)]


def _keywords_english(scene: Scene, noun: list[str], rng: Rng) -> list[str]:
    """The parts of a scene in any order, between commas."""
    parts = [noun[1:] if noun[0] in ("a", "an") and rng.random() < 0.6 else noun]
    if scene.place and not scene.island:
        name = choose(rng, PLACE[scene.place].names).split()
        parts.append(name[1:] if name[0] in ("a", "an", "the") and rng.random() < 0.7 else name)
    elif scene.sheet:
        parts.append([choose(rng, COLOUR[scene.sheet].en, 0.85), "background"])
    elif scene.place:
        parts.append(["starry", "night"])
    if scene.manner:
        parts.append(choose(rng, MANNER[scene.manner].en).split())
    return _listed(parts, rng, ",")


def _listed(parts: list[list[str]], rng: Rng, comma: str) -> list[str]:
    if rng.random() < 0.4:
        parts = [parts[i] for i in rng.permutation(len(parts))]
    return [word for i, part in enumerate(parts) for word in ([comma, *part] if i else part)]


def english(scene: Scene, rng: Rng, by_category: bool = False) -> list[str]:
    noun = _noun_english(scene, rng, by_category) or _empty_english(scene, rng)
    if scene.thing and rng.random() < 0.14:
        return _keywords_english(scene, noun, rng)
    where, is_remark = _where_english(scene, rng) if scene.thing else ([], False)
    form = rng.random()
    if not where:
        sentence = noun
    elif is_remark:
        sentence = [*noun, ",", *where] if form < 0.8 else [*where, ",", *noun]
    elif form < 0.12 and where[0] != "with":
        sentence = [*where, ",", *noun]
    elif form < 0.26 and not (scene.second or scene.position or scene.sheet or where[0] == "with" or scene.island):
        verbs = choose(rng, _REST if THING[scene.thing].category in LIVING else _LIE, 0.3)
        verb = verbs if scene.count == 1 else verbs.replace(" is", " are").replace("lives", "live")
        sentence = [*noun, *verb.split(), *where]
    else:
        sentence = [*noun, *where]
    return _in_manner_english(choose(rng, MANNER[scene.manner].en).split(), sentence, rng) if scene.manner else sentence


def _where_chinese(scene: Scene, rng: Rng) -> list[str]:
    if scene.place and not scene.island:
        return choose(rng, PLACE[scene.place].zh, 0.5).split()
    if scene.sheet:
        return [choose(rng, COLOUR[scene.sheet].zh[:1]), "背景", "上"]
    if scene.island and (scene.place or rng.random() < 0.4):
        return PLACE[scene.place].zh[0].split() if scene.place else ["海", "上"]
    return []


def _noun_chinese(scene: Scene, rng: Rng, by_category: bool) -> list[str]:
    """The things of a scene, with measure words."""
    if scene.thing is None:
        return []
    noun = [choose(rng, _CHINESE_FILLERS, 0.4)] if rng.random() < FILLER_SHARE else []
    if scene.size:
        noun.append(choose(rng, SIZE[scene.size].zh))
    if scene.colour:
        colour = choose(rng, COLOUR[scene.colour].zh, 0.8)
        noun += [colour, "的"] if (colour.endswith("色") and rng.random() < 0.8) or rng.random() < 0.4 else [colour]
    noun += HAND[scene.hand].zh if scene.hand else []
    name, measure = chinese_thing(scene.thing, rng, by_category, scene.count == 1)
    noun.append(name)
    if scene.count > 1:
        noun = [COUNTS[scene.count][1] if rng.random() < 0.7 else str(scene.count), measure, *noun]
    elif scene.island:
        noun.append(choose(rng, ["小岛", "岛", "岛屿"]))
    elif rng.random() < 0.4:
        noun = ["一", measure, *noun]
    if scene.second:
        noun = _related(scene, noun, rng)
    if scene.position:
        noun = [choose(rng, POSITION[scene.position].zh, 0.8), "的", *noun]
    return noun


def _related(scene: Scene, noun: list[str], rng: Rng) -> list[str]:
    """A Chinese noun phrase with the second thing."""
    name, measure = chinese_thing(scene.second, rng, False)
    other = ["一", measure, name] if rng.random() < 0.3 else [name]
    if scene.relation is None:
        return [*noun, choose(rng, ["和", "与", "跟", "还有"], 0.6), *other]
    link = choose(rng, RELATION[scene.relation].zh)
    if scene.relation == "wearing":
        return [link, *other, "的", *noun]
    return [*other, link, "的", *noun]


def _empty_chinese(scene: Scene, rng: Rng) -> list[str]:
    if scene.island:
        island = [choose(rng, ["小岛", "一座小岛", "海岛", "岛屿"], 0.4)]
        where = _where_chinese(scene, rng)
        return [*where, "的", *island] if where else island
    if scene.place:
        return choose(rng, PLACE[scene.place].zh).split()[:1]
    return [COLOUR[scene.sheet].zh[0] if scene.sheet else "纯色", *(["的"] if rng.random() < 0.2 else []), "背景"]


def _in_manner_chinese(manner: str, picture: list[str], rng: Rng) -> list[str]:
    form = rng.random()
    if form < 0.35:
        return [*picture, "，", manner]
    if form < 0.5:
        return [*picture, "，", manner, "风格"]
    if form < 0.64:
        return [manner, "：", *picture]
    if form < 0.74:
        return [manner, "风格", "的", *picture]
    if form < 0.82:
        return [manner, "，", *picture]
    if form < 0.87:
        return ["用", manner, "风格", "画", *picture]
    return [*(["一", "幅"] if form < 0.95 else []), *picture, "的", manner]


def chinese(scene: Scene, rng: Rng, by_category: bool = False) -> list[str]:
    noun = _noun_chinese(scene, rng, by_category) or _empty_chinese(scene, rng)
    where = _where_chinese(scene, rng) if scene.thing else []
    manner = choose(rng, MANNER[scene.manner].zh) if scene.manner else None
    if scene.thing and rng.random() < 0.14:
        parts = [noun, *([where[:-1] if len(where) > 1 else where] if where else []), *([[manner]] if manner else [])]
        return _listed(parts, rng, "，" if rng.random() < 0.7 else ", ")
    form = rng.random()
    if not where:
        sentence = noun
    elif scene.sheet and form < 0.3:
        sentence = [*noun, "，", *where[:2]] if form < 0.2 else ["背景", "：", where[0], "，", *noun]
    elif form < 0.55:
        sentence = [*where, "的", *noun]
    elif form < 0.68:
        sentence = [*noun, "在", *where]
    elif form < 0.8:
        sentence = [*where, "有", *noun]
    elif form < 0.9 and scene.place and not (scene.second or scene.island):
        verb = ("坐在", "站在", "待在") if THING[scene.thing].category in LIVING else ("放在", "出现在", "立在")
        if form > 0.86 and THING[scene.thing].category in LIVING:
            sentence = [*noun, "在", *where, ("玩", "休息")[rng.integers(2)]]
        else:
            sentence = [*noun, choose(rng, verb, 0.4), *where]
    else:
        sentence = [*where, "，", *noun]
    return _in_manner_chinese(manner, sentence, rng) if manner else sentence


def join(words: list[str], is_chinese: bool) -> str:
    return "".join(words) if is_chinese else FLAT.sub(r"\1", " ".join(words))


def _misspell(text: str, rng: Rng) -> str:
    """One letter dropped or two swapped, inside a word."""
    at = [i for i in range(1, len(text) - 2) if text[i - 1 : i + 2].isalpha()]
    if not at:
        return text
    i = int(rng.choice(at))
    return text[:i] + text[i + 1 :] if rng.random() < 0.5 else text[:i] + text[i + 1] + text[i] + text[i + 2 :]


def _leave_unsaid(scene: Scene, rng: Rng) -> Scene:
    """The scene without what the caption leaves unsaid; a scene with nothing in it is said in full."""
    fields = ("place", "sheet", "manner", "size", "colour") if scene.thing else ("manner",)
    unsaid = {field: None for field in fields if getattr(scene, field) and rng.random() < UNSAID_SHARE}
    return replace(scene, **unsaid) if unsaid else scene


def _dressed(words: list[str], is_chinese: bool, rng: Rng) -> list[str]:
    """With a request before and a remark behind that change nothing, now and then."""
    if rng.random() < 0.12 and words[0] not in _UNREQUESTED and words[:2] != ["一", "幅"]:
        request = choose(rng, _CHINESE_REQUESTS if is_chinese else _ENGLISH_REQUESTS, 0.1).split()
        words = [*request, *words]
        if is_chinese and request[-1] == "张":
            words += ["的", ("图", "图片")[rng.integers(2)]]
    if rng.random() < 0.07:
        tail = choose(rng, _CHINESE_TAILS if is_chinese else _ENGLISH_TAILS, 0.2)
        words = [*words, "，" if is_chinese else ",", *tail.split()]
    return words


def caption(scene: Scene, rng: Rng, language: str | None = None) -> tuple[list[str], str]:
    """(words, text) as in training; or, with a `language` ("en" or "zh"), one that says all of the scene in that language,
    without typing errors and without words to leave out, by which a picture can be judged."""
    if language:
        words = _dressed((chinese if language == "zh" else english)(scene, rng), language == "zh", rng)
        return words, join(words, language == "zh")
    is_chinese = rng.random() < CHINESE_SHARE
    said, negation = _leave_unsaid(scene, rng), Negation()
    if rng.random() < NEGATION_SHARE:
        negation = draw_negation(scene, said, is_chinese, rng)
        said = negation.said or said
    by_category = negation.by_category or (bool(scene.thing) and rng.random() < CATEGORY_SHARE)
    words = _dressed((chinese if is_chinese else english)(said, rng, by_category), is_chinese, rng)
    if rng.random() < 0.06 and (not negation.words or negation.words[0].strip() == "without"):
        words = [*words, "。" if is_chinese else (".", "!")[rng.integers(2)]]
    words = words + negation.words
    text = join(words, is_chinese)
    if not is_chinese and rng.random() < TYPO_SHARE:
        text = _misspell(text, rng)
    return words, text[0].upper() + text[1:] if rng.random() < 0.1 else text


_UNSEEN = {  # before and after a caption; training writes none of these
    "en": [
        "please draw", "i would like to see", "show me", "there is", "could i get", "imagine", "how about", "let me have",
    ],  # fmt: skip
    "zh": ["请 画", "我 想 看", "给 我 看看", "帮 我 画", "做 一 张 … 的 图", "想象 一下", "能不能 做", "展示"],
}


def unseen_wording(scene: Scene, rng: Rng, language: str) -> tuple[list[str], str]:
    """As `caption` in a language, around the same words, in sentences that training never wrote."""
    before, _, after = str(rng.choice(_UNSEEN[language])).partition("…")
    words = [*before.split(), *(chinese if language == "zh" else english)(scene, rng), *after.split()]
    return words, join(words, language == "zh")
