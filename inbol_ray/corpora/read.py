"""One entry to all corpora: CorpusConfig -> Question | Rejected."""

import os
from collections.abc import Callable, Iterator

from inbol_ray.config.schema import CorpusConfig
from inbol_ray.corpora.oven import read_oven
from inbol_ray.corpora.scienceqa import read_scienceqa
from inbol_ray.corpora.vizwiz import read_vizwiz
from inbol_ray.corpora.vqav2 import read_vqav2
from inbol_ray.corpora.vqav2_idk import read_vqav2_idk
from inbol_ray.rows import Question, Rejected

READERS: dict[str, Callable[[str, str], Iterator[Question | Rejected]]] = {
    "vqav2": read_vqav2,
    "scienceqa": read_scienceqa,
    "oven": read_oven,
    "vizwiz": read_vizwiz,
    "vqav2_idk": read_vqav2_idk,
}
"""Reader of each dataset that a configuration can name: (root, split) -> rows in file order."""


def read_questions(corpus: CorpusConfig, root: str) -> Iterator[Question | Rejected]:
    """Questions of a corpus in file order, at most `corpus.limit`, and a rejection for each row that is none.

    `root` is the folder that `corpus.root` stands for; image paths come back absolute. Of several questions with one
    id the first is kept and the others are rejected as `duplicate_id`. Rows after the limit are not looked at.

    Raises DataError where a file is missing or unreadable.
    """
    seen: set[str] = set()
    for row in READERS[corpus.dataset](os.path.abspath(root), corpus.split):
        if isinstance(row, Question):
            if row.id in seen:
                yield _duplicate(row, corpus)
                continue
            seen.add(row.id)
        yield row
        if len(seen) == corpus.limit:
            return


def _duplicate(question: Question, corpus: CorpusConfig) -> Rejected:
    detail = (
        f"{corpus.dataset}, split {corpus.split}, question {question.question[:80]!r}: found the id {question.id} a "
        "second time, expected every id once. The first row was kept; remove the others or give them ids of their own."
    )
    return Rejected(question.id, question.dataset, "duplicate_id", detail)
