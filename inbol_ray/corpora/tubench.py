"""TUBench: the four official zips, unpacked -> Question (open with yes or no, or mc), some of them unanswerable.

    {root}/UCR/{n}/{k}.txt, {k}_u1.txt ...   `question<TAB>label` a line; {k}.png, {k}_u1.png ... is the picture
    {root}/UVQA/{n}/vqa.txt, one .jpg        `number<TAB>question<TAB>label[<TAB>strategy]` a line
    {root}/UGeoQA/{n}/{n}.json, {n}.png      subject, unanswerable_subject, choices, label (from 0)
    {root}/UTabMWP/{n}/{n}.json              question, choices, answer (an option); {n}.png, and {n}_u1.png with the table
                                             partly hidden (both parts of the zip in one folder)

The folder that a zip unpacks to may also be the root itself. Datasets `tubench_ucr`, `tubench_uvqa`, `tubench_ugeoqa`,
`tubench_utabmwp`; the one split is `test`. Labels are `Yes`, `No` or `Unanswerable`. UGeoQA and UTabMWP give two
questions a file: as it stands, and with a condition left out (UGeoQA) or with the hidden table (UTabMWP), which nothing
can answer. The `strategy` is how a question was made unanswerable: S1 to S4 (UVQA), S5 to S7 (UCR, of the picture,
whose questions may have an answer all the same; `original` for the others), S8 (UGeoQA), S9 (UTabMWP). UGeoQA is asked
in Chinese, as the official code does. Files whose name ends in `_negate_flip` are variants that are passed over.

Official figures: accuracy over all labels (`right_rate` here), over answerable or not (`answerability_acc`) and the F1
of `Unanswerable` (`refusal_f1`). Ours: the official code takes a reply without a readable answer for `Yes` or `(a)`,
where it may be right by luck; here it is wrong. UTabMWP's breakdown by question type, guessed from words, is not made.
Unverified: UCR, UVQA and UTabMWP were not at hand, and their form is what the official code reads; UGeoQA was read whole
(974 questions). Source: TUBench release (NLPCode/TUBench, README.md, vlms/gpt4.py, evaluations/).
"""

import json
import posixpath
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from inbol_ray.corpora.annotation_rows import AnnotationRow, convert_rows, question_id, shown
from inbol_ray.corpora.corpus_files import CorpusFiles, unreadable
from inbol_ray.corpora.row_sources import check_split
from inbol_ray.errors import DataError
from inbol_ray.rows import Question, Rejected

_SPLIT = "test"
_UNANSWERABLE = "Unanswerable"
_LABELS = ("Yes", "No", _UNANSWERABLE)
_MAX_FILE_BYTES = 1 << 20
_UCR_NAME = re.compile(r"\d+(?:_u([123]))?\.txt")
_UCR_STRATEGIES = {None: "original", "1": "S5", "2": "S6", "3": "S7"}


class _Set(NamedTuple):
    """One of the four sets: its folder, its files, the rows of a file and how a row's answer is read.

    Every row has `id`, `question`, `image` (a name below the root) and `strategy`, or is an exception.
    """

    folder: str
    pattern: str
    read_rows: Callable[[CorpusFiles, str], Iterator[AnnotationRow]]
    read_answer: Callable[[AnnotationRow], dict]


def read_tubench(files: CorpusFiles, split: str, dataset: str) -> Iterator[Question | Rejected]:
    """Questions of one of the four sets, in the order of the files' names. Raises DataError where none is found."""
    check_split(files, dataset, split, _SPLIT)
    one = _SETS[dataset]
    description = f"TUBench's {one.folder}, unpacked"
    names = files.find(f"{one.folder}/*/{one.pattern}", f"*/{one.pattern}", description=description)

    def build(row: AnnotationRow) -> Question:
        native_id = row.native_id()
        text = row.question()
        answer = one.read_answer(row)
        return Question(
            id=question_id(dataset, split, native_id),
            dataset=dataset,
            split=split,
            images=[row.image("image", [row.text("image")])],
            question=text,
            meta=json.dumps({"strategy": row.optional("strategy"), "refusal_texts": [_UNANSWERABLE]}),
            **answer,
        )

    return convert_rows(dataset, split, (row for name in names for row in one.read_rows(files, name)), build)


# --- UCR and UVQA: a question a line --------------------------------------------------------------------------------


def _ucr_rows(files: CorpusFiles, name: str) -> Iterator[AnnotationRow]:
    stem = name.removesuffix(".txt")
    if stem.endswith("_negate_flip"):
        return
    known = _UCR_NAME.fullmatch(posixpath.basename(name))
    for number, fields in _lines(files, name):
        if known is None:
            yield _bad_line(files, name, number, "a file that is none of {k}.txt, {k}_u1.txt, {k}_u2.txt, {k}_u3.txt")
        elif len(fields) != 2:
            yield _bad_line(files, name, number, f"{len(fields)} fields between tabs, where there are two")
        else:
            values = {"question": fields[0], "label": fields[1], "image": f"{stem}.png"}
            values["id"] = f"{posixpath.basename(posixpath.dirname(name))}/{posixpath.basename(stem)}/{number}"
            values["strategy"] = _UCR_STRATEGIES[known[1]]
            yield AnnotationRow(files, name, f"line {number}", "id", values)


def _uvqa_rows(files: CorpusFiles, name: str) -> Iterator[AnnotationRow]:
    folder = posixpath.dirname(name)
    try:
        image = files.find(f"{folder}/*.jpg", description="the picture of these questions")[0]
    except DataError:
        image = f"{folder}/*.jpg"  # every question is rejected for it
    for number, fields in _lines(files, name):
        if len(fields) not in (3, 4):
            yield _bad_line(files, name, number, f"{len(fields)} fields between tabs, where there are three or four")
        else:
            values = {"question": fields[1], "label": fields[2], "image": image}
            values["id"] = f"{posixpath.basename(folder)}/{number}"
            values["strategy"] = f"S{fields[3]}" if len(fields) == 4 else None
            yield AnnotationRow(files, name, f"line {number}", "id", values)


def _bad_line(files: CorpusFiles, name: str, number: int, problem: str) -> AnnotationRow:
    place = f"{'/'.join(name.split('/')[-2:])}, line {number}"  # it has no id but this
    return AnnotationRow(files, name, place, "id", ValueError(problem))


def _lines(files: CorpusFiles, name: str) -> Iterator[tuple[int, list[str]]]:
    """Number, from 1, and tab-separated fields of each line that is not blank. Raises DataError."""
    try:
        text = _read_file(files, name)
    except ValueError as error:
        raise DataError(f"{files.shown(name)}: {error}, expected lines of text. Unpack it again.") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, [field.strip() for field in line.strip().split("\t")]


def _read_label(row: AnnotationRow) -> dict:
    label = row.text("label")
    if label not in _LABELS:
        fix = "Restore the label or remove the row."
        raise row.bad("unknown_label", "label", shown(label), f"one of {', '.join(_LABELS)}", fix)
    answerable = label != _UNANSWERABLE
    return {"answer_kind": "open", "answerable": answerable, "gold_answers": [label] if answerable else []}


# --- UGeoQA and UTabMWP: an object a file, which gives an answerable and an unanswerable question -------------------


def _ugeoqa_rows(files: CorpusFiles, name: str) -> Iterator[AnnotationRow]:
    image = f"{name.removesuffix('.json')}.png"
    for field, suffix in (("subject", ""), ("unanswerable_subject", f"-{_UNANSWERABLE}")):
        values = _read_object(files, name)
        if isinstance(values, dict):
            text = values.get(field)
            values |= {"question": text.replace("()", "?") if isinstance(text, str) else text}
            values |= {"answer": values.get("label"), "image": image, "strategy": "S8" if suffix else None}
            values["id"] += suffix
        yield AnnotationRow(files, name, field, "id", values)


def _utabmwp_rows(files: CorpusFiles, name: str) -> Iterator[AnnotationRow]:
    stem = name.removesuffix(".json")
    for image, suffix in ((f"{stem}.png", ""), (f"{stem}_u1.png", f"-{_UNANSWERABLE}")):
        values = _read_object(files, name)
        if isinstance(values, dict):
            values |= {"image": image, "strategy": "S9" if suffix else None}
            values["id"] += suffix
        yield AnnotationRow(files, name, posixpath.basename(image), "id", values)


def _read_object(files: CorpusFiles, name: str) -> object:
    """What a file holds, an object with its name as `id`; the error where it cannot be parsed."""
    try:
        values = json.loads(_read_file(files, name))
    except (ValueError, RecursionError) as error:
        return ValueError(str(error))
    native_id = posixpath.basename(name).removesuffix(".json")
    return values | {"id": native_id} if isinstance(values, dict) else values


def _read_choice(row: AnnotationRow) -> dict:
    choices = row.choices("choices")
    if row.native_id().endswith(_UNANSWERABLE):
        return {"answer_kind": "mc", "choices": choices, "answerable": False}
    answer = row.get("answer", "the right option, or its index from 0")
    if isinstance(answer, str):
        if answer not in choices:
            fix = "Restore the answer or remove the row."
            raise row.bad("gold_out_of_range", "answer", shown(answer), f"one of {choices}"[:160], fix)
        gold_index = choices.index(answer)
    else:
        gold_index = row.gold_index("answer", len(choices))
    gold = {"gold_index": gold_index, "gold_answers": [choices[gold_index]]}
    return {"answer_kind": "mc", "choices": choices, "answerable": True} | gold


def _read_file(files: CorpusFiles, name: str) -> str:
    """The text of a small file. Raises ValueError for what is none, DataError where it cannot be read."""
    try:
        with files.open_stream(name, "questions of TUBench") as stream:
            data = stream.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise unreadable(files.shown(name), "questions of TUBench", error) from error
    if len(data) > _MAX_FILE_BYTES:
        raise ValueError(f"longer than {_MAX_FILE_BYTES} bytes")
    return data.decode("utf-8-sig")


_SETS = {
    "tubench_ucr": _Set("UCR", "*.txt", _ucr_rows, _read_label),
    "tubench_uvqa": _Set("UVQA", "vqa.txt", _uvqa_rows, _read_label),
    "tubench_ugeoqa": _Set("UGeoQA", "*.json", _ugeoqa_rows, _read_choice),
    "tubench_utabmwp": _Set("UTabMWP", "*.json", _utabmwp_rows, _read_choice),
}
