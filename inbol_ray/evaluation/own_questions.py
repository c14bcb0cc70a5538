"""A question that a row of replies brings along, checked field by field: AnnotationRow -> BENCHMARK_QUESTION row.

`reply_file` has the fields.
"""

import hashlib
import string
from typing import get_args

from inbol_ray.config.corpora import Domain
from inbol_ray.corpora.annotation_rows import AnnotationRow, shown
from inbol_ray.rows import AnswerKind, Question

OWN = "own"
"""Benchmark of questions whose row names none."""
_SPLIT = "file"


def own_question(row: AnnotationRow, benchmark: str) -> dict:
    """A BENCHMARK_QUESTION row. Without an `id` it is a hash of the question, so that several models' replies to one
    question meet. Raises BadRowError.
    """
    text = row.question()
    choices = row.choices("choices") if row.has("choices") else []
    kind = row.values.get("answer_kind") or ("mc" if choices else "open")
    if kind not in get_args(AnswerKind):
        fix = "Correct the kind or leave it out."
        raise row.bad("wrong_type", "answer_kind", shown(kind), f"one of {', '.join(get_args(AnswerKind))}", fix)
    if (kind == "mc") != bool(choices):
        fix = "Give `choices` for multiple choice, and only there."
        raise row.bad("bad_choices", "choices", f"{len(choices)} choices", f"what answer_kind {kind!r} needs", fix)
    answerable = row.values.get("answerable")
    if not isinstance(answerable, bool | None):
        raise row.bad("wrong_type", "answerable", shown(answerable), "true, false or null", "Correct or remove it.")
    gold_index = None
    if kind == "mc" and (row.has("gold") or answerable is not False):
        gold_index = _read_gold(row, choices)
    answers = [choices[gold_index]] if gold_index is not None else []
    if kind != "mc":
        answers = _read_answers(row, answerable)
    domain = row.get("domain", "") if row.has("domain") else "out_of_domain"
    if domain not in get_args(Domain):
        expected = " or ".join(map(repr, get_args(Domain)))
        raise row.bad("other_domain", "domain", shown(domain), expected, "Correct the field or leave it out.")
    images = _read_images(row)
    if row.has("id"):
        name = row.native_id()
    else:
        content = repr((text, kind, answers, choices, gold_index, answerable, images))
        name = hashlib.sha256(content.encode()).hexdigest()[:16]
    question = Question(
        id=f"{benchmark}:{_SPLIT}:{name}",
        dataset=OWN,
        split=_SPLIT,
        images=images,
        question=text,
        answer_kind=kind,
        gold_answers=answers,
        choices=choices,
        gold_index=gold_index,
        answerable=answerable,
    )
    return question.to_row() | {"benchmark": benchmark, "domain": domain}


def _read_answers(row: AnnotationRow, answerable: bool | None) -> list[str]:
    if not row.has("answers"):
        if answerable is False:
            return []
        fix = "Add the answers, mark the question `answerable: false`, or remove the row."
        raise row.bad("missing_answers", "answers", "no answers", "an accepted answer or a list of them", fix)
    return [row.text("answers")] if isinstance(row.values["answers"], str) else row.answers("answers")


def _read_gold(row: AnnotationRow, choices: list[str]) -> int:
    value = row.get("gold", "the right option: an index from 0, a letter, or its text")
    if isinstance(value, str) and value in choices:
        return choices.index(value)
    letters = string.ascii_uppercase[: len(choices)]
    if isinstance(value, str) and len(value) == 1 and value in letters:
        return letters.index(value)
    return row.gold_index("gold", len(choices))


def _read_images(row: AnnotationRow) -> list[str]:
    field = "images" if row.has("images") else "image"
    if not row.has(field):
        return []
    if isinstance(row.values[field], str):
        return [row.text(field)]
    return row.texts(field)
