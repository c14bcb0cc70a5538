"""MMMU: the hub's Parquet files, which are the official form -> Question (mc or open, by item).

    {root}/{Subject}/{split}-*.parquet    one folder a subject (MMMU/MMMU)
    {root}/data/{split}-*.parquet         all subjects (lmms-lab/MMMU)
                                          {id, question, options, answer, question_type, image_1 ... image_7, ...}

`split` is `dev` or `validation`; `test` hides its answers. `options` and several answers are lists in text. Question
and options keep their `<image k>` placeholders; `images` holds the picture of the first placeholder, since LLaVA-1.5
was not trained on several, and `meta` says how many there are.
Source: MMMU release (MMMU-Benchmark/MMMU, mmmu/utils), Hugging Face MMMU/MMMU.
"""

import json
import re
import string
from collections.abc import Iterator

from inbol_ray.corpora.annotation_rows import AnnotationRow, convert_rows, question_id, shown
from inbol_ray.corpora.corpus_files import CorpusFiles
from inbol_ray.corpora.row_sources import find_rows
from inbol_ray.rows import Question, Rejected

_DATASET = "mmmu"
_CHOICE = "multiple-choice"
_HIDDEN = ("", "?")
_PLACEHOLDER = re.compile(r"<image ([1-7])>")
_META = ("topic_difficulty", "subfield")


def read_mmmu(files: CorpusFiles, split: str) -> Iterator[Question | Rejected]:
    """Items of one MMMU split, in the order of the files' names. Raises DataError where none is found or readable."""
    patterns = [f"{folder}{split}{suffix}.parquet" for folder in ("*/", "data/", "") for suffix in ("-*", "")]
    rows = find_rows(files, *patterns, id_field="id", description="MMMU's Parquet files")

    def build(row: AnnotationRow) -> Question:
        native_id = row.native_id()
        text = row.question()
        is_choice = row.optional("question_type") == _CHOICE
        options = row.choices("options") if is_choice else []
        gold = _read_gold(row)
        answer = _choice(row, options, gold) if is_choice else {"answer_kind": "open", "gold_answers": gold}
        numbers = list(dict.fromkeys(_PLACEHOLDER.findall(" ".join([text, *options]))))
        meta = {
            "subject": native_id.partition("_")[2].rpartition("_")[0],
            "question_type": _CHOICE if is_choice else "open",
            "gold": gold,
            "num_images": len(numbers),
            "multi_image": len(numbers) > 1,
            "img_type": _read_img_type(row),
        }
        return Question(
            id=question_id(_DATASET, split, native_id),
            dataset=_DATASET,
            split=split,
            images=[row.embedded_image(f"image_{numbers[0] if numbers else 1}")],
            question=text,
            meta=json.dumps(meta | {key: row.optional(key) for key in _META}),
            **answer,
        )

    return convert_rows(_DATASET, split, rows, build)


def _read_gold(row: AnnotationRow) -> list[str]:
    """The letter, or the accepted answers: one text, or a list in text."""
    if row.values.get("answer") is None or row.values["answer"] in _HIDDEN:
        raise row.hidden("answer")
    value = row.literal("answer")
    gold = value if isinstance(value, list) else [value]
    # A list in text may hold bare numbers.
    gold = [str(item) if isinstance(item, int | float) and not isinstance(item, bool) else item for item in gold]
    if not gold or not all(isinstance(item, str) and item.strip() for item in gold):
        fix = "Restore the answer or remove the row."
        raise row.bad("wrong_type", "answer", shown(value), "a text or a list of texts", fix)
    return gold


def _choice(row: AnnotationRow, options: list[str], gold: list[str]) -> dict:
    letters = string.ascii_uppercase[: len(options)]
    if len(gold) != 1 or len(gold[0]) != 1 or gold[0] not in letters:
        fix = "Restore the answer or remove the row."
        raise row.bad("gold_out_of_range", "answer", repr(gold)[:80], f"one letter from A to {letters[-1]}", fix)
    gold_index = letters.index(gold[0])
    return {
        "answer_kind": "mc",
        "choices": options,
        "gold_index": gold_index,
        "gold_answers": [options[gold_index]],
    }


def _read_img_type(row: AnnotationRow) -> list | str | None:
    """Kinds of picture: a list, in text in the official files."""
    value = row.values.get("img_type")
    return row.literal("img_type") if isinstance(value, str) else value if isinstance(value, list) else None
