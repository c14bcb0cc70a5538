"""MMBench: official TSV, or the hub's Parquet copies -> Question (mc).

    {root}/MMBench_{SPLIT}.tsv, MMBench_{SPLIT}_legacy.tsv or, for `dev_en`, mmbench_dev_20230712.tsv:
                                       index, question, hint, A ... D, answer, category, image, source, l2-category
    {root}/{en,data}/{dev}-*.parquet   the same columns, `image` embedded (lmms-lab/MMBench, lmms-lab/MMBench_EN)

`split` is `dev_en`; test splits hide their answers. `index` modulo a million is the question, the rest says which
rotation of its options a row is. In the compact file `image` may be the index of the row that holds the picture, before
or after it, so pictures are collected first. Copies write `nan` for a missing hint or option; `None` is an option.
Source: MMBench release (open-compass/MMBench), open-compass/VLMEvalKit vlmeval/dataset/image_base.py.
"""

import json
from collections.abc import Iterator

from inbol_ray.corpora.annotation_rows import AnnotationRow, BadRowError, convert_rows, question_id, shown
from inbol_ray.corpora.corpus_files import CorpusFiles
from inbol_ray.corpora.disk_index import DiskIndex
from inbol_ray.corpora.missing_values import lettered_options, reads_nan
from inbol_ray.corpora.row_sources import find_rows, parquet_patterns
from inbol_ray.rows import Question, Rejected

_DATASET = "mmbench"
_ROTATION = 1_000_000
_MAX_INDEX_CHARS = 64
"""An `image` of at most this many characters is the index of the row that holds the picture."""


def read_mmbench(files: CorpusFiles, split: str) -> Iterator[Question | Rejected]:
    """Rows of one MMBench split, rotations included, in file order. Raises DataError where no file is found."""
    official = [f"MMBench_{split.upper()}.tsv", f"MMBench_{split.upper()}_legacy.tsv"]
    if split == "dev_en":
        official.append("mmbench_dev_20230712.tsv")

    def find() -> Iterator[AnnotationRow]:
        patterns = (*official, *parquet_patterns(split.partition("_")[0], "en"))
        return find_rows(files, *patterns, id_field="index", description="MMBench's table")

    return _convert(split, pictures=find(), rows=find())


def _convert(
    split: str, pictures: Iterator[AnnotationRow], rows: Iterator[AnnotationRow]
) -> Iterator[Question | Rejected]:
    with DiskIndex() as images:
        for row in pictures:
            if not _refers(row):
                try:
                    images.add(row.native_id(), row.embedded_image("image"))
                except BadRowError:  # the rows that show it are reported as lacking it
                    continue

        def build(row: AnnotationRow) -> Question:
            index = row.integer("index")
            text = row.question()
            choices, gold_index = _read_choices(row)
            return Question(
                id=question_id(_DATASET, split, str(index)),
                dataset=_DATASET,
                split=split,
                images=[_find_image(row, images)],
                question=text,
                answer_kind="mc",
                gold_answers=[choices[gold_index]],
                choices=choices,
                gold_index=gold_index,
                hint=row.hint(),
                meta=json.dumps(
                    {
                        "index": index,
                        "group": index % _ROTATION,
                        "rotation": index // _ROTATION,
                        "category": row.optional("category"),
                        "l2_category": row.optional("l2-category") or row.optional("L2-category"),
                        "source": row.optional("source"),
                    }
                ),
            )

        yield from convert_rows(_DATASET, split, rows, build)


def _refers(row: AnnotationRow) -> bool:
    value = row.values.get("image") if isinstance(row.values, dict) else None
    return isinstance(value, str) and len(value) <= _MAX_INDEX_CHARS


def _find_image(row: AnnotationRow, images: DiskIndex) -> str:
    holder = row.get("image", "a picture, or the index of the row that holds it").strip() if _refers(row) else None
    image = images.get(holder or row.native_id())
    if image is not None:
        return image
    if holder is None:
        return row.embedded_image("image")  # raises what was passed over while collecting
    fix = "Restore that row's picture or remove this row."
    raise row.bad("missing_image", "image", shown(holder), "the index of a row that holds a picture", fix)


def _read_choices(row: AnnotationRow) -> tuple[list[str], int]:
    """The options that are not missing, in letter order, and which of them is right."""
    answer = row.values.get("answer")
    present = lettered_options(row.values, answer)
    choices = row.checked_choices("A", list(present.values()))
    if not isinstance(answer, str) or not answer.strip() or reads_nan(answer):
        raise row.hidden("answer")
    letters = list(present)
    if answer.strip() not in letters:
        fix = "Restore the answer or remove the row."
        raise row.bad("gold_out_of_range", "answer", shown(answer), f"one of {', '.join(letters)}", fix)
    return choices, letters.index(answer.strip())
