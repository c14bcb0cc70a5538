"""A corpus of your own: `train.jsonl` beside the pictures, read as the pipeline reads it.

usage: python examples/own_corpus.py [FOLDER [SPLIT]]

Without a folder it writes one with four questions, one of which is broken on purpose. The whole format is at the top of
`inbol_ray/corpora/own.py`. `python jobs/corpus.py check --config FILE` does the same for every corpus of a
configuration, and looks for leakage.
"""

import json
import sys
import tempfile
from pathlib import Path

from PIL import Image

from inbol_ray import Question, render_question
from inbol_ray.config.corpora import CorpusConfig
from inbol_ray.corpora.source import CorpusSource, read_rows
from inbol_ray.rows import Rejected

ROWS = [
    {"id": 1, "question": "What is on the desk?", "image": "desk.png", "answers": ["a lamp", "lamp"]},
    {"id": 2, "question": "Which is larger?", "image": "two.png", "choices": ["cat", "bus"], "answer": "B"},
    {"id": 3, "question": "What did he say before?", "image": "man.png", "answerable": False},
    {"id": 4, "question": "What is this?", "image": "lost.png", "answers": ["a cup"]},
]


def write_corpus(folder: Path) -> None:
    for name in ("desk.png", "two.png", "man.png"):
        Image.new("RGB", (64, 48), "gray").save(folder / name)
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, ROWS)))


def main(folder: str | None = None, split: str = "train") -> tuple[list[Question], list[Rejected]]:
    """Print prompts and rejected rows; return questions and rejected rows."""
    with tempfile.TemporaryDirectory() as example:
        if folder is None:
            write_corpus(Path(example))
            folder = example
        rows = list(read_rows(CorpusSource(CorpusConfig(dataset="own", split=split, root=folder), folder)))
    questions = [row for row in rows if isinstance(row, Question)]
    rejected = [row for row in rows if isinstance(row, Rejected)]
    for question in questions:
        expected = question.gold_answers or "(a refusal)"
        print(f"{question.id}\n  {render_question(question)!r}\n  expected: {expected}")
    for row in rejected:
        print(f"{row.id} rejected as {row.reason}: {row.detail}")
    return questions, rejected


if __name__ == "__main__":
    main(*sys.argv[1:3])
