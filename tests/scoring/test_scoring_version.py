"""Who changes how a reply is judged raises SCORING_VERSION: finished verdicts become stale by nothing else."""

import hashlib
import json
from pathlib import Path

from inbol_ray.config.sampling import ScoringRules
from inbol_ray.rows import Question
from inbol_ray.scoring.outcome import SCORING_VERSION, judge_answer
from inbol_ray.scoring.refusal_network import WEIGHTS_SHA256

DATA = Path(__file__).parent / "data"
FILES = ("sentence_replies.jsonl", "sentence_replies_dev.jsonl", "sentence_replies_own.jsonl", "refusal_replies.jsonl")
OPTIONS = ("the red one", "two cats", "no", "a plain wooden handle")
SNAPSHOTS = {1: "99474087028d"}
"""By SCORING_VERSION, the start of a digest of the refusal detector's weights and of what the rules say of the labelled
replies, as open answers, choices, yes or no, entities and MMMU's open ones, under each rule."""


def test_verdicts_are_those_of_their_version():
    digest = hashlib.sha256(WEIGHTS_SHA256.encode())
    rules = [ScoringRules(rules=name) for name in ("ours", "official", "free_text")]
    for file in FILES:
        for line in (DATA / file).read_text("utf-8").splitlines():
            row = json.loads(line)
            for question in questions(row):
                digest.update(f"{[judge_answer(row['reply'], question, 0.5, rule) for rule in rules]}".encode())
    assert digest.hexdigest()[:12] == SNAPSHOTS[SCORING_VERSION], digest.hexdigest()


def questions(row: dict) -> list[Question]:
    """One of each kind that has a rule of its own, about the same reply."""
    asked, gold = row.get("question") or "What is it?", list(row.get("gold") or ["two cats"])
    choices = list(row.get("options") or row.get("choices") or OPTIONS)
    return [
        Question("q", "vqav2", "val", [], asked, "vqa10", gold_answers=gold * 10),
        Question("q", "gqa", "testdev", [], asked, "open", gold_answers=gold),
        Question("q", "oven", "val", [], asked, "entity", gold_answers=gold),
        Question("q", "aokvqa", "val", [], asked, "mc", choices=choices, gold_index=1),
        Question("q", "vqav2_idk", "val", [], asked, "exact", gold_answers=["yes"]),
        Question("q", "mmmu", "validation", [], asked, "open", gold_answers=gold),
    ]
