"""Question -> SampledAnswers: N responses from the original model, each judged by the corpus's own rule.

confidence = correct / N (paper section 2, accuracy-based confidence)
"""

import json
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from inbol_ray.artifacts import StageContext
from inbol_ray.confidence.dataset import DESCRIPTION, describe, publish, read_dataset
from inbol_ray.confidence.judging import Judge
from inbol_ray.confidence.stopping import AdaptiveRounds
from inbol_ray.errors import DataError
from inbol_ray.prompts import chat_prompt, render_question
from inbol_ray.provenance import package_versions
from inbol_ray.row_writer import RowWriter
from inbol_ray.rows import QUESTION, SAMPLED_ANSWERS, Question, Rejected
from inbol_ray.sampling.checkpoints import model_digest
from inbol_ray.sampling.generate import generate
from inbol_ray.sampling.parts import Parts
from inbol_ray.sampling.vllm_engine import Decoding


def estimate_confidence(context: StageContext) -> dict[str, int]:
    """Stage: sample every training question, every unanswerable question and, for figure 4, every test question.

    Reads `questions`, `unanswerable` and `checkpoint`; writes `answers.parquet` (SAMPLED_ANSWERS, sorted by id) and
    its description, `dataset.json`, and both to `sampling.publish_uri`.
    Raises DataError for questions that share an id.
    """
    config = context.config
    sampling = config.sampling
    checkpoint = context.checkpoint("checkpoint")
    model = {"checkpoint": checkpoint, "digest": model_digest(checkpoint)}
    questions = _read_questions(context)
    judge = Judge(sampling, config.scoring, context.progress, questions.num_rows)
    if sampling.reuse_uri is None:
        judged = judge.judge_parts(_sample(context, questions, checkpoint))
    else:
        dataset = read_dataset(
            sampling.reuse_uri,
            config.storage,
            model["digest"],
            allow_other_checkpoint=sampling.allow_other_checkpoint,
        )
        judged = judge.judge_table(_take(questions, dataset))
    counts: Counter[str] = Counter()
    path = context.folder / "answers.parquet"
    with RowWriter(path, SAMPLED_ANSWERS) as answers:
        for table in judged:
            has_samples = pc.equal(table["reason"], "")
            for row in table.filter(pc.invert(has_samples)).select(["id", "reason", "detail"]).to_pylist():
                context.reject([Rejected(row["id"], "confidence", row["reason"], row["detail"])])
            table = table.filter(has_samples)
            answers.write_table(table)
            counts["samples"] += pc.sum(pc.list_value_length(table["responses"])).as_py() or 0
    counts["questions"] = answers.num_rows
    context.check_rows(questions.num_rows, counts["questions"])
    description = describe(
        path,
        model=model,
        settings=context.settings,
        counts=dict(counts),
        rejected=dict(context.rejected),
        packages=package_versions(),
    )
    (context.folder / DESCRIPTION).write_text(json.dumps(description, indent=1))
    if sampling.publish_uri is not None:
        publish(path, description, sampling.publish_uri, config.storage)
    return {"questions": counts["questions"], "samples": counts["samples"]}


def _read_questions(context: StageContext) -> pa.Table:
    """QUESTION rows by id."""
    tables = [
        pq.read_table(context.inputs["questions"] / "train.parquet"),
        pq.read_table(context.inputs["unanswerable"] / "questions.parquet"),
    ]
    if context.config.evaluation.sample_confidence:
        tables.append(pq.read_table(context.inputs["questions"] / "benchmarks.parquet"))
    questions = pa.concat_tables(table.select(QUESTION.names) for table in tables).sort_by("id")
    if repeated := [id for id, count in Counter(questions["id"].to_pylist()).items() if count > 1]:
        raise DataError(f"{len(repeated)} ids name several questions, {repeated[0]!r} for example; ids must be unique")
    return questions


def _sample(context: StageContext, questions: pa.Table, checkpoint: str) -> Parts:
    """Question rows with `checkpoint` and REPLY, by id."""
    config = context.config
    sampling = config.sampling
    prompts = [
        chat_prompt(render_question(Question.from_row(row), config.prompts), num_images=len(row["images"]))
        for batch in questions.to_batches(max_chunksize=1024)
        for row in batch.to_pylist()
    ]
    requests = questions.append_column("prompt", pa.array(prompts, pa.string())).append_column(
        "checkpoint", pa.array([checkpoint] * questions.num_rows, pa.string())
    )
    return generate(
        requests,
        config,
        Decoding(sampling.num_samples, sampling.temperature, sampling.max_tokens, num_logprobs=0),
        folder=f"{context.resume}/samples",
        unit="questions",
        progress=context.progress,
        rounds=AdaptiveRounds(sampling, config.classes, config.scoring) if sampling.adaptive else None,
    )


def _take(questions: pa.Table, dataset: pa.Table) -> pa.Table:
    """Question rows with samples or the reason for none, from a dataset that was sampled before."""
    places = pc.index_in(questions["id"], dataset["id"].combine_chunks())
    found = dataset.take(places)
    is_missing = pc.is_null(places)
    is_other = pc.fill_null(pc.not_equal(found["question"], questions["question"]), False)
    asked = pc.binary_join_element_wise(
        "the dataset of sampling.reuse_uri asks '", found["question"], "' under this id", ""
    )
    reason = pc.case_when(pc.make_struct(is_missing, is_other), "not_sampled", "other_question", "")
    missing = "the dataset of sampling.reuse_uri does not hold this question"
    detail = pc.case_when(pc.make_struct(is_missing, is_other), missing, asked, "")
    for name in ("responses", "token_logprobs", "checkpoint"):
        questions = questions.append_column(name, found[name])
    return questions.append_column("reason", reason).append_column("detail", detail)
