"""VQAv2: official questions and annotations files, or the hub's Parquet copy -> Question (vqa10).

    {root}/v2_OpenEnded_mscoco_{split}_questions.json   {"questions": [{question_id, image_id, question}]}
    {root}/v2_mscoco_{split}_annotations.json           {"annotations": [{question_id, answers: [{answer}], ...}]}
    {root}/{split}/COCO_{split}_{image_id:012d}.jpg
    {root}/data/{split}-*.parquet                       the same fields in one row, with `image` (lmms-lab/VQAv2)

`split` is `train2014` or `val2014`, and `validation` in Parquet; test splits hide their answers. The two JSON files are
walked once each: the annotations go to an index on disk, in which each question then finds its own (`disk_index`).
Source: VQAv2 release (visualqa.org), GT-Vision-Lab/VQA PythonHelperTools.
"""

import json
from collections.abc import Iterator

from inbol_ray.corpora.annotation_rows import AnnotationRow, BadRowError, convert_rows, question_id
from inbol_ray.corpora.corpus_files import CorpusFiles
from inbol_ray.corpora.disk_index import DiskIndex
from inbol_ray.corpora.row_sources import find_rows, json_list_rows, parquet_patterns
from inbol_ray.rows import Question, Rejected

_DATASET = "vqav2"
_EXTENSIONS = (".jpg", ".png")
_OF_ANNOTATION = ("answers", "question_type", "answer_type")
_SEVERAL = "several"


def read_vqav2(files: CorpusFiles, split: str) -> Iterator[Question | Rejected]:
    """Questions of one VQAv2 split, in file order, with all human answers; `answerable` is unstated.

    Raises DataError where a file is missing or unreadable.
    """
    description = "VQAv2's questions"
    questions = f"v2_OpenEnded_mscoco_{split}_questions.json"
    annotations = f"v2_mscoco_{split}_annotations.json"
    if files.exists(questions):
        files.find(annotations, description="VQAv2's annotations")
        rows = _joined_rows(files, questions, annotations)
    else:
        patterns = (questions, *parquet_patterns(split))
        rows = find_rows(files, *patterns, id_field="question_id", description=description)

    def build(row: AnnotationRow) -> Question:
        native_id = row.native_id()
        text = row.question()
        image_id = row.integer("image_id")
        _check_annotation(row, native_id, annotations)
        answers = row.answers("answers")
        if row.holds_image("image"):
            image = row.embedded_image("image")
        else:
            image = row.image("image_id", [f"{split}/COCO_{split}_{image_id:012d}{ext}" for ext in _EXTENSIONS])
        return Question(
            id=question_id(_DATASET, split, native_id),
            dataset=_DATASET,
            split=split,
            images=[image],
            question=text,
            answer_kind="vqa10",
            gold_answers=answers,
            meta=json.dumps(
                {"coco_image_id": image_id} | {key: row.optional(key) for key in ("question_type", "answer_type")}
            ),
        )

    return convert_rows(_DATASET, split, rows, build)


def _joined_rows(files: CorpusFiles, questions: str, annotations: str) -> Iterator[AnnotationRow]:
    """Each question with the fields of its annotation; `annotation` says where there is none or several."""
    description = "a VQAv2 file"
    with DiskIndex() as index:
        for row in json_list_rows(files, annotations, "question_id", description, key="annotations"):
            try:
                native_id = row.native_id()
            except BadRowError:  # it belongs to no question, which is then reported as lacking it
                continue
            if not index.add(native_id, json.dumps({key: row.values.get(key) for key in _OF_ANNOTATION})):
                index.put(native_id, _SEVERAL)
        for row in json_list_rows(files, questions, "question_id", description, key="questions"):
            try:
                found = index.get(row.native_id())
            except BadRowError:
                found = None
            if isinstance(row.values, dict):
                whole = found is not None and found != _SEVERAL
                row.values |= json.loads(found) if whole else {"annotation": found or "missing"}
            yield row


def _check_annotation(row: AnnotationRow, native_id: str, annotations: str) -> None:
    state = row.values.get("annotation")
    if state in (_SEVERAL, "missing"):
        several = state == _SEVERAL
        raise row.bad(
            "ambiguous_annotation" if several else "missing_annotation",
            "question_id",
            f"{native_id}, which {'several' if several else 'no'} annotations have",
            f"exactly one annotation in {annotations}",
            "Use questions and annotations of the same split, or remove the row.",
        )
