"""What is in a picture (`Scene`), how scenes are drawn at random, which are held out, and how one is painted."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass

import cv2
import numpy as np

import manners
import places
from places import RGB, SIZE, U, Rng
from words import COLOURS, HANDS, HATS, MANNERS, PLACES, THING, THINGS, WEARERS

HELD_OUT_PERCENT = 12


@dataclass(frozen=True)
class Scene:
    thing: str | None  # None: the plain place, island or sheet, with nothing in it
    second: str | None = None  # another thing; where it is says `relation`
    relation: str | None = None  # None: to the right of the first; or an id of words.RELATIONS
    count: int = 1
    colour: str | None = None  # tint of the first thing
    size: str | None = None  # "small" or "big"
    position: str | None = None  # "left" or "right"
    place: str | None = None  # an id of words.PLACES; None: a plain sheet
    sheet: str | None = None  # colour of the plain sheet, if it is named
    island: bool = False  # the thing stands on a small island in the sea, by day or (place "starry") at night
    manner: str | None = None
    hand: str | None = None  # whose drawings: an id of words.HANDS; None: each thing's usual one

    def as_dict(self) -> dict:
        return asdict(self)


def is_held_out(scene: Scene) -> bool:
    """True for combinations of a thing with a place, a colour, a manner or the island that training never renders."""

    def drawn(thing: str, kind: str, value: str) -> bool:
        digest = hashlib.sha256(f"{thing}|{kind}|{value}".encode()).digest()
        return int.from_bytes(digest[:4], "big") % 100 < HELD_OUT_PERCENT

    return any(
        (scene.place and not scene.island and drawn(thing, "place", scene.place))
        or (scene.colour and thing == scene.thing and drawn(thing, "colour", scene.colour))
        or (scene.manner and drawn(thing, "manner", scene.manner))
        or (scene.island and drawn(thing, "island", scene.place or "day"))
        for thing in (scene.thing, scene.second)
        if thing
    )


def _pick(rng: Rng, words) -> str:
    return words[rng.integers(len(words))].id


def _draw_fields(rng: Rng) -> dict:
    fields: dict = {"thing": "strawberry" if rng.random() < 0.01 else _pick(rng, THINGS)}  # the project's namesake
    kind = rng.random()
    if kind < 0.14:
        fields |= {"island": True, "place": "starry" if rng.random() < 0.5 else None}
    elif kind < 0.21:
        fields["count"] = int(rng.integers(2, 5))
    elif kind < 0.33:
        fields |= {"second": _pick(rng, THINGS), "relation": (None, "left")[rng.integers(2)]}
    elif kind < 0.37:
        fields |= {"second": _pick(rng, THINGS), "relation": "on"}
    elif kind < 0.41:
        fields |= {"thing": str(rng.choice(WEARERS)), "second": str(rng.choice(HATS)), "relation": "wearing"}
    elif kind < 0.44:
        fields["position"] = ("left", "right")[rng.integers(2)]
    elif kind < 0.49:
        fields["size"] = ("small", "big")[rng.integers(2)]
    elif kind < 0.54:
        fields |= {"thing": None, "island": rng.random() < 0.1}
    if fields["thing"] and rng.random() < 0.22:
        fields["colour"] = _pick(rng, COLOURS)
    if not fields.get("island"):
        where = rng.random() * (1.0 if fields["thing"] else 0.8)
        if where < 0.72:
            fields["place"] = _pick(rng, PLACES)
        elif where < 0.9:
            fields["sheet"] = _pick(rng, COLOURS)
    if rng.random() < 0.42:
        fields["manner"] = _pick(rng, MANNERS)
    if fields["thing"] and rng.random() < 0.06:
        fields["hand"] = _pick(rng, HANDS)
    return fields


def draw_scene(rng: Rng, accept: Callable[[Scene], bool] | None = None) -> Scene:
    """A random scene that is not held out; or, with `accept`, one that it accepts, held out or not."""
    while True:
        scene = Scene(**_draw_fields(rng))
        visible = scene.colour is None or scene.colour != scene.sheet
        wanted = accept(scene) if accept else not is_held_out(scene)
        if visible and (scene.second is None or scene.second != scene.thing) and wanted:
            return scene


def tint(drawing: np.ndarray, colour: str) -> np.ndarray:
    """Recolours a drawing: its middle tone becomes the colour, shade and light stay.

    Its lights go less far towards white the darker the colour is, and its shades less far towards black the brighter it is:
    a black thing has no white spots, a white one no black spots.
    """
    opaque = drawing[..., 3] > 40
    gray = cv2.cvtColor(drawing[..., :3], cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    middle = float(np.clip(gray[opaque].mean(), 0.25, 0.8))
    target = np.array(RGB[colour], np.float32)
    brightness = float(target @ (0.299, 0.587, 0.114)) / 255
    dark, light = target * (0.2 + 0.4 * brightness**2), target + (255 - target) * (0.16 + 0.52 * brightness)
    down = (gray / middle)[..., None]
    up = ((gray - middle) / (1 - middle))[..., None]
    tinted = np.where(down < 1, dark + (target - dark) * down, target + (light - target) * up)
    return np.concatenate([np.clip(tinted, 0, 255).astype(np.uint8), drawing[..., 3:]], axis=2)


def paste(picture: np.ndarray, drawing: np.ndarray, place: tuple[float, float, float], rim: bool) -> None:
    """Puts a drawing at `place` (x and y of its centre, size; in 128ths of the side); `rim` adds the paper cut-out's
    white rim and shadow."""
    x, y, size = (v * U for v in place)
    side = drawing.shape[0]
    while side > 2 * size:
        drawing = cv2.resize(drawing, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        side = drawing.shape[0]
    move = np.array([[size / side, 0, x - size / 2], [0, size / side, y - size / 2]])
    layer = cv2.warpAffine(drawing, move, (SIZE, SIZE), flags=cv2.INTER_LINEAR).astype(np.float32)
    cover = layer[..., 3:] / 255
    if rim:
        wide = cv2.dilate(cover, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (13, 13)))[..., None]
        shadow = np.roll(cv2.GaussianBlur(wide, (0, 0), 2 * U)[..., None], (int(4 * U), int(3 * U)), axis=(0, 1))
        picture *= 1 - 0.45 * shadow
        picture += (np.array((250, 248, 240), np.float32) - picture) * wide
    picture += (layer[..., :3] - picture) * cover


def _layout(scene: Scene, rng: Rng) -> list[tuple[str, tuple[float, float, float]]]:
    """(thing, (x, y, size)) of everything to paste, back to front, in 128ths of the side.

    Few sizes, and centres that are whole latents apart: wherever a thing stands, its latents are then the same numbers. A
    small model that has to learn each thing at every offset learns none of them.
    """
    if scene.thing is None:
        return []
    if scene.island:
        return [(scene.thing, (64, 68, 72))]
    if scene.relation == "on":
        return [(scene.second, (64, 100, 56)), (scene.thing, (64, 52, 56))]
    if scene.relation == "wearing":
        return [(scene.thing, (64, 84, 72)), (scene.second, (64, 44, 38))]
    if scene.second:
        return [(scene.thing, (32, 68, 64)), (scene.second, (96, 68, 64))]
    if scene.count > 1:
        spots = {
            2: ((32, 68), (96, 68)),
            3: ((32, 84), (96, 84), (64, 36)),
            4: ((32, 36), (96, 36), (32, 100), (96, 100)),
        }[scene.count]
        return [(scene.thing, (x, y, 56)) for x, y in spots]
    if scene.position:
        return [(scene.thing, (32 if scene.position == "left" else 96, 68, 56))]
    usual = 86 if rng.random() < 0.7 else 72
    return [(scene.thing, (64, 68, {"small": 40, "big": 116, None: usual}[scene.size]))]


def paint(scene: Scene, rng: Rng, drawings: dict[str, np.ndarray]) -> np.ndarray:
    """The picture of a scene: uint8 RGB [SIZE, SIZE, 3]."""
    if scene.island:
        picture = places.island(rng, night=scene.place == "starry")
    elif scene.place:
        picture = places.PAINT[scene.place](rng)
    else:
        picture = places.plain(rng, scene.sheet or "white")
    picture = np.ascontiguousarray(picture, np.float32)
    for thing, where in _layout(scene, rng):
        drawing = drawings[THING[thing].drawing_by(scene.hand)]
        if scene.colour and thing == scene.thing:
            drawing = tint(drawing, scene.colour)
        paste(picture, drawing, where, rim=scene.manner == "papercut")
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    if scene.manner:
        picture = np.clip(manners.APPLY[scene.manner](picture, rng), 0, 255).astype(np.uint8)
    return picture
