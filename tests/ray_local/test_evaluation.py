"""jobs/evaluate.py on every benchmark: real files, real Ray, real vLLM; killed half-way and run again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from benchmark_files import SPLITS, write_benchmarks

from inbol_ray.config.machines import StorageConfig
from inbol_ray.config.model import PromptConfig
from inbol_ray.method.prompts import render_question
from inbol_ray.models import DEFAULT_FAMILY
from inbol_ray.rows import Question
from inbol_ray.sampling.parts import Parts
from inbol_ray.scoring.outcome import judge_reply

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_llava):
    """An evaluation that was killed with SIGKILL after its first part, and then run to its end."""
    folder = tmp_path_factory.mktemp("evaluation")
    config = {
        "name": "every-benchmark",
        "output_dir": str(folder / "out"),
        "base_model": {"kind": "checkpoint", "path": str(tiny_llava)},
        "engine": {"batch_size": 32, "max_model_len": 512, "kv_cache_bytes": 64 << 20},
        "evaluation": {
            "methods": ["original"],
            "models": {"careful": {"checkpoint": str(tiny_llava), "refusal_instruction": True}},
            "benchmarks": write_benchmarks(folder / "corpora"),
            "sample_confidence": False,
        },
    }
    path = folder / "evaluate.yaml"
    path.write_text(yaml.safe_dump(config))
    first = start(path)
    parts = wait_for_part(folder / "out" / "replies", first)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    finished = {part: part.stat().st_mtime_ns for part in parts}
    second = start(path)
    output = second.communicate(timeout=600)[0]
    assert second.returncode == 0, output
    return {"out": folder / "out", "config": path, "finished": finished, "output": output}


def start(config: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "jobs/evaluate.py", "--config", str(config)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for_part(replies: Path, process: subprocess.Popen) -> list[Path]:
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline:
        if parts := sorted(replies.glob("*/0???????.parquet")):
            return parts
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    raise AssertionError("no part after 400 s")


def questions_of(run) -> dict[str, Question]:
    (path,) = run["out"].glob("artifacts/benchmarks-*/benchmarks.parquet")
    return {row["id"]: Question.from_row(row) for row in pq.read_table(path).to_pylist()}


def predictions_of(run) -> list[dict]:
    (path,) = run["out"].glob("artifacts/evaluate-*/predictions.parquet")
    return pq.read_table(path).to_pylist()


def test_every_model_answered_every_question_of_every_benchmark_once(run):
    questions = questions_of(run)
    predictions = predictions_of(run)
    assert {question.dataset for question in questions.values()} == set(SPLITS)
    pairs = [(row["method"], row["id"]) for row in predictions]
    assert len(pairs) == len(set(pairs)) == 2 * len(questions)
    assert {method for method, _ in pairs} == {"original", "careful"}
    for row in predictions:
        verdict = judge_reply(row["response"], questions[row["id"]])
        assert (row["outcome"], row["unparsed"]) == (verdict.kind, verdict.unparsed), row
        assert row["score"] == pytest.approx(verdict.score)
    assert any(row["response"] for row in predictions)


def test_replies_came_as_parts_and_outlived_the_kill(run):
    parts = sorted(run["out"].glob("replies/*/0???????.parquet"))
    assert len(parts) > len(run["finished"]) >= 1
    for part, written in run["finished"].items():
        assert part.stat().st_mtime_ns == written
    asked = [row for path in run["out"].glob("replies/*/requests.parquet") for row in pq.read_table(path).to_pylist()]
    # The second run asked only for the examples without a reply.
    stored = {row["key"] for part in run["finished"] for row in requests_of(part)}
    later = [row["key"] for row in asked if row["key"] in stored]
    assert len(later) == len(set(later))


def requests_of(part: Path) -> list[dict]:
    return Parts(str(part.parent), StorageConfig()).read_requests(int(part.stem)).to_pylist()


def test_prompts_are_those_of_the_corpora(run):
    questions = questions_of(run)
    rows = [row for path in run["out"].glob("replies/*/requests.parquet") for row in pq.read_table(path).to_pylist()]
    prompts = PromptConfig()
    for row in rows:
        question = questions[row["id"]]
        variants = [render_question(question, prompts, refusal_instruction=flag) for flag in (False, True)]
        assert row["prompt"] in [DEFAULT_FAMILY.chat.prompt(text, num_images=len(question.images)) for text in variants]


def test_scores_and_tables_are_written(run):
    content = json.loads((run["out"] / "benchmarks.json").read_text())
    scores = {(row["method"], row["benchmark"]): row for row in content["scores"]}
    assert scores.keys() == {(method, dataset) for method in ("original", "careful") for dataset in SPLITS}
    for row in scores.values():
        assert row["s_trust"] == 2 * row["acc"] + row["refr"] - 100
    assert (
        scores["original", "mmbench"]["num_questions"] == 2 == scores["original", "mmbench"]["vanilla"]["num_questions"]
    )
    assert scores["original", "vizwiz"]["unanswerable"]["num_questions"] == 1
    assert content["scoring"]["rules"] == "ours"
    tables = (run["out"] / "tables.md").read_text()
    assert tables in run["output"] and "Table 2: Out-of-domain" in tables and "| careful |" in tables


def test_a_finished_evaluation_starts_nothing(run):
    again = start(run["config"])
    output = again.communicate(timeout=120)[0]
    assert again.returncode == 0 and "Ray is up" not in output and output.count("finished before") == 4
