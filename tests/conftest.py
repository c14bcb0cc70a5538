"""Shared fixtures: a random tiny LLaVA in the hub's layout, scenes of the toy world, training rows, and a real S3
server.
"""

import uuid

import pytest
from s3_server import S3Bucket, run_s3_server

from inbol_ray.store import storage


def pytest_addoption(parser):
    parser.addoption("--rewrite-golden", action="store_true", help="write what tests/golden finds as what it expects")


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    """A SeaweedFS server that lives as long as the tests (`s3_server.S3Server`)."""
    with run_s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3_bucket(s3_server, monkeypatch):
    """A new bucket (`s3_server.S3Bucket`); the right keys are in the environment of the test."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    storage._s3_filesystem.cache_clear()  # connections with another test's keys
    name = f"test-{uuid.uuid4().hex[:12]}"
    s3_server.client().create_bucket(Bucket=name)
    return S3Bucket(s3_server, name)


@pytest.fixture(scope="session")
def tiny_llava(tmp_path_factory):
    """Folder of an untrained tiny LLaVA with its processor."""
    from inbol_ray.config.model import PromptConfig, ToyBaseModel
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


@pytest.fixture(scope="session")
def conversation_rows(scene_images, tmp_path_factory):
    """Path of 200 CONVERSATION rows as Parquet: one turn each, about one of the four scenes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from inbol_ray.rows import CONVERSATION

    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    rows = [
        {
            "id": f"{n:03d}",
            "images": [scene_images[n % 4]],
            "turns": [{"user": f"What is {n}?", "assistant": f"answer {n % 5}"}],
            "knowledge": "known",
        }
        for n in range(200)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=CONVERSATION), path)
    return path
