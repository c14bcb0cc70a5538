"""Batches for the vision tower's pretraining: scenes, and what is in each of their cells. Needs no torch."""

import numpy as np

from inbol_ray.toyworld import scenes
from inbol_ray.toyworld.scenes import GLYPHS, NUM_CELLS, Scene, SceneStyle

VISION_SEED = 31
VISION_STYLE = SceneStyle(min_things=3, max_things=7, creature_rate=0.7, creature_zipf=0.0)
EMPTY_CELL, CREATURE_CELL = len(scenes.SHAPES), len(scenes.SHAPES) + 1
IGNORED = -100
NUM_COLOURS, NUM_SHAPE_CLASSES, NUM_BITS = len(scenes.COLOUR_NAMES), len(scenes.SHAPES) + 2, GLYPHS[0].size


def cell_targets(scene: Scene) -> np.ndarray:
    """[9, 3 + 16] int64 for each cell: colour, shape class, size, glyph bits; -100 where it does not apply."""
    targets = np.full((NUM_CELLS, 3 + NUM_BITS), IGNORED, np.int64)
    targets[:, 1] = EMPTY_CELL
    for thing in scene.things:
        targets[thing.cell, :3] = thing.colour, thing.shape, thing.small
    if scene.creature is not None:
        targets[scene.creature_cell, 1] = CREATURE_CELL
        targets[scene.creature_cell, 3:] = GLYPHS[scene.creature].reshape(-1)
    return targets


def draw_vision_batch(index: int, batch_size: int, seed: int) -> dict[str, np.ndarray]:
    """Batch `index` of the vision pretraining: `pixels` [B, 48, 48, 3] uint8 and `targets` [B, 9, 19] int64."""
    rng = np.random.default_rng([seed, VISION_SEED, index])
    drawn = [scenes.draw_scene(rng, VISION_STYLE) for _ in range(batch_size)]
    return {
        "pixels": np.stack([scenes.render_scene(scene) for scene in drawn]),
        "targets": np.stack([cell_targets(scene) for scene in drawn]),
    }
