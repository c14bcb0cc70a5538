"""VQAv2-IDK: official annotation file -> Question (vqa10) that should be refused.

    {root}/VQAv2-IDK-{split}.json    or {root}/data/VQAv2-IDK-{split}.json:
                                     [{question_id, image, question, answer, keywords}]
    {root}/{image}                   such as val2014/COCO_val2014_000000000042.jpg

`split` is `train` or `val`. The labels are noisy: three in four questions have a single answer of about ten with a
keyword of not knowing. `meta` counts both, so that the stricter subsets can be reported.
Source: VQAv2-IDK release (ncsoft/idk, README.md).
"""

import json
from collections.abc import Iterator

from inbol_ray.corpora.annotation_rows import AnnotationRow, convert_rows, question_id
from inbol_ray.corpora.coco import image_id_in
from inbol_ray.corpora.corpus_files import CorpusFiles
from inbol_ray.corpora.row_sources import find_rows
from inbol_ray.rows import Question, Rejected

_DATASET = "vqav2_idk"


def read_vqav2_idk(files: CorpusFiles, split: str) -> Iterator[Question | Rejected]:
    """Questions of one VQAv2-IDK split, in file order, all with `answerable=False`.

    Raises DataError where the file is missing or unreadable.
    """
    name = f"VQAv2-IDK-{split}.json"
    description = "VQAv2-IDK annotations, a list of objects"
    rows = find_rows(files, name, f"data/{name}", id_field="question_id", description=description)

    def build(row: AnnotationRow) -> Question:
        native_id = row.native_id()
        text = row.question()
        answers = row.answers("answer")
        image = row.text("image")
        keywords = row.texts("keywords") if row.has("keywords") else []
        return Question(
            id=question_id(_DATASET, split, native_id),
            dataset=_DATASET,
            split=split,
            images=[row.image("image", [image])],
            question=text,
            answer_kind="vqa10",
            gold_answers=answers,
            answerable=False,
            meta=json.dumps(
                {
                    "coco_image_id": image_id_in(image),
                    "keywords": keywords,
                    "num_answers": len(answers),
                    "num_idk_answers": len(keywords),
                }
            ),
        )

    return convert_rows(_DATASET, split, rows, build)
