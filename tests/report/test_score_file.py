"""Files of replies -> the report of an evaluation, by hand and on every benchmark's own format; what the job prints."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from benchmark_files import write_benchmarks

from inbol_ray.config.corpora import BenchmarkConfig
from inbol_ray.config.load import load_config
from inbol_ray.errors import DataError, MissingInputError
from inbol_ray.evaluation.benchmark_questions import read_benchmarks
from inbol_ray.report.score_file import score_replies
from inbol_ray.rows import PREDICTION

ROOT = Path(__file__).parents[2]
DEMO = str(ROOT / "jobs" / "configs" / "demo.yaml")


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpora")
    return [BenchmarkConfig(**one) for one in write_benchmarks(root)], root


def _write(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def _own(number: int, reply: str, **fields) -> dict:
    return {"id": number, "question": f"What is {number}?", "answers": ["cup"], "reply": reply} | fields


def test_two_lines_of_python(tmp_path):
    path = _write(tmp_path / "mine.jsonl", [_own(1, "cup"), _own(2, "hat"), _own(3, "I don't know."), _own(4, "")])
    scored = score_replies(path)
    (row,) = scored.results["results"]
    assert (row["method"], row["domain"], row["num_questions"], row["num_errors"]) == ("mine", "out_of_domain", 4, 1)
    assert (row["acc"], row["refr"], row["s_trust"], row["answered_acc"]) == (25.0, 25.0, -25.0, 50.0)
    assert scored.predictions.schema == PREDICTION and scored.rejected == []
    assert "4 of 4 rows used" in str(scored) and "mine" in str(scored)
    assert "risk_coverage" not in scored.results


def test_every_benchmark_by_id_in_its_official_format(tmp_path, benchmarks):
    configured, root = benchmarks
    ids = [row["id"] for row in read_benchmarks(configured).rows]
    before = sorted(root.rglob("*"))
    scored = score_replies(
        _write(tmp_path / "m.jsonl", [{"id": id, "reply": "I don't know."} for id in ids]),
        benchmarks=configured,
        output_dir=str(tmp_path / "out"),
    )
    assert scored.predictions.num_rows == len(ids) and not scored.rejected
    assert {row["benchmark"]: row["refr"] for row in scored.benchmarks} == {one.dataset: 100.0 for one in configured}
    assert sorted(root.rglob("*")) == before  # no embedded image was written out
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results == json.loads(json.dumps(scored.results))
    assert [list(results["provenance"]["replies"])] == [[str(tmp_path / "m.jsonl")]]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "results.json",
        "predictions.parquet",
        "report.html",
        "benchmarks.json",
    }


def test_what_cannot_be_used_is_counted_told_and_written(tmp_path):
    rows = [
        _own(1, "cup"),
        _own(1, "hat"),
        _own(1, "hat", seed=0),
        _own(2, "cup") | {"reply": None},
        {"id": "nowhere", "reply": "cup"},
        _own(1, "cup", model="other") | {"answers": ["hat"]},
        _own(3, "cup", prompt="p"),
    ]
    path = _write(tmp_path / "m.jsonl", rows)
    scored = score_replies(path, output_dir=str(tmp_path / "out"))
    counts = scored.results["replies"][path]
    assert (counts["rows"], counts["used"]) == (7, 2)
    assert counts["rejected"] == {"changed_question": 1, "duplicate_id": 2, "missing_reply": 1, "unknown_id": 1}
    stored = pq.read_table(tmp_path / "out" / "rejected.parquet").to_pylist()
    assert [row["reason"] for row in stored] == [row.reason for row in scored.rejected]
    assert counts["ignored_fields"] == ["prompt"]
    text = str(scored)
    assert "line 2, field 'id': found own:file:1 of model 'm', seed 0, which line 1 has" in text
    assert "2 duplicate_id" in text and "Fields that were not read: prompt." in text
    assert [row["response"] for row in scored.predictions.to_pylist()] == ["cup", "cup"]
    score_replies(_write(tmp_path / "m.jsonl", rows[:1]), output_dir=str(tmp_path / "out"))
    assert not (tmp_path / "out" / "rejected.parquet").exists()  # it would be the earlier report's


def test_questions_without_a_reply(tmp_path):
    rows = [_own(k, "cup", model="a") for k in range(4)] + [_own(0, "cup", model="b"), _own(9, "cup", model="b")]
    path = _write(tmp_path / "m.jsonl", rows)
    scored = score_replies(path)
    scores = {row["method"]: row for row in scored.results["results"]}
    assert (scores["a"]["num_questions"], scores["a"]["num_errors"], scores["a"]["s_trust"]) == (5, 1, 60.0)
    assert (scores["b"]["num_errors"], scores["b"]["s_trust"]) == (3, -20.0)
    assert "b has no reply to 3 questions of own" in str(scored) and "count as errors" in str(scored)
    left = score_replies(path, missing="leave_out")
    assert {row["method"]: row["num_questions"] for row in left.results["results"]} == {"a": 1, "b": 1}
    assert {row["method"]: row["num_questions"] for row in left.benchmarks} == {"a": 4, "b": 2}
    assert "4 replies are to questions that not every model has" in str(left)


def test_a_benchmark_that_a_model_was_not_asked_is_no_error(tmp_path):
    rows = [_own(1, "cup", model=model, benchmark="x") for model in "ab"] + [_own(2, "cup", model="a", benchmark="y")]
    scored = score_replies(_write(tmp_path / "m.jsonl", rows))
    assert [row["num_errors"] for row in scored.results["results"]] == [0, 0]
    assert [(row["method"], row["benchmark"]) for row in scored.benchmarks] == [("a", "x"), ("a", "y"), ("b", "x")]


def test_several_files_and_seeds(tmp_path):
    a = _write(tmp_path / "a.jsonl", [_own(1, "cup", seed=1), _own(1, "hat", seed=2)])
    pq.write_table(pa.Table.from_pylist([_own(1, "hat", seed=1), _own(1, "hat", seed=2)]), tmp_path / "b.parquet")
    scored = score_replies([a, tmp_path / "b.parquet"])
    assert {(row["method"], row["seed"]): row["acc"] for row in scored.results["results"]} == {
        ("a", 1): 100.0,
        ("a", 2): 0.0,
        ("b", 1): 0.0,
        ("b", 2): 0.0,
    }
    with pytest.raises(DataError, match="which .*a.jsonl has too, expected a model and seed in one file"):
        score_replies([a, _write(tmp_path / "c.jsonl", [_own(1, "cup", seed=1, model="a")])])


def test_confidences_give_risk_coverage_and_calibration_error(tmp_path):
    rows = [_own(1, "cup", confidence=0.9), _own(2, "hat", confidence=0.4), _own(3, "I don't know", confidence=0.1)]
    scored = score_replies(_write(tmp_path / "m.jsonl", [*rows, _own(4, "cup")]), output_dir=str(tmp_path / "out"))
    (row,) = scored.results["risk_coverage"]
    assert (row["signal"], row["num_questions"], row["aurc"]) == ("reported", 2, 25.0)
    assert row["ece_equal_width"] == pytest.approx(100 * (0.1 + 0.4) / 2)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "The answers that came with a confidence" in page and "P(refusal)" not in page


def test_nothing_usable_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"none of 1 rows can be used.*unknown_id"):
        score_replies(_write(tmp_path / "m.jsonl", [{"id": 1, "reply": "a"}]))
    with pytest.raises(DataError, match="found no row"):
        score_replies(_write(tmp_path / "m.jsonl", []))


def test_a_configurations_benchmarks_and_rules(tmp_path, benchmarks):
    configured = [one.model_dump() for one in benchmarks[0] if one.dataset in ("vqav2", "gqa")]
    options = ["--evaluation.benchmarks", json.dumps(configured), "--output_dir", str(tmp_path / "run")]
    config = load_config(["--config", DEMO, *options, "--sampling.correct_threshold", "1"])
    path = _write(tmp_path / "m.jsonl", [{"id": "vqav2:val2014:9001", "reply": "red"}])
    scored = score_replies(path, config=config)
    assert [(row["benchmark"], row["num_questions"], row["acc"]) for row in scored.benchmarks] == [
        ("vqav2", 3, pytest.approx(100 / 3))
    ]
    assert scored.results["provenance"]["correct_threshold"] == 1.0
    with pytest.raises(ValueError, match="give one of them"):
        score_replies(path, config=config, benchmarks=benchmarks[0])
    with pytest.raises(MissingInputError, match="has not been rendered; run the job `pipeline` first"):
        score_replies(path, config=load_config(["--config", DEMO, "--output_dir", str(tmp_path / "none")]))


def _run(*options: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-X", "importtime", str(ROOT / "jobs" / "score.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_the_job_needs_no_ray_and_no_model_library(tmp_path, benchmarks):
    gqa = next(one for one in benchmarks[0] if one.dataset == "gqa")
    replies = _write(tmp_path / "m.jsonl", [{"id": "00", "reply": "no"}, {"id": "zz", "reply": "no"}])
    done = _run(
        "--replies", replies, "--benchmark", f"gqa:testdev_balanced:in_domain={gqa.root}", "--output_dir", str(tmp_path)
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "in-domain" in done.stdout and "1 of 2 rows used" in done.stdout and "1 unknown_id" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "pyarrow" in imported and not imported & {"ray", "vllm", "torch", "transformers"}
    assert json.loads((tmp_path / "results.json").read_text())["results"][0]["num_errors"] == 1


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--replies", "nowhere.jsonl"], 1, "error: nowhere.jsonl: no such file"),
        (["--replies", "a.jsonl", "--benchmark", "gqa"], 2, "expected DATASET:SPLIT=ROOT"),
        (["--replies", "a.jsonl", "--benchmark", "nobody:test=/data"], 2, "no reader for this dataset"),
        (["--replies", "a.jsonl", "--benchmark", "gqa:test:inside=/data"], 2, "found the domain 'inside'"),
        (["--replies", "a.jsonl", "--missing", "maybe"], 2, "found 'maybe', expected error or leave_out"),
        (["--replies", "a.jsonl", "--seed", "1"], 2, "no configuration: give --config FILE"),
        (["--benchmark", "gqa:test=/data"], 2, "give --replies FILE"),
        (["--replies", "a.jsonl", "--config", DEMO, "--benchmark", "gqa:test=/data"], 2, "leave out this option"),
        (["--replies", "a.jsonl", "--config", "nowhere.yaml"], 2, "nowhere.yaml: cannot read"),
    ],
)
def test_what_the_job_says_of_wrong_options(options, code, words, tmp_path):
    done = _run(*options, "--output_dir", str(tmp_path))
    assert done.returncode == code and words in done.stderr
