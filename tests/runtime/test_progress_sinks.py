"""What the progress board adds up and times, and what its log says. The dashboard's side is in tests/cluster."""

import json

import pytest

from inbol_ray.runtime import progress
from inbol_ray.runtime.progress import ProgressBoard, StageProgress, UnitTiming
from inbol_ray.runtime.progress_sinks import JsonLog


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests set: `clock[0]` is the time in seconds."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


class Recorder:
    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def changed(self, event, stage, text) -> None:
        self.events.append((event, text))

    def finished(self, manifest) -> None:
        self.events.append(("finished", manifest["artifact"]))


def test_parts_add_up_and_a_new_unit_starts_over(clock):
    stage = StageProgress("unanswerable", "unanswerable-1", 0.0)
    assert str(stage) == ""
    stage.report("a", 32, 100, "questions written", "", {})
    stage.report("b", 32, 100, "questions written", "", {})
    stage.report("a", 64, 100, "questions written", "", {"x": 1.0})
    assert stage.done == 96 and str(stage) == "96/100 questions written"
    stage.report("b", 10, 40, "judged", "so far", {"y": 2.0})
    assert stage.done == 10 and str(stage) == "10/40 judged  so far" and stage.measures == {"x": 1.0, "y": 2.0}


def test_the_rate_leaves_out_the_start(clock):
    stage = StageProgress("confidence", "confidence-1", 0.0)
    clock[0] = 100.0
    stage.report("a", 50, 1000, "questions", "", {})
    assert stage.rate_per_s == 0.0
    clock[0] = 110.0
    stage.report("a", 150, 1000, "questions", "", {})
    assert stage.rate_per_s == pytest.approx(10.0)


def test_blocks_are_timed_by_part_without_the_first(clock):
    timing = UnitTiming(0.0)
    for now, part, done in ((30, "a", 10), (31, "b", 10), (33, "a", 20), (37, "b", 20), (38, "a", 30)):
        clock[0] = float(now)
        timing.report(part, done)
    clock[0] = 40.0
    assert timing.to_json() == {
        "parts": 2,
        "done": 50,
        "first_report_s": 30.0,
        "tail_s": 2.0,
        "blocks": [[10, 3.0], [10, 6.0], [10, 5.0]],
    }


def test_kept_timings_are_bounded(clock):
    timing = UnitTiming(0.0)
    for step in range(10_001):
        clock[0] += 1
        timing.report("a", step)
    blocks = timing.to_json()["blocks"]
    assert len(blocks) <= progress.MAX_BLOCKS and all(block == [1, 1.0] for block in blocks)


def test_the_board_tells_its_sinks_and_ignores_other_artifacts(clock):
    sink = Recorder()
    board = ProgressBoard([sink])
    board.report("early-1", "a", 1, 2, "rows", "", {})
    board.start("data", "data-1")
    board.report("data-0", "a", 1, 2, "rows", "", {})
    board.report("data-1", "a", 1, 2, "rows", "", {})
    assert board.state() == "1/2 rows" and board.timing("data-0") == {} and board.timing("data-1")["rows"]["done"] == 1
    assert not board.is_stopping()
    board.stop()
    board.wait("for nodes")
    board.finish({"artifact": "data-1"})
    assert board.is_stopping()
    assert [event for event, _ in sink.events] == ["started", "progress", "stopping", "waiting", "finished"]
    assert ("waiting", "for nodes") in sink.events and ("progress", "1/2 rows") in sink.events


def test_log_lines_name_job_stage_and_artifact(tmp_path, clock):
    clock[0] = 1000.0
    board = ProgressBoard([JsonLog(tmp_path / "log.jsonl", "job7")])
    board.start("data", "data-1")
    for done in range(5):  # many reports at one moment are one line
        board.report("data-1", "a", done, 5, "rows", "", {"loss": 0.5})
    board.fail("RuntimeError: boom")
    manifest = {"stage": "data", "artifact": "data-1", "counts": {"rows": 5}, "rejected": {"empty": 1}, "wall_s": 2.0}
    board.finish(manifest | {"settings": {}})
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["started", "progress", "failed", "finished"]
    assert all((line["job"], line["stage"], line["artifact"]) == ("job7", "data", "data-1") for line in lines)
    assert lines[1]["measures"] == {"loss": 0.5} and lines[2]["text"] == "RuntimeError: boom"
    assert lines[3]["rejected"] == {"empty": 1}
