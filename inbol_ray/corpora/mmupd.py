"""MM-UPD (unsolvable problem detection): official TSV files -> Question (mc), solvable ones and their unsolvable twins.

    {root}/data/mmaad_{date}_base.tsv     or {root}/mmaad_..., likewise mmiasd and mmivqd, and `_option` in place of `_base`:
        index, hint, question, A ... E, answer, masked_answer, category, image (base64), source, l2-category, comment,
        split, type

The datasets are named as the release names its configurations. `mmaad`: the right option is removed (absent answer);
`mmiasd`: the options are another question's (incompatible answer set); `mmivqd`: the image is another question's
(incompatible visual question). `_base` asks as it stands; `_option` adds an option that refuses, last; `_instruction`
asks `_base`'s questions with an instruction that offers `F`, a letter without an option. The one split is `test`.

`type` is `standard` (solvable) or `upd`. A solvable question and its twin share their `index`: they are a pair, which
counts only if both are right (dual accuracy). `index` modulo a million is the question, the rest says which rotation of
its options a row is, as in MMBench: all rotations must be right. An unsolvable question is right if it is refused, by
the option, the letter or in words; for `mmaad` and `mmiasd` also if the reply names the masked answer, as the official
judge counts it. As in the official code, an option that is empty, `nan` or `None` is missing.

Ours: the official scorer asks GPT-3.5 which option a free reply means; here a choice is parsed, a refusal in words is
found by the detector and `_REFUSALS`, and the masked answer must be named literally. Unverified: the whole files were
not at hand, only their columns and a few rows, so a row whose `answer` does not fit its type is rejected.
Source: MM-UPD release (AtsuMiyai/UPD, automatic_eval/calculate_scores.py; Hugging Face MM-UPD/MM-UPD, MM-UPD.py).
"""

import json
import string
from collections.abc import Iterator

from inbol_ray.corpora.annotation_rows import AnnotationRow, convert_rows, question_id, shown
from inbol_ray.corpora.corpus_files import CorpusFiles
from inbol_ray.corpora.row_sources import check_split, find_rows
from inbol_ray.rows import Question, Rejected

_SPLIT = "test"
_TYPES = ("standard", "upd")
_LETTERS = string.ascii_uppercase[:5]
_NO_OPTION = "F"
"""The answer to an unsolvable question that has no option which refuses, and the letter that the instruction offers."""
_ROTATION = 1_000_000
_MISSING = ("", "nan", "none")
_NONE_OF_THEM = (
    "None of the above",
    "None of the options",
    "None of the provided options",
    "None of these",
    "No correct answer",
    "No correct option",
    "No answer",
    "There is no correct answer",
    "There is no correct option",
    "All options are incorrect",
    "All the options are incorrect",
)
_IRRELEVANT = (
    "The image and question are irrelevant",
    "The image and the question are irrelevant",
    "The image is irrelevant to the question",
    "The question is irrelevant to the image",
    "The image is incompatible with the question",
)
_REFUSALS = {"mmaad": _NONE_OF_THEM, "mmiasd": _NONE_OF_THEM, "mmivqd": _IRRELEVANT}
"""What refuses besides the detector's words. The first is the text of the option and of the instruction."""


def read_mmupd(files: CorpusFiles, split: str, dataset: str) -> Iterator[Question | Rejected]:
    """Questions of both types, rotations included, in file order. Raises DataError where the file is missing."""
    check_split(files, dataset, split, _SPLIT)
    kind, setting = dataset.split("_")
    name = f"{kind}_[0-9]*_{'option' if setting == 'option' else 'base'}.tsv"
    rows = find_rows(files, f"data/{name}", name, id_field="index", description="MM-UPD's table")

    def build(row: AnnotationRow) -> Question:
        kind_of_row = _read_type(row)
        index = row.integer("index")
        text = row.question()
        letters, choices = _read_choices(row)
        answer, declared = _read_answer(row, kind, setting, letters, choices)
        hint = row.hint()
        return Question(
            id=question_id(dataset, split, row.native_id()),
            dataset=dataset,
            split=split,
            images=[row.embedded_image("image")],
            question=text,
            answer_kind="mc",
            choices=choices,
            answerable=kind_of_row == "standard",
            hint=None if hint is None or hint.strip().lower() in _MISSING else hint,
            meta=json.dumps(
                {
                    "type": kind_of_row,
                    "pair": index % _ROTATION,
                    "group": f"{kind_of_row}-{index % _ROTATION}",
                    "rotation": index // _ROTATION,
                    "category": row.optional("category"),
                    "l2_category": row.optional("l2-category"),
                    "source": row.optional("source"),
                }
                | declared
            ),
            **answer,
        )

    return convert_rows(dataset, split, _identified(rows), build)


def _identified(rows: Iterator[AnnotationRow]) -> Iterator[AnnotationRow]:
    """The rows with an id that differs between a solvable question and its twin."""
    for row in rows:
        if row.has("index") and row.has("type"):
            row.values["id"] = f"{row.values['type']}-{row.values['index']}"
            row.id_field = "id"
        yield row


def _read_type(row: AnnotationRow) -> str:
    found = row.text("type").strip()
    if found not in _TYPES:
        fix = "Use MM-UPD's own table, or remove the row."
        raise row.bad("unknown_type", "type", shown(found), " or ".join(_TYPES), fix)
    return found


def _read_choices(row: AnnotationRow) -> tuple[list[str], list[str]]:
    """Letters and texts of the options that are there."""
    letters = [
        letter
        for letter in _LETTERS
        if isinstance(row.values.get(letter), str) and row.values[letter].strip().lower() not in _MISSING
    ]
    return letters, row.checked_choices("A", [row.values[letter] for letter in letters])


def _read_answer(
    row: AnnotationRow, kind: str, setting: str, letters: list[str], choices: list[str]
) -> tuple[dict, dict]:
    """Which option is right, and what the question declares (`scoring.declared`)."""
    declared: dict = {"refusal_texts": list(_REFUSALS[kind])}
    allowed = set(letters)
    if setting == "instruction":
        declared["refusal_letter"] = _NO_OPTION
    refusal = None
    if setting == "option":
        declared["refusal_index"] = _find_refusal(row, kind, choices)
        refusal = letters[declared["refusal_index"]]
    if _read_type(row) == "upd":
        allowed = {refusal or _NO_OPTION}
        masked = row.optional("masked_answer")
        if kind != "mmivqd" and isinstance(masked, str) and masked.strip().lower() not in _MISSING:
            declared["masked_answer"] = masked
    else:
        allowed.discard(refusal)
    answer = row.text("answer").strip()
    if answer not in allowed:
        fix = "Restore the answer or remove the row."
        raise row.bad("gold_out_of_range", "answer", shown(answer), " or ".join(sorted(allowed)), fix)
    if answer not in letters:
        return {"gold_index": None}, declared
    gold_index = letters.index(answer)
    return {"gold_index": gold_index, "gold_answers": [choices[gold_index]]}, declared


def _find_refusal(row: AnnotationRow, kind: str, choices: list[str]) -> int:
    texts = {text.lower() for text in _REFUSALS[kind]}
    found = [index for index, choice in enumerate(choices) if choice.strip().rstrip(".").lower() in texts]
    if len(found) != 1:
        fix = "Use the table whose name ends in `_option`, or remove the row."
        raise row.bad("no_refusal_option", "A", shown(choices), f"one option that says {_REFUSALS[kind][0]!r}", fix)
    return found[0]
