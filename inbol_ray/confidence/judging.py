"""Sampled questions -> SAMPLED_ANSWERS, each response judged by the corpus's own rule, in Ray tasks.

blocks of parts -> [tasks: read, judge] -> judged tables in the order of the questions -> the driver writes

Judging takes thirty times as long as writing down what was judged. A driver that did it alone, reading block after block
from a store, would bound the speed of a few hundred engines.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from inbol_ray.confidence.estimators import likelihood, self_consistency
from inbol_ray.config.sampling import SamplingConfig, ScoringRules
from inbol_ray.rows import SAMPLED_ANSWERS, Question
from inbol_ray.runtime.progress import write_progress
from inbol_ray.sampling.parts import Parts
from inbol_ray.scoring.answer_match import OURS
from inbol_ray.scoring.outcome import judge_reply, prepare_verdicts

ROWS_PER_TASK = 2_048
"""About a third of a second of work, so that handing out tasks costs little beside it."""
UNIT = "questions judged"
JUDGED = pa.unify_schemas([SAMPLED_ANSWERS, pa.schema([("reason", pa.string()), ("detail", pa.string())])])
"""SAMPLED_ANSWERS; of a question without samples only the id, and the reason (a slug, else empty) and detail for that."""


@dataclass(frozen=True)
class Judge:
    """Run by tasks, and by a driver that takes samples from a dataset. Rows are those of `Parts` of sampled questions."""

    sampling: SamplingConfig
    scoring: ScoringRules
    progress: str | None
    num_rows: int

    def judge_parts(self, parts: Parts) -> Iterator[pa.Table]:
        """JUDGED tables of all blocks, which must be finished, in the order of the requests."""
        import ray.data

        num_tasks = -(-parts.num_rows // ROWS_PER_TASK)
        blocks = ray.data.range(parts.num_blocks, override_num_blocks=min(num_tasks, parts.num_blocks))

        def read(batch: pa.Table) -> pa.Table:
            return pa.concat_tables(parts.read_block(block) for block in batch["id"].to_pylist())

        blocks.context.execution_options.preserve_order = True
        tables = blocks.map_batches(read, batch_format="pyarrow", batch_size=None)
        judged = tables.map_batches(self, batch_format="pyarrow", batch_size=None)
        yield from judged.iter_batches(batch_format="pyarrow", batch_size=None, prefetch_batches=0)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Sampled questions -> a JUDGED table, row for row."""
        part = f"from {batch['id'][0]}"
        write_progress(self.progress, 0, self.num_rows, UNIT, part=part)
        sampled = batch.to_pylist()
        questions = [Question.from_row(row) for row in sampled]
        prepare_verdicts(
            (response, question)
            for row, question in zip(sampled, questions, strict=True)
            for response in row["responses"] or ()
        )
        rows = [self._judge(row, question) for row, question in zip(sampled, questions, strict=True)]
        write_progress(self.progress, len(rows), self.num_rows, UNIT, part=part)
        return pa.Table.from_pylist(rows, schema=JUDGED)

    def _judge(self, row: dict, question: Question) -> dict:
        if row["reason"]:
            return {name: row[name] for name in ("id", "reason", "detail")}
        judged = judge_samples(question, row, self.sampling, self.scoring)
        return judged | {"reason": "", "detail": ""}


def judge_samples(question: Question, row: dict, sampling: SamplingConfig, scoring: ScoringRules = OURS) -> dict:
    """A SAMPLED_ANSWERS row, from one with `responses`, `token_logprobs` and `checkpoint`."""
    threshold = sampling.correct_threshold
    outcomes = [judge_reply(response, question, threshold, scoring) for response in row["responses"]]
    kinds = [outcome.kind for outcome in outcomes]
    return question.to_row() | {
        "responses": row["responses"],
        "outcomes": kinds,
        "scores": [outcome.score for outcome in outcomes],
        "token_logprobs": row["token_logprobs"],
        "confidence": kinds.count("correct") / len(kinds),
        "self_consistency": self_consistency(question, row["responses"], kinds),
        "likelihood": likelihood(row["token_logprobs"], kinds),
        "checkpoint": row["checkpoint"],
    }
