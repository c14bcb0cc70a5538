"""OVEN: official question lines and image snapshot -> Question (entity).

    {root}/oven_{split}.jsonl                     {data_id, image_id, question, entity_id, entity_text, data_split}
    {root}/images/{2 digits}/{image_id}.jpg       or .JPEG or .png, or without the level `images`
    {root}/ovenid2impath.csv                      optional: image_id,source_path (several lines an id are allowed)

`split` is `entity_train`, `entity_val`, `query_val` and so on. Test lines hold no answer. The two digits are the first
two of the eight in `oven_01234567`; an image that is not there is looked for at its source paths below the root.
Source: OVEN release (open-vision-language/oven, README.md and image_downloads).
"""

import csv
import json
import os
import re
from collections.abc import Iterator

from inbol_ray.corpora.annotation_rows import AnnotationRow, convert_rows, find_file, question_id, unreadable
from inbol_ray.rows import Question, Rejected

_DATASET = "oven"
_EXTENSIONS = (".jpg", ".JPEG", ".png")
_IMAGE_ID = re.compile(r"oven_([0-9]{2})[0-9]{6}")
_DESCRIPTION = "OVEN's questions, one JSON object a line"


def read_oven(root: str, split: str) -> Iterator[Question | Rejected]:
    """Questions of one OVEN file, in file order; the id is `data_id`, which a merged file may repeat.

    Raises DataError where the file is missing or unreadable; a line that is no JSON object is a rejected row.
    """
    path = find_file(root, f"oven_{split}.jsonl", description=_DESCRIPTION)
    source_paths = _read_source_paths(root, path)

    def build(row: AnnotationRow) -> Question:
        if isinstance(row.values, Exception):
            raise row.bad("bad_json", "(line)", str(row.values), "a JSON object", "Repair the line or remove it.")
        data_id = row.native_id()
        text = row.question()
        image_id = row.text("image_id")
        if not _IMAGE_ID.fullmatch(image_id):
            raise row.bad(
                "bad_image_id",
                "image_id",
                repr(image_id)[:80],
                "oven_ and 8 digits",
                "Restore the id or remove the row.",
            )
        return Question(
            id=question_id(_DATASET, split, data_id),
            dataset=_DATASET,
            split=split,
            images=[row.image("image_id", root, [*_layout(image_id), *source_paths.get(image_id, [])])],
            question=text,
            answer_kind="entity",
            gold_answers=[row.text("entity_text")],
            meta=json.dumps({key: row.values.get(key) for key in ("image_id", "entity_id", "data_split")}),
        )

    return convert_rows(_DATASET, split, _read_lines(path), build)


def _read_lines(path: str) -> Iterator[AnnotationRow]:
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield AnnotationRow(path, f"line {number}", "data_id", _parse(line))
    except OSError as error:
        raise unreadable(path, _DESCRIPTION, error) from error


def _parse(line: bytes) -> object:
    """The value of a line, or the error that it is no JSON."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return error


def _layout(image_id: str) -> list[str]:
    digits = _IMAGE_ID.fullmatch(image_id)[1]
    return [f"{level}{digits}/{image_id}{extension}" for level in ("images/", "") for extension in _EXTENSIONS]


def _read_source_paths(root: str, questions_path: str) -> dict[str, list[str]]:
    """Source paths of the images that are not in the layout. Only those: the whole file names millions."""
    path = os.path.join(root, "ovenid2impath.csv")
    if not os.path.isfile(path):
        return {}
    wanted: dict[str, list[str]] = {}
    for row in _read_lines(questions_path):
        image_id = row.values.get("image_id") if isinstance(row.values, dict) else None
        if not isinstance(image_id, str) or not _IMAGE_ID.fullmatch(image_id):
            continue
        if not any(os.path.isfile(os.path.join(root, name)) for name in _layout(image_id)):
            wanted[image_id] = []
    try:
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            for line in csv.reader(file):
                if len(line) == 2 and line[0] in wanted:
                    wanted[line[0]].append(line[1])
    except OSError as error:
        raise unreadable(path, "OVEN's image paths", error) from error
    return wanted
