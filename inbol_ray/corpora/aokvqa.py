"""A-OKVQA: official annotation file, or the hub's Parquet copy -> Question (mc, or open for the direct answers).

    {root}/aokvqa_v1p0_{split}.json    [{question_id, image_id, question, choices, correct_choice_idx, direct_answers,
                                       difficult_direct_answer}]
    {root}/{split}2017/{image_id:012d}.jpg              COCO 2017; or {root}/coco/{split}2017/...
    {root}/data/{split}-*.parquet      the same fields, `image` embedded, no `image_id` (HuggingFaceM4/A-OKVQA)

`split` is `train` or `val`; `test` hides its answers. Dataset `aokvqa` is the choice task, `aokvqa_direct` the direct
answers, from which the items that the corpus marks as difficult are rejected, as the official scorer drops them.
Source: A-OKVQA release (allenai/aokvqa, README.md, evaluation/eval_predictions.py, load_aokvqa.py).
"""

import json
from collections.abc import Callable, Iterator

from inbol_ray.corpora.annotation_rows import AnnotationRow, convert_rows, question_id, shown
from inbol_ray.corpora.corpus_files import CorpusFiles
from inbol_ray.corpora.row_sources import find_rows, hub_split, parquet_patterns
from inbol_ray.rows import Question, Rejected


def read_aokvqa(files: CorpusFiles, split: str) -> Iterator[Question | Rejected]:
    """The choice task of one split, in file order. Raises DataError where the file is missing or unreadable."""

    def task(row: AnnotationRow, direct_answers: list[str]) -> dict:
        choices = row.choices("choices")
        if not row.has("correct_choice_idx"):
            raise row.hidden("correct_choice_idx")
        gold_index = row.gold_index("correct_choice_idx", len(choices))
        return {
            "answer_kind": "mc",
            "choices": choices,
            "gold_index": gold_index,
            "gold_answers": [choices[gold_index]],
        }

    return _read(files, split, "aokvqa", task)


def read_aokvqa_direct(files: CorpusFiles, split: str) -> Iterator[Question | Rejected]:
    """The direct-answer task of one split; otherwise as `read_aokvqa`."""

    def task(row: AnnotationRow, direct_answers: list[str]) -> dict:
        if not any(answer.strip() for answer in direct_answers):
            raise row.hidden("direct_answers")
        if _is_difficult(row):
            fix = "Nothing to mend: the official scorer drops these items; the choice task keeps them."
            raise row.bad("difficult_direct_answer", "difficult_direct_answer", "true", "false", fix)
        return {"answer_kind": "open", "gold_answers": direct_answers}

    return _read(files, split, "aokvqa_direct", task)


def _read(
    files: CorpusFiles, split: str, dataset: str, task: Callable[[AnnotationRow, list[str]], dict]
) -> Iterator[Question | Rejected]:
    name = f"aokvqa_v1p0_{split}.json"
    patterns = (name, f"annotations/{name}", *parquet_patterns(hub_split(split)))
    rows = find_rows(files, *patterns, id_field="question_id", description="A-OKVQA annotations, a list of objects")

    def build(row: AnnotationRow) -> Question:
        native_id = row.native_id()
        text = row.question()
        direct_answers = _direct_answers(row)
        answer = task(row, direct_answers)
        if row.holds_image("image"):
            coco_image_id = row.integer("image_id") if row.has("image_id") else None
            image = row.embedded_image("image")
        else:
            coco_image_id = row.integer("image_id")
            image = row.image("image_id", [f"{folder}{coco_image_id:012d}.jpg" for folder in _image_folders(split)])
        meta = {
            "coco_image_id": coco_image_id,
            "direct_answers": direct_answers,
            "difficult_direct_answer": _is_difficult(row),
        }
        return Question(
            id=question_id(dataset, split, native_id),
            dataset=dataset,
            split=split,
            images=[image],
            question=text,
            meta=json.dumps(meta),
            **answer,
        )

    return convert_rows(dataset, split, rows, build)


def _image_folders(split: str) -> list[str]:
    return [f"{level}{split}2017/" for level in ("", "coco/", "images/")]


def _direct_answers(row: AnnotationRow) -> list[str]:
    """The human answers as they stand; some copies hold the list as text. Empty where the split hides them."""
    if not row.has("direct_answers"):
        return []
    value = row.literal("direct_answers")
    if not isinstance(value, list) or not all(isinstance(answer, str) for answer in value):
        fix = "Store a list of texts or remove the row."
        raise row.bad("wrong_type", "direct_answers", shown(value), "a list of texts", fix)
    return value


def _is_difficult(row: AnnotationRow) -> bool:
    value = row.values.get("difficult_direct_answer")
    if not isinstance(value, bool | None):
        fix = "Store true or false, or remove the field."
        raise row.bad("wrong_type", "difficult_direct_answer", shown(value), "true or false", fix)
    return bool(value)
