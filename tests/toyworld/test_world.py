import json
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from inbol_ray.config.corpora import ToyWorldConfig
from inbol_ray.config.model import PromptConfig
from inbol_ray.toyworld import questions, scenes
from inbol_ray.toyworld.corpora import write_corpora
from inbol_ray.toyworld.instruct import captioned_scenes, write_conversations

SIZES = ToyWorldConfig(num_train_questions=200, num_validation_questions=100, num_test_questions=100)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    write_corpora(root, SIZES, seed=3)
    return root


def truth_of(root):
    return [json.loads(line) for line in (root / "truth.jsonl").read_text().splitlines()]


def as_scene(row) -> scenes.Scene:
    things = tuple(scenes.Thing(**thing) for thing in row["things"])
    return scenes.Scene(**{**row, "things": things})


def test_same_seed_writes_the_same_bytes(world, tmp_path):
    write_corpora(tmp_path, SIZES, seed=3)
    files = sorted(path.relative_to(world) for path in world.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert all((world / path).read_bytes() == (tmp_path / path).read_bytes() for path in files)


def test_another_seed_writes_other_scenes(world, tmp_path):
    write_corpora(tmp_path, SIZES, seed=4)
    assert truth_of(world)[0]["scene"] != truth_of(tmp_path)[0]["scene"]


def test_no_scene_is_shared(world):
    seen = [json.dumps(row["scene"], sort_keys=True) for row in truth_of(world)]
    assert len(set(seen)) == len(seen)


def test_held_out_pairs_only_occur_out_of_domain(world):
    for row in truth_of(world):
        held_out = any(scenes.is_held_out(t["shape"], t["colour"]) for t in row["scene"]["things"])
        assert held_out == row["id"].startswith("vizwiz:")


def test_out_of_domain_wording_is_unseen_in_training(world):
    train = json.loads((world / "vqav2" / "v2_OpenEnded_mscoco_train2014_questions.json").read_text())["questions"]
    test = json.loads((world / "vizwiz" / "test.json").read_text())
    assert not {row["question"] for row in train} & {row["question"] for row in test}


def test_every_answerable_question_is_answerable_by_the_truth(world):
    texts = {}
    for split in ("train2014", "val2014", "test2014"):
        path = world / "vqav2" / f"v2_OpenEnded_mscoco_{split}_questions.json"
        for row in json.loads(path.read_text())["questions"]:
            texts[f"vqav2:{split}:{row['question_id']}"] = row["question"]
    for row in json.loads((world / "vqav2_idk" / "VQAv2-IDK-test.json").read_text()):
        texts[f"vqav2_idk:test:{row['question_id']}"] = row["question"]
    for row in truth_of(world):
        if row["id"] in texts:
            assert questions.is_answerable(as_scene(row["scene"]), texts[row["id"]]) == (row["answer"] is not None)


def test_haze_makes_images_noisier():
    thing = scenes.Thing(cell=4, shape=0, colour=0, small=False, hidden_half=None, haze=0.0)
    scene = scenes.Scene(things=(thing,), creature=None, creature_cell=None, background=0.1, noise_seed=1)
    hazy = scenes.Scene(**{**asdict(scene), "things": (scenes.Thing(**{**asdict(thing), "haze": 1.0}),)})
    spread = [scenes.render_scene(s)[16:32, 16:32].astype(float).std(axis=(0, 1)).mean() for s in (scene, hazy)]
    assert scenes.render_scene(scene).shape == (48, 48, 3)
    assert spread[1] > spread[0] * 0.5 and not np.array_equal(*(scenes.render_scene(s) for s in (scene, hazy)))


def test_conversations_do_not_depend_on_sharding(tmp_path):
    import pyarrow.parquet as pq

    from inbol_ray.images import load_image

    whole = pq.read_table(write_conversations(tmp_path / "a", 0, 20, 5, PromptConfig(), {3, 15})).to_pylist()
    parts = [
        row
        for start in (0, 10)
        for row in pq.read_table(
            write_conversations(tmp_path / "b", start, start + 10, 5, PromptConfig(), {3, 15})
        ).to_pylist()
    ]
    assert [row["turns"] for row in whole] == [row["turns"] for row in parts]
    captions = [
        row["id"] for path in sorted((tmp_path / "b").glob("captions-*")) for row in pq.read_table(path).to_pylist()
    ]
    assert captions == ["caption:train:3", "caption:train:15"]
    for one, other in zip(whole, parts, strict=True):
        assert np.array_equal(np.asarray(load_image(one["images"][0])), np.asarray(load_image(other["images"][0])))


def test_captions_are_of_the_first_scenes_by_id():
    ids = sorted(f"caption:train:{scene}" for scene in range(120))
    assert {f"caption:train:{scene}" for scene in captioned_scenes(120, 31)} == set(ids[:31])
    assert captioned_scenes(5, 100) == set(range(5))


def test_images_are_real_files(world):
    with Image.open(next((world / "scienceqa" / "images" / "test").rglob("image.png"))) as image:
        assert image.size == (48, 48)
