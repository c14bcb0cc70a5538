"""The stage on a dataset that was sampled before: no engine runs, and what does not fit is rejected."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stage_context import stage_context

from inbol_ray.confidence.dataset import DESCRIPTION, describe, publish
from inbol_ray.confidence.estimate import estimate_confidence
from inbol_ray.confidence.judging import judge_samples
from inbol_ray.config.load import load_config
from inbol_ray.config.sampling import SamplingConfig
from inbol_ray.errors import CheckpointError, DataError
from inbol_ray.rows import QUESTION, SAMPLED_ANSWERS, Question
from inbol_ray.sampling.checkpoints import model_digest
from inbol_ray.store.row_writer import write_rows


def question(n, text="What?"):
    return Question(f"d:train:{n}", "d", "train", ["a.png"], text, "open", ["cat"])


@pytest.fixture
def reuse(local_ray, tiny_llava, tmp_path):
    """Publishes samples of questions 0 and 1, sampled from `digest`, and runs the stage on questions 0, 1 and 2."""

    def run(digest, *options, train=None):
        train = train or [question(n) for n in (2, 0, 1)]
        rows = [
            judge_samples(
                question(n),
                {"responses": ["cat", "dog"], "token_logprobs": [[-1.0]] * 2, "checkpoint": "there"},
                SamplingConfig(),
            )
            for n in range(2)
        ]
        write_rows(tmp_path / "published.parquet", rows, SAMPLED_ANSWERS)
        model = {"checkpoint": "there", "digest": digest}
        description = describe(
            tmp_path / "published.parquet", model=model, settings={}, counts={}, rejected={}, packages={}
        )
        options = ["--config", "jobs/configs/demo.yaml", "--sampling.reuse_uri", str(tmp_path / "there"), *options]
        config = load_config([*options, "--evaluation.sample_confidence", "false"])
        publish(tmp_path / "published.parquet", description, str(tmp_path / "there"), config.storage)
        inputs = {name: tmp_path / name for name in ("questions", "unanswerable", "checkpoint")}
        for name in ("questions", "unanswerable"):
            inputs[name].mkdir(exist_ok=True)
        if not (inputs["checkpoint"] / "model").exists():
            inputs["checkpoint"].mkdir()
            (inputs["checkpoint"] / "model").symlink_to(tiny_llava)
        write_rows(inputs["questions"] / "train.parquet", [row.to_row() for row in train], QUESTION)
        pq.write_table(pa.Table.from_pylist([], schema=QUESTION), inputs["unanswerable"] / "questions.parquet")
        context = stage_context(tmp_path, config, "confidence", **inputs)
        return context, estimate_confidence(context)

    return run


def test_answers_are_taken_by_id_and_the_missing_are_rejected(reuse, tiny_llava, tmp_path):
    context, counts = reuse(model_digest(str(tiny_llava)))
    answers = pq.read_table(tmp_path / "answers.parquet").to_pylist()
    assert [row["id"] for row in answers] == ["d:train:0", "d:train:1"]
    assert all(row["confidence"] == 0.5 and row["checkpoint"] == "there" for row in answers)
    assert counts == {"questions": 2, "samples": 4}
    assert context.rejected == {"not_sampled": 1}
    description = json.loads((tmp_path / DESCRIPTION).read_text())
    assert description["rejected"] == {"not_sampled": 1} and description["answers"]["num_rows"] == 2


def test_another_question_under_the_same_id_is_rejected(reuse, tiny_llava):
    context, _ = reuse(model_digest(str(tiny_llava)), train=(question(0), question(1, "Which?")))
    assert context.rejected == {"other_question": 1}


def test_samples_of_another_model_are_refused_unless_allowed(reuse):
    with pytest.raises(CheckpointError, match="allow_other_checkpoint"):
        reuse("sha256:other")
    _, counts = reuse("sha256:other", "--sampling.allow_other_checkpoint", "true")
    assert counts["questions"] == 2


def test_questions_that_share_an_id_are_named(reuse):
    with pytest.raises(DataError, match="'d:train:0' for example"):
        reuse("sha256:x", train=(question(0), question(0, "Which?")))


def test_the_digest_changes_with_any_weight_and_with_nothing_else(tiny_llava, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_llava, copy)
    (copy / "README.md").write_text("a model card")
    assert model_digest(str(copy)) == model_digest(str(tiny_llava))
    other = tmp_path / "other"
    shutil.copytree(tiny_llava, other)
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    assert model_digest(str(other)) != model_digest(str(tiny_llava))
