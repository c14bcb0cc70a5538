"""Scenes and how they are drawn: seed -> Scene -> 48 x 48 PNG.

Difficulty is graded by design: every object has a `haze` in [0, 1] that scatters its colour and adds pixel noise, so
that the best possible accuracy falls smoothly from one towards chance; some objects are small or half hidden.
"""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

CELL_PX = 16
GRID = 3
IMAGE_PX = CELL_PX * GRID
NUM_CELLS = GRID * GRID

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.90, 0.12, 0.12),
    "orange": (0.95, 0.55, 0.10),
    "yellow": (0.92, 0.90, 0.15),
    "green": (0.15, 0.70, 0.20),
    "cyan": (0.15, 0.80, 0.85),
    "blue": (0.15, 0.25, 0.90),
    "purple": (0.55, 0.15, 0.75),
    "pink": (0.95, 0.50, 0.75),
}
COLOUR_NAMES = list(COLOURS)
SHAPES = ["circle", "square", "triangle", "diamond", "cross", "ring"]
PLACES = ["northwest", "north", "northeast", "west", "center", "east", "southwest", "south", "southeast"]
"""Name of each cell, in reading order."""

NUM_CREATURES = 160
GLYPH_BITS = 4
_FIRST = ["ba", "ke", "li", "mo", "nu", "ra", "se", "ti", "vo", "zu"]
_LAST = ["bor", "dan", "fel", "gim", "hok", "jun", "kas", "lum", "mir", "nex", "pol", "qua", "rin", "sov", "tas", "wen"]
CREATURES = [first + last for first in _FIRST for last in _LAST]
HOMES = [
    "river",
    "forest",
    "desert",
    "tundra",
    "cave",
    "swamp",
    "island",
    "meadow",
    "canyon",
    "reef",
    "volcano",
    "steppe",
]
FOODS = ["moss", "berries", "beetles", "clay", "fish", "nectar", "bark", "seeds", "honey", "algae", "ants", "roots"]

_world = np.random.default_rng(7)  # the same glyphs and facts in every run: they are the world, not the sample


def _draw_glyph_bits() -> np.ndarray:
    """[NUM_CREATURES, 4, 4] bool, any two glyphs at least three bits apart."""
    glyphs: list[np.ndarray] = []
    while len(glyphs) < NUM_CREATURES:
        bits = _world.integers(0, 2, (GLYPH_BITS, GLYPH_BITS)).astype(bool)
        if 5 <= bits.sum() <= 11 and all((bits != other).sum() >= 3 for other in glyphs):
            glyphs.append(bits)
    return np.stack(glyphs)


GLYPHS = _draw_glyph_bits()
CREATURE_HOME = _world.integers(0, len(HOMES), NUM_CREATURES)
CREATURE_FOOD = _world.integers(0, len(FOODS), NUM_CREATURES)


@dataclass(frozen=True, slots=True)
class Thing:
    """One object: `cell` in 0..8, indices into SHAPES and COLOUR_NAMES, and what makes it hard to see."""

    cell: int
    shape: int
    colour: int
    small: bool
    hidden_half: int | None
    haze: float


@dataclass(frozen=True, slots=True)
class Scene:
    things: tuple[Thing, ...]
    creature: int | None
    creature_cell: int | None
    background: float
    noise_seed: int

    @property
    def occupied(self) -> set[int]:
        cells = {thing.cell for thing in self.things}
        return cells if self.creature_cell is None else cells | {self.creature_cell}


@dataclass(frozen=True, slots=True)
class SceneStyle:
    """What a population of scenes looks like."""

    min_things: int = 2
    max_things: int = 6
    creature_rate: float = 0.6
    creature_zipf: float = 0.6
    """Exponent of the creatures' long tail: higher means that fewer of them are common."""
    max_haze: float = 1.0
    held_out_pairs: bool | None = None
    """None: any (shape, colour). False: never a held-out pair. True: at least one held-out pair."""


def is_held_out(shape: int, colour: int) -> bool:
    """A sixth of the (shape, colour) pairs never occurs in training scenes of the alignment corpora."""
    return (shape + colour) % len(SHAPES) == 0


def creature_probabilities(zipf: float) -> np.ndarray:
    weights = np.arange(1, NUM_CREATURES + 1) ** -float(zipf)
    return weights / weights.sum()


def draw_scene(rng: np.random.Generator, style: SceneStyle) -> Scene:
    num_things = int(rng.integers(style.min_things, style.max_things + 1))
    cells = rng.permutation(NUM_CELLS)
    while True:
        pairs = [(int(rng.integers(len(SHAPES))), int(rng.integers(len(COLOUR_NAMES)))) for _ in range(num_things)]
        held_out = any(is_held_out(*pair) for pair in pairs)
        if style.held_out_pairs is None or held_out == style.held_out_pairs:
            break
    things = tuple(
        Thing(
            cell=int(cells[index]),
            shape=shape,
            colour=colour,
            small=bool(rng.random() < 0.25),
            hidden_half=int(rng.integers(4)) if rng.random() < 0.15 else None,
            haze=float(rng.random() * style.max_haze),
        )
        for index, (shape, colour) in enumerate(pairs)
    )
    creature = None
    if num_things < NUM_CELLS and rng.random() < style.creature_rate:
        creature = int(rng.choice(NUM_CREATURES, p=creature_probabilities(style.creature_zipf)))
    return Scene(
        things=things,
        creature=creature,
        creature_cell=int(cells[num_things]) if creature is not None else None,
        background=float(rng.uniform(0.0, 0.25)),
        noise_seed=int(rng.integers(2**31)),
    )


def _shape_mask(shape: str, radius: float, shift_x: int, shift_y: int) -> np.ndarray:
    y, x = np.mgrid[0:CELL_PX, 0:CELL_PX].astype(np.float32)
    x, y = x - (CELL_PX - 1) / 2 - shift_x, y - (CELL_PX - 1) / 2 - shift_y
    distance = np.sqrt(x * x + y * y)
    match shape:
        case "circle":
            return distance <= radius
        case "square":
            return (abs(x) <= radius * 0.88) & (abs(y) <= radius * 0.88)
        case "triangle":
            return (y <= radius * 0.8) & (y >= -radius) & (abs(x) <= (y + radius) * 0.58)
        case "diamond":
            return abs(x) + abs(y) <= radius * 1.15
        case "cross":
            bars = (abs(x) <= radius * 0.32) | (abs(y) <= radius * 0.32)
            return bars & (abs(x) <= radius) & (abs(y) <= radius)
        case _:
            return (distance <= radius) & (distance >= radius * 0.55)


_MASKS = {
    (index, small, shift_x, shift_y): _shape_mask(shape, 3.2 if small else 6.3, shift_x, shift_y)
    for index, shape in enumerate(SHAPES)
    for small in (False, True)
    for shift_x in (-1, 0, 1)
    for shift_y in (-1, 0, 1)
}
_HALVES = (np.s_[CELL_PX // 2 :, :], np.s_[: CELL_PX // 2, :], np.s_[:, CELL_PX // 2 :], np.s_[:, : CELL_PX // 2])
_COLOUR_VALUES = np.array(list(COLOURS.values()), np.float32)
_GLYPH_IMAGES = np.stack([np.pad(np.kron(bits, np.ones((3, 3))), 2) for bits in GLYPHS]).astype(np.float32)


def render_scene(scene: Scene) -> np.ndarray:
    """[48, 48, 3] uint8."""
    rng = np.random.default_rng(scene.noise_seed)
    image = np.full((IMAGE_PX, IMAGE_PX, 3), scene.background, np.float32)
    for thing in scene.things:
        shift = (int(rng.integers(-1, 2)), int(rng.integers(-1, 2))) if thing.small else (0, 0)
        mask = _MASKS[thing.shape, thing.small, *shift]
        if thing.hidden_half is not None:
            mask = mask.copy()
            mask[_HALVES[thing.hidden_half]] = False
        colour = _COLOUR_VALUES[thing.colour] + rng.normal(0, 0.03 + 0.30 * thing.haze**2, 3)
        cell = _cell_of(image, thing.cell)
        cell[mask] = colour
        cell += rng.normal(0, 0.30 * thing.haze**2, cell.shape)
    if scene.creature is not None:
        _cell_of(image, scene.creature_cell)[:] = _GLYPH_IMAGES[scene.creature][..., None] * 0.95
    image += rng.normal(0, 0.03, image.shape)
    return (image.clip(0, 1) * 255).astype(np.uint8)


def _cell_of(image: np.ndarray, cell: int) -> np.ndarray:
    row, column = divmod(cell, GRID)
    return image[row * CELL_PX : (row + 1) * CELL_PX, column * CELL_PX : (column + 1) * CELL_PX]


def encode_png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
