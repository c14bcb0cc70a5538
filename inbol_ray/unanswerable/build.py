"""Stage: candidates by mismatch and by generation, then the quality filter, all on the original model.

Question -> candidate Question (answerable False) -> judged -> kept or rejected
"""

import json
from collections import Counter
from collections.abc import Sequence
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from inbol_ray.config.model import BaseModelConfig
from inbol_ray.config.sampling import UnanswerableConfig
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.method.answerability import answerable_probability, is_unanswerable
from inbol_ray.method.prompts import GENERATE_UNANSWERABLE, JUDGE_ANSWERABLE
from inbol_ray.models import DEFAULT_FAMILY
from inbol_ray.rows import QUESTION, Question, Rejected
from inbol_ray.runtime.stage import Stage, StageContext, present
from inbol_ray.runtime.work import ROW_BYTES, Sizes, Work
from inbol_ray.sampling.generate import generate
from inbol_ray.sampling.settings import EngineSettings
from inbol_ray.sampling.vllm_engine import Decoding
from inbol_ray.store.row_writer import write_rows
from inbol_ray.subsets import SHARES, Shares, equal_shares, take
from inbol_ray.unanswerable.mismatch import image_corpus, meta_of, pair_mismatched, spread_evenly

NUM_JUDGE_LOGPROBS = 20
CANDIDATE = pa.unify_schemas([QUESTION, pa.schema([pa.field("answerable_probability", pa.float32())])])


class UnanswerableSettings(EngineSettings):
    unanswerable: UnanswerableConfig
    base_model: BaseModelConfig


def unanswerable_stage(
    config: PipelineConfig, questions: Stage, original: Stage | None, leakage: Stage
) -> Stage[UnanswerableSettings]:
    return Stage(
        "unanswerable",
        "build unanswerable questions",
        build_unanswerable,
        version=1,
        settings=UnanswerableSettings.of(config, unanswerable=config.unanswerable, base_model=config.base_model),
        inputs=present(questions=questions, checkpoint=original),
        after=(leakage,),
        needs="engines",
        work=_work,
    )


def _work(settings: UnanswerableSettings, sizes: Sizes) -> Work:
    written = settings.unanswerable.num_generated
    candidates = settings.unanswerable.num_mismatch + written
    replies = candidates + written
    return Work(
        "replies",
        replies,
        samples=replies,
        prompt_tokens=sizes.prompt_tokens * replies,
        response_tokens=written * settings.unanswerable.max_question_tokens + candidates,
        bytes_written=ROW_BYTES * candidates,
    )


def build_unanswerable(context: StageContext[UnanswerableSettings]) -> dict[str, int]:
    """Reads `questions`; writes `candidates.parquet` (all, with the judge's probability) and `questions.parquet`."""
    settings, seed = context.settings.unanswerable, context.settings.seed
    checkpoint = context.checkpoint("checkpoint", context.settings.base_model)
    train = [Question.from_row(row) for row in pq.read_table(context.inputs["questions"] / "train.parquet").to_pylist()]
    sources = spread_evenly(train) if settings.corpora == "equal" else train
    mismatched = pair_mismatched(sources, settings.num_mismatch, seed)
    generated = _write_questions(context, sources, checkpoint)
    candidates = mismatched + generated
    probabilities = _judge(context, candidates, checkpoint)
    write_rows(
        context.folder / "candidates.parquet",
        (row.to_row() | {"answerable_probability": probabilities.get(row.id)} for row in candidates),
        CANDIDATE,
    )
    kept = [row for row in candidates if is_unanswerable(probabilities.get(row.id), settings.filter_threshold)]
    chosen = take_evenly(kept, settings.num_kept, seed, SHARES[settings.corpora])
    write_rows(context.folder / "questions.parquet", (row.to_row() for row in chosen), QUESTION)
    return {
        "mismatched": len(mismatched),
        "generated": len(generated),
        "passed_filter": len(kept),
        "kept": len(chosen),
    }


def take_evenly(rows: Sequence[Question], num_rows: int, seed: int, shares: Shares) -> list[Question]:
    """At most `num_rows` rows, in their order: half from each way of building where both have enough, and of each way
    `shares` of the corpora that its images are from. Within a corpus, a hash of the id decides."""
    strata = [(row.dataset, image_corpus(row)) for row in rows]
    sizes = Counter(strata)
    counts = {}
    for way, wanted in equal_shares(Counter(way for way, _ in strata), num_rows).items():
        counts |= shares({stratum: size for stratum, size in sizes.items() if stratum[0] == way}, wanted)
    return [rows[place] for place in take([row.id for row in rows], strata, counts, seed)]


def _write_questions(
    context: StageContext[UnanswerableSettings], questions: Sequence[Question], checkpoint: str
) -> list[Question]:
    """Candidates that the model itself writes (paper figure 2, generation), each about another question's image."""
    settings, seed = context.settings.unanswerable, context.settings.seed
    order = np.random.default_rng([seed, 42]).permutation(len(questions))
    drawn = {questions[index].id: questions[index] for index in order}
    sources = sorted(islice(drawn.values(), settings.num_generated), key=lambda source: source.id)
    requests = pa.table(
        {
            "id": [source.id for source in sources],
            "checkpoint": [checkpoint] * len(sources),
            "prompt": [DEFAULT_FAMILY.chat.prompt(GENERATE_UNANSWERABLE, system=context.settings.prompts.system)]
            * len(sources),
            "images": [source.images[:1] for source in sources],
        }
    )
    decoding = Decoding(1, settings.generation_temperature, settings.max_question_tokens)
    parts = generate(
        [requests],
        [checkpoint],
        context.settings.pool(context.storage),
        decoding,
        folder=f"{context.resume}/written",
        unit="questions written",
        progress=context.progress,
    )
    source_of = {source.id: source for source in sources}
    written = []
    for row in parts.rows():
        if row["reason"]:
            context.reject([Rejected(row["id"], "generate", row["reason"], row["detail"])])
        elif not row["responses"][0].endswith("?"):
            detail = f"{row['responses'][0]!r} is not a question: expected text that ends in '?'"
            context.reject([Rejected(row["id"], "generate", "not_a_question", detail)])
        else:
            written.append(
                Question(
                    id=f"generated:train:{row['id'].replace(':', '_')}",
                    dataset="generated",
                    split="train",
                    images=source_of[row["id"]].images[:1],
                    question=row["responses"][0],
                    answer_kind="open",
                    answerable=False,
                    meta=meta_of(source_of[row["id"]]),
                )
            )
    return written


def _judge(
    context: StageContext[UnanswerableSettings], candidates: list[Question], checkpoint: str
) -> dict[str, float | None]:
    """P(answerable) of each candidate, as the model judges it."""
    requests = pa.table(
        {
            "id": [row.id for row in candidates],
            "checkpoint": [checkpoint] * len(candidates),
            "prompt": [
                DEFAULT_FAMILY.chat.prompt(
                    JUDGE_ANSWERABLE.format(question=row.question), system=context.settings.prompts.system
                )
                for row in candidates
            ],
            "images": [row.images for row in candidates],
        }
    )
    decoding = Decoding(1, 0.0, 1, NUM_JUDGE_LOGPROBS)
    parts = generate(
        [requests],
        [checkpoint],
        context.settings.pool(context.storage),
        decoding,
        folder=f"{context.resume}/judged",
        unit="judged",
        progress=context.progress,
    )
    probabilities = {}
    for row in parts.rows():
        if row["reason"]:
            context.reject([Rejected(row["id"], "filter", row["reason"], row["detail"])])
        else:
            probabilities[row["id"]] = answerable_probability(json.loads(row["first_token"]))
    return probabilities
