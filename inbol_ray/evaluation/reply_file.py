"""Replies that came from elsewhere: JSON lines or Parquet -> FileReply | Rejected, in file order.

| field | holds | needed |
|---|---|---|
| `reply` | the model's text; empty where it said nothing | yes |
| `id` | id of a question of a configured benchmark, whole (`vqav2:val2014:9001`) or the benchmark's own (`9001`) | or `question` |
| `question` | the text of a question of the file's own, with the fields below | or `id` |
| `answers` | an accepted answer, or a list of them | unless it is multiple choice or unanswerable |
| `choices` | list of 2 to 26 options | for multiple choice |
| `gold` | the right option: an index from 0, a letter, or the option's text | for multiple choice |
| `answer_kind` | how replies are scored, as in `corpora/own.py` | no: `mc` with `choices`, else `open` |
| `answerable` | `true`, `false`, or null where it is not known | no |
| `image` or `images` | path or list of paths, shown in the report | no |
| `model` | who replied | no: the file's name |
| `benchmark` | name of the set the question belongs to | no: `own`, for a question of the file's own |
| `domain` | `in_domain` or `out_of_domain` | no: the benchmark's, else `out_of_domain` |
| `seed` | whole number | no: 0 |
| `confidence` | the chance that the reply is right, in [0, 1]; NaN counts as null | no |

Other fields are ignored and named. An `id` that a benchmark has wins over a question in the same row.

    {"id": "vqav2:val2014:9001", "reply": "red", "model": "mine", "confidence": 0.8}
    {"question": "What is on the desk?", "answers": ["a lamp", "lamp"], "reply": "I can't tell."}
"""

import hashlib
import math
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from inbol_ray.config.machines import StorageConfig
from inbol_ray.corpora.annotation_rows import AnnotationRow, BadRowError, shown
from inbol_ray.corpora.corpus_files import CorpusFiles
from inbol_ray.corpora.row_sources import json_line_rows, parquet_rows
from inbol_ray.errors import DataError
from inbol_ray.evaluation.own_questions import OWN, own_question
from inbol_ray.rows import Rejected
from inbol_ray.store.storage import open_filesystem

FIELDS = frozenset(
    ["reply", "id", "question", "answers", "choices", "gold", "answer_kind", "answerable", "image", "images", "model"]
    + ["benchmark", "domain", "seed", "confidence"]
)
_DESCRIPTION = "replies as JSON lines or Parquet"
_READERS = {"jsonl": json_line_rows, "parquet": parquet_rows}
_MAX_SEED = 2**31 - 1


class Questions:
    """The questions of configured benchmarks, found by whole id or by the benchmark's own.

    `rows` are questions with `benchmark` and `domain` (BENCHMARK_QUESTION).
    """

    def __init__(self, rows: Sequence[Mapping]) -> None:
        self.by_id = {row["id"]: row for row in rows}
        self._native: dict[str, list[str]] = {}
        for row_id in self.by_id:
            self._native.setdefault(row_id.split(":", 2)[-1], []).append(row_id)

    def find(self, name: str, benchmark: str | None) -> list[Mapping]:
        """Every question that the name may stand for; of one benchmark alone where it is given."""
        ids = [name] if name in self.by_id else self._native.get(name, [])
        found = [self.by_id[row_id] for row_id in ids]
        return [row for row in found if benchmark in (None, row["benchmark"])]


@dataclass(frozen=True, slots=True)
class FileReply:
    """A usable row. `question` is a BENCHMARK_QUESTION row; `model` and `seed` are None where the file has none."""

    place: str
    question: Mapping
    is_own: bool
    model: str | None
    seed: int | None
    reply: str
    confidence: float | None


def read_replies(
    path: str,
    questions: Questions,
    storage: StorageConfig,
    *,
    own_questions: bool = True,
    ignored: set[str] | None = None,
) -> Iterator[FileReply | Rejected]:
    """Rows of a file, local or `s3://`; names of fields that nothing reads are added to `ignored`.

    Without `own_questions` a row must name a question of `questions`. Raises DataError for a file that is missing or is
    not of these two kinds.
    """
    folder, _, name = path.rpartition("/")
    reader = _READERS.get(name.rpartition(".")[2].lower())
    if reader is None:
        raise DataError(f"{path}: expected {_DESCRIPTION}, a name that ends in .jsonl or .parquet. Convert the file.")
    with CorpusFiles(folder or (posixpath.sep if path.startswith(posixpath.sep) else "."), storage) as files:
        if not files.exists(name):
            raise DataError(f"{path}: no such file; expected {_DESCRIPTION}. Correct the path.")
        for row in reader(files, name, "id", _DESCRIPTION):
            if ignored is not None and isinstance(row.values, dict):
                ignored |= {str(field) for field in row.values if field not in FIELDS}
            try:
                yield _build(row, questions, own_questions)
            except BadRowError as error:
                yield Rejected(_name(row), path, error.reason, error.detail)


def file_digest(path: str, storage: StorageConfig) -> str:
    """SHA-256 of a file, local or `s3://`. Raises DataError where it cannot be read."""
    digest = hashlib.sha256()
    filesystem, inside = open_filesystem(path, storage)
    try:
        with filesystem.open_input_stream(inside, compression=None) as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}), expected {_DESCRIPTION}. Correct the path."
        ) from error
    return digest.hexdigest()


def _name(row: AnnotationRow) -> str:
    """The id, and the place in the file."""
    name = row.name()
    return name if name == row.place else f"{name} ({row.place})"


def _build(row: AnnotationRow, questions: Questions, own_questions: bool) -> FileReply:
    reply = _read_reply(row)
    benchmark = row.text("benchmark") if row.has("benchmark") else None
    question = _find_question(row, questions, benchmark, own_questions)
    is_own = question is None
    if is_own:
        question = own_question(row, benchmark or OWN)
    elif row.has("domain") and row.get("domain", "") != question["domain"]:
        raise row.bad(
            "other_domain",
            "domain",
            shown(row.values["domain"]),
            f"{question['domain']!r}, as the benchmark {question['benchmark']!r} is configured",
            "Correct the field or leave it out.",
        )
    return FileReply(
        place=row.place,
        question=question,
        is_own=is_own,
        model=row.text("model") if row.has("model") else None,
        seed=_read_seed(row),
        reply=reply,
        confidence=_read_confidence(row),
    )


def _read_reply(row: AnnotationRow) -> str:
    if isinstance(row.values, dict) and not row.has("reply"):
        found = "null" if "reply" in row.values else f"no such field among {', '.join(map(str, row.values))[:120]}"
        fix = 'Give the reply, or "" where the model said nothing; a question without any reply needs no row.'
        raise row.bad("missing_reply", "reply", found, "the model's text", fix)
    value = row.get("reply", "the model's text")
    return "" if isinstance(value, str) and not value.strip() else row.text("reply")


def _find_question(
    row: AnnotationRow, questions: Questions, benchmark: str | None, own_questions: bool
) -> Mapping | None:
    """The benchmark's question that the row names; None for a question of the file's own."""
    has_own = own_questions and row.has("question")
    if not row.has("id"):
        if has_own:
            return None
        expected = "the id of a question" + (", or `question` with `answers`" if own_questions else "")
        raise row.bad("missing_field", "id", "no id", expected, "Add it or remove the row.")
    name = row.native_id()
    found = questions.find(name, benchmark)
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(one["id"] for one in found)[:200]
        raise row.bad("ambiguous_id", "id", shown(name), f"one of {ids}", "Write the whole id, or add `benchmark`.")
    if has_own:
        return None
    where = f"a question of benchmark {benchmark!r}" if benchmark else "a question of the configured benchmarks"
    example = next(iter(questions.by_id), None)
    where += f", such as {example!r}" if example else ", and none is configured"
    fix = "Correct the id, configure its benchmark" + (", or add `question` and `answers`." if own_questions else ".")
    raise row.bad("unknown_id", "id", shown(name), where, fix)


def _read_seed(row: AnnotationRow) -> int | None:
    if not row.has("seed"):
        return None
    seed = row.integer("seed")
    if not 0 <= seed <= _MAX_SEED:
        raise row.bad("wrong_type", "seed", str(seed), f"0 to {_MAX_SEED}", "Correct the field or leave it out.")
    return seed


def _read_confidence(row: AnnotationRow) -> float | None:
    value = row.values.get("confidence")
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        fix = "Divide percentages by 100, or remove the field."
        raise row.bad("bad_confidence", "confidence", shown(value), "a number from 0 to 1", fix)
    return float(value)
