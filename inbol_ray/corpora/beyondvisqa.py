"""BeyondVisQA and the other subsets of MM-SAP -> Question (mc, or open for the question alone).

    {root}/{split}.json, .jsonl, .tsv, .csv, .parquet     or {root}/{split}/data.*, {root}/data/{split}-*.parquet
        {question, five options, answer, image}

`split` is the subset: `BeyondVisQA`, `BasicVisQA`, `KnowVisQA`. The release does not document its field names, so
several are accepted: `image`, `image_path`, `img` (a file below the root, or the picture itself); `options`,
`choices` (a list, or an object by letter) or columns `A` to `E`; `answer` as a letter, an index from 0 or the option's
text; `id`, `question_id`, `index`, else the row's number. One option refuses (`Sorry, I can't help with it`); where it
is the answer, the question should be refused. Dataset `beyondvisqa_open` is the question without options, of such rows
alone.
Source: MM-SAP (YHWmz/MM-SAP, README.md and its pictures; Hugging Face Elliotwang/MM-SAP).
"""

import json
import string
from collections.abc import Iterator

from inbol_ray.corpora.annotation_rows import AnnotationRow, convert_rows, question_id, shown
from inbol_ray.corpora.corpus_files import CorpusFiles
from inbol_ray.corpora.missing_values import lettered_options
from inbol_ray.corpora.row_sources import find_rows, parquet_patterns
from inbol_ray.rows import Question, Rejected

_IDS = ("id", "question_id", "index")
_IMAGES = ("image", "image_path", "img")
_OPTIONS = ("options", "choices")
_REFUSAL = "can't help"


def read_beyondvisqa(files: CorpusFiles, split: str) -> Iterator[Question | Rejected]:
    """Questions of one MM-SAP subset with their options. Raises DataError where the file is missing or unreadable."""
    return _read(files, split, "beyondvisqa")


def read_beyondvisqa_open(files: CorpusFiles, split: str) -> Iterator[Question | Rejected]:
    """The questions that should be refused, without their options; otherwise as `read_beyondvisqa`."""
    return _read(files, split, "beyondvisqa_open")


def _read(files: CorpusFiles, split: str, dataset: str) -> Iterator[Question | Rejected]:
    stems = (split, f"{split}/data", f"data/{split}")
    patterns = [f"{stem}.{extension}" for stem in stems for extension in ("json", "jsonl", "tsv", "csv")]
    rows = find_rows(
        files, *patterns, *parquet_patterns(split, split), id_field="question", description="a subset of MM-SAP"
    )

    def build(row: AnnotationRow) -> Question:
        native_id = row.native_id()
        text = row.question()
        choices = _read_choices(row)
        gold_index = _read_answer(row, choices)
        refusal_index = _find_refusal(row, choices)
        category = row.optional("category") or row.optional("type")
        if dataset == "beyondvisqa":
            answer = {
                "answer_kind": "mc",
                "choices": choices,
                "gold_index": gold_index,
                "gold_answers": [choices[gold_index]],
                "answerable": gold_index != refusal_index,
            }
            meta = {"category": category, "refusal_index": refusal_index}
        elif gold_index != refusal_index:
            fix = "Nothing to mend: without its options only a question that should be refused can be judged."
            raise row.bad("answerable", "answer", shown(choices[gold_index]), "the option that refuses", fix)
        else:
            answer = {"answer_kind": "open", "answerable": False}
            meta = {"category": category, "refusal_texts": [choices[refusal_index]]}
        return Question(
            id=question_id(dataset, split, native_id),
            dataset=dataset,
            split=split,
            images=[_find_image(row, split)],
            question=text,
            meta=json.dumps(meta),
            **answer,
        )

    return convert_rows(dataset, split, _identified(rows), build)


def _identified(rows: Iterator[AnnotationRow]) -> Iterator[AnnotationRow]:
    """The rows with the field that their ids stand in; a number of their own where there is none."""
    for number, row in enumerate(rows):
        row.id_field = next((field for field in _IDS if row.has(field)), "id")
        if isinstance(row.values, dict) and not row.has(row.id_field):
            row.values["id"] = number
        yield row


def _read_choices(row: AnnotationRow) -> list[str]:
    for field in _OPTIONS:
        if row.has(field):
            value = row.literal(field)
            if isinstance(value, dict):
                value = [value[key] for key in sorted(value)]
            if not isinstance(value, list) or not all(isinstance(choice, str) for choice in value):
                fix = "Store a list of texts or remove the row."
                raise row.bad("wrong_type", field, shown(value), "a list of texts", fix)
            return row.checked_choices(field, value)
    return row.checked_choices("A", list(lettered_options(row.values, row.values.get("answer")).values()))


def _read_answer(row: AnnotationRow, choices: list[str]) -> int:
    """The index of the right option, from a letter, an index or the option's text."""
    value = row.get("answer", "a letter, an index from 0 or an option")
    if isinstance(value, int) and not isinstance(value, bool):
        return row.gold_index("answer", len(choices))
    text = row.text("answer").strip()
    if text in choices:
        return choices.index(text)
    letter = text.strip("().: ").upper()
    letters = string.ascii_uppercase[: len(choices)]
    if len(letter) == 1 and letter in letters:
        return letters.index(letter)
    if text.isascii() and text.isdigit():
        return row.gold_index("answer", len(choices))
    fix = "Restore the answer or remove the row."
    raise row.bad("gold_out_of_range", "answer", shown(value), f"A to {letters[-1]}, an index or an option", fix)


def _find_refusal(row: AnnotationRow, choices: list[str]) -> int:
    found = [index for index, choice in enumerate(choices) if _REFUSAL in choice.lower().replace("\u2019", "'")]
    if len(found) != 1:
        fix = "Restore the options or remove the row."
        raise row.bad("no_refusal_option", "options", shown(choices), f"one option that says {_REFUSAL!r}", fix)
    return found[0]


def _find_image(row: AnnotationRow, split: str) -> str:
    field = next((field for field in _IMAGES if row.has(field)), _IMAGES[0])
    if row.holds_image(field):
        return row.embedded_image(field)
    name = row.text(field)
    if len(name) > 1000:  # a picture in base64, not a path
        return row.embedded_image(field)
    return row.image(field, [name, f"images/{name}", f"{split}/{name}", f"{split}/images/{name}"])
