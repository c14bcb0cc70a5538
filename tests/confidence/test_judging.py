"""Judging in Ray tasks: what comes back is what one process would have said, in the order of the questions."""

import time

import pyarrow as pa
import pytest

from inbol_ray.confidence import judging
from inbol_ray.confidence.judging import JUDGED, Judge, judge_samples
from inbol_ray.config.machines import StorageConfig
from inbol_ray.config.sampling import SamplingConfig, ScoringRules
from inbol_ray.rows import QUESTION, Question
from inbol_ray.sampling.in_hand import reply_table
from inbol_ray.sampling.parts import open_parts
from inbol_ray.sampling.vllm_engine import Reply

NUM_QUESTIONS = 50
FAILED = 33


class SlowAtFirst(Judge):
    """Ends its first rows after all others."""

    def __call__(self, batch: pa.Table) -> pa.Table:
        if batch["id"][0].as_py() == "d:train:00":
            time.sleep(1.5)
        return super().__call__(batch)


def question(n: int) -> Question:
    return Question(f"d:train:{n:02d}", "d", "train", ["a.png"], f"What is {n}?", "open", ["cat"])


def samples(n: int) -> Reply:
    if n == FAILED:
        return Reply([], [], {}, "unreadable_image", "no such file")
    return Reply(["cat"] * (n % 4) + ["dog", "I don't know."], [[-0.1 * n, -1.0]] * (n % 4 + 2), {})


@pytest.fixture
def parts(tmp_path):
    """Replies to 50 questions in blocks of eight."""
    rows = [question(n).to_row() for n in range(NUM_QUESTIONS)]
    requests = pa.Table.from_pylist(rows, schema=QUESTION).append_column("checkpoint", pa.array(["m"] * NUM_QUESTIONS))
    parts = open_parts(str(tmp_path), StorageConfig(), [requests], {}, 8)
    for block in range(parts.num_blocks):
        ids = parts.read_requests(block)["id"].to_pylist()
        parts.write(block, ids, reply_table([samples(int(id.rpartition(":")[2])) for id in ids]))
    return parts


def test_tasks_judge_as_one_process_does(local_ray, parts, monkeypatch):
    monkeypatch.setattr(judging, "ROWS_PER_TASK", 24)
    judge = SlowAtFirst(SamplingConfig(), ScoringRules(), None, NUM_QUESTIONS)
    tables = list(judge.judge_parts(parts))
    assert 1 < len(tables) < parts.num_blocks and all(table.schema == JUDGED for table in tables)
    rows = [row for table in tables for row in table.to_pylist()]
    assert [row["id"] for row in rows] == [question(n).id for n in range(NUM_QUESTIONS)]
    failed = rows.pop(FAILED)
    assert (failed["reason"], failed["detail"], failed["outcomes"]) == ("unreadable_image", "no such file", None)
    alone = [
        judge_samples(Question.from_row(row), row, SamplingConfig()) | {"reason": "", "detail": ""}
        for row in parts.rows()
        if not row["reason"]
    ]
    assert pa.Table.from_pylist(rows, schema=JUDGED).equals(pa.Table.from_pylist(alone, schema=JUDGED))
