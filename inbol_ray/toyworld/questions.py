"""Questions about scenes, with their answers: (Scene, rng) -> ToyQuestion.

Each family has three phrasings; the third, and the family `food`, occur in pretraining and out of domain but never in
the alignment corpora. Unanswerable questions presuppose what the scene does not hold (*absent*) or ask for what no
picture shows (*unseen*).
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from inbol_ray.toyworld.scenes import (
    COLOUR_NAMES,
    CREATURE_FOOD,
    CREATURE_HOME,
    CREATURES,
    FOODS,
    HOMES,
    NUM_CELLS,
    PLACES,
    SHAPES,
    Scene,
)

PHRASINGS: dict[str, tuple[str, str, str]] = {
    "colour_of": ("What color is the {shape}?", "Color of the {shape}?", "Which color does the {shape} have?"),
    "colour_at": ("What color is in the {place}?", "Color in the {place}?", "Which color has the {place} thing?"),
    "shape_of": (
        "What shape is the {colour} object?",
        "Shape of the {colour} object?",
        "Which shape has the {colour} thing?",
    ),
    "shape_at": ("What shape is in the {place}?", "Shape in the {place}?", "Which shape has the {place} thing?"),
    "where": (
        "Where is the {colour} {shape}?",
        "Place of the {colour} {shape}?",
        "Which place has the {colour} {shape}?",
    ),
    "count_shape": (
        "How many {shape} objects are there?",
        "Count of {shape} objects?",
        "Which number of {shape} things?",
    ),
    "count_colour": (
        "How many {colour} objects are there?",
        "Count of {colour} objects?",
        "Which number of {colour} things?",
    ),
    "name": ("What is the creature called?", "Name of the creature?", "Which name does the creature have?"),
    "home": ("Where does the creature live?", "Home of the creature?", "Which home does the creature have?"),
    "food": ("What does the creature eat?", "Food of the creature?", "Which food does the creature like?"),
}
PERCEPTION = ("colour_of", "colour_at", "shape_of", "shape_at", "where", "count_shape", "count_colour")
KNOWLEDGE = ("name", "home")
HELD_OUT_FAMILY = "food"
ALIGNMENT_PHRASINGS = (0, 1)
HELD_OUT_PHRASING = 2

UNSEEN = (
    "Who made the {shape}?",
    "How heavy is the {shape}?",
    "What is the price of the {colour} object?",
    "What is behind the {colour} {shape}?",
    "What sound does the {shape} make?",
    "How old is the {colour} object?",
    "When was the {shape} painted?",
    "Who owns the {colour} {shape}?",
)
UNSEEN_HELD_OUT = (
    "How warm is the {colour} object?",
    "Who dropped the {shape}?",
    "What is inside the {shape}?",
    "Why is the {colour} object here?",
)


@dataclass(frozen=True, slots=True)
class ToyQuestion:
    """`answer` is None exactly when the scene does not answer the question; `choices` holds the options of a family."""

    family: str
    text: str
    answer: str | None
    choices: tuple[str, ...] = ()


def _options(family: str) -> list[str]:
    if family.startswith("colour"):
        return COLOUR_NAMES
    if family.startswith("shape"):
        return SHAPES
    return {"where": PLACES, "name": CREATURES, "home": HOMES, "food": FOODS}.get(family, [str(n) for n in range(7)])


def _pick(rng: np.random.Generator, items: list):
    return items[int(rng.integers(len(items)))] if items else None


def ask(rng: np.random.Generator, scene: Scene, family: str, phrasing: int) -> ToyQuestion | None:
    """A question of a family that the scene answers, or None where it has none."""
    text = PHRASINGS[family][phrasing]
    things = scene.things
    if family in ("name", "home", "food"):
        if scene.creature is None:
            return None
        answer = {
            "name": CREATURES[scene.creature],
            "home": HOMES[CREATURE_HOME[scene.creature]],
            "food": FOODS[CREATURE_FOOD[scene.creature]],
        }[family]
        return ToyQuestion(family, text, answer)
    if family in ("colour_at", "shape_at", "count_shape", "count_colour"):
        thing = _pick(rng, list(things))
    else:
        key = {
            "colour_of": lambda t: t.shape,
            "shape_of": lambda t: t.colour,
            "where": lambda t: (t.shape, t.colour),
        }[family]
        counts = Counter(key(thing) for thing in things)
        thing = _pick(rng, [thing for thing in things if counts[key(thing)] == 1])
    if thing is None:
        return None
    colour, shape, place = COLOUR_NAMES[thing.colour], SHAPES[thing.shape], PLACES[thing.cell]
    answer = {
        "colour_of": colour,
        "colour_at": colour,
        "shape_of": shape,
        "shape_at": shape,
        "where": place,
        "count_shape": str(sum(other.shape == thing.shape for other in things)),
        "count_colour": str(sum(other.colour == thing.colour for other in things)),
    }[family]
    return ToyQuestion(family, text.format(colour=colour, shape=shape, place=place), answer)


def with_choices(rng: np.random.Generator, question: ToyQuestion, num_choices: int) -> ToyQuestion:
    """The same question as multiple choice, options shuffled."""
    others = [option for option in _options(question.family) if option != question.answer]
    chosen = [str(option) for option in rng.choice(others, num_choices - 1, replace=False)]
    options = [*chosen, question.answer]
    order = rng.permutation(num_choices)
    return ToyQuestion(question.family, question.text, question.answer, tuple(options[index] for index in order))


def ask_absent(rng: np.random.Generator, scene: Scene, phrasing: int) -> ToyQuestion | None:
    """A question that presupposes something the scene does not hold, or None where the draw cannot make one."""
    family = _pick(rng, ["colour_of", "shape_of", "where", "colour_at", "shape_at", *KNOWLEDGE])
    shape = colour = place = None
    if family in KNOWLEDGE:
        if scene.creature is not None:
            return None
    elif family == "colour_of":
        shape = _pick(rng, [s for s in range(len(SHAPES)) if all(t.shape != s for t in scene.things)])
        if shape is None:
            return None
    elif family == "shape_of":
        colour = _pick(rng, [c for c in range(len(COLOUR_NAMES)) if all(t.colour != c for t in scene.things)])
        if colour is None:
            return None
    elif family == "where":
        present = {(t.shape, t.colour) for t in scene.things}
        pairs = [(s, c) for s in range(len(SHAPES)) for c in range(len(COLOUR_NAMES)) if (s, c) not in present]
        shape, colour = _pick(rng, pairs)
    else:
        place = _pick(rng, [cell for cell in range(NUM_CELLS) if cell not in scene.occupied])
        if place is None:
            return None
    text = PHRASINGS[family][phrasing].format(
        shape=None if shape is None else SHAPES[shape],
        colour=None if colour is None else COLOUR_NAMES[colour],
        place=None if place is None else PLACES[place],
    )
    return ToyQuestion("absent", text, None)


def ask_unseen(rng: np.random.Generator, scene: Scene, templates: tuple[str, ...]) -> ToyQuestion:
    """A question about a thing in the scene for what no picture shows."""
    thing = _pick(rng, list(scene.things))
    text = _pick(rng, list(templates)).format(shape=SHAPES[thing.shape], colour=COLOUR_NAMES[thing.colour])
    return ToyQuestion("unseen", text, None)


def ask_unanswerable(
    rng: np.random.Generator, scene: Scene, phrasing: int, templates: tuple[str, ...]
) -> ToyQuestion | None:
    if rng.random() < 0.5:
        return ask_absent(rng, scene, phrasing)
    return ask_unseen(rng, scene, templates)


def is_answerable(scene: Scene, text: str) -> bool:
    """The truth about a question's text on a scene. For tests only: nothing in the pipeline calls this.

    A text that no family produces counts as unanswerable.
    """
    shapes, colours = Counter(t.shape for t in scene.things), Counter(t.colour for t in scene.things)
    pairs = Counter((t.shape, t.colour) for t in scene.things)
    taken = {thing.cell for thing in scene.things}
    for family, phrasings in PHRASINGS.items():
        for phrasing in phrasings:
            if family in ("name", "home", "food"):
                if text == phrasing:
                    return scene.creature is not None
                continue
            for s, shape in enumerate(SHAPES):
                for c, colour in enumerate(COLOUR_NAMES):
                    for p, place in enumerate(PLACES):
                        if text == phrasing.format(shape=shape, colour=colour, place=place):
                            return {
                                "colour_of": shapes[s] >= 1,
                                "shape_of": colours[c] >= 1,
                                "where": pairs[s, c] >= 1,
                                "colour_at": p in taken,
                                "shape_at": p in taken,
                                "count_shape": True,
                                "count_colour": True,
                            }[family]
    return False
