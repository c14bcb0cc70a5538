"""Rows of an annotation file, checked field by field: file -> AnnotationRow -> Question | Rejected.

A file that cannot be read raises DataError. A single bad row becomes `rows.Rejected`, whose detail names the file, the
row, the field, what was found, what was expected and how to mend it.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from inbol_ray.errors import DataError, InbolError
from inbol_ray.rows import Question, Rejected

MAX_QUESTION_WORDS = 500
_MAX_SHOWN = 80
_MAX_DIGITS = 18


class BadRowError(InbolError, ValueError):
    """One row cannot be used: a reason to count by, and the sentence that explains it. `convert_rows` catches it."""

    def __init__(self, reason: str, detail: str):
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


@dataclass(slots=True)
class AnnotationRow:
    """One row as the file holds it. `place` says where, such as `questions[17]` or `line 18`."""

    file: str
    place: str
    id_field: str
    values: Any

    def bad(self, reason: str, field: str, found: str, expected: str, fix: str) -> BadRowError:
        """The error to raise for a field."""
        return BadRowError(
            reason, f"{self.file}, {self.place}, field {field!r}: found {found}, expected {expected}. {fix}"
        )

    def get(self, field: str, expected: str) -> Any:
        """The value of a field that must be there; null counts as missing."""
        if not isinstance(self.values, dict):
            raise BadRowError(
                "wrong_type",
                f"{self.file}, {self.place}: found {shown(self.values)}, expected an object with {self.id_field!r}. "
                "Restore the row from the official file or remove it.",
            )
        value = self.values.get(field)
        if value is None:
            found = "null" if field in self.values else "no such field"
            raise self.bad("missing_field", field, found, expected, "Restore the field or remove the row.")
        return value

    def native_id(self) -> str:
        """The corpus's own id, as text: some copies hold numbers, others text."""
        expected = "a whole number or non-empty text"
        value = self.get(self.id_field, expected)
        if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).strip():
            raise self.bad("wrong_type", self.id_field, shown(value), expected, "Restore the id or remove the row.")
        return self._encodable(self.id_field, str(value))

    def name(self) -> str:
        """The native id, or the place in the file where there is no usable id."""
        try:
            return self.native_id()
        except BadRowError:
            return self.place

    def text(self, field: str) -> str:
        """A field that must hold text that is not blank."""
        expected = "non-empty text"
        value = self.get(field, expected)
        if not isinstance(value, str):
            raise self.bad("wrong_type", field, shown(value), expected, "Store text or remove the row.")
        if not value.strip():
            raise self.bad("empty_text", field, shown(value), expected, "Fill the field or remove the row.")
        return self._encodable(field, value)

    def question(self) -> str:
        """The question, as it stands."""
        try:
            question = self.text("question")
        except BadRowError as error:
            if error.reason == "empty_text":
                raise BadRowError("empty_question", error.detail) from None
            raise
        num_words = len(question.split())
        if num_words > MAX_QUESTION_WORDS:
            raise self.bad(
                "question_too_long",
                "question",
                f"{num_words} words",
                f"at most {MAX_QUESTION_WORDS}",
                "Shorten the question or remove the row.",
            )
        return question

    def integer(self, field: str, expected: str = "a whole number") -> int:
        """A field that must hold a whole number, or its digits as text."""
        value = self.get(field, expected)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS:
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.bad("wrong_type", field, shown(value), expected, "Store a whole number or remove the row.")
        return value

    def texts(self, field: str) -> list[str]:
        """A field that must hold a list of texts."""
        expected = "a list of texts"
        value = self.get(field, expected)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.bad("wrong_type", field, shown(value), expected, "Store a list of texts or remove the row.")
        return [self._encodable(field, item) for item in value]

    def answers(self, field: str) -> list[str]:
        """The human answers: a list of texts, or of objects that hold one in `answer`. At least one is not blank."""
        expected = "a non-empty list of human answers"
        fix = "Restore the answers (test splits hold none: use another split) or remove the row."
        if isinstance(self.values, dict) and self.values.get(field) is None:
            found = "null" if field in self.values else "no such field"
            raise self.bad("missing_field", field, found, expected, fix)
        value = self.get(field, expected)
        if not isinstance(value, list):
            raise self.bad("wrong_type", field, shown(value), expected, fix)
        answers = [item.get("answer") if isinstance(item, dict) else item for item in value]
        for item, answer in zip(value, answers, strict=True):
            if not isinstance(answer, str):
                raise self.bad("wrong_type", field, shown(item), "text in every answer", fix)
        if not any(answer.strip() for answer in answers):
            raise self.bad("no_answers", field, shown(value), expected, fix)
        return [self._encodable(field, answer) for answer in answers]

    def image(self, field: str, root: str, candidates: Iterable[str]) -> str:
        """Path of the first candidate below `root` that is a file there. `field` is where its name came from."""
        tried = []
        for candidate in candidates:
            if os.path.isabs(candidate) or ".." in candidate.split("/"):
                raise self.bad(
                    "image_outside_root",
                    field,
                    shown(candidate),
                    "a path below the corpus folder",
                    "Store a relative path or remove the row.",
                )
            path = os.path.join(root, candidate)
            if "\0" not in path and os.path.isfile(path):
                return path
            tried.append(candidate[:_MAX_SHOWN])
        raise self.bad(
            "missing_image",
            field,
            "no image file",
            f"one of {', '.join(tried)} in {root}",
            "Download the image into that folder or remove the row.",
        )

    def _encodable(self, field: str, value: str) -> str:
        try:
            value.encode()
        except UnicodeEncodeError:
            raise self.bad(
                "bad_text", field, shown(value), "valid Unicode", "Remove the lone surrogates or remove the row."
            ) from None
        return value


def convert_rows(
    dataset: str, split: str, rows: Iterable[AnnotationRow], build: Callable[[AnnotationRow], Question]
) -> Iterator[Question | Rejected]:
    """A question for each row that `build` accepts, and a rejection for each other row, in order."""
    for row in rows:
        try:
            yield build(row)
        except BadRowError as error:
            yield Rejected(question_id(dataset, split, row.name()), dataset, error.reason, error.detail)


def question_id(dataset: str, split: str, native_id: str) -> str:
    return f"{dataset}:{split}:{native_id}"


def read_json(path: str, kind: type, description: str) -> Any:
    """The content of a JSON file whose top level is of `kind`.

    Raises DataError if the file is missing, is no JSON, or holds something else; `description` is what was expected.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            content = json.load(file)
    except OSError as error:
        raise unreadable(path, description, error) from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: not valid JSON ({error}), expected {description}. The file may be cut off: download it again."
        ) from error
    if not isinstance(content, kind):
        raise DataError(f"{path}: found {shown(content)}, expected {description}. Use the official file.")
    return content


def rows_of_list(file: str, items: list, id_field: str, name: str = "list") -> Iterator[AnnotationRow]:
    """The items of a JSON list as rows; `name` is what the list is called in messages."""
    for index, item in enumerate(items):
        yield AnnotationRow(file, f"{name}[{index}]", id_field, item)


def find_file(root: str, *candidates: str, description: str) -> str:
    """Path of the first candidate that exists below `root`. Raises DataError, with all of them, where none does."""
    for candidate in candidates:
        path = os.path.join(root, candidate)
        if os.path.isfile(path):
            return path
    raise DataError(
        f"{root}: found no {' or '.join(candidates)}, expected {description}. "
        "Download the file into that folder, or correct `root` and `split` in the configuration."
    )


def unreadable(path: str, description: str, error: OSError) -> DataError:
    return DataError(
        f"{path}: cannot be read ({error.strerror or error}), expected {description}. "
        "Check that the file exists and may be read."
    )


def shown(value: Any) -> str:
    """A value for a message: its type and its beginning."""
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + '...'}"
