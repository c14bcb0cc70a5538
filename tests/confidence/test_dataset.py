"""A published dataset: whole or not there, readable by other tools, and refused for another model."""

import json

import datasets
import pandas as pd
import pyarrow.parquet as pq
import pytest

from inbol_ray.confidence.dataset import DESCRIPTION, describe, publish, read_dataset
from inbol_ray.confidence.judging import judge_samples
from inbol_ray.config.machines import StorageConfig
from inbol_ray.config.sampling import SamplingConfig
from inbol_ray.errors import CheckpointError, DataError
from inbol_ray.rows import SAMPLED_ANSWERS, Question
from inbol_ray.store.row_writer import write_rows

LOCAL = StorageConfig()
MODEL = {"checkpoint": "/models/a", "digest": "sha256:aaaa"}


def write_answers(path, answers=("cat", "dog")):
    rows = [
        judge_samples(
            Question(f"d:s:{n}", "d", "s", ["a.png"], "What?", "open", ["cat"]),
            {"responses": list(answers), "token_logprobs": [[-0.5]] * len(answers), "checkpoint": "/models/a"},
            SamplingConfig(),
        )
        for n in range(3)
    ]
    write_rows(path, rows, SAMPLED_ANSWERS)
    return path


def publish_answers(path, uri, storage=LOCAL):
    description = describe(path, model=MODEL, settings={"seed": 0}, counts={"questions": 3}, rejected={}, packages={})
    publish(path, description, str(uri), storage)
    return description


def test_a_dataset_comes_back_as_it_was(tmp_path):
    path = write_answers(tmp_path / "answers.parquet")
    publish_answers(path, tmp_path / "out")
    table = read_dataset(str(tmp_path / "out"), LOCAL, MODEL["digest"], allow_other_checkpoint=False)
    assert table.equals(pq.read_table(path)) and table["confidence"].to_pylist() == [0.5] * 3


def test_other_tools_read_it(tmp_path):
    path = write_answers(tmp_path / "answers.parquet")
    assert pd.read_parquet(path)["confidence"].tolist() == [0.5] * 3
    rows = datasets.load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert rows[1]["responses"] == ["cat", "dog"] and rows[1]["token_logprobs"] == [[-0.5], [-0.5]]


def test_another_model_is_refused_unless_allowed(tmp_path):
    publish_answers(write_answers(tmp_path / "answers.parquet"), tmp_path / "out")
    with pytest.raises(CheckpointError, match=r"sampled from /models/a .*allow_other_checkpoint"):
        read_dataset(str(tmp_path / "out"), LOCAL, "sha256:bbbb", allow_other_checkpoint=False)
    assert read_dataset(str(tmp_path / "out"), LOCAL, "sha256:bbbb", allow_other_checkpoint=True).num_rows == 3


def test_what_is_not_whole_is_not_there(tmp_path):
    out = tmp_path / "out"
    description = publish_answers(write_answers(tmp_path / "answers.parquet"), out)

    def read():
        return read_dataset(str(out), LOCAL, MODEL["digest"], allow_other_checkpoint=False)

    file = out / description["answers"]["file"]
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    with pytest.raises(DataError, match="SHA-256"):
        read()
    file.write_bytes(whole)
    (out / DESCRIPTION).write_text(json.dumps(description | {"schema": "sampled_answers/1"}))
    with pytest.raises(DataError, match="found schema 'sampled_answers/1'"):
        read()
    (out / DESCRIPTION).write_text("[]")
    with pytest.raises(DataError, match="not the description"):
        read()
    (out / DESCRIPTION).unlink()
    with pytest.raises(DataError, match="not to its end"):
        read()


def test_a_second_publication_replaces_the_first(tmp_path):
    out = tmp_path / "out"
    publish_answers(write_answers(tmp_path / "one.parquet"), out)
    publish_answers(write_answers(tmp_path / "two.parquet", ["cat", "cat"]), out)
    table = read_dataset(str(out), LOCAL, MODEL["digest"], allow_other_checkpoint=False)
    assert table["confidence"].to_pylist() == [1.0] * 3


def test_a_dataset_on_a_real_s3_server(s3_bucket, tmp_path):
    path, uri = write_answers(tmp_path / "answers.parquet"), f"{s3_bucket.uri}/sampled"
    with pytest.raises(DataError, match="no dataset.json"):
        read_dataset(uri, s3_bucket.storage, MODEL["digest"], allow_other_checkpoint=False)
    description = publish_answers(path, uri, s3_bucket.storage)
    table = read_dataset(uri, s3_bucket.storage, MODEL["digest"], allow_other_checkpoint=False)
    assert table.equals(pq.read_table(path))
    s3_bucket.server.client().delete_object(Bucket=s3_bucket.name, Key=f"sampled/{DESCRIPTION}")
    assert description["answers"]["file"] in {
        entry["Key"].rpartition("/")[2]
        for entry in s3_bucket.server.client().list_objects_v2(Bucket=s3_bucket.name)["Contents"]
    }
    with pytest.raises(DataError, match="not to its end"):  # killed between the answers and the description
        read_dataset(uri, s3_bucket.storage, MODEL["digest"], allow_other_checkpoint=False)
