"""VQAv2-IDK: official annotation file -> Question (vqa10) that should be refused.

    {root}/VQAv2-IDK-{split}.json    or {root}/data/VQAv2-IDK-{split}.json:
                                     [{question_id, image, question, answer, keywords}]
    {root}/{image}                   such as val2014/COCO_val2014_000000000042.jpg

`split` is `train` or `val`. The labels are noisy: three in four questions have a single answer of about ten with a
keyword of not knowing. `meta` keeps the keywords, so that the stricter subsets can be reported.
Source: VQAv2-IDK release (ncsoft/idk, README.md).
"""

import json
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

_DATASET = "vqav2_idk"


def read_vqav2_idk(root: str, split: str) -> Iterator[Question | Rejected]:
    """Questions of one VQAv2-IDK split, in file order, all with `answerable=False`.

    Raises DataError where the file is missing or unreadable.
    """
    description = "VQAv2-IDK annotations, a list of objects"
    name = f"VQAv2-IDK-{split}.json"
    path = find_file(root, name, f"data/{name}", description=description)
    rows = rows_of_list(path, read_json(path, list, description), "question_id")

    def build(row: AnnotationRow) -> Question:
        native_id = row.native_id()
        text = row.question()
        answers = row.answers("answer")
        return Question(
            id=question_id(_DATASET, split, native_id),
            dataset=_DATASET,
            split=split,
            images=[row.image("image", root, [row.text("image")])],
            question=text,
            answer_kind="vqa10",
            gold_answers=answers,
            answerable=False,
            meta=json.dumps({"keywords": row.values.get("keywords")}),
        )

    return convert_rows(_DATASET, split, rows, build)
