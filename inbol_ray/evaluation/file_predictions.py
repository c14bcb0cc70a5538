"""A file of replies and the questions of benchmarks -> judged PREDICTION rows, rejected rows, questions without a
reply.

Each question has one reply of each model and seed: of several the first counts. A model is taken to have been asked all
questions of every benchmark that it has a reply to; one that it lacks is an `error` (v = -1, as for a silent model), or
is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from inbol_ray.config.machines import StorageConfig
from inbol_ray.errors import DataError
from inbol_ray.evaluation.prediction_row import GreedyReply, Rules, judge_row
from inbol_ray.evaluation.reply_file import FileReply, Questions, read_replies
from inbol_ray.rows import Question, Rejected
from inbol_ray.scoring.outcome import prepare_verdicts

Missing = Literal["error", "leave_out"]
NO_REPLY_IN_FILE = "no_reply_in_file"


@dataclass(slots=True)
class FileJudgement:
    """What became of a file: its `num_rows` are predictions or rejected; `without_reply` counts by (model,
    benchmark)."""

    num_rows: int = 0
    predictions: list[dict] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    without_reply: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """Ids of the questions, by (model, benchmark)."""
    ignored_fields: set[str] = field(default_factory=set)

    @property
    def num_without_reply(self) -> int:
        return sum(map(len, self.without_reply.values()))


def judge_file(
    path: str,
    rows: Sequence[Mapping],
    storage: StorageConfig,
    rules: Rules,
    *,
    model: str | None = None,
    seed: int = 0,
    only_this_model: bool = False,
    missing: Missing = "error",
) -> FileJudgement:
    """Judge a file's replies to the questions `rows` (BENCHMARK_QUESTION) and to questions of its own.

    `model` (by default the file's name) and `seed` stand in where a row names none. With `only_this_model`, as in an
    evaluation, rows of other models or seeds and questions of the file's own are rejected.
    Raises DataError where the file cannot be read, or no row of it can be used.
    """
    judgement = FileJudgement()
    name = model or PurePosixPath(path).stem
    found = _collect(path, Questions(rows), storage, judgement, name, seed, only_this_model)
    if not found:
        raise DataError(_nothing_usable(path, judgement))
    checkpoint = f"replies:{path}"
    prepare_verdicts((reply.reply, Question.from_row(reply.question)) for reply in found.values())
    for (method, of_seed, _), reply in found.items():
        given = GreedyReply(reply.reply, confidence=reply.confidence)
        row = judge_row(reply.question, given, method=method, checkpoint=checkpoint, seed=of_seed, rules=rules)
        judgement.predictions.append(row)
    own = {reply.question["id"]: reply.question for reply in found.values() if reply.is_own}
    for method, of_seed, question in _unanswered(found, [*rows, *own.values()]):
        judgement.without_reply.setdefault((method, question["benchmark"]), []).append(question["id"])
        if missing == "error":
            nothing = GreedyReply("", NO_REPLY_IN_FILE, f"{path}: no reply to this question")
            row = judge_row(question, nothing, method=method, checkpoint=checkpoint, seed=of_seed, rules=rules)
            judgement.predictions.append(row)
    return judgement


def _collect(
    path: str,
    questions: Questions,
    storage: StorageConfig,
    judgement: FileJudgement,
    name: str,
    seed: int,
    only_this_model: bool,
) -> dict[tuple[str, int, str], FileReply]:
    """The first reply of each (model, seed, question id); what cannot be used goes to `judgement`."""
    found: dict[tuple[str, int, str], FileReply] = {}
    own: dict[str, Mapping] = {}
    for row in read_replies(
        path, questions, storage, own_questions=not only_this_model, ignored=judgement.ignored_fields
    ):
        judgement.num_rows += 1
        if isinstance(row, Rejected):
            judgement.rejected.append(row)
            continue
        key = (row.model or name, seed if row.seed is None else row.seed, row.question["id"])
        if problem := _problem(path, row, key, found, own, (name, seed) if only_this_model else None):
            judgement.rejected.append(problem)
        else:
            found[key] = row
            own.setdefault(key[2], row.question)
    return found


def _problem(
    path: str,
    row: FileReply,
    key: tuple[str, int, str],
    found: Mapping[tuple, FileReply],
    own: Mapping[str, Mapping],
    wanted: tuple[str, int] | None,
) -> Rejected | None:
    method, seed, row_id = key
    where = f"{path}, {row.place}"
    if wanted and (method, seed) != wanted:
        detail = (
            f"{where}, fields 'model' and 'seed': found {method!r} and {seed}, expected {wanted[0]!r} and {wanted[1]}, which "
            "this evaluation takes from the file. Rename the model in `evaluation.models`, or remove the row."
        )
        return Rejected(row_id, path, "other_model", detail)
    if key in found:
        detail = (
            f"{where}, field 'id': found {row_id} of model {method!r}, seed {seed}, which {found[key].place} has, expected one "
            f"reply to a question. {found[key].place} was kept: remove this row, or give it a `model` or `seed` of its own."
        )
        return Rejected(row_id, path, "duplicate_id", detail)
    if row.is_own and own.get(row_id, row.question) != row.question:
        detail = (
            f"{where}, field 'id': found {row_id} with another question, reference or domain than in an earlier row, expected "
            "one question an id. Give it an id of its own, or correct the row."
        )
        return Rejected(row_id, path, "changed_question", detail)
    return None


def _unanswered(
    found: Mapping[tuple[str, int, str], FileReply], questions: Sequence[Mapping]
) -> list[tuple[str, int, Mapping]]:
    """(model, seed, question) for each question of a benchmark that the model and seed has a reply to, but not to
    it."""
    asked = dict.fromkeys((method, seed, reply.question["benchmark"]) for (method, seed, _), reply in found.items())
    by_benchmark: dict[str, list[Mapping]] = {}
    for question in questions:
        by_benchmark.setdefault(question["benchmark"], []).append(question)
    return [
        (method, seed, question)
        for method, seed, benchmark in asked
        for question in by_benchmark[benchmark]
        if (method, seed, question["id"]) not in found
    ]


def _nothing_usable(path: str, judgement: FileJudgement) -> str:
    if not judgement.num_rows:
        return f"{path}: found no row, expected replies. Correct the path."
    first = judgement.rejected[0]
    return f"{path}: none of {judgement.num_rows:,} rows can be used, expected replies. The first ({first.reason}): {first.detail}"
