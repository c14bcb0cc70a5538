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
    root = os.path.abspath(root)
    first_row: dict[str, int] = {}
    for number, row in enumerate(READERS[corpus.dataset](root, corpus.split)):
        if isinstance(row, Question):
            if row.id in first_row:
                yield _duplicate(row, root, number, first_row[row.id])
                continue
            first_row[row.id] = number
        yield row
        if len(first_row) == corpus.limit:
            return


def _duplicate(question: Question, root: str, number: int, first: int) -> Rejected:
    detail = (
        f"{root}, questions of {question.dataset}, split {question.split}, row {number} (from 0), field 'id': found "
        f"{question.id}, which row {first} has, expected every id once. Row {first} was kept: remove row {number} or "
        "give it an id of its own."
    )
    return Rejected(question.id, question.dataset, "duplicate_id", detail)
