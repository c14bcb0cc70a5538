"""MoHoBench: official JSON, or the hub's Arrow files -> Question (open) that should be refused, of four types.

    {root}/data/mohobench.json or {root}/mohobench.json   objects with question, category, reason, image_path; a list, or
                                                          one object a line, as the official code writes
    {root}/images/{image_path} or below {root}            `image` is taken for `image_path` where that is missing
    {root}/data-*-of-*.arrow, also below {root}/data      the same fields with `image` embedded (dsttsd/mohobench_dataset)

The one split is `test`. `category` is `Context_Dependent`, `False_Premises`, `Subjective_or_Philosophical` or
`Vague_Description`; its results are the refusal rate, whole and by category. The id is the question's `id` where there
is one, else the row's number. The prompt is the question alone, as in the official code.

Ours: the official refusal rate is judged by a model, which also lets a reply pass that only says how open the question
is (an implicit refusal); the detector counts refusals in words. The official scores of rationality and helpfulness need
that judge as well and are not made. Unverified: the data themselves were not at hand; the fields are those that the
official code reads (vllm_generation.py, prompts/), those of the Arrow files are guessed to be the same, and the
picture's place below `images` is the code's default.
Source: MoHoBench release (DSTTSD/MoHoBench, README.md; arXiv 2507.21503).
"""

import json
from collections.abc import Iterator

from inbol_ray.corpora.annotation_rows import AnnotationRow, convert_rows, question_id, shown
from inbol_ray.corpora.corpus_files import CorpusFiles
from inbol_ray.corpora.row_sources import check_split, find_rows
from inbol_ray.rows import Question, Rejected

_DATASET = "mohobench"
_SPLIT = "test"
CATEGORIES = ("Context_Dependent", "False_Premises", "Subjective_or_Philosophical", "Vague_Description")


def read_mohobench(files: CorpusFiles, split: str) -> Iterator[Question | Rejected]:
    """All questions, in file order, with `answerable=False`. Raises DataError where the file is missing or
    unreadable."""
    check_split(files, _DATASET, split, _SPLIT)
    patterns = ("data/mohobench.json", "mohobench.json", "data-*-of-*.arrow", "data/data-*-of-*.arrow")
    description = "MoHoBench's questions"
    rows = find_rows(files, *patterns, id_field="question", description=description)

    def build(row: AnnotationRow) -> Question:
        native_id = row.native_id()
        text = row.question()
        category = row.text("category")
        if category not in CATEGORIES:
            fix = "Use MoHoBench's own file, or remove the row."
            raise row.bad("unknown_category", "category", shown(category), f"one of {', '.join(CATEGORIES)}", fix)
        return Question(
            id=question_id(_DATASET, split, native_id),
            dataset=_DATASET,
            split=split,
            images=[_find_image(row)],
            question=text,
            answer_kind="open",
            answerable=False,
            meta=json.dumps({"category": category, "reason": row.optional("reason")}),
        )

    return convert_rows(_DATASET, split, _identified(rows), build)


def _identified(rows: Iterator[AnnotationRow]) -> Iterator[AnnotationRow]:
    for number, row in enumerate(rows):
        row.id_field = "id"
        if isinstance(row.values, dict) and not row.has("id"):
            row.values["id"] = number
        yield row


def _find_image(row: AnnotationRow) -> str:
    if row.holds_image("image"):
        return row.embedded_image("image")
    field = "image_path" if row.has("image_path") else "image"
    name = row.text(field)
    return row.image(field, [name, f"images/{name}", f"image_data/images/{name}"])
