"""Score a file of replies: any model, any harness, no GPU.

usage: python examples/score_replies_file.py [FILE.jsonl | FILE.parquet]

Without a file it writes one of two models' replies to four questions. `inbol_ray/evaluation/reply_file.py` has the
format; rows may also name questions of a benchmark by id (`python jobs/score.py --help`).
"""

import json
import sys
import tempfile
from pathlib import Path

from inbol_ray import ScoredReplies, score_replies

QUESTIONS = [
    {"id": "desk", "question": "What is on the desk?", "answers": ["a lamp", "lamp"]},
    {"id": "bus", "question": "What color is the bus?", "answers": ["red"]},
    {"id": "size", "question": "Which is larger?", "choices": ["cat", "bus"], "gold": "B"},
    {"id": "before", "question": "What did he say before?", "answerable": False},
]
REPLIES = {
    "sure": ["A lamp.", "blue", "B", "hello"],
    "careful": ["A lamp.", "I can't tell from this image.", "B", "Sorry, I can't answer that."],
}


def write_replies(path: Path) -> None:
    rows = [
        {**question, "model": model, "reply": reply}
        for model, replies in REPLIES.items()
        for question, reply in zip(QUESTIONS, replies, strict=True)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))


def main(path: str | None = None) -> ScoredReplies:
    """Print the table and what could not be used; return both."""
    with tempfile.TemporaryDirectory() as folder:
        if path is None:
            path = f"{folder}/replies.jsonl"
            write_replies(Path(path))
        scored = score_replies(path)
    print(scored)
    return scored


if __name__ == "__main__":
    main(*sys.argv[1:2])
