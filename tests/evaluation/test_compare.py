"""Which questions are compared, what is left out and told, examples, files, and the job."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inbol_ray.config.machines import StorageConfig
from inbol_ray.errors import DataError, RowCountError
from inbol_ray.evaluation.compare import compare_predictions
from inbol_ray.evaluation.prediction_files import read_side
from inbol_ray.report.comparison import render_comparison
from inbol_ray.rows import PREDICTION

ROOT = Path(__file__).parents[2]
OUTCOMES = {"c": "correct", "w": "wrong", "r": "refused", "e": "error"}


def _table(outcomes: str, method: str = "m", first: int = 0, **columns) -> pa.Table:
    """Question `first`, `first` + 1, ... of `vqav2`; a callable column makes a value of each number."""
    rows = []
    for number, outcome in enumerate(outcomes, first):
        row = {
            "id": f"vqav2:val:{number}",
            "benchmark": "vqav2",
            "domain": "in_domain",
            "method": method,
            "seed": 0,
            "images": [f"{number}.png"],
            "question": f"What is {number}?",
            "gold_answers": ["cup"],
            "response": OUTCOMES[outcome],
            "outcome": OUTCOMES[outcome],
            "unparsed": False,
            "score": 0.0,
        }
        rows.append(row | {name: value(number) if callable(value) else value for name, value in columns.items()})
    return pa.Table.from_pylist(rows, schema=PREDICTION)


def _compare(a: pa.Table, b: pa.Table, **options):
    return compare_predictions(a, b, ("a", "b"), **options)


def _of(comparison, metric: str, benchmark: str | None = "vqav2"):
    return next(one for one in comparison.differences if (one.metric, one.benchmark) == (metric, benchmark))


def test_only_shared_questions_are_compared_and_the_others_counted():
    other = _table("w", benchmark="gqa", first=90, id="gqa:test:90")
    comparison = _compare(pa.concat_tables([_table("ccwr"), other]), _table("wcwrc", first=1))
    acc = _of(comparison, "acc")
    assert (acc.num_questions, acc.a, acc.b) == (3, pytest.approx(100 / 3), pytest.approx(100 / 3))
    assert comparison.num_only_a == {"gqa": 1, "vqav2": 1} and comparison.num_only_b == {"vqav2": 2}
    text = render_comparison(comparison)
    assert "2 questions that only a has are left out (gqa 1, vqav2 1)." in text
    assert "2 questions that only b has are left out (vqav2 2)." in text


def test_questions_with_another_wording_or_reference_are_left_out():
    changed = {"question": lambda number: "Other?" if number == 0 else f"What is {number}?"}
    reference = {"gold_answers": lambda number: ["hat"] if number == 1 else ["cup"]}
    comparison = _compare(_table("cccw"), _table("wwcc", **changed, **reference))
    assert comparison.num_changed == {"vqav2": 2} and _of(comparison, "acc").num_questions == 2
    assert "2 questions whose wording or reference differs are left out" in render_comparison(comparison)
    with pytest.raises(DataError, match="all 2 questions that both have differ in wording or reference"):
        _compare(_table("cc"), _table("cc", question="Other?"))


def test_questions_that_share_an_image_are_one_cluster_also_over_a_third():
    images = {"images": lambda number: [["x"], ["x", "y"], ["y"], ["z"], []][number]}
    assert _of(_compare(_table("cwcwc", **images), _table("wwwww", **images)), "acc").num_clusters == 3


def test_rotations_count_as_one_question_the_worst():
    columns = {"benchmark": "mmbench", "group": "vqav2:val:0", "images": ["a.png"]}
    comparison = _compare(_table("ccc", **columns), _table("ccw", **columns))
    acc = _of(comparison, "acc", "mmbench")
    assert (acc.num_questions, acc.a, acc.b) == (1, 100.0, 0.0)


def test_several_benchmarks_are_compared_together_too():
    halves = {"benchmark": lambda number: "gqa" if number % 2 else "vqav2"}
    comparison = _compare(_table("cccc", **halves), _table("cwcw", **halves))
    assert {one.benchmark for one in comparison.differences} == {"gqa", "vqav2", None}
    assert (_of(comparison, "acc", "gqa").difference, _of(comparison, "acc", None).difference) == (100.0, 50.0)
    assert comparison.num_comparisons == 12


def test_seeds_meet_and_are_one_cluster():
    a = pa.concat_tables([_table("cc", seed=1), _table("cw", seed=2)])
    b = pa.concat_tables([_table("wc", seed=2), _table("ww", seed=3)])
    acc = _of(_compare(a, b), "acc")
    assert (acc.num_questions, acc.a, acc.b) == (2, 50.0, 50.0)  # seed 2 alone
    both = _of(_compare(a, pa.concat_tables([_table("ww", seed=1), _table("ww", seed=2)])), "acc")
    assert (both.num_questions, both.num_clusters) == (4, 2)
    assert _of(_compare(_table("cc", seed=1), _table("ww", seed=5)), "acc").difference == 100.0


def test_examples_of_both_directions_whatever_the_replies():
    a, b = _table("cwrcwe" * 4), _table("wcwcwr" * 4)
    comparison = _compare(a, b, num_examples=5)
    assert (comparison.num_a_better, comparison.num_b_better) == (8, 8)
    assert len(comparison.a_better) == len(comparison.b_better) == 5
    first = comparison.a_better[0]
    assert (first["a_outcome"], first["b_outcome"]) in {("correct", "wrong"), ("refused", "wrong")}
    assert comparison.a_better == _compare(a, b).a_better[:5]
    reversed_rows = a.take(list(range(a.num_rows))[::-1])
    assert _compare(reversed_rows, b, num_examples=5) == comparison


def test_hostile_text_stays_one_cell():
    text = "a|b\n<script>\x1b[31m" + "x" * 500
    comparison = _compare(_table("c", response=text, question=text), _table("w", question=text))
    assert "\x1b" not in render_comparison(comparison) and "<script>" in render_comparison(comparison)
    markdown = render_comparison(comparison, markdown=True)
    assert "<script>" not in markdown and "a\\|b &lt;script>" in markdown and "\x1b" not in markdown


def test_a_verdict_needs_a_corrected_p_value():
    assert "No difference is shown" in render_comparison(_compare(_table("cccc"), _table("wccc")))
    shown = render_comparison(_compare(_table("c" * 40), _table("w" * 20 + "c" * 20)))
    assert "Shown (corrected p below 0.05): Acc +50.0 on vqav2" in shown


@pytest.mark.parametrize(
    ("a", "b", "kind", "words"),
    [
        (_table("c").drop(["group"]), _table("c"), DataError, r"found no columns \['group'\]"),
        (pa.concat_tables([_table("c", "x"), _table("c", "y")]), _table("c"), DataError, "methods x, y, expected one"),
        (_table("c"), _table("c", first=5), DataError, "none in common"),
        (_table("c"), _table(""), DataError, "none in common"),
        (pa.concat_tables([_table("c")] * 2), _table("c"), RowCountError, "'vqav2:val:0' .* more than once"),
    ],
)
def test_sides_that_cannot_be_compared(a, b, kind, words):
    with pytest.raises(kind, match=words):
        _compare(a, b)


def test_sides_by_folder_file_and_method(tmp_path):
    both = pa.concat_tables([_table("cc", "x"), _table("ww", "y")])
    (tmp_path / "run:1").mkdir()
    pq.write_table(both, tmp_path / "run:1" / "predictions.parquet")
    for side in (f"{tmp_path}/run:1", f"{tmp_path}/run:1/predictions.parquet"):
        assert read_side(side, StorageConfig()).num_rows == 4
        assert read_side(f"{side}:y", StorageConfig())["outcome"].to_pylist() == ["wrong", "wrong"]
    with pytest.raises(DataError, match="found no method 'z', expected one of x, y"):
        read_side(f"{tmp_path}/run:1:z", StorageConfig())
    with pytest.raises(DataError, match="found no predictions.parquet"):
        read_side(str(tmp_path), StorageConfig())
    (tmp_path / "bad.parquet").write_text("no")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_side(f"{tmp_path}/bad.parquet", StorageConfig())


def _run(*options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "jobs" / "compare.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


def test_the_job(tmp_path):
    pq.write_table(pa.concat_tables([_table("ccwr", "x"), _table("wwwc", "y")]), tmp_path / "predictions.parquet")
    done = _run(f"{tmp_path}:x", f"{tmp_path}/predictions.parquet:y", "--output_dir", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "2 questions on which a is better" in done.stdout and "vqav2" in done.stdout
    stored = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert stored["a"] == f"{tmp_path}:x" and stored["differences"][0]["difference"] == 25.0
    assert (tmp_path / "out" / "comparison.md").read_text().startswith("# a = ")
    for options, code, words in (
        ([f"{tmp_path}:x"], 2, "expected two"),
        ([f"{tmp_path}:x", "b", "--config", "c.yaml"], 2, "--config: unknown option"),
        ([f"{tmp_path}:x", str(tmp_path / "none")], 1, "found no predictions.parquet"),
    ):
        refused = _run(*options)
        assert refused.returncode == code and refused.stderr.startswith("error: ") and words in refused.stderr
    assert "usage: python jobs/compare.py A B" in _run("--help").stdout
