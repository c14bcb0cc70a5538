"""HumbleBench: the hub's image folder or its Parquet copy -> Question (mc), and its two stress tests.

    {root}/{split}-*.parquet              question_id, question, label, type, image (embedded)     (MM-Hallu/HumbleBench)
    {root}/metadata.jsonl or .csv         the same fields with `file_name` for `image`, a path from that file's folder; also
                                          below {root}/{split}                               (maifoundations/HumbleBench)

The one split is `train`. `question` holds the question and five lines of options, `A. ...` to `E. ...`, the last of
which is `None of the above`; `label` is the right letter. Where it is E the question should be refused; the option is a
refusal wherever it is chosen. Datasets:

    humblebench       as it stands
    humblebench_e     HumbleBench-E: the right option is taken out where there is one, so that E is always right
    humblebench_gn    HumbleBench-GN: every picture is replaced by one of noise, so that nothing can be answered

Official figures: accuracy (`right_rate` here), by `type`, and on questions whose label is E.
Ours: letters close up where an option is taken out (the official prompt leaves a gap); the noise is drawn once from a
fixed seed, uniformly as in the official code; a refusal in words counts as E; the official rule by words, to which an
article is option A, is not taken. On noise the official code keeps the labels and so counts answers that no picture
shows; here E is right, as the paper's text is quoted (unverified: the paper itself was not at hand). Unverified, too:
where the hub's image folder keeps its metadata, and its field `file_name`.
Source: HumbleBench release (maifoundations/HumbleBench, HumbleBench/utils/entity.py, metrics.py).
"""

import io
import json
import posixpath
import re
from collections.abc import Iterator
from functools import cache

import numpy as np
from PIL import Image

from inbol_ray.corpora.annotation_rows import AnnotationRow, convert_rows, question_id, shown
from inbol_ray.corpora.corpus_files import CorpusFiles
from inbol_ray.corpora.row_sources import check_split, find_rows, parquet_patterns
from inbol_ray.rows import Question, Rejected

_SPLIT = "train"
_LETTERS = "ABCDE"
_REFUSAL = re.compile(r"none of\b", re.IGNORECASE)
_NOISE_SIDE_PX = 256


def read_humblebench(files: CorpusFiles, split: str, dataset: str) -> Iterator[Question | Rejected]:
    """Questions in file order, as `dataset` says. Raises DataError where the file is missing or unreadable."""
    check_split(files, dataset, split, _SPLIT)
    metadata = [f"{folder}metadata.{kind}" for kind in ("jsonl", "csv") for folder in ("", f"{split}/")]
    rows = find_rows(
        files, *parquet_patterns(split), *metadata, id_field="question_id", description="HumbleBench's questions"
    )

    def build(row: AnnotationRow) -> Question:
        native_id = row.native_id()
        text, choices = _read_question(row)
        gold_index = _read_label(row)
        refusal_index = len(choices) - 1
        if dataset == "humblebench_e" and gold_index != refusal_index:
            del choices[gold_index]
            refusal_index -= 1
        if dataset != "humblebench":
            gold_index = refusal_index
        return Question(
            id=question_id(dataset, split, native_id),
            dataset=dataset,
            split=split,
            images=[files.save_image(_noise()) if dataset == "humblebench_gn" else _find_image(row)],
            question=text,
            answer_kind="mc",
            gold_answers=[choices[gold_index]],
            choices=choices,
            gold_index=gold_index,
            answerable=gold_index != refusal_index,
            meta=json.dumps({"type": row.optional("type"), "refusal_index": refusal_index}),
        )

    return convert_rows(dataset, split, rows, build)


def _read_question(row: AnnotationRow) -> tuple[str, list[str]]:
    """The question without its options, and the five options without their letters."""
    lines = row.question().strip().split("\n")
    stem, options = lines[: -len(_LETTERS)], [line.strip() for line in lines[-len(_LETTERS) :]]
    lettered = all(option.startswith(f"{letter}.") for letter, option in zip(_LETTERS, options, strict=False))
    if not stem or not lettered or any(line.strip().startswith("A.") for line in stem):
        fix = "Restore the question from the official file or remove the row."
        raise row.bad("bad_choices", "question", shown("\n".join(lines)), "a question and the lines `A.` to `E.`", fix)
    choices = row.checked_choices("question", [option[2:].strip() for option in options])
    if not _REFUSAL.match(choices[-1]):
        fix = "Restore the options or remove the row."
        raise row.bad("no_refusal_option", "question", shown(choices[-1]), "option E to be `None of the above`", fix)
    return "\n".join(stem).strip(), choices


def _read_label(row: AnnotationRow) -> int:
    label = row.text("label").strip()
    if len(label) != 1 or label not in _LETTERS:
        fix = "Restore the label or remove the row."
        raise row.bad("gold_out_of_range", "label", shown(label), f"one of {', '.join(_LETTERS)}", fix)
    return _LETTERS.index(label)


def _find_image(row: AnnotationRow) -> str:
    if row.file.endswith(".parquet"):
        return row.embedded_image("image")
    return row.image("file_name", [posixpath.join(posixpath.dirname(row.file), row.text("file_name"))])


@cache
def _noise() -> bytes:
    """A picture in which every pixel's grey is drawn by itself, as PNG."""
    pixels = np.random.default_rng(0).integers(0, 256, (_NOISE_SIDE_PX, _NOISE_SIDE_PX), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
