"""ScienceQA: official problems and splits files -> Question (mc).

    {root}/problems.json      {pid: {question, choices, answer, hint, image, split, ...}}
    {root}/pid_splits.json    {split: [pid]}
    {root}/images/{train,val,test}/{pid}/{image}

Only problems with an image are questions here; the others are rejected as `no_image`, and so counted.
Source: ScienceQA release (lupantech/ScienceQA, README.md).
"""

import json
import string
from collections.abc import Iterator

from inbol_ray.corpora.annotation_rows import AnnotationRow, convert_rows, find_file, question_id, read_json
from inbol_ray.errors import DataError
from inbol_ray.rows import Question, Rejected

_DATASET = "scienceqa"
_FOLDERS = ("", "data/scienceqa/")
_META = ("grade", "subject", "topic", "category", "skill")
_MAX_CHOICES = len(string.ascii_uppercase)


def read_scienceqa(root: str, split: str) -> Iterator[Question | Rejected]:
    """Problems of one split, in the order of the splits file.

    Raises DataError where a file is missing or unreadable, or does not know the split.
    """
    description = "ScienceQA's problems, an object by problem id"
    path = find_file(root, *(f"{folder}problems.json" for folder in _FOLDERS), description=description)
    problems = read_json(path, dict, description)
    pids = _read_pids(root, split)

    def build(row: AnnotationRow) -> Question:
        pid = row.native_id()
        text = row.question()
        choices, gold_index = _read_choices(row)
        return Question(
            id=question_id(_DATASET, split, pid),
            dataset=_DATASET,
            split=split,
            images=[_find_image(row, root, split, pid)],
            question=text,
            answer_kind="mc",
            gold_answers=[choices[gold_index]],
            choices=choices,
            gold_index=gold_index,
            hint=_read_hint(row),
            meta=json.dumps({key: row.values.get(key) for key in _META}),
        )

    rows = (_row(path, pid, problems) for pid in pids)
    return convert_rows(_DATASET, split, rows, build)


def _read_pids(root: str, split: str) -> list:
    description = "ScienceQA's splits, an object with a list of problem ids a split"
    path = find_file(root, *(f"{folder}pid_splits.json" for folder in _FOLDERS), description=description)
    splits = read_json(path, dict, description)
    if not isinstance(splits.get(split), list):
        raise DataError(f"{path}: found no list {split!r}, expected one of {sorted(splits)}. Correct `split`.")
    return splits[split]


def _row(path: str, pid: object, problems: dict) -> AnnotationRow:
    problem = problems.get(str(pid))
    values = problem | {"pid": pid} if isinstance(problem, dict) else {"pid": pid}
    return AnnotationRow(path, f"problem {pid}", "pid", values)


def _read_choices(row: AnnotationRow) -> tuple[list[str], int]:
    choices = row.texts("choices")
    if not 2 <= len(choices) <= _MAX_CHOICES or not all(choice.strip() for choice in choices):
        raise row.bad(
            "bad_choices",
            "choices",
            f"{len(choices)} choices: {choices}"[:160],
            f"2 to {_MAX_CHOICES} choices that are not blank",
            "Restore the choices or remove the problem.",
        )
    gold_index = row.integer("answer", "the index of the right choice, from 0")
    if not 0 <= gold_index < len(choices):
        raise row.bad(
            "gold_out_of_range",
            "answer",
            str(gold_index),
            f"an index from 0 to {len(choices) - 1}",
            "Restore the answer or remove the problem.",
        )
    return choices, gold_index


def _read_hint(row: AnnotationRow) -> str | None:
    hint = row.values.get("hint")
    return row.text("hint") if hint is not None and hint != "" else None


def _find_image(row: AnnotationRow, root: str, split: str, pid: str) -> str:
    if row.values.get("image") is None:
        raise row.bad(
            "no_image",
            "image",
            "null",
            "a file name",
            "Nothing to mend: a problem without an image asks nothing about an image.",
        )
    image = row.text("image")
    subset = row.values.get("split") or split
    names = [f"{folder}{level}{subset}/{pid}/{image}" for folder in _FOLDERS for level in ("images/", "")]
    return row.image("image", root, names)
