"""OVEN: official question lines and image snapshot -> Question (entity).

    {root}/oven_{split}.jsonl                     {data_id, image_id, question, entity_id, entity_text, data_split}
    {root}/images/{2 digits}/{image_id}.jpg       or .JPEG or .png, or without the level `images`
    {root}/ovenid2impath.csv                      optional: image_id,source_path (several lines an id are allowed)

`split` is `entity_train`, `entity_val`, `query_val`, `human` and so on. Test lines hold no answer: they are rejected as
`hidden_answer`, and the validation files are what one evaluates on. The two digits are the first two of the eight in
`oven_01234567`; an image that is not there is looked for at its source paths below the root.
Source: OVEN release (open-vision-language/oven, README.md and image_downloads).
"""

import io
import json
import re
from collections.abc import Iterator

from inbol_ray.corpora.annotation_rows import AnnotationRow, BadRowError, convert_rows, question_id
from inbol_ray.corpora.corpus_files import CorpusFiles, unreadable
from inbol_ray.corpora.delimited_lines import split_record
from inbol_ray.corpora.disk_index import DiskIndex
from inbol_ray.corpora.row_sources import find_rows
from inbol_ray.rows import Question, Rejected

_DATASET = "oven"
_EXTENSIONS = (".jpg", ".JPEG", ".png")
_IMAGE_ID = re.compile(r"oven_([0-9]{2})[0-9]{6}")
_SOURCE_PATHS = "ovenid2impath.csv"


def read_oven(files: CorpusFiles, split: str) -> Iterator[Question | Rejected]:
    """Questions of one OVEN file, in file order; the id is `data_id`, which a merged file may repeat.

    Raises DataError where the file is missing or unreadable; a line that is no JSON object is a rejected row.
    """
    description = "OVEN's questions, one JSON object a line"
    rows = find_rows(files, f"oven_{split}.jsonl", id_field="data_id", description=description)
    return _convert(files, split, rows)


def _convert(files: CorpusFiles, split: str, rows: Iterator[AnnotationRow]) -> Iterator[Question | Rejected]:
    with DiskIndex() as source_paths:

        def build(row: AnnotationRow) -> Question:
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
            if not row.has("entity_text") and "test" in split:
                raise row.hidden("entity_text")
            name = row.text("entity_text")
            return Question(
                id=question_id(_DATASET, split, data_id),
                dataset=_DATASET,
                split=split,
                images=[_find_image(row, image_id, source_paths)],
                question=text,
                answer_kind="entity",
                gold_answers=[name],
                meta=json.dumps({key: row.optional(key) for key in ("image_id", "entity_id", "data_split")}),
            )

        yield from convert_rows(_DATASET, split, rows, build)


def _find_image(row: AnnotationRow, image_id: str, source_paths: DiskIndex) -> str:
    layout = _layout(image_id)
    try:
        return row.image("image_id", layout)
    except BadRowError:
        if source_paths.get("") is None:
            _index_source_paths(row.files, source_paths)
        found = source_paths.get(image_id)
        return row.image("image_id", [*layout, *(json.loads(found) if found else ())])


def _layout(image_id: str) -> list[str]:
    digits = _IMAGE_ID.fullmatch(image_id)[1]
    return [f"{level}{digits}/{image_id}{extension}" for level in ("images/", "") for extension in _EXTENSIONS]


def _index_source_paths(files: CorpusFiles, source_paths: DiskIndex) -> None:
    """Source paths by image id, read at the first image that is not in the layout: the file names millions."""
    source_paths.add("", "[]")
    if not files.exists(_SOURCE_PATHS):
        return
    try:
        with (
            files.open_stream(_SOURCE_PATHS, "OVEN's image paths") as stream,
            io.TextIOWrapper(io.BufferedReader(stream, 1 << 20), "utf-8", errors="replace", newline="") as text,
        ):
            for line in text:
                fields = split_record(line, ",")
                if (
                    isinstance(fields, list)
                    and len(fields) == 2
                    and not source_paths.add(fields[0], json.dumps([fields[1]]))
                ):
                    source_paths.put(fields[0], json.dumps([*json.loads(source_paths.get(fields[0])), fields[1]]))
    except OSError as error:
        raise unreadable(files.shown(_SOURCE_PATHS), "OVEN's image paths", error) from error
