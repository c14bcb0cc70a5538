"""KIE-HVQA (reading degraded identity cards and invoices): official JSON lines -> Question (open).

    {root}/kie_hocr.jsonl     id, image, problem, answer
    {root}/{image}            or with `data` for a leading `images`, where the release is said to keep them

The one split is `test`. `problem` is the whole prompt, with `<image>` at its place: it asks for a JSON object that
tells characters that are clear, characters that are not clear enough, and the final text apart. `answer` is text that
holds such an object; one that is no JSON is rejected, and some are known not to be. A question of which nothing can be
read should be refused, in words or by an object that holds nothing; all others can be answered.

Official figures, over all replies: character accuracy and similarity (1 - edit distance / the longer length) of each of
the three texts. They are in `own`; `score` is the mean of the three similarities. Ours: a reply is correct if that mean
reaches `sampling.correct_threshold`. Replies are long: `evaluation.max_tokens` must be some hundreds.
Unverified: neither the data nor the whole of eval.py was at hand. Fields and the folder `data` come from a public
script that runs them, the three keys from it and the paper's prompt, the two formulas from the beginning of eval.py.
Source: KIE-HVQA release (Hugging Face bytedance-research/KIE-HVQA, eval.py; arXiv 2506.20168 App. A).
"""

import json
from collections.abc import Iterator

from inbol_ray.corpora.annotation_rows import AnnotationRow, convert_rows, question_id, shown
from inbol_ray.corpora.corpus_files import CorpusFiles
from inbol_ray.corpora.row_sources import check_split, find_rows
from inbol_ray.rows import Question, Rejected
from inbol_ray.scoring.ocr_parts import KEYS, read_parts

_DATASET = "kie_hvqa"
_SPLIT = "test"
_IMAGE = "<image>"
_FOLDER, _KEPT_IN = "images/", "data/"


def read_kie_hvqa(files: CorpusFiles, split: str) -> Iterator[Question | Rejected]:
    """All questions, in file order. Raises DataError where the file is missing or unreadable."""
    check_split(files, _DATASET, split, _SPLIT)
    rows = find_rows(files, "kie_hocr.jsonl", id_field="id", description="KIE-HVQA's questions")

    def build(row: AnnotationRow) -> Question:
        native_id = row.native_id()
        text = _read_problem(row)
        answer, is_legible = _read_answer(row)
        return Question(
            id=question_id(_DATASET, split, native_id),
            dataset=_DATASET,
            split=split,
            images=[_find_image(row)],
            question=text,
            answer_kind="open",
            gold_answers=[answer],
            answerable=is_legible,
            meta=json.dumps({"empty_object_refuses": True}),
        )

    return convert_rows(_DATASET, split, rows, build)


def _read_problem(row: AnnotationRow) -> str:
    text = row.text("problem").replace(_IMAGE, "").strip()
    if not text:
        fix = "Restore the question or remove the row."
        raise row.bad("empty_question", "problem", shown(row.values["problem"]), "a question", fix)
    return text


def _read_answer(row: AnnotationRow) -> tuple[str, bool]:
    """The text of the object, and whether anything can be read."""
    answer = row.text("answer")
    parts = read_parts(answer)
    if parts is None:
        expected = "a JSON object in text with " + ", ".join(repr(key) for key in KEYS.values())
        raise row.bad("malformed_answer", "answer", shown(answer), expected, "Repair the object or remove the row.")
    return answer, any(text.strip() for text in parts.values())


def _find_image(row: AnnotationRow) -> str:
    name = row.text("image").removeprefix("./")
    candidates = [name]
    if name.startswith(_FOLDER):
        candidates.append(_KEPT_IN + name.removeprefix(_FOLDER))
    return row.image("image", candidates)
