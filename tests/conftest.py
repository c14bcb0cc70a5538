"""Shared fixtures: a random tiny LLaVA in the hub's layout, built by the toy world's own code."""

import pytest


@pytest.fixture(scope="session")
def tiny_llava(tmp_path_factory):
    """Folder of an untrained tiny LLaVA with its processor."""
    from inbol_ray.config.schema import PromptConfig, ToyBaseModel
    from inbol_ray.toyworld.base_model import build_model, build_processor, save_new_model

    folder = tmp_path_factory.mktemp("tiny-llava")
    processor = build_processor(PromptConfig())
    save_new_model(build_model(ToyBaseModel(), processor, seed=0), processor, folder)
    return folder


@pytest.fixture(scope="session")
def scene_images(tmp_path_factory):
    """Paths of four rendered scenes."""
    import numpy as np

    from inbol_ray.toyworld.scenes import SceneStyle, draw_scene, encode_png, render_scene

    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("scenes")
    paths = []
    for index in range(4):
        path = folder / f"scene{index}.png"
        path.write_bytes(encode_png(render_scene(draw_scene(rng, SceneStyle()))))
        paths.append(str(path))
    return paths
