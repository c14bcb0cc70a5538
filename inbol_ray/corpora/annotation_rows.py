"""Rows of an annotation file, checked field by field: AnnotationRow -> Question | Rejected.

A single bad row becomes `rows.Rejected`, whose detail names the file, the row, the field, what was found, what was
expected and how to mend it.
"""

import ast
import base64
import binascii
import posixpath
import string
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from inbol_ray.corpora.corpus_files import CorpusFiles
from inbol_ray.corpora.missing_values import is_missing, reads_nan, says_nothing
from inbol_ray.errors import InbolError
from inbol_ray.images import MAX_IMAGE_BYTES
from inbol_ray.rows import Question, Rejected

MAX_QUESTION_WORDS = 500
MAX_CHOICES = len(string.ascii_uppercase)
_MAX_LITERAL_CHARS = 100_000
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
    """One row as the file holds it. `place` says where, such as `questions[17]` or `line 18`.

    `values` is an exception where the row itself could not be parsed.
    """

    files: CorpusFiles
    file: str
    place: str
    id_field: str
    values: Any

    def bad(self, reason: str, field: str, found: str, expected: str, fix: str) -> BadRowError:
        """The error to raise for a field."""
        file = self.files.shown(self.file)
        return BadRowError(reason, f"{file}, {self.place}, field {field!r}: found {found}, expected {expected}. {fix}")

    def has(self, field: str) -> bool:
        """Whether the field is there and neither null nor NaN."""
        return isinstance(self.values, dict) and not is_missing(self.values.get(field))

    def optional(self, field: str) -> Any:
        """The value of a field for `meta`, as it stands; None where it is missing, blank, `nan` or a list or object."""
        value = self.values.get(field)
        if isinstance(value, str):
            return self._encodable(field, value) if value.strip() and not reads_nan(value) else None
        return value if isinstance(value, int | float) and value == value else None

    def hidden(self, field: str) -> BadRowError:
        """The error for a split that does not publish its answers."""
        return self.bad(
            "hidden_answer",
            field,
            "no answer",
            "the right answer",
            "Test splits hide their answers: use a split that has them, or remove the row.",
        )

    def get(self, field: str, expected: str) -> Any:
        """The value of a field that must be there; null and NaN count as missing."""
        if isinstance(self.values, Exception):
            fix = "Repair the line or remove it."
            raise self.bad("malformed_row", "(line)", str(self.values)[:_MAX_SHOWN], "a well-formed row", fix)
        if not isinstance(self.values, dict):
            raise BadRowError(
                "wrong_type",
                f"{self.files.shown(self.file)}, {self.place}: found {shown(self.values)}, expected an object with {self.id_field!r}. "
                "Restore the row from the official file or remove it.",
            )
        value = self.values.get(field)
        if is_missing(value):
            found = "null" if field in self.values else "no such field"
            raise self.bad("missing_field", field, found, expected, "Restore the field or remove the row.")
        return value

    def native_id(self) -> str:
        """The corpus's own id, as text: some copies hold numbers, others text."""
        expected = "a whole number or non-empty text"
        value = _whole(self.get(self.id_field, expected))
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
        """A field that must hold a whole number, or its digits as text; pandas makes `7.0` of it beside empty cells."""
        value = _whole(self.get(field, expected))
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
        if isinstance(self.values, dict) and is_missing(self.values.get(field)):
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

    def literal(self, field: str) -> Any:
        """The value of a field; where it is text that holds a Python literal, such as "['a', 'b']", that literal.

        Several copies store their lists this way. Nothing is evaluated but literals.
        """
        value = self.get(field, "a list, or text that holds one")
        if not isinstance(value, str) or not value.lstrip().startswith("["):
            return value
        try:
            if len(value) > _MAX_LITERAL_CHARS:
                raise ValueError(f"{len(value)} characters")
            return ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            fix = "Store a list of texts or remove the row."
            raise self.bad("wrong_type", field, f"{shown(value)} ({error})", "a list of texts", fix) from None

    def choices(self, field: str) -> list[str]:
        """The options of a multiple-choice question: 2 to 26 texts, none of them blank."""
        value = self.literal(field)
        if not isinstance(value, list) or not all(isinstance(choice, str) for choice in value):
            fix = "Store a list of texts or remove the row."
            raise self.bad("wrong_type", field, shown(value), "a list of texts", fix)
        return self.checked_choices(field, value)

    def checked_choices(self, field: str, choices: list[str]) -> list[str]:
        """The same options, after the checks of `choices`."""
        if not 2 <= len(choices) <= MAX_CHOICES or not all(choice.strip() for choice in choices):
            raise self.bad(
                "bad_choices",
                field,
                f"{len(choices)} choices: {choices}"[:160],
                f"2 to {MAX_CHOICES} choices that are not blank",
                "Restore the choices or remove the row.",
            )
        return [self._encodable(field, choice) for choice in choices]

    def gold_index(self, field: str, num_choices: int) -> int:
        """The index of the right option, from 0."""
        gold_index = self.integer(field, "the index of the right choice, from 0")
        if not 0 <= gold_index < num_choices:
            raise self.bad(
                "gold_out_of_range",
                field,
                str(gold_index),
                f"an index from 0 to {num_choices - 1}",
                "Restore the answer or remove the row.",
            )
        return gold_index

    def hint(self, field: str = "hint") -> str | None:
        """The hint; None where it is missing, blank or a word for a missing value."""
        value = self.values.get(field)
        return None if is_missing(value) or (isinstance(value, str) and says_nothing(value)) else self.text(field)

    def image(self, field: str, candidates: Iterable[str]) -> str:
        """Reference of the first candidate that is a file of the corpus. `field` is where its name came from."""
        tried = []
        for candidate in candidates:
            if candidate.startswith("/") or ".." in candidate.split("/") or "://" in candidate:
                raise self.bad(
                    "image_outside_root",
                    field,
                    shown(candidate),
                    "a path below the corpus folder",
                    "Store a relative path or remove the row.",
                )
            if self.files.exists(candidate):
                return self.files.reference(posixpath.normpath(candidate))
            tried.append(candidate[:_MAX_SHOWN])
        raise self.bad(
            "missing_image",
            field,
            "no image file",
            f"one of {', '.join(tried)} in {self.files.root}",
            "Download the image into that folder or remove the row.",
        )

    def embedded_image(self, field: str) -> str:
        """Reference of an image that the row itself holds: bytes, `{bytes, path}` as in Parquet, or base64 text.

        Without bytes the path counts, which is relative to the row's file, or else to the corpus folder.
        """
        expected = "the bytes of an image, or the path of one"
        value = self.values.get(field)
        data = value.get("bytes") if isinstance(value, dict) else value
        if isinstance(value, dict) and not data and isinstance(path := value.get("path"), str) and path.strip():
            path = path.removeprefix(f"{self.files.root}/")
            folder = posixpath.dirname(self.file)
            return self.image(field, dict.fromkeys([path if path[0] == "/" else posixpath.join(folder, path), path]))
        if isinstance(data, str):
            try:
                data = base64.b64decode(data.partition("base64,")[2] or data, validate=True)
            except (binascii.Error, ValueError):
                data = None
        if not isinstance(data, bytes) or not data:
            fix = "Restore the image or remove the row."
            raise self.bad("missing_image", field, shown(value), expected, fix)
        if len(data) > MAX_IMAGE_BYTES:
            fix = "Downscale the image."
            raise self.bad("image_too_large", field, f"{len(data)} bytes", f"at most {MAX_IMAGE_BYTES}", fix)
        return self.files.save_image(data)

    def holds_image(self, field: str) -> bool:
        """Whether the field holds an image itself, not a file's name."""
        value = self.values.get(field)
        return isinstance(value, bytes | dict)

    def _encodable(self, field: str, value: str) -> str:
        try:
            value.encode()
        except UnicodeEncodeError:
            raise self.bad(
                "bad_text", field, shown(value), "valid Unicode", "Remove the lone surrogates or remove the row."
            ) from None
        return value


def _whole(value: Any) -> Any:
    """A number without a fraction as a whole number; anything else as it stands."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


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


def shown(value: Any) -> str:
    """A value for a message: its type and its beginning."""
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + '...'}"
