"""Seconds that one core needs to judge a million replies; `make bench-scoring`.

Replies are labelled ones that the detector is trained on, short ones, nearly half of which refuse: the slow case. `all different` has a number
behind each, so that no cache helps; `half different` behind every second one, still less repetition than a model has.
Writes build/bench/scoring.json.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from inbol_ray.rows import Question
from inbol_ray.scoring.outcome import judge_reply, prepare_verdicts
from inbol_ray.scoring.refusal import detect_refusals

ROOT = Path(__file__).parents[1]
LABELLED = ROOT / "inbol_ray" / "scoring" / "refusal_replies" / "without_question.jsonl"
RESULT = ROOT / "build" / "bench" / "scoring.json"
NUM_REPLIES = 1_000_000
VQA = Question(
    "d:s:1", "vqav2", "s", ["x.jpg"], "What is on the table?", "vqa10", gold_answers=["red"] * 6 + ["blue"] * 4
)
CHOICE = Question(
    "d:s:2", "scienceqa", "s", ["x.jpg"], "Which is it?", "mc", choices=["rock", "air", "a man"], gold_index=1
)

_TOGETHER = 10_000
"""Replies that a stage has at hand at a time, about."""


def _detect(replies: Sequence[str]) -> None:
    detect_refusals(replies, [None] * len(replies))


def _judge_as(question: Question) -> Callable[[Sequence[str]], None]:
    def judge(replies: Sequence[str]) -> None:
        prepare_verdicts((reply, question) for reply in replies)
        for reply in replies:
            judge_reply(reply, question)

    return judge


JUDGES: dict[str, Callable[[Sequence[str]], None]] = {
    "refusal detection": _detect,
    "judging a VQA reply": _judge_as(VQA),
    "judging a choice": _judge_as(CHOICE),
}


def main() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    labelled = [json.loads(line)["reply"] for line in LABELLED.read_text("utf-8").splitlines()]
    results: dict = {"replies": NUM_REPLIES, "labelled": len(labelled)}
    for kind, every in (("all different", 1), ("half different", 2)):
        replies = [labelled[n % len(labelled)] + ("" if n % every else f" {n}") for n in range(NUM_REPLIES)]
        results[kind] = {name: _measure(f"{name}, {kind}", judge, replies) for name, judge in JUDGES.items()}
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(results, indent=1))


def _measure(name: str, judge: Callable[[Sequence[str]], None], replies: list[str]) -> dict[str, float]:
    started, cpu = time.perf_counter(), time.process_time()
    for start in range(0, len(replies), _TOGETHER):
        judge(replies[start : start + _TOGETHER])
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    print(f"{name:<40} {len(replies):,} replies in {wall_s:5.1f} s ({cpu_s:.1f} s of CPU)", flush=True)
    return {"wall_s": round(wall_s, 2), "cpu_s": round(cpu_s, 2)}


if __name__ == "__main__":
    main()
