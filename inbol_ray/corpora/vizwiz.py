"""VizWiz-VQA: official annotation file -> Question (vqa10), answerable and not.

    {root}/{split}.json       or {root}/Annotations/{split}.json: [{image, question, answers, answerable, ...}]
    {root}/{split}/{image}    or {root}/{image}

`split` is `train` or `val`; `test` has no answers. The image's name is the id.
Source: VizWiz release (vizwiz.org); copies without `answerable` follow lmms-lab/VizWiz-VQA.
"""

import json
from collections import Counter
from collections.abc import Iterator

from inbol_ray.corpora.annotation_rows import (
    AnnotationRow,
    convert_rows,
    find_file,
    question_id,
    read_json,
    rows_of_list,
)
from inbol_ray.rows import Question, Rejected

_DATASET = "vizwiz"
_UNANSWERABLE = "unanswerable"


def read_vizwiz(root: str, split: str) -> Iterator[Question | Rejected]:
    """Questions of one VizWiz split, in file order. Raises DataError where the file is missing or unreadable."""
    description = "VizWiz annotations, a list of objects"
    path = find_file(root, f"{split}.json", f"Annotations/{split}.json", description=description)
    rows = rows_of_list(path, read_json(path, list, description), "image")

    def build(row: AnnotationRow) -> Question:
        image = row.native_id()
        text = row.question()
        answers = row.answers("answers")
        return Question(
            id=question_id(_DATASET, split, image),
            dataset=_DATASET,
            split=split,
            images=[row.image("image", root, [f"{split}/{image}", image])],
            question=text,
            answer_kind="vqa10",
            gold_answers=answers,
            answerable=_read_answerable(row, answers),
            meta=json.dumps({"answer_type": row.values.get("answer_type", row.values.get("category"))}),
        )

    return convert_rows(_DATASET, split, rows, build)


def _read_answerable(row: AnnotationRow, answers: list[str]) -> bool:
    """The field `answerable`; in copies without it the answer's category, or else the majority answer."""
    value = row.values.get("answerable")
    if value is not None:
        if value not in (0, 1):
            raise row.bad("wrong_type", "answerable", repr(value)[:80], "0 or 1", "Store 0 or 1, or remove the field.")
        return bool(value)
    category = row.values.get("category", row.values.get("answer_type"))
    if category is not None:
        return category != _UNANSWERABLE
    majority, _ = Counter(answer.strip().rstrip(".").lower() for answer in answers).most_common(1)[0]
    return majority != _UNANSWERABLE
