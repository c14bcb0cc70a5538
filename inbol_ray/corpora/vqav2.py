"""VQAv2: official questions and annotations files -> Question (vqa10).

    {root}/v2_OpenEnded_mscoco_{split}_questions.json   {"questions": [{question_id, image_id, question}]}
    {root}/v2_mscoco_{split}_annotations.json           {"annotations": [{question_id, answers: [{answer}], ...}]}
    {root}/{split}/COCO_{split}_{image_id:012d}.jpg

`split` is `train2014` or `val2014`; test splits have no annotations.
Source: VQAv2 release (visualqa.org), GT-Vision-Lab/VQA PythonHelperTools.
"""

import json
from collections.abc import Iterator

from inbol_ray.corpora.annotation_rows import (
    AnnotationRow,
    BadRowError,
    convert_rows,
    find_file,
    question_id,
    read_json,
    rows_of_list,
)
from inbol_ray.errors import DataError
from inbol_ray.rows import Question, Rejected

_DATASET = "vqav2"
_EXTENSIONS = (".jpg", ".png")


def read_vqav2(root: str, split: str) -> Iterator[Question | Rejected]:
    """Questions of one VQAv2 split, in file order, with all human answers; `answerable` is unstated.

    Raises DataError where a file is missing or unreadable.
    """
    questions = _read_rows(root, f"v2_OpenEnded_mscoco_{split}_questions.json", "questions")
    annotations_file, annotations = _index_annotations(root, f"v2_mscoco_{split}_annotations.json")

    def build(row: AnnotationRow) -> Question:
        native_id = row.native_id()
        text = row.question()
        image_id = row.integer("image_id")
        found = annotations.get(native_id, [])
        if len(found) != 1:
            raise row.bad(
                "ambiguous_annotation" if found else "missing_annotation",
                "question_id",
                f"{native_id}, which {len(found) or 'no'} annotations have",
                f"exactly one annotation in {annotations_file}",
                "Use questions and annotations of the same split, or remove the row.",
            )
        annotation = found[0]
        names = [f"{split}/COCO_{split}_{image_id:012d}{extension}" for extension in _EXTENSIONS]
        return Question(
            id=question_id(_DATASET, split, native_id),
            dataset=_DATASET,
            split=split,
            images=[row.image("image_id", root, names)],
            question=text,
            answer_kind="vqa10",
            gold_answers=annotation.answers("answers"),
            meta=json.dumps(
                {"image_id": image_id} | {key: annotation.values.get(key) for key in ("question_type", "answer_type")},
            ),
        )

    return convert_rows(_DATASET, split, questions, build)


def _read_rows(root: str, name: str, key: str) -> list[AnnotationRow]:
    description = f"a VQAv2 file, an object with a list {key!r}"
    path = find_file(root, name, description=description)
    content = read_json(path, dict, description)
    if not isinstance(content.get(key), list):
        raise DataError(f"{path}: found no list {key!r}, expected {description}. Use the official file.")
    return list(rows_of_list(path, content[key], "question_id", key))


def _index_annotations(root: str, name: str) -> tuple[str, dict[str, list[AnnotationRow]]]:
    """Annotations by question id. One without an id belongs to no question, which is then reported as lacking it."""
    annotations: dict[str, list[AnnotationRow]] = {}
    for row in _read_rows(root, name, "annotations"):
        try:
            annotations.setdefault(row.native_id(), []).append(row)
        except BadRowError:
            continue
    return name, annotations
