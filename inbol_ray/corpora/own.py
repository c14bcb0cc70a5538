"""Your own questions: JSON lines, a JSON list or Parquet, with no code -> Question.

    {root}/{split}.jsonl    or {split}.json, {split}.parquet, {split}-*.parquet, each also below {root}/data

| field | holds | needed |
|---|---|---|
| `id` | text or a whole number, different in every row | yes |
| `question` | text | yes |
| `image` or `images` | a path below the root, alone or in a list; in Parquet also bytes or `{bytes, path}` | yes |
| `answers` | list of accepted answers, or of all human answers with repeats | unless it is multiple choice or unanswerable |
| `choices` | list of 2 to 26 options | for multiple choice |
| `answer` | the right option: an index from 0, a letter, or the option's text | for multiple choice |
| `answer_kind` | how replies are scored, see below | no: `mc` with `choices`, else `open` |
| `answerable` | `true`, `false`, or null where it is not known | no |
| `hint` | text that is shown before the question | no |
| `meta` | any object, kept with the question | no |

A null, NaN or an empty list is as good as no field. A question has one image: engines take no more, and rows with
several are rejected.

`answer_kind`: `mc` (an option), `vqa10` (VQA accuracy over ten or so human answers), `open` (any of the answers),
`entity` (a name, as in OVEN), `exact` (one answer, word for word). For training data, `meta.coco_image_id` lets the
leakage check compare COCO numbers; images are compared by content in any case.

    {"id": 1, "question": "What is on the desk?", "image": "desk.jpg", "answers": ["a lamp", "lamp"]}
    {"id": 2, "question": "Which is larger?", "image": "two.png", "choices": ["cat", "bus"], "answer": "B"}
    {"id": 3, "question": "What did he say before?", "image": "man.jpg", "answerable": false}
"""

import json
import string
from collections.abc import Iterator
from typing import get_args

from inbol_ray.corpora.annotation_rows import AnnotationRow, convert_rows, question_id, shown
from inbol_ray.corpora.corpus_files import CorpusFiles
from inbol_ray.corpora.row_sources import find_rows, parquet_patterns
from inbol_ray.images import MAX_IMAGES
from inbol_ray.rows import AnswerKind, Question, Rejected

_DATASET = "own"
_FIELDS = frozenset(
    ["id", "question", "image", "images", "answers", "choices", "answer", "answer_kind", "answerable", "hint", "meta"]
)


def read_own(files: CorpusFiles, split: str) -> Iterator[Question | Rejected]:
    """Questions in the format above, in file order. Raises DataError where the file is missing or unreadable."""
    texts = [f"{folder}{split}.{extension}" for folder in ("", "data/") for extension in ("jsonl", "json")]
    patterns = (*texts, *parquet_patterns(split))
    rows = find_rows(files, *patterns, id_field="id", description="questions as JSON lines, a JSON list or Parquet")

    def build(row: AnnotationRow) -> Question:
        native_id = row.native_id()
        text = row.question()
        _check_fields(row)
        choices = row.choices("choices") if _holds(row, "choices") else []
        answer_kind = _read_kind(row, choices)
        answerable = _read_answerable(row)
        if answer_kind == "mc":
            gold_index = _read_right_option(row, choices)
            answers = [choices[gold_index]]
        else:
            gold_index = None
            answers = [] if answerable is False and not _holds(row, "answers") else row.answers("answers")
        return Question(
            id=question_id(_DATASET, split, native_id),
            dataset=_DATASET,
            split=split,
            images=_find_images(row),
            question=text,
            answer_kind=answer_kind,
            gold_answers=answers,
            choices=choices,
            gold_index=gold_index,
            hint=row.hint(),
            answerable=answerable,
            meta=_read_meta(row),
        )

    return convert_rows(_DATASET, split, rows, build)


def _check_fields(row: AnnotationRow) -> None:
    """A misspelt field would otherwise be ignored without a word."""
    if unknown := sorted(field for field in row.values.keys() - _FIELDS if row.has(field)):
        fix = "Correct the name, or move the field into `meta`."
        raise row.bad("unknown_field", unknown[0], "an unknown field", f"one of {', '.join(sorted(_FIELDS))}", fix)


def _read_kind(row: AnnotationRow, choices: list[str]) -> AnswerKind:
    kinds = get_args(AnswerKind)
    kind = row.values["answer_kind"] if row.has("answer_kind") else "mc" if choices else "open"
    if kind not in kinds:
        fix = "Correct the kind or leave it out."
        raise row.bad("wrong_type", "answer_kind", shown(kind), f"one of {', '.join(kinds)}", fix)
    if (kind == "mc") != bool(choices):
        fix = "Give `choices` for multiple choice, and only there."
        raise row.bad("bad_choices", "choices", f"{len(choices)} choices", f"what answer_kind {kind!r} needs", fix)
    return kind


def _read_right_option(row: AnnotationRow, choices: list[str]) -> int:
    value = row.get("answer", "the right option: an index from 0, a letter, or its text")
    if isinstance(value, str) and value in choices:
        return choices.index(value)
    letters = string.ascii_uppercase[: len(choices)]
    if isinstance(value, str) and len(value) == 1 and value in letters:
        return letters.index(value)
    return row.gold_index("answer", len(choices))


def _read_answerable(row: AnnotationRow) -> bool | None:
    value = row.values["answerable"] if row.has("answerable") else None
    if not isinstance(value, bool | None):
        raise row.bad("wrong_type", "answerable", shown(value), "true, false or null", "Correct or remove the field.")
    return value


def _find_images(row: AnnotationRow) -> list[str]:
    field = "images" if _holds(row, "images") else "image"
    value = row.get(field, "an image, or a list of one")
    items = value if isinstance(value, list) else [value]
    if not items:
        raise row.bad("missing_image", field, "no images", "an image", "Name the image or remove the row.")
    if len(items) > MAX_IMAGES:
        fix = "Engines take no more: join the pictures into one, or ask about one of them."
        raise row.bad("several_images", field, f"{len(items)} images", f"{MAX_IMAGES} image", fix)
    found = []
    for item in items:
        one = AnnotationRow(row.files, row.file, row.place, row.id_field, {field: item})
        if one.holds_image(field):
            found.append(one.embedded_image(field))
        else:
            found.append(one.image(field, [one.text(field)]))
    return found


def _holds(row: AnnotationRow, field: str) -> bool:
    """Whether the field holds something: Parquet and pandas have empty lists where a row has no field."""
    return row.has(field) and row.values[field] != []


def _read_meta(row: AnnotationRow) -> str:
    """The user's object. Raises BadRowError for anything else, also for text that does not hold an object."""
    value = row.values["meta"] if row.has("meta") else None
    if isinstance(value, str):  # Parquet has no free-form objects
        try:
            value = json.loads(value)
        except ValueError:
            value = [value]
    if value is None:
        return "{}"
    try:
        if isinstance(value, dict):
            return json.dumps(value)
    except (TypeError, ValueError):
        pass
    raise row.bad("wrong_type", "meta", shown(value), "an object", "Store an object or remove the field.")
