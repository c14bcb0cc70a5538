"""The judge's stage with a real server, and with a scripted engine: who is asked about what, and what verdicts
change."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chat_server import chat_server, completion, question_of
from stage_context import stage_context

from inbol_ray.config.load import load_config
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.corpora.stage import BENCHMARK_QUESTION
from inbol_ray.errors import ConfigError
from inbol_ray.evaluation import replies
from inbol_ray.judging.stage import judge_predictions
from inbol_ray.pipeline import build_stages
from inbol_ray.rows import PREDICTION, Question
from inbol_ray.sampling.in_hand import reply_table
from inbol_ray.sampling.parts import open_parts
from inbol_ray.sampling.vllm_engine import Reply
from inbol_ray.scoring.outcome import judge_reply

DEMO = "jobs/configs/demo.yaml"
HEDGED = "I'm not sure, but it looks like a cat."
REPLIES = {
    "right": "cat",
    "paraphrase": "a feline",
    "hedged": HEDGED,
    "refused": "I don't know.",
    "unanswerable": HEDGED,
    "thought": "<think>I can't tell.</think>",
    "silent": "",
}


@pytest.fixture
def run(tmp_path):
    numbers = iter(range(100))

    def judged(judge: dict) -> tuple[dict[tuple[str, str], dict], dict]:
        """Verdicts by (question, kind), and the stage's counts."""
        config = PipelineConfig.model_validate(
            {
                "name": "test",
                "output_dir": str(tmp_path / "out"),
                "base_model": {"kind": "checkpoint", "path": "none"},
                "evaluation": {"benchmarks": [], "methods": ["original"]},
                "scoring": {"judge": judge},
            }
        )
        folder = tmp_path / f"stage{next(numbers)}"
        folder.mkdir()
        questions = {
            name: Question(
                name, "vqav2", "val", [], "What?", "vqa10", gold_answers=["cat"] * 10, answerable=name != "unanswerable"
            )
            for name in REPLIES
        }
        rows = [one.to_row() | {"benchmark": "vqav2", "domain": "in_domain"} for one in questions.values()]
        pq.write_table(pa.Table.from_pylist(rows, schema=BENCHMARK_QUESTION), folder / "benchmarks.parquet")
        predictions = []
        for name, text in REPLIES.items():
            outcome = judge_reply(text, questions[name])
            predictions.append(
                {"id": name, "method": "m", "benchmark": "vqav2", "response": text, "outcome": outcome.kind}
                | {"unparsed": outcome.unparsed}
            )
        pq.write_table(pa.Table.from_pylist(predictions, schema=PREDICTION), folder / "predictions.parquet")
        counts = judge_predictions(stage_context(folder, config, "judge", benchmarks=folder, evaluate=folder))
        found = pq.read_table(folder / "verdicts.parquet").to_pylist()
        assert counts["verdicts"] == len(found)
        return {(row["id"], row["kind"]): row for row in found}, counts

    return judged


def endpoint(server) -> dict:
    return {"endpoint": {"url": server.url, "model": "j"}}


def test_a_judge_is_asked_about_the_unsure_replies_once(run):
    with chat_server(lambda *_: (200, completion("REFUSED"))) as server:
        found, counts = run({"for": "refusal"} | endpoint(server))
        assert found.keys() == {("hedged", "refusal"), ("unanswerable", "refusal")}
        assert len(server.bodies) == 1  # the same question and reply
        assert all("<<<" + HEDGED + ">>>" in asked for asked in server.asked)
        assert {row["outcome"] for row in found.values()} == {"refused"} and counts["without_verdict"] == 0
        assert {row["rule"] for row in found.values()} == {False} and server.bodies[0]["max_tokens"] == 16
        again, _ = run({"for": "refusal"} | endpoint(server))
        assert again == found and len(server.bodies) == 1
        everything, _ = run({"for": "refusal", "which": "all"} | endpoint(server))
        assert {id for id, _ in everything} == set(REPLIES) - {"thought", "silent"}
        assert len(server.bodies) == 4


def test_verdicts_take_the_place_of_the_rules(run):
    def behave(_number, body):
        asked = question_of(body)
        if "REFUSED" in asked:
            return 200, completion(
                "ANSWERED" if "don't know" in asked else "maybe" if "<<<cat>>>" in asked else "REFUSED"
            )
        return 200, completion("Correct." if "feline" in asked else "WRONG")

    with chat_server(behave) as server:
        found, counts = run({"for": "both", "which": "all"} | endpoint(server))
    verdicts = {key: (row["verdict"], row["outcome"]) for key, row in found.items()}
    assert verdicts == {
        ("right", "refusal"): (None, "wrong"),
        ("right", "correctness"): (False, "wrong"),
        ("paraphrase", "refusal"): (True, "refused"),
        ("paraphrase", "correctness"): (True, "refused"),
        ("hedged", "refusal"): (True, "refused"),
        ("hedged", "correctness"): (False, "refused"),
        ("refused", "refusal"): (False, "wrong"),
        ("refused", "correctness"): (False, "wrong"),
        ("unanswerable", "refusal"): (True, "refused"),
    }
    assert counts["without_verdict"] == 1 and found["right", "refusal"]["said"] == "maybe"


def test_a_checkpoint_judges_by_the_same_words(run, tmp_path, monkeypatch):
    folder = tmp_path / "judge"
    folder.mkdir()
    for name in ("config.json", "tokenizer_config.json", "processor_config.json"):
        (folder / name).write_text("{}")
    asked = []

    def generate(requests, checkpoints, config, decoding, *, folder, unit, progress=None):
        parts = open_parts(folder, config.storage, requests, {}, block_size=8)
        rows = parts.read_requests(0).to_pylist()
        asked.extend(rows)
        parts.write(0, [row["id"] for row in rows], reply_table([Reply(["CORRECT"]) for _ in rows]))

    monkeypatch.setattr(replies, "generate", generate)
    found, _ = run({"for": "correctness", "checkpoint": str(folder)})
    assert {key: row["outcome"] for key, row in found.items()} == {
        ("paraphrase", "correctness"): "correct",
        ("hedged", "correctness"): "correct",
    }
    assert all(row["images"] == [] and row["prompt"].startswith("USER: A vision-language") for row in asked)
    assert {row["judge"] for row in found.values()} == {str(folder)}


def test_a_judge_makes_no_other_stage_stale():
    plain = build_stages(load_config(["--config", DEMO]))
    judge = {"for": "both", "endpoint": {"url": "http://h/v1", "model": "j"}}
    judged = build_stages(load_config(["--config", DEMO, "--scoring.judge", json.dumps(judge)]))
    assert set(judged) - set(plain) == {"judge"}
    assert all(judged[name].artifact_id == stage.artifact_id for name, stage in plain.items())


@pytest.mark.parametrize("sources", [{}, {"checkpoint": "x", "endpoint": {"url": "http://h/v1", "model": "j"}}])
def test_a_judge_has_one_source(sources):
    with pytest.raises(ConfigError, match="^scoring.judge: a judge needs exactly one"):
        load_config(["--config", DEMO, "--scoring.judge", json.dumps({"for": "both"} | sources)])
