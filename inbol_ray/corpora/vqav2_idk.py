"""VQAv2-IDK: official annotation file -> Question (vqa10) that should be refused.

    {root}/VQAv2-IDK-{split}.json    or {root}/data/VQAv2-IDK-{split}.json:
                                     [{question_id, image, question, answer, keywords}]
    {root}/{image}                   such as val2014/COCO_val2014_000000000042.jpg

`split` is `train` or `val`. The labels are noisy: three in four questions have a single answer of about ten with a
keyword of not knowing. `meta` counts both, so that the stricter subsets can be reported.

Dataset `vqav2_idk_filtered` holds the questions of which people agree that they cannot be answered: at least three
human answers say so, as many as make an answer right in VQA accuracy; `none` does not count, since it answers `how
many` and `what`. Every other question is rejected as `few_idk_answers`. Unverified: the paper reports a filtered set
and does not say by what rule; this one is ours.
Source: VQAv2-IDK release (ncsoft/idk, README.md); InBoL (arXiv 2412.11196) Sec. 4.
"""

import json
from collections.abc import Iterator

from inbol_ray.corpora.annotation_rows import AnnotationRow, convert_rows, question_id
from inbol_ray.corpora.coco import image_id_in
from inbol_ray.corpora.corpus_files import CorpusFiles
from inbol_ray.corpora.row_sources import find_rows
from inbol_ray.rows import Question, Rejected

_MIN_IDK_ANSWERS = 3
_AN_ANSWER = "none"
"""The one keyword that is a usual answer."""


def read_vqav2_idk(files: CorpusFiles, split: str) -> Iterator[Question | Rejected]:
    """Questions of one VQAv2-IDK split, in file order, all with `answerable=False`.

    Raises DataError where the file is missing or unreadable.
    """
    return _read(files, split, "vqav2_idk")


def read_vqav2_idk_filtered(files: CorpusFiles, split: str) -> Iterator[Question | Rejected]:
    """Those that at least three people could not answer; otherwise as `read_vqav2_idk`."""
    return _read(files, split, "vqav2_idk_filtered")


def _read(files: CorpusFiles, split: str, dataset: str) -> Iterator[Question | Rejected]:
    name = f"VQAv2-IDK-{split}.json"
    description = "VQAv2-IDK annotations, a list of objects"
    rows = find_rows(files, name, f"data/{name}", id_field="question_id", description=description)

    def build(row: AnnotationRow) -> Question:
        native_id = row.native_id()
        text = row.question()
        answers = row.answers("answer")
        image = row.text("image")
        keywords = row.texts("keywords") if row.has("keywords") else []
        if dataset == "vqav2_idk_filtered":
            _check_agreement(row, keywords)
        return Question(
            id=question_id(dataset, split, native_id),
            dataset=dataset,
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

    return convert_rows(dataset, split, rows, build)


def _check_agreement(row: AnnotationRow, keywords: list[str]) -> None:
    num_idk = sum(keyword.strip().lower() != _AN_ANSWER for keyword in keywords)
    if num_idk < _MIN_IDK_ANSWERS:
        expected = f"at least {_MIN_IDK_ANSWERS} that are not {_AN_ANSWER!r}"
        fix = "Nothing to mend: `vqav2_idk` has this question, and this stricter part leaves it out."
        raise row.bad("few_idk_answers", "keywords", f"{num_idk} keywords of not knowing", expected, fix)
