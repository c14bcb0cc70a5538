"""GQA: official questions file, or the hub's Parquet copy -> Question (exact).

    {root}/{split}_questions.json     {question id: {question, imageId, answer, isBalanced, types, ...}}
    {root}/images/{imageId}.jpg       or .png
    {root}/{split}_instructions/testdev-*.parquet       {id, imageId, question, answer, ...}, and separately
    {root}/{split}_images/testdev-*.parquet             {id, image}, joined by `imageId` = `id` (lmms-lab/GQA)

`split` is `testdev_balanced`, `val_balanced` and so on. The answer may hold one word only; `isBalanced` is kept, since
the official accuracy counts balanced questions alone.
Source: GQA release (eval.py), LLaVA's scripts/convert_gqa_for_eval.py, lmms-eval's gqa task.
"""

import json
from collections.abc import Iterator

from inbol_ray.corpora.annotation_rows import AnnotationRow, BadRowError, convert_rows, question_id
from inbol_ray.corpora.corpus_files import CorpusFiles
from inbol_ray.corpora.disk_index import DiskIndex
from inbol_ray.corpora.row_sources import find_rows
from inbol_ray.rows import Question, Rejected

_DATASET = "gqa"
_EXTENSIONS = (".jpg", ".png")


def read_gqa(files: CorpusFiles, split: str) -> Iterator[Question | Rejected]:
    """Questions of one GQA split, in file order. Raises DataError where a file is missing or unreadable."""
    official = [f"{folder}{split}_questions.json" for folder in ("", "questions1.2/", "questions/")]
    hub_name = split.partition("_")[0]
    questions = find_rows(
        files,
        *official,
        f"{split}_instructions/{hub_name}-*.parquet",
        id_field="id",
        description="GQA's questions, an object by question id",
        top_level="object",
    )
    is_official = any(files.exists(name) for name in official)
    images = None
    if not is_official:
        pattern = f"{split}_images/{hub_name}-*.parquet"
        images = find_rows(files, pattern, id_field="id", description="GQA's images, which its questions refer to")
    return _convert(split, questions, images)


def _convert(
    split: str, questions: Iterator[AnnotationRow], images: Iterator[AnnotationRow] | None
) -> Iterator[Question | Rejected]:
    with DiskIndex() as embedded:
        for row in images or ():
            try:
                embedded.add(row.native_id(), row.embedded_image("image"))
            except BadRowError:  # the questions about it are reported as lacking it
                continue

        def build(row: AnnotationRow) -> Question:
            native_id = row.native_id()
            text = row.question()
            if not row.has("answer"):
                raise row.hidden("answer")
            answer = row.text("answer")
            image_id = row.text("imageId")
            image = embedded.get(image_id)
            if image is None:
                image = row.image("imageId", [f"images/{image_id}{extension}" for extension in _EXTENSIONS])
            types = row.values.get("types")
            types = types if isinstance(types, dict) else {}
            meta = {
                "image_id": image_id,
                "structural": types.get("structural"),
                "semantic": types.get("semantic"),
                "is_balanced": row.optional("isBalanced"),
            }
            return Question(
                id=question_id(_DATASET, split, native_id),
                dataset=_DATASET,
                split=split,
                images=[image],
                question=text,
                answer_kind="exact",
                gold_answers=[answer],
                meta=json.dumps(meta),
            )

        yield from convert_rows(_DATASET, split, questions, build)
