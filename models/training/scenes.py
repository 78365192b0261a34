"""What is in a picture (`Scene`), how scenes are drawn at random, which are held out, and how one is painted."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass

import cv2
import numpy as np

import manners
import places
from places import RGB, SIZE, Rng
from words import COLOURS, MANNERS, PLACES, THINGS

HELD_OUT_PERCENT = 12


@dataclass(frozen=True)
class Scene:
    thing: str
    second: str | None = None  # another thing, to the right of the first
    count: int = 1
    colour: str | None = None  # tint of the first thing
    size: str | None = None  # "small" or "big"
    position: str | None = None  # "left" or "right"
    place: str | None = None  # an id of words.PLACES; None: a plain sheet
    sheet: str | None = None  # colour of the plain sheet, if it is named
    island: bool = False  # the thing stands on a small island in the sea, by day or (place "starry") at night
    manner: str | None = None

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


def draw_scene(rng: Rng, accept: Callable[[Scene], bool] | None = None) -> Scene:
    """A random scene that is not held out; or, with `accept`, one that it accepts, held out or not."""
    while True:
        fields: dict = {"thing": _pick(rng, THINGS)}
        kind = rng.random()
        if kind < 0.16:
            fields |= {"island": True, "place": "starry" if rng.random() < 0.5 else None}
        elif kind < 0.22:
            fields["count"] = int(rng.integers(2, 4))
        elif kind < 0.29:
            fields["second"] = _pick(rng, THINGS)
        elif kind < 0.34:
            fields["position"] = ("left", "right")[rng.integers(2)]
        elif kind < 0.42:
            fields["size"] = ("small", "big")[rng.integers(2)]
        if rng.random() < 0.2:
            fields["colour"] = _pick(rng, COLOURS)
        if "island" not in fields:
            where = rng.random()
            if where < 0.72:
                fields["place"] = _pick(rng, PLACES)
            elif where < 0.92:
                fields["sheet"] = _pick(rng, COLOURS)
        if rng.random() < 0.33:
            fields["manner"] = _pick(rng, MANNERS)
        scene = Scene(**fields)
        visible = scene.colour is None or scene.colour != scene.sheet
        wanted = accept(scene) if accept else not is_held_out(scene)
        if visible and scene.second != scene.thing and wanted:
            return scene


def tint(drawing: np.ndarray, colour: str) -> np.ndarray:
    """Recolours a drawing: its middle tone becomes the colour, shade and light stay."""
    gray = cv2.cvtColor(drawing[..., :3], cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    middle = float(np.clip(gray[drawing[..., 3] > 40].mean(), 0.25, 0.8))
    target = np.array(RGB[colour], np.float32)
    dark, light = target * 0.25, target * 0.4 + 255 * 0.6
    down = (gray / middle)[..., None]
    up = ((gray - middle) / (1 - middle))[..., None]
    tinted = np.where(down < 1, dark + (target - dark) * down, target + (light - target) * up)
    return np.concatenate([np.clip(tinted, 0, 255).astype(np.uint8), drawing[..., 3:]], axis=2)


def paste(picture: np.ndarray, drawing: np.ndarray, x: float, y: float, size: float, rng: Rng, rim: bool) -> None:
    """Puts a drawing of `size` pixels with its centre at (x, y); `rim` adds the paper cut-out's white rim and shadow."""
    scale = size / drawing.shape[0]
    turn = cv2.getRotationMatrix2D((drawing.shape[1] / 2, drawing.shape[0] / 2), float(rng.normal(0, 3)), scale)
    turn[:, 2] += (x - drawing.shape[1] / 2, y - drawing.shape[0] / 2)
    half = cv2.resize(drawing, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) if scale < 0.6 else drawing
    if half is not drawing:
        turn[:, :2] *= 2
    layer = cv2.warpAffine(half, turn, (SIZE, SIZE), flags=cv2.INTER_LINEAR).astype(np.float32)
    cover = layer[..., 3:] / 255
    if rim:
        wide = cv2.dilate(cover, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7)))[..., None]
        shadow = np.roll(cv2.GaussianBlur(wide, (0, 0), 2)[..., None], (4, 3), axis=(0, 1))
        picture *= 1 - 0.45 * shadow
        picture += (np.array((250, 248, 240), np.float32) - picture) * wide
    picture += (layer[..., :3] - picture) * cover


def _layout(scene: Scene, rng: Rng) -> list[tuple[str, float, float, float]]:
    """(thing, x, y, size) of everything to paste, in pixels."""
    dx, dy, grow = rng.uniform(-3, 3), rng.uniform(-3, 3), rng.uniform(0.94, 1.06)
    if scene.island:
        size = 68 * grow
        return [(scene.thing, 64 + dx, 100 - size * 0.47, size)]
    if scene.second:
        return [(scene.thing, 35 + dx, 68 + dy, 56 * grow), (scene.second, 93 + dx, 68 - dy, 56 * grow)]
    if scene.count == 2:
        return [(scene.thing, x + dx, 68 + dy, 54 * grow) for x in (35, 93)]
    if scene.count == 3:
        return [(scene.thing, x + dx, y + dy, 48 * grow) for x, y in ((34, 90), (94, 90), (64, 40))]
    if scene.position:
        return [(scene.thing, (38 if scene.position == "left" else 90) + dx, 68 + dy, 62 * grow)]
    size = {"small": 42, "big": 116, None: 84}[scene.size]
    return [(scene.thing, 64 + dx, 66 + dy, size * grow)]


def paint(scene: Scene, rng: Rng, drawings: dict[str, np.ndarray]) -> np.ndarray:
    """The picture of a scene: uint8 RGB [128, 128, 3]."""
    if scene.island:
        picture = places.island(rng, night=scene.place == "starry")
    elif scene.place:
        picture = places.PAINT[scene.place](rng)
    else:
        picture = places.plain(rng, scene.sheet or "white")
    picture = np.ascontiguousarray(picture, np.float32)
    for thing, x, y, size in _layout(scene, rng):
        drawing = drawings[thing]
        if scene.colour and thing == scene.thing:
            drawing = tint(drawing, scene.colour)
        paste(picture, drawing, x, y, size, rng, rim=scene.manner == "papercut")
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    if scene.manner:
        picture = np.clip(manners.APPLY[scene.manner](picture, rng), 0, 255).astype(np.uint8)
    return picture
