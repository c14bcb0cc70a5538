"""VizWiz-VQA: official annotation file, or the hub's Parquet copy -> Question (vqa10), answerable and not.

    {root}/{split}.json             or {root}/Annotations/{split}.json: [{image, question, answers, answerable, ...}]
    {root}/{split}/{image}          or {root}/{image}
    {root}/data/{split}-*.parquet   {question_id, image, question, answers: [text], category} (lmms-lab/VizWiz-VQA)

`split` is `train` or `val`; `test` hides its answers. The image's name is the id.
Source: VizWiz release (vizwiz.org); copies without `answerable` follow lmms-lab/VizWiz-VQA.
"""

import json
from collections import Counter
from collections.abc import Iterator

from inbol_ray.corpora.annotation_rows import AnnotationRow, convert_rows, question_id
from inbol_ray.corpora.corpus_files import CorpusFiles
from inbol_ray.corpora.row_sources import find_rows, parquet_patterns
from inbol_ray.rows import Question, Rejected

_DATASET = "vizwiz"
_UNANSWERABLE = "unanswerable"


def read_vizwiz(files: CorpusFiles, split: str) -> Iterator[Question | Rejected]:
    """Questions of one VizWiz split, in file order. Raises DataError where the file is missing or unreadable."""
    official = (f"{split}.json", f"Annotations/{split}.json")
    rows = find_rows(
        files,
        *official,
        *parquet_patterns(split),
        id_field="image",
        description="VizWiz annotations, a list of objects",
    )

    def build(row: AnnotationRow) -> Question:
        embedded = isinstance(row.values, dict) and row.holds_image("image")
        if embedded:
            row.id_field = "question_id"
        native_id = row.native_id()
        text = row.question()
        answers = row.answers("answers")
        answerable = _read_answerable(row, answers)
        named = [f"{split}/{native_id}", native_id]
        image = row.embedded_image("image") if embedded else row.image("image", named)
        return Question(
            id=question_id(_DATASET, split, native_id),
            dataset=_DATASET,
            split=split,
            images=[image],
            question=text,
            answer_kind="vqa10",
            gold_answers=answers,
            answerable=answerable,
            meta=json.dumps({"answer_type": _answer_type(row)}),
        )

    return convert_rows(_DATASET, split, rows, build)


def _answer_type(row: AnnotationRow) -> str | None:
    return row.optional("answer_type") or row.optional("category")


def _read_answerable(row: AnnotationRow, answers: list[str]) -> bool:
    """The field `answerable`; in copies without it the answer's category, or else the majority answer."""
    value = row.values.get("answerable")
    if value is not None:
        if value not in (0, 1):
            raise row.bad("wrong_type", "answerable", repr(value)[:80], "0 or 1", "Store 0 or 1, or remove the field.")
        return bool(value)
    if category := _answer_type(row):
        return category != _UNANSWERABLE
    majority, _ = Counter(answer.strip().rstrip(".").lower() for answer in answers).most_common(1)[0]
    return majority != _UNANSWERABLE
